-- Changes of structure since the last release: see migrations/README.md.

/* --- Handlers: what each room does when a person's data is exported or erased --- */

do $do$
begin
  create type privacy.subject as (
    person_id bigint,
    identity_ids bigint[],
    kinds text[],
    names text[]
  );
exception when duplicate_object then null;
end
$do$;

comment on type privacy.subject is $$
One person with all her identities, for the functions in `privacy.handler`.
`kinds` and `names` are parallel to `identity_ids`: `user` or `anonymous`, and the name that the application sent.
$$;

do $do$
begin
  create type privacy.erased as (
    table_name text,
    row_count bigint,
    method text
  );
exception when duplicate_object then null;
end
$do$;

comment on type privacy.erased is $$
Rows of one table that an erasure changed.
`method`: `deleted`, `recomputed` (from the data of the others), `cleared` (a value was replaced), `unlearned` (a model
was changed exactly) or `marked` (a model is not used until it is trained again).
$$;

do $do$
begin
  create type privacy.exported as (
    table_name text,
    description text,
    row_count bigint,
    contents jsonb
  );
exception when duplicate_object then null;
end
$do$;

comment on type privacy.exported is $$
Rows of one table in the export of a person: a list of objects, with names in place of surrogate keys.
$$;

create table if not exists privacy.handler (
  room text primary key check (room ~ '^[a-z][a-z_]*$'),
  position smallint not null unique,
  erase_function text check (erase_function ~ '^[a-z][a-z_]*\.[a-z_]+$'),
  export_function text check (export_function ~ '^[a-z][a-z_]*\.[a-z_]+$'),
  description text not null
);

comment on table privacy.handler is $$
@behavior -*
Functions of the rooms that export and erase the data of a person, called in the order of `position`.
Derived data comes first, the identities last. Both kinds take a `privacy.subject`; an erase function returns
`setof privacy.erased`, an export function `setof privacy.exported`. `insights doctor` checks that they exist.
$$;
comment on column privacy.handler.room is $$Name of the room.$$;
comment on column privacy.handler.position is $$Place in the order of the calls.$$;
comment on column privacy.handler.erase_function is $$Name of the erase function, with its schema; null when none.$$;
comment on column privacy.handler.export_function is $$Name of the export function, with its schema; null when none.$$;
comment on column privacy.handler.description is $$What the functions cover.$$;

alter table privacy.handler enable row level security;

/* --- Erasure: settings and receipts --- */

create table if not exists privacy.setting (
  only_row boolean primary key default true check (only_row),
  subject_function text check (subject_function ~ '^[a-z][a-z_]*\.[a-z_]+$'),
  lock_function text check (lock_function ~ '^[a-z][a-z_]*\.[a-z_]+$')
);

comment on table privacy.setting is $$
@behavior -*
Settings of privacy: one row.
$$;
comment on column privacy.setting.only_row is $$Always true, so that the table has one row.$$;
comment on column privacy.setting.subject_function is $$
Function that returns the `privacy.subject` of a name (`person text`), with its schema.
$$;
comment on column privacy.setting.lock_function is $$
Function that does the same, and locks the person: until the transaction ends, no other one stores or moves her data.
$$;

insert into privacy.setting default values on conflict do nothing;

create table if not exists privacy.erasure (
  erasure_id uuid primary key default gen_random_uuid(),
  requested_at timestamptz not null,
  erased_at timestamptz not null default clock_timestamp(),
  subject_hash bytea not null check (octet_length(subject_hash) = 32),
  reason text check (length(reason) <= 200),
  counts jsonb not null,
  completed_at timestamptz
);

comment on table privacy.erasure is $$
Receipts of erasures, append-only: what was erased, without a trace of whose data it was.
$$;
comment on column privacy.erasure.erasure_id is $$Key of the receipt.$$;
comment on column privacy.erasure.requested_at is $$Time of the request.$$;
comment on column privacy.erasure.erased_at is $$Time of the erasure.$$;
comment on column privacy.erasure.subject_hash is $$
SHA-256 hash of a salt and the names of the person: see `privacy.subject_hash`. The salt is returned once and not
stored, so that whoever has it can prove whose receipt this is, and nobody else can test names against it.
$$;
comment on column privacy.erasure.reason is $$Reason that was given, without a name; null when none was given.$$;
comment on column privacy.erasure.counts is $$
Numbers of rows by table and method (see `privacy.erased`), such as `{"track.event": {"deleted": 12}}`.
$$;
comment on column privacy.erasure.completed_at is $$
Time from which no materialized view, list or served model is left that was computed with the data; null until then.
$$;

create index if not exists erasure_open on privacy.erasure (erased_at) where completed_at is null;

do $do$
begin
  create type privacy.erasure_receipt as (
    erasure_id uuid,
    erased_at timestamptz,
    subject_hash text,
    salt text,
    counts jsonb
  );
exception when duplicate_object then null;
end
$do$;

comment on type privacy.erasure_receipt is $$
Receipt of an erasure, for the person.
$$;
comment on column privacy.erasure_receipt.erasure_id is $$Key of the receipt.$$;
comment on column privacy.erasure_receipt.erased_at is $$Time of the erasure.$$;
comment on column privacy.erasure_receipt.subject_hash is $$Hash of the salt and the names, in hexadecimal.$$;
comment on column privacy.erasure_receipt.salt is $$
Salt of the hash, in hexadecimal. It is not stored: keep it to prove later whose receipt this is.
$$;
comment on column privacy.erasure_receipt.counts is $$
Numbers of rows by table and method, such as `{"track.event": {"deleted": 12}}`.
$$;

insert into privacy.handler (room, position, erase_function, description)
values ('privacy', 60, 'privacy.erase', 'Decisions, and the log of exports.')
on conflict do nothing;

alter table privacy.setting enable row level security;
alter table privacy.erasure enable row level security;

/* --- Erasure: registration of the rooms --- */

update privacy.setting set subject_function = 'track.subject', lock_function = 'track.lock_subject';
insert into privacy.handler (room, position, erase_function, description)
values ('track', 40, 'track.erase', 'People, identities, events and all data that is derived from them.')
on conflict do nothing;
insert into privacy.handler (room, position, erase_function, description)
values ('recommend', 10, 'recommend.erase', 'Interactions, impressions, evaluations in progress, and what models have learned.')
on conflict do nothing;
insert into privacy.handler (room, position, erase_function, description)
values ('analytics', 20, 'analytics.erase', 'Training data of predictions, and names of authors.')
on conflict do nothing;
insert into privacy.handler (room, position, erase_function, description)
values ('monitor', 50, 'monitor.erase', 'Messages of errors that contain a name of the person.')
on conflict do nothing;

/* --- Erasure: what messages have told about items --- */

create table if not exists track.item_source (
  item_id bigint not null references track.item on delete cascade,
  attribute text not null check (attribute in ('name', 'kind', 'title', 'url', 'parent')),
  identity_id bigint not null,
  primary key (item_id, attribute)
);

comment on table track.item_source is $$
What messages have told about items: the identity that named an item first, or gave an attribute that is stored.
The tables of the application (`track.sync_items`) take the place of messages: their items and values have no row here.
An erasure deletes items that only messages have named when nobody else uses them, and attributes that the person gave.
$$;
comment on column track.item_source.item_id is $$The item.$$;
comment on column track.item_source.attribute is $$
`name` (the item itself), `kind`, `title`, `url` or `parent`.
$$;
comment on column track.item_source.identity_id is $$Identity of the message.$$;

create index if not exists item_source_identity on track.item_source (identity_id);

alter table track.item_source enable row level security;

insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, description)
values ('track', 'item_source', 'identity_id', 'identity', 'analytics', 'Identity that named or described the item.')
on conflict do nothing;

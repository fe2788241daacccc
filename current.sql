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
  lock_function text check (lock_function ~ '^[a-z][a-z_]*\.[a-z_]+$'),
  names_function text check (names_function ~ '^[a-z][a-z_]*\.[a-z_]+$')
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
comment on column privacy.setting.names_function is $$
Function that returns, of the names of a `privacy.subject` who was erased, those that nobody else has.
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

update privacy.setting
set
  subject_function = 'track.subject', lock_function = 'track.lock_subject', names_function = 'track.unshared_names';
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
/* --- Rights: requests of people, and names of erased people --- */

create table if not exists privacy.secret (
  purpose text primary key check (purpose ~ '^[a-z][a-z_]{0,62}$'),
  secret bytea not null default uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())
);

comment on table privacy.secret is $$
@behavior -*
Secret keys of the database, such as the one under which suppressed names are hashed. No role may read them.
$$;
comment on column privacy.secret.purpose is $$Name of the key.$$;
comment on column privacy.secret.secret is $$32 random bytes.$$;

insert into privacy.secret (purpose) values ('suppression_inner'), ('suppression_outer')
on conflict do nothing;

create table if not exists privacy.suppression (
  name_hash bytea primary key check (octet_length(name_hash) = 32),
  since timestamptz not null,
  lifted_at timestamptz,
  check (lifted_at > since)
);

comment on table privacy.suppression is $$
@behavior -*
Names of people who were erased, as keyed hashes: messages with such a name are refused until a new consent.
The key is in `privacy.secret`. The names cannot be read from this table; a role that can read both tables can test one.
$$;
comment on column privacy.suppression.name_hash is $$
HMAC-SHA-256 of the kind (`user` or `anonymous`) and the name: see `privacy.suppress`.
$$;
comment on column privacy.suppression.since is $$Time of the erasure.$$;
comment on column privacy.suppression.lifted_at is $$
Time of the consent that the person gave after the erasure; null while there is none.
Messages of an earlier time are refused also afterwards.
$$;

do $do$
begin
  create type privacy.suppressed_name as (
    kind text,
    name text,
    since timestamptz,
    lifted_at timestamptz
  );
exception when duplicate_object then null;
end
$do$;

comment on type privacy.suppressed_name is $$
@behavior -*
A name that is suppressed: see `privacy.suppression`.
$$;
comment on column privacy.suppressed_name.kind is $$`user` or `anonymous`.$$;
comment on column privacy.suppressed_name.name is $$The name, as given to the function.$$;
comment on column privacy.suppressed_name.since is $$Time of the erasure.$$;
comment on column privacy.suppressed_name.lifted_at is $$Time of the new consent; null while there is none.$$;

create table if not exists privacy.regime (
  regime text primary key check (regime ~ '^[a-z][a-z_]{0,62}$'),
  answer_within interval not null check (answer_within > '0'),
  extension interval check (extension > '0'),
  description text not null
);

comment on table privacy.regime is $$
Laws under which people make requests, with the time to answer. Administrators may add rows.
$$;
comment on column privacy.regime.regime is $$Name of the law, such as `gdpr`.$$;
comment on column privacy.regime.answer_within is $$Time to answer a request, from when it was received.$$;
comment on column privacy.regime.extension is $$
Time by which the answer may be extended once, when the person is informed why; null when the law allows none.
$$;
comment on column privacy.regime.description is $$The law and its articles.$$;

insert into privacy.regime (regime, answer_within, extension, description)
values
  ('gdpr', '1 month', '2 months', 'General Data Protection Regulation (EU, UK), article 12(3).'),
  ('ccpa', '45 days', '45 days', 'California Consumer Privacy Act, section 1798.130(a)(2).'),
  ('ferpa', '45 days', null, 'Family Educational Rights and Privacy Act, 34 CFR 99.10(b).')
on conflict do nothing;

create table if not exists privacy.request (
  request_id uuid primary key default gen_random_uuid(),
  kind text not null check (kind in (
    'access', 'portability', 'erasure', 'rectification', 'restriction', 'objection', 'opt_out'
  )),
  regime text not null references privacy.regime,
  person_id bigint,
  identity_id bigint,
  subject_hash bytea not null check (octet_length(subject_hash) = 32),
  received_at timestamptz not null,
  due_at timestamptz not null,
  extended_until timestamptz check (extended_until > due_at),
  state text not null default 'open' check (state in ('open', 'completed', 'refused', 'withdrawn')),
  completed_at timestamptz,
  outcome text check (length(outcome) <= 2000),
  recorded_at timestamptz not null default clock_timestamp(),
  salt bytea,
  ledger_position bigint,
  check (due_at > received_at),
  check (completed_at >= received_at),
  check ((state = 'open') = (completed_at is null)),
  check ((state = 'open') = (person_id is not null)),
  check ((person_id is null) = (identity_id is null))
);

comment on table privacy.request is $$
@foreignKey (regime) references privacy.regime (regime)
Requests of people about their data (GDPR articles 15 to 21, CCPA, FERPA), with the time to answer.
A request refers to its person until it is answered. Then the hash remains, which proves the request together
with the salt that `privacy.open_request` returned.
$$;
comment on column privacy.request.request_id is $$Key of the request.$$;
comment on column privacy.request.kind is $$
`access`, `portability`, `erasure`, `rectification`, `restriction`, `objection` or `opt_out`.
$$;
comment on column privacy.request.regime is $$Law under which the request was made.$$;
comment on column privacy.request.person_id is $$
Person that the request is about, also after a merge or a split; null when it is answered.
$$;
comment on column privacy.request.identity_id is $$
Identity that the request names, which never changes; null when it is answered.
$$;
comment on column privacy.request.subject_hash is $$SHA-256 hash of a salt, which is not stored, and the name.$$;
comment on column privacy.request.received_at is $$Time at which the request was received.$$;
comment on column privacy.request.due_at is $$Time until which it must be answered, without an extension.$$;
comment on column privacy.request.extended_until is $$
Time until which it must be answered, after an extension; null without one.
$$;
comment on column privacy.request.state is $$`open`, `completed`, `refused` or `withdrawn`.$$;
comment on column privacy.request.completed_at is $$Time of the answer; null while the request is open.$$;
comment on column privacy.request.outcome is $$
Answer, without a name: what was done, or why it was refused; null while the request is open.
$$;
comment on column privacy.request.recorded_at is $$Time at which the request was stored.$$;
comment on column privacy.request.salt is $$
@behavior -*
Random bytes in the commitment of `privacy.ledger`; null until the request is sealed.
$$;
comment on column privacy.request.ledger_position is $$
Entry of `privacy.ledger` that seals the request; null until then.
$$;

create unique index if not exists request_open on privacy.request (identity_id, kind) where completed_at is null;
create index if not exists request_person on privacy.request (person_id) where completed_at is null;
create index if not exists request_regime on privacy.request (regime);
create index if not exists request_unsealed on privacy.request (request_id) where ledger_position is null;

do $do$
begin
  create type privacy.opened_request as (
    request_id uuid,
    kind text,
    regime text,
    received_at timestamptz,
    due_at timestamptz,
    subject_hash text,
    subject_salt text
  );
exception when duplicate_object then null;
end
$do$;

comment on type privacy.opened_request is $$
A new request, for the person who made it.
$$;
comment on column privacy.opened_request.request_id is $$Key of the request.$$;
comment on column privacy.opened_request.kind is $$Kind of the request.$$;
comment on column privacy.opened_request.regime is $$Law under which it was made.$$;
comment on column privacy.opened_request.received_at is $$Time at which it was received.$$;
comment on column privacy.opened_request.due_at is $$Time until which it must be answered.$$;
comment on column privacy.opened_request.subject_hash is $$
SHA-256 hash of the bytes of the salt and of the name in UTF-8, in hexadecimal.
$$;
comment on column privacy.opened_request.subject_salt is $$
Salt of the hash, in hexadecimal. It is not stored: keep it to prove later whose request this was.
$$;

alter table privacy.secret enable row level security;
alter table privacy.suppression enable row level security;
alter table privacy.regime enable row level security;
alter table privacy.request enable row level security;

/* --- Merges of people --- */

do $do$
begin
  if exists (
    select
    from pg_catalog.pg_constraint
    where conrelid = 'track.identity_link'::regclass
      and conname = 'identity_link_kind_check'
      and pg_get_constraintdef(oid) not like '%merge%'
  ) then
    alter table track.identity_link drop constraint identity_link_kind_check;
    alter table track.identity_link
      add constraint identity_link_kind_check check (kind in ('identify', 'alias', 'claim', 'merge')) not valid;
    alter table track.identity_link validate constraint identity_link_kind_check;
  end if;
end
$do$;

comment on column track.identity_link.kind is $$
`identify` (a user identified on a browser), `alias` (the two are the same), `merge` (`track.merge_persons`) or `claim`.
A claim is an `identify` without proof: it counts for messages that its user sends while signed in, and for no others.
$$;

/* --- Erasure: identities of a batch may be erased concurrently --- */

do $do$
begin
  if (
    select prorettype = 'void'::regtype
    from pg_proc
    where oid = to_regprocedure('track._link_people_of(track.parsed_message[], bigint[])')
  ) then
    drop function track._link_people_of(track.parsed_message[], bigint[]);
  end if;
end
$do$;

/* --- Rights: restriction --- */

create table if not exists privacy.restriction (
  identity_id bigint primary key,
  person_id bigint not null,
  reason text not null check (reason in ('accuracy', 'unlawful', 'claims', 'objection')),
  since timestamptz not null default clock_timestamp()
);

comment on table privacy.restriction is $$
People whose data is stored and not processed in any other way (GDPR article 18): see `privacy.restrict_person`.
A restriction belongs to an identity, and applies to its person: it follows merges of people and their reversal.
$$;
comment on column privacy.restriction.identity_id is $$Identity that the restriction names, which never changes.$$;
comment on column privacy.restriction.person_id is $$Person that the identity belongs to now.$$;
comment on column privacy.restriction.reason is $$
Reason of the restriction.
`accuracy` (the person contests it, until it is verified), `unlawful` (she opposes the erasure), `claims` (she needs the
data for legal claims) or `objection` (until it is verified which grounds prevail).
$$;
comment on column privacy.restriction.since is $$Time from which the data is restricted.$$;

create index if not exists restriction_person on privacy.restriction (person_id);

alter table privacy.restriction enable row level security;

alter table privacy.handler add column if not exists rectify_function text
  check (rectify_function ~ '^[a-z][a-z_]*\.[a-z_]+$');

comment on table privacy.handler is $$
@behavior -*
Functions of the rooms that export, erase and correct the data of a person, called in the order of `position`.
Derived data comes first, the identities last. All take a `privacy.subject`; an erase function returns
`setof privacy.erased`, an export function `setof privacy.exported`. A rectify function also takes `changes jsonb`, and
returns `setof privacy.erased`. `insights doctor` checks that they exist.
$$;
comment on column privacy.handler.rectify_function is $$
Name of the rectify function, with its schema; null when there is none.
$$;

update privacy.handler set rectify_function = 'track.rectify' where room = 'track';

alter table privacy.setting add column if not exists hold_function text
  check (hold_function ~ '^[a-z][a-z_]*\.[a-z_]+$');

comment on column privacy.setting.hold_function is $$
Function that does the same as `subject_function`, and holds the person.
Until the transaction ends, no other one merges, splits or erases her.
$$;

update privacy.setting set hold_function = 'track.hold_subject';

insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, description)
values
  ('privacy', 'request', 'person_id', 'person', 'service', 'Person who made the request, until it is answered.'),
  ('privacy', 'request', 'identity_id', 'identity', 'service', 'Identity that the request names, until it is answered.'),
  ('privacy', 'restriction', 'person_id', 'person', 'service', 'Person whose data is restricted.'),
  ('privacy', 'restriction', 'identity_id', 'identity', 'service', 'Identity that the restriction names.')
on conflict do nothing;

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
comment on column privacy.subject.person_id is $$Key of the person.$$;
comment on column privacy.subject.identity_ids is $$Keys of all her identities.$$;
comment on column privacy.subject.kinds is $$Kind of each identity: `user`, `anonymous` or `unverified`.$$;
comment on column privacy.subject.names is $$Name of each identity, as the application sent it.$$;

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
comment on column privacy.erased.table_name is $$Name of the table, with its schema.$$;
comment on column privacy.erased.row_count is $$Number of rows.$$;
comment on column privacy.erased.method is $$`deleted`, `recomputed`, `cleared`, `unlearned` or `marked`.$$;

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
comment on column privacy.exported.table_name is $$Name of the table, with its schema.$$;
comment on column privacy.exported.description is $$Meaning of the rows, for the person.$$;
comment on column privacy.exported.row_count is $$Number of rows.$$;
comment on column privacy.exported.contents is $$List of objects, one per row.$$;

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
comment on column privacy.handler.description is $$Data that the functions cover.$$;

alter table privacy.handler enable row level security;

/* --- One policy per role and action --- */

drop policy if exists admins_change on privacy.purpose;
drop policy if exists admins_change on recommend.event_weight;

/* --- Models that learn and unlearn --- */

alter table ml.model
  add column if not exists marked_at timestamptz,
  add column if not exists marked_reason text check (length(marked_reason) between 1 and 1000);

comment on column ml.model.marked_at is $$
Time from which the version is not used, until another one is trained (`ml.mark_for_training`); null: it is used.
$$;
comment on column ml.model.marked_reason is $$Reason of the mark; null when none was given.$$;

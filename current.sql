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

/* --- Data map: every column of free content, and what an erasure does with it --- */

alter table privacy.data_map add column if not exists erasure text not null default 'deleted';
alter table privacy.data_map add column if not exists basis text;

alter table privacy.data_map drop constraint if exists data_map_holds_check;
alter table privacy.data_map drop constraint if exists data_map_erasure_check;
alter table privacy.data_map drop constraint if exists data_map_check;
alter table privacy.data_map drop constraint if exists data_map_check1;
alter table privacy.data_map
add constraint data_map_holds_check
check (holds in ('person', 'identity', 'traits', 'behaviour', 'decision', 'derived', 'none')),
add constraint data_map_erasure_check
check (erasure in ('deleted', 'recomputed', 'cleared', 'unlearned', 'marked', 'kept')),
add constraint data_map_check check (holds <> 'none' or erasure = 'kept'),
add constraint data_map_check1 check ((holds <> 'none' and erasure = 'kept') = (basis is not null));

comment on table privacy.data_map is $$
Columns that hold personal data or refer to a person, one row per column (GDPR article 30).
Every room registers its own columns in its `data_map.sql`. So that none is forgotten, every column of free content
(text, JSON, arrays, bits, vectors, bytes, UUIDs) has a row; most of them hold `none`.
$$;
comment on column privacy.data_map.holds is $$
Kind of data in the column.
`person` (a `person_id`), `identity` (an identifier of the application), `traits`, `behaviour`, `decision`, `derived`
(computed from behaviour), or `none`: no data of a person.
$$;
comment on column privacy.data_map.description is $$
Meaning of the column; for `none`, the reason why it holds no data of a person.
$$;
comment on column privacy.data_map.erasure is $$
Effect of the erasure of a person on her data in the column.
`deleted` (the row), `recomputed` (from the data of the others), `cleared` (the value is replaced), `unlearned` (a model
is changed exactly), `marked` (a model is not used until it is trained again without her) or `kept`.
$$;
comment on column privacy.data_map.basis is $$
Reason for which the data is kept (GDPR article 17(3)); null for the other columns.
$$;

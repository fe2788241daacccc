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

/* --- serving: the lists of a set of people are found by its name alone --- */

drop index if exists recommend.ranked_list_order;
create index ranked_list_order on recommend.ranked_list (list, kind, score desc, item_id);

-- Functions whose arguments changed.
drop function if exists recommend._gather(
  recommend.person_context, recommend.request, text[], bigint, int, bigint[], int, bigint[], float8[], text[]
);
drop function if exists recommend._explain(
  recommend.person_context, text, bigint, int, int, bigint[], text[], float8[], bigint[], int, text
);

-- Rows of former versions are changed by the next training.
alter table recommend.neighbours set (toast_tuple_target = 8160);

/* --- Bounds of the recommender: periods of its settings, and when a standard error is unknown --- */

update recommend.setting
set
  serving_period = least(serving_period, '10 years'),
  attribution_period = least(attribution_period, '10 years')
where serving_period > '10 years'
  or attribution_period > '10 years';

-- The table has one row.
alter table recommend.setting
  drop constraint if exists setting_serving_period_check,
  -- squawk-ignore constraint-missing-not-valid
  add constraint setting_serving_period_check check (serving_period > '0' and serving_period <= '10 years'),
  drop constraint if exists setting_attribution_period_check,
  -- squawk-ignore constraint-missing-not-valid
  add constraint setting_attribution_period_check
    check (attribution_period > '0' and attribution_period <= '10 years');

comment on column recommend.policy_value.ips_standard_error is $$
Standard error of `ips`, by person; null for fewer than two people, and when all deviations are 0.
$$;
comment on column recommend.policy_value.snips_standard_error is $$
Standard error of `snips`, by person (delta method); null for fewer than two people, and when all deviations are 0.
$$;

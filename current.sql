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

alter table recommend.setting
  add column if not exists most_learned_items int not null default 4000 check (most_learned_items between 0 and 16000);

comment on column recommend.setting.most_learned_items is $$
Maximum number of items of a version that keeps a record of what it learned, with which it is updated and unlearns.
A version with more items is marked for training when a person is erased. 0: no version keeps a record.
$$;

alter table recommend.model_part
  add column if not exists person_mean float8 check (person_mean > 0),
  add column if not exists scale float8 check (scale > 0);

comment on column recommend.model_part.person_mean is $$
Mean of n ^ -`person_exponent` over the people of the training, who have n items.
The factor of a person is divided by it. Fixed by the training, so that a person does not change the factors of others.
Null for methods without such a factor.
$$;
comment on column recommend.model_part.scale is $$
Number by which the weights of the part of a blend are divided, fixed by the training.
Null when there is one part.
$$;

comment on column recommend.neighbours.person_count is $$
Number of people who had taken the item when the version was trained or last updated.
$$;

drop function if exists recommend._training_rows(text, timestamptz);
drop function if exists ml._dense_neighbours(int[], vector[], int, int);

create table if not exists recommend.learning (
  model_id bigint primary key references ml.model on delete cascade,
  is_live boolean not null default true,
  person_count int not null check (person_count >= 0),
  update_count int not null default 0 check (update_count >= 0),
  updated_at timestamptz not null default clock_timestamp(),
  rebuilt_at timestamptz not null default clock_timestamp(),
  drift float8
);

comment on table recommend.learning is $$
@behavior -*
Versions of recommenders that are changed exactly when people arrive, change or are erased (`recommend.learned`).
$$;
comment on column recommend.learning.model_id is $$Version.$$;
comment on column recommend.learning.is_live is $$
Whether the record has the present rows of all people: true while the version is deployed.
$$;
comment on column recommend.learning.person_count is $$Number of people in the record.$$;
comment on column recommend.learning.update_count is $$
Number of updates since the statistics were last computed from the whole record.
$$;
comment on column recommend.learning.updated_at is $$Time of the last update.$$;
comment on column recommend.learning.rebuilt_at is $$
Time at which the statistics were last computed from the whole record.
$$;
comment on column recommend.learning.drift is $$
Relative error that the updates before this computation had left.
It is the largest, over the rows of the inverse of a part, of the distance to the computed row divided by its length; 0
for parts that count pairs, null before the first update.
$$;

create table if not exists recommend.learned (
  person_id bigint not null,
  model_id bigint not null references recommend.learning on delete cascade,
  item_ids bigint[] not null,
  strengths real[] not null,
  is_stale boolean not null default false,
  primary key (person_id, model_id),
  check (cardinality(item_ids) = cardinality(strengths) and cardinality(item_ids) > 0)
);

comment on table recommend.learned is $$
@foreignKey (model_id) references recommend.learning (model_id)
@behavior -*
Record of what a version of a recommender learned from each person, so that it can be unlearned exactly.
$$;
comment on column recommend.learned.person_id is $$Person.$$;
comment on column recommend.learned.model_id is $$Version.$$;
comment on column recommend.learned.item_ids is $$Items of the person, in the order of their last use.$$;
comment on column recommend.learned.strengths is $$Strength of each of them, above 0 and at most 1.$$;
comment on column recommend.learned.is_stale is $$
Whether the rows of the person may have changed while the version was not deployed; they are not learned then.
$$;

create index if not exists learned_model on recommend.learned (model_id);

create table if not exists recommend.learned_item (
  model_id bigint not null,
  part smallint not null,
  item_id bigint not null references track.item,
  person_count int not null check (person_count >= 0),
  target_ids bigint[],
  totals bigint[],
  inverse vector,
  primary key (model_id, part, item_id),
  foreign key (model_id, part) references recommend.model_part on delete cascade,
  check (cardinality(target_ids) = cardinality(totals)),
  check ((inverse is null) = (target_ids is not null))
);

-- Read and written whole: uncompressed.
alter table recommend.learned_item alter column target_ids set storage external;
alter table recommend.learned_item alter column totals set storage external;
alter table recommend.learned_item alter column inverse set storage external;

comment on table recommend.learned_item is $$
@behavior -*
Sufficient statistics of the parts of versions that learn: one row per item, from which its neighbour list is made.
$$;
comment on column recommend.learned_item.model_id is $$Version.$$;
comment on column recommend.learned_item.part is $$Part of the version.$$;
comment on column recommend.learned_item.item_id is $$Item.$$;
comment on column recommend.learned_item.person_count is $$Number of people in the record who have the item.$$;
comment on column recommend.learned_item.target_ids is $$
Of a part that counts pairs: the items of the sums, in ascending order. Null for EASE and EDLAE.
$$;
comment on column recommend.learned_item.totals is $$
Sum of each of them, a whole number of 2^-40 (`ml.sequence_pairs`, `ml.item_knn_pairs`).
$$;
comment on column recommend.learned_item.inverse is $$
Of EASE and EDLAE: the row of P = (XᵀX + ridges)⁻¹, whose columns are the items of the part in ascending order.
$$;

create index if not exists learned_item_item on recommend.learned_item (item_id);

alter table recommend.learning enable row level security;
alter table recommend.learned enable row level security;
alter table recommend.learned_item enable row level security;

insert into track.consumer (consumer, position, refresh, inputs, description)
values (
  'recommend.learned', 4, 'recommend.learn', '{event,enrolment,decision,identity}',
  'What the deployed recommenders learned from each person.'
)
on conflict do nothing;

insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, description)
values
  ('recommend', 'learned', 'person_id', 'person', 'personalization', 'Person that a recommender learned from.'),
  ('recommend', 'learned', 'item_ids', 'derived', 'personalization', 'Items that it learned from her.'),
  ('recommend', 'learned', 'strengths', 'derived', 'personalization', 'Strength of each of these items.')
on conflict do nothing;

insert into track.distribution (schema_name, table_name, column_name, colocated_with, description)
values (
  'recommend', 'learned', 'person_id', 'track.event', 'What recommenders learned from the person.'
)
on conflict do nothing;

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

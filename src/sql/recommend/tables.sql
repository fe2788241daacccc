create schema recommend;

comment on schema recommend is $$
Recommendation: interactions, recommender models, served lists with reasons that add up.
$$;

grant usage on schema recommend to insights_learner, insights_analyst, insights_admin, insights_worker;
-- Creates nothing itself; whoever owns a function needs the right to create in its schema.
grant usage, create on schema recommend to insights_reader;

/* -------------------------------------------------------------------------------------------------- settings -- */

create table recommend.setting (
  only_row boolean primary key default true check (only_row),
  full_weight real not null default 1 check (full_weight > 0 and full_weight < 'infinity'),
  lambdas float8[] not null default '{5,50,500}' check (cardinality(lambdas) between 1 and 20),
  fewest_people int not null default 5 check (fewest_people >= 2),
  most_test_people int not null default 1000 check (most_test_people >= 0),
  versions_kept int not null default 3 check (versions_kept >= 1),
  most_reasons int not null default 5 check (most_reasons between 1 and 50)
);

comment on table recommend.setting is $$
How recommendation works: one row. Takes effect at the next training or request.
$$;
comment on column recommend.setting.only_row is $$Always true, so that there is one row.$$;
comment on column recommend.setting.full_weight is $$Weight from which on a person counts as having taken an item: it is not recommended any more, and more of it does not count more. Less counts in proportion.$$;
comment on column recommend.setting.lambdas is $$Ridges that a training chooses from, by the items that half of its test people took last.$$;
comment on column recommend.setting.fewest_people is $$Fewest people with two or more items that a model is trained on; fewer would tell about each.$$;
comment on column recommend.setting.most_test_people is $$Most people whose last item is held out to measure a model.$$;
comment on column recommend.setting.versions_kept is $$Versions of a model whose weights are kept, for a rollback; the deployed one is kept always.$$;
comment on column recommend.setting.most_reasons is $$Most items that a recommendation is explained by; the rest is summed up in one.$$;

insert into recommend.setting default values;

create table recommend.event_weight (
  event text primary key check (length(event) between 1 and 200),
  weight real not null check (weight >= 0 and weight < 'infinity'),
  most_counted int check (most_counted > 0),
  completes boolean not null default false,
  dismisses boolean not null default false,
  check (not (completes and dismisses))
);

comment on table recommend.event_weight is $$
What an event says about the interest of a person in an item. Events that are not listed say nothing.
After a change, `select recommend.rebuild()` applies it to what is stored.
$$;
comment on column recommend.event_weight.event is $$Name of the event, as in `track.event_type`.$$;
comment on column recommend.event_weight.weight is $$What each such event adds; the sum of an item and all it contains is held against `recommend.setting.full_weight`.$$;
comment on column recommend.event_weight.most_counted is $$How many of them count for one person and item; null: all.$$;
comment on column recommend.event_weight.completes is $$Whether it says that the person has finished the item.$$;
comment on column recommend.event_weight.dismisses is $$Whether it says that the person does not want the item.$$;

insert into recommend.event_weight (event, weight, most_counted, completes, dismisses)
values
  ('Course Enrolled', 1, 1, false, false),
  ('Course Started', 1, 1, false, false),
  ('Course Completed', 1, 1, true, false),
  ('Course Rated', 1, 1, false, false),
  ('Course Dropped', 0, 1, false, true),
  ('Course Dismissed', 0, 1, false, true),
  ('Recommendation Dismissed', 0, 1, false, true),
  ('Module Completed', 0.3, 1, true, false),
  ('Task Started', 0.1, 1, false, false),
  ('Task Submitted', 0.2, 1, false, false),
  ('Task Completed', 0.2, 1, true, false),
  ('Page Viewed', 0.05, 4, false, false),
  ('Screen Viewed', 0.05, 4, false, false),
  ('Video Playback Started', 0.05, 2, false, false),
  ('Video Playback Completed', 0.1, 1, true, false);

create table recommend.secret (
  only_row boolean primary key default true check (only_row),
  inner_key bytea not null check (length(inner_key) = 64),
  outer_key bytea not null check (length(outer_key) = 64)
);

comment on table recommend.secret is $$
@behavior -*
What served lists are signed with. Granted to nobody.
$$;
comment on column recommend.secret.only_row is $$Always true, so that there is one row.$$;
comment on column recommend.secret.inner_key is $$Key of the inner hash, one block of SHA-256.$$;
comment on column recommend.secret.outer_key is $$Key of the outer hash, one block of SHA-256.$$;

-- Version 4 UUIDs come from the server's strong random source, 122 bits each.
insert into recommend.secret (inner_key, outer_key)
select
  uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()),
  uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid());

/* ---------------------------------------------------------------------------------------------- interactions -- */

create table recommend.interaction (
  person_id bigint not null,
  item_id bigint not null references track.item,
  weight real not null,
  event_count int not null,
  first_at timestamptz not null,
  last_at timestamptz not null,
  completed_at timestamptz,
  dismissed_at timestamptz,
  primary key (person_id, item_id)
);

comment on table recommend.interaction is $$
@foreignKey (item_id) references track.item (item_id)
What each person has to do with each item, from the events that `recommend.event_weight` lists. Kept by `recommend.refresh_interactions`, always what a computation from scratch would give.
Rows are of the items that the events name; a course gets the sum of what it contains when a model is trained or asked.
$$;
comment on column recommend.interaction.person_id is $$Who.$$;
comment on column recommend.interaction.item_id is $$With what.$$;
comment on column recommend.interaction.weight is $$Sum of the weights of the events.$$;
comment on column recommend.interaction.event_count is $$Number of the events.$$;
comment on column recommend.interaction.first_at is $$Time of the first one.$$;
comment on column recommend.interaction.last_at is $$Time of the last one.$$;
comment on column recommend.interaction.completed_at is $$When the person last finished the item.$$;
comment on column recommend.interaction.dismissed_at is $$When the person last said not to want it.$$;

create index interaction_item on recommend.interaction (item_id);

insert into track.consumer (consumer, position, refresh, inputs, description)
values (
  'recommend.interaction', 2, 'recommend.refresh_interactions', '{event,decision}', 'The interactions of each person with each item.'
);

insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, description)
values ('recommend', 'interaction', 'person_id', 'person', 'personalization', 'Whose interest it is.');

insert into track.distribution (schema_name, table_name, column_name, colocated_with, description)
values ('recommend', 'interaction', 'person_id', 'track.event', 'Derived from the events of the person.');

/* ---------------------------------------------------------------------------------------------------- models -- */

create table recommend.item_weight (
  model_id bigint not null references ml.model on delete cascade,
  item_no int not null check (item_no > 0),
  item_id bigint not null references track.item,
  person_count int not null check (person_count > 0),
  diagonal real not null check (diagonal > 0),
  weights vector not null,
  primary key (model_id, item_no),
  unique (model_id, item_id)
);

comment on table recommend.item_weight is $$
@behavior -*
EASE models: the row of the weights B of each item. The sum of the rows of a person's items is the person's score for every item.
$$;
comment on column recommend.item_weight.model_id is $$Version of a model.$$;
comment on column recommend.item_weight.item_no is $$Place of the item in all vectors of the version.$$;
comment on column recommend.item_weight.item_id is $$The item.$$;
comment on column recommend.item_weight.person_count is $$People who had taken it when the version was trained.$$;
comment on column recommend.item_weight.diagonal is $$Its entry on the diagonal of P = (XᵀX + λI)⁻¹: B[i,j] = B[j,i] P[i,i] / P[j,j].$$;
comment on column recommend.item_weight.weights is $$What interest in it says about each item, in order of `item_no`; 0 for itself.$$;

create index item_weight_item on recommend.item_weight (item_id);

/* ----------------------------------------------------------------------------------------------------- types -- */

create type recommend.reason as (kind text, item text, title text, contribution float8);

comment on type recommend.reason is $$
A part of a score. `kind` is `item` (because of that item of the person's), `others` (all further items together) or `popularity`.
The contributions of a recommendation add up to its score.
$$;
comment on column recommend.reason.kind is $$`item`, `others` or `popularity`.$$;
comment on column recommend.reason.item is $$The item of the person's, by the application's name for it.$$;
comment on column recommend.reason.title is $$Its title, or what else the reason is.$$;
comment on column recommend.reason.contribution is $$What it adds to the score; negative where it speaks against.$$;

create type recommend.recommendation as (
  rank int,
  item_id bigint,
  item text,
  title text,
  score float8,
  reasons recommend.reason[],
  basis text,
  model_version int,
  serving_id text
);

comment on type recommend.recommendation is $$
An item for a person, with its reasons. `basis` is `model`, or `popularity` where nothing is known of the person or no model is trained: then the score is the item's popularity, 1 for the most popular.
`serving_id` is signed and says which version put the item at which rank; send it back with impressions and clicks.
$$;
comment on column recommend.recommendation.rank is $$1 for the best.$$;
comment on column recommend.recommendation.item_id is $$Key of the item.$$;
comment on column recommend.recommendation.item is $$The application's name for it.$$;
comment on column recommend.recommendation.title is $$Its title.$$;
comment on column recommend.recommendation.score is $$Sum of the contributions of its reasons.$$;
comment on column recommend.recommendation.reasons is $$Why, strongest first.$$;
comment on column recommend.recommendation.basis is $$`model` or `popularity`.$$;
comment on column recommend.recommendation.model_version is $$Version of the model, null for popularity.$$;
comment on column recommend.recommendation.serving_id is $$Model (0 for popularity), item, rank, propensity, time in seconds since 1970 and signature, with dots between.$$;

create type recommend.similar_item as (rank int, item_id bigint, item text, title text, score float8);

comment on type recommend.similar_item is $$
An item that goes with another one: `score` is the weight that interest in the other has for it.
$$;
comment on column recommend.similar_item.rank is $$1 for the most similar.$$;
comment on column recommend.similar_item.item_id is $$Key of the item.$$;
comment on column recommend.similar_item.item is $$The application's name for it.$$;
comment on column recommend.similar_item.title is $$Its title.$$;
comment on column recommend.similar_item.score is $$Weight that interest in the other item has for it.$$;

create type recommend.training as (
  kind text,
  version int,
  deployed boolean,
  reason text,
  lambda float8,
  ndcg_at_10 float8,
  recall_at_10 float8,
  popularity_ndcg_at_10 float8,
  popularity_recall_at_10 float8,
  test_people int,
  people int,
  items int,
  interactions int,
  duration interval
);

comment on type recommend.training is $$
What became of a training. `reason` says why the version was deployed or not, in the words of `ml.deployment.strategy`, or `worse`. Measures are null where there were too few people to hold anything out.
$$;
comment on column recommend.training.kind is $$Kind of items.$$;
comment on column recommend.training.version is $$Version in `ml.model` of the project `recommend.<kind>`.$$;
comment on column recommend.training.deployed is $$Whether it was put in force.$$;
comment on column recommend.training.reason is $$`first`, `better`, `newest` or `worse`.$$;
comment on column recommend.training.lambda is $$The ridge that was chosen.$$;
comment on column recommend.training.ndcg_at_10 is $$NDCG@10 of the held-out items.$$;
comment on column recommend.training.recall_at_10 is $$Share of the held-out items among the best ten.$$;
comment on column recommend.training.popularity_ndcg_at_10 is $$NDCG@10 of a list by popularity.$$;
comment on column recommend.training.popularity_recall_at_10 is $$Recall@10 of a list by popularity.$$;
comment on column recommend.training.test_people is $$People that it was measured on.$$;
comment on column recommend.training.people is $$People that it learned from.$$;
comment on column recommend.training.items is $$Items that it knows.$$;
comment on column recommend.training.interactions is $$Pairs of a person and an item that it learned from.$$;
comment on column recommend.training.duration is $$Elapsed time.$$;

create type recommend.measurement as (
  lambda float8,
  test_people int,
  ndcg_at_10 float8,
  ndcg_at_10_standard_error float8,
  recall_at_10 float8,
  popularity_ndcg_at_10 float8,
  popularity_recall_at_10 float8
);

comment on type recommend.measurement is $$
How a training measured its model on held-out items. Null where nothing could be held out, but for the ridge.
$$;
comment on column recommend.measurement.lambda is $$The ridge that was chosen.$$;
comment on column recommend.measurement.test_people is $$People that it was measured on.$$;
comment on column recommend.measurement.ndcg_at_10 is $$NDCG@10 of the held-out items.$$;
comment on column recommend.measurement.ndcg_at_10_standard_error is $$Its standard error.$$;
comment on column recommend.measurement.recall_at_10 is $$Share of the held-out items among the best ten.$$;
comment on column recommend.measurement.popularity_ndcg_at_10 is $$NDCG@10 of a list by popularity.$$;
comment on column recommend.measurement.popularity_recall_at_10 is $$Recall@10 of a list by popularity.$$;

alter table recommend.setting enable row level security;
alter table recommend.event_weight enable row level security;
alter table recommend.secret enable row level security;
alter table recommend.interaction enable row level security;
alter table recommend.item_weight enable row level security;

create schema recommend;

comment on schema recommend is $$
Recommendations: interactions, recommender models, and ranked lists whose reasons add up to the scores.
$$;

grant usage on schema recommend to insights_learner, insights_analyst, insights_admin, insights_worker;
-- The owner of a function needs the privilege to create in its schema.
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
Settings of the recommender: one row. A change applies to the next training or request.
$$;
comment on column recommend.setting.only_row is $$Always true, so that the table has one row.$$;
comment on column recommend.setting.full_weight is $$
Weight from which a person counts as having taken an item.
A taken item is not recommended to the person. Smaller weights count in proportion; larger weights do not count more.
$$;
comment on column recommend.setting.lambdas is $$
Candidate values of the ridge parameter λ.
A training selects the one that ranks the last items of half of the test people best.
$$;
comment on column recommend.setting.fewest_people is $$
Minimum number of people with two or more items that a model is trained on.
Fewer people would make it possible to infer the items of each of them.
$$;
comment on column recommend.setting.most_test_people is $$
Maximum number of people whose last item is held out to measure a model.
$$;
comment on column recommend.setting.versions_kept is $$
Number of versions of a model whose weights are kept, for a rollback. The deployed version is always kept.
$$;
comment on column recommend.setting.most_reasons is $$
Maximum number of items in the reasons of a recommendation; the remaining items are summed in one reason.
$$;

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
Weights of event types: how much an event contributes to the interest of a person in an item.
Events that are not listed are ignored. After a change, `select recommend.rebuild()` applies it to the stored
interactions.
$$;
comment on column recommend.event_weight.event is $$
Name of the event, as in `track.event_type`.
A merged event has the weight of its target, or else its own; a renamed one that of its former name, unless the new name
has one.
$$;
comment on column recommend.event_weight.weight is $$
Weight of one such event.
The sum over an item and all that it contains is compared with `recommend.setting.full_weight`.
$$;
comment on column recommend.event_weight.most_counted is $$
Maximum number of such events that count for one person and item; null: no limit.
$$;
comment on column recommend.event_weight.completes is $$
Whether the event means that the person has finished the item.
$$;
comment on column recommend.event_weight.dismisses is $$
Whether the event means that the person does not want the item.
$$;

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
Keys with which ranked lists are signed. No role may read this table.
$$;
comment on column recommend.secret.only_row is $$Always true, so that the table has one row.$$;
comment on column recommend.secret.inner_key is $$Key of the inner hash, one block of SHA-256.$$;
comment on column recommend.secret.outer_key is $$Key of the outer hash, one block of SHA-256.$$;

-- Version 4 UUIDs are from the strong random source of the server, 122 bits each.
insert into recommend.secret (inner_key, outer_key)
select
  uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())
    || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()),
  uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())
    || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid());

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
Interactions of people with items, computed from the events that `recommend.event_weight` lists.
Maintained by `recommend.refresh_interactions`; the rows are always the same as those of a computation from scratch.
Rows refer to the items that the events name. The interactions of a course are summed over what it contains when a
model is trained or queried.
$$;
comment on column recommend.interaction.person_id is $$Person.$$;
comment on column recommend.interaction.item_id is $$Item that the events name.$$;
comment on column recommend.interaction.weight is $$Sum of the weights of the events.$$;
comment on column recommend.interaction.event_count is $$Number of events.$$;
comment on column recommend.interaction.first_at is $$Time of the first event.$$;
comment on column recommend.interaction.last_at is $$Time of the last event.$$;
comment on column recommend.interaction.completed_at is $$
Time at which the person last finished the item; null when never.
$$;
comment on column recommend.interaction.dismissed_at is $$
Time at which the person last dismissed the item; null when never.
$$;

create index interaction_item on recommend.interaction (item_id);

insert into track.consumer (consumer, position, refresh, inputs, description)
values (
  'recommend.interaction', 2, 'recommend.refresh_interactions', '{event,decision}',
  'The interactions of each person with each item.'
);

insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, description)
values ('recommend', 'interaction', 'person_id', 'person', 'personalization', 'Person that used the item.');

insert into track.distribution (schema_name, table_name, column_name, colocated_with, description)
values ('recommend', 'interaction', 'person_id', 'track.event', 'Derived from the events of the person.');

/* --------------------------------------------------------------------------------------------- neighbour lists -- */

create table recommend.model_part (
  model_id bigint not null references ml.model on delete cascade,
  part smallint not null check (part > 0),
  algorithm text not null,
  share real not null default 1 check (share > 0 and share < 'infinity'),
  history_decay real not null default 1 check (history_decay > 0 and history_decay <= 1),
  primary key (model_id, part)
);

comment on table recommend.model_part is $$
@behavior -*
Parts of versions of recommenders. The score of an item is the sum of its scores by the parts, each times `share`.
$$;
comment on column recommend.model_part.model_id is $$Version of the model.$$;
comment on column recommend.model_part.part is $$Number of the part, from 1.$$;
comment on column recommend.model_part.algorithm is $$Method of the part, such as `ease`.$$;
comment on column recommend.model_part.share is $$Factor of the scores of the part.$$;
comment on column recommend.model_part.history_decay is $$
Factor of the strength of an item for each item that the person used later: 1 means that the order does not matter.
$$;

create table recommend.neighbours (
  model_id bigint not null,
  part smallint not null,
  item_id bigint not null references track.item,
  person_count int not null check (person_count >= 0),
  neighbour_ids bigint[] not null,
  weights real[] not null,
  primary key (model_id, part, item_id),
  foreign key (model_id, part) references recommend.model_part on delete cascade,
  check (cardinality(neighbour_ids) = cardinality(weights))
);

-- Read whole, often: uncompressed.
alter table recommend.neighbours alter column neighbour_ids set storage external;
alter table recommend.neighbours alter column weights set storage external;

comment on table recommend.neighbours is $$
@behavior -*
Weights of models between items: one row per item of a person, with the items whose score it changes.
The score of an item for a person is the sum of the weights from the items of the person, times their strengths.
$$;
comment on column recommend.neighbours.model_id is $$Version of the model.$$;
comment on column recommend.neighbours.part is $$Part of the version.$$;
comment on column recommend.neighbours.item_id is $$Item of the person.$$;
comment on column recommend.neighbours.person_count is $$
Number of people who had taken the item when the version was trained.
$$;
comment on column recommend.neighbours.neighbour_ids is $$
Items whose score the item changes, in ascending order, without the item itself.
$$;
comment on column recommend.neighbours.weights is $$Weight of each of them.$$;

create index neighbours_item on recommend.neighbours (item_id);

/* ----------------------------------------------------------------------------------------------- ranked lists -- */

create table recommend.ranked_list (
  kind text not null,
  list text not null,
  item_id bigint not null references track.item,
  score float8 not null,
  primary key (kind, list, item_id)
);

comment on table recommend.ranked_list is $$
@behavior -*
Lists of items that are the same for many people: `popular`, `trending`, and one list per segment.
Maintained by `recommend.refresh_lists`.
$$;
comment on column recommend.ranked_list.kind is $$Kind of the items.$$;
comment on column recommend.ranked_list.list is $$`popular`, `trending`, or the name of a set of people.$$;
comment on column recommend.ranked_list.item_id is $$Item.$$;
comment on column recommend.ranked_list.score is $$Score, from 0 to 1 for the best item of the list.$$;

create index ranked_list_order on recommend.ranked_list (kind, list, score desc, item_id);
create index ranked_list_item on recommend.ranked_list (item_id);

/* ----------------------------------------------------------------------------------------------------- types -- */

create type recommend.reason as (kind text, item text, title text, contribution float8);

comment on type recommend.reason is $$
A term of a score. The contributions of the reasons of a recommendation add up to its score.
`kind` is `item` (an item of the person), `others` (all further items together) or `popularity`.
$$;
comment on column recommend.reason.kind is $$`item`, `others` or `popularity`.$$;
comment on column recommend.reason.item is $$External id of the item of the person; null for the other kinds.$$;
comment on column recommend.reason.title is $$Title of the item, or a description of the reason.$$;
comment on column recommend.reason.contribution is $$
Amount that the reason adds to the score; negative when it lowers the score.
$$;

create type recommend.recommendation as (
  rank int,
  item_id bigint,
  item text,
  title text,
  score float8,
  reasons recommend.reason[],
  basis text,
  model_version int,
  serving_id text,
  propensity float8,
  next_page text
);

comment on type recommend.recommendation is $$
A recommended item for a person, with its reasons.
`basis` is `model`, or `popularity` when no item of the person is part of the model or no model is trained; the score
is then the popularity of the item, 1 for the most popular one. `serving_id` is signed and contains the version and
the rank. Send it with impressions and clicks.
$$;
comment on column recommend.recommendation.rank is $$Rank, 1 for the best item.$$;
comment on column recommend.recommendation.item_id is $$Key of the item.$$;
comment on column recommend.recommendation.item is $$External id of the item.$$;
comment on column recommend.recommendation.title is $$Title of the item; null when unknown.$$;
comment on column recommend.recommendation.score is $$Sum of the contributions of the reasons.$$;
comment on column recommend.recommendation.reasons is $$Reasons of the recommendation, the strongest first.$$;
comment on column recommend.recommendation.basis is $$`model` or `popularity`.$$;
comment on column recommend.recommendation.model_version is $$Version of the model; null for popularity.$$;
comment on column recommend.recommendation.serving_id is $$
Signed identifier of the recommendation.
Model (0 for popularity), item, rank, propensity, time in seconds since 1970, and signature, separated by dots.
$$;
comment on column recommend.recommendation.propensity is $$
Probability with which the item was drawn for a marked slot; null for the other rows.
$$;
comment on column recommend.recommendation.next_page is $$
On the last row: argument `page` of the call that continues this list, without repeating an item. Null on the others.
$$;

create type recommend.person_context as (
  person_id bigint,
  identity_id bigint,
  items bigint[],
  strengths real[],
  left_out bigint[],
  left_out_reasons text[],
  finished bigint[],
  dismissed_topics text[],
  languages text[],
  person_sets text[],
  shown bigint[],
  shown_at timestamptz[]
);

comment on type recommend.person_context is $$
@behavior -*
What a list for a person depends on: read with the privileges of the caller, and given to the functions that rank.
$$;
comment on column recommend.person_context.person_id is $$Person; null when unknown.$$;
comment on column recommend.person_context.identity_id is $$
Identity for which lists are signed: the one of the name that was given; 0 when unknown.
$$;
comment on column recommend.person_context.items is $$
Items of the kind that the person likes or dislikes, in the order of their last use, the earliest first.
$$;
comment on column recommend.person_context.strengths is $$Strength of each of `items`, from -1 to 1, not 0.$$;
comment on column recommend.person_context.left_out is $$
Items of the kind that are not recommended to the person because of what she did.
$$;
comment on column recommend.person_context.left_out_reasons is $$
Reason for each of `left_out`: `completed`, `taken`, `enrolled`, `dropped`, `dismissed`, `known`, `disliked` or `own`.
$$;
comment on column recommend.person_context.finished is $$Items of any kind that the person has finished or knows.$$;
comment on column recommend.person_context.dismissed_topics is $$Topics that the person is not interested in.$$;
comment on column recommend.person_context.languages is $$
Languages of the person (BCP 47, lower case); empty when unknown.
$$;
comment on column recommend.person_context.person_sets is $$
Sets of people that contain the person, of those that a rule or a ranked list names.
$$;
comment on column recommend.person_context.shown is $$Items that were served to the person lately.$$;
comment on column recommend.person_context.shown_at is $$Time at which each of `shown` was last served.$$;

create type recommend.request as (
  kind text,
  top int,
  excluded bigint[],
  only_items bigint[],
  diversity float8,
  is_explored boolean,
  page text
);

comment on type recommend.request is $$
@behavior -*
What a caller asks for.
$$;
comment on column recommend.request.kind is $$Kind of the items.$$;
comment on column recommend.request.top is $$Maximum number of items.$$;
comment on column recommend.request.excluded is $$Items that the list must not contain.$$;
comment on column recommend.request.only_items is $$Items that the list may contain; null: all items of the kind.$$;
comment on column recommend.request.diversity is $$
Weight of the diversity of the list against its scores, from 0 to 1; null: that of `recommend.setting`.
$$;
comment on column recommend.request.is_explored is $$Whether the marked slots may hold items drawn at random.$$;
comment on column recommend.request.page is $$
Value of `next_page` of the list that is continued; null for the first page.
$$;

create type recommend.similar_item as (rank int, item_id bigint, item text, title text, score float8);

comment on type recommend.similar_item is $$
An item that is similar to another one, with the weight between them.
$$;
comment on column recommend.similar_item.rank is $$Rank, 1 for the most similar item.$$;
comment on column recommend.similar_item.item_id is $$Key of the item.$$;
comment on column recommend.similar_item.item is $$External id of the item.$$;
comment on column recommend.similar_item.title is $$Title of the item; null when unknown.$$;
comment on column recommend.similar_item.score is $$Weight from the other item to this one.$$;

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
Result of a training.
`reason` states why the version was or was not deployed: a value of `ml.deployment.strategy`, or `worse`. The measures
are null when there were not enough people to hold out items.
$$;
comment on column recommend.training.kind is $$Kind of the items.$$;
comment on column recommend.training.version is $$Version in `ml.model` of the project `recommend.<kind>`.$$;
comment on column recommend.training.deployed is $$Whether the version was deployed.$$;
comment on column recommend.training.reason is $$`first`, `better`, `newest` or `worse`.$$;
comment on column recommend.training.lambda is $$Ridge parameter λ that was selected.$$;
comment on column recommend.training.ndcg_at_10 is $$NDCG@10 of the held-out items.$$;
comment on column recommend.training.recall_at_10 is $$Share of the held-out items among the ten best.$$;
comment on column recommend.training.popularity_ndcg_at_10 is $$NDCG@10 of a list by popularity.$$;
comment on column recommend.training.popularity_recall_at_10 is $$Recall@10 of a list by popularity.$$;
comment on column recommend.training.test_people is $$Number of people that the model was measured on.$$;
comment on column recommend.training.people is $$Number of people that the model was trained on.$$;
comment on column recommend.training.items is $$Number of items of the model.$$;
comment on column recommend.training.interactions is $$
Number of pairs of a person and an item that the model was trained on.
$$;
comment on column recommend.training.duration is $$Duration of the training.$$;

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
Measures of a model on the held-out items. All but `lambda` are null when no item could be held out.
$$;
comment on column recommend.measurement.lambda is $$Ridge parameter λ that was selected.$$;
comment on column recommend.measurement.test_people is $$Number of people that the model was measured on.$$;
comment on column recommend.measurement.ndcg_at_10 is $$NDCG@10 of the held-out items.$$;
comment on column recommend.measurement.ndcg_at_10_standard_error is $$Standard error of `ndcg_at_10`.$$;
comment on column recommend.measurement.recall_at_10 is $$Share of the held-out items among the ten best.$$;
comment on column recommend.measurement.popularity_ndcg_at_10 is $$NDCG@10 of a list by popularity.$$;
comment on column recommend.measurement.popularity_recall_at_10 is $$Recall@10 of a list by popularity.$$;

alter table recommend.setting enable row level security;
alter table recommend.event_weight enable row level security;
alter table recommend.secret enable row level security;
alter table recommend.interaction enable row level security;
alter table recommend.model_part enable row level security;
alter table recommend.neighbours enable row level security;
alter table recommend.ranked_list enable row level security;

/* -------------------------------------------------------------------------------------------------- serving -- */

create type recommend.page as (
  model_id bigint,
  served bigint[],
  frozen bigint[],
  tiers int[]
);

comment on type recommend.page is $$
@behavior -*
State of a list that is continued: what `recommendation.next_page` holds, signed.
$$;
comment on column recommend.page.model_id is $$Version of the model; 0 when there was none.$$;
comment on column recommend.page.served is $$Items of the former pages.$$;
comment on column recommend.page.frozen is $$Items that follow, in the order of the list.$$;
comment on column recommend.page.tiers is $$
Number of the tier of each of `frozen`, in the order of `recommend._rank`.
$$;

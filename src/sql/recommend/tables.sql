create schema recommend;

comment on schema recommend is $$
Recommendations: interactions, recommender models, and ranked lists whose reasons add up to the scores.
$$;

grant usage on schema recommend
to insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;
-- The owner of a function needs the privilege to create in its schema.
grant usage, create on schema recommend to insights_reader;

/* -------------------------------------------------------------------------------------------------- settings -- */

create table recommend.setting (
  only_row boolean primary key default true check (only_row),
  full_weight real not null default 1 check (full_weight > 0 and full_weight < 'infinity'),
  lambdas float8[] not null default '{5,50,500}' check (
    cardinality(lambdas) between 1 and 20 and (1e-30 <= all (lambdas) and 1e15 >= all (lambdas)) is true
  ),
  fewest_people int not null default 5 check (fewest_people >= 2),
  most_test_people int not null default 1000 check (most_test_people >= 0),
  versions_kept int not null default 3 check (versions_kept >= 1),
  most_reasons int not null default 5 check (most_reasons between 1 and 50),
  kept_kinds text[] not null default '{course}' check (cardinality(kept_kinds) <= 20),
  topic_attribute text not null default 'subject' check (length(topic_attribute) between 1 and 200),
  explored_slots int[] not null default '{}'
    check (array_position(explored_slots, null) is null and 1 <= all (explored_slots) and 1000 >= all (explored_slots)),
  explored_pool_size int not null default 20 check (explored_pool_size between 2 and 1000),
  diversity float8 not null default 0 check (diversity >= 0 and diversity <= 1),
  diversity_method text not null default 'similarity' check (diversity_method in ('similarity', 'calibration')),
  serving_period interval not null default '90 days' check (serving_period > '0' and serving_period <= '10 years'),
  attribution_period interval not null default '30 days'
    check (attribution_period > '0' and attribution_period <= '10 years'),
  fewest_test_people int not null default 100 check (fewest_test_people >= 0),
  most_learned_items int not null default 4000 check (most_learned_items between 0 and 16000)
);

comment on table recommend.setting is $$
Settings of the recommender: one row. A change applies to the next training or request.
$$;
comment on column recommend.setting.only_row is $$Always true, so that the table has one row.$$;
comment on column recommend.setting.full_weight is $$
Weight from which a person counts as having taken an item.
A taken item is not recommended to the person. Smaller weights count in proportion; larger weights do not count more.
After a change, `select recommend.rebuild()` applies it to the stored interactions.
$$;
comment on column recommend.setting.lambdas is $$
Values of the ridge parameter λ of EASE, positive numbers, that a training tries with up to 2,000 items.
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
comment on column recommend.setting.kept_kinds is $$
Kinds of items of which `recommend.taken` keeps what a person took when the events are deleted.
$$;
comment on column recommend.setting.topic_attribute is $$
Attribute of items that holds their topic.
$$;
comment on column recommend.setting.explored_slots is $$
Ranks whose items are drawn at random from the best items that are not in the list. Only they have a propensity.
$$;
comment on column recommend.setting.explored_pool_size is $$
Number of items from which the items of `explored_slots` are drawn; at least the number of slots counts.
$$;
comment on column recommend.setting.diversity is $$
Weight of the diversity of a list against its scores, from 0 (none) to 1, unless the call gives one.
$$;
comment on column recommend.setting.diversity_method is $$
Method by which lists are made diverse: `similarity` or `calibration`.
`similarity`: each next item differs from those before it (maximal marginal relevance). `calibration`: the list has the
topics of the person in their proportions.
$$;
comment on column recommend.setting.serving_period is $$
Time after a list was made in which an event with its `servingId` counts; later ones are ignored.
$$;
comment on column recommend.setting.attribution_period is $$
Time after a list was made in which finishing an item of it counts as completed after the recommendation.
$$;
comment on column recommend.setting.fewest_test_people is $$
Minimum number of people who took an item in the last part of the time, for a comparison of models by time.
With fewer people, which cannot show a usual difference, models are compared by the last item of each person.
$$;

comment on column recommend.setting.most_learned_items is $$
Maximum number of items of a version that keeps a record of what it learned, with which it is updated and unlearns.
A version with more items is marked for training when a person is erased. 0: no version keeps a record.
$$;

insert into recommend.setting default values;

create table recommend.event_weight (
  event text primary key check (length(event) between 1 and 200),
  weight real not null check (weight >= 0 and weight < 'infinity'),
  most_counted int check (most_counted > 0),
  completes boolean not null default false,
  dismisses boolean not null default false,
  liking real check (liking between -1 and 1),
  value_property text check (length(value_property) between 1 and 100),
  value_from float8 check (value_from between -1e12 and 1e12),
  value_to float8 check (value_to between -1e12 and 1e12),
  withdraws boolean not null default false,
  dismisses_topic boolean not null default false,
  marks_known boolean not null default false,
  drops boolean not null default false,
  check (not (completes and dismisses)),
  constraint event_weight_drops check (not (drops and (completes or dismisses))),
  constraint event_weight_scale check (
    num_nulls(value_property, value_from, value_to) in (0, 3)
    and value_from <> value_to
    and (liking is null or value_property is null)
  ),
  constraint event_weight_withdraws check (
    not withdraws
    or not (completes or dismisses or drops or marks_known or dismisses_topic)
      and num_nonnulls(liking, value_property) = 0
  )
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
comment on column recommend.event_weight.liking is $$
Preference that the event expresses, from -1 (dislike) to 1 (like); null when it expresses none.
The latest one of a person and item applies.
$$;
comment on column recommend.event_weight.value_property is $$
Property of the event that is a rating; null when the event has none.
A rating is converted to a preference: -1 at `value_from`, 1 at `value_to`. A value that is not a number is ignored.
$$;
comment on column recommend.event_weight.value_from is $$Worst rating of the scale; null without `value_property`.$$;
comment on column recommend.event_weight.value_to is $$Best rating of the scale; null without `value_property`.$$;
comment on column recommend.event_weight.withdraws is $$
Whether the event undoes the preferences, dismissals and "already known" of the item that were sent before it.
With the property `topic`, it undoes the dismissal of this topic.
$$;
comment on column recommend.event_weight.dismisses_topic is $$
Whether the event means that the person is not interested in a topic: the property `topic`, or else that of the item.
$$;
comment on column recommend.event_weight.marks_known is $$
Whether the event means that the person is already familiar with the content of the item.
$$;
comment on column recommend.event_weight.drops is $$
Whether the event means that the person has left the item before the end.
$$;

insert into recommend.event_weight (event, weight, most_counted, completes, dismisses)
values
  ('Course Enrolled', 1, 1, false, false),
  ('Course Started', 1, 1, false, false),
  ('Course Completed', 1, 1, true, false),
  ('Course Dismissed', 0, 1, false, true),
  ('Recommendation Dismissed', 0, 1, false, true),
  ('Module Completed', 0.3, 1, true, false),
  ('Task Started', 0.1, 1, false, false),
  ('Task Submitted', 0.2, 1, false, false),
  ('Task Completed', 0.2, 1, true, false),
  ('Page Viewed', 0.05, 4, false, false),
  ('Screen Viewed', 0.05, 4, false, false),
  ('Video Playback Started', 0.05, 2, false, false),
  ('Video Playback Completed', 0.1, 1, true, false),
  ('Item Dismissed', 0, 1, false, true);

insert into recommend.event_weight (
  event, weight, most_counted, liking, value_property, value_from, value_to,
  withdraws, dismisses_topic, marks_known, drops
)
values
  ('Course Rated', 1, 1, null, 'rating', 1, 5, false, false, false, false),
  ('Course Dropped', 0, 1, null, null, null, null, false, false, false, true),
  ('Item Liked', 0, 1, 1, null, null, null, false, false, false, false),
  ('Item Disliked', 0, 1, -1, null, null, null, false, false, false, false),
  ('Item Rated', 1, 1, null, 'rating', 1, 5, false, false, false, false),
  ('Item Known', 0, 1, null, null, null, null, false, false, true, false),
  ('Topic Dismissed', 0, 1, null, null, null, null, false, true, false, false),
  ('Feedback Withdrawn', 0, 1, null, null, null, null, true, false, false, false);

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
  identity_id bigint,
  dropped_at timestamptz,
  resumed_at timestamptz,
  liking real check (liking between -1 and 1),
  liked_at timestamptz,
  known_at timestamptz,
  topic_dismissed_at timestamptz,
  withdrawn_at timestamptz,
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
comment on column recommend.interaction.identity_id is $$
Identity that sent the first event; null for rows that were written before this column existed.
$$;
comment on column recommend.interaction.dropped_at is $$Time at which the person last left the item; null when never.$$;
comment on column recommend.interaction.resumed_at is $$
Time of the last event whose weight alone is `recommend.setting.full_weight`, such as an enrolment.
Null when there is none. It ends an earlier dismissal.
$$;
comment on column recommend.interaction.liking is $$
Latest preference that the person expressed, from -1 (dislike) to 1 (like); null when none.
$$;
comment on column recommend.interaction.liked_at is $$Time of `liking`.$$;
comment on column recommend.interaction.known_at is $$
Time at which the person last said that she is familiar with the item; null when never.
$$;
comment on column recommend.interaction.topic_dismissed_at is $$
Time at which the person last said that she is not interested in the topic of the item; null when never.
$$;
comment on column recommend.interaction.withdrawn_at is $$
Time at which the person last withdrew her feedback on the item; null when never.
Preferences, dismissals and "already known" of this time or before do not count.
$$;

create index interaction_item on recommend.interaction (item_id);

create table recommend.dismissed_topic (
  person_id bigint not null,
  topic text not null check (length(topic) between 1 and 500),
  dismissed_at timestamptz,
  withdrawn_at timestamptz,
  identity_id bigint not null,
  first_at timestamptz not null,
  primary key (person_id, topic)
);

comment on table recommend.dismissed_topic is $$
Topics that people are not interested in, by the property `topic` of their events.
Maintained by `recommend.refresh_interactions`. A row stays when its events are deleted.
$$;
comment on column recommend.dismissed_topic.person_id is $$Person.$$;
comment on column recommend.dismissed_topic.topic is $$Topic, as the event names it.$$;
comment on column recommend.dismissed_topic.dismissed_at is $$
Time at which the person last dismissed the topic; null when never.
$$;
comment on column recommend.dismissed_topic.withdrawn_at is $$
Time at which the person last withdrew the dismissal; null when never. An earlier dismissal does not count.
$$;
comment on column recommend.dismissed_topic.identity_id is $$Identity that sent the first event about the topic.$$;
comment on column recommend.dismissed_topic.first_at is $$Time of the first event about the topic.$$;

create table recommend.taken (
  person_id bigint not null,
  identity_id bigint not null,
  item_id bigint not null references track.item,
  first_at timestamptz not null,
  last_at timestamptz not null,
  taken_at timestamptz,
  completed_at timestamptz,
  dropped_at timestamptz,
  dismissed_at timestamptz,
  liking real check (liking between -1 and 1),
  liked_at timestamptz,
  known_at timestamptz,
  topic_dismissed_at timestamptz,
  primary key (person_id, item_id, identity_id)
);

comment on table recommend.taken is $$
@foreignKey (item_id) references track.item (item_id)
What people took, completed or rejected before their events were deleted, so that it stays out of their lists.
`recommend.refresh_interactions` writes a row when it finds that the first event of an interaction does not exist any
more; only for items of `recommend.setting.kept_kinds`. What can be computed from events has no row here.
$$;
comment on column recommend.taken.person_id is $$Person.$$;
comment on column recommend.taken.identity_id is $$
Identity that sent the first event. The row follows it when people are linked or unlinked.
$$;
comment on column recommend.taken.item_id is $$Item.$$;
comment on column recommend.taken.first_at is $$Time of the first event, which is deleted.$$;
comment on column recommend.taken.last_at is $$Time of the last event that was known when the row was written.$$;
comment on column recommend.taken.taken_at is $$
Time of the last event of an item with the full weight; null when the person had not taken the item.
$$;
comment on column recommend.taken.completed_at is $$Time at which the person finished the item; null when never.$$;
comment on column recommend.taken.dropped_at is $$Time at which the person left the item; null when never.$$;
comment on column recommend.taken.dismissed_at is $$Time at which the person dismissed the item; null when never.$$;
comment on column recommend.taken.liking is $$
Latest preference that the person expressed, from -1 (dislike) to 1 (like); null when none.
$$;
comment on column recommend.taken.liked_at is $$Time of `liking`.$$;
comment on column recommend.taken.known_at is $$
Time at which the person said that she is familiar with the item; null when never.
$$;
comment on column recommend.taken.topic_dismissed_at is $$
Time at which the person said that she is not interested in the topic of the item; null when never.
$$;

create index taken_item on recommend.taken (item_id);

insert into track.consumer (consumer, position, refresh, inputs, description, forget_function)
values (
  'recommend.interaction', 2, 'recommend.refresh_interactions', '{event,decision,identity}',
  'The interactions of each person with each item.', 'recommend.forget_events'
);

insert into track.distribution (schema_name, table_name, column_name, colocated_with, description)
values
  ('recommend', 'interaction', 'person_id', 'track.event', 'Derived from the events of the person.'),
  ('recommend', 'dismissed_topic', 'person_id', 'track.event', 'Derived from the events of the person.'),
  ('recommend', 'taken', 'person_id', 'track.event', 'Derived from events of the person that were deleted.');

/* --------------------------------------------------------------------------------------------- neighbour lists -- */

create table recommend.model_part (
  model_id bigint not null references ml.model on delete cascade,
  part smallint not null check (part > 0),
  algorithm text not null,
  share real not null default 1 check (share > 0 and share < 'infinity'),
  history_decay real not null default 1 check (history_decay > 0 and history_decay <= 1),
  person_mean float8 check (person_mean > 0),
  scale float8 check (scale > 0),
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

comment on column recommend.model_part.person_mean is $$
Mean of n ^ -`person_exponent` over the people of the training, who have n items.
The factor of a person is divided by it. Fixed by the training, so that a person does not change the factors of others.
Null for methods without such a factor.
$$;
comment on column recommend.model_part.scale is $$
Number by which the weights of the part of a blend are divided, fixed by the training.
Null when there is one part.
$$;

create table recommend.neighbours (
  model_id bigint not null,
  part smallint not null,
  item_id bigint not null references track.item on delete cascade,
  person_count int not null check (person_count >= 0),
  neighbour_ids bigint[] not null,
  weights real[] not null,
  primary key (model_id, part, item_id),
  foreign key (model_id, part) references recommend.model_part on delete cascade,
  check (cardinality(neighbour_ids) = cardinality(weights))
);

-- Read whole, often: uncompressed, and in the row itself up to 680 neighbours.
alter table recommend.neighbours alter column neighbour_ids set storage external;
alter table recommend.neighbours alter column weights set storage external;
alter table recommend.neighbours set (toast_tuple_target = 8160);

comment on table recommend.neighbours is $$
@behavior -*
Weights of models between items: one row per item of a person, with the items whose score it changes.
The score of an item for a person is the sum of the weights from the items of the person, times their strengths.
$$;
comment on column recommend.neighbours.model_id is $$Version of the model.$$;
comment on column recommend.neighbours.part is $$Part of the version.$$;
comment on column recommend.neighbours.item_id is $$Item of the person.$$;
comment on column recommend.neighbours.person_count is $$
Number of people who had taken the item when the version was trained or last updated.
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
  item_id bigint not null references track.item on delete cascade,
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

create index ranked_list_order on recommend.ranked_list (list, kind, score desc, item_id);
create index ranked_list_item on recommend.ranked_list (item_id);

/* ----------------------------------------------------------------------------------------------------- types -- */

create type recommend.reason as (kind text, item text, title text, contribution float8);

comment on type recommend.reason is $$
A term of a score. The contributions of the reasons of a recommendation add up to its score.
`kind` is `item` (an item of the person), `others` (all further such items together), `content` (an item of the person
with similar content), `segment`, `popularity`, `trending`, `newest` or `next` (the basis of the row), or `rule` (what a
rule adds).
$$;
comment on column recommend.reason.kind is $$
`item`, `others`, `content`, `segment`, `popularity`, `trending`, `newest`, `next` or `rule`.
$$;
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
`basis` states what the row is based on: `pinned` (a rule), `next` (what follows in the course), `model` (items of the
person), `content` (similar content), `segment` (popular in a segment of the person), `trending`, `popularity` (1 for
the most popular item), `newest`, or `explored` (drawn for a marked slot). Scores are comparable between rows with the
same basis. `serving_id` is signed and contains the version and the rank. Send it with impressions and clicks.
$$;
comment on column recommend.recommendation.rank is $$
Rank, 1 for the best item. A continued list has the ranks that follow.
$$;
comment on column recommend.recommendation.item_id is $$Key of the item.$$;
comment on column recommend.recommendation.item is $$External id of the item.$$;
comment on column recommend.recommendation.title is $$Title of the item; null when unknown.$$;
comment on column recommend.recommendation.score is $$Sum of the contributions of the reasons.$$;
comment on column recommend.recommendation.reasons is $$Reasons of the recommendation, the strongest first.$$;
comment on column recommend.recommendation.basis is $$
`pinned`, `next`, `model`, `content`, `segment`, `trending`, `popularity`, `newest` or `explored`.
$$;
comment on column recommend.recommendation.model_version is $$
Version of the model; null for rows that are not based on it.
$$;
comment on column recommend.recommendation.serving_id is $$
Signed identifier of the recommendation: see `recommend.impression`.
Model (0 for none), item, rank, propensity in billionths (0 for rows that were not drawn), time in milliseconds since
1970, identity (0 for no person), basis, for marked slots the items of the pool, and signature, separated by dots.
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
Items that are not recommended to the person because of what she did: of the kind, and courses that she is in.
$$;
comment on column recommend.person_context.left_out_reasons is $$
Reason for each of `left_out`: `completed`, `taken`, `enrolled`, `dropped`, `dismissed`, `known`, `disliked` or `own`.
$$;
comment on column recommend.person_context.finished is $$
Items of any kind that the person has finished, or is familiar with.
$$;
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
Request of a caller for a list.
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
  duration interval,
  algorithm text
);

comment on type recommend.training is $$
Result of a training.
`reason` states why the version was or was not deployed: a value of `ml.deployment.strategy`; `worse` than the deployed
version; not better than `popularity`; or `untested`. The measures are null when no one took an item after the split.
$$;
comment on column recommend.training.kind is $$Kind of the items.$$;
comment on column recommend.training.version is $$Version in `ml.model` of the project `recommend.<kind>`.$$;
comment on column recommend.training.deployed is $$Whether the version was deployed.$$;
comment on column recommend.training.reason is $$
`first`, `better` or `newest` (deployed), `worse`, `popularity` or `untested` (not deployed).
$$;
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
comment on column recommend.training.algorithm is $$
Method that was selected, such as `ease`; `popular` for lists by popularity, joined by `+` for a blend.
$$;

alter table recommend.setting enable row level security;
alter table recommend.event_weight enable row level security;
alter table recommend.secret enable row level security;
alter table recommend.interaction enable row level security;
alter table recommend.dismissed_topic enable row level security;
alter table recommend.taken enable row level security;
alter table recommend.model_part enable row level security;
alter table recommend.neighbours enable row level security;
alter table recommend.ranked_list enable row level security;

/* ------------------------------------------------------------------------------------------------------ rules -- */

create table recommend.rule (
  name text primary key check (name ~ '^[a-z][a-z0-9_]*([.][a-z0-9_]+)*$' and length(name) <= 100),
  action text not null check (
    action in (
      'topic', 'availability', 'prerequisites', 'capacity', 'language', 'not_again', 'exclude', 'include', 'boost',
      'pin'
    )
  ),
  kind text check (kind ~ '^[a-z][a-z0-9_]{0,62}$'),
  has_items boolean not null default false,
  within_item_id bigint references track.item,
  attribute text check (length(attribute) between 1 and 200),
  attribute_value text check (length(attribute_value) <= 1000),
  language text check (language ~ '^[a-z]{2,8}(-[a-z0-9]{1,8})*$' and length(language) <= 35),
  person_set text references track.person_set,
  is_outside_set boolean not null default false,
  active_from timestamptz,
  active_until timestamptz,
  amount float8 check (amount between -1000000 and 1000000),
  place int check (place between 1 and 1000),
  period interval check (period > '0' and period <= '10 years'),
  is_active boolean not null default true,
  check ((attribute is null) = (attribute_value is null)),
  check ((amount is not null) = (action = 'boost')),
  check ((place is not null) = (action = 'pin')),
  check ((period is not null) = (action = 'not_again')),
  check (has_items or action <> 'pin'),
  check (not has_items or action in ('exclude', 'include', 'boost', 'pin')),
  check (
    action in ('exclude', 'include', 'boost') or within_item_id is null and attribute is null and language is null
  ),
  check (active_from < active_until)
);

comment on table recommend.rule is $$
Rules of lists: items that are left out, included, raised, or have a fixed place.
`topic` to `not_again` are checks of the items against the person. The other actions apply to the items that fulfil all
conditions of the rule. A rule applies to lists of its kind, for its people, within its period. `recommend.set_rule` and
`recommend.drop_rule` change the rows.
$$;
comment on column recommend.rule.name is $$Name; a list and `recommend.why_not` name the rule that decided.$$;
comment on column recommend.rule.action is $$
Effect of the rule.
`topic` leaves out topics that the person is not interested in; `availability` what is not available now;
`prerequisites` what requires an item that the person has not finished; `capacity` what is full; `language` what is not
in a language of the person; `not_again` what was served to the person within `period`. `exclude` leaves its items out;
`include` leaves out all others; `boost` adds `amount` to their scores; `pin` gives them a place.
$$;
comment on column recommend.rule.kind is $$Kind of the lists to which the rule applies; null: all kinds.$$;
comment on column recommend.rule.has_items is $$Whether the rule is only about the items in `recommend.rule_item`.$$;
comment on column recommend.rule.within_item_id is $$Condition: the item is this one, or part of it; null: any.$$;
comment on column recommend.rule.attribute is $$
Condition: the name of an attribute in `track.item.attributes`; null: any item.
$$;
comment on column recommend.rule.attribute_value is $$Value of the attribute, or one of its values when it is a list.$$;
comment on column recommend.rule.language is $$
Condition: the language of the item (BCP 47, lower case), where `de` includes `de-ch`; null: any.
$$;
comment on column recommend.rule.person_set is $$Set of people to whom the rule applies; null: all people.$$;
comment on column recommend.rule.is_outside_set is $$Whether the rule applies to all people outside `person_set`.$$;
comment on column recommend.rule.active_from is $$Time from which the rule applies; null: no limit.$$;
comment on column recommend.rule.active_until is $$Time until which the rule applies, exclusive; null: no limit.$$;
comment on column recommend.rule.amount is $$Of a `boost`: the number that is added to the score.$$;
comment on column recommend.rule.place is $$
Of a `pin`: the rank of the first of its items; the next ones follow it.
$$;
comment on column recommend.rule.period is $$Of `not_again`: how long an item that was served is left out.$$;
comment on column recommend.rule.is_active is $$Whether the rule applies.$$;

create index rule_within on recommend.rule (within_item_id) where within_item_id is not null;
create index rule_person_set on recommend.rule (person_set) where person_set is not null;

create table recommend.rule_item (
  name text not null references recommend.rule on delete cascade,
  item_id bigint not null references track.item,
  position int not null check (position > 0),
  primary key (name, item_id)
);

comment on table recommend.rule_item is $$
The items of the rules that name their items. An item that was merged into another one means that one.
$$;
comment on column recommend.rule_item.name is $$Rule.$$;
comment on column recommend.rule_item.item_id is $$Item that the administrator named.$$;
comment on column recommend.rule_item.position is $$Position in the list that was given, from 1.$$;

create index rule_item_item on recommend.rule_item (item_id);

create table recommend.rule_log (
  log_id uuid primary key default gen_random_uuid(),
  logged_at timestamptz not null default clock_timestamp(),
  name text not null,
  settings jsonb,
  actor text not null
);

comment on table recommend.rule_log is $$
Log of the changes of rules by administrators, append-only.
$$;
comment on column recommend.rule_log.log_id is $$Key of the entry.$$;
comment on column recommend.rule_log.logged_at is $$Time of the change.$$;
comment on column recommend.rule_log.name is $$Rule.$$;
comment on column recommend.rule_log.settings is $$
Columns of the rule after the change, with the external ids of its items; null when it was dropped.
$$;
comment on column recommend.rule_log.actor is $$
Administrator who made the change: the signed-in person, or else the login of the database.
$$;

create index rule_log_time on recommend.rule_log (logged_at);

insert into recommend.rule (name, action, is_active, period)
values
  ('topic', 'topic', true, null),
  ('availability', 'availability', true, null),
  ('prerequisites', 'prerequisites', true, null),
  ('capacity', 'capacity', true, null),
  ('language', 'language', false, null),
  ('not_again', 'not_again', false, '7 days');

create type recommend.verdict as (
  item_id bigint,
  item text,
  title text,
  is_recommended boolean,
  rule text,
  detail text,
  rank int,
  score float8,
  basis text
);

comment on type recommend.verdict is $$
Whether an item is recommended to a person, with its rank, or what left it out.
$$;
comment on column recommend.verdict.item_id is $$Key of the item.$$;
comment on column recommend.verdict.item is $$External id of the item; of a merged name, that of its target.$$;
comment on column recommend.verdict.title is $$Title of the item; null when unknown.$$;
comment on column recommend.verdict.is_recommended is $$
Whether a list of the given length contains the item.
$$;
comment on column recommend.verdict.rule is $$
Rule, or state of the item such as `completed`, that leaves it out; null when it is recommended.
`rank` when other items are better.
$$;
comment on column recommend.verdict.detail is $$The rule in words.$$;
comment on column recommend.verdict.rank is $$Rank of the item, 1 for the best one; null when it is left out.$$;
comment on column recommend.verdict.score is $$Score of the item; null when it is left out.$$;
comment on column recommend.verdict.basis is $$Source of the score, such as `model`; null when it is left out.$$;

create type recommend.rule_effect as (rank int, former_rank int, item text, title text);

comment on type recommend.rule_effect is $$
An item of a list as it would be with a rule, or of the present list.
$$;
comment on column recommend.rule_effect.rank is $$Rank with the rule, 1 for the best one; null when it is not listed.$$;
comment on column recommend.rule_effect.former_rank is $$Rank without the rule; null when it is not listed.$$;
comment on column recommend.rule_effect.item is $$External id of the item.$$;
comment on column recommend.rule_effect.title is $$Title of the item; null when unknown.$$;

create type recommend.ranked_item as (
  rank int,
  item_id bigint,
  item text,
  title text,
  score float8,
  reasons recommend.reason[],
  basis text,
  rule text,
  detail text
);

comment on type recommend.ranked_item is $$
An item of a list that the caller gave: with its rank and score, or with the rule that leaves it out.
$$;
comment on column recommend.ranked_item.rank is $$Rank among the given items, 1 for the best one; null when left out.$$;
comment on column recommend.ranked_item.item_id is $$Key of the item.$$;
comment on column recommend.ranked_item.item is $$External id of the item; of a merged name, that of its target.$$;
comment on column recommend.ranked_item.title is $$Title of the item; null when unknown.$$;
comment on column recommend.ranked_item.score is $$Sum of the contributions of the reasons; null when left out.$$;
comment on column recommend.ranked_item.reasons is $$Reasons, the strongest first; null when left out.$$;
comment on column recommend.ranked_item.basis is $$Source of the score, such as `model`; null when left out.$$;
comment on column recommend.ranked_item.rule is $$
Rule, or state of the person such as `completed`, that leaves the item out; null otherwise.
$$;
comment on column recommend.ranked_item.detail is $$The rule in words; null when the item is not left out.$$;

create type recommend.rule_problem as (rule text, item text, problem text);

comment on type recommend.rule_problem is $$
A condition of a rule that cannot have the effect that was meant.
$$;
comment on column recommend.rule_problem.rule is $$Rule.$$;
comment on column recommend.rule_problem.item is $$External id of the item; null when there is none.$$;
comment on column recommend.rule_problem.problem is $$Description, with what the rule does instead.$$;

alter table recommend.rule enable row level security;
alter table recommend.rule_item enable row level security;
alter table recommend.rule_log enable row level security;

/* ------------------------------------------------------------------------------------- impressions and feedback -- */

create type recommend.serving as (
  serving_key uuid,
  model_id bigint,
  item_id bigint,
  rank int,
  propensity float8,
  listed_at timestamptz,
  identity_id bigint,
  basis text,
  pool bigint[],
  problem text,
  experiment_id int,
  variation smallint
);

comment on type recommend.serving is $$
@behavior -*
Content of a `serving_id` whose signature is valid, or the problem of an invalid one.
$$;
comment on column recommend.serving.serving_key is $$
The 128 bits of the signature, which identify the row of the list.
$$;
comment on column recommend.serving.model_id is $$Version of the model; null for rows without a model.$$;
comment on column recommend.serving.item_id is $$Item.$$;
comment on column recommend.serving.rank is $$Rank of the item in the list.$$;
comment on column recommend.serving.propensity is $$
Probability with which the item was drawn for a marked slot; null for the other rows.
$$;
comment on column recommend.serving.listed_at is $$Time at which the list was made, in milliseconds.$$;
comment on column recommend.serving.identity_id is $$
Identity for which the list was made; null when it was for no person.
$$;
comment on column recommend.serving.basis is $$Basis of the row, as in `recommend.recommendation`.$$;
comment on column recommend.serving.pool is $$
Items from which the one of a marked slot was drawn; null for the other rows.
$$;
comment on column recommend.serving.problem is $$
Null for a valid id; otherwise what is wrong with it, and all other columns are null.
$$;
comment on column recommend.serving.experiment_id is $$
Experiment that decided how the list was made; null when there was none.
$$;
comment on column recommend.serving.variation is $$Variation of the experiment; null when there was none.$$;

create table recommend.impression (
  person_id bigint not null,
  serving_key uuid not null,
  identity_id bigint,
  model_id bigint,
  item_id bigint not null,
  rank int not null,
  basis text not null,
  propensity float8,
  pool bigint[],
  listed_at timestamptz not null,
  is_served boolean not null,
  seen_at timestamptz,
  clicked_at timestamptz,
  dismissed_at timestamptz,
  liked_at timestamptz,
  liking real,
  withdrawn_at timestamptz,
  completed_at timestamptz,
  experiment_id int,
  variation smallint,
  score float8,
  function_name text,
  primary key (person_id, serving_key)
);

comment on table recommend.impression is $$
@foreignKey (item_id) references track.item (item_id)
@foreignKey (experiment_id) references experiment.experiment (experiment_id)
Recommended items that were served to people or seen by them, one row per row of a list.
The rows that `recommend.serve_me` and its variants return are added by the next refresh (`track.refresh`); a row of a
list of `recommend.for_me` is added when an event names its `serving_id`. The columns from `seen_at` on are computed
from the events of the person, in any order of arrival. Rows follow their identity in merges of people.
$$;
comment on column recommend.impression.person_id is $$Person.$$;
comment on column recommend.impression.serving_key is $$Signature of the `serving_id`.$$;
comment on column recommend.impression.identity_id is $$
Identity for which the list was made; null when it was for no person.
$$;
comment on column recommend.impression.model_id is $$Version of the model; null for rows without a model.$$;
comment on column recommend.impression.item_id is $$Item that was recommended, under the name it had then.$$;
comment on column recommend.impression.rank is $$Rank of the item in the list, from 1.$$;
comment on column recommend.impression.basis is $$Basis of the row, as in `recommend.recommendation`.$$;
comment on column recommend.impression.propensity is $$
Probability with which the item was drawn for a marked slot; null for the other rows.
$$;
comment on column recommend.impression.pool is $$
Items from which the one of a marked slot was drawn; null for the other rows.
$$;
comment on column recommend.impression.listed_at is $$Time at which the list was made.$$;
comment on column recommend.impression.is_served is $$
Whether the row was recorded when it was served; false when it is known only from an event.
$$;
comment on column recommend.impression.seen_at is $$
Time of the first event that shows that the person saw the row, of any kind; null when there is none.
$$;
comment on column recommend.impression.clicked_at is $$Time of the first click; null when there is none.$$;
comment on column recommend.impression.dismissed_at is $$
Time of the last dismissal that was not withdrawn later; null when there is none.
$$;
comment on column recommend.impression.liked_at is $$
Time of the last like, dislike or rating that was not withdrawn later; null when there is none.
$$;
comment on column recommend.impression.liking is $$
Liking that it expressed, from -1 to 1; null when there is none.
$$;
comment on column recommend.impression.withdrawn_at is $$
Time at which the person last withdrew her answers about the item; null when she did not.
$$;
comment on column recommend.impression.completed_at is $$
Time at which the person first finished the item after `listed_at`; null when she did not.
Within `recommend.setting.attribution_period`.
$$;
comment on column recommend.impression.experiment_id is $$
Experiment that decided how the list was made; null when there was none.
$$;
comment on column recommend.impression.variation is $$Variation of the experiment; null when there was none.$$;
comment on column recommend.impression.score is $$
Score of the row when it was served; null when it is known only from an event, and for rows of earlier releases.
$$;
comment on column recommend.impression.function_name is $$
Function that served the row, such as `serve_me`.
Null when it is known only from an event, and for rows of earlier releases.
$$;

create index impression_listed on recommend.impression using brin (listed_at);

insert into track.consumer (consumer, position, refresh, inputs, description, collect_function)
values (
  'recommend.impression', 3, 'recommend.refresh_impressions', '{event,enrolment,decision,identity}',
  'The answers of people to what was recommended to them.', 'recommend.collect_servings'
);

insert into track.distribution (schema_name, table_name, column_name, colocated_with, description)
values (
  'recommend', 'impression', 'person_id', 'track.event', 'Items that were recommended to the person, with her answers.'
);

create type recommend.serving_figures as (
  name text,
  person_count bigint,
  served_count bigint,
  seen_count bigint,
  clicked_count bigint,
  dismissed_count bigint,
  liked_count bigint,
  disliked_count bigint,
  completed_count bigint,
  click_rate float8,
  click_rate_lower float8,
  click_rate_upper float8,
  dismissal_rate float8,
  dismissal_rate_lower float8,
  dismissal_rate_upper float8,
  completion_rate float8,
  completion_rate_lower float8,
  completion_rate_upper float8
);

comment on type recommend.serving_figures is $$
Figures about the recommendations of one model version, basis, rank, kind of slot, variation or function.
Rates are shares of the rows that were seen, with the bounds of Wilson's score interval (95 %).
$$;
comment on column recommend.serving_figures.name is $$
Version of the model (null: none), basis, rank, variation of an experiment, function, or `explored` and `ranked`.
$$;
comment on column recommend.serving_figures.person_count is $$Number of people.$$;
comment on column recommend.serving_figures.served_count is $$
Number of rows that were recorded when they were served.
$$;
comment on column recommend.serving_figures.seen_count is $$Number of rows that people saw.$$;
comment on column recommend.serving_figures.clicked_count is $$Number of rows that people clicked.$$;
comment on column recommend.serving_figures.dismissed_count is $$
Number of rows that people dismissed and did not withdraw.
$$;
comment on column recommend.serving_figures.liked_count is $$Number of rows that people liked, or rated well.$$;
comment on column recommend.serving_figures.disliked_count is $$
Number of rows that people disliked, or rated badly.
$$;
comment on column recommend.serving_figures.completed_count is $$
Number of rows that were seen, and whose item the person then finished.
$$;
comment on column recommend.serving_figures.click_rate is $$Share of the seen rows that were clicked.$$;
comment on column recommend.serving_figures.click_rate_lower is $$Lower bound of `click_rate`.$$;
comment on column recommend.serving_figures.click_rate_upper is $$Upper bound of `click_rate`.$$;
comment on column recommend.serving_figures.dismissal_rate is $$Share of the seen rows that were dismissed.$$;
comment on column recommend.serving_figures.dismissal_rate_lower is $$Lower bound of `dismissal_rate`.$$;
comment on column recommend.serving_figures.dismissal_rate_upper is $$Upper bound of `dismissal_rate`.$$;
comment on column recommend.serving_figures.completion_rate is $$
Share of the seen rows whose item the person then finished.
$$;
comment on column recommend.serving_figures.completion_rate_lower is $$Lower bound of `completion_rate`.$$;
comment on column recommend.serving_figures.completion_rate_upper is $$Upper bound of `completion_rate`.$$;

create type recommend.policy_value as (
  policy text,
  outcome text,
  slots bigint,
  people bigint,
  mean_weight float8,
  effective_sample_size float8,
  ips float8,
  ips_standard_error float8,
  snips float8,
  snips_standard_error float8
);

comment on type recommend.policy_value is $$
Value of a policy, estimated from slots that were filled by another one with known probabilities.
$$;
comment on column recommend.policy_value.policy is $$Policy whose value was estimated.$$;
comment on column recommend.policy_value.outcome is $$`clicked`, `completed` or `liked`.$$;
comment on column recommend.policy_value.slots is $$Number of slots.$$;
comment on column recommend.policy_value.people is $$Number of people.$$;
comment on column recommend.policy_value.mean_weight is $$
Mean of the weights: 1 is expected. Less means that the policy selects items that the slots could not hold.
$$;
comment on column recommend.policy_value.effective_sample_size is $$
Number of slots of equal weight that would be as precise (Kish): (Σw)² / Σw².
$$;
comment on column recommend.policy_value.ips is $$
Inverse propensity score estimate: mean of weight times outcome. Unbiased, and can exceed 1.
$$;
comment on column recommend.policy_value.ips_standard_error is $$
Standard error of `ips`, by person; null for fewer than two people, and when all deviations are 0.
$$;
comment on column recommend.policy_value.snips is $$
Self-normalized estimate: sum of weight times outcome, divided by the sum of the weights. Null when that is 0.
$$;
comment on column recommend.policy_value.snips_standard_error is $$
Standard error of `snips`, by person (delta method); null for fewer than two people, and when all deviations are 0.
$$;

alter table recommend.impression enable row level security;

/* -------------------------------------------------------------------------------------------------- serving -- */

create type recommend.page as (
  model_id bigint,
  served bigint[],
  frozen bigint[],
  bases text[],
  experiment_id int,
  variation smallint
);

comment on type recommend.page is $$
@behavior -*
State of a list that is continued: what `recommendation.next_page` holds, signed.
$$;
comment on column recommend.page.model_id is $$Version of the model; 0 when there was none.$$;
comment on column recommend.page.served is $$Items of the former pages.$$;
comment on column recommend.page.frozen is $$Items that follow, in the order of the list.$$;
comment on column recommend.page.bases is $$Basis of each of `frozen`.$$;
comment on column recommend.page.experiment_id is $$
Experiment that decided how the list was made; null when there was none.
$$;
comment on column recommend.page.variation is $$Variation of the experiment; null when there was none.$$;

create type recommend.person_recommendation as (
  person text,
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

comment on type recommend.person_recommendation is $$
A recommended item for one of several people: the attributes of `recommend.recommendation`, after the person.
$$;
comment on column recommend.person_recommendation.person is $$Name of the person, as it was given.$$;
comment on column recommend.person_recommendation.rank is $$Rank in the list of the person, 1 for the best item.$$;
comment on column recommend.person_recommendation.item_id is $$Key of the item.$$;
comment on column recommend.person_recommendation.item is $$External id of the item.$$;
comment on column recommend.person_recommendation.title is $$Title of the item; null when unknown.$$;
comment on column recommend.person_recommendation.score is $$Sum of the contributions of the reasons.$$;
comment on column recommend.person_recommendation.reasons is $$Reasons, the strongest first.$$;
comment on column recommend.person_recommendation.basis is $$Tier of the list: see `recommend.recommendation`.$$;
comment on column recommend.person_recommendation.model_version is $$
Version of the model; null for rows that are not based on it.
$$;
comment on column recommend.person_recommendation.serving_id is $$Signed identifier of the row.$$;
comment on column recommend.person_recommendation.propensity is $$
Probability with which the item was drawn for a marked slot; null for the other rows.
$$;
comment on column recommend.person_recommendation.next_page is $$
On the last row of the person: argument `page` of `recommend.for_person` that continues the list. Null on the others.
$$;
/* ------------------------------------------------------------------------------------------------- evaluation -- */

create type recommend.part as (algorithm text, parameters jsonb, history_decay float8, share float8);

create type recommend.metric as (model text, metric text, k int, value float8);

comment on type recommend.part is $$
@behavior -*
A part of a model before it is trained.
$$;
comment on column recommend.part.algorithm is $$Method, such as `sequence`: a name of `recommend._candidates`.$$;
comment on column recommend.part.parameters is $$Arguments of the function of the algorithm in `ml`, by name.$$;
comment on column recommend.part.history_decay is $$
Factor of the strength of an item for each item that the person used later: 1 means that the order does not matter.
$$;
comment on column recommend.part.share is $$Factor of the scores of the part.$$;

comment on type recommend.metric is $$
@behavior -*
A measured value, returned by `recommend.evaluate_relations`.
$$;
comment on column recommend.metric.model is $$Name of the model, as it was given.$$;
comment on column recommend.metric.metric is $$Name of the metric, such as `ndcg`.$$;
comment on column recommend.metric.k is $$Length of the lists.$$;
comment on column recommend.metric.value is $$Mean over the people; `coverage`: share of the items.$$;

/* ------------------------------------------------------------------------------------------------ evaluations -- */

create table recommend.evaluation (
  evaluation_id bigint generated always as identity primary key,
  kind text not null,
  purpose text not null check (purpose in ('evaluation', 'selection', 'deployment', 'search')),
  protocol text not null check (protocol in ('time', 'leave_last_out', 'random', 'one_vs_100')),
  k int[] not null check (cardinality(k) between 1 and 10),
  segments text[] not null default '{}',
  seed bigint not null,
  most_people int not null check (most_people > 0),
  resamples int not null check (resamples between 20 and 10000),
  split_at timestamptz,
  until_at timestamptz not null,
  data_watermark timestamptz,
  train_people int not null default 0,
  train_rows int not null default 0,
  items int not null default 0,
  test_people int not null default 0,
  state text not null default 'running' check (state in ('running', 'finished')),
  progress real not null default 0 check (progress between 0 and 1),
  started_at timestamptz not null default clock_timestamp(),
  progressed_at timestamptz not null default clock_timestamp(),
  finished_at timestamptz,
  model_id bigint references ml.model on delete set null
);

comment on table recommend.evaluation is $$
Evaluations of recommenders: the protocol, the data and the seed of each, and how far it is.
The same seed, data and models give the same results.
$$;
comment on column recommend.evaluation.evaluation_id is $$Key, ascending with time.$$;
comment on column recommend.evaluation.kind is $$Kind of the items.$$;
comment on column recommend.evaluation.purpose is $$
Purpose of the evaluation: `evaluation`, `selection`, `deployment` or `search`.
`selection` and `deployment` are parts of a training: the first selects a model, the second compares it with the
deployed version and with popularity. `search` is a search of parameters.
$$;
comment on column recommend.evaluation.protocol is $$`time`, `leave_last_out`, `random` or `one_vs_100`.$$;
comment on column recommend.evaluation.k is $$Lengths of the lists that are measured.$$;
comment on column recommend.evaluation.segments is $$Named sets of people whose results are also given.$$;
comment on column recommend.evaluation.seed is $$Seed of the samples and of the bootstrap.$$;
comment on column recommend.evaluation.most_people is $$Maximum number of test people; more are sampled.$$;
comment on column recommend.evaluation.resamples is $$Number of resamples of the bootstrap.$$;
comment on column recommend.evaluation.split_at is $$
Time that separates the rows that models are trained on from those they are tested on.
Null for other protocols than `time`.
$$;
comment on column recommend.evaluation.until_at is $$Events from this time on do not count.$$;
comment on column recommend.evaluation.data_watermark is $$Time of the latest event that counts.$$;
comment on column recommend.evaluation.train_people is $$Number of people that the models are trained on.$$;
comment on column recommend.evaluation.train_rows is $$Number of pairs of a person and an item they are trained on.$$;
comment on column recommend.evaluation.items is $$Number of items that the models are trained on.$$;
comment on column recommend.evaluation.test_people is $$Number of people that the models are tested on.$$;
comment on column recommend.evaluation.state is $$
`running`, also when the run was interrupted and can be continued, or `finished`.
$$;
comment on column recommend.evaluation.progress is $$Share of the work that is done, from 0 to 1.$$;
comment on column recommend.evaluation.started_at is $$Start of the run.$$;
comment on column recommend.evaluation.progressed_at is $$Time of the last step.$$;
comment on column recommend.evaluation.finished_at is $$End of the run; null while it is running.$$;

comment on column recommend.evaluation.model_id is $$
Version that a training made after this selection or deployment; null otherwise.
$$;

create index evaluation_version on recommend.evaluation (model_id);
create index evaluation_running on recommend.evaluation (state) where state = 'running';

create table recommend.evaluation_model (
  evaluation_id bigint not null references recommend.evaluation on delete cascade,
  model_no smallint not null check (model_no > 0),
  model text not null,
  prior text not null default 'popularity' check (prior in ('popularity', 'trending', 'latest')),
  parts jsonb not null default '[]',
  model_id bigint references ml.model on delete set null,
  is_trained boolean not null default false,
  duration interval,
  primary key (evaluation_id, model_no),
  unique (evaluation_id, model)
);

comment on table recommend.evaluation_model is $$
Models of an evaluation, with their parameters.
$$;
comment on column recommend.evaluation_model.evaluation_id is $$Evaluation.$$;
comment on column recommend.evaluation_model.model_no is $$Number of the model in the evaluation, from 1.$$;
comment on column recommend.evaluation_model.model is $$Name of the model.$$;
comment on column recommend.evaluation_model.prior is $$
Order of items with equal scores: `popularity`, `trending` or `latest`. Without parts it is the whole model.
$$;
comment on column recommend.evaluation_model.parts is $$
Parts of the model: a list of objects with `algorithm`, `share`, `history_decay` and `parameters`.
$$;
-- Otherwise the API would name both the column `model` and this relation `model`.
comment on constraint evaluation_model_model_id_fkey on recommend.evaluation_model is $$
@fieldName storedVersion
$$;
comment on column recommend.evaluation_model.model_id is $$
Version whose stored neighbours are tested; null: the model is trained on the rows of the evaluation.
$$;
comment on column recommend.evaluation_model.is_trained is $$Whether the neighbours of the model are stored.$$;
comment on column recommend.evaluation_model.duration is $$Duration of the training; null before it.$$;

create index evaluation_model_model on recommend.evaluation_model (model_id);

create table recommend.evaluation_result (
  evaluation_id bigint not null references recommend.evaluation on delete cascade,
  model text not null,
  segment text not null default '',
  metric text not null,
  k int not null,
  value float8,
  standard_error float8,
  lower float8,
  upper float8,
  people int not null,
  primary key (evaluation_id, model, segment, metric, k)
);

comment on table recommend.evaluation_result is $$
Results of evaluations: the mean of a metric over the test people, with its bootstrap interval.
$$;
comment on column recommend.evaluation_result.evaluation_id is $$Evaluation.$$;
comment on column recommend.evaluation_result.model is $$Name of the model.$$;
comment on column recommend.evaluation_result.segment is $$Named set of people; empty: all test people.$$;
comment on column recommend.evaluation_result.metric is $$
Name of the metric.
`precision`, `recall`, `recall_min`, `ndcg`, `ndcg_uncut`, `map`, `mrr`, `hit_rate`, `coverage`, `novelty`,
`diversity`, `popularity` or `popularity_bias`.
$$;
comment on column recommend.evaluation_result.k is $$Length of the lists.$$;
comment on column recommend.evaluation_result.value is $$
Value of the metric; null when it is not defined, such as the diversity of one item.
$$;
comment on column recommend.evaluation_result.standard_error is $$
Standard error by the bootstrap over people; null for `coverage`.
$$;
comment on column recommend.evaluation_result.lower is $$Lower end of the interval of 95 % (percentiles).$$;
comment on column recommend.evaluation_result.upper is $$Upper end of the interval of 95 % (percentiles).$$;
comment on column recommend.evaluation_result.people is $$Number of test people.$$;

create table recommend.evaluation_comparison (
  evaluation_id bigint not null references recommend.evaluation on delete cascade,
  model text not null,
  other_model text not null,
  metric text not null,
  k int not null,
  difference float8 not null,
  standard_error float8 not null,
  lower float8 not null,
  upper float8 not null,
  t float8,
  p_value float8 not null,
  verdict text not null check (verdict in ('better', 'worse', 'equal')),
  people int not null,
  primary key (evaluation_id, model, other_model, metric, k)
);

comment on table recommend.evaluation_comparison is $$
Paired comparisons of the models of an evaluation, on the same people and items.
$$;
comment on column recommend.evaluation_comparison.evaluation_id is $$Evaluation.$$;
comment on column recommend.evaluation_comparison.model is $$Name of the model.$$;
comment on column recommend.evaluation_comparison.other_model is $$Name of the model that it is compared with.$$;
comment on column recommend.evaluation_comparison.metric is $$Metric.$$;
comment on column recommend.evaluation_comparison.k is $$Length of the lists.$$;
comment on column recommend.evaluation_comparison.difference is $$
Mean over people of the metric of the model minus that of the other model.
$$;
comment on column recommend.evaluation_comparison.standard_error is $$Standard error of the difference.$$;
comment on column recommend.evaluation_comparison.lower is $$
Lower end of the interval of 95 % of the difference, by the paired bootstrap (percentiles).
$$;
comment on column recommend.evaluation_comparison.upper is $$
Upper end of the interval of 95 % of the difference, by the paired bootstrap (percentiles).
$$;
comment on column recommend.evaluation_comparison.t is $$
Statistic of the paired t-test; null when the difference is the same for all people.
$$;
comment on column recommend.evaluation_comparison.p_value is $$Two-sided p-value of the paired t-test.$$;
comment on column recommend.evaluation_comparison.verdict is $$
`better` or `worse` when the interval does not contain 0 and the p-value is below 0.05, otherwise `equal`.
$$;
comment on column recommend.evaluation_comparison.people is $$Number of test people.$$;

create table recommend.evaluation_item (
  evaluation_id bigint not null references recommend.evaluation on delete cascade,
  item_no int not null check (item_no > 0),
  item_id bigint not null references track.item on delete cascade,
  person_count int not null check (person_count >= 0),
  strength float8 not null check (strength >= 0),
  recent_strength float8 not null check (recent_strength >= 0),
  available_from timestamptz not null,
  available_until timestamptz not null,
  people bit(4096) not null,
  primary key (evaluation_id, item_no)
);

comment on table recommend.evaluation_item is $$
@behavior -*
Items of evaluations that are running. The rows are deleted at the end of the run.
$$;
comment on column recommend.evaluation_item.evaluation_id is $$Evaluation.$$;
comment on column recommend.evaluation_item.item_no is $$Number of the item in the evaluation, from 1.$$;
comment on column recommend.evaluation_item.item_id is $$Item.$$;
comment on column recommend.evaluation_item.person_count is $$Number of people with the item in the training rows.$$;
comment on column recommend.evaluation_item.strength is $$
Sum of the strengths of these people: the popularity of the item.
$$;
comment on column recommend.evaluation_item.recent_strength is $$
The same, each person weighted by half for every 30 days between the last use and the split.
$$;
comment on column recommend.evaluation_item.available_from is $$
Time from which the item could be recommended: it was known and available.
$$;
comment on column recommend.evaluation_item.available_until is $$Time until which the item was available.$$;
comment on column recommend.evaluation_item.people is $$
People with the item among a sample of up to 4,096, for the similarity of items.
$$;

create index evaluation_item_item on recommend.evaluation_item (item_id);

create table recommend.evaluation_weight (
  evaluation_id bigint not null,
  model_no smallint not null,
  item_no int not null,
  weights sparsevec not null,
  primary key (evaluation_id, model_no, item_no),
  foreign key (evaluation_id, model_no) references recommend.evaluation_model on delete cascade
);

comment on table recommend.evaluation_weight is $$
@behavior -*
Weights of the models of evaluations that are running, one row for each item that has a score.
The rows are deleted at the end of the run.
$$;
comment on column recommend.evaluation_weight.evaluation_id is $$Evaluation.$$;
comment on column recommend.evaluation_weight.model_no is $$Model.$$;
comment on column recommend.evaluation_weight.item_no is $$Item whose score it is.$$;
comment on column recommend.evaluation_weight.weights is $$
Weight of each item of a person on the score, by its number; those of the second part come after those of the first.
$$;

create table recommend.evaluation_person (
  evaluation_id bigint not null,
  person_id bigint not null,
  items int[] not null,
  strengths real[] not null,
  left_out int[] not null default '{}',
  relevant int[] not null default '{}',
  asked_at timestamptz,
  candidates int[],
  segments text[] not null default '{}',
  models_done smallint not null default 0,
  gains float8[] not null default '{}',
  lists int[] not null default '{}',
  primary key (evaluation_id, person_id)
);

comment on table recommend.evaluation_person is $$
@behavior -*
Training and test rows of evaluations that are running, one row per person, as they were when the run started.
The rows are deleted at the end of the run.
$$;
comment on column recommend.evaluation_person.evaluation_id is $$Evaluation.$$;
comment on column recommend.evaluation_person.person_id is $$Person.$$;
comment on column recommend.evaluation_person.items is $$
Items of the person in the training rows, in the order of their last use, the earliest first.
$$;
comment on column recommend.evaluation_person.strengths is $$Strength of each of `items`.$$;
comment on column recommend.evaluation_person.left_out is $$
Items that are not recommended to the person: taken, or not liked.
$$;
comment on column recommend.evaluation_person.relevant is $$
Items that the person took afterwards, and that could have been recommended; empty when the person is not tested.
$$;
comment on column recommend.evaluation_person.asked_at is $$
Time at which items have to be available; null: availability does not count.
$$;
comment on column recommend.evaluation_person.candidates is $$Items that are ranked; null: all.$$;
comment on column recommend.evaluation_person.segments is $$Sets of `evaluation.segments` that contain the person.$$;
comment on column recommend.evaluation_person.models_done is $$Number of models that have been tested on the person.$$;
comment on column recommend.evaluation_person.gains is $$
Metrics of the person: for each model that was tested, for each k, each metric.
$$;
comment on column recommend.evaluation_person.lists is $$
Best items for the person by each model that was tested, as many as the largest k, filled up with 0.
$$;

insert into track.distribution (schema_name, table_name, column_name, colocated_with, description)
values (
  'recommend', 'evaluation_person', 'person_id', 'track.event',
  'Derived from the events of the person, while an evaluation is running.'
);

create table recommend.best_parameters (
  kind text not null,
  algorithm text not null,
  history_decay real not null default 1 check (history_decay > 0 and history_decay <= 1),
  parameters jsonb not null,
  ndcg_at_10 float8,
  evaluation_id bigint references recommend.evaluation on delete set null,
  found_at timestamptz not null default clock_timestamp(),
  primary key (kind, algorithm)
);

comment on table recommend.best_parameters is $$
Best parameters that `recommend.search` found; the next training tries them beside its own candidates.
$$;
comment on column recommend.best_parameters.kind is $$Kind of the items.$$;
comment on column recommend.best_parameters.algorithm is $$Method, such as `sequence`.$$;
comment on column recommend.best_parameters.history_decay is $$
Factor of the strength of an item for each item that the person used later.
$$;
comment on column recommend.best_parameters.parameters is $$Parameters of the method.$$;
comment on column recommend.best_parameters.ndcg_at_10 is $$NDCG@10 in the search.$$;
comment on column recommend.best_parameters.evaluation_id is $$Search that found them; null when it was deleted.$$;
comment on column recommend.best_parameters.found_at is $$Time of the search.$$;

create index best_parameters_evaluation on recommend.best_parameters (evaluation_id);

alter table recommend.evaluation enable row level security;
alter table recommend.evaluation_model enable row level security;
alter table recommend.evaluation_result enable row level security;
alter table recommend.evaluation_comparison enable row level security;
alter table recommend.evaluation_item enable row level security;
alter table recommend.evaluation_weight enable row level security;
alter table recommend.evaluation_person enable row level security;
alter table recommend.best_parameters enable row level security;

create type recommend.paired_test as (
  difference float8,
  standard_error float8,
  lower float8,
  upper float8,
  t float8,
  p_value float8,
  verdict text,
  people int
);

comment on type recommend.paired_test is $$
@behavior -*
Result of a paired comparison, as in `recommend.evaluation_comparison`.
$$;
comment on column recommend.paired_test.difference is $$Mean difference.$$;
comment on column recommend.paired_test.standard_error is $$Standard error of the difference.$$;
comment on column recommend.paired_test.lower is $$Lower end of the bootstrap interval of 95 %.$$;
comment on column recommend.paired_test.upper is $$Upper end of the bootstrap interval of 95 %.$$;
comment on column recommend.paired_test.t is $$Statistic of the paired t-test; null when all differences are equal.$$;
comment on column recommend.paired_test.p_value is $$Two-sided p-value of the paired t-test.$$;
comment on column recommend.paired_test.verdict is $$`better`, `worse` or `equal`.$$;
comment on column recommend.paired_test.people is $$Number of people.$$;

create table recommend.item_vector (
  item_id bigint primary key references track.item on delete cascade,
  content vector(256),
  described_at timestamptz not null
);

comment on table recommend.item_vector is $$
@behavior -*
Vectors of the contents of items, by which items without weights of the model are found.
Maintained by `recommend.refresh_item_vectors`.
$$;
comment on column recommend.item_vector.item_id is $$Item.$$;
comment on column recommend.item_vector.content is $$
Vector of length 1 of the text of the item (`ml.text_vector`); null when it has no word.
$$;
comment on column recommend.item_vector.described_at is $$
Time of the last change of the item, and of the items that contain it, that the vector includes.
$$;

create index item_vector_content on recommend.item_vector
using hnsw (content vector_cosine_ops) with (m = 8, ef_construction = 40);

alter table recommend.item_vector enable row level security;

insert into privacy.handler (room, position, erase_function, description)
values (
  'recommend', 10, 'recommend.erase',
  'Interactions, impressions, evaluations in progress, and what models have learned.'
);

/* --------------------------------------------------------------------------- models that learn and unlearn -- */

create table recommend.learning (
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

create table recommend.learned (
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

create index learned_model on recommend.learned (model_id);

create table recommend.learned_item (
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

create index learned_item_item on recommend.learned_item (item_id);

alter table recommend.learning enable row level security;
alter table recommend.learned enable row level security;
alter table recommend.learned_item enable row level security;

insert into track.consumer (consumer, position, refresh, inputs, description)
values (
  'recommend.learned', 4, 'recommend.learn', '{event,enrolment,decision,identity}',
  'What the deployed recommenders learned from each person.'
);

insert into track.distribution (schema_name, table_name, column_name, colocated_with, description)
values (
  'recommend', 'learned', 'person_id', 'track.event', 'What recommenders learned from the person.'
);

/* ----------------------------------------------------------------------------------------------- experiments -- */

create type recommend.arm as (
  experiment_id int,
  variation smallint,
  model_id bigint,
  tiers text[],
  diversity float8,
  explored_slots int[],
  explored_pool_size int
);

comment on type recommend.arm is $$
@behavior -*
Variation and parameters by which the list of a person is made.
$$;
comment on column recommend.arm.experiment_id is $$Experiment; null when the person is in none.$$;
comment on column recommend.arm.variation is $$Variation of the experiment; null when the person is in none.$$;
comment on column recommend.arm.model_id is $$
Version of the model; 0 for a version that cannot be used any more; null: the deployed one.
$$;
comment on column recommend.arm.tiers is $$Tiers of candidates in their order; null: the usual ones.$$;
comment on column recommend.arm.diversity is $$Weight of diversity; null: that of `recommend.setting`.$$;
comment on column recommend.arm.explored_slots is $$Marked slots; null: those of `recommend.setting`.$$;
comment on column recommend.arm.explored_pool_size is $$
Number of items from which they are drawn; null: that of `recommend.setting`.
$$;

create table recommend.list_parameters (
  kind text primary key check (length(kind) between 1 and 200),
  parameters jsonb not null check (jsonb_typeof(parameters) = 'object'),
  updated_at timestamptz not null default now()
);

comment on table recommend.list_parameters is $$
Parameters of the lists for people, by kind of items, in place of those of `recommend.setting`.
They are the result of experiments: `recommend.ship_variation` writes them.
$$;
comment on column recommend.list_parameters.kind is $$Kind of the items.$$;
comment on column recommend.list_parameters.parameters is $$
`tiers`, `diversity`, `explored_slots` and `explored_pool_size`, as in a variation: see `recommend.check_variation`.
$$;
comment on column recommend.list_parameters.updated_at is $$Time of the last change.$$;

alter table recommend.list_parameters enable row level security;

insert into experiment.handler (room, check_function, ship_function, exposure_function, description)
values (
  'recommend', 'recommend.check_variation', 'recommend.ship_variation', 'recommend.exposures',
  'Lists for people: the placement is "recommend." and the kind of the items.'
);

/* --- retention --- */

insert into privacy.retention_class (
  data_class, position, table_name, time_column, person_column, condition, description
)
values
  (
    'impressions', 30, 'recommend.impression', 'listed_at', 'person_id', null,
    'Recommended items that people were shown, with their answers. An event that names a row brings it back.'
  ),
  (
    'taken', 32, 'recommend.taken', 'last_at', 'person_id', null,
    'Items that people took, finished or rejected, whose events are deleted. Without them, items are recommended again.'
  ),
  (
    'dismissed_topics', 33, 'recommend.dismissed_topic', 'first_at', 'person_id',
    'greatest(stored.dismissed_at, stored.withdrawn_at) < $1',
    'Topics that people rejected. An event brings them back as long as it is kept.'
  ),
  (
    'rule_log', 31, 'recommend.rule_log', 'logged_at', null, null, 'The log of changes of rules of recommendations.'
  );

/* ---------------------------------------------------------------------------------------- durations of lists -- */

create table recommend.serving_call (
  hour_at timestamptz not null,
  function_name text not null,
  kind text not null,
  model_id bigint,
  item_count int not null check (item_count >= 0),
  seconds float8 not null check (seconds >= 0),
  person_id bigint,
  identity_id bigint,
  serving_ids text[],
  scores float8[]
)
-- A list of 50 rows stays in its row, and is not compressed: it is there for a minute.
with (toast_tuple_target = 8160);

comment on table recommend.serving_call is $$
@behavior -*
Calls of `recommend.serve_me` and its variants since the last refresh, with their lists.
`recommend.collect_servings` stores the lists in `recommend.impression`, counts the durations and deletes the rows.
Append-only, so that no call waits for another one, and one row for a list, so that the record takes a small part of the
time of the list. Without a key, whose index would take as long as the row: a publication of logical replication
identifies a row by all of its columns.
$$;
comment on column recommend.serving_call.hour_at is $$Start of the hour of the call, in UTC.$$;
comment on column recommend.serving_call.function_name is $$Function that was called, such as `serve_me`.$$;
comment on column recommend.serving_call.kind is $$Kind of the items.$$;
comment on column recommend.serving_call.model_id is $$
Version of the model that ranked rows of the list; null when none did.
$$;
comment on column recommend.serving_call.item_count is $$Number of rows of the list.$$;
comment on column recommend.serving_call.seconds is $$
Duration of the call with its record, in seconds, until this row was stored.
$$;
comment on column recommend.serving_call.person_id is $$
Person to whom the list was served, at that time; null for a list that is only counted.
$$;
comment on column recommend.serving_call.identity_id is $$
Identity for which the list was made; null for a list that is only counted.
$$;
comment on column recommend.serving_call.serving_ids is $$
The `serving_id` of each row of the list; null for a list that is only counted.
$$;
comment on column recommend.serving_call.scores is $$Scores of the rows of the list, in the same order.$$;

create index serving_call_person on recommend.serving_call (person_id) where person_id is not null;

create table recommend.serving_time (
  hour_at timestamptz not null,
  function_name text not null,
  kind text not null,
  model_id bigint not null,
  counts bigint[] not null,
  items bigint not null,
  seconds float8 not null,
  primary key (hour_at, function_name, kind, model_id)
);

comment on table recommend.serving_time is $$
@behavior -*
How long calls of `recommend.serve_me` and its variants took, one row per hour, function, kind and version.
See `recommend.serving_times`.
$$;
comment on column recommend.serving_time.hour_at is $$Start of the hour, in UTC.$$;
comment on column recommend.serving_time.function_name is $$Function that was called, such as `serve_me`.$$;
comment on column recommend.serving_time.kind is $$Kind of the items.$$;
comment on column recommend.serving_time.model_id is $$
Version of the model that ranked rows of the lists; 0 when none did.
$$;
comment on column recommend.serving_time.counts is $$
Numbers of calls by their duration.
A number counts those of at most the bound of `common.duration_bounds()` at its position, and more than the bound
before. The last one counts those above all bounds.
$$;
comment on column recommend.serving_time.items is $$Number of rows of the lists.$$;
comment on column recommend.serving_time.seconds is $$Sum of the durations, in seconds.$$;

alter table recommend.serving_call replica identity full;
alter table recommend.serving_call enable row level security;
alter table recommend.serving_time enable row level security;

insert into privacy.retention_class (
  data_class, position, table_name, time_column, condition, default_keep, description
)
values (
  'serving_times', 34, 'recommend.serving_time', 'hour_at', null, '400 days',
  'Durations of lists by hour, function and version of the model.'
);

create type recommend.serving_duration as (
  name text,
  call_count bigint,
  item_count bigint,
  mean_ms float8,
  p50_ms float8,
  p95_ms float8,
  p99_ms float8,
  ms_per_item float8
);

comment on type recommend.serving_duration is $$
Durations of the calls of one function, model version, hour or day: see `recommend.serving_times`.
$$;
comment on column recommend.serving_duration.name is $$
Function, version of the model (null: none), or start of the hour or day in UTC.
$$;
comment on column recommend.serving_duration.call_count is $$Number of calls.$$;
comment on column recommend.serving_duration.item_count is $$Number of recommended items that they returned.$$;
comment on column recommend.serving_duration.mean_ms is $$Mean duration of a call, in milliseconds.$$;
comment on column recommend.serving_duration.p50_ms is $$Median duration of a call, in milliseconds.$$;
comment on column recommend.serving_duration.p95_ms is $$
Duration that 95 % of the calls do not exceed, in milliseconds.
$$;
comment on column recommend.serving_duration.p99_ms is $$
Duration that 99 % of the calls do not exceed, in milliseconds.
$$;
comment on column recommend.serving_duration.ms_per_item is $$
Duration of all calls divided by the number of items, in milliseconds; null without items.
$$;

--! Previous: sha1:449a4e249e44d6de8d48eb2ab764cd88592283fb
--! Hash: sha1:5d228a5ee4850261341a9cff99bc19ceac144129
--! Message: lists that are never empty, feedback, evaluation, models

--! Included prepare.sql
/*
 * The start of every migration. The types and operators of pgvector are resolved when objects are created, in the
 * schema of the extension. Only the owner may call a function until its file grants it.
 */
do $$
declare
  v_schema text := (
    select namespace.nspname
    from pg_catalog.pg_extension as extension
    join pg_catalog.pg_namespace as namespace on namespace.oid = extension.extnamespace
    where extension.extname = 'vector'
  );
begin
  if v_schema is null then
    raise exception using
      errcode = 'CF002',
      message = format('the extension "vector" is not installed in database "%s"', current_database()),
      hint = 'Run "insights migrate", which installs it, or "create extension vector" as an administrator.';
  end if;
  perform pg_catalog.set_config('search_path', pg_catalog.format('%I, pg_temp', v_schema), true);
  -- Hides the notices of "drop … if exists" for objects that do not exist.
  perform pg_catalog.set_config('client_min_messages', 'warning', true);
end;
$$;

alter default privileges revoke execute on functions from public;
--! EndIncluded prepare.sql

-- Changes of structure since the last release: see migrations/README.md.

/* -------------------------------------------------------------------------- recommend: shared tables and types -- */

/* --------------------------------------------------------------------------------------------- neighbour lists -- */

create table if not exists recommend.model_part (
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

create table if not exists recommend.neighbours (
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

create index if not exists neighbours_item on recommend.neighbours (item_id);

/* ----------------------------------------------------------------------------------------------- ranked lists -- */

create table if not exists recommend.ranked_list (
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

create index if not exists ranked_list_order on recommend.ranked_list (kind, list, score desc, item_id);
create index if not exists ranked_list_item on recommend.ranked_list (item_id);


alter table recommend.model_part enable row level security;
alter table recommend.neighbours enable row level security;
alter table recommend.ranked_list enable row level security;

do $do$
begin
  if not exists (
    select
    from pg_catalog.pg_attribute
    where attrelid = 'recommend.recommendation'::regclass and attname = 'next_page'
  ) then
    alter type recommend.recommendation add attribute propensity float8, add attribute next_page text;
  end if;
end;
$do$;
comment on column recommend.recommendation.propensity is $$
Probability with which the item was drawn for a marked slot; null for the other rows.
$$;
comment on column recommend.recommendation.next_page is $$
On the last row: argument `page` of the call that continues this list, without repeating an item. Null on the others.
$$;

do $do$
begin
  if to_regtype('recommend.person_context') is null then
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
  end if;
end;
$do$;

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

do $do$
begin
  if to_regtype('recommend.request') is null then
    create type recommend.request as (
      kind text,
      top int,
      excluded bigint[],
      only_items bigint[],
      diversity float8,
      is_explored boolean,
      page text
    );
  end if;
end;
$do$;

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

/* ------------------------------------------------------------------- recommend: interactions and feedback -- */


drop function if exists recommend._interactions_of(bigint[]);

alter table recommend.setting
  add column if not exists kept_kinds text[] not null default '{course}' check (cardinality(kept_kinds) <= 20);

comment on column recommend.setting.full_weight is $$
Weight from which a person counts as having taken an item.
A taken item is not recommended to the person. Smaller weights count in proportion; larger weights do not count more.
After a change, `select recommend.rebuild()` applies it to the stored interactions.
$$;
comment on column recommend.setting.kept_kinds is $$
Kinds of items of which `recommend.taken` keeps what a person took when the events are deleted.
$$;

do $do$
begin
  if not exists (
    select
    from pg_catalog.pg_attribute
    where attrelid = 'recommend.event_weight'::regclass and attname = 'drops'
  ) then
    alter table recommend.event_weight
      add column liking real check (liking between -1 and 1),
      add column value_property text check (length(value_property) between 1 and 100),
      add column value_from float8 check (value_from between -1e12 and 1e12),
      add column value_to float8 check (value_to between -1e12 and 1e12),
      add column withdraws boolean not null default false,
      add column dismisses_topic boolean not null default false,
      add column marks_known boolean not null default false,
      add column drops boolean not null default false,
      add constraint event_weight_drops check (not (drops and (completes or dismisses))),
      add constraint event_weight_scale check (
        num_nulls(value_property, value_from, value_to) in (0, 3)
        and value_from <> value_to
        and (liking is null or value_property is null)
      ),
      add constraint event_weight_withdraws check (
        not withdraws
        or not (completes or dismisses or drops or marks_known or dismisses_topic)
          and num_nonnulls(liking, value_property) = 0
      );

    -- A rating is a preference now, and a dropped item is distinct from a dismissed one.
    update recommend.event_weight
    set value_property = 'rating', value_from = 1, value_to = 5
    where event = 'Course Rated';
    update recommend.event_weight
    set drops = true, dismisses = false
    where event = 'Course Dropped' and dismisses;
    insert into recommend.event_weight (event, weight, most_counted, dismisses)
    values ('Item Dismissed', 0, 1, true)
    on conflict do nothing;
    insert into recommend.event_weight (
      event, weight, most_counted, liking, value_property, value_from, value_to,
      withdraws, dismisses_topic, marks_known, drops
    )
    values
      ('Item Liked', 0, 1, 1, null, null, null, false, false, false, false),
      ('Item Disliked', 0, 1, -1, null, null, null, false, false, false, false),
      ('Item Rated', 1, 1, null, 'rating', 1, 5, false, false, false, false),
      ('Item Known', 0, 1, null, null, null, null, false, false, true, false),
      ('Topic Dismissed', 0, 1, null, null, null, null, false, true, false, false),
      ('Feedback Withdrawn', 0, 1, null, null, null, null, true, false, false, false)
    on conflict do nothing;
  end if;
end;
$do$;

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

do $do$
begin
  if not exists (
    select
    from pg_catalog.pg_attribute
    where attrelid = 'recommend.interaction'::regclass and attname = 'withdrawn_at'
  ) then
    alter table recommend.interaction
      add column identity_id bigint,
      add column dropped_at timestamptz,
      add column resumed_at timestamptz,
      add column liking real check (liking between -1 and 1),
      add column liked_at timestamptz,
      add column known_at timestamptz,
      add column topic_dismissed_at timestamptz,
      add column withdrawn_at timestamptz;
    -- The next refreshes recompute all interactions.
    perform track.rebuild('recommend.interaction');
  end if;
end;
$do$;

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

create table if not exists recommend.dismissed_topic (
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

create table if not exists recommend.taken (
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

create index if not exists taken_item on recommend.taken (item_id);

alter table recommend.dismissed_topic enable row level security;
alter table recommend.taken enable row level security;

update track.consumer
set inputs = '{event,decision,identity}'
where consumer = 'recommend.interaction' and inputs <> '{event,decision,identity}';

insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, description)
values
  ('recommend', 'interaction', 'identity_id', 'identity', 'personalization', 'Identity that used the item first.'),
  ('recommend', 'dismissed_topic', 'person_id', 'person', 'personalization', 'Person who dismissed the topic.'),
  ('recommend', 'dismissed_topic', 'identity_id', 'identity', 'personalization', 'Identity that named it first.'),
  ('recommend', 'taken', 'person_id', 'person', 'personalization', 'Person that took the item.'),
  ('recommend', 'taken', 'identity_id', 'identity', 'personalization', 'Identity that used the item first.')
on conflict do nothing;

insert into track.distribution (schema_name, table_name, column_name, colocated_with, description)
values
  ('recommend', 'dismissed_topic', 'person_id', 'track.event', 'Derived from the events of the person.'),
  ('recommend', 'taken', 'person_id', 'track.event', 'Derived from events of the person that were deleted.')
on conflict do nothing;

/* ------------------------------------------------------------------------------------------- ml: recommenders -- */

drop function if exists ml.ease_train(text, text, text, text, float8);
drop function if exists ml._ease_gram(regclass, text, text, text);
drop function if exists ml._inverse_factor(vector[], int);

do $do$
begin
  if not exists (
    select
    from pg_catalog.pg_attribute
    where attrelid = 'ml.ease_sums'::regclass and attname = 'person_counts'
  ) then
    alter type ml.ease_sums add attribute person_counts int[];
  end if;
  if to_regtype('ml.neighbour_row') is null then
    create type ml.neighbour_row as (item_no int, neighbours int[], weights real[]);
  end if;
  if to_regtype('ml.item_neighbours') is null then
    create type ml.item_neighbours as (item text, neighbours text[], weights real[]);
  end if;
  if to_regtype('ml.content_row') is null then
    create type ml.content_row as (item text, embedding vector);
  end if;
end;
$do$;
comment on column ml.ease_sums.person_counts is $$Number of people of each item.$$;

comment on type ml.neighbour_row is $$
@behavior -*
An item of a recommender whose weights are sparse, and the items whose scores it changes.
The score of an item for a person is the sum of the weights from the items of the person.
$$;
comment on column ml.neighbour_row.item_no is $$Number of the item, from 1.$$;
comment on column ml.neighbour_row.neighbours is $$
Numbers of the items whose score it changes, in ascending order, without the item itself.
$$;
comment on column ml.neighbour_row.weights is $$Weight of each of them.$$;

comment on type ml.item_neighbours is $$
An item of a recommender whose weights are sparse, and the items whose scores it changes, by name.
$$;
comment on column ml.item_neighbours.item is $$The item, as text.$$;
comment on column ml.item_neighbours.neighbours is $$
Items whose score it changes, as text, the strongest weight first, without the item itself.
$$;
comment on column ml.item_neighbours.weights is $$Weight of each of them.$$;

comment on type ml.content_row is $$
@behavior -*
An item and the vector of its text.
$$;
comment on column ml.content_row.item is $$The item, as text.$$;
comment on column ml.content_row.embedding is $$Vector of length 1; null when the text has no word.$$;

/* ------------------------------------------------------------------------------------------------------ rules -- */

alter table recommend.setting
  add column if not exists topic_attribute text not null default 'subject' check (length(topic_attribute) between 1 and 200),
  add column if not exists explored_slots int[] not null default '{}'
    check (array_position(explored_slots, null) is null and 1 <= all (explored_slots) and 1000 >= all (explored_slots)),
  add column if not exists explored_pool_size int not null default 20 check (explored_pool_size between 2 and 1000),
  add column if not exists diversity float8 not null default 0 check (diversity >= 0 and diversity <= 1),
  add column if not exists diversity_method text not null default 'similarity'
    check (diversity_method in ('similarity', 'calibration'));

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

create table if not exists recommend.rule (
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

create index if not exists rule_within on recommend.rule (within_item_id) where within_item_id is not null;
create index if not exists rule_person_set on recommend.rule (person_set) where person_set is not null;

create table if not exists recommend.rule_item (
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

create index if not exists rule_item_item on recommend.rule_item (item_id);

create table if not exists recommend.rule_log (
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

create index if not exists rule_log_time on recommend.rule_log (logged_at);

insert into recommend.rule (name, action, is_active, period)
values
  ('topic', 'topic', true, null),
  ('availability', 'availability', true, null),
  ('prerequisites', 'prerequisites', true, null),
  ('capacity', 'capacity', true, null),
  ('language', 'language', false, null),
  ('not_again', 'not_again', false, '7 days')
on conflict do nothing;

do $do$
begin
  if to_regtype('recommend.verdict') is null then
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
  end if;
end;
$do$;

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

do $do$
begin
  if to_regtype('recommend.ranked_item') is null then
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
  end if;
end;
$do$;

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

do $do$
begin
  if to_regtype('recommend.rule_problem') is null then
    create type recommend.rule_problem as (rule text, item text, problem text);
  end if;
end;
$do$;

comment on type recommend.rule_problem is $$
A condition of a rule that cannot have the effect that was meant.
$$;
comment on column recommend.rule_problem.rule is $$Rule.$$;
comment on column recommend.rule_problem.item is $$External id of the item; null when there is none.$$;
comment on column recommend.rule_problem.problem is $$Description, with what the rule does instead.$$;

alter table recommend.rule enable row level security;
alter table recommend.rule_item enable row level security;
alter table recommend.rule_log enable row level security;

/* ---------------------------------------------------------------- recommend: impressions and feedback (feedback/) -- */

alter table recommend.setting
add column if not exists serving_period interval not null default '90 days' check (serving_period > '0'),
add column if not exists attribution_period interval not null default '30 days' check (attribution_period > '0');

comment on column recommend.setting.serving_period is $$
Time after a list was made in which an event with its `servingId` counts; later ones are ignored.
$$;
comment on column recommend.setting.attribution_period is $$
Time after a list was made in which finishing an item of it counts as completed after the recommendation.
$$;

do $do$
begin
  if to_regtype('recommend.serving') is null then
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
      problem text
    );
  end if;
end;
$do$;

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

create table if not exists recommend.impression (
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
  primary key (person_id, serving_key)
);

comment on table recommend.impression is $$
@foreignKey (item_id) references track.item (item_id)
Recommended items that were served to people or seen by them, one row per row of a list.
`recommend.serve_me` and its variants insert the rows that they return; a row of a list of `recommend.for_me` is added
when an event names its `serving_id`. The columns from `seen_at` on are computed from the events of the person, in any
order of arrival. Rows follow their identity in merges of people.
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

create index if not exists impression_listed on recommend.impression using brin (listed_at);

insert into track.consumer (consumer, position, refresh, inputs, description)
values (
  'recommend.impression', 3, 'recommend.refresh_impressions', '{event,enrolment,decision,identity}',
  'The answers of people to what was recommended to them.'
)
on conflict do nothing;

insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, description)
values (
  'recommend', 'impression', 'person_id', 'person', 'personalization', 'Person to whom the item was recommended.'
)
on conflict do nothing;

insert into track.distribution (schema_name, table_name, column_name, colocated_with, description)
values (
  'recommend', 'impression', 'person_id', 'track.event', 'Items that were recommended to the person, with her answers.'
)
on conflict do nothing;

do $do$
begin
  if to_regtype('recommend.serving_figures') is null then
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
  end if;
end;
$do$;

comment on type recommend.serving_figures is $$
Figures about the recommendations of one model version, basis, rank or kind of slot.
Rates are shares of the rows that were seen, with the bounds of Wilson's score interval (95 %).
$$;
comment on column recommend.serving_figures.name is $$
Version of the model (null: none), basis, rank, or `explored` and `ranked` for slots.
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

do $do$
begin
  if to_regtype('recommend.policy_value') is null then
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
  end if;
end;
$do$;

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
Standard error of `ips`, by person; null for fewer than two people.
$$;
comment on column recommend.policy_value.snips is $$
Self-normalized estimate: sum of weight times outcome, divided by the sum of the weights. Null when that is 0.
$$;
comment on column recommend.policy_value.snips_standard_error is $$
Standard error of `snips`, by person (delta method); null for fewer than two people.
$$;

alter table recommend.impression enable row level security;

comment on column recommend.recommendation.serving_id is $$
Signed identifier of the recommendation: see `recommend.impression`.
Model (0 for none), item, rank, propensity in billionths (0 for rows that were not drawn), time in milliseconds since
1970, identity (0 for no person), basis, for marked slots the items of the pool, and signature, separated by dots.
$$;

/* ------------------------------------------------------------------------------------- recommend: serving -- */

grant usage on schema recommend to insights_visitor;

alter table recommend.neighbours alter column neighbour_ids set storage external;
alter table recommend.neighbours alter column weights set storage external;

create index if not exists item_newest on track.item (kind, created_at desc, item_id desc);

-- The versions that are stored are served by their strongest weights: 200 of a column, 1,000 of a row.
do $do$
begin
  if to_regclass('recommend.item_weight') is null then
    return;
  end if;
  insert into recommend.model_part (model_id, part, algorithm)
  select distinct item_weight.model_id, 1, 'ease'
  from recommend.item_weight
  on conflict do nothing;

  insert into recommend.neighbours (model_id, part, item_id, person_count, neighbour_ids, weights)
  with target as (
    -- P[i,j] = -B[j,i] P[i,i], and B[i,j] = -P[i,j] / P[j,j].
    select
      item_weight.model_id,
      item_weight.item_no,
      item_weight.item_id,
      strongest.item_no as source_no,
      (strongest.product / item_weight.diagonal)::real as weight
    from recommend.item_weight
    cross join lateral (
      select source.item_no, entry.weight::float8 * source.diagonal as product
      from unnest(item_weight.weights::real[]) with ordinality as entry (weight, item_no)
      join recommend.item_weight as source
        on source.model_id = item_weight.model_id
        and source.item_no = entry.item_no
      where entry.weight <> 0
        and source.item_no <> item_weight.item_no
      order by abs(entry.weight::float8 * source.diagonal) desc, source.item_no
      limit 200
    ) as strongest
  ),

  kept as (
    select
      target.*,
      row_number() over (
        partition by target.model_id, target.source_no
        order by abs(target.weight) desc, target.item_no
      ) as place
    from target
  )

  select
    source.model_id,
    1,
    source.item_id,
    source.person_count,
    coalesce(array_agg(kept.item_id order by kept.item_id) filter (where kept.item_id is not null), '{}'),
    coalesce(array_agg(kept.weight order by kept.item_id) filter (where kept.item_id is not null), '{}')
  from recommend.item_weight as source
  left join kept
    on kept.model_id = source.model_id
    and kept.source_no = source.item_no
    and kept.place <= 1000
  group by source.model_id, source.item_no, source.item_id, source.person_count
  on conflict do nothing;

  drop table recommend.item_weight;
end;
$do$;

drop function if exists recommend.for_me(int, text);
drop function if exists recommend.for_person(text, int, text);
drop function if exists recommend._recommend(bigint, int, text);
drop function if exists recommend._rank_items(text, bigint[], real[], bigint[], int);
drop function if exists recommend._rank_by_popularity(text, bigint[], int, recommend.secret, text);
drop function if exists recommend._rank_by_model(
  text, bigint[], real[], bigint[], int, bigint, int, recommend.secret, text
);
drop function if exists recommend._best_items(text, bigint[], real[], bigint[], int, bigint);

drop function if exists recommend._rank(recommend.person_context, recommend.request);

do $do$
begin
  if to_regtype('recommend.page') is null then
    create type recommend.page as (
      model_id bigint,
      served bigint[],
      frozen bigint[],
      bases text[]
    );
  end if;
end;
$do$;

comment on type recommend.page is $$
@behavior -*
State of a list that is continued: what `recommendation.next_page` holds, signed.
$$;
comment on column recommend.page.model_id is $$Version of the model; 0 when there was none.$$;
comment on column recommend.page.served is $$Items of the former pages.$$;
comment on column recommend.page.frozen is $$Items that follow, in the order of the list.$$;
comment on column recommend.page.bases is $$Basis of each of `frozen`.$$;

do $do$
begin
  if to_regtype('recommend.person_recommendation') is null then
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
  end if;
end;
$do$;

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

comment on type recommend.reason is $$
A term of a score. The contributions of the reasons of a recommendation add up to its score.
`kind` is `item` (an item of the person), `others` (all further such items together), `content` (an item of the person
with similar content), `segment`, `popularity`, `trending`, `newest` or `next` (the basis of the row), or `rule` (what a
rule adds).
$$;
comment on column recommend.reason.kind is $$
`item`, `others`, `content`, `segment`, `popularity`, `trending`, `newest`, `next` or `rule`.
$$;
comment on type recommend.recommendation is $$
A recommended item for a person, with its reasons.
`basis` states what the row is based on: `pinned` (a rule), `next` (what follows in the course), `model` (items of the
person), `content` (similar content), `segment` (popular in a segment of the person), `trending`, `popularity` (1 for
the most popular item), `newest`, or `explored` (drawn for a marked slot). Scores are comparable between rows with the
same basis. `serving_id` is signed and contains the version and the rank. Send it with impressions and clicks.
$$;
comment on column recommend.recommendation.basis is $$
`pinned`, `next`, `model`, `content`, `segment`, `trending`, `popularity`, `newest` or `explored`.
$$;
comment on column recommend.recommendation.model_version is $$
Version of the model; null for rows that are not based on it.
$$;
comment on column recommend.recommendation.rank is $$
Rank, 1 for the best item. A continued list has the ranks that follow.
$$;

/* ------------------------------------------------------------------------------------------------- evaluation -- */

do $do$
begin
  if to_regtype('recommend.part') is null then
    create type recommend.part as (algorithm text, parameters jsonb, history_decay float8, share float8);
  end if;
  if to_regtype('recommend.metric') is null then
    create type recommend.metric as (model text, metric text, k int, value float8);
  end if;
end;
$do$;

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

/* ------------------------------------------------------------------------------------- recommend: evaluations -- */

create table if not exists recommend.evaluation (
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

create index if not exists evaluation_version on recommend.evaluation (model_id);
create index if not exists evaluation_running on recommend.evaluation (state) where state = 'running';

create table if not exists recommend.evaluation_model (
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

create index if not exists evaluation_model_model on recommend.evaluation_model (model_id);

create table if not exists recommend.evaluation_result (
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

create table if not exists recommend.evaluation_comparison (
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

create table if not exists recommend.evaluation_item (
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

create index if not exists evaluation_item_item on recommend.evaluation_item (item_id);

create table if not exists recommend.evaluation_weight (
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

create table if not exists recommend.evaluation_person (
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

insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, description)
values (
  'recommend', 'evaluation_person', 'person_id', 'person', 'personalization',
  'Person that an evaluation of recommenders is running on.'
)
on conflict do nothing;

insert into track.distribution (schema_name, table_name, column_name, colocated_with, description)
values (
  'recommend', 'evaluation_person', 'person_id', 'track.event',
  'Derived from the events of the person, while an evaluation is running.'
)
on conflict do nothing;

create table if not exists recommend.best_parameters (
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

create index if not exists best_parameters_evaluation on recommend.best_parameters (evaluation_id);

alter table recommend.evaluation enable row level security;
alter table recommend.evaluation_model enable row level security;
alter table recommend.evaluation_result enable row level security;
alter table recommend.evaluation_comparison enable row level security;
alter table recommend.evaluation_item enable row level security;
alter table recommend.evaluation_weight enable row level security;
alter table recommend.evaluation_person enable row level security;
alter table recommend.best_parameters enable row level security;

do $do$
begin
  if to_regtype('recommend.paired_test') is null then
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
  end if;
end;
$do$;

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

do $do$
begin
  if not exists (
    select
    from pg_catalog.pg_attribute
    where attrelid = 'recommend.training'::regclass and attname = 'algorithm'
  ) then
    alter type recommend.training add attribute algorithm text;
  end if;
end;
$do$;
comment on column recommend.training.algorithm is $$
Method that was selected, such as `ease`; `popular` for lists by popularity, joined by `+` for a blend.
$$;

drop function if exists recommend._interactions_of(bigint[]);
drop function if exists recommend._training_rows(text);
drop function if exists recommend._held_out_ranks(bigint[], vector[]);
drop function if exists recommend._hold_out(int, bigint);
drop function if exists recommend._measure(float8[]);
drop function if exists recommend._store_neighbours(bigint, bigint[], int[], vector[]);
drop function if exists recommend._store_version(
  recommend.training, recommend.measurement, bigint, timestamptz
);
drop type if exists recommend.measurement;
comment on column recommend.training.reason is $$
`first`, `better` or `newest` (deployed), `worse`, `popularity` or `untested` (not deployed).
$$;
comment on type recommend.training is $$
Result of a training.
`reason` states why the version was or was not deployed: a value of `ml.deployment.strategy`; `worse` than the deployed
version; not better than `popularity`; or `untested`. The measures are null when no one took an item after the split.
$$;
-- end of evaluations

drop function if exists recommend._history(bigint, text);
drop function if exists analytics._wilson_bounds(bigint, bigint, double precision);

comment on type recommend.training is $$
Result of a training.
`reason` states why the version was or was not deployed: a value of `ml.deployment.strategy`; `worse` than the deployed
version; not better than `popularity`; or `untested`. The measures are null when no one took an item after the split.
$$;
comment on column recommend.training.reason is $$
`first`, `better` or `newest` (deployed), `worse`, `popularity` or `untested` (not deployed).
$$;

create table if not exists recommend.item_vector (
  item_id bigint primary key references track.item,
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

create index if not exists item_vector_content on recommend.item_vector
using hnsw (content vector_cosine_ops) with (m = 8, ef_construction = 40);

alter table recommend.item_vector enable row level security;
drop function if exists ml._ease_gram(regclass, text, text, text);

/* ------------------------------------------------------------------------------------------- ridges of trainings -- */

update recommend.setting
set lambdas = coalesce(
  nullif(array(select lambda from unnest(lambdas) as lambda where lambda between 1e-30 and 1e15), '{}'), '{5,50,500}'
)
where (1e-30 <= all (lambdas) and 1e15 >= all (lambdas)) is not true;
alter table recommend.setting drop constraint if exists setting_lambdas_check;
alter table recommend.setting add constraint setting_lambdas_check check (
  cardinality(lambdas) between 1 and 20 and (1e-30 <= all (lambdas) and 1e15 >= all (lambdas)) is true
);
comment on column recommend.setting.lambdas is $$
Values of the ridge parameter λ of EASE, positive numbers, that a training tries with up to 2,000 items.
$$;

alter table recommend.setting
  add column if not exists fewest_test_people int not null default 100 check (fewest_test_people >= 0);
comment on column recommend.setting.fewest_test_people is $$
Minimum number of people who took an item in the last part of the time, for a comparison of models by time.
With fewer people, which cannot show a usual difference, models are compared by the last item of each person.
$$;

--! Included ml/linear_algebra/inverse.sql
create or replace function ml._inverse_factor_leaf(
  matrix vector[],
  first_row int,
  out factor vector[],
  out transposed vector[]
)
language plpgsql
immutable
parallel safe
set search_path from current
as $$
declare
  v_size constant int := cardinality(matrix);
  v_matrix constant float8[] := array(select unnest(row_.v::real[]) from (select unnest(matrix) as v offset 0) as row_);
  v_lower float8[] := array_fill(0::float8, array[v_size * v_size]);
  v_factor float8[] := v_lower;
  v_sum float8;
begin
  -- L by Cholesky's method, and its inverse, row by row: entry (i, j) is at (i - 1) n + j.
  for v_i in 1..v_size loop
    for v_j in 1..v_i loop
      v_sum := v_matrix[(v_i - 1) * v_size + v_j];
      for v_k in 1..v_j - 1 loop
        v_sum := v_sum - v_lower[(v_i - 1) * v_size + v_k] * v_lower[(v_j - 1) * v_size + v_k];
      end loop;
      if v_j < v_i then
        v_lower[(v_i - 1) * v_size + v_j] := v_sum / v_lower[(v_j - 1) * v_size + v_j];
      elsif v_sum < 1e-6 then
        perform common.refuse(
          'CF007',
          format(
            'the matrix is %s: pivot %s of row %s',
            case
              when v_sum < -1e-6 then 'not positive definite'
              else 'singular, or nearly singular in single precision'
            end,
            v_sum::real,
            first_row + v_i - 1
          ),
          'The row depends on the rows before it. Remove it, or add a positive number to the diagonal (a ridge).'
        );
      else
        v_lower[(v_i - 1) * v_size + v_i] := sqrt(v_sum);
      end if;
    end loop;

    v_factor[(v_i - 1) * v_size + v_i] := 1 / v_lower[(v_i - 1) * v_size + v_i];
    for v_j in 1..v_i - 1 loop
      v_sum := 0;
      for v_k in v_j..v_i - 1 loop
        v_sum := v_sum - v_lower[(v_i - 1) * v_size + v_k] * v_factor[(v_k - 1) * v_size + v_j];
      end loop;
      v_factor[(v_i - 1) * v_size + v_j] := v_sum / v_lower[(v_i - 1) * v_size + v_i];
    end loop;
  end loop;

  factor := array(
    select v_factor[(i - 1) * v_size + 1:i * v_size]::vector
    from generate_series(1, v_size) as i
  );
  transposed := array(
    select array(select v_factor[(i - 1) * v_size + j] from generate_series(1, v_size) as i)::vector
    from generate_series(1, v_size) as j
  );
end;
$$;

comment on function ml._inverse_factor_leaf(vector[], int) is $$
Returns the inverse K of the Cholesky factor of a small block, and its transpose, in double precision.
Error CF007 names the row, counted from `first_row`.
$$;

create or replace function ml._part_of_rows(
  matrix vector[],
  first_column int,
  columns int
)
returns vector[]
language sql
immutable
parallel safe
begin atomic
  select array(
    select subvector(row_.v, _part_of_rows.first_column, _part_of_rows.columns)
    from (select unnest(_part_of_rows.matrix) as v offset 0) as row_
  );
end;

comment on function ml._part_of_rows(vector[], int, int) is $$
Returns some neighbouring columns of a matrix.
$$;

create or replace function ml._product_by_lower(a vector[], triangle vector[])
returns vector[]
language plpgsql
immutable
parallel safe
set search_path from current
as $$
declare
  v_size constant int := cardinality(triangle);
  v_half constant int := v_size / 2;
begin
  if v_size <= 96 then
    return ml._product(a, triangle);
  end if;
  return array(
    select part.x || part.y
    from (
      select
        unnest(ml._product(
          ml._part_of_rows(a, 1, v_half), ml._part_of_rows(triangle[:v_half], 1, v_half)
        )) as x,
        unnest(ml._product(a, triangle[v_half + 1:])) as y
      offset 0
    ) as part
  );
end;
$$;

comment on function ml._product_by_lower(vector[], vector[]) is $$
Returns A times the transpose of a lower triangular matrix, without multiplying a quarter that is zero.
$$;

create or replace function ml._product_by_upper(a vector[], triangle vector[])
returns vector[]
language plpgsql
immutable
parallel safe
set search_path from current
as $$
declare
  v_size constant int := cardinality(triangle);
  v_half constant int := v_size / 2;
begin
  if v_size <= 96 then
    return ml._product(a, triangle);
  end if;
  return array(
    select part.x || part.y
    from (
      select
        unnest(ml._product(a, triangle[:v_half])) as x,
        unnest(ml._product(
          ml._part_of_rows(a, v_half + 1, v_size - v_half),
          ml._part_of_rows(triangle[v_half + 1:], v_half + 1, v_size - v_half)
        )) as y
      offset 0
    ) as part
  );
end;
$$;

comment on function ml._product_by_upper(vector[], vector[]) is $$
Returns A times the transpose of an upper triangular matrix, without multiplying a quarter that is zero.
$$;

create or replace function ml._lower_by_product(triangle vector[], b vector[])
returns vector[]
language plpgsql
immutable
parallel safe
set search_path from current
as $$
declare
  v_size constant int := cardinality(triangle);
  v_half constant int := v_size / 2;
begin
  if v_size <= 96 then
    return ml._product(triangle, b);
  end if;
  return ml._product(ml._part_of_rows(triangle[:v_half], 1, v_half), ml._part_of_rows(b, 1, v_half))
    || ml._product(triangle[v_half + 1:], b);
end;
$$;

comment on function ml._lower_by_product(vector[], vector[]) is $$
Returns a lower triangular matrix times the transpose of B, without multiplying a quarter that is zero.
$$;

create or replace function ml._upper_by_product(triangle vector[], b vector[])
returns vector[]
language plpgsql
immutable
parallel safe
set search_path from current
as $$
declare
  v_size constant int := cardinality(triangle);
  v_half constant int := v_size / 2;
begin
  if v_size <= 96 then
    return ml._product(triangle, b);
  end if;
  return ml._product(triangle[:v_half], b)
    || ml._product(
      ml._part_of_rows(triangle[v_half + 1:], v_half + 1, v_size - v_half),
      ml._part_of_rows(b, v_half + 1, v_size - v_half)
    );
end;
$$;

comment on function ml._upper_by_product(vector[], vector[]) is $$
Returns an upper triangular matrix times the transpose of B, without multiplying a quarter that is zero.
$$;

create or replace function ml._lower_gram(a vector[])
returns vector[]
language plpgsql
immutable
parallel safe
set search_path from current
as $$
declare
  v_size constant int := cardinality(a);
  v_half constant int := v_size / 2;
  v_zero constant vector := array_fill(0, array[greatest(v_size - v_half, 1)])::vector;
begin
  if v_size <= 96 then
    return ml._product(a, a);
  end if;
  return array(
    select part.x || v_zero from (select unnest(ml._lower_gram(a[:v_half])) as x offset 0) as part
  ) || array(
    select part.x || part.y
    from (
      select unnest(ml._product(a[v_half + 1:], a[:v_half])) as x, unnest(ml._lower_gram(a[v_half + 1:])) as y
      offset 0
    ) as part
  );
end;
$$;

comment on function ml._lower_gram(vector[]) is $$
Returns the lower triangle of A times its transpose; entries above the diagonal are undefined.
$$;

create or replace function ml._inverse_factor(
  matrix vector[],
  first_row int,
  needs_factor boolean,
  out factor vector[],
  out transposed vector[]
)
language plpgsql
immutable
parallel safe
set search_path from current
as $$
declare
  v_size constant int := cardinality(matrix);
  v_half constant int := v_size / 2;
  v_upper_zero constant vector := array_fill(0, array[greatest(v_half, 1)])::vector;
  v_lower_zero constant vector := array_fill(0, array[v_size - v_half])::vector;
  v_upper record;
  v_lower record;
  v_link vector[];
  v_scaled vector[];
begin
  if v_size <= 48 then
    select leaf.factor, leaf.transposed into factor, transposed
    from ml._inverse_factor_leaf(matrix, first_row) as leaf;
    return;
  end if;

  /*
   * M = [[A, Cᵀ], [C, D]], K = [[K₁, 0], [E, K₂]] with K₁ of A, K₂ of the Schur complement S = D - W Wᵀ, W = C K₁ᵀ, and
   * E = -K₂ W K₁. S is the difference of D and a matrix that is not larger, so rounding errors do not grow; with
   * C A⁻¹ Cᵀ they would. Only the lower triangles of M and S are read.
   */
  select * into v_upper
  from ml._inverse_factor(ml._part_of_rows(matrix[:v_half], 1, v_half), first_row, true);
  v_link := array(
    select v_upper_zero - subvector(row_.v, 1, v_half)
    from (select unnest(matrix[v_half + 1:]) as v offset 0) as row_
  );
  v_scaled := ml._product_by_lower(v_link, v_upper.factor); -- -W
  select * into v_lower
  from ml._inverse_factor(
    array(
      select subvector(pair.v, v_half + 1, v_size - v_half) - pair.w
      from (select unnest(matrix[v_half + 1:]) as v, unnest(ml._lower_gram(v_scaled)) as w offset 0) as pair
    ),
    first_row + v_half,
    true
  );
  v_scaled := ml._upper_by_product(v_upper.transposed, v_scaled); -- -(W K₁)ᵀ

  if needs_factor then
    factor := array(
      select row_.v || v_lower_zero from (select unnest(v_upper.factor) as v offset 0) as row_
    ) || array(
      select pair.e || pair.k
      from (
        select unnest(ml._lower_by_product(v_lower.factor, v_scaled)) as e, unnest(v_lower.factor) as k
        offset 0
      ) as pair
    );
  end if;
  transposed := array(
    select pair.k || pair.e
    from (
      select unnest(v_upper.transposed) as k, unnest(ml._product_by_lower(v_scaled, v_lower.factor)) as e
      offset 0
    ) as pair
  ) || array(
    select v_upper_zero || row_.v from (select unnest(v_lower.transposed) as v offset 0) as row_
  );
end;
$$;

comment on function ml._inverse_factor(vector[], int, boolean) is $$
Returns the inverse K of the Cholesky factor of a symmetric positive definite matrix, and its transpose.
The diagonal of the matrix M must be ones; only its lower triangle is read. By recursive halves; M⁻¹ = KᵀK.
K itself is null unless `needs_factor`.
$$;

create or replace function ml._triangular_gram(transposed vector[])
returns vector[]
language plpgsql
immutable
parallel safe
set search_path from current
as $$
declare
  v_size constant int := cardinality(transposed);
  v_half constant int := v_size / 2;
  v_link vector[];
  v_lower vector[];
begin
  if v_size <= 96 then
    return ml._product(transposed, transposed);
  end if;
  v_link := ml._part_of_rows(transposed[:v_half], v_half + 1, v_size - v_half);
  v_lower := ml._part_of_rows(transposed[v_half + 1:], v_half + 1, v_size - v_half);
  return array(
    select (part.k + part.e) || part.c
    from (
      select
        unnest(ml._triangular_gram(ml._part_of_rows(transposed[:v_half], 1, v_half))) as k,
        unnest(ml._product(v_link, v_link)) as e,
        unnest(ml._product_by_upper(v_link, v_lower)) as c
      offset 0
    ) as part
  ) || array(
    select part.c || part.k
    from (
      select unnest(ml._upper_by_product(v_lower, v_link)) as c, unnest(ml._triangular_gram(v_lower)) as k
      offset 0
    ) as part
  );
end;
$$;

comment on function ml._triangular_gram(vector[]) is $$
Returns KᵀK of a lower triangular matrix K, given as Kᵀ, without multiplying most of the half that is zero.
$$;

create or replace function ml.inverse(matrix vector[])
returns vector[]
language plpgsql
immutable
parallel safe
set search_path from current
as $$
declare
  v_size constant int := cardinality(matrix);
  v_matrix constant vector[] := matrix || '{}';
  v_diagonal float8[];
  v_scale vector;
  v_probe vector;
  v_by_rows vector;
  v_by_columns vector;
  v_inverse vector[];
  v_error float8;
begin
  if ml._matrix_columns(matrix, 'matrix') <> v_size then
    perform common.refuse('CF001', format('the matrix has %s rows and %s columns', v_size, vector_dims(matrix[1])),
      'Only a square matrix has an inverse.');
  end if;

  v_diagonal := array(
    select (row_.v::real[])[row_.n]
    from unnest(v_matrix) with ordinality as row_ (v, n)
    order by row_.n
  );
  if exists (select from unnest(v_diagonal) as entry where entry <= 0) then
    perform common.refuse(
      'CF007',
      format(
        'the matrix is not positive definite: %s on the diagonal of row %s',
        (select entry::real from unnest(v_diagonal) as entry where entry <= 0 limit 1),
        (select n from unnest(v_diagonal) with ordinality as entry (value, n) where value <= 0 order by n limit 1)
      ),
      'Covariance, Gram and kernel matrices have a positive diagonal; a ridge on it makes them invertible.'
    );
  end if;

  -- Scaled to ones on the diagonal, so that the size of a pivot does not depend on the units of the rows.
  v_scale := array(select 1 / sqrt(entry) from unnest(v_diagonal) as entry)::vector;
  v_inverse := array(
    select row_.v * v_scale * array_fill((v_scale::real[])[row_.n], array[v_size])::vector
    from unnest(v_matrix) with ordinality as row_ (v, n)
    order by row_.n
  );

  -- The algorithm reads one triangle only. M x = Mᵀ x for an irregular vector x shows that the matrix is symmetric.
  v_probe := array(select 0.5 + (n * 0.6180339887498949) % 1 from generate_series(1, v_size) as n)::vector;
  v_by_rows := (ml.transpose(ml._product(v_inverse, array[v_probe])))[1];
  v_by_columns := (
    select sum(row_.v * array_fill((v_probe::real[])[row_.n], array[v_size])::vector)
    from unnest(v_inverse) with ordinality as row_ (v, n)
  );
  if v_by_rows <-> v_by_columns > 1e-4 * vector_norm(v_by_rows) then
    perform common.refuse('CF001', 'the matrix is not symmetric',
      'Only symmetric positive definite matrices, such as AᵀA plus a ridge, are inverted here.');
  end if;

  select ml._triangular_gram(factored.transposed) into v_inverse
  from ml._inverse_factor(v_inverse, 1, false) as factored;

  v_error := l2_distance(
    (ml.transpose(ml._product(v_inverse, array[v_by_rows])))[1], v_probe
  ) / vector_norm(v_probe);
  if v_error > 1e-2 then
    perform common.refuse(
      'CF007',
      format('the matrix is nearly singular in single precision: M⁻¹ M x is off x by %s', v_error::real),
      'Add a positive number to the diagonal (a ridge), or use double precision.'
    );
  end if;

  return array(
    select row_.v * v_scale * array_fill((v_scale::real[])[row_.n], array[v_size])::vector
    from unnest(v_inverse) with ordinality as row_ (v, n)
    order by row_.n
  );
end;
$$;

comment on function ml.inverse(vector[]) is $$
Returns the inverse of a symmetric positive definite matrix, such as AᵀA plus a ridge.
Cholesky's method by recursive halves: blocks of up to 48 rows in double precision, all other products as inner products
in single precision. With a condition number of 50, `A·A⁻¹` differs from the identity by about 1e-6; the error grows in
proportion.
Shapes: n × n, n at most 16,000; time grows with the third power, 1.5 s for n = 1,700, 9 s for n = 3,300.
Errors: CF001 (not square, not symmetric), CF004 (no rows), CF007 (not positive definite, singular or nearly so; names
the row).
Source: Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition, SIAM 2002, chapters 10, 13 and 14.
$$;

grant execute on function
  ml._inverse_factor_leaf(vector[], int),
  ml._part_of_rows(vector[], int, int),
  ml._product_by_lower(vector[], vector[]),
  ml._product_by_upper(vector[], vector[]),
  ml._lower_by_product(vector[], vector[]),
  ml._upper_by_product(vector[], vector[]),
  ml._lower_gram(vector[]),
  ml._inverse_factor(vector[], int, boolean),
  ml._triangular_gram(vector[]),
  ml.inverse(vector[])
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/linear_algebra/inverse.sql

--! Included ml/recommenders/ease_weights.sql
create or replace function ml.ease_weights(inverse vector[])
returns vector[]
language plpgsql
immutable
parallel safe
set search_path from current
as $$
declare
  v_size constant int := cardinality(inverse);
  v_divisor vector;
begin
  if ml._matrix_columns(inverse, 'inverse') <> v_size then
    perform common.refuse('CF001', format('the inverse has %s rows and %s columns', v_size, vector_dims(inverse[1])),
      'It is square: (XᵀX + λI)⁻¹, a row and a column for each item.');
  end if;
  v_divisor := array(
    select -1 / (row_.v::real[])[row_.n]
    from unnest(inverse) with ordinality as row_ (v, n)
    order by row_.n
  )::vector;
  return array(
    select (weights.entries[:weights.n - 1] || 0::real || weights.entries[weights.n + 1:])::vector
    from (
      select (row_.v * v_divisor)::real[] as entries, row_.n::int as n
      from unnest(inverse) with ordinality as row_ (v, n)
    ) as weights
    order by weights.n
  );
end;
$$;

comment on function ml.ease_weights(vector[]) is $$
The weights B of the EASE recommender from P = (XᵀX + λI)⁻¹: B[i,j] = -P[i,j] / P[j,j], and 0 on the diagonal.
The score of item j for a learner is the sum of B[i,j] over the learner's items i, so each of them has its share.
Shapes: n × n gives n × n.
Errors: CF001 (not a square matrix), CF004 (no rows).
Source: Steck, Embarrassingly shallow autoencoders for sparse data, WWW 2019.
$$;

grant execute on function ml.ease_weights(vector[]) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/recommenders/ease_weights.sql

--! Included ml/recommenders/_weight.sql
create or replace function ml._weight(value float8)
returns real
language sql
immutable
strict
parallel safe
return case
  when value = 'NaN' then 'NaN'
  when value > 1e30 then 'Infinity'
  when value < -1e30 then '-Infinity'
  when abs(value) < 1e-15 then 0
  else value
end::real;

comment on function ml._weight(float8) is $$
Returns a weight in single precision, infinite above 1e30, and 0 below 1e-15, whose square it could not hold.
$$;

grant execute on function ml._weight(float8) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/recommenders/_weight.sql

--! Included ml/recommenders/_check_weight.sql
create or replace function ml._check_weight(relation regclass, least_weight real, greatest_weight real)
returns void
language plpgsql
stable
set search_path from current
as $$
begin
  if least_weight < 0 or greatest_weight > 1e15 then -- NaN is the greatest number
    perform common.refuse(
      'CF001',
      format('%s has the weight %s', relation, case when least_weight < 0 then least_weight else greatest_weight end),
      'The weights of a person and an item add up to a finite number from 0 to 1e15; 1 means "was here". '
        'A dislike is not a weight: give it 0.'
    );
  end if;
end;
$$;

comment on function ml._check_weight(regclass, real, real) is $$
Raises CF001 unless the least and the greatest weight of a relation are from 0 to 1e15: squares of them are added.
$$;

grant execute on function ml._check_weight(regclass, real, real)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/recommenders/_check_weight.sql

--! Included ml/recommenders/_sortable.sql
create or replace function ml._sortable(
  relation regclass,
  column_name text
)
returns boolean
language plpgsql
stable
as $$
begin
  execute format('select from %s as source where false group by source.%2$s order by source.%2$s', relation,
    column_name);
  return true;
exception when undefined_function then
  return false;
end;
$$;

comment on function ml._sortable(regclass, text) is $$
Returns whether the type of a column, which is given quoted, has an order; `json` and `point` have none.
$$;

grant execute on function ml._sortable(regclass, text) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/recommenders/_sortable.sql

--! Included ml/recommenders/ease_gram.sql
create or replace function ml._ease_gram(
  relation regclass,
  person_expression text,
  item_expression text,
  weight_expression text,
  person_exponent float8 default 0,
  people_at_once int default null
)
returns ml.ease_sums
language plpgsql
volatile
set search_path from current
set client_min_messages to warning
set extra_float_digits to 1
set jit to off
set max_parallel_workers_per_gather to 0 -- sums in single precision would differ from one run to the next
set plan_cache_mode to force_generic_plan -- as a constant, an array would be read from its beginning for each element
as $$
declare
  v_sums ml.ease_sums;
  v_least real;
  v_greatest real;
  v_item_count int;
  v_person_count int;
  v_chunk int;
  v_first int := 1;
  v_people vector[];
  v_part vector[];
begin
  drop table if exists pg_temp._ml_gram_cell, pg_temp._ml_gram_pair, pg_temp._ml_gram_item;
  execute format(
    $statement$
    create temporary table _ml_gram_pair on commit drop as
    select source.%2$s as person, source.%3$s as item, ml._weight(%4$s) as weight
    from %1$s as source
    where source.%2$s is not null
      and source.%3$s is not null
      %5$s
    group by source.%2$s, source.%3$s
    $statement$,
    relation, person_expression, item_expression,
    coalesce('sum(' || weight_expression || ' order by ' || weight_expression || ')', '1'),
    'and ' || weight_expression || ' is not null'
  );
  create temporary table _ml_gram_item on commit drop as
  select row_number() over (order by item)::int as item_no, item, count(*)::int as person_count,
    min(weight) as least_weight, max(weight) as greatest_weight
  from pg_temp._ml_gram_pair
  group by item;
  select count(*), min(least_weight), max(greatest_weight) into v_item_count, v_least, v_greatest
  from pg_temp._ml_gram_item;
  if v_item_count = 0 then
    perform common.refuse('CF004', format('%s has no row with a person, an item and a weight', relation),
      'There is nothing to learn from yet.');
  end if;
  perform ml._check_weight(relation, v_least, v_greatest);
  if v_item_count > 16000 then
    perform common.refuse('CF008', format('%s items are too many', v_item_count),
      'EASE and EDLAE hold at most 16000. ml.sequence_train and ml.item_knn_train hold any number.');
  end if;

  create temporary table _ml_gram_cell on commit drop as
  select person.person_no, item.item_no, pair.weight, (pair.weight * person.factor)::real as counted
  from pg_temp._ml_gram_pair as pair
  join pg_temp._ml_gram_item as item using (item)
  join (
    -- The mean of the factors of the people is 1, so that a ridge means the same with each exponent.
    select
      numbered.person,
      row_number() over (order by numbered.person)::int as person_no,
      numbered.n ^ -person_exponent / avg(numbered.n ^ -person_exponent) over () as factor
    from (select pair.person, count(*)::float8 as n from pg_temp._ml_gram_pair as pair group by pair.person) as numbered
  ) as person using (person);
  v_person_count := (select max(person_no) from pg_temp._ml_gram_cell);

  /*
   * A row of XᵀX is the sum of the vectors of those who have the item, so it costs as many additions as there are
   * interactions, and any number of people will do: their vectors are held for `people_at_once`, by default for 128 MB
   * of them. Rows of one weight are summed before they are multiplied by it.
   */
  v_chunk := coalesce(people_at_once, greatest(33554432 / v_item_count, 64));
  if v_person_count > v_chunk then
    create index on pg_temp._ml_gram_cell (person_no);
  end if;
  analyze pg_temp._ml_gram_cell;
  while v_first <= v_person_count loop
    v_people := array(
      select format('{%s}/%s', string_agg(cell.item_no || ':' || cell.counted, ','), v_item_count)::sparsevec::vector
      from pg_temp._ml_gram_cell as cell
      where cell.person_no between v_first and v_first + v_chunk - 1
      group by cell.person_no
      order by cell.person_no
    );
    v_part := array(
      select (
        select sum(
          case
            when same.weight = 1 then same.v
            else same.v * array_fill(same.weight, array[v_item_count])::vector
          end
          order by same.weight
        )
        from (
          select entry.weight, sum(v_people[entry.place]) as v
          from unnest(cell.places, cell.weights) as entry (place, weight)
          group by entry.weight
        ) as same
      )
      from pg_temp._ml_gram_item as item
      left join (
        select item_no,
          array_agg(person_no - v_first + 1 order by weight, person_no) as places,
          array_agg(weight order by weight, person_no) as weights
        from pg_temp._ml_gram_cell
        where person_no between v_first and v_first + v_chunk - 1
        group by item_no
      ) as cell using (item_no)
      order by item.item_no
    );
    v_sums.gram := case
      when v_first = 1 then v_part
      else array(
        select case when part.b is null then part.a when part.a is null then part.b else part.a + part.b end
        from (select unnest(v_sums.gram) as a, unnest(v_part) as b offset 0) as part
      )
    end;
    v_first := v_first + v_chunk;
  end loop;

  select array_agg(item::text order by item_no), array_agg(person_count order by item_no)
  into v_sums.items, v_sums.person_counts
  from pg_temp._ml_gram_item;
  drop table pg_temp._ml_gram_cell, pg_temp._ml_gram_pair, pg_temp._ml_gram_item;
  return v_sums;
end;
$$;

comment on function ml._ease_gram(regclass, text, text, text, float8, int) is $$
XᵀX of a table of interactions, and the items that its rows and columns are.
Each person counts with the factor n ^ -`person_exponent`, n the number of items of the person, divided by its mean.
Columns and weight have been read and quoted already; weight null: each pair counts 1.
$$;

create or replace function ml.ease_gram(
  source_table text,
  person_column text default 'person_id',
  item_column text default 'item_id',
  weight_column text default null
)
returns ml.ease_sums
language plpgsql
volatile
as $$
declare
  v_relation constant regclass := common.relation(source_table);
  v_person constant text := common.column_name(v_relation, person_column, 'person column');
  v_item constant text := common.column_name(v_relation, item_column, 'item column');
begin
  return ml._ease_gram(
    v_relation,
    case when ml._sortable(v_relation, v_person) then v_person else v_person || '::text' end,
    case when ml._sortable(v_relation, v_item) then v_item else v_item || '::text' end,
    case when weight_column is not null then common.numeric_expression(weight_column, v_relation, 'weight column') end
  );
end;
$$;

comment on function ml.ease_gram(text, text, text, text) is $$
@behavior -*
The sums that EASE is trained from: XᵀX of a table of interactions, and the items that its rows and columns are.
The part of a training that reads the table. Several ridges are tried on one reading: `ml.ease_inverse(gram, lambda)`,
then `ml.ease_weights`.
Columns and weights are those of `ml.ease_train`.
Errors: CF001 (weights), CF002 (no such table or column), CF004 (no rows), CF005 (not readable), CF008 (too many items).
$$;

grant execute on function ml._ease_gram(regclass, text, text, text, float8, int), ml.ease_gram(text, text, text, text)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/recommenders/ease_gram.sql

--! Included ml/recommenders/_check_ridge.sql
create or replace function ml._check_ridge(lambda float8)
returns void
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if lambda is null or not lambda between 1e-30 and 1e15 then
    perform common.refuse(
      'CF001',
      format('lambda is %s', coalesce(lambda::text, 'null')),
      'It is a positive number: 100 to 1000 where items have hundreds of people each, less where they have fewer.'
    );
  end if;
end;
$$;

comment on function ml._check_ridge(float8) is $$
Raises CF001 unless `lambda` is a positive number that single precision can hold, from 1e-30 to 1e15.
$$;

grant execute on function ml._check_ridge(float8) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/recommenders/_check_ridge.sql

--! Included ml/recommenders/_ease_inverse.sql
create or replace function ml._ease_inverse(
  gram vector[],
  ridges float8[]
)
returns vector[]
language plpgsql
immutable
parallel safe
set search_path from current
as $$
begin
  return ml.inverse(array(
    select row_.v + format('{%s:%s}/%s', row_.n, ridges[row_.n]::numeric, cardinality(gram))::sparsevec::vector
    from unnest(gram) with ordinality as row_ (v, n)
    order by row_.n
  ));
end;
$$;

comment on function ml._ease_inverse(vector[], float8[]) is $$
Returns (XᵀX + diag(ridges))⁻¹, from XᵀX and a positive number for each row.
$$;

grant execute on function ml._ease_inverse(vector[], float8[]) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/recommenders/_ease_inverse.sql

--! Included ml/recommenders/_ease_ridges.sql
create or replace function ml._ease_ridges(
  sums ml.ease_sums,
  lambda float8,
  exponent float8 default 0,
  dropout float8 default 0
)
returns float8[]
language plpgsql
immutable
parallel safe
set search_path from current
as $$
begin
  if dropout is null or not dropout between 0 and 0.99 then
    perform common.refuse('CF001', format('dropout is %s', coalesce(dropout::text, 'null')),
      'It is the probability that an item of a person is left out in training: from 0 (EASE) to 0.99.');
  end if;
  if exponent is null or not exponent between 0 and 2 then
    perform common.refuse('CF001', format('exponent is %s', coalesce(exponent::text, 'null')),
      'Give a number from 0 (the same ridge for all items) to 2.');
  end if;
  if dropout > 0 and lambda = 0 then
    null; -- the dropout is a ridge already
  else
    perform ml._check_ridge(lambda);
  end if;
  if lambda * (select max(person_count) from unnest(sums.person_counts) as person_count) ^ exponent > 1e15 then
    perform common.refuse('CF001', format('lambda is %s, with the exponent %s', lambda, exponent),
      'The ridge of an item, lambda times its number of people to the power of the exponent, is at most 1e15.');
  end if;
  return array(
    select lambda * item.person_count::float8 ^ exponent + dropout / (1 - dropout) * (item.v::real[])[item.n]
    from unnest(sums.gram, sums.person_counts) with ordinality as item (v, person_count, n)
    order by item.n
  );
end;
$$;

comment on function ml._ease_ridges(ml.ease_sums, float8, float8, float8) is $$
Returns the ridge of each item.
It is `lambda` times the number of people of the item to the power of `exponent`, plus, for a
`dropout` of p, p / (1 - p) times the diagonal of XᵀX.
Errors: CF001 (lambda, exponent, dropout).
$$;

grant execute on function ml._ease_ridges(ml.ease_sums, float8, float8, float8)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/recommenders/_ease_ridges.sql

--! Included ml/recommenders/ease_inverse.sql
create or replace function ml.ease_inverse(
  gram vector[],
  lambda float8
)
returns vector[]
language plpgsql
immutable
parallel safe
set search_path from current
as $$
begin
  perform ml._check_ridge(lambda);
  if ml._matrix_columns(gram, 'gram') <> cardinality(gram) then
    perform common.refuse(
      'CF001',
      format('gram has %s rows and %s columns', cardinality(gram), vector_dims(gram[1])),
      'It is square: XᵀX, a row and a column for each item.'
    );
  end if;
  return ml._ease_inverse(gram, array_fill(lambda, array[cardinality(gram)]));
end;
$$;

comment on function ml.ease_inverse(vector[], float8) is $$
P = (XᵀX + λI)⁻¹ of the EASE recommender from XᵀX, such as `ml.ease_gram` returns. `ml.ease_weights` gives the weights.
Shapes: n × n gives n × n. Errors: CF001 (lambda, not a square matrix), CF004 (no rows).
Source: Steck, Embarrassingly shallow autoencoders for sparse data, WWW 2019.
$$;

grant execute on function ml.ease_inverse(vector[], float8) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/recommenders/ease_inverse.sql

--! Included ml/recommenders/ease_train.sql
create or replace function ml._ease_rows(
  items text[],
  inverse vector[]
)
returns setof ml.ease_row
language sql
immutable
parallel safe
begin atomic
  select entry.n::int, entry.item, entry.weights, entry.inverse
  from rows from (
    unnest(_ease_rows.items), unnest(ml.ease_weights(_ease_rows.inverse)), unnest(_ease_rows.inverse)
  ) with ordinality as entry (item, weights, inverse, n);
end;

comment on function ml._ease_rows(text[], vector[]) is $$
The rows of an EASE model from its items and its inverse.
$$;

create or replace function ml.ease_train(
  source_table text,
  person_column text default 'person_id',
  item_column text default 'item_id',
  weight_column text default null,
  lambda float8 default 500,
  exponent float8 default 0
)
returns setof ml.ease_row
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_sums ml.ease_sums;
begin
  perform ml._check_ridge(lambda);
  v_sums := ml.ease_gram(source_table, person_column, item_column, weight_column);
  return query
  select *
  from ml._ease_rows(
    v_sums.items, ml._ease_inverse(v_sums.gram, ml._ease_ridges(v_sums, lambda, exponent))
  );
end;
$$;

comment on function ml.ease_train(text, text, text, text, float8, float8) is $$
Trains the EASE recommender on a table of interactions and returns a row for each item, in the order of `item_column`:
`item_no`, `item`, `weights` and `inverse`.
`weights` is a row of B = I - P·diag(P)⁻¹, P = (XᵀX + λI)⁻¹; `inverse` the row of P, which `ml.rank_one_update` keeps
current.
A learner's scores for all items are the sum of the `weights` of the learner's items (times the weight of each, where
there are weights).
`weight_column` is a column or an expression over the columns; without one each pair of person and item counts 1,
however often it comes; with one the weights of a pair are added.
`lambda` is the ridge that keeps weights small; the more people per item, the larger it should be. With an `exponent`
the ridge of an item of d people is lambda · d ^ exponent, so that it grows with the people of the item.
At most 16,000 items; 2 to 3 s for 1,700 items and 100,000 interactions. `ml.edlae_train` without dropout returns the
same weights as neighbour lists, which need less room.
Errors: CF001 (lambda, exponent, weights that are negative or not finite), CF002 (no such table or column), CF004 (no
rows), CF005 (not readable), CF008 (too many items).
Source: Steck, Embarrassingly shallow autoencoders for sparse data, WWW 2019.
$$;

grant execute on function
  ml._ease_rows(text[], vector[]),
  ml.ease_train(text, text, text, text, float8, float8)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/recommenders/ease_train.sql

--! Included ml/recommenders/_check_coded.sql
create or replace function ml._check_coded(
  relation regclass,
  columns text[] default array['person_no', 'item_no', 'weight', 'position']
)
returns void
language plpgsql
stable
set search_path from current
as $$
declare
  v_column text;
begin
  if relation is null then
    perform common.refuse('CF001', 'the relation is null',
      format('Name a table with the columns %s.', array_to_string(columns, ', ')));
  end if;
  foreach v_column in array columns loop
    perform common.column_name(relation, v_column, 'coded rows');
  end loop;
end;
$$;

comment on function ml._check_coded(regclass, text[]) is $$
Raises an error unless the relation has the columns of coded interactions.
Errors: CF001 (null), CF002 (a column is absent).
$$;

grant execute on function ml._check_coded(regclass, text[]) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/recommenders/_check_coded.sql

--! Included ml/recommenders/_pruned.sql
create or replace function ml._pruned(
  entries text,
  column_limit int,
  row_limit int
)
returns text
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  perform common.check_count('column_limit', column_limit, 1, 1000);
  perform common.check_count('row_limit', row_limit, 1, 100000);
  return format(
    $statement$
    with entry as (%1$s),

    strongest_of_column as (
      select ranked.source_no, ranked.target_no, ranked.weight
      from (
        select *, row_number() over (partition by target_no order by abs(weight) desc, source_no) as place
        from entry
        where weight <> 0
      ) as ranked
      where ranked.place <= %2$s
    ),

    strongest_of_row as (
      select ranked.source_no, ranked.target_no, ranked.weight
      from (
        select *, row_number() over (partition by source_no order by abs(weight) desc, target_no) as place
        from strongest_of_column
      ) as ranked
      where ranked.place <= %3$s
    )

    select
      source_no,
      array_agg(target_no order by target_no),
      array_agg(weight order by target_no)
    from strongest_of_row
    group by source_no
    order by source_no
    $statement$,
    entries, column_limit, row_limit
  );
end;
$$;

comment on function ml._pruned(text, int, int) is $$
Returns the statement that makes neighbour lists (`ml.neighbour_row`) of the entries of a sparse matrix of weights.
`entries` is a statement with the columns `source_no`, `target_no` (int) and `weight` (real).
Of each column the `column_limit` entries of greatest absolute value are kept, then of each row the `row_limit`
greatest; of equal ones those of the items with lower numbers.
$$;

grant execute on function ml._pruned(text, int, int) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/recommenders/_pruned.sql

--! Included ml/recommenders/ease_coded_sums.sql
create or replace function ml.ease_coded_sums(
  relation regclass,
  person_exponent float8 default 0
)
returns ml.ease_sums
language plpgsql
stable
set search_path from current
as $$
begin
  perform ml._check_coded(relation, array['person_no', 'item_no', 'weight']);
  if person_exponent is null or not person_exponent between 0 and 2 then
    perform common.refuse('CF001', format('person_exponent is %s', coalesce(person_exponent::text, 'null')),
      'Give a number from 0 (each row counts the same) to 2.');
  end if;
  return ml._ease_gram(relation, 'person_no', 'item_no', 'weight', person_exponent);
end;
$$;

comment on function ml.ease_coded_sums(regclass, float8) is $$
@behavior -*
The sums that EASE and EDLAE are trained from, of coded interactions as for `ml.ease_neighbours`.
Several ridges are tried on one reading, by `ml.edlae_weights`. A person with n items counts with the factor
n ^ -`person_exponent`, divided by its mean over the people.
Errors: CF001 (person_exponent, weights), CF002 (a column is absent), CF004 (no rows), CF008 (too many items).
$$;

grant execute on function ml.ease_coded_sums(regclass, float8) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/recommenders/ease_coded_sums.sql

--! Included ml/recommenders/ease_neighbours.sql
create or replace function ml._dense_neighbours(
  items int[],
  inverse vector[],
  column_limit int default 500,
  row_limit int default 1000
)
returns setof ml.neighbour_row
language plpgsql
stable
set search_path from current
set jit to off
as $$
begin
  perform common.check_count('column_limit', column_limit, 1, 1000);
  -- P is symmetric, so that column j of B is row j of P divided by -P[j,j]: the strongest entries are found by row.
  return query execute ml._pruned(
    format(
      $statement$
      select ($2::int[])[strongest.n] as source_no, ($2::int[])[target.n] as target_no,
        -strongest.entry / target.diagonal as weight
      from (
        select row_.v::real[] as entries, (row_.v::real[])[row_.n] as diagonal, row_.n::int as n
        from unnest($1) with ordinality as row_ (v, n)
        offset 0
      ) as target
      cross join lateral (
        select element.entry, element.n
        from (
          select unnest(target.entries) as entry, generate_series(1, cardinality(target.entries)) as n
          offset 0
        ) as element
        where element.n <> target.n
        order by abs(element.entry) desc, element.n
        limit %s
      ) as strongest
      $statement$,
      column_limit
    ),
    column_limit, row_limit
  )
  using inverse, items;
end;
$$;

comment on function ml._dense_neighbours(int[], vector[], int, int) is $$
Neighbour lists of the weights B = I - P·diag(P)⁻¹ from P, such as `ml.ease_inverse` returns.
`items` are the numbers of the items of the rows, in ascending order.
$$;

create or replace function ml.ease_neighbours(
  relation regclass,
  lambda float8,
  exponent float8 default 0,
  dropout float8 default 0,
  column_limit int default 500,
  row_limit int default 1000,
  person_exponent float8 default 0
)
returns setof ml.neighbour_row
language plpgsql
volatile
set search_path from current
as $$
declare
  v_sums ml.ease_sums;
begin
  v_sums := ml.ease_coded_sums(relation, person_exponent);
  return query
  select *
  from ml._dense_neighbours(
    v_sums.items::int[],
    ml._ease_inverse(v_sums.gram, ml._ease_ridges(v_sums, lambda, exponent, dropout)),
    column_limit,
    row_limit
  );
end;
$$;

comment on function ml.ease_neighbours(regclass, float8, float8, float8, int, int, float8) is $$
@behavior -*
Returns the neighbour lists of EASE, or with a `dropout` of EDLAE.
`relation` is as for `ml.sequence_neighbours`; positions are not used. At most 16,000 items.
People count with a factor that falls with their number of items n, n ^ -`person_exponent`.
The ridge of an item of d people is `lambda` · d ^ `exponent`, plus p / (1 - p) times its diagonal of XᵀX for a
`dropout` of p.
Of each item as target the `column_limit` strongest weights are kept, as source the `row_limit` strongest.
Errors: CF001 (parameters), CF004 (no rows), CF008 (too many items).
$$;

grant execute on function
  ml._dense_neighbours(int[], vector[], int, int),
  ml.ease_neighbours(regclass, float8, float8, float8, int, int, float8)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/recommenders/ease_neighbours.sql

--! Included ml/recommenders/edlae_weights.sql
create or replace function ml.edlae_weights(
  sums ml.ease_sums,
  lambda float8,
  exponent float8 default 0,
  dropout float8 default 0
)
returns vector[]
language plpgsql
immutable
parallel safe
set search_path from current
as $$
begin
  return ml.ease_weights(ml._ease_inverse(sums.gram, ml._ease_ridges(sums, lambda, exponent, dropout)));
end;
$$;

comment on function ml.edlae_weights(ml.ease_sums, float8, float8, float8) is $$
@behavior -*
Returns the weights of EASE, or with a `dropout` of EDLAE, from the sums of `ml.ease_coded_sums`.
Row i holds the weights from item i to all items, in the order of `items` of the sums. The parameters are those of
`ml.ease_neighbours`, whose lists are the strongest of these weights.
Errors: CF001 (lambda, exponent, dropout).
$$;

grant execute on function ml.edlae_weights(ml.ease_sums, float8, float8, float8)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/recommenders/edlae_weights.sql

--! Included ml/recommenders/_weight_unit.sql
create or replace function ml._weight_unit(relation regclass)
returns float8
language plpgsql
stable
set search_path from current
as $$
declare
  v_greatest float8;
begin
  execute format('select max(weight) from %s', relation) into v_greatest;
  return case when v_greatest > 0 then 2::float8 ^ (2 * ceil(log(2, v_greatest::numeric)) - 60) else 1 end;
end;
$$;

comment on function ml._weight_unit(regclass) is $$
Returns the unit in which products of two weights of coded interactions are added as whole numbers.
Such a sum does not depend on the order of the rows, as a sum of floating-point numbers would. The unit is the greatest
product divided by 2^60 or a little less, so that the rounding is that of double precision.
$$;

grant execute on function ml._weight_unit(regclass) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/recommenders/_weight_unit.sql

--! Included ml/recommenders/item_knn_neighbours.sql
create or replace function ml.item_knn_neighbours(
  relation regclass,
  similarity text default 'cosine',
  shrinkage float8 default 0,
  max_items int default 500,
  column_limit int default 200,
  row_limit int default 1000
)
returns setof ml.neighbour_row
language plpgsql
stable
set search_path from current
set work_mem to '64MB'
set enable_mergejoin to off
set jit to off
as $$
declare
  v_unit float8;
begin
  perform ml._check_coded(relation);
  v_unit := ml._weight_unit(relation);
  perform common.check_count('max_items', max_items, 2, 10000);
  if similarity is distinct from 'cosine' and similarity is distinct from 'jaccard' then
    perform common.refuse('CF001', format('similarity is %s', coalesce(left(similarity, 100), 'null')),
      'It is cosine or jaccard.');
  end if;
  if shrinkage is null or not (shrinkage >= 0 and shrinkage < 'infinity') then
    perform common.refuse('CF001', format('shrinkage is %s', coalesce(shrinkage::text, 'null')),
      'Give a number from 0 (none); 10 to 100 lowers the similarity of items with few people.');
  end if;
  return query execute ml._pruned(
    format(
      $statement$
      with used as materialized (
        select person_no, item_no, %2$s as weight
        from (
          select person_no, item_no, weight,
            row_number() over (partition by person_no order by position desc nulls last, item_no) as place
          from %1$s
          where weight > 0
        ) as ranked
        where place <= $3
      ),

      item as materialized (
        select item_no, sum((weight * weight / $1)::bigint)::float8 * $1 as total
        from used
        group by item_no
      ),

      pair as materialized (
        select pair.lower_no, pair.upper_no,
          (pair.total / (%3$s + $2))::real as weight
        from (
          select lower.item_no as lower_no, upper.item_no as upper_no,
            sum((lower.weight * upper.weight / $1)::bigint)::float8 * $1 as total
          from used as lower
          join used as upper
            on upper.person_no = lower.person_no
            and upper.item_no > lower.item_no
          group by lower.item_no, upper.item_no
        ) as pair
        join item as lower on lower.item_no = pair.lower_no
        join item as upper on upper.item_no = pair.upper_no
      )

      select lower_no as source_no, upper_no as target_no, weight
      from pair
      union all
      select upper_no, lower_no, weight
      from pair
      $statement$,
      relation,
      case similarity when 'jaccard' then '1::float8' else 'weight::float8' end,
      case similarity
        when 'jaccard' then 'lower.total + upper.total - pair.total'
        else 'sqrt(lower.total) * sqrt(upper.total)'
      end
    ),
    column_limit, row_limit
  )
  using case similarity when 'jaccard' then 1 else v_unit end, shrinkage, max_items;
end;
$$;

comment on function ml.item_knn_neighbours(regclass, text, float8, int, int, int) is $$
@behavior -*
Returns the neighbour lists of similarities between items.
`relation` is as for `ml.sequence_neighbours`.
`cosine` is the sum of the products of the weights of the people who have both items, divided by the product of the
norms of the two items plus `shrinkage`; `jaccard` the number of people with both divided by the number with one of them
plus `shrinkage`, without weights.
Of each person the last `max_items` items by position count, so that the work is at most rows × `max_items` pairs.
Memory is bounded (`work_mem` of 64 MB).
Errors: CF001 (parameters).
$$;

grant execute on function ml.item_knn_neighbours(regclass, text, float8, int, int, int)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/recommenders/item_knn_neighbours.sql

--! Included ml/recommenders/sequence_neighbours.sql
create or replace function ml.sequence_neighbours(
  relation regclass,
  decay_form text default 'geometric',
  decay float8 default 0.7,
  out_exponent float8 default 1,
  in_exponent float8 default 0.5,
  max_distance int default 50,
  column_limit int default 200,
  row_limit int default 1000,
  time_column text default null,
  half_life interval default null,
  saturation float8 default 0
)
returns setof ml.neighbour_row
language plpgsql
stable
set search_path from current
set work_mem to '64MB'
set enable_mergejoin to off
set jit to off
as $$
declare
  v_unit float8;
  v_decays float8[];
  v_seconds constant float8 := extract(epoch from half_life);
  v_time text;
begin
  perform ml._check_coded(relation);
  v_unit := ml._weight_unit(relation);
  if (half_life is null) <> (time_column is null) or not (v_seconds > 0 and v_seconds < 'infinity') then
    perform common.refuse(
      'CF001',
      format('the half-life is %s of the time column %s', coalesce(half_life::text, 'null'),
        coalesce(left(time_column, 100), 'null')),
      'Give both, the half-life a positive interval, or neither.'
    );
  end if;
  if time_column is not null then
    v_time := common.column_name(relation, time_column, 'time column');
  end if;
  perform common.check_count('max_distance', max_distance, 1, 1000);
  if decay_form is distinct from 'geometric' and decay_form is distinct from 'reciprocal' then
    perform common.refuse('CF001', format('decay_form is %s', coalesce(left(decay_form, 100), 'null')),
      'It is geometric (decay ^ (distance - 1)) or reciprocal (distance ^ -decay).');
  end if;
  if decay is null or not (decay >= 0 and decay < 'infinity') or (decay_form = 'geometric' and not decay <= 1) then
    perform common.refuse('CF001', format('decay is %s', coalesce(decay::text, 'null')),
      'Give a number from 0 to 1 for geometric decay, or from 0 up for reciprocal decay.');
  end if;
  if out_exponent is null or not out_exponent between 0 and 10
    or in_exponent is null or not in_exponent between 0 and 10 then
    perform common.refuse(
      'CF001',
      format(
        'the exponents are %s and %s', coalesce(out_exponent::text, 'null'), coalesce(in_exponent::text, 'null')
      ),
      'Give numbers from 0 (not normalised) to 10.'
    );
  end if;
  if saturation is null or not saturation between 0 and 1e9 then
    perform common.refuse('CF001', format('saturation is %s', coalesce(saturation::text, 'null')),
      'Give a number from 0 (none) to 1e9; 100 to 1000 raises what follows rarely.');
  end if;
  v_decays := array(
    select
      case
        -- 0 ^ 0 is 1: a decay of 0 keeps neighbouring rows only. A smaller factor would be rounded to 0 below.
        when decay_form = 'geometric' then
          case when distance = 1 then 1 when decay = 0 or (distance - 1) * ln(decay) < -40 then 0
            else decay ^ (distance - 1) end
        when decay * ln(distance) > 40 then 0
        else distance ^ -decay
      end
    from generate_series(1, max_distance) as distance
    order by distance
  );
  return query execute ml._pruned(
    format(
      $statement$
      with pair as materialized (
        select earlier.item_no as source_no, later.item_no as target_no,
          sum((
            earlier.weight::float8 * later.weight / $4 * ($3::float8[])[place - earlier.position] %3$s
          )::bigint) as total
        from (
          select person_no, item_no, weight, position, %2$s as used_at,
            max(position) over (partition by person_no) as last_position
          from %1$s
          where weight > 0 and position is not null
          order by item_no -- the sums of one item at a time are in the cache of the processor
          offset 0
        ) as earlier
        -- one row per place up to the last one of the person, so that a row costs at most max_distance
        cross join lateral generate_series(
          earlier.position + 1, least(earlier.position + $5, earlier.last_position)
        ) as place
        join %1$s as later
          on later.person_no = earlier.person_no
          and later.position = place
          and later.item_no <> earlier.item_no
          and later.weight > 0
        group by earlier.item_no, later.item_no
      )

      select pair.source_no, pair.target_no,
        (
          case when $7 = 0 then pair.total::float8 * $4 / (source.total::float8 * $4) ^ $1
            else ln(1 + $7 * (pair.total::float8 * $4 / (source.total::float8 * $4) ^ $1)) end
          / (target.total::float8 * $4) ^ $2
        )::real as weight
      from pair
      join (select source_no, sum(total) as total from pair group by source_no) as source using (source_no)
      join (select target_no, sum(total) as total from pair group by target_no) as target using (target_no)
      where pair.total > 0
      $statement$,
      relation,
      coalesce(v_time, 'null'),
      -- A smaller factor than 0.5 ^ 60 is rounded to 0, and would be an error of underflow at 0.5 ^ 1075.
      '* 0.5::float8 ^ least(extract(epoch from later.' || v_time || ' - earlier.used_at)::float8 / $6, 100)'
    ),
    column_limit, row_limit
  )
  using out_exponent, in_exponent, v_decays, v_unit, max_distance, v_seconds, saturation;
end;
$$;

comment on function ml.sequence_neighbours(
  regclass, text, float8, float8, float8, int, int, int, text, interval, float8
) is $$
@behavior -*
Returns the neighbour lists of the sequence model.
`relation` has the columns `person_no`, `item_no`, `weight` and `position` (1 is the first of a person, null unknown).
Items and people are numbered, the items from 1; rows with a weight of 0 or less do not count.
C[i,j] is the sum, over the pairs of rows of a person with i before j at a distance of up to `max_distance` places, of
the product of their weights times the decay: geometric, `decay` ^ (distance - 1), or reciprocal, distance ^ -`decay`.
The weight W[i,j] is C[i,j] / (out[i] ^ `out_exponent` · in[j] ^ `in_exponent`) with out[i] the sum of row i of C and
in[j] the sum of column j: exponents 1 and 0 give the transition probabilities of a Markov chain.
With a `saturation` s, ln(1 + s · C[i,j] / out[i] ^ `out_exponent`) takes the place of the first quotient.
With a `half_life` each pair is multiplied by 0.5 ^ (time between the two rows / half_life), from the times in
`time_column`.
Rows without a position, or with the same position as another of the person, are not before or after each other.
Work is at most rows × `max_distance` pairs; memory is bounded (`work_mem` of 64 MB).
Errors: CF001 (parameters).
$$;

grant execute on function
  ml.sequence_neighbours(regclass, text, float8, float8, float8, int, int, int, text, interval, float8)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/recommenders/sequence_neighbours.sql

--! Included ml/recommenders/_code_interactions.sql
create or replace function ml._code_interactions(
  source_table text,
  person_column text,
  item_column text,
  order_column text,
  weight_column text,
  is_grouped boolean
)
returns void
language plpgsql
volatile
set client_min_messages to warning
as $$
declare
  v_relation constant regclass := common.relation(source_table);
  v_person text := common.column_name(v_relation, person_column, 'person column');
  v_item text := common.column_name(v_relation, item_column, 'item column');
  v_place text := 'null';
  v_time text := 'null';
  v_weight constant text := case
    when weight_column is not null then common.numeric_expression(weight_column, v_relation, 'weight column')
  end;
  v_least real;
  v_greatest real;
begin
  v_person := format(
    case when ml._sortable(v_relation, v_person) then 'source.%s' else 'source.%s::text' end, v_person
  );
  v_item := format(
    case when ml._sortable(v_relation, v_item) then 'source.%s' else 'source.%s::text' end, v_item
  );
  if order_column is not null then
    v_place := common.column_name(v_relation, order_column, 'order column');
    if not ml._sortable(v_relation, v_place) then
      perform common.refuse('CF001', format('the values of the order column "%s" have no order', left(v_place, 100)),
        'Name a column with numbers or times.');
    end if;
    if common.expression_type(v_place, v_relation, 'order column')
      in ('date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype)
    then
      v_time := 'source.' || v_place;
    end if;
    v_place := 'source.' || v_place;
  end if;

  drop table if exists pg_temp._ml_interaction, pg_temp._ml_item, pg_temp._ml_use;
  execute format(
    $statement$
    create temporary table _ml_use on commit drop as
    select %1$s as person, %2$s as item, ml._weight(%3$s) as weight, %4$s as place, %5$s::timestamptz as used_at
    from %6$s as source
    where %1$s is not null
      and %2$s is not null
      %7$s
      %8$s
    $statement$,
    v_person,
    v_item,
    case
      when is_grouped and v_weight is not null then format('sum(%1$s order by %1$s)', v_weight)
      else coalesce(v_weight, '1')
    end,
    case
      when is_grouped and v_place <> 'null' then format('(array_agg(%1$s order by %1$s desc nulls last))[1]', v_place)
      else v_place
    end,
    case when is_grouped and v_time <> 'null' then format('max(%s)', v_time) else v_time end,
    v_relation,
    'and ' || v_weight || ' is not null',
    case when is_grouped then format('group by %s, %s', v_person, v_item) end
  );
  select min(weight), max(weight) into v_least, v_greatest
  from pg_temp._ml_use;
  if v_least is null then
    perform common.refuse('CF004', format('%s has no row with a person, an item and a weight', v_relation),
      'There is nothing to learn from yet.');
  end if;
  perform ml._check_weight(v_relation, v_least, v_greatest);

  create temporary table _ml_item on commit drop as
  select row_number() over (order by used.item)::int as item_no, used.item, used.item::text as name
  from (select distinct item from pg_temp._ml_use) as used;
  create temporary table _ml_interaction on commit drop as
  select
    dense_rank() over (order by used.person)::int as person_no,
    item.item_no,
    used.weight,
    case
      when used.place is not null then dense_rank() over (partition by used.person order by used.place nulls last)
    end::int as position,
    used.used_at
  from pg_temp._ml_use as used
  join pg_temp._ml_item as item using (item);
  drop table pg_temp._ml_use;
  analyze pg_temp._ml_interaction, pg_temp._ml_item;
end;
$$;

comment on function ml._code_interactions(text, text, text, text, text, boolean) is $$
Creates the temporary tables `_ml_item` (item_no, name) and `_ml_interaction`, the coded interactions of a table.
Items and people are numbered by their own order, or as text where their type has none. Places count the distinct
values of `order_column` of a person. With `is_grouped` a person and an item are one row, with the sum of the weights
and the last place. `used_at` is the value of `order_column` where it is a time.
Errors: CF001 (weights, order column), CF002 (no such table or column), CF004 (no rows), CF005 (not readable).
$$;

grant execute on function ml._code_interactions(text, text, text, text, text, boolean)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/recommenders/_code_interactions.sql

--! Included ml/recommenders/_check_dimensions.sql
create or replace function ml._check_dimensions(dimensions int)
returns void
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if dimensions is null or dimensions not between 16 and 16000 then
    perform common.refuse('CF001', format('dimensions is %s', coalesce(dimensions::text, 'null')),
      'Give a number from 16 to 16000; 256 to 1024 are enough for thousands of texts.');
  end if;
end;
$$;

comment on function ml._check_dimensions(int) is $$
Raises CF001 unless the number of dimensions of hashed vectors is from 16 to 16,000.
$$;

grant execute on function ml._check_dimensions(int) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/recommenders/_check_dimensions.sql

--! Included ml/recommenders/_text_terms.sql
create or replace function ml._text_terms(document text)
returns table (term text, occurrences int)
language sql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
begin atomic
  /*
   * The terms do not depend on the locale of the database: characters are decomposed (NFKD), lose the diacritics of
   * Latin, Greek and Cyrillic, of Arabic and Hebrew, and are lowered by a table. So İ, I, ı and i are one letter.
   * A collation "C" compares code points. Han, kana and the scripts of South-East Asia are written without blanks:
   * of these, each two characters that follow one another are a term.
   */
  select left(term.term, 64), count(*)::int
  from (
    select normalize(
      lower(
        translate(
          regexp_replace(
            normalize(left(_text_terms.document, 20000), nfkd) collate "C",
            '[\u0300-\u036f\u0591-\u05bd\u05bf-\u05c7\u0640\u064b-\u065f\u0670\u200b-\u200d\ufe00-\ufe0f]',
            '',
            'g'
          ),
          'ıØøŁłĐđĦħÐðÞÆŒŊẞ'
            'ΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩς'
            'АБВГДЕЖЗИКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯІЄЂЃЅЈЉЊЋЏҐӘӨҮҢҒҚҰҺ',
          'ioollddhhððþæœŋß'
            'αβγδεζηθικλμνξοπρστυφχψωσ'
            'абвгдежзиклмнопрстуфхцчшщъыьэюяієђѓѕјљњћџґәөүңғқұһ'
        ) collate "C"
      ),
      nfkc
    ) collate "C" as document
  ) as folded
  cross join lateral regexp_matches(
    folded.document,
    '([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u9fff'
      '\uf900-\ufaff\U00020000-\U0003ffff]+)'
      '|([^\u0001-\u002f\u003a-\u0040\u005b-\u0060\u007b-\u00bf\u00d7\u00f7\u02b9-\u02df\u055a-\u055f\u0589\u058a'
      '\u05be\u05f3\u05f4\u060c\u061b\u061f\u066a-\u066d\u06d4\u0964\u0965\u0e00-\u0eff\u1000-\u109f\u1361-\u1368'
      '\u1780-\u17ff\u2000-\u2bff\u2e00-\u2e7f\u3000-\u30ff\u31f0-\u31ff\u3400-\u9fff\ue000-\ufaff\ufe10-\ufe6b'
      '\uff00-\uff0f\uff1a-\uff20\ufff0-\uffff\U0001f000-\U0003ffff\U000e0000-\U0010ffff]+)',
    'g'
  ) as part
  cross join lateral (
    select part[2] as term
    where part[2] is not null
    union all
    select coalesce(
      letter.character || lead(letter.character) over (order by letter.place),
      case when letter.place = 1 then letter.character end
    )
    from unnest(string_to_array(part[1], null)) with ordinality as letter (character, place)
  ) as term
  where term.term is not null
  group by left(term.term, 64);
end;

comment on function ml._text_terms(text) is $$
Returns the terms of a text and how often each occurs: words without case and diacritics.
Of scripts without blanks the terms are pairs of characters. The first 20,000 characters of the text are read, and the
first 64 of a word.
$$;

grant execute on function ml._text_terms(text) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/recommenders/_text_terms.sql

--! Included ml/recommenders/_term_place.sql
create or replace function ml._term_place(term text, dimensions int)
returns int
language plpgsql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_digest constant bytea := sha256(convert_to(term, 'UTF8'));
begin
  return case when get_byte(v_digest, 4) < 128 then 1 else -1 end
    * (('x' || encode(substr(v_digest, 1, 4), 'hex'))::bit(32)::bigint % dimensions + 1);
end;
$$;

comment on function ml._term_place(text, int) is $$
Returns the place of a term in a hashed vector, from 1, negative when the term is subtracted there.
It is the first four bytes of the SHA-256 of the term, modulo the dimensions; the sign is that of the fifth byte.
$$;

grant execute on function ml._term_place(text, int) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/recommenders/_term_place.sql

--! Included ml/recommenders/text_vector.sql
create or replace function ml.text_vector(
  document text,
  dimensions int default 512
)
returns vector
language plpgsql
immutable
parallel safe
set search_path from current
set extra_float_digits to 1
as $$
begin
  perform ml._check_dimensions(dimensions);
  return (
    select l2_normalize(
      format('{%s}/%s', string_agg(entry.place || ':' || entry.value::real, ','), dimensions)::sparsevec::vector
    )
    from (
      select
        abs(hashed.place) as place,
        sum(sign(hashed.place) * (1 + ln(hashed.occurrences)) order by hashed.term) as value
      from (
        select terms.term, terms.occurrences, ml._term_place(terms.term, dimensions) as place
        from ml._text_terms(document) as terms
      ) as hashed
      group by abs(hashed.place)
    ) as entry
    where entry.value <> 0
    having count(*) > 0
  );
end;
$$;

comment on function ml.text_vector(text, int) is $$
Returns a vector of length 1 for a text in any language; null when it has no word.
Each term is added or subtracted at a place that its SHA-256 decides, as 1 + ln(occurrences). The cosine of two vectors
is about the cosine of the counts of their terms; with more dimensions it is closer. `ml.content_vectors` also weighs
terms by their rarity among many texts.
Words are compared without case and diacritics. Of Chinese, Japanese, Thai, Lao, Burmese and Khmer, which have no blanks
between words, each two characters that follow one another are a term. The result is the same in every database with
the encoding UTF8. The first 20,000 characters of the text are read.
`dimensions` is from 16 to 16,000. Error: CF001 (dimensions).
Source: Weinberger et al., Feature hashing for large scale multitask learning, ICML 2009.
$$;

grant execute on function ml.text_vector(text, int) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/recommenders/text_vector.sql

--! Included ml/recommenders/_code_documents.sql
create or replace function ml._code_documents(
  source_table text,
  item_column text,
  document_expression text,
  what text
)
returns void
language plpgsql
volatile
set client_min_messages to warning
as $$
declare
  v_relation constant regclass := common.relation(source_table);
  v_item text := common.column_name(v_relation, item_column, 'item column');
begin
  perform common.expression_type(document_expression, v_relation, what);
  v_item := format(case when ml._sortable(v_relation, v_item) then 'source.%s' else 'source.%s::text' end, v_item);
  drop table if exists pg_temp._ml_item, pg_temp._ml_document, pg_temp._ml_vector;
  execute format(
    $statement$
    create temporary table _ml_document on commit drop as
    select dense_rank() over (order by %1$s)::int as item_no, %1$s::text as name, %2$s as document
    from %3$s as source
    where %1$s is not null
    $statement$,
    v_item, document_expression, v_relation
  );
  create temporary table _ml_item on commit drop as
  select distinct item_no, name
  from pg_temp._ml_document;
  analyze pg_temp._ml_item;
  if not exists (select from pg_temp._ml_item) then
    perform common.refuse('CF004', format('%s has no row with an item', v_relation),
      'There is nothing to learn from yet.');
  end if;
end;
$$;

comment on function ml._code_documents(text, text, text, text) is $$
Creates the temporary tables `_ml_item` (item_no, name) and `_ml_document` (item_no, document) of a table.
Items are numbered by their own order, or as text where their type has none; `document` is the value of an expression,
which `what` names in messages.
Errors: CF001 (the expression), CF002 (no such table or column), CF004 (no rows), CF005 (not readable).
$$;

grant execute on function ml._code_documents(text, text, text, text)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/recommenders/_code_documents.sql

--! Included ml/recommenders/_document_vectors.sql
create or replace function ml._document_vectors(dimensions int)
returns void
language plpgsql
volatile
set search_path from current
set client_min_messages to warning
set jit to off
set extra_float_digits to 1
as $$
begin
  perform ml._check_dimensions(dimensions);
  create temporary table _ml_vector on commit drop as
  with document as materialized (
    select item_no, string_agg(document::text, ' ' order by document::text) as document
    from pg_temp._ml_document
    group by item_no
  ),

  term as materialized (
    select document.item_no, terms.term, terms.occurrences
    from document
    cross join lateral ml._text_terms(document.document) as terms
  ),

  weighed as materialized (
    select term, ml._term_place(term, dimensions) as place,
      1 + ln(((select count(distinct item_no) from term) + 1) / (count(*) + 1)::float8) as rarity
    from term
    group by term
  ),

  entry as (
    select term.item_no, abs(weighed.place) as place,
      sum(sign(weighed.place) * (1 + ln(term.occurrences)) * weighed.rarity order by term.term) as value
    from term
    join weighed using (term)
    group by term.item_no, abs(weighed.place)
  )

  select item_no,
    format('{%s}/%s', string_agg(place || ':' || value::real, ','), dimensions)::sparsevec::vector as embedding
  from entry
  where value <> 0
  group by item_no;
end;
$$;

comment on function ml._document_vectors(int) is $$
Creates the temporary table `_ml_vector` (item_no, embedding) from `_ml_document`, whose documents are texts.
$$;

grant execute on function ml._document_vectors(int) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/recommenders/_document_vectors.sql

--! Included ml/recommenders/_given_vectors.sql
create or replace function ml._given_vectors()
returns void
language plpgsql
volatile
set search_path from current
set client_min_messages to warning
as $$
declare
  v_least int;
  v_greatest int;
  v_item text;
begin
  begin
    create temporary table _ml_vector on commit drop as
    select item_no, document::vector as embedding
    from pg_temp._ml_document
    where document is not null;
  exception when cannot_coerce or undefined_function or invalid_text_representation or data_exception then
    perform common.refuse('CF001', format('the vectors are of type %s',
      (select pg_typeof(document) from pg_temp._ml_document limit 1)),
      'Give a column of type vector, halfvec, real[] or double precision[].');
  end;
  select min(vector_dims(embedding)), max(vector_dims(embedding)) into v_least, v_greatest
  from pg_temp._ml_vector;
  if v_least < v_greatest then
    perform common.refuse('CF001', format('the vectors have %s to %s dimensions', v_least, v_greatest),
      'The vectors of all items must come from one model.');
  end if;
  v_item := (
    select name
    from pg_temp._ml_vector
    join pg_temp._ml_item using (item_no)
    group by item_no, name
    having count(*) > 1
    order by item_no
    limit 1
  );
  if v_item is not null then
    perform common.refuse('CF001', format('item "%s" has several vectors', left(v_item, 100)),
      'Give one row per item.');
  end if;
end;
$$;

comment on function ml._given_vectors() is $$
Creates the temporary table `_ml_vector` (item_no, embedding) from `_ml_document`, whose documents are vectors.
Errors: CF001 (not vectors, of different dimensions, several of one item).
$$;

grant execute on function ml._given_vectors() to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/recommenders/_given_vectors.sql

--! Included ml/recommenders/_content_rows.sql
create or replace function ml._content_rows()
returns setof ml.content_row
language plpgsql
volatile
set search_path from current
as $$
begin
  -- Computed: a large value that is only read is in the toast table of a temporary table, which the caller drops.
  return query
  select item.name || '', l2_normalize(vector.embedding)
  from pg_temp._ml_item as item
  left join pg_temp._ml_vector as vector using (item_no)
  order by item.item_no;
end;
$$;

comment on function ml._content_rows() is $$
Returns the vectors of `_ml_vector`, of length 1, with the names of the items in `_ml_item`.
$$;

grant execute on function ml._content_rows() to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/recommenders/_content_rows.sql

--! Included ml/recommenders/content_vectors.sql
create or replace function ml.content_vectors(
  source_table text,
  item_column text default 'item_id',
  text_column text default 'title',
  dimensions int default 512
)
returns setof ml.content_row
language plpgsql
volatile
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
begin
  perform ml._check_dimensions(dimensions);
  perform ml._code_documents(source_table, item_column, text_column, 'text column');
  perform ml._document_vectors(dimensions);
  return query
  select *
  from ml._content_rows();
  drop table pg_temp._ml_item, pg_temp._ml_document, pg_temp._ml_vector;
end;
$$;

comment on function ml.content_vectors(text, text, text, int) is $$
Returns a vector of length 1 per item from its text, in the order of `item_column`; null when the text has no word.
`text_column` is a column or an expression, such as `concat_ws(' ', title, attributes ->> 'subject')`; the texts of
several rows of an item are joined. A term counts (1 + ln(occurrences)) · (1 + ln((N + 1) / (n + 1))) where n of N texts
have it, at the place that `ml.text_vector` describes. Similar texts have a large cosine.
Errors: CF001 (the expression, dimensions), CF002 (no such table or column), CF004 (no rows), CF005 (not readable).
Source: Weinberger et al., Feature hashing for large scale multitask learning, ICML 2009.
$$;

grant execute on function ml.content_vectors(text, text, text, int)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/recommenders/content_vectors.sql

--! Included ml/recommenders/content_neighbours.sql
create or replace function ml.content_neighbours(
  relation regclass,
  column_limit int default 50,
  row_limit int default 1000
)
returns setof ml.neighbour_row
language plpgsql
stable
set search_path from current
set jit to off
as $$
declare
  v_count bigint;
  v_items int[];
  v_vectors vector[];
begin
  perform ml._check_coded(relation, array['item_no', 'embedding']);
  perform common.check_count('column_limit', column_limit, 1, 1000);
  execute format('select count(*) from %s', relation) into v_count;
  if v_count > 50000 then
    perform common.refuse('CF008', format('%s vectors are too many', v_count),
      'Each pair is compared. For more, let an HNSW index find the nearest vectors.');
  end if;
  execute format(
    $statement$
    select array_agg(item_no order by item_no), array_agg(l2_normalize(embedding::vector) order by item_no)
    from %s
    where vector_norm(embedding::vector) > 0
    $statement$,
    relation
  )
  into v_items, v_vectors;
  return query execute ml._pruned(
    format(
      $statement$
      select ($1::int[])[nearest.n] as source_no, ($1::int[])[target.n] as target_no, nearest.cosine::real as weight
      from (select unnest($2) as v, generate_series(1, cardinality($2)) as n offset 0) as target
      cross join lateral (
        select entry.cosine, entry.n
        from (
          select other.n, -(target.v <#> other.v) as cosine
          from (select unnest($2) as v, generate_series(1, cardinality($2)) as n offset 0) as other
          offset 0
        ) as entry
        where entry.cosine > 0
          and entry.n <> target.n
        order by entry.cosine desc, entry.n
        limit %s
      ) as nearest
      $statement$,
      column_limit
    ),
    column_limit, row_limit
  )
  using v_items, v_vectors;
end;
$$;

comment on function ml.content_neighbours(regclass, int, int) is $$
@behavior -*
Returns the neighbour lists of the content model: the cosines of the vectors of items, where they are positive.
`relation` has the columns `item_no` (from 1) and `embedding` (vectors of the same number of dimensions), one row per
item. Vectors that are null or 0 have no neighbours. Each pair is compared: time grows with the square of the number of
items, which is at most 50,000.
Errors: CF001 (parameters), CF002 (a column is absent), CF008 (too many items).
$$;

grant execute on function ml.content_neighbours(regclass, int, int)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/recommenders/content_neighbours.sql

--! Included ml/recommenders/_named_neighbours.sql
create or replace function ml._named_neighbours(call text)
returns setof ml.item_neighbours
language plpgsql
volatile
set search_path from current
set client_min_messages to warning
set jit to off
as $$
begin
  return query execute format(
    $statement$
    select item.name || '', -- computed, as a long name is in the toast table of a table that is dropped
      array_agg(neighbour.name order by abs(entry.weight) desc, entry.item_no),
      array_agg(entry.weight order by abs(entry.weight) desc, entry.item_no)
    from %s as list
    cross join lateral unnest(list.neighbours, list.weights) as entry (item_no, weight)
    join pg_temp._ml_item as item on item.item_no = list.item_no
    join pg_temp._ml_item as neighbour on neighbour.item_no = entry.item_no
    group by item.item_no, item.name
    order by item.item_no
    $statement$,
    call
  );
  drop table if exists pg_temp._ml_interaction, pg_temp._ml_item, pg_temp._ml_vector;
end;
$$;

comment on function ml._named_neighbours(text) is $$
Returns the rows of a call, which are `ml.neighbour_row`, with the names of the items in `_ml_item`.
$$;

grant execute on function ml._named_neighbours(text) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/recommenders/_named_neighbours.sql

--! Included ml/recommenders/sequence_train.sql
create or replace function ml.sequence_train(
  source_table text,
  person_column text default 'person_id',
  item_column text default 'item_id',
  order_column text default 'occurred_at',
  weight_column text default null,
  decay_form text default 'geometric',
  decay float8 default 0.7,
  out_exponent float8 default 1,
  in_exponent float8 default 0.5,
  max_distance int default 50,
  half_life interval default null
)
returns setof ml.item_neighbours
language plpgsql
volatile
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
begin
  if order_column is null then
    perform common.refuse('CF001', 'order_column is null', 'A sequence needs a column of numbers or times.');
  end if;
  perform ml._code_interactions(source_table, person_column, item_column, order_column, weight_column, false);
  if half_life is not null and not exists (select from pg_temp._ml_interaction where used_at is not null) then
    perform common.refuse('CF001', format('the order column "%s" has no times', left(order_column, 100)),
      'A half-life needs a column of type timestamptz, timestamp or date; without one, leave half_life out.');
  end if;
  return query
  select *
  from ml._named_neighbours(format(
    'ml.sequence_neighbours(%L, %L, %L, %L, %L, %L, time_column => %L, half_life => %L)',
    'pg_temp._ml_interaction', decay_form, decay, out_exponent, in_exponent, max_distance,
    case when half_life is not null then 'used_at' end, half_life
  ));
end;
$$;

comment on function ml.sequence_train(text, text, text, text, text, text, float8, float8, float8, int, interval) is $$
Trains a recommender on the order in which people use items: what follows what, at which distance.
Returns one row per item, in the order of `item_column`: the item, the items that follow it, strongest first, and their
weights. The score of an item for a person is the sum of the weights from the items of the person, the last of them
counting most: multiply the weights from an item by a factor such as 0.7 for each item that the person used later.
C[i,j] is the sum, over the pairs of rows of a person with i before j at a distance of up to `max_distance` places, of
the decay: `geometric`, `decay` ^ (distance - 1), or `reciprocal`, distance ^ -`decay`; times the weights of the two
rows, where there are weights; and with a `half_life` times 0.5 ^ (time between the two rows / half_life).
The weight is C[i,j] / (out[i] ^ `out_exponent` · in[j] ^ `in_exponent`), out and in the sums of the rows and columns of
C. Exponents 1 and 0 give the transition probabilities of a Markov chain, of the first order with a `max_distance` of 1;
0 and 0 plain directed co-occurrence; an in exponent of 0.5 keeps popular items from following everything.
Each row is one use. Rows of a person with the same value of `order_column` are neither before nor after each other.
Any number of items: at most 200 weights are kept for an item as target, 1,000 as source; the work is at most
`max_distance` pairs per row.
Errors: CF001 (parameters, weights), CF002 (no such table or column), CF004 (no rows), CF005 (not readable).
$$;

grant execute on function
  ml.sequence_train(text, text, text, text, text, text, float8, float8, float8, int, interval)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/recommenders/sequence_train.sql

--! Included ml/recommenders/item_knn_train.sql
create or replace function ml.item_knn_train(
  source_table text,
  person_column text default 'person_id',
  item_column text default 'item_id',
  weight_column text default null,
  similarity text default 'cosine',
  shrinkage float8 default 0,
  neighbour_count int default 200,
  order_column text default null,
  max_items int default 500
)
returns setof ml.item_neighbours
language plpgsql
volatile
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
begin
  perform common.check_count('neighbour_count', neighbour_count, 1, 1000);
  perform ml._code_interactions(source_table, person_column, item_column, order_column, weight_column, true);
  return query
  select *
  from ml._named_neighbours(format(
    'ml.item_knn_neighbours(%L, %L, %L, %L, %L)',
    'pg_temp._ml_interaction', similarity, shrinkage, max_items, neighbour_count
  ));
end;
$$;

comment on function ml.item_knn_train(text, text, text, text, text, float8, int, text, int) is $$
Trains a recommender of item neighbours: the similarity of two items is that of the people who used them.
Returns one row per item, in the order of `item_column`: the item, its neighbours, most similar first, and the
similarities. The score of an item for a person is the sum of the weights from the items of the person.
`cosine` is the sum of the products of the weights of the people who have both items, divided by the product of the
norms of the two items plus `shrinkage`; `jaccard` the number of people with both divided by the number with one of them
plus `shrinkage`. Shrinkage lowers the similarity of items with few people.
Each item as target keeps its `neighbour_count` nearest, as source at most 1,000.
`weight_column` is a column or an expression; without one each pair of person and item counts 1, however often it comes;
with one the weights of a pair are added.
Any number of items: of each person the last `max_items` items by `order_column` count, so that the work is at most rows
× `max_items` pairs.
Errors: CF001 (parameters, weights), CF002 (no such table or column), CF004 (no rows), CF005 (not readable).
$$;

grant execute on function ml.item_knn_train(text, text, text, text, text, float8, int, text, int)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/recommenders/item_knn_train.sql

--! Included ml/recommenders/edlae_train.sql
create or replace function ml.edlae_train(
  source_table text,
  person_column text default 'person_id',
  item_column text default 'item_id',
  weight_column text default null,
  lambda float8 default 500,
  dropout float8 default 0.3,
  exponent float8 default 0,
  neighbour_count int default 500
)
returns setof ml.item_neighbours
language plpgsql
volatile
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
begin
  perform common.check_count('neighbour_count', neighbour_count, 1, 1000);
  perform ml._code_interactions(source_table, person_column, item_column, null, weight_column, true);
  return query
  select *
  from ml._named_neighbours(format(
    'ml.ease_neighbours(%L, %L, %L, %L, %L)',
    'pg_temp._ml_interaction', lambda, exponent, dropout, neighbour_count
  ));
end;
$$;

comment on function ml.edlae_train(text, text, text, text, float8, float8, float8, int) is $$
Trains the recommender EDLAE, a linear autoencoder with dropout whose weights of an item to itself are 0.
Returns one row per item, in the order of `item_column`: the item, the items whose scores it changes, strongest first,
and the weights. The score of an item for a person is the sum of the weights from the items of the person.
The weights minimise the expected squared error of each item, as predicted from the other items of a person when each
of them is left out with the probability `dropout`. In closed form B = I - C·diag(C)⁻¹, C = (XᵀX + Λ)⁻¹ with
Λ = λ·d ^ `exponent` + p / (1 - p) · diag(XᵀX), for d people of an item and a dropout of p.
A `dropout` of 0 gives EASE, with a ridge that grows with the number of people when `exponent` is above 0.
Each item as target keeps its `neighbour_count` strongest weights, up to 1,000, as source at most 1,000. Among 1,700
films 500 lose half a percent of the NDCG@10 of all weights, 1,000 nothing, 200 two percent (`bench/recommenders.ts`).
At most 16,000 items; time grows with the third power, some 3 s for 1,700 items.
Errors: CF001 (parameters, weights), CF002 (no such table or column), CF004 (no rows), CF005 (not readable), CF008 (too
many items).
Source: Steck, Autoencoders that don’t overfit towards the identity, NeurIPS 2020 (full rank, a = 1, b = 0).
$$;

grant execute on function ml.edlae_train(text, text, text, text, float8, float8, float8, int)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/recommenders/edlae_train.sql

--! Included ml/recommenders/content_train.sql
create or replace function ml.content_train(
  source_table text,
  item_column text default 'item_id',
  text_column text default 'title',
  vector_column text default null,
  dimensions int default 512,
  neighbour_count int default 50
)
returns setof ml.item_neighbours
language plpgsql
volatile
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
begin
  perform common.check_count('neighbour_count', neighbour_count, 1, 1000);
  if vector_column is null then
    perform ml._check_dimensions(dimensions);
    perform ml._code_documents(source_table, item_column, text_column, 'text column');
    perform ml._document_vectors(dimensions);
  else
    perform ml._code_documents(source_table, item_column, vector_column, 'vector column');
    perform ml._given_vectors();
  end if;
  return query
  select *
  from ml._named_neighbours(format('ml.content_neighbours(%L, %L)', 'pg_temp._ml_vector', neighbour_count));
end;
$$;

comment on function ml.content_train(text, text, text, text, int, int) is $$
Trains a recommender on what items are about: their texts, or vectors that were made elsewhere.
Returns one row per item that has neighbours, in the order of `item_column`: the item, its neighbours, most similar
first, and the cosines. The score of an item for a person is the sum of the weights from the items of the person. New
items need no people.
`text_column` is a column or an expression, as for `ml.content_vectors`, which makes the vectors. `vector_column` takes
embeddings in place of the text: a column or an expression of type vector, halfvec, real[] or double precision[].
Each item as target keeps its `neighbour_count` nearest, as source at most 1,000. At most 50,000 items.
Errors: CF001 (parameters, the expression, vectors), CF002 (no such table or column), CF004 (no rows), CF005 (not
readable), CF008 (too many items).
$$;

grant execute on function ml.content_train(text, text, text, text, int, int)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/recommenders/content_train.sql

--! Included ml/registry/challenge_by_outcome.sql
/* A definer: it writes the registry, and is granted to those who may train. */
create or replace function ml.challenge_by_outcome(
  project text,
  version int,
  outcome text,
  strategy text default null,
  champion_metrics jsonb default null,
  duration interval default null
)
returns ml.training
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_outcomes constant text[] := '{first,better,equal,worse,incomparable}';
  v_strategies constant text[] := '{first,better,newest}';
  v_model ml.model;
  v_project ml.project;
  v_champion ml.model;
  v_result ml.training;
begin
  if challenge_by_outcome.version is null then
    perform common.refuse('CF001', 'the version is null',
      'Give the number of the version that challenges the deployed one.');
  elsif challenge_by_outcome.outcome is null or challenge_by_outcome.outcome <> all (v_outcomes) then
    perform common.refuse('CF001', format('outcome "%s"', coalesce(left(challenge_by_outcome.outcome, 100), 'null')),
      'Choose first, better, equal, worse or incomparable.');
  elsif challenge_by_outcome.strategy <> all (v_strategies) then
    perform common.refuse('CF001', format('strategy "%s"', left(challenge_by_outcome.strategy, 100)),
      'Choose first, better or newest; null: the version is not deployed.');
  end if;
  v_model := ml._version(challenge_by_outcome.project, challenge_by_outcome.version);
  select * into v_project from ml.project as known where known.project_id = v_model.project_id for update;
  select * into v_champion
  from ml.model as known
  where known.model_id = ml._deployed_model_id(v_model.project_id)
    and known.model_id <> v_model.model_id;

  v_result.project := v_project.name;
  v_result.version := v_model.version;
  v_result.algorithm := v_model.algorithm;
  v_result.deployed := challenge_by_outcome.strategy is not null;
  v_result.outcome := challenge_by_outcome.outcome;
  v_result.metric := v_project.metric;
  v_result.metrics := v_model.metrics;
  v_result.value := v_model.metrics ->> v_project.metric;
  v_result.champion_version := v_champion.version;
  v_result.champion_value := challenge_by_outcome.champion_metrics ->> v_project.metric;
  v_result.row_count := v_model.row_count;
  v_result.holdout_row_count := v_model.metrics ->> 'row_count';
  v_result.duration := challenge_by_outcome.duration;

  update ml.model
  set duration = coalesce(challenge_by_outcome.duration, model.duration)
  where model.model_id = v_model.model_id;
  insert into ml.comparison (
    project_id, challenger_model_id, champion_model_id, metric, challenger_value, champion_value, challenger_metrics,
    champion_metrics, row_count, outcome
  )
  values (
    v_project.project_id, v_model.model_id, v_champion.model_id, v_project.metric, v_result.value,
    v_result.champion_value, v_model.metrics, challenge_by_outcome.champion_metrics,
    coalesce(v_result.holdout_row_count, 0), challenge_by_outcome.outcome
  );
  if v_result.deployed then
    perform ml._deploy(v_model.model_id, challenge_by_outcome.strategy);
  end if;
  return v_result;
end;
$$;

comment on function ml.challenge_by_outcome(text, int, text, text, jsonb, interval) is $$
@behavior -*
Records the comparison of a version with the deployed one that was made elsewhere, and deploys the version.
For models that are compared on the same rows where they are trained. `outcome`: `first`, `better`, `equal`, `worse` or
`incomparable`. `strategy`: why the version is deployed, `first`, `better` or `newest`; null: it is not deployed.
`champion_metrics`: metrics of the deployed version on the same rows.
Errors: CF001, CF002 (no such project or version).
$$;

grant execute on function ml.challenge_by_outcome(text, int, text, text, jsonb, interval)
to insights_admin, insights_worker;
--! EndIncluded ml/registry/challenge_by_outcome.sql

--! Included track/functions/find_identity.sql
create or replace function track.find_identity(person text)
returns bigint
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  -- plpgsql, because it caches the plan: each request for a person calls this function.
  -- A userId takes precedence over an equal anonymousId, and the present user of a browser over earlier ones.
  return (
    select identity.identity_id
    from track.identity
    where identity.external_id = find_identity.person
      and identity.kind in ('user', 'anonymous')
    order by
      identity.kind = 'user' desc,
      (
        select max(link.linked_at)
        from track.identity_link as link
        where link.identity_id = identity.identity_id
          and link.linked_identity_id = identity.user_identity_id
          and link.kind <> 'claim'
          and link.unlinked_at is null
      ) desc nulls last
    limit 1
  );
end;
$$;

comment on function track.find_identity(text) is $$
@behavior -queryField
Returns the key of the identity whose person `track.find_person` returns.
Null when there is none, or when the caller may not read it.
$$;

grant execute on function track.find_identity(text)
to insights_reader, insights_learner, insights_admin, insights_worker;
--! EndIncluded track/functions/find_identity.sql

--! Included track/functions/find_person.sql
create or replace function track.find_person(person text)
returns bigint
language sql
stable
parallel safe
begin atomic
  -- A sub-query, which a query that compares rows with the result computes once.
  select identity.person_id
  from track.identity
  where identity.identity_id = (select track.find_identity(find_person.person));
end;

comment on function track.find_person(text) is $$
@behavior -queryField
Returns the key of the person with a `userId`, or else with an `anonymousId`: the one who identified on it last.
Null when there is none, or when the caller may not read it.
$$;

grant execute on function track.find_person(text) to insights_reader, insights_learner, insights_admin, insights_worker;
--! EndIncluded track/functions/find_person.sql

-- from track/functions/item_ancestors.sql
create or replace function track._keep_item_ancestors()
returns trigger
language plpgsql
-- A definer: it writes track.item_ancestor, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  if tg_op = 'UPDATE' then
    insert into track.stale_course (item_id)
    select changed.item_id
    from changed
    join former using (item_id)
    where changed.kind <> former.kind
      and 'course' in (changed.kind, former.kind);

    -- An aggregate: for "exists", the planner expects an early match, and compares each row with each.
    if not (
      select coalesce(bool_or(changed.parent_item_id is distinct from former.parent_item_id), false)
      from changed
      join former using (item_id)
    ) then
      return null;
    end if;
  elsif not exists (select from changed where parent_item_id is not null) then
    insert into track.item_ancestor (item_id, ancestor_item_id, depth)
    select item_id, item_id, 0
    from changed;
    return null;
  end if;

  -- One move at a time: two concurrent moves in one branch of the tree would not see each other's ancestors.
  perform pg_advisory_xact_lock(hashtext('track.item_ancestor'));

  with recursive affected (item_id) as (
    select item_id from changed

    union

    select item.item_id
    from affected
    join track.item on item.parent_item_id = affected.item_id
  ),

  ancestor (item_id, ancestor_item_id, depth, path) as (
    select item_id, item_id, 0, array[item_id]
    from affected

    union all

    select ancestor.item_id, item.parent_item_id, ancestor.depth + 1, ancestor.path || item.parent_item_id
    from ancestor
    join track.item on item.item_id = ancestor.ancestor_item_id
    where item.parent_item_id is not null
      and (item.parent_item_id <> all (ancestor.path) or track._refuse_item_cycle(ancestor.path || item.parent_item_id))
  ),

  removed as (
    delete from track.item_ancestor
    using affected
    where item_ancestor.item_id = affected.item_id
      and not exists (
        select
        from ancestor
        where ancestor.item_id = item_ancestor.item_id
          and ancestor.ancestor_item_id = item_ancestor.ancestor_item_id
      )
    returning item_ancestor.ancestor_item_id
  ),

  stored as (
    insert into track.item_ancestor (item_id, ancestor_item_id, depth)
    select item_id, ancestor_item_id, depth
    from ancestor
    on conflict (item_id, ancestor_item_id) do update
    set depth = excluded.depth
    where item_ancestor.depth <> excluded.depth
    returning item_ancestor.ancestor_item_id
  )

  -- New items have no activity yet.
  insert into track.stale_course (item_id)
  select changed_course.item_id
  from (
    select ancestor_item_id from removed
    union
    select ancestor_item_id from stored
  ) as changed_ancestor
  join track.item as changed_course on changed_course.item_id = changed_ancestor.ancestor_item_id
  where changed_course.kind = 'course'
    and tg_op = 'UPDATE';

  return null;
end;
$$;

--! Included track/identities/people_of_identities.sql
create or replace function track.people_of_identities(identity_ids bigint[], occurred_at timestamptz[])
returns bigint[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  -- plpgsql, because it caches the plan: each list that is recorded calls this function.
  return (
    select array_agg(
      case
        when identity.kind = 'anonymous'
          and exists (
            select
            from track.identity as sibling
            where sibling.external_id = identity.external_id
              and sibling.kind = 'anonymous'
              and sibling.identity_id <> identity.identity_id
          )
          then (
            select owner.person_id
            from track.identity as owner
            where owner.identity_id = track._browser_identity(identity.external_id, given.occurred_at)
          )
        else identity.person_id
      end
      order by given.position
    )
    from unnest(people_of_identities.identity_ids, people_of_identities.occurred_at) with ordinality
      as given (identity_id, occurred_at, position)
    left join track.identity on identity.identity_id = given.identity_id
  );
end;
$$;

comment on function track.people_of_identities(bigint[], timestamptz[]) is $$
@behavior -*
Returns for each identity the person to whom an event that it sent at a time belongs now; null for an unknown identity.
For the browser of several people, it is the one who had identified on it last before the time. The lists have the same
length. For rooms whose data names an identity, so that it follows merges of people and their reversal.
$$;
--! EndIncluded track/identities/people_of_identities.sql

--! Included track/identities/_move_spans.sql
create or replace function track._move_spans(
  identity_ids bigint[],
  new_identity_ids bigint[],
  since timestamptz[],
  until timestamptz[]
)
returns void
language plpgsql
volatile
-- A definer: it moves the data of people between tables that no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_old bigint[];
  v_new bigint[];
begin
  select
    array_agg(identity.person_id order by span.position),
    array_agg(new_identity.person_id order by span.position)
  into v_old, v_new
  from unnest(_move_spans.identity_ids, _move_spans.new_identity_ids) with ordinality
    as span (identity_id, new_identity_id, position)
  join track.identity on identity.identity_id = span.identity_id
  join track.identity as new_identity on new_identity.identity_id = span.new_identity_id;

  perform track._move_events(
    _move_spans.identity_ids, _move_spans.new_identity_ids, v_old, v_new, _move_spans.since, _move_spans.until
  );

  with deleted as (
    delete from track.trait
    using unnest(
      _move_spans.identity_ids, _move_spans.new_identity_ids, v_old, v_new, _move_spans.since, _move_spans.until
    ) as span (identity_id, new_identity_id, old_person_id, new_person_id, since, until)
    where trait.person_id = span.old_person_id
      and trait.identity_id = span.identity_id
      and trait.set_at >= span.since
      and trait.set_at < span.until
    returning span.new_person_id, span.new_identity_id, trait.*
  )
  insert into track.trait (person_id, identity_id, name, value, set_at)
  select distinct on (new_identity_id, name) new_person_id, new_identity_id, name, value, set_at
  from deleted
  order by new_identity_id, name, set_at desc, value desc
  on conflict (person_id, identity_id, name) do update
  set value = excluded.value, set_at = excluded.set_at
  where (trait.set_at, trait.value) < (excluded.set_at, excluded.value);
  perform track._keep_latest_traits(_move_spans.new_identity_ids);
  perform track._enqueue(
    'trait', array(select distinct entry.person_id from unnest(v_old || v_new) as entry (person_id))
  );
  perform track._enqueue(
    'identity', array(select distinct entry.person_id from unnest(v_old || v_new) as entry (person_id))
  );
  perform track._move_trait_history(
    _move_spans.identity_ids, _move_spans.new_identity_ids, v_old, v_new, _move_spans.since, _move_spans.until
  );

  perform privacy.move_decisions(
    _move_spans.identity_ids, v_old, v_new, _move_spans.new_identity_ids, _move_spans.since, _move_spans.until
  );
end;
$$;

comment on function track._move_spans(bigint[], bigint[], timestamptz[], timestamptz[]) is $$
Moves what browsers sent in the given periods (`until` exclusive) from one identity to another of the same browser.
The cost is proportional to the data of the periods. The caller has locked the people and the identities.
$$;
--! EndIncluded track/identities/_move_spans.sql

--! Included analytics/functions/shown.sql
create or replace function analytics.shown(figure float8, people bigint, smallest_group int)
returns float8
language sql
immutable
parallel safe
begin atomic
  select analytics._shown(shown.figure, shown.people, shown.smallest_group);
end;

comment on function analytics.shown(float8, bigint, int) is $$
@behavior -*
Returns a figure about a group of people as analysts see it, for rooms with reports of their own.
See `analytics._shown`: 0 for fewer people than `smallest_group`, otherwise rounded; null or 1: the exact figure.
$$;

grant execute on function analytics.shown(float8, bigint, int) to insights_reader;
--! EndIncluded analytics/functions/shown.sql

--! Included analytics/functions/wilson_bounds.sql
create or replace function analytics.wilson_bounds(successes bigint, trials bigint, z float8)
returns float8[]
language sql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  -- A condition does not keep the planner from dividing constants.
  select array[greatest(0, score.centre - score.half_width), least(1, score.centre + score.half_width)]
  from (select nullif(trials, 0)::float8 as trials) as given
  cross join lateral (
    select
      (successes / given.trials + z ^ 2 / (2 * given.trials)) / (1 + z ^ 2 / given.trials) as centre,
      z * sqrt(
        successes / given.trials * (1 - successes / given.trials) / given.trials + z ^ 2 / (4 * given.trials ^ 2)
      ) / (1 + z ^ 2 / given.trials) as half_width
  ) as score
  where trials > 0;
$$;

comment on function analytics.wilson_bounds(bigint, bigint, float8) is $$
@behavior -*
Returns the lower and the upper bound of a rate by Wilson's score interval; null without trials.
`z`: quantile of the normal distribution, 1.96 for a confidence of 95 %.
Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", Journal of the American
Statistical Association 22 (1927), without continuity correction: method 3 of R. G. Newcombe, Statistics in Medicine 17
(1998), 857-872.
$$;

grant execute on function analytics.wilson_bounds(bigint, bigint, float8) to insights_reader;
--! EndIncluded analytics/functions/wilson_bounds.sql

--! Included analytics/functions/popular_courses.sql
create or replace function analytics._popular_courses(
  since timestamptz, until timestamptz, measure text, top int, among text, confidence float8, prior_weight float8,
  smallest_group int
)
returns setof analytics.popular_course
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
as $$
declare
  -- Whole days, so that two periods differ by a day at least.
  v_first_day constant date := greatest(_popular_courses.since::date, '0001-01-01');
  v_end_day constant date := least(
    (greatest(_popular_courses.until, '0001-01-01') - interval '1 microsecond')::date, '9999-12-30'
  ) + 1;
  v_z float8;
begin
  perform common.check_period(_popular_courses.since, _popular_courses.until);
  perform common.check_count('top', _popular_courses.top, 1, 10000);
  if _popular_courses.measure is null
    or _popular_courses.measure not in ('events', 'people', 'engaged', 'completion', 'completion_bound', 'rating')
  then
    perform common.refuse('CF001', format('measure is "%s"', left(_popular_courses.measure, 100)),
      'Use events, people, engaged, completion (Bayesian average), completion_bound (Wilson) or rating.');
  end if;
  if _popular_courses.confidence is null or not (_popular_courses.confidence between 0.5 and 0.9999) then
    perform common.refuse('CF001', format('confidence is %s', coalesce(_popular_courses.confidence::text, 'null')),
      'Give a probability from 0.5 to 0.9999, such as 0.95.');
  end if;
  if _popular_courses.prior_weight is null or not (_popular_courses.prior_weight between 0 and 1000000) then
    perform common.refuse(
      'CF001',
      format('prior_weight is %s', coalesce(_popular_courses.prior_weight::text, 'null')),
      'Give a number of learners from 0 to 1000000: the mean of all courses counts for as many.'
    );
  end if;

  v_z := ml.normal_quantile((1 + _popular_courses.confidence) / 2);

  return query
  with used as (
    select
      kernel.course_id,
      analytics._shown(kernel.event_count, kernel.person_count, _popular_courses.smallest_group)::bigint as event_count,
      analytics._shown(
        kernel.person_count, kernel.person_count, _popular_courses.smallest_group
      )::bigint as person_count,
      case
        when coalesce(_popular_courses.smallest_group, 1) = 1 then kernel.engaged
        else make_interval(secs => analytics._shown(
          extract(epoch from kernel.engaged)::float8, kernel.person_count, _popular_courses.smallest_group
        ))
      end as engaged
    from analytics._course_use(
      v_first_day, v_end_day, _popular_courses.among, _popular_courses.smallest_group
    ) as kernel
    where kernel.person_count >= coalesce(_popular_courses.smallest_group, 1)
  ),

  -- Rates, bounds and averages are computed from the numbers as shown.
  completed as (
    select
      shown.course_id, shown.enrolment_count, shown.completion_count,
      sum(shown.completion_count) over () / nullif(sum(shown.enrolment_count) over (), 0) as rate_of_all
    from (
      select
        kernel.course_id,
        analytics._shown(
          kernel.enrolment_count, kernel.enrolment_count, _popular_courses.smallest_group
        )::bigint as enrolment_count,
        analytics._shown(
          kernel.completion_count, kernel.completion_count, _popular_courses.smallest_group
        )::bigint as completion_count
      from analytics._course_completion(_popular_courses.among, _popular_courses.smallest_group) as kernel
    ) as shown
  ),

  rated as (
    select
      shown.course_id, shown.rating_count, shown.mean_rating,
      sum(shown.rating_count * shown.mean_rating) over ()
        / nullif(sum(shown.rating_count) filter (where shown.mean_rating is not null) over (), 0) as mean_of_all
    from (
      select
        kernel.course_id,
        analytics._shown(
          kernel.rating_count, kernel.rating_count, _popular_courses.smallest_group
        )::bigint as rating_count,
        analytics._shown_mean(kernel.mean_rating, kernel.rating_count, _popular_courses.smallest_group) as mean_rating
      from analytics._course_ratings(_popular_courses.among, _popular_courses.smallest_group) as kernel
      where _popular_courses.measure = 'rating'
    ) as shown
  ),

  scored as (
    select
      item.external_id as course,
      item.title,
      used.event_count,
      used.person_count,
      used.engaged,
      coalesce(completed.enrolment_count, 0) as enrolment_count,
      coalesce(completed.completion_count, 0) as completion_count,
      completed.completion_count::float8 / nullif(completed.enrolment_count, 0) as completion_rate,
      bounds.bound[1] as completion_lower,
      bounds.bound[2] as completion_upper,
      case
        when completed.enrolment_count > 0
          then analytics._bayesian_average(
            completed.completion_count::float8 / completed.enrolment_count, completed.enrolment_count,
            completed.rate_of_all::float8, _popular_courses.prior_weight
          )
      end as completion_score,
      case when _popular_courses.measure = 'rating' then coalesce(rated.rating_count, 0) end as rating_count,
      rated.mean_rating,
      analytics._bayesian_average(
        rated.mean_rating, rated.rating_count, rated.mean_of_all, _popular_courses.prior_weight
      ) as rating_score
    from used
    join track.item on item.item_id = used.course_id
    left join completed on completed.course_id = used.course_id
    left join rated on rated.course_id = used.course_id
    cross join lateral (
      select analytics.wilson_bounds(
        completed.completion_count, completed.enrolment_count, v_z
      ) as bound
    ) as bounds
  )

  -- Rounded, because the last digits depend on the order of addition and would decide the order of equal courses.
  select
    (row_number() over by_score)::int,
    scored.course,
    scored.title,
    scored.event_count,
    scored.person_count,
    scored.engaged,
    scored.enrolment_count,
    scored.completion_count,
    scored.completion_rate,
    scored.completion_lower,
    scored.completion_upper,
    scored.completion_score,
    scored.rating_count,
    scored.mean_rating,
    scored.rating_score
  from scored
  cross join lateral (
    select round(
      case _popular_courses.measure
        when 'events' then scored.event_count
        when 'people' then scored.person_count
        when 'engaged' then extract(epoch from scored.engaged)
        when 'completion' then scored.completion_score
        when 'completion_bound' then scored.completion_lower
        when 'rating' then scored.rating_score
      end::numeric,
      9
    ) as score
  ) as by_measure
  window by_score as (
    order by by_measure.score desc nulls last, scored.person_count desc, scored.event_count desc, scored.course
  )
  order by 1
  limit _popular_courses.top;
end;
$$;

comment on function analytics._popular_courses(
  timestamptz, timestamptz, text, int, text, float8, float8, int
) is $$
Computes the result of `analytics.popular_courses`, with the privileges of the caller.
`smallest_group`: see `analytics._shown`; null: exact figures.
$$;

grant execute on function analytics._popular_courses(
  timestamptz, timestamptz, text, int, text, float8, float8, int
) to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._popular_courses_exact(
  since timestamptz, until timestamptz, measure text, top int, among text, confidence float8, prior_weight float8
)
returns setof analytics.popular_course
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select * from analytics._popular_courses($1, $2, $3, $4, $5, $6, $7, null);
$$;

alter function analytics._popular_courses_exact(timestamptz, timestamptz, text, int, text, float8, float8)
owner to insights_reader;

comment on function analytics._popular_courses_exact(
  timestamptz, timestamptz, text, int, text, float8, float8
) is $$
Returns the result of `analytics.popular_courses` with exact figures, for admins and workers.
$$;

grant execute on function analytics._popular_courses_exact(timestamptz, timestamptz, text, int, text, float8, float8)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._popular_courses_shown(
  since timestamptz, until timestamptz, measure text, top int, among text, confidence float8, prior_weight float8
)
returns setof analytics.popular_course
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select *
  from analytics._popular_courses($1, $2, $3, $4, $5, $6, $7, (select smallest_group from analytics.setting));
$$;

alter function analytics._popular_courses_shown(timestamptz, timestamptz, text, int, text, float8, float8)
owner to insights_reader;

comment on function analytics._popular_courses_shown(
  timestamptz, timestamptz, text, int, text, float8, float8
) is $$
Returns the result of `analytics.popular_courses` for analysts: figures of groups, rounded.
$$;

grant execute on function analytics._popular_courses_shown(timestamptz, timestamptz, text, int, text, float8, float8)
to insights_analyst;

create or replace function analytics.popular_courses(
  since timestamptz default (now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  measure text default 'people',
  top int default 10,
  among text default null,
  confidence float8 default 0.95,
  prior_weight float8 default 25
)
returns setof analytics.popular_course
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._popular_courses_exact(timestamptz, timestamptz, text, int, text, float8, float8)', 'execute'
  ) then
    return query
    select *
    from analytics._popular_courses_exact(
      popular_courses.since, popular_courses.until, popular_courses.measure, popular_courses.top,
      popular_courses.among, popular_courses.confidence, popular_courses.prior_weight
    );
  else
    return query
    select *
    from analytics._popular_courses_shown(
      popular_courses.since, popular_courses.until, popular_courses.measure, popular_courses.top,
      popular_courses.among, popular_courses.confidence, popular_courses.prior_weight
    );
  end if;
end;
$$;

comment on function analytics.popular_courses(timestamptz, timestamptz, text, int, text, float8, float8) is $$
Returns the most popular courses: their use between two times (`until` exclusive), completion and ratings.
`measure` decides the order: `events` (frequency), `people` (distinct people), `engaged` (engaged time), `completion`
(Bayesian average of the completion rate), `completion_bound` (lower bound of the rate) or `rating` (Bayesian average of
the ratings). Courses that nobody used in the period are not listed; those without a value of the measure come last.
Use is that of `analytics.popular_items('course', …)`, to the unit: the period is extended to whole days, UTC.
Completion is that of all enrolments (`track.enrolment`), as of now, whatever the period: most enrolments of the last
weeks cannot be completed yet. A person counts once per course, and as completed when one of her enrolments is. The
bounds are those of Wilson's score interval (1927) with `confidence`. The Bayesian average is IMDb's weighted rating:
(enrolments * rate + `prior_weight` * rate of all courses) / (enrolments + `prior_weight`), so that a course with few
learners is near the average, and one with as many as `prior_weight` halfway between it and its own rate.
Ratings (`measure` = `rating`; otherwise null) are the latest `Course Rated` of each person and course, as of now,
numbers from 0 to 100; they are read from these events.
Only people in the set `counted` count. `among`: those of them in an expression of sets of people, such as
`segment.power & ~cohort.beta`; their use is then read from their journeys, and takes longer.
For admins and workers, figures are exact. For analysts, days of small groups are left out as in
`analytics.popular_items`; numbers are rounded by `analytics._shown`, completions and enrolments each by themselves;
rates, bounds, averages and the order are computed from what is shown.
Errors: CF001 for an invalid argument, CF002 for an unknown set.
$$;

grant execute on function analytics.popular_courses(timestamptz, timestamptz, text, int, text, float8, float8)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/functions/popular_courses.sql

--! Included recommend/interactions/_rating_to_liking.sql
create or replace function recommend._rating_to_liking(rating float8, value_from float8, value_to float8)
returns real
language sql
immutable
parallel safe
return (
  2 * (least(greatest(rating, least(value_from, value_to)), greatest(value_from, value_to)) - value_from)
    / (value_to - value_from) - 1
)::real;

comment on function recommend._rating_to_liking(float8, float8, float8) is $$
@behavior -*
Converts a rating to a preference: -1 for `value_from`, 1 for `value_to`, and for ratings beyond them.
$$;

grant execute on function recommend._rating_to_liking(float8, float8, float8) to insights_reader, insights_learner;
--! EndIncluded recommend/interactions/_rating_to_liking.sql

--! Included recommend/interactions/_is_rejected.sql
create or replace function recommend._is_rejected(
  rejected_at timestamptz,
  withdrawn_at timestamptz,
  resumed_at timestamptz,
  liked_at timestamptz
)
returns boolean
language sql
immutable
parallel safe
return coalesce(
  rejected_at > coalesce(withdrawn_at, '-infinity')
    and rejected_at >= greatest(resumed_at, liked_at, '-infinity'),
  false
);

comment on function recommend._is_rejected(timestamptz, timestamptz, timestamptz, timestamptz) is $$
@behavior -*
Returns whether a dismissal, or the leaving of an item, applies.
It does unless the person withdrew it, or later took the item again (`resumed_at`) or liked it.
$$;

grant execute on function recommend._is_rejected(timestamptz, timestamptz, timestamptz, timestamptz)
to insights_reader, insights_learner;
--! EndIncluded recommend/interactions/_is_rejected.sql

--! Included recommend/interactions/_strength.sql
create or replace function recommend._strength(weight float8, full_weight real, liking real, is_rejected boolean)
returns real
language sql
immutable
parallel safe
return (
  case
    when liking < 0 then liking
    when liking = 0 or is_rejected then 0
    else greatest(least(weight / full_weight, 1), liking)
  end
)::real;

comment on function recommend._strength(float8, real, real, boolean) is $$
@behavior -*
Returns how much a person likes an item, from -1 to 1.
A preference that she expressed is not lifted by use when it is 0 or below. An item that she left or dismissed has
strength 0, unless she said that she dislikes it.
$$;

grant execute on function recommend._strength(float8, real, real, boolean) to insights_reader, insights_learner;
--! EndIncluded recommend/interactions/_strength.sql

--! Included recommend/interactions/_event_names.sql
create or replace function recommend._event_names(out event_type_ids int[], out events text[])
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  -- A weight of the name that a type has now, or else of one that it had before.
  with recursive former as (
    select event_type.event_type_id, event_type.name, event_type.former_event_type_id, 0 as depth
    from track.event_type

    union all

    select former.event_type_id, event_type.name, event_type.former_event_type_id, former.depth + 1
    from former
    join track.event_type on event_type.event_type_id = former.former_event_type_id
  ),

  weighed as (
    select distinct on (former.event_type_id) former.event_type_id, event_weight.event
    from former
    join recommend.event_weight on event_weight.event = former.name
    order by former.event_type_id, former.depth
  ),

  -- Of a merged name: the weight of its target, or else its own.
  named as (
    select named.event_type_id, coalesce(target.event, own.event) as event
    from track.event_type as named
    left join weighed as target on target.event_type_id = named.merged_event_type_id
    left join weighed as own on own.event_type_id = named.event_type_id
  )

  select array_agg(named.event_type_id), array_agg(named.event)
  into _event_names.event_type_ids, _event_names.events
  from named
  where named.event is not null;
end;
$$;

comment on function recommend._event_names() is $$
@behavior -queryField
Returns the event types of messages, with the row of `recommend.event_weight` that applies to events of this name.
$$;

grant execute on function recommend._event_names() to insights_reader, insights_learner;
--! EndIncluded recommend/interactions/_event_names.sql

--! Included recommend/interactions/_interactions_of.sql
create or replace function recommend._interactions_of(
  people bigint[],
  items bigint[] default null,
  since timestamptz default '-infinity',
  until timestamptz default 'infinity'
)
returns table (
  person_id bigint,
  item_id bigint,
  weight real,
  event_count int,
  first_at timestamptz,
  last_at timestamptz,
  completed_at timestamptz,
  dismissed_at timestamptz,
  identity_id bigint,
  dropped_at timestamptz,
  resumed_at timestamptz,
  liking real,
  liked_at timestamptz,
  known_at timestamptz,
  topic_dismissed_at timestamptz,
  withdrawn_at timestamptz,
  topic text
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set extra_float_digits to 1
set plan_cache_mode to force_generic_plan
as $$
declare
  v_weights constant record := recommend._event_names();
  v_full_weight constant real := (select full_weight from recommend.setting);
begin
  return query
  with named as materialized (
    select
      named.event_type_id,
      event_weight.*,
      event_weight.dismisses_topic or event_weight.withdraws as is_topical
    from unnest(v_weights.event_type_ids, v_weights.events) as named (event_type_id, event)
    join recommend.event_weight using (event)
  ),

  -- By identity, so that the identity of the first event is known without comparing all events again.
  counted as (
    select
      event.person_id,
      case when topical.topic is null then event.item_id end as item_id,
      topical.topic,
      event.identity_id,
      named.event,
      count(*) as event_count,
      min(event.occurred_at) as first_at,
      max(event.occurred_at) as last_at,
      -- The latest preference: by time, then by the order of events of the same time.
      max(
        (
          to_char(event.occurred_at at time zone 'UTC', 'YYYYMMDDHH24MISSUS') || event.event_id
            || coalesce(named.liking, recommend._rating_to_liking(
              (event.properties ->> named.value_property)::float8, named.value_from, named.value_to
            ))
        ) collate "C"
      ) filter (where named.liking is not null or jsonb_typeof(event.properties -> named.value_property) = 'number')
        as liked,
      max(event.occurred_at) filter (
        where named.liking is not null or jsonb_typeof(event.properties -> named.value_property) = 'number'
      ) as liked_at
    from track.event
    join named on named.event_type_id = coalesce(event.named_event_type_id, event.event_type_id)
    cross join lateral (
      select case when named.is_topical then left(nullif(event.properties ->> 'topic', ''), 500) end
    ) as topical (topic)
    where event.person_id = any (_interactions_of.people)
      and event.person_id <> 0
      and event.occurred_at >= _interactions_of.since
      and event.occurred_at < _interactions_of.until
      and (
        topical.topic is not null
        or event.item_id = any (_interactions_of.items)
        or _interactions_of.items is null and event.item_id is not null
      )
    group by event.person_id, 2, topical.topic, event.identity_id, named.event
  ),

  limited as (
    select
      counted.person_id,
      counted.item_id,
      counted.topic,
      counted.event,
      sum(counted.event_count) as event_count,
      min(counted.first_at) as first_at,
      max(counted.last_at) as last_at,
      max(counted.liked) as liked,
      max(counted.liked_at) as liked_at,
      (array_agg(counted.identity_id order by counted.first_at, counted.identity_id))[1] as identity_id
    from counted
    group by counted.person_id, counted.item_id, counted.topic, counted.event
  ),

  total as (
    select
      limited.person_id,
      limited.item_id,
      sum(event_weight.weight * least(limited.event_count, event_weight.most_counted))::real as weight,
      sum(limited.event_count)::int as event_count,
      min(limited.first_at) as first_at,
      max(limited.last_at) as last_at,
      max(limited.last_at) filter (where event_weight.completes) as completed_at,
      max(limited.last_at) filter (where event_weight.dismisses) as dismissed_at,
      (array_agg(limited.identity_id order by limited.first_at, limited.identity_id))[1] as identity_id,
      max(limited.last_at) filter (where event_weight.drops) as dropped_at,
      max(limited.last_at) filter (where event_weight.weight >= v_full_weight) as resumed_at,
      max(limited.liked) as liked,
      max(limited.liked_at) as liked_at,
      max(limited.last_at) filter (where event_weight.marks_known) as known_at,
      max(limited.last_at) filter (where event_weight.dismisses_topic) as topic_dismissed_at,
      max(limited.last_at) filter (where event_weight.withdraws) as withdrawn_at,
      limited.topic
    from limited
    join recommend.event_weight using (event)
    group by limited.person_id, limited.item_id, limited.topic
  )

  select
    total.person_id, total.item_id, total.weight, total.event_count, total.first_at, total.last_at,
    total.completed_at, total.dismissed_at, total.identity_id, total.dropped_at, total.resumed_at,
    substr(total.liked, 57)::real, total.liked_at,
    total.known_at, total.topic_dismissed_at, total.withdrawn_at, total.topic
  from total;
end;
$$;

comment on function recommend._interactions_of(bigint[], bigint[], timestamptz, timestamptz) is $$
@behavior -*
Computes the interactions of the given people from their events.
The rows with an item are the same as those of `recommend.interaction` after a refresh. Those with a topic and no item
are from events that dismiss a topic by its name, or withdraw the dismissal. `items` restricts the result to these items
and all topics; null: all items. Only the events from `since` until before `until` count.
$$;

grant execute on function recommend._interactions_of(bigint[], bigint[], timestamptz, timestamptz)
to insights_reader, insights_learner;
--! EndIncluded recommend/interactions/_interactions_of.sql

--! Included recommend/interactions/_kept_of.sql
/*
 * Interactions whose first event is deleted are kept, others are not: a changed weight, a merge or an unlink changes
 * what the events say, and the events are then at another person or have another weight, but exist.
 */
create or replace function recommend._kept_of(
  people bigint[],
  items bigint[],
  first_at timestamptz[],
  owners bigint[]
)
returns setof recommend.taken
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
-- The statistics of a new database are those of empty tables.
set enable_seqscan to off
as $$
declare
  v_full_weight constant real := (select full_weight from recommend.setting);
  v_kept_kinds constant text[] := (select kept_kinds from recommend.setting);
  v_people bigint[];
  v_items bigint[];
begin
  if _kept_of.people is null then
    return;
  end if;

  select array_agg(distinct gone.person_id), array_agg(distinct gone.item_id)
  into v_people, v_items
  from (
    select suspect.person_id, suspect.item_id
    from unnest(_kept_of.people, _kept_of.items, _kept_of.first_at, _kept_of.owners)
      as suspect (person_id, item_id, first_at, owner_id)
    where suspect.owner_id is not null
      and (
        select true
        from track.event
        where event.person_id = suspect.owner_id
          and event.occurred_at = suspect.first_at
        limit 1
      ) is null
  ) as gone;
  if v_people is null then
    return;
  end if;

  return query
  with target as materialized (
    select distinct gone.person_id, item.item_id
    from unnest(_kept_of.people, _kept_of.items) as gone (person_id, item_id)
    join track.item_ancestor as ancestor on ancestor.item_id = gone.item_id
    join track.item on item.item_id = ancestor.ancestor_item_id
    where gone.person_id = any (v_people)
      and gone.item_id = any (v_items)
      and item.kind = any (v_kept_kinds)
  ),

  summed as (
    select
      target.person_id,
      target.item_id,
      (
        array_agg(coalesce(interaction.identity_id, interaction.person_id)
          order by interaction.first_at, interaction.identity_id)
      )[1] as identity_id,
      min(interaction.first_at) as first_at,
      max(interaction.last_at) as last_at,
      sum(interaction.weight::float8) as weight,
      max(interaction.completed_at) filter (where part.depth = 0) as completed_at,
      max(interaction.dropped_at) filter (where part.depth = 0) as dropped_at,
      max(interaction.dismissed_at) filter (where part.depth = 0) as dismissed_at,
      max(interaction.liking) filter (where part.depth = 0) as liking,
      max(interaction.liked_at) filter (where part.depth = 0) as liked_at,
      max(interaction.known_at) filter (where part.depth = 0) as known_at,
      max(interaction.topic_dismissed_at) filter (where part.depth = 0) as topic_dismissed_at,
      coalesce(max(interaction.withdrawn_at) filter (where part.depth = 0), '-infinity') as withdrawn_at
    from target
    join track.item_ancestor as part on part.ancestor_item_id = target.item_id
    join recommend.interaction
      on interaction.person_id = target.person_id
      and interaction.item_id = part.item_id
    group by target.person_id, target.item_id
  )

  select
    summed.person_id, summed.identity_id, summed.item_id, summed.first_at, summed.last_at,
    case when summed.weight >= v_full_weight then summed.last_at end,
    summed.completed_at,
    summed.dropped_at,
    case when summed.dismissed_at > summed.withdrawn_at then summed.dismissed_at end,
    case when summed.liked_at > summed.withdrawn_at then summed.liking end,
    case when summed.liked_at > summed.withdrawn_at then summed.liked_at end,
    case when summed.known_at > summed.withdrawn_at then summed.known_at end,
    case when summed.topic_dismissed_at > summed.withdrawn_at then summed.topic_dismissed_at end
  from summed;
end;
$$;

comment on function recommend._kept_of(bigint[], bigint[], timestamptz[], bigint[]) is $$
@behavior -*
Returns rows of `recommend.taken` for those of the given stored interactions whose first event is deleted.
The lists have one position per interaction whose first event is not among those of the person any more; `owners` are
the people to whom these events belong now. The rows are those of the items of `recommend.setting.kept_kinds` that
contain the items, computed from the stored interactions.
$$;

grant execute on function recommend._kept_of(bigint[], bigint[], timestamptz[], bigint[])
to insights_reader, insights_learner;
--! EndIncluded recommend/interactions/_kept_of.sql

--! Included recommend/interactions/_move_taken.sql
create or replace function recommend._move_taken(people bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  with named as (
    select array_agg(taken.identity_id) as identity_ids, array_agg(taken.first_at) as first_at,
      array_agg(taken.person_id) as people, array_agg(taken.item_id) as items
    from recommend.taken
    where taken.person_id = any (_move_taken.people)
  ),

  moved as materialized (
    select entry.person_id, entry.identity_id, entry.item_id, entry.owner_id
    from named
    cross join lateral unnest(
      named.people, named.identity_ids, named.items,
      track.people_of_identities(named.identity_ids, named.first_at)
    ) as entry (person_id, identity_id, item_id, owner_id)
    where entry.owner_id is distinct from entry.person_id
      or not privacy.allowed(entry.person_id, 'personalization')
  ),

  deleted as (
    delete from recommend.taken
    using moved
    where taken.person_id = moved.person_id
      and taken.identity_id = moved.identity_id
      and taken.item_id = moved.item_id
    returning moved.owner_id, taken.*
  )

  insert into recommend.taken (
    person_id, identity_id, item_id, first_at, last_at, taken_at, completed_at, dropped_at, dismissed_at, liking,
    liked_at, known_at, topic_dismissed_at
  )
  select
    owner_id, identity_id, item_id, first_at, last_at, taken_at, completed_at, dropped_at, dismissed_at, liking,
    liked_at, known_at, topic_dismissed_at
  from deleted
  where owner_id <> person_id
    and privacy.allowed(owner_id, 'personalization')
  on conflict do nothing;
end;
$$;

comment on function recommend._move_taken(bigint[]) is $$
@behavior -*
Moves rows of `recommend.taken` to the people to whom their identities belong now, after links or unlinks.
Rows of people who have opted out of `personalization`, and of identities that do not exist any more, are deleted.
$$;
--! EndIncluded recommend/interactions/_move_taken.sql

--! Included recommend/interactions/_store_topics.sql
create or replace function recommend._store_topics(
  people bigint[],
  allowed bigint[],
  fresh recommend.dismissed_topic[]
)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  -- Rows whose first event is not among those of the person any more: it was moved, or is deleted.
  with suspect as (
    select
      array_agg(stored) as topics,
      track.people_of_identities(array_agg(stored.identity_id), array_agg(stored.first_at)) as owners
    from recommend.dismissed_topic as stored
    where stored.person_id = any (_store_topics.allowed)
      and not exists (
        select
        from unnest(_store_topics.fresh) as fresh
        where fresh.person_id = stored.person_id
          and fresh.topic = stored.topic
          and fresh.first_at = stored.first_at
      )
  ),

  said as (
    select fresh.*
    from unnest(_store_topics.fresh) as fresh

    union all

    select entry.owner_id, entry.topic, entry.dismissed_at, entry.withdrawn_at, entry.identity_id, entry.first_at
    from suspect
    cross join lateral unnest(suspect.topics, suspect.owners) as entry (
      person_id, topic, dismissed_at, withdrawn_at, identity_id, first_at, owner_id
    )
    where entry.owner_id is not null
      and (
        select true
        from track.event
        where event.person_id = entry.owner_id
          and event.occurred_at = entry.first_at
        limit 1
      ) is null
      and privacy.allowed(entry.owner_id, 'personalization')
  ),

  merged as materialized (
    select
      said.person_id,
      said.topic,
      max(said.dismissed_at) as dismissed_at,
      max(said.withdrawn_at) as withdrawn_at,
      (array_agg(said.identity_id order by said.first_at, said.identity_id))[1] as identity_id,
      min(said.first_at) as first_at
    from said
    group by said.person_id, said.topic
  ),

  deleted as (
    delete from recommend.dismissed_topic
    where dismissed_topic.person_id = any (_store_topics.people)
      and not exists (
        select
        from merged
        where merged.person_id = dismissed_topic.person_id
          and merged.topic = dismissed_topic.topic
      )
  )

  -- A row that moves to a person who is not refreshed now is added to hers.
  insert into recommend.dismissed_topic (person_id, topic, dismissed_at, withdrawn_at, identity_id, first_at)
  select merged.person_id, merged.topic, merged.dismissed_at, merged.withdrawn_at, merged.identity_id, merged.first_at
  from merged
  on conflict (person_id, topic) do update
  set
    dismissed_at = case
      when excluded.person_id = any (_store_topics.people) then excluded.dismissed_at
      else greatest(dismissed_topic.dismissed_at, excluded.dismissed_at)
    end,
    withdrawn_at = case
      when excluded.person_id = any (_store_topics.people) then excluded.withdrawn_at
      else greatest(dismissed_topic.withdrawn_at, excluded.withdrawn_at)
    end,
    identity_id = excluded.identity_id,
    first_at = excluded.first_at
  where dismissed_topic is distinct from excluded;
end;
$$;

comment on function recommend._store_topics(bigint[], bigint[], recommend.dismissed_topic[]) is $$
@behavior -*
Replaces the topics that people are not interested in by those computed from their events.
A row whose first event is deleted stays, and follows its identity. `people` are refreshed, `allowed` are those of them
whose data may be used, `fresh` is the result of the computation.
$$;
--! EndIncluded recommend/interactions/_store_topics.sql

--! Included recommend/interactions/refresh_interactions.sql
/*
 * An event can add to, complete or dismiss an interaction, and a merge or an erasure can remove events. Therefore the
 * interactions of the changed people are recomputed from all of their events. Only rows that differ are written.
 */
create or replace function recommend.refresh_interactions(people bigint[], since timestamptz[], until timestamptz[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_by_default constant boolean := (
    select purpose.basis <> 'consent'
    from privacy.purpose
    where purpose.purpose = 'personalization'
  );
  -- With the default "allowed", the decisions that matter are opt-outs; with the default "not allowed", grants.
  v_allowed constant bigint[] := array(
    select distinct changed.person_id
    from unnest(refresh_interactions.people) as changed (person_id)
    where v_by_default <> (
      changed.person_id in (
        select decision.person_id
        from privacy.latest_decisions('personalization', refresh_interactions.people) as decision
        where decision.granted <> v_by_default
      )
    )
  );
  v_topics recommend.dismissed_topic[];
begin
  if exists (select from recommend.taken where taken.person_id = any (refresh_interactions.people)) then
    perform recommend._move_taken(refresh_interactions.people);
  end if;

  with fresh as materialized (
    select interaction.*
    from recommend._interactions_of(v_allowed) as interaction
  ),

  -- Stored interactions whose first event is not among those of the person any more: it was moved, or is deleted.
  suspect as (
    select
      array_agg(interaction.person_id) as people,
      array_agg(interaction.item_id) as items,
      array_agg(interaction.first_at) as first_at,
      array_agg(coalesce(interaction.identity_id, interaction.person_id)) as identity_ids
    from recommend.interaction
    where interaction.person_id = any (v_allowed)
      and not exists (
        select
        from fresh
        where fresh.person_id = interaction.person_id
          and fresh.item_id = interaction.item_id
          and fresh.first_at = interaction.first_at
      )
  ),

  kept as (
    select
      array_agg(taken) as interactions,
      track.people_of_identities(array_agg(taken.identity_id), array_agg(taken.first_at)) as owners
    from suspect
    cross join lateral recommend._kept_of(
      suspect.people, suspect.items, suspect.first_at,
      track.people_of_identities(suspect.identity_ids, suspect.first_at)
    ) as taken
  ),

  stored_taken as (
    insert into recommend.taken (
      person_id, identity_id, item_id, first_at, last_at, taken_at, completed_at, dropped_at, dismissed_at, liking,
      liked_at, known_at, topic_dismissed_at
    )
    select distinct on (entry.owner_id, entry.item_id, entry.identity_id)
      entry.owner_id, entry.identity_id, entry.item_id, entry.first_at, entry.last_at, entry.taken_at,
      entry.completed_at, entry.dropped_at, entry.dismissed_at, entry.liking, entry.liked_at, entry.known_at,
      entry.topic_dismissed_at
    from kept
    cross join lateral unnest(kept.interactions, kept.owners) as entry (
      person_id, identity_id, item_id, first_at, last_at, taken_at, completed_at, dropped_at, dismissed_at, liking,
      liked_at, known_at, topic_dismissed_at, owner_id
    )
    where entry.owner_id is not null
      and num_nonnulls(
        entry.taken_at, entry.completed_at, entry.dropped_at, entry.dismissed_at, entry.liked_at, entry.known_at,
        entry.topic_dismissed_at
      ) > 0
      and privacy.allowed(entry.owner_id, 'personalization')
    order by entry.owner_id, entry.item_id, entry.identity_id, entry.last_at desc
    on conflict (person_id, item_id, identity_id) do update
    set
      first_at = least(taken.first_at, excluded.first_at),
      last_at = greatest(taken.last_at, excluded.last_at),
      taken_at = greatest(taken.taken_at, excluded.taken_at),
      completed_at = greatest(taken.completed_at, excluded.completed_at),
      dropped_at = greatest(taken.dropped_at, excluded.dropped_at),
      dismissed_at = greatest(taken.dismissed_at, excluded.dismissed_at),
      liking = case when excluded.liked_at >= taken.liked_at or taken.liked_at is null then excluded.liking
        else taken.liking end,
      liked_at = greatest(taken.liked_at, excluded.liked_at),
      known_at = greatest(taken.known_at, excluded.known_at),
      topic_dismissed_at = greatest(taken.topic_dismissed_at, excluded.topic_dismissed_at)
  ),

  deleted as (
    delete from recommend.interaction
    where interaction.person_id = any (refresh_interactions.people)
      and not exists (
        select
        from fresh
        where fresh.person_id = interaction.person_id
          and fresh.item_id = interaction.item_id
      )
  ),

  stored as (
    insert into recommend.interaction (
      person_id, item_id, weight, event_count, first_at, last_at, completed_at, dismissed_at, identity_id, dropped_at,
      resumed_at, liking, liked_at, known_at, topic_dismissed_at, withdrawn_at
    )
    select
      person_id, item_id, weight, event_count, first_at, last_at, completed_at, dismissed_at, identity_id, dropped_at,
      resumed_at, liking, liked_at, known_at, topic_dismissed_at, withdrawn_at
    from fresh
    where topic is null
    on conflict (person_id, item_id) do update
    set
      weight = excluded.weight,
      event_count = excluded.event_count,
      first_at = excluded.first_at,
      last_at = excluded.last_at,
      completed_at = excluded.completed_at,
      dismissed_at = excluded.dismissed_at,
      identity_id = excluded.identity_id,
      dropped_at = excluded.dropped_at,
      resumed_at = excluded.resumed_at,
      liking = excluded.liking,
      liked_at = excluded.liked_at,
      known_at = excluded.known_at,
      topic_dismissed_at = excluded.topic_dismissed_at,
      withdrawn_at = excluded.withdrawn_at
    where interaction is distinct from excluded
  )

  select array_agg(
    row(
      fresh.person_id, fresh.topic, fresh.topic_dismissed_at, fresh.withdrawn_at, fresh.identity_id, fresh.first_at
    )::recommend.dismissed_topic
  )
  into v_topics
  from fresh
  where fresh.topic is not null;

  if v_topics is not null
    or exists (
      select from recommend.dismissed_topic where dismissed_topic.person_id = any (refresh_interactions.people)
    )
  then
    perform recommend._store_topics(refresh_interactions.people, v_allowed, v_topics);
  end if;
end;
$$;

comment on function recommend.refresh_interactions(bigint[], timestamptz[], timestamptz[]) is $$
Recomputes `recommend.interaction` for the given people, whose events or decisions changed. Called by `track.refresh`.
All events of these people are read; `since` and `until` are not used. Idempotent, also after late events, merges of
people and deletions. People who have opted out of `personalization` have no interactions. Interactions whose events are
deleted are kept in `recommend.taken` as far as they leave items out of lists.
$$;
--! EndIncluded recommend/interactions/refresh_interactions.sql

--! Included recommend/interactions/rebuild.sql
create or replace function recommend.rebuild()
returns bigint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  return track.rebuild('recommend.interaction');
end;
$$;

comment on function recommend.rebuild() is $$
Marks all interactions as out of date, after a change of `recommend.event_weight`. Returns the number of people.
The next refresh recomputes them from scratch.
$$;

grant execute on function recommend.rebuild() to insights_admin, insights_worker;
--! EndIncluded recommend/interactions/rebuild.sql

--! Included recommend/rules/_person_sets.sql
/* A definer: people may not read the sets. It returns those of the caller, or of any person to those who read all. */
create or replace function recommend._person_sets(person_id bigint)
returns text[]
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
set plan_cache_mode to force_generic_plan
as $$
begin
  if _person_sets.person_id is null
    or _person_sets.person_id <= 0
    or not (
      _person_sets.person_id is not distinct from track.current_person_id()
      or track.reads_all_people()
    )
  then
    return '{}';
  end if;

  return array(
    with recursive served (kind) as (
      select min(ranked_list.kind)
      from recommend.ranked_list

      union all

      select (select min(next.kind) from recommend.ranked_list as next where next.kind > served.kind)
      from served
      where served.kind is not null
    )

    select block.name
    from track.person_set
    join track.person_set_block as block
      on block.name = person_set.name
      and block.block = _person_sets.person_id / 4096
    where get_bit(block.people, (_person_sets.person_id % 4096)::int) <> 0
      and (
        exists (select from recommend.rule where rule.person_set = block.name)
        or exists (
          select
          from served
          join recommend.ranked_list on ranked_list.kind = served.kind and ranked_list.list = block.name
        )
      )
    order by block.name
  );
end;
$$;

comment on function recommend._person_sets(bigint) is $$
@behavior -*
Returns the sets that contain a person, as of the last refresh, of those that a rule or a ranked list names.
Empty unless the person is the caller, or the caller may read the data of all people.
$$;

grant execute on function recommend._person_sets(bigint) to insights_reader, insights_learner;
--! EndIncluded recommend/rules/_person_sets.sql

--! Included recommend/rules/_topics.sql
create or replace function recommend._topics(items bigint[])
returns table (item_id bigint, topic text)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
set plan_cache_mode to force_generic_plan
-- Few rows of small tables: by index, not by reading the table again for each.
set random_page_cost to 1.1
as $$
declare
  v_attribute constant text := (select topic_attribute from recommend.setting);
begin
  return query
  select distinct on (ancestor.item_id) ancestor.item_id, left(known.attributes ->> v_attribute, 500)
  from track.item_ancestor as ancestor
  join track.item as known on known.item_id = ancestor.ancestor_item_id
  where ancestor.item_id = any (_topics.items)
    and known.attributes ->> v_attribute <> ''
  order by ancestor.item_id, ancestor.depth;
end;
$$;

comment on function recommend._topics(bigint[]) is $$
@behavior -*
Returns the topics of items: the attribute `recommend.setting.topic_attribute`.
An item without it has the topic of the nearest item that contains it; there is no row for an item without a topic.
$$;

grant execute on function recommend._topics(bigint[]) to insights_reader, insights_learner;
--! EndIncluded recommend/rules/_topics.sql

--! Included recommend/interactions/_context.sql
create or replace function recommend._context(person_id bigint, identity_id bigint, kind text)
returns recommend.person_context
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
-- The statistics of the queues are often those of empty tables.
set enable_seqscan to off
set plan_cache_mode to force_generic_plan
as $$
declare
  v_person_id constant bigint := _context.person_id;
  v_full_weight constant real := (select full_weight from recommend.setting);
  v_kept_kinds constant text[] := (select kept_kinds from recommend.setting);
  -- Period of the events that are queued for the refresh. In it, the stored interactions are incomplete.
  v_since timestamptz;
  v_until timestamptz;
  v_is_behind boolean;
  v_changed bigint[] := '{}';
  v_first_at timestamptz;
  v_own bigint[] := '{}';
  v_topics text[];
  v_dismissed_at timestamptz[];
  v_withdrawn_at timestamptz[];
  v_topical bigint[];
  v_topical_at timestamptz[];
  v_period interval;
  v_most_items constant int := 500;
  v_context recommend.person_context := row(
    v_person_id, coalesce(_context.identity_id, 0), '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}'
  );
begin
  -- Without consent no data is read.
  if v_person_id is null or not privacy.allowed(v_person_id, 'personalization') then
    return v_context;
  end if;

  select min(queued.since), max(queued.until)
  into v_since, v_until
  from (
    select stale.since, stale.until
    from track.stale
    where stale.person_id = v_person_id

    union all

    select changed.since, changed.until
    from track.changed
    where changed.person_id = v_person_id
      and changed.consumer = 'recommend.interaction'
  ) as queued;
  v_is_behind := v_since is not null;

  -- Items with events in this period are computed from events. The stored interactions of the others are complete.
  if v_since = '-infinity' then
    v_changed := null;
    v_first_at := '-infinity';
  elsif v_is_behind then
    with noticed as materialized (
      select distinct event.item_id
      from track.event
      where event.person_id = v_person_id
        and event.occurred_at between v_since and v_until
        and event.item_id is not null
    )

    select
      coalesce(array_agg(distinct changed.item_id) filter (where changed.item_id is not null), '{}'),
      least(min(changed.first_at), v_since)
    into v_changed, v_first_at
    from (
      select interaction.item_id, interaction.first_at
      from recommend.interaction
      where interaction.person_id = v_person_id
        and (
          interaction.first_at <= v_until and interaction.last_at >= v_since
          or interaction.item_id in (select noticed.item_id from noticed)
        )

      union all

      select noticed.item_id, null
      from noticed

      union all

      -- Of a topic, only the last times are stored.
      select null, '-infinity'
      from recommend.dismissed_topic
      where dismissed_topic.person_id = v_person_id
        and (
          dismissed_topic.dismissed_at between v_since and v_until
          or dismissed_topic.withdrawn_at between v_since and v_until
        )
    ) as changed;
  end if;

  -- Items that the person teaches or wrote, with all that they contain: her use is not that of a learner.
  if exists (select from track.item_role where item_role.person_id = v_person_id) then
    v_own := array(
      select distinct ancestor.item_id
      from track.applied_item_role as item_role
      join track.item_ancestor as ancestor on ancestor.ancestor_item_id = item_role.item_id
      where item_role.person_id = v_person_id
    );
  end if;

  with fresh as materialized (
    select interaction.*
    from recommend._interactions_of(array[v_person_id], v_changed, v_first_at) as interaction
    where v_is_behind
  ),

  -- Stored interactions whose first event is not there any more, which the next refresh may keep.
  suspect as (
    select
      array_agg(interaction.person_id) as people,
      array_agg(interaction.item_id) as items,
      array_agg(interaction.first_at) as first_at,
      array_agg(identity.person_id) as owners
    from recommend.interaction
    join track.identity
      on identity.identity_id = coalesce(interaction.identity_id, interaction.person_id)
      and identity.person_id = interaction.person_id
    where interaction.person_id = v_person_id
      and v_is_behind
      and (v_changed is null or interaction.item_id = any (v_changed))
      and not exists (
        select
        from fresh
        where fresh.item_id = interaction.item_id
          and fresh.first_at = interaction.first_at
      )
  ),

  kept as (
    select taken.*
    from recommend.taken
    where taken.person_id = v_person_id

    union all

    select taken.*
    from suspect
    cross join lateral recommend._kept_of(suspect.people, suspect.items, suspect.first_at, suspect.owners) as taken
    where v_is_behind
  ),

  leaf as materialized (
    select
      interaction.item_id, interaction.weight, interaction.last_at, interaction.completed_at,
      interaction.dismissed_at, interaction.dropped_at, interaction.resumed_at, interaction.liking,
      interaction.liked_at, interaction.known_at, interaction.topic_dismissed_at, interaction.withdrawn_at,
      null as topic, null::timestamptz as taken_at, null::timestamptz as enrolled_at
    from recommend.interaction
    where interaction.person_id = v_person_id
      and (not v_is_behind or interaction.item_id <> all (v_changed))

    union all

    select
      null, null, null, null, null, null, null, null, null, null, dismissed_topic.dismissed_at,
      dismissed_topic.withdrawn_at, dismissed_topic.topic, null, null
    from recommend.dismissed_topic
    where dismissed_topic.person_id = v_person_id
      and (
        v_first_at is distinct from '-infinity'
        -- Deleted events, which the next refresh keeps, too.
        or (
          select true
          from track.event
          where event.person_id = v_person_id
            and event.occurred_at = dismissed_topic.first_at
          limit 1
        ) is null
        and exists (
          select
          from track.identity
          where identity.identity_id = dismissed_topic.identity_id
            and identity.person_id = v_person_id
        )
      )

    union all

    select
      fresh.item_id, fresh.weight, fresh.last_at, fresh.completed_at, fresh.dismissed_at, fresh.dropped_at,
      fresh.resumed_at, fresh.liking, fresh.liked_at, fresh.known_at, fresh.topic_dismissed_at, fresh.withdrawn_at,
      fresh.topic, null, null
    from fresh

    union all

    -- Items that the person had taken before the events were deleted.
    select
      coalesce(item.merged_item_id, item.item_id), 0, kept.last_at, kept.completed_at, kept.dismissed_at,
      kept.dropped_at, null, kept.liking, kept.liked_at, kept.known_at, kept.topic_dismissed_at, null, null,
      kept.taken_at, null
    from kept
    join track.item using (item_id)

    union all

    -- An enrolment that the application reports counts as taken.
    select
      enrolment.item_id, v_full_weight, enrolment.enrolled_at,
      case when enrolment.status = 'completed' then coalesce(enrolment.ended_at, enrolment.enrolled_at) end,
      null,
      case when enrolment.status = 'dropped' then coalesce(enrolment.ended_at, enrolment.enrolled_at) end,
      case when enrolment.status <> 'dropped' then enrolment.enrolled_at end,
      null, null, null, null, null, null, null,
      case when enrolment.status = 'active' then enrolment.enrolled_at end
    from track.enrolment
    where enrolment.person_id = v_person_id
  ),

  -- By arrays, so that the items are looked up by index whatever the size of the catalogue.
  part as materialized (
    select ancestor.item_id, ancestor.ancestor_item_id
    from track.item_ancestor as ancestor
    where ancestor.item_id = any (
      array(
        select leaf.item_id
        from leaf
        where v_own = '{}' or leaf.item_id <> all (v_own)
      )
    )
  ),

  -- Courses too: the person is in them already, which matters for their parts.
  target as materialized (
    select item.item_id, item.kind = _context.kind as is_of_kind
    from track.item
    where item.item_id = any (array(select part.ancestor_item_id from part))
      and (item.kind = _context.kind or item.kind = any (v_kept_kinds))
  ),

  used as (
    select target.item_id, target.is_of_kind, sum(leaf.weight::float8) as weight, max(leaf.last_at) as last_at
    from target
    join part on part.ancestor_item_id = target.item_id
    join leaf on leaf.item_id = part.item_id
    group by target.item_id, target.is_of_kind
  ),

  -- Events that are not only use. Most items of a person have none.
  expressed as materialized (
    select leaf.*
    from leaf
    where num_nonnulls(
        leaf.completed_at, leaf.dismissed_at, leaf.dropped_at, leaf.resumed_at, leaf.liked_at, leaf.known_at,
        leaf.topic_dismissed_at, leaf.withdrawn_at, leaf.topic, leaf.taken_at, leaf.enrolled_at
      ) > 0
  ),

  -- Those of the item itself, not of parts of it.
  said as materialized (
    select
      expressed.item_id,
      max(expressed.completed_at) as completed_at,
      max(expressed.dismissed_at) as dismissed_at,
      max(expressed.dropped_at) as dropped_at,
      max(expressed.resumed_at) as resumed_at,
      (array_agg(expressed.liking order by expressed.liked_at desc nulls last))[1] as liking,
      max(expressed.liked_at) as liked_at,
      max(expressed.known_at) as known_at,
      max(expressed.withdrawn_at) as withdrawn_at,
      max(expressed.taken_at) as taken_at,
      max(expressed.enrolled_at) as enrolled_at
    from expressed
    where expressed.topic is null
      and (v_own = '{}' or expressed.item_id <> all (v_own))
    group by expressed.item_id
  ),

  stated as (
    select
      said.item_id, said.completed_at, said.dismissed_at, said.dropped_at, said.resumed_at, said.withdrawn_at,
      said.taken_at, said.enrolled_at,
      case when said.liked_at > coalesce(said.withdrawn_at, '-infinity') then said.liking end as liking,
      case
        when said.liking > 0 and said.liked_at > coalesce(said.withdrawn_at, '-infinity') then said.liked_at
      end as liked_at,
      coalesce(said.known_at > coalesce(said.withdrawn_at, '-infinity'), false) as is_known
    from said
  ),

  judged as materialized (
    select
      stated.*,
      recommend._is_rejected(stated.dismissed_at, stated.withdrawn_at, stated.resumed_at, stated.liked_at)
        as is_dismissed,
      stated.completed_at is null
        and recommend._is_rejected(stated.dropped_at, null, stated.resumed_at, stated.liked_at) as is_dropped
    from stated
  ),

  listed as (
    select
      used.item_id,
      used.last_at,
      case
        when used.is_of_kind then recommend._strength(
          used.weight, v_full_weight, judged.liking, judged.is_dismissed or judged.is_dropped
        )
        else 0
      end as strength,
      case
        when judged.completed_at is not null then 'completed'
        when judged.is_known then 'known'
        when judged.is_dropped then 'dropped'
        when judged.is_dismissed then 'dismissed'
        when judged.liking < 0 then 'disliked'
        when judged.enrolled_at is not null then 'enrolled'
        when judged.taken_at is not null or used.weight >= v_full_weight then 'taken'
      end as reason
    from used
    left join judged using (item_id)

    union all

    select item.item_id, null, 0, 'own'
    from unnest(v_own) as own (item_id)
    join track.item using (item_id)
    where item.kind = _context.kind
  )

  select
    coalesce(list.items, '{}'), coalesce(list.strengths, '{}'), coalesce(list.left_out, '{}'),
    coalesce(list.reasons, '{}'), coalesce(done.items, '{}'),
    topic.topics, topic.dismissed_at, topic.withdrawn_at, topic.items, topic.items_at
  into
    v_context.items, v_context.strengths, v_context.left_out, v_context.left_out_reasons, v_context.finished,
    v_topics, v_dismissed_at, v_withdrawn_at, v_topical, v_topical_at
  from (
    select
      array_agg(listed.item_id order by listed.last_at, listed.item_id) filter (where listed.strength <> 0) as items,
      array_agg(listed.strength order by listed.last_at, listed.item_id) filter (where listed.strength <> 0)
        as strengths,
      array_agg(listed.item_id order by listed.item_id) filter (where listed.reason is not null) as left_out,
      array_agg(listed.reason order by listed.item_id) filter (where listed.reason is not null) as reasons
    from listed
  ) as list
  cross join (
    select array_agg(judged.item_id order by judged.item_id) as items
    from judged
    where judged.completed_at is not null
      or judged.is_known
  ) as done
  cross join (
    select
      array_agg(said.topic) filter (where said.topic is not null) as topics,
      array_agg(said.dismissed_at) filter (where said.topic is not null) as dismissed_at,
      array_agg(said.withdrawn_at) filter (where said.topic is not null) as withdrawn_at,
      array_agg(said.item_id) filter (where said.topic is null) as items,
      array_agg(said.dismissed_at) filter (where said.topic is null) as items_at
    from (
      select
        expressed.topic, expressed.item_id,
        max(expressed.topic_dismissed_at) as dismissed_at,
        max(expressed.withdrawn_at) as withdrawn_at
      from expressed
      group by expressed.topic, expressed.item_id
    ) as said
    where said.topic is not null
      or said.dismissed_at > coalesce(said.withdrawn_at, '-infinity')
  ) as topic;
  -- The cost of a list is in proportion to these items. What is left out, and what is finished, is complete.
  v_context.items := v_context.items[cardinality(v_context.items) - v_most_items + 1:];
  v_context.strengths := v_context.strengths[cardinality(v_context.strengths) - v_most_items + 1:];

  if num_nonnulls(v_topics, v_topical) > 0 then
    v_context.dismissed_topics := array(
      select said.topic
      from (
        select named.topic, named.dismissed_at, named.withdrawn_at
        from unnest(v_topics, v_dismissed_at, v_withdrawn_at) as named (topic, dismissed_at, withdrawn_at)

        union all

        select item.topic, named.dismissed_at, null
        from unnest(v_topical, v_topical_at) as named (item_id, dismissed_at)
        join recommend._topics(v_topical) as item using (item_id)
      ) as said
      group by said.topic
      having max(said.dismissed_at) > coalesce(max(said.withdrawn_at), '-infinity')
      order by said.topic collate "C"
    );
  end if;

  v_context.person_sets := recommend._person_sets(v_person_id);

  -- Items that were served lately, if a rule leaves them out.
  v_period := recommend._shown_period(v_context, _context.kind);
  if v_period is not null then
    select recent.shown, recent.shown_at into v_context.shown, v_context.shown_at
    from recommend._recently_shown(v_person_id, v_period) as recent;
  end if;

  -- As the application sends it: "de", "pt-BR", "en_GB.UTF-8" or a list of them.
  v_context.languages := array(
    select distinct split_part(replace(lower(btrim(named.language #>> '{}')), '_', '-'), '.', 1)
    from (
      select trait.value
      from track.trait
      where trait.person_id = v_person_id
        and trait.name in ('language', 'languages', 'locale')
      order by trait.name = 'locale', trait.set_at desc, trait.identity_id
      limit 1
    ) as latest
    cross join lateral jsonb_array_elements(
      case jsonb_typeof(latest.value) when 'array' then latest.value else jsonb_build_array(latest.value) end
    ) as named (language)
    where jsonb_typeof(named.language) = 'string'
      and btrim(named.language #>> '{}') <> ''
    order by 1
  );
  return v_context;
end;
$$;

comment on function recommend._context(bigint, bigint, text) is $$
@behavior -*
Returns what a list of items of a kind depends on for a person, as far as the caller may read it.
`items` are the last 500. `left_out` has also the items of `recommend.setting.kept_kinds`, such as the courses of a
page. Events that the refresh has not processed yet are included. All lists are empty for an unknown person, and for one
who has opted out of `personalization`.
$$;

grant execute on function recommend._context(bigint, bigint, text) to insights_reader, insights_learner;
--! EndIncluded recommend/interactions/_context.sql

--! Included recommend/interactions/_my_context.sql
create or replace function recommend._my_context(kind text)
returns recommend.person_context
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_person_id constant bigint := track.current_person_id();
begin
  -- A userId that has sent nothing has no identity, also when a browser has the same name.
  return recommend._context(
    v_person_id,
    case when v_person_id is not null then track.find_identity(current_setting('insights.person', true)) end,
    _my_context.kind
  );
end;
$$;

comment on function recommend._my_context(text) is $$
@behavior -*
Returns the context of the signed-in person (`recommend._context`), or one without a person.
$$;

grant execute on function recommend._my_context(text) to insights_reader;
--! EndIncluded recommend/interactions/_my_context.sql

--! Included recommend/feedback/_sign.sql
create or replace function recommend._sign(
  payload text,
  inner_key bytea,
  outer_key bytea
)
returns text
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  -- plpgsql, because each row of a list is signed: a function in SQL would be planned for each of them.
  return payload || '.' || encode(
    substr(sha256(outer_key || sha256(inner_key || convert_to(payload, 'UTF8'))), 1, 16), 'hex'
  );
end;
$$;

comment on function recommend._sign(text, bytea, bytea) is $$
@behavior -*
Returns the payload followed by a dot and its signature: a nested SHA-256 with two keys, truncated to 128 bits.
The payload of a `serving_id` begins with a digit; what is signed for another use must begin with a letter.
Source: Bellare, Canetti, Krawczyk, Keying hash functions for message authentication, CRYPTO 1996.
$$;
--! EndIncluded recommend/feedback/_sign.sql

--! Included recommend/feedback/_serving_id.sql
create or replace function recommend._serving_id(
  secret recommend.secret,
  model_id bigint,
  item_id bigint,
  rank int,
  propensity float8,
  listed_at timestamptz,
  identity_id bigint,
  basis text,
  pool bigint[] default null
)
returns text
language sql
stable
parallel safe
begin atomic
  select recommend._sign(
    concat_ws(
      '.',
      coalesce(_serving_id.model_id, 0),
      _serving_id.item_id,
      _serving_id.rank,
      coalesce(round(_serving_id.propensity * 1000000000), 0)::bigint,
      floor(extract(epoch from _serving_id.listed_at) * 1000)::bigint,
      coalesce(_serving_id.identity_id, 0),
      _serving_id.basis,
      nullif(array_to_string(_serving_id.pool, '-'), '')
    ),
    (_serving_id.secret).inner_key,
    (_serving_id.secret).outer_key
  );
end;

comment on function recommend._serving_id(
  recommend.secret, bigint, bigint, int, float8, timestamptz, bigint, text, bigint[]
) is $$
@behavior -*
Returns the `serving_id` of a row of a list, which `recommend._read_serving_id` reads.
`model.item.rank.propensity.time.identity.basis.signature`, or, for a marked slot, `….basis.pool.signature`.
Model and identity are 0 for null. The propensity is in billionths, 0 for rows that were not drawn; the time in
milliseconds since 1970: that of the transaction (`now()`), or `recommend._record_impressions` refuses the row. The pool
are the keys of the items from which the one of a marked slot was drawn, joined by `-`.
$$;
--! EndIncluded recommend/feedback/_serving_id.sql

--! Included recommend/feedback/_read_serving_id.sql
/* A definer: no role may read the keys. It returns what the id itself contains. */
create or replace function recommend._read_serving_id(serving_id text)
returns recommend.serving
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_payload text;
  v_fields text[];
  v_serving recommend.serving;
begin
  -- The longest id is that of a slot with a pool of 1,000 items.
  if _read_serving_id.serving_id is null or length(_read_serving_id.serving_id) not between 33 and 20000 then
    v_serving.problem := 'is not the serving_id of a list';
    return v_serving;
  end if;

  v_payload := left(_read_serving_id.serving_id, -33);
  if not exists (
    select
    from recommend.secret
    where recommend._sign(v_payload, secret.inner_key, secret.outer_key) = _read_serving_id.serving_id
  ) then
    v_serving.problem := case
      when _read_serving_id.serving_id ~ '^[0-9]+\..*\.[0-9a-f]{32}$' then 'has an invalid signature'
      else 'is not the serving_id of a list'
    end;
    return v_serving;
  end if;

  -- From here on, the content is what this installation has signed.
  -- Pages are signed by the same keys.
  if starts_with(v_payload, 'page.') then
    v_serving.problem := 'is the next_page of a list, not a serving_id';
    return v_serving;
  end if;
  v_fields := string_to_array(v_payload, '.');
  if cardinality(v_fields) not between 7 and 8 or v_payload !~ '^[0-9]' then
    v_serving.problem := 'was made by an earlier release';
    return v_serving;
  end if;
  v_serving.serving_key := right(_read_serving_id.serving_id, 32)::uuid;
  v_serving.model_id := nullif(v_fields[1]::bigint, 0);
  v_serving.item_id := v_fields[2]::bigint;
  v_serving.rank := v_fields[3]::int;
  v_serving.propensity := nullif(v_fields[4]::bigint, 0) / 1e9::float8;
  v_serving.listed_at := to_timestamp(v_fields[5]::bigint / 1000.0);
  v_serving.identity_id := nullif(v_fields[6]::bigint, 0);
  v_serving.basis := v_fields[7];
  v_serving.pool := string_to_array(v_fields[8], '-')::bigint[];
  return v_serving;
end;
$$;

comment on function recommend._read_serving_id(text) is $$
@behavior -*
Returns the content of a `serving_id`, after the check of its signature: see `recommend._serving_id`.
Of an invalid id, only `problem` is returned. The age and the person are checked by the caller.
$$;

grant execute on function recommend._read_serving_id(text) to insights_reader, insights_learner;
--! EndIncluded recommend/feedback/_read_serving_id.sql

--! Included recommend/feedback/_event_types_named.sql
create or replace function recommend._event_types_named(name text)
returns int[]
language sql
stable
parallel safe
begin atomic
  with recursive renamed as (
    select event_type.event_type_id
    from track.event_type
    where event_type.name = _event_types_named.name

    union

    select event_type.event_type_id
    from renamed
    join track.event_type on event_type.former_event_type_id = renamed.event_type_id
  )

  select coalesce(array_agg(event_type.event_type_id), '{}')
  from track.event_type
  where event_type.event_type_id in (select renamed.event_type_id from renamed)
    or event_type.merged_event_type_id in (select renamed.event_type_id from renamed);
end;

comment on function recommend._event_types_named(text) is $$
@behavior -*
Returns the event types of messages that mean the event of a name.
The one of this name, those to which it was renamed, and those that were merged into one of them.
$$;

grant execute on function recommend._event_types_named(text) to insights_reader, insights_learner;
--! EndIncluded recommend/feedback/_event_types_named.sql

--! Included recommend/feedback/_named_servings.sql
create or replace function recommend._named_servings(people bigint[], since timestamptz[], until timestamptz[])
returns setof recommend.impression
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_serving_period constant interval := (select serving_period from recommend.setting);
  -- The clock of a client may be behind.
  v_tolerance constant interval := (select clock_tolerance from track.setting);
  v_people bigint[];
  v_servings recommend.serving[];
  v_owners bigint[];
begin
  with named as materialized (
    select
      event.person_id, event.occurred_at,
      recommend._read_serving_id(event.properties ->> 'servingId') as serving
    from unnest(_named_servings.people, _named_servings.since, _named_servings.until)
      as period (person_id, since, until)
    join track.event
      on event.person_id = period.person_id
      and event.occurred_at >= period.since
      and event.occurred_at <= period.until
    where event.properties ? 'servingId'
      and event.person_id <> 0
  ),

  valid as (
    select distinct on (named.person_id, (named.serving).serving_key) named.person_id, named.serving
    from named
    where (named.serving).problem is null
      and named.occurred_at >= (named.serving).listed_at - v_tolerance
      and named.occurred_at <= (named.serving).listed_at + v_serving_period
    order by named.person_id, (named.serving).serving_key
  )

  select array_agg(valid.person_id), array_agg(valid.serving)
  into v_people, v_servings
  from valid;
  if v_people is null then
    return;
  end if;

  v_owners := track.people_of_identities(
    array(select serving.identity_id from unnest(v_servings) with ordinality as serving order by serving.ordinality),
    array(select serving.listed_at from unnest(v_servings) with ordinality as serving order by serving.ordinality)
  );
  return query
  select
    entry.person_id, entry.serving_key, entry.identity_id, entry.model_id, entry.item_id, entry.rank, entry.basis,
    entry.propensity, entry.pool, entry.listed_at, false, null::timestamptz, null::timestamptz, null::timestamptz,
    null::timestamptz, null::real, null::timestamptz, null::timestamptz
  from (
    select named.*, serving.*
    from unnest(v_people, v_owners) with ordinality as named (person_id, owner_id, position)
    join unnest(v_servings) with ordinality as serving on serving.ordinality = named.position
  ) as entry
  where entry.identity_id is null
    or entry.owner_id = entry.person_id;
end;
$$;

comment on function recommend._named_servings(bigint[], timestamptz[], timestamptz[]) is $$
@behavior -*
Returns the rows of lists that events of the given periods of people name by their `servingId`, without the answers.
An id counts when its signature is valid, when the identity for which the list was made belongs to the person, and when
the event is at most `recommend.setting.serving_period` later than the list.
$$;
--! EndIncluded recommend/feedback/_named_servings.sql

--! Included recommend/feedback/_answers.sql
create or replace function recommend._answers(servings recommend.impression[])
returns setof recommend.impression
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_setting constant recommend.setting := (select setting from recommend.setting);
  -- The clock of a client may be behind.
  v_tolerance constant interval := (select clock_tolerance from track.setting);
  v_clicked constant int[] := recommend._event_types_named('Recommendation Clicked');
  v_named constant record := recommend._event_names();
begin
  return query
  with serving as materialized (
    select given.*
    from unnest(_answers.servings) as given
  ),

  span as materialized (
    select
      serving.person_id,
      min(serving.listed_at) - v_tolerance as since,
      max(serving.listed_at) + greatest(v_setting.serving_period, v_setting.attribution_period) as until
    from serving
    group by serving.person_id
  ),

  weighed as materialized (
    select named.event_type_id, event_weight.*
    from unnest(v_named.event_type_ids, v_named.events) as named (event_type_id, event)
    join recommend.event_weight on event_weight.event = named.event
  ),

  said as materialized (
    select
      event.person_id, event.occurred_at, event.event_id, event.item_id, event.named_item_id,
      coalesce(event.named_event_type_id, event.event_type_id) as event_type_id,
      case
        when event.properties ? 'servingId' then recommend._read_serving_id(event.properties ->> 'servingId')
      end as serving,
      weighed.completes, weighed.dismisses,
      -- With a topic, it is the dismissal of the topic that is withdrawn.
      weighed.withdraws and nullif(event.properties ->> 'topic', '') is null as withdraws,
      coalesce(
        weighed.liking,
        case
          when jsonb_typeof(event.properties -> weighed.value_property) = 'number'
            then recommend._rating_to_liking(
              (event.properties ->> weighed.value_property)::float8, weighed.value_from, weighed.value_to
            )
        end
      ) as liking
    from span
    join track.event
      on event.person_id = span.person_id
      and event.occurred_at >= span.since
      and event.occurred_at <= span.until
    left join weighed on weighed.event_type_id = coalesce(event.named_event_type_id, event.event_type_id)
    where event.properties ? 'servingId'
      or weighed.completes
      or weighed.withdraws
  ),

  -- An answer acts on the item of its event. It is one to the row when this is the item of the row, under any name.
  answered as (
    select
      serving.person_id, serving.serving_key,
      min(said.occurred_at) as seen_at,
      min(said.occurred_at) filter (
        where said.event_type_id = any (v_clicked) and (said.item_id is null or about_row.is_true)
      ) as clicked_at,
      max(said.occurred_at) filter (where said.dismisses and about_row.is_true) as dismissed_at,
      max(said.occurred_at) filter (where said.liking is not null and about_row.is_true) as liked_at,
      (
        array_agg(said.liking order by said.occurred_at desc, said.event_id desc)
        filter (where said.liking is not null and about_row.is_true)
      )[1] as liking
    from serving
    join track.item as recommended on recommended.item_id = serving.item_id
    join said
      on said.person_id = serving.person_id
      and (said.serving).serving_key = serving.serving_key
      and said.occurred_at >= serving.listed_at - v_tolerance
      and said.occurred_at <= serving.listed_at + v_setting.serving_period
    cross join lateral (
      select coalesce(
        serving.item_id in (said.item_id, said.named_item_id) or recommended.merged_item_id = said.item_id, false
      ) as is_true
    ) as about_row
    group by serving.person_id, serving.serving_key
  ),

  -- Of an item as it was named, or as it is called since a merge: both change only with the event.
  about as (
    select said.person_id, said.item_id, said.occurred_at, said.completes, said.withdraws
    from said
    where said.completes
      or said.withdraws

    union all

    select said.person_id, said.named_item_id, said.occurred_at, said.completes, said.withdraws
    from said
    where said.named_item_id is not null
      and (said.completes or said.withdraws)

    union all

    select enrolment.person_id, enrolled.item_id, enrolment.ended_at, true, false
    from span
    join track.enrolment on enrolment.person_id = span.person_id
    cross join lateral (values (enrolment.item_id), (enrolment.named_item_id)) as enrolled (item_id)
    where enrolment.status = 'completed'
  ),

  withdrawn as (
    select by_row.person_id, by_row.serving_key, max(by_row.occurred_at) as withdrawn_at
    from (
      select serving.person_id, serving.serving_key, serving.listed_at, about.occurred_at
      from serving
      join about
        on about.person_id = serving.person_id
        and about.item_id = serving.item_id
      where about.withdraws

      union all

      -- Of a row under an earlier name of the item.
      select serving.person_id, serving.serving_key, serving.listed_at, said.occurred_at
      from serving
      join track.item as recommended on recommended.item_id = serving.item_id
      join said
        on said.person_id = serving.person_id
        and (said.serving).serving_key = serving.serving_key
        and said.item_id = recommended.merged_item_id
      where said.withdraws
    ) as by_row
    where by_row.occurred_at >= by_row.listed_at
      and by_row.occurred_at <= by_row.listed_at + v_setting.serving_period
    group by by_row.person_id, by_row.serving_key
  ),

  completed as (
    select serving.person_id, serving.serving_key, min(about.occurred_at) as completed_at
    from serving
    join about
      on about.person_id = serving.person_id
      and about.item_id = serving.item_id
      and about.occurred_at >= serving.listed_at
      and about.occurred_at <= serving.listed_at + v_setting.attribution_period
    where about.completes
    group by serving.person_id, serving.serving_key
  )

  select
    serving.person_id, serving.serving_key, serving.identity_id, serving.model_id, serving.item_id, serving.rank,
    serving.basis, serving.propensity, serving.pool, serving.listed_at, serving.is_served,
    answered.seen_at,
    answered.clicked_at,
    case when answered.dismissed_at > coalesce(withdrawn.withdrawn_at, '-infinity') then answered.dismissed_at end,
    case when answered.liked_at > coalesce(withdrawn.withdrawn_at, '-infinity') then answered.liked_at end,
    case when answered.liked_at > coalesce(withdrawn.withdrawn_at, '-infinity') then answered.liking end,
    withdrawn.withdrawn_at,
    completed.completed_at
  from serving
  left join answered
    on answered.person_id = serving.person_id
    and answered.serving_key = serving.serving_key
  left join withdrawn
    on withdrawn.person_id = serving.person_id
    and withdrawn.serving_key = serving.serving_key
  left join completed
    on completed.person_id = serving.person_id
    and completed.serving_key = serving.serving_key;
end;
$$;

comment on function recommend._answers(recommend.impression[]) is $$
@behavior -*
Computes the answers of people to rows of lists from all of their events, as `recommend.impression` describes them.
The people are those of the rows; the answers in the rows themselves are ignored.
$$;
--! EndIncluded recommend/feedback/_answers.sql

--! Included recommend/feedback/refresh_impressions.sql
create or replace function recommend._move_impressions(people bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  -- The lists of the people: identities and times, with the person to whom each belongs now.
  v_identity_ids bigint[];
  v_times timestamptz[];
  v_owners bigint[];
  v_moved recommend.impression[];
begin
  select array_agg(list.identity_id), array_agg(list.listed_at)
  into v_identity_ids, v_times
  from (
    select distinct impression.identity_id, impression.listed_at
    from recommend.impression
    where impression.person_id = any (_move_impressions.people)
      and impression.identity_id is not null
  ) as list;
  v_owners := track.people_of_identities(v_identity_ids, v_times);

  select array_agg(impression) into v_moved
  from unnest(v_identity_ids, v_times, v_owners) as list (identity_id, listed_at, person_id)
  join recommend.impression
    on impression.person_id = any (_move_impressions.people)
    and impression.identity_id = list.identity_id
    and impression.listed_at = list.listed_at
  where list.person_id is distinct from impression.person_id;
  if v_moved is null then
    return;
  end if;

  delete from recommend.impression
  using unnest(v_moved) as moved
  where impression.person_id = moved.person_id
    and impression.serving_key = moved.serving_key;

  -- An identity that is gone leaves no person to whom the row was served.
  insert into recommend.impression (
    person_id, serving_key, identity_id, model_id, item_id, rank, basis, propensity, pool, listed_at, is_served
  )
  select
    list.person_id, moved.serving_key, moved.identity_id, moved.model_id, moved.item_id, moved.rank, moved.basis,
    moved.propensity, moved.pool, moved.listed_at, true
  from unnest(v_moved) as moved
  join unnest(v_identity_ids, v_times, v_owners) as list (identity_id, listed_at, person_id)
    on list.identity_id = moved.identity_id
    and list.listed_at = moved.listed_at
  where list.person_id is not null
    and moved.is_served
  on conflict (person_id, serving_key) do update
  set is_served = true;

  -- The other person may have been refreshed before.
  perform track.queue_people(
    'recommend.impression',
    array(
      select distinct list.person_id
      from unnest(v_identity_ids, v_times, v_owners) as list (identity_id, listed_at, person_id)
      join unnest(v_moved) as moved on moved.identity_id = list.identity_id and moved.listed_at = list.listed_at
      where list.person_id is not null
    )
  );
end;
$$;

comment on function recommend._move_impressions(bigint[]) is $$
Moves the impressions of the given people whose identity belongs to another person now, and queues these people.
$$;

create or replace function recommend._touched_impressions(
  people bigint[],
  since timestamptz[],
  until timestamptz[],
  named recommend.impression[]
)
returns setof recommend.impression
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_setting constant recommend.setting := (select setting from recommend.setting);
  v_horizon constant interval := greatest(v_setting.serving_period, v_setting.attribution_period);
  v_tolerance constant interval := (select clock_tolerance from track.setting);
  -- For all other people, only events that name a list matter.
  v_known constant bigint[] := array(
    select distinct impression.person_id
    from recommend.impression
    where impression.person_id = any (_touched_impressions.people)
  );
  v_weights constant record := recommend._event_names();
begin
  return query
  select entry.*
  from unnest(_touched_impressions.named) as entry
  where not exists (
    select
    from recommend.impression
    where impression.person_id = entry.person_id
      and impression.serving_key = entry.serving_key
  );
  if v_known = '{}' then
    return;
  end if;

  return query
  with period as materialized (
    select changed.person_id, changed.since, changed.until
    from unnest(_touched_impressions.people, _touched_impressions.since, _touched_impressions.until)
      as changed (person_id, since, until)
    where changed.person_id = any (v_known)
  ),

  -- Events that matter for the rows of their item, whether they name a list or not.
  about as materialized (
    select event.person_id, event.item_id, event.named_item_id, event.occurred_at
    from period
    join track.event
      on event.person_id = period.person_id
      and event.occurred_at >= period.since
      and event.occurred_at <= period.until
    where event.item_id is not null
      and coalesce(event.named_event_type_id, event.event_type_id) in (
        select weighed.event_type_id
        from unnest(v_weights.event_type_ids, v_weights.events) as weighed (event_type_id, event)
        join recommend.event_weight on event_weight.event = weighed.event
        where event_weight.completes
          or event_weight.withdraws
      )
  )

  select distinct on (touched.person_id, touched.serving_key) touched.*
  from (
    select impression.*
    from unnest(_touched_impressions.named) as entry
    join recommend.impression
      on impression.person_id = entry.person_id
      and impression.serving_key = entry.serving_key

    union all

    select impression.*
    from period
    join recommend.impression
      on impression.person_id = period.person_id
      and impression.listed_at >= period.since - v_horizon
      and impression.listed_at <= period.until + v_tolerance
    where period.since = '-infinity'
      or impression.seen_at between period.since and period.until
      or impression.clicked_at between period.since and period.until
      or impression.dismissed_at between period.since and period.until
      or impression.liked_at between period.since and period.until
      or impression.withdrawn_at between period.since and period.until
      or impression.completed_at between period.since and period.until

    union all

    select impression.*
    from about
    join recommend.impression
      on impression.person_id = about.person_id
      and impression.item_id in (about.item_id, about.named_item_id)
      and impression.listed_at >= about.occurred_at - v_horizon
      and impression.listed_at <= about.occurred_at
  ) as touched;
end;
$$;

comment on function recommend._touched_impressions(bigint[], timestamptz[], timestamptz[], recommend.impression[]) is $$
@behavior -*
Returns the rows whose answers may differ after a change of events in the given periods of people.
Those that events of the periods name (`named`), those with an answer in a period, and those whose item was finished or
withdrawn in one.
$$;

/*
 * An event can be added, deleted, moved by a merge of people or withdrawn by a later one. Therefore the answers to a
 * row are computed from all events of the person since the list was made, whenever one of them may have changed.
 */
create or replace function recommend.refresh_impressions(people bigint[], since timestamptz[], until timestamptz[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_by_default constant boolean := (
    select purpose.basis <> 'consent'
    from privacy.purpose
    where purpose.purpose = 'personalization'
  );
  -- With the default "allowed", the decisions that matter are opt-outs; with the default "not allowed", grants.
  v_refused constant bigint[] := array(
    select distinct changed.person_id
    from unnest(refresh_impressions.people) as changed (person_id)
    where v_by_default = (
      changed.person_id in (
        select decision.person_id
        from privacy.latest_decisions('personalization', refresh_impressions.people) as decision
        where decision.granted <> v_by_default
      )
    )
  );
  v_named recommend.impression[];
  v_touched recommend.impression[];
begin
  if v_refused <> '{}' then
    delete from recommend.impression
    where impression.person_id = any (v_refused);
  end if;
  perform recommend._move_impressions(array(
    select distinct changed.person_id
    from unnest(refresh_impressions.people, refresh_impressions.since) as changed (person_id, since)
    where changed.since = '-infinity'
  ));

  v_named := array(
    select named
    from recommend._named_servings(
      refresh_impressions.people, refresh_impressions.since, refresh_impressions.until
    ) as named
    where named.person_id <> all (v_refused)
  );
  v_touched := array(
    select touched
    from recommend._touched_impressions(
      refresh_impressions.people, refresh_impressions.since, refresh_impressions.until, v_named
    ) as touched
  );
  if v_touched = '{}' then
    return;
  end if;

  with fresh as materialized (
    select answered.*
    from recommend._answers(v_touched) as answered
  ),

  -- A row that was not served is there only because of an event.
  deleted as (
    delete from recommend.impression
    using fresh
    where impression.person_id = fresh.person_id
      and impression.serving_key = fresh.serving_key
      and fresh.seen_at is null
      and not impression.is_served
  )

  insert into recommend.impression (
    person_id, serving_key, identity_id, model_id, item_id, rank, basis, propensity, pool, listed_at, is_served,
    seen_at, clicked_at, dismissed_at, liked_at, liking, withdrawn_at, completed_at
  )
  select
    fresh.person_id, fresh.serving_key, fresh.identity_id, fresh.model_id, fresh.item_id, fresh.rank, fresh.basis,
    fresh.propensity, fresh.pool, fresh.listed_at, fresh.is_served,
    fresh.seen_at, fresh.clicked_at, fresh.dismissed_at, fresh.liked_at, fresh.liking, fresh.withdrawn_at,
    fresh.completed_at
  from fresh
  where fresh.seen_at is not null
    or fresh.is_served
  on conflict (person_id, serving_key) do update
  set
    seen_at = excluded.seen_at,
    clicked_at = excluded.clicked_at,
    dismissed_at = excluded.dismissed_at,
    liked_at = excluded.liked_at,
    liking = excluded.liking,
    withdrawn_at = excluded.withdrawn_at,
    completed_at = excluded.completed_at
  where (
    impression.seen_at, impression.clicked_at, impression.dismissed_at, impression.liked_at, impression.liking,
    impression.withdrawn_at, impression.completed_at
  ) is distinct from (
    excluded.seen_at, excluded.clicked_at, excluded.dismissed_at, excluded.liked_at, excluded.liking,
    excluded.withdrawn_at, excluded.completed_at
  );
end;
$$;

comment on function recommend.refresh_impressions(bigint[], timestamptz[], timestamptz[]) is $$
Recomputes `recommend.impression` for the given people and periods. Called by `track.refresh`.
Their events, enrolments, identities or decisions have changed.
The answers are the same in any order of arrival, also after late events, merges of people and deletions. People who
have opted out of `personalization` have no rows.
$$;
--! EndIncluded recommend/feedback/refresh_impressions.sql

--! Included recommend/feedback/_record_impressions.sql
/*
 * A definer: no role may write impressions. The rows are those of signed ids of this very transaction, so that a caller
 * can record only what was listed for the person.
 */
create or replace function recommend._record_impressions(serving_ids text[])
returns void
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_servings constant recommend.serving[] := array(
    select recommend._read_serving_id(given.serving_id)
    from unnest(_record_impressions.serving_ids) with ordinality as given (serving_id, position)
    order by given.position
  );
  v_listed_at constant timestamptz := date_trunc('milliseconds', now());
  v_reads_all constant boolean := track.reads_all_people();
  -- A list for no person is shown to the one who is signed in.
  v_identity_ids constant bigint[] := array(
    select coalesce(
      serving.identity_id,
      case
        when not v_reads_all and track.current_person_id() is not null
          then track.find_identity(current_setting('insights.person', true))
      end
    )
    from unnest(v_servings) with ordinality as serving
    order by serving.ordinality
  );
  v_owners bigint[];
begin
  if exists (
    select
    from unnest(v_servings) as serving
    where serving.problem is not null
      or serving.listed_at <> v_listed_at
  ) then
    perform common.refuse('CF005', 'a row was not listed in this transaction',
      'Call recommend.serve_me, serve_person or serve_items.');
  end if;

  -- The persons of the identities must not change until the end of the transaction.
  perform identity.identity_id
  from track.identity
  where identity.identity_id = any (v_identity_ids)
  order by identity.identity_id
  for key share;
  v_owners := track.people_of_identities(
    v_identity_ids,
    array(select serving.listed_at from unnest(v_servings) with ordinality as serving order by serving.ordinality)
  );
  if not v_reads_all and exists (
    select
    from unnest(v_owners) as owner (person_id)
    where owner.person_id <> coalesce(track.current_person_id(), 0)
  ) then
    perform common.refuse('CF005', 'a row was listed for another person',
      'Learners can record only what was listed for themselves.');
  end if;

  insert into recommend.impression (
    person_id, serving_key, identity_id, model_id, item_id, rank, basis, propensity, pool, listed_at, is_served
  )
  select distinct on (owned.person_id, serving.serving_key)
    owned.person_id, serving.serving_key, v_identity_ids[serving.ordinality], serving.model_id, serving.item_id,
    serving.rank, serving.basis, serving.propensity, serving.pool, serving.listed_at, true
  from unnest(v_servings) with ordinality as serving
  join unnest(v_owners) with ordinality as owned (person_id, position) on owned.position = serving.ordinality
  where owned.person_id in (
    select entry.person_id
    from (select distinct given.person_id from unnest(v_owners) as given (person_id)) as entry
    where entry.person_id <> 0
      and privacy.allowed(entry.person_id, 'personalization')
  )
  order by owned.person_id, serving.serving_key
  on conflict (person_id, serving_key) do update
  set is_served = true
  where not impression.is_served;
end;
$$;

comment on function recommend._record_impressions(text[]) is $$
@behavior -*
Records rows of lists of this transaction as served, each once, by their `serving_id`.
A row that was listed for no person is recorded for the learner who is signed in, and otherwise not. Rows of people who
have opted out of `personalization` are not recorded.
Errors: CF005 for an id that is invalid, of another transaction, or, for learners, of another person.
$$;

grant execute on function recommend._record_impressions(text[])
to insights_visitor, insights_learner, insights_admin, insights_worker;
--! EndIncluded recommend/feedback/_record_impressions.sql

--! Included recommend/feedback/_recently_shown.sql
create or replace function recommend._recently_shown(
  person_id bigint,
  period interval,
  out shown bigint[],
  out shown_at timestamptz[]
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_since constant timestamptz := now() - _recently_shown.period;
  -- Whether events are queued for the refresh. Then the stored rows are incomplete.
  v_is_behind constant boolean := exists (
    select from track.stale where stale.person_id = _recently_shown.person_id
  ) or exists (
    select
    from track.changed
    where changed.person_id = _recently_shown.person_id
      and changed.consumer = 'recommend.impression'
  );
  v_shown constant int[] := case
    when v_is_behind then recommend._event_types_named('Recommendation Shown')
  end;
begin
  select
    coalesce(array_agg(latest.item_id order by latest.item_id), '{}'),
    coalesce(array_agg(latest.shown_at order by latest.item_id), '{}')
  into _recently_shown.shown, _recently_shown.shown_at
  from (
    select coalesce(item.merged_item_id, item.item_id) as item_id, max(entry.shown_at) as shown_at
    from (
      select impression.item_id, greatest(impression.seen_at, impression.listed_at) as shown_at
      from recommend.impression
      where impression.person_id = _recently_shown.person_id

      union all

      select event.item_id, event.occurred_at
      from track.event
      where event.person_id = _recently_shown.person_id
        and event.occurred_at >= v_since
        and coalesce(event.named_event_type_id, event.event_type_id) = any (v_shown)
    ) as entry
    join track.item on item.item_id = entry.item_id
    where entry.shown_at >= v_since
    group by coalesce(item.merged_item_id, item.item_id)
  ) as latest;
end;
$$;

comment on function recommend._recently_shown(bigint, interval) is $$
@behavior -*
Returns the items that were served to a person or seen by her within a period before now, with the last time of each.
As far as the caller may read them. Events `Recommendation Shown` that the refresh has not processed yet are included.
$$;

grant execute on function recommend._recently_shown(bigint, interval) to insights_reader, insights_learner;
--! EndIncluded recommend/feedback/_recently_shown.sql

--! Included recommend/rules/_rules_of.sql
create or replace function recommend._rules_of(context recommend.person_context, kind text, at timestamptz)
returns setof recommend.rule
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  select rule.*
  from recommend.rule
  where rule.is_active
    and (rule.kind is null or rule.kind = _rules_of.kind)
    and (rule.active_from is null or rule.active_from <= _rules_of.at)
    and (rule.active_until is null or rule.active_until > _rules_of.at)
    and (
      rule.person_set is null
      or (rule.person_set = any (coalesce((_rules_of.context).person_sets, '{}'))) <> rule.is_outside_set
    );
end;
$$;

comment on function recommend._rules_of(recommend.person_context, text, timestamptz) is $$
@behavior -*
Returns the rules that apply to a list of a kind for a person at a time.
$$;
--! EndIncluded recommend/rules/_rules_of.sql

--! Included recommend/rules/_shown_period.sql
/*
 * A definer: people may not read the rules. Learners execute it through recommend._context: for them, the sets are
 * their own ones, whatever the context states.
 */
create or replace function recommend._shown_period(context recommend.person_context, kind text)
returns interval
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_context recommend.person_context := _shown_period.context;
begin
  if v_context.person_sets <> '{}' and not track.reads_all_people() then
    v_context.person_sets := recommend._person_sets(track.current_person_id());
  end if;
  return (
    select max(known.period)
    from recommend._rules_of(v_context, _shown_period.kind, now()) as known
    where known.action = 'not_again'
  );
end;
$$;

comment on function recommend._shown_period(recommend.person_context, text) is $$
@behavior -*
Returns for how long an item that was served is left out of a list; null when no rule leaves it out.
$$;

grant execute on function recommend._shown_period(recommend.person_context, text)
to insights_reader, insights_learner;
--! EndIncluded recommend/rules/_shown_period.sql

--! Included recommend/rules/_matching_rules.sql
create or replace function recommend._matching_rules(rules recommend.rule[], items bigint[])
returns table (item_id bigint, name text, action text, amount float8)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
set plan_cache_mode to force_generic_plan
-- Few rows of small tables: by index, not by reading the table again for each.
set random_page_cost to 1.1
as $$
begin
  if _matching_rules.rules is null then
    return;
  end if;

  return query
  with rule as materialized (
    select given.*
    from unnest(_matching_rules.rules) as given
  ),

  candidate as materialized (
    select
      item.item_id,
      item.attributes,
      replace(lower(item.language), '_', '-') as language,
      -- All names of the item.
      case when exists (select from rule where rule.has_items) then array(
        select distinct listed.name
        from track.item as known
        join recommend.rule_item as listed on listed.item_id = known.item_id
        where known.item_id = item.item_id
          or known.merged_item_id = item.item_id
      ) end as listing_rules,
      case when exists (select from rule where rule.within_item_id is not null) then array(
        select distinct coalesce(known.merged_item_id, known.item_id)
        from track.item_ancestor as ancestor
        join track.item as known on known.item_id = ancestor.ancestor_item_id
        where ancestor.item_id = item.item_id
      ) end as ancestors
    from track.item
    where item.item_id = any (_matching_rules.items)
  ),

  -- A subtree of an item that was merged is that of its target.
  placed as materialized (
    select
      rule.*,
      coalesce(root.merged_item_id, root.item_id) as root_item_id,
      -- One of the conditions, by which the pairs are found: an item is not compared with each of many rules.
      case
        when rule.has_items then 'item'
        when rule.within_item_id is not null then 'within'
        else coalesce(rule.attribute, '')
      end as condition,
      case
        when rule.has_items then rule.name
        when rule.within_item_id is not null then coalesce(root.merged_item_id, root.item_id)::text
        else coalesce(rule.attribute_value, '')
      end as value,
      rule.has_items or rule.within_item_id is not null as is_place
    from rule
    left join track.item as root on root.item_id = rule.within_item_id
  ),

  -- Each pair once: then there is no need to remove duplicates.
  fulfilled as (
    select candidate.item_id, true as is_place, 'item' as condition, listing.name as value
    from candidate
    cross join lateral unnest(candidate.listing_rules) as listing (name)

    union all

    select candidate.item_id, true, 'within', ancestor.item_id::text
    from candidate
    cross join lateral unnest(candidate.ancestors) as ancestor (item_id)

    union all

    select candidate.item_id, false, named.attribute, candidate.attributes ->> named.attribute
    from candidate
    cross join (
      select distinct placed.attribute from placed where not placed.is_place and placed.attribute is not null
    ) as named

    union all

    select candidate.item_id, false, named.attribute, entry.value
    from candidate
    cross join (
      select distinct placed.attribute from placed where not placed.is_place and placed.attribute is not null
    ) as named
    cross join lateral (
      select distinct element.value #>> '{}' as value
      from jsonb_array_elements(
        case jsonb_typeof(candidate.attributes -> named.attribute)
          when 'array' then candidate.attributes -> named.attribute
        end
      ) as element (value)
      where jsonb_typeof(element.value) = 'string'
    ) as entry

    union all

    select candidate.item_id, false, '', ''
    from candidate
    where exists (select from placed where placed.condition = '')
  )

  select candidate.item_id, placed.name, placed.action, placed.amount
  from placed
  join fulfilled using (is_place, condition, value)
  join candidate using (item_id)
  where (placed.root_item_id is null or placed.root_item_id = any (candidate.ancestors))
    and (
      placed.language is null
      or candidate.language = placed.language
      or starts_with(candidate.language, placed.language || '-')
    )
    and (
      placed.attribute is null
      or candidate.attributes ->> placed.attribute = placed.attribute_value
      or (
        jsonb_typeof(candidate.attributes -> placed.attribute) = 'array'
        and candidate.attributes -> placed.attribute ? placed.attribute_value
      )
    );
end;
$$;

comment on function recommend._matching_rules(recommend.rule[], bigint[]) is $$
@behavior -*
Returns the pairs of an item and a rule whose conditions it fulfils.
$$;
--! EndIncluded recommend/rules/_matching_rules.sql

--! Included recommend/rules/_unmet_prerequisites.sql
create or replace function recommend._unmet_prerequisites(
  items bigint[],
  parts bigint[],
  finished bigint[],
  started bigint[],
  at timestamptz
)
returns table (item_id bigint, detail text)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
set plan_cache_mode to force_generic_plan
-- Few rows of small tables: by index, not by reading the table again for each.
set random_page_cost to 1.1
as $$
begin
  return query
  with recursive holder as (
    select given.item_id, given.item_id as holder_id
    from unnest(_unmet_prerequisites.items) as given (item_id)

    union all

    -- A course that the person is in already has no more prerequisites for its parts.
    select ancestor.item_id, ancestor.ancestor_item_id
    from track.item_ancestor as ancestor
    where ancestor.item_id = any (_unmet_prerequisites.parts)
      and ancestor.depth > 0
      and ancestor.ancestor_item_id not in (
        select known.item_id from unnest(_unmet_prerequisites.started) as known (item_id)
      )
  ),

  unmet as materialized (
    select holder.item_id, holder.holder_id, prerequisite.required_item_id
    from holder
    join track.prerequisite on prerequisite.item_id = holder.holder_id
    where prerequisite.required_item_id not in (
        select known.item_id from unnest(_unmet_prerequisites.finished) as known (item_id)
      )
      -- An item that has ended cannot be finished any more.
      and not exists (
        select
        from track.item_ancestor as outer_item
        join track.item as known on known.item_id = outer_item.ancestor_item_id
        where outer_item.item_id = prerequisite.required_item_id
          and known.available_until <= _unmet_prerequisites.at
      )
  ),

  -- Items that come before the required one: its prerequisites, and those of the items that contain it.
  earlier as (
    select unmet.holder_id, unmet.required_item_id, unmet.required_item_id as item_id
    from unmet

    union

    select earlier.holder_id, earlier.required_item_id, next.item_id
    from earlier
    cross join lateral (
      select prerequisite.required_item_id as item_id
      from track.prerequisite
      where prerequisite.item_id = earlier.item_id

      union all

      select known.parent_item_id
      from track.item as known
      where known.item_id = earlier.item_id
    ) as next
    where earlier.item_id <> earlier.holder_id
      and next.item_id is not null
  ),

  missing as (
    select distinct unmet.item_id, unmet.required_item_id
    from unmet
    where not exists (
      select
      from earlier
      where earlier.holder_id = unmet.holder_id
        and earlier.required_item_id = unmet.required_item_id
        and earlier.item_id = unmet.holder_id
    )
  )

  select
    missing.item_id,
    'Requires '
      || array_to_string(
        (array_agg(left(coalesce(item.title, item.external_id), 100) order by item.item_id))[1:3], ', '
      )
      || case when count(*) > 3 then format(' and %s more', count(*) - 3) else '' end
      || case when count(*) > 1 then ', which are not finished' else ', which is not finished' end
  from missing
  join track.item on item.item_id = missing.required_item_id
  group by missing.item_id;
end;
$$;

comment on function recommend._unmet_prerequisites(
  bigint[], bigint[], bigint[], bigint[], timestamptz
) is $$
@behavior -*
Returns the items that require others which are not among the finished ones, with a sentence that names those.
The prerequisites of an item that contains it count too, unless that one is among the started ones; `parts` are items
that are part of another one. Ignored are prerequisites that are part of a circle, which no person could begin, and
those that have ended (`available_until`).
$$;
--! EndIncluded recommend/rules/_unmet_prerequisites.sql

--! Included recommend/rules/_time_text.sql
create or replace function recommend._time_text(moment timestamptz)
returns text
language sql
stable
parallel safe
begin atomic
  select to_char(_time_text.moment at time zone 'UTC', 'YYYY-MM-DD HH24:MI') || ' UTC';
end;

comment on function recommend._time_text(timestamptz) is $$
@behavior -*
Returns a time as text in UTC, whatever the settings of the session; null for an infinite one.
$$;
--! EndIncluded recommend/rules/_time_text.sql

--! Included recommend/rules/_blocked.sql
/*
 * The only place that decides what is left out. The order is that of the branches of the union: the first one that
 * leaves an item out is its reason. Branches that no rule needs are not executed.
 */
create or replace function recommend._blocked(
  context recommend.person_context,
  kind text,
  items bigint[],
  at timestamptz
)
returns table (item_id bigint, rule text, detail text)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
set plan_cache_mode to force_generic_plan
-- Few rows of small tables: by index, not by reading the table again for each.
set random_page_cost to 1.1
as $$
declare
  v_left_out constant bigint[] := (_blocked.context).left_out;
  v_topics constant text[] := (_blocked.context).dismissed_topics;
  v_finished constant bigint[] := coalesce((_blocked.context).finished, '{}');
  v_started constant bigint[] := array(
    select state.item_id
    from unnest(v_left_out, (_blocked.context).left_out_reasons) as state (item_id, reason)
    where state.reason in ('enrolled', 'taken', 'completed', 'known')
  );
  v_languages constant text[] := array(
    select split_part(replace(lower(spoken.language), '_', '-'), '-', 1)
    from unnest((_blocked.context).languages) as spoken (language)
  );
  v_shown constant bigint[] := (_blocked.context).shown;
  -- Items that are part of another one, and those with a capacity.
  v_parts bigint[];
  v_limited bigint[];
  v_rules record;
begin
  -- Items of several kinds: each by the rules of its own kind.
  if _blocked.kind is null then
    return query
    select left_out.*
    from (
      select coalesce(item.kind, 'unknown') as kind, array_agg(given.item_id) as items
      from unnest(_blocked.items) as given (item_id)
      left join track.item on item.item_id = given.item_id
      group by coalesce(item.kind, 'unknown')
    ) as part
    cross join lateral recommend._blocked(_blocked.context, part.kind, part.items, _blocked.at) as left_out;
    return;
  end if;

  -- Of several rules of the same check, the first by name is reported, and the longest period applies.
  select
    min(known.name) filter (where known.action = 'topic') as topic,
    min(known.name) filter (where known.action = 'availability') as availability,
    min(known.name) filter (where known.action = 'prerequisites') as prerequisites,
    min(known.name) filter (where known.action = 'capacity') as capacity,
    min(known.name) filter (where known.action = 'language') as language,
    min(known.name) filter (where known.action = 'not_again') as not_again,
    max(known.period) as period,
    array_agg(known) filter (where known.action = 'exclude') as excluding,
    array_agg(known) filter (where known.action = 'include') as including,
    min(known.name) filter (where known.action = 'include') as include
  into v_rules
  from recommend._rules_of(_blocked.context, _blocked.kind, _blocked.at) as known;

  select
    coalesce(array_agg(item.item_id) filter (where item.parent_item_id is not null), '{}'),
    coalesce(array_agg(item.item_id) filter (where item.attributes ->> 'capacity' ~ '^[0-9]{1,9}$'), '{}')
  into v_parts, v_limited
  from track.item
  where item.item_id = any (_blocked.items);

  return query
  with candidate as materialized (
    select
      given.item_id, item.kind, item.merged_item_id, item.language, item.attributes, item.available_from,
      item.available_until
    from (select distinct entry.item_id from unnest(_blocked.items) as entry (item_id)) as given
    left join track.item on item.item_id = given.item_id
  ),

  left_out as (
    select
      1 as place,
      candidate.item_id,
      case when candidate.merged_item_id is not null then 'merged' else 'kind' end as rule,
      case
        when candidate.kind is null then 'Not a known item'
        when candidate.merged_item_id is not null then 'Another name of an item'
        else format('An item of kind "%s", not "%s"', candidate.kind, left(_blocked.kind, 100))
      end as detail
    from candidate
    where candidate.kind is distinct from _blocked.kind
      or candidate.merged_item_id is not null

    union all

    select
      2,
      candidate.item_id,
      state.reason,
      case state.reason
        when 'own' then 'Taught or written by the person'
        when 'completed' then 'Finished already'
        when 'known' then 'Known already'
        when 'enrolled' then 'Enrolled already'
        when 'taken' then 'Taken already'
        when 'dropped' then 'Dropped earlier'
        when 'dismissed' then 'Dismissed earlier'
        when 'disliked' then 'Disliked'
        else state.reason
      end
    from candidate
    join unnest(v_left_out, (_blocked.context).left_out_reasons) as state (item_id, reason)
      on state.item_id = candidate.item_id

    union all

    select 3, known.item_id, v_rules.topic, format('The topic "%s" was dismissed', left(known.topic, 100))
    from recommend._topics(_blocked.items) as known
    where v_rules.topic is not null
      and v_topics <> '{}'
      and known.topic = any (v_topics)

    union all

    -- Of the item, or else of the nearest item that contains it.
    (
      select distinct on (dated.item_id)
        4,
        dated.item_id,
        v_rules.availability,
        case
          when dated.available_until <= _blocked.at
            then coalesce('Not available since ' || recommend._time_text(dated.available_until), 'Not available')
          else coalesce('Available from ' || recommend._time_text(dated.available_from), 'Not available')
        end
      from (
        select candidate.item_id, 0 as depth, candidate.available_from, candidate.available_until
        from candidate

        union all

        select ancestor.item_id, ancestor.depth, known.available_from, known.available_until
        from track.item_ancestor as ancestor
        join track.item as known on known.item_id = ancestor.ancestor_item_id
        where ancestor.item_id = any (v_parts)
          and ancestor.depth > 0
      ) as dated
      where v_rules.availability is not null
        and (dated.available_until <= _blocked.at or dated.available_from > _blocked.at)
      order by dated.item_id, dated.depth
    )

    union all

    select 5, unmet.item_id, v_rules.prerequisites, unmet.detail
    from recommend._unmet_prerequisites(
      _blocked.items, v_parts, v_finished, v_started, _blocked.at
    ) as unmet
    where v_rules.prerequisites is not null

    union all

    select
      6,
      candidate.item_id,
      v_rules.capacity,
      format('Full: all %s places are taken', candidate.attributes ->> 'capacity')
    from candidate
    left join (
      select enrolment.item_id, count(distinct enrolment.person_id) as people
      from track.enrolment
      where enrolment.item_id = any (v_limited)
        and enrolment.status = 'active'
      group by enrolment.item_id
    ) as taken using (item_id)
    where v_rules.capacity is not null
      and candidate.item_id = any (v_limited)
      and coalesce(taken.people, 0) >= (candidate.attributes ->> 'capacity')::int

    union all

    select
      7,
      candidate.item_id,
      v_rules.language,
      format('In the language "%s"', left(candidate.language, 100))
    from candidate
    where v_rules.language is not null
      and v_languages <> '{}'
      and split_part(replace(lower(candidate.language), '_', '-'), '-', 1) <> all (v_languages)

    union all

    select
      8,
      candidate.item_id,
      v_rules.not_again,
      'Shown on ' || recommend._time_text(served.shown_at)
    from candidate
    join unnest(v_shown, (_blocked.context).shown_at) as served (item_id, shown_at)
      on served.item_id = candidate.item_id
    where v_rules.not_again is not null
      and served.shown_at > _blocked.at - v_rules.period

    union all

    select 9, matched.item_id, min(matched.name), 'Not offered at present'
    from recommend._matching_rules(v_rules.excluding, _blocked.items) as matched
    where v_rules.excluding is not null
    group by matched.item_id

    union all

    select 10, candidate.item_id, v_rules.include, 'Not among the items that are offered at present'
    from candidate
    where v_rules.including is not null
      and candidate.item_id not in (
        select matched.item_id
        from recommend._matching_rules(v_rules.including, _blocked.items) as matched
      )
  )

  select distinct on (left_out.item_id) left_out.item_id, left_out.rule, left_out.detail
  from left_out
  order by left_out.item_id, left_out.place;
end;
$$;

comment on function recommend._blocked(recommend.person_context, text, bigint[], timestamptz) is $$
@behavior -*
Returns those of the given items that are not recommended to a person at a time, each with the first rule for it.
In this order: another kind or name of an item, what the person did (`left_out_reasons`), a dismissed topic,
availability, prerequisites, capacity, language, shown lately, rules that exclude the item, rules that include only
others. Availability and prerequisites are also those of the items that contain it, but without the prerequisites of
one that the person is in already. `kind` null: items of any kind, each by the rules of its own.
$$;
--! EndIncluded recommend/rules/_blocked.sql

--! Included recommend/rules/_boosts.sql
create or replace function recommend._boosts(
  context recommend.person_context,
  kind text,
  items bigint[]
)
returns table (item_id bigint, rule text, amount float8)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_rules constant recommend.rule[] := (
    select array_agg(known)
    from recommend._rules_of(_boosts.context, _boosts.kind, now()) as known
    where known.action = 'boost'
  );
begin
  if v_rules is null then
    return;
  end if;
  return query
  select matched.item_id, matched.name, matched.amount
  from recommend._matching_rules(v_rules, _boosts.items) as matched;
end;
$$;

comment on function recommend._boosts(recommend.person_context, text, bigint[]) is $$
@behavior -*
Returns the amounts that rules add to the scores of the given items: one row per item and rule.
$$;
--! EndIncluded recommend/rules/_boosts.sql

--! Included recommend/rules/_pins.sql
create or replace function recommend._pins(
  context recommend.person_context,
  kind text
)
returns table (item_id bigint, place int, rule text)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
as $$
begin
  return query
  with pinned as (
    -- An item that several rules pin has the first of these places.
    select distinct on (coalesce(given.merged_item_id, given.item_id))
      coalesce(given.merged_item_id, given.item_id) as item_id,
      known.place + listed.position - 1 as place,
      known.name
    from recommend._rules_of(_pins.context, _pins.kind, now()) as known
    join recommend.rule_item as listed on listed.name = known.name
    join track.item as given on given.item_id = listed.item_id
    where known.action = 'pin'
    order by coalesce(given.merged_item_id, given.item_id), known.place + listed.position - 1, known.name
  )

  select pinned.item_id, pinned.place, pinned.name
  from pinned
  order by pinned.place, pinned.name, pinned.item_id;
end;
$$;

comment on function recommend._pins(recommend.person_context, text) is $$
@behavior -*
Returns the items that rules pin, in the order of their places.
Several items may have the same place: the later one takes the next place that is free. Whether an item may be
recommended is decided by `recommend._blocked`.
$$;
--! EndIncluded recommend/rules/_pins.sql

--! Included recommend/rules/_explore.sql
create or replace function recommend._explore(
  context recommend.person_context,
  items bigint[],
  top int,
  pinned bigint[] default '{}'
)
returns table (item_id bigint, place int, propensity float8, pool bigint[])
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
set plan_cache_mode to force_generic_plan
as $$
declare
  v_rows constant int := least(_explore.top, cardinality(_explore.items));
  v_slots int[];
  v_person constant bigint := (_explore.context).person_id;
begin
  if v_person is not null then
    v_slots := array(
      select distinct slot.place
      from recommend.setting
      cross join lateral unnest(setting.explored_slots) as slot (place)
      where slot.place <= v_rows
        and _explore.items[slot.place] <> all (_explore.pinned)
    );
  end if;
  if coalesce(cardinality(v_slots), 0) = 0 then
    return query
    select listed.item_id, listed.place::int, null::float8, null::bigint[]
    from unnest(_explore.items[:v_rows]) with ordinality as listed (item_id, place);
    return;
  end if;

  return query
  with listed as materialized (
    select
      entry.item_id,
      entry.place::int as place,
      entry.place <= v_rows and entry.item_id = any (_explore.pinned) as is_pinned
    from unnest(_explore.items) with ordinality as entry (item_id, place)
  ),

  -- The ranks that are neither pinned nor drawn, and the items that they get in their order.
  open_rank as (
    select rank.place, row_number() over (order by rank.place) as n
    from generate_series(1, v_rows) as rank (place)
    where rank.place <> all (v_slots)
      and rank.place not in (select listed.place from listed where listed.is_pinned)
  ),

  queued as (
    select listed.item_id, row_number() over (order by listed.place) as n
    from listed
    where not listed.is_pinned
  ),

  -- The best items that have no rank. One more draw of the day does not depend on the others: the order is by item.
  pool as (
    select
      queued.item_id,
      row_number() over (
        order by
          sha256(
            (select secret.inner_key from recommend.secret)
              || int8send(v_person) || int8send(extract(julian from now() at time zone 'UTC')::bigint)
              || int8send(queued.item_id)
          )
      ) as n,
      count(*) over () as size
    from queued
    where queued.n > (select count(*) from open_rank)
      and queued.n <= (select count(*) from open_rank)
        + greatest((select setting.explored_pool_size from recommend.setting), cardinality(v_slots))
  )

  select queued.item_id, open_rank.place, null::float8, null::bigint[]
  from open_rank
  join queued using (n)

  union all

  select listed.item_id, listed.place, null, null
  from listed
  where listed.is_pinned

  union all

  select
    pool.item_id,
    slot.place,
    1.0::float8 / pool.size,
    array(select member.item_id from pool as member order by member.item_id)
  from (
    select entry.place, row_number() over (order by entry.place) as n
    from unnest(v_slots) as entry (place)
  ) as slot
  join pool using (n)
  order by 2;
end;
$$;

comment on function recommend._explore(recommend.person_context, bigint[], int, bigint[]) is $$
@behavior -*
Returns the first `top` of the items in their order, with items that are drawn at random in the marked ranks.
Those of `recommend.setting.explored_slots` are drawn from the best `explored_pool_size` items that have no other rank,
with equal probability, which is `propensity`; `pool` are these items.
`items` are those that may be recommended, best first; `pinned` those that keep their ranks. A draw is repeated within
a day (UTC): the order of the pool is that of a hash with a secret key, the person, the day and the item. There is no
draw for unknown people.
$$;
--! EndIncluded recommend/rules/_explore.sql

--! Included recommend/rules/_diversify.sql
/* The candidates are compared once; each step then changes the penalties by the item that was chosen last. */
create or replace function recommend._choose_unlike(items bigint[], scores float8[], top int, diversity float8)
returns int[]
language plpgsql
stable
parallel safe
set search_path from current
set jit to off
as $$
declare
  v_count constant int := cardinality(_choose_unlike.items);
  v_similarities float8[];
  v_penalties float8[] := array_fill(0::float8, array[v_count]);
  v_chosen int[] := '{}';
  v_is_chosen boolean[] := array_fill(false, array[v_count]);
  v_best int;
  v_best_value float8;
  v_value float8;
begin
  with known as materialized (
    select given.place, topics.topic, item_vector.content
    from unnest(_choose_unlike.items) with ordinality as given (item_id, place)
    left join recommend._topics(_choose_unlike.items) as topics using (item_id)
    left join recommend.item_vector using (item_id)
  ),

  -- Before the sort, so that it does not carry the vectors.
  pair as materialized (
    select
      known.place,
      other.place as other_place,
      case when known.topic = other.topic then 0.5 else 0 end
        + 0.5 * greatest(coalesce(-(known.content <#> other.content), 0), 0) as similarity
    from known
    cross join known as other
  )

  select array_agg(pair.similarity order by pair.place, pair.other_place) into v_similarities
  from pair;

  for v_step in 1..least(_choose_unlike.top, v_count) loop
    v_best := null;
    for v_place in 1..v_count loop
      if not v_is_chosen[v_place] then
        v_value := (1 - _choose_unlike.diversity) * _choose_unlike.scores[v_place]
          - _choose_unlike.diversity * v_penalties[v_place];
        if v_best is null or v_value > v_best_value then
          v_best := v_place;
          v_best_value := v_value;
        end if;
      end if;
    end loop;
    v_chosen := v_chosen || v_best;
    v_is_chosen[v_best] := true;
    for v_place in 1..v_count loop
      v_penalties[v_place] := greatest(v_penalties[v_place], v_similarities[(v_best - 1) * v_count + v_place]);
    end loop;
  end loop;
  return v_chosen;
end;
$$;

comment on function recommend._choose_unlike(bigint[], float8[], int, float8) is $$
@behavior -*
Returns the positions of `top` of the items by maximal marginal relevance.
Each has the highest (1 − diversity) score − diversity · (similarity to the most similar item before it).
The similarity is 1/2 for the same topic, plus half of the cosine of the contents (`recommend.item_vector`).
Source: Carbonell, Goldstein, The use of MMR, diversity-based reranking for reordering documents and producing
summaries, SIGIR 1998.
$$;

create or replace function recommend._choose_calibrated(
  context recommend.person_context,
  items bigint[],
  scores float8[],
  top int,
  diversity float8
)
returns int[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_smoothing constant float8 := 0.01;
  v_count constant int := cardinality(_choose_calibrated.items);
  -- Topics of the person with their shares, and the number of chosen items of each.
  v_topics text[];
  v_shares float8[];
  v_chosen_counts int[];
  -- Position of the topic of each candidate in `v_topics`; 0 for another topic or none.
  v_candidate_topics int[];
  v_chosen int[] := '{}';
  v_is_chosen boolean[] := array_fill(false, array[v_count]);
  -- Divergence without a further item of a topic of the person, and its change by one of each topic.
  v_divergence float8;
  v_changes float8[];
  v_best int;
  v_best_value float8;
  v_value float8;
begin
  select array_agg(liked.topic order by liked.topic), array_agg(liked.share order by liked.topic)
  into v_topics, v_shares
  from (
    select known.topic, sum(used.strength::float8) / sum(sum(used.strength::float8)) over () as share
    from unnest((_choose_calibrated.context).items, (_choose_calibrated.context).strengths)
      as used (item_id, strength)
    join recommend._topics((_choose_calibrated.context).items) as known using (item_id)
    where used.strength > 0
    group by known.topic
  ) as liked;
  if v_topics is null then
    return array(select generate_series(1, least(_choose_calibrated.top, v_count)));
  end if;

  v_candidate_topics := array(
    select coalesce(array_position(v_topics, known.topic), 0)
    from unnest(_choose_calibrated.items) with ordinality as given (item_id, place)
    left join recommend._topics(_choose_calibrated.items) as known using (item_id)
    order by given.place
  );
  v_chosen_counts := array_fill(0, array[cardinality(v_topics)]);

  for v_step in 1..least(_choose_calibrated.top, v_count) loop
    -- The Kullback-Leibler divergence of the topics of the list from those of the person.
    v_divergence := 0;
    v_changes := '{}';
    for v_topic in 1..cardinality(v_topics) loop
      v_value := v_shares[v_topic] * ln(
        v_shares[v_topic]
          / ((1 - v_smoothing) * v_chosen_counts[v_topic] / v_step + v_smoothing * v_shares[v_topic])
      );
      v_divergence := v_divergence + v_value;
      v_changes := v_changes || v_shares[v_topic] * ln(
        v_shares[v_topic]
          / ((1 - v_smoothing) * (v_chosen_counts[v_topic] + 1) / v_step + v_smoothing * v_shares[v_topic])
      ) - v_value;
    end loop;

    v_best := null;
    for v_place in 1..v_count loop
      if not v_is_chosen[v_place] then
        v_value := (1 - _choose_calibrated.diversity) * _choose_calibrated.scores[v_place]
          - _choose_calibrated.diversity * (v_divergence + coalesce(v_changes[v_candidate_topics[v_place]], 0));
        if v_best is null or v_value > v_best_value then
          v_best := v_place;
          v_best_value := v_value;
        end if;
      end if;
    end loop;
    v_chosen := v_chosen || v_best;
    v_is_chosen[v_best] := true;
    if v_candidate_topics[v_best] > 0 then
      v_chosen_counts[v_candidate_topics[v_best]] := v_chosen_counts[v_candidate_topics[v_best]] + 1;
    end if;
  end loop;
  return v_chosen;
end;
$$;

comment on function recommend._choose_calibrated(recommend.person_context, bigint[], float8[], int, float8) is $$
@behavior -*
Returns the positions of `top` of the items by calibration to the topics of the person.
Each has the highest (1 − diversity) score − diversity · divergence. The divergence is that of the topics of the list
with this item from the topics of the items that the person likes.
Items without a topic count in the length of the list. Without topics of the person, the order is that of the items.
Source: Steck, Calibrated recommendations, RecSys 2018, with α = 0.01.
$$;

create or replace function recommend._diversify(
  context recommend.person_context,
  items bigint[],
  scores float8[],
  top int,
  diversity float8
)
returns bigint[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  -- The time grows with the number of places times the number of candidates.
  v_places constant int := least(_diversify.top, 100);
  v_count constant int := least(cardinality(_diversify.items), 300);
  v_lowest float8;
  v_range float8;
  v_scores float8[];
  v_chosen int[];
begin
  if coalesce(_diversify.diversity, 0) = 0 or v_count < 3 then
    return _diversify.items;
  end if;

  -- Scores of models have any unit: the candidates get 0 to 1.
  select min(entry.score), nullif(max(entry.score) - min(entry.score), 0) into v_lowest, v_range
  from unnest(_diversify.scores[:v_count]) as entry (score);
  v_scores := array(
    select coalesce((entry.score - v_lowest) / v_range, 0)
    from unnest(_diversify.scores[:v_count]) with ordinality as entry (score, place)
    order by entry.place
  );

  v_chosen := case (select setting.diversity_method from recommend.setting)
    when 'similarity' then recommend._choose_unlike(
      _diversify.items[:v_count], v_scores, v_places, _diversify.diversity
    )
    else recommend._choose_calibrated(
      _diversify.context, _diversify.items[:v_count], v_scores, v_places, _diversify.diversity
    )
  end;
  return array(
    select entry.item_id
    from unnest(_diversify.items) with ordinality as entry (item_id, place)
    order by array_position(v_chosen, entry.place::int), entry.place
  );
end;
$$;

comment on function recommend._diversify(recommend.person_context, bigint[], float8[], int, float8) is $$
@behavior -*
Returns the items in an order in which the first `top` are diverse, by `recommend.setting.diversity_method`.
They are given best first, with their scores; the items after the first `top` follow in their order.
`diversity` is the weight against the scores: 0 or null leaves the order, 1 does not use the scores, which are scaled to
0 to 1. The first 300 items are candidates for the first 100 places.
$$;
--! EndIncluded recommend/rules/_diversify.sql

--! Included recommend/rules/_check_rule.sql
create or replace function recommend._check_rule(rule recommend.rule)
returns void
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_rule constant recommend.rule := _check_rule.rule;
  v_checks constant text[] := '{topic,availability,prerequisites,capacity,language,not_again}';
  v_actions constant text[] := v_checks || '{exclude,include,boost,pin}';
  -- Lists name the state of an item in the place of a rule.
  v_states constant text[] :=
    '{own,completed,known,enrolled,taken,dropped,dismissed,disliked,kind,merged,rank,excluded}';
  v_has_condition constant boolean := v_rule.has_items or v_rule.within_item_id is not null
    or v_rule.attribute is not null or v_rule.language is not null;
begin
  if v_rule.name is null or length(v_rule.name) > 100 or v_rule.name !~ '^[a-z][a-z0-9_]*([.][a-z0-9_]+)*$' then
    perform common.refuse(
      'CF001',
      format('"%s" cannot be the name of a rule', coalesce(left(v_rule.name, 100), 'null')),
      'Use lower case letters, digits and "_", with "." between parts, and at most 100 characters.'
    );
  elsif v_rule.name = any (v_states) then
    perform common.refuse('CF001', format('"%s" cannot be the name of a rule', v_rule.name),
      'It names a state of an item for a person: choose another name.');
  elsif v_rule.action is null or v_rule.action <> all (v_actions) then
    perform common.refuse(
      'CF001',
      format('the action is %s', coalesce('"' || left(v_rule.action, 100) || '"', 'null')),
      'Use one of ' || array_to_string(v_actions, ', ') || '.'
    );
  end if;

  -- Arguments that the action needs, or has no use for.
  if v_rule.action = 'boost' then
    if v_rule.amount is null or not v_rule.amount between -1000000 and 1000000 then
      perform common.refuse('CF001', format('amount is %s', coalesce(v_rule.amount::text, 'null')),
        'Give the number that is added to the scores, from -1000000 to 1000000.');
    end if;
  elsif v_rule.amount is not null then
    perform common.refuse('CF001', format('amount is %s', v_rule.amount), 'Only a boost has an amount.');
  end if;
  if v_rule.action = 'pin' then
    if v_rule.place is null or not v_rule.place between 1 and 1000 then
      perform common.refuse('CF001', format('place is %s', coalesce(v_rule.place::text, 'null')),
        'Give the rank of the first item, from 1 to 1000.');
    end if;
    if not v_rule.has_items then
      perform common.refuse('CF001', 'the rule pins no items', 'Give the names of items.');
    end if;
  elsif v_rule.place is not null then
    perform common.refuse('CF001', format('place is %s', v_rule.place), 'Only a pin has a place.');
  end if;
  if v_rule.action = 'not_again' then
    if v_rule.period is null or not (v_rule.period > '0' and v_rule.period <= '10 years') then
      perform common.refuse('CF001', format('period is %s', coalesce(v_rule.period::text, 'null')),
        'Give the period for which an item is left out, up to 10 years.');
    end if;
  elsif v_rule.period is not null then
    perform common.refuse('CF001', format('period is %s', v_rule.period), 'Only "not_again" has a period.');
  end if;

  if (v_rule.attribute is null) <> (v_rule.attribute_value is null) then
    perform common.refuse(
      'CF001',
      format(
        'attribute is %s and attribute_value is %s',
        coalesce('"' || left(v_rule.attribute, 50) || '"', 'null'),
        coalesce('"' || left(v_rule.attribute_value, 50) || '"', 'null')
      ),
      'Give both, or none.'
    );
  elsif length(v_rule.attribute) > 200 or length(v_rule.attribute_value) > 1000 then
    perform common.refuse('CF008', format('attribute and attribute_value have %s and %s characters',
      length(v_rule.attribute), length(v_rule.attribute_value)), 'They have at most 200 and 1000.');
  elsif not exists (select from track.item where item.attributes ? v_rule.attribute)
    and v_rule.attribute is not null
  then
    perform common.refuse(
      'CF002',
      format('no item has the attribute "%s"', left(v_rule.attribute, 100)),
      coalesce(
        'Did you mean "'
          || common.nearest_name(
            v_rule.attribute,
            array(
              select distinct attribute.name
              from (select item.attributes from track.item where item.attributes <> '{}' limit 1000) as item
              cross join lateral jsonb_object_keys(item.attributes) as attribute (name)
              order by attribute.name
              limit 1000
            )
          )
          || '"?',
        'Attributes are the keys of track.item.attributes.'
      )
    );
  elsif v_rule.language !~ '^[a-z]{2,8}(-[a-z0-9]{1,8})*$' or length(v_rule.language) > 35 then
    perform common.refuse('CF001', format('"%s" is not a language', left(v_rule.language, 100)),
      'Give a language as in track.item.language, such as "de" or "pt-br".');
  end if;
  if v_rule.action in ('exclude', 'include', 'boost') then
    if not v_has_condition and v_rule.kind is null then
      perform common.refuse('CF001', format('the rule "%s" has no condition', v_rule.name),
        'Give items, within_item, an attribute, a language or a kind.');
    end if;
  elsif v_has_condition and (v_rule.action <> 'pin'
    or v_rule.within_item_id is not null or v_rule.attribute is not null or v_rule.language is not null)
  then
    perform common.refuse('CF001', format('a rule with the action "%s" has conditions', v_rule.action),
      'Only rules that exclude, include or boost have conditions; a pin has items.');
  end if;

  if v_rule.kind is not null and not exists (select from track.item where item.kind = v_rule.kind) then
    perform common.refuse(
      'CF002',
      format('there is no item of kind "%s"', left(v_rule.kind, 100)),
      'There are '
        || coalesce((select string_agg(distinct item.kind, ', ' order by item.kind) from track.item), 'no items yet')
        || '.'
    );
  elsif v_rule.is_outside_set and v_rule.person_set is null then
    perform common.refuse('CF001', 'is_outside_set is true without a person_set', 'Give the name of a set of people.');
  elsif v_rule.active_from >= v_rule.active_until then
    perform common.refuse(
      'CF001',
      format('active_until is %s', recommend._time_text(v_rule.active_until)),
      'Give a time after active_from.'
    );
  end if;
end;
$$;

comment on function recommend._check_rule(recommend.rule) is $$
@behavior -*
Raises CF001, CF002 or CF008 for a rule that cannot be stored, with the value that is invalid.
$$;
--! EndIncluded recommend/rules/_check_rule.sql

--! Included recommend/rules/_log_rule.sql
create or replace function recommend._log_rule(name text)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  insert into recommend.rule_log (name, settings, actor)
  values (
    _log_rule.name,
    (
      select
        jsonb_strip_nulls(to_jsonb(rule) - '{name,has_items,within_item_id}'::text[] || jsonb_build_object(
          'within_item', (select item.external_id from track.item where item.item_id = rule.within_item_id),
          'items', (
            select jsonb_agg(item.external_id order by rule_item.position)
            from recommend.rule_item
            join track.item using (item_id)
            where rule_item.name = rule.name
          )
        ))
      from recommend.rule
      where rule.name = _log_rule.name
    ),
    common.author()
  );
end;
$$;

comment on function recommend._log_rule(text) is $$
@behavior -*
Adds the present columns of a rule to the log, with the caller.
$$;
--! EndIncluded recommend/rules/_log_rule.sql

--! Included recommend/rules/set_rule.sql
create or replace function recommend.set_rule(
  name text,
  action text,
  items text[] default null,
  within_item text default null,
  attribute text default null,
  attribute_value text default null,
  language text default null,
  kind text default null,
  person_set text default null,
  is_outside_set boolean default false,
  active_from timestamptz default null,
  active_until timestamptz default null,
  amount float8 default null,
  place int default null,
  period interval default null,
  is_active boolean default true
)
returns recommend.rule
language plpgsql
volatile
-- A definer: it writes the rules and their log, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
-- The log and the messages do not depend on the settings of the session.
set timezone to 'UTC'
set datestyle to 'ISO'
set intervalstyle to 'postgres'
as $$
declare
  v_rule recommend.rule;
begin
  perform recommend._find_items(set_rule.items);
  if set_rule.within_item is not null then
    perform recommend._find_items(array[set_rule.within_item]);
  end if;
  if set_rule.person_set is not null then
    perform track.is_in_person_set(set_rule.person_set, 0);
  end if;

  v_rule.name := set_rule.name;
  v_rule.action := set_rule.action;
  v_rule.kind := set_rule.kind;
  v_rule.has_items := set_rule.items is not null;
  v_rule.within_item_id := (select item.item_id from track.item where item.external_id = set_rule.within_item);
  v_rule.attribute := set_rule.attribute;
  v_rule.attribute_value := set_rule.attribute_value;
  v_rule.language := lower(set_rule.language);
  v_rule.person_set := set_rule.person_set;
  v_rule.is_outside_set := coalesce(set_rule.is_outside_set, false);
  v_rule.active_from := set_rule.active_from;
  v_rule.active_until := set_rule.active_until;
  v_rule.amount := set_rule.amount;
  v_rule.place := set_rule.place;
  v_rule.period := set_rule.period;
  v_rule.is_active := coalesce(set_rule.is_active, true);
  perform recommend._check_rule(v_rule);
  if cardinality(set_rule.items) = 0 then
    perform common.refuse('CF001', 'the list of items is empty', 'Give at least one item, or null.');
  end if;

  insert into recommend.rule
  select v_rule.*
  on conflict on constraint rule_pkey do update
  set
    action = excluded.action,
    kind = excluded.kind,
    has_items = excluded.has_items,
    within_item_id = excluded.within_item_id,
    attribute = excluded.attribute,
    attribute_value = excluded.attribute_value,
    language = excluded.language,
    person_set = excluded.person_set,
    is_outside_set = excluded.is_outside_set,
    active_from = excluded.active_from,
    active_until = excluded.active_until,
    amount = excluded.amount,
    place = excluded.place,
    period = excluded.period,
    is_active = excluded.is_active;
  delete from recommend.rule_item where rule_item.name = v_rule.name;
  insert into recommend.rule_item (name, item_id, position)
  select v_rule.name, item.item_id, row_number() over (order by min(given.position))
  from unnest(set_rule.items) with ordinality as given (external_id, position)
  join track.item on item.external_id = given.external_id
  group by item.item_id;
  perform recommend._log_rule(v_rule.name);
  return v_rule;
end;
$$;

comment on function recommend.set_rule(
  text, text, text[], text, text, text, text, text, text, boolean, timestamptz, timestamptz, float8, int, interval,
  boolean
) is $$
Stores a rule of lists, in place of the one with this name if there is one. It applies to the next list.
`action` is one of those of `recommend.rule`. `exclude`, `include` and `boost` apply to the items that fulfil all given
conditions: `items` (at most 1,000 names), `within_item` (this item and its parts), `attribute` with `attribute_value`,
`language`; at least one of them, or `kind`. `pin` applies to `items`: the first one has the rank `place`, the others
follow. The checks, such as `availability`, have no conditions; to switch one off, set it with `is_active => false`.
`kind` limits a rule to lists of a kind, `person_set` to the people in a set, or outside of it (`is_outside_set`), and
`active_from` and `active_until` to a period.
Errors: CF001 for an argument that is invalid or that the action does not use, CF002 for an unknown item, set, kind or
attribute (names the nearest), CF008 for too many items or too long texts.
$$;

grant execute on function recommend.set_rule(
  text, text, text[], text, text, text, text, text, text, boolean, timestamptz, timestamptz, float8, int, interval,
  boolean
) to insights_admin;
--! EndIncluded recommend/rules/set_rule.sql

--! Included recommend/rules/drop_rule.sql
create or replace function recommend.drop_rule(name text)
returns void
language plpgsql
volatile
-- A definer: it writes the rules and their log, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  delete from recommend.rule where rule.name = drop_rule.name;
  if not found then
    perform common.refuse(
      'CF002',
      format('there is no rule "%s"', coalesce(left(drop_rule.name, 100), 'null')),
      coalesce(
        'Did you mean "'
          || common.nearest_name(
            drop_rule.name, array(select known.name from recommend.rule as known order by known.name limit 1000)
          )
          || '"?',
        'The rules are the rows of recommend.rule.'
      )
    );
  end if;
  perform recommend._log_rule(drop_rule.name);
end;
$$;

comment on function recommend.drop_rule(text) is $$
Removes a rule of lists. A check such as `availability` can be set again by `recommend.set_rule`.
Errors: CF002 for an unknown rule (names the nearest).
$$;

grant execute on function recommend.drop_rule(text) to insights_admin;
--! EndIncluded recommend/rules/drop_rule.sql

--! Included recommend/rules/rule_problems.sql
/* A definer: it calls the functions of rules, which no role may call. It reads no data about people. */
create or replace function recommend.rule_problems()
returns setof recommend.rule_problem
language plpgsql
stable
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
begin
  return query
  with recursive edge as (
    select prerequisite.item_id as holder_id, prerequisite.required_item_id
    from track.prerequisite
  ),

  earlier as (
    select edge.holder_id, edge.required_item_id, edge.required_item_id as item_id
    from edge

    union

    select earlier.holder_id, earlier.required_item_id, next.item_id
    from earlier
    cross join lateral (
      select edge.required_item_id as item_id
      from edge
      where edge.holder_id = earlier.item_id

      union all

      select known.parent_item_id
      from track.item as known
      where known.item_id = earlier.item_id
    ) as next
    where earlier.item_id <> earlier.holder_id
      and next.item_id is not null
  )

  select
    'prerequisites',
    holder.external_id,
    format('requires "%s", which requires it in turn: this requirement is ignored', left(required.external_id, 100))
  from earlier
  join track.item as holder on holder.item_id = earlier.holder_id
  join track.item as required on required.item_id = earlier.required_item_id
  where earlier.item_id = earlier.holder_id
  order by holder.external_id, required.external_id;

  return query
  select
    'prerequisites',
    holder.external_id,
    format('requires "%s", which has ended: this requirement is ignored', left(required.external_id, 100))
  from track.prerequisite
  join track.item as holder on holder.item_id = prerequisite.item_id
  join track.item as required on required.item_id = prerequisite.required_item_id
  where exists (
    select
    from track.item_ancestor as ancestor
    join track.item as known on known.item_id = ancestor.ancestor_item_id
    where ancestor.item_id = required.item_id
      and known.available_until <= now()
  )
  order by holder.external_id, required.external_id;

  return query
  select
    'capacity',
    item.external_id,
    format('has the capacity %s, which is not a whole number: it is ignored',
      left((item.attributes -> 'capacity')::text, 100))
  from track.item
  where item.attributes ? 'capacity'
    and (item.attributes ->> 'capacity' !~ '^[0-9]{1,9}$' or item.attributes ->> 'capacity' is null)
  order by item.external_id;

  return query
  with rule as materialized (
    select known.*
    from recommend.rule as known
    where known.is_active
      and known.action in ('exclude', 'include', 'boost')
      and (known.active_until is null or known.active_until > now())
  ),

  kind as materialized (
    select item.kind, array_agg(item.item_id) as items
    from track.item
    where item.kind <> 'merged'
    group by item.kind
  ),

  matched as (
    select found.name, count(*) as items
    from kind
    cross join lateral (
      select array_agg(rule::recommend.rule) as rules
      from rule
      where rule.kind is null
        or rule.kind = kind.kind
    ) as applied
    cross join lateral recommend._matching_rules(applied.rules, kind.items) as found
    group by found.name
  )

  select
    rule.name,
    null,
    case
      when matched.items is null and rule.action = 'include'
        then 'no item fulfils its conditions: its lists are empty unless another rule includes items'
      when matched.items is null then 'no item fulfils its conditions: it has no effect'
      else 'it excludes all items'
        || coalesce(format(' of kind "%s"', rule.kind), '') || ': its lists are empty'
    end
  from rule
  left join matched using (name)
  where matched.items is null
    or rule.action = 'exclude'
      and matched.items = (
        select sum(cardinality(kind.items))
        from kind
        where rule.kind is null
          or rule.kind = kind.kind
      )
  order by rule.name;

  -- For everyone, and for each set of people that has include or exclude rules of its own.
  return query
  with rule as materialized (
    select known.*
    from recommend.rule as known
    where known.is_active
      and known.action in ('exclude', 'include')
      and (known.active_until is null or known.active_until > now())
  ),

  kind as materialized (
    select item.kind, array_agg(item.item_id) as items
    from track.item
    group by item.kind
    having item.kind = 'course'
      or exists (select from recommend._deployed_model(item.kind))
  ),

  audience as (
    select distinct rule.person_set, rule.is_outside_set and rule.person_set is not null as is_outside_set
    from rule

    union

    select null, false
  ),

  applied as materialized (
    select
      kind.kind,
      kind.items,
      audience.person_set,
      audience.is_outside_set,
      array_agg(rule::recommend.rule) filter (where rule.action = 'include') as including,
      array_agg(rule::recommend.rule) filter (where rule.action = 'exclude') as excluding,
      min(rule.name) filter (where rule.action = 'include') as name
    from kind
    cross join audience
    join rule
      on (rule.kind is null or rule.kind = kind.kind)
      and (
        rule.person_set is null
        or (rule.person_set = audience.person_set and rule.is_outside_set = audience.is_outside_set)
      )
    group by kind.kind, kind.items, audience.person_set, audience.is_outside_set
  ),

  emptied as (
    select applied.*
    from applied
    where applied.including is not null
      -- Rules that no item of any kind fulfils are named above.
      and exists (
        select
        from unnest(applied.including) as included
        where exists (
          select
          from (
            select array_agg(item.item_id) as items
            from track.item
            where item.kind <> 'merged'
              and (included.kind is null or item.kind = included.kind)
          ) as known
          cross join lateral recommend._matching_rules(array[included]::recommend.rule[], known.items) as found
        )
      )
      and not exists (
        select
        from recommend._matching_rules(applied.including, applied.items) as offered
        where offered.item_id not in (
          select excluded.item_id
          from recommend._matching_rules(applied.excluding, applied.items) as excluded
        )
      )
  )

  -- A set of people has the problems of everyone.
  select
    emptied.name,
    null,
    format(
      'include and exclude rules leave nothing in the lists of kind "%s"%s',
      left(emptied.kind, 100),
      case
        when emptied.is_outside_set then format(' for people outside of "%s"', left(emptied.person_set, 100))
        when emptied.person_set is not null then format(' for people of "%s"', left(emptied.person_set, 100))
        else ''
      end
    )
  from emptied
  where emptied.person_set is null
    or not exists (
      select
      from emptied as general
      where general.person_set is null
        and general.kind = emptied.kind
    )
  order by emptied.name, emptied.kind, emptied.person_set, emptied.is_outside_set;

  return query
  select known.name, null, 'its period is over: it has no effect'
  from recommend.rule as known
  where known.is_active
    and known.active_until <= now()
  order by known.name;

  return query
  select
    known.name,
    target.external_id,
    format('is of kind "%s": lists of kind "%s" do not contain it', target.kind, known.kind)
  from recommend.rule as known
  join recommend.rule_item as listed using (name)
  join track.item as given on given.item_id = listed.item_id
  join track.item as target on target.item_id = coalesce(given.merged_item_id, given.item_id)
  where known.is_active
    and known.kind <> target.kind
  order by known.name, target.external_id;
end;
$$;

comment on function recommend.rule_problems() is $$
Returns rules and prerequisites that do not have the effect that is written.
These are requirements that are ignored because they are part of a circle or have ended, capacities that are not
numbers, rules that no item fulfils, that leave nothing in a list, or whose period is over, and items of another kind
than their rule.
$$;

grant execute on function recommend.rule_problems() to insights_analyst, insights_admin, insights_worker;
--! EndIncluded recommend/rules/rule_problems.sql

--! Included recommend/serving/_deployed_model.sql
create or replace function recommend._deployed_model(kind text)
returns setof ml.model
language sql
stable
parallel safe
begin atomic
  select model.*
  from ml.project
  cross join lateral (
    select deployment.model_id
    from ml.deployment
    where deployment.project_id = project.project_id
    order by deployment.deployment_id desc
    limit 1
  ) as latest
  join ml.model on model.model_id = latest.model_id
  where project.name = 'recommend.' || _deployed_model.kind;
end;

comment on function recommend._deployed_model(text) is $$
Returns the deployed version of the recommender of a kind; no row when there is none.
$$;

grant execute on function recommend._deployed_model(text) to insights_reader;
--! EndIncluded recommend/serving/_deployed_model.sql

--! Included recommend/serving/_check.sql
create or replace function recommend._check(
  top int,
  kind text
)
returns void
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  perform common.check_count('top', _check.top, 1, 1000);
  if not exists (select from track.item where item.kind = _check.kind) then
    perform common.refuse(
      'CF002',
      format('there is no item of kind "%s"', coalesce(left(_check.kind, 100), 'null')),
      coalesce(
        (select 'There are ' || string_agg(distinct item.kind, ', ' order by item.kind) || '.' from track.item),
        'There are no items yet: send events, or run track.sync_items.'
      )
    );
  end if;
end;
$$;

comment on function recommend._check(int, text) is $$
@behavior -*
Raises CF001 unless `top` is from 1 to 1000, and CF002 for a kind that no item has.
$$;

grant execute on function recommend._check(int, text) to insights_reader, insights_learner;
--! EndIncluded recommend/serving/_check.sql

--! Included recommend/serving/_check_person.sql
create or replace function recommend._check_person(person text)
returns void
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if nullif(btrim(_check_person.person), '') is null then
    perform common.refuse(
      'CF001', 'the person is ' || coalesce('"' || left(_check_person.person, 100) || '"', 'null'),
      'Give the userId or anonymousId that was sent with events.'
    );
  end if;
end;
$$;

comment on function recommend._check_person(text) is $$
@behavior -*
Raises CF001 for an empty name of a person.
$$;

grant execute on function recommend._check_person(text) to insights_reader, insights_learner;
--! EndIncluded recommend/serving/_check_person.sql

--! Included recommend/serving/_find_items.sql
create or replace function recommend._find_items(names text[])
returns bigint[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_items bigint[];
  v_unknown text;
begin
  if _find_items.names is null then
    return null;
  end if;
  if cardinality(_find_items.names) > 1000 then
    perform common.refuse('CF008', format('%s items are given', cardinality(_find_items.names)),
      'Give at most 1,000 items.');
  end if;
  if exists (select from unnest(_find_items.names) as given (name) where length(given.name) > 512) then
    perform common.refuse(
      'CF008',
      format('item has %s characters', (select max(length(given.name)) from unnest(_find_items.names) as given (name))),
      'The name of an item has at most 512.'
    );
  end if;

  -- A merged item is a further name of the other one.
  v_items := array(
    select coalesce(known.merged_item_id, known.item_id)
    from unnest(_find_items.names) with ordinality as given (name, place)
    left join track.item as known on known.external_id = given.name
    order by given.place
  );
  if array_position(v_items, null) is not null then
    v_unknown := _find_items.names[array_lower(_find_items.names, 1) + array_position(v_items, null) - 1];
    perform common.refuse(
      'CF002',
      format('there is no item "%s"', coalesce(left(v_unknown, 100), 'null')),
      coalesce(
        'Did you mean "'
          || common.nearest_name(
            v_unknown,
            (
              select array_agg(near.external_id)
              from (
                select known.external_id
                from track.item as known
                where known.kind = 'course'
                  or starts_with(known.external_id, left(v_unknown, 3))
                limit 1000
              ) as near
            )
          )
          || '"?',
        'Give an item by the name that was sent with events.'
      )
    );
  end if;
  return v_items;
end;
$$;

comment on function recommend._find_items(text[]) is $$
@behavior -*
Returns the keys of items by their names, in the same order; the target for the name of a merged item.
Errors: CF002 for an unknown item (names the nearest), CF008 for more than 1,000 items or a name of more than 512
characters.
$$;

grant execute on function recommend._find_items(text[]) to insights_reader, insights_learner;
--! EndIncluded recommend/serving/_find_items.sql

--! Included recommend/serving/_request.sql
create or replace function recommend._request(
  top int,
  kind text,
  exclude_items text[],
  only_items text[],
  diversity float8,
  page text
)
returns recommend.request
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  perform recommend._check(_request.top, _request.kind);
  if not _request.diversity between 0 and 1 then
    perform common.refuse('CF001', format('diversity is %s', _request.diversity),
      'Give a number from 0 (by score alone) to 1, or null for that of recommend.setting.');
  end if;
  return row(
    _request.kind,
    _request.top,
    coalesce(recommend._find_items(_request.exclude_items), '{}'),
    recommend._find_items(_request.only_items),
    _request.diversity,
    true,
    _request.page
  )::recommend.request;
end;
$$;

comment on function recommend._request(int, text, text[], text[], float8, text) is $$
@behavior -*
Returns what a caller requests, checked.
Errors: CF001 for `top` and `diversity`, CF002 for a kind that no item has and for an unknown item, CF008 for more than
1,000 items.
$$;

grant execute on function recommend._request(int, text, text[], text[], float8, text)
to insights_reader, insights_learner;

create or replace function recommend._person_request(
  person text,
  top int,
  kind text,
  exclude_items text[],
  only_items text[],
  diversity float8,
  page text
)
returns recommend.request
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  perform recommend._check_person(_person_request.person);
  return recommend._request(
    _person_request.top, _person_request.kind, _person_request.exclude_items, _person_request.only_items,
    _person_request.diversity, _person_request.page
  );
end;
$$;

comment on function recommend._person_request(text, int, text, text[], text[], float8, text) is $$
@behavior -*
Returns what a caller requests about a person, checked as by `recommend._request`. CF001 for an empty name.
$$;

grant execute on function recommend._person_request(text, int, text, text[], text[], float8, text)
to insights_reader, insights_learner;
--! EndIncluded recommend/serving/_request.sql

--! Included recommend/serving/_popularity.sql
create or replace function recommend._popularity(kind text default null)
returns table (item_id bigint, popularity float8)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_smallest_group constant int := (select smallest_group from analytics.setting);
begin
  return query
  with liked as materialized (
    select rows.item_id, rows.strength, rows.last_at
    from recommend._training_rows(_popularity.kind) as rows
  ),

  -- Halved since the latest use of all: the shares do not depend on the time of the refresh.
  counted as (
    select
      liked.item_id,
      sum(
        liked.strength::float8
          * power(0.5::float8, least(extract(epoch from latest.at - liked.last_at)::float8 / (30 * 86400), 100))
      ) as people
    from liked
    cross join (select max(known.last_at) as at from liked as known) as latest
    group by liked.item_id
    having count(*) >= v_smallest_group
  )

  select counted.item_id, counted.people / max(counted.people) over (partition by item.kind)
  from counted
  join track.item using (item_id);
end;
$$;

comment on function recommend._popularity(text) is $$
@behavior -*
Returns the popularity of the items of a kind, or of all kinds, from 0 to 1 for the most popular item of its kind.
Popularity is the sum, over the people of `recommend._training_rows`, of the strength of their interest, at most 1,
halved every 30 days since their last use of the item (at most 100 times). The events of a person count at most as one.
Items with fewer than `analytics.setting.smallest_group` of these people are left out.
$$;
--! EndIncluded recommend/serving/_popularity.sql

--! Included recommend/serving/refresh_lists.sql
create or replace function recommend._segment_popularity()
returns table (kind text, list text, item_id bigint, score float8)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_smallest_group constant int := (select smallest_group from analytics.setting);
begin
  return query
  with taken as (
    select course_presence.item_id, course_presence.block, bit_or(course_presence.people) as people
    from track.course_presence
    group by course_presence.item_id, course_presence.block

    union all

    -- Items of the other kinds that have a recommender.
    select
      ancestor.ancestor_item_id,
      (interaction.person_id / 4096)::int,
      bit_or(b'1'::bit(4096) >> (interaction.person_id % 4096)::int)
    from ml.project
    join track.item on item.kind = substr(project.name, length('recommend.') + 1)
    join track.item_ancestor as ancestor on ancestor.ancestor_item_id = item.item_id
    join recommend.interaction on interaction.item_id = ancestor.item_id
    where starts_with(project.name, 'recommend.')
      and project.name <> 'recommend.course'
    group by ancestor.ancestor_item_id, interaction.person_id / 4096
  ),

  counted as (
    select segment.name, taken.item_id, sum(bit_count(taken.people & segment.people & everyone.people)) as people
    from track.person_set_block as segment
    join track.person_set_block as everyone on everyone.name = 'counted' and everyone.block = segment.block
    join taken on taken.block = segment.block
    where starts_with(segment.name, 'segment.')
    group by segment.name, taken.item_id
  )

  select
    item.kind,
    counted.name,
    counted.item_id,
    (counted.people / max(counted.people) over (partition by item.kind, counted.name))::float8
  from counted
  join track.item using (item_id)
  where counted.people >= v_smallest_group;
end;
$$;

comment on function recommend._segment_popularity() is $$
@behavior -*
Returns the popularity of items in each segment.
It is the number of counted people of the segment that used the item, as a share of the greatest one of its kind. Items
with fewer than `analytics.setting.smallest_group` of them are left out.
$$;

create or replace function recommend._trending(kind text)
returns table (item_id bigint, score float8)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_smallest_group constant int := (select smallest_group from analytics.setting);
begin
  return query
  select item.item_id, trending.score / max(trending.score) over ()
  from analytics.trending_items(_trending.kind, top => 1000) as trending
  join track.item on item.external_id = trending.item
  where exists (
    select
    from track.item_day
    where item_day.item_id = item.item_id
      and item_day.day > (now() at time zone 'UTC')::date - 7
      and item_day.person_count >= v_smallest_group
  );
end;
$$;

comment on function recommend._trending(text) is $$
@behavior -*
Returns the items of a kind that were used more than expected in the last seven days.
The score is a share of the greatest one of `analytics.trending_items`. Items without a day of
`analytics.setting.smallest_group` people are left out.
$$;

/* A definer: it reads the activity of all people, and is granted to workers. */
create or replace function recommend.refresh_lists()
returns bigint
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
declare
  -- As many items as a list can have; the newest follow.
  v_most constant int := 1000;
begin
  -- Two refreshes at once would wait for each other's rows.
  perform pg_advisory_xact_lock(hashtext('recommend.refresh_lists'));
  with known as (
    select distinct item.kind
    from track.item
    where item.kind not in ('merged', 'unknown')
  ),

  entry as (
    select known.kind, 'popular' as list, popular.item_id, popular.popularity as score
    from recommend._popularity() as popular
    join track.item using (item_id)
    join known on known.kind = item.kind

    union all

    select known.kind, 'trending', trending.item_id, trending.score
    from known
    cross join lateral recommend._trending(known.kind) as trending
    where known.kind = 'course'
      or exists (select from ml.project where project.name = 'recommend.' || known.kind)

    union all

    select segment.kind, segment.list, segment.item_id, segment.score
    from recommend._segment_popularity() as segment
  ),

  -- Of two significant digits: exact shares would show the use of one person by the difference of two answers.
  rounded as (
    select
      entry.kind, entry.list, entry.item_id,
      round(entry.score::numeric, 1 - floor(log(entry.score::numeric))::int)::float8 as score
    from entry
    where entry.score > 0
  ),

  fresh as materialized (
    select placed.kind, placed.list, placed.item_id, placed.score
    from (
      select
        rounded.*,
        row_number() over (partition by rounded.kind, rounded.list order by rounded.score desc, rounded.item_id)
          as place
      from rounded
      join track.item using (item_id)
      where item.available_until is null
        or item.available_until > now()
    ) as placed
    where placed.place <= v_most
  ),

  deleted as (
    delete from recommend.ranked_list
    where not exists (
      select
      from fresh
      where fresh.kind = ranked_list.kind
        and fresh.list = ranked_list.list
        and fresh.item_id = ranked_list.item_id
    )
  )

  insert into recommend.ranked_list (kind, list, item_id, score)
  select fresh.kind, fresh.list, fresh.item_id, fresh.score
  from fresh
  on conflict (kind, list, item_id) do update
  set score = excluded.score
  where ranked_list.score <> excluded.score;
  return (select count(*) from recommend.ranked_list);
end;
$$;

comment on function recommend.refresh_lists() is $$
Recomputes the lists that are the same for many people.
These are the popular and the trending items of each kind, and those that are popular in each segment. Returns the
number of their rows. Called after `analytics.refresh_views`; only rows that differ are written. A list has the 1,000
best items. Only people in the set `counted` count, and only items that `analytics.setting.smallest_group` of them used.
Scores are rounded to two significant digits.
$$;

grant execute on function recommend.refresh_lists() to insights_worker;
--! EndIncluded recommend/serving/refresh_lists.sql

--! Included recommend/serving/refresh_item_vectors.sql
create or replace function recommend._item_texts(items bigint[])
returns table (item_id bigint, content text)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set jit to off
as $$
begin
  return query
  select
    item.item_id,
    concat_ws(
      ' ',
      item.title,
      known.topic,
      (
        select string_agg(entry.value #>> '{}', ' ' order by entry.key)
        from jsonb_each(item.attributes) as entry
        where jsonb_typeof(entry.value) in ('string', 'array')
      )
    )
  from track.item
  left join recommend._topics(_item_texts.items) as known using (item_id)
  where item.item_id = any (_item_texts.items);
end;
$$;

comment on function recommend._item_texts(bigint[]) is $$
@behavior -*
Returns the text of items: title, topic, and the attributes that are texts or lists.
$$;

/* A definer: it writes the vectors, which no role may read. It reads no data about people. */
create or replace function recommend.refresh_item_vectors(most int default 500)
returns bigint
language plpgsql
volatile
security definer
set search_path from current
set client_min_messages to notice
set jit to off
as $$
declare
  v_kinds constant text[] := array(
    select 'course'

    union

    select substr(project.name, length('recommend.') + 1)
    from ml.project
    where starts_with(project.name, 'recommend.')
  );
  v_items bigint[];
  v_described_at timestamptz[];
begin
  perform common.check_count('most', refresh_item_vectors.most, 1, 100000);
  perform pg_advisory_xact_lock(hashtext('recommend.refresh_item_vectors'));
  delete from recommend.item_vector
  using track.item
  where item.item_id = item_vector.item_id
    and item.kind <> all (v_kinds);

  select array_agg(changed.item_id), array_agg(changed.described_at)
  into v_items, v_described_at
  from (
    select served.item_id, served.described_at
    from (
      select item.item_id, max(container.updated_at) as described_at
      from track.item
      join track.item_ancestor as ancestor on ancestor.item_id = item.item_id
      join track.item as container on container.item_id = ancestor.ancestor_item_id
      where item.kind = any (v_kinds)
      group by item.item_id
    ) as served
    left join recommend.item_vector using (item_id)
    where item_vector.described_at is distinct from served.described_at
    order by item_vector.described_at nulls first, served.item_id
    limit refresh_item_vectors.most
  ) as changed;

  insert into recommend.item_vector (item_id, content, described_at)
  select described.item_id, ml.text_vector(described.content, 256), changed.described_at
  from unnest(v_items, v_described_at) as changed (item_id, described_at)
  join recommend._item_texts(v_items) as described using (item_id)
  on conflict (item_id) do update
  set content = excluded.content, described_at = excluded.described_at;
  return coalesce(cardinality(v_items), 0);
end;
$$;

comment on function recommend.refresh_item_vectors(int) is $$
Computes the vectors of the contents of items that are new or were changed. Returns their number.
At most `most` items are computed, the new ones before the others. The content is the title, the topic, and the
attributes that are texts or lists (`ml.text_vector`). Items are those of the kind `course`, and of the kinds that have
a recommender.
Error: CF001 for `most`.
$$;

grant execute on function recommend.refresh_item_vectors(int) to insights_worker;
--! EndIncluded recommend/serving/refresh_item_vectors.sql

--! Included recommend/serving/_chosen.sql
create or replace function recommend._chosen(items bigint[], positions int[])
returns bigint[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return array(
    select items[chosen.position]
    from unnest(positions) with ordinality as chosen (position, place)
    order by chosen.place
  );
end;
$$;

comment on function recommend._chosen(bigint[], int[]) is $$
@behavior -*
Returns the items at the given positions, in their order.
$$;

create or replace function recommend._unblocked(context recommend.person_context, kind text, items bigint[])
returns bigint[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return array(
    select given.item_id
    from unnest(items) with ordinality as given (item_id, place)
    where given.item_id not in (
      select blocked.item_id
      from recommend._blocked(_unblocked.context, _unblocked.kind, _unblocked.items, now()) as blocked
    )
    order by given.place
  );
end;
$$;

comment on function recommend._unblocked(recommend.person_context, text, bigint[]) is $$
@behavior -*
Returns those of the given items that no rule leaves out, in their order. `kind` null: items of any kind.
$$;

create or replace function recommend._minus(items bigint[], others bigint[])
returns bigint[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return array(
    select given.item_id
    from unnest(items) with ordinality as given (item_id, place)
    where given.item_id not in (select other.item_id from unnest(others) as other (item_id))
    order by given.place
  );
end;
$$;

comment on function recommend._minus(bigint[], bigint[]) is $$
@behavior -*
Returns the items without others, in their order.
$$;

create or replace function recommend._bases(
  items bigint[],
  candidates bigint[],
  bases text[],
  pins bigint[],
  first_items bigint[]
)
returns text[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  -- Most lists have candidates of one tier alone.
  if bases[1] = all (bases) and pins = '{}' and first_items = '{}' then
    return array_fill(bases[1], array[cardinality(items)]);
  end if;
  return array(
    select case
      when given.item_id = any (pins) then 'pinned'
      when given.item_id = any (first_items) then 'next'
      else candidate.basis
    end
    from unnest(items) with ordinality as given (item_id, place)
    left join unnest(candidates, bases) as candidate (item_id, basis) using (item_id)
    order by given.place
  );
end;
$$;

comment on function recommend._bases(bigint[], bigint[], text[], bigint[], bigint[]) is $$
@behavior -*
Returns what each item of a list is based on.
$$;

create or replace function recommend._diversified(
  context recommend.person_context,
  candidates bigint[],
  scores float8[],
  bases text[],
  allowed int[],
  top int,
  diversity float8
)
returns bigint[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_list constant bigint[] := recommend._chosen(candidates, allowed);
  -- Scores are comparable only between items with the same basis: those that the list begins with.
  v_count int := 0;
begin
  while v_count < cardinality(allowed) and bases[allowed[v_count + 1]] = bases[allowed[1]] loop
    v_count := v_count + 1;
  end loop;
  return recommend._diversify(
    context,
    v_list[:v_count],
    array(
      select scores[chosen.place]
      from unnest(allowed[:v_count]) with ordinality as chosen (place, n)
      order by chosen.n
    ),
    top,
    diversity
  ) || v_list[v_count + 1:];
end;
$$;

comment on function recommend._diversified(
  recommend.person_context, bigint[], float8[], text[], int[], int, float8
) is $$
@behavior -*
Returns the allowed candidates in an order in which the first `top` are diverse (`recommend._diversify`).
$$;
--! EndIncluded recommend/serving/_chosen.sql

-- from recommend/serving/_content_candidates.sql
create or replace function recommend._content_contributions(items bigint[], strengths real[], targets bigint[])
returns table (target_id bigint, item_id bigint, contribution float8)
language plpgsql
stable
parallel safe
set search_path from current
set jit to off
as $$
begin
  return query
  with source as materialized (
    -- The vectors are read from the last item on, until there are 20.
    select used.item_id, used.strength, entry.content
    from (
      select given.item_id, given.strength, given.place
      from unnest(_content_contributions.items, _content_contributions.strengths) with ordinality
        as given (item_id, strength, place)
      where given.strength > 0
      order by given.place desc
    ) as used
    cross join lateral (
      select item_vector.content
      from recommend.item_vector
      where item_vector.item_id = used.item_id
        and item_vector.content is not null
      offset 0
    ) as entry
    order by used.place desc
    limit 20
  ),

  profile as (
    select vector_norm(sum(source.content * array_fill(source.strength, array[256])::vector)) as length
    from source
  )

  -- In units of 2^-40, so that the sum does not depend on the order.
  select
    target.item_id,
    source.item_id,
    round(1099511627776 * source.strength * -(source.content <#> target.content) / profile.length) / 1099511627776
  from recommend.item_vector as target
  cross join source
  cross join profile
  where target.item_id = any (_content_contributions.targets)
    and target.content is not null
    and profile.length > 0;
end;
$$;
comment on function recommend._content_contributions(bigint[], real[], bigint[]) is $$
@behavior -*
Returns what the last 20 items that a person likes contribute to the similarity of other items with them.
The similarity is the cosine between the vector of an item and the sum of those of the person.
$$;
do $$
begin
  perform '[1]'::vector;
end;
$$;
create or replace function recommend._content_candidates(
  kind text,
  items bigint[],
  strengths real[],
  seen bigint[],
  only_items bigint[],
  most int,
  out item_ids bigint[],
  out scores float8[]
)
language plpgsql
stable
parallel safe
set search_path from current
set jit to off
set hnsw.iterative_scan to strict_order
as $$
declare
  -- The cosine of texts without a common word is seldom greater.
  v_least_similarity constant float8 := 0.2;
  v_profile vector;
  v_near bigint[];
begin
  select sum(used.content) into v_profile
  from (
    select entry.content * array_fill(source.strength, array[256])::vector as content
    from (
      select given.item_id, given.strength, given.place
      from unnest(_content_candidates.items, _content_candidates.strengths) with ordinality
        as given (item_id, strength, place)
      where given.strength > 0
      order by given.place desc
    ) as source
    cross join lateral (
      select item_vector.content
      from recommend.item_vector
      where item_vector.item_id = source.item_id
        and item_vector.content is not null
      offset 0
    ) as entry
    order by source.place desc
    limit 20
  ) as used;
  if v_profile is null then
    return;
  end if;

  if _content_candidates.only_items is null then
    v_near := array(
      select near.item_id
      from (
        select item_vector.item_id
        from recommend.item_vector
        where item_vector.content is not null
        order by item_vector.content <=> v_profile
        limit least(_content_candidates.most + cardinality(_content_candidates.seen), 1000)
      ) as near
      join track.item using (item_id)
      where item.kind = _content_candidates.kind
        and near.item_id not in (select known.item_id from unnest(_content_candidates.seen) as known (item_id))
    );
  else
    v_near := recommend._minus(_content_candidates.only_items, _content_candidates.seen);
  end if;

  with scored as (
    select found.target_id, sum(found.contribution) as score
    from recommend._content_contributions(
      _content_candidates.items, _content_candidates.strengths, v_near
    ) as found
    group by found.target_id
    having sum(found.contribution) >= v_least_similarity
    order by sum(found.contribution) desc, found.target_id
    limit _content_candidates.most
  )

  select
    array_agg(scored.target_id order by scored.score desc, scored.target_id),
    array_agg(scored.score order by scored.score desc, scored.target_id)
  into item_ids, scores
  from scored;
end;
$$;
comment on function recommend._content_candidates(text, bigint[], real[], bigint[], bigint[], int) is $$
@behavior -*
Returns the items of a kind whose contents are most similar to those that a person likes, without those of `seen`.
They are found by an index of nearest neighbours, which may miss some of many items.
$$;

--! Included recommend/serving/_model_candidates.sql
create or replace function recommend._model_candidates(
  model_id bigint,
  items bigint[],
  strengths real[],
  fewest_people int,
  is_lowered boolean,
  seen bigint[],
  only_items bigint[],
  most int,
  out item_ids bigint[],
  out scores float8[]
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
set plan_cache_mode to force_generic_plan
as $$
begin
  -- Materialized, so that the factor is computed once per item, not once per neighbour.
  with source as materialized (
    select
      -- In units of 2^-40: whole numbers, whose sum does not depend on the order.
      1099511627776 * used.strength::float8 * part.share
        * part.history_decay::float8 ^ (cardinality(_model_candidates.items) - used.place) as factor,
      -- An item with a negative strength lowers similar items, and raises none.
      case when used.strength < 0 then 0::real else '-infinity'::real end as least_weight,
      found.neighbour_ids,
      found.weights
    from unnest(_model_candidates.items, _model_candidates.strengths) with ordinality as used (item_id, strength, place)
    join recommend.model_part as part on part.model_id = _model_candidates.model_id
    cross join lateral (
      select neighbours.neighbour_ids, neighbours.weights
      from recommend.neighbours
      where neighbours.model_id = _model_candidates.model_id
        and neighbours.part = part.part
        and neighbours.item_id = used.item_id
        and neighbours.person_count >= _model_candidates.fewest_people
      offset 0
    ) as found
  ),

  entry as (
    select unnest(source.neighbour_ids) as item_id, unnest(source.weights) as weight, source.factor, source.least_weight
    from source
  ),

  scored as (
    select entry.item_id, sum(round(entry.factor * greatest(entry.weight, entry.least_weight))) as units
    from entry
    group by entry.item_id
  ),

  permitted as (
    select scored.item_id, scored.units
    from scored
    where scored.units <> 0
      and (
        _model_candidates.fewest_people = 0
        or exists (
          select
          from recommend.neighbours as own
          where own.model_id = _model_candidates.model_id
            and own.item_id = scored.item_id
            and own.person_count >= _model_candidates.fewest_people
        )
      )
  ),

  -- Sorted first, so that few items are compared with `seen`.
  ranked as (
    select permitted.item_id, permitted.units
    from permitted
    where case
        when _model_candidates.is_lowered
          -- Of a person who likes nothing, weights of a dense model that mean nothing do not order the list.
          then permitted.units < 0 and (
            0 < any (_model_candidates.strengths)
            or 10 * permitted.units <= (select min(least.units) from permitted as least)
          )
        else permitted.units > 0
      end
      and (
        _model_candidates.only_items is null
        or permitted.item_id in (select known.item_id from unnest(_model_candidates.only_items) as known (item_id))
      )
    order by permitted.units desc, permitted.item_id
    limit _model_candidates.most::bigint + cardinality(_model_candidates.seen)
  ),

  best as (
    select ranked.item_id, ranked.units
    from ranked
    where ranked.item_id not in (select known.item_id from unnest(_model_candidates.seen) as known (item_id))
    order by ranked.units desc, ranked.item_id
    limit _model_candidates.most
  )

  select
    array_agg(best.item_id order by best.units desc, best.item_id),
    array_agg(best.units / 1099511627776 order by best.units desc, best.item_id)
  into item_ids, scores
  from best;
end;
$$;

comment on function recommend._model_candidates(
  bigint, bigint[], real[], int, boolean, bigint[], bigint[], int
) is $$
@behavior -*
Returns the items with the highest scores of a version of a model, the best first, without those of `seen`.
`is_lowered`: those with a negative score, instead of those with a positive one; when no strength is positive, those
with at least a tenth of the lowest score.
Weights from and on items that fewer than `fewest_people` people had taken are not used.
$$;
--! EndIncluded recommend/serving/_model_candidates.sql

--! Included recommend/serving/_tier_candidates.sql
create or replace function recommend._listed_candidates(
  kind text,
  lists text[],
  seen bigint[],
  only_items bigint[],
  most int,
  out item_ids bigint[],
  out scores float8[]
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
set plan_cache_mode to force_generic_plan
-- The order is that of the index: a catalogue is never read as a whole.
set enable_seqscan to off
set enable_bitmapscan to off
set enable_sort to off
as $$
begin
  with listed as (
    select entry.item_id, max(entry.score) as score
    from unnest(_listed_candidates.lists) as list (name)
    cross join lateral (
      select ranked_list.item_id, ranked_list.score
      from recommend.ranked_list
      where ranked_list.kind = _listed_candidates.kind
        and ranked_list.list = list.name
        -- "in" with a subquery hashes the array.
        and ranked_list.item_id not in (
          select known.item_id from unnest(_listed_candidates.seen) as known (item_id)
        )
        and (
          _listed_candidates.only_items is null
          or ranked_list.item_id in (
            select known.item_id from unnest(_listed_candidates.only_items) as known (item_id)
          )
        )
      order by ranked_list.score desc, ranked_list.item_id
      limit _listed_candidates.most
    ) as entry
    group by entry.item_id
    order by max(entry.score) desc, entry.item_id
    limit _listed_candidates.most
  )

  select
    array_agg(listed.item_id order by listed.score desc, listed.item_id),
    array_agg(listed.score order by listed.score desc, listed.item_id)
  into item_ids, scores
  from listed;
end;
$$;

comment on function recommend._listed_candidates(text, text[], bigint[], bigint[], int) is $$
@behavior -*
Returns the best items of ranked lists, without those of `seen`. An item of several lists has the highest of its scores.
$$;

create or replace function recommend._newest_candidates(
  kind text,
  seen bigint[],
  only_items bigint[],
  available_at timestamptz,
  most int,
  out item_ids bigint[],
  out scores float8[]
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
set plan_cache_mode to force_generic_plan
set enable_seqscan to off
set enable_bitmapscan to off
set enable_sort to off
as $$
begin
  if _newest_candidates.only_items is null then
    select array_agg(newest.item_id), array_agg(0::float8)
    into item_ids, scores
    from (
      select item.item_id
      from track.item
      where item.kind = _newest_candidates.kind
        -- Any client may name a page by a path. Titles and containers are from senders who may describe items.
        and (item.kind <> 'page' or item.title is not null or item.parent_item_id is not null)
        and (
          _newest_candidates.available_at is null
          or (
            (item.available_until is null or item.available_until > _newest_candidates.available_at)
            and (item.available_from is null or item.available_from <= _newest_candidates.available_at)
          )
        )
        -- "in" with a subquery hashes the array.
        and item.item_id not in (select known.item_id from unnest(_newest_candidates.seen) as known (item_id))
      order by item.created_at desc, item.item_id desc
      limit _newest_candidates.most
    ) as newest;
  else
    -- "offset 0" and "materialized": one index lookup per given item, instead of the index in its order.
    with given as materialized (
      select item.*
      from (
        select distinct known.item_id
        from unnest(_newest_candidates.only_items) as known (item_id)
        where known.item_id not in (select other.item_id from unnest(_newest_candidates.seen) as other (item_id))
      ) as wanted
      cross join lateral (
        select known.item_id, known.kind, known.title, known.parent_item_id, known.created_at
        from track.item as known
        where known.item_id = wanted.item_id
        offset 0
      ) as item
    )

    select array_agg(newest.item_id), array_agg(0::float8)
    into item_ids, scores
    from (
      select given.item_id
      from given
      where given.kind = _newest_candidates.kind
        and (given.kind <> 'page' or given.title is not null or given.parent_item_id is not null)
      order by given.created_at desc, given.item_id desc
      limit _newest_candidates.most
    ) as newest;
  end if;
end;
$$;

comment on function recommend._newest_candidates(text, bigint[], bigint[], timestamptz, int) is $$
@behavior -*
Returns the items of a kind that were first seen most recently, without those of `seen`.
`available_at` leaves out items whose own dates say that they are not available at that time: others would be compared
with the rules one by one. Null: dates do not matter.
$$;

create or replace function recommend._offered_items(context recommend.person_context, kind text)
returns bigint[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
set plan_cache_mode to force_generic_plan
set enable_seqscan to off
as $$
declare
  v_rules constant recommend.rule[] := (
    select array_agg(known)
    from recommend._rules_of(_offered_items.context, _offered_items.kind, now()) as known
    where known.action = 'include'
  );
begin
  if v_rules is null
    or exists (
      select from unnest(v_rules) as rule where not rule.has_items and rule.within_item_id is null
    )
  then
    return null;
  end if;

  return array(
    select coalesce(named.merged_item_id, named.item_id)
    from unnest(v_rules) as rule
    join recommend.rule_item as listed on listed.name = rule.name
    join track.item as named on named.item_id = listed.item_id
    where rule.has_items

    union

    select ancestor.item_id
    from unnest(v_rules) as rule
    join track.item as root on root.item_id = rule.within_item_id
    -- A subtree of an item that was merged is that of its target.
    cross join lateral (
      select known.item_id
      from track.item as known
      where known.item_id = coalesce(root.merged_item_id, root.item_id)

      union all

      select known.item_id
      from track.item as known
      where known.merged_item_id = coalesce(root.merged_item_id, root.item_id)
    ) as named
    join track.item_ancestor as ancestor on ancestor.ancestor_item_id = named.item_id
    where not rule.has_items
  );
end;
$$;

comment on function recommend._offered_items(recommend.person_context, text) is $$
@behavior -*
Returns the items to which the rules `include` limit a list, and perhaps more; null when no index finds them.
$$;

create or replace function recommend._tier_candidates(
  tier text,
  context recommend.person_context,
  request recommend.request,
  model_id bigint,
  fewest_people int,
  seen bigint[],
  most int,
  out item_ids bigint[],
  out scores float8[]
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  case _tier_candidates.tier
    when 'model', 'lowered' then
      if _tier_candidates.model_id is not null and cardinality((_tier_candidates.context).items) > 0 then
        select found.item_ids, found.scores into item_ids, scores
        from recommend._model_candidates(
          _tier_candidates.model_id, (_tier_candidates.context).items, (_tier_candidates.context).strengths,
          _tier_candidates.fewest_people, _tier_candidates.tier = 'lowered', _tier_candidates.seen,
          (_tier_candidates.request).only_items, _tier_candidates.most
        ) as found;
      end if;
    when 'content' then
      if cardinality((_tier_candidates.context).items) > 0 then
        select found.item_ids, found.scores into item_ids, scores
        from recommend._content_candidates(
          (_tier_candidates.request).kind, (_tier_candidates.context).items, (_tier_candidates.context).strengths,
          _tier_candidates.seen, (_tier_candidates.request).only_items, _tier_candidates.most
        ) as found;
      end if;
    when 'segment' then
      if cardinality((_tier_candidates.context).person_sets) > 0 then
        select found.item_ids, found.scores into item_ids, scores
        from recommend._listed_candidates(
          (_tier_candidates.request).kind, (_tier_candidates.context).person_sets, _tier_candidates.seen,
          (_tier_candidates.request).only_items, _tier_candidates.most
        ) as found;
      end if;
    when 'popularity', 'trending' then
      select found.item_ids, found.scores into item_ids, scores
      from recommend._listed_candidates(
        (_tier_candidates.request).kind,
        case _tier_candidates.tier when 'trending' then '{trending}' else '{popular}' end::text[],
        _tier_candidates.seen,
        (_tier_candidates.request).only_items, _tier_candidates.most
      ) as found;
    when 'newest' then
      select found.item_ids, found.scores into item_ids, scores
      from recommend._newest_candidates(
        (_tier_candidates.request).kind, _tier_candidates.seen,
        coalesce(
          (_tier_candidates.request).only_items,
          recommend._offered_items(_tier_candidates.context, (_tier_candidates.request).kind)
        ),
        case
          when exists (
            select
            from recommend._rules_of(_tier_candidates.context, (_tier_candidates.request).kind, now()) as rule
            where rule.action = 'availability'
          ) then now()
        end,
        _tier_candidates.most
      ) as found;
    else
      null;
  end case;
  item_ids := coalesce(item_ids, '{}');
  scores := coalesce(scores, '{}');
end;
$$;

comment on function recommend._tier_candidates(
  text, recommend.person_context, recommend.request, bigint, int, bigint[], int
) is $$
@behavior -*
Returns the best items of a tier of a list, with their scores before any boost, without those of `seen`.
$$;
--! EndIncluded recommend/serving/_tier_candidates.sql

--! Included recommend/serving/_boosted.sql
create or replace function recommend._boosted(
  context recommend.person_context,
  kind text,
  items bigint[],
  amounts float8[],
  out item_ids bigint[],
  out scores float8[]
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
set plan_cache_mode to force_generic_plan
as $$
begin
  select
    coalesce(array_agg(scored.item_id order by scored.score desc, scored.place), '{}'),
    coalesce(array_agg(scored.score order by scored.score desc, scored.place), '{}')
  into item_ids, scores
  from (
    select candidate.item_id, candidate.place, candidate.score + coalesce(boosted.amount, 0) as score
    from unnest(_boosted.items, _boosted.amounts) with ordinality as candidate (item_id, score, place)
    left join (
      select boost.item_id, sum(boost.amount order by boost.rule) as amount
      from recommend._boosts(_boosted.context, _boosted.kind, _boosted.items) as boost
      group by boost.item_id
    ) as boosted using (item_id)
  ) as scored;
end;
$$;

comment on function recommend._boosted(recommend.person_context, text, bigint[], float8[]) is $$
@behavior -*
Returns candidates in the order of their scores and what rules add to them.
$$;

create or replace function recommend._raised(
  context recommend.person_context,
  request recommend.request,
  tiers text[],
  model_id bigint,
  fewest_people int,
  seen bigint[],
  out item_ids bigint[],
  out scores float8[],
  out bases text[]
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
set plan_cache_mode to force_generic_plan
set enable_seqscan to off
as $$
declare
  v_most constant int := 1000;
  v_kind constant text := (_raised.request).kind;
  v_request recommend.request := _raised.request;
  v_seen bigint[] := _raised.seen;
  -- As in a list: items that the model lowers are in no other tier.
  v_tiers constant text[] := array(
    select tier.name
    from unnest(array_remove(_raised.tiers, 'lowered') || '{lowered}'::text[]) with ordinality as tier (name, place)
    order by case tier.name when 'model' then 0 when 'lowered' then 1 else 2 end, tier.place
  );
  v_rules constant recommend.rule[] := (
    select array_agg(known)
    from recommend._rules_of(_raised.context, v_kind, now()) as known
    where known.action = 'boost'
      and known.amount > 0
  );
  -- No item is its own neighbour: without this, a liked one would come after all that resembles it.
  v_liked constant bigint[] := array(
    select used.item_id
    from unnest((_raised.context).items, (_raised.context).strengths) as used (item_id, strength)
    where used.strength >= 1
      and used.item_id not in (select known.item_id from unnest(_raised.seen) as known (item_id))
  );
  v_items bigint[];
  v_found_items bigint[] := '{}';
  v_found_scores float8[] := '{}';
  v_found_bases text[] := '{}';
  v_tier text;
  v_found record;
begin
  item_ids := '{}';
  scores := '{}';
  bases := '{}';
  if v_rules is null and v_liked = '{}' then
    return;
  end if;

  v_items := array(
    (
      select coalesce(named.merged_item_id, named.item_id)
      from unnest(v_rules) as rule
      join recommend.rule_item as listed on listed.name = rule.name
      join track.item as named on named.item_id = listed.item_id
      where rule.has_items
      order by rule.amount desc, listed.item_id
      limit v_most
    )

    union all

    select part.item_id
    from unnest(v_rules) as rule
    join track.item as root on root.item_id = rule.within_item_id
    cross join lateral (
      select ancestor.item_id
      from track.item_ancestor as ancestor
      join track.item as known on known.item_id = ancestor.item_id
      where ancestor.ancestor_item_id = coalesce(root.merged_item_id, root.item_id)
        and known.kind = v_kind
      order by ancestor.item_id desc
      limit v_most
    ) as part
    where not rule.has_items
  );
  -- No index finds the items with an attribute or a language: those among the best of each tier.
  if exists (select from unnest(v_rules) as rule where not rule.has_items) then
    foreach v_tier in array v_tiers loop
      v_found := recommend._tier_candidates(
        v_tier, _raised.context, v_request, _raised.model_id, _raised.fewest_people, _raised.seen, v_most
      );
      v_items := v_items || v_found.item_ids;
    end loop;
  end if;
  v_items := v_liked || array(
    select boost.item_id
    from recommend._boosts(_raised.context, v_kind, v_items) as boost
    group by boost.item_id
    having sum(boost.amount order by boost.rule) > 0
    order by boost.item_id
  );
  if v_request.only_items is not null then
    v_items := array(
      select given.item_id
      from unnest(v_items) as given (item_id)
      where given.item_id in (select known.item_id from unnest(v_request.only_items) as known (item_id))
    );
  end if;
  if v_items = '{}' then
    return;
  end if;

  -- Each in the first tier that has it.
  v_request.only_items := v_items;
  foreach v_tier in array v_tiers loop
    v_found := recommend._tier_candidates(
      v_tier, _raised.context, v_request, _raised.model_id, _raised.fewest_people, v_seen, cardinality(v_items)
    );
    v_seen := v_seen || v_found.item_ids;
    v_found_items := v_found_items || v_found.item_ids;
    v_found_scores := v_found_scores || v_found.scores;
    v_found_bases := v_found_bases || array_fill(
      case v_tier when 'lowered' then 'model' else v_tier end, array[cardinality(v_found.item_ids)]
    );
  end loop;
  v_found := recommend._boosted(_raised.context, v_kind, v_found_items, v_found_scores);
  item_ids := v_found.item_ids[:v_most];
  scores := v_found.scores[:v_most];
  bases := recommend._bases(item_ids, v_found_items, v_found_bases, '{}', '{}');
end;
$$;

comment on function recommend._raised(
  recommend.person_context, recommend.request, text[], bigint, int, bigint[]
) is $$
@behavior -*
Returns the items to whose scores rules add a positive amount, and those that the person likes but has not taken.
They are at most 1,000, the best first, each with the score and basis of its tier, and the amount added. Of rules, they
are those that are named or within the item of a rule, and those of the best 1,000 of each tier that fulfil others.
$$;
--! EndIncluded recommend/serving/_boosted.sql

--! Included recommend/serving/_place_pins.sql
create or replace function recommend._allowed_pins(
  context recommend.person_context,
  request recommend.request,
  seen bigint[],
  out items bigint[],
  out places int[]
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_last int := 0;
begin
  select coalesce(array_agg(pin.item_id order by pin.n), '{}'), coalesce(array_agg(pin.place order by pin.n), '{}')
  into items, places
  from recommend._pins(_allowed_pins.context, (_allowed_pins.request).kind)
    with ordinality as pin (item_id, place, rule, n)
  where not coalesce(pin.item_id = any (_allowed_pins.seen), false)
    and ((_allowed_pins.request).only_items is null or pin.item_id = any ((_allowed_pins.request).only_items));
  if items = '{}' then
    return;
  end if;

  select coalesce(array_agg(pin.item_id order by pin.n), '{}'), coalesce(array_agg(pin.place order by pin.n), '{}')
  into items, places
  from unnest(items, places) with ordinality as pin (item_id, place, n)
  where pin.item_id = any (
    recommend._unblocked(_allowed_pins.context, (_allowed_pins.request).kind, _allowed_pins.items)
  );
  -- Of several items with the same place, each takes the next one.
  for n in 1..cardinality(places) loop
    v_last := greatest(places[n], v_last + 1);
    places[n] := v_last;
  end loop;
end;
$$;

comment on function recommend._allowed_pins(recommend.person_context, recommend.request, bigint[]) is $$
@behavior -*
Returns the pinned items that no rule leaves out, without those of `seen`, in the order of their places.
$$;

create or replace function recommend._place_pins(
  items bigint[],
  pins bigint[],
  places int[],
  first_rank int,
  top int
)
returns bigint[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_list bigint[] := '{}';
  v_item int := 1;
  v_pin int := 1;
begin
  for v_place in 1..top loop
    if v_pin <= cardinality(pins)
      and (places[v_pin] < first_rank + v_place or v_item > cardinality(items))
    then
      v_list := v_list || pins[v_pin];
      v_pin := v_pin + 1;
    elsif v_item <= cardinality(items) then
      v_list := v_list || items[v_item];
      v_item := v_item + 1;
    else
      exit;
    end if;
  end loop;
  return v_list || items[v_item:];
end;
$$;

comment on function recommend._place_pins(bigint[], bigint[], int[], int, int) is $$
@behavior -*
Returns a list of items in which pinned ones have their places among the first `top`; the other items follow.
The list begins with the rank `first_rank`. Pinned items whose place a short list does not have follow at its end.
$$;
--! EndIncluded recommend/serving/_place_pins.sql

--! Included recommend/serving/_contributions.sql
create or replace function recommend._contributions(
  model_id bigint,
  items bigint[],
  strengths real[],
  fewest_people int,
  targets bigint[]
)
returns table (target_id bigint, item_id bigint, contribution float8)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
set plan_cache_mode to force_generic_plan
as $$
begin
  return query
  with source as materialized (
    select
      used.item_id,
      1099511627776 * used.strength::float8 * part.share
        * part.history_decay::float8 ^ (cardinality(_contributions.items) - used.place) as factor,
      case when used.strength < 0 then 0::real else '-infinity'::real end as least_weight,
      -- With an empty array appended, the values are read from their storage once, not once per target.
      found.neighbour_ids || '{}'::bigint[] as neighbour_ids,
      found.weights || '{}'::real[] as weights
    from unnest(_contributions.items, _contributions.strengths) with ordinality as used (item_id, strength, place)
    join recommend.model_part as part on part.model_id = _contributions.model_id
    cross join lateral (
      select neighbours.neighbour_ids, neighbours.weights
      from recommend.neighbours
      where neighbours.model_id = _contributions.model_id
        and neighbours.part = part.part
        and neighbours.item_id = used.item_id
        and neighbours.person_count >= _contributions.fewest_people
      offset 0
    ) as found
  ),

  located as (
    select
      target.item_id as target_id,
      source.item_id,
      source.factor,
      source.least_weight,
      source.neighbour_ids,
      source.weights,
      -- The neighbours are in ascending order, so that this is a binary search.
      width_bucket(target.item_id, source.neighbour_ids) as position
    from source
    cross join unnest(_contributions.targets) as target (item_id)
    -- "offset 0": the search is done once per row, not for each use of its result.
    offset 0
  ),

  -- Materialized, so that rows are grouped without the arrays.
  term as materialized (
    select
      located.target_id,
      located.item_id,
      round(located.factor * greatest(located.weights[located.position], located.least_weight)) as units
    from located
    where located.neighbour_ids[located.position] = located.target_id
  )

  select term.target_id, term.item_id, sum(term.units) / 1099511627776
  from term
  group by term.target_id, term.item_id
  having sum(term.units) <> 0;
end;
$$;

comment on function recommend._contributions(bigint, bigint[], real[], int, bigint[]) is $$
@behavior -*
Returns what each item of a person contributes to the scores of other items by a version of a model.
Contributions are multiples of 2^-40, so that their sum is exact in any order.
$$;
--! EndIncluded recommend/serving/_contributions.sql

--! Included recommend/serving/_explain.sql
create or replace function recommend._explain(
  context recommend.person_context,
  kind text,
  model_id bigint,
  model_version int,
  fewest_people int,
  items bigint[],
  bases text[],
  propensities float8[],
  pool bigint[],
  first_rank int,
  next_page text
)
returns setof recommend.recommendation
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
set plan_cache_mode to force_generic_plan
as $$
declare
  -- The name of a rule may tell why a set of people has it.
  v_reads_all constant boolean := track.reads_all_people();
  v_most_reasons constant int := (select most_reasons from recommend.setting);
  v_secret constant recommend.secret := (select secret from recommend.secret);
begin
  return query
  with chosen as materialized (
    select
      listed.item_id, listed.basis, listed.propensity, listed.place::int, item.external_id, item.title,
      case when listed.propensity is null then listed.basis else 'explored' end as shown_basis
    from unnest(_explain.items, _explain.bases, _explain.propensities) with ordinality
      as listed (item_id, basis, propensity, place)
    cross join lateral (
      -- "offset 0" makes the planner do one index lookup per item instead of reading all items.
      select known.external_id, known.title
      from track.item as known
      where known.item_id = listed.item_id
      offset 0
    ) as item
  ),

  contribution as materialized (
    select
      found.target_id,
      found.item_id,
      found.kind,
      found.contribution,
      row_number() over (
        partition by found.target_id
        order by abs(found.contribution) desc, found.kind, found.item_id
      ) as place
    from (
      select by_model.*, 'item' as kind
      from recommend._contributions(
        _explain.model_id, (_explain.context).items, (_explain.context).strengths, _explain.fewest_people,
        -- The model may lower an item of another tier by a little: this is not in its score.
        array(
          select chosen.item_id
          from chosen
          where chosen.basis not in ('content', 'segment', 'popularity', 'trending', 'newest')
        )
      ) as by_model

      union all

      select by_content.*, 'content'
      from recommend._content_contributions(
        (_explain.context).items, (_explain.context).strengths,
        array(select chosen.item_id from chosen where chosen.basis = 'content')
      ) as by_content
      where 'content' = any (_explain.bases)
        and by_content.contribution <> 0
    ) as found
  ),

  reason as (
    select
      contribution.target_id as item_id,
      0 as part,
      contribution.place,
      row(contribution.kind, named.external_id, named.title, contribution.contribution)::recommend.reason as reason
    from contribution
    cross join lateral (
      select known.external_id, known.title
      from track.item as known
      where known.item_id = contribution.item_id
      offset 0
    ) as named
    where contribution.place <= v_most_reasons

    union all

    select
      contribution.target_id,
      1,
      0,
      row('others', null, format('%s more', count(*)), sum(contribution.contribution))::recommend.reason
    from contribution
    where contribution.place > v_most_reasons
    group by contribution.target_id

    union all

    select
      chosen.item_id,
      2,
      0,
      row(
        chosen.basis,
        null,
        case chosen.basis
          when 'segment' then 'Popular with learners like you'
          when 'popularity' then 'Popular with all learners'
          when 'trending' then 'Used more than expected this week'
          when 'next' then 'Next in the course that was used last'
          else 'New'
        end,
        coalesce(listed.score, 0)
      )::recommend.reason
    from chosen
    left join lateral (
      select max(ranked_list.score) as score
      from recommend.ranked_list
      where ranked_list.kind = _explain.kind
        and ranked_list.item_id = chosen.item_id
        and ranked_list.list = any (
          case chosen.basis
            when 'popularity' then '{popular}'
            when 'trending' then '{trending}'
            when 'segment' then (_explain.context).person_sets
          end
        )
    ) as listed on true
    where chosen.basis in ('segment', 'popularity', 'trending', 'newest', 'next')

    union all

    select
      applied.item_id,
      3,
      row_number() over (order by applied.rule),
      row(
        'rule', null, case when v_reads_all then applied.rule else 'Selected by the platform' end, applied.amount
      )::recommend.reason
    from (
      select boost.item_id, boost.rule, boost.amount
      from recommend._boosts(_explain.context, _explain.kind, _explain.items) as boost

      union all

      select pin.item_id, pin.rule, 0
      from recommend._pins(_explain.context, _explain.kind) as pin
      join chosen on chosen.item_id = pin.item_id
      where 'pinned' = any (_explain.bases)
        and chosen.basis = 'pinned'
    ) as applied
  ),

  explained as (
    select
      reason.item_id,
      array_agg(reason.reason order by reason.part, reason.place) as reasons,
      -- In the order of the reasons, so that the score is exactly their sum.
      sum((reason.reason).contribution order by reason.part, reason.place) as score
    from reason
    group by reason.item_id
  )

  select
    _explain.first_rank + chosen.place - 1,
    chosen.item_id,
    chosen.external_id,
    chosen.title,
    coalesce(explained.score, 0),
    coalesce(explained.reasons, '{}'),
    chosen.shown_basis,
    case when chosen.basis = 'model' then _explain.model_version end,
    recommend._serving_id(
      v_secret,
      case when chosen.basis = 'model' then _explain.model_id end,
      chosen.item_id,
      _explain.first_rank + chosen.place - 1,
      chosen.propensity,
      now(),
      (_explain.context).identity_id,
      chosen.shown_basis,
      case when chosen.propensity is not null then _explain.pool end
    ),
    chosen.propensity,
    case when chosen.place = cardinality(_explain.items) then _explain.next_page end
  from chosen
  left join explained using (item_id)
  order by chosen.place;
end;
$$;

comment on function recommend._explain(
  recommend.person_context, text, bigint, int, int, bigint[], text[], float8[], bigint[], int, text
) is $$
@behavior -*
Returns the rows of a list from its items and what each is based on: names, reasons, score and signature.
The score is the sum of the contributions, which are multiples of 2^-40 of moderate size, so that it is exact.
$$;
--! EndIncluded recommend/serving/_explain.sql

--! Included recommend/serving/_page.sql
create or replace function recommend._page_scope(context recommend.person_context, kind text)
returns text
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  -- A list without a person is that of its items.
  return concat_ws(
    '.',
    _page_scope.kind,
    case
      when (_page_scope.context).person_id is null
        then 'i' || encode(sha256(convert_to((_page_scope.context).items::text, 'UTF8')), 'hex')
      else 'p' || (_page_scope.context).identity_id
    end
  );
end;
$$;

comment on function recommend._page_scope(recommend.person_context, text) is $$
@behavior -*
Returns the list to which a page belongs: its kind, and the identity of the person, or else a hash of the items.
$$;

create or replace function recommend._write_page(page recommend.page, scope text, at timestamptz)
returns text
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return (
    select recommend._sign(
      concat_ws(
        '.', 'page', floor(extract(epoch from _write_page.at)), _write_page.scope,
        coalesce((_write_page.page).model_id, 0),
        array_to_string((_write_page.page).served, ','),
        array_to_string((_write_page.page).frozen, ','),
        array_to_string((_write_page.page).bases, ',')
      ),
      secret.inner_key, secret.outer_key
    )
    from recommend.secret
  );
end;
$$;

comment on function recommend._write_page(recommend.page, text, timestamptz) is $$
@behavior -*
Returns the signed text of a page, of which `recommend._read_page` is the opposite.
$$;

create or replace function recommend._read_page(page text, scope text, at timestamptz)
returns recommend.page
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_payload text;
  v_fields text[];
  v_result recommend.page;
begin
  -- The longest one has 2,000 items that were served and 200 frozen ones, of at most 19 digits.
  if length(_read_page.page) <= 50000 then
    v_payload := left(_read_page.page, -33);
    if _read_page.page = (
      select recommend._sign(v_payload, secret.inner_key, secret.outer_key) from recommend.secret
    ) then
      v_fields := string_to_array(v_payload, '.');
    end if;
  end if;
  if v_fields[1] is distinct from 'page' then
    perform common.refuse('CF001', format('page is "%s"', left(_read_page.page, 100)),
      'Give next_page of the last row of the list that is continued, unchanged.');
  end if;
  if concat_ws('.', v_fields[3], v_fields[4]) <> _read_page.scope then
    perform common.refuse('CF001', format('the page "%s" continues another list', left(_read_page.page, 100)),
      'Give it to the same function, with the same person or items and the same kind.');
  end if;
  if to_timestamp(v_fields[2]::float8) < _read_page.at - interval '1 day' then
    perform common.refuse('CF001', format('the page "%s" is older than a day', left(_read_page.page, 100)),
      'Call without page, which returns a new list.');
  end if;
  v_result.model_id := v_fields[5];
  v_result.served := string_to_array(v_fields[6], ',')::bigint[];
  v_result.frozen := string_to_array(v_fields[7], ',')::bigint[];
  v_result.bases := string_to_array(v_fields[8], ',');
  return v_result;
end;
$$;

comment on function recommend._read_page(text, text, timestamptz) is $$
@behavior -*
Returns the content of a value of `next_page`.
Errors: CF001 for a text that is not one, for one of another list, and for one that is older than a day.
$$;

create or replace function recommend._without(
  page recommend.page,
  context recommend.person_context,
  seen bigint[],
  only_items bigint[]
)
returns recommend.page
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_page recommend.page := _without.page;
begin
  -- After an opt-out, an order that is based on what the person did is not continued.
  if ((_without.context).items = '{}' and (v_page).bases && '{model,content}')
    or ((_without.context).person_sets = '{}' and 'segment' = any ((v_page).bases))
  then
    v_page.frozen := '{}';
    v_page.bases := '{}';
    return v_page;
  end if;

  select
    coalesce(array_agg(frozen.item_id order by frozen.place), '{}'),
    coalesce(array_agg(frozen.basis order by frozen.place), '{}')
  into v_page.frozen, v_page.bases
  from unnest((_without.page).frozen, (_without.page).bases) with ordinality as frozen (item_id, basis, place)
  where frozen.item_id not in (select known.item_id from unnest(_without.seen) as known (item_id))
    and (
      _without.only_items is null
      or frozen.item_id in (select known.item_id from unnest(_without.only_items) as known (item_id))
    );
  return v_page;
end;
$$;

comment on function recommend._without(recommend.page, recommend.person_context, bigint[], bigint[]) is $$
@behavior -*
Returns a page without the given items, and with no others than `only_items` unless it is null.
The frozen order is dropped if it is based on data of which the context has none any more.
$$;

create or replace function recommend._current_bases(
  context recommend.person_context,
  kind text,
  model_id bigint,
  fewest_people int,
  items bigint[],
  bases text[]
)
returns text[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
set plan_cache_mode to force_generic_plan
as $$
begin
  return array(
    select case
      when frozen.basis not in ('model', 'content', 'segment', 'popularity', 'trending')
        or frozen.basis = 'model' and frozen.item_id in (
          select found.target_id
          from recommend._contributions(
            _current_bases.model_id, (_current_bases.context).items, (_current_bases.context).strengths,
            _current_bases.fewest_people, _current_bases.items
          ) as found
        )
        or frozen.basis = 'content' and frozen.item_id in (
          select found.target_id
          from recommend._content_contributions(
            (_current_bases.context).items, (_current_bases.context).strengths, _current_bases.items
          ) as found
          where found.contribution <> 0
        )
        or exists (
          select
          from recommend.ranked_list
          where ranked_list.kind = _current_bases.kind
            and ranked_list.item_id = frozen.item_id
            and ranked_list.list = any (
              case frozen.basis
                when 'popularity' then '{popular}'
                when 'trending' then '{trending}'
                when 'segment' then (_current_bases.context).person_sets
              end
            )
        )
        then frozen.basis
      when exists (
        select
        from recommend.ranked_list
        where ranked_list.kind = _current_bases.kind
          and ranked_list.item_id = frozen.item_id
          and ranked_list.list = 'popular'
      )
        then 'popularity'
      else 'newest'
    end
    from unnest(_current_bases.items, _current_bases.bases) with ordinality as frozen (item_id, basis, place)
    order by frozen.place
  );
end;
$$;

comment on function recommend._current_bases(
  recommend.person_context, text, bigint, int, bigint[], text[]
) is $$
@behavior -*
Returns what the items of a continued list are based on now.
For an item to whose score its frozen basis adds nothing any more, it is popularity if the item is popular, otherwise
its age.
$$;
--! EndIncluded recommend/serving/_page.sql

--! Included recommend/serving/_gather.sql
/*
 * Candidates are fetched tier by tier, and compared with the rules in pieces of their order, until there are enough:
 * neither the catalogue nor the whole list of a tier is compared.
 */
create or replace function recommend._gather(
  context recommend.person_context,
  request recommend.request,
  tiers text[],
  model_id bigint,
  fewest_people int,
  seen bigint[],
  wanted int,
  inout item_ids bigint[],
  inout scores float8[],
  inout bases text[],
  out allowed int[],
  out unchecked int[]
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
set plan_cache_mode to force_generic_plan
as $$
declare
  v_most_frozen constant int := 200;
  -- Of the newest items: their comparison with the default rules takes about 0.1 s.
  v_most_newest constant int := 20000;
  v_newest int := 0;
  -- At once, so that the comparison stays in work_mem.
  v_most_compared constant int := 5000;
  v_kind constant text := (_gather.request).kind;
  v_has_boosts constant boolean := exists (
    select from recommend._rules_of(_gather.context, v_kind, now()) as rule where rule.action = 'boost'
  );
  -- A liked item that may be in the list: see recommend._raised.
  v_has_raised constant boolean := v_has_boosts or exists (
    select
    from unnest((_gather.context).items, (_gather.context).strengths) as used (item_id, strength)
    where used.strength >= 1
      and used.item_id not in (select known.item_id from unnest(_gather.seen) as known (item_id))
  );
  v_most int := case when v_has_boosts then greatest(wanted + v_most_frozen, 1000) else wanted + v_most_frozen end;
  v_seen bigint[] := seen;
  v_tiers constant text[] := array_remove(tiers, 'lowered') || '{lowered}'::text[];
  v_given constant int := cardinality(item_ids);
  -- Raised, for the first tier that has items; those with a negative score are for the last one.
  v_waiting record;
  v_bases text[];
  v_is_full boolean;
  v_is_merged boolean;
  v_tier int := 1;
  v_name text;
  v_found record;
  v_lowered record;
  -- The first `v_checked` candidates were compared with the rules.
  v_checked int := 0;
  v_last int;
begin
  allowed := '{}';
  if v_has_raised then
    v_waiting := recommend._raised(context, request, tiers, model_id, fewest_people, v_seen);
    v_seen := v_seen || v_waiting.item_ids;
  end if;
  loop
    if cardinality(allowed) < wanted and v_checked < cardinality(item_ids) then
      v_last := least(2 * v_checked + 2 * wanted, v_checked + v_most_compared, cardinality(item_ids));
      allowed := allowed || array(
        select v_checked + candidate.place::int
        from unnest(item_ids[v_checked + 1:v_last]) with ordinality as candidate (item_id, place)
        where candidate.item_id not in (
          select blocked.item_id
          from recommend._blocked(_gather.context, v_kind, _gather.item_ids[v_checked + 1:v_last], now()) as blocked
        )
        order by candidate.place
      );
      v_checked := v_last;
    elsif v_tier <= cardinality(v_tiers)
      and cardinality(allowed) + cardinality(item_ids) - v_checked < wanted + v_most_frozen
    then
      v_name := v_tiers[v_tier];
      -- Items that the model lowers are in no tier before their own.
      if v_name <> 'model' and v_lowered is null then
        v_lowered := recommend._tier_candidates('lowered', context, request, model_id, fewest_people, v_seen, 1000000);
        v_seen := v_seen || v_lowered.item_ids;
      end if;
      if v_name = 'lowered' then
        v_found := v_lowered;
      else
        if v_name = 'newest' then
          v_most := least(v_most, v_most_newest - v_newest);
        end if;
        v_found := recommend._tier_candidates(v_name, context, request, model_id, fewest_people, v_seen, v_most);
        v_seen := v_seen || v_found.item_ids;
      end if;
      if v_name = 'newest' then
        v_newest := v_newest + cardinality(v_found.item_ids);
      end if;
      v_is_full := cardinality(v_found.item_ids) = v_most and v_name <> 'lowered' and v_newest < v_most_newest;
      if v_is_full then
        v_most := 4 * v_most;
      else
        v_tier := v_tier + 1;
      end if;
      v_bases := array_fill(
        case v_name when 'lowered' then 'model' else v_name end, array[cardinality(v_found.item_ids)]
      );
      if v_has_raised then
        v_found := recommend._boosted(context, v_kind, v_found.item_ids, v_found.scores);
        v_is_merged := v_found.item_ids <> '{}' or cardinality(item_ids) > v_given or v_name = any (v_waiting.bases);
        with candidate as (
          select
            entry.*,
            case
              when v_name = 'lowered' then true
              when entry.score < 0 then false
              when entry.part = 1 then true
              -- The rest of the tier follows.
              when v_is_full then entry.score >= v_found.scores[cardinality(v_found.scores)]
              else v_is_merged
            end as is_next
          from (
            select 0 as part, waiting.*
            from unnest(v_waiting.item_ids, v_waiting.scores, v_waiting.bases) with ordinality
              as waiting (item_id, score, basis, place)

            union all

            select 1, found.*
            from unnest(v_found.item_ids, v_found.scores, v_bases) with ordinality
              as found (item_id, score, basis, place)
          ) as entry
        )

        select
          item_ids || array_agg(candidate.item_id order by candidate.score desc, candidate.part, candidate.place)
            filter (where candidate.is_next),
          scores || array_agg(candidate.score order by candidate.score desc, candidate.part, candidate.place)
            filter (where candidate.is_next),
          bases || array_agg(candidate.basis order by candidate.score desc, candidate.part, candidate.place)
            filter (where candidate.is_next),
          coalesce(
            array_agg(candidate.item_id order by candidate.part, candidate.place) filter (where not candidate.is_next),
            '{}'
          ),
          coalesce(
            array_agg(candidate.score order by candidate.part, candidate.place) filter (where not candidate.is_next),
            '{}'
          ),
          coalesce(
            array_agg(candidate.basis order by candidate.part, candidate.place) filter (where not candidate.is_next),
            '{}'
          )
        into item_ids, scores, bases, v_waiting.item_ids, v_waiting.scores, v_waiting.bases
        from candidate;
      else
        item_ids := item_ids || v_found.item_ids;
        scores := scores || v_found.scores;
        bases := bases || v_bases;
      end if;
    else
      exit;
    end if;
  end loop;
  unchecked := array(select generate_series(v_checked + 1, cardinality(item_ids)));
end;
$$;

comment on function recommend._gather(
  recommend.person_context, recommend.request, text[], bigint, int, bigint[], int, bigint[], float8[], text[]
) is $$
@behavior -*
Returns the candidates of a list in its order, after those that are given.
`allowed` are the positions of those that no rule leaves out, at least `wanted` if there are enough; `unchecked` of
those that were not compared with the rules, which are there to freeze the order. The tiers are used in their order,
each only while there are too few candidates. Items that rules raise, and liked ones, compete in the first tier that
has items; those whose score rules make negative come last. Of the newest items that are available by their own dates,
at most 20,000 are compared with the rules.
$$;
--! EndIncluded recommend/serving/_gather.sql

--! Included recommend/serving/_rank.sql
/*
 * A definer: no role may read the weights, the lists and the signing keys. What depends on the person is an argument,
 * and no data about people is read. Learners may not execute it: a context of their own making would show them the
 * lists and the ids of other people, and weights without the floor.
 */
create or replace function recommend._rank(
  context recommend.person_context,
  request recommend.request,
  tiers text[] default '{model,content,segment,popularity,newest,lowered}',
  first_items bigint[] default '{}'
)
returns setof recommend.recommendation
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
set plan_cache_mode to force_generic_plan
as $$
declare
  v_most_served constant int := 2000;
  v_kind constant text := (_rank.request).kind;
  v_top constant int := (_rank.request).top;
  v_scope constant text := recommend._page_scope(_rank.context, v_kind);
  v_page recommend.page := row(null, '{}', '{}', '{}');
  v_first_rank int;
  v_model_id bigint;
  v_version int;
  -- For a list that is not that of a person: what was learned from few people would show what these people took.
  v_fewest_people constant int := case
    when (_rank.context).person_id is null then (select smallest_group from analytics.setting)
    else 0
  end;
  v_seen bigint[] := (_rank.context).left_out || (_rank.request).excluded;
  v_first bigint[] := '{}';
  v_pins record;
  v_found record;
  v_list bigint[];
  v_rest bigint[];
  v_bases text[];
  v_diversity float8 := 0;
  v_pool_size int := 0;
  v_drawn bigint[];
  v_propensities float8[];
  v_pool bigint[];
begin
  perform common.check_count('top', v_top, 1, 1000);
  if (_rank.request).page is not null then
    v_page := recommend._read_page((_rank.request).page, v_scope, now());
    v_seen := v_seen || (v_page).served;
    v_page := recommend._without(v_page, _rank.context, v_seen, (_rank.request).only_items);
  elsif _rank.first_items <> '{}' then
    v_first := recommend._unblocked(_rank.context, null, _rank.first_items);
  end if;
  v_first_rank := cardinality((v_page).served) + 1;

  -- The version that ranked the former pages is used as long as its weights are kept.
  select model.model_id, model.version into v_model_id, v_version
  from recommend._deployed_model(v_kind) as model;
  if (v_page).model_id <> v_model_id
    and exists (select from recommend.model_part as part where part.model_id = (v_page).model_id)
  then
    select model.model_id, model.version into v_model_id, v_version
    from ml.model
    where model.model_id = (v_page).model_id;
  end if;

  -- Later pages continue the order of the first one.
  if (_rank.request).page is null then
    select
      coalesce((_rank.request).diversity, setting.diversity),
      case
        when (_rank.request).is_explored and setting.explored_slots <> '{}' then setting.explored_pool_size
        else 0
      end
    into v_diversity, v_pool_size
    from recommend.setting;
  end if;

  v_pins := recommend._allowed_pins(_rank.context, _rank.request, v_seen || v_first);
  v_found := recommend._gather(
    _rank.context, _rank.request, _rank.tiers, v_model_id, v_fewest_people,
    v_seen || v_first || v_pins.items || (v_page).frozen,
    greatest(v_top + v_pool_size, case when v_diversity > 0 then least(3 * v_top, 300) else 0 end),
    (v_page).frozen, array_fill(0::float8, array[cardinality((v_page).frozen)]), (v_page).bases
  );
  v_list := case
    when v_diversity > 0 then recommend._diversified(
      _rank.context, v_found.item_ids, v_found.scores, v_found.bases, v_found.allowed, v_top, v_diversity
    )
    else recommend._chosen(v_found.item_ids, v_found.allowed)
  end;
  v_list := recommend._place_pins(v_first || v_list, v_pins.items, v_pins.places, v_first_rank, v_top);
  v_rest := v_list[v_top + 1:];
  if v_pool_size > 0 then
    select
      coalesce(array_agg(explored.item_id order by explored.place), '{}'),
      array_agg(explored.propensity order by explored.place),
      max(explored.pool)
    into v_drawn, v_propensities, v_pool
    from recommend._explore(_rank.context, v_list, v_top, v_pins.items || v_first) as explored;
    v_rest := recommend._minus(v_list, v_drawn);
    v_list := v_drawn;
  end if;
  v_rest := (v_rest || recommend._chosen(v_found.item_ids, v_found.unchecked))[:200];
  v_list := v_list[:v_top];
  v_bases := recommend._bases(v_list, v_found.item_ids, v_found.bases, v_pins.items, v_first);
  if (_rank.request).page is not null then
    v_bases := recommend._current_bases(_rank.context, v_kind, v_model_id, v_fewest_people, v_list, v_bases);
  end if;

  return query
  select *
  from recommend._explain(
    _rank.context, v_kind, v_model_id, v_version, v_fewest_people, v_list, v_bases, v_propensities, v_pool,
    v_first_rank,
    case
      when v_rest <> '{}' and v_first_rank + v_top <= v_most_served then recommend._write_page(
        row(
          coalesce(v_model_id, 0),
          (v_page).served || v_list,
          v_rest,
          recommend._bases(v_rest, v_found.item_ids, v_found.bases, v_pins.items, v_first)
        )::recommend.page,
        v_scope,
        now()
      )
    end
  );
end;
$$;

comment on function recommend._rank(recommend.person_context, recommend.request, text[], bigint[]) is $$
@behavior -*
Returns the list that a person is recommended, best first.
Candidates are those of the tiers, in their order, each only while the list is short: those of the deployed model, of
similar content, popular in the segments of the person, popular, newest, and those that the model lowers. `first_items`
precede them, after the pinned ones. Items that a rule leaves out (`recommend._blocked`) are not in the list.
Errors: CF001 for a `page` that does not continue this list.
$$;

grant execute on function recommend._rank(recommend.person_context, recommend.request, text[], bigint[])
to insights_reader;
--! EndIncluded recommend/serving/_rank.sql

--! Included recommend/serving/_named_context.sql
create or replace function recommend._named_context(person text, kind text)
returns recommend.person_context
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_identity_id constant bigint := track.find_identity(_named_context.person);
begin
  return recommend._context(
    (select identity.person_id from track.identity where identity.identity_id = v_identity_id),
    v_identity_id,
    _named_context.kind
  );
end;
$$;

comment on function recommend._named_context(text, text) is $$
@behavior -*
Returns the context of the person with a name (`recommend._context`), as far as the caller may read it.
$$;

grant execute on function recommend._named_context(text, text) to insights_reader, insights_learner;
--! EndIncluded recommend/serving/_named_context.sql

--! Included recommend/serving/for_me.sql
/* A definer owned by insights_reader: learners may not execute `_rank`, which takes the context of any person. */
create or replace function recommend.for_me(
  top int default 10,
  kind text default 'course',
  exclude_items text[] default null,
  only_items text[] default null,
  diversity float8 default null,
  page text default null
)
returns setof recommend.recommendation
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_request constant recommend.request := recommend._request(
    for_me.top, for_me.kind, for_me.exclude_items, for_me.only_items, for_me.diversity, for_me.page
  );
begin
  return query
  select *
  from recommend._rank(recommend._my_context(for_me.kind), v_request);
end;
$$;

alter function recommend.for_me(int, text, text[], text[], float8, text) owner to insights_reader;

comment on function recommend.for_me(int, text, text[], text[], float8, text) is $$
Returns recommended items for the signed-in person, best first, each with reasons that add up to its score.
As many rows as `top` are returned while items are available: `basis` states what a row is based on. Excluded are items
that the person has taken, finished, dismissed or enrolled in, those that she teaches or wrote, and items that are not
available now. Events count as soon as they are stored. For a person who has opted out of `personalization`, nothing
that she did is used.
`exclude_items`: items that the list must not contain; `only_items`: the only ones that it may contain; `page`:
`next_page` of the list that is continued, for a day.
Errors: CF001 for `top`, `diversity` and `page`, CF002 for a kind that no item has and for an unknown item, CF008 for
more than 1,000 items.
$$;

grant execute on function recommend.for_me(int, text, text[], text[], float8, text) to insights_learner;
--! EndIncluded recommend/serving/for_me.sql

--! Included recommend/serving/for_person.sql
/* A definer owned by insights_reader: workers and admins query any person without privileges on the tables. */
create or replace function recommend.for_person(
  person text,
  top int default 10,
  kind text default 'course',
  exclude_items text[] default null,
  only_items text[] default null,
  diversity float8 default null,
  page text default null
)
returns setof recommend.recommendation
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_request constant recommend.request := recommend._person_request(
    for_person.person, for_person.top, for_person.kind, for_person.exclude_items, for_person.only_items,
    for_person.diversity, for_person.page
  );
begin
  return query
  select *
  from recommend._rank(recommend._named_context(for_person.person, for_person.kind), v_request);
end;
$$;

alter function recommend.for_person(text, int, text, text[], text[], float8, text) owner to insights_reader;

comment on function recommend.for_person(text, int, text, text[], text[], float8, text) is $$
Returns recommended items for a person, best first, each with reasons that add up to its score.
`person` is a `userId` or `anonymousId`. As many rows as `top` are returned while items are available: `basis` states
what a row is based on. An unknown person, and one who has opted out of `personalization`, gets what is popular and new.
The further arguments, and what is excluded, are those of `recommend.for_me`.
Errors: CF001 for an empty name, `top`, `diversity` and `page`, CF002 for a kind that no item has and for an unknown
item, CF008 for more than 1,000 items.
$$;

grant execute on function recommend.for_person(text, int, text, text[], text[], float8, text)
to insights_admin, insights_worker;
--! EndIncluded recommend/serving/for_person.sql

--! Included recommend/serving/for_people.sql
/* A definer owned by insights_reader: workers and admins query any person without privileges on the tables. */
create or replace function recommend.for_people(
  people text[],
  top int default 10,
  kind text default 'course',
  exclude_items text[] default null,
  only_items text[] default null,
  diversity float8 default null
)
returns setof recommend.person_recommendation
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_request constant recommend.request := recommend._request(
    for_people.top, for_people.kind, for_people.exclude_items, for_people.only_items, for_people.diversity, null
  );
  v_person text;
begin
  if for_people.people is null or cardinality(for_people.people) > 1000 then
    perform common.refuse(
      'CF008', format('%s people are given', coalesce(cardinality(for_people.people)::text, 'null')),
      'Give from 0 to 1,000 people.'
    );
  end if;
  -- A name that is given twice is one person.
  for v_person in
    select given.person
    from unnest(for_people.people) with ordinality as given (person, place)
    group by given.person
    order by min(given.place)
  loop
    if nullif(btrim(v_person), '') is null then
      perform common.refuse('CF001', 'a person is ' || coalesce('"' || v_person || '"', 'null'),
        'Give the userId or anonymousId that was sent with events.');
    end if;
    return query
    select v_person, recommendation.*
    from recommend._rank(recommend._named_context(v_person, for_people.kind), v_request) as recommendation;
  end loop;
end;
$$;

alter function recommend.for_people(text[], int, text, text[], text[], float8) owner to insights_reader;

comment on function recommend.for_people(text[], int, text, text[], text[], float8) is $$
Returns recommended items for each of at most 1,000 people, in the order of the given names.
A name that is given more than once has one list. The rows of a person are those of `recommend.for_person`.
Errors: CF001 for an empty name, `top` and `diversity`, CF002 for a kind that no item has and for an unknown item, CF008
for more than 1,000 people or items.
$$;

grant execute on function recommend.for_people(text[], int, text, text[], text[], float8)
to insights_admin, insights_worker;
--! EndIncluded recommend/serving/for_people.sql

--! Included recommend/serving/_items_of_kind.sql
create or replace function recommend._items_of_kind(items bigint[], kind text, most int)
returns bigint[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
as $$
begin
  return array(
    select latest.item_id
    from (
      select container.item_id, max(given.place) as place
      from unnest(_items_of_kind.items) with ordinality as given (item_id, place)
      cross join lateral (
        select ancestor.ancestor_item_id as item_id
        from track.item_ancestor as ancestor
        join track.item on item.item_id = ancestor.ancestor_item_id
        where ancestor.item_id = given.item_id
          and item.kind = _items_of_kind.kind
        order by ancestor.depth
        limit 1
      ) as container
      group by container.item_id
      order by max(given.place) desc
      limit _items_of_kind.most
    ) as latest
    order by latest.place
  );
end;
$$;

comment on function recommend._items_of_kind(bigint[], text, int) is $$
@behavior -*
Returns the items of a kind that are, or contain, the given items: each once, in the order of their last place.
The last `most` of them are returned.
$$;

grant execute on function recommend._items_of_kind(bigint[], text, int) to insights_reader, insights_learner;
--! EndIncluded recommend/serving/_items_of_kind.sql

--! Included recommend/serving/for_items.sql
/* A definer: no role may read the weights, and visitors may not read the items. It reads no data about people. */
create or replace function recommend.for_items(
  items text[],
  top int default 10,
  kind text default 'course',
  exclude_items text[] default null,
  only_items text[] default null,
  diversity float8 default null,
  page text default null
)
returns setof recommend.recommendation
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_request constant recommend.request := recommend._request(
    for_items.top, for_items.kind, for_items.exclude_items, for_items.only_items, for_items.diversity, for_items.page
  );
  v_given constant bigint[] := recommend._find_items(for_items.items);
  v_used bigint[];
begin
  if v_given is null then
    perform common.refuse('CF001', 'items is null', 'Give the items, the one that was used first in front.');
  end if;
  v_used := recommend._items_of_kind(v_given, for_items.kind, 100);
  return query
  select *
  from recommend._rank(
    row(
      null, 0, v_used, array_fill(1::real, array[cardinality(v_used)]),
      v_given, array_fill('given'::text, array[cardinality(v_given)]), v_given, '{}', '{}', '{}', '{}', '{}'
    )::recommend.person_context,
    v_request
  );
end;
$$;

comment on function recommend.for_items(text[], int, text, text[], text[], float8, text) is $$
Returns recommended items for given ones, such as a basket or the last items of a session, the first used in front.
No data about people is read. An item that is part of one of the kind counts as that one; the last 100 items count, and
are not returned. Prerequisites that are among the items are taken as fulfilled. Weights of items that fewer than
`analytics.setting.smallest_group` people had taken at the training are not used. Without such weights, the list has
what is popular and new. The further arguments are those of `recommend.for_me`.
Errors: CF001 for `items`, `top`, `diversity` and `page`, CF002 for a kind that no item has and for an unknown item,
CF008 for more than 1,000 items.
$$;

grant execute on function recommend.for_items(text[], int, text, text[], text[], float8, text)
to insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;
--! EndIncluded recommend/serving/for_items.sql

--! Included recommend/serving/_session_context.sql
create or replace function recommend._session_context(person_id bigint, identity_id bigint, kind text)
returns recommend.person_context
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_most_events constant int := 20;
  v_timeout constant interval := (select session_timeout from track.setting);
  v_context recommend.person_context := recommend._context(
    _session_context.person_id, _session_context.identity_id, _session_context.kind
  );
  v_items bigint[];
begin
  -- Without consent no data is read.
  if _session_context.person_id is null or not privacy.allowed(_session_context.person_id, 'personalization') then
    return v_context;
  end if;

  select array_agg(latest.item_id order by latest.occurred_at, latest.event_id)
  into v_items
  from (
    select
      recent.*,
      -- The number of pauses after the event.
      count(*) filter (where recent.pause > v_timeout) over (
        order by recent.occurred_at desc, recent.event_id desc
      ) as pauses
    from (
      select
        event.item_id, event.occurred_at, event.event_id,
        lag(event.occurred_at) over (order by event.occurred_at desc, event.event_id desc) - event.occurred_at as pause
      from track.event
      where event.person_id = _session_context.person_id
      order by event.occurred_at desc, event.event_id desc
      limit v_most_events
    ) as recent
  ) as latest
  where latest.pauses = 0
    and latest.item_id is not null;

  -- Without what she rejected, taught or wrote.
  v_items := recommend._items_of_kind(v_items, _session_context.kind, v_most_events);
  select
    coalesce(array_agg(used.item_id order by used.place), '{}'),
    coalesce(
      array_agg(
        case
          when stated.strength < 0 then stated.strength
          when stated.strength >= 1 then 1
          -- Below 1: what was only viewed is not liked (`recommend._raised`).
          else 0.9999999
        end
        order by used.place
      ),
      '{}'
    )
  into v_context.items, v_context.strengths
  from unnest(v_items) with ordinality as used (item_id, place)
  left join unnest(v_context.items, v_context.strengths) as stated (item_id, strength)
    on stated.item_id = used.item_id
  where not exists (
    select
    from unnest(v_context.left_out, v_context.left_out_reasons) as rejected (item_id, reason)
    where rejected.item_id = used.item_id
      and rejected.reason in ('own', 'dropped', 'dismissed')
  );
  return v_context;
end;
$$;

comment on function recommend._session_context(bigint, bigint, text) is $$
@behavior -*
Returns the context of a person (`recommend._context`) with the items of her last session alone.
These are the items of the kind that contain those of the last 20 events, up to a pause that ends a session. Items that
she does not like keep their strength.
$$;

grant execute on function recommend._session_context(bigint, bigint, text) to insights_reader, insights_learner;
--! EndIncluded recommend/serving/_session_context.sql

--! Included recommend/serving/for_session.sql
/* A definer owned by insights_reader: workers and admins query any person without privileges on the tables. */
create or replace function recommend.for_session(
  person text,
  top int default 10,
  kind text default 'course',
  exclude_items text[] default null,
  only_items text[] default null,
  diversity float8 default null,
  page text default null
)
returns setof recommend.recommendation
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_request constant recommend.request := recommend._person_request(
    for_session.person, for_session.top, for_session.kind, for_session.exclude_items, for_session.only_items,
    for_session.diversity, for_session.page
  );
begin
  return query
  select *
  from recommend._rank(
    recommend._session_context(
      track.find_person(for_session.person), track.find_identity(for_session.person), for_session.kind
    ),
    v_request
  );
end;
$$;

alter function recommend.for_session(text, int, text, text[], text[], float8, text) owner to insights_reader;

comment on function recommend.for_session(text, int, text, text[], text[], float8, text) is $$
Returns recommended items for what a person does now: by the items of the last session alone.
`person` is an `anonymousId` or a `userId`. The items of the last 20 events count, up to a pause that ends a session
(`track.setting.session_timeout`); a page or a task counts as the course that contains it. Everything else, such as what
is left out, is as in `recommend.for_person`.
Errors: CF001 for an empty name, `top`, `diversity` and `page`, CF002 for a kind that no item has and for an unknown
item, CF008 for more than 1,000 items.
$$;

grant execute on function recommend.for_session(text, int, text, text[], text[], float8, text)
to insights_admin, insights_worker;
--! EndIncluded recommend/serving/for_session.sql

--! Included recommend/serving/trending.sql
/* A definer: visitors may not read the items and lists. It reads no data about people. */
create or replace function recommend.trending(
  top int default 10,
  kind text default 'course',
  exclude_items text[] default null,
  only_items text[] default null,
  page text default null
)
returns setof recommend.recommendation
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_request constant recommend.request := recommend._request(
    trending.top, trending.kind, trending.exclude_items, trending.only_items, null, trending.page
  );
begin
  return query
  select *
  from recommend._rank(
    row(null, 0, '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}')::recommend.person_context,
    v_request,
    '{trending,popularity,newest}'
  );
end;
$$;

comment on function recommend.trending(int, text, text[], text[], text) is $$
Returns the items that are used more than expected, the most significant first; then what is popular and new.
Trending items are those of `analytics.trending_items` in the last seven days, as of the last refresh of the lists, with
a day of at least `analytics.setting.smallest_group` people. The list is the same for all people. `exclude_items`,
`only_items` and `page` are those of `recommend.for_me`.
Errors: CF001 for `top` and `page`, CF002 for a kind that no item has and for an unknown item, CF008 for more than 1,000
items.
$$;

grant execute on function recommend.trending(int, text, text[], text[], text)
to insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;
--! EndIncluded recommend/serving/trending.sql

--! Included recommend/serving/_next_items.sql
create or replace function recommend._next_items(context recommend.person_context)
returns bigint[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_most constant int := 5000;
  v_last bigint;
  v_course bigint;
begin
  -- Without consent no data is read.
  if (_next_items.context).person_id is null
    or not privacy.allowed((_next_items.context).person_id, 'personalization')
  then
    return '{}';
  end if;

  -- The item that was used last, of those in a course.
  select event.item_id, container.item_id into v_last, v_course
  from (
    select recent.item_id, recent.occurred_at, recent.event_id
    from track.event as recent
    where recent.person_id = (_next_items.context).person_id
      and recent.item_id is not null
    order by recent.occurred_at desc, recent.event_id desc
    limit 100
  ) as event
  cross join lateral (
    select ancestor.ancestor_item_id as item_id
    from track.item_ancestor as ancestor
    join track.item on item.item_id = ancestor.ancestor_item_id and item.kind = 'course'
    where ancestor.item_id = event.item_id
    order by ancestor.depth
    limit 1
  ) as container
  where not exists (
    select
    from unnest((_next_items.context).left_out, (_next_items.context).left_out_reasons) as over (item_id, reason)
    where over.item_id = container.item_id
      and over.reason in ('completed', 'known', 'dropped', 'dismissed', 'disliked', 'own')
  )
  order by event.occurred_at desc, event.event_id desc
  limit 1;
  if not found then
    return '{}';
  end if;

  return array(
    with recursive part as (
      select v_course as item_id, '{}'::numeric[] as place, 0 as depth

      union all

      -- In the order of the attribute `position`, or else in which the items were first seen.
      select
        item.item_id,
        part.place || case
          when item.attributes ->> 'position' ~ '^-?[0-9]{1,9}([.][0-9]{1,9})?$'
            then (item.attributes ->> 'position')::numeric
          else 1000000000
        end || item.item_id::numeric,
        part.depth + 1
      from part
      join track.item on item.parent_item_id = part.item_id
      where part.depth < 20
        and item.merged_item_id is null
    ),

    ordered as (
      select part.item_id, row_number() over (order by part.place) as n
      from part
      limit v_most
    ),

    leaf as (
      select
        ordered.item_id,
        ordered.n,
        ordered.n > last_used.n as is_after,
        exists (
          select
          from track.event
          where event.person_id = (_next_items.context).person_id
            and event.item_id = ordered.item_id
        ) as is_used
      from ordered
      cross join (
        select coalesce(max(used.n), 0) as n from ordered as used where used.item_id = v_last
      ) as last_used
      where ordered.item_id <> v_course
        and not exists (select from track.item as child where child.parent_item_id = ordered.item_id)
        and ordered.item_id <> all ((_next_items.context).finished)
    )

    -- First those that follow, then those that were left out before.
    select leaf.item_id
    from leaf
    where leaf.is_after
      or not leaf.is_used
    order by leaf.is_after desc, leaf.n
    limit 200
  );
end;
$$;

comment on function recommend._next_items(recommend.person_context) is $$
@behavior -*
Returns what follows in the course that a person used last: parts without parts of their own that she has not finished.
First those after the item that was used last, in the order of the tree; then those before it that she has not used.
Empty when she has used no course among the last 100 events, or only courses that are over for her.
$$;

grant execute on function recommend._next_items(recommend.person_context) to insights_reader, insights_learner;
--! EndIncluded recommend/serving/_next_items.sql

--! Included recommend/serving/next_item.sql
/* A definer owned by insights_reader: workers and admins query any person without privileges on the tables. */
create or replace function recommend.next_item(
  person text,
  top int default 1,
  kind text default 'course'
)
returns setof recommend.recommendation
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_request constant recommend.request := recommend._person_request(
    next_item.person, next_item.top, next_item.kind, null, null, null, null
  );
  v_context constant recommend.person_context := recommend._named_context(next_item.person, next_item.kind);
begin
  return query
  select *
  from recommend._rank(v_context, v_request, first_items => recommend._next_items(v_context));
end;
$$;

alter function recommend.next_item(text, int, text) owner to insights_reader;

comment on function recommend.next_item(text, int, text) is $$
Returns what a person can do next: items of any kind in the course that she used last, then other courses.
The items follow the one that was used last, in the order of the tree (attribute `position`, or else in which they were
first seen), without those that are finished or whose prerequisites are not (`basis` is `next`). When the course has no
such item, and after these items, the rows are those of `recommend.for_person` for `kind`.
Errors: CF001 for an empty name and `top`, CF002 for a kind that no item has.
$$;

grant execute on function recommend.next_item(text, int, text) to insights_admin, insights_worker;
--! EndIncluded recommend/serving/next_item.sql

--! Included recommend/serving/my_next_item.sql
/* A definer owned by insights_reader: learners may not execute `_rank`, which takes the context of any person. */
create or replace function recommend.my_next_item(
  top int default 1,
  kind text default 'course'
)
returns setof recommend.recommendation
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_request constant recommend.request := recommend._request(
    my_next_item.top, my_next_item.kind, null, null, null, null
  );
  v_context constant recommend.person_context := recommend._my_context(my_next_item.kind);
begin
  return query
  select *
  from recommend._rank(v_context, v_request, first_items => recommend._next_items(v_context));
end;
$$;

alter function recommend.my_next_item(int, text) owner to insights_reader;

comment on function recommend.my_next_item(int, text) is $$
Returns what the signed-in person can do next: the rows of `recommend.next_item` for her.
Errors: CF001 for `top`, CF002 for a kind that no item has.
$$;

grant execute on function recommend.my_next_item(int, text) to insights_learner;
--! EndIncluded recommend/serving/my_next_item.sql

--! Included recommend/serving/similar_items.sql
/* A definer: no role may read the weights. */
create or replace function recommend.similar_items(
  item text,
  top int default 10
)
returns setof recommend.similar_item
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_item track.item;
  v_model ml.model;
  -- The items similar to an item that few people took are the other items of these people.
  v_fewest constant int := (select smallest_group from analytics.setting);
begin
  perform common.check_count('top', similar_items.top, 1, 1000);
  select known.* into v_item
  from track.item as known
  where known.item_id = (recommend._find_items(array[similar_items.item]))[1];

  select * into v_model
  from recommend._deployed_model(v_item.kind);
  if not found then
    perform common.refuse('CF006', format('no recommender is trained for items of kind "%s"', v_item.kind),
      format('Run select * from recommend.train(%L), or wait for the scheduled training.', v_item.kind));
  end if;

  perform
  from recommend.neighbours
  where neighbours.model_id = v_model.model_id
    and neighbours.item_id = v_item.item_id
    and neighbours.person_count >= v_fewest;
  if not found then
    perform common.refuse(
      'CF006',
      format('version %s of the recommender does not contain "%s"', v_model.version, left(similar_items.item, 100)),
      format(
        'Fewer than %s people (analytics.setting.smallest_group) had taken the item when the version was trained.',
        v_fewest
      )
    );
  end if;

  return query
  with entry as (
    select entry.item_id, sum(part.share::float8 * entry.weight) as weight
    from recommend.model_part as part
    join recommend.neighbours as source
      on source.model_id = part.model_id
      and source.part = part.part
    cross join lateral unnest(source.neighbour_ids, source.weights) as entry (item_id, weight)
    where part.model_id = v_model.model_id
      and source.item_id = v_item.item_id
    group by entry.item_id
  ),

  known as (
    select entry.weight, other.item_id, other.external_id, other.title
    from entry
    join track.item as other on other.item_id = entry.item_id
    where entry.weight > 0
      and other.item_id <> v_item.item_id
      and exists (
        select
        from recommend.neighbours as own
        where own.model_id = v_model.model_id
          and own.item_id = other.item_id
          and own.person_count >= v_fewest
      )
      -- An item may have been merged, or described as another kind, after the training.
      and other.kind = v_item.kind
  ),

  -- The rules of lists, for no person: prerequisites are taken as fulfilled.
  blocked as (
    select left_out.item_id
    from recommend._blocked(
      row(
        null, 0, '{}', '{}', '{}', '{}',
        array(
          select prerequisite.required_item_id
          from known
          join track.item_ancestor as ancestor on ancestor.item_id = known.item_id
          join track.prerequisite on prerequisite.item_id = ancestor.ancestor_item_id
        ),
        '{}', '{}', '{}', '{}', '{}'
      )::recommend.person_context,
      v_item.kind,
      array(select known.item_id from known),
      now()
    ) as left_out
  )

  select
    row_number() over (order by known.weight desc, known.item_id)::int,
    known.item_id,
    known.external_id,
    known.title,
    known.weight
  from known
  where known.item_id not in (select blocked.item_id from blocked)
  order by known.weight desc, known.item_id
  limit similar_items.top;
end;
$$;

comment on function recommend.similar_items(text, int) is $$
Returns the items that are most similar to an item, the most similar first.
The score is the weight of the model between the two items, adjusted for all other items (a partial correlation, not a
count of common people). Only items of the same kind with a positive weight that the rules for all people permit are
returned, whatever their prerequisites. Items that fewer than `analytics.setting.smallest_group` people had taken at
the training are excluded.
Errors: CF001 for `top`, CF002 for an unknown item (names the nearest), CF006 when no model is trained or the model
does not contain the item.
$$;

grant execute on function recommend.similar_items(text, int)
to insights_learner, insights_analyst, insights_admin, insights_worker;
--! EndIncluded recommend/serving/similar_items.sql

--! Included recommend/rules/_why_not.sql
/*
 * A definer, as recommend._rank: what depends on the person is an argument, and no data about people is read. The names
 * of rules are only for those who read the data of all people: a name may tell why a set of people has a rule.
 */
create or replace function recommend._why_not(context recommend.person_context, item_id bigint, top int)
returns recommend.verdict
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_item constant track.item := (select item from track.item where item.item_id = _why_not.item_id);
  v_most constant int := 1000;
  v_verdict recommend.verdict;
  v_found record;
begin
  v_verdict.item_id := v_item.item_id;
  v_verdict.item := v_item.external_id;
  v_verdict.title := v_item.title;
  v_verdict.is_recommended := false;

  select blocked.rule, blocked.detail into v_verdict.rule, v_verdict.detail
  from recommend._blocked(_why_not.context, v_item.kind, array[v_item.item_id], now()) as blocked;
  if found then
    if not track.reads_all_people() then
      v_verdict.rule := coalesce(
        (select rule.action from recommend.rule where rule.name = v_verdict.rule), v_verdict.rule
      );
    end if;
    return v_verdict;
  end if;

  -- In the list of this length, or else in the longest one.
  foreach v_verdict.rank in array array[_why_not.top] || array_remove(array[v_most], _why_not.top) loop
    select
      count(*) as count,
      max(listed.rank) filter (where listed.item_id = v_item.item_id) as rank,
      max(listed.score) filter (where listed.item_id = v_item.item_id) as score,
      max(listed.basis) filter (where listed.item_id = v_item.item_id) as basis
    into v_found
    from recommend._rank(
      _why_not.context,
      row(v_item.kind, v_verdict.rank, '{}', null, null, false, null)::recommend.request
    ) as listed;
    exit when v_found.rank is not null;
  end loop;
  v_verdict.rank := v_found.rank;
  v_verdict.score := v_found.score;
  v_verdict.basis := v_found.basis;
  v_verdict.is_recommended := coalesce(v_found.rank <= _why_not.top, false);
  if v_found.rank is null then
    v_verdict.rule := 'rank';
    v_verdict.detail := case
      when v_found.count = v_most then format('Not among the first %s items', v_most)
      else 'Not among the candidates: those of the model, similar and popular ones, and the newest 20,000'
    end;
  elsif v_verdict.is_recommended then
    v_verdict.detail := format('Recommended, at rank %s', v_found.rank);
  else
    v_verdict.rule := 'rank';
    v_verdict.detail := format('At rank %s, after the first %s items', v_found.rank, _why_not.top);
  end if;
  return v_verdict;
end;
$$;

comment on function recommend._why_not(recommend.person_context, bigint, int) is $$
@behavior -*
Returns whether the list of the first `top` items for a person contains an item, and what left it out otherwise.
$$;

grant execute on function recommend._why_not(recommend.person_context, bigint, int) to insights_reader;
--! EndIncluded recommend/rules/_why_not.sql

--! Included recommend/rules/why_not.sql
/* A definer owned by insights_reader: workers and admins query any person without privileges on the tables. */
create or replace function recommend.why_not(person text, item text, top int default 10)
returns recommend.verdict
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_item_id bigint;
begin
  perform recommend._check_person(why_not.person);
  perform common.check_count('top', why_not.top, 1, 1000);
  v_item_id := (recommend._find_items(array[why_not.item]))[1];
  return recommend._why_not(
    recommend._named_context(
      why_not.person, (select known.kind from track.item as known where known.item_id = v_item_id)
    ),
    v_item_id,
    why_not.top
  );
end;
$$;

alter function recommend.why_not(text, text, int) owner to insights_reader;

comment on function recommend.why_not(text, text, int) is $$
Returns why the list of the first `top` items for a person does not contain an item, or its rank when it does.
`person` is a `userId` or `anonymousId`. The list is that of `recommend.for_person` for the kind of the item, without
random draws. `rule` names the first rule that leaves the item out, or what the person did (`completed`, `taken`, …), or
is `rank` when other items are better; then `rank` and `score` are those of the item, among the first 1,000.
Errors: CF001 for an empty name and for `top`, CF002 for an unknown item (names the nearest).
$$;

grant execute on function recommend.why_not(text, text, int) to insights_admin, insights_worker;
--! EndIncluded recommend/rules/why_not.sql

--! Included recommend/rules/why_not_me.sql
/* A definer owned by insights_reader: learners may not execute `_why_not`, which takes the context of any person. */
create or replace function recommend.why_not_me(item text, top int default 10)
returns recommend.verdict
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_item_id bigint;
begin
  perform common.check_count('top', why_not_me.top, 1, 1000);
  v_item_id := (recommend._find_items(array[why_not_me.item]))[1];
  return recommend._why_not(
    recommend._my_context((select known.kind from track.item as known where known.item_id = v_item_id)),
    v_item_id,
    why_not_me.top
  );
end;
$$;

alter function recommend.why_not_me(text, int) owner to insights_reader;

comment on function recommend.why_not_me(text, int) is $$
Returns why the list of the first `top` items for the signed-in person does not contain an item, or else its rank.
As `recommend.why_not`; of the rules of administrators, `rule` is the action, such as `exclude`.
Errors: CF001 for `top`, CF002 for an unknown item (names the nearest).
$$;

grant execute on function recommend.why_not_me(text, int) to insights_learner;
--! EndIncluded recommend/rules/why_not_me.sql

--! Included recommend/rules/_rank_given.sql
/* A definer, as recommend._rank: what depends on the person is an argument, and no data about people is read. */
create or replace function recommend._rank_given(
  context recommend.person_context,
  kind text,
  items text[]
)
returns setof recommend.ranked_item
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_items constant bigint[] := array(
    select given.item_id
    from unnest(recommend._find_items(_rank_given.items)) with ordinality as given (item_id, place)
    group by given.item_id
    order by min(given.place)
  );
  v_reads_all constant boolean := track.reads_all_people();
begin
  if _rank_given.items is null then
    perform common.refuse('CF001', 'items is null', 'Give the names of the items to rank.');
  end if;
  if v_items = '{}' then
    return;
  end if;

  return query
  select
    listed.rank, listed.item_id, listed.item, listed.title, listed.score, listed.reasons, listed.basis, null::text,
    null::text
  from recommend._rank(
    _rank_given.context, row(_rank_given.kind, 1000, '{}', v_items, 0, false, null)::recommend.request
  ) as listed
  order by listed.rank;

  return query
  select
    null::int, item.item_id, item.external_id, item.title, null::float8, null::recommend.reason[], null::text,
    case when v_reads_all then blocked.rule else coalesce(rule.action, blocked.rule) end,
    blocked.detail
  from recommend._blocked(_rank_given.context, _rank_given.kind, v_items, now()) as blocked
  join track.item using (item_id)
  left join recommend.rule on rule.name = blocked.rule
  order by array_position(v_items, blocked.item_id);
end;
$$;

comment on function recommend._rank_given(recommend.person_context, text, text[]) is $$
@behavior -*
Returns the given items with their ranks among each other and scores for a person, best first.
Those that are left out follow, each with its rule.
$$;

grant execute on function recommend._rank_given(recommend.person_context, text, text[]) to insights_reader;
--! EndIncluded recommend/rules/_rank_given.sql

--! Included recommend/rules/rank_items.sql
/* A definer owned by insights_reader: workers and admins query any person without privileges on the tables. */
create or replace function recommend.rank_items(person text, items text[], kind text default 'course')
returns setof recommend.ranked_item
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
begin
  perform recommend._check_person(rank_items.person);
  perform recommend._check(1, rank_items.kind);
  return query
  select *
  from recommend._rank_given(
    recommend._named_context(rank_items.person, rank_items.kind),
    rank_items.kind,
    rank_items.items
  );
end;
$$;

alter function recommend.rank_items(text, text[], text) owner to insights_reader;

comment on function recommend.rank_items(text, text[], text) is $$
Returns given items in the order in which they are recommended to a person, with scores and reasons.
`person` is a `userId` or `anonymousId`. The scores and the order are those of `recommend.for_person`, without diversity
and draws. Items that are left out come last, without a rank, with the rule and its explanation; an item of another
kind too. Repeated names, also by a merge, are ranked once.
Errors: CF001 for an empty name and for no list, CF002 for a kind that no item has and for an unknown item (names the
nearest), CF008 for more than 1,000 items.
$$;

grant execute on function recommend.rank_items(text, text[], text) to insights_admin, insights_worker;
--! EndIncluded recommend/rules/rank_items.sql

--! Included recommend/rules/rank_my_items.sql
/* A definer owned by insights_reader: learners may not execute `_rank_given`, which takes the context of any person. */
create or replace function recommend.rank_my_items(items text[], kind text default 'course')
returns setof recommend.ranked_item
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
begin
  perform recommend._check(1, rank_my_items.kind);
  return query
  select *
  from recommend._rank_given(
    recommend._my_context(rank_my_items.kind), rank_my_items.kind, rank_my_items.items
  );
end;
$$;

alter function recommend.rank_my_items(text[], text) owner to insights_reader;

comment on function recommend.rank_my_items(text[], text) is $$
Returns given items in the order in which they are recommended to the signed-in person, with scores and reasons.
As `recommend.rank_items`; of the rules of administrators, `rule` is the action, such as `exclude`.
Errors: CF001 for no list, CF002 for a kind that no item has and for an unknown item (names the nearest), CF008 for more
than 1,000 items.
$$;

grant execute on function recommend.rank_my_items(text[], text) to insights_learner;
--! EndIncluded recommend/rules/rank_my_items.sql

--! Included recommend/train/_training_rows.sql
create or replace function recommend._training_rows(kind text, until timestamptz default 'infinity')
returns table (person_id bigint, item_id bigint, strength real, first_at timestamptz, last_at timestamptz)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
-- All rows are read. Before the tables have statistics, as after an import, nested loops take a minute in place of a
-- second.
set enable_nestloop to off
as $$
declare
  v_full_weight constant real := (select full_weight from recommend.setting);
  v_by_default constant boolean := (
    select purpose.basis <> 'consent'
    from privacy.purpose
    where purpose.purpose = 'personalization'
  );
  -- People with an item that they used before and after that time.
  v_straddling constant bigint[] := array(
    select distinct interaction.person_id
    from recommend.interaction
    where interaction.first_at < _training_rows.until
      and interaction.last_at >= _training_rows.until
  );
begin
  return query
  with leaf as (
    select
      interaction.person_id, interaction.item_id, interaction.weight, interaction.first_at, interaction.last_at,
      interaction.completed_at, interaction.dismissed_at, interaction.dropped_at, interaction.resumed_at,
      interaction.withdrawn_at, interaction.liking, interaction.liked_at
    from recommend.interaction
    where interaction.last_at < _training_rows.until

    union all

    -- Interactions that have later events are computed from the events before that time.
    select
      before.person_id, before.item_id, before.weight, before.first_at, before.last_at,
      before.completed_at, before.dismissed_at, before.dropped_at, before.resumed_at,
      before.withdrawn_at, before.liking, before.liked_at
    from recommend._interactions_of(v_straddling, until => _training_rows.until) as before
    join recommend.interaction
      on interaction.person_id = before.person_id
      and interaction.item_id = before.item_id
      and interaction.last_at >= _training_rows.until

    union all

    -- Enrolments that the application reports count as taken.
    select
      enrolment.person_id, enrolment.item_id, v_full_weight, enrolment.enrolled_at, enrolment.enrolled_at,
      case when enrolment.status = 'completed' then enrolment.enrolled_at end,
      null,
      case when ended.is_dropped then coalesce(enrolment.ended_at, enrolment.enrolled_at) end,
      case when not ended.is_dropped then enrolment.enrolled_at end,
      null, null, null
    from track.enrolment
    cross join lateral (
      select enrolment.status = 'dropped'
        and coalesce(enrolment.ended_at, enrolment.enrolled_at) < _training_rows.until as is_dropped
    ) as ended
    where enrolment.enrolled_at < _training_rows.until
  ),

  allowed as (
    select leaf.*
    from leaf
    join track.person_set_block as counted
      on counted.name = 'counted'
      and counted.block = leaf.person_id / 4096
      and get_bit(counted.people, (leaf.person_id % 4096)::int) <> 0
    -- With the default "allowed", the decisions that matter are opt-outs; with the default "not allowed", grants.
    where v_by_default <> (
      leaf.person_id in (
        select decision.person_id
        from privacy.latest_decisions('personalization') as decision
        where decision.granted <> v_by_default
      )
    )
  ),

  used as (
    select
      allowed.person_id,
      target.item_id,
      sum(allowed.weight::float8) as weight,
      min(allowed.first_at) as first_at,
      max(allowed.last_at) as last_at
    from allowed
    join track.item_ancestor as ancestor on ancestor.item_id = allowed.item_id
    join track.item as target on target.item_id = ancestor.ancestor_item_id
    where (_training_rows.kind is null or target.kind = _training_rows.kind)
      -- Without items that the person teaches or wrote, and all that they contain.
      and not exists (
        select
        from track.item_ancestor as container
        join track.applied_item_role as item_role on item_role.item_id = container.ancestor_item_id
        where container.item_id = allowed.item_id
          and item_role.person_id = allowed.person_id
      )
    group by allowed.person_id, target.item_id
  ),

  -- Events of the items themselves, not of parts of them. Without feedback, use alone counts.
  said as (
    select
      allowed.person_id,
      allowed.item_id,
      max(allowed.completed_at) as completed_at,
      max(allowed.dismissed_at) as dismissed_at,
      max(allowed.dropped_at) as dropped_at,
      max(allowed.resumed_at) as resumed_at,
      max(allowed.withdrawn_at) as withdrawn_at,
      max(allowed.liking) filter (where allowed.liked_at > coalesce(allowed.withdrawn_at, '-infinity')) as liking,
      max(allowed.liked_at) filter (where allowed.liked_at > coalesce(allowed.withdrawn_at, '-infinity')) as liked_at
    from allowed
    join track.item using (item_id)
    where _training_rows.kind is null
      or item.kind = _training_rows.kind
    group by allowed.person_id, allowed.item_id
    having num_nonnulls(max(allowed.dismissed_at), max(allowed.dropped_at), max(allowed.liked_at)) > 0
  ),

  liked as (
    select
      used.*,
      recommend._strength(
        used.weight,
        v_full_weight,
        said.liking,
        recommend._is_rejected(
          said.dismissed_at, said.withdrawn_at, said.resumed_at, case when said.liking > 0 then said.liked_at end
        )
        or said.completed_at is null
          and recommend._is_rejected(
            said.dropped_at, null, said.resumed_at, case when said.liking > 0 then said.liked_at end
          )
      ) as strength
    from used
    left join said using (person_id, item_id)
  )

  select liked.person_id, liked.item_id, liked.strength, liked.first_at, liked.last_at
  from liked
  where liked.strength > 0;
end;
$$;

comment on function recommend._training_rows(text, timestamptz) is $$
@behavior -*
Returns the items of a kind, or of all kinds for null, that people like, by the same rules as `recommend._context`.
`strength` is above 0, and at most 1. Items that a person dislikes, dismissed or left before the end are not returned,
nor those that she only marked as known. `first_at` is the time at which she took the item, by which her items are in
order.
Events and enrolments from `until` on do not count.
Only people in the set `counted` who have consented to `personalization`, or have not opted out, are included, without
what they teach or wrote.
$$;
--! EndIncluded recommend/train/_training_rows.sql

--! Included recommend/evaluation/_code_relations.sql
create or replace function recommend._comparable(
  train regclass,
  train_column text,
  test regclass,
  test_column text
)
returns text
language plpgsql
volatile
as $$
begin
  execute format(
    'select
     from (select distinct source.%1$s as a from %2$s as source) as one
     join (select distinct source.%3$s as b from %4$s as source) as other on one.a = other.b
     limit 0',
    train_column, train, test_column, test
  );
  return '';
exception when undefined_function then
  return '::text';
end;
$$;

comment on function recommend._comparable(regclass, text, regclass, text) is $$
Returns the cast with which the values of two columns are compared: none, or to text when they have no equality.
The columns are quoted, and exist.
$$;

create or replace function recommend._code_relations(
  train regclass,
  test regclass,
  person_column name,
  item_column name,
  order_column name
)
returns void
language plpgsql
volatile
as $$
declare
  v_train_person text := common.column_name(train, person_column::text, 'person column');
  v_train_item text := common.column_name(train, item_column::text, 'item column');
  v_test_person text := common.column_name(test, person_column::text, 'person column');
  v_test_item text := common.column_name(test, item_column::text, 'item column');
  v_order constant text := case when order_column is not null then
    'source.' || common.column_name(train, order_column::text, 'order column') end;
  v_cast text;
begin
  if exists (
    select
    from pg_class as relation
    where relation.oid in (train, test)
      and relation.relnamespace = pg_my_temp_schema()
      and relation.relname like '\_recommend\_%'
  ) then
    perform common.refuse('CF001', format('%s and %s are the relations', train, test),
      'Temporary tables whose names begin with _recommend_ are those of this function: choose another name.');
  end if;
  v_cast := recommend._comparable(train, v_train_person, test, v_test_person);
  v_train_person := 'source.' || v_train_person || v_cast;
  v_test_person := 'source.' || v_test_person || v_cast;
  v_cast := recommend._comparable(train, v_train_item, test, v_test_item);
  v_train_item := 'source.' || v_train_item || v_cast;
  v_test_item := 'source.' || v_test_item || v_cast;
  drop table if exists pg_temp._recommend_row, pg_temp._recommend_person, pg_temp._recommend_item,
    pg_temp._recommend_training, pg_temp._recommend_target;

  begin
    execute format(
      'create temporary table _recommend_row on commit drop as
       select %1$s as person, %2$s as item, %3$s as place
       from %4$s as source
       where %1$s is not null and %2$s is not null
       group by %1$s, %2$s',
      v_train_person, v_train_item, coalesce('max(' || v_order || ')', '0'), train
    );
  exception when undefined_function then
    perform common.refuse('CF001', format('the values of "%s" have no order', order_column),
      'Give a column of numbers, times or texts, or null.');
  end;

  -- Numbers of items are in the order in which items of equal score are ranked.
  create temporary table _recommend_item on commit drop as
  select item, (row_number() over (order by count(*) desc, item::text collate "C"))::int as item_no
  from pg_temp._recommend_row
  group by item;

  execute format(
    'create temporary table _recommend_person on commit drop as
     select person, (row_number() over (order by person::text collate "C"))::int as person_no
     from (
       select person from pg_temp._recommend_row
       union
       select %1$s from %2$s as source where %1$s is not null and %3$s is not null
     ) as everyone',
    v_test_person, test, v_test_item
  );
  analyze pg_temp._recommend_row, pg_temp._recommend_person, pg_temp._recommend_item;

  create temporary table _recommend_training on commit drop as
  select
    person_no,
    item_no,
    1::real as weight,
    case when v_order is not null then
      (rank() over (partition by person_no order by place nulls first))::int
    end as position
  from pg_temp._recommend_row
  join pg_temp._recommend_person using (person)
  join pg_temp._recommend_item using (item);

  -- An item of the test rows that is not in the training rows is relevant, and in no list.
  execute format(
    'create temporary table _recommend_target on commit drop as
     select person_no, array_agg(item_no) filter (where item_no is not null) as relevant,
       count(*)::int as relevant_count, ''{}''::int[] as left_out
     from (
       select _recommend_person.person_no, _recommend_item.item_no
       from (
         select %1$s as person, %2$s as item
         from %3$s as source
         where %1$s is not null and %2$s is not null
         group by %1$s, %2$s
       ) as hidden
       join pg_temp._recommend_person on _recommend_person.person = hidden.person
       left join pg_temp._recommend_item on _recommend_item.item = hidden.item
     ) as hidden
     where not exists (
       select
       from pg_temp._recommend_training as known
       where known.person_no = hidden.person_no and known.item_no = hidden.item_no
     )
     group by person_no
     order by person_no',
    v_test_person, v_test_item, test
  );
  drop table pg_temp._recommend_row, pg_temp._recommend_person;
  analyze pg_temp._recommend_training, pg_temp._recommend_target;
end;
$$;

comment on function recommend._code_relations(regclass, regclass, name, name, name) is $$
@behavior -*
Numbers the people and items of two relations, and writes them to temporary tables.
`_recommend_training (person_no, item_no, weight, position)`: the pairs of `train`, once each, at their last position;
`_recommend_target (person_no, relevant, relevant_count, left_out)`: the people of `test` with items that they do not
have in `train`; `_recommend_item (item, item_no)`: the items of `train`, numbered from 1 by their number of people, the
greatest first, then by their text in byte order.
Rows with a null person or item do not count. Positions are null without an order column; a null there comes first.
Errors: CF001 (a column without order, the name of a temporary table), CF002 (no such column).
$$;

grant execute on function
  recommend._comparable(regclass, text, regclass, text),
  recommend._code_relations(regclass, regclass, name, name, name)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded recommend/evaluation/_code_relations.sql

--! Included recommend/evaluation/_part_neighbours.sql
create or replace function recommend._part_neighbours(
  training regclass,
  algorithm text,
  parameters jsonb
)
returns setof ml.neighbour_row
language plpgsql
stable
set search_path from current
as $$
begin
  return query execute format(
    'select * from ml.%I(%L::regclass %s)',
    case algorithm when 'edlae' then 'ease' else algorithm end || '_neighbours',
    training,
    (
      select string_agg(format(', %I => %L', parameter.key, parameter.value), '' order by parameter.key)
      from jsonb_each_text(parameters) as parameter
    )
  );
end;
$$;

comment on function recommend._part_neighbours(regclass, text, jsonb) is $$
@behavior -*
Trains a part of a model on coded interactions: returns its neighbour lists.
The names in `parameters` are those of the arguments of the function of the algorithm in `ml`.
$$;

grant execute on function recommend._part_neighbours(regclass, text, jsonb)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded recommend/evaluation/_part_neighbours.sql

--! Included recommend/evaluation/_fit_parts.sql
create or replace function recommend._dense_rows(
  training regclass,
  parameters jsonb,
  item_count int,
  out item_no int,
  out v vector
)
returns setof record
language plpgsql
volatile
set search_path from current
set jit to off
as $$
declare
  v_exponent constant float8 := coalesce((parameters ->> 'person_exponent')::float8, 0);
  v_sums ml.ease_sums;
begin
  create temporary table if not exists _recommend_sums (
    relation oid, person_exponent float8, sums ml.ease_sums
  ) on commit drop;
  select (kept.sums).* into v_sums
  from pg_temp._recommend_sums as kept
  where kept.relation = training
    and kept.person_exponent = v_exponent;
  if v_sums.items is null then
    v_sums := ml.ease_coded_sums(training, v_exponent);
    delete from pg_temp._recommend_sums as kept where kept.relation <> training;
    insert into pg_temp._recommend_sums values (training, v_exponent, v_sums);
  end if;
  return query
  select
    v_sums.items[row_.n]::int,
    -- An item that nobody has in these rows has no column.
    case when cardinality(v_sums.items) = item_count then row_.weights else (
      select format('{%s}/%s', string_agg(format('%s:%s', v_sums.items[entry.n], entry.weight), ','), item_count)
        ::sparsevec::vector
      from unnest(row_.weights::real[]) with ordinality as entry (weight, n)
      where abs(entry.weight) > 1e-30
    ) end
  from unnest(
    ml.edlae_weights(
      v_sums,
      (parameters ->> 'lambda')::float8,
      coalesce((parameters ->> 'exponent')::float8, 0),
      coalesce((parameters ->> 'dropout')::float8, 0)
    )
  ) with ordinality as row_ (weights, n);
end;
$$;

comment on function recommend._dense_rows(regclass, jsonb, int) is $$
@behavior -*
Trains EASE or EDLAE on coded interactions, and returns the weights from each item to all items.
The sums of the last relation are kept in the temporary table `_recommend_sums`, by `person_exponent`, for other
ridges.
$$;

create or replace function recommend._fit_parts(
  training regclass,
  parts recommend.part[],
  item_count int
)
returns void
language plpgsql
volatile
set search_path from current
set work_mem to '64MB'
set jit to off
as $$
declare
  v_is_dense constant boolean := item_count <= 16000;
  v_part recommend.part;
  v_offset int := 0;
begin
  drop table if exists pg_temp._recommend_source;
  create temporary table _recommend_source (source_no int, v vector, neighbours int[], weights real[]) on commit drop;
  -- A compressed value would be decompressed for each batch of people.
  alter table pg_temp._recommend_source alter column v set storage external;
  foreach v_part in array parts loop
    if v_part.algorithm = 'trending' then
      execute format(
        $statement$
        insert into pg_temp._recommend_source (source_no, neighbours, weights)
        select 0, array_agg(item_no), array_agg(($1 * uses)::real)
        from (
          select item_no, sum(0.5 ^ least(later, 60)) as uses
          from (
            select item_no, rank() over (partition by person_no order by position desc nulls last) - 1 as later
            from %s
          ) as used
          group by item_no
        ) as counted
        $statement$,
        training
      )
      using v_part.share;
    elsif v_is_dense and v_part.algorithm in ('ease', 'edlae')
      and not v_part.parameters ?| array['column_limit', 'row_limit'] then
      insert into pg_temp._recommend_source (source_no, v)
      select
        v_offset + row_.item_no,
        case when v_part.share = 1 then row_.v
          else row_.v * array_fill(v_part.share::real, array[item_count])::vector end
      from recommend._dense_rows(training, v_part.parameters, item_count) as row_;
    elsif v_part.algorithm <> 'popularity' then
      insert into pg_temp._recommend_source (source_no, neighbours, weights)
      select
        v_offset + source.item_no,
        source.neighbours,
        case when v_part.share = 1 then source.weights
          else array(select (v_part.share * weight)::real from unnest(source.weights) as weight) end
      from recommend._part_neighbours(training, v_part.algorithm, v_part.parameters) as source;
    end if;
    v_offset := v_offset + item_count;
  end loop;

  if v_is_dense then
    -- Each person has the source 0, so that there is a vector of scores without any other.
    insert into pg_temp._recommend_source (source_no, neighbours, weights)
    select 0, '{}', '{}'
    where not exists (select from pg_temp._recommend_source where source_no = 0);
    update pg_temp._recommend_source as source
    set neighbours = null, weights = null, v = (
      select format('{%s}/%s', string_agg(format('%s:%s', item_no, weight), ','), item_count)::sparsevec::vector
      from unnest(source.neighbours, source.weights) as entry (item_no, weight)
      where abs(weight) > 1e-30
    )
    where v is null;
  end if;
  analyze pg_temp._recommend_source;
end;
$$;

comment on function recommend._fit_parts(regclass, recommend.part[], int) is $$
@behavior -*
Trains the parts of a model on coded interactions, and writes the weights to the temporary table `_recommend_source`.
It has a row for each item of a person, the items of the second part after those of the first: `v` holds the weights to
all items, times the share of the part; with more than 16,000 items, `neighbours` and `weights` those that are not 0.
The source 0 is one that each person has.
$$;

grant execute on function
  recommend._dense_rows(regclass, jsonb, int),
  recommend._fit_parts(regclass, recommend.part[], int)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded recommend/evaluation/_fit_parts.sql

--! Included recommend/evaluation/_rank_targets.sql
create or replace function recommend._score_people(
  item_count int,
  top int
)
returns void
language plpgsql
volatile
set search_path from current
set work_mem to '64MB'
set enable_mergejoin to off
set enable_sort to off
set jit to off
as $$
declare
  v_sources constant int := (select count(*) from pg_temp._recommend_source);
  v_width constant int := greatest(1, least(item_count, 16000000 / greatest(v_sources, 1)));
  v_first int := 1;
begin
  truncate pg_temp._recommend_best;
  if item_count > 16000 then
    insert into pg_temp._recommend_best
    select person.person_no, best.item_no, best.score
    from pg_temp._recommend_one as person
    cross join lateral (
      select scored.item_no, sum(scored.score) as score
      from (
        select neighbour.item_no, used.strength * neighbour.weight as score
        from pg_temp._recommend_use as used
        join pg_temp._recommend_source as source using (source_no)
        cross join lateral unnest(source.neighbours, source.weights) as neighbour (item_no, weight)
        where used.person_no = person.person_no
        union all
        select least_no, 0
        from generate_series(1, least(item_count, top + person.gone_count)) as least_no
      ) as scored
      group by scored.item_no
      order by score desc, scored.item_no
      limit top + person.gone_count
    ) as best;
    return;
  end if;

  while v_first <= item_count loop
    insert into pg_temp._recommend_best
    with source as materialized (
      select source_no, subvector(v, v_first, least(v_width, item_count - v_first + 1)) as v
      from pg_temp._recommend_source
    ),

    factor as materialized (
      select strength, array_fill(strength, array[least(v_width, item_count - v_first + 1)])::vector as v
      from (select distinct used.strength from pg_temp._recommend_use as used where used.strength <> 1) as strengths
    ),

    scored as materialized (
      select
        used.person_no,
        sum(case when factor.v is null then source.v else source.v * factor.v end)::real[] as scores
      from pg_temp._recommend_use as used
      join source using (source_no)
      left join factor using (strength)
      group by used.person_no
    )

    select person.person_no, best.item_no, best.score
    from pg_temp._recommend_one as person
    join scored using (person_no)
    cross join lateral (
      select (v_first - 1 + entry.n)::int as item_no, entry.score
      from unnest(scored.scores) with ordinality as entry (score, n)
      order by entry.score desc, entry.n
      limit top + person.gone_count
    ) as best;
    v_first := v_first + v_width;
  end loop;
end;
$$;

comment on function recommend._score_people(int, int) is $$
@behavior -*
Scores all items for a batch of people, and writes the best ones to `_recommend_best (person_no, item_no, score)`.
The people are in `_recommend_one`: at least `top` and `gone_count` items of each are written. Their items and strengths
are in `_recommend_use`, the weights in `_recommend_source`. Up to 16,000 items, vectors of weights are added, for as
many columns at a time as fit into 64 MB; with more items, single weights.
$$;

create or replace function recommend._rank_targets(
  training regclass,
  targets regclass,
  parts recommend.part[],
  item_count int,
  top int
)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set work_mem to '64MB'
set jit to off
as $$
declare
  v_top constant int := least(top, item_count);
  v_batch constant int := greatest(1, least(1000, 1000000 / v_top));
  v_people int[];
  v_place int := 0;
begin
  drop table if exists pg_temp._recommend_gain, pg_temp._recommend_listed, pg_temp._recommend_one,
    pg_temp._recommend_use, pg_temp._recommend_gone, pg_temp._recommend_best;
  create temporary table _recommend_gain (person_no int, relevant_count int, ranks int[]) on commit drop;
  create temporary table _recommend_listed (item_no int, rank int) on commit drop;
  create temporary table _recommend_one (
    person_no int, relevant int[], relevant_count int, gone_count int
  ) on commit drop;
  create temporary table _recommend_use (person_no int, source_no int, strength real) on commit drop;
  create temporary table _recommend_gone (person_no int, item_no int) on commit drop;
  create temporary table _recommend_best (person_no int, item_no int, score real) on commit drop;
  execute format('select array_agg(person_no order by person_no) from %s', targets) into v_people;

  while v_place < cardinality(v_people) loop
    truncate pg_temp._recommend_one, pg_temp._recommend_use, pg_temp._recommend_gone;
    execute format(
      $statement$
      with target as (
        select person_no, left_out
        from %2$s
        where person_no = any ($1)
      )

      insert into pg_temp._recommend_gone
      select training.person_no, training.item_no
      from %1$s as training
      where training.person_no = any ($1)
      union
      select target.person_no, item_no
      from target
      cross join unnest(target.left_out) as item_no
      $statement$,
      training, targets
    )
    using v_people[v_place + 1 : v_place + v_batch];
    execute format(
      $statement$
      with used as (
        select
          person_no,
          item_no,
          weight,
          rank() over (partition by person_no order by position desc nulls last) - 1 as later
        from %1$s as training
        where person_no = any ($1)
      )

      insert into pg_temp._recommend_use
      select used.person_no, (part.n - 1) * $3 + used.item_no, strength.value
      from used
      cross join unnest($2) with ordinality as part (algorithm, parameters, history_decay, share, n)
      cross join lateral (
        select case when used.later * ln(part.history_decay) > -40 then
          (used.weight * part.history_decay ^ used.later)::real else 0 end as value
      ) as strength
      where strength.value > 1e-6
      union all
      select person_no, 0, 1
      from unnest($1) as person_no
      $statement$,
      training
    )
    using v_people[v_place + 1 : v_place + v_batch], parts, item_count;
    execute format(
      $statement$
      insert into pg_temp._recommend_one
      select target.person_no, target.relevant, target.relevant_count, coalesce(gone.item_count, 0)
      from %s as target
      left join (
        select person_no, count(*)::int as item_count
        from pg_temp._recommend_gone
        group by person_no
      ) as gone using (person_no)
      where target.person_no = any ($1)
      $statement$,
      targets
    )
    using v_people[v_place + 1 : v_place + v_batch];
    analyze pg_temp._recommend_one, pg_temp._recommend_use, pg_temp._recommend_gone;
    perform recommend._score_people(item_count, v_top);

    -- The items that a person has are among the best: as many more were written.
    with listed as materialized (
      select
        person.person_no,
        ranked.item_no,
        ranked.rank,
        ranked.item_no = any (person.relevant) as is_hit
      from (
        select
          best.person_no,
          best.item_no,
          row_number() over (partition by best.person_no order by best.score desc, best.item_no) as rank
        from pg_temp._recommend_best as best
        left join pg_temp._recommend_gone as gone using (person_no, item_no)
        where gone.person_no is null
      ) as ranked
      join pg_temp._recommend_one as person using (person_no)
      where ranked.rank <= v_top
    ),

    gains as (
      insert into pg_temp._recommend_gain
      select target.person_no, target.relevant_count, coalesce(hit.ranks, '{}')
      from pg_temp._recommend_one as target
      left join (
        select person_no, array_agg(rank order by rank) as ranks
        from listed
        where is_hit
        group by person_no
      ) as hit using (person_no)
      order by target.person_no
    )

    insert into pg_temp._recommend_listed
    select item_no, min(rank)
    from listed
    group by item_no;
    v_place := v_place + v_batch;
  end loop;
  drop table pg_temp._recommend_one, pg_temp._recommend_use, pg_temp._recommend_gone, pg_temp._recommend_best;
end;
$$;

comment on function recommend._rank_targets(regclass, regclass, recommend.part[], int, int) is $$
@behavior -*
Ranks the items that `_fit_parts` has weighted for the people of `targets`, and writes what is measured.
`_recommend_gain (person_no, relevant_count, ranks)`: the ranks of the relevant items among the first `top`, ascending;
`_recommend_listed (item_no, rank)`: the best rank of each item in the lists of a batch of people.
An item's score is the sum of the weights from the items of the person, times their weight and
`history_decay` ^ (number of items that the person used later); factors below 1e-6 are 0. Items of equal score are
ranked by number. What the person has in `training`, and `left_out`, is not ranked.
People are ranked in batches of at most 1,000 with at most 1,000,000 rows of their lists.
$$;

grant execute on function
  recommend._score_people(int, int),
  recommend._rank_targets(regclass, regclass, recommend.part[], int, int)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded recommend/evaluation/_rank_targets.sql

--! Included recommend/evaluation/_metrics.sql
create or replace function recommend._metrics(
  k int[],
  item_count int
)
returns setof recommend.metric
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set jit to off
as $$
begin
  return query
  with ideal as materialized (
    select n::int as n, sum(ln(2) / ln(1 + n)) over (order by n) as gain
    from generate_series(1, (select max(relevant_count) from pg_temp._recommend_gain)) as n
  ),

  measured as (
    select
      cutoff.k,
      person.person_no,
      person.relevant_count,
      least(cutoff.k, person.relevant_count) as reachable,
      hit.hits,
      hit.gain,
      hit.precisions,
      hit.reciprocal
    from pg_temp._recommend_gain as person
    cross join (select distinct unnest(_metrics.k) as k) as cutoff
    cross join lateral (
      select
        count(*)::int as hits,
        coalesce(sum(ln(2) / ln(1 + rank) order by n), 0) as gain,
        coalesce(sum(n::float8 / rank order by n), 0) as precisions,
        coalesce(max(1.0::float8 / rank), 0) as reciprocal
      from unnest(person.ranks) with ordinality as entry (rank, n)
      where entry.rank <= cutoff.k
    ) as hit
  ),

  averaged as (
    select
      measured.k,
      avg(measured.hits / measured.k::float8 order by measured.person_no) as precision,
      avg(measured.hits / measured.relevant_count::float8 order by measured.person_no) as recall,
      avg(measured.hits / measured.reachable::float8 order by measured.person_no) as recall_min,
      avg(measured.gain / cut.gain order by measured.person_no) as ndcg,
      avg(measured.gain / uncut.gain order by measured.person_no) as ndcg_uncut,
      avg(measured.precisions / measured.reachable order by measured.person_no) as map,
      avg(measured.reciprocal order by measured.person_no) as mrr,
      avg(sign(measured.hits) order by measured.person_no) as hit_rate
    from measured
    join ideal as cut on cut.n = measured.reachable
    join ideal as uncut on uncut.n = measured.relevant_count
    group by measured.k
  )

  select null::text, named.metric, averaged.k, named.value
  from averaged
  cross join lateral (
    select count(distinct item_no) / _metrics.item_count::float8 as share
    from pg_temp._recommend_listed
    where rank <= averaged.k
  ) as covered
  cross join lateral (
    values
      (1, 'precision', averaged.precision),
      (2, 'recall', averaged.recall),
      (3, 'recall_min', averaged.recall_min),
      (4, 'ndcg', averaged.ndcg),
      (5, 'ndcg_uncut', averaged.ndcg_uncut),
      (6, 'map', averaged.map),
      (7, 'mrr', averaged.mrr),
      (8, 'hit_rate', averaged.hit_rate),
      (9, 'coverage', covered.share)
  ) as named (n, metric, value)
  order by averaged.k, named.n;
end;
$$;

comment on function recommend._metrics(int[], int) is $$
@behavior -*
Returns the metrics of the lists that `_rank_targets` has written, as means over the people, for each k.
`model` is null.
With h hits among the first k and n relevant items: `precision` h / k; `recall` h / n; `recall_min` h / min(k, n);
`ndcg` the sum of 1 / log2(1 + rank) of the hits, divided by that of min(k, n) hits in the first places; `ndcg_uncut`
the same divided by that of n hits; `map` the sum of the precision at each hit, divided by min(k, n); `mrr` 1 / rank of
the first hit; `hit_rate` 1 with a hit, else 0; `coverage` the share of the items that are in a list.
$$;

grant execute on function
  recommend._metrics(int[], int)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded recommend/evaluation/_metrics.sql

--! Included recommend/evaluation/_candidates.sql
create or replace function recommend._candidates()
returns table (
  model text,
  algorithm text,
  parameters jsonb,
  history_decay float8,
  needs_order boolean,
  grid jsonb
)
language sql
immutable
parallel safe
begin atomic
  select candidate.model, candidate.model, candidate.parameters::jsonb, candidate.history_decay, candidate.needs_order,
    candidate.grid::jsonb
  from (
    values
      ('popularity', '{}', 1::float8, false, '{}'),
      ('trending', '{}', 1, true, '{}'),
      (
        'sequence', '{"decay": 0.95, "in_exponent": 0.2, "saturation": 200}', 0.7, true,
        '{
          "decay": [0.3, 0.5, 0.7, 0.85, 0.95, 1],
          "in_exponent": [0, 0.1, 0.2, 0.3, 0.4, 0.5],
          "saturation": [0, 50, 200, 500, 1000],
          "history_decay": [0.1, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 1]
        }'
      ),
      ('ease', '{"lambda": 500}', 1, false, '{"lambda": [20, 50, 100, 200, 500, 1000, 2000]}'),
      (
        'edlae', '{"lambda": 200, "dropout": 0.5, "person_exponent": 0.5}', 1, false,
        '{
          "lambda": [20, 50, 100, 200, 300, 500, 1000, 2000],
          "dropout": [0, 0.2, 0.33, 0.5, 0.67],
          "person_exponent": [0, 0.25, 0.5, 0.75]
        }'
      ),
      (
        'item_knn', '{"similarity": "cosine", "shrinkage": 20}', 1, false,
        '{"shrinkage": [0, 20, 100], "similarity": ["cosine", "jaccard"]}'
      )
  ) as candidate (model, parameters, history_decay, needs_order, grid);
end;

comment on function recommend._candidates() is $$
@behavior -*
Returns the models that are tried for a set of interactions, each with the parameters that it has unless they are given.
`grid` holds the values that the search tries for each parameter, in ascending order; `history_decay` is one of them.
The names of parameters are those of the arguments of the function of the algorithm in `ml`. `needs_order` is true for
models that use the order of the items of a person.
$$;

grant execute on function
  recommend._candidates()
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded recommend/evaluation/_candidates.sql

--! Included recommend/evaluation/_choose_part.sql
create or replace function recommend._try_part(
  sample regclass,
  training regclass,
  targets regclass,
  part recommend.part,
  item_count int
)
returns float8
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_last recommend.part;
  v_ndcg float8;
begin
  select trial.ndcg into v_ndcg from pg_temp._recommend_trial as trial where trial.part = _try_part.part;
  if found then
    return v_ndcg;
  end if;
  -- The history decay is not a parameter of the weights: the last ones are kept when nothing else has changed.
  select (trial.part).* into v_last from pg_temp._recommend_trial as trial order by trial.n desc limit 1;
  if v_last.algorithm is distinct from part.algorithm or v_last.parameters is distinct from part.parameters then
    perform recommend._fit_parts(sample, array[part], item_count);
  end if;
  perform recommend._rank_targets(training, targets, array[part], item_count, 10);
  select measured.value
  into v_ndcg
  from recommend._metrics(array[10], item_count) as measured
  where measured.metric = 'ndcg';
  insert into pg_temp._recommend_trial (part, ndcg) values (_try_part.part, v_ndcg);
  return v_ndcg;
end;
$$;

comment on function recommend._try_part(regclass, regclass, regclass, recommend.part, int) is $$
@behavior -*
Returns the NDCG@10 of a model of one part for `targets`, trained on `sample`, with the histories in `training`.
The temporary table `_recommend_trial` holds the results, so that nothing is tried twice.
$$;

create or replace function recommend._hold_out_fifth(
  training regclass,
  item_limit int
)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set jit to off
as $$
begin
  drop table if exists pg_temp._recommend_held, pg_temp._recommend_search, pg_temp._recommend_search_target,
    pg_temp._recommend_search_sample;
  execute format(
    $statement$
    create temporary table _recommend_held on commit drop as
    select
      person_no,
      item_no,
      weight,
      position,
      row_number() over (
        partition by person_no
        order by position desc nulls last, hashint8extended(item_no, person_no), item_no
      ) <= greatest(1, round(count(*) over (partition by person_no) / 5.0))
      and count(*) over (partition by person_no) > 1 as is_held_out
    from %s
    where item_no <= $1
    $statement$,
    training
  )
  using item_limit;

  create temporary table _recommend_search on commit drop as
  select person_no, item_no, weight, position
  from pg_temp._recommend_held
  where not is_held_out;

  create temporary table _recommend_search_target on commit drop as
  select person_no, array_agg(item_no) as relevant, count(*)::int as relevant_count, '{}'::int[] as left_out
  from pg_temp._recommend_held
  where is_held_out
  group by person_no
  order by hashint8extended(person_no, 1), person_no
  limit greatest(200, 2000000 / item_limit);

  -- Models of pairs are tried on a limited number of rows, so that a trial takes seconds: those of the people to rank.
  create temporary table _recommend_search_sample on commit drop as
  select person_no, item_no, weight, position
  from (
    select
      held.*,
      sum(1) over (order by hashint8extended(person_no, 1), person_no) as row_count
    from pg_temp._recommend_search as held
  ) as counted
  where row_count <= 100000;

  drop table pg_temp._recommend_held;
  analyze pg_temp._recommend_search, pg_temp._recommend_search_target, pg_temp._recommend_search_sample;
end;
$$;

comment on function recommend._hold_out_fifth(regclass, int) is $$
@behavior -*
Holds out the last fifth of the rows of each person, at least one of two, by position, or by a hash without positions.
Writes the temporary tables `_recommend_search` (the other rows), `_recommend_search_sample` (at most 100,000 of them,
of whole people) and `_recommend_search_target` (what was held out, of as many people as are ranked in some seconds).
Only the items up to the number `item_limit` count.
$$;

create or replace function recommend._climb(
  sample regclass,
  part recommend.part,
  ndcg float8,
  grid jsonb,
  item_count int,
  out best recommend.part,
  out best_ndcg float8
)
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_name text;
  v_values jsonb;
  v_place int;
  v_step int;
  v_start float8;
  v_trial recommend.part;
  v_ndcg float8;
begin
  best := part;
  best_ndcg := ndcg;
  for v_pass in 1 .. 2 loop
    v_start := best_ndcg;
    for v_name, v_values in select * from jsonb_each(grid) loop
      foreach v_step in array array[1, -1] loop
        v_place := (
          select n
          from jsonb_array_elements(v_values) with ordinality as entry (value, n)
          where value = case v_name when 'history_decay' then to_jsonb(best.history_decay)
            else best.parameters -> v_name end
        );
        loop
          v_place := v_place + v_step;
          exit when v_place not between 1 and jsonb_array_length(v_values);
          v_trial := best;
          if v_name = 'history_decay' then
            v_trial.history_decay := (v_values ->> v_place - 1)::float8;
          else
            v_trial.parameters := jsonb_set(best.parameters, array[v_name], v_values -> v_place - 1);
          end if;
          v_ndcg := recommend._try_part(
            sample, 'pg_temp._recommend_search', 'pg_temp._recommend_search_target', v_trial, item_count
          );
          exit when not v_ndcg > best_ndcg;
          best := v_trial;
          best_ndcg := v_ndcg;
        end loop;
      end loop;
    end loop;
    exit when not best_ndcg > v_start;
  end loop;
end;
$$;

comment on function recommend._climb(regclass, recommend.part, float8, jsonb, int) is $$
@behavior -*
Returns the best part that is reached from `part` by changing one parameter at a time to a neighbouring value of `grid`.
`ndcg` is that of `part`. Each parameter is changed to both sides as long as the measure rises, all of them twice.
$$;

create or replace function recommend._choose_part(
  training regclass,
  item_count int
)
returns recommend.part
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_items constant int := least(item_count, 1000);
  v_holds_dense constant boolean := item_count <= 16000;
  v_is_ordered boolean;
  v_pair_count bigint;
  v_sample regclass;
  v_candidate record;
  v_climbed record;
  v_part recommend.part;
  v_ndcg float8;
  v_best recommend.part;
  v_best_ndcg float8;
begin
  perform recommend._hold_out_fifth(training, v_items);
  if not exists (select from pg_temp._recommend_search_target) then
    return ('popularity', '{}', 1, 1)::recommend.part;
  end if;
  drop table if exists pg_temp._recommend_trial;
  create temporary table _recommend_trial (
    n int generated always as identity, part recommend.part, ndcg float8
  ) on commit drop;
  execute format('select exists (select from %s where position is not null)', training) into v_is_ordered;
  v_pair_count := (
    select sum(n ^ 2)
    from (select count(*) as n from pg_temp._recommend_search group by person_no) as person
  );

  for v_candidate in
    select *
    from recommend._candidates() as candidate
    where (v_is_ordered or not candidate.needs_order)
      and candidate.algorithm <> 'ease' -- EDLAE without dropout
      and (v_holds_dense or candidate.algorithm <> 'edlae')
      -- With long histories it costs more than EDLAE, which is better then.
      and not (v_holds_dense and v_pair_count > 4000000 and candidate.algorithm = 'item_knn')
  loop
    v_sample := case when v_candidate.algorithm in ('item_knn', 'sequence') then 'pg_temp._recommend_search_sample'
      else 'pg_temp._recommend_search' end;
    v_part := (v_candidate.algorithm, v_candidate.parameters, v_candidate.history_decay, 1)::recommend.part;
    v_ndcg := recommend._try_part(
      v_sample, 'pg_temp._recommend_search', 'pg_temp._recommend_search_target', v_part, v_items
    );
    if v_best_ndcg is null or v_ndcg > 0.9 * v_best_ndcg then
      v_climbed := recommend._climb(v_sample, v_part, v_ndcg, v_candidate.grid, v_items);
      v_part := v_climbed.best;
      v_ndcg := v_climbed.best_ndcg;
    end if;
    if v_best_ndcg is null or v_ndcg > v_best_ndcg then
      v_best := v_part;
      v_best_ndcg := v_ndcg;
    end if;
  end loop;
  drop table pg_temp._recommend_search, pg_temp._recommend_search_target, pg_temp._recommend_search_sample;
  return v_best;
end;
$$;

comment on function recommend._choose_part(regclass, int) is $$
@behavior -*
Returns the model of coded interactions that ranks the last fifth of the rows of each person best, by NDCG@10.
The candidates are those of `_candidates`. The parameters of a candidate that reaches 0.9 of the best one so far are
searched one after the other, from the given value to both sides as long as the measure rises, and once more.
At most 1,000 items, those with the smallest numbers, are searched. EDLAE is a candidate up to 16,000 items in all, item
kNN only up to 4,000,000 pairs of items of one person, or without EDLAE. The temporary table `_recommend_trial` holds
each trial. Without a person who has two items: popularity.
$$;

grant execute on function
  recommend._try_part(regclass, regclass, regclass, recommend.part, int),
  recommend._hold_out_fifth(regclass, int),
  recommend._climb(regclass, recommend.part, float8, jsonb, int),
  recommend._choose_part(regclass, int)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded recommend/evaluation/_choose_part.sql

--! Included recommend/evaluation/evaluate_relations.sql
create or replace function recommend._read_model(name text)
returns recommend.part
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_parts constant text[] := regexp_match(name, '^\s*([a-zA-Z_]+)\s*(?:\((.*)\))?\s*$');
  v_candidate record;
  v_arguments text[];
  v_types text[];
  v_argument text[];
  v_key text;
  v_type text;
  v_text text;
  v_value jsonb;
  v_given text[] := '{}';
  v_part recommend.part;
begin
  select * into v_candidate from recommend._candidates() as candidate where candidate.model = lower(v_parts[1]);
  if not found then
    perform common.refuse(
      'CF002',
      format('there is no model "%s"', left(coalesce(name, 'null'), 100)),
      coalesce(
        'Did you mean "' || common.nearest_name(
          coalesce(v_parts[1], name),
          array(select candidate.model from recommend._candidates() as candidate) || 'default'::text
        ) || '"?',
        'The models are ' || (
          select string_agg(candidate.model, ', ') from recommend._candidates() as candidate
        ) || ' and default.'
      )
    );
  end if;
  v_part := (v_candidate.algorithm, v_candidate.parameters, v_candidate.history_decay, 1)::recommend.part;
  if v_candidate.algorithm in ('popularity', 'trending') then
    if btrim(v_parts[2]) <> '' then
      perform common.refuse('CF001', format('the model "%s" has parameters', left(name, 100)),
        format('Give %s alone.', v_candidate.model));
    end if;
    return v_part;
  end if;

  select
    array_agg(entry.name order by entry.n),
    array_agg(format_type(entry.type, null) order by entry.n)
  into v_arguments, v_types
  from pg_proc as procedure
  cross join lateral unnest(
    procedure.proargnames, procedure.proargtypes::oid[]
  ) with ordinality as entry (name, type, n)
  where procedure.pronamespace = 'ml'::regnamespace
    and procedure.proname = case v_candidate.algorithm when 'edlae' then 'ease' else v_candidate.algorithm end
      || '_neighbours'
    and entry.type is not null
    -- Coded interactions have no column of a time.
    and entry.name not in ('relation', 'time_column', 'half_life');
  v_arguments := v_arguments || 'history_decay'::text;
  v_types := v_types || 'double precision'::text;

  foreach v_text in array coalesce(string_to_array(nullif(btrim(v_parts[2]), ''), ','), '{}') loop
    v_argument := regexp_match(v_text, '^\s*(?:([a-zA-Z_]+)\s*(?:=>|:=|=)\s*)?([^=\s]+)\s*$');
    v_key := coalesce(
      lower(v_argument[1]), case when v_arguments[1] = 'lambda' and cardinality(v_given) = 0 then 'lambda' end
    );
    if v_argument is null or v_key is null then
      perform common.refuse('CF001', format('"%s" is not a parameter of the model %s', left(v_text, 100),
          v_candidate.model), format('Write it as in %s(history_decay => 0.9).', v_candidate.model));
    end if;
    v_type := v_types[array_position(v_arguments, v_key)];
    if v_type is null then
      perform common.refuse(
        'CF002',
        format('the model %s has no parameter "%s"', v_candidate.model, left(v_key, 100)),
        coalesce('Did you mean "' || common.nearest_name(v_key, v_arguments) || '"?',
          format('It has %s.', array_to_string(v_arguments, ', ')))
      );
    end if;
    if v_key = any (v_given) then
      perform common.refuse('CF001', format('%s of the model %s is given twice', v_key, v_candidate.model),
        'Give each parameter once.');
    end if;
    v_given := v_given || v_key;
    begin
      v_value := case
        when v_type in ('text') then to_jsonb(btrim(v_argument[2], ''''))
        when v_type = 'integer' then to_jsonb(v_argument[2]::int)
        else to_jsonb(v_argument[2]::float8)
      end;
    exception when invalid_text_representation or numeric_value_out_of_range then
      v_value := null;
    end;
    if v_value is null or v_type = 'double precision' and jsonb_typeof(v_value) <> 'number' then
      perform common.refuse('CF001', format('%s is %s', v_key, left(v_argument[2], 100)), 'Give a finite number.');
    end if;
    if v_key = 'history_decay' then
      v_part.history_decay := v_value::float8;
      if not (v_part.history_decay > 0 and v_part.history_decay <= 1) then
        perform common.refuse('CF001', format('history_decay is %s', left(v_argument[2], 100)),
          'Give a number above 0, at most 1 (the order does not matter).');
      end if;
    else
      v_part.parameters := v_part.parameters || jsonb_build_object(v_key, v_value);
    end if;
  end loop;
  return v_part;
end;
$$;

comment on function recommend._read_model(text) is $$
@behavior -*
Reads the name of a model with parameters, such as `ease`, `ease(458)` or `sequence(history_decay => 0.7)`.
The parameters are the arguments of the function of the algorithm in `ml`, and `history_decay`; those that are not given
have the values of `_candidates`.
Errors: CF001 (a value), CF002 (an unknown model or parameter; names the nearest).
$$;

create or replace function recommend._model_name(part recommend.part)
returns text
language sql
stable
parallel safe
begin atomic
  select (part).algorithm || coalesce(
    '(' || (
      select string_agg(format('%s => %s', entry.key, entry.value), ', ' order by entry.key)
      from jsonb_each_text((part).parameters || case when (part).history_decay <> 1 then
        jsonb_build_object('history_decay', (part).history_decay) else '{}'::jsonb end) as entry
    ) || ')',
    ''
  );
end;

comment on function recommend._model_name(recommend.part) is $$
@behavior -*
Returns the name of a model of one part with its parameters, which `_read_model` reads.
$$;

create or replace function recommend.evaluate_relations(
  train regclass,
  test regclass,
  person_column name,
  item_column name,
  order_column name default null,
  models text[] default null,
  k int[] default '{10}'
)
returns setof recommend.metric
language plpgsql
volatile
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set client_min_messages to warning
as $$
declare
  v_train constant regclass := common.relation(train::text);
  v_test constant regclass := common.relation(test::text);
  v_models text[];
  v_parts recommend.part[];
  v_part recommend.part;
  v_place int;
  v_item_count int;
  v_bad text;
begin
  if current_setting('transaction_read_only')::boolean then
    perform common.refuse('25006', 'cannot evaluate models in a read-only transaction',
      'The rows are numbered in temporary tables: call it in a transaction that may write.');
  end if;
  v_bad := (select coalesce(value::text, 'null') from unnest(k) as value where value is null or value < 1 limit 1);
  if v_bad is not null or coalesce(cardinality(k), 0) not between 1 and 100 then
    perform common.refuse('CF001', format('k is %s', coalesce(v_bad, left(coalesce(k::text, 'null'), 100))),
      'Give 1 to 100 lengths of lists, each of them 1 or more.');
  end if;
  v_models := coalesce(array(select model from unnest(models) as model), '{}');
  if models is null then
    v_models := array(
      select candidate.model
      from recommend._candidates() as candidate
      where order_column is not null or not candidate.needs_order
    ) || 'default'::text;
  end if;
  if cardinality(v_models) not between 1 and 100 then
    perform common.refuse('CF001', format('%s models are given', cardinality(v_models)),
      'Give 1 to 100, or null for all.');
  end if;
  for v_place in 1 .. cardinality(v_models) loop
    if lower(btrim(v_models[v_place])) = 'default' then
      v_part := null;
    else
      v_part := recommend._read_model(v_models[v_place]);
    end if;
    if order_column is null and v_part.algorithm in (
      select candidate.algorithm from recommend._candidates() as candidate where candidate.needs_order
    ) then
      perform common.refuse('CF001', format('the model %s needs an order', left(v_models[v_place], 100)),
        'Give order_column: a number or a time that grows within each person.');
    end if;
    v_parts := v_parts || v_part;
  end loop;

  perform recommend._code_relations(v_train, v_test, person_column, item_column, order_column);
  v_item_count := (select count(*) from pg_temp._recommend_item);
  if v_item_count = 0 then
    perform common.refuse('CF004', format('%s has no row with a person and an item', v_train),
      'There is nothing to learn from yet.');
  end if;
  if not exists (select from pg_temp._recommend_target) then
    perform common.refuse('CF004', format('%s has no row with a person and an item that is not in %s', v_test, v_train),
      'The test rows are those that the models must not see.');
  end if;
  if models is null and v_item_count > 16000 then
    raise info 'ease and edlae are left out: % has more than 16000 items', v_train;
  end if;

  for v_place in 1 .. cardinality(v_models) loop
    v_part := v_parts[v_place];
    continue when models is null and v_item_count > 16000 and v_part.algorithm in ('ease', 'edlae');
    if v_part.algorithm is null then
      v_part := recommend._choose_part('pg_temp._recommend_training', v_item_count);
      raise info '% is %', v_models[v_place], recommend._model_name(v_part);
    end if;
    perform recommend._fit_parts('pg_temp._recommend_training', array[v_part], v_item_count);
    perform recommend._rank_targets(
      'pg_temp._recommend_training', 'pg_temp._recommend_target', array[v_part], v_item_count,
      (select max(value) from unnest(k) as value)
    );
    return query
    select v_models[v_place], measured.metric, measured.k, measured.value
    from recommend._metrics(evaluate_relations.k, v_item_count) as measured;
  end loop;
  drop table if exists pg_temp._recommend_item, pg_temp._recommend_training, pg_temp._recommend_target,
    pg_temp._recommend_source, pg_temp._recommend_sums, pg_temp._recommend_gain, pg_temp._recommend_listed,
    pg_temp._recommend_trial;
end;
$$;

comment on function recommend.evaluate_relations(regclass, regclass, name, name, name, text[], int[]) is $$
@behavior -*
Measures recommenders on two relations: trained on `train`, they rank all its items for the people of `test`.
The columns of a person and an item have the same names in both relations and any type; a pair counts once, a null not
at all. `order_column` of `train` gives the order of the items of a person, such as a time (null: the order is unknown;
a row without a value comes first; the last row of a pair counts). What a person has in `train` is not ranked. The other
items of the person in `test` are relevant, also those that `train` does not have, which no list can contain.
People without rows in `train` get the items by popularity. Items of equal score are ranked by their number of people,
then by their text in byte order.

`models`: `popularity`; `trending` (people by how few items they took later); `item_knn`; `sequence`; `ease`; `edlae`;
with parameters as in `ease(458)` or `sequence(decay => 0.9, history_decay => 0.7)`, see `ml.ease_neighbours`,
`ml.item_knn_neighbours` and `ml.sequence_neighbours`; `default`: the model that the platform would deploy, chosen with
its parameters on the rows of `train` alone: the last fifth of each person's rows (without an order a random fifth) is
held out, and ranked by models of the rest; a message of level INFO names it. Null: all of them, without those that need
an order if there is none, and without those that cannot hold the items.

Metrics for each `k`, as means over the people, with h hits among the first k and n relevant items: `precision` h / k;
`recall` h / n; `recall_min` h / min(k, n); `ndcg` the sum of 1 / log2(1 + rank) of the hits, divided by that of
min(k, n) hits in the first places; `ndcg_uncut` the same divided by that of n hits; `map` the sum of the precision at
each hit, divided by min(k, n); `mrr` 1 / rank of the first hit; `hit_rate` 1 with a hit, else 0; `coverage` the share
of the items of `train` that are in a list.
The rows are numbered in temporary tables, which are dropped at the end. People are ranked in batches within a
`work_mem` of 64 MB; EASE holds at most 16,000 items.
Errors: CF001 (k, models, parameters, a column without order), CF002 (no such column or model; names the nearest), CF004
(no rows), CF005 (not readable), CF008 (too many items).
$$;

grant execute on function
  recommend._read_model(text),
  recommend._model_name(recommend.part),
  recommend.evaluate_relations(regclass, regclass, name, name, name, text[], int[])
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded recommend/evaluation/evaluate_relations.sql

--! Included recommend/evaluation/_model_parts.sql
create or replace function recommend._model_parts(kind text, model text)
returns recommend.evaluation_model
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_entry recommend.evaluation_model;
  v_part recommend.part;
  v_deployed ml.model;
begin
  v_entry.model := _model_parts.model;
  v_entry.prior := 'popularity';
  v_entry.parts := '[]';
  if _model_parts.model in ('popularity', 'trending', 'latest') then
    v_entry.prior := _model_parts.model;
  elsif _model_parts.model = 'deployed' then
    select * into v_deployed from recommend._deployed_model(_model_parts.kind);
    if not found then
      perform common.refuse('CF006', format('no recommender of kind "%s" is deployed', left(_model_parts.kind, 100)),
        'Lists are ordered by popularity: the model "popularity".');
    end if;
    v_entry.model_id := v_deployed.model_id;
    v_entry.prior := coalesce(v_deployed.parameters ->> 'prior', 'popularity');
    v_entry.parts := coalesce(
      v_deployed.parameters -> 'parts',
      -- A version of EASE from before models had parts.
      jsonb_build_array(to_jsonb((
        'ease', jsonb_build_object('lambda', v_deployed.parameters -> 'lambda'), 1, 1
      )::recommend.part))
    );
  else
    begin
      v_part := recommend._read_model(_model_parts.model);
    exception when sqlstate 'CF002' then
      -- The models that exist on a platform only have near names too.
      if exists (
        select
        from (values ('latest'), ('deployed')) as known (name)
        where known.name = common.nearest_name(_model_parts.model, array(
          select candidate.model from recommend._candidates() as candidate
        ) || '{latest,deployed}'::text[])
      ) then
        perform common.refuse('CF002', format('there is no model "%s"', left(_model_parts.model, 100)),
          format('Did you mean "%s"?', common.nearest_name(_model_parts.model, '{latest,deployed}')));
      end if;
      raise;
    end;
    v_entry.parts := jsonb_build_array(to_jsonb(v_part));
  end if;
  return v_entry;
end;
$$;

comment on function recommend._model_parts(text, text) is $$
@behavior -*
Returns prior, parts and, for `deployed`, the version of a model by its name.
Errors: CF001 and CF002 as in `recommend._read_model`, CF006 for `deployed` when no version is deployed.
$$;
--! EndIncluded recommend/evaluation/_model_parts.sql

--! Included recommend/evaluation/_freeze_evaluation.sql
create or replace function recommend._freeze_evaluation(evaluation recommend.evaluation)
returns recommend.evaluation
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set jit to off
as $$
declare
  v_evaluation recommend.evaluation := evaluation;
  v_id constant bigint := (evaluation).evaluation_id;
  v_seed constant bigint := (evaluation).seed;
  v_reference timestamptz;
begin
  create temporary table all_row on commit drop as
  select rows_.person_id, rows_.item_id, rows_.strength, rows_.first_at, rows_.last_at
  from recommend._training_rows((evaluation).kind, (evaluation).until_at) as rows_;
  select max(last_at) into v_evaluation.data_watermark from pg_temp.all_row;

  if (evaluation).protocol = 'time' then
    -- By default, a fifth of what people took is after the split.
    v_evaluation.split_at := coalesce(
      (evaluation).split_at,
      (select percentile_disc(0.8) within group (order by first_at) from pg_temp.all_row where strength >= 1)
    );
    create temporary table held_row on commit drop as
    select taken.person_id, taken.item_id, v_evaluation.split_at as asked_at
    from pg_temp.all_row as taken
    where taken.strength >= 1;
    create temporary table train_row on commit drop as
    select rows_.person_id, rows_.item_id, rows_.strength, rows_.last_at
    from recommend._training_rows((evaluation).kind, v_evaluation.split_at) as rows_;
    -- Items that had been taken, or were not liked, are not recommended.
    delete from pg_temp.held_row
    using pg_temp.train_row
    where train_row.person_id = held_row.person_id
      and train_row.item_id = held_row.item_id
      and (train_row.strength >= 1 or train_row.strength <= 0);
  else
    create temporary table held_row on commit drop as
    with taken as (
      select
        all_row.*,
        count(*) over (partition by all_row.person_id) as taken_count,
        row_number() over (
          partition by all_row.person_id
          order by
            case when (evaluation).protocol <> 'random' then all_row.first_at end desc,
            hashint8extended(all_row.item_id, hashint8extended(all_row.person_id, v_seed)),
            all_row.item_id
        ) as place
      from pg_temp.all_row
      where all_row.strength >= 1
    )
    select
      taken.person_id,
      taken.item_id,
      case when (evaluation).protocol <> 'random' then taken.first_at end as asked_at
    from taken
    where taken.place <= case when (evaluation).protocol = 'random' then greatest(taken.taken_count / 5, 1) else 1 end;
  end if;

  -- An item is known from its first use, or from the time at which it was described.
  insert into recommend.evaluation_item (
    evaluation_id, item_no, item_id, person_count, strength, recent_strength, available_from, available_until, people
  )
  select
    v_id,
    row_number() over (order by item.item_id),
    item.item_id,
    0,
    0,
    0,
    greatest(least(item.created_at, item.available_from, used.first_at), item.available_from),
    coalesce(item.available_until, 'infinity'),
    b'0'::bit(4096)
  from track.item
  left join (
    select all_row.item_id, min(all_row.first_at) as first_at
    from pg_temp.all_row
    group by all_row.item_id
  ) as used using (item_id)
  where item.kind = (evaluation).kind
    and item.merged_item_id is null;

  delete from pg_temp.held_row
  where not exists (
    select
    from recommend.evaluation_item as item
    where item.evaluation_id = v_id
      and item.item_id = held_row.item_id
      and (
        held_row.asked_at is null
        or item.available_from <= held_row.asked_at and item.available_until > held_row.asked_at
      )
  );
  if (evaluation).protocol <> 'time' then
    delete from pg_temp.held_row
    where not exists (
      select
      from pg_temp.all_row as other
      where other.person_id = held_row.person_id
        and other.item_id <> held_row.item_id
        and other.strength > 0
    );
  else
    delete from pg_temp.held_row
    where not exists (
      select
      from pg_temp.train_row
      where train_row.person_id = held_row.person_id
        and train_row.strength > 0
    );
  end if;

  -- The same seed selects the same people, also when others are added.
  delete from pg_temp.held_row
  where held_row.person_id not in (
    select sample.person_id
    from (select distinct person_id from pg_temp.held_row) as sample
    order by hashint8extended(sample.person_id, v_seed), sample.person_id
    limit (evaluation).most_people
  );
  if (evaluation).protocol <> 'time' then
    create temporary table train_row on commit drop as
    select all_row.person_id, all_row.item_id, all_row.strength, all_row.last_at
    from pg_temp.all_row
    left join pg_temp.held_row using (person_id, item_id)
    where held_row.item_id is null;
  end if;
  analyze pg_temp.train_row;
  analyze pg_temp.held_row;

  v_reference := coalesce(v_evaluation.split_at, v_evaluation.data_watermark);
  with sample as (
    select numbered.person_id, row_number() over (order by numbered.hash, numbered.person_id) as place
    from (
      select known.person_id, hashint8extended(known.person_id, v_seed) as hash
      from (select distinct person_id from pg_temp.train_row) as known
    ) as numbered
    order by numbered.hash, numbered.person_id
    limit 4096
  ),

  counted as (
    select
      train_row.item_id,
      count(*) as people,
      sum(train_row.strength::float8 order by train_row.person_id) as strength,
      sum(
        train_row.strength * 0.5 ^ (extract(epoch from v_reference - train_row.last_at)::float8 / 2592000)
        order by train_row.person_id
      ) as recent,
      coalesce(bit_or(b'1'::bit(4096) >> (sample.place - 1)::int), b'0'::bit(4096)) as bits
    from pg_temp.train_row
    left join sample using (person_id)
    where train_row.strength > 0
    group by train_row.item_id
  )

  update recommend.evaluation_item as item
  set
    person_count = counted.people,
    strength = counted.strength,
    recent_strength = counted.recent,
    people = counted.bits
  from counted
  where item.evaluation_id = v_id
    and item.item_id = counted.item_id;

  insert into recommend.evaluation_person (
    evaluation_id, person_id, items, strengths, left_out, relevant, asked_at, candidates, segments
  )
  select
    v_id,
    history.person_id,
    history.items,
    history.strengths,
    coalesce(history.left_out, '{}'),
    coalesce(held.relevant, '{}'),
    held.asked_at,
    case
      when (evaluation).protocol = 'one_vs_100' and held.relevant is not null then held.relevant || array(
        select item.item_no
        from recommend.evaluation_item as item
        where item.evaluation_id = v_id
          and item.available_from <= held.asked_at
          and item.available_until > held.asked_at
          and item.item_id not in (
            select owned.item_id
            from pg_temp.all_row as owned
            where owned.person_id = history.person_id
          )
        order by hashint8extended(item.item_id, hashint8extended(history.person_id, v_seed + 1)), item.item_no
        limit 100
      )
    end,
    case
      when held.relevant is not null then array(
        select block.name
        from track.person_set_block as block
        where block.name = any ((evaluation).segments)
          and block.block = history.person_id / 4096
          and get_bit(block.people, (history.person_id % 4096)::int) <> 0
        order by block.name
      )
      else '{}'
    end
  from (
    select
      train_row.person_id,
      array_agg(item.item_no order by train_row.last_at, item.item_no) as items,
      array_agg(train_row.strength order by train_row.last_at, item.item_no) as strengths,
      array_agg(item.item_no order by item.item_no) filter (where train_row.strength >= 1 or train_row.strength <= 0)
        as left_out
    from pg_temp.train_row
    join recommend.evaluation_item as item on item.evaluation_id = v_id and item.item_id = train_row.item_id
    group by train_row.person_id
  ) as history
  left join (
    select
      held_row.person_id, array_agg(item.item_no order by item.item_no) as relevant, max(held_row.asked_at) as asked_at
    from pg_temp.held_row
    join recommend.evaluation_item as item on item.evaluation_id = v_id and item.item_id = held_row.item_id
    group by held_row.person_id
  ) as held using (person_id);

  select count(*), coalesce(sum(cardinality(person.items)), 0), count(*) filter (where person.relevant <> '{}')
  into v_evaluation.train_people, v_evaluation.train_rows, v_evaluation.test_people
  from recommend.evaluation_person as person
  where person.evaluation_id = v_id;
  v_evaluation.items := (
    select count(*)
    from recommend.evaluation_item as item
    where item.evaluation_id = v_id
      and item.person_count > 0
  );
  drop table pg_temp.all_row, pg_temp.held_row, pg_temp.train_row;

  update recommend.evaluation as stored
  set
    split_at = v_evaluation.split_at,
    data_watermark = v_evaluation.data_watermark,
    train_people = v_evaluation.train_people,
    train_rows = v_evaluation.train_rows,
    items = v_evaluation.items,
    test_people = v_evaluation.test_people
  where stored.evaluation_id = v_id
  returning stored.* into v_evaluation;
  return v_evaluation;
end;
$$;

comment on function recommend._freeze_evaluation(recommend.evaluation) is $$
@behavior -*
Stores the training and test rows of an evaluation by its protocol, so that later steps do not depend on later data.
`time`: models are trained on what happened before `split_at`, and tested on the items that people took afterwards,
among the items that were known and available at that time. `leave_last_out`: the last item that each person took is
held out and ranked among the items that were available when it was taken. `one_vs_100`: the same, among 100 sampled
items that the person never used. `random`: a fifth of what each person took is held out, at least one item, and ranked
among all.
Only people with another item are tested.
$$;
--! EndIncluded recommend/evaluation/_freeze_evaluation.sql

--! Included recommend/train/_train_part.sql
create or replace function recommend._train_part(coded regclass, part recommend.part, is_blended boolean)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_scale float8;
begin
  create temporary table trained_part on commit drop as
  select trained.item_no, trained.neighbours, trained.weights
  from recommend._part_neighbours(coded, (part).algorithm, (part).parameters) as trained;

  -- The weights of methods differ in size. In a blend, those of each part have the same mean length per item.
  if is_blended then
    select avg(sqrt(length.squares)) into v_scale
    from pg_temp.trained_part
    cross join lateral (
      select sum(weight::float8 * weight) as squares from unnest(trained_part.weights) as weight
    ) as length;
    update pg_temp.trained_part
    set weights = array(
      select (entry.weight / v_scale)::real
      from unnest(trained_part.weights) with ordinality as entry (weight, place)
      order by entry.place
    )
    where v_scale > 0;
  end if;
end;
$$;

comment on function recommend._train_part(regclass, recommend.part, boolean) is $$
@behavior -*
Trains a part of a model, and writes its neighbour lists to the temporary table `trained_part`.
`coded` is a relation (person_no, item_no, weight, position). The parts of a blend are brought to the same size.
$$;
--! EndIncluded recommend/train/_train_part.sql

--! Included recommend/evaluation/_train_evaluated.sql
create or replace function recommend._train_evaluated(evaluation_id bigint, model_no int)
returns void
language plpgsql
volatile
set search_path from current
set jit to off
as $$
declare
  v_started_at constant timestamptz := clock_timestamp();
  v_model recommend.evaluation_model;
  v_part recommend.part;
  v_place int;
  v_items constant int := (
    select count(*)
    from recommend.evaluation_item as item
    where item.evaluation_id = _train_evaluated.evaluation_id
  );
begin
  select * into v_model
  from recommend.evaluation_model as known
  where known.evaluation_id = _train_evaluated.evaluation_id
    and known.model_no = _train_evaluated.model_no;
  create temporary table entry (place int, item_no int, weight float8) on commit drop;

  if v_model.model_id is not null then
    -- The stored neighbours of a version; items that it does not know have none.
    insert into pg_temp.entry (place, item_no, weight)
    select (part.part - 1) * v_items + source.item_no, target.item_no, part.share * neighbour.weight
    from recommend.model_part as part
    join recommend.neighbours as stored on stored.model_id = part.model_id and stored.part = part.part
    join recommend.evaluation_item as source
      on source.evaluation_id = v_model.evaluation_id and source.item_id = stored.item_id
    cross join lateral unnest(stored.neighbour_ids, stored.weights) as neighbour (item_id, weight)
    join recommend.evaluation_item as target
      on target.evaluation_id = v_model.evaluation_id and target.item_id = neighbour.item_id
    where part.model_id = v_model.model_id;
  elsif v_model.parts <> '[]' then
    create temporary table coded on commit drop as
    select
      dense_rank() over (order by person.person_id)::int as person_no,
      used.item_no,
      used.strength as weight,
      row_number() over (partition by person.person_id order by used.place)::int as position
    from recommend.evaluation_person as person
    cross join lateral unnest(person.items, person.strengths) with ordinality as used (item_no, strength, place)
    where person.evaluation_id = v_model.evaluation_id
      and used.strength > 0;
    analyze pg_temp.coded;
    for v_part.algorithm, v_part.parameters, v_part.history_decay, v_part.share, v_place in
      select *
      from rows from (
        jsonb_populate_recordset(null::recommend.part, v_model.parts)
      ) with ordinality as part (algorithm, parameters, history_decay, share, place)
    loop
      perform recommend._train_part('pg_temp.coded', v_part, jsonb_array_length(v_model.parts) > 1);
      insert into pg_temp.entry (place, item_no, weight)
      select (v_place - 1) * v_items + trained.item_no, neighbour.item_no, v_part.share * neighbour.weight
      from pg_temp.trained_part as trained
      cross join lateral unnest(trained.neighbours, trained.weights) as neighbour (item_no, weight);
      drop table pg_temp.trained_part;
    end loop;
    drop table pg_temp.coded;
  end if;

  insert into recommend.evaluation_weight (evaluation_id, model_no, item_no, weights)
  select
    v_model.evaluation_id,
    v_model.model_no,
    entry.item_no,
    format(
      '{%s}/%s',
      string_agg(format('%s:%s', entry.place, entry.weight::real), ','),
      v_items * greatest(jsonb_array_length(v_model.parts), 1)
    )::sparsevec
  from pg_temp.entry
  -- Smaller ones are not numbers of single precision.
  where abs(entry.weight) > 1e-30
  group by entry.item_no;
  drop table pg_temp.entry;

  update recommend.evaluation_model as known
  set is_trained = true, duration = clock_timestamp() - v_started_at
  where known.evaluation_id = v_model.evaluation_id
    and known.model_no = v_model.model_no;
end;
$$;

comment on function recommend._train_evaluated(bigint, int) is $$
@behavior -*
Trains a model of an evaluation on the stored training rows, or copies the stored neighbours of its version.
$$;
--! EndIncluded recommend/evaluation/_train_evaluated.sql

--! Included recommend/evaluation/_list_metrics.sql
create or replace function recommend._list_metrics(places int[], k int)
returns float8[]
language sql
immutable
parallel safe
begin atomic
  select array[
    hits.n / _list_metrics.k::float8,
    hits.n / cardinality(_list_metrics.places)::float8,
    hits.n / least(_list_metrics.k, cardinality(_list_metrics.places))::float8,
    hits.gain / (
      select sum(ln(2) / ln(1 + place))
      from generate_series(1, least(_list_metrics.k, cardinality(_list_metrics.places))) as place
    ),
    hits.gain / (
      select sum(ln(2) / ln(1 + place))
      from generate_series(1, cardinality(_list_metrics.places)) as place
    ),
    hits.precisions / least(_list_metrics.k, cardinality(_list_metrics.places)),
    coalesce(1 / hits.first::float8, 0),
    (hits.n > 0)::int
  ]
  from (
    select
      count(*) as n,
      coalesce(sum(ln(2) / ln(1 + place.place) order by place.n), 0)::float8 as gain,
      coalesce(sum(place.n / place.place::float8 order by place.n), 0)::float8 as precisions,
      min(place.place) as first
    from unnest(_list_metrics.places) with ordinality as place (place, n)
    where place.place <= _list_metrics.k
  ) as hits;
end;

comment on function recommend._list_metrics(int[], int) is $$
@behavior -*
Metrics of one ranked list from the places of all relevant items, in ascending order, for a list of length k.
In this order: precision, recall, recall divided by min(k, relevant items), NDCG with an ideal list that is cut at k,
NDCG with an ideal list of all relevant items, average precision divided by min(k, relevant items), reciprocal rank,
whether there is a hit.
$$;
--! EndIncluded recommend/evaluation/_list_metrics.sql

--! Included recommend/evaluation/_test_people.sql
create or replace function recommend._test_people(evaluation recommend.evaluation, model_no int, people bigint[])
returns void
language plpgsql
volatile
set search_path from current
set max_parallel_workers_per_gather to 0
-- The planner does not know how many rows come from an array, and would compare all with all.
set enable_nestloop to off
set enable_mergejoin to off
set jit to off
as $$
declare
  v_id constant bigint := (evaluation).evaluation_id;
  v_most constant int := (select max(k) from unnest((evaluation).k) as k);
  -- Pairs of items of a list are counted up to this length.
  v_most_pairs constant int := 50;
  v_model recommend.evaluation_model;
  v_items constant int := (
    select count(*)
    from recommend.evaluation_item as item
    where item.evaluation_id = v_id
  );
  v_size int;
begin
  select * into v_model
  from recommend.evaluation_model as known
  where known.evaluation_id = v_id
    and known.model_no = _test_people.model_no;
  v_size := v_items * greatest(jsonb_array_length(v_model.parts), 1);

  with person as materialized (
    select
      person.person_id, person.items, person.strengths, person.left_out, person.relevant, person.asked_at,
      person.candidates
    from recommend.evaluation_person as person
    where person.evaluation_id = v_id
      and person.person_id = any (_test_people.people)
  ),

  item as materialized (
    select
      item.item_no,
      item.available_from,
      item.available_until,
      item.people,
      bit_count(item.people)::float8 as sampled,
      greatest(item.person_count, 1)::float8 / greatest((evaluation).train_people, 1) as share,
      item.person_count,
      case v_model.prior
        when 'popularity' then item.strength
        when 'trending' then item.recent_strength
        else extract(epoch from item.available_from)::float8
      end as prior
    from recommend.evaluation_item as item
    where item.evaluation_id = v_id
  ),

  part as (
    select entry.place as part, entry.history_decay
    from rows from (
      jsonb_populate_recordset(null::recommend.part, v_model.parts)
    ) with ordinality as entry (algorithm, parameters, history_decay, share, place)
  ),

  -- The items of a person in all parts, as a vector.
  history as materialized (
    select
      entry.person_id,
      format('{%s}/%s', string_agg(format('%s:%s', entry.place, entry.factor), ','), v_size)::sparsevec as v
    from (
      select
        person.person_id,
        (part.part - 1) * v_items + used.item_no as place,
        (used.strength * part.history_decay ^ (cardinality(person.items) - used.place))::real as factor
      from person
      cross join lateral unnest(person.items, person.strengths) with ordinality as used (item_no, strength, place)
      cross join part
      -- Later factors are not numbers of single precision.
      where used.strength > 0
        and (cardinality(person.items) - used.place) * ln(part.history_decay) > -60
    ) as entry
    group by entry.person_id
  ),

  weight as materialized (
    select weight.item_no, weight.weights
    from recommend.evaluation_weight as weight
    where weight.evaluation_id = v_id
      and weight.model_no = v_model.model_no
  ),

  ranked as (
    select
      person.person_id,
      item.item_no,
      item.item_no = any (person.relevant) as is_relevant,
      row_number() over (
        partition by person.person_id
        order by coalesce(history.v <#> weight.weights, 0), item.prior desc, item.item_no
      ) as place
    from person
    join item
      on (
        person.asked_at is null
        or item.available_from <= person.asked_at and item.available_until > person.asked_at
      )
      and item.item_no <> all (person.left_out)
      and (person.candidates is null or item.item_no = any (person.candidates))
    left join history on history.person_id = person.person_id
    left join weight on weight.item_no = item.item_no
  ),

  listed as materialized (
    select
      ranked.person_id,
      array_agg(ranked.item_no order by ranked.place) filter (where ranked.place <= v_most) as list,
      array_agg(ranked.place::int order by ranked.place) filter (where ranked.is_relevant) as places
    from ranked
    where ranked.place <= v_most or ranked.is_relevant
    group by ranked.person_id
  ),

  entry as materialized (
    select listed.person_id, entry.item_no, entry.place, item.share, item.person_count, item.people, item.sampled
    from listed
    cross join lateral unnest(listed.list) with ordinality as entry (item_no, place)
    join item using (item_no)
  ),

  pair as materialized (
    select
      one.person_id,
      other.place,
      one.place as other,
      coalesce(
        bit_count(one.people & other.people) / nullif(sqrt(one.sampled * other.sampled), 0),
        0
      ) as similarity
    from entry as one
    join entry as other on other.person_id = one.person_id and other.place > one.place
    where other.place <= v_most_pairs
      and (evaluation).purpose = 'evaluation'
  ),

  list_measure as (
    select
      entry.person_id,
      size.k,
      avg(-ln(entry.share) / ln(2) order by entry.place) as novelty,
      avg(entry.person_count / greatest((evaluation).train_people, 1)::float8 order by entry.place) as popularity
    from entry
    join unnest((evaluation).k) as size (k) on entry.place <= size.k
    group by entry.person_id, size.k
  ),

  pair_measure as (
    select pair.person_id, size.k, 1 - avg(pair.similarity order by pair.place, pair.other) as diversity
    from pair
    join unnest((evaluation).k) as size (k) on pair.place <= size.k
    group by pair.person_id, size.k
  ),

  profile as (
    select
      person.person_id,
      avg(item.person_count / greatest((evaluation).train_people, 1)::float8 order by used.item_no) as popularity
    from person
    cross join lateral unnest(person.items, person.strengths) as used (item_no, strength)
    join item using (item_no)
    where used.strength > 0
    group by person.person_id
  ),

  measured as (
    select
      listed.person_id,
      size.place,
      recommend._list_metrics(listed.places, size.k) || array[
        list_measure.novelty,
        coalesce(pair_measure.diversity, 0),
        list_measure.popularity,
        coalesce(profile.popularity, 0)
      ] as gains
    from listed
    cross join lateral unnest((evaluation).k) with ordinality as size (k, place)
    join list_measure on list_measure.person_id = listed.person_id and list_measure.k = size.k
    left join pair_measure on pair_measure.person_id = listed.person_id and pair_measure.k = size.k
    left join profile on profile.person_id = listed.person_id
  ),

  joined as (
    select
      listed.person_id,
      listed.list || array_fill(0, array[v_most - cardinality(listed.list)]) as list,
      array_agg(gain.value order by measured.place, gain.place) as gains
    from listed
    join measured using (person_id)
    cross join lateral unnest(measured.gains) with ordinality as gain (value, place)
    group by listed.person_id, listed.list
  )

  update recommend.evaluation_person as person
  set
    models_done = v_model.model_no,
    gains = person.gains || joined.gains,
    lists = person.lists || joined.list
  from joined
  where person.evaluation_id = v_id
    and person.person_id = joined.person_id
    and person.models_done = v_model.model_no - 1;
end;
$$;

comment on function recommend._test_people(recommend.evaluation, int, bigint[]) is $$
@behavior -*
Ranks the items for some test people by a model of an evaluation, and adds their metrics and lists to their rows.
The score of an item is the sum over the items of the person of strength, history decay and weight, as in serving; items
with equal scores, such as those the model does not know, are in the order of the prior.
$$;
--! EndIncluded recommend/evaluation/_test_people.sql

--! Included recommend/evaluation/_resampled_means.sql
create or replace function recommend._resampled_means(gains vector[], resamples int, seed bigint)
returns table (resample int, means real[])
language plpgsql
stable
set search_path from current
set max_parallel_workers_per_gather to 0
set jit to off
as $$
declare
  v_people constant bigint := cardinality(gains);
begin
  return query
  with person as materialized (
    select entry.gains, entry.place
    from unnest(_resampled_means.gains) with ordinality as entry (gains, place)
  ),

  draw as (
    select
      resample.n as resample,
      1 + (
        hashint8extended(place.n, hashint8extended(resample.n, _resampled_means.seed)) & 9007199254740991
      ) % v_people as place
    from generate_series(1, _resampled_means.resamples) as resample (n)
    cross join generate_series(1, v_people) as place (n)
  )

  select draw.resample, avg(person.gains order by draw.place)::real[]
  from draw
  join person using (place)
  group by draw.resample;
end;
$$;

comment on function recommend._resampled_means(vector[], int, bigint) is $$
@behavior -*
Means of vectors, one per person, over bootstrap samples of the people.
All elements of the vectors are drawn together, so that models and metrics are compared on the same samples. The same
seed draws the same samples.
Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993.
$$;
--! EndIncluded recommend/evaluation/_resampled_means.sql

--! Included recommend/evaluation/_compare.sql
create or replace function recommend._compare(differences float8[], resampled float8[])
returns recommend.paired_test
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_test recommend.paired_test;
  v_deviation float8;
begin
  -- In the order of the array, so that the same values give the same last digit.
  select count(*), avg(value order by place), stddev_samp(value order by place)
  into v_test.people, v_test.difference, v_deviation
  from unnest(differences) with ordinality as entry (value, place);
  v_test.standard_error := coalesce(v_deviation / sqrt(v_test.people), 0);

  -- The means of samples have single precision.
  select
    percentile_cont(0.025) within group (order by entry),
    percentile_cont(0.975) within group (order by entry)
  into v_test.lower, v_test.upper
  from unnest(resampled) as entry;

  if v_test.standard_error > 0 then
    v_test.t := v_test.difference / v_test.standard_error;
    v_test.p_value := 2 * ml.students_t_cdf(-abs(v_test.t), v_test.people - 1);
  else
    v_test.p_value := case when v_test.people > 1 and v_test.difference <> 0 then 0 else 1 end;
  end if;
  v_test.verdict := case
    when v_test.p_value < 0.05 and v_test.lower > 0 then 'better'
    when v_test.p_value < 0.05 and v_test.upper < 0 then 'worse'
    else 'equal'
  end;
  return v_test;
end;
$$;

comment on function recommend._compare(float8[], float8[]) is $$
@behavior -*
Paired comparison from the difference of each person and the mean difference of each bootstrap sample.
A difference is significant when the percentile interval of 95 % of the paired bootstrap does not contain 0, and the
two-sided p-value of the paired t-test is below 0.05: with few people the bootstrap alone finds too many.
Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993; Student, The probable error of a mean, Biometrika
1908.
$$;
--! EndIncluded recommend/evaluation/_compare.sql

--! Included recommend/evaluation/_finish_evaluation.sql
create or replace function recommend._finish_evaluation(evaluation recommend.evaluation)
returns void
language plpgsql
volatile
set search_path from current
set max_parallel_workers_per_gather to 0
set jit to off
as $$
declare
  v_id constant bigint := (evaluation).evaluation_id;
  v_metrics constant text[] := '{precision,recall,recall_min,ndcg,ndcg_uncut,map,mrr,hit_rate,novelty,diversity,'
    'popularity,profile}';
  v_width constant int := cardinality(v_metrics);
  v_block constant int := v_width * cardinality((evaluation).k);
  v_most constant int := (select max(k) from unnest((evaluation).k) as k);
  v_smallest_group constant int := (select smallest_group from analytics.setting);
  v_segment text;
  v_people bigint[];
begin
  foreach v_segment in array array[''] || (evaluation).segments loop
    v_people := array(
      select person.person_id
      from recommend.evaluation_person as person
      where person.evaluation_id = v_id
        and person.relevant <> '{}'
        and (v_segment = '' or v_segment = any (person.segments))
      order by person.person_id
    );
    continue when cardinality(v_people) < case when v_segment = '' then 1 else v_smallest_group end;

    create temporary table resampled on commit drop as
    select sample.resample, mean.place::int, mean.value::float8
    from recommend._resampled_means(
      array(
        select person.gains::vector
        from recommend.evaluation_person as person
        where person.evaluation_id = v_id
          and person.person_id = any (v_people)
        order by person.person_id
      ),
      (evaluation).resamples,
      (evaluation).seed
    ) as sample
    cross join unnest(sample.means) with ordinality as mean (value, place);

    create temporary table gain on commit drop as
    select person.person_id, gain.place::int, gain.value
    from recommend.evaluation_person as person
    cross join lateral unnest(person.gains) with ordinality as gain (value, place)
    where person.evaluation_id = v_id
      and person.person_id = any (v_people);
    create index on pg_temp.gain (place);
    create index on pg_temp.resampled (place);
    analyze pg_temp.gain;
    analyze pg_temp.resampled;

    create temporary table cell on commit drop as
    select
      model.model,
      model.model_no,
      size.k,
      size.place::int as k_no,
      metric.metric,
      ((model.model_no - 1) * v_block + (size.place - 1) * v_width + metric.place)::int as place
    from recommend.evaluation_model as model
    cross join unnest((evaluation).k) with ordinality as size (k, place)
    cross join unnest(v_metrics) with ordinality as metric (metric, place)
    where model.evaluation_id = v_id;

    insert into recommend.evaluation_result (
      evaluation_id, model, segment, metric, k, value, standard_error, lower, upper, people
    )
    select
      v_id, cell.model, v_segment, cell.metric, cell.k, mean.value, spread.standard_error, spread.lower, spread.upper,
      cardinality(v_people)
    from pg_temp.cell
    join (
      select place, avg(value order by person_id) as value
      from pg_temp.gain
      group by place
    ) as mean using (place)
    join (
      select
        place,
        stddev_samp(value order by resample) as standard_error,
        percentile_cont(0.025) within group (order by value) as lower,
        percentile_cont(0.975) within group (order by value) as upper
      from pg_temp.resampled
      group by place
    ) as spread using (place)
    where cell.metric <> 'profile'
      and (cell.metric <> 'diversity' or cell.k > 1 and (evaluation).purpose = 'evaluation')

    union all

    -- The change of the mean popularity from what people used to what is recommended to them.
    select
      v_id, cell.model, v_segment, 'popularity_bias', cell.k,
      (select avg(value order by person_id) from pg_temp.gain where gain.place = cell.place)
        / nullif((select avg(value order by person_id) from pg_temp.gain where gain.place = cell.place + 1), 0) - 1,
      spread.standard_error, spread.lower, spread.upper, cardinality(v_people)
    from pg_temp.cell
    cross join lateral (
      select
        stddev_samp(ratio.value order by ratio.resample) as standard_error,
        percentile_cont(0.025) within group (order by ratio.value) as lower,
        percentile_cont(0.975) within group (order by ratio.value) as upper
      from (
        select list.resample, list.value / nullif(profile.value, 0) - 1 as value
        from pg_temp.resampled as list
        join pg_temp.resampled as profile on profile.resample = list.resample and profile.place = cell.place + 1
        where list.place = cell.place
      ) as ratio
    ) as spread
    where cell.metric = 'popularity'

    union all

    select
      v_id, covered.model, v_segment, 'coverage', covered.k, covered.items / nullif(available.items, 0)::float8,
      null, null, null, cardinality(v_people)
    from (
      select cell.model, cell.k, count(distinct entry.item_no) filter (where entry.item_no > 0) as items
      from pg_temp.cell
      join recommend.evaluation_person as person
        on person.evaluation_id = v_id and person.person_id = any (v_people)
      cross join lateral unnest(
        person.lists[(cell.model_no - 1) * v_most + 1:(cell.model_no - 1) * v_most + cell.k]
      ) as entry (item_no)
      where cell.metric = 'precision'
      group by cell.model, cell.k
    ) as covered
    cross join (
      select count(*) as items
      from recommend.evaluation_item as item
      where item.evaluation_id = v_id
        and exists (
          select
          from recommend.evaluation_person as person
          where person.evaluation_id = v_id
            and person.person_id = any (v_people)
            and (
              person.asked_at is null
              or item.available_from <= person.asked_at and item.available_until > person.asked_at
            )
            and (person.candidates is null or item.item_no = any (person.candidates))
        )
    ) as available;

    if v_segment = '' then
      insert into recommend.evaluation_comparison (
        evaluation_id, model, other_model, metric, k, difference, standard_error, lower, upper, t, p_value, verdict,
        people
      )
      select
        v_id, cell.model, other.model, cell.metric, cell.k, test.difference, test.standard_error, test.lower,
        test.upper, test.t, test.p_value, test.verdict, test.people
      from pg_temp.cell
      join pg_temp.cell as other
        on other.k = cell.k and other.metric = cell.metric and other.model_no > cell.model_no
      cross join lateral recommend._compare(
        array(
          select one.value - two.value
          from pg_temp.gain as one
          join pg_temp.gain as two on two.person_id = one.person_id and two.place = other.place
          where one.place = cell.place
          order by one.person_id
        ),
        array(
          select one.value - two.value
          from pg_temp.resampled as one
          join pg_temp.resampled as two on two.resample = one.resample and two.place = other.place
          where one.place = cell.place
          order by one.resample
        )
      ) as test
      where cell.metric <> 'profile'
        and (cell.metric <> 'diversity' or cell.k > 1)
        and ((evaluation).purpose = 'evaluation' or cell.metric = 'ndcg')
        and (evaluation).purpose <> 'search';
    end if;
    drop table pg_temp.cell, pg_temp.gain, pg_temp.resampled;
  end loop;

  if (evaluation).purpose = 'search' then
    insert into recommend.best_parameters (
      kind, algorithm, history_decay, parameters, ndcg_at_10, evaluation_id, found_at
    )
    select distinct on (part.algorithm)
      (evaluation).kind, part.algorithm, part.history_decay, part.parameters, result.value, v_id, clock_timestamp()
    from recommend.evaluation_model as model
    join recommend.evaluation_result as result
      on result.evaluation_id = v_id and result.model = model.model and result.segment = '' and result.metric = 'ndcg'
    cross join lateral jsonb_populate_recordset(null::recommend.part, model.parts) as part
    where model.evaluation_id = v_id
    order by part.algorithm, result.value desc, model.model_no
    on conflict (kind, algorithm) do update
    set
      history_decay = excluded.history_decay,
      parameters = excluded.parameters,
      ndcg_at_10 = excluded.ndcg_at_10,
      evaluation_id = excluded.evaluation_id,
      found_at = excluded.found_at;
  end if;

  -- Rows about people are not kept.
  delete from recommend.evaluation_person as person
  where person.evaluation_id = v_id;
  delete from recommend.evaluation_weight as weight
  where weight.evaluation_id = v_id;
  delete from recommend.evaluation_item as item
  where item.evaluation_id = v_id;
  update recommend.evaluation as stored
  set state = 'finished', progress = 1, finished_at = clock_timestamp(), progressed_at = clock_timestamp()
  where stored.evaluation_id = v_id;
end;
$$;

comment on function recommend._finish_evaluation(recommend.evaluation) is $$
@behavior -*
Stores the results and the paired comparisons of an evaluation, and deletes its rows about people.
Called when all people are tested. Segments with fewer people than `analytics.setting.smallest_group` have no results.
$$;
--! EndIncluded recommend/evaluation/_finish_evaluation.sql

--! Included recommend/evaluation/_continue_evaluation.sql
create or replace function recommend._continue_evaluation(evaluation_id bigint)
returns recommend.evaluation
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  -- Pairs of a person and an item that one step ranks.
  v_most_pairs constant int := 500000;
  v_evaluation recommend.evaluation;
  v_by_default constant boolean := (
    select purpose.basis <> 'consent'
    from privacy.purpose
    where purpose.purpose = 'personalization'
  );
  v_model_no int;
  v_models int;
  v_items int;
  v_people bigint[];
begin
  select * into v_evaluation
  from recommend.evaluation as known
  where known.evaluation_id = _continue_evaluation.evaluation_id;
  if v_evaluation.state = 'finished' then
    return v_evaluation;
  end if;

  -- People who have withdrawn since the start.
  delete from recommend.evaluation_person as person
  using privacy.latest_decisions('personalization') as decision
  where person.evaluation_id = v_evaluation.evaluation_id
    and person.person_id = decision.person_id
    and not decision.granted;
  if not v_by_default then
    delete from recommend.evaluation_person as person
    where person.evaluation_id = v_evaluation.evaluation_id
      and person.person_id not in (
        select decision.person_id
        from privacy.latest_decisions('personalization') as decision
        where decision.granted
      );
  end if;

  select count(*), min(model.model_no) filter (where not model.is_trained)
  into v_models, v_model_no
  from recommend.evaluation_model as model
  where model.evaluation_id = v_evaluation.evaluation_id;
  if v_model_no is not null then
    perform recommend._train_evaluated(v_evaluation.evaluation_id, v_model_no);
  else
    v_items := (
      select count(*)
      from recommend.evaluation_item as item
      where item.evaluation_id = v_evaluation.evaluation_id
    );
    select min(person.models_done) + 1 into v_model_no
    from recommend.evaluation_person as person
    where person.evaluation_id = v_evaluation.evaluation_id
      and person.relevant <> '{}'
      and person.models_done < v_models;
    if v_model_no is not null then
      v_people := array(
        select person.person_id
        from recommend.evaluation_person as person
        where person.evaluation_id = v_evaluation.evaluation_id
          and person.relevant <> '{}'
          and person.models_done = v_model_no - 1
        order by person.person_id
        limit greatest(v_most_pairs / greatest(v_items, 1), 1)
      );
      perform recommend._test_people(v_evaluation, v_model_no, v_people);
    else
      perform recommend._finish_evaluation(v_evaluation);
    end if;
  end if;

  -- Half of the progress is training, the other half testing.
  update recommend.evaluation as stored
  set
    progressed_at = clock_timestamp(),
    progress = case
      when stored.state = 'finished' then 1
      else 0.99 / greatest(v_models, 1) / 2 * (
        (
          select count(*)
          from recommend.evaluation_model as model
          where model.evaluation_id = stored.evaluation_id
            and model.is_trained
        )
        + coalesce(
          (
            select avg(person.models_done)
            from recommend.evaluation_person as person
            where person.evaluation_id = stored.evaluation_id
              and person.relevant <> '{}'
          ),
          0
        )
      )
    end
  where stored.evaluation_id = _continue_evaluation.evaluation_id
  returning stored.* into v_evaluation;
  return v_evaluation;
end;
$$;

comment on function recommend._continue_evaluation(bigint) is $$
@behavior -*
Does the next step of an evaluation: the training of one model, the test of one model on some people, or the results.
A step depends on what is stored, so that a run that was interrupted continues after its last committed step, with the
same results.
$$;
--! EndIncluded recommend/evaluation/_continue_evaluation.sql

--! Included recommend/evaluation/_start_evaluation.sql
create or replace function recommend._start_evaluation(
  evaluation recommend.evaluation,
  models recommend.evaluation_model[]
)
returns recommend.evaluation
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_evaluation recommend.evaluation;
begin
  -- Rows about people of a run that was not continued are not kept.
  delete from recommend.evaluation_person as person
  using recommend.evaluation as known
  where known.evaluation_id = person.evaluation_id
    and known.state = 'running'
    and known.progressed_at < now() - interval '1 week';
  delete from recommend.evaluation as known
  where known.state = 'running'
    and known.progressed_at < now() - interval '1 week';

  insert into recommend.evaluation (
    kind, purpose, protocol, k, segments, seed, most_people, resamples, split_at, until_at
  )
  values (
    (evaluation).kind, (evaluation).purpose, (evaluation).protocol, (evaluation).k,
    coalesce((evaluation).segments, '{}'), (evaluation).seed, (evaluation).most_people, (evaluation).resamples,
    (evaluation).split_at, coalesce((evaluation).until_at, 'infinity')
  )
  returning * into v_evaluation;
  v_evaluation := recommend._freeze_evaluation(v_evaluation);

  -- A stored version that was trained on later rows would know what it is tested on: its method and parameters are
  -- trained on the same rows as the other models.
  insert into recommend.evaluation_model (evaluation_id, model_no, model, prior, parts, model_id)
  select
    v_evaluation.evaluation_id,
    entry.place,
    entry.model,
    entry.prior,
    entry.parts,
    case when version.data_watermark < v_evaluation.split_at then version.model_id end
  from unnest(models) with ordinality as entry (
    evaluation_id, model_no, model, prior, parts, model_id, is_trained, duration, place
  )
  left join ml.model as version on version.model_id = entry.model_id;
  return v_evaluation;
end;
$$;

comment on function recommend._start_evaluation(recommend.evaluation, recommend.evaluation_model[]) is $$
@behavior -*
Stores an evaluation with its data and its models, and returns it; `recommend._continue_evaluation` does the work.
$$;
--! EndIncluded recommend/evaluation/_start_evaluation.sql

--! Included recommend/evaluation/start_evaluation.sql
/* A definer: it reads the interactions of all people, and is granted to administrators and workers. */
create or replace function recommend.start_evaluation(
  models text[] default null,
  protocol text default 'time',
  k int[] default '{10}',
  kind text default 'course',
  seed bigint default 1,
  segments text[] default '{}',
  people int default 1000,
  resamples int default 1000,
  split_at timestamptz default null
)
returns recommend.evaluation
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set jit to off
as $$
declare
  v_protocols constant text[] := '{time,leave_last_out,random,one_vs_100}';
  v_fewest_people constant int := (select fewest_people from recommend.setting);
  v_names text[] := start_evaluation.models;
  v_models recommend.evaluation_model[];
  v_name text;
  v_evaluation recommend.evaluation;
begin
  perform recommend._check(1, start_evaluation.kind);
  if start_evaluation.protocol is null or start_evaluation.protocol <> all (v_protocols) then
    perform common.refuse(
      'CF002',
      format('there is no protocol "%s"', coalesce(left(start_evaluation.protocol, 100), 'null')),
      format(
        'Did you mean "%s"? The protocols are %s.',
        common.nearest_name(coalesce(start_evaluation.protocol, 'time'), v_protocols),
        array_to_string(v_protocols, ', ')
      )
    );
  elsif start_evaluation.seed is null then
    perform common.refuse('CF001', 'seed is null', 'Give a number: the same seed and data give the same results.');
  elsif start_evaluation.split_at is not null
    and (start_evaluation.protocol <> 'time' or not isfinite(start_evaluation.split_at)) then
    perform common.refuse('CF001', format('split_at is %s', start_evaluation.split_at),
      'Give a time with the protocol "time" only.');
  end if;
  if start_evaluation.k is null or not cardinality(start_evaluation.k) between 1 and 10
    or array_position(start_evaluation.k, null) is not null
    or (select count(distinct size) from unnest(start_evaluation.k) as size) < cardinality(start_evaluation.k) then
    perform common.refuse('CF001', format('k is %s', coalesce(left(start_evaluation.k::text, 100), 'null')),
      'Give 1 to 10 different lengths of lists, such as {5,10}.');
  end if;
  perform common.check_count('k', size, 1, 1000) from unnest(start_evaluation.k) as size;
  perform common.check_count('people', start_evaluation.people, 1, 100000);
  perform common.check_count('resamples', start_evaluation.resamples, 20, 10000);

  if cardinality(start_evaluation.segments) > 20 then
    perform common.refuse('CF008', format('%s segments', cardinality(start_evaluation.segments)), 'Give at most 20.');
  end if;
  foreach v_name in array coalesce(start_evaluation.segments, '{}') loop
    if not exists (select from track.person_set where person_set.name = v_name) then
      perform common.refuse(
        'CF002',
        format('there is no set of people "%s"', coalesce(left(v_name, 100), 'null')),
        coalesce(
          format(
            'Did you mean "%s"?',
            common.nearest_name(v_name, (select array_agg(name order by name) from track.person_set))
          ),
          'track.person_set lists the sets.'
        )
      );
    end if;
  end loop;

  v_names := coalesce(
    v_names,
    array(
      select known.model
      from recommend._candidates() as known
    )
    || 'latest'::text
    || array(select 'deployed' from recommend._deployed_model(start_evaluation.kind))
  );
  perform common.check_count('the number of models', cardinality(v_names), 1, 50);
  if (select count(distinct coalesce(entry, '')) from unnest(v_names) as entry) < cardinality(v_names) then
    perform common.refuse('CF001', format('models is %s', left(v_names::text, 100)), 'Name each model once.');
  end if;
  foreach v_name in array v_names loop
    v_models := v_models || recommend._model_parts(start_evaluation.kind, v_name);
  end loop;

  v_evaluation.kind := start_evaluation.kind;
  v_evaluation.purpose := 'evaluation';
  v_evaluation.protocol := start_evaluation.protocol;
  v_evaluation.k := start_evaluation.k;
  v_evaluation.segments := array(select distinct name from unnest(start_evaluation.segments) as name order by name);
  v_evaluation.seed := start_evaluation.seed;
  v_evaluation.most_people := start_evaluation.people;
  v_evaluation.resamples := start_evaluation.resamples;
  v_evaluation.split_at := start_evaluation.split_at;
  v_evaluation := recommend._start_evaluation(v_evaluation, v_models);
  if v_evaluation.test_people < v_fewest_people then
    perform common.refuse(
      'CF004',
      format(
        'not enough people to evaluate on: %s by protocol "%s"',
        v_evaluation.test_people, v_evaluation.protocol
      ),
      format(
        'At least %s people are needed (recommend.setting.fewest_people) who used an item and took another one %s.',
        v_fewest_people,
        case
          when v_evaluation.split_at is null then 'that was available then'
          else format('from %s on that was available then', v_evaluation.split_at)
        end
      )
    );
  end if;
  return v_evaluation;
end;
$$;

comment on function recommend.start_evaluation(
  text[], text, int[], text, bigint, text[], int, int, timestamptz
) is $$
Starts an evaluation of recommenders, with the arguments of `recommend.evaluate`, which does all at once.
`recommend.continue_evaluation` does the work in steps, each in a transaction of its own.
The rows that models are trained and tested on are stored now, so that an evaluation that is interrupted continues with
the same results. They are deleted at its end, or when it has not been continued for a week.
Errors: CF001, CF002 (an unknown kind, model, protocol or set of people), CF004 for too few people, CF008.
$$;

grant execute on function recommend.start_evaluation(
  text[], text, int[], text, bigint, text[], int, int, timestamptz
) to insights_admin, insights_worker;
--! EndIncluded recommend/evaluation/start_evaluation.sql

--! Included recommend/evaluation/continue_evaluation.sql
/* A definer: it reads the interactions of all people, and is granted to administrators and workers. */
create or replace function recommend.continue_evaluation(evaluation_id bigint)
returns recommend.evaluation
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
begin
  if not exists (
    select
    from recommend.evaluation as known
    where known.evaluation_id = continue_evaluation.evaluation_id
  ) then
    perform common.refuse(
      'CF002',
      format('there is no evaluation %s', coalesce(continue_evaluation.evaluation_id::text, 'null')),
      'recommend.evaluation lists them; recommend.start_evaluation starts one.'
    );
  end if;
  if not pg_try_advisory_xact_lock(
    hashtext('recommend.evaluation'), hashint8(continue_evaluation.evaluation_id)
  ) then
    perform common.refuse(
      'CF010',
      format('evaluation %s is being continued elsewhere', continue_evaluation.evaluation_id),
      'recommend.evaluation shows its progress.'
    );
  end if;
  return recommend._continue_evaluation(continue_evaluation.evaluation_id);
end;
$$;

comment on function recommend.continue_evaluation(bigint) is $$
Does the next step of an evaluation, and returns its state. Call it until `state` is `finished`.
A step trains one model, tests one model on some people (at most 500,000 pairs of a person and an item), or computes the
results. A run that was interrupted continues after its last committed step, with the same results.
Errors: CF002 for an unknown evaluation, CF010 while another session continues it.
$$;

grant execute on function recommend.continue_evaluation(bigint) to insights_admin, insights_worker;
--! EndIncluded recommend/evaluation/continue_evaluation.sql

--! Included recommend/evaluation/evaluate.sql
create or replace function recommend.evaluate(
  models text[] default null,
  protocol text default 'time',
  k int[] default '{10}',
  kind text default 'course',
  seed bigint default 1,
  segments text[] default '{}',
  people int default 1000,
  resamples int default 1000,
  split_at timestamptz default null
)
returns setof recommend.evaluation_result
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_evaluation recommend.evaluation := recommend.start_evaluation(
    evaluate.models, evaluate.protocol, evaluate.k, evaluate.kind, evaluate.seed, evaluate.segments, evaluate.people,
    evaluate.resamples, evaluate.split_at
  );
begin
  while v_evaluation.state = 'running' loop
    v_evaluation := recommend.continue_evaluation(v_evaluation.evaluation_id);
  end loop;
  return query
  select result.*
  from recommend.evaluation_result as result
  join recommend.evaluation_model as model using (evaluation_id, model)
  where result.evaluation_id = v_evaluation.evaluation_id
  order by result.segment, model.model_no, result.k, result.metric;
end;
$$;

comment on function recommend.evaluate(text[], text, int[], text, bigint, text[], int, int, timestamptz) is $$
Measures recommenders on what people did, and returns each metric with its bootstrap interval.
`models`: `popularity` (sum of the strengths of people), `trending` (the same, halved every 30 days), `latest`, the
models of `recommend.evaluate_relations` with their parameters, as in `ease(458)`, and `deployed` (the stored weights of
the deployed version when it was trained on earlier data only, otherwise its method and parameters, trained on the same
rows as the others); null: one of each. `protocol`:
- `time`: trains on what happened before `split_at` (default: the time after which a fifth of the items were taken), and
  ranks for each person the items that were known and available then; relevant are those that she took afterwards.
- `leave_last_out`: the last item of each person, among the items that were available when she took it.
- `one_vs_100`: the same, among 100 sampled items that she never used.
- `random`: a fifth of the items of each person, among all items.
All models, popularity too, rank the same items for the same people. Items that a model does not score are ordered by
popularity. `k`: lengths of the lists. `segments`: named sets of people, as in `track.person_set`. `people`: maximum
number of test people, sampled by `seed`.
Metrics: `precision`, `recall`, `recall_min` (divided by the smaller of k and the number of relevant items), `ndcg`
(ideal list cut at k), `ndcg_uncut`, `map`, `mrr`, `hit_rate`, `coverage` (share of the available items that are in a
list), `novelty` (mean of -log2 of the share of people with the item), `diversity` (1 - mean cosine of the pairs of the
first 50 items, by at most 4,096 people), `popularity` (mean share of people with the item), `popularity_bias` (its
change from what people used to what is recommended). `recommend.evaluation_comparison` has the paired tests.
Everything is one transaction; `recommend.start_evaluation` and `recommend.continue_evaluation` do the same in steps.
Memory is that of one step, at most 500,000 pairs of a person and an item and the weights of one model.
Errors: CF001, CF002 (an unknown kind, model, protocol or set of people), CF004 for too few people, CF008.
Source: Ferrari Dacrema et al., A troubling analysis of reproducibility and progress in recommender systems research,
TOIS 2021; Abdollahpouri et al., The unfairness of popularity bias in recommendation, 2019.
$$;

grant execute on function recommend.evaluate(text[], text, int[], text, bigint, text[], int, int, timestamptz)
to insights_admin, insights_worker;
--! EndIncluded recommend/evaluation/evaluate.sql

--! Included recommend/train/_delete_old_weights.sql
create or replace function recommend._delete_old_weights(project text, until_version int)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  delete from recommend.model_part
  using ml.model, ml.project as known
  where model_part.model_id = model.model_id
    and model.project_id = known.project_id
    and known.name = _delete_old_weights.project
    and model.version <= _delete_old_weights.until_version
    and model.version <> ml.deployed_version(_delete_old_weights.project);
end;
$$;

comment on function recommend._delete_old_weights(text, int) is $$
@behavior -*
Deletes the weights of the versions of a recommender up to the given one, except those of the deployed version.
$$;
--! EndIncluded recommend/train/_delete_old_weights.sql

--! Included recommend/train/_algorithm_of.sql
create or replace function recommend._algorithm_of(model recommend.evaluation_model)
returns text
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return coalesce(
    (
      select string_agg(part.value ->> 'algorithm', '+' order by part.place)
      from jsonb_array_elements((model).parts) with ordinality as part (value, place)
    ),
    (model).prior
  );
end;
$$;

comment on function recommend._algorithm_of(recommend.evaluation_model) is $$
@behavior -*
Names of the methods of a model, joined by `+`; that of its prior when it has no parts.
$$;
--! EndIncluded recommend/train/_algorithm_of.sql

--! Included recommend/train/_training_models.sql
create or replace function recommend._training_models(kind text, item_count int)
returns setof recommend.evaluation_model
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  -- Models that invert a matrix of all items: a grid of them takes minutes beyond the first number, and they cannot
  -- hold more than the second.
  v_most_items_of_grid constant int := 2000;
  v_most_items constant int := 16000;
begin
  return query
  with single as (
    select
      candidate.model,
      case when candidate.algorithm in ('popularity', 'trending') then candidate.algorithm else 'popularity' end
        as prior,
      case
        when candidate.algorithm not in ('popularity', 'trending') then
          (candidate.algorithm, candidate.parameters, candidate.history_decay, 1)::recommend.part
      end as part,
      1 as position
    from recommend._candidates() as candidate

    union all

    select
      format('ease(%s)', lambda), 'popularity',
      ('ease', jsonb_build_object('lambda', lambda), 1, 1)::recommend.part, 2
    from recommend.setting
    cross join unnest(setting.lambdas) as lambda
    where _training_models.item_count <= v_most_items_of_grid

    union all

    select
      format('%s of a search', best.algorithm), 'popularity',
      (best.algorithm, best.parameters, best.history_decay, 1)::recommend.part, 3
    from recommend.best_parameters as best
    where best.kind = _training_models.kind
  ),

  -- Each set of parameters once.
  tried as (
    select distinct on ((single.part).algorithm, (single.part).parameters, (single.part).history_decay, single.prior)
      single.*
    from single
    where coalesce((single.part).algorithm, '') not in ('ease', 'edlae')
      or _training_models.item_count <= v_most_items
    order by
      (single.part).algorithm, (single.part).parameters, (single.part).history_decay, single.prior, single.position,
      single.model
  ),

  -- The parameters of a search, or else the given ones.
  blended as (
    select distinct on ((tried.part).algorithm) tried.part
    from tried
    where (tried.part).algorithm in ('sequence', 'ease', 'item_knn')
    order by (tried.part).algorithm, tried.position = 3 desc, tried.position, tried.model
  ),

  entry as (
    select tried.model, tried.prior, array_remove(array[tried.part], null) as parts, tried.position
    from tried

    union all

    select
      format('%s + %s %s', (one.part).algorithm, share, (other.part).algorithm), 'popularity',
      array[
        one.part,
        ((other.part).algorithm, (other.part).parameters, (other.part).history_decay, share)::recommend.part
      ],
      4
    from blended as one
    join blended as other on (other.part).algorithm < (one.part).algorithm
    cross join unnest('{0.5,1,2}'::float8[]) as share
    where (one.part).algorithm = 'sequence'
  )

  select
    null::bigint, row_number() over (order by entry.position, entry.model)::smallint, entry.model, entry.prior,
    to_jsonb(entry.parts), null::bigint, false, null::interval
  from entry
  order by entry.position, entry.model;
end;
$$;

comment on function recommend._training_models(text, int) is $$
@behavior -*
Returns the models that a training tries.
They are those of `_candidates`, EASE with each of `recommend.setting.lambdas`, those that a search found, and blends of
a sequence with EASE and with the similarity of items.
$$;
--! EndIncluded recommend/train/_training_models.sql

--! Included recommend/train/_choose_model.sql
create or replace function recommend._choose_model(selection recommend.evaluation)
returns recommend.evaluation_model
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_best recommend.evaluation_model;
  v_blend recommend.evaluation_model;
begin
  select model.* into v_best
  from recommend.evaluation_model as model
  left join recommend.evaluation_result as result
    on result.evaluation_id = model.evaluation_id
    and result.model = model.model
    and result.segment = ''
    and result.metric = 'ndcg'
  where model.evaluation_id = (selection).evaluation_id
    and jsonb_array_length(model.parts) < 2
  order by result.value desc nulls last, jsonb_array_length(model.parts), model.model_no
  limit 1;

  -- A blend is chosen only when it gains more than chance against the best single model.
  select model.* into v_blend
  from recommend.evaluation_model as model
  join recommend.evaluation_result as result
    on result.evaluation_id = model.evaluation_id
    and result.model = model.model
    and result.segment = ''
    and result.metric = 'ndcg'
  join recommend.evaluation_comparison as comparison
    on comparison.evaluation_id = model.evaluation_id
    and comparison.metric = 'ndcg'
    and (
      comparison.model = model.model and comparison.other_model = v_best.model and comparison.verdict = 'better'
      or comparison.model = v_best.model and comparison.other_model = model.model and comparison.verdict = 'worse'
    )
  where model.evaluation_id = (selection).evaluation_id
    and jsonb_array_length(model.parts) > 1
  order by result.value desc, model.model_no
  limit 1;
  return case when v_blend.model is not null then v_blend else v_best end;
end;
$$;

comment on function recommend._choose_model(recommend.evaluation) is $$
@behavior -*
Returns the model with the highest NDCG@10 of a selection.
A blend is chosen only when it is significantly better than the best single model. Without results: popularity.
$$;
--! EndIncluded recommend/train/_choose_model.sql

--! Included recommend/train/_decide.sql
create or replace function recommend._decide(deployment recommend.evaluation)
returns text
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_id constant bigint := (deployment).evaluation_id;
  v_against_popularity text;
  v_against_deployed text;
  v_has_deployed constant boolean := exists (
    select
    from recommend.evaluation_model as model
    where model.evaluation_id = v_id
      and model.model = 'deployed'
  );
  v_is_popularity constant boolean := not exists (
    select
    from recommend.evaluation_model as model
    where model.evaluation_id = v_id
      and model.model = 'challenger'
  );
begin
  select
    max(comparison.verdict) filter (where comparison.model = 'challenger' and comparison.other_model = 'popularity'),
    max(comparison.verdict) filter (
      where comparison.model = case when v_is_popularity then 'popularity' else 'challenger' end
        and comparison.other_model = 'deployed'
    )
  into v_against_popularity, v_against_deployed
  from recommend.evaluation_comparison as comparison
  where comparison.evaluation_id = v_id
    and comparison.metric = 'ndcg'
    and comparison.k = 10;

  return case
    when v_is_popularity and not v_has_deployed then 'popularity'
    when v_is_popularity and v_against_deployed is null then 'untested'
    when v_is_popularity and v_against_deployed = 'better' then 'better'
    when v_is_popularity then 'worse'
    when v_against_popularity is null then 'untested'
    when not v_has_deployed and v_against_popularity = 'better' then 'first'
    when not v_has_deployed then 'popularity'
    when v_against_deployed = 'worse' then 'worse'
    when v_against_popularity = 'worse' then 'popularity'
    when v_against_deployed = 'better' and v_against_popularity = 'better' then 'better'
    -- Not worse than the deployed version, and trained on newer data.
    else 'newest'
  end;
end;
$$;

comment on function recommend._decide(recommend.evaluation) is $$
@behavior -*
Decides by the paired comparisons of NDCG@10 whether the challenger is deployed, and why.
`first`: better than popularity, and none is deployed. `better`: better than popularity and than the deployed version.
`newest`: not significantly worse than either. `worse` (than the deployed version), `popularity` (not better than it)
and `untested` (too few people): not deployed. Popularity itself is a version without parts, deployed only when it is
better than the deployed version.
$$;
--! EndIncluded recommend/train/_decide.sql

--! Included recommend/train/_store_version.sql
create or replace function recommend._store_version(
  kind text,
  model recommend.evaluation_model,
  metrics jsonb,
  seed bigint
)
returns ml.model
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
declare
  v_project constant text := 'recommend.' || kind;
  v_setting recommend.setting;
  v_part recommend.part;
  v_place int;
  v_model ml.model;
  v_version int;
begin
  select * into v_setting from recommend.setting;
  -- The model itself is trained on all rows, including those that it was tested on.
  create temporary table coded on commit drop as
  select
    dense_rank() over (order by rows_.person_id)::int as person_no,
    dense_rank() over (order by rows_.item_id)::int as item_no,
    rows_.strength as weight,
    row_number() over (partition by rows_.person_id order by rows_.last_at, rows_.item_id)::int as position,
    rows_.item_id,
    rows_.last_at
  from recommend._training_rows(_store_version.kind) as rows_
  where rows_.strength > 0;
  analyze pg_temp.coded;
  create temporary table coded_item on commit drop as
  select coded.item_no, coded.item_id, count(*)::int as person_count
  from pg_temp.coded
  group by coded.item_no, coded.item_id;
  analyze pg_temp.coded_item;

  v_version := ml.register_model(
    v_project,
    task => 'recommendation',
    algorithm => recommend._algorithm_of(model),
    document => null,
    metrics => jsonb_strip_nulls(_store_version.metrics) || jsonb_build_object(
      'people', (select count(distinct person_no) from pg_temp.coded),
      'items', (select count(*) from pg_temp.coded_item)
    ),
    parameters => jsonb_build_object(
      'prior', (model).prior, 'parts', (model).parts, 'full_weight', v_setting.full_weight
    ),
    metric => 'ndcg_at_10',
    seed => _store_version.seed,
    data_watermark => (select max(last_at) from pg_temp.coded),
    row_count => (select count(*) from pg_temp.coded),
    description => format('Which %s a person will take next.', _store_version.kind)
  );
  select known.* into v_model
  from ml.model as known
  join ml.project using (project_id)
  where project.name = v_project
    and known.version = v_version;

  for v_part.algorithm, v_part.parameters, v_part.history_decay, v_part.share, v_place in
    select *
    from rows from (
      jsonb_populate_recordset(null::recommend.part, (model).parts)
    ) with ordinality as part (algorithm, parameters, history_decay, share, place)
  loop
    insert into recommend.model_part (model_id, part, algorithm, share, history_decay)
    values (v_model.model_id, v_place, v_part.algorithm, v_part.share, v_part.history_decay);
    perform recommend._train_part('pg_temp.coded', v_part, jsonb_array_length((model).parts) > 1);

    insert into recommend.neighbours (model_id, part, item_id, person_count, neighbour_ids, weights)
    select
      v_model.model_id, v_place, source.item_id, source.person_count, coalesce(list.neighbour_ids, '{}'),
      coalesce(list.weights, '{}')
    from pg_temp.coded_item as source
    left join (
      select
        trained.item_no,
        array_agg(target.item_id order by target.item_id) as neighbour_ids,
        array_agg(entry.weight order by target.item_id) as weights
      from pg_temp.trained_part as trained
      cross join lateral unnest(trained.neighbours, trained.weights) as entry (item_no, weight)
      join pg_temp.coded_item as target on target.item_no = entry.item_no
      group by trained.item_no
    ) as list using (item_no);
    drop table pg_temp.trained_part;
  end loop;
  drop table pg_temp.coded, pg_temp.coded_item;
  return v_model;
end;
$$;

comment on function recommend._store_version(text, recommend.evaluation_model, jsonb, bigint) is $$
@behavior -*
Trains a model on all rows, stores its neighbour lists, and registers it with its measures. Returns the version.
$$;
--! EndIncluded recommend/train/_store_version.sql

--! Included recommend/train/_lock_training.sql
create or replace function recommend._lock_training(kind text, seed bigint)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  perform recommend._check(1, _lock_training.kind);
  if _lock_training.seed is null then
    perform common.refuse('CF001', 'seed is null', 'Give a number: the same seed and data give the same model.');
  end if;
  if not pg_try_advisory_xact_lock(hashtext('recommend.train'), hashtext(_lock_training.kind)) then
    perform common.refuse(
      'CF010',
      format('another training of the recommender of kind "%s" is running', left(_lock_training.kind, 100)),
      'Try again when it has finished.'
    );
  end if;
end;
$$;

comment on function recommend._lock_training(text, bigint) is $$
@behavior -*
Checks the arguments of a training, and that no other training of the kind runs until the end of the transaction.
$$;
--! EndIncluded recommend/train/_lock_training.sql

--! Included recommend/train/_discard_training.sql
create or replace function recommend._discard_training(kind text)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_unfinished constant bigint[] := array(
    select known.evaluation_id
    from recommend.evaluation as known
    where known.kind = _discard_training.kind
      and known.purpose in ('selection', 'deployment')
      and known.model_id is null
  );
begin
  delete from recommend.evaluation_person as person
  where person.evaluation_id = any (v_unfinished);
  delete from recommend.evaluation as known
  where known.evaluation_id = any (v_unfinished);
end;
$$;

comment on function recommend._discard_training(text) is $$
@behavior -*
Deletes the evaluations of trainings that were not finished.
$$;
--! EndIncluded recommend/train/_discard_training.sql

--! Included recommend/train/_train_step.sql
create or replace function recommend._train_step(kind text, seed bigint)
returns recommend.training
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_everyone constant int := 2147483647;
  v_setting recommend.setting;
  v_selection recommend.evaluation;
  v_deployment recommend.evaluation;
  v_evaluation recommend.evaluation;
  v_models recommend.evaluation_model[];
  v_people_with_two int;
  v_items int;
  v_split_at timestamptz;
  v_challenger recommend.evaluation_model;
  v_model ml.model;
  v_reason text;
  v_metrics jsonb;
  v_challenged ml.training;
  v_result recommend.training;
begin
  select * into v_setting from recommend.setting;
  v_result.kind := _train_step.kind;

  -- The state of a training is that of its two evaluations: the selection of a model, then the decision.
  select * into v_selection
  from recommend.evaluation as known
  where known.kind = _train_step.kind
    and known.seed = _train_step.seed
    and known.purpose = 'selection'
    and known.model_id is null
    and known.started_at > now() - interval '1 day'
  order by known.evaluation_id desc
  limit 1;
  if v_selection.evaluation_id is null then
    perform track.refresh(v_everyone, 'track.session');
    perform track.refresh(v_everyone, 'track.person_set');
    perform track.refresh(v_everyone, 'recommend.interaction');
    create temporary table owned on commit drop as
    select rows_.person_id, rows_.item_id, rows_.strength, rows_.first_at
    from recommend._training_rows(_train_step.kind) as rows_;
    select count(*) into v_people_with_two
    from (select from pg_temp.owned group by person_id having count(*) > 1) as known;
    select count(distinct item_id), percentile_disc(0.8) within group (order by first_at) filter (where strength >= 1)
    into v_items, v_split_at
    from pg_temp.owned;
    drop table pg_temp.owned;

    if v_people_with_two < v_setting.fewest_people then
      perform common.refuse(
        'CF004',
        format(
          'not enough interactions to train: %s people have two or more items of kind "%s"',
          v_people_with_two, left(_train_step.kind, 100)
        ),
        format(
          'At least %s people are needed (recommend.setting.fewest_people). Import or simulate events, '
            || 'and check that items have that kind and that recommend.event_weight has their events.',
          v_setting.fewest_people
        )
      );
    end if;

    -- Models are selected on what happened before the split of the decision.
    v_evaluation.kind := _train_step.kind;
    v_evaluation.purpose := 'selection';
    v_evaluation.protocol := 'time';
    v_evaluation.k := '{10}';
    v_evaluation.seed := _train_step.seed;
    v_evaluation.most_people := v_setting.most_test_people;
    v_evaluation.resamples := 400;
    v_evaluation.until_at := v_split_at;
    perform recommend._start_evaluation(
      v_evaluation,
      array(select entry from recommend._training_models(_train_step.kind, v_items) as entry)
    );
    return v_result;
  elsif v_selection.state = 'running' then
    perform recommend._continue_evaluation(v_selection.evaluation_id);
    return v_result;
  end if;

  select * into v_deployment
  from recommend.evaluation as known
  where known.kind = _train_step.kind
    and known.seed = _train_step.seed
    and known.purpose = 'deployment'
    and known.model_id is null
    and known.evaluation_id > v_selection.evaluation_id
  order by known.evaluation_id desc
  limit 1;
  if v_deployment.evaluation_id is null then
    v_evaluation := v_selection;
    v_evaluation.purpose := 'deployment';
    v_evaluation.resamples := 1000;
    v_evaluation.k := '{10}';
    v_evaluation.split_at := v_selection.until_at;
    v_evaluation.until_at := null;
    v_challenger := recommend._choose_model(v_selection);
    v_challenger.model := 'challenger';
    v_models := array_remove(
      array[
        case when v_challenger.prior <> 'popularity' or v_challenger.parts <> '[]' then v_challenger end,
        recommend._model_parts(_train_step.kind, 'popularity')
      ],
      null
    ) || array(
      select recommend._model_parts(_train_step.kind, 'deployed')
      from recommend._deployed_model(_train_step.kind)
    );
    v_deployment := recommend._start_evaluation(v_evaluation, v_models);
    if v_deployment.test_people < v_setting.fewest_test_people then
      delete from recommend.evaluation as known where known.evaluation_id = v_deployment.evaluation_id;
      v_evaluation.protocol := 'leave_last_out';
      v_evaluation.split_at := null;
      perform recommend._start_evaluation(v_evaluation, v_models);
    end if;
    return v_result;
  elsif v_deployment.state = 'running' then
    perform recommend._continue_evaluation(v_deployment.evaluation_id);
    return v_result;
  end if;

  v_reason := recommend._decide(v_deployment);
  -- Neither the challenger nor the deployed version is better than popularity: lists by popularity are deployed.
  if v_reason in ('worse', 'popularity', 'newest') and exists (
    select
    from recommend.evaluation_comparison as comparison
    where comparison.evaluation_id = v_deployment.evaluation_id
      and comparison.metric = 'ndcg'
      and comparison.model = 'popularity'
      and comparison.other_model = 'deployed'
      and comparison.verdict = 'better'
  ) and not exists (
    select
    from recommend.evaluation_comparison as comparison
    where comparison.evaluation_id = v_deployment.evaluation_id
      and comparison.metric = 'ndcg'
      and comparison.model = 'challenger'
      and comparison.other_model = 'popularity'
      and comparison.verdict = 'better'
  ) then
    v_reason := 'better';
    v_challenger := recommend._model_parts(_train_step.kind, 'popularity');
  else
    select model.* into v_challenger
    from recommend.evaluation_model as model
    where model.evaluation_id = v_deployment.evaluation_id
      and model.model in ('challenger', 'popularity')
    order by model.model_no
    limit 1;
  end if;

  select jsonb_object_agg(named.name, result.value) into v_metrics
  from recommend.evaluation_result as result
  cross join lateral (
    select
      case
        when result.model = v_challenger.model then ''
        else result.model || '_'
      end || result.metric || '_at_10' as name
  ) as named
  where result.evaluation_id = v_deployment.evaluation_id
    and result.segment = ''
    and result.k = 10
    and result.metric in ('ndcg', 'recall');
  v_metrics := jsonb_strip_nulls(coalesce(v_metrics, '{}') || jsonb_build_object(
    'ndcg_at_10_standard_error', (
      select result.standard_error
      from recommend.evaluation_result as result
      where result.evaluation_id = v_deployment.evaluation_id
        and result.segment = ''
        and result.model = v_challenger.model
        and result.metric = 'ndcg'
    ),
    -- Where popularity is the version itself, both have its measures.
    'popularity_ndcg_at_10', coalesce(v_metrics -> 'popularity_ndcg_at_10', v_metrics -> 'ndcg_at_10'),
    'popularity_recall_at_10', coalesce(v_metrics -> 'popularity_recall_at_10', v_metrics -> 'recall_at_10'),
    'row_count', v_deployment.test_people,
    'test_people', v_deployment.test_people,
    'evaluation_id', v_deployment.evaluation_id,
    'protocol', case
      when v_deployment.protocol = 'time' then format(
        'trained before %s, tested on what people took afterwards, among the items available then',
        v_deployment.split_at
      )
      else 'tested on the last item of each person, among the items available when it was taken'
    end
  ));
  v_model := recommend._store_version(_train_step.kind, v_challenger, v_metrics, _train_step.seed);
  v_challenged := ml.challenge_by_outcome(
    'recommend.' || _train_step.kind,
    v_model.version,
    case
      when v_reason in ('first', 'better', 'worse') then v_reason
      when v_reason = 'newest' then 'equal'
      when v_reason = 'untested' then 'incomparable'
      else 'worse'
    end,
    case when v_reason in ('first', 'better', 'newest') then v_reason end,
    jsonb_strip_nulls(jsonb_build_object('ndcg_at_10', v_metrics -> 'deployed_ndcg_at_10')),
    clock_timestamp() - v_selection.started_at
  );
  update recommend.evaluation as known
  set model_id = v_model.model_id
  where known.evaluation_id in (v_selection.evaluation_id, v_deployment.evaluation_id);

  v_result.version := v_model.version;
  v_result.deployed := v_challenged.deployed;
  v_result.reason := v_reason;
  v_result.lambda := (
    select (part ->> 'lambda')::float8
    from jsonb_path_query(v_challenger.parts, '$[*].parameters') as part
    where part ? 'lambda'
    limit 1
  );
  v_result.ndcg_at_10 := v_metrics ->> 'ndcg_at_10';
  v_result.recall_at_10 := v_metrics ->> 'recall_at_10';
  v_result.popularity_ndcg_at_10 := v_metrics ->> 'popularity_ndcg_at_10';
  v_result.popularity_recall_at_10 := v_metrics ->> 'popularity_recall_at_10';
  v_result.test_people := case when v_reason <> 'untested' then v_deployment.test_people end;
  v_result.people := v_model.metrics ->> 'people';
  v_result.items := v_model.metrics ->> 'items';
  v_result.interactions := v_model.row_count;
  v_result.duration := v_challenged.duration;
  v_result.algorithm := v_model.algorithm;
  perform recommend._delete_old_weights(v_challenged.project, v_result.version - v_setting.versions_kept);
  return v_result;
end;
$$;

comment on function recommend._train_step(text, bigint) is $$
@behavior -*
Does the next step of a training; `version` of the result is null until the last one.
$$;
--! EndIncluded recommend/train/_train_step.sql

--! Included recommend/train/train.sql
/*
 * A definer: it reads the interactions of all people and writes models, and is granted to administrators and workers.
 * It runs in one transaction: a training that is cancelled leaves no rows, and the deployed version stays deployed.
 */
create or replace function recommend.train(
  kind text default 'course',
  seed bigint default 1
)
returns recommend.training
language plpgsql
volatile
security definer
set search_path from current
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
declare
  v_started_at constant timestamptz := clock_timestamp();
  v_result recommend.training;
begin
  perform recommend._lock_training(train.kind, train.seed);
  -- It does not continue one that was done by steps.
  perform recommend._discard_training(train.kind);
  while v_result.version is null loop
    v_result := recommend._train_step(train.kind, train.seed);
  end loop;
  v_result.duration := clock_timestamp() - v_started_at;
  return v_result;
end;
$$;

comment on function recommend.train(text, bigint) is $$
Selects and trains a recommender of a kind of items, and deploys it when it is better than the deployed version.
It is trained on all interactions and enrolments of counted people, which are refreshed first. What happened before the
time after which people took a fifth of their items is split again by time: the models of `recommend._candidates`, EASE
with each of `recommend.setting.lambdas`, those that `recommend.search` found, and blends are trained on the earlier
part, and the one with the highest NDCG@10 on the later part is selected; a blend only when it is significantly better
than the best single model. The selected model, popularity and the deployed version are then compared by the protocol
`time` of `recommend.evaluate`, on the same people and items (at most `most_test_people` people), or by the protocol
`leave_last_out` when fewer than `fewest_test_people` took an item in the last part: the deployed version
by its stored weights when these are older than the split, otherwise by its method and parameters, trained on the same
rows as the others.
The version is deployed as the `first` one when it is better than popularity, as a `better` one when it is also better
than the deployed version, and as the `newest` when it is not worse than either; `better` and `worse` are significant
differences by the paired bootstrap and the paired t-test at 5 %. When popularity is better than the deployed version,
and the selected model is not better than popularity, a version of lists by popularity is deployed.
The model is trained on all rows and registered as a version of `recommend.<kind>` in `ml.model`, also when it is not
deployed. People who have opted out of `personalization` are excluded. The same seed and data give the same model.
Everything is one transaction: a training that is cancelled leaves nothing. `recommend.train_step` does the same in
steps.
Errors: CF002 for a kind that no item has, CF004 for not enough interactions, CF010 while another training of the kind
runs.
$$;

grant execute on function recommend.train(text, bigint) to insights_admin, insights_worker;
--! EndIncluded recommend/train/train.sql

--! Included recommend/train/train_step.sql
/* A definer: see recommend.train. */
create or replace function recommend.train_step(
  kind text default 'course',
  seed bigint default 1
)
returns recommend.training
language plpgsql
volatile
security definer
set search_path from current
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
begin
  perform recommend._lock_training(train_step.kind, train_step.seed);
  return recommend._train_step(train_step.kind, train_step.seed);
end;
$$;

comment on function recommend.train_step(text, bigint) is $$
@behavior -*
Does the next step of `recommend.train`. Call it until `version` is not null.
A step trains one model, tests one model on some people, or stores the version. It continues after the last committed
step, also of a run that was interrupted less than a day ago; `recommend.evaluation` shows the progress. For clients
that share one session, as in the embedded database. The resulting model is the same.
Errors: as `recommend.train`.
$$;

grant execute on function recommend.train_step(text, bigint) to insights_admin, insights_worker;
--! EndIncluded recommend/train/train_step.sql

--! Included recommend/train/_trials.sql
create or replace function recommend._trials(trials int, seed bigint, item_count int)
returns setof recommend.evaluation_model
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  with recursive candidate as (
    select known.algorithm, known.parameters, known.history_decay, known.grid
    from recommend._candidates() as known
    where known.grid <> '{}'
      and (known.algorithm not in ('ease', 'edlae') or _trials.item_count <= 16000)
  ),

  axis as (
    select
      candidate.algorithm,
      entry.key,
      entry.value,
      row_number() over (partition by candidate.algorithm order by entry.key) as place
    from candidate
    cross join lateral jsonb_each(candidate.grid) as entry
  ),

  -- All combinations of the values of a grid.
  combination as (
    select
      candidate.algorithm, candidate.parameters || jsonb_build_object('history_decay', candidate.history_decay)
        as parameters, 0::bigint as place
    from candidate

    union all

    select
      combination.algorithm, combination.parameters || jsonb_build_object(axis.key, choice.value), axis.place
    from combination
    join axis on axis.algorithm = combination.algorithm and axis.place = combination.place + 1
    cross join lateral jsonb_array_elements(axis.value) as choice
  ),

  complete as (
    select distinct combination.algorithm, combination.parameters
    from combination
    where not exists (
      select
      from axis
      where axis.algorithm = combination.algorithm
        and axis.place > combination.place
    )
  ),

  -- The given parameters of each method come first, then one of each in turn.
  drawn as (
    select
      complete.algorithm,
      complete.parameters,
      row_number() over (
        partition by complete.algorithm
        order by
          complete.parameters = (
            select candidate.parameters || jsonb_build_object('history_decay', candidate.history_decay)
            from candidate
            where candidate.algorithm = complete.algorithm
          ) desc,
          hashtextextended(complete.parameters::text, _trials.seed),
          complete.parameters
      ) as turn
    from complete
  )

  select
    null::bigint,
    row_number() over (order by drawn.turn, drawn.algorithm)::smallint,
    format(
      '%s(%s)',
      drawn.algorithm,
      (
        select string_agg(format('%s => %s', entry.key, entry.value), ', ' order by entry.key)
        from jsonb_each_text(drawn.parameters) as entry
      )
    ),
    'popularity',
    jsonb_build_array(to_jsonb((
      drawn.algorithm, drawn.parameters - 'history_decay', (drawn.parameters ->> 'history_decay')::float8, 1
    )::recommend.part)),
    null::bigint,
    false,
    null::interval
  from drawn
  order by drawn.turn, drawn.algorithm
  limit _trials.trials;
end;
$$;

comment on function recommend._trials(int, bigint, int) is $$
@behavior -*
Draws sets of parameters from the grids of `recommend._candidates` by a seed.
The first of each method is the one that it has without a search.
$$;
--! EndIncluded recommend/train/_trials.sql

--! Included recommend/train/start_search.sql
/* A definer: it reads the interactions of all people, and is granted to administrators and workers. */
create or replace function recommend.start_search(
  kind text default 'course',
  trials int default 50,
  seed bigint default 1
)
returns recommend.evaluation
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_setting recommend.setting;
  v_evaluation recommend.evaluation;
  v_items int;
begin
  perform recommend._check(1, start_search.kind);
  perform common.check_count('trials', start_search.trials, 1, 500);
  if start_search.seed is null then
    perform common.refuse('CF001', 'seed is null', 'Give a number: the same seed and data give the same parameters.');
  end if;
  select * into v_setting from recommend.setting;
  v_evaluation.kind := start_search.kind;
  v_evaluation.purpose := 'search';
  v_evaluation.protocol := 'time';
  v_evaluation.k := '{10}';
  v_evaluation.seed := start_search.seed;
  v_evaluation.most_people := v_setting.most_test_people;
  v_evaluation.resamples := 100;
  -- The rows that a training decides on are not searched on.
  select
    count(distinct rows_.item_id),
    percentile_disc(0.8) within group (order by rows_.first_at) filter (where rows_.strength >= 1)
  into v_items, v_evaluation.until_at
  from recommend._training_rows(start_search.kind) as rows_;

  v_evaluation := recommend._start_evaluation(
    v_evaluation,
    array(select trial from recommend._trials(start_search.trials, start_search.seed, v_items) as trial)
  );
  if v_evaluation.test_people < v_setting.fewest_people then
    perform common.refuse(
      'CF004',
      format('not enough people to search on: %s', v_evaluation.test_people),
      format('At least %s people are needed (recommend.setting.fewest_people) who took an item after others.',
        v_setting.fewest_people)
    );
  end if;
  return v_evaluation;
end;
$$;

comment on function recommend.start_search(text, int, bigint) is $$
Starts a search of the parameters of recommenders: `recommend.continue_evaluation` tries them in steps.
`trials` sets of parameters are drawn by the seed from the grids of the models, those that a model has without a search
among them. They are trained and tested as in the selection of a training. The best of each method is kept in
`recommend.best_parameters`, and the next training tries it. `recommend.evaluation_result` has all trials.
Errors: CF001, CF002 for a kind that no item has, CF004 for too few people, CF008.
$$;

grant execute on function recommend.start_search(text, int, bigint) to insights_admin, insights_worker;
--! EndIncluded recommend/train/start_search.sql

--! Included recommend/train/search.sql
create or replace function recommend.search(
  kind text default 'course',
  trials int default 50,
  seed bigint default 1
)
returns setof recommend.best_parameters
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_evaluation recommend.evaluation := recommend.start_search(search.kind, search.trials, search.seed);
begin
  while v_evaluation.state = 'running' loop
    v_evaluation := recommend.continue_evaluation(v_evaluation.evaluation_id);
  end loop;
  return query
  select best.*
  from recommend.best_parameters as best
  where best.kind = search.kind
  order by best.ndcg_at_10 desc, best.algorithm;
end;
$$;

comment on function recommend.search(text, int, bigint) is $$
Searches the parameters of recommenders, and returns the best of each method. As `recommend.start_search`, at once.
Errors: CF001, CF002 for a kind that no item has, CF004 for too few people, CF008.
$$;

grant execute on function recommend.search(text, int, bigint) to insights_admin, insights_worker;
--! EndIncluded recommend/train/search.sql

--! Included recommend/functions/due_trainings.sql
/* A definer: it counts the interactions of all people, and returns only kinds of items. */
create or replace function recommend.due_trainings(share float8 default 0.1)
returns setof text
language plpgsql
stable
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_fewest_people constant int := (select fewest_people from recommend.setting);
  v_known record;
  v_interactions bigint;
  v_people bigint;
begin
  for v_known in
    select known.kind, latest.data_watermark, latest.row_count
    from (
      select 'course' as kind

      union

      select substr(project.name, length('recommend.') + 1)
      from ml.project
      where starts_with(project.name, 'recommend.')
    ) as known
    left join lateral (
      select model.data_watermark, model.row_count
      from ml.project
      join ml.model on model.project_id = project.project_id
      where project.name = 'recommend.' || known.kind
      order by model.version desc
      limit 1
    ) as latest on true
    order by known.kind
  loop
    -- First an upper limit, from the new interactions. A training counts fewer, and reads all interactions for it.
    select coalesce(sum(owned.item_count), 0), count(*) filter (where owned.item_count > 1)
    into v_interactions, v_people
    from (
      select leaf.person_id, count(distinct ancestor.ancestor_item_id) as item_count
      from (
        select interaction.person_id, interaction.item_id
        from recommend.interaction
        where interaction.last_at > coalesce(v_known.data_watermark, '-infinity')
          and (interaction.weight > 0 or interaction.liking > 0)

        union all

        select enrolment.person_id, enrolment.item_id
        from track.enrolment
        where enrolment.enrolled_at > coalesce(v_known.data_watermark, '-infinity')
      ) as leaf
      join track.item_ancestor as ancestor on ancestor.item_id = leaf.item_id
      join track.item on item.item_id = ancestor.ancestor_item_id
      where item.kind = v_known.kind
      group by leaf.person_id
    ) as owned;
    if v_known.data_watermark is null and v_people < v_fewest_people
      or v_interactions < due_trainings.share * v_known.row_count
    then
      continue;
    end if;

    select coalesce(sum(owned.item_count), 0), count(*) filter (where owned.item_count > 1)
    into v_interactions, v_people
    from (
      select liked.person_id, count(*) as item_count
      from recommend._training_rows(v_known.kind) as liked
      where liked.last_at > coalesce(v_known.data_watermark, '-infinity')
      group by liked.person_id
    ) as owned;

    if v_known.data_watermark is null and v_people >= v_fewest_people
      or v_known.data_watermark is not null
        and v_interactions > 0
        and v_interactions >= due_trainings.share * v_known.row_count
    then
      return next v_known.kind;
    end if;
  end loop;
end;
$$;

comment on function recommend.due_trainings(float8) is $$
@behavior -*
Returns the kinds of items whose recommender should be trained.
A kind is returned when it has no version and at least `recommend.setting.fewest_people` people like two or more items,
or when the items of people that are newer than the latest version are at least the given share of those it was trained
on. They are counted as a training counts them (`recommend._training_rows`).
$$;

grant execute on function recommend.due_trainings(float8) to insights_worker;
--! EndIncluded recommend/functions/due_trainings.sql

--! Included recommend/feedback/_own_serving.sql
create or replace function recommend._own_serving(serving_id text, person_id bigint)
returns recommend.serving
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
as $$
declare
  v_serving constant recommend.serving := recommend._read_serving_id(_own_serving.serving_id);
  v_period constant interval := (select serving_period from recommend.setting);
  v_name constant text := format('"%s"', left(_own_serving.serving_id, 100));
begin
  if (v_serving).problem is not null then
    perform common.refuse('CF009', format('serving_id %s %s', v_name, (v_serving).problem),
      'Give the serving_id of a row of a list, unchanged.');
  end if;
  if (v_serving).listed_at < now() - v_period then
    perform common.refuse(
      'CF005',
      format('serving_id %s is of %s', v_name, to_char((v_serving).listed_at, 'YYYY-MM-DD')),
      format('Answers to a list count for %s (recommend.setting.serving_period): request a new one.', v_period)
    );
  end if;
  if (v_serving).identity_id is not null
    and _own_serving.person_id is distinct from (
      track.people_of_identities(array[(v_serving).identity_id], array[(v_serving).listed_at])
    )[1]
  then
    perform common.refuse('CF005', format('serving_id %s is that of another person', v_name),
      'A person answers to the lists that were made for her.');
  end if;
  return v_serving;
end;
$$;

comment on function recommend._own_serving(text, bigint) is $$
@behavior -*
Returns the content of a `serving_id` that a person may answer to now.
Errors: CF009 for a text that is not one, also a changed one, CF005 for one that is older than
`recommend.setting.serving_period` and for one of another person.
$$;
--! EndIncluded recommend/feedback/_own_serving.sql

--! Included recommend/feedback/_send_feedback.sql
create or replace function recommend._send_feedback(
  person text,
  name_field text,
  feedback text,
  item text,
  value float8,
  topic text,
  serving_id text
)
returns boolean
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set extra_float_digits to 1
as $$
declare
  v_kinds constant text[] := '{show,click,like,dislike,rate,dismiss,know,dismiss_topic,withdraw}';
  v_event text := (
    '{
      "show": "Recommendation Shown", "click": "Recommendation Clicked", "like": "Item Liked",
      "dislike": "Item Disliked", "rate": "Item Rated", "dismiss": "Item Dismissed", "know": "Item Known",
      "dismiss_topic": "Topic Dismissed", "withdraw": "Feedback Withdrawn"
    }'::jsonb
  ) ->> _send_feedback.feedback;
  v_topic constant text := nullif(btrim(_send_feedback.topic), '');
  v_item_id bigint;
  v_serving recommend.serving;
  v_weight recommend.event_weight;
  v_result track.ingest_result;
  v_error jsonb;
  v_person_id bigint;
begin
  if v_event is null then
    perform common.refuse(
      'CF002',
      format('there is no feedback "%s"', coalesce(left(_send_feedback.feedback, 100), 'null')),
      coalesce('Did you mean "' || common.nearest_name(_send_feedback.feedback, v_kinds) || '"? ', '')
        || format('There are %s.', array_to_string(v_kinds, ', '))
    );
  end if;

  if _send_feedback.item is not null then
    v_item_id := (recommend._find_items(array[_send_feedback.item]))[1];
  end if;
  if _send_feedback.serving_id is not null then
    v_serving := recommend._own_serving(_send_feedback.serving_id, track.find_person(_send_feedback.person));
    select coalesce(known.merged_item_id, known.item_id) into v_serving.item_id
    from track.item as known
    where known.item_id = v_serving.item_id;
    if v_item_id <> v_serving.item_id then
      perform common.refuse(
        'CF001',
        format('item is "%s"', left(_send_feedback.item, 100)),
        format(
          'The serving_id is that of "%s": give no item, or this one.',
          (select left(known.external_id, 100) from track.item as known where known.item_id = v_serving.item_id)
        )
      );
    end if;
    v_item_id := v_serving.item_id;
    if v_event = 'Item Dismissed' then
      v_event := 'Recommendation Dismissed';
    end if;
  elsif _send_feedback.feedback in ('show', 'click') then
    perform common.refuse('CF001', 'serving_id is null', 'Give the serving_id of the row of the list.');
  end if;

  if v_topic is not null and _send_feedback.feedback not in ('dismiss_topic', 'withdraw') then
    perform common.refuse('CF001', format('topic is "%s"', left(v_topic, 100)),
      'A topic belongs to dismiss_topic and withdraw.');
  end if;
  if length(v_topic) > 500 then
    perform common.refuse('CF008', format('topic has %s characters', length(v_topic)), 'A topic has at most 500.');
  end if;
  if v_item_id is null and v_topic is null then
    perform common.refuse(
      'CF001',
      'item is null',
      case
        when _send_feedback.feedback in ('dismiss_topic', 'withdraw') then 'Give an item, a serving_id or a topic.'
        else 'Give an item or a serving_id.'
      end
    );
  end if;

  if _send_feedback.feedback <> 'rate' then
    if _send_feedback.value is not null then
      perform common.refuse('CF001', format('value is %s', _send_feedback.value), 'A value belongs to rate.');
    end if;
  else
    select * into v_weight
    from recommend.event_weight
    where event_weight.event = v_event;
    if v_weight.value_property is null then
      perform common.refuse('CF006', format('there is no scale of "%s"', v_event),
        'Administrators set value_property, value_from and value_to in recommend.event_weight.');
    end if;
    if _send_feedback.value is null
      or _send_feedback.value not between least(v_weight.value_from, v_weight.value_to)
        and greatest(v_weight.value_from, v_weight.value_to)
    then
      perform common.refuse(
        'CF001',
        format('value is %s', coalesce(_send_feedback.value::text, 'null')),
        format('Give a number from %s to %s.', v_weight.value_from, v_weight.value_to)
      );
    end if;
  end if;

  v_result := track.ingest(jsonb_build_array(jsonb_build_object(
    'type', 'track',
    'messageId', 'feedback-' || gen_random_uuid(),
    _send_feedback.name_field, _send_feedback.person,
    'event', v_event,
    'properties', jsonb_strip_nulls(jsonb_build_object(
      'item', (select known.external_id from track.item as known where known.item_id = v_item_id),
      'topic', v_topic,
      'servingId', _send_feedback.serving_id
    )) || case when v_weight.value_property is null then '{}' else
      jsonb_build_object(v_weight.value_property, _send_feedback.value)
    end
  )));
  if v_result.rejected > 0 then
    v_error := v_result.errors -> 0;
    perform common.refuse(v_error ->> 'code', v_error ->> 'message', v_error ->> 'hint');
  end if;

  -- Without the consent that the event needs, it was stored for no person; without that to personalization, it is not
  -- used.
  v_person_id := track.find_person(_send_feedback.person);
  return privacy.allowed(v_person_id, 'personalization')
    and privacy.allowed(
      v_person_id,
      (select event_type.purpose from track.event_type where event_type.name = v_event)
    );
end;
$$;

comment on function recommend._send_feedback(text, text, text, text, float8, text, text) is $$
@behavior -*
Checks an answer of a person and sends it as an event through `track.ingest`: see `recommend.feedback`.
`name_field`: `userId` or `anonymousId`.
$$;
--! EndIncluded recommend/feedback/_send_feedback.sql

--! Included recommend/feedback/feedback.sql
/* A definer: it checks the signature and the person of a serving_id. The caller's rights decide what is sent. */
create or replace function recommend.feedback(
  feedback text,
  item text default null,
  value float8 default null,
  topic text default null,
  serving_id text default null
)
returns boolean
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_person constant text := nullif(current_setting('insights.person', true), '');
begin
  if v_person is null then
    perform common.refuse('CF005', 'no person is signed in', 'Sign in first: an answer belongs to a person.');
  end if;
  return recommend._send_feedback(
    v_person, 'userId', feedback.feedback, feedback.item, feedback.value, feedback.topic, feedback.serving_id
  );
end;
$$;

comment on function recommend.feedback(text, text, float8, text, text) is $$
Stores an answer of the signed-in person to a recommendation, or about an item or a topic. It acts at once.
`feedback` is `show` (the row was seen), `click`, `like`, `dislike`, `rate` (with `value`, on the scale of the event
`Item Rated` in `recommend.event_weight`), `dismiss`, `know` (the content is known already), `dismiss_topic` (she is not
interested in `topic`, or in the topic of the item) or `withdraw` (revokes the earlier answers about the item or
topic). `serving_id` connects the answer with the row of the list; the item may then be left out.
The answer is an event (see `docs/events.md`) that `track.ingest` stores. Returns whether it is used: false when the
person has opted out of personalization or of what the event is stored for.
Errors: CF002 for an unknown `feedback` or item (names the nearest), CF001 for missing or contradictory arguments,
CF005 for a `serving_id` that is too old or of another person and when no person is signed in, CF009 for one that is
not a valid one, CF008 for a topic of more than 500 characters, and those of the event.
$$;

grant execute on function recommend.feedback(text, text, float8, text, text) to insights_learner;
--! EndIncluded recommend/feedback/feedback.sql

--! Included recommend/feedback/person_feedback.sql
/* A definer: workers look up people without privileges on the tables. The caller's rights decide what is sent. */
create or replace function recommend.person_feedback(
  person text,
  feedback text,
  item text default null,
  value float8 default null,
  topic text default null,
  serving_id text default null
)
returns boolean
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
begin
  perform recommend._check_person(person_feedback.person);
  return recommend._send_feedback(
    person_feedback.person,
    -- A name that is known only as that of a browser; a new one is that of a user.
    case
      when (
        select identity.kind
        from track.identity
        where identity.identity_id = track.find_identity(person_feedback.person)
      ) = 'anonymous' then 'anonymousId'
      else 'userId'
    end,
    person_feedback.feedback, person_feedback.item, person_feedback.value, person_feedback.topic,
    person_feedback.serving_id
  );
end;
$$;

comment on function recommend.person_feedback(text, text, text, float8, text, text) is $$
Stores an answer of a person to a recommendation, or about an item or a topic: `recommend.feedback` for a server.
`person` is a `userId` or `anonymousId`; a name that is not known is that of a new user. The other arguments, the result
and the errors are those of `recommend.feedback`; CF001 also for an empty name.
$$;

grant execute on function recommend.person_feedback(text, text, text, float8, text, text)
to insights_admin, insights_worker;
--! EndIncluded recommend/feedback/person_feedback.sql

--! Included recommend/feedback/serve_me.sql
create or replace function recommend.serve_me(
  top int default 10,
  kind text default 'course',
  exclude_items text[] default null,
  only_items text[] default null,
  diversity float8 default null,
  page text default null
)
returns setof recommend.recommendation
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_list constant recommend.recommendation[] := array(
    select listed
    from recommend.for_me(
      serve_me.top, serve_me.kind, serve_me.exclude_items, serve_me.only_items, serve_me.diversity, serve_me.page
    ) as listed
  );
begin
  perform recommend._record_impressions(array(select listed.serving_id from unnest(v_list) as listed));
  return query
  select listed.*
  from unnest(v_list) as listed;
end;
$$;

comment on function recommend.serve_me(int, text, text[], text[], float8, text) is $$
Returns what `recommend.for_me` returns, and records each row as served to the signed-in person.
For a list that will be shown; `recommend.impression` has the rows and the answers to them. For a person who has opted
out of `personalization`, nothing is recorded. The arguments and errors are those of `recommend.for_me`.
$$;

grant execute on function recommend.serve_me(int, text, text[], text[], float8, text) to insights_learner;
--! EndIncluded recommend/feedback/serve_me.sql

--! Included recommend/feedback/serve_person.sql
create or replace function recommend.serve_person(
  person text,
  top int default 10,
  kind text default 'course',
  exclude_items text[] default null,
  only_items text[] default null,
  diversity float8 default null,
  page text default null
)
returns setof recommend.recommendation
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_list constant recommend.recommendation[] := array(
    select listed
    from recommend.for_person(
      serve_person.person, serve_person.top, serve_person.kind, serve_person.exclude_items, serve_person.only_items,
      serve_person.diversity, serve_person.page
    ) as listed
  );
begin
  perform recommend._record_impressions(array(select listed.serving_id from unnest(v_list) as listed));
  return query
  select listed.*
  from unnest(v_list) as listed;
end;
$$;

comment on function recommend.serve_person(text, int, text, text[], text[], float8, text) is $$
Returns what `recommend.for_person` returns, and records each row as served to the person.
For a list that will be shown; `recommend.impression` has the rows and the answers to them. For an unknown person, and
one who has opted out of `personalization`, nothing is recorded. The arguments and errors are those of
`recommend.for_person`.
$$;

grant execute on function recommend.serve_person(text, int, text, text[], text[], float8, text)
to insights_admin, insights_worker;
--! EndIncluded recommend/feedback/serve_person.sql

--! Included recommend/feedback/serve_items.sql
create or replace function recommend.serve_items(
  items text[],
  top int default 10,
  kind text default 'course',
  exclude_items text[] default null,
  only_items text[] default null,
  diversity float8 default null,
  page text default null
)
returns setof recommend.recommendation
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_list constant recommend.recommendation[] := array(
    select listed
    from recommend.for_items(
      serve_items.items, serve_items.top, serve_items.kind, serve_items.exclude_items, serve_items.only_items,
      serve_items.diversity, serve_items.page
    ) as listed
  );
begin
  perform recommend._record_impressions(array(select listed.serving_id from unnest(v_list) as listed));
  return query
  select listed.*
  from unnest(v_list) as listed;
end;
$$;

comment on function recommend.serve_items(text[], int, text, text[], text[], float8, text) is $$
Returns what `recommend.for_items` returns, and records each row as served to the learner who is signed in.
For visitors, and for calls of servers, nothing is recorded: a row enters `recommend.impression` when a person sends an
event with its `serving_id`. The arguments and errors are those of `recommend.for_items`.
$$;

grant execute on function recommend.serve_items(text[], int, text, text[], text[], float8, text)
to insights_visitor, insights_learner, insights_admin, insights_worker;
--! EndIncluded recommend/feedback/serve_items.sql

--! Included recommend/feedback/serving_report.sql
create or replace function recommend._serving_report(
  since timestamptz,
  until timestamptz,
  by text,
  kind text,
  smallest_group int
)
returns setof recommend.serving_figures
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
declare
  v_z constant float8 := ml.normal_quantile(0.975);
  v_since timestamptz := _serving_report.since;
  v_until timestamptz := _serving_report.until;
begin
  perform common.check_period(_serving_report.since, _serving_report.until);
  if _serving_report.by is null or _serving_report.by not in ('model', 'basis', 'rank', 'slot') then
    perform common.refuse('CF001', format('by is %s', coalesce('"' || left(_serving_report.by, 100) || '"', 'null')),
      'Use model (version), basis, rank or slot (explored or ranked).');
  end if;
  perform recommend._check(1, _serving_report.kind);
  -- Whole weeks, so that two periods differ by a week at least.
  if _serving_report.smallest_group is not null then
    v_since := date_trunc('week', greatest(v_since, '2000-01-03'));
    v_until := date_trunc('week', least(v_until, now()) - interval '1 microsecond') + interval '7 days';
  end if;

  return query
  with listed as (
    select
      impression.*,
      case _serving_report.by
        when 'model' then model.version::text
        when 'basis' then impression.basis
        when 'rank' then impression.rank::text
        else case when impression.propensity is null then 'ranked' else 'explored' end
      end as name,
      case when _serving_report.smallest_group is not null then date_trunc('week', impression.listed_at) end as week
    from recommend.impression
    join track.item as named on named.item_id = impression.item_id
    join track.item on item.item_id = coalesce(named.merged_item_id, named.item_id)
    left join ml.model on model.model_id = impression.model_id
    left join track.person_set_blocks('counted') as counted on counted.block = impression.person_id / 4096
    where impression.listed_at >= v_since
      and impression.listed_at < v_until
      and item.kind = _serving_report.kind
      -- For analysts, only people whom no client can invent.
      and (
        _serving_report.smallest_group is null
        or get_bit(counted.people, (impression.person_id % 4096)::int) <> 0
      )
  ),

  -- Of a group, a week of few people is left out. For admins there is one group of all weeks.
  kept as (
    select cell.name, cell.week
    from (
      select listed.name, listed.week, count(distinct listed.person_id) as people
      from listed
      group by listed.name, listed.week
    ) as cell
    where cell.people >= coalesce(_serving_report.smallest_group, 1)
  ),

  counted as (
    select
      listed.name,
      count(distinct listed.person_id) as people,
      count(*) filter (where listed.is_served) as served,
      count(distinct listed.person_id) filter (where listed.is_served) as served_people,
      count(listed.seen_at) as seen,
      count(distinct listed.person_id) filter (where listed.seen_at is not null) as seen_people,
      count(listed.clicked_at) as clicked,
      count(distinct listed.person_id) filter (where listed.clicked_at is not null) as clicked_people,
      count(listed.dismissed_at) as dismissed,
      count(distinct listed.person_id) filter (where listed.dismissed_at is not null) as dismissed_people,
      count(*) filter (where listed.liking > 0) as liked,
      count(distinct listed.person_id) filter (where listed.liking > 0) as liked_people,
      count(*) filter (where listed.liking < 0) as disliked,
      count(distinct listed.person_id) filter (where listed.liking < 0) as disliked_people,
      count(listed.completed_at) filter (where listed.seen_at is not null) as completed,
      count(distinct listed.person_id) filter (where listed.seen_at is not null and listed.completed_at is not null)
        as completed_people
    from listed
    join kept
      on kept.name is not distinct from listed.name
      and kept.week is not distinct from listed.week
    group by listed.name
  ),

  shown as (
    select
      counted.name,
      figure.people,
      figure.served,
      figure.seen,
      least(figure.clicked, figure.seen) as clicked,
      least(figure.dismissed, figure.seen) as dismissed,
      figure.liked,
      figure.disliked,
      least(figure.completed, figure.seen) as completed
    from counted
    cross join lateral (
      select
        analytics.shown(counted.people, counted.people, _serving_report.smallest_group)::bigint as people,
        analytics.shown(counted.served, counted.served_people, _serving_report.smallest_group)::bigint as served,
        analytics.shown(counted.seen, counted.seen_people, _serving_report.smallest_group)::bigint as seen,
        analytics.shown(counted.clicked, counted.clicked_people, _serving_report.smallest_group)::bigint as clicked,
        analytics.shown(counted.dismissed, counted.dismissed_people, _serving_report.smallest_group)::bigint
          as dismissed,
        analytics.shown(counted.liked, counted.liked_people, _serving_report.smallest_group)::bigint as liked,
        analytics.shown(counted.disliked, counted.disliked_people, _serving_report.smallest_group)::bigint
          as disliked,
        analytics.shown(counted.completed, counted.completed_people, _serving_report.smallest_group)::bigint
          as completed
    ) as figure
  )

  -- Rates are computed from the numbers as shown.
  select
    shown.name, shown.people, shown.served, shown.seen, shown.clicked, shown.dismissed, shown.liked, shown.disliked,
    shown.completed,
    shown.clicked::float8 / nullif(shown.seen, 0),
    (analytics.wilson_bounds(shown.clicked, shown.seen, v_z))[1],
    (analytics.wilson_bounds(shown.clicked, shown.seen, v_z))[2],
    shown.dismissed::float8 / nullif(shown.seen, 0),
    (analytics.wilson_bounds(shown.dismissed, shown.seen, v_z))[1],
    (analytics.wilson_bounds(shown.dismissed, shown.seen, v_z))[2],
    shown.completed::float8 / nullif(shown.seen, 0),
    (analytics.wilson_bounds(shown.completed, shown.seen, v_z))[1],
    (analytics.wilson_bounds(shown.completed, shown.seen, v_z))[2]
  from shown
  order by
    case when _serving_report.by in ('model', 'rank') then shown.name::int end nulls last,
    shown.name;
end;
$$;

comment on function recommend._serving_report(timestamptz, timestamptz, text, text, int) is $$
@behavior -*
Computes the result of `recommend.serving_report`, with the privileges of the caller.
`smallest_group`: figures of groups of counted people (see `analytics.shown`); null: exact figures of all people.
$$;

grant execute on function recommend._serving_report(timestamptz, timestamptz, text, text, int) to insights_reader;

/* A definer owned by insights_reader: it reads the impressions of people, for those who may read them. */
create or replace function recommend._serving_report_exact(
  since timestamptz, until timestamptz, by text, kind text
)
returns setof recommend.serving_figures
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
  select * from recommend._serving_report($1, $2, $3, $4, null);
$$;

alter function recommend._serving_report_exact(timestamptz, timestamptz, text, text) owner to insights_reader;

comment on function recommend._serving_report_exact(timestamptz, timestamptz, text, text) is $$
@behavior -*
Returns the result of `recommend.serving_report` with exact figures of all people, for admins and workers.
$$;

grant execute on function recommend._serving_report_exact(timestamptz, timestamptz, text, text)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the impressions of people, and returns figures about groups only. */
create or replace function recommend._serving_report_shown(
  since timestamptz, until timestamptz, by text, kind text
)
returns setof recommend.serving_figures
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
  select *
  from recommend._serving_report($1, $2, $3, $4, (select smallest_group from analytics.setting));
$$;

alter function recommend._serving_report_shown(timestamptz, timestamptz, text, text) owner to insights_reader;

comment on function recommend._serving_report_shown(timestamptz, timestamptz, text, text) is $$
@behavior -*
Returns the result of `recommend.serving_report` for analysts: figures of groups, rounded.
$$;

grant execute on function recommend._serving_report_shown(timestamptz, timestamptz, text, text) to insights_analyst;

create or replace function recommend.serving_report(
  since timestamptz default (now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  by text default 'model',
  kind text default 'course'
)
returns setof recommend.serving_figures
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'recommend._serving_report_exact(timestamptz, timestamptz, text, text)', 'execute'
  ) then
    return query
    select *
    from recommend._serving_report_exact(
      serving_report.since, serving_report.until, serving_report.by, serving_report.kind
    );
  else
    return query
    select *
    from recommend._serving_report_shown(
      serving_report.since, serving_report.until, serving_report.by, serving_report.kind
    );
  end if;
end;
$$;

comment on function recommend.serving_report(timestamptz, timestamptz, text, text) is $$
Returns how recommended items of a kind were received: served, seen, clicked, dismissed, liked, completed.
The lists are those that were made in the period. `by`: `model` (version), `basis`, `rank` or `slot` (`explored` or
`ranked`). Rows are seen when an event names them; clients send `Recommendation Shown`. An answer that was withdrawn
does not count.
For admins and workers, figures are exact and about all people. For analysts, they are about counted people and whole
weeks (from Monday, UTC), a week in which a group has fewer than `analytics.setting.smallest_group` people is left out,
and numbers are rounded by `analytics.shown`.
Errors: CF001 for an invalid period or `by`, CF002 for a kind that no item has.
$$;

grant execute on function recommend.serving_report(timestamptz, timestamptz, text, text)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded recommend/feedback/serving_report.sql

--! Included recommend/feedback/off_policy_estimate.sql
create or replace function recommend._off_policy(people bigint[], weights float8[], outcomes float8[])
returns recommend.policy_value
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_total record;
  v_spread record;
  v_value recommend.policy_value;
begin
  select
    count(*) as slots,
    count(distinct slot.person_id) as people,
    sum(slot.weight) as weight,
    sum(slot.weight ^ 2) as squared_weight,
    sum(slot.weight * slot.outcome) as outcome
  into v_total
  from unnest(_off_policy.people, _off_policy.weights, _off_policy.outcomes) as slot (person_id, weight, outcome);

  v_value.slots := v_total.slots;
  v_value.people := v_total.people;
  v_value.mean_weight := v_total.weight / nullif(v_total.slots, 0);
  v_value.effective_sample_size := coalesce(v_total.weight ^ 2 / nullif(v_total.squared_weight, 0), 0);
  v_value.ips := v_total.outcome / nullif(v_total.slots, 0);
  v_value.snips := v_total.outcome / nullif(v_total.weight, 0);

  -- The slots of a person are not independent: the deviations are summed by person first.
  select
    sum(by_person.ips ^ 2) as ips,
    sum(by_person.snips ^ 2) as snips
  into v_spread
  from (
    select
      sum(slot.weight * slot.outcome - v_value.ips) as ips,
      sum(slot.weight * (slot.outcome - v_value.snips)) as snips
    from unnest(_off_policy.people, _off_policy.weights, _off_policy.outcomes) as slot (person_id, weight, outcome)
    group by slot.person_id
  ) as by_person;

  if v_value.people >= 2 then
    v_value.ips_standard_error := sqrt(v_spread.ips * v_value.people / (v_value.people - 1)) / v_value.slots;
    v_value.snips_standard_error :=
      sqrt(v_spread.snips * v_value.people / (v_value.people - 1)) / nullif(v_total.weight, 0);
  end if;
  return v_value;
end;
$$;

comment on function recommend._off_policy(bigint[], float8[], float8[]) is $$
@behavior -*
Returns the estimates of the value of a policy from slots of another one.
One element per slot: its person, the weight (probability of the item under the policy, divided by that under which it
was drawn) and the outcome. Standard errors are robust against the dependence of the slots of a person, with the factor
n / (n - 1) for n people.
Sources: D. G. Horvitz and D. J. Thompson, Journal of the American Statistical Association 47 (1952), 663-685;
A. Swaminathan and T. Joachims, The self-normalized estimator for counterfactual learning, NIPS 2015; A. B. Owen,
Monte Carlo theory, methods and examples (2013), chapter 9, also for the effective sample size.
$$;

create or replace function recommend._slot_history(slots recommend.impression[], kind text)
returns table (slot int, item_id bigint, strength float8, later_items int)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_weights constant record := recommend._event_names();
  v_full_weight constant float8 := (select full_weight from recommend.setting);
begin
  return query
  with slot as materialized (
    select entry.ordinality::int as slot, entry.person_id, entry.listed_at
    from unnest(_slot_history.slots) with ordinality as entry
  ),

  counted as (
    select
      slot.slot, event.item_id, event_weight.event,
      event_weight.weight::float8 * least(count(*), event_weight.most_counted) as weight,
      max(event.occurred_at) as last_at
    from slot
    join track.event
      on event.person_id = slot.person_id
      and event.occurred_at < slot.listed_at
    join unnest(v_weights.event_type_ids, v_weights.events) as named (event_type_id, event)
      on named.event_type_id = coalesce(event.named_event_type_id, event.event_type_id)
    join recommend.event_weight on event_weight.event = named.event
    where event.item_id is not null
      and event_weight.weight > 0
    group by slot.slot, event.item_id, event_weight.event, event_weight.weight, event_weight.most_counted
  ),

  used as (
    select
      counted.slot, target.item_id,
      least(sum(counted.weight) / v_full_weight, 1) as strength,
      max(counted.last_at) as last_at
    from counted
    join track.item_ancestor as ancestor on ancestor.item_id = counted.item_id
    join track.item as target on target.item_id = ancestor.ancestor_item_id
    where target.kind = _slot_history.kind
    group by counted.slot, target.item_id
  )

  select
    used.slot, used.item_id, used.strength,
    (row_number() over (partition by used.slot order by used.last_at desc, used.item_id desc))::int - 1
  from used;
end;
$$;

comment on function recommend._slot_history(recommend.impression[], text) is $$
@behavior -*
Returns the items of a kind that people had used before the times of their slots, with the strengths at that time.
`slot` is the position in the list, `later_items` the number of items that were used after the item. Strengths are those
of use alone, without preferences.
$$;

create or replace function recommend._policy_choices(slots recommend.impression[], kind text, model_id bigint)
returns bigint[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return (
    with candidate as materialized (
      select entry.ordinality::int as slot, member.item_id
      from unnest(_policy_choices.slots) with ordinality as entry
      cross join lateral unnest(entry.pool) as member (item_id)
    ),

    used as materialized (
      select history.*
      from recommend._slot_history(_policy_choices.slots, _policy_choices.kind) as history
      where _policy_choices.model_id is not null
    ),

    weight as materialized (
      select neighbours.item_id, entry.neighbour_id, part.share, part.history_decay, entry.weight
      from recommend.neighbours
      join recommend.model_part as part
        on part.model_id = neighbours.model_id
        and part.part = neighbours.part
      cross join lateral unnest(neighbours.neighbour_ids, neighbours.weights) as entry (neighbour_id, weight)
      where neighbours.model_id = _policy_choices.model_id
        and neighbours.item_id in (select used.item_id from used)
        and entry.neighbour_id in (select candidate.item_id from candidate)
    ),

    scored as (
      select
        candidate.slot, candidate.item_id,
        sum(
          weight.share::float8 * used.strength * weight.history_decay::float8 ^ used.later_items * weight.weight
        ) as score
      from candidate
      join used on used.slot = candidate.slot
      join weight on weight.item_id = used.item_id and weight.neighbour_id = candidate.item_id
      group by candidate.slot, candidate.item_id
    ),

    -- Items that the model does not rank are in the order of their popularity.
    chosen as (
      select distinct on (candidate.slot) candidate.slot, candidate.item_id
      from candidate
      left join scored on scored.slot = candidate.slot and scored.item_id = candidate.item_id
      left join recommend.ranked_list as popular
        on popular.kind = _policy_choices.kind
        and popular.list = 'popular'
        and popular.item_id = candidate.item_id
      order by candidate.slot, coalesce(scored.score, 0) desc, popular.score desc nulls last, candidate.item_id
    )

    select array_agg(chosen.item_id order by chosen.slot)
    from chosen
  );
end;
$$;

comment on function recommend._policy_choices(recommend.impression[], text, bigint) is $$
@behavior -*
Returns for each slot the item of its pool that a version of a model ranks best, from what the person had used before.
Items without a score, and all of them where `model_id` is null, are ranked by popularity. The slots have pools.
$$;

/*
 * A definer: it reads the impressions and events of all people and the weights, which no role may read, and returns
 * figures about all of them.
 */
create or replace function recommend.off_policy_estimate(
  policy text,
  outcome text default 'clicked',
  since timestamptz default (now() at time zone 'UTC' - interval '90 days') at time zone 'UTC',
  until timestamptz default now(),
  kind text default 'course'
)
returns recommend.policy_value
language plpgsql
stable
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_version constant text := substring(off_policy_estimate.policy from '^version ([0-9]{1,9})$');
  v_model_id bigint;
  v_slots recommend.impression[];
  v_choices bigint[];
  v_value recommend.policy_value;
begin
  perform common.check_period(off_policy_estimate.since, off_policy_estimate.until);
  perform recommend._check(1, off_policy_estimate.kind);
  if off_policy_estimate.outcome is null or off_policy_estimate.outcome not in ('clicked', 'completed', 'liked') then
    perform common.refuse(
      'CF001',
      format('outcome is %s', coalesce('"' || left(off_policy_estimate.outcome, 100) || '"', 'null')),
      'Use clicked, completed or liked.'
    );
  end if;
  if v_version is not null then
    select model.model_id into v_model_id
    from ml.project
    join ml.model on model.project_id = project.project_id
    where project.name = 'recommend.' || off_policy_estimate.kind
      and model.version = v_version::int
      and exists (select from recommend.model_part as part where part.model_id = model.model_id);
    if not found then
      perform common.refuse(
        'CF002',
        format('there are no weights of version %s of the recommender of "%s"', v_version, off_policy_estimate.kind),
        'Versions whose weights are kept are in recommend.model_part.'
      );
    end if;
  elsif off_policy_estimate.policy is null or off_policy_estimate.policy not in ('served', 'random', 'popularity') then
    perform common.refuse(
      'CF001',
      format('policy is %s', coalesce('"' || left(off_policy_estimate.policy, 100) || '"', 'null')),
      'Use served, random, popularity or the version of a model, such as version 3.'
    );
  end if;

  v_slots := array(
    select impression
    from recommend.impression
    join track.item as named on named.item_id = impression.item_id
    join track.item on item.item_id = coalesce(named.merged_item_id, named.item_id)
    where impression.listed_at >= off_policy_estimate.since
      and impression.listed_at < off_policy_estimate.until
      and item.kind = off_policy_estimate.kind
      -- Rows that are known only because of an event are those with an answer.
      and impression.is_served
      and impression.propensity > 0
      and impression.item_id = any (impression.pool)
      and (
        off_policy_estimate.outcome <> 'completed'
        or impression.listed_at < now() - (select attribution_period from recommend.setting)
      )
    order by impression.listed_at, impression.person_id, impression.serving_key
  );
  if off_policy_estimate.policy not in ('served', 'random') then
    v_choices := recommend._policy_choices(v_slots, off_policy_estimate.kind, v_model_id);
  end if;

  select estimated.* into v_value
  from (
    select
      coalesce(array_agg(slot.person_id order by slot.ordinality), '{}') as people,
      coalesce(
        array_agg(
          case off_policy_estimate.policy
            when 'served' then 1
            when 'random' then 1.0 / cardinality(slot.pool) / slot.propensity
            else (v_choices[slot.ordinality] = slot.item_id)::int / slot.propensity
          end
          order by slot.ordinality
        ),
        '{}'
      ) as weights,
      coalesce(
        array_agg(
          case off_policy_estimate.outcome
            when 'clicked' then slot.clicked_at is not null
            when 'completed' then slot.completed_at is not null
            else coalesce(slot.liking > 0, false)
          end::int::float8
          order by slot.ordinality
        ),
        '{}'
      ) as outcomes
    from unnest(v_slots) with ordinality as slot
  ) as slots
  cross join lateral recommend._off_policy(slots.people, slots.weights, slots.outcomes) as estimated;
  v_value.policy := off_policy_estimate.policy;
  v_value.outcome := off_policy_estimate.outcome;
  return v_value;
end;
$$;

comment on function recommend.off_policy_estimate(text, text, timestamptz, timestamptz, text) is $$
Estimates how often people would answer if another policy had filled the explored slots.
`policy`: `popularity`, `version <n>` (the item of the pool that this version of the model ranks best, from what the
person had used until then), `random` (each item of the pool with the same probability) or `served` (what was shown).
`outcome`: `clicked`, `completed` (within `recommend.setting.attribution_period`; younger slots are left out) or
`liked`. Only slots with a logged probability count (`recommend.setting.explored_slots`), of lists that `serve_me` and
`serve_person` recorded; the item is one of the pool of the slot. Compare estimates by their standard errors, and see
`mean_weight` and `effective_sample_size`.
Errors: CF001 for an unknown `policy` or `outcome` or an invalid period, CF002 for a version without weights and a kind
that no item has.
$$;

grant execute on function recommend.off_policy_estimate(text, text, timestamptz, timestamptz, text)
to insights_admin, insights_worker;
--! EndIncluded recommend/feedback/off_policy_estimate.sql

-- from recommend/policies.sql
grant update (full_weight, lambdas, fewest_people, most_test_people, versions_kept, most_reasons, kept_kinds)
on recommend.setting to insights_admin;
grant select on recommend.interaction, recommend.dismissed_topic, recommend.taken
to insights_reader, insights_learner, insights_admin;
grant select on recommend.interaction, recommend.impression to insights_reader, insights_learner, insights_admin;
drop policy if exists own on recommend.dismissed_topic;
create policy own on recommend.dismissed_topic for select to insights_learner
using (person_id <> 0 and person_id = nullif(current_setting('insights.person_id', true), '')::bigint);
drop policy if exists all_people on recommend.dismissed_topic;
create policy all_people on recommend.dismissed_topic for select to insights_reader, insights_admin, insights_worker
using (true);
drop policy if exists own on recommend.taken;
create policy own on recommend.taken for select to insights_learner
using (person_id <> 0 and person_id = nullif(current_setting('insights.person_id', true), '')::bigint);
drop policy if exists all_people on recommend.taken;
create policy all_people on recommend.taken for select to insights_reader, insights_admin, insights_worker
using (true);
grant select on recommend.rule, recommend.rule_item
to insights_reader, insights_analyst, insights_admin, insights_worker;
grant select on recommend.rule_log to insights_admin;
grant update (topic_attribute, explored_slots, explored_pool_size, diversity, diversity_method)
on recommend.setting to insights_admin;
drop policy if exists all_rows on recommend.rule;
create policy all_rows on recommend.rule for select using (true);
drop policy if exists all_rows on recommend.rule_item;
create policy all_rows on recommend.rule_item for select using (true);
drop policy if exists all_rows on recommend.rule_log;
create policy all_rows on recommend.rule_log for select using (true);
grant update (serving_period, attribution_period, fewest_test_people) on recommend.setting to insights_admin;
drop policy if exists own on recommend.impression;
create policy own on recommend.impression for select to insights_learner
using (person_id <> 0 and person_id = nullif(current_setting('insights.person_id', true), '')::bigint);
drop policy if exists all_people on recommend.impression;
create policy all_people on recommend.impression for select to insights_reader, insights_admin, insights_worker
using (true);
grant select on
  recommend.evaluation, recommend.evaluation_model, recommend.evaluation_result, recommend.evaluation_comparison,
  recommend.best_parameters
to insights_reader, insights_analyst, insights_admin, insights_worker;
drop policy if exists all_rows on recommend.evaluation;
create policy all_rows on recommend.evaluation for select using (true);
drop policy if exists all_rows on recommend.evaluation_model;
create policy all_rows on recommend.evaluation_model for select using (true);
drop policy if exists all_rows on recommend.evaluation_result;
create policy all_rows on recommend.evaluation_result for select using (true);
drop policy if exists all_rows on recommend.evaluation_comparison;
create policy all_rows on recommend.evaluation_comparison for select using (true);
drop policy if exists all_rows on recommend.best_parameters;
create policy all_rows on recommend.best_parameters for select using (true);

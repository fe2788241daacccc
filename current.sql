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
  score real not null,
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

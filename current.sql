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
  finished_at timestamptz
);

comment on table recommend.evaluation is $$
Evaluations of recommenders: the protocol, the data and the seed of each, and how far it is.
The same seed, data and models give the same results.
$$;
comment on column recommend.evaluation.evaluation_id is $$Key, ascending with time.$$;
comment on column recommend.evaluation.kind is $$Kind of the items.$$;
comment on column recommend.evaluation.purpose is $$
`evaluation` (asked for), `selection` (of a model during a training), `deployment` (comparison of the selected model
with the deployed version and with popularity) or `search` (of parameters).
$$;
comment on column recommend.evaluation.protocol is $$`time`, `leave_last_out`, `random` or `one_vs_100`.$$;
comment on column recommend.evaluation.k is $$Lengths of the lists that are measured.$$;
comment on column recommend.evaluation.segments is $$Named sets of people whose results are also given.$$;
comment on column recommend.evaluation.seed is $$Seed of the samples and of the bootstrap.$$;
comment on column recommend.evaluation.most_people is $$Maximum number of test people; more are sampled.$$;
comment on column recommend.evaluation.resamples is $$Number of resamples of the bootstrap.$$;
comment on column recommend.evaluation.split_at is $$
Time that separates the rows that models are trained on from those they are tested on; null for other protocols than
`time`.
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

create index if not exists evaluation_running on recommend.evaluation (state) where state = 'running';

create table if not exists recommend.evaluation_model (
  evaluation_id bigint not null references recommend.evaluation on delete cascade,
  model_no smallint not null check (model_no > 0),
  model text not null,
  prior text not null default 'popular' check (prior in ('popular', 'trending', 'latest')),
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
Order of items with equal scores: `popular`, `trending` or `latest`. Without parts it is the whole model.
$$;
comment on column recommend.evaluation_model.parts is $$
Parts of the model: a list of objects with `algorithm`, `share`, `history_decay` and `parameters`.
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
  recent_people real not null check (recent_people >= 0),
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
comment on column recommend.evaluation_item.recent_people is $$
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

create table if not exists recommend.evaluation_neighbours (
  evaluation_id bigint not null,
  model_no smallint not null,
  part smallint not null check (part > 0),
  item_no int not null,
  neighbours int[] not null,
  weights real[] not null,
  primary key (evaluation_id, model_no, part, item_no),
  foreign key (evaluation_id, model_no) references recommend.evaluation_model on delete cascade
);

comment on table recommend.evaluation_neighbours is $$
@behavior -*
Weights of the models of evaluations that are running, as in `recommend.neighbours`, with the numbers of the items.
The rows are deleted at the end of the run.
$$;
comment on column recommend.evaluation_neighbours.evaluation_id is $$Evaluation.$$;
comment on column recommend.evaluation_neighbours.model_no is $$Model.$$;
comment on column recommend.evaluation_neighbours.part is $$Part of the model, from 1.$$;
comment on column recommend.evaluation_neighbours.item_no is $$Item of a person.$$;
comment on column recommend.evaluation_neighbours.neighbours is $$Items whose score it changes.$$;
comment on column recommend.evaluation_neighbours.weights is $$Weight of each of them.$$;

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
alter table recommend.evaluation_neighbours enable row level security;
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
-- end of evaluations

create schema monitor;

comment on schema monitor is $$
Runs of scheduled tasks: durations, rows and outcomes.
$$;

grant usage on schema monitor to insights_reader, insights_analyst, insights_admin, insights_worker;

create table monitor.run (
  run_id bigint generated always as identity primary key,
  task text not null,
  started_at timestamptz not null default clock_timestamp(),
  finished_at timestamptz,
  duration interval generated always as (finished_at - started_at) stored,
  outcome text not null default 'running' check (outcome in ('running', 'ok', 'failed')),
  row_count bigint,
  detail jsonb,
  error text
);

comment on table monitor.run is $$
Runs of scheduled tasks, one row per run, with start, duration, number of rows and outcome.
A row that stays `running` long after its start belongs to a worker that was terminated.
$$;
comment on column monitor.run.run_id is $$Key of the run, ascending with time.$$;
comment on column monitor.run.task is $$Name of the task, as in `tasks/`.$$;
comment on column monitor.run.started_at is $$Start of the run.$$;
comment on column monitor.run.finished_at is $$End of the run; null while it is running.$$;
comment on column monitor.run.duration is $$Duration of the run; null while it is running.$$;
comment on column monitor.run.outcome is $$`running`, `ok` or `failed`.$$;
comment on column monitor.run.row_count is $$
Number of rows that the run wrote or removed; null when the task does not report it.
$$;
comment on column monitor.run.detail is $$Additional results that the task reports; null when there are none.$$;
comment on column monitor.run.error is $$Message of the error that ended the run; null when the run did not fail.$$;

create index run_task_started on monitor.run (task, started_at desc);

alter table monitor.run enable row level security;

insert into privacy.handler (room, position, erase_function, description)
values ('monitor', 50, 'monitor.erase', 'Messages of errors that contain a name of the person.');

insert into privacy.retention_class (
  data_class, position, table_name, time_column, condition, default_keep, description
)
values (
  'runs', 50, 'monitor.run', 'started_at',
  'exists (select from monitor.run as later where later.task = stored.task and later.started_at > stored.started_at)',
  '90 days', 'Runs of tasks, except the latest of each task.'
);

/* ---------------------------------------------------------------------------------------------------- relevance -- */

grant create on schema monitor to insights_reader;

create type monitor.position_cell as (
  alike bigint,
  rank int,
  bucket int,
  listed_count float8,
  clicked_count float8
);

comment on type monitor.position_cell is $$
@behavior -*
Rows of lists that are alike but for their rank, of the people of a bucket, as `monitor._position_cells` counts them.
$$;
comment on column monitor.position_cell.alike is $$Hash of item, version, basis and score of the rows.$$;
comment on column monitor.position_cell.rank is $$Rank in the list.$$;
comment on column monitor.position_cell.bucket is $$Bucket of the person, from 0 to 63.$$;
comment on column monitor.position_cell.listed_count is $$Number of rows.$$;
comment on column monitor.position_cell.clicked_count is $$Number of these rows that were clicked.$$;

create type monitor.position_figures as (
  rank int,
  listed_count bigint,
  clicked_count bigint,
  click_rate float8,
  compared_count bigint,
  examination float8,
  standard_error float8,
  lower float8,
  upper float8
);

comment on type monitor.position_figures is $$
How often people examine a rank of recommendations, relative to the first rank.
$$;
comment on column monitor.position_figures.rank is $$Rank in the list.$$;
comment on column monitor.position_figures.listed_count is $$Number of rows that were served at the rank.$$;
comment on column monitor.position_figures.clicked_count is $$Number of these rows that were clicked.$$;
comment on column monitor.position_figures.click_rate is $$
Share of the rows that were clicked: the product of examination and relevance. Null without rows.
$$;
comment on column monitor.position_figures.compared_count is $$
Number of clicks on rows of which equal ones were also served at other ranks: what the estimate is made from.
$$;
comment on column monitor.position_figures.examination is $$
Probability that a row at the rank is examined, divided by that of rank 1; null where it cannot be estimated.
$$;
comment on column monitor.position_figures.standard_error is $$
Standard error of `examination`, with people as clusters; null where it cannot be estimated, and 0 for rank 1.
$$;
comment on column monitor.position_figures.lower is $$Lower bound of the 95 % confidence interval.$$;
comment on column monitor.position_figures.upper is $$Upper bound of the 95 % confidence interval.$$;

create type monitor.position_estimate as (
  rank int,
  listed_count float8,
  clicked_count float8,
  listed_buckets int,
  clicked_buckets int,
  compared_count float8,
  log_examination float8,
  influence float8[]
);

comment on type monitor.position_estimate is $$
@behavior -*
Result of `monitor._position_estimates` for a rank.
$$;
comment on column monitor.position_estimate.rank is $$Rank in the list.$$;
comment on column monitor.position_estimate.listed_count is $$Number of rows.$$;
comment on column monitor.position_estimate.clicked_count is $$Number of clicked rows.$$;
comment on column monitor.position_estimate.listed_buckets is $$Number of buckets of the people who were served.$$;
comment on column monitor.position_estimate.clicked_buckets is $$Number of buckets of the people who clicked.$$;
comment on column monitor.position_estimate.compared_count is $$Number of clicks that the estimate is made from.$$;
comment on column monitor.position_estimate.log_examination is $$
Logarithm of the examination, 0 for rank 1; null where it cannot be estimated.
$$;
comment on column monitor.position_estimate.influence is $$
What the people of each bucket add to the error of `log_examination`; the variance is the sum of the squares.
$$;

create type monitor.relevance_figures as (
  name text,
  starts_at timestamptz,
  person_count bigint,
  list_count bigint,
  served_count bigint,
  seen_count bigint,
  clicked_count bigint,
  completed_count bigint,
  dismissed_count bigint,
  liked_count bigint,
  disliked_count bigint,
  click_rate float8,
  click_rate_lower float8,
  click_rate_upper float8,
  corrected_rate float8,
  corrected_rate_lower float8,
  corrected_rate_upper float8,
  completion_rate float8,
  completion_rate_lower float8,
  completion_rate_upper float8,
  dismissal_rate float8,
  dismissal_rate_lower float8,
  dismissal_rate_upper float8,
  item_count bigint,
  coverage float8,
  gini float8,
  top_tenth_share float8
);

comment on type monitor.relevance_figures is $$
How recommended items of a group were received, from recorded lists.
$$;
comment on column monitor.relevance_figures.name is $$
Version, basis, rank, segment or key of the deployment, as given by `by`; null for rows without a version, and for
`all`.
$$;
comment on column monitor.relevance_figures.starts_at is $$
Monday on which the week begins, with `by_week`; with `deployment`, its time; otherwise null.
$$;
comment on column monitor.relevance_figures.person_count is $$Number of people who were served.$$;
comment on column monitor.relevance_figures.list_count is $$Number of lists with rows of the group.$$;
comment on column monitor.relevance_figures.served_count is $$Number of rows.$$;
comment on column monitor.relevance_figures.seen_count is $$Number of rows that an event of any kind names.$$;
comment on column monitor.relevance_figures.clicked_count is $$Number of rows that were clicked.$$;
comment on column monitor.relevance_figures.completed_count is $$
Number of rows whose item was finished afterwards: see `recommend.impression.completed_at`.
$$;
comment on column monitor.relevance_figures.dismissed_count is $$Number of rows that were dismissed.$$;
comment on column monitor.relevance_figures.liked_count is $$Number of rows that were liked.$$;
comment on column monitor.relevance_figures.disliked_count is $$Number of rows that were disliked.$$;
comment on column monitor.relevance_figures.click_rate is $$Share of the rows that were clicked.$$;
comment on column monitor.relevance_figures.click_rate_lower is $$Lower bound of its 95 % interval.$$;
comment on column monitor.relevance_figures.click_rate_upper is $$Upper bound of its 95 % interval.$$;
comment on column monitor.relevance_figures.corrected_rate is $$
Share that would be clicked if all rows were examined like those of rank 1; null where `position_bias` has no
estimate.
$$;
comment on column monitor.relevance_figures.corrected_rate_lower is $$Lower bound of its 95 % interval.$$;
comment on column monitor.relevance_figures.corrected_rate_upper is $$Upper bound of its 95 % interval.$$;
comment on column monitor.relevance_figures.completion_rate is $$Share of the rows whose item was finished.$$;
comment on column monitor.relevance_figures.completion_rate_lower is $$Lower bound of its 95 % interval.$$;
comment on column monitor.relevance_figures.completion_rate_upper is $$Upper bound of its 95 % interval.$$;
comment on column monitor.relevance_figures.dismissal_rate is $$Share of the rows that were dismissed.$$;
comment on column monitor.relevance_figures.dismissal_rate_lower is $$Lower bound of its 95 % interval.$$;
comment on column monitor.relevance_figures.dismissal_rate_upper is $$Upper bound of its 95 % interval.$$;
comment on column monitor.relevance_figures.item_count is $$Number of different items.$$;
comment on column monitor.relevance_figures.coverage is $$Share of the available items of the kind that were served.$$;
comment on column monitor.relevance_figures.gini is $$
Gini coefficient of the rows per available item: 0 when all are served equally often, near 1 when one is.
$$;
comment on column monitor.relevance_figures.top_tenth_share is $$
Share of the rows that the tenth of the available items takes that is served most.
$$;

create type monitor.listed as (
  name text,
  starts_at timestamptz,
  week timestamptz,
  person_id bigint,
  item_id bigint,
  rank int,
  listed_at timestamptz,
  is_seen boolean,
  is_clicked boolean,
  is_completed boolean,
  is_dismissed boolean,
  liking real
);

comment on type monitor.listed is $$
@behavior -*
Row of a recorded list, with the group in which it is reported.
$$;
comment on column monitor.listed.name is $$Name of the group.$$;
comment on column monitor.listed.starts_at is $$Beginning of the week or of the deployment that is reported.$$;
comment on column monitor.listed.week is $$Week of the list; null for exact figures.$$;
comment on column monitor.listed.person_id is $$Person.$$;
comment on column monitor.listed.item_id is $$Item, after merges.$$;
comment on column monitor.listed.rank is $$Rank in the list.$$;
comment on column monitor.listed.listed_at is $$Time of the list.$$;
comment on column monitor.listed.is_seen is $$Whether an event names the row.$$;
comment on column monitor.listed.is_clicked is $$Whether it was clicked.$$;
comment on column monitor.listed.is_completed is $$Whether its item was finished.$$;
comment on column monitor.listed.is_dismissed is $$Whether it was dismissed.$$;
comment on column monitor.listed.liking is $$Liking that was expressed; null without any.$$;

create type monitor.ranked_cell as (
  name text,
  starts_at timestamptz,
  rank int,
  bucket int,
  listed float8,
  clicked float8
);

comment on type monitor.ranked_cell is $$
@behavior -*
Numbers of rows and clicks of a reported group by rank and bucket of people.
$$;
comment on column monitor.ranked_cell.name is $$Name of the group.$$;
comment on column monitor.ranked_cell.starts_at is $$Beginning of the group.$$;
comment on column monitor.ranked_cell.rank is $$Rank in the list.$$;
comment on column monitor.ranked_cell.bucket is $$Bucket of the person, from 0 to 63.$$;
comment on column monitor.ranked_cell.listed is $$Number of rows.$$;
comment on column monitor.ranked_cell.clicked is $$Number of these rows that were clicked.$$;

create type monitor.corrected_rate as (
  name text,
  starts_at timestamptz,
  rate float8,
  standard_error float8,
  lower float8,
  upper float8
);

comment on type monitor.corrected_rate is $$
@behavior -*
Share of the rows of a group that would be clicked if all were examined like those of rank 1.
$$;
comment on column monitor.corrected_rate.name is $$Name of the group.$$;
comment on column monitor.corrected_rate.starts_at is $$Beginning of the group.$$;
comment on column monitor.corrected_rate.rate is $$The rate.$$;
comment on column monitor.corrected_rate.standard_error is $$Its standard error, with people as clusters.$$;
comment on column monitor.corrected_rate.lower is $$Lower bound of the 95 % interval; null with few people.$$;
comment on column monitor.corrected_rate.upper is $$Upper bound of the 95 % interval; null with few people.$$;

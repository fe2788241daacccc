-- Changes of structure since the last release: see migrations/README.md.

create table experiment.kept (
  experiment_id int primary key references experiment.experiment on delete cascade,
  kept_at timestamptz not null default clock_timestamp(),
  quantiles jsonb not null default '[]'
);

comment on table experiment.kept is $$
Ended experiments whose results are kept: they no longer follow events. See `experiment.keep_results`.
$$;
comment on column experiment.kept.experiment_id is $$Experiment.$$;
comment on column experiment.kept.kept_at is $$Time as of which the results are.$$;
comment on column experiment.kept.quantiles is $$
Statistics of quantile metrics of at least 5 people: `position`, `variation`, `is_complete`, `people`, `statistic`.
$$;

create table experiment.kept_sum (
  experiment_id int not null references experiment.kept on delete cascade,
  position smallint not null,
  variation smallint not null,
  exposed_on date not null,
  stratum text not null,
  people bigint not null check (people >= 5),
  sums numeric[] not null,
  primary key (experiment_id, position, variation, exposed_on, stratum)
);

comment on table experiment.kept_sum is $$
@behavior -*
Sums of `experiment.day_sum` that are kept, each of at least 5 people: days and strata with fewer are added up.
$$;
comment on column experiment.kept_sum.experiment_id is $$Experiment.$$;
comment on column experiment.kept_sum.position is $$Position of the metric; -1 for the numbers of exposed people.$$;
comment on column experiment.kept_sum.variation is $$
Position of the variation; -1 for people with several, -2 for people who are not counted.
$$;
comment on column experiment.kept_sum.exposed_on is $$Day (UTC) of the exposure: the last one of those added up.$$;
comment on column experiment.kept_sum.stratum is $$Stratum; empty when there is none.$$;
comment on column experiment.kept_sum.people is $$Number of people.$$;
comment on column experiment.kept_sum.sums is $$As in `experiment.day_sum.sums`.$$;

alter table experiment.kept enable row level security;
alter table experiment.kept_sum enable row level security;

alter type experiment.health add attribute as_of timestamptz;
comment on column experiment.health.as_of is $$
Time as of which the results of an ended experiment are kept (`experiment.keep_results`); null: they follow the events.
$$;

alter table experiment.setting
add column settle_period interval not null default '2 days' check (settle_period >= '0');
comment on column experiment.setting.settle_period is $$
Time after the end of an experiment in which late events still count; afterwards its results are kept.
$$;

create type experiment.assignment as (
  person text,
  result jsonb
);

comment on type experiment.assignment is $$
A person of `experiment.assign_all` with her variation.
$$;
comment on column experiment.assignment.person is $$Name of the person, as it was given.$$;
comment on column experiment.assignment.result is $$Result, as of `experiment.assign`.$$;

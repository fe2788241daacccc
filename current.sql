-- Changes of structure since the last release: see migrations/README.md.

create table experiment.period_sum (
  experiment_id int not null references experiment.experiment on delete cascade,
  since timestamptz not null,
  variation smallint not null,
  people bigint not null check (people > 0),
  primary key (experiment_id, since, variation)
);

comment on table experiment.period_sum is $$
@behavior -*
Numbers of counted people of each variation, by the weights at their exposure.
So that `experiment.health` costs the number of changes of the weights, not of people.
$$;
comment on column experiment.period_sum.experiment_id is $$Experiment.$$;
comment on column experiment.period_sum.since is $$Time from which the weights applied: `experiment.weighting.since`.$$;
comment on column experiment.period_sum.variation is $$Position of the variation.$$;
comment on column experiment.period_sum.people is $$Number of people.$$;

alter table experiment.period_sum enable row level security;

-- From now on no refresh stores exposures, so that all of them are counted.
lock table experiment.exposure in share row exclusive mode;
insert into experiment.period_sum (experiment_id, since, variation, people)
select
  exposure.experiment_id, coalesce(period.since[width_bucket(exposure.exposed_at, period.since)], period.since[1]),
  exposure.variation, count(*)
from experiment.exposure
join (
  select weighting.experiment_id, array_agg(weighting.since order by weighting.since) as since
  from experiment.weighting
  group by weighting.experiment_id
) as period on period.experiment_id = exposure.experiment_id
where exposure.is_counted
  and exposure.variation is not null
group by 1, 2, 3;

comment on type experiment.drawn is $$
@behavior -*
Numbers of people of the variations of an experiment, and what its weights make expect of them.
Of a part of the time, added up over the periods between two changes of the weights.
$$;

alter table experiment.kept
  alter column drawn type experiment.drawn[] using case when drawn is not null then array[drawn] end;
comment on column experiment.kept.drawn is $$
@behavior -*
Numbers by which `experiment.health` tests the assignment, by part of the time.
Of at least 5 people per variation; null with fewer.
$$;

drop function experiment._assigned(experiment.experiment, experiment.day_sum[], track.person_set_block[]);
drop function experiment._mismatch_p(experiment.drawn);
drop function experiment._drawn(float8[], float8[]);

alter table track.consumer
  add column incomplete_sets text check (incomplete_sets ~ '^[a-z][a-z_]*\.[a-z][a-z_]*$');
comment on column track.consumer.incomplete_sets is $$
Name of a function that returns the names of sets whose people a rule of retention has deleted; null: there are none.
$$;

update track.consumer set incomplete_sets = 'analytics.incomplete_sets' where consumer = 'analytics.cohort';
update track.consumer set incomplete_sets = 'experiment.incomplete_sets' where consumer = 'experiment.exposure';

comment on column monitor.score_shift.verdict is $$
`stable` (below 0.1), `shifting`, `drifted` (from 0.25 on) or `unknown`.
Unknown: the rows are so few that the index would be 0.1 by chance alone, with a probability of more than 5 %. Of so few
rows, the part of the index that chance does not explain on average decides, with at least 50 people in both periods and
a p-value of at most 0.001.
$$;

create or replace function experiment._count_periods(experiment_id int, since timestamptz default null)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set jit to off
as $$
declare
  v_since constant timestamptz[] := array(
    select weighting.since
    from experiment.weighting
    where weighting.experiment_id = _count_periods.experiment_id
    order by weighting.since
  );
  v_from constant timestamptz := coalesce(v_since[width_bucket(_count_periods.since, v_since) - 1], '-infinity');
begin
  delete from experiment.period_sum
  where period_sum.experiment_id = _count_periods.experiment_id
    and period_sum.since >= v_from;

  insert into experiment.period_sum (experiment_id, since, variation, people)
  select
    exposure.experiment_id, v_since[greatest(width_bucket(exposure.exposed_at, v_since), 1)], exposure.variation,
    count(*)
  from experiment.exposure
  where exposure.experiment_id = _count_periods.experiment_id
    and exposure.exposed_on >= v_from::date
    and exposure.exposed_at >= v_from
    and exposure.is_counted
    and exposure.variation is not null
  group by 1, 2, 3;
end;
$$;

comment on function experiment._count_periods(int, timestamptz) is $$
Counts the people of an experiment by the weights at their exposure: from the weights before `since` on, null for all.
For new weights, because people may have been exposed after them, by the clock of a client, and counted before. The
caller holds the lock of the refresh.
$$;

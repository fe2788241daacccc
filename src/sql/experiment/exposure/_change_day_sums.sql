create or replace function experiment._change_period_sums(exposures experiment.exposure[], signs int[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set plan_cache_mode to force_generic_plan
set jit to off
as $$
begin
  merge into experiment.period_sum
  using (
    select
      entry.experiment_id,
      coalesce(period.since[width_bucket(entry.exposed_at, period.since)], period.since[1]) as since,
      entry.variation, sum(entry.sign) as people
    from unnest(exposures, signs) as entry (
      person_id, experiment_id, variation, exposed_at, exposed_on, is_counted, stratum, probability, outcomes,
      outcomes_before, sign
    )
    join (
      select weighting.experiment_id, array_agg(weighting.since order by weighting.since) as since
      from experiment.weighting
      group by weighting.experiment_id
    ) as period on period.experiment_id = entry.experiment_id
    where entry.is_counted
      and entry.variation is not null
    group by 1, 2, 3
    having sum(entry.sign) <> 0
  ) as changed
    on period_sum.experiment_id = changed.experiment_id
    and period_sum.since = changed.since
    and period_sum.variation = changed.variation
  -- After weights of the past were changed, a number may be too small until `check_exposures` counts it again.
  when matched and period_sum.people + changed.people <= 0 then delete
  when matched then update set people = period_sum.people + changed.people
  when not matched and changed.people > 0 then
    insert (experiment_id, since, variation, people)
    values (changed.experiment_id, changed.since, changed.variation, changed.people);
end;
$$;

comment on function experiment._change_period_sums(experiment.exposure[], int[]) is $$
Adds exposures to the numbers of people by weights (1), or subtracts them (-1).
$$;

create or replace function experiment._change_day_sums(exposures experiment.exposure[], signs int[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
-- Planned once: a plan for the values of the arrays would copy them several times, and not be another one.
set plan_cache_mode to force_generic_plan
set enable_seqscan to off
set jit to off
as $$
declare
  v_sums constant experiment.day_sum[] := array(
    select changed from experiment._day_sums(exposures, signs) as changed
  );
begin
  merge into experiment.day_sum
  using unnest(v_sums) as changed
    on day_sum.experiment_id = changed.experiment_id
    and day_sum.position = changed.position
    and day_sum.variation = changed.variation
    and day_sum.exposed_on = changed.exposed_on
    and day_sum.stratum = changed.stratum
  when matched and day_sum.people + changed.people = 0 then delete
  when matched then
    update set
      people = day_sum.people + changed.people,
      sums = array(
        select trim_scale(entry.stored + entry.added)
        from unnest(day_sum.sums, changed.sums) with ordinality as entry (stored, added, place)
        order by entry.place
      )
  when not matched and changed.people <> 0 then
    insert (experiment_id, position, variation, exposed_on, stratum, people, sums)
    values (
      changed.experiment_id, changed.position, changed.variation, changed.exposed_on, changed.stratum, changed.people,
      changed.sums
    );
  perform experiment._change_period_sums(exposures, signs);
end;
$$;

comment on function experiment._change_day_sums(experiment.exposure[], int[]) is $$
Adds exposures to the sums (1), or subtracts them (-1).
$$;

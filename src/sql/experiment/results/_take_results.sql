/*
 * The people of a variation, day and stratum are the same in each metric, so that one grouping serves all of them, and
 * no difference of two sums is of fewer people than a sum.
 */
create or replace function experiment._take_results(experiment experiment.experiment)
returns experiment.kept
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set jit to off
as $$
declare
  v_id constant int := (experiment).experiment_id;
  v_smallest constant int := 5;
  -- Days until which metrics are complete, and days on which weights changed, separate segments of days.
  v_limits constant date[] := array(
    select experiment._complete_until(_take_results.experiment, measured.metric_id)
    from experiment.measured
    where measured.experiment_id = v_id
    union
    select weighting.since::date + shift
    from experiment.weighting
    cross join generate_series(-1, 0) as shift
    where weighting.experiment_id = v_id
      and weighting.since > (experiment).started_at
  );
  v_drawn constant experiment.drawn[] := experiment._assigned(_take_results.experiment, least_users => v_smallest);
  v_kept experiment.kept;
begin
  delete from experiment.kept where kept.experiment_id = v_id;
  insert into experiment.kept (experiment_id, quantiles, drawn)
  select
    v_id,
    coalesce(
      jsonb_agg(
        jsonb_build_object(
          'position', measured.position, 'variation', quantile.variation, 'is_complete', part.is_complete,
          'people', quantile.people, 'statistic', quantile.statistic
        )
      ),
      '[]'
    ),
    case
      when v_smallest <= all (array(select unnest(part.users) from unnest(v_drawn) as part)) then v_drawn
    end
  from experiment.measured
  join experiment.metric using (metric_id)
  cross join (values (true), (false)) as part (is_complete)
  cross join lateral experiment._quantile_statistics(
    v_id, measured.position, metric.quantile,
    case when part.is_complete then experiment._complete_until(_take_results.experiment, measured.metric_id) end
  ) as quantile
  where measured.experiment_id = v_id
    and metric.type = 'quantile'
    and quantile.people >= v_smallest
  returning kept.* into v_kept;

  insert into experiment.kept_sum (experiment_id, position, variation, exposed_on, stratum, people, sums)
  with day as materialized (
    select
      stored.variation, stored.stratum, stored.exposed_on, stored.people,
      (select count(*) from unnest(v_limits) as day_limit where day_limit < stored.exposed_on) as segment
    from experiment.day_sum as stored
    where stored.experiment_id = v_id
      and stored.position = -1
  ),

  grouped as (
    select entry.variation, entry.stratum, known.exposed_on, known.people, known.segment, known.kept_on
    from (
      select
        day.variation, day.stratum,
        array_agg(day.exposed_on order by day.exposed_on) as days,
        array_agg(day.people order by day.exposed_on) as people,
        array_agg(day.segment order by day.exposed_on) as segments
      from day
      group by day.variation, day.stratum
    ) as entry
    cross join lateral unnest(
      entry.days, entry.people, entry.segments,
      experiment._kept_days(entry.days, entry.people, entry.segments, v_smallest)
    ) as known (exposed_on, people, segment, kept_on)
  ),

  -- The rest of small strata is added up over the strata.
  left_over as (
    select entry.variation, known.exposed_on, known.kept_on
    from (
      select
        rest.variation,
        array_agg(rest.exposed_on order by rest.exposed_on) as days,
        array_agg(rest.people order by rest.exposed_on) as people,
        array_agg(rest.segment order by rest.exposed_on) as segments
      from (
        select grouped.variation, grouped.exposed_on, grouped.segment, sum(grouped.people)::bigint as people
        from grouped
        where grouped.kept_on is null
        group by grouped.variation, grouped.exposed_on, grouped.segment
      ) as rest
      group by rest.variation
    ) as entry
    cross join lateral unnest(
      entry.days, experiment._kept_days(entry.days, entry.people, entry.segments, v_smallest)
    ) as known (exposed_on, kept_on)
    where known.kept_on is not null
  )

  select added.*
  from experiment._added_sums(
    array(
      select
        row(
          v_id, stored.position, stored.variation, coalesce(grouped.kept_on, left_over.kept_on),
          case
            when grouped.kept_on is not null or stored.stratum = '' then stored.stratum
            else 'other strata'
          end,
          stored.people, stored.sums
        )::experiment.day_sum
      from experiment.day_sum as stored
      join grouped using (variation, stratum, exposed_on)
      left join left_over using (variation, exposed_on)
      where stored.experiment_id = v_id
        and coalesce(grouped.kept_on, left_over.kept_on) is not null
    )
  ) as added;
  return v_kept;
end;
$$;

comment on function experiment._take_results(experiment.experiment) is $$
@behavior -*
Stores the results of an ended experiment as they are now, in sums of at least 5 people each.
Of a variation at most 4 people are left out: those that belong to no such sum. The caller holds the lock of the
refresh.
$$;

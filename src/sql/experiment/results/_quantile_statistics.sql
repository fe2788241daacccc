create or replace function experiment._quantile_statistics(
  experiment_id int,
  "position" smallint,
  level float8,
  until date default null,
  among track.person_set_block[] default null
)
returns table (variation smallint, people bigint, statistic jsonb)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_are_all constant boolean := _quantile_statistics.among is null;
begin
  return query
  with member as materialized (
    select listed.block, listed.people
    from unnest(_quantile_statistics.among) as listed
  ),

  person as materialized (
    select exposure.variation, event_value.event_values
    from experiment.event_value
    join experiment.exposure using (person_id, experiment_id)
    left join member on member.block = exposure.person_id / 4096
    where event_value.experiment_id = _quantile_statistics.experiment_id
      and event_value.position = _quantile_statistics.position
      and exposure.is_counted
      and exposure.variation is not null
      and (_quantile_statistics.until is null or exposure.exposed_on <= _quantile_statistics.until)
      and (
        v_are_all
        or get_bit(member.people, (exposure.person_id % 4096)::int) <> 0
      )
  ),

  size as (
    select person.variation, sum(cardinality(person.event_values)) as events, count(*) as people
    from person
    group by person.variation
  ),

  ranked as (
    select
      person.variation, entry.value,
      row_number() over (partition by person.variation order by entry.value) as rank
    from person
    cross join lateral unnest(person.event_values) as entry (value)
  ),

  -- The order statistics at the level, and at the bounds of its interval for independent events. As numeric, because
  -- 0.55 of 20 events would be more than 11 in floating point.
  bound as (
    select
      size.variation, size.events, size.people,
      least(greatest(ceil(size.events * level::numeric), 1), size.events) as at_level,
      least(greatest(ceil(size.events * (level - width.half)), 1), size.events) as at_lower,
      least(greatest(ceil(size.events * (level + width.half)), 1), size.events) as at_upper
    from size
    cross join lateral (
      select 1.959963984540054 * sqrt(level * (1 - level) / size.events::float8) as half
    ) as width
  ),

  found as (
    select
      bound.variation, bound.events, bound.people,
      max(ranked.value) filter (where ranked.rank = bound.at_level) as hat,
      max(ranked.value) filter (where ranked.rank = bound.at_lower) as lower,
      max(ranked.value) filter (where ranked.rank = bound.at_upper) as upper
    from bound
    join ranked
      on ranked.variation = bound.variation
      and ranked.rank in (bound.at_level, bound.at_lower, bound.at_upper)
    group by bound.variation, bound.events, bound.people
  ),

  clustered as (
    select
      found.variation,
      sum(cluster.main) as main, sum(cluster.main * cluster.main) as main_squares,
      sum(cluster.size * cluster.size) as size_squares, sum(cluster.main * cluster.size) as products
    from found
    join person on person.variation = found.variation
    cross join lateral (
      select
        width_bucket(found.hat, person.event_values)::numeric as main,
        cardinality(person.event_values)::numeric as size
    ) as cluster
    group by found.variation
  )

  select
    found.variation, found.people,
    jsonb_build_object(
      'type', 'quantile', 'n', found.events, 'n_star', found.events, 'nu', level,
      'quantile_hat', found.hat, 'quantile_lower', found.lower, 'quantile_upper', found.upper,
      'n_clusters', found.people, 'main_sum', clustered.main, 'main_sum_squares', clustered.main_squares,
      'denominator_sum', found.events, 'denominator_sum_squares', clustered.size_squares,
      'main_denominator_sum_product', clustered.products
    )
  from found
  join clustered using (variation);
end;
$$;

comment on function experiment._quantile_statistics(int, smallint, float8, date, track.person_set_block[]) is $$
@behavior -*
Returns the quantile of the values of all events of counted people by variation, with people as clusters.
Reads the values of all exposed people: a quantile is not a function of sums.
$$;

grant execute on function experiment._quantile_statistics(int, smallint, float8, date, track.person_set_block[])
to insights_reader;

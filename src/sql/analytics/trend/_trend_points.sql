create or replace function analytics._trend_points(
  event_name text,
  bucket text,
  since timestamptz,
  until timestamptz,
  window_size int,
  zone text,
  item text,
  among text,
  breakdown text,
  top_values int,
  smallest_group int
)
returns setof analytics.trend_point
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
as $$
declare
  v_event_type_id constant int := analytics._event_type_id(_trend_points.event_name);
  v_bounds constant timestamptz[] := analytics._bounds(
    _trend_points.bucket, _trend_points.since, _trend_points.until, _trend_points.zone
  );
  v_item_id constant bigint := analytics._item_id(_trend_points.item);
  v_buckets constant int := cardinality(v_bounds) - 1;
  v_complete constant int := width_bucket(now(), v_bounds) - 1;
  v_is_fast constant boolean := (_trend_points.item is null or v_event_type_id = 0)
    and _trend_points.among is null
    and _trend_points.breakdown is null
    and not exists (select from unnest(v_bounds) as bound where bound <> date_trunc('day', bound));
  v_has_engaged constant boolean := v_event_type_id = 0
    and coalesce(_trend_points.breakdown, '') not like 'property.%';
  -- The number of buckets in a season, and the format of the place of a bucket in it.
  v_season int;
  v_season_part text;
begin
  perform common.check_count('window_size', _trend_points.window_size, 1, 10000);
  perform common.check_count('top_values', _trend_points.top_values, 1, 100);
  if length(_trend_points.breakdown) > 200 then
    perform common.refuse('CF008', format('breakdown has %s characters', length(_trend_points.breakdown)),
      'It can have 200 at most.');
  end if;
  if _trend_points.breakdown !~ '^(item|(property|set|trait|trait_then)\..+)$' then
    perform common.refuse('CF001', format('breakdown is "%s"', left(_trend_points.breakdown, 100)),
      'Use item, property.<name>, trait.<name>, trait_then.<name> or set.<family or name of sets of people>.');
  end if;
  -- Also where no event is read.
  if _trend_points.among is not null then
    perform from analytics._among(_trend_points.among);
  end if;
  if _trend_points.breakdown like 'set.%' then
    perform from analytics._people_by_value(_trend_points.breakdown, 1);
  end if;
  if _trend_points.breakdown is not null and v_buckets * (_trend_points.top_values + 2) > 200000 then
    perform common.refuse(
      'CF008',
      format('%s buckets of %s values are more than 200000 rows', v_buckets, _trend_points.top_values + 2),
      'Give a shorter period, a larger bucket, or fewer top_values.'
    );
  end if;
  select season.buckets, season.part
  into v_season, v_season_part
  from (
    values
      ('minute', 1440, 'HH24:MI'), ('hour', 168, 'ID HH24'), ('day', 7, 'ID'), ('week', 52, 'IW'), ('month', 12, 'MM'),
      ('quarter', 4, 'Q')
  ) as season (bucket, buckets, part)
  where season.bucket = _trend_points.bucket;

  return query
  with kernel as (
    select null::text as value, false as is_other, exact.bucket, exact.event_count, exact.person_count,
      exact.counted_engaged as engaged
    from analytics._trend(v_event_type_id, v_bounds, null, v_item_id) as exact
    where v_is_fast
      and _trend_points.smallest_group is null
    union all
    select null, false, of_groups.bucket, of_groups.event_count, of_groups.person_count, of_groups.engaged
    from analytics._trend_of_groups(v_event_type_id, v_bounds, _trend_points.smallest_group, v_item_id) as of_groups
    where v_is_fast
      and _trend_points.smallest_group is not null
    union all
    select by_value.*
    from analytics._trend_by_value(
      v_event_type_id, v_bounds, v_item_id, _trend_points.among, _trend_points.breakdown, _trend_points.top_values
    ) as by_value
    where not v_is_fast
      and _trend_points.smallest_group is null
    union all
    select by_value.*
    from analytics._trend_by_value_of_groups(
      v_event_type_id, v_bounds, v_item_id, _trend_points.among, _trend_points.breakdown, _trend_points.top_values,
      _trend_points.smallest_group
    ) as by_value
    where not v_is_fast
      and _trend_points.smallest_group is not null
  ),

  figures as materialized (
    select
      kernel.value, kernel.is_other, kernel.bucket,
      analytics._shown(kernel.event_count, kernel.person_count, _trend_points.smallest_group)::bigint as event_count,
      analytics._shown(kernel.person_count, kernel.person_count, _trend_points.smallest_group)::bigint as person_count,
      case
        when coalesce(_trend_points.smallest_group, 1) = 1 then kernel.engaged
        else make_interval(secs => analytics._shown(
          extract(epoch from kernel.engaged)::float8, kernel.person_count, _trend_points.smallest_group
        ))
      end as engaged
    from kernel
    where coalesce(_trend_points.smallest_group, 1) <= greatest(kernel.person_count, 1)
  ),

  series as (
    select
      listed.value, listed.is_other,
      row_number() over (order by listed.is_other, listed.event_count desc, listed.value collate "C" nulls first)
        as series_number
    from (
      select figures.value, figures.is_other, sum(figures.event_count) as event_count
      from figures
      where _trend_points.breakdown is not null
      group by 1, 2
      union all
      select null, false, 0
      where _trend_points.breakdown is null
    ) as listed
  ),

  filled as (
    select
      series.series_number,
      case when series.is_other then 'other' else series.value end as value,
      series.is_other,
      placed.bucket_number,
      v_bounds[placed.bucket_number] as bucket_start,
      placed.bucket_number <= v_complete as is_complete,
      coalesce(figures.event_count, 0) as event_count,
      coalesce(figures.person_count, 0) as person_count,
      case when v_has_engaged then coalesce(figures.engaged, '0') end as engaged
    from series
    cross join generate_series(1, v_buckets) as placed (bucket_number)
    left join figures
      on figures.bucket = placed.bucket_number
      and figures.is_other = series.is_other
      and coalesce('=' || figures.value, '') = coalesce('=' || series.value, '')
  ),

  -- Sums of whole numbers, which are exact in any order. The rows after the last complete bucket have its number.
  summed as (
    select
      filled.*,
      count(*) filter (where filled.is_complete) over last_buckets as n,
      sum(filled.bucket_number::numeric) filter (where filled.is_complete) over last_buckets as sum_x,
      sum(filled.event_count) filter (where filled.is_complete) over last_buckets as sum_y,
      sum(filled.bucket_number::numeric * filled.bucket_number) filter (where filled.is_complete) over last_buckets
        as sum_xx,
      sum(filled.bucket_number::numeric * filled.event_count) filter (where filled.is_complete) over last_buckets
        as sum_xy,
      sum(filled.event_count::numeric * filled.event_count) filter (where filled.is_complete) over last_buckets
        as sum_yy,
      sum(filled.event_count) over by_time as cumulative_events,
      lag(filled.event_count) over by_time as previous_events,
      lag(filled.event_count, coalesce(v_season, v_buckets)) over by_time as season_events,
      case
        when count(*) filter (where filled.is_complete) over season = v_season / 2 * 2 + 1
          then (
            sum(filled.event_count) over season
              - case
                when v_season % 2 = 0
                  then (
                    lag(filled.event_count, v_season / 2) over by_time
                      + lead(filled.event_count, v_season / 2) over by_time
                  ) / 2.0
                else 0
              end
          ) / v_season
      end as level
    from filled
    window
      last_buckets as (
        partition by filled.series_number
        order by case when v_complete > 0 then least(filled.bucket_number, v_complete) else filled.bucket_number end
        range between (_trend_points.window_size - 1) preceding and current row
      ),
      by_time as (partition by filled.series_number order by filled.bucket_number),
      season as (
        partition by filled.series_number
        order by filled.bucket_number
        rows between coalesce(v_season / 2, 0) preceding and coalesce(v_season / 2, 0) following
      )
  ),

  line as (
    select
      summed.*,
      (summed.n * summed.sum_xy - summed.sum_x * summed.sum_y) / nullif(summed.n * summed.sum_xx - summed.sum_x ^ 2, 0)
        as slope,
      -- Standard error: the squares of the residuals by the squares of the distances in time.
      sqrt(greatest(
        0,
        (
          (summed.n * summed.sum_yy - summed.sum_y ^ 2) / nullif(summed.n * summed.sum_xx - summed.sum_x ^ 2, 0)
            - ((summed.n * summed.sum_xy - summed.sum_x * summed.sum_y)
              / nullif(summed.n * summed.sum_xx - summed.sum_x ^ 2, 0)) ^ 2
        ) / nullif(summed.n - 2, 0)
      )) as std_err
    from summed
  ),

  quantile as materialized (
    select distinct_n.n, analytics._confidence_quantile((distinct_n.n - 2)::int) as quantile
    from (select distinct line.n from line where line.n >= 3) as distinct_n
  ),

  noted as (
    select
      placed.bucket_number,
      array_agg(annotation.title order by annotation.starts_at, annotation.annotation_id) as titles
    from generate_series(1, v_buckets) as placed (bucket_number)
    join analytics.annotation
      on annotation.starts_at < v_bounds[placed.bucket_number + 1]
      and coalesce(annotation.ends_at, annotation.starts_at + interval '1 microsecond') > v_bounds[placed.bucket_number]
    where annotation.starts_at < v_bounds[v_buckets + 1]
    group by placed.bucket_number
  ),

  component as (
    select
      detrended.series_number, detrended.season_part,
      detrended.median - avg(detrended.median) over (partition by detrended.series_number) as component
    from (
      select
        line.series_number, to_char(line.bucket_start at time zone _trend_points.zone, v_season_part) as season_part,
        (percentile_cont(0.5) within group (order by (line.event_count - line.level)::float8))::numeric as median
      from line
      where line.level is not null
        and v_complete >= 2 * v_season
      group by 1, 2
    ) as detrended
  )

  select
    line.bucket_start,
    line.event_count,
    line.person_count,
    (line.sum_y / nullif(line.n, 0))::float8,
    line.slope::float8,
    line.is_complete,
    line.value,
    line.is_other,
    line.engaged,
    line.event_count::float8 / nullif(line.person_count, 0),
    line.cumulative_events::bigint,
    case when line.is_complete then line.event_count::float8 / nullif(line.previous_events, 0) - 1 end,
    case when line.is_complete then line.event_count::float8 / nullif(line.season_events, 0) - 1 end,
    line.slope::float8 - quantile.quantile * line.std_err::float8,
    line.slope::float8 + quantile.quantile * line.std_err::float8,
    case when line.is_complete then (line.event_count - component.component)::float8 end,
    _trend_points.zone,
    least(now(), v_bounds[v_buckets + 1]),
    coalesce(noted.titles, '{}')
  from line
  left join quantile on quantile.n = line.n
  left join noted on noted.bucket_number = line.bucket_number
  left join component
    on component.series_number = line.series_number
    and component.season_part = to_char(line.bucket_start at time zone _trend_points.zone, v_season_part)
  order by line.series_number, line.bucket_number;
end;
$$;

comment on function analytics._trend_points(
  text, text, timestamptz, timestamptz, int, text, text, text, text, int, int
) is $$
Computes the result of `analytics.trend`, with the privileges of the caller.
`smallest_group`: figures of groups of counted people (see `analytics._trend_of_groups` and `analytics._shown`); null:
exact figures of all people. What is derived from figures is computed from the figures as shown.
$$;

grant execute on function analytics._trend_points(
  text, text, timestamptz, timestamptz, int, text, text, text, text, int, int
) to insights_reader;

create or replace function monitor._series_values(series_id int, kind text, since timestamptz, until timestamptz)
returns table (sampled_at timestamptz, value float8)
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  with measured as (
    select
      sample.sampled_at, sample.measured[_series_values.series_id] as value
    from monitor.sample
    where sample.sampled_at >= _series_values.since
      and sample.sampled_at <= _series_values.until
  ),

  stepped as (
    select measured.*,
      measured.value - lag(measured.value) over step as increase,
      extract(epoch from measured.sampled_at - lag(measured.sampled_at) over step)::float8 as seconds
    from measured
    where measured.value is not null
    window step as (order by measured.sampled_at)
  )

  select stepped.sampled_at,
    case when _series_values.kind = 'counter' then stepped.increase / nullif(stepped.seconds, 0) else stepped.value end
  from stepped
  -- A counter that begins at 0 again has no increase.
  where _series_values.kind <> 'counter'
    or stepped.increase >= 0
  order by stepped.sampled_at
$$;

comment on function monitor._series_values(int, text, timestamptz, timestamptz) is $$
Returns the values of a series in a period, in order; of a counter, its increase per second since the value before.
$$;

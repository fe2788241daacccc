create or replace function monitor._probe_partitions()
returns setof monitor.measurement
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
begin
  return query
  with attached as (
    select to_date(right(class.relname, 7), 'YYYY_MM') as month
    from pg_inherits
    join pg_class as class on class.oid = pg_inherits.inhrelid
    where pg_inherits.inhparent = 'track.event'::regclass
      and class.relname ~ '^event_\d{4}_\d{2}$'
  )

  select 'insights_event_partitions', null::jsonb, count(*)::float8
  from attached
  union all
  select 'insights_event_partitions_ahead_seconds', null,
    greatest(
      extract(
        epoch from coalesce(min(missing.month), date_trunc('month', clock_timestamp()) + interval '25 months')
          - clock_timestamp()
      ), 0
    )::float8
  from generate_series(
    date_trunc('month', clock_timestamp()), date_trunc('month', clock_timestamp()) + interval '2 years',
    interval '1 month'
  ) as missing (month)
  where missing.month::date not in (select attached.month from attached);
end;
$$;

comment on function monitor._probe_partitions() is $$
Measures the partitions of `track.event`: their number, and the time until the first month that has none.
That is at most about two years.
$$;

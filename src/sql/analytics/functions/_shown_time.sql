create or replace function analytics._shown_time(
  figure interval, people bigint, smallest_group int, mean interval default null
)
returns interval
language sql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select case
    when coalesce(smallest_group, 1) = 1 then figure
    else justify_hours(make_interval(
      secs => analytics._shown_mean(
        extract(epoch from figure)::float8, people, smallest_group, extract(epoch from mean)::float8
      )
    ))
  end;
$$;

comment on function analytics._shown_time(interval, bigint, int, interval) is $$
Returns a mean time, or a quartile when the `mean` is given too, as analysts see it: see `analytics._shown_mean`.
$$;

grant execute on function analytics._shown_time(interval, bigint, int, interval) to insights_reader;

create or replace function analytics._snapshot_times(target analytics.prediction_target, weeks int)
returns timestamptz[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_newest timestamptz;
  v_oldest timestamptz;
begin
  -- From a week after the first activity up to the end of the last complete day.
  select
    least(active.last_day + 1, (now() at time zone 'UTC')::date)::timestamp at time zone 'UTC',
    (active.first_day + 7)::timestamp at time zone 'UTC'
  into v_newest, v_oldest
  from analytics._active_days() as active;
  return array(
    select moment
    from generate_series(0, weeks - 1) as week
    cross join lateral (select v_newest - (target).horizon - week * interval '7 days' as moment) as snapshot
    where moment >= v_oldest
    order by moment
  );
end;
$$;

comment on function analytics._snapshot_times(analytics.prediction_target, int) is $$
Returns the latest weekly times, at most `weeks`, whose outcomes are known. They depend on counted people only.
$$;

create or replace function analytics._snapshot_times(target analytics.prediction_target, weeks int)
returns timestamptz[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
declare
  -- In UTC without a zone, so that a week has 168 hours in every zone of the session.
  v_newest timestamp;
  v_oldest timestamp;
begin
  -- From a week after the first activity up to the end of the last complete day.
  select
    least(active.last_day + 1, (now() at time zone 'UTC')::date),
    active.first_day + 7
  into v_newest, v_oldest
  from analytics._active_days() as active;
  return array(
    select moment at time zone 'UTC'
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

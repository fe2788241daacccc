create or replace function analytics._queued_days(
  first_day date,
  end_day date,
  of_people bigint[] default null,
  out people bigint[],
  out first_days date[],
  out end_days date[]
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the length of the queues.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_since constant timestamptz := _queued_days.first_day::timestamp at time zone 'UTC';
  v_until constant timestamptz := _queued_days.end_day::timestamp at time zone 'UTC';
begin
  if v_since >= v_until then
    return;
  end if;

  with queued as (
    select stale.person_id, stale.since, stale.until
    from track.stale
    where stale.since < v_until
      and stale.until >= v_since
      and (_queued_days.of_people is null or stale.person_id = any (_queued_days.of_people))

    union all

    select changed.person_id, changed.since, changed.until
    from track.changed
    where changed.consumer = 'analytics.activity'
      and changed.since < v_until
      and changed.until >= v_since
      and (_queued_days.of_people is null or changed.person_id = any (_queued_days.of_people))
  ),

  merged as (
    select
      queued.person_id,
      unnest(range_agg(daterange(
        greatest((queued.since at time zone 'UTC')::date, _queued_days.first_day),
        least((queued.until at time zone 'UTC')::date + 1, _queued_days.end_day)
      ))) as days
    from queued
    group by queued.person_id
  )

  select array_agg(merged.person_id), array_agg(lower(merged.days)), array_agg(upper(merged.days))
  into people, first_days, end_days
  from merged;
end;
$$;

comment on function analytics._queued_days(date, date, bigint[]) is $$
Returns the days between two (`end_day` exclusive) for which `analytics.activity` is not refreshed yet.
They are ranges of days, one per position: the person, the first day, and the day after the last one. Null when there
are none. `of_people`: only these people; null: all.
A reader of the rollup leaves these rows out, and reads `analytics._days_of_people` instead, so that its result is the
same before and after a refresh.
$$;

grant execute on function analytics._queued_days(date, date, bigint[]) to insights_reader, insights_admin;

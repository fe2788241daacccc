create or replace function track.queued_days(
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
  v_since constant timestamptz := queued_days.first_day::timestamp at time zone 'UTC';
  v_until constant timestamptz := queued_days.end_day::timestamp at time zone 'UTC';
  v_moved bigint[];
begin
  if v_since >= v_until then
    return;
  end if;

  v_moved := array(select track.moved_people());
  with queued as (
    select
      stale.person_id,
      greatest((stale.since at time zone 'UTC')::date, queued_days.first_day) as first_day,
      least((stale.until at time zone 'UTC')::date + 1, queued_days.end_day) as end_day
    from track.stale
    where stale.since < v_until
      and stale.until >= v_since
      and (queued_days.of_people is null or stale.person_id = any (queued_days.of_people))

    union all

    -- The sums contain people as of the last refresh of the sets.
    select moved.person_id, queued_days.first_day, queued_days.end_day
    from unnest(v_moved) as moved (person_id)
    where queued_days.of_people is null or moved.person_id = any (queued_days.of_people)
  ),

  merged as (
    select queued.person_id, min(queued.first_day) as first_day, max(queued.end_day) as end_day
    from queued
    group by queued.person_id
  )

  select array_agg(merged.person_id), array_agg(merged.first_day), array_agg(merged.end_day)
  into people, first_days, end_days
  from merged;
end;
$$;

comment on function track.queued_days(date, date, bigint[]) is $$
@behavior -*
Returns the days between two (`end_day` exclusive) for which presence and sums are not refreshed yet.
One position per person: the first day, and the day after the last one. Null when there are none. `of_people`: only
these people; null: all.
A reader of these tables subtracts `track.stored_activity` of these days and adds `track.event_activity`, so that its
result is the same before and after a refresh.
$$;

grant execute on function track.queued_days(date, date, bigint[]) to insights_reader, insights_admin;

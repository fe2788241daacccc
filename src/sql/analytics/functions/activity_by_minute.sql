/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._activity_by_minute(minutes int, smallest_group int)
returns setof analytics.minute_activity
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
set timezone to 'UTC'
as $$
declare
  v_until constant timestamptz := date_trunc('minute', now()) + interval '1 minute';
  v_since timestamptz;
begin
  perform common.check_count('minutes', _activity_by_minute.minutes, 1, 1440);
  v_since := v_until - make_interval(mins => _activity_by_minute.minutes);

  return query
  with by_person as (
    select date_trunc('minute', event.occurred_at) as minute, event.person_id, count(*) as event_count
    from track.event
    join track.event_type on event_type.event_type_id = event.event_type_id
    join track.source on source.source_id = event.source_id
    where event.occurred_at >= v_since
      and event.occurred_at < v_until
      and event.person_id <> 0
      and not (event_type.is_automatic or source.is_automatic)
    group by 1, 2
  ),

  counted as (
    select by_person.minute, sum(by_person.event_count) as event_count, count(*) as person_count
    from by_person
    join analytics._members(null, _activity_by_minute.smallest_group) as member
      on member.block = by_person.person_id / 4096
      and get_bit(member.people, (by_person.person_id % 4096)::int) <> 0
    group by by_person.minute
  )

  select
    entry.minute,
    coalesce(
      analytics._shown(counted.event_count::float8, counted.person_count, _activity_by_minute.smallest_group), 0
    )::bigint,
    coalesce(
      analytics._shown(counted.person_count, counted.person_count, _activity_by_minute.smallest_group), 0
    )::bigint
  from generate_series(v_since, v_until - interval '1 minute', interval '1 minute') as entry (minute)
  left join counted on counted.minute = entry.minute
  order by entry.minute;
end;
$$;

alter function analytics._activity_by_minute(int, int) owner to insights_reader;

comment on function analytics._activity_by_minute(int, int) is $$
Computes the result of `analytics.activity_by_minute`.
`smallest_group`: figures of groups of counted people (see `analytics._shown`); null: exact figures of all people.
$$;

grant execute on function analytics._activity_by_minute(int, int) to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._activity_by_minute_shown(minutes int)
returns setof analytics.minute_activity
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
  select * from analytics._activity_by_minute($1, (select smallest_group from analytics.setting));
$$;

alter function analytics._activity_by_minute_shown(int) owner to insights_reader;

comment on function analytics._activity_by_minute_shown(int) is $$
Returns the result of `analytics.activity_by_minute` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._activity_by_minute_shown(int) to insights_analyst;

create or replace function analytics.activity_by_minute(minutes int default 30)
returns setof analytics.minute_activity
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege('analytics._activity_by_minute(int, int)', 'execute') then
    return query select * from analytics._activity_by_minute(activity_by_minute.minutes, null);
  else
    return query select * from analytics._activity_by_minute_shown(activity_by_minute.minutes);
  end if;
end;
$$;

comment on function analytics.activity_by_minute(int) is $$
Returns the events and people of each of the last `minutes` (1 to 1440), the present one last.
By the time at which the events happened; events of automatic types and sources do not count. The result includes every
event that was stored when the function was called, also before a refresh.
For admins and workers, figures are exact and include anonymous browsers. Analysts see figures of counted people: a
minute of fewer than `analytics.setting.smallest_group` of them reads as 0, others are rounded by `analytics._shown`.
Errors: CF001 or CF008 for a number of minutes out of range.
$$;

grant execute on function analytics.activity_by_minute(int) to insights_analyst, insights_admin, insights_worker;

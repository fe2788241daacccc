create or replace function analytics.refresh_activity(most_people int default 2000)
returns bigint
language plpgsql
volatile
-- A definer: it reads everybody's events and writes analytics.activity, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_picked constant bigint[] := track._changed_people('analytics.activity', refresh_activity.most_people);
  v_people bigint[];
  v_since timestamptz[];
  v_until timestamptz[];
begin
  with taken as (
    delete from track.changed
    where changed.person_id = any (v_picked)
      and changed.consumer = 'analytics.activity'
    returning changed.person_id, changed.since, changed.until
  ),

  -- Whole days, as half-open ranges.
  widened as (
    select
      taken.person_id,
      tstzrange(
        date_trunc('day', taken.since at time zone 'UTC') at time zone 'UTC',
        (date_trunc('day', taken.until at time zone 'UTC') + interval '1 day') at time zone 'UTC'
      ) as period
    from taken
  ),

  merged as (
    select person_id, unnest(range_agg(period)) as period
    from widened
    group by person_id
  )

  select array_agg(person_id), array_agg(lower(period)), array_agg(upper(period))
  into v_people, v_since, v_until
  from merged;

  if v_people is null then
    return 0;
  end if;

  delete from analytics.activity
  using unnest(v_people, v_since, v_until) as period (person_id, since, until)
  where activity.person_id = period.person_id
    and activity.day >= (period.since at time zone 'UTC')::date
    and activity.day < (period.until at time zone 'UTC')::date;

  insert into analytics.activity (person_id, day, event_type_id, item_id, event_count, engaged)
  select
    event.person_id,
    (event.occurred_at at time zone 'UTC')::date,
    event.event_type_id,
    event.item_id,
    count(*),
    -- A look at each, not a join, which might read all page views there are.
    coalesce(
      sum((select page_view.engaged from track.page_view where page_view.person_id = event.person_id and page_view.event_id = event.event_id)),
      '0'
    )
  from unnest(v_people, v_since, v_until) as period (person_id, since, until)
  join track.event
    on event.person_id = period.person_id
    and event.occurred_at >= period.since
    and event.occurred_at < period.until
  group by 1, 2, 3, 4;

  return (select count(distinct person_id) from unnest(v_people) as person_id);
end;
$$;

comment on function analytics.refresh_activity(int) is $$
Brings `analytics.activity` up to date for at most so many people whose sessions changed; returns how many. Call it until that is 0.
Recomputes the days that were touched and no others, so the result is what a computation from scratch would give.
Errors: CF001 for fewer than one person.
$$;

grant execute on function analytics.refresh_activity(int) to insights_worker;

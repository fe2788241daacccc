create or replace function track.stored_activity(
  people bigint[],
  first_days date[],
  end_days date[],
  event_types int[] default null,
  of_items bigint[] default null
)
returns setof track.activity
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the number of people.
set plan_cache_mode to force_custom_plan
as $$
begin
  return query
  with period as materialized (
    select
      entry.person_id,
      entry.first_day,
      entry.end_day,
      entry.first_day::timestamp at time zone 'UTC' as since,
      entry.end_day::timestamp at time zone 'UTC' as until
    from unnest(stored_activity.people, stored_activity.first_days, stored_activity.end_days)
      as entry (person_id, first_day, end_day)
  ),

  sliced as (
    select
      part.person_id,
      part.event_type_id,
      part.is_automatic,
      part.occurred_at[part.before + 1:part.until] as occurred_at,
      part.item_ids[part.before + 1:part.until] as item_ids
    from (
      select
        step.person_id, step.event_type_id, step.is_automatic, step.occurred_at, step.item_ids,
        width_bucket(period.since - interval '1 microsecond', step.occurred_at) as before,
        width_bucket(period.until - interval '1 microsecond', step.occurred_at) as until
      from period
      join track.step
        on step.person_id = period.person_id
        -- Rows are by year, those of person 0 by day.
        and step.since > period.first_day - case when period.person_id = 0 then 1 else 366 end
        and step.since < period.end_day
        and (stored_activity.event_types is null or step.event_type_id = any (stored_activity.event_types))
    ) as part
    where part.before < part.until
  )

  select
    happened.person_id,
    (happened.occurred_at at time zone 'UTC')::date,
    happened.event_type_id,
    nullif(happened.item_id, 0)::bigint,
    count(*)::int,
    interval '0',
    (count(*) filter (where happened.is_automatic))::int
  from (
    select
      sliced.person_id, sliced.event_type_id, sliced.is_automatic,
      unnest(sliced.occurred_at) as occurred_at, unnest(sliced.item_ids) as item_id
    from sliced
  ) as happened
  where stored_activity.of_items is null
    or happened.item_id = any (stored_activity.of_items)
  group by 1, 2, 3, 4

  union all

  select
    page_view.person_id,
    (page_view.started_at at time zone 'UTC')::date,
    0,
    page_view.item_id,
    0,
    sum(page_view.engaged),
    0
  from period
  join track.page_view
    on page_view.person_id = period.person_id
    and page_view.session_ended_at >= period.since
    and page_view.session_started_at < period.until
    and page_view.started_at >= period.since
    and page_view.started_at < period.until
    and (stored_activity.of_items is null or page_view.item_id = any (stored_activity.of_items))
  -- Until the first refresh after an upgrade, the page views of a person are in no table of presence and sums.
  where exists (select 1 from track.step where step.person_id = period.person_id)
    and stored_activity.event_types is null
  group by 1, 2, 4;
end;
$$;

comment on function track.stored_activity(bigint[], date[], date[], int[], bigint[]) is $$
@behavior -*
Returns the activity of people as of the last refresh, which is what the tables of presence and sums contain.
Each position is a person, the first day, and the day after the last one (UTC). The ranges of a person must not
overlap. Reads `track.step` and the page views. `event_types`: only events of these types, without page views; null:
everything. `of_items`: of these items only; null: all activity.
$$;

grant execute on function track.stored_activity(bigint[], date[], date[], int[], bigint[])
to insights_reader, insights_admin;

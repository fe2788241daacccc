create or replace function track.activity_of(
  people bigint[], first_day date, end_day date, event_types int[] default null, of_items bigint[] default null
)
returns setof track.activity
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_people constant bigint[] := coalesce(
    activity_of.people,
    array(select person.person_id from track.person)
  );
  v_queued record;
begin
  v_queued := track.queued_days(activity_of.first_day, activity_of.end_day, activity_of.people);

  -- For a queued person: the days before and after those that are queued.
  return query
  with kept as (
    select entry.person_id, activity_of.first_day, coalesce(queued.first_day, activity_of.end_day) as end_day
    from unnest(v_people) as entry (person_id)
    left join unnest(v_queued.people, v_queued.first_days) as queued (person_id, first_day) using (person_id)

    union all

    select queued.person_id, queued.end_day, activity_of.end_day
    from unnest(v_queued.people, v_queued.end_days) as queued (person_id, end_day)
  ),

  listed as (
    select
      array_agg(kept.person_id) as people,
      array_agg(kept.first_day) as first_days,
      array_agg(kept.end_day) as end_days
    from kept
    where kept.first_day < kept.end_day
  )

  select stored.*
  from listed
  cross join lateral track.stored_activity(
    listed.people, listed.first_days, listed.end_days, activity_of.event_types, activity_of.of_items
  ) as stored;

  return query
  select computed.*
  from track.event_activity(v_queued.people, v_queued.first_days, v_queued.end_days, activity_of.event_types)
    as computed
  where activity_of.of_items is null
    or computed.item_id = any (activity_of.of_items);
end;
$$;

comment on function track.activity_of(bigint[], date, date, int[], bigint[]) is $$
@behavior -*
Returns the activity of people on the days between two (`end_day` exclusive), with the events that are not refreshed.
`people` null: all. `event_types`: only events of these types, without page views; null: everything. `of_items`: with
these items only; null: all activity. Engaged times are as of the last refresh of the sessions.
$$;

grant execute on function track.activity_of(bigint[], date, date, int[], bigint[])
to insights_reader, insights_admin;

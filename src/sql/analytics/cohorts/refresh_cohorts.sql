create or replace function analytics.refresh_cohorts()
returns int
language plpgsql
volatile
-- A definer: it writes the tables of cohorts and sets, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set jit to off
as $$
declare
  v_today constant date := (now() at time zone 'UTC')::date;
  v_cohort analytics.cohort;
  v_people bigint[];
begin
  -- One definition at a time, as in analytics.define_cohort.
  perform pg_advisory_xact_lock(hashtext('analytics.cohort'));

  -- A name that means something else now, or an item that contains other items: all people are computed.
  for v_cohort in
    select cohort.*
    from analytics.cohort
    where cohort.is_live
      and cohort.names <> analytics._rule_names(cohort.rule)
    order by cohort.name
  loop
    update analytics.cohort
    set names = analytics._rule_names(v_cohort.rule)
    where cohort.name = v_cohort.name;
    perform analytics._evaluate_cohort(v_cohort.name);
  end loop;

  for v_cohort in
    select cohort.*
    from analytics.cohort
    where cohort.is_live
      and cohort.as_of < v_today
      and jsonb_path_exists(cohort.rule, 'strict $.** ? (exists (@.prediction))')
    order by cohort.name
  loop
    begin
      perform analytics._list_predicted(v_cohort.rule, v_today);
    exception
      -- Not trained any more: the people stay as they are.
      when sqlstate 'CF006' then
        raise warning 'the predictions of % are not refreshed: %', v_cohort.name, common.without_values(sqlerrm);
    end;
  end loop;

  -- The people with activity on the days that entered or left a period since the last call.
  v_people := array(
    with edge as (
      select distinct
        case
          when found.value -> 'event' <> 'null' then (
            select coalesce(event_type.merged_event_type_id, event_type.event_type_id)
            from track.event_type
            where event_type.name = found.value ->> 'event'
          )
          -- Of an item, automatic events count too.
          when not found.value ? 'item' then 0
        end as event_type_id,
        cohort.as_of - period.days as after_day,
        v_today - period.days as last_day
      from analytics.cohort
      cross join lateral jsonb_path_query(cohort.rule, 'strict $.** ? (exists (@.event))') as found (value)
      cross join lateral (
        values
          (analytics._days_of(found.value ->> 'within')),
          (analytics._days_of(found.value ->> 'older_than'))
      ) as period (days)
      where cohort.is_live
        and cohort.as_of < v_today
        and period.days is not null
    ),

    moved as (
      select presence.block, bit_or(presence.people) as people
      from edge
      join track.presence
        on presence.event_type_id = coalesce(edge.event_type_id, presence.event_type_id)
        and presence.day > edge.after_day
        and presence.day <= edge.last_day
      group by presence.block
    )

    select moved.block::bigint * 4096 + place
    from moved
    cross join generate_series(0, 4095) as place
    where get_bit(moved.people, place) = 1
  );
  update analytics.cohort set as_of = v_today where cohort.is_live and cohort.as_of < v_today;
  perform track.queue_people('analytics.cohort', v_people);
  return cardinality(v_people);
end;
$$;

comment on function analytics.refresh_cohorts() is $$
Moves the days of live cohorts and segments on to the current day (UTC). Returns the number of people who are queued.
Queued are people with events on the days that entered or left the period of a condition (`within`, `older_than`); the
next `track.refresh` recomputes them, and readers do until then. Predictions are listed again as of the new day. A
cohort whose names have come to mean other events or items (`track.merge_events`, `track.merge_items`, items that were
moved) is computed for all people. Called by the worker every hour; a call on the same day does nothing else.
$$;

grant execute on function analytics.refresh_cohorts() to insights_admin, insights_worker;

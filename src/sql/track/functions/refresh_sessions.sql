create or replace function track._compute_sessions(
  people bigint[],
  since timestamptz[],
  until timestamptz[],
  setting track.setting
)
returns track.refresh_result
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_setting constant track.setting := setting;
  v_result track.refresh_result;
begin
  with deleted as (
    delete from track.session
    using unnest(people, since, until) as period (person_id, since, until)
    where session.person_id = period.person_id
      and session.ended_at between period.since and period.until
    returning session.person_id, session.session_id
  )
  delete from track.page_view
  using deleted
  where page_view.person_id = deleted.person_id
    and page_view.session_id = deleted.session_id;

  with happened as (
    select
      event.person_id,
      event.occurred_at,
      event.event_id,
      event.item_id,
      event_type.opens_view,
      event_type.is_heartbeat,
      case when event_type.opens_view or event_type.is_heartbeat then event.properties ->> 'viewId' end as view_key,
      lag(event.occurred_at) over person_in_order as previous_at
    from unnest(people, since, until) as period (person_id, since, until)
    join track.event
      on event.person_id = period.person_id
      and event.occurred_at between period.since and period.until
    join track.event_type using (event_type_id)
    -- Person 0 (anonymized events) has no sessions.
    where period.person_id <> 0
    window person_in_order as (partition by event.person_id order by event.occurred_at, event.event_id)
  ),

  numbered as (
    select
      happened.*,
      count(*) filter (where previous_at is null or occurred_at - previous_at > v_setting.session_timeout)
        over (partition by person_id order by occurred_at, event_id) as session_number
    from happened
  ),

  placed as (
    select
      numbered.*,
      first_value(event_id) over session_in_order as session_id,
      count(*) filter (where opens_view) over session_in_order as view_number,
      -- The time to the next event of the session, up to the cap; null for the last event (least() ignores nulls).
      case
        when lead(occurred_at) over session_in_order is not null
          then least(lead(occurred_at) over session_in_order - occurred_at, v_setting.longest_gap)
      end as gap
    from numbered
    window session_in_order as (partition by person_id, session_number order by occurred_at, event_id)
  ),

  named as materialized (
    select
      placed.*,
      -- A heartbeat belongs to the view that it names, or else to the one before it.
      case
        when is_heartbeat and view_key is not null
          then coalesce(
            max(view_number) filter (where opens_view) over (partition by person_id, session_number, view_key),
            view_number
          )
        when is_heartbeat then view_number
      end as beating_number
    from placed
  ),

  -- From here on, rows are grouped and not joined, so that the cost is linear regardless of the statistics.
  spread as (
    select
      person_id, session_id, view_number, occurred_at, event_id, item_id, opens_view, gap,
      null::timestamptz as beat_at
    from named

    union all

    select person_id, session_id, beating_number, null, null, null, false, null, occurred_at
    from named
    where beating_number > 0
  ),

  viewed as (
    select
      person_id,
      session_id,
      view_number::int as view_number,
      (array_agg(event_id) filter (where opens_view))[1] as event_id,
      (array_agg(item_id) filter (where opens_view))[1] as item_id,
      min(occurred_at) as started_at,
      max(occurred_at) as last_event_at,
      max(occurred_at + coalesce(gap, '0')) as last_sign_at,
      count(occurred_at)::int as event_count,
      sum(gap) as gaps,
      count(beat_at)::int as heartbeat_count,
      max(beat_at) as last_beat_at,
      count(distinct floor(date_part('epoch', beat_at) / date_part('epoch', v_setting.heartbeat))) as beats,
      (array_agg(item_id order by occurred_at, event_id) filter (where item_id is not null))[1] as entry_item_id,
      (array_agg(item_id order by occurred_at desc, event_id desc) filter (where item_id is not null))[1]
        as exit_item_id
    from spread
    group by person_id, session_id, view_number
  ),

  measured as materialized (
    select
      viewed.*,
      -- In a session with heartbeats, a view without heartbeats was left immediately.
      case
        when view_number = 0 then null
        when beats > 0 then (beats - 1) * v_setting.heartbeat + v_setting.minimum_visit
        when bool_or(beats > 0) over whole_session then interval '0'
        else coalesce(gaps, '0')
      end as engaged,
      case
        when view_number = 0 then null
        when bool_or(beats > 0) over whole_session then 'heartbeats'
        when gaps is not null then 'gaps'
        else 'nothing'
      end as engaged_by
    from viewed
    window whole_session as (partition by person_id, session_id)
  ),

  stored_view as (
    insert into track.page_view (
      person_id, event_id, session_id, view_number, item_id, started_at, ended_at, engaged, engaged_by, heartbeat_count
    )
    select
      person_id, event_id, session_id, view_number, item_id, started_at, coalesce(last_beat_at, last_sign_at),
      engaged, engaged_by, heartbeat_count
    from measured
    where view_number > 0
    returning 1
  ),

  stored_session as (
    insert into track.session (
      person_id, session_id, started_at, ended_at, event_count, view_count, engaged, engaged_by, entry_item_id,
      exit_item_id
    )
    select
      person_id,
      session_id,
      min(started_at),
      max(last_event_at),
      sum(event_count),
      max(view_number),
      coalesce(sum(engaged), '0'),
      case
        when bool_or(engaged_by = 'heartbeats') then 'heartbeats'
        when bool_or(engaged_by = 'gaps') then 'gaps'
        else 'nothing'
      end,
      (array_agg(entry_item_id order by view_number) filter (where entry_item_id is not null))[1],
      (array_agg(exit_item_id order by view_number desc) filter (where exit_item_id is not null))[1]
    from measured
    group by person_id, session_id
    returning 1
  )

  select (select count(*) from stored_session), (select count(*) from stored_view)
  into v_result.sessions, v_result.page_views;
  v_result.people := (select count(distinct person_id) from unnest(people) as person_id);
  return v_result;
end;
$$;

comment on function track._compute_sessions(bigint[], timestamptz[], timestamptz[], track.setting) is $$
Deletes the sessions and page views in the given periods of people, and recomputes them from the events.
The periods of a person must not overlap, and must not divide a session. Returns the numbers of rows.
$$;

/*
 * Sessions are separated by pauses longer than the time-out, so that a change affects only sessions within a time-out
 * of it. These are deleted and recomputed from their events; all others are kept. Periods of changes are widened by the
 * time-out, then to the sessions that they overlap, then merged, so that each session is in at most one period.
 */
create or replace function track.refresh_sessions(most_people int default 2000)
returns track.refresh_result
language plpgsql
volatile
-- A definer: it reads the events of all people and writes sessions and page views, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_setting track.setting;
  v_picked bigint[];
  v_people bigint[];
  v_since timestamptz[];
  v_until timestamptz[];
  v_result track.refresh_result;
begin
  perform common.check_count('most_people', refresh_sessions.most_people, 1, 2147483647);

  -- One refresh at a time: two would compute the same sessions.
  perform pg_advisory_xact_lock(hashtext('track.refresh_sessions'));
  select * into v_setting from track.setting;

  -- An array, not a join, because the statistics of a queue are often out of date.
  v_picked := array(
    select distinct person_id
    from track.stale
    order by person_id
    limit refresh_sessions.most_people
  );

  with taken as (
    delete from track.stale
    where stale.person_id = any (v_picked)
    returning stale.person_id, stale.since, stale.until
  ),

  widened as (
    select
      taken.person_id,
      taken.since - v_setting.session_timeout as since,
      taken.until + v_setting.session_timeout as until
    from taken
  ),

  touched as (
    select widened.person_id, tstzrange(widened.since, widened.until, '[]') as period
    from widened

    union all

    -- The index is by the end of the session, and most changes are recent: earlier sessions are not read.
    select widened.person_id, tstzrange(session.started_at, session.ended_at, '[]')
    from widened
    join track.session
      on session.person_id = widened.person_id
      and session.ended_at >= widened.since
      and session.started_at <= widened.until
  ),

  merged as (
    select person_id, unnest(range_agg(period)) as period
    from touched
    group by person_id
  )

  select array_agg(person_id), array_agg(lower(period)), array_agg(upper(period))
  into v_people, v_since, v_until
  from merged;

  if v_people is null then
    return row(0, 0, 0)::track.refresh_result;
  end if;

  v_result := track._compute_sessions(v_people, v_since, v_until, v_setting);
  perform track._enqueue('event', v_people, v_since, v_until);
  return v_result;
end;
$$;

comment on function track.refresh_sessions(int) is $$
Refreshes the sessions, page views and engaged times of at most `most_people` people, and queues them for consumers.
The cost is proportional to the changed periods. The result is the same as that of a computation from scratch, also
after late events and events out of order. Call it until `people` is 0; `track.refresh` also processes the consumers.
Errors: CF001 for fewer than one person.
$$;

grant execute on function track.refresh_sessions(int) to insights_worker;

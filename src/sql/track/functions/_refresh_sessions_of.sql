/*
 * The time of a session is divided among its page views so that each moment counts once. A heartbeat confirms the time
 * before it, back to the previous heartbeat of the session or the opening of its page view, at most one interval. An
 * event is followed by a gap, up to the next event or the time that the next heartbeat confirms. Page views of clients
 * with heartbeats have the time that their heartbeats confirm, those of other clients their gaps.
 */
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
  delete from track.session
  using unnest(people, since, until) as period (person_id, since, until)
  where session.person_id = period.person_id
    and session.ended_at between period.since and period.until;

  delete from track.automatic_period
  using unnest(people, _compute_sessions.since, _compute_sessions.until) as period (person_id, since, until)
  where automatic_period.person_id = period.person_id
    and automatic_period.since >= period.since
    and automatic_period.until <= period.until;
  -- Those of people that were merged into others. A merge deletes none, so that it never waits for a refresh.
  delete from track.automatic_period
  where automatic_period.person_id = any (array(
    select merged.person_id
    from unnest(people) as merged (person_id)
    where not exists (select 1 from track.person where person.person_id = merged.person_id)
  ));

  -- Events of automatic types and sources pass through the steps as sessions of their own, with negative numbers, so
  -- that the events are read once.
  with happened as (
    select
      event.person_id,
      event.occurred_at,
      event.event_id,
      event.item_id,
      event.source_id,
      event.identity_id,
      event_type.opens_view,
      event_type.is_heartbeat,
      event_type.is_automatic or source.is_automatic as is_automatic,
      case
        when event_type.opens_view or event_type.is_heartbeat
          then hashtextextended(event.properties ->> 'viewId', 0)
      end as view_key,
      case
        when not event_type.is_heartbeat then null
        when jsonb_typeof(event.properties -> 'interval') = 'number'
          and (event.properties ->> 'interval')::numeric > 0
          then least((event.properties ->> 'interval')::numeric, 86400)::float8 * interval '1 second'
        else coalesce(source.heartbeat, v_setting.heartbeat)
      end as heartbeat
    from unnest(people, since, until) as period (person_id, since, until)
    join track.event
      on event.person_id = period.person_id
      and event.occurred_at between period.since and period.until
    join track.event_type using (event_type_id)
    join track.source using (source_id)
    -- Person 0 (anonymized events) has no sessions.
    where period.person_id <> 0
  ),

  followed as (
    select
      happened.*,
      lag(occurred_at) over earlier as previous_at,
      max(occurred_at) filter (where is_heartbeat) over earlier as previous_heartbeat_at
    from happened
    window earlier as (
      partition by person_id, is_automatic
      order by occurred_at, event_id
      rows between unbounded preceding and 1 preceding
    )
  ),

  numbered as (
    select
      followed.*,
      case when is_automatic then -1 else 1 end
        * count(*) filter (where previous_at is null or occurred_at - previous_at > v_setting.session_timeout)
        over (partition by person_id, is_automatic order by occurred_at, event_id) as session_number
    from followed
  ),

  placed as (
    select
      numbered.*,
      first_value(event_id) over session_in_order as session_id,
      first_value(occurred_at) over session_in_order
        - case
          when first_value(is_heartbeat) over session_in_order
            then least(v_setting.minimum_visit, v_setting.session_timeout)
          else interval '0'
        end as session_started_at,
      count(*) filter (where opens_view) over session_in_order as view_number,
      max(occurred_at) filter (where opens_view) over session_in_order as view_opened_at,
      max(occurred_at) filter (where not is_heartbeat) over session_in_order as last_action_at,
      count(item_id) over session_in_order as item_number
    from numbered
    window session_in_order as (partition by person_id, session_number order by occurred_at, event_id)
  ),

  -- A heartbeat belongs to the view of its name that was opened before it. One without a name belongs to the last view.
  -- Others continue a view that was not opened in the session: that of their name, or else that of their item.
  keyed as (
    select
      placed.*,
      case when is_heartbeat and view_key is null and view_number = 0 then item_id end as continued_item_id
    from placed
  ),

  named as (
    select
      keyed.*,
      max(view_number) filter (where opens_view) over earlier_of_key as named_number,
      max(occurred_at) filter (where opens_view) over earlier_of_key as named_opened_at,
      max(occurred_at) filter (where is_heartbeat) over earlier_of_key as named_heartbeat_at
    from keyed
    window earlier_of_key as (
      partition by person_id, session_number, view_key, continued_item_id
      order by occurred_at, event_id
      rows between unbounded preceding and 1 preceding
    )
  ),

  targeted as (
    select
      named.*,
      case when is_heartbeat and view_key is not null then coalesce(named_number, 0) else view_number end
        as target_number,
      case when view_key is null then view_opened_at else named_opened_at end as opened_at
    from named
  ),

  confirmed as (
    select
      targeted.*,
      is_heartbeat and target_number = 0 as is_continued,
      is_heartbeat and (named_heartbeat_at is null or named_heartbeat_at < opened_at) as is_first_heartbeat,
      case
        when is_heartbeat
          then greatest(
            occurred_at - case
              when named_heartbeat_at is null or named_heartbeat_at < opened_at then v_setting.minimum_visit
              else heartbeat
            end,
            previous_heartbeat_at,
            opened_at,
            session_started_at
          )
      end as confirmed_since
    from targeted
  ),

  spent as (
    select
      confirmed.*,
      opens_view or is_continued and is_first_heartbeat as is_first_of_view,
      case when is_continued then coalesce(view_key, continued_item_id, 0) end as continued_key,
      -- Null for the last event of a session. The next heartbeat is the later one that confirms the earliest time.
      case
        when lag(occurred_at) over later_in_session is not null
          then greatest(
            least(
              lag(occurred_at) over later_in_session,
              min(confirmed_since) over later_in_session,
              last_action_at + v_setting.longest_gap
            ) - occurred_at,
            interval '0'
          )
      end as gap
    from confirmed
    window later_in_session as (
      partition by person_id, session_number
      order by occurred_at desc, event_id desc
      rows between unbounded preceding and 1 preceding
    )
  ),

  -- The time after a heartbeat of another view than the last one is a gap of the last one: a row for each of the two.
  spread as (
    select
      spent.*,
      unnest(
        case when is_heartbeat and target_number <> view_number then '{t,f}'::boolean[] else '{t}' end
      ) as is_event
    from spent
  ),

  attributed as (
    select
      spread.*,
      case when is_event then target_number else view_number end as attributed_number,
      case when is_event then continued_key end as attributed_key,
      case when not is_event or target_number = view_number then gap end as view_gap
    from spread
  ),

  -- From here on, rows are grouped and not joined, so that the cost is linear regardless of the statistics.
  viewed as (
    select
      person_id,
      session_number,
      attributed_number,
      attributed_key,
      session_id,
      session_started_at,
      (array_agg(event_id) filter (where is_event and is_first_of_view))[1] as event_id,
      min(item_id) filter (where is_event and is_first_of_view) as item_id,
      min(source_id) filter (where is_event and is_first_of_view) as source_id,
      min(identity_id) filter (where is_event and is_first_of_view) as identity_id,
      min(view_key) filter (where is_event and is_first_of_view) as view_key,
      min(coalesce(confirmed_since, occurred_at)) filter (where is_event and is_first_of_view) as started_at,
      max(occurred_at) as last_event_at,
      max(occurred_at + coalesce(view_gap, '0')) as last_sign_at,
      count(*) filter (where is_event) as event_count,
      sum(view_gap) as gaps,
      count(*) filter (where is_event and is_heartbeat) as heartbeat_count,
      max(occurred_at) filter (where is_event and is_heartbeat) as last_heartbeat_at,
      sum(occurred_at - confirmed_since) filter (where is_event) as confirmed,
      min(item_id) filter (where item_number = 1) as entry_item_id,
      max(array[item_number, item_id]) filter (where item_id is not null) as exit_item
    from attributed
    group by person_id, session_number, attributed_number, attributed_key, session_id, session_started_at
  ),

  judged as (
    select
      viewed.*,
      event_id is not null as is_view,
      row_number() over views_in_order as view_number,
      lead(started_at) over views_in_order as next_started_at,
      max(last_event_at) over (partition by person_id, session_number) as session_ended_at,
      -- In a session in which its client sent heartbeats, a view without heartbeats was left before the first one.
      bool_or(heartbeat_count > 0) over (
        partition by person_id, session_number, source_id, identity_id, view_key is not null
      ) as has_heartbeats
    from viewed
    window views_in_order as (
      partition by person_id, session_number
      order by event_id is null, started_at, event_id
    )
  ),

  measured as materialized (
    select
      judged.*,
      greatest(started_at, coalesce(last_heartbeat_at, last_sign_at)) as view_ended_at,
      case
        when is_view then coalesce(case when has_heartbeats then confirmed else gaps end, '0')
      end as engaged,
      case
        when not is_view then null
        when has_heartbeats then 'heartbeats'
        when gaps is not null then 'gaps'
        else 'nothing'
      end as engaged_by
    from judged
  ),

  -- As in the columns `view_…` of the session: null where the value is the usual one.
  encoded as (
    select
      measured.*,
      (extract(epoch from started_at - session_started_at) * 1000000)::bigint as view_start,
      case
        when is_view and view_ended_at <> coalesce(next_started_at, session_ended_at)
          then (extract(epoch from view_ended_at - session_started_at) * 1000000)::bigint
      end as view_end,
      case
        when engaged <> view_ended_at - started_at then (extract(epoch from engaged) * 1000000)::bigint
      end as view_engaged,
      case engaged_by when 'heartbeats' then heartbeat_count::int when 'nothing' then -1 end as view_heartbeats,
      case when attributed_key is not null then true end as view_continued
    from measured
  ),

  stored_session as (
    insert into track.session (
      person_id, session_id, started_at, ended_at, event_count, view_count, engaged, engaged_by, entry_item_id,
      exit_item_id, view_event_ids, view_item_ids, view_starts, view_ends, view_engaged, view_heartbeats,
      view_continued, view_keys
    )
    select
      person_id,
      session_id,
      min(session_started_at),
      max(last_event_at),
      sum(event_count),
      count(*) filter (where is_view and attributed_key is null),
      coalesce(sum(engaged), '0'),
      case
        when bool_or(engaged_by = 'heartbeats') then 'heartbeats'
        when bool_or(engaged_by = 'gaps') then 'gaps'
        else 'nothing'
      end,
      min(entry_item_id),
      (max(exit_item))[2],
      array_agg(event_id order by view_number) filter (where is_view),
      case
        when count(item_id) filter (where is_view) > 0
          then array_agg(item_id order by view_number) filter (where is_view)
      end,
      array_agg(view_start order by view_number) filter (where is_view),
      case when count(view_end) > 0 then array_agg(view_end order by view_number) filter (where is_view) end,
      case when count(view_engaged) > 0 then array_agg(view_engaged order by view_number) filter (where is_view) end,
      case
        when count(view_heartbeats) > 0 then array_agg(view_heartbeats order by view_number) filter (where is_view)
      end,
      case
        when count(view_continued) > 0 then array_agg(view_continued order by view_number) filter (where is_view)
      end,
      case when count(view_key) > 0 then array_agg(view_key order by view_number) filter (where is_view) end
    from encoded
    where session_number > 0
    group by person_id, session_number, session_id
    returning 1
  ),

  stored_period as (
    insert into track.automatic_period as stored (person_id, since, until)
    select person_id, min(session_started_at), max(last_event_at)
    from measured
    where session_number < 0
    group by person_id
    on conflict (person_id) do update
    set since = least(stored.since, excluded.since), until = greatest(stored.until, excluded.until)
  )

  select
    (select count(*) from stored_session),
    (select count(*) from measured where is_view and session_number > 0)
  into v_result.sessions, v_result.page_views;
  v_result.people := (select count(distinct person_id) from unnest(people) as person_id);
  return v_result;
end;
$$;

comment on function track._compute_sessions(bigint[], timestamptz[], timestamptz[], track.setting) is $$
Deletes the sessions and page views in the given periods of people, and recomputes them from the events.
The periods of a person must not overlap, and must not divide a session. Returns the numbers of rows. Continued page
views have the item of their first heartbeat: see `track._continue_views`.
$$;

/* A late event, a merge or a deletion can change the view that later sessions continue: the earlier one of its name. */
create or replace function track._continue_views(
  inout people bigint[],
  inout since timestamptz[],
  inout until timestamptz[],
  setting track.setting
)
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_setting constant track.setting := setting;
begin
  if not exists (
    select 1
    from track.session
    where session.person_id = any (people)
      and session.view_continued is not null
  ) then
    return;
  end if;

  with continued as materialized (
    select distinct
      page_view.person_id, page_view.session_id, page_view.view_number, page_view.event_id, page_view.item_id,
      page_view.view_key, page_view.started_at, page_view.ended_at, session.ended_at as session_ended_at
    from unnest(people, since, until) as period (person_id, since, until)
    join track.session
      on session.person_id = period.person_id
      and session.view_continued is not null
      and session.ended_at >= period.since
      and session.started_at <= period.until + v_setting.longest_view
    join track.page_view
      on page_view.person_id = session.person_id
      and page_view.session_id = session.session_id
      and page_view.is_continued
      and page_view.started_at >= period.since
      and page_view.started_at <= period.until + v_setting.longest_view
    where page_view.view_key is not null
  ),

  searched as (
    select
      person_id,
      unnest(range_agg(tstzrange(started_at - v_setting.longest_view, session_ended_at, '[]'))) as period
    from continued
    group by person_id
  ),

  -- The view that each one continues is the last opened one before it, in an order by the times at which an opened
  -- view counts for it.
  ordered as (
    select
      person_id, view_key, session_id, view_number, event_id, item_id, started_at, ended_at, session_ended_at as at,
      true as is_continued
    from continued

    union all

    select
      opened.person_id, opened.view_key, opened.session_id, opened.view_number, opened.event_id, opened.item_id,
      opened.started_at, opened.ended_at, opened.started_at, false
    from searched
    join track.session
      on session.person_id = searched.person_id
      and session.view_keys is not null
      and session.ended_at >= lower(searched.period)
      and session.started_at <= upper(searched.period)
    join track.page_view as opened
      on opened.person_id = session.person_id
      and opened.session_id = session.session_id
      and not opened.is_continued
    where opened.view_key is not null
  ),

  numbered as (
    select
      ordered.*,
      count(*) filter (where not is_continued) over (
        partition by person_id, view_key
        order by at, is_continued, event_id
        rows unbounded preceding
      ) as opened_number
    from ordered
  ),

  found as (
    select
      numbered.*,
      first_value(started_at) over opened as opened_at,
      first_value(item_id) over opened as opened_item_id,
      opened_number > 0 as is_opened
    from numbered
    window opened as (partition by person_id, view_key, opened_number order by is_continued)
  ),

  resolved as (
    select
      found.*,
      coalesce(
        case when is_opened and opened_at >= started_at - v_setting.longest_view then opened_item_id end,
        (
          select event.item_id
          from track.event
          where event.person_id = found.person_id
            and event.occurred_at between found.started_at and found.ended_at
            and event.event_id = found.event_id
        )
      ) as new_item_id
    from found
    where found.is_continued
  ),

  changed as materialized (
    select person_id, session_id, view_number, started_at, ended_at, new_item_id
    from resolved
    where item_id is distinct from new_item_id
  ),

  rewritten as (
    select
      page_view.person_id,
      page_view.session_id,
      array_agg(
        case when changed.view_number is null then page_view.item_id else changed.new_item_id end
        order by page_view.view_number
      ) as item_ids
    from (select distinct person_id, session_id from changed) as affected
    join track.page_view
      on page_view.person_id = affected.person_id
      and page_view.session_id = affected.session_id
    left join changed
      on changed.person_id = page_view.person_id
      and changed.session_id = page_view.session_id
      and changed.view_number = page_view.view_number
    group by page_view.person_id, page_view.session_id
  ),

  stored as (
    update track.session
    set view_item_ids = case when array_remove(rewritten.item_ids, null) <> '{}' then rewritten.item_ids end
    from rewritten
    where session.person_id = rewritten.person_id
      and session.session_id = rewritten.session_id
  )

  select
    _continue_views.people || array_agg(changed.person_id),
    _continue_views.since || array_agg(changed.started_at),
    _continue_views.until || array_agg(changed.ended_at)
  into people, since, until
  from changed;
end;
$$;

comment on function track._continue_views(bigint[], timestamptz[], timestamptz[], track.setting) is $$
Sets the items of continued page views after a change of the sessions in the given periods of people.
Each has the item of the last page view of the same `viewId` that was opened before it, at most
`track.setting.longest_view`, or later in the same session (the clocks of messages may differ), or else of its first
heartbeat. Reads only the sessions within this time after a period, and before the continued page views in them.
Returns the periods, with those of the changed page views.
$$;

/*
 * Sessions are separated by pauses longer than the time-out, so that a change affects only sessions within a time-out
 * of it. These are deleted and recomputed from their events; all others are kept. Periods of changes are widened by the
 * time-out, then to the sessions that they overlap, then merged, so that each session is in at most one period.
 */
create or replace function track._refresh_sessions_of(people bigint[])
returns track.refresh_result
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_setting track.setting;
  v_picked constant bigint[] := people;
  v_people bigint[];
  v_since timestamptz[];
  v_until timestamptz[];
  v_day_people bigint[];
  v_first_days date[];
  v_end_days date[];
  v_activity track.activity[];
  v_values track.value_activity[];
  v_has_values boolean;
  v_counted bigint[];
  v_first_months date[];
  v_end_months date[];
  v_transitions track.transition[];
  v_result track.refresh_result;
begin
  v_has_values := exists (select from track.declared_property as declared where declared.is_queued);
  select * into v_setting from track.setting;
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

  perform track._convert_page_views(v_picked);

  -- The whole days that may change, also those of continued page views.
  select array_agg(changed.person_id), array_agg(changed.first_day), array_agg(changed.end_day)
  into v_day_people, v_first_days, v_end_days
  from (
    select
      period.person_id,
      min((period.since at time zone 'UTC')::date) as first_day,
      max((
        period.until + case when continued.person_id is null then interval '0' else v_setting.longest_view end
      ) at time zone 'UTC')::date + 1 as end_day
    from unnest(v_people, v_since, v_until) as period (person_id, since, until)
    left join (
      select session.person_id, session.started_at, session.ended_at
      from track.session
      where session.person_id = any (v_people)
        and session.view_continued is not null
    ) as continued
      on continued.person_id = period.person_id
      and continued.ended_at >= period.since
      and continued.started_at <= period.until + v_setting.longest_view
    group by period.person_id
  ) as changed;
  v_activity := array(select track.stored_activity(v_day_people, v_first_days, v_end_days));
  if v_has_values then
    v_values := array(select track.stored_values(v_day_people, v_first_days, v_end_days));
  end if;
  -- Whole months, since a transition of a person in a month counts her once.
  -- Computed once: in a condition, it would be computed for each person.
  v_counted := track._counted_among(v_day_people);
  select
    array_agg(changed.person_id),
    array_agg(date_trunc('month', changed.first_day::timestamp)::date),
    array_agg((date_trunc('month', (changed.end_day - 1)::timestamp) + interval '1 month')::date)
  into v_counted, v_first_months, v_end_months
  from unnest(v_day_people, v_first_days, v_end_days) as changed (person_id, first_day, end_day)
  where changed.person_id = any (v_counted);
  v_transitions := array(select track._transitions(v_counted, v_first_months, v_end_months));

  v_result := track._compute_sessions(v_people, v_since, v_until, v_setting);
  select continued.people, continued.since, continued.until
  into v_people, v_since, v_until
  from track._continue_views(v_people, v_since, v_until, v_setting) as continued;
  perform track._refresh_steps(v_day_people, v_first_days, v_end_days);
  perform track._refresh_presence(
    v_activity, array(select track.stored_activity(v_day_people, v_first_days, v_end_days))
  );
  perform track._change_transitions(
    v_transitions, array(select track._transitions(v_counted, v_first_months, v_end_months))
  );
  if v_has_values then
    perform track._refresh_values(v_values, v_day_people, v_first_days, v_end_days);
  end if;
  perform track._enqueue('event', v_people, v_since, v_until);
  return v_result;
end;
$$;

comment on function track._refresh_sessions_of(bigint[]) is $$
Refreshes the data that is derived from the events of people, in the periods that are queued for them in `track.stale`.
The caller has locked the refresh.
$$;

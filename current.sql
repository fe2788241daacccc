-- Changes of structure since the last release: see migrations/README.md.

drop function if exists track.stored_activity(bigint[], date[], date[]);
drop function if exists track.event_activity(bigint[], date[], date[], int);
drop function if exists track.activity_of(bigint[], date, date);

-- Exact figures are returned by the functions that compute them, which admins and workers may call.
drop function if exists analytics._active_people_exact(
  text, timestamptz, timestamptz, text, int[], text, text, text, int
);
drop function if exists analytics._activity_by_minute_exact(int);
drop function if exists analytics._cohorts_exact();
drop function if exists analytics._course_outlook_exact(text, timestamptz);
drop function if exists analytics._engagement_levels_exact(text, text, text, text, int);
drop function if exists analytics._feature_usage_exact(
  text, text, timestamptz, timestamptz, text, int, text, int, boolean, int
);
drop function if exists analytics._funnel_correlation_exact(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, int
);
drop function if exists analytics._funnel_exact(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, text, int
);
drop function if exists analytics._funnel_times_exact(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, int, int, int, text, text, text, text, int
);
drop function if exists analytics._funnel_trend_exact(
  jsonb, text, timestamptz, timestamptz, text, text, interval, jsonb, int, int, text, text, text, text, int
);
drop function if exists analytics._hour_of_week_exact(text, timestamptz, timestamptz, text, text, text, text, int);
drop function if exists analytics._lifecycle_exact(text, text, timestamptz, timestamptz, text, text, text, text, int);
drop function if exists analytics._paths_exact(
  timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int, text, int
);
drop function if exists analytics._popular_courses_exact(
  timestamptz, timestamptz, text, int, text, float8, float8, text, int
);
drop function if exists analytics._popular_items_exact(
  text, timestamptz, timestamptz, interval, int, text, text, text, int
);
drop function if exists analytics._retention_exact(
  text, text, text, timestamptz, timestamptz, text, int, boolean, boolean, int[], text, text, text, text, text, int
);
drop function if exists analytics._segments_exact(int);
drop function if exists analytics._sequences_exact(
  timestamptz, timestamptz, text, int, text[], text[], text, text, int, text, int
);
drop function if exists analytics._session_distribution_exact(text, timestamptz, timestamptz, text, text, int);
drop function if exists analytics._session_items_exact(text, timestamptz, timestamptz, text, int, text, int);
drop function if exists analytics._session_trend_exact(text, timestamptz, timestamptz, text, text, text, int);
drop function if exists analytics._stickiness_exact(
  text, text, timestamptz, timestamptz, text, boolean, text, text, text, int
);
drop function if exists analytics._task_deadlines_exact(text, text, text, int);
drop function if exists analytics._transitions_exact(
  timestamptz, timestamptz, text, text[], text[], int, text, text, int
);
drop function if exists analytics._trending_items_exact(
  text, timestamptz, timestamptz, text, interval, int, text, float8, text, int
);
drop function if exists monitor._calibration_exact(timestamptz, timestamptz, text);
drop function if exists monitor._position_bias_exact(timestamptz, timestamptz, text);
drop function if exists monitor._relevance_exact(timestamptz, timestamptz, text, text, boolean);
drop function if exists monitor._score_drift_exact(timestamptz, timestamptz, text, interval);
drop function if exists recommend._serving_report_exact(timestamptz, timestamptz, text, text);

-- Page views with the times of their sessions. The second view is used while page views of an earlier version are left.
create or replace view track.page_view_of_sessions
with (security_invoker = true)
as
select
  session.person_id,
  viewed.event_id,
  session.session_id,
  viewed.view_number::int as view_number,
  viewed.item_id,
  session.started_at + viewed.start * interval '1 microsecond' as started_at,
  coalesce(
    session.started_at + coalesce(viewed.ended, viewed.next_start) * interval '1 microsecond',
    session.ended_at
  ) as ended_at,
  coalesce(
    viewed.engaged * interval '1 microsecond',
    (coalesce(viewed.ended, viewed.next_start) - viewed.start) * interval '1 microsecond',
    session.ended_at - (session.started_at + viewed.start * interval '1 microsecond')
  ) as engaged,
  case
    when viewed.heartbeats is null then 'gaps'
    when viewed.heartbeats < 0 then 'nothing'
    else 'heartbeats'
  end as engaged_by,
  greatest(viewed.heartbeats, 0) as heartbeat_count,
  coalesce(viewed.is_continued, false) as is_continued,
  viewed.view_key,
  session.started_at as session_started_at,
  session.ended_at as session_ended_at
from track.session
cross join lateral unnest(
  session.view_event_ids, session.view_item_ids, session.view_starts, session.view_starts[2:], session.view_ends,
  session.view_engaged, session.view_heartbeats, session.view_continued, session.view_keys
) with ordinality as viewed (
  event_id, item_id, start, next_start, ended, engaged, heartbeats, is_continued, view_key, view_number
);

comment on view track.page_view_of_sessions is '@behavior -*';
grant select on track.page_view_of_sessions to insights_reader, insights_learner, insights_admin;

do $$
begin
  execute 'create or replace view track.page_view with (security_invoker = true) as '
    || case
      when to_regclass('track.stored_page_view') is null then pg_get_viewdef('track.page_view_of_sessions'::regclass)
      else '
        select
          person_id, event_id, session_id, view_number, item_id, started_at, ended_at, engaged, engaged_by,
          heartbeat_count, is_continued, view_key, session_started_at, session_ended_at
        from track.page_view_of_sessions
        union all
        select
          stored.person_id, stored.event_id, stored.session_id, stored.view_number, stored.item_id, stored.started_at,
          stored.ended_at, stored.engaged, stored.engaged_by, stored.heartbeat_count, stored.is_continued,
          stored.view_key, session.started_at, session.ended_at
        from track.stored_page_view as stored
        join track.session using (person_id, session_id)'
    end;
  if to_regclass('track.stored_page_view') is null then
    drop view track.page_view_of_sessions;
  end if;
end;
$$;

comment on column track.page_view.session_started_at is $$
@behavior -*
Time of the first event of the session. A condition on it, as on `session_ended_at`, limits the sessions that are read.
$$;
comment on column track.page_view.session_ended_at is $$
@behavior -*
Time of the last event of the session.
$$;

-- Pages of the learners of a course.
drop function if exists analytics._course_learners(bigint, timestamptz, timestamptz);
drop function if exists analytics.course_learners(text, timestamptz, timestamptz);

-- The latest disclosures.
create index if not exists disclosure_read on privacy.disclosure (read_at);

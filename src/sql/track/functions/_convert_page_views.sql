/*
 * Versions before this one stored page views in a table. The migration keeps its rows in track.stored_page_view, which
 * the view track.page_view reads too, until all of them are in the sessions: see src/database/page-views.ts.
 */
create or replace function track._convert_page_views(people bigint[])
returns bigint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  -- Null when the migration is complete.
  v_stored constant regclass := to_regclass('track.stored_page_view');
  v_converted bigint;
begin
  if v_stored is null then
    return 0;
  end if;

  -- A refresh deletes and inserts the same sessions.
  perform pg_advisory_xact_lock(hashtext('track.refresh'));
  execute format($statement$
    with taken as (
      delete from %s as stored
      where stored.person_id = any ($1)
      returning stored.*
    ),

    placed as (
      select
        taken.*,
        session.started_at as session_started_at,
        coalesce(
          lead(taken.started_at) over (
            partition by taken.person_id, taken.session_id
            order by taken.view_number
          ),
          session.ended_at
        ) as usual_end
      from taken
      join track.session using (person_id, session_id)
    ),

    encoded as (
      select
        placed.*,
        (extract(epoch from started_at - session_started_at) * 1000000)::bigint as view_start,
        case
          when ended_at <> usual_end then (extract(epoch from ended_at - session_started_at) * 1000000)::bigint
        end as view_end,
        case
          when engaged <> ended_at - started_at then (extract(epoch from engaged) * 1000000)::bigint
        end as view_engaged,
        case engaged_by when 'heartbeats' then heartbeat_count when 'nothing' then -1 end as view_heartbeats,
        case when is_continued then true end as view_continued
      from placed
    ),

    listed as (
      select
        person_id,
        session_id,
        array_agg(event_id order by view_number) as event_ids,
        case when count(item_id) > 0 then array_agg(item_id order by view_number) end as item_ids,
        array_agg(view_start order by view_number) as starts,
        case when count(view_end) > 0 then array_agg(view_end order by view_number) end as ends,
        case when count(view_engaged) > 0 then array_agg(view_engaged order by view_number) end as engaged,
        case when count(view_heartbeats) > 0 then array_agg(view_heartbeats order by view_number) end as heartbeats,
        case when count(view_continued) > 0 then array_agg(view_continued order by view_number) end as continued,
        case when count(view_key) > 0 then array_agg(view_key order by view_number) end as view_keys
      from encoded
      group by person_id, session_id
    ),

    stored as (
      update track.session
      set
        view_event_ids = listed.event_ids,
        view_item_ids = listed.item_ids,
        view_starts = listed.starts,
        view_ends = listed.ends,
        view_engaged = listed.engaged,
        view_heartbeats = listed.heartbeats,
        view_continued = listed.continued,
        view_keys = listed.view_keys
      from listed
      where session.person_id = listed.person_id
        and session.session_id = listed.session_id
    ),

    -- Their transitions are not in the rollup.
    queued as (
      insert into track.stale_transition_month (month)
      select distinct date_trunc('month', placed.session_started_at at time zone 'UTC')::date
      from placed
      on conflict do nothing
    )

    select count(*)
    from taken
  $statement$, v_stored)
  into v_converted
  using people;
  return v_converted;
end;
$$;

comment on function track._convert_page_views(bigint[]) is $$
Moves the page views of people from `track.stored_page_view`, a table of earlier versions, into their sessions.
Returns their number; 0 when there is no such table. `insights migrate` calls it until all are moved, and a refresh for
the people that it refreshes.
$$;

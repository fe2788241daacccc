create or replace function track._move_events(
  identity_ids bigint[],
  new_identity_ids bigint[],
  old_people bigint[],
  new_people bigint[],
  since timestamptz[],
  until timestamptz[]
)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_periods tstzmultirange;
  v_period tstzrange;
begin
  perform track._refuse_old_names();
  -- Each event of a person is in a session, in the period of the automatic events, or in a period that is queued for
  -- the refresh. For most browsers these are a few days; a new one has none. The periods are rounded to months. The
  -- months between them are not read, since they contain no event. Infinite periods are left out: `track.rebuild`
  -- queues them, and adds no event.
  select range_agg(tstzrange(
    date_trunc('month', greatest(period.since, span.since) at time zone 'UTC') at time zone 'UTC',
    (date_trunc('month', least(period.until, span.until) at time zone 'UTC') + interval '1 month') at time zone 'UTC'
  ))
  into v_periods
  from (
    select distinct entry.person_id, entry.since, entry.until
    from unnest(_move_events.old_people, _move_events.since, _move_events.until) as entry (person_id, since, until)
  ) as span
  join (
    select stale.person_id, stale.since, stale.until
    from track.stale
    where stale.person_id = any (_move_events.old_people)
      and isfinite(stale.since)
      and isfinite(stale.until)
    union all
    select session.person_id, session.started_at, session.ended_at
    from track.session
    where session.person_id = any (_move_events.old_people)
    union all
    select automatic_period.person_id, automatic_period.since, automatic_period.until
    from track.automatic_period
    where automatic_period.person_id = any (_move_events.old_people)
  ) as period
    on period.person_id = span.person_id
    and period.since < span.until
    and period.until >= span.since;

  for v_period in select unnest(v_periods)
  loop
    -- Rows are moved by delete and insert, because the person is the distribution column. The statement is planned for
    -- each execution, so that only the partitions of these months are planned for, locked and read.
    execute $statement$
      with deleted as (
        delete from track.event
        using unnest($1, $2, $3, $4, $5, $6)
          as moved (identity_id, new_identity_id, old_person_id, new_person_id, since, until)
        where event.person_id = moved.old_person_id
          and event.identity_id = moved.identity_id
          and event.occurred_at >= moved.since
          and event.occurred_at < moved.until
          and event.occurred_at >= $7
          and event.occurred_at < $8
        returning moved.old_person_id, moved.new_person_id, moved.new_identity_id, event.*
      ),

      placed as (
        insert into track.event (
          person_id, occurred_at, event_id, identity_id, event_type_id, item_id, received_at, source_id, properties,
          client_at, named_event_type_id, named_item_id
        )
        -- By the names of today: a change of names may not be applied to the event yet, and then does not find it.
        select
          deleted.new_person_id, deleted.occurred_at, deleted.event_id, deleted.new_identity_id,
          coalesce(event_type.merged_event_type_id, event_type.event_type_id),
          coalesce(item.merged_item_id, item.item_id),
          deleted.received_at, deleted.source_id, deleted.properties, deleted.client_at,
          case when event_type.merged_event_type_id is not null then event_type.event_type_id end,
          case when item.merged_item_id is not null then item.item_id end
        from deleted
        join track.event_type
          on event_type.event_type_id = coalesce(deleted.named_event_type_id, deleted.event_type_id)
        left join track.item on item.item_id = coalesce(deleted.named_item_id, deleted.item_id)
      )

      insert into track.stale (person_id, since, until)
      select old_person_id, min(occurred_at), max(occurred_at)
      from deleted
      group by old_person_id, date_trunc('month', occurred_at, 'UTC')
      union all
      select new_person_id, min(occurred_at), max(occurred_at)
      from deleted
      group by new_person_id, date_trunc('month', occurred_at, 'UTC')
    $statement$
    using
      _move_events.identity_ids, _move_events.new_identity_ids, _move_events.old_people, _move_events.new_people,
      _move_events.since, _move_events.until, lower(v_period), upper(v_period);
  end loop;
end;
$$;

comment on function track._move_events(bigint[], bigint[], bigint[], bigint[], timestamptz[], timestamptz[]) is $$
Moves the events of identities in the given periods (`until` exclusive) to other identities and people.
The lists have the same length; a new identity may be the old one. Both people of each event are queued for the refresh
of sessions. Only the months are read that contain events of the old people.
$$;

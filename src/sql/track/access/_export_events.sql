create or replace function track._export_events(subject privacy.subject)
returns setof privacy.exported
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_rows jsonb;
begin
  v_rows := (
    select jsonb_agg(
      jsonb_build_object(
        'occurred_at', event.occurred_at,
        'event', event_type.name,
        'named_event', named_event.name,
        'item', item.external_id,
        'item_title', item.title,
        'named_item', named_item.external_id,
        'properties', event.properties,
        'client_at', event.client_at,
        'received_at', event.received_at,
        'source', source.name,
        'identity', subject.names[array_position(subject.identity_ids, event.identity_id)],
        'event_id', event.event_id
      )
      order by event.occurred_at, event.event_id
    )
    from track.event
    join track.event_type using (event_type_id)
    join track.source using (source_id)
    left join track.item using (item_id)
    left join track.event_type as named_event on named_event.event_type_id = event.named_event_type_id
    left join track.item as named_item on named_item.item_id = event.named_item_id
    where event.person_id = subject.person_id
  );
  return next privacy.exported_rows('track.event', v_rows);
  -- Durations as text of this session: a worker of a cluster has other settings.
  v_rows := (
    with session as materialized (
      select own.*
      from track.session as own
      where own.person_id = subject.person_id
    ),

    page_view as materialized (
      select own.*
      from track.page_view as own
      where own.person_id = subject.person_id
    )

    select jsonb_agg(
      jsonb_build_object(
        'session_id', session.session_id,
        'started_at', session.started_at,
        'ended_at', session.ended_at,
        'event_count', session.event_count,
        'view_count', session.view_count,
        'engaged', session.engaged,
        'engaged_by', session.engaged_by,
        'entry_item', entry_item.external_id,
        'exit_item', exit_item.external_id,
        'views', viewed.views
      )
      order by session.started_at, session.session_id
    )
    from session
    left join track.item as entry_item on entry_item.item_id = session.entry_item_id
    left join track.item as exit_item on exit_item.item_id = session.exit_item_id
    left join (
      select
        page_view.session_id,
        jsonb_agg(
          jsonb_build_object(
            'event_id', page_view.event_id,
            'item', item.external_id,
            'item_title', item.title,
            'started_at', page_view.started_at,
            'ended_at', page_view.ended_at,
            'engaged', page_view.engaged,
            'engaged_by', page_view.engaged_by,
            'heartbeat_count', page_view.heartbeat_count,
            'is_continued', page_view.is_continued,
            'view_key', page_view.view_key
          )
          order by page_view.view_number
        ) as views
      from page_view
      left join track.item using (item_id)
      group by page_view.session_id
    ) as viewed using (session_id)
  );
  return next privacy.exported_rows('track.session', v_rows);
  v_rows := (
    select jsonb_agg(jsonb_build_object('since', period.since, 'until', period.until))
    from track.automatic_period as period
    where period.person_id = subject.person_id
  );
  return next privacy.exported_rows('track.automatic_period', v_rows);
  v_rows := (
    select jsonb_agg(jsonb_build_object('since', stale.since, 'until', stale.until) order by stale.since, stale.until)
    from track.stale
    where stale.person_id = subject.person_id
  );
  return next privacy.exported_rows('track.stale', v_rows);
  v_rows := (
    select jsonb_agg(
      jsonb_build_object('consumer', changed.consumer, 'since', changed.since, 'until', changed.until)
      order by changed.consumer, changed.since, changed.until
    )
    from track.changed
    where changed.person_id = subject.person_id
  );
  return next privacy.exported_rows('track.changed', v_rows);
  return next privacy.exported_rows(
    'track.stale_property',
    (
      select jsonb_agg(
        jsonb_build_object('event', event_type.name, 'property', declared.property)
        order by event_type.name, declared.property
      )
      from track.stale_property
      join track.declared_property as declared using (property_id)
      join track.event_type using (event_type_id)
      where stale_property.person_id = subject.person_id
    )
  );
end;
$$;

comment on function track._export_events(privacy.subject) is $$
Returns the events and sessions of a person, and what is queued for her, for `track.export`.
$$;

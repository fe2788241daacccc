create or replace function track._refuse_merged_event(event_type track.event_type)
returns void
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  if (event_type).name in (
    'Page Viewed', 'Screen Viewed', 'Heartbeat', 'Segment Consent Preference Updated', 'Other Event'
  ) then
    perform common.refuse(
      'CF001',
      format('the event "%s" cannot get another name', (event_type).name),
      'The collection itself uses this name. Other events can be merged into Page Viewed, Screen Viewed and Heartbeat.'
    );
  end if;
  if (event_type).merged_event_type_id is not null then
    perform common.refuse(
      'CF001',
      format('event "%s" was merged into another one', left((event_type).name, 100)),
      format(
        'Merge that one: "%s". Or undo the merge first, by track.unmerge_events.',
        (
          select left(known.name, 100)
          from track.event_type as known
          where known.event_type_id = (event_type).merged_event_type_id
        )
      )
    );
  end if;
end;
$$;

comment on function track._refuse_merged_event(track.event_type) is $$
Raises CF001 for an event that cannot be merged: its name is used by the collection, or it is merged already.
$$;

create or replace function track._point_event_type(event_type_id int, target_id int)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  update track.event_type
  set target_event_type_id = _point_event_type.target_id
  where event_type.event_type_id = _point_event_type.event_type_id;

  with recursive
  target as (
    select coalesce(
      (
        select coalesce(event_type.merged_event_type_id, event_type.event_type_id)
        from track.event_type
        where event_type.event_type_id = _point_event_type.target_id
      ),
      _point_event_type.event_type_id
    ) as event_type_id
  ),

  member as (
    select _point_event_type.event_type_id

    union

    select event_type.event_type_id
    from member
    join track.event_type on event_type.target_event_type_id = member.event_type_id
  )

  update track.event_type
  set merged_event_type_id = nullif(target.event_type_id, event_type.event_type_id)
  from member
  cross join target
  where event_type.event_type_id = member.event_type_id;
  perform track._copy_declarations();
  perform track._queue_months();
end;
$$;

comment on function track._point_event_type(int, int) is $$
Makes an event type, with the names that were merged into it, a name of a target; null: of itself again.
The caller has called `track._begin_naming`, and refused cycles.
$$;

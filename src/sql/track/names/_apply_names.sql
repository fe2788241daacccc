create or replace function track._apply_names(most_events bigint, is_alone boolean default true)
returns bigint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
declare
  v_month date;
  v_found record;
  v_people bigint[] := '{}';
  v_times timestamptz[] := '{}';
  v_events uuid[] := '{}';
  v_types int[] := '{}';
  v_items bigint[] := '{}';
  v_identities bigint[] := '{}';
begin
  perform pg_advisory_xact_lock(hashtext('track.name'));
  while cardinality(v_events) < _apply_names.most_events loop
    select max(renamed_month.month) into v_month from track.renamed_month;
    exit when v_month is null;

    -- Planned for each execution, so that one partition is read.
    execute $statement$
      with named as (
        select
          event.person_id, event.occurred_at, event.event_id, event.identity_id, event.event_type_id, event.item_id,
          coalesce(event.named_event_type_id, event.event_type_id) as named_event_type_id,
          coalesce(event.named_item_id, event.item_id) as named_item_id
        from track.event
        where event.occurred_at >= $1
          and event.occurred_at < $2
          and (
            event.named_event_type_id is not null
            or event.named_item_id is not null
            or event.event_type_id = any ($3)
            or event.item_id = any ($4)
          )
      ),

      wrong as (
        select named.*
        from named
        join track.event_type on event_type.event_type_id = named.named_event_type_id
        left join track.item on item.item_id = named.named_item_id
        where named.event_type_id <> coalesce(event_type.merged_event_type_id, event_type.event_type_id)
          or named.item_id <> coalesce(item.merged_item_id, item.item_id)
        limit $5
      )

      select
        coalesce(array_agg(wrong.person_id), '{}') as people,
        coalesce(array_agg(wrong.occurred_at), '{}') as times,
        coalesce(array_agg(wrong.event_id), '{}') as events,
        coalesce(array_agg(wrong.named_event_type_id), '{}') as types,
        coalesce(array_agg(wrong.named_item_id), '{}') as items,
        coalesce(array_agg(distinct wrong.identity_id), '{}') as identities
      from wrong
    $statement$
    into v_found
    using
      v_month::timestamptz, (v_month + interval '1 month')::timestamptz,
      array(select event_type.event_type_id from track.event_type where event_type.merged_event_type_id is not null),
      array(select item.item_id from track.item where item.merged_item_id is not null),
      _apply_names.most_events - cardinality(v_events);
    v_people := v_people || v_found.people;
    v_times := v_times || v_found.times;
    v_events := v_events || v_found.events;
    v_types := v_types || v_found.types;
    v_items := v_items || v_found.items;
    v_identities := v_identities || v_found.identities;
    if cardinality(v_events) < _apply_names.most_events then
      delete from track.renamed_month where renamed_month.month = v_month;
    end if;
  end loop;
  if v_events = '{}' then
    return 0;
  end if;

  -- Others may move events to other people meanwhile, and then give them types and items by the new names. Their
  -- identities are locked once and in order, as in track.ingest, because rows of events would be locked in any order.
  if not _apply_names.is_alone then
    perform identity.identity_id
    from track.identity
    where identity.identity_id = any (v_identities)
    order by identity.identity_id
    for key share;
  end if;

  execute $statement$
    with changed as (
      update track.event
      set
        event_type_id = coalesce(event_type.merged_event_type_id, event_type.event_type_id),
        item_id = coalesce(item.merged_item_id, item.item_id),
        named_event_type_id = case when event_type.merged_event_type_id is not null then event_type.event_type_id end,
        named_item_id = case when item.merged_item_id is not null then item.item_id end
      from unnest($1, $2, $3, $4, $5)
        as wrong (person_id, occurred_at, event_id, named_event_type_id, named_item_id)
      join track.event_type on event_type.event_type_id = wrong.named_event_type_id
      left join track.item on item.item_id = wrong.named_item_id
      where event.person_id = wrong.person_id
        and event.occurred_at = wrong.occurred_at
        and event.event_id = wrong.event_id
        and event.occurred_at >= $6
        and event.occurred_at <= $7
      returning event.person_id, event.occurred_at
    )

    insert into track.stale (person_id, since, until)
    select changed.person_id, min(changed.occurred_at), max(changed.occurred_at)
    from changed
    group by changed.person_id, date_trunc('month', changed.occurred_at, 'UTC')
  $statement$
  using
    v_people, v_times, v_events, v_types, v_items,
    (select min(occurred_at) from unnest(v_times) as occurred_at),
    (select max(occurred_at) from unnest(v_times) as occurred_at);
  return cardinality(v_events);
end;
$$;

comment on function track._apply_names(bigint, boolean) is $$
Gives at most `most_events` stored events the types and items of their names, and queues their people for the refresh.
Returns the number of events. 0: all events have them, and `track.renamed_month` is empty. It reads the months that are
queued there, the latest first. `is_alone`: the caller has locked `track.event` against writers.
$$;

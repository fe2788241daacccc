create or replace function track._apply_names(most_events bigint)
returns bigint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
declare
  v_month date;
  v_changed bigint;
  v_total bigint := 0;
begin
  perform pg_advisory_xact_lock(hashtext('track.name'));
  while v_total < _apply_names.most_events loop
    select max(renamed_month.month) into v_month from track.renamed_month;
    exit when v_month is null;

    -- Without a lock of the table, because the functions that store or move events after the change give them types and
    -- items by the new names. Planned for each execution, so that one partition is read.
    execute $statement$
      with named as (
        select
          event.person_id, event.occurred_at, event.event_id,
          coalesce(event.named_event_type_id, event.event_type_id) as named_event_type_id,
          coalesce(event.named_item_id, event.item_id) as named_item_id,
          event.event_type_id, event.item_id
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

      wrong as materialized (
        select
          named.person_id, named.occurred_at, named.event_id, named.named_event_type_id, named.named_item_id,
          coalesce(event_type.merged_event_type_id, event_type.event_type_id) as event_type_id,
          coalesce(item.merged_item_id, item.item_id) as item_id
        from named
        join track.event_type on event_type.event_type_id = named.named_event_type_id
        left join track.item on item.item_id = named.named_item_id
        where named.event_type_id <> coalesce(event_type.merged_event_type_id, event_type.event_type_id)
          or named.item_id <> coalesce(item.merged_item_id, item.item_id)
        limit $5
      ),

      changed as (
        update track.event
        set
          event_type_id = wrong.event_type_id,
          item_id = wrong.item_id,
          named_event_type_id = nullif(wrong.named_event_type_id, wrong.event_type_id),
          named_item_id = nullif(wrong.named_item_id, wrong.item_id)
        from wrong
        where event.person_id = wrong.person_id
          and event.occurred_at = wrong.occurred_at
          and event.event_id = wrong.event_id
          and event.occurred_at >= $1
          and event.occurred_at < $2
        returning event.person_id, event.occurred_at
      ),

      queued as (
        insert into track.stale (person_id, since, until)
        select changed.person_id, min(changed.occurred_at), max(changed.occurred_at)
        from changed
        group by changed.person_id
      )

      select count(*)
      from wrong
    $statement$
    into v_changed
    using
      v_month::timestamptz, (v_month + interval '1 month')::timestamptz,
      array(select event_type.event_type_id from track.event_type where event_type.merged_event_type_id is not null),
      array(select item.item_id from track.item where item.merged_item_id is not null),
      _apply_names.most_events - v_total;
    v_total := v_total + v_changed;
    if v_total < _apply_names.most_events then
      delete from track.renamed_month where renamed_month.month = v_month;
    end if;
  end loop;
  return v_total;
end;
$$;

comment on function track._apply_names(bigint) is $$
Gives at most `most_events` stored events the types and items of their names, and queues their people for the refresh.
Returns the number of events. 0: all events have them, and `track.renamed_month` is empty. It reads the months that are
queued there, the latest first.
$$;

create or replace function track._other_use(
  items bigint[],
  event_types int[],
  out used_items bigint[],
  out used_types int[]
)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_type int;
  v_open int[] := '{}';
begin
  -- Refreshed events of people, those without a person, and those that are not refreshed.
  used_items := array(
    select item_month.item_id
    from track.item_month
    where item_month.item_id = any (_other_use.items)
    union
    select item_day.item_id
    from track.item_day
    where item_day.item_id = any (_other_use.items)
    union
    select unnest(array[item_transition.source_item_id, item_transition.target_item_id])
    from track.item_transition
    where item_transition.source_item_id = any (_other_use.items)
      or item_transition.target_item_id = any (_other_use.items)
    union
    select unnest(step.item_ids)::bigint
    from track.step
    where step.person_id = 0
      and step.item_ids && _other_use.items::int[]
    union
    select unnest(array[event.item_id, event.named_item_id])
    from track.stale
    join track.event
      on event.person_id = stale.person_id
      and event.occurred_at between stale.since and stale.until
    where event.item_id = any (_other_use.items)
      or event.named_item_id = any (_other_use.items)
    union
    select enrolment.named_item_id
    from track.enrolment
    where enrolment.named_item_id = any (_other_use.items)
    union
    select imported_item.item_id
    from track.imported_item
    where imported_item.item_id = any (_other_use.items)
    union
    select imported_item.parent_item_id
    from track.imported_item
    where imported_item.parent_item_id = any (_other_use.items)
  );
  used_types := '{}';
  foreach v_type in array coalesce(_other_use.event_types, '{}') loop
    perform
    from track.step
    where step.event_type_id = v_type
    limit 1;
    if found then
      used_types := used_types || v_type;
    else
      v_open := v_open || v_type;
    end if;
  end loop;
  if v_open <> '{}' then
    used_types := used_types || array(
      select distinct unnest(array[event.event_type_id, event.named_event_type_id])
      from track.stale
      join track.event
        on event.person_id = stale.person_id
        and event.occurred_at between stale.since and stale.until
      where event.event_type_id = any (v_open)
        or event.named_event_type_id = any (v_open)
    );
  end if;
end;
$$;

comment on function track._other_use(bigint[], int[]) is $$
Returns which of the given items and event types have events or enrolments, or are in the structure of an import.
$$;

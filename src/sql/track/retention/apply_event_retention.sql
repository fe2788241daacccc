/*
 * Whole months are removed as partitions. The people of the month are queued for the refresh, which recomputes what is
 * derived from their events: afterwards each table is what it would be without these events. The partition is locked
 * first, and then read while others store events of later months; the lock on the whole table is held for the removal
 * alone.
 */
create or replace function track._remove_month(
  name text,
  horizon timestamptz,
  by_arrival boolean,
  held bigint[]
)
returns privacy.retention_step
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_step privacy.retention_step;
  v_stays boolean;
begin
  execute format('lock table track.%I in exclusive mode', _remove_month.name);
  execute format(
    'select true
    from track.%I as event
    where event.person_id = any ($1)
      or $2 and event.received_at >= $3
    limit 1',
    _remove_month.name
  )
  into v_stays
  using _remove_month.held, _remove_month.by_arrival, _remove_month.horizon;
  if v_stays then
    return null;
  end if;
  execute format(
    'with queued as (
      insert into track.stale (person_id, since, until)
      select event.person_id, min(event.occurred_at), max(event.occurred_at)
      from track.%1$I as event
      group by event.person_id
    )
    select count(*), min(event.%2$I)
    from track.%1$I as event',
    _remove_month.name, case when _remove_month.by_arrival then 'received_at' else 'occurred_at' end
  )
  into v_step.row_count, v_step.oldest_at;
  -- A batch that has found its months must not find them gone. Later batches create the month again, if they need it.
  perform pg_advisory_xact_lock(hashtext('track.ingest'));
  lock table track.event in access exclusive mode;
  execute format('drop table track.%I', _remove_month.name);
  v_step.partitions := array['track.' || _remove_month.name];
  return v_step;
exception
  -- Others use the table: the rows are deleted instead, which waits for no reader.
  when lock_not_available or deadlock_detected then
    return null;
end;
$$;

comment on function track._remove_month(text, timestamptz, boolean, bigint[]) is $$
Removes a partition of `track.event` and queues its people for the refresh.
Null when it holds events that stay, or when another transaction uses the table.
$$;

/*
 * Names of items and event types may be personal, such as the path of a page that only one person has. They stay with
 * an anonymized event when the application or another person uses them; person 0 counts as another one, so that events
 * that were anonymized before decide as the people did.
 */
create or replace function track._shared_names(
  items bigint[],
  event_types int[],
  out shared_items bigint[],
  out shared_types int[]
)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_type int;
  v_person_id bigint;
begin
  shared_items := array(
    select item.item_id
    from track.item
    where item.item_id = any (_shared_names.items)
      and not exists (
        select 1 from track.item_source where item_source.item_id = item.item_id and item_source.attribute = 'name'
      )
    union
    select imported_item.item_id
    from track.imported_item
    where imported_item.item_id = any (_shared_names.items)
    union
    select item_month.item_id
    from track.item_month
    where item_month.item_id = any (_shared_names.items)
    group by item_month.item_id
    having count(distinct (item_month.part, item_month.people[1])) > 1 or max(cardinality(item_month.people)) > 1
    union
    select used.item_id
    from track.step
    cross join lateral unnest(step.item_ids) as used (item_id)
    where step.person_id = 0
      and step.item_ids && _shared_names.items::int[]
  );
  shared_types := array(
    select event_type.event_type_id
    from track.event_type
    where event_type.event_type_id = any (_shared_names.event_types)
      and (
        event_type.description is not null
        or event_type.purpose <> 'analytics'
        or event_type.opens_view
        or event_type.is_heartbeat
        or event_type.is_automatic
      )
  );
  foreach v_type in array array(select unnest(_shared_names.event_types) except select unnest(shared_types)) loop
    v_person_id := (select step.person_id from track.step where step.event_type_id = v_type limit 1);
    perform
    from track.step
    where step.event_type_id = v_type
      and step.person_id <> v_person_id
    limit 1;
    if found then
      shared_types := shared_types || v_type;
    end if;
  end loop;
end;
$$;

comment on function track._shared_names(bigint[], int[]) is $$
Returns which of the given items and event types are known to the application, or used by more than one person.
$$;

create or replace function track._delete_expired(
  name text,
  rule privacy.retention,
  horizon timestamptz,
  event_types int[],
  held bigint[],
  most_rows int
)
returns privacy.retention_step
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_time constant text := case rule.counted_from when 'event' then 'occurred_at' else 'received_at' end;
  v_shared record;
  v_step privacy.retention_step;
  v_picked text;
begin
  v_picked := format(
    'select event.*
    from track.%I as event
    where event.%I < $1
      and ($2 is null or event.event_type_id = any ($2))
      and event.person_id <> all ($3)
      and ($4 or event.person_id <> 0)
    order by event.person_id, event.occurred_at, event.event_id
    limit $5',
    _delete_expired.name, v_time
  );
  if rule.method = 'anonymize' then
    execute format(
      'select shared.*
      from (
        select
          array_agg(distinct picked.item_id) || array_agg(distinct picked.named_item_id) as items,
          array_agg(distinct picked.event_type_id) || array_agg(distinct picked.named_event_type_id) as event_types
        from (%s) as picked
      ) as used
      cross join lateral track._shared_names(used.items, used.event_types) as shared',
      v_picked
    )
    into v_shared
    using horizon, event_types, held, false, most_rows;
  else
    select '{}'::bigint[] as shared_items, '{}'::int[] as shared_types into v_shared;
  end if;

  execute format(
    'with picked as (%1$s),

    deleted as (
      delete from track.%2$I as event
      using picked
      where event.person_id = picked.person_id
        and event.occurred_at = picked.occurred_at
        and event.event_id = picked.event_id
      returning event.*
    ),

    placed as (
      insert into track.event (
        person_id, occurred_at, event_id, identity_id, event_type_id, item_id, received_at, source_id,
        named_event_type_id, named_item_id
      )
      select
        0, deleted.occurred_at, deleted.event_id, 0,
        case when shared.type_id then deleted.event_type_id else other.event_type_id end,
        case when shared.item_id then deleted.item_id end,
        deleted.received_at, deleted.source_id,
        case when shared.type_id and deleted.named_event_type_id = any ($7) then deleted.named_event_type_id end,
        case when shared.item_id and deleted.named_item_id = any ($6) then deleted.named_item_id end
      from deleted
      cross join lateral (
        select
          coalesce(deleted.event_type_id = any ($7), false) as type_id,
          coalesce(deleted.item_id = any ($6), false) as item_id
      ) as shared
      cross join (select event_type_id from track.event_type where name = ''Other Event'') as other
      where not $4
      on conflict do nothing
    ),

    queued as (
      insert into track.stale (person_id, since, until)
      select deleted.person_id, min(deleted.occurred_at), max(deleted.occurred_at)
      from deleted
      group by deleted.person_id
      union all
      select 0, min(deleted.occurred_at), max(deleted.occurred_at)
      from deleted
      where not $4
      having count(*) > 0
    )

    select count(*), min(deleted.%3$I) from deleted',
    v_picked, _delete_expired.name, v_time
  )
  into v_step.row_count, v_step.oldest_at
  using
    horizon, event_types, held, rule.method = 'delete', most_rows, v_shared.shared_items, v_shared.shared_types;
  v_step.partitions := '{}';
  return v_step;
end;
$$;

comment on function track._delete_expired(text, privacy.retention, timestamptz, int[], bigint[], int) is $$
Deletes or anonymizes at most `most_rows` events of a partition, and queues their people for the refresh.
$$;

create or replace function track._follow_horizon(rule privacy.retention, horizon timestamptz)
returns privacy.retention_step
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_kept constant date := (select setting.sums_kept_before from track.setting);
  v_step privacy.retention_step;
begin
  -- Otherwise a message that arrives late would bring back a month that was deleted.
  update track.setting
  set oldest_event = _follow_horizon.horizon
  where setting.oldest_event < _follow_horizon.horizon;

  if rule.keeps_rollups and v_kept < (_follow_horizon.horizon at time zone 'UTC')::date then
    perform pg_advisory_xact_lock(hashtext('track.refresh'));
    -- The sums are to contain all events that were stored. People whose refresh fails are not waited for.
    if exists (select 1 from track.stale where stale.since < _follow_horizon.horizon) then
      select 'refresh', coalesce(max(refreshed.people), 0)
      into v_step.method, v_step.row_count
      from track.refresh(2000, 'track.session') as refreshed;
      if v_step.row_count > 0 then
        return v_step;
      end if;
    end if;
    v_step.method := 'sum';
    v_step.row_count := track._keep_sums(_follow_horizon.horizon);
    return v_step;
  end if;

  -- Sums that an earlier rule has kept go, so that all rollups are again those of the events that are left.
  if not rule.keeps_rollups and v_kept > '-infinity' then
    perform pg_advisory_xact_lock(hashtext('track.refresh'));
    delete from track.presence where presence.day < v_kept;
    get diagnostics v_step.row_count = row_count;
    delete from track.item_day where item_day.day < v_kept;
    delete from track.item_transition where item_transition.month < v_kept;
    update track.setting set sums_kept_before = '-infinity';
    v_step.method := 'sum';
    return v_step;
  end if;
  return null;
end;
$$;

comment on function track._follow_horizon(privacy.retention, timestamptz) is $$
Prepares the deletion of all events before a time.
Later messages of that time are rejected, and the sums stay or go as the rule specifies. Returns a step; null when
nothing is left to prepare.
$$;

create or replace function track.apply_event_retention(
  rule privacy.retention,
  horizon timestamptz,
  most_rows int
)
returns setof privacy.retention_step
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_held constant bigint[] := array(select privacy.restricted());
  v_types constant int[] := case when rule.purpose is not null then track._types_of_purpose(rule.purpose) end;
  v_month record;
  v_step privacy.retention_step;
begin
  if rule.purpose is null and rule.method = 'delete' and rule.counted_from = 'event' then
    v_step := track._follow_horizon(rule, apply_event_retention.horizon);
  end if;
  if v_step.method is null then
    for v_month in
      select month.*
      from track._event_partitions() as month
      where month.since < apply_event_retention.horizon
    loop
      if rule.purpose is null and rule.method = 'delete' and v_month.until <= apply_event_retention.horizon then
        v_step := track._remove_month(
          v_month.name, apply_event_retention.horizon, rule.counted_from = 'arrival', v_held
        );
      end if;
      if v_step.partitions is null then
        v_step := track._delete_expired(
          v_month.name, rule, apply_event_retention.horizon, v_types, v_held, apply_event_retention.most_rows
        );
      end if;
      exit when v_step.row_count > 0 or v_step.partitions <> '{}';
      v_step := null;
    end loop;
    v_step.method := case when v_step.partitions is not null then rule.method end;
  end if;
  if v_step.method is not null then
    v_step.rule := rule.rule;
    v_step.table_name := case
      when v_step.method in ('delete', 'anonymize') then 'track.event'
      else 'track.presence'
    end;
    v_step.partitions := coalesce(v_step.partitions, '{}');
    v_step.horizon := apply_event_retention.horizon;
    return next v_step;
  end if;
end;
$$;

comment on function track.apply_event_retention(privacy.retention, timestamptz, int) is $$
@behavior -*
Does one step of a rule of retention for events: a month as a partition, or at most `most_rows` events of a month.
Called by `privacy.apply_retention`. The people are queued for the refresh in the same transaction.
$$;

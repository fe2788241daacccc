create or replace function track._check_steps(month date, block int, is_repair boolean)
returns track.rollup_comparison
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set plan_cache_mode to force_custom_plan
as $$
declare
  v_first constant bigint := block::bigint * 4096;
  v_last constant bigint := v_first + 4095;
  v_end constant date := (month + interval '1 month')::date;
  v_since constant timestamptz := month::timestamp at time zone 'UTC';
  v_until constant timestamptz := v_end::timestamp at time zone 'UTC';
  v_result track.rollup_comparison;
begin
  -- One statement, so that events, rows and queue are those of one moment.
  with queued as materialized (
    select track._unrefreshed_people(v_first, v_last) as people
  ),

  fresh as (
    select
      event.person_id,
      event.event_type_id,
      event_type.is_automatic or source.is_automatic as is_automatic,
      case
        when event.person_id = 0 then (event.occurred_at at time zone 'UTC')::date
        else date_trunc('year', event.occurred_at at time zone 'UTC')::date
      end as since,
      array_agg(event.occurred_at order by event.occurred_at, coalesce(event.item_id, 0)) as occurred_at,
      array_agg(coalesce(event.item_id, 0)::int order by event.occurred_at, coalesce(event.item_id, 0)) as item_ids
    from track.event
    join track.event_type on event_type.event_type_id = event.event_type_id
    join track.source on source.source_id = event.source_id
    where event.person_id between v_first and v_last
      and event.occurred_at >= v_since
      and event.occurred_at < v_until
      and event.person_id <> all ((select queued.people from queued)::bigint[])
    group by 1, 2, 3, 4
  ),

  stored as (
    select
      step.*,
      width_bucket(v_since - interval '1 microsecond', step.occurred_at) as before,
      width_bucket(v_until - interval '1 microsecond', step.occurred_at) as until
    from track.step
    where step.person_id between v_first and v_last
      and step.since > _check_steps.month - 366
      and step.since < v_end
      and step.person_id <> all ((select queued.people from queued)::bigint[])
  ),

  compared as (
    select
      person_id, event_type_id, is_automatic, since,
      coalesce(stored.occurred_at[:stored.before], '{}') || coalesce(fresh.occurred_at, '{}')
        || coalesce(stored.occurred_at[stored.until + 1:], '{}') as occurred_at,
      coalesce(stored.item_ids[:stored.before], '{}') || coalesce(fresh.item_ids, '{}')
        || coalesce(stored.item_ids[stored.until + 1:], '{}') as item_ids,
      stored.occurred_at as stored_at,
      stored.item_ids as stored_ids
    from stored
    full join fresh using (person_id, event_type_id, is_automatic, since)
    where fresh.person_id is not null
      or stored.before < stored.until
  ),

  differing as materialized (
    select compared.*
    from compared
    where (compared.occurred_at, compared.item_ids) is distinct from (compared.stored_at, compared.stored_ids)
  ),

  deleted as (
    delete from track.step
    using differing
    where is_repair
      and differing.occurred_at = '{}'
      and step.person_id = differing.person_id
      and step.event_type_id = differing.event_type_id
      and step.is_automatic = differing.is_automatic
      and step.since = differing.since
  ),

  written as (
    insert into track.step (person_id, event_type_id, is_automatic, since, occurred_at, item_ids)
    select
      differing.person_id, differing.event_type_id, differing.is_automatic, differing.since, differing.occurred_at,
      differing.item_ids
    from differing
    where is_repair
      and differing.occurred_at <> '{}'
    on conflict on constraint step_pkey do update
    set occurred_at = excluded.occurred_at, item_ids = excluded.item_ids
  )

  select
    (select count(*) from compared),
    (select count(*) from differing),
    (
      select format('person %s, event type %s, %s', differing.person_id, differing.event_type_id, differing.since)
      from differing
      order by differing.person_id, differing.event_type_id, differing.since
      limit 1
    )
  into v_result.checked, v_result.differing, v_result.example;
  return v_result;
end;
$$;

comment on function track._check_steps(date, int, boolean) is $$
Compares `track.step` with the events of a month and a block of people. `is_repair`: writes what the events give.
$$;

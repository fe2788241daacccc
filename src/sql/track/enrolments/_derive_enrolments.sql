create or replace function track._derive_enrolments(identities bigint[], items bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
-- A plan for any number of people would read each event of each of them by itself, or all events.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_people bigint[];
  v_types int[];
  v_enrolled int[];
  v_dropped int[];
  v_sources smallint[];
  v_merged bigint[];
  v_touched bigint[];
begin
  -- Two transactions with different events of an enrolment would each derive it from their own.
  perform pg_advisory_xact_lock(hashtext('track.enrolment'));
  select
    array_agg(coalesce(event_type.merged_event_type_id, event_type.event_type_id)),
    array_agg(coalesce(event_type.merged_event_type_id, event_type.event_type_id))
      filter (where event_type.name = 'Course Enrolled'),
    array_agg(coalesce(event_type.merged_event_type_id, event_type.event_type_id))
      filter (where event_type.name = 'Course Dropped')
  into v_types, v_enrolled, v_dropped
  from track.event_type
  where event_type.name in ('Course Enrolled', 'Course Dropped', 'Course Completed');
  v_sources := array(select source.source_id from track.source where source.states_enrolments);
  v_people := array(
    select distinct identity.person_id
    from track.identity
    where identity.identity_id = any (_derive_enrolments.identities)
      and identity.kind = 'user'
      and identity.person_id <> 0
  );

  -- As a rule, no item is merged. The enrolments of the names of those that are get their own items meanwhile.
  v_merged := array(
    select distinct member.item_id
    from track.item
    join track.item as member on coalesce(item.merged_item_id, item.item_id) in (member.item_id, member.merged_item_id)
    where item.item_id = any (_derive_enrolments.items)
      and (item.merged_item_id is not null or member.merged_item_id is not null)
  );
  if v_merged <> '{}' then
    perform track._name_enrolments(v_merged, _derive_enrolments.identities);
  end if;

  with named as materialized (
    select distinct identity.person_id, entry.identity_id, entry.item_id
    from unnest(_derive_enrolments.identities, _derive_enrolments.items) as entry (identity_id, item_id)
    join track.identity on identity.identity_id = entry.identity_id
    where identity.kind = 'user'
      and identity.person_id <> 0
      and entry.item_id is not null
  ),

  told as materialized (
    select
      named.person_id, named.identity_id, named.item_id,
      event.event_type_id, event.occurred_at, event.event_id, event.source_id
    from track.event
    join named
      on named.person_id = event.person_id
      and named.identity_id = event.identity_id
      and named.item_id = coalesce(event.named_item_id, event.item_id)
    where event.person_id = any (v_people)
      and event.event_type_id = any (v_types)
      and event.source_id = any (v_sources)
  ),

  -- Of events of the same time, that of the enrolment is the first.
  latest as (
    select
      told.person_id, told.identity_id, told.item_id, max(told.occurred_at) as enrolled_at
    from told
    where told.event_type_id = any (v_enrolled)
    group by told.person_id, told.identity_id, told.item_id
  ),

  bounded as (
    select
      latest.person_id, latest.identity_id, latest.item_id,
      max(told.occurred_at) filter (where told.occurred_at < latest.enrolled_at) as former_end,
      max(told.occurred_at) filter (where told.occurred_at >= latest.enrolled_at) as dropped_at
    from latest
    left join told
      on told.person_id = latest.person_id
      and told.identity_id = latest.identity_id
      and told.item_id = latest.item_id
      and told.event_type_id = any (v_dropped)
    group by latest.person_id, latest.identity_id, latest.item_id
  ),

  started as (
    select
      bounded.person_id, bounded.identity_id, bounded.item_id, bounded.dropped_at,
      min(told.occurred_at) as enrolled_at,
      (array_agg(told.source_id order by told.occurred_at, told.event_id))[1] as source_id
    from bounded
    join told
      on told.person_id = bounded.person_id
      and told.identity_id = bounded.identity_id
      and told.item_id = bounded.item_id
      and told.event_type_id = any (v_enrolled)
      and (bounded.former_end is null or told.occurred_at > bounded.former_end)
    group by bounded.person_id, bounded.identity_id, bounded.item_id, bounded.dropped_at
  ),

  derived as (
    select
      started.person_id, started.item_id, started.identity_id, started.enrolled_at, started.source_id,
      case
        when min(told.occurred_at) is not null then 'completed'
        when started.dropped_at is not null then 'dropped'
        else 'active'
      end as status,
      coalesce(min(told.occurred_at), started.dropped_at) as ended_at
    from started
    left join told
      on told.person_id = started.person_id
      and told.identity_id = started.identity_id
      and told.item_id = started.item_id
      and told.event_type_id <> all (v_enrolled || v_dropped)
      and told.occurred_at >= started.enrolled_at
    group by
      started.person_id, started.item_id, started.identity_id, started.enrolled_at, started.source_id,
      started.dropped_at
  ),

  stored as (
    insert into track.enrolment (person_id, item_id, identity_id, status, enrolled_at, ended_at, source_id)
    select
      derived.person_id, derived.item_id, derived.identity_id, derived.status, derived.enrolled_at, derived.ended_at,
      derived.source_id
    from derived
    on conflict (person_id, item_id, identity_id) do update
    set
      status = excluded.status, enrolled_at = excluded.enrolled_at, ended_at = excluded.ended_at,
      source_id = excluded.source_id
    -- Rows of the application stay.
    where enrolment.source_id is not null
      and (enrolment.status, enrolment.enrolled_at, enrolment.ended_at, enrolment.source_id)
        is distinct from (excluded.status, excluded.enrolled_at, excluded.ended_at, excluded.source_id)
    returning enrolment.person_id
  ),

  deleted as (
    delete from track.enrolment
    using named
    where enrolment.person_id = named.person_id
      and enrolment.identity_id = named.identity_id
      and enrolment.item_id = named.item_id
      and enrolment.source_id is not null
      and not exists (
        select 1
        from derived
        where derived.person_id = named.person_id
          and derived.identity_id = named.identity_id
          and derived.item_id = named.item_id
      )
    returning enrolment.person_id
  )

  select array_agg(distinct touched.person_id) into v_touched
  from (
    select stored.person_id from stored
    union all
    select deleted.person_id from deleted
  ) as touched;
  if v_merged <> '{}' then
    perform track._merge_enrolments(v_merged, _derive_enrolments.identities);
  end if;
  perform track._enqueue('enrolment', v_touched);
end;
$$;

comment on function track._derive_enrolments(bigint[], bigint[]) is $$
Derives the enrolments of identities in items, given as pairs, from the events of imports that state enrolments.
`Course Enrolled` begins an enrolment, `Course Dropped` and `Course Completed` end it; of several, the latest one
counts. An end without a beginning gives none. Enrolments that the application states stay as they are; those that no
event of an import gives any more are deleted. The caller has locked the identities, or all batches.
$$;

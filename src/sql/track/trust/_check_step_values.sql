create or replace function track._check_step_values(month date, block int, is_repair boolean)
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
  v_people bigint[];
begin
  -- One statement, so that events, rows and queue are those of one moment.
  with queued as materialized (
    select track._unrefreshed_people(v_first, v_last) as people
  ),

  missing as materialized (
    select stale_property.person_id, stale_property.property_id
    from track.stale_property
    where stale_property.person_id between v_first and v_last
  ),

  fresh as (
    select
      event.person_id,
      declared.property_id,
      event_type.is_automatic or source.is_automatic as is_automatic,
      case
        when event.person_id = 0 then (event.occurred_at at time zone 'UTC')::date
        else date_trunc('year', event.occurred_at at time zone 'UTC')::date
      end as since,
      array_agg(valued.value order by event.occurred_at, coalesce(event.item_id, 0), valued.value collate "C") as found
    from track.event
    join track.event_type on event_type.event_type_id = event.event_type_id
    join track.source on source.source_id = event.source_id
    join track.declared_property as declared on declared.event_type_id = event.event_type_id and declared.is_queued
    cross join lateral (select substr(event.properties ->> declared.property, 1, 200) as value) as valued
    where event.person_id between v_first and v_last
      and event.occurred_at >= v_since
      and event.occurred_at < v_until
      and event.person_id <> all ((select queued.people from queued)::bigint[])
      and not exists (
        select 1
        from missing
        where missing.person_id = event.person_id
          and missing.property_id = declared.property_id
      )
    group by 1, 2, 3, 4
  ),

  journey as materialized (
    select
      step.person_id, declared.property_id, step.is_automatic, step.since,
      width_bucket(v_since - interval '1 microsecond', step.occurred_at) as before,
      width_bucket(v_until - interval '1 microsecond', step.occurred_at) as until,
      cardinality(step.occurred_at) as length
    from track.step
    join track.declared_property as declared on declared.event_type_id = step.event_type_id and declared.is_queued
    where step.person_id between v_first and v_last
      and step.since > _check_step_values.month - 366
      and step.since < v_end
      and not exists (
        select 1
        from missing
        where missing.person_id = step.person_id
          and missing.property_id = declared.property_id
      )
  ),

  step_value as materialized (
    select own.*
    from track.step_value as own
    where own.person_id between v_first and v_last
      and own.since > _check_step_values.month - 366
      and own.since < v_end
      and not exists (
        select 1
        from missing
        where missing.person_id = own.person_id
          and missing.property_id = own.property_id
      )
  ),

  stored as (
    select
      person_id, property_id, is_automatic, since,
      -- A row without a journey, or of another length, never agrees.
      coalesce(cardinality(step_value.value_ids) <> journey.length, journey.person_id is null) as is_wrong,
      case
        when step_value.value_ids is null then array_fill(null::text, array[journey.until - journey.before])
        else (
          select array_agg(
            case place.value_id
              when 0 then null
              else coalesce(property_value.value, format('unknown value %s', place.value_id))
            end
            order by place.number
          )
          from unnest(step_value.value_ids[journey.before + 1:journey.until])
            with ordinality as place (value_id, number)
          left join track.property_value on property_value.value_id = place.value_id
        )
      end as found
    from journey
    full join step_value using (person_id, property_id, is_automatic, since)
    where person_id <> all ((select queued.people from queued)::bigint[])
      and (
        journey.person_id is null
        or journey.before < journey.until
        or cardinality(step_value.value_ids) <> journey.length
      )
  ),

  compared as (
    select
      person_id, property_id, is_automatic, since,
      stored.is_wrong is true
        or coalesce(stored.found, '{}') is distinct from coalesce(fresh.found, '{}') as is_different
    from stored
    full join fresh using (person_id, property_id, is_automatic, since)
  )

  select
    count(*),
    count(*) filter (where compared.is_different),
    min(format('person %s, declared property %s, %s', compared.person_id, compared.property_id, compared.since))
      filter (where compared.is_different),
    array_agg(distinct compared.person_id) filter (where compared.is_different)
  into v_result.checked, v_result.differing, v_result.example, v_people
  from compared;

  if is_repair and v_people is not null then
    perform track._rewrite_step_values(v_people);
  end if;
  return v_result;
end;
$$;

comment on function track._check_step_values(date, int, boolean) is $$
Compares `track.step_value` with the events of a month and a block of people.
`is_repair`: writes the rows of the people that differ again.
$$;

create or replace function track._rewrite_step_values(people bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_first_days constant date[] := array_fill('-infinity'::date, array[cardinality(people)]);
  v_end_days constant date[] := array_fill('infinity'::date, array[cardinality(people)]);
begin
  perform track._refresh_step_values(people, v_first_days, v_end_days, null);
end;
$$;

comment on function track._rewrite_step_values(bigint[]) is $$
Recomputes all rows of `track.step_value` of people.
$$;

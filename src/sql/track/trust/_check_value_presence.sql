create or replace function track._check_value_presence(month date, block int, is_repair boolean)
returns track.rollup_comparison
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set plan_cache_mode to force_custom_plan
as $$
declare
  v_part constant int := block / 4;
  v_first constant bigint := v_part::bigint * 16384;
  v_last constant bigint := v_first + 16383;
  v_end constant date := (month + interval '1 month')::date;
  v_since constant timestamptz := month::timestamp at time zone 'UTC';
  v_until constant timestamptz := v_end::timestamp at time zone 'UTC';
  v_nobody constant bit(16384) := b'0'::bit(16384);
  v_one constant bit(16384) := b'1'::bit(16384);
  v_result track.rollup_comparison;
begin
  -- A row has the people of four blocks: it is compared with the first of these.
  if exists (
    select from track.person where person.person_id >= v_first and person.person_id < block::bigint * 4096
  ) then
    return row(0, 0, null, null)::track.rollup_comparison;
  end if;

  if is_repair then
    perform track._enter_values(
      listed.people,
      array_fill(_check_value_presence.month, array[cardinality(listed.people)]),
      array_fill(v_end, array[cardinality(listed.people)]),
      null
    )
    from (
      select array_agg(person.person_id) as people
      from track.person
      where person.person_id between v_first and v_last
    ) as listed
    where listed.people is not null;
  end if;

  with queued as materialized (
    select track._unrefreshed_people(v_first, v_last) as people
  ),

  raw as materialized (
    select
      event.person_id,
      (event.occurred_at at time zone 'UTC')::date as day,
      declared.property_id,
      substr(event.properties ->> declared.property, 1, 200) as value
    from track.event
    join track.declared_property as declared on declared.event_type_id = event.event_type_id and declared.is_queued
    where event.person_id between v_first and v_last
      and event.occurred_at >= v_since
      and event.occurred_at < v_until
  ),

  valued as (
    select
      raw.*,
      raw.person_id = any ((select queued.people from queued)::bigint[])
        or exists (
          select 1
          from track.stale_property as missing
          where missing.person_id = raw.person_id
            and missing.property_id = raw.property_id
        ) as is_queued
    from raw
  ),

  fresh as (
    select
      valued.property_id,
      coalesce('=' || valued.value, '') as key,
      valued.day,
      coalesce(
        bit_or(v_one >> (valued.person_id % 16384)::int)
          filter (where valued.person_id <> 0 and not valued.is_queued),
        v_nobody
      ) as people,
      (count(*) filter (where person.is_excluded is not true and not valued.is_queued))::int as event_count,
      (count(*) filter (where person.is_counted and not valued.is_queued))::int as counted_count
    from valued
    left join track._rollup_people(v_first, v_last) as person on person.person_id = valued.person_id
    group by 1, 2, 3
  ),

  -- Queued people are compared with nothing: their bits stay, and numbers that contain their events too.
  left_out as (
    select
      activity.property_id,
      case activity.value_id when 0 then '' else '=' || property_value.value end as key,
      activity.day,
      bit_or(v_one >> (activity.person_id % 16384)::int) as people
    from queued
    cross join track._unrefreshed_values(queued.people, _check_value_presence.month, v_end) as activity
    left join track.property_value on property_value.value_id = activity.value_id
    group by 1, 2, 3
  ),

  stored as (
    select
      value_presence.*,
      case value_presence.value_id
        when 0 then ''
        else coalesce('=' || property_value.value, format('unknown value %s', value_presence.value_id))
      end as key
    from track.value_presence
    left join track.property_value on property_value.value_id = value_presence.value_id
    where value_presence.day >= _check_value_presence.month
      and value_presence.day < v_end
      and value_presence.part = v_part
  ),

  compared as (
    select
      property_id, key, day, stored.value_id,
      coalesce(stored.people, v_nobody) as stored_people,
      coalesce(stored.event_count, 0) as stored_count,
      coalesce(stored.counted_count, 0) as stored_counted,
      coalesce(stored.people, v_nobody) & coalesce(left_out.people, v_nobody) | coalesce(fresh.people, v_nobody)
        as people,
      case when left_out.day is null then coalesce(fresh.event_count, 0) else coalesce(stored.event_count, 0) end
        as event_count,
      case when left_out.day is null then coalesce(fresh.counted_count, 0) else coalesce(stored.counted_count, 0) end
        as counted_count
    from stored
    full join fresh using (property_id, key, day)
    left join left_out using (property_id, key, day)
    where stored.day is not null
      or fresh.event_count > 0
      or bit_count(fresh.people) > 0
  ),

  differing as materialized (
    select compared.*
    from compared
    where (compared.people, compared.event_count, compared.counted_count)
      is distinct from (compared.stored_people, compared.stored_count, compared.stored_counted)
  ),

  deleted as (
    delete from track.value_presence
    using differing
    where is_repair
      and bit_count(differing.people) = 0
      and differing.event_count = 0
      and value_presence.property_id = differing.property_id
      and value_presence.value_id = differing.value_id
      and value_presence.day = differing.day
      and value_presence.part = v_part
  ),

  written as (
    insert into track.value_presence (property_id, value_id, day, part, people, event_count, counted_count)
    select
      differing.property_id, coalesce(differing.value_id, named.value_id), differing.day, v_part, differing.people,
      differing.event_count, differing.counted_count
    from differing
    left join (
      select property_value.property_id, property_value.value_id, '=' || property_value.value as key
      from track.property_value
      union all
      select declared.property_id, 0, ''
      from track.declared_property as declared
    ) as named using (property_id, key)
    where is_repair
      and (bit_count(differing.people) > 0 or differing.event_count > 0)
      and coalesce(differing.value_id, named.value_id) is not null
    on conflict on constraint value_presence_pkey do update
    set
      people = excluded.people,
      event_count = excluded.event_count,
      counted_count = excluded.counted_count
  )

  select
    (select count(*) from compared),
    (select count(*) from differing),
    (
      select format('declared property %s, %s, part %s', differing.property_id, differing.day, v_part)
      from differing
      order by differing.property_id, differing.day
      limit 1
    )
  into v_result.checked, v_result.differing, v_result.example;
  return v_result;
end;
$$;

comment on function track._check_value_presence(date, int, boolean) is $$
Compares `track.value_presence` with the events of a month, and of the part of 16,384 people that begins with a block.
Other blocks are not compared. `is_repair`: writes what the events give.
$$;

create or replace function track._unrefreshed_values(people bigint[], first_day date, end_day date)
returns setof track.value_activity
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  select stored.*
  from track.stored_values(
    people, array_fill(first_day, array[cardinality(people)]), array_fill(end_day, array[cardinality(people)])
  ) as stored;
end;
$$;

comment on function track._unrefreshed_values(bigint[], date, date) is $$
Returns the values of queued people that the rollups still contain, whose cells are not compared.
$$;

create or replace function analytics._trend_by_value(
  event_type_id int, bounds timestamptz[], of_item_id bigint, among text, breakdown text, top_values int
)
returns table (
  value text, is_other boolean, bucket int, event_count bigint, person_count bigint, engaged interval
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set work_mem to '64MB'
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_property constant text := substr(breakdown, 10);
begin
  if _trend_by_value.breakdown is null and _trend_by_value.of_item_id is null and _trend_by_value.event_type_id <> 0
  then
    return query
    select
      null::text, false, entry.bucket, sum(entry.event_count)::bigint, count(nullif(entry.person_id, 0)), null::interval
    from analytics._person_buckets(_trend_by_value.event_type_id, _trend_by_value.bounds) as entry
    left join analytics._among(_trend_by_value.among) as member on member.block = entry.person_id / 4096
    where _trend_by_value.among is null
      or entry.person_id <> 0 and get_bit(member.people, (entry.person_id % 4096)::int) <> 0
    group by entry.bucket;
    return;
  end if;

  if _trend_by_value.breakdown is null and _trend_by_value.of_item_id is null then
    -- One row per person and bucket, beside those of engaged time.
    return query
    select
      null::text, false, entry.bucket, sum(entry.event_count)::bigint,
      count(*) filter (where entry.person_id <> 0 and entry.event_count > 0), sum(entry.engaged)
    from analytics._trend_values(
      _trend_by_value.event_type_id, _trend_by_value.bounds, null, _trend_by_value.among, null, null
    ) as entry
    group by entry.bucket;
    return;
  end if;

  if _trend_by_value.breakdown like 'property.%'
    and _trend_by_value.among is null
    and _trend_by_value.of_item_id is null
    and track.is_property_complete(_trend_by_value.event_type_id, v_property)
    and _trend_by_value.top_values <= (
      select declared.most_values
      from track.declared_property as declared
      where declared.event_type_id = _trend_by_value.event_type_id
        and declared.property = v_property
    )
    and not exists (
      select from unnest(_trend_by_value.bounds) as bound where bound <> date_trunc('day', bound, 'UTC')
    )
  then
    return query
    select declared.*
    from analytics._trend_by_declared_value(
      _trend_by_value.event_type_id, _trend_by_value.bounds, v_property, _trend_by_value.top_values
    ) as declared;
    return;
  end if;

  return query
  with used as materialized (
    select
      entry.person_id, entry.bucket, entry.value, entry.event_count, entry.engaged,
      -- Null: a value that is not named. Keys are comparable where values are null.
      case when not entry.is_other then coalesce('=' || entry.value, '') end as key
    from analytics._trend_values(
      _trend_by_value.event_type_id, _trend_by_value.bounds, _trend_by_value.of_item_id, _trend_by_value.among,
      _trend_by_value.breakdown, null
    ) as entry
  ),

  top as materialized (
    select used.key, used.value
    from used
    where used.key is not null
    group by used.key, used.value
    order by sum(used.event_count) desc, used.key collate "C"
    limit _trend_by_value.top_values
  ),

  by_person as (
    select
      top.value, top.key is null as is_other, used.bucket, used.person_id,
      sum(used.event_count) as event_count, sum(used.engaged) as engaged
    from used
    left join top on top.key = used.key
    group by 1, 2, 3, 4
  )

  select
    by_person.value, by_person.is_other, by_person.bucket, sum(by_person.event_count)::bigint,
    count(*) filter (
      where by_person.person_id <> 0 and (by_person.event_count > 0 or _trend_by_value.of_item_id is not null)
    ),
    sum(by_person.engaged)
  from by_person
  group by by_person.value, by_person.is_other, by_person.bucket;
end;
$$;

comment on function analytics._trend_by_value(int, timestamptz[], bigint, text, text, int) is $$
Returns the exact figures per bucket and value of a breakdown that has events, with the privileges of the caller.
The arguments are those of `analytics._trend_values`. The `top_values` values with most events in the period are named;
the others are one group, `is_other`. Engaged time is that of counted people, and null where there is none.
$$;

grant execute on function analytics._trend_by_value(int, timestamptz[], bigint, text, text, int) to insights_reader;

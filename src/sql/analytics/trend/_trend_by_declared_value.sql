create or replace function analytics._trend_by_declared_value(
  event_type_id int, bounds timestamptz[], property text, top_values int
)
returns table (
  value text, is_other boolean, bucket int, event_count bigint, person_count bigint, engaged interval
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_days constant date[] := array(
    select (bound at time zone 'UTC')::date
    from unnest(_trend_by_declared_value.bounds) with ordinality as listed (bound, position)
    order by listed.position
  );
begin
  return query
  with stored as materialized (
    select
      days.value, days.day, days.block, days.people, days.event_count,
      case when not days.is_other then coalesce('=' || days.value, '') end as key
    from track.value_days(
      _trend_by_declared_value.event_type_id, _trend_by_declared_value.property, v_days[1], v_days[cardinality(v_days)],
      v_days
    ) as days
  ),

  top as materialized (
    select stored.key, stored.value
    from stored
    where stored.key is not null
    group by stored.key, stored.value
    having sum(stored.event_count) > 0
    order by sum(stored.event_count) desc, stored.key collate "C"
    limit _trend_by_declared_value.top_values
  ),

  by_block as (
    select
      top.value, top.key is null as is_other, stored.day, stored.block,
      bit_or(stored.people) as people, sum(stored.event_count) as event_count
    from stored
    left join top on top.key = stored.key
    group by 1, 2, 3, 4
  )

  select
    by_block.value, by_block.is_other, array_position(v_days, by_block.day), sum(by_block.event_count)::bigint,
    sum(bit_count(by_block.people & ~coalesce(excluded.people, b'0'::bit(4096))))::bigint,
    null::interval
  from by_block
  left join track.person_set_blocks('excluded') as excluded on excluded.block = by_block.block
  group by by_block.value, by_block.is_other, by_block.day
  having sum(by_block.event_count) > 0;
end;
$$;

comment on function analytics._trend_by_declared_value(int, timestamptz[], text, int) is $$
Returns what `analytics._trend_by_value` returns, of a declared property that is complete, with the caller's privileges.
From the bits of `track.value_days`: of all people and items, in buckets of whole days (UTC), and of at most as many
`top_values` as declared.
$$;

grant execute on function analytics._trend_by_declared_value(int, timestamptz[], text, int) to insights_reader;

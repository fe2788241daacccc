create or replace function analytics._trend_values(
  event_type_id int, bounds timestamptz[], of_item_id bigint, among text, breakdown text, smallest_group int
)
returns table (
  person_id bigint,
  bucket int,
  is_member boolean,
  value text,
  is_other boolean,
  event_count bigint,
  engaged interval
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
  v_by_person constant boolean := coalesce(breakdown ~ '^(set|trait)\.', false);
  v_counted_only constant boolean := of_item_id is not null or smallest_group is not null;
begin
  return query
  with member as materialized (
    select filter.block, filter.people
    from analytics._among(_trend_values.among, _trend_values.smallest_group) as filter
    where _trend_values.among is not null
  ),

  counted as materialized (
    select set_block.block, set_block.people from track.person_set_blocks('counted') as set_block
  ),

  person_value as materialized (
    select stated.value, stated.is_other, stated.block, stated.people
    from analytics._people_by_value(_trend_values.breakdown, 100, _trend_values.smallest_group) as stated
    where v_by_person
  ),

  used as (
    select
      uses.*,
      _trend_values.among is null
        or uses.person_id <> 0 and coalesce(get_bit(member.people, (uses.person_id % 4096)::int), 0) <> 0 as is_member
    from analytics._trend_uses(
      _trend_values.event_type_id, _trend_values.bounds, _trend_values.of_item_id, _trend_values.breakdown
    ) as uses
    left join member on member.block = uses.person_id / 4096
    left join counted on counted.block = uses.person_id / 4096
    where not v_counted_only
      or get_bit(counted.people, (uses.person_id % 4096)::int) <> 0
  ),

  kept as materialized (
    select used.*
    from used
    -- The rest is needed to see that it is not that of a small group.
    where used.is_member
      or _trend_values.smallest_group is not null
  )

  select
    kept.person_id, kept.bucket, kept.is_member, person_value.value, person_value.is_other, kept.event_count,
    kept.engaged
  from kept
  join person_value
    on person_value.block = kept.person_id / 4096
    and get_bit(person_value.people, (kept.person_id % 4096)::int) <> 0
  union all
  select kept.person_id, kept.bucket, kept.is_member, kept.value, false, kept.event_count, kept.engaged
  from kept
  where not v_by_person;
end;
$$;

comment on function analytics._trend_values(int, timestamptz[], bigint, text, text, int) is $$
Returns the rows of `analytics._trend_uses` with the values of any breakdown, with the privileges of the caller.
`breakdown` null: one null value. Of the use of an item, counted people only. `smallest_group` null: only members of
`among`, which reads all sets as they are; otherwise all counted people, and small sets and values of people are not
named (see `analytics._among` and `analytics._people_by_value`). `is_other`: a value that is not named.
A person who belongs to several sets of a breakdown has a row for each.
$$;

grant execute on function analytics._trend_values(int, timestamptz[], bigint, text, text, int) to insights_reader;

create or replace function analytics._presence_in_buckets(
  event_type_id int,
  bounds timestamptz[],
  item_id bigint,
  among text,
  breakdown text,
  top_values int,
  known_values text[],
  smallest_group int
)
returns table (value_key text, bucket_number int, block int, people bit(4096))
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if _presence_in_buckets.smallest_group is null then
    return query
    select by_value.value_key, by_value.bucket, by_value.block, by_value.people
    from analytics._presence_by_value(
      _presence_in_buckets.event_type_id, _presence_in_buckets.bounds, _presence_in_buckets.item_id,
      _presence_in_buckets.among, _presence_in_buckets.breakdown, _presence_in_buckets.top_values,
      _presence_in_buckets.known_values, null
    ) as by_value;
    return;
  end if;

  return query
  select placed.value_key, placed.bucket_number, placed.block, bit_or(placed.people)
  from (
    select of_group.*, width_bucket(of_group.start_at, _presence_in_buckets.bounds) as bucket_number
    from analytics._presence_of_groups(
      _presence_in_buckets.event_type_id, _presence_in_buckets.bounds, _presence_in_buckets.item_id,
      _presence_in_buckets.among, _presence_in_buckets.breakdown, _presence_in_buckets.top_values,
      _presence_in_buckets.known_values, _presence_in_buckets.smallest_group
    ) as of_group
  ) as placed
  where placed.bucket_number between 1 and cardinality(_presence_in_buckets.bounds) - 1
    and placed.end_at <= _presence_in_buckets.bounds[placed.bucket_number + 1]
  group by placed.value_key, placed.bucket_number, placed.block;
end;
$$;

comment on function analytics._presence_in_buckets(int, timestamptz[], bigint, text, text, int, text[], int) is $$
Returns the people with an event in each bucket, by value of a breakdown.
`smallest_group` null: those of `analytics._presence_by_value`. Otherwise those of `analytics._presence_of_groups` whose
periods are whole within the bucket. The arguments are those of these functions.
$$;

grant execute on function analytics._presence_in_buckets(int, timestamptz[], bigint, text, text, int, text[], int)
to insights_reader;

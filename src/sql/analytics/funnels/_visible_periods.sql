create or replace function analytics._visible_periods(
  event_type_id int, item_id bigint, among text, bounds timestamptz[], smallest_group int
)
returns tstzmultirange
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return (
    select coalesce(range_agg(tstzrange(period.start_at, period.end_at)), '{}')
    from analytics._presence_of_groups(
      _visible_periods.event_type_id, array[bounds[1], bounds[cardinality(bounds)]], _visible_periods.item_id,
      _visible_periods.among, null, 10, null, _visible_periods.smallest_group
    ) as period
    where period.start_at >= bounds[1]
      and period.end_at <= bounds[width_bucket(period.start_at, bounds) + 1]
  );
end;
$$;

comment on function analytics._visible_periods(int, bigint, text, timestamptz[], int) is $$
Returns the parts of a period whose events of a type count for analysts.
They are those of `analytics._presence_of_groups` that are whole within a bucket. `bounds`: ascending times.
$$;

grant execute on function analytics._visible_periods(int, bigint, text, timestamptz[], int) to insights_reader;

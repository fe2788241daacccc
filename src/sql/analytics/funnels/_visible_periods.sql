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
    with member as (
      select period.start_at, period.end_at, sum(bit_count(period.people)) as person_count
      from analytics._presence_of_groups(
        _visible_periods.event_type_id, array[bounds[1], bounds[cardinality(bounds)]], _visible_periods.item_id,
        _visible_periods.among, null, 10, null, _visible_periods.smallest_group
      ) as period
      group by period.start_at, period.end_at
    ),

    everyone as (
      select period.start_at, period.end_at, sum(bit_count(period.people)) as person_count
      from analytics._presence_of_groups(
        _visible_periods.event_type_id, array[bounds[1], bounds[cardinality(bounds)]], _visible_periods.item_id,
        null, null, 10, null, _visible_periods.smallest_group
      ) as period
      where _visible_periods.among is not null
      group by period.start_at, period.end_at
    )

    select coalesce(range_agg(tstzrange(member.start_at, member.end_at)), '{}')
    from member
    left join everyone on everyone.start_at = member.start_at and everyone.end_at = member.end_at
    where member.start_at >= bounds[1]
      and member.end_at <= bounds[width_bucket(member.start_at, bounds) + 1]
      -- The others are a group too, or there are none.
      and (
        _visible_periods.among is null
        or everyone.person_count = member.person_count
        or everyone.person_count - member.person_count >= _visible_periods.smallest_group
      )
  );
end;
$$;

comment on function analytics._visible_periods(int, bigint, text, timestamptz[], int) is $$
Returns the parts of a period whose events of a type count for analysts.
They are those of `analytics._presence_of_groups` that are whole within a bucket. `bounds`: ascending times. Of members
of `among`, those in which the others are a group as well, or there are no others.
$$;

grant execute on function analytics._visible_periods(int, bigint, text, timestamptz[], int) to insights_reader;

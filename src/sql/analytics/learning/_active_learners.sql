create or replace function analytics._active_learners(
  course_id bigint, learners bigint[], since timestamptz, until timestamptz, zone text, smallest_group int
)
returns bigint[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_days constant timestamptz[] := analytics._bounds(
    'day', _active_learners.since, _active_learners.until, coalesce(_active_learners.zone, 'UTC')
  );
begin
  if _active_learners.smallest_group is null then
    return _active_learners.learners;
  end if;
  return array(
    select entry.person_id
    from unnest(_active_learners.learners) as entry (person_id)
    join (
      select present.block, bit_or(present.people) as people
      from analytics._presence(
        0, array[v_days[1], v_days[cardinality(v_days)]], _active_learners.course_id
      ) as present
      group by present.block
    ) as active
      on active.block = entry.person_id / 4096
      and get_bit(active.people, (entry.person_id % 4096)::int) <> 0
  );
end;
$$;

comment on function analytics._active_learners(bigint, bigint[], timestamptz, timestamptz, text, int) is $$
Returns those of the people who are active in a period, or in a course in this period.
Of figures about the period, each value of a breakdown is a group of these. `smallest_group` null: all of the people.
$$;

grant execute on function analytics._active_learners(bigint, bigint[], timestamptz, timestamptz, text, int)
to insights_reader;

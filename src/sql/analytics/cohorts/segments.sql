/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._segments(compared_days int, smallest_group int)
returns setof analytics.segment_size
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
set timezone to 'UTC'
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_counted analytics.people_block[];
  v_stale bigint[];
begin
  perform common.check_count('compared_days', _segments.compared_days, 1, 3660);
  v_counted := array(
    select row(
      blocks.block,
      case when _segments.smallest_group is null then ~v_no_people else coalesce(counted.people, v_no_people) end
        & ~coalesce(excluded.people, v_no_people)
    )::analytics.people_block
    from generate_series(0, (select max(person.person_id) / 4096 from track.person)::int) as blocks (block)
    left join track.person_set_blocks('counted') as counted on counted.block = blocks.block
    left join track.person_set_blocks('excluded') as excluded on excluded.block = blocks.block
  );
  v_counted := analytics._profiled(v_counted);
  -- The conditions are those of whole days, for which only people whose events have changed are read one by one.
  v_stale := array(select distinct stale.person_id from track.stale where stale.person_id <> 0);

  return query
  with counted as (
    select
      cohort.name, cohort.as_of, person_set.description,
      (
        select coalesce(sum(bit_count(members.people & part.people)), 0)::bigint
        from track.person_set_blocks(cohort.name) as members
        join unnest(v_counted) as part on part.block = members.block
      ) as person_count,
      (
        select coalesce(sum(bit_count(former.people)), 0)::bigint
        from unnest(
          analytics._rule_people(
            cohort.rule, v_counted, v_stale, cohort.as_of - _segments.compared_days,
            (cohort.as_of - _segments.compared_days + 1)::timestamptz
          )
        ) as former
      ) as former_count
    from analytics.cohort
    join track.person_set using (name)
    where starts_with(cohort.name, 'segment.')
  ),

  shown as (
    select
      counted.*,
      analytics._shown(counted.person_count, counted.person_count, _segments.smallest_group)::bigint as shown_count,
      analytics._shown(counted.former_count, counted.former_count, _segments.smallest_group)::bigint as shown_former
    from counted
  )

  select
    split_part(shown.name, '.', 2),
    shown.description,
    shown.shown_count,
    shown.shown_count / nullif(sum(shown.shown_count) over (), 0)::float8,
    shown.shown_former,
    shown.shown_count - shown.shown_former,
    shown.as_of,
    shown.as_of - _segments.compared_days
  from shown
  order by array_position('{segment.new,segment.returning,segment.casual,segment.regular,segment.power}', shown.name);
end;
$$;

alter function analytics._segments(int, int) owner to insights_reader;

comment on function analytics._segments(int, int) is $$
Computes the result of `analytics.segments`.
`smallest_group`: numbers of counted people (see `analytics._shown`); null: of all people who are not excluded.
$$;

grant execute on function analytics._segments(int, int) to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._segments_shown(compared_days int)
returns setof analytics.segment_size
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select * from analytics._segments($1, (select smallest_group from analytics.setting));
$$;

alter function analytics._segments_shown(int) owner to insights_reader;

comment on function analytics._segments_shown(int) is $$
Returns the result of `analytics.segments` for analysts: rounded numbers of counted people.
$$;

grant execute on function analytics._segments_shown(int) to insights_analyst;

create or replace function analytics.segments(compared_days int default 28)
returns setof analytics.segment_size
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege('analytics._segments(int, int)', 'execute') then
    return query select * from analytics._segments(segments.compared_days, null);
  else
    return query select * from analytics._segments_shown(segments.compared_days);
  end if;
end;
$$;

comment on function analytics.segments(int) is $$
Returns the sizes of the segments, and those of `compared_days` earlier.
The earlier sizes are computed from the events before that day, as they are stored now. Definitions and thresholds:
`analytics.define_segments`. For admins and workers, numbers are exact, of people who are not excluded. Analysts see
numbers of counted people, rounded by `analytics._shown`; shares and changes are computed from the numbers as shown.
Errors: CF001 for an invalid `compared_days`.
$$;

grant execute on function analytics.segments(int) to insights_analyst, insights_admin, insights_worker;

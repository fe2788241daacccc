/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._cohorts(smallest_group int)
returns setof analytics.cohort_size
language plpgsql
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
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
begin
  return query
  with counted as materialized (
    select
      blocks.block,
      case when _cohorts.smallest_group is null then ~v_no_people else coalesce(counted.people, v_no_people) end
        & ~coalesce(excluded.people, v_no_people) as people
    from generate_series(0, (select max(person.person_id) / 4096 from track.person)::int) as blocks (block)
    left join track.person_set_blocks('counted') as counted on counted.block = blocks.block
    left join track.person_set_blocks('excluded') as excluded on excluded.block = blocks.block
  )

  select
    person_set.name,
    person_set.description,
    coalesce(cohort.is_live, false),
    case
      when person_set.name not in (select incomplete.name from analytics._incomplete_sets() as incomplete)
        then analytics._shown(size.person_count, size.person_count, _cohorts.smallest_group)::bigint
    end,
    cohort.as_of
  from track.person_set
  left join analytics.cohort on cohort.name = person_set.name
  cross join lateral (
    select coalesce(sum(bit_count(members.people & counted.people)), 0)::bigint as person_count
    from track.person_set_blocks(person_set.name) as members
    join counted on counted.block = members.block
  ) as size
  where starts_with(person_set.name, 'cohort.')
    or starts_with(person_set.name, 'segment.')
  order by person_set.name;
end;
$$;

alter function analytics._cohorts(int) owner to insights_reader;

comment on function analytics._cohorts(int) is $$
Computes the result of `analytics.cohorts`.
`smallest_group`: numbers of counted people (see `analytics._shown`); null: of all people who are not excluded.
$$;

grant execute on function analytics._cohorts(int) to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._cohorts_shown()
returns setof analytics.cohort_size
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
  select * from analytics._cohorts((select smallest_group from analytics.setting));
$$;

alter function analytics._cohorts_shown() owner to insights_reader;

comment on function analytics._cohorts_shown() is $$
Returns the result of `analytics.cohorts` for analysts: rounded numbers of counted people.
$$;

grant execute on function analytics._cohorts_shown() to insights_analyst;

create or replace function analytics.cohorts()
returns setof analytics.cohort_size
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege('analytics._cohorts(int)', 'execute') then
    return query select * from analytics._cohorts(null);
  else
    return query select * from analytics._cohorts_shown();
  end if;
end;
$$;

comment on function analytics.cohorts() is $$
Returns the cohorts and segments with their sizes, as of now.
Sizes are null for those that read variations of an experiment whose people were deleted by retention.
Each is a set of people, whose name is accepted as `among` (`cohort.beta`) and as `breakdown` (`set.cohort.beta`, or
`set.segment` for all segments). For admins and workers, sizes are exact, of people who are not excluded. Analysts see
numbers of counted people, rounded by `analytics._shown`: cohorts of too few people read as empty ones. The rules are
in `analytics.cohort`, for admins.
$$;

grant execute on function analytics.cohorts() to insights_analyst, insights_admin, insights_worker;

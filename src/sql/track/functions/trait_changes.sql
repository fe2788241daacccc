create or replace function track.trait_changes(people bigint[], name text)
returns table (person_id bigint, set_at timestamptz[], value jsonb[])
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- Null and a list of people need different plans.
set plan_cache_mode to force_custom_plan
-- The planner has no statistics of `stored`, and compares each row of it with each person.
set enable_nestloop to off
-- Compilation would take longer than most calls.
set jit to off
as $$
begin
  return query
  with stored as materialized (
    select history.person_id, history.identity_id, history.set_at, history.value, history.repeated_at
    from track.trait_history as history
    where (trait_changes.people is null or history.person_id = any (trait_changes.people))
      and history.name = trait_changes.name
  ),

  -- Most people have one row, or one value.
  person as materialized (
    select
      stored.person_id, min(stored.identity_id) = max(stored.identity_id) as is_identity,
      max(cardinality(stored.value)) = 1 and min(stored.value[1]::text) = max(stored.value[1]::text) as is_value
    from stored
    where stored.person_id in (select one.person_id from stored as one group by one.person_id having count(*) > 1)
    group by stored.person_id
  ),

  point as (
    select stored.person_id, entry.set_at, entry.value
    from stored
    join person on person.person_id = stored.person_id
    cross join lateral unnest(stored.set_at, stored.value) as entry (set_at, value)
    where person.is_identity
      and not person.is_value

    union all

    -- Repetitions decide between the identities of a person.
    select stored.person_id, entry.set_at, entry.value
    from stored
    join person on person.person_id = stored.person_id
    cross join lateral track._trait_points(stored.set_at, stored.value, stored.repeated_at) as entry
    where not person.is_identity
      and not person.is_value
  ),

  said as (
    select distinct on (point.person_id, point.set_at) point.person_id, point.set_at, point.value
    from point
    order by point.person_id, point.set_at, point.value desc, point.value::text desc
  ),

  changed as (
    select
      said.person_id, said.set_at, said.value,
      said.value::text is distinct from lag(said.value::text) over (
        partition by said.person_id order by said.set_at
      ) as is_other
    from said
  )

  select stored.person_id, stored.set_at, stored.value
  from stored
  where stored.person_id not in (select person.person_id from person)

  union all

  select stored.person_id, array[min(stored.set_at[1])], array[(array_agg(stored.value[1]))[1]]
  from stored
  join person on person.person_id = stored.person_id
  where person.is_value
  group by stored.person_id

  union all

  select
    changed.person_id,
    array_agg(changed.set_at order by changed.set_at),
    array_agg(changed.value order by changed.set_at)
  from changed
  where changed.is_other
  group by changed.person_id;
end;
$$;

comment on function track.trait_changes(bigint[], text) is $$
@behavior -*
Returns the values that a trait of people had in the course of time: one row per person who has had it.
The value at a time is `value[width_bucket(time, set_at)]`: null before the first known one. Each of the values differs
from the one before; JSON null is a value of more than 1,000 bytes, or one that was sent as null. Of several
identities of a person, the one that sent the trait last applies, and the greater value of two of the same time.
`people` null: all people.
$$;

grant execute on function track.trait_changes(bigint[], text)
to insights_reader, insights_learner, insights_admin;

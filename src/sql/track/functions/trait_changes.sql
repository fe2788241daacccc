create or replace function track.trait_changes(people bigint[], name text)
returns table (person_id bigint, set_at timestamptz[], value jsonb[])
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- Null and a list of people need different plans.
set plan_cache_mode to force_custom_plan
as $$
begin
  return query
  with stored as materialized (
    select
      history.person_id, history.set_at, history.value,
      min(history.identity_id) over of_person = max(history.identity_id) over of_person as is_single
    from track.trait_history as history
    where (trait_changes.people is null or history.person_id = any (trait_changes.people))
      and history.name = trait_changes.name
    window of_person as (partition by history.person_id)
  ),

  -- Repetitions decide between the identities of a person, and are left out where there is one.
  point as (
    select stored.person_id, entry.set_at, entry.value
    from stored
    cross join lateral unnest(stored.set_at, stored.value) as entry (set_at, value)
    where stored.is_single
      and entry.value is not null

    union all

    select stored.person_id, entry.set_at, entry.value
    from stored
    cross join lateral track._trait_points(stored.set_at, stored.value) as entry
    where not stored.is_single
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

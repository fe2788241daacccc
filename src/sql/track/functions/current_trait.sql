create or replace function track.current_trait(people bigint[], name text)
returns table (person_id bigint, value jsonb, set_at timestamptz)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- Null and a list of people need different plans.
set plan_cache_mode to force_custom_plan
as $$
begin
  return query
  select distinct on (trait.person_id) trait.person_id, trait.value, trait.set_at
  from track.trait
  where (current_trait.people is null or trait.person_id = any (current_trait.people))
    and trait.name = current_trait.name
  order by trait.person_id, trait.set_at desc, trait.value desc, trait.value::text desc;
end;
$$;

comment on function track.current_trait(bigint[], text) is $$
@behavior -*
Returns the value of a trait of people: one row per person who has it.
Of several identities of a person, the one that sent the trait last applies, and the greater value of two of the same
time. `people` null: all people.
$$;

grant execute on function track.current_trait(bigint[], text)
to insights_reader, insights_learner, insights_admin;

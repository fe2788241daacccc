create or replace function privacy.restricted(people bigint[] default null)
returns setof bigint
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  -- Two statements, so that the plan for a few people does not read the restrictions of all people.
  if restricted.people is null then
    return query
    select distinct restriction.person_id
    from privacy.restriction;
  else
    return query
    select distinct restriction.person_id
    from privacy.restriction
    where restriction.person_id = any (restricted.people);
  end if;
end;
$$;

comment on function privacy.restricted(bigint[]) is $$
@behavior -*
Returns which of the given people have their data restricted; null: of all people. See `privacy.restrict_person`.
$$;

grant execute on function privacy.restricted(bigint[]) to insights_reader, insights_learner, insights_admin,
  insights_worker;

create or replace function privacy.shareable_people(people bigint[])
returns setof bigint
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_purposes constant text[] := array(select purpose.purpose from privacy.purpose where purpose.shares_data);
  v_needed constant text[] := array(
    select purpose.purpose from privacy.purpose where purpose.shares_data and purpose.basis = 'consent'
  );
begin
  return query
  select given.person_id
  from (
    select distinct entry.person_id
    from unnest(shareable_people.people) as entry (person_id)
    where entry.person_id <> 0
  ) as given
  left join (
    select
      decision.person_id,
      bool_and(decision.granted) as is_granted,
      count(*) filter (where decision.purpose = any (v_needed)) as needed
    from privacy.effective_decisions(v_purposes, shareable_people.people) as decision
    group by decision.person_id
  ) as decided on decided.person_id = given.person_id
  where coalesce(decided.is_granted, true)
    and coalesce(decided.needed, 0) = cardinality(v_needed)
    and given.person_id not in (
      select restricted.person_id from privacy.restricted(shareable_people.people) as restricted (person_id)
    );
end;
$$;

comment on function privacy.shareable_people(bigint[]) is $$
@behavior -*
Returns which of the given people allow that their data leaves the organization: see `privacy.may_share`.
The members of the set `shareable`.
$$;

grant execute on function privacy.shareable_people(bigint[])
to insights_reader, insights_learner, insights_admin, insights_worker;

create or replace function experiment._refused_people(people bigint[])
returns bigint[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return array(
    select entry.person_id
    from unnest(_refused_people.people) as entry (person_id)
    join privacy.purpose on purpose.purpose = 'analytics'
    left join privacy.latest_decisions('analytics', _refused_people.people) as decision
      on decision.person_id = entry.person_id
    where not coalesce(decision.granted, purpose.basis <> 'consent')
    union
    select restricted.person_id
    from privacy.restricted(_refused_people.people) as restricted (person_id)
  );
end;
$$;

comment on function experiment._refused_people(bigint[]) is $$
Returns the people who have opted out of `analytics`, or whose data is restricted: they are in no experiment.
$$;

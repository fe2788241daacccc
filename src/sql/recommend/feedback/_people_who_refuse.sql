create or replace function recommend._people_who_refuse(people bigint[])
returns bigint[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_by_default constant boolean := (
    select purpose.basis <> 'consent'
    from privacy.purpose
    where purpose.purpose = 'personalization'
  );
begin
  -- With the default "allowed", the decisions that matter are opt-outs; with the default "not allowed", grants.
  return array(
    select distinct changed.person_id
    from unnest(_people_who_refuse.people) as changed (person_id)
    where v_by_default = (
      changed.person_id in (
        select decision.person_id
        from privacy.latest_decisions('personalization', _people_who_refuse.people) as decision
        where decision.granted <> v_by_default
      )
    )
  );
end;
$$;

comment on function recommend._people_who_refuse(bigint[]) is $$
@behavior -*
Returns the ones of the given people whose lists are not stored, because of their decision about `personalization`.
Without one, the basis of the purpose decides.
$$;

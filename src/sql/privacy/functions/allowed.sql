create or replace function privacy.allowed(person_id bigint, purpose text)
returns boolean
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  -- Most people have decided nothing and stated no age: the lawful basis applies. Each list calls this function.
  v_by_default constant boolean := (
    select purpose.basis <> 'consent'
    from privacy.purpose
    where purpose.purpose = allowed.purpose
      and not exists (select 1 from privacy.consent where consent.person_id = allowed.person_id)
      and not exists (select 1 from privacy.restriction where restriction.person_id = allowed.person_id)
      and not exists (select 1 from privacy.person_age where person_age.person_id = allowed.person_id)
  );
begin
  if v_by_default is not null then
    return v_by_default;
  end if;
  return (
    select not exists (select from privacy.restricted(array[allowed.person_id])) and coalesce(
      (
        select decision.granted
        from privacy.effective_decisions(array[allowed.purpose], array[allowed.person_id]) as decision
      ),
      purpose.basis <> 'consent'
    )
    from privacy.purpose
    where purpose.purpose = allowed.purpose
  );
end;
$$;

comment on function privacy.allowed(bigint, text) is $$
@behavior -queryField
Returns whether the data of a person may be processed for a purpose.
The decision that applies is that of `privacy.effective_decisions`: the latest one of the person, unless it expired or
she was not of age. Without a decision, processing is allowed unless the lawful basis is `consent`. Null for an unknown
purpose.
False for all purposes while the data of the person is restricted (`privacy.restrict_person`).
$$;

grant execute on function privacy.allowed(bigint, text)
to insights_reader, insights_learner, insights_admin, insights_worker;

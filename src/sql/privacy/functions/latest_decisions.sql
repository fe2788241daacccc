create or replace function privacy.latest_decisions(purpose text, people bigint[] default null)
returns table (person_id bigint, granted boolean)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  -- Two statements, so that the plan for a few people does not read the decisions of all people.
  if latest_decisions.people is null then
    return query
    select distinct on (consent.person_id) consent.person_id, consent.granted
    from privacy.consent
    where consent.purpose = latest_decisions.purpose
    order by consent.person_id, consent.decided_at desc, consent.recorded_at desc;
  else
    return query
    select distinct on (consent.person_id) consent.person_id, consent.granted
    from privacy.consent
    where consent.purpose = latest_decisions.purpose
      and consent.person_id = any (latest_decisions.people)
    order by consent.person_id, consent.decided_at desc, consent.recorded_at desc;
  end if;
end;
$$;

comment on function privacy.latest_decisions(text, bigint[]) is $$
@behavior -*
Returns the latest decision about a purpose, one row per person who has decided.
`people` restricts the result to these people; null: all people. Functions read this function instead of the view
`privacy.current_consent`, because its parameters restrict the rows that are read.
$$;

grant execute on function privacy.latest_decisions(text, bigint[]) to insights_reader, insights_admin;

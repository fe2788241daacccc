create or replace function privacy.latest_decisions(purpose text, people bigint[] default null)
returns table (person_id bigint, granted boolean)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  select decision.person_id, decision.granted
  from privacy.effective_decisions(array[latest_decisions.purpose], latest_decisions.people) as decision;
end;
$$;

comment on function privacy.latest_decisions(text, bigint[]) is $$
@behavior -*
Returns the decision about a purpose that applies now, one row per person for whom there is one.
`people` restricts the result to these people; null: all people. See `privacy.effective_decisions`. Functions read this
function instead of the view `privacy.current_consent`, because its parameters restrict the rows that are read.
$$;

grant execute on function privacy.latest_decisions(text, bigint[]) to insights_reader, insights_admin;

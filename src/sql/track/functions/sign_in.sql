create or replace function track.sign_in()
returns bigint
language sql
volatile
begin atomic
  select nullif(set_config('insights.person_id', coalesce(track.current_person_id()::text, ''), true), '')::bigint;
end;

comment on function track.sign_in() is $$
@behavior -queryField -mutationField
Looks up the person whom the setting `insights.person` names, and sets `insights.person_id` to it for the rest of the transaction: the row policies compare with that. Null, and no person's rows, for a stranger.
A transaction keeps the person that it began with; what links or unlinks identities meanwhile counts from the next one on.
$$;

grant execute on function track.sign_in()
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function track.sign_in()
returns bigint
language sql
volatile
begin atomic
  select nullif(set_config('insights.person_id', coalesce(track.current_person_id()::text, ''), true), '')::bigint;
end;

comment on function track.sign_in() is $$
@behavior -queryField -mutationField
Sets `insights.person_id`, which the row policies use, to the person of `insights.person`. Returns its key.
The setting applies until the end of the transaction. Null, and no rows of people, for an unknown person. Links that
are added or removed during the transaction apply from the next one.
$$;

grant execute on function track.sign_in()
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

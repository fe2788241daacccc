/* A definer: it looks up the identity of the caller, and row security depends on its result. */
create or replace function track.current_person_id()
returns bigint
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- plpgsql, because it caches the plan: every request of a person calls this function.
  return (
    select identity.person_id
    from track.identity
    where identity.external_id = nullif(current_setting('insights.person', true), '')
      and identity.kind = 'user'
  );
end;
$$;

comment on function track.current_person_id() is $$
@behavior -queryField
Returns the signed-in person: the one whose `userId` is the setting `insights.person`; null when unknown.
The API sets it to the subject of the token.
$$;

grant execute on function track.current_person_id()
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

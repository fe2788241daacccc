create or replace function privacy.lift_restriction(person text)
returns boolean
language plpgsql
volatile
-- A definer: it writes privacy.restriction, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_subject constant privacy.subject := privacy._held_subject(lift_restriction.person);
begin
  delete from privacy.restriction
  where restriction.person_id = v_subject.person_id;
  if not found then
    return false;
  end if;
  perform privacy._call_listeners(array[v_subject.person_id]);
  return true;
end;
$$;

comment on function privacy.lift_restriction(text) is $$
Ends the restriction of the data of a person. Tell the person before (GDPR article 18(3)).
She is in figures, segments and lists again from the next refresh on. False when her data was not restricted.
Errors: CF002 for an unknown person.
$$;

grant execute on function privacy.lift_restriction(text) to insights_admin;

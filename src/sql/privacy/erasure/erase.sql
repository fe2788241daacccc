create or replace function privacy.erase(subject privacy.subject)
returns setof privacy.erased
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  return next privacy.erase_rows('privacy.consent', 'person_id', array[subject.person_id]);
  return query select erased.* from privacy.forget_rights(subject) as erased;
end;
$$;

comment on function privacy.erase(privacy.subject) is $$
@behavior -*
Erases the decisions of a person, and the names of her requests. Called by `privacy.erase_person`, after the other rooms.
$$;

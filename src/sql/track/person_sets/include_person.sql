create or replace function track.include_person(person text)
returns boolean
language plpgsql
volatile
-- A definer: it writes track.exclusion, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_identity_id constant bigint := track._identity_to_exclude(include_person.person);
  v_person_id constant bigint := (
    select identity.person_id from track.identity where identity.identity_id = v_identity_id
  );
begin
  delete from track.exclusion
  using track.identity
  where identity.identity_id = exclusion.identity_id
    and (
      identity.person_id = v_person_id
      -- The identity that an unlink of the user of an excluded browser left.
      or identity.external_id = include_person.person
      and identity.kind = 'anonymous'
      and identity.person_id = identity.identity_id
    );
  if not found then
    perform common.refuse(
      'CF002',
      format('"%s" is not excluded', left(include_person.person, 100)),
      'The excluded identities are the rows of track.exclusion.'
    );
  end if;
  perform track._enqueue('identity', array[v_person_id]);
  return true;
end;
$$;

comment on function track.include_person(text) is $$
Reverses `track.exclude_person`, for all names of the person. It takes effect at the next refresh.
Errors: CF002 for an unknown name, and for a person who is not excluded.
$$;

grant execute on function track.include_person(text) to insights_admin;

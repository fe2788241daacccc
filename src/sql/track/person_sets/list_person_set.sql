create or replace function track.list_person_set(name text)
returns bigint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_set constant track.person_set := track._find_person_set(list_person_set.name);
begin
  -- The locks of track._list_people and of track.refresh, in their order.
  perform pg_advisory_xact_lock(hashtext('track.person_set'));
  perform pg_advisory_xact_lock(hashtext('track.refresh'));
  -- A person has the key of one of its identities.
  insert into track.person_set_member (name, identity_id)
  select v_set.name, member.person_id
  from track.person_set_members(v_set.name) as member (person_id)
  on conflict do nothing;
  update track.person_set
  set members = null, consumer = 'track.person_set'
  where person_set.name = v_set.name;
  return track._person_set_size(v_set.name);
end;
$$;

comment on function track.list_person_set(text) is $$
@behavior -*
Makes a computed set a list of its present members, as of the last refresh. Returns the number of people.
From then on it follows merges of people and their reversal only. For the owner. Errors: CF002 for an unknown set.
$$;

create or replace function track.undefine_person_set(name text)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_set constant track.person_set := track._find_person_set(undefine_person_set.name);
begin
  -- The locks of track._list_people and of track.refresh, in their order.
  perform pg_advisory_xact_lock(hashtext(v_set.consumer));
  perform pg_advisory_xact_lock(hashtext('track.refresh'));
  perform track._enqueue_set(v_set.name, array(select track.person_set_members(v_set.name)));
  delete from track.person_set where person_set.name = v_set.name;
end;
$$;

comment on function track.undefine_person_set(text) is $$
@behavior -*
Removes a set of people, whether its members are computed or listed: the reverse of `track.define_person_set`.
For the owner. Errors: CF002 for an unknown set.
$$;

create or replace function track._list_people(name text, added bigint[], removed bigint[])
returns bigint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_set constant track.person_set := track._find_person_set(_list_people.name);
  v_unknown bigint;
  v_changed bigint[];
begin
  if v_set.members is not null then
    perform common.refuse(
      'CF001',
      format('the members of "%s" are computed by %s', v_set.name, v_set.members),
      'Use another name for a set whose members are listed.'
    );
  end if;
  if array_position(_list_people.added, null) is not null then
    perform common.refuse('CF001', 'a person is null', 'Give the keys of people, as track.find_person returns them.');
  end if;
  select entry.person_id into v_unknown
  from unnest(_list_people.added) as entry (person_id)
  where not exists (select from track.person where person.person_id = entry.person_id and person.person_id <> 0)
  order by entry.person_id
  limit 1;
  if found then
    perform common.refuse(
      'CF002', format('there is no person %s', v_unknown), 'Give the keys of people, as track.find_person returns them.'
    );
  end if;

  -- The lock of the recomputation, before the rows of the list, so that two calls cannot wait for each other.
  perform pg_advisory_xact_lock(hashtext(v_set.consumer));
  with deleted as (
    delete from track.person_set_member
    using track.identity
    where person_set_member.name = v_set.name
      and identity.identity_id = person_set_member.identity_id
      and (
        _list_people.removed is null
        or exists (
          select from unnest(_list_people.removed) as gone (person_id) where gone.person_id = identity.person_id
        )
      )
      and not exists (
        select from unnest(_list_people.added) as kept (person_id) where kept.person_id = identity.person_id
      )
    returning identity.person_id
  )
  select array_agg(deleted.person_id) into v_changed
  from deleted;

  -- A person has the key of one of its identities. The list holds that identity, so that it follows merges.
  insert into track.person_set_member (name, identity_id)
  select v_set.name, entry.person_id
  from unnest(_list_people.added) as entry (person_id)
  on conflict do nothing;

  -- As of now: a merge that was committed in the meantime has moved identities.
  perform track.recompute_person_sets(
    v_set.consumer,
    v_changed || array(
      select identity.person_id
      from track.identity
      where identity.identity_id = any (_list_people.added || v_changed)
    ),
    v_set.name
  );
  return track._person_set_size(v_set.name);
end;
$$;

comment on function track._list_people(text, bigint[], bigint[]) is $$
Adds people to the list of a set and removes others from it; `removed` null: all others.
Returns the number of people in the set.
Errors: CF001 for a set with computed members, CF002 for an unknown set or person.
$$;

create or replace function track._move_identities(identity_ids bigint[], old_people bigint[], new_people bigint[])
returns void
language plpgsql
volatile
-- A definer: it moves the data of people between tables that no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_touched bigint[];
begin
  insert into track.person (person_id, created_at)
  select distinct identity.identity_id, identity.created_at
  from unnest(_move_identities.new_people) as moved (person_id)
  join track.identity on identity.identity_id = moved.person_id
  on conflict (person_id) do nothing;

  update track.identity
  set person_id = moved.new_person_id
  from unnest(_move_identities.identity_ids, _move_identities.new_people) as moved (identity_id, new_person_id)
  where identity.identity_id = moved.identity_id;

  perform track._move_events(
    _move_identities.identity_ids, _move_identities.identity_ids, _move_identities.old_people,
    _move_identities.new_people,
    array_fill('-infinity'::timestamptz, array[cardinality(_move_identities.identity_ids)]),
    array_fill('infinity'::timestamptz, array[cardinality(_move_identities.identity_ids)])
  );

  with deleted as (
    delete from track.trait
    using unnest(_move_identities.identity_ids, _move_identities.old_people, _move_identities.new_people)
      as moved (identity_id, old_person_id, new_person_id)
    where trait.person_id = moved.old_person_id
      and trait.identity_id = moved.identity_id
    returning moved.new_person_id, trait.*
  )
  insert into track.trait (person_id, identity_id, name, value, set_at)
  select new_person_id, identity_id, name, value, set_at
  from deleted;

  with deleted as (
    delete from track.trait_history
    using unnest(_move_identities.identity_ids, _move_identities.old_people, _move_identities.new_people)
      as moved (identity_id, old_person_id, new_person_id)
    where trait_history.person_id = moved.old_person_id
      and trait_history.identity_id = moved.identity_id
    returning moved.new_person_id, trait_history.*
  )
  insert into track.trait_history (person_id, identity_id, name, since, set_at, value, repeated_at)
  select new_person_id, identity_id, name, since, set_at, value, repeated_at
  from deleted;

  with deleted as (
    delete from track.enrolment
    using unnest(_move_identities.identity_ids, _move_identities.old_people, _move_identities.new_people)
      as moved (identity_id, old_person_id, new_person_id)
    where enrolment.person_id = moved.old_person_id
      and enrolment.identity_id = moved.identity_id
    returning moved.old_person_id, moved.new_person_id, enrolment.*
  ),

  placed as (
    insert into track.enrolment (
      person_id, item_id, status, enrolled_at, ended_at, identity_id, named_item_id, source_id
    )
    select new_person_id, item_id, status, enrolled_at, ended_at, identity_id, named_item_id, source_id
    from deleted
  )

  select array_agg(old_person_id) || array_agg(new_person_id)
  into v_touched
  from deleted;
  perform track._enqueue('enrolment', array(select distinct person_id from unnest(v_touched) as person_id));

  update track.item_role
  set person_id = moved.new_person_id
  from unnest(_move_identities.identity_ids, _move_identities.old_people, _move_identities.new_people)
    as moved (identity_id, old_person_id, new_person_id)
  where item_role.person_id = moved.old_person_id
    and item_role.identity_id = moved.identity_id;

  perform privacy.move_subjects(_move_identities.identity_ids, _move_identities.new_people);
  perform privacy.move_decisions(
    _move_identities.identity_ids, _move_identities.old_people, _move_identities.new_people
  );

  perform track._enqueue('identity', array(
    select distinct moved.person_id
    from unnest(_move_identities.old_people || _move_identities.new_people) as moved (person_id)
  ));

  delete from track.person
  where person.person_id = any (_move_identities.old_people)
    and not exists (select from track.identity where identity.person_id = person.person_id);
end;
$$;

comment on function track._move_identities(bigint[], bigint[], bigint[]) is $$
Moves identities and their data, each from its old person to its new one; the three lists have the same length.
The cost is proportional to the data of the old people. Months without events of them are neither read nor locked.
The caller has locked the people and the identities.
$$;

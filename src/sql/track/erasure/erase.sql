create or replace function track.erase(subject privacy.subject)
returns setof privacy.erased
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_people constant bigint[] := array[subject.person_id];
  v_identities constant bigint[] := subject.identity_ids;
  v_items bigint[];
  v_types int[];
  v_used record;
  v_consumer track.consumer;
  v_rows bigint;
begin
  v_items := array(
    select event.item_id from track.event where event.person_id = subject.person_id
    union
    select event.named_item_id from track.event where event.person_id = subject.person_id
    union
    select source.item_id from track.item_source as source where source.identity_id = any (v_identities)
  );
  v_types := array(select distinct event.event_type_id from track.event where event.person_id = subject.person_id);
  -- Courses that are queued are left out by the refresh of a person.
  perform track._refresh_course_presence();

  -- First what is derived from the events: the refresh of a person without events removes her from each rollup.
  return next privacy.erase_rows('track.event', 'person_id', v_people);
  v_rows := (select count(*) from track.session where session.person_id = subject.person_id);
  insert into track.stale (person_id, since, until) values (subject.person_id, '-infinity', 'infinity');
  perform track._refresh_sessions_of(v_people);
  return next row('track.session', v_rows, 'deleted')::privacy.erased;
  return next privacy.erase_rows('track.stale_property', 'person_id', v_people);

  return next privacy.erase_rows('track.trait', 'person_id', v_people);
  return next privacy.erase_rows('track.trait_history', 'person_id', v_people);
  return next privacy.erase_rows('track.enrolment', 'person_id', v_people);
  return next privacy.erase_rows('track.item_role', 'person_id', v_people);
  return next privacy.erase_rows('track.exclusion', 'identity_id', v_identities);
  return next privacy.erase_rows('track.person_set_member', 'identity_id', v_identities);
  return next privacy.erase_rows('track.identity_link', 'identity_id', v_identities);
  return next privacy.erase_rows('track.identity_link', 'linked_identity_id', v_identities);
  return next privacy.erase_rows('track.identity', 'identity_id', v_identities);
  return next privacy.erase_rows('track.person', 'person_id', v_people);
  perform track._number_browsers(subject.names);

  -- Sets of people, cohorts and what else other rooms derive: each finds no data of the person any more.
  for v_consumer in
    select consumer.*
    from track.consumer
    order by consumer.position
  loop
    execute format(
      'select %I.%I($1, $2, $3)', split_part(v_consumer.refresh, '.', 1), split_part(v_consumer.refresh, '.', 2)
    )
    using v_people, array['-infinity'::timestamptz], array['infinity'::timestamptz];
  end loop;
  return next privacy.erase_rows('track.stale', 'person_id', v_people);
  return next privacy.erase_rows('track.changed', 'person_id', v_people);

  -- Not while a batch is stored that may name one of them: see track._has_names_of_its_own.
  if pg_try_advisory_xact_lock(hashtext('track.ingest')) then
    v_used := track._other_use(v_items, v_types);
    v_rows := track._erase_items(array(select unnest(v_items) except select unnest(v_used.used_items)));
    return next row('track.item', v_rows, 'deleted')::privacy.erased;
    v_rows := track._erase_event_types(array(select unnest(v_types) except select unnest(v_used.used_types)));
    return next row('track.event_type', v_rows, 'deleted')::privacy.erased;
  end if;
  v_rows := track._erase_descriptions(v_identities);
  return next row('track.item', v_rows, 'cleared')::privacy.erased;
end;
$$;

comment on function track.erase(privacy.subject) is $$
@behavior -*
Erases the people, identities and events of a person, and recomputes the rollups and sets without her.
Called by `privacy.erase_person`, after the rooms whose data is derived from it. The caller has locked the person.
$$;

create or replace function track._number_browsers(names text[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  -- The first identity of each name has the branch 0.
  update track.identity
  set branch = 0
  where identity.identity_id in (
    select min(sibling.identity_id)
    from track.identity as sibling
    where sibling.external_id = any (_number_browsers.names)
      and sibling.kind = 'anonymous'
    group by sibling.external_id
    having min(sibling.branch) > 0
  );
end;
$$;

comment on function track._number_browsers(text[]) is $$
Makes the oldest identity of each browser the first one, after others of the same browser were deleted.
$$;

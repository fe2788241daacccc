create or replace function track.erase(subject privacy.subject)
returns setof privacy.erased
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_identities constant bigint[] := subject.identity_ids;
  -- Messages without proof under the names of her browsers are people of their own, with the keys of their identities.
  v_people constant bigint[] := subject.identity_ids;
  -- A later link of a browser moves messages to the identity of another user, but not what they have told of items.
  v_tellers constant bigint[] := track._with_siblings(subject.identity_ids);
  v_items bigint[];
  v_types int[];
  v_used record;
  v_consumer track.consumer;
  v_rows bigint;
begin
  if subject.person_id is null then
    return;
  end if;
  v_items := array(
    select event.item_id from track.event where event.person_id = any (v_people)
    union
    select event.named_item_id from track.event where event.person_id = any (v_people)
    union
    select source.item_id from track.item_source as source where source.identity_id = any (v_tellers)
  );
  v_types := array(select distinct event.event_type_id from track.event where event.person_id = any (v_people));

  -- First what is derived from the events: the refresh of a person without events removes her from each rollup.
  return next privacy.erase_rows('track.event', 'person_id', v_people);
  return next privacy.erase_rows('track.stale_property', 'person_id', v_people);
  return query select counted.* from track._count_derived(v_people) as counted;
  insert into track.stale (person_id, since, until)
  select entry.person_id, '-infinity', 'infinity'
  from unnest(v_people) as entry (person_id);
  perform track._refresh_sessions_of(v_people);

  return query select erased.* from track._erase_statements(subject) as erased;
  return next privacy.erase_rows('track.trait', 'person_id', v_people);
  return next privacy.erase_rows('track.trait_history', 'person_id', v_people);
  return next privacy.erase_rows('track.enrolment', 'person_id', v_people);
  return next privacy.erase_rows('track.item_role', 'person_id', v_people);
  return next privacy.erase_rows('track.exclusion', 'identity_id', v_identities);
  return next privacy.erase_rows('track.person_set_member', 'identity_id', v_identities);
  return next privacy.clear_values('track.exclusion', 'excluded_by', privacy.user_names(subject));
  return next privacy.clear_values('track.write_key_log', 'actor', privacy.user_names(subject));
  return next privacy.clear_values('track.name_log', 'actor', privacy.user_names(subject));
  return next privacy.clear_values('track.forgotten_import', 'actor', privacy.user_names(subject));
  return next track._clear_examples(v_people);
  return next privacy.erase_rows('track.identity_link', 'identity_id', v_identities);
  return next privacy.erase_rows('track.identity_link', 'linked_identity_id', v_identities);
  return next privacy.erase_rows('track.identity', 'identity_id', v_identities);
  return next privacy.erase_rows('track.person', 'person_id', v_people);
  perform track._number_browsers(subject.names);
  perform track._give_back_traits(subject.names);

  -- Sets of people, cohorts and what else other rooms derive: each finds no data of the person any more.
  for v_consumer in
    select consumer.*
    from track.consumer
    order by consumer.position
  loop
    execute format(
      'select %I.%I($1, $2, $3)', split_part(v_consumer.refresh, '.', 1), split_part(v_consumer.refresh, '.', 2)
    )
    using
      v_people,
      array_fill('-infinity'::timestamptz, array[cardinality(v_people)]),
      array_fill('infinity'::timestamptz, array[cardinality(v_people)]);
  end loop;
  return next privacy.erase_rows('track.changed', 'person_id', v_people);

  v_rows := track._erase_descriptions(v_tellers);
  return next row('track.item', v_rows, 'cleared')::privacy.erased;
  -- Not while a batch is stored that may name one of them: see track._has_names_of_its_own.
  if pg_try_advisory_xact_lock(hashtext('track.ingest')) then
    v_used := track._other_use(v_items, v_types);
    v_rows := track._erase_items(array(select unnest(v_items) except select unnest(v_used.used_items)));
    return next row('track.item', v_rows, 'deleted')::privacy.erased;
    v_rows := track._erase_event_types(array(select unnest(v_types) except select unnest(v_used.used_types)));
    return next row('track.event_type', v_rows, 'deleted')::privacy.erased;
  end if;
end;
$$;

comment on function track.erase(privacy.subject) is $$
@behavior -*
Erases the people, identities and events of a person, and recomputes the rollups and sets without her.
Called by `privacy.erase_person`, after the rooms whose data is derived from it. The caller has locked the person.
$$;

create or replace function track._count_derived(people bigint[])
returns setof privacy.erased
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_activity constant track.activity[] := array(select track._whole_activity(_count_derived.people));
begin
  return query
  select 'track.session', count(*), 'deleted'
  from track.session
  where session.person_id = any (_count_derived.people);
  return query
  select 'track.step', count(*), 'deleted'
  from track.step
  where step.person_id = any (_count_derived.people);
  return query
  select 'track.step_value', count(*), 'deleted'
  from track.step_value
  where step_value.person_id = any (_count_derived.people);
  return query
  select 'track.presence', count(distinct (entry.event_type_id, entry.day)), 'recomputed'
  from unnest(v_activity) as entry
  where entry.event_count > 0
  union all
  select 'track.item_month', count(distinct (entry.item_id, date_trunc('month', entry.day::timestamp))), 'recomputed'
  from unnest(v_activity) as entry
  where entry.item_id is not null
  union all
  select 'track.item_day', count(distinct (entry.item_id, entry.day)), 'recomputed'
  from unnest(v_activity) as entry
  where entry.item_id is not null
  union all
  select
    'track.item_transition', count(distinct (entry.month, entry.source_item_id, entry.target_item_id)), 'recomputed'
  from track._whole_transitions(track._counted_among(_count_derived.people)) as entry
  union all
  select 'track.person_set_block', count(*), 'recomputed'
  from track.person_set_block as stored
  join unnest(_count_derived.people) as entry (person_id)
    on entry.person_id / 4096 = stored.block
    and get_bit(stored.people, (entry.person_id % 4096)::int) <> 0;
end;
$$;

comment on function track._count_derived(bigint[]) is $$
Counts the derived rows of people, before a refresh deletes or recomputes them.
$$;

create or replace function track._clear_examples(people bigint[])
returns privacy.erased
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_rows bigint;
begin
  update track.rollup_check
  set example = 'erased'
  where exists (
    select
    from unnest(_clear_examples.people) as entry (person_id)
    where starts_with(rollup_check.example, format('person %s,', entry.person_id))
  );
  get diagnostics v_rows = row_count;
  return row('track.rollup_check', v_rows, 'cleared')::privacy.erased;
end;
$$;

comment on function track._clear_examples(bigint[]) is $$
Replaces the keys of people in the results of checks of the rollups.
$$;

create or replace function track._give_back_traits(names text[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_people bigint[];
begin
  with browser as materialized (
    select identity.external_id, identity.identity_id, identity.person_id
    from track.identity
    where identity.external_id = any (_give_back_traits.names)
      and identity.kind = 'anonymous'
  ),

  known as materialized (
    select browser.external_id, trait.name
    from browser
    join track.trait on trait.person_id = browser.person_id and trait.identity_id = browser.identity_id
  ),

  told as materialized (
    select
      browser.external_id, history.person_id, history.identity_id, history.name, history.set_at, history.value,
      history.repeated_at
    from browser
    join track.trait_history as history
      on history.person_id = browser.person_id and history.identity_id = browser.identity_id
  ),

  given_back as (
    insert into track.trait (person_id, identity_id, name, value, set_at)
    select distinct on (told.external_id, told.name)
      told.person_id, told.identity_id, told.name, point.value, point.set_at
    from told
    cross join lateral track._trait_points(told.set_at, told.value, told.repeated_at) as point
    where not exists (
      select 1
      from known
      where known.external_id = told.external_id
        and known.name = told.name
    )
    order by told.external_id, told.name, point.set_at desc, point.value desc, told.identity_id
    returning trait.person_id
  )

  select array_agg(distinct given_back.person_id) into v_people
  from given_back;
  perform track._enqueue('trait', v_people);
end;
$$;

comment on function track._give_back_traits(text[]) is $$
After the erasure of a user of browsers: traits of the other users that hers had replaced apply again.
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

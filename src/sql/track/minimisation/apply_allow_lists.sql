create or replace function track._apply_allowed_traits(most_rows int)
returns int
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_kept constant text[] := (
    select array_append(setting.allowed_traits, 'timezone') from track.setting
  );
  v_identities bigint[];
  v_names text[];
  v_deleted int;
begin
  if (select setting.allowed_traits from track.setting) is null then
    return 0;
  end if;
  select array_agg(wrong.identity_id), array_agg(wrong.name)
  into v_identities, v_names
  from (
    select trait.identity_id, trait.name from track.trait where trait.name <> all (v_kept)
    union
    select history.identity_id, history.name from track.trait_history as history where history.name <> all (v_kept)
    limit _apply_allowed_traits.most_rows
  ) as wrong;
  if v_identities is null then
    return 0;
  end if;

  -- The people of these identities must not change: merges move traits.
  perform identity.identity_id
  from track.identity
  where identity.identity_id = any (v_identities)
  order by identity.identity_id
  for key share;
  with wrong as (
    select entry.identity_id, entry.name from unnest(v_identities, v_names) as entry (identity_id, name)
  ),

  current_ones as (
    delete from track.trait
    using wrong
    where trait.identity_id = wrong.identity_id
      and trait.name = wrong.name
    returning trait.person_id
  ),

  former_ones as (
    delete from track.trait_history as history
    using wrong
    where history.identity_id = wrong.identity_id
      and history.name = wrong.name
    returning history.person_id
  )

  select array_agg(distinct changed.person_id), count(*)
  into v_identities, v_deleted
  from (
    select current_ones.person_id from current_ones
    union all
    select former_ones.person_id from former_ones
  ) as changed;
  perform track._enqueue('trait', v_identities);
  return v_deleted;
end;
$$;

comment on function track._apply_allowed_traits(int) is $$
Deletes traits that are not allowed, of at most `most_rows` identities and names. Returns the number of rows.
$$;

create or replace function track._apply_allowed_properties(most_rows int)
returns int
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
declare
  v_month date;
  v_found record;
  v_left int := _apply_allowed_properties.most_rows;
begin
  while v_left > 0 loop
    select max(disallowed_month.month) into v_month from track.disallowed_month;
    exit when v_month is null;

    -- Planned for each execution, so that one partition is read.
    execute $statement$
      select
        array_agg(wrong.person_id) as people, array_agg(wrong.occurred_at) as times,
        array_agg(wrong.event_id) as events, array_agg(distinct wrong.identity_id) as identities,
        count(*)::int as events_found
      from (
        select event.person_id, event.occurred_at, event.event_id, event.identity_id
        from track.event
        join track.event_type using (event_type_id)
        where event.occurred_at >= $1
          and event.occurred_at < $2
          and event_type.allowed_properties is not null
          and event.properties - (event_type.allowed_properties || track._kept_properties()) <> '{}'
        limit $3
      ) as wrong
    $statement$
    into v_found
    using v_month::timestamptz, (v_month + interval '1 month')::timestamptz, v_left;
    -- A month is done when nothing is found: an event may be moved to another person before it is changed below.
    if v_found.events_found = 0 then
      delete from track.disallowed_month where disallowed_month.month = v_month;
      continue;
    end if;

    -- Identities first and in order, as in track.ingest: others may move these events to other people.
    perform identity.identity_id
    from track.identity
    where identity.identity_id = any (v_found.identities)
    order by identity.identity_id
    for key share;
    execute $statement$
      with changed as (
        update track.event
        set properties = track._only(event.properties, event_type.allowed_properties || track._kept_properties())
        from unnest($1, $2, $3) as wrong (person_id, occurred_at, event_id), track.event_type
        where event.person_id = wrong.person_id
          and event.occurred_at = wrong.occurred_at
          and event.event_id = wrong.event_id
          and event_type.event_type_id = event.event_type_id
          and event_type.allowed_properties is not null
          and event.occurred_at >= $4
          and event.occurred_at < $5
        returning event.person_id, event.occurred_at
      )

      insert into track.stale (person_id, since, until)
      select changed.person_id, min(changed.occurred_at), max(changed.occurred_at)
      from changed
      group by changed.person_id
    $statement$
    using
      v_found.people, v_found.times, v_found.events, v_month::timestamptz, (v_month + interval '1 month')::timestamptz;
    v_left := v_left - v_found.events_found;
  end loop;
  return _apply_allowed_properties.most_rows - v_left;
end;
$$;

comment on function track._apply_allowed_properties(int) is $$
Removes properties that are not allowed from at most `most_rows` stored events, and queues their people for the refresh.
Returns the number of events. 0: the queue of months is empty.
$$;

create or replace function track.apply_allow_lists(most_rows int default 10000)
returns int
language plpgsql
volatile
-- A definer: it changes events and traits of all people, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set lock_timeout to '5s'
as $$
declare
  v_events int;
begin
  perform common.check_count('most_rows', apply_allow_lists.most_rows, 1, 1000000);
  -- Another call, or a change of a list.
  perform pg_advisory_xact_lock(hashtext('track.apply_allow_lists'));
  v_events := track._apply_allowed_properties(apply_allow_lists.most_rows);
  if v_events = apply_allow_lists.most_rows then
    return v_events;
  end if;
  return v_events + track._apply_allowed_traits(apply_allow_lists.most_rows - v_events);
end;
$$;

comment on function track.apply_allow_lists(int) is $$
Applies the allow-lists to stored events and traits: what is not listed is removed, which cannot be undone.
Returns the number of rows that it changed, about `most_rows` at most; repeat it until it is 0. Each call is a
transaction of its own and continues where the last one ended, the latest month first. Messages are stored meanwhile.
Sessions and all that is derived from the changed events and traits follow with the next `track.refresh`.
After a merge of events, call `track.allow_properties(event, '{}')` first: the list of the target applies to all.
Errors: CF001 unless `most_rows` is from 1 to 1,000,000; 55P03 when it waits for others for more than 5 seconds.
$$;

grant execute on function track.apply_allow_lists(int) to insights_admin, insights_worker;

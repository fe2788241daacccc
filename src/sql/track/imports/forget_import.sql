/*
 * The ids of messages are unique within a source, and most of their hashes are packed, without their source. Therefore
 * the source of an import that is removed keeps its key and gets another name: an import under the same name has a
 * new key from then on, and none of its messages is a duplicate.
 *
 * No batch of messages is stored during a step, so that none can name a person or an item that the step deletes.
 */
create or replace function track._begin_forgetting(source text)
returns track.forgotten_import
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_source track.source;
  v_import track.forgotten_import;
begin
  -- The one that is not completed. The last one is resumed when events that it had to keep may have become free.
  select former.* into v_import
  from track.forgotten_import as former
  where former.name = _begin_forgetting.source
  order by former.completed_at is null desc, former.started_at desc
  limit 1;
  if v_import.source_id is not null and v_import.completed_at is null then
    return v_import;
  end if;

  v_source := track._import_source(_begin_forgetting.source);
  if v_source.source_id is null then
    if v_import.source_id is null then
      perform track._refuse_unknown_import(_begin_forgetting.source);
    end if;
    if v_import.kept_event_count > 0 then
      update track.forgotten_import
      set completed_at = null, done_people = 0, kept_event_count = 0
      where forgotten_import.source_id = v_import.source_id
      returning * into v_import;
    end if;
    return v_import;
  end if;

  update track.source
  set name = format('%s (removed %s)', left(v_source.name, 80), v_source.source_id)
  where source.source_id = v_source.source_id;
  -- Settings by administrators apply to the next import, too.
  if num_nonnulls(v_source.description, v_source.heartbeat, v_source.path_rule, v_source.kept_parameters) > 0
    or v_source.is_automatic
  then
    insert into track.source (name, description, level, heartbeat, is_automatic, path_rule, kept_parameters)
    values (
      v_source.name, v_source.description, v_source.level, v_source.heartbeat, v_source.is_automatic,
      v_source.path_rule, v_source.kept_parameters
    );
  end if;
  insert into track.forgotten_import (source_id, name, actor)
  values (v_source.source_id, v_source.name, common.author())
  returning * into v_import;
  return v_import;
end;
$$;

comment on function track._begin_forgetting(text) is $$
Returns the import of a name that is being removed; begins with it, or returns the last one that is completed.
Errors: CF002 for an unknown name, CF001 and CF005 for the sources of applications.
$$;

create or replace function track._forget_people(people bigint[])
returns bigint[]
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_gone bigint[] := array(
    select identity.person_id
    from track.identity
    where identity.person_id = any (_forget_people.people)
      and identity.person_id <> 0
    group by identity.person_id
    having count(*) = 1
  );
  v_column record;
  v_used bigint[];
  v_consumer track.consumer;
begin
  -- Every column that refers to people, of any room, in the data map.
  for v_column in
    select entry.schema_name, entry.table_name, entry.column_name
    from privacy.data_map as entry
    join pg_catalog.pg_attribute as attribute
      on attribute.attrelid = to_regclass(format('%I.%I', entry.schema_name, entry.table_name))
      and attribute.attname = entry.column_name
      and attribute.atttypid = 'bigint'::regtype
    where entry.holds in ('person', 'identity')
      and (entry.schema_name, entry.table_name) not in (
        values
          ('track', 'person'), ('track', 'identity'), ('track', 'item_source'),
          ('track', 'stale'), ('track', 'changed'), ('track', 'stale_property'), ('track', 'automatic_period')
      )
    order by entry.schema_name, entry.table_name, entry.column_name
  loop
    exit when v_gone = '{}';
    execute format(
      'select array(select distinct %1$I from %2$I.%3$I where %1$I = any ($1))',
      v_column.column_name, v_column.schema_name, v_column.table_name
    )
    into v_used
    using v_gone;
    if v_used <> '{}' then
      v_gone := array(select unnest(v_gone) except select unnest(v_used));
    end if;
  end loop;
  if v_gone = '{}' then
    return v_gone;
  end if;

  update track.item_source set identity_id = 0 where item_source.identity_id = any (v_gone);
  delete from track.stale where stale.person_id = any (v_gone);
  delete from track.stale_property where stale_property.person_id = any (v_gone);
  delete from track.automatic_period where automatic_period.person_id = any (v_gone);
  delete from track.identity where identity.identity_id = any (v_gone);
  delete from track.person where person.person_id = any (v_gone);
  -- Sets of people, and what else is derived from a name alone.
  for v_consumer in
    select consumer.*
    from track.consumer
    order by consumer.position
  loop
    execute format(
      'select %I.%I($1, $2, $3)', split_part(v_consumer.refresh, '.', 1), split_part(v_consumer.refresh, '.', 2)
    )
    using
      v_gone,
      array_fill('-infinity'::timestamptz, array[cardinality(v_gone)]),
      array_fill('infinity'::timestamptz, array[cardinality(v_gone)]);
  end loop;
  delete from track.changed where changed.person_id = any (v_gone);
  return v_gone;
end;
$$;

comment on function track._forget_people(bigint[]) is $$
Deletes the people who have no stored data except one name. Returns their keys.
The caller has locked them. A column of any room that `privacy.data_map` lists as a person or an identity counts.
$$;

create or replace function track._forget_events(import track.forgotten_import, most_events int)
returns track.forgotten_import
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
declare
  v_import track.forgotten_import := import;
  v_held constant bigint[] := array(select privacy.restricted());
  v_month record;
  v_picked record;
  v_deleted record;
  v_found bigint := 0;
  v_function text;
  v_gone bigint[];
  v_items bigint[];
  -- Those that give enrolments, where the import states any.
  v_types constant int[] := array(
    select coalesce(event_type.merged_event_type_id, event_type.event_type_id)
    from track.event_type
    join track.source on source.source_id = v_import.source_id and source.states_enrolments
    where event_type.name in ('Course Enrolled', 'Course Dropped', 'Course Completed')
  );
  v_linked bigint[];
  v_enrolled bigint[];
  v_courses bigint[];
begin
  if v_import.done_people is null then
    return v_import;
  end if;
  -- Person by person, so that what is derived from the events of a person is computed again once. An event that was
  -- moved meanwhile to a person who is done is found when the people begin again.
  loop
    select
      count(*) as events, max(picked.person_id) as last_person,
      array_agg(picked.person_id) as people, array_agg(picked.occurred_at) as times,
      array_agg(picked.event_id) as ids, array_agg(distinct picked.identity_id) as identities,
      array_agg(distinct picked.item_id) || array_agg(distinct picked.named_item_id) as items,
      array_agg(distinct picked.properties ->> 'parent') as parents,
      array_agg(distinct picked.event_type_id) || array_agg(distinct picked.named_event_type_id) as types
    into v_picked
    from (
      select event.*
      from track.event
      where event.source_id = v_import.source_id
        and event.person_id >= v_import.done_people
        and event.person_id <> all (v_held)
      order by event.person_id, event.occurred_at
      limit _forget_events.most_events
    ) as picked;
    exit when v_picked.events > 0 or v_import.done_people = 0;
    v_import.done_people := 0;
  end loop;
  v_import.done_people := v_picked.last_person;
  if v_picked.events = 0 then
    return v_import;
  end if;

  -- In the order of an erasure: the people, their identities, and what is queued for them.
  v_picked.identities := array_remove(v_picked.identities, 0);
  perform track._lock_people(v_picked.identities);
  perform identity.identity_id
  from track.identity
  where identity.identity_id = any (track._with_siblings(v_picked.identities))
  order by identity.identity_id
  for update;
  -- Data of people who were merged or split may still be with others: `forget_function` would not find it there.
  -- That of all others is computed once, without the events.
  v_linked := array(
    select entry.identity_id
    from unnest(v_picked.identities) as entry (identity_id)
    join track.identity on identity.identity_id = entry.identity_id
    where identity.kind <> 'user'
      or identity.person_id <> identity.identity_id
      or exists (select from track.identity_link as link where link.identity_id = entry.identity_id)
      or exists (select from track.identity_link as link where link.linked_identity_id = entry.identity_id)
  );
  if v_linked <> '{}' then
    perform track._settle(v_linked);
  end if;
  for v_function in
    select consumer.forget_function
    from track.consumer
    where num_nonnulls(consumer.forget_function) > 0
    order by consumer.position
  loop
    execute format('select %I.%I($1, $2)', split_part(v_function, '.', 1), split_part(v_function, '.', 2))
    using v_picked.people, v_picked.times;
  end loop;

  -- An event that was moved to another person before the lock is found by a later step.
  for v_month in
    select month.*
    from track._event_partitions() as month
    where exists (
      select 1
      from unnest(v_picked.times) as picked (occurred_at)
      where picked.occurred_at >= month.since
        and picked.occurred_at < month.until
    )
  loop
    execute format(
      'with deleted as (
        delete from track.%I as event
        using unnest($1, $2, $3) as picked (person_id, occurred_at, event_id)
        where event.person_id = picked.person_id
          and event.occurred_at = picked.occurred_at
          and event.event_id = picked.event_id
          and picked.occurred_at >= $5
          and picked.occurred_at < $6
        returning
          event.person_id, event.occurred_at, event.identity_id, event.event_type_id,
          coalesce(event.named_item_id, event.item_id) as item_id
      ),

      queued as (
        insert into track.stale (person_id, since, until)
        select deleted.person_id, min(deleted.occurred_at), max(deleted.occurred_at)
        from deleted
        group by deleted.person_id
      )

      select
        count(*) as events,
        array_agg(deleted.identity_id) filter (where deleted.event_type_id = any ($4)) as enrolled,
        array_agg(deleted.item_id) filter (where deleted.event_type_id = any ($4)) as courses
      from deleted',
      v_month.name
    )
    into v_deleted
    using v_picked.people, v_picked.times, v_picked.ids, v_types, v_month.since, v_month.until;
    v_found := v_found + v_deleted.events;
    v_enrolled := v_enrolled || v_deleted.enrolled;
    v_courses := v_courses || v_deleted.courses;
  end loop;
  if v_enrolled is not null then
    perform track._derive_enrolments(v_enrolled, v_courses);
  end if;
  perform track._settle(v_picked.identities);

  v_items := array_remove(v_picked.items, null);
  v_gone := track._forget_people(array(select distinct unnest(v_picked.people)));
  insert into track.forgotten_item (source_id, item_id)
  select v_import.source_id, ancestor.ancestor_item_id
  from track.item_ancestor as ancestor
  where ancestor.item_id = any (v_items)
  union
  -- As they were named: an item has the parent that was named first.
  select v_import.source_id, item.item_id
  from track.item
  where item.external_id = any (v_picked.parents)
  on conflict do nothing;
  -- The attributes that these people gave to items are read again from the events that are left, after the last step.
  update track.item_source
  set identity_id = 0
  where item_source.identity_id = any (v_picked.identities)
    and item_source.item_id = any (v_items)
    and item_source.attribute <> 'name';
  v_import.event_types := array(
    select unnest(v_import.event_types)
    union
    select unnest(array_remove(v_picked.types, null))
  );
  v_import.event_count := v_import.event_count + v_found;
  v_import.person_count := v_import.person_count + cardinality(v_gone);
  return v_import;
end;
$$;

comment on function track._forget_events(track.forgotten_import, int) is $$
Deletes at most `most_events` events of an import, refreshes what is derived from them, and deletes people without data.
The people are done in order. Events of people whose data is restricted stay. The caller has the locks of the refresh
and of all batches.
$$;

create or replace function track._forget_enrolments(import track.forgotten_import, most_enrolments int)
returns track.forgotten_import
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_import track.forgotten_import := import;
  v_held constant bigint[] := array(select privacy.restricted());
  v_identities bigint[];
  v_items bigint[];
begin
  select array_agg(picked.identity_id), array_agg(picked.item_id) into v_identities, v_items
  from (
    select enrolment.identity_id, coalesce(enrolment.named_item_id, enrolment.item_id) as item_id
    from track.enrolment
    where enrolment.source_id = v_import.source_id
      and enrolment.person_id <> all (v_held)
    limit _forget_enrolments.most_enrolments
  ) as picked;
  if v_items is null then
    return null;
  end if;
  perform track._lock_people(v_identities);
  perform track._derive_enrolments(v_identities, v_items);
  perform track._settle(v_identities);
  v_import.person_count := v_import.person_count + cardinality(track._forget_people(array(
    select distinct identity.person_id from track.identity where identity.identity_id = any (v_identities)
  )));
  insert into track.forgotten_item (source_id, item_id)
  select distinct v_import.source_id, entry.item_id
  from unnest(v_items) as entry (item_id)
  on conflict do nothing;
  return v_import;
end;
$$;

comment on function track._forget_enrolments(track.forgotten_import, int) is $$
Derives enrolments again that an import began, and whose events retention has deleted. Null when there are none.
The caller has the locks of the refresh and of all batches.
$$;

create or replace function track._forget_structure(import track.forgotten_import, most_items int)
returns boolean
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_items bigint[];
  v_parents bigint[];
begin
  with picked as (
    select imported_item.item_id
    from track.imported_item
    where imported_item.source_id = _forget_structure.import.source_id
    limit _forget_structure.most_items
  ),

  deleted as (
    delete from track.imported_item
    using picked
    where imported_item.source_id = _forget_structure.import.source_id
      and imported_item.item_id = picked.item_id
    returning imported_item.item_id, imported_item.parent_item_id
  )

  select array_agg(deleted.item_id), array_agg(distinct deleted.parent_item_id) into v_items, v_parents
  from deleted;
  if v_items is null then
    return false;
  end if;
  insert into track.forgotten_item (source_id, item_id)
  select _forget_structure.import.source_id, ancestor.ancestor_item_id
  from track.item_ancestor as ancestor
  where ancestor.item_id = any (v_items)
  union
  select _forget_structure.import.source_id, entry.item_id
  from unnest(v_parents) as entry (item_id)
  where entry.item_id is not null
  on conflict do nothing;
  return true;
end;
$$;

comment on function track._forget_structure(track.forgotten_import, int) is $$
Deletes what an import states about items, and queues these for the steps that follow. False when there is none.
$$;

create or replace function track._unused_items(items bigint[])
returns bigint[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_used constant bigint[] := (
    select array_remove(other.used_items, null) from track._other_use(_unused_items.items, '{}') as other
  );
begin
  return array(
    select named.item_id
    from track.item_source as named
    where named.item_id = any (_unused_items.items)
      and named.item_id <> all (v_used)
      and named.attribute = 'name'
  );
end;
$$;

comment on function track._unused_items(bigint[]) is $$
Returns those of the items that only messages have named, and that have neither events nor enrolments.
$$;

create or replace function track._forget_items(import track.forgotten_import, most_items int)
returns track.forgotten_import
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_import track.forgotten_import := import;
  -- Children first: an item that contains another one stays.
  v_items constant bigint[] := array(
    select named.item_id
    from track.forgotten_item as named
    where named.source_id = v_import.source_id
    order by
      (select max(ancestor.depth) from track.item_ancestor as ancestor where ancestor.item_id = named.item_id) desc,
      named.item_id
    limit _forget_items.most_items
  );
  v_unused bigint[];
begin
  if v_items = '{}' then
    return v_import;
  end if;
  -- The items that stay first: one of the others may be their parent, and then has the sums of its parts.
  v_unused := track._unused_items(v_items);
  perform track._erase_descriptions('{0}', array(select unnest(v_items) except select unnest(v_unused)));
  perform track._refresh_course_presence();
  v_unused := track._unused_items(v_items);
  v_import.item_count := v_import.item_count + track._erase_items(v_unused);
  -- Those that something else refers to.
  perform track._erase_descriptions('{0}', array(
    select item.item_id from track.item where item.item_id = any (v_items)
  ));
  -- Their former parents, to which nothing refers any more.
  perform track._refresh_course_presence();
  v_import.item_count := v_import.item_count + track._erase_items(track._unused_items(v_items));
  delete from track.forgotten_item
  where forgotten_item.source_id = v_import.source_id
    and forgotten_item.item_id = any (v_items);
  return v_import;
end;
$$;

comment on function track._forget_items(track.forgotten_import, int) is $$
Deletes items that only messages have named and that nothing uses any more.
Of the others, the events that are left give the attributes that the import gave.
$$;

create or replace function track.forget_import(source text, most_events int default 10000)
returns track.forgotten_import
language plpgsql
volatile
-- A definer: it deletes events and people, which no role may do.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_import track.forgotten_import;
  v_before track.forgotten_import;
  v_rest track.forgotten_import;
  v_types int[];
  v_messages bigint;
begin
  perform common.check_count('most_events', forget_import.most_events, 1, 100000);
  if current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
    perform common.refuse(
      '25001',
      format('no import can be removed in a transaction of the level %s', current_setting('transaction_isolation')),
      'Use read committed: the call must see the data that others have stored until it has its locks.'
    );
  end if;
  -- In the order of an erasure: a refresh can take minutes, and while this waits for batches, none begins.
  perform pg_advisory_xact_lock(hashtext('track.refresh'));
  perform pg_advisory_xact_lock(hashtext('track.ingest'));
  v_before := track._begin_forgetting(forget_import.source);
  if v_before.completed_at is not null then
    return v_before;
  end if;
  v_import := track._forget_events(v_before, forget_import.most_events);

  if v_import.event_count = v_before.event_count then
    v_rest := track._forget_enrolments(v_import, forget_import.most_events);
  end if;
  if v_rest.source_id is not null then
    v_import := v_rest;
  elsif v_import.event_count = v_before.event_count
    and not track._forget_structure(v_import, forget_import.most_events)
  then
    v_import := track._forget_items(v_import, 1000);
    if not exists (select 1 from track.forgotten_item where forgotten_item.source_id = v_import.source_id) then
      with taken as (
        select message.source_id, message.message_hash
        from track.message
        where message.source_id = v_import.source_id
        limit 100000
      ),

      deleted as (
        delete from track.message
        using taken
        where message.source_id = taken.source_id
          and message.message_hash = taken.message_hash
        returning message.source_id
      )

      select count(*) into v_messages from deleted;
      if v_messages = 0 then
        v_types := (select other.used_types from track._other_use('{}', v_import.event_types) as other);
        v_import.event_type_count := v_import.event_type_count
          + track._erase_event_types(array(select unnest(v_import.event_types) except select unnest(v_types)));
        v_import.event_types := '{}';
        v_import.completed_at := clock_timestamp();
        v_import.kept_event_count := (
          select count(*)
          from track.event
          where event.source_id = v_import.source_id
            and event.person_id = any (array(select privacy.restricted()))
        );
        delete from track.refusal where refusal.source_id = v_import.source_id;
        delete from track.refusal_sample where refusal_sample.source_id = v_import.source_id;
        if v_import.kept_event_count = 0 then
          delete from track.source where source.source_id = v_import.source_id;
        end if;
      end if;
    end if;
  end if;

  update track.forgotten_import
  set
    completed_at = v_import.completed_at,
    done_people = v_import.done_people,
    event_count = v_import.event_count,
    person_count = v_import.person_count,
    item_count = v_import.item_count,
    event_type_count = v_import.event_type_count,
    kept_event_count = v_import.kept_event_count,
    event_types = v_import.event_types
  where forgotten_import.source_id = v_import.source_id;
  return v_import;
end;
$$;

comment on function track.forget_import(text, int) is $$
@behavior -*
Removes an import, in steps.
Each call is a transaction that deletes at most `most_events` events, with all that is derived from them. Repeat it
until `completed_at` of the result is not null; a call that is interrupted has done nothing. Returns the row of
`track.forgotten_import`, which stays as the history; a further call returns it again.
`source`: the name of the import, as in `track.source`. From the first call on, an import under this name is a new one.
Afterwards every table is as if the import had never been: sessions, journeys, sums, sets, interactions and enrolments
follow in the same transaction, and people, items and types of events that nothing else names are deleted. What stays
is what is not recorded by source: traits, links between names and decisions of Segment's messages; hashes of ids of
messages that are packed already, without a person; and names that a model, a table of the application or an
administrator uses. A parent is left out that the messages that are left tell, and that would form a cycle; an item that
they name as the parent of an item with another parent is deleted, too. The kind of an item in which the application
enrols people is the one that is still stated, or else course.
Events of people whose data is restricted stay (`kept_event_count`); a call after the restriction deletes them.
Models follow with their next training. Messages wait while a step runs.
Errors: CF002 for an unknown name, with the nearest one; CF001 for `default` and unless `most_events` is from 1 to
100,000; CF005 for the source of an application; 25001 in a transaction of another level than read committed.
$$;

grant execute on function track.forget_import(text, int) to insights_admin;

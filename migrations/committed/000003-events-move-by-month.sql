--! Previous: sha1:6126d17993ba34f30a172952714371edb3bb508e
--! Hash: sha1:8da626c0fd7adc7f3dcfc53008c09a85d71256e0
--! Message: events move by month

--! Included prepare.sql
/*
 * The start of every migration. The types and operators of pgvector are resolved when objects are created, in the
 * schema of the extension. Only the owner may call a function until its file grants it.
 */
do $$
declare
  v_schema text := (
    select namespace.nspname
    from pg_catalog.pg_extension as extension
    join pg_catalog.pg_namespace as namespace on namespace.oid = extension.extnamespace
    where extension.extname = 'vector'
  );
begin
  if v_schema is null then
    raise exception using
      errcode = 'CF002',
      message = format('the extension "vector" is not installed in database "%s"', current_database()),
      hint = 'Run "insights migrate", which installs it, or "create extension vector" as an administrator.';
  end if;
  perform pg_catalog.set_config('search_path', pg_catalog.format('%I, pg_temp', v_schema), true);
  -- Hides the notices of "drop … if exists" for objects that do not exist.
  perform pg_catalog.set_config('client_min_messages', 'warning', true);
end;
$$;

alter default privileges revoke execute on functions from public;
--! EndIncluded prepare.sql

--! Included track/identities/_move_events.sql
create or replace function track._move_events(
  identity_ids bigint[],
  new_identity_ids bigint[],
  old_people bigint[],
  new_people bigint[],
  since timestamptz[],
  until timestamptz[]
)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_period tstzrange;
begin
  -- Each event of a person is in a session, in the period of the automatic events, or in a period that is queued for
  -- the refresh. For most browsers these are a few days; a new one has none. The periods are rounded to months. The
  -- months between them are not read, since they contain no event. Infinite periods are left out: `track.rebuild`
  -- queues them, and adds no event.
  for v_period in
    select unnest(range_agg(tstzrange(
      date_trunc('month', greatest(period.since, span.since) at time zone 'UTC') at time zone 'UTC',
      (date_trunc('month', least(period.until, span.until) at time zone 'UTC') + interval '1 month') at time zone 'UTC'
    )))
    from (
      select distinct entry.person_id, entry.since, entry.until
      from unnest(_move_events.old_people, _move_events.since, _move_events.until) as entry (person_id, since, until)
    ) as span
    join (
      select stale.person_id, stale.since, stale.until
      from track.stale
      where stale.person_id = any (_move_events.old_people)
        and isfinite(stale.since)
        and isfinite(stale.until)
      union all
      select session.person_id, session.started_at, session.ended_at
      from track.session
      where session.person_id = any (_move_events.old_people)
      union all
      select automatic_period.person_id, automatic_period.since, automatic_period.until
      from track.automatic_period
      where automatic_period.person_id = any (_move_events.old_people)
    ) as period
      on period.person_id = span.person_id
      and period.since < span.until
      and period.until >= span.since
  loop
    -- Rows are moved by delete and insert, because the person is the distribution column. The statement is planned for
    -- each execution, so that only the partitions of these months are planned for, locked and read.
    execute $statement$
      with deleted as (
        delete from track.event
        using unnest($1, $2, $3, $4, $5, $6)
          as moved (identity_id, new_identity_id, old_person_id, new_person_id, since, until)
        where event.person_id = moved.old_person_id
          and event.identity_id = moved.identity_id
          and event.occurred_at >= moved.since
          and event.occurred_at < moved.until
          and event.occurred_at >= $7
          and event.occurred_at < $8
        returning moved.old_person_id, moved.new_person_id, moved.new_identity_id, event.*
      ),

      placed as (
        insert into track.event (
          person_id, occurred_at, event_id, identity_id, event_type_id, item_id, received_at, source_id, properties,
          client_at
        )
        select
          new_person_id, occurred_at, event_id, new_identity_id, event_type_id, item_id, received_at, source_id,
          properties, client_at
        from deleted
      )

      insert into track.stale (person_id, since, until)
      select old_person_id, min(occurred_at), max(occurred_at)
      from deleted
      group by old_person_id, date_trunc('month', occurred_at, 'UTC')
      union all
      select new_person_id, min(occurred_at), max(occurred_at)
      from deleted
      group by new_person_id, date_trunc('month', occurred_at, 'UTC')
    $statement$
    using
      _move_events.identity_ids, _move_events.new_identity_ids, _move_events.old_people, _move_events.new_people,
      _move_events.since, _move_events.until, lower(v_period), upper(v_period);
  end loop;
end;
$$;

comment on function track._move_events(bigint[], bigint[], bigint[], bigint[], timestamptz[], timestamptz[]) is $$
Moves the events of identities in the given periods (`until` exclusive) to other identities and people.
The lists have the same length; a new identity may be the old one. Both people of each event are queued for the refresh
of sessions. Only the months are read that contain events of the old people.
$$;
--! EndIncluded track/identities/_move_events.sql

--! Included track/identities/_move_identities.sql
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
    delete from track.enrolment
    using unnest(_move_identities.identity_ids, _move_identities.old_people, _move_identities.new_people)
      as moved (identity_id, old_person_id, new_person_id)
    where enrolment.person_id = moved.old_person_id
      and enrolment.identity_id = moved.identity_id
    returning moved.old_person_id, moved.new_person_id, enrolment.*
  ),

  placed as (
    insert into track.enrolment (person_id, item_id, status, enrolled_at, ended_at, identity_id)
    select new_person_id, item_id, status, enrolled_at, ended_at, identity_id
    from deleted
  )

  select array_agg(old_person_id) || array_agg(new_person_id)
  into v_touched
  from deleted;
  perform track._enqueue('enrolment', array(select distinct person_id from unnest(v_touched) as person_id));

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
--! EndIncluded track/identities/_move_identities.sql

--! Included track/identities/_move_spans.sql
create or replace function track._move_spans(
  identity_ids bigint[],
  new_identity_ids bigint[],
  since timestamptz[],
  until timestamptz[]
)
returns void
language plpgsql
volatile
-- A definer: it moves the data of people between tables that no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_old bigint[];
  v_new bigint[];
begin
  select
    array_agg(identity.person_id order by span.position),
    array_agg(new_identity.person_id order by span.position)
  into v_old, v_new
  from unnest(_move_spans.identity_ids, _move_spans.new_identity_ids) with ordinality
    as span (identity_id, new_identity_id, position)
  join track.identity on identity.identity_id = span.identity_id
  join track.identity as new_identity on new_identity.identity_id = span.new_identity_id;

  perform track._move_events(
    _move_spans.identity_ids, _move_spans.new_identity_ids, v_old, v_new, _move_spans.since, _move_spans.until
  );

  with deleted as (
    delete from track.trait
    using unnest(
      _move_spans.identity_ids, _move_spans.new_identity_ids, v_old, v_new, _move_spans.since, _move_spans.until
    ) as span (identity_id, new_identity_id, old_person_id, new_person_id, since, until)
    where trait.person_id = span.old_person_id
      and trait.identity_id = span.identity_id
      and trait.set_at >= span.since
      and trait.set_at < span.until
    returning span.new_person_id, span.new_identity_id, trait.*
  )
  insert into track.trait (person_id, identity_id, name, value, set_at)
  select distinct on (new_identity_id, name) new_person_id, new_identity_id, name, value, set_at
  from deleted
  order by new_identity_id, name, set_at desc, value desc
  on conflict (person_id, identity_id, name) do update
  set value = excluded.value, set_at = excluded.set_at
  where (trait.set_at, trait.value) < (excluded.set_at, excluded.value);
  perform track._keep_latest_traits(_move_spans.new_identity_ids);

  perform privacy.move_decisions(
    _move_spans.identity_ids, v_old, v_new, _move_spans.new_identity_ids, _move_spans.since, _move_spans.until
  );
end;
$$;

comment on function track._move_spans(bigint[], bigint[], timestamptz[], timestamptz[]) is $$
Moves what browsers sent in the given periods (`until` exclusive) from one identity to another of the same browser.
The cost is proportional to the data of the periods. The caller has locked the people and the identities.
$$;
--! EndIncluded track/identities/_move_spans.sql

--! Included track/write_keys/_find_write_key.sql
create or replace function track._find_write_key(key_id int)
returns track.write_key
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_key track.write_key;
begin
  select *
  into v_key
  from track.write_key
  where write_key.key_id = _find_write_key.key_id
  for update;
  if v_key.key_id is null then
    perform common.refuse(
      'CF002', format('there is no write key %s', coalesce(_find_write_key.key_id::text, 'null')),
      'The keys are the rows of track.write_key.'
    );
  end if;
  return v_key;
end;
$$;

comment on function track._find_write_key(int) is $$
Returns a write key, locked until the end of the transaction. Errors: CF002 for an unknown key.
$$;
--! EndIncluded track/write_keys/_find_write_key.sql

--! Included track/write_keys/_valid_write_key.sql
create or replace function track._valid_write_key(key_id int)
returns track.write_key
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_key constant track.write_key := track._find_write_key(_valid_write_key.key_id);
begin
  if v_key.revoked_at is not null or v_key.expires_at <= statement_timestamp() then
    perform common.refuse(
      'CF001',
      format(
        'the write key %s (%s…) %s', v_key.key_id, v_key.preview,
        case when v_key.revoked_at is null then 'has expired' else 'is revoked' end
      ),
      'Create a new one: track.create_write_key.'
    );
  end if;
  return v_key;
end;
$$;

comment on function track._valid_write_key(int) is $$
Returns a write key, locked until the end of the transaction.
Raises CF002 for an unknown key, CF001 for one that is revoked or has expired.
$$;
--! EndIncluded track/write_keys/_valid_write_key.sql

--! Included track/write_keys/revoke_write_key.sql
create or replace function track.revoke_write_key(key_id int)
returns boolean
language plpgsql
volatile
-- A definer: no role may write track.write_key, whose hashes decide who may send messages.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  if (track._find_write_key(revoke_write_key.key_id)).revoked_at is not null then
    return false;
  end if;
  update track.write_key set revoked_at = now() where write_key.key_id = revoke_write_key.key_id;
  perform track._log_write_key(revoke_write_key.key_id, 'revoked');
  return true;
end;
$$;

comment on function track.revoke_write_key(int) is $$
Revokes a write key; from the next batch on, messages with it are refused. False when it was revoked before.
Errors: CF002 for an unknown key.
$$;

grant execute on function track.revoke_write_key(int) to insights_admin;
--! EndIncluded track/write_keys/revoke_write_key.sql

--! Included track/person_sets/_person_set_bits.sql
create or replace function track._person_set_bits(person_set track.person_set, people bigint[])
returns table (block int, given bit(4096), members bit(4096))
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_function constant text := coalesce((person_set).members, 'track.listed_people');
  v_members bigint[];
begin
  execute format(
    'select array(select %I.%I($1, $2))', split_part(v_function, '.', 1), split_part(v_function, '.', 2)
  )
  into v_members
  using (person_set).name, people;

  return query
  select
    (entry.person_id / 4096)::int,
    bit_or(track.person_bit(entry.person_id)),
    coalesce(
      bit_or(track.person_bit(entry.person_id)) filter (where member.person_id is not null), b'0'::bit(4096)
    )
  from unnest(people) as entry (person_id)
  left join (
    select distinct named.person_id
    from unnest(v_members) as named (person_id)
    join track.person using (person_id)
  ) as member using (person_id)
  -- Person 0 (anonymized events) is in no set.
  where entry.person_id <> 0
  group by 1;
end;
$$;

comment on function track._person_set_bits(track.person_set, bigint[]) is $$
Returns by block the bits of the given people, and of those who belong to a set as of now.
$$;
--! EndIncluded track/person_sets/_person_set_bits.sql

--! Included track/person_sets/recompute_person_sets.sql
create or replace function track._recompute_person_set(person_set track.person_set, people bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_name constant text := (person_set).name;
begin
  with fresh as materialized (
    select
      changed.block,
      stored.people as stored,
      coalesce(stored.people & ~changed.given, b'0'::bit(4096)) | changed.members as people
    from track._person_set_bits(person_set, people) as changed
    left join track.person_set_block as stored on stored.name = v_name and stored.block = changed.block
  ),

  deleted as (
    delete from track.person_set_block
    using fresh
    where person_set_block.name = v_name
      and person_set_block.block = fresh.block
      and bit_count(fresh.people) = 0
  )

  insert into track.person_set_block (name, block, people)
  select v_name, fresh.block, fresh.people
  from fresh
  where bit_count(fresh.people) > 0
    and fresh.people is distinct from fresh.stored
  on conflict on constraint person_set_block_pkey do update
  set people = excluded.people;
end;
$$;

comment on function track._recompute_person_set(track.person_set, bigint[]) is $$
Recomputes whether the given people belong to a set. The bits of all other people stay as they are.
$$;

create or replace function track.recompute_person_sets(consumer text, people bigint[], set_name text default null)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  -- One writer at a time, because a block is read before it is written. track.refresh holds the same lock.
  perform pg_advisory_xact_lock(hashtext(recompute_person_sets.consumer));
  perform track._recompute_person_set(person_set, recompute_person_sets.people)
  from track.person_set
  where person_set.consumer = recompute_person_sets.consumer
    and person_set.name = coalesce(recompute_person_sets.set_name, person_set.name);
end;
$$;

comment on function track.recompute_person_sets(text, bigint[], text) is $$
@behavior -*
Recomputes which of the given people belong to the sets of a consumer, or to one of them.
A room whose sets are derived from its own rollups registers a consumer after that of the rollup, whose refresh
function calls this one with the name of the consumer.
$$;
--! EndIncluded track/person_sets/recompute_person_sets.sql

--! Included track/person_sets/person_set_blocks.sql
create or replace function track.person_set_blocks(set_name text)
returns table (block int, people bit(4096))
language plpgsql
stable
parallel safe
-- A definer: the functions of the members are for the owner, and are called for the people that are queued.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_set constant track.person_set := track._find_person_set(person_set_blocks.set_name);
  v_queued constant bigint[] := array(
    select distinct changed.person_id
    from track.changed
    where changed.consumer = v_set.consumer
      and changed.person_id <> 0
  );
begin
  if v_queued = '{}' then
    return query
    select stored.block, stored.people
    from track.person_set_block as stored
    where stored.name = v_set.name;
    return;
  end if;

  return query
  select
    coalesce(stored.block, queued.block),
    coalesce(stored.people & ~queued.given | queued.members, stored.people, queued.members)
  from (
    select person_set_block.block, person_set_block.people
    from track.person_set_block
    where person_set_block.name = v_set.name
  ) as stored
  full join track._person_set_bits(v_set, v_queued) as queued on queued.block = stored.block;
end;
$$;

comment on function track.person_set_blocks(text) is $$
@behavior -*
Returns the people of a set as `track.person_set_block` stores them, with the people that are queued for a refresh.
It is therefore exact at any moment. Errors: CF002 for an unknown set.
$$;

grant execute on function track.person_set_blocks(text) to insights_reader;
--! EndIncluded track/person_sets/person_set_blocks.sql

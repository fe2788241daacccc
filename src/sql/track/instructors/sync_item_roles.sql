create or replace function track._store_item_roles(roles jsonb)
returns track.sync_result
language plpgsql
volatile
-- A definer: the caller reads its own table, and this writes track.item_role, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_bad record;
  v_inserted int;
  v_updated int;
  v_ended int;
begin
  select given.* into v_bad
  from jsonb_to_recordset(roles) as given (person text, item text, role text)
  where coalesce(length(given.person), 0) not between 1 and 256
    or coalesce(length(given.item), 0) not between 1 and 512
    or coalesce(given.role, '') not in ('instructor', 'assistant', 'author')
  limit 1;

  if found then
    perform common.refuse(
      'CF001',
      format(
        'the role "%s" of "%s" in "%s" is invalid',
        coalesce(left(v_bad.role, 100), 'null'),
        left(v_bad.person, 100),
        left(v_bad.item, 100)
      ),
      'A role needs a person and an item; it is instructor, assistant or author.'
    );
  end if;

  select given.person into v_bad
  from jsonb_to_recordset(roles) as given (person text)
  where track._names_nobody(given.person)
  limit 1;

  if found then
    perform common.refuse('CF001', format('a role of "%s", which names nobody', left(v_bad.person, 100)),
      'Leave out rows without a person. Administrators keep the list track.placeholder_id.');
  end if;

  -- One call at a time: each ends the roles that its list does not contain.
  perform pg_advisory_xact_lock(hashtext('track.item_role'));

  roles := track._without_suppressed(roles);
  perform track._enter_people(array_agg('user'::text), array_agg(named.person))
  from (select distinct given.person from jsonb_to_recordset(roles) as given (person text)) as named
  having count(*) > 0;

  insert into track.item (external_id)
  select distinct given.item
  from jsonb_to_recordset(roles) as given (item text)
  where not exists (select from track.item where item.external_id = given.item)
  order by given.item
  on conflict (external_id) do nothing;

  -- Blocks merges of these people until the end of the transaction.
  perform track.lock_identities(array(
    select identity.identity_id
    from track.identity
    where identity.kind = 'user'
      and (
        identity.external_id = any (
          array(select distinct given.person from jsonb_to_recordset(roles) as given (person text))
        )
        or identity.identity_id = any (array(select distinct item_role.identity_id from track.item_role))
      )
  ));

  with given as materialized (
    select
      identity.person_id, item.item_id, given.role,
      coalesce(given.started_at, '-infinity') as started_at, max(coalesce(given.ended_at, 'infinity')) as ended_at,
      identity.identity_id
    from jsonb_to_recordset(roles) as given (
      person text, item text, role text, started_at timestamptz, ended_at timestamptz
    )
    join track.identity on identity.external_id = given.person and identity.kind = 'user'
    join track.item on item.external_id = given.item
    group by
      identity.person_id, identity.identity_id, item.item_id, given.role,
      coalesce(given.started_at, '-infinity')
  ),

  stored as (
    insert into track.item_role (person_id, item_id, role, started_at, ended_at, identity_id)
    select given.person_id, given.item_id, given.role, given.started_at, given.ended_at, given.identity_id
    from given
    on conflict (person_id, item_id, role, identity_id, started_at) do update
    set ended_at = excluded.ended_at
    where item_role.ended_at <> excluded.ended_at
    returning xmax = 0 as is_new
  ),

  ended as (
    update track.item_role
    set ended_at = now()
    where item_role.ended_at > now()
      and not exists (
        select
        from given
        where given.identity_id = item_role.identity_id
          and given.item_id = item_role.item_id
          and given.role = item_role.role
          and given.started_at = item_role.started_at
      )
    returning item_role.item_id
  )

  select
    (select count(*) from stored where is_new),
    (select count(*) from stored where not is_new),
    (select count(*) from ended)
  into v_inserted, v_updated, v_ended;

  return row(
    v_inserted,
    v_updated + v_ended,
    jsonb_array_length(roles) - v_inserted - v_updated
  )::track.sync_result;
exception
  when data_exception then
    perform common.refuse('CF001', format('a value of a role is invalid: %s', left(sqlerrm, 100)),
      'Give a view whose columns have the types of track.item_role, and texts for person and item.');
end;
$$;

comment on function track._store_item_roles(jsonb) is $$
@behavior -queryField -mutationField
Stores the complete list of `{person, item, role, …}`, as described for `track.sync_item_roles`.
$$;

grant execute on function track._store_item_roles(jsonb) to insights_admin, insights_worker;

create or replace function track.sync_item_roles(source regclass)
returns track.sync_result
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_columns text[];
  v_roles jsonb;
begin
  v_columns := track._columns(source, array['person', 'item', 'role'], array['started_at', 'ended_at']);

  -- The query runs as the caller, and passes its rows to a definer that takes values only.
  execute format(
    $query$
    select coalesce(jsonb_agg(jsonb_build_object(%s)), '[]')
    from (select distinct %s from %s) as role
    $query$,
    (select string_agg(format('%L, %I', name, name), ', ') from unnest(v_columns) as name),
    (select string_agg(format('%I', name), ', ') from unnest(v_columns) as name),
    source
  )
  into v_roles;
  return track._store_item_roles(v_roles);
end;
$$;

comment on function track.sync_item_roles(regclass) is $$
Reads who teaches, assists in or wrote an item from a table or view, with the privileges of the caller.
Required columns: `person` (`userId`), `item` (external id, usually of a course) and `role` (`instructor`, `assistant`
or `author`); optional: `started_at` and `ended_at`.
The relation is the complete list, one row per period: a period that it does not contain ends now, so that a person who
was removed in the application no longer sees the learners; it is counted as updated. Of several rows with one start,
the latest `ended_at` applies; null: no limit. Unknown people and items are added; rows of people who were erased
(`privacy.suppression`) are left out. The call can be repeated: unchanged roles are not written.
Errors: CF002 for a missing column, CF001 for an invalid value.
$$;

grant execute on function track.sync_item_roles(regclass) to insights_admin, insights_worker;

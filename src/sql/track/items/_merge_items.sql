create or replace function track._merge_item(merged_id bigint, target_id bigint)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_merged constant track.item := (select item from track.item where item.item_id = _merge_item.merged_id);
  v_people bigint[];
begin
  -- The tree: the parts of the merged item become parts of the other. Neither may become a part of itself.
  update track.item
  set parent_item_id = v_merged.parent_item_id
  where item.item_id = _merge_item.target_id
    and exists (
      select
      from track.item_ancestor
      where item_ancestor.item_id = _merge_item.target_id
        and item_ancestor.ancestor_item_id = v_merged.item_id
    );
  update track.item
  set parent_item_id = _merge_item.target_id
  where item.parent_item_id = v_merged.item_id;
  update track.item
  set parent_item_id = null, kind = 'merged', merged_item_id = _merge_item.target_id, updated_at = now()
  where item.item_id = v_merged.item_id;
  update track.item
  set merged_item_id = _merge_item.target_id
  where item.merged_item_id = v_merged.item_id;

  update track.item
  set
    kind = case item.kind when 'unknown' then v_merged.kind else item.kind end,
    title = coalesce(item.title, v_merged.title),
    url = coalesce(item.url, v_merged.url),
    language = coalesce(item.language, v_merged.language),
    attributes = v_merged.attributes || item.attributes,
    available_from = coalesce(item.available_from, v_merged.available_from),
    available_until = coalesce(item.available_until, v_merged.available_until),
    due_at = coalesce(item.due_at, v_merged.due_at),
    parent_item_id = coalesce(
      item.parent_item_id,
      (
        select v_merged.parent_item_id
        where not exists (
          select
          from track.item_ancestor
          where item_ancestor.item_id = v_merged.parent_item_id
            and item_ancestor.ancestor_item_id = _merge_item.target_id
        )
      )
    ),
    updated_at = now()
  where item.item_id = _merge_item.target_id;

  with deleted as (
    delete from track.prerequisite
    where v_merged.item_id in (prerequisite.item_id, prerequisite.required_item_id)
    returning prerequisite.*
  ),

  renamed as (
    select
      case deleted.item_id when v_merged.item_id then _merge_item.target_id else deleted.item_id end as item_id,
      case deleted.required_item_id when v_merged.item_id then _merge_item.target_id else deleted.required_item_id end
        as required_item_id
    from deleted
  )

  insert into track.prerequisite (item_id, required_item_id)
  select renamed.item_id, renamed.required_item_id
  from renamed
  where renamed.item_id <> renamed.required_item_id
  on conflict (item_id, required_item_id) do nothing;

  with deleted as (
    delete from track.item_role
    where item_role.item_id = v_merged.item_id
    returning item_role.*
  )

  insert into track.item_role (person_id, item_id, role, started_at, ended_at, identity_id)
  select person_id, _merge_item.target_id, role, started_at, ended_at, identity_id
  from deleted
  on conflict (person_id, item_id, role, identity_id, started_at) do nothing;

  with deleted as (
    delete from track.enrolment
    where enrolment.item_id = v_merged.item_id
    returning enrolment.*
  ),

  placed as (
    insert into track.enrolment (person_id, item_id, status, enrolled_at, ended_at, identity_id)
    select person_id, _merge_item.target_id, status, enrolled_at, ended_at, identity_id
    from deleted
    on conflict (person_id, item_id, identity_id) do nothing
  )

  select array_agg(distinct deleted.person_id)
  into v_people
  from deleted;
  perform track._enqueue('enrolment', v_people);
end;
$$;

comment on function track._merge_item(bigint, bigint) is $$
Makes an item a further name of another one.
Moves its parts, prerequisites, roles and enrolments, and fills the columns of the other item that have no value. A role
or an enrolment of the same identity in the other item is kept.
$$;

create or replace function track._merge_items(item_ids bigint[], target_ids bigint[])
returns bigint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_item_id bigint;
  v_target_id bigint;
  v_moved bigint;
begin
  for v_item_id, v_target_id in
    select pair.item_id, pair.target_id
    from unnest(_merge_items.item_ids, _merge_items.target_ids) as pair (item_id, target_id)
    order by pair.item_id
  loop
    perform track._merge_item(v_item_id, v_target_id);
  end loop;

  -- Planned for each execution: for few items, the planner compares instead of hashing.
  execute $statement$
    with moved as (
      update track.event
      set item_id = pair.target_id
      from unnest($1, $2) as pair (item_id, target_id)
      where event.item_id = pair.item_id
      returning event.person_id, event.occurred_at
    ),

    queued as (
      insert into track.stale (person_id, since, until)
      select person_id, min(occurred_at), max(occurred_at)
      from moved
      group by person_id, date_trunc('month', occurred_at, 'UTC')
    )

    select count(*)
    from moved
  $statement$
  into v_moved
  using _merge_items.item_ids, _merge_items.target_ids;
  return v_moved;
end;
$$;

comment on function track._merge_items(bigint[], bigint[]) is $$
Merges items into other items, moves their events, and queues the people of these for the refresh.
The caller has locked `track.item` and `track.event`, so that no transaction stores events of these items at the same
time. Returns the number of events.
$$;

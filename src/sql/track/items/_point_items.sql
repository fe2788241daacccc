create or replace function track._point_items(item_ids bigint[], target_ids bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  -- All names of the items and of their targets, before and after.
  v_members constant bigint[] := array(
    select distinct member.item_id
    from unnest(_point_items.item_ids || _point_items.target_ids) as given (item_id)
    join track.item on item.item_id = given.item_id
    join track.item as member
      on coalesce(item.merged_item_id, item.item_id) in (member.item_id, member.merged_item_id)
  );
begin
  -- The descriptions by name.
  insert into track.named_item
  select
    item.item_id, case item.kind when 'merged' then 'unknown' else item.kind end, item.title, item.parent_item_id,
    item.url, item.language, item.attributes, item.available_from, item.available_until, item.due_at
  from track.item
  where item.item_id = any (v_members)
    or item.parent_item_id = any (v_members)
  on conflict (item_id) do nothing;
  insert into track.named_prerequisite (item_id, required_item_id)
  select prerequisite.item_id, prerequisite.required_item_id
  from track.prerequisite
  where (prerequisite.item_id = any (v_members) or prerequisite.required_item_id = any (v_members))
    and not exists (
      select
      from track.named_prerequisite as named
      join track.item on item.item_id = named.item_id
      join track.item as required on required.item_id = named.required_item_id
      where coalesce(item.merged_item_id, item.item_id) = prerequisite.item_id
        and coalesce(required.merged_item_id, required.item_id) = prerequisite.required_item_id
    );

  update track.item
  set target_item_id = pair.target_id
  from unnest(_point_items.item_ids, _point_items.target_ids) as pair (item_id, target_id)
  where item.item_id = pair.item_id;
  with recursive member as (
    select item.item_id, item.item_id as root_item_id
    from track.item
    where item.item_id = any (v_members)
      and item.target_item_id is null

    union all

    select item.item_id, member.root_item_id
    from member
    join track.item on item.target_item_id = member.item_id
  )

  update track.item
  set merged_item_id = nullif(member.root_item_id, item.item_id), updated_at = now()
  from member
  where item.item_id = member.item_id
    and item.merged_item_id is distinct from nullif(member.root_item_id, item.item_id);

  perform track._queue_months();
  perform track._describe_merged(v_members);

  delete from track.prerequisite
  where prerequisite.item_id = any (v_members)
    or prerequisite.required_item_id = any (v_members);
  insert into track.prerequisite (item_id, required_item_id)
  select distinct
    coalesce(item.merged_item_id, item.item_id), coalesce(required.merged_item_id, required.item_id)
  from track.named_prerequisite as named
  join track.item on item.item_id = named.item_id
  join track.item as required on required.item_id = named.required_item_id
  where (named.item_id = any (v_members) or named.required_item_id = any (v_members))
    and coalesce(item.merged_item_id, item.item_id) <> coalesce(required.merged_item_id, required.item_id)
  on conflict (item_id, required_item_id) do nothing;

  perform track._enqueue('enrolment', array(
    select track._name_enrolments(v_members)
    union
    select track._merge_enrolments(v_members)
  ));

  delete from track.named_prerequisite
  where (named_prerequisite.item_id = any (v_members) or named_prerequisite.required_item_id = any (v_members))
    and not exists (
      select
      from track.item
      where named_prerequisite.item_id in (item.item_id, item.merged_item_id)
        and item.merged_item_id is not null
    )
    and not exists (
      select
      from track.item
      where named_prerequisite.required_item_id in (item.item_id, item.merged_item_id)
        and item.merged_item_id is not null
    );
end;
$$;

comment on function track._point_items(bigint[], bigint[]) is $$
Makes items, with the names that were merged into them, names of their targets; null: of themselves again.
Moves their parts, prerequisites and enrolments, and fills the columns of the targets that have no value. The caller has
called `track._begin_naming`, and refused cycles; `track._apply_names` moves the events.
$$;

create or replace function track._keep_item_ancestors()
returns trigger
language plpgsql
-- A definer: it writes track.item_ancestor, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  if tg_op = 'UPDATE' then
    insert into track.stale_course (item_id)
    select changed.item_id
    from changed
    join former using (item_id)
    where changed.kind <> former.kind
      and 'course' in (changed.kind, former.kind);

    -- An aggregate: for "exists", the planner expects an early match, and compares each row with each.
    if not (
      select coalesce(bool_or(changed.parent_item_id is distinct from former.parent_item_id), false)
      from changed
      join former using (item_id)
    ) then
      return null;
    end if;
  elsif not exists (select from changed where parent_item_id is not null) then
    insert into track.item_ancestor (item_id, ancestor_item_id, depth)
    select item_id, item_id, 0
    from changed;
    return null;
  end if;

  -- One move at a time: two concurrent moves in one branch of the tree would not see each other's ancestors.
  perform pg_advisory_xact_lock(hashtext('track.item_ancestor'));

  with recursive affected (item_id) as (
    select item_id from changed

    union

    select item.item_id
    from affected
    join track.item on item.parent_item_id = affected.item_id
  ),

  ancestor (item_id, ancestor_item_id, depth, path) as (
    select item_id, item_id, 0, array[item_id]
    from affected

    union all

    select ancestor.item_id, item.parent_item_id, ancestor.depth + 1, ancestor.path || item.parent_item_id
    from ancestor
    join track.item on item.item_id = ancestor.ancestor_item_id
    where item.parent_item_id is not null
      and (item.parent_item_id <> all (ancestor.path) or track._refuse_item_cycle(ancestor.path || item.parent_item_id))
  ),

  removed as (
    delete from track.item_ancestor
    using affected
    where item_ancestor.item_id = affected.item_id
      and not exists (
        select
        from ancestor
        where ancestor.item_id = item_ancestor.item_id
          and ancestor.ancestor_item_id = item_ancestor.ancestor_item_id
      )
    returning item_ancestor.ancestor_item_id
  ),

  stored as (
    insert into track.item_ancestor (item_id, ancestor_item_id, depth)
    select item_id, ancestor_item_id, depth
    from ancestor
    on conflict (item_id, ancestor_item_id) do update
    set depth = excluded.depth
    where item_ancestor.depth <> excluded.depth
    returning item_ancestor.ancestor_item_id
  )

  -- New items have no activity yet.
  insert into track.stale_course (item_id)
  select changed_course.item_id
  from (
    select ancestor_item_id from removed
    union
    select ancestor_item_id from stored
  ) as changed_ancestor
  join track.item as changed_course on changed_course.item_id = changed_ancestor.ancestor_item_id
  where changed_course.kind = 'course'
    and tg_op = 'UPDATE';

  return null;
end;
$$;

comment on function track._keep_item_ancestors() is $$
Trigger: updates `track.item_ancestor` for the items that a statement created or moved, and their descendants.
Queues the courses whose items changed (`track.stale_course`).
$$;

create or replace function track._refuse_item_cycle(path bigint[])
returns boolean
language plpgsql
stable
-- A definer: it reads all items, for any role that stores one of them.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  perform common.refuse(
    'CF010',
    format(
      'items would form a cycle: %s',
      (
        select string_agg(format('"%s"', left(item.external_id, 100)), ' → ' order by step.ordinality)
        from unnest(_refuse_item_cycle.path) with ordinality as step (item_id, ordinality)
        join track.item using (item_id)
        where step.ordinality <= 10
      )
    ),
    'Give one of these items another parent.'
  );
  return true;
end;
$$;

comment on function track._refuse_item_cycle(bigint[]) is $$
Raises CF010 for a cycle of parents, with the items of the path from the item upwards.
$$;

create or replace trigger keep_ancestors_of_new
after insert on track.item
referencing new table as changed
for each statement execute function track._keep_item_ancestors();

create or replace trigger keep_ancestors_of_moved
after update on track.item
referencing new table as changed old table as former
for each statement execute function track._keep_item_ancestors();

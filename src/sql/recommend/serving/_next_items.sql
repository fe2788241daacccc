create or replace function recommend._next_items(context recommend.person_context)
returns bigint[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_most constant int := 5000;
  v_person_id constant bigint := (_next_items.context).person_id;
  v_used bigint[];
  v_last bigint;
  v_course bigint;
begin
  -- Without consent no data is read.
  if v_person_id is null
    or not privacy.allowed(v_person_id, 'personalization')
  then
    return '{}';
  end if;

  -- The item that was used last, of those in a course.
  v_used := array(
    select recent.item_id
    from track.event as recent
    where recent.person_id = v_person_id
      and recent.item_id is not null
    order by recent.occurred_at desc, recent.event_id desc
    limit 100
  );
  select used.item_id, container.item_id into v_last, v_course
  from unnest(v_used) with ordinality as used (item_id, place)
  cross join lateral (
    select ancestor.ancestor_item_id as item_id
    from track.item_ancestor as ancestor
    join track.item on item.item_id = ancestor.ancestor_item_id and item.kind = 'course'
    where ancestor.item_id = used.item_id
    order by ancestor.depth
    limit 1
  ) as container
  where not exists (
    select 1
    from unnest((_next_items.context).left_out, (_next_items.context).left_out_reasons) as over (item_id, reason)
    where over.item_id = container.item_id
      and over.reason in ('completed', 'known', 'dropped', 'dismissed', 'disliked', 'own')
  )
  order by used.place
  limit 1;
  if not found then
    return '{}';
  end if;

  v_used := array(
    select distinct event.item_id
    from track.event
    where event.person_id = v_person_id
      and event.item_id is not null
  );
  return array(
    with recursive part as (
      select v_course as item_id, '{}'::numeric[] as place, 0 as depth

      union all

      -- In the order of the attribute `position`, or else in which the items were first seen.
      select
        item.item_id,
        part.place || case
          when item.attributes ->> 'position' ~ '^-?[0-9]{1,9}([.][0-9]{1,9})?$'
            then (item.attributes ->> 'position')::numeric
          else 1000000000
        end || item.item_id::numeric,
        part.depth + 1
      from part
      join track.item on item.parent_item_id = part.item_id
      where part.depth < 20
        and item.merged_item_id is null
    ),

    ordered as (
      select part.item_id, row_number() over (order by part.place) as n
      from part
      limit v_most
    ),

    leaf as (
      select
        ordered.item_id,
        ordered.n,
        ordered.n > last_used.n as is_after,
        ordered.item_id = any (v_used) as is_used
      from ordered
      cross join (
        select coalesce(max(used.n), 0) as n from ordered as used where used.item_id = v_last
      ) as last_used
      where ordered.item_id <> v_course
        and not exists (select 1 from track.item as child where child.parent_item_id = ordered.item_id)
        and ordered.item_id <> all ((_next_items.context).finished)
    )

    -- First those that follow, then those that were left out before.
    select leaf.item_id
    from leaf
    where leaf.is_after
      or not leaf.is_used
    order by leaf.is_after desc, leaf.n
    limit 200
  );
end;
$$;

comment on function recommend._next_items(recommend.person_context) is $$
@behavior -*
Returns what follows in the course that a person used last: parts without parts of their own that she has not finished.
First those after the item that was used last, in the order of the tree; then those before it that she has not used.
Empty when she has used no course among the last 100 events, or only courses that are over for her.
$$;

grant execute on function recommend._next_items(recommend.person_context) to insights_reader, insights_learner;

create or replace function track.taught_courses()
returns setof track.taught_course
language sql
stable
parallel safe
begin atomic
  select taught.external_id, taught.title, taught.role, taught.started_at, taught.ended_at
  from (
    select distinct on (item.item_id)
      item.external_id, item.title, item_role.role, nullif(item_role.started_at, '-infinity') as started_at,
      nullif(item_role.ended_at, 'infinity') as ended_at
    from track.applied_item_role as item_role
    join track.item_ancestor as ancestor on ancestor.ancestor_item_id = item_role.item_id
    join track.item on item.item_id = ancestor.item_id
    where item_role.person_id = track.current_person_id()
      and item_role.role in ('instructor', 'assistant')
      and item_role.started_at <= now()
      and item_role.ended_at > now()
      and item.kind = 'course'
    order by item.item_id, item_role.role = 'instructor' desc, ancestor.depth, item_role.ended_at desc,
      item_role.started_at
  ) as taught
  order by taught.external_id;
end;

comment on function track.taught_courses() is $$
Returns the courses that the signed-in person teaches now, also those that are contained in an item she teaches.
$$;

grant execute on function track.taught_courses() to insights_instructor;

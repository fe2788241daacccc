create or replace function track.teaches(item_id bigint)
returns boolean
language sql
stable
parallel safe
begin atomic
  select exists (
    select
    from track.item_ancestor as ancestor
    join track.applied_item_role as item_role on item_role.item_id = ancestor.ancestor_item_id
    where ancestor.item_id = teaches.item_id
      and item_role.person_id = track.current_person_id()
      and item_role.role in ('instructor', 'assistant')
      and item_role.started_at <= now()
      and item_role.ended_at > now()
  );
end;

comment on function track.teaches(bigint) is $$
Returns whether the signed-in person teaches an item now: as instructor or assistant of it, or of what contains it.
$$;

grant execute on function track.teaches(bigint) to insights_reader;

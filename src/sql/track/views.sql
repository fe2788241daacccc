create or replace view track.applied_item_role
with (security_invoker = true)
as
select
  item_role.person_id,
  coalesce(item.merged_item_id, item_role.item_id) as item_id,
  item_role.role,
  item_role.started_at,
  item_role.ended_at
from track.item_role
join track.item on item.item_id = item_role.item_id;

comment on view track.applied_item_role is $$
@behavior -*
Roles of people in items, as they apply: a role in a merged item is one in the item of which that is a further name.
$$;
comment on column track.applied_item_role.person_id is $$Person that has the role.$$;
comment on column track.applied_item_role.item_id is $$Item in which the role applies.$$;
comment on column track.applied_item_role.role is $$`instructor`, `assistant` or `author`.$$;
comment on column track.applied_item_role.started_at is $$Time from which the person has the role.$$;
comment on column track.applied_item_role.ended_at is $$Time until which the person has the role, exclusive.$$;

grant select on track.applied_item_role to insights_reader, insights_learner, insights_admin;

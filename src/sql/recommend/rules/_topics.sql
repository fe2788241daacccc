create or replace function recommend._topics(items bigint[])
returns table (item_id bigint, topic text)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
set plan_cache_mode to force_generic_plan
-- Few rows of small tables: by index, not by reading the table again for each.
set random_page_cost to 1.1
as $$
declare
  v_attribute constant text := (select topic_attribute from recommend.setting);
begin
  return query
  select distinct on (ancestor.item_id) ancestor.item_id, left(known.attributes ->> v_attribute, 500)
  from track.item_ancestor as ancestor
  join track.item as known on known.item_id = ancestor.ancestor_item_id
  where ancestor.item_id = any (_topics.items)
    and known.attributes ->> v_attribute <> ''
  order by ancestor.item_id, ancestor.depth;
end;
$$;

comment on function recommend._topics(bigint[]) is $$
@behavior -*
Returns the topics of items: the attribute `recommend.setting.topic_attribute`.
An item without it has the topic of the nearest item that contains it; there is no row for an item without a topic.
$$;

grant execute on function recommend._topics(bigint[]) to insights_reader, insights_learner;

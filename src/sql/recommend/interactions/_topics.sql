create or replace function recommend._topics(items bigint[])
returns table (item_id bigint, topic text)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_attribute constant text := (select topic_attribute from recommend.setting);
begin
  return query
  select distinct on (ancestor.item_id)
    ancestor.item_id, left(lower(btrim(holder.attributes ->> v_attribute)), 200)
  from track.item_ancestor as ancestor
  join track.item as holder on holder.item_id = ancestor.ancestor_item_id
  where ancestor.item_id = any (_topics.items)
    and btrim(holder.attributes ->> v_attribute) <> ''
  order by ancestor.item_id, ancestor.depth;
end;
$$;

comment on function recommend._topics(bigint[]) is $$
@behavior -*
Returns the topics of items in lower case: the attribute `recommend.setting.topic_attribute` of the item, or else of
the nearest item that contains it. No row for an item without a topic.
$$;

grant execute on function recommend._topics(bigint[]) to insights_reader, insights_learner;

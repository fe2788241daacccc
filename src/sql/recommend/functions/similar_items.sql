/* A definer: no role may read the weights. */
create or replace function recommend.similar_items(
  item text,
  top int default 10
)
returns setof recommend.similar_item
language plpgsql
stable
parallel safe
security definer
set search_path from current
set client_min_messages to notice
set jit to off
as $$
declare
  v_item track.item;
  v_model ml.model;
  v_weights real[];
  -- The items similar to an item that few people took are the other items of these people.
  v_fewest constant int := (select smallest_group from analytics.setting);
begin
  perform common.check_count('top', similar_items.top, 1, 1000);
  if length(similar_items.item) > 512 then
    perform common.refuse('CF008', format('item has %s characters', length(similar_items.item)),
      'The name of an item has at most 512.');
  end if;

  -- A merged item is a further name of the other one.
  select target.* into v_item
  from track.item as known
  join track.item as target on target.item_id = coalesce(known.merged_item_id, known.item_id)
  where known.external_id = similar_items.item;
  if not found then
    perform common.refuse(
      'CF002',
      format('there is no item "%s"', coalesce(left(similar_items.item, 100), 'null')),
      coalesce(
        'Did you mean "'
          || common.nearest_name(
            similar_items.item,
            (
              select array_agg(near.external_id)
              from (
                select known.external_id
                from track.item as known
                where known.kind = 'course'
                  or starts_with(known.external_id, left(similar_items.item, 3))
                limit 1000
              ) as near
            )
          )
          || '"?',
        'Give an item by the name that was sent with events.'
      )
    );
  end if;

  select * into v_model
  from recommend._deployed_model(v_item.kind);
  if not found then
    perform common.refuse('CF006', format('no recommender is trained for items of kind "%s"', v_item.kind),
      format('Run select * from recommend.train(%L), or wait for the scheduled training.', v_item.kind));
  end if;

  select item_weight.weights::real[] into v_weights
  from recommend.item_weight
  where item_weight.model_id = v_model.model_id
    and item_weight.item_id = v_item.item_id
    and item_weight.person_count >= v_fewest;
  if not found then
    perform common.refuse(
      'CF006',
      format('version %s of the recommender does not contain "%s"', v_model.version, left(similar_items.item, 100)),
      format(
        'Fewer than %s people (analytics.setting.smallest_group) had taken the item when the version was trained.',
        v_fewest
      )
    );
  end if;

  return query
  select
    row_number() over (order by entry.weight desc, other.item_id)::int,
    other.item_id,
    other.external_id,
    other.title,
    entry.weight::float8
  from unnest(v_weights) with ordinality as entry (weight, item_no)
  join recommend.item_weight on item_weight.model_id = v_model.model_id and item_weight.item_no = entry.item_no
  join track.item as other on other.item_id = item_weight.item_id
  where other.item_id <> v_item.item_id
    and item_weight.person_count >= v_fewest
    and entry.weight > 0
    -- An item may have been merged, or described as another kind, after the training.
    and other.kind = v_item.kind
    and (other.available_from is null or other.available_from <= now())
    and (other.available_until is null or other.available_until > now())
  order by entry.weight desc, other.item_id
  limit similar_items.top;
end;
$$;

comment on function recommend.similar_items(text, int) is $$
Returns the items that are most similar to an item, the most similar first.
The score is the weight of the model between the two items, adjusted for all other items (a partial correlation, not a
count of common people). Only items of the same kind with a positive weight that are available now are returned. Items
that fewer than `analytics.setting.smallest_group` people had taken at the training are excluded.
Errors: CF001 for `top`, CF002 for an unknown item (names the nearest), CF006 when no model is trained or the model
does not contain the item.
$$;

grant execute on function recommend.similar_items(text, int)
to insights_learner, insights_analyst, insights_admin, insights_worker;

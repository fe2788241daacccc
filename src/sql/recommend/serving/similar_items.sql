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
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_item track.item;
  v_model ml.model;
  -- The items similar to an item that few people took are the other items of these people.
  v_fewest constant int := (select smallest_group from analytics.setting);
begin
  perform common.check_count('top', similar_items.top, 1, 1000);
  select known.* into v_item
  from track.item as known
  where known.item_id = (recommend._find_items(array[similar_items.item]))[1];

  select * into v_model
  from recommend._deployed_model(v_item.kind);
  if not found then
    perform common.refuse('CF006', format('no recommender is trained for items of kind "%s"', v_item.kind),
      format('Run select * from recommend.train(%L), or wait for the scheduled training.', v_item.kind));
  end if;

  perform
  from recommend.neighbours
  where neighbours.model_id = v_model.model_id
    and neighbours.item_id = v_item.item_id
    and neighbours.person_count >= v_fewest;
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
  with entry as (
    select entry.item_id, sum(part.share::float8 * entry.weight) as weight
    from recommend.model_part as part
    join recommend.neighbours as source
      on source.model_id = part.model_id
      and source.part = part.part
    cross join lateral unnest(source.neighbour_ids, source.weights) as entry (item_id, weight)
    where part.model_id = v_model.model_id
      and source.item_id = v_item.item_id
    group by entry.item_id
  ),

  known as (
    select entry.weight, other.item_id, other.external_id, other.title
    from entry
    join track.item as other on other.item_id = entry.item_id
    where entry.weight > 0
      and other.item_id <> v_item.item_id
      and exists (
        select
        from recommend.neighbours as own
        where own.model_id = v_model.model_id
          and own.item_id = other.item_id
          and own.person_count >= v_fewest
      )
      -- An item may have been merged, or described as another kind, after the training.
      and other.kind = v_item.kind
  ),

  -- The rules of lists, for no person: prerequisites are taken as fulfilled.
  blocked as (
    select left_out.item_id
    from recommend._blocked(
      row(
        null, 0, '{}', '{}', '{}', '{}',
        array(
          select prerequisite.required_item_id
          from known
          join track.item_ancestor as ancestor on ancestor.item_id = known.item_id
          join track.prerequisite on prerequisite.item_id = ancestor.ancestor_item_id
        ),
        '{}', '{}', '{}', '{}', '{}'
      )::recommend.person_context,
      v_item.kind,
      array(select known.item_id from known),
      now()
    ) as left_out
  )

  select
    row_number() over (order by known.weight desc, known.item_id)::int,
    known.item_id,
    known.external_id,
    known.title,
    known.weight
  from known
  where known.item_id not in (select blocked.item_id from blocked)
  order by known.weight desc, known.item_id
  limit similar_items.top;
end;
$$;

comment on function recommend.similar_items(text, int) is $$
Returns the items that are most similar to an item, the most similar first.
The score is the weight of the model between the two items, adjusted for all other items (a partial correlation, not a
count of common people). Only items of the same kind with a positive weight that the rules for all people permit are
returned, whatever their prerequisites. Items that fewer than `analytics.setting.smallest_group` people had taken at
the training are excluded.
Errors: CF001 for `top`, CF002 for an unknown item (names the nearest), CF006 when no model is trained or the model
does not contain the item.
$$;

grant execute on function recommend.similar_items(text, int)
to insights_learner, insights_analyst, insights_admin, insights_worker;

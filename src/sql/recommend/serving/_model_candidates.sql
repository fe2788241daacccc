create or replace function recommend._model_candidates(
  model_id bigint,
  items bigint[],
  strengths real[],
  fewest_people int,
  is_lowered boolean,
  seen bigint[],
  only_items bigint[],
  most int,
  out item_ids bigint[],
  out scores float8[]
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
set plan_cache_mode to force_generic_plan
as $$
begin
  -- Materialized, so that the factor is computed once per item, not once per neighbour.
  with source as materialized (
    select
      -- In units of 2^-40: whole numbers, whose sum does not depend on the order.
      1099511627776 * used.strength::float8 * part.share
        * part.history_decay::float8 ^ (cardinality(_model_candidates.items) - used.place) as factor,
      -- An item with a negative strength lowers similar items, and raises none.
      case when used.strength < 0 then 0::real else '-infinity'::real end as least_weight,
      found.neighbour_ids,
      found.weights
    from unnest(_model_candidates.items, _model_candidates.strengths) with ordinality as used (item_id, strength, place)
    join recommend.model_part as part on part.model_id = _model_candidates.model_id
    cross join lateral (
      select neighbours.neighbour_ids, neighbours.weights
      from recommend.neighbours
      where neighbours.model_id = _model_candidates.model_id
        and neighbours.part = part.part
        and neighbours.item_id = used.item_id
        and neighbours.person_count >= _model_candidates.fewest_people
      offset 0
    ) as found
  ),

  entry as (
    select unnest(source.neighbour_ids) as item_id, unnest(source.weights) as weight, source.factor, source.least_weight
    from source
  ),

  -- Not materialized: the lowest score is computed only if it is needed.
  scored as not materialized (
    select entry.item_id, sum(round(entry.factor * greatest(entry.weight, entry.least_weight))) as units
    from entry
    group by entry.item_id
  ),

  -- Sorted first, so that few items are compared with `seen`, and with the least number of people.
  ranked as (
    select scored.item_id, scored.units
    from scored
    where case
        when _model_candidates.is_lowered
          -- Of a person who likes nothing, weights of a dense model that mean nothing do not order the list.
          then scored.units < 0 and (
            0 < any (_model_candidates.strengths)
            or 10 * scored.units <= (select min(least.units) from scored as least)
          )
        else scored.units > 0
      end
      and (
        _model_candidates.only_items is null
        or scored.item_id in (select known.item_id from unnest(_model_candidates.only_items) as known (item_id))
      )
    order by scored.units desc, scored.item_id
    limit case
      when _model_candidates.fewest_people = 0
        then _model_candidates.most::bigint + cardinality(_model_candidates.seen)
    end
  ),

  best as (
    select ranked.item_id, ranked.units
    from ranked
    where ranked.item_id not in (select known.item_id from unnest(_model_candidates.seen) as known (item_id))
      and (
        _model_candidates.fewest_people = 0
        -- "limit": one index lookup per item, instead of a hash of all.
        or (
          select true
          from recommend.neighbours as own
          where own.model_id = _model_candidates.model_id
            and own.item_id = ranked.item_id
            and own.person_count >= _model_candidates.fewest_people
          limit 1
        )
      )
    order by ranked.units desc, ranked.item_id
    limit _model_candidates.most
  )

  select
    array_agg(best.item_id order by best.units desc, best.item_id),
    array_agg(best.units / 1099511627776 order by best.units desc, best.item_id)
  into item_ids, scores
  from best;
end;
$$;

comment on function recommend._model_candidates(
  bigint, bigint[], real[], int, boolean, bigint[], bigint[], int
) is $$
@behavior -*
Returns the items with the highest scores of a version of a model, the best first, without those of `seen`.
`is_lowered`: those with a negative score, instead of those with a positive one; when no strength is positive, those
with at least a tenth of the lowest score.
Weights from and on items that fewer than `fewest_people` people had taken are not used.
$$;

create or replace function recommend._contributions(
  model_id bigint,
  items bigint[],
  strengths real[],
  fewest_people int,
  targets bigint[]
)
returns table (target_id bigint, item_id bigint, contribution float8)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
set plan_cache_mode to force_generic_plan
as $$
begin
  return query
  with source as materialized (
    select
      used.item_id,
      1099511627776 * used.strength::float8 * part.share
        * part.history_decay::float8 ^ (cardinality(_contributions.items) - used.place) as factor,
      case when used.strength < 0 then 0::real else '-infinity'::real end as least_weight,
      -- With an empty array appended, the values are read from their storage once, not once per target.
      found.neighbour_ids || '{}'::bigint[] as neighbour_ids,
      found.weights || '{}'::real[] as weights
    from unnest(_contributions.items, _contributions.strengths) with ordinality as used (item_id, strength, place)
    join recommend.model_part as part on part.model_id = _contributions.model_id
    cross join lateral (
      select neighbours.neighbour_ids, neighbours.weights
      from recommend.neighbours
      where neighbours.model_id = _contributions.model_id
        and neighbours.part = part.part
        and neighbours.item_id = used.item_id
        and neighbours.person_count >= _contributions.fewest_people
      offset 0
    ) as found
  ),

  located as (
    select
      target.item_id as target_id,
      source.item_id,
      source.factor,
      source.least_weight,
      source.neighbour_ids,
      source.weights,
      -- The neighbours are in ascending order, so that this is a binary search.
      width_bucket(target.item_id, source.neighbour_ids) as position
    from source
    cross join unnest(_contributions.targets) as target (item_id)
    -- "offset 0": the search is done once per row, not for each use of its result.
    offset 0
  ),

  -- Materialized, so that rows are grouped without the arrays.
  term as materialized (
    select
      located.target_id,
      located.item_id,
      round(located.factor * greatest(located.weights[located.position], located.least_weight)) as units
    from located
    where located.neighbour_ids[located.position] = located.target_id
  )

  select term.target_id, term.item_id, sum(term.units) / 1099511627776
  from term
  group by term.target_id, term.item_id
  having sum(term.units) <> 0;
end;
$$;

comment on function recommend._contributions(bigint, bigint[], real[], int, bigint[]) is $$
@behavior -*
Returns what each item of a person contributes to the scores of other items by a version of a model.
Contributions are multiples of 2^-40, so that their sum is exact in any order.
$$;

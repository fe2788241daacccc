create or replace function recommend._store_neighbours(
  model_id bigint,
  items bigint[],
  people int[],
  inverse vector[]
)
returns void
language plpgsql
volatile
set search_path from current
set jit to off
as $$
begin
  insert into recommend.model_part (model_id, part, algorithm)
  values (_store_neighbours.model_id, 1, 'ease');

  insert into recommend.neighbours (model_id, part, item_id, person_count, neighbour_ids, weights)
  -- B[i,j] = -P[i,j] / P[j,j], and P is symmetric: column j of B is row j of P divided by -P[j,j].
  with target as (
    select entry.n, entry.item_id, entry.inverse::real[] as entries
    from rows from (
      unnest(_store_neighbours.items), unnest(_store_neighbours.inverse)
    ) with ordinality as entry (item_id, inverse, n)
  ),

  weight as (
    select target.n, target.item_id, strongest.source_no, -strongest.entry / target.entries[target.n] as weight
    from target
    cross join lateral (
      select element.entry, element.n as source_no
      from unnest(target.entries) with ordinality as element (entry, n)
      where element.n <> target.n
        and element.entry <> 0
      order by abs(element.entry) desc, element.n
      limit 200
    ) as strongest
  ),

  kept as (
    select
      weight.*,
      row_number() over (partition by weight.source_no order by abs(weight.weight) desc, weight.n) as place
    from weight
  )

  select
    _store_neighbours.model_id,
    1,
    source.item_id,
    source.person_count,
    coalesce(array_agg(kept.item_id order by kept.item_id) filter (where kept.item_id is not null), '{}'),
    coalesce(array_agg(kept.weight order by kept.item_id) filter (where kept.item_id is not null), '{}')
  from rows from (
    unnest(_store_neighbours.items), unnest(_store_neighbours.people)
  ) with ordinality as source (item_id, person_count, n)
  left join kept on kept.source_no = source.n and kept.place <= 1000
  group by source.n, source.item_id, source.person_count;
end;
$$;

comment on function recommend._store_neighbours(bigint, bigint[], int[], vector[]) is $$
@behavior -*
Stores the weights of a version of EASE from P = (XᵀX + λI)⁻¹.
For each item the 200 items with the strongest weights on it are stored, and of one item at most 1,000 weights.
$$;

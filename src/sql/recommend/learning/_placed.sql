create or replace function recommend._placed(
  matrix vector[],
  items bigint[],
  target_items bigint[],
  diagonal float8[]
)
returns vector[]
language plpgsql
immutable
parallel safe
set search_path from current
as $$
declare
  v_size constant int := cardinality(target_items);
  v_places constant int[] := array(
    select item.place::int
    from unnest(target_items) with ordinality as target (item_id, place)
    left join unnest(items) with ordinality as item (item_id, place) using (item_id)
    order by target.place
  );
begin
  return array(
    select
      case
        when row_.place is null then
          format('{%s:%s}/%s', row_.n, diagonal[row_.n]::real, v_size)::sparsevec::vector
        else (
          select array_agg(coalesce(known.entries[target.place], 0) order by target.n)::vector
          from (select matrix[row_.place]::real[] as entries offset 0) as known
          cross join unnest(v_places) with ordinality as target (place, n)
        )
      end
    from unnest(v_places) with ordinality as row_ (place, n)
    order by row_.n
  );
end;
$$;

comment on function recommend._placed(vector[], bigint[], bigint[], float8[]) is $$
@behavior -*
Returns a symmetric matrix with the rows and columns of other items, both lists in ascending order.
Those that it does not have are 0, but for their element of `diagonal`.
$$;

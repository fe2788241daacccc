create or replace function ml._ease_inverse(
  gram vector[],
  ridges float8[]
)
returns vector[]
language plpgsql
immutable
parallel safe
set search_path from current
as $$
begin
  return ml.inverse(array(
    select row_.v + format('{%s:%s}/%s', row_.n, ridges[row_.n]::numeric, cardinality(gram))::sparsevec::vector
    from unnest(gram) with ordinality as row_ (v, n)
    order by row_.n
  ));
end;
$$;

comment on function ml._ease_inverse(vector[], float8[]) is $$
Returns (XᵀX + diag(ridges))⁻¹, from XᵀX and a positive number for each row.
$$;

grant execute on function ml._ease_inverse(vector[], float8[]) to insights_analyst, insights_admin, insights_worker;

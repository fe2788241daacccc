create or replace function ml.ease_weights(inverse vector[])
returns vector[]
language plpgsql
immutable
parallel safe
set search_path from current
as $$
declare
  v_size constant int := cardinality(inverse);
  v_divisor vector;
  v_diagonal record;
begin
  if ml._matrix_columns(inverse, 'inverse') <> v_size then
    perform common.refuse('CF001', format('the inverse has %s rows and %s columns', v_size, vector_dims(inverse[1])),
      'It is square: (XᵀX + λI)⁻¹, a row and a column for each item.');
  end if;
  -- The inverse of a positive definite matrix has a positive diagonal. The quotients must be of single precision.
  select smallest.n, smallest.entry, max(vector_norm(row_.v)) over () as largest
  into v_diagonal
  from unnest(inverse) with ordinality as row_ (v, n)
  cross join lateral (select row_.n, ((row_.v::real[])[row_.n])::float8 as entry) as smallest
  order by smallest.entry, smallest.n
  limit 1;
  if v_diagonal.entry < 1e-38 or v_diagonal.largest / v_diagonal.entry > 1e38 then
    perform common.refuse(
      'CF007',
      format('the inverse has %s on its diagonal, in row %s', v_diagonal.entry::real, v_diagonal.n),
      'The diagonal of (XᵀX + λI)⁻¹ is positive, and no entry is 1e38 times larger: see ml.ease_inverse.'
    );
  end if;
  v_divisor := array(
    select -1 / (row_.v::real[])[row_.n]
    from unnest(inverse) with ordinality as row_ (v, n)
    order by row_.n
  )::vector;
  return array(
    select (weights.entries[:weights.n - 1] || 0::real || weights.entries[weights.n + 1:])::vector
    from (
      select (row_.v * v_divisor)::real[] as entries, row_.n::int as n
      from unnest(inverse) with ordinality as row_ (v, n)
    ) as weights
    order by weights.n
  );
end;
$$;

comment on function ml.ease_weights(vector[]) is $$
The weights B of the EASE recommender from P = (XᵀX + λI)⁻¹: B[i,j] = -P[i,j] / P[j,j], and 0 on the diagonal.
The score of item j for a learner is the sum of B[i,j] over the learner's items i, so each of them has its share.
Shapes: n × n gives n × n.
Errors: CF001 (not a square matrix), CF004 (no rows), CF007 (the diagonal is not positive, or too small; names a row).
Source: Steck, Embarrassingly shallow autoencoders for sparse data, WWW 2019.
$$;

grant execute on function ml.ease_weights(vector[]) to insights_analyst, insights_admin, insights_worker;

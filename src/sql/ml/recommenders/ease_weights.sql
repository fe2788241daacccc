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
begin
  if ml._matrix_columns(inverse, 'inverse') <> v_size then
    perform common.refuse('CF001', format('the inverse has %s rows and %s columns', v_size, vector_dims(inverse[1])),
      'It is square: (XᵀX + λI)⁻¹, a row and a column for each item.');
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
Errors: CF001 (not a square matrix), CF004 (no rows).
Source: Steck, Embarrassingly shallow autoencoders for sparse data, WWW 2019.
$$;

grant execute on function ml.ease_weights(vector[]) to insights_analyst, insights_admin, insights_worker;

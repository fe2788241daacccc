create or replace function ml.rank_one_update(
  inverse vector[],
  x vector,
  weight float8 default 1
)
returns vector[]
language plpgsql
immutable
parallel safe
set search_path from current
as $$
declare
  v_size constant int := cardinality(inverse);
  v_product vector;
  v_quadratic float8;
begin
  if ml._matrix_columns(inverse, 'inverse') <> v_size or vector_dims(x) is distinct from v_size then
    perform common.refuse(
      'CF001',
      format(
        'the inverse has %s rows and %s columns, x has %s entries',
        v_size,
        vector_dims(inverse[1]),
        coalesce(vector_dims(x)::text, 'no')
      ),
      'Give the inverse of an n × n matrix and a vector of n entries.'
    );
  end if;
  if weight is null or not abs(weight) < 'infinity' then
    perform common.refuse('CF001', format('the weight is %s', coalesce(weight::text, 'null')),
      'Give 1 to add x xᵀ, -1 to subtract it.');
  elsif weight <> 0 and abs(weight) not between 1e-36 and 1e36 then
    perform common.refuse('CF001', format('the weight is %s, not between 1e-36 and 1e36 in absolute value', weight),
      'The matrices are of single precision: use other units.');
  end if;

  perform ml._check_product(inverse, array[x]);

  -- (A + w x xᵀ)⁻¹ = P - w P x xᵀ P / (1 + w xᵀ P x)
  v_product := (ml.transpose(ml._product(inverse, array[x])))[1];
  perform ml._check_product(array[v_product], array[x]);
  v_quadratic := 1 - weight * (x <#> v_product);
  if v_quadratic < 1e-6 then
    perform common.refuse(
      'CF007',
      format('the matrix would no longer be positive definite: 1 + w xᵀA⁻¹x is %s', v_quadratic::real),
      'Subtract only what was added before.'
    );
  end if;
  return ml._less_multiples(
    inverse, v_product,
    array(
      select weight / v_quadratic * entry
      from unnest(v_product::real[]) with ordinality as list (entry, n)
      order by n
    )
  );
end;
$$;

comment on function ml.rank_one_update(vector[], vector, float8) is $$
Returns the inverse of A + weight · x xᵀ from the inverse of A, in n² steps where a new inversion takes n³.
With `inverse` = (XᵀX + λI)⁻¹ and `x` the row of a learner, weight 1 is exact learning and weight -1 exact unlearning.
Shapes: n × n and n give n × n. Single precision: after some thousands of updates, invert the matrix again.
Errors: CF001 (shapes, weight), CF004 (no rows), CF007 (the result would not be positive
definite, or is too large).
Source: Sherman and Morrison, Adjustment of an inverse matrix corresponding to a change in one element of a given
matrix,
Annals of Mathematical Statistics 21, 1950.
$$;

grant execute on function ml.rank_one_update(vector[], vector, float8)
to insights_analyst, insights_admin, insights_worker;

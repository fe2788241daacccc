create or replace function ml.low_rank_update(
  inverse vector[],
  columns vector[],
  factors float8[]
)
returns vector[]
language plpgsql
immutable
parallel safe
set search_path from current
set jit to off
as $$
declare
  v_size constant int := cardinality(inverse);
  v_rank constant int := cardinality(columns);
  v_products vector[];
  v_inner float8[];
  v_middle float8[];
  v_weights vector[];
  v_solved vector[];
  v_pivot int;
  v_value float8;
  v_factor float8;
begin
  if columns is null or factors is null or cardinality(factors) <> v_rank then
    perform common.refuse(
      'CF001',
      format('%s columns and %s factors', coalesce(v_rank::text, 'null'),
        coalesce(cardinality(factors)::text, 'null')),
      'Give one factor per column.'
    );
  end if;
  if v_rank > 256 then
    perform common.refuse('CF008', format('%s columns are too many', v_rank),
      'At most 256 at once: call it for some after the others, or invert the new matrix.');
  end if;
  if exists (select from unnest(factors) as factor where (factor <> 0 and abs(factor) < 'infinity') is not true) then
    perform common.refuse('CF001', 'a factor is 0, null or not finite', 'Leave out columns with a factor of 0.');
  elsif exists (select from unnest(factors) as factor where abs(factor) not between 1e-36 and 1e36) then
    perform common.refuse('CF001', 'a factor is not between 1e-36 and 1e36 in absolute value',
      'The matrices are of single precision: use other units.');
  end if;
  if v_rank = 0 then
    return inverse;
  end if;
  if ml._matrix_columns(inverse, 'inverse') <> v_size or ml._matrix_columns(columns, 'columns') <> v_size then
    perform common.refuse(
      'CF001',
      format('the inverse has %s rows and %s columns, a column has %s entries', v_size, vector_dims(inverse[1]),
        vector_dims(columns[1])),
      'Give the inverse of an n × n matrix and columns of n entries.'
    );
  end if;

  -- (A + U C Uᵀ)⁻¹ = P - P U (C⁻¹ + Uᵀ P U)⁻¹ Uᵀ P. First UᵀP, one row per column of U: P is symmetric.
  perform ml._check_product(columns, inverse);
  v_products := ml._product(columns, inverse);
  perform ml._check_product(v_products, columns);
  v_inner := array(
    select unnest(row_.v::real[])::float8 from unnest(ml._product(v_products, columns)) with ordinality as row_ (v, n)
  );
  -- The inverse of the small matrix in double precision, by Gauss and Jordan: an array of rows of it and of the unit.
  v_middle := array_fill(0::float8, array[v_rank, 2 * v_rank]);
  for i in 1..v_rank loop
    for j in 1..v_rank loop
      v_middle[i][j] := (v_inner[(i - 1) * v_rank + j] + v_inner[(j - 1) * v_rank + i]) / 2;
    end loop;
    v_middle[i][i] := v_middle[i][i] + 1 / factors[i];
    v_middle[i][v_rank + i] := 1;
  end loop;
  for k in 1..v_rank loop
    v_pivot := k;
    for i in k + 1..v_rank loop
      if abs(v_middle[i][k]) > abs(v_middle[v_pivot][k]) then
        v_pivot := i;
      end if;
    end loop;
    -- Relative to 1 / factor, as the quotient of determinants of ml.rank_one_update.
    if not abs(v_middle[v_pivot][k]) > 1e-6 / (select max(abs(factor)) from unnest(factors) as factor) then
      perform common.refuse(
        'CF007',
        format('the matrix would be singular: pivot %s of column %s', v_middle[v_pivot][k]::real, k),
        'Subtract only what was added before.'
      );
    end if;
    if v_pivot <> k then
      for j in 1..2 * v_rank loop
        v_value := v_middle[k][j];
        v_middle[k][j] := v_middle[v_pivot][j];
        v_middle[v_pivot][j] := v_value;
      end loop;
    end if;
    v_value := v_middle[k][k];
    for j in k..2 * v_rank loop
      v_middle[k][j] := v_middle[k][j] / v_value;
    end loop;
    for i in 1..v_rank loop
      v_factor := v_middle[i][k];
      if i <> k and v_factor <> 0 then
        for j in k..2 * v_rank loop
          v_middle[i][j] := v_middle[i][j] - v_factor * v_middle[k][j];
        end loop;
      end if;
    end loop;
  end loop;

  -- (C⁻¹ + UᵀPU)⁻¹ UᵀP, then each row of P less its part.
  v_weights := array(
    select array(
      select case when abs(v_middle[i][v_rank + j]) > 1.2e-38 then v_middle[i][v_rank + j] else 0 end
      from generate_series(1, v_rank) as j
      order by j
    )::vector
    from generate_series(1, v_rank) as i
    order by i
  );
  perform ml._check_product(v_weights, ml.transpose(v_products));
  v_solved := ml._product(v_weights, ml.transpose(v_products));
  if v_rank <= 6 then
    for k in 1..v_rank loop
      inverse := ml._less_multiples(
        inverse, v_solved[k],
        array(select entry from unnest(v_products[k]::real[]) with ordinality as list (entry, n) order by n)
      );
    end loop;
    return inverse;
  end if;
  return array(
    select pair.v - pair.part
    from (
      select unnest(inverse) as v, unnest(ml._product(ml.transpose(v_products), ml.transpose(v_solved))) as part
      offset 0
    ) as pair
  );
end;
$$;

comment on function ml.low_rank_update(vector[], vector[], float8[]) is $$
@behavior -*
Returns the inverse of A + Σ factor · u uᵀ, over columns u, from the inverse of the symmetric matrix A.
One pass for several changes where `ml.rank_one_update` makes one for each: rows of people that arrive, change or leave,
and elements of the diagonal. At most 256 columns. With more than 6 the time hardly depends on their number.
Shapes: n × n, m columns of n entries and m factors give n × n. Single precision, as `ml.rank_one_update`.
Errors: CF001 (shapes, factors), CF004 (no rows), CF007 (not invertible, too large), CF008 (columns).
Source: Woodbury, Inverting modified matrices, Princeton Statistical Research Group, Memorandum 42, 1950.
$$;

grant execute on function ml.low_rank_update(vector[], vector[], float8[])
to insights_analyst, insights_admin, insights_worker;

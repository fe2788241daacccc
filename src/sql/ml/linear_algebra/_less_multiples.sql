create or replace function ml._less_multiples(matrix vector[], step vector, factors float8[])
returns vector[]
language plpgsql
immutable
parallel safe
set search_path from current
as $$
declare
  v_length constant float8 := vector_norm(ml._without_traces(step));
  -- A power of two near the length: the step by it, and the factors times it, have the same digits.
  v_unit float8;
  v_step vector;
begin
  if v_length = 0 then
    return matrix;
  end if;
  v_unit := 2 ^ round(ln(v_length) / ln(2::float8));
  v_step := ml._without_traces(step) * array_fill(1 / v_unit, array[vector_dims(step)])::vector;
  if (select max(vector_norm(v)) from unnest(matrix) as v)
    + (select max(abs(factor)) from unnest(factors) as factor) * v_unit * 2 > 3e38
  then
    perform common.refuse('CF007', 'the result is too large for single precision',
      'Use other units, so that its entries are below 1e38.');
  end if;
  -- A product of entries that is too small for single precision fails, so such entries of the step become zero: adding
  -- and subtracting a number removes what is below 2^-24 of it.
  return array(
    select case
      when pair.factor = 0 or abs(pair.factor) > 1e-31
        then pair.v - v_step * array_fill(pair.factor, array[vector_dims(v_step)])::vector
      when abs(pair.factor) < 1e-44 then pair.v
      else pair.v
        - ((v_step + array_fill(2.5e-38 / abs(pair.factor), array[vector_dims(v_step)])::vector)
          - array_fill(2.5e-38 / abs(pair.factor), array[vector_dims(v_step)])::vector)
        * array_fill(pair.factor, array[vector_dims(v_step)])::vector
    end
    from (select unnest(matrix) as v, unnest(factors) * v_unit as factor offset 0) as pair
  );
end;
$$;

comment on function ml._less_multiples(vector[], vector, float8[]) is $$
Returns a matrix less a multiple of one vector in each row: A - f sᵀ, with f the factors and s the step.
Entries of the step below about 1e-13 of its length count as zero. Error CF007: the result is too large.
$$;

grant execute on function ml._less_multiples(vector[], vector, float8[])
to insights_analyst, insights_admin, insights_worker;

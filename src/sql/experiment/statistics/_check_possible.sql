create or replace function experiment._check_possible(
  n numeric,
  sums numeric[],
  products numeric[],
  names text[],
  place text
)
returns void
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_count constant int := cardinality(sums);
  v_spread numeric;
  v_limit numeric;
begin
  -- The variance of one observation is 0 whatever its sums are.
  if n < 2 then
    return;
  end if;
  for i in 1..v_count loop
    if products[(i - 1) * v_count + i] < 0
      or n * products[(i - 1) * v_count + i] - sums[i] * sums[i] < -1e-9 * n * products[(i - 1) * v_count + i] then
      perform common.refuse('CF001',
        format('n %s, sum %s and sum_squares %s of %s (%s) are impossible', n, left(sums[i]::text, 40),
          left(products[(i - 1) * v_count + i]::text, 40), place, names[i]),
        'n times the sum of squares is at least the square of the sum.');
    end if;
  end loop;
  for i in 1..v_count loop
    for j in i + 1..v_count loop
      v_spread := n * products[(i - 1) * v_count + j] - sums[i] * sums[j];
      v_limit := sqrt(
        greatest(n * products[(i - 1) * v_count + i] - sums[i] * sums[i], 0)
        * greatest(n * products[(j - 1) * v_count + j] - sums[j] * sums[j], 0)
      );
      -- sums in double precision have rounding errors, which the last term allows
      if abs(v_spread) > v_limit * 1.000001
        + 1e-9 * n * sqrt(products[(i - 1) * v_count + i] * products[(j - 1) * v_count + j]) then
        perform common.refuse('CF001',
          format('the sum of products %s of %s (%s and %s) is impossible',
            left(products[(i - 1) * v_count + j]::text, 40), place, names[i], names[j]),
          'The covariance is at most the product of both standard deviations.');
      end if;
    end loop;
  end loop;
end;
$$;

comment on function experiment._check_possible(numeric, numeric[], numeric[], text[], text) is $$
Raises CF001 when no observations have these sums, squares and products, beyond rounding errors.
$$;

grant execute on function experiment._check_possible(numeric, numeric[], numeric[], text[], text)
to insights_reader, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._covariances(statistic experiment.statistic)
returns float8[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_count constant int := cardinality(statistic.sums);
  v_result float8[] := array_fill(0::float8, array[v_count * v_count]);
  v_divisor float8;
begin
  if statistic.n = 0 then
    return v_result;
  end if;
  for i in 1..v_count loop
    for j in i..v_count loop
      -- proportions have the variance p (1 - p), and their covariance is divided by n too
      v_divisor := case
        when statistic.is_binary[i] and statistic.is_binary[j] then statistic.n
        else statistic.n - 1
      end;
      if v_divisor > 0 and (statistic.n > 1 or i = j) then
        -- multiplied before divided: numeric multiplication is exact, so that nothing cancels
        v_result[(i - 1) * v_count + j] := (
          statistic.n * statistic.products[(i - 1) * v_count + j] - statistic.sums[i] * statistic.sums[j]
        )::float8 / statistic.n::float8 / v_divisor;
        v_result[(j - 1) * v_count + i] := v_result[(i - 1) * v_count + j];
      end if;
    end loop;
  end loop;
  return v_result;
end;
$$;

comment on function experiment._covariances(experiment.statistic) is $$
Returns the covariances of the variables of a statistic, row by row.
Computed in numeric, so that a small variance of large numbers keeps its digits; 0 where there is one observation.
$$;

grant execute on function experiment._covariances(experiment.statistic)
to insights_reader, insights_analyst, insights_admin, insights_worker;

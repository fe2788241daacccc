create or replace function experiment._mismatch_p(drawn experiment.drawn)
returns float8
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_count constant int := cardinality((drawn).users);
  v_matrix float8[] := (drawn).covariances;
  v_rest float8[];
  v_open int[] := array(select generate_series(1, v_count));
  v_least float8;
  v_pivot int;
  v_variance float8;
  v_share float8;
  i int;
  j int;
  v_rank int := 0;
  v_statistic float8 := 0;
begin
  for i in 1..v_count loop
    v_rest[i] := (drawn).users[i] - (drawn).expected[i];
    v_least := greatest(v_least, 1e-9 * v_matrix[(i - 1) * v_count + i]);
  end loop;
  -- d' C⁻ d by elimination, the largest variance first. The numbers of a period add up, so that the last one is 0.
  loop
    select place into v_pivot
    from unnest(v_open) as place
    order by v_matrix[(place - 1) * v_count + place] desc, place
    limit 1;
    v_variance := v_matrix[(v_pivot - 1) * v_count + v_pivot];
    exit when not coalesce(v_variance > v_least, false);
    v_rank := v_rank + 1;
    v_statistic := v_statistic + v_rest[v_pivot] / v_variance * v_rest[v_pivot];
    v_open := array_remove(v_open, v_pivot);
    foreach i in array v_open loop
      v_share := v_matrix[(i - 1) * v_count + v_pivot] / v_variance;
      v_rest[i] := v_rest[i] - v_share * v_rest[v_pivot];
      foreach j in array v_open loop
        v_matrix[(i - 1) * v_count + j] := v_matrix[(i - 1) * v_count + j]
          - v_share * v_matrix[(v_pivot - 1) * v_count + j];
      end loop;
    end loop;
  end loop;
  if v_rank = 0 then
    return 1;
  end if;
  return experiment._chi_squared_tail(v_statistic, v_rank);
end;
$$;

comment on function experiment._mismatch_p(experiment.drawn) is $$
@behavior -*
Returns the p-value of numbers of people that differ from the expected ones by chance; 1 if nothing could differ.
Chi-squared with the covariances of the numbers and their rank as degrees of freedom: one less than the variations.
$$;

grant execute on function experiment._mismatch_p(experiment.drawn)
to insights_reader, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._mismatch(drawn experiment.drawn, out statistic float8, out degrees int)
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
begin
  statistic := 0;
  degrees := 0;
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
    degrees := degrees + 1;
    statistic := statistic + v_rest[v_pivot] / v_variance * v_rest[v_pivot];
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
end;
$$;

comment on function experiment._mismatch(experiment.drawn) is $$
@behavior -*
Returns the chi-squared statistic of numbers of people that differ from the expected ones, and its degrees of freedom.
By the covariances of the numbers; the degrees are their rank: one less than the variations, 0 if nothing could differ.
$$;

grant execute on function experiment._mismatch(experiment.drawn)
to insights_reader, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._mismatch_p(whole experiment.drawn, parts experiment.drawn[])
returns float8
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_whole constant record := experiment._mismatch(whole);
  v_between record;
  v_p float8;
begin
  if v_whole.degrees = 0 then
    return 1;
  end if;
  v_p := experiment._chi_squared_tail(v_whole.statistic, v_whole.degrees);
  -- The statistics of the parts beyond that of the whole are independent of it (Cochran's theorem).
  select
    sum(mismatch.statistic) - v_whole.statistic as statistic,
    sum(mismatch.degrees)::int - v_whole.degrees as degrees
  into v_between
  from unnest(parts) as part
  cross join lateral experiment._mismatch(part) as mismatch;
  if coalesce(v_between.degrees, 0) <= 0 then
    return v_p;
  end if;
  v_p := least(v_p, experiment._chi_squared_tail(v_between.statistic, v_between.degrees));
  -- The smaller one of two independent p-values (Šidák).
  return v_p * (2 - v_p);
end;
$$;

comment on function experiment._mismatch_p(experiment.drawn, experiment.drawn[]) is $$
@behavior -*
Returns the p-value of numbers of people that differ from the expected ones by chance; 1 if nothing could differ.
Two independent tests in one: of the `whole` time, which finds the same error at all times, and of the differences of
its `parts` to the whole, which finds errors that cancel out.
$$;

grant execute on function experiment._mismatch_p(experiment.drawn, experiment.drawn[])
to insights_reader, insights_analyst, insights_admin, insights_worker;

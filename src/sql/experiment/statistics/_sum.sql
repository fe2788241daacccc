create or replace function experiment._sum(statistics experiment.statistic[])
returns experiment.statistic
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_result experiment.statistic := statistics[1];
begin
  v_result.theta := null;
  for s in 2..cardinality(statistics) loop
    v_result.n := v_result.n + statistics[s].n;
    for i in 1..cardinality(v_result.sums) loop
      v_result.sums[i] := v_result.sums[i] + statistics[s].sums[i];
    end loop;
    for i in 1..cardinality(v_result.products) loop
      v_result.products[i] := v_result.products[i] + statistics[s].products[i];
    end loop;
  end loop;
  return v_result;
end;
$$;

comment on function experiment._sum(experiment.statistic[]) is $$
Returns the statistics of all users of several statistics of one type, without a given theta.
$$;

grant execute on function experiment._sum(experiment.statistic[])
to insights_reader, insights_analyst, insights_admin, insights_worker;

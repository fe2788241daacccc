create or replace function experiment._unadjusted(statistic experiment.statistic)
returns experiment.statistic
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_result experiment.statistic := statistic;
begin
  if not statistic.is_adjusted then
    return statistic;
  end if;
  v_result.is_adjusted := false;
  v_result.theta := null;
  if statistic.type = 'ratio' then
    v_result.sums := statistic.sums[1:2];
    v_result.is_binary := statistic.is_binary[1:2];
    v_result.products := statistic.products[1:2] || statistic.products[5:6];
  else
    v_result.sums := statistic.sums[1:1];
    v_result.is_binary := statistic.is_binary[1:1];
    v_result.products := statistic.products[1:1];
  end if;
  return v_result;
end;
$$;

comment on function experiment._unadjusted(experiment.statistic) is $$
Returns a statistic without the time before the exposure.
$$;

grant execute on function experiment._unadjusted(experiment.statistic)
to insights_reader, insights_analyst, insights_admin, insights_worker;

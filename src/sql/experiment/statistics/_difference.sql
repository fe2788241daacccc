create or replace function experiment._difference(arms experiment.statistic[])
returns float8
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_a constant experiment.statistic := arms[1];
  v_b constant experiment.statistic := arms[2];
  v_theta constant float8 := coalesce(v_a.theta, 0);
  v_difference float8;
begin
  if v_a.type = 'quantile' then
    return v_b.quantile_hat - v_a.quantile_hat;
  elsif v_a.type = 'ratio' then
    v_difference := experiment._quotient_difference(v_b.sums[1], v_b.sums[2], v_a.sums[1], v_a.sums[2]);
    if v_a.is_adjusted then
      v_difference := v_difference
        - v_theta * experiment._quotient_difference(v_b.sums[3], v_b.sums[4], v_a.sums[3], v_a.sums[4]);
    end if;
    return v_difference;
  end if;
  v_difference := experiment._quotient_difference(v_b.sums[1], v_b.n, v_a.sums[1], v_a.n);
  if v_a.is_adjusted then
    v_difference := v_difference - v_theta * experiment._quotient_difference(v_b.sums[2], v_b.n, v_a.sums[2], v_a.n);
  end if;
  return v_difference;
end;
$$;

comment on function experiment._difference(experiment.statistic[]) is $$
Returns the mean of the second arm minus that of the first, without loss of digits.
$$;

grant execute on function experiment._difference(experiment.statistic[])
to insights_reader, insights_analyst, insights_admin, insights_worker;

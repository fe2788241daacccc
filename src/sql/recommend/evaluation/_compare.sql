create or replace function recommend._compare(differences float8[], resampled float8[])
returns recommend.paired_test
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_test recommend.paired_test;
  v_deviation float8;
begin
  -- In the order of the array, so that the same values give the same last digit.
  select count(*), avg(value order by place), stddev_samp(value order by place)
  into v_test.people, v_test.difference, v_deviation
  from unnest(differences) with ordinality as entry (value, place);
  v_test.standard_error := coalesce(v_deviation / sqrt(v_test.people), 0);

  -- The means of samples have single precision.
  select
    percentile_cont(0.025) within group (order by entry),
    percentile_cont(0.975) within group (order by entry)
  into v_test.lower, v_test.upper
  from unnest(resampled) as entry;

  if v_test.standard_error > 0 then
    v_test.t := v_test.difference / v_test.standard_error;
    v_test.p_value := 2 * ml.students_t_cdf(-abs(v_test.t), v_test.people - 1);
  else
    v_test.p_value := case when v_test.people > 1 and v_test.difference <> 0 then 0 else 1 end;
  end if;
  v_test.verdict := case
    when v_test.p_value < 0.05 and v_test.lower > 0 then 'better'
    when v_test.p_value < 0.05 and v_test.upper < 0 then 'worse'
    else 'equal'
  end;
  return v_test;
end;
$$;

comment on function recommend._compare(float8[], float8[]) is $$
@behavior -*
Paired comparison from the difference of each person and the mean difference of each bootstrap sample.
A difference is significant when the percentile interval of 95 % of the paired bootstrap does not contain 0, and the
two-sided p-value of the paired t-test is below 0.05: with few people the bootstrap alone finds too many.
Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993; Student, The probable error of a mean, Biometrika
1908.
$$;

create or replace function ml.normal_cdf(x float8, mean float8 default 0, sd float8 default 1)
returns float8
language sql
immutable
parallel safe
begin atomic
  select case
    when normal_cdf.sd > 0 and normal_cdf.sd < 'infinity'
      then ml._standard_normal_cdf(
        ml._finite_range(ml._finite_range(normal_cdf.x) - ml._finite_range(normal_cdf.mean))
          / greatest(ml._finite_range(normal_cdf.sd), 1e-100)
      )
    when normal_cdf.sd is null or normal_cdf.x is null or normal_cdf.mean is null then null
    else 'NaN'
  end;
end;

comment on function ml.normal_cdf(float8, float8, float8) is $$
Returns the normal distribution function, the probability of a value up to x.
The mean is 0 and the standard deviation 1 by default. Absolute error below 1e-15; twelve correct digits in the lower
tail. 0 or 1 beyond 38 standard deviations. NaN unless `sd` is a positive number.
$$;

grant execute on function ml.normal_cdf(float8, float8, float8)
to insights_reader, insights_analyst, insights_admin, insights_worker;

create or replace function ml._standard_normal_cdf(z float8)
returns float8
language sql
immutable
parallel safe
begin atomic
  -- A single expression, so that generated statements over millions of rows inline it.
  select case
    when z > 38 then 1
    when z < -38 then 0
    else case when z > 0 then 1 else 0 end + case when z > 0 then -1 else 1 end * exp(-z * z / 2)
      * case
        when abs(z) < 4 then
          ((((((3.52624965998911e-02 * abs(z) + 0.700383064443688) * abs(z) + 6.37396220353165)
            * abs(z) + 33.912866078383) * abs(z) + 112.079291497871) * abs(z) + 221.213596169931)
            * abs(z) + 220.206867912376)
          / (((((((8.83883476483184e-02 * abs(z) + 1.75566716318264) * abs(z) + 16.064177579207)
            * abs(z) + 86.7807322029461) * abs(z) + 296.564248779674) * abs(z) + 637.333633378831)
            * abs(z) + 793.826512519948) * abs(z) + 440.413735824752)
        else
          0.398942280401432677939946059934
            / (abs(z) + 1 / (abs(z) + 2 / (abs(z) + 3 / (abs(z) + 4 / (abs(z) + 5 / (abs(z) + 6 / (abs(z) + 7 /
              (abs(z) + 8 / (abs(z) + 9 / (abs(z) + 10 / (abs(z) + 11 / (abs(z) + 12 / (abs(z) + 13 /
              (abs(z) + 14 / (abs(z) + 15 / (abs(z) + 16 / (abs(z) + 17 / (abs(z) + 18 / (abs(z) + 19 /
              (abs(z) + 20 / abs(z)))))))))))))))))))))
      end
  end;
end;

comment on function ml._standard_normal_cdf(float8) is $$
Returns the standard normal distribution function at z.
Hart's rational approximation for |z| < 4, a continued fraction beyond
(G. West, Better approximations to cumulative normal functions, Wilmott, 2005).
$$;

grant execute on function ml._standard_normal_cdf(float8)
to insights_reader, insights_analyst, insights_admin, insights_worker;

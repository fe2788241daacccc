create or replace function analytics._confidence_quantile(nu int)
returns float8
language sql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select case
    -- To compute a quantile takes a millisecond, and a trend needs one per number of buckets.
    when _confidence_quantile.nu between 1 and 30
      then ('{
        12.706204736174733, 4.302652729749459, 3.1824463052837104, 2.776445105197791, 2.5705818356363146,
        2.446911851144968, 2.3646242515927844, 2.3060041352041654, 2.2621571627982053, 2.228138851986271,
        2.2009851600916415, 2.1788128296672262, 2.1603686564627926, 2.144786687917801, 2.131449545559777,
        2.119905299221252, 2.1098155778333183, 2.1009220402410373, 2.0930240544083105, 2.085963447265863,
        2.0796138447276795, 2.073873067904025, 2.0686576104190473, 2.0638985616280245, 2.0595385527532977,
        2.055529438642872, 2.051830516480284, 2.0484071417952454, 2.0452296421327048, 2.0422724563012373
      }'::float8[])[_confidence_quantile.nu]
    when _confidence_quantile.nu between 31 and 200 then ml.students_t_quantile(0.975, _confidence_quantile.nu)
    -- Abramowitz and Stegun, 26.7.5.
    when _confidence_quantile.nu > 200
      then z + (z ^ 3 + z) / (4 * n) + (5 * z ^ 5 + 16 * z ^ 3 + 3 * z) / (96 * n ^ 2)
        + (3 * z ^ 7 + 19 * z ^ 5 + 17 * z ^ 3 - 15 * z) / (384 * n ^ 3)
        + (79 * z ^ 9 + 776 * z ^ 7 + 1482 * z ^ 5 - 1920 * z ^ 3 - 945 * z) / (92160 * n ^ 4)
  end
  from (select 1.9599639845400547::float8 as z, _confidence_quantile.nu::float8 as n) as given;
$$;

comment on function analytics._confidence_quantile(int) is $$
Returns the quantile 0.975 of Student's t with `nu` degrees of freedom, to 11 digits.
It is half the width of a 95 % confidence interval in standard errors, and the same as
`ml.students_t_quantile(0.975, nu)`, which takes longer. Null below 1.
$$;

grant execute on function analytics._confidence_quantile(int) to insights_reader;

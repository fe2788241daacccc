create or replace function monitor._theil_sen(
  x float8[],
  y float8[],
  out slope float8,
  out slope_lower float8,
  out slope_upper float8
)
language plpgsql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_slopes constant float8[] := array(
    select (b.y - a.y) / (b.x - a.x)
    from unnest(_theil_sen.x, _theil_sen.y) as a (x, y)
    join unnest(_theil_sen.x, _theil_sen.y) as b (x, y) on b.x > a.x
    order by 1
  );
  v_pairs constant int := cardinality(v_slopes);
  v_half float8;
begin
  slope := (select percentile_cont(0.5) within group (order by each) from unnest(v_slopes) as each);
  -- Half of the number of slopes in the interval, from the variance of Kendall's S with ties.
  v_half := ml.normal_quantile(0.975) / 2 * sqrt((
    select sum(tied.variance)
    from (
      select cardinality(_theil_sen.x)::float8 * (cardinality(_theil_sen.x) - 1) * (2 * cardinality(_theil_sen.x) + 5)
        as variance

      union all

      select -(count(*)::float8 * (count(*) - 1) * (2 * count(*) + 5))
      from unnest(_theil_sen.y) as value
      group by value
    ) as tied
  ) / 18);
  if v_pairs / 2.0 - v_half >= 1 and v_half > 0 then
    slope_lower := v_slopes[floor(v_pairs / 2.0 - v_half)::int];
    slope_upper := v_slopes[ceil(v_pairs / 2.0 + v_half)::int + 1];
  end if;
end;
$$;

comment on function monitor._theil_sen(float8[], float8[]) is $$
@behavior -*
Returns the median of the slopes between all pairs of points, with a 95 % interval; `x` are different numbers.
One point in four may be wrong without a large effect. The interval is null with fewer than six points, and when all
`y` are equal. Sen, Estimates of the regression coefficient based on Kendall's tau, JASA 1968.
$$;

grant execute on function monitor._theil_sen(float8[], float8[])
to insights_analyst, insights_admin, insights_worker;

create or replace function ml._wald(
  coef float8[],
  covariance float8[],
  df float8,
  out std_err float8[],
  out stats float8[],
  out p_values float8[]
)
language sql
immutable
parallel safe
begin atomic
  select
    array_agg(se order by position),
    array_agg(stat order by position),
    array_agg(
      case when df is null then ml._normal_p_value(stat) else ml._students_t_p_value(stat, df) end
      order by position
    )
  from (
    select position, se, case when se > 0 then value / se end as stat
    from unnest(coef) with ordinality as estimate (value, position)
    cross join lateral (select sqrt(greatest(covariance[position::int][position::int], 0))) as error (se)
  ) as tested;
end;

comment on function ml._wald(float8[], float8[], float8) is $$
Returns standard errors, coefficients over standard errors, and two-sided p-values.
By Student's t with `df` degrees of freedom or, when `df` is null, by the normal distribution.
$$;

grant execute on function ml._wald(float8[], float8[], float8) to insights_analyst, insights_admin, insights_worker;

create or replace function ml._odds_ratios(coef float8[])
returns float8[]
language sql
immutable
parallel safe
begin atomic
  select array_agg(exp(least(greatest(value, -700), 700)) order by nth)
  from unnest(coef) with ordinality as list (value, nth);
end;

comment on function ml._odds_ratios(float8[]) is $$
Returns the exponentials of coefficients, bounded so that none overflows; null for null.
$$;

grant execute on function ml._odds_ratios(float8[]) to insights_analyst, insights_admin, insights_worker;

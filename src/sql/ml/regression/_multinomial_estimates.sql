create or replace function ml._multinomial_estimates(
  settled ml.design,
  categories integer[],
  fit ml.fit,
  covariance float8[]
)
returns setof ml.fit
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_count constant integer := cardinality(categories);
  v_fit ml.fit := fit;
begin
  for a in 1..v_count loop
    v_fit.category := categories[a];
    v_fit.beta := array(
      select fit.beta[a][place] from generate_series(1, settled.width) as place order by place
    );
    v_fit.coef := (ml._unscaled(v_fit.beta, null, settled, settled.intercept, settled.intercept_value)).coef;
    v_fit.covariance := array_fill(0::float8, array[settled.width, settled.width]);
    for i in 1..settled.width loop
      v_fit.covariance[i][i] := covariance[(i - 1) * v_count + a][(i - 1) * v_count + a];
    end loop;
    return next ml._tested(v_fit, null);
  end loop;
end;
$$;

comment on function ml._multinomial_estimates(ml.design, integer[], ml.fit, float8[]) is $$
Returns one fit per category from the fit of a group, with coefficients in the units of the caller, and their tests.
`covariance` is that of ml._multinomial_covariance; only the variances of a category are in `ml.fit.covariance`.
$$;

grant execute on function ml._multinomial_estimates(ml.design, integer[], ml.fit, float8[])
to insights_analyst, insights_admin, insights_worker;

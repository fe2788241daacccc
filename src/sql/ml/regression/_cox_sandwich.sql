create or replace function ml._cox_sandwich(
  model_table text,
  clustervar text
)
returns ml.cox_sandwich
language plpgsql
set extra_float_digits to 1
as $$
declare
  v_model constant record := ml._cox_model(model_table, clustervar);
  v_size constant integer := cardinality(v_model.coef);
  v_scores text;
  v_statement text;
  v_sums float8[];
  v_clusters bigint;
  v_bread float8[] := array_fill(0::float8, array[v_size, v_size]);
  v_covariance float8[];
  v_wald record;
begin
  v_scores := (
    select string_agg(format('status * (x%1$s - m%1$s) - risk * (x%1$s * hazard - h%1$s) as u%1$s', i), ', ' order by i)
    from generate_series(1, v_size) as i
  );
  v_statement := format('select %s%s from (%s) as residual', case when clustervar is null then '' else 'cluster, ' end,
    v_scores, ml._cox_residuals(v_model.settled, v_model.beta));
  if clustervar is not null then
    v_statement := format('select %s from (%s) as score group by cluster', (
      select string_agg(format('sum(u%s) as u%s', i, i), ', ' order by i) from generate_series(1, v_size) as i
    ), v_statement);
  end if;
  select part.row_count, part.sums
  into v_clusters, v_sums
  from ml._sums(
    format('select null::text, true, count(*), array[%s] from (%s) as score', (
      select string_agg(format('sum(u%s * u%s)', i, j), ', ' order by i, j)
      from generate_series(1, v_size) as i
      cross join generate_series(1, v_size) as j
      where j >= i
    ), v_statement),
    (v_model.settled).relation
  ) as part;
  if clustervar is not null and v_clusters < 2 then
    perform ml._fit_failed(format('%s rows for at least 2 clusters', v_clusters), (v_model.settled).source);
  end if;
  for i in 1..v_size loop
    for j in 1..v_size loop
      v_bread[i][j] := v_model.hessian[i][j] * v_model.scale[i] * v_model.scale[j];
    end loop;
  end loop;
  v_bread := (ml._scaled_inverse(v_bread, 1e-14)).inverse;
  v_covariance := ml._float8_product(
    ml._float8_product(v_bread, ml._symmetric_matrix(v_sums, v_size)), v_bread
  );
  for i in 1..v_size loop
    for j in 1..v_size loop
      v_covariance[i][j] := v_covariance[i][j] * v_model.scale[i] * v_model.scale[j];
    end loop;
  end loop;
  v_wald := ml._wald(v_model.coef, v_covariance, null);
  return (
    v_model.coef, v_model.loglikelihood, v_model.std_err, v_wald.std_err, v_wald.stats, v_wald.p_values, v_model.hessian
  )::ml.cox_sandwich;
end;
$$;

comment on function ml._cox_sandwich(text, text) is $$
Returns a proportional hazards model with sandwich standard errors from its score residuals, by row or by cluster.
$$;

grant execute on function ml._cox_sandwich(text, text) to insights_analyst, insights_admin, insights_worker;

create or replace function ml.clustered_variance_coxph(
  model_table text,
  output_table text,
  clustervar text
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_output constant text := common.output_table(output_table);
  v_fit ml.cox_sandwich;
begin
  if nullif(btrim(clustervar), '') is null then
    perform common.refuse('CF001', 'no cluster column is named',
      'Name the columns whose values identify a cluster, such as ''course_id''.');
  end if;
  v_fit := ml._cox_sandwich(model_table, clustervar);
  execute format(
    'create table %s as
     select ($1).coef, ($1).loglikelihood, ($1).std_err, $2 as clustervar, ($1).sandwich_se as clustered_se,
       ($1).sandwich_z as clustered_z, ($1).sandwich_p as clustered_p, ($1).hessian',
    v_output
  ) using v_fit, clustervar;
end;
$$;

comment on function ml.clustered_variance_coxph(text, text, text) is $$
@behavior -*
Standard errors of a proportional hazards model that allow for correlated rows in a cluster, as MADlib.
As ml.robust_variance_coxph, with the score residuals added up by the values of the `clustervar` columns.
Writes `output_table`: coef, loglikelihood, std_err and hessian of the model, clustervar, clustered_se, clustered_z,
clustered_p.
Errors: as there, and CF004 for fewer than two clusters.
Source: Lee, Wei and Amato, Survival Analysis: State of the Art, 1992; R's `coxph(…, cluster = …)`.
$$;

grant execute on function ml.clustered_variance_coxph(text, text, text)
to insights_analyst, insights_admin, insights_worker;

create or replace function ml.robust_variance_coxph(
  model_table text,
  output_table text
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
  v_fit constant ml.cox_sandwich := ml._cox_sandwich(model_table, null);
begin
  execute format(
    'create table %s as
     select ($1).coef, ($1).loglikelihood, ($1).std_err, ($1).sandwich_se as robust_se, ($1).sandwich_z as robust_z,
       ($1).sandwich_p as robust_p, ($1).hessian',
    v_output
  ) using v_fit;
end;
$$;

comment on function ml.robust_variance_coxph(text, text) is $$
@behavior -*
Robust standard errors of a proportional hazards model, as MADlib: valid if hazards are not proportional.
`model_table` is the output of ml.coxph_train with ties=breslow (the default). Reads its source table once more, which
must be unchanged. Writes `output_table`: coef, loglikelihood, std_err and hessian of the model, robust_se, robust_z,
robust_p. Errors: CF001 (not such a model), CF002, CF003 (`output_table` exists), CF004, CF005, CF010 (the source has
other columns). Source: Lin and Wei, J. Am. Stat. Assoc. 84, 1989; R's `coxph(…, robust = TRUE)`.
$$;

grant execute on function ml.robust_variance_coxph(text, text)
to insights_analyst, insights_admin, insights_worker;

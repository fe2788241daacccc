create or replace function ml._cox_model(
  model_table text,
  clustervar text,
  out settled ml.design,
  out beta float8[],
  out scale float8[],
  out coef float8[],
  out loglikelihood float8,
  out std_err float8[],
  out hessian float8[],
  out source_table text,
  out dependent_variable text,
  out independent_variable text
)
language plpgsql
as $$
declare
  v_model constant regclass := common.relation(model_table);
  v_strata text;
  v_status text;
  v_ties text;
  v_design ml.design;
  v_first record;
begin
  begin
    execute format(
      'select model.coef, model.loglikelihood, model.std_err, model.hessian, summary.source_table,
         summary.dependent_variable, summary.independent_variable,
         coalesce(nullif(btrim(summary.right_censoring_status), ''''), ''true''), summary.strata, summary.ties
       from %s as summary, %s as model',
      common.relation((
        select format('%I.%I', namespace.nspname, class.relname || '_summary')
        from pg_catalog.pg_class as class
        join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
        where class.oid = v_model
      )),
      v_model
    ) into coef, loglikelihood, std_err, hessian, source_table, dependent_variable, independent_variable,
      v_status, v_strata, v_ties;
  exception when undefined_column then
    perform common.refuse('CF001', format('"%s" is not a model of ml.coxph_train', left(model_table, 100)),
      'Give the output table of ml.coxph_train.');
  end;
  if coef is null then
    perform common.refuse('CF004', format('"%s" has no row', left(model_table, 100)),
      'Give the output table of ml.coxph_train.');
  elsif v_ties <> 'breslow' then
    perform common.refuse('CF001', format('the model was trained with ties=%s', left(v_ties, 100)),
      'Train with ties=breslow, whose residuals are defined for each row.');
  end if;
  v_design := (
    ml._elastic_net_design(source_table, dependent_variable, independent_variable, v_strata, null)
  ).design;
  perform common.expression_type(v_status, v_design.relation, 'right censoring status');
  v_design.status := format('(%s)::boolean', v_status);
  if clustervar is not null then
    v_design.clusters := common.column_names(v_design.relation, clustervar, 'cluster columns');
  end if;
  v_first := ml._settled(v_design);
  if v_first.failure is not null then
    perform ml._fit_failed(v_first.failure, v_design.source);
  end if;
  settled := v_first.settled;
  scale := array(
    select settled.scale[place] from unnest(settled.active) with ordinality as list (place, nth) order by nth
  );
  if cardinality(scale) <> cardinality(coef) then
    perform common.refuse('CF010', format('the model has %s coefficients, "%s" now %s columns', cardinality(coef),
      v_design.source, cardinality(scale)), 'Train it again.');
  end if;
  beta := array_fill(0::float8, array[settled.width]);
  for i in 1..cardinality(coef) loop
    beta[settled.active[i]] := coef[i] / scale[i];
  end loop;
end;
$$;

comment on function ml._cox_model(text, text) is $$
Returns a model of `ml.coxph_train` with the design of its rows, for statistics of its residuals.
`beta` is by position, for the columns as they are summed, which are those of the caller times `scale`. `clustervar`
adds the clusters to the design.
Errors: CF001 (not such a model, another method for ties), CF002, CF004, CF005, CF010 (other columns).
$$;

grant execute on function ml._cox_model(text, text) to insights_analyst, insights_admin, insights_worker;

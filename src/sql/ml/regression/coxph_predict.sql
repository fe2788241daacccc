create or replace function ml.coxph_predict(
  model_table text,
  source_table text,
  id_col_name text,
  output_table text,
  pred_type text default 'linear_predictors',
  reference text default 'overall'
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_model constant regclass := common.relation(model_table);
  v_data constant regclass := common.relation(source_table);
  v_id constant text := common.column_name(v_data, id_col_name, 'id column');
  v_output constant text := common.output_table(output_table);
  v_kind constant text := lower(coalesce(pred_type, 'linear_predictors'));
  v_x text;
  v_means float8[];
  v_coef float8[];
begin
  if v_kind not in ('linear_predictors', 'risk', 'terms') then
    perform common.refuse('CF001', format('there is no type "%s"', left(pred_type, 100)),
      'Give linear_predictors, risk or terms.');
  elsif lower(coalesce(reference, 'overall')) <> 'overall' then
    perform common.refuse('CF001', format('there is no reference "%s"', left(reference, 100)),
      'Give overall: predictions are centred on the mean of all rows of the training.');
  end if;
  begin
    execute format(
      'select summary.independent_variable, summary.means, model.coef from %s as summary, %s as model',
      common.relation((
        select format('%I.%I', namespace.nspname, class.relname || '_summary')
        from pg_catalog.pg_class as class
        join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
        where class.oid = v_model
      )),
      v_model
    ) into v_x, v_means, v_coef;
  exception when undefined_column then
    perform common.refuse('CF001', format('"%s" is not a model of ml.coxph_train', left(model_table, 100)),
      'Give the output table of ml.coxph_train.');
  end;
  v_x := common.expression(v_x, v_data);
  perform common.expression_type(v_x, v_data, 'independent variable');
  perform ml._create_table(format(
    $statement$
    create table %s as
    select %s, %s as predicted_value
    from (select source.%s, (%s)::float8[] as x from %s as source) as evaluated
    $statement$,
    v_output,
    v_id,
    case v_kind
      when 'terms' then format(
        $expression$(
          select array_agg(coef * (value - mean) order by nth)
          from unnest(%L::float8[], x, %L::float8[]) with ordinality as term (coef, value, mean, nth)
        )$expression$,
        v_coef,
        v_means
      )
      -- greatest() and least() ignore a null.
      when 'risk' then format(
        'case when array_position(x, null) is null then '
          || 'exp(least(greatest(ml.linregr_predict(%L::float8[], x) - %L::float8, -700), 700)) end',
        v_coef,
        ml.linregr_predict(v_coef, v_means)
      )
      else format(
        'ml.linregr_predict(%L::float8[], x) - %L::float8',
        v_coef,
        ml.linregr_predict(v_coef, v_means)
      )
    end,
    v_id,
    v_x,
    v_data
  ));
end;
$$;

comment on function ml.coxph_predict(text, text, text, text, text, text) is $$
@behavior -*
Writes the predictions of a proportional hazards model, as MADlib: the hazard of each row relative to an average row.
Evaluates the independent variables of the training over `source_table` and writes `output_table`: the id column and
`predicted_value`, which is the log relative hazard (`linear_predictors`), the relative hazard (`risk`), or the terms of
the log relative hazard by column (`terms`, float8[]). The average is that of all rows of the training (`reference` is
`overall`).
Errors: CF001 (not a model of ml.coxph_train, unknown type or reference), CF002, CF003 (output exists), CF005.
$$;

grant execute on function ml.coxph_predict(text, text, text, text, text, text)
to insights_analyst, insights_admin, insights_worker;

create or replace function ml.mlogregr_predict(
  model_table text,
  new_data_table text,
  id_col_name text,
  output_table text,
  type text default 'response'
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
  v_data constant regclass := common.relation(new_data_table);
  v_id constant text := common.column_name(v_data, id_col_name, 'id column');
  v_output constant text := common.output_table(output_table);
  v_kind constant text := lower(coalesce(type, 'response'));
  v_x text;
  v_categories integer[];
  v_coefs jsonb;
  v_logits text;
begin
  if v_kind not in ('response', 'prob') then
    perform common.refuse('CF001', format('there is no type "%s"', left(type, 100)),
      'Give response for the category, or prob for the probability of each category.');
  end if;
  begin
    execute format(
      $statement$
      select
        (select independent_varname from %s limit 1),
        min(ref_category) || array_agg(category order by category),
        jsonb_agg(coef order by category)
      from %s
      where coef is not null
      $statement$,
      common.relation((
        select format('%I.%I', namespace.nspname, class.relname || '_summary')
        from pg_catalog.pg_class as class
        join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
        where class.oid = v_model
      )),
      v_model
    ) into v_x, v_categories, v_coefs;
  exception when undefined_column then
    perform common.refuse('CF001', format('"%s" is not a model of ml.mlogregr_train', left(model_table, 100)),
      'Give the output table of ml.mlogregr_train.');
  end;
  if cardinality(v_categories) > 1 + (select count(distinct category) from unnest(v_categories[2:]) as category) then
    perform common.refuse('CF001', format('"%s" contains one model per group', left(model_table, 100)),
      'Select the rows of one group in a view, and predict with the view.');
  end if;
  v_x := common.expression(v_x, v_data);
  perform common.expression_type(v_x, v_data, 'independent variable');
  v_logits := format('ml._softmax(array[0%s])', (
    select string_agg(
      format(', ml.linregr_predict(%L::float8[], x)', translate(coef::text, '[]', '{}')),
      '' order by nth
    )
    from jsonb_array_elements(v_coefs) with ordinality as list (coef, nth)
  ));
  perform ml._create_table(format(
    $statement$
    create table %s as
    select %s, %s
    from (
      select %s, %s as p
      from (select source.%s, (%s)::float8[] as x from %s as source) as evaluated
      offset 0
    ) as scored
    $statement$,
    v_output,
    v_id,
    case v_kind
      when 'prob' then (
        select string_agg(format('p[%s] as %I', nth, 'estimated_prob_' || category), ', ' order by category)
        from unnest(v_categories) with ordinality as list (category, nth)
      )
      else format(
        '(%L::int[])[array_position(p, (select max(value) from unnest(p) as value))] as category',
        v_categories
      )
    end,
    v_id,
    v_logits,
    v_id,
    v_x,
    v_data
  ));
end;
$$;

comment on function ml.mlogregr_predict(text, text, text, text, text) is $$
@behavior -*
Writes the predictions of a multinomial model, as MADlib.
The independent variables of the training are evaluated over `new_data_table`.
Writes `output_table`: the id column and `category`, the most probable one (`response`), or `estimated_prob_<category>`
for each category (`prob`). Null where an independent variable is null.
Errors: CF001 (not a model of ml.mlogregr_train, a model with groups, unknown type), CF002 (unknown table or column),
CF003 (output exists), CF005.
$$;

grant execute on function ml.mlogregr_predict(text, text, text, text, text)
to insights_analyst, insights_admin, insights_worker;

create or replace function ml._model_summary(
  model_table text,
  methods text[]
)
returns jsonb
language plpgsql
stable
as $$
declare
  v_model regclass := common.relation(model_table);
  v_summary text;
  v_row jsonb;
begin
  select format('%I.%I', namespace.nspname, class.relname || '_summary')
  into v_summary
  from pg_catalog.pg_class as class
  join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
  where class.oid = v_model;
  if to_regclass(v_summary) is not null then
    execute format('select to_jsonb(summary) from %s as summary limit 1', v_summary) into v_row;
  end if;
  if v_row is null or not coalesce(v_row ->> 'method' = any (methods), false) then
    perform common.refuse(
      'CF002',
      format('"%s" is not a model of %s', left(model_table, 100), array_to_string(methods, ' or ')),
      format('A model is the output table of a training, with its table "%s".', left(v_summary, 100))
    );
  end if;
  return v_row;
end;
$$;

comment on function ml._model_summary(text, text[]) is $$
The row of a model's `_summary` table as JSON, when it was made by one of the methods. Error CF002.
$$;

grant execute on function ml._model_summary(text, text[]) to insights_analyst, insights_admin, insights_worker;

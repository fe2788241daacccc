create or replace function ml._tree_model(model_table text, methods text[])
returns setof ml.tree_model
language plpgsql
stable
as $$
declare
  v_summary constant text := ml._tree_summary(common.relation(model_table));
  v_found boolean := false;
begin
  if to_regclass(v_summary) is not null then
    return query execute format(
      $query$
      select model.*
      from %s as summary
      cross join lateral jsonb_populate_record(null::ml.tree_model, to_jsonb(summary)) as model
      where model.method = any ($1)
      order by model.gid
      $query$,
      v_summary
    ) using methods;
    v_found := found;
  end if;
  if not v_found then
    perform common.refuse(
      'CF002',
      format('"%s" is not a model of %s', left(model_table, 100), array_to_string(methods, ' or ')),
      format('A model is the output table of a training, with its table "%s".', left(v_summary, 100))
    );
  end if;
end;
$$;

comment on function ml._tree_model(text, text[]) is $$
The rows of a model's `_summary` table, when it was made by one of the methods: one row, or one per group. Error CF002.
$$;

grant execute on function ml._tree_model(text, text[]) to insights_analyst, insights_admin, insights_worker;

create or replace function ml._tree_features(
  relation regclass,
  list_of_features text,
  list_of_features_to_exclude text,
  others text[],
  label text
)
returns text[]
language plpgsql
stable
as $$
declare
  v_excluded text[] := common.column_names(relation, list_of_features_to_exclude, 'features to exclude');
  v_features text[];
  v_used text[] := array(
    select used
    from unnest(others) as other
    cross join lateral unnest(common.expression_columns(other, relation)) as used
  ) || common.expression_columns(label, relation);
begin
  if list_of_features is null or btrim(list_of_features) = '' then
    perform common.refuse('CF001', 'the list of features is null or empty',
      'Name columns or expressions, separated by commas, or *.');
  end if;
  if btrim(list_of_features) = '*' then
    select array_agg(quote_ident(name) order by position)
    into v_features
    from unnest(common.columns(relation)) with ordinality as stored (name, position)
    where not quote_ident(name) = any (v_excluded)
      and not name = any (array_remove(others, null))
      and not quote_ident(name) = any (array_remove(others, null))
      and not name = any (v_used);
  else
    select array_agg(common.expression(name, relation) order by position)
    into v_features
    from unnest(common.split_expressions(list_of_features)) with ordinality as part (name, position)
    where not common.expression(name, relation) = any (v_excluded);
  end if;
  if v_features is null then
    perform common.refuse('CF004', 'no feature is left',
      'Name at least one column that is neither the id, the dependent variable nor excluded.');
  end if;
  return v_features;
end;
$$;

comment on function ml._tree_features(regclass, text, text, text[], text) is $$
Returns the features of a list.
With `*` these are all columns that are not excluded and not used by `label` or `others` (id, weights, times).
Error CF004: no feature is left.
$$;

grant execute on function ml._tree_features(regclass, text, text, text[], text)
  to insights_analyst, insights_admin, insights_worker;

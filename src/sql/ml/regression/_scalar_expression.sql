create or replace function ml._scalar_expression(expression text, relation regclass, what text)
returns text
language plpgsql
as $$
declare
  v_expression text;
begin
  if expression is null then
    return null;
  end if;
  v_expression := common.expression(expression, relation);
  if cardinality(common.split_expressions(v_expression)) > 1 then
    perform common.refuse(
      'CF001',
      format('the %s "%s" is more than one expression', left(what, 100), left(expression, 100)),
      'Name one column, or one expression.'
    );
  end if;
  perform common.numeric_expression(expression, relation, what);
  return v_expression;
end;
$$;

comment on function ml._scalar_expression(text, regclass, text) is $$
Returns the text of one numeric expression over a relation, after checking it; null for null.
$$;

grant execute on function ml._scalar_expression(text, regclass, text)
to insights_analyst, insights_admin, insights_worker;

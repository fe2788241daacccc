create or replace function common.numeric_expression(
  expression text,
  relation regclass,
  role text
)
returns text
language plpgsql
stable
as $$
declare
  v_type regtype := common.expression_type(expression, relation, role);
  v_expression constant text := common.expression(expression, relation);
begin
  if v_type = 'boolean'::regtype then
    return format('((%s)::int::float8)', v_expression);
  end if;
  if v_type not in (
    'smallint'::regtype, 'integer'::regtype, 'bigint'::regtype,
    'real'::regtype, 'double precision'::regtype, 'numeric'::regtype
  ) then
    perform common.refuse(
      'CF001',
      format('%s: "%s" is of type %s, not a number', left(role, 100), left(expression, 100), v_type),
      'Cast it, or encode it with ml.encode_categorical_variables.'
    );
  end if;
  return format('((%s)::float8)', v_expression);
end;
$$;

comment on function common.numeric_expression(text, regclass, text) is $$
Returns the expression cast to float8 (booleans become 0 and 1), for a generated statement.
Error CF001 when its type is neither a number nor boolean.
$$;

grant execute on function common.numeric_expression(text, regclass, text)
to insights_analyst, insights_admin, insights_worker;

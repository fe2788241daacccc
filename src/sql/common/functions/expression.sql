create or replace function common.expression(expression text, relation regclass)
returns text
language plpgsql
stable
as $$
declare
  v_expression constant text := btrim(expression, E' \t\r\n');
  v_inside text;
  v_elements text[];
begin
  -- A number stays a number, also where a pivot has named a column after it.
  if v_expression !~ '^[-+.0-9''"]' and exists (
    select
    from pg_catalog.pg_attribute as attribute
    where attribute.attrelid = expression.relation
      and attribute.attname = v_expression
      and attribute.attnum > 0
      and not attribute.attisdropped
  ) then
    return quote_ident(v_expression);
  end if;
  v_inside := substring(v_expression from '^(?:[aA][rR][rR][aA][yY])\s*\[(.*)\]$');
  if v_inside is null then
    return expression;
  end if;
  begin
    v_elements := common.split_expressions(v_inside);
  exception when sqlstate 'CF001' then
    -- array[a] || array[b]
    return expression;
  end;
  return 'array[' || (
    select string_agg(common.expression(element, relation), ', ' order by position)
    from unnest(v_elements) with ordinality as part (element, position)
  ) || ']';
end;
$$;

comment on function common.expression(text, regclass) is $$
Returns an expression with the names of columns quoted, where it or an element of array[…] is the name of a column.
So a column may be named after a word of SQL, such as `order` or `user`, or with capitals. Other expressions are
returned as they are.
$$;

grant execute on function common.expression(text, regclass) to insights_analyst, insights_admin, insights_worker;

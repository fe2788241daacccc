create or replace function common.column_name(
  relation regclass,
  name text,
  role text
)
returns text
language plpgsql
stable
as $$
declare
  v_columns text[] := common.columns(relation);
  v_name text := name;
begin
  if not v_name = any (v_columns) then
    begin
      v_name := (parse_ident(name))[1];
    exception when invalid_parameter_value then
      null;
    end;
  end if;
  if v_name = any (v_columns) then
    return quote_ident(v_name);
  end if;
  perform common.refuse(
    'CF002',
    format('%s: "%s" has no column "%s"', left(role, 100), relation, coalesce(left(name, 100), 'null')),
    coalesce(
      'Did you mean "' || common.nearest_name(name, v_columns) || '"?',
      format('Its columns are %s.', array_to_string(v_columns, ', '))
    )
  );
end;
$$;

comment on function common.column_name(regclass, text, text) is $$
Returns the quoted name of a relation's column, which is given as stored or as written in SQL.
Error CF002 names the nearest column.
$$;

grant execute on function common.column_name(regclass, text, text) to insights_analyst, insights_admin, insights_worker;

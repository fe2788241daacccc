create or replace function ml._less_offsets(dependent_varname text, offsets text, source_table text)
returns text
language plpgsql
as $$
declare
  v_relation regclass;
  v_types regtype[];
  v_type text;
begin
  if offsets is null then
    return dependent_varname;
  end if;
  v_relation := common.relation(source_table);
  perform ml._scalar_expression(dependent_varname, v_relation, 'dependent variable');
  perform ml._scalar_expression(offsets, v_relation, 'offsets');
  v_types := array[
    common.expression_type(dependent_varname, v_relation, 'dependent variable'),
    common.expression_type(offsets, v_relation, 'offsets')
  ];
  -- integers and decimals are subtracted exactly
  v_type := case when v_types && '{real, double precision}'::regtype[] then 'double precision' else 'numeric' end;
  return format(
    '%s - %s',
    ml._cast(common.expression(dependent_varname, v_relation), v_types[1], v_type),
    ml._cast(common.expression(offsets, v_relation), v_types[2], v_type)
  );
end;
$$;

comment on function ml._less_offsets(text, text, text) is $$
Returns the expression of a linear regression's dependent variable minus the offsets; the former without offsets.
$$;

grant execute on function ml._less_offsets(text, text, text) to insights_analyst, insights_admin, insights_worker;

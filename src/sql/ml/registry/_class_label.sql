create or replace function ml._class_label(label text, relation regclass)
returns text
language plpgsql
stable
as $$
declare
  v_type constant regtype := common.base_type(common.expression_type(label, relation, 'label'));
begin
  if (select typcategory from pg_catalog.pg_type where oid = v_type) in ('S', 'E') then
    return format('(%s)::text', common.expression(label, relation));
  end if;
  -- An integer is written without decimals, whatever its type.
  return format(
    '(select case when value = round(value) and abs(value) < 1e15 then value::bigint::text else value::text end
      from (select %s as value) as given)',
    common.numeric_expression(label, relation, 'label')
  );
end;
$$;

comment on function ml._class_label(text, regclass) is $$
SQL of a label as the name of a class: text as it is, a number as text. Errors: CF001, CF002.
$$;

grant execute on function ml._class_label(text, regclass) to insights_analyst, insights_admin, insights_worker;

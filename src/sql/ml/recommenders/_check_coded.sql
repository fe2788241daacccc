create or replace function ml._check_coded(
  relation regclass,
  columns text[] default array['person_no', 'item_no', 'weight', 'position']
)
returns void
language plpgsql
stable
set search_path from current
as $$
declare
  v_column text;
begin
  if relation is null then
    perform common.refuse('CF001', 'the relation is null',
      format('Name a table with the columns %s.', array_to_string(columns, ', ')));
  end if;
  foreach v_column in array columns loop
    perform common.column_name(relation, v_column, 'coded rows');
  end loop;
end;
$$;

comment on function ml._check_coded(regclass, text[]) is $$
Raises an error unless the relation has the columns of coded interactions.
Errors: CF001 (null), CF002 (a column is absent).
$$;

grant execute on function ml._check_coded(regclass, text[]) to insights_analyst, insights_admin, insights_worker;

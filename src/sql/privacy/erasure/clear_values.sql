create or replace function privacy.clear_values(
  table_name text,
  column_name text,
  names text[],
  replacement text default 'erased'
)
returns privacy.erased
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_rows bigint;
begin
  if num_nulls(clear_values.table_name, clear_values.column_name) > 0 then
    perform common.refuse('CF001', 'table_name or column_name is null', 'Give a table as schema.table, and a column.');
  end if;
  execute format(
    'update %1$I.%2$I set %3$I = $2 where %3$I = any ($1)',
    split_part(clear_values.table_name, '.', 1), split_part(clear_values.table_name, '.', 2), clear_values.column_name
  )
  using clear_values.names, clear_values.replacement;
  get diagnostics v_rows = row_count;
  return row(clear_values.table_name, v_rows, 'cleared')::privacy.erased;
end;
$$;

comment on function privacy.clear_values(text, text, text[], text) is $$
@behavior -*
Replaces the given names in a column of a table (`schema.table`), for the erase functions of rooms.
Used where the row is not about the person, such as a log of changes by administrators.
$$;

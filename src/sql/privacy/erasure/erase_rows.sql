create or replace function privacy.erase_rows(table_name text, column_name text, ids bigint[])
returns privacy.erased
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_rows bigint;
begin
  if num_nulls(erase_rows.table_name, erase_rows.column_name) > 0 then
    perform common.refuse('CF001', 'table_name or column_name is null', 'Give a table as schema.table, and a column.');
  end if;
  execute format(
    'delete from %I.%I where %I = any ($1)',
    split_part(erase_rows.table_name, '.', 1), split_part(erase_rows.table_name, '.', 2), erase_rows.column_name
  )
  using erase_rows.ids;
  get diagnostics v_rows = row_count;
  return row(erase_rows.table_name, v_rows, 'deleted')::privacy.erased;
end;
$$;

comment on function privacy.erase_rows(text, text, bigint[]) is $$
@behavior -*
Deletes the rows of a table (`schema.table`) whose column has one of the given keys, for the erase functions of rooms.
$$;

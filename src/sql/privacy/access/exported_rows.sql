create or replace function privacy.exported_rows(table_name text, contents jsonb, description text default null)
returns privacy.exported
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return row(
    exported_rows.table_name,
    coalesce(
      exported_rows.description,
      privacy._plain_comment(obj_description(to_regclass(exported_rows.table_name), 'pg_class'))
    ),
    coalesce(jsonb_array_length(exported_rows.contents), 0),
    coalesce(exported_rows.contents, '[]')
  )::privacy.exported;
end;
$$;

comment on function privacy.exported_rows(text, jsonb, text) is $$
@behavior -*
Returns the rows of a table (`schema.table`) in the export of a person, with the comment of the table.
`description` replaces the comment. For the export functions of rooms. `contents` is a list of objects; null for none.
$$;

create or replace function common.companion_table(
  qualified_name text,
  suffix text
)
returns text
language plpgsql
stable
strict
set search_path to pg_catalog, pg_temp
as $$
declare
  v_parts text[];
begin
  begin
    v_parts := parse_ident(left(qualified_name, 300));
  exception when invalid_parameter_value then
    null;
  end;
  if cardinality(v_parts) is distinct from 2 then
    perform common.refuse('CF001', format('"%s" is not the name of a table with its schema', left(qualified_name, 100)),
      'Give schema.name; put a name with blanks, capitals or semicolons into double quotes.');
  end if;
  return format('%I.%I', v_parts[1], v_parts[2] || suffix);
end;
$$;

comment on function common.companion_table(text, text) is $$
Returns the quoted name of a companion table: schema.name and a suffix such as `_summary`.
Error CF001 for a name without a schema.
$$;

grant execute on function common.companion_table(text, text) to insights_analyst, insights_admin, insights_worker;

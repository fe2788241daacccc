create or replace function ml._tree_summary(model regclass)
returns text
language sql
stable
begin atomic
  select format('%I.%I', namespace.nspname, class.relname || '_summary')
  from pg_catalog.pg_class as class
  join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
  where class.oid = model;
end;

comment on function ml._tree_summary(regclass) is $$
The qualified name of the summary of a model's table.
$$;

grant execute on function ml._tree_summary(regclass) to insights_analyst, insights_admin, insights_worker;

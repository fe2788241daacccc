create or replace function common.relation(source_table text)
returns regclass
language plpgsql
stable
parallel safe
as $$
declare
  v_relation regclass;
  v_kind "char";
  v_parts text[];
  v_candidates oid[];
  v_nearest text;
begin
  if source_table is null or btrim(source_table) = '' then
    perform common.refuse('CF001', 'the source table is null or empty',
      'Name a table, view or materialized view, such as ''public.houses''.');
  end if;
  begin
    perform parse_ident(source_table);
    v_relation := to_regclass(source_table);
  exception when invalid_parameter_value or invalid_name or syntax_error or feature_not_supported then
    perform common.refuse('CF001', format('"%s" is not the name of a table', left(source_table, 100)),
      'Give schema.name; put a name with blanks, capitals or semicolons into double quotes.');
  end;
  if v_relation is null then
    v_parts := parse_ident(source_table);
    v_candidates := array(
      select class.oid
      from pg_catalog.pg_class as class
      join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
      where class.relkind in ('r', 'v', 'm', 'p', 'f')
        and namespace.nspname not in ('pg_catalog', 'information_schema', 'pg_toast')
    );
    v_nearest := common.nearest_name(
      v_parts[cardinality(v_parts)],
      (select array_agg(class.relname::text) from pg_catalog.pg_class as class where class.oid = any (v_candidates))
    );
    -- regclass adds the schema where the caller needs it; the schema that the caller gave comes first.
    v_nearest := (
      select class.oid::regclass::text
      from pg_catalog.pg_class as class
      where class.oid = any (v_candidates)
        and class.relname = v_nearest
      order by class.relnamespace::regnamespace::text = v_parts[cardinality(v_parts) - 1] desc nulls last, class.oid
      limit 1
    );
    perform common.refuse('CF002', format('there is no table "%s"', left(source_table, 100)),
      coalesce('Did you mean "' || v_nearest || '"?', 'Name a table, view or materialized view, with its schema.'));
  end if;
  v_kind := (select relkind from pg_catalog.pg_class where oid = v_relation);
  if v_kind not in ('r', 'v', 'm', 'p', 'f') then
    perform common.refuse('CF001', format('"%s" is not a table, view or materialized view', left(source_table, 100)),
      'Name a relation that has rows.');
  end if;
  if not has_any_column_privilege(v_relation, 'select') then
    perform common.refuse('CF005', format('role "%s" may not read "%s"', current_user, left(source_table, 100)),
      'Ask its owner to grant select.');
  end if;
  return v_relation;
end;
$$;

comment on function common.relation(text) is $$
Returns the table, view or materialized view with a name, resolved by the caller's `search_path`.
Raises an error unless the caller may read it.
Errors: CF001 (not a name, not a relation with rows), CF002 (absent; names the nearest), CF005 (not readable).
$$;

grant execute on function common.relation(text) to insights_analyst, insights_admin, insights_worker;

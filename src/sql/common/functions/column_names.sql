create or replace function common.column_names(
  relation regclass,
  names text,
  role text
)
returns text[]
language sql
stable
begin atomic
  select coalesce(array_agg(common.column_name(relation, name, role) order by position), '{}')
  from unnest(common.split_expressions(nullif(btrim(names), ''))) with ordinality as part (name, position);
end;

comment on function common.column_names(regclass, text, text) is $$
Returns the quoted names of a comma-separated list of columns, an empty array for null or an empty list.
$$;

grant execute on function common.column_names(regclass, text, text)
to insights_analyst, insights_admin, insights_worker;

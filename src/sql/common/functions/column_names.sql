create or replace function common.column_names(
  relation regclass,
  names text,
  role text
)
returns text[]
language plpgsql
stable
as $$
declare
  v_names constant text[] := array(
    select common.column_name(relation, part.name, role)
    from unnest(common.split_expressions(nullif(btrim(names), ''))) with ordinality as part (name, position)
    order by part.position
  );
  v_twice text;
begin
  select listed.name into v_twice from unnest(v_names) as listed (name) group by listed.name having count(*) > 1
  order by 1 limit 1;
  if v_twice is not null then
    perform common.refuse('CF001', format('%s: %s is listed twice', left(role, 100), left(v_twice, 100)),
      'Give each column once.');
  end if;
  return v_names;
end;
$$;

comment on function common.column_names(regclass, text, text) is $$
Returns the quoted names of a comma-separated list of columns, an empty array for null or an empty list.
`role` is for messages. Errors: CF001 (a column is listed twice), CF002 (no such column; names the nearest).
$$;

grant execute on function common.column_names(regclass, text, text)
to insights_analyst, insights_admin, insights_worker;

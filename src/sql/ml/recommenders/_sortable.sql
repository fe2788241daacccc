create or replace function ml._sortable(
  relation regclass,
  column_name text
)
returns boolean
language plpgsql
stable
as $$
begin
  execute format('select from %s as source where false group by source.%2$s order by source.%2$s', relation,
    column_name);
  return true;
exception when undefined_function then
  return false;
end;
$$;

comment on function ml._sortable(regclass, text) is $$
Returns whether the type of a column, which is given quoted, has an order; `json` and `point` have none.
$$;

grant execute on function ml._sortable(regclass, text) to insights_analyst, insights_admin, insights_worker;

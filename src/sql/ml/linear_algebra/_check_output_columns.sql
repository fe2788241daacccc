create or replace function ml._check_output_columns(
  groups text[],
  names text[]
)
returns void
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_name text;
begin
  select name into v_name from unnest(groups) as name where name = any (names) limit 1;
  if v_name is not null then
    perform common.refuse('CF001', format('the grouping column %s has the name of an output column', left(v_name, 100)),
      'Rename it in a view of the table.');
  end if;
end;
$$;

comment on function ml._check_output_columns(text[], text[]) is $$
Refuses grouping columns that have the name of an output column of a trainer. Error CF001.
$$;

grant execute on function ml._check_output_columns(text[], text[]) to insights_analyst, insights_admin, insights_worker;

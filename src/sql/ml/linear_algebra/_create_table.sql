create or replace function ml._create_table(statement text)
returns bigint
language plpgsql
as $$
declare
  v_rows bigint;
begin
  if statement !~ '^\s*create ' then
    perform common.refuse('CF001', 'the statement does not create a table', 'Give the text of a create table … as.');
  end if;
  execute statement;
  get diagnostics v_rows = row_count;
  return v_rows;
exception when duplicate_column or ambiguous_column then
  perform common.refuse(
    'CF001',
    format('the column "%s" has the name of an output column', left(substring(sqlerrm from '"(.*)"'), 100)),
    'Rename it in a view of the table.'
  );
end;
$$;

comment on function ml._create_table(text) is $$
Executes a `create table … as` whose columns have names from the caller's data, and returns the number of rows.
Error CF001: a column that is kept (an id, a group) has the name of one that is written.
$$;

grant execute on function ml._create_table(text) to insights_analyst, insights_admin, insights_worker;

create or replace function recommend._check_session(
  what text,
  -- Those of the definers that train and evaluate.
  tables text[] default '{coded,coded\\_item,trained\\_part,owned,entry,all\\_row,held\\_row,train\\_row,resampled,'
    'gain,tested,cell,\\_learn\\_%}'
)
returns void
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_table constant text := (
    select relation.relname
    from pg_class as relation
    where relation.relnamespace = pg_my_temp_schema()
      and relation.relname like any (_check_session.tables)
    order by relation.relname
    limit 1
  );
begin
  if current_setting('transaction_read_only')::boolean then
    perform common.refuse('25006', format('cannot %s in a read-only transaction', _check_session.what),
      'Call it in a transaction that may write, on the primary server.');
  elsif v_table is not null then
    perform common.refuse('CF001', format('this session has a temporary table "%s"', left(v_table, 100)),
      'This function uses a temporary table of this name: rename or drop it.');
  end if;
end;
$$;

comment on function recommend._check_session(text, text[]) is $$
@behavior -*
Checks that the transaction may write, and that no temporary table of the session has a name that the caller will use.
`tables`: patterns of `like`. Errors: 25006, CF001.
$$;

grant execute on function recommend._check_session(text, text[])
to insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function ml._code_documents(
  source_table text,
  item_column text,
  document_expression text,
  what text
)
returns void
language plpgsql
volatile
set client_min_messages to warning
as $$
declare
  v_relation constant regclass := common.relation(source_table);
  v_item text := common.column_name(v_relation, item_column, 'item column');
begin
  perform common.expression_type(document_expression, v_relation, what);
  v_item := format(case when ml._sortable(v_relation, v_item) then 'source.%s' else 'source.%s::text' end, v_item);
  drop table if exists pg_temp._ml_item, pg_temp._ml_document, pg_temp._ml_vector;
  execute format(
    $statement$
    create temporary table _ml_document on commit drop as
    select dense_rank() over (order by %1$s)::int as item_no, %1$s::text as name, %2$s as document
    from %3$s as source
    where %1$s is not null
    $statement$,
    v_item, common.expression(document_expression, v_relation), v_relation
  );
  create temporary table _ml_item on commit drop as
  select distinct item_no, name
  from pg_temp._ml_document;
  analyze pg_temp._ml_item;
  if not exists (select from pg_temp._ml_item) then
    perform common.refuse('CF004', format('%s has no row with an item', v_relation),
      'There is nothing to learn from yet.');
  end if;
end;
$$;

comment on function ml._code_documents(text, text, text, text) is $$
Creates the temporary tables `_ml_item` (item_no, name) and `_ml_document` (item_no, document) of a table.
Items are numbered by their own order, or as text where their type has none; `document` is the value of an expression,
which `what` names in messages.
Errors: CF001 (the expression), CF002 (no such table or column), CF004 (no rows), CF005 (not readable).
$$;

grant execute on function ml._code_documents(text, text, text, text)
to insights_analyst, insights_admin, insights_worker;

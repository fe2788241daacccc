create or replace function ml._publish(
  out_table text,
  design jsonb,
  columns text,
  results jsonb,
  summary jsonb,
  summary_columns text
)
returns void
language plpgsql
as $$
declare
  v_groups constant text[] := array(select jsonb_array_elements_text(design -> 'groups'));
  v_names text := (
    select string_agg(quote_ident(split_part(btrim(part), ' ', 1)), ', ' order by position)
    from unnest(string_to_array(columns, ',')) with ordinality as column_definition (part, position)
  );
begin
  if v_groups = '{}' then
    execute format(
      'create table %s as select %s from jsonb_to_recordset(%L) as result (%s)',
      out_table, v_names, results, columns
    );
  else
    execute format(
      $statement$
      create table %1$s as
      select %2$s, %3$s
      from (select %2$s, row(%2$s)::text as key from %4$s as %5$s group by %2$s) as source
      join jsonb_to_recordset(%6$L) as result (key text, %7$s) using (key)
      $statement$,
      out_table,
      array_to_string(v_groups, ', '),
      v_names,
      design ->> 'relation',
      design ->> 'alias',
      results,
      columns
    );
  end if;
  execute format(
    'create table %s as select %s from jsonb_to_record(%L) as summary (%s)',
    common.companion_table(out_table, '_summary'),
    (
      select string_agg(quote_ident(split_part(btrim(part), ' ', 1)), ', ' order by position)
      from unnest(string_to_array(summary_columns, ',')) with ordinality as column_definition (part, position)
    ),
    summary, summary_columns
  );
exception when duplicate_column or ambiguous_column then
  perform common.refuse(
    'CF001',
    format('a grouping column of "%s" has the name of an output column', left(design ->> 'relation', 100)),
    format('Rename it in a view; the output columns are %s.', left(v_names, 500))
  );
end;
$$;

comment on function ml._publish(text, jsonb, text, jsonb, jsonb, text) is $$
Creates a model's output table, one row per group with the grouping columns in their own types, and its `_summary`.
`results` is an array of objects, with the group's `key` when there are groups; `columns` lists their names and types.
$$;

grant execute on function ml._publish(text, jsonb, text, jsonb, jsonb, text)
  to insights_analyst, insights_admin, insights_worker;

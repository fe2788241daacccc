create or replace function ml._publish(out_table text, design ml.design, fits ml.fit[], columns text, summary text)
returns void
language plpgsql
as $$
declare
  v_list text;
begin
  perform ml._check_fits(fits, design);
  if design.groups = '{}' then
    execute format('create table %s as select %s from unnest($1) as fit', out_table, columns) using fits;
  else
    -- The grouping columns are renamed below, so that none is confused with a field of a fit.
    v_list := array_to_string(design.groups, ', ');
    execute format(
      $statement$
      create table %s as
      select %s, %s
      from (select %s, row(%s)::text as key from %s as %s group by %s) as source
      join unnest($1) as fit on fit.group_key = source.key
      $statement$,
      out_table,
      (
        select string_agg(format('g%s as %s', nth, name), ', ' order by nth)
        from unnest(design.groups) with ordinality as part (name, nth)
      ),
      columns,
      (
        select string_agg(format('%s as g%s', name, nth), ', ' order by nth)
        from unnest(design.groups) with ordinality as part (name, nth)
      ),
      v_list,
      design.source,
      design.alias,
      v_list
    ) using fits;
  end if;
  execute format(
    $statement$
    create table %s as
    select %s
    from (
      select
        sum(part.row_count)::bigint as row_count,
        sum(part.skipped)::bigint as skipped,
        count(*) as group_count,
        count(part.failure) as failed_count
      from (select distinct on (fit.group_key) fit.* from unnest($1) as fit) as part
    ) as total
    $statement$,
    common.companion_table(out_table, '_summary'),
    summary
  ) using fits;
exception when duplicate_column then
  execute format(
    $statement$
    select string_agg(name, ', ')
    from (select to_json(result) as fields from (select %s from unnest($1) as fit limit 1) as result) as one
    cross join json_object_keys(one.fields) as name
    $statement$,
    columns
  ) into v_list using fits;
  perform common.refuse(
    'CF001',
    format('a grouping column of "%s" has the name of an output column', left(design.source, 100)),
    format('Rename it in a view; the output columns are %s.', left(v_list, 500))
  );
end;
$$;

comment on function ml._publish(text, ml.design, ml.fit[], text, text) is $$
Creates the output table of a trainer, one row per fit with the grouping columns in their own types, and its `_summary`.
`columns` is a select list over the fields of ml.fit, such as `coef, stats as t_stats`. `summary` is one over the
totals: row_count, skipped, group_count and failed_count.
Errors: CF001 (a grouping column has the name of an output column), CF004 and CF007 when no group could be fitted.
$$;

grant execute on function ml._publish(text, ml.design, ml.fit[], text, text)
to insights_analyst, insights_admin, insights_worker;

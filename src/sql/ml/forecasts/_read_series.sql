create or replace function ml._read_series(
  relation regclass,
  timestamp_column text,
  timeseries_column text,
  groups text[]
)
returns void
language plpgsql
set client_min_messages to warning
as $$
declare
  v_time text := common.column_name(relation, timestamp_column, 'timestamp column');
  v_value text := common.numeric_expression(timeseries_column, relation, 'time series column');
  v_bad text;
begin
  drop table if exists pg_temp._ml_series;
  execute format(
    $query$
    create temp table _ml_series on commit drop as
    select
      jsonb_build_array(%1$s) as place,
      %2$s array_agg(%3$s order by %4$s) as series,
      array_agg(%4$s::text order by %4$s) as times
    from %5$s
    where %4$s is not null
    %6$s
    $query$,
    coalesce(array_to_string(groups, ', '), ''),
    case when groups = '{}' then '' else array_to_string(groups, ', ') || ',' end,
    v_value, v_time, relation,
    case when groups = '{}' then 'having count(*) > 0' else 'group by ' || array_to_string(groups, ', ') end
  );
  if not exists (select from pg_temp._ml_series) then
    perform common.refuse('CF004', format('"%s" has no row with a time', relation),
      'Give a table with at least one row whose time is not null.');
  end if;
  execute $query$
    select times[array_position(series, bad)]
    from pg_temp._ml_series
    cross join unnest(array['NaN', 'Infinity', '-Infinity']::float8[]) as bad
    where array_position(series, bad) is not null
    limit 1
  $query$ into v_bad;
  if v_bad is not null then
    perform common.refuse('CF001', format('the value at %s is NaN or infinity', left(v_bad, 100)),
      'Use null for a missing value.');
  end if;
  execute format(
    'select %1$s::text from %2$s group by %3$s %1$s having count(*) > 1 limit 1',
    v_time,
    relation,
    case when groups = '{}' then '' else array_to_string(groups, ', ') || ',' end
  ) into v_bad;
  if v_bad is not null then
    perform common.refuse('CF001', format('there are several rows at %s', left(v_bad, 100)),
      'Sum or average them first, or name grouping columns.');
  end if;
end;
$$;

comment on function ml._read_series(regclass, text, text, text[]) is $$
Reads the series of a table into the temporary table `_ml_series`.
One row per group, with its values and times as arrays in the order of time.
Errors: CF001 (two rows with the same time, NaN or infinity), CF002 (unknown column), CF004 (no rows).
$$;

grant execute on function ml._read_series(regclass, text, text, text[])
to insights_analyst, insights_admin, insights_worker;

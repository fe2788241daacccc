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
begin
  drop table if exists pg_temp._ml_series;
  execute format(
    $query$
    create temp table _ml_series on commit drop as
    select
      jsonb_build_array(%1$s) as _place,
      %2$s array_agg(%3$s order by %4$s) as _series,
      array_agg(%4$s::text order by %4$s) as _times,
      case when count(*) > count(distinct %4$s) then
        format('it has several rows at %%s', left((mode() within group (order by %4$s))::text, 100))
      end as _failure
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
  update pg_temp._ml_series
  set _failure = case
    when invalid.position is not null then
      format('the value at %s is NaN or infinity', left(_times[invalid.position], 100))
    else 'it has values beyond 1e100'
  end
  from (
    select
      source._place as place,
      coalesce(
        array_position(source._series, 'NaN'),
        array_position(source._series, 'Infinity'),
        array_position(source._series, '-Infinity')
      ) as position,
      (select max(abs(value)) > 1e100 from unnest(source._series) as value) as is_huge
    from pg_temp._ml_series as source
  ) as invalid
  where _ml_series._place = invalid.place
    and _ml_series._failure is null
    and (invalid.position is not null or invalid.is_huge);
end;
$$;

comment on function ml._read_series(regclass, text, text, text[]) is $$
Reads the series of a table into the temporary table `_ml_series`.
One row per group: its columns, its values `_series` and their `_times` as arrays in the order of time, and `_failure`,
the reason why it is not a series (two rows with the same time, NaN, infinity or values beyond 1e100), or null.
Errors: CF001 (not a number), CF002 (unknown column), CF004 (no rows).
$$;

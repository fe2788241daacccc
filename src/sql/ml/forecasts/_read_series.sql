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
  set _failure = format('the value at %s is NaN or infinity', left(_times[invalid.position], 100))
  from (
    select
      source._place as place,
      coalesce(
        array_position(source._series, 'NaN'),
        array_position(source._series, 'Infinity'),
        array_position(source._series, '-Infinity')
      ) as position
    from pg_temp._ml_series as source
  ) as invalid
  where _ml_series._place = invalid.place
    and _ml_series._failure is null
    and invalid.position is not null;
end;
$$;

comment on function ml._read_series(regclass, text, text, text[]) is $$
Reads the series of a table into the temporary table `_ml_series`.
One row per group: its columns, its values `_series` and their `_times` as arrays in the order of time, and `_failure`,
the reason why it is not a series (two rows with the same time, NaN or infinity), or null.
Errors: CF001 (not a number), CF002 (unknown column), CF004 (no rows).
$$;

create or replace function ml._refuse_series(
  failure text,
  relation text
)
returns void
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  perform common.refuse(
    case when failure ~ 'too few' then 'CF004' when failure ~ 'constant|cancel' then 'CF007' else 'CF001' end,
    format('"%s" has no model: %s', left(relation, 100), left(failure, 200)),
    case
      when failure ~ 'several rows' then 'Sum or average them first, or name grouping columns.'
      when failure ~ 'NaN' then 'Use null for a missing value.'
      when failure ~ 'too few' then 'Give a longer series, a shorter cycle or lower orders.'
      when failure ~ 'constant' then 'A constant series needs no model: its forecast is its value.'
      when failure ~ 'a gap' then 'Use method => ''ml'', or ml.ets_train; both accept gaps.'
      else 'Rescale or transform the values.'
    end
  );
end;
$$;

comment on function ml._refuse_series(text, text) is $$
Raises the reason why a series has no model as an error.
It is CF004 (too few values), CF007 (constant) or CF001 (not a series, a gap, values out of range).
$$;

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

grant execute on function
  ml._read_series(regclass, text, text, text[]),
  ml._refuse_series(text, text),
  ml._check_output_columns(text[], text[])
to insights_analyst, insights_admin, insights_worker;

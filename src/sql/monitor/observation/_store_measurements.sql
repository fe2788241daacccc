create or replace function monitor._label_problem(labels jsonb, allowed text[])
returns text
language sql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select case
    when jsonb_typeof(_label_problem.labels) <> 'object' then 'labels that are not an object'
    when array(select jsonb_object_keys(_label_problem.labels) as name order by name)
      <> array(select unnest(_label_problem.allowed) as name order by name)
      then format('labels other than {%s}', array_to_string(_label_problem.allowed, ','))
    when exists (
      select
      from jsonb_each(_label_problem.labels) as label (name, value)
      where jsonb_typeof(label.value) <> 'string'
        or length(label.value #>> '{}') not between 1 and 200
    )
      then 'a label that is not a text of 1 to 200 characters'
  end
$$;

comment on function monitor._label_problem(jsonb, text[]) is $$
Returns why the labels are not those of a metric; null if they are.
$$;

create or replace function monitor._store_measurements(
  probe text,
  measurements monitor.measurement[],
  sampled_at timestamptz,
  out measured int,
  out problem text
)
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_room constant int := (select most_series from monitor.setting) - (select count(*) from monitor.series);
begin
  with given as (
    select measurement.metric, coalesce(measurement.labels, '{}') as labels, measurement.value,
      row_number() over (
        partition by measurement.metric, coalesce(measurement.labels, '{}') order by measurement.number
      ) as nth
    from unnest(_store_measurements.measurements)
      with ordinality as measurement (metric, labels, value, number)
    where measurement.value is not null
  ),

  found as (
    select given.*, series.series_id, metric.labels as allowed,
      -- Positions among the series that are new.
      row_number() over (partition by series.series_id is null order by given.metric, given.labels) as place
    from given
    left join monitor.metric using (metric)
    left join monitor.series on series.metric = given.metric and series.labels = given.labels
  ),

  judged as (
    select found.*,
      case
        when found.allowed is null then 'a metric that is not in monitor.metric'
        when found.value in ('NaN', 'Infinity', '-Infinity') then format('the value %s', found.value)
        when found.nth > 1 then 'two values'
        when found.series_id is null and found.place > v_room then 'no room: see monitor.setting.most_series'
        else monitor._label_problem(found.labels, found.allowed)
      end as problem
    from found
  ),

  updated as (
    update monitor.series
    set value = judged.value, measured_at = _store_measurements.sampled_at, probe = _store_measurements.probe
    from judged
    where series.series_id = judged.series_id
      and judged.problem is null
  ),

  inserted as (
    insert into monitor.series (metric, labels, first_seen_at, probe, value, measured_at)
    select judged.metric, judged.labels, _store_measurements.sampled_at, _store_measurements.probe, judged.value,
      _store_measurements.sampled_at
    from judged
    where judged.series_id is null
      and judged.problem is null
    order by judged.metric, judged.labels
  )

  select
    count(*) filter (where judged.problem is null),
    case when count(judged.problem) > 0 then format(
      '%s values were refused, such as %s: %s',
      count(judged.problem),
      left(coalesce(min(judged.metric) filter (where judged.problem is not null), 'null'), 100),
      (array_agg(judged.problem order by judged.metric, judged.labels) filter (where judged.problem is not null))[1]
    ) end
  into measured, problem
  from judged;
end;
$$;

comment on function monitor._store_measurements(text, monitor.measurement[], timestamptz) is $$
Stores the values that a probe measured as the latest values of their series.
Returns their number, and a description of the values that were refused.
$$;

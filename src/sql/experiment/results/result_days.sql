create or replace function experiment._result_days(
  experiment experiment.experiment,
  metric text,
  test text,
  difference text,
  last_day date,
  smallest_group int
)
returns setof experiment.result
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_id constant int := (experiment).experiment_id;
  v_position smallint;
  v_day date;
begin
  select measured.position into v_position
  from experiment.measured
  join experiment.metric as known using (metric_id)
  where measured.experiment_id = v_id
    and known.metric_key = coalesce(_result_days.metric, known.metric_key)
  order by measured.position
  limit 1;
  if not found then
    perform experiment._refuse_unknown_name(
      'metric of this experiment',
      _result_days.metric,
      array(
        select known.metric_key
        from experiment.measured
        join experiment.metric as known using (metric_id)
        where measured.experiment_id = v_id
        order by measured.position
      ),
      'The metrics of an experiment are the rows of experiment.measured.'
    );
  end if;

  for v_day in
    select day.exposed_on
    from (
      select distinct day_sum.exposed_on
      from experiment.day_sum
      where day_sum.experiment_id = v_id
        and day_sum.position = -1
        and day_sum.variation >= 0
        and (_result_days.last_day is null or day_sum.exposed_on <= _result_days.last_day)
      order by day_sum.exposed_on desc
      limit 400
    ) as day
    order by day.exposed_on
  loop
    return query
    select
      shown.metric, shown.role, shown.type, shown.variation, shown.people, shown.figure, shown.figure_stddev,
      shown.effect, shown.stddev, shown.low, shown.high, shown.p, null::float8, shown.chance_to_win, shown.risk,
      shown.verdict, shown.variance_reduction, shown.difference, shown.test, shown.alpha, shown.population,
      least(shown.complete_until, v_day), shown.note, shown.variation_number
    from experiment._shown_results(
      array(
        select result
        from experiment._results(
          _result_days.experiment, null, _result_days.test, _result_days.difference, true, true, v_day, v_position,
          _result_days.smallest_group
        ) as result
      ),
      _result_days.smallest_group
    ) as shown;
  end loop;
end;
$$;

comment on function experiment._result_days(experiment.experiment, text, text, text, date, int) is $$
@behavior -*
Computes the result of `experiment.result_days`, with the privileges of the caller.
$$;

grant execute on function experiment._result_days(experiment.experiment, text, text, text, date, int)
to insights_reader;

/* A definer owned by insights_reader: it reads sums of exposures, for those who may read them. */
create or replace function experiment._result_days_exact(
  experiment text, metric text, test text, difference text
)
returns setof experiment.result
language sql
stable
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
  select * from experiment._result_days(experiment._find_experiment($1), $2, $3, $4, null, 1);
$$;

alter function experiment._result_days_exact(text, text, text, text) owner to insights_reader;

comment on function experiment._result_days_exact(text, text, text, text) is $$
@behavior -*
Returns the result of `experiment.result_days` with exact figures, for admins and workers.
$$;

grant execute on function experiment._result_days_exact(text, text, text, text) to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads sums of exposures, and returns figures about groups only. */
create or replace function experiment._result_days_shown(
  experiment text, metric text, test text, difference text
)
returns setof experiment.result
language sql
stable
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
  select *
  from experiment._result_days(
    experiment._find_experiment($1), $2, $3, $4, (now() at time zone 'UTC')::date - 1,
    (select smallest_group from experiment.setting)
  );
$$;

alter function experiment._result_days_shown(text, text, text, text) owner to insights_reader;

comment on function experiment._result_days_shown(text, text, text, text) is $$
@behavior -*
Returns the result of `experiment.result_days` for analysts: figures of groups, rounded.
$$;

grant execute on function experiment._result_days_shown(text, text, text, text) to insights_analyst;

create or replace function experiment.result_days(
  experiment text,
  metric text default null,
  test text default null,
  difference text default 'relative'
)
returns setof experiment.result
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  perform experiment._check_results(result_days.test, result_days.difference);
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege('experiment._result_days_exact(text, text, text, text)', 'execute') then
    return query
    select *
    from experiment._result_days_exact(
      result_days.experiment, result_days.metric, result_days.test, result_days.difference
    );
  else
    return query
    select *
    from experiment._result_days_shown(
      result_days.experiment, result_days.metric, result_days.test, result_days.difference
    );
  end if;
end;
$$;

comment on function experiment.result_days(text, text, text, text) is $$
Returns the result of a metric as people were added day by day: one row per day of exposure and variation.
`complete_until` is the last day of exposure (UTC) that is contained; the outcomes are those known now. `metric` null:
the first goal. `test` and `difference` as in `experiment.results`; there is no correction. At most 400 days, the last
ones.
An interval of `sequential` holds on all days at once; one of `welch` holds for one day that was chosen beforehand.
For analysts as in `experiment.results`.
Errors: CF002 for an unknown experiment or metric (names the nearest), CF001 for another invalid argument.
$$;

grant execute on function experiment.result_days(text, text, text, text)
to insights_analyst, insights_admin, insights_worker;

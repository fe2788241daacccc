/* A definer owned by insights_reader: it reads the exposures of people, for those who may read them. */
create or replace function experiment._results_exact(
  experiment text, among text, test text, difference text, is_adjusted boolean, only_complete boolean, until date
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
  from experiment._results(
    experiment._find_experiment($1),
    case when $2 is not null then array(select member from experiment._among($2) as member) end,
    $3, $4, $5, $6, $7
  );
$$;

alter function experiment._results_exact(text, text, text, text, boolean, boolean, date) owner to insights_reader;

comment on function experiment._results_exact(text, text, text, text, boolean, boolean, date) is $$
@behavior -*
Returns the result of `experiment.results` with exact figures, for admins and workers.
$$;

grant execute on function experiment._results_exact(text, text, text, text, boolean, boolean, date)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the exposures of people, and returns figures about groups only. */
create or replace function experiment._results_shown(
  experiment text, among text, test text, difference text, is_adjusted boolean, only_complete boolean, until date
)
returns setof experiment.result
language sql
stable
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
  select shown.*
  from experiment._shown_results(
    array(
      select result
      from experiment._results(
        experiment._find_experiment($1),
        case when $2 is not null then array(select member from experiment._among($2) as member) end,
        $3, $4, $5, $6, least($7, (now() at time zone 'UTC')::date - 1), null,
        (select smallest_group from experiment.setting)
      ) as result
    ),
    (select smallest_group from experiment.setting)
  ) as shown;
$$;

alter function experiment._results_shown(text, text, text, text, boolean, boolean, date) owner to insights_reader;

comment on function experiment._results_shown(text, text, text, text, boolean, boolean, date) is $$
@behavior -*
Returns the result of `experiment.results` for analysts: figures of groups, rounded.
$$;

grant execute on function experiment._results_shown(text, text, text, text, boolean, boolean, date)
to insights_analyst;

create or replace function experiment.results(
  experiment text,
  among text default null,
  test text default null,
  difference text default 'relative',
  is_adjusted boolean default true,
  only_complete boolean default true,
  until date default null
)
returns setof experiment.result
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  perform experiment._check_results(results.test, results.difference);
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'experiment._results_exact(text, text, text, text, boolean, boolean, date)', 'execute'
  ) then
    return query
    select *
    from experiment._results_exact(
      results.experiment, results.among, results.test, results.difference, results.is_adjusted,
      results.only_complete, results.until
    );
  else
    return query
    select *
    from experiment._results_shown(
      results.experiment, results.among, results.test, results.difference, results.is_adjusted,
      results.only_complete, results.until
    );
  end if;
end;
$$;

comment on function experiment.results(text, text, text, text, boolean, boolean, date) is $$
Returns the result of each metric of an experiment in each variation: figure, effect, interval, p-value and verdict.
As of the last refresh. The variations are compared with the control by the test of the plan, adjusted by the behaviour
before the exposure (CUPED, unless `is_adjusted` is false) and post-stratified when the experiment has strata. The sums
of `experiment.day_sum` are added up; only quantiles, and results of some people, read the people.
`among`: names of sets of people with `&` between them and `~` before those to leave out; null: all counted people.
`test`: another test than that of the plan. `difference`: `relative` or `absolute`. `only_complete`: of a metric with a
period or delay, only people for whom it has passed count; false: all. `until`: only people who were exposed on this day
(UTC) at the latest.
For analysts, the exposures of today do not count, variations with fewer people than `experiment.setting.smallest_group`
have no result, and figures are rounded, so that they do not show the outcome of a person.
Errors: CF002 for an unknown experiment or set, CF001 for another invalid argument, CF010 for `among` when
the exposures of an ended experiment were deleted by retention.
$$;

grant execute on function experiment.results(text, text, text, text, boolean, boolean, date)
to insights_analyst, insights_admin, insights_worker;

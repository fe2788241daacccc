/* A definer owned by insights_reader: it reads sums of exposures, for those who may read them. */
create or replace function experiment._health_exact(experiment text, among text)
returns experiment.health
language sql
stable
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
  select experiment._health(
    experiment._find_experiment($1),
    case when $2 is not null then array(select member from experiment._among($2) as member) end
  );
$$;

alter function experiment._health_exact(text, text) owner to insights_reader;

comment on function experiment._health_exact(text, text) is $$
@behavior -*
Returns the result of `experiment.health` with exact numbers, for admins and workers.
$$;

grant execute on function experiment._health_exact(text, text) to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads sums of exposures, and returns numbers of groups only. */
create or replace function experiment._health_shown(experiment text, among text)
returns experiment.health
language plpgsql
stable
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_smallest_group constant int := (select smallest_group from experiment.setting);
  v_health experiment.health := experiment._health(
    experiment._find_experiment(_health_shown.experiment),
    case
      when _health_shown.among is not null
        then array(select member from experiment._among(_health_shown.among) as member)
    end,
    v_smallest_group
  );
begin
  return v_health;
end;
$$;

alter function experiment._health_shown(text, text) owner to insights_reader;

comment on function experiment._health_shown(text, text) is $$
@behavior -*
Returns the result of `experiment.health` for analysts: rounded numbers.
$$;

grant execute on function experiment._health_shown(text, text) to insights_analyst;

create or replace function experiment.health(experiment text, among text default null)
returns experiment.health
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege('experiment._health_exact(text, text)', 'execute') then
    return experiment._health_exact(health.experiment, health.among);
  end if;
  return experiment._health_shown(health.experiment, health.among);
end;
$$;

comment on function experiment.health(text, text) is $$
Returns how many people an experiment has exposed, whether they are distributed by its weights, and warnings.
The test of the distribution (sample ratio mismatch) warns below 0.001: a cause must be found before the results are
used. People who saw several variations are counted apart, and are in no result. As of the last refresh. `among`: names
of sets of people, as in `experiment.results`.
For analysts, numbers are multiples of `experiment.setting.smallest_group`, and the days are null with `among`.
Errors: CF002 for an unknown experiment or set, CF001 for another invalid `among`, CF010 for one when the
exposures of an ended experiment were deleted by retention.
$$;

grant execute on function experiment.health(text, text) to insights_analyst, insights_admin, insights_worker;

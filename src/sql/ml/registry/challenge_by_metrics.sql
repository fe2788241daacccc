create or replace function ml.challenge_by_metrics(
  project text,
  version int,
  baseline text default null,
  standard_errors float8 default 2,
  duration interval default null
)
returns ml.training
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_model ml.model;
  v_project ml.project;
  v_champion ml.model;
  v_error_name text;
  v_factor float8;
begin
  if version is null then
    perform common.refuse('CF001', 'the version is null',
      'Give the number of the version that challenges the deployed one.');
  elsif standard_errors is null or not (standard_errors >= 0 and standard_errors < 'infinity') then
    perform common.refuse('CF001', format('standard_errors is %s', coalesce(standard_errors::text, 'null')),
      'Give 0 or more; 2 is usual.');
  end if;
  v_model := ml._version(project, version);
  select * into v_project from ml.project as known where known.project_id = v_model.project_id;
  select * into v_champion
  from ml.model as known
  where known.model_id = ml._deployed_model_id(v_model.project_id)
    and known.model_id <> v_model.model_id;

  -- Other rows make another task, and the baseline shows how hard it is.
  v_factor := coalesce(
    (v_model.metrics ->> baseline)::float8 / nullif((v_champion.metrics ->> baseline)::float8, 0),
    1
  );
  v_error_name := v_project.metric || '_standard_error';
  return ml._conclude(
    v_model.model_id, v_model.metrics, v_champion.model_id, v_champion.metrics, '[]', duration, v_factor,
    standard_errors * sqrt(
      coalesce((v_model.metrics ->> v_error_name)::float8, 0) ^ 2
      + (coalesce((v_champion.metrics ->> v_error_name)::float8, 0) * v_factor) ^ 2
    )
  );
end;
$$;

comment on function ml.challenge_by_metrics(text, int, text, float8, interval) is $$
@behavior -*
Compares a version with the deployed one by the metrics that they were registered with.
Both are recorded; the version is deployed unless it is worse by more than chance, or its metric is null.
For models that are measured where they are trained, each version on the data of its time: newer data are a reason to
deploy. More than chance is `standard_errors` of the difference, from the metric `<metric>_standard_error` of both.
`baseline` names a metric of a simple method on the same rows: the figure of the deployed version is taken in
proportion to it.
Errors: CF001, CF002 (no such project or version).
$$;

grant execute on function ml.challenge_by_metrics(text, int, text, float8, interval) to insights_admin, insights_worker;

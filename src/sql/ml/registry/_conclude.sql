/*
 * A definer: it writes the registry, and is granted to those who may train. It reads its arguments only, never a
 * relation.
 */
create or replace function ml._conclude(
  model_id bigint,
  metrics jsonb,
  champion_model_id bigint,
  champion_metrics jsonb,
  profile jsonb,
  duration interval,
  champion_factor float8 default 1,
  tolerance float8 default null
)
returns ml.training
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_model ml.model;
  v_project ml.project;
  v_result ml.training;
  v_margin float8;
begin
  select * into v_model from ml.model where model.model_id = _conclude.model_id;
  select * into v_project from ml.project where project.project_id = v_model.project_id for update;
  v_result.project := v_project.name;
  v_result.version := v_model.version;
  v_result.algorithm := v_model.algorithm;
  v_result.metric := v_project.metric;
  v_result.metrics := _conclude.metrics;
  v_result.value := _conclude.metrics ->> v_project.metric;
  v_result.champion_value := (_conclude.champion_metrics ->> v_project.metric)::float8 * _conclude.champion_factor;
  v_result.champion_version := (select model.version from ml.model where model.model_id = _conclude.champion_model_id);
  v_result.row_count := v_model.row_count;
  v_result.holdout_row_count := _conclude.metrics ->> 'row_count';
  v_result.duration := _conclude.duration;
  v_margin := (v_result.value - v_result.champion_value) * case when v_project.higher_is_better then 1 else -1 end;
  v_result.outcome := case
    when v_result.champion_version is null then 'first'
    when v_result.champion_value is null or v_result.value is null then 'incomparable'
    when v_margin > 0 then 'better'
    when v_margin >= -coalesce(_conclude.tolerance, 0) then 'equal'
    else 'worse'
  end;
  v_result.deployed := case
    -- A version without the metric of the project is not deployed, and stays deployed where it is.
    when v_result.value is null then false
    when _conclude.tolerance is not null then v_result.outcome <> 'worse'
    else v_result.outcome in ('first', 'better', 'incomparable')
  end or v_model.model_id is not distinct from ml._deployed_model_id(v_project.project_id);

  update ml.model
  set metrics = model.metrics || _conclude.metrics, duration = coalesce(_conclude.duration, model.duration)
  where model.model_id = v_model.model_id;
  insert into ml.input_profile (model_id, feature, edges, categories, shares)
  select
    v_model.model_id, bin ->> 'feature',
    case when jsonb_typeof(bin -> 'edges') = 'array' then array(select edge::float8
      from jsonb_array_elements_text(bin -> 'edges') as edge) end,
    case when jsonb_typeof(bin -> 'categories') = 'array'
      then array(select jsonb_array_elements_text(bin -> 'categories')) end,
    array(select share::float8 from jsonb_array_elements_text(bin -> 'shares') with ordinality as listed (share, place)
      order by place)
  from jsonb_array_elements(_conclude.profile) as bin
  on conflict on constraint input_profile_pkey do nothing;
  insert into ml.comparison (project_id, challenger_model_id, champion_model_id, metric, challenger_value,
    champion_value, challenger_metrics, champion_metrics, row_count, outcome)
  values (
    v_project.project_id, v_model.model_id, _conclude.champion_model_id, v_project.metric, v_result.value,
    v_result.champion_value,
    _conclude.metrics, _conclude.champion_metrics, coalesce(v_result.holdout_row_count, 0), v_result.outcome
  );
  if v_result.deployed then
    perform ml._deploy(
      v_model.model_id, case when v_result.outcome in ('incomparable', 'equal') then 'newest' else v_result.outcome end
    );
  end if;
  return v_result;
end;
$$;

comment on function ml._conclude(bigint, jsonb, bigint, jsonb, jsonb, interval, float8, float8) is $$
Records the metrics of a version and of the deployed one, and deploys the version when it is the first or better.
A version whose metric is null is not deployed.
With a tolerance it is also deployed when it is worse by no more than that, as the newer one. `champion_factor` scales
the metric of the deployed version.
$$;

grant execute on function ml._conclude(bigint, jsonb, bigint, jsonb, jsonb, interval, float8, float8)
  to insights_admin, insights_worker;

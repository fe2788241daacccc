/* A definer: it writes the registry, and is granted to those who may train. */
create or replace function ml.challenge_by_outcome(
  project text,
  version int,
  outcome text,
  strategy text default null,
  champion_metrics jsonb default null,
  duration interval default null
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
  v_outcomes constant text[] := '{first,better,equal,worse,incomparable}';
  v_strategies constant text[] := '{first,better,newest}';
  v_model ml.model;
  v_project ml.project;
  v_champion ml.model;
  v_result ml.training;
begin
  if challenge_by_outcome.version is null then
    perform common.refuse('CF001', 'the version is null',
      'Give the number of the version that challenges the deployed one.');
  elsif challenge_by_outcome.outcome is null or challenge_by_outcome.outcome <> all (v_outcomes) then
    perform common.refuse('CF001', format('outcome "%s"', coalesce(left(challenge_by_outcome.outcome, 100), 'null')),
      'Choose first, better, equal, worse or incomparable.');
  elsif challenge_by_outcome.strategy <> all (v_strategies) then
    perform common.refuse('CF001', format('strategy "%s"', left(challenge_by_outcome.strategy, 100)),
      'Choose first, better or newest; null: the version is not deployed.');
  end if;
  v_model := ml._version(challenge_by_outcome.project, challenge_by_outcome.version);
  select * into v_project from ml.project as known where known.project_id = v_model.project_id for update;
  select * into v_champion
  from ml.model as known
  where known.model_id = ml._deployed_model_id(v_model.project_id)
    and known.model_id <> v_model.model_id;

  v_result.project := v_project.name;
  v_result.version := v_model.version;
  v_result.algorithm := v_model.algorithm;
  v_result.deployed := challenge_by_outcome.strategy is not null;
  v_result.outcome := challenge_by_outcome.outcome;
  v_result.metric := v_project.metric;
  v_result.metrics := v_model.metrics;
  v_result.value := v_model.metrics ->> v_project.metric;
  v_result.champion_version := v_champion.version;
  v_result.champion_value := challenge_by_outcome.champion_metrics ->> v_project.metric;
  v_result.row_count := v_model.row_count;
  v_result.holdout_row_count := v_model.metrics ->> 'row_count';
  v_result.duration := challenge_by_outcome.duration;

  update ml.model
  set duration = coalesce(challenge_by_outcome.duration, model.duration)
  where model.model_id = v_model.model_id;
  insert into ml.comparison (
    project_id, challenger_model_id, champion_model_id, metric, challenger_value, champion_value, challenger_metrics,
    champion_metrics, row_count, outcome
  )
  values (
    v_project.project_id, v_model.model_id, v_champion.model_id, v_project.metric, v_result.value,
    v_result.champion_value, v_model.metrics, challenge_by_outcome.champion_metrics,
    coalesce(v_result.holdout_row_count, 0), challenge_by_outcome.outcome
  );
  if v_result.deployed then
    perform ml._deploy(v_model.model_id, challenge_by_outcome.strategy);
  end if;
  return v_result;
end;
$$;

comment on function ml.challenge_by_outcome(text, int, text, text, jsonb, interval) is $$
@behavior -*
Records the comparison of a version with the deployed one that was made elsewhere, and deploys the version.
For models that are compared on the same rows where they are trained. `outcome`: `first`, `better`, `equal`, `worse` or
`incomparable`. `strategy`: why the version is deployed, `first`, `better` or `newest`; null: it is not deployed.
`champion_metrics`: metrics of the deployed version on the same rows.
Errors: CF001, CF002 (no such project or version).
$$;

grant execute on function ml.challenge_by_outcome(text, int, text, text, jsonb, interval)
to insights_admin, insights_worker;

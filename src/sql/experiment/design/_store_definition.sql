create or replace function experiment._store_definition(experiment_id int, definition jsonb)
returns experiment.experiment
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_given constant jsonb := _store_definition.definition;
  v_old constant int := _store_definition.experiment_id;
  v_new experiment.experiment;
begin
  v_new := jsonb_populate_record(
    null::experiment.experiment,
    v_given || jsonb_build_object('experiment_key', v_given -> 'key', 'feature_key', v_given -> 'feature')
  );
  if v_old is null then
    insert into experiment.experiment (experiment_key, name, seed)
    values (v_new.experiment_key, v_new.name, v_new.seed)
    returning experiment.experiment_id into v_new.experiment_id;
  else
    v_new.experiment_id := v_old;
    delete from experiment.variation where variation.experiment_id = v_old;
    delete from experiment.weighting where weighting.experiment_id = v_old;
    delete from experiment.measured where measured.experiment_id = v_old;
  end if;

  update experiment.experiment as known
  set
    name = v_new.name,
    hypothesis = v_new.hypothesis,
    feature_key = v_new.feature_key,
    placement = v_new.placement,
    hash_attribute = v_new.hash_attribute,
    fallback_attribute = v_new.fallback_attribute,
    hash_version = v_new.hash_version,
    seed = v_new.seed,
    layer = v_new.layer,
    layer_from = v_new.layer_from,
    layer_until = v_new.layer_until,
    holdout = v_new.holdout,
    condition = v_new.condition,
    parent_conditions = v_new.parent_conditions,
    is_sticky = v_new.is_sticky,
    bucket_version = v_new.bucket_version,
    min_bucket_version = v_new.min_bucket_version,
    population = v_new.population,
    strata = v_new.strata,
    test = v_new.test,
    alpha = v_new.alpha,
    tuning = v_new.tuning,
    correction = v_new.correction,
    before_period = v_new.before_period,
    planned_people = v_new.planned_people,
    minimum_duration = v_new.minimum_duration,
    maximum_duration = v_new.maximum_duration,
    is_decided_automatically = v_new.is_decided_automatically,
    bandit = v_new.bandit,
    minimum_weight = v_new.minimum_weight,
    update_interval = v_new.update_interval
  where known.experiment_id = v_new.experiment_id
  returning known.* into v_new;

  insert into experiment.variation (experiment_id, variation, variation_key, name, value)
  select
    v_new.experiment_id, entry.place - 1, entry.value ->> 'key', entry.value ->> 'name', entry.value -> 'value'
  from jsonb_array_elements(v_given -> 'variations') with ordinality as entry (value, place);
  insert into experiment.weighting (experiment_id, since, weights, coverage)
  select
    v_new.experiment_id,
    '-infinity',
    array(
      select entry.value::float8
      from jsonb_array_elements_text(v_given -> 'weights') with ordinality as entry (value, place)
      order by entry.place
    ),
    (v_given ->> 'coverage')::float8;
  insert into experiment.measured (experiment_id, metric_id, role, position, margin)
  select
    v_new.experiment_id,
    metric.metric_id,
    part.role,
    row_number() over (order by part.place, entry.place) - 1,
    (entry.value ->> 'margin')::float8
  from (values (1, 'goals', 'goal'), (2, 'secondary', 'secondary'), (3, 'guardrails', 'guardrail'))
    as part (place, field, role)
  cross join lateral jsonb_array_elements(coalesce(v_given -> part.field, '[]')) with ordinality
    as entry (value, place)
  join experiment.metric on metric.metric_key = coalesce(entry.value ->> 'metric', entry.value #>> '{}');
  return v_new;
end;
$$;

comment on function experiment._store_definition(int, jsonb) is $$
@behavior -*
Stores the complete definition of a draft, in place of its former one; `experiment_id` null: a new experiment.
$$;

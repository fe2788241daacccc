create or replace function recommend._train_step(kind text, seed bigint)
returns recommend.training
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_everyone constant int := 2147483647;
  v_setting recommend.setting;
  v_selection recommend.evaluation;
  v_deployment recommend.evaluation;
  v_evaluation recommend.evaluation;
  v_models recommend.evaluation_model[];
  v_people_with_two int;
  v_items int;
  v_split_at timestamptz;
  v_challenger recommend.evaluation_model;
  v_model ml.model;
  v_reason text;
  v_metrics jsonb;
  v_challenged ml.training;
  v_result recommend.training;
begin
  select * into v_setting from recommend.setting;
  v_result.kind := _train_step.kind;

  -- The state of a training is that of its two evaluations: the selection of a model, then the decision.
  select * into v_selection
  from recommend.evaluation as known
  where known.kind = _train_step.kind
    and known.seed = _train_step.seed
    and known.purpose = 'selection'
    and known.model_id is null
    and known.started_at > now() - interval '1 day'
  order by known.evaluation_id desc
  limit 1;
  if v_selection.evaluation_id is null then
    perform track.refresh(v_everyone, 'track.session');
    perform track.refresh(v_everyone, 'track.person_set');
    perform track.refresh(v_everyone, 'recommend.interaction');
    create temporary table owned on commit drop as
    select rows_.person_id, rows_.item_id, rows_.strength, rows_.first_at
    from recommend._training_rows(_train_step.kind) as rows_;
    select count(*) into v_people_with_two
    from (select from pg_temp.owned group by person_id having count(*) > 1) as known;
    select count(distinct item_id), percentile_disc(0.8) within group (order by first_at) filter (where strength >= 1)
    into v_items, v_split_at
    from pg_temp.owned;
    drop table pg_temp.owned;

    if v_people_with_two < v_setting.fewest_people then
      perform common.refuse(
        'CF004',
        format(
          'not enough interactions to train: %s people have two or more items of kind "%s"',
          v_people_with_two, left(_train_step.kind, 100)
        ),
        format(
          'At least %s people are needed (recommend.setting.fewest_people). Import or simulate events, '
            || 'and check that items have that kind and that recommend.event_weight has their events.',
          v_setting.fewest_people
        )
      );
    end if;

    -- Models are selected on what happened before the split of the decision.
    v_evaluation.kind := _train_step.kind;
    v_evaluation.purpose := 'selection';
    v_evaluation.protocol := 'time';
    v_evaluation.k := '{10}';
    v_evaluation.seed := _train_step.seed;
    v_evaluation.most_people := v_setting.most_test_people;
    v_evaluation.resamples := 400;
    v_evaluation.until_at := v_split_at;
    perform recommend._start_evaluation(
      v_evaluation,
      array(select entry from recommend._training_models(_train_step.kind, v_items) as entry)
    );
    return v_result;
  elsif v_selection.state = 'running' then
    perform recommend._continue_evaluation(v_selection.evaluation_id);
    return v_result;
  end if;

  select * into v_deployment
  from recommend.evaluation as known
  where known.kind = _train_step.kind
    and known.seed = _train_step.seed
    and known.purpose = 'deployment'
    and known.model_id is null
    and known.evaluation_id > v_selection.evaluation_id
  order by known.evaluation_id desc
  limit 1;
  if v_deployment.evaluation_id is null then
    v_evaluation := v_selection;
    v_evaluation.purpose := 'deployment';
    v_evaluation.resamples := 1000;
    v_evaluation.k := '{10}';
    v_evaluation.split_at := v_selection.until_at;
    v_evaluation.until_at := null;
    v_challenger := recommend._choose_model(v_selection);
    v_challenger.model := 'challenger';
    v_models := array_remove(
      array[
        case when v_challenger.prior <> 'popularity' or v_challenger.parts <> '[]' then v_challenger end,
        recommend._model_parts(_train_step.kind, 'popularity')
      ],
      null
    ) || array(
      select recommend._model_parts(_train_step.kind, 'deployed')
      from recommend._deployed_model(_train_step.kind)
    );
    v_deployment := recommend._start_evaluation(v_evaluation, v_models);
    if v_deployment.test_people < v_setting.fewest_test_people then
      delete from recommend.evaluation as known where known.evaluation_id = v_deployment.evaluation_id;
      v_evaluation.protocol := 'leave_last_out';
      v_evaluation.split_at := null;
      perform recommend._start_evaluation(v_evaluation, v_models);
    end if;
    return v_result;
  elsif v_deployment.state = 'running' then
    perform recommend._continue_evaluation(v_deployment.evaluation_id);
    return v_result;
  end if;

  v_reason := recommend._decide(v_deployment);
  -- Neither the challenger nor the deployed version is better than popularity: lists by popularity are deployed.
  if v_reason in ('worse', 'popularity', 'newest') and exists (
    select
    from recommend.evaluation_comparison as comparison
    where comparison.evaluation_id = v_deployment.evaluation_id
      and comparison.metric = 'ndcg'
      and comparison.model = 'popularity'
      and comparison.other_model = 'deployed'
      and comparison.verdict = 'better'
  ) and not exists (
    select
    from recommend.evaluation_comparison as comparison
    where comparison.evaluation_id = v_deployment.evaluation_id
      and comparison.metric = 'ndcg'
      and comparison.model = 'challenger'
      and comparison.other_model = 'popularity'
      and comparison.verdict = 'better'
  ) then
    v_reason := 'better';
    v_challenger := recommend._model_parts(_train_step.kind, 'popularity');
  else
    select model.* into v_challenger
    from recommend.evaluation_model as model
    where model.evaluation_id = v_deployment.evaluation_id
      and model.model in ('challenger', 'popularity')
    order by model.model_no
    limit 1;
  end if;

  select jsonb_object_agg(named.name, result.value) into v_metrics
  from recommend.evaluation_result as result
  cross join lateral (
    select
      case
        when result.model = v_challenger.model then ''
        else result.model || '_'
      end || result.metric || '_at_10' as name
  ) as named
  where result.evaluation_id = v_deployment.evaluation_id
    and result.segment = ''
    and result.k = 10
    and result.metric in ('ndcg', 'recall');
  v_metrics := jsonb_strip_nulls(coalesce(v_metrics, '{}') || jsonb_build_object(
    'ndcg_at_10_standard_error', (
      select result.standard_error
      from recommend.evaluation_result as result
      where result.evaluation_id = v_deployment.evaluation_id
        and result.segment = ''
        and result.model = v_challenger.model
        and result.metric = 'ndcg'
    ),
    -- Where popularity is the version itself, both have its measures.
    'popularity_ndcg_at_10', coalesce(v_metrics -> 'popularity_ndcg_at_10', v_metrics -> 'ndcg_at_10'),
    'popularity_recall_at_10', coalesce(v_metrics -> 'popularity_recall_at_10', v_metrics -> 'recall_at_10'),
    'row_count', v_deployment.test_people,
    'test_people', v_deployment.test_people,
    'evaluation_id', v_deployment.evaluation_id,
    'protocol', case
      when v_deployment.protocol = 'time' then format(
        'trained before %s, tested on what people took afterwards, among the items available then',
        v_deployment.split_at
      )
      else 'tested on the last item of each person, among the items available when it was taken'
    end
  ));
  v_model := recommend._store_version(_train_step.kind, v_challenger, v_metrics, _train_step.seed);
  v_challenged := ml.challenge_by_outcome(
    'recommend.' || _train_step.kind,
    v_model.version,
    case
      when v_reason in ('first', 'better', 'worse') then v_reason
      when v_reason = 'newest' then 'equal'
      when v_reason = 'untested' then 'incomparable'
      else 'worse'
    end,
    case when v_reason in ('first', 'better', 'newest') then v_reason end,
    jsonb_strip_nulls(jsonb_build_object('ndcg_at_10', v_metrics -> 'deployed_ndcg_at_10')),
    clock_timestamp() - v_selection.started_at
  );
  update recommend.evaluation as known
  set model_id = v_model.model_id
  where known.evaluation_id in (v_selection.evaluation_id, v_deployment.evaluation_id);

  v_result.version := v_model.version;
  v_result.deployed := v_challenged.deployed;
  v_result.reason := v_reason;
  v_result.lambda := (
    select (part ->> 'lambda')::float8
    from jsonb_path_query(v_challenger.parts, '$[*].parameters') as part
    where part ? 'lambda'
    limit 1
  );
  v_result.ndcg_at_10 := v_metrics ->> 'ndcg_at_10';
  v_result.recall_at_10 := v_metrics ->> 'recall_at_10';
  v_result.popularity_ndcg_at_10 := v_metrics ->> 'popularity_ndcg_at_10';
  v_result.popularity_recall_at_10 := v_metrics ->> 'popularity_recall_at_10';
  v_result.test_people := case when v_reason <> 'untested' then v_deployment.test_people end;
  v_result.people := v_model.metrics ->> 'people';
  v_result.items := v_model.metrics ->> 'items';
  v_result.interactions := v_model.row_count;
  v_result.duration := v_challenged.duration;
  v_result.algorithm := v_model.algorithm;
  perform recommend._delete_old_weights(v_challenged.project, v_result.version - v_setting.versions_kept);
  return v_result;
end;
$$;

comment on function recommend._train_step(text, bigint) is $$
@behavior -*
Does the next step of a training; `version` of the result is null until the last one.
$$;

create or replace function monitor._check_models()
returns setof monitor.finding
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  with deployed as (
    select project.name, model.*,
      starts_with(project.name, 'recommend.') as is_recommender,
      starts_with(project.name, 'recommend.')
        or exists (select from analytics.prediction_target as target where target.project = project.name) as is_ours
    from ml.project
    cross join lateral (
      select deployment.model_id
      from ml.deployment
      where deployment.project_id = project.project_id
      order by deployment.deployment_id desc
      limit 1
    ) as latest
    join ml.model on model.model_id = latest.model_id
  ),

  newest as (
    select max(presence.day)::timestamp at time zone 'UTC' as active_at
    from track.presence
    where presence.event_type_id = 0
  )

  select monitor._finding(
    'models', deployed.name || ' (marked)', 'warning',
    format('version %s of %s was marked for training %s ago: %s', deployed.version, deployed.name,
      monitor._duration(clock_timestamp() - deployed.marked_at),
      coalesce(common.without_values(deployed.marked_reason), 'without a reason')),
    case when deployed.is_recommender
      then 'Train it: insights train. See the error of the task: select error from monitor.run where task = ''train'' '
        || 'order by started_at desc limit 1'
      else 'Train it again, with ml.train or, for predictions about learners, analytics.train_predictions.'
    end,
    extract(epoch from clock_timestamp() - deployed.marked_at), 86400
  )
  from deployed
  where deployed.marked_at < clock_timestamp() - interval '1 day'

  union all

  select monitor._finding(
    'models', deployed.name || ' (old)', 'warning',
    format('version %s of %s was trained %s ago, and there is newer activity', deployed.version, deployed.name,
      monitor._duration(clock_timestamp() - deployed.trained_at)),
    case when deployed.is_recommender
      then 'Train it: insights train. It is trained each night when there are new interactions: see the task train in '
        || 'monitor.run.'
      else 'It is trained each night: see the task train_predictions in monitor.run.'
    end,
    extract(epoch from clock_timestamp() - deployed.trained_at), extract(epoch from interval '14 days')
  )
  from deployed
  cross join newest
  where deployed.is_ours
    and deployed.marked_at is null
    and deployed.trained_at < clock_timestamp() - interval '14 days'
    and newest.active_at > deployed.trained_at + interval '14 days'

  union all

  select monitor._finding(
    'models', deployed.name || ' (drifted)', 'warning',
    format('version %s of %s has drifted from its training data: %s, by up to %s', deployed.version, deployed.name,
      case
        when drift.features = 1 then '1 input'
        when drift.features > 1 then format('%s inputs', drift.features)
        else drift.statistic
      end,
      round(drift.value::numeric, 3)),
    format('See which: select * from ml.drift where model_id = %s order by measured_at desc. Check whether the data is '
      || 'still collected as before, or train it again%s.', deployed.model_id,
      case when deployed.is_recommender then ': insights train' end),
    drift.value, null
  )
  from deployed
  cross join lateral (
    select
      count(*) filter (where latest.statistic = 'population_stability_index') as features,
      max(latest.statistic) as statistic, max(latest.value) as value
    from (
      select distinct on (drift.statistic, drift.feature) drift.statistic, drift.value, drift.verdict
      from ml.drift
      where drift.model_id = deployed.model_id
        and drift.measured_at > clock_timestamp() - interval '3 days'
      order by drift.statistic, drift.feature, drift.drift_id desc
    ) as latest
    where latest.verdict = 'drifted'
    having count(*) > 0
  ) as drift
$$;

comment on function monitor._check_models() is $$
Finds deployed models that are marked for training, old, or drifted.
Marked for a day; trained two weeks before the newest activity; drift of inputs, calibration or metric (`ml.drift`).
$$;

create or replace function analytics._feature_list()
returns text
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  select string_agg(quote_ident(attribute.attname), ', ' order by attribute.attnum)
  from pg_catalog.pg_attribute as attribute
  where attribute.attrelid = 'analytics.learner_features'::regclass
    and attribute.attnum > 0
    and not attribute.attisdropped
    and attribute.attname not in ('person_id', 'course_id', 'as_of', 'known_at');
$$;

comment on function analytics._feature_list() is $$
Returns the names of the features that models are trained on, quoted, as a list for SQL.
$$;

create or replace function analytics._train_on_snapshots(
  settings analytics.prediction_target, algorithm text, seed bigint
)
returns ml.training
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set client_min_messages to warning
as $$
declare
  v_trained ml.training;
begin
  drop table if exists pg_temp.learner_snapshot;
  -- In a fixed order, because sums of floating-point numbers depend on the order.
  create temporary table learner_snapshot on commit drop as
  select
    format('%s/%s/%s', snapshot.person_id, snapshot.course_id, snapshot.as_of::date) as snapshot,
    (snapshot.feature).*,
    snapshot.outcome,
    snapshot.as_of + (settings).horizon as outcome_known_at
  from analytics.snapshot
  where snapshot.target = (_train_on_snapshots.settings).target
  order by snapshot.course_id, snapshot.as_of, snapshot.person_id;
  select *
  into v_trained
  from ml.train(
    (settings).project, (settings).task,
    format(
      '%I.learner_snapshot',
      (select nspname from pg_catalog.pg_namespace where oid = pg_catalog.pg_my_temp_schema())
    ),
    'snapshot', 'outcome',
    features => analytics._feature_list(),
    algorithm => _train_on_snapshots.algorithm,
    parameters => case _train_on_snapshots.algorithm
      when 'gbm' then jsonb_build_object(
        'num_trees', 200,
        'max_depth', 3,
        'learning_rate', 0.1,
        'min_rows', 20,
        'lambda', 5,
        'row_sample', 0.8,
        'feature_sample', 0.6,
        'max_bins', 32
      )
      else '{"alpha": 0, "lambda_value": 0.01}'::jsonb
    end,
    predicted_at => 'as_of',
    label_known_at => 'outcome_known_at',
    feature_known_at => 'known_at',
    group_column => 'person_id',
    calibration => case (settings).task when 'classification' then 'platt' else 'none' end,
    metric => case (settings).task when 'classification' then 'log_loss' else 'root_mean_squared_error' end,
    seed => _train_on_snapshots.seed,
    description => (settings).description
  );
  drop table if exists pg_temp.learner_snapshot;
  return v_trained;
end;
$$;

comment on function analytics._train_on_snapshots(analytics.prediction_target, text, bigint) is $$
Trains a version on the snapshots of a target with one algorithm, and deploys it when it is better.
Errors: see `ml.train`.
$$;

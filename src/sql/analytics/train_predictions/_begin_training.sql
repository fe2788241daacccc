create or replace function analytics._begin_training(settings analytics.prediction_target, seed bigint)
returns analytics.training
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_training analytics.training;
begin
  perform analytics._end_training((settings).target);
  insert into analytics.training (target, seed, moments, courses_left, algorithms_left)
  select
    (settings).target,
    _begin_training.seed,
    analytics._snapshot_times(settings, (settings).weeks),
    array(
      select distinct enrolment.item_id
      from track.enrolment
      join track.item on item.item_id = enrolment.item_id and item.kind = 'course'
      order by 1
    ),
    -- Both, so that the better one is deployed, or the one that can be trained.
    array['elastic_net', 'gbm']
  returning * into v_training;
  return v_training;
end;
$$;

comment on function analytics._begin_training(analytics.prediction_target, bigint) is $$
Starts the training of a target; a training that was in progress is discarded.
$$;

create or replace function experiment._set_weights(
  experiment experiment.experiment,
  weights float8[],
  coverage float8,
  details jsonb
)
returns experiment.weighting
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_id constant int := (_set_weights.experiment).experiment_id;
  v_before experiment.weighting;
  v_weighting experiment.weighting;
begin
  select * into v_before
  from experiment.weighting as known
  where known.experiment_id = v_id
  order by known.since desc
  limit 1;
  perform experiment._check_weights(
    coalesce(_set_weights.weights, v_before.weights),
    (select count(*)::int from experiment.variation as known where known.experiment_id = v_id)
  );
  insert into experiment.weighting (experiment_id, since, weights, coverage, details)
  values (
    v_id, clock_timestamp(), coalesce(_set_weights.weights, v_before.weights),
    coalesce(_set_weights.coverage, v_before.coverage), _set_weights.details
  )
  returning weighting.* into v_weighting;
  perform experiment._count_periods(v_id, v_weighting.since);
  perform experiment._log_change(
    'experiment', (_set_weights.experiment).experiment_key, 'weights changed',
    to_jsonb(v_before) - 'experiment_id', to_jsonb(v_weighting) - 'experiment_id'
  );
  return v_weighting;
end;
$$;

comment on function experiment._set_weights(experiment.experiment, float8[], float8, jsonb) is $$
@behavior -*
Stores new weights of a running experiment, from now on, and records them. Null: as they are.
The caller holds the locks of `experiment.change_weights`. Errors: CF001.
$$;

/* A definer: it writes the weights and the history, which no role may write. */
create or replace function experiment.update_bandits()
returns setof experiment.weighting
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_experiment experiment.experiment;
  v_goal record;
  v_arms jsonb;
  v_options jsonb;
  v_weights float8[];
begin
  for v_experiment in
    select known.*
    from experiment.experiment as known
    where known.state = 'running'
      and known.bandit is not null
    order by known.experiment_id
  loop
    perform pg_advisory_xact_lock(hashtext('track.refresh'));
    perform experiment._begin_change();
    -- Not due, or updated or stopped by another transaction meanwhile.
    continue when not exists (
      select
      from experiment.experiment as known
      where known.experiment_id = v_experiment.experiment_id
        and known.state = 'running'
    ) or (
      select max(weighting.since)
      from experiment.weighting
      where weighting.experiment_id = v_experiment.experiment_id
    ) > clock_timestamp() - v_experiment.update_interval;

    select measured.position, metric.type, metric.is_lower_better into v_goal
    from experiment.measured
    join experiment.metric using (metric_id)
    where measured.experiment_id = v_experiment.experiment_id
      and measured.role = 'goal'
    order by measured.position
    limit 1;
    v_arms := (
      select jsonb_agg(arm.statistic order by arm.variation)
      from experiment._arms(v_experiment) as arm
      where arm.position = v_goal.position
        and arm.stratum is null
    );
    -- A variation without people has no row.
    continue when coalesce(jsonb_array_length(v_arms), 0) < (
      select count(*)
      from experiment.variation
      where variation.experiment_id = v_experiment.experiment_id
    );
    v_options := jsonb_build_object(
      'method', v_experiment.bandit,
      'posterior', case when v_goal.type in ('proportion', 'retention') then 'beta' else 'gaussian' end,
      'minimum_weight', v_experiment.minimum_weight,
      'inverse', v_goal.is_lower_better
    );
    begin
      v_weights := experiment.bandit_weights(v_arms, v_options);
    exception when others then
      -- One whose data cannot be computed does not keep the others from being updated.
      if sqlstate not like 'CF0%' and sqlstate not like '22%' then
        raise;
      end if;
      v_weights := null;
    end;
    -- Too few people, or no outcome yet: the weights stay.
    if v_weights is not null then
      return next experiment._set_weights(
        v_experiment, v_weights, null, jsonb_build_object('arms', v_arms, 'options', v_options)
      );
    end if;
  end loop;
end;
$$;

comment on function experiment.update_bandits() is $$
Updates the weights of the bandits whose `update_interval` has passed, and returns the new weights.
They follow from the outcomes of the first goal of the people whose period is complete (`experiment.bandit_weights`): a
variation gets the probability that it is the best one, at least `minimum_weight`. With fewer than 100 people in a
variation, or values that are too large for the statistics, the weights stay. Each update is a row of
`experiment.weighting` with the statistics that it was made from, and a change in the history; each exposure has the
weight of its time (`experiment.exposure.probability`). The worker runs it hourly.
$$;

grant execute on function experiment.update_bandits() to insights_admin, insights_worker;

/* A definer: it stops and ships experiments, which the worker may not do by itself. */
create or replace function experiment.decide_experiments()
returns setof experiment.decision
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_experiment experiment.experiment;
  v_decision experiment.decision;
begin
  perform experiment._keep_ended(false);
  for v_experiment in
    select known.*
    from experiment.experiment as known
    where known.state = 'running'
    order by known.experiment_id
  loop
    begin
      v_decision := experiment.decision(v_experiment.experiment_key);
    exception when others then
      -- One whose data cannot be computed does not keep the others from being decided.
      if sqlstate not like 'CF0%' then
        raise;
      end if;
      v_decision := row(v_experiment.experiment_key, v_experiment.state, 'error', null, sqlerrm, null, null, '{}');
      return next v_decision;
      continue;
    end;
    continue when v_decision.verdict not in ('ship', 'harm', 'no_decision')
      or v_decision.verdict <> 'harm' and not v_experiment.is_decided_automatically;
    -- One that a person has stopped meanwhile is left as it is.
    perform pg_advisory_xact_lock(hashtext('track.refresh'));
    perform experiment._begin_change();
    continue when not exists (
      select
      from experiment.experiment as known
      where known.experiment_id = v_experiment.experiment_id
        and known.state = 'running'
    );
    begin
      perform experiment._log_change(
        'experiment', v_experiment.experiment_key, 'decided', null, to_jsonb(v_decision) - 'experiment'
      );
      if v_decision.verdict = 'ship' then
        perform experiment.ship(v_experiment.experiment_key, v_decision.variation);
      else
        perform experiment.stop(v_experiment.experiment_key, left(v_decision.reason, 2000));
      end if;
    exception when others then
      -- Such as a version that was marked since: a person has to ship something else.
      if sqlstate not like 'CF0%' then
        raise;
      end if;
      v_decision.verdict := 'error';
      v_decision.reason := format('%s But it could not be shipped: %s.', v_decision.reason, sqlerrm);
    end;
    v_decision.state := (
      select known.state from experiment.experiment as known where known.experiment_id = v_experiment.experiment_id
    );
    return next v_decision;
  end loop;
end;
$$;

comment on function experiment.decide_experiments() is $$
Applies the rule of decision to all running experiments, and returns those that it ended. The worker runs it hourly.
Harm always stops an experiment. One with `is_decided_automatically` is shipped when the rule states `ship`, and stopped
at the planned end without a decision. The history has the decision with its reason. An invalid experiment is left as it
is: a person has to find the error. So is one whose decision is an error, or whose variation cannot be shipped, such as
a version that an erasure has marked; its row has the verdict `error`.
Keeps the results of those that ended `experiment.setting.settle_period` ago (`experiment.keep_results`).
$$;

grant execute on function experiment.decide_experiments() to insights_admin, insights_worker;

create or replace function experiment.keep_results(experiment text)
returns experiment.kept
language plpgsql
volatile
-- A definer: it reads the sums of all people, and writes those that are kept, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_experiment experiment.experiment;
begin
  perform pg_advisory_xact_lock(hashtext('track.refresh'));
  v_experiment := experiment._find_experiment(keep_results.experiment);
  if v_experiment.state not in ('stopped', 'shipped') then
    perform common.refuse(
      'CF003', format('the experiment "%s" is %s', v_experiment.experiment_key, v_experiment.state),
      'Only the results of an experiment that has ended are kept.'
    );
  elsif exists (select from experiment.kept where kept.experiment_id = v_experiment.experiment_id)
    and not experiment._are_events_complete(v_experiment)
  then
    perform common.refuse(
      'CF010',
      format('events of the experiment "%s" were deleted by a rule of retention', v_experiment.experiment_key),
      'The results that are kept are of the time before. They cannot be recomputed.'
    );
  end if;
  return experiment._take_results(v_experiment);
end;
$$;

comment on function experiment.keep_results(text) is $$
Keeps the results of an ended experiment as they are now, or recomputes those that are kept.
`experiment.results`, `result_days`, `health`, `decision` and `report` then read them, and follow events no longer: not
late ones, merges of people, or deletions by retention. `experiment.decide_experiments` does it for each experiment,
`experiment.setting.settle_period` after its end. The sums are of at least 5 people each: days and strata with fewer are
added up. After an erasure or an opt-out they are recomputed without the person as long as the events are there;
otherwise they stay. Results of some people (`among`) and estimates of policies read the exposures.
Errors: CF002 for an unknown experiment (names the nearest), CF003 for one that has not ended, CF010 when kept results
could not be recomputed, because events were deleted.
$$;

grant execute on function experiment.keep_results(text) to insights_admin, insights_worker;

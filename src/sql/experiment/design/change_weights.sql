create or replace function experiment.change_weights(
  experiment text,
  weights float8[] default null,
  coverage float8 default null
)
returns experiment.weighting
language plpgsql
volatile
-- A definer: it writes the weights and the history, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_experiment experiment.experiment;
  v_coverage constant float8 := change_weights.coverage;
begin
  -- No refresh of exposures may have read events later than the change and not have seen it.
  perform pg_advisory_xact_lock(hashtext('track.refresh'));
  perform experiment._begin_change();
  v_experiment := experiment._find_experiment(change_weights.experiment);
  if v_experiment.state <> 'running' then
    perform common.refuse(
      'CF003', format('the experiment "%s" is %s', v_experiment.experiment_key, v_experiment.state),
      'The weights of a draft are part of its definition; those of an experiment that has ended are fixed.'
    );
  elsif change_weights.weights is null and v_coverage is null then
    perform common.refuse('CF001', 'neither weights nor coverage are given', 'Give at least one of them.');
  elsif v_experiment.bandit is not null and change_weights.weights is not null then
    perform common.refuse('CF003', format('the weights of the bandit "%s" follow its results',
      v_experiment.experiment_key), 'Change the coverage, or stop it.');
  elsif not (v_coverage >= 0.0001 and v_coverage <= 1) then
    perform common.refuse('CF001', format('coverage is %s', v_coverage), 'Give a number from 0.0001 to 1.');
  elsif change_weights.weights[array_lower(change_weights.weights, 1)] = 0 then
    perform common.refuse('CF001', 'the weight of the control is 0', 'Results are compared with the control.');
  end if;
  return experiment._set_weights(v_experiment, change_weights.weights, v_coverage, null);
end;
$$;

comment on function experiment.change_weights(text, float8[], float8) is $$
Changes the weights of the variations of a running experiment, or the share of people who take part.
`weights`: one for each variation, 0 to close one; null: as they are. `coverage`: null: as it is. Unless the experiment
is sticky, some people get another variation than before; those who saw two are not counted.
Errors: CF001 for invalid numbers, CF002 for an unknown experiment (names the nearest), CF003 for one that is not
running, and for weights of a bandit.
$$;

grant execute on function experiment.change_weights(text, float8[], float8) to insights_admin;

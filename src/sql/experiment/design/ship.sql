create or replace function experiment.ship(experiment text, variation text)
returns experiment.experiment
language plpgsql
volatile
-- A definer: it writes the experiments and the history, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_before experiment.experiment;
  v_experiment experiment.experiment;
  v_variation experiment.variation;
  v_ship_function text;
begin
  -- No refresh of exposures may have read events later than the end and not have seen it.
  perform pg_advisory_xact_lock(hashtext('track.refresh'));
  perform experiment._begin_change();
  v_before := experiment._find_experiment(ship.experiment);
  if v_before.state not in ('running', 'stopped') then
    perform common.refuse(
      'CF003', format('the experiment "%s" is %s', v_before.experiment_key, v_before.state),
      case v_before.state
        when 'draft' then 'Start it first.'
        else 'Stop it first, to take the shipped variation back.'
      end
    );
  end if;
  v_variation := experiment._find_variation(v_before.experiment_id, ship.variation);

  update experiment.experiment as known
  set
    state = 'shipped',
    stopped_at = coalesce(known.stopped_at, clock_timestamp()),
    shipped_variation = v_variation.variation,
    shipped_at = clock_timestamp()
  where known.experiment_id = v_before.experiment_id
  returning known.* into v_experiment;
  v_ship_function := (
    select known.ship_function
    from experiment.handler as known
    where known.room = split_part(v_experiment.placement, '.', 1)
  );
  if v_ship_function is not null then
    execute format('select %I.%I($1, $2)', split_part(v_ship_function, '.', 1), split_part(v_ship_function, '.', 2))
    using v_experiment.placement, v_variation.value;
  end if;
  perform experiment._log_change(
    'experiment', v_experiment.experiment_key, 'shipped',
    jsonb_build_object('state', v_before.state),
    jsonb_build_object('state', v_experiment.state, 'variation', v_variation.variation_key)
  );
  return v_experiment;
end;
$$;

comment on function experiment.ship(text, text) is $$
Gives one variation to all people, and ends the experiment if it is running.
Of a feature: the value that all clients get, but those who are held out, until the holdout ends. Of a placement: its
schema makes the value permanent. The rules of the feature apply before it.
Errors: CF002 for an unknown experiment or variation (names the nearest), CF003 for a draft and for one that is shipped.
$$;

grant execute on function experiment.ship(text, text) to insights_admin;

create or replace function experiment._keep_ended(is_cut boolean)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_ended constant experiment.experiment[] := array(
    select known
    from experiment.experiment as known
    where known.stopped_at < clock_timestamp() - (select setting.settle_period from experiment.setting)
      and not exists (select from experiment.kept where kept.experiment_id = known.experiment_id)
      and (not is_cut or not experiment._are_events_complete(known))
    order by known.experiment_id
  );
  v_experiment experiment.experiment;
begin
  if v_ended = '{}' then
    return;
  end if;
  perform pg_advisory_xact_lock(hashtext('track.refresh'));
  foreach v_experiment in array v_ended loop
    -- People whose events until the end are not refreshed are waited for.
    continue when not is_cut and (
      exists (
        select 1
        from track.changed
        where changed.consumer = 'experiment.exposure'
          and changed.since < v_experiment.stopped_at
      )
      or exists (select 1 from track.stale where stale.since < v_experiment.stopped_at)
      or exists (select 1 from experiment.kept where kept.experiment_id = v_experiment.experiment_id)
    );
    perform experiment._take_results(v_experiment);
  end loop;
end;
$$;

comment on function experiment._keep_ended(boolean) is $$
@behavior -*
Keeps the results of experiments whose end is longer ago than `experiment.setting.settle_period`.
`is_cut`: only of those whose events a rule of retention deletes already; false: of all whose people are refreshed.
$$;

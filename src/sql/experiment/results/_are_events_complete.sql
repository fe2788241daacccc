create or replace function experiment._are_events_complete(experiment experiment.experiment)
returns boolean
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return (select setting.oldest_event from track.setting)
    <= (_are_events_complete.experiment).started_at - (_are_events_complete.experiment).before_period;
end;
$$;

comment on function experiment._are_events_complete(experiment.experiment) is $$
@behavior -*
Returns whether no rule of retention has deleted the events of the time of an experiment.
$$;

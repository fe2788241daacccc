/*
 * Rules by purpose or arrival do not move `oldest_event`. What they deleted on a day was older than the shortest time
 * that the rule ever had; two days more stand for the end of the day in any time zone.
 */
create or replace function experiment._are_events_complete(experiment experiment.experiment)
returns boolean
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
declare
  v_since constant timestamptz :=
    (_are_events_complete.experiment).started_at - (_are_events_complete.experiment).before_period;
begin
  return (select setting.oldest_event from track.setting) <= v_since
    and not exists (
      select
      from privacy.retention_total as deleted
      where (deleted.rule = 'events' or deleted.rule like 'events/%')
        and deleted.row_count > 0
        and deleted.day + 2 - (
          select min((entry.details ->> 'keep')::interval)
          from privacy.retention_log as entry
          where entry.rule = deleted.rule
            and entry.action = 'set'
        ) > v_since
    );
end;
$$;

comment on function experiment._are_events_complete(experiment.experiment) is $$
@behavior -*
Returns whether no rule of retention has deleted events of the time of an experiment, of any purpose.
False in doubt: a rule may have deleted only events that the experiment does not measure.
$$;

grant execute on function experiment._are_events_complete(experiment.experiment) to insights_reader;

create or replace function experiment.rebuild(experiment text)
returns bigint
language plpgsql
volatile
-- A definer: it queues people, which no role may do.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_experiment constant experiment.experiment := experiment._find_experiment(rebuild.experiment);
  v_viewed constant record := experiment._viewed_types();
  v_people bigint[];
begin
  v_people := array(
    select exposure.person_id
    from experiment.exposure
    where exposure.experiment_id = v_experiment.experiment_id

    union

    select step.person_id
    from track.step
    where step.event_type_id = any (v_viewed.stored)
      and step.occurred_at[cardinality(step.occurred_at)] >= v_experiment.started_at
      and step.person_id <> 0

    union

    -- An impression may be an exposure.
    select person.person_id
    from track.person
    where v_experiment.placement is not null
      and v_experiment.started_at is not null
      and person.person_id <> 0
  );
  perform experiment.queue_exposures(v_people);
  return cardinality(v_people);
end;
$$;

comment on function experiment.rebuild(text) is $$
Queues all people who may take part in an experiment for a refresh from scratch. Returns the number of people.
After a change that no event shows, such as other contents of the item of a metric. The workers, or `track.refresh`,
process the queue. Errors: CF002 for an unknown experiment (names the nearest).
$$;

grant execute on function experiment.rebuild(text) to insights_admin, insights_worker;

create or replace function experiment._store_event_values(people bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_new experiment.event_value[];
  v_people bigint[];
  v_experiments int[];
  v_positions int[];
begin
  if not exists (
    select
    from experiment.measured
    join experiment.metric using (metric_id)
    where metric.type = 'quantile'
  ) then
    return;
  end if;
  v_new := array(
    select computed
    from experiment._event_values(
      array(select stored from experiment._stored_exposures(_store_event_values.people) as stored)
    ) as computed
  );

  select array_agg(new.person_id), array_agg(new.experiment_id), array_agg(new.position)
  into v_people, v_experiments, v_positions
  from unnest(v_new) as new;
  with new as materialized (
    select listed.person_id, listed.experiment_id, listed.position
    from unnest(v_people, v_experiments, v_positions) as listed (person_id, experiment_id, position)
  )

  delete from experiment.event_value
  where event_value.person_id = any (_store_event_values.people)
    and not exists (
      select 1
      from new
      where new.person_id = event_value.person_id
        and new.experiment_id = event_value.experiment_id
        and new.position = event_value.position
    );
  insert into experiment.event_value (person_id, experiment_id, position, event_values)
  select new.person_id, new.experiment_id, new.position, new.event_values
  from unnest(v_new) as new
  on conflict (person_id, experiment_id, position) do update
  set event_values = excluded.event_values
  where event_value.event_values is distinct from excluded.event_values;
end;
$$;

comment on function experiment._store_event_values(bigint[]) is $$
Recomputes `experiment.event_value` for people, whose exposures are stored.
$$;

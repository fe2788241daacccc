create or replace function experiment._store_exposures(former experiment.exposure[], present experiment.exposure[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
-- A plan for the values of the arrays would copy them several times, and not be another one.
set plan_cache_mode to force_generic_plan
set enable_seqscan to off
set jit to off
as $$
declare
  v_people bigint[];
  v_experiments int[];
begin
  -- A check of conflicts would look up each key once more.
  if _store_exposures.former = '{}' then
    insert into experiment.exposure
    select new.*
    from unnest(_store_exposures.present) as new;
    return;
  end if;

  select array_agg(gone.person_id), array_agg(gone.experiment_id) into v_people, v_experiments
  from (
    select old.person_id, old.experiment_id from unnest(_store_exposures.former) as old
    except
    select new.person_id, new.experiment_id from unnest(_store_exposures.present) as new
  ) as gone;
  delete from experiment.exposure
  using unnest(v_people, v_experiments) as gone (person_id, experiment_id)
  where exposure.person_id = gone.person_id
    and exposure.experiment_id = gone.experiment_id;
  insert into experiment.exposure (
    person_id, experiment_id, variation, exposed_at, exposed_on, is_counted, stratum, probability, outcomes,
    outcomes_before
  )
  select
    new.person_id, new.experiment_id, new.variation, new.exposed_at, new.exposed_on, new.is_counted, new.stratum,
    new.probability, new.outcomes, new.outcomes_before
  from unnest(_store_exposures.present) as new
  on conflict (person_id, experiment_id) do update
  set
    variation = excluded.variation,
    exposed_at = excluded.exposed_at,
    exposed_on = excluded.exposed_on,
    is_counted = excluded.is_counted,
    stratum = excluded.stratum,
    probability = excluded.probability,
    outcomes = excluded.outcomes,
    outcomes_before = excluded.outcomes_before;
end;
$$;

comment on function experiment._store_exposures(experiment.exposure[], experiment.exposure[]) is $$
Stores the `present` rows of `experiment.exposure` in place of the `former` ones. No other row has one of their keys.
$$;

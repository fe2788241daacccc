create or replace function experiment._refresh_arms(former experiment.exposure[], present experiment.exposure[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set jit to off
-- The planner has no statistics of the arrays, and would compare each row with each.
set enable_nestloop to off
as $$
declare
  v_sets text[];
  v_people text[];
begin
  with arm as (
    (
      select entry.experiment_id, entry.variation, entry.person_id
      from unnest(former) as entry
      where entry.is_counted and entry.variation is not null
      except
      select entry.experiment_id, entry.variation, entry.person_id
      from unnest(present) as entry
      where entry.is_counted
    )

    union all

    (
      select entry.experiment_id, entry.variation, entry.person_id
      from unnest(present) as entry
      where entry.is_counted and entry.variation is not null
      except
      select entry.experiment_id, entry.variation, entry.person_id
      from unnest(former) as entry
      where entry.is_counted
    )
  ),

  moved as (
    select arm.experiment_id, arm.variation, array_agg(arm.person_id) as people
    from arm
    group by arm.experiment_id, arm.variation
  )

  -- As text: arrays of different lengths do not form an array.
  select
    array_agg(experiment._arm_name(experiment.experiment_key, variation.variation_key, variation.variation)),
    array_agg(moved.people::text)
  into v_sets, v_people
  from moved
  join experiment.experiment on experiment.experiment_id = moved.experiment_id
  join experiment.variation
    on variation.experiment_id = moved.experiment_id
    and variation.variation = moved.variation;

  for v_place in 1 .. coalesce(cardinality(v_sets), 0) loop
    perform track.recompute_person_sets('experiment.exposure', v_people[v_place]::bigint[], v_sets[v_place]);
  end loop;
end;
$$;

comment on function experiment._refresh_arms(experiment.exposure[], experiment.exposure[]) is $$
Recomputes the sets of the variations for the people who are in another one than before.
The cost is that of the changes, whatever the number of experiments.
$$;

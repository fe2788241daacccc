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
  v_name text;
  v_joined bigint[];
  v_departed bigint[];
begin
  for v_name, v_joined, v_departed in
    select person_set.name, moved.joined, moved.departed
    from (
      select
        change.experiment_id, change.variation,
        array_agg(change.person_id) filter (where change.sum > 0) as joined,
        array_agg(change.person_id) filter (where change.sum < 0) as departed
      from (
        select entry.experiment_id, entry.variation, entry.person_id, sum(entry.sign) as sum
        from (
          select former.experiment_id, former.variation, former.person_id, -1 as sign
          from unnest(_refresh_arms.former) as former
          where former.is_counted and former.variation is not null
          union all
          select present.experiment_id, present.variation, present.person_id, 1
          from unnest(_refresh_arms.present) as present
          where present.is_counted and present.variation is not null
        ) as entry
        group by entry.experiment_id, entry.variation, entry.person_id
      ) as change
      where change.sum <> 0
      group by change.experiment_id, change.variation
    ) as moved
    join experiment.experiment on experiment.experiment_id = moved.experiment_id
    join experiment.variation
      on variation.experiment_id = moved.experiment_id
      and variation.variation = moved.variation
    -- Those that are defined: without one, the people of the others are still moved.
    join track.person_set
      on person_set.name
        = experiment._arm_name(experiment.experiment_key, variation.variation_key, variation.variation)
    order by experiment.experiment_key, variation.variation
  loop
    perform track.move_people(v_name, v_joined, v_departed);
  end loop;
end;
$$;

comment on function experiment._refresh_arms(experiment.exposure[], experiment.exposure[]) is $$
Changes the sets of the variations by the people who are in another one than before.
The cost is that of the changes, whatever the number of experiments.
$$;

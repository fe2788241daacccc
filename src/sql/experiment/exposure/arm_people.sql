create or replace function experiment.arm_people(set_name text, people bigint[])
returns setof bigint
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_experiment_id int;
  v_variation smallint;
begin
  select variation.experiment_id, variation.variation
  into v_experiment_id, v_variation
  from experiment.variation
  join experiment.experiment using (experiment_id)
  where experiment._arm_name(experiment.experiment_key, variation.variation_key, variation.variation)
    = arm_people.set_name;

  return query
  select exposure.person_id
  from experiment.exposure
  where exposure.person_id = any (arm_people.people)
    and exposure.experiment_id = v_experiment_id
    and exposure.variation = v_variation
    and exposure.is_counted;
end;
$$;

comment on function experiment.arm_people(text, bigint[]) is $$
@behavior -*
Returns which of the given people the experiment counts in a variation.
The members of the sets `arm.…`; see `track.person_set`.
$$;

create or replace function experiment.drop_arms(experiment_id int)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  perform track.undefine_person_set(person_set.name)
  from experiment.experiment
  join experiment.variation using (experiment_id)
  join track.person_set
    on person_set.name
      = experiment._arm_name(experiment.experiment_key, variation.variation_key, variation.variation)
  where experiment.experiment_id = drop_arms.experiment_id;
end;
$$;

comment on function experiment.drop_arms(int) is $$
@behavior -*
Removes the sets of people of the variations of an experiment.
$$;

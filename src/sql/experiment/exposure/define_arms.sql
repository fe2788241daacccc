create or replace function experiment.define_arms(experiment_id int)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_arm record;
begin
  for v_arm in
    select
      experiment._arm_name(experiment.experiment_key, variation.variation_key, variation.variation) as name,
      format(
        'People in the variation "%s" of the experiment "%s".', variation.variation_key, experiment.experiment_key
      ) as description
    from experiment.experiment
    join experiment.variation using (experiment_id)
    where experiment.experiment_id = define_arms.experiment_id
    order by variation.variation
  loop
    if exists (
      select
      from track.person_set
      where person_set.name = v_arm.name
        and person_set.description <> v_arm.description
    ) then
      perform common.refuse(
        'CF001',
        format('there is a set of people "%s" already', v_arm.name),
        'Give the experiment, or its variation, a key that differs in more than "-" and "_".'
      );
    end if;
    perform track.define_person_set(
      v_arm.name, v_arm.description, 'experiment.arm_people', 'experiment.exposure', false
    );
  end loop;
end;
$$;

comment on function experiment.define_arms(int) is $$
@behavior -*
Registers the set of people of each variation, `arm.<experiment>.<variation>` with `_` in place of `-`.
Called when an experiment starts: exposures fill the sets. Errors: CF001 for a name that another set has.
$$;

create or replace function experiment.check_sets(set_names text[])
returns void
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_experiment_id int;
begin
  if not exists (select from unnest(check_sets.set_names) as entry (name) where entry.name like 'arm.%') then
    return;
  end if;
  for v_experiment_id in
    select distinct variation.experiment_id
    from experiment.kept
    join experiment.experiment using (experiment_id)
    join experiment.variation using (experiment_id)
    where experiment._arm_name(experiment.experiment_key, variation.variation_key, variation.variation)
      = any (check_sets.set_names)
    order by variation.experiment_id
  loop
    perform experiment._check_people(v_experiment_id);
  end loop;
end;
$$;

comment on function experiment.check_sets(text[]) is $$
@behavior -*
Raises CF010 if one of the sets is the people of a variation (`arm.…`) whose exposures a rule of retention has deleted.
For functions that take names of sets, before they read them.
$$;

grant execute on function experiment.check_sets(text[]) to insights_reader;

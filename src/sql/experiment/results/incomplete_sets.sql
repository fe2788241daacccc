create or replace function experiment.incomplete_sets()
returns setof text
language plpgsql
stable
parallel safe
rows 10
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  select experiment._arm_name(ended.experiment_key, variation.variation_key, variation.variation)
  from experiment.kept
  join experiment.experiment as ended using (experiment_id)
  join experiment.variation using (experiment_id)
  where not experiment._are_events_complete(ended)
  order by 1;
end;
$$;

comment on function experiment.incomplete_sets() is $$
@behavior -*
Returns the sets `arm.…` that `experiment.check_sets` refuses: a rule of retention has deleted exposures of the people.
For functions that read all sets, which leave them out.
$$;

grant execute on function experiment.incomplete_sets() to insights_reader;

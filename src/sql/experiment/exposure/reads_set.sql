create or replace function experiment.reads_set(set_name text)
returns boolean
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return exists (
    select
    from experiment.experiment
    where experiment.started_at is not null
      and (experiment.population = reads_set.set_name or experiment.strata = 'set.' || reads_set.set_name)
  );
end;
$$;

comment on function experiment.reads_set(text) is $$
@behavior -*
Returns whether an experiment that has started counts the people of a set, or is stratified by it.
See `track.consumer.reads_set`.
$$;

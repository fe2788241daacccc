create or replace function recommend._arm_versions(kind text)
returns table (version int)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  select distinct (variation.value ->> 'model')::int
  from experiment.experiment
  join experiment.variation using (experiment_id)
  where experiment.placement = 'recommend.' || _arm_versions.kind
    and experiment.state in ('draft', 'running')
    and jsonb_typeof(variation.value -> 'model') = 'number';
end;
$$;

comment on function recommend._arm_versions(text) is $$
@behavior -*
Returns the versions of a recommender that variations of drafts and running experiments serve.
$$;

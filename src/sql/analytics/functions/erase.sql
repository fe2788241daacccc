create or replace function analytics.erase(subject privacy.subject)
returns setof privacy.erased
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_rows bigint;
begin
  -- A query about her cannot be run any more.
  delete from analytics.saved_query
  where exists (
    select
    from unnest(privacy.user_names(subject)) as named (name)
    where jsonb_path_exists(saved_query.arguments, '$.** ? (@ == $name)', jsonb_build_object('name', named.name))
  );
  get diagnostics v_rows = row_count;
  return next row('analytics.saved_query', v_rows, 'deleted')::privacy.erased;
  return next privacy.erase_rows('analytics.snapshot', 'person_id', subject.identity_ids);
  return next privacy.clear_values('analytics.annotation', 'created_by', privacy.user_names(subject));
  return next privacy.clear_values('analytics.saved_query', 'created_by', privacy.user_names(subject));
  return next privacy.clear_values('analytics.cohort', 'defined_by', privacy.user_names(subject));
end;
$$;

comment on function analytics.erase(privacy.subject) is $$
@behavior -*
Erases a person from the training data of predictions, and her name where she has written or defined something.
Called by `privacy.erase_person`. Cohorts and segments are sets of people: see `track.erase`.
$$;

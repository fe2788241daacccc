create or replace function analytics.erase(subject privacy.subject)
returns setof privacy.erased
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  return next privacy.erase_rows('analytics.snapshot', 'person_id', subject.identity_ids);
  return next privacy.clear_values('analytics.annotation', 'created_by', subject.names);
  return next privacy.clear_values('analytics.saved_query', 'created_by', subject.names);
  return next privacy.clear_values('analytics.cohort', 'defined_by', subject.names);
end;
$$;

comment on function analytics.erase(privacy.subject) is $$
@behavior -*
Erases a person from the training data of predictions, and her name where she has written or defined something.
Called by `privacy.erase_person`. Cohorts and segments are sets of people: see `track.erase`.
$$;

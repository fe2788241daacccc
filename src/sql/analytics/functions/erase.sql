create or replace function analytics.erase(subject privacy.subject)
returns setof privacy.erased
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  -- Not her enrolments alone: a later one takes the place of the first, and a correction removes it.
  v_first_at constant timestamptz := least(
    (select min(enrolment.enrolled_at) from track.enrolment where enrolment.person_id = any (subject.identity_ids)),
    (
      select min(identity.created_at)
      from track.identity
      where identity.identity_id = any (subject.identity_ids)
        and identity.kind = 'user'
    )
  );
  v_project text;
  v_versions int[];
  v_rows bigint := 0;
begin
  -- The people of a training are not recorded: each version that was trained since her name is known may contain her.
  for v_project, v_versions in
    select project.name, array_agg(model.version)
    from analytics.prediction_target as entry
    join ml.project on project.name = entry.project
    join ml.model using (project_id)
    where model.trained_at >= v_first_at
    group by project.name
    order by project.name
  loop
    v_rows := v_rows + ml.mark_for_training(v_project, 'a person was erased', v_versions);
  end loop;
  return next row('ml.model', v_rows, 'marked')::privacy.erased;

  -- The centroids are means over people, which may include her. Nothing of them is in a later fit.
  if exists (select from analytics.cluster where cluster.retired_at is null) then
    update analytics.cluster_setting set is_marked = true;
    return next row('analytics.cluster_setting', 1, 'marked')::privacy.erased;
  end if;
  return next privacy.erase_rows('analytics.cluster_member', 'identity_id', subject.identity_ids);

  -- A query about her cannot be run any more. Her name as another argument is the name of something else.
  delete from analytics.saved_query
  where exists (
    select
    from unnest(privacy.user_names(subject)) as named (name)
    where jsonb_path_exists(
        saved_query.arguments, '$.person ? (@ == $name)', jsonb_build_object('name', named.name)
      )
      or jsonb_path_exists(
        saved_query.arguments, '$.people ? (@ == $name)', jsonb_build_object('name', named.name)
      )
  );
  get diagnostics v_rows = row_count;
  return next row('analytics.saved_query', v_rows, 'deleted')::privacy.erased;
  -- A view that is not shared is seen by its author only.
  delete from analytics.saved_view
  where not saved_view.is_shared
    and saved_view.created_by = any (privacy.user_names(subject));
  get diagnostics v_rows = row_count;
  return next row('analytics.saved_view', v_rows, 'deleted')::privacy.erased;
  return next privacy.erase_rows('analytics.snapshot', 'person_id', subject.identity_ids);
  return next privacy.erase_rows('analytics.intervention', 'identity_id', subject.identity_ids);
  return next privacy.clear_values('analytics.intervention', 'created_by', privacy.user_names(subject));
  return next privacy.clear_values('analytics.annotation', 'created_by', privacy.user_names(subject));
  return next privacy.clear_values('analytics.saved_query', 'created_by', privacy.user_names(subject));
  return next privacy.clear_values('analytics.saved_view', 'created_by', privacy.user_names(subject));
  return next privacy.clear_values('analytics.cohort', 'defined_by', privacy.user_names(subject));
end;
$$;

comment on function analytics.erase(privacy.subject) is $$
@behavior -*
Erases a person from the training data of predictions, the notes about her, and her name where she is the author.
Marks the versions that may have been trained on her data, so that they are not used until the next training, and the
clusters of behaviour, which are fitted again in the following night.
Called by `privacy.erase_person`. Cohorts and segments are sets of people: see `track.erase`.
$$;

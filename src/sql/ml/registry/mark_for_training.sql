/* A definer: it writes the registry, and is granted to those who may train. */
create or replace function ml.mark_for_training(project text, reason text default null, versions int[] default null)
returns int
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_project constant ml.project := ml._project(mark_for_training.project);
  v_unknown constant int := (
    select listed.version
    from unnest(mark_for_training.versions) as listed (version)
    where not exists (
      select
      from ml.model
      where model.project_id = v_project.project_id
        and model.version = listed.version
    )
    limit 1
  );
  v_marked int;
begin
  if mark_for_training.reason is not null and length(mark_for_training.reason) not between 1 and 1000 then
    perform common.refuse('CF001', format('the reason has %s characters', length(mark_for_training.reason)),
      'Give a text of 1 to 1000 characters, or null.');
  end if;
  if v_unknown is not null then
    perform common.refuse('CF002', format('"%s" has no version %s', left(mark_for_training.project, 100), v_unknown),
      'Its versions are in ml.model; without versions, all of them are marked.');
  end if;
  update ml.model
  set marked_at = clock_timestamp(), marked_reason = mark_for_training.reason
  where model.project_id = v_project.project_id
    and model.marked_at is null
    and (mark_for_training.versions is null or model.version = any (mark_for_training.versions));
  get diagnostics v_marked = row_count;
  return v_marked;
end;
$$;

comment on function ml.mark_for_training(text, text, int[]) is $$
Marks versions of a project, or all of them, so that they are not used until another one is trained.
For versions that were trained on data that may not be used any more, such as that of an erased person. A marked version
is not served: `ml.predict` raises CF006, and a recommender continues with its other lists. The project counts as one
without a deployed version, so that the next training is deployed whatever its figures, and the workers start it at once
(`recommend.due_trainings`, `analytics.due_predictions`). Returns the number of versions that were not marked before.
Errors: CF001 (reason), CF002 (no such project or version).
$$;

grant execute on function ml.mark_for_training(text, text, int[]) to insights_admin, insights_worker;

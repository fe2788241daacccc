create or replace function recommend.unlearn(person_id bigint)
returns setof privacy.erased
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_project text;
  v_marked bigint := 0;
begin
  for v_project in
    select project.name
    from ml.project
    where starts_with(project.name, 'recommend.')
      and exists (
        select
        from ml.model
        join recommend.model_part using (model_id)
        where model.project_id = project.project_id
      )
    order by project.name
  loop
    v_marked := v_marked + ml.mark_for_training(v_project, 'a person was erased');
  end loop;
  if v_marked > 0 then
    return next row('ml.model', v_marked, 'marked')::privacy.erased;
  end if;
end;
$$;

comment on function recommend.unlearn(bigint) is $$
@behavior -*
Removes what the recommenders learned from a person. Returns what was changed, by table.
$$;

grant execute on function recommend.unlearn(bigint) to insights_admin, insights_worker;

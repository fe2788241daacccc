create or replace function recommend.export(subject privacy.subject)
returns setof privacy.exported
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return query select * from recommend._export_interactions(subject);
  return query select * from recommend._export_lists(subject);
end;
$$;

comment on function recommend.export(privacy.subject) is $$
@behavior -*
Returns what a person did with items, what was recommended to her, and what models store about her by name.
For `privacy.export_person`.
$$;

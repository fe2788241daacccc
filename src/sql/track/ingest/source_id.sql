create or replace function track._source_id()
returns smallint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_name constant text := coalesce(nullif(current_setting('insights.source', true), ''), 'default');
  v_source_id smallint := (select source.source_id from track.source where source.name = v_name);
begin
  if v_source_id is null then
    insert into track.source (name) values (v_name) on conflict (name) do nothing;
    v_source_id := (select source.source_id from track.source where source.name = v_name);
  end if;
  return v_source_id;
end;
$$;

comment on function track._source_id() is $$
Returns the source of the setting `insights.source`, which is added when new; `default` without a setting.
$$;

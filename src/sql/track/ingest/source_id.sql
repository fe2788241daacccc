create or replace function track._source_id(name text, level text)
returns smallint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_source_id smallint := (
    select source.source_id
    from track.source
    where source.name = _source_id.name and source.level = _source_id.level
  );
begin
  if v_source_id is null then
    insert into track.source (name, level)
    values (_source_id.name, _source_id.level)
    on conflict on constraint source_name_level_key do nothing;
    v_source_id := (
      select source.source_id
      from track.source
      where source.name = _source_id.name and source.level = _source_id.level
    );
  end if;
  return v_source_id;
end;
$$;

comment on function track._source_id(text, text) is $$
Returns the row of a source with a level, which is added when new.
$$;

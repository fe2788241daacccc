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
    -- The program is the same at each level, but one of its servers may be automatic, and its clients are not.
    insert into track.source (name, level, heartbeat, path_rule, kept_parameters)
    select _source_id.name, _source_id.level, known.heartbeat, known.path_rule, known.kept_parameters
    from (select) as one
    left join (
      select source.heartbeat, source.path_rule, source.kept_parameters
      from track.source
      where source.name = _source_id.name
      order by source.source_id
      limit 1
    ) as known on true
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
A new level of a known name has its interval of heartbeats and its path rule.
$$;

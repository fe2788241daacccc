create or replace function track._import_source(source text)
returns track.source
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_source track.source;
begin
  select entry.* into v_source
  from track.source as entry
  where entry.name = _import_source.source
    and entry.level = 'server'
    and not exists (select from track.forgotten_import as former where former.source_id = entry.source_id);
  if v_source.name = 'default' then
    perform common.refuse(
      'CF001',
      'the source "default" is not an import',
      'It has the messages of all servers without a name of their own. Imports have one: insights import --source NAME.'
    );
  end if;
  if exists (select from track.write_key where write_key.source_id = v_source.source_id)
    or exists (select from track.statement where statement.source_id = v_source.source_id)
  then
    perform common.refuse(
      'CF005',
      format('the source "%s" is not an import', v_source.name),
      'It has a write key, with which an application sends its messages.'
    );
  end if;
  return v_source;
end;
$$;

comment on function track._import_source(text) is $$
Returns the source of an import. Null if no source has this name, or if the import is being removed.
Errors: CF001 for the source of messages without one, CF005 for a source with write keys or statements.
$$;

create or replace function track._refuse_unknown_import(source text)
returns void
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  perform common.refuse(
    'CF002',
    format('there is no import "%s"', coalesce(left(_refuse_unknown_import.source, 100), 'null')),
    coalesce(
      'Did you mean "' || common.nearest_name(
        _refuse_unknown_import.source,
        (
          select array_agg(entry.name order by entry.name)
          from track.source as entry
          where entry.level = 'server'
            and entry.name <> 'default'
            and not exists (select from track.forgotten_import as former where former.source_id = entry.source_id)
        )
      ) || '"? ',
      ''
    ) || 'Give the name of the source of the import, as in track.source: that of --source, or else of the format.'
  );
end;
$$;

comment on function track._refuse_unknown_import(text) is $$
Raises CF002 for the name of an import, with the nearest name of a source.
$$;

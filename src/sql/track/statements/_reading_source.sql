create or replace function track._reading_source(what text)
returns smallint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_sender constant track.message_sender := track._sender(clock_timestamp());
begin
  if v_sender.level <> 'server' then
    perform common.refuse(
      'CF005', format('this key may not read %s', _reading_source.what), 'Use a key of the level server.'
    );
  end if;
  return v_sender.source_id;
end;
$$;

comment on function track._reading_source(text) is $$
Returns the source of the caller, who may read what was sent by it. Raises CF005 unless it is of the level `server`.
$$;

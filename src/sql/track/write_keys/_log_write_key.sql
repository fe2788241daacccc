create or replace function track._log_write_key(key_id int, action text, details jsonb default '{}')
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  insert into track.write_key_log (key_id, action, actor, details)
  values (
    _log_write_key.key_id,
    _log_write_key.action,
    common.author(),
    _log_write_key.details
  );
end;
$$;

comment on function track._log_write_key(int, text, jsonb) is $$
Adds an entry to the log of the write keys, with the caller.
$$;

create or replace function track._log_name(action text, name text, target text)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  insert into track.name_log (action, name, target, actor)
  values (
    _log_name.action,
    _log_name.name,
    _log_name.target,
    common.author()
  );
end;
$$;

comment on function track._log_name(text, text, text) is $$
Adds an entry to the log of names, with the caller.
$$;

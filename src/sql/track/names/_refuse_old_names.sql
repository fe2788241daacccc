create or replace function track._refuse_old_names()
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  -- A snapshot from before a change of names would store events under the former ones: the lock fails (40001).
  if current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
    perform setting.only_row from track.setting for share;
  end if;
end;
$$;

comment on function track._refuse_old_names() is $$
Raises 40001 in a transaction whose snapshot is from before a change of names.
$$;

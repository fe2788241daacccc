create or replace function track.revoke_write_key(key_id int)
returns boolean
language plpgsql
volatile
-- A definer: no role may write track.write_key, whose hashes decide who may send messages.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  if (track._find_write_key(revoke_write_key.key_id)).revoked_at is not null then
    return false;
  end if;
  update track.write_key set revoked_at = now() where write_key.key_id = revoke_write_key.key_id;
  perform track._log_write_key(revoke_write_key.key_id, 'revoked');
  return true;
end;
$$;

comment on function track.revoke_write_key(int) is $$
Revokes a write key; from the next batch on, messages with it are refused. False when it was revoked before.
Errors: CF002 for an unknown key.
$$;

grant execute on function track.revoke_write_key(int) to insights_admin;

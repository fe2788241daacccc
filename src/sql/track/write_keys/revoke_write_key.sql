create or replace function track.revoke_write_key(key_id int)
returns boolean
language plpgsql
volatile
-- A definer: no role may write track.write_key, whose hashes decide who may send messages.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_revoked_at timestamptz;
  v_found boolean;
begin
  select write_key.revoked_at, true
  into v_revoked_at, v_found
  from track.write_key
  where write_key.key_id = revoke_write_key.key_id
  for update;
  if v_found is null then
    perform common.refuse(
      'CF002', format('there is no write key %s', coalesce(revoke_write_key.key_id::text, 'null')),
      'The keys are the rows of track.write_key.'
    );
  end if;
  if v_revoked_at is not null then
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

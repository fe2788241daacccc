create or replace function track.rotate_write_key(key_id int, keep_old interval default '7 days')
returns track.new_write_key
language plpgsql
volatile
-- A definer: no role may write track.write_key, whose hashes decide who may send messages.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
as $$
declare
  v_old track.write_key;
  v_new track.new_write_key;
begin
  if rotate_write_key.keep_old is null or rotate_write_key.keep_old < '0' or rotate_write_key.keep_old > '1 year' then
    perform common.refuse(
      'CF001', format('keep_old is %s', coalesce(rotate_write_key.keep_old::text, 'null')),
      'Give the time for which clients may use the old key: 0 to one year.'
    );
  end if;
  v_old := track._valid_write_key(rotate_write_key.key_id);
  v_new := track._new_write_key(v_old.source_id, v_old.scopes, v_old.origins, v_old.requests_per_minute, null);
  update track.write_key
  set expires_at = least(write_key.expires_at, now() + rotate_write_key.keep_old)
  where write_key.key_id = v_old.key_id;
  perform track._log_write_key(
    v_old.key_id, 'rotated',
    jsonb_build_object('replaced_by', v_new.key_id, 'expires_at', least(v_old.expires_at, now() + keep_old))
  );
  perform track._log_write_key(v_new.key_id, 'created', jsonb_build_object('replaces', v_old.key_id));
  return v_new;
end;
$$;

comment on function track.rotate_write_key(int, interval) is $$
Creates a write key with the properties of an old one, which expires after `keep_old`, and returns the new key.
Clients can be changed one after the other in the meantime. Errors: CF002 for an unknown key, CF001 for one that is
revoked or has expired, or for an invalid interval.
$$;

grant execute on function track.rotate_write_key(int, interval) to insights_admin;

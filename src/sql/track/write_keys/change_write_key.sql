create or replace function track.change_write_key(
  key_id int,
  scopes text[] default null,
  origins text[] default null,
  requests_per_minute int default null
)
returns track.write_key
language plpgsql
volatile
-- A definer: no role may write track.write_key, whose hashes decide who may send messages.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_key track.write_key := track._valid_write_key(change_write_key.key_id);
begin
  v_key.scopes := coalesce(change_write_key.scopes, v_key.scopes);
  v_key.origins := coalesce(change_write_key.origins, v_key.origins);
  v_key.requests_per_minute := coalesce(change_write_key.requests_per_minute, v_key.requests_per_minute);
  perform track._check_write_key(v_key.scopes, v_key.origins, v_key.requests_per_minute, null);
  update track.write_key
  set scopes = v_key.scopes, origins = v_key.origins, requests_per_minute = v_key.requests_per_minute
  where write_key.key_id = v_key.key_id;
  perform track._log_write_key(
    v_key.key_id,
    'changed',
    jsonb_build_object(
      'scopes', v_key.scopes, 'origins', v_key.origins, 'requests_per_minute', v_key.requests_per_minute
    )
  );
  return v_key;
end;
$$;

comment on function track.change_write_key(int, text[], text[], int) is $$
Changes the scopes, origins or rate of a write key; null: as it is. Returns the key.
Errors: CF002 for an unknown key, CF001 for one that is revoked or has expired, CF001 and CF008 for invalid values.
$$;

grant execute on function track.change_write_key(int, text[], text[], int) to insights_admin;

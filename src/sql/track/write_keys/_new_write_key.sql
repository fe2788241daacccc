create or replace function track._new_write_key(
  source_id smallint, scopes text[], origins text[], requests_per_minute int, expires_at timestamptz
)
returns track.new_write_key
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  -- 244 random bits, with a prefix by which scanners of source code find keys that were published.
  v_key constant text := 'cfi_' || replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', '');
  v_key_id int;
begin
  insert into track.write_key (source_id, key_hash, preview, scopes, origins, requests_per_minute, expires_at)
  values (
    _new_write_key.source_id, sha256(convert_to(v_key, 'UTF8')), left(v_key, 12), _new_write_key.scopes,
    _new_write_key.origins, _new_write_key.requests_per_minute, _new_write_key.expires_at
  )
  returning write_key.key_id into v_key_id;
  return (
    select row(v_key_id, v_key, source.name, source.level)::track.new_write_key
    from track.source
    where source.source_id = _new_write_key.source_id
  );
end;
$$;

comment on function track._new_write_key(smallint, text[], text[], int, timestamptz) is $$
Inserts a write key with a random value, and returns it.
$$;

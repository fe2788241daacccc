create or replace function track.create_write_key(
  source text,
  level text default 'anonymous',
  scopes text[] default '{events}',
  origins text[] default '{}',
  requests_per_minute int default 6000,
  expires_at timestamptz default null
)
returns track.new_write_key
language plpgsql
volatile
-- A definer: no role may write track.write_key, whose hashes decide who may send messages.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
as $$
declare
  v_source_id smallint;
  v_new track.new_write_key;
begin
  if nullif(trim(create_write_key.source), '') is null or length(create_write_key.source) > 100 then
    perform common.refuse(
      'CF001', format('the source is "%s"', left(create_write_key.source, 100)),
      'Name the application, in 1 to 100 characters.'
    );
  end if;
  if create_write_key.level is null or create_write_key.level not in ('server', 'signed_in', 'anonymous') then
    perform common.refuse(
      'CF001', format('the level is "%s"', left(create_write_key.level, 100)),
      'Use anonymous or signed_in for browsers and apps, server for servers that keep the key secret.'
    );
  end if;
  perform track._check_write_key(
    create_write_key.scopes, create_write_key.origins, create_write_key.requests_per_minute, create_write_key.expires_at
  );

  v_source_id := track._source_id(create_write_key.source, create_write_key.level);
  v_new := track._new_write_key(
    v_source_id, create_write_key.scopes, create_write_key.origins, create_write_key.requests_per_minute,
    create_write_key.expires_at
  );
  perform track._log_write_key(
    v_new.key_id,
    'created',
    jsonb_build_object(
      'source', create_write_key.source, 'level', create_write_key.level, 'scopes', create_write_key.scopes,
      'origins', create_write_key.origins, 'requests_per_minute', create_write_key.requests_per_minute,
      'expires_at', create_write_key.expires_at
    )
  );
  return v_new;
end;
$$;

comment on function track.create_write_key(text, text, text[], text[], int, timestamptz) is $$
Creates a write key for a source, which is added when new, and returns the key: the only time that it can be read.
`level`: `server` for servers that keep the key secret; `signed_in` and `anonymous` for browsers and apps, whose keys
any user can read. With a key of level `signed_in`, a request still needs the token of a person to name her.
`scopes`: `events` (send messages), `features`. `origins`: the web origins that may use it; empty: any.
`requests_per_minute`: limit of each process of the API. Errors: CF001 and CF008 for invalid arguments.
$$;

grant execute on function track.create_write_key(text, text, text[], text[], int, timestamptz) to insights_admin;

/* A definer: workers, and so the API, may not read track.write_key. */
create or replace function track.open_write_key(key_hash text, scope text, origin text default null)
returns track.open_write_key
language plpgsql
stable
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
as $$
declare
  v_key track.write_key;
begin
  if open_write_key.key_hash ~ '^[0-9a-f]{64}$' then
    select *
    into v_key
    from track.write_key
    where write_key.key_hash = decode(open_write_key.key_hash, 'hex');
  end if;
  if v_key.key_id is null then
    perform common.refuse('CF005', 'the write key is unknown', 'Send a key that track.create_write_key returned.');
  end if;
  if v_key.revoked_at is not null or v_key.expires_at <= statement_timestamp() then
    perform common.refuse(
      'CF005',
      format(
        'the write key %s… %s', v_key.preview,
        case
          when v_key.revoked_at is not null then 'is revoked'
          else 'expired at ' || v_key.expires_at
        end
      ),
      'Use the key that replaces it.'
    );
  end if;
  if open_write_key.scope is null or not open_write_key.scope = any (v_key.scopes) then
    perform common.refuse(
      'CF005',
      format('the write key %s… does not have the scope "%s"', v_key.preview, left(open_write_key.scope, 100)),
      'Use another key, or add the scope by track.change_write_key.'
    );
  end if;
  if v_key.origins <> '{}' and open_write_key.origin is not null and open_write_key.origin <> all (v_key.origins) then
    perform common.refuse(
      'CF005',
      format('the origin "%s" may not use the write key %s…', left(open_write_key.origin, 100), v_key.preview),
      'Add the origin to the key by track.change_write_key.'
    );
  end if;
  return (
    select row(v_key.key_id, source.name, source.level, v_key.requests_per_minute)::track.open_write_key
    from track.source
    where source.source_id = v_key.source_id
  );
end;
$$;

comment on function track.open_write_key(text, text, text) is $$
@behavior -queryField -mutationField
Returns the source, level and rate of a write key, given its SHA-256 hash in hexadecimal.
`origin`: the origin of the calling web page; null for other clients. Errors: CF005 for a key that is unknown, revoked
or has expired, that does not have the scope, or that the origin may not use.
$$;

grant execute on function track.open_write_key(text, text, text) to insights_worker;

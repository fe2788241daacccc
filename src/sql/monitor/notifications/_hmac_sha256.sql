create or replace function monitor._hmac_sha256(content bytea, key bytea)
returns bytea
language plpgsql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  -- A block of SHA-256 has 64 bytes.
  v_key constant bytea := case when length(key) > 64 then sha256(key) else key end;
  v_inner bytea := decode(repeat('36', 64), 'hex');
  v_outer bytea := decode(repeat('5c', 64), 'hex');
begin
  for i in 0..length(v_key) - 1 loop
    v_inner := set_byte(v_inner, i, get_byte(v_key, i) # 54);
    v_outer := set_byte(v_outer, i, get_byte(v_key, i) # 92);
  end loop;
  return sha256(v_outer || sha256(v_inner || content));
end;
$$;

comment on function monitor._hmac_sha256(bytea, bytea) is $$
Returns the HMAC of a content with SHA-256. Source: RFC 2104.
$$;

create or replace function track._check_write_key(
  scopes text[], origins text[], requests_per_minute int, expires_at timestamptz
)
returns void
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_wrong text;
begin
  v_wrong := (select scope from unnest(scopes) as scope where scope not in ('events', 'features') limit 1);
  if coalesce(scopes, '{}') = '{}' or v_wrong is not null or array_position(scopes, null) is not null then
    perform common.refuse(
      'CF001', format('the scope is "%s"', left(v_wrong, 100)), 'Give events, features, or both.'
    );
  end if;
  if cardinality(origins) > 100 then
    perform common.refuse('CF008', format('there are %s origins', cardinality(origins)), 'Give 100 at most.');
  end if;
  v_wrong := (
    select coalesce(origin, 'null')
    from unnest(origins) as origin
    where (origin ~ '^https?://[a-z0-9.-]{1,253}(:[0-9]{1,5})?$' or origin ~ '^https?://\[[0-9a-f:]+\](:[0-9]{1,5})?$')
      is not true
    limit 1
  );
  if v_wrong is not null or origins is null then
    perform common.refuse(
      'CF001',
      format('the origin is "%s"', left(v_wrong, 100)),
      'Give scheme, host in lower case and, unless it is the default, the port: https://campus.example'
    );
  end if;
  perform common.check_count('requests_per_minute', requests_per_minute, 1, 1000000);
  if expires_at <= now() then
    perform common.refuse(
      'CF001', format('the key would expire at %s', expires_at), 'Give a time in the future, or none.'
    );
  end if;
end;
$$;

comment on function track._check_write_key(text[], text[], int, timestamptz) is $$
Raises CF001 or CF008 for invalid properties of a write key.
$$;

create or replace function monitor._new_secret(channel text)
returns text
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  -- Version 4 UUIDs are from the strong random source of the server, 122 bits each.
  v_secret constant bytea := uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid());
begin
  insert into monitor.channel_secret (channel, secret) values (_new_secret.channel, v_secret);
  return 'whsec_' || encode(v_secret, 'base64');
end;
$$;

comment on function monitor._new_secret(text) is $$
Stores a random secret of a channel and returns it as Standard Webhooks writes it.
$$;

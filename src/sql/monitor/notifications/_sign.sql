create or replace function monitor._sign(message_id text, sent_at text, body text, secrets bytea[])
returns text
language sql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select string_agg(
    'v1,' || encode(
      monitor._hmac_sha256(convert_to(concat_ws('.', message_id, sent_at, body), 'UTF8'), given.secret), 'base64'
    ),
    ' ' order by given.number
  )
  from unnest(secrets) with ordinality as given (secret, number)
$$;

comment on function monitor._sign(text, text, text, bytea[]) is $$
Returns the header `webhook-signature` of a message, one signature per secret.
Source: Standard Webhooks 1.0.0.
$$;

/* A definer: the keys are granted to nobody. */
create or replace function recommend._sign(payload text)
returns text
language sql
stable
strict
parallel safe
security definer
set search_path to ''
as $$
  select payload || '.' || encode(
    substr(sha256(secret.outer_key || sha256(secret.inner_key || convert_to(payload, 'UTF8'))), 1, 16), 'hex'
  )
  from recommend.secret;
$$;

comment on function recommend._sign(text) is $$
@behavior -*
A text with its signature behind a dot: a nested SHA-256 with two keys, cut to 128 bits. Granted to nobody.
Source: Bellare, Canetti, Krawczyk, Keying hash functions for message authentication, CRYPTO 1996.
$$;

create or replace function track._exclude_bots(names text[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  insert into track.exclusion (identity_id, reason, note, excluded_by)
  select identity.identity_id, 'bot', 'Its first message had the user agent of a bot.', 'track.ingest'
  from track.identity
  where identity.external_id = any (names)
    and identity.kind in ('anonymous', 'unverified')
    and identity.user_identity_id is null
  order by identity.identity_id
  on conflict (identity_id) do nothing;

  perform track._enqueue('identity', array(
    select identity.person_id
    from track.identity
    where identity.external_id = any (names)
      and identity.kind in ('anonymous', 'unverified')
  ));
end;
$$;

comment on function track._exclude_bots(text[]) is $$
Excludes new browsers, as `track.exclude_person` does.
A browser that was known before is not excluded, because any client can send its id.
$$;

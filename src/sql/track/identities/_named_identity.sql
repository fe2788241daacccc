create or replace function track._named_identity(name text, at timestamptz)
returns bigint
language sql
stable
parallel safe
begin atomic
  select coalesce(
    (
      select identity.identity_id
      from track.identity
      where identity.external_id = _named_identity.name
        and identity.kind = 'user'
    ),
    track._browser_identity(_named_identity.name, _named_identity.at)
  );
end;

comment on function track._named_identity(text, timestamptz) is $$
Returns the identity of a `userId`, or else the one that a browser has at a time; null for an unknown name.
$$;

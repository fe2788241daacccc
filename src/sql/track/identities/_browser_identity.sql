create or replace function track._browser_identity(external_id text, occurred_at timestamptz)
returns bigint
language sql
stable
parallel safe
begin atomic
  select coalesce(
    (
      select browser.identity_id
      from track.identity as browser
      join track.identity as person on person.identity_id = browser.user_identity_id
      cross join lateral (
        select link.linked_at
        from track.identity_link as link
        where link.identity_id = browser.identity_id
          and link.linked_identity_id = browser.user_identity_id
          and link.linked_at <= _browser_identity.occurred_at
          and link.kind <> 'claim'
          and link.unlinked_at is null
        order by link.linked_at desc
        limit 1
      ) as latest
      where browser.external_id = _browser_identity.external_id
        and browser.kind = 'anonymous'
      order by latest.linked_at desc, person.external_id desc
      limit 1
    ),
    (
      select browser.identity_id
      from track.identity as browser
      where browser.external_id = _browser_identity.external_id
        and browser.kind = 'anonymous'
        and browser.user_identity_id is null
    ),
    (
      select browser.identity_id
      from track.identity as browser
      join track.identity as person on person.identity_id = browser.user_identity_id
      cross join lateral (
        select link.linked_at
        from track.identity_link as link
        where link.identity_id = browser.identity_id
          and link.linked_identity_id = browser.user_identity_id
          and link.kind <> 'claim'
          and link.unlinked_at is null
        order by link.linked_at
        limit 1
      ) as earliest
      where browser.external_id = _browser_identity.external_id
        and browser.kind = 'anonymous'
      order by earliest.linked_at, person.external_id
      limit 1
    )
  );
end;

comment on function track._browser_identity(text, timestamptz) is $$
Returns the identity of a browser at a time: that of the user who identified on it last, or else of the first one.
Null for an unknown `anonymousId`.
$$;

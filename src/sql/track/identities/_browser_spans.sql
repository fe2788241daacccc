create or replace function track._browser_spans(external_id text)
returns table (identity_id bigint, linked_at timestamptz, since timestamptz, until timestamptz)
language sql
stable
parallel safe
begin atomic
  select
    fact.identity_id,
    fact.linked_at,
    case when row_number() over in_order = 1 then '-infinity' else fact.linked_at end,
    coalesce(lead(fact.linked_at) over in_order, 'infinity')
  from (
    select
      browser.identity_id, coalesce(link.linked_at, '-infinity') as linked_at,
      coalesce(person.external_id, '') as person
    from track.identity as browser
    left join track.identity_link as link
      on link.identity_id = browser.identity_id
      and link.linked_identity_id = browser.user_identity_id
      and link.kind <> 'claim'
      and link.unlinked_at is null
    left join track.identity as person on person.identity_id = link.linked_identity_id
    where browser.external_id = _browser_spans.external_id
      and browser.kind = 'anonymous'
      and (link.linked_at is not null or browser.user_identity_id is null)
  ) as fact
  window in_order as (order by fact.linked_at, fact.person);
end;

comment on function track._browser_spans(text) is $$
Returns the periods of a browser with their identities: one row per link to a user, `until` exclusive.
The first period reaches back to the first event. `track._browser_identity` returns the identity at one time.
$$;

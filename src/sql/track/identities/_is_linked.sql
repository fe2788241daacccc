create or replace function track._is_linked(identity_id bigint, linked_identity_id bigint, linked_at timestamptz)
returns boolean
language sql
stable
parallel safe
begin atomic
  select exists (
    select
    from track.identity as one
    join track.identity as sibling on sibling.external_id = one.external_id and sibling.kind = one.kind
    join track.identity_link as link on link.identity_id = sibling.identity_id
    where one.identity_id = _is_linked.identity_id
      and link.linked_identity_id = _is_linked.linked_identity_id
      and link.unlinked_at >= _is_linked.linked_at
      and link.kind <> 'claim'
  ) or exists (
    select
    from track.identity as one
    join track.identity as other on other.identity_id = _is_linked.linked_identity_id
    join track.identity as sibling on sibling.external_id = one.external_id and sibling.kind = one.kind
    join track.identity_link as link
      on link.identity_id = sibling.identity_id
      and link.linked_identity_id = other.identity_id
    where one.identity_id = _is_linked.identity_id
      and link.unlinked_at is null
      -- A merge leaves no trace when it is undone, other than a message.
      and link.kind not in ('claim', 'merge')
      -- A browser keeps each link to a user, because another user may have identified between two of them.
      and (link.linked_at = _is_linked.linked_at or one.kind <> 'anonymous' or other.kind <> 'user')
  );
end;

comment on function track._is_linked(bigint, bigint, timestamptz) is $$
Returns whether a link between two identities already exists, or was removed after the given time.
For a link of a browser to a user, whether one of this time exists.
$$;

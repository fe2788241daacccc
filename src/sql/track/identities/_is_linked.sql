create or replace function track._is_linked(identity_id bigint, linked_identity_id bigint, linked_at timestamptz)
returns boolean
language sql
stable
parallel safe
begin atomic
  select exists (
    select
    from track.identity_link
    where identity_link.identity_id = _is_linked.identity_id
      and identity_link.linked_identity_id = _is_linked.linked_identity_id
      and (identity_link.unlinked_at is null or identity_link.unlinked_at >= _is_linked.linked_at)
  );
end;

comment on function track._is_linked(bigint, bigint, timestamptz) is $$
Returns whether a link between two identities already exists, or was removed after the given time.
$$;

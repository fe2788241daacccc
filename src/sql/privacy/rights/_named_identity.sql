create or replace function privacy._named_identity(subject privacy.subject, name text)
returns bigint
language sql
immutable
parallel safe
begin atomic
  -- Of several identities of this name, that of the user.
  select entry.identity_id
  from unnest((_named_identity.subject).identity_ids, (_named_identity.subject).kinds, (_named_identity.subject).names)
    as entry (identity_id, kind, name)
  where entry.name = _named_identity.name
  order by entry.kind = 'user' desc, entry.identity_id
  limit 1;
end;

comment on function privacy._named_identity(privacy.subject, text) is $$
Returns the identity of a person that has a name.
$$;

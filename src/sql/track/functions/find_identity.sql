create or replace function track.find_identity(person text)
returns bigint
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  -- plpgsql, because it caches the plan: each request for a person calls this function.
  -- A userId takes precedence over an equal anonymousId, and the present user of a browser over earlier ones.
  return (
    select identity.identity_id
    from track.identity
    where identity.external_id = find_identity.person
      and identity.kind in ('user', 'anonymous')
    order by
      identity.kind = 'user' desc,
      (
        select max(link.linked_at)
        from track.identity_link as link
        where link.identity_id = identity.identity_id
          and link.linked_identity_id = identity.user_identity_id
          and link.kind <> 'claim'
          and link.unlinked_at is null
      ) desc nulls last
    limit 1
  );
end;
$$;

comment on function track.find_identity(text) is $$
@behavior -queryField
Returns the key of the identity whose person `track.find_person` returns.
Null when there is none, or when the caller may not read it.
$$;

grant execute on function track.find_identity(text)
to insights_reader, insights_learner, insights_admin, insights_worker;

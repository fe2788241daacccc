create or replace function track.identity_names(identities bigint[])
returns setof privacy.identity_name
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  select identity.identity_id, identity.person_id, identity.external_id
  from track.identity
  where identity.identity_id = any (identity_names.identities);
end;
$$;

comment on function track.identity_names(bigint[]) is $$
@behavior -*
Returns the person and the name of identities. Registered in `privacy.setting.names_function`.
$$;

create or replace function track.held_names(identities bigint[])
returns setof privacy.identity_name
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  perform track._lock_identities(held_names.identities);
  return query
  select named.*
  from track.identity_names(held_names.identities) as named;
end;
$$;

comment on function track.held_names(bigint[]) is $$
@behavior -*
Returns the same as `track.identity_names`, and holds the identities: until the transaction ends, none is deleted.
Those that were deleted before are left out. Registered in `privacy.setting.held_names_function`.
$$;

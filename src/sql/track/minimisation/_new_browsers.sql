create or replace function track._new_browsers(names text[])
returns text[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return array(
    select named.external_id
    from unnest(names) as named (external_id)
    where not exists (select from track.identity where identity.external_id = named.external_id)
  );
end;
$$;

comment on function track._new_browsers(text[]) is $$
Returns those of the names that no person or browser has yet.
$$;

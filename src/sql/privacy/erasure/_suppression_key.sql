create or replace function privacy._suppression_key()
returns text
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  -- There is no name of this kind.
  return (
    select encode(hashed.name_hash, 'hex')
    from privacy._hashed_names(array['list'], array['key']) as hashed
  );
end;
$$;

comment on function privacy._suppression_key() is $$
Returns a hash of the key under which names are hashed: equal for a database and its backups.
$$;

create or replace function track._turn_checks()
returns bigint
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return cardinality(track._checked_months())::bigint * track._checked_blocks();
end;
$$;

comment on function track._turn_checks() is $$
@behavior -*
Returns the number of months times that of blocks of people: the checks in which all rollups are compared.
$$;

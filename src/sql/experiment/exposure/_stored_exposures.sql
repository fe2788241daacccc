create or replace function experiment._stored_exposures(people bigint[])
returns setof experiment.exposure
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  select exposure.*
  from experiment.exposure
  where exposure.person_id = any (_stored_exposures.people);
end;
$$;

comment on function experiment._stored_exposures(bigint[]) is $$
Returns the exposures of people. On a worker of a cluster, a row has another type: therefore by its columns.
$$;

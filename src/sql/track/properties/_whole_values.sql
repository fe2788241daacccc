create or replace function track._whole_values(people bigint[])
returns setof track.value_activity
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  select stored.*
  from track.stored_values(
    people,
    array_fill('-infinity'::date, array[cardinality(people)]),
    array_fill('infinity'::date, array[cardinality(people)])
  ) as stored;
end;
$$;

comment on function track._whole_values(bigint[]) is $$
Returns all stored values of people.
$$;

create or replace function track._whole_activity(people bigint[])
returns setof track.activity
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  select stored.*
  from track.stored_activity(
    people,
    array_fill('-infinity'::date, array[cardinality(people)]),
    array_fill('infinity'::date, array[cardinality(people)])
  ) as stored;
end;
$$;

comment on function track._whole_activity(bigint[]) is $$
Returns all stored activity of people.
$$;

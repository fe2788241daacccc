create or replace function track._whole_transitions(people bigint[])
returns setof track.transition
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  select transition.*
  from track._transitions(
    people,
    array_fill('-infinity'::date, array[cardinality(people)]),
    array_fill('infinity'::date, array[cardinality(people)])
  ) as transition;
end;
$$;

comment on function track._whole_transitions(bigint[]) is $$
Returns all transitions of people.
$$;

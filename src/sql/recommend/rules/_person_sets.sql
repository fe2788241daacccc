create or replace function recommend._person_sets(person_id bigint)
returns text[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return '{}';
end;
$$;

comment on function recommend._person_sets(bigint) is $$
@behavior -*
Returns the sets that contain a person, of those that a rule or a ranked list names.
$$;

grant execute on function recommend._person_sets(bigint) to insights_reader, insights_learner;

create or replace function analytics._cohort_set(name text)
returns text
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return case
    when starts_with(_cohort_set.name, 'cohort.') or starts_with(_cohort_set.name, 'segment.') then _cohort_set.name
    else 'cohort.' || _cohort_set.name
  end;
end;
$$;

comment on function analytics._cohort_set(text) is $$
Returns the name of the set of people of a cohort or segment: `cohort.beta` for `beta`.
$$;

grant execute on function analytics._cohort_set(text) to insights_reader;

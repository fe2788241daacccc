create or replace function analytics.incomplete_sets()
returns setof text
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  select incomplete.name
  from analytics._incomplete_sets() as incomplete
  where incomplete.name ~ '^(cohort|segment)\.'
  order by incomplete.name;
end;
$$;

comment on function analytics.incomplete_sets() is $$
@behavior -*
Returns the live cohorts and segments whose rules read people that a rule of retention has deleted.
See `track.incomplete_sets`.
$$;

grant execute on function analytics.incomplete_sets() to insights_reader;

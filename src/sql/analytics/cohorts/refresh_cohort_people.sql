create or replace function analytics.refresh_cohort_people(
  people bigint[], since timestamptz[], until timestamptz[]
)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  perform track.recompute_person_sets(
    'analytics.cohort', array(select distinct entry.person_id from unnest(people) as entry (person_id))
  );
end;
$$;

comment on function analytics.refresh_cohort_people(bigint[], timestamptz[], timestamptz[]) is $$
@behavior -*
Recomputes which of the given people belong to the live cohorts and segments. Called by `track.refresh`.
$$;

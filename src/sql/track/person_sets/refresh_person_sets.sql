create or replace function track.refresh_person_sets(people bigint[], since timestamptz[], until timestamptz[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  perform track.recompute_person_sets('track.person_set', refresh_person_sets.people);
end;
$$;

comment on function track.refresh_person_sets(bigint[], timestamptz[], timestamptz[]) is $$
Recomputes which of the given people belong to the sets of the consumer `track.person_set`. Called by `track.refresh`.
Membership does not depend on periods, so that `since` and `until` are not used.
$$;

create or replace function track.journey(
  person text,
  since timestamptz default (now() at time zone 'UTC' - interval '30 days') at time zone 'UTC',
  until timestamptz default 'infinity'
)
returns setof track.action
language plpgsql
volatile
-- A definer: it logs what it reads, which no role may do by itself.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_person_id constant bigint := track.find_person(journey.person);
begin
  perform privacy.record_disclosure(array[v_person_id], 'track.journey');
  return query
  select action.*
  from track._journey(v_person_id, journey.since, journey.until) as action;
end;
$$;

comment on function track.journey(text, timestamptz, timestamptz) is $$
@behavior -mutationField +queryField
Returns the actions of a person between two times (`until` exclusive), in order of time.
Each action has its session and the time since the previous action of the session. No rows for an unknown person.
`session_id` is null until the next refresh of the sessions.
These reads are logged in `privacy.disclosure`, not those of workers; CF005 in a read-only transaction.
$$;

grant execute on function track.journey(text, timestamptz, timestamptz) to insights_admin;

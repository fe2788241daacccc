create or replace function track.journey(
  person text,
  since timestamptz default (now() at time zone 'UTC' - interval '30 days') at time zone 'UTC',
  until timestamptz default 'infinity'
)
returns setof track.action
language sql
stable
parallel safe
begin atomic
  select * from track._journey(track.find_person(journey.person), journey.since, journey.until);
end;

comment on function track.journey(text, timestamptz, timestamptz) is $$
Returns the actions of a person between two times (`until` exclusive), in order of time.
Each action has its session and the time since the previous action of the session. No rows for a person that the
caller may not read. `session_id` is null until the next refresh of the sessions.
$$;

grant execute on function track.journey(text, timestamptz, timestamptz) to insights_admin;

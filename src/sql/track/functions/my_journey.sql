create or replace function track.my_journey(
  since timestamptz default (now() at time zone 'UTC' - interval '30 days') at time zone 'UTC',
  until timestamptz default 'infinity'
)
returns setof track.action
language sql
stable
parallel safe
begin atomic
  select * from track._journey(track.current_person_id(), my_journey.since, my_journey.until);
end;

comment on function track.my_journey(timestamptz, timestamptz) is $$
Returns the actions of the signed-in person between two times (`until` exclusive), in order of time.
$$;

grant execute on function track.my_journey(timestamptz, timestamptz) to insights_learner;

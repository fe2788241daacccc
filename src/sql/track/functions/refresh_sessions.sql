create or replace function track.refresh_sessions(most_people int default 2000)
returns track.refresh_result
language plpgsql
volatile
-- A definer: it reads the events of all people and writes sessions and page views, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
begin
  perform common.check_count('most_people', refresh_sessions.most_people, 1, 2147483647);
  return track._refresh_sessions(refresh_sessions.most_people);
end;
$$;

comment on function track.refresh_sessions(int) is $$
Refreshes the data that is derived from the events of at most `most_people` people, and queues them for consumers.
These are sessions, page views and engaged times, journeys (`track.step`), presence and sums.
The cost is proportional to the changed periods. The result is the same as that of a computation from scratch, also
after late events and events out of order. Call it until `people` is 0; `track.refresh` also processes the consumers.
Fails when the data of one of them makes it fail; `track.refresh` leaves these people out.
Errors: CF001 for fewer than one person.
$$;

grant execute on function track.refresh_sessions(int) to insights_worker;

create or replace function track._refresh_sessions(most_people int, without bigint[] default '{}')
returns track.refresh_result
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  -- One refresh at a time: two would compute the same sessions.
  perform pg_advisory_xact_lock(hashtext('track.refresh'));
  perform track._refresh_course_presence();
  -- An array, not a join, because the statistics of a queue are often out of date.
  return track._refresh_sessions_of(array(
    select distinct stale.person_id
    from track.stale
    where stale.person_id <> all (_refresh_sessions.without)
    order by stale.person_id
    limit _refresh_sessions.most_people
  ));
end;
$$;

comment on function track._refresh_sessions(int, bigint[]) is $$
Refreshes the data that is derived from the events of at most `most_people` people, in the order of their keys.
`without`: people who stay queued.
$$;

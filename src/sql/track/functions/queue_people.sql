create or replace function track.queue_people(consumer text, people bigint[], since timestamptz[] default null)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  insert into track.changed (person_id, consumer, since, until)
  select entry.person_id, queue_people.consumer, coalesce(entry.since, '-infinity'), 'infinity'
  from unnest(queue_people.people, queue_people.since) as entry (person_id, since)
  where entry.person_id <> 0;
end;
$$;

comment on function track.queue_people(text, bigint[], timestamptz[]) is $$
@behavior -*
Queues people for the refresh of one consumer, with all of their data or that from a time on.
`since`: a time for each of the people, null for all of the data. For a room whose derived data also changes with
something that is not an input of `track.consumer`, such as the time.
$$;

create or replace function track.decisions_changed(people bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  perform track._enqueue(
    'decision',
    coalesce(decisions_changed.people, array(select person.person_id from track.person where person.person_id <> 0))
  );
end;
$$;

comment on function track.decisions_changed(bigint[]) is $$
Queues people whose decisions about purposes changed for the consumers that are derived from decisions; null: all people.
In `privacy.listener`, so that it is called by whatever records decisions.
$$;

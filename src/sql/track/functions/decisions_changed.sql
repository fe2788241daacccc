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
Queues people whose decisions changed for the consumers that are derived from decisions; null: all people.
Registered in `privacy.listener`, and therefore called whenever decisions are recorded or moved.
$$;

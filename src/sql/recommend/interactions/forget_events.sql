create or replace function recommend.forget_events(people bigint[], times timestamptz[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  delete from recommend.interaction
  using (
    select distinct entry.person_id, entry.at
    from unnest(forget_events.people, forget_events.times) as entry (person_id, at)
  ) as gone
  where interaction.person_id = gone.person_id
    and interaction.first_at = gone.at;

  delete from recommend.dismissed_topic
  using (
    select distinct entry.person_id, entry.at
    from unnest(forget_events.people, forget_events.times) as entry (person_id, at)
  ) as gone
  where dismissed_topic.person_id = gone.person_id
    and dismissed_topic.first_at = gone.at;
end;
$$;

comment on function recommend.forget_events(bigint[], timestamptz[]) is $$
@behavior -*
Deletes the interactions and topics whose first event is one of the given people and times, which will be deleted.
Called by `track.forget_import` (see `track.consumer.forget_function`): otherwise the next refresh would keep what they
did as `recommend.taken`, as after the deletion of old events. The refresh computes them again from the events that
are left.
$$;

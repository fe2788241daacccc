create or replace function track._void_statements(source smallint, targets uuid[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_people bigint[];
  v_times timestamptz[];
  v_events uuid[];
begin
  select array_agg(identity.person_id), array_agg(voided.occurred_at), array_agg(event.event_id)
  into v_people, v_times, v_events
  from track.statement as voided
  cross join lateral unnest(voided.event_ids, voided.identity_ids) as event (event_id, identity_id)
  join track.identity on identity.identity_id = event.identity_id
  where voided.source_id = _void_statements.source
    and voided.statement_id = any (_void_statements.targets)
    and not voided.is_voiding
    and not voided.is_voided;

  update track.statement
  set is_voided = true, event_ids = '{}', identity_ids = '{}'
  where statement.source_id = _void_statements.source
    and statement.statement_id = any (_void_statements.targets)
    and not statement.is_voiding
    and not statement.is_voided;

  with deleted as (
    delete from track.event
    using unnest(v_people, v_times, v_events) as voided (person_id, occurred_at, event_id)
    where event.person_id = voided.person_id
      and event.occurred_at = voided.occurred_at
      and event.event_id = voided.event_id
    returning event.person_id, event.occurred_at
  )

  insert into track.stale (person_id, since, until)
  select deleted.person_id, min(deleted.occurred_at), max(deleted.occurred_at)
  from deleted
  group by deleted.person_id, date_trunc('month', deleted.occurred_at, 'UTC');
end;
$$;

comment on function track._void_statements(smallint, uuid[]) is $$
Marks statements as voided, deletes their events, and queues their people for the refresh. Voiding ones stay.
$$;

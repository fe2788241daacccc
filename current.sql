-- Changes of structure since the last release: see migrations/README.md.

/* Journeys by event type. */
create index if not exists step_type on track.step (event_type_id, since);

create or replace function track.export(subject privacy.subject)
returns setof privacy.exported
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return query select * from track._export_identities(subject);
  return query select * from track._export_application(subject);
  return query select * from track._export_events(subject);
  return query select * from track._export_rollups(subject);
  return query select * from track._export_statements(subject);
end;
$$;

comment on function track.export(privacy.subject) is $$
@behavior -*
Returns all data of a person in this room, for `privacy.export_person`.
These are the identities, traits, events, sessions, enrolments, sets, rollups and xAPI statements.
$$;

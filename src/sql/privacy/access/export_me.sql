/* A definer: it reads the tables of all rooms for the signed-in person, and writes the log of exports. */
create or replace function privacy.export_me()
returns jsonb
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_name constant text := nullif(current_setting('insights.person', true), '');
  v_subject privacy.subject;
begin
  if v_name is null then
    perform common.refuse('CF005', 'no person is signed in', 'Sign in first: the export is that of a person.');
  end if;
  v_subject := privacy._subject(v_name);
  -- The name of a browser is not the proof that the token of a user is.
  if not exists (
    select
    from unnest(v_subject.kinds, v_subject.names) as named (kind, name)
    where named.kind = 'user' and named.name = v_name
  ) then
    perform common.refuse('CF002', format('there is no person "%s"', left(v_name, 100)),
      'No data of the signed-in person is stored.');
  end if;
  return privacy._export_document(v_subject);
end;
$$;

comment on function privacy.export_me() is $$
@behavior -mutationField +queryField
Returns all data of the signed-in person as one JSON document (GDPR articles 15 and 20), and logs the export.
The document is that of `privacy.export_person`. Errors: CF005 when no person is signed in, CF002 when no data of the
person is stored, CF008 for more than 256 MB of JSON.
$$;

grant execute on function privacy.export_me() to insights_learner;

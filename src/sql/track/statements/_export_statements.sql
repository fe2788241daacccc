create or replace function track._export_statements(subject privacy.subject)
returns setof privacy.exported
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return next privacy.exported_rows(
    'track.statement',
    (
      select jsonb_agg(
        jsonb_build_object(
          'source', source.name, 'statement', statement.statement, 'is_voided', statement.is_voided
        )
        order by statement.stored_at, statement.statement_id
      )
      from track.statement
      join track.source using (source_id)
      where statement.people && track._subject_keys(subject, true)
    )
  );
  return next privacy.exported_rows(
    'track.statement_attachment',
    (
      select jsonb_agg(
        jsonb_build_object('hash', encode(attached.hash, 'hex'), 'contents', encode(attached.contents, 'base64'))
        order by attached.source_id, attached.hash
      )
      from track.statement_attachment as attached
      where (attached.source_id, attached.hash) in (
        select statement.source_id, decode(named.hash #>> '{}', 'hex')
        from track.statement
        cross join lateral jsonb_path_query(
          statement.statement, '$.**.sha2 ? (@ like_regex "^([0-9a-f][0-9a-f]){28,64}$" flag "i")'
        ) as named (hash)
        where statement.people && track._subject_keys(subject, true)
      )
    )
  );
  return next privacy.exported_rows(
    'track.client_document',
    (
      select jsonb_agg(
        jsonb_build_object(
          'source', source.name, 'kind', document.kind, 'place', document.place,
          'registration', document.registration,
          'content_type', document.content_type, 'contents', encode(document.contents, 'base64'),
          'updated_at', document.updated_at
        )
        order by document.updated_at, document.document_hash
      )
      from track.client_document as document
      join track.source using (source_id)
      where document.person = any (track._subject_keys(subject, false))
    )
  );
end;
$$;

comment on function track._export_statements(privacy.subject) is $$
Returns the statements of a person as they were sent, and her documents, for `track.export`. Contents are in base64.
$$;

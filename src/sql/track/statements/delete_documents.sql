create or replace function track.delete_documents(place jsonb, if_match text default '', if_none_match text default '')
returns int
language plpgsql
volatile
-- A definer: no role may change the documents of a source but with its key.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_source constant smallint := track._reading_source('documents');
  v_deleted int;
begin
  perform track._check_place(delete_documents.place);
  if delete_documents.place ->> 'id' is not null then
    perform pg_advisory_xact_lock(
      hashtext('track.client_document'),
      hashtext(concat_ws(' ', v_source, track._document_hash(delete_documents.place)))
    );
    perform track._check_condition(
      if_match, if_none_match,
      (
        select known.contents
        from track.client_document as known
        where known.source_id = v_source
          and known.document_hash = track._document_hash(delete_documents.place)
      )
    );
    delete from track.client_document as known
    where known.source_id = v_source
      and known.document_hash = track._document_hash(delete_documents.place);
  else
    delete from track.client_document as known
    where known.source_id = v_source
      and known.scope = track._document_scope(delete_documents.place, v_source)
      and (
        delete_documents.place ->> 'registration' is null
        or known.registration = (delete_documents.place ->> 'registration')::uuid
      );
  end if;
  get diagnostics v_deleted = row_count;
  return v_deleted;
end;
$$;

comment on function track.delete_documents(jsonb, text, text) is $$
@behavior -*
Deletes a document that the source of the caller has stored, or without `id` those of an activity and an agent.
`place`, `if_match` and `if_none_match`: as those of `track.store_document`. Returns the number of documents.
Errors: CF005 unless the caller has the key of a server, CF009 for another place, CF010 when the stored document is
another than stated.
$$;

grant execute on function track.delete_documents(jsonb, text, text)
to insights_visitor, insights_admin, insights_worker;

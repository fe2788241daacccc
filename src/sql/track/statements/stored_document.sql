create or replace function track.stored_document(place jsonb)
returns track.document
language plpgsql
volatile
-- A definer: no role may read the documents of a source but with its key.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_source constant smallint := track._reading_source('documents');
  v_document track.document;
begin
  perform track._check_place(stored_document.place);
  select known.content_type, known.contents, known.updated_at into v_document
  from track.client_document as known
  where known.source_id = v_source
    and known.document_hash = track._document_hash(stored_document.place);
  return v_document;
end;
$$;

comment on function track.stored_document(jsonb) is $$
@behavior -*
Returns a document that the source of the caller has stored; null when there is none.
`place`: as that of `track.store_document`. Errors: CF005 unless the caller has the key of a server, CF009 for another
place.
$$;

grant execute on function track.stored_document(jsonb)
to insights_visitor, insights_admin, insights_worker;

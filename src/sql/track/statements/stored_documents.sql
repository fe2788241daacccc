create or replace function track.stored_documents(place jsonb, since timestamptz default null)
returns text[]
language plpgsql
volatile
-- A definer: no role may read the documents of a source but with its key.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_source constant smallint := track._reading_source('documents');
begin
  perform track._check_place(stored_documents.place);
  return array(
    select known.place ->> 'id'
    from track.client_document as known
    where known.source_id = v_source
      and known.scope = track._document_scope(stored_documents.place, v_source)
      and (stored_documents.since is null or known.updated_at > stored_documents.since)
      and (
        stored_documents.place ->> 'registration' is null
        or known.registration = (stored_documents.place ->> 'registration')::uuid
      )
    order by known.updated_at, known.place ->> 'id'
  );
end;
$$;

comment on function track.stored_documents(jsonb, timestamptz) is $$
@behavior -*
Returns the ids of the documents that the source of the caller has stored for an activity and an agent.
`place`: as that of `track.store_document`, without `id`. `since`: those that changed later.
Errors: CF005 unless the caller has the key of a server, CF009 for another place.
$$;

grant execute on function track.stored_documents(jsonb, timestamptz)
to insights_visitor, insights_admin, insights_worker;

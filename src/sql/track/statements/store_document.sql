create or replace function track._merged_document(
  known bytea, contents bytea, known_type text, content_type text
)
returns bytea
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_known jsonb;
  v_new jsonb;
begin
  if known_type ~* '^application/json' and content_type ~* '^application/json' then
    v_known := convert_from(known, 'UTF8')::jsonb;
    v_new := convert_from(contents, 'UTF8')::jsonb;
  end if;
  if jsonb_typeof(v_known) is distinct from 'object' or jsonb_typeof(v_new) is distinct from 'object' then
    perform common.refuse(
      'CF009', 'the stored document or the new one is not a JSON object',
      'POST merges two JSON objects with the content type application/json; PUT replaces a document.'
    );
  end if;
  return convert_to((v_known || v_new)::text, 'UTF8');
end;
$$;

comment on function track._merged_document(bytea, bytea, text, text) is $$
Returns a stored JSON object with the fields of another one. Raises CF009 for other documents.
$$;

create or replace function track.store_document(
  place jsonb,
  contents bytea,
  content_type text,
  merges boolean default false,
  if_match text default '',
  if_none_match text default ''
)
returns void
language plpgsql
volatile
-- A definer: callers may write documents only through this function, which checks whose they are.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_name constant text := track._agent_name(store_document.place -> 'agent');
  v_sender track.message_sender;
  v_known track.client_document;
  v_contents bytea := contents;
begin
  perform track._check_place(store_document.place);
  v_sender := track._sender(clock_timestamp());
  if v_sender.level = 'signed_in' and v_name is distinct from (v_sender.requests[1]).person then
    perform common.refuse('CF005', 'the document is not of the person who is signed in', 'Send her own documents.');
  end if;
  if v_name is not null and exists (
    select
    from privacy.suppressed(
      array[case v_sender.level when 'anonymous' then 'anonymous' else 'user' end], array[v_name]
    ) as suppressed
    where suppressed.lifted_at is null
  )
  then
    perform common.refuse('CF005', 'the person was erased', 'Nothing of her is stored until she consents again.');
  end if;
  perform pg_advisory_xact_lock(
    hashtext('track.client_document'),
    hashtext(concat_ws(' ', v_sender.source_id, track._document_hash(store_document.place)))
  );
  select * into v_known
  from track.client_document as known
  where known.source_id = v_sender.source_id
    and known.document_hash = track._document_hash(store_document.place);
  perform track._check_condition(if_match, if_none_match, v_known.contents);
  if store_document.place ->> 'kind' <> 'state' and not merges and concat(if_match, if_none_match) = '' then
    if v_known.source_id is not null then
      perform common.refuse(
        'CF010', 'the profile exists already', 'State the ETag of the profile that it replaces in If-Match.'
      );
    end if;
    perform common.refuse(
      'CF009', 'the request does not state whether the profile exists', 'Send If-None-Match: * for a new profile.'
    );
  end if;
  if v_known.source_id is null then
    if (
      select count(*)
      from track.client_document as other
      where other.source_id = v_sender.source_id
        and other.scope = track._document_scope(store_document.place, v_sender.source_id)
    ) >= 1000 then
      perform common.refuse(
        'CF008', 'there are 1000 documents for the same activity and agent', 'Delete those that are no longer used.'
      );
    end if;
  elsif merges then
    v_contents := track._merged_document(v_known.contents, contents, v_known.content_type, content_type);
  end if;
  if length(v_contents) > 4000000 or length(content_type) > 200 then
    perform common.refuse(
      'CF008', format('the document has %s bytes', length(v_contents)),
      'A document has at most 4000000 bytes, and its media type 200 characters.'
    );
  end if;
  if num_nulls(v_contents, content_type) > 0 then
    perform common.refuse('CF001', 'contents or content_type is null', 'Give the document and its media type.');
  end if;

  insert into track.client_document (
    source_id, document_hash, kind, scope, person, registration, place, content_type, contents, updated_at
  )
  values (
    v_sender.source_id, track._document_hash(store_document.place), store_document.place ->> 'kind',
    track._document_scope(store_document.place, v_sender.source_id),
    (track._person_keys(v_name, v_sender.level, false))[1],
    (store_document.place ->> 'registration')::uuid, store_document.place, content_type, v_contents, clock_timestamp()
  )
  on conflict on constraint client_document_pkey do update
  set content_type = excluded.content_type, contents = excluded.contents, updated_at = excluded.updated_at;
end;
$$;

comment on function track.store_document(jsonb, bytea, text, boolean, text, text) is $$
@behavior -*
Stores a document of an xAPI client: the state of an activity, or a profile.
`place`: `{kind, activity, agent, registration, id}`. `merges`: two JSON objects become one. `if_match` and
`if_none_match` are the headers; the ETag is the SHA-256 of the contents, its first 40 digits.
Errors: CF001 for null contents, CF005 for a key that may not be used or for another person, CF008 for more than 4 MB or
1000 documents of an agent and activity, CF009 for documents that cannot be merged and for a new profile without a
condition, CF010 when the stored document is another than stated, and for a profile that exists when nothing is stated.
$$;

grant execute on function track.store_document(jsonb, bytea, text, boolean, text, text)
to insights_visitor, insights_learner, insights_admin, insights_worker;

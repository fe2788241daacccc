create or replace function track._document_hash(place jsonb)
returns uuid
language sql
stable
parallel safe
set search_path to pg_catalog, pg_temp
return left(
  encode(
    sha256(
      convert_to(
        jsonb_build_array(
          place -> 'kind', place -> 'activity', track._agent_identifier(place -> 'agent'),
          lower(place ->> 'registration'), place -> 'id'
        )::text,
        'UTF8'
      )
    ),
    'hex'
  ),
  32
)::uuid;

comment on function track._document_hash(jsonb) is $$
Returns the hash of the place of a document: `kind`, `activity`, `agent`, `registration` and `id`.
$$;

create or replace function track._document_scope(place jsonb, source smallint)
returns bigint
language sql
stable
parallel safe
set search_path to pg_catalog, pg_temp
return track._statement_key(
  source, 'documents',
  jsonb_build_array(
    place -> 'kind', place -> 'activity', track._agent_identifier(place -> 'agent')
  )::text
);

comment on function track._document_scope(jsonb, smallint) is $$
Returns the hash of the kind, the activity and the agent of a document.
$$;

create or replace function track._check_place(place jsonb)
returns void
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  if _check_place.place is null or pg_column_size(_check_place.place) > 20000
    or coalesce(_check_place.place ->> 'kind', '') not in ('state', 'agent', 'activity')
  then
    perform common.refuse(
      'CF009', 'the place of the document is invalid',
      'Send {"kind": "state" | "agent" | "activity", "activity", "agent", "registration", "id"} of at most 20000 bytes.'
    );
  end if;
end;
$$;

comment on function track._check_place(jsonb) is $$
Refuses the place of a document that is too long, or of another kind.
$$;

create or replace function track._check_condition(if_match text, if_none_match text, known bytea)
returns void
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_tag constant text := left(encode(sha256(known), 'hex'), 40);
begin
  if _check_condition.if_match <> '' and (
      v_tag is null or _check_condition.if_match <> '*' and strpos(_check_condition.if_match, v_tag) = 0
    )
    or _check_condition.if_none_match <> '' and v_tag is not null and (
      _check_condition.if_none_match = '*' or strpos(_check_condition.if_none_match, v_tag) > 0
    )
  then
    perform common.refuse(
      'CF010', 'the document is not the one that the request states', 'Read it again, and state its ETag in If-Match.'
    );
  end if;
end;
$$;

comment on function track._check_condition(text, text, bytea) is $$
Raises CF010 unless the contents of a document are as the headers If-Match and If-None-Match state.
`known`: null when no document is stored.
$$;

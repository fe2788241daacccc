create or replace function track._subject_keys(subject privacy.subject, is_actor boolean)
returns bigint[]
language sql
stable
parallel safe
set search_path to pg_catalog, pg_temp
return array(
  select (track._person_keys(named.name, case named.kind when 'user' then 'server' else 'anonymous' end, true))[
    case when is_actor then 2 else 1 end
  ]
  from unnest(subject.kinds, subject.names) as named (kind, name)
);

comment on function track._subject_keys(privacy.subject, boolean) is $$
Returns the hashes of the names of a person in statements: those of actors, or those of all people.
$$;

create or replace function track._erase_statements(subject privacy.subject)
returns setof privacy.erased
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_rows bigint;
  v_sources smallint[];
  v_hashes text[];
begin
  return next privacy.erase_rows(
    'track.client_document', 'person', track._subject_keys(subject, false)
  );
  with deleted as (
    delete from track.statement
    where statement.people && track._subject_keys(subject, true)
      -- A group has other actors: it stays, without her.
      and not exists (
        select
        from track._statement_agents(statement.statement) as named
        where named.is_actor
          and named.name <> all (subject.names)
      )
    returning statement.source_id, statement.statement
  )

  select
    count(distinct deleted.statement ->> 'id'),
    array_agg(deleted.source_id) filter (where attached.hash is not null),
    array_agg(attached.hash #>> '{}') filter (where attached.hash is not null)
  into v_rows, v_sources, v_hashes
  from deleted
  left join lateral jsonb_path_query(deleted.statement, '$.**.sha2') as attached (hash) on true;
  return next row('track.statement', v_rows, 'deleted')::privacy.erased;

  update track.statement as other
  set
    statement = replaced.statement,
    keys = track._statement_keys(replaced.statement, other.source_id),
    people = track._people_keys(replaced.statement, replaced.level),
    bytes = octet_length(replaced.statement::text),
    event_ids = replaced.event_ids,
    identity_ids = replaced.identity_ids
  from (
    select
      named.source_id, named.statement_id, source.level,
      track._without_agents(named.statement, subject.names) as statement,
      kept.event_ids, kept.identity_ids
    from track.statement as named
    join track.source using (source_id)
    cross join lateral (
      select
        coalesce(array_agg(event.event_id), '{}') as event_ids,
        coalesce(array_agg(event.identity_id), '{}') as identity_ids
      from unnest(named.event_ids, named.identity_ids) as event (event_id, identity_id)
      where event.identity_id <> all (subject.identity_ids)
    ) as kept
    where named.people && track._subject_keys(subject, false)
  ) as replaced
  where other.source_id = replaced.source_id
    and other.statement_id = replaced.statement_id;
  get diagnostics v_rows = row_count;
  return next row('track.statement', v_rows, 'cleared')::privacy.erased;

  delete from track.statement_attachment as attached
  using (
    select distinct entry.source_id, entry.hash from unnest(v_sources, v_hashes) as entry (source_id, hash)
  ) as former
  where attached.source_id = former.source_id
    and attached.hash = case when former.hash ~ '^[0-9a-f]{56,128}$' then decode(former.hash, 'hex') end
    and not exists (
      select
      from track.statement
      where statement.source_id = attached.source_id
        and statement.keys @> array[track._statement_key(attached.source_id, 'attachment', former.hash)]
    );
  get diagnostics v_rows = row_count;
  return next row('track.statement_attachment', v_rows, 'deleted')::privacy.erased;
end;
$$;

comment on function track._erase_statements(privacy.subject) is $$
Deletes the statements and documents of a person, and replaces her in the statements of others.
Attachments that no statement has any more are deleted.
$$;

create or replace function track.statement_attachments(hashes text[])
returns setof track.attachment
language plpgsql
volatile
-- A definer: no role may read the statements of a source but with its key.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_source constant smallint := track._reading_source('attachments');
begin
  if cardinality(statement_attachments.hashes) > 10000 then
    perform common.refuse(
      'CF008', format('there are %s hashes', cardinality(statement_attachments.hashes)), 'Give at most 10000.'
    );
  end if;
  return query
  select encode(stored.hash, 'hex'), stored.contents
  from track.statement_attachment as stored
  where stored.source_id = v_source
    and stored.hash = any (
      array(
        select decode(sent.hash, 'hex')
        from unnest(statement_attachments.hashes) as sent (hash)
        where sent.hash ~ '^[0-9a-f]{56,128}$'
      )
    );
end;
$$;

comment on function track.statement_attachments(text[]) is $$
@behavior -*
Returns the contents of attachments of statements that the source of the caller has sent.
`hashes`: values of `sha2`, at most 10,000. Errors: CF005 unless the caller has the key of a server, CF008 for more.
$$;

grant execute on function track.statement_attachments(text[])
to insights_visitor, insights_admin, insights_worker;

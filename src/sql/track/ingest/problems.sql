create or replace function track._problems(messages track.parsed_message[])
returns jsonb
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return (
    select coalesce(
      jsonb_agg(
        jsonb_build_object(
          'index', message.position,
          'messageId', left(message.message_id, 256),
          'code', (message.problem).code,
          'message', (message.problem).message,
          'hint', (message.problem).hint
        )
        order by message.position
      ),
      '[]'
    )
    from unnest(messages) as message
    where (message.problem).code is not null
  );
end;
$$;

comment on function track._problems(track.parsed_message[]) is $$
Returns the errors of a batch as `track.ingest` does, one per rejected message.
$$;

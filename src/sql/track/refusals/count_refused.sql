create or replace function track.count_refused(source text, level text, code text, messages bigint)
returns void
language plpgsql
volatile
-- A definer: no role may write track.refusal.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  if count_refused.messages is null or count_refused.messages < 1 then
    perform common.refuse(
      'CF001', format('messages is %s', coalesce(count_refused.messages::text, 'null')), 'Give 1 or more.'
    );
  end if;
  if nullif(count_refused.source, '') is null or length(count_refused.source) > 100
    or count_refused.code is null or count_refused.code !~ '^[A-Z0-9]{5}$'
    or count_refused.level is null or count_refused.level not in ('server', 'signed_in', 'anonymous')
  then
    perform common.refuse(
      'CF001',
      format(
        'the source is "%s", the level "%s", the code "%s"', left(count_refused.source, 100),
        left(count_refused.level, 100), left(count_refused.code, 100)
      ),
      'Give a source of 1 to 100 characters, the level server, signed_in or anonymous, and a SQLSTATE.'
    );
  end if;
  insert into track.refusal (source_id, code, day, backend, messages)
  values (
    track._source_id(count_refused.source, count_refused.level), count_refused.code, (now() at time zone 'UTC')::date,
    pg_backend_pid(), count_refused.messages
  )
  on conflict on constraint refusal_pkey do update
  set messages = refusal.messages + excluded.messages;
end;
$$;

comment on function track.count_refused(text, text, text, bigint) is $$
@behavior -mutationField
Counts messages that were refused before they reached `track.ingest`, such as requests above a rate limit.
The API calls it from time to time. Errors: CF001 for an invalid argument.
$$;

grant execute on function track.count_refused(text, text, text, bigint) to insights_worker;

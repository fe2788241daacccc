create or replace function track._statement_messages(entries jsonb, level text)
returns jsonb
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
begin
  return (
    select coalesce(
      jsonb_agg(
        (entry.value -> 'event') || jsonb_build_object(
          'messageId', (entry.value #>> '{statement,id}') || coalesce(':' || person.place, ''),
          case _statement_messages.level when 'anonymous' then 'anonymousId' else 'userId' end,
          track._agent_name(person.agent),
          'timestamp', entry.value #> '{statement,timestamp}',
          -- A clock that is ahead: the event is at its arrival.
          'sentAt',
          case
            when (entry.value #>> '{statement,timestamp}')::timestamptz > clock_timestamp()
              then entry.value #> '{statement,timestamp}'
          end
        )
        order by entry.ordinality, person.place
      ),
      '[]'
    )
    from jsonb_array_elements(_statement_messages.entries) with ordinality as entry
    cross join lateral (
      select entry.value #> '{statement,actor}' as agent, null::bigint as place
      where coalesce(entry.value #>> '{statement,actor,objectType}', 'Agent') = 'Agent'
      union all
      select member.value, member.ordinality
      from jsonb_path_query(entry.value, '$.statement.actor.member[*]') with ordinality as member (value, ordinality)
    ) as person
    where jsonb_typeof(entry.value -> 'event') = 'object'
  );
end;
$$;

comment on function track._statement_messages(jsonb, text) is $$
Returns the messages of statements for `track.ingest`: one for its actor, or one for each member of a group.
$$;

create or replace function track._mentioned_people(entries jsonb)
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
          'type', 'identify', 'messageId', mentioned.id || ':' || mentioned.name, 'userId', mentioned.name
        )
      ),
      '[]'
    )
    from (
      select named.name, min(entry.value #>> '{statement,id}') as id
      from jsonb_array_elements(_mentioned_people.entries) as entry
      cross join lateral track._statement_agents(entry.value -> 'statement') as named
      where not named.is_actor
        and length(named.name) <= 200
        and not exists (
          select
          from track.identity
          where identity.external_id = named.name
            and identity.kind = 'user'
        )
      group by named.name
    ) as mentioned
  );
end;
$$;

comment on function track._mentioned_people(jsonb) is $$
Returns messages that enter people whom statements mention, such as an instructor, and that are not known yet.
So their requests for access and erasure find these statements.
$$;

create or replace function track._check_statements(batch jsonb)
returns void
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_invalid text;
begin
  if pg_column_size(_check_statements.batch) > 16000000 then
    perform common.refuse(
      'CF008', format('the statements have %s bytes', pg_column_size(_check_statements.batch)),
      'Send at most 16000000 bytes; split the batch.'
    );
  end if;
  if jsonb_typeof(_check_statements.batch -> 'statements') is distinct from 'array' then
    perform common.refuse(
      'CF009', 'the batch has no list "statements"', 'Send {"statements": [{"statement": …, "event": …}]}.'
    );
  end if;
  if jsonb_array_length(_check_statements.batch -> 'statements') > 1000 then
    perform common.refuse(
      'CF008', format('there are %s statements', jsonb_array_length(_check_statements.batch -> 'statements')),
      'Send at most 1000; split the batch.'
    );
  end if;
  select coalesce(entry.value #>> '{statement,id}', 'null') into v_invalid
  from jsonb_array_elements(_check_statements.batch -> 'statements') as entry
  where coalesce(
      not entry.value #>> '{statement,id}'
        ~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$',
      true
    )
    or coalesce(jsonb_typeof(entry.value #> '{statement,actor}') <> 'object', true)
    or coalesce(jsonb_typeof(entry.value #> '{statement,object}') <> 'object', true)
  limit 1;
  if v_invalid is not null then
    perform common.refuse(
      'CF009', format('the statement "%s" is incomplete', left(v_invalid, 100)),
      'It needs an id (a UUID in lower case), an actor and an object.'
    );
  end if;
  select entry.value #>> '{statement,id}' into v_invalid
  from jsonb_array_elements(_check_statements.batch -> 'statements') as entry
  group by entry.value #>> '{statement,id}'
  having count(*) > 1
  limit 1;
  if v_invalid is not null then
    perform common.refuse('CF009', format('two statements have the id "%s"', v_invalid), 'Each has an id of its own.');
  end if;
end;
$$;

comment on function track._check_statements(jsonb) is $$
Refuses a batch of statements that is too large, or that `track.store_statements` cannot read.
$$;

create or replace function track._refuse_conflicts(entries jsonb, source smallint)
returns void
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_conflict text;
begin
  select entry.value #>> '{statement,id}' into v_conflict
  from jsonb_array_elements(_refuse_conflicts.entries) as entry
  join track.statement as known
    on known.source_id = _refuse_conflicts.source
    and known.statement_id = (entry.value #>> '{statement,id}')::uuid
  where known.statement - '{stored,authority,version,timestamp}'::text[]
      <> (entry.value -> 'statement') - '{stored,authority,version,timestamp}'::text[]
    or known.statement -> 'timestamp' <> entry.value #> '{statement,timestamp}'
  limit 1;
  if v_conflict is not null then
    perform common.refuse(
      'CF010', format('another statement has the id "%s"', v_conflict),
      'Statements cannot be changed. Send a new one with an id of its own, or void the stored one.'
    );
  end if;
end;
$$;

comment on function track._refuse_conflicts(jsonb, smallint) is $$
Raises CF010 when a statement has the id of another one that is stored.
$$;

create or replace function track._new_statements(entries jsonb, source smallint, stored_at timestamptz)
returns jsonb
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
begin
  return (
    select jsonb_agg(
      entry.value || jsonb_build_object(
        'statement',
        jsonb_build_object('timestamp', stored.at) || (entry.value -> 'statement')
          || jsonb_build_object('stored', stored.at),
        'event',
        case
          when not exists (
            select
            from track.statement as voiding
            where voiding.source_id = _new_statements.source
              and voiding.reference_id = (entry.value #>> '{statement,id}')::uuid
              and voiding.is_voiding
          )
            then entry.value -> 'event'
        end
      )
      order by entry.ordinality
    )
    from jsonb_array_elements(_new_statements.entries) with ordinality as entry
    cross join lateral (
      select
        to_char(
          _new_statements.stored_at + (entry.ordinality - 1) * interval '1 microsecond', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'
        ) as at
    ) as stored
    where not exists (
      select
      from track.statement as known
      where known.source_id = _new_statements.source
        and known.statement_id = (entry.value #>> '{statement,id}')::uuid
    )
  );
end;
$$;

comment on function track._new_statements(jsonb, smallint, timestamptz) is $$
Returns the statements of a batch that are not stored yet, with their times; without events those that are voided.
$$;

create or replace function track._accepted_statements(
  entries jsonb, messages jsonb, source smallint, stored_at timestamptz, out accepted jsonb
)
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_result track.ingest_result;
  v_problem record;
begin
  if jsonb_array_length(_accepted_statements.messages) > 0 then
    v_result := track.ingest(_accepted_statements.messages);
  end if;
  -- A person who has not consented, or was erased: no client could do anything else about it.
  select
    error.value ->> 'code' as code, error.value ->> 'message' as message, error.value ->> 'hint' as hint,
    _accepted_statements.messages #>> array[error.value ->> 'index', 'messageId'] as id
  into v_problem
  from jsonb_array_elements(coalesce(v_result.errors, '[]')) as error
  where error.value ->> 'code' <> 'CF005'
  limit 1;
  if v_problem.code is not null then
    perform common.refuse(
      v_problem.code, format('statement %s: %s', v_problem.id, left(v_problem.message, 300)), v_problem.hint
    );
  end if;

  with stored as (
    select
      left(event.message_id, 36) as id, jsonb_agg(event.event_id) as events, jsonb_agg(event.identity_id) as identities,
      min(event.occurred_at) as occurred_at
    from track._stored_events(
      _accepted_statements.messages, _accepted_statements.source, _accepted_statements.stored_at
    ) as event
    group by left(event.message_id, 36)
  ),

  expected as (
    select left(message.value ->> 'messageId', 36) as id, count(*) as messages
    from jsonb_array_elements(_accepted_statements.messages) as message
    where message.value ->> 'type' <> 'identify'
    group by left(message.value ->> 'messageId', 36)
  )

  select jsonb_agg(
    entry.value || jsonb_build_object(
      'events', coalesce(stored.events, '[]'), 'identities', coalesce(stored.identities, '[]'),
      'occurred_at', stored.occurred_at
    )
    order by entry.ordinality
  )
  into _accepted_statements.accepted
  from jsonb_array_elements(_accepted_statements.entries) with ordinality as entry
  left join expected on expected.id = entry.value #>> '{statement,id}'
  left join stored on stored.id = entry.value #>> '{statement,id}'
  where coalesce(expected.messages, 0) = coalesce(jsonb_array_length(stored.events), 0);
end;
$$;

comment on function track._accepted_statements(jsonb, jsonb, smallint, timestamptz) is $$
Stores the events of statements. Returns the statements whose people may be stored, with their events.
Raises the error of the first message that is refused for another reason.
$$;

create or replace function track.store_statements(batch jsonb)
returns int
language plpgsql
volatile
-- A definer: callers may write statements only through this function, which checks whose they are.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_sender track.message_sender;
  v_stored_at timestamptz;
  v_entries jsonb;
  v_messages jsonb;
  v_names text[];
  v_suppressed text[];
  v_stored int;
begin
  perform track._check_statements(store_statements.batch);
  v_sender := track._sender(clock_timestamp());
  -- One batch of a source at a time, so that its statements are committed in the order of `stored_at`.
  perform pg_advisory_xact_lock(hashtext('track.statement'), v_sender.source_id);
  v_stored_at := greatest(
    clock_timestamp(),
    (
      select max(statement.stored_at) + interval '1 microsecond'
      from track.statement
      where statement.source_id = v_sender.source_id
    )
  );
  v_entries := store_statements.batch -> 'statements';
  perform track._refuse_conflicts(v_entries, v_sender.source_id);
  v_entries := track._new_statements(v_entries, v_sender.source_id, v_stored_at);
  if v_entries is null then
    return 0;
  end if;
  if v_sender.level <> 'server' and exists (
    select
    from jsonb_array_elements(v_entries) as entry
    where entry.value #>> '{statement,verb,id}' = 'http://adlnet.gov/expapi/verbs/voided'
  )
  then
    perform common.refuse('CF005', 'this key may not void statements', 'Use a key of the level server.');
  end if;
  v_messages := track._statement_messages(v_entries, v_sender.level);
  if v_sender.level = 'server' then
    v_messages := v_messages || track._mentioned_people(v_entries);
  end if;
  if v_sender.level = 'signed_in' and exists (
    select
    from jsonb_array_elements(v_messages) as message
    where message.value ->> 'userId' <> (v_sender.requests[1]).person
  )
  then
    perform common.refuse(
      'CF005', 'a statement is about another person', 'Send statements of the person who is signed in.'
    );
  end if;

  v_entries := coalesce(track._accepted_statements(v_entries, v_messages, v_sender.source_id, v_stored_at), '[]');
  v_names := array(
    select distinct named.name
    from jsonb_array_elements(v_entries) as entry
    cross join lateral track._statement_agents(entry.value -> 'statement') as named
    where named.name is not null
  );
  v_suppressed := array(
    select suppressed.name
    from privacy.suppressed(
      array_fill(case v_sender.level when 'anonymous' then 'anonymous' else 'user' end, array[cardinality(v_names)]),
      v_names
    ) as suppressed
    where suppressed.lifted_at is null
  );

  insert into track.statement (
    source_id, statement_id, stored_at, statement, keys, people, reference_id, is_voiding, is_voided, bytes,
    attachment_bytes, occurred_at, event_ids, identity_ids
  )
  select
    v_sender.source_id, (kept.statement ->> 'id')::uuid, (kept.statement ->> 'stored')::timestamptz, kept.statement,
    track._statement_keys(kept.statement, v_sender.source_id),
    track._people_keys(kept.statement, v_sender.level),
    case kept.statement #>> '{object,objectType}'
      when 'StatementRef' then (kept.statement #>> '{object,id}')::uuid
    end,
    coalesce(
      kept.statement #>> '{verb,id}' = 'http://adlnet.gov/expapi/verbs/voided'
        and kept.statement #>> '{object,objectType}' = 'StatementRef',
      false
    ),
    -- Voided by one that arrived before.
    exists (
      select
      from track.statement as voiding
      where voiding.source_id = v_sender.source_id
        and voiding.reference_id = (kept.statement ->> 'id')::uuid
        and voiding.is_voiding
    )
    and coalesce(kept.statement #>> '{verb,id}' <> 'http://adlnet.gov/expapi/verbs/voided', true),
    octet_length(kept.statement::text),
    coalesce((kept.entry ->> 'attachment_bytes')::int, 0),
    (kept.entry ->> 'occurred_at')::timestamptz,
    array(select jsonb_array_elements_text(kept.entry -> 'events'))::uuid[],
    array(select jsonb_array_elements_text(kept.entry -> 'identities'))::bigint[]
  from (
    select
      entry.value as entry,
      case
        when v_suppressed = '{}' then entry.value -> 'statement'
        else track._without_agents(entry.value -> 'statement', v_suppressed)
      end as statement
    from jsonb_array_elements(v_entries) as entry
  ) as kept;
  get diagnostics v_stored = row_count;

  insert into track.statement_attachment (source_id, hash, contents)
  select v_sender.source_id, decode(sent.key, 'hex'), decode(sent.value, 'base64')
  from jsonb_each_text(coalesce(store_statements.batch -> 'attachments', '{}')) as sent
  where exists (
    select
    from track.statement
    where statement.source_id = v_sender.source_id
      and statement.keys @> array[track._statement_key(v_sender.source_id, 'attachment', sent.key)]
  )
  on conflict (source_id, hash) do nothing;

  perform track._void_statements(
    v_sender.source_id,
    array(
      select voiding.reference_id
      from jsonb_array_elements(v_entries) as entry
      join track.statement as voiding
        on voiding.source_id = v_sender.source_id
        and voiding.statement_id = (entry.value #>> '{statement,id}')::uuid
      where voiding.is_voiding
    )
  );
  return v_stored;
end;
$$;

comment on function track.store_statements(batch jsonb) is $$
@behavior -*
Stores xAPI statements with their events, all of them or none, and returns how many were new.
`batch`: `{statements: [{statement, event, attachment_bytes}], attachments: {sha2: base64}}`. `event` is the message for
`track.ingest`, without the person, its id and time; null for a statement without one. The caller has validated the
statements against xAPI 1.0.3.
A statement of a person who has not consented or was erased is not stored; such a person in another role is replaced. A
voided statement stays, without its events.
Errors: CF005 for a key that may not be used, a statement about another person, or the voiding by a key that is not of
the level `server`; CF008 for more than 1000 statements or 16 MB, CF009 for a batch without statements, CF010 for a
statement with the id of another one; and those of the messages.
$$;

grant execute on function track.store_statements(jsonb)
to insights_visitor, insights_learner, insights_admin, insights_worker;

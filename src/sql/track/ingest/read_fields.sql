create or replace function track._read_fields(
  batch track.message_batch,
  received_at timestamptz,
  sender track.message_sender,
  doubtful boolean
)
returns setof track.message_fields
language plpgsql
stable
parallel restricted
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
declare
  v_is_marked constant boolean := track._holds_extreme_number(batch.messages);
  v_messages constant jsonb := case
    when v_is_marked then track._mark_extreme_numbers(batch.messages)
    else batch.messages
  end;
  -- The record of a message that is not an object is empty.
  v_objects constant jsonb := case
    when jsonb_path_exists(v_messages, 'strict $[*] ? (@.type() != "object")')
      then (
        select jsonb_agg(case jsonb_typeof(message) when 'object' then message else '{}' end order by ordinality)
        from jsonb_array_elements(v_messages) with ordinality as entry (message, ordinality)
      )
    else v_messages
  end;
  v_count constant int := jsonb_array_length(v_messages);
  v_stated bigint;
  -- Of each message, the statements of its request.
  v_callers text[];
  v_browsers uuid[];
  v_gpc boolean[];
  v_dnt boolean[];
  v_agents text[];
begin
  v_stated := (select sum(greatest(coalesce(request.messages, v_count), 0)) from unnest(sender.requests) as request);
  if coalesce(v_stated, 0) <> v_count then
    perform common.refuse(
      'CF009',
      format('the requests have %s messages, the batch has %s', coalesce(v_stated, 0), v_count),
      'Give the number of messages of each request in insights.requests.'
    );
  end if;
  select
    array_agg(request.person order by request.ordinality), array_agg(request.browser order by request.ordinality),
    array_agg(request.sends_gpc order by request.ordinality), array_agg(request.sends_dnt order by request.ordinality),
    array_agg(request.user_agent order by request.ordinality)
  into v_callers, v_browsers, v_gpc, v_dnt, v_agents
  from unnest(sender.requests) with ordinality as request
  cross join lateral generate_series(1, coalesce(request.messages, v_count));
  return query
  with read as (
    select entry.*
    -- Each message with its fields, all of them read in one pass.
    from rows from (
      jsonb_array_elements(v_messages),
      jsonb_to_recordset(v_objects) as (
        type text, "messageId" text, "userId" text, "anonymousId" text, "previousId" text, event text, name jsonb,
        properties jsonb, traits jsonb, context jsonb, "originalTimestamp" text, timestamp text, "sentAt" text,
        "receivedAt" text
      ),
      unnest(v_callers, v_browsers, v_gpc, v_dnt, v_agents)
    ) with ordinality as entry (
      message, type, message_id, user_id, anonymous_id, previous_id, event, name, properties, traits, context,
      original_timestamp, stated_timestamp, sent_at, received_at, caller, browser, sends_gpc, sends_dnt, user_agent,
      place
    )
  ),

  completed as (
    select
      read.*,
      coalesce(read.original_timestamp, read.stated_timestamp) as original_text,
      coalesce(read.sent_at, batch.sent_at) as sent_text,
      case when sender.is_trusted then read.received_at end as received_text,
      case
        when batch.context is null then read.context
        else batch.context || case jsonb_typeof(read.context) when 'object' then read.context else '{}' end
      end as whole_context
    from read
  ),

  timed as materialized (
    select
      completed.*,
      track._read_time(original_text, doubtful) as original_at,
      track._read_time(sent_text, doubtful) as parsed_sent_at,
      coalesce(track._read_time(received_text, doubtful), _read_fields.received_at) as arrived_at
    from completed
  )

  select
    place::int - 1,
    message,
    v_is_marked and type is null and message ? 'extreme',
    type,
    message_id,
    nullif(user_id, ''),
    nullif(anonymous_id, ''),
    nullif(previous_id, ''),
    event,
    name,
    properties,
    traits,
    whole_context,
    original_text,
    sent_text,
    original_at,
    parsed_sent_at,
    arrived_at,
    track._correct_clock(
      arrived_at, sent_text, parsed_sent_at, original_text, original_at, sender.clock_tolerance
    ),
    caller,
    browser,
    sends_gpc,
    sends_dnt,
    user_agent
  from timed;
end;
$$;

comment on function track._read_fields(track.message_batch, timestamptz, track.message_sender, boolean) is $$
Returns the fields of each message, with the context of the batch, corrected times, and what its request states.
`doubtful`: a time in the batch is known to be invalid; otherwise an invalid time raises an error.
$$;

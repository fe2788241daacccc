/*
 * A definer: callers may write events only through this function, which checks each message.
 * Without just-in-time compilation, which would take seconds for statements that run for milliseconds.
 */
create or replace function track.ingest(batch jsonb)
returns track.ingest_result
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_batch constant track.message_batch := track._read_batch(ingest.batch);
  v_received_at constant timestamptz := clock_timestamp();
  v_sender constant track.message_sender := track._sender(v_received_at);
  v_messages track.parsed_message[];
  -- The messages with their people, of which the request or the message has an opt-out signal.
  v_signalled track.parsed_message[];
  -- Messages that state a date of birth. It is stored without consent, since it decides who can give it.
  v_born track.parsed_message[];
  v_settled record;
  v_links boolean;
  v_traits boolean;
  v_decisions boolean;
  v_browsers boolean;
  v_births boolean;
  v_opts_out boolean;
  v_refused int[];
  v_findings track.finding[];
  v_bots text[];
  v_result track.ingest_result;
begin
  -- An erasure waits for it before it deletes names of items and event types that nobody uses.
  perform pg_advisory_xact_lock_shared(hashtext('track.ingest'));
  v_messages := track._parse_messages(v_batch, v_received_at, v_sender);
  v_messages := track._verify_browsers(v_messages, v_sender);
  if exists (select from privacy.suppression) then
    v_messages := track._refuse_suppressed(v_messages, v_sender);
  end if;
  select
    bool_or(message.type in ('identify', 'alias')),
    bool_or(message.traits is not null),
    bool_or(message.event_name = 'Segment Consent Preference Updated'),
    bool_or(message.identity_kind = 'anonymous'),
    bool_or(message.birth_date is not null),
    bool_or(message.opts_out or message.sends_gpc or message.sends_dnt)
  into v_links, v_traits, v_decisions, v_browsers, v_births, v_opts_out
  from unnest(v_messages) as message
  where message.problem is null;
  if v_links then
    v_messages := track._limit_identities(v_messages);
  end if;
  if v_opts_out then
    v_signalled := array(
      select message
      from unnest(v_messages) as message
      where message.opts_out
        or message.sends_gpc
        or message.sends_dnt
    );
  end if;
  if v_births then
    v_born := array(
      select message
      from unnest(v_messages) as message
      where message.birth_date is not null
        and message.problem is null
    );
  end if;
  v_messages := track._ask_consent(v_messages);
  if v_sender.personal_data = 'refuse' or v_sender.bots = 'refuse' then
    v_messages := track._refuse_contents(v_messages, v_sender);
  end if;
  v_result.errors := track._problems(v_messages);
  v_result.rejected := jsonb_array_length(v_result.errors);
  if v_result.rejected > 0 then
    perform track._count_refused(v_messages, v_batch.messages, v_sender.source_id, v_received_at);
  end if;

  v_result.duplicates := coalesce(cardinality(v_messages), 0) - v_result.rejected;
  if v_births then
    v_refused := array(select message.position from unnest(v_messages) as message where message.problem is not null);
  end if;
  v_messages := track._store_messages(v_messages, v_sender.source_id);
  if v_births then
    -- Without duplicates.
    v_born := array(
      select born
      from unnest(v_born) as born
      where born.position = any (v_refused)
        or born.position in (select message.position from unnest(v_messages) as message)
    );
    v_births := v_born <> '{}';
  end if;
  v_result.accepted := cardinality(v_messages);
  v_result.duplicates := v_result.duplicates - v_result.accepted;
  if v_result.accepted = 0 and v_signalled is null and v_births is not true then
    return v_result;
  end if;

  select reduced.minimised, reduced.findings, reduced.bots
  into v_messages, v_findings, v_bots
  from track._minimise(v_messages, v_sender) as reduced;
  v_bots := case when v_sender.bots = 'exclude' and v_bots <> '{}' then track._new_browsers(v_bots) end;

  -- Months first: creating a partition waits for transactions that have inserted items or event types, so that this
  -- transaction must not have inserted any before.
  perform track._enter_months(v_messages);
  perform track._refuse_old_names();
  perform track._enter_people_of(v_messages);
  if v_signalled is not null then
    perform track._enter_people(array_agg('user'::text), array_agg(message.external_id))
    from unnest(v_signalled) as message
    where message.identity_kind = 'user'
      and message.problem is null;
  end if;
  if v_births then
    perform track._enter_people(array_agg('user'::text), array_agg(born.external_id))
    from unnest(v_born) as born;
  end if;
  perform track._enter_event_types(v_messages);
  perform track._enter_items(v_messages);

  select settled.* into v_settled
  from track._settle_messages(
    v_messages, v_signalled, v_born, v_sender, coalesce(v_links, false), v_browsers
  ) as settled;
  v_messages := v_settled.messages;
  v_signalled := v_settled.signalled;
  v_born := v_settled.born;
  if v_settled.erased <> '{}' then
    perform track._count_refused(v_settled.erased, v_batch.messages, v_sender.source_id, v_received_at);
    v_result.errors := v_result.errors || track._problems(v_settled.erased);
    v_result.rejected := v_result.rejected + cardinality(v_settled.erased);
    v_result.accepted := v_result.accepted - cardinality(v_settled.erased);
  end if;

  perform track._store_events(v_messages, v_settled.identities, v_settled.people, v_sender.source_id);
  if v_sender.level = 'server' and current_setting('insights.states_enrolments', true) = 'on' then
    perform track._store_stated_enrolments(v_messages, v_settled.identities, v_sender.source_id);
  end if;
  if v_traits then
    perform track._store_traits(v_messages, v_settled.identities, v_settled.people);
  end if;
  if v_decisions then
    perform track._store_consent(v_messages, v_settled.identities, v_settled.people);
  end if;
  if v_births then
    perform privacy.record_birth_dates(
      array_agg(identity.person_id), array_agg(identity.identity_id), array_agg(born.birth_date)
    )
    from unnest(v_born) as born
    join track.identity on identity.external_id = born.external_id and identity.kind = 'user';
  end if;
  if v_signalled is not null then
    perform track._store_signals(v_signalled, v_received_at);
  end if;
  if v_findings <> '{}' then
    perform track._count_found(v_findings, v_received_at);
  end if;
  if v_bots <> '{}' then
    perform track._exclude_bots(v_bots);
  end if;
  return v_result;
end;
$$;

comment on function track.ingest(jsonb) is $$
Stores messages in Segment's format (`track`, `page`, `screen`, `identify`, `alias`, `group`).
A batch is a list, one message, or `{batch, sentAt, context}`; a JSON string with any of these is parsed.
Each `messageId` of a source is stored once, also by concurrent calls and at any later time. An invalid message is
rejected with an error of its own; the others are stored.
Items are created when first named. `properties` of trusted senders (`itemKind`, `itemTitle`, `parent`, `url`) are
stored where the item has no value yet; a parent that would form a cycle is ignored.
An event is never later than its arrival. The time of the client applies, unless its clock is behind by more than
`track.setting.clock_tolerance` or ahead: then the event is at `receivedAt - (sentAt - timestamp)`.
Learners may send their own events only, visitors only with an `anonymousId`, which is checked: see
`track.identity.browser`. A browser belongs to the user who identified on it last before the event, and before the
first `identify` to the first user. A write key (setting `insights.write_key`: its SHA-256 hash) decides the source and
its level. Refused messages are counted: see
`track.refused_messages`.
Errors of the whole batch: CF005 when the write key may not be used, CF009 when it is not a list of messages, CF008
when it has more than `track.setting.largest_batch` messages or its `context` is too long, CF001 when its `context`
contains a number beyond double precision.
$$;

grant execute on function track.ingest(jsonb)
to insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

/*
 * The rule for names of people who were erased (privacy.suppression). It is checked before anything is stored, and
 * again for names that were erased while the batch waited for their locks.
 */
create or replace function track._suppressed_names(messages track.parsed_message[])
returns setof privacy.suppressed_name
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  select suppressed.*
  from (
    select array_agg(name.kind) as kinds, array_agg(name.name) as names
    from (
      select message.identity_kind, message.external_id
      from unnest(messages) as message
      where message.problem is null
        and message.identity_kind <> 'none'

      union

      -- Names that the message would link.
      select kind, coalesce(message.previous_id, message.anonymous_id)
      from unnest(messages) as message
      cross join unnest(array['anonymous', 'user']) as kind
      where message.problem is null
        and coalesce(message.previous_id, message.anonymous_id) is not null
        and (message.type = 'alias' or message.type = 'identify' and kind = 'anonymous')
    ) as name (kind, name)
  ) as named
  cross join lateral privacy.suppressed(named.kinds, named.names) as suppressed
  where named.names is not null;
end;
$$;

comment on function track._suppressed_names(track.parsed_message[]) is $$
Returns the names of valid messages that are suppressed, or were before a new consent.
$$;

create or replace function track._refuse_suppressed(messages track.parsed_message[], sender track.message_sender)
returns track.parsed_message[]
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_messages track.parsed_message[] := messages;
  v_message track.parsed_message;
  v_refused record;
  v_suppressed privacy.suppressed_name[];
begin
  v_suppressed := array(select suppressed from track._suppressed_names(messages) as suppressed);
  if v_suppressed = '{}' then
    return v_messages;
  end if;

  -- A new consent in the batch. An anonymousId is not a proof: only a server may consent for it.
  perform privacy.lift_suppression(array[consent.kind], array[consent.name], consent.decided_at)
  from (
    select suppressed.kind, suppressed.name, min(message.occurred_at) as decided_at
    from unnest(v_suppressed) as suppressed
    join unnest(messages) as message
      on message.external_id = suppressed.name
      and message.identity_kind = suppressed.kind
    where suppressed.lifted_at is null
      and message.problem is null
      and message.event_name = 'Segment Consent Preference Updated'
      and message.occurred_at > suppressed.since
      and (message.identity_kind = 'user' or sender.is_trusted)
      and exists (
        select
        from privacy.purpose
        where message.preferences -> purpose.purpose = 'true'
      )
    group by suppressed.kind, suppressed.name
    order by suppressed.kind, suppressed.name
  ) as consent;
  v_suppressed := array(select suppressed from track._suppressed_names(messages) as suppressed);

  for v_refused in
    select distinct on (message.ordinality) message.ordinality, suppressed.kind, suppressed.name
    from unnest(messages) with ordinality as message
    join unnest(v_suppressed) as suppressed
      on suppressed.name = message.external_id and suppressed.kind = message.identity_kind
      or message.type = 'alias' and suppressed.name = message.previous_id
        and suppressed.kind in ('user', 'anonymous')
      or message.type = 'identify' and suppressed.name = message.anonymous_id and suppressed.kind = 'anonymous'
    where message.problem is null
      and (suppressed.lifted_at is null or message.occurred_at < suppressed.lifted_at)
    order by message.ordinality, suppressed.kind desc
  loop
    v_message := v_messages[v_refused.ordinality];
    v_message.problem := row(
      'CF005',
      format('the data of "%s" was erased', left(v_refused.name, 100)),
      case v_refused.kind
        when 'user' then
          'Nothing is stored under this userId until its person consents again, in a message or by '
          'track.record_my_consent.'
        else 'Send a new anonymousId: nothing is stored under this one.'
      end
    );
    v_messages[v_refused.ordinality] := v_message;
  end loop;
  return v_messages;
end;
$$;

comment on function track._refuse_suppressed(track.parsed_message[], track.message_sender) is $$
Returns the messages; those with the name of an erased person are rejected (CF005).
A message that grants a purpose (`Segment Consent Preference Updated`), of the person or a server, ends the suppression
of its name from its time on. It must be later than the erasure.
$$;

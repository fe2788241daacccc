create or replace function track._parse_time(value text)
returns timestamptz
language plpgsql
stable
parallel restricted
set search_path to pg_catalog, pg_temp
as $$
begin
  return value::timestamptz;
exception
  when others then return null;
end;
$$;

comment on function track._parse_time(text) is $$
A time as PostgreSQL reads it; null for what is none.
$$;

create or replace function track._time(value text, doubtful boolean)
returns timestamptz
language sql
stable
parallel restricted
-- Words such as "now" and "infinity" are times to PostgreSQL, but not to anybody else.
return case
  when value like '____-__-__%' then case when doubtful then track._parse_time(value) else value::timestamptz end
end;

comment on function track._time(text, boolean) is $$
An ISO 8601 time; null for anything else, or an error unless `doubtful`, for catching errors one by one is slow.
$$;

create or replace function track._parse_batch(batch jsonb, received_at timestamptz, trusted boolean, doubtful boolean default false)
returns track.parsed_message[]
language plpgsql
stable
parallel restricted
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
declare
  -- Ten bytes such as 1e131000 would become 131,000 wherever they are written out.
  v_vast_number constant jsonpath := '$.** ? (@.type() == "number" && (@ > 1e308 || @ < -1e308 || @ != 0 && @ < 1e-307 && @ > -1e-307))';
  v_holds_vast_number constant boolean := jsonb_path_exists(_parse_batch.batch, v_vast_number);
  v_messages jsonb := case jsonb_typeof(_parse_batch.batch) when 'array' then _parse_batch.batch else _parse_batch.batch -> 'batch' end;
  -- What a batch says of all its messages, each of them comes to hold: little, and no more than is read.
  v_longest_context constant int := 4096;
  v_sent_at constant text := left(_parse_batch.batch ->> 'sentAt', 100);
  v_context constant jsonb := (
    select jsonb_object_agg(part.key, part.value)
    from jsonb_each(
      case jsonb_typeof(_parse_batch.batch -> 'context') when 'object' then _parse_batch.batch -> 'context' end
    ) as part
    where part.key in ('consent', 'gpc', 'page', 'timezone')
  );
begin
  if pg_column_size(v_context) > v_longest_context then
    raise exception using
      errcode = 'CF008',
      message = format('the "context" of the batch has %s bytes about consent, page and timezone', pg_column_size(v_context)),
      hint = format('Send %s at most, and the rest in the "context" of each message.', v_longest_context);
  end if;
  if v_holds_vast_number then
    if jsonb_path_exists(v_context, v_vast_number) then
      raise exception using
        errcode = 'CF001',
        message = 'the "context" of the batch holds a number beyond double precision',
        hint = 'Send a number from 1e-307 to 1e308, or a string.';
    end if;
    -- Nothing of such a message is written out, below or in an error.
    v_messages := (
      select jsonb_agg(
        case
          when jsonb_typeof(entry.message) = 'object' and jsonb_path_exists(entry.message, v_vast_number)
            then jsonb_build_object(
              'vast', true, 'messageId', case jsonb_typeof(entry.message -> 'messageId') when 'string' then entry.message -> 'messageId' end
            )
          else entry.message
        end
        order by entry.ordinality
      )
      from jsonb_array_elements(v_messages) with ordinality as entry (message, ordinality)
    );
  end if;

  return (
    with setting as materialized (
      select
        longest_properties,
        _parse_batch.received_at + newest_event as newest,
        case
          when _parse_batch.trusted then oldest_event
          else greatest(oldest_event, _parse_batch.received_at - oldest_client_event)
        end as oldest,
        nullif(current_setting('insights.person', true), '') as own_name,
        current_setting('role') = 'insights_learner' as is_learner
      from track.setting
    ),

    field as materialized (
      select
        entry.ordinality::int - 1 as position,
        entry.message,
        entry.message ->> 'type' as type,
        entry.message ->> 'messageId' as message_id,
        nullif(entry.message ->> 'userId', '') as user_id,
        nullif(entry.message ->> 'anonymousId', '') as anonymous_id,
        nullif(entry.message ->> 'previousId', '') as previous_id,
        entry.message ->> 'event' as event,
        coalesce(entry.message ->> 'originalTimestamp', entry.message ->> 'timestamp') as original_timestamp,
        coalesce(entry.message ->> 'sentAt', v_sent_at) as sent_at,
        -- What the batch says of all its messages, each may say otherwise.
        case
          when v_context is not null
            then v_context || case jsonb_typeof(entry.message -> 'context') when 'object' then entry.message -> 'context' else '{}' end
          else entry.message -> 'context'
        end as context,
        case when jsonb_typeof(entry.message -> 'properties') <> 'null' then entry.message -> 'properties' end as properties,
        case when _parse_batch.trusted then entry.message ->> 'receivedAt' end as stated_arrival
      from jsonb_array_elements(v_messages) with ordinality as entry (message, ordinality)
    ),

    timed as materialized (
      select
        field.*,
        track._time(original_timestamp, doubtful) as original_at,
        track._time(sent_at, doubtful) as parsed_sent_at,
        coalesce(track._time(stated_arrival, doubtful), _parse_batch.received_at) as arrived_at
      from field
    ),

    corrected as materialized (
      select
        timed.*,
        case
          when original_timestamp is null then arrived_at
          when sent_at is null then original_at
          when isfinite(original_at) and isfinite(parsed_sent_at) then arrived_at - (parsed_sent_at - original_at)
          else original_at
        end as occurred_at
      from timed
    ),

    judged as materialized (
      select
        corrected.*,
        case
          when jsonb_typeof(message) <> 'object'
            then array['CF009', format('the message is a JSON %s', jsonb_typeof(message)), 'Send an object such as {"type": "track", …}.']
          when type is null and message ? 'unreadable'
            then array['CF009', left(message ->> 'unreadable', 100), 'Send well-formed JSON without null bytes and half surrogate pairs.']
          when v_holds_vast_number and type is null and message ? 'vast'
            then array['CF001', 'the message holds a number beyond double precision', 'Send a number from 1e-307 to 1e308, or a string.']
          when type is null
            then array['CF001', 'the message has no "type"', 'Use track, page, screen, identify, alias or group.']
          when type not in ('track', 'page', 'screen', 'identify', 'alias', 'group')
            then array['CF001', format('"type" is "%s"', left(type, 100)), 'Use track, page, screen, identify, alias or group.']
          when message_id is null or message_id = ''
            then array['CF001', '"messageId" is missing', 'Give each message an id of its own; it makes retries safe.']
          when jsonb_typeof(message -> 'messageId') <> 'string'
            then array['CF001', format('"messageId" is a JSON %s', jsonb_typeof(message -> 'messageId')), 'Send a string.']
          when length(message_id) > 256
            then array['CF008', format('"messageId" has %s characters', length(message_id)), 'Send 256 at most.']
          when user_id is null and anonymous_id is null
            then array['CF001', 'neither "userId" nor "anonymousId" is given', 'Say who it was: "userId" for somebody signed in, or else "anonymousId".']
          when jsonb_typeof(message -> 'userId') not in ('string', 'number', 'null')
            then array['CF001', format('"userId" is a JSON %s', jsonb_typeof(message -> 'userId')), 'Send a string.']
          when jsonb_typeof(message -> 'anonymousId') not in ('string', 'number', 'null')
            then array['CF001', format('"anonymousId" is a JSON %s', jsonb_typeof(message -> 'anonymousId')), 'Send a string.']
          when jsonb_typeof(message -> 'previousId') not in ('string', 'number', 'null')
            then array['CF001', format('"previousId" is a JSON %s', jsonb_typeof(message -> 'previousId')), 'Send a string.']
          when length(user_id) > 256 or length(anonymous_id) > 256 or length(previous_id) > 256
            then array['CF008', format('an id has %s characters', greatest(length(user_id), length(anonymous_id), length(previous_id))), 'Send 256 at most.']
          when not trusted and user_id is not null and not (setting.is_learner and user_id is not distinct from setting.own_name)
            then array['CF005', format('"userId" is "%s", who is not signed in', left(user_id, 100)), 'Sign in as that person, or send "anonymousId" only.']
          when type = 'alias' and (previous_id is null or user_id is null)
            then array['CF001', '"alias" needs "previousId" and "userId"', 'Send both.']
          when type = 'alias' and not trusted
            then array['CF005', '"alias" is for servers', 'Use "identify" with "anonymousId" and "userId", or send it with a worker''s token.']
          when type = 'group' and message ->> 'groupId' is null
            then array['CF001', '"group" needs "groupId"', 'Send it.']
          when type = 'track' and (event is null or event = '' or jsonb_typeof(message -> 'event') <> 'string')
            then array['CF001', '"track" needs "event"', 'Send the name of the event, a string such as "Task Submitted".']
          when length(event) > 200
            then array['CF008', format('"event" has %s characters', length(event)), 'Send 200 at most, and details in "properties".']
          when jsonb_typeof(properties) <> 'object'
            then array['CF001', format('"properties" is a JSON %s', jsonb_typeof(properties)), 'Send an object.']
          when jsonb_typeof(message -> 'traits') not in ('object', 'null')
            then array['CF001', format('"traits" is a JSON %s', jsonb_typeof(message -> 'traits')), 'Send an object.']
          when pg_column_size(message) > setting.longest_properties / 2 and octet_length(message::text) > setting.longest_properties
            then array['CF008', format('the message has %s bytes', octet_length(message::text)), format('Send %s at most.', setting.longest_properties)]
          when jsonb_typeof(properties -> 'item') not in ('string', 'number', 'null')
            then array['CF001', format('"properties.item" is a JSON %s', jsonb_typeof(properties -> 'item')), 'Send the external id of an item, a string.']
          when length(properties ->> 'item') > 512
            then array['CF008', format('"properties.item" has %s characters', length(properties ->> 'item')), 'Send 512 at most.']
          when trusted and jsonb_typeof(properties -> 'parent') not in ('string', 'number', 'null')
            then array['CF001', format('"properties.parent" is a JSON %s', jsonb_typeof(properties -> 'parent')), 'Send the external id of an item, a string.']
          when trusted and length(properties ->> 'parent') > 512
            then array['CF008', format('"properties.parent" has %s characters', length(properties ->> 'parent')), 'Send 512 at most.']
          when properties ->> 'itemKind' !~ '^[a-z][a-z0-9_]{0,62}$'
            then array['CF001', format('"properties.itemKind" is "%s"', left(properties ->> 'itemKind', 100)), 'Use a lower case word such as course, module, task, page or video.']
          when jsonb_typeof(properties -> 'duration') = 'number' and (properties ->> 'duration')::numeric < 0
            then array['CF001', format('"properties.duration" is %s', left(properties ->> 'duration', 40)), 'A duration is zero or more.']
          when original_timestamp is not null and (original_at is null or not isfinite(original_at))
            then array['CF001', format('"timestamp" is "%s"', left(original_timestamp, 100)), 'Send an ISO 8601 time such as 2026-02-28T09:30:00.000Z.']
          when sent_at is not null and (parsed_sent_at is null or not isfinite(parsed_sent_at))
            then array['CF001', format('"sentAt" is "%s"', left(sent_at, 100)), 'Send an ISO 8601 time such as 2026-02-28T09:30:00.000Z.']
          when occurred_at > setting.newest
            then array['CF001', format('the event''s time is %s, in the future', to_char(occurred_at at time zone 'UTC', 'FMYYYY-MM-DD"T"HH24:MI:SS"Z"')), 'Check the client''s clock, or send "sentAt" so that it can be corrected.']
          when occurred_at < setting.oldest
            then array['CF001', format('the event''s time is %s, too long ago', to_char(occurred_at at time zone 'UTC', 'FMYYYY-MM-DD"T"HH24:MI:SS"Z"')), format('The earliest accepted is %s.', to_char(setting.oldest at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))]
        end as problem
      from corrected
      cross join setting
    ),

    named as materialized (
      select
        judged.*,
        case type when 'track' then event when 'page' then 'Page Viewed' when 'screen' then 'Screen Viewed' end as event_name,
        case when user_id is not null then 'user' else 'anonymous' end as identity_kind,
        coalesce(user_id, anonymous_id) as external_id,
        coalesce(
          context #> '{consent,categoryPreferences}',
          case when event = 'Segment Consent Preference Updated' then properties -> 'categoryPreferences' end
        ) as preferences
      from judged
    ),

    -- What each person of the batch last decided about each purpose, in this batch or before.
    decision as materialized (
      select distinct on (said.external_id, said.identity_kind, said.purpose)
        said.external_id, said.identity_kind, said.purpose, said.granted
      from (
        select
          identity.external_id, identity.kind as identity_kind, consent.purpose, consent.granted, consent.decided_at, consent.recorded_at
        from (select distinct external_id, identity_kind from named) as person
        join track.identity
          on identity.external_id = person.external_id
          and identity.kind = person.identity_kind
        join privacy.consent on consent.person_id = identity.person_id

        union all

        select named.external_id, named.identity_kind, preference.key, preference.value::boolean, named.occurred_at, 'infinity'
        from named
        cross join lateral jsonb_each(case jsonb_typeof(named.preferences) when 'object' then named.preferences end) as preference
        where named.event = 'Segment Consent Preference Updated'
          and named.type = 'track'
          and named.problem is null
          and jsonb_typeof(preference.value) = 'boolean'
      ) as said
      order by said.external_id, said.identity_kind, said.purpose, said.decided_at desc, said.recorded_at desc
    ),

    -- Consent is asked for the purpose of the event type: what the message says, then Global Privacy Control, then what the
    -- person decided, then the lawful basis. A decision itself needs nobody's leave.
    allowed as materialized (
      select
        named.*,
        purpose.purpose,
        purpose.without_basis,
        coalesce(
          case when named.type = 'track' and named.event = 'Segment Consent Preference Updated' then true end,
          case jsonb_typeof(named.preferences -> purpose.purpose)
            when 'boolean' then (named.preferences ->> purpose.purpose)::boolean
          end,
          case when purpose.opted_out_by_gpc and named.context ->> 'gpc' in ('true', '1') then false end,
          decision.granted,
          purpose.basis <> 'consent'
        ) as is_allowed
      from named
      left join track.event_type on event_type.name = named.event_name
      join privacy.purpose on purpose.purpose = coalesce(event_type.purpose, 'analytics')
      left join decision
        on decision.external_id = named.external_id
        and decision.identity_kind = named.identity_kind
        and decision.purpose = purpose.purpose
    ),

    decided as (
      select
        allowed.*,
        case
          when problem is not null then problem
          when not is_allowed and without_basis = 'refuse'
            then array['CF005', format('the person has not agreed to "%s"', purpose), 'Ask first, and say so in context.consent.categoryPreferences or by privacy.record_consent.']
        end as error,
        problem is null and not is_allowed as is_nobody
      from allowed
    )

    select array_agg(
      row(
        position,
        type,
        message_id,
        encode(substr(sha256(convert_to(message_id, 'UTF8')), 1, 16), 'hex')::uuid,
        case when is_nobody then 'nobody' else identity_kind end,
        case when is_nobody then 'nobody' else external_id end,
        case when not is_nobody then anonymous_id end,
        case when not is_nobody then previous_id end,
        event_name,
        -- A page is an item even where the client does not say which: by its path, as web analytics do.
        coalesce(
          nullif(properties ->> 'item', ''),
          case type
            when 'page' then left(coalesce(nullif(properties ->> 'path', ''), nullif(context #>> '{page,path}', '')), 512)
            when 'screen' then left(nullif(message ->> 'name', ''), 512)
          end
        ),
        -- What an item is, only servers may say: anybody can send a page view.
        case
          when _parse_batch.trusted and properties ? 'itemKind' then properties ->> 'itemKind'
          when nullif(properties ->> 'item', '') is null
            and (
              trusted and type in ('page', 'screen')
              or type = 'page' and starts_with(coalesce(nullif(properties ->> 'path', ''), context #>> '{page,path}'), '/')
            )
            then 'page'
        end,
        case when _parse_batch.trusted then coalesce(properties ->> 'itemTitle', case type when 'page' then properties ->> 'title' end) end,
        case when _parse_batch.trusted then nullif(properties ->> 'parent', '') end,
        case when _parse_batch.trusted and type = 'page' then coalesce(properties ->> 'url', context #>> '{page,url}') end,
        occurred_at,
        arrived_at,
        case
          when is_nobody then null
          when type in ('page', 'screen') and message ->> 'name' is not null
            then coalesce(properties, '{}') || jsonb_build_object('name', message -> 'name')
          when properties <> '{}' then properties
        end,
        case
          when is_nobody then null
          when type = 'identify' and jsonb_typeof(message -> 'traits') = 'object'
            then message -> 'traits' || case when jsonb_typeof(context -> 'timezone') = 'string' then jsonb_build_object('timezone', context -> 'timezone') else '{}' end
          when jsonb_typeof(context -> 'timezone') = 'string' then jsonb_build_object('timezone', context -> 'timezone')
        end,
        case when event_name = 'Segment Consent Preference Updated' then preferences end,
        error[1],
        error[2],
        error[3]
      )::track.parsed_message
      order by position
    )
    from decided
  );
exception
  when data_exception then
    -- Some time of the batch is none: once more, one by one.
    if doubtful then
      raise;
    end if;
    return track._parse_batch(batch, received_at, trusted, true);
end;
$$;

comment on function track._parse_batch(jsonb, timestamptz, boolean, boolean) is $$
Reads the messages of a batch, corrects their clocks, asks for consent, and says what is wrong with each. A message that may be kept only without its person comes out as one of nobody. `doubtful`: a time in it is known to be none.
$$;

create or replace function track._refuse_batch(messages int, largest_batch int)
returns void
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  raise exception using
    errcode = 'CF008',
    message = format('the batch has %s messages', _refuse_batch.messages),
    hint = format('Send %s at most in one batch.', _refuse_batch.largest_batch);
end;
$$;

comment on function track._refuse_batch(int, int) is $$
Raises CF008.
$$;

create or replace function track._split_text(body text)
returns jsonb
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_longest_body constant int := 64 * 1024 * 1024;
  v_largest_batch constant int := (select largest_batch from track.setting);
  -- Each message but the first has a comma before it.
  v_may_be_too_many constant boolean := octet_length(body) - octet_length(replace(body, ',', '')) >= v_largest_batch;
  -- Random, so that no text can hold them.
  v_backslash constant text := left(gen_random_uuid()::text, 13);
  v_escape constant text := left(gen_random_uuid()::text, 13);
  v_document json;
  v_list json;
  v_message json;
  v_messages jsonb[] := '{}';
  v_sent_at jsonb;
  v_context jsonb;
begin
  if octet_length(body) > v_longest_body then
    raise exception using
      errcode = 'CF008',
      message = format('the batch has %s bytes', octet_length(body)),
      hint = format('Send %s at most in one batch.', v_longest_body);
  end if;
  if not v_may_be_too_many then
    begin
      return body::jsonb;
    exception
      when others then null;
    end;
  end if;

  -- Too many messages, or one that jsonb can't hold, while json can: then the others are still good. Not even json can look into an
  -- object with an escape for what is no character, \u0000 or half a surrogate pair, so escapes are replaced until the messages are apart.
  begin
    v_document := replace(replace(body, '\\', v_backslash), '\u', v_escape)::json;
    v_list := case json_typeof(v_document) when 'array' then v_document when 'object' then v_document -> 'batch' end;
    if json_typeof(v_document) = 'object' and v_list is null then
      v_list := json_build_array(v_document);
    end if;
  exception
    when others then
      raise exception using
        errcode = 'CF009',
        message = format('the batch is not JSON: "%s"', left(body, 40) || case when length(body) > 40 then '…' else '' end),
        hint = 'Send a JSON list of messages, or {"batch": […], "sentAt": "…"}.';
  end;
  if v_list is null or json_typeof(v_list) <> 'array' then
    return 'null'::jsonb;
  end if;
  -- Counted here already: to read so many as jsonb takes ten times as long.
  if json_array_length(v_list) > v_largest_batch then
    perform track._refuse_batch(json_array_length(v_list), v_largest_batch);
  end if;
  if v_may_be_too_many then
    begin
      return body::jsonb;
    exception
      when others then null;
    end;
  end if;

  for v_message in
    select value from json_array_elements(v_list)
  loop
    begin
      v_messages := v_messages || replace(replace(v_message::text, v_escape, '\u'), v_backslash, '\\')::jsonb;
    exception
      when untranslatable_character or invalid_text_representation then
        v_messages := v_messages || jsonb_build_object('unreadable', 'the message holds a null byte or half a surrogate pair');
      when others then
        v_messages := v_messages || jsonb_build_object('unreadable', left(sqlerrm, 100));
    end;
  end loop;
  if json_typeof(v_document) = 'object' then
    begin
      v_sent_at := replace(replace((v_document -> 'sentAt')::text, v_escape, '\u'), v_backslash, '\\')::jsonb;
    exception
      when others then v_sent_at := '"unreadable"';
    end;
    begin
      v_context := replace(replace((v_document -> 'context')::text, v_escape, '\u'), v_backslash, '\\')::jsonb;
    exception
      when others then null;
    end;
    return jsonb_build_object('batch', v_messages, 'sentAt', v_sent_at, 'context', v_context);
  end if;
  return to_jsonb(v_messages);
end;
$$;

comment on function track._split_text(text) is $$
A batch that came as text. A message that can't be stored as jsonb (a null byte, half a surrogate pair) becomes `{"unreadable": why}`; the others stay as they are.
Errors: CF008 for too many messages or bytes, CF009 for what is not JSON.
$$;

create or replace function track._event_id(occurred_at timestamptz, message_hash uuid, source_id smallint)
returns uuid
language sql
immutable
parallel safe
return encode(
  int8send((floor(date_part('epoch', occurred_at) * 1000)::bigint << 16) | 28672 | (get_byte(uuid_send(message_hash), 0) << 4))
  || '\x80'::bytea || substr(uuid_send(message_hash), 2, 5) || int2send(source_id),
  'hex'
)::uuid;

comment on function track._event_id(timestamptz, uuid, smallint) is $$
Version 7 UUID (RFC 9562): milliseconds, 48 bits of the message's hash, the source. A function of the message alone, so that no order of arrival changes it.
$$;

create or replace function track._describe_items(messages track.parsed_message[])
returns void
language sql
volatile
-- A definer: it writes track.item, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
  -- Events fill gaps only: what the application's tables say stays.
  update track.item
  set
    kind = case when item.kind = 'unknown' then coalesce(said.kind, item.kind) else item.kind end,
    title = coalesce(item.title, said.title),
    url = coalesce(item.url, said.url),
    parent_item_id = coalesce(item.parent_item_id, said.parent_item_id),
    updated_at = now()
  from (
    select
      message.item,
      (array_agg(message.item_kind order by message.position) filter (where message.item_kind is not null))[1] as kind,
      (array_agg(message.item_title order by message.position) filter (where message.item_title is not null))[1] as title,
      (array_agg(message.item_url order by message.position) filter (where message.item_url is not null))[1] as url,
      (array_agg(parent.item_id order by message.position) filter (where parent.item_id is not null))[1] as parent_item_id
    from unnest(messages) as message
    left join track.item as parent
      on parent.external_id = message.item_parent
      and parent.external_id <> message.item
    group by message.item
  ) as said
  where item.external_id = said.item
    and (
      item.kind = 'unknown' and said.kind is not null
      or item.title is null and said.title is not null
      or item.url is null and said.url is not null
      or item.parent_item_id is null and said.parent_item_id is not null
    );
$$;

comment on function track._describe_items(track.parsed_message[]) is $$
Fills what is not known yet of the items that messages name. Raises CF010 for a circle of parents.
$$;

create or replace function track._name_everything(messages track.parsed_message[])
returns void
language plpgsql
volatile
-- A definer: it writes identities, people, event types and items, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_message track.parsed_message;
begin
  -- First of all: a new partition has to wait for whoever has entered items or event types, so whoever makes one must not have.
  perform track.make_partitions(month, month)
  from (
    select distinct date_trunc('month', message.occurred_at at time zone 'UTC') at time zone 'UTC' as month
    from unnest(messages) as message
  ) as needed
  where month is not null
    and to_regclass('track.event_' || to_char(month at time zone 'UTC', 'YYYY_MM')) is null;

  with named as (
    select message.identity_kind as kind, message.external_id
    from unnest(messages) as message

    union

    select 'anonymous', message.anonymous_id
    from unnest(messages) as message
    where message.type = 'identify' and message.anonymous_id is not null

    union

    -- An alias may come before anything of the name that it replaces, which may have been a user's or a browser's.
    select kind, message.previous_id
    from unnest(messages) as message
    cross join unnest(array['user', 'anonymous']) as kind
    where message.type = 'alias' and message.previous_id is not null
  ),

  numbered as materialized (
    select kind, external_id, nextval('track.identity_identity_id_seq') as identity_id
    from named
    where not exists (
      select
      from track.identity
      where identity.external_id = named.external_id
        and identity.kind = named.kind
    )
    order by external_id, kind
  ),

  entered as (
    insert into track.identity (identity_id, kind, external_id, person_id)
    overriding system value
    select identity_id, kind, external_id, identity_id
    from numbered
    order by external_id, kind
    on conflict (external_id, kind) do nothing
    returning person_id
  )

  insert into track.person (person_id)
  select person_id
  from entered;

  insert into track.event_type (name)
  select distinct message.event_name
  from unnest(messages) as message
  where message.event_name is not null
    and not exists (select from track.event_type where event_type.name = message.event_name)
  order by message.event_name
  on conflict (name) do nothing;

  if exists (
    select
    from unnest(messages) as message
    left join track.item on item.external_id = message.item
    where message.item is not null
      and (
        item.item_id is null
        or item.kind = 'unknown' and message.item_kind is not null
        or item.title is null and message.item_title is not null
        or item.url is null and message.item_url is not null
        or item.parent_item_id is null and message.item_parent is not null
      )
  ) then
    insert into track.item (external_id)
    select external_id
    from (
      select message.item from unnest(messages) as message
      union
      select message.item_parent from unnest(messages) as message
    ) as named (external_id)
    where external_id is not null
      and not exists (select from track.item where item.external_id = named.external_id)
    order by external_id
    on conflict (external_id) do nothing;

    -- In one order, so that two batches wait for each other, but never in a circle.
    perform item.item_id
    from track.item
    where item.external_id = any (array(select distinct message.item from unnest(messages) as message))
    order by item.item_id
    for no key update;

    begin
      perform track._describe_items(messages);
    exception
      when sqlstate 'CF010' then
        -- Somebody's parents go round in a circle: one after the other, without those that would close it.
        perform track._describe_items(array(
          select jsonb_populate_record(message, '{"item_parent": null}') from unnest(messages) as message
        ));
        for v_message in
          select distinct on (message.item) message.*
          from unnest(messages) as message
          where message.item_parent is not null
          order by message.item, message.position
        loop
          begin
            perform track._describe_items(array[v_message]);
          exception
            when sqlstate 'CF010' then null;
          end;
        end loop;
    end;
  end if;
end;
$$;

comment on function track._name_everything(track.parsed_message[]) is $$
Enters what the messages of a batch name for the first time: identities with their people, event types, items, months.
$$;

create or replace function track._source_id()
returns smallint
language plpgsql
volatile
-- A definer: it enters a new name into track.source, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_name constant text := coalesce(nullif(current_setting('insights.source', true), ''), 'default');
  v_source_id smallint := (select source_id from track.source where name = v_name);
begin
  if v_source_id is null then
    insert into track.source (name) values (v_name) on conflict (name) do nothing;
    v_source_id := (select source_id from track.source where name = v_name);
  end if;
  return v_source_id;
end;
$$;

comment on function track._source_id() is $$
The source that the caller named in the setting `insights.source`, entered when new; `default` otherwise.
$$;

/*
 * A definer: this is the one door through which anybody may write, and it checks each message.
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
  -- A login that has not switched to a role is judged by its own memberships.
  v_caller constant text := case current_setting('role') when 'none' then session_user else current_setting('role') end;
  v_trusted constant boolean := pg_catalog.pg_has_role(v_caller, 'insights_worker', 'usage')
    or pg_catalog.pg_has_role(v_caller, 'insights_admin', 'usage')
    or pg_catalog.pg_has_role(v_caller, 'insights_owner', 'usage');
  v_batch jsonb := ingest.batch;
  v_count int;
  v_largest_batch int;
  v_source_id smallint;
  v_messages track.parsed_message[];
  v_errors jsonb;
  v_rejected int;
  v_fresh uuid[];
  v_linked bigint[];
  v_linked_to bigint[];
  v_kinds text[];
  v_linked_at timestamptz[];
  v_identities bigint[];
begin
  -- GraphQL clients and forms send the batch as a string that holds JSON.
  if jsonb_typeof(v_batch) = 'string' then
    v_batch := track._split_text(v_batch #>> '{}');
  end if;
  if jsonb_typeof(v_batch) = 'object' and v_batch ? 'type' then
    v_batch := jsonb_build_array(v_batch);
  end if;
  if jsonb_typeof(v_batch) is distinct from 'array' and jsonb_typeof(v_batch -> 'batch') is distinct from 'array' then
    raise exception using
      errcode = 'CF009',
      message = format('the batch is not a list of messages, but a JSON %s', coalesce(jsonb_typeof(v_batch), 'null')),
      hint = 'Send a JSON list of messages, or {"batch": […], "sentAt": "…"}.';
  end if;

  v_count := jsonb_array_length(case jsonb_typeof(v_batch) when 'array' then v_batch else v_batch -> 'batch' end);
  v_largest_batch := (select largest_batch from track.setting);
  if v_count > v_largest_batch then
    perform track._refuse_batch(v_count, v_largest_batch);
  end if;

  v_source_id := track._source_id();
  v_messages := track._parse_batch(v_batch, clock_timestamp(), v_trusted);

  select
    count(*),
    coalesce(
      jsonb_agg(
        jsonb_build_object(
          'index', position, 'messageId', left(message_id, 256), 'code', error_code, 'message', error_message, 'hint', error_hint
        )
        order by position
      ),
      '[]'
    )
  into v_rejected, v_errors
  from unnest(v_messages)
  where error_code is not null;

  -- Each message once, for ever. Sorted here and below, so that two batches wait for each other, but never in a circle.
  with stored as (
    insert into track.message (source_id, message_hash)
    select v_source_id, message_hash
    from unnest(v_messages)
    where error_code is null
    order by message_hash
    on conflict (source_id, message_hash) do nothing
    returning message_hash
  )
  select array_agg(message_hash) into v_fresh from stored;

  if v_fresh is null then
    return row(0, v_count - v_rejected, v_rejected, v_errors)::track.ingest_result;
  end if;

  if cardinality(v_fresh) < v_count then
    v_messages := array(
      select message
      from (
        select distinct on (message.message_hash) message
        from unnest(v_messages) as message
        join unnest(v_fresh) as fresh (message_hash) on fresh.message_hash = message.message_hash
        where message.error_code is null
        order by message.message_hash, message.position
      ) as fresh
      order by (fresh.message).position
    );
  end if;

  perform track._name_everything(v_messages);

  v_identities := array(
    select distinct identity.identity_id
    from unnest(v_messages) as message
    join track.identity on identity.external_id = message.external_id and identity.kind = message.identity_kind
  );

  with said as materialized (
    select
      message.position, message.type, message.occurred_at, message.anonymous_id, message.previous_id,
      identity.identity_id as linked_identity_id
    from unnest(v_messages) as message
    join track.identity on identity.external_id = message.external_id and identity.kind = message.identity_kind
    where message.type in ('identify', 'alias')
  ),

  named as (
    select said.position, said.type, said.occurred_at, said.linked_identity_id, other.identity_id
    from said
    join track.identity as other on other.external_id = said.anonymous_id and other.kind = 'anonymous'
    where said.type = 'identify'

    union all

    select said.position, said.type, said.occurred_at, said.linked_identity_id, other.identity_id
    from said
    join track.identity as other on other.external_id = said.previous_id and other.kind <> 'nobody'
    where said.type = 'alias'
  )

  select
    array_agg(named.identity_id order by named.position, named.identity_id),
    array_agg(named.linked_identity_id order by named.position, named.identity_id),
    array_agg(named.type order by named.position, named.identity_id),
    array_agg(named.occurred_at order by named.position, named.identity_id)
  into v_linked, v_linked_to, v_kinds, v_linked_at
  from named
  where named.identity_id <> named.linked_identity_id
    and not track._is_linked(named.identity_id, named.linked_identity_id, named.occurred_at);

  if v_linked is not null then
    perform track._link_people(v_linked, v_linked_to, v_kinds, v_linked_at, v_identities);
  end if;

  -- Who somebody is may not change between here and the end of the transaction, or what is stored below would go to a former person.
  perform identity.identity_id
  from track.identity
  where identity.identity_id = any (v_identities)
  order by identity.identity_id
  for key share;

  insert into track.event (
    person_id, occurred_at, event_id, identity_id, event_type_id, item_id, received_at, source_id, properties
  )
  select
    identity.person_id,
    message.occurred_at,
    track._event_id(message.occurred_at, message.message_hash, v_source_id),
    identity.identity_id,
    event_type.event_type_id,
    item.item_id,
    message.received_at,
    v_source_id,
    message.properties
  from unnest(v_messages) as message
  join track.identity on identity.external_id = message.external_id and identity.kind = message.identity_kind
  join track.event_type on event_type.name = message.event_name
  left join track.item on item.external_id = message.item;

  insert into track.trait (person_id, identity_id, name, value, set_at)
  select distinct on (identity.identity_id, trait.key)
    identity.person_id, identity.identity_id, trait.key, trait.value, message.occurred_at
  from unnest(v_messages) as message
  join track.identity on identity.external_id = message.external_id and identity.kind = message.identity_kind
  cross join lateral jsonb_each(message.traits) as trait
  where length(trait.key) between 1 and 100
  order by identity.identity_id, trait.key, message.occurred_at desc, trait.value desc
  on conflict (person_id, identity_id, name) do update
  set value = excluded.value, set_at = excluded.set_at
  where (trait.set_at, trait.value) < (excluded.set_at, excluded.value);

  -- A clock that runs ahead must not outlast the decisions that come after.
  insert into privacy.consent (person_id, identity_id, purpose, granted, decided_at, source, evidence)
  select
    identity.person_id, identity.identity_id, purpose.purpose, preference.value::boolean, least(message.occurred_at, now()), 'event',
    message.properties
  from unnest(v_messages) as message
  join track.identity on identity.external_id = message.external_id and identity.kind = message.identity_kind
  cross join lateral jsonb_each(case jsonb_typeof(message.consent) when 'object' then message.consent end) as preference
  join privacy.purpose on purpose.purpose = preference.key
  where jsonb_typeof(preference.value) = 'boolean';

  insert into track.stale (person_id, since, until)
  select identity.person_id, min(message.occurred_at), max(message.occurred_at)
  from unnest(v_messages) as message
  join track.identity on identity.external_id = message.external_id and identity.kind = message.identity_kind
  where message.event_name is not null
  group by identity.person_id;

  return row(cardinality(v_fresh), v_count - v_rejected - cardinality(v_fresh), v_rejected, v_errors)::track.ingest_result;
end;
$$;

comment on function track.ingest(jsonb) is $$
Takes Segment-shaped messages (`track`, `page`, `screen`, `identify`, `alias`, `group`): a list, one message, or `{batch, sentAt}`; a JSON string that holds any of these is parsed.
Each `messageId` of a source is stored once, for ever and under concurrency. A bad message gets an error of its own, the others are kept.
Items are made when first named; what `properties` say of one (`itemKind`, `itemTitle`, `parent`, `url`) fills gaps, from servers only, and a parent that would close a circle is left out.
Clocks are corrected as Segment does: `timestamp = receivedAt - (sentAt - timestamp)`. Learners may speak for themselves only, visitors only as an `anonymousId`.
Errors: CF009 for what is not a list of messages, CF008 for a batch above `track.setting.largest_batch`.
$$;

grant execute on function track.ingest(jsonb) to insights_visitor, insights_learner, insights_admin, insights_worker;

create or replace function track._minimise_fields(
  messages track.parsed_message[],
  sender track.message_sender,
  out minimised track.parsed_message[],
  out findings track.finding[],
  out bots text[]
)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_dropped constant text[] := track._dropped_names();
  v_traits constant text[] := case
    when sender.allowed_traits is not null then array_append(sender.allowed_traits, 'timezone')
  end;
begin
  with read as materialized (
    select
      message.*,
      case
        when message.event_name is not null and message.identity_kind <> 'none'
          then message.user_agent
      end as stated_agent,
      case when message.event_name is not null and message.identity_kind <> 'none' then message.agent_hints end as hints
    from unnest(messages) with ordinality as message
  ),

  -- Each user agent of the batch is parsed once.
  agent as materialized (
    select
      stated.stated_agent, stated.hints, parsed.is_bot,
      track._agent_properties(parsed, sender.agent_properties) as properties
    from (
      select distinct read.stated_agent, read.hints
      from read
      where num_nonnulls(read.stated_agent, read.hints) > 0
    ) as stated
    cross join lateral track._agent(stated.stated_agent, stated.hints) as parsed
  ),

  allowed as materialized (
    select
      event_type.name,
      case
        when event_type.merged_event_type_id is null then event_type.allowed_properties
        else target.allowed_properties
      end as properties
    from track.event_type
    left join track.event_type as target on target.event_type_id = event_type.merged_event_type_id
    where event_type.name in (select read.event_name from read)
  ),

  reduced as materialized (
    select
      read.ordinality as place,
      case
        when read.event_name = 'Segment Consent Preference Updated' then read.properties
        when case when allowed.name is null then sender.allowed_properties else allowed.properties end is not null
          then track._only(
            read.properties - v_dropped,
            case when allowed.name is null then sender.allowed_properties else allowed.properties end
              || track._kept_properties()
          )
        when read.properties ?| v_dropped then nullif(read.properties - v_dropped, '{}')
        else read.properties
      end as properties,
      case
        when v_traits is not null then track._only(read.traits - v_dropped, v_traits)
        when read.traits ?| v_dropped then nullif(read.traits - v_dropped, '{}')
        else read.traits
      end as traits,
      agent.properties as agent_properties,
      coalesce(agent.is_bot, false) as is_bot
    from read
    left join allowed on allowed.name = read.event_name
    left join agent
      on coalesce(agent.stated_agent, '') = coalesce(read.stated_agent, '')
      and coalesce(agent.hints, 'null') = coalesce(read.hints, 'null')
  ),

  dropped as (
    select read.event_name, 'properties' as prefix, field.key, count(*) as found
    from read
    join reduced on reduced.place = read.ordinality
    cross join lateral jsonb_object_keys(read.properties) as field (key)
    where read.properties is distinct from reduced.properties
      and (reduced.properties ? field.key) is not true
    group by 1, 2, 3

    union all

    select read.event_name, 'traits', field.key, count(*)
    from read
    join reduced on reduced.place = read.ordinality
    cross join lateral jsonb_object_keys(read.traits) as field (key)
    where read.traits is distinct from reduced.traits
      and (reduced.traits ? field.key) is not true
    group by 1, 2, 3
  )

  select
    array_agg(
      row(
        read.position, read.type, read.message_id, read.message_hash, read.identity_kind, read.external_id,
        read.anonymous_id, read.previous_id, read.event_name, read.item, read.item_kind, read.item_title,
        read.item_parent, read.item_url, read.occurred_at, read.received_at,
        -- Properties of the application have precedence.
        coalesce(reduced.agent_properties || reduced.properties, reduced.agent_properties, reduced.properties),
        reduced.traits, read.preferences, read.opts_out, read.problem, read.client_at, read.is_claim, read.birth_date,
        null, null, read.caller, read.browser, read.sends_gpc, read.sends_dnt
      )::track.parsed_message
      order by read.ordinality
    ),
    (
      select array_agg(
        row(
          track._mask_word(dropped.event_name, true),
          format('%s.%s', dropped.prefix, left(track._mask_word(dropped.key, true), 100)),
          case
            when dropped.key <> all (v_dropped) then 'not_allowed'
            when dropped.key ~* 'agent' then 'user_agent'
            else 'ip'
          end,
          dropped.found
        )::track.finding
      )
      from dropped
    ),
    array_agg(distinct read.external_id) filter (
      where reduced.is_bot and read.identity_kind in ('anonymous', 'unverified')
    )
  into minimised, findings, bots
  from read
  join reduced on reduced.place = read.ordinality;
end;
$$;

comment on function track._minimise_fields(track.parsed_message[], track.message_sender) is $$
Drops properties and traits that are not allowed, and replaces user agents by what is kept of them.
`findings`: the numbers of dropped fields by name. `bots`: browsers with a message of a bot.
$$;

create or replace function track._minimise(
  messages track.parsed_message[],
  sender track.message_sender,
  out minimised track.parsed_message[],
  out findings track.finding[],
  out bots text[]
)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_dropped constant text[] := track._dropped_names();
  v_is_searched constant boolean := sender.personal_data in ('report', 'mask');
  v_is_reduced boolean;
  v_contents text;
  v_places bigint[];
begin
  minimised := messages;
  if coalesce(cardinality(messages), 0) = 0 then
    return;
  end if;
  -- In one pass over the messages.
  select
    bool_or(
      num_nonnulls(message.user_agent, message.agent_hints) > 0
      or message.properties ?| v_dropped
      or message.traits ?| v_dropped
    ),
    string_agg(
      case
        when v_is_searched
          then track._message_text(
            message.properties, message.traits, message.item, message.item_url, message.event_name
          )
      end,
      ' '
    )
  into v_is_reduced, v_contents
  from unnest(messages) as message;
  if v_is_reduced
    or sender.allowed_properties is not null
    or sender.allowed_traits is not null
    or exists (select from track.event_type where event_type.allowed_properties is not null)
  then
    select reduced.* into minimised, findings, bots from track._minimise_fields(messages, sender) as reduced;
    v_contents := null;
  end if;

  if v_is_searched then
    v_places := track._suspects(minimised, v_contents);
    if v_places = '{}' then
      return;
    end if;
    findings := findings || array(
      select row(contact.event_name, contact.property, contact.kind, sum(contact.found))::track.finding
      from track._contacts_of(minimised, v_places, sender.contact_traits) as contact
      group by contact.event_name, contact.property, contact.kind
    );
    if sender.personal_data = 'mask' then
      minimised := track._masked_messages(minimised, v_places, sender.contact_traits);
    end if;
  end if;
end;
$$;

comment on function track._minimise(track.parsed_message[], track.message_sender) is $$
Returns the messages with no more data of people than the settings allow, and what was found and dropped, as numbers.
$$;

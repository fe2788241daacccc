create or replace function track._parse_messages(
  batch track.message_batch,
  received_at timestamptz,
  sender track.message_sender,
  doubtful boolean default false
)
returns track.parsed_message[]
language plpgsql
stable
parallel restricted
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
-- Planned once: the only table is hashed as a whole, so that no other plan would be better.
set plan_cache_mode to force_generic_plan
as $$
begin
  return (
    with placeholder as materialized (
      select placeholder_id.external_id
      from track.placeholder_id
      where not sender.is_trusted
        or placeholder_id.external_id <> all (
          string_to_array(coalesce(current_setting('insights.kept_ids', true), ''), ',')
        )
    ),

    judged as materialized (
      select
        fields.*,
        track._path(fields.type, fields.properties, fields.context) as path,
        coalesce(
          track._envelope_problem(fields, sender),
          track._person_problem(fields, sender),
          track._content_problem(fields, sender),
          case
            when fields.event in ('Segment Consent Preference Updated', 'consent_preferences')
              then track._decision_problem(fields.event, fields.properties, fields.context)
          end,
          track._time_problem(fields, sender),
          -- Here and not in a function: a function with a sub-query is not put in place of its call.
          case
            when track._is_blank_id(fields.user_id)
              or track._bare_id(fields.user_id) in (select placeholder.external_id from placeholder)
              then track._placeholder_problem('userId', fields.user_id)
            when track._is_blank_id(fields.anonymous_id)
              or track._bare_id(fields.anonymous_id) in (select placeholder.external_id from placeholder)
              then track._placeholder_problem('anonymousId', fields.anonymous_id)
            when track._is_blank_id(fields.previous_id)
              or track._bare_id(fields.previous_id) in (select placeholder.external_id from placeholder)
              then track._placeholder_problem('previousId', fields.previous_id)
          end
        ) as problem
      from track._read_fields(batch, received_at, sender, doubtful) as fields
    ),

    parsed as (
      select
        judged.position,
        judged.type,
        judged.message_id,
        case when judged.problem is null then track._message_hash(judged.message_id) end as message_hash,
        case when judged.user_id is null then 'anonymous' else 'user' end as identity_kind,
        coalesce(judged.user_id, judged.anonymous_id) as external_id,
        judged.anonymous_id,
        judged.previous_id,
        case judged.type
          -- Snowplow's name of the same event.
          when 'track' then case judged.event
            when 'consent_preferences' then 'Segment Consent Preference Updated'
            else judged.event
          end
          when 'page' then 'Page Viewed'
          when 'screen' then 'Screen Viewed'
        end as event_name,
        track._item(
          judged.type, judged.name, judged.properties, judged.path, sender.path_rule, sender.kept_parameters
        ) as item,
        track._item_kind(judged.type, judged.properties, judged.path, sender.is_trusted) as item_kind,
        -- Only servers may describe items, because any client can send a page view.
        case
          when sender.is_trusted
            then coalesce(
              judged.properties ->> 'itemTitle', case judged.type when 'page' then judged.properties ->> 'title' end
            )
        end as item_title,
        case when sender.is_trusted then nullif(judged.properties ->> 'parent', '') end as item_parent,
        case
          when sender.is_trusted and judged.type = 'page'
            then coalesce(judged.properties ->> 'url', judged.context #>> '{page,url}')
        end as item_url,
        judged.occurred_at,
        judged.received_at,
        case
          when judged.type in ('page', 'screen') and judged.name is not null
            then coalesce(judged.properties, '{}') || jsonb_build_object('name', judged.name)
          when judged.properties <> '{}' then judged.properties
        end as properties,
        track._traits(judged.type, judged.traits, judged.context) as traits,
        case
          when judged.event in ('Segment Consent Preference Updated', 'consent_preferences')
            then case
              when judged.problem is null then track._decided_preferences(judged.properties, judged.context)
            end
          else judged.context #> '{consent,categoryPreferences}'
        end as preferences,
        judged.context ->> 'gpc' in ('true', '1') as opts_out,
        judged.problem,
        case when judged.occurred_at <> judged.original_at then judged.original_at end as client_at,
        null::boolean as is_claim,
        case
          when judged.type = 'identify' and sender.is_trusted and judged.user_id is not null
            and track._birthday(judged.traits, judged.context) is not null
            then track._birth_date(track._birthday(judged.traits, judged.context))
        end as birth_date,
        coalesce(left(judged.context ->> 'userAgent', 512), judged.user_agent) as user_agent,
        case jsonb_typeof(judged.context -> 'userAgentData') when 'object' then judged.context -> 'userAgentData' end
          as agent_hints,
        judged.caller,
        judged.browser,
        judged.sends_gpc,
        judged.sends_dnt
      from judged
    )

    select array_agg(parsed::track.parsed_message order by parsed.position)
    from parsed
  );
exception
  when data_exception then
    -- A time in the batch is invalid: parse the times again, one by one.
    if doubtful then
      raise;
    end if;
    return track._parse_messages(batch, received_at, sender, true);
end;
$$;

comment on function track._parse_messages(track.message_batch, timestamptz, track.message_sender, boolean) is $$
Returns the messages of a batch in order, each with its contents or its error.
`doubtful`: a time in the batch is known to be invalid.
$$;

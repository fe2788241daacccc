create or replace function track._requests()
returns track.message_request[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_stated constant text := nullif(current_setting('insights.requests', true), '');
begin
  if v_stated is null then
    return array[
      row(
        null, nullif(current_setting('insights.person', true), ''),
        nullif(current_setting('insights.browser', true), ''),
        coalesce(current_setting('insights.opt_out', true), '') ~ '\mgpc\M',
        coalesce(current_setting('insights.opt_out', true), '') ~ '\mdnt\M',
        current_setting('insights.user_agent', true)
      )::track.message_request
    ];
  end if;
  return array(
    select
      row(
        stated.messages, nullif(stated.person, ''), nullif(stated.browser, ''),
        coalesce(stated."optOut", '') ~ '\mgpc\M', coalesce(stated."optOut", '') ~ '\mdnt\M', stated."userAgent"
      )::track.message_request
    from rows from (
      jsonb_to_recordset(v_stated::jsonb) as (
        messages int, person text, browser text, "optOut" text, "userAgent" text
      )
    ) with ordinality as stated (messages, person, browser, "optOut", "userAgent", place)
    order by stated.place
  );
end;
$$;

comment on function track._requests() is $$
Returns the requests of a batch, as the API states them in settings.
One request: `insights.person`, `insights.browser`, `insights.opt_out` and `insights.user_agent`. Several: a JSON list
in `insights.requests`, in the order of their messages, of `{messages, person, browser, optOut, userAgent}`.
$$;

create or replace function track._sender(received_at timestamptz)
returns track.message_sender
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_levels constant text[] := array['anonymous', 'signed_in', 'server'];
  -- For a login that has not set a role, its own memberships apply.
  v_caller constant text := case current_setting('role') when 'none' then session_user else current_setting('role') end;
  v_key_hash constant text := nullif(current_setting('insights.write_key', true), '');
  v_name text := coalesce(nullif(current_setting('insights.source', true), ''), 'default');
  v_requests constant track.message_request[] := track._requests();
  v_key track.open_write_key;
  v_sender track.message_sender;
begin
  v_sender.level := case
    when pg_has_role(v_caller, 'insights_worker', 'usage')
      or pg_has_role(v_caller, 'insights_admin', 'usage')
      or pg_has_role(v_caller, 'insights_owner', 'usage')
      then 'server'
    when current_setting('role') in ('insights_learner', 'insights_instructor', 'insights_analyst')
      and not exists (select from unnest(v_requests) as request where request.person is null)
      then 'signed_in'
    else 'anonymous'
  end;

  if v_key_hash is not null then
    v_key := track.open_write_key(v_key_hash, 'events', nullif(current_setting('insights.origin', true), ''));
    v_name := v_key.source;
    -- Only servers have a key of the level `server`. Other keys can be read by each visitor of a page: they add nothing
    -- to the rights of the sender.
    v_sender.level := case v_key.level
      when 'server' then 'server'
      else v_levels[
        least(array_position(v_levels, v_key.level), array_position(v_levels, v_sender.level))
      ]
    end;
    -- Once a day; another batch may be writing it.
    if (select write_key.used_on from track.write_key where write_key.key_id = v_key.key_id)
      is distinct from (_sender.received_at at time zone 'UTC')::date
    then
      update track.write_key
      set used_on = (_sender.received_at at time zone 'UTC')::date
      from (
        select write_key.key_id
        from track.write_key
        where write_key.key_id = v_key.key_id
        for no key update skip locked
      ) as free
      where write_key.key_id = free.key_id;
    end if;
  end if;

  v_sender.is_trusted := v_sender.level = 'server';
  v_sender.source_id := track._source_id(v_name, v_sender.level);
  v_sender.requests := array(
    select
      row(
        request.messages,
        case v_sender.level when 'signed_in' then request.person end,
        case when not v_sender.is_trusted then request.browser end,
        request.sends_gpc and not v_sender.is_trusted,
        request.sends_dnt and not v_sender.is_trusted,
        -- Only that of a browser, or of a bot that behaves as one. An application's server that sends the messages of
        -- its users with their tokens has the user agent of its HTTP library.
        case
          when not v_sender.is_trusted and request.user_agent ~ '^(?:Mozilla|Opera)/' then left(request.user_agent, 512)
        end
      )::track.message_request
    from unnest(v_requests) with ordinality as request
    order by request.ordinality
  );
  select
    case
      when v_sender.is_trusted then setting.oldest_event
      else greatest(setting.oldest_event, _sender.received_at - setting.oldest_client_event)
    end,
    _sender.received_at + setting.newest_event,
    setting.longest_properties,
    setting.clock_tolerance,
    coalesce(source.path_rule, setting.path_rule),
    coalesce(source.kept_parameters, setting.kept_parameters),
    setting.allowed_properties, setting.allowed_traits, setting.personal_data, setting.contact_traits,
    setting.agent_properties, setting.bots
  into
    v_sender.oldest, v_sender.newest, v_sender.longest_message, v_sender.clock_tolerance, v_sender.path_rule,
    v_sender.kept_parameters, v_sender.allowed_properties, v_sender.allowed_traits, v_sender.personal_data,
    v_sender.contact_traits, v_sender.agent_properties, v_sender.bots
  from track.setting
  join track.source on source.source_id = v_sender.source_id;
  return v_sender;
end;
$$;

comment on function track._sender(timestamptz) is $$
Returns the source, permissions and limits of the caller: those of its write key, or else those of its role.
Raises CF005 for a write key that may not be used.
$$;

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
  v_key track.open_write_key;
  v_sender track.message_sender;
begin
  v_sender.person := case
    when current_setting('role') in ('insights_learner', 'insights_instructor', 'insights_analyst')
      then nullif(current_setting('insights.person', true), '')
  end;
  v_sender.level := case
    when pg_has_role(v_caller, 'insights_worker', 'usage')
      or pg_has_role(v_caller, 'insights_admin', 'usage')
      or pg_has_role(v_caller, 'insights_owner', 'usage')
      then 'server'
    when v_sender.person is not null then 'signed_in'
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
  v_sender.person := case v_sender.level when 'signed_in' then v_sender.person end;
  v_sender.source_id := track._source_id(v_name, v_sender.level);
  v_sender.browser := case
    when v_sender.level <> 'server' then nullif(current_setting('insights.browser', true), '')::uuid
  end;
  v_sender.opt_out := case
    when v_sender.level = 'server' then '{}'
    else string_to_array(coalesce(current_setting('insights.opt_out', true), ''), ',')
  end;
  -- Only that of a browser, or of a bot that behaves as one. An application's server that sends the messages of its
  -- users with their tokens has the user agent of its HTTP library.
  v_sender.user_agent := case
    when v_sender.level <> 'server' and current_setting('insights.user_agent', true) ~ '^(?:Mozilla|Opera)/'
      then left(current_setting('insights.user_agent', true), 512)
  end;
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

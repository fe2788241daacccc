create or replace function track._sender(received_at timestamptz)
returns track.message_sender
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  -- For a login that has not set a role, its own memberships apply.
  v_caller constant text := case current_setting('role') when 'none' then session_user else current_setting('role') end;
  v_sender track.message_sender;
begin
  v_sender.is_trusted := pg_has_role(v_caller, 'insights_worker', 'usage')
    or pg_has_role(v_caller, 'insights_admin', 'usage')
    or pg_has_role(v_caller, 'insights_owner', 'usage');
  v_sender.person := case current_setting('role')
    when 'insights_learner' then nullif(current_setting('insights.person', true), '')
  end;
  select
    case
      when v_sender.is_trusted then setting.oldest_event
      else greatest(setting.oldest_event, _sender.received_at - setting.oldest_client_event)
    end,
    _sender.received_at + setting.newest_event,
    setting.longest_properties
  into v_sender.oldest, v_sender.newest, v_sender.longest_message
  from track.setting;
  return v_sender;
end;
$$;

comment on function track._sender(timestamptz) is $$
Returns the permissions and limits of the caller.
$$;

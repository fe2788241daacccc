create or replace function monitor.drop_channel(channel text)
returns void
language plpgsql
volatile
-- A definer: channels are written by these functions only.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  perform monitor._check_channel(drop_channel.channel);
  delete from monitor.channel where channel.channel = drop_channel.channel;
end;
$$;

comment on function monitor.drop_channel(text) is $$
@behavior -*
Removes a channel with its secrets and its notifications, also those that wait.
Errors: CF002 for an unknown channel (names the nearest).
$$;

grant execute on function monitor.drop_channel(text) to insights_admin;

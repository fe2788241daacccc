create or replace function monitor._check_channel(channel text)
returns void
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_channels constant text[] := array(select channel.channel from monitor.channel order by 1);
begin
  if _check_channel.channel = any (v_channels) is not true then
    perform common.refuse(
      'CF002',
      format('there is no channel "%s"', coalesce(left(_check_channel.channel, 100), 'null')),
      coalesce(
        'Did you mean "' || common.nearest_name(_check_channel.channel, v_channels) || '"?',
        'The table monitor.channel lists the channels.'
      )
    );
  end if;
end;
$$;

comment on function monitor._check_channel(text) is $$
Raises CF002 unless there is a channel of this name.
$$;

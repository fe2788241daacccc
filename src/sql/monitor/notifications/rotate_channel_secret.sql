create or replace function monitor.rotate_channel_secret(channel text, keep interval default '1 day')
returns text
language plpgsql
volatile
-- A definer: no role may read or write secrets.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set intervalstyle to 'postgres'
as $$
declare
  v_now constant timestamptz := clock_timestamp();
begin
  perform monitor._check_channel(rotate_channel_secret.channel);
  if rotate_channel_secret.keep between '0' and '30 days' is not true then
    perform common.refuse(
      'CF001',
      format('keep is %s', coalesce(rotate_channel_secret.keep::text, 'null')),
      'Give the time for which the present secret stays valid, from 0 to 30 days.'
    );
  end if;
  -- Two rotations of a channel, one after the other.
  perform from monitor.channel where channel.channel = rotate_channel_secret.channel for update;
  -- Two secrets at most.
  delete from monitor.channel_secret as old
  where old.channel = rotate_channel_secret.channel
    and (old.expires_at is not null or rotate_channel_secret.keep = '0');
  update monitor.channel_secret as old
  set expires_at = v_now + rotate_channel_secret.keep
  where old.channel = rotate_channel_secret.channel;
  return monitor._new_secret(rotate_channel_secret.channel);
end;
$$;

comment on function monitor.rotate_channel_secret(text, interval) is $$
@behavior -*
Gives a channel a new secret and returns it; it is not shown again. For the time `keep` the previous secret stays valid:
each notification has a signature by both, so that the receiver can change to the new one in between. A secret before
these two is no longer used. With `keep` of 0, the previous secret is deleted at once.
Errors: CF001 for a time that is not from 0 to 30 days, CF002 for an unknown channel (names the nearest).
$$;

grant execute on function monitor.rotate_channel_secret(text, interval) to insights_admin;

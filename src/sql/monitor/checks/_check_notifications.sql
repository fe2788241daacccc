create or replace function monitor._check_notifications()
returns setof monitor.finding
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  select (monitor._finding(
    'notifications', channel.channel, 'warning',
    format('the channel %s has not taken a notification for %s: %s', channel.channel,
      monitor._duration(clock_timestamp() - channel.failing_since), coalesce(channel.last_error, 'no error')),
    format('Repair the receiver, or set its URL with monitor.set_channel. Then test it: '
      || 'select monitor.test_channel(%L)', channel.channel),
    extract(epoch from clock_timestamp() - channel.failing_since), 900
  )).*
  from monitor.channel
  where channel.is_active
    and channel.failures >= 3
    and channel.failing_since <= clock_timestamp() - interval '15 minutes'

  union all

  select (monitor._finding(
    'notifications', failed.channel || ': undelivered', 'warning',
    format('%s notifications to the channel %s were not delivered in the last day', failed.notifications,
      failed.channel),
    format('Read them: select * from monitor.notification where channel = %L and state = ''failed''', failed.channel),
    failed.notifications, 1
  )).*
  from (
    select notification.channel, count(*) as notifications
    from monitor.notification
    where notification.state = 'failed'
      and notification.finished_at > clock_timestamp() - interval '1 day'
    group by notification.channel
  ) as failed

  union all

  select (monitor._finding(
    'notifications', waiting.channel || ': waiting', 'warning',
    format('a notification to the channel %s has waited for %s', waiting.channel,
      monitor._duration(clock_timestamp() - waiting.since)),
    'Start a worker: insights worker. Its task notify sends them.',
    extract(epoch from clock_timestamp() - waiting.since), 900
  )).*
  from (
    select notification.channel, min(notification.created_at) as since
    from monitor.notification
    join monitor.channel using (channel)
    where notification.finished_at is null
      and channel.is_active
      and channel.failures = 0
    group by notification.channel
  ) as waiting
  where waiting.since <= clock_timestamp() - interval '15 minutes'
$$;

comment on function monitor._check_notifications() is $$
Finds channels that fail, and notifications that were not delivered.
A channel must have failed for a quarter of an hour. Notifications are those that failed permanently within a day, and
those that wait although the channel works.
$$;

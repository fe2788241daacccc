create or replace function monitor.take_notifications(top int default 20)
returns setof monitor.sendable
language plpgsql
volatile
-- A definer: no role may read URLs and secrets.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_now constant timestamptz := clock_timestamp();
  -- At most 50 of a channel.
  v_ready bigint[];
  v_sent_at constant text := floor(extract(epoch from v_now))::bigint::text;
begin
  perform common.check_count('top', take_notifications.top, 1, 100);

  -- Also those that were never attempted, because the channel failed or was inactive all the time.
  update monitor.notification
  set
    state = 'failed',
    leased_until = null,
    finished_at = v_now,
    last_error = coalesce(notification.last_error, 'not sent within 3 days')
  where notification.notification_id in (
    select late.notification_id
    from monitor.notification as late
    where late.finished_at is null
      and late.created_at < v_now - interval '3 days'
      and (late.state = 'waiting' or late.leased_until <= v_now)
    order by late.notification_id
    limit 1000
    for update skip locked
  );

  v_ready := array(select ready from monitor._ready_notifications(v_now) as ready);
  return query
  with taken as materialized (
    select candidate.notification_id
    from monitor.notification as candidate
    where candidate.notification_id = any (v_ready)
      -- Checked on the locked row, too: another worker may have taken it in between.
      and candidate.finished_at is null
      and (
        candidate.state = 'waiting'
        or candidate.leased_until <= v_now
        or candidate.leased_until > v_now + interval '10 minutes'
      )
    order by candidate.next_attempt_at, candidate.notification_id
    limit take_notifications.top
    for update skip locked
  ),
  leased as (
    update monitor.notification
    set
      state = 'sending',
      attempts = notification.attempts + 1,
      attempted_at = v_now,
      leased_until = v_now + interval '2 minutes'
    where notification.notification_id in (select taken.notification_id from taken)
    returning notification.*
  )
  select
    leased.notification_id, leased.attempts, leased.channel, target.url, leased.message_id, v_sent_at,
    monitor._sign(
      leased.message_id, v_sent_at, leased.body,
      array(
        select secret.secret
        from monitor.channel_secret as secret
        where secret.channel = leased.channel
          and (secret.expires_at is null or secret.expires_at > v_now)
        order by secret.created_at desc
      )
    ),
    leased.body
  from leased
  join monitor.channel_url as target on target.channel = leased.channel
  order by leased.notification_id;
end;
$$;

comment on function monitor.take_notifications(int) is $$
@behavior -*
Takes notifications for sending, at most `top`, with their URL, headers and body.
Commit before sending: the caller has two minutes to send each once and to call `monitor.finish_notification`. No other
caller gets it in this time; afterwards the attempt counts as interrupted, and the notification is taken again with the
same `webhook-id`. So each attempt is sent at most once, and a repetition, of which the receiver may have got the first
message, is recognised by its `webhook-id`. Of an alert, a channel gets one notification at a time, in their order.
The signature is made here, so that the secret does not leave the database. Notifications that are older than three days
fail permanently.
Errors: CF001 for `top` outside of 1 to 100.
$$;

grant execute on function monitor.take_notifications(int) to insights_worker;

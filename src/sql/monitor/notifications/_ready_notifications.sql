create or replace function monitor._ready_notifications(at timestamptz)
returns setof bigint
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  select ready.notification_id
  from monitor.channel
  cross join lateral (
    select waiting.notification_id
    from monitor.notification as waiting
    where waiting.channel = channel.channel
      and waiting.finished_at is null
      and case waiting.state
        -- Limits beyond the longest ones are those of a clock that was ahead.
        when 'waiting' then waiting.next_attempt_at <= at or waiting.next_attempt_at > at + interval '1 day'
        else waiting.leased_until <= at or waiting.leased_until > at + interval '10 minutes'
      end
      -- The notifications of an alert arrive in their order.
      and (
        waiting.alert_id is null
        or waiting.notification_id = (
          select min(earlier.notification_id)
          from monitor.notification as earlier
          where earlier.channel = waiting.channel
            and earlier.alert_id = waiting.alert_id
            and earlier.finished_at is null
        )
      )
    order by waiting.next_attempt_at, waiting.notification_id
    -- After a failure, one notification tries whether the channel works again.
    limit case when channel.failures > 0 then 1 else 50 end
  ) as ready
  where channel.is_active
    and (channel.retry_at is null or channel.retry_at <= at or channel.retry_at > at + interval '1 day')
$$;

comment on function monitor._ready_notifications(timestamptz) is $$
Returns the notifications that can be sent at a time, at most 50 of a channel.
$$;

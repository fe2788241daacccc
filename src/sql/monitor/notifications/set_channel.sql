create or replace function monitor.set_channel(
  channel text,
  url text,
  owners text[] default null,
  least_severity text default 'warning',
  is_active boolean default true
)
returns text
language plpgsql
volatile
-- A definer: no role may write or read URLs and secrets.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_owner text;
  v_is_new boolean;
begin
  if set_channel.channel ~ '^[a-z][a-z0-9_-]{0,62}$' is not true then
    perform common.refuse(
      'CF001',
      format('channel is %s', coalesce('"' || left(set_channel.channel, 100) || '"', 'null')),
      'Use lower-case letters, digits, "_" and "-", at most 63, a letter at the beginning.'
    );
  end if;
  if length(set_channel.url) > 2000 then
    perform common.refuse(
      'CF008', format('url has %s characters', length(set_channel.url)), 'Give at most 2000 characters.'
    );
  end if;
  -- The URL is not quoted: it often contains a key.
  if set_channel.url ~ '^https?://(\[[0-9A-Fa-f:.]{2,50}\]|[^][\s/?#@:\\]{1,253})(:\d{1,5})?([/?][!-~]*)?$' is not true
    or set_channel.url ~ '#'
  then
    perform common.refuse(
      'CF001',
      'url is not the URL of a webhook',
      'Give a URL such as https://alerts.example/hook, without user, password, fragment and spaces.'
    );
  end if;
  if set_channel.least_severity in ('warning', 'critical') is not true then
    perform common.refuse(
      'CF001',
      format('least_severity is %s', coalesce('"' || left(set_channel.least_severity, 100) || '"', 'null')),
      'Give warning or critical.'
    );
  end if;
  if set_channel.is_active is null then
    perform common.refuse('CF001', 'is_active is null', 'Give true or false.');
  end if;
  if coalesce(array_ndims(set_channel.owners), 1) > 1 or cardinality(set_channel.owners) not between 1 and 20 then
    perform common.refuse(
      'CF001',
      format('owners has %s elements', cardinality(set_channel.owners)),
      'Give a list of 1 to 20 owners, or null for the alerts of all owners.'
    );
  end if;
  foreach v_owner in array coalesce(set_channel.owners, '{}') loop
    perform monitor._check_owner(v_owner);
  end loop;

  insert into monitor.channel (channel, address, owners, least_severity, is_active)
  values (
    set_channel.channel, substring(set_channel.url from '^https?://[^/?]+'), set_channel.owners,
    set_channel.least_severity, set_channel.is_active
  )
  on conflict on constraint channel_pkey do update
  set
    address = excluded.address,
    owners = excluded.owners,
    least_severity = excluded.least_severity,
    is_active = excluded.is_active,
    -- The changed channel is tried at once.
    failures = 0,
    failing_since = null,
    retry_at = null
  returning xmax = 0 into v_is_new;

  insert into monitor.channel_url (channel, url) values (set_channel.channel, set_channel.url)
  on conflict on constraint channel_url_pkey do update set url = excluded.url;
  return case when v_is_new then monitor._new_secret(set_channel.channel) end;
end;
$$;

comment on function monitor.set_channel(text, text, text[], text, boolean) is $$
@behavior -*
Creates a channel, or replaces its settings.
These are the URL that notifications are posted to, the owners whose alerts are sent (null for all) and the least
severity. Returns the secret of a new channel, which is not shown again, and null for a
channel that exists: its secret stays valid. `monitor.rotate_channel_secret` replaces it.
Notifications that wait are sent to the new URL. Those of an inactive channel wait, for three days at most.
The worker posts to public addresses by https; others must be listed in `INSIGHTS_WEBHOOK_HOSTS`.
Errors: CF001 for an invalid name, URL, owner or severity, CF008 for a URL of more than 2,000 characters.
$$;

grant execute on function monitor.set_channel(text, text, text[], text, boolean) to insights_admin;

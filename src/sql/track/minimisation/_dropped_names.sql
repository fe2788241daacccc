create or replace function track._dropped_names()
returns text[]
language sql
immutable
parallel safe
return '{ip,$ip,ipAddress,ip_address,clientIp,client_ip,remoteAddress,remote_address,remote_addr,userAgent,user_agent,
$user_agent,$useragent,$raw_user_agent,$browser_user_agent}'::text[];

comment on function track._dropped_names() is $$
Returns names of properties and traits that hold an IP address or a user agent, which are never stored.
$$;

create or replace function track._parse_time(value text)
returns timestamptz
language plpgsql
stable
parallel restricted
set search_path to pg_catalog, pg_temp
as $$
begin
  return value::timestamptz;
exception
  when others then return null;
end;
$$;

comment on function track._parse_time(text) is $$
Returns a time as PostgreSQL parses it; null for an invalid one.
$$;

create or replace function track._read_time(value text, doubtful boolean)
returns timestamptz
language sql
stable
parallel restricted
-- PostgreSQL also accepts words such as "now", "BC" and names of zones, which are not ISO 8601. The first pattern is
-- that of JavaScript and the fastest to check; "UTC" is how databases export times.
return case
  when value like '____-__-__T__:__:__.___Z'
    or value like '____-__-__%' and ltrim(value, '0123456789-:.+ TtZzUC') = ''
    then case when doubtful then track._parse_time(value) else value::timestamptz end
end;

comment on function track._read_time(text, boolean) is $$
Returns an ISO 8601 time; null for any other text.
An invalid time raises an error unless `doubtful`, because catching an error per value is slow.
$$;

create or replace function track._correct_clock(
  received_at timestamptz,
  sent_at_text text,
  sent_at timestamptz,
  original_timestamp text,
  original_at timestamptz,
  tolerance interval
)
returns timestamptz
language sql
stable
parallel safe
return case
  when original_timestamp is null then received_at
  when sent_at_text is null then least(original_at, received_at)
  -- The clock was set back between the event and its sending: neither of the times is that of the event.
  when original_at - sent_at > tolerance then received_at
  -- A `sentAt` before the arrival may be due to the delay of the delivery. The delay varies, so that a correction by it
  -- would change the order of the events of a device. A `sentAt` after the arrival is an error of the clock, which is
  -- corrected from 5 seconds on: without a correction, all events of a batch would have the time of its arrival.
  when sent_at - received_at between -tolerance and least(tolerance, '5 seconds') then least(original_at, received_at)
  -- With clocks that are thousands of years apart, the time is out of range, which is an error of the batch.
  when sent_at - original_at > received_at - timestamptz '0001-01-01 00:00:00Z' then '0001-01-01 00:00:00Z'
  else least(received_at, received_at - (sent_at - original_at))
end;

comment on function track._correct_clock(timestamptz, text, timestamptz, text, timestamptz, interval) is $$
Returns the time of an event, never later than its arrival.
It is the time of the client if the clock of the client is behind that of the server by at most `tolerance`, or ahead of
it by at most 5 seconds, or if the time of sending is unknown. Otherwise it is the arrival, less the time for which the
event was queued on the client.
An event with a time later than its sending (by more than `tolerance`) has the time of its arrival.
$$;

create or replace function track._iso_time(at timestamptz)
returns text
language sql
stable
parallel safe
return to_char(at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"');

comment on function track._iso_time(timestamptz) is $$
Returns a time as an error shows it.
$$;

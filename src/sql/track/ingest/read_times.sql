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
-- PostgreSQL also accepts words such as "now" and "infinity", which are not ISO 8601.
return case
  when value like '____-__-__%' then case when doubtful then track._parse_time(value) else value::timestamptz end
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
  original_at timestamptz
)
returns timestamptz
language sql
stable
parallel safe
return case
  when original_timestamp is null then received_at
  when sent_at_text is null then original_at
  when not isfinite(original_at) or not isfinite(sent_at) then original_at
  when not isfinite(received_at) then received_at
  -- With clocks that are thousands of years apart, the time is out of range, which is an error of the batch.
  when sent_at - original_at > received_at - timestamptz '0001-01-01 00:00:00Z' then '0001-01-01 00:00:00Z'
  else received_at - (sent_at - original_at)
end;

comment on function track._correct_clock(timestamptz, text, timestamptz, text, timestamptz) is $$
Returns the time of an event: its arrival, less the time for which it was queued on the client.
$$;

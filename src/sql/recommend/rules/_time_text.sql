create or replace function recommend._time_text(moment timestamptz)
returns text
language sql
stable
parallel safe
begin atomic
  select to_char(_time_text.moment at time zone 'UTC', 'YYYY-MM-DD HH24:MI') || ' UTC';
end;

comment on function recommend._time_text(timestamptz) is $$
@behavior -*
Returns a time as text in UTC, whatever the settings of the session; null for an infinite one.
$$;

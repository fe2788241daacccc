create or replace function analytics._active_days(out first_day date, out last_day date)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  select min(presence.day), max(presence.day)
  into first_day, last_day
  from track.presence
  join track.person_set_block as counted
    on counted.name = 'counted'
    and counted.block = presence.block
    and bit_count(counted.people & presence.people) > 0
  where presence.event_type_id = 0;
end;
$$;

comment on function analytics._active_days() is $$
Returns the first and the last day (UTC) with activity of counted people (events that are not automatic).
Null when there is none.
$$;

grant execute on function analytics._active_days() to insights_reader;

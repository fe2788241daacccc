create or replace function analytics._active_days(out first_day date, out last_day date)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  -- From both ends of the index, up to the first row of a counted person.
  first_day := (
    select activity.day
    from analytics.activity
    join track.person_set_block as counted
      on counted.name = 'counted'
      and counted.block = activity.person_id / 4096
      and get_bit(counted.people, (activity.person_id % 4096)::int) <> 0
    order by activity.day
    limit 1
  );
  last_day := (
    select activity.day
    from analytics.activity
    join track.person_set_block as counted
      on counted.name = 'counted'
      and counted.block = activity.person_id / 4096
      and get_bit(counted.people, (activity.person_id % 4096)::int) <> 0
    order by activity.day desc
    limit 1
  );
end;
$$;

comment on function analytics._active_days() is $$
Returns the first and the last day (UTC) with activity of counted people; null when there is none.
$$;

grant execute on function analytics._active_days() to insights_reader;

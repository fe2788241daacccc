create or replace function track.rebuild()
returns bigint
language plpgsql
volatile
-- A definer: it marks everybody in track.stale, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_marked bigint;
begin
  insert into track.stale (person_id, since, until)
  select person_id, '-infinity', 'infinity'
  from track.person
  where person_id <> 0;
  get diagnostics v_marked = row_count;
  return v_marked;
end;
$$;

comment on function track.rebuild() is $$
Marks everything that is derived from events as out of date, for instance after a change of `track.setting`; returns how many people that concerns.
The workers, or `track.refresh_sessions`, then compute it from scratch.
$$;

grant execute on function track.rebuild() to insights_admin, insights_worker;

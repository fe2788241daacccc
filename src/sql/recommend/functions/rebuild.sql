create or replace function recommend.rebuild()
returns bigint
language plpgsql
volatile
-- A definer: it marks everybody as changed in track.changed, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_marked bigint;
begin
  insert into track.changed (person_id, consumer, since, until)
  select person_id, 'recommend.interaction', '-infinity', 'infinity'
  from track.person
  where person_id <> 0;
  get diagnostics v_marked = row_count;
  return v_marked;
end;
$$;

comment on function recommend.rebuild() is $$
Marks all interactions as out of date, after a change of `recommend.event_weight`; returns how many people that concerns.
The workers, or `recommend.refresh_interactions`, then compute them from scratch.
$$;

grant execute on function recommend.rebuild() to insights_admin, insights_worker;

create or replace function recommend.rebuild()
returns bigint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  return track.rebuild('recommend.interaction');
end;
$$;

comment on function recommend.rebuild() is $$
Marks all interactions as out of date, after a change of `recommend.event_weight`. Returns the number of people.
The next refresh recomputes them from scratch.
$$;

grant execute on function recommend.rebuild() to insights_admin, insights_worker;

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
Queues all people for a refresh of their interactions, after a change of `recommend.event_weight`; returns how many people that concerns.
The workers, or `track.refresh`, then compute them from scratch.
$$;

grant execute on function recommend.rebuild() to insights_admin, insights_worker;

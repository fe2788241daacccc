create or replace function track.recompute_person_sets(consumer text, people bigint[], set_name text default null)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_set track.person_set;
  v_members bigint[];
begin
  -- One writer at a time, because a block is read before it is written. track.refresh holds the same lock.
  perform pg_advisory_xact_lock(hashtext('track.refresh'));
  for v_set in
    select person_set.*
    from track.person_set
    where person_set.consumer = recompute_person_sets.consumer
      and person_set.name = coalesce(recompute_person_sets.set_name, person_set.name)
    order by person_set.name
  loop
    v_members := array(select track._members_of_set(v_set, recompute_person_sets.people));
    perform track._move_people(
      v_set, v_members, array(select unnest(recompute_person_sets.people) except select unnest(v_members))
    );
  end loop;
end;
$$;

comment on function track.recompute_person_sets(text, bigint[], text) is $$
@behavior -*
Recomputes which of the given people belong to the sets of a consumer, or to one of them.
A room whose sets are derived from its own rollups registers a consumer after that of the rollup, whose refresh
function calls this one with the name of the consumer.
$$;

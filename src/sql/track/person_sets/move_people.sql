create or replace function track.move_people(set_name text, joined bigint[], departed bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  -- One writer at a time, because a block is read before it is written. track.refresh holds the same lock.
  perform pg_advisory_xact_lock(hashtext('track.refresh'));
  perform track._move_people(
    track._find_person_set(move_people.set_name), move_people.joined, move_people.departed
  );
end;
$$;

comment on function track.move_people(text, bigint[], bigint[]) is $$
@behavior -*
Stores which people joined and left a computed set, for a room whose own refresh has found them.
It gives what `track.recompute_person_sets` would compute with the function of the set, which it does not call. For the
owner. Errors: CF002 for an unknown set (names the nearest).
$$;

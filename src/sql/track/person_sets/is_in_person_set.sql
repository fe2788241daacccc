create or replace function track.is_in_person_set(name text, person_id bigint)
returns boolean
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_set constant track.person_set := track._find_person_set(is_in_person_set.name);
begin
  return coalesce(
    (
      select get_bit(person_set_block.people, (is_in_person_set.person_id % 4096)::int) <> 0
      from track.person_set_block
      where person_set_block.name = v_set.name
        and person_set_block.block = is_in_person_set.person_id / 4096
        and is_in_person_set.person_id > 0
    ),
    false
  );
end;
$$;

comment on function track.is_in_person_set(text, bigint) is $$
Returns whether a person belongs to a set, as of the last refresh.
Errors: CF002 for an unknown set (names the nearest).
$$;

grant execute on function track.is_in_person_set(text, bigint) to insights_reader, insights_admin, insights_worker;

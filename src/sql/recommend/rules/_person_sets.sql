/* A definer: it reads which sets contain the person, for the person and for those who read the data of all people. */
create or replace function recommend._person_sets(person_id bigint)
returns text[]
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  if not (track.reads_all_people() or _person_sets.person_id = track.current_person_id()) then
    return '{}';
  end if;
  return array(
    select block.name
    from track.person_set_block as block
    where block.block = _person_sets.person_id / 4096
      and starts_with(block.name, 'segment.')
      and get_bit(block.people, (_person_sets.person_id % 4096)::int) <> 0
    order by block.name
  );
end;
$$;

comment on function recommend._person_sets(bigint) is $$
@behavior -*
Returns the segments that contain a person.
$$;

grant execute on function recommend._person_sets(bigint) to insights_reader, insights_learner;

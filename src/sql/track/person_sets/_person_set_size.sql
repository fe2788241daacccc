create or replace function track._person_set_size(name text)
returns bigint
language sql
stable
parallel safe
begin atomic
  select coalesce(sum(bit_count(person_set_block.people)), 0)::bigint
  from track.person_set_block
  where person_set_block.name = _person_set_size.name;
end;

comment on function track._person_set_size(text) is $$
Returns the number of people in a set, 0 for an unknown set.
$$;

grant execute on function track._person_set_size(text) to insights_reader, insights_admin, insights_worker;

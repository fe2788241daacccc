create or replace function analytics._people_among(among text, smallest_group int, only_counted boolean)
returns bigint[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return array(
    select person.person_id
    from track.person
    join analytics._among(_people_among.among, _people_among.smallest_group) as member
      on member.block = person.person_id / 4096
      and get_bit(member.people, (person.person_id % 4096)::int) <> 0
    left join track.person_set_blocks('counted') as counted on counted.block = member.block
    left join track.person_set_blocks('excluded') as excluded on excluded.block = member.block
    where person.person_id <> 0
      and coalesce(get_bit(excluded.people, (person.person_id % 4096)::int), 0) = 0
      and (
        not _people_among.only_counted
        or coalesce(get_bit(counted.people, (person.person_id % 4096)::int), 0) <> 0
      )
  );
end;
$$;

comment on function analytics._people_among(text, int, boolean) is $$
Returns the people of an expression of sets (`analytics._among`) who are not excluded; `only_counted`: and are counted.
Person 0 (anonymised events) is not contained.
$$;

grant execute on function analytics._people_among(text, int, boolean) to insights_reader;

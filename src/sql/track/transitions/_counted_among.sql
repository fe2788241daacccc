create or replace function track._counted_among(people bigint[])
returns bigint[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return array(
    select entry.person_id
    from unnest(_counted_among.people) as entry (person_id)
    join track.person_set_block as counted
      on counted.name = 'counted'
      and counted.block = entry.person_id / 4096
      and get_bit(counted.people, (entry.person_id % 4096)::int) <> 0
  );
end;
$$;

comment on function track._counted_among(bigint[]) is $$
Returns the given people who are in the set `counted` as of the last refresh of the sets.
$$;

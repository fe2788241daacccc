create or replace function track._checked_blocks()
returns int
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return (
    -- One block after the other by the index: keys of people may have large gaps.
    with recursive block (number) as (
      -- The first block of a month is compared also when it has no people.
      select 0::bigint
      where exists (select from track.person)
      union all
      select (
        select min(person.person_id) / 4096
        from track.person
        where person.person_id >= (block.number + 1) * 4096
      )
      from block
      where block.number is not null
    )
    select count(block.number) from block
  );
end;
$$;

comment on function track._checked_blocks() is $$
@behavior -*
Returns the number of blocks of 4,096 people that the checks of a month compare: the first, and those that have people.
$$;

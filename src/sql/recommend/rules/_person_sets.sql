/* A definer: people may not read the sets. It returns those of the caller, or of any person to those who read all. */
create or replace function recommend._person_sets(person_id bigint)
returns text[]
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
set plan_cache_mode to force_generic_plan
set enable_seqscan to off
as $$
begin
  if _person_sets.person_id is null
    or _person_sets.person_id <= 0
    or not (
      _person_sets.person_id is not distinct from track.current_person_id()
      or track.reads_all_people()
    )
  then
    return '{}';
  end if;

  return array(
    select named.name
    from track.person_set as named
    where (
        select get_bit(block.people, (_person_sets.person_id % 4096)::int)
        from track.person_set_block as block
        where block.name = named.name
          and block.block = _person_sets.person_id / 4096
      ) = 1
      and (
        exists (select from recommend.rule where rule.person_set = named.name)
        or exists (select from recommend.ranked_list where ranked_list.list = named.name)
      )
    order by named.name
  );
end;
$$;

comment on function recommend._person_sets(bigint) is $$
@behavior -*
Returns the sets that contain a person, as of the last refresh, of those that a rule or a ranked list names.
Empty unless the person is the caller, or the caller may read the data of all people.
$$;

grant execute on function recommend._person_sets(bigint) to insights_reader, insights_learner;

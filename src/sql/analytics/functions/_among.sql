create or replace function analytics._among(among text, smallest_group int default null)
returns table (block int, people bit(4096))
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_terms constant text[] := regexp_split_to_array(btrim(left(_among.among, 1001)), '\s*&\s*');
  v_names constant text[] := array(
    select btrim(ltrim(entry.term, '~')) from unnest(v_terms) as entry (term)
  );
  v_invalid text;
  v_blocks int[];
  v_people bit(4096)[];
begin
  if length(_among.among) > 1000 or cardinality(v_terms) > 20 then
    perform common.refuse(
      'CF008',
      format('among has %s characters and %s sets', length(_among.among), cardinality(v_terms)),
      'It can have 1,000 characters and 20 sets at most.'
    );
  end if;
  select term.term into v_invalid
  from unnest(v_terms) as term (term)
  where term.term !~ '^~?\s*[a-z][a-z0-9_]*(\.[a-z0-9_]+)*$'
  limit 1;
  if found then
    perform common.refuse(
      'CF001',
      format('among has "%s" in place of a set of people', left(v_invalid, 100)),
      'Give names of sets with & between them and ~ before those to leave out: "segment.power & ~cohort.beta".'
    );
  end if;

  -- Raises an error with the nearest name.
  perform track.person_set_size(named.name)
  from unnest(v_names) as named (name)
  where not exists (select from track.person_set where person_set.name = named.name);
  perform analytics._check_sets(v_names);
  if _among.smallest_group is not null then
    select array_agg(counted.block), array_agg(counted.people) into v_blocks, v_people
    from track.person_set_blocks('counted') as counted;
    return query
    select chosen.block, chosen.people
    from analytics._among_of(_among.among, _among.smallest_group, v_blocks, v_people) as chosen;
    return;
  end if;

  return query
  with everyone as materialized (
    select blocks.block
    from generate_series(0, (select max(person.person_id) / 4096 from track.person)::int) as blocks (block)
  ),

  term as (
    select entry.position, entry.term like '~%' as is_left_out, btrim(ltrim(entry.term, '~')) as name
    from unnest(v_terms) with ordinality as entry (term, position)
  ),

  named as materialized (
    select term.position, set_block.block, set_block.people
    from term
    cross join lateral track.person_set_blocks(term.name) as set_block
  ),

  read as (
    select
      term.position, everyone.block,
      case when term.is_left_out then ~coalesce(named.people, v_no_people) else coalesce(named.people, v_no_people) end
        as people
    from term
    cross join everyone
    left join named on named.position = term.position and named.block = everyone.block
  )

  select everyone.block, coalesce(bit_and(read.people), ~v_no_people)
  from everyone
  left join read on read.block = everyone.block
  group by everyone.block;
end;
$$;

comment on function analytics._among(text, int) is $$
Returns the people of an expression of sets, one bit per person, as of now.
`among`: names of sets (`track.person_set`), with `&` between them and `~` before those to leave out, such as
`segment.power & ~cohort.beta`; null: all people. `smallest_group`: counted people only (set `counted`), and sets as
analysts see them (`analytics._among_of`); null: all people, and the sets as they are. Bits that belong to no person may
be set: use the result as a filter.
Errors: CF001 for another expression, CF002 for an unknown set (names the nearest), CF008 for more than 20 sets,
CF010 for variations of an experiment whose people were deleted by retention, and for live cohorts that read them.
$$;

grant execute on function analytics._among(text, int) to insights_reader;

create or replace function analytics._among_of(
  among text, smallest_group int, all_blocks int[], all_people bit(4096)[]
)
returns table (block int, people bit(4096))
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_numbers int[];
  v_blocks int[];
  v_people bit(4096)[];
  -- The sets of terms that people are not in, as bits, and their numbers of people.
  v_missed int[];
  v_counts bigint[];
  v_ignored int := 0;
  v_more int;
begin
  select array_agg(chosen.number), array_agg(chosen.block), array_agg(chosen.people)
  into v_numbers, v_blocks, v_people
  from (
    select
      term.number, everyone.block,
      case
        when term.is_left_out then everyone.people & ~coalesce(read.people, v_no_people)
        else coalesce(read.people, v_no_people)
      end as people
    from (
      select (row_number() over ())::int as number, stated.is_left_out, stated.name
      from (
        select distinct entry.term like '~%' as is_left_out, btrim(ltrim(entry.term, '~')) as name
        from unnest(regexp_split_to_array(btrim(_among_of.among), '\s*&\s*')) as entry (term)
      ) as stated
    ) as term
    cross join unnest(_among_of.all_blocks, _among_of.all_people) as everyone (block, people)
    left join lateral (
      select named.block, named.people
      from analytics._read_sets(
        analytics._family_of_set(term.name), _among_of.smallest_group, _among_of.all_blocks, _among_of.all_people
      ) as named
      where named.name = term.name
    ) as read on read.block = everyone.block
  ) as chosen;

  with recursive chosen as materialized (
    select entry.number, entry.block, entry.people
    from unnest(v_numbers, v_blocks, v_people) as entry (number, block, people)
  ),

  divided as (
    select 0 as number, 0 as missed, everyone.block, everyone.people
    from unnest(_among_of.all_blocks, _among_of.all_people) as everyone (block, people)
    union all
    select chosen.number, side.missed, divided.block, side.people
    from divided
    join chosen on chosen.number = divided.number + 1 and chosen.block = divided.block
    cross join lateral (
      values
        (divided.missed, divided.people & chosen.people),
        (divided.missed | (1 << divided.number), divided.people & ~chosen.people)
    ) as side (missed, people)
    where bit_count(side.people) > 0
  )

  select array_agg(sized.missed), array_agg(sized.person_count) into v_missed, v_counts
  from (
    select divided.missed, sum(bit_count(divided.people))::bigint as person_count
    from divided
    where divided.number = (select max(entry.number) from unnest(v_numbers) as entry (number))
    group by divided.missed
  ) as sized;

  -- Terms that leave out too few of the people of all others are ignored, until there are none.
  loop
    with missed as materialized (
      select entry.missed & ~v_ignored as missed, sum(entry.person_count) as person_count
      from unnest(v_missed, v_counts) as entry (missed, person_count)
      where entry.missed & ~v_ignored <> 0
      group by 1
    )

    select bit_or(missed.missed) into v_more
    from missed
    where missed.person_count < _among_of.smallest_group
      and not exists (
        select
        from missed as fewer
        where fewer.missed <> missed.missed
          and fewer.missed & missed.missed = fewer.missed
      );
    exit when v_more is null;
    v_ignored := v_ignored | v_more;
  end loop;

  return query
  with found as (
    select
      everyone.block,
      everyone.people & coalesce(
        bit_and(chosen.people) filter (where v_ignored & (1 << (chosen.number - 1)) = 0), ~v_no_people
      ) as people
    from unnest(_among_of.all_blocks, _among_of.all_people) as everyone (block, people)
    left join unnest(v_numbers, v_blocks, v_people) as chosen (number, block, people) on chosen.block = everyone.block
    group by everyone.block, everyone.people
  )

  select
    found.block,
    case
      when sum(bit_count(found.people)) over () >= _among_of.smallest_group then found.people
      else v_no_people
    end
  from found;
end;
$$;

comment on function analytics._among_of(text, int, int[], bit[]) is $$
Returns the people of an expression of sets (`analytics._among`) as analysts see them, one bit per person.
`all_blocks`, `all_people`: the people they are chosen from. Sets are those of `analytics._read_sets`, each with its
family. Terms that leave out fewer people of all others than `smallest_group` are ignored, and where all terms together
have fewer people than this, the result is empty. So the people of an expression are a group, as are those that any of
its terms leaves out.
The expression has been checked by the caller (`analytics._among`).
$$;

grant execute on function analytics._among_of(text, int, int[], bit[]) to insights_reader;

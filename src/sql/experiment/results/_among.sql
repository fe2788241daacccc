create or replace function experiment._among(among text)
returns setof track.person_set_block
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_terms constant text[] := regexp_split_to_array(btrim(left(_among.among, 1001)), '\s*&\s*');
  v_invalid text;
  v_names text[];
begin
  select term.term into v_invalid
  from unnest(v_terms) as term (term)
  where term.term !~ '^~?\s*[a-z][a-z0-9_]*(\.[a-z0-9_]+)*$'
  limit 1;
  if found or length(_among.among) > 1000 or cardinality(v_terms) > 20 then
    perform common.refuse(
      'CF001',
      format('among is "%s"', left(_among.among, 100)),
      'Give names of at most 20 sets of people, with & between them and ~ before those to leave out.'
    );
  end if;

  v_names := array(select btrim(ltrim(entry.term, '~')) from unnest(v_terms) as entry (term));
  perform experiment.check_sets(v_names);
  perform track.check_sets(v_names);
  return query
  with term as materialized (
    select entry.position, entry.term like '~%' as is_left_out, btrim(ltrim(entry.term, '~')) as name
    from unnest(v_terms) with ordinality as entry (term, position)
  ),

  named as materialized (
    select term.position, set_block.block, set_block.people
    from term
    cross join lateral track.person_set_blocks(term.name) as set_block
  )

  select
    'among',
    blocks.block,
    bit_and(
      case
        when term.is_left_out then ~coalesce(named.people, b'0'::bit(4096))
        else coalesce(named.people, b'0'::bit(4096))
      end
    )::bit(4096)
  from generate_series(0, (select max(person.person_id) / 4096 from track.person)::int) as blocks (block)
  cross join term
  left join named on named.position = term.position and named.block = blocks.block
  group by blocks.block;
end;
$$;

comment on function experiment._among(text) is $$
@behavior -*
Returns the people of an expression of sets: names with `&` between them, and `~` before those to leave out.
Errors: CF001 for another expression, CF002 for an unknown set (names the nearest), CF010 for variations whose
people were deleted by retention, and cohorts that read them.
$$;

grant execute on function experiment._among(text) to insights_reader;

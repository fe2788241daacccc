/*
 * Numbers of all people of a block at once: position k of the list has bit k - 1 of each number (bit slices). A bit
 * string is added as in a ripple-carry adder, with an `&` and a `#` per position.
 */
create or replace function analytics._add_bits(counts bit(4096)[], people bit(4096))
returns bit(4096)[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_counts bit(4096)[] := counts;
  v_carry bit(4096) := people;
  v_both bit(4096);
  v_place int := 1;
begin
  while bit_count(v_carry) > 0 loop
    if v_place > cardinality(v_counts) then
      return v_counts || v_carry;
    end if;
    v_both := v_counts[v_place] & v_carry;
    v_counts[v_place] := v_counts[v_place] # v_carry;
    v_carry := v_both;
    v_place := v_place + 1;
  end loop;
  return v_counts;
end;
$$;

comment on function analytics._add_bits(bit(4096)[], bit(4096)) is $$
Adds one to the number of each person of a bit string.
$$;

grant execute on function analytics._add_bits(bit(4096)[], bit(4096)) to insights_reader;

create or replace function analytics._add_bit_counts(counts bit(4096)[], other bit(4096)[])
returns bit(4096)[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_counts bit(4096)[] := counts;
begin
  for v_place in 1..cardinality(other) loop
    v_counts := coalesce(v_counts[:v_place - 1], '{}')
      || array_fill(b'0'::bit(4096), array[greatest(v_place - 1 - cardinality(v_counts), 0)])
      || analytics._add_bits(coalesce(v_counts[v_place:], '{}'), other[v_place]);
  end loop;
  return v_counts;
end;
$$;

comment on function analytics._add_bit_counts(bit(4096)[], bit(4096)[]) is $$
Adds the numbers of people of two lists.
$$;

grant execute on function analytics._add_bit_counts(bit(4096)[], bit(4096)[]) to insights_reader;

create or replace aggregate analytics._bit_counts(bit(4096)) (
  sfunc = analytics._add_bits,
  stype = bit(4096)[],
  initcond = '{}',
  combinefunc = analytics._add_bit_counts,
  parallel = safe
);

comment on aggregate analytics._bit_counts(bit(4096)) is $$
Returns for all people of a block how many of the bit strings contain each.
Position k of the result has bit k - 1 of the numbers.
$$;

grant execute on function analytics._bit_counts(bit(4096)) to insights_reader;

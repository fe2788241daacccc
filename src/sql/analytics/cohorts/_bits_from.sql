create or replace function analytics._bits_from(counts bit(4096)[], low int)
returns bit(4096)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_greater bit(4096) := b'0'::bit(4096);
  v_equal bit(4096) := ~b'0'::bit(4096);
begin
  if low <= 0 then
    return v_equal;
  elsif low >= 2::float8 ^ coalesce(cardinality(counts), 0) then
    return v_greater;
  end if;
  for v_place in reverse cardinality(counts)..1 loop
    if low & (1 << (v_place - 1)) <> 0 then
      v_equal := v_equal & counts[v_place];
    else
      v_greater := v_greater | (v_equal & counts[v_place]);
      v_equal := v_equal & ~counts[v_place];
    end if;
  end loop;
  return v_greater | v_equal;
end;
$$;

comment on function analytics._bits_from(bit(4096)[], int) is $$
Returns the people whose number in `counts` (`analytics._bit_counts`) is at least `low`.
$$;

grant execute on function analytics._bits_from(bit(4096)[], int) to insights_reader;

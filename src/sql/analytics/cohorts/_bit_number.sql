create or replace function analytics._bit_number(counts bit(4096)[], place int)
returns int
language sql
immutable
parallel safe
return coalesce(get_bit(counts[1], place), 0)
    + coalesce(get_bit(counts[2], place), 0) * 2
    + coalesce(get_bit(counts[3], place), 0) * 4
    + coalesce(get_bit(counts[4], place), 0) * 8
    + coalesce(get_bit(counts[5], place), 0) * 16
    + coalesce(get_bit(counts[6], place), 0) * 32
    + coalesce(get_bit(counts[7], place), 0) * 64
    + coalesce(get_bit(counts[8], place), 0) * 128
    + coalesce(get_bit(counts[9], place), 0) * 256
    + coalesce(get_bit(counts[10], place), 0) * 512
    + coalesce(get_bit(counts[11], place), 0) * 1024;

comment on function analytics._bit_number(bit(4096)[], int) is $$
Returns the number of one person, below 2,048, from those of all people of a block (`analytics._bit_counts`).
`place`: `person_id % 4096`. An expression without a loop, which is inlined.
$$;

grant execute on function analytics._bit_number(bit(4096)[], int) to insights_reader;

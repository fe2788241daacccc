create or replace function track.person_bit(person_id bigint)
returns bit(4096)
language sql
immutable
strict
parallel safe
return b'1'::bit(4096) >> (person_bit.person_id % 4096)::int;

comment on function track.person_bit(bigint) is $$
@behavior -*
Returns the bit string of one person within its block of 4,096 people.
`bit_or` of it builds the rows of `track.person_set_block`; `get_bit(people, (person_id % 4096)::int)` reads them.
$$;

grant execute on function track.person_bit(bigint) to insights_reader, insights_admin;

create or replace function ml._term_place(term text, dimensions int)
returns int
language plpgsql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_digest constant bytea := sha256(convert_to(term, 'UTF8'));
begin
  return case when get_byte(v_digest, 4) < 128 then 1 else -1 end
    * (('x' || encode(substr(v_digest, 1, 4), 'hex'))::bit(32)::bigint % dimensions + 1);
end;
$$;

comment on function ml._term_place(text, int) is $$
Returns the place of a term in a hashed vector, from 1, negative when the term is subtracted there.
It is the first four bytes of the SHA-256 of the term, modulo the dimensions; the sign is that of the fifth byte.
$$;

grant execute on function ml._term_place(text, int) to insights_analyst, insights_admin, insights_worker;

/*
 * The fast form in plpgsql: each statement of a loop costs more than its operators, so eight bytes are one expression,
 * and a text of ASCII characters alone is read as bytes. 16777619 is the prime of FNV, 4294967295 is 2^32 - 1; the
 * products stay below 2^57.
 */
create or replace function experiment.hash(seed text, value text, version int)
returns double precision
language plpgsql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_text text;
  v_bytes bytea;
  v_length int;
  v_hash bigint;
  v_at int;
  v_unit int;
begin
  if hash.version = 2 then
    v_text := hash.seed || hash.value;
  elsif hash.version = 1 then
    v_text := hash.value || hash.seed;
  else
    return null;
  end if;
  for v_round in 1..hash.version loop
    v_hash := 2166136261;
    v_length := octet_length(v_text);
    if length(v_text) < v_length then
      foreach v_unit in array experiment._code_units(v_text) loop
        v_hash := (v_hash # v_unit) * 16777619 & 4294967295;
      end loop;
    else
      v_bytes := convert_to(v_text, 'UTF8');
      v_at := 0;
      while v_at <= v_length - 8 loop
        v_hash := ((((((((v_hash # get_byte(v_bytes, v_at)) * 16777619 & 4294967295
          # get_byte(v_bytes, v_at + 1)) * 16777619 & 4294967295
          # get_byte(v_bytes, v_at + 2)) * 16777619 & 4294967295
          # get_byte(v_bytes, v_at + 3)) * 16777619 & 4294967295
          # get_byte(v_bytes, v_at + 4)) * 16777619 & 4294967295
          # get_byte(v_bytes, v_at + 5)) * 16777619 & 4294967295
          # get_byte(v_bytes, v_at + 6)) * 16777619 & 4294967295
          # get_byte(v_bytes, v_at + 7)) * 16777619 & 4294967295;
        v_at := v_at + 8;
      end loop;
      while v_at < v_length loop
        v_hash := (v_hash # get_byte(v_bytes, v_at)) * 16777619 & 4294967295;
        v_at := v_at + 1;
      end loop;
    end if;
    if hash.version = 1 then
      return (v_hash % 1000)::double precision / 1000;
    end if;
    v_text := v_hash::text;
  end loop;
  return (v_hash % 10000)::double precision / 10000;
end;
$$;

comment on function experiment.hash(text, text, integer) is $$
Returns the place of a value between 0 and 1, equal in each of GrowthBook's clients.
The FNV-1a hash of 32 bits of the UTF-16 code units. Version 2 hashes the seed followed by the value, then the decimal
text of that hash, and has 10,000 places; version 1 hashes the value followed by the seed once and has 1,000. Null for
another version. The work grows with the length of the text.
$$;

grant execute on function experiment.hash(text, text, integer)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

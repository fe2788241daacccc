create or replace function privacy._permute(halves bigint[], key bytea, rounds int[])
returns bigint[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_left bigint := halves[1];
  v_right bigint := halves[2];
  v_round int;
  v_mixed bigint;
begin
  foreach v_round in array rounds loop
    v_mixed := v_left # ('x' || encode(
      substr(sha256(key || set_byte('\x00', 0, v_round) || int8send(v_right)), 1, 8), 'hex'
    ))::bit(64)::bigint;
    v_left := v_right;
    v_right := v_mixed;
  end loop;
  return array[v_right, v_left];
end;
$$;

comment on function privacy._permute(bigint[], bytea, int[]) is $$
Encrypts a block of 128 bits, given as two numbers, under a key; the rounds in reverse order decrypt it.
A Feistel network with SHA-256 of the key, the round and the half, all of fixed length. Source: Luby, Rackoff, How to
construct pseudorandom permutations from pseudorandom functions, SIAM J. Comput. 17, 1988 (four rounds).
$$;

create or replace function privacy._ledger_hash(
  previous_hash bytea, commitment bytea, "position" bigint, sealed_at timestamptz, kind text
)
returns bytea
language sql
stable
parallel safe
return sha256(
  coalesce(previous_hash, '') || commitment || int8send("position")
    || int8send((extract(epoch from sealed_at) * 1000000)::bigint) || convert_to(kind, 'UTF8')
);

comment on function privacy._ledger_hash(bytea, bytea, bigint, timestamptz, text) is $$
Returns the hash of an entry of the ledger. `previous_hash` is null for the first entry.
$$;

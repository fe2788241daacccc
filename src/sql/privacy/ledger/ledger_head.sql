create or replace function privacy.ledger_head()
returns privacy.ledger_head
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return (
    select row(ledger.position, encode(ledger.hash, 'hex'), ledger.sealed_at)::privacy.ledger_head
    from privacy.ledger
    order by ledger.position desc
    limit 1
  );
end;
$$;

comment on function privacy.ledger_head() is $$
@behavior -mutationField +queryField
Returns the latest entry of the ledger; null when it is empty.
Who keeps its position and hash outside of the database, and gives them to `privacy.verify_ledger` later, also finds a
ledger that was rewritten as a whole or cut at its end. The worker prints them whenever it seals records.
$$;

grant execute on function privacy.ledger_head() to insights_admin, insights_worker;

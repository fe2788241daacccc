create or replace function privacy.account_removal(positions bigint[], reason text)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  insert into privacy.removal (positions, reason)
  select removed.positions, account_removal.reason
  from (
    select array_agg(distinct removed.position order by removed.position) as positions
    from unnest(account_removal.positions) as removed (position)
    where removed.position is not null
  ) as removed
  where removed.positions is not null;
end;
$$;

comment on function privacy.account_removal(bigint[], text) is $$
@behavior -*
Records that the records of these entries of the ledger were deleted by right, in the same transaction.
Called by functions that delete sealed records, with their `ledger_position`; nulls (not sealed yet) are left out. The
row is sealed itself, so that a deletion that it does not account for is found by `privacy.verify_ledger`.
$$;

create or replace function experiment._begin_change()
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  -- Rules between experiments, such as ranges of a layer, hold only if changes do not overlap.
  perform pg_advisory_xact_lock(hashtext('experiment.change'));
  -- A snapshot from before the lock would not show the changes that were waited for.
  if current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
    perform common.refuse(
      'CF003',
      format('the transaction is %s', current_setting('transaction_isolation')),
      'Change experiments in a transaction that is read committed.'
    );
  end if;
end;
$$;

comment on function experiment._begin_change() is $$
@behavior -*
Waits until no other transaction changes experiments, features, metrics, layers or holdouts.
Errors: CF003 in a transaction with a fixed snapshot.
$$;

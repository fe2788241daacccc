/*
 * A training consists of steps, each of which may be a transaction of its own: snapshots of the learners of some
 * courses, or the training of one algorithm. A training in one call (analytics.train_predictions) takes the same steps.
 */
create or replace function analytics._lock_training(seed bigint)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  if seed is null then
    perform common.refuse('CF001', 'seed is null', 'Give a number: the same seed and data give the same model.');
  end if;
  perform common.check_count('seed', _lock_training.seed, -1000000000000000000, 1000000000000000000);
  if not pg_try_advisory_xact_lock(hashtext('analytics.train_predictions')) then
    perform common.refuse('CF010', 'another training of predictions is running', 'Try again when it has finished.');
  end if;
end;
$$;

comment on function analytics._lock_training(bigint) is $$
Locks the training of predictions until the transaction ends. Errors: CF001 (no seed), CF010 (already running).
$$;

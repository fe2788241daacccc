create or replace function recommend._lock_training(kind text, seed bigint)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  perform recommend._check_session('train a model');
  perform recommend._check(1, _lock_training.kind);
  if _lock_training.seed is null then
    perform common.refuse('CF001', 'seed is null', 'Give a number: the same seed and data give the same model.');
  end if;
  if not pg_try_advisory_xact_lock(hashtext('recommend.train'), hashtext(_lock_training.kind)) then
    perform common.refuse(
      'CF010',
      format('another training of the recommender of kind "%s" is running', left(_lock_training.kind, 100)),
      'Try again when it has finished.'
    );
  end if;
end;
$$;

comment on function recommend._lock_training(text, bigint) is $$
@behavior -*
Checks the arguments of a training, and that no other training of the kind runs until the end of the transaction.
$$;

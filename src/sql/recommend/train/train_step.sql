/* A definer: see recommend.train. */
create or replace function recommend.train_step(
  kind text default 'course',
  seed bigint default 1
)
returns recommend.training
language plpgsql
volatile
security definer
set search_path from current
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
begin
  perform recommend._lock_training(train_step.kind, train_step.seed);
  return recommend._train_step(train_step.kind, train_step.seed);
exception
  when foreign_key_violation then
    perform common.refuse(
      'serialization_failure', 'the evaluation of the training was deleted by the erasure of a person',
      'Call it again: the training starts again without her.'
    );
    return null;
end;
$$;

comment on function recommend.train_step(text, bigint) is $$
@behavior -*
Does the next step of `recommend.train`. Call it until `version` is not null.
A step trains one model, tests one model on some people, or stores the version. It continues after the last committed
step, also of a run that was interrupted less than a day ago; `recommend.evaluation` shows the progress. For clients
that share one session, as in the embedded database. The resulting model is the same.
Errors: as `recommend.train`; 40001 when an erasure deletes the evaluation at the same time.
$$;

grant execute on function recommend.train_step(text, bigint) to insights_admin, insights_worker;

/* A definer: it reads the interactions of all people, and is granted to administrators and workers. */
create or replace function recommend.continue_evaluation(evaluation_id bigint)
returns recommend.evaluation
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
begin
  perform recommend._check_session('evaluate models');
  if not exists (
    select
    from recommend.evaluation as known
    where known.evaluation_id = continue_evaluation.evaluation_id
  ) then
    perform common.refuse(
      'CF002',
      format('there is no evaluation %s', coalesce(continue_evaluation.evaluation_id::text, 'null')),
      'recommend.evaluation lists them; recommend.start_evaluation starts one.'
    );
  end if;
  if not pg_try_advisory_xact_lock(
    hashtext('recommend.evaluation'), hashint8(continue_evaluation.evaluation_id)
  ) then
    perform common.refuse(
      'CF010',
      format('evaluation %s is being continued elsewhere', continue_evaluation.evaluation_id),
      'recommend.evaluation shows its progress.'
    );
  end if;
  return recommend._continue_evaluation(continue_evaluation.evaluation_id);
exception
  when foreign_key_violation then
    perform common.refuse(
      'serialization_failure',
      format('evaluation %s was deleted by the erasure of a person', continue_evaluation.evaluation_id),
      'Start another one by recommend.start_evaluation.'
    );
    return null;
end;
$$;

comment on function recommend.continue_evaluation(bigint) is $$
Does the next step of an evaluation, and returns its state. Call it until `state` is `finished`.
A step trains one model, tests one model on some people (at most 500,000 pairs of a person and an item), or computes the
results. A run that was interrupted continues after its last committed step, with the same results.
Errors: CF002 for an unknown evaluation, CF010 while another session continues it.
$$;

grant execute on function recommend.continue_evaluation(bigint) to insights_admin, insights_worker;

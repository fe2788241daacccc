create or replace function recommend._discard_training(kind text)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_unfinished constant bigint[] := array(
    select known.evaluation_id
    from recommend.evaluation as known
    where known.kind = _discard_training.kind
      and known.purpose in ('selection', 'deployment')
      and known.model_id is null
  );
begin
  delete from recommend.evaluation_person as person
  where person.evaluation_id = any (v_unfinished);
  delete from recommend.evaluation as known
  where known.evaluation_id = any (v_unfinished);
end;
$$;

comment on function recommend._discard_training(text) is $$
@behavior -*
Deletes the evaluations of trainings that were not finished.
$$;

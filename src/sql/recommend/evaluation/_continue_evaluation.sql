create or replace function recommend._continue_evaluation(evaluation_id bigint)
returns recommend.evaluation
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  -- Pairs of a person and an item that one step ranks.
  v_most_pairs constant int := 500000;
  v_evaluation recommend.evaluation;
  v_by_default constant boolean := (
    select purpose.basis <> 'consent'
    from privacy.purpose
    where purpose.purpose = 'personalization'
  );
  v_model_no int;
  v_models int;
  v_items int;
  v_tested numeric;
  v_people bigint[];
begin
  select * into v_evaluation
  from recommend.evaluation as known
  where known.evaluation_id = _continue_evaluation.evaluation_id;
  if v_evaluation.state = 'finished' then
    return v_evaluation;
  end if;

  -- People who have withdrawn since the start.
  v_people := array(
    select decision.person_id
    from privacy.latest_decisions('personalization') as decision
    where decision.granted <> v_by_default
  );
  delete from recommend.evaluation_person as person
  where person.evaluation_id = v_evaluation.evaluation_id
    and v_by_default = (person.person_id = any (v_people));

  select count(*), min(model.model_no) filter (where not model.is_trained)
  into v_models, v_model_no
  from recommend.evaluation_model as model
  where model.evaluation_id = v_evaluation.evaluation_id;
  if v_model_no is not null then
    perform recommend._train_evaluated(v_evaluation.evaluation_id, v_model_no);
  else
    v_items := (
      select count(*)
      from recommend.evaluation_item as item
      where item.evaluation_id = v_evaluation.evaluation_id
    );
    select min(person.models_done) + 1 into v_model_no
    from recommend.evaluation_person as person
    where person.evaluation_id = v_evaluation.evaluation_id
      and person.relevant <> '{}'
      and person.models_done < v_models;
    if v_model_no is not null then
      v_people := array(
        select person.person_id
        from recommend.evaluation_person as person
        where person.evaluation_id = v_evaluation.evaluation_id
          and person.relevant <> '{}'
          and person.models_done = v_model_no - 1
        order by person.person_id
        limit greatest(v_most_pairs / greatest(v_items, 1), 1)
      );
      perform recommend._test_people(v_evaluation, v_model_no, v_people);
    else
      perform recommend._finish_evaluation(v_evaluation);
    end if;
  end if;

  v_tested := coalesce(
    (
      select avg(person.models_done)
      from recommend.evaluation_person as person
      where person.evaluation_id = v_evaluation.evaluation_id
        and person.relevant <> '{}'
    ),
    0
  );
  -- Half of the progress is training, the other half testing.
  update recommend.evaluation as stored
  set
    progressed_at = clock_timestamp(),
    progress = case
      when stored.state = 'finished' then 1
      else 0.99 / greatest(v_models, 1) / 2 * (
        (
          select count(*)
          from recommend.evaluation_model as model
          where model.evaluation_id = stored.evaluation_id
            and model.is_trained
        )
        + v_tested
      )
    end
  where stored.evaluation_id = _continue_evaluation.evaluation_id
  returning stored.* into v_evaluation;
  return v_evaluation;
end;
$$;

comment on function recommend._continue_evaluation(bigint) is $$
@behavior -*
Does the next step of an evaluation: the training of one model, the test of one model on some people, or the results.
A step depends on what is stored, so that a run that was interrupted continues after its last committed step, with the
same results.
$$;

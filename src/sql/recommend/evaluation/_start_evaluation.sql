create or replace function recommend._start_evaluation(
  evaluation recommend.evaluation,
  models recommend.evaluation_model[]
)
returns recommend.evaluation
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_evaluation recommend.evaluation;
begin
  -- Rows about people of a run that was not continued are not kept.
  delete from recommend.evaluation_person as person
  using recommend.evaluation as known
  where known.evaluation_id = person.evaluation_id
    and known.state = 'running'
    and known.progressed_at < now() - interval '1 week';
  delete from recommend.evaluation as known
  where known.state = 'running'
    and known.progressed_at < now() - interval '1 week';

  insert into recommend.evaluation (
    kind, purpose, protocol, k, segments, seed, most_people, resamples, split_at, until_at
  )
  values (
    (evaluation).kind, (evaluation).purpose, (evaluation).protocol, (evaluation).k,
    coalesce((evaluation).segments, '{}'), (evaluation).seed, (evaluation).most_people, (evaluation).resamples,
    (evaluation).split_at, coalesce((evaluation).until_at, 'infinity')
  )
  returning * into v_evaluation;
  v_evaluation := recommend._freeze_evaluation(v_evaluation);

  -- A stored version that was trained on later rows would know what it is tested on: its method and parameters are
  -- trained on the same rows as the other models.
  insert into recommend.evaluation_model (evaluation_id, model_no, model, prior, parts, model_id)
  select
    v_evaluation.evaluation_id,
    entry.place,
    entry.model,
    entry.prior,
    entry.parts,
    case when version.data_watermark < v_evaluation.split_at then version.model_id end
  from unnest(models) with ordinality as entry (
    evaluation_id, model_no, model, prior, parts, model_id, is_trained, duration, place
  )
  left join ml.model as version on version.model_id = entry.model_id;
  return v_evaluation;
end;
$$;

comment on function recommend._start_evaluation(recommend.evaluation, recommend.evaluation_model[]) is $$
@behavior -*
Stores an evaluation with its data and its models, and returns it; `recommend._continue_evaluation` does the work.
$$;

create or replace function analytics._learner_scores(target text, as_of timestamptz, of_course bigint default null)
returns table (person_id bigint, course_id bigint, score float8, feature analytics.learner_features)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_target constant analytics.prediction_target := analytics._prediction_target(_learner_scores.target);
  v_features analytics.learner_features[];
begin
  if _learner_scores.as_of is null or not isfinite(_learner_scores.as_of) then
    perform common.refuse('CF001', format('as_of is %s', coalesce(_learner_scores.as_of::text, 'null')),
      'Give a time, such as now().');
  end if;
  if ml.deployed_version(v_target.project) is null then
    perform common.refuse('CF006', format('the prediction of %s has not been trained yet', _learner_scores.target),
      'Run analytics.train_predictions, or let the worker do it.');
  end if;

  v_features := array(
    select known
    from analytics._learner_features(
      array[_learner_scores.as_of],
      case when _learner_scores.of_course is not null then array[_learner_scores.of_course] end
    ) as known
    where known.days_idle <= extract(epoch from v_target.longest_idle) / 86400
  );
  return query
  select (learner.known).person_id, (learner.known).course_id, scored.score, learner.known
  from (select known, row_number() over () as row_no from unnest(v_features) as known) as learner
  join unnest(ml.predict_each(v_target.project, v_features)) with ordinality as scored (score, row_no) using (row_no);
end;
$$;

comment on function analytics._learner_scores(text, timestamptz, bigint) is $$
Returns the predictions of the deployed version for the learners of a course, or of all courses, as of a time.
`features` are the features that the prediction is computed from. Errors: CF001, CF002, CF006 (not trained).
$$;

grant execute on function analytics._learner_scores(text, timestamptz, bigint) to insights_reader;

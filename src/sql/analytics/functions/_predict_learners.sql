create or replace function analytics._course_id(course text)
returns bigint
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_course_id bigint;
begin
  select item.item_id into v_course_id from track.item where item.external_id = _course_id.course and item.kind = 'course';
  if v_course_id is null then
    perform common.refuse(
      'CF002',
      format('there is no course "%s"', coalesce(left(_course_id.course, 100), 'null')),
      coalesce(
        'Did you mean "'
          || common.nearest_name(
            _course_id.course,
            (select array_agg(item.external_id) from track.item where item.kind = 'course')
          )
          || '"?',
        'Give the external id of an item of kind course.'
      )
    );
  end if;
  return v_course_id;
end;
$$;

comment on function analytics._course_id(text) is $$Key of the course of an external id. Error CF002 names the nearest.$$;

create or replace function analytics._learner_scores(question text, as_of timestamptz, of_course bigint default null)
returns table (person_id bigint, course_id bigint, score float8, feature analytics.learner_features)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_question constant analytics.question := analytics._question(_learner_scores.question);
  v_features analytics.learner_features[];
begin
  if _learner_scores.as_of is null or not isfinite(_learner_scores.as_of) then
    perform common.refuse('CF001', format('as_of is %s', coalesce(_learner_scores.as_of::text, 'null')),
      'Give a time, such as now().');
  end if;
  if ml.deployed_version(v_question.project) is null then
    perform common.refuse('CF006', format('the prediction of %s has not been trained yet', _learner_scores.question),
      'Run analytics.train_predictions, or let the worker do it.');
  end if;

  v_features := array(
    select known
    from analytics._learner_features(
      array[_learner_scores.as_of],
      case when _learner_scores.of_course is not null then array[_learner_scores.of_course] end
    ) as known
    where known.days_idle <= extract(epoch from v_question.longest_idle) / 86400
  );
  return query
  select (learner.known).person_id, (learner.known).course_id, scored.score, learner.known
  from (select known, row_number() over () as row_no from unnest(v_features) as known) as learner
  join unnest(ml.predict_each(v_question.project, v_features)) with ordinality as scored (score, row_no) using (row_no);
end;
$$;

comment on function analytics._learner_scores(text, timestamptz, bigint) is $$
What the deployed version predicts of everyone who takes a course, or all courses, as of a time, and from which features.
Errors: CF001, CF002, CF006 (not trained).
$$;

create or replace function analytics._predict_learners(question text, course text, as_of timestamptz, top int, lowest_first boolean)
returns setof analytics.learner_prediction
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_course_id constant bigint := analytics._course_id(_predict_learners.course);
  v_project constant text := (analytics._question(_predict_learners.question)).project;
  v_version constant int := ml.deployed_version(v_project);
  v_features analytics.learner_features[];
  v_scores float8[];
begin
  perform common.check_count('top', _predict_learners.top, 1, 10000);
  select array_agg(chosen.feature order by chosen.place), array_agg(chosen.score order by chosen.place)
  into v_features, v_scores
  from (
    select
      scored.feature,
      scored.score,
      row_number() over (order by case when lowest_first then scored.score else -scored.score end, scored.person_id) as place
    from analytics._learner_scores(_predict_learners.question, _predict_learners.as_of, v_course_id) as scored
  ) as chosen
  where chosen.place <= _predict_learners.top;
  if v_features is null then
    return;
  end if;

  return query
  with reason as (
    select
      moved.row_no,
      array_agg(
        row(moved.feature, moved.feature_value, moved.contribution)::ml.contribution order by moved.place
      ) as reasons
    from (
      select
        explained.*,
        row_number() over (
          partition by explained.row_no order by abs(explained.contribution) desc, explained.feature
        ) as place
      from ml.explain_each(v_project, v_features, v_version) as explained
      where explained.feature <> '(base)'
        and explained.contribution <> 0
    ) as moved
    where moved.place <= 5
    group by moved.row_no
  )

  select
    learner.rank::int, (learner.known).person_id, name.external_id, v_scores[learner.rank::int],
    coalesce(reason.reasons, '{}'), v_version, _predict_learners.as_of
  from (select known, row_number() over () as rank from unnest(v_features) as known) as learner
  left join reason on reason.row_no = learner.rank
  left join lateral (
    select identity.external_id
    from track.identity
    where identity.person_id = (learner.known).person_id
    order by identity.kind = 'user' desc, identity.identity_id
    limit 1
  ) as name on true
  order by learner.rank;
end;
$$;

comment on function analytics._predict_learners(text, text, timestamptz, int, boolean) is $$
The learners of a course for whom the prediction is highest, or lowest, with the five features that moved each most.
$$;

grant execute on function
  analytics._course_id(text), analytics._learner_scores(text, timestamptz, bigint),
  analytics._predict_learners(text, text, timestamptz, int, boolean)
to insights_reader;

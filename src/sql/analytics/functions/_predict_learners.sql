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
returns table (person_id bigint, course_id bigint, score float8)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
declare
  v_question analytics.question := analytics._question(_learner_scores.question);
  v_model ml.model;
begin
  if _learner_scores.as_of is null or not isfinite(_learner_scores.as_of) then
    perform common.refuse('CF001', format('as_of is %s', coalesce(_learner_scores.as_of::text, 'null')),
      'Give a time, such as now().');
  end if;
  begin
    v_model := ml._version(v_question.project);
  exception when sqlstate 'CF002' then
    perform common.refuse('CF006', format('the prediction of %s has not been trained yet', _learner_scores.question),
      'Run analytics.train_predictions, or let the worker do it.');
  end;
  return query execute format(
    'select person_id, course_id, %s from (select person_id, course_id, %s from analytics._learner_features(array[$1], case when $2 is not null then array[$2] end)
     where days_idle <= extract(epoch from $3) / 86400 offset 0) as input',
    ml._answer_expression(ml._document(v_model), ml._score_expression(v_model)),
    analytics._input_list(v_model.coefficients)
  ) using _learner_scores.as_of, of_course, v_question.longest_idle;
end;
$$;

comment on function analytics._learner_scores(text, timestamptz, bigint) is $$
What the version in force predicts of everybody who takes a course, or all courses, as of a time. Errors: CF001, CF002, CF006 (not trained).
$$;

create or replace function analytics._input_list(document jsonb)
returns text
language sql
immutable
parallel safe
begin atomic
  select string_agg(format('%I::float8 as x%s', listed.feature ->> 'name', listed.position), ', ' order by listed.position)
  from jsonb_array_elements(document -> 'features') with ordinality as listed (feature, position);
end;

comment on function analytics._input_list(jsonb) is $$The features of a model, of those of `analytics.learner_features`, as x1, x2, ….$$;

create or replace function analytics._predict_learners(question text, course text, as_of timestamptz, top int, lowest_first boolean)
returns setof analytics.learner_prediction
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
declare
  v_course_id bigint := analytics._course_id(_predict_learners.course);
  v_question analytics.question := analytics._question(_predict_learners.question);
  v_model ml.model;
  v_people bigint[];
  v_scores float8[];
begin
  if _predict_learners.top is null or _predict_learners.top not between 1 and 10000 then
    perform common.refuse('CF001', format('top is %s', coalesce(_predict_learners.top::text, 'null')),
      'Give a number from 1 to 10000.');
  end if;
  select array_agg(chosen.person_id order by chosen.place), array_agg(chosen.score order by chosen.place)
  into v_people, v_scores
  from (
    select scored.person_id, scored.score, row_number() over (order by case when lowest_first then scored.score else -scored.score end, scored.person_id) as place
    from analytics._learner_scores(_predict_learners.question, _predict_learners.as_of, v_course_id) as scored
  ) as chosen
  where chosen.place <= _predict_learners.top;
  if v_people is null then
    return;
  end if;
  v_model := ml._version(v_question.project);
  return query execute format(
    $query$
    with explained (person_id, feature, feature_value, contribution) as (
      %s
    )
    select
      chosen.rank::int, chosen.person_id, name.external_id, chosen.score,
      array(
        select row(explained.feature, explained.feature_value, explained.contribution)::ml.contribution
        from explained
        where explained.person_id = chosen.person_id
          and explained.feature <> '(base)'
          and explained.contribution <> 0
        order by abs(explained.contribution) desc, explained.feature
        limit 5
      ),
      $4, $1
    from unnest($3, $5) with ordinality as chosen (person_id, score, rank)
    left join lateral (
      select identity.external_id
      from track.identity
      where identity.person_id = chosen.person_id
      order by identity.kind = 'user' desc, identity.identity_id
      limit 1
    ) as name on true
    order by chosen.rank
    $query$,
    ml._explain(
      v_model,
      '(select feature.* from analytics._learner_features(array[$1], array[$2]) as feature where feature.person_id = any ($3) offset 0) as learner',
      'person_id', analytics._input_list(v_model.coefficients), 'true'
    )
  ) using _predict_learners.as_of, v_course_id, v_people, v_model.version, v_scores;
end;
$$;

comment on function analytics._predict_learners(text, text, timestamptz, int, boolean) is $$
The learners of a course for whom the prediction is highest, or lowest, with the five features that moved each most.
$$;

grant execute on function
  analytics._course_id(text), analytics._learner_scores(text, timestamptz, bigint), analytics._input_list(jsonb),
  analytics._predict_learners(text, text, timestamptz, int, boolean)
to insights_reader;

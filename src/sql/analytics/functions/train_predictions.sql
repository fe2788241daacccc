create or replace function analytics._question(question text)
returns analytics.question
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_question analytics.question;
begin
  select * into v_question from analytics.question as entry where entry.question = _question.question;
  if v_question.question is null then
    raise exception using errcode = 'CF002', message = format('there is no question "%s"', coalesce(left(_question.question, 100), 'null')),
      hint = (select format('There are %s.', string_agg(entry.question, ', ' order by entry.question)) from analytics.question as entry);
  end if;
  return v_question;
end;
$$;

comment on function analytics._question(text) is $$A question by its name. Error CF002.$$;

create or replace function analytics._write_looks(question analytics.question, weeks int)
returns bigint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set jit to off
set client_min_messages to warning
as $$
declare
  v_newest timestamptz;
  v_oldest timestamptz;
  v_moments timestamptz[];
  v_rows bigint;
begin
  -- The first midnight of which the day before is complete, and the first by which anybody could have done anything for a week.
  select (least(max(activity.day) + 1, (now() at time zone 'UTC')::date))::timestamp at time zone 'UTC', (min(activity.day) + 7)::timestamp at time zone 'UTC'
  into v_newest, v_oldest
  from analytics.activity;
  select array_agg(moment order by moment)
  into v_moments
  from generate_series(0, weeks - 1) as week
  cross join lateral (select v_newest - (question).horizon - week * interval '7 days' as moment) as looked
  where moment >= v_oldest;

  drop table if exists pg_temp.learner_look;
  create temporary table learner_look on commit drop as
  select
    format('%s/%s/%s', feature.person_id, feature.course_id, feature.as_of::date) as look,
    feature.*,
    outcome.outcome,
    feature.as_of + (question).horizon as outcome_known_at
  from analytics._learner_features(coalesce(v_moments, '{}')) as feature
  join analytics._learner_outcomes((question).question, coalesce(v_moments, '{}'), (question).horizon) as outcome using (person_id, course_id, as_of)
  where feature.days_idle <= extract(epoch from (question).longest_idle) / 86400;
  get diagnostics v_rows = row_count;
  return v_rows;
end;
$$;

comment on function analytics._write_looks(analytics.question, int) is $$
Writes the temporary table `learner_look`: weekly looks at all learners, the latest ones whose outcome is known, with features and outcome. Returns the number of rows.
$$;

/* A definer: it reads what everybody did and writes models, and is granted to those who run the installation. */
create or replace function analytics.train_predictions(question text default null, seed bigint default 0)
returns setof ml.training
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
set client_min_messages to warning
as $$
declare
  v_question analytics.question;
  v_asked boolean := train_predictions.question is not null;
  v_looks text;
  v_seen record;
  v_features text;
  v_algorithm text;
  v_trained int;
  v_message text;
  v_hint text;
begin
  if v_asked then
    perform analytics._question(train_predictions.question);
  end if;
  if seed is null then
    raise exception using errcode = 'CF001', message = 'the seed is null', hint = 'Give a number: the same seed and data give the same model.';
  end if;
  if not pg_try_advisory_xact_lock(hashtext('analytics.train_predictions')) then
    raise exception using errcode = 'CF010', message = 'predictions are being trained already', hint = 'Wait until that is done.';
  end if;

  for v_question in
    select * from analytics.question as entry where not v_asked or entry.question = train_predictions.question order by entry.question
  loop
    perform analytics._write_looks(v_question, v_question.weeks);
    execute 'select count(*) as rows, count(distinct outcome) as outcomes, least(count(*) filter (where outcome > 0), count(*) filter (where outcome = 0)) as rarer from pg_temp.learner_look'
    into v_seen;
    if v_seen.rows < v_question.fewest_rows or v_seen.outcomes < 2 or v_seen.rarer < 10 then
      if v_asked then
        raise exception using
          errcode = 'CF004',
          message = format('too little is known to learn from: %s looks at learners, %s of the rarer outcome', v_seen.rows, v_seen.rarer),
          hint = format(
            'At least %s looks and 10 of the rarer outcome are needed. Looks are weekly and %s long: import enrolments with track.sync_enrolments and a few weeks of events, and run analytics.refresh_activity.',
            v_question.fewest_rows, v_question.horizon
          );
      end if;
      continue;
    end if;
    v_looks := format('%I.learner_look', (select nspname from pg_catalog.pg_namespace where oid = pg_catalog.pg_my_temp_schema()));
    select string_agg(quote_ident(attribute.attname), ', ' order by attribute.attnum)
    into v_features
    from pg_catalog.pg_attribute as attribute
    where attribute.attrelid = 'analytics.learner_features'::regclass
      and attribute.attnum > 0
      and not attribute.attisdropped
      and attribute.attname not in ('person_id', 'course_id', 'as_of', 'known_at');

    -- Both kinds, so that the better one is in force whatever the data are like, and one is when the other can not be had.
    v_trained := 0;
    foreach v_algorithm in array array['elastic_net', 'gbm'] loop
      begin
        return query
        select *
        from ml.train(
          v_question.project, v_question.task, v_looks, 'look', 'outcome',
          features => v_features,
          algorithm => v_algorithm,
          parameters => case v_algorithm
            when 'gbm' then '{"num_trees": 200, "max_depth": 3, "learning_rate": 0.1, "min_rows": 20, "lambda": 5, "row_sample": 0.8, "feature_sample": 0.6, "max_bins": 32}'::jsonb
            else '{"alpha": 0, "lambda_value": 0.01}'::jsonb
          end,
          predicted_at => 'as_of',
          label_known_at => 'outcome_known_at',
          feature_known_at => 'known_at',
          group_column => 'person_id',
          calibration => case v_question.task when 'classification' then 'platt' else 'none' end,
          metric => case v_question.task when 'classification' then 'log_loss' else 'root_mean_squared_error' end,
          seed => train_predictions.seed,
          description => v_question.description
        );
        v_trained := v_trained + 1;
      exception when sqlstate 'CF004' or sqlstate 'CF007' then
        get stacked diagnostics v_message = message_text, v_hint = pg_exception_hint;
        raise warning 'analytics.train_predictions: % by %: %', v_question.question, v_algorithm, v_message;
      end;
    end loop;
    if v_asked and v_trained = 0 then
      raise exception using errcode = 'CF004', message = format('nothing could be learned about %s: %s', v_question.question, v_message), hint = v_hint;
    end if;
  end loop;
  drop table if exists pg_temp.learner_look;
end;
$$;

comment on function analytics.train_predictions(text, bigint) is $$
Trains the predictions about learners, all or one question (`dropout`, `completion`, `activity`), and deploys what is better than the version in force.
Learns from weekly looks at everybody who took a course then (`analytics.question.weeks` of them), with the features as of the look and the outcome by the end
of the horizon. The latest quarter is held out; looks whose outcome was not known when it began are learned from by nobody, and a feature that used
anything later than its look would be refused (ml.time_split). A penalised linear model and boosted trees compete by log loss, calibrated, or squared error.
Without a question, those with too little to learn from are passed over. Errors: CF001, CF002 (no such question), CF004 (too little), CF010 (running already).
$$;

grant execute on function analytics._question(text) to insights_reader;
grant execute on function analytics.train_predictions(text, bigint) to insights_admin, insights_worker;

create or replace function analytics._train_step(settings analytics.prediction_target, progress analytics.training)
returns analytics.training_step
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  -- Maximum number of snapshots that a step writes; it writes those of at least one course.
  v_most constant int := 4000;
  v_courses bigint[];
  v_found record;
  v_step analytics.training_step;
begin
  v_step.target := (settings).target;
  if cardinality((progress).courses_left) > 0 then
    select array_agg(counted.course_id order by counted.place)
    into v_courses
    from (
      select
        listed.course_id,
        listed.place,
        sum(count(enrolment.person_id)) over (order by listed.place) as takers
      from unnest((progress).courses_left) with ordinality as listed (course_id, place)
      left join track.enrolment on enrolment.item_id = listed.course_id
      group by listed.course_id, listed.place
    ) as counted
    where counted.place = 1
      or counted.takers * cardinality((progress).moments) <= v_most;
    insert into analytics.snapshot
    select * from analytics._snapshots(settings, (progress).moments, v_courses);
    update analytics.training
    set courses_left = training.courses_left[cardinality(v_courses) + 1:]
    where training.target = v_step.target;
    v_step.step := format('took snapshots of the learners of %s courses', cardinality(v_courses));
    return v_step;
  end if;

  select
    count(*) as snapshots,
    count(distinct snapshot.outcome) as outcomes,
    least(count(*) filter (where snapshot.outcome > 0), count(*) filter (where snapshot.outcome = 0)) as rarer
  into v_found
  from analytics.snapshot
  where snapshot.target = v_step.target;
  if v_found.snapshots < (settings).fewest_rows or v_found.outcomes < 2 or v_found.rarer < 10 then
    v_step.step := format(
      'not enough data to train: %s snapshots of learners, %s of them with the rarer outcome',
      v_found.snapshots, v_found.rarer
    );
    v_step.hint := format(
      'At least %s snapshots are needed, 10 of them with the rarer outcome. A snapshot is taken per learner and week, '
        'and its outcome is known after %s: import enrolments with track.sync_enrolments and a few weeks of events.',
      (settings).fewest_rows, (settings).horizon
    );
    v_step.finished := true;
  else
    begin
      v_step.trained := analytics._train_on_snapshots(settings, (progress).algorithms_left[1], (progress).seed);
      v_step.step := format('trained %s', (progress).algorithms_left[1]);
    exception when sqlstate 'CF004' or sqlstate 'CF007' then
      get stacked diagnostics v_step.step = message_text, v_step.hint = pg_exception_hint;
      raise warning 'analytics.train_predictions: % by %: %',
        v_step.target, (progress).algorithms_left[1], v_step.step;
      v_step.step := format('cannot train %s: %s', v_step.target, v_step.step);
    end;
    v_step.finished := cardinality((progress).algorithms_left) = 1;
    update analytics.training
    set algorithms_left = training.algorithms_left[2:]
    where training.target = v_step.target;
  end if;
  if v_step.finished then
    perform analytics._end_training(v_step.target);
  end if;
  return v_step;
end;
$$;

comment on function analytics._train_step(analytics.prediction_target, analytics.training) is $$
Does the next step of a training: snapshots of the learners of some courses, or the training of one algorithm.
`finished` is true for the last step.
$$;

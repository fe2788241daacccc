create or replace function analytics._train_step(settings analytics.prediction_target, progress analytics.training)
returns analytics.training_step
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  -- So many looks at most are written in one step, but those of one course at least.
  v_most constant int := 4000;
  v_courses bigint[];
  v_seen record;
  v_step analytics.training_step;
begin
  v_step.target := (settings).target;
  if cardinality((progress).courses_left) > 0 then
    select array_agg(counted.course_id order by counted.place)
    into v_courses
    from (
      select listed.course_id, listed.place, sum(count(enrolment.person_id)) over (order by listed.place) as takers
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
    v_step.step := format('looked at the learners of %s courses', cardinality(v_courses));
    return v_step;
  end if;

  select count(*) as looks, count(distinct outcome) as outcomes, least(count(*) filter (where outcome > 0), count(*) filter (where outcome = 0)) as rarer
  into v_seen
  from analytics.snapshot
  where look.target = v_step.target;
  if v_seen.looks < (settings).fewest_rows or v_seen.outcomes < 2 or v_seen.rarer < 10 then
    v_step.step := format('too little is known to learn from: %s looks at learners, %s of the rarer outcome', v_seen.looks, v_seen.rarer);
    v_step.hint := format(
      'At least %s looks and 10 of the rarer outcome are needed. Looks are weekly and %s long: import enrolments with track.sync_enrolments and a few weeks of events.',
      (settings).fewest_rows, (settings).horizon
    );
    v_step.finished := true;
  else
    begin
      v_step.trained := analytics._train_on_snapshots(settings, (progress).algorithms_left[1], (progress).seed);
      v_step.step := format('trained %s', (progress).algorithms_left[1]);
    exception when sqlstate 'CF004' or sqlstate 'CF007' then
      get stacked diagnostics v_step.step = message_text, v_step.hint = pg_exception_hint;
      raise warning 'analytics.train_predictions: % by %: %', v_step.target, (progress).algorithms_left[1], v_step.step;
      v_step.step := format('nothing could be learned about %s: %s', v_step.target, v_step.step);
    end;
    v_step.finished := cardinality((progress).algorithms_left) = 1;
    update analytics.training set algorithms_left = training.algorithms_left[2:] where training.target = v_step.target;
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

create or replace function analytics._intervention_outcomes(
  course_id bigint, learners bigint[], days int, smallest_group int, breakdown_value text, is_other boolean
)
returns setof analytics.intervention_outcome
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_items constant bigint[] := array(
    select ancestor.item_id
    from track.item_ancestor as ancestor
    where ancestor.ancestor_item_id = _intervention_outcomes.course_id
  );
begin
  return query
  -- The first action of each kind about a learner: what she did after a second one may be due to the first.
  with noted as materialized (
    select distinct on (entry.person_id, entry.action)
      entry.person_id, entry.action, entry.happened_at, entry.risk
    from analytics._interventions(_intervention_outcomes.course_id) as entry
    where entry.person_id = any (_intervention_outcomes.learners)
    order by entry.person_id, entry.action, entry.happened_at, entry.intervention_id
  ),

  run as (
    select
      enrolment.person_id,
      bool_or(enrolment.status = 'completed') as has_completed,
      bool_and(enrolment.status = 'dropped') as has_dropped
    from track.enrolment
    where enrolment.item_id = _intervention_outcomes.course_id
      and enrolment.person_id = any (_intervention_outcomes.learners)
    group by enrolment.person_id
  ),

  resumed as (
    select distinct noted.person_id, noted.action
    from noted
    join track.event
      on event.person_id = noted.person_id
      and event.occurred_at > noted.happened_at
      and event.occurred_at <= noted.happened_at + make_interval(days => _intervention_outcomes.days)
    join track.event_type on event_type.event_type_id = event.event_type_id and not event_type.is_automatic
    join track.source on source.source_id = event.source_id and not source.is_automatic
    where event.item_id = any (v_items)
  ),

  followed as (
    select
      noted.action, noted.risk, run.has_completed, run.has_dropped,
      resumed.person_id is not null as has_resumed,
      noted.happened_at + make_interval(days => _intervention_outcomes.days) > now() as is_open
    from noted
    join run on run.person_id = noted.person_id
    left join resumed on resumed.person_id = noted.person_id and resumed.action = noted.action
  ),

  counted as (
    select
      followed.action,
      count(*) as person_count,
      count(*) filter (where followed.has_resumed) as resumed_count,
      count(*) filter (where not followed.has_resumed and not followed.is_open) as idle_count,
      count(*) filter (where not followed.has_resumed and followed.is_open) as open_count,
      count(*) filter (where followed.has_completed) as completed_count,
      count(*) filter (where followed.has_dropped) as dropped_count,
      count(followed.risk) as risk_count,
      avg(followed.risk) as mean_risk
    from followed
    group by followed.action
  ),

  shown as (
    select
      counted.action,
      analytics._shown(counted.person_count, counted.person_count, smallest_group)::bigint as person_count,
      analytics._shown(counted.resumed_count, counted.resumed_count, smallest_group)::bigint as resumed_count,
      analytics._shown(counted.idle_count, counted.idle_count, smallest_group)::bigint as idle_count,
      analytics._shown(counted.open_count, counted.open_count, smallest_group)::bigint as open_count,
      analytics._shown(counted.completed_count, counted.completed_count, smallest_group)::bigint as completed_count,
      analytics._shown(counted.dropped_count, counted.dropped_count, smallest_group)::bigint as dropped_count,
      analytics._shown_mean(counted.mean_risk, counted.risk_count, smallest_group) as mean_risk
    from counted
  )

  select
    shown.action, shown.person_count, shown.resumed_count, shown.idle_count, shown.open_count, shown.completed_count,
    shown.dropped_count, shown.resumed_count / nullif(shown.resumed_count + shown.idle_count, 0)::float8,
    shown.mean_risk,
    _intervention_outcomes.breakdown_value, _intervention_outcomes.is_other
  from shown
  where shown.person_count > 0
  order by shown.person_count desc, shown.action collate "C";
end;
$$;

comment on function analytics._intervention_outcomes(bigint, bigint[], int, int, text, boolean) is $$
Computes the result of `analytics.intervention_outcomes` for learners, with the privileges of the caller.
`smallest_group`: see `analytics._shown` and `analytics._shown_mean`; null: exact figures.
$$;

grant execute on function analytics._intervention_outcomes(
  bigint, bigint[], int, int, text, boolean
) to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures that its caller may see. */
create or replace function analytics.intervention_outcomes(
  course text,
  days int default 14,
  among text default null,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.intervention_outcome
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
declare
  v_visible record;
  v_part record;
begin
  perform common.check_count('days', intervention_outcomes.days, 1, 365);
  v_visible := analytics._visible_learners(
    coalesce(intervention_outcomes.course, ''), intervention_outcomes.among, intervention_outcomes.breakdown
  );
  for v_part in
    select *
    from analytics._learner_groups(
      intervention_outcomes.breakdown, intervention_outcomes.top_values, v_visible.smallest_group, v_visible.learners
    )
  loop
    return query
    select *
    from analytics._intervention_outcomes(
      v_visible.course_id, v_part.people, intervention_outcomes.days, v_visible.smallest_group, v_part.value,
      v_part.is_other
    );
  end loop;
end;
$$;

alter function analytics.intervention_outcomes(text, int, text, text, int) owner to insights_reader;

comment on function analytics.intervention_outcomes(text, int, text, text, int) is $$
Returns the outcome of what teachers did about the learners of a course, by kind of action.
A learner has resumed when she was active in the course within `days` after the first action of the kind. This does not
show what the action caused: teachers choose whom they help, and many learners resume by themselves. An experiment does
(`experiment.assign`). Learners are people who are or were enrolled, without those who have opted out of the
purpose `analytics`; `among`: people of these sets now.
`breakdown`: `set.<family>` or `trait.<name>`, as of now: the result for the people of each value, of at most
`top_values`; for analysts, values of too few people are in the rest (`analytics._people_groups`).
For administrators and workers, figures are exact; for instructors too, in the courses that they teach now. Analysts see
figures of counted people: actions about fewer people than `analytics.setting.smallest_group` are left out, a number of
fewer people reads as 0, others are rounded by `analytics._shown`, and the mean is null for fewer than 1.5 times as
many. Errors: CF001 for `days` that are not from 1 to 365; CF002 for an unknown course or set (names the nearest), and a
course that the instructor does not teach; CF005 for `among` or `breakdown` given by an instructor.
$$;

grant execute on function analytics.intervention_outcomes(text, int, text, text, int)
to insights_instructor, insights_analyst, insights_admin, insights_worker;

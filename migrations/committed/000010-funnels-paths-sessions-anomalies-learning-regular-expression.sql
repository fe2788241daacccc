--! Previous: sha1:7aac8eccc3daf658655a4f2b066eaffe081b990a
--! Hash: sha1:4071dc00a5395c1255540bdae5ea76a3376a0450
--! Message: Funnels, paths, sessions, anomalies, learning; regular expressions of bounded size

--! Included prepare.sql
/*
 * The start of every migration. The types and operators of pgvector are resolved when objects are created, in the
 * schema of the extension. Only the owner may call a function until its file grants it.
 */
do $$
declare
  v_schema text := (
    select namespace.nspname
    from pg_catalog.pg_extension as extension
    join pg_catalog.pg_namespace as namespace on namespace.oid = extension.extnamespace
    where extension.extname = 'vector'
  );
begin
  if v_schema is null then
    raise exception using
      errcode = 'CF002',
      message = format('the extension "vector" is not installed in database "%s"', current_database()),
      hint = 'Run "insights migrate", which installs it, or "create extension vector" as an administrator.';
  end if;
  perform pg_catalog.set_config('search_path', pg_catalog.format('%I, pg_temp', v_schema), true);
  -- Hides the notices of "drop … if exists" for objects that do not exist.
  perform pg_catalog.set_config('client_min_messages', 'warning', true);
end;
$$;

alter default privileges revoke execute on functions from public;
--! EndIncluded prepare.sql

-- Changes of structure since the last release: see migrations/README.md.

/* ---------------------------------------------------------------------------------------------------- funnels -- */

create type analytics.step_filter as (
  event_type_id int,
  event text,
  item text,
  item_id bigint,
  items bigint[],
  property jsonb,
  is_optional boolean,
  is_exclusion boolean,
  first_step int,
  last_step int
);

comment on type analytics.step_filter is $$
@behavior -*
A step or an exclusion of a funnel.
$$;
comment on column analytics.step_filter.event_type_id is $$Event type; 0: any event that is not automatic.$$;
comment on column analytics.step_filter.event is $$Name of the event, as given.$$;
comment on column analytics.step_filter.item is $$External id of the item; null: any.$$;
comment on column analytics.step_filter.item_id is $$Key of the item.$$;
comment on column analytics.step_filter.items is $$The item and what it contains.$$;
comment on column analytics.step_filter.property is $$Name and value of a property, as `name` and `is`; null: any.$$;
comment on column analytics.step_filter.is_optional is $$Whether the step can be left out.$$;
comment on column analytics.step_filter.is_exclusion is $$Whether this is an exclusion.$$;
comment on column analytics.step_filter.first_step is $$
Number of the step; of an exclusion that of the step before it.
$$;
comment on column analytics.step_filter.last_step is $$Number of the step; of an exclusion that of the step after it.$$;

create type analytics.funnel_step as (
  breakdown_value text,
  is_other boolean,
  step int,
  event text,
  item text,
  is_optional boolean,
  person_count bigint,
  share float8,
  step_share float8,
  dropped_count bigint,
  open_count bigint,
  mean_time interval,
  median_time interval,
  median_total_time interval
);

comment on type analytics.funnel_step is $$
A step of a funnel with the people who did it.
For analysts, numbers of people are rounded, a group of too few people is 0, and shares are computed from these numbers.
$$;
comment on column analytics.funnel_step.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.funnel_step.is_other is $$Whether the row is about all values that are not named.$$;
comment on column analytics.funnel_step.step is $$Number of the step; of an unordered funnel the number of steps.$$;
comment on column analytics.funnel_step.event is $$Event of the step; null in an unordered funnel.$$;
comment on column analytics.funnel_step.item is $$External id of the item of the step; null: any.$$;
comment on column analytics.funnel_step.is_optional is $$Whether the step can be left out.$$;
comment on column analytics.funnel_step.person_count is $$Number of people whose attempt has reached the step.$$;
comment on column analytics.funnel_step.share is $$
Number of people in proportion to the first step; null when that is 0.
$$;
comment on column analytics.funnel_step.step_share is $$
Number of people in proportion to the step before it, optional ones apart; null when that is 0.
$$;
comment on column analytics.funnel_step.dropped_count is $$
Number of people who did not do the next step, optional ones apart; null for the last and for an optional step.
$$;
comment on column analytics.funnel_step.open_count is $$
Number of people who did not do the next step, and whose window was open at the end of the period, or is open now.
Null for the last step.
$$;
comment on column analytics.funnel_step.mean_time is $$
Mean time from the step before it, optional ones apart; null for the first step, and for analysts of too few people.
$$;
comment on column analytics.funnel_step.median_time is $$Median of the same.$$;
comment on column analytics.funnel_step.median_total_time is $$Median time from the first step.$$;

create type analytics.funnel_trend_point as (
  bucket_start timestamptz,
  breakdown_value text,
  is_other boolean,
  entered_count bigint,
  converted_count bigint,
  share float8,
  median_time interval,
  is_complete boolean,
  zone text
);

comment on type analytics.funnel_trend_point is $$
A time bucket with the people who entered a funnel in it.
For analysts, numbers of people are rounded, a group of too few people is 0, and shares are computed from these numbers.
$$;
comment on column analytics.funnel_trend_point.bucket_start is $$Start of the bucket.$$;
comment on column analytics.funnel_trend_point.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.funnel_trend_point.is_other is $$Whether the row is about all values that are not named.$$;
comment on column analytics.funnel_trend_point.entered_count is $$
Number of people whose attempt began in the bucket, and reached the step from which people are counted.
$$;
comment on column analytics.funnel_trend_point.converted_count is $$
Number of those who reached the step to which people are counted.
$$;
comment on column analytics.funnel_trend_point.share is $$Share of the people who reached it; null without people.$$;
comment on column analytics.funnel_trend_point.median_time is $$Median time between the two steps.$$;
comment on column analytics.funnel_trend_point.is_complete is $$
Whether the window of all attempts of the bucket has ended.
$$;
comment on column analytics.funnel_trend_point.zone is $$Time zone of the buckets.$$;

create type analytics.funnel_time as (
  bin_start interval,
  bin_end interval,
  person_count bigint
);

comment on type analytics.funnel_time is $$
A bin of a histogram of the time between two steps of a funnel.
$$;
comment on column analytics.funnel_time.bin_start is $$Shortest time.$$;
comment on column analytics.funnel_time.bin_end is $$
Longest time, exclusive; null in the last bin, for all longer times.
$$;
comment on column analytics.funnel_time.person_count is $$
Number of people; for analysts rounded, and 0 for too few people.
$$;

create type analytics.funnel_person as (
  person_id bigint,
  person text,
  reached int,
  step_at timestamptz,
  times timestamptz[]
);

comment on type analytics.funnel_person is $$
A person in a funnel, with the attempt that went furthest.
$$;
comment on column analytics.funnel_person.person_id is $$Key of the person.$$;
comment on column analytics.funnel_person.person is $$
Name of the person in the application: the `userId`, or else an `anonymousId`.
$$;
comment on column analytics.funnel_person.reached is $$Number of the furthest step.$$;
comment on column analytics.funnel_person.step_at is $$Time of the step.$$;
comment on column analytics.funnel_person.times is $$
Time of each step, null where it was not done; in an unordered funnel of as many steps as were done.
$$;

create type analytics.funnel_factor as (
  factor text,
  converted_with bigint,
  dropped_with bigint,
  converted_without bigint,
  dropped_without bigint,
  odds_ratio float8,
  lower_bound float8,
  upper_bound float8,
  adjusted_p_value float8,
  is_significant boolean
);

comment on type analytics.funnel_factor is $$
A factor that people who did all steps of a funnel have more or less often than those who did not.
For analysts, numbers of people are rounded, and all other figures are computed from these numbers.
$$;
comment on column analytics.funnel_factor.factor is $$Event, set of people, or value of the trait.$$;
comment on column analytics.funnel_factor.converted_with is $$Number of people with the factor who did all steps.$$;
comment on column analytics.funnel_factor.dropped_with is $$Number of people with the factor who did not.$$;
comment on column analytics.funnel_factor.converted_without is $$Number of the other people who did all steps.$$;
comment on column analytics.funnel_factor.dropped_without is $$Number of the other people who did not.$$;
comment on column analytics.funnel_factor.odds_ratio is $$
Odds of doing all steps with the factor, divided by those without it.
$$;
comment on column analytics.funnel_factor.lower_bound is $$Lower bound of its 95 % confidence interval.$$;
comment on column analytics.funnel_factor.upper_bound is $$Upper bound of its 95 % confidence interval.$$;
comment on column analytics.funnel_factor.adjusted_p_value is $$
p-value against an odds ratio of 1, adjusted for the number of factors (Benjamini and Hochberg).
$$;
comment on column analytics.funnel_factor.is_significant is $$Whether the adjusted p-value is at most 0.05.$$;

create type analytics.path_edge as (
  step int,
  source text,
  target text,
  transition_count bigint,
  person_count bigint,
  share float8,
  mean_time interval,
  compared_transition_count bigint,
  compared_person_count bigint,
  compared_share float8
);

comment on type analytics.path_edge is $$
A transition from one node of a path to the next one.
For analysts, figures are rounded, and transitions of too few people are left out.
$$;
comment on column analytics.path_edge.step is $$Number of the source in its path, 1 for the first node.$$;
comment on column analytics.path_edge.source is $$Node before the transition; "..." for left out nodes.$$;
comment on column analytics.path_edge.target is $$Node after the transition.$$;
comment on column analytics.path_edge.transition_count is $$Number of transitions.$$;
comment on column analytics.path_edge.person_count is $$Number of distinct people.$$;
comment on column analytics.path_edge.share is $$
Share of the transitions in the paths that are at the source at this step; the others continue elsewhere or end.
$$;
comment on column analytics.path_edge.mean_time is $$
Mean time from the start of the view of the source to that of the target; null for analysts of too few people.
$$;
comment on column analytics.path_edge.compared_transition_count is $$
Number of transitions of the people of `compared_with`; null without it.
$$;
comment on column analytics.path_edge.compared_person_count is $$Number of these people; null without it.$$;
comment on column analytics.path_edge.compared_share is $$Share of their transitions; null without it.$$;

create type analytics.path_sequence as (
  nodes text[],
  occurrence_count bigint,
  person_count bigint,
  compared_occurrence_count bigint,
  compared_person_count bigint
);

comment on type analytics.path_sequence is $$
A sequence of nodes in sessions.
For analysts, figures are rounded, and sequences of too few people are left out.
$$;
comment on column analytics.path_sequence.nodes is $$Nodes in their order.$$;
comment on column analytics.path_sequence.occurrence_count is $$Number of occurrences.$$;
comment on column analytics.path_sequence.person_count is $$Number of distinct people.$$;
comment on column analytics.path_sequence.compared_occurrence_count is $$
Number of occurrences in sessions of the people of `compared_with`; null without it.
$$;
comment on column analytics.path_sequence.compared_person_count is $$Number of these people; null without it.$$;

create type analytics.session_point as (
  bucket_start timestamptz,
  breakdown_value text,
  is_other boolean,
  session_count bigint,
  person_count bigint,
  sessions_per_person float8,
  mean_duration interval,
  median_duration interval,
  mean_engaged interval,
  median_engaged interval,
  mean_views float8,
  bounce_count bigint,
  bounce_rate float8,
  is_complete boolean,
  zone text
);

comment on type analytics.session_point is $$
A time bucket with the sessions that started in it.
For analysts, figures are rounded, and those of too few people are 0 or null.
$$;
comment on column analytics.session_point.bucket_start is $$Start of the bucket.$$;
comment on column analytics.session_point.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.session_point.is_other is $$Whether the row is about all values that are not named.$$;
comment on column analytics.session_point.session_count is $$Number of sessions.$$;
comment on column analytics.session_point.person_count is $$Number of distinct people.$$;
comment on column analytics.session_point.sessions_per_person is $$
Number of sessions divided by that of people; null without people.
$$;
comment on column analytics.session_point.mean_duration is $$Mean time from the first to the last event of a session.$$;
comment on column analytics.session_point.median_duration is $$Median of the same.$$;
comment on column analytics.session_point.mean_engaged is $$Mean engaged time of a session.$$;
comment on column analytics.session_point.median_engaged is $$Median of the same.$$;
comment on column analytics.session_point.mean_views is $$Depth: mean number of page views of a session.$$;
comment on column analytics.session_point.bounce_count is $$
Number of bounces: sessions of at most one page view and less than 10 seconds of engaged time.
$$;
comment on column analytics.session_point.bounce_rate is $$Share of the bounces; null without sessions.$$;
comment on column analytics.session_point.is_complete is $$Whether the bucket has ended.$$;
comment on column analytics.session_point.zone is $$Time zone of the buckets.$$;

create type analytics.session_item as (
  rank int,
  item text,
  title text,
  kind text,
  session_count bigint,
  person_count bigint,
  bounce_count bigint,
  bounce_rate float8
);

comment on type analytics.session_item is $$
An item with which sessions start or end.
For analysts, figures are rounded, and items of too few people are left out.
$$;
comment on column analytics.session_item.rank is $$Rank, 1 for the item of most sessions.$$;
comment on column analytics.session_item.item is $$External id of the item.$$;
comment on column analytics.session_item.title is $$Title of the item; null when unknown.$$;
comment on column analytics.session_item.kind is $$Kind of the item.$$;
comment on column analytics.session_item.session_count is $$Number of sessions.$$;
comment on column analytics.session_item.person_count is $$Number of distinct people.$$;
comment on column analytics.session_item.bounce_count is $$
Number of bounces: sessions of at most one page view and less than 10 seconds of engaged time.
$$;
comment on column analytics.session_item.bounce_rate is $$Share of the bounces.$$;

/* -------------------------------------------------------------------------------------------------- anomalies -- */

create type analytics.anomaly as (
  bucket_start timestamptz,
  breakdown_value text,
  is_other boolean,
  figure float8,
  expected float8,
  lower_bound float8,
  upper_bound float8,
  score float8,
  is_anomaly boolean,
  zone text
);

comment on type analytics.anomaly is $$
A time bucket of a trend with the figure that is expected from the past.
$$;
comment on column analytics.anomaly.bucket_start is $$Start of the bucket.$$;
comment on column analytics.anomaly.breakdown_value is $$Value of the breakdown, as in `analytics.trend_point`.$$;
comment on column analytics.anomaly.is_other is $$Whether the row is about all values that are not named.$$;
comment on column analytics.anomaly.figure is $$Number of events or people, or engaged time in seconds.$$;
comment on column analytics.anomaly.expected is $$Expected figure.$$;
comment on column analytics.anomaly.lower_bound is $$Smallest figure that is not an anomaly.$$;
comment on column analytics.anomaly.upper_bound is $$Largest figure that is not an anomaly.$$;
comment on column analytics.anomaly.score is $$
Distance from the expected figure, in deviations, negative below it; null when the deviation is 0.
$$;
comment on column analytics.anomaly.is_anomaly is $$Whether the figure is outside of the bounds.$$;
comment on column analytics.anomaly.zone is $$Time zone of the buckets.$$;

create type analytics.week_hour as (
  weekday int,
  hour int,
  event_count bigint,
  person_count bigint,
  share float8
);

comment on type analytics.week_hour is $$
An hour of the week with its activity.
For analysts, figures are rounded, and an hour of too few people is 0.
$$;
comment on column analytics.week_hour.weekday is $$Day of the week, from 1 for Monday to 7 for Sunday.$$;
comment on column analytics.week_hour.hour is $$Hour of the day, from 0 to 23.$$;
comment on column analytics.week_hour.event_count is $$Number of events.$$;
comment on column analytics.week_hour.person_count is $$Number of distinct people.$$;
comment on column analytics.week_hour.share is $$Share of the events of all hours; null without events.$$;

create type experiment.regex_part as (
  ways double precision,
  first_ways double precision,
  first_arcs double precision,
  last_ways double precision,
  last_states double precision,
  arcs double precision,
  states double precision
);

comment on type experiment.regex_part is $$
How large the automaton of a part of a regular expression is; see `experiment._regex_work`.
$$;
comment on column experiment.regex_part.ways is $$
Ways to pass the part without a character, with different boundaries; 0 if it needs a character.
$$;
comment on column experiment.regex_part.first_ways is $$Ways from the start of the part to its first character.$$;
comment on column experiment.regex_part.first_arcs is $$Arcs of the characters with which the part can start.$$;
comment on column experiment.regex_part.last_ways is $$Ways from the last character of the part to its end.$$;
comment on column experiment.regex_part.last_states is $$States in which the part can end.$$;
comment on column experiment.regex_part.arcs is $$
Arcs between the characters of the part, times the ways between them.
$$;
comment on column experiment.regex_part.states is $$Characters of the part, with their repetitions.$$;

create type analytics.engagement_level as (
  section text,
  title text,
  item_count bigint,
  level text,
  person_count bigint,
  share float8
);

comment on type analytics.engagement_level is $$
A level of engagement with a section of a course, and the learners who are at it.
For analysts, numbers of people are rounded, and too few people are 0.
$$;
comment on column analytics.engagement_level.section is $$External id of the section, or of the course.$$;
comment on column analytics.engagement_level.title is $$Title of the section; null when unknown.$$;
comment on column analytics.engagement_level.item_count is $$Number of items of the section.$$;
comment on column analytics.engagement_level.level is $$Level, in the words of Aspects.$$;
comment on column analytics.engagement_level.person_count is $$Number of learners.$$;
comment on column analytics.engagement_level.share is $$Share of the learners of the course; null without learners.$$;

create type analytics.task_deadline as (
  task text,
  title text,
  due_at timestamptz,
  learner_count bigint,
  started_count bigint,
  on_time_count bigint,
  late_count bigint,
  missing_count bigint,
  floating_count bigint,
  median_lead interval,
  median_work interval
);

comment on type analytics.task_deadline is $$
A task of a course with the submissions of its learners.
For analysts, figures are rounded, and those of too few people are 0 or null.
$$;
comment on column analytics.task_deadline.task is $$External id of the task.$$;
comment on column analytics.task_deadline.title is $$Title of the task; null when unknown.$$;
comment on column analytics.task_deadline.due_at is $$Deadline; null without one.$$;
comment on column analytics.task_deadline.learner_count is $$Number of learners of the course.$$;
comment on column analytics.task_deadline.started_count is $$Number of learners who started the task.$$;
comment on column analytics.task_deadline.on_time_count is $$
Number of learners who submitted it by the deadline, or without one.
$$;
comment on column analytics.task_deadline.late_count is $$Number of learners who submitted it after the deadline.$$;
comment on column analytics.task_deadline.missing_count is $$
Number of learners who have not submitted it, after the deadline.
$$;
comment on column analytics.task_deadline.floating_count is $$
Number of learners who have not submitted it, before the deadline or without one.
$$;
comment on column analytics.task_deadline.median_lead is $$
Median time from the submission to the deadline, negative after it; null without submissions or deadline.
$$;
comment on column analytics.task_deadline.median_work is $$
Median time from the start of the task to its submission; null without such.
$$;

--! Included common/functions/duration_quantile.sql
create or replace function common.duration_quantile(counts bigint[], quantile float8)
returns float8
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  -- NaN is greater than any number.
  if duration_quantile.quantile < 0 or duration_quantile.quantile > 1 then
    perform common.refuse(
      'CF001', format('the quantile is %s', duration_quantile.quantile), 'Give a share from 0 to 1, such as 0.95.'
    );
  end if;
  return (
    with bucket as (
      select
        counted.bucket,
        counted.calls,
        sum(counted.calls) over (order by counted.bucket) as calls_up_to,
        sum(counted.calls) over () * duration_quantile.quantile as rank
      from unnest(duration_quantile.counts) with ordinality as counted (calls, bucket)
    ),

    holding as (
      select
        bucket.bucket,
        -- The part of the bucket's calls that are below the rank.
        ((bucket.rank - bucket.calls_up_to + bucket.calls) / bucket.calls)::float8 as part
      from bucket
      where bucket.calls > 0
        and bucket.calls_up_to >= bucket.rank
      order by bucket.bucket
      limit 1
    )

    select
      case
        when holding.bucket = 1 then bound.bounds[1] * holding.part
        when holding.bucket > cardinality(bound.bounds) then bound.bounds[cardinality(bound.bounds)]
        else bound.bounds[holding.bucket - 1]
          * power(bound.bounds[holding.bucket] / bound.bounds[holding.bucket - 1], holding.part)
      end
    from holding
    cross join (select common.duration_bounds() as bounds) as bound
  );
end;
$$;

comment on function common.duration_quantile(bigint[], float8) is $$
Returns a quantile of durations that are counted by `common.duration_bounds()`, in seconds; null without any.
Between the two bounds of a bucket they are taken to be spread evenly over the logarithm, so that the result is at most
√2 times as large or as small as the true value, from the first bound on. At or above the last bound it is that bound.
Errors: CF001 for a quantile below 0 or above 1.
$$;

grant execute on function common.duration_quantile(bigint[], float8)
to insights_reader, insights_admin, insights_worker;
--! EndIncluded common/functions/duration_quantile.sql

--! Included experiment/assignment/_regex_work.sql
-- 1e9 is far above each bound, and far below the largest number.
create or replace function experiment._regex_sequence(part experiment.regex_part, other experiment.regex_part)
returns experiment.regex_part
language sql
immutable
parallel safe
begin atomic
  select row(
    least(part.ways * other.ways, 1e9),
    least(greatest(part.first_ways, part.ways * other.first_ways), 1e9),
    least(part.first_arcs + case when part.ways > 0 then other.first_arcs else 0 end, 1e9),
    least(greatest(other.last_ways, other.ways * part.last_ways), 1e9),
    least(other.last_states + case when other.ways > 0 then part.last_states else 0 end, 1e9),
    least(part.arcs + other.arcs + part.last_ways * other.first_ways * part.last_states * other.first_arcs, 1e9),
    least(part.states + other.states, 1e9)
  )::experiment.regex_part;
end;

comment on function experiment._regex_sequence(experiment.regex_part, experiment.regex_part) is $$
@behavior -*
Returns the size of a part of a regular expression that is followed by another.
$$;

grant execute on function experiment._regex_sequence(experiment.regex_part, experiment.regex_part)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._regex_choice(part experiment.regex_part, other experiment.regex_part)
returns experiment.regex_part
language sql
immutable
parallel safe
begin atomic
  select row(
    part.ways + other.ways,
    greatest(part.first_ways, other.first_ways, part.ways + other.ways),
    part.first_arcs + other.first_arcs,
    greatest(part.last_ways, other.last_ways, part.ways + other.ways),
    -- The ends of both are one state.
    greatest(part.last_states + other.last_states - 1, part.last_states, other.last_states),
    part.arcs + other.arcs,
    part.states + other.states
  )::experiment.regex_part;
end;

comment on function experiment._regex_choice(experiment.regex_part, experiment.regex_part) is $$
@behavior -*
Returns the size of two alternatives of a regular expression.
$$;

grant execute on function experiment._regex_choice(experiment.regex_part, experiment.regex_part)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

-- A loop is left after any number of rounds: two of them find each pair of neighbours.
create or replace function experiment._regex_loop(part experiment.regex_part)
returns experiment.regex_part
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_twice experiment.regex_part := experiment._regex_sequence(part, part);
begin
  v_twice.arcs := greatest(part.arcs, v_twice.arcs - part.arcs);
  v_twice.states := part.states;
  v_twice.first_arcs := part.first_arcs;
  v_twice.last_states := part.last_states;
  return v_twice;
end;
$$;

comment on function experiment._regex_loop(experiment.regex_part) is $$
@behavior -*
Returns the size of a part of a regular expression that is repeated without an upper bound.
$$;

grant execute on function experiment._regex_loop(experiment.regex_part)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

/*
 * The number of copies is doubled, so that the work grows with its logarithm.
 */
create or replace function experiment._regex_copies(part experiment.regex_part, copies int)
returns experiment.regex_part
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_result experiment.regex_part := row(1, 1, 0, 1, 0, 0, 0);
  v_power experiment.regex_part := part;
  v_left int := copies;
begin
  while v_left > 0 loop
    if v_left % 2 = 1 then
      v_result := experiment._regex_sequence(v_result, v_power);
    end if;
    v_left := v_left / 2;
    exit when v_left = 0;
    v_power := experiment._regex_sequence(v_power, v_power);
  end loop;
  return v_result;
end;
$$;

comment on function experiment._regex_copies(experiment.regex_part, integer) is $$
@behavior -*
Returns the size of a part of a regular expression that is repeated a number of times.
$$;

grant execute on function experiment._regex_copies(experiment.regex_part, integer)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._regex_repeated(part experiment.regex_part, quantifier text)
returns experiment.regex_part
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_bounds constant text[] := regexp_match(quantifier, '^\{([0-9]+)(,?)([0-9]*)\}$');
  v_low constant int := coalesce(v_bounds[1]::int, case when quantifier = '+' then 1 else 0 end);
  v_high constant int := case
    when quantifier = '?' then 1
    when v_bounds[2] = '' then v_low
    when v_bounds[3] <> '' then v_bounds[3]::int
  end;
  v_optional experiment.regex_part := case when v_high is null then experiment._regex_loop(part) else part end;
begin
  if v_high is null and v_low > 0 then
    return experiment._regex_sequence(experiment._regex_copies(part, v_low - 1), v_optional);
  end if;
  v_optional.ways := 1 + case when v_optional.ways > 1 then v_optional.ways else 0 end;
  v_optional.first_ways := greatest(v_optional.first_ways, v_optional.ways);
  v_optional.last_ways := greatest(v_optional.last_ways, v_optional.ways);
  return experiment._regex_sequence(
    experiment._regex_copies(part, v_low),
    experiment._regex_copies(v_optional, coalesce(v_high - v_low, 1))
  );
end;
$$;

comment on function experiment._regex_repeated(experiment.regex_part, text) is $$
@behavior -*
Returns the size of a part of a regular expression with a quantifier, such as `*` or `{2,5}`.
$$;

grant execute on function experiment._regex_repeated(experiment.regex_part, text)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

/*
 * PostgreSQL's automaton has an arc for each pair of characters that can follow each other (as Glushkov's), and one
 * more for each combination of boundaries between them. A word boundary is two: a word before it, or after it.
 */
create or replace function experiment._regex_work(
  regex text, out arcs float8, out states float8, out assertions int, out depth int
)
language plpgsql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_empty constant experiment.regex_part := row(1, 1, 0, 1, 0, 0, 0);
  v_tokens constant text[] := array(
    select token.parts[1]
    from regexp_matches(
      _regex_work.regex,
      '(\(\?<?[:=!]|[()|^$]|\\[yY]|\[[^]]*\]|[*+?]|\{[0-9]+(?:,[0-9]*)?\}|[A-Za-z0-9_ ]+(?![*+?{])|.)', 'g'
    ) as token (parts)
  );
  v_colours float8;
  v_token text;
  v_done experiment.regex_part := v_empty;
  v_last experiment.regex_part := v_empty;
  v_choice experiment.regex_part;
  v_open text[] := '{}';
  v_outer experiment.regex_part[] := '{}';
  v_choices experiment.regex_part[] := '{}';
begin
  _regex_work.assertions := 0;
  _regex_work.depth := 0;
  -- Characters that each part of the expression treats alike have one arc.
  select least(
    count(*) filter (where token not like '[%') + 2.0 ^ least(count(*) filter (where token like '[%'), 30),
    1 + sum(1 + length(token) - length(replace(token, '-', ''))) * 2
  )
  into v_colours
  from (
    select distinct letter
    from unnest(v_tokens) as word (word)
    cross join unnest(string_to_array(word.word, case when word.word like '[%' then ']' end)) as letter
    where word.word ~ '^[[A-Za-z0-9_ ]'
      and letter <> ''
  ) as letter (token);

  foreach v_token in array v_tokens || ')'::text loop
    if v_token ~ '^[*+?{]' then
      v_last := experiment._regex_repeated(v_last, v_token);
      continue;
    end if;
    v_done := experiment._regex_sequence(v_done, v_last);
    v_last := v_empty;
    case
      when starts_with(v_token, '(') then
        v_open := v_open || v_token;
        v_outer := v_outer || v_done;
        v_choices := v_choices || v_choice;
        v_done := v_empty;
        v_choice := null;
        if v_token <> '(?:' then
          _regex_work.assertions := _regex_work.assertions + 1;
          _regex_work.depth := greatest(
            _regex_work.depth, cardinality(v_open) - cardinality(array_positions(v_open, '(?:'))
          );
        end if;
      when v_token in ('|', ')') then
        v_choice := case when v_choice is null then v_done else experiment._regex_choice(v_choice, v_done) end;
        v_done := v_empty;
        continue when v_token = '|' or cardinality(v_open) = 0;
        v_last := v_choice;
        if v_open[cardinality(v_open)] <> '(?:' then
          v_last := row(1.25, 1.25, 1, 1.25, 1, v_last.arcs, v_last.states);
        end if;
        v_last.states := greatest(v_last.states, 1);
        v_done := v_outer[cardinality(v_outer)];
        v_choice := v_choices[cardinality(v_choices)];
        v_open := trim_array(v_open, 1);
        v_outer := trim_array(v_outer, 1);
        v_choices := trim_array(v_choices, 1);
      when v_token in ('^', '$') then
        v_last := row(1.25, 1.25, 1, 1.25, 1, 0, 1);
      when v_token in ('\y', '\Y') then
        v_last := row(2, 2, v_colours, 2, 1, 0, 1);
      else
        v_last := row(
          0, 1, case when v_token like '[%' then v_colours else 1 end, 1, 1,
          case when v_token like '[%' then 0 else length(v_token) - 1 end,
          case when v_token like '[%' then 1 else length(v_token) end
        );
    end case;
  end loop;
  _regex_work.arcs := v_choice.arcs;
  _regex_work.states := v_choice.states;
end;
$$;

comment on function experiment._regex_work(text) is $$
@behavior -*
Returns how large the automaton of a regular expression of `experiment._regex` becomes, without making it.
`arcs`: pairs of characters that can follow each other, times the combinations of boundaries between them.
`states`: characters, boundaries and groups with their repetitions. `assertions`: their number,
and `depth`: how deep they are nested.
$$;

grant execute on function experiment._regex_work(text)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;
--! EndIncluded experiment/assignment/_regex_work.sql

--! Included experiment/assignment/_matches.sql
/* PostgreSQL holds no surrogates in text, so the 2,048 last characters of Unicode, for private use, stand for them. */
create or replace function experiment._units(value text)
returns text
language plpgsql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if _units.value !~ '[\U00010000-\U0010ffff]' collate "C" then
    return _units.value;
  end if;
  return (
    select string_agg(experiment._unit(unit.unit), '' order by unit.number)
    from unnest(experiment._code_units(_units.value)) with ordinality as unit (unit, number)
  );
end;
$$;

comment on function experiment._units(text) is $$
Returns a text with a character for each UTF-16 code unit, as a regular expression of JavaScript reads it.
$$;

grant execute on function experiment._units(text)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._unit(unit int)
returns text
language sql
immutable
parallel safe
begin atomic
  select chr(case when _unit.unit between 55296 and 57343 then 1056768 + _unit.unit else _unit.unit end);
end;

comment on function experiment._unit(integer) is $$
Returns the character that stands for a UTF-16 code unit.
$$;

grant execute on function experiment._unit(integer)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

/*
 * A regular expression of JavaScript compares the code units of the upper case, of those that have one and are not
 * mapped to ASCII. The characters are those of Unicode 17.
 */
create or replace function experiment._cased()
returns text
language sql
immutable
parallel safe
begin atomic
  select 'abcdefghijklmnopqrstuvwxyz'
    'µàáâãäåæçèéêëìíîïðñòóôõöøùúûüýþÿāăąćĉċčďđēĕėęěĝğġģĥħĩīĭįĳĵķĺļľŀłńņňŋōŏőœŕŗřśŝşšţťŧũūŭůűųŵŷźżžƀƃƅƈƌƒƕ'
    'ƙƚƛƞơƣƥƨƭưƴƶƹƽƿǅǆǈǉǋǌǎǐǒǔǖǘǚǜǝǟǡǣǥǧǩǫǭǯǲǳǵǹǻǽǿȁȃȅȇȉȋȍȏȑȓȕȗșțȝȟȣȥȧȩȫȭȯȱȳȼȿɀɂɇɉɋɍɏɐɑɒɓɔɖɗəɛɜɠɡɣɤɥɦɨɩɪɫ'
    'ɬɯɱɲɵɽʀʂʃʇʈʉʊʋʌʒʝʞͅͱͳͷͻͼͽάέήίαβγδεζηθικλμνξοπρςστυφχψωϊϋόύώϐϑϕϖϗϙϛϝϟϡϣϥϧϩϫϭϯϰϱϲϳϵϸϻабвгдежзийклмнопр'
    'стуфхцчшщъыьэюяѐёђѓєѕіїјљњћќѝўџѡѣѥѧѩѫѭѯѱѳѵѷѹѻѽѿҁҋҍҏґғҕҗҙқҝҟҡңҥҧҩҫҭүұҳҵҷҹһҽҿӂӄӆӈӊӌӎӏӑӓӕӗәӛӝӟӡӣӥӧөӫӭӯӱ'
    'ӳӵӷӹӻӽӿԁԃԅԇԉԋԍԏԑԓԕԗԙԛԝԟԡԣԥԧԩԫԭԯաբգդեզէըթժիլխծկհձղճմյնշոչպջռսվտրցւփքօֆაბგდევზთიკლმნოპჟრსტუფქღყშჩცძწჭხ'
    'ჯჰჱჲჳჴჵჶჷჸჹჺჽჾჿᏸᏹᏺᏻᏼᏽᲀᲁᲂᲃᲄᲅᲆᲇᲈᲊᵹᵽᶎḁḃḅḇḉḋḍḏḑḓḕḗḙḛḝḟḡḣḥḧḩḫḭḯḱḳḵḷḹḻḽḿṁṃṅṇṉṋṍṏṑṓṕṗṙṛṝṟṡṣṥṧṩṫṭṯṱṳṵṷṹṻṽṿẁẃ'
    'ẅẇẉẋẍẏẑẓẕẛạảấầẩẫậắằẳẵặẹẻẽếềểễệỉịọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹỻỽỿἀἁἂἃἄἅἆἇἐἑἒἓἔἕἠἡἢἣἤἥἦἧἰἱἲἳἴἵἶἷὀὁὂὃὄὅὑὓὕὗὠὡ'
    'ὢὣὤὥὦὧὰάὲέὴήὶίὸόὺύὼώᾰᾱιῐῑῠῡῥⅎⅰⅱⅲⅳⅴⅵⅶⅷⅸⅹⅺⅻⅼⅽⅾⅿↄⓐⓑⓒⓓⓔⓕⓖⓗⓘⓙⓚⓛⓜⓝⓞⓟⓠⓡⓢⓣⓤⓥⓦⓧⓨⓩⰰⰱⰲⰳⰴⰵⰶⰷⰸⰹⰺⰻⰼⰽⰾⰿⱀⱁⱂⱃⱄⱅⱆⱇⱈⱉⱊⱋ'
    'ⱌⱍⱎⱏⱐⱑⱒⱓⱔⱕⱖⱗⱘⱙⱚⱛⱜⱝⱞⱟⱡⱥⱦⱨⱪⱬⱳⱶⲁⲃⲅⲇⲉⲋⲍⲏⲑⲓⲕⲗⲙⲛⲝⲟⲡⲣⲥⲧⲩⲫⲭⲯⲱⲳⲵⲷⲹⲻⲽⲿⳁⳃⳅⳇⳉⳋⳍⳏⳑⳓⳕⳗⳙⳛⳝⳟⳡⳣⳬⳮⳳⴀⴁⴂⴃⴄⴅⴆⴇⴈⴉⴊⴋⴌⴍⴎⴏⴐⴑⴒ'
    'ⴓⴔⴕⴖⴗⴘⴙⴚⴛⴜⴝⴞⴟⴠⴡⴢⴣⴤⴥⴧⴭꙁꙃꙅꙇꙉꙋꙍꙏꙑꙓꙕꙗꙙꙛꙝꙟꙡꙣꙥꙧꙩꙫꙭꚁꚃꚅꚇꚉꚋꚍꚏꚑꚓꚕꚗꚙꚛꜣꜥꜧꜩꜫꜭꜯꜳꜵꜷꜹꜻꜽꜿꝁꝃꝅꝇꝉꝋꝍꝏꝑꝓꝕꝗꝙꝛꝝꝟꝡꝣꝥꝧꝩꝫꝭꝯꝺꝼꝿꞁ'
    'ꞃꞅꞇꞌꞑꞓꞔꞗꞙꞛꞝꞟꞡꞣꞥꞧꞩꞵꞷꞹꞻꞽꞿꟁꟃꟈꟊꟍ꟏ꟑꟓꟕꟗꟙꟛꟶꭓꭰꭱꭲꭳꭴꭵꭶꭷꭸꭹꭺꭻꭼꭽꭾꭿꮀꮁꮂꮃꮄꮅꮆꮇꮈꮉꮊꮋꮌꮍꮎꮏꮐꮑꮒꮓꮔꮕꮖꮗꮘꮙꮚꮛꮜꮝꮞꮟꮠꮡꮢꮣꮤꮥꮦꮧꮨꮩꮪꮫꮬꮭꮮ'
    'ꮯꮰꮱꮲꮳꮴꮵꮶꮷꮸꮹꮺꮻꮼꮽꮾꮿａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ';
end;

comment on function experiment._cased() is $$
Returns the characters that a case-insensitive regular expression of JavaScript maps to others.
$$;

grant execute on function experiment._cased()
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._capitals()
returns text
language sql
immutable
parallel safe
begin atomic
  select 'ABCDEFGHIJKLMNOPQRSTUVWXYZ'
    'ΜÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖØÙÚÛÜÝÞŸĀĂĄĆĈĊČĎĐĒĔĖĘĚĜĞĠĢĤĦĨĪĬĮĲĴĶĹĻĽĿŁŃŅŇŊŌŎŐŒŔŖŘŚŜŞŠŢŤŦŨŪŬŮŰŲŴŶŹŻŽɃƂƄƇƋƑǶ'
    'ƘȽꟜȠƠƢƤƧƬƯƳƵƸƼǷǄǄǇǇǊǊǍǏǑǓǕǗǙǛƎǞǠǢǤǦǨǪǬǮǱǱǴǸǺǼǾȀȂȄȆȈȊȌȎȐȒȔȖȘȚȜȞȢȤȦȨȪȬȮȰȲȻⱾⱿɁɆɈɊɌɎⱯⱭⱰƁƆƉƊƏƐꞫƓꞬƔꟋꞍꞪƗƖꞮⱢ'
    'ꞭƜⱮƝƟⱤƦꟅƩꞱƮɄƱƲɅƷꞲꞰΙͰͲͶϽϾϿΆΈΉΊΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΣΤΥΦΧΨΩΪΫΌΎΏΒΘΦΠϏϘϚϜϞϠϢϤϦϨϪϬϮΚΡϹͿΕϷϺАБВГДЕЖЗИЙКЛМНОПР'
    'СТУФХЦЧШЩЪЫЬЭЮЯЀЁЂЃЄЅІЇЈЉЊЋЌЍЎЏѠѢѤѦѨѪѬѮѰѲѴѶѸѺѼѾҀҊҌҎҐҒҔҖҘҚҜҞҠҢҤҦҨҪҬҮҰҲҴҶҸҺҼҾӁӃӅӇӉӋӍӀӐӒӔӖӘӚӜӞӠӢӤӦӨӪӬӮӰ'
    'ӲӴӶӸӺӼӾԀԂԄԆԈԊԌԎԐԒԔԖԘԚԜԞԠԢԤԦԨԪԬԮԱԲԳԴԵԶԷԸԹԺԻԼԽԾԿՀՁՂՃՄՅՆՇՈՉՊՋՌՍՎՏՐՑՒՓՔՕՖᲐᲑᲒᲓᲔᲕᲖᲗᲘᲙᲚᲛᲜᲝᲞᲟᲠᲡᲢᲣᲤᲥᲦᲧᲨᲩᲪᲫᲬᲭᲮ'
    'ᲯᲰᲱᲲᲳᲴᲵᲶᲷᲸᲹᲺᲽᲾᲿᏰᏱᏲᏳᏴᏵВДОСТТЪѢꙊᲉꝽⱣꟆḀḂḄḆḈḊḌḎḐḒḔḖḘḚḜḞḠḢḤḦḨḪḬḮḰḲḴḶḸḺḼḾṀṂṄṆṈṊṌṎṐṒṔṖṘṚṜṞṠṢṤṦṨṪṬṮṰṲṴṶṸṺṼṾẀẂ'
    'ẄẆẈẊẌẎẐẒẔṠẠẢẤẦẨẪẬẮẰẲẴẶẸẺẼẾỀỂỄỆỈỊỌỎỐỒỔỖỘỚỜỞỠỢỤỦỨỪỬỮỰỲỴỶỸỺỼỾἈἉἊἋἌἍἎἏἘἙἚἛἜἝἨἩἪἫἬἭἮἯἸἹἺἻἼἽἾἿὈὉὊὋὌὍὙὛὝὟὨὩ'
    'ὪὫὬὭὮὯᾺΆῈΈῊΉῚΊῸΌῪΎῺΏᾸᾹΙῘῙῨῩῬℲⅠⅡⅢⅣⅤⅥⅦⅧⅨⅩⅪⅫⅬⅭⅮⅯↃⒶⒷⒸⒹⒺⒻⒼⒽⒾⒿⓀⓁⓂⓃⓄⓅⓆⓇⓈⓉⓊⓋⓌⓍⓎⓏⰀⰁⰂⰃⰄⰅⰆⰇⰈⰉⰊⰋⰌⰍⰎⰏⰐⰑⰒⰓⰔⰕⰖⰗⰘⰙⰚⰛ'
    'ⰜⰝⰞⰟⰠⰡⰢⰣⰤⰥⰦⰧⰨⰩⰪⰫⰬⰭⰮⰯⱠȺȾⱧⱩⱫⱲⱵⲀⲂⲄⲆⲈⲊⲌⲎⲐⲒⲔⲖⲘⲚⲜⲞⲠⲢⲤⲦⲨⲪⲬⲮⲰⲲⲴⲶⲸⲺⲼⲾⳀⳂⳄⳆⳈⳊⳌⳎⳐⳒⳔⳖⳘⳚⳜⳞⳠⳢⳫⳭⳲႠႡႢႣႤႥႦႧႨႩႪႫႬႭႮႯႰႱႲ'
    'ႳႴႵႶႷႸႹႺႻႼႽႾႿჀჁჂჃჄჅჇჍꙀꙂꙄꙆꙈꙊꙌꙎꙐꙒꙔꙖꙘꙚꙜꙞꙠꙢꙤꙦꙨꙪꙬꚀꚂꚄꚆꚈꚊꚌꚎꚐꚒꚔꚖꚘꚚꜢꜤꜦꜨꜪꜬꜮꜲꜴꜶꜸꜺꜼꜾꝀꝂꝄꝆꝈꝊꝌꝎꝐꝒꝔꝖꝘꝚꝜꝞꝠꝢꝤꝦꝨꝪꝬꝮꝹꝻꝾꞀ'
    'ꞂꞄꞆꞋꞐꞒꟄꞖꞘꞚꞜꞞꞠꞢꞤꞦꞨꞴꞶꞸꞺꞼꞾꟀꟂꟇꟉꟌ꟎Ꟑ꟒꟔ꟖꟘꟚꟵꞳᎠᎡᎢᎣᎤᎥᎦᎧᎨᎩᎪᎫᎬᎭᎮᎯᎰᎱᎲᎳᎴᎵᎶᎷᎸᎹᎺᎻᎼᎽᎾᎿᏀᏁᏂᏃᏄᏅᏆᏇᏈᏉᏊᏋᏌᏍᏎᏏᏐᏑᏒᏓᏔᏕᏖᏗᏘᏙᏚᏛᏜᏝᏞ'
    'ᏟᏠᏡᏢᏣᏤᏥᏦᏧᏨᏩᏪᏫᏬᏭᏮᏯＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ';
end;

comment on function experiment._capitals() is $$
Returns the characters to which a case-insensitive regular expression of JavaScript maps those of `experiment._cased`.
$$;

grant execute on function experiment._capitals()
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._canonical(value text)
returns text
language plpgsql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if octet_length(_canonical.value) = length(_canonical.value) then
    return upper(_canonical.value collate "C");
  end if;
  return translate(
    upper(_canonical.value collate "C"), substr(experiment._cased(), 27), substr(experiment._capitals(), 27)
  );
end;
$$;

comment on function experiment._canonical(text) is $$
Returns a text as a case-insensitive regular expression of JavaScript compares it.
$$;

grant execute on function experiment._canonical(text)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._one_unit(unit int)
returns int4multirange
language sql
immutable
parallel safe
begin atomic
  select int4multirange(int4range(_one_unit.unit, _one_unit.unit, '[]'));
end;

comment on function experiment._one_unit(integer) is $$
Returns a set of one code unit.
$$;

grant execute on function experiment._one_unit(integer)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._unit_number(letter text)
returns int
language sql
immutable
parallel safe
begin atomic
  select case when ascii(_unit_number.letter) < 65536 then 0 else -1056768 end + ascii(_unit_number.letter);
end;

comment on function experiment._unit_number(text) is $$
Returns the UTF-16 code unit for which a character stands.
$$;

grant execute on function experiment._unit_number(text)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._unit_class(letter text)
returns int4multirange
language sql
immutable
parallel safe
begin atomic
  select case
    when _unit_class.letter in ('D', 'W', 'S', '.') then '{[0,65536)}'::int4multirange
    else '{}'::int4multirange
  end + case when _unit_class.letter in ('d', 'w', 's') then class.units else '{}' end
  - case when _unit_class.letter in ('D', 'W', 'S', '.') then class.units else '{}' end
  from (
    values
      ('d', '{[48,58)}'::int4multirange),
      ('w', '{[48,58),[65,91),[95,96),[97,123)}'),
      (
        's',
        '{[9,14),[32,33),[160,161),[5760,5761),[8192,8203),[8232,8234),[8239,8240),[8287,8288),[12288,12289),'
          '[65279,65280)}'
      ),
      ('.', '{[10,11),[13,14),[8232,8234)}')
  ) as class (letter, units)
  where class.letter = lower(_unit_class.letter);
end;

comment on function experiment._unit_class(text) is $$
Returns the code units of a class escape of JavaScript, such as `\d`, or of the full stop; null for another letter.
$$;

grant execute on function experiment._unit_class(text)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._canonical_units(units int4multirange)
returns int4multirange
language sql
immutable
parallel safe
begin atomic
  select _canonical_units.units + coalesce(
    case
      when _canonical_units.units @> '{[0,65536)}'::int4multirange then '{}'::int4multirange
      when upper(_canonical_units.units) <= 128 then (
        select range_agg(int4range(letter - 32, letter - 32, '[]'))
        from generate_series(97, 122) as letter
        where letter <@ _canonical_units.units
      )
      else (
        select range_agg(int4range(ascii(mapped.value), ascii(mapped.value), '[]'))
        from unnest(
          string_to_array(experiment._cased(), null),
          string_to_array(experiment._capitals(), null)
        ) as mapped (letter, value)
        where ascii(mapped.letter) <@ _canonical_units.units
      )
    end,
    '{}'
  );
end;

comment on function experiment._canonical_units(int4multirange) is $$
Returns code units and those to which a case-insensitive regular expression of JavaScript maps them.
$$;

grant execute on function experiment._canonical_units(int4multirange)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._bracket(units int4multirange)
returns text
language sql
immutable
parallel safe
begin atomic
  -- U+0000 is in no text; the surrogates are the characters that stand for them.
  select case
    when bracket.members is null then '[^\u0001-\U0010ffff]'
    else '[' || bracket.members || ']'
  end
  from (
    select string_agg(
      '\U' || lpad(to_hex(part.low), 8, '0') || '-\U' || lpad(to_hex(part.high), 8, '0'), '' order by part.low
    ) as members
    from (
      select lower(range.range) as low, upper(range.range) - 1 as high
      from unnest(_bracket.units * '{[1,55296),[57344,65536)}'::int4multirange) as range (range)
      union all
      select lower(range.range) + 1056768, upper(range.range) - 1 + 1056768
      from unnest(_bracket.units * '{[55296,57344)}'::int4multirange) as range (range)
    ) as part
  ) as bracket;
end;

comment on function experiment._bracket(int4multirange) is $$
Returns the bracket expression of PostgreSQL for a set of code units.
$$;

grant execute on function experiment._bracket(int4multirange)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._regex_escape(rest text, in_class boolean, out unit int, out length int)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_letter text := substr(_regex_escape.rest, 2, 1);
  v_hex text := coalesce(
    (regexp_match(_regex_escape.rest, '^\\x([0-9a-fA-F]{2})'))[1],
    (regexp_match(_regex_escape.rest, '^\\u([0-9a-fA-F]{4})'))[1]
  );
begin
  if v_hex is not null then
    _regex_escape.unit := experiment._js_number(to_jsonb('0x' || v_hex));
    _regex_escape.length := 2 + length(v_hex);
  elsif _regex_escape.rest ~ '^\\c[A-Za-z]' or _regex_escape.in_class and _regex_escape.rest ~ '^\\c[0-9_]' then
    _regex_escape.unit := ascii(substr(_regex_escape.rest, 3, 1)) % 32;
    _regex_escape.length := 3;
  elsif v_letter = 'c' then
    _regex_escape.unit := 92;
    _regex_escape.length := 1;
  else
    _regex_escape.unit := case v_letter
      when '0' then 0
      when 't' then 9
      when 'n' then 10
      when 'v' then 11
      when 'f' then 12
      when 'r' then 13
      else case when v_letter = 'b' and _regex_escape.in_class then 8 else experiment._unit_number(v_letter) end
    end;
    _regex_escape.length := 2;
  end if;
end;
$$;

comment on function experiment._regex_escape(text, boolean) is $$
Returns the code unit of an escape of JavaScript at the start of a text, and the length of the escape.
$$;

grant execute on function experiment._regex_escape(text, boolean)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._refuse_regex(pattern text, problem text)
returns void
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  perform common.refuse(
    case
      when _refuse_regex.problem like 'has more%' or _refuse_regex.problem like 'is too%' then 'CF008'
      else 'CF009'
    end,
    format('the regular expression "%s" %s', left(_refuse_regex.pattern, 100), left(_refuse_regex.problem, 100)),
    'Write it without, such as with several conditions.'
  );
end;
$$;

comment on function experiment._refuse_regex(text, text) is $$
Raises CF008 or CF009 for a regular expression that the database does not evaluate.
$$;

grant execute on function experiment._refuse_regex(text, text)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._regex_class(
  pattern text,
  class text,
  insensitive boolean,
  out units int4multirange,
  out length int
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_is_negated boolean := starts_with(_regex_class.class, '[^');
  v_at int := case when v_is_negated then 3 else 2 end;
  v_rest text;
  v_low int;
  v_pending boolean := false;
  v_member int4multirange;
  v_unit int;
  v_step int;
begin
  if length(_regex_class.class) > 1000 then
    perform experiment._refuse_regex(_regex_class.pattern, 'is too long');
  end if;
  _regex_class.units := '{}';
  loop
    v_rest := substr(_regex_class.class, v_at, 8);
    if v_rest = '' then
      -- The class does not end.
      _regex_class.units := null;
      return;
    end if;
    exit when starts_with(v_rest, ']');
    if v_rest ~ '^\\[0-9]' and v_rest !~ '^\\0([^0-9]|$)' then
      perform experiment._refuse_regex(_regex_class.pattern, 'refers back to a group or has an octal number');
    end if;
    v_member := null;
    if starts_with(v_rest, '\') then
      if v_rest = '\' then
        _regex_class.units := null;
        return;
      end if;
      v_member := case when v_rest !~ '^\\\.' then experiment._unit_class(substr(v_rest, 2, 1)) end;
      if v_member is null then
        select escape.unit, escape.length into v_unit, v_step from experiment._regex_escape(v_rest, true) as escape;
      else
        v_step := 2;
      end if;
    else
      v_unit := experiment._unit_number(left(v_rest, 1));
      v_step := 1;
    end if;
    v_at := v_at + v_step;
    -- A range follows unless the hyphen is the last of the class.
    if v_pending then
      if v_low is null or v_member is not null then
        _regex_class.units := _regex_class.units + experiment._one_unit(45);
        _regex_class.units := _regex_class.units + coalesce(v_member, experiment._one_unit(v_unit));
      elsif v_unit < v_low then
        _regex_class.units := null;
        return;
      else
        _regex_class.units := _regex_class.units + int4multirange(int4range(v_low, v_unit, '[]'));
      end if;
      v_pending := false;
      v_low := null;
    else
      v_low := case when v_member is null then v_unit end;
      _regex_class.units := _regex_class.units + coalesce(v_member, experiment._one_unit(v_unit));
      if substr(_regex_class.class, v_at, 1) = '-' and substr(_regex_class.class, v_at + 1, 1) not in ('', ']') then
        v_pending := true;
        v_at := v_at + 1;
      end if;
    end if;
  end loop;
  _regex_class.length := v_at;
  if _regex_class.insensitive then
    _regex_class.units := experiment._canonical_units(_regex_class.units);
  end if;
  if v_is_negated then
    _regex_class.units := int4multirange(int4range(0, 65536)) - _regex_class.units;
  end if;
end;
$$;

comment on function experiment._regex_class(text, text, boolean) is $$
Returns the code units of a class such as `[a-z]` at the start of a text, and its length; no units if it is not valid.
$$;

grant execute on function experiment._regex_class(text, text, boolean)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

/*
 * One pass over the characters of the pattern. The stack holds the kinds of the open groups and where they start in the
 * result. A quantifier does not repeat an assertion: it removes it or leaves it.
 */
create or replace function experiment._regex(pattern text, insensitive boolean)
returns text
language plpgsql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_pattern text := experiment._units(_regex.pattern);
  v_length int := length(v_pattern);
  v_at int := 1;
  v_result text := '';
  v_stack text[] := '{}';
  v_names text[] := '{}';
  v_starts int[] := '{}';
  v_start int;
  v_kind text := 'none';
  v_letter text;
  v_rest text;
  v_parts text[];
  v_unit int;
  v_units int4multirange;
begin
  if v_length > 1000 then
    perform experiment._refuse_regex(_regex.pattern, 'has more than 1000 characters');
  end if;
  while v_at <= v_length loop
    v_letter := substr(v_pattern, v_at, 1);
    v_rest := substr(v_pattern, v_at, 300);
    v_parts := null;
    v_units := null;
    if v_letter ~ '[A-Za-z0-9_ ]' then
      v_start := length(v_result);
      v_result := v_result || case when _regex.insensitive then upper(v_letter collate "C") else v_letter end;
      v_kind := 'atom';
      v_at := v_at + 1;
    elsif v_letter in ('^', '$', '|') then
      v_result := v_result || v_letter;
      v_kind := 'none';
      v_at := v_at + 1;
    elsif v_letter = '(' then
      v_parts := regexp_match(v_rest, '^\((\?(?:[:=!]|<[=!]|<[A-Za-z_$][A-Za-z0-9_$]*>))?');
      if v_parts[1] is null and v_rest ~ '^\(\?[ims-]*:' then
        perform experiment._refuse_regex(_regex.pattern, 'changes its flags within');
      elsif v_parts[1] is null and starts_with(v_rest, '(?<') and v_rest ~ '^\(\?<[^>]*[^[:ascii:]]' then
        perform experiment._refuse_regex(_regex.pattern, 'names a group in other than ASCII letters');
      elsif v_parts[1] is null and starts_with(v_rest, '(?') then
        return null;
      end if;
      if v_parts[1] = any (v_names) and v_parts[1] like '?<%>' then
        perform experiment._refuse_regex(_regex.pattern, 'names two groups alike');
      end if;
      v_names := v_names || v_parts[1];
      v_stack := v_stack || coalesce(v_parts[1], '');
      v_starts := v_starts || length(v_result);
      v_result := v_result || case
        when v_parts[1] in ('?=', '?!', '?<=', '?<!') then '(' || v_parts[1]
        else '(?:'
      end;
      v_kind := 'none';
      v_at := v_at + 1 + coalesce(length(v_parts[1]), 0);
    elsif v_letter = ')' then
      if cardinality(v_stack) = 0 then
        return null;
      end if;
      v_result := v_result || ')';
      v_start := v_starts[cardinality(v_starts)];
      v_kind := case
        when v_stack[cardinality(v_stack)] in ('?=', '?!') then 'assertion'
        when v_stack[cardinality(v_stack)] in ('?<=', '?<!') then 'none'
        else 'atom'
      end;
      v_stack := trim_array(v_stack, 1);
      v_starts := trim_array(v_starts, 1);
      v_at := v_at + 1;
    elsif v_letter in ('*', '+', '?') or v_letter = '{' and v_rest ~ '^\{[0-9]+(,[0-9]*)?\}' then
      if v_kind = 'none' then
        return null;
      end if;
      v_parts := regexp_match(v_rest, '^([*+?]|\{([0-9]+)(,?)([0-9]*)\})(\??)');
      if v_letter = '{' then
        v_parts[2] := coalesce(nullif(ltrim(v_parts[2], '0'), ''), '0');
        v_parts[4] := case when v_parts[4] <> '' then coalesce(nullif(ltrim(v_parts[4], '0'), ''), '0') end;
        if v_parts[2]::numeric > v_parts[4]::numeric then
          return null;
        elsif greatest(v_parts[2]::numeric, v_parts[4]::numeric) > 255 then
          perform experiment._refuse_regex(_regex.pattern, 'repeats more than 255 times');
        end if;
      end if;
      if v_letter = '{' and v_parts[2] = '0' and coalesce(v_parts[4], v_parts[3]) in ('', '0')
        or v_kind = 'assertion' and (v_letter in ('*', '?') or v_parts[2] = '0')
      then
        v_result := left(v_result, v_start);
      elsif v_kind = 'atom' then
        v_result := v_result || case
          when v_letter <> '{' then v_letter
          else '{' || v_parts[2] || v_parts[3] || coalesce(v_parts[4], '') || '}'
        end;
      end if;
      v_kind := 'none';
      v_at := v_at + length(v_parts[1]) + length(v_parts[5]);
    elsif v_letter = '\' and v_rest ~ '^\\[bB]' then
      -- The same assertion twice is one; PostgreSQL's automaton would double with each.
      v_letter := case when substr(v_rest, 2, 1) = 'b' then '\y' else '\Y' end;
      if right(v_result, 2) <> v_letter then
        v_result := v_result || v_letter;
      end if;
      v_kind := 'none';
      v_at := v_at + 2;
    elsif v_letter = '\' and v_rest ~ '^\\(?:[1-9]|0[0-9])' or v_rest ~ '^\\k' and v_pattern ~ '\(\?<[A-Za-z_$]' then
      perform experiment._refuse_regex(_regex.pattern, 'refers back to a group or has an octal number');
    else
      if v_letter = '[' then
        select class.units, v_at + class.length into v_units, v_at
        from experiment._regex_class(_regex.pattern, substr(v_pattern, v_at), _regex.insensitive) as class;
        if v_units is null then
          return null;
        end if;
      elsif v_letter = '.' then
        v_units := experiment._unit_class('.');
        v_at := v_at + 1;
      elsif v_letter = '\' then
        if v_length = v_at then
          return null;
        end if;
        v_units := experiment._unit_class(substr(v_rest, 2, 1));
        if v_units is null or v_rest ~ '^\\\.' then
          select escape.unit, v_at + escape.length into v_unit, v_at
          from experiment._regex_escape(v_rest, false) as escape;
          v_units := experiment._one_unit(case
            when _regex.insensitive and v_unit > 0
              then experiment._unit_number(experiment._canonical(experiment._unit(v_unit)))
            else v_unit
          end);
        else
          v_at := v_at + 2;
        end if;
      else
        v_units := experiment._one_unit(experiment._unit_number(
          case when _regex.insensitive then experiment._canonical(v_letter) else v_letter end
        ));
        v_at := v_at + 1;
      end if;
      v_start := length(v_result);
      v_result := v_result || experiment._bracket(v_units);
      v_kind := 'atom';
    end if;
  end loop;
  return case when cardinality(v_stack) = 0 then v_result end;
end;
$$;

comment on function experiment._regex(text, boolean) is $$
Returns a regular expression of PostgreSQL that matches as one of JavaScript, null if JavaScript does not accept it.
Both are without captures, and the subject has a character for each code unit (`experiment._units`), in upper case if
the match is insensitive (`experiment._canonical`). Raises CF009 for references back to a group, octal numbers, more
than 255 repetitions, changes of flags and two groups of one name, CF008 for more than 1,000 characters.
$$;

grant execute on function experiment._regex(text, boolean)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

/*
 * Bounds that keep an expression below 0.1 s: PostgreSQL builds the automaton before it reads the text, and each
 * character of the text may visit all of it. An assertion is evaluated at each position, up to the end of the text.
 */
create or replace function experiment._check_regex(pattern text, regex text, text_length int)
returns void
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_work record;
begin
  -- Few parts that may be missing cannot exceed the bounds.
  if text_length <= 1000
    and length(pattern) <= 100
    and regex !~ '\(\?<?[=!]|\{'
    and regexp_count(regex, '[^(]\?|[*+]|\\[yY]') <= 5
  then
    return;
  end if;
  select work.arcs, work.states, work.assertions, work.depth
  into v_work
  from experiment._regex_work(regex) as work;
  if v_work.states > 2000 then
    perform experiment._refuse_regex(pattern, 'is too complex with its repetitions');
  elsif v_work.arcs > 10000 then
    perform experiment._refuse_regex(pattern, 'is too complex: many parts in a row may match without a character');
  elsif (v_work.states + v_work.arcs) * text_length > 2e7 then
    perform experiment._refuse_regex(pattern, format('is too complex for a text of %s characters', text_length));
  elsif v_work.assertions * text_length ^ (least(v_work.depth, 3) + 1) > 1e8 then
    perform experiment._refuse_regex(
      pattern, format('is too complex with its assertions for a text of %s characters', text_length)
    );
  end if;
end;
$$;

comment on function experiment._check_regex(text, text, integer) is $$
@behavior -*
Raises CF008 for a regular expression whose automaton is too large, or too large for the length of the text.
$$;

grant execute on function experiment._check_regex(text, text, integer)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._matches(value text, pattern text, insensitive boolean)
returns boolean
language plpgsql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_regex text;
  v_value text;
begin
  if length(_matches.pattern) > 1000 then
    perform experiment._refuse_regex(_matches.pattern, 'has more than 1000 characters');
  end if;
  -- A pattern of plain characters needs no translation.
  if not _matches.insensitive and _matches.pattern ~ '^\^?[A-Za-z0-9 _/@:;,&=%#-]*\$?$' then
    return _matches.value ~ _matches.pattern collate "C";
  end if;
  v_regex := experiment._regex(_matches.pattern, _matches.insensitive);
  if v_regex is null then
    return false;
  end if;
  perform experiment._check_regex(_matches.pattern, v_regex, length(_matches.value));
  v_value := experiment._units(_matches.value);
  if _matches.insensitive then
    v_value := experiment._canonical(v_value);
  end if;
  return v_value ~ v_regex collate "C";
end;
$$;

comment on function experiment._matches(text, text, boolean) is $$
Returns whether a text matches a regular expression of JavaScript; one that JavaScript does not accept matches nothing.
PostgreSQL's automata need no backtracking: the work is the size of the automaton times the length of the text, and the
square of the length for an assertion such as `(?=…)`. Both are bounded before: CF008.
$$;

grant execute on function experiment._matches(text, text, boolean)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;
--! EndIncluded experiment/assignment/_matches.sql

--! Included experiment/design/_check_operators.sql
create or replace function experiment._check_operators(value jsonb, depth int)
returns void
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_operators constant text[] := '{$eq,$ne,$lt,$lte,$gt,$gte,$veq,$vne,$vlt,$vlte,$vgt,$vgte,$in,$nin,$ini,$nini,'
    '$exists,$not,$size,$elemMatch,$all,$alli,$regex,$regexi,$type}';
  v_types constant text[] := '{string,number,boolean,array,object,null}';
  v_key text;
  v_value jsonb;
  v_is_valid boolean;
begin
  if _check_operators.depth > 20 then
    perform common.refuse('CF008', 'a condition has more than 20 levels', 'Write it with fewer levels.');
  end if;
  -- Anything else than an object of operators is a value for equality.
  if jsonb_typeof(_check_operators.value) <> 'object'
    or not exists (select from jsonb_object_keys(_check_operators.value) as entry (key) where starts_with(key, '$'))
  then
    return;
  elsif exists (
    select from jsonb_object_keys(_check_operators.value) as entry (key) where not starts_with(key, '$')
  ) then
    perform common.refuse(
      'CF001',
      format('%s mixes operators and values', left(_check_operators.value::text, 100)),
      'Clients compare such an object as a whole. Give operators only.'
    );
  end if;
  for v_key, v_value in select entry.key, entry.value from jsonb_each(_check_operators.value) as entry loop
    if v_key in ('$inGroup', '$notInGroup') then
      perform common.refuse('CF001', format('the condition uses %s', v_key),
        'Saved groups are not served to clients: use a trait.');
    elsif v_key <> all (v_operators) then
      perform common.refuse(
        'CF001',
        format('the condition has an unknown operator "%s"', left(v_key, 100)),
        coalesce('Did you mean "' || common.nearest_name(v_key, v_operators) || '"?',
          'Use one of ' || array_to_string(v_operators, ', ') || '.')
      );
    end if;
    v_is_valid := case
      when v_key in ('$in', '$nin', '$ini', '$nini', '$all', '$alli') then jsonb_typeof(v_value) = 'array'
      when v_key = '$exists' then jsonb_typeof(v_value) = 'boolean'
      when v_key = '$type' then v_value #>> '{}' = any (v_types)
      when v_key in ('$regex', '$regexi') then jsonb_typeof(v_value) = 'string'
      when v_key in ('$veq', '$vne', '$vlt', '$vlte', '$vgt', '$vgte')
        then jsonb_typeof(v_value) in ('string', 'number')
      when v_key in ('$lt', '$lte', '$gt', '$gte') then jsonb_typeof(v_value) in ('string', 'number')
      -- Clients compare lists and objects by identity, so that none is equal.
      when v_key in ('$eq', '$ne') then jsonb_typeof(v_value) not in ('array', 'object')
      when v_key = '$size' then jsonb_typeof(v_value) in ('number', 'object')
      when v_key = '$elemMatch' then jsonb_typeof(v_value) = 'object'
      else true
    end;
    if not coalesce(v_is_valid, false) then
      perform common.refuse(
        'CF001',
        format('%s has the value %s', v_key, left(v_value::text, 100)),
        case
          when v_key = '$exists' then 'Give true or false.'
          when v_key = '$type' then 'Give one of ' || array_to_string(v_types, ', ') || '.'
          when v_key like '$%egex%' then 'Give a regular expression as a string.'
          when v_key in ('$in', '$nin', '$ini', '$nini', '$all', '$alli') then 'Give a list of values.'
          when v_key in ('$eq', '$ne') then 'Give a string, a number, true, false or null; compare lists without $eq.'
          when v_key = '$elemMatch' then 'Give operators, or a condition on the elements.'
          when v_key = '$size' then 'Give a number, or operators on the number of elements.'
          else 'Give a number or a string.'
        end
      );
    end if;
    if v_key in ('$regex', '$regexi') then
      if experiment._regex(v_value #>> '{}', v_key = '$regexi') is null then
        perform common.refuse(
          'CF001',
          format('"%s" is not a regular expression', left(v_value #>> '{}', 100)),
          'Use the syntax of JavaScript.'
        );
      end if;
      perform experiment._matches('', v_value #>> '{}', v_key = '$regexi');
    elsif v_key in ('$not', '$size') then
      perform experiment._check_operators(v_value, _check_operators.depth + 1);
    elsif v_key in ('$all', '$alli') then
      perform experiment._check_operators(element.value, _check_operators.depth + 1)
      from jsonb_array_elements(v_value) as element (value);
    elsif v_key = '$elemMatch' then
      if exists (select from jsonb_object_keys(v_value) as entry (key) where starts_with(key, '$')) then
        perform experiment._check_operators(v_value, _check_operators.depth + 1);
      else
        perform experiment._check_condition(v_value, null, _check_operators.depth + 1);
      end if;
    end if;
  end loop;
end;
$$;

comment on function experiment._check_operators(jsonb, int) is $$
@behavior -*
Raises CF001 or CF008 for operators of a condition that GrowthBook's SDK does not know.
$$;
--! EndIncluded experiment/design/_check_operators.sql

--! Included analytics/functions/_shown_time.sql
create or replace function analytics._shown_time(
  figure interval, people bigint, smallest_group int, mean interval default null
)
returns interval
language sql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select case
    when coalesce(smallest_group, 1) = 1 then figure
    else make_interval(
      secs => analytics._shown_mean(
        extract(epoch from figure)::float8, people, smallest_group, extract(epoch from mean)::float8
      )
    )
  end;
$$;

comment on function analytics._shown_time(interval, bigint, int, interval) is $$
Returns a mean time, or a quartile when the `mean` is given too, as analysts see it: see `analytics._shown_mean`.
$$;

grant execute on function analytics._shown_time(interval, bigint, int, interval) to insights_reader;
--! EndIncluded analytics/functions/_shown_time.sql

--! Included analytics/trend/anomalies.sql
create or replace function analytics.anomalies(
  event_name text default null,
  bucket text default 'day',
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  zone text default 'UTC',
  measure text default 'events',
  item text default null,
  among text default null,
  breakdown text default null,
  top_values int default 10,
  season int default null,
  history int default 28,
  threshold float8 default 3.5
)
returns setof analytics.anomaly
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  -- 1.4826 median absolute deviations are one standard deviation of a normal distribution.
  v_scale constant float8 := 1.482602218505602;
  v_season constant int := coalesce(
    anomalies.season, case anomalies.bucket when 'hour' then 168 when 'day' then 7 else 1 end
  );
  v_length constant interval := case
    when anomalies.bucket in ('minute', 'hour', 'day', 'week', 'month', 'year')
      then ('1 ' || anomalies.bucket)::interval
    when anomalies.bucket = 'quarter' then interval '3 months'
  end;
begin
  if measure is null or measure not in ('events', 'people', 'engaged') then
    perform common.refuse(
      'CF001', format('measure is "%s"', left(measure, 100)), 'Use events, people or engaged (time, in seconds).'
    );
  end if;
  perform common.check_count('season', v_season, 1, 1000);
  perform common.check_count('history', anomalies.history, 10, 1000);
  if threshold is null or not threshold > 0 or threshold > 1000 then
    perform common.refuse(
      'CF001',
      format('threshold is %s', coalesce(threshold::text, 'null')),
      'Give a number of standard deviations, above 0 and up to 1000. The usual one is 3.5.'
    );
  end if;
  if v_length is null then
    perform common.refuse(
      'CF001',
      format('bucket is "%s"', left(anomalies.bucket, 100)),
      'Use minute, hour, day, week (from Monday), month, quarter or year.'
    );
  end if;

  return query
  with point as (
    select
      trend.breakdown_value, trend.is_other, trend.bucket_start,
      coalesce(lead(trend.bucket_start) over by_value, anomalies.until) > anomalies.since as is_in_period,
      case anomalies.measure
        when 'events' then trend.event_count::float8
        when 'people' then trend.person_count::float8
        else extract(epoch from trend.engaged)::float8
      end as figure
    from analytics.trend(
      event_name => anomalies.event_name,
      bucket => anomalies.bucket,
      -- The buckets before, which the first ones are compared with.
      since => anomalies.since - (anomalies.history + 3 * v_season) * v_length,
      until => anomalies.until,
      zone => anomalies.zone,
      item => anomalies.item,
      among => anomalies.among,
      breakdown => anomalies.breakdown,
      top_values => anomalies.top_values
    ) as trend
    where trend.is_complete
    window by_value as (partition by trend.breakdown_value, trend.is_other order by trend.bucket_start)
  ),

  based as (
    select
      seasonal.*,
      (
        select percentile_cont(0.5) within group (order by earlier.figure)
        from unnest(array[seasonal.one_ago, seasonal.two_ago, seasonal.three_ago]) as earlier (figure)
      ) as base
    from (
      select
        point.*,
        lag(point.figure, v_season) over by_value as one_ago,
        lag(point.figure, 2 * v_season) over by_value as two_ago,
        lag(point.figure, 3 * v_season) over by_value as three_ago
      from point
      window by_value as (partition by point.breakdown_value, point.is_other order by point.bucket_start)
    ) as seasonal
    where seasonal.three_ago is not null
  ),

  residual as (
    select
      based.*,
      array_agg(based.figure - based.base) over (
        partition by based.breakdown_value, based.is_other
        order by based.bucket_start
        rows between anomalies.history preceding and 1 preceding
      ) as earlier
    from based
  ),

  scored as (
    select
      residual.bucket_start, residual.breakdown_value, residual.is_other, residual.figure,
      residual.base + middle.residual as expected,
      greatest(
        v_scale * spread.deviation,
        -- Counts vary at least as those of a Poisson distribution. The median of three has 0.4487 of their variance.
        case when anomalies.measure <> 'engaged' then sqrt(1.4487 * greatest(residual.base + middle.residual, 1)) end
      ) as deviation
    from residual
    cross join lateral (
      select percentile_cont(0.5) within group (order by listed.residual) as residual
      from unnest(residual.earlier) as listed (residual)
    ) as middle
    cross join lateral (
      select percentile_cont(0.5) within group (order by abs(listed.residual - middle.residual)) as deviation
      from unnest(residual.earlier) as listed (residual)
    ) as spread
    where residual.is_in_period
      and cardinality(residual.earlier) >= 10
  )

  select
    scored.bucket_start,
    scored.breakdown_value,
    scored.is_other,
    scored.figure,
    scored.expected,
    greatest(scored.expected - anomalies.threshold * scored.deviation, 0),
    scored.expected + anomalies.threshold * scored.deviation,
    (scored.figure - scored.expected) / nullif(scored.deviation, 0),
    coalesce(abs(scored.figure - scored.expected) > anomalies.threshold * scored.deviation, false),
    anomalies.zone
  from scored
  order by scored.is_other, scored.breakdown_value is null, scored.breakdown_value, scored.bucket_start;
end;
$$;

comment on function analytics.anomalies(
  text, text, timestamptz, timestamptz, text, text, text, text, text, int, int, int, float8
) is $$
Returns a trend with the figures that are expected from its past, and the buckets that differ significantly from them.
A bucket is expected to have the median of the figures at the same place of the three seasons before it, plus the
median of the differences from such medians over the `history` buckets before it. It is an anomaly (`is_anomaly`) if
it differs from that by more than `threshold` deviations: 1.4826 times the median absolute deviation of these
differences, and for events and people at least that of the difference of Poisson counts from such a median. The score
is the modified z-score of B. Iglewicz and D. C. Hoaglin, "How to Detect and Handle Outliers" (1993), whose threshold
is 3.5. Medians are not moved by one unusual bucket. There is one row per complete bucket that has 10 such differences
before it. `season`: number of buckets; null: 168 hours or 7 days, and 1 for other buckets. `measure`: `events`,
`people`, or `engaged` time in seconds. The other arguments are those of `analytics.trend`, with whose figures, and
whose rules for analysts, it is computed. Errors: as `analytics.trend`, CF001 for another measure, season, history or
threshold.
$$;

grant execute on function analytics.anomalies(
  text, text, timestamptz, timestamptz, text, text, text, text, text, int, int, int, float8
)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/trend/anomalies.sql

--! Included analytics/funnels/_funnel_steps.sql
create or replace function analytics._funnel_step(entry jsonb, name text, allowed text[], item text)
returns analytics.step_filter
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_entry constant jsonb := case
    when jsonb_typeof(entry) = 'string' then jsonb_build_object('event', entry)
    else entry
  end;
  v_wrong text;
  v_item constant text := coalesce(v_entry ->> 'item', _funnel_step.item);
  v_filter analytics.step_filter;
begin
  if jsonb_typeof(v_entry) is distinct from 'object' then
    perform common.refuse(
      'CF009',
      format('%s is %s', _funnel_step.name, left(coalesce(v_entry::text, 'null'), 100)),
      'Give the name of an event, or an object such as {"event": "Task Submitted", "item": "html"}.'
    );
  end if;
  select key into v_wrong
  from jsonb_object_keys(v_entry) as key
  where key <> all (allowed)
  order by key
  limit 1;
  if found then
    perform common.refuse(
      'CF009',
      format('%s has the unknown key "%s"', _funnel_step.name, left(v_wrong, 100)),
      format('The keys are %s.', array_to_string(allowed, ', '))
    );
  end if;
  if not v_entry ? 'event' then
    perform common.refuse(
      'CF009', format('%s has no event', _funnel_step.name), 'Give its name, or null for any that is not automatic.'
    );
  end if;
  v_wrong := case
    when jsonb_typeof(v_entry -> 'event') not in ('string', 'null') then 'event'
    when jsonb_typeof(v_entry -> 'item') not in ('string', 'null') then 'item'
    when jsonb_typeof(v_entry -> 'optional') <> 'boolean' then 'optional'
    when coalesce(v_entry ->> 'from', '1') !~ '^[0-9]{1,3}$' then 'from'
    when coalesce(v_entry ->> 'to', '1') !~ '^[0-9]{1,3}$' then 'to'
    when v_entry ? 'property'
      and (
        jsonb_typeof(v_entry -> 'property') <> 'object'
        or array(select key from jsonb_object_keys(v_entry -> 'property') as key order by key) <> '{is,name}'
        or jsonb_typeof(v_entry -> 'property' -> 'name') <> 'string'
        or length(v_entry -> 'property' ->> 'name') not between 1 and 200
        or jsonb_typeof(v_entry -> 'property' -> 'is') not in ('string', 'number', 'boolean')
      ) then 'property'
  end;
  if v_wrong is not null then
    perform common.refuse(
      'CF009',
      format('"%s" of %s is %s', v_wrong, _funnel_step.name, left((v_entry -> v_wrong)::text, 100)),
      case v_wrong
        when 'event' then 'Give the name of an event, or null for any that is not automatic.'
        when 'item' then 'Give the external id of an item.'
        when 'optional' then 'Give true or false.'
        when 'property' then 'Give {"name": a string, "is": a string, a number, true or false}.'
        else 'Give the number of a step.'
      end
    );
  end if;

  v_filter.event_type_id := analytics._event_type_id(v_entry ->> 'event');
  v_filter.event := coalesce(v_entry ->> 'event', 'any event');
  v_filter.item := v_item;
  v_filter.item_id := analytics._item_id(v_item);
  v_filter.items := case
    when v_item is not null then array(
      select ancestor.item_id
      from track.item_ancestor as ancestor
      where ancestor.ancestor_item_id = v_filter.item_id
    )
  end;
  v_filter.property := v_entry -> 'property';
  v_filter.is_optional := coalesce((v_entry ->> 'optional')::boolean, false);
  v_filter.first_step := (v_entry ->> 'from')::int;
  v_filter.last_step := (v_entry ->> 'to')::int;
  return v_filter;
end;
$$;

comment on function analytics._funnel_step(jsonb, text, text[], text) is $$
Returns a step, or an exclusion, of a funnel.
`name`: its name in errors; `item`: that of steps without one of their own.
Errors: CF002 for an unknown event or item, CF009 for another form.
$$;

grant execute on function analytics._funnel_step(jsonb, text, text[], text) to insights_reader;

create or replace function analytics._funnel_steps(steps jsonb, exclusions jsonb, step_order text, item text)
returns analytics.step_filter[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_steps analytics.step_filter[] := '{}';
  v_step analytics.step_filter;
  v_same analytics.step_filter;
  v_entry record;
  v_count int;
begin
  if step_order is null or step_order not in ('ordered', 'strict', 'unordered') then
    perform common.refuse(
      'CF001',
      format('step_order is "%s"', left(step_order, 100)),
      'Use ordered, strict (without another event between two steps) or unordered.'
    );
  end if;
  if jsonb_typeof(steps) is distinct from 'array' or jsonb_typeof(coalesce(exclusions, '[]')) <> 'array' then
    perform common.refuse(
      'CF009',
      'steps and exclusions are not lists',
      'Give JSON arrays, such as ["Task Started", {"event": "Task Submitted", "optional": true}].'
    );
  end if;
  v_count := jsonb_array_length(steps);
  if v_count not between 2 and 20 or jsonb_array_length(coalesce(exclusions, '[]')) > 10 then
    perform common.refuse(
      'CF008',
      format(
        'the funnel has %s steps and %s exclusions', v_count, jsonb_array_length(coalesce(exclusions, '[]'))
      ),
      'A funnel has 2 to 20 steps, and at most 10 exclusions.'
    );
  end if;

  for v_entry in
    select listed.entry, listed.number
    from jsonb_array_elements(steps) with ordinality as listed (entry, number)
    order by listed.number
  loop
    v_step := analytics._funnel_step(
      v_entry.entry, 'step ' || v_entry.number, '{event,item,property,optional}', _funnel_steps.item
    );
    v_step.first_step := v_entry.number;
    v_step.last_step := v_entry.number;
    v_step.is_exclusion := false;
    if v_step.is_optional and (v_entry.number = 1 or step_order <> 'ordered') then
      perform common.refuse(
        'CF001',
        format('step %s is optional', v_entry.number),
        'The first step, and the steps of a strict or unordered funnel, cannot be optional.'
      );
    end if;
    v_steps := v_steps || v_step;
  end loop;

  for v_entry in
    select listed.entry, listed.number
    from jsonb_array_elements(coalesce(exclusions, '[]')) with ordinality as listed (entry, number)
    order by listed.number
  loop
    v_step := analytics._funnel_step(
      v_entry.entry, 'exclusion ' || v_entry.number, '{event,item,property,from,to}', _funnel_steps.item
    );
    v_step.first_step := coalesce(v_step.first_step, 1);
    v_step.last_step := coalesce(v_step.last_step, v_count);
    v_step.is_exclusion := true;
    if v_step.first_step < 1 or v_step.last_step > v_count or v_step.first_step >= v_step.last_step then
      perform common.refuse(
        'CF001',
        format('exclusion %s is from step %s to step %s', v_entry.number, v_step.first_step, v_step.last_step),
        format('Give steps from 1 to %s, the first one before the other.', v_count)
      );
    end if;
    if step_order = 'unordered' and (v_step.first_step > 1 or v_step.last_step < v_count) then
      perform common.refuse(
        'CF001',
        format('exclusion %s is from step %s to step %s', v_entry.number, v_step.first_step, v_step.last_step),
        'Steps that can be done in any order have no steps between them: exclude from the first to the last one.'
      );
    end if;
    select step.* into v_same
    from unnest(v_steps) as step
    where not step.is_exclusion
      and step.event_type_id = v_step.event_type_id
      and (step.items is null or v_step.items is null or step.items && v_step.items)
      and (step.property is null or v_step.property is null or step.property = v_step.property)
    limit 1;
    if found then
      perform common.refuse(
        'CF001',
        format('exclusion %s, "%s", is also step %s', v_entry.number, left(v_step.event, 100), v_same.first_step),
        'An event that is a step cannot be excluded. Give another event, or another item.'
      );
    end if;
    v_steps := v_steps || v_step;
  end loop;
  return v_steps;
end;
$$;

comment on function analytics._funnel_steps(jsonb, jsonb, text, text) is $$
Returns the steps of a funnel, and after them its exclusions.
Errors: CF001 for another order, an optional step that cannot be, and an exclusion that is a step or has other steps;
CF002 for an unknown event or item, CF008 for a wrong number of steps, CF009 for another form.
$$;

grant execute on function analytics._funnel_steps(jsonb, jsonb, text, text) to insights_reader;

create or replace function analytics._conversion_window(conversion_window interval)
returns interval
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
set intervalstyle to 'postgres'
as $$
begin
  if conversion_window is null or not isfinite(conversion_window)
    or conversion_window < '1 second' or conversion_window > '10 years'
  then
    perform common.refuse(
      'CF001',
      format('conversion_window is %s', coalesce(left(conversion_window::text, 100), 'null')),
      'Give the time from the first step to the last one, from 1 second to 10 years. The usual one is 14 days.'
    );
  end if;
  return make_interval(secs => extract(epoch from conversion_window)::float8);
end;
$$;

comment on function analytics._conversion_window(interval) is $$
Returns a conversion window as a number of seconds: days of 24 hours.
Errors: CF001 for a window below 1 second or above 10 years.
$$;

grant execute on function analytics._conversion_window(interval) to insights_reader;

create or replace function analytics._last_step(filters analytics.step_filter[], from_step int, to_step int)
returns int
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_count constant int := (select count(*) from unnest(filters) as filter where not filter.is_exclusion);
  v_to_step constant int := coalesce(
    _last_step.to_step,
    (
      select max(filter.first_step)
      from unnest(filters) as filter
      where not filter.is_exclusion
        and not filter.is_optional
    )
  );
begin
  if _last_step.from_step is null or _last_step.from_step < 1 or v_to_step > v_count
    or _last_step.from_step >= v_to_step
    or (filters[_last_step.from_step]).is_optional or (filters[v_to_step]).is_optional
  then
    perform common.refuse(
      'CF001',
      format('from_step is %s and to_step %s', coalesce(_last_step.from_step::text, 'null'), v_to_step),
      format('Give two steps from 1 to %s that are not optional, the first one before the other.', v_count)
    );
  end if;
  return v_to_step;
end;
$$;

comment on function analytics._last_step(analytics.step_filter[], int, int) is $$
Returns the step to which people are counted: `to_step`, or null for the last one that is not optional.
Errors: CF001 unless both are steps that are not optional, in their order.
$$;

grant execute on function analytics._last_step(analytics.step_filter[], int, int) to insights_reader;
--! EndIncluded analytics/funnels/_funnel_steps.sql

--! Included analytics/funnels/_journeys.sql
create or replace function analytics._journeys(
  event_types int[], with_any boolean, with_items boolean, since timestamptz, until timestamptz
)
returns table (
  person_id bigint, event_type_id int, is_automatic boolean, occurred_at timestamptz[], item_ids int[]
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the period.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_first_day constant date := (_journeys.since at time zone 'UTC')::date;
  v_end_day constant date := (_journeys.until at time zone 'UTC')::date + 1;
  v_queued record;
begin
  v_queued := track.queued_days(v_first_day, v_end_day);
  if v_queued.people is null then
    -- The whole list where it is within the period.
    return query
    select
      step.person_id, step.event_type_id, step.is_automatic,
      case
        when step.occurred_at[1] >= _journeys.since
          and step.occurred_at[cardinality(step.occurred_at)] < _journeys.until
          then step.occurred_at
        else step.occurred_at[
          width_bucket(_journeys.since - interval '1 microsecond', step.occurred_at) + 1
          :width_bucket(_journeys.until - interval '1 microsecond', step.occurred_at)
        ]
      end,
      case
        when not _journeys.with_items then null
        when step.occurred_at[1] >= _journeys.since
          and step.occurred_at[cardinality(step.occurred_at)] < _journeys.until
          then step.item_ids
        else step.item_ids[
          width_bucket(_journeys.since - interval '1 microsecond', step.occurred_at) + 1
          :width_bucket(_journeys.until - interval '1 microsecond', step.occurred_at)
        ]
      end
    from track.step
    where (step.event_type_id = any (_journeys.event_types) or _journeys.with_any and not step.is_automatic)
      and step.person_id <> 0
      and step.since > v_first_day - 366
      and step.since < v_end_day
      and step.occurred_at[1] < _journeys.until
      and step.occurred_at[cardinality(step.occurred_at)] >= _journeys.since;
    return;
  end if;

  return query
  with queued as materialized (
    select
      entry.person_id,
      greatest(entry.first_day::timestamp at time zone 'UTC', _journeys.since) as since,
      least(entry.end_day::timestamp at time zone 'UTC', _journeys.until) as until
    from unnest(v_queued.people, v_queued.first_days, v_queued.end_days) as entry (person_id, first_day, end_day)
  )

  select
    kept.person_id, kept.event_type_id, kept.is_automatic,
    step.occurred_at[kept.first_place + 1:kept.end_place], step.item_ids[kept.first_place + 1:kept.end_place]
  from track.step
  left join queued on queued.person_id = step.person_id
  cross join lateral (
    select
      width_bucket(_journeys.since - interval '1 microsecond', step.occurred_at) as since,
      width_bucket(queued.since - interval '1 microsecond', step.occurred_at) as queued_since,
      width_bucket(queued.until - interval '1 microsecond', step.occurred_at) as queued_until,
      width_bucket(_journeys.until - interval '1 microsecond', step.occurred_at) as until
  ) as place
  -- In two parts where those between them are queued.
  cross join lateral (
    values
      (
        step.person_id, step.event_type_id, step.is_automatic, place.since, coalesce(place.queued_since, place.until)
      ),
      (step.person_id, step.event_type_id, step.is_automatic, coalesce(place.queued_until, place.until), place.until)
  ) as kept (person_id, event_type_id, is_automatic, first_place, end_place)
  where (step.event_type_id = any (_journeys.event_types) or _journeys.with_any and not step.is_automatic)
    and step.person_id <> 0
    and step.since > v_first_day - 366
    and step.since < v_end_day
    and kept.first_place < kept.end_place

  union all

  select
    happened.person_id, happened.event_type_id, happened.is_automatic,
    array_agg(happened.occurred_at order by happened.occurred_at, happened.item_id),
    array_agg(happened.item_id order by happened.occurred_at, happened.item_id)
  from (
    select
      event.person_id, event.event_type_id, event.occurred_at, coalesce(event.item_id, 0)::int as item_id,
      event_type.is_automatic or source.is_automatic as is_automatic
    from queued
    join track.event
      on event.person_id = queued.person_id
      and event.occurred_at >= queued.since
      and event.occurred_at < queued.until
    join track.event_type on event_type.event_type_id = event.event_type_id
    join track.source on source.source_id = event.source_id
    where event.person_id <> 0
  ) as happened
  where happened.event_type_id = any (_journeys.event_types)
    or _journeys.with_any and not happened.is_automatic
  group by happened.person_id, happened.event_type_id, happened.is_automatic;
end;
$$;

comment on function analytics._journeys(int[], boolean, boolean, timestamptz, timestamptz) is $$
Returns the times and items of events of people in a period, with the privileges of the caller.
Of these event types, and `with_any` of all events that are not automatic; without person 0. A person and event type
can have several rows, in each of which the times ascend, and which can be empty. `item_ids`: 0 for events that name
none; null unless `with_items`. The events of people who are queued for a refresh are included.
$$;

grant execute on function analytics._journeys(int[], boolean, boolean, timestamptz, timestamptz) to insights_reader;
--! EndIncluded analytics/funnels/_journeys.sql

--! Included analytics/funnels/_visible_periods.sql
create or replace function analytics._visible_periods(
  event_type_id int, item_id bigint, among text, bounds timestamptz[], smallest_group int
)
returns tstzmultirange
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return (
    select coalesce(range_agg(tstzrange(period.start_at, period.end_at)), '{}')
    from analytics._presence_of_groups(
      _visible_periods.event_type_id, array[bounds[1], bounds[cardinality(bounds)]], _visible_periods.item_id,
      _visible_periods.among, null, 10, null, _visible_periods.smallest_group
    ) as period
    where period.start_at >= bounds[1]
      and period.end_at <= bounds[width_bucket(period.start_at, bounds) + 1]
  );
end;
$$;

comment on function analytics._visible_periods(int, bigint, text, timestamptz[], int) is $$
Returns the parts of a period whose events of a type count for analysts.
They are those of `analytics._presence_of_groups` that are whole within a bucket. `bounds`: ascending times.
$$;

grant execute on function analytics._visible_periods(int, bigint, text, timestamptz[], int) to insights_reader;
--! EndIncluded analytics/funnels/_visible_periods.sql

--! Included analytics/funnels/_walk_steps.sql
create or replace function analytics._walk_steps(
  at timestamptz[],
  steps int[],
  exclusions int[],
  step_count int,
  conversion_window interval,
  optional_steps int,
  is_strict boolean,
  out reached int,
  out is_excluded boolean,
  out times timestamptz[]
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_last constant int := cardinality(at);
  -- Of the latest attempt that has reached each step: its start, the end of its window, and the event of each step.
  v_starts timestamptz[] := array_fill(null::timestamptz, array[step_count]);
  v_ends timestamptz[] := v_starts;
  v_tainted boolean[] := array_fill(false, array[step_count]);
  v_paths int[] := array_fill(0, array[step_count * step_count]);
  v_first int := 1;
  v_until int;
  v_length int;
  v_is_mixed boolean;
  v_event int;
  v_step int;
  v_previous int;
  v_start timestamptz;
  v_end timestamptz;
  v_bit int;
  v_reached_end timestamptz;
  v_path int[];
begin
  reached := 0;
  is_excluded := false;
  while v_first <= v_last loop
    -- The events of one instant count in the order of the steps, when they are not all of the same steps.
    v_until := v_first;
    v_is_mixed := false;
    while at[v_until + 1] = at[v_first] loop
      v_until := v_until + 1;
      v_is_mixed := v_is_mixed
        or steps[v_until] <> steps[v_first]
        or exclusions[v_until] <> exclusions[v_first];
    end loop;
    v_length := v_until - v_first + 1;

    for v_position in 0 .. v_length * step_count - 1 loop
      if v_is_mixed then
        v_step := 1 + v_position / v_length;
        v_event := v_first + v_position % v_length;
      else
        -- From the last step, so that one event is not two steps.
        v_step := step_count - v_position % step_count;
        v_event := v_first + v_position / step_count;
      end if;
      v_bit := 1 << (v_step - 1);
      continue when (steps[v_event] | exclusions[v_event]) & v_bit = 0;

      -- The closest step before it that an attempt has reached, in whose window the event is.
      v_previous := v_step - 1;
      loop
        if v_previous = 0 then
          v_start := at[v_event];
          v_end := v_start + conversion_window;
          exit;
        end if;
        v_start := v_starts[v_previous];
        v_end := v_ends[v_previous];
        exit when at[v_event] <= v_end;
        if optional_steps & (1 << (v_previous - 1)) = 0 then
          v_start := null;
          exit;
        end if;
        v_previous := v_previous - 1;
      end loop;
      continue when v_start is null or v_starts[v_step] = v_start;

      if exclusions[v_event] & v_bit <> 0 and not v_is_mixed and v_previous > 0 then
        v_tainted[v_previous] := true;
        is_excluded := is_excluded or reached = v_previous and at[v_event] <= v_reached_end;
      end if;
      continue when steps[v_event] & v_bit = 0;

      v_path := case
        when v_previous = 0 then array_fill(0, array[step_count])
        else v_paths[(v_previous - 1) * step_count + 1:v_previous * step_count]
      end;
      continue when v_is_mixed and v_event = any (v_path);
      v_path[v_step] := v_event;
      if v_previous = 0 or not v_tainted[v_previous] then
        v_starts[v_step] := v_start;
        v_ends[v_step] := v_end;
        v_tainted[v_step] := false;
        v_paths[(v_step - 1) * step_count + 1:v_step * step_count] := v_path;
      end if;
      if v_step > reached or v_step = reached and is_excluded then
        reached := v_step;
        is_excluded := v_previous > 0 and v_tainted[v_previous];
        v_reached_end := v_end;
        times := array(
          select case when place.event > 0 then at[place.event] end
          from unnest(v_path) with ordinality as place (event, number)
          order by place.number
        );
      end if;
    end loop;

    exit when v_starts[step_count] is not null;
    if is_strict and not v_is_mixed then
      for v_number in 1 .. step_count loop
        if steps[v_first] & (1 << (v_number - 1)) = 0 then
          v_starts[v_number] := null;
          v_ends[v_number] := null;
          v_tainted[v_number] := false;
        end if;
      end loop;
    end if;
    v_first := v_until + 1;
  end loop;
end;
$$;

comment on function analytics._walk_steps(timestamptz[], int[], int[], int, interval, int, boolean) is $$
Returns the furthest attempt of a person in an ordered or strict funnel.
`at`: the times of the events, ascending; `steps`, `exclusions`: for each event one bit per step that it is, and per
step that an attempt cannot reach any more after it (bit 0 for step 1). `optional_steps`: one bit per optional step.
`reached`: the number of the step; 0 for none. `is_excluded`: an exclusion was between its steps. `times`: the time of
each step, null for one that was not done. The rules are those of PostHog.
$$;

grant execute on function analytics._walk_steps(timestamptz[], int[], int[], int, interval, int, boolean)
to insights_reader;
--! EndIncluded analytics/funnels/_walk_steps.sql

--! Included analytics/funnels/_walk_unordered.sql
create or replace function analytics._walk_unordered(
  at timestamptz[],
  steps int[],
  exclusions int[],
  step_count int,
  conversion_window interval,
  start_before timestamptz,
  out reached int,
  out times timestamptz[]
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_last constant int := cardinality(at);
  -- The step of each event, and of each step the oldest and the newest event that are in the window.
  v_step_of int[] := array_fill(0, array[v_last]);
  v_oldest int[] := array_fill(null::int, array[step_count]);
  v_newest int[] := v_oldest;
  v_done int := 0;
  v_step int;
  v_next int;
begin
  reached := 0;
  -- One position more, for what is in the window after the last event.
  for v_event in 1 .. v_last + 1 loop
    loop
      v_step := null;
      for v_number in 1 .. step_count loop
        if v_oldest[v_number] is not null and (v_step is null or at[v_oldest[v_number]] < at[v_oldest[v_step]]) then
          v_step := v_number;
        end if;
      end loop;
      exit when v_step is null
        or at[v_oldest[v_step]] >= start_before
        or v_done < step_count and at[v_oldest[v_step]] + conversion_window >= at[v_event];
      if v_done > reached then
        reached := v_done;
        times := array(
          select at[place.event] from unnest(v_oldest) as place (event) where place.event is not null order by 1
        );
      end if;
      v_next := v_oldest[v_step] + 1;
      while v_next < v_event and v_step_of[v_next] <> v_step loop
        v_next := v_next + 1;
      end loop;
      if v_next < v_event then
        v_oldest[v_step] := v_next;
      else
        v_oldest[v_step] := null;
        v_newest[v_step] := null;
        v_done := v_done - 1;
      end if;
    end loop;
    exit when reached = step_count or v_event > v_last or at[v_oldest[v_step]] >= start_before;

    if steps[v_event] = 0 then
      if exclusions[v_event] <> 0 then
        if reached = 0 and v_done > 0 then
          reached := 1;
          times := array(select min(at[place.event]) from unnest(v_oldest) as place (event));
        end if;
        v_oldest := array_fill(null::int, array[step_count]);
        v_newest := v_oldest;
        v_done := 0;
      end if;
      continue;
    end if;

    -- Of several steps, the one that was done the longest time ago.
    v_step := null;
    for v_number in 1 .. step_count loop
      if steps[v_event] & (1 << (v_number - 1)) <> 0
        and (
          v_step is null
          or v_newest[v_step] is not null
            and (v_newest[v_number] is null or at[v_newest[v_number]] < at[v_newest[v_step]])
        )
      then
        v_step := v_number;
      end if;
    end loop;
    if v_oldest[v_step] is null then
      v_oldest[v_step] := v_event;
      v_done := v_done + 1;
    end if;
    v_newest[v_step] := v_event;
    v_step_of[v_event] := v_step;
  end loop;
end;
$$;

comment on function analytics._walk_unordered(timestamptz[], int[], int[], int, interval, timestamptz) is $$
Returns the most steps that a person has done within a window, in any order.
The arguments are those of `analytics._walk_steps`. `start_before`: the first of the steps is earlier.
`times`: those of the steps, ascending.
What was done in a window in which an excluded event follows does not count, unless it was all steps; one step does.
$$;

grant execute on function analytics._walk_unordered(timestamptz[], int[], int[], int, interval, timestamptz)
to insights_reader;
--! EndIncluded analytics/funnels/_walk_unordered.sql

--! Included analytics/funnels/_funnel_attempts.sql
/* Times of one event by person: a row per person, with the times in order. */
create or replace aggregate analytics._concatenated(anycompatiblearray) (
  sfunc = array_cat,
  stype = anycompatiblearray,
  parallel = safe
);

comment on aggregate analytics._concatenated(anycompatiblearray) is $$Returns the arrays of a group as one.$$;

grant execute on function analytics._concatenated(anycompatiblearray) to insights_reader;

/*
 * Both statements have these parameters: $1 the filters, $2 the bounds, $3 the visible periods of each filter and, at
 * the end, of any event, $4 and $5 the people as blocks and bits, $6 the conversion window, $7 the event types, $8
 * whether all events are read, $9 the optional steps, one bit each, and $10 the property.
 */

/*
 * `at1`, `at2`, …: the times of the steps. From each time of a step, the latest time of the step before it is found
 * by binary search, and from there the latest one of the step before that: the latest possible start, with the latest
 * end of the window. When the first time whose start is late enough is found, the search ends.
 */
create or replace function analytics._search_statement(
  filters analytics.step_filter[], step_count int, by_bucket boolean, only_visible boolean
)
returns text
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_lists text := '';
  v_columns text := 'journey.at1';
  v_found text := '';
  v_start text := '%s';
  v_starts text[] := '{"start.found_1"}';
  v_forward text := '';
  v_with_items constant boolean := exists (
    select from unnest(filters) as filter where not filter.is_exclusion and filter.items is not null
  );
begin
  for v_number in 1 .. step_count loop
    v_lists := v_lists || format(
      ', %2$s as at%1$s',
      v_number,
      case
        when (filters[v_number]).items is null and not only_visible then format(
          $query$
          case
            when bool_and(journey.is_automatic) filter (where journey.event_type_id = %1$s)
              = bool_or(journey.is_automatic) filter (where journey.event_type_id = %1$s)
              then analytics._concatenated(journey.occurred_at order by journey.person_id, journey.first_at)
                filter (where journey.event_type_id = %1$s)
            else array(
              select unnest(
                analytics._concatenated(journey.occurred_at order by journey.person_id, journey.first_at)
                  filter (where journey.event_type_id = %1$s)
              )
              order by 1
            )
          end$query$,
          (filters[v_number]).event_type_id
        )
        else format(
          $query$
          array(
            select used.at
            from unnest(
              analytics._concatenated(journey.occurred_at order by journey.person_id, journey.first_at)
                filter (where journey.event_type_id = %1$s),
              %2$s
            ) as used (at, item_id)
            where %3$s
            order by 1
          )$query$,
          (filters[v_number]).event_type_id,
          case
            when v_with_items then format(
              $query$analytics._concatenated(journey.item_ids order by journey.person_id, journey.first_at)
                filter (where journey.event_type_id = %s)$query$,
              (filters[v_number]).event_type_id
            )
            else $query$'{}'::int[]$query$
          end,
          concat_ws(
            ' and ',
            case
              when (filters[v_number]).items is not null
                then format('used.item_id = any (($1)[%s].items)', v_number)
            end,
            case when only_visible then format('used.at <@ ($3)[%s]', v_number) end
          )
        )
      end
    );
    continue when v_number = 1;

    v_columns := v_columns || format(', journey.at%s', v_number);
    -- The start of the attempt that a time of this step belongs to.
    v_start := format(v_start, format('attempt.at%1$s[width_bucket(%%s, attempt.at%1$s)]', v_number - 1));
    v_found := v_found || format(
      $query$
      left join lateral (
        select later.at
        from (
          select unnest(attempt.at%1$s%2$s) as at
        ) as later
        where later.at <= %3$s + $6
        limit 1
      ) as reach_%1$s on true$query$,
      v_number,
      case
        when v_number > 2 then format(
          $query$[width_bucket(reach_%1$s.at - interval '1 microsecond', attempt.at%2$s) + 1:]$query$,
          v_number - 1, v_number
        )
        else ''
      end,
      format(v_start, 'later.at')
    );
    v_starts := v_starts || format(v_start, format('reach_%s.at', v_number));
    v_forward := v_forward || format(
      $query$
      cross join lateral (
        select
          case
            when start.reached >= %1$s
              then attempt.at%1$s[
                width_bucket(time_%2$s.at - interval '1 microsecond', attempt.at%1$s) + 1
              ]
          end as at
      ) as time_%1$s$query$,
      v_number, v_number - 1
    );
  end loop;

  return format(
    $query$
    with member as materialized (
      select entry.block, entry.people from unnest($4, $5) as entry (block, people)
    ),

    -- Sorted once, for all lists of times.
    journey as (
      select journey.person_id%1$s
      from (
        select
          journey.person_id, journey.event_type_id, journey.is_automatic, journey.occurred_at, journey.item_ids,
          journey.occurred_at[1] as first_at
        from analytics._journeys(%2$s, false, %3$s, ($2)[1], ($2)[cardinality($2)]) as journey
        join member
          on member.block = journey.person_id / 4096
          and get_bit(member.people, (journey.person_id %% 4096)::int) <> 0
      ) as journey
      group by journey.person_id
      having bool_or(journey.event_type_id = ($1)[1].event_type_id)
    ),

    attempt as (
      select journey.person_id, %4$s, %5$s
      from journey%6$s
      where cardinality(journey.at1) > 0
      offset 0
    )

    select attempt.person_id, attempt.bucket, null::text, start.reached, array[time_1.at%7$s]
    from attempt%8$s
    cross join lateral (
      select
        %9$s as reached,
        case %10$s else attempt.at1[1] end as at
    ) as start
    cross join lateral (select start.at) as time_1%11$s
    $query$,
    v_lists,
    quote_literal((
      select array_agg(filter.event_type_id) from unnest(filters) as filter where not filter.is_exclusion
    )),
    case when v_with_items then 'true' else 'false' end,
    case when by_bucket then 'part.bucket' else '1 as bucket' end,
    case when by_bucket then replace(v_columns, 'journey.at1', 'part.at as at1') else v_columns end,
    case
      when by_bucket then $query$
      cross join lateral (
        select entered.bucket, array_agg(entered.at order by entered.at) as at
        from (
          select width_bucket(listed.at, $2) as bucket, listed.at
          from unnest(journey.at1) as listed (at)
        ) as entered
        group by entered.bucket
      ) as part$query$
      else ''
    end,
    (
      select string_agg(format(', time_%s.at', number), '' order by number)
      from generate_series(2, step_count) as number
    ),
    v_found,
    (
      select 'case ' || string_agg(format('when reach_%1$s.at is not null then %1$s', number), ' ' order by number desc)
        || ' else 1 end'
      from generate_series(2, step_count) as number
    ),
    (
      select
        string_agg(format('when reach_%s.at is not null then %s', number, v_starts[number]), ' ' order by number desc)
      from generate_series(2, step_count) as number
    ),
    v_forward
  );
end;
$$;

comment on function analytics._search_statement(analytics.step_filter[], int, boolean, boolean) is $$
Returns the statement that finds the attempts of people in an ordered funnel of different events.
By binary search; see `analytics._funnel_attempts`. `by_bucket`: one attempt per person and bucket of its start.
$$;

grant execute on function analytics._search_statement(analytics.step_filter[], int, boolean, boolean)
to insights_reader;

create or replace function analytics._walk_statement(
  filters analytics.step_filter[],
  step_count int,
  step_order text,
  by_events boolean,
  attribution text,
  by_bucket boolean,
  only_visible boolean
)
returns text
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_filter analytics.step_filter;
  v_steps text := '0';
  v_exclusions text := '0';
  v_bit int;
  v_expression text;
  v_source text;
  -- The steps that begin an attempt.
  v_entry constant int := case when step_order = 'unordered' then (1 << step_count) - 1 else 1 end;
  -- The first step of an attempt is in its bucket, and the step that gives the value has this value.
  v_masked constant text := concat(
    'hit.steps',
    case
      when by_bucket and step_order <> 'unordered'
        then ' & case when hit.at >= ($2)[entered.bucket + 1] then ~1 else ~0 end'
    end,
    case
      when attribution like 'step\_%' then format(
        ' & case when hit.steps & %1$s <> 0 and hit.value is distinct from given.value then ~%1$s else ~0 end',
        1 << (substr(attribution, 6)::int - 1)
      )
    end
  );
begin
  for v_number in 1 .. cardinality(filters) loop
    v_filter := filters[v_number];
    v_bit := case
      when v_filter.is_exclusion then (1 << v_filter.last_step) - (1 << v_filter.first_step)
      else 1 << (v_number - 1)
    end;
    v_expression := format(
      ' | case when %s then %s else 0 end',
      concat_ws(
        ' and ',
        case
          when v_filter.event_type_id = 0 then 'not happened.is_automatic'
          else format('happened.event_type_id = %s', v_filter.event_type_id)
        end,
        case when v_filter.items is not null then format('happened.item_id = any (($1)[%s].items)', v_number) end,
        case
          when v_filter.property is not null then format(
            $query$happened.properties -> (($1)[%1$s].property ->> 'name') = ($1)[%1$s].property -> 'is'$query$,
            v_number
          )
        end,
        case when only_visible then format('happened.at <@ ($3)[%s]', v_number) end
      ),
      v_bit
    );
    if v_filter.is_exclusion then
      v_exclusions := v_exclusions || v_expression;
    else
      v_steps := v_steps || v_expression;
    end if;
  end loop;

  v_source := case
    when by_events then
      $query$
      select
        event.person_id, event.event_type_id, event.occurred_at as at, event.item_id, event.properties,
        event_type.is_automatic or source.is_automatic as is_automatic,
        left(event.properties ->> $10, 200) as value
      from track.event
      join track.event_type on event_type.event_type_id = event.event_type_id
      join track.source on source.source_id = event.source_id
      join member
        on member.block = event.person_id / 4096
        and get_bit(member.people, (event.person_id % 4096)::int) <> 0
      where event.occurred_at >= ($2)[1]
        and event.occurred_at < ($2)[cardinality($2)]
        and (event.event_type_id = any ($7) or $8)
        and event.person_id <> 0
      $query$
    else
      $query$
      select
        journey.person_id, journey.event_type_id, used.at, used.item_id, null::jsonb as properties,
        journey.is_automatic, null::text as value
      from analytics._journeys($7, $8, true, ($2)[1], ($2)[cardinality($2)]) as journey
      join member
        on member.block = journey.person_id / 4096
        and get_bit(member.people, (journey.person_id % 4096)::int) <> 0
      cross join lateral unnest(journey.occurred_at, journey.item_ids) as used (at, item_id)
      $query$
  end;

  return format(
    $query$
    with member as materialized (
      select entry.block, entry.people from unnest($4, $5) as entry (block, people)
    ),

    hit as (
      select happened.person_id, happened.at, happened.steps, happened.exclusions, happened.value
      from (
        select
          happened.person_id, happened.at, happened.value, happened.is_automatic, %1$s as steps, %2$s as exclusions
        from (%3$s) as happened
      ) as happened
      where happened.steps <> 0
        or happened.exclusions <> 0
        or %4$s
    ),

    journey as (%5$s)

    select journey.person_id, journey.bucket, journey.value, attempt.reached, attempt.times
    from journey
    cross join lateral %6$s as attempt
    where attempt.reached > 0
    $query$,
    v_steps,
    v_exclusions,
    v_source,
    case
      when step_order <> 'strict' then 'false'
      when only_visible then 'not happened.is_automatic and happened.at <@ ($3)[cardinality($1) + 1]'
      else 'not happened.is_automatic'
    end,
    format(
      $query$
      select
        %1$s as person_id, %2$s as bucket, %3$s as value,
        array_agg(hit.at order by hit.at, hit.steps <> 0, hit.steps, hit.exclusions) as at,
        array_agg(%4$s order by hit.at, hit.steps <> 0, hit.steps, hit.exclusions) as steps,
        array_agg(hit.exclusions order by hit.at, hit.steps <> 0, hit.steps, hit.exclusions) as exclusions
      from hit%5$s
      group by %6$s
      having bool_or(%4$s & %7$s <> 0)
      $query$,
      'hit.person_id',
      case when by_bucket then 'entered.bucket' else '1' end,
      case
        when attribution is null then 'null::text'
        when attribution in ('first_touch', 'last_touch') then format(
          $query$(
            array_agg(hit.value order by hit.at%s, hit.value) filter (where hit.steps <> 0 and hit.value is not null)
          )[1]$query$,
          case when attribution = 'last_touch' then ' desc' end
        )
        when attribution = 'all_events' then 'hit.value'
        else 'given.value'
      end,
      v_masked,
      concat(
        case
          when by_bucket then format(
            $query$
            join (
              select distinct hit.person_id, width_bucket(hit.at, $2) as bucket
              from hit
              where hit.steps & %s <> 0
            ) as entered
              on entered.person_id = hit.person_id
              and hit.at >= ($2)[entered.bucket]
              and hit.at <= ($2)[entered.bucket + 1] + $6
            $query$,
            v_entry
          )
        end,
        case
          when attribution like 'step\_%' then format(
            $query$
            left join (
              select distinct hit.person_id, hit.value
              from hit
              where hit.steps & %s <> 0
            ) as given on given.person_id = hit.person_id
            $query$,
            1 << (substr(attribution, 6)::int - 1)
          )
        end
      ),
      concat_ws(
        ', ',
        'hit.person_id',
        case when by_bucket then 'entered.bucket' end,
        case when attribution = 'all_events' then 'hit.value' when attribution like 'step\_%' then 'given.value' end
      ),
      v_entry
    ),
    case
      when step_order = 'unordered' then format(
        'analytics._walk_unordered(journey.at, journey.steps, journey.exclusions, %s, $6, %s)',
        step_count,
        case when by_bucket then '($2)[journey.bucket + 1]' else $query$'infinity'$query$ end
      )
      else format(
        $query$(
          select walked.reached, walked.times
          from analytics._walk_steps(
            journey.at, journey.steps, journey.exclusions, %s, $6, $9, %s
          ) as walked
          where not walked.is_excluded
        )$query$,
        step_count, case when step_order = 'strict' then 'true' else 'false' end
      )
    end
  );
end;
$$;

comment on function analytics._walk_statement(
  analytics.step_filter[], int, text, boolean, text, boolean, boolean
) is $$
Returns the statement that finds the attempts of people in any funnel, by walking through their events.
See `analytics._funnel_attempts`. `by_events`: properties are read, from the events. `by_bucket`: one attempt per
person and bucket of its start.
$$;

grant execute on function analytics._walk_statement(analytics.step_filter[], int, text, boolean, text, boolean, boolean)
to insights_reader;

create or replace function analytics._funnel_attempts(
  filters analytics.step_filter[],
  bounds timestamptz[],
  step_order text,
  conversion_window interval,
  among text,
  property text,
  attribution text,
  smallest_group int
)
returns table (person_id bigint, bucket int, value text, reached int, times timestamptz[])
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
-- A row has the journey of a person.
set work_mem to '64MB'
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_since constant timestamptz := bounds[1];
  v_until constant timestamptz := bounds[cardinality(bounds)];
  v_by_bucket constant boolean := cardinality(bounds) > 2;
  v_step_count constant int := (select count(*) from unnest(filters) as filter where not filter.is_exclusion);
  v_types constant int[] := array(
    select distinct filter.event_type_id from unnest(filters) as filter where filter.event_type_id <> 0
  );
  v_with_any constant boolean := step_order = 'strict'
    or exists (select from unnest(filters) as filter where filter.event_type_id = 0);
  v_by_events constant boolean := _funnel_attempts.property is not null
    or exists (select from unnest(filters) as filter where filter.property is not null);
  v_optional constant int := (
    select coalesce(sum(1 << (filter.first_step - 1)), 0)
    from unnest(filters) as filter
    where filter.is_optional
  );
  -- Where no event is two steps, and none is optional.
  v_by_search constant boolean := step_order = 'ordered'
    and not v_by_events
    and v_optional = 0
    and not v_with_any
    and (
      select count(distinct filter.event_type_id) = v_step_count
      from unnest(filters) as filter
      where not filter.is_exclusion
    );
  v_visible tstzmultirange[];
  v_blocks int[];
  v_people bit(4096)[];
  v_walkers bit(4096)[];
begin
  select array_agg(member.block order by member.block), array_agg(member.people order by member.block)
  into v_blocks, v_people
  from (
    select
      entry.block,
      entry.people
        & ~coalesce(excluded.people, v_no_people)
        & case when smallest_group is null then ~v_no_people else coalesce(counted.people, v_no_people) end as people
    from analytics._among(_funnel_attempts.among, _funnel_attempts.smallest_group) as entry
    left join track.person_set_blocks('excluded') as excluded on excluded.block = entry.block
    left join track.person_set_blocks('counted') as counted on counted.block = entry.block
  ) as member;
  if smallest_group is not null then
    v_visible := array(
      select
        analytics._visible_periods(
          entry.event_type_id, entry.item_id, _funnel_attempts.among, bounds, _funnel_attempts.smallest_group
        )
      from (
        select filter.event_type_id, filter.item_id, filter.ordinality
        from unnest(filters) with ordinality as filter
        union all
        select 0, null, cardinality(filters) + 1 where step_order = 'strict'
      ) as entry
      order by entry.ordinality
    );
  end if;

  if not v_by_search then
    v_walkers := v_people;
  elsif cardinality(filters) > v_step_count then
    -- Exclusions are of no concern to people without one.
    v_walkers := array(
      select coalesce(bit_or(track.person_bit(journey.person_id)) & entry.people, v_no_people)
      from unnest(v_blocks, v_people) as entry (block, people)
      left join analytics._journeys(
        array(select filter.event_type_id from unnest(filters) as filter where filter.is_exclusion),
        exists (select from unnest(filters) as filter where filter.is_exclusion and filter.event_type_id = 0),
        false, v_since, v_until
      ) as journey on journey.person_id / 4096 = entry.block
      group by entry.block, entry.people
      order by entry.block
    );
    v_people := array(
      select entry.people & ~entry.walkers
      from unnest(v_blocks, v_people, v_walkers) as entry (block, people, walkers)
      order by entry.block
    );
  end if;

  if v_by_search then
    return query execute analytics._search_statement(filters, v_step_count, v_by_bucket, v_visible is not null)
    using filters, bounds, v_visible, v_blocks, v_people, conversion_window;
  end if;
  if v_walkers is not null then
    return query execute analytics._walk_statement(
      filters, v_step_count, step_order, v_by_events,
      case when _funnel_attempts.property is not null then attribution end, v_by_bucket, v_visible is not null
    )
    using filters, bounds, v_visible, v_blocks, v_walkers, conversion_window, v_types, v_with_any, v_optional,
      _funnel_attempts.property;
  end if;
end;
$$;

comment on function analytics._funnel_attempts(
  analytics.step_filter[], timestamptz[], text, interval, text, text, text, int
) is $$
Returns the furthest attempt of each person in a funnel, with the privileges of the caller.
`filters`: the steps and exclusions (`analytics._funnel_steps`). `bounds`: ascending times; the events are those
between the first and the last one. With more than two, there is one attempt per person and bucket in which the person
did the first step. `property`: the attempts have the value of this property of the events that `attribution` names;
null: null. `reached`: the number of the furthest step; `times`: the time of each step, null where it was not done (in
an unordered funnel the times of that many steps). People whose furthest attempt met an exclusion are left out, except
in an unordered funnel. `smallest_group`: events of counted people in `analytics._visible_periods`; null: of all
people.
$$;

grant execute on function analytics._funnel_attempts(
  analytics.step_filter[], timestamptz[], text, interval, text, text, text, int
) to insights_reader;
--! EndIncluded analytics/funnels/_funnel_attempts.sql

--! Included analytics/funnels/_attempts_by_value.sql
create or replace function analytics._attempts_by_value(
  filters analytics.step_filter[],
  bounds timestamptz[],
  step_order text,
  conversion_window interval,
  among text,
  breakdown text,
  attribution text,
  top_values int,
  smallest_group int
)
returns table (value text, is_other boolean, bucket int, person_id bigint, reached int, times timestamptz[])
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set work_mem to '64MB'
as $$
declare
  v_step_count constant int := (select count(*) from unnest(filters) as filter where not filter.is_exclusion);
  v_property constant text := case when breakdown like 'property.%' then substr(breakdown, length('property.') + 1) end;
begin
  perform common.check_count('top_values', _attempts_by_value.top_values, 1, 100);
  if attribution is null
    or attribution not in ('first_touch', 'last_touch', 'all_events')
      and (
        step_order = 'unordered'
        or attribution !~ '^step_[1-9][0-9]?$'
        or substr(attribution, 6)::int > v_step_count
      )
  then
    perform common.refuse(
      'CF001',
      format('attribution is "%s"', left(attribution, 100)),
      'Use first_touch, last_touch, all_events, or in an ordered funnel step_1, step_2, …: the value at this step.'
    );
  end if;
  if length(breakdown) > 200 or breakdown = 'property.' then
    perform common.refuse(
      'CF001',
      format('breakdown is "%s"', left(breakdown, 100)),
      'Give a name after "property.", of 191 characters at most.'
    );
  end if;

  if breakdown is null then
    return query
    select null::text, false, attempt.bucket, attempt.person_id, attempt.reached, attempt.times
    from analytics._funnel_attempts(
      filters, bounds, step_order, conversion_window, among, null, null, smallest_group
    ) as attempt;
  elsif v_property is null then
    return query
    select by_value.value, by_value.is_other, attempt.bucket, attempt.person_id, attempt.reached, attempt.times
    from analytics._people_by_value(breakdown, top_values, smallest_group) as by_value
    join analytics._funnel_attempts(
      filters, bounds, step_order, conversion_window, among, null, null, smallest_group
    ) as attempt
      on attempt.person_id / 4096 = by_value.block
      and get_bit(by_value.people, (attempt.person_id % 4096)::int) <> 0;
  else
    return query
    with attempt as materialized (
      select *
      from analytics._funnel_attempts(
        filters, bounds, step_order, conversion_window, among, v_property, attribution, smallest_group
      )
    ),

    ranked as materialized (
      select sized.value, row_number() over (order by sized.person_count desc, sized.value collate "C") as position
      from (
        select attempt.value, count(distinct attempt.person_id) as person_count
        from attempt
        where attempt.value is not null
        group by attempt.value
      ) as sized
      where sized.person_count >= coalesce(smallest_group, 1)
    ),

    named as (
      select ranked.value, attempt.value is not null and ranked.value is null as is_other, attempt.bucket,
        attempt.person_id, attempt.reached, attempt.times
      from attempt
      left join ranked on ranked.value = attempt.value and ranked.position <= top_values
    )

    -- Of several other values, the attempt that went furthest.
    select distinct on (named.value, named.is_other, named.bucket, named.person_id)
      named.value, named.is_other, named.bucket, named.person_id, named.reached, named.times
    from named
    order by named.value, named.is_other, named.bucket, named.person_id, named.reached desc, named.times;
  end if;
end;
$$;

comment on function analytics._attempts_by_value(
  analytics.step_filter[], timestamptz[], text, interval, text, text, text, int, int
) is $$
Returns the furthest attempt of each person, and value of a breakdown, in a funnel.
The arguments are those of `analytics.funnel` and `analytics._funnel_attempts`.
Errors: CF001 for an attribution or a breakdown that does not exist.
$$;

grant execute on function analytics._attempts_by_value(
  analytics.step_filter[], timestamptz[], text, interval, text, text, text, int, int
) to insights_reader;
--! EndIncluded analytics/funnels/_attempts_by_value.sql

--! Included analytics/funnels/funnel.sql
create or replace function analytics._funnel(
  steps jsonb,
  since timestamptz,
  until timestamptz,
  step_order text,
  conversion_window interval,
  exclusions jsonb,
  item text,
  among text,
  breakdown text,
  attribution text,
  top_values int,
  smallest_group int
)
returns setof analytics.funnel_step
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set work_mem to '64MB'
as $$
declare
  v_days constant timestamptz[] := analytics._bounds('day', _funnel.since, _funnel.until, 'UTC');
  v_bounds constant timestamptz[] := array[v_days[1], v_days[cardinality(v_days)]];
  v_filters constant analytics.step_filter[] := analytics._funnel_steps(
    _funnel.steps, _funnel.exclusions, _funnel.step_order, _funnel.item
  );
  v_window constant interval := analytics._conversion_window(_funnel.conversion_window);
begin
  return query
  with attempt as materialized (
    select * from analytics._attempts_by_value(
      v_filters, v_bounds, _funnel.step_order, v_window, _funnel.among, _funnel.breakdown, _funnel.attribution,
      _funnel.top_values, _funnel.smallest_group
    )
  ),

  step as (
    select
      filter.first_step as number, filter.event, filter.item, filter.is_optional,
      -- The steps before and after it that are not optional.
      max(filter.first_step) filter (where not filter.is_optional) over (
        order by filter.first_step rows between unbounded preceding and 1 preceding
      ) as previous,
      min(filter.first_step) filter (where not filter.is_optional) over (
        order by filter.first_step rows between 1 following and unbounded following
      ) as next
    from unnest(v_filters) as filter
    where not filter.is_exclusion
  ),

  counted as (
    select
      attempt.value, attempt.is_other, step.number,
      count(*) as person_count,
      count(*) filter (
        where attempt.times[step.next] is null
          and attempt.times[1] + v_window > least(v_bounds[2], now())
          and step.next is not null
      ) as open_count,
      avg(attempt.times[step.number] - attempt.times[step.previous]) as mean_time,
      percentile_cont(0.5) within group (
        order by attempt.times[step.number] - attempt.times[step.previous]
      ) as median_time,
      percentile_cont(0.5) within group (order by attempt.times[step.number] - attempt.times[1]) as total_time
    from attempt
    join step on attempt.times[step.number] is not null
    group by attempt.value, attempt.is_other, step.number
  ),

  shown as (
    select
      keys.value, keys.is_other, step.*,
      coalesce(
        analytics._shown(counted.person_count, counted.person_count, _funnel.smallest_group), 0
      )::bigint as person_count,
      coalesce(
        analytics._shown(counted.open_count, counted.open_count, _funnel.smallest_group), 0
      )::bigint as open_count,
      analytics._shown_time(counted.mean_time, counted.person_count, _funnel.smallest_group) as mean_time,
      analytics._shown_time(
        counted.median_time, counted.person_count, _funnel.smallest_group, counted.mean_time
      ) as median_time,
      analytics._shown_time(
        counted.total_time, counted.person_count, _funnel.smallest_group, counted.total_time
      ) as total_time
    from (
      select distinct counted.value, counted.is_other from counted where _funnel.breakdown is not null
      union all
      select null, false where _funnel.breakdown is null
    ) as keys
    cross join step
    left join counted
      on counted.value is not distinct from keys.value
      and counted.is_other = keys.is_other
      and counted.number = step.number
  )

  select
    shown.value,
    shown.is_other,
    shown.number,
    case when _funnel.step_order <> 'unordered' then shown.event end,
    case when _funnel.step_order <> 'unordered' then shown.item end,
    shown.is_optional,
    shown.person_count,
    shown.person_count::float8 / nullif(entered.person_count, 0),
    shown.person_count::float8 / nullif(earlier.person_count, 0),
    case when later.number is not null then greatest(shown.person_count - later.person_count, 0) end,
    case when shown.next is not null then shown.open_count end,
    shown.mean_time,
    shown.median_time,
    case when shown.number > 1 then shown.total_time end
  from shown
  join shown as entered
    on entered.value is not distinct from shown.value
    and entered.is_other = shown.is_other
    and entered.number = 1
  left join shown as earlier
    on earlier.value is not distinct from shown.value
    and earlier.is_other = shown.is_other
    and earlier.number = shown.previous
  left join shown as later
    on later.value is not distinct from shown.value
    and later.is_other = shown.is_other
    and later.number = shown.next
    and not shown.is_optional
  where _funnel.breakdown is null
    or entered.person_count > 0
  order by shown.is_other, shown.value is null, shown.value, shown.number;
end;
$$;

comment on function analytics._funnel(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, text, int, int
) is $$
Computes the result of `analytics.funnel`, with the privileges of the caller.
`smallest_group`: figures of groups of counted people (see `analytics._visible_periods` and `analytics._shown`);
null: exact figures of all people.
$$;

grant execute on function analytics._funnel(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, text, int, int
)
to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._funnel_exact(
  steps jsonb,
  since timestamptz,
  until timestamptz,
  step_order text,
  conversion_window interval,
  exclusions jsonb,
  item text,
  among text,
  breakdown text,
  attribution text,
  top_values int
)
returns setof analytics.funnel_step
language sql
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
  select *
  from analytics._funnel(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, null
  );
$$;

alter function analytics._funnel_exact(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, text, int
)
owner to insights_reader;

comment on function analytics._funnel_exact(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, text, int
) is $$
Returns the result of `analytics.funnel` with exact figures of all people, for admins and workers.
$$;

grant execute on function analytics._funnel_exact(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, text, int
)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._funnel_shown(
  steps jsonb,
  since timestamptz,
  until timestamptz,
  step_order text,
  conversion_window interval,
  exclusions jsonb,
  item text,
  among text,
  breakdown text,
  attribution text,
  top_values int
)
returns setof analytics.funnel_step
language sql
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
  select *
  from analytics._funnel(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._funnel_shown(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, text, int
)
owner to insights_reader;

comment on function analytics._funnel_shown(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, text, int
) is $$
Returns the result of `analytics.funnel` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._funnel_shown(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, text, int
)
to insights_analyst;

create or replace function analytics.funnel(
  steps jsonb,
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  step_order text default 'ordered',
  conversion_window interval default '14 days',
  exclusions jsonb default '[]',
  item text default null,
  among text default null,
  breakdown text default null,
  attribution text default 'first_touch',
  top_values int default 10
)
returns setof analytics.funnel_step
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._funnel_exact(jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, text, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._funnel_exact(
      funnel.steps, funnel.since, funnel.until, funnel.step_order, funnel.conversion_window, funnel.exclusions,
      funnel.item, funnel.among, funnel.breakdown, funnel.attribution, funnel.top_values
    );
  else
    return query
    select *
    from analytics._funnel_shown(
      funnel.steps, funnel.since, funnel.until, funnel.step_order, funnel.conversion_window, funnel.exclusions,
      funnel.item, funnel.among, funnel.breakdown, funnel.attribution, funnel.top_values
    );
  end if;
end;
$$;

comment on function analytics.funnel(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, text, int
) is $$
Returns how many people did each step of a funnel, and how long it took.
`steps`: 2 to 20 events, each the name of an event, or an object with the keys `event` (null: any that is not
automatic), `item` (with what it contains), `property` ({"name": …, "is": …}) and `optional`. Only events from
`since` until `until` count, extended to whole days (UTC). `step_order`: `ordered`, with other events between the
steps; `strict`, without another event between them (automatic ones apart); or `unordered`, where row n is about any n
of the steps. All steps are within the `conversion_window` from the first one, including its end. A person counts
once, with the attempt that went furthest, and of those the earliest; a later first step begins a new attempt. One
event is one step: the same step twice needs two events. Events of the same instant count in the order of the steps.
`exclusions`: events, with the keys of a step, `from` and `to` (the first and the last step), that must not be between
two steps. A person whose furthest attempt met one is not in the funnel; in an unordered funnel, where only an
exclusion from the first to the last step is possible, she has done one step. An `optional` step can be left out; its
people are those who did it, and the next step is compared with the one before it.
`item`: that of the steps without an item. `among`: people of these sets now, such as `segment.power & ~staff`.
`breakdown`: `set.<family>`, `trait.<name>`, or `property.<name>` of the events that `attribution` names: the first or
the last one with a value (`first_touch`, `last_touch`), the one of a step (`step_2`; a person counts for each value
there), or all (`all_events`: the steps of a value only). The rules are those of PostHog.
For admins and workers, figures are exact and include anonymous browsers. Analysts see figures of counted people
(`track.exclude_person`), of days on which at least `analytics.setting.smallest_group` of them did the step, or of the
small days of a week together; a number of fewer people reads as 0, others are rounded by `analytics._shown`.
The result includes every event that was stored when the function was called, also before a refresh.
Errors: CF001 for an invalid argument, CF002 for an unknown event, item or set (names the nearest), CF008 for too many
steps, CF009 for steps of another form.
$$;

grant execute on function analytics.funnel(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, text, int
)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/funnels/funnel.sql

--! Included analytics/funnels/funnel_trend.sql
create or replace function analytics._funnel_trend(
  steps jsonb,
  bucket text,
  since timestamptz,
  until timestamptz,
  zone text,
  step_order text,
  conversion_window interval,
  exclusions jsonb,
  from_step int,
  to_step int,
  item text,
  among text,
  breakdown text,
  attribution text,
  top_values int,
  smallest_group int
)
returns setof analytics.funnel_trend_point
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set work_mem to '64MB'
as $$
declare
  v_filters constant analytics.step_filter[] := analytics._funnel_steps(
    _funnel_trend.steps, _funnel_trend.exclusions, _funnel_trend.step_order, _funnel_trend.item
  );
  v_to_step constant int := analytics._last_step(v_filters, _funnel_trend.from_step, _funnel_trend.to_step);
  v_bounds constant timestamptz[] := analytics._bounds(
    _funnel_trend.bucket, _funnel_trend.since, _funnel_trend.until, _funnel_trend.zone
  );
  v_count constant int := cardinality(v_bounds) - 1;
  v_window constant interval := analytics._conversion_window(_funnel_trend.conversion_window);
begin
  if v_count * analytics._value_count(_funnel_trend.breakdown, _funnel_trend.top_values) > 100000 then
    perform common.refuse(
      'CF008',
      format('there are %s buckets for each value', v_count),
      'There can be 100,000 rows. Give a shorter period, a larger bucket, or fewer values.'
    );
  end if;

  return query
  with attempt as materialized (
    select found.value, found.is_other, found.bucket, found.times
    -- The last part is for the later steps.
    from analytics._attempts_by_value(
      v_filters,
      v_bounds || date_trunc('day', v_bounds[v_count + 1] + v_window + interval '1 day'),
      _funnel_trend.step_order, v_window, _funnel_trend.among, _funnel_trend.breakdown, _funnel_trend.attribution,
      _funnel_trend.top_values, _funnel_trend.smallest_group
    ) as found
    where found.bucket <= v_count
  ),

  counted as (
    select
      attempt.value, attempt.is_other, attempt.bucket,
      count(*) filter (where attempt.times[_funnel_trend.from_step] is not null) as entered_count,
      count(*) filter (where attempt.times[v_to_step] is not null) as converted_count,
      percentile_cont(0.5) within group (
        order by attempt.times[v_to_step] - attempt.times[_funnel_trend.from_step]
      ) as median_time
    from attempt
    group by attempt.value, attempt.is_other, attempt.bucket
  ),

  shown as (
    select
      keys.value, keys.is_other, listed.number as bucket,
      coalesce(
        analytics._shown(counted.entered_count, counted.entered_count, _funnel_trend.smallest_group), 0
      )::bigint as entered_count,
      coalesce(
        analytics._shown(counted.converted_count, counted.converted_count, _funnel_trend.smallest_group), 0
      )::bigint as converted_count,
      analytics._shown_time(
        counted.median_time, counted.converted_count, _funnel_trend.smallest_group, counted.median_time
      ) as median_time
    from (
      select distinct counted.value, counted.is_other from counted where _funnel_trend.breakdown is not null
      union all
      select null, false where _funnel_trend.breakdown is null
    ) as keys
    cross join generate_series(1, v_count) as listed (number)
    left join counted
      on counted.value is not distinct from keys.value
      and counted.is_other = keys.is_other
      and counted.bucket = listed.number
    where v_bounds[listed.number] <= now()
  )

  select
    v_bounds[shown.bucket],
    shown.value,
    shown.is_other,
    shown.entered_count,
    shown.converted_count,
    shown.converted_count::float8 / nullif(shown.entered_count, 0),
    shown.median_time,
    v_bounds[shown.bucket + 1] + v_window <= now(),
    _funnel_trend.zone
  from shown
  order by shown.is_other, shown.value is null, shown.value, shown.bucket;
end;
$$;

comment on function analytics._funnel_trend(
  jsonb, text, timestamptz, timestamptz, text, text, interval, jsonb, int, int, text, text, text, text, int, int
) is $$
Computes the result of `analytics.funnel_trend`, with the privileges of the caller.
`smallest_group`: figures of groups of counted people (see `analytics._visible_periods` and `analytics._shown`);
null: exact figures of all people.
$$;

grant execute on function analytics._funnel_trend(
  jsonb, text, timestamptz, timestamptz, text, text, interval, jsonb, int, int, text, text, text, text, int, int
)
to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._funnel_trend_exact(
  steps jsonb,
  bucket text,
  since timestamptz,
  until timestamptz,
  zone text,
  step_order text,
  conversion_window interval,
  exclusions jsonb,
  from_step int,
  to_step int,
  item text,
  among text,
  breakdown text,
  attribution text,
  top_values int
)
returns setof analytics.funnel_trend_point
language sql
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
  select *
  from analytics._funnel_trend(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, null
  );
$$;

alter function analytics._funnel_trend_exact(
  jsonb, text, timestamptz, timestamptz, text, text, interval, jsonb, int, int, text, text, text, text, int
)
owner to insights_reader;

comment on function analytics._funnel_trend_exact(
  jsonb, text, timestamptz, timestamptz, text, text, interval, jsonb, int, int, text, text, text, text, int
) is $$
Returns the result of `analytics.funnel_trend` with exact figures of all people, for admins and workers.
$$;

grant execute on function analytics._funnel_trend_exact(
  jsonb, text, timestamptz, timestamptz, text, text, interval, jsonb, int, int, text, text, text, text, int
)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._funnel_trend_shown(
  steps jsonb,
  bucket text,
  since timestamptz,
  until timestamptz,
  zone text,
  step_order text,
  conversion_window interval,
  exclusions jsonb,
  from_step int,
  to_step int,
  item text,
  among text,
  breakdown text,
  attribution text,
  top_values int
)
returns setof analytics.funnel_trend_point
language sql
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
  select *
  from analytics._funnel_trend(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._funnel_trend_shown(
  jsonb, text, timestamptz, timestamptz, text, text, interval, jsonb, int, int, text, text, text, text, int
)
owner to insights_reader;

comment on function analytics._funnel_trend_shown(
  jsonb, text, timestamptz, timestamptz, text, text, interval, jsonb, int, int, text, text, text, text, int
) is $$
Returns the result of `analytics.funnel_trend` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._funnel_trend_shown(
  jsonb, text, timestamptz, timestamptz, text, text, interval, jsonb, int, int, text, text, text, text, int
)
to insights_analyst;

create or replace function analytics.funnel_trend(
  steps jsonb,
  bucket text default 'week',
  since timestamptz default date_trunc('week', now() at time zone 'UTC' - interval '77 days') at time zone 'UTC',
  until timestamptz default now(),
  zone text default 'UTC',
  step_order text default 'ordered',
  conversion_window interval default '14 days',
  exclusions jsonb default '[]',
  from_step int default 1,
  to_step int default null,
  item text default null,
  among text default null,
  breakdown text default null,
  attribution text default 'first_touch',
  top_values int default 10
)
returns setof analytics.funnel_trend_point
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._funnel_trend_exact(jsonb, text, timestamptz, timestamptz, text, text, interval, jsonb, int, int, '
      || 'text, text, text, text, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._funnel_trend_exact(
      funnel_trend.steps, funnel_trend.bucket, funnel_trend.since, funnel_trend.until, funnel_trend.zone,
      funnel_trend.step_order, funnel_trend.conversion_window, funnel_trend.exclusions, funnel_trend.from_step,
      funnel_trend.to_step, funnel_trend.item, funnel_trend.among, funnel_trend.breakdown, funnel_trend.attribution,
      funnel_trend.top_values
    );
  else
    return query
    select *
    from analytics._funnel_trend_shown(
      funnel_trend.steps, funnel_trend.bucket, funnel_trend.since, funnel_trend.until, funnel_trend.zone,
      funnel_trend.step_order, funnel_trend.conversion_window, funnel_trend.exclusions, funnel_trend.from_step,
      funnel_trend.to_step, funnel_trend.item, funnel_trend.among, funnel_trend.breakdown, funnel_trend.attribution,
      funnel_trend.top_values
    );
  end if;
end;
$$;

comment on function analytics.funnel_trend(
  jsonb, text, timestamptz, timestamptz, text, text, interval, jsonb, int, int, text, text, text, text, int
) is $$
Returns the conversion of the people who entered a funnel in each bucket.
A person counts in each bucket of `since` until `until` (extended to whole buckets of the zone; weeks start on Monday)
in which she did the first step, with the attempt that began in it and went furthest. The later steps count within the
window, also after the bucket and after `until`, so that the figures of a bucket do not depend on the period; the
window of a bucket that is not complete (`is_complete`) is still open. In an unordered funnel, an attempt begins with
the first of its steps.
`from_step`, `to_step`: the rate is that of the people who did the one among those who did the other; `to_step` null:
the last step. The other arguments are those of `analytics.funnel`, and so are the rules and what analysts see:
figures of counted people, and in a bucket of small days, of whole weeks only.
Errors: as `analytics.funnel`, CF001 for steps in another order, CF008 for more than 100,000 buckets and values.
$$;

grant execute on function analytics.funnel_trend(
  jsonb, text, timestamptz, timestamptz, text, text, interval, jsonb, int, int, text, text, text, text, int
)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/funnels/funnel_trend.sql

--! Included analytics/funnels/funnel_times.sql
create or replace function analytics._funnel_times(
  steps jsonb,
  since timestamptz,
  until timestamptz,
  step_order text,
  conversion_window interval,
  exclusions jsonb,
  from_step int,
  to_step int,
  bins int,
  item text,
  among text,
  smallest_group int
)
returns setof analytics.funnel_time
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set work_mem to '64MB'
as $$
declare
  v_filters constant analytics.step_filter[] := analytics._funnel_steps(
    _funnel_times.steps, _funnel_times.exclusions, _funnel_times.step_order, _funnel_times.item
  );
  v_to_step constant int := analytics._last_step(v_filters, _funnel_times.from_step, _funnel_times.to_step);
  v_days constant timestamptz[] := analytics._bounds('day', _funnel_times.since, _funnel_times.until, 'UTC');
  v_widths constant float8[] := array[
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 2 * 86400, 7 * 86400,
    14 * 86400, 28 * 86400, 91 * 86400, 365 * 86400
  ];
  v_seconds float8[];
  v_limit float8;
  v_width float8;
begin
  perform common.check_count('bins', _funnel_times.bins, 1, 1000);
  select array_agg(extract(epoch from attempt.times[v_to_step] - attempt.times[_funnel_times.from_step])::float8)
  into v_seconds
  from analytics._attempts_by_value(
    v_filters, array[v_days[1], v_days[cardinality(v_days)]], _funnel_times.step_order,
    analytics._conversion_window(_funnel_times.conversion_window), _funnel_times.among, null, 'first_touch', 10,
    _funnel_times.smallest_group
  ) as attempt
  where attempt.times[v_to_step] is not null;
  if v_seconds is null or cardinality(v_seconds) < coalesce(4.5 * nullif(_funnel_times.smallest_group, 1), 0) then
    return;
  end if;

  select percentile_cont(0.95) within group (order by listed.seconds) into v_limit
  from unnest(v_seconds) as listed (seconds);
  select coalesce(min(width), v_widths[cardinality(v_widths)]) into v_width
  from unnest(v_widths) as width
  where width * _funnel_times.bins > v_limit;

  return query
  with counted as (
    select least(floor(listed.seconds / v_width), _funnel_times.bins)::int as bin, count(*) as person_count
    from unnest(v_seconds) as listed (seconds)
    group by 1
  ),

  shown as (
    select
      listed.bin,
      coalesce(
        analytics._shown(counted.person_count, counted.person_count, _funnel_times.smallest_group), 0
      )::bigint as person_count
    from generate_series(0, _funnel_times.bins) as listed (bin)
    left join counted on counted.bin = listed.bin
  )

  select
    make_interval(secs => shown.bin * v_width),
    case when shown.bin < _funnel_times.bins then make_interval(secs => (shown.bin + 1) * v_width) end,
    shown.person_count
  from shown
  where shown.bin <= (select max(largest.bin) from shown as largest where largest.person_count > 0)
  order by shown.bin;
end;
$$;

comment on function analytics._funnel_times(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, int, int, int, text, text, int
) is $$
Computes the result of `analytics.funnel_times`, with the privileges of the caller.
`smallest_group`: figures of groups of counted people (see `analytics._visible_periods` and `analytics._shown`);
null: exact figures of all people.
$$;

grant execute on function analytics._funnel_times(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, int, int, int, text, text, int
)
to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._funnel_times_exact(
  steps jsonb,
  since timestamptz,
  until timestamptz,
  step_order text,
  conversion_window interval,
  exclusions jsonb,
  from_step int,
  to_step int,
  bins int,
  item text,
  among text
)
returns setof analytics.funnel_time
language sql
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
  select *
  from analytics._funnel_times(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, null
  );
$$;

alter function analytics._funnel_times_exact(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, int, int, int, text, text
)
owner to insights_reader;

comment on function analytics._funnel_times_exact(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, int, int, int, text, text
) is $$
Returns the result of `analytics.funnel_times` with exact figures of all people, for admins and workers.
$$;

grant execute on function analytics._funnel_times_exact(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, int, int, int, text, text
)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._funnel_times_shown(
  steps jsonb,
  since timestamptz,
  until timestamptz,
  step_order text,
  conversion_window interval,
  exclusions jsonb,
  from_step int,
  to_step int,
  bins int,
  item text,
  among text
)
returns setof analytics.funnel_time
language sql
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
  select *
  from analytics._funnel_times(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._funnel_times_shown(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, int, int, int, text, text
)
owner to insights_reader;

comment on function analytics._funnel_times_shown(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, int, int, int, text, text
) is $$
Returns the result of `analytics.funnel_times` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._funnel_times_shown(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, int, int, int, text, text
)
to insights_analyst;

create or replace function analytics.funnel_times(
  steps jsonb,
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  step_order text default 'ordered',
  conversion_window interval default '14 days',
  exclusions jsonb default '[]',
  from_step int default 1,
  to_step int default null,
  bins int default 20,
  item text default null,
  among text default null
)
returns setof analytics.funnel_time
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._funnel_times_exact(jsonb, timestamptz, timestamptz, text, interval, jsonb, int, int, int, text, '
      || 'text)',
    'execute'
  ) then
    return query
    select *
    from analytics._funnel_times_exact(
      funnel_times.steps, funnel_times.since, funnel_times.until, funnel_times.step_order,
      funnel_times.conversion_window, funnel_times.exclusions, funnel_times.from_step, funnel_times.to_step,
      funnel_times.bins, funnel_times.item, funnel_times.among
    );
  else
    return query
    select *
    from analytics._funnel_times_shown(
      funnel_times.steps, funnel_times.since, funnel_times.until, funnel_times.step_order,
      funnel_times.conversion_window, funnel_times.exclusions, funnel_times.from_step, funnel_times.to_step,
      funnel_times.bins, funnel_times.item, funnel_times.among
    );
  end if;
end;
$$;

comment on function analytics.funnel_times(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, int, int, int, text, text
) is $$
Returns how long people took from one step of a funnel to another: a histogram.
There is one row for each bin from 0 to the largest time, without empty ones at the end. All bins have the same width,
the smallest of a list (1, 2, 5, 10, 15, 30 seconds or minutes, 1, 2, 3, 6, 12 hours, 1, 2, 7, 14, 28, 91, 365 days)
with which 95 % of the people are in at most `bins` bins; the last bin has no end when there are longer times.
`from_step`, `to_step` (null: the last step) are steps that are not optional. The other arguments are those of
`analytics.funnel`, and so are the rules. Analysts see numbers of people as there, from 23 people on (as a quartile).
Errors: as `analytics.funnel`, CF001 for steps in another order and for other numbers of bins than 1 to 1,000.
$$;

grant execute on function analytics.funnel_times(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, int, int, int, text, text
)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/funnels/funnel_times.sql

--! Included analytics/funnels/funnel_people.sql
/* A definer owned by insights_reader: it returns people, and is granted to roles that may read them. */
create or replace function analytics.funnel_people(
  steps jsonb,
  step int,
  dropped boolean default true,
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  step_order text default 'ordered',
  conversion_window interval default '14 days',
  exclusions jsonb default '[]',
  item text default null,
  among text default null
)
returns setof analytics.funnel_person
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set jit to off
as $$
declare
  v_filters constant analytics.step_filter[] := analytics._funnel_steps(
    funnel_people.steps, funnel_people.exclusions, funnel_people.step_order, funnel_people.item
  );
  v_count constant int := (select count(*) from unnest(v_filters) as filter where not filter.is_exclusion);
  v_next constant int := (
    select min(filter.first_step)
    from unnest(v_filters) as filter
    where not filter.is_exclusion
      and not filter.is_optional
      and filter.first_step > funnel_people.step
  );
  v_days constant timestamptz[] := analytics._bounds('day', funnel_people.since, funnel_people.until, 'UTC');
  v_people analytics.funnel_person[];
begin
  if funnel_people.step is null or funnel_people.step < 1 or funnel_people.step > v_count
    or coalesce(funnel_people.dropped, true) and v_next is null
  then
    perform common.refuse(
      'CF001',
      format('step is %s', coalesce(funnel_people.step::text, 'null')),
      format('Give a step from 1 to %s, and one that is not the last for the people who dropped off.', v_count)
    );
  end if;

  v_people := array(
    select
      row(
        attempt.person_id, named.external_id, attempt.reached, attempt.times[funnel_people.step], attempt.times
      )::analytics.funnel_person
    from analytics._attempts_by_value(
      v_filters, array[v_days[1], v_days[cardinality(v_days)]], funnel_people.step_order,
      analytics._conversion_window(funnel_people.conversion_window), funnel_people.among, null, 'first_touch', 10, null
    ) as attempt
    left join lateral (
      select identity.external_id
      from track.identity
      where identity.person_id = attempt.person_id
      order by identity.kind = 'user' desc, identity.identity_id
      limit 1
    ) as named on true
    where attempt.times[funnel_people.step] is not null
      and (not coalesce(funnel_people.dropped, true) or attempt.times[v_next] is null)
    order by attempt.times[funnel_people.step], attempt.person_id
  );
  perform privacy.record_disclosure(
    array(select listed.person_id from unnest(v_people) as listed), 'analytics.funnel_people'
  );
  return query
  select listed.*
  from unnest(v_people) as listed;
end;
$$;

alter function analytics.funnel_people(
  jsonb, int, boolean, timestamptz, timestamptz, text, interval, jsonb, text, text
) owner to insights_reader;

comment on function analytics.funnel_people(
  jsonb, int, boolean, timestamptz, timestamptz, text, interval, jsonb, text, text
) is $$
@behavior -mutationField +queryField
Returns the people of a step of a funnel: those who did not do the next one (`dropped`), or all.
The earliest first. The other arguments are those of `analytics.funnel`, and so are the rules; the numbers of people
are those of its rows. `track.set_person_set` makes the people a set, by which every analysis can be filtered.
Errors: as `analytics.funnel`, CF001 for a step that does not exist, or without a next one. These reads are logged in
`privacy.disclosure`, not those of workers; CF005 in a read-only transaction.
$$;

grant execute on function analytics.funnel_people(
  jsonb, int, boolean, timestamptz, timestamptz, text, interval, jsonb, text, text
) to insights_admin, insights_worker;
--! EndIncluded analytics/funnels/funnel_people.sql

--! Included analytics/funnels/funnel_correlation.sql
create or replace function analytics._funnel_correlation(
  steps jsonb,
  since timestamptz,
  until timestamptz,
  step_order text,
  conversion_window interval,
  exclusions jsonb,
  factors text,
  item text,
  among text,
  top int,
  smallest_group int
)
returns setof analytics.funnel_factor
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set work_mem to '64MB'
as $$
declare
  v_filters constant analytics.step_filter[] := analytics._funnel_steps(
    _funnel_correlation.steps, _funnel_correlation.exclusions, _funnel_correlation.step_order, _funnel_correlation.item
  );
  v_last_step constant int := analytics._last_step(v_filters, 1, null);
  v_days constant timestamptz[] := analytics._bounds(
    'day', _funnel_correlation.since, _funnel_correlation.until, 'UTC'
  );
  v_window constant interval := analytics._conversion_window(_funnel_correlation.conversion_window);
  v_trait constant text := case when factors like 'trait.%' then substr(factors, length('trait.') + 1) end;
  v_people bigint[];
  v_converted boolean[];
  v_starts timestamptz[];
  v_ends timestamptz[];
begin
  if factors is null or factors not in ('event', 'set') and coalesce(v_trait, '') = '' or length(factors) > 106 then
    perform common.refuse(
      'CF001', format('factors is "%s"', left(factors, 100)), 'Use event, set, or trait.<name>.'
    );
  end if;
  perform common.check_count('top', coalesce(_funnel_correlation.top, 1), 1, 10000);

  select
    array_agg(attempt.person_id), array_agg(attempt.times[v_last_step] is not null), array_agg(attempt.times[1]),
    array_agg(least(coalesce(attempt.times[v_last_step], attempt.times[1] + v_window), v_days[cardinality(v_days)]))
  into v_people, v_converted, v_starts, v_ends
  from analytics._attempts_by_value(
    v_filters, array[v_days[1], v_days[cardinality(v_days)]], _funnel_correlation.step_order, v_window,
    _funnel_correlation.among, null, 'first_touch', 10, _funnel_correlation.smallest_group
  ) as attempt;

  return query
  with person as materialized (
    select entry.person_id, entry.converted, entry.starts_at, entry.ends_at
    from unnest(v_people, v_converted, v_starts, v_ends) as entry (person_id, converted, starts_at, ends_at)
  ),

  whole as (
    select
      count(*) filter (where person.converted) as converted,
      count(*) filter (where not person.converted) as dropped
    from person
  ),

  present as (
    select distinct event_type.name as factor, person.person_id, person.converted
    from analytics._journeys(
      '{}', true, false, v_days[1], v_days[cardinality(v_days)]
    ) as journey
    join person on person.person_id = journey.person_id
    join track.event_type on event_type.event_type_id = journey.event_type_id
    where factors = 'event'
      and width_bucket(person.ends_at, journey.occurred_at)
        > width_bucket(person.starts_at - interval '1 microsecond', journey.occurred_at)
      and journey.event_type_id not in (select filter.event_type_id from unnest(v_filters) as filter)

    union all

    select person_set.name, person.person_id, person.converted
    from track.person_set
    cross join lateral track.person_set_blocks(person_set.name) as members
    join person
      on person.person_id / 4096 = members.block
      and get_bit(members.people, (person.person_id % 4096)::int) <> 0
    where factors = 'set'

    union all

    select by_value.value, person.person_id, person.converted
    from analytics._people_by_value(
      case when v_trait is not null then factors end, 100, _funnel_correlation.smallest_group
    ) as by_value
    join person
      on person.person_id / 4096 = by_value.block
      and get_bit(by_value.people, (person.person_id % 4096)::int) <> 0
    where v_trait is not null
      and by_value.value is not null
  ),

  counted as (
    select
      present.factor,
      count(*) filter (where present.converted) as converted,
      count(*) filter (where not present.converted) as dropped
    from present
    group by present.factor
  ),

  cell as (
    select
      counted.factor,
      analytics._shown(counted.converted, counted.converted, _funnel_correlation.smallest_group) as converted_with,
      analytics._shown(counted.dropped, counted.dropped, _funnel_correlation.smallest_group) as dropped_with,
      analytics._shown(
        whole.converted - counted.converted, whole.converted - counted.converted, _funnel_correlation.smallest_group
      ) as converted_without,
      analytics._shown(
        whole.dropped - counted.dropped, whole.dropped - counted.dropped, _funnel_correlation.smallest_group
      ) as dropped_without
    from counted
    cross join whole
    where counted.converted + counted.dropped between coalesce(_funnel_correlation.smallest_group, 1)
      and whole.converted + whole.dropped - coalesce(_funnel_correlation.smallest_group, 1)
  ),

  compared as (
    select
      cell.*,
      ln((cell.converted_with + 0.5) * (cell.dropped_without + 0.5))
        - ln((cell.dropped_with + 0.5) * (cell.converted_without + 0.5)) as log_odds,
      sqrt(
        1 / (cell.converted_with + 0.5) + 1 / (cell.dropped_with + 0.5)
          + 1 / (cell.converted_without + 0.5) + 1 / (cell.dropped_without + 0.5)
      ) as deviation
    from cell
  ),

  tested as (
    select
      compared.*,
      2 * ml.normal_cdf(-abs(compared.log_odds / compared.deviation)) as p_value
    from compared
  ),

  ranked as (
    select
      tested.*,
      -- Benjamini and Hochberg's step up.
      min(tested.p_value * tested.factor_count / tested.p_rank) over (order by tested.p_rank desc) as adjusted
    from (
      select
        tested.*, row_number() over (order by tested.p_value, tested.factor) as p_rank, count(*) over () as factor_count
      from tested
    ) as tested
  )

  select
    ranked.factor,
    ranked.converted_with::bigint,
    ranked.dropped_with::bigint,
    ranked.converted_without::bigint,
    ranked.dropped_without::bigint,
    exp(ranked.log_odds),
    exp(ranked.log_odds - 1.959963984540054 * ranked.deviation),
    exp(ranked.log_odds + 1.959963984540054 * ranked.deviation),
    least(ranked.adjusted, 1),
    ranked.adjusted <= 0.05
  from ranked
  order by abs(ranked.log_odds) - 1.959963984540054 * ranked.deviation desc, ranked.factor
  limit _funnel_correlation.top;
end;
$$;

comment on function analytics._funnel_correlation(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, int, int
) is $$
Computes the result of `analytics.funnel_correlation`, with the privileges of the caller.
`smallest_group`: figures of groups of counted people (see `analytics._visible_periods` and `analytics._shown`);
null: exact figures of all people.
$$;

grant execute on function analytics._funnel_correlation(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, int, int
)
to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._funnel_correlation_exact(
  steps jsonb,
  since timestamptz,
  until timestamptz,
  step_order text,
  conversion_window interval,
  exclusions jsonb,
  factors text,
  item text,
  among text,
  top int
)
returns setof analytics.funnel_factor
language sql
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
  select *
  from analytics._funnel_correlation(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, null
  );
$$;

alter function analytics._funnel_correlation_exact(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, int
)
owner to insights_reader;

comment on function analytics._funnel_correlation_exact(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, int
) is $$
Returns the result of `analytics.funnel_correlation` with exact figures of all people, for admins and workers.
$$;

grant execute on function analytics._funnel_correlation_exact(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, int
)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._funnel_correlation_shown(
  steps jsonb,
  since timestamptz,
  until timestamptz,
  step_order text,
  conversion_window interval,
  exclusions jsonb,
  factors text,
  item text,
  among text,
  top int
)
returns setof analytics.funnel_factor
language sql
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
  select *
  from analytics._funnel_correlation(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._funnel_correlation_shown(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, int
)
owner to insights_reader;

comment on function analytics._funnel_correlation_shown(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, int
) is $$
Returns the result of `analytics.funnel_correlation` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._funnel_correlation_shown(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, int
)
to insights_analyst;

create or replace function analytics.funnel_correlation(
  steps jsonb,
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  step_order text default 'ordered',
  conversion_window interval default '14 days',
  exclusions jsonb default '[]',
  factors text default 'event',
  item text default null,
  among text default null,
  top int default 20
)
returns setof analytics.funnel_factor
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._funnel_correlation_exact(jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, '
      || 'int)',
    'execute'
  ) then
    return query
    select *
    from analytics._funnel_correlation_exact(
      funnel_correlation.steps, funnel_correlation.since, funnel_correlation.until, funnel_correlation.step_order,
      funnel_correlation.conversion_window, funnel_correlation.exclusions, funnel_correlation.factors,
      funnel_correlation.item, funnel_correlation.among, funnel_correlation.top
    );
  else
    return query
    select *
    from analytics._funnel_correlation_shown(
      funnel_correlation.steps, funnel_correlation.since, funnel_correlation.until, funnel_correlation.step_order,
      funnel_correlation.conversion_window, funnel_correlation.exclusions, funnel_correlation.factors,
      funnel_correlation.item, funnel_correlation.among, funnel_correlation.top
    );
  end if;
end;
$$;

comment on function analytics.funnel_correlation(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, int
) is $$
Returns what sets the people who did all steps of a funnel apart from those who did not.
`factors`: `event`: whether a person did an event of each type between her first and her last step or, without the last
step, within the window; `set`: whether she is in each set of people now; `trait.<name>`: whether she has each of the
100 most frequent values. The odds ratio is that of doing all steps, of people with the factor compared with the
others: 2 means twice the odds, 0.5 half of them. It is computed with 0.5 added to each of the four numbers (Haldane
1956, Anscombe 1956), and its 95 % interval by the logarithm (B. Woolf, "On estimating the relation between blood
group and disease", Annals of Human Genetics 19, 1955). `is_significant`: the false discovery rate of all that are
marked is at most 5 % (Benjamini and Hochberg 1995; chi-squared test by the logarithm of the odds ratio).
Factors are ordered by the bound of the interval that is closer to 1, the clearest first; `top` null: all. A
correlation is not a cause. Steps and exclusions are not among the factors.
The other arguments are those of `analytics.funnel`, and so are the rules. For analysts, all figures are computed from
the numbers of people as shown, and factors of too few people are left out, as are those that too few people are
without. Errors: as `analytics.funnel`.
$$;

grant execute on function analytics.funnel_correlation(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, int
)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/funnels/funnel_correlation.sql

--! Included analytics/paths/_path_nodes.sql
create or replace function analytics._path_nodes(nodes text, wildcards text[], exclusions text[])
returns table (item_id bigint, node text)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_patterns constant text[] := coalesce(wildcards, '{}') || coalesce(exclusions, '{}');
begin
  if _path_nodes.nodes is null or _path_nodes.nodes not in ('item', 'kind', 'course') then
    perform common.refuse(
      'CF001',
      format('nodes is "%s"', left(_path_nodes.nodes, 100)),
      'Use item, kind (of items) or course (of which items are part).'
    );
  end if;
  if cardinality(v_patterns) > 100
    or exists (select from unnest(v_patterns) as pattern where pattern is null or length(pattern) not between 1 and 200)
  then
    perform common.refuse(
      'CF008',
      format('there are %s wildcards and exclusions', cardinality(v_patterns)),
      'There can be 100, each of 1 to 200 characters.'
    );
  end if;

  return query
  with named as (
    select
      item.item_id,
      case _path_nodes.nodes
        when 'item' then item.external_id
        when 'kind' then item.kind
        else (
          select course.external_id
          from track.item_ancestor as ancestor
          join track.item as course on course.item_id = ancestor.ancestor_item_id and course.kind = 'course'
          where ancestor.item_id = item.item_id
          order by ancestor.depth desc, course.external_id
          limit 1
        )
      end as name
    from track.item
  )

  select named.item_id, coalesce(wildcard.pattern, named.name)
  from named
  left join lateral (
    select listed.pattern
    from unnest(_path_nodes.wildcards) with ordinality as listed (pattern, position)
    where named.name like analytics._like_pattern(listed.pattern)
    order by listed.position
    limit 1
  ) as wildcard on true
  where named.name is not null
    and not exists (
      select
      from unnest(_path_nodes.exclusions) as listed (pattern)
      where named.name like analytics._like_pattern(listed.pattern)
    );
end;
$$;

comment on function analytics._path_nodes(text, text[], text[]) is $$
Returns the node of a path that a view of each item is: its name, or the first wildcard that it matches.
`nodes`: `item`, `kind` or `course`. Items without one, and those whose names match an exclusion, are left out.
Errors: CF001 for other nodes, CF008 for more than 100 patterns.
$$;

grant execute on function analytics._path_nodes(text, text[], text[]) to insights_reader;

create or replace function analytics._like_pattern(wildcard text)
returns text
language sql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select replace(regexp_replace(wildcard, '([\\%_])', '\\\1', 'g'), '*', '%');
$$;

comment on function analytics._like_pattern(text) is $$
Returns the pattern of `like` that matches the same names as a text in which `*` is any number of characters.
$$;

grant execute on function analytics._like_pattern(text) to insights_reader;
--! EndIncluded analytics/paths/_path_nodes.sql

--! Included analytics/paths/_numbered_nodes.sql
create or replace function analytics._numbered_nodes(
  nodes text, wildcards text[], exclusions text[], out names text[], out node_of int[]
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  with listed as materialized (
    select entry.item_id, entry.node
    from analytics._path_nodes(_numbered_nodes.nodes, _numbered_nodes.wildcards, _numbered_nodes.exclusions) as entry
  ),

  numbered as materialized (
    select distinct_node.node, (row_number() over (order by distinct_node.node collate "C"))::int as number
    from (select distinct listed.node from listed) as distinct_node
  )

  select
    coalesce((select array_agg(numbered.node order by numbered.number) from numbered), '{}'),
    coalesce(
      (
        select array_agg(coalesce(numbered.number, 0) order by every_item.item_id)
        from generate_series(1, (select max(item.item_id) from track.item)) as every_item (item_id)
        left join listed on listed.item_id = every_item.item_id
        left join numbered on numbered.node = listed.node
      ),
      '{}'
    )
  into names, node_of;
end;
$$;

comment on function analytics._numbered_nodes(text, text[], text[]) is $$
Returns the nodes of `analytics._path_nodes` as a list of names, and for each item the number of its node.
`node_of`: by the key of the item; 0 for an item that is not a node.
$$;

grant execute on function analytics._numbered_nodes(text, text[], text[]) to insights_reader;

create or replace function analytics._node_number(names text[], name text, argument text)
returns int
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_number constant int := array_position(names, _node_number.name);
begin
  if v_number is null and _node_number.name is not null then
    perform common.refuse(
      'CF002',
      format('%s is "%s", which is not a node', _node_number.argument, left(_node_number.name, 100)),
      coalesce(
        'Did you mean "' || common.nearest_name(_node_number.name, names) || '"?',
        'Give the name of an item, of a kind or of a course, or a wildcard, as in the result.'
      )
    );
  end if;
  return v_number;
end;
$$;

comment on function analytics._node_number(text[], text, text) is $$
Returns the number of a node; null for null. Errors: CF002 for another name (names the nearest).
$$;

grant execute on function analytics._node_number(text[], text, text) to insights_reader;
--! EndIncluded analytics/paths/_numbered_nodes.sql

--! Included analytics/paths/_session_paths.sql
create or replace function analytics._session_paths(
  since timestamptz,
  until timestamptz,
  node_of int[],
  start_node int,
  end_node int,
  steps int,
  among text,
  compared_with text,
  smallest_group int
)
returns table (person_id bigint, is_member boolean, is_compared boolean, nodes int[], starts bigint[])
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the period.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_visible constant tstzmultirange := case
    when smallest_group is not null
      then analytics._visible_periods(0, null, null, array[since, until], _session_paths.smallest_group)
  end;
  v_half constant int := _session_paths.steps / 2;
  v_blocks int[];
  v_people bit(4096)[];
  v_compared bit(4096)[];
begin
  -- Read first, so that an invalid argument is an error also when there are no sessions.
  select
    array_agg(whole.block), array_agg(whole.people & ~coalesce(excluded.people, v_no_people)),
    array_agg(other.people & ~coalesce(excluded.people, v_no_people))
  into v_blocks, v_people, v_compared
  from analytics._among(_session_paths.among, _session_paths.smallest_group) as whole
  join analytics._among(_session_paths.compared_with, _session_paths.smallest_group) as other
    on other.block = whole.block
  left join track.person_set_blocks('excluded') as excluded on excluded.block = whole.block;

  return query
  with member as materialized (
    select
      entry.block, entry.people,
      case when _session_paths.compared_with is not null then entry.compared end as compared
    from unnest(v_blocks, v_people, v_compared) as entry (block, people, compared)
  ),

  read as (
    select
      session.person_id,
      get_bit(member.people, (session.person_id % 4096)::int) <> 0 as is_member,
      coalesce(get_bit(member.compared, (session.person_id % 4096)::int) <> 0, false) as is_compared,
      session.view_item_ids, session.view_starts, session.view_continued
    from track.session
    join member on member.block = session.person_id / 4096
    where session.started_at >= _session_paths.since
      and session.started_at < _session_paths.until
      and session.view_item_ids is not null
      and session.person_id <> 0
      and (v_visible is null or session.started_at <@ v_visible)
  )

  select read.person_id, read.is_member, read.is_compared, cut.nodes, cut.starts
  from read
  -- Views of nodes.
  cross join lateral (
    select array_agg(node_of[viewed.item_id]) as nodes, array_agg(viewed.start) as starts
    from unnest(read.view_item_ids, read.view_starts, read.view_continued) as viewed (item_id, start, is_continued)
    where node_of[viewed.item_id] > 0
      and viewed.is_continued is not true
  ) as view
  -- The last of several equal ones in succession.
  cross join lateral (
    select array_agg(run.node) as nodes, array_agg(run.start) as starts
    from (
      select unnest(view.nodes) as node, unnest(view.nodes[2:] || 0) as next, unnest(view.starts) as start
    ) as run
    where run.node <> run.next
  ) as path
  cross join lateral (
    select
      case when start_node is null then 1 else array_position(path.nodes, start_node) end as first_place
  ) as start
  cross join lateral (
    select
      case
        when start.first_place is null then null
        when end_node is null then cardinality(path.nodes)
        else array_position(path.nodes, end_node, start.first_place)
      end as last_place
  ) as stop
  cross join lateral (
    select
      case
        when stop.last_place - start.first_place < _session_paths.steps
          then path.nodes[start.first_place:stop.last_place]
        when end_node is null
          then path.nodes[start.first_place:start.first_place + _session_paths.steps - 1]
        when start_node is null then path.nodes[stop.last_place - _session_paths.steps + 1:stop.last_place]
        else path.nodes[start.first_place:start.first_place + v_half - 1] || -1
          || path.nodes[stop.last_place - v_half + 1:stop.last_place]
      end as nodes,
      case
        when stop.last_place - start.first_place < _session_paths.steps
          then path.starts[start.first_place:stop.last_place]
        when end_node is null
          then path.starts[start.first_place:start.first_place + _session_paths.steps - 1]
        when start_node is null then path.starts[stop.last_place - _session_paths.steps + 1:stop.last_place]
        else path.starts[start.first_place:start.first_place + v_half]
          || path.starts[stop.last_place - v_half + 1:stop.last_place]
      end as starts
  ) as cut
  where stop.last_place is not null
    and (read.is_member or read.is_compared);
end;
$$;

comment on function analytics._session_paths(
  timestamptz, timestamptz, int[], int, int, int, text, text, int
) is $$
Returns the paths through the sessions that started in a period, with the privileges of the caller.
`node_of`: the number of the node of each item, by its key; 0: none. `start_node`: the path starts with the first such
node; `end_node`: it ends with the first one (after the start). At most `steps` nodes: the first ones, with an end the
last ones, and with both the first and the last half with -1 in place of those between. Equal nodes in succession are
one, that of the last view. `starts`: start of each view, in microseconds after that of the session.
`is_member`, `is_compared`: whether the person is one of `among` and of `compared_with`. As of the last refresh of the
sessions. `smallest_group`: counted people, in periods with enough of them (`analytics._visible_periods`); null: all.
$$;

grant execute on function analytics._session_paths(timestamptz, timestamptz, int[], int, int, int, text, text, int)
to insights_reader;
--! EndIncluded analytics/paths/_session_paths.sql

--! Included analytics/paths/paths.sql
create or replace function analytics._paths(
  since timestamptz,
  until timestamptz,
  nodes text,
  start_at text,
  end_at text,
  steps int,
  wildcards text[],
  exclusions text[],
  among text,
  compared_with text,
  top int,
  smallest_group int
)
returns setof analytics.path_edge
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set work_mem to '64MB'
as $$
declare
  v_days constant timestamptz[] := analytics._bounds('day', _paths.since, _paths.until, 'UTC');
  v_names text[];
  v_node_of int[];
begin
  perform common.check_count('steps', _paths.steps, 2, 20);
  perform common.check_count('top', coalesce(_paths.top, 1), 1, 10000);
  select numbered.names, numbered.node_of into v_names, v_node_of
  from analytics._numbered_nodes(_paths.nodes, _paths.wildcards, _paths.exclusions) as numbered;

  return query
  with view as (
    select
      path.person_id, path.is_member, path.is_compared, place.number::int as step, place.source, place.target,
      place.ended - place.started as took
    from analytics._session_paths(
      v_days[1], v_days[cardinality(v_days)], v_node_of, analytics._node_number(v_names, _paths.start_at, 'start_at'),
      analytics._node_number(v_names, _paths.end_at, 'end_at'), _paths.steps, _paths.among, _paths.compared_with,
      _paths.smallest_group
    ) as path
    cross join lateral unnest(path.nodes, path.nodes[2:], path.starts, path.starts[2:])
      with ordinality as place (source, target, started, ended, number)
  ),

  by_person as materialized (
    select
      view.step, view.source, view.target, view.person_id,
      count(*) filter (where view.is_member) as transition_count,
      count(*) filter (where view.is_compared) as compared_count,
      sum(view.took) filter (where view.is_member) as took
    from view
    group by view.step, view.source, view.target, view.person_id
  ),

  edge as materialized (
    select
      by_person.step, by_person.source, by_person.target,
      sum(by_person.transition_count) as transition_count,
      count(*) filter (where by_person.transition_count > 0) as person_count,
      sum(by_person.compared_count) as compared_count,
      count(*) filter (where by_person.compared_count > 0) as compared_people,
      sum(by_person.took) / nullif(sum(by_person.transition_count), 0) as mean_microseconds
    from by_person
    group by by_person.step, by_person.source, by_person.target
  ),

  -- The paths at each node, also those that end there.
  node as (
    select
      edge.step, edge.source, sum(edge.transition_count) as path_count, sum(edge.compared_count) as compared_count
    from edge
    group by edge.step, edge.source
  ),

  shown as (
    select
      edge.step, coalesce(v_names[edge.source], '...') as source, coalesce(v_names[edge.target], '...') as target,
      edge.mean_microseconds, edge.person_count as exact_people,
      analytics._shown(edge.transition_count::float8, edge.person_count, _paths.smallest_group)::bigint
        as transition_count,
      analytics._shown(edge.person_count, edge.person_count, _paths.smallest_group)::bigint as person_count,
      analytics._shown(edge.compared_count::float8, edge.compared_people, _paths.smallest_group)::bigint
        as compared_count,
      analytics._shown(edge.compared_people, edge.compared_people, _paths.smallest_group)::bigint as compared_people,
      -- As precise as the number of transitions.
      analytics._shown(
        node.path_count::float8, greatest(edge.person_count, edge.compared_people), _paths.smallest_group
      ) as path_count,
      analytics._shown(
        node.compared_count::float8, greatest(edge.person_count, edge.compared_people), _paths.smallest_group
      ) as compared_path_count
    from edge
    join node on node.step = edge.step and node.source = edge.source
    where edge.target is not null
  )

  select
    shown.step,
    shown.source,
    shown.target,
    shown.transition_count,
    shown.person_count,
    -- least() ignores a null.
    case when shown.path_count > 0 then least(shown.transition_count / shown.path_count, 1) end,
    analytics._shown_time(
      make_interval(secs => (shown.mean_microseconds / 1000000)::float8), shown.exact_people, _paths.smallest_group
    ),
    case when _paths.compared_with is not null then shown.compared_count end,
    case when _paths.compared_with is not null then shown.compared_people end,
    case
      when _paths.compared_with is not null and shown.compared_path_count > 0
        then least(shown.compared_count / shown.compared_path_count, 1)
    end
  from shown
  where shown.transition_count > 0
    or _paths.compared_with is not null and shown.compared_count > 0
  order by
    greatest(shown.transition_count, shown.compared_count) desc, shown.step, shown.source collate "C",
    shown.target collate "C"
  limit _paths.top;
end;
$$;

comment on function analytics._paths(
  timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int, int
) is $$
Computes the result of `analytics.paths`, with the privileges of the caller.
`smallest_group`: figures of groups of counted people (see `analytics._visible_periods` and `analytics._shown`);
null: exact figures of all people.
$$;

grant execute on function analytics._paths(
  timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int, int
)
to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._paths_exact(
  since timestamptz,
  until timestamptz,
  nodes text,
  start_at text,
  end_at text,
  steps int,
  wildcards text[],
  exclusions text[],
  among text,
  compared_with text,
  top int
)
returns setof analytics.path_edge
language sql
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
  select *
  from analytics._paths(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, null
  );
$$;

alter function analytics._paths_exact(
  timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int
)
owner to insights_reader;

comment on function analytics._paths_exact(
  timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int
) is $$
Returns the result of `analytics.paths` with exact figures of all people, for admins and workers.
$$;

grant execute on function analytics._paths_exact(
  timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int
)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._paths_shown(
  since timestamptz,
  until timestamptz,
  nodes text,
  start_at text,
  end_at text,
  steps int,
  wildcards text[],
  exclusions text[],
  among text,
  compared_with text,
  top int
)
returns setof analytics.path_edge
language sql
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
  select *
  from analytics._paths(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._paths_shown(
  timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int
)
owner to insights_reader;

comment on function analytics._paths_shown(
  timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int
) is $$
Returns the result of `analytics.paths` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._paths_shown(
  timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int
)
to insights_analyst;

create or replace function analytics.paths(
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  nodes text default 'item',
  start_at text default null,
  end_at text default null,
  steps int default 5,
  wildcards text[] default '{}',
  exclusions text[] default '{}',
  among text default null,
  compared_with text default null,
  top int default 50
)
returns setof analytics.path_edge
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._paths_exact(timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._paths_exact(
      paths.since, paths.until, paths.nodes, paths.start_at, paths.end_at, paths.steps, paths.wildcards,
      paths.exclusions, paths.among, paths.compared_with, paths.top
    );
  else
    return query
    select *
    from analytics._paths_shown(
      paths.since, paths.until, paths.nodes, paths.start_at, paths.end_at, paths.steps, paths.wildcards,
      paths.exclusions, paths.among, paths.compared_with, paths.top
    );
  end if;
end;
$$;

comment on function analytics.paths(
  timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int
) is $$
Returns the most frequent transitions of paths through the sessions that started in a period, by step.
Step 1 is the first node of a path. `start_at`: paths start with the first view of this node; `end_at`: they end with
the first view of this one. Of longer paths, the first `steps` nodes are read; with `end_at` the last ones; and with
both the first and the last half, with the node "..." in place of those between. Sessions without these nodes are left
out. Rows are transitions from `source` to `target`, the most frequent `top` first; null: all. The rules are those of
PostHog. `nodes`: the pages that were viewed as `item`, their `kind`, or the `course` of which they are part.
`wildcards`: names in which `*` is any number of characters; all that match are one node of this name, that of the
first that matches. `exclusions`: such names, whose views are left out. Equal nodes in succession are one, that of the
last view. Views that continue from an earlier session, and those without a node, are left out.
`among`: people of these sets now; `compared_with`: figures of other sets beside them (a person can be in both).
For admins and workers, figures are exact and include anonymous browsers. Analysts see figures of counted people, of
days (UTC) on which at least `analytics.setting.smallest_group` of them are active, or of the small days of a week
together; what fewer people did is left out, and figures are rounded by `analytics._shown`. As of the last refresh of
the sessions. Errors: CF001 for an invalid argument, CF002 for an unknown node or set (names the nearest), CF008 for
more than 100 wildcards and exclusions.
$$;

grant execute on function analytics.paths(
  timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int
)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/paths/paths.sql

--! Included analytics/paths/sequences.sql
create or replace function analytics._sequences(
  since timestamptz,
  until timestamptz,
  nodes text,
  length int,
  wildcards text[],
  exclusions text[],
  among text,
  compared_with text,
  top int,
  smallest_group int
)
returns setof analytics.path_sequence
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set work_mem to '64MB'
as $$
declare
  v_days constant timestamptz[] := analytics._bounds('day', _sequences.since, _sequences.until, 'UTC');
  v_names text[];
  v_node_of int[];
begin
  perform common.check_count('length', _sequences.length, 2, 10);
  perform common.check_count('top', coalesce(_sequences.top, 1), 1, 10000);
  select numbered.names, numbered.node_of into v_names, v_node_of
  from analytics._numbered_nodes(_sequences.nodes, _sequences.wildcards, _sequences.exclusions) as numbered;

  return query
  with by_person as (
    select
      path.person_id, part.nodes,
      count(*) filter (where path.is_member) as times,
      count(*) filter (where path.is_compared) as compared_times
    from analytics._session_paths(
      v_days[1], v_days[cardinality(v_days)], v_node_of, null, null, 100000, _sequences.among,
      _sequences.compared_with, _sequences.smallest_group
    ) as path
    cross join lateral generate_series(1, cardinality(path.nodes) - _sequences.length + 1) as place (number)
    cross join lateral (select path.nodes[place.number:place.number + _sequences.length - 1] as nodes) as part
    group by path.person_id, part.nodes
  ),

  counted as (
    select
      by_person.nodes,
      sum(by_person.times) as times,
      count(*) filter (where by_person.times > 0) as person_count,
      sum(by_person.compared_times) as compared_times,
      count(*) filter (where by_person.compared_times > 0) as compared_people
    from by_person
    group by by_person.nodes
  ),

  shown as (
    select
      counted.nodes,
      analytics._shown(counted.times::float8, counted.person_count, _sequences.smallest_group)::bigint as times,
      analytics._shown(counted.person_count, counted.person_count, _sequences.smallest_group)::bigint as person_count,
      analytics._shown(counted.compared_times::float8, counted.compared_people, _sequences.smallest_group)::bigint
        as compared_times,
      analytics._shown(counted.compared_people, counted.compared_people, _sequences.smallest_group)::bigint
        as compared_people
    from counted
    where counted.person_count >= coalesce(_sequences.smallest_group, 1)
      or counted.compared_people >= coalesce(_sequences.smallest_group, 1)
  ),

  largest as (
    select shown.*
    from shown
    order by greatest(shown.times, shown.compared_times) desc, shown.nodes
    limit _sequences.top
  )

  select
    array(
      select v_names[entry.node]
      from unnest(largest.nodes) with ordinality as entry (node, number)
      order by entry.number
    ),
    largest.times,
    largest.person_count,
    case when _sequences.compared_with is not null then largest.compared_times end,
    case when _sequences.compared_with is not null then largest.compared_people end
  from largest
  order by greatest(largest.times, largest.compared_times) desc, largest.nodes;
end;
$$;

comment on function analytics._sequences(
  timestamptz, timestamptz, text, int, text[], text[], text, text, int, int
) is $$
Computes the result of `analytics.sequences`, with the privileges of the caller.
`smallest_group`: figures of groups of counted people (see `analytics._visible_periods` and `analytics._shown`);
null: exact figures of all people.
$$;

grant execute on function analytics._sequences(
  timestamptz, timestamptz, text, int, text[], text[], text, text, int, int
)
to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._sequences_exact(
  since timestamptz,
  until timestamptz,
  nodes text,
  length int,
  wildcards text[],
  exclusions text[],
  among text,
  compared_with text,
  top int
)
returns setof analytics.path_sequence
language sql
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
  select *
  from analytics._sequences(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, null
  );
$$;

alter function analytics._sequences_exact(
  timestamptz, timestamptz, text, int, text[], text[], text, text, int
)
owner to insights_reader;

comment on function analytics._sequences_exact(
  timestamptz, timestamptz, text, int, text[], text[], text, text, int
) is $$
Returns the result of `analytics.sequences` with exact figures of all people, for admins and workers.
$$;

grant execute on function analytics._sequences_exact(
  timestamptz, timestamptz, text, int, text[], text[], text, text, int
)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._sequences_shown(
  since timestamptz,
  until timestamptz,
  nodes text,
  length int,
  wildcards text[],
  exclusions text[],
  among text,
  compared_with text,
  top int
)
returns setof analytics.path_sequence
language sql
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
  select *
  from analytics._sequences(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._sequences_shown(
  timestamptz, timestamptz, text, int, text[], text[], text, text, int
)
owner to insights_reader;

comment on function analytics._sequences_shown(
  timestamptz, timestamptz, text, int, text[], text[], text, text, int
) is $$
Returns the result of `analytics.sequences` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._sequences_shown(
  timestamptz, timestamptz, text, int, text[], text[], text, text, int
)
to insights_analyst;

create or replace function analytics.sequences(
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  nodes text default 'item',
  length int default 3,
  wildcards text[] default '{}',
  exclusions text[] default '{}',
  among text default null,
  compared_with text default null,
  top int default 50
)
returns setof analytics.path_sequence
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._sequences_exact(timestamptz, timestamptz, text, int, text[], text[], text, text, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._sequences_exact(
      sequences.since, sequences.until, sequences.nodes, sequences.length, sequences.wildcards, sequences.exclusions,
      sequences.among, sequences.compared_with, sequences.top
    );
  else
    return query
    select *
    from analytics._sequences_shown(
      sequences.since, sequences.until, sequences.nodes, sequences.length, sequences.wildcards, sequences.exclusions,
      sequences.among, sequences.compared_with, sequences.top
    );
  end if;
end;
$$;

comment on function analytics.sequences(
  timestamptz, timestamptz, text, int, text[], text[], text, text, int
) is $$
Returns the most frequent sequences of nodes in the sessions that started in a period.
A sequence is `length` nodes in succession, 2 to 10; every position of a session counts, the most frequent `top` first;
null: all.
`nodes`: the pages that were viewed as `item`, their `kind`, or the `course` of which they are part. `wildcards`:
names in which `*` is any number of characters; all that match are one node of this name, that of the first that
matches. `exclusions`: such names, whose views are left out. Equal nodes in succession are one, that of the last view.
Views that continue from an earlier session, and those without a node, are left out.
`among`: people of these sets now; `compared_with`: figures of other sets beside them (a person can be in both).
For admins and workers, figures are exact and include anonymous browsers. Analysts see figures of counted people, of
days (UTC) on which at least `analytics.setting.smallest_group` of them are active, or of the small days of a week
together; what fewer people did is left out, and figures are rounded by `analytics._shown`. As of the last refresh of
the sessions. Errors: CF001 for an invalid argument, CF002 for an unknown node or set (names the nearest), CF008 for
more than 100 wildcards and exclusions.
$$;

grant execute on function analytics.sequences(
  timestamptz, timestamptz, text, int, text[], text[], text, text, int
)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/paths/sequences.sql

--! Included analytics/sessions/_sessions.sql
create or replace function analytics._sessions(bounds timestamptz[], among text, smallest_group int)
returns table (
  person_id bigint,
  started_at timestamptz,
  duration interval,
  engaged interval,
  views int,
  entry_item_id bigint,
  exit_item_id bigint
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the period.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_visible constant tstzmultirange := case
    when smallest_group is not null
      then analytics._visible_periods(0, null, _sessions.among, _sessions.bounds, _sessions.smallest_group)
  end;
  v_blocks int[];
  v_people bit(4096)[];
begin
  -- Read first, so that an invalid argument is an error also when there are no sessions.
  select array_agg(entry.block), array_agg(entry.people & ~coalesce(excluded.people, b'0'::bit(4096)))
  into v_blocks, v_people
  from analytics._among(_sessions.among, _sessions.smallest_group) as entry
  left join track.person_set_blocks('excluded') as excluded on excluded.block = entry.block;

  return query
  with member as materialized (
    select entry.block, entry.people from unnest(v_blocks, v_people) as entry (block, people)
  )

  select
    session.person_id, session.started_at, session.ended_at - session.started_at, session.engaged, session.view_count,
    session.entry_item_id, session.exit_item_id
  from track.session
  join member
    on member.block = session.person_id / 4096
    and get_bit(member.people, (session.person_id % 4096)::int) <> 0
  where session.started_at >= bounds[1]
    and session.started_at < bounds[cardinality(bounds)]
    and session.person_id <> 0
    and (v_visible is null or session.started_at <@ v_visible);
end;
$$;

comment on function analytics._sessions(timestamptz[], text, int) is $$
Returns the sessions of people who are not excluded that started in a period, with the privileges of the caller.
`bounds`: ascending times. `smallest_group`: of counted people, in `analytics._visible_periods`; null: of all. As of
the last refresh of the sessions.
$$;

grant execute on function analytics._sessions(timestamptz[], text, int) to insights_reader;
--! EndIncluded analytics/sessions/_sessions.sql

--! Included analytics/sessions/session_trend.sql
create or replace function analytics._session_trend(
  bucket text,
  since timestamptz,
  until timestamptz,
  zone text,
  among text,
  breakdown text,
  top_values int,
  smallest_group int
)
returns setof analytics.session_point
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set work_mem to '64MB'
as $$
declare
  v_bounds constant timestamptz[] := analytics._bounds(
    _session_trend.bucket, _session_trend.since, _session_trend.until, _session_trend.zone
  );
  v_count constant int := cardinality(v_bounds) - 1;
begin
  if v_count * analytics._value_count(_session_trend.breakdown, _session_trend.top_values) > 100000 then
    perform common.refuse(
      'CF008',
      format('there are %s buckets for each value', v_count),
      'There can be 100,000 rows. Give a shorter period, a larger bucket, or fewer values.'
    );
  end if;

  return query
  with started as (
    select
      session.person_id, width_bucket(session.started_at, v_bounds) as bucket, session.views, session.duration,
      session.engaged
    from analytics._sessions(v_bounds, _session_trend.among, _session_trend.smallest_group) as session
  ),

  valued as (
    select null::text as value, false as is_other, started.*
    from started
    where _session_trend.breakdown is null

    union all

    select by_value.value, by_value.is_other, started.*
    from analytics._people_by_value(
      coalesce(_session_trend.breakdown, 'set.counted'), _session_trend.top_values, _session_trend.smallest_group
    ) as by_value
    join started
      on started.person_id / 4096 = by_value.block
      and get_bit(by_value.people, (started.person_id % 4096)::int) <> 0
    where _session_trend.breakdown is not null
  ),

  counted as (
    select
      valued.value, valued.is_other, valued.bucket,
      count(*) as session_count,
      count(distinct valued.person_id) as person_count,
      avg(valued.duration) as mean_duration,
      percentile_cont(0.5) within group (order by valued.duration) as median_duration,
      avg(valued.engaged) as mean_engaged,
      percentile_cont(0.5) within group (order by valued.engaged) as median_engaged,
      avg(valued.views)::float8 as mean_views,
      count(*) filter (where valued.views <= 1 and valued.engaged < interval '10 seconds') as bounce_count,
      count(distinct valued.person_id) filter (where valued.views <= 1 and valued.engaged < interval '10 seconds')
        as bounced_people
    from valued
    group by valued.value, valued.is_other, valued.bucket
  ),

  shown as (
    select
      keys.value, keys.is_other, listed.number as bucket,
      coalesce(
        analytics._shown(counted.session_count, counted.person_count, _session_trend.smallest_group), 0
      )::bigint as session_count,
      coalesce(
        analytics._shown(counted.person_count, counted.person_count, _session_trend.smallest_group), 0
      )::bigint as person_count,
      coalesce(
        analytics._shown(
          counted.bounce_count, counted.bounced_people, _session_trend.smallest_group, counted.session_count
        ),
        0
      )::bigint as bounce_count,
      counted.person_count as exact_people, counted.mean_duration, counted.median_duration, counted.mean_engaged,
      counted.median_engaged, counted.mean_views
    from (
      select distinct counted.value, counted.is_other from counted where _session_trend.breakdown is not null
      union all
      select null, false where _session_trend.breakdown is null
    ) as keys
    cross join generate_series(1, v_count) as listed (number)
    left join counted
      on counted.value is not distinct from keys.value
      and counted.is_other = keys.is_other
      and counted.bucket = listed.number
    where v_bounds[listed.number] <= now()
  )

  select
    v_bounds[shown.bucket],
    shown.value,
    shown.is_other,
    shown.session_count,
    shown.person_count,
    shown.session_count::float8 / nullif(shown.person_count, 0),
    analytics._shown_time(shown.mean_duration, shown.exact_people, _session_trend.smallest_group),
    analytics._shown_time(
      shown.median_duration, shown.exact_people, _session_trend.smallest_group, shown.mean_duration
    ),
    analytics._shown_time(shown.mean_engaged, shown.exact_people, _session_trend.smallest_group),
    analytics._shown_time(shown.median_engaged, shown.exact_people, _session_trend.smallest_group, shown.mean_engaged),
    analytics._shown_mean(shown.mean_views, shown.exact_people, _session_trend.smallest_group),
    shown.bounce_count,
    -- least() ignores a null.
    case when shown.session_count > 0 then least(shown.bounce_count::float8 / shown.session_count, 1) end,
    v_bounds[shown.bucket + 1] <= now(),
    _session_trend.zone
  from shown
  order by shown.is_other, shown.value is null, shown.value, shown.bucket;
end;
$$;

comment on function analytics._session_trend(
  text, timestamptz, timestamptz, text, text, text, int, int
) is $$
Computes the result of `analytics.session_trend`, with the privileges of the caller.
`smallest_group`: figures of groups of counted people (see `analytics._visible_periods` and `analytics._shown`);
null: exact figures of all people.
$$;

grant execute on function analytics._session_trend(
  text, timestamptz, timestamptz, text, text, text, int, int
)
to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._session_trend_exact(
  bucket text,
  since timestamptz,
  until timestamptz,
  zone text,
  among text,
  breakdown text,
  top_values int
)
returns setof analytics.session_point
language sql
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
  select *
  from analytics._session_trend(
    $1, $2, $3, $4, $5, $6, $7, null
  );
$$;

alter function analytics._session_trend_exact(
  text, timestamptz, timestamptz, text, text, text, int
)
owner to insights_reader;

comment on function analytics._session_trend_exact(
  text, timestamptz, timestamptz, text, text, text, int
) is $$
Returns the result of `analytics.session_trend` with exact figures of all people, for admins and workers.
$$;

grant execute on function analytics._session_trend_exact(
  text, timestamptz, timestamptz, text, text, text, int
)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._session_trend_shown(
  bucket text,
  since timestamptz,
  until timestamptz,
  zone text,
  among text,
  breakdown text,
  top_values int
)
returns setof analytics.session_point
language sql
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
  select *
  from analytics._session_trend(
    $1, $2, $3, $4, $5, $6, $7, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._session_trend_shown(
  text, timestamptz, timestamptz, text, text, text, int
)
owner to insights_reader;

comment on function analytics._session_trend_shown(
  text, timestamptz, timestamptz, text, text, text, int
) is $$
Returns the result of `analytics.session_trend` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._session_trend_shown(
  text, timestamptz, timestamptz, text, text, text, int
)
to insights_analyst;

create or replace function analytics.session_trend(
  bucket text default 'day',
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  zone text default 'UTC',
  among text default null,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.session_point
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._session_trend_exact(text, timestamptz, timestamptz, text, text, text, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._session_trend_exact(
      session_trend.bucket, session_trend.since, session_trend.until, session_trend.zone, session_trend.among,
      session_trend.breakdown, session_trend.top_values
    );
  else
    return query
    select *
    from analytics._session_trend_shown(
      session_trend.bucket, session_trend.since, session_trend.until, session_trend.zone, session_trend.among,
      session_trend.breakdown, session_trend.top_values
    );
  end if;
end;
$$;

comment on function analytics.session_trend(
  text, timestamptz, timestamptz, text, text, text, int
) is $$
Returns sessions by time bucket, with their duration, engaged time, depth and bounces.
A session counts in the bucket in which it started, from `since` until `until` (extended to whole buckets of the zone;
weeks start on Monday). A bounce is a session of at most one page view and less than 10 seconds of engaged time.
`among`: people of these sets now; `breakdown`: `set.<family>` or `trait.<name>`, of which the `top_values` values of
most people are named.
For admins and workers, figures are exact and include anonymous browsers. Analysts see figures of counted people, of
days (UTC; in other zones of hours) on which at least `analytics.setting.smallest_group` of them are active; a figure
of fewer people reads as 0, and others are rounded by `analytics._shown`. As of the last refresh of the sessions.
Errors: CF001 for an invalid argument, CF002 for an unknown set or zone (names the nearest), CF008 for more than
100,000 buckets and values.
$$;

grant execute on function analytics.session_trend(
  text, timestamptz, timestamptz, text, text, text, int
)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/sessions/session_trend.sql

--! Included analytics/sessions/session_items.sql
create or replace function analytics._session_items(
  place text, since timestamptz, until timestamptz, among text, top int, smallest_group int
)
returns setof analytics.session_item
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set work_mem to '64MB'
as $$
declare
  v_days constant timestamptz[] := analytics._bounds('day', _session_items.since, _session_items.until, 'UTC');
begin
  if _session_items.place is null or _session_items.place not in ('entry', 'exit') then
    perform common.refuse(
      'CF001',
      format('place is "%s"', left(_session_items.place, 100)),
      'Use entry (the first item of a session) or exit (the last one).'
    );
  end if;
  perform common.check_count('top', coalesce(_session_items.top, 1), 1, 10000);

  return query
  with counted as (
    select
      case _session_items.place when 'entry' then session.entry_item_id else session.exit_item_id end as item_id,
      count(*) as session_count,
      count(distinct session.person_id) as person_count,
      count(*) filter (where session.views <= 1 and session.engaged < interval '10 seconds') as bounce_count,
      count(distinct session.person_id)
        filter (where session.views <= 1 and session.engaged < interval '10 seconds') as bounced_people
    from analytics._sessions(
      array[v_days[1], v_days[cardinality(v_days)]], _session_items.among, _session_items.smallest_group
    ) as session
    group by 1
  ),

  shown as (
    select
      counted.item_id,
      analytics._shown(counted.session_count, counted.person_count, _session_items.smallest_group)::bigint
        as session_count,
      analytics._shown(counted.person_count, counted.person_count, _session_items.smallest_group)::bigint
        as person_count,
      analytics._shown(
        counted.bounce_count, counted.bounced_people, _session_items.smallest_group, counted.session_count
      )::bigint as bounce_count
    from counted
    where counted.item_id is not null
  )

  select
    (row_number() over (order by shown.session_count desc, item.external_id collate "C"))::int,
    item.external_id, item.title, item.kind, shown.session_count, shown.person_count, shown.bounce_count,
    least(shown.bounce_count::float8 / shown.session_count, 1)
  from shown
  join track.item on item.item_id = shown.item_id
  where shown.session_count > 0
  order by shown.session_count desc, item.external_id collate "C"
  limit _session_items.top;
end;
$$;

comment on function analytics._session_items(
  text, timestamptz, timestamptz, text, int, int
) is $$
Computes the result of `analytics.session_items`, with the privileges of the caller.
`smallest_group`: figures of groups of counted people (see `analytics._visible_periods` and `analytics._shown`);
null: exact figures of all people.
$$;

grant execute on function analytics._session_items(
  text, timestamptz, timestamptz, text, int, int
)
to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._session_items_exact(
  place text,
  since timestamptz,
  until timestamptz,
  among text,
  top int
)
returns setof analytics.session_item
language sql
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
  select *
  from analytics._session_items(
    $1, $2, $3, $4, $5, null
  );
$$;

alter function analytics._session_items_exact(
  text, timestamptz, timestamptz, text, int
)
owner to insights_reader;

comment on function analytics._session_items_exact(
  text, timestamptz, timestamptz, text, int
) is $$
Returns the result of `analytics.session_items` with exact figures of all people, for admins and workers.
$$;

grant execute on function analytics._session_items_exact(
  text, timestamptz, timestamptz, text, int
)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._session_items_shown(
  place text,
  since timestamptz,
  until timestamptz,
  among text,
  top int
)
returns setof analytics.session_item
language sql
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
  select *
  from analytics._session_items(
    $1, $2, $3, $4, $5, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._session_items_shown(
  text, timestamptz, timestamptz, text, int
)
owner to insights_reader;

comment on function analytics._session_items_shown(
  text, timestamptz, timestamptz, text, int
) is $$
Returns the result of `analytics.session_items` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._session_items_shown(
  text, timestamptz, timestamptz, text, int
)
to insights_analyst;

create or replace function analytics.session_items(
  place text default 'entry',
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  among text default null,
  top int default 10
)
returns setof analytics.session_item
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._session_items_exact(text, timestamptz, timestamptz, text, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._session_items_exact(
      session_items.place, session_items.since, session_items.until, session_items.among, session_items.top
    );
  else
    return query
    select *
    from analytics._session_items_shown(
      session_items.place, session_items.since, session_items.until, session_items.among, session_items.top
    );
  end if;
end;
$$;

comment on function analytics.session_items(text, timestamptz, timestamptz, text, int) is $$
Returns the items with which most sessions of a period start (`place` = `entry`) or end (`exit`).
The period is extended to whole days (UTC). A bounce is a session of at most one page view and less than 10 seconds of
engaged time. `among`: people of these sets now; `top` null: all items.
For admins and workers, figures are exact and include anonymous browsers. Analysts see figures of counted people, of
days (UTC; in other zones of hours) on which at least `analytics.setting.smallest_group` of them are active; a figure
of fewer people reads as 0, and others are rounded by `analytics._shown`. As of the last refresh of the sessions.
Errors: CF001 for an invalid argument, CF002 for an unknown set (names the nearest).
$$;

grant execute on function analytics.session_items(text, timestamptz, timestamptz, text, int)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/sessions/session_items.sql

--! Included analytics/learning/hour_of_week.sql
create or replace function analytics._hour_of_week(
  event_name text,
  since timestamptz,
  until timestamptz,
  zone text,
  item text,
  among text,
  smallest_group int
)
returns setof analytics.week_hour
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set work_mem to '64MB'
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_event_type_id constant int := analytics._event_type_id(_hour_of_week.event_name);
  v_item_id constant bigint := analytics._item_id(_hour_of_week.item);
  v_items constant bigint[] := array(
    select ancestor.item_id from track.item_ancestor as ancestor where ancestor.ancestor_item_id = v_item_id
  );
  v_days constant timestamptz[] := analytics._bounds(
    'day', _hour_of_week.since, _hour_of_week.until, coalesce(_hour_of_week.zone, 'UTC')
  );
  v_bounds constant timestamptz[] := array[v_days[1], v_days[cardinality(v_days)]];
  v_visible constant tstzmultirange := case
    when smallest_group is not null then analytics._visible_periods(
      v_event_type_id, v_item_id, _hour_of_week.among, v_bounds, _hour_of_week.smallest_group
    )
  end;
  v_blocks int[];
  v_people bit(4096)[];
begin
  -- Read first, so that an invalid argument is an error also when there are no events.
  select array_agg(entry.block), array_agg(entry.people & ~coalesce(excluded.people, v_no_people))
  into v_blocks, v_people
  from analytics._among(_hour_of_week.among, _hour_of_week.smallest_group) as entry
  left join track.person_set_blocks('excluded') as excluded on excluded.block = entry.block;

  return query
  with member as materialized (
    select entry.block, entry.people from unnest(v_blocks, v_people) as entry (block, people)
  ),

  -- Zones that PostgreSQL does not know are ignored.
  local as materialized (
    select stated.person_id, stated.zone
    from (
      select trait.person_id, trait.value #>> '{}' as zone
      from track.current_trait(null, 'timezone') as trait
      where _hour_of_week.zone is null
    ) as stated
    join pg_timezone_names as known on known.name = stated.zone
  ),

  happened as (
    select
      journey.person_id,
      used.at at time zone coalesce(_hour_of_week.zone, local.zone, 'UTC') as local_at
    from analytics._journeys(
      array[v_event_type_id], v_event_type_id = 0, v_item_id is not null, v_bounds[1], v_bounds[2]
    ) as journey
    join member
      on member.block = journey.person_id / 4096
      and get_bit(member.people, (journey.person_id % 4096)::int) <> 0
    left join local on local.person_id = journey.person_id
    cross join lateral unnest(journey.occurred_at, journey.item_ids) as used (at, item_id)
    where (v_item_id is null or used.item_id = any (v_items))
      and (v_visible is null or used.at <@ v_visible)
  ),

  by_person as (
    select
      happened.person_id, extract(isodow from happened.local_at)::int as weekday,
      extract(hour from happened.local_at)::int as hour, count(*) as event_count
    from happened
    group by 1, 2, 3
  ),

  counted as (
    select by_person.weekday, by_person.hour, sum(by_person.event_count) as event_count, count(*) as person_count
    from by_person
    group by by_person.weekday, by_person.hour
  ),

  shown as (
    select
      weekday.number as weekday, hour.number as hour,
      coalesce(
        analytics._shown(counted.event_count::float8, counted.person_count, _hour_of_week.smallest_group), 0
      )::bigint as event_count,
      coalesce(
        analytics._shown(counted.person_count, counted.person_count, _hour_of_week.smallest_group), 0
      )::bigint as person_count
    from generate_series(1, 7) as weekday (number)
    cross join generate_series(0, 23) as hour (number)
    left join counted on counted.weekday = weekday.number and counted.hour = hour.number
  )

  select
    shown.weekday, shown.hour, shown.event_count, shown.person_count,
    shown.event_count / nullif(sum(shown.event_count) over (), 0)::float8
  from shown
  order by shown.weekday, shown.hour;
end;
$$;

comment on function analytics._hour_of_week(
  text, timestamptz, timestamptz, text, text, text, int
) is $$
Computes the result of `analytics.hour_of_week`, with the privileges of the caller.
`smallest_group`: figures of groups of counted people (see `analytics._visible_periods` and `analytics._shown`);
null: exact figures of all people.
$$;

grant execute on function analytics._hour_of_week(
  text, timestamptz, timestamptz, text, text, text, int
)
to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._hour_of_week_exact(
  event_name text,
  since timestamptz,
  until timestamptz,
  zone text,
  item text,
  among text
)
returns setof analytics.week_hour
language sql
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
  select *
  from analytics._hour_of_week(
    $1, $2, $3, $4, $5, $6, null
  );
$$;

alter function analytics._hour_of_week_exact(
  text, timestamptz, timestamptz, text, text, text
)
owner to insights_reader;

comment on function analytics._hour_of_week_exact(
  text, timestamptz, timestamptz, text, text, text
) is $$
Returns the result of `analytics.hour_of_week` with exact figures of all people, for admins and workers.
$$;

grant execute on function analytics._hour_of_week_exact(
  text, timestamptz, timestamptz, text, text, text
)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._hour_of_week_shown(
  event_name text,
  since timestamptz,
  until timestamptz,
  zone text,
  item text,
  among text
)
returns setof analytics.week_hour
language sql
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
  select *
  from analytics._hour_of_week(
    $1, $2, $3, $4, $5, $6, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._hour_of_week_shown(
  text, timestamptz, timestamptz, text, text, text
)
owner to insights_reader;

comment on function analytics._hour_of_week_shown(
  text, timestamptz, timestamptz, text, text, text
) is $$
Returns the result of `analytics.hour_of_week` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._hour_of_week_shown(
  text, timestamptz, timestamptz, text, text, text
)
to insights_analyst;

create or replace function analytics.hour_of_week(
  event_name text default null,
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '84 days') at time zone 'UTC',
  until timestamptz default now(),
  zone text default null,
  item text default null,
  among text default null
)
returns setof analytics.week_hour
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._hour_of_week_exact(text, timestamptz, timestamptz, text, text, text)',
    'execute'
  ) then
    return query
    select *
    from analytics._hour_of_week_exact(
      hour_of_week.event_name, hour_of_week.since, hour_of_week.until, hour_of_week.zone, hour_of_week.item,
      hour_of_week.among
    );
  else
    return query
    select *
    from analytics._hour_of_week_shown(
      hour_of_week.event_name, hour_of_week.since, hour_of_week.until, hour_of_week.zone, hour_of_week.item,
      hour_of_week.among
    );
  end if;
end;
$$;

comment on function analytics.hour_of_week(
  text, timestamptz, timestamptz, text, text, text
) is $$
Returns when in the week people are active: events and people by weekday and hour, in the time of each person.
For each person the zone is that of her trait `timezone`, as of now, and UTC without one; `zone`: one zone for all.
There are 168 rows: weekday 1 is Monday, hour 0 the hour after midnight. An hour that clocks repeat counts with the
other one. `event_name`: such as `Task Started` or `Task Submitted`; null: any event that is not automatic. `item`:
with what it contains. `among`: people of these sets now. The period is extended to whole days (of `zone`, or UTC).
For admins and workers, figures are exact and include anonymous browsers. Analysts see figures of counted people, of
days on which at least `analytics.setting.smallest_group` of them did the event, or of the small days of a week
together; an hour of fewer people reads as 0, and others are rounded by `analytics._shown`.
The result includes every event that was stored when the function was called, also before a refresh.
Errors: CF001 for an invalid argument, CF002 for an unknown event, item, set or zone (names the nearest).
$$;

grant execute on function analytics.hour_of_week(
  text, timestamptz, timestamptz, text, text, text
)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/learning/hour_of_week.sql

--! Included analytics/learning/_enrolled_learners.sql
create or replace function analytics._enrolled_learners(course text, among text, smallest_group int)
returns bigint[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_course_id constant bigint := analytics._item_id(coalesce(_enrolled_learners.course, ''));
  v_blocks int[];
  v_people bit(4096)[];
begin
  -- Read first, so that an invalid argument is an error also when there are no enrolments.
  select array_agg(entry.block), array_agg(entry.people & ~coalesce(excluded.people, v_no_people))
  into v_blocks, v_people
  from analytics._among(_enrolled_learners.among, _enrolled_learners.smallest_group) as entry
  left join track.person_set_blocks('excluded') as excluded on excluded.block = entry.block;

  return array(
    select distinct enrolment.person_id
    from track.enrolment
    join unnest(v_blocks, v_people) as member (block, people)
      on member.block = enrolment.person_id / 4096
      and get_bit(member.people, (enrolment.person_id % 4096)::int) <> 0
    where enrolment.item_id = v_course_id
      and enrolment.status <> 'dropped'
      and enrolment.person_id <> 0
  );
end;
$$;

comment on function analytics._enrolled_learners(text, text, int) is $$
Returns the people who are enrolled in a course and have not dropped it, without excluded ones.
`among`: people of these sets now. `smallest_group`: counted people only; null: all. Errors: CF001 and CF002 as
`analytics._among`, CF002 for an unknown course.
$$;

grant execute on function analytics._enrolled_learners(text, text, int) to insights_reader;
--! EndIncluded analytics/learning/_enrolled_learners.sql

--! Included analytics/learning/engagement_levels.sql
create or replace function analytics._engagement_levels(course text, kind text, among text, smallest_group int)
returns setof analytics.engagement_level
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set work_mem to '64MB'
as $$
declare
  v_course_id constant bigint := analytics._item_id(coalesce(_engagement_levels.course, ''));
  -- As in Aspects.
  v_labels constant text[] := case _engagement_levels.kind
    when 'task' then '{No problems attempted yet,At least one problem attempted,All problems attempted}'
    else format('{No %1$ss viewed yet,At least one %1$s viewed,All %1$ss viewed}', _engagement_levels.kind)
  end::text[];
  v_learners bigint[];
begin
  if _engagement_levels.kind is null or _engagement_levels.kind not in ('page', 'video', 'task') then
    perform common.refuse(
      'CF001', format('kind is "%s"', left(_engagement_levels.kind, 100)), 'Use page, video or task.'
    );
  end if;
  if not exists (
    select
    from track.item_ancestor as ancestor
    join track.item on item.item_id = ancestor.item_id and item.kind = _engagement_levels.kind
    where ancestor.ancestor_item_id = v_course_id
  ) then
    perform common.refuse(
      'CF002',
      format('course "%s" contains no %s', left(_engagement_levels.course, 100), _engagement_levels.kind),
      coalesce(
        (
          select format('It contains items of the kinds %s.', string_agg(distinct item.kind, ', '))
          from track.item_ancestor as ancestor
          join track.item on item.item_id = ancestor.item_id
          where ancestor.ancestor_item_id = v_course_id
            and ancestor.depth > 0
        ),
        'It has no structure yet: send its items, or call track.sync_items.'
      )
    );
  end if;
  v_learners := analytics._enrolled_learners(
    _engagement_levels.course, _engagement_levels.among, _engagement_levels.smallest_group
  );

  return query
  with learner as materialized (
    select entry.person_id from unnest(v_learners) as entry (person_id)
  ),

  -- The section of an item is the part of the course that contains it, or the course.
  part as materialized (
    select
      item.item_id,
      coalesce(
        (
          select section.ancestor_item_id
          from track.item_ancestor as section
          where section.item_id = item.item_id
            and section.depth = ancestor.depth - 1
            and section.depth > 0
          limit 1
        ),
        v_course_id
      ) as section_id
    from track.item_ancestor as ancestor
    join track.item on item.item_id = ancestor.item_id and item.kind = _engagement_levels.kind
    where ancestor.ancestor_item_id = v_course_id
  ),

  size as (
    select part.section_id, count(*) as item_count from part group by part.section_id
  ),

  used as (
    select entry.section_id, entry.person_id, count(*) as item_count
    from (
      select distinct part.section_id, part.item_id, item_month.part::bigint * 32768 + listed.person as person_id
      from part
      join track.item_month on item_month.item_id = part.item_id
      cross join lateral unnest(item_month.people) as listed (person)
    ) as entry
    group by entry.section_id, entry.person_id
  ),

  counted as (
    select
      size.section_id,
      case
        when coalesce(used.item_count, 0) = 0 then 1
        when used.item_count < size.item_count then 2
        else 3
      end as level,
      count(*) as person_count
    from size
    cross join learner
    left join used on used.section_id = size.section_id and used.person_id = learner.person_id
    group by 1, 2
  ),

  shown as (
    select
      size.section_id, size.item_count, listed.level,
      coalesce(
        analytics._shown(counted.person_count, counted.person_count, _engagement_levels.smallest_group), 0
      )::bigint as person_count
    from size
    cross join generate_series(1, 3) as listed (level)
    left join counted on counted.section_id = size.section_id and counted.level = listed.level
  )

  select
    item.external_id, item.title, shown.item_count, v_labels[shown.level], shown.person_count,
    shown.person_count / nullif(sum(shown.person_count) over (partition by shown.section_id), 0)::float8
  from shown
  join track.item on item.item_id = shown.section_id
  order by item.external_id collate "C", shown.level;
end;
$$;

comment on function analytics._engagement_levels(text, text, text, int) is $$
Computes the result of `analytics.engagement_levels`, with the privileges of the caller.
`smallest_group`: figures of groups of counted people (see `analytics._visible_periods` and `analytics._shown`);
null: exact figures of all people.
$$;

grant execute on function analytics._engagement_levels(text, text, text, int)
to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._engagement_levels_exact(
  course text,
  kind text,
  among text
)
returns setof analytics.engagement_level
language sql
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
  select *
  from analytics._engagement_levels(
    $1, $2, $3, null
  );
$$;

alter function analytics._engagement_levels_exact(text, text, text)
owner to insights_reader;

comment on function analytics._engagement_levels_exact(text, text, text) is $$
Returns the result of `analytics.engagement_levels` with exact figures of all people, for admins and workers.
$$;

grant execute on function analytics._engagement_levels_exact(text, text, text)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._engagement_levels_shown(
  course text,
  kind text,
  among text
)
returns setof analytics.engagement_level
language sql
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
  select *
  from analytics._engagement_levels(
    $1, $2, $3, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._engagement_levels_shown(text, text, text)
owner to insights_reader;

comment on function analytics._engagement_levels_shown(text, text, text) is $$
Returns the result of `analytics.engagement_levels` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._engagement_levels_shown(text, text, text)
to insights_analyst;

create or replace function analytics.engagement_levels(
  course text,
  kind text default 'page',
  among text default null
)
returns setof analytics.engagement_level
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._engagement_levels_exact(text, text, text)',
    'execute'
  ) then
    return query
    select *
    from analytics._engagement_levels_exact(
      engagement_levels.course, engagement_levels.kind, engagement_levels.among
    );
  else
    return query
    select *
    from analytics._engagement_levels_shown(
      engagement_levels.course, engagement_levels.kind, engagement_levels.among
    );
  end if;
end;
$$;

comment on function analytics.engagement_levels(text, text, text) is $$
Returns how many learners of a course have viewed none, some or all pages of each of its sections.
The levels are those of Open edX Aspects: "No pages viewed yet", "At least one page viewed" (not all), "All pages
viewed"; with `kind` = `video` or `task` the same of videos, and of problems attempted. A section is a part of the
course that contains such items; items that are in no section are in the course itself. Learners are those who are
enrolled and have not dropped the course. An item counts as viewed or attempted with any event or page view of it.
The structure of the course and the enrolments are those of now. `among`: people of these sets now.
For admins and workers, figures are exact. Analysts see figures of counted people; a number of fewer people than
`analytics.setting.smallest_group` reads as 0, others are rounded by `analytics._shown`, and shares are computed from
these numbers. As of the last refresh of the sessions.
Errors: CF001 for another kind, CF002 for an unknown course or set (names the nearest), and a course without such
items.
$$;

grant execute on function analytics.engagement_levels(text, text, text)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/learning/engagement_levels.sql

--! Included analytics/learning/task_deadlines.sql
create or replace function analytics._task_deadlines(course text, among text, smallest_group int)
returns setof analytics.task_deadline
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set work_mem to '64MB'
as $$
declare
  v_course_id constant bigint := analytics._item_id(coalesce(_task_deadlines.course, ''));
  v_learners constant bigint[] := analytics._enrolled_learners(
    _task_deadlines.course, _task_deadlines.among, _task_deadlines.smallest_group
  );
  v_started constant int := (
    select coalesce(event_type.merged_event_type_id, event_type.event_type_id)
    from track.event_type
    where event_type.name = 'Task Started'
  );
  v_submitted constant int[] := array(
    select coalesce(event_type.merged_event_type_id, event_type.event_type_id)
    from track.event_type
    where event_type.name in ('Task Submitted', 'Task Completed')
  );
begin
  return query
  with task as materialized (
    select item.item_id, item.external_id, item.title, item.due_at
    from track.item_ancestor as ancestor
    join track.item on item.item_id = ancestor.item_id and item.kind = 'task'
    where ancestor.ancestor_item_id = v_course_id
  ),

  learner as materialized (
    select entry.person_id from unnest(v_learners) as entry (person_id)
  ),

  happened as (
    select learner.person_id, task.item_id, journey.event_type_id = v_started as is_start, used.at
    from analytics._journeys(v_started || v_submitted, false, true, '0001-01-01', 'infinity') as journey
    join learner on learner.person_id = journey.person_id
    cross join lateral unnest(journey.occurred_at, journey.item_ids) as used (at, item_id)
    join task on task.item_id = used.item_id
  ),

  done as (
    select
      happened.person_id, happened.item_id,
      min(happened.at) filter (where happened.is_start) as started_at,
      min(happened.at) filter (where not happened.is_start) as submitted_at
    from happened
    group by happened.person_id, happened.item_id
  ),

  counted as (
    select
      task.external_id, task.title, task.due_at,
      count(learner.person_id) as learner_count,
      count(done.started_at) as started_count,
      count(done.submitted_at) as submitted_count,
      count(*) filter (where done.submitted_at <= coalesce(task.due_at, 'infinity')) as on_time_count,
      count(*) filter (where done.submitted_at > task.due_at) as late_count,
      count(learner.person_id) filter (where done.submitted_at is null and task.due_at <= now()) as missing_count,
      count(learner.person_id) filter (where done.submitted_at is null and coalesce(task.due_at, 'infinity') > now())
        as floating_count,
      percentile_cont(0.5) within group (order by task.due_at - done.submitted_at) as median_lead,
      count(*) filter (where done.started_at <= done.submitted_at) as worked_count,
      percentile_cont(0.5) within group (order by done.submitted_at - done.started_at)
        filter (where done.started_at <= done.submitted_at) as median_work
    from task
    left join learner on true
    left join done on done.item_id = task.item_id and done.person_id = learner.person_id
    group by task.item_id, task.external_id, task.title, task.due_at
  )

  select
    counted.external_id,
    counted.title,
    counted.due_at,
    analytics._shown(counted.learner_count, counted.learner_count, _task_deadlines.smallest_group)::bigint,
    analytics._shown(counted.started_count, counted.started_count, _task_deadlines.smallest_group)::bigint,
    analytics._shown(counted.on_time_count, counted.on_time_count, _task_deadlines.smallest_group)::bigint,
    analytics._shown(counted.late_count, counted.late_count, _task_deadlines.smallest_group)::bigint,
    analytics._shown(counted.missing_count, counted.missing_count, _task_deadlines.smallest_group)::bigint,
    analytics._shown(counted.floating_count, counted.floating_count, _task_deadlines.smallest_group)::bigint,
    analytics._shown_time(
      counted.median_lead, counted.submitted_count, _task_deadlines.smallest_group, counted.median_lead
    ),
    analytics._shown_time(
      counted.median_work, counted.worked_count, _task_deadlines.smallest_group, counted.median_work
    )
  from counted
  order by counted.due_at, counted.external_id collate "C";
end;
$$;

comment on function analytics._task_deadlines(text, text, int) is $$
Computes the result of `analytics.task_deadlines`, with the privileges of the caller.
`smallest_group`: figures of groups of counted people (see `analytics._visible_periods` and `analytics._shown`);
null: exact figures of all people.
$$;

grant execute on function analytics._task_deadlines(text, text, int)
to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._task_deadlines_exact(
  course text,
  among text
)
returns setof analytics.task_deadline
language sql
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
  select *
  from analytics._task_deadlines(
    $1, $2, null
  );
$$;

alter function analytics._task_deadlines_exact(text, text)
owner to insights_reader;

comment on function analytics._task_deadlines_exact(text, text) is $$
Returns the result of `analytics.task_deadlines` with exact figures of all people, for admins and workers.
$$;

grant execute on function analytics._task_deadlines_exact(text, text)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._task_deadlines_shown(
  course text,
  among text
)
returns setof analytics.task_deadline
language sql
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
  select *
  from analytics._task_deadlines(
    $1, $2, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._task_deadlines_shown(text, text)
owner to insights_reader;

comment on function analytics._task_deadlines_shown(text, text) is $$
Returns the result of `analytics.task_deadlines` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._task_deadlines_shown(text, text)
to insights_analyst;

create or replace function analytics.task_deadlines(
  course text,
  among text default null
)
returns setof analytics.task_deadline
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._task_deadlines_exact(text, text)',
    'execute'
  ) then
    return query
    select *
    from analytics._task_deadlines_exact(
      task_deadlines.course, task_deadlines.among
    );
  else
    return query
    select *
    from analytics._task_deadlines_shown(
      task_deadlines.course, task_deadlines.among
    );
  end if;
end;
$$;

comment on function analytics.task_deadlines(text, text) is $$
Returns how many learners of a course submitted each of its tasks, in time or late, and how long before the deadline.
The words are those of Canvas: `on_time`, `late`, `missing` (not submitted by a deadline that has passed) and
`floating` (not submitted, without a deadline or before it). A task is submitted with the first `Task Submitted` or
`Task Completed` of the learner; a task without a deadline is submitted on time. Learners are those who are enrolled
and have not dropped the course. `median_lead`: time from the submission to the deadline, negative for late ones;
`median_work`: time from the first `Task Started` to the submission, of those who started before it.
The deadlines and the enrolments are those of now. `among`: people of these sets now.
For admins and workers, figures are exact. Analysts see figures of counted people; a number of fewer people than
`analytics.setting.smallest_group` reads as 0, others are rounded by `analytics._shown`.
The result includes every event that was stored when the function was called, also before a refresh.
Errors: CF002 for an unknown course or set (names the nearest).
$$;

grant execute on function analytics.task_deadlines(text, text)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/learning/task_deadlines.sql

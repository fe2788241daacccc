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
comment on column analytics.step_filter.first_step is $$Number of the step; of an exclusion that of the step before it.$$;
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
comment on column analytics.funnel_time.bin_end is $$Longest time, exclusive; null in the last bin, for all longer times.$$;
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
comment on column experiment.regex_part.arcs is $$Arcs between the characters of the part, times the ways between them.$$;
comment on column experiment.regex_part.states is $$Characters of the part, with their repetitions.$$;

-- Changes of structure since the last release: see migrations/README.md.

-- The floor: analysts and admins have functions of their own, which the public ones call.
drop function if exists analytics._trend(int, text, timestamptz, timestamptz, int, int);
drop function if exists analytics._popular_items(text, timestamptz, timestamptz, interval, int, text, int);
alter function analytics.trend(text, text, timestamptz, timestamptz, int) owner to insights_owner;
alter function analytics.popular_items(text, timestamptz, timestamptz, interval, int, text) owner to insights_owner;
alter function analytics.course_outlook(text, timestamptz) owner to insights_owner;
revoke select on monitor.run from insights_analyst;
comment on column analytics.setting.smallest_group is $$
Minimum number of people in a figure for analysts, and the unit of rounding (k-anonymity).
Smaller groups read as empty ones; 1: exact figures.
$$;
comment on type analytics.trend_point is $$
A time bucket with its events, people, running average and slope.
For analysts, figures are rounded, and a bucket of too few people is 0.
$$;
comment on column analytics.trend_point.event_count is $$Number of events.$$;
comment on column analytics.trend_point.person_count is $$Number of distinct people.$$;
comment on column analytics.trend_point.is_complete is $$
Whether the bucket has ended. Others are excluded from average and slope.
$$;
comment on column analytics.course_outlook.mean_score is $$
Mean of the scores. Multiplied by `person_count`, it is the expected number of dropouts or completions.
For analysts rounded, and null when there are too few learners.
$$;
comment on column analytics.course_outlook.lower_quartile is $$
Lower quartile of the scores; for analysts rounded, and null when there are too few learners.
$$;
comment on column analytics.course_outlook.upper_quartile is $$
Upper quartile of the scores; for analysts rounded, and null when there are too few learners.
$$;

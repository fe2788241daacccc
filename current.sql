-- Changes of structure since the last release: see migrations/README.md.

/* Journeys by event type. */
create index if not exists step_type on track.step (event_type_id, since);
/* ------------------------------------------------------------------------------------------------------- trend -- */

drop function if exists analytics.trend(text, text, timestamptz, timestamptz, int);
drop function if exists analytics._trend_exact(text, text, timestamptz, timestamptz, int);
drop function if exists analytics._trend_shown(text, text, timestamptz, timestamptz, int);
drop function if exists analytics._trend_points(text, text, timestamptz, timestamptz, int, int);
drop function if exists analytics._trend_of_groups(int, text, timestamptz, timestamptz, int);
drop function if exists analytics._trend(int, text, timestamptz, timestamptz, date[]);

do $$
begin
  if not exists (
    select
    from pg_attribute
    where attrelid = 'analytics.trend_point'::regclass
      and attname = 'complete_until'
      and not attisdropped
  ) then
    alter type analytics.trend_point
      add attribute breakdown_value text,
      add attribute is_other boolean,
      add attribute engaged interval,
      add attribute events_per_person float8,
      add attribute cumulative_events bigint,
      add attribute growth float8,
      add attribute season_growth float8,
      add attribute slope_lower float8,
      add attribute slope_upper float8,
      add attribute seasonally_adjusted float8,
      add attribute zone text,
      add attribute complete_until timestamptz;
  end if;
end;
$$;

comment on type analytics.trend_point is $$
A time bucket with its events, people, engaged time, and what follows from the buckets before it.
For analysts, figures are rounded, and a bucket of too few people is 0.
$$;
comment on column analytics.trend_point.bucket_start is $$Start of the bucket.$$;
comment on column analytics.trend_point.event_count is $$Number of events.$$;
comment on column analytics.trend_point.person_count is $$Number of distinct people.$$;
comment on column analytics.trend_point.running_average is $$
Average number of events over the latest complete buckets of the window.
$$;
comment on column analytics.trend_point.slope is $$
Slope of the least-squares line through the latest complete buckets of the window, in events per bucket.
$$;
comment on column analytics.trend_point.is_complete is $$
Whether the bucket has ended. Others are excluded from average, slope, growth and seasonal adjustment.
$$;
comment on column analytics.trend_point.breakdown_value is $$
Value of the breakdown; null without a breakdown and for events and people without a value.
$$;
comment on column analytics.trend_point.is_other is $$
Whether the row contains all values that have no row of their own.
$$;
comment on column analytics.trend_point.engaged is $$
Engaged time of counted people in page views that began in the bucket; null for one event, and by property.
$$;
comment on column analytics.trend_point.events_per_person is $$
Number of events divided by that of people; null without people.
$$;
comment on column analytics.trend_point.cumulative_events is $$
Number of events from the first bucket to the end of this one.
$$;
comment on column analytics.trend_point.growth is $$
Relative change of the number of events from the bucket before, 0.1 for 10 % more.
Null when that is not part of the result, has no events, or when the bucket is not complete.
$$;
comment on column analytics.trend_point.season_growth is $$
Relative change of the number of events from the bucket one season earlier; null as `growth`.
The season is 1,440 minutes (a day), 168 hours (a week), 7 days, 52 weeks, 12 months or 4 quarters; years have none.
$$;
comment on column analytics.trend_point.slope_lower is $$
Lower bound of the 95 % confidence interval of the slope (Student's t); null for fewer than 3 complete buckets.
$$;
comment on column analytics.trend_point.slope_upper is $$
Upper bound of the 95 % confidence interval of the slope; null for fewer than 3 complete buckets.
$$;
comment on column analytics.trend_point.seasonally_adjusted is $$
Number of events without the seasonal component, by classical additive decomposition with medians.
The level of a bucket is the centred moving average over a season, the component the median difference from it over all
complete buckets with the same place in the season (such as the weekday), less the mean of the components. Null for
fewer than two complete seasons, for buckets that are not complete, and for years.
$$;
comment on column analytics.trend_point.zone is $$Time zone of the buckets.$$;
comment on column analytics.trend_point.complete_until is $$
Time until which the result is complete: that of the query, or the end of the last bucket if it is earlier.
$$;

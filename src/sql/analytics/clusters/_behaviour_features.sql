create or replace function analytics._behaviour_features()
returns table (feature text, is_logarithmic boolean, high_word text, low_word text, description text)
language sql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  values
    (
      'active_days', false, 'frequent', 'infrequent',
      'Days (UTC) with an event that is neither automatic nor a heartbeat'
    ),
    (
      'longest_gap', false, 'long_gaps', 'short_gaps',
      'Longest run of days without such an event in the period, also at its beginning and its end'
    ),
    ('sessions_per_day', true, 'many_sessions', 'few_sessions', 'Sessions per active day'),
    ('engaged_minutes', true, 'long_days', 'short_days', 'Engaged minutes per active day'),
    ('items', true, 'many_items', 'few_items', 'Number of items of the events'),
    (
      'completions', true, 'many_completions', 'few_completions',
      'Number of items that were submitted or completed: events whose name ends in Submitted or Completed'
    ),
    ('weekend_share', false, 'weekend', 'weekday', 'Share of the active hours on Saturday or Sunday'),
    ('night_share', false, 'night', 'daytime', 'Share of the active hours from 22:00 to 06:00'),
    (
      'same_hours', false, 'same_hours', 'any_hours',
      'Regularity: mean cosine of the differences between two active hours of the day as angles, 1 for the same hour'
    );
$$;

comment on function analytics._behaviour_features() is $$
Returns the features of behaviour by which people are clustered, in the order of the arrays of `analytics.cluster`.
With the words for a cluster whose people have more and less of it than others. Hours are in the zone of each person.
`is_logarithmic`: its scale is ln(1 + value).
$$;

grant execute on function analytics._behaviour_features() to insights_reader;

create or replace function analytics._snapshots(
  settings analytics.prediction_target, moments timestamptz[], courses bigint[] default null
)
returns setof analytics.snapshot
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set jit to off
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
begin
  return query
  select (settings).target, person_id, course_id, as_of, feature, outcome.outcome
  from analytics._learner_features(moments, courses) as feature
  join analytics._learner_outcomes((settings).target, moments, (settings).horizon, courses) as outcome
    using (person_id, course_id, as_of)
  join track.person_set_block as counted
    on counted.name = 'counted'
    and counted.block = person_id / 4096
    and get_bit(counted.people, (person_id % 4096)::int) <> 0
  where feature.days_idle <= extract(epoch from (settings).longest_idle) / 86400;
end;
$$;

comment on function analytics._snapshots(analytics.prediction_target, timestamptz[], bigint[]) is $$
Returns snapshots of the counted learners who took a course at the given times: features and outcomes.
`courses` null: all courses. The snapshots of a course do not depend on the other courses.
$$;

create or replace function analytics._prediction_target(target text)
returns analytics.prediction_target
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_target analytics.prediction_target;
begin
  select * into v_target from analytics.prediction_target as entry where entry.target = _prediction_target.target;
  if v_target.target is null then
    perform common.refuse(
      'CF002',
      format('there is no target "%s"', coalesce(left(_prediction_target.target, 100), 'null')),
      (select format('There are %s.', string_agg(entry.target, ', ' order by entry.target)) from analytics.prediction_target as entry)
    );
  end if;
  return v_target;
end;
$$;

comment on function analytics._prediction_target(text) is $$Returns a prediction target by its name. Errors: CF002.$$;

create or replace function analytics._snapshot_times(target analytics.prediction_target, weeks int)
returns timestamptz[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_newest timestamptz;
  v_oldest timestamptz;
begin
  -- The first midnight of which the day before is complete, and the first by which anybody could have done anything for a week.
  select (least(max(activity.day) + 1, (now() at time zone 'UTC')::date))::timestamp at time zone 'UTC', (min(activity.day) + 7)::timestamp at time zone 'UTC'
  into v_newest, v_oldest
  from analytics.activity;
  return array(
    select moment
    from generate_series(0, weeks - 1) as week
    cross join lateral (select v_newest - (target).horizon - week * interval '7 days' as moment) as looked
    where moment >= v_oldest
    order by moment
  );
end;
$$;

comment on function analytics._snapshot_times(analytics.prediction_target, int) is $$
Returns the latest weekly times, at most `weeks`, whose outcomes are known.
$$;

create or replace function analytics._snapshots(settings analytics.prediction_target, moments timestamptz[], courses bigint[] default null)
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
  join analytics._learner_outcomes((settings).target, moments, (settings).horizon, courses) as outcome using (person_id, course_id, as_of)
  where feature.days_idle <= extract(epoch from (settings).longest_idle) / 86400;
end;
$$;

comment on function analytics._snapshots(analytics.prediction_target, timestamptz[], bigint[]) is $$
Returns snapshots of the learners who took a course at the given times: features and outcomes.
`courses` null: all courses. The snapshots of a course do not depend on the other courses.
$$;

create or replace function analytics._feature_list()
returns text
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  select string_agg(quote_ident(attribute.attname), ', ' order by attribute.attnum)
  from pg_catalog.pg_attribute as attribute
  where attribute.attrelid = 'analytics.learner_features'::regclass
    and attribute.attnum > 0
    and not attribute.attisdropped
    and attribute.attname not in ('person_id', 'course_id', 'as_of', 'known_at');
$$;

comment on function analytics._feature_list() is $$
Returns the names of the features that models are trained on, quoted, as a list for SQL.
$$;

grant execute on function analytics._prediction_target(text) to insights_reader;

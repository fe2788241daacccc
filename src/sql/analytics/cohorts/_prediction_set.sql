create or replace function analytics._prediction_set(rule jsonb)
returns text
language sql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select format('prediction.%s_%s', rule ->> 'prediction', left(md5(rule::text), 12));
$$;

comment on function analytics._prediction_set(jsonb) is $$
Returns the name of the set that contains the people for whom a condition on a prediction is true.
The set is a list, which `analytics.refresh_cohorts` replaces once a day.
$$;

grant execute on function analytics._prediction_set(jsonb) to insights_reader;

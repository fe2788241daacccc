create or replace function monitor._probe_rollups()
returns setof monitor.measurement
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  select measured.metric, jsonb_build_object('rollup', trust.rollup), measured.value
  from track.rollup_trust() as trust
  cross join lateral (
    values
      ('insights_rollup_trust', trust.score),
      ('insights_rollup_differing_cells', trust.differing::float8),
      ('insights_rollup_check_age_seconds', extract(epoch from clock_timestamp() - trust.checked_at)::float8)
  ) as measured (metric, value)
$$;

comment on function monitor._probe_rollups() is $$
Measures the trust scores of the rollups, over the last 1,000 checks.
$$;

create or replace function track.rollup_trust(checks int default 1000)
returns setof track.rollup_trust
language plpgsql
stable
-- A definer: the rows contain keys of people, which analysts may not read; the result does not.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  perform common.check_count('checks', rollup_trust.checks, 1, 10000);
  return query
  with latest as (
    select rollup_check.*
    from track.rollup_check
    where rollup_check.check_id > (select max(last.check_id) from track.rollup_check as last) - rollup_trust.checks
  )

  select
    coalesce(latest.rollup, 'all'),
    sum(latest.checked)::bigint,
    sum(latest.differing)::bigint,
    sum(latest.checked - latest.differing)::float8 / nullif(sum(latest.checked), 0)::float8,
    max(latest.checked_at),
    max(latest.checked_at) filter (where latest.differing > 0)
  from latest
  group by grouping sets ((latest.rollup), ())
  having count(*) > 0
  order by grouping(latest.rollup), latest.rollup;
end;
$$;

comment on function track.rollup_trust(int) is $$
@behavior -*
Returns the trust score of each rollup, and of `all`, over the last checks of `track.check_rollups`.
The score is the share of compared cells that agreed with the events: 1 when all did, null when none was compared.
Errors: CF001 for fewer than one check, or more than 10,000.
$$;

grant execute on function track.rollup_trust(int) to insights_analyst, insights_admin, insights_worker;

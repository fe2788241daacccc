/* A definer owned by insights_reader: it reads the impressions of people, for those who may read them. */
create or replace function monitor._position_bias(
  since timestamptz,
  until timestamptz,
  kind text,
  smallest_group int
)
returns setof monitor.position_figures
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
set timezone to 'UTC'
as $$
declare
  v_period tstzrange := monitor._reported_period(
    _position_bias.since, _position_bias.until, _position_bias.kind, _position_bias.smallest_group
  );
begin
  return query
  with estimated as (
    select
      estimate.*,
      sqrt((select sum(part ^ 2) from unnest(estimate.influence) as part)) as log_error,
      (select count(*) filter (where part <> 0) from unnest(estimate.influence) as part)::float8 as buckets
    from monitor._position_estimates(
      lower(v_period), upper(v_period), _position_bias.kind, _position_bias.smallest_group
    ) as estimate
  ),

  -- A rank that few people clicked at has no estimate for analysts.
  shown as (
    select
      estimated.rank,
      analytics.shown(
        estimated.listed_count, estimated.listed_buckets, _position_bias.smallest_group
      )::bigint as listed,
      analytics.shown(
        estimated.clicked_count, estimated.clicked_buckets, _position_bias.smallest_group
      )::bigint as clicked,
      analytics.shown(
        estimated.compared_count, estimated.clicked_buckets, _position_bias.smallest_group
      )::bigint as compared,
      case
        when estimated.clicked_buckets >= coalesce(_position_bias.smallest_group, 0)
          then exp(estimated.log_examination)
      end as examination,
      case when estimated.rank = 1 then 0 when estimated.buckets >= 10 then estimated.log_error end as log_error,
      case
        when estimated.rank = 1 then 0
        when estimated.buckets >= 10 then ml.students_t_quantile(0.975, estimated.buckets - 1)
      end as t
    from estimated
  )

  select
    shown.rank, shown.listed, shown.clicked, 
    least(shown.clicked::float8 / nullif(shown.listed, 0), 1), shown.compared,
    monitor._shown_rate(shown.examination, _position_bias.smallest_group),
    monitor._shown_rate(shown.examination * shown.log_error, _position_bias.smallest_group),
    monitor._shown_rate(shown.examination * exp(-shown.t * shown.log_error), _position_bias.smallest_group),
    monitor._shown_rate(shown.examination * exp(shown.t * shown.log_error), _position_bias.smallest_group)
  from shown
  order by shown.rank;
end;
$$;

alter function monitor._position_bias(timestamptz, timestamptz, text, int) owner to insights_reader;

comment on function monitor._position_bias(timestamptz, timestamptz, text, int) is $$
@behavior -*
Computes the result of `monitor.position_bias`.
`smallest_group`: about counted people, rounded; null: exact.
$$;

grant execute on function monitor._position_bias(timestamptz, timestamptz, text, int)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the impressions of people, and returns figures about groups only. */
create or replace function monitor._position_bias_shown(since timestamptz, until timestamptz, kind text)
returns setof monitor.position_figures
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
  select * from monitor._position_bias($1, $2, $3, (select smallest_group from analytics.setting));
$$;

alter function monitor._position_bias_shown(timestamptz, timestamptz, text) owner to insights_reader;

comment on function monitor._position_bias_shown(timestamptz, timestamptz, text) is $$
@behavior -*
Returns the result of `monitor.position_bias` for analysts: figures of groups, rounded.
$$;

grant execute on function monitor._position_bias_shown(timestamptz, timestamptz, text) to insights_analyst;

create or replace function monitor.position_bias(
  since timestamptz default (now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  kind text default 'course'
)
returns setof monitor.position_figures
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege('monitor._position_bias(timestamptz, timestamptz, text, int)', 'execute') then
    return query
    select * from monitor._position_bias(position_bias.since, position_bias.until, position_bias.kind, null);
  else
    return query
    select * from monitor._position_bias_shown(position_bias.since, position_bias.until, position_bias.kind);
  end if;
end;
$$;

comment on function monitor.position_bias(timestamptz, timestamptz, text) is $$
Returns how often people examine each of the first 20 ranks of lists, relative to rank 1, from recorded lists.
A click needs a row that is relevant and that was examined; lower ranks are examined less often. The examination of
ranks is estimated from clicks on equal rows (item, version, basis) that were served at different ranks: see
`monitor._position_estimates`. It holds as far as people who are served an item at rank 1 find it as relevant as those
who are served it at another rank. Intervals are of Student's t, with people as clusters, and null where fewer than
10 of 64 groups of people were served such rows.
For admins and workers, figures are exact and about all people. For analysts, they are about counted people and whole
weeks (from Monday, UTC), a week in which a rank was served to few people is left out, numbers are rounded by
`analytics.shown`, and estimates to two significant digits.
Errors: CF001 for an invalid period, CF002 for a kind that no item has.
$$;

grant execute on function monitor.position_bias(timestamptz, timestamptz, text)
to insights_analyst, insights_admin, insights_worker;

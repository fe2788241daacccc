create or replace function monitor._calibration(
  since timestamptz,
  until timestamptz,
  kind text,
  smallest_group int
)
returns setof monitor.score_figures
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set jit to off
-- Results of functions have no statistics.
set enable_nestloop to off
set work_mem to '64MB'
as $$
declare
  v_period constant tstzrange := monitor._reported_period(
    _calibration.since, _calibration.until, _calibration.kind, _calibration.smallest_group
  );
  v_z constant float8 := ml.normal_quantile(0.975);
begin
  return query
  with scored as materialized (
    select coalesce(entry.model_id, 0) as key, entry.*
    from monitor._scored(
      lower(v_period), upper(v_period), _calibration.kind, null, _calibration.smallest_group, null
    ) as entry
  ),

  edged as materialized (
    select
      scored.key, scored.basis,
      percentile_disc('{0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9}'::float8[]) within group (order by scored.score) as edges
    from scored
    group by scored.key, scored.basis
  ),

  -- 0: all tenths.
  placed as materialized (
    select
      scored.key, scored.basis, scored.person_id, scored.rank, scored.score, scored.is_clicked,
      width_bucket(scored.score, edged.edges) + 1 as tenth
    from scored
    join edged using (key, basis)
  ),

  person as materialized (
    select
      placed.key, placed.basis, coalesce(placed.tenth, 0) as tenth, placed.person_id, count(*)::float8 as served,
      count(*) filter (where placed.is_clicked)::float8 as clicked,
      min(placed.score) as least, max(placed.score) as greatest, sum(placed.score) as score
    from placed
    group by grouping sets (
      (placed.key, placed.basis, placed.person_id, placed.tenth),
      (placed.key, placed.basis, placed.person_id)
    )
  ),

  grouped as (
    select
      person.key, person.basis, person.tenth, count(*) as people,
      count(*) filter (where person.clicked > 0) as clicked_people,
      sum(person.served) as served, sum(person.clicked) as clicked,
      min(person.least) as least, max(person.greatest) as greatest, sum(person.score) / sum(person.served) as mean,
      monitor._design_effect(
        count(*), sum(person.clicked), sum(person.served), sum(person.clicked ^ 2),
        sum(person.clicked * person.served), sum(person.served ^ 2)
      ) as effect
    from person
    group by person.key, person.basis, person.tenth
    having count(*) >= coalesce(_calibration.smallest_group, 1)
  ),

  shown as (
    select
      grouped.*,
      analytics.shown(grouped.people, grouped.people, _calibration.smallest_group)::bigint as shown_people,
      figure.served as shown_served,
      least(figure.clicked, figure.served) as shown_clicked,
      monitor._rate_bounds(
        least(figure.clicked, figure.served), figure.served,
        monitor._shown_rate(grouped.effect, _calibration.smallest_group)
      ) as bounds
    from grouped
    cross join lateral (
      select
        analytics.shown(grouped.served, grouped.people, _calibration.smallest_group)::bigint as served,
        analytics.shown(grouped.clicked, grouped.clicked_people, _calibration.smallest_group)::bigint as clicked
    ) as figure
  ),

  corrected as (
    select *
    from monitor._corrected_rates(
      lower(v_period), upper(v_period), _calibration.kind, _calibration.smallest_group,
      (
        select array_agg(
          row(cell.name, null, cell.rank, cell.bucket, cell.listed, cell.clicked)::monitor.ranked_cell
        )
        from (
          select
            format('%s %s %s', placed.key, coalesce(placed.tenth, 0), placed.basis) as name, placed.rank,
            (placed.person_id % 64)::int as bucket, count(*)::float8 as listed,
            count(*) filter (where placed.is_clicked)::float8 as clicked
          from placed
          where placed.rank between 1 and 20
          group by grouping sets (
            (placed.key, placed.basis, placed.rank, placed.person_id % 64, placed.tenth),
            (placed.key, placed.basis, placed.rank, placed.person_id % 64)
          )
        ) as cell
      )
    )
  ),

  -- Of each row, the rows of the same rank with a lower score, in all and of its own class; equal scores are halves.
  ordered as (
    select
      placed.*,
      rank() over all_rows + (count(*) over (all_rows range current row) - 1) / 2.0 as place,
      rank() over own_rows + (count(*) over (own_rows range current row) - 1) / 2.0 as own_place,
      count(*) over (partition by placed.key, placed.basis, placed.rank) as size,
      count(*) over (partition by placed.key, placed.basis, placed.rank, placed.is_clicked) as own_size
    from placed
    window
      all_rows as (partition by placed.key, placed.basis, placed.rank order by placed.score),
      own_rows as (partition by placed.key, placed.basis, placed.rank, placed.is_clicked order by placed.score)
  ),

  won as materialized (
    select
      ordered.key, ordered.basis, ordered.person_id, ordered.rank, ordered.own_size::float8 as size,
      ordered.own_size::float8 * (ordered.size - ordered.own_size) as pairs,
      case when ordered.is_clicked then share.lower else 1 - share.lower end as share
    from ordered
    cross join lateral (
      select ((ordered.place - ordered.own_place) / (ordered.size - ordered.own_size))::float8 as lower
    ) as share
    where ordered.size > ordered.own_size
  ),

  -- Both classes have the same mean share.
  strata as (
    select
      stratum.key, stratum.basis, stratum.rank, stratum.share,
      stratum.pairs / sum(stratum.pairs) over (partition by stratum.key, stratum.basis) as weight
    from (
      select won.key, won.basis, won.rank, max(won.pairs) as pairs, sum(won.share / won.size) / 2 as share
      from won
      group by won.key, won.basis, won.rank
    ) as stratum
  ),

  -- The variance with people as clusters (Obuchowski).
  concordance as (
    select
      mean.key, mean.basis, mean.value, greatest(0, mean.value - v_z * spread.error) as lower,
      least(1, mean.value + v_z * spread.error) as upper
    from (
      select strata.key, strata.basis, sum(strata.weight * strata.share) as value
      from strata
      group by strata.key, strata.basis
    ) as mean
    join (
      select
        added.key, added.basis, sqrt(sum(added.error ^ 2) * count(*) / nullif(count(*) - 1, 0)) as error
      from (
        select
          won.key, won.basis, won.person_id, sum(strata.weight * (won.share - strata.share) / won.size) as error
        from won
        join strata using (key, basis, rank)
        group by won.key, won.basis, won.person_id
      ) as added
      group by added.key, added.basis
    ) as spread using (key, basis)
  )

  select
    model.version::text, shown.basis, nullif(shown.tenth, 0),
    case when _calibration.smallest_group is null then shown.least end,
    monitor._shown_rate(shown.mean, _calibration.smallest_group),
    case when _calibration.smallest_group is null then shown.greatest end,
    shown.shown_people, shown.shown_served, shown.shown_clicked,
    shown.shown_clicked::float8 / nullif(shown.shown_served, 0), shown.bounds[1], shown.bounds[2],
    case when shown.shown_clicked = 0 then 0 else monitor._shown_rate(corrected.rate, _calibration.smallest_group) end,
    case when shown.shown_clicked > 0 then monitor._shown_rate(corrected.lower, _calibration.smallest_group) end,
    case when shown.shown_clicked > 0 then monitor._shown_rate(corrected.upper, _calibration.smallest_group) end,
    monitor._shown_rate(concordance.value, _calibration.smallest_group),
    monitor._shown_rate(concordance.lower, _calibration.smallest_group),
    monitor._shown_rate(concordance.upper, _calibration.smallest_group)
  from shown
  left join ml.model on model.model_id = shown.key
  left join corrected on corrected.name = format('%s %s %s', shown.key, shown.tenth, shown.basis)
  left join concordance
    on shown.tenth = 0
    and shown.shown_clicked > 0
    and concordance.key = shown.key
    and concordance.basis = shown.basis
  order by model.version nulls last, shown.basis, shown.tenth;
end;
$$;

comment on function monitor._calibration(timestamptz, timestamptz, text, int) is $$
@behavior -*
Computes the result of `monitor.calibration`, with the privileges of the caller.
`smallest_group`: figures of groups of counted people (see `analytics.shown`); null: exact figures of all people.
$$;

grant execute on function monitor._calibration(timestamptz, timestamptz, text, int) to insights_reader;

/* A definer owned by insights_reader: it reads the impressions of people, for those who may read them. */
create or replace function monitor._calibration_exact(since timestamptz, until timestamptz, kind text)
returns setof monitor.score_figures
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
  select * from monitor._calibration($1, $2, $3, null);
$$;

alter function monitor._calibration_exact(timestamptz, timestamptz, text) owner to insights_reader;

comment on function monitor._calibration_exact(timestamptz, timestamptz, text) is $$
@behavior -*
Returns the result of `monitor.calibration` with exact figures of all people, for admins and workers.
$$;

grant execute on function monitor._calibration_exact(timestamptz, timestamptz, text)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the impressions of people, and returns figures about groups only. */
create or replace function monitor._calibration_shown(since timestamptz, until timestamptz, kind text)
returns setof monitor.score_figures
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
  select * from monitor._calibration($1, $2, $3, (select smallest_group from analytics.setting));
$$;

alter function monitor._calibration_shown(timestamptz, timestamptz, text) owner to insights_reader;

comment on function monitor._calibration_shown(timestamptz, timestamptz, text) is $$
@behavior -*
Returns the result of `monitor.calibration` for analysts: figures of groups, rounded.
$$;

grant execute on function monitor._calibration_shown(timestamptz, timestamptz, text) to insights_analyst;

create or replace function monitor.calibration(
  since timestamptz default (now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  kind text default 'course'
)
returns setof monitor.score_figures
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege('monitor._calibration_exact(timestamptz, timestamptz, text)', 'execute') then
    return query
    select * from monitor._calibration_exact(calibration.since, calibration.until, calibration.kind);
  else
    return query
    select * from monitor._calibration_shown(calibration.since, calibration.until, calibration.kind);
  end if;
end;
$$;

comment on function monitor.calibration(timestamptz, timestamptz, text) is $$
Returns the clicks on recommended items by the tenths of their scores, by version and basis: whether the scores order.
Scores of recommenders are sums of weights and no probabilities, so that they are compared by their order: in a good
model, `corrected_rate` rises with the tenth. Rows with high scores are at the first ranks, which people examine most,
so that `click_rate` rises in any model: see `monitor.position_bias`. `concordance` compares rows of the same rank, of
different lists: the share of pairs of a clicked and another row in which the clicked one has the higher score, the area
under the ROC curve of each rank, weighted by its pairs. Intervals are 95 %, with people as clusters (Obuchowski,
Nonparametric analysis of clustered ROC curve data, Biometrics 1997).
For admins and workers, figures are exact and about all people. For analysts, they are about counted people and whole
weeks, a week in which a version has fewer than `analytics.setting.smallest_group` people is left out, as are tenths
with fewer people, numbers are rounded by `analytics.shown`, and other figures to two significant digits.
Errors: CF001 for an invalid period, CF002 for a kind that no item has.
$$;

grant execute on function monitor.calibration(timestamptz, timestamptz, text)
to insights_analyst, insights_admin, insights_worker;

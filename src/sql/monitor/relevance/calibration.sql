/* A definer owned by insights_reader: it reads the impressions of people, for those who may read them. */
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
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set timezone to 'UTC'
set jit to off
-- Results of functions have no statistics.
set enable_nestloop to off
set enable_mergejoin to off
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
    select
      -- Of the version and the basis.
      hashtextextended(entry.basis, coalesce(entry.model_id, 0)) as key,
      entry.model_id, entry.basis, entry.person_id, entry.rank, entry.score, entry.is_clicked
    from monitor._scored(
      lower(v_period), upper(v_period), _calibration.kind, null, _calibration.smallest_group, null
    ) as entry
  ),

  named as (
    select distinct scored.key, scored.model_id, scored.basis
    from scored
  ),

  edged as (
    select
      scored.key,
      percentile_disc('{0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9}'::float8[]) within group (order by scored.score) as edges
    from scored
    group by scored.key
  ),

  -- For each row, how many of the same rank have a lower or the same score, and how many of these were clicked.
  ordered as (
    select
      scored.key, scored.person_id, scored.rank, scored.score, scored.is_clicked,
      count(*) over lower as lower, count(*) filter (where scored.is_clicked) over lower as lower_clicked,
      count(*) over same as same, count(*) filter (where scored.is_clicked) over same as same_clicked
    from scored
    window
      lower as (partition by scored.key, scored.rank order by scored.score),
      same as (partition by scored.key, scored.rank order by scored.score range current row)
  ),

  -- Rows of the other class with a lower score, equal scores as halves.
  placed as materialized (
    select
      ordered.key, ordered.person_id, ordered.rank, ordered.score, ordered.is_clicked,
      width_bucket(ordered.score, edged.edges) + 1 as tenth,
      case
        when ordered.is_clicked
          then ordered.lower - ordered.lower_clicked - 0.5::float8 * (ordered.same - ordered.same_clicked)
        else ordered.lower_clicked - 0.5::float8 * ordered.same_clicked
      end as below
    from ordered
    join edged using (key)
  ),

  -- The share of pairs in which the clicked row has the higher score.
  strata as materialized (
    select
      stratum.*, stratum.clicked * stratum.other / sum(stratum.clicked * stratum.other) over own as weight,
      stratum.below / (stratum.clicked * stratum.other) as share
    from (
      select
        placed.key, placed.rank, count(*) filter (where placed.is_clicked)::float8 as clicked,
        count(*) filter (where not placed.is_clicked)::float8 as other,
        sum(placed.below) filter (where placed.is_clicked) as below
      from placed
      group by placed.key, placed.rank
    ) as stratum
    where stratum.clicked > 0
      and stratum.other > 0
    window own as (partition by stratum.key)
  ),

  -- With what each person adds to the error of the concordance.
  portion as materialized (
    select
      placed.key, placed.person_id, placed.tenth, count(*)::float8 as served,
      count(*) filter (where placed.is_clicked)::float8 as clicked,
      min(placed.score) as least, max(placed.score) as greatest, sum(placed.score) as score,
      sum(
        strata.weight * case
          when placed.is_clicked then (placed.below / strata.other - strata.share) / strata.clicked
          else (1 - placed.below / strata.clicked - strata.share) / strata.other
        end
      ) as error
    from placed
    left join strata using (key, rank)
    group by placed.key, placed.person_id, placed.tenth
  ),

  -- 0: all tenths.
  person as (
    select
      portion.key, portion.tenth, portion.served, portion.clicked, portion.least, portion.greatest, portion.score,
      null::float8 as error
    from portion

    union all

    select
      portion.key, 0, sum(portion.served), sum(portion.clicked), min(portion.least), max(portion.greatest),
      sum(portion.score), sum(portion.error)
    from portion
    group by portion.key, portion.person_id
  ),

  grouped as (
    select
      person.key, person.tenth, count(*) as people,
      count(*) filter (where person.clicked > 0) as clicked_people,
      sum(person.served) as served, sum(person.clicked) as clicked,
      min(person.least) as least, max(person.greatest) as greatest, sum(person.score) / sum(person.served) as mean,
      monitor._design_effect(
        count(*), sum(person.clicked), sum(person.served), sum(person.clicked ^ 2),
        sum(person.clicked * person.served), sum(person.served ^ 2)
      ) as effect
    from person
    group by person.key, person.tenth
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
            format('%s %s', placed.key, coalesce(placed.tenth, 0)) as name, placed.rank,
            (placed.person_id % 64)::int as bucket, count(*)::float8 as listed,
            count(*) filter (where placed.is_clicked)::float8 as clicked
          from placed
          where placed.rank between 1 and 20
          group by grouping sets (
            (placed.key, placed.rank, (placed.person_id % 64)::int, placed.tenth),
            (placed.key, placed.rank, (placed.person_id % 64)::int)
          )
        ) as cell
      )
    )
  ),

  -- The variance with people as clusters (Obuchowski).
  concordance as (
    select
      mean.key, mean.value, greatest(0, mean.value - v_z * spread.error) as lower,
      least(1, mean.value + v_z * spread.error) as upper
    from (
      select strata.key, sum(strata.weight * strata.share) as value
      from strata
      group by strata.key
    ) as mean
    join (
      select person.key, sqrt(sum(person.error ^ 2) * count(*) / nullif(count(*) - 1, 0)) as error
      from person
      where person.error is not null
      group by person.key
    ) as spread using (key)
  )

  select
    model.version::text, named.basis, nullif(shown.tenth, 0),
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
  join named using (key)
  left join ml.model using (model_id)
  left join corrected on corrected.name = format('%s %s', shown.key, shown.tenth)
  left join concordance
    on shown.tenth = 0
    and shown.shown_clicked > 0
    and concordance.key = shown.key
  order by model.version nulls last, named.basis, shown.tenth;
end;
$$;

alter function monitor._calibration(timestamptz, timestamptz, text, int) owner to insights_reader;

comment on function monitor._calibration(timestamptz, timestamptz, text, int) is $$
@behavior -*
Computes the result of `monitor.calibration`.
`smallest_group`: figures of groups of counted people (see `analytics.shown`); null: exact figures of all people.
$$;

grant execute on function monitor._calibration(timestamptz, timestamptz, text, int)
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
  if has_function_privilege('monitor._calibration(timestamptz, timestamptz, text, int)', 'execute') then
    return query
    select * from monitor._calibration(calibration.since, calibration.until, calibration.kind, null);
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

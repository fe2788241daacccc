create or replace function monitor._score_shift(
  model_id bigint,
  kind text,
  reference tstzrange,
  period tstzrange,
  smallest_group int,
  most int
)
returns setof monitor.score_shift
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
begin
  return query
  with scored as materialized (
    select false as is_new, entry.*
    from monitor._scored(
      lower(_score_shift.reference), upper(_score_shift.reference), _score_shift.kind, _score_shift.model_id,
      _score_shift.smallest_group, _score_shift.most
    ) as entry

    union all

    select true, entry.*
    from monitor._scored(
      greatest(lower(_score_shift.period), upper(_score_shift.reference)), upper(_score_shift.period),
      _score_shift.kind, _score_shift.model_id, _score_shift.smallest_group, _score_shift.most
    ) as entry
  ),

  -- Tenths of the first days; equal scores are in one bin.
  edged as materialized (
    select cut.basis, array(select distinct edge from unnest(cut.edges) as edge order by edge) as edges
    from (
      select
        scored.basis,
        percentile_disc('{0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9}'::float8[]) within group (order by scored.score) as edges
      from scored
      where not scored.is_new
      group by scored.basis
    ) as cut
  ),

  tally as materialized (
    select
      scored.basis, scored.is_new, scored.person_id, width_bucket(scored.score, edged.edges) as bin,
      count(*)::float8 as count, sum(scored.score) as score
    from scored
    join edged using (basis)
    group by 1, 2, 3, 4
  ),

  side as materialized (
    select
      person.basis, person.is_new, count(*) as people, sum(person.count) as count,
      sum(person.count ^ 2) as count_count, sum(person.score) / sum(person.count) as mean
    from (
      select tally.basis, tally.is_new, tally.person_id, sum(tally.count) as count, sum(tally.score) as score
      from tally
      group by tally.basis, tally.is_new, tally.person_id
    ) as person
    group by person.basis, person.is_new
  ),

  filled as materialized (
    select
      part.basis, part.is_new, part.bin, sum(part.count) as count, sum(part.count ^ 2) as squares,
      sum(part.count * part.person_count) as products
    from (
      select
        tally.*, sum(tally.count) over (partition by tally.basis, tally.is_new, tally.person_id) as person_count
      from tally
    ) as part
    group by part.basis, part.is_new, part.bin
  ),

  -- Bins without a row of one of the periods count.
  cell as (
    select
      side.basis, side.is_new, bin.bin, coalesce(filled.count, 0) as count, coalesce(filled.squares, 0) as squares,
      coalesce(filled.products, 0) as products
    from side
    join (select distinct filled.basis, filled.bin from filled) as bin using (basis)
    left join filled using (basis, is_new, bin)
  ),

  -- The mean effect of people having many rows on the variance of the shares (Rao and Scott), of bins with rows.
  whole as (
    select
      side.basis, side.is_new, side.people, side.count, side.mean, count(*)::int as bins,
      array_agg(cell.count order by cell.bin) as counts,
      case when count(*) > 1 then coalesce(
        sum((1 - cell.count / side.count) * monitor._design_effect(
          side.people, cell.count, side.count, cell.squares, cell.products, side.count_count
        )) filter (where cell.count between 1 and side.count - 1)
          / sum(1 - cell.count / side.count) filter (where cell.count between 1 and side.count - 1),
        side.count / side.people
      ) end / side.count as scale
    from side
    join cell using (basis, is_new)
    group by side.basis, side.is_new, side.people, side.count, side.mean
  ),

  compared as (
    select
      former.basis, former.bins, former.people as former_people, former.count as former_count,
      former.mean as former_mean, latter.people, latter.count, latter.mean,
      case when latter.counts is not null then ml.population_stability_index(former.counts, latter.counts) end as index,
      -- With half a person in addition to each bin: an empty bin of few people has a logarithm far from chi-squared.
      case when latter.counts is not null then ml.population_stability_index(
        array(
          select bin.count + coalesce(0.5 * former.scale * former.count, 0)
          from unnest(former.counts) with ordinality as bin (count, place)
          order by bin.place
        ),
        array(
          select bin.count + coalesce(0.5 * latter.scale * latter.count, 0)
          from unnest(latter.counts) with ordinality as bin (count, place)
          order by bin.place
        )
      ) end as tested,
      former.scale + latter.scale as scale
    from whole as former
    left join whole as latter
      on latter.basis = former.basis
      and latter.is_new
    where not former.is_new
  )

  select
    model.version::text, compared.basis, lower(_score_shift.reference), upper(_score_shift.reference),
    analytics.shown(compared.former_people, compared.former_people, _score_shift.smallest_group)::bigint,
    analytics.shown(compared.former_count, compared.former_people, _score_shift.smallest_group)::bigint,
    coalesce(analytics.shown(compared.people, compared.people, _score_shift.smallest_group), 0)::bigint,
    coalesce(analytics.shown(compared.count, compared.people, _score_shift.smallest_group), 0)::bigint,
    monitor._shown_rate(compared.former_mean, _score_shift.smallest_group),
    monitor._shown_rate(compared.mean, _score_shift.smallest_group),
    compared.bins,
    monitor._shown_rate(compared.index, _score_shift.smallest_group),
    monitor._shown_rate(1 - ml.chi_squared_cdf(compared.tested / compared.scale, compared.bins - 1),
      _score_shift.smallest_group),
    case
      -- So few rows that chance alone may move them by 0.1: only what chance does not explain.
      when 1 - ml.chi_squared_cdf(0.1 / compared.scale, compared.bins - 1) <= 0.05 is not true then
        case
          when 1 - ml.chi_squared_cdf(compared.tested / compared.scale, compared.bins - 1) <= 0.001 is not true
            or compared.tested - (compared.bins - 1) * compared.scale < 0.1
            -- The p-value is that of many people.
            or least(compared.former_people, compared.people) < 50
            then 'unknown'
          when compared.tested - (compared.bins - 1) * compared.scale < 0.25 then 'shifting'
          else 'drifted'
        end
      when compared.index < 0.1 then 'stable'
      when compared.index < 0.25 then 'shifting'
      else 'drifted'
    end
  from compared
  join ml.model on model.model_id = _score_shift.model_id
  order by compared.basis;
end;
$$;

comment on function monitor._score_shift(bigint, text, tstzrange, tstzrange, int, int) is $$
@behavior -*
Compares the scores of a version in two periods, by basis: see `monitor.score_drift`. `most`: most rows of each period.
$$;

grant execute on function monitor._score_shift(bigint, text, tstzrange, tstzrange, int, int)
to insights_reader, insights_worker;

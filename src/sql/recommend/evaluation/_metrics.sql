create or replace function recommend._metrics(
  k int[],
  item_count int
)
returns setof recommend.metric
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set jit to off
as $$
begin
  return query
  with ideal as materialized (
    select n::int as n, sum(ln(2) / ln(1 + n)) over (order by n) as gain
    from generate_series(1, (select max(relevant_count) from pg_temp._recommend_gain)) as n
  ),

  measured as (
    select
      cutoff.k,
      person.person_no,
      person.relevant_count,
      least(cutoff.k, person.relevant_count) as reachable,
      hit.hits,
      hit.gain,
      hit.precisions,
      hit.reciprocal
    from pg_temp._recommend_gain as person
    cross join (select distinct unnest(_metrics.k) as k) as cutoff
    cross join lateral (
      select
        count(*)::int as hits,
        coalesce(sum(ln(2) / ln(1 + rank) order by n), 0) as gain,
        coalesce(sum(n::float8 / rank order by n), 0) as precisions,
        coalesce(max(1.0::float8 / rank), 0) as reciprocal
      from unnest(person.ranks) with ordinality as entry (rank, n)
      where entry.rank <= cutoff.k
    ) as hit
  ),

  averaged as (
    select
      measured.k,
      avg(measured.hits / measured.k::float8 order by measured.person_no) as precision,
      avg(measured.hits / measured.relevant_count::float8 order by measured.person_no) as recall,
      avg(measured.hits / measured.reachable::float8 order by measured.person_no) as recall_min,
      avg(measured.gain / cut.gain order by measured.person_no) as ndcg,
      avg(measured.gain / uncut.gain order by measured.person_no) as ndcg_uncut,
      avg(measured.precisions / measured.reachable order by measured.person_no) as map,
      avg(measured.reciprocal order by measured.person_no) as mrr,
      avg(sign(measured.hits) order by measured.person_no) as hit_rate
    from measured
    join ideal as cut on cut.n = measured.reachable
    join ideal as uncut on uncut.n = measured.relevant_count
    group by measured.k
  )

  select null::text, named.metric, averaged.k, named.value
  from averaged
  cross join lateral (
    select count(distinct item_no) / _metrics.item_count::float8 as share
    from pg_temp._recommend_listed
    where rank <= averaged.k
  ) as covered
  cross join lateral (
    values
      (1, 'precision', averaged.precision),
      (2, 'recall', averaged.recall),
      (3, 'recall_min', averaged.recall_min),
      (4, 'ndcg', averaged.ndcg),
      (5, 'ndcg_uncut', averaged.ndcg_uncut),
      (6, 'map', averaged.map),
      (7, 'mrr', averaged.mrr),
      (8, 'hit_rate', averaged.hit_rate),
      (9, 'coverage', covered.share)
  ) as named (n, metric, value)
  order by averaged.k, named.n;
end;
$$;

comment on function recommend._metrics(int[], int) is $$
@behavior -*
Returns the metrics of the lists that `_rank_targets` has written, as means over the people, for each k.
`model` is null.
With h hits among the first k and n relevant items: `precision` h / k; `recall` h / n; `recall_min` h / min(k, n);
`ndcg` the sum of 1 / log2(1 + rank) of the hits, divided by that of min(k, n) hits in the first places; `ndcg_uncut`
the same divided by that of n hits; `map` the sum of the precision at each hit, divided by min(k, n); `mrr` 1 / rank of
the first hit; `hit_rate` 1 with a hit, else 0; `coverage` the share of the items that are in a list.
$$;

grant execute on function
  recommend._metrics(int[], int)
to insights_analyst, insights_admin, insights_worker;

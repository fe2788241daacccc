create or replace function recommend._list_metrics(places int[], k int)
returns float8[]
language sql
immutable
parallel safe
begin atomic
  select array[
    hits.n / _list_metrics.k::float8,
    hits.n / cardinality(_list_metrics.places)::float8,
    hits.n / least(_list_metrics.k, cardinality(_list_metrics.places))::float8,
    hits.gain / (
      select sum(ln(2) / ln(1 + place))
      from generate_series(1, least(_list_metrics.k, cardinality(_list_metrics.places))) as place
    ),
    hits.gain / (
      select sum(ln(2) / ln(1 + place))
      from generate_series(1, cardinality(_list_metrics.places)) as place
    ),
    hits.precisions / least(_list_metrics.k, cardinality(_list_metrics.places)),
    coalesce(1 / hits.first::float8, 0),
    (hits.n > 0)::int
  ]
  from (
    select
      count(*) as n,
      coalesce(sum(ln(2) / ln(1 + place.place) order by place.n), 0)::float8 as gain,
      coalesce(sum(place.n / place.place::float8 order by place.n), 0)::float8 as precisions,
      min(place.place) as first
    from unnest(_list_metrics.places) with ordinality as place (place, n)
    where place.place <= _list_metrics.k
  ) as hits;
end;

comment on function recommend._list_metrics(int[], int) is $$
@behavior -*
Metrics of one ranked list from the places of all relevant items, in ascending order, for a list of length k.
In this order: precision, recall, recall divided by min(k, relevant items), NDCG with an ideal list that is cut at k,
NDCG with an ideal list of all relevant items, average precision divided by min(k, relevant items), reciprocal rank,
whether there is a hit.
$$;

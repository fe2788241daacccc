create or replace function recommend._resampled_means(gains vector[], resamples int, seed bigint)
returns table (resample int, means real[])
language plpgsql
stable
set search_path from current
set max_parallel_workers_per_gather to 0
set jit to off
as $$
declare
  v_people constant bigint := cardinality(gains);
begin
  return query
  with person as materialized (
    select entry.gains, entry.place
    from unnest(_resampled_means.gains) with ordinality as entry (gains, place)
  ),

  draw as (
    select
      resample.n as resample,
      1 + (
        hashint8extended(place.n, hashint8extended(resample.n, _resampled_means.seed)) & 9007199254740991
      ) % v_people as place
    from generate_series(1, _resampled_means.resamples) as resample (n)
    cross join generate_series(1, v_people) as place (n)
  )

  select draw.resample, avg(person.gains order by draw.place)::real[]
  from draw
  join person using (place)
  group by draw.resample;
end;
$$;

comment on function recommend._resampled_means(vector[], int, bigint) is $$
@behavior -*
Means of vectors, one per person, over bootstrap samples of the people.
All elements of the vectors are drawn together, so that models and metrics are compared on the same samples. The same
seed draws the same samples.
Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993.
$$;

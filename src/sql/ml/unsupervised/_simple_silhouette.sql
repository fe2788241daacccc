create or replace function ml._simple_silhouette(points text, fn_dist text, vectors text[])
returns float8
language plpgsql
set jit to off
as $$
declare
  v_silhouette float8;
begin
  execute format(
    $query$
    select avg(coalesce((distances[2] - distances[1]) / nullif(distances[2], 0), 0))
    from (
      select array(select distance from unnest(array[%s]) as distance order by distance limit 2) as distances
      from %s as point
      offset 0
    ) as measured
    $query$,
    ml._kmeans_distances(fn_dist, vectors), points
  ) into v_silhouette;
  return v_silhouette;
end;
$$;

comment on function ml._simple_silhouette(text, text, text[]) is $$
The mean of (b − a) / b over all points, with the distances a and b to the nearest and second nearest centroid.
$$;

grant execute on function ml._simple_silhouette(text, text, text[])
  to insights_analyst, insights_admin, insights_worker;

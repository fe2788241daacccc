/*
 * k-means++: the next seed is drawn with a chance in proportion to the distance from the nearest one, as the winner of
 * a race of exponentials.
 */
create or replace function ml._kmeans_start(points text, k int, fn_dist text, kept text, seed bigint, spread boolean)
returns text[]
language plpgsql
set jit to off
as $$
declare
  v_centroids text[];
  v_next text;
begin
  execute format(
    'select array[v::text] from %s as point order by hashint8extended(key, %s), key, point limit 1', points, seed
  ) into v_centroids;
  while cardinality(v_centroids) < k loop
    execute format(
      'select v::text from (
         select v, key, point,
           least(%s) as distance, ((hashint8extended(key, %s) >> 11) + 4503599627370496.5) / 9007199254740992.0 as lot
         from %s as point
         where %s offset 0
       ) as race
       where distance > 1e-30
       order by -ln(lot) / %s, point limit 1',
      ml._kmeans_distances(fn_dist, v_centroids), seed + cardinality(v_centroids), points, kept,
      case when spread then 'distance' else '1' end
    ) into v_next;
    if v_next is null then
      perform common.refuse('CF004', format('%s distinct points do not make %s clusters', cardinality(v_centroids), k),
        'Choose fewer clusters.');
    end if;
    v_centroids := v_centroids || v_next;
  end loop;
  return v_centroids;
end;
$$;

comment on function ml._kmeans_start(text, int, text, text, bigint, boolean) is $$
The first centroids of k-means, as text: k distinct points, far from each other by chance if `spread`.
`points` is the relation of ml._kmeans_points, `kept` a condition on its rows. Error CF004: fewer distinct points.
$$;

grant execute on function ml._kmeans_start(text, int, text, text, bigint, boolean)
  to insights_analyst, insights_admin, insights_worker;

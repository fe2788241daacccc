create or replace function ml._kmeans_settle(
  points text,
  fn_dist text,
  agg_centroid text,
  max_num_iterations int,
  min_frac_reassigned float8,
  kept text,
  inout centroids text[],
  out num_iterations int,
  out frac_reassigned float8,
  out objective_fn float8
)
language plpgsql
set jit to off
as $$
declare
  v_schema text := (
    select quote_ident(namespace.nspname)
    from pg_catalog.pg_extension as extension
    join pg_catalog.pg_namespace as namespace on namespace.oid = extension.extnamespace
    where extension.extname = 'vector'
  );
  v_assigned text;
  v_before text := 'null::int';
  v_row record;
  v_moved bigint;
  v_total bigint;
begin
  num_iterations := 0;
  loop
    v_assigned := format('array_position(array[%1$s], least(%1$s))', ml._kmeans_distances(fn_dist, centroids));
    exit when num_iterations >= max_num_iterations or frac_reassigned < min_frac_reassigned or frac_reassigned = 0;
    v_moved := 0;
    v_total := 0;
    -- One statement an iteration assigns all points, averages and counts: the centroids are constants in it.
    for v_row in execute format(
      'select cluster, %s as centroid, count(*) as row_count,
         count(*) filter (where cluster is distinct from before) as moved
       from (select v, %s as cluster, %s as before from %s as point where %s offset 0) as assigned
       where cluster is not null
       group by cluster',
      case when agg_centroid ~ 'normalized_avg$' then format('%1$s.l2_normalize(%1$s.avg(v))::text', v_schema)
        else format('%s.avg(v)::text', v_schema) end,
      v_assigned, v_before, points, kept
    ) loop
      centroids[v_row.cluster] := v_row.centroid;
      v_moved := v_moved + v_row.moved;
      v_total := v_total + v_row.row_count;
    end loop;
    v_before := v_assigned;
    num_iterations := num_iterations + 1;
    frac_reassigned := v_moved::float8 / nullif(v_total, 0);
  end loop;
  execute format('select sum(least(%s)) from %s as point where %s', ml._kmeans_distances(fn_dist, centroids), points,
    kept) into objective_fn;
end;
$$;

comment on function ml._kmeans_settle(text, text, text, int, float8, text, text[]) is $$
Lloyd's iterations of k-means from given centroids, until few points change their cluster.
`points` is the relation of ml._kmeans_points, `kept` a condition on its rows.
$$;

grant execute on function ml._kmeans_settle(text, text, text, int, float8, text, text[])
  to insights_analyst, insights_admin, insights_worker;

create or replace function ml.kmeanspp(
  rel_source text,
  expr_point text,
  k int,
  fn_dist text default 'squared_dist_norm2',
  agg_centroid text default 'avg',
  max_num_iterations int default 20,
  min_frac_reassigned float8 default 0.001,
  seeding_sample_ratio float8 default 1.0,
  seed bigint default 0,
  n_init int default 10
)
returns ml.kmeans_result
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_points text;
  v_result ml.kmeans_result;
begin
  v_points := ml._kmeans_points(common.relation(rel_source), expr_point, seed, fn_dist);
  select (run.result).* into v_result
  from ml._kmeans_run(v_points, k, fn_dist, agg_centroid, max_num_iterations, min_frac_reassigned,
    coalesce(seeding_sample_ratio, 0), seed, n_init) as run;
  if v_points = 'pg_temp._ml_point' then
    drop table pg_temp._ml_point;
  end if;
  return v_result;
end;
$$;

comment on function ml.kmeanspp(text, text, int, text, text, int, float8, float8, bigint, int) is $$
@behavior -*
k-means clustering with k-means++ seeds, in MADlib's arguments.
`expr_point` gives an array of numbers or a vector (of pgvector); `fn_dist` is `squared_dist_norm2`, `dist_norm2`,
`dist_norm1` or `dist_angle`; `agg_centroid` is `avg` or `normalized_avg`. It ends when less than
`min_frac_reassigned` of the points change cluster. Points and the seed decide, not the order of rows. `n_init` starts
are tried (on 20,000 points where there are more), and the one with the least objective is returned.
Returns `centroids` (k × dimension; fewer rows when a cluster loses all its points), `cluster_variance` (sum of
distances in each cluster), `objective_fn` (their sum), `frac_reassigned`, `num_iterations`.
Errors: CF001, CF002, CF004 (no points, fewer distinct points than clusters), CF005, CF007 (numbers too
large or too close), CF008 (over 16,000 dimensions).
Source: Arthur and Vassilvitskii, k-means++: the advantages of careful seeding, SODA 2007; Lloyd, Least squares
quantization in PCM, 1982.
$$;

grant execute on function ml.kmeanspp(text, text, int, text, text, int, float8, float8, bigint, int)
  to insights_analyst, insights_admin, insights_worker;

create or replace function ml.kmeans_random(
  rel_source text,
  expr_point text,
  k int,
  fn_dist text default 'squared_dist_norm2',
  agg_centroid text default 'avg',
  max_num_iterations int default 20,
  min_frac_reassigned float8 default 0.001,
  seed bigint default 0
)
returns ml.kmeans_result
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_result ml.kmeans_result;
begin
  perform ml._kmeans_points(common.relation(rel_source), expr_point, seed, fn_dist !~ 'angle');
  v_result := ml._kmeans_run(k, fn_dist, agg_centroid, max_num_iterations, min_frac_reassigned, null, seed);
  drop table pg_temp._ml_point, pg_temp._ml_assigned;
  return v_result;
end;
$$;

comment on function ml.kmeans_random(text, text, int, text, text, int, float8, bigint) is $$
@behavior -*
k-means clustering that starts from distinct random points, in MADlib's arguments.
As ml.kmeanspp, whose seeds are spread out and which therefore finds better clusters as a rule; errors as there.
$$;

grant execute on function ml.kmeans_random(text, text, int, text, text, int, float8, bigint)
to insights_analyst, insights_admin, insights_worker;

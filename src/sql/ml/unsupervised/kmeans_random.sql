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
  v_points text;
  v_result ml.kmeans_result;
begin
  v_points := ml._kmeans_points(common.relation(rel_source), expr_point, seed, fn_dist);
  select (run.result).* into v_result
  from ml._kmeans_run(v_points, k, fn_dist, agg_centroid, max_num_iterations, min_frac_reassigned,
    null, seed, 1) as run;
  if v_points = 'pg_temp._ml_point' then
    drop table pg_temp._ml_point;
  end if;
  return v_result;
end;
$$;

comment on function ml.kmeans_random(text, text, int, text, text, int, float8, bigint) is $$
@behavior -*
k-means clustering that starts from distinct random points, in MADlib's arguments.
One start. ml.kmeanspp, whose starts are spread out, finds better clusters as a rule; result and errors as there.
$$;

grant execute on function ml.kmeans_random(text, text, int, text, text, int, float8, bigint)
to insights_analyst, insights_admin, insights_worker;

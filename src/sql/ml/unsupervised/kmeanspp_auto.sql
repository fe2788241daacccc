create or replace function ml.kmeanspp_auto(
  rel_source text,
  output_table text,
  expr_point text,
  k int[],
  fn_dist text default 'squared_dist_norm2',
  agg_centroid text default 'avg',
  max_num_iterations int default 20,
  min_frac_reassigned float8 default 0.001,
  seeding_sample_ratio float8 default 1.0,
  k_selection_algorithm text default 'silhouette',
  seed bigint default 0,
  n_init int default 10
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_relation regclass := common.relation(rel_source);
  v_output text := common.output_table(output_table, array['_summary']);
  v_ks int[] := array(select distinct tried from unnest(kmeanspp_auto.k) as tried order by tried);
  v_k int;
  v_points text;
  v_run record;
  v_silhouette float8;
  v_simple float8;
begin
  if coalesce(cardinality(v_ks), 0) < 2 or array_position(v_ks, null) is not null or v_ks[1] < 2 then
    perform common.refuse('CF001', format('k %s', coalesce(kmeanspp_auto.k::text, 'null')),
      'Give two or more numbers of clusters to compare, each at least 2.');
  elsif k_selection_algorithm is null or k_selection_algorithm not
    in ('silhouette', 'simple_silhouette', 'elbow', 'both') then
    perform common.refuse(
      'CF001',
      format('there is no selection "%s"', coalesce(left(k_selection_algorithm, 100), 'null')),
      'Choose silhouette, simple_silhouette, elbow or both.'
    );
  end if;
  v_points := ml._kmeans_points(v_relation, expr_point, seed, fn_dist);
  execute format(
    'create table %s (k int, centroids float8[], cluster_variance float8[], objective_fn float8,
        frac_reassigned float8, num_iterations int, silhouette float8, simple_silhouette float8, elbow float8,
        selection_algorithm text)',
    v_output
  );
  foreach v_k in array v_ks loop
    select run.result, run.vectors into v_run
    from ml._kmeans_run(v_points, v_k, fn_dist, agg_centroid, max_num_iterations, min_frac_reassigned,
      coalesce(seeding_sample_ratio, 0), seed, n_init) as run;
    v_silhouette := ml._silhouette(v_points, fn_dist, v_run.vectors, seed);
    v_simple := ml._simple_silhouette(v_points, fn_dist, v_run.vectors);
    execute format('insert into %s (k, centroids, cluster_variance, objective_fn, frac_reassigned, num_iterations,
        silhouette, simple_silhouette) select $1, ($2).*, $3, $4', v_output)
    using v_k, v_run.result, v_silhouette, v_simple;
  end loop;
  drop table pg_temp._ml_point;
  -- The elbow: where the objective bends most, its second difference over uneven steps of k.
  execute format(
    $query$
    update %1$s as tried
    set elbow = bend.elbow
    from (
      select k, (lag(objective_fn) over w - objective_fn) / (k - lag(k) over w) - (
        objective_fn - lead(objective_fn) over w) / (lead(k) over w - k) as elbow
      from %1$s
      window w as (order by k)
    ) as bend
    where bend.k = tried.k
    $query$,
    v_output
  );
  execute format(
    $query$
    update %1$s
    set selection_algorithm = case
      when k = (select k from %1$s order by silhouette desc nulls last, k limit 1)
        and %2$L in ('silhouette', 'both') then 'silhouette'
      when k = (select k from %1$s order by simple_silhouette desc, k limit 1)
        and %2$L = 'simple_silhouette' then 'simple_silhouette'
      when k = (select k from %1$s order by elbow desc nulls last, k limit 1) and %2$L in ('elbow', 'both') then 'elbow'
    end
    $query$,
    v_output, k_selection_algorithm
  );
  execute format('create table %s as select * from %s where selection_algorithm is not null
      order by selection_algorithm desc limit 1', common.companion_table(v_output, '_summary'), v_output);
end;
$$;

comment on function ml.kmeanspp_auto(text, text, text, int[], text, text, int, float8, float8, text, bigint,
  int) is $$
@behavior -*
k-means for several numbers of clusters, and the number that serves best, in MADlib's arguments.
`k_selection_algorithm`: `silhouette` (highest mean of (b − a) / max(a, b), with a the mean distance of a point to the
others of its cluster and b to those of the nearest other one, as scikit-learn's silhouette_score; of up to 2,000
points), `simple_silhouette` (the same with the distances to the nearest and second nearest centroid, as in MADlib),
`elbow` (where the objective bends most) or `both` (silhouette and elbow).
Writes `output_table`, one row per k: `k`, what ml.kmeanspp returns, `silhouette`, `simple_silhouette`, `elbow` (null at
both ends),
`selection_algorithm` (at the chosen k: what chose it); and `<output_table>_summary` with the chosen row
(silhouette's, when both are asked for). Errors: those of ml.kmeanspp, CF003 (a table exists).
$$;

grant execute on function ml.kmeanspp_auto(text, text, text, int[], text, text, int, float8, float8, text,
  bigint, int) to insights_analyst, insights_admin, insights_worker;

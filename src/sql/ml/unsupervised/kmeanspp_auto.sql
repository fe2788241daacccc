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
  seed bigint default 0
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
  v_result ml.kmeans_result;
  v_silhouette float8;
begin
  if coalesce(cardinality(v_ks), 0) < 2 or array_position(v_ks, null) is not null or v_ks[1] < 2 then
    perform common.refuse('CF001', format('k %s', coalesce(kmeanspp_auto.k::text, 'null')),
      'Give two or more numbers of clusters to compare, each at least 2.');
  elsif k_selection_algorithm is null or k_selection_algorithm not in ('silhouette', 'elbow', 'both') then
    perform common.refuse(
      'CF001',
      format('there is no selection "%s"', coalesce(left(k_selection_algorithm, 100), 'null')),
      'Choose silhouette, elbow or both.'
    );
  end if;
  perform ml._kmeans_points(v_relation, expr_point, seed, fn_dist !~ 'angle');
  execute format(
    'create table %s (k int, centroids float8[], cluster_variance float8[], objective_fn float8,
        frac_reassigned float8, num_iterations int, silhouette float8, elbow float8, selection_algorithm text)',
    v_output
  );
  foreach v_k in array v_ks loop
    v_result := ml._kmeans_run(v_k, fn_dist, agg_centroid, max_num_iterations, min_frac_reassigned,
      coalesce(seeding_sample_ratio, 0), seed);
    select avg(case when greatest(second, nearest) > 0 then (second - nearest) / greatest(second, nearest) else 0 end)
      into v_silhouette from pg_temp._ml_assigned;
    execute format('insert
        into %s (k, centroids, cluster_variance, objective_fn, frac_reassigned, num_iterations, silhouette) values ($1,
          $2, $3, $4, $5, $6, $7)', v_output)
    using v_k, v_result.centroids, v_result.cluster_variance, v_result.objective_fn, v_result.frac_reassigned,
      v_result.num_iterations, v_silhouette;
  end loop;
  drop table pg_temp._ml_point, pg_temp._ml_assigned;
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
      when k = (select k from %1$s order by silhouette desc, k limit 1)
        and %2$L in ('silhouette', 'both') then 'silhouette'
      when k = (select k from %1$s order by elbow desc nulls last, k limit 1) and %2$L in ('elbow', 'both') then 'elbow'
    end
    $query$,
    v_output, k_selection_algorithm
  );
  execute format('create table %s as select * from %s where selection_algorithm is not null
      order by selection_algorithm desc limit 1', common.companion_table(v_output, '_summary'), v_output);
end;
$$;

comment on function ml.kmeanspp_auto(text, text, text, int[], text, text, int, float8, float8, text, bigint) is $$
@behavior -*
k-means for several numbers of clusters, and the number that serves best, in MADlib's arguments.
`k_selection_algorithm`: `silhouette` (highest mean of (b − a) / max(a, b) over the points, with a and b the distances
to the nearest and second nearest centroid), `elbow` (where the objective bends most) or `both`.
Writes `output_table`, one row per k: `k`, what ml.kmeanspp returns, `silhouette`, `elbow` (null at both ends),
`selection_algorithm` (at the chosen k: what chose it); and `<output_table>_summary` with the chosen row
(silhouette's, when both are asked for). Errors: those of ml.kmeanspp, CF003 (a table exists).
$$;

grant execute on function ml.kmeanspp_auto(text, text, text, int[], text, text, int, float8, float8, text,
  bigint) to insights_admin, insights_worker;

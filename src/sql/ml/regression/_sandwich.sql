/*
 * Standard errors that are valid when the variance differs between rows (Huber and White) or the rows of a cluster are
 * correlated: the product bread, meat, bread. Both matrices are computed in one more scan at the fitted coefficients.
 */
create or replace function ml._sandwich_statement(
  settled ml.design,
  family text,
  link text,
  fits ml.fit[],
  hc text,
  breads float8[]
)
returns text
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_source text := ml._glm_source(settled, family, link, null, fits);
  v_clustered constant boolean := settled.clusters is not null;
  v_terms constant text[] := array(
    select case when place = settled.intercept then '' else ' * d' || place end
    from unnest(ml._unknowns(settled)) with ordinality as list (place, nth)
    order by nth
  );
  v_size constant integer := cardinality(v_terms);
  v_head constant text := 'nth::text as key, true as complete, count(*) as row_count';
  v_squared text := 'score * score';
  v_bread text[];
  v_meat text[];
begin
  if breads is not null then
    -- The leverage of a row is its entry of the hat matrix: w d' B d.
    v_source := format(
      $statement$
      (
        select *, score * score / power(greatest(1 - leverage, 1e-12), %s) as squared
        from (select *, weight * (%s) as leverage from %s offset 0) as measured
      ) as weighed
      $statement$,
      case hc when 'HC2' then 1 else 2 end,
      (
        select string_agg(format('%s(%L::float8[])[nth][%s][%s]%s%s', case when i < j then '2 * ' else '' end,
          breads, i, j, v_terms[i], v_terms[j]), ' + ' order by i, j)
        from generate_series(1, v_size) as i
        cross join generate_series(1, v_size) as j
        where j >= i
      ),
      v_source
    );
    v_squared := 'squared';
  end if;
  select
    array_agg(format('sum(weight%s%s)', v_terms[i], v_terms[j]) order by i, j),
    array_agg(
      case
        when v_clustered then format('sum(s%s * s%s)', i, j)
        else format('sum(%s%s%s)', v_squared, v_terms[i], v_terms[j])
      end
      order by i, j
    )
  into v_bread, v_meat
  from generate_series(1, v_size) as i
  cross join generate_series(1, v_size) as j
  where j >= i;
  if not v_clustered then
    return ml._sums_statement(v_head, v_bread || v_meat, format('from %s group by nth', v_source));
  end if;
  return format(
    $statement$
    select meat.key, true, meat.row_count, bread.sums || meat.sums
    from (%s) as bread (key, complete, row_count, sums)
    join (%s) as meat (key, complete, row_count, sums) using (key)
    $statement$,
    ml._sums_statement(v_head, v_bread, format('from %s group by nth', v_source)),
    ml._sums_statement(
      v_head,
      v_meat,
      format(
        'from (select nth, %s from %s group by nth, cluster) as clustered group by nth',
        (
          select string_agg(format('sum(score%s) as s%s', term, nth), ', ' order by nth)
          from unnest(v_terms) with ordinality as list (term, nth)
        ),
        v_source
      )
    )
  );
end;
$$;

comment on function ml._sandwich_statement(ml.design, text, text, ml.fit[], text, float8[]) is $$
Returns the text of the statement that computes bread and meat by group at the fitted coefficients.
Its sums are the upper triangles of the information and of the squared scores, or of the squared cluster totals when the
design has clusters; its count is the number of rows or of clusters. With `breads`, the inverse of the information of
each group, each squared score is divided by 1 - leverage (HC2) or its square (HC3).
$$;

create or replace function ml._sandwich_covariance(sums float8[], size integer)
returns float8[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_bread float8[] := (ml._scaled_inverse(ml._symmetric_matrix(sums, size), 1e-14)).inverse;
  v_meat float8[] := ml._symmetric_matrix(sums[size * (size + 1) / 2 + 1:], size);
  v_half float8[] := array_fill(0::float8, array[size, size]);
  v_covariance float8[] := v_half;
  v_value float8;
begin
  for i in 1..size loop
    for j in 1..size loop
      v_value := 0;
      for m in 1..size loop
        v_value := v_value + v_bread[i][m] * v_meat[m][j];
      end loop;
      v_half[i][j] := v_value;
    end loop;
  end loop;
  for i in 1..size loop
    for j in 1..size loop
      v_value := 0;
      for m in 1..size loop
        v_value := v_value + v_half[i][m] * v_bread[m][j];
      end loop;
      v_covariance[i][j] := v_value;
    end loop;
  end loop;
  return v_covariance;
end;
$$;

comment on function ml._sandwich_covariance(float8[], integer) is $$
Returns the product B M B, where B is the inverse of the information and M the meat, from the sums of one group.
$$;

create or replace function ml._sandwich(
  method text,
  source_table text,
  out_table text,
  dependent_varname text,
  independent_varname text,
  clustervar text,
  grouping_cols text,
  max_iter integer,
  tolerance float8,
  hc text default 'HC0',
  weights text default null,
  offsets text default null
)
returns void
language plpgsql
set extra_float_digits to 1
as $$
declare
  v_linear constant boolean := method like '%linregr';
  v_family constant text := case when v_linear then 'gaussian' else 'binomial' end;
  v_link constant text := case when v_linear then 'identity' else 'logit' end;
  v_clustered constant boolean := method like 'clustered%';
  v_output text := common.output_table(out_table, array['_summary']);
  v_design ml.design;
  v_settled ml.design;
  v_clusters text[];
  v_unknowns integer[];
  v_size integer;
  v_fitted record;
  v_good ml.fit[];
  v_fit ml.fit;
  v_fits ml.fit[];
  v_part record;
  v_degrees float8;
  v_statement text;
  v_hc constant text := upper(hc);
  v_breads float8[];
begin
  perform ml._check_iteration(max_iter, tolerance);
  if v_hc is null or v_hc not in ('HC0', 'HC1', 'HC2', 'HC3') then
    perform common.refuse('CF001', format('there is no correction "%s"', coalesce(left(hc, 100), 'null')),
      'Choose HC0, HC1, HC2 or HC3.');
  end if;
  v_design := ml._design(
    source_table,
    case when v_linear then ml._less_offsets(dependent_varname, offsets, source_table) else dependent_varname end,
    independent_varname,
    grouping_cols,
    weights,
    case when not v_linear then offsets end
  );
  if v_clustered then
    if nullif(btrim(clustervar), '') is null then
      perform common.refuse('CF001', 'no cluster column is named',
        'Name the columns whose values identify a cluster, such as ''course_id''.');
    end if;
    v_clusters := common.column_names(v_design.relation, clustervar, 'cluster columns');
  end if;
  v_fitted := ml._glm_fits(v_design, v_family, v_link, max_iter, tolerance);
  perform ml._check_fits(v_fitted.fits, v_design);
  v_settled := v_fitted.settled;
  v_settled.clusters := v_clusters;
  v_unknowns := ml._unknowns(v_settled);
  v_size := cardinality(v_unknowns);
  v_good := array(select fit from unnest(v_fitted.fits) as fit where fit.failure is null);
  v_fits := array(select fit from unnest(v_fitted.fits) as fit where fit.failure is not null);

  v_statement := ml._sandwich_statement(v_settled, v_family, v_link, v_good, v_hc, null);
  if v_hc in ('HC2', 'HC3') then
    v_breads := array(
      select (ml._scaled_inverse(ml._symmetric_matrix(part.sums, v_size), 1e-14)).inverse
      from ml._sums(v_statement, v_design.relation) as part
      order by part.key::int
    );
    v_statement := ml._sandwich_statement(v_settled, v_family, v_link, v_good, v_hc, v_breads);
  end if;
  for v_part in
    select part.key::int as nth, part.row_count as cluster_count, part.sums
    from ml._sums(v_statement, v_design.relation) as part
  loop
    v_fit := v_good[v_part.nth];
    v_degrees := nullif(v_fit.row_count - v_design.width, 0);
    v_fit.covariance := (
      ml._unscaled(
        v_fit.beta,
        ml._spread(ml._sandwich_covariance(v_part.sums, v_size), v_unknowns, v_design.width),
        v_settled,
        v_settled.intercept,
        v_settled.intercept_value
      )
    ).vcov;
    if v_hc = 'HC1' then
      v_fit.covariance := ml._scaled(v_fit.covariance, v_fit.row_count / v_degrees);
    end if;
    if v_clustered then
      if v_part.cluster_count < 2 then
        perform ml._fit_failed(format('%s rows for at least 2 clusters', v_part.cluster_count), v_design.source);
      end if;
      v_fit.cluster_count := v_part.cluster_count;
      v_fit.covariance := ml._scaled(v_fit.covariance,
        v_part.cluster_count / (v_part.cluster_count - 1.0) * (v_fit.row_count - 1) / v_degrees);
    end if;
    v_fits := v_fits || ml._tested(v_fit, case when v_linear then v_degrees end);
  end loop;

  perform ml._publish(
    v_output, v_design, v_fits,
    format(
      'coef, std_err, stats as %s, p_values, covariance as variance_covariance, %srow_count as num_rows_processed, '
        || 'skipped as num_missing_rows_skipped, failure',
      case when v_linear then 't_stats' else 'z_stats' end,
      case when v_clustered then 'cluster_count as num_clusters, ' else '' end
    ),
    format(
      $list$
      %L::text as method, %L::text as source_table, %L::text as out_table, %L::text as dependent_varname,
      %L::text as independent_varname, %L::text as clustervar, %L::text as grouping_cols,
      row_count as num_rows_processed, skipped as num_missing_rows_skipped, group_count as num_all_groups,
      failed_count as num_failed_groups, %L::text as weights, %L::text as offsets
      $list$,
      method, source_table, out_table, dependent_varname, independent_varname, clustervar, grouping_cols, weights,
      offsets
    )
  );
end;
$$;

comment on function ml._sandwich(text, text, text, text, text, text, text, integer, float8, text, text, text) is $$
Fits a model and writes its coefficients with sandwich standard errors.
The covariance is B M B, where B is the inverse of the information and M the sum of squared scores (HC0; HC1 times
n / (n - k); HC2 and HC3 divide each by 1 - leverage or its square) or the sum of squared cluster
totals times m / (m - 1) (n - 1) / (n - k).
$$;

grant execute on function
  ml._sandwich_statement(ml.design, text, text, ml.fit[], text, float8[]),
  ml._sandwich_covariance(float8[], integer),
  ml._sandwich(text, text, text, text, text, text, text, integer, float8, text, text, text)
to insights_analyst, insights_admin, insights_worker;

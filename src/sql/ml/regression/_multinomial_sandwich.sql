create or replace function ml._multinomial_meat(settled ml.design, categories integer[], fits ml.fit[])
returns text
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_clustered constant boolean := settled.clusters is not null;
  -- the products of scores and columns, by category, then by column
  v_terms constant text[] := array(
    select format('s%s%s', c, case when place = settled.intercept then '' else ' * d' || place end)
    from generate_subscripts(categories, 1) as c
    cross join unnest(ml._unknowns(settled)) with ordinality as list (place, nth)
    order by c, nth
  );
  v_source text;
begin
  v_source := format('(%s) as seventh', ml._layer(
    format('nth%s, %s', case when v_clustered then ', cluster' else '' end, (
      select string_agg(format('%s as t%s', term, nth), ', ' order by nth)
      from unnest(v_terms) with ordinality as list (term, nth)
    )),
    ml._multinomial_source(settled, categories, fits)
  ));
  if v_clustered then
    v_source := format('(select nth, %s from %s group by nth, cluster) as clustered', (
      select string_agg(format('sum(t%s) as t%s', nth, nth), ', ' order by nth)
      from generate_subscripts(v_terms, 1) as nth
    ), v_source);
  end if;
  return format(
    'select nth::text, true, count(*), array[%s] from %s group by nth',
    (
      select string_agg(format('sum(t%s * t%s)', i, j), ', ' order by i, j)
      from generate_subscripts(v_terms, 1) as i
      cross join generate_subscripts(v_terms, 1) as j
      where j >= i
    ),
    v_source
  );
end;
$$;

comment on function ml._multinomial_meat(ml.design, integer[], ml.fit[]) is $$
Returns the text of the statement that sums the products of the scores of a multinomial model by group.
Its sums are the upper triangle, by category, then by column; its count is the number of rows, or of clusters when the
design has them.
$$;

create or replace function ml._multinomial_sandwich(
  method text,
  source_table text,
  out_table text,
  dependent_varname text,
  independent_varname text,
  clustervar text,
  ref_category integer,
  grouping_cols text,
  optimizer_params text
)
returns void
language plpgsql
set extra_float_digits to 1
as $$
declare
  v_output constant text := common.output_table(out_table, array['_summary']);
  v_options constant jsonb := ml._options(
    optimizer_params,
    '{max_iter, max_num_iterations, optimizer, precision, tolerance}',
    'optimizer_params'
  );
  v_max_iter constant integer := ml._number(
    v_options, case when v_options ? 'max_iter' then 'max_iter' else 'max_num_iterations' end, 20, 1, 100000
  );
  v_tolerance constant float8 := ml._number(
    v_options, case when v_options ? 'precision' then 'precision' else 'tolerance' end, 1e-4, 0, 1
  );
  v_ref_category constant integer := coalesce(ref_category, 0);
  v_clustered constant boolean := method like 'clustered%';
  v_design ml.design;
  v_settled ml.design;
  v_fitted record;
  v_categories integer[];
  v_count integer;
  v_good ml.fit[];
  v_fit ml.fit;
  v_fits ml.fit[];
  v_part record;
  v_covariance float8[];
begin
  if lower(coalesce(v_options ->> 'optimizer', 'irls')) not in ('irls', 'newton') then
    perform common.refuse('CF001', format('there is no optimizer "%s"', left(v_options ->> 'optimizer', 100)),
      'Use irls (the same as newton).');
  end if;
  v_design := ml._design(source_table, dependent_varname, independent_varname, grouping_cols);
  v_fitted := ml._multinomial_fits(v_design, v_ref_category, v_max_iter, v_tolerance);
  perform ml._check_fits(v_fitted.fits, v_design);
  v_settled := v_fitted.settled;
  v_categories := v_fitted.categories;
  v_count := cardinality(v_categories);
  if v_clustered then
    if nullif(btrim(clustervar), '') is null then
      perform common.refuse('CF001', 'no cluster column is named',
        'Name the columns whose values identify a cluster, such as ''course_id''.');
    end if;
    v_settled.clusters := common.column_names(v_design.relation, clustervar, 'cluster columns');
  end if;
  v_good := array(select fit from unnest(v_fitted.fits) as fit where fit.failure is null);
  v_fits := array(select fit from unnest(v_fitted.fits) as fit where fit.failure is not null);

  for v_part in
    select part.key::int as nth, part.row_count as cluster_count, part.sums
    from ml._sums(ml._multinomial_meat(v_settled, v_categories, v_good), v_design.relation) as part
  loop
    v_fit := v_good[v_part.nth];
    v_covariance := ml._multinomial_covariance(
      ml._float8_product(
        ml._float8_product(v_fit.inverse, ml._symmetric_matrix(v_part.sums, array_length(v_fit.inverse, 1))),
        v_fit.inverse
      ),
      v_settled,
      v_count
    );
    if v_clustered then
      if v_part.cluster_count < 2 then
        perform ml._fit_failed(format('%s rows for at least 2 clusters', v_part.cluster_count), v_design.source);
      end if;
      v_fit.cluster_count := v_part.cluster_count;
      v_covariance := ml._scaled(v_covariance, v_part.cluster_count / (v_part.cluster_count - 1.0)
        * (v_fit.row_count - 1)::float8 / nullif(v_fit.row_count - v_design.width * v_count, 0));
    end if;
    v_fits := v_fits || array(
      select fit from ml._multinomial_estimates(v_settled, v_categories, v_fit, v_covariance) as fit
    );
  end loop;

  perform ml._publish(
    v_output, v_design, v_fits,
    format(
      'category, %L::integer as ref_category, coef, std_err, stats as z_stats, p_values, %srow_count as '
        || 'num_rows_processed, skipped as num_missing_rows_skipped, failure',
      v_ref_category,
      case when v_clustered then 'cluster_count as num_clusters, ' else '' end
    ),
    format(
      $list$
      %L::text as method, %L::text as source_table, %L::text as out_table, %L::text as dependent_varname,
      %L::text as independent_varname, %L::text as clustervar, %L::integer as ref_category,
      %L::text as grouping_cols, row_count as num_rows_processed, skipped as num_missing_rows_skipped,
      group_count as num_all_groups, failed_count as num_failed_groups
      $list$,
      method, source_table, out_table, dependent_varname, independent_varname, clustervar, v_ref_category,
      grouping_cols
    )
  );
end;
$$;

comment on function ml._multinomial_sandwich(text, text, text, text, text, text, integer, text, text) is $$
Fits a multinomial logistic regression and writes its coefficients with sandwich standard errors.
The covariance is B M B, where B is the inverse of the information and M the sum of squared scores (HC0), or that of
squared cluster totals times m / (m - 1) (n - 1) / (n - k).
$$;

grant execute on function
  ml._multinomial_meat(ml.design, integer[], ml.fit[]),
  ml._multinomial_sandwich(text, text, text, text, text, text, integer, text, text)
to insights_analyst, insights_admin, insights_worker;

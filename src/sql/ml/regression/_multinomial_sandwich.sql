create or replace function ml._multinomial_meat(
  design jsonb,
  categories integer[],
  keys text[],
  beta float8[],
  variables integer[]
)
returns text
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_count constant integer := cardinality(categories);
  v_size constant integer := cardinality(variables);
  v_clustered constant boolean := design ? 'clusters';
  v_columns constant text := (
    select coalesce(string_agg(', d' || variable, '' order by nth), '')
    from unnest(variables) with ordinality as list (variable, nth)
    where variable > 0
  ) || case when v_clustered then ', cluster' else '' end;
  -- the coefficient of variable 2 for the third category is b3002
  v_coefficients constant integer[] := array(
    select 1000 * c + variable
    from generate_series(1, v_count) as c
    cross join unnest(variables) with ordinality as list (variable, nth)
    order by c, nth
  );
  v_source text;
begin
  v_source := format('(%s) as first', ml._layer(
    format('fit.nth, row.y%s, %s', replace(v_columns, ', ', ', row.'), (
      select string_agg(format('%s as eta%s', (
        select string_agg(
          format(
            case when variable = 0 then 'fit.b%1$s' else 'fit.b%1$s * row.d%2$s' end,
            1000 * c + variable,
            variable
          ),
          ' + ' order by nth
        )
        from unnest(variables) with ordinality as list (variable, nth)
      ), c), ', ' order by c)
      from generate_series(1, v_count) as c
    )),
    format(
      '(select * from (%s) as row where complete) as row %s',
      ml._rows(design),
      ml._model_of_group(design, keys, beta, v_coefficients)
    )
  ));
  -- the largest is subtracted before exp, so that nothing overflows
  v_source := format('(%s) as second', ml._layer(
    format('*, greatest(0, %s) as top', (
      select string_agg('eta' || c, ', ' order by c) from generate_series(1, v_count) as c
    )),
    v_source
  ));
  v_source := format('(%s) as third', ml._layer(
    format(
      'nth, y%s, exp(greatest(-top, -200)) as e0, %s',
      v_columns,
      (
        select string_agg(format('exp(greatest(eta%s - top, -200)) as e%s', c, c), ', ' order by c)
        from generate_series(1, v_count) as c
      )
    ),
    v_source
  ));
  v_source := format('(%s) as fourth', ml._layer(
    format(
      'nth%s, %s',
      v_columns,
      (
        select string_agg(
          format('(y = %s)::int - e%s / (e0 + %s) as s%s', category, c, (
            select string_agg('e' || other, ' + ' order by other) from generate_series(1, v_count) as other
          ), c),
          ', ' order by c
        )
        from unnest(categories) with ordinality as list (category, c)
      )
    ),
    v_source
  ));
  v_source := format('(%s) as fifth', ml._layer(
    format('nth%s, %s', case when v_clustered then ', cluster' else '' end, (
      select string_agg(
        format('s%s%s as t%s', c, case when variable = 0 then '' else ' * d' || variable end, (c - 1) * v_size + place),
        ', ' order by c, place
      )
      from generate_series(1, v_count) as c
      cross join unnest(variables) with ordinality as list (variable, place)
    )),
    v_source
  ));
  if v_clustered then
    v_source := format('(select nth, %s from %s group by nth, cluster) as clustered', (
      select string_agg(format('sum(t%s) as t%s', place, place), ', ' order by place)
      from generate_series(1, v_count * v_size) as place
    ), v_source);
  end if;
  return format(
    'select nth::text, true, count(*), array[%s] from %s group by nth',
    (
      select string_agg(format('sum(t%s * t%s)', i, j), ', ' order by i, j)
      from generate_series(1, v_count * v_size) as i
      cross join generate_series(1, v_count * v_size) as j
      where j >= i
    ),
    v_source
  );
end;
$$;

comment on function ml._multinomial_meat(jsonb, integer[], text[], float8[], integer[]) is $$
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
  v_design jsonb;
  v_settled jsonb;
  v_categories integer[];
  v_variables integer[];
  v_place integer[];
  v_width integer;
  v_intercept integer;
  v_size integer;
  v_count integer;
  v_all integer;
  v_fit record;
  v_part record;
  v_keys text[] := '{}';
  v_beta float8[] := '{}';
  v_fits jsonb := '{}';
  v_bread float8[];
  v_meat float8[];
  v_covariance float8[];
  v_block float8[];
  v_coef float8[];
  v_wald record;
  v_groups bigint := 0;
  v_failed bigint := 0;
  v_rows bigint := 0;
  v_skipped bigint := 0;
  v_failure text;
  v_result jsonb[] := '{}';
begin
  if lower(coalesce(v_options ->> 'optimizer', 'irls')) not in ('irls', 'newton') then
    perform common.refuse('CF001', format('there is no optimizer "%s"', left(v_options ->> 'optimizer', 100)),
      'Use irls (the same as newton).');
  end if;
  v_design := ml._design(source_table, dependent_varname, independent_varname, grouping_cols);
  v_width := (v_design ->> 'width')::int;
  for v_fit in
    select * from ml._multinomial_fits(v_design, coalesce(ref_category, 0), v_max_iter, v_tolerance)
  loop
    v_groups := v_groups + 1;
    v_rows := v_rows + v_fit.row_count;
    v_skipped := v_skipped + v_fit.skipped;
    if v_fit.failure is not null then
      v_failure := coalesce(v_failure, v_fit.failure);
      v_failed := v_failed + 1;
      v_result := v_result || jsonb_build_object(
        'key', v_fit.key,
        'ref_category', coalesce(ref_category, 0),
        'num_rows_processed', v_fit.row_count,
        'num_missing_rows_skipped', v_fit.skipped,
        'failure', v_fit.failure
      );
      continue;
    end if;
    v_settled := v_fit.settled;
    v_categories := v_fit.categories;
    v_keys := v_keys || v_fit.key;
    v_beta := v_beta || v_fit.beta;
    v_fits := v_fits || jsonb_build_object(cardinality(v_keys)::text, jsonb_build_object(
      'key', v_fit.key,
      'beta', to_jsonb(v_fit.beta),
      'inverse', to_jsonb(v_fit.inverse),
      'row_count', v_fit.row_count,
      'skipped', v_fit.skipped
    ));
  end loop;
  if v_keys = '{}' then
    perform ml._fit_failed(v_failure, v_design ->> 'relation');
  end if;
  v_count := cardinality(v_categories);
  v_variables := ml._variables(v_settled);
  v_size := cardinality(v_variables);
  v_all := v_count * v_size;
  v_intercept := (v_settled ->> 'intercept')::int;
  v_place := array(
    select case when variable = 0 then v_intercept else variable end
    from unnest(v_variables) with ordinality as list (variable, nth)
    order by nth
  );
  if method like 'clustered%' then
    if nullif(btrim(clustervar), '') is null then
      perform common.refuse('CF001', 'no cluster column is named',
        'Name the columns whose values identify a cluster, such as ''course_id''.');
    end if;
    v_settled := v_settled || jsonb_build_object(
      'clusters',
      to_jsonb(common.column_names((v_design ->> 'relation')::regclass, clustervar, 'cluster columns'))
    );
  end if;

  for v_part in
    select part.row_count as clusters, part.sums, v_fits -> part.key as fit
    from ml._sums(
      ml._multinomial_meat(v_settled, v_categories, v_keys, v_beta, v_variables),
      (v_design ->> 'relation')::regclass
    ) as part
  loop
    v_bread := translate(v_part.fit ->> 'inverse', '[]', '{}')::float8[];
    v_meat := ml._symmetric_matrix(v_part.sums, v_all);
    v_covariance := ml._multinomial_covariance(
      ml._float8_product(ml._float8_product(v_bread, v_meat), v_bread), v_settled, v_count
    );
    if v_settled ? 'clusters' then
      if v_part.clusters < 2 then
        perform ml._fit_failed(format('%s rows for at least 2 clusters', v_part.clusters), v_design ->> 'relation');
      end if;
      v_covariance := ml._scaled(v_covariance, v_part.clusters / (v_part.clusters - 1.0)
        * ((v_part.fit ->> 'row_count')::float8 - 1)
        / nullif((v_part.fit ->> 'row_count')::float8 - v_width * v_count, 0));
    end if;
    for a in 1..v_count loop
      v_coef := array_fill(0::float8, array[v_width]);
      v_block := array_fill(0::float8, array[v_width, v_width]);
      for i in 1..v_size loop
        v_coef[v_place[i]] := v_part.fit -> 'beta' -> (a - 1) * v_size + i - 1;
      end loop;
      v_coef := (
        ml._unscaled(v_coef, null, v_settled, v_intercept, (v_settled ->> 'intercept_value')::float8)
      ).coef;
      for i in 1..v_width loop
        v_block[i][i] := v_covariance[(i - 1) * v_count + a][(i - 1) * v_count + a];
      end loop;
      v_wald := ml._wald(v_coef, v_block, null);
      v_result := v_result || jsonb_build_object(
        'key', v_part.fit ->> 'key',
        'category', v_categories[a],
        'ref_category', coalesce(ref_category, 0),
        'coef', to_jsonb(v_coef),
        'std_err', to_jsonb(v_wald.std_err),
        'z_stats', to_jsonb(v_wald.stats),
        'p_values', to_jsonb(v_wald.p_values),
        'num_clusters', case when v_settled ? 'clusters' then v_part.clusters end,
        'num_rows_processed', v_part.fit -> 'row_count',
        'num_missing_rows_skipped', v_part.fit -> 'skipped'
      );
    end loop;
  end loop;

  perform ml._publish(
    v_output, v_design,
    'category integer, ref_category integer, coef float8[], std_err float8[], z_stats float8[], p_values float8[], '
      || case when v_settled ? 'clusters' then 'num_clusters bigint, ' else '' end
      || 'num_rows_processed bigint, num_missing_rows_skipped bigint, failure text',
    to_jsonb(v_result),
    jsonb_build_object(
      'method', method,
      'source_table', source_table,
      'out_table', out_table,
      'dependent_varname', dependent_varname,
      'independent_varname', independent_varname,
      'clustervar', clustervar,
      'ref_category', coalesce(ref_category, 0),
      'grouping_cols', grouping_cols,
      'num_rows_processed', v_rows,
      'num_missing_rows_skipped', v_skipped,
      'num_all_groups', v_groups,
      'num_failed_groups', v_failed
    ),
    'method text, source_table text, out_table text, dependent_varname text, independent_varname text, '
      || 'clustervar text, ref_category integer, grouping_cols text, num_rows_processed bigint, '
      || 'num_missing_rows_skipped bigint, num_all_groups bigint, num_failed_groups bigint'
  );
end;
$$;

comment on function ml._multinomial_sandwich(text, text, text, text, text, text, integer, text, text) is $$
Fits a multinomial logistic regression and writes its coefficients with sandwich standard errors.
The covariance is B M B, where B is the inverse of the information and M the sum of squared scores (HC0), or that of
squared cluster totals times m / (m - 1) (n - 1) / (n - k).
$$;

grant execute on function
  ml._multinomial_meat(jsonb, integer[], text[], float8[], integer[]),
  ml._multinomial_sandwich(text, text, text, text, text, text, integer, text, text)
to insights_analyst, insights_admin, insights_worker;

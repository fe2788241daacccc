/*
 * Standard errors that are valid when the variance differs between rows (Huber and White) or the rows of a cluster are
 * correlated: the product bread, meat, bread. Both matrices are computed in one more scan at the fitted coefficients.
 */
create or replace function ml._sandwich_statement(
  settled jsonb,
  family text,
  link text,
  keys text[],
  beta float8[],
  variables integer[],
  hc text,
  breads float8[]
)
returns text
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_source text := ml._glm_source(settled, family, link, null, keys, beta, variables);
  v_clustered constant boolean := settled ? 'clusters';
  v_size constant integer := cardinality(variables);
  v_terms constant text[] := array(
    select case when variable = 0 then '' else ' * d' || variable end
    from unnest(variables) with ordinality as list (variable, nth)
    order by nth
  );
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
        select string_agg(format('%s(%L::float8[])[(nth - 1) * %s + %s]%s%s', case when i < j then '2 * ' else '' end,
          breads, v_size * v_size, (i - 1) * v_size + j, v_terms[i], v_terms[j]), ' + ' order by i, j)
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

comment on function ml._sandwich_statement(
  jsonb, text, text, text[], float8[], integer[], text, float8[]
) is $$
Returns the text of the statement that computes bread and meat by group at the fitted coefficients.
Its sums are the upper triangles of the information and of the squared scores, or of the squared cluster totals when the
design has clusters; its count is the number of rows or of clusters. With `breads`, the inverses of the information of
all groups, each squared score is divided by 1 - leverage (HC2) or its square (HC3).
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
  v_design jsonb;
  v_settled jsonb;
  v_width integer;
  v_intercept integer;
  v_variables integer[];
  v_size integer;
  v_keys text[] := '{}';
  v_beta float8[] := '{}';
  v_fits jsonb := '{}';
  v_result jsonb[] := '{}';
  v_rows bigint := 0;
  v_skipped bigint := 0;
  v_failed bigint := 0;
  v_fit record;
  v_part record;
  v_full float8[];
  v_block float8[];
  v_place integer[];
  v_covariance float8[];
  v_wald record;
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
  v_width := (v_design ->> 'width')::int;
  if v_clustered then
    if nullif(btrim(clustervar), '') is null then
      perform common.refuse('CF001', 'no cluster column is named',
        'Name the columns whose values identify a cluster, such as ''course_id''.');
    end if;
    v_design := v_design || jsonb_build_object(
      'clusters',
      to_jsonb(common.column_names((v_design ->> 'relation')::regclass, clustervar, 'cluster columns'))
    );
  end if;
  for v_fit in select * from ml._glm_fits(v_design - 'clusters', v_family, v_link, max_iter, tolerance) loop
    v_rows := v_rows + v_fit.row_count;
    v_skipped := v_skipped + v_fit.skipped;
    v_settled := v_fit.settled
      || case when v_clustered then jsonb_build_object('clusters', v_design -> 'clusters') else '{}' end;
    if v_fit.failure is not null then
      if v_design -> 'groups' = '[]' then
        perform ml._fit_failed(v_fit.failure, v_design ->> 'relation');
      end if;
      v_failed := v_failed + 1;
      v_result := v_result || jsonb_build_object(
        'key', v_fit.key,
        'num_rows_processed', v_fit.row_count,
        'num_missing_rows_skipped', v_fit.skipped,
        'failure', v_fit.failure
      );
      continue;
    end if;
    if v_variables is null then
      v_intercept := (v_settled ->> 'intercept')::int;
      v_variables := ml._variables(v_settled);
      v_size := cardinality(v_variables);
      v_place := array(
        select case when variable = 0 then v_intercept else variable end
        from unnest(v_variables) with ordinality as list (variable, nth)
        order by nth
      );
    end if;
    v_keys := v_keys || v_fit.key;
    for i in 1..v_size loop
      v_beta := v_beta || v_fit.beta[v_place[i]];
    end loop;
    v_fits := v_fits || jsonb_build_object(cardinality(v_keys)::text, jsonb_build_object(
      'key', v_fit.key,
      'beta', to_jsonb(v_fit.beta),
      'coef', to_jsonb(v_fit.coef),
      'row_count', v_fit.row_count,
      'skipped', v_fit.skipped
    ));
  end loop;
  if v_keys = '{}' then
    perform ml._fit_failed(v_result[1] ->> 'failure', v_design ->> 'relation');
  end if;

  v_statement := ml._sandwich_statement(v_settled, v_family, v_link, v_keys, v_beta, v_variables, v_hc, null);
  if v_hc in ('HC2', 'HC3') then
    for v_part in
      select part.sums from ml._sums(v_statement, (v_design ->> 'relation')::regclass) as part order by part.key::int
    loop
      v_breads := v_breads || array(
        select value
        from unnest((ml._scaled_inverse(ml._symmetric_matrix(v_part.sums, v_size), 1e-14)).inverse) as value
      );
    end loop;
    v_statement := ml._sandwich_statement(v_settled, v_family, v_link, v_keys, v_beta, v_variables, v_hc, v_breads);
  end if;
  for v_part in
    select part.row_count as clusters, part.sums, v_fits -> part.key as fit
    from ml._sums(v_statement, (v_design ->> 'relation')::regclass) as part
  loop
    v_full := array_fill(0::float8, array[v_width, v_width]);
    v_block := ml._sandwich_covariance(v_part.sums, v_size);
    for i in 1..v_size loop
      for j in 1..v_size loop
        v_full[v_place[i]][v_place[j]] := v_block[i][j];
      end loop;
    end loop;
    v_covariance := (
      ml._unscaled(
        array(select jsonb_array_elements_text(v_part.fit -> 'beta')::float8),
        v_full,
        v_settled,
        v_intercept,
        (v_settled ->> 'intercept_value')::float8
      )
    ).vcov;
    if v_hc = 'HC1' then
      v_covariance := ml._scaled(v_covariance, (v_part.fit ->> 'row_count')::float8
        / nullif((v_part.fit ->> 'row_count')::float8 - v_width, 0));
    end if;
    if v_clustered then
      if v_part.clusters < 2 then
        perform ml._fit_failed(format('%s rows for at least 2 clusters', v_part.clusters), v_design ->> 'relation');
      end if;
      v_covariance := ml._scaled(v_covariance, v_part.clusters / (v_part.clusters - 1.0)
        * ((v_part.fit ->> 'row_count')::float8 - 1) / nullif((v_part.fit ->> 'row_count')::float8 - v_width, 0));
    end if;
    v_wald := ml._wald(
      array(select jsonb_array_elements_text(v_part.fit -> 'coef')::float8), v_covariance,
      case when v_linear then nullif((v_part.fit ->> 'row_count')::float8 - v_width, 0) end
    );
    v_result := v_result || jsonb_build_object(
      'key', v_part.fit ->> 'key',
      'coef', v_part.fit -> 'coef',
      'std_err', to_jsonb(v_wald.std_err),
      't_stats', to_jsonb(v_wald.stats),
      'z_stats', to_jsonb(v_wald.stats),
      'p_values', to_jsonb(v_wald.p_values),
      'variance_covariance', to_jsonb(v_covariance),
      'num_clusters', case when v_clustered then v_part.clusters end,
      'num_rows_processed', v_part.fit -> 'row_count',
      'num_missing_rows_skipped', v_part.fit -> 'skipped'
    );
  end loop;

  perform ml._publish(
    v_output, v_design,
    format(
      'coef float8[], std_err float8[], %s float8[], p_values float8[], variance_covariance float8[], %s'
        || 'num_rows_processed bigint, num_missing_rows_skipped bigint, failure text',
      case when v_linear then 't_stats' else 'z_stats' end,
      case when v_clustered then 'num_clusters bigint, ' else '' end
    ),
    to_jsonb(v_result),
    jsonb_build_object(
      'method', method,
      'source_table', source_table,
      'out_table', out_table,
      'dependent_varname', dependent_varname,
      'independent_varname', independent_varname,
      'clustervar', clustervar,
      'grouping_cols', grouping_cols,
      'num_rows_processed', v_rows,
      'num_missing_rows_skipped', v_skipped,
      'num_all_groups', cardinality(v_result),
      'num_failed_groups', v_failed,
      'weights', weights,
      'offsets', offsets
    ),
    'method text, source_table text, out_table text, dependent_varname text, independent_varname text, '
      || 'clustervar text, grouping_cols text, num_rows_processed bigint, num_missing_rows_skipped bigint, '
      || 'num_all_groups bigint, num_failed_groups bigint, weights text, offsets text'
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
  ml._sandwich_statement(jsonb, text, text, text[], float8[], integer[], text, float8[]),
  ml._sandwich_covariance(float8[], integer),
  ml._sandwich(text, text, text, text, text, text, text, integer, float8, text, text, text)
to insights_analyst, insights_admin, insights_worker;

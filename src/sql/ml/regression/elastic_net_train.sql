/*
 * Penalised regression from sums: the Gram matrix of the columns is computed in one scan (gaussian) or one scan per
 * Newton step (binomial), and coordinate descent runs on the k x k matrix only, so that a path of lambdas needs no
 * further scans.
 */
create or replace function ml._coordinate_descent(
  gram float8[],
  target float8[],
  start float8[],
  l1 float8,
  l2 float8,
  max_iter integer,
  tolerance float8,
  out solution float8[],
  out sweeps integer
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_size constant integer := coalesce(array_length(target, 1), 0);
  v_gram float8[] := gram;
  v_slope float8[] := target;
  v_value float8;
  v_change float8;
  v_largest float8;
begin
  solution := start;
  for i in 1..v_size loop
    for j in 1..v_size loop
      v_slope[i] := v_slope[i] - v_gram[i][j] * start[j];
    end loop;
  end loop;
  for sweep in 1..max_iter loop
    sweeps := sweep;
    v_largest := 0;
    for j in 1..v_size loop
      -- the coefficient of a constant column stays 0
      if v_gram[j][j] + l2 > 1e-14 and v_gram[j][j] > 1e-14 then
        v_value := v_slope[j] + v_gram[j][j] * solution[j];
        v_value := sign(v_value) * greatest(abs(v_value) - l1, 0) / (v_gram[j][j] + l2);
        v_change := v_value - solution[j];
        if v_change <> 0 then
          solution[j] := v_value;
          v_largest := greatest(v_largest, abs(v_change) * sqrt(v_gram[j][j]));
          for i in 1..v_size loop
            v_slope[i] := v_slope[i] - v_gram[i][j] * v_change;
          end loop;
        end if;
      end if;
    end loop;
    exit when v_largest <= tolerance;
  end loop;
end;
$$;

comment on function ml._coordinate_descent(float8[], float8[], float8[], float8, float8, integer, float8) is $$
Returns the minimum of b'Gb / 2 - t'b + l1 |b| + l2 b'b / 2, by coordinate descent.
Source: Friedman, Hastie and Tibshirani, J. Stat. Softw. 33, 2010.
$$;

create or replace function ml._elastic_net_step(
  sums float8[],
  information float8[],
  row_count float8,
  unit float8[],
  beta float8[],
  origin float8[],
  l1 float8,
  l2 float8,
  max_iter integer,
  tolerance float8,
  out solution float8[],
  out sweeps integer,
  out change float8,
  out deviance float8
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_all constant integer := cardinality(beta);
  v_size constant integer := v_all - 1;
  v_h float8[] := information;
  v_gram float8[] := array_fill(0::float8, array[v_size, v_size]);
  v_target float8[] := array_fill(0::float8, array[v_size]);
  v_start float8[] := array_fill(0::float8, array[v_size]);
  v_solved record;
  v_value float8;
begin
  -- the intercept is not penalised: it is eliminated here and computed after the other coefficients
  for i in 1..v_size loop
    v_target[i] := (sums[3 + i] - v_h[1][i + 1] * sums[3] / v_h[1][1]) / (row_count * unit[i]);
    v_start[i] := beta[1 + i] * unit[i];
    for j in 1..v_size loop
      v_gram[i][j] := (v_h[i + 1][j + 1] - v_h[1][i + 1] * v_h[1][j + 1] / v_h[1][1])
        / (row_count * unit[i] * unit[j]);
    end loop;
  end loop;
  for i in 1..v_size loop
    for j in 1..v_size loop
      v_target[i] := v_target[i] + v_gram[i][j] * origin[1 + j] * unit[j];
    end loop;
  end loop;
  v_solved := ml._coordinate_descent(v_gram, v_target, v_start, l1, l2, max_iter, tolerance);
  sweeps := v_solved.sweeps;
  solution := beta;
  change := 0;
  v_value := sums[3];
  for j in 1..v_size loop
    change := greatest(change, abs(v_solved.solution[j] - v_start[j]));
    solution[1 + j] := v_solved.solution[j] / unit[j];
    v_value := v_value - v_h[1][j + 1] * (solution[1 + j] - origin[1 + j]);
  end loop;
  solution[1] := origin[1] + v_value / v_h[1][1];
  -- the deviance after this step, exact for gaussian
  deviance := sums[1];
  for i in 1..v_all loop
    v_value := solution[i] - origin[i];
    deviance := deviance - 2 * v_value * sums[2 + i];
    for j in 1..v_all loop
      deviance := deviance + v_value * v_h[i][j] * (solution[j] - origin[j]);
    end loop;
  end loop;
end;
$$;

comment on function ml._elastic_net_step(
  float8[], float8[], float8, float8[], float8[], float8[], float8, float8, integer, float8
) is $$
Returns the coefficients of one group after coordinate descent on the quadratic approximation of the loss at `origin`.
`sums` are those of ml._glm_statement, `information` their matrix, `unit` the units of the penalty, and `beta` the
coefficients from which the descent starts, with the intercept first. `change` is the largest change of a penalised
coefficient, `deviance` that of the approximation.
$$;

create or replace function ml._elastic_net_fits(
  design jsonb,
  family text,
  alpha float8,
  lambdas float8[],
  standardize boolean,
  max_iter integer,
  tolerance float8,
  out key text,
  out row_count bigint,
  out skipped bigint,
  out lambda float8,
  out beta float8[],
  out coef float8[],
  out intercept float8,
  out deviance float8,
  out iterations integer,
  out settled jsonb,
  out failure text
)
returns setof record
language plpgsql
as $$
declare
  v_first record := ml._settled(design);
  v_width constant integer := (design ->> 'width')::int;
  v_active constant integer[] := array(select jsonb_array_elements_text(v_first.settled -> 'active')::int);
  v_variables constant integer[] := '{0}'::integer[] || v_active;
  v_size constant integer := cardinality(v_active);
  v_all constant integer := v_size + 1;
  v_groups constant integer := cardinality(v_first.keys);
  v_scale constant float8[] := array(select jsonb_array_elements_text(design -> 'scale')::float8);
  v_beta float8[] := array_fill(0::float8, array[v_groups * v_all]);
  v_before float8[];
  v_objective float8[];
  v_deviance float8[] := array_fill(0::float8, array[v_groups]);
  v_iterations integer[] := array_fill(0, array[v_groups]);
  v_unit float8[] := array_fill(1::float8, array[v_groups * v_size]);
  v_failure text[] := array_fill(null::text, array[v_groups]);
  v_sums jsonb := '{}';
  v_living integer[];
  v_lambda float8;
  v_g integer;
  v_n float8;
  v_h float8[];
  v_solved record;
  v_at integer;
  v_value float8;
  v_penalty float8;
  v_step float8[];
  v_full float8[];
begin
  for g in 1..v_groups loop
    v_n := v_first.row_counts[g];
    if v_n = 0 then
      v_failure[g] := 'no row without a null';
      continue;
    elsif family = 'binomial' and v_first.sums[4 * g] > 0 then
      perform common.refuse(
        'CF001',
        format('the dependent variable "%s" holds other values than 0 and 1', left(design ->> 'y', 100)),
        'Give a boolean, 0 and 1, or an expression such as score >= 50.'
      );
    elsif family = 'binomial' and v_first.sums[4 * g - 2] = v_first.sums[4 * g - 1] then
      v_failure[g] := format('it holds one class only, %s', v_first.sums[4 * g - 1]);
      continue;
    end if;
    v_value := v_first.sums[4 * g - 3] / v_n;
    v_beta[(g - 1) * v_all + 1] := case family when 'binomial' then ln(v_value / (1 - v_value)) else v_value end;
  end loop;
  v_before := v_beta;

  for path in 1..cardinality(lambdas) loop
    v_lambda := lambdas[path];
    v_objective := array_fill('Infinity'::float8, array[v_groups]);
    v_living := array(select g from generate_series(1, v_groups) as g where v_failure[g] is null);
    for step in 1..50 loop
      exit when v_living = '{}';
      if v_sums = '{}' or family = 'binomial' then
        v_sums := (
          select jsonb_object_agg(v_living[part.key::int], to_jsonb(part.sums))
          from ml._sums(
            ml._glm_statement(
              v_first.settled,
              family,
              case family when 'binomial' then 'logit' else 'identity' end,
              null,
              array(select v_first.keys[g] from unnest(v_living) with ordinality as living (g, nth) order by nth),
              array(
                select v_beta[(g - 1) * v_all + j]
                from unnest(v_living) with ordinality as living (g, nth)
                cross join generate_series(1, v_all) as j
                order by nth, j
              ),
              v_variables
            ),
            (design ->> 'relation')::regclass
          ) as part
        );
        if family = 'gaussian' then
          v_before := v_beta;
        end if;
      end if;
      foreach v_g in array v_living loop
        v_n := v_first.row_counts[v_g];
        v_step := array(select jsonb_array_elements_text(v_sums -> v_g::text)::float8);
        v_h := ml._symmetric_matrix(v_step[3 + v_all:], v_all);
        -- the unit in which coefficients are penalised: the standard deviation of the column, or the column's own unit
        if path = 1 and step = 1 then
          for j in 1..v_size loop
            v_unit[(v_g - 1) * v_size + j] := case
              when not standardize then v_scale[v_active[j]]
              when family = 'gaussian' then
                sqrt(greatest(v_h[j + 1][j + 1] - v_h[1][j + 1] * v_h[1][j + 1] / v_n, 0) / v_n)
              -- at the mean all weights are equal
              else sqrt(greatest(v_h[j + 1][j + 1] - v_h[1][j + 1] * v_h[1][j + 1] / v_h[1][1], 0) / v_h[1][1])
            end;
            if v_unit[(v_g - 1) * v_size + j] < 1e-12 then
              v_unit[(v_g - 1) * v_size + j] := 1;
            end if;
          end loop;
        end if;
        v_at := (v_g - 1) * v_all;

        v_penalty := 0;
        for j in 1..v_size loop
          v_value := v_beta[v_at + 1 + j] * v_unit[(v_g - 1) * v_size + j];
          v_penalty := v_penalty + v_lambda * (alpha * abs(v_value) + (1 - alpha) / 2 * v_value * v_value);
        end loop;
        if family = 'binomial' then
          if v_step[1] / (2 * v_n) + v_penalty > v_objective[v_g] + 1e-12 then
            -- the step increases the objective: it is halved
            for j in 1..v_all loop
              v_beta[v_at + j] := (v_beta[v_at + j] + v_before[v_at + j]) / 2;
            end loop;
            continue;
          end if;
          v_objective[v_g] := v_step[1] / (2 * v_n) + v_penalty;
        end if;

        if family = 'binomial' then
          v_before[v_at + 1:v_at + v_all] := v_beta[v_at + 1:v_at + v_all];
        end if;
        v_solved := ml._elastic_net_step(
          v_step,
          v_h,
          v_n,
          v_unit[(v_g - 1) * v_size + 1:v_g * v_size],
          v_beta[v_at + 1:v_at + v_all],
          v_before[v_at + 1:v_at + v_all],
          v_lambda * alpha,
          v_lambda * (1 - alpha),
          max_iter,
          tolerance / 10
        );
        v_beta[v_at + 1:v_at + v_all] := v_solved.solution;
        v_iterations[v_g] := v_iterations[v_g] + v_solved.sweeps;
        v_deviance[v_g] := v_solved.deviance;
        if family = 'gaussian' or v_solved.change <= tolerance then
          v_living := array_remove(v_living, v_g);
        end if;
      end loop;
    end loop;

    for g in 1..v_groups loop
      key := v_first.keys[g];
      row_count := v_first.row_counts[g];
      skipped := v_first.skipped[g];
      lambda := v_lambda;
      deviance := v_deviance[g];
      iterations := v_iterations[g];
      settled := v_first.settled;
      failure := v_failure[g];
      coef := null;
      beta := null;
      intercept := null;
      if failure is null then
        v_full := array_fill(0::float8, array[v_width]);
        v_full[(v_first.settled ->> 'intercept')::int] := v_beta[(g - 1) * v_all + 1];
        for j in 1..v_size loop
          v_full[v_active[j]] := v_beta[(g - 1) * v_all + 1 + j];
        end loop;
        beta := v_full;
        v_full := (
          ml._unscaled(v_full, null, v_first.settled, (v_first.settled ->> 'intercept')::int, 1)
        ).coef;
        intercept := v_full[1];
        coef := v_full[2:];
      end if;
      return next;
    end loop;
  end loop;
end;
$$;

comment on function ml._elastic_net_fits(jsonb, text, float8, float8[], boolean, integer, float8) is $$
Fits a path of lambdas to each group, each starting from the fit before, and returns one row per lambda and group.
The first column of the design is the intercept. `beta` is for the columns as they are summed; `coef` and `intercept`
are in the caller's units.
$$;

create or replace function ml.elastic_net_train(
  tbl_source text,
  tbl_result text,
  col_dep_var text,
  col_ind_var text,
  regress_family text,
  alpha float8,
  lambda_value float8,
  standardize boolean default true,
  grouping_col text default null,
  optimizer text default 'fista',
  optimizer_params text default null,
  excluded text default null,
  max_iter integer default 1000,
  tolerance float8 default 1e-6
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_output text := common.output_table(tbl_result, array['_summary']);
  v_options jsonb := ml._options(
    optimizer_params,
    '{n_folds, n_lambdas, lambda_value, alpha, validation_result, warmup, max_iter, tolerance}',
    'optimizer_params'
  );
  v_folds constant integer := ml._number(v_options, 'n_folds', 0, 0, 100);
  v_family constant text := case
    when lower(regress_family) in ('gaussian', 'linear') then 'gaussian'
    when lower(regress_family) in ('binomial', 'logistic') then 'binomial'
  end;
  v_validation text;
  v_made record;
  v_chosen record;
  v_alpha float8 := alpha;
  v_lambda float8 := lambda_value;
  v_result jsonb[] := '{}';
  v_rows bigint := 0;
  v_skipped bigint := 0;
  v_failed bigint := 0;
  v_separated jsonb;
  v_fit record;
begin
  perform ml._check_iteration(max_iter, tolerance);
  if v_family is null then
    perform common.refuse('CF001', format('there is no family "%s"', left(regress_family, 100)),
      'Give gaussian (or linear), or binomial (or logistic).');
  elsif optimizer is null or lower(optimizer) not in ('fista', 'igd', 'cd') then
    perform common.refuse('CF001', format('there is no optimizer "%s"', left(optimizer, 100)),
      'Give fista, igd or cd; all return the same optimum, which is found by coordinate descent.');
  elsif v_folds = 0 and (alpha is null or not alpha between 0 and 1) then
    perform common.refuse('CF001', format('alpha is %s', coalesce(alpha::text, 'null')),
      'Give 0 (ridge) to 1 (lasso).');
  elsif v_folds = 0 and (lambda_value is null or not lambda_value >= 0 or lambda_value = 'Infinity') then
    perform common.refuse('CF001', format('lambda is %s', coalesce(lambda_value::text, 'null')), 'Give 0 or more.');
  elsif v_folds = 1 then
    perform common.refuse('CF001', 'n_folds is 1', 'Give 2 or more folds, or omit n_folds to use lambda_value.');
  end if;
  v_made := ml._elastic_net_design(tbl_source, col_dep_var, col_ind_var, grouping_col, excluded);

  if v_folds > 1 then
    if grouping_col is not null then
      perform common.refuse('CF001', 'cross-validation cannot be grouped', 'Train each group on a view of its own.');
    end if;
    if v_options ->> 'validation_result' is not null then
      v_validation := common.output_table(v_options ->> 'validation_result');
    end if;
    v_chosen := ml._elastic_net_cross_validation(
      v_made.design,
      v_family,
      coalesce(ml._list(v_options ->> 'alpha', 'alpha', 0, 1), array[coalesce(alpha, 1)]),
      ml._list(v_options ->> 'lambda_value', 'lambda_value', 0, 1e300),
      ml._number(v_options, 'n_lambdas', 15, 1, 1000)::int,
      v_folds,
      standardize,
      max_iter,
      tolerance,
      v_validation
    );
    v_alpha := v_chosen.alpha;
    v_lambda := v_chosen.lambda;
  end if;

  -- Without a penalty nothing keeps the coefficients of separated classes finite.
  if v_family = 'binomial' and v_lambda = 0 then
    v_separated := (
      select jsonb_object_agg(fit.key, fit.failure)
      from ml._glm_fits(v_made.design, 'binomial', 'logit', 50, 0.0001) as fit
      where fit.failure ~ 'separates'
    );
  end if;

  for v_fit in
    select *
    from ml._elastic_net_fits(v_made.design, v_family, v_alpha, array[v_lambda], standardize, max_iter, tolerance)
  loop
    if v_separated ? v_fit.key then
      v_fit.failure := v_separated ->> v_fit.key;
      v_fit.coef := null;
      v_fit.intercept := null;
    end if;
    v_rows := v_rows + v_fit.row_count;
    v_skipped := v_skipped + v_fit.skipped;
    v_failed := v_failed + (v_fit.failure is not null)::int;
    v_result := v_result || jsonb_build_object(
      'key', v_fit.key,
      'regress_family', v_family,
      'features', to_jsonb(v_made.features),
      'features_selected', (
        select coalesce(jsonb_agg(name order by nth), '[]')
        from unnest(v_made.features, v_fit.coef) with ordinality as list (name, value, nth)
        where value <> 0
      ),
      'coef_nonzero', (
        select coalesce(jsonb_agg(value order by nth), '[]')
        from unnest(v_fit.coef) with ordinality as list (value, nth)
        where value <> 0
      ),
      'coef_all', to_jsonb(v_fit.coef),
      'intercept', v_fit.intercept,
      'log_likelihood', case
        when v_fit.failure is not null then null
        when v_family = 'binomial' then -v_fit.deviance / 2
        when v_fit.deviance > 0 then
          -v_fit.row_count / 2.0 * (ln(2 * pi() * v_fit.deviance / v_fit.row_count) + 1)
      end,
      'standardize', standardize,
      'iteration_run', v_fit.iterations,
      'alpha', v_alpha,
      'lambda_value', v_lambda,
      'num_rows_processed', v_fit.row_count,
      'num_missing_rows_skipped', v_fit.skipped,
      'failure', v_fit.failure
    );
  end loop;
  if v_failed = cardinality(v_result) then
    perform ml._fit_failed(v_result[1] ->> 'failure', v_made.design ->> 'relation');
  end if;
  perform ml._publish(
    v_output, v_made.design,
    'regress_family text, features text[], features_selected text[], coef_nonzero float8[], coef_all float8[], '
      || 'intercept float8, log_likelihood float8, standardize boolean, iteration_run integer, alpha float8, '
      || 'lambda_value float8, num_rows_processed bigint, num_missing_rows_skipped bigint, failure text',
    to_jsonb(v_result),
    jsonb_build_object(
      'method', 'elastic_net',
      'source_table', tbl_source,
      'out_table', tbl_result,
      'dependent_varname', col_dep_var,
      'independent_varname', col_ind_var,
      'regress_family', v_family,
      'alpha', v_alpha,
      'lambda_value', v_lambda,
      'grouping_col', grouping_col,
      'num_rows_processed', v_rows,
      'num_missing_rows_skipped', v_skipped,
      'num_all_groups', cardinality(v_result),
      'num_failed_groups', v_failed
    ),
    'method text, source_table text, out_table text, dependent_varname text, independent_varname text, '
      || 'regress_family text, alpha float8, lambda_value float8, grouping_col text, num_rows_processed bigint, '
      || 'num_missing_rows_skipped bigint, num_all_groups bigint, num_failed_groups bigint'
  );
end;
$$;

comment on function ml.elastic_net_train(
  text, text, text, text, text, float8, float8, boolean, text, text, text, text, integer, float8
) is $$
@behavior -*
Trains a linear (gaussian) or logistic (binomial) regression with the elastic net penalty, as MADlib.
Minimises loss / n + lambda ((1 - alpha) / 2 b'b + alpha |b|), where loss is half the squared residuals or minus the log
likelihood. An intercept is added and never penalised. `col_ind_var` is an array, or `*` for all other columns except
those in `excluded`. With `standardize` the penalty is on the coefficients of columns divided by their standard
deviation; the coefficients in the output are in the columns' own units. `optimizer_params` with `n_folds=5` chooses
lambda by cross-validation, among `lambda_value={…}` or `n_lambdas` values, and alpha among `alpha={…}`;
`validation_result=table` writes the loss of each to a table.
Writes `tbl_result`: the grouping columns, regress_family, features, features_selected, coef_nonzero, coef_all,
intercept, log_likelihood, standardize, iteration_run, and, not in MADlib, alpha, lambda_value, num_rows_processed,
num_missing_rows_skipped, failure; and `<tbl_result>_summary`.
Errors: CF001 (lambda < 0, alpha outside 0..1, not a number), CF002, CF003, CF004, CF005, CF007 (separated, with a
lambda of 0), CF008.
Source: Friedman, Hastie and Tibshirani, Regularization paths for generalized linear models via coordinate descent, J.
Stat. Softw. 33, 2010.
$$;

create or replace function ml._list(list text, name text, smallest float8, largest float8)
returns float8[]
language plpgsql
immutable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_values float8[];
begin
  if list is null then
    return null;
  end if;
  begin
    v_values := (case when list like '{%' then list else '{' || list || '}' end)::float8[];
  exception when invalid_text_representation or numeric_value_out_of_range then
    null;
  end;
  if v_values is null or v_values = '{}' or exists (
    select
    from unnest(v_values) as value
    where value is null
      or not value between smallest and largest
  ) then
    perform common.refuse('CF001', format('%s is "%s"', left(name, 100), left(list, 100)),
      format('Give numbers from %s to %s, such as {0.1, 0.5}.', smallest, largest));
  end if;
  return v_values;
end;
$$;

comment on function ml._list(text, text, float8, float8) is $$
Returns a list of numbers from an option, null for null. Error CF001 unless all are from `smallest` to `largest`.
$$;

create or replace function ml._elastic_net_cross_validation(
  design jsonb,
  family text,
  alphas float8[],
  lambdas float8[],
  n_lambdas integer,
  n_folds integer,
  standardize boolean,
  max_iter integer,
  tolerance float8,
  validation_result text,
  out alpha float8,
  out lambda float8
)
language plpgsql
as $$
declare
  -- the fold of a row depends on its values only, so that a repeated run has the same folds
  v_fold constant text := format(
    '(hashtextextended(%s::text, 20240607) & 1073741823) %% %s', design ->> 'alias', n_folds
  );
  v_path float8[] := lambdas;
  v_top float8;
  v_alpha float8;
  v_part record;
  v_scores jsonb := '[]';
begin
  foreach v_alpha in array alphas loop
    if lambdas is null then
      -- from the lambda at which all coefficients are 0 down to a thousandth of it
      v_top := ml._elastic_net_top(design, family, greatest(v_alpha, 0.001), standardize);
      v_path := array(
        select v_top * power(0.001::float8, (i - 1.0) / greatest(n_lambdas - 1, 1))
        from generate_series(1, n_lambdas) as i
        order by i
      );
    else
      v_path := array(select value from unnest(lambdas) as value order by value desc);
    end if;
    for fold in 0..n_folds - 1 loop
      for v_part in
        select fit.lambda, sum(part.sums[1]) as loss, sum(part.row_count) as row_count, fit.failure
        from ml._elastic_net_fits(
          design || jsonb_build_object('where', format('%s <> %s', v_fold, fold)),
          family,
          v_alpha,
          v_path,
          standardize,
          max_iter,
          tolerance
        ) as fit
        left join lateral ml._sums(
          ml._glm_statement(
            fit.settled || jsonb_build_object('where', format('%s = %s', v_fold, fold)),
            family,
            case family when 'binomial' then 'logit' else 'identity' end,
            null,
            array[''],
            array[fit.beta[(fit.settled ->> 'intercept')::int]] || array(
              select fit.beta[place::int]
              from jsonb_array_elements_text(fit.settled -> 'active') with ordinality as list (place, nth)
              order by nth
            ),
            '{0}'::integer[] || array(select jsonb_array_elements_text(fit.settled -> 'active')::int)
          ),
          (design ->> 'relation')::regclass
        ) as part on fit.failure is null
        group by fit.lambda, fit.failure
      loop
        if v_part.failure is not null then
          perform ml._fit_failed(format('fold %s of %s: %s', fold + 1, n_folds, v_part.failure), design ->> 'relation');
        end if;
        v_scores := v_scores || jsonb_build_object(
          'alpha', v_alpha,
          'lambda', v_part.lambda,
          'fold', fold,
          'loss', v_part.loss / nullif(v_part.row_count, 0)
        );
      end loop;
    end loop;
  end loop;
  select score.alpha, score.lambda into alpha, lambda
  from jsonb_to_recordset(v_scores) as score (alpha float8, lambda float8, fold integer, loss float8)
  group by score.alpha, score.lambda
  order by avg(score.loss), score.lambda desc
  limit 1;
  if validation_result is not null then
    execute format(
      $statement$
      create table %s as
      select alpha, lambda as lambda_value, avg(loss) as average_loss, coalesce(stddev_samp(loss), 0) as std_loss
      from jsonb_to_recordset(%L) as score (alpha float8, lambda float8, fold integer, loss float8)
      group by alpha, lambda
      order by alpha, lambda desc
      $statement$,
      validation_result, v_scores
    );
  end if;
end;
$$;

comment on function ml._elastic_net_cross_validation(
  jsonb, text, float8[], float8[], integer, integer, boolean, integer, float8, text
) is $$
Returns the alpha and lambda with the least mean deviance on the held-out rows of all folds.
The larger lambda among equal ones.
$$;

create or replace function ml._elastic_net_top(design jsonb, family text, alpha float8, standardize boolean)
returns float8
language plpgsql
as $$
declare
  v_first record := ml._settled(design);
  v_active constant integer[] := array(select jsonb_array_elements_text(v_first.settled -> 'active')::int);
  v_mean constant float8 := v_first.sums[1] / nullif(v_first.row_counts[1], 0);
  v_n constant float8 := v_first.row_counts[1];
  v_all constant integer := cardinality(v_active) + 1;
  v_sums float8[];
  v_spread float8;
  v_top float8 := 0;
begin
  if v_mean is null or family = 'binomial' and (v_mean <= 0 or v_mean >= 1) then
    perform ml._fit_failed(
      case when v_mean is null then 'no row without a null' else format('it holds one class only, %s', v_mean) end,
      design ->> 'relation'
    );
  end if;
  v_sums := (
    select part.sums
    from ml._sums(
      ml._glm_statement(
        v_first.settled,
        family,
        case family when 'binomial' then 'logit' else 'identity' end,
        null,
        array[''],
        array[case family when 'binomial' then ln(v_mean / (1 - v_mean)) else v_mean end]
          || array_fill(0::float8, array[v_all - 1]),
        '{0}'::integer[] || v_active
      ),
      (design ->> 'relation')::regclass
    ) as part
  );
  for j in 2..v_all loop
    -- the slope at zero, in the unit of the penalty; the sums contain the upper triangle, row by row
    v_spread := v_sums[2 + v_all + j] / v_sums[2 + v_all + 1];
    v_spread := v_sums[2 + v_all + (j - 1) * v_all - (j - 1) * (j - 2) / 2 + 1] / v_sums[2 + v_all + 1]
      - v_spread * v_spread;
    if v_spread > 1e-24 then
      v_top := greatest(
        v_top,
        abs(v_sums[2 + j]) / v_n / case
          when standardize then sqrt(v_spread)
          else (design -> 'scale' ->> v_active[j - 1] - 1)::float8
        end
      );
    end if;
  end loop;
  return greatest(v_top, 1e-9) / alpha;
end;
$$;

comment on function ml._elastic_net_top(jsonb, text, float8, boolean) is $$
Returns the least lambda at which all coefficients are 0, from which a path starts.
$$;

grant execute on function
  ml._coordinate_descent(float8[], float8[], float8[], float8, float8, integer, float8),
  ml._elastic_net_step(float8[], float8[], float8, float8[], float8[], float8[], float8, float8, integer, float8),
  ml._elastic_net_fits(jsonb, text, float8, float8[], boolean, integer, float8),
  ml._list(text, text, float8, float8),
  ml._elastic_net_cross_validation(jsonb, text, float8[], float8[], integer, integer, boolean, integer, float8, text),
  ml._elastic_net_top(jsonb, text, float8, boolean),
  ml.elastic_net_train(text, text, text, text, text, float8, float8, boolean, text, text, text, text, integer, float8)
to insights_analyst, insights_admin, insights_worker;

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
        v_value := case
          when abs(v_value) > l1 then sign(v_value) * (abs(v_value) - l1) / (v_gram[j][j] + l2)
          else 0
        end;
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
  settled ml.design,
  family text,
  alpha float8,
  lambda float8,
  standardize boolean,
  max_iter integer,
  tolerance float8,
  inout fit ml.fit,
  inout state ml.fit_step
)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_unknowns constant integer[] := ml._unknowns(settled);
  v_active constant integer[] := settled.active;
  v_all constant integer := cardinality(v_unknowns);
  v_size constant integer := v_all - 1;
  v_n constant float8 := fit.row_count;
  v_sums constant float8[] := state.sums;
  v_h constant float8[] := ml._symmetric_matrix(v_sums[3 + v_all:], v_all);
  v_gram float8[] := array_fill(0::float8, array[v_size, v_size]);
  v_target float8[] := array_fill(0::float8, array[v_size]);
  v_start float8[] := array_fill(0::float8, array[v_size]);
  v_change float8[] := array_fill(0::float8, array[v_all]);
  v_unit float8[];
  v_solved record;
  v_value float8;
  v_largest float8 := 0;
  v_objective float8 := v_sums[1] / (2 * v_n);
begin
  -- the unit in which coefficients are penalised: the standard deviation of the column, or the column's own unit
  if state.unit is null then
    state.unit := array_fill(1::float8, array[settled.width]);
    for j in 1..v_size loop
      v_value := case
        when not standardize then settled.scale[v_active[j]]
        when family = 'gaussian' then sqrt(greatest(v_h[j + 1][j + 1] - v_h[1][j + 1] * v_h[1][j + 1] / v_n, 0) / v_n)
        -- at the mean all weights are equal
        else sqrt(greatest(v_h[j + 1][j + 1] - v_h[1][j + 1] * v_h[1][j + 1] / v_h[1][1], 0) / v_h[1][1])
      end;
      if v_value >= 1e-12 then
        state.unit[v_active[j]] := v_value;
      end if;
    end loop;
  end if;
  v_unit := array(select state.unit[place] from unnest(v_active) with ordinality as list (place, nth) order by nth);

  if family = 'binomial' then
    for j in 1..v_size loop
      v_value := fit.beta[v_active[j]] * v_unit[j];
      v_objective := v_objective + lambda * (alpha * abs(v_value) + (1 - alpha) / 2 * v_value * v_value);
    end loop;
    if v_objective > state.objective + 1e-12 then
      -- the step increases the objective: it is halved
      for j in 1..settled.width loop
        fit.beta[j] := (fit.beta[j] + state.previous[j]) / 2;
      end loop;
      return;
    end if;
    state.objective := v_objective;
    state.previous := fit.beta;
  end if;

  -- the intercept is not penalised: it is eliminated here and computed after the other coefficients
  for i in 1..v_size loop
    v_target[i] := (v_sums[3 + i] - v_h[1][i + 1] * v_sums[3] / v_h[1][1]) / (v_n * v_unit[i]);
    v_start[i] := fit.beta[v_active[i]] * v_unit[i];
    for j in 1..v_size loop
      v_gram[i][j] := (v_h[i + 1][j + 1] - v_h[1][i + 1] * v_h[1][j + 1] / v_h[1][1]) / (v_n * v_unit[i] * v_unit[j]);
    end loop;
  end loop;
  for i in 1..v_size loop
    for j in 1..v_size loop
      v_target[i] := v_target[i] + v_gram[i][j] * state.previous[v_active[j]] * v_unit[j];
    end loop;
  end loop;
  v_solved := ml._coordinate_descent(
    v_gram, v_target, v_start, lambda * alpha, lambda * (1 - alpha), max_iter, tolerance / 10
  );
  fit.iterations := fit.iterations + v_solved.sweeps;
  v_value := v_sums[3];
  for j in 1..v_size loop
    v_largest := greatest(v_largest, abs(v_solved.solution[j] - v_start[j]));
    fit.beta[v_active[j]] := v_solved.solution[j] / v_unit[j];
    v_change[j + 1] := fit.beta[v_active[j]] - state.previous[v_active[j]];
    v_value := v_value - v_h[1][j + 1] * v_change[j + 1];
  end loop;
  v_change[1] := v_value / v_h[1][1];
  fit.beta[settled.intercept] := state.previous[settled.intercept] + v_change[1];
  -- the deviance after this step, exact for gaussian
  fit.deviance := v_sums[1];
  for i in 1..v_all loop
    fit.deviance := fit.deviance - 2 * v_change[i] * v_sums[2 + i];
    for j in 1..v_all loop
      fit.deviance := fit.deviance + v_change[i] * v_h[i][j] * v_change[j];
    end loop;
  end loop;
  state.done := family = 'gaussian' or v_largest <= tolerance;
end;
$$;

comment on function ml._elastic_net_step(
  ml.design, text, float8, float8, boolean, integer, float8, ml.fit, ml.fit_step
) is $$
Returns the fit of one group after coordinate descent on the quadratic approximation of the loss at `previous`.
The sums of the state are those of ml._glm_statement. The penalty is in the unit of the first step; a step that
increases the objective is halved.
$$;

create or replace function ml._elastic_net_fits(
  design ml.design,
  family text,
  alpha float8,
  lambdas float8[],
  standardize boolean,
  max_iter integer,
  tolerance float8,
  out settled ml.design,
  out fits ml.fit[]
)
language plpgsql
as $$
declare
  v_link constant text := case family when 'binomial' then 'logit' else 'identity' end;
  v_first record := ml._settled(design);
  v_group ml.design_group;
  v_fit ml.fit;
  v_models ml.fit[] := '{}';
  v_state ml.fit_step;
  v_states ml.fit_step[] := '{}';
  v_scanned boolean := false;
  v_living integer[];
  v_lambda float8;
  v_part record;
  v_stepped record;
  v_place integer;
begin
  settled := v_first.settled;
  fits := '{}';
  foreach v_group in array v_first.groups loop
    v_fit := null;
    v_fit.group_key := v_group.group_key;
    v_fit.row_count := v_group.row_count;
    v_fit.skipped := v_group.skipped;
    v_fit.iterations := 0;
    v_fit.deviance := 0;
    v_fit.beta := array_fill(0::float8, array[design.width]);
    if v_group.row_count = 0 then
      v_fit.failure := 'no row without a null';
    elsif family = 'binomial' and v_group.between_classes > 0 then
      perform common.refuse(
        'CF001',
        format('the dependent variable "%s" holds other values than 0 and 1', left(design.y, 100)),
        'Give a boolean, 0 and 1, or an expression such as score >= 50.'
      );
    elsif family = 'binomial' and v_group.least = v_group.largest then
      v_fit.failure := format('it holds one class only, %s', v_group.largest);
    else
      v_fit.beta[settled.intercept] := v_group.total / v_group.row_count;
      if family = 'binomial' then
        v_fit.beta[settled.intercept] := ml._glm_linked(family, v_link, v_fit.beta[settled.intercept], null);
      end if;
    end if;
    v_state := null;
    v_state.previous := v_fit.beta;
    v_models := v_models || v_fit;
    v_states := v_states || v_state;
  end loop;

  foreach v_lambda in array lambdas loop
    v_living := array(
      select fit.ordinality
      from unnest(v_models) with ordinality as fit
      where fit.failure is null
      order by fit.ordinality
    );
    foreach v_place in array v_living loop
      v_states[v_place].done := false;
      v_states[v_place].objective := 'Infinity';
    end loop;
    for step in 1..50 loop
      exit when v_living = '{}';
      if family = 'binomial' or not v_scanned then
        for v_part in
          select v_living[part.key::int] as place, part.sums
          from ml._sums(
            ml._glm_statement(settled, family, v_link, null, array(
              select v_models[place] from unnest(v_living) with ordinality as living (place, nth) order by nth
            )),
            design.relation
          ) as part
        loop
          v_states[v_part.place].sums := v_part.sums;
        end loop;
        v_scanned := true;
      end if;
      foreach v_place in array v_living loop
        v_stepped := ml._elastic_net_step(
          settled, family, alpha, v_lambda, standardize, max_iter, tolerance, v_models[v_place], v_states[v_place]
        );
        v_models[v_place] := v_stepped.fit;
        v_states[v_place] := v_stepped.state;
      end loop;
      v_living := array(
        select place
        from unnest(v_living) with ordinality as living (place, nth)
        where not v_states[place].done
        order by nth
      );
    end loop;

    foreach v_fit in array v_models loop
      v_fit.lambda := v_lambda;
      if v_fit.failure is null then
        v_fit.coef := (ml._unscaled(v_fit.beta, null, settled, settled.intercept, settled.intercept_value)).coef;
      end if;
      fits := fits || v_fit;
    end loop;
  end loop;
end;
$$;

comment on function ml._elastic_net_fits(ml.design, text, float8, float8[], boolean, integer, float8) is $$
Fits a path of lambdas to each group, each starting from the fit before.
Returns the settled design, and one fit per lambda and group, in this order. The first column of the design is the
intercept.
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
  v_fitted record;
  v_plain ml.fit[];
  v_fit ml.fit;
  v_fits ml.fit[] := '{}';
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
    v_plain := (ml._glm_fits(v_made.design, 'binomial', 'logit', 50, 0.0001)).fits;
  end if;

  v_fitted := ml._elastic_net_fits(v_made.design, v_family, v_alpha, array[v_lambda], standardize, max_iter, tolerance);
  foreach v_fit in array v_fitted.fits loop
    if v_plain[cardinality(v_fits) + 1].failure ~ 'separates' then
      v_fit.failure := v_plain[cardinality(v_fits) + 1].failure;
      v_fit.coef := null;
    end if;
    v_fit.log_likelihood := case
      when v_fit.failure is not null then null
      when v_family = 'binomial' then -v_fit.deviance / 2
      when v_fit.deviance > 0 then -v_fit.row_count / 2.0 * (ln(2 * pi() * v_fit.deviance / v_fit.row_count) + 1)
    end;
    v_fits := v_fits || v_fit;
  end loop;

  perform ml._publish(
    v_output, v_made.design, v_fits,
    format(
      $list$
      %1$L::text as regress_family, %2$L::text[] as features,
      array(
        select name from unnest(%2$L::text[], coef[2:]) with ordinality as list (name, value, nth)
        where value <> 0
        order by nth
      ) as features_selected,
      array(select value from unnest(coef[2:]) with ordinality as list (value, nth) where value <> 0 order by nth)
        as coef_nonzero,
      coef[2:] as coef_all, coef[1] as intercept, log_likelihood, %3$L::boolean as standardize,
      iterations as iteration_run, %4$L::float8 as alpha, lambda as lambda_value, row_count as num_rows_processed,
      skipped as num_missing_rows_skipped, failure
      $list$,
      v_family, v_made.features, standardize, v_alpha
    ),
    format(
      $list$
      'elastic_net'::text as method, %L::text as source_table, %L::text as out_table, %L::text as dependent_varname,
      %L::text as independent_varname, %L::text as regress_family, %L::float8 as alpha, %L::float8 as lambda_value,
      %L::text as grouping_col, row_count as num_rows_processed, skipped as num_missing_rows_skipped,
      group_count as num_all_groups, failed_count as num_failed_groups
      $list$,
      tbl_source, tbl_result, col_dep_var, col_ind_var, v_family, v_alpha, v_lambda, grouping_col
    )
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
  design ml.design,
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
    '(hashtextextended(%s::text, 20240607) & 1073741823) %% %s', design.alias, n_folds
  );
  v_link constant text := case family when 'binomial' then 'logit' else 'identity' end;
  v_path float8[] := lambdas;
  v_top float8;
  v_alpha float8;
  v_part ml.design := design;
  v_fitted record;
  v_fit ml.fit;
  v_alphas float8[] := '{}';
  v_lambdas float8[] := '{}';
  v_losses float8[] := '{}';
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
      v_part := design;
      v_part.fold := format('%s <> %s', v_fold, fold);
      v_fitted := ml._elastic_net_fits(v_part, family, v_alpha, v_path, standardize, max_iter, tolerance);
      v_part := v_fitted.settled;
      v_part.fold := format('%s = %s', v_fold, fold);
      foreach v_fit in array v_fitted.fits loop
        if v_fit.failure is not null then
          perform ml._fit_failed(format('fold %s of %s: %s', fold + 1, n_folds, v_fit.failure), design.source);
        end if;
        v_alphas := v_alphas || v_alpha;
        v_lambdas := v_lambdas || v_fit.lambda;
        v_losses := v_losses || (
          select sum(part.sums[1]) / nullif(sum(part.row_count), 0)
          from ml._sums(ml._glm_statement(v_part, family, v_link, null, array[v_fit]), design.relation) as part
        );
      end loop;
    end loop;
  end loop;
  select score.alpha, score.lambda
  into alpha, lambda
  from unnest(v_alphas, v_lambdas, v_losses) as score (alpha, lambda, loss)
  group by score.alpha, score.lambda
  order by avg(score.loss), score.lambda desc
  limit 1;
  if validation_result is not null then
    execute format(
      $statement$
      create table %s as
      select alpha, lambda as lambda_value, avg(loss) as average_loss, coalesce(stddev_samp(loss), 0) as std_loss
      from unnest($1, $2, $3) as score (alpha, lambda, loss)
      group by alpha, lambda
      order by alpha, lambda desc
      $statement$,
      validation_result
    ) using v_alphas, v_lambdas, v_losses;
  end if;
end;
$$;

comment on function ml._elastic_net_cross_validation(
  ml.design, text, float8[], float8[], integer, integer, boolean, integer, float8, text
) is $$
Returns the alpha and lambda with the least mean deviance on the held-out rows of all folds.
The larger lambda among equal ones.
$$;

create or replace function ml._elastic_net_top(design ml.design, family text, alpha float8, standardize boolean)
returns float8
language plpgsql
as $$
declare
  v_first record := ml._settled(design);
  v_settled ml.design := v_first.settled;
  v_group ml.design_group := v_first.groups[1];
  v_mean constant float8 := v_group.total / nullif(v_group.row_count, 0);
  v_link constant text := case family when 'binomial' then 'logit' else 'identity' end;
  v_all constant integer := cardinality(ml._unknowns(v_settled));
  v_fit ml.fit;
  v_sums float8[];
  v_h float8[];
  v_spread float8;
  v_top float8 := 0;
begin
  if v_mean is null or family = 'binomial' and (v_mean <= 0 or v_mean >= 1) then
    perform ml._fit_failed(
      case when v_mean is null then 'no row without a null' else format('it holds one class only, %s', v_mean) end,
      design.source
    );
  end if;
  v_fit.group_key := '';
  v_fit.beta := array_fill(0::float8, array[design.width]);
  v_fit.beta[v_settled.intercept] := ml._glm_linked(family, v_link, v_mean, null);
  v_sums := (
    select part.sums
    from ml._sums(ml._glm_statement(v_settled, family, v_link, null, array[v_fit]), design.relation) as part
  );
  v_h := ml._symmetric_matrix(v_sums[3 + v_all:], v_all);
  for j in 2..v_all loop
    -- the slope at zero, in the unit of the penalty
    v_spread := v_h[j][j] / v_h[1][1] - (v_h[1][j] / v_h[1][1]) ^ 2;
    if v_spread > 1e-24 then
      v_top := greatest(
        v_top,
        abs(v_sums[2 + j]) / v_group.row_count / case
          when standardize then sqrt(v_spread)
          else design.scale[v_settled.active[j - 1]]
        end
      );
    end if;
  end loop;
  return greatest(v_top, 1e-9) / alpha;
end;
$$;

comment on function ml._elastic_net_top(ml.design, text, float8, boolean) is $$
Returns the least lambda at which all coefficients are 0, from which a path starts.
$$;

grant execute on function
  ml._coordinate_descent(float8[], float8[], float8[], float8, float8, integer, float8),
  ml._elastic_net_step(ml.design, text, float8, float8, boolean, integer, float8, ml.fit, ml.fit_step),
  ml._elastic_net_fits(ml.design, text, float8, float8[], boolean, integer, float8),
  ml._list(text, text, float8, float8),
  ml._elastic_net_cross_validation(
    ml.design, text, float8[], float8[], integer, integer, boolean, integer, float8, text
  ),
  ml._elastic_net_top(ml.design, text, float8, boolean),
  ml.elastic_net_train(text, text, text, text, text, float8, float8, boolean, text, text, text, text, integer, float8)
to insights_analyst, insights_admin, insights_worker;

create or replace function ml._digamma(x float8)
returns float8
language plpgsql
immutable
parallel safe
strict
set search_path to pg_catalog, pg_temp
as $$
declare
  v_x float8 := x;
  v_sum float8 := 0;
  v_z float8;
begin
  while v_x < 12 loop
    v_sum := v_sum - 1 / v_x;
    v_x := v_x + 1;
  end loop;
  v_z := 1 / (v_x * v_x);
  return v_sum + ln(v_x) - 0.5 / v_x
    - v_z * (
      1.0 / 12 - v_z * (1.0 / 120 - v_z * (1.0 / 252 - v_z * (1.0 / 240 - v_z * (1.0 / 132 - v_z * 691.0 / 32760))))
    );
end;
$$;

comment on function ml._digamma(float8) is $$
Returns the derivative of ln gamma(x), for x > 0. Source: Abramowitz and Stegun 6.3.18.
$$;

create or replace function ml._gamma_shape(mean_deviance float8)
returns float8
language plpgsql
immutable
parallel safe
strict
set search_path to pg_catalog, pg_temp
as $$
declare
  v_target constant float8 := mean_deviance / 2;
  v_low float8 := 1e-8;
  v_high float8 := 1e12;
  v_middle float8;
begin
  -- ln a - digamma(a) decreases from infinity to 0, so bisection of the exponent finds the only root
  for step in 1..120 loop
    v_middle := sqrt(v_low * v_high);
    if ln(v_middle) - ml._digamma(v_middle) > v_target then
      v_low := v_middle;
    else
      v_high := v_middle;
    end if;
  end loop;
  return v_middle;
end;
$$;

comment on function ml._gamma_shape(float8) is $$
Returns the maximum likelihood estimate of a gamma distribution's shape from the mean deviance.
The root of ln a - digamma(a) = D / 2n.
$$;

create or replace function ml._glm_constants(design ml.design, family text)
returns table (group_key text, value float8)
language plpgsql
as $$
begin
  return query
  select coalesce(part.key, ''), part.sums[1]
  from ml._sums(
    case when family = 'poisson' then format(
      -- ln y! is computed once for each distinct count
      $statement$
      select
        key,
        true,
        count(*),
        array[sum(times * (case when y > 0 then y * ln(y) else 0 end - y - ml._log_gamma(y + 1)))]
      from (select key, y, %s as times from (%s) as row where complete group by key, y) as tally
      group by key
      $statement$,
      case when design.weights is not null then 'sum(prior)' else 'count(*)' end,
      ml._rows(design)
    )
    else format(
      'select key, true, count(*), array[sum(%s)] from (%s) as row where complete group by key',
      case
        when family = 'gaussian' then 'ln(prior)'
        when design.weights is not null then 'prior * ln(y)'
        else 'ln(y)'
      end,
      ml._rows(design)
    ) end,
    design.relation
  ) as part;
end;
$$;

comment on function ml._glm_constants(ml.design, text) is $$
Returns the term of the log likelihood that depends on y only, by group key.
The log likelihood of the saturated model for counts, the sum of ln y for positive values, the sum of the logarithms of
the weights for gaussian.
$$;

create or replace function ml._glm_likelihood(fit ml.fit, family text, term float8)
returns float8
language plpgsql
immutable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_n constant float8 := fit.total_weight;
  v_shape float8;
begin
  if family = 'gamma' then
    v_shape := ml._gamma_shape(fit.deviance / v_n);
  end if;
  return case family
    when 'binomial' then -fit.deviance / 2
    when 'gaussian' then
      -fit.row_count / 2.0 * (ln(2 * pi() * fit.deviance / fit.row_count) + 1) + coalesce(term / 2, 0)
    -- the log likelihood of the saturated model minus half the deviance
    when 'poisson' then term - fit.deviance / 2
    when 'gamma' then
      v_n * (v_shape * ln(v_shape) - v_shape - ml._log_gamma(v_shape)) - term - v_shape * fit.deviance / 2
    else -v_n / 2.0 * (ln(2 * pi() * fit.deviance / v_n) + 1) - 1.5 * term
  end;
end;
$$;

comment on function ml._glm_likelihood(ml.fit, text, float8) is $$
Returns the log likelihood of a fit at the maximum likelihood dispersion; `term` is that of ml._glm_constants.
$$;

create or replace function ml.glm(
  source_table text,
  model_table text,
  dependent_varname text,
  independent_varname text,
  family_params text,
  grouping_col text default null,
  optim_params text default 'max_iter=100, optimizer=irls, tolerance=1e-6',
  verbose boolean default false,
  weights text default null,
  offsets text default null
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_links constant jsonb := '{
    "gaussian": ["identity", "log", "inverse"], "binomial": ["logit", "probit"], "poisson": ["log", "identity", "sqrt"],
    "gamma": ["inverse", "identity", "log"], "inverse_gaussian": ["sqr_inverse", "log", "identity", "inverse"]
  }';
  v_output text := common.output_table(model_table, array['_summary']);
  v_family_params constant jsonb := ml._options(family_params, '{family, link}', 'family_params');
  v_options constant jsonb := ml._options(optim_params, '{max_iter, optimizer, tolerance}', 'optim_params');
  v_family constant text := lower(v_family_params ->> 'family');
  v_link constant text := coalesce(lower(v_family_params ->> 'link'), v_links -> v_family ->> 0);
  v_max_iter constant integer := ml._number(v_options, 'max_iter', 100, 1, 100000);
  v_tolerance constant float8 := ml._number(v_options, 'tolerance', 1e-6, 0, 1);
  v_normal constant boolean := v_family in ('binomial', 'poisson');
  v_design ml.design;
  v_fitted record;
  v_fit ml.fit;
  v_fits ml.fit[] := '{}';
  v_terms jsonb := '{}';
  v_degrees float8;
begin
  if v_family is null or not v_links ? v_family then
    perform common.refuse('CF001', format('there is no family "%s"', coalesce(left(v_family, 100), '')),
      'Give family=gaussian, binomial, poisson, gamma or inverse_gaussian, such as ''family=poisson, link=log''.');
  elsif not v_links -> v_family ? v_link then
    perform common.refuse(
      'CF001',
      format('family %s has no link "%s"', left(v_family, 100), left(v_link, 100)),
      format(
        'Its links are %s.',
        (select string_agg(name, ', ') from jsonb_array_elements_text(v_links -> v_family) as name)
      )
    );
  elsif coalesce(lower(v_options ->> 'optimizer'), 'irls') <> 'irls' then
    perform common.refuse('CF001', format('there is no optimizer "%s"', left(v_options ->> 'optimizer', 100)),
      'Use irls.');
  end if;
  v_design := ml._design(source_table, dependent_varname, independent_varname, grouping_col, weights, offsets);
  v_fitted := ml._glm_fits(v_design, v_family, v_link, v_max_iter, v_tolerance);
  if v_family in ('poisson', 'gamma', 'inverse_gaussian') or v_family = 'gaussian' and weights is not null then
    perform ml._check_fits(v_fitted.fits, v_design);
    v_terms := (
      select jsonb_object_agg(term.group_key, term.value) from ml._glm_constants(v_fitted.settled, v_family) as term
    );
  end if;
  foreach v_fit in array v_fitted.fits loop
    if v_fit.failure is null then
      v_degrees := nullif(v_fit.row_count - v_design.width, 0);
      v_fit.dispersion := case when v_normal then 1 else v_fit.pearson / v_degrees end;
      if v_fit.dispersion is not null then
        v_fit.covariance := ml._scaled(v_fit.inverse, v_fit.dispersion);
        v_fit := ml._tested(v_fit, case when not v_normal then v_degrees end);
      end if;
      v_fit.log_likelihood := ml._glm_likelihood(v_fit, v_family, (v_terms ->> v_fit.group_key)::float8);
      if glm.verbose then
        raise info 'group %: % rows, % iterations, deviance %',
          v_fit.group_key, v_fit.row_count, v_fit.iterations, v_fit.deviance;
      end if;
    else
      v_fit.iterations := null;
      v_fit.deviance := null;
      v_fit.converged := null;
    end if;
    v_fits := v_fits || v_fit;
  end loop;
  perform ml._warn_unconverged(v_fits, 'glm', v_max_iter, 'max_iter');

  perform ml._publish(
    v_output, v_design, v_fits,
    format(
      'coef, log_likelihood, std_err, stats as %s, p_values, dispersion, row_count as num_rows_processed, '
        || 'skipped as num_rows_skipped, iterations as num_iterations, deviance, converged, failure',
      case when v_normal then 'z_stats' else 't_stats' end
    ),
    format(
      $list$
      'glm'::text as method, %L::text as source_table, %L::text as model_table, %L::text as dependent_varname,
      %L::text as independent_varname, %L::text as family_params, %L::text as grouping_col,
      %L::text as optimizer_params, group_count as num_all_groups, failed_count as num_failed_groups,
      row_count as total_rows_processed, skipped as total_rows_skipped, %L::text as weights, %L::text as offsets
      $list$,
      source_table, model_table, dependent_varname, independent_varname,
      format('family=%s, link=%s', v_family, v_link), grouping_col,
      format('optimizer=irls, max_iter=%s, tolerance=%s', v_max_iter, v_tolerance), weights, offsets
    )
  );
end;
$$;

comment on function ml.glm(text, text, text, text, text, text, text, boolean, text, text) is $$
@behavior -*
Trains a generalized linear model, as MADlib: one model, or one for each value of the grouping columns.
Iteratively reweighted least squares. `family_params` is, for example, `family=poisson, link=log`. Families and links,
the first link being the default: gaussian (identity, log, inverse), binomial (logit, probit), poisson (log, identity,
sqrt), gamma (inverse, identity, log), inverse_gaussian (sqr_inverse, log, identity, inverse). `optim_params`: max_iter,
tolerance (in hundredths of a standard error).
`weights` is an expression: the dispersion of a row is divided by its weight (R's `glm`), so with binomial and poisson
it counts as that many rows; a row of weight 0 is skipped. `offsets` is an expression that is added to the linear
predictor, such as `ln(days)` for counts over different numbers of days; add it to predictions.
Writes `model_table`: the grouping columns, coef, log_likelihood (at the maximum likelihood dispersion), std_err,
z_stats (binomial, poisson) or t_stats (others), p_values, dispersion (Pearson's estimate; 1 for binomial and poisson),
num_rows_processed, num_rows_skipped, num_iterations, and, not in MADlib, `deviance`, `converged`, `failure`; and
`<model_table>_summary`.
Errors: CF001 (family, link, a value the family cannot have, a weight that is negative or null), CF002, CF003, CF004 (no
rows, one class), CF005, CF007 (collinear; separated), CF008.
Source: McCullagh and Nelder, Generalized Linear Models, 2nd edition, 1989.
$$;

grant execute on function
  ml._digamma(float8),
  ml._gamma_shape(float8),
  ml._glm_constants(ml.design, text),
  ml._glm_likelihood(ml.fit, text, float8),
  ml.glm(text, text, text, text, text, text, text, boolean, text, text)
to insights_analyst, insights_admin, insights_worker;

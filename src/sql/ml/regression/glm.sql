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

create or replace function ml._glm_constants(design jsonb, family text)
returns jsonb
language plpgsql
as $$
begin
  return (
    select jsonb_object_agg(coalesce(part.key, ''), part.sums[1])
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
        case when design ? 'weights' then 'sum(prior)' else 'count(*)' end,
        ml._rows(design)
      )
      else format(
        'select key, true, count(*), array[sum(%s)] from (%s) as row where complete group by key',
        case when family = 'gaussian' then 'ln(prior)' when design ? 'weights' then 'prior * ln(y)' else 'ln(y)' end,
        ml._rows(design)
      ) end,
      (design ->> 'relation')::regclass
    ) as part
  );
end;
$$;

comment on function ml._glm_constants(jsonb, text) is $$
Returns the terms of the log likelihood that depend on y only, by group key.
The log likelihood of the saturated model for counts, the sum of ln y for positive values, the sum of the logarithms of
the weights for gaussian.
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
  v_design jsonb;
  v_constants jsonb := '{}';
  v_result jsonb[] := '{}';
  v_rows bigint := 0;
  v_skipped bigint := 0;
  v_failed bigint := 0;
  v_width integer;
  v_fit record;
  v_wald record;
  v_dispersion float8;
  v_shape float8;
  v_likelihood float8;
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
  v_width := (v_design ->> 'width')::int;

  for v_fit in select * from ml._glm_fits(v_design, v_family, v_link, v_max_iter, v_tolerance) loop
    v_rows := v_rows + v_fit.row_count;
    v_skipped := v_skipped + v_fit.skipped;
    if v_fit.failure is not null then
      if v_design -> 'groups' = '[]' then
        perform ml._fit_failed(v_fit.failure, v_design ->> 'relation');
      end if;
      v_failed := v_failed + 1;
      v_result := v_result || jsonb_build_object(
        'key', v_fit.key,
        'num_rows_processed', v_fit.row_count,
        'num_rows_skipped', v_fit.skipped,
        'failure', v_fit.failure
      );
      continue;
    elsif not v_fit.converged then
      raise warning 'ml.glm: no convergence after % iterations%',
        v_max_iter,
        case when v_fit.key <> '' then format(' in group %s', left(v_fit.key, 100)) else '' end
        using hint = 'Give a larger max_iter.';
    end if;
    if (v_family in ('poisson', 'gamma', 'inverse_gaussian') or v_family = 'gaussian' and weights is not null)
      and v_constants = '{}'
    then
      v_constants := ml._glm_constants(v_fit.settled, v_family);
    end if;
    v_dispersion := case when v_normal then 1 else v_fit.pearson / nullif(v_fit.row_count - v_width, 0) end;
    v_wald := ml._wald(
      v_fit.coef,
      ml._scaled(v_fit.inverse, v_dispersion),
      case when not v_normal then nullif(v_fit.row_count - v_width, 0) end
    );
    v_shape := case when v_family = 'gamma' then ml._gamma_shape(v_fit.deviance / v_fit.total_weight) end;
    v_likelihood := case v_family
      when 'binomial' then -v_fit.deviance / 2
      when 'gaussian' then -v_fit.row_count / 2.0 * (ln(2 * pi() * v_fit.deviance / v_fit.row_count) + 1)
        + coalesce((v_constants ->> v_fit.key)::float8 / 2, 0)
      -- the log likelihood of the saturated model minus half the deviance
      when 'poisson' then (v_constants ->> v_fit.key)::float8 - v_fit.deviance / 2
      when 'gamma' then v_fit.total_weight * (v_shape * ln(v_shape) - v_shape - ml._log_gamma(v_shape))
        - (v_constants ->> v_fit.key)::float8 - v_shape * v_fit.deviance / 2
      else -v_fit.total_weight / 2.0 * (ln(2 * pi() * v_fit.deviance / v_fit.total_weight) + 1)
        - 1.5 * (v_constants ->> v_fit.key)::float8
    end;
    v_result := v_result || jsonb_build_object(
      'key', v_fit.key,
      'coef', to_jsonb(v_fit.coef),
      'log_likelihood', v_likelihood,
      'std_err', case when v_dispersion is not null then to_jsonb(v_wald.std_err) end,
      'z_stats', to_jsonb(v_wald.stats),
      't_stats', case when v_dispersion is not null then to_jsonb(v_wald.stats) end,
      'p_values', case when v_dispersion is not null then to_jsonb(v_wald.p_values) end,
      'dispersion', v_dispersion,
      'num_rows_processed', v_fit.row_count,
      'num_rows_skipped', v_fit.skipped,
      'num_iterations', v_fit.iterations,
      'deviance', v_fit.deviance,
      'converged', v_fit.converged
    );
    if glm.verbose then
      raise info 'group %: % rows, % iterations, deviance %',
        v_fit.key, v_fit.row_count, v_fit.iterations, v_fit.deviance;
    end if;
  end loop;
  if v_failed = cardinality(v_result) then
    perform ml._fit_failed(v_result[1] ->> 'failure', v_design ->> 'relation');
  end if;

  perform ml._publish(
    v_output, v_design,
    'coef float8[], log_likelihood float8, std_err float8[], ' || case when v_normal then 'z_stats' else 't_stats' end
      || ' float8[], p_values float8[], dispersion float8, num_rows_processed bigint, num_rows_skipped bigint, '
      || 'num_iterations integer, deviance float8, converged boolean, failure text',
    to_jsonb(v_result),
    jsonb_build_object(
      'method', 'glm',
      'source_table', source_table,
      'model_table', model_table,
      'dependent_varname', dependent_varname,
      'independent_varname', independent_varname,
      'family_params', format('family=%s, link=%s', v_family, v_link),
      'grouping_col', grouping_col,
      'optimizer_params', format('optimizer=irls, max_iter=%s, tolerance=%s', v_max_iter, v_tolerance),
      'num_all_groups', cardinality(v_result),
      'num_failed_groups', v_failed,
      'total_rows_processed', v_rows,
      'total_rows_skipped', v_skipped,
      'weights', weights,
      'offsets', offsets
    ),
    'method text, source_table text, model_table text, dependent_varname text, independent_varname text, '
      || 'family_params text, grouping_col text, optimizer_params text, num_all_groups bigint, '
      || 'num_failed_groups bigint, total_rows_processed bigint, total_rows_skipped bigint, weights text, '
      || 'offsets text'
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
  ml._glm_constants(jsonb, text),
  ml.glm(text, text, text, text, text, text, text, boolean, text, text)
to insights_analyst, insights_admin, insights_worker;

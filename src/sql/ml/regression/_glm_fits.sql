/*
 * Fisher scoring (iteratively reweighted least squares) for generalized linear models. Each iteration is one generated
 * statement of built-in sums, in parallel where the table is large, for all groups that have not converged. In the
 * statement eta, mu and the weights are computed layer by layer, so that each is computed once per row.
 */
create or replace function ml._glm_failures(
  design ml.design,
  family text,
  link text,
  groups ml.design_group[],
  failure text
)
returns text[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_y constant text := left(design.y, 100);
  v_group ml.design_group;
  v_failures text[] := '{}';
  v_mean float8;
begin
  foreach v_group in array groups loop
    if v_group.row_count = 0 then
      v_failures := v_failures || ml._no_rows(design);
    elsif family = 'binomial' and v_group.between_classes > 0 then
      perform common.refuse(
        'CF001',
        format(
          'the dependent variable "%s" holds %s, a class is 0 or 1',
          v_y,
          case when v_group.least <> 0 then v_group.least else v_group.largest end
        ),
        'Give a boolean, 0 and 1, or an expression such as score >= 50.'
      );
    elsif family = 'binomial' and v_group.least = v_group.largest then
      v_failures := v_failures || format('it holds one class only, %s', v_group.largest);
    elsif family = 'poisson' and v_group.least < 0
      or family in ('gamma', 'inverse_gaussian') and v_group.least <= 0
    then
      perform common.refuse(
        'CF001',
        format(
          'the dependent variable "%s" holds %s, which family %s cannot have', v_y, v_group.least, left(family, 100)
        ),
        case family when 'poisson' then 'Counts are 0 or more.' else 'Values must be positive.' end
      );
    elsif family = 'poisson' and v_group.largest = 0 then
      v_failures := v_failures || 'every count is 0, so it holds one class only'::text;
    elsif v_group.row_count < design.width then
      v_failures := v_failures || format('%s complete rows for %s columns', v_group.row_count, design.width);
    else
      v_failures := v_failures || failure;
    end if;
  end loop;
  v_mean := (select sum(part.total) / nullif(sum(part.row_count), 0) from unnest(groups) as part);
  if family = 'gaussian' and link = 'log' and not v_mean > 0 then
    perform common.refuse(
      'CF001',
      format('the mean of "%s" is %s, which is outside the range of the log link', v_y, v_mean),
      'Use link=identity.'
    );
  end if;
  return v_failures;
end;
$$;

comment on function ml._glm_failures(ml.design, text, text, ml.design_group[], text) is $$
Returns for each group the reason why it cannot be fitted, null for groups that can.
`groups` and `failure` are those of ml._settled. Error CF001 for values of y that the family cannot have.
$$;

create or replace function ml._glm_linked(family text, link text, value float8, mean float8)
returns float8
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return case link
    when 'identity' then value
    when 'log' then ln(greatest(value, 1e-10 * abs(mean)))
    when 'logit' then ln(value / (1 - value))
    when 'probit' then ml.normal_quantile(case when family = 'binomial' then value else 0.5 end)
    when 'inverse' then 1 / value
    when 'sqr_inverse' then 1 / (value * value)
    when 'sqrt' then sqrt(value)
  end;
end;
$$;

comment on function ml._glm_linked(text, text, float8, float8) is $$
Returns the link function at the mean `value` of a group; `mean` is that of all groups.
$$;

create or replace function ml._prepare_step(statement text, size integer)
returns void
language plpgsql
as $$
begin
  if statement !~ '^\s*(select|with) ' then
    perform common.refuse('CF001', 'the statement is not a query', 'Give the text of a select.');
  end if;
  -- One that an interrupted fit left, since prepared statements outlive a transaction.
  if exists (select from pg_catalog.pg_prepared_statements where name = '_ml_glm_step') then
    deallocate _ml_glm_step;
  end if;
  execute format(
    'prepare _ml_glm_step (%s) as %s',
    (select string_agg('float8', ', ') from generate_series(1, size)),
    statement
  );
end;
$$;

comment on function ml._prepare_step(text, integer) is $$
Prepares the statement of a step of Fisher scoring, whose parameters are the coefficients.
$$;

create or replace function ml._glm_step(
  settled ml.design,
  family text,
  link text,
  iteration integer,
  max_iter integer,
  tolerance float8,
  sums float8[],
  inout fit ml.fit,
  inout state ml.fit_step
)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_unknowns constant integer[] := ml._unknowns(settled);
  v_size constant integer := cardinality(v_unknowns);
  -- gains and deviances are compared as if the weights had the mean 1
  v_unit constant float8 := fit.total_weight / fit.row_count;
  v_matrix float8[];
  v_solved record;
  v_value float8;
  v_gain float8 := 0;
  v_length float8 := 0;
  v_farthest float8 := 0;
  v_column integer;
begin
  if iteration > 0 then
    fit.iterations := iteration;
    -- outside the range of the link, or a larger deviance: the step is halved
    if sums[2] > 0 or sums[1] > fit.deviance * (1 + 1e-8) + 1e-12 * v_unit then
      state.halvings := state.halvings + 1;
      if state.halvings > 30 then
        state.done := true;
        fit.failure := case
          when fit.deviance = 'Infinity' then 'no starting point is inside the range of the link'
        end;
        return;
      end if;
      foreach v_column in array v_unknowns loop
        state.step[v_column] := state.step[v_column] / 2;
        fit.beta[v_column] := state.previous[v_column] + state.step[v_column];
      end loop;
      return;
    end if;
    fit.deviance := sums[1];
    fit.pearson := sums[3 + v_size + v_size * (v_size + 1) / 2];
    state.halvings := 0;
  end if;

  v_matrix := ml._symmetric_matrix(sums[3 + v_size:], v_size);
  v_solved := ml._scaled_inverse(v_matrix, case when fit.iterations <= 1 then 1e-11 else 1e-14 end);
  if v_solved.dependent is not null then
    state.done := true;
    v_column := v_unknowns[v_solved.dependent];
    fit.failure := case
      when fit.iterations <= 1
        then format('column %s is a linear combination of the columns before it', ml._label(settled, v_column))
      else ml._separation(
        settled, case when v_column = settled.intercept then v_unknowns[least(2, v_size)] else v_column end
      )
    end;
    return;
  end if;

  state.previous := coalesce(fit.beta, array_fill(0::float8, array[settled.width]));
  state.step := array_fill(0::float8, array[settled.width]);
  fit.beta := state.previous;
  v_column := null;
  for i in 1..v_size loop
    v_value := 0;
    for j in 1..v_size loop
      v_value := v_value + v_solved.inverse[i][j] * sums[2 + j];
      v_length := v_length + v_matrix[i][j] * fit.beta[v_unknowns[i]] * state.previous[v_unknowns[j]];
    end loop;
    state.step[v_unknowns[i]] := v_value;
    fit.beta[v_unknowns[i]] := state.previous[v_unknowns[i]] + v_value;
    v_gain := v_gain + v_value / v_unit * sums[2 + i];
    if v_unknowns[i] is distinct from settled.intercept
      and abs(v_value) * settled.spread[v_unknowns[i]] > v_farthest
    then
      v_farthest := abs(v_value) * settled.spread[v_unknowns[i]];
      v_column := v_unknowns[i];
    end if;
  end loop;
  if iteration = 0 then
    return;
  end if;

  fit.inverse := v_solved.inverse;
  -- Towards a finite optimum the steps shrink faster and faster. Where the classes are separated they stay as long as
  -- they are while the likelihood hardly increases: the coefficient would grow without bound.
  state.steady := case when v_gain < 0.1 and v_farthest > 0.5 * state.farthest then state.steady + 1 else 0 end;
  state.farthest := v_farthest;
  if family in ('binomial', 'poisson')
    and state.steady >= 3
    and v_farthest > 1e-3
    and (
      v_gain <= (tolerance / 100) ^ 2
      -- With probit the steps shrink as 1 / eta.
      or state.steady >= 8 and v_gain < 1e-6 and v_farthest > 0.01
      or v_farthest > 0.3 and (v_gain < 1e-5 or iteration = max_iter and iteration >= 15)
    )
  then
    state.done := true;
    fit.failure := ml._separation(settled, v_column);
  -- The root of the gain is the distance to the optimum in standard errors. With a canonical link the step just made
  -- squares the distance, and changes the information by the distance over the root of n: with many rows the iteration
  -- ends one step earlier.
  elsif v_gain <= (case
      when (family, link) in (('binomial', 'logit'), ('poisson', 'log')) then
        least(fit.row_count * (tolerance / 100) ^ 2, tolerance / 100)
      when family = 'binomial' then (tolerance / 100) ^ 2
      else (tolerance / 100) ^ 2 * sums[1] / v_unit / fit.row_count
    end)
    or v_gain <= 1e-24 * v_length / v_unit
  then
    state.done := true;
    fit.converged := true;
  end if;
end;
$$;

comment on function ml._glm_step(
  ml.design, text, text, integer, integer, float8, float8[], ml.fit, ml.fit_step
) is $$
Returns the fit of one group after a step of Fisher scoring from the sums of ml._glm_statement.
`beta` is improved, and the quality and `inverse`, that of the information over the unknowns, are those of the model
before the step. Iteration 0 starts from each row's own value.
$$;

create or replace function ml._glm_estimate(settled ml.design, fit ml.fit)
returns ml.fit
language plpgsql
immutable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_fit ml.fit := fit;
begin
  v_fit.deviance := nullif(fit.deviance, 'Infinity');
  if fit.failure is null and fit.inverse is null then
    v_fit.failure := 'it did not converge';
  end if;
  if v_fit.failure is not null then
    v_fit.beta := null;
    v_fit.inverse := null;
    return v_fit;
  end if;
  select unscaled.coef, unscaled.vcov
  into v_fit.coef, v_fit.inverse
  from ml._unscaled(
    fit.beta,
    ml._spread(fit.inverse, ml._unknowns(settled), settled.width),
    settled,
    settled.intercept,
    settled.intercept_value
  ) as unscaled;
  v_fit.information := (ml._scaled_inverse(v_fit.inverse, 1e-15)).inverse;
  return v_fit;
end;
$$;

comment on function ml._glm_estimate(ml.design, ml.fit) is $$
Returns a fit after its last step, with coefficients and the inverse of the information in the units of the caller.
$$;

create or replace function ml._glm_fits(
  design ml.design,
  family text,
  link text,
  max_iter integer,
  tolerance float8,
  out settled ml.design,
  out fits ml.fit[]
)
language plpgsql
set plan_cache_mode to force_generic_plan
as $$
declare
  v_first record := ml._settled(design);
  v_own boolean;
  v_mean float8;
  v_failures text[];
  v_group ml.design_group;
  v_fit ml.fit;
  v_state ml.fit_step;
  v_states ml.fit_step[] := '{}';
  v_living integer[];
  v_statement text;
  v_prepared boolean := false;
  v_part record;
  v_stepped record;
begin
  settled := v_first.settled;
  fits := '{}';
  v_mean := (select sum(part.total) / nullif(sum(part.row_count), 0) from unnest(v_first.groups) as part);
  v_failures := ml._glm_failures(settled, family, link, v_first.groups, v_first.failure);
  -- With an intercept, step 1 evaluates the model of the mean. Without one, or with offsets, step 0 starts from each
  -- row's own value.
  -- Each further step evaluates the model of the step before and improves it.
  v_own := settled.intercept is null or design.offsets is not null;
  foreach v_group in array v_first.groups loop
    v_fit := null;
    v_fit.group_key := v_group.group_key;
    v_fit.row_count := v_group.row_count;
    v_fit.skipped := v_group.skipped;
    v_fit.total_weight := v_group.mean_weight * v_group.row_count;
    v_fit.deviance := 'Infinity';
    v_fit.iterations := 0;
    v_fit.converged := false;
    v_fit.failure := v_failures[cardinality(fits) + 1];
    if not v_own then
      v_fit.beta := array_fill(0::float8, array[design.width]);
      if v_fit.failure is null then
        v_fit.beta[settled.intercept] := ml._glm_linked(
          family, link, v_group.total / nullif(v_group.row_count, 0), v_mean
        );
      end if;
    end if;
    v_state := null;
    v_state.done := v_fit.failure is not null;
    v_state.farthest := 'Infinity';
    v_state.steady := 0;
    v_state.halvings := 0;
    fits := fits || v_fit;
    v_states := v_states || v_state;
  end loop;

  for iteration in case when v_own then 0 else 1 end..max_iter loop
    v_living := array(
      select state.ordinality
      from unnest(v_states) with ordinality as state
      where not state.done
      order by state.ordinality
    );
    exit when v_living = '{}';
    if iteration = 0 or design.groups <> '{}' then
      v_statement := ml._glm_statement(settled, family, link, v_mean, array(
        select fits[place] from unnest(v_living) with ordinality as living (place, nth) order by nth
      ));
    else
      -- Planning a thousand sums takes as long as summing a thousand rows: it is done once.
      if not v_prepared then
        perform ml._prepare_step(
          ml._glm_statement(settled, family, link, v_mean, fits, prepared => true),
          cardinality(ml._unknowns(settled))
        );
        v_prepared := true;
      end if;
      v_statement := (
        select format('execute _ml_glm_step (%s)', string_agg(format('%L', fits[1].beta[place]), ', ' order by nth))
        from unnest(ml._unknowns(settled)) with ordinality as list (place, nth)
      );
    end if;
    for v_part in
      select v_living[part.key::int] as place, part.sums from ml._sums(v_statement, design.relation, true) as part
    loop
      v_stepped := ml._glm_step(
        settled, family, link, iteration, max_iter, tolerance, v_part.sums, fits[v_part.place], v_states[v_part.place]
      );
      fits[v_part.place] := v_stepped.fit;
      v_states[v_part.place] := v_stepped.state;
    end loop;
  end loop;
  if v_prepared then
    deallocate _ml_glm_step;
  end if;
  fits := array(
    select ml._glm_estimate(settled, fits[place]) from generate_subscripts(fits, 1) as place order by place
  );
end;
$$;

comment on function ml._glm_fits(ml.design, text, text, integer, float8) is $$
Fits a generalized linear model to each group and returns the settled design, and one fit per group.
`inverse` (of the information, with dispersion 1) and `information` are in the units of the caller. The iteration ends
when the distance to the optimum is below tolerance / 100 standard errors.
`failure` names a collinear or separating column; null otherwise.
$$;

grant execute on function
  ml._glm_failures(ml.design, text, text, ml.design_group[], text),
  ml._glm_linked(text, text, float8, float8),
  ml._prepare_step(text, integer),
  ml._glm_step(ml.design, text, text, integer, integer, float8, float8[], ml.fit, ml.fit_step),
  ml._glm_estimate(ml.design, ml.fit),
  ml._glm_fits(ml.design, text, text, integer, float8)
to insights_analyst, insights_admin, insights_worker;

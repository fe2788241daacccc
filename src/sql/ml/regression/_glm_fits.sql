/*
 * Fisher scoring (iteratively reweighted least squares) for generalized linear models. Each iteration is one generated
 * statement of built-in sums, in parallel where the table is large, for all groups that have not converged. In the
 * statement eta, mu and the weights are computed layer by layer, so that each is computed once per row.
 */
create or replace function ml._glm_failures(
  design jsonb,
  family text,
  link text,
  row_counts bigint[],
  sums float8[],
  failure text
)
returns text[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_width constant integer := (design ->> 'width')::int;
  v_y constant text := left(design ->> 'y', 100);
  v_failures text[] := array_fill(failure, array[cardinality(row_counts)]);
  v_mean float8;
  v_least float8;
  v_largest float8;
begin
  for g in 1..cardinality(row_counts) loop
    v_least := sums[4 * g - 2];
    v_largest := sums[4 * g - 1];
    if row_counts[g] = 0 then
      v_failures[g] := ml._no_rows(design);
    elsif family = 'binomial' and sums[4 * g] > 0 then
      perform common.refuse(
        'CF001',
        format(
          'the dependent variable "%s" holds %s, a class is 0 or 1',
          v_y,
          case when v_least <> 0 then v_least else v_largest end
        ),
        'Give a boolean, 0 and 1, or an expression such as score >= 50.'
      );
    elsif family = 'binomial' and v_least = v_largest then
      v_failures[g] := format('it holds one class only, %s', v_largest);
    elsif family = 'poisson' and v_least < 0 or family in ('gamma', 'inverse_gaussian') and v_least <= 0 then
      perform common.refuse(
        'CF001',
        format('the dependent variable "%s" holds %s, which family %s cannot have', v_y, v_least, left(family, 100)),
        case family when 'poisson' then 'Counts are 0 or more.' else 'Values must be positive.' end
      );
    elsif family = 'poisson' and v_largest = 0 then
      v_failures[g] := 'every count is 0, so it holds one class only';
    elsif row_counts[g] < v_width then
      v_failures[g] := format('%s complete rows for %s columns', row_counts[g], v_width);
    end if;
  end loop;
  v_mean := (select sum(sums[4 * g - 3]) from generate_series(1, cardinality(row_counts)) as g)
    / nullif((select sum(n) from unnest(row_counts) as n), 0);
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

comment on function ml._glm_failures(jsonb, text, text, bigint[], float8[], text) is $$
Returns for each group the reason why it cannot be fitted, null for groups that can.
`row_counts`, `sums` and `failure` are those of ml._settled. Error CF001 for values of y that the family cannot have.
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

create or replace function ml._glm_estimate(
  settled jsonb,
  unknowns float8[],
  covariance float8[],
  out beta float8[],
  out coef float8[],
  out inverse float8[]
)
language plpgsql
immutable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_width constant integer := (settled ->> 'width')::int;
  v_intercept constant integer := (settled ->> 'intercept')::int;
  v_place constant integer[] := array(
    select case when variable = 0 then v_intercept else variable end
    from unnest(ml._variables(settled)) with ordinality as list (variable, nth)
    order by nth
  );
  v_full float8[] := array_fill(0::float8, array[v_width, v_width]);
begin
  beta := array_fill(0::float8, array[v_width]);
  for i in 1..cardinality(v_place) loop
    beta[v_place[i]] := unknowns[i];
    for j in 1..cardinality(v_place) loop
      v_full[v_place[i]][v_place[j]] := covariance[i][j];
    end loop;
  end loop;
  select unscaled.coef, unscaled.vcov
  into coef, inverse
  from ml._unscaled(
    beta, v_full, settled, v_intercept, (settled ->> 'intercept_value')::float8
  ) as unscaled;
end;
$$;

comment on function ml._glm_estimate(jsonb, float8[], float8[]) is $$
Returns the coefficients and the inverse of the information for all columns of a settled design.
`beta` is for the columns as they are summed, `coef` and `inverse` are in the caller's units.
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

create or replace function ml._glm_fits(
  design jsonb,
  family text,
  link text,
  max_iter integer,
  tolerance float8,
  out settled jsonb,
  out key text,
  out row_count bigint,
  out total_weight float8,
  out skipped bigint,
  out beta float8[],
  out coef float8[],
  out inverse float8[],
  out information float8[],
  out deviance float8,
  out pearson float8,
  out iterations integer,
  out converged boolean,
  out failure text
)
returns setof record
language plpgsql
set plan_cache_mode to force_generic_plan
as $$
declare
  v_first record := ml._settled(design);
  v_relation constant regclass := (design ->> 'relation')::regclass;
  v_intercept constant integer := (v_first.settled ->> 'intercept')::int;
  v_variables constant integer[] := ml._variables(v_first.settled);
  v_size constant integer := cardinality(v_variables);
  v_own constant boolean := v_intercept is null or design ? 'offsets';
  v_groups constant integer := cardinality(v_first.keys);
  v_spread constant float8[] := array(select jsonb_array_elements_text(v_first.settled -> 'spread')::float8);
  v_mean float8;
  v_beta float8[] := array_fill(0::float8, array[v_groups * v_size]);
  v_before float8[] := v_beta;
  v_step float8[] := v_beta;
  v_deviance float8[] := array_fill('Infinity'::float8, array[v_groups]);
  v_pearson float8[] := array_fill(null::float8, array[v_groups]);
  v_reach float8[] := array_fill('Infinity'::float8, array[v_groups]);
  v_steady integer[] := array_fill(0, array[v_groups]);
  v_halvings integer[] := array_fill(0, array[v_groups]);
  v_iterations integer[] := array_fill(0, array[v_groups]);
  v_done boolean[];
  v_good boolean[] := array_fill(false, array[v_groups]);
  v_failure text[];
  v_inverse jsonb[] := array_fill(null::jsonb, array[v_groups]);
  v_matrix float8[];
  v_solved record;
  v_part record;
  v_living integer[];
  v_statement text;
  v_prepared boolean := false;
  v_g integer;
  v_at integer;
  v_unit float8;
  v_value float8;
  v_gain float8;
  v_length float8;
  v_farthest float8;
  v_column integer;
begin
  v_mean := (select sum(v_first.sums[4 * g - 3]) from generate_series(1, v_groups) as g)
    / nullif((select sum(n) from unnest(v_first.row_counts) as n), 0);
  v_failure := ml._glm_failures(
    v_first.settled, family, link, v_first.row_counts, v_first.sums, v_first.failure
  );
  v_done := array(select reason is not null from unnest(v_failure) with ordinality as list (reason, nth) order by nth);

  -- With an intercept, step 1 evaluates the model of the mean. Without one, or with offsets, step 0 starts from each
  -- row's own value.
  -- Each further step evaluates the model of the step before and improves it.
  if not v_own then
    for g in 1..v_groups loop
      if v_failure[g] is null then
        v_beta[(g - 1) * v_size + 1] := ml._glm_linked(
          family, link, v_first.sums[4 * g - 3] / nullif(v_first.row_counts[g], 0), v_mean
        );
      end if;
    end loop;
  end if;
  for iteration in case when v_own then 0 else 1 end..max_iter loop
    v_living := array(select g from generate_series(1, v_groups) as g where not v_done[g]);
    exit when v_living = '{}';
    if iteration = 0 or design -> 'groups' <> '[]' then
      v_statement := ml._glm_statement(
        v_first.settled, family, link, v_mean,
        array(select v_first.keys[g] from unnest(v_living) with ordinality as living (g, nth) order by nth),
        case when iteration > 0 then array(
          select v_beta[(g - 1) * v_size + j]
          from unnest(v_living) with ordinality as living (g, nth)
          cross join generate_series(1, v_size) as j
          order by nth, j
        ) end,
        v_variables
      );
    else
      -- Planning a thousand sums takes as long as summing a thousand rows: it is done once.
      if not v_prepared then
        perform ml._prepare_step(
          ml._glm_statement(v_first.settled || '{"prepared": true}', family, link, v_mean, v_first.keys, v_beta,
            v_variables),
          v_size
        );
        v_prepared := true;
      end if;
      v_statement := (
        select format('execute _ml_glm_step (%s)', string_agg(format('%L', value), ', ' order by nth))
        from unnest(v_beta) with ordinality as list (value, nth)
      );
    end if;
    for v_part in
      select v_living[part.key::int] as g, part.sums from ml._sums(v_statement, v_relation, true) as part
    loop
      v_g := v_part.g;
      -- gains and deviances are compared as if the weights had the mean 1
      v_unit := v_first.mean_weights[v_g];
      if iteration > 0 then
        v_iterations[v_g] := iteration;
        -- outside the range of the link, or a larger deviance: the step is halved
        if v_part.sums[2] > 0 or v_part.sums[1] > v_deviance[v_g] * (1 + 1e-8) + 1e-12 * v_unit then
          v_halvings[v_g] := v_halvings[v_g] + 1;
          if v_halvings[v_g] > 30 then
            v_done[v_g] := true;
            v_failure[v_g] := case
              when v_deviance[v_g] = 'Infinity' then 'no starting point is inside the range of the link'
            end;
            continue;
          end if;
          for j in 1..v_size loop
            v_at := (v_g - 1) * v_size + j;
            v_step[v_at] := v_step[v_at] / 2;
            v_beta[v_at] := v_before[v_at] + v_step[v_at];
          end loop;
          continue;
        end if;
        v_deviance[v_g] := v_part.sums[1];
        v_pearson[v_g] := v_part.sums[3 + v_size + v_size * (v_size + 1) / 2];
        v_halvings[v_g] := 0;
      end if;

      v_matrix := ml._symmetric_matrix(v_part.sums[3 + v_size:], v_size);
      v_solved := ml._scaled_inverse(v_matrix, case when v_iterations[v_g] <= 1 then 1e-11 else 1e-14 end);
      if v_solved.dependent is not null then
        v_done[v_g] := true;
        v_column := v_variables[v_solved.dependent];
        v_failure[v_g] := case
          when v_iterations[v_g] <= 1
            then format(
              'column %s is a linear combination of the columns before it',
              ml._label(design, coalesce(nullif(v_column, 0), v_intercept))
            )
          else ml._separation(design, case when v_column = 0 then v_variables[least(2, v_size)] else v_column end)
        end;
        continue;
      end if;

      v_gain := 0;
      v_length := 0;
      v_farthest := 0;
      v_column := null;
      for i in 1..v_size loop
        v_value := 0;
        for j in 1..v_size loop
          v_value := v_value + v_solved.inverse[i][j] * v_part.sums[2 + j];
          v_length := v_length + v_matrix[i][j] * v_beta[(v_g - 1) * v_size + i] * v_beta[(v_g - 1) * v_size + j];
        end loop;
        v_at := (v_g - 1) * v_size + i;
        v_before[v_at] := v_beta[v_at];
        v_step[v_at] := v_value;
        v_beta[v_at] := v_beta[v_at] + v_value;
        v_gain := v_gain + v_value / v_unit * v_part.sums[2 + i];
        if v_variables[i] > 0 and abs(v_value) * v_spread[v_variables[i]] > v_farthest then
          v_farthest := abs(v_value) * v_spread[v_variables[i]];
          v_column := v_variables[i];
        end if;
      end loop;

      if iteration > 0 then
        v_inverse[v_g] := to_jsonb(v_solved.inverse);
        -- Towards a finite optimum the steps shrink faster and faster. Where the classes are separated they stay as
        -- long as they are while the likelihood hardly increases: the coefficient would grow without bound.
        v_steady[v_g] := case when v_gain < 0.1 and v_farthest > 0.5 * v_reach[v_g] then v_steady[v_g] + 1 else 0 end;
        v_reach[v_g] := v_farthest;
        if family in ('binomial', 'poisson')
          and v_steady[v_g] >= 3
          and v_farthest > 1e-3
          and (
            v_gain <= (tolerance / 100) ^ 2
            -- With probit the steps shrink as 1 / eta.
            or v_steady[v_g] >= 8 and v_gain < 1e-6 and v_farthest > 0.01
            or v_farthest > 0.3 and (v_gain < 1e-5 or iteration = max_iter and iteration >= 15)
          )
        then
          v_done[v_g] := true;
          v_failure[v_g] := ml._separation(design, v_column);
        -- The root of the gain is the distance to the optimum in standard errors. With a canonical link the step just
        -- made squares the distance, and changes the information by the distance over the root of n: with many rows the
        -- iteration ends one step earlier.
        elsif v_gain <= (case
            when (family, link) in (('binomial', 'logit'), ('poisson', 'log')) then
              least(v_first.row_counts[v_g] * (tolerance / 100) ^ 2, tolerance / 100)
            when family = 'binomial' then (tolerance / 100) ^ 2
            else (tolerance / 100) ^ 2 * v_part.sums[1] / v_unit / v_first.row_counts[v_g]
          end)
          or v_gain <= 1e-24 * v_length / v_unit
        then
          v_done[v_g] := true;
          v_good[v_g] := true;
        end if;
      end if;
    end loop;
  end loop;
  if v_prepared then
    deallocate _ml_glm_step;
  end if;

  for g in 1..v_groups loop
    settled := v_first.settled;
    key := v_first.keys[g];
    row_count := v_first.row_counts[g];
    total_weight := v_first.mean_weights[g] * row_count;
    skipped := v_first.skipped[g];
    failure := v_failure[g];
    deviance := nullif(v_deviance[g], 'Infinity');
    pearson := v_pearson[g];
    iterations := v_iterations[g];
    converged := v_good[g];
    if failure is null and v_inverse[g] is null then
      failure := 'it did not converge';
    end if;
    beta := null;
    coef := null;
    inverse := null;
    information := null;
    if failure is null then
      select estimate.beta, estimate.coef, estimate.inverse
      into beta, coef, inverse
      from ml._glm_estimate(
        v_first.settled,
        v_beta[(g - 1) * v_size + 1:g * v_size],
        translate(v_inverse[g]::text, '[]', '{}')::float8[]
      ) as estimate;
      information := (ml._scaled_inverse(inverse, 1e-15)).inverse;
    end if;
    return next;
  end loop;
end;
$$;

comment on function ml._glm_fits(jsonb, text, text, integer, float8) is $$
Fits a generalized linear model to each group and returns one row per group.
`beta` is for the columns as they are summed; `coef`, `inverse` (of the information, with dispersion 1) and
`information` are in the caller's units. The iteration ends when the distance to the optimum is below tolerance / 100
standard errors.
`failure` names a collinear or separating column; null otherwise.
$$;

grant execute on function
  ml._glm_failures(jsonb, text, text, bigint[], float8[], text),
  ml._glm_linked(text, text, float8, float8),
  ml._glm_estimate(jsonb, float8[], float8[]),
  ml._prepare_step(text, integer),
  ml._glm_fits(jsonb, text, text, integer, float8)
to insights_analyst, insights_admin, insights_worker;

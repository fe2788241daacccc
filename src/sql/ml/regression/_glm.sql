/*
 * Fisher scoring (iteratively reweighted least squares) for generalized linear models. Each iteration is one generated
 * statement of built-in sums, in parallel where the table is large, for all groups at once; groups that are done drop
 * out.
 * In the statement eta, mu and the weights are made layer by layer, so that nothing is computed twice a row.
 */
create or replace function ml._glm_terms(
  family text,
  link text,
  mean float8,
  out mu text,
  out rest text,
  out slope text,
  out variance text,
  out deviance text,
  out start_mu text,
  out start_eta text
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  -- mu and the rest 1 - mu (binomial only), null outside the link's range; slope d mu / d eta; bounds keep exp from
  -- overflow
  mu := case link
    when 'identity' then case when family = 'gaussian' then 'eta' else 'case when eta > 0 then eta end' end
    when 'log' then 'exp(least(greatest(eta, -200), 200))'
    when 'logit' then '1 / (1 + exp(least(greatest(-eta, -100), 100)))'
    when 'probit' then 'ml._standard_normal_cdf(least(greatest(eta, -30), 30))'
    when 'inverse' then case when family = 'gaussian' then 'case when abs(eta) > 1e-30 then 1 / eta end' else 'case when eta > 1e-30 then 1 / eta end' end
    when 'sqr_inverse' then 'case when eta > 1e-60 then 1 / sqrt(eta) end'
    when 'sqrt' then 'case when eta > 0 and eta < 1e100 then eta * eta end'
  end;
  rest := case link
    when 'logit' then '1 / (1 + exp(least(greatest(eta, -100), 100)))'
    when 'probit' then 'ml._standard_normal_cdf(-least(greatest(eta, -30), 30))'
    else 'null::float8'
  end;
  slope := case link
    when 'identity' then '1'
    when 'log' then 'mu'
    when 'logit' then 'mu * rest'
    when 'probit' then '0.39894228040143267794 * exp(-least(eta * eta, 900) / 2)'
    when 'inverse' then '-mu * mu'
    when 'sqr_inverse' then '-mu * mu * mu / 2'
    when 'sqrt' then '2 * eta'
  end;
  variance := case family
    when 'gaussian' then '1'
    when 'binomial' then 'mu * rest'
    when 'poisson' then 'mu'
    when 'gamma' then 'mu * mu'
    when 'inverse_gaussian' then 'mu * mu * mu'
  end;
  deviance := case family
    when 'gaussian' then '(y - mu) * (y - mu)'
    when 'binomial' then '-2 * ln(case when y = 1 then mu else rest end)'
    when 'poisson' then '2 * (case when y > 0 then y * ln(y / mu) else 0 end - (y - mu))'
    when 'gamma' then '2 * ((y - mu) / mu - ln(y / mu))'
    when 'inverse_gaussian' then '(y - mu) * (y - mu) / (y * mu * mu)'
  end;
  -- where to begin: near each row's own value (McCullagh and Nelder, 2.5)
  start_mu := case family
    when 'gaussian' then case link
      when 'identity' then 'y'
      when 'log' then format('greatest(y, %L::float8)', mean / 10)
      else format('case when abs(y) < %1$L::float8 then %2$L::float8 else y end', abs(mean) / 10, mean)
    end
    when 'binomial' then '(y + 0.5) / 2'
    when 'poisson' then 'y + 0.1'
    else 'y'
  end;
  start_eta := case link
    when 'identity' then 'mu'
    when 'log' then 'ln(mu)'
    when 'logit' then 'ln(mu / rest)'
    when 'probit' then '(y * 2 - 1) * 0.67448975019608174320'
    when 'inverse' then '1 / mu'
    when 'sqr_inverse' then '1 / (mu * mu)'
    when 'sqrt' then 'sqrt(mu)'
  end;
end;
$$;

comment on function ml._glm_terms(text, text, float8) is $$
The SQL of a family and link (McCullagh and Nelder, Generalized Linear Models, table 2.1) in terms of eta, mu, rest and
y.
$$;

create or replace function ml._model_of_group(design jsonb, keys text[], beta float8[], variables integer[])
returns text
language sql
stable
begin atomic
  -- b0 … beside each group's key and number; written into the statement, for a join of tables could not run in parallel
  select case
    when design -> 'groups' = '[]' then format('cross join (select 1 as nth%s) as fit', listed.scalars)
    else format('join unnest(%L::text[], %L::int[]%s) as fit (key, nth%s) on fit.key = row.key', keys, numbers.nth, listed.arrays, listed.names)
  end
  from (
    select
      coalesce(string_agg(format(', %L::float8 as b%s', beta[place], variable), '' order by place), '') as scalars,
      coalesce(string_agg(format(', %L::float8[]', (
        select array_agg(beta[(key_nth - 1) * cardinality(variables) + place] order by key_nth)
        from generate_series(1, cardinality(keys)) as key_nth
      )), '' order by place), '') as arrays,
      coalesce(string_agg(format(', b%s', variable), '' order by place), '') as names
    from unnest(variables) with ordinality as list (variable, place)
    where beta is not null
  ) as listed
  cross join (select array_agg(nth order by nth) as nth from generate_series(1, cardinality(keys)) as nth) as numbers;
end;

comment on function ml._model_of_group(jsonb, text[], float8[], integer[]) is $$
The join that gives each row (`row`) its group's number and coefficients, `fit.b0` for the intercept and `fit.b2` … by
position.
`beta` holds the groups one after another.
$$;

create or replace function ml._linear_predictor(variables integer[], prefix text default '')
returns text
language sql
stable
parallel safe
begin atomic
  select string_agg(
    case when variable = 0 then 'fit.b0' else format('fit.b%s * %sd%s', variable, prefix, variable) end, ' + ' order by place
  )
  from unnest(variables) with ordinality as list (variable, place);
end;

comment on function ml._linear_predictor(integer[], text) is $$The sum of coefficients times columns, as text.$$;

create or replace function ml._glm_source(
  design jsonb,
  family text,
  link text,
  mean float8,
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
  v_terms record := ml._glm_terms(family, link, mean);
  v_columns text[] := array(select 'd' || variable from unnest(variables) as variable where variable > 0);
  v_carried text := (select coalesce(string_agg(', ' || name, '' order by nth), '')
    from unnest(v_columns) with ordinality as list (name, nth))
    || case when design ? 'clusters' then ', cluster' else '' end;
  v_source text;
begin
  -- row: the columns; first: eta; second: mu; third: weight, score and deviance
  v_source := format('(select * from (%s) as row where complete) as row %s', ml._rows(design), ml._model_of_group(design, keys, beta, variables));
  if beta is null then
    v_source := format('(%s) as first', ml._layer(format('fit.nth, row.y%s', replace(v_carried, ', ', ', row.')), v_source));
    v_source := format('(%s) as second', ml._layer(
      format('nth, y%s, %s as mu, %s as rest', v_carried, v_terms.start_mu, case when family = 'binomial' then '(1.5 - y) / 2' else 'null::float8' end),
      v_source
    ));
    v_source := format('(%s) as second', ml._layer(format('nth, y%s, mu, rest, %s as eta', v_carried, v_terms.start_eta), v_source));
  else
    v_source := format('(%s) as first', ml._layer(
      format('fit.nth, row.y%s, %s as eta', replace(v_carried, ', ', ', row.'), ml._linear_predictor(variables, 'row.')), v_source
    ));
    v_source := format('(%s) as second', ml._layer(format('nth, y%s, eta, %s as mu, %s as rest', v_carried, v_terms.mu, v_terms.rest), v_source));
  end if;
  if family = 'binomial' and link = 'logit' then
    v_source := format('(%s) as third', ml._layer(
      format('nth, y%s, eta, mu, mu * rest as weight, case when y = 1 then rest else -mu end as score, %s as deviance', v_carried, v_terms.deviance),
      v_source
    ));
  else
    v_source := format('(%s) as second', ml._layer(
      format('nth, y%s, eta, mu, (%s) as slope, (%s) / (%s) as ratio, %s as deviance',
        v_carried, v_terms.slope, v_terms.slope, v_terms.variance, v_terms.deviance
      ), v_source
    ));
    v_source := format('(%s) as third', ml._layer(
      format('nth, y%s, eta, mu, ratio * slope as weight, (y - mu) * ratio as score, deviance', v_carried), v_source
    ));
  end if;
  return v_source;
end;
$$;

comment on function ml._glm_source(jsonb, text, text, float8, text[], float8[], integer[]) is $$
What one step of Fisher scoring sums, row by row.
A subquery `third` with the group's number, y, the columns, eta, mu, and each row's weight, score and deviance.
$$;

create or replace function ml._glm_statement(
  design jsonb,
  family text,
  link text,
  mean float8,
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
  v_columns text[] := array(select 'd' || variable from unnest(variables) as variable where variable > 0);
  v_carried text := (select coalesce(string_agg(', ' || name, '' order by nth), '')
    from unnest(v_columns) with ordinality as list (name, nth));
  v_source text := ml._glm_source(design, family, link, mean, keys, beta, variables);
  v_score text;
begin
  v_score := case when beta is null then 'weight * eta + score' else 'score' end;
  v_source := format('(%s) as fourth', ml._layer(
    format('nth, y, mu, weight, %s as score, deviance%s%s', v_score, v_carried,
      (select coalesce(string_agg(format(', weight * %s as w%s', name, name), '' order by nth), '')
        from unnest(v_columns) with ordinality as list (name, nth))
    ), v_source
  ));
  return format(
    'select %s, true, count(*), array[sum(deviance), (count(*) - count(mu))::float8, %s%s] from %s%s',
    case when design -> 'groups' = '[]' then '''1''' else 'nth::text' end,
    (
      select string_agg(term, ', ' order by kind, row_place, column_place)
      from (
        select 1 as kind, place as row_place, 0::bigint as column_place,
          case when variable = 0 then 'sum(score)' else format('sum(score * d%s)', variable) end as term
        from unnest(variables) with ordinality as list (variable, place)
        union all
        select 2, row_list.place, column_list.place,
          case
            when row_list.variable = 0 and column_list.variable = 0 then 'sum(weight)'
            when row_list.variable = 0 then format('sum(wd%s)', column_list.variable)
            else format('sum(wd%s * d%s)', row_list.variable, column_list.variable)
          end
        from unnest(variables) with ordinality as row_list (variable, place)
        join unnest(variables) with ordinality as column_list (variable, place) on column_list.place >= row_list.place
      ) as every_term
    ),
    case when beta is not null and family not in ('binomial', 'poisson') then ', sum(score * score / weight)' else '' end,
    v_source,
    case when design -> 'groups' = '[]' then '' else ' group by nth' end
  );
end;
$$;

comment on function ml._glm_statement(jsonb, text, text, float8, text[], float8[], integer[]) is $$
One step of Fisher scoring as a statement.
By group number: the deviance, how many rows fall outside the link's range, the
score vector, the upper triangle of the information and, where the dispersion is free, Pearson's statistic. Without
`beta` it is the first step, from each row's own value.
$$;

create or replace function ml._scaled_inverse(
  matrix float8[],
  tolerance float8,
  out inverse float8[],
  out dependent integer
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_size constant integer := array_length(matrix, 1);
  v_root float8[] := array_fill(0::float8, array[v_size]);
  v_matrix float8[] := matrix;
begin
  for i in 1..v_size loop
    if not matrix[i][i] > 0 then
      dependent := i;
      return;
    end if;
    v_root[i] := sqrt(matrix[i][i]);
  end loop;
  for i in 1..v_size loop
    for j in 1..v_size loop
      v_matrix[i][j] := matrix[i][j] / v_root[i] / v_root[j];
    end loop;
  end loop;
  select solved.inverse, solved.dependent into v_matrix, dependent from ml._spd_inverse(v_matrix, tolerance) as solved;
  if dependent is null then
    for i in 1..v_size loop
      for j in 1..v_size loop
        v_matrix[i][j] := v_matrix[i][j] / v_root[i] / v_root[j];
      end loop;
    end loop;
    inverse := v_matrix;
  end if;
end;
$$;

comment on function ml._scaled_inverse(float8[], float8) is $$
Inverse of a symmetric positive definite matrix whose rows differ in size: scaled to a unit diagonal first. As
ml._spd_inverse.
$$;

create or replace function ml._variables(settled jsonb)
returns integer[]
language sql
stable
parallel safe
begin atomic
  select case when settled ->> 'intercept' is null then '{}' else '{0}' end::integer[]
    || array(select value::integer from jsonb_array_elements_text(settled -> 'active') with ordinality as list (value, nth) order by nth);
end;

comment on function ml._variables(jsonb) is $$
The unknowns of a settled design: 0 for the intercept if there is one, then the positions of the columns.
$$;

create or replace function ml._settled(
  design jsonb,
  out settled jsonb,
  out keys text[],
  out row_counts bigint[],
  out skipped bigint[],
  out sums float8[],
  out failure text
)
language plpgsql
as $$
declare
  v_width constant integer := (design ->> 'width')::int;
  v_active constant integer[] := array(select jsonb_array_elements_text(design -> 'active')::int);
  v_candidates integer[] := array(select jsonb_array_elements_text(design -> 'candidates')::int);
  v_spreads float8[] := array_fill(0::float8, array[v_width]);
  v_part record;
  v_constant integer;
  v_total float8 := 0;
begin
  -- the first scan: groups, counts, what y is, whether the candidates are constant, whether all is finite
  settled := design || '{"y_shift": 0, "y_scale": 1}';
  keys := '{}';
  row_counts := '{}';
  skipped := '{}';
  sums := '{}';
  for v_part in
    select
      part.key,
      coalesce(sum(part.row_count) filter (where part.complete), 0)::bigint as complete_count,
      coalesce(sum(part.row_count) filter (where not part.complete), 0)::bigint as skipped_count,
      max(part.sums) filter (where part.complete) as sums
    from ml._sums(
      format(
        'select key, complete, count(*), case when complete then array[sum(y), min(y), max(y), sum(abs(y * (y - 1)))%s] end from (%s) as row group by key, complete',
        ml._columns_of(settled, 'd', ', sum(%1$s * %1$s)', ''), ml._rows(settled)
      ),
      (design ->> 'relation')::regclass
    ) as part
    group by part.key
    order by part.key
  loop
    if v_part.sums && array['NaN', 'Infinity', '-Infinity']::float8[] then
      perform ml._refuse_non_finite(settled);
    end if;
    keys := keys || coalesce(v_part.key, '');
    row_counts := row_counts || v_part.complete_count;
    skipped := skipped || v_part.skipped_count;
    sums := sums || coalesce(v_part.sums[1:4], '{0, 0, 0, 0}');
    v_total := v_total + v_part.complete_count;
    for i in 1..cardinality(v_active) loop
      v_spreads[v_active[i]] := v_spreads[v_active[i]] + coalesce(v_part.sums[4 + i], 0);
    end loop;
  end loop;
  if keys = '{}' then
    perform common.refuse('CF004', format('"%s" has no rows', left(design ->> 'relation', 100)),
      'Train on a table with rows.');
  end if;

  for place in 1..v_width loop
    if design -> 'literals' -> place - 1 <> 'null' or (place = any (v_candidates) and v_spreads[place] = 0) then
      if (design -> 'literals' ->> place - 1)::float8 = 0 then
        failure := format('column %s is always 0', ml._label(design, place));
      elsif v_constant is not null then
        failure := format('column %s is constant, and so is column %s', ml._label(design, place), ml._label(design, v_constant));
      else
        v_constant := place;
      end if;
    elsif v_spreads[place] = 0 and v_total > 0 then
      failure := format('column %s is constant', ml._label(design, place));
    end if;
  end loop;
  settled := settled || jsonb_build_object(
    'intercept', v_constant,
    'intercept_value', coalesce((design -> 'literals' ->> v_constant - 1)::float8, (design -> 'shift' ->> v_constant - 1)::float8),
    'spread', (select jsonb_agg(case when v_total > 0 then sqrt(spread / v_total) end order by place)
      from unnest(v_spreads) with ordinality as list (spread, place)),
    'active', (select coalesce(jsonb_agg(place order by place), '[]')
      from unnest(v_active) as place where place is distinct from v_constant),
    'candidates', '[]'::jsonb
  );
  if v_constant is null then
    -- nothing to take the shifts back: fit the columns as they are
    settled := settled || jsonb_build_object('shift', to_jsonb(array_fill(0, array[v_width])));
  end if;
end;
$$;

comment on function ml._settled(jsonb) is $$
The first scan of an iterative fit.
It finds the groups and which column is the intercept (design keys `intercept`,
`intercept_value`, `spread`), and checks that all values are finite. `sums` holds per group sum, min, max of y and sum
|y (y - 1)|.
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
as $$
declare
  v_first record := ml._settled(design);
  v_relation constant regclass := (design ->> 'relation')::regclass;
  v_width constant integer := (design ->> 'width')::int;
  v_intercept constant integer := (v_first.settled ->> 'intercept')::int;
  v_variables constant integer[] := ml._variables(v_first.settled);
  v_size constant integer := cardinality(v_variables);
  v_groups constant integer := cardinality(v_first.keys);
  v_spread constant float8[] := array(select jsonb_array_elements_text(v_first.settled -> 'spread')::float8);
  v_mean float8;
  v_beta float8[] := array_fill(0::float8, array[v_groups * v_size]);
  v_before float8[] := v_beta;
  v_step float8[] := v_beta;
  v_deviance float8[] := array_fill('Infinity'::float8, array[v_groups]);
  v_pearson float8[] := array_fill(null::float8, array[v_groups]);
  v_halvings integer[] := array_fill(0, array[v_groups]);
  v_iterations integer[] := array_fill(0, array[v_groups]);
  v_done boolean[] := array_fill(false, array[v_groups]);
  v_good boolean[] := array_fill(false, array[v_groups]);
  v_failure text[] := array_fill(v_first.failure, array[v_groups]);
  v_inverse jsonb[] := array_fill(null::jsonb, array[v_groups]);
  v_matrix float8[];
  v_solved record;
  v_part record;
  v_living integer[];
  v_g integer;
  v_at integer;
  v_value float8;
  v_gain float8;
  v_length float8;
  v_farthest float8;
  v_column integer;
  v_full float8[];
  v_vector float8[];
begin
  v_mean := (select sum(v_first.sums[4 * g - 3]) from generate_series(1, v_groups) as g) / nullif((select sum(n)
    from unnest(v_first.row_counts) as n), 0);
  for g in 1..v_groups loop
    if v_first.row_counts[g] = 0 then
      v_failure[g] := 'no row without a null';
    elsif family = 'binomial' and v_first.sums[4 * g] > 0 then
      perform common.refuse(
        'CF001',
        format(
          'the dependent variable "%s" holds %s, a class is 0 or 1',
          left(design ->> 'y', 100),
          case when v_first.sums[4 * g - 2] <> 0 then v_first.sums[4 * g - 2] else v_first.sums[4 * g - 1] end
        ),
        'Give a boolean, 0 and 1, or an expression such as score >= 50.'
      );
    elsif family = 'binomial' and v_first.sums[4 * g - 2] = v_first.sums[4 * g - 1] then
      v_failure[g] := format('it holds one class only, %s', v_first.sums[4 * g - 1]);
    elsif family = 'poisson' and v_first.sums[4 * g - 2] < 0 or family in ('gamma', 'inverse_gaussian') and v_first.sums[4 * g - 2] <= 0 then
      perform common.refuse(
        'CF001',
        format(
          'the dependent variable "%s" holds %s, which family %s can not have',
          left(design ->> 'y', 100),
          v_first.sums[4 * g - 2],
          left(family, 100)
        ),
        case family when 'poisson' then 'Counts are 0 or more.' else 'Values must be positive.' end
      );
    elsif family = 'poisson' and v_first.sums[4 * g - 1] = 0 then
      v_failure[g] := 'every count is 0, so it holds one class only';
    elsif v_first.row_counts[g] < v_width then
      v_failure[g] := format('%s complete rows for %s columns', v_first.row_counts[g], v_width);
    end if;
    v_done[g] := v_failure[g] is not null;
  end loop;
  if family = 'gaussian' and link = 'log' and not v_mean > 0 then
    perform common.refuse(
      'CF001',
      format('the mean of "%s" is %s, which the log link can not reach', left(design ->> 'y', 100), v_mean),
      'Use link=identity.'
    );
  end if;

  -- With an intercept, step 1 evaluates the model of the mean alone. Without one, step 0 starts from each row's own
  -- value.
  -- Step t evaluates the model of step t - 1 and improves it.
  if v_intercept is not null then
    for g in 1..v_groups loop
      v_value := v_first.sums[4 * g - 3] / nullif(v_first.row_counts[g], 0);
      if v_failure[g] is null then
        v_beta[(g - 1) * v_size + 1] := case link
          when 'identity' then v_value
          when 'log' then ln(greatest(v_value, 1e-10 * abs(v_mean)))
          when 'logit' then ln(v_value / (1 - v_value))
          when 'probit' then ml.normal_quantile(case when family = 'binomial' then v_value else 0.5 end)
          when 'inverse' then 1 / v_value
          when 'sqr_inverse' then 1 / (v_value * v_value)
          when 'sqrt' then sqrt(v_value)
        end;
      end if;
    end loop;
  end if;
  for iteration in case when v_intercept is null then 0 else 1 end..max_iter loop
    v_living := array(select g from generate_series(1, v_groups) as g where not v_done[g]);
    exit when v_living = '{}';
    for v_part in
      select v_living[part.key::int] as g, part.sums
      from ml._sums(
        ml._glm_statement(
          v_first.settled, family, link, v_mean,
          array(select v_first.keys[g] from unnest(v_living) with ordinality as living (g, nth) order by nth),
          case when iteration > 0 then array(
            select v_beta[(g - 1) * v_size + j]
              from unnest(v_living) with ordinality as living (g, nth), generate_series(1, v_size) as j order by nth, j
          ) end,
          v_variables
        ),
        v_relation
      ) as part
    loop
      v_g := v_part.g;
      if iteration > 0 then
        v_iterations[v_g] := iteration;
        -- outside the link's range, or worse than before: half the step
        if v_part.sums[2] > 0 or v_part.sums[1] > v_deviance[v_g] * (1 + 1e-8) + 1e-12 then
          v_halvings[v_g] := v_halvings[v_g] + 1;
          if v_halvings[v_g] > 30 then
            v_done[v_g] := true;
            v_failure[v_g] := case when v_deviance[v_g] = 'Infinity' then 'no starting point inside the range of the link' end;
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

      v_matrix := array_fill(0::float8, array[v_size, v_size]);
      v_at := 2 + v_size;
      for i in 1..v_size loop
        for j in i..v_size loop
          v_at := v_at + 1;
          v_matrix[i][j] := v_part.sums[v_at];
          v_matrix[j][i] := v_part.sums[v_at];
        end loop;
      end loop;
      v_solved := ml._scaled_inverse(v_matrix, case when v_iterations[v_g] <= 1 then 1e-11 else 1e-14 end);
      if v_solved.dependent is not null then
        v_done[v_g] := true;
        v_column := v_variables[v_solved.dependent];
        v_failure[v_g] := case
          when v_iterations[v_g] <= 1
            then format('column %s is a linear combination of the columns before it', ml._label(design, coalesce(nullif(v_column, 0), v_intercept)))
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
        v_gain := v_gain + v_value * v_part.sums[2 + i];
        if v_variables[i] > 0 and abs(v_value) * v_spread[v_variables[i]] > v_farthest then
          v_farthest := abs(v_value) * v_spread[v_variables[i]];
          v_column := v_variables[i];
        end if;
      end loop;

      if iteration > 0 then
        v_inverse[v_g] := jsonb_build_array(v_solved.inverse, v_matrix);
        -- The likelihood is flat (nothing more to gain) where a coefficient still runs: it would run for ever.
        if family in ('binomial', 'poisson') and v_farthest > 0.3
          and (v_gain < 1e-3 or v_farthest > 30 * sqrt(v_gain) or iteration = max_iter and iteration >= 15)
        then
          v_done[v_g] := true;
          v_failure[v_g] := ml._separation(design, v_column);
        -- The root of the gain is the distance to the optimum in standard errors. With a canonical link the step just
        -- made squares it, and the information moves by a root n-th of it: so many rows allow to stop a step sooner.
        elsif v_gain <= (case
            when (family, link) in (('binomial', 'logit'), ('poisson', 'log')) then least(v_first.row_counts[v_g] * (tolerance / 100) ^ 2, tolerance / 100)
            when family = 'binomial' then (tolerance / 100) ^ 2
            else (tolerance / 100) ^ 2 * v_part.sums[1] / v_first.row_counts[v_g]
          end)
          or v_gain <= 1e-24 * v_length
        then
          v_done[v_g] := true;
          v_good[v_g] := true;
        end if;
      end if;
    end loop;
  end loop;

  for g in 1..v_groups loop
    settled := v_first.settled;
    key := v_first.keys[g];
    row_count := v_first.row_counts[g];
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
      v_full := array_fill(0::float8, array[v_width, v_width]);
      v_vector := array_fill(0::float8, array[v_width]);
      for i in 1..v_size loop
        v_vector[case when v_variables[i] = 0 then v_intercept else v_variables[i] end] := v_beta[(g - 1) * v_size + i];
        for j in 1..v_size loop
          v_full[coalesce(nullif(v_variables[i], 0), v_intercept)][coalesce(nullif(v_variables[j], 0), v_intercept)]
            := (v_inverse[g] -> 0 -> i - 1 ->> j - 1)::float8;
        end loop;
      end loop;
      beta := v_vector;
      select unscaled.coef, unscaled.vcov into coef, inverse
      from ml._unscaled(v_vector, v_full, v_first.settled, v_intercept, (v_first.settled ->> 'intercept_value')::float8) as unscaled;
      information := (ml._scaled_inverse(inverse, 1e-15)).inverse;
    end if;
    return next;
  end loop;
end;
$$;

comment on function ml._glm_fits(jsonb, text, text, integer, float8) is $$
Fits a generalized linear model to each group.
`beta` belongs to the columns as they are summed, `coef`, `inverse` (of the
information, dispersion 1) and `information` to the caller's. Ends when the optimum is nearer than tolerance / 100
standard errors. `failure` names collinear and separating columns.
$$;

create or replace function ml._separation(design jsonb, place integer)
returns text
language sql
stable
begin atomic
  select format('column %s separates the classes, at least for some rows, so its coefficient has no finite value', ml._label(design, place));
end;

comment on function ml._separation(jsonb, integer) is $$
What is said of complete and quasi-complete separation (Albert and Anderson, Biometrika 71, 1984).
$$;

grant execute on function
  ml._glm_terms(text, text, float8),
  ml._model_of_group(jsonb, text[], float8[], integer[]),
  ml._linear_predictor(integer[], text),
  ml._glm_source(jsonb, text, text, float8, text[], float8[], integer[]),
  ml._glm_statement(jsonb, text, text, float8, text[], float8[], integer[]),
  ml._scaled_inverse(float8[], float8),
  ml._variables(jsonb),
  ml._settled(jsonb),
  ml._glm_fits(jsonb, text, text, integer, float8),
  ml._separation(jsonb, integer)
to insights_admin, insights_worker;

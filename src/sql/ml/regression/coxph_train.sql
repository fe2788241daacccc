/*
 * The partial likelihood needs, at each time of an event, sums over all rows still at risk, which are running sums
 * backwards in time. An iteration is one statement: sums by time (in parallel), window sums over the times, sums over
 * those.
 */
create or replace function ml._cox_statement(design ml.design, beta float8[], efron boolean)
returns text
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_active constant integer[] := design.active;
  v_size constant integer := cardinality(v_active);
  v_columns text := (
    select string_agg(', d' || place, '' order by nth)
    from unnest(v_active) with ordinality as list (place, nth)
  );
  v_moments text[];
  v_source text;
  v_names text[];
begin
  v_source := format('(%s) as first', ml._layer(
    format('key, y, status%s, %s as eta', v_columns, (
      select string_agg(format('%L::float8 * d%s', beta[place], place), ' + ' order by nth)
      from unnest(v_active) with ordinality as list (place, nth)
    )),
    format('(select * from (%s) as row where complete) as row', ml._rows(design))
  ));
  v_source := format('(%s) as second', ml._layer(
    format('key, y, status%s, eta, exp(least(greatest(eta, -200), 200)) as risk', v_columns),
    v_source
  ));
  v_names := array['r0']
    || array(select 'r' || i from generate_series(1, v_size) as i order by i)
    || array(
      select format('r%s_%s', i, j)
      from generate_series(1, v_size) as i
      cross join generate_series(1, v_size) as j
      where j >= i
      order by i, j
    );
  v_moments := array['risk']
    || array(
      select 'risk * d' || place
      from unnest(v_active) with ordinality as list (place, nth)
      order by nth
    )
    || array(
      select format('risk * d%s * d%s', a.place, b.place)
      from unnest(v_active) with ordinality as a (place, nth)
      cross join unnest(v_active) with ordinality as b (place, nth)
      where b.nth >= a.nth
      order by a.nth, b.nth
    );
  v_source := format(
    'select key, y, sum(status) as events, sum(status * eta) as eta, %s, %s%s from %s group by key, y',
    (
      select string_agg(format('sum(status * d%s) as x%s', place, nth), ', ' order by nth)
      from unnest(v_active) with ordinality as list (place, nth)
    ),
    (
      select string_agg(format('sum(%s) as %s', moment, name), ', ' order by nth)
      from unnest(v_moments, v_names) with ordinality as list (moment, name, nth)
    ),
    case when efron then (
      select string_agg(format(', sum(status * %s) as e%s', moment, name), '' order by nth)
      from unnest(v_moments, v_names) with ordinality as list (moment, name, nth)
    ) else '' end,
    v_source
  );
  v_source := format(
    $statement$
    select key, y, events, eta, %s, %s%s
    from (%s) as by_time
    window later as (partition by key order by y desc rows unbounded preceding)
    $statement$,
    (select string_agg('x' || i, ', ' order by i) from generate_series(1, v_size) as i),
    (
      select string_agg(format('sum(%s) over later as %s', name, name), ', ' order by nth)
      from unnest(v_names) with ordinality as list (name, nth)
    ),
    case when efron then (
      select string_agg(', e' || name, '' order by nth)
      from unnest(v_names) with ordinality as list (name, nth)
    ) else '' end,
    v_source
  );
  if efron then
    -- of d events at the same time, the i-th has i / d of their own risk removed (Efron 1977)
    v_source := format(
      $statement$
      select
        key,
        y,
        case when nth = 0 then events else 0 end as seen,
        case when nth = 0 then eta else 0 end as eta,
        1::float8 as events, %s, %s
      from (%s) as at_risk
      cross join lateral generate_series(0, events::int - 1) as nth
      where events > 0
      $statement$,
      (
        select string_agg(format('case when nth = 0 then x%s else 0 end as x%s', i, i), ', ' order by i)
        from generate_series(1, v_size) as i
      ),
      (
        select string_agg(format('%s - nth / events * e%s as %s', name, name, name), ', ' order by nth)
        from unnest(v_names) with ordinality as list (name, nth)
      ),
      v_source
    );
  else
    v_source := format('select *, events as seen from (%s) as at_risk where events > 0', v_source);
  end if;
  return format(
    'select null::text, true, sum(seen)::bigint, array[sum(eta - events * ln(r0)), %s, %s] from (%s) as event_time',
    (
      select string_agg(format('sum(x%s - events * r%s / r0)', i, i), ', ' order by i)
      from generate_series(1, v_size) as i
    ),
    (
      select string_agg(
        format('sum(events * (r%s_%s / r0 - (r%s / r0) * (r%s / r0)))', i, j, i, j),
        ', ' order by i, j
      )
      from generate_series(1, v_size) as i
      cross join generate_series(1, v_size) as j
      where j >= i
    ),
    v_source
  );
end;
$$;

comment on function ml._cox_statement(ml.design, float8[], boolean) is $$
Returns the text of the statement for one Newton step of Cox's partial likelihood.
Its result: number of events, log likelihood, score, and the upper triangle of the information, over all strata (the
design's groups). Ties by Breslow's or Efron's method.
$$;

create or replace function ml._cox_fit(
  settled ml.design,
  efron boolean,
  max_iter integer,
  tolerance float8,
  out fit ml.fit
)
language plpgsql
as $$
declare
  v_monotone constant text := 'column %s orders the events perfectly, so its coefficient has no finite value';
  v_active constant integer[] := settled.active;
  v_size constant integer := cardinality(v_active);
  v_before float8[];
  v_part record;
  v_halvings integer := 0;
  v_solved record;
  v_gain float8;
  v_value float8;
  v_farthest float8;
  v_column integer;
begin
  fit.beta := array_fill(0::float8, array[settled.width]);
  fit.log_likelihood := '-Infinity';
  fit.iterations := 0;
  fit.converged := false;
  v_before := fit.beta;
  for iteration in 1..max_iter loop
    select part.row_count, part.sums
    into v_part
    from ml._sums(
      ml._cox_statement(settled, fit.beta, efron),
      settled.relation
    ) as part;
    if coalesce(v_part.row_count, 0) = 0 then
      perform ml._fit_failed(
        'no row without a null has an event: it holds one class only, censored',
        settled.source
      );
    end if;
    fit.iterations := iteration;
    fit.event_count := v_part.row_count;
    if v_part.sums[1] < fit.log_likelihood - 1e-10 * abs(fit.log_likelihood) then
      v_halvings := v_halvings + 1;
      exit when v_halvings > 30;
      for j in 1..settled.width loop
        fit.beta[j] := (fit.beta[j] + v_before[j]) / 2;
      end loop;
      continue;
    end if;
    fit.log_likelihood := v_part.sums[1];
    v_halvings := 0;
    fit.information := ml._symmetric_matrix(v_part.sums[2 + v_size:], v_size);
    v_solved := ml._scaled_inverse(fit.information, case when iteration = 1 then 1e-11 else 1e-14 end);
    if v_solved.dependent is not null then
      perform ml._fit_failed(
        format(
          case when iteration = 1 then 'column %s is a linear combination of the columns before it' else v_monotone end,
          ml._label(settled, v_active[v_solved.dependent])
        ),
        settled.source
      );
    end if;
    fit.inverse := v_solved.inverse;
    v_gain := 0;
    v_farthest := 0;
    v_before := fit.beta;
    for i in 1..v_size loop
      v_value := 0;
      for j in 1..v_size loop
        v_value := v_value + fit.inverse[i][j] * v_part.sums[1 + j];
      end loop;
      fit.beta[v_active[i]] := fit.beta[v_active[i]] + v_value;
      v_gain := v_gain + v_value * v_part.sums[1 + i];
      if abs(v_value) * settled.spread[v_active[i]] > v_farthest then
        v_farthest := abs(v_value) * settled.spread[v_active[i]];
        v_column := v_active[i];
      end if;
    end loop;
    -- the likelihood does not increase while a coefficient still changes: it would grow without bound
    if v_farthest > 0.3 and (v_gain < 1e-3 or v_farthest > 30 * sqrt(v_gain)) then
      perform ml._fit_failed(format(v_monotone, ml._label(settled, v_column)), settled.source);
    elsif v_gain <= greatest(tolerance * tolerance, 1e-20) or v_gain <= 1e-24 * abs(fit.log_likelihood) then
      fit.converged := true;
      exit;
    end if;
  end loop;
  if not fit.converged and v_farthest > 0.3 and fit.iterations >= 15 then
    perform ml._fit_failed(format(v_monotone, ml._label(settled, v_column)), settled.source);
  elsif not fit.converged then
    raise warning 'ml.coxph_train: no convergence after % iterations', max_iter
      using hint = 'Give a larger max_iter in optimizer_params.';
  end if;
end;
$$;

comment on function ml._cox_fit(ml.design, boolean, integer, float8) is $$
Returns the maximum of Cox's partial likelihood for a settled design, by Newton's method.
`beta`, `information` and `inverse` are for the columns as they are summed; the last two for the active ones.
Errors: CF004 (no events), CF007 (collinear columns, a column that orders the events perfectly).
$$;

create or replace function ml._cox_unscaled(fit ml.fit, settled ml.design)
returns ml.fit
language plpgsql
immutable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_active constant integer[] := settled.active;
  v_fit ml.fit := fit;
  v_product float8;
begin
  v_fit.coef := array_fill(0::float8, array[cardinality(v_active)]);
  v_fit.covariance := fit.inverse;
  for i in 1..cardinality(v_active) loop
    v_fit.coef[i] := fit.beta[v_active[i]] * settled.scale[v_active[i]];
    for j in 1..cardinality(v_active) loop
      v_product := settled.scale[v_active[i]] * settled.scale[v_active[j]];
      v_fit.information[i][j] := fit.information[i][j] / v_product;
      v_fit.covariance[i][j] := fit.inverse[i][j] * v_product;
    end loop;
  end loop;
  return ml._tested(v_fit, null);
end;
$$;

comment on function ml._cox_unscaled(ml.fit, ml.design) is $$
Returns a fit of ml._cox_fit with coefficients, information and covariance in the units of the caller, and their tests.
$$;

create or replace function ml.coxph_train(
  source_table text,
  output_table text,
  dependent_variable text,
  independent_variable text,
  right_censoring_status text default 'true',
  strata text default null,
  optimizer_params text default null
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_output text := common.output_table(output_table, array['_summary']);
  v_options constant jsonb := ml._options(
    optimizer_params,
    '{max_iter, optimizer, tolerance, ties, array_agg_size, sample_size}',
    'optimizer_params'
  );
  v_max_iter constant integer := ml._number(v_options, 'max_iter', 100, 1, 100000);
  v_tolerance constant float8 := ml._number(v_options, 'tolerance', 1e-8, 0, 1);
  v_ties constant text := lower(coalesce(v_options ->> 'ties', 'breslow'));
  v_status text := coalesce(nullif(btrim(right_censoring_status), ''), 'true');
  v_design ml.design;
  v_first record;
  v_settled ml.design;
  v_fit ml.fit;
  v_means float8[];
begin
  if v_ties not in ('breslow', 'efron') then
    perform common.refuse('CF001', format('there is no method "%s" for ties', left(v_options ->> 'ties', 100)),
      'Give ties=breslow or ties=efron.');
  elsif lower(coalesce(v_options ->> 'optimizer', 'newton')) <> 'newton' then
    perform common.refuse('CF001', format('there is no optimizer "%s"', left(v_options ->> 'optimizer', 100)),
      'Use newton.');
  end if;
  -- an intercept cancels in the partial likelihood: it is added so that the columns are centred, and has no coefficient
  v_design := (ml._elastic_net_design(source_table, dependent_variable, independent_variable, strata, null)).design;
  if common.expression_type(v_status, v_design.relation, 'right censoring status')
    not in ('boolean'::regtype, 'integer'::regtype, 'smallint'::regtype, 'bigint'::regtype)
  then
    perform common.refuse('CF001', format('the right censoring status "%s" is not a boolean', left(v_status, 100)),
      'Give a boolean or 0 and 1: true where the event was observed, false where the row is censored.');
  end if;
  v_design.status := format('(%s)::boolean', common.expression(v_status, v_design.relation));
  v_first := ml._settled(v_design);
  if v_first.failure is not null then
    perform ml._fit_failed(v_first.failure, v_design.source);
  end if;
  v_settled := v_first.settled;
  v_fit := ml._cox_unscaled(ml._cox_fit(v_settled, v_ties = 'efron', v_max_iter, v_tolerance), v_settled);
  -- the means on which predictions are centred
  v_means := (
    select array_agg(
      v_settled.shift[v_settled.active[nth]] + mean / v_settled.scale[v_settled.active[nth]] order by nth
    )
    from ml._sums(
      format(
        'select null::text, true, count(*), array[%s] from (%s) as row where complete',
        ml._columns_of(v_settled, 'd', 'avg(%s)'),
        ml._rows(v_settled)
      ),
      v_design.relation
    ) as part
    cross join lateral unnest(part.sums) with ordinality as list (mean, nth)
  );
  -- the groups of the design are the strata of one model
  v_design.groups := '{}';
  perform ml._publish(
    v_output, v_design, array[v_fit],
    'coef, log_likelihood as loglikelihood, std_err, stats as z_stats, p_values, information as hessian, '
      || 'iterations as num_iterations, event_count as num_events, converged',
    format(
      $list$
      %L::text as source_table, %L::text as dependent_variable, %L::text as independent_variable,
      %L::text as right_censoring_status, %L::text as strata, %L::text as ties, %L::float8[] as means,
      %L::bigint as num_processed, %L::bigint as num_missing_rows_skipped
      $list$,
      source_table, dependent_variable, independent_variable, right_censoring_status, strata, v_ties, v_means,
      (select sum(part.row_count) from unnest(v_first.groups) as part),
      (select sum(part.skipped) from unnest(v_first.groups) as part)
    )
  );
end;
$$;

comment on function ml.coxph_train(text, text, text, text, text, text, text) is $$
@behavior -*
Trains Cox's proportional hazards model, as MADlib: the effect of columns on the hazard of an event.
`dependent_variable` is the time of the event or of censoring; `independent_variable` an array without a constant, which
would cancel; `right_censoring_status` is true where the event was observed; each combination of the `strata` columns
has its own baseline hazard. `optimizer_params`: max_iter (100), tolerance (1e-8, in standard errors), ties (breslow, as
MADlib, or efron, as R).
Writes `output_table`: coef, loglikelihood (partial), std_err, z_stats, p_values, hessian, num_iterations, num_events,
converged;
and `<output_table>_summary`. Predict with ml.coxph_predict.
Rows with a null are skipped and counted. Errors: CF001, CF002, CF003, CF004 (no rows, no events), CF005, CF007
(constant, collinear, monotone: names the column), CF008.
Source: Cox, J. R. Stat. Soc. B 34, 1972; ties by Breslow 1974 and Efron, J. Am. Stat. Assoc. 72, 1977.
$$;

grant execute on function
  ml._cox_statement(ml.design, float8[], boolean),
  ml._cox_fit(ml.design, boolean, integer, float8),
  ml._cox_unscaled(ml.fit, ml.design),
  ml.coxph_train(text, text, text, text, text, text, text)
to insights_analyst, insights_admin, insights_worker;

/*
 * One scan computes all sums that ordinary least squares needs; the rest is k x k algebra. Where strong correlations or
 * a nearly perfect fit would leave fewer than ten digits of double precision, the sums are computed once more in
 * numeric, exactly: this reproduces the certified digits of NIST's most difficult data sets, and costs nothing for
 * other data.
 */
create or replace function ml._numeric_sums(design ml.design, keys text[])
returns table (key text, complete_count bigint, skipped_count bigint, sums numeric[])
language plpgsql
as $$
declare
  v_columns constant text := ml._columns_of(design, 'x', ', %s', '');
  v_prior constant text := case when design.weights is not null then ', prior' else '' end;
  v_state text;
  v_message text;
begin
  return query execute ml._sums_statement(
    'key, count(*) filter (where complete) as complete, count(*) filter (where not complete) as row_count',
    array(
      select term || ' filter (where complete)'
      from unnest(ml._product_sums(design, 'x')) with ordinality as list (term, nth)
      order by nth
    ),
    format('from (%s) as row where key = any (%L) group by key', ml._layer(
      format('y%s%s, %s as complete, %s as key', v_columns, v_prior, ml._complete(design), coalesce(
        (
          select format('row(%s)::text', string_agg('g' || nth, ', ' order by nth))
          from unnest(design.groups) with ordinality as part (name, nth)
          having count(*) > 0
        ),
        '''''::text'
      )),
      format('(%s) as source', ml._values(design, 'numeric'))
    ), keys)
  );
exception when others then
  get stacked diagnostics v_state = returned_sqlstate, v_message = message_text;
  perform ml._caller_error(v_state, v_message, design.relation);
end;
$$;

comment on function ml._numeric_sums(ml.design, text[]) is $$
Returns the sums of a design in numeric, exactly, for the groups with the given keys (one empty key without groups).
$$;

create or replace function ml._float8_sums(design ml.design)
returns table (key text, complete_count bigint, skipped_count bigint, sums float8[])
language plpgsql
as $$
declare
  v_relation constant regclass := design.relation;
begin
  -- Without groups and nulls, a plain aggregate takes less time than one that is grouped by completeness.
  if design.groups = '{}' and not design.nulls then
    return query
    select null::text, part.row_count, 0::bigint, part.sums
    from ml._sums(
      ml._sums_statement(
        format('null::text as key, %s as complete, count(*) as row_count', ml._every_row_complete(design)),
        ml._product_sums(design, 'd'),
        format('from (%s) as row', ml._rows(design))
      ),
      v_relation,
      true
    ) as part
    where part.complete
      and part.row_count > 0;
    if found then
      return;
    end if;
  end if;
  return query
  select
    part.key,
    coalesce(sum(part.row_count) filter (where part.complete), 0)::bigint,
    coalesce(sum(part.row_count) filter (where not part.complete), 0)::bigint,
    max(part.sums) filter (where part.complete)
  from ml._sums(
    ml._sums_statement(
      'key, complete, count(*) as row_count',
      ml._product_sums(design, 'd'),
      format('from (%s) as row group by key, complete', ml._rows(design))
    ),
    v_relation,
    true
  ) as part
  group by part.key;
end;
$$;

comment on function ml._float8_sums(ml.design) is $$
Returns the sums of a design in double precision, with the numbers of complete and of skipped rows, by group key.
$$;

create or replace function ml._linregr_fits(design ml.design)
returns setof ml.fit
language plpgsql
as $$
declare
  v_doubtful text[] := '{}';
  v_group record;
  v_fit ml.fit;
begin
  for v_group in select * from ml._float8_sums(design) loop
    v_fit := null;
    if v_group.complete_count = 0 then
      v_fit.failure := ml._no_rows(design);
    else
      if v_group.sums && array['NaN', 'Infinity', '-Infinity']::float8[] then
        perform ml._refuse_non_finite(design);
      end if;
      v_fit := ml._least_squares(v_group.complete_count, v_group.sums, design);
      if not v_fit.trusted and v_fit.failure is null then
        v_doubtful := v_doubtful || coalesce(v_group.key, '');
        continue;
      end if;
    end if;
    v_fit.group_key := coalesce(v_group.key, '');
    v_fit.row_count := v_group.complete_count;
    v_fit.skipped := v_group.skipped_count;
    v_fit.arithmetic := case when v_fit.failure is null then 'float8' end;
    return next v_fit;
  end loop;

  if v_doubtful <> '{}' then
    for v_group in select * from ml._numeric_sums(design, v_doubtful) loop
      v_fit := ml._least_squares_numeric(v_group.complete_count, v_group.sums, design);
      v_fit.group_key := v_group.key;
      v_fit.row_count := v_group.complete_count;
      v_fit.skipped := v_group.skipped_count;
      v_fit.arithmetic := case when v_fit.failure is null then 'numeric' end;
      return next v_fit;
    end loop;
  end if;
exception when numeric_value_out_of_range then
  perform ml._caller_error(sqlstate, sqlerrm, design.relation);
end;
$$;

comment on function ml._linregr_fits(ml.design) is $$
Returns ordinary least squares fits, one row per group.
In double precision where that is accurate, else in numeric (`arithmetic` states which).
$$;

create or replace function ml._residuals(design ml.design, fits ml.fit[])
returns text
language plpgsql
set search_path to pg_catalog, pg_temp
as $$
begin
  -- The rows, joined with the model of their group: residual e = y - b0 - sum b d, in the unit of y.
  return ml._layer(
    format(
      'row.key%s, row.y / %L::float8 + %L::float8 - fit.b0%s as e, fit.mean_square',
      ml._columns_of(design, 'd', ', row.%s', ''),
      design.y_scale,
      design.y_shift,
      (
        select coalesce(string_agg(format(' - fit.b%s * row.d%s', place, place), '' order by place), '')
        from unnest(design.active) as place
      )
    ),
    format('(select * from (%s) as row where complete) as row ', ml._rows(design)) || format(
      case when design.groups <> '{}' then 'join (%s) as fit on fit.key = row.key' else 'cross join (%s) as fit' end,
      (
        select format(
          'select * from unnest(%L::text[], %L::float8[], %L::float8[]%s) as fit (key, mean_square, b0%s)',
          array_agg(fit.group_key order by fit.group_key),
          array_agg(fit.rss / fit.row_count order by fit.group_key),
          array_agg(coalesce(fit.beta[fit.intercept], (
            -- without an intercept: the sum of the shifts times the coefficients
            select sum(fit.beta[place] * design.scale[place] * design.shift[place]) from unnest(design.active) as place
          )) order by fit.group_key),
          (
            select coalesce(string_agg(
              format(', %L::float8[]', (
                select array_agg(
                  case when place = one.intercept then 0 else one.beta[place] end
                  order by one.group_key
                )
                from unnest(fits) as one
              )),
              '' order by place
            ), '')
            from unnest(design.active) as place
          ),
          ml._columns_of(design, 'b', ', %s', '')
        )
        from unnest(fits) as fit
      )
    )
  );
end;
$$;

comment on function ml._residuals(ml.design, ml.fit[]) is $$
Returns the text of the select that adds the residual `e` under its group's linear model to each complete row.
$$;

create or replace function ml._breusch_pagan(design ml.design, fits ml.fit[])
returns ml.fit[]
language plpgsql
as $$
declare
  v_width constant integer := design.width;
  v_active constant integer[] := design.active;
  v_fits ml.fit[] := fits;
  v_fit ml.fit;
  v_group record;
  v_weight float8[];
  v_explained float8;
begin
  for v_group in
    select fit.nth, part.row_count, part.sums
    from ml._sums(
      format(
        'select key, true, count(*), array[sum(u), sum(u * u)%s] from (%s) as row group by key',
        ml._columns_of(design, 'd', ', sum(u * %s)', ''),
        ml._layer(
          'key, e * e / nullif(mean_square, 0) - 1 as u' || ml._columns_of(design, 'd', ', %s', ''),
          format('(%s) as residual', ml._residuals(
            design, array(select fit from unnest(fits) as fit where fit.failure is null)
          ))
        )
      ),
      design.relation
    ) as part
    join (
      select fit.ordinality as nth, fit.group_key from unnest(fits) with ordinality as fit
    ) as fit on fit.group_key = coalesce(part.key, '')
  loop
    -- the squared residuals, as multiples of their mean, regressed on the same columns: n R^2 (Koenker 1981)
    v_fit := fits[v_group.nth];
    v_weight := array_fill(0::float8, array[v_width]);
    for i in 1..cardinality(v_active) loop
      v_weight[v_active[i]] := v_group.sums[i + 2] / design.scale[v_active[i]]
        + case when v_fit.intercept is null then v_group.sums[1] * design.shift[v_active[i]] else 0 end;
    end loop;
    if v_fit.intercept is not null then
      v_weight[v_fit.intercept] := 0;
    end if;
    v_explained := 0;
    for i in 1..v_width loop
      for j in 1..v_width loop
        v_explained := v_explained + v_weight[i] * v_weight[j] * v_fit.inverse[i][j];
      end loop;
    end loop;
    v_fit.bp_stats := v_group.row_count * v_explained
      / nullif(v_group.sums[2] - v_group.sums[1] * v_group.sums[1] / v_group.row_count, 0);
    v_fit.bp_p_value := ml._incomplete_gamma(greatest(v_width - 1, 1) / 2.0, v_fit.bp_stats / 2, true);
    v_fits[v_group.nth] := v_fit;
  end loop;
  return v_fits;
end;
$$;

comment on function ml._breusch_pagan(ml.design, ml.fit[]) is $$
Returns fits with Breusch and Pagan's test for heteroskedasticity, in Koenker's form n R^2.
$$;

create or replace function ml.linregr_train(
  source_table text,
  out_table text,
  dependent_varname text,
  independent_varname text,
  grouping_cols text default null,
  heteroskedasticity_option boolean default false,
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
  v_output text := common.output_table(out_table, array['_summary']);
  v_design ml.design := ml._design(
    source_table,
    ml._less_offsets(dependent_varname, offsets, source_table),
    independent_varname,
    grouping_cols,
    weights
  );
  v_fit ml.fit;
  v_fits ml.fit[] := '{}';
  v_degrees float8;
begin
  if heteroskedasticity_option and weights is not null then
    perform common.refuse('CF001', 'heteroskedasticity_option is true and there are weights',
      'Weights assume known variances; to allow for others, use ml.robust_variance_linregr with the weights.');
  end if;
  for v_fit in select * from ml._linregr_fits(v_design) loop
    v_degrees := v_fit.row_count - v_design.width;
    if v_fit.failure is null and v_degrees > 0 then
      v_fit.covariance := ml._scaled(v_fit.inverse, v_fit.rss / v_degrees);
      v_fit := ml._tested(v_fit, v_degrees);
    end if;
    v_fits := v_fits || v_fit;
  end loop;
  perform ml._check_fits(v_fits, v_design);
  if heteroskedasticity_option then
    v_fits := ml._breusch_pagan(v_design, v_fits);
  end if;

  perform ml._publish(
    v_output, v_design, v_fits,
    format(
      'coef, r2, std_err, stats as t_stats, p_values, condition_no, %srow_count as num_rows_processed, '
        || 'skipped as num_missing_rows_skipped, covariance as variance_covariance, arithmetic, failure',
      case when heteroskedasticity_option then 'bp_stats, bp_p_value, ' else '' end
    ),
    format(
      $list$
      'linregr'::text as method, %L::text as source_table, %L::text as out_table, %L::text as dependent_varname,
      %L::text as independent_varname, row_count as num_rows_processed, skipped as num_missing_rows_skipped,
      %L::text as grouping_cols, group_count as num_all_groups, failed_count as num_failed_groups,
      %L::text as weights, %L::text as offsets
      $list$,
      source_table, out_table, dependent_varname, independent_varname, grouping_cols, weights, offsets
    )
  );
end;
$$;

comment on function ml.linregr_train(text, text, text, text, text, boolean, text, text) is $$
@behavior -*
Trains a linear regression by ordinary least squares, as MADlib.
One model, or one for each value of the grouping columns.
`dependent_varname` is a column or expression; `independent_varname` an array: `array[1, tax, bath]` or a column of type
float8[]. No intercept is added: include the 1. Rows with a null are skipped and counted; NaN and infinity are an error.
Writes `out_table`: the grouping columns, coef, r2, std_err, t_stats, p_values (Student's t), condition_no (of X),
bp_stats and bp_p_value (Breusch-Pagan in Koenker's form, with `heteroskedasticity_option`), num_rows_processed,
num_missing_rows_skipped, variance_covariance, and, not in MADlib, `arithmetic` (`float8`, or `numeric` where double
precision would keep fewer than ten digits) and `failure` (why a group could not be fitted, else null); and
`<out_table>_summary`. r2 is about the mean when a constant is among the columns, else about zero (as in R and NIST).
`weights` is an expression: the variance of a row is assumed to be the reciprocal of its weight (R's `lm`); a row of
weight 0 is skipped. `offsets` is an expression whose coefficient is 1 (r2 is of the rest); add it to predictions.
One parallel scan; a second one in numeric only where needed. At most 250 columns.
Errors: CF001 (not a number, not finite, a weight that is negative or null: names the row), CF002 (unknown table or
column: names the nearest), CF003 (output exists), CF004 (no rows, fewer than columns), CF005 (not readable), CF007
(constant or collinear column: names it), CF008.
Source: Golub and Van Loan, Matrix Computations; MADlib's linregr_train; certified against NIST StRD.
$$;

grant execute on function
  ml._numeric_sums(ml.design, text[]),
  ml._float8_sums(ml.design),
  ml._linregr_fits(ml.design),
  ml._residuals(ml.design, ml.fit[]),
  ml._breusch_pagan(ml.design, ml.fit[]),
  ml.linregr_train(text, text, text, text, text, boolean, text, text)
to insights_analyst, insights_admin, insights_worker;

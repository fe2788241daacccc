/*
 * One scan computes all sums that ordinary least squares needs; the rest is k x k algebra. Where strong correlations or
 * a nearly perfect fit would leave fewer than ten digits of double precision, the sums are computed once more in
 * numeric, exactly: this reproduces the certified digits of NIST's most difficult data sets, and costs nothing for
 * other data.
 */
create or replace function ml._numeric_sums(design jsonb, keys text[])
returns table (key text, complete_count bigint, skipped_count bigint, sums numeric[])
language plpgsql
as $$
declare
  v_columns constant text := ml._columns_of(design, 'x', ', %s', '');
  v_prior constant text := case when design ? 'weights' then ', prior' else '' end;
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
          from jsonb_array_elements(design -> 'groups') with ordinality as part (name, nth)
          having count(*) > 0
        ),
        '''''::text'
      )),
      format('(%s) as source', ml._values(design, 'numeric'))
    ), keys)
  );
exception when others then
  get stacked diagnostics v_state = returned_sqlstate, v_message = message_text;
  perform ml._caller_error(v_state, v_message, (design ->> 'relation')::regclass);
end;
$$;

comment on function ml._numeric_sums(jsonb, text[]) is $$
Returns the sums of a design in numeric, exactly, for the groups with the given keys (one empty key without groups).
$$;

create or replace function ml._float8_sums(design jsonb)
returns table (key text, complete_count bigint, skipped_count bigint, sums float8[])
language plpgsql
as $$
declare
  v_relation constant regclass := (design ->> 'relation')::regclass;
begin
  -- Without groups and nulls, a plain aggregate takes a fifth less time than one that is grouped by completeness.
  if design -> 'groups' = '[]' and not (design ->> 'nulls')::boolean then
    return query
    select null::text, part.row_count, 0::bigint, part.sums
    from ml._sums(
      ml._sums_statement(
        'null::text as key, count(*) = count(*) filter (where complete) as complete, count(*) as row_count',
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

comment on function ml._float8_sums(jsonb) is $$
Returns the sums of a design in double precision, with the numbers of complete and of skipped rows, by group key.
$$;

create or replace function ml._linregr_fits(
  design jsonb,
  out key text,
  out row_count bigint,
  out skipped bigint,
  out arithmetic text,
  out beta float8[],
  out coef float8[],
  out inverse float8[],
  out rss float8,
  out r2 float8,
  out condition_no float8,
  out intercept integer,
  out failure text
)
returns setof record
language plpgsql
as $$
declare
  v_doubtful text[] := '{}';
  v_group record;
  v_fit record;
begin
  for v_group in select * from ml._float8_sums(design) loop
    key := v_group.key;
    row_count := v_group.complete_count;
    skipped := v_group.skipped_count;
    arithmetic := 'float8';
    if row_count = 0 then
      v_fit := null;
      failure := ml._no_rows(design);
      beta := null;
      coef := null;
      inverse := null;
      return next;
      continue;
    end if;
    if v_group.sums && array['NaN', 'Infinity', '-Infinity']::float8[] then
      perform ml._refuse_non_finite(design);
    end if;
    v_fit := ml._least_squares(row_count, v_group.sums, design);
    if not v_fit.trusted and v_fit.failure is null then
      v_doubtful := v_doubtful || coalesce(key, '');
      continue;
    end if;
    beta := v_fit.beta;
    coef := v_fit.coef;
    inverse := v_fit.inverse;
    rss := v_fit.rss;
    r2 := v_fit.r2;
    condition_no := v_fit.condition_no;
    intercept := v_fit.intercept;
    failure := v_fit.failure;
    return next;
  end loop;

  if v_doubtful <> '{}' then
    for v_group in select * from ml._numeric_sums(design, v_doubtful) loop
      v_fit := ml._least_squares_numeric(v_group.complete_count, v_group.sums, design);
      key := case when design -> 'groups' <> '[]' then v_group.key end;
      row_count := v_group.complete_count;
      skipped := v_group.skipped_count;
      arithmetic := 'numeric';
      beta := v_fit.beta;
      coef := v_fit.coef;
      inverse := v_fit.inverse;
      rss := v_fit.rss;
      r2 := v_fit.r2;
      condition_no := v_fit.condition_no;
      intercept := v_fit.intercept;
      failure := v_fit.failure;
      return next;
    end loop;
  end if;
end;
$$;

comment on function ml._linregr_fits(jsonb) is $$
Returns ordinary least squares fits, one row per group.
In double precision where that is accurate, else in numeric (`arithmetic` states which).
$$;

create or replace function ml._residuals(design jsonb, fits jsonb, extra text default '')
returns text
language plpgsql
set search_path to pg_catalog, pg_temp
as $$
declare
  v_active constant integer[] := array(select jsonb_array_elements_text(design -> 'active')::int);
  v_grouped constant boolean := design -> 'groups' <> '[]';
begin
  -- The rows, joined with the model of their group: residual e = y - b0 - sum b d, in the unit of y.
  return ml._layer(
    format(
      'row.key%s%s, row.y / %L::float8 + %L::float8 - fit.b0%s as e, fit.mean_square',
      ml._columns_of(design, 'd', ', row.%s', ''),
      extra,
      design ->> 'y_scale',
      design ->> 'y_shift',
      (
        select coalesce(string_agg(format(' - fit.b%s * row.d%s', position, position), '' order by position), '')
        from unnest(v_active) as position
      )
    ),
    format('(select * from (%s) as row where complete) as row ', ml._rows(design)) || format(
      case when v_grouped then 'join (%s) as fit on fit.key = row.key' else 'cross join (%s) as fit' end,
      (
        select format(
          'select * from unnest(%L::text[], %L::float8[], %L::float8[]%s) as fit (key, mean_square, b0%s)',
          array_agg(coalesce(fit ->> 'key', '') order by nth),
          array_agg((fit ->> 'mean_square')::float8 order by nth),
          array_agg(coalesce((fit -> 'beta' ->> (fit ->> 'intercept')::int - 1)::float8, (
            -- without an intercept: the sum of the shifts times the coefficients
            select sum(
              (fit -> 'beta' ->> position - 1)::float8
              * (design -> 'scale' ->> position - 1)::float8
              * (design -> 'shift' ->> position - 1)::float8
            )
            from unnest(v_active) as position
          )) order by nth),
          (
            select coalesce(string_agg(
              format(', %L::float8[]', (
                select array_agg(
                  case
                    when position = (one ->> 'intercept')::int then 0
                    else (one -> 'beta' ->> position - 1)::float8
                  end
                  order by one_nth
                )
                from jsonb_array_elements(fits) with ordinality as each_fit (one, one_nth)
              )),
              '' order by position
            ), '')
            from unnest(v_active) as position
          ),
          (
            select coalesce(string_agg(format(', b%s', position), '' order by position), '')
            from unnest(v_active) as position
          )
        )
        from jsonb_array_elements(fits) with ordinality as every_fit (fit, nth)
      )
    )
  );
end;
$$;

comment on function ml._residuals(jsonb, jsonb, text) is $$
Returns the text of the select that adds the residual `e` under its group's model to each complete row.
`fits` is an array of objects with `key`, `beta`, `intercept` and `mean_square`. `extra` is added to the select list.
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
  v_design jsonb := ml._design(
    source_table,
    ml._less_offsets(dependent_varname, offsets, source_table),
    independent_varname,
    grouping_cols,
    weights
  );
  v_width integer := (v_design ->> 'width')::int;
  v_result jsonb[] := '{}';
  v_fits jsonb[] := '{}';
  v_breusch_pagan jsonb := '{}';
  v_rows bigint := 0;
  v_skipped bigint := 0;
  v_failed bigint := 0;
  v_fit record;
  v_mean_square float8;
  v_wald record;
begin
  if heteroskedasticity_option and weights is not null then
    perform common.refuse('CF001', 'heteroskedasticity_option is true and there are weights',
      'Weights assume known variances; to allow for others, use ml.robust_variance_linregr with the weights.');
  end if;
  for v_fit in select * from ml._linregr_fits(v_design) loop
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
        'num_missing_rows_skipped', v_fit.skipped,
        'failure', v_fit.failure
      );
      continue;
    end if;
    v_mean_square := case when v_fit.row_count > v_width then v_fit.rss / (v_fit.row_count - v_width) end;
    v_wald := ml._wald(v_fit.coef, ml._scaled(v_fit.inverse, v_mean_square), v_fit.row_count - v_width);
    v_fits := v_fits || jsonb_build_object(
      'key', v_fit.key,
      'beta', to_jsonb(v_fit.beta),
      'intercept', v_fit.intercept,
      'mean_square', v_fit.rss / v_fit.row_count,
      'inverse', case when heteroskedasticity_option then to_jsonb(v_fit.inverse) end,
      'row_count', v_fit.row_count
    );
    v_result := v_result || jsonb_build_object(
      'key', v_fit.key,
      'coef', to_jsonb(v_fit.coef),
      'r2', v_fit.r2,
      'std_err', case when v_mean_square is not null then to_jsonb(v_wald.std_err) end,
      't_stats', case when v_mean_square is not null then to_jsonb(v_wald.stats) end,
      'p_values', case when v_mean_square is not null then to_jsonb(v_wald.p_values) end,
      'condition_no', v_fit.condition_no,
      'num_rows_processed', v_fit.row_count,
      'num_missing_rows_skipped', v_fit.skipped,
      'variance_covariance', to_jsonb(ml._scaled(v_fit.inverse, v_mean_square)),
      'arithmetic', v_fit.arithmetic
    );
  end loop;
  if v_result = '{}' then
    perform common.refuse('CF004', format('"%s" has no rows', left(v_design ->> 'relation', 100)),
      'Train on a table with rows.');
  elsif v_fits = '{}' then
    perform ml._fit_failed(v_result[1] ->> 'failure', v_design ->> 'relation');
  end if;

  if heteroskedasticity_option then
    v_breusch_pagan := ml._breusch_pagan(v_design, to_jsonb(v_fits));
    v_result := array(
      select result || coalesce(v_breusch_pagan -> coalesce(result ->> 'key', ''), '{}')
      from unnest(v_result) as result
    );
  end if;

  perform ml._publish(
    v_output, v_design,
    'coef float8[], r2 float8, std_err float8[], t_stats float8[], p_values float8[], condition_no float8, '
      || case when heteroskedasticity_option then 'bp_stats float8, bp_p_value float8, ' else '' end
      || 'num_rows_processed bigint, num_missing_rows_skipped bigint, variance_covariance float8[], '
      || 'arithmetic text, failure text',
    to_jsonb(v_result),
    jsonb_build_object(
      'method', 'linregr',
      'source_table', source_table,
      'out_table', out_table,
      'dependent_varname', dependent_varname,
      'independent_varname', independent_varname,
      'num_rows_processed', v_rows,
      'num_missing_rows_skipped', v_skipped,
      'grouping_cols', grouping_cols,
      'num_all_groups', cardinality(v_result),
      'num_failed_groups', v_failed,
      'weights', weights,
      'offsets', offsets
    ),
    'method text, source_table text, out_table text, dependent_varname text, independent_varname text, '
      || 'num_rows_processed bigint, num_missing_rows_skipped bigint, grouping_cols text, '
      || 'num_all_groups bigint, num_failed_groups bigint, weights text, offsets text'
  );
end;
$$;

create or replace function ml._breusch_pagan(design jsonb, fits jsonb)
returns jsonb
language plpgsql
as $$
declare
  v_width constant integer := (design ->> 'width')::int;
  v_active constant integer[] := array(select jsonb_array_elements_text(design -> 'active')::int);
  v_scale constant float8[] := array(select jsonb_array_elements_text(design -> 'scale')::float8);
  v_shift constant float8[] := array(select jsonb_array_elements_text(design -> 'shift')::float8);
  v_result jsonb := '{}';
  v_group record;
  v_sums float8[];
  v_weight float8[];
  v_explained float8;
  v_statistic float8;
begin
  for v_group in
    select part.row_count, part.sums, fit.value as fit
    from ml._sums(
      format(
        'select key, true, count(*), array[sum(u), sum(u * u)%s] from (%s) as row group by key',
        ml._columns_of(design, 'd', ', sum(u * %s)', ''),
        ml._layer(
          'key, e * e / nullif(mean_square, 0) - 1 as u' || ml._columns_of(design, 'd', ', %s', ''),
          format('(%s) as residual', ml._residuals(design, fits))
        )
      ),
      (design ->> 'relation')::regclass
    ) as part
    join jsonb_array_elements(fits) as fit on coalesce(fit.value ->> 'key', '') = coalesce(part.key, '')
  loop
    -- the squared residuals, as multiples of their mean, regressed on the same columns: n R^2 (Koenker 1981)
    v_sums := v_group.sums;
    v_weight := array_fill(0::float8, array[v_width]);
    for i in 1..cardinality(v_active) loop
      v_weight[v_active[i]] := v_sums[i + 2] / v_scale[v_active[i]]
        + case when v_group.fit ->> 'intercept' is null then v_sums[1] * v_shift[v_active[i]] else 0 end;
    end loop;
    if v_group.fit ->> 'intercept' is not null then
      v_weight[(v_group.fit ->> 'intercept')::int] := 0;
    end if;
    v_explained := 0;
    for i in 1..v_width loop
      for j in 1..v_width loop
        v_explained := v_explained + v_weight[i] * v_weight[j] * (v_group.fit -> 'inverse' -> i - 1 ->> j - 1)::float8;
      end loop;
    end loop;
    v_statistic := v_group.row_count * v_explained
      / nullif(v_sums[2] - v_sums[1] * v_sums[1] / v_group.row_count, 0);
    v_result := v_result || jsonb_build_object(
      coalesce(v_group.fit ->> 'key', ''),
      jsonb_build_object(
        'bp_stats', v_statistic,
        'bp_p_value', ml._incomplete_gamma(greatest(v_width - 1, 1) / 2.0, v_statistic / 2, true)
      )
    );
  end loop;
  return v_result;
end;
$$;

comment on function ml._breusch_pagan(jsonb, jsonb) is $$
Returns Breusch and Pagan's test for heteroskedasticity, in Koenker's form n R^2, by group key.
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
  ml._numeric_sums(jsonb, text[]),
  ml._float8_sums(jsonb),
  ml._linregr_fits(jsonb),
  ml._residuals(jsonb, jsonb, text),
  ml._breusch_pagan(jsonb, jsonb),
  ml.linregr_train(text, text, text, text, text, boolean, text, text)
to insights_analyst, insights_admin, insights_worker;

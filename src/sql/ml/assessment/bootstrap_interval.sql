do $$
begin
  if to_regtype('ml.bootstrap_estimate') is null then
    create type ml.bootstrap_estimate as (
      estimate float8,
      std_err float8,
      lower float8,
      upper float8,
      resamples int
    );
  end if;
end;
$$;

comment on type ml.bootstrap_estimate is $$
A statistic of a sample with its bootstrap standard error and percentile interval.
$$;
comment on column ml.bootstrap_estimate.estimate is $$The statistic of the sample itself.$$;
comment on column ml.bootstrap_estimate.std_err is $$Standard deviation of the statistic over the resamples.$$;
comment on column ml.bootstrap_estimate.lower is $$Lower end of the percentile interval.$$;
comment on column ml.bootstrap_estimate.upper is $$Upper end of the percentile interval.$$;
comment on column ml.bootstrap_estimate.resamples is $$Number of resamples in which the statistic was not null.$$;

create or replace function ml.bootstrap_interval(
  source_table text,
  statistic text,
  resamples int default 1000,
  confidence float8 default 0.95,
  cluster_col text default null,
  seed int default 0
)
returns ml.bootstrap_estimate
language plpgsql
volatile
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_relation regclass := common.relation(source_table);
  v_cluster text;
  v_units bigint;
  v_cursor refcursor;
  v_source text;
  v_values float8[];
  v_result ml.bootstrap_estimate;
begin
  if resamples is null or resamples not between 20 and 100000 then
    perform common.refuse('CF001', format('%s resamples', coalesce(resamples::text, 'null')), 'Choose 20 to 100000.');
  end if;
  if confidence is null or not (confidence > 0 and confidence < 1) then
    perform common.refuse('CF001', format('confidence %s', coalesce(confidence::text, 'null')),
      'Choose a number between 0 and 1, such as 0.95.');
  end if;
  if statistic is null then
    perform common.refuse('CF001', 'the statistic is null', 'Give an aggregate, such as avg(score).');
  end if;
  perform common.split_expressions(statistic);
  v_cluster := case when cluster_col is not null then common.column_name(v_relation, cluster_col, 'cluster column') end;
  begin
    open v_cursor no scroll for execute format('select (%s)::float8 from %s', statistic, v_relation);
    fetch v_cursor into v_result.estimate;
    move v_cursor;
    if found then
      perform common.refuse('CF001', format('"%s" gives more than one row', left(statistic, 100)),
        'Give an aggregate, such as avg(score).');
    end if;
    close v_cursor;
  exception
    when undefined_column then
      perform common.refuse('CF002', format('statistic "%s": %s', left(statistic, 100), left(sqlerrm, 100)),
        format('The columns of %s are %s.', v_relation, array_to_string(common.columns(v_relation), ', ')));
    when numeric_value_out_of_range then
      perform common.refuse('CF007', format('statistic "%s": %s', left(statistic, 100), left(sqlerrm, 100)),
        'Use other units, so that the values are between 1e-100 and 1e100.');
    when insufficient_privilege then
      perform common.refuse('CF005', format('role "%s" may not read "%s"', current_user, v_relation),
        'Ask its owner to grant select.');
    when syntax_error_or_access_rule_violation or feature_not_supported or data_exception then
      perform common.refuse('CF001', format('statistic "%s": %s', left(statistic, 100), left(sqlerrm, 100)),
        'Give one aggregate that is a number, such as avg(score).');
  end;
  -- The numbers of the rows hold within one statement, so it makes all resamples.
  v_source := format('select *, %s over (%s) as _ml_unit from %s',
    case when cluster_col is null then 'row_number()' else 'dense_rank()' end,
    case when cluster_col is not null then 'order by ' || v_cluster else '' end, v_relation);
  execute format('select count(distinct _ml_unit) from (%s) as source', v_source) into v_units;
  if v_units < 2 then
    perform common.refuse(
      'CF004',
      format(
        '"%s" has %s %s to draw from',
        v_relation,
        v_units,
        case when cluster_col is null then 'rows' else 'clusters' end
      ),
      'A bootstrap needs at least two.'
    );
  end if;
  begin
    execute format(
      $query$
      with source as materialized (
        %1$s
      )
      select array_agg(_ml_resample.value order by _ml_resample.resample)
      from (
        select resample, (
          select (%2$s)::float8
          from (
            select (('x' || substr(md5(%3$s || '/' || resample || '/' || draw), 1, 15))::bit(60)::bigint %% %4$s) + 1
              as _ml_unit
            from generate_series(1, %4$s) as draw
          ) as drawn
          join source using (_ml_unit)
        ) as value
        from generate_series(1, %5$s) as resample
        offset 0
      ) as _ml_resample
      $query$,
      v_source, statistic, seed, v_units, resamples
    ) into v_values;
  exception
    when numeric_value_out_of_range then
      perform common.refuse('CF007', format('statistic "%s": %s', left(statistic, 100), left(sqlerrm, 100)),
        'Use other units, so that the values are between 1e-100 and 1e100.');
    when data_exception then
      perform common.refuse('CF001', format('statistic "%s" of a resample: %s', left(statistic, 100),
        left(sqlerrm, 100)),
        'Give an aggregate that is null where it has no value, such as sum(a) / nullif(sum(b), 0).');
  end;
  select stddev_samp(value), percentile_cont((1 - confidence) / 2) within group (order by value),
    percentile_cont((1 + confidence) / 2) within group (order by value), count(value)
  into v_result.std_err, v_result.lower, v_result.upper, v_result.resamples
  from unnest(v_values) as value;
  return v_result;
end;
$$;

comment on function ml.bootstrap_interval(text, text, int, float8, text, int) is $$
@behavior -*
Returns the standard error and percentile interval of an aggregate by the bootstrap.
The aggregate is any, such as `avg(score)` or `corr(x, y)`; rows are drawn with replacement.
With `cluster_col` whole clusters are drawn (all rows of a person, all persons of a course), which is right where rows
of a cluster resemble each other.
The same seed gives the same answer for the same rows in the same order. Resamples in which the statistic is null do
not count (see `resamples`).
Errors: CF001 (resamples, confidence, not one aggregate, one that fails), CF002 (unknown table or column), CF004 (fewer
than two rows or clusters), CF005 (not readable), CF007 (numbers that are too large).
Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 6 and 13.
$$;

grant execute on function ml.bootstrap_interval(text, text, int, float8, text, int)
  to insights_analyst, insights_admin, insights_worker;

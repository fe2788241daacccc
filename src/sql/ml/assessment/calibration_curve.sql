create or replace function ml.calibration_curve(
  table_in text,
  table_out text,
  prediction_col text,
  observed_col text,
  grouping_cols text default null,
  bins int default 10,
  strategy text default 'uniform'
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
begin
  if bins is null or bins not between 2 and 1000 then
    perform common.refuse('CF001', format('%s bins', coalesce(bins::text, 'null')), 'Choose 2 to 1000 bins.');
  end if;
  if strategy is null or strategy not in ('uniform', 'quantile') then
    perform common.refuse('CF001', format('there is no strategy "%s"', coalesce(left(strategy, 100), 'null')),
      'Choose uniform (equal widths) or quantile (equal numbers of rows).');
  end if;
  perform ml._assess(
    table_in, table_out, prediction_col, observed_col, grouping_cols, 'probability',
    replace(
      $statement$
      , tally as (
        select {groups}_prediction, sum(_observed) as positives, count(*) as row_count
        from data
        group by {groups}_prediction
      ), placed as (
        select *, {bin} as bin
        from tally
      ), counted as (
        select
          {groups}bin,
          min(_prediction) as lowest,
          max(_prediction) as highest,
          sum(row_count)::bigint as num_rows,
          sum(_prediction * row_count) / sum(row_count)::float8 as mean_predicted,
          sum(positives) / sum(row_count)::float8 as fraction_positive
        from placed
        group by {groups}bin
      )
      select
        *,
        (fraction_positive + 1.9207294 / num_rows - 1.959964 * sqrt(
            fraction_positive * (1 - fraction_positive) / num_rows + 0.9603647 / num_rows ^ 2))
          / (1 + 3.8414588 / num_rows) as lower_95,
        (fraction_positive + 1.9207294 / num_rows + 1.959964 * sqrt(
            fraction_positive * (1 - fraction_positive) / num_rows + 0.9603647 / num_rows ^ 2))
          / (1 + 3.8414588 / num_rows) as upper_95
      from counted
      order by {groups}bin
      $statement$,
      '{bin}',
      case strategy
        when 'uniform' then format('least(floor(_prediction * %s)::int + 1, %s)', bins, bins)
        -- Equal scores belong together, so a score belongs to the bin of the middle of its rows.
        else format(
          'least(floor((sum(row_count) over ({partition} order by _prediction) - row_count / 2.0) * %s / sum(row_count)
                over ({partition}))::int + 1, %s)',
          bins, bins
        )
      end
    )
  );
end;
$$;

comment on function ml.calibration_curve(text, text, text, text, text, int, text) is $$
@behavior -*
Compares predicted probabilities with observed frequencies:
probabilities in bins of equal width (`uniform`) or of equal numbers of rows (`quantile`) against the share observed.
Writes `table_out`: the grouping columns, `bin` (1..bins; empty ones are left out), `lowest` and `highest` prediction,
`num_rows`, `mean_predicted`, `fraction_positive` and its 95 % Wilson interval `lower_95`, `upper_95`.
Errors: CF001 (bins, strategy, not probabilities or classes), CF002, CF003 (`table_out` exists), CF004 (no rows).
Source of the interval: Wilson, Probable inference, Journal of the American Statistical Association 22, 1927.
$$;

grant execute on function ml.calibration_curve(text, text, text, text, text, int, text)
  to insights_analyst, insights_admin, insights_worker;

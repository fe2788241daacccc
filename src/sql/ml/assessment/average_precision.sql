create or replace function ml.average_precision(
  table_in text,
  table_out text,
  prediction_col text,
  observed_col text,
  grouping_cols text default null
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
begin
  perform ml._assess(
    table_in, table_out, prediction_col, observed_col, grouping_cols, 'score',
    $statement$
    , tally as (
      select {groups}_prediction, sum(_observed) as positives, count(*) as row_count
      from data
      group by {groups}_prediction
    ), running as (
      select
        *,
        sum(positives) over ({partition} order by _prediction desc) as positives_to_here,
        sum(row_count) over ({partition} order by _prediction desc) as rows_to_here
      from tally
    )
    select {groups}
      sum(positives * positives_to_here / rows_to_here::float8) / nullif(sum(positives), 0) as average_precision
    from running
    {by}
    $statement$
  );
end;
$$;

comment on function ml.average_precision(text, text, text, text, text) is $$
@behavior -*
Average precision:
the precision at every threshold, weighted by the recall that it adds; no interpolation, ties move together.
Writes `table_out`: the grouping columns and `average_precision` (float8 in 0..1; null for a group without a positive
row).
Errors: CF001 (not finite, not a class), CF002, CF003 (`table_out` exists), CF004 (no rows, one class).
Source: the definition of scikit-learn's average_precision_score; Manning, Raghavan and Schütze, Introduction to
Information Retrieval, 2008, chapter 8.
$$;

grant execute on function ml.average_precision(text, text, text, text, text)
  to insights_analyst, insights_admin, insights_worker;

create or replace function ml.area_under_roc(
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
      select {groups}_prediction, sum(_observed) as positives, count(*) - sum(_observed) as negatives
      from data
      group by {groups}_prediction
    ), running as (
      select *, sum(negatives) over ({partition} order by _prediction) as negatives_to_here
      from tally
    )
    select {groups}
      sum(positives * (negatives_to_here - negatives / 2)) / nullif(sum(positives) * sum(negatives), 0)
        as area_under_roc
    from running
    {by}
    $statement$
  );
end;
$$;

comment on function ml.area_under_roc(text, text, text, text, text) is $$
@behavior -*
Area under the receiver operating characteristic:
the chance that a positive row scores above a negative one, ties counting half.
Writes `table_out`: the grouping columns and `area_under_roc` (float8 in 0..1; null for a group of one class).
Any score will do, larger for class 1; `observed_col` is boolean or 0 and 1.
Errors: CF001 (not finite, not a class), CF002, CF003 (`table_out` exists), CF004 (no rows, one class).
Source: Hanley and McNeil, The meaning and use of the area under a ROC curve, Radiology 143, 1982.
$$;

grant execute on function ml.area_under_roc(text, text, text, text, text)
  to insights_analyst, insights_admin, insights_worker;

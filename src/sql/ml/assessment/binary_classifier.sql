create or replace function ml.binary_classifier(
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
      select {groups}_prediction, sum(_observed)::bigint as positives, count(*) as row_count
      from data
      group by {groups}_prediction
    ), running as (
      select
        {groups}_prediction as threshold,
        (sum(positives) over above)::bigint as tp,
        (sum(row_count - positives) over above)::bigint as fp,
        (sum(positives) over whole - sum(positives) over above)::bigint as fn,
        (sum(row_count - positives) over whole - sum(row_count - positives) over above)::bigint as tn
      from tally
      window above as ({partition} order by _prediction desc), whole as ({partition})
    )
    select
      {groups}threshold, tp, fp, fn, tn,
      tp / nullif(tp + fn, 0)::float8 as tpr,
      tn / nullif(fp + tn, 0)::float8 as tnr,
      tp / nullif(tp + fp, 0)::float8 as ppv,
      tn / nullif(tn + fn, 0)::float8 as npv,
      fp / nullif(fp + tn, 0)::float8 as fpr,
      fp / nullif(fp + tp, 0)::float8 as fdr,
      fn / nullif(fn + tp, 0)::float8 as fnr,
      (tp + tn) / (tp + tn + fp + fn)::float8 as acc,
      2 * tp / nullif(2 * tp + fp + fn, 0)::float8 as f1
    from running
    order by {groups}threshold
    $statement$
  );
end;
$$;

comment on function ml.binary_classifier(text, text, text, text, text) is $$
@behavior -*
Returns the classification measures at each value of a score as the threshold:
a row counts as predicted positive when its score is the threshold or more.
Writes `table_out`, one row per distinct score: the grouping columns, `threshold`, counts `tp`, `fp`, `fn`, `tn`
(bigint) and rates `tpr` (recall), `tnr`, `ppv` (precision), `npv`, `fpr`, `fdr`, `fnr`, `acc`, `f1` (float8; null
where nothing is divided by nothing).
Errors: CF001 (not finite, not a class), CF002, CF003 (`table_out` exists), CF004 (no rows, one class).
$$;

grant execute on function ml.binary_classifier(text, text, text, text, text)
  to insights_analyst, insights_admin, insights_worker;

create or replace function ml.lift(
  table_in text,
  table_out text,
  prediction_col text,
  observed_col text,
  grouping_cols text default null,
  buckets int default 10
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
begin
  if buckets is null or buckets not between 1 and 1000 then
    perform common.refuse('CF001', format('%s buckets', coalesce(buckets::text, 'null')), 'Choose 1 to 1000 buckets.');
  end if;
  perform ml._assess(
    table_in, table_out, prediction_col, observed_col, grouping_cols, 'score',
    replace(
      $statement$
      , tally as (
        select {groups}_prediction, sum(_observed) as positives, count(*) as row_count
        from data
        group by {groups}_prediction
      ), placed as (
        select
          *,
          least(floor((sum(row_count) over ({partition} order by _prediction desc) - row_count / 2.0) * {buckets} / sum(
                row_count) over ({partition}))::int + 1, {buckets}) as bucket
        from tally
      ), counted as (
        select
          {groups}bucket, min(_prediction) as lowest, max(_prediction) as highest,
          sum(row_count)::bigint as num_rows, sum(positives)::bigint as positives
        from placed
        group by {groups}bucket
      )
      select
        *,
        positives / num_rows::float8 as rate,
        positives / num_rows::float8 / nullif(sum(positives) over whole / (sum(num_rows) over whole)::float8, 0)
          as lift,
        (sum(positives) over above / (sum(num_rows) over above)::float8) / nullif(
          sum(positives) over whole / (sum(num_rows) over whole)::float8, 0) as cumulative_lift,
        (sum(positives) over above / nullif(sum(positives) over whole, 0))::float8 as captured
      from counted
      window above as ({partition} order by bucket), whole as ({partition})
      order by {groups}bucket
      $statement$,
      '{buckets}', buckets::text
    )
  );
end;
$$;

comment on function ml.lift(text, text, text, text, text, int) is $$
@behavior -*
What acting on the highest scores first would gain: rows in buckets of equal size from the highest score down.
Writes `table_out`: the grouping columns, `bucket` (1 = highest scores), `lowest` and `highest` score, `num_rows`,
`positives`, `rate` of positives, `lift` (rate over the rate of all rows), `cumulative_lift` of this bucket and those
above, and `captured`, the share of all positives that they hold.
Equal scores stay together, so buckets may differ in size. Errors: CF001, CF002, CF003 (`table_out` exists), CF004 (no
rows, one class).
$$;

grant execute on function ml.lift(text, text, text, text, text, int)
  to insights_analyst, insights_admin, insights_worker;

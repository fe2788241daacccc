create or replace function ml.r2_score(
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
    table_in, table_out, prediction_col, observed_col, grouping_cols, 'number',
    'select {groups}case
      when regr_syy(_observed, _observed) > 0 then 1 - sum((_prediction - _observed) ^ 2) / regr_syy(_observed,
        _observed) end as r2_score from data {by}'
  );
end;
$$;

comment on function ml.r2_score(text, text, text, text, text) is $$
@behavior -*
Coefficient of determination:
1 minus the squared error over the squared deviation from the mean; null when nothing varies.
Writes `table_out`: the grouping columns and `r2_score` (float8). Rows without a prediction or an observed value are
left out.
Errors: CF001 (not finite numbers), CF002 (unknown table or column), CF003 (`table_out` exists), CF004 (no rows).
$$;

grant execute on function ml.r2_score(text, text, text, text, text)
  to insights_analyst, insights_admin, insights_worker;

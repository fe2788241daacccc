create or replace function ml.brier_score(
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
    table_in, table_out, prediction_col, observed_col, grouping_cols, 'probability',
    'select {groups}avg((_prediction - _observed) ^ 2) as brier_score from data {by}'
  );
end;
$$;

comment on function ml.brier_score(text, text, text, text, text) is $$
@behavior -*
Brier score: mean squared distance of the predicted probability from what happened.
Writes `table_out`: the grouping columns and `brier_score` (float8). Rows without a prediction or an observed value
are left out.
Errors: CF001 (not finite numbers, probabilities or classes), CF002 (unknown table or column), CF003 (`table_out`
exists), CF004 (no rows).
Source: Brier, Verification of forecasts expressed in terms of probability, Monthly Weather Review 78, 1950.
$$;

grant execute on function ml.brier_score(text, text, text, text, text)
  to insights_analyst, insights_admin, insights_worker;

create or replace function ml.mean_squared_error(
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
    'select {groups}avg((_prediction - _observed) ^ 2) as mean_squared_error from data {by}'
  );
end;
$$;

comment on function ml.mean_squared_error(text, text, text, text, text) is $$
@behavior -*
Mean squared error of predictions, in the square of the observed unit.
Writes `table_out`: the grouping columns and `mean_squared_error` (float8). Rows without a prediction or an observed
value are left out.
Errors: CF001 (not finite numbers), CF002 (unknown table or column), CF003 (`table_out` exists), CF004 (no rows).
$$;

grant execute on function ml.mean_squared_error(text, text, text, text, text)
  to insights_analyst, insights_admin, insights_worker;

create or replace function ml.log_loss(
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
    'select {groups}-avg(case when _observed = 1 then ln(greatest(_prediction, 1e-15))
        else ln(greatest(1 - _prediction, 1e-15)) end) as log_loss from data {by}'
  );
end;
$$;

comment on function ml.log_loss(text, text, text, text, text) is $$
@behavior -*
Logarithmic loss of predicted probabilities, in nats; probabilities are kept 1e-15 away from 0 and 1.
Writes `table_out`: the grouping columns and `log_loss` (float8). Rows without a prediction or an observed value are
left out.
Errors: CF001 (not finite numbers, probabilities or classes), CF002 (unknown table or column), CF003 (`table_out`
exists), CF004 (no rows).
$$;

grant execute on function ml.log_loss(text, text, text, text, text)
  to insights_analyst, insights_admin, insights_worker;

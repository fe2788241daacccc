create or replace function ml.adjusted_r2_score(
  table_in text,
  table_out text,
  prediction_col text,
  observed_col text,
  num_predictors int,
  training_size int,
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
  if num_predictors is null or training_size is null or num_predictors < 0
    or training_size <= num_predictors + 1::bigint then
    perform common.refuse(
      'CF001',
      format(
        '%s rows and %s predictors leave no degree of freedom',
        coalesce(training_size::text, 'null'),
        coalesce(num_predictors::text, 'null')
      ),
      'training_size must be larger than num_predictors + 1.'
    );
  end if;
  perform ml._assess(
    table_in, table_out, prediction_col, observed_col, grouping_cols, 'number',
    format(
      'select {groups}r2 as r2_score, 1 - (1 - r2) * %s::float8 / %s as adjusted_r2_score from (
         select {groups}case
           when regr_syy(_observed, _observed) > 0 then 1 - sum((_prediction - _observed) ^ 2) / regr_syy(_observed,
             _observed) end as r2
         from data {by}
       ) as score',
      training_size - 1, training_size - num_predictors - 1
    )
  );
end;
$$;

comment on function ml.adjusted_r2_score(text, text, text, text, int, int, text) is $$
@behavior -*
Coefficient of determination, corrected for the number of predictors: 1 − (1 − r2) · (n − 1) / (n − p − 1).
Writes `table_out`: the grouping columns, `r2_score`, `adjusted_r2_score` (float8).
Errors: CF001 (no degree of freedom, not finite numbers), CF002, CF003 (`table_out` exists), CF004 (no rows).
$$;

grant execute on function ml.adjusted_r2_score(text, text, text, text, int, int, text)
  to insights_analyst, insights_admin, insights_worker;

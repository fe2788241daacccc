create or replace function ml.covariance(
  source_table text,
  output_table text,
  target_cols text default '*',
  verbose boolean default false,
  grouping_cols text default null,
  n_groups_per_run int default 10
)
returns void
language sql
begin atomic
  select ml._pairs(source_table, output_table, target_cols, grouping_cols, 'covar_samp');
end;

comment on function ml.covariance(text, text, text, boolean, text, int) is $$
@behavior -*
Sample covariance of every pair of columns (divided by n − 1; the diagonal holds the variances).
With `*` all columns of numbers or booleans. Rows with a null in any of them are left out and counted. One scan of
built-in aggregates, also by group.
Writes `output_table`: the grouping columns, `column_position`, `variable` and one float8 column a variable (lower
triangle, null above the diagonal); and `<output_table>_summary`. `verbose` and `n_groups_per_run` change nothing.
Errors: CF001 (not a number, NaN or infinity), CF002, CF003 (a table exists), CF004 (fewer than two columns, no rows),
CF005, CF008 (over 500 columns).
$$;

grant execute on function ml.covariance(text, text, text, boolean, text, int)
  to insights_analyst, insights_admin, insights_worker;

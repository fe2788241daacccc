create or replace function ml.clustered_variance_linregr(
  source_table text,
  out_table text,
  dependent_varname text,
  independent_varname text,
  clustervar text,
  grouping_cols text default null,
  weights text default null,
  offsets text default null
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
begin
  perform ml._sandwich(
    'clustered_variance_linregr',
    source_table, out_table, dependent_varname, independent_varname, clustervar, grouping_cols,
    20, 1e-6, 'HC0', weights, offsets
  );
end;
$$;

comment on function ml.clustered_variance_linregr(text, text, text, text, text, text, text, text) is $$
@behavior -*
Trains a linear regression with standard errors that allow for correlated rows in a cluster, as MADlib.
`clustervar` is a list of columns whose values identify a cluster, such as a course. Writes `out_table`: the grouping
columns, coef, std_err, t_stats, p_values, and, not in MADlib, variance_covariance, num_clusters, num_rows_processed,
num_missing_rows_skipped, failure; and `<out_table>_summary`. The variance is multiplied by m / (m - 1) (n - 1) / (n -
k).
Source: Liang and Zeger, Biometrika 73, 1986.
`weights` and `offsets` are those of ml.linregr_train. Errors: as ml.linregr_train.
$$;

grant execute on function ml.clustered_variance_linregr(text, text, text, text, text, text, text, text)
to insights_analyst, insights_admin, insights_worker;

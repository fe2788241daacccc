create or replace function ml.clustered_variance_mlogregr(
  source_table text,
  out_table text,
  dependent_varname text,
  independent_varname text,
  cluster_varname text,
  ref_category integer default 0,
  grouping_cols text default null,
  optimizer_params text default null,
  verbose_mode boolean default false
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
begin
  perform ml._multinomial_sandwich(
    'clustered_variance_mlogregr', source_table, out_table, dependent_varname, independent_varname,
    cluster_varname, ref_category, grouping_cols, optimizer_params
  );
end;
$$;

comment on function ml.clustered_variance_mlogregr(
  text, text, text, text, text, integer, text, text, boolean
) is $$
@behavior -*
Trains a multinomial logistic regression with standard errors that allow for correlated rows in a cluster, as MADlib.
Writes `out_table`: as ml.robust_variance_mlogregr, with num_clusters.
Source: Liang and Zeger, Biometrika 73, 1986.
Errors: as ml.mlogregr_train, and CF001 without cluster columns, CF004 for fewer than two clusters.
$$;

grant execute on function ml.clustered_variance_mlogregr(text, text, text, text, text, integer, text, text, boolean)
to insights_analyst, insights_admin, insights_worker;

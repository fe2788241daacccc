create or replace function ml.clustered_variance_logregr(
  source_table text,
  out_table text,
  dependent_varname text,
  independent_varname text,
  clustervar text,
  grouping_cols text default null,
  max_iter integer default 20,
  optimizer text default 'irls',
  tolerance float8 default 0.0001,
  verbose_mode boolean default false,
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
  if lower(optimizer) not in ('irls', 'newton') then
    perform common.refuse('CF001', format('there is no optimizer "%s"', left(optimizer, 100)),
      'Use irls (the same as newton).');
  end if;
  perform ml._sandwich(
    'clustered_variance_logregr',
    source_table, out_table, dependent_varname, independent_varname, clustervar, grouping_cols,
    max_iter, tolerance, 'HC0', weights, offsets
  );
end;
$$;

comment on function ml.clustered_variance_logregr(
  text, text, text, text, text, text, integer, text, float8, boolean, text, text
) is $$
@behavior -*
Trains a logistic regression with standard errors that allow for correlated rows in a cluster, as MADlib.
Writes `out_table`: as ml.clustered_variance_linregr, with z_stats.
Source: Liang and Zeger, Biometrika 73, 1986.
`weights` and `offsets` are those of ml.logregr_train. Errors: as ml.logregr_train.
$$;

grant execute on function
  ml.clustered_variance_logregr(text, text, text, text, text, text, integer, text, float8, boolean, text, text)
to insights_analyst, insights_admin, insights_worker;

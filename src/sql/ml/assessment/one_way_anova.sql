do $$
begin
  if to_regtype('ml.one_way_anova_result') is null then
    create type ml.one_way_anova_result as (
      sum_squares_between float8,
      sum_squares_within float8,
      df_between bigint,
      df_within bigint,
      mean_squares_between float8,
      mean_squares_within float8,
      statistic float8,
      p_value float8
    );
  end if;
end;
$$;

comment on type ml.one_way_anova_result is $$
Result of a one-way analysis of variance.
$$;
comment on column ml.one_way_anova_result.sum_squares_between is $$
Squares of the means of the groups around the mean.
$$;
comment on column ml.one_way_anova_result.sum_squares_within is $$
Squares of the values around the means of the groups.
$$;
comment on column ml.one_way_anova_result.df_between is $$Number of groups less one.$$;
comment on column ml.one_way_anova_result.df_within is $$Number of values less the number of groups.$$;
comment on column ml.one_way_anova_result.mean_squares_between is $$Squares between over their degrees of freedom.$$;
comment on column ml.one_way_anova_result.mean_squares_within is $$Squares within over their degrees of freedom.$$;
comment on column ml.one_way_anova_result.statistic is $$F; null when no group varies.$$;
comment on column ml.one_way_anova_result.p_value is $$Probability of at least this F when all means are equal.$$;

create or replace function ml._anova_added(state float8[], category bigint, count float8, mean float8, squares float8)
returns float8[]
language plpgsql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_state float8[] := state;
  v_at int := 1;
  v_total float8;
  v_delta float8;
begin
  while v_at < cardinality(v_state) and v_state[v_at] <> category loop
    v_at := v_at + 4;
  end loop;
  if v_at > 40000 then
    perform common.refuse('CF008', 'there are more than 10,000 groups', 'Compare fewer groups.');
  elsif v_at > cardinality(v_state) then
    return v_state || array[category, count, mean, squares]::float8[];
  end if;
  v_total := v_state[v_at + 1] + count;
  v_delta := mean - v_state[v_at + 2];
  v_state[v_at + 3] := v_state[v_at + 3] + squares
    + ml._times(v_delta, v_delta) * v_state[v_at + 1] / v_total * count;
  v_state[v_at + 2] := v_state[v_at + 2] + v_delta * count / v_total;
  v_state[v_at + 1] := v_total;
  return v_state;
end;
$$;

comment on function ml._anova_added(float8[], bigint, float8, float8, float8) is $$
Adds values of one group to the state of an analysis of variance: group, count, mean and squares for each group.
Error CF008: more than 10,000 groups.
$$;

create or replace function ml._anova_value(state float8[], category bigint, value float8)
returns float8[]
language plpgsql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if not abs(value) < 1e100 then
    perform common.refuse(case when abs(value) < 'Infinity' then 'CF007' else 'CF001' end,
      format('the value %s cannot be compared', value), 'Give finite numbers between -1e100 and 1e100.');
  end if;
  return ml._anova_added(state, category, 1, value, 0);
end;
$$;

comment on function ml._anova_value(float8[], bigint, float8) is $$
Adds a value to the state of an analysis of variance. Errors: CF001 (not finite), CF007 (too large), CF008.
$$;

create or replace function ml._anova_merged(one float8[], other float8[])
returns float8[]
language plpgsql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_state float8[] := one;
begin
  for v_at in 1..cardinality(other) by 4 loop
    v_state := ml._anova_added(v_state, other[v_at]::bigint, other[v_at + 1], other[v_at + 2], other[v_at + 3]);
  end loop;
  return v_state;
end;
$$;

comment on function ml._anova_merged(float8[], float8[]) is $$Adds two states of an analysis of variance.$$;

create or replace function ml._anova_test(state float8[])
returns ml.one_way_anova_result
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_result ml.one_way_anova_result;
begin
  select sum(part.count * (part.mean - part.grand) ^ 2), sum(part.squares), count(*) - 1, sum(part.count) - count(*)
  into v_result.sum_squares_between, v_result.sum_squares_within, v_result.df_between, v_result.df_within
  from (
    select state[place + 1] as count, state[place + 2] as mean, state[place + 3] as squares,
      sum(state[place + 1] * state[place + 2]) over () / sum(state[place + 1]) over () as grand
    from generate_series(1, cardinality(state), 4) as place
  ) as part
  having count(*) > 0;
  v_result.mean_squares_between := v_result.sum_squares_between / nullif(v_result.df_between, 0);
  v_result.mean_squares_within := v_result.sum_squares_within / nullif(v_result.df_within, 0);
  if v_result.mean_squares_within > 0 then
    v_result.statistic := v_result.mean_squares_between / v_result.mean_squares_within;
    v_result.p_value := case
      when v_result.statistic > 0
        then ml.fisher_f_cdf(1 / v_result.statistic, v_result.df_within, v_result.df_between)
      when v_result.statistic = 0 then 1
    end;
  end if;
  return v_result;
end;
$$;

comment on function ml._anova_test(float8[]) is $$The one-way analysis of variance.$$;

create or replace aggregate ml.one_way_anova(category bigint, value float8) (
  sfunc = ml._anova_value,
  stype = float8[],
  initcond = '{}',
  combinefunc = ml._anova_merged,
  finalfunc = ml._anova_test,
  parallel = safe
);

comment on aggregate ml.one_way_anova(bigint, float8) is $$
@behavior -*
Returns the one-way analysis of variance, as MADlib: whether the means of several groups are equal.
`category` is the number of the group of a value. Rows with a null are left out. The statistic is null when no group
varies. Errors: CF001 (not finite), CF007 (beyond 1e100), CF008 (more than 10,000 groups).
Source: Fisher, Statistical Methods for Research Workers, 1925.
$$;

grant execute on function
  ml._anova_added(float8[], bigint, float8, float8, float8), ml._anova_value(float8[], bigint, float8),
  ml._anova_merged(float8[], float8[]), ml._anova_test(float8[]), ml.one_way_anova(bigint, float8)
to insights_analyst, insights_admin, insights_worker;

/*
 * State: the numbers of groups and of rows, the mean of the first group (the origin), the mean of all rows minus the
 * origin, and the sums of squares between and within the groups.
 */

create or replace function ml._one_way_anova_by_group_add(
  state float8[],
  row_count bigint,
  mean float8,
  variance float8
)
returns float8[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if row_count is null or row_count = 0 or mean is null or variance is null and row_count > 1 then
    return state;
  elsif row_count < 0 then
    perform common.refuse('CF001', format('a group has %s rows', row_count), 'Give count(x).');
  elsif not coalesce(variance, 0) between 0 and 1e200 then
    perform common.refuse('CF001', format('a group has the variance %s', variance),
      'Give var_samp(x) of values of at most 1e100 in absolute value.');
  elsif not abs(mean) <= 1e100 then
    perform ml._check_magnitude(mean);
  end if;
  return ml._one_way_anova_by_group_combine(
    state,
    array[1, row_count, mean, 0, 0, case when row_count > 1 and variance > 1e-200 then variance else 0 end
      * (row_count - 1)]
  );
end;
$$;

comment on function ml._one_way_anova_by_group_add(float8[], bigint, float8, float8) is $$
Adds a group to the state of `ml.one_way_anova_by_group`.
$$;

create or replace function ml._one_way_anova_by_group_combine(state float8[], other float8[])
returns float8[]
language plpgsql
immutable
parallel safe
strict
set search_path to pg_catalog, pg_temp
as $$
declare
  v_rows constant float8 := state[2] + other[2];
  v_distance float8;
begin
  if other[1] = 0 then
    return state;
  elsif state[1] = 0 then
    return other;
  end if;
  -- Chan, Golub and LeVeque (1979)
  v_distance := (other[3] - state[3]) + (other[4] - state[4]);
  if abs(v_distance) < 1e-100 then
    v_distance := 0;
  end if;
  return array[
    state[1] + other[1],
    v_rows,
    state[3],
    state[4] + v_distance * (other[2] / v_rows),
    state[5] + other[5] + v_distance * v_distance * (state[2] * other[2] / v_rows),
    state[6] + other[6]
  ];
end;
$$;

comment on function ml._one_way_anova_by_group_combine(float8[], float8[]) is $$
Returns the state of `ml.one_way_anova_by_group` over the groups of both states.
$$;

grant execute on function ml._one_way_anova_by_group_combine(float8[], float8[])
to insights_reader, insights_analyst, insights_admin, insights_worker;

create or replace function ml._one_way_anova_by_group(state float8[])
returns ml.one_way_anova_result
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if state[1] = 0 then
    return null;
  end if;
  return ml._one_way_anova_result(state[5], state[6], state[1], state[2]);
end;
$$;

comment on function ml._one_way_anova_by_group(float8[]) is $$Returns the result of `ml.one_way_anova_by_group`.$$;

create or replace aggregate ml.one_way_anova_by_group(row_count bigint, mean float8, variance float8) (
  sfunc = ml._one_way_anova_by_group_add,
  stype = float8[],
  initcond = '{0,0,0,0,0,0}',
  finalfunc = ml._one_way_anova_by_group,
  combinefunc = ml._one_way_anova_by_group_combine,
  parallel = safe
);

comment on aggregate ml.one_way_anova_by_group(bigint, float8, float8) is $$
@behavior -*
One-way analysis of variance from the number, mean and variance of each group.
`select (ml.one_way_anova_by_group(n, mean, variance)).* from (select count(x) as n, avg(x) as mean, var_samp(x) as
variance from … group by …) as g`, with x of type float8. The result is that of ml.one_way_anova, in a time that is
proportional to the rows, for any number of groups. Groups without rows are left out; null without groups. Error CF001
for a negative number or variance, NaN, infinity and means above 1e100.
$$;

grant execute on function ml.one_way_anova_by_group(bigint, float8, float8)
to insights_reader, insights_analyst, insights_admin, insights_worker;

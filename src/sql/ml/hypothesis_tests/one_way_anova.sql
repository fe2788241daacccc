/*
 * State: the number of groups, then the slots of a hash table with open addressing, five numbers each: the group, its
 * first value (the origin), the number of values, and mean and sum of squared deviations of the values minus the
 * origin. At most half of the slots are taken. Values near 1e9 lose no digits by the origin.
 */

create or replace function ml._one_way_anova_slot(state float8[], group_no int)
returns int
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_slots constant int := cardinality(state) / 5;
  v_slot int := hashint4(group_no) & (v_slots - 1);
begin
  while state[v_slot * 5 + 2] <> group_no loop
    v_slot := (v_slot + 1) & (v_slots - 1);
  end loop;
  return v_slot * 5 + 2;
end;
$$;

comment on function ml._one_way_anova_slot(float8[], int) is $$
Returns where a group is, or can be put, in the state of `ml.one_way_anova`.
$$;

grant execute on function ml._one_way_anova_slot(float8[], int)
to insights_reader, insights_analyst, insights_admin, insights_worker;

create or replace function ml._one_way_anova_grown(state float8[])
returns float8[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_slots constant int := cardinality(state) / 5;
  v_grown float8[];
  v_at int;
begin
  if state[1] > 1000 then
    perform common.refuse('CF008', 'there are more than 1000 groups', 'Compare fewer groups.');
  end if;
  v_grown := array[state[1]] || array_fill(null::float8, array[greatest(v_slots * 2, 16) * 5]);
  for at in 2..cardinality(state) by 5 loop
    if state[at] is not null then
      v_at := ml._one_way_anova_slot(v_grown, state[at]::int);
      v_grown[v_at:v_at + 4] := state[at:at + 4];
    end if;
  end loop;
  return v_grown;
end;
$$;

comment on function ml._one_way_anova_grown(float8[]) is $$
Returns the state of `ml.one_way_anova` with twice the room for groups.
$$;

grant execute on function ml._one_way_anova_grown(float8[])
to insights_reader, insights_analyst, insights_admin, insights_worker;

create or replace function ml._one_way_anova_add(state float8[], group_no int, value float8)
returns float8[]
language plpgsql
immutable
parallel safe
strict
set search_path to pg_catalog, pg_temp
as $$
declare
  v_at int;
  v_mask int := cardinality(state) / 5 - 1;
  v_value float8;
  v_deviation float8;
begin
  if not abs(value) <= 1e100 then
    perform ml._check_magnitude(value);
  end if;
  if state[1] * 2 > v_mask then
    state := ml._one_way_anova_grown(state);
    v_mask := cardinality(state) / 5 - 1;
  end if;
  v_at := (hashint4(group_no) & v_mask) * 5 + 2;
  if state[v_at] = group_no then
    null;
  else
    v_at := ml._one_way_anova_slot(state, group_no);
    if state[v_at] is null then
      state[v_at:v_at + 4] := array[group_no, value, 0, 0, 0];
      state[1] := state[1] + 1;
    end if;
  end if;
  v_value := value - state[v_at + 1];
  if abs(v_value) < 1e-100 then
    v_value := 0;
  end if;
  -- Welford's update (1962)
  v_deviation := v_value - state[v_at + 3];
  state[v_at + 2] := state[v_at + 2] + 1;
  state[v_at + 3] := state[v_at + 3] + v_deviation / state[v_at + 2];
  state[v_at + 4] := state[v_at + 4] + v_deviation * (v_value - state[v_at + 3]);
  return state;
end;
$$;

comment on function ml._one_way_anova_add(float8[], int, float8) is $$
Adds a value to the state of `ml.one_way_anova`.
$$;

create or replace function ml._one_way_anova_combine(state float8[], other float8[])
returns float8[]
language plpgsql
immutable
parallel safe
strict
set search_path to pg_catalog, pg_temp
as $$
declare
  v_at int;
  v_count float8;
  v_distance float8;
begin
  for other_at in 2..cardinality(other) by 5 loop
    continue when other[other_at] is null;
    if state[1] * 2 > cardinality(state) / 5 - 1 then
      state := ml._one_way_anova_grown(state);
    end if;
    v_at := ml._one_way_anova_slot(state, other[other_at]::int);
    if state[v_at] is null then
      state[v_at:v_at + 4] := other[other_at:other_at + 4];
      state[1] := state[1] + 1;
      continue;
    end if;
    -- Chan, Golub and LeVeque (1979)
    v_count := state[v_at + 2] + other[other_at + 2];
    v_distance := (other[other_at + 1] - state[v_at + 1]) + (other[other_at + 3] - state[v_at + 3]);
    if abs(v_distance) < 1e-100 then
      v_distance := 0;
    end if;
    state[v_at + 3] := state[v_at + 3] + v_distance * (other[other_at + 2] / v_count);
    state[v_at + 4] := state[v_at + 4] + other[other_at + 4]
      + v_distance * v_distance * (state[v_at + 2] * other[other_at + 2] / v_count);
    state[v_at + 2] := v_count;
  end loop;
  return state;
end;
$$;

comment on function ml._one_way_anova_combine(float8[], float8[]) is $$
Returns the state of `ml.one_way_anova` over the rows of both states.
$$;

create or replace function ml._one_way_anova(state float8[])
returns ml.one_way_anova_result
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_rows float8;
  v_within float8;
  v_between float8;
begin
  if state[1] = 0 then
    return null;
  elsif state[1] > 1000 then
    perform common.refuse('CF008', 'there are more than 1000 groups', 'Compare fewer groups.');
  end if;

  with slot as (
    select state[at] as group_no, state[at + 1] as origin, state[at + 2] as number, state[at + 3] as mean,
      state[at + 4] as squares
    from generate_series(2, cardinality(state), 5) as at
    where state[at] is not null
  ),
  -- all means from one origin
  placed as (
    select number, squares, (origin - min(origin) over ()) + mean as mean, sum(number) over () as row_count
    from slot
  ),
  centred as (
    select number, squares, mean - sum(mean * (number / row_count)) over () as deviation, row_count
    from placed
  )

  select min(row_count), sum(squares),
    sum(number * case when abs(deviation) < 1e-100 then 0 else deviation * deviation end)
  into v_rows, v_within, v_between
  from centred;

  return ml._one_way_anova_result(v_between, v_within, state[1], v_rows);
end;
$$;

comment on function ml._one_way_anova(float8[]) is $$Returns the result of `ml.one_way_anova`.$$;

create or replace aggregate ml.one_way_anova(group_no int, value float8) (
  sfunc = ml._one_way_anova_add,
  stype = float8[],
  initcond = '{0}',
  finalfunc = ml._one_way_anova,
  combinefunc = ml._one_way_anova_combine,
  parallel = safe
);

comment on aggregate ml.one_way_anova(int, float8) is $$
@behavior -*
One-way analysis of variance: do all groups have the same mean?
`group_no`: any number for each group. The statistic is the mean square between the groups divided by that within
them; `p_value` is the probability of one that is at least as high. Rows with a NULL are left out; null without rows.
A mean square without degrees of freedom is null, statistic and p-value also where all values within the groups are
equal. Error CF001 for NaN, infinity and values above 1e100, CF008 for more than 1,000 groups; the time per row grows
with their number: for more than some tens, ml.one_way_anova_by_group is faster. MADlib's `one_way_anova`; R's `oneway.test(…, var.equal = TRUE)`.
$$;

grant execute on function ml.one_way_anova(int, float8)
to insights_reader, insights_analyst, insights_admin, insights_worker;

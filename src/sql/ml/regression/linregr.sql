/*
 * State: the number of rows, the number of columns k, y and the columns of the first row (the origin), the sums of y
 * and of each column minus the origin, and the upper triangle of the sums of products of these, row by row.
 */

create or replace function ml._linregr_add(state float8[], y float8, x float8[])
returns float8[]
language plpgsql
immutable
parallel safe
strict
set search_path to pg_catalog, pg_temp
as $$
declare
  v_width constant int := cardinality(x);
  v_at int;
  v_deviation float8[];
begin
  if state[1] = 0 then
    if v_width not between 1 and 100 then
      perform common.refuse('CF008', format('%s independent variables; 1 to 100 can be fitted', v_width),
        'Use ml.linregr_train, which fits up to 250.');
    end if;
    state := array[0, v_width] || y || x
      || array_fill(0::float8, array[(v_width + 1) * (v_width + 4) / 2]);
  elsif v_width <> state[2] then
    perform common.refuse('CF001', format('rows have %s and %s independent variables', state[2], v_width),
      'Give an array of the same length in each row.');
  end if;
  if array_position(x, null) is not null then
    return state;
  end if;
  v_deviation := y || x;
  for i in 1..v_width + 1 loop
    if not abs(v_deviation[i]) <= 1e100 then
      perform common.refuse('CF001', format('a value is %s', v_deviation[i]),
        'Give finite numbers of at most 1e100 in absolute value.');
    end if;
    v_deviation[i] := v_deviation[i] - state[2 + i];
    if abs(v_deviation[i]) < 1e-100 then
      v_deviation[i] := 0;
    end if;
  end loop;
  state[1] := state[1] + 1;
  v_at := 2 * v_width + 4;
  for i in 1..v_width + 1 loop
    state[v_width + 3 + i] := state[v_width + 3 + i] + v_deviation[i];
    for j in i..v_width + 1 loop
      v_at := v_at + 1;
      state[v_at] := state[v_at] + v_deviation[i] * v_deviation[j];
    end loop;
  end loop;
  return state;
end;
$$;

comment on function ml._linregr_add(float8[], float8, float8[]) is $$Adds a row to the state of `ml.linregr`.$$;

create or replace function ml._linregr_combine(state float8[], other float8[])
returns float8[]
language plpgsql
immutable
parallel safe
strict
set search_path to pg_catalog, pg_temp
as $$
declare
  v_width constant int := other[2];
  v_at int := 2 * other[2] + 4;
  v_shift float8[];
begin
  if other[1] = 0 then
    return state;
  elsif state[1] = 0 then
    return other;
  elsif state[2] <> other[2] then
    perform common.refuse('CF001', format('rows have %s and %s independent variables', state[2], other[2]),
      'Give an array of the same length in each row.');
  end if;
  for i in 1..v_width + 1 loop
    v_shift[i] := other[2 + i] - state[2 + i];
  end loop;
  for i in 1..v_width + 1 loop
    for j in i..v_width + 1 loop
      v_at := v_at + 1;
      state[v_at] := state[v_at] + other[v_at] + v_shift[i] * other[v_width + 3 + j]
        + v_shift[j] * other[v_width + 3 + i] + other[1] * v_shift[i] * v_shift[j];
    end loop;
  end loop;
  for i in 1..v_width + 1 loop
    state[v_width + 3 + i] := state[v_width + 3 + i] + other[v_width + 3 + i] + other[1] * v_shift[i];
  end loop;
  state[1] := state[1] + other[1];
  return state;
end;
$$;

comment on function ml._linregr_combine(float8[], float8[]) is $$
Returns the state of `ml.linregr` over the rows of both states.
$$;

create or replace function ml._linregr(state float8[])
returns ml.linregr_result
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_width constant int := state[2];
  v_design ml.design;
  v_fit ml.fit;
  v_df float8;
begin
  if state[1] = 0 then
    return null;
  end if;
  v_design.width := v_width;
  v_design.packed := true;
  v_design.x := '{x}';
  v_design.active := array(select i from generate_series(1, v_width) as i order by i);
  v_design.candidates := array(select i from generate_series(1, v_width) as i where state[3 + i] <> 0 order by i);
  v_design.literals := array_fill(null::numeric, array[v_width]);
  v_design.shift := state[4:v_width + 3];
  v_design.scale := array_fill(1::float8, array[v_width]);
  v_design.y_shift := state[3];
  v_design.y_scale := 1;
  v_fit := ml._least_squares(state[1]::bigint, state[v_width + 4:], v_design);
  v_df := nullif(state[1] - v_width, 0);
  if v_df > 0 and v_fit.coef is not null then
    v_fit.covariance := ml._scaled(v_fit.inverse, v_fit.rss / v_df);
    v_fit := ml._tested(v_fit, v_df);
  end if;
  return (
    v_fit.coef,
    v_fit.r2,
    v_fit.std_err,
    v_fit.stats,
    v_fit.p_values,
    v_fit.condition_no,
    state[1]::bigint,
    v_fit.covariance
  )::ml.linregr_result;
end;
$$;

comment on function ml._linregr(float8[]) is $$Returns the result of `ml.linregr`.$$;

create or replace aggregate ml.linregr(y float8, x float8[]) (
  sfunc = ml._linregr_add,
  stype = float8[],
  initcond = '{0,0}',
  finalfunc = ml._linregr,
  combinefunc = ml._linregr_combine,
  parallel = safe
);

comment on aggregate ml.linregr(float8, float8[]) is $$
@behavior -*
Ordinary least squares as an aggregate, as MADlib's `linregr(y, x)`.
`select (ml.linregr(price, array[1, tax, bath, size])).* from houses group by …`. There is no implicit intercept: put
1 into the array. Rows with a null are left out; null without rows. All columns but `num_processed` are null where
there are fewer rows than columns, or a column depends on others; standard errors and p-values are null without
degrees of freedom. Sums are in double precision from the first row: ml.linregr_train, which reads a table, is faster,
and exact where that loses digits. Error CF001 for NaN, infinity, values above 1e100 and arrays of different lengths,
CF008 for more than 100 columns.
$$;

grant execute on function ml.linregr(float8, float8[]) to insights_analyst, insights_admin, insights_worker;

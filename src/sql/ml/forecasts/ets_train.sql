create or replace function ml._ets_best(
  series float8[],
  period int,
  trend text,
  seasonal text,
  fixed float8[]
)
returns jsonb
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_size constant int := (select count(value) from unnest(series) as value);
  v_candidate record;
  v_fit record;
  v_state record;
  v_shape int[];
  v_unknowns int;
  v_criterion float8;
  v_best jsonb;
  v_best_criterion float8;
begin
  for v_candidate in
    select trend_shape, season_shape
    from unnest(case trend when 'none' then array[0] when 'additive' then array[1] when 'damped' then array[2] else array[0, 1, 2] end) as trend_shape
    cross join unnest(case seasonal when 'none' then array[0] when 'auto' then array[0, 1] else array[1] end) as season_shape
    where season_shape = 0 or (period > 1 and cardinality(series) >= 2 * period)
    order by season_shape, trend_shape
  loop
    v_shape := array[period, v_candidate.trend_shape, v_candidate.season_shape];
    v_fit := ml._series_fit('ets', series, v_shape, array[-1, -2, -2, 1], fixed, 60);
    -- Parameters, initial state and the variance.
    v_unknowns := 2 + 1 + (case v_candidate.trend_shape when 0 then 0 when 1 then 2 else 3 end) + v_candidate.season_shape * period;
    v_criterion := v_size * ln(greatest(v_fit.squares / v_size, 1e-300)) + case when v_size > v_unknowns + 1 then 2.0 * v_unknowns * v_size / (v_size - v_unknowns - 1) else 1e6 * v_unknowns end;
    if v_best is null or v_criterion < v_best_criterion then
      v_state := ml._ets_filter(series, v_shape, v_fit.parameters);
      v_best_criterion := v_criterion;
      v_best := jsonb_build_object(
        'trend', (array['none', 'additive', 'damped'])[v_candidate.trend_shape + 1],
        'seasonal', v_candidate.season_shape,
        'alpha', v_fit.parameters[1],
        'beta', case when v_candidate.trend_shape > 0 then v_fit.parameters[2] end,
        'gamma', case when v_candidate.season_shape = 1 then v_fit.parameters[3] end,
        'phi', case when v_candidate.trend_shape = 2 then v_fit.parameters[4] end,
        'level', v_state.level,
        'slope', case when v_candidate.trend_shape > 0 then v_state.slope end,
        'seasons', case when v_candidate.season_shape = 1 then to_jsonb(v_state.seasons) end,
        'squares', v_fit.squares,
        'aicc', v_criterion,
        'residual_variance', v_fit.squares / greatest(v_size - (v_unknowns - 2 - v_candidate.season_shape * period), 1),
        'num_iterations', v_fit.iterations
      );
    end if;
  end loop;
  return v_best;
end;
$$;

comment on function ml._ets_best(float8[], int, text, text, float8[]) is $$
The smoothing model of a series with the least corrected Akaike criterion among the shapes that are asked for, as JSON.
$$;

create or replace function ml._ets_ahead(
  model jsonb,
  steps int
)
returns table (step int, forecast float8, deviation float8)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_level constant float8 := model ->> 'level';
  v_slope constant float8 := coalesce((model ->> 'slope')::float8, 0);
  v_alpha constant float8 := model ->> 'alpha';
  v_beta constant float8 := coalesce((model ->> 'beta')::float8, 0);
  v_gamma constant float8 := coalesce((model ->> 'gamma')::float8, 0);
  v_phi constant float8 := coalesce((model ->> 'phi')::float8, 1);
  v_variance constant float8 := model ->> 'residual_variance';
  v_seasons constant float8[] := array(select value::float8 from jsonb_array_elements_text(nullif(model -> 'seasons', 'null')) with ordinality as season (value, place) order by place);
  v_period constant int := cardinality(v_seasons);
  v_growth float8 := 0;
  v_spread float8 := 1;
begin
  for v_step in 1..steps loop
    step := v_step;
    v_growth := v_growth + v_phi ^ v_step;
    forecast := v_level + v_slope * v_growth + case when v_period > 0 then v_seasons[(v_step - 1) % v_period + 1] else 0 end;
    deviation := sqrt(v_variance * v_spread);
    return next;
    -- What an error of this step still moves when the next one comes.
    v_spread := v_spread + (v_alpha + v_beta * v_growth + case when v_period > 0 and v_step % v_period = 0 then v_gamma else 0 end) ^ 2;
  end loop;
end;
$$;

comment on function ml._ets_ahead(jsonb, int) is $$
Mean and standard deviation of what comes, by the closed form for additive errors.
Source: Hyndman, Koehler, Ord and Snyder, Prediction intervals for exponential smoothing using two new classes of state space models, Journal of Forecasting 24, 2005.
$$;

create or replace function ml.ets_train(
  input_table text,
  output_table text,
  timestamp_column text,
  timeseries_column text,
  grouping_columns text default null,
  seasonal_period int default 1,
  trend text default 'auto',
  seasonal text default 'auto',
  optimizer_params text default null,
  holdout int default null
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_relation regclass := common.relation(input_table);
  v_output text := common.output_table(output_table);
  v_groups text[] := common.column_names(v_relation, grouping_columns, 'grouping columns');
  v_group_list text := array_to_string(v_groups, ', ');
  v_item text;
  v_fixed float8[] := array[null, null, null, null]::float8[];
  v_row record;
  v_series float8[];
  v_model jsonb;
  v_tried jsonb;
  v_holdout int;
  v_error float8;
  v_naive float8;
  v_scale float8;
  v_log boolean := seasonal = 'multiplicative';
  v_size int;
begin
  if seasonal_period is null or seasonal_period not between 1 and 1000 then
    perform common.refuse('CF001', format('seasonal_period %s', coalesce(seasonal_period::text, 'null')),
      'Give the number of rows in a cycle, such as 7 for days with a weekly cycle; 1 for none.');
  elsif trend is null or trend not in ('auto', 'none', 'additive', 'damped') then
    perform common.refuse('CF001', format('there is no trend "%s"', coalesce(left(trend, 100), 'null')),
      'Choose auto, none, additive or damped.');
  elsif seasonal is null or seasonal not in ('auto', 'none', 'additive', 'multiplicative') then
    perform common.refuse('CF001', format('there is no seasonal "%s"', coalesce(left(seasonal, 100), 'null')),
      'Choose auto, none, additive or multiplicative.');
  elsif seasonal in ('additive', 'multiplicative') and seasonal_period = 1 then
    perform common.refuse('CF001', 'a season of one row is none', 'Give seasonal_period, such as 7.');
  elsif holdout < 0 then
    perform common.refuse('CF001', format('holdout %s', holdout),
      'Give the number of last rows to compare on, 0 for none.');
  end if;
  foreach v_item in array coalesce(common.split_expressions(nullif(btrim(optimizer_params), '')), '{}') loop
    if v_item !~ '^(alpha|beta|gamma|phi)\s*=\s*[0-9.]+$' or substring(v_item from '=\s*(.*)$')::float8 > 1 then
      perform common.refuse('CF001', format('optimizer_params "%s"', left(v_item, 100)),
        'Fix alpha, beta, gamma or phi at a number in 0..1, such as alpha=0.3; the others are fitted.');
    end if;
    v_fixed[array_position(array['alpha', 'beta', 'gamma', 'phi'], substring(v_item from '^[a-z]+'))] := substring(v_item from '=\s*(.*)$')::float8;
  end loop;
  perform ml._read_series(v_relation, timestamp_column, timeseries_column, v_groups);
  execute format(
    'create table %s as select %s null::jsonb as model, null::text as method, null::int as seasonal_period, null::float8 as alpha, null::float8 as beta, null::float8 as gamma, null::float8 as phi,
       null::float8 as residual_variance, null::float8 as aicc, null::bigint as num_rows_processed, null::bigint as num_missing_rows_skipped, null::text as last_time,
       null::float8 as mae, null::float8 as mase, null::int as holdout_rows, null::float8 as holdout_mae, null::float8 as holdout_naive_mae, null::float8[] as last_cycle
     from pg_temp._ml_series where false',
    v_output, v_group_list || case when v_groups = '{}' then '' else ',' end
  );
  for v_row in select place, series, times from pg_temp._ml_series order by place loop
    v_series := v_row.series;
    v_size := cardinality(v_series) - (select count(*) from unnest(v_series) as value where value is null);
    if v_size < greatest(4, case when seasonal in ('additive', 'multiplicative') then 2 * seasonal_period else 0 end) then
      perform common.refuse(
        'CF004',
        format(
          '%s rows are too few for a forecast%s',
          v_size,
          case when v_groups = '{}' then '' else ' of ' || v_row.place::text end
        ),
        'Give four rows or more, and two cycles of a season.'
      );
    end if;
    if v_log then
      if exists (select from unnest(v_series) as value where value <= 0) then
        perform common.refuse('CF001', 'a multiplicative season needs values above 0', 'Choose additive.');
      end if;
      v_series := array(select ln(value) from unnest(v_series) with ordinality as entry (value, place) order by place);
    end if;
    v_model := ml._ets_best(v_series, seasonal_period, trend, seasonal, v_fixed);
    -- What the naive forecast, the value one cycle ago, would have missed in the same rows: the scale of MASE.
    select avg(abs(value - before)) into v_scale
    from (select value, lag(value, seasonal_period) over (order by place) as before from unnest(v_row.series) with ordinality as entry (value, place)) as pair;
    select avg(abs(case when v_log then actual - exp(logarithm - residual) else residual end))
    into v_error
    from unnest(
      (ml._ets_filter(v_series, array[seasonal_period, array_position(array['none', 'additive', 'damped'], v_model ->> 'trend') - 1, (v_model ->> 'seasonal')::int],
        array[(v_model ->> 'alpha')::float8, (v_model ->> 'beta')::float8, (v_model ->> 'gamma')::float8, (v_model ->> 'phi')::float8])).residuals,
      v_series, v_row.series
    ) as entry (residual, logarithm, actual);
    v_holdout := coalesce(holdout, case when v_size >= greatest(3 * seasonal_period, 10) + seasonal_period then greatest(seasonal_period, v_size / 10) else 0 end);
    v_holdout := case when v_size - v_holdout < greatest(4, 2 * seasonal_period) then 0 else v_holdout end;
    execute format(
      'insert into %s
       select %s $1, $2, $3, ($1 ->> ''alpha'')::float8, ($1 ->> ''beta'')::float8, ($1 ->> ''gamma'')::float8, ($1 ->> ''phi'')::float8,
         ($1 ->> ''residual_variance'')::float8, ($1 ->> ''aicc'')::float8, $4, $5, times[cardinality(times)], $6, $6 / nullif($7, 0), null, null, null, $8
       from pg_temp._ml_series where place = $9',
      v_output, v_group_list || case when v_groups = '{}' then '' else ',' end
    ) using
      v_model || jsonb_build_object('log', v_log),
      format('ETS(A,%s,%s)%s', case v_model ->> 'trend' when 'none' then 'N' when 'additive' then 'A' else 'Ad' end, case (v_model ->> 'seasonal')::int when 0 then 'N' else 'A' end, case when v_log then ' of the logarithm' else '' end),
      seasonal_period, v_size, cardinality(v_series) - v_size, v_error, v_scale,
      v_row.series[cardinality(v_row.series) - seasonal_period + 1:], v_row.place;
    if v_holdout > 0 then
      v_tried := ml._ets_best(v_series[1:cardinality(v_series) - v_holdout], seasonal_period, trend, seasonal, v_fixed);
      select avg(abs(actual.value - case when v_log then exp(ahead.forecast) else ahead.forecast end)), avg(abs(actual.value - v_row.series[cardinality(v_series) - v_holdout - seasonal_period + 1 + (actual.place - 1)::int % seasonal_period]))
      into v_error, v_naive
      from unnest(v_row.series[cardinality(v_series) - v_holdout + 1:]) with ordinality as actual (value, place)
      join ml._ets_ahead(v_tried, v_holdout) as ahead on ahead.step = actual.place;
      execute format('update %s set holdout_rows = $1, holdout_mae = $2, holdout_naive_mae = $3 where %s', v_output,
        case when v_groups = '{}' then '$4 is not null' else format('jsonb_build_array(%s) = $4', v_group_list) end)
      using v_holdout, v_error, v_naive, v_row.place;
    end if;
  end loop;
  drop table pg_temp._ml_series;
end;
$$;

comment on function ml.ets_train(text, text, text, text, text, int, text, text, text, int) is $$
@behavior -*
Exponential smoothing with level, trend and season (Holt and Winters), fitted by least squares of the one-step errors; one model a group.
`seasonal_period` is the number of rows in a cycle (7 for days). `trend`: `none`, `additive`, `damped`; `seasonal`: `none`, `additive`, `multiplicative` (the
series' logarithm is smoothed); `auto` takes the shape with the least corrected Akaike criterion. `optimizer_params` fixes parameters: `alpha=0.3, beta=0.1`. Rows are
in the order of time, one a step; a null is a gap. Every model is compared with the seasonal-naive forecast (the value one cycle ago): `mase` is the mean
absolute one-step error over that of the naive (below 1 is better), and with the last `holdout` rows (by default a cycle, or a tenth)
unseen `holdout_mae` stands beside `holdout_naive_mae`.
Writes `output_table`: the grouping columns, `model` (parameters and state), `method` such as `ETS(A,Ad,A)`, `seasonal_period`, `alpha`, `beta`, `gamma`, `phi`, `residual_variance`, `aicc`,
`num_rows_processed`, `num_missing_rows_skipped`, `last_time`, `mae`, `mase`, `holdout_rows`, `holdout_mae`, `holdout_naive_mae`, `last_cycle`.
Errors: CF001, CF002, CF003 (`output_table` exists), CF004 (too few rows), CF005.
Source: Hyndman, Koehler, Ord and Snyder, Forecasting with Exponential Smoothing, 2008; Hyndman and Koehler, Another look at measures of forecast accuracy, 2006.
$$;

grant execute on function ml._ets_best(float8[], int, text, text, float8[]), ml._ets_ahead(jsonb, int) to insights_analyst, insights_admin, insights_worker;
grant execute on function ml.ets_train(text, text, text, text, text, int, text, text, text, int) to insights_admin, insights_worker;

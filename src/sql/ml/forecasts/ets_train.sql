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
    from unnest(
      case trend
        when 'none' then array[0]
        when 'additive' then array[1]
        when 'damped' then array[2]
        else array[0, 1, 2]
      end
    ) as trend_shape
    cross join unnest(
      case seasonal when 'none' then array[0] when 'auto' then array[0, 1] else array[1] end
    ) as season_shape
    where season_shape = 0 or (period > 1 and cardinality(series) >= 2 * period)
    order by season_shape, trend_shape
  loop
    v_shape := array[period, v_candidate.trend_shape, v_candidate.season_shape];
    v_fit := ml._series_fit('ets', series, v_shape, array[-1, -2, -2, 1], fixed, 60);
    -- Parameters, initial state and the variance.
    v_unknowns := 2 + 1
      + case v_candidate.trend_shape when 0 then 0 when 1 then 2 else 3 end
      + v_candidate.season_shape * period;
    v_criterion := v_size * ln(greatest(v_fit.squares / v_size, 1e-300)) + case
      when v_size > v_unknowns + 1 then 2.0 * v_unknowns * v_size / (v_size - v_unknowns - 1)
      else 1e6 * v_unknowns
    end;
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
        'residual_variance',
          v_fit.squares / greatest(v_size - (v_unknowns - 2 - v_candidate.season_shape * period), 1),
        'num_iterations', v_fit.iterations
      );
    end if;
  end loop;
  return v_best;
end;
$$;

comment on function ml._ets_best(float8[], int, text, text, float8[]) is $$
Returns the smoothing model of a series with the least corrected Akaike criterion among the requested shapes, as JSON.
$$;

create or replace function ml._ets_fixed(
  seasonal_period int,
  trend text,
  seasonal text,
  optimizer_params text,
  holdout int
)
returns float8[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_names constant text[] := array['alpha', 'beta', 'gamma', 'phi'];
  v_fixed float8[] := array[null, null, null, null]::float8[];
  v_item text;
begin
  if seasonal_period is null or seasonal_period not between 1 and 1000 then
    perform common.refuse(
      'CF001',
      format('seasonal_period is %s', coalesce(seasonal_period::text, 'null')),
      'Give the number of rows in a cycle from 1 to 1000, such as 7 for days with a weekly cycle; 1 for no season.'
    );
  elsif trend is null or trend not in ('auto', 'none', 'additive', 'damped') then
    perform common.refuse('CF001', format('there is no trend "%s"', coalesce(left(trend, 100), 'null')),
      'Choose auto, none, additive or damped.');
  elsif seasonal is null or seasonal not in ('auto', 'none', 'additive', 'multiplicative') then
    perform common.refuse('CF001', format('there is no seasonal "%s"', coalesce(left(seasonal, 100), 'null')),
      'Choose auto, none, additive or multiplicative.');
  elsif seasonal in ('additive', 'multiplicative') and seasonal_period = 1 then
    perform common.refuse('CF001', format('seasonal is %s, but seasonal_period is 1', seasonal),
      'Give a seasonal_period above 1, such as 7.');
  elsif holdout < 0 then
    perform common.refuse('CF001', format('holdout is %s', holdout),
      'Give the number of last rows to compare on, 0 for no comparison.');
  end if;
  foreach v_item in array coalesce(common.split_expressions(nullif(btrim(optimizer_params), '')), '{}') loop
    if v_item !~ '^(alpha|beta|gamma|phi)\s*=\s*[0-9.]+$' or substring(v_item from '=\s*(.*)$')::float8 > 1 then
      perform common.refuse('CF001', format('optimizer_params contains "%s"', left(v_item, 100)),
        'Fix alpha, beta, gamma or phi at a number from 0 to 1, such as alpha=0.3; the others are fitted.');
    end if;
    v_fixed[array_position(v_names, substring(v_item from '^[a-z]+'))] := substring(v_item from '=\s*(.*)$')::float8;
  end loop;
  return v_fixed;
end;
$$;

comment on function ml._ets_fixed(int, text, text, text, int) is $$
Checks the arguments of ml.ets_train and returns the fixed parameters.
These are alpha, beta, gamma and phi, null for those to be fitted. Errors: CF001.
$$;

create or replace function ml._ets_mean_error(
  model jsonb,
  period int,
  fitted float8[],
  actual float8[],
  logarithmic boolean
)
returns float8
language sql
immutable
parallel safe
begin atomic
  select avg(abs(
    case
      when _ets_mean_error.logarithmic then entry.actual - exp(entry.fitted - entry.residual)
      else entry.residual
    end
  ))
  from unnest(
    (
      ml._ets_filter(
        _ets_mean_error.fitted,
        array[
          period,
          array_position(array['none', 'additive', 'damped'], model ->> 'trend') - 1,
          (model ->> 'seasonal')::int
        ],
        array[
          (model ->> 'alpha')::float8,
          (model ->> 'beta')::float8,
          (model ->> 'gamma')::float8,
          (model ->> 'phi')::float8
        ]
      )
    ).residuals,
    _ets_mean_error.fitted,
    _ets_mean_error.actual
  ) as entry (residual, fitted, actual);
end;

comment on function ml._ets_mean_error(jsonb, int, float8[], float8[], boolean) is $$
Returns the mean absolute one-step error of a smoothing model, in the unit of `actual`.
`fitted` is the series that was smoothed: the logarithm of `actual` when `logarithmic`.
$$;

create or replace function ml._ets_holdout(
  fitted float8[],
  actual float8[],
  period int,
  trend text,
  seasonal text,
  fixed float8[],
  holdout int,
  out mae float8,
  out naive_mae float8
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_known constant int := cardinality(fitted) - holdout;
  v_model constant jsonb := ml._ets_best(fitted[1:v_known], period, trend, seasonal, fixed);
begin
  select
    avg(abs(unseen.value - case when seasonal = 'multiplicative' then exp(ahead.forecast) else ahead.forecast end)),
    avg(abs(unseen.value - actual[v_known - period + 1 + (unseen.place - 1)::int % period]))
  into mae, naive_mae
  from unnest(actual[v_known + 1:]) with ordinality as unseen (value, place)
  join ml._ets_ahead(v_model, holdout) as ahead on ahead.step = unseen.place;
end;
$$;

comment on function ml._ets_holdout(float8[], float8[], int, text, text, float8[], int) is $$
Returns the mean absolute errors of a smoothing model and of the seasonal-naive forecast on held-out rows.
These are the last `holdout` rows; the model is trained on the rows before.
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
  v_group_list text := array_to_string(v_groups, ', ') || case when v_groups = '{}' then '' else ',' end;
  v_fixed float8[] := ml._ets_fixed(seasonal_period, trend, seasonal, optimizer_params, holdout);
  v_log boolean := seasonal = 'multiplicative';
  v_row record;
  v_series float8[];
  v_model jsonb;
  v_holdout int;
  v_holdout_mae float8;
  v_naive_mae float8;
  v_scale float8;
  v_size int;
begin
  perform ml._read_series(v_relation, timestamp_column, timeseries_column, v_groups);
  execute format(
    $query$
    create table %s as
    select
      %s null::jsonb as model, null::text as method, null::int as seasonal_period,
      null::float8 as alpha, null::float8 as beta, null::float8 as gamma, null::float8 as phi,
      null::float8 as residual_variance, null::float8 as aicc,
      null::bigint as num_rows_processed, null::bigint as num_missing_rows_skipped, null::text as last_time,
      null::float8 as mae, null::float8 as mase,
      null::int as holdout_rows, null::float8 as holdout_mae, null::float8 as holdout_naive_mae,
      null::float8[] as last_cycle
    from pg_temp._ml_series
    where false
    $query$,
    v_output, v_group_list
  );
  for v_row in select place, series, times from pg_temp._ml_series order by place loop
    v_series := v_row.series;
    v_size := cardinality(v_series) - (select count(*) from unnest(v_series) as value where value is null);
    if v_size < greatest(4, case when seasonal in ('additive', 'multiplicative') then 2 * seasonal_period end) then
      perform common.refuse(
        'CF004',
        format(
          '%s rows are too few for a forecast%s',
          v_size,
          case when v_groups = '{}' then '' else ' of ' || left(v_row.place::text, 100) end
        ),
        'Give at least four rows, and at least two cycles of a season.'
      );
    end if;
    if v_log then
      if exists (select from unnest(v_series) as value where value <= 0) then
        perform common.refuse('CF001', 'a multiplicative season needs values above 0', 'Choose additive.');
      end if;
      v_series := array(
        select ln(value)
        from unnest(v_series) with ordinality as entry (value, place)
        order by place
      );
    end if;
    v_model := ml._ets_best(v_series, seasonal_period, trend, seasonal, v_fixed);
    -- The mean absolute error of the seasonal-naive forecast on the same rows: the scale of MASE.
    select avg(abs(value - before))
    into v_scale
    from (
      select value, lag(value, seasonal_period) over (order by place) as before
      from unnest(v_row.series) with ordinality as entry (value, place)
    ) as pair;
    v_holdout := coalesce(holdout, case
      when v_size >= greatest(3 * seasonal_period, 10) + seasonal_period then greatest(seasonal_period, v_size / 10)
      else 0
    end);
    v_holdout := case when v_size - v_holdout >= greatest(4, 2 * seasonal_period) then nullif(v_holdout, 0) end;
    v_holdout_mae := null;
    v_naive_mae := null;
    if v_holdout > 0 then
      select compared.mae, compared.naive_mae
      into v_holdout_mae, v_naive_mae
      from ml._ets_holdout(
        v_series, v_row.series, seasonal_period, trend, seasonal, v_fixed, v_holdout
      ) as compared;
    end if;
    execute format(
      $query$
      insert into %s
      select
        %s $1, $2, $3,
        ($1 ->> 'alpha')::float8, ($1 ->> 'beta')::float8, ($1 ->> 'gamma')::float8, ($1 ->> 'phi')::float8,
        ($1 ->> 'residual_variance')::float8, ($1 ->> 'aicc')::float8,
        $4, $5, times[cardinality(times)],
        $6, $6 / nullif($7, 0),
        $8, $9, $10,
        $11
      from pg_temp._ml_series
      where place = $12
      $query$,
      v_output, v_group_list
    ) using
      v_model || jsonb_build_object('log', v_log),
      format(
        'ETS(A,%s,%s)%s',
        case v_model ->> 'trend' when 'none' then 'N' when 'additive' then 'A' else 'Ad' end,
        case (v_model ->> 'seasonal')::int when 0 then 'N' else 'A' end,
        case when v_log then ' of the logarithm' else '' end
      ),
      seasonal_period,
      v_size,
      cardinality(v_series) - v_size,
      ml._ets_mean_error(v_model, seasonal_period, v_series, v_row.series, v_log),
      v_scale,
      v_holdout,
      v_holdout_mae,
      v_naive_mae,
      v_row.series[cardinality(v_row.series) - seasonal_period + 1:],
      v_row.place;
  end loop;
  drop table pg_temp._ml_series;
end;
$$;

comment on function ml.ets_train(text, text, text, text, text, int, text, text, text, int) is $$
@behavior -*
Trains exponential smoothing with level, trend and season (Holt and Winters), one model per group.
The parameters have the least squares of the one-step errors. `seasonal_period` is the number of rows in a cycle (7 for
days with a weekly cycle). `trend`: `none`, `additive`, `damped`; `seasonal`: `none`, `additive`, `multiplicative` (the
logarithm of the series is smoothed); `auto` chooses the shape with the least corrected Akaike criterion.
`optimizer_params` fixes parameters: `alpha=0.3, beta=0.1`. Rows are in the order of time, one per step; a null is a
gap.
Every model is compared with the seasonal-naive forecast, the value one cycle ago. `mase` is the mean absolute one-step
error over that of the naive forecast (below 1 is better). `holdout_mae` and `holdout_naive_mae` are the mean absolute
errors of both on the last `holdout` rows (by default a cycle or a tenth of the rows), with a model trained on the rows
before; null without a holdout.
Writes `output_table`: the grouping columns, `model` (parameters and state), `method` such as `ETS(A,Ad,A)`,
`seasonal_period`, `alpha`, `beta`, `gamma`, `phi`, `residual_variance`, `aicc`, `num_rows_processed`,
`num_missing_rows_skipped`, `last_time`, `mae`, `mase`, `holdout_rows`, `holdout_mae`, `holdout_naive_mae`,
`last_cycle`.
Errors: CF001, CF002, CF003 (`output_table` exists), CF004 (too few rows), CF005.
Source: Hyndman, Koehler, Ord and Snyder, Forecasting with Exponential Smoothing, 2008; Hyndman and Koehler, Another
look
at measures of forecast accuracy, 2006.
$$;

grant execute on function
  ml._ets_best(float8[], int, text, text, float8[]),
  ml._ets_fixed(int, text, text, text, int),
  ml._ets_mean_error(jsonb, int, float8[], float8[], boolean),
  ml._ets_holdout(float8[], float8[], int, text, text, float8[], int)
to insights_analyst, insights_admin, insights_worker;
grant execute on function ml.ets_train(text, text, text, text, text, int, text, text, text, int)
to insights_admin, insights_worker;

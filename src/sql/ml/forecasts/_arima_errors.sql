create or replace function ml._arima_errors(
  series float8[],
  orders int[],
  point float8[],
  bounded boolean
)
returns float8[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_p constant int := orders[1];
  v_d constant int := orders[2];
  v_q constant int := orders[3];
  v_mean constant float8 := case when orders[4] = 1 then point[v_p + v_q + 1] else 0 end;
  v_ar float8[] := point[1:v_p];
  v_ma float8[] := point[v_p + 1:v_p + v_q];
  v_centred float8[] := series;
  v_fit record;
  v_scale float8;
begin
  if bounded then
    v_ar := ml._arima_bounded(v_ar, 1);
    v_ma := ml._arima_bounded(v_ma, -1);
  end if;
  if v_mean <> 0 then
    -- With one difference, what rises by the mean at each step.
    for v_step in 1..cardinality(series) loop
      v_centred[v_step] := series[v_step] - v_mean * case v_d when 0 then 1 else v_step end;
    end loop;
  end if;
  if orders[5] = 0 then
    return ml._arima_conditional(v_centred, v_ar, v_ma);
  end if;
  if v_d > 0 or array_position(series, null) is not null then
    select filtered.residuals, filtered.deviations
    into v_fit
    from ml._arima_filter(v_centred, v_ar, v_ma, v_d) as filtered;
  else
    v_fit := ml._arima_innovations(v_centred, v_ar, v_ma);
  end if;
  if v_fit.residuals is null then
    return null;
  end if;
  -- The likelihood falls with the sum of squares of these: errors over their deviations, times the mean deviation.
  select exp(avg(ln(deviation))) into v_scale from unnest(v_fit.deviations) as deviation;
  return array(
    select entry.residual / entry.deviation * v_scale
    from unnest(v_fit.residuals, v_fit.deviations) with ordinality as entry (residual, deviation, place)
    order by entry.place
  );
end;
$$;

comment on function ml._arima_errors(float8[], int[], float8[], boolean) is $$
Returns the errors of an ARIMA model whose least sum of squares is the estimate.
`orders`: p, d, q, with mean (0, 1), exact likelihood (0, 1; otherwise conditional, with d = 0). `point`: ar, ma, mean;
`bounded`: the first two as unbounded numbers of ml._arima_bounded. Null when the model is not stationary.
$$;

grant execute on function
  ml._reflected(float8[]),
  ml._unreflected(float8[]),
  ml._arima_start(float8[], float8[], int),
  ml._arima_next(float8[], float8[], int, float8, float8[], float8[]),
  ml._arima_filter(float8[], float8[], float8[], int),
  ml._arima_innovations(float8[], float8[], float8[]),
  ml._arima_conditional(float8[], float8[], float8[]),
  ml._arima_bounded(float8[], int),
  ml._arima_errors(float8[], int[], float8[], boolean)
to insights_analyst, insights_admin, insights_worker;

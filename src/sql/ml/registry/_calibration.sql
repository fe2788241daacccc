create or replace function ml._calibration(predicted text, classes text[])
returns jsonb
language plpgsql
volatile
set client_min_messages to warning
as $$
declare
  v_measured constant text := ml._temporary('_ml_measured');
  v_curves jsonb := '[]';
  v_curve jsonb;
  v_class record;
begin
  -- A model of two classes has the curve of class 1, one of several those of the most frequent classes.
  for v_class in
    execute format(
      $query$
      select
        place,
        class,
        case when class is null then 'prediction' else format('prediction[%%s]', place) end as prediction,
        case when class is null then 'observed' else format('observed = %%L', class) end as observed
      from (
        select 0 as place, null as class, count(*) as times
        from %1$s
        where $1 is null and prediction is not null and observed is not null

        union all

        select listed.place::int, listed.class, count(*)
        from %1$s as answer
        join unnest($1) with ordinality as listed (class, place) on listed.class = answer.observed::text
        where answer.prediction is not null
        group by listed.place, listed.class
      ) as counted
      where times > 0
      order by times desc, place
      limit 10
      $query$,
      predicted
    ) using classes
  loop
    -- As many bins as have enough rows each: a share of fewer is imprecise, and may be that of one person.
    for v_bins in reverse 10..2 loop
      execute format('drop table if exists %s', v_measured);
      execute format('select ml.calibration_curve(%L, %L, %L, %L, null, %s, ''quantile'')',
        predicted, v_measured, v_class.prediction, v_class.observed, v_bins);
      execute format(
        $query$
        select jsonb_agg(
          jsonb_build_object(
            'class_number', $1, 'class', $2, 'row_count', num_rows, 'mean_predicted', mean_predicted,
            'fraction_positive', fraction_positive, 'fraction_lower', lower_95, 'fraction_upper', upper_95
          )
          order by bin
        )
        from %s
        having min(num_rows) >= 20
        $query$,
        v_measured
      ) into v_curve using v_class.place, v_class.class;
      exit when v_curve is not null;
    end loop;
    v_curves := v_curves || coalesce(v_curve, '[]');
  end loop;
  execute format('drop table if exists %s', v_measured);
  return v_curves;
end;
$$;

comment on function ml._calibration(text, text[]) is $$
Returns the calibration of a table of `prediction` and `observed`, as an array of bins for ml._record_calibration.
The bins have equal numbers of rows (equal predictions are in one bin) and 20 rows or more: at most ten, and none where
two would have fewer. `classes` are those of a model of several, null for one answer; of more than ten classes, the ten
most frequent have a curve.
$$;

grant execute on function ml._calibration(text, text[]) to insights_admin, insights_worker;

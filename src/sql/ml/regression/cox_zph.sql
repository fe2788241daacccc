create or replace function ml.cox_zph(
  cox_model_table text,
  output_table text
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_output constant text := common.output_table(output_table, array['_residual']);
  v_model constant record := ml._cox_model(cox_model_table, null);
  v_size constant integer := cardinality(v_model.coef);
  v_residual constant text := common.companion_table(v_output, '_residual');
  v_inverse record;
  v_label text;
begin
  v_inverse := ml._scaled_inverse(v_model.hessian, 1e-14);
  if v_inverse.inverse is null then
    perform common.refuse('CF007', format('the hessian of "%s" has no inverse', left(cox_model_table, 100)),
      'Train the model again.');
  end if;
  -- the time in the caller's own expression, since a row of the residuals is an event
  v_label := coalesce(
    (select name from unnest(common.columns((v_model.settled).relation)) as name
      where name = btrim(v_model.dependent_variable, ' "') and name not in ('residual', 'scaled_residual')),
    'event_time'
  );
  execute format(
    $statement$
    create table %1$s as
    select y as %2$I, residual, array(
      select number * sum((%3$L::float8[])[i][j] * residual[j]) + (%4$L::float8[])[i]
      from generate_series(1, %5$s) as i
      cross join generate_series(1, %5$s) as j
      group by i
      order by i
    ) as scaled_residual
    from (
      select y, count(*) over () as number, array[%6$s]::float8[] as residual
      from (%7$s) as rows
      where status = 1
    ) as event
    $statement$,
    v_residual,
    v_label,
    v_inverse.inverse,
    v_model.coef,
    v_size,
    (
      select string_agg(format('(x%1$s - m%1$s) / %2$L::float8', i, v_model.scale[i]), ', ' order by i)
      from generate_series(1, v_size) as i
    ),
    ml._cox_residuals(v_model.settled, v_model.beta)
  );
  execute format(
    $statement$
    create table %1$s as
    select %2$L::text as covariate, array_agg(rho order by i) as rho, array_agg(chi_square order by i) as chi_square,
      array_agg(
        case when chi_square is not null then ml._incomplete_gamma(0.5, ml._finite_range(chi_square) / 2, true) end
        order by i
      ) as p_value
    from (
      select i, corr(%3$I, scaled_residual[i]) as rho,
        -- n cov² / (var V): the test of a slope over time (Grambsch and Therneau, 1994)
        regr_sxy(scaled_residual[i], %3$I) ^ 2
          / nullif((%4$L::float8[])[i][i] * count(*) * regr_sxx(scaled_residual[i], %3$I), 0) as chi_square
      from %5$s
      cross join generate_series(1, %6$s) as i
      group by i
    ) as tested
    $statement$,
    v_output, v_model.independent_variable, v_label, v_inverse.inverse, v_residual, v_size
  );
end;
$$;

comment on function ml.cox_zph(text, text) is $$
@behavior -*
Tests whether hazards are proportional in a model of ml.coxph_train, as MADlib.
The correlation of the scaled Schoenfeld residuals of each column with the time: where it is not 0, the effect of the
column changes with time. Reads the source table of the model once more, which must be unchanged; ties=breslow (the
default).
Writes `output_table`: covariate (the independent variables, as given), rho, chi_square and p_value, arrays with one
value per column, null where all events have the same time; and `<output_table>_residual`, one row per event: the time
under the name of its column (`event_time` for an expression), residual, and scaled_residual around the coefficient.
Errors: as ml.robust_variance_coxph.
Source: Grambsch and Therneau, Biometrika 81, 1994, as R's `cox.zph(transform = "identity", global = FALSE)` up to
survival 2.44; later versions compute a score test instead.
$$;

grant execute on function ml.cox_zph(text, text) to insights_analyst, insights_admin, insights_worker;

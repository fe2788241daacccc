/*
 * A definer: it writes the registry, and is granted to those who watch. It reads its arguments only, never a
 * relation.
 */
create or replace function ml._record_drift(measured jsonb)
returns setof ml.drift
language sql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
  insert into ml.drift (model_id, statistic, feature, value, reference, verdict, row_count)
  select model_id, statistic, feature, value, reference, verdict, row_count
  from jsonb_populate_recordset(null::ml.drift, measured)
  returning drift.*;
$$;

comment on function ml._record_drift(jsonb) is $$Records measurements of drift.$$;

create or replace function ml.measure_drift(
  project text,
  source_table text,
  label text default null,
  version int default null
)
returns setof ml.drift
language plpgsql
volatile
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
set client_min_messages to warning
as $$
declare
  v_model ml.model := ml._version(project, version);
  v_project ml.project := ml._project(project);
  v_relation regclass := common.relation(source_table);
  v_predicted constant text := ml._temporary('_ml_predicted');
  v_label text;
  v_list text;
  v_rows bigint;
  v_measured jsonb;
  v_metrics jsonb;
  v_value float8;
  v_reference float8;
begin
  v_list := ml._feature_list(ml._document(v_model), v_relation);
  execute format('select count(*) from %s', v_relation) into v_rows;
  if v_rows = 0 then
    perform common.refuse('CF004', format('"%s" is empty', v_relation),
      'Drift is measured on the rows that the model is asked about now.');
  end if;
  select jsonb_agg(jsonb_build_object(
    'model_id', v_model.model_id, 'statistic', 'population_stability_index', 'feature', profile.feature, 'value',
    moved.value,
    'verdict', case when moved.value < 0.1 then 'stable' when moved.value < 0.25 then 'shifting' else 'drifted'
      end, 'row_count', v_rows
  ) order by profile.feature)
  into v_measured
  from ml._bin_counts(
    format('(select %s from %s)', v_list, v_relation),
    (
      select coalesce(
        jsonb_agg(jsonb_build_object('feature', entry.feature, 'place', listed.place, 'edges',
            entry.edges, 'categories', entry.categories)), '[]')
      from ml.input_profile as entry
      join jsonb_array_elements(v_model.coefficients -> 'features') with ordinality as listed (feature,
        place) on listed.feature ->> 'name' = entry.feature
      where entry.model_id = v_model.model_id
    )
  ) as counted
  join ml.input_profile as profile on profile.model_id = v_model.model_id and profile.feature = counted.feature
  cross join lateral (select ml.population_stability_index(profile.shares, counted.counts) as value) as moved;
  v_measured := coalesce(v_measured, '[]');

  if label is not null then
    v_label := case when v_model.coefficients ? 'classes' then ml._class_label(label, v_relation)
      else common.numeric_expression(label, v_relation, 'label') end;
    execute format('drop table if exists %s', v_predicted);
    perform ml._predict_into(v_model, v_relation, v_predicted, v_label, 'observed');
    v_metrics := case when v_model.coefficients ? 'classes'
      then ml._evaluate_classes(v_predicted, ml._classes(v_model.coefficients))
      else ml._evaluate(v_predicted, v_project.task) end;
    if v_project.task = 'regression' then
      execute format('select abs(avg(prediction) - avg(observed)) / nullif(stddev_samp(observed), 0) from %s
          where prediction is not null and observed is not null', v_predicted) into v_value;
      v_reference := 0;
    else
      v_value := v_metrics ->> 'calibration_error';
      v_reference := v_model.metrics ->> 'calibration_error';
      perform ml._record_calibration(v_model.model_id, 'latest',
        ml._calibration(v_predicted, ml._classes(v_model.coefficients)));
    end if;
    execute format('drop table %s', v_predicted);
    if v_value is not null then
      v_measured := v_measured || jsonb_build_object(
        'model_id', v_model.model_id, 'statistic', 'calibration', 'value', v_value, 'reference',
        v_reference, 'row_count', v_metrics -> 'row_count',
        'verdict', case when v_value <= coalesce(v_reference, 0) + 0.05 then 'stable'
          when v_value <= coalesce(v_reference, 0) + 0.1 then 'shifting' else 'drifted' end
      );
    end if;
    v_value := v_metrics ->> v_project.metric;
    v_reference := v_model.metrics ->> v_project.metric;
    if v_value is not null then
      v_measured := v_measured || jsonb_build_object(
        'model_id', v_model.model_id, 'statistic', 'metric', 'value', v_value, 'reference', v_reference, 'row_count',
        v_metrics -> 'row_count',
        -- By how much the loss has grown.
        'verdict', case
          when v_reference is null or (v_project.higher_is_better and v_value >= v_reference - 0.02)
            or (case when v_project.higher_is_better then 1 - v_value else v_value end) <= 1.1 * (case
              when v_project.higher_is_better then 1 - v_reference else v_reference end) then 'stable'
          when (case when v_project.higher_is_better then 1 - v_value else v_value end) <= 1.25 * (case
            when v_project.higher_is_better then 1 - v_reference else v_reference end) then 'shifting'
          else 'drifted'
        end
      );
    end if;
  end if;
  return query select * from ml._record_drift(v_measured);
exception when numeric_value_out_of_range then
  perform ml._caller_error(sqlstate, sqlerrm, v_relation);
end;
$$;

comment on function ml.measure_drift(text, text, text, int) is $$
@behavior -*
How far the rows that a model is asked about now have moved from those it was trained on; noted in `ml.drift`.
For each feature its population stability index (stable below 0.1, drifted from 0.25 on). With `label`, the outcome
where it is known already, also the calibration (a classifier's calibration_error, a regression's mean error in
standard deviations: stable up to 0.05 above training, drifted from 0.1 on) and the metric of the project (drifted
when the loss, which is 1 − metric where higher is better, has grown by more than a quarter; up to 0.02 less of such a
metric is stable). The calibration of a classifier by bins is in `ml.calibration`, as that of the `latest` rows.
Errors: CF001, CF002 (project, version, table, a feature), CF004 (no rows), CF005, CF006 (none is deployed).
$$;

grant execute on function ml._record_drift(jsonb), ml.measure_drift(text, text, text, int) to insights_admin,
  insights_worker;

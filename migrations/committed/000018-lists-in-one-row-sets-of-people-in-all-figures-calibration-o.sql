--! Previous: sha1:ec64d6438d0f52376a180c1084ac9ef2b1645f48
--! Hash: sha1:004a12a33acb67e91cdc37fdc2bdaf514825d0f8
--! Message: lists in one row, sets of people in all figures, calibration of versions

--! Included prepare.sql
/*
 * The start of every migration. The types and operators of pgvector are resolved when objects are created, in the
 * schema of the extension. Only the owner may call a function until its file grants it.
 */
do $$
declare
  v_schema text := (
    select namespace.nspname
    from pg_catalog.pg_extension as extension
    join pg_catalog.pg_namespace as namespace on namespace.oid = extension.extnamespace
    where extension.extname = 'vector'
  );
begin
  if v_schema is null then
    raise exception using
      errcode = 'CF002',
      message = format('the extension "vector" is not installed in database "%s"', current_database()),
      hint = 'Run "insights migrate", which installs it, or "create extension vector" as an administrator.';
  end if;
  perform pg_catalog.set_config('search_path', pg_catalog.format('%I, pg_temp', v_schema), true);
  -- Hides the notices of "drop … if exists" for objects that do not exist.
  perform pg_catalog.set_config('client_min_messages', 'warning', true);
end;
$$;

alter default privileges revoke execute on functions from public;
--! EndIncluded prepare.sql

-- Changes of structure since the last release: see migrations/README.md.

-- A list that is served is one row until the next refresh, which stores its rows.
alter table track.consumer
add column if not exists collect_function text check (collect_function ~ '^[a-z][a-z_]*\.[a-z][a-z_]*$');
comment on column track.consumer.collect_function is $$
Name of a function of `most int` that returns an integer; null: it needs none.
`track.refresh` calls it before the refresh of the consumer, under the same lock. It stores at most `most` rows of a
queue of the room, queues the people whose data changes with them, and returns the number of rows.
$$;
update track.consumer
set collect_function = 'recommend.collect_servings'
where consumer = 'recommend.impression'
  and collect_function is null;

drop function if exists
  recommend._served_rows(recommend.recommendation[], bigint, bigint, int, smallint, text),
  recommend._record_list(recommend.recommendation[], text, text, timestamptz),
  recommend.refresh_serving_times(int),
  track.queue_people(text, bigint[]);
alter table recommend.serving_call
add column if not exists person_id bigint,
add column if not exists identity_id bigint,
add column if not exists serving_ids text[],
add column if not exists scores float8[],
-- A list of 50 rows stays in its row, and is not compressed: it is there for a minute.
set (toast_tuple_target = 8160);
create index if not exists serving_call_person on recommend.serving_call (person_id) where person_id is not null;
comment on table recommend.serving_call is $$
@behavior -*
Calls of `recommend.serve_me` and its variants since the last refresh, with their lists.
`recommend.collect_servings` stores the lists in `recommend.impression`, counts the durations and deletes the rows.
Append-only, so that no call waits for another one, and one row for a list, so that the record takes a small part of the
time of the list. Without a key, whose index would take as long as the row: a publication of logical replication
identifies a row by all of its columns.
$$;
comment on column recommend.serving_call.person_id is $$
Person to whom the list was served, at that time; null for a list that is only counted.
$$;
comment on column recommend.serving_call.identity_id is $$
Identity for which the list was made; null for a list that is only counted.
$$;
comment on column recommend.serving_call.serving_ids is $$
The `serving_id` of each row of the list; null for a list that is only counted.
$$;
comment on column recommend.serving_call.scores is $$Scores of the rows of the list, in the same order.$$;
comment on table recommend.impression is $$
@foreignKey (item_id) references track.item (item_id)
@foreignKey (experiment_id) references experiment.experiment (experiment_id)
Recommended items that were served to people or seen by them, one row per row of a list.
The rows that `recommend.serve_me` and its variants return are added by the next refresh (`track.refresh`); a row of a
list of `recommend.for_me` is added when an event names its `serving_id`. The columns from `seen_at` on are computed
from the events of the person, in any order of arrival. Rows follow their identity in merges of people.
$$;
-- Popular and trending items, features, RFM, paths and times of funnels have a breakdown; items and transitions a set.
drop view if exists analytics.course_popularity, analytics.feature_overview;
drop function if exists
  analytics._popular_items(text, timestamptz, timestamptz, interval, text, int),
  analytics._popular_items_ranked(text, timestamptz, timestamptz, interval, int, text, int),
  analytics._popular_items_exact(text, timestamptz, timestamptz, interval, int, text),
  analytics._popular_items_shown(text, timestamptz, timestamptz, interval, int, text),
  analytics.popular_items(text, timestamptz, timestamptz, interval, int, text),
  analytics._popular_courses(timestamptz, timestamptz, text, int, text, float8, float8, int),
  analytics._popular_courses_exact(timestamptz, timestamptz, text, int, text, float8, float8),
  analytics._popular_courses_shown(timestamptz, timestamptz, text, int, text, float8, float8),
  analytics.popular_courses(timestamptz, timestamptz, text, int, text, float8, float8),
  analytics._trending_items(text, timestamptz, timestamptz, text, interval, int, text, float8, int),
  analytics._trending_items_exact(text, timestamptz, timestamptz, text, interval, int, text, float8),
  analytics._trending_items_shown(text, timestamptz, timestamptz, text, interval, int, text, float8),
  analytics.trending_items(text, timestamptz, timestamptz, text, interval, int, text, float8),
  analytics._feature_usage(text, text, timestamptz, timestamptz, text, int, text, int, boolean, int),
  analytics._feature_usage_exact(text, text, timestamptz, timestamptz, text, int, text, int, boolean),
  analytics._feature_usage_shown(text, text, timestamptz, timestamptz, text, int, text, int, boolean),
  analytics.feature_usage(text, text, timestamptz, timestamptz, text, int, text, int, boolean),
  analytics._rfm(timestamptz, timestamptz, text, int),
  analytics._rfm_cells(timestamptz, timestamptz, text, int),
  analytics._rfm_exact(timestamptz, timestamptz, text),
  analytics._rfm_shown(timestamptz, timestamptz, text),
  analytics.rfm(timestamptz, timestamptz, text),
  analytics._funnel_times(jsonb, timestamptz, timestamptz, text, interval, jsonb, int, int, int, text, text, int),
  analytics._funnel_times_exact(jsonb, timestamptz, timestamptz, text, interval, jsonb, int, int, int, text, text),
  analytics._funnel_times_shown(jsonb, timestamptz, timestamptz, text, interval, jsonb, int, int, int, text, text),
  analytics.funnel_times(jsonb, timestamptz, timestamptz, text, interval, jsonb, int, int, int, text, text),
  analytics._paths(timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int, int),
  analytics._paths_exact(timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int),
  analytics._paths_shown(timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int),
  analytics.paths(timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int),
  analytics._sequences(timestamptz, timestamptz, text, int, text[], text[], text, text, int, int),
  analytics._sequences_exact(timestamptz, timestamptz, text, int, text[], text[], text, text, int),
  analytics._sequences_shown(timestamptz, timestamptz, text, int, text[], text[], text, text, int),
  analytics.sequences(timestamptz, timestamptz, text, int, text[], text[], text, text, int),
  analytics._transitions(timestamptz, timestamptz, text, text[], text[], int, int),
  analytics._transitions_exact(timestamptz, timestamptz, text, text[], text[], int),
  analytics._transitions_shown(timestamptz, timestamptz, text, text[], text[], int),
  analytics.transitions(timestamptz, timestamptz, text, text[], text[], int),
  analytics._session_paths(timestamptz, timestamptz, int[], int[], int, int, int, boolean, text, text, int),
  analytics._item_use(text, date, date, interval, date, int),
  analytics._item_days(text, date, date, text, int),
  analytics._course_use(date, date, text, int),
  analytics._course_completion(text, int),
  analytics._course_ratings(text, int),
  analytics._feature_people(int, text, date, date, date, date, int, text, int),
  analytics._people_among(text, int, boolean),
  track.month_transitions(date);

do $do$
begin
  if not exists (
    select
    from pg_attribute
    where attrelid = to_regclass('analytics.popular_item')
      and attname = 'breakdown_value'
  ) then
    alter type analytics.popular_item add attribute breakdown_value text, add attribute is_other boolean;
    alter type analytics.popular_course add attribute breakdown_value text, add attribute is_other boolean;
    alter type analytics.trending_item add attribute breakdown_value text, add attribute is_other boolean;
    alter type analytics.used_feature add attribute breakdown_value text, add attribute is_other boolean;
    alter type analytics.rfm_cell add attribute breakdown_value text, add attribute is_other boolean;
    alter type analytics.funnel_time add attribute breakdown_value text, add attribute is_other boolean;
    alter type analytics.path_edge add attribute breakdown_value text, add attribute is_other boolean;
    alter type analytics.path_sequence add attribute breakdown_value text, add attribute is_other boolean;
    alter type analytics.transition add attribute breakdown_value text, add attribute is_other boolean;
  end if;
end;
$do$;
comment on column analytics.popular_item.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.popular_item.is_other is $$Whether the row is about all values that are not named.$$;
comment on column analytics.popular_course.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.popular_course.is_other is $$Whether the row is about all values that are not named.$$;
comment on column analytics.trending_item.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.trending_item.is_other is $$Whether the row is about all values that are not named.$$;
comment on column analytics.used_feature.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.used_feature.is_other is $$Whether the row is about all values that are not named.$$;
comment on column analytics.rfm_cell.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.rfm_cell.is_other is $$Whether the row is about all values that are not named.$$;
comment on column analytics.funnel_time.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.funnel_time.is_other is $$Whether the row is about all values that are not named.$$;
comment on column analytics.path_edge.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.path_edge.is_other is $$Whether the row is about all values that are not named.$$;
comment on column analytics.path_sequence.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.path_sequence.is_other is $$Whether the row is about all values that are not named.$$;
comment on column analytics.transition.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.transition.is_other is $$Whether the row is about all values that are not named.$$;


create table if not exists ml.calibration (
  model_id bigint not null references ml.model on delete cascade,
  part text not null check (part in ('held out', 'latest')),
  class_number int not null check (class_number >= 0),
  bin int not null check (bin > 0),
  class text,
  row_count bigint not null,
  mean_predicted float8 not null,
  fraction_positive float8 not null,
  fraction_lower float8 not null,
  fraction_upper float8 not null,
  measured_at timestamptz not null default clock_timestamp(),
  primary key (model_id, part, class_number, bin),
  check ((class is null) = (class_number = 0))
);

comment on table ml.calibration is $$
Predicted probabilities of a version against what was observed, in bins of equal numbers of rows.
A bin has 20 rows or more; with fewer than 40 rows, there is none. Versions that predict no probability have none.
$$;
comment on column ml.calibration.model_id is $$Version.$$;
comment on column ml.calibration.part is $$
Rows that it was measured on.
`held out`: in its training or last comparison; `latest`: those with a known outcome when its drift was measured.
$$;
comment on column ml.calibration.class_number is $$
Number of the class, from 1, in a model of several classes; 0: the model has two, and predicts the probability of one.
$$;
comment on column ml.calibration.bin is $$1, 2, 3, … by rising probability.$$;
comment on column ml.calibration.class is $$Name of the class; null for models of two classes.$$;
comment on column ml.calibration.row_count is $$Number of rows in the bin.$$;
comment on column ml.calibration.mean_predicted is $$Mean of the predicted probabilities.$$;
comment on column ml.calibration.fraction_positive is $$Share of the rows in which the class was observed.$$;
comment on column ml.calibration.fraction_lower is $$Lower end of the 95 % Wilson interval of that share.$$;
comment on column ml.calibration.fraction_upper is $$Upper end of it.$$;
comment on column ml.calibration.measured_at is $$When.$$;

alter table ml.calibration enable row level security;

--! Included ml/registry/_calibration.sql
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
--! EndIncluded ml/registry/_calibration.sql

--! Included ml/registry/_record_calibration.sql
/*
 * A definer: it writes the registry, and is granted to those who may train. It reads its arguments only, never a
 * relation.
 */
create or replace function ml._record_calibration(model_id bigint, part text, bins jsonb)
returns void
language sql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
  delete from ml.calibration
  where calibration.model_id = _record_calibration.model_id
    and calibration.part = _record_calibration.part;

  insert into ml.calibration (
    model_id, part, class_number, bin, class, row_count, mean_predicted, fraction_positive, fraction_lower,
    fraction_upper
  )
  select
    _record_calibration.model_id, _record_calibration.part, entry.class_number,
    row_number() over (partition by entry.class_number order by listed.place), entry.class, entry.row_count,
    entry.mean_predicted, entry.fraction_positive, greatest(entry.fraction_lower, 0), least(entry.fraction_upper, 1)
  from jsonb_array_elements(_record_calibration.bins) with ordinality as listed (bin, place)
  cross join lateral jsonb_populate_record(null::ml.calibration, listed.bin) as entry;
$$;

comment on function ml._record_calibration(bigint, text, jsonb) is $$
Stores the calibration of a version on the rows `held out` or the `latest` ones, in place of the one before.
$$;

grant execute on function ml._record_calibration(bigint, text, jsonb) to insights_admin, insights_worker;
--! EndIncluded ml/registry/_record_calibration.sql

--! Included ml/registry/_challenge.sql
create or replace function ml._challenge(
  model ml.model,
  relation regclass,
  label text,
  kept text,
  profile jsonb,
  started_at timestamptz
)
returns ml.training
language plpgsql
volatile
set client_min_messages to warning
as $$
declare
  v_project ml.project;
  v_champion ml.model;
  v_predicted constant text := ml._temporary('_ml_predicted');
  v_metrics jsonb;
  v_champion_metrics jsonb;
begin
  select * into v_project from ml.project where project.project_id = model.project_id;
  execute format('drop table if exists %s', v_predicted);
  perform ml._predict_into(model, relation, v_predicted, label, 'observed', kept);
  v_metrics := case when model.coefficients ? 'classes'
    then ml._evaluate_classes(v_predicted, ml._classes(model.coefficients))
    else ml._evaluate(v_predicted, v_project.task) end;
  if v_project.task = 'classification' then
    perform ml._record_calibration((_challenge.model).model_id, 'held out',
      ml._calibration(v_predicted, ml._classes(model.coefficients)));
  end if;
  execute format('drop table %s', v_predicted);

  select * into v_champion from ml.model as version
  where version.model_id = ml._deployed_model_id(v_project.project_id)
    and version.model_id <> (_challenge.model).model_id;
  if v_champion.model_id is not null then
    begin
      perform ml._predict_into(v_champion, relation, v_predicted, label, 'observed', kept);
      v_champion_metrics := case when v_champion.coefficients ? 'classes'
        then ml._evaluate_classes(v_predicted, ml._classes(v_champion.coefficients))
        else ml._evaluate(v_predicted, v_project.task) end;
      execute format('drop table %s', v_predicted);
    exception when sqlstate 'CF001' or sqlstate 'CF002' or sqlstate 'CF004' then
      -- It needs features that are no longer there.
      v_champion_metrics := null;
    end;
  end if;
  return ml._conclude((_challenge.model).model_id, v_metrics, v_champion.model_id, v_champion_metrics, profile,
    clock_timestamp() - started_at);
end;
$$;

comment on function ml._challenge(ml.model, regclass, text, text, jsonb, timestamptz) is $$
Scores a version and the deployed one on the same rows, those that are `kept`, and deploys the better.
The label is a number, or for models of several classes the name of a class.
All texts are SQL that the caller has checked.
$$;

grant execute on function ml._challenge(ml.model, regclass, text, text, jsonb, timestamptz)
  to insights_admin, insights_worker;
--! EndIncluded ml/registry/_challenge.sql

--! Included ml/registry/measure_drift.sql
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
--! EndIncluded ml/registry/measure_drift.sql

-- from ml/policies.sql
do $$
declare
  v_table text;
begin
  foreach v_table in array array[
    'project', 'model', 'deployment', 'tree_node', 'embedding', 'score', 'input_profile', 'comparison', 'drift',
    'calibration'
  ]
  loop
    execute format('grant select on ml.%I to insights_reader, insights_admin, insights_worker', v_table);
    -- The keys of models from outside can be names of people.
    if v_table not in ('embedding', 'score') then
      execute format('grant select on ml.%I to insights_analyst', v_table);
    end if;
    execute format('drop policy if exists all_rows on ml.%I', v_table);
    execute format('create policy all_rows on ml.%I for select using (true)', v_table);
  end loop;
end;
$$;

-- from privacy/data_map.sql
insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, erasure, description, basis)
values
  ('privacy', 'consent', 'person_id', 'person', 'service', 'deleted', 'Person that the decision applies to.', null),
  ('privacy', 'consent', 'identity_id', 'identity', 'service', 'deleted', 'Identity that made the decision.', null),
  (
    'privacy', 'consent', 'document_version', 'decision', 'service', 'deleted',
    'Version of the text that was shown.', null
  ),
  ('privacy', 'consent', 'basis', 'decision', 'service', 'deleted', 'Lawful basis when it was made.', null),
  (
    'privacy', 'consent', 'subject_name', 'identity', 'service', 'deleted',
    'Name under which the person decided.', null
  ),
  ('privacy', 'consent', 'salt', 'decision', 'service', 'deleted', 'Salt of the entry in the ledger.', null),
  ('privacy', 'person_age', 'person_id', 'person', 'service', 'deleted', 'Person that was born on the date.', null),
  ('privacy', 'person_age', 'identity_id', 'identity', 'service', 'deleted', 'Identity of the date of birth.', null),
  ('privacy', 'person_age', 'birth_date', 'traits', 'service', 'deleted', 'Date of birth.', null),
  (
    'privacy', 'ledger', 'commitment', 'decision', 'service', 'kept',
    'Hash of a salt and a record, such as a decision.',
    'The chain proves that no decision was changed. Without its deleted salt, it contains nothing of a person.'
  ),
  (
    'privacy', 'ledger', 'hash', 'decision', 'service', 'kept',
    'Hash of the entry and of the one before it.', 'As privacy.ledger.commitment.'
  ),
  ('privacy', 'consent', 'evidence', 'decision', 'service', 'deleted', 'Evidence of the decision.', null),
  ('privacy', 'request', 'person_id', 'person', 'service', 'cleared', 'Person who made an open request.', null),
  ('privacy', 'request', 'identity_id', 'identity', 'service', 'cleared', 'Identity that the request names.', null),
  ('privacy', 'restriction', 'person_id', 'person', 'service', 'deleted', 'Person whose data is restricted.', null),
  ('privacy', 'restriction', 'identity_id', 'identity', 'service', 'deleted', 'Identity of the restriction.', null),
  ('privacy', 'restriction', 'reason', 'decision', 'service', 'deleted', 'Reason of the restriction.', null),
  (
    'privacy', 'request', 'subject_hash', 'identity', 'service', 'kept',
    'Hash of the name in a request.',
    'Proof of the answer. The salt of the hash is not stored, so that no name can be tested against it.'
  ),
  (
    'privacy', 'request', 'outcome', 'decision', 'service', 'kept',
    'Answer to a request, without a name.',
    'Proof of the answer. It must not name the person.'
  ),
  (
    'privacy', 'suppression', 'name_hash', 'identity', 'service', 'kept',
    'Keyed hash of the name of an erased person.',
    'Without it, a message with the name would be stored again (GDPR article 17(3)(b)).'
  ),
  ('privacy', 'export_log', 'identity_id', 'identity', 'service', 'deleted', 'Person whose data was exported.', null),
  ('privacy', 'disclosure', 'identity_id', 'identity', 'service', 'deleted', 'Person whose record was read.', null),
  ('privacy', 'disclosure', 'subject_name', 'identity', 'service', 'deleted', 'Name of this person.', null),
  ('privacy', 'disclosure', 'reason', 'decision', 'service', 'deleted', 'Interest of the reader, in her words.', null),
  (
    'privacy', 'disclosure', 'read_by', 'identity', 'service', 'kept',
    'Reader, such as an instructor, of the record of another.',
    'The law requires the names of the readers as long as the record is kept (34 CFR 99.32; GDPR article 17(3)(b)).'
  ),
  ('privacy', 'disclosure', 'salt', 'decision', 'service', 'deleted', 'Salt of the entry in the ledger.', null),
  ('privacy', 'export_log', 'exported_by', 'identity', 'service', 'cleared', 'Administrator who exported it.', null),
  (
    'privacy', 'retention_log', 'actor', 'identity', 'service', 'cleared',
    'Administrator who changed a rule of retention.', null
  ),
  (
    'privacy', 'erasure', 'subject_hash', 'identity', 'service', 'kept',
    'Hash of the names of an erased person.',
    'Proof of the erasure. The salt of the hash is not stored, so that no name can be tested against it.'
  ),
  (
    'privacy', 'erasure', 'reason', 'decision', 'service', 'kept',
    'Reason of an erasure, by an administrator.',
    'Proof of the erasure. It must not name the person.'
  ),
  (
    'privacy', 'erasure', 'counts', 'derived', 'service', 'kept',
    'Numbers of rows that were erased.',
    'Proof of the erasure, without content.'
  ),
  (
    'ml', 'input_profile', 'edges', 'derived', 'analytics', 'marked',
    'Deciles of a feature in the training, which can be values of a person.', null
  ),
  (
    'ml', 'input_profile', 'categories', 'derived', 'analytics', 'marked',
    'Frequent values of a feature in the training.', null
  ),
  ('ml', 'input_profile', 'shares', 'derived', 'analytics', 'marked', 'Shares of these values.', null),
  ('ml', 'calibration', 'class', 'derived', 'analytics', 'marked', 'Name of a class, a value of the label.', null),
  (
    'ml', 'embedding', 'key', 'identity', 'personalization', 'deleted',
    'Name of what the vector is of, such as a person or an item.', null
  ),
  ('ml', 'embedding', 'embedding', 'derived', 'personalization', 'deleted', 'Vector of a person or an item.', null),
  ('ml', 'score', 'keys', 'identity', 'personalization', 'deleted', 'Keys of a stored score, such as a person.', null),
  ('ml', 'score', 'score', 'derived', 'personalization', 'deleted', 'Score of a person.', null),
  (
    'ml', 'model', 'coefficients', 'derived', 'analytics', 'marked',
    'What a model learned from the people in its training.', null
  ),
  (
    'ml', 'tree_node', 'categories', 'derived', 'analytics', 'marked',
    'Values of a feature by which a tree decides.', null
  ),
  (
    'ml', 'tree_node', 'class_values', 'derived', 'analytics', 'marked',
    'Contributions of a leaf to the scores of the classes.', null
  ),
  (
    'ml', 'tree_node', 'threshold', 'derived', 'analytics', 'marked',
    'Value of a feature by which a tree decides.', null
  ),
  (
    'ml', 'model', 'parameters', 'derived', 'analytics', 'kept',
    'Parameters that were chosen for a training.',
    'Figures about all people in a training, from which none of them can be recognized.'
  ),
  (
    'ml', 'model', 'metrics', 'derived', 'analytics', 'kept',
    'Measured quality of a model.',
    'Figures about all people in a training, from which none of them can be recognized.'
  ),
  (
    'ml', 'comparison', 'challenger_metrics', 'derived', 'analytics', 'kept',
    'Measured quality of a new version.',
    'As ml.model.metrics.'
  ),
  (
    'ml', 'comparison', 'champion_metrics', 'derived', 'analytics', 'kept',
    'Measured quality of the deployed version.',
    'As ml.model.metrics.'
  )
on conflict (schema_name, table_name, column_name) do update
set
  holds = excluded.holds,
  purpose = excluded.purpose,
  description = excluded.description,
  erasure = excluded.erasure,
  basis = excluded.basis;

--! Included track/identities/_move_events.sql
create or replace function track._move_events(
  identity_ids bigint[],
  new_identity_ids bigint[],
  old_people bigint[],
  new_people bigint[],
  since timestamptz[],
  until timestamptz[]
)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_periods tstzmultirange;
  v_period tstzrange;
begin
  perform track._refuse_old_names();
  -- Each event of a person is in a session, in the period of the automatic events, or in a period that is queued for
  -- the refresh. For most browsers these are a few days; a new one has none. The periods are rounded to months. The
  -- months between them are not read, since they contain no event. Infinite periods are left out: `track.rebuild`
  -- queues them, and adds no event.
  select range_agg(tstzrange(
    date_trunc('month', greatest(period.since, span.since) at time zone 'UTC') at time zone 'UTC',
    (date_trunc('month', least(period.until, span.until) at time zone 'UTC') + interval '1 month') at time zone 'UTC'
  ))
  into v_periods
  from (
    select distinct entry.person_id, entry.since, entry.until
    from unnest(_move_events.old_people, _move_events.since, _move_events.until) as entry (person_id, since, until)
  ) as span
  join (
    select stale.person_id, stale.since, stale.until
    from track.stale
    where stale.person_id = any (_move_events.old_people)
      and isfinite(stale.since)
      and isfinite(stale.until)
    union all
    select session.person_id, session.started_at, session.ended_at
    from track.session
    where session.person_id = any (_move_events.old_people)
    union all
    select automatic_period.person_id, automatic_period.since, automatic_period.until
    from track.automatic_period
    where automatic_period.person_id = any (_move_events.old_people)
  ) as period
    on period.person_id = span.person_id
    and period.since < span.until
    and period.until >= span.since;

  for v_period in select unnest(v_periods)
  loop
    -- Rows are moved by delete and insert, because the person is the distribution column. The statement is planned for
    -- each execution, so that only the partitions of these months are planned for, locked and read.
    execute $statement$
      with deleted as (
        delete from track.event
        using unnest($1, $2, $3, $4, $5, $6)
          as moved (identity_id, new_identity_id, old_person_id, new_person_id, since, until)
        where event.person_id = moved.old_person_id
          and event.identity_id = moved.identity_id
          and event.occurred_at >= moved.since
          and event.occurred_at < moved.until
          and event.occurred_at >= $7
          and event.occurred_at < $8
        returning moved.old_person_id, moved.new_person_id, moved.new_identity_id, event.*
      ),

      placed as (
        insert into track.event (
          person_id, occurred_at, event_id, identity_id, event_type_id, item_id, received_at, source_id, properties,
          client_at, named_event_type_id, named_item_id
        )
        -- By the names of today: a change of names may not be applied to the event yet, and then does not find it.
        select
          deleted.new_person_id, deleted.occurred_at, deleted.event_id, deleted.new_identity_id,
          coalesce(event_type.merged_event_type_id, event_type.event_type_id),
          coalesce(item.merged_item_id, item.item_id),
          deleted.received_at, deleted.source_id, deleted.properties, deleted.client_at,
          case when event_type.merged_event_type_id is not null then event_type.event_type_id end,
          case when item.merged_item_id is not null then item.item_id end
        from deleted
        join track.event_type
          on event_type.event_type_id = coalesce(deleted.named_event_type_id, deleted.event_type_id)
        left join track.item on item.item_id = coalesce(deleted.named_item_id, deleted.item_id)
      )

      insert into track.stale (person_id, since, until)
      select old_person_id, min(occurred_at), max(occurred_at)
      from deleted
      group by old_person_id, date_trunc('month', occurred_at, 'UTC')
      union all
      select new_person_id, min(occurred_at), max(occurred_at)
      from deleted
      group by new_person_id, date_trunc('month', occurred_at, 'UTC')
    $statement$
    using
      _move_events.identity_ids, _move_events.new_identity_ids, _move_events.old_people, _move_events.new_people,
      _move_events.since, _move_events.until, lower(v_period), upper(v_period);
  end loop;
end;
$$;

comment on function track._move_events(bigint[], bigint[], bigint[], bigint[], timestamptz[], timestamptz[]) is $$
Moves the events of identities in the given periods (`until` exclusive) to other identities and people.
The lists have the same length; a new identity may be the old one. Both people of each event are queued for the refresh
of sessions. Only the months are read that contain events of the old people.
$$;
--! EndIncluded track/identities/_move_events.sql

--! Included track/identities/_store_trait_history.sql
create or replace function track._merge_trait_times(
  set_at timestamptz[],
  value jsonb[],
  repeated_at timestamptz[],
  new_set_at timestamptz[],
  new_value jsonb[],
  new_repeated_at timestamptz[],
  most int default null,
  out merged_at timestamptz[],
  out merged_value jsonb[],
  out merged_repeated_at timestamptz[]
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  -- Messages mostly arrive in their order, so that the new times are later than all others.
  if new_set_at[1] > greatest(set_at[cardinality(set_at)], repeated_at[cardinality(repeated_at)])
    and (
      most is null
      or cardinality(set_at) + cardinality(repeated_at) + cardinality(new_set_at) + cardinality(new_repeated_at) <= most
    )
  then
    if value[cardinality(value)]::text = new_value[1]::text then
      merged_at := set_at || new_set_at[2:];
      merged_value := value || new_value[2:];
      merged_repeated_at := repeated_at || new_set_at[1] || new_repeated_at;
    else
      merged_at := set_at || new_set_at;
      merged_value := value || new_value;
      merged_repeated_at := repeated_at || new_repeated_at;
    end if;
    return;
  end if;

  select
    array_agg(changed.set_at order by changed.set_at) filter (where changed.is_other),
    array_agg(changed.value order by changed.set_at) filter (where changed.is_other),
    coalesce(array_agg(changed.set_at order by changed.set_at) filter (where not changed.is_other), '{}')
  into merged_at, merged_value, merged_repeated_at
  from (
    select
      latest.set_at, latest.value,
      latest.value::text is distinct from lag(latest.value::text) over (order by latest.set_at) as is_other
    from (
      select distinct on (point.set_at) point.set_at, point.value
      from (
        select *
        from track._trait_points(
          _merge_trait_times.set_at, _merge_trait_times.value, _merge_trait_times.repeated_at
        )
        union all
        select * from track._trait_points(new_set_at, new_value, new_repeated_at)
      ) as point
      order by point.set_at desc, point.value desc, point.value::text desc
      limit most
    ) as latest
  ) as changed;
end;
$$;

comment on function track._merge_trait_times(
  timestamptz[], jsonb[], timestamptz[], timestamptz[], jsonb[], timestamptz[], int
) is $$
Returns the times and values of two rows of `track.trait_history` as one row.
Of the times, the latest `most` are kept; all of them if it is null.
The result does not depend on the order in which rows are merged. Values are compared as text: 1 is not 1.0.
$$;

create or replace function track._store_trait_history(
  people bigint[],
  identities bigint[],
  names text[],
  times timestamptz[],
  trait_values jsonb[]
)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_most constant int := (select setting.most_trait_times from track.setting);
begin
  insert into track.trait_history as history (person_id, identity_id, name, since, set_at, value, repeated_at)
  select
    changed.person_id, changed.identity_id, changed.name, changed.since,
    array_agg(changed.set_at order by changed.set_at) filter (where changed.is_other),
    array_agg(changed.value order by changed.set_at) filter (where changed.is_other),
    coalesce(array_agg(changed.set_at order by changed.set_at) filter (where not changed.is_other), '{}')
  from (
    select
      kept.person_id, kept.identity_id, kept.name, kept.since, kept.set_at, kept.value,
      kept.value::text is distinct from lag(kept.value::text) over (
        partition by kept.identity_id, kept.name, kept.since order by kept.set_at
      ) as is_other
    from (
      select
        said.*,
        count(*) over (partition by said.identity_id, said.name, said.since)
          - row_number() over (partition by said.identity_id, said.name, said.since order by said.set_at) as later
      from (
        select distinct on (point.identity_id, point.name, year.since, point.set_at)
          point.person_id, point.identity_id, point.name, year.since, point.set_at, shown.value
        from unnest(
          _store_trait_history.people, _store_trait_history.identities, _store_trait_history.names,
          _store_trait_history.times, _store_trait_history.trait_values
        ) as point (person_id, identity_id, name, set_at, value)
        cross join lateral (
          select date_trunc('year', point.set_at at time zone 'UTC')::date as since
        ) as year
        cross join lateral (
          select case when octet_length(point.value::text) > 1000 then 'null' else point.value end as value
        ) as shown
        order by
          point.identity_id, point.name, year.since, point.set_at, shown.value desc, shown.value::text desc
      ) as said
    ) as kept
    where kept.later < v_most
  ) as changed
  group by changed.identity_id, changed.name, changed.since, changed.person_id
  order by changed.identity_id, changed.name, changed.since
  on conflict (person_id, identity_id, name, since) do update
  set (set_at, value, repeated_at) = (
    select merged.merged_at, merged.merged_value, merged.merged_repeated_at
    from track._merge_trait_times(
      history.set_at, history.value, history.repeated_at, excluded.set_at, excluded.value, excluded.repeated_at
    ) as merged
  )
  -- A repetition of the latest time, such as the time zone of the next event of an hour, writes nothing.
  where cardinality(excluded.set_at) > 1
    or cardinality(excluded.repeated_at) > 0
    or excluded.set_at[1] is distinct from greatest(
      history.set_at[cardinality(history.set_at)], history.repeated_at[cardinality(history.repeated_at)]
    )
    or excluded.value[1]::text is distinct from history.value[cardinality(history.value)]::text;

  -- In a statement of its own: Citus passes no variable to `on conflict`.
  update track.trait_history as history
  set (set_at, value, repeated_at) = (
    select latest.merged_at, latest.merged_value, latest.merged_repeated_at
    from track._merge_trait_times(
      history.set_at, history.value, history.repeated_at, '{}', '{}', '{}', v_most
    ) as latest
  )
  from unnest(
    _store_trait_history.people, _store_trait_history.identities, _store_trait_history.names
  ) as said (person_id, identity_id, name)
  where history.person_id = said.person_id
    and history.identity_id = said.identity_id
    and history.name = said.name
    and cardinality(history.set_at) + cardinality(history.repeated_at) > v_most;
end;
$$;

comment on function track._store_trait_history(bigint[], bigint[], text[], timestamptz[], jsonb[]) is $$
Adds times with values to `track.trait_history`, a value of more than 1,000 bytes as JSON null.
The lists have the same length.
$$;
--! EndIncluded track/identities/_store_trait_history.sql

--! Included track/functions/queue_people.sql
create or replace function track.queue_people(consumer text, people bigint[], since timestamptz[] default null)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  insert into track.changed (person_id, consumer, since, until)
  select entry.person_id, queue_people.consumer, coalesce(entry.since, '-infinity'), 'infinity'
  from unnest(queue_people.people, queue_people.since) as entry (person_id, since)
  where entry.person_id <> 0;
end;
$$;

comment on function track.queue_people(text, bigint[], timestamptz[]) is $$
@behavior -*
Queues people for the refresh of one consumer, with all of their data or that from a time on.
`since`: a time for each of the people, null for all of the data. For a room whose derived data also changes with
something that is not an input of `track.consumer`, such as the time.
$$;
--! EndIncluded track/functions/queue_people.sql

--! Included track/transitions/month_transitions.sql
create or replace function track.month_transitions(
  month date, blocks int[] default null, people bit(4096)[] default null
)
returns setof track.item_transition
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the month.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_since constant timestamptz := month::timestamp at time zone 'UTC';
  v_until constant timestamptz := (month + interval '1 month') at time zone 'UTC';
begin
  return query
  with member as materialized (
    select listed.block, listed.people
    from unnest(month_transitions.blocks, month_transitions.people) as listed (block, people)

    union all

    select counted.block, counted.people
    from track.person_set_block as counted
    where counted.name = 'counted'
      and month_transitions.blocks is null
  ),

  by_person as (
    select
      session.person_id, pair.source, pair.target,
      count(*) as transition_count,
      sum(pair.ended - pair.started) as elapsed
    from track.session
    join member
      on member.block = session.person_id / 4096
      and get_bit(member.people, (session.person_id % 4096)::int) <> 0
    cross join lateral (
      select array_agg(viewed.item_id) as items, array_agg(viewed.start) as starts
      from unnest(session.view_item_ids, session.view_starts, session.view_continued)
        as viewed (item_id, start, is_continued)
      where viewed.item_id is not null
        and viewed.is_continued is not true
    ) as view
    cross join lateral unnest(view.items, view.items[2:], view.starts, view.starts[2:])
      as pair (source, target, started, ended)
    where session.started_at >= v_since
      and session.started_at < v_until
      and pair.source <> pair.target
    group by session.person_id, pair.source, pair.target
  )

  select
    month_transitions.month, by_person.source, by_person.target, sum(by_person.transition_count)::bigint,
    count(*)::int, sum(by_person.elapsed)::bigint
  from by_person
  group by by_person.source, by_person.target;
end;
$$;

comment on function track.month_transitions(date, int[], bit[]) is $$
@behavior -*
Returns the transitions of a month as the sessions give them: the rows that `track.item_transition` has, or will have.
Readers call it for the months in `track.stale_transition_month`. `month`: its first day. `blocks`, `people`: only these
people, one bit per person; null: those who are counted.
$$;

grant execute on function track.month_transitions(date, int[], bit[]) to insights_reader, insights_admin;
--! EndIncluded track/transitions/month_transitions.sql

--! Included track/functions/refresh.sql
create or replace function track._refresh_consumer(consumer track.consumer, most_people int)
returns track.refreshed
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_name constant text := (consumer).consumer;
  v_picked bigint[];
  v_people bigint[];
  v_since timestamptz[];
  v_until timestamptz[];
  v_outcome record;
  v_collected int := 0;
  v_error text;
begin
  if (consumer).collect_function is not null then
    begin
      execute format(
        'select %I.%I($1)',
        split_part((consumer).collect_function, '.', 1), split_part((consumer).collect_function, '.', 2)
      )
      into v_collected
      using most_people;
    exception
      -- The rows stay queued, and what they cannot change is refreshed.
      when data_exception or integrity_constraint_violation or program_limit_exceeded then
        get stacked diagnostics v_error = message_text;
        raise warning '% failed: %', (consumer).collect_function, common.without_values(v_error);
    end;
  end if;

  -- First without the lock: with an empty queue, the call does not wait and does not block other calls.
  if not exists (select 1 from track.changed where changed.consumer = v_name) then
    return row(
      v_name, v_collected, num_nonnulls(v_error), common.without_values(v_error)
    )::track.refreshed;
  end if;

  -- One refresh at a time: two would write the same rows.
  perform pg_advisory_xact_lock(hashtext('track.refresh'));

  -- An array, not a join, because the statistics of a queue are often out of date.
  v_picked := array(
    select distinct changed.person_id
    from track.changed
    where changed.consumer = v_name
    order by changed.person_id
    limit most_people
  );
  if v_picked = '{}' then
    return row(v_name, v_collected, num_nonnulls(v_error), common.without_values(v_error))::track.refreshed;
  end if;

  with taken as (
    delete from track.changed
    where changed.person_id = any (v_picked)
      and changed.consumer = v_name
    returning changed.person_id, changed.since, changed.until
  ),

  merged as (
    select taken.person_id, unnest(range_agg(tstzrange(taken.since, taken.until, '[]'))) as period
    from taken
    group by taken.person_id
  )

  select
    array_agg(merged.person_id order by merged.person_id, merged.period),
    array_agg(lower(merged.period) order by merged.person_id, merged.period),
    array_agg(upper(merged.period) order by merged.person_id, merged.period)
  into v_people, v_since, v_until
  from merged;

  v_outcome := track._refresh_people((consumer).refresh, v_people, v_since, v_until);

  if v_outcome.failed <> '{}' then
    insert into track.changed (person_id, consumer, since, until)
    select period.person_id, v_name, period.since, period.until
    from unnest(v_people, v_since, v_until) as period (person_id, since, until)
    where period.person_id = any (v_outcome.failed);
    raise warning '% failed for % of % people, such as %: %', (consumer).refresh,
      cardinality(v_outcome.failed), cardinality(v_picked), v_outcome.failed[1], common.without_values(v_outcome.error);
  end if;
  return row(
    v_name,
    greatest(cardinality(v_picked) - cardinality(v_outcome.failed), v_collected),
    cardinality(v_outcome.failed) + num_nonnulls(v_error),
    common.without_values(coalesce(v_outcome.error, v_error))
  )::track.refreshed;
end;
$$;

comment on function track._refresh_consumer(track.consumer, int) is $$
Refreshes at most `most_people` of the people that are queued for a consumer.
Before that, it stores as many rows of the queue of the consumer's room, if there is one. People that fail are queued
again.
$$;

create or replace function track._refresh_all_sessions(most_people int)
returns track.refreshed
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_most int := most_people;
  v_failed bigint[] := '{}';
  v_people int;
  v_error text;
begin
  loop
    begin
      v_people := (select sessions.people from track._refresh_sessions(v_most, v_failed) as sessions);
      exit;
    exception
      -- Errors that the data of one person, or those of many people together, may cause.
      when data_exception or integrity_constraint_violation or program_limit_exceeded then
        get stacked diagnostics v_error = message_text;
    end;
    v_most := least(
      v_most, (select count(distinct stale.person_id) from track.stale where stale.person_id <> all (v_failed))
    ) / 2;
    if v_most = 0 then
      v_failed := v_failed || (
        select min(stale.person_id) from track.stale where stale.person_id <> all (v_failed)
      );
      raise warning 'the sessions of person % cannot be refreshed: %', v_failed[cardinality(v_failed)],
        common.without_values(v_error);
      v_most := most_people;
    end if;
  end loop;
  return row(
    'track.session', v_people, cardinality(v_failed), case when v_failed <> '{}' then common.without_values(v_error) end
  )::track.refreshed;
end;
$$;

comment on function track._refresh_all_sessions(int) is $$
Refreshes the sessions of at most `most_people` people.
When that fails because of their data, their number is halved repeatedly, until one person is left who fails; she stays
queued, and the others are refreshed.
$$;

create or replace function track.refresh(most_people int default 2000, step text default null)
returns setof track.refreshed
language plpgsql
volatile
-- A definer: it reads the events of all people and writes derived tables, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_consumer track.consumer;
  v_refreshed track.refreshed;
  v_changed bigint;
  v_names constant text[] := array['track.name', 'track.session', 'track.transition', 'track.property'] || array(
    select consumer.consumer from track.consumer order by consumer.position
  );
begin
  -- Also with an empty queue, so that a worker that is connected to a standby fails at its first call.
  if current_setting('transaction_read_only')::boolean then
    perform common.refuse('25006', 'cannot refresh in a read-only transaction');
  end if;
  perform common.check_count('most_people', refresh.most_people, 1, 2147483647);
  if refresh.step <> all (v_names) then
    perform common.refuse(
      'CF002',
      format('there is no step "%s"', left(refresh.step, 100)),
      coalesce(
        'Did you mean "' || common.nearest_name(refresh.step, v_names) || '"?',
        format('The steps are %s.', array_to_string(v_names, ', '))
      )
    );
  end if;

  -- Alone, because the next steps would only find a part of the events.
  if coalesce(refresh.step, 'track.name') = 'track.name' and exists (select from track.renamed_month) then
    v_changed := track._apply_names(least(refresh.most_people * 50::bigint, 100000), false);
    if v_changed > 0 then
      return next row('track.name', v_changed, 0, null)::track.refreshed;
      return;
    end if;
  end if;

  if coalesce(refresh.step, 'track.session') = 'track.session'
    and (exists (select 1 from track.stale) or exists (select 1 from track.stale_course))
  then
    v_refreshed := track._refresh_all_sessions(refresh.most_people);
    if v_refreshed.people + v_refreshed.failed > 0 then
      return next v_refreshed;
    end if;
  end if;

  if coalesce(refresh.step, 'track.transition') = 'track.transition'
    and exists (select from track.stale_transition_month)
  then
    v_changed := track._refresh_transitions();
    if v_changed > 0 then
      return next row('track.transition', v_changed, 0, null)::track.refreshed;
    end if;
  end if;

  if coalesce(refresh.step, 'track.property') = 'track.property'
    and (
      exists (select from track.stale_property)
      or exists (select from track.declared_property as declared where not declared.is_queued)
    )
  then
    v_refreshed := track._refresh_all_properties(refresh.most_people);
    if v_refreshed.people + v_refreshed.failed > 0 then
      return next v_refreshed;
    end if;
  end if;

  for v_consumer in
    select consumer.*
    from track.consumer
    where coalesce(refresh.step, consumer.consumer) = consumer.consumer
    order by consumer.position
  loop
    v_refreshed := track._refresh_consumer(v_consumer, refresh.most_people);
    if v_refreshed.people + v_refreshed.failed > 0 then
      return next v_refreshed;
    end if;
  end loop;
end;
$$;

comment on function track.refresh(int, text) is $$
Refreshes all data that is derived from changed data of people, for at most `most_people` people.
First the events whose names were changed (`track.name`: at most 50 for each of `most_people`, and 100,000; `people` is
the number of these events, and the call does no other step), then the sessions (`track.session`), the transitions of a
month that is queued (`track.transition`: `people` is the number of their rows), the values of new declared properties
(`track.property`), and the consumers of `track.consumer` in their order, each after what its room has queued itself
(`people` is the larger number of the two); `step` restricts it to one of these steps.
Returns one row per step that processed people. Call it until no row has `people` above 0, each call in its own
transaction.
The cost is proportional to the changes; a call with an empty queue takes about a millisecond. People whose data makes
a refresh fail are reported and stay queued; the others are refreshed.
Errors: CF001 for an invalid `most_people`, CF002 for an unknown step.
$$;

grant execute on function track.refresh(int, text) to insights_admin, insights_worker;
--! EndIncluded track/functions/refresh.sql

--! Included track/erasure/_erase_items.sql
create or replace function track._erase_items(items bigint[])
returns bigint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_item_id bigint;
  v_deleted bigint := 0;
begin
  -- One by one, children first: an item that something else refers to is kept, such as the parent of another one.
  for v_item_id in
    select item.item_id
    from track.item
    join track.item_source on item_source.item_id = item.item_id and item_source.attribute = 'name'
    where item.item_id = any (_erase_items.items)
    order by
      (select max(ancestor.depth) from track.item_ancestor as ancestor where ancestor.item_id = item.item_id) desc,
      item.item_id
  loop
    begin
      delete from track.item_ancestor where item_ancestor.item_id = v_item_id;
      delete from track.stale_course where stale_course.item_id = v_item_id;
      delete from track.forgotten_item where forgotten_item.item_id = v_item_id;
      delete from track.item where item.item_id = v_item_id;
      v_deleted := v_deleted + 1;
    exception
      when foreign_key_violation then null;
    end;
  end loop;
  return v_deleted;
end;
$$;

comment on function track._erase_items(bigint[]) is $$
Deletes items that only messages have named, unless something refers to them. Returns their number.
$$;
--! EndIncluded track/erasure/_erase_items.sql

-- from track/data_map.sql
insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, erasure, description)
select entry.schema_name, entry.table_name, column_name, 'none', 'service', 'kept', entry.reason
from (
  values
    (
      'track', 'setting',
      '{path_rule,kept_parameters,allowed_properties,allowed_traits,personal_data,contact_traits}',
      'Settings of the installation.'
    ),
    ('track', 'setting', '{agent_properties,bots}', 'Settings of the installation.'),
    (
      'track', 'source', '{name,description,path_rule,kept_parameters}',
      'Applications, importers and write keys, named by administrators.'
    ),
    ('track', 'write_key', '{key_hash,preview,scopes,origins}', 'Keys of applications, not of people.'),
    ('track', 'write_key_log', '{log_id}', 'Random keys.'),
    ('track', 'write_key_log', '{details}', 'New settings of a key: scopes, origins, rate and times.'),
    ('track', 'found_data', '{kind}', 'Words of a fixed list.'),
    ('track', 'refusal', '{code}', 'Codes of errors; the messages are only counted.'),
    ('track', 'refusal_sample', '{sample_id}', 'Random keys.'),
    ('track', 'refusal_sample', '{code,hint}', 'Code of the error, and its rule.'),
    (
      'track', 'refusal_sample', '{fields}',
      'Types and lengths of the known fields of a message, without values.'
    ),
    ('track', 'placeholder_id', '{external_id,description}', 'Ids that name nobody.'),
    (
      'track', 'event_type', '{purpose,description,allowed_properties}',
      'Settings of an event type, by administrators.'
    ),
    ('track', 'declared_property', '{property}', 'Name of a property, declared by an administrator.'),
    ('track', 'rollup_check', '{rollup}', 'Names of functions, tables or tasks of the installation.'),
    (
      'track', 'rollup_check', '{example}',
      'Surrogate keys of a sum that was written again, kept for 10,000 checks.'
    ),
    ('track', 'name_log', '{log_id}', 'Random keys.'),
    (
      'track', 'imported_item', '{kind,title,url}',
      'Structure of courses, as the file of an import states it without a person.'
    ),
    ('track', 'forgotten_import', '{name,event_types}', 'Name of an importer, and keys of types of events.'),
    ('track', 'stale', '{stale_id}', 'Random keys.'),
    ('track', 'stale_course', '{stale_id}', 'Random keys.'),
    ('track', 'changed', '{changed_id}', 'Random keys.'),
    ('track', 'changed', '{consumer}', 'Names of functions, tables or tasks of the installation.'),
    (
      'track', 'consumer',
      '{consumer,refresh,inputs,description,reads_set,incomplete_sets,forget_function,collect_function}',
      'Names of functions, tables or tasks of the installation.'
    ),
    (
      'track', 'person_set', '{name,description,members,consumer}',
      'Name and definition of a set; its members are in other tables.'
    ),
    ('track', 'client_document', '{kind,content_type}', 'Kind and media type.'),
    ('track', 'person_set_member', '{name}', 'Name of the set.'),
    ('track', 'person_set_block', '{name}', 'Name of the set.'),
    (
      'track', 'distribution', '{schema_name,table_name,column_name,colocated_with,description}',
      'Names of functions, tables or tasks of the installation.'
    ),
    (
      'track', 'dropped_reference', '{table_name,constraint_name,definition}',
      'Names and definitions of foreign keys of the installation.'
    )
) as entry (schema_name, table_name, column_names, reason)
cross join unnest(entry.column_names::text[]) as column_name
on conflict (schema_name, table_name, column_name) do update
set
  holds = excluded.holds,
  purpose = excluded.purpose,
  description = excluded.description,
  erasure = excluded.erasure,
  basis = excluded.basis;

--! Included analytics/functions/_among.sql
create or replace function analytics._among(among text, smallest_group int default null)
returns table (block int, people bit(4096))
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_terms constant text[] := regexp_split_to_array(btrim(left(_among.among, 1001)), '\s*&\s*');
  v_names constant text[] := array(
    select btrim(ltrim(entry.term, '~')) from unnest(v_terms) as entry (term)
  );
  v_invalid text;
  v_blocks int[];
  v_people bit(4096)[];
begin
  if length(_among.among) > 1000 or cardinality(v_terms) > 20 then
    perform common.refuse(
      'CF008',
      format('among has %s characters and %s sets', length(_among.among), cardinality(v_terms)),
      'It can have 1,000 characters and 20 sets at most.'
    );
  end if;
  select term.term into v_invalid
  from unnest(v_terms) as term (term)
  where term.term !~ '^~?\s*[a-z][a-z0-9_]*(\.[a-z0-9_]+)*$'
  limit 1;
  if found then
    perform common.refuse(
      'CF001',
      format('among has "%s" in place of a set of people', left(v_invalid, 100)),
      'Give names of sets with & between them and ~ before those to leave out: "segment.power & ~cohort.beta".'
    );
  end if;

  -- Raises an error with the nearest name.
  perform track.person_set_size(named.name)
  from unnest(v_names) as named (name)
  where not exists (select from track.person_set where person_set.name = named.name);
  perform analytics._check_sets(v_names);
  if _among.smallest_group is not null then
    select array_agg(counted.block), array_agg(counted.people) into v_blocks, v_people
    from track.person_set_blocks('counted') as counted;
    return query
    select chosen.block, chosen.people
    from analytics._among_of(_among.among, _among.smallest_group, v_blocks, v_people) as chosen;
    return;
  end if;

  return query
  with everyone as materialized (
    select blocks.block
    from generate_series(0, (select max(person.person_id) / 4096 from track.person)::int) as blocks (block)
  ),

  term as (
    select entry.position, entry.term like '~%' as is_left_out, btrim(ltrim(entry.term, '~')) as name
    from unnest(v_terms) with ordinality as entry (term, position)
  ),

  named as materialized (
    select term.position, set_block.block, set_block.people
    from term
    cross join lateral track.person_set_blocks(term.name) as set_block
  ),

  read as (
    select
      term.position, everyone.block,
      case when term.is_left_out then ~coalesce(named.people, v_no_people) else coalesce(named.people, v_no_people) end
        as people
    from term
    cross join everyone
    left join named on named.position = term.position and named.block = everyone.block
  )

  select everyone.block, coalesce(bit_and(read.people), ~v_no_people)
  from everyone
  left join read on read.block = everyone.block
  group by everyone.block;
end;
$$;

comment on function analytics._among(text, int) is $$
Returns the people of an expression of sets, one bit per person, as of now.
`among`: names of sets (`track.person_set`), with `&` between them and `~` before those to leave out, such as
`segment.power & ~cohort.beta`; null: all people. `smallest_group`: counted people only (set `counted`), and sets as
analysts see them (`analytics._among_of`); null: all people, and the sets as they are. Bits that belong to no person may
be set: use the result as a filter.
Errors: CF001 for another expression, CF002 for an unknown set (names the nearest), CF008 for more than 20 sets,
CF010 for variations of an experiment whose people were deleted by retention, and for live cohorts that read them.
$$;

grant execute on function analytics._among(text, int) to insights_reader;
--! EndIncluded analytics/functions/_among.sql

--! Included analytics/functions/_is_by_day.sql
create or replace function analytics._is_by_day(breakdown text, smallest_group int)
returns boolean
language sql
immutable
parallel safe
return breakdown is not null and coalesce(smallest_group > 1, false);

comment on function analytics._is_by_day(text, int) is $$
Returns whether the values of a breakdown are groups of each day: those that analysts see.
$$;

grant execute on function analytics._is_by_day(text, int) to insights_reader;
--! EndIncluded analytics/functions/_is_by_day.sql

--! Included analytics/functions/_groups_of_use.sql
create or replace function analytics._groups_of_use(
  breakdown text,
  top_values int,
  smallest_group int,
  all_blocks int[],
  all_people bit(4096)[],
  used_days int[],
  used_people bigint[]
)
returns table (value text, is_other boolean, day int, block int, people bit(4096))
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_days int[];
  v_blocks int[];
  v_people bit(4096)[];
begin
  if not analytics._is_by_day(_groups_of_use.breakdown, _groups_of_use.smallest_group) then
    return query
    select part.value, part.is_other, 0, entry.block, entry.people
    from analytics._people_groups(
      _groups_of_use.breakdown, _groups_of_use.top_values, _groups_of_use.smallest_group, all_blocks, all_people
    ) as part
    cross join lateral unnest(part.blocks, part.people) as entry (block, people);
    return;
  end if;

  perform common.check_count('top_values', _groups_of_use.top_values, 1, 100);
  select array_agg(listed.day), array_agg(listed.block), array_agg(listed.people) into v_days, v_blocks, v_people
  from (
    select used.day, member.block, bit_or(track.person_bit(used.person_id)) & member.people as people
    from unnest(used_days, used_people) as used (day, person_id)
    join unnest(all_blocks, all_people) as member (block, people) on member.block = used.person_id / 4096
    group by used.day, member.block, member.people
  ) as listed;

  return query
  select part.value, part.is_other, part.day, part.block, part.people
  from analytics._groups_by_day(
    _groups_of_use.breakdown, _groups_of_use.top_values, _groups_of_use.smallest_group, v_days, v_blocks, v_people
  ) as part;
end;
$$;

comment on function analytics._groups_of_use(text, int, int, int[], bit[], int[], bigint[]) is $$
Divides the people of a period by the value of what a breakdown names, as of now.
`all_blocks`, `all_people`: the people to choose from, one bit per person. For analysts, the values are those of each
day (`analytics._groups_by_day`): `used_days`, `used_people`: each day of a person once; null and not read where
`analytics._is_by_day` is false. Otherwise there is one group for each value (`analytics._people_groups`), of day 0.
Errors: as `analytics._people_groups`.
$$;

grant execute on function analytics._groups_of_use(text, int, int, int[], bit[], int[], bigint[]) to insights_reader;
--! EndIncluded analytics/functions/_groups_of_use.sql

--! Included analytics/functions/_item_use_of.sql
create or replace function analytics._item_use_of(
  people bigint[],
  kind text,
  first_day date,
  end_day date,
  half_life interval,
  newest_day date,
  smallest_group int
)
returns table (
  item_id bigint,
  event_count bigint,
  person_count bigint,
  engaged interval,
  decayed_event_count float8,
  decayed_person_count float8,
  decayed_engaged float8
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the people and the period.
set plan_cache_mode to force_custom_plan
as $$
begin
  return query
  with everyone as materialized (
    select item_days.item_id, item_days.day, item_days.person_count
    from analytics._item_days(_item_use_of.kind, _item_use_of.first_day, _item_use_of.end_day, null) as item_days
    where _item_use_of.smallest_group > 1
  ),

  used_by_members as materialized (
    select
      target.item_id, activity.person_id, activity.day,
      sum(activity.event_count)::bigint as event_count, sum(activity.engaged) as engaged
    from track.activity_of(_item_use_of.people, _item_use_of.first_day, _item_use_of.end_day) as activity
    join track.item_ancestor as ancestor on ancestor.item_id = activity.item_id
    join track.item as target on target.item_id = ancestor.ancestor_item_id
    where case
        when _item_use_of.kind is null then ancestor.depth = 0
        else target.kind = _item_use_of.kind
      end
    group by target.item_id, activity.person_id, activity.day
  ),

  -- The others are a group too, or there are none.
  hidden as materialized (
    select member.item_id, member.day
    from (
      select used_by_members.item_id, used_by_members.day, count(*) as person_count
      from used_by_members
      group by used_by_members.item_id, used_by_members.day
    ) as member
    join everyone on everyone.item_id = member.item_id and everyone.day = member.day
    where everyone.person_count - member.person_count between 1 and _item_use_of.smallest_group - 1
  ),

  used as materialized (
    select used_by_members.*
    from used_by_members
    left join hidden on hidden.item_id = used_by_members.item_id and hidden.day = used_by_members.day
    where hidden.day is null
  ),

  small as materialized (
    select used.item_id, used.day, date_trunc('week', used.day::timestamp)::date as week
    from used
    group by used.item_id, used.day
    having count(*) < _item_use_of.smallest_group
  ),

  -- The rule of `analytics._left_out_days`.
  week_of_group as (
    select small.item_id, small.week
    from small
    join used on used.item_id = small.item_id and used.day = small.day
    where small.week >= _item_use_of.first_day
      and small.week + 7 <= _item_use_of.end_day
    group by small.item_id, small.week
    having count(distinct used.person_id) >= _item_use_of.smallest_group
  ),

  by_person as (
    select
      used.item_id, used.person_id,
      sum(used.event_count)::bigint as event_count, sum(used.engaged) as engaged,
      sum(used.event_count * decay.weight) as decayed_event_count,
      sum(extract(epoch from used.engaged) * decay.weight) as decayed_engaged,
      max(decay.weight) as weight
    from used
    cross join lateral (
      select analytics._weight(_item_use_of.newest_day - used.day, _item_use_of.half_life) as weight
    ) as decay
    left join small on small.item_id = used.item_id and small.day = used.day
    left join week_of_group on week_of_group.item_id = small.item_id and week_of_group.week = small.week
    where small.day is null
      or week_of_group.week is not null
    group by used.item_id, used.person_id
  )

  select
    by_person.item_id,
    sum(by_person.event_count)::bigint,
    count(*),
    sum(by_person.engaged),
    sum(by_person.decayed_event_count)::float8,
    sum(by_person.weight)::float8,
    sum(by_person.decayed_engaged)::float8
  from by_person
  group by by_person.item_id;
end;
$$;

comment on function analytics._item_use_of(bigint[], text, date, date, interval, date, int) is $$
Returns the use of the items of a kind by some people: what `analytics._item_use` returns, from their journeys.
The sums of the rollups are those of all counted people. A day of an item counts as `analytics._left_out_days`
describes, by these people alone, if the other counted people who used it are at least `smallest_group` as well, or
there are none; 1 or null: all days count.
$$;

grant execute on function analytics._item_use_of(bigint[], text, date, date, interval, date, int) to insights_reader;
--! EndIncluded analytics/functions/_item_use_of.sql

--! Included analytics/functions/_item_use.sql
create or replace function analytics._item_use(
  kind text, first_day date, end_day date, half_life interval, newest_day date, smallest_group int, people bigint[]
)
returns table (
  item_id bigint,
  event_count bigint,
  person_count bigint,
  engaged interval,
  decayed_event_count float8,
  decayed_person_count float8,
  decayed_engaged float8
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_decays constant boolean := _item_use.half_life is not null;
  v_of_courses constant boolean := _item_use.kind is not distinct from 'course'
    and not exists (select from track.stale_course);
  -- People of whole months are the bits of courses. All other people are read from the days of people.
  v_by_bits constant boolean := v_of_courses and not v_decays;
  v_first_month date := date_trunc('month', _item_use.first_day + interval '1 month' - interval '1 day')::date;
  v_end_month date := date_trunc('month', _item_use.end_day::timestamp)::date;
  -- Bits of a day of a month, so that `width_bucket` finds the last day.
  v_powers constant int[] := array(select 1 << place from generate_series(0, 30) as place);
  v_queued record;
  -- One bit per person, counted or queued, of all blocks, and the months that queued days touch.
  v_counted varbit;
  v_queued_bits varbit;
  v_first_queued date;
  v_last_queued date;
begin
  if _item_use.people is not null then
    return query
    select used.*
    from analytics._item_use_of(
      _item_use.people, _item_use.kind, _item_use.first_day, _item_use.end_day, _item_use.half_life,
      _item_use.newest_day, _item_use.smallest_group
    ) as used;
    return;
  end if;

  if v_first_month >= v_end_month then
    v_first_month := _item_use.end_day;
    v_end_month := _item_use.end_day;
  end if;
  v_queued := track.queued_days(_item_use.first_day, _item_use.end_day);
  if not v_of_courses then
    select string_agg(coalesce(counted.people, v_no_people)::text, '' order by blocks.block)::varbit
    into v_counted
    from generate_series(
      0, (select max(set_block.block) from track.person_set_blocks('counted') as set_block)
    ) as blocks (block)
    left join track.person_set_blocks('counted') as counted on counted.block = blocks.block;
    if v_queued.people is not null then
      select string_agg(coalesce(queued.people, v_no_people)::text, '' order by blocks.block)::varbit
      into v_queued_bits
      from generate_series(
        0, (select max(person_id) / 4096 from unnest(v_queued.people) as person_id)
      ) as blocks (block)
      left join (
        select person_id / 4096 as block, bit_or(track.person_bit(person_id)) as people
        from unnest(v_queued.people) as person_id
        group by 1
      ) as queued on queued.block = blocks.block;
      select date_trunc('month', min(day)::timestamp), date_trunc('month', max(day)::timestamp)
      into v_first_queued, v_last_queued
      from unnest(v_queued.first_days || v_queued.end_days) as day;
    end if;
  end if;

  return query
  with counted as materialized (
    select set_block.block, set_block.people from track.person_set_blocks('counted') as set_block
  ),

  target as materialized (
    select ancestor.item_id, ancestor.ancestor_item_id as target_id
    from track.item_ancestor as ancestor
    join track.item on item.item_id = ancestor.ancestor_item_id
    where case
        when _item_use.kind is null then ancestor.depth = 0
        else item.kind = _item_use.kind
      end
  ),

  left_out as materialized (
    select small.item_id as target_id, small.day
    from analytics._left_out_days(
      _item_use.kind, _item_use.first_day, _item_use.end_day, _item_use.smallest_group
    ) as small
    where _item_use.smallest_group > 1
  ),

  -- The changes of the next refresh.
  queued as materialized (
    select target.target_id, queued.person_id, queued.day, queued.event_count, queued.engaged, queued.was
    from analytics._queued_use(v_queued.people, v_queued.first_days, v_queued.end_days) as queued
    join target on target.item_id = queued.item_id
  ),

  -- Sums. Those of the days that are left out are subtracted.
  summed as (
    select item_day.item_id as target_id, item_day.day, item_day.event_count, item_day.engaged
    from track.item_day
    where v_of_courses
      and item_day.with_parts
      and item_day.day >= _item_use.first_day
      and item_day.day < _item_use.end_day
    union all
    select target.target_id, null, item_month.event_count, item_month.engaged
    from track.item_month
    join target on target.item_id = item_month.item_id
    where not v_of_courses
      and not v_decays
      and item_month.month >= v_first_month
      and item_month.month < v_end_month
    union all
    select target.target_id, item_day.day, item_day.event_count, item_day.engaged
    from track.item_day
    join target on target.item_id = item_day.item_id
    where not v_of_courses
      and not item_day.with_parts
      and item_day.day >= _item_use.first_day
      and item_day.day < _item_use.end_day
      and (v_decays or item_day.day < v_first_month or item_day.day >= v_end_month)
    union all
    select
      queued.target_id, queued.day,
      case when queued.was then -queued.event_count else queued.event_count end,
      case when queued.was then -queued.engaged else queued.engaged end
    from queued
    union all
    select left_out.target_id, left_out.day, -item_day.event_count, -item_day.engaged
    from left_out
    join track.item_day on item_day.item_id = left_out.target_id and item_day.day = left_out.day and item_day.with_parts
    where v_of_courses
    union all
    select left_out.target_id, left_out.day, -item_day.event_count, -item_day.engaged
    from left_out
    join target on target.target_id = left_out.target_id
    join track.item_day on item_day.item_id = target.item_id and item_day.day = left_out.day and not item_day.with_parts
    where not v_of_courses
    union all
    select
      queued.target_id, queued.day,
      case when queued.was then queued.event_count else -queued.event_count end,
      case when queued.was then queued.engaged else -queued.engaged end
    from queued
    join left_out on left_out.target_id = queued.target_id and left_out.day = queued.day
  ),

  target_sum as (
    select
      summed.target_id,
      sum(summed.event_count)::bigint as event_count,
      sum(summed.engaged) as engaged,
      sum(summed.event_count * analytics._weight(_item_use.newest_day - summed.day, _item_use.half_life))
        as decayed_event_count,
      sum(
        extract(epoch from summed.engaged)
          * analytics._weight(_item_use.newest_day - summed.day, _item_use.half_life)
      ) as decayed_engaged
    from summed
    group by summed.target_id
  ),

  -- The months of the rollup that queued days touch, with these days as bits.
  queued_month as materialized (
    select
      entry.person_id, months.first_day as month,
      (
        ((1::bigint << least(entry.end_day - months.first_day, 31)) - 1)
          & ~((1::bigint << greatest(entry.first_day - months.first_day, 0)) - 1)
      )::int as days
    from unnest(v_queued.people, v_queued.first_days, v_queued.end_days) as entry (person_id, first_day, end_day)
    cross join (
      select min(item_day.day) as first_day, max(item_day.day) as last_day
      from track.item_day
      where not item_day.with_parts
      having min(item_day.day) is not null
    ) as stored
    cross join lateral (
      select month::date as first_day
      from generate_series(
        date_trunc('month', greatest(entry.first_day, stored.first_day)::timestamp),
        least(entry.end_day - 1, stored.last_day)::timestamp,
        interval '1 month'
      ) as month
    ) as months
  ),

  queued_block as materialized (
    select
      queued_month.month, (queued_month.person_id / 4096)::int as block,
      bit_or(track.person_bit(queued_month.person_id)) as people
    from queued_month
    group by 1, 2
  ),

  left_out_month as materialized (
    select
      left_out.target_id, date_trunc('month', left_out.day::timestamp)::date as month,
      bit_or(1 << (extract(day from left_out.day)::int - 1)) as mask
    from left_out
    group by 1, 2
  ),

  -- People with queued days in a month are not read from its bits, but from their days.
  used_in_months as (
    select by_block.target_id, by_block.block, by_block.people & counted.people as people
    from (
      select
        course_presence.item_id as target_id, course_presence.block,
        bit_or(course_presence.people & ~coalesce(queued_block.people, v_no_people)) as people
      from track.course_presence
      left join queued_block
        on queued_block.month = course_presence.month
        and queued_block.block = course_presence.block
      where v_by_bits
        and course_presence.month >= v_first_month
        and course_presence.month < v_end_month
        and course_presence.item_id not in (select left_out_month.target_id from left_out_month)
      group by course_presence.item_id, course_presence.block
    ) as by_block
    join counted on counted.block = by_block.block
  ),

  -- The days of the people of courses in the period.
  listed_days as not materialized (
    select
      course_presence.item_id as target_id, course_presence.month,
      course_presence.block::bigint * 4096 + listed.member as person_id,
      listed.days & limits.mask as days
    from track.course_presence
    left join left_out_month
      on left_out_month.target_id = course_presence.item_id
      and left_out_month.month = course_presence.month
    cross join lateral (
      select
        analytics._days_of_month(course_presence.month, _item_use.first_day, _item_use.end_day)
          & ~coalesce(left_out_month.mask, 0) as mask
    ) as limits
    cross join lateral unnest(course_presence.members, course_presence.days) as listed (member, days)
    where v_of_courses
      and course_presence.month > _item_use.first_day - 31
      and course_presence.month < _item_use.end_day
      and listed.days & limits.mask <> 0
  ),

  used_on_days as (
    select used.target_id, used.person_id, max(used.last_day) as last_day
    from (
      select
        listed_days.target_id, listed_days.person_id,
        case when v_decays then listed_days.month - 1 + width_bucket(listed_days.days, v_powers) end as last_day
      from listed_days
      join counted
        on counted.block = listed_days.person_id / 4096
        and get_bit(counted.people, (listed_days.person_id % 4096)::int) <> 0
      left join queued_block
        on queued_block.month = listed_days.month
        and queued_block.block = listed_days.person_id / 4096
      where coalesce(get_bit(queued_block.people, (listed_days.person_id % 4096)::int), 0) = 0
        and (
          not v_by_bits
          or listed_days.month < v_first_month
          or listed_days.month >= v_end_month
          or listed_days.target_id in (select of_target.target_id from left_out_month as of_target)
        )

      union all

      -- Other days of queued people, in the months with queued days.
      select
        listed_days.target_id, listed_days.person_id,
        case
          when v_decays
            then listed_days.month - 1 + width_bucket(listed_days.days & ~queued_month.days, v_powers)
        end
      from listed_days
      join queued_month
        on queued_month.month = listed_days.month
        and queued_month.person_id = listed_days.person_id
      join counted
        on counted.block = listed_days.person_id / 4096
        and get_bit(counted.people, (listed_days.person_id % 4096)::int) <> 0
      where v_queued.people is not null
        and listed_days.days & ~queued_month.days <> 0

      union all

      select queued.target_id, queued.person_id, queued.day
      from queued
      left join left_out on left_out.target_id = queued.target_id and left_out.day = queued.day
      where v_of_courses
        and not queued.was
        and left_out.day is null
    ) as used
    group by used.target_id, used.person_id
  ),

  -- People with queued days who used other items: on these days, and on other days of the months that they touch.
  queued_people as (
    select used.target_id, array_agg(used.person_id) as people, array_agg(used.last_day) as last_days
    from (
      select
        target.target_id, entry.person_id,
        item_month.month - 1 + width_bucket(unqueued.days, v_powers) as last_day
      from track.item_month
      join target on target.item_id = item_month.item_id
      left join left_out_month
        on left_out_month.target_id = target.target_id
        and left_out_month.month = item_month.month
      cross join lateral unnest(item_month.people, item_month.days) as listed (person, days)
      join unnest(v_queued.people, v_queued.first_days, v_queued.end_days) as entry (person_id, first_day, end_day)
        on entry.person_id = item_month.part::bigint * 32768 + listed.person
      cross join lateral (
        select
          listed.days & ~coalesce(left_out_month.mask, 0)
            & analytics._days_of_month(item_month.month, _item_use.first_day, _item_use.end_day)
            & ~analytics._days_of_month(item_month.month, entry.first_day, entry.end_day) as days
      ) as unqueued
      where item_month.month between v_first_queued and v_last_queued
        and unqueued.days <> 0
        and case when entry.person_id < length(v_counted) then get_bit(v_counted, entry.person_id::int) <> 0 end

      union all

      select queued.target_id, queued.person_id, queued.day
      from queued
      left join left_out on left_out.target_id = queued.target_id and left_out.day = queued.day
      where not queued.was
        and left_out.day is null
    ) as used
    where not v_of_courses
      and v_queued.people is not null
    group by used.target_id
  ),

  -- Item by item: one hash table of all items and people would be several times slower.
  used_items as (
    select of_target.target_id, used.person_count, used.weight
    from (
      select target.target_id, array_agg(target.item_id) as item_ids
      from target
      where not v_of_courses
      group by target.target_id
    ) as of_target
    left join queued_people on queued_people.target_id = of_target.target_id
    cross join lateral (
      select
        count(*) as person_count,
        sum(analytics._weight(_item_use.newest_day - by_person.last_day, _item_use.half_life)) as weight
      from (
        select on_days.person_id, max(on_days.last_day) as last_day
        from (
          select
            listed_people.person_id,
            case when v_decays then listed_people.month - 1 + width_bucket(listed_people.days, v_powers) end as last_day
          from (
            select
              item_month.month, item_month.part * 32768 + listed.person as person_id,
              listed.days & ~coalesce(left_out_month.mask, 0)
                & analytics._days_of_month(item_month.month, _item_use.first_day, _item_use.end_day) as days
            from track.item_month
            left join left_out_month
              on left_out_month.target_id = of_target.target_id
              and left_out_month.month = item_month.month
            cross join lateral unnest(item_month.people, item_month.days) as listed (person, days)
            where item_month.item_id = any (of_target.item_ids)
              and item_month.month > _item_use.first_day - 31
              and item_month.month < _item_use.end_day
          ) as listed_people
          where listed_people.days <> 0
            and case
              when listed_people.person_id < length(v_counted) then get_bit(v_counted, listed_people.person_id) <> 0
            end
            and case
              when v_queued.people is not null
                and listed_people.month between v_first_queued and v_last_queued
                and listed_people.person_id < length(v_queued_bits)
                then get_bit(v_queued_bits, listed_people.person_id) = 0
              else true
            end

          union all

          select entry.person_id, entry.last_day
          from unnest(queued_people.people, queued_people.last_days) as entry (person_id, last_day)
        ) as on_days
        group by on_days.person_id
      ) as by_person
    ) as used
    where used.person_count > 0
  ),

  target_people as (
    select
      person_row.target_id, sum(person_row.person_count) as person_count, sum(person_row.weight) as weight
    from (
      select used_in_months.target_id, bit_count(used_in_months.people) as person_count, null as weight
      from used_in_months
      union all
      select
        used_on_days.target_id, count(*),
        sum(analytics._weight(_item_use.newest_day - used_on_days.last_day, _item_use.half_life))
      from used_on_days
      left join used_in_months
        on used_in_months.target_id = used_on_days.target_id
        and used_in_months.block = used_on_days.person_id / 4096
      where coalesce(get_bit(used_in_months.people, (used_on_days.person_id % 4096)::int), 0) = 0
      group by used_on_days.target_id
      union all
      select used_items.target_id, used_items.person_count, used_items.weight
      from used_items
    ) as person_row
    group by person_row.target_id
  )

  select
    target_people.target_id,
    coalesce(target_sum.event_count, 0),
    target_people.person_count::bigint,
    coalesce(target_sum.engaged, '0'),
    coalesce(case when v_decays then target_sum.decayed_event_count else target_sum.event_count end, 0)::float8,
    (case when v_decays then target_people.weight else target_people.person_count end)::float8,
    coalesce(
      case when v_decays then target_sum.decayed_engaged else extract(epoch from target_sum.engaged) end, 0
    )::float8
  from target_people
  left join target_sum on target_sum.target_id = target_people.target_id
  where target_people.person_count > 0;
end;
$$;

comment on function analytics._item_use(text, date, date, interval, date, int, bigint[]) is $$
Returns the use of the items of a kind, including that of the items they contain, on the days between two.
`end_day` is exclusive. `kind` null: the items themselves, without what they contain. People and sums are those of the
set `counted`; items that none of them used have no row. `half_life`: the decayed columns halve the events per
`half_life` of age at `newest_day`, and a person has the weight of the latest day; null: equal weights.
`smallest_group`: the days of an item that `analytics._left_out_days` returns are left out; 1: all days count.
`people`: of these only, from their journeys (`analytics._item_use_of`); null: all counted people, from the sums.
$$;

grant execute on function analytics._item_use(text, date, date, interval, date, int, bigint[]) to insights_reader;
--! EndIncluded analytics/functions/_item_use.sql

--! Included analytics/functions/popular_items.sql
create or replace function analytics._popular_items_of(
  kind text,
  since timestamptz,
  until timestamptz,
  half_life interval,
  top int,
  measure text,
  people bigint[],
  smallest_group int
)
returns setof analytics.popular_item
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
as $$
declare
  v_first_day constant date := greatest(_popular_items_of.since::date, '0001-01-01');
  -- Whole days, so that two periods differ by a day at least.
  v_end_day constant date := least(
    case
      when _popular_items_of.until < '294276-12-31'
        then date_trunc('day', _popular_items_of.until - interval '1 microsecond') + interval '1 day'
      else 'infinity'
    end::date,
    '9999-12-31'
  );
begin
  return query
  with used as (
    select
      kernel.*,
      case _popular_items_of.measure
        when 'events' then kernel.event_count
        when 'engaged' then extract(epoch from kernel.engaged)
        else kernel.person_count
      end::float8 as measured,
      -- Rounded, because the last digits depend on the order of addition and would decide the order of equal items.
      round(
        case _popular_items_of.measure
          when 'events' then kernel.decayed_event_count
          when 'engaged' then kernel.decayed_engaged
          else kernel.decayed_person_count
        end::numeric,
        9
      )::float8 as score
    from analytics._item_use(
      _popular_items_of.kind, v_first_day, v_end_day, _popular_items_of.half_life, least(v_end_day, now()::date),
      _popular_items_of.smallest_group, _popular_items_of.people
    ) as kernel
    where kernel.person_count >= _popular_items_of.smallest_group
  ),

  shown as (
    select
      item.external_id as item,
      item.title,
      item.kind as item_kind,
      analytics._shown(used.event_count, used.person_count, _popular_items_of.smallest_group)::bigint as event_count,
      analytics._shown(used.person_count, used.person_count, _popular_items_of.smallest_group)::bigint
        as person_count,
      case
        when _popular_items_of.smallest_group = 1 then used.engaged
        else make_interval(secs => analytics._shown(
          extract(epoch from used.engaged)::float8, used.person_count, _popular_items_of.smallest_group
        ))
      end as engaged,
      -- With a half-life, rounded like the figure without one: recent days weigh most, and may be those of one person.
      analytics._shown(
        used.score, used.person_count, _popular_items_of.smallest_group,
        case when _popular_items_of.half_life is not null then used.measured end
      ) as score
    from used
    join track.item on item.item_id = used.item_id
  )

  -- The order shows nothing that the figures do not.
  select
    (row_number() over by_score)::int,
    shown.item,
    shown.title,
    shown.item_kind,
    shown.event_count,
    shown.person_count,
    shown.engaged,
    shown.score,
    null::text,
    false
  from shown
  window by_score as (order by shown.score desc, shown.event_count desc, shown.item)
  order by shown.score desc, shown.event_count desc, shown.item
  limit _popular_items_of.top;
end;
$$;

comment on function analytics._popular_items_of(
  text, timestamptz, timestamptz, interval, int, text, bigint[], int
) is $$
Returns the most used items of some counted people, with the privileges of the caller: see `analytics.popular_items`.
`people` null: all counted people. `smallest_group`: see `analytics._shown`; a day on which fewer people used an item
counts with the other small days of its week (from Monday), when the period contains the week and they have at least
`smallest_group` people together, and otherwise not; 1: exact figures of all days.
$$;

grant execute on function analytics._popular_items_of(
  text, timestamptz, timestamptz, interval, int, text, bigint[], int
) to insights_reader;

create or replace function analytics._popular_items(
  kind text,
  since timestamptz,
  until timestamptz,
  half_life interval,
  top int,
  measure text,
  among text,
  breakdown text,
  top_values int,
  smallest_group int
)
returns setof analytics.popular_item
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  perform common.check_period(_popular_items.since, _popular_items.until);
  if _popular_items.half_life <= '0' then
    perform common.refuse('CF001', format('half_life is %s', _popular_items.half_life),
      'Give an interval above zero, such as 7 days, or null for equal weights.');
  end if;
  perform common.check_count('top', _popular_items.top, 1, 10000);
  if _popular_items.measure is null or _popular_items.measure not in ('events', 'people', 'engaged') then
    perform common.refuse('CF001', format('measure is "%s"', left(_popular_items.measure, 100)),
      'Use events (frequency), people (distinct people) or engaged (engaged time).');
  end if;
  if _popular_items.kind is not null
    and not exists (select from track.item where item.kind = _popular_items.kind)
  then
    perform common.refuse(
      'CF002',
      format('there is no item of kind "%s"', left(_popular_items.kind, 100)),
      coalesce(
        (select 'There are ' || string_agg(distinct item.kind, ', ') || '.' from track.item),
        'There are no items yet: send events, or run track.sync_items.'
      )
    );
  end if;

  return query
  select
    popular.rank, popular.item, popular.title, popular.kind, popular.event_count, popular.person_count,
    popular.engaged, popular.score, part.value, part.is_other
  from analytics._counted_groups(
    _popular_items.among, _popular_items.breakdown, _popular_items.top_values, _popular_items.smallest_group
  ) as part
  cross join lateral analytics._popular_items_of(
    _popular_items.kind, _popular_items.since, _popular_items.until, _popular_items.half_life, _popular_items.top,
    _popular_items.measure, case when part.blocks is not null then analytics._people_of(part.blocks, part.people) end,
    _popular_items.smallest_group
  ) as popular
  order by part.is_other, part.value is null, part.value, popular.rank;
end;
$$;

comment on function analytics._popular_items(
  text, timestamptz, timestamptz, interval, int, text, text, text, int, int
) is $$
Computes the result of `analytics.popular_items`, with the privileges of the caller.
`smallest_group`: see `analytics._shown`; 1: exact figures.
$$;

grant execute on function analytics._popular_items(
  text, timestamptz, timestamptz, interval, int, text, text, text, int, int
) to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._popular_items_exact(
  kind text,
  since timestamptz,
  until timestamptz,
  half_life interval,
  top int,
  measure text,
  among text,
  breakdown text,
  top_values int
)
returns setof analytics.popular_item
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select * from analytics._popular_items($1, $2, $3, $4, $5, $6, $7, $8, $9, 1);
$$;

alter function analytics._popular_items_exact(
  text, timestamptz, timestamptz, interval, int, text, text, text, int
)
owner to insights_reader;

comment on function analytics._popular_items_exact(
  text, timestamptz, timestamptz, interval, int, text, text, text, int
) is $$
Returns the result of `analytics.popular_items` with exact figures of all items, for admins and workers.
$$;

grant execute on function analytics._popular_items_exact(
  text, timestamptz, timestamptz, interval, int, text, text, text, int
)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._popular_items_shown(
  kind text,
  since timestamptz,
  until timestamptz,
  half_life interval,
  top int,
  measure text,
  among text,
  breakdown text,
  top_values int
)
returns setof analytics.popular_item
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select *
  from analytics._popular_items(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._popular_items_shown(
  text, timestamptz, timestamptz, interval, int, text, text, text, int
)
owner to insights_reader;

comment on function analytics._popular_items_shown(
  text, timestamptz, timestamptz, interval, int, text, text, text, int
) is $$
Returns the result of `analytics.popular_items` for analysts: figures of groups, rounded.
$$;

grant execute on function analytics._popular_items_shown(
  text, timestamptz, timestamptz, interval, int, text, text, text, int
)
to insights_analyst;

create or replace function analytics.popular_items(
  kind text default 'course',
  since timestamptz default (now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  half_life interval default null,
  top int default 10,
  measure text default 'people',
  among text default null,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.popular_item
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._popular_items_exact(text, timestamptz, timestamptz, interval, int, text, text, text, int)', 'execute'
  ) then
    return query
    select *
    from analytics._popular_items_exact(
      popular_items.kind, popular_items.since, popular_items.until, popular_items.half_life, popular_items.top,
      popular_items.measure, popular_items.among, popular_items.breakdown, popular_items.top_values
    );
  else
    return query
    select *
    from analytics._popular_items_shown(
      popular_items.kind, popular_items.since, popular_items.until, popular_items.half_life, popular_items.top,
      popular_items.measure, popular_items.among, popular_items.breakdown, popular_items.top_values
    );
  end if;
end;
$$;

comment on function analytics.popular_items(
  text, timestamptz, timestamptz, interval, int, text, text, text, int
) is $$
Returns the most used items of a kind between two times (`until` exclusive), including what they contain.
`measure`: `events` (frequency), `people` (distinct people) or `engaged` (engaged time). `half_life`: age at which the
weight of an event is halved, as in trending lists (Metarank). `kind` null: the items themselves, without what they
contain. The period is extended to whole days, UTC, at both ends.
Only people in the set `counted` count, in all figures: those who have signed in, without excluded ones
(`track.exclude_person`); anonymized events and anonymous browsers do not. `among`: only people of these sets now, such
as `segment.power & ~cohort.beta`. `breakdown`: `set.<family>` or `trait.<name>`, as of now: the result for the people
of each value, of at most `top_values`; the others have `is_other`. Ranks are those within the value.
For admins and workers, figures are exact. For analysts, a day on which fewer than `analytics.setting.smallest_group`
people used an item counts with the other small days of its week (from Monday), when the period contains the whole week
and they have at least as many people together, and otherwise not: no two periods differ by the use of a smaller group.
Figures are rounded by `analytics._shown`, and items are in the order of what is shown; items of fewer people are
excluded, as those that nobody used.
With `among` or `breakdown`, small days are those of these people, a day on which the other people who used an item are
few does not count either, and the use is read from their journeys.
Days are read from the rollup, and those that are queued for a refresh from the events: the result includes every event
that was stored when the function was called. Engaged times are as of the last refresh of the sessions, and so are
people who used an item only by continuing to read a page of an earlier session.
Errors: CF001 for an invalid argument, CF002 for a kind that no item has and an unknown set.
$$;

grant execute on function analytics.popular_items(
  text, timestamptz, timestamptz, interval, int, text, text, text, int
)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/functions/popular_items.sql

--! Included analytics/functions/_people_of.sql
create or replace function analytics._people_of(blocks int[], people bit(4096)[])
returns bigint[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return array(
    select person.person_id
    from track.person
    join unnest(_people_of.blocks, _people_of.people) as member (block, people)
      on member.block = person.person_id / 4096
      and get_bit(member.people, (person.person_id % 4096)::int) <> 0
    where person.person_id <> 0
  );
end;
$$;

comment on function analytics._people_of(int[], bit[]) is $$
Returns the people of blocks of bits, as `analytics._bits_of` makes them. Bits that belong to no person are ignored.
Person 0 (anonymised events) is not contained.
$$;

grant execute on function analytics._people_of(int[], bit[]) to insights_reader;
--! EndIncluded analytics/functions/_people_of.sql

--! Included analytics/functions/_people_among.sql
create or replace function analytics._people_among(among text, smallest_group int)
returns bigint[]
language sql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select analytics._people_of(array_agg(member.block), array_agg(member.people))
  from analytics._members($1, $2) as member;
$$;

comment on function analytics._people_among(text, int) is $$
Returns the people of an expression of sets (`analytics._among`) who are not excluded.
Person 0 (anonymised events) is not contained.
$$;

grant execute on function analytics._people_among(text, int) to insights_reader;
--! EndIncluded analytics/functions/_people_among.sql

--! Included analytics/functions/_counted_groups.sql
create or replace function analytics._counted_groups(
  among text, breakdown text, top_values int, smallest_group int
)
returns table (value text, is_other boolean, blocks int[], people bit(4096)[])
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_blocks int[];
  v_people bit(4096)[];
begin
  if among is not null or breakdown is not null then
    select array_agg(member.block), array_agg(member.people & counted.people) into v_blocks, v_people
    from analytics._among(_counted_groups.among, _counted_groups.smallest_group) as member
    join track.person_set_blocks('counted') as counted on counted.block = member.block;
  end if;

  return query
  select part.value, part.is_other, part.blocks, part.people
  from analytics._people_groups(
    _counted_groups.breakdown, _counted_groups.top_values, _counted_groups.smallest_group, v_blocks, v_people
  ) as part;
end;
$$;

comment on function analytics._counted_groups(text, text, int, int) is $$
Divides the counted people of an expression of sets by the value of what a breakdown names, as of now.
The people are one bit per person. With neither an expression nor a breakdown, there is one group with null arrays:
all counted people, whose figures the readers take from sums.
Arguments and errors: as `analytics._among` and `analytics._people_groups`.
$$;

grant execute on function analytics._counted_groups(text, text, int, int) to insights_reader;
--! EndIncluded analytics/functions/_counted_groups.sql

--! Included analytics/functions/_course_completion.sql
create or replace function analytics._course_completion(blocks int[], people bit(4096)[])
returns table (course_id bigint, enrolment_count bigint, completion_count bigint)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  -- One bit per person, of all blocks, also of those between them without counted people.
  v_people constant varbit := (
    with member as materialized (
      select listed.block, listed.people
      from unnest(_course_completion.blocks, _course_completion.people) as listed (block, people)

      union all

      select counted.block, counted.people
      from track.person_set_blocks('counted') as counted
      where _course_completion.blocks is null
    )

    select string_agg(coalesce(member.people, v_no_people)::text, '' order by every.block)::varbit
    from generate_series(0, (select max(member.block) from member)) as every (block)
    left join member on member.block = every.block
  );
begin
  -- People with one enrolment in a course, under the identity that gave them their key, are nearly all.
  return query
  with further as materialized (
    select distinct enrolment.person_id, enrolment.item_id
    from track.enrolment
    where enrolment.identity_id <> enrolment.person_id
  ),

  counted as (
    select
      enrolment.item_id,
      count(*) as enrolment_count,
      count(*) filter (where enrolment.status = 'completed') as completion_count
    from track.enrolment
    where enrolment.identity_id = enrolment.person_id
      and enrolment.person_id < length(v_people)
      and get_bit(v_people, enrolment.person_id::int) <> 0
    group by enrolment.item_id

    union all

    -- A person completed a course when one of her enrolments in it is completed.
    select
      by_person.item_id,
      sum(1 - by_person.is_counted::int),
      sum(by_person.is_completed::int - by_person.is_counted_completed::int)
    from (
      select
        enrolment.item_id, enrolment.person_id,
        bool_or(enrolment.identity_id = enrolment.person_id) as is_counted,
        bool_or(enrolment.status = 'completed') as is_completed,
        bool_or(enrolment.status = 'completed' and enrolment.identity_id = enrolment.person_id) as is_counted_completed
      from further
      join track.enrolment
        on enrolment.person_id = further.person_id
        and enrolment.item_id = further.item_id
      where enrolment.person_id < length(v_people)
        and get_bit(v_people, enrolment.person_id::int) <> 0
      group by enrolment.item_id, enrolment.person_id
    ) as by_person
    group by by_person.item_id
  )

  select counted.item_id, sum(counted.enrolment_count)::bigint, sum(counted.completion_count)::bigint
  from counted
  join track.item on item.item_id = counted.item_id and item.kind = 'course'
  group by counted.item_id;
end;
$$;

comment on function analytics._course_completion(int[], bit[]) is $$
Returns the numbers of counted people who are or were enrolled in each course, and of those who completed it, as of now.
Courses without enrolments have no row. `blocks`, `people`: counted people, one bit per person; null: all of them.
$$;

grant execute on function analytics._course_completion(int[], bit[]) to insights_reader;
--! EndIncluded analytics/functions/_course_completion.sql

--! Included analytics/functions/_course_ratings.sql
create or replace function analytics._course_ratings(blocks int[], people bit(4096)[])
returns table (course_id bigint, rating_count bigint, mean_rating float8)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the number of queued people.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_event_type_id constant int := (
    select coalesce(event_type.merged_event_type_id, event_type.event_type_id)
    from track.event_type
    where event_type.name = 'Course Rated'
  );
  v_queued constant bigint[] := coalesce((track.queued_days('-infinity', 'infinity')).people, '{}');
begin
  return query
  with member as materialized (
    select listed.block, listed.people
    from unnest(_course_ratings.blocks, _course_ratings.people) as listed (block, people)

    union all

    select counted.block, counted.people
    from track.person_set_blocks('counted') as counted
    where _course_ratings.blocks is null
  ),

  -- The properties are in the events only: the journeys say which ones to read.
  rated as (
    select event.person_id, event.occurred_at, event.event_id, event.item_id, event.properties
    from track.step
    cross join lateral (select distinct listed.occurred_at from unnest(step.occurred_at) as listed (occurred_at)) as at
    join track.event
      on event.person_id = step.person_id
      and event.occurred_at = at.occurred_at
      and event.event_type_id = step.event_type_id
    where step.event_type_id = v_event_type_id
      and step.person_id <> all (v_queued)

    union

    select event.person_id, event.occurred_at, event.event_id, event.item_id, event.properties
    from track.event
    where event.person_id = any (v_queued)
      and event.event_type_id = v_event_type_id
  ),

  latest as (
    select distinct on (rated.person_id, rated.item_id)
      rated.person_id, rated.item_id, (rated.properties ->> 'rating')::float8 as rating
    from rated
    where jsonb_typeof(rated.properties -> 'rating') = 'number'
      and (rated.properties ->> 'rating')::numeric between 0 and 100
    order by rated.person_id, rated.item_id, rated.occurred_at desc, rated.event_id desc
  )

  select latest.item_id, count(*), avg(latest.rating::numeric)::float8
  from latest
  join member
    on member.block = latest.person_id / 4096
    and get_bit(member.people, (latest.person_id % 4096)::int) <> 0
  join track.item on item.item_id = latest.item_id and item.kind = 'course'
  group by latest.item_id;
end;
$$;

comment on function analytics._course_ratings(int[], bit[]) is $$
Returns the ratings of courses by counted people, as of now: the latest `Course Rated` of each person and course.
Ratings that are not numbers from 0 to 100 are not counted. `blocks`, `people`: counted people, one bit per person;
null: all of them. The ratings are read from the events: the cost grows with the number of ratings.
$$;

grant execute on function analytics._course_ratings(int[], bit[]) to insights_reader;
--! EndIncluded analytics/functions/_course_ratings.sql

--! Included analytics/functions/popular_courses.sql
create or replace function analytics._popular_courses_of(
  since timestamptz,
  until timestamptz,
  measure text,
  top int,
  confidence float8,
  prior_weight float8,
  blocks int[],
  people bit(4096)[],
  smallest_group int
)
returns setof analytics.popular_course
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
as $$
declare
  -- Whole days, so that two periods differ by a day at least.
  v_first_day constant date := greatest(_popular_courses_of.since::date, '0001-01-01');
  v_end_day constant date := least(
    (greatest(_popular_courses_of.until, '0001-01-01') - interval '1 microsecond')::date, '9999-12-30'
  ) + 1;
  v_z constant float8 := ml.normal_quantile((1 + _popular_courses_of.confidence) / 2);
begin
  return query
  with used as (
    select
      kernel.item_id as course_id,
      analytics._shown(kernel.event_count, kernel.person_count, _popular_courses_of.smallest_group)::bigint
        as event_count,
      analytics._shown(
        kernel.person_count, kernel.person_count, _popular_courses_of.smallest_group
      )::bigint as person_count,
      case
        when coalesce(_popular_courses_of.smallest_group, 1) = 1 then kernel.engaged
        else make_interval(secs => analytics._shown(
          extract(epoch from kernel.engaged)::float8, kernel.person_count, _popular_courses_of.smallest_group
        ))
      end as engaged
    from analytics._item_use(
      'course', v_first_day, v_end_day, null, v_end_day, coalesce(_popular_courses_of.smallest_group, 1),
      case
        when _popular_courses_of.blocks is not null
          then analytics._people_of(_popular_courses_of.blocks, _popular_courses_of.people)
      end
    ) as kernel
    where kernel.person_count >= coalesce(_popular_courses_of.smallest_group, 1)
  ),

  -- Rates, bounds and averages are computed from the numbers as shown.
  completed as (
    select
      shown.course_id, shown.enrolment_count, shown.completion_count,
      sum(shown.completion_count) over () / nullif(sum(shown.enrolment_count) over (), 0) as rate_of_all
    from (
      select
        kernel.course_id,
        analytics._shown(
          kernel.enrolment_count, kernel.enrolment_count, _popular_courses_of.smallest_group
        )::bigint as enrolment_count,
        analytics._shown(
          kernel.completion_count, kernel.completion_count, _popular_courses_of.smallest_group
        )::bigint as completion_count
      from analytics._course_completion(_popular_courses_of.blocks, _popular_courses_of.people) as kernel
    ) as shown
  ),

  rated as (
    select
      shown.course_id, shown.rating_count, shown.mean_rating,
      sum(shown.rating_count * shown.mean_rating) over ()
        / nullif(sum(shown.rating_count) filter (where shown.mean_rating is not null) over (), 0) as mean_of_all
    from (
      select
        kernel.course_id,
        analytics._shown(
          kernel.rating_count, kernel.rating_count, _popular_courses_of.smallest_group
        )::bigint as rating_count,
        analytics._shown_mean(kernel.mean_rating, kernel.rating_count, _popular_courses_of.smallest_group)
          as mean_rating
      from analytics._course_ratings(_popular_courses_of.blocks, _popular_courses_of.people) as kernel
      where _popular_courses_of.measure = 'rating'
    ) as shown
  ),

  scored as (
    select
      item.external_id as course,
      item.title,
      used.event_count,
      used.person_count,
      used.engaged,
      coalesce(completed.enrolment_count, 0) as enrolment_count,
      coalesce(completed.completion_count, 0) as completion_count,
      completed.completion_count::float8 / nullif(completed.enrolment_count, 0) as completion_rate,
      bounds.bound[1] as completion_lower,
      bounds.bound[2] as completion_upper,
      case
        when completed.enrolment_count > 0
          then analytics._bayesian_average(
            completed.completion_count::float8 / completed.enrolment_count, completed.enrolment_count,
            completed.rate_of_all::float8, _popular_courses_of.prior_weight
          )
      end as completion_score,
      case when _popular_courses_of.measure = 'rating' then coalesce(rated.rating_count, 0) end as rating_count,
      rated.mean_rating,
      analytics._bayesian_average(
        rated.mean_rating, rated.rating_count, rated.mean_of_all, _popular_courses_of.prior_weight
      ) as rating_score
    from used
    join track.item on item.item_id = used.course_id
    left join completed on completed.course_id = used.course_id
    left join rated on rated.course_id = used.course_id
    cross join lateral (
      select analytics.wilson_bounds(
        completed.completion_count, completed.enrolment_count, v_z
      ) as bound
    ) as bounds
  )

  -- Rounded, because the last digits depend on the order of addition and would decide the order of equal courses.
  select
    (row_number() over by_score)::int,
    scored.course,
    scored.title,
    scored.event_count,
    scored.person_count,
    scored.engaged,
    scored.enrolment_count,
    scored.completion_count,
    scored.completion_rate,
    scored.completion_lower,
    scored.completion_upper,
    scored.completion_score,
    scored.rating_count,
    scored.mean_rating,
    scored.rating_score,
    null::text,
    false
  from scored
  cross join lateral (
    select round(
      case _popular_courses_of.measure
        when 'events' then scored.event_count
        when 'people' then scored.person_count
        when 'engaged' then extract(epoch from scored.engaged)
        when 'completion' then scored.completion_score
        when 'completion_bound' then scored.completion_lower
        when 'rating' then scored.rating_score
      end::numeric,
      9
    ) as score
  ) as by_measure
  window by_score as (
    order by by_measure.score desc nulls last, scored.person_count desc, scored.event_count desc, scored.course
  )
  order by 1
  limit _popular_courses_of.top;
end;
$$;

comment on function analytics._popular_courses_of(
  timestamptz, timestamptz, text, int, float8, float8, int[], bit[], int
) is $$
Returns the most popular courses of some counted people, with the privileges of the caller.
See `analytics.popular_courses`. `blocks`, `people`: one bit per person; null: all counted people.
`smallest_group`: see `analytics._shown`; null: exact figures.
$$;

grant execute on function analytics._popular_courses_of(
  timestamptz, timestamptz, text, int, float8, float8, int[], bit[], int
) to insights_reader;

create or replace function analytics._popular_courses(
  since timestamptz,
  until timestamptz,
  measure text,
  top int,
  among text,
  confidence float8,
  prior_weight float8,
  breakdown text,
  top_values int,
  smallest_group int
)
returns setof analytics.popular_course
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  perform common.check_period(_popular_courses.since, _popular_courses.until);
  perform common.check_count('top', _popular_courses.top, 1, 10000);
  if _popular_courses.measure is null
    or _popular_courses.measure not in ('events', 'people', 'engaged', 'completion', 'completion_bound', 'rating')
  then
    perform common.refuse('CF001', format('measure is "%s"', left(_popular_courses.measure, 100)),
      'Use events, people, engaged, completion (Bayesian average), completion_bound (Wilson) or rating.');
  end if;
  if _popular_courses.confidence is null or not (_popular_courses.confidence between 0.5 and 0.9999) then
    perform common.refuse('CF001', format('confidence is %s', coalesce(_popular_courses.confidence::text, 'null')),
      'Give a probability from 0.5 to 0.9999, such as 0.95.');
  end if;
  if _popular_courses.prior_weight is null or not (_popular_courses.prior_weight between 0 and 1000000) then
    perform common.refuse(
      'CF001',
      format('prior_weight is %s', coalesce(_popular_courses.prior_weight::text, 'null')),
      'Give a number of learners from 0 to 1000000: the mean of all courses counts for as many.'
    );
  end if;

  return query
  select
    popular.rank, popular.course, popular.title, popular.event_count, popular.person_count, popular.engaged,
    popular.enrolment_count, popular.completion_count, popular.completion_rate, popular.completion_lower,
    popular.completion_upper, popular.completion_score, popular.rating_count, popular.mean_rating,
    popular.rating_score, part.value, part.is_other
  from analytics._counted_groups(
    _popular_courses.among, _popular_courses.breakdown, _popular_courses.top_values, _popular_courses.smallest_group
  ) as part
  cross join lateral analytics._popular_courses_of(
    _popular_courses.since, _popular_courses.until, _popular_courses.measure, _popular_courses.top,
    _popular_courses.confidence, _popular_courses.prior_weight, part.blocks, part.people,
    _popular_courses.smallest_group
  ) as popular
  order by part.is_other, part.value is null, part.value, popular.rank;
end;
$$;

comment on function analytics._popular_courses(
  timestamptz, timestamptz, text, int, text, float8, float8, text, int, int
) is $$
Computes the result of `analytics.popular_courses`, with the privileges of the caller.
`smallest_group`: see `analytics._shown`; null: exact figures.
$$;

grant execute on function analytics._popular_courses(
  timestamptz, timestamptz, text, int, text, float8, float8, text, int, int
) to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._popular_courses_exact(
  since timestamptz,
  until timestamptz,
  measure text,
  top int,
  among text,
  confidence float8,
  prior_weight float8,
  breakdown text,
  top_values int
)
returns setof analytics.popular_course
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select *
  from analytics._popular_courses(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, null
  );
$$;

alter function analytics._popular_courses_exact(timestamptz, timestamptz, text, int, text, float8, float8, text, int)
owner to insights_reader;

comment on function analytics._popular_courses_exact(
  timestamptz, timestamptz, text, int, text, float8, float8, text, int
) is $$
Returns the result of `analytics.popular_courses` with exact figures, for admins and workers.
$$;

grant execute on function analytics._popular_courses_exact(
  timestamptz, timestamptz, text, int, text, float8, float8, text, int
)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._popular_courses_shown(
  since timestamptz,
  until timestamptz,
  measure text,
  top int,
  among text,
  confidence float8,
  prior_weight float8,
  breakdown text,
  top_values int
)
returns setof analytics.popular_course
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select *
  from analytics._popular_courses(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._popular_courses_shown(timestamptz, timestamptz, text, int, text, float8, float8, text, int)
owner to insights_reader;

comment on function analytics._popular_courses_shown(
  timestamptz, timestamptz, text, int, text, float8, float8, text, int
) is $$
Returns the result of `analytics.popular_courses` for analysts: figures of groups, rounded.
$$;

grant execute on function analytics._popular_courses_shown(
  timestamptz, timestamptz, text, int, text, float8, float8, text, int
)
to insights_analyst;

create or replace function analytics.popular_courses(
  since timestamptz default (now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  measure text default 'people',
  top int default 10,
  among text default null,
  confidence float8 default 0.95,
  prior_weight float8 default 25,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.popular_course
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._popular_courses_exact(timestamptz, timestamptz, text, int, text, float8, float8, text, int)', 'execute'
  ) then
    return query
    select *
    from analytics._popular_courses_exact(
      popular_courses.since, popular_courses.until, popular_courses.measure, popular_courses.top,
      popular_courses.among, popular_courses.confidence, popular_courses.prior_weight, popular_courses.breakdown,
      popular_courses.top_values
    );
  else
    return query
    select *
    from analytics._popular_courses_shown(
      popular_courses.since, popular_courses.until, popular_courses.measure, popular_courses.top,
      popular_courses.among, popular_courses.confidence, popular_courses.prior_weight, popular_courses.breakdown,
      popular_courses.top_values
    );
  end if;
end;
$$;

comment on function analytics.popular_courses(
  timestamptz, timestamptz, text, int, text, float8, float8, text, int
) is $$
Returns the most popular courses: their use between two times (`until` exclusive), completion and ratings.
`measure` decides the order: `events` (frequency), `people` (distinct people), `engaged` (engaged time), `completion`
(Bayesian average of the completion rate), `completion_bound` (lower bound of the rate) or `rating` (Bayesian average of
the ratings). Courses that nobody used in the period are not listed; those without a value of the measure come last.
Use is that of `analytics.popular_items('course', …)`, to the unit: the period is extended to whole days, UTC.
Completion is that of all enrolments (`track.enrolment`), as of now, whatever the period: most enrolments of the last
weeks cannot be completed yet. A person counts once per course, and as completed when one of her enrolments is. The
bounds are those of Wilson's score interval (1927) with `confidence`. The Bayesian average is IMDb's weighted rating:
(enrolments * rate + `prior_weight` * rate of all courses) / (enrolments + `prior_weight`), so that a course with few
learners is near the average, and one with as many as `prior_weight` halfway between it and its own rate.
Ratings (`measure` = `rating`; otherwise null) are the latest `Course Rated` of each person and course, as of now,
numbers from 0 to 100; they are read from these events.
Only people in the set `counted` count. `among`: those of them in an expression of sets of people, such as
`segment.power & ~cohort.beta`; their use is then read from their journeys, and takes longer. `breakdown`:
`set.<family>` or `trait.<name>`, as of now: the result for the people of each value, of at most `top_values`; the
others have `is_other`. Ranks and averages of all courses are those within the value.
For admins and workers, figures are exact. For analysts, days of small groups are left out as in
`analytics.popular_items`; numbers are rounded by `analytics._shown`, completions and enrolments each by themselves;
rates, bounds, averages and the order are computed from what is shown.
Errors: CF001 for an invalid argument, CF002 for an unknown set.
$$;

grant execute on function analytics.popular_courses(
  timestamptz, timestamptz, text, int, text, float8, float8, text, int
)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/functions/popular_courses.sql

--! Included analytics/functions/_item_days.sql
create or replace function analytics._item_days(kind text, first_day date, end_day date, people bigint[])
returns table (item_id bigint, day date, event_count bigint, person_count bigint, engaged interval)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
declare
  -- The rollup has the use of items by themselves, and that of courses with all that they contain.
  v_of_courses constant boolean := _item_days.kind is not distinct from 'course';
  v_is_stored constant boolean := _item_days.people is null and case
    when v_of_courses then not exists (select from track.stale_course)
    else _item_days.kind is null
      or not exists (
        select
        from track.item
        join track.item as part on part.parent_item_id = item.item_id
        where item.kind = _item_days.kind
      )
  end;
  v_people bigint[] := people;
  v_queued record;
begin
  if not v_is_stored then
    if v_people is null then
      select analytics._people_of(array_agg(counted.block), array_agg(counted.people)) into v_people
      from track.person_set_blocks('counted') as counted;
    end if;
    return query
    select
      by_person.target_id, by_person.day, sum(by_person.event_count)::bigint, count(*), sum(by_person.engaged)
    from (
      select
        ancestor.ancestor_item_id as target_id, activity.day, activity.person_id,
        sum(activity.event_count) as event_count, sum(activity.engaged) as engaged
      from track.activity_of(v_people, _item_days.first_day, _item_days.end_day) as activity
      join track.item_ancestor as ancestor on ancestor.item_id = activity.item_id
      join track.item on item.item_id = ancestor.ancestor_item_id
      where case
          when _item_days.kind is null then ancestor.depth = 0
          else item.kind = _item_days.kind
        end
      group by 1, 2, 3
    ) as by_person
    group by by_person.target_id, by_person.day;
    return;
  end if;

  v_queued := track.queued_days(_item_days.first_day, _item_days.end_day);
  return query
  with queued as (
    select
      ancestor.ancestor_item_id as target_id, queued.day, queued.was, queued.person_id,
      sum(queued.event_count) as event_count, sum(queued.engaged) as engaged
    from analytics._queued_use(v_queued.people, v_queued.first_days, v_queued.end_days) as queued
    join track.item_ancestor as ancestor on ancestor.item_id = queued.item_id
    join track.item on item.item_id = ancestor.ancestor_item_id
    where case
        when v_of_courses then item.kind = 'course'
        else ancestor.depth = 0 and (_item_days.kind is null or item.kind = _item_days.kind)
      end
    group by 1, 2, 3, 4
  )

  select
    used.target_id, used.day, sum(used.event_count)::bigint, sum(used.person_count)::bigint, sum(used.engaged)
  from (
    select
      item_day.item_id as target_id, item_day.day, item_day.event_count, item_day.person_count, item_day.engaged
    from track.item_day
    join track.item on item.item_id = item_day.item_id
    where item_day.with_parts = v_of_courses
      and item_day.day >= _item_days.first_day
      and item_day.day < _item_days.end_day
      and (_item_days.kind is null or item.kind = _item_days.kind)

    union all

    select
      queued.target_id, queued.day, sign.sign * queued.event_count, sign.sign, sign.sign * queued.engaged
    from queued
    cross join lateral (select case when queued.was then -1 else 1 end as sign) as sign
  ) as used
  group by used.target_id, used.day
  having sum(used.person_count) > 0;
end;
$$;

comment on function analytics._item_days(text, date, date, bigint[]) is $$
Returns the use of each item of a kind by counted people, by day (UTC), on the days between two (`end_day` exclusive).
With what the items contain; `kind` null: the items themselves, without what they contain. Days without use have no row.
`people`: of these only; null: of all counted people. Read from the sums of the rollup, with the people that are queued
for a refresh; kinds of items with parts other than courses, and the use of some people, from the journeys.
$$;

grant execute on function analytics._item_days(text, date, date, bigint[]) to insights_reader;
--! EndIncluded analytics/functions/_item_days.sql

--! Included analytics/functions/trending_items.sql
create or replace function analytics._trending_items_of(
  kind text,
  first_day date,
  end_day date,
  measure text,
  half_life interval,
  top int,
  people bigint[],
  bias float8,
  smallest_group int
)
returns setof analytics.trending_item
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
as $$
declare
  v_is_exact constant boolean := coalesce(_trending_items_of.smallest_group, 1) = 1;
  v_days constant int := end_day - first_day;
  v_half_life constant float8 := extract(epoch from half_life) / 86400;
  -- Periods of more than four half-lives ago would weigh less than a sixteenth.
  v_periods constant int := least(
    greatest(1, least(100, floor(4 * v_half_life / v_days))), (first_day - '0001-01-01'::date) / v_days
  );
begin
  return query
  with everyone as (
    select item_days.item_id, item_days.day, item_days.person_count
    from analytics._item_days(
      _trending_items_of.kind, _trending_items_of.end_day - v_days * (v_periods + 1), _trending_items_of.end_day, null
    ) as item_days
    where _trending_items_of.people is not null
      and not v_is_exact
  ),

  used as (
    -- Period 0 is the one of the question.
    select
      item_days.item_id,
      (_trending_items_of.end_day - 1 - item_days.day) / v_days as period,
      case _trending_items_of.measure
        when 'people' then item_days.person_count
        when 'events' then item_days.event_count
        else extract(epoch from item_days.engaged)
      end::float8 as measured,
      item_days.person_count
    from analytics._item_days(
      _trending_items_of.kind, _trending_items_of.end_day - v_days * (v_periods + 1), _trending_items_of.end_day,
      _trending_items_of.people
    ) as item_days
    left join everyone on everyone.item_id = item_days.item_id and everyone.day = item_days.day
    where item_days.person_count >= coalesce(_trending_items_of.smallest_group, 1)
      -- The others are a group too, or there are none.
      and (
        everyone.person_count is null
        or everyone.person_count - item_days.person_count not between 1 and _trending_items_of.smallest_group - 1
      )
  ),

  -- The people of the largest day are not more than those of the period: figures are rounded at least as much.
  measured as materialized (
    select
      by_period.item_id, by_period.period,
      case
        when v_is_exact then by_period.measured
        else analytics._shown(by_period.measured, by_period.person_count, _trending_items_of.smallest_group)
      end as measured,
      case
        when not v_is_exact
          then _trending_items_of.smallest_group
            * analytics._power_of_two(by_period.measured / by_period.person_count)
      end as unit
    from (
      select
        used.item_id, used.period,
        case
          when _trending_items_of.measure = 'engaged' then round(sum(used.measured)::numeric, 6)::float8
          else sum(used.measured)
        end as measured,
        max(used.person_count) as person_count
      from used
      group by used.item_id, used.period
    ) as by_period
  ),

  -- An earlier period weighs by its age and by the use of all items in it: the expected share of an item is the ratio
  -- of two decayed sums. Periods without any use, such as those before the first event, do not count.
  earlier as (
    select
      total.period,
      total.measured,
      0.5::float8 ^ (total.period * v_days / v_half_life) * total.measured as weight,
      recent.measured as recent_total
    from (
      select measured.period, sum(measured.measured) as measured from measured group by measured.period
    ) as total
    cross join (
      select sum(of_period.measured) as measured from measured as of_period where of_period.period = 0
    ) as recent
    where total.period > 0
      and total.measured > 0
  ),

  scaled as (
    select
      recent.item_id,
      recent.measured,
      recent.unit,
      earlier.weight,
      coalesce(own.measured, 0) / earlier.measured * earlier.recent_total as scaled
    from measured as recent
    cross join earlier
    left join measured as own on own.item_id = recent.item_id and own.period = earlier.period
    where recent.period = 0
      and recent.measured > 0
  ),

  estimated as (
    select
      scaled.*,
      sum(scaled.weight * scaled.scaled) over of_item / sum(scaled.weight) over of_item as expected
    from scaled
    window of_item as (partition by scaled.item_id)
  ),

  compared as (
    select
      estimated.item_id,
      estimated.measured,
      estimated.unit,
      estimated.expected,
      sum(estimated.weight * (estimated.scaled - estimated.expected) ^ 2) / sum(estimated.weight) as variance
    from estimated
    group by estimated.item_id, estimated.measured, estimated.unit, estimated.expected
  ),

  -- Rounded, because the last digits depend on the order of addition and would decide the order of equal items.
  scored as (
    select
      compared.item_id, compared.measured,
      round(compared.expected::numeric, 9)::float8 as expected,
      round(noise.deviation::numeric, 9)::float8 as deviation,
      round(
        ((compared.measured - greatest(compared.expected, noise.bias)) / (noise.deviation + noise.bias))::numeric, 9
      )::float8 as score
    from compared
    cross join lateral (
      select
        -- That of Poisson counts at least.
        sqrt(greatest(compared.variance, compared.expected)) as deviation,
        greatest(_trending_items_of.bias, compared.unit) as bias
    ) as noise
  )

  select
    (row_number() over by_score)::int,
    item.external_id,
    item.title,
    item.kind,
    scored.measured,
    scored.expected,
    scored.deviation,
    scored.measured / nullif(scored.expected, 0) - 1,
    scored.score,
    null::text,
    false
  from scored
  join track.item on item.item_id = scored.item_id
  where scored.score > 0
  window by_score as (order by scored.score desc, scored.measured desc, item.external_id)
  order by 1
  limit _trending_items_of.top;
end;
$$;

comment on function analytics._trending_items_of(
  text, date, date, text, interval, int, bigint[], float8, int
) is $$
Returns the trending items of some counted people, with the privileges of the caller: see `analytics.trending_items`.
`end_day` is exclusive. `people` null: all counted people.
`smallest_group`: see `analytics._shown`; null: exact figures.
$$;

grant execute on function analytics._trending_items_of(
  text, date, date, text, interval, int, bigint[], float8, int
) to insights_reader;

create or replace function analytics._trending_items(
  kind text,
  since timestamptz,
  until timestamptz,
  measure text,
  half_life interval,
  top int,
  among text,
  bias float8,
  breakdown text,
  top_values int,
  smallest_group int
)
returns setof analytics.trending_item
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
as $$
declare
  -- Whole days, so that two periods differ by a day at least.
  v_bounds constant timestamptz[] := analytics._bounds('day', _trending_items.since, _trending_items.until, 'UTC');
  v_days constant int := v_bounds[cardinality(v_bounds)]::date - v_bounds[1]::date;
begin
  if v_days > 366 then
    perform common.refuse('CF008', format('the period has %s days', v_days),
      'Give at most 366: it is compared with earlier periods of the same length.');
  end if;
  if _trending_items.measure is null or _trending_items.measure not in ('people', 'events', 'engaged') then
    perform common.refuse('CF001', format('measure is "%s"', left(_trending_items.measure, 100)),
      'Use people (people by day), events or engaged (engaged time).');
  end if;
  if _trending_items.half_life is null
    or not (_trending_items.half_life >= '1 day' and _trending_items.half_life <= '3660 days')
  then
    perform common.refuse('CF001', format('half_life is %s', coalesce(_trending_items.half_life::text, 'null')),
      'Give an interval from 1 to 3660 days, such as 28 days.');
  end if;
  if _trending_items.bias is null or not (_trending_items.bias between 1 and 1000000) then
    perform common.refuse('CF001', format('bias is %s', coalesce(_trending_items.bias::text, 'null')),
      'Give a number from 1 to 1000000: use below it is not significant.');
  end if;
  perform common.check_count('top', _trending_items.top, 1, 10000);
  if _trending_items.kind is not null
    and not exists (select from track.item where item.kind = _trending_items.kind)
  then
    perform common.refuse(
      'CF002',
      format('there is no item of kind "%s"', left(_trending_items.kind, 100)),
      coalesce(
        (select 'There are ' || string_agg(distinct item.kind, ', ') || '.' from track.item),
        'There are no items yet: send events, or run track.sync_items.'
      )
    );
  end if;

  return query
  select
    trending.rank, trending.item, trending.title, trending.kind, trending.measured, trending.expected,
    trending.deviation, trending.growth, trending.score, part.value, part.is_other
  from analytics._counted_groups(
    _trending_items.among, _trending_items.breakdown, _trending_items.top_values, _trending_items.smallest_group
  ) as part
  cross join lateral analytics._trending_items_of(
    _trending_items.kind, v_bounds[1]::date, v_bounds[cardinality(v_bounds)]::date, _trending_items.measure,
    _trending_items.half_life, _trending_items.top,
    case when part.blocks is not null then analytics._people_of(part.blocks, part.people) end, _trending_items.bias,
    _trending_items.smallest_group
  ) as trending
  order by part.is_other, part.value is null, part.value, trending.rank;
end;
$$;

comment on function analytics._trending_items(
  text, timestamptz, timestamptz, text, interval, int, text, float8, text, int, int
) is $$
Computes the result of `analytics.trending_items`, with the privileges of the caller.
`smallest_group`: see `analytics._shown`; null: exact figures.
$$;

grant execute on function analytics._trending_items(
  text, timestamptz, timestamptz, text, interval, int, text, float8, text, int, int
) to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._trending_items_exact(
  kind text,
  since timestamptz,
  until timestamptz,
  measure text,
  half_life interval,
  top int,
  among text,
  bias float8,
  breakdown text,
  top_values int
)
returns setof analytics.trending_item
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select *
  from analytics._trending_items(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, null
  );
$$;

alter function analytics._trending_items_exact(
  text, timestamptz, timestamptz, text, interval, int, text, float8, text, int
) owner to insights_reader;

comment on function analytics._trending_items_exact(
  text, timestamptz, timestamptz, text, interval, int, text, float8, text, int
) is $$
Returns the result of `analytics.trending_items` with exact figures, for admins and workers.
$$;

grant execute on function analytics._trending_items_exact(
  text, timestamptz, timestamptz, text, interval, int, text, float8, text, int
) to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._trending_items_shown(
  kind text,
  since timestamptz,
  until timestamptz,
  measure text,
  half_life interval,
  top int,
  among text,
  bias float8,
  breakdown text,
  top_values int
)
returns setof analytics.trending_item
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select *
  from analytics._trending_items(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._trending_items_shown(
  text, timestamptz, timestamptz, text, interval, int, text, float8, text, int
) owner to insights_reader;

comment on function analytics._trending_items_shown(
  text, timestamptz, timestamptz, text, interval, int, text, float8, text, int
) is $$
Returns the result of `analytics.trending_items` for analysts: figures of groups, rounded.
$$;

grant execute on function analytics._trending_items_shown(
  text, timestamptz, timestamptz, text, interval, int, text, float8, text, int
) to insights_analyst;

create or replace function analytics.trending_items(
  kind text default 'course',
  since timestamptz default (now() at time zone 'UTC' - interval '6 days') at time zone 'UTC',
  until timestamptz default now(),
  measure text default 'people',
  half_life interval default '28 days',
  top int default 10,
  among text default null,
  bias float8 default 5,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.trending_item
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._trending_items_exact(text, timestamptz, timestamptz, text, interval, int, text, float8, text, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._trending_items_exact(
      trending_items.kind, trending_items.since, trending_items.until, trending_items.measure,
      trending_items.half_life, trending_items.top, trending_items.among, trending_items.bias,
      trending_items.breakdown, trending_items.top_values
    );
  else
    return query
    select *
    from analytics._trending_items_shown(
      trending_items.kind, trending_items.since, trending_items.until, trending_items.measure,
      trending_items.half_life, trending_items.top, trending_items.among, trending_items.bias,
      trending_items.breakdown, trending_items.top_values
    );
  end if;
end;
$$;

comment on function analytics.trending_items(
  text, timestamptz, timestamptz, text, interval, int, text, float8, text, int
) is $$
Returns the items that are used more than expected between two times (`until` exclusive), most significant first.
The expectation is a mean of earlier periods of the same length, up to four half-lives back: the weight of a period is
halved per `half_life` of age. The method is SigniTrend (E. Schubert, M. Weiler, H.-P. Kriegel, KDD 2014): the score is
(measured - max(expected, `bias`)) / (deviation + `bias`), a number of standard deviations from an exponentially
weighted mean, in which `bias` keeps items of little use from being significant. What is compared is the share of an
item in the use of all items of its kind: in a holiday, at the start of a term, and on a day that has not ended, all
items have more or less use, and no item trends for that reason. The deviation is that of the earlier periods, and at
least that of Poisson counts.
`measure`: `people` (the distinct people of each day, added up: a person who is active on three days counts three
times, one who sends a thousand events does not), `events` or `engaged` (seconds). Use includes that of what an item
contains; `kind` null: the items themselves. The period is extended to whole days, UTC; use periods of whole weeks,
because items have other shares on weekends. Items with a score of 0 or less are not returned, and no item is when
there is no earlier period with use.
Only people in the set `counted` count; `among`: those of them in an expression of sets of people. `breakdown`:
`set.<family>` or `trait.<name>`, as of now: the result for the people of each value, of at most `top_values`; the
others have `is_other`. An item is then compared with the use by the same people, and ranks are those within the value.
The result includes every event that was stored when the function was called, and engaged times as of the last refresh.
It is read from the sums by item and day; with `among` or `breakdown`, and for kinds of items with parts other than
courses, from the journeys.
For admins and workers, figures are exact. For analysts, a day on which fewer than `analytics.setting.smallest_group`
people used an item is left out, with `among` or `breakdown` also one on which the others are fewer, figures are rounded
by `analytics._shown` (for the people of the largest day), and everything else is computed from them, with a `bias` of
at least one step of rounding.
Errors: CF001 for an invalid argument, CF002 for an unknown kind or set, CF008 for more than 366 days.
$$;

grant execute on function analytics.trending_items(
  text, timestamptz, timestamptz, text, interval, int, text, float8, text, int
) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/functions/trending_items.sql

--! Included analytics/functions/_feature_people.sql
create or replace function analytics._feature_people(
  of_event_type_id int,
  by_kind boolean,
  first_day date,
  end_day date,
  previous_day date,
  observed_day date,
  return_days int,
  of_blocks int[],
  of_people bit(4096)[],
  smallest_group int
)
returns table (
  event_type_id int,
  item_kind text,
  block int,
  people bit(4096),
  earlier_people bit(4096),
  observed_people bit(4096),
  returned_people bit(4096),
  previous_people bit(4096),
  person_days bigint,
  event_count bigint,
  previous_event_count bigint,
  days date[],
  oldest_day date,
  latest_day date
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
-- The bits of a year are sorted in memory.
set work_mem to '64MB'
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_of_all constant boolean := of_blocks is null;
  v_reads_journeys constant boolean := _feature_people.by_kind or not v_of_all;
  v_event_types constant int[] := array(
    select event_type.event_type_id
    from track.event_type
    where event_type.merged_event_type_id is null
      and case
        when _feature_people.of_event_type_id is null
          then not event_type.is_automatic and not event_type.is_heartbeat and event_type.purpose <> 'service'
        else event_type.event_type_id = _feature_people.of_event_type_id
      end
  );
  -- Type 0 is any event that is not automatic. By kind of item, the other types are read from the journeys.
  v_present_types constant int[] := 0 || case when _feature_people.by_kind then '{}' else v_event_types end;
  -- The people who count, by block: an array, because the planner cannot estimate a join.
  v_members constant bit(4096)[] := (
    select array_agg(coalesce(member.people, v_no_people) order by blocks.block)
    from generate_series(0, (select max(person.person_id) / 4096 from track.person)) as blocks (block)
    left join (
      select listed.block, listed.people from unnest(of_blocks, of_people) as listed (block, people)
      union all
      select everyone.block, everyone.people
      from analytics._members(null, _feature_people.smallest_group) as everyone
      where v_of_all
    ) as member on member.block = blocks.block
  );
  -- The other people, whom analysts could know from the difference to all people; null: there are none.
  v_others constant bit(4096)[] := case
    when not v_of_all and smallest_group > 1 then (
      select array_agg(
        coalesce(counted.people & ~coalesce(v_members[blocks.block + 1], v_no_people), v_no_people)
        order by blocks.block
      )
      from generate_series(0, cardinality(v_members) - 1) as blocks (block)
      left join track.person_set_blocks('counted') as counted on counted.block = blocks.block
    )
  end;
  v_reads_others constant boolean := _feature_people.by_kind and v_others is not null;
  v_queued record;
  v_is_queued boolean;
  -- Whether the days before the two periods are read as they are stored, which is several times faster.
  v_reads_history_at_once boolean;
begin
  v_queued := track.queued_days('-infinity', _feature_people.end_day);
  v_is_queued := v_queued.people is not null;
  v_reads_history_at_once := _feature_people.smallest_group is null
    and not exists (
      select from unnest(v_queued.first_days) as queued_day where queued_day < _feature_people.previous_day
    );

  return query
  with excluded as materialized (
    select set_block.block, set_block.people from track.person_set_blocks('excluded') as set_block
  ),

  counted as materialized (
    select set_block.block, set_block.people from track.person_set_blocks('counted') as set_block
  ),

  -- The changes of the next refresh.
  queued as (
    select
      typed.event_type_id, entry.person_id, entry.day, entry.was,
      case when entry.was then -typed.event_count else typed.event_count end as event_count
    from (
      select activity.*, true as was
      from track.stored_activity(v_queued.people, v_queued.first_days, v_queued.end_days) as activity
      union all
      select activity.*, false
      from track.event_activity(v_queued.people, v_queued.first_days, v_queued.end_days) as activity
    ) as entry
    cross join lateral (
      values (entry.event_type_id, entry.event_count), (0, entry.event_count - entry.automatic_count)
    ) as typed (event_type_id, event_count)
    where typed.event_count > 0
      and typed.event_type_id = any (v_present_types)
  ),

  change as materialized (
    select
      queued.event_type_id, queued.day, (queued.person_id / 4096)::int as block,
      coalesce(bit_or(track.person_bit(queued.person_id)) filter (where queued.was), v_no_people) as cleared,
      coalesce(
        bit_or(track.person_bit(queued.person_id)) filter (where not queued.was and queued.person_id <> 0), v_no_people
      ) as added,
      coalesce(sum(queued.event_count) filter (where not membership.is_excluded), 0) as event_count,
      coalesce(sum(queued.event_count) filter (where membership.is_counted), 0) as counted_count
    from queued
    left join excluded on excluded.block = queued.person_id / 4096
    left join counted on counted.block = queued.person_id / 4096
    left join track.person_set_block as stored_excluded
      on stored_excluded.name = 'excluded' and stored_excluded.block = queued.person_id / 4096
    left join track.person_set_block as stored_counted
      on stored_counted.name = 'counted' and stored_counted.block = queued.person_id / 4096
    cross join lateral (
      select
        coalesce(
          get_bit(
            case when queued.was then stored_excluded.people else excluded.people end, (queued.person_id % 4096)::int
          ),
          0
        ) <> 0 as is_excluded,
        coalesce(
          get_bit(
            case when queued.was then stored_counted.people else counted.people end, (queued.person_id % 4096)::int
          ),
          0
        ) <> 0 as is_counted
    ) as membership
    group by 1, 2, 3
  ),

  -- Numbers of events of some people, and events by kind of item, are in the journeys.
  journey as materialized (
    select
      activity.event_type_id,
      case when _feature_people.by_kind then coalesce(item.kind, '') else '' end as item_kind,
      activity.day, (activity.person_id / 4096)::int as block,
      case
        when _feature_people.by_kind
          then coalesce(
            bit_or(track.person_bit(activity.person_id)) filter (where activity.person_id <> 0), v_no_people
          )
        else v_no_people
      end as people,
      coalesce(
        sum(activity.event_count) filter (
          where not v_reads_others
            or get_bit(v_members[(activity.person_id / 4096)::int + 1], (activity.person_id % 4096)::int) <> 0
        ),
        0
      ) as event_count
    from track.activity_of(
      case
        when not v_of_all and not v_reads_others then analytics._people_of(of_blocks, of_people)
        else analytics._people_among(null, _feature_people.smallest_group)
          -- Anonymised events.
          || case when _feature_people.smallest_group is null then '{0}'::bigint[] end
      end,
      _feature_people.previous_day,
      _feature_people.end_day
    ) as activity
    left join track.item on item.item_id = activity.item_id
    where v_reads_journeys
      and activity.event_type_id = any (v_event_types)
      and activity.event_count > 0
    group by 1, 2, 3, 4
  ),

  -- Rows of the same feature, day and block add up. Not materialized: the bits of all days are large.
  cell as not materialized (
    select
      presence.event_type_id, '' as item_kind, presence.day, presence.block,
      presence.people & ~coalesce(change.cleared, v_no_people) & coalesce(v_members[presence.block + 1], v_no_people)
        as people,
      case
        when not v_of_all then 0
        when _feature_people.smallest_group is not null then presence.counted_count
        else presence.event_count
      end as event_count,
      case
        when v_others is not null then bit_count(
          presence.people & ~coalesce(change.cleared, v_no_people) & coalesce(v_others[presence.block + 1], v_no_people)
        )
        else 0
      end as other_count
    from track.presence
    left join change
      on v_is_queued
      and change.event_type_id = presence.event_type_id
      and change.day = presence.day
      and change.block = presence.block
    where presence.event_type_id = any (v_present_types)
      and presence.day < _feature_people.end_day
      and (presence.event_type_id <> 0 or presence.day >= _feature_people.first_day)
      and (not v_reads_history_at_once or presence.day >= _feature_people.previous_day)

    union all

    select
      change.event_type_id, '', change.day, change.block,
      change.added & coalesce(v_members[change.block + 1], v_no_people),
      case
        when not v_of_all then 0
        when _feature_people.smallest_group is not null then change.counted_count
        else change.event_count
      end,
      bit_count(change.added & coalesce(v_others[change.block + 1], v_no_people))
    from change

    union all

    select
      journey.event_type_id, journey.item_kind, journey.day, journey.block,
      journey.people & coalesce(v_members[journey.block + 1], v_no_people), journey.event_count,
      bit_count(journey.people & coalesce(v_others[journey.block + 1], v_no_people))
    from journey
  ),

  history as (
    select presence.event_type_id, presence.block, bit_or(presence.people) as people
    from track.presence
    where v_reads_history_at_once
      and presence.event_type_id = any (v_present_types)
      and presence.event_type_id <> 0
      and presence.day < _feature_people.previous_day
    group by presence.event_type_id, presence.block
  ),

  history_days as (
    select
      feature.event_type_id,
      (
        select presence.day
        from track.presence
        where presence.event_type_id = feature.event_type_id
          and presence.day < _feature_people.previous_day
          and presence.people & coalesce(v_members[presence.block + 1], v_no_people) <> v_no_people
        order by presence.day
        limit 1
      ) as oldest_day,
      (
        select presence.day
        from track.presence
        where presence.event_type_id = feature.event_type_id
          and presence.day < _feature_people.previous_day
          and presence.people & coalesce(v_members[presence.block + 1], v_no_people) <> v_no_people
        order by presence.day desc
        limit 1
      ) as latest_day
    from unnest(v_event_types) as feature (event_type_id)
    where v_reads_history_at_once
      and not _feature_people.by_kind
  ),

  -- Days on which the others are few are hidden, and not in their weeks either.
  small_day as materialized (
    select
      cell.event_type_id, cell.item_kind, cell.day, date_trunc('week', cell.day::timestamp)::date as week,
      sum(cell.other_count) between 1 and _feature_people.smallest_group - 1 as is_hidden
    from cell
    where _feature_people.smallest_group is not null
    group by cell.event_type_id, cell.item_kind, cell.day
    having sum(bit_count(cell.people)) < _feature_people.smallest_group
      or sum(cell.other_count) between 1 and _feature_people.smallest_group - 1
  ),

  -- Weeks (from Monday) whose small days have enough people together. They count in periods that contain them.
  week_of_group as materialized (
    select by_block.event_type_id, by_block.item_kind, by_block.week
    from (
      select cell.event_type_id, cell.item_kind, small_day.week, cell.block, bit_or(cell.people) as people
      from small_day
      join cell using (event_type_id, item_kind, day)
      where not small_day.is_hidden
      group by cell.event_type_id, cell.item_kind, small_day.week, cell.block
    ) as by_block
    group by by_block.event_type_id, by_block.item_kind, by_block.week
    having sum(bit_count(by_block.people)) >= _feature_people.smallest_group
  ),

  placed as not materialized (
    select
      cell.event_type_id, cell.item_kind, cell.day, cell.block, cell.people, cell.event_count,
      small_day.day is null as is_large,
      cell.day >= _feature_people.first_day
        and (
          small_day.day is null
          or week_of_group.week >= _feature_people.first_day
            and week_of_group.week + 7 <= _feature_people.end_day
        ) as in_period,
      cell.day >= _feature_people.previous_day
        and cell.day < _feature_people.first_day
        and (
          small_day.day is null
          or week_of_group.week >= _feature_people.previous_day
            and week_of_group.week + 7 <= _feature_people.first_day
        ) as in_previous,
      cell.day < _feature_people.first_day
        and (small_day.day is null or week_of_group.week + 7 <= _feature_people.first_day) as is_before
    from cell
    left join small_day
      on small_day.event_type_id = cell.event_type_id
      and small_day.item_kind = cell.item_kind
      and small_day.day = cell.day
    left join week_of_group
      on week_of_group.event_type_id = small_day.event_type_id
      and week_of_group.item_kind = small_day.item_kind
      and week_of_group.week = small_day.week
      and not small_day.is_hidden
  ),

  returned as (
    select
      in_order.event_type_id, in_order.item_kind, in_order.block, bit_or(in_order.people & in_order.earlier) as people
    from (
      select
        placed.event_type_id, placed.item_kind, placed.block, placed.people,
        bit_or(placed.people) over (
          partition by placed.event_type_id, placed.item_kind, placed.block
          order by placed.day
          range between unbounded preceding and make_interval(days => _feature_people.return_days) preceding
        ) as earlier
      from placed
      where placed.day >= _feature_people.first_day
        and placed.in_period
        and placed.event_type_id <> 0
    ) as in_order
    group by in_order.event_type_id, in_order.item_kind, in_order.block
  ),

  by_block as (
    select
      placed.event_type_id, placed.item_kind, placed.block,
      coalesce(bit_or(placed.people) filter (where placed.in_period), v_no_people) as people,
      coalesce(bit_or(placed.people) filter (where placed.is_before), v_no_people) as earlier_people,
      coalesce(
        bit_or(placed.people) filter (where placed.in_period and placed.day <= _feature_people.observed_day),
        v_no_people
      ) as observed_people,
      coalesce(bit_or(placed.people) filter (where placed.in_previous), v_no_people) as previous_people,
      coalesce(sum(bit_count(placed.people)) filter (where placed.in_period), 0)::bigint as person_days,
      coalesce(sum(placed.event_count) filter (where placed.in_period), 0)::bigint as event_count,
      coalesce(sum(placed.event_count) filter (where placed.in_previous), 0)::bigint as previous_event_count,
      array_agg(placed.day) filter (where placed.in_period) as days,
      min(placed.day) filter (where placed.is_large and placed.people <> v_no_people) as oldest_day,
      max(placed.day) filter (where placed.is_large and placed.people <> v_no_people) as latest_day
    from placed
    group by placed.event_type_id, placed.item_kind, placed.block
  )

  select
    by_block.event_type_id,
    nullif(by_block.item_kind, ''),
    by_block.block,
    by_block.people,
    by_block.earlier_people | coalesce(history.people, v_no_people),
    by_block.observed_people,
    coalesce(returned.people, v_no_people),
    by_block.previous_people,
    by_block.person_days,
    by_block.event_count,
    by_block.previous_event_count,
    by_block.days,
    least(by_block.oldest_day, history_days.oldest_day),
    greatest(by_block.latest_day, history_days.latest_day)
  from by_block
  left join returned using (event_type_id, item_kind, block)
  left join history on history.event_type_id = by_block.event_type_id and history.block = by_block.block
  left join history_days on history_days.event_type_id = by_block.event_type_id;
end;
$$;

comment on function analytics._feature_people(
  int, boolean, date, date, date, date, int, int[], bit[], int
) is $$
Returns the people and events of event types in a period, one row per block of 4,096 people, as of now.
Event types are those that people cause by an action, or the one of `of_event_type_id`, and type 0: any event that is
not automatic. Days are UTC; the period is from `first_day` until `end_day` (exclusive), the one before it begins with
`previous_day`. `people`: in the period; `earlier_people`: on any day before it; `observed_people`: in the period
until `observed_day`; `returned_people`: in the period, and again at least `return_days` days later;
`previous_people`: in the period before. `earlier_people` may have bits of people who do not count. `days`: the days
of the period that count. `oldest_day` and `latest_day`: of all days before `end_day`.
`by_kind`: by kind of item, type 0 without kinds, and nothing before `previous_day`.
`of_blocks`, `of_people`: people who are not excluded, one bit per person; null: all of them, of whom only counted ones
with a `smallest_group`. With one, small days are left out as in `analytics._trend_of_groups`, in each of the periods
by itself, and so are days on which the other counted people are few.
$$;

grant execute on function analytics._feature_people(
  int, boolean, date, date, date, date, int, int[], bit[], int
) to insights_reader;
--! EndIncluded analytics/functions/_feature_people.sql

--! Included analytics/functions/feature_usage.sql
create or replace function analytics._feature_usage_of(
  of_event_type_id int,
  by_kind boolean,
  first_day date,
  end_day date,
  measure text,
  top int,
  blocks int[],
  people bit(4096)[],
  return_days int,
  with_median boolean,
  smallest_group int
)
returns setof analytics.used_feature
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
declare
  -- The period before, of the same length.
  v_previous_day constant date := first_day - least(end_day - first_day, first_day - '0001-01-01'::date);
  -- The last day of the period until now.
  v_last_day constant date := least(end_day, now()::date + 1) - 1;
begin
  return query
  with used as materialized (
    select kernel.*, coalesce(kernel.item_kind, '') as kind
    from analytics._feature_people(
      _feature_usage_of.of_event_type_id, _feature_usage_of.by_kind, _feature_usage_of.first_day,
      _feature_usage_of.end_day, v_previous_day, v_last_day - _feature_usage_of.return_days,
      _feature_usage_of.return_days, _feature_usage_of.blocks, _feature_usage_of.people,
      _feature_usage_of.smallest_group
    ) as kernel
  ),

  by_feature as (
    select
      used.event_type_id, used.kind,
      sum(bit_count(used.people))::bigint as people,
      sum(bit_count(used.people & ~used.earlier_people))::bigint as new_people,
      sum(bit_count(used.observed_people))::bigint as observed_people,
      sum(bit_count(used.returned_people))::bigint as returned_people,
      sum(bit_count(used.previous_people))::bigint as previous_people,
      sum(used.person_days)::float8 as person_days,
      sum(used.event_count)::float8 as event_count,
      sum(used.previous_event_count)::float8 as previous_event_count,
      min(used.oldest_day) as first_day,
      max(used.latest_day) as last_day
    from used
    group by used.event_type_id, used.kind
  ),

  middle as (
    select
      by_person.event_type_id, by_person.kind,
      percentile_cont(0.5) within group (order by by_person.event_count::float8) as median_events,
      avg(by_person.event_count)::float8 as mean_events
    from (
      select
        activity.event_type_id, described.kind, activity.person_id, sum(activity.event_count) as event_count
      from track.activity_of(
        case
          when _feature_usage_of.blocks is null
            then analytics._people_among(null, _feature_usage_of.smallest_group)
          else analytics._people_of(_feature_usage_of.blocks, _feature_usage_of.people)
        end,
        _feature_usage_of.first_day, _feature_usage_of.end_day
      ) as activity
      left join track.item on item.item_id = activity.item_id
      cross join lateral (
        select case when _feature_usage_of.by_kind then coalesce(item.kind, '') else '' end as kind
      ) as described
      join (
        select distinct used.event_type_id, used.kind, day
        from used
        cross join lateral unnest(used.days) as day
      ) as kept
        on kept.event_type_id = activity.event_type_id
        and kept.kind = described.kind
        and kept.day = activity.day
      where _feature_usage_of.with_median
        and activity.event_count > 0
      group by activity.event_type_id, described.kind, activity.person_id
    ) as by_person
    group by by_person.event_type_id, by_person.kind
  ),

  shown as (
    select
      by_feature.event_type_id, by_feature.kind,
      analytics._shown(by_feature.event_count, by_feature.people, _feature_usage_of.smallest_group)::bigint
        as event_count,
      analytics._shown(by_feature.people, by_feature.people, _feature_usage_of.smallest_group)::bigint as person_count,
      analytics._shown(by_feature.person_days, by_feature.people, _feature_usage_of.smallest_group)
        as person_days,
      analytics._shown_mean(
        middle.median_events, by_feature.people, _feature_usage_of.smallest_group, middle.mean_events
      ) as median_events,
      case
        when not _feature_usage_of.by_kind
          then analytics._shown(by_feature.new_people, by_feature.new_people, _feature_usage_of.smallest_group)::bigint
      end as new_person_count,
      analytics._shown(
        by_feature.observed_people, by_feature.observed_people, _feature_usage_of.smallest_group
      )::bigint as observed_person_count,
      analytics._shown(
        by_feature.returned_people, by_feature.returned_people, _feature_usage_of.smallest_group
      )::bigint as returned_person_count,
      analytics._shown(
        by_feature.previous_event_count, by_feature.previous_people, _feature_usage_of.smallest_group
      )::bigint as previous_event_count,
      analytics._shown(
        by_feature.previous_people, by_feature.previous_people, _feature_usage_of.smallest_group
      )::bigint as previous_person_count,
      case when not _feature_usage_of.by_kind then by_feature.first_day end as first_day,
      by_feature.last_day
    from by_feature
    left join middle using (event_type_id, kind)
  ),

  -- Rates and means are computed from the numbers as shown, and the order from these.
  computed as (
    select
      event_type.name as event,
      nullif(shown.kind, '') as item_kind,
      shown.event_count,
      shown.person_count,
      coalesce(active.person_count, 0) as active_person_count,
      least(1, shown.person_count::float8 / nullif(active.person_count, 0)) as adoption_rate,
      shown.new_person_count,
      shown.event_count::float8 / nullif(shown.person_count, 0) as events_per_person,
      shown.median_events,
      shown.person_days / nullif(shown.person_count, 0) as days_per_person,
      shown.observed_person_count,
      shown.returned_person_count,
      shown.returned_person_count::float8 / nullif(shown.observed_person_count, 0) as return_rate,
      shown.previous_event_count,
      shown.previous_person_count,
      shown.event_count::float8 / nullif(shown.previous_event_count, 0) - 1 as event_growth,
      shown.person_count::float8 / nullif(shown.previous_person_count, 0) - 1 as person_growth,
      shown.first_day,
      shown.last_day
    from shown
    join track.event_type on event_type.event_type_id = shown.event_type_id
    left join shown as active on active.event_type_id = 0
    where shown.event_count > 0
      or shown.person_count > 0
      or shown.previous_event_count > 0
      or shown.previous_person_count > 0
  )

  select
    (row_number() over by_score)::int,
    computed.*,
    null::text,
    false
  from computed
  cross join lateral (
    select case _feature_usage_of.measure
      when 'people' then computed.person_count
      when 'events' then computed.event_count
      when 'days' then computed.days_per_person
      when 'new' then computed.new_person_count
      when 'return' then computed.return_rate
      when 'growth' then computed.person_growth
    end as score
  ) as by_measure
  window by_score as (
    order by
      by_measure.score desc nulls last, computed.person_count desc, computed.event_count desc, computed.event,
      computed.item_kind nulls first
  )
  order by 1
  limit _feature_usage_of.top;
end;
$$;

comment on function analytics._feature_usage_of(
  int, boolean, date, date, text, int, int[], bit[], int, boolean, int
) is $$
Returns how some people use each feature, with the privileges of the caller: see `analytics.feature_usage`.
`of_event_type_id`: only this event type; null: all. `by_kind`: by kind of the item. `end_day` is exclusive.
`blocks`, `people`: people who are not excluded, one bit per person; null: all of them.
`smallest_group`: figures of groups of counted people (see `analytics._shown`); null: exact figures of all people.
$$;

grant execute on function analytics._feature_usage_of(
  int, boolean, date, date, text, int, int[], bit[], int, boolean, int
) to insights_reader;

create or replace function analytics._feature_usage(
  event_name text,
  breakdown text,
  since timestamptz,
  until timestamptz,
  measure text,
  top int,
  among text,
  return_days int,
  with_median boolean,
  top_values int,
  smallest_group int
)
returns setof analytics.used_feature
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
declare
  v_event_type_id constant int := nullif(analytics._event_type_id(_feature_usage.event_name), 0);
  -- Whole days, so that two periods differ by a day at least.
  v_bounds constant timestamptz[] := analytics._bounds('day', _feature_usage.since, _feature_usage.until, 'UTC');
  v_blocks int[];
  v_people bit(4096)[];
begin
  if _feature_usage.breakdown !~ '^(kind$|set\.|trait\.)' then
    perform common.refuse(
      'CF001',
      format('breakdown is "%s"', left(_feature_usage.breakdown, 100)),
      'Use kind (of the item of the event), set.<family or name of sets of people> or trait.<name>.'
    );
  end if;
  if _feature_usage.measure is null
    or _feature_usage.measure not in ('people', 'events', 'days', 'new', 'return', 'growth')
  then
    perform common.refuse('CF001', format('measure is "%s"', left(_feature_usage.measure, 100)),
      'Use people, events, days (days per person), new (new people), return (return rate) or growth (of people).');
  end if;
  perform common.check_count('top', _feature_usage.top, 1, 10000);
  perform common.check_count('return_days', _feature_usage.return_days, 1, 366);
  if _feature_usage.with_median is null then
    perform common.refuse('CF001', 'with_median is null', 'Use true or false.');
  end if;
  if among is not null or breakdown <> 'kind' then
    select array_agg(member.block), array_agg(member.people) into v_blocks, v_people
    from analytics._members(_feature_usage.among, _feature_usage.smallest_group) as member;
  end if;

  return query
  select
    feature.rank, feature.event, feature.item_kind, feature.event_count, feature.person_count,
    feature.active_person_count, feature.adoption_rate, feature.new_person_count, feature.events_per_person,
    feature.median_events, feature.days_per_person, feature.observed_person_count, feature.returned_person_count,
    feature.return_rate, feature.previous_event_count, feature.previous_person_count, feature.event_growth,
    feature.person_growth, feature.first_day, feature.last_day, part.value, part.is_other
  from analytics._people_groups(
    nullif(_feature_usage.breakdown, 'kind'), _feature_usage.top_values, _feature_usage.smallest_group, v_blocks,
    v_people
  ) as part
  cross join lateral analytics._feature_usage_of(
    v_event_type_id, coalesce(_feature_usage.breakdown = 'kind', false), v_bounds[1]::date,
    v_bounds[cardinality(v_bounds)]::date, _feature_usage.measure, _feature_usage.top, part.blocks, part.people,
    _feature_usage.return_days, _feature_usage.with_median, _feature_usage.smallest_group
  ) as feature
  order by part.is_other, part.value is null, part.value, feature.rank;
end;
$$;

comment on function analytics._feature_usage(
  text, text, timestamptz, timestamptz, text, int, text, int, boolean, int, int
) is $$
Computes the result of `analytics.feature_usage`, with the privileges of the caller.
`smallest_group`: figures of groups of counted people (see `analytics._shown`); null: exact figures of all people.
$$;

grant execute on function analytics._feature_usage(
  text, text, timestamptz, timestamptz, text, int, text, int, boolean, int, int
) to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._feature_usage_exact(
  event_name text,
  breakdown text,
  since timestamptz,
  until timestamptz,
  measure text,
  top int,
  among text,
  return_days int,
  with_median boolean,
  top_values int
)
returns setof analytics.used_feature
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select *
  from analytics._feature_usage(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, null
  );
$$;

alter function analytics._feature_usage_exact(
  text, text, timestamptz, timestamptz, text, int, text, int, boolean, int
) owner to insights_reader;

comment on function analytics._feature_usage_exact(
  text, text, timestamptz, timestamptz, text, int, text, int, boolean, int
) is $$
Returns the result of `analytics.feature_usage` with exact figures of all people, for admins and workers.
$$;

grant execute on function analytics._feature_usage_exact(
  text, text, timestamptz, timestamptz, text, int, text, int, boolean, int
) to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._feature_usage_shown(
  event_name text,
  breakdown text,
  since timestamptz,
  until timestamptz,
  measure text,
  top int,
  among text,
  return_days int,
  with_median boolean,
  top_values int
)
returns setof analytics.used_feature
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select *
  from analytics._feature_usage(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._feature_usage_shown(
  text, text, timestamptz, timestamptz, text, int, text, int, boolean, int
) owner to insights_reader;

comment on function analytics._feature_usage_shown(
  text, text, timestamptz, timestamptz, text, int, text, int, boolean, int
) is $$
Returns the result of `analytics.feature_usage` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._feature_usage_shown(
  text, text, timestamptz, timestamptz, text, int, text, int, boolean, int
) to insights_analyst;

create or replace function analytics.feature_usage(
  event_name text default null,
  breakdown text default null,
  since timestamptz default (now() at time zone 'UTC' - interval '27 days') at time zone 'UTC',
  until timestamptz default now(),
  measure text default 'people',
  top int default 50,
  among text default null,
  return_days int default 7,
  with_median boolean default false,
  top_values int default 10
)
returns setof analytics.used_feature
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._feature_usage_exact(text, text, timestamptz, timestamptz, text, int, text, int, boolean, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._feature_usage_exact(
      feature_usage.event_name, feature_usage.breakdown, feature_usage.since, feature_usage.until,
      feature_usage.measure, feature_usage.top, feature_usage.among, feature_usage.return_days,
      feature_usage.with_median, feature_usage.top_values
    );
  else
    return query
    select *
    from analytics._feature_usage_shown(
      feature_usage.event_name, feature_usage.breakdown, feature_usage.since, feature_usage.until,
      feature_usage.measure, feature_usage.top, feature_usage.among, feature_usage.return_days,
      feature_usage.with_median, feature_usage.top_values
    );
  end if;
end;
$$;

comment on function analytics.feature_usage(
  text, text, timestamptz, timestamptz, text, int, text, int, boolean, int
) is $$
Returns how each feature is used between two times (`until` exclusive): how often, by whom, how deeply, its adoption.
Features are event types, without heartbeats, automatic events and those of the purpose `service`; with `event_name`,
this event type, whatever it is. `breakdown` = `kind`: actions, which are event types by kind of the item (a page that
is viewed and a course that is viewed); null as a kind: events without an item. `breakdown` = `set.<family>` or
`trait.<name>`, as of now: the result for the people of each value, of at most `top_values`; the others have `is_other`,
and ranks and active people are those within the value. Features that were used neither in the
period nor in the one before it are not listed.
- How often and by whom: events, distinct people, and the share of the active people (those with any event that is not
  automatic) who used the feature: `adoption_rate`.
- How deeply: events per person, days per person, and with `with_median` the median of the events per person.
- Adoption: `new_person_count` are the people who never used the feature before the period.
- Return: of the people who used it at least `return_days` days before the end of the period (or now), those who used it
  again `return_days` days or more after their first use in the period: `return_rate`. Later users are left out, because
  they could not return yet.
- Trend: the period before, of the same length, and the growth since then (0.5: half as much again).
- `first_day` and `last_day`: days of the first and the last use before `until`.
`measure` decides the order: `people`, `events`, `days` (per person), `new`, `return` (rate) or `growth` (of people).
The period is extended to whole days, UTC. `among`: only people in an expression of sets of people.
People are read from the bits of `track.presence`, those of all earlier days too, and include every event that was
stored when the function was called. `among`, `breakdown` and `with_median` read the journeys of the period and of the
one before it, which takes longer; with `breakdown` = `kind`, new people and the first day are null, and the last day is
one of these periods.
For admins and workers, figures are exact and include anonymous browsers, as those of `analytics.trend`. Analysts see
figures of counted people: the days on which fewer than `analytics.setting.smallest_group` of them used a feature count
with the other small days of their week (from Monday), where a period contains the whole week and they have at least as
many people together, and otherwise not, as use before the period neither; with `among` or a breakdown by people, days
on which the others are few do not count; numbers are rounded by `analytics._shown`, each by itself; rates, means and
the order are computed from what is shown.
Errors: CF001 for an invalid argument, CF002 for an unknown event or set (with the nearest name), CF008 for more
than 10,000 days.
$$;

grant execute on function analytics.feature_usage(
  text, text, timestamptz, timestamptz, text, int, text, int, boolean, int
) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/functions/feature_usage.sql

--! Included analytics/cohorts/cohort_people.sql
/* A definer owned by insights_reader: it returns people, and is granted to roles that may read them. */
create or replace function analytics.cohort_people(name text, among text default null)
returns setof analytics.cohort_person
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_set constant text := case
    when starts_with(cohort_people.name, 'cluster.') then cohort_people.name
    else analytics._cohort_set(cohort_people.name)
  end;
  v_among constant bigint[] := case
    when cohort_people.among is not null then analytics._people_among(cohort_people.among, null)
  end;
  v_people analytics.cohort_person[];
begin
  perform analytics._check_sets(array[analytics._cohort_set(cohort_people.name)]);
  v_people := array(
    select row(member.person_id, named.external_id)::analytics.cohort_person
    from (
      select members.block::bigint * 4096 + place as person_id
      from track.person_set_blocks(v_set) as members
      left join track.person_set_blocks('excluded') as excluded on excluded.block = members.block
      cross join generate_series(0, 4095) as place
      where get_bit(members.people, place) = 1
        and coalesce(get_bit(excluded.people, place), 0) = 0
    ) as member
    left join lateral (
      select identity.external_id
      from track.identity
      where identity.person_id = member.person_id
      order by identity.kind = 'user' desc, identity.identity_id
      limit 1
    ) as named on true
    where v_among is null
      or member.person_id = any (v_among)
    order by member.person_id
  );
  perform privacy.record_disclosure(
    array(select listed.person_id from unnest(v_people) as listed), 'analytics.cohort_people'
  );
  return query
  select listed.*
  from unnest(v_people) as listed;
end;
$$;

alter function analytics.cohort_people(text, text) owner to insights_reader;

comment on function analytics.cohort_people(text, text) is $$
@behavior -mutationField +queryField
Returns the people of a cohort, segment or cluster (`beta`, `segment.power`, `cluster.night`), as of now.
Without excluded ones.
`among`: only those who are also in an expression of sets, such as `shareable` (`privacy.may_share`).
Errors: CF002 for an unknown cohort (names the nearest) or set, CF001 for an invalid `among`, CF010 for a live cohort of
variations whose people were deleted by retention.
These reads are logged in `privacy.disclosure`, not those of workers; CF005 in a read-only transaction.
$$;

grant execute on function analytics.cohort_people(text, text) to insights_admin, insights_worker;
--! EndIncluded analytics/cohorts/cohort_people.sql

--! Included analytics/cohorts/_rfm.sql
/*
 * Numbers of days as bit slices (`analytics._bit_counts`). The position of the last active day of a person is the
 * number of days on which, or after which, she is active.
 */
create or replace function analytics._rfm(
  since timestamptz, until timestamptz, among text, breakdown text, top_values int, smallest_group int
)
returns table (
  value text,
  is_other boolean,
  person_id bigint,
  recency_days int,
  active_days int,
  engaged interval,
  recency_score int,
  frequency_score int,
  engaged_score int,
  cell text
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
-- The best plan depends on the period.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_bounds timestamptz[];
  v_since timestamptz;
  v_until timestamptz;
  v_days int;
begin
  v_bounds := analytics._bounds('day', _rfm.since, _rfm.until, 'UTC');
  v_days := cardinality(v_bounds) - 1;
  if v_days > 1100 then
    perform common.refuse('CF008', format('the period has %s days', v_days), 'It can have 1,100 days at most.');
  end if;
  v_since := v_bounds[1];
  v_until := v_bounds[v_days + 1];

  return query
  with among as materialized (
    select members.block, members.people
    from analytics._among(_rfm.among, _rfm.smallest_group) as members
  ),

  present as materialized (
    select present.bucket, present.block, present.people & among.people as people
    from analytics._presence(0, v_bounds) as present
    join among on among.block = present.block
  ),

  counted as materialized (
    select
      day.block,
      bit_or(day.people) as people,
      analytics._bit_counts(day.people) as active,
      analytics._bit_counts(day.until_last) as last
    from (
      select
        grid.block, grid.bucket, coalesce(present.people, v_no_people) as people,
        bit_or(coalesce(present.people, v_no_people)) over (partition by grid.block order by grid.bucket desc)
          as until_last
      from (
        select distinct_block.block, bucket
        from (select distinct present.block from present) as distinct_block
        cross join generate_series(1, v_days) as bucket
      ) as grid
      left join present on present.block = grid.block and present.bucket = grid.bucket
    ) as day
    group by day.block
  ),

  -- The values of the people who are active in the period.
  part as materialized (
    select part.value, part.is_other, entry.block, entry.people
    from (
      select array_agg(counted.block) as blocks, array_agg(counted.people) as people from counted
    ) as listed
    cross join lateral analytics._people_groups(
      _rfm.breakdown, _rfm.top_values, _rfm.smallest_group, listed.blocks, listed.people
    ) as part
    cross join lateral unnest(part.blocks, part.people) as entry (block, people)
  ),

  active as materialized (
    select
      part.value, part.is_other, part.block::bigint * 4096 + place as person_id,
      analytics._bit_number(counted.active, place) as active_days,
      analytics._bit_number(counted.last, place) as last_day
    from part
    join counted on counted.block = part.block
    cross join generate_series(0, 4095) as place
    where get_bit(part.people, place) = 1
  ),

  used as (
    select session.person_id, sum(session.engaged) as engaged
    from track.session
    where session.started_at >= v_since
      and session.started_at < v_until
    group by session.person_id
  ),

  ranked as (
    select
      active.value, active.is_other, active.person_id,
      v_days - active.last_day as recency_days,
      active.active_days,
      coalesce(used.engaged, '0') as engaged,
      (5 * (rank() over by_last_day - 1) / count(*) over of_value)::int + 1 as recency_score,
      (5 * (rank() over by_active_days - 1) / count(*) over of_value)::int + 1 as frequency_score,
      (5 * (rank() over by_engaged - 1) / count(*) over of_value)::int + 1 as engaged_score
    from active
    left join used on used.person_id = active.person_id
    window
      of_value as (partition by active.is_other, active.value),
      by_last_day as (of_value order by active.last_day),
      by_active_days as (of_value order by active.active_days),
      by_engaged as (of_value order by coalesce(used.engaged, '0'))
  )

  select
    ranked.value, ranked.is_other, ranked.person_id, ranked.recency_days, ranked.active_days, ranked.engaged,
    ranked.recency_score, ranked.frequency_score, ranked.engaged_score,
    analytics._rfm_cell(ranked.recency_score, (ranked.frequency_score + ranked.engaged_score + 1) / 2)
  from ranked;
end;
$$;

comment on function analytics._rfm(timestamptz, timestamptz, text, text, int, int) is $$
Returns the people who are active in a period with recency, frequency and engaged time: see `analytics.rfm`.
Scores are those among the people of the value of `breakdown` (`analytics._people_groups`). `smallest_group`: counted
people, and sets as analysts see them; null: all who are not excluded.
$$;

grant execute on function analytics._rfm(timestamptz, timestamptz, text, text, int, int) to insights_reader;
--! EndIncluded analytics/cohorts/_rfm.sql

--! Included analytics/cohorts/rfm.sql
create or replace function analytics._rfm_cells(
  since timestamptz, until timestamptz, among text, breakdown text, top_values int, smallest_group int
)
returns setof analytics.rfm_cell
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  with cell as (
    select
      scored.value,
      scored.is_other,
      scored.cell,
      count(*) as person_count,
      avg(scored.recency_days)::float8 as recency_days,
      avg(scored.active_days)::float8 as active_days,
      avg(extract(epoch from scored.engaged))::float8 as engaged
    from analytics._rfm(
      _rfm_cells.since, _rfm_cells.until, _rfm_cells.among, _rfm_cells.breakdown, _rfm_cells.top_values,
      _rfm_cells.smallest_group
    ) as scored
    group by scored.value, scored.is_other, scored.cell
    having count(*) >= coalesce(_rfm_cells.smallest_group, 1)
  ),

  shown as (
    select
      cell.value,
      cell.is_other,
      cell.cell,
      analytics._shown(cell.person_count, cell.person_count, _rfm_cells.smallest_group)::bigint as person_count,
      analytics._shown_mean(cell.recency_days, cell.person_count, _rfm_cells.smallest_group) as recency_days,
      analytics._shown_mean(cell.active_days, cell.person_count, _rfm_cells.smallest_group) as active_days,
      analytics._shown_mean(cell.engaged, cell.person_count, _rfm_cells.smallest_group) as engaged
    from cell
  )

  select
    shown.cell,
    shown.person_count,
    shown.person_count / sum(shown.person_count) over (partition by shown.is_other, shown.value)::float8,
    shown.recency_days,
    shown.active_days,
    shown.engaged * interval '1 second',
    shown.value,
    shown.is_other
  from shown
  order by shown.is_other, shown.value is null, shown.value, shown.person_count desc, shown.cell;
end;
$$;

comment on function analytics._rfm_cells(timestamptz, timestamptz, text, text, int, int) is $$
Computes the result of `analytics.rfm`, with the privileges of the caller.
`smallest_group`: figures of groups of counted people (see `analytics._shown`); null: exact figures.
$$;

grant execute on function analytics._rfm_cells(timestamptz, timestamptz, text, text, int, int) to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._rfm_exact(
  since timestamptz,
  until timestamptz,
  among text,
  breakdown text,
  top_values int
)
returns setof analytics.rfm_cell
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select *
  from analytics._rfm_cells(
    $1, $2, $3, $4, $5, null
  );
$$;

alter function analytics._rfm_exact(timestamptz, timestamptz, text, text, int) owner to insights_reader;

comment on function analytics._rfm_exact(timestamptz, timestamptz, text, text, int) is $$
Returns the result of `analytics.rfm` with exact figures, for admins and workers.
$$;

grant execute on function analytics._rfm_exact(
  timestamptz, timestamptz, text, text, int
) to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._rfm_shown(
  since timestamptz,
  until timestamptz,
  among text,
  breakdown text,
  top_values int
)
returns setof analytics.rfm_cell
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select *
  from analytics._rfm_cells(
    $1, $2, $3, $4, $5, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._rfm_shown(timestamptz, timestamptz, text, text, int) owner to insights_reader;

comment on function analytics._rfm_shown(timestamptz, timestamptz, text, text, int) is $$
Returns the result of `analytics.rfm` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._rfm_shown(timestamptz, timestamptz, text, text, int) to insights_analyst;

create or replace function analytics.rfm(
  since timestamptz default (now() at time zone 'UTC' - interval '90 days') at time zone 'UTC',
  until timestamptz default now(),
  among text default null,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.rfm_cell
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege('analytics._rfm_exact(timestamptz, timestamptz, text, text, int)', 'execute') then
    return query
    select *
    from analytics._rfm_exact(
      rfm.since, rfm.until, rfm.among, rfm.breakdown, rfm.top_values
    );
  else
    return query
    select *
    from analytics._rfm_shown(
      rfm.since, rfm.until, rfm.among, rfm.breakdown, rfm.top_values
    );
  end if;
end;
$$;

comment on function analytics.rfm(timestamptz, timestamptz, text, text, int) is $$
Returns the cells of an RFM analysis: the people who are active in a period by recency, frequency and engaged time.
Recency: days from the last active day to the last day of the period. Frequency: active days (UTC, with an event that is
not automatic). Monetary value: engaged time of the sessions that began in the period, as of their last refresh.
Each is scored by quintiles: 1 + floor(5 × share of people with a lower value), so that people with equal values have
equal scores (a score can therefore have more or fewer people than a fifth). `cell`: by the score of recency and the
mean of the other two scores, rounded up, in the ten cells of the guide of CleverTap to RFM analysis: `champions`,
`loyal`, `potential_loyal`, `new`, `promising`, `need_attention`, `about_to_sleep`, `at_risk`, `cannot_lose` and
`hibernating`. Scores by quintiles are those of A. M. Hughes, Strategic Database Marketing (1994).
The period is extended to whole days (UTC). `among`: an expression of sets, such as `segment.power & ~cohort.beta`.
`breakdown`: `set.<family>` or `trait.<name>`, as of now: the result for the people of each value, of at most
`top_values`; the others have `is_other`. Scores and shares are those among the people of the value.
For admins and workers, figures are exact, of people who are not excluded. Analysts see figures of counted people,
rounded by `analytics._shown` and `analytics._shown_mean`; cells of too few people are absent.
Errors: CF001 for an invalid period or `among`, CF002 for an unknown set, CF008 for more than 1,100 days.
$$;

grant execute on function analytics.rfm(timestamptz, timestamptz, text, text, int)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/cohorts/rfm.sql

--! Included analytics/cohorts/person_rfm.sql
/* A definer owned by insights_reader: it returns people, and is granted to roles that may read them. */
create or replace function analytics.person_rfm(
  since timestamptz default (now() at time zone 'UTC' - interval '90 days') at time zone 'UTC',
  until timestamptz default now(),
  among text default null,
  cell text default null
)
returns setof analytics.person_rfm
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_by_default constant boolean := (
    select purpose.basis <> 'consent'
    from privacy.purpose
    where purpose.purpose = 'analytics'
  );
  v_people analytics.person_rfm[];
begin
  if person_rfm.cell not in (
    select analytics._rfm_cell(recency, value)
    from generate_series(1, 5) as recency
    cross join generate_series(1, 5) as value
  ) then
    perform common.refuse(
      'CF002',
      format('there is no cell "%s"', left(person_rfm.cell, 100)),
      'The cells are those that analytics.rfm returns, such as champions.'
    );
  end if;
  v_people := array(
    select row(
      scored.person_id, named.external_id, scored.recency_days, scored.active_days, scored.engaged,
      scored.recency_score, scored.frequency_score, scored.engaged_score, scored.cell
    )::analytics.person_rfm
    from analytics._rfm(person_rfm.since, person_rfm.until, person_rfm.among, null, 10, null) as scored
    left join lateral (
      select identity.external_id
      from track.identity
      where identity.person_id = scored.person_id
      order by identity.kind = 'user' desc, identity.identity_id
      limit 1
    ) as named on true
    where scored.cell = coalesce(person_rfm.cell, scored.cell)
      -- With the default "allowed", the decisions that matter are opt-outs; with the default "not allowed", grants.
      and v_by_default <> (
        scored.person_id in (
          select decision.person_id
          from privacy.latest_decisions('analytics') as decision
          where decision.granted <> v_by_default
        )
      )
    order by scored.person_id
  );
  perform privacy.record_disclosure(
    array(select listed.person_id from unnest(v_people) as listed), 'analytics.person_rfm'
  );
  return query
  select listed.*
  from unnest(v_people) as listed;
end;
$$;

alter function analytics.person_rfm(timestamptz, timestamptz, text, text) owner to insights_reader;

comment on function analytics.person_rfm(timestamptz, timestamptz, text, text) is $$
@behavior -mutationField +queryField
Returns the people of an RFM analysis with their values and scores: see `analytics.rfm`.
`cell`: only this cell; the scores are those among all people of the analysis. Of people who are not
excluded, and have not opted out of `analytics`.
Errors: CF001 for an invalid period or `among`, CF002 for an unknown set or cell, CF008 for more than 1,100 days.
These reads are logged in `privacy.disclosure`, not those of workers; CF005 in a read-only transaction.
$$;

grant execute on function analytics.person_rfm(timestamptz, timestamptz, text, text)
to insights_admin, insights_worker;
--! EndIncluded analytics/cohorts/person_rfm.sql

--! Included analytics/funnels/funnel_times.sql
create or replace function analytics._funnel_times(
  steps jsonb,
  since timestamptz,
  until timestamptz,
  step_order text,
  conversion_window interval,
  exclusions jsonb,
  from_step int,
  to_step int,
  bins int,
  item text,
  among text,
  breakdown text,
  attribution text,
  top_values int,
  smallest_group int
)
returns setof analytics.funnel_time
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set work_mem to '64MB'
as $$
declare
  v_filters constant analytics.step_filter[] := analytics._funnel_steps(
    _funnel_times.steps, _funnel_times.exclusions, _funnel_times.step_order, _funnel_times.item
  );
  v_to_step constant int := analytics._last_step(v_filters, _funnel_times.from_step, _funnel_times.to_step);
  v_days constant timestamptz[] := analytics._bounds('day', _funnel_times.since, _funnel_times.until, 'UTC');
  v_widths constant float8[] := array[
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 2 * 86400, 7 * 86400,
    14 * 86400, 28 * 86400, 91 * 86400, 365 * 86400
  ];
begin
  perform common.check_count('bins', _funnel_times.bins, 1, 1000);
  return query
  with converted as materialized (
    select
      attempt.value, attempt.is_other,
      extract(epoch from attempt.times[v_to_step] - attempt.times[_funnel_times.from_step])::float8 as seconds
    from analytics._attempts_by_value(
      v_filters, array[v_days[1], v_days[cardinality(v_days)]], _funnel_times.step_order,
      analytics._conversion_window(_funnel_times.conversion_window), _funnel_times.among, _funnel_times.breakdown,
      _funnel_times.attribution, _funnel_times.top_values, _funnel_times.smallest_group
    ) as attempt
    where attempt.times[v_to_step] is not null
  ),

  -- The bins of a value are those that its times need.
  scaled as (
    select part.value, part.is_other, fitting.width
    from (
      select
        converted.value, converted.is_other,
        percentile_cont(0.95) within group (order by converted.seconds) as most_seconds
      from converted
      group by converted.value, converted.is_other
      having count(*) >= coalesce(4.5 * nullif(_funnel_times.smallest_group, 1), 0)
    ) as part
    cross join lateral (
      select coalesce(min(known.width), v_widths[cardinality(v_widths)]) as width
      from unnest(v_widths) as known (width)
      where known.width * _funnel_times.bins > part.most_seconds
    ) as fitting
  ),

  counted as (
    select
      scaled.value, scaled.is_other, least(floor(converted.seconds / scaled.width), _funnel_times.bins)::int as bin,
      count(*) as person_count
    from scaled
    join converted
      on converted.value is not distinct from scaled.value
      and converted.is_other = scaled.is_other
    group by 1, 2, 3
  ),

  shown as (
    select
      scaled.value, scaled.is_other, scaled.width, listed.bin,
      coalesce(
        analytics._shown(counted.person_count, counted.person_count, _funnel_times.smallest_group), 0
      )::bigint as person_count
    from scaled
    cross join generate_series(0, _funnel_times.bins) as listed (bin)
    left join counted
      on counted.value is not distinct from scaled.value
      and counted.is_other = scaled.is_other
      and counted.bin = listed.bin
  ),

  placed as (
    select
      shown.*,
      max(shown.bin) filter (where shown.person_count > 0) over (partition by shown.is_other, shown.value) as last_bin
    from shown
  )

  select
    make_interval(secs => placed.bin * placed.width),
    case when placed.bin < _funnel_times.bins then make_interval(secs => (placed.bin + 1) * placed.width) end,
    placed.person_count,
    placed.value,
    placed.is_other
  from placed
  where placed.bin <= placed.last_bin
  order by placed.is_other, placed.value is null, placed.value, placed.bin;
end;
$$;

comment on function analytics._funnel_times(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, int, int, int, text, text, text, text, int, int
) is $$
Computes the result of `analytics.funnel_times`, with the privileges of the caller.
`smallest_group`: figures of groups of counted people (see `analytics._visible_periods` and `analytics._shown`);
null: exact figures of all people.
$$;

grant execute on function analytics._funnel_times(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, int, int, int, text, text, text, text, int, int
)
to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._funnel_times_exact(
  steps jsonb,
  since timestamptz,
  until timestamptz,
  step_order text,
  conversion_window interval,
  exclusions jsonb,
  from_step int,
  to_step int,
  bins int,
  item text,
  among text,
  breakdown text,
  attribution text,
  top_values int
)
returns setof analytics.funnel_time
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select *
  from analytics._funnel_times(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, null
  );
$$;

alter function analytics._funnel_times_exact(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, int, int, int, text, text, text, text, int
)
owner to insights_reader;

comment on function analytics._funnel_times_exact(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, int, int, int, text, text, text, text, int
) is $$
Returns the result of `analytics.funnel_times` with exact figures of all people, for admins and workers.
$$;

grant execute on function analytics._funnel_times_exact(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, int, int, int, text, text, text, text, int
)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._funnel_times_shown(
  steps jsonb,
  since timestamptz,
  until timestamptz,
  step_order text,
  conversion_window interval,
  exclusions jsonb,
  from_step int,
  to_step int,
  bins int,
  item text,
  among text,
  breakdown text,
  attribution text,
  top_values int
)
returns setof analytics.funnel_time
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select *
  from analytics._funnel_times(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._funnel_times_shown(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, int, int, int, text, text, text, text, int
)
owner to insights_reader;

comment on function analytics._funnel_times_shown(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, int, int, int, text, text, text, text, int
) is $$
Returns the result of `analytics.funnel_times` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._funnel_times_shown(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, int, int, int, text, text, text, text, int
)
to insights_analyst;

create or replace function analytics.funnel_times(
  steps jsonb,
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  step_order text default 'ordered',
  conversion_window interval default '14 days',
  exclusions jsonb default '[]',
  from_step int default 1,
  to_step int default null,
  bins int default 20,
  item text default null,
  among text default null,
  breakdown text default null,
  attribution text default 'first_touch',
  top_values int default 10
)
returns setof analytics.funnel_time
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._funnel_times_exact(jsonb, timestamptz, timestamptz, text, interval, jsonb, int, int, int, text, '
      || 'text, text, text, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._funnel_times_exact(
      funnel_times.steps, funnel_times.since, funnel_times.until, funnel_times.step_order,
      funnel_times.conversion_window, funnel_times.exclusions, funnel_times.from_step, funnel_times.to_step,
      funnel_times.bins, funnel_times.item, funnel_times.among, funnel_times.breakdown, funnel_times.attribution,
      funnel_times.top_values
    );
  else
    return query
    select *
    from analytics._funnel_times_shown(
      funnel_times.steps, funnel_times.since, funnel_times.until, funnel_times.step_order,
      funnel_times.conversion_window, funnel_times.exclusions, funnel_times.from_step, funnel_times.to_step,
      funnel_times.bins, funnel_times.item, funnel_times.among, funnel_times.breakdown, funnel_times.attribution,
      funnel_times.top_values
    );
  end if;
end;
$$;

comment on function analytics.funnel_times(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, int, int, int, text, text, text, text, int
) is $$
Returns how long people took from one step of a funnel to another: a histogram.
There is one row for each bin from 0 to the largest time, without empty ones at the end. All bins have the same width,
the smallest of a list (1, 2, 5, 10, 15, 30 seconds or minutes, 1, 2, 3, 6, 12 hours, 1, 2, 7, 14, 28, 91, 365 days)
with which 95 % of the people are in at most `bins` bins; the last bin has no end when there are longer times. Those of
a value of `breakdown` are the bins of its people alone.
`from_step`, `to_step` (null: the last step) are steps that are not optional. The other arguments are those of
`analytics.funnel`, and so are the rules. Analysts see numbers of people as there, from 23 people on (as a quartile).
Errors: as `analytics.funnel`, CF001 for steps in another order and for other numbers of bins than 1 to 1,000.
$$;

grant execute on function analytics.funnel_times(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, int, int, int, text, text, text, text, int
)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/funnels/funnel_times.sql

--! Included analytics/paths/_session_paths.sql
create or replace function analytics._session_paths(
  since timestamptz,
  until timestamptz,
  node_of int[],
  node_of_type int[],
  start_node int,
  end_node int,
  steps int,
  with_starts boolean,
  among text,
  compared_with text,
  smallest_group int
)
returns table (
  person_id bigint, started_at timestamptz, is_member boolean, is_compared boolean, nodes int[], starts bigint[]
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the period.
set plan_cache_mode to force_custom_plan
as $$
declare
  -- Of analysts, the periods in which each of the sets is a group; otherwise null.
  v_visible constant tstzmultirange := case
    when smallest_group is not null
      then analytics._visible_periods(0, null, _session_paths.among, array[since, until], _session_paths.smallest_group)
  end;
  v_compared_visible constant tstzmultirange := case
    when smallest_group is not null and compared_with is not null
      then analytics._visible_periods(
        0, null, _session_paths.compared_with, array[since, until], _session_paths.smallest_group
      )
  end;
  v_half constant int := _session_paths.steps / 2;
  v_blocks int[];
  v_people bit(4096)[];
  v_compared bit(4096)[];
begin
  -- Read first, so that an invalid argument is an error also when there are no sessions.
  select array_agg(member.block), array_agg(member.people), array_agg(compared.people)
  into v_blocks, v_people, v_compared
  from analytics._members(_session_paths.among, _session_paths.smallest_group) as member
  join analytics._members(_session_paths.compared_with, _session_paths.smallest_group) as compared
    on compared.block = member.block;

  return query
  with member as materialized (
    select
      entry.block, entry.people,
      case when _session_paths.compared_with is not null then entry.compared end as compared
    from unnest(v_blocks, v_people, v_compared) as entry (block, people, compared)
  ),

  -- Views of nodes.
  viewed as (
    select
      session.person_id, session.started_at,
      get_bit(member.people, (session.person_id % 4096)::int) <> 0
        and (v_visible is null or session.started_at <@ v_visible) as is_member,
      coalesce(
        get_bit(member.compared, (session.person_id % 4096)::int) <> 0
          and (v_compared_visible is null or session.started_at <@ v_compared_visible),
        false
      ) as is_compared,
      view.nodes, view.starts
    from track.session
    join member on member.block = session.person_id / 4096
    cross join lateral (
      select array_agg(viewed.node) as nodes, array_agg(viewed.start) filter (where with_starts) as starts
      from (
        select
          node_of[unnest(session.view_item_ids)] as node,
          unnest(case when with_starts then session.view_starts end) as start,
          unnest(session.view_continued) as is_continued
      ) as viewed
      where viewed.node > 0
        and viewed.is_continued is not true
    ) as view
    where node_of_type is null
      and session.started_at >= _session_paths.since
      and session.started_at < _session_paths.until
      and session.view_item_ids is not null
      and session.person_id <> 0
      and (v_visible is null or session.started_at <@ (v_visible + coalesce(v_compared_visible, '{}')))
  ),

  -- Events of nodes, from the journeys. Those of the same instant are in the order of their types.
  happened as (
    select
      session.person_id, session.started_at,
      get_bit(member.people, (session.person_id % 4096)::int) <> 0
        and (v_visible is null or session.started_at <@ v_visible) as is_member,
      coalesce(
        get_bit(member.compared, (session.person_id % 4096)::int) <> 0
          and (v_compared_visible is null or session.started_at <@ v_compared_visible),
        false
      ) as is_compared,
      place.nodes, place.starts
    from track.session
    cross join lateral (
      select
        array_agg(event.node order by event.at, event.event_type_id, event.node) as nodes,
        array_agg(
          (extract(epoch from event.at - session.started_at) * 1000000)::bigint
          order by event.at, event.event_type_id, event.node
        ) as starts
      from (
        select
          sliced.event_type_id, sliced.at,
          case when node_of_type[sliced.event_type_id] = -1 then node_of[sliced.item_id]
            else node_of_type[sliced.event_type_id]
          end as node
        from (
          select
            part.event_type_id,
            unnest(part.occurred_at[part.before + 1:part.until]) as at,
            unnest(part.item_ids[part.before + 1:part.until]) as item_id
          from (
            select
              step.event_type_id, step.occurred_at, step.item_ids,
              width_bucket(session.started_at - interval '1 microsecond', step.occurred_at) as before,
              width_bucket(session.ended_at, step.occurred_at) as until
            from track.step
            where step.person_id = session.person_id
              and not step.is_automatic
              and node_of_type[step.event_type_id] <> 0
          ) as part
        ) as sliced
      ) as event
      where event.node > 0
    ) as place
    join member on member.block = session.person_id / 4096
    where node_of_type is not null
      and session.started_at >= _session_paths.since
      and session.started_at < _session_paths.until
      and session.person_id <> 0
      and (v_visible is null or session.started_at <@ (v_visible + coalesce(v_compared_visible, '{}')))
  ),

  view as (
    select * from viewed
    union all
    select * from happened
  )

  select view.person_id, view.started_at, view.is_member, view.is_compared, cut.nodes, cut.starts
  from view
  -- The last of several equal ones in succession.
  cross join lateral (
    select array_agg(run.node) as nodes, array_agg(run.start) filter (where with_starts) as starts
    from (
      select unnest(view.nodes) as node, unnest(view.nodes[2:] || 0) as next, unnest(view.starts) as start
    ) as run
    where run.node <> run.next
  ) as path
  cross join lateral (
    select
      case when start_node is null then 1 else array_position(path.nodes, start_node) end as first_place
  ) as start
  cross join lateral (
    select
      case
        when start.first_place is null then null
        when end_node is null then cardinality(path.nodes)
        else array_position(path.nodes, end_node, start.first_place)
      end as last_place
  ) as stop
  cross join lateral (
    select
      case
        when stop.last_place - start.first_place < _session_paths.steps
          then path.nodes[start.first_place:stop.last_place]
        when end_node is null
          then path.nodes[start.first_place:start.first_place + _session_paths.steps - 1]
        when start_node is null then path.nodes[stop.last_place - _session_paths.steps + 1:stop.last_place]
        else path.nodes[start.first_place:start.first_place + v_half - 1] || -1
          || path.nodes[stop.last_place - v_half + 1:stop.last_place]
      end as nodes,
      case
        when stop.last_place - start.first_place < _session_paths.steps
          then path.starts[start.first_place:stop.last_place]
        when end_node is null
          then path.starts[start.first_place:start.first_place + _session_paths.steps - 1]
        when start_node is null then path.starts[stop.last_place - _session_paths.steps + 1:stop.last_place]
        else path.starts[start.first_place:start.first_place + v_half]
          || path.starts[stop.last_place - v_half + 1:stop.last_place]
      end as starts
  ) as cut
  where stop.last_place is not null
    and (view.is_member or view.is_compared);
end;
$$;

comment on function analytics._session_paths(
  timestamptz, timestamptz, int[], int[], int, int, int, boolean, text, text, int
) is $$
Returns the paths through the sessions that started in a period, with the privileges of the caller.
`node_of`: the number of the node of each item, by its key; 0: none. `node_of_type`: that of each event type, -1 for the
node of the item; null: nodes are page views. `start_node`: the path starts with the first such
node; `end_node`: it ends with the first one (after the start). At most `steps` nodes: the first ones, with an end the
last ones, and with both the first and the last half with -1 in place of those between. Equal nodes in succession are
one, that of the last view. `starts`: start of each view, in microseconds after that of the session; null unless
`with_starts`.
`started_at`: start of the session. `is_member`, `is_compared`: whether the person is one of `among` and of
`compared_with`. As of the last refresh of the sessions. `smallest_group`: counted people, in periods with enough of
them in each of the sets (`analytics._visible_periods`); null: all.
$$;

grant execute on function analytics._session_paths(
  timestamptz, timestamptz, int[], int[], int, int, int, boolean, text, text, int
)
to insights_reader;
--! EndIncluded analytics/paths/_session_paths.sql

--! Included analytics/paths/paths.sql
create or replace function analytics._paths(
  since timestamptz,
  until timestamptz,
  nodes text,
  start_at text,
  end_at text,
  steps int,
  wildcards text[],
  exclusions text[],
  among text,
  compared_with text,
  top int,
  breakdown text,
  top_values int,
  smallest_group int
)
returns setof analytics.path_edge
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set work_mem to '64MB'
as $$
declare
  v_days constant timestamptz[] := analytics._bounds('day', _paths.since, _paths.until, 'UTC');
  v_names text[];
  v_node_of int[];
  v_node_of_type int[];
  -- Of "..." in the order of the names.
  v_place_of_others float8;
  v_size bigint;
  -- Of the transitions of a step; there are fewer than 32 steps.
  v_steps_size bigint;
  -- Analysts see the values of each day.
  v_by_day constant boolean := analytics._is_by_day(_paths.breakdown, _paths.smallest_group);
  v_blocks int[];
  v_people bit(4096)[];
begin
  perform common.check_count('steps', _paths.steps, 2, 20);
  perform common.check_count('top', coalesce(_paths.top, 1), 1, 10000);
  if _paths.breakdown is not null and _paths.compared_with is not null then
    perform common.refuse(
      'CF001',
      'breakdown and compared_with are both given',
      'Give one of them: each value of a breakdown has its own rows, which can be compared.'
    );
  end if;
  select numbered.names, numbered.node_of, numbered.node_of_type into v_names, v_node_of, v_node_of_type
  from analytics._numbered_nodes(_paths.nodes, _paths.wildcards, _paths.exclusions) as numbered;
  v_size := cardinality(v_names) + 2;
  v_steps_size := 32 * v_size * v_size;
  v_place_of_others := 0.5 + (select count(*) from unnest(v_names) as name where name collate "C" < '...');

  select array_agg(member.block), array_agg(member.people) into v_blocks, v_people
  from analytics._members(_paths.among, _paths.smallest_group) as member;

  return query
  -- A transition is one number, which is grouped faster: its step, source and target, which is 0 at the end of a path.
  with moved as not materialized (
    select
      path.person_id, path.day, path.is_member, path.is_compared,
      (path.step * v_size + path.source + 1) * v_size + coalesce(path.target + 1, 1) as edge,
      (path.ended - path.started)::float8 as took
    from (
      select
        path.person_id, path.is_member, path.is_compared, generate_series(1::bigint, cardinality(path.nodes)) as step,
        case when v_by_day then width_bucket(path.started_at, v_days) else 0 end as day,
        unnest(path.nodes) as source, unnest(path.nodes[2:]) as target, unnest(path.starts) as started,
        unnest(path.starts[2:]) as ended
      from analytics._session_paths(
        v_days[1], v_days[cardinality(v_days)], v_node_of, v_node_of_type,
        analytics._node_number(v_names, _paths.start_at, 'start_at'),
        analytics._node_number(v_names, _paths.end_at, 'end_at'), _paths.steps, true, _paths.among,
        _paths.compared_with, _paths.smallest_group
      ) as path
    ) as path
  ),

  divided as materialized (
    select moved.* from moved where _paths.breakdown is not null
  ),

  used as materialized (
    select array_agg(listed.day) as days, array_agg(listed.person_id) as people
    from (select distinct divided.day, divided.person_id from divided where v_by_day) as listed
  ),

  part as materialized (
    select
      part.value, part.is_other, part.day, part.block, part.people,
      dense_rank() over (order by part.is_other, part.value is null, part.value) as number
    from used
    cross join lateral analytics._groups_of_use(
      _paths.breakdown, _paths.top_values, _paths.smallest_group, v_blocks, v_people, used.days, used.people
    ) as part
    where _paths.breakdown is not null
  ),

  -- The values of the people of each day, or of day 0.
  place as materialized (
    select person.person_id, person.day, part.number
    from (select distinct divided.person_id, divided.day from divided) as person
    join part
      on part.block = person.person_id / 4096
      and part.day = person.day
      and get_bit(part.people, (person.person_id % 4096)::int) <> 0
  ),

  -- The number of the value comes before the step.
  view as materialized (
    select moved.person_id, moved.is_member, moved.is_compared, moved.edge, moved.took
    from moved
    where _paths.breakdown is null

    union all

    select
      divided.person_id, divided.is_member, divided.is_compared, place.number * v_steps_size + divided.edge,
      divided.took
    from divided
    join place on place.person_id = divided.person_id and place.day = divided.day
  ),

  edge as materialized (
    select
      view.edge,
      (view.edge / v_steps_size)::int as part,
      (view.edge % v_steps_size / (v_size * v_size))::int as step,
      (view.edge / v_size % v_size - 1)::int as source,
      nullif(view.edge % v_size - 1, 0)::int as target,
      (count(*) filter (where view.is_member))::float8 as transition_count,
      (count(*) filter (where view.is_compared))::float8 as compared_count,
      sum(view.took) filter (where view.is_member) as took
    from view
    group by view.edge
  ),

  -- The people of exact figures are counted for these only.
  candidate as materialized (
    select ranked.*
    from (
      select
        edge.*,
        row_number() over (
          partition by edge.part
          order by
            greatest(edge.transition_count, edge.compared_count) desc, edge.step,
            case edge.source when -1 then v_place_of_others else edge.source end,
            case edge.target when -1 then v_place_of_others else edge.target end
        ) as rank
      from edge
      where edge.target is not null
    ) as ranked
    where _paths.smallest_group is not null
      or ranked.rank <= coalesce(_paths.top, ranked.rank)
  ),

  counted as (
    select
      by_person.edge,
      count(*) filter (where by_person.is_member) as person_count,
      count(*) filter (where by_person.is_compared) as compared_people
    from (
      select view.edge, view.person_id, bool_or(view.is_member) as is_member, bool_or(view.is_compared) as is_compared
      from view
      join candidate on candidate.edge = view.edge
      group by view.edge, view.person_id
    ) as by_person
    group by by_person.edge
  ),

  -- The paths at each node, also those that end there.
  node as (
    select
      edge.part, edge.step, edge.source, sum(edge.transition_count) as path_count,
      sum(edge.compared_count) as compared_count
    from edge
    group by edge.part, edge.step, edge.source
  ),

  shown as materialized (
    select
      candidate.part, candidate.step, candidate.source, candidate.target,
      candidate.took / nullif(candidate.transition_count, 0) as mean_microseconds, counted.person_count,
      counted.compared_people,
      analytics._shown(
        candidate.transition_count, counted.person_count, _paths.smallest_group
      )::bigint as transition_count,
      analytics._shown(
        candidate.compared_count, counted.compared_people, _paths.smallest_group
      )::bigint as compared_count
    from candidate
    join counted on counted.edge = candidate.edge
    where counted.person_count >= coalesce(_paths.smallest_group, 1)
      or counted.compared_people >= coalesce(_paths.smallest_group, 1)
  ),

  -- All other figures are those of these only. The nodes are numbered in the order of their names.
  largest as materialized (
    select ranked.*
    from (
      select
        shown.*,
        row_number() over (
          partition by shown.part
          order by
            greatest(shown.transition_count, shown.compared_count) desc, shown.step,
            case shown.source when -1 then v_place_of_others else shown.source end,
            case shown.target when -1 then v_place_of_others else shown.target end
        ) as rank
      from shown
    ) as ranked
    where ranked.rank <= coalesce(_paths.top, ranked.rank)
  ),

  related as (
    select
      largest.*,
      -- As precise as the number of transitions.
      analytics._shown(
        node.path_count, greatest(largest.person_count, largest.compared_people), _paths.smallest_group
      ) as path_count,
      analytics._shown(
        node.compared_count, greatest(largest.person_count, largest.compared_people), _paths.smallest_group
      ) as compared_path_count
    from largest
    join node on node.part = largest.part and node.step = largest.step and node.source = largest.source
  )

  select
    related.step,
    coalesce(v_names[related.source], '...'),
    coalesce(v_names[related.target], '...'),
    related.transition_count,
    analytics._shown(related.person_count, related.person_count, _paths.smallest_group)::bigint,
    -- least() ignores a null.
    case when related.path_count > 0 then least(related.transition_count / related.path_count, 1) end,
    analytics._shown_time(
      make_interval(secs => (related.mean_microseconds / 1000000)::float8), related.person_count,
      _paths.smallest_group
    ),
    case when _paths.compared_with is not null then related.compared_count end,
    case
      when _paths.compared_with is not null
        then analytics._shown(related.compared_people, related.compared_people, _paths.smallest_group)::bigint
    end,
    case
      when _paths.compared_with is not null and related.compared_path_count > 0
        then least(related.compared_count / related.compared_path_count, 1)
    end,
    part.value,
    coalesce(part.is_other, false)
  from related
  left join (select distinct part.number, part.value, part.is_other from part) as part on part.number = related.part
  order by related.part, related.rank;
end;
$$;

comment on function analytics._paths(
  timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int, text, int, int
) is $$
Computes the result of `analytics.paths`, with the privileges of the caller.
`smallest_group`: figures of groups of counted people (see `analytics._visible_periods` and `analytics._shown`);
null: exact figures of all people.
$$;

grant execute on function analytics._paths(
  timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int, text, int, int
)
to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._paths_exact(
  since timestamptz,
  until timestamptz,
  nodes text,
  start_at text,
  end_at text,
  steps int,
  wildcards text[],
  exclusions text[],
  among text,
  compared_with text,
  top int,
  breakdown text,
  top_values int
)
returns setof analytics.path_edge
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select *
  from analytics._paths(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, null
  );
$$;

alter function analytics._paths_exact(
  timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int, text, int
)
owner to insights_reader;

comment on function analytics._paths_exact(
  timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int, text, int
) is $$
Returns the result of `analytics.paths` with exact figures of all people, for admins and workers.
$$;

grant execute on function analytics._paths_exact(
  timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int, text, int
)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._paths_shown(
  since timestamptz,
  until timestamptz,
  nodes text,
  start_at text,
  end_at text,
  steps int,
  wildcards text[],
  exclusions text[],
  among text,
  compared_with text,
  top int,
  breakdown text,
  top_values int
)
returns setof analytics.path_edge
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select *
  from analytics._paths(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._paths_shown(
  timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int, text, int
)
owner to insights_reader;

comment on function analytics._paths_shown(
  timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int, text, int
) is $$
Returns the result of `analytics.paths` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._paths_shown(
  timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int, text, int
)
to insights_analyst;

create or replace function analytics.paths(
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  nodes text default 'item',
  start_at text default null,
  end_at text default null,
  steps int default 5,
  wildcards text[] default '{}',
  exclusions text[] default '{}',
  among text default null,
  compared_with text default null,
  top int default 50,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.path_edge
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._paths_exact(timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int, '
      || 'text, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._paths_exact(
      paths.since, paths.until, paths.nodes, paths.start_at, paths.end_at, paths.steps, paths.wildcards,
      paths.exclusions, paths.among, paths.compared_with, paths.top, paths.breakdown, paths.top_values
    );
  else
    return query
    select *
    from analytics._paths_shown(
      paths.since, paths.until, paths.nodes, paths.start_at, paths.end_at, paths.steps, paths.wildcards,
      paths.exclusions, paths.among, paths.compared_with, paths.top, paths.breakdown, paths.top_values
    );
  end if;
end;
$$;

comment on function analytics.paths(
  timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int, text, int
) is $$
Returns the most frequent transitions of paths through the sessions that started in a period, by step.
Step 1 is the first node of a path. `start_at`: paths start with the first view of this node; `end_at`: they end with
the first view of this one. Of longer paths, the first `steps` nodes are read; with `end_at` the last ones; and with
both the first and the last half, with the node "..." in place of those between. Sessions without these nodes are left
out. Rows are transitions from `source` to `target`, the most frequent `top` first; null: all. The rules are those of
PostHog. `nodes`: the pages that were viewed as `item`, their `kind`, or the `course` of which they are part; `event`:
the names of all events that are not automatic; `page_or_event`: the pages that were viewed and the names of other
events. `wildcards`: names in which `*` is any number of characters; all that match are one node of this name, that of
the first that matches. `exclusions`: such names, whose views are left out. Equal nodes in succession are one, that of
the last view. Views that continue from an earlier session, and those without a node, are left out.
`among`: people of these sets now; `compared_with`: figures of other sets beside them (a person can be in both).
`breakdown`: `set.<family>` or `trait.<name>`, as of now: the result for the people of each value, of at most
`top_values`, with the `top` transitions of each; for analysts, values of too few people on a day are in its rest.
For admins and workers, figures are exact and include anonymous browsers. Analysts see figures of counted people, of
days (UTC) on which at least `analytics.setting.smallest_group` of them are active, or of the small days of a week
together; what fewer people did is left out, and figures are rounded by `analytics._shown`. As of the last refresh of
the sessions. Errors: CF001 for an invalid argument, CF002 for an unknown node or set (names the nearest), CF008 for
more than 100 wildcards and exclusions.
$$;

grant execute on function analytics.paths(
  timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int, text, int
)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/paths/paths.sql

--! Included analytics/paths/sequences.sql
create or replace function analytics._sequences(
  since timestamptz,
  until timestamptz,
  nodes text,
  length int,
  wildcards text[],
  exclusions text[],
  among text,
  compared_with text,
  top int,
  breakdown text,
  top_values int,
  smallest_group int
)
returns setof analytics.path_sequence
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set work_mem to '64MB'
as $$
declare
  v_days constant timestamptz[] := analytics._bounds('day', _sequences.since, _sequences.until, 'UTC');
  v_names text[];
  v_node_of int[];
  v_node_of_type int[];
  -- Analysts see the values of each day.
  v_by_day constant boolean := analytics._is_by_day(_sequences.breakdown, _sequences.smallest_group);
  v_blocks int[];
  v_people bit(4096)[];
begin
  perform common.check_count('length', _sequences.length, 2, 10);
  perform common.check_count('top', coalesce(_sequences.top, 1), 1, 10000);
  if _sequences.breakdown is not null and _sequences.compared_with is not null then
    perform common.refuse(
      'CF001',
      'breakdown and compared_with are both given',
      'Give one of them: each value of a breakdown has its own rows, which can be compared.'
    );
  end if;
  select numbered.names, numbered.node_of, numbered.node_of_type into v_names, v_node_of, v_node_of_type
  from analytics._numbered_nodes(_sequences.nodes, _sequences.wildcards, _sequences.exclusions) as numbered;

  select array_agg(member.block), array_agg(member.people) into v_blocks, v_people
  from analytics._members(_sequences.among, _sequences.smallest_group) as member;

  return query
  with by_person as not materialized (
    select
      path.person_id,
      case when v_by_day then width_bucket(path.started_at, v_days) else 0 end as day,
      part.nodes,
      count(*) filter (where path.is_member) as times,
      count(*) filter (where path.is_compared) as compared_times
    from analytics._session_paths(
      v_days[1], v_days[cardinality(v_days)], v_node_of, v_node_of_type, null, null, 100000, false,
      _sequences.among, _sequences.compared_with, _sequences.smallest_group
    ) as path
    cross join lateral generate_series(1, cardinality(path.nodes) - _sequences.length + 1) as place (number)
    cross join lateral (select path.nodes[place.number:place.number + _sequences.length - 1] as nodes) as part
    group by 1, 2, 3
  ),

  divided as materialized (
    select by_person.* from by_person where _sequences.breakdown is not null
  ),

  used as materialized (
    select array_agg(listed.day) as days, array_agg(listed.person_id) as people
    from (select distinct divided.day, divided.person_id from divided where v_by_day) as listed
  ),

  -- The values of the people of each day, or of day 0.
  place as materialized (
    select person.person_id, person.day, part.value, part.is_other
    from used
    cross join lateral analytics._groups_of_use(
      _sequences.breakdown, _sequences.top_values, _sequences.smallest_group, v_blocks, v_people, used.days,
      used.people
    ) as part
    join (select distinct divided.person_id, divided.day from divided) as person
      on person.person_id / 4096 = part.block
      and person.day = part.day
      and get_bit(part.people, (person.person_id % 4096)::int) <> 0
    where _sequences.breakdown is not null
  ),

  valued as (
    select null::text as value, false as is_other, by_person.nodes, by_person.times, by_person.compared_times
    from by_person
    where _sequences.breakdown is null

    union all

    -- The days of a person are one.
    select place.value, place.is_other, divided.nodes, sum(divided.times)::bigint, 0
    from divided
    join place on place.person_id = divided.person_id and place.day = divided.day
    group by place.value, place.is_other, divided.person_id, divided.nodes
  ),

  counted as (
    select
      valued.value, valued.is_other, valued.nodes,
      sum(valued.times) as times,
      count(*) filter (where valued.times > 0) as person_count,
      sum(valued.compared_times) as compared_times,
      count(*) filter (where valued.compared_times > 0) as compared_people
    from valued
    group by valued.value, valued.is_other, valued.nodes
  ),

  shown as not materialized (
    select
      counted.value, counted.is_other, counted.nodes,
      analytics._shown(counted.times::float8, counted.person_count, _sequences.smallest_group)::bigint as times,
      analytics._shown(counted.person_count, counted.person_count, _sequences.smallest_group)::bigint as person_count,
      analytics._shown(counted.compared_times::float8, counted.compared_people, _sequences.smallest_group)::bigint
        as compared_times,
      analytics._shown(counted.compared_people, counted.compared_people, _sequences.smallest_group)::bigint
        as compared_people
    from counted
    where counted.person_count >= coalesce(_sequences.smallest_group, 1)
      or counted.compared_people >= coalesce(_sequences.smallest_group, 1)
  ),

  -- Without a breakdown there is no need to sort all of them.
  largest as (
    (
      select shown.*
      from shown
      where _sequences.breakdown is null
      order by greatest(shown.times, shown.compared_times) desc, shown.nodes
      limit _sequences.top
    )

    union all

    select
      ranked.value, ranked.is_other, ranked.nodes, ranked.times, ranked.person_count, ranked.compared_times,
      ranked.compared_people
    from (
      select
        shown.*,
        row_number() over (partition by shown.is_other, shown.value order by shown.times desc, shown.nodes) as rank
      from shown
      where _sequences.breakdown is not null
    ) as ranked
    where ranked.rank <= coalesce(_sequences.top, ranked.rank)
  )

  select
    array(
      select v_names[entry.node]
      from unnest(largest.nodes) with ordinality as entry (node, number)
      order by entry.number
    ),
    largest.times,
    largest.person_count,
    case when _sequences.compared_with is not null then largest.compared_times end,
    case when _sequences.compared_with is not null then largest.compared_people end,
    largest.value,
    largest.is_other
  from largest
  order by
    largest.is_other, largest.value is null, largest.value, greatest(largest.times, largest.compared_times) desc,
    largest.nodes;
end;
$$;

comment on function analytics._sequences(
  timestamptz, timestamptz, text, int, text[], text[], text, text, int, text, int, int
) is $$
Computes the result of `analytics.sequences`, with the privileges of the caller.
`smallest_group`: figures of groups of counted people (see `analytics._visible_periods` and `analytics._shown`);
null: exact figures of all people.
$$;

grant execute on function analytics._sequences(
  timestamptz, timestamptz, text, int, text[], text[], text, text, int, text, int, int
)
to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._sequences_exact(
  since timestamptz,
  until timestamptz,
  nodes text,
  length int,
  wildcards text[],
  exclusions text[],
  among text,
  compared_with text,
  top int,
  breakdown text,
  top_values int
)
returns setof analytics.path_sequence
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select *
  from analytics._sequences(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, null
  );
$$;

alter function analytics._sequences_exact(
  timestamptz, timestamptz, text, int, text[], text[], text, text, int, text, int
)
owner to insights_reader;

comment on function analytics._sequences_exact(
  timestamptz, timestamptz, text, int, text[], text[], text, text, int, text, int
) is $$
Returns the result of `analytics.sequences` with exact figures of all people, for admins and workers.
$$;

grant execute on function analytics._sequences_exact(
  timestamptz, timestamptz, text, int, text[], text[], text, text, int, text, int
)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._sequences_shown(
  since timestamptz,
  until timestamptz,
  nodes text,
  length int,
  wildcards text[],
  exclusions text[],
  among text,
  compared_with text,
  top int,
  breakdown text,
  top_values int
)
returns setof analytics.path_sequence
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select *
  from analytics._sequences(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._sequences_shown(
  timestamptz, timestamptz, text, int, text[], text[], text, text, int, text, int
)
owner to insights_reader;

comment on function analytics._sequences_shown(
  timestamptz, timestamptz, text, int, text[], text[], text, text, int, text, int
) is $$
Returns the result of `analytics.sequences` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._sequences_shown(
  timestamptz, timestamptz, text, int, text[], text[], text, text, int, text, int
)
to insights_analyst;

create or replace function analytics.sequences(
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  nodes text default 'item',
  length int default 3,
  wildcards text[] default '{}',
  exclusions text[] default '{}',
  among text default null,
  compared_with text default null,
  top int default 50,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.path_sequence
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._sequences_exact(timestamptz, timestamptz, text, int, text[], text[], text, text, int, text, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._sequences_exact(
      sequences.since, sequences.until, sequences.nodes, sequences.length, sequences.wildcards, sequences.exclusions,
      sequences.among, sequences.compared_with, sequences.top, sequences.breakdown, sequences.top_values
    );
  else
    return query
    select *
    from analytics._sequences_shown(
      sequences.since, sequences.until, sequences.nodes, sequences.length, sequences.wildcards, sequences.exclusions,
      sequences.among, sequences.compared_with, sequences.top, sequences.breakdown, sequences.top_values
    );
  end if;
end;
$$;

comment on function analytics.sequences(
  timestamptz, timestamptz, text, int, text[], text[], text, text, int, text, int
) is $$
Returns the most frequent sequences of nodes in the sessions that started in a period.
A sequence is `length` nodes in succession, 2 to 10; every position of a session counts, the most frequent `top` first;
null: all.
`nodes`: the pages that were viewed as `item`, their `kind`, or the `course` of which they are part; `event`: the names
of all events that are not automatic; `page_or_event`: the pages that were viewed and the names of other events.
`wildcards`: names in which `*` is any number of characters; all that match are one node of this name, that of the first
that matches. `exclusions`: such names, whose views are left out. Equal nodes in succession are one, that of the last
view. Views that continue from an earlier session, and those without a node, are left out.
`among`: people of these sets now; `compared_with`: figures of other sets beside them (a person can be in both).
`breakdown`: `set.<family>` or `trait.<name>`, as of now: the result for the people of each value, of at most
`top_values`, with the `top` sequences of each; for analysts, values of too few people on a day are in its rest.
For admins and workers, figures are exact and include anonymous browsers. Analysts see figures of counted people, of
days (UTC) on which at least `analytics.setting.smallest_group` of them are active, or of the small days of a week
together; what fewer people did is left out, and figures are rounded by `analytics._shown`. As of the last refresh of
the sessions. Errors: CF001 for an invalid argument, CF002 for an unknown node or set (names the nearest), CF008 for
more than 100 wildcards and exclusions.
$$;

grant execute on function analytics.sequences(
  timestamptz, timestamptz, text, int, text[], text[], text, text, int, text, int
)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/paths/sequences.sql

--! Included analytics/paths/transitions.sql
create or replace function analytics._transitions_of(
  first_month date,
  end_month date,
  names text[],
  node_of int[],
  top int,
  blocks int[],
  people bit(4096)[],
  smallest_group int
)
returns setof analytics.transition
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set work_mem to '64MB'
-- The best plan depends on the period.
set plan_cache_mode to force_custom_plan
as $$
begin
  return query
  with whole as not materialized (
    select
      transition.month, transition.source_item_id, transition.target_item_id, transition.transition_count,
      transition.person_count, transition.elapsed::float8 as elapsed
    from track.item_transition as transition
    where transition.month >= _transitions_of.first_month
      and transition.month < _transitions_of.end_month
      and transition.month not in (select stale_month.month from track.stale_transition_month as stale_month)

    union all

    select
      transition.month, transition.source_item_id, transition.target_item_id, transition.transition_count,
      transition.person_count, transition.elapsed::float8
    from track.stale_transition_month as stale_month
    cross join lateral track.month_transitions(stale_month.month) as transition
    where stale_month.month >= greatest(
        _transitions_of.first_month, (select setting.sums_kept_before from track.setting)
      )
      and stale_month.month < _transitions_of.end_month
  ),

  -- Of some people: from their sessions, which are those of all months but the ones that remain as sums.
  own as (
    select transition.*
    from (
      select min(session.started_at) as oldest, max(session.started_at) as latest
      from track.session
      where _transitions_of.blocks is not null
      having min(session.started_at) is not null
    ) as stored
    cross join lateral generate_series(
      date_trunc(
        'month',
        greatest(
          _transitions_of.first_month::timestamp, stored.oldest::timestamp,
          (select setting.sums_kept_before::timestamp from track.setting)
        )
      ),
      least(_transitions_of.end_month - 1, stored.latest::date)::timestamp,
      interval '1 month'
    ) as month
    cross join lateral track.month_transitions(
      month::date, _transitions_of.blocks, _transitions_of.people
    ) as transition
  ),

  stored as (
    select
      whole.source_item_id, whole.target_item_id, sum(whole.transition_count)::bigint as transition_count,
      sum(whole.person_count) as person_months, max(whole.person_count) as people, sum(whole.elapsed) as elapsed
    from whole
    where _transitions_of.blocks is null
      and whole.person_count >= coalesce(_transitions_of.smallest_group, 1)
    group by whole.source_item_id, whole.target_item_id

    union all

    -- Of analysts, in the months in which the others are a group too, or there are none.
    select
      own.source_item_id, own.target_item_id, own.transition_count, own.person_count, own.person_count,
      own.elapsed::float8
    from own
    left join whole
      on _transitions_of.smallest_group > 1
      and whole.month = own.month
      and whole.source_item_id = own.source_item_id
      and whole.target_item_id = own.target_item_id
    where own.person_count >= coalesce(_transitions_of.smallest_group, 1)
      and (
        whole.month is null
        or whole.person_count - own.person_count not between 1 and _transitions_of.smallest_group - 1
      )
  ),

  edge as (
    select
      _transitions_of.node_of[stored.source_item_id] as source,
      _transitions_of.node_of[stored.target_item_id] as target,
      sum(stored.transition_count)::float8 as transition_count, sum(stored.person_months)::bigint as person_months,
      -- At least as many people are in the group.
      max(stored.people)::bigint as people,
      sum(stored.elapsed) as elapsed
    from stored
    group by 1, 2
  ),

  shown as (
    select
      edge.source, edge.target, edge.people, edge.person_months,
      edge.elapsed / edge.transition_count as mean_microseconds,
      case
        when _transitions_of.smallest_group is null then edge.transition_count
        else analytics._shown(edge.transition_count, edge.people, _transitions_of.smallest_group)
      end::bigint as transition_count
    from edge
    where edge.source > 0
      and edge.target > 0
      and edge.source <> edge.target
  ),

  -- Nodes are numbered in the order of their names.
  largest as (
    select
      shown.*,
      shown.transition_count / nullif(sum(shown.transition_count) over (partition by shown.source), 0)::float8 as share
    from shown
    order by shown.transition_count desc, shown.source, shown.target
    limit _transitions_of.top
  )

  select
    _transitions_of.names[largest.source], _transitions_of.names[largest.target], largest.transition_count,
    analytics._shown(largest.person_months, largest.people, _transitions_of.smallest_group)::bigint, largest.share,
    make_interval(
      secs => analytics._shown_mean(
        largest.mean_microseconds, largest.people, _transitions_of.smallest_group
      ) / 1000000
    ),
    null::text,
    false
  from largest
  order by largest.transition_count desc, largest.source, largest.target;
end;
$$;

comment on function analytics._transitions_of(date, date, text[], int[], int, int[], bit[], int) is $$
Returns the most frequent transitions of some counted people, with the privileges of the caller.
See `analytics.transitions`. Months from `first_month` until `end_month` (exclusive). `names`, `node_of`: those of
`analytics._numbered_nodes`. `blocks`, `people`: one bit per person; null: all counted people, from the sums.
`smallest_group`: transitions of an item to another by fewer people in a month are left out, others are rounded by
`analytics._shown`; null: exact figures.
$$;

grant execute on function analytics._transitions_of(date, date, text[], int[], int, int[], bit[], int)
to insights_reader;

create or replace function analytics._transitions(
  since timestamptz,
  until timestamptz,
  nodes text,
  wildcards text[],
  exclusions text[],
  top int,
  among text,
  breakdown text,
  top_values int,
  smallest_group int
)
returns setof analytics.transition
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
declare
  v_bounds constant timestamptz[] := analytics._bounds('month', _transitions.since, _transitions.until, 'UTC');
  v_names text[];
  v_node_of int[];
begin
  perform common.check_count('top', coalesce(_transitions.top, 1), 1, 10000);
  if _transitions.nodes in ('event', 'page_or_event') then
    perform common.refuse(
      'CF001',
      format('nodes is "%s", and the sums are those of page views', _transitions.nodes),
      'Use item, kind or course, or analytics.paths, which reads events too.'
    );
  end if;
  select numbered.names, numbered.node_of into v_names, v_node_of
  from analytics._numbered_nodes(_transitions.nodes, _transitions.wildcards, _transitions.exclusions) as numbered;

  return query
  select
    moved.source, moved.target, moved.transition_count, moved.person_months, moved.share, moved.mean_time,
    part.value, part.is_other
  from analytics._counted_groups(
    _transitions.among, _transitions.breakdown, _transitions.top_values, _transitions.smallest_group
  ) as part
  cross join lateral analytics._transitions_of(
    v_bounds[1]::date, v_bounds[cardinality(v_bounds)]::date, v_names, v_node_of, _transitions.top, part.blocks,
    part.people, _transitions.smallest_group
  ) as moved
  order by
    part.is_other, part.value is null, part.value, moved.transition_count desc, moved.source collate "C",
    moved.target collate "C";
end;
$$;

comment on function analytics._transitions(
  timestamptz, timestamptz, text, text[], text[], int, text, text, int, int
) is $$
Computes the result of `analytics.transitions`, with the privileges of the caller.
`smallest_group`: transitions of an item to another by fewer people in a month are left out, others are rounded by
`analytics._shown`; null: exact figures.
$$;

grant execute on function analytics._transitions(
  timestamptz, timestamptz, text, text[], text[], int, text, text, int, int
) to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._transitions_exact(
  since timestamptz,
  until timestamptz,
  nodes text,
  wildcards text[],
  exclusions text[],
  top int,
  among text,
  breakdown text,
  top_values int
)
returns setof analytics.transition
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select *
  from analytics._transitions(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, null
  );
$$;

alter function analytics._transitions_exact(timestamptz, timestamptz, text, text[], text[], int, text, text, int)
owner to insights_reader;

comment on function analytics._transitions_exact(
  timestamptz, timestamptz, text, text[], text[], int, text, text, int
) is $$
Returns the result of `analytics.transitions` with exact figures, for admins and workers.
$$;

grant execute on function analytics._transitions_exact(
  timestamptz, timestamptz, text, text[], text[], int, text, text, int
)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._transitions_shown(
  since timestamptz,
  until timestamptz,
  nodes text,
  wildcards text[],
  exclusions text[],
  top int,
  among text,
  breakdown text,
  top_values int
)
returns setof analytics.transition
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select *
  from analytics._transitions(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._transitions_shown(timestamptz, timestamptz, text, text[], text[], int, text, text, int)
owner to insights_reader;

comment on function analytics._transitions_shown(
  timestamptz, timestamptz, text, text[], text[], int, text, text, int
) is $$
Returns the result of `analytics.transitions` for analysts: figures of groups of people, rounded.
$$;

grant execute on function analytics._transitions_shown(
  timestamptz, timestamptz, text, text[], text[], int, text, text, int
)
to insights_analyst;

create or replace function analytics.transitions(
  since timestamptz default date_trunc('month', now() at time zone 'UTC' - interval '11 months') at time zone 'UTC',
  until timestamptz default now(),
  nodes text default 'item',
  wildcards text[] default '{}',
  exclusions text[] default '{}',
  top int default 50,
  among text default null,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.transition
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._transitions_exact(timestamptz, timestamptz, text, text[], text[], int, text, text, int)', 'execute'
  ) then
    return query
    select *
    from analytics._transitions_exact(
      transitions.since, transitions.until, transitions.nodes, transitions.wildcards, transitions.exclusions,
      transitions.top, transitions.among, transitions.breakdown, transitions.top_values
    );
  else
    return query
    select *
    from analytics._transitions_shown(
      transitions.since, transitions.until, transitions.nodes, transitions.wildcards, transitions.exclusions,
      transitions.top, transitions.among, transitions.breakdown, transitions.top_values
    );
  end if;
end;
$$;

comment on function analytics.transitions(timestamptz, timestamptz, text, text[], text[], int, text, text, int) is $$
Returns the most frequent transitions between pages that were viewed in succession, of whole months.
It reads the sums of `track.item_transition`: its cost is that of the pairs of items by month. `analytics.paths` and
`analytics.sequences` read the sessions, with steps and any days. `among`: people of these sets now, such as
`segment.power & ~cohort.beta`; `breakdown`: `set.<family>` or `trait.<name>`, as of now: the result for the people of
each value, of at most `top_values`; the others have `is_other`. Both read the sessions of the months, which takes
longer, and only months whose sessions are stored: those that a retention rule deleted remain as sums of all people.
The period is extended to whole months
(UTC), in which the sessions started. Figures are those of counted people. Rows are transitions from `source` to
`target`, the most frequent `top` first; null: all.
`nodes`: the pages as `item`, their `kind`, or the `course` of which they are part. `wildcards`: names in which `*` is
any number of characters; all that match are one node of this name, that of the first that matches. A transition from a
node to itself does not count, nor one of which an item has no node or matches one of the `exclusions`; `paths` and
`sequences` skip the views of such items instead.
For admins and workers, figures are exact. For analysts, a transition from an item to another counts in the months in
which at least `analytics.setting.smallest_group` people did it (of a set: and as many others, or none), and figures are
rounded by `analytics._shown`.
As of the last refresh of the sessions. Errors: CF001 for an invalid argument, CF002 for an unknown set, CF008 for more
than 100 wildcards and exclusions.
$$;

grant execute on function analytics.transitions(timestamptz, timestamptz, text, text[], text[], int, text, text, int)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/paths/transitions.sql

--! Included analytics/sessions/session_trend.sql
create or replace function analytics._session_trend(
  bucket text,
  since timestamptz,
  until timestamptz,
  zone text,
  among text,
  breakdown text,
  top_values int,
  smallest_group int
)
returns setof analytics.session_point
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set work_mem to '64MB'
as $$
declare
  v_bounds constant timestamptz[] := analytics._bounds(
    _session_trend.bucket, _session_trend.since, _session_trend.until, _session_trend.zone
  );
  v_count constant int := cardinality(v_bounds) - 1;
  -- Analysts see the values of each day or shorter bucket.
  v_by_day constant boolean := analytics._is_by_day(_session_trend.breakdown, _session_trend.smallest_group);
  v_blocks int[];
  v_people bit(4096)[];
begin
  if v_count * analytics._value_count(_session_trend.breakdown, _session_trend.top_values) > 100000 then
    perform common.refuse(
      'CF008',
      format('there are %s buckets for each value', v_count),
      'There can be 100,000 rows. Give a shorter period, a larger bucket, or fewer values.'
    );
  end if;
  select array_agg(member.block), array_agg(member.people) into v_blocks, v_people
  from analytics._members(_session_trend.among, _session_trend.smallest_group) as member;

  return query
  with started as materialized (
    select
      session.person_id, width_bucket(session.started_at, v_bounds) as bucket, session.views, session.duration,
      session.engaged,
      case
        when not v_by_day then 0
        when _session_trend.bucket in ('minute', 'hour', 'day') then width_bucket(session.started_at, v_bounds)
        else session.started_at::date - date '0001-01-01'
      end as day
    from analytics._sessions(v_bounds, _session_trend.among, _session_trend.smallest_group) as session
  ),

  used as materialized (
    select array_agg(listed.day) as days, array_agg(listed.person_id) as people
    from (select distinct started.day, started.person_id from started where v_by_day) as listed
  ),

  part as materialized (
    select part.*
    from used
    cross join lateral analytics._groups_of_use(
      _session_trend.breakdown, _session_trend.top_values, _session_trend.smallest_group, v_blocks, v_people,
      used.days, used.people
    ) as part
  ),

  valued as (
    select null::text as value, false as is_other, started.*
    from started
    where _session_trend.breakdown is null

    union all

    select part.value, part.is_other, started.*
    from part
    join started
      on started.person_id / 4096 = part.block
      and started.day = part.day
      and get_bit(part.people, (started.person_id % 4096)::int) <> 0
    where _session_trend.breakdown is not null
  ),

  counted as (
    select
      valued.value, valued.is_other, valued.bucket,
      count(*) as session_count,
      count(distinct valued.person_id) as person_count,
      avg(valued.duration) as mean_duration,
      percentile_cont(0.5) within group (order by valued.duration) as median_duration,
      avg(valued.engaged) as mean_engaged,
      percentile_cont(0.5) within group (order by valued.engaged) as median_engaged,
      avg(valued.views)::float8 as mean_views,
      count(*) filter (where valued.views <= 1 and valued.engaged < interval '10 seconds') as bounce_count,
      count(distinct valued.person_id) filter (where valued.views <= 1 and valued.engaged < interval '10 seconds')
        as bounced_people
    from valued
    group by valued.value, valued.is_other, valued.bucket
  ),

  shown as (
    select
      keys.value, keys.is_other, listed.number as bucket,
      coalesce(
        analytics._shown(counted.session_count, counted.person_count, _session_trend.smallest_group), 0
      )::bigint as session_count,
      coalesce(
        analytics._shown(counted.person_count, counted.person_count, _session_trend.smallest_group), 0
      )::bigint as person_count,
      coalesce(
        analytics._shown(
          counted.bounce_count, counted.bounced_people, _session_trend.smallest_group, counted.session_count
        ),
        0
      )::bigint as bounce_count,
      counted.person_count as exact_people, counted.mean_duration, counted.median_duration, counted.mean_engaged,
      counted.median_engaged, counted.mean_views
    from (
      select distinct counted.value, counted.is_other from counted where _session_trend.breakdown is not null
      union all
      select null, false where _session_trend.breakdown is null
    ) as keys
    cross join generate_series(1, v_count) as listed (number)
    left join counted
      on counted.value is not distinct from keys.value
      and counted.is_other = keys.is_other
      and counted.bucket = listed.number
    where v_bounds[listed.number] <= now()
  )

  select
    v_bounds[shown.bucket],
    shown.value,
    shown.is_other,
    shown.session_count,
    shown.person_count,
    shown.session_count::float8 / nullif(shown.person_count, 0),
    analytics._shown_time(shown.mean_duration, shown.exact_people, _session_trend.smallest_group),
    analytics._shown_time(
      shown.median_duration, shown.exact_people, _session_trend.smallest_group, shown.mean_duration
    ),
    analytics._shown_time(shown.mean_engaged, shown.exact_people, _session_trend.smallest_group),
    analytics._shown_time(shown.median_engaged, shown.exact_people, _session_trend.smallest_group, shown.mean_engaged),
    analytics._shown_mean(shown.mean_views, shown.exact_people, _session_trend.smallest_group),
    shown.bounce_count,
    -- least() ignores a null.
    case when shown.session_count > 0 then least(shown.bounce_count::float8 / shown.session_count, 1) end,
    v_bounds[shown.bucket + 1] <= now(),
    _session_trend.zone
  from shown
  order by shown.is_other, shown.value is null, shown.value, shown.bucket;
end;
$$;

comment on function analytics._session_trend(
  text, timestamptz, timestamptz, text, text, text, int, int
) is $$
Computes the result of `analytics.session_trend`, with the privileges of the caller.
`smallest_group`: figures of groups of counted people (see `analytics._visible_periods` and `analytics._shown`);
null: exact figures of all people.
$$;

grant execute on function analytics._session_trend(
  text, timestamptz, timestamptz, text, text, text, int, int
)
to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._session_trend_exact(
  bucket text,
  since timestamptz,
  until timestamptz,
  zone text,
  among text,
  breakdown text,
  top_values int
)
returns setof analytics.session_point
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select *
  from analytics._session_trend(
    $1, $2, $3, $4, $5, $6, $7, null
  );
$$;

alter function analytics._session_trend_exact(
  text, timestamptz, timestamptz, text, text, text, int
)
owner to insights_reader;

comment on function analytics._session_trend_exact(
  text, timestamptz, timestamptz, text, text, text, int
) is $$
Returns the result of `analytics.session_trend` with exact figures of all people, for admins and workers.
$$;

grant execute on function analytics._session_trend_exact(
  text, timestamptz, timestamptz, text, text, text, int
)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._session_trend_shown(
  bucket text,
  since timestamptz,
  until timestamptz,
  zone text,
  among text,
  breakdown text,
  top_values int
)
returns setof analytics.session_point
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select *
  from analytics._session_trend(
    $1, $2, $3, $4, $5, $6, $7, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._session_trend_shown(
  text, timestamptz, timestamptz, text, text, text, int
)
owner to insights_reader;

comment on function analytics._session_trend_shown(
  text, timestamptz, timestamptz, text, text, text, int
) is $$
Returns the result of `analytics.session_trend` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._session_trend_shown(
  text, timestamptz, timestamptz, text, text, text, int
)
to insights_analyst;

create or replace function analytics.session_trend(
  bucket text default 'day',
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  zone text default 'UTC',
  among text default null,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.session_point
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._session_trend_exact(text, timestamptz, timestamptz, text, text, text, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._session_trend_exact(
      session_trend.bucket, session_trend.since, session_trend.until, session_trend.zone, session_trend.among,
      session_trend.breakdown, session_trend.top_values
    );
  else
    return query
    select *
    from analytics._session_trend_shown(
      session_trend.bucket, session_trend.since, session_trend.until, session_trend.zone, session_trend.among,
      session_trend.breakdown, session_trend.top_values
    );
  end if;
end;
$$;

comment on function analytics.session_trend(
  text, timestamptz, timestamptz, text, text, text, int
) is $$
Returns sessions by time bucket, with their duration, engaged time, depth and bounces.
A session counts in the bucket in which it started, from `since` until `until` (extended to whole buckets of the zone;
weeks start on Monday). A bounce is a session of at most one page view and less than 10 seconds of engaged time.
`among`: people of these sets now; `breakdown`: `set.<family>` or `trait.<name>`, of which the `top_values` values of
most people are named; for analysts, values of too few people on a day are in its rest (`analytics._groups_by_day`).
For admins and workers, figures are exact and include anonymous browsers. Analysts see figures of counted people, of
days (UTC; in other zones of hours) on which at least `analytics.setting.smallest_group` of them are active; a figure
of fewer people reads as 0, and others are rounded by `analytics._shown`. As of the last refresh of the sessions.
Errors: CF001 for an invalid argument, CF002 for an unknown set or zone (names the nearest), CF008 for more than
100,000 buckets and values.
$$;

grant execute on function analytics.session_trend(
  text, timestamptz, timestamptz, text, text, text, int
)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/sessions/session_trend.sql

--! Included analytics/sessions/session_items.sql
create or replace function analytics._session_items(
  place text,
  since timestamptz,
  until timestamptz,
  among text,
  top int,
  breakdown text,
  top_values int,
  smallest_group int
)
returns setof analytics.session_item
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set work_mem to '64MB'
-- The best plan depends on the period.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_days constant timestamptz[] := analytics._bounds('day', _session_items.since, _session_items.until, 'UTC');
  -- Analysts see the values of each day.
  v_by_day constant boolean := analytics._is_by_day(_session_items.breakdown, _session_items.smallest_group);
  v_visible tstzmultirange;
  v_blocks int[];
  v_people bit(4096)[];
begin
  if _session_items.place is null or _session_items.place not in ('entry', 'exit') then
    perform common.refuse(
      'CF001',
      format('place is "%s"', left(_session_items.place, 100)),
      'Use entry (the first item of a session) or exit (the last one).'
    );
  end if;
  perform common.check_count('top', coalesce(_session_items.top, 1), 1, 10000);

  -- Read first, so that an invalid argument is an error also when there are no sessions.
  select array_agg(member.block), array_agg(member.people) into v_blocks, v_people
  from analytics._members(_session_items.among, _session_items.smallest_group) as member;
  if smallest_group is not null then
    v_visible := analytics._visible_periods(
      0, null, _session_items.among, array[v_days[1], v_days[cardinality(v_days)]], _session_items.smallest_group
    );
  end if;

  return query
  -- The sessions of `analytics._sessions`, which are counted before their values are joined: people have several each.
  with by_person as materialized (
    select
      session.person_id,
      case when v_by_day then width_bucket(session.started_at, v_days) else 0 end as day,
      case _session_items.place when 'entry' then session.entry_item_id else session.exit_item_id end as item_id,
      count(*) as session_count,
      count(*) filter (where session.view_count <= 1 and session.engaged < interval '10 seconds') as bounce_count
    from track.session
    where session.started_at >= v_days[1]
      and session.started_at < v_days[cardinality(v_days)]
      and session.person_id <> 0
      and (v_visible is null or session.started_at <@ v_visible)
    group by 1, 2, 3
  ),

  used as materialized (
    select array_agg(listed.day) as days, array_agg(listed.person_id) as people
    from (select distinct by_person.day, by_person.person_id from by_person where v_by_day) as listed
  ),

  part as materialized (
    select part.*
    from used
    cross join lateral analytics._groups_of_use(
      _session_items.breakdown, _session_items.top_values, _session_items.smallest_group, v_blocks, v_people,
      used.days, used.people
    ) as part
  ),

  valued as not materialized (
    select
      part.value, part.is_other, by_person.item_id, by_person.person_id, by_person.session_count,
      by_person.bounce_count
    from by_person
    join part
      on part.block = by_person.person_id / 4096
      and part.day = by_person.day
      and get_bit(part.people, (by_person.person_id % 4096)::int) <> 0
    where by_person.item_id is not null
  ),

  -- The days of a person are one.
  by_value as (
    select valued.*
    from valued
    where not v_by_day

    union all

    select
      valued.value, valued.is_other, valued.item_id, valued.person_id, sum(valued.session_count)::bigint,
      sum(valued.bounce_count)::bigint
    from valued
    where v_by_day
    group by 1, 2, 3, 4
  ),

  counted as (
    select
      by_value.value, by_value.is_other, by_value.item_id, sum(by_value.session_count) as session_count,
      count(*) as person_count,
      sum(by_value.bounce_count) as bounce_count,
      count(*) filter (where by_value.bounce_count > 0) as bounced_people
    from by_value
    group by by_value.value, by_value.is_other, by_value.item_id
  ),

  shown as (
    select
      counted.value, counted.is_other, counted.item_id,
      analytics._shown(counted.session_count, counted.person_count, _session_items.smallest_group)::bigint
        as session_count,
      analytics._shown(counted.person_count, counted.person_count, _session_items.smallest_group)::bigint
        as person_count,
      analytics._shown(
        counted.bounce_count, counted.bounced_people, _session_items.smallest_group, counted.session_count
      )::bigint as bounce_count
    from counted
  )

  select *
  from (
    select
      (
        row_number() over (
          partition by shown.is_other, shown.value order by shown.session_count desc, item.external_id collate "C"
        )
      )::int as rank,
      item.external_id, item.title, item.kind, shown.session_count, shown.person_count, shown.bounce_count,
      least(shown.bounce_count::float8 / shown.session_count, 1) as bounce_rate,
      shown.value, shown.is_other
    from shown
    join track.item on item.item_id = shown.item_id
    where shown.session_count > 0
  ) as ranked
  where _session_items.top is null
    or ranked.rank <= _session_items.top
  order by ranked.is_other, ranked.value is null, ranked.value, ranked.rank;
end;
$$;

comment on function analytics._session_items(text, timestamptz, timestamptz, text, int, text, int, int) is $$
Computes the result of `analytics.session_items`, with the privileges of the caller.
`smallest_group`: figures of groups of counted people (see `analytics._visible_periods` and `analytics._shown`);
null: exact figures of all people.
$$;

grant execute on function analytics._session_items(text, timestamptz, timestamptz, text, int, text, int, int)
to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._session_items_exact(
  place text,
  since timestamptz,
  until timestamptz,
  among text,
  top int,
  breakdown text,
  top_values int
)
returns setof analytics.session_item
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select *
  from analytics._session_items(
    $1, $2, $3, $4, $5, $6, $7, null
  );
$$;

alter function analytics._session_items_exact(text, timestamptz, timestamptz, text, int, text, int)
owner to insights_reader;

comment on function analytics._session_items_exact(text, timestamptz, timestamptz, text, int, text, int) is $$
Returns the result of `analytics.session_items` with exact figures of all people, for admins and workers.
$$;

grant execute on function analytics._session_items_exact(text, timestamptz, timestamptz, text, int, text, int)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._session_items_shown(
  place text,
  since timestamptz,
  until timestamptz,
  among text,
  top int,
  breakdown text,
  top_values int
)
returns setof analytics.session_item
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select *
  from analytics._session_items(
    $1, $2, $3, $4, $5, $6, $7, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._session_items_shown(text, timestamptz, timestamptz, text, int, text, int)
owner to insights_reader;

comment on function analytics._session_items_shown(text, timestamptz, timestamptz, text, int, text, int) is $$
Returns the result of `analytics.session_items` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._session_items_shown(text, timestamptz, timestamptz, text, int, text, int)
to insights_analyst;

create or replace function analytics.session_items(
  place text default 'entry',
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  among text default null,
  top int default 10,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.session_item
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._session_items_exact(text, timestamptz, timestamptz, text, int, text, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._session_items_exact(
      session_items.place, session_items.since, session_items.until, session_items.among, session_items.top,
      session_items.breakdown, session_items.top_values
    );
  else
    return query
    select *
    from analytics._session_items_shown(
      session_items.place, session_items.since, session_items.until, session_items.among, session_items.top,
      session_items.breakdown, session_items.top_values
    );
  end if;
end;
$$;

comment on function analytics.session_items(text, timestamptz, timestamptz, text, int, text, int) is $$
Returns the items with which most sessions of a period start (`place` = `entry`) or end (`exit`).
The period is extended to whole days (UTC). A bounce is a session of at most one page view and less than 10 seconds of
engaged time. `among`: people of these sets now; `top` null: all items.
`breakdown`: `set.<family>` or `trait.<name>`, as of now: the result for the people of each value, of at most
`top_values`; for analysts, values of too few people on a day are in its rest (`analytics._groups_by_day`).
For admins and workers, figures are exact and include anonymous browsers. Analysts see figures of counted people, of
days (UTC; in other zones of hours) on which at least `analytics.setting.smallest_group` of them are active; a figure
of fewer people reads as 0, and others are rounded by `analytics._shown`. As of the last refresh of the sessions.
Errors: CF001 for an invalid argument, CF002 for an unknown set (names the nearest).
$$;

grant execute on function analytics.session_items(text, timestamptz, timestamptz, text, int, text, int)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/sessions/session_items.sql

--! Included analytics/sessions/session_distribution.sql
create or replace function analytics._session_distribution(
  measure text, since timestamptz, until timestamptz, among text, breakdown text, top_values int, smallest_group int
)
returns setof analytics.session_bin
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set work_mem to '64MB'
-- The best plan depends on the period.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_days constant timestamptz[] := analytics._bounds(
    'day', _session_distribution.since, _session_distribution.until, 'UTC'
  );
  v_starts constant float8[] := case
    when _session_distribution.measure in ('engaged', 'duration') then '{0,10,30,60,180,600,1800,3600}'::float8[]
    when _session_distribution.measure = 'views' then '{0,1,2,3,4,5,10,20}'::float8[]
  end;
  v_times constant interval[] := array(
    select make_interval(secs => entry.seconds)
    from unnest(v_starts) with ordinality as entry (seconds, number)
    order by entry.number
  );
  -- Analysts see the values of each day.
  v_by_day constant boolean := analytics._is_by_day(
    _session_distribution.breakdown, _session_distribution.smallest_group
  );
  v_visible tstzmultirange;
  v_blocks int[];
  v_people bit(4096)[];
begin
  if v_starts is null then
    perform common.refuse(
      'CF001',
      format('measure is "%s"', coalesce(left(_session_distribution.measure, 100), 'null')),
      'Use engaged or duration (in seconds), or views.'
    );
  end if;

  -- Read first, so that an invalid argument is an error also when there are no sessions.
  select array_agg(member.block), array_agg(member.people) into v_blocks, v_people
  from analytics._members(_session_distribution.among, _session_distribution.smallest_group) as member;
  if smallest_group is not null then
    v_visible := analytics._visible_periods(
      0, null, _session_distribution.among, array[v_days[1], v_days[cardinality(v_days)]],
      _session_distribution.smallest_group
    );
  end if;

  return query
  -- The sessions of `analytics._sessions`, which are counted before their values are joined: people have several each.
  with by_person as materialized (
    select
      session.person_id,
      case when v_by_day then width_bucket(session.started_at, v_days) else 0 end as day,
      case _session_distribution.measure
        when 'engaged' then width_bucket(session.engaged, v_times)
        when 'duration' then width_bucket(session.ended_at - session.started_at, v_times)
        else width_bucket(session.view_count::float8, v_starts)
      end as bin,
      count(*) as session_count
    from track.session
    where session.started_at >= v_days[1]
      and session.started_at < v_days[cardinality(v_days)]
      and session.person_id <> 0
      and (v_visible is null or session.started_at <@ v_visible)
    group by 1, 2, 3
  ),

  used as materialized (
    select array_agg(listed.day) as days, array_agg(listed.person_id) as people
    from (select distinct by_person.day, by_person.person_id from by_person where v_by_day) as listed
  ),

  part as materialized (
    select part.*
    from used
    cross join lateral analytics._groups_of_use(
      _session_distribution.breakdown, _session_distribution.top_values, _session_distribution.smallest_group,
      v_blocks, v_people, used.days, used.people
    ) as part
  ),

  valued as not materialized (
    select part.value, part.is_other, by_person.bin, by_person.person_id, by_person.session_count
    from by_person
    join part
      on part.block = by_person.person_id / 4096
      and part.day = by_person.day
      and get_bit(part.people, (by_person.person_id % 4096)::int) <> 0
  ),

  -- The days of a person are one.
  by_value as (
    select valued.*
    from valued
    where not v_by_day

    union all

    select valued.value, valued.is_other, valued.bin, valued.person_id, sum(valued.session_count)::bigint
    from valued
    where v_by_day
    group by 1, 2, 3, 4
  ),

  counted as (
    select
      by_value.value, by_value.is_other, by_value.bin, sum(by_value.session_count) as session_count,
      count(*) as person_count
    from by_value
    group by by_value.value, by_value.is_other, by_value.bin
  ),

  shown as (
    select
      part.value, part.is_other, listed.bin,
      coalesce(
        analytics._shown(counted.session_count, counted.person_count, _session_distribution.smallest_group), 0
      )::bigint as session_count,
      coalesce(
        analytics._shown(counted.person_count, counted.person_count, _session_distribution.smallest_group), 0
      )::bigint as person_count
    from (
      select distinct counted.value, counted.is_other from counted where _session_distribution.breakdown is not null
      union all
      select null, false where _session_distribution.breakdown is null
    ) as part
    cross join generate_series(1, cardinality(v_starts)) as listed (bin)
    left join counted
      on counted.value is not distinct from part.value
      and counted.is_other = part.is_other
      and counted.bin = listed.bin
  )

  select
    v_starts[shown.bin], v_starts[shown.bin + 1], shown.session_count, shown.person_count,
    shown.session_count
      / nullif(sum(shown.session_count) over (partition by shown.is_other, shown.value), 0)::float8,
    shown.value, shown.is_other
  from shown
  order by shown.is_other, shown.value is null, shown.value, shown.bin;
end;
$$;

comment on function analytics._session_distribution(text, timestamptz, timestamptz, text, text, int, int) is $$
Computes the result of `analytics.session_distribution`, with the privileges of the caller.
`smallest_group`: figures of groups of counted people (see `analytics._visible_periods` and `analytics._shown`);
null: exact figures of all people.
$$;

grant execute on function analytics._session_distribution(text, timestamptz, timestamptz, text, text, int, int)
to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._session_distribution_exact(
  measure text,
  since timestamptz,
  until timestamptz,
  among text,
  breakdown text,
  top_values int
)
returns setof analytics.session_bin
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select *
  from analytics._session_distribution(
    $1, $2, $3, $4, $5, $6, null
  );
$$;

alter function analytics._session_distribution_exact(text, timestamptz, timestamptz, text, text, int)
owner to insights_reader;

comment on function analytics._session_distribution_exact(text, timestamptz, timestamptz, text, text, int) is $$
Returns the result of `analytics.session_distribution` with exact figures of all people, for admins and workers.
$$;

grant execute on function analytics._session_distribution_exact(text, timestamptz, timestamptz, text, text, int)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._session_distribution_shown(
  measure text,
  since timestamptz,
  until timestamptz,
  among text,
  breakdown text,
  top_values int
)
returns setof analytics.session_bin
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select *
  from analytics._session_distribution(
    $1, $2, $3, $4, $5, $6, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._session_distribution_shown(text, timestamptz, timestamptz, text, text, int)
owner to insights_reader;

comment on function analytics._session_distribution_shown(text, timestamptz, timestamptz, text, text, int) is $$
Returns the result of `analytics.session_distribution` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._session_distribution_shown(text, timestamptz, timestamptz, text, text, int)
to insights_analyst;

create or replace function analytics.session_distribution(
  measure text default 'engaged',
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  among text default null,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.session_bin
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._session_distribution_exact(text, timestamptz, timestamptz, text, text, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._session_distribution_exact(
      session_distribution.measure, session_distribution.since, session_distribution.until,
      session_distribution.among, session_distribution.breakdown, session_distribution.top_values
    );
  else
    return query
    select *
    from analytics._session_distribution_shown(
      session_distribution.measure, session_distribution.since, session_distribution.until,
      session_distribution.among, session_distribution.breakdown, session_distribution.top_values
    );
  end if;
end;
$$;

comment on function analytics.session_distribution(text, timestamptz, timestamptz, text, text, int) is $$
Returns how many sessions have which engaged time, duration or number of page views.
`measure`: `engaged` and `duration`, in bins of 0, 10, 30 seconds and 1, 3, 10, 30 and 60 minutes, or `views`. A session
counts when it started from `since` until `until` (extended to whole days, UTC). `among`: people of these sets now.
`breakdown`: `set.<family>` or `trait.<name>`, as of now: the result for the people of each value, of at most
`top_values`; for analysts, values of too few people on a day are in its rest (`analytics._groups_by_day`).
For admins and workers, figures are exact and include anonymous browsers. Analysts see figures of counted people, of
days on which at least `analytics.setting.smallest_group` of them are active; a bin of fewer people reads as 0, others
are rounded by `analytics._shown`, and shares are computed from these numbers. As of the last refresh of the sessions.
Errors: CF001 for an invalid argument, CF002 for an unknown set (names the nearest).
$$;

grant execute on function analytics.session_distribution(text, timestamptz, timestamptz, text, text, int)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/sessions/session_distribution.sql

--! Included analytics/learning/hour_of_week.sql
create or replace function analytics._hour_of_week(
  event_name text,
  since timestamptz,
  until timestamptz,
  zone text,
  item text,
  among text,
  breakdown text,
  top_values int,
  smallest_group int
)
returns setof analytics.week_hour
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set work_mem to '64MB'
as $$
declare
  v_event_type_id constant int := analytics._event_type_id(_hour_of_week.event_name);
  v_item_id constant bigint := analytics._item_id(_hour_of_week.item);
  v_items constant bigint[] := array(
    select ancestor.item_id from track.item_ancestor as ancestor where ancestor.ancestor_item_id = v_item_id
  );
  v_days constant timestamptz[] := analytics._bounds(
    'day', _hour_of_week.since, _hour_of_week.until, coalesce(_hour_of_week.zone, 'UTC')
  );
  v_bounds constant timestamptz[] := array[v_days[1], v_days[cardinality(v_days)]];
  v_visible constant tstzmultirange := case
    when smallest_group is not null then analytics._visible_periods(
      v_event_type_id, v_item_id, _hour_of_week.among, v_bounds, _hour_of_week.smallest_group
    )
  end;
  -- Analysts see the values of each day.
  v_by_day constant boolean := analytics._is_by_day(_hour_of_week.breakdown, _hour_of_week.smallest_group);
  v_blocks int[];
  v_people bit(4096)[];
begin
  -- Read first, so that an invalid argument is an error also when there are no events.
  select array_agg(member.block), array_agg(member.people) into v_blocks, v_people
  from analytics._members(_hour_of_week.among, _hour_of_week.smallest_group) as member;

  return query
  with member as materialized (
    select entry.block, entry.people from unnest(v_blocks, v_people) as entry (block, people)
  ),

  -- Zones that PostgreSQL does not know are ignored.
  local as materialized (
    select stated.person_id, stated.zone
    from (
      select trait.person_id, trait.value #>> '{}' as zone
      from track.current_trait(null, 'timezone') as trait
      where _hour_of_week.zone is null
    ) as stated
    join pg_timezone_names as known on known.name = stated.zone
  ),

  happened as (
    select
      journey.person_id, coalesce(_hour_of_week.zone, local.zone, 'UTC') as zone, unnest(journey.occurred_at) as at,
      unnest(journey.item_ids) as item_id
    from analytics._journeys(
      array[v_event_type_id], v_event_type_id = 0, v_item_id is not null, v_bounds[1], v_bounds[2]
    ) as journey
    join member
      on member.block = journey.person_id / 4096
      and get_bit(member.people, (journey.person_id % 4096)::int) <> 0
    left join local on local.person_id = journey.person_id
  ),

  -- Hours since a Monday, which are computed faster than the weekday and the hour of each event.
  by_person as materialized (
    select
      happened.person_id,
      case when v_by_day then width_bucket(happened.at, v_days) else 0 end as day,
      (floor(date_part('epoch', happened.at at time zone happened.zone - timestamp '0001-01-01') / 3600)::bigint % 168)
        ::int as week_hour,
      count(*) as event_count
    from happened
    where (v_item_id is null or happened.item_id = any (v_items))
      and (v_visible is null or happened.at <@ v_visible)
    group by 1, 2, 3
  ),

  used as materialized (
    select array_agg(listed.day) as days, array_agg(listed.person_id) as people
    from (select distinct by_person.day, by_person.person_id from by_person where v_by_day) as listed
  ),

  part as materialized (
    select part.*
    from used
    cross join lateral analytics._groups_of_use(
      _hour_of_week.breakdown, _hour_of_week.top_values, _hour_of_week.smallest_group, v_blocks, v_people, used.days,
      used.people
    ) as part
  ),

  valued as not materialized (
    select part.value, part.is_other, by_person.week_hour, by_person.person_id, by_person.event_count
    from by_person
    join part
      on part.block = by_person.person_id / 4096
      and part.day = by_person.day
      and get_bit(part.people, (by_person.person_id % 4096)::int) <> 0
  ),

  -- The days of a person are one.
  by_value as (
    select valued.*
    from valued
    where not v_by_day

    union all

    select valued.value, valued.is_other, valued.week_hour, valued.person_id, sum(valued.event_count)::bigint
    from valued
    where v_by_day
    group by 1, 2, 3, 4
  ),

  counted as (
    select
      by_value.value, by_value.is_other, by_value.week_hour, sum(by_value.event_count) as event_count,
      count(*) as person_count
    from by_value
    group by by_value.value, by_value.is_other, by_value.week_hour
  ),

  shown as (
    select
      every.value, every.is_other, weekday.number as weekday, hour.number as hour,
      coalesce(
        analytics._shown(counted.event_count::float8, counted.person_count, _hour_of_week.smallest_group), 0
      )::bigint as event_count,
      coalesce(
        analytics._shown(counted.person_count, counted.person_count, _hour_of_week.smallest_group), 0
      )::bigint as person_count
    from (
      select distinct counted.value, counted.is_other from counted where _hour_of_week.breakdown is not null
      union all
      select null, false where _hour_of_week.breakdown is null
    ) as every
    cross join generate_series(1, 7) as weekday (number)
    cross join generate_series(0, 23) as hour (number)
    left join counted
      on counted.value is not distinct from every.value
      and counted.is_other = every.is_other
      and counted.week_hour = 24 * (weekday.number - 1) + hour.number
  )

  select
    shown.weekday, shown.hour, shown.event_count, shown.person_count,
    shown.event_count / nullif(sum(shown.event_count) over (partition by shown.is_other, shown.value), 0)::float8,
    shown.value, shown.is_other
  from shown
  order by shown.is_other, shown.value is null, shown.value, shown.weekday, shown.hour;
end;
$$;

comment on function analytics._hour_of_week(text, timestamptz, timestamptz, text, text, text, text, int, int) is $$
Computes the result of `analytics.hour_of_week`, with the privileges of the caller.
`smallest_group`: figures of groups of counted people (see `analytics._visible_periods` and `analytics._shown`);
null: exact figures of all people.
$$;

grant execute on function analytics._hour_of_week(text, timestamptz, timestamptz, text, text, text, text, int, int)
to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._hour_of_week_exact(
  event_name text,
  since timestamptz,
  until timestamptz,
  zone text,
  item text,
  among text,
  breakdown text,
  top_values int
)
returns setof analytics.week_hour
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select *
  from analytics._hour_of_week(
    $1, $2, $3, $4, $5, $6, $7, $8, null
  );
$$;

alter function analytics._hour_of_week_exact(text, timestamptz, timestamptz, text, text, text, text, int)
owner to insights_reader;

comment on function analytics._hour_of_week_exact(text, timestamptz, timestamptz, text, text, text, text, int) is $$
Returns the result of `analytics.hour_of_week` with exact figures of all people, for admins and workers.
$$;

grant execute on function analytics._hour_of_week_exact(text, timestamptz, timestamptz, text, text, text, text, int)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._hour_of_week_shown(
  event_name text,
  since timestamptz,
  until timestamptz,
  zone text,
  item text,
  among text,
  breakdown text,
  top_values int
)
returns setof analytics.week_hour
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select *
  from analytics._hour_of_week(
    $1, $2, $3, $4, $5, $6, $7, $8, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._hour_of_week_shown(text, timestamptz, timestamptz, text, text, text, text, int)
owner to insights_reader;

comment on function analytics._hour_of_week_shown(text, timestamptz, timestamptz, text, text, text, text, int) is $$
Returns the result of `analytics.hour_of_week` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._hour_of_week_shown(text, timestamptz, timestamptz, text, text, text, text, int)
to insights_analyst;

create or replace function analytics.hour_of_week(
  event_name text default null,
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '84 days') at time zone 'UTC',
  until timestamptz default now(),
  zone text default null,
  item text default null,
  among text default null,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.week_hour
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._hour_of_week_exact(text, timestamptz, timestamptz, text, text, text, text, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._hour_of_week_exact(
      hour_of_week.event_name, hour_of_week.since, hour_of_week.until, hour_of_week.zone, hour_of_week.item,
      hour_of_week.among, hour_of_week.breakdown, hour_of_week.top_values
    );
  else
    return query
    select *
    from analytics._hour_of_week_shown(
      hour_of_week.event_name, hour_of_week.since, hour_of_week.until, hour_of_week.zone, hour_of_week.item,
      hour_of_week.among, hour_of_week.breakdown, hour_of_week.top_values
    );
  end if;
end;
$$;

comment on function analytics.hour_of_week(text, timestamptz, timestamptz, text, text, text, text, int) is $$
Returns when in the week people are active: events and people by weekday and hour, in the time of each person.
For each person the zone is that of her trait `timezone`, as of now, and UTC without one; `zone`: one zone for all.
There are 168 rows: weekday 1 is Monday, hour 0 the hour after midnight. An hour that clocks repeat counts with the
other one. `event_name`: such as `Task Started` or `Task Submitted`; null: any event that is not automatic. `item`:
with what it contains. `among`: people of these sets now. The period is extended to whole days (of `zone`, or UTC).
`breakdown`: `set.<family>` or `trait.<name>`, as of now: the result for the people of each value, of at most
`top_values`; for analysts, values of too few people on a day are in its rest (`analytics._groups_by_day`).
For admins and workers, figures are exact and include anonymous browsers. Analysts see figures of counted people, of
days on which at least `analytics.setting.smallest_group` of them did the event, or of the small days of a week
together; an hour of fewer people reads as 0, and others are rounded by `analytics._shown`.
The result includes every event that was stored when the function was called, also before a refresh.
Errors: CF001 for an invalid argument, CF002 for an unknown event, item, set or zone (names the nearest).
$$;

grant execute on function analytics.hour_of_week(text, timestamptz, timestamptz, text, text, text, text, int)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/learning/hour_of_week.sql

--! Included analytics/learning/_visible_learners.sql
create or replace function analytics._visible_learners(
  course text,
  among text,
  breakdown text,
  out course_id bigint,
  out learners bigint[],
  out smallest_group int
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_reads_all constant boolean := track.reads_all_people();
  v_caller constant text := case current_setting('role') when 'none' then session_user else current_setting('role') end;
  v_teaches constant boolean := not v_reads_all and not pg_has_role(v_caller, 'insights_analyst', 'usage');
begin
  -- For an instructor, only a course that she teaches now.
  course_id := case
    when v_teaches then analytics._course_id(_visible_learners.course)
    else analytics._item_id(_visible_learners.course)
  end;
  if v_teaches and (_visible_learners.among is not null or _visible_learners.breakdown is not null) then
    perform common.refuse(
      'CF005', 'instructors cannot filter by sets of people, or break down by them',
      'Leave among and breakdown out: the learners of the course are meant.'
    );
  end if;
  if not v_reads_all and not v_teaches then
    smallest_group := (select setting.smallest_group from analytics.setting);
  end if;

  if course_id is null then
    learners := analytics._people_among(_visible_learners.among, _visible_learners.smallest_group);
    return;
  end if;
  learners := analytics._enrolled_learners(
    _visible_learners.course_id, _visible_learners.among, _visible_learners.smallest_group, true
  );
  if v_teaches then
    learners := array(
      select learner.person_id
      from analytics._course_people(_visible_learners.course_id, _visible_learners.learners) as learner
      where learner.is_shown
    );
  end if;
end;
$$;

comment on function analytics._visible_learners(text, text, text) is $$
Returns a course, the people enrolled in it whose figures the caller may see, and the floor that applies to them.
`course` null: all people, for administrators, workers and analysts.
Called by definers: it reads the role of the caller. Administrators and workers: all but excluded people, of these sets
now (`among`), and no floor (null). Analysts: the counted ones of them, and `analytics.setting.smallest_group`.
Instructors: those of a course that they teach now, without people who have opted out of `analytics` and those whose
data is restricted, and no floor. People who have dropped the course are included.
Errors: CF001 and CF002 as `analytics._among`; CF002 for an unknown course, or one that the instructor does not teach;
CF005 for `among` or `breakdown` given by an instructor.
$$;

grant execute on function analytics._visible_learners(text, text, text) to insights_reader;
--! EndIncluded analytics/learning/_visible_learners.sql

--! Included analytics/learning/_item_uses.sql
create or replace function analytics._item_uses(
  people bigint[], items bigint[], since timestamptz[], until timestamptz[]
)
returns table (person_id bigint, item_id bigint, started_at timestamptz, ended_at timestamptz)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set work_mem to '64MB'
-- The best plan depends on the number of people.
set plan_cache_mode to force_custom_plan
-- A list of events is unnested in a nested loop, whatever the caller has set.
set enable_nestloop to on
as $$
declare
  v_queued record;
begin
  v_queued := track.queued_days('0001-01-01', 'infinity', _item_uses.people);
  return query
  with person as materialized (
    select
      entry.person_id, coalesce(entry.since, '-infinity') as since, coalesce(entry.until, 'infinity') as until
    from unnest(_item_uses.people, _item_uses.since, _item_uses.until) as entry (person_id, since, until)
  ),

  used as (
    select step.person_id, place.item_id::bigint as item_id, place.at
    from track.step
    cross join lateral unnest(step.occurred_at, step.item_ids) as place (at, item_id)
    where step.person_id = any (_item_uses.people)
      and step.person_id <> all (coalesce(v_queued.people, '{}'))
      and not step.is_automatic
      -- Here, so that few rows leave the scan, which may be parallel.
      and place.item_id = any (_item_uses.items)

    union all

    select event.person_id, event.item_id, event.occurred_at as at
    from track.event
    join track.event_type on event_type.event_type_id = event.event_type_id and not event_type.is_automatic
    join track.source on source.source_id = event.source_id and not source.is_automatic
    where event.person_id = any (v_queued.people)
      and event.item_id = any (_item_uses.items)
  )

  select used.person_id, used.item_id, min(used.at), max(used.at)
  from used
  join person on person.person_id = used.person_id and used.at between person.since and person.until
  group by used.person_id, used.item_id;
end;
$$;

comment on function analytics._item_uses(bigint[], bigint[], timestamptz[], timestamptz[]) is $$
Returns which items people have used, with the times of the first and the last event of each.
Of these people and items, in the period of each person at the same position (both ends inclusive; null: no limit).
Automatic events are left out. People who are queued for a refresh are read from their
events, all others from their journeys, so that the result is the same before and after a refresh.
$$;

grant execute on function analytics._item_uses(bigint[], bigint[], timestamptz[], timestamptz[]) to insights_reader;
--! EndIncluded analytics/learning/_item_uses.sql

--! Included analytics/views.sql
/*
 * Views for BI tools, over the public functions: the privileges of the reader decide, as in a call of the function. The
 * functions do not see the filters of a query, so that each view has a fixed period.
 */
create or replace view analytics.daily_events with (security_invoker = true) as
select
  point.bucket_start as day_start,
  event_type.name as event,
  point.event_count,
  point.person_count,
  point.is_complete
from track.event_type
cross join lateral analytics.trend(
  event_name => event_type.name, bucket => 'day', since => now() - interval '400 days', until => now()
) as point
where event_type.merged_event_type_id is null;

comment on view analytics.daily_events is $$
@behavior -*
Number of events and people by day (UTC) and event type, of the last 400 days, for BI tools.
The figures are those of `analytics.trend`. Select one event to read its days only.
$$;
comment on column analytics.daily_events.day_start is $$Start of the day.$$;
comment on column analytics.daily_events.event is $$Name of the event.$$;
comment on column analytics.daily_events.event_count is $$Number of events.$$;
comment on column analytics.daily_events.person_count is $$Number of distinct people.$$;
comment on column analytics.daily_events.is_complete is $$Whether the day has ended.$$;

create or replace view analytics.weekly_events with (security_invoker = true) as
select
  point.bucket_start as week_start,
  event_type.name as event,
  point.event_count,
  point.person_count,
  point.is_complete
from track.event_type
cross join lateral analytics.trend(
  event_name => event_type.name, bucket => 'week', since => now() - interval '400 days', until => now()
) as point
where event_type.merged_event_type_id is null;

comment on view analytics.weekly_events is $$
@behavior -*
Number of events and people by week (from Monday, UTC) and event type, of the last 400 days, for BI tools.
The figures are those of `analytics.trend`. Distinct people of a week are not the sum of those of its days.
$$;
comment on column analytics.weekly_events.week_start is $$Start of the week.$$;
comment on column analytics.weekly_events.event is $$Name of the event.$$;
comment on column analytics.weekly_events.event_count is $$Number of events.$$;
comment on column analytics.weekly_events.person_count is $$Number of distinct people.$$;
comment on column analytics.weekly_events.is_complete is $$Whether the week has ended.$$;

create or replace view analytics.daily_active_people with (security_invoker = true) as
select
  point.bucket_start as day_start,
  max(point.person_count) filter (where point.window_days = 1) as daily_people,
  max(point.person_count) filter (where point.window_days = 7) as weekly_people,
  max(point.person_count) filter (where point.window_days = 30) as monthly_people,
  bool_and(point.is_complete) as is_complete
from analytics.active_people(since => now() - interval '400 days', until => now(), windows => '{1,7,30}') as point
group by point.bucket_start;

comment on view analytics.daily_active_people is $$
@behavior -*
Daily, weekly and monthly active people (DAU, WAU, MAU) by day (UTC), of the last 400 days, for BI tools.
The figures are those of `analytics.active_people`.
$$;
comment on column analytics.daily_active_people.day_start is $$Start of the day.$$;
comment on column analytics.daily_active_people.daily_people is $$Number of distinct people active on the day.$$;
comment on column analytics.daily_active_people.weekly_people is $$
Number of distinct people active in the 7 days that end with the day.
$$;
comment on column analytics.daily_active_people.monthly_people is $$
Number of distinct people active in the 30 days that end with the day.
$$;
comment on column analytics.daily_active_people.is_complete is $$Whether the day has ended.$$;

create or replace view analytics.weekly_lifecycle with (security_invoker = true) as
select
  point.bucket_start as week_start,
  point.new_people,
  point.returning_people,
  point.resurrecting_people,
  point.dormant_people,
  point.is_complete
from analytics.lifecycle(bucket => 'week', since => now() - interval '400 days', until => now()) as point;

comment on view analytics.weekly_lifecycle is $$
@behavior -*
New, returning, resurrecting and dormant people by week (from Monday, UTC), of the last 400 days, for BI tools.
The figures are those of `analytics.lifecycle`.
$$;
comment on column analytics.weekly_lifecycle.week_start is $$Start of the week.$$;
comment on column analytics.weekly_lifecycle.new_people is $$Active people whose first event is in the week.$$;
comment on column analytics.weekly_lifecycle.returning_people is $$People active in the week and in the one before.$$;
comment on column analytics.weekly_lifecycle.resurrecting_people is $$
People active in the week and in an earlier one, but not in the one before.
$$;
comment on column analytics.weekly_lifecycle.dormant_people is $$
People active in the week before, but not in the week.
$$;
comment on column analytics.weekly_lifecycle.is_complete is $$Whether the week has ended.$$;

create or replace view analytics.weekly_retention with (security_invoker = true) as
select
  cell.cohort_start as cohort_week_start,
  cell.cohort_size,
  cell.period as weeks_later,
  cell.period_start as week_start,
  cell.person_count,
  cell.share,
  cell.is_complete
from analytics.retention(bucket => 'week', since => now() - interval '182 days', until => now(), periods => 26) as cell
where cell.cohort_start is not null;

comment on view analytics.weekly_retention is $$
@behavior -*
People of each week (from Monday, UTC) of the last 26 who were active in later weeks, for BI tools.
The figures are those of `analytics.retention`.
$$;
comment on column analytics.weekly_retention.cohort_week_start is $$
Start of the week in which the people of the cohort were active.
$$;
comment on column analytics.weekly_retention.cohort_size is $$Number of people of the cohort.$$;
comment on column analytics.weekly_retention.weeks_later is $$Number of weeks after that of the cohort, from 0.$$;
comment on column analytics.weekly_retention.week_start is $$Start of the later week.$$;
comment on column analytics.weekly_retention.person_count is $$
Number of people of the cohort who were active in the later week.
$$;
comment on column analytics.weekly_retention.share is $$Share of the cohort; null for a cohort without people.$$;
comment on column analytics.weekly_retention.is_complete is $$Whether the later week has ended.$$;

create or replace view analytics.course_overview with (security_invoker = true) as
select
  summary.course,
  summary.title,
  summary.person_count,
  summary.enrolment_count,
  summary.completion_count,
  summary.dropped_count,
  summary.completion_rate,
  summary.event_count,
  extract(epoch from summary.engaged)::float8 / 3600 as engaged_hours,
  summary.last_day,
  summary.refreshed_at
from analytics.course_summaries() as summary;

comment on view analytics.course_overview is $$
@behavior -*
Use and completion of each course, over all time, for BI tools.
The figures are those of `analytics.course_summaries`, as of the last refresh.
$$;
comment on column analytics.course_overview.course is $$External id of the course.$$;
comment on column analytics.course_overview.title is $$Title of the course; null when unknown.$$;
comment on column analytics.course_overview.person_count is $$Number of distinct people.$$;
comment on column analytics.course_overview.enrolment_count is $$Number of people who were ever enrolled.$$;
comment on column analytics.course_overview.completion_count is $$Number of them who completed the course.$$;
comment on column analytics.course_overview.dropped_count is $$Number of them who dropped the course.$$;
comment on column analytics.course_overview.completion_rate is $$
Share of the enrolled people who completed the course; null without them.
$$;
comment on column analytics.course_overview.event_count is $$Number of events.$$;
comment on column analytics.course_overview.engaged_hours is $$Engaged time, in hours.$$;
comment on column analytics.course_overview.last_day is $$Last day of use, UTC; null when there is none.$$;
comment on column analytics.course_overview.refreshed_at is $$Time of the refresh.$$;

create or replace view analytics.course_popularity with (security_invoker = true) as
select
  popular.rank,
  popular.course,
  popular.title,
  popular.person_count,
  popular.event_count,
  extract(epoch from popular.engaged)::float8 / 3600 as engaged_hours,
  popular.enrolment_count,
  popular.completion_count,
  popular.completion_rate,
  popular.rating_count,
  popular.mean_rating
from analytics.popular_courses(since => now() - interval '28 days', until => now(), top => 1000) as popular;

comment on view analytics.course_popularity is $$
@behavior -*
The 1,000 courses with the most people of the last 28 days, with completion and ratings, for BI tools.
The figures are those of `analytics.popular_courses`.
$$;
comment on column analytics.course_popularity.rank is $$Rank, 1 for the course with the most people.$$;
comment on column analytics.course_popularity.course is $$External id of the course.$$;
comment on column analytics.course_popularity.title is $$Title of the course; null when unknown.$$;
comment on column analytics.course_popularity.person_count is $$Number of distinct people.$$;
comment on column analytics.course_popularity.event_count is $$Number of events.$$;
comment on column analytics.course_popularity.engaged_hours is $$Engaged time, in hours.$$;
comment on column analytics.course_popularity.enrolment_count is $$
Number of people who enrolled: see `analytics.popular_courses`.
$$;
comment on column analytics.course_popularity.completion_count is $$Number of these people who completed the course.$$;
comment on column analytics.course_popularity.completion_rate is $$Share of these people who completed the course.$$;
comment on column analytics.course_popularity.rating_count is $$Number of ratings.$$;
comment on column analytics.course_popularity.mean_rating is $$Mean of the ratings; null without them.$$;

create or replace view analytics.feature_overview with (security_invoker = true) as
select
  used.rank,
  used.event,
  used.person_count,
  used.event_count,
  used.adoption_rate,
  used.events_per_person,
  used.days_per_person,
  used.new_person_count,
  used.return_rate,
  used.person_growth,
  used.first_day,
  used.last_day
from analytics.feature_usage(since => now() - interval '28 days', until => now(), top => 1000) as used;

comment on view analytics.feature_overview is $$
@behavior -*
Use, adoption and return of each feature of the last 28 days, for BI tools.
The figures are those of `analytics.feature_usage`.
$$;
comment on column analytics.feature_overview.rank is $$Rank, 1 for the feature with the most people.$$;
comment on column analytics.feature_overview.event is $$Name of the event.$$;
comment on column analytics.feature_overview.person_count is $$Number of distinct people.$$;
comment on column analytics.feature_overview.event_count is $$Number of events.$$;
comment on column analytics.feature_overview.adoption_rate is $$
Share of the active people who used the feature; null without active people.
$$;
comment on column analytics.feature_overview.events_per_person is $$Events per person; null without people.$$;
comment on column analytics.feature_overview.days_per_person is $$Days with use per person; null without people.$$;
comment on column analytics.feature_overview.new_person_count is $$
Number of people who never used the feature before the period.
$$;
comment on column analytics.feature_overview.return_rate is $$
Share of the people who used it 7 days or more before the end who used it again 7 days or more later.
Null without such people.
$$;
comment on column analytics.feature_overview.person_growth is $$
Relative change of the number of people from the 28 days before; null without people then.
$$;
comment on column analytics.feature_overview.first_day is $$Day of the first use, UTC; null when there is none.$$;
comment on column analytics.feature_overview.last_day is $$Day of the last use, UTC; null when there is none.$$;

create or replace view analytics.segment_overview with (security_invoker = true) as
select
  size.segment,
  size.description,
  size.person_count,
  size.share,
  size.former_count,
  size.as_of,
  size.former_as_of
from analytics.segments() as size;

comment on view analytics.segment_overview is $$
@behavior -*
Number of people of each segment, now and 28 days earlier, for BI tools.
The figures are those of `analytics.segments`.
$$;
comment on column analytics.segment_overview.segment is $$Name of the segment.$$;
comment on column analytics.segment_overview.description is $$Description.$$;
comment on column analytics.segment_overview.person_count is $$Number of people.$$;
comment on column analytics.segment_overview.share is $$Share of the people of all segments, from 0 to 1.$$;
comment on column analytics.segment_overview.former_count is $$Number of people 28 days earlier.$$;
comment on column analytics.segment_overview.as_of is $$Day (UTC) as of which the segment is computed.$$;
comment on column analytics.segment_overview.former_as_of is $$Day (UTC) of the earlier number.$$;

create or replace view analytics.cohort_overview with (security_invoker = true) as
select size.name, size.description, size.is_live, size.person_count, size.as_of
from analytics.cohorts() as size;

comment on view analytics.cohort_overview is $$
@behavior -*
Number of people of each cohort and segment, for BI tools.
The figures are those of `analytics.cohorts`.
$$;
comment on column analytics.cohort_overview.name is $$Set of people, such as `cohort.beta` or `segment.power`.$$;
comment on column analytics.cohort_overview.description is $$Description.$$;
comment on column analytics.cohort_overview.is_live is $$Whether its people follow its rule; false: a fixed list.$$;
comment on column analytics.cohort_overview.person_count is $$Number of people.$$;
comment on column analytics.cohort_overview.as_of is $$
Day (UTC) as of which its rule is computed; null for a list without a rule.
$$;

grant select on
  analytics.daily_events, analytics.weekly_events, analytics.daily_active_people, analytics.weekly_lifecycle,
  analytics.weekly_retention, analytics.course_overview, analytics.course_popularity, analytics.feature_overview,
  analytics.segment_overview, analytics.cohort_overview
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/views.sql

--! Included recommend/interactions/_kept_of.sql
/*
 * Interactions whose first event is deleted are kept, others are not: a changed weight, a merge or an unlink changes
 * what the events say, and the events are then at another person or have another weight, but exist.
 */
create or replace function recommend._kept_of(
  people bigint[],
  items bigint[],
  first_at timestamptz[],
  owners bigint[]
)
returns setof recommend.taken
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
-- The statistics of a new database are those of empty tables.
set enable_seqscan to off
as $$
declare
  v_full_weight constant real := (select full_weight from recommend.setting);
  v_kept_kinds constant text[] := (select kept_kinds from recommend.setting);
  v_people bigint[] := '{}';
  v_items bigint[] := '{}';
  v_suspect record;
begin
  -- One by one: Citus finds the event on its worker, and plans no correlated subquery.
  for v_suspect in
    select suspect.person_id, suspect.item_id, suspect.first_at, suspect.owner_id
    from unnest(_kept_of.people, _kept_of.items, _kept_of.first_at, _kept_of.owners)
      as suspect (person_id, item_id, first_at, owner_id)
    where suspect.owner_id is not null
  loop
    if not exists (
      select
      from track.event
      where event.person_id = v_suspect.owner_id
        and event.occurred_at = v_suspect.first_at
    ) then
      v_people := v_people || v_suspect.person_id;
      v_items := v_items || v_suspect.item_id;
    end if;
  end loop;
  if v_people = '{}' then
    return;
  end if;

  return query
  with target as materialized (
    select distinct gone.person_id, item.item_id
    from unnest(_kept_of.people, _kept_of.items) as gone (person_id, item_id)
    join track.item_ancestor as ancestor on ancestor.item_id = gone.item_id
    join track.item on item.item_id = ancestor.ancestor_item_id
    where gone.person_id = any (v_people)
      and gone.item_id = any (v_items)
      and item.kind = any (v_kept_kinds)
  ),

  summed as (
    select
      target.person_id,
      target.item_id,
      (
        array_agg(coalesce(interaction.identity_id, interaction.person_id)
          order by interaction.first_at, interaction.identity_id)
      )[1] as identity_id,
      min(interaction.first_at) as first_at,
      max(interaction.last_at) as last_at,
      sum(interaction.weight::float8) as weight,
      max(interaction.completed_at) filter (where part.depth = 0) as completed_at,
      max(interaction.dropped_at) filter (where part.depth = 0) as dropped_at,
      max(interaction.dismissed_at) filter (where part.depth = 0) as dismissed_at,
      max(interaction.liking) filter (where part.depth = 0) as liking,
      max(interaction.liked_at) filter (where part.depth = 0) as liked_at,
      max(interaction.known_at) filter (where part.depth = 0) as known_at,
      max(interaction.topic_dismissed_at) filter (where part.depth = 0) as topic_dismissed_at,
      coalesce(max(interaction.withdrawn_at) filter (where part.depth = 0), '-infinity') as withdrawn_at
    from target
    join track.item_ancestor as part on part.ancestor_item_id = target.item_id
    join recommend.interaction
      on interaction.person_id = target.person_id
      and interaction.item_id = part.item_id
    group by target.person_id, target.item_id
  )

  select
    summed.person_id, summed.identity_id, summed.item_id, summed.first_at, summed.last_at,
    case when summed.weight >= v_full_weight then summed.last_at end,
    summed.completed_at,
    summed.dropped_at,
    case when summed.dismissed_at > summed.withdrawn_at then summed.dismissed_at end,
    case when summed.liked_at > summed.withdrawn_at then summed.liking end,
    case when summed.liked_at > summed.withdrawn_at then summed.liked_at end,
    case when summed.known_at > summed.withdrawn_at then summed.known_at end,
    case when summed.topic_dismissed_at > summed.withdrawn_at then summed.topic_dismissed_at end
  from summed;
end;
$$;

comment on function recommend._kept_of(bigint[], bigint[], timestamptz[], bigint[]) is $$
@behavior -*
Returns rows of `recommend.taken` for those of the given stored interactions whose first event is deleted.
The lists have one position per interaction whose first event is not among those of the person any more; `owners` are
the people to whom these events belong now. The rows are those of the items of `recommend.setting.kept_kinds` that
contain the items, computed from the stored interactions.
$$;

grant execute on function recommend._kept_of(bigint[], bigint[], timestamptz[], bigint[])
to insights_reader, insights_learner;
--! EndIncluded recommend/interactions/_kept_of.sql

--! Included recommend/interactions/refresh_interactions.sql
/*
 * An event can add to, complete or dismiss an interaction, and a merge or an erasure can remove events. Therefore the
 * interactions of the changed people are recomputed from all of their events. Only rows that differ are written.
 */
create or replace function recommend.refresh_interactions(people bigint[], since timestamptz[], until timestamptz[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_by_default constant boolean := (
    select purpose.basis <> 'consent'
    from privacy.purpose
    where purpose.purpose = 'personalization'
  );
  -- With the default "allowed", the decisions that matter are opt-outs; with the default "not allowed", grants.
  v_allowed constant bigint[] := array(
    select distinct changed.person_id
    from unnest(refresh_interactions.people) as changed (person_id)
    where v_by_default <> (
      changed.person_id in (
        select decision.person_id
        from privacy.latest_decisions('personalization', refresh_interactions.people) as decision
        where decision.granted <> v_by_default
      )
    )
  );
  v_topics recommend.dismissed_topic[];
begin
  if exists (select 1 from recommend.taken where taken.person_id = any (refresh_interactions.people)) then
    perform recommend._move_taken(refresh_interactions.people);
  end if;

  with fresh as materialized (
    select interaction.*
    from recommend._interactions_of(v_allowed) as interaction
  ),

  -- Stored interactions whose first event is not among those of the person any more: it was moved, or is deleted.
  suspect as (
    select
      array_agg(interaction.person_id) as people,
      array_agg(interaction.item_id) as items,
      array_agg(interaction.first_at) as first_at,
      array_agg(coalesce(interaction.identity_id, interaction.person_id)) as identity_ids
    from recommend.interaction
    where interaction.person_id = any (v_allowed)
      and not exists (
        select 1
        from fresh
        where fresh.person_id = interaction.person_id
          and fresh.item_id = interaction.item_id
          and fresh.first_at = interaction.first_at
      )
  ),

  kept as (
    select
      array_agg(taken) as interactions,
      track.people_of_identities(array_agg(taken.identity_id), array_agg(taken.first_at)) as owners
    from suspect
    -- A table of the coordinator: Citus would call the functions on a worker.
    cross join recommend.setting
    cross join lateral recommend._kept_of(
      suspect.people, suspect.items, suspect.first_at,
      track.people_of_identities(suspect.identity_ids, suspect.first_at)
    ) as taken
  ),

  stored_taken as (
    insert into recommend.taken (
      person_id, identity_id, item_id, first_at, last_at, taken_at, completed_at, dropped_at, dismissed_at, liking,
      liked_at, known_at, topic_dismissed_at
    )
    select distinct on (entry.owner_id, entry.item_id, entry.identity_id)
      entry.owner_id, entry.identity_id, entry.item_id, entry.first_at, entry.last_at, entry.taken_at,
      entry.completed_at, entry.dropped_at, entry.dismissed_at, entry.liking, entry.liked_at, entry.known_at,
      entry.topic_dismissed_at
    from kept
    cross join lateral unnest(kept.interactions, kept.owners) as entry (
      person_id, identity_id, item_id, first_at, last_at, taken_at, completed_at, dropped_at, dismissed_at, liking,
      liked_at, known_at, topic_dismissed_at, owner_id
    )
    where entry.owner_id is not null
      and num_nonnulls(
        entry.taken_at, entry.completed_at, entry.dropped_at, entry.dismissed_at, entry.liked_at, entry.known_at,
        entry.topic_dismissed_at
      ) > 0
      and privacy.may_store(entry.owner_id, 'personalization')
    order by entry.owner_id, entry.item_id, entry.identity_id, entry.last_at desc
    on conflict (person_id, item_id, identity_id) do update
    set
      first_at = least(taken.first_at, excluded.first_at),
      last_at = greatest(taken.last_at, excluded.last_at),
      taken_at = greatest(taken.taken_at, excluded.taken_at),
      completed_at = greatest(taken.completed_at, excluded.completed_at),
      dropped_at = greatest(taken.dropped_at, excluded.dropped_at),
      dismissed_at = greatest(taken.dismissed_at, excluded.dismissed_at),
      liking = case when excluded.liked_at >= taken.liked_at or taken.liked_at is null then excluded.liking
        else taken.liking end,
      liked_at = greatest(taken.liked_at, excluded.liked_at),
      known_at = greatest(taken.known_at, excluded.known_at),
      topic_dismissed_at = greatest(taken.topic_dismissed_at, excluded.topic_dismissed_at)
  ),

  deleted as (
    delete from recommend.interaction
    where interaction.person_id = any (refresh_interactions.people)
      and not exists (
        select 1
        from fresh
        where fresh.person_id = interaction.person_id
          and fresh.item_id = interaction.item_id
      )
  ),

  stored as (
    insert into recommend.interaction (
      person_id, item_id, weight, event_count, first_at, last_at, completed_at, dismissed_at, identity_id, dropped_at,
      resumed_at, liking, liked_at, known_at, topic_dismissed_at, withdrawn_at
    )
    select
      person_id, item_id, weight, event_count, first_at, last_at, completed_at, dismissed_at, identity_id, dropped_at,
      resumed_at, liking, liked_at, known_at, topic_dismissed_at, withdrawn_at
    from fresh
    where topic is null
    on conflict (person_id, item_id) do update
    set
      weight = excluded.weight,
      event_count = excluded.event_count,
      first_at = excluded.first_at,
      last_at = excluded.last_at,
      completed_at = excluded.completed_at,
      dismissed_at = excluded.dismissed_at,
      identity_id = excluded.identity_id,
      dropped_at = excluded.dropped_at,
      resumed_at = excluded.resumed_at,
      liking = excluded.liking,
      liked_at = excluded.liked_at,
      known_at = excluded.known_at,
      topic_dismissed_at = excluded.topic_dismissed_at,
      withdrawn_at = excluded.withdrawn_at
    where interaction is distinct from excluded
  )

  select array_agg(
    row(
      fresh.person_id, fresh.topic, fresh.topic_dismissed_at, fresh.withdrawn_at, fresh.identity_id, fresh.first_at
    )::recommend.dismissed_topic
  )
  into v_topics
  from fresh
  where fresh.topic is not null;

  if v_topics is not null
    or exists (
      select 1 from recommend.dismissed_topic where dismissed_topic.person_id = any (refresh_interactions.people)
    )
  then
    perform recommend._store_topics(refresh_interactions.people, v_allowed, v_topics);
  end if;
end;
$$;

comment on function recommend.refresh_interactions(bigint[], timestamptz[], timestamptz[]) is $$
Recomputes `recommend.interaction` for the given people, whose events or decisions changed. Called by `track.refresh`.
All events of these people are read; `since` and `until` are not used. Idempotent, also after late events, merges of
people and deletions. People who have opted out of `personalization` have no interactions. Interactions whose events are
deleted are kept in `recommend.taken` as far as they leave items out of lists.
$$;
--! EndIncluded recommend/interactions/refresh_interactions.sql

--! Included recommend/feedback/_serving_content.sql
create or replace function recommend._serving_content(serving_id text)
returns recommend.serving
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_fields text[] := string_to_array(left(_serving_content.serving_id, -33), '.');
  v_last constant text := v_fields[cardinality(v_fields)];
  v_arm text[];
begin
  -- An experiment is the last field. It alone begins with a letter, but for the basis, which is the seventh.
  if cardinality(v_fields) > 7 and starts_with(v_last, 'e') then
    v_arm := string_to_array(substr(v_last, 2), '-');
    v_fields := trim_array(v_fields, 1);
  end if;
  if cardinality(v_fields) not between 7 and 8 or v_fields[1] !~ '^[0-9]' then
    return row(
      null, null, null, null, null, null, null, null, null, 'was made by an earlier release', null, null
    )::recommend.serving;
  end if;
  -- In one expression, because each row of a list that is served is read.
  return row(
    right(_serving_content.serving_id, 32)::uuid,
    nullif(v_fields[1]::bigint, 0),
    v_fields[2]::bigint,
    v_fields[3]::int,
    nullif(v_fields[4]::bigint, 0) / 1e9::float8,
    to_timestamp(v_fields[5]::bigint / 1000.0),
    nullif(v_fields[6]::bigint, 0),
    v_fields[7],
    string_to_array(v_fields[8], '-')::bigint[],
    null,
    v_arm[1]::int,
    v_arm[2]::smallint
  )::recommend.serving;
end;
$$;

comment on function recommend._serving_content(text) is $$
@behavior -*
Returns the content of a `serving_id` that this installation has signed: see `recommend._serving_id`.
The signature is not checked here: `recommend._read_serving_id` does, for the ids that clients send back.
$$;

grant execute on function recommend._serving_content(text) to insights_reader, insights_learner;
--! EndIncluded recommend/feedback/_serving_content.sql

--! Included recommend/feedback/_people_who_refuse.sql
create or replace function recommend._people_who_refuse(people bigint[])
returns bigint[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_by_default constant boolean := (
    select purpose.basis <> 'consent'
    from privacy.purpose
    where purpose.purpose = 'personalization'
  );
begin
  -- With the default "allowed", the decisions that matter are opt-outs; with the default "not allowed", grants.
  return array(
    select distinct changed.person_id
    from unnest(_people_who_refuse.people) as changed (person_id)
    where v_by_default = (
      changed.person_id in (
        select decision.person_id
        from privacy.latest_decisions('personalization', _people_who_refuse.people) as decision
        where decision.granted <> v_by_default
      )
    )
  );
end;
$$;

comment on function recommend._people_who_refuse(bigint[]) is $$
@behavior -*
Returns the ones of the given people whose lists are not stored, because of their decision about `personalization`.
Without one, the basis of the purpose decides.
$$;
--! EndIncluded recommend/feedback/_people_who_refuse.sql

--! Included recommend/feedback/_answers.sql
create or replace function recommend._answers(servings recommend.impression[])
returns setof recommend.impression
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_setting constant recommend.setting := (select setting from recommend.setting);
  -- The clock of a client may be behind.
  v_tolerance constant interval := (select clock_tolerance from track.setting);
  v_clicked constant int[] := recommend._event_types_named('Recommendation Clicked');
  v_named constant record := recommend._event_names();
  v_event_type_ids constant int[] := v_named.event_type_ids;
  v_events constant text[] := v_named.events;
begin
  return query
  with serving as materialized (
    select given.*
    from unnest(_answers.servings) as given
  ),

  span as materialized (
    select
      serving.person_id,
      min(serving.listed_at) - v_tolerance as since,
      max(serving.listed_at) + greatest(v_setting.serving_period, v_setting.attribution_period) as until
    from serving
    group by serving.person_id
  ),

  weighed as materialized (
    select named.event_type_id, event_weight.*
    from unnest(v_event_type_ids, v_events) as named (event_type_id, event)
    join recommend.event_weight on event_weight.event = named.event
  ),

  said as materialized (
    select
      event.person_id, event.occurred_at, event.event_id, event.item_id, event.named_item_id,
      coalesce(event.named_event_type_id, event.event_type_id) as event_type_id,
      case
        when event.properties ? 'servingId' then recommend._read_serving_id(event.properties ->> 'servingId')
      end as serving,
      weighed.completes, weighed.dismisses,
      -- With a topic, it is the dismissal of the topic that is withdrawn.
      weighed.withdraws and nullif(event.properties ->> 'topic', '') is null as withdraws,
      coalesce(
        weighed.liking,
        case
          when jsonb_typeof(event.properties -> weighed.value_property) = 'number'
            then recommend._rating_to_liking(
              (event.properties ->> weighed.value_property)::float8, weighed.value_from, weighed.value_to
            )
        end
      ) as liking
    from span
    join track.event
      on event.person_id = span.person_id
      and event.occurred_at >= span.since
      and event.occurred_at <= span.until
    left join weighed on weighed.event_type_id = coalesce(event.named_event_type_id, event.event_type_id)
    where event.properties ? 'servingId'
      or weighed.completes
      or weighed.withdraws
  ),

  -- An answer acts on the item of its event. It is one to the row when this is the item of the row, under any name.
  answered as (
    select
      serving.person_id, serving.serving_key,
      min(said.occurred_at) as seen_at,
      min(said.occurred_at) filter (
        where said.event_type_id = any (v_clicked) and (said.item_id is null or about_row.is_true)
      ) as clicked_at,
      max(said.occurred_at) filter (where said.dismisses and about_row.is_true) as dismissed_at,
      max(said.occurred_at) filter (where said.liking is not null and about_row.is_true) as liked_at,
      (
        array_agg(said.liking order by said.occurred_at desc, said.event_id desc)
        filter (where said.liking is not null and about_row.is_true)
      )[1] as liking
    from serving
    join track.item as recommended on recommended.item_id = serving.item_id
    join said
      on said.person_id = serving.person_id
      and (said.serving).serving_key = serving.serving_key
      and said.occurred_at >= serving.listed_at - v_tolerance
      and said.occurred_at <= serving.listed_at + v_setting.serving_period
    cross join lateral (
      select coalesce(
        serving.item_id in (said.item_id, said.named_item_id) or recommended.merged_item_id = said.item_id, false
      ) as is_true
    ) as about_row
    group by serving.person_id, serving.serving_key
  ),

  -- Of an item as it was named, or as it is called since a merge: both change only with the event.
  about as (
    select said.person_id, said.item_id, said.occurred_at, said.completes, said.withdraws
    from said
    where said.completes
      or said.withdraws

    union all

    select said.person_id, said.named_item_id, said.occurred_at, said.completes, said.withdraws
    from said
    where said.named_item_id is not null
      and (said.completes or said.withdraws)

    union all

    select enrolment.person_id, enrolled.item_id, enrolment.ended_at, true, false
    from span
    join track.enrolment on enrolment.person_id = span.person_id
    cross join lateral (values (enrolment.item_id), (enrolment.named_item_id)) as enrolled (item_id)
    where enrolment.status = 'completed'
  ),

  withdrawn as (
    select by_row.person_id, by_row.serving_key, max(by_row.occurred_at) as withdrawn_at
    from (
      select serving.person_id, serving.serving_key, serving.listed_at, about.occurred_at
      from serving
      join about
        on about.person_id = serving.person_id
        and about.item_id = serving.item_id
      where about.withdraws

      union all

      -- Of a row under an earlier name of the item.
      select serving.person_id, serving.serving_key, serving.listed_at, said.occurred_at
      from serving
      join track.item as recommended on recommended.item_id = serving.item_id
      join said
        on said.person_id = serving.person_id
        and (said.serving).serving_key = serving.serving_key
        and said.item_id = recommended.merged_item_id
      where said.withdraws
    ) as by_row
    where by_row.occurred_at >= by_row.listed_at
      and by_row.occurred_at <= by_row.listed_at + v_setting.serving_period
    group by by_row.person_id, by_row.serving_key
  ),

  completed as (
    select serving.person_id, serving.serving_key, min(about.occurred_at) as completed_at
    from serving
    join about
      on about.person_id = serving.person_id
      and about.item_id = serving.item_id
      and about.occurred_at >= serving.listed_at
      and about.occurred_at <= serving.listed_at + v_setting.attribution_period
    where about.completes
    group by serving.person_id, serving.serving_key
  )

  select
    serving.person_id, serving.serving_key, serving.identity_id, serving.model_id, serving.item_id, serving.rank,
    serving.basis, serving.propensity, serving.pool, serving.listed_at, serving.is_served,
    answered.seen_at,
    answered.clicked_at,
    case when answered.dismissed_at > coalesce(withdrawn.withdrawn_at, '-infinity') then answered.dismissed_at end,
    case when answered.liked_at > coalesce(withdrawn.withdrawn_at, '-infinity') then answered.liked_at end,
    case when answered.liked_at > coalesce(withdrawn.withdrawn_at, '-infinity') then answered.liking end,
    withdrawn.withdrawn_at,
    completed.completed_at,
    serving.experiment_id,
    serving.variation,
    serving.score,
    serving.function_name
  from serving
  left join answered
    on answered.person_id = serving.person_id
    and answered.serving_key = serving.serving_key
  left join withdrawn
    on withdrawn.person_id = serving.person_id
    and withdrawn.serving_key = serving.serving_key
  left join completed
    on completed.person_id = serving.person_id
    and completed.serving_key = serving.serving_key;
end;
$$;

comment on function recommend._answers(recommend.impression[]) is $$
@behavior -*
Computes the answers of people to rows of lists from all of their events, as `recommend.impression` describes them.
The people are those of the rows; the answers in the rows themselves are ignored.
$$;
--! EndIncluded recommend/feedback/_answers.sql

--! Included recommend/feedback/_served_rows.sql
create or replace function recommend._served_rows(calls recommend.serving_call[])
returns setof recommend.impression
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  select
    served.person_id,
    serving.serving_key,
    served.identity_id,
    serving.model_id,
    serving.item_id,
    serving.rank,
    serving.basis,
    serving.propensity,
    serving.pool,
    serving.listed_at,
    true,
    null::timestamptz,
    null::timestamptz,
    null::timestamptz,
    null::timestamptz,
    null::real,
    null::timestamptz,
    null::timestamptz,
    serving.experiment_id,
    serving.variation,
    listed.score,
    served.function_name
  from unnest(_served_rows.calls) as served
  cross join lateral unnest(served.serving_ids, served.scores) as listed (serving_id, score)
  cross join lateral recommend._serving_content(listed.serving_id) as serving
  where serving.problem is null;
end;
$$;

comment on function recommend._served_rows(recommend.serving_call[]) is $$
@behavior -*
Returns the rows of the lists of calls as they are stored in `recommend.impression`, for the people they were served to.
$$;

grant execute on function recommend._served_rows(recommend.serving_call[]) to insights_reader, insights_learner;
--! EndIncluded recommend/feedback/_served_rows.sql

--! Included recommend/feedback/refresh_impressions.sql
create or replace function recommend._move_impressions(people bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  -- The lists of the people: identities and times, with the person to whom each belongs now.
  v_identity_ids bigint[];
  v_times timestamptz[];
  v_owners bigint[];
  v_moved recommend.impression[];
begin
  select array_agg(list.identity_id), array_agg(list.listed_at)
  into v_identity_ids, v_times
  from (
    select distinct impression.identity_id, impression.listed_at
    from recommend.impression
    where impression.person_id = any (_move_impressions.people)
      and impression.identity_id is not null
  ) as list;
  v_owners := track.people_of_identities(v_identity_ids, v_times);

  select array_agg(impression) into v_moved
  from unnest(v_identity_ids, v_times, v_owners) as list (identity_id, listed_at, person_id)
  join recommend.impression
    on impression.person_id = any (_move_impressions.people)
    and impression.identity_id = list.identity_id
    and impression.listed_at = list.listed_at
  where list.person_id is distinct from impression.person_id;
  if v_moved is null then
    return;
  end if;

  delete from recommend.impression
  using unnest(v_moved) as moved
  where impression.person_id = moved.person_id
    and impression.serving_key = moved.serving_key;

  -- An identity that is gone leaves no person to whom the row was served.
  insert into recommend.impression (
    person_id, serving_key, identity_id, model_id, item_id, rank, basis, propensity, pool, listed_at, is_served,
    experiment_id, variation, score, function_name
  )
  select
    list.person_id, moved.serving_key, moved.identity_id, moved.model_id, moved.item_id, moved.rank, moved.basis,
    moved.propensity, moved.pool, moved.listed_at, true, moved.experiment_id, moved.variation, moved.score,
    moved.function_name
  from unnest(v_moved) as moved
  join unnest(v_identity_ids, v_times, v_owners) as list (identity_id, listed_at, person_id)
    on list.identity_id = moved.identity_id
    and list.listed_at = moved.listed_at
  where list.person_id is not null
    and moved.is_served
  on conflict (person_id, serving_key) do update
  set is_served = true, score = excluded.score, function_name = excluded.function_name;

  -- The other person may have been refreshed before.
  perform track.queue_people(
    'recommend.impression',
    array(
      select distinct list.person_id
      from unnest(v_identity_ids, v_times, v_owners) as list (identity_id, listed_at, person_id)
      join unnest(v_moved) as moved on moved.identity_id = list.identity_id and moved.listed_at = list.listed_at
      where list.person_id is not null
    )
  );
  perform experiment.queue_exposures(
    array(
      select moved.person_id
      from unnest(v_moved) as moved
      where moved.experiment_id is not null

      union

      select list.person_id
      from unnest(v_identity_ids, v_times, v_owners) as list (identity_id, listed_at, person_id)
      join unnest(v_moved) as moved on moved.identity_id = list.identity_id and moved.listed_at = list.listed_at
      where moved.experiment_id is not null
        and list.person_id is not null
    )
  );
end;
$$;

comment on function recommend._move_impressions(bigint[]) is $$
Moves the impressions of the given people whose identity belongs to another person now, and queues these people.
$$;

create or replace function recommend._touched_impressions(
  people bigint[],
  since timestamptz[],
  until timestamptz[],
  named recommend.impression[]
)
returns setof recommend.impression
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_setting constant recommend.setting := (select setting from recommend.setting);
  v_horizon constant interval := greatest(v_setting.serving_period, v_setting.attribution_period);
  v_tolerance constant interval := (select clock_tolerance from track.setting);
  -- For all other people, only events that name a list matter.
  v_known constant bigint[] := array(
    select distinct impression.person_id
    from recommend.impression
    where impression.person_id = any (_touched_impressions.people)
  );
  v_weights constant record := recommend._event_names();
  v_event_type_ids constant int[] := array(
    select weighed.event_type_id
    from unnest(v_weights.event_type_ids, v_weights.events) as weighed (event_type_id, event)
    join recommend.event_weight on event_weight.event = weighed.event
    where event_weight.completes
      or event_weight.withdraws
  );
  -- In lists of their own: Citus passes no rows of a table to its workers.
  v_named_people constant bigint[] := array(
    select entry.person_id
    from unnest(_touched_impressions.named) with ordinality as entry
    order by entry.ordinality
  );
  v_named_keys constant uuid[] := array(
    select entry.serving_key
    from unnest(_touched_impressions.named) with ordinality as entry
    order by entry.ordinality
  );
  v_stored_people bigint[];
  v_stored_keys uuid[];
begin
  select array_agg(impression.person_id), array_agg(impression.serving_key)
  into v_stored_people, v_stored_keys
  from unnest(v_named_people, v_named_keys) as entry (person_id, serving_key)
  join recommend.impression
    on impression.person_id = entry.person_id
    and impression.serving_key = entry.serving_key;
  return query
  select entry.*
  from unnest(_touched_impressions.named) as entry
  where (entry.person_id, entry.serving_key) not in (
    select known.person_id, known.serving_key
    from unnest(v_stored_people, v_stored_keys) as known (person_id, serving_key)
  );
  if v_known = '{}' then
    return;
  end if;

  return query
  with period as materialized (
    select changed.person_id, changed.since, changed.until
    from unnest(_touched_impressions.people, _touched_impressions.since, _touched_impressions.until)
      as changed (person_id, since, until)
    where changed.person_id = any (v_known)
  ),

  -- Events that matter for the rows of their item, whether they name a list or not.
  about as materialized (
    select event.person_id, event.item_id, event.named_item_id, event.occurred_at
    from period
    join track.event
      on event.person_id = period.person_id
      and event.occurred_at >= period.since
      and event.occurred_at <= period.until
    where event.item_id is not null
      and coalesce(event.named_event_type_id, event.event_type_id) = any (v_event_type_ids)
  )

  select distinct on (touched.person_id, touched.serving_key) touched.*
  from (
    select impression.*
    from unnest(v_named_people, v_named_keys) as entry (person_id, serving_key)
    join recommend.impression
      on impression.person_id = entry.person_id
      and impression.serving_key = entry.serving_key

    union all

    select impression.*
    from period
    join recommend.impression
      on impression.person_id = period.person_id
      and impression.listed_at >= period.since - v_horizon
      and impression.listed_at <= period.until + v_tolerance
    where period.since = '-infinity'
      or impression.seen_at between period.since and period.until
      or impression.clicked_at between period.since and period.until
      or impression.dismissed_at between period.since and period.until
      or impression.liked_at between period.since and period.until
      or impression.withdrawn_at between period.since and period.until
      or impression.completed_at between period.since and period.until

    union all

    select impression.*
    from about
    join recommend.impression
      on impression.person_id = about.person_id
      and impression.item_id in (about.item_id, about.named_item_id)
      and impression.listed_at >= about.occurred_at - v_horizon
      and impression.listed_at <= about.occurred_at
  ) as touched;
end;
$$;

comment on function recommend._touched_impressions(bigint[], timestamptz[], timestamptz[], recommend.impression[]) is $$
@behavior -*
Returns the rows whose answers may differ after a change of events in the given periods of people.
Those that events of the periods name (`named`), those with an answer in a period, and those whose item was finished or
withdrawn in one.
$$;

/*
 * An event can be added, deleted, moved by a merge of people or withdrawn by a later one. Therefore the answers to a
 * row are computed from all events of the person since the list was made, whenever one of them may have changed.
 */
create or replace function recommend.refresh_impressions(people bigint[], since timestamptz[], until timestamptz[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_refused constant bigint[] := recommend._people_who_refuse(refresh_impressions.people);
  v_exposed bigint[];
  v_named recommend.impression[];
  v_touched recommend.impression[];
begin
  if v_refused <> '{}' then
    with deleted as (
      delete from recommend.impression
      where impression.person_id = any (v_refused)
      returning impression.person_id, impression.experiment_id
    )

    select array_agg(distinct deleted.person_id) into v_exposed
    from deleted
    where deleted.experiment_id is not null;
    perform experiment.queue_exposures(v_exposed);
  end if;
  perform recommend._move_impressions(array(
    select distinct changed.person_id
    from unnest(refresh_impressions.people, refresh_impressions.since) as changed (person_id, since)
    where changed.since = '-infinity'
  ));

  v_named := array(
    select named
    from recommend._named_servings(
      refresh_impressions.people, refresh_impressions.since, refresh_impressions.until
    ) as named
    where named.person_id <> all (v_refused)
  );
  v_touched := array(
    select touched
    from recommend._touched_impressions(
      refresh_impressions.people, refresh_impressions.since, refresh_impressions.until, v_named
    ) as touched
  );
  if v_touched = '{}' then
    return;
  end if;

  with fresh as materialized (
    select answered.*
    from recommend._answers(v_touched) as answered
  ),

  -- A row that was not served is there only because of an event.
  deleted as (
    delete from recommend.impression
    using fresh
    where impression.person_id = fresh.person_id
      and impression.serving_key = fresh.serving_key
      and fresh.seen_at is null
      and not impression.is_served
  )

  insert into recommend.impression (
    person_id, serving_key, identity_id, model_id, item_id, rank, basis, propensity, pool, listed_at, is_served,
    seen_at, clicked_at, dismissed_at, liked_at, liking, withdrawn_at, completed_at, experiment_id, variation,
    score, function_name
  )
  select
    fresh.person_id, fresh.serving_key, fresh.identity_id, fresh.model_id, fresh.item_id, fresh.rank, fresh.basis,
    fresh.propensity, fresh.pool, fresh.listed_at, fresh.is_served,
    fresh.seen_at, fresh.clicked_at, fresh.dismissed_at, fresh.liked_at, fresh.liking, fresh.withdrawn_at,
    fresh.completed_at, fresh.experiment_id, fresh.variation, fresh.score, fresh.function_name
  from fresh
  where fresh.seen_at is not null
    or fresh.is_served
  on conflict (person_id, serving_key) do update
  set
    seen_at = excluded.seen_at,
    clicked_at = excluded.clicked_at,
    dismissed_at = excluded.dismissed_at,
    liked_at = excluded.liked_at,
    liking = excluded.liking,
    withdrawn_at = excluded.withdrawn_at,
    completed_at = excluded.completed_at
  where (
    impression.seen_at, impression.clicked_at, impression.dismissed_at, impression.liked_at, impression.liking,
    impression.withdrawn_at, impression.completed_at
  ) is distinct from (
    excluded.seen_at, excluded.clicked_at, excluded.dismissed_at, excluded.liked_at, excluded.liking,
    excluded.withdrawn_at, excluded.completed_at
  );
end;
$$;

comment on function recommend.refresh_impressions(bigint[], timestamptz[], timestamptz[]) is $$
Recomputes `recommend.impression` for the given people and periods. Called by `track.refresh`.
Their events, enrolments, identities or decisions have changed.
The answers are the same in any order of arrival, also after late events, merges of people and deletions. People who
have opted out of `personalization` have no rows.
$$;
--! EndIncluded recommend/feedback/refresh_impressions.sql

--! Included recommend/feedback/collect_servings.sql
create or replace function recommend._count_calls(calls recommend.serving_call[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_buckets constant int := cardinality(common.duration_bounds()) + 1;
begin
  with counted as (
    select
      served.hour_at, served.function_name, served.kind, coalesce(served.model_id, 0) as model_id,
      common.duration_bucket(served.seconds) as bucket,
      count(*) as calls, sum(served.item_count) as items, sum(served.seconds) as seconds
    from unnest(_count_calls.calls) as served
    group by served.hour_at, served.function_name, served.kind, coalesce(served.model_id, 0), bucket
  ),

  summed as (
    select
      counted.hour_at, counted.function_name, counted.kind, counted.model_id,
      sum(counted.items)::bigint as items, sum(counted.seconds) as seconds,
      array(
        select coalesce(max(entry.calls), 0)
        from generate_series(1, v_buckets) as place
        left join unnest(array_agg(counted.bucket), array_agg(counted.calls)) as entry (bucket, calls)
          on entry.bucket = place
        group by place
        order by place
      ) as counts
    from counted
    group by counted.hour_at, counted.function_name, counted.kind, counted.model_id
  )

  insert into recommend.serving_time as known (hour_at, function_name, kind, model_id, counts, items, seconds)
  select
    summed.hour_at, summed.function_name, summed.kind, summed.model_id, summed.counts, summed.items, summed.seconds
  from summed
  on conflict (hour_at, function_name, kind, model_id) do update
  set
    counts = array(
      select former.calls + added.calls
      from unnest(known.counts) with ordinality as former (calls, place)
      join unnest(excluded.counts) with ordinality as added (calls, place) using (place)
      order by place
    ),
    items = known.items + excluded.items,
    seconds = known.seconds + excluded.seconds;
end;
$$;

comment on function recommend._count_calls(recommend.serving_call[]) is $$
Adds the durations of calls to `recommend.serving_time`.
$$;

create or replace function recommend._store_lists(calls recommend.serving_call[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_tolerance constant interval := (select clock_tolerance from track.setting);
  v_rows recommend.impression[];
  -- The lists: identities and times, with the person to whom each belongs now.
  v_identity_ids bigint[];
  v_times timestamptz[];
  v_owners bigint[];
  v_refused bigint[];
  v_first timestamptz;
  v_people bigint[];
  v_since timestamptz[];
begin
  v_rows := array(select served from recommend._served_rows(_store_lists.calls) as served);
  if v_rows = '{}' then
    return;
  end if;
  select array_agg(list.identity_id), array_agg(list.listed_at), min(list.listed_at) - v_tolerance
  into v_identity_ids, v_times, v_first
  from (select distinct served.identity_id, served.listed_at from unnest(v_rows) as served) as list;
  v_owners := track.people_of_identities(v_identity_ids, v_times);
  v_refused := recommend._people_who_refuse(array(select distinct owner_id from unnest(v_owners) as owner_id));

  -- An identity that is gone leaves no person to whom the row was served. A row may be known from an event.
  insert into recommend.impression (
    person_id, serving_key, identity_id, model_id, item_id, rank, basis, propensity, pool, listed_at, is_served,
    experiment_id, variation, score, function_name
  )
  select distinct on (list.person_id, served.serving_key)
    list.person_id, served.serving_key, served.identity_id, served.model_id, served.item_id, served.rank, served.basis,
    served.propensity, served.pool, served.listed_at, true, served.experiment_id, served.variation, served.score,
    served.function_name
  from unnest(v_rows) as served
  join unnest(v_identity_ids, v_times, v_owners) as list (identity_id, listed_at, person_id)
    on list.identity_id = served.identity_id
    and list.listed_at = served.listed_at
  where list.person_id <> 0
    and list.person_id <> all (v_refused)
  order by list.person_id, served.serving_key, served.function_name collate "C"
  on conflict (person_id, serving_key) do update
  set is_served = true, score = excluded.score, function_name = excluded.function_name
  where not impression.is_served;

  -- The events of these people since then may have been refreshed before.
  select array_agg(changed.person_id), array_agg(changed.since)
  into v_people, v_since
  from (
    select list.person_id, list.since
    from (
      select served.person_id, min(served.listed_at) - v_tolerance as since
      from unnest(v_times, v_owners) as served (listed_at, person_id)
      where served.person_id <> 0
        and served.person_id <> all (v_refused)
      group by served.person_id
    ) as list
    join track.event
      on event.person_id = list.person_id
      and event.occurred_at >= list.since
    -- So that no other month is read.
    where event.occurred_at >= v_first
    group by list.person_id, list.since
  ) as changed;
  perform track.queue_people('recommend.impression', v_people, v_since);
  perform experiment.queue_exposures(array(
    select distinct list.person_id
    from unnest(v_rows) as served
    join unnest(v_identity_ids, v_times, v_owners) as list (identity_id, listed_at, person_id)
      on list.identity_id = served.identity_id
      and list.listed_at = served.listed_at
    where served.experiment_id is not null
      and list.person_id is not null
  ));
end;
$$;

comment on function recommend._store_lists(recommend.serving_call[]) is $$
Stores the lists of calls in `recommend.impression`, for the people to whom their identities belong now.
Not for those who have opted out meanwhile. A row that is stored already is the same one. Queues the people whose
answers or exposures can differ.
$$;

create or replace function recommend.collect_servings(most int)
returns int
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_calls recommend.serving_call[];
begin
  -- First without the lock: with an empty queue, the call does not wait and does not block other calls.
  if not exists (select from recommend.serving_call) then
    return 0;
  end if;

  -- No person is erased meanwhile.
  perform pg_advisory_xact_lock(hashtext('track.refresh'));
  with taken as (
    delete from recommend.serving_call
    where serving_call.ctid = any (
      array(
        select queued.ctid
        from recommend.serving_call as queued
        -- A list has up to 1,000 rows of 100 bytes, and all are in memory.
        limit least(collect_servings.most, 2000)
        for update skip locked
      )
    )
    returning serving_call
  )

  select array_agg(taken.serving_call) into v_calls
  from taken;
  if v_calls is null then
    return 0;
  end if;

  perform recommend._count_calls(v_calls);
  perform recommend._store_lists(v_calls);
  delete from recommend.serving_time
  where serving_time.hour_at < now() - privacy.kept_for('serving_times');
  return cardinality(v_calls);
end;
$$;

comment on function recommend.collect_servings(int) is $$
@behavior -*
Stores the lists that were served since the last call in `recommend.impression`, and counts the durations of the calls.
Called by `track.refresh` (see `track.consumer.collect_function`). At most `most` calls, and 2,000, in the order of the
table. Counts of durations that are older than `privacy.kept_for('serving_times')` are deleted. Returns the number of
calls; they are deleted from `recommend.serving_call`.
$$;
--! EndIncluded recommend/feedback/collect_servings.sql

--! Included recommend/feedback/_record_list.sql
create or replace function recommend._record_list(
  serving_ids text[],
  scores float8[],
  function_name text,
  kind text,
  started_at timestamptz
)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set plan_cache_mode to force_generic_plan
as $$
declare
  -- The identity is that of all rows, and read from the first one: see `recommend._serving_id`.
  v_fields constant text[] := string_to_array(_record_list.serving_ids[1], '.');
  v_identity_id bigint := nullif(v_fields[6], '0');
  v_person_id bigint;
begin
  -- One condition for what is rare, because each list that is served is recorded here.
  if v_identity_id is null or current_setting('transaction_read_only')::boolean then
    perform recommend._check_session('record what is served', '{}');
    -- A list for no person is shown to the learner who is signed in.
    if _record_list.serving_ids is not null and track.current_person_id() is not null
      and not track.reads_all_people()
    then
      v_identity_id := track.find_identity(current_setting('insights.person', true));
    end if;
  end if;
  v_person_id := track.lock_person(v_identity_id, now());

  insert into recommend.serving_call (
    hour_at, function_name, kind, model_id, item_count, seconds, person_id, identity_id, serving_ids, scores
  )
  select
    date_bin('1 hour', now(), 'epoch'),
    _record_list.function_name,
    _record_list.kind,
    -- Rows of one version only; those that need no model may be before them.
    coalesce(
      nullif(v_fields[1], '0')::bigint,
      (
        select max(nullif(split_part(listed.serving_id, '.', 1), '0')::bigint)
        from unnest(_record_list.serving_ids) as listed (serving_id)
      )
    ),
    coalesce(cardinality(_record_list.serving_ids), 0),
    -- The clock may be set back.
    greatest(extract(epoch from clock_timestamp() - _record_list.started_at), 0),
    case when served.is_stored then v_person_id end,
    case when served.is_stored then v_identity_id end,
    case when served.is_stored then _record_list.serving_ids end,
    case when served.is_stored then _record_list.scores end
  from (
    select v_person_id <> 0 and coalesce(
      -- Most people have decided nothing: what `privacy.allowed` returns then takes less time here than in a function.
      (
        select purpose.basis <> 'consent'
        from privacy.purpose
        where purpose.purpose = 'personalization'
          and not exists (select 1 from privacy.consent where consent.person_id = v_person_id)
          and not exists (select 1 from privacy.restriction where restriction.person_id = v_person_id)
          and not exists (select 1 from privacy.person_age where person_age.person_id = v_person_id)
      ),
      recommend._may_record(v_person_id)
    ) as is_stored
    -- Once, and not in each expression.
    offset 0
  ) as served;
end;
$$;

comment on function recommend._record_list(text[], float8[], text, text, timestamptz) is $$
@behavior -*
Records a list as served, in one row, and how long the call of `function_name` took since `started_at`.
The list, by its `serving_ids` (null for an empty one) and `scores`, is one that the caller has just made: nothing is
checked. `recommend.collect_servings` stores its rows. One that is for no person is recorded for the learner who is
signed in, and otherwise only counted, as are those of people who have opted out of `personalization`.
Errors: 25006 in a read-only transaction.
$$;
--! EndIncluded recommend/feedback/_record_list.sql

--! Included recommend/feedback/_recently_shown.sql
create or replace function recommend._recently_shown(
  person_id bigint,
  period interval,
  out shown bigint[],
  out shown_at timestamptz[]
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_since constant timestamptz := now() - _recently_shown.period;
  -- Whether events are queued for the refresh. Then the stored rows are incomplete.
  v_is_behind constant boolean := exists (
    select 1 from track.stale where stale.person_id = _recently_shown.person_id
  ) or exists (
    select 1
    from track.changed
    where changed.person_id = _recently_shown.person_id
      and changed.consumer = 'recommend.impression'
  );
  v_shown constant int[] := case
    when v_is_behind then recommend._event_types_named('Recommendation Shown')
  end;
begin
  select
    coalesce(array_agg(latest.item_id order by latest.item_id), '{}'),
    coalesce(array_agg(latest.shown_at order by latest.item_id), '{}')
  into _recently_shown.shown, _recently_shown.shown_at
  from (
    select coalesce(item.merged_item_id, item.item_id) as item_id, max(entry.shown_at) as shown_at
    from (
      select impression.item_id, greatest(impression.seen_at, impression.listed_at) as shown_at
      from recommend.impression
      where impression.person_id = _recently_shown.person_id

      union all

      -- Lists since the last refresh.
      select served.item_id, served.listed_at
      from recommend._served_rows(array(
        select serving_call
        from recommend.serving_call
        where serving_call.person_id = _recently_shown.person_id
      )) as served

      union all

      select event.item_id, event.occurred_at
      from track.event
      where event.person_id = _recently_shown.person_id
        and event.occurred_at >= v_since
        and coalesce(event.named_event_type_id, event.event_type_id) = any (v_shown)
    ) as entry
    join track.item on item.item_id = entry.item_id
    where entry.shown_at >= v_since
    group by coalesce(item.merged_item_id, item.item_id)
  ) as latest;
end;
$$;

comment on function recommend._recently_shown(bigint, interval) is $$
@behavior -*
Returns the items that were served to a person or seen by her within a period before now, with the last time of each.
As far as the caller may read them. Events `Recommendation Shown` that the refresh has not processed yet are included.
$$;

grant execute on function recommend._recently_shown(bigint, interval) to insights_reader, insights_learner;
--! EndIncluded recommend/feedback/_recently_shown.sql

--! Included recommend/feedback/serve_me.sql
/*
 * A definer: no role may write impressions. It records the list that it makes here, so that a caller can record nothing
 * else.
 */
create or replace function recommend.serve_me(
  top int default 10,
  kind text default 'course',
  exclude_items text[] default null,
  only_items text[] default null,
  diversity float8 default null,
  page text default null
)
returns setof recommend.recommendation
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_started_at constant timestamptz := clock_timestamp();
  v_list recommend.recommendation[];
  v_serving_ids text[];
  v_scores float8[];
begin
  select array_agg(listed), array_agg(listed.serving_id), array_agg(listed.score)
  into v_list, v_serving_ids, v_scores
  from recommend.for_me(
    serve_me.top, serve_me.kind, serve_me.exclude_items, serve_me.only_items, serve_me.diversity, serve_me.page
  ) as listed;
  perform recommend._record_list(v_serving_ids, v_scores, 'serve_me', serve_me.kind, v_started_at);
  return query
  select listed.*
  from unnest(v_list) as listed;
end;
$$;

comment on function recommend.serve_me(int, text, text[], text[], float8, text) is $$
Returns what `recommend.for_me` returns, and records each row as served to the signed-in person.
For a list that will be shown; `recommend.impression` has the rows and the answers to them. For a person who has opted
out of `personalization`, nothing is recorded. The arguments and errors are those of `recommend.for_me`.
$$;

grant execute on function recommend.serve_me(int, text, text[], text[], float8, text) to insights_learner;
--! EndIncluded recommend/feedback/serve_me.sql

--! Included recommend/feedback/serve_person.sql
/*
 * A definer: no role may write impressions. It records the list that it makes here, so that a caller can record nothing
 * else.
 */
create or replace function recommend.serve_person(
  person text,
  top int default 10,
  kind text default 'course',
  exclude_items text[] default null,
  only_items text[] default null,
  diversity float8 default null,
  page text default null
)
returns setof recommend.recommendation
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_started_at constant timestamptz := clock_timestamp();
  v_list recommend.recommendation[];
  v_serving_ids text[];
  v_scores float8[];
begin
  select array_agg(listed), array_agg(listed.serving_id), array_agg(listed.score)
  into v_list, v_serving_ids, v_scores
  from recommend.for_person(
    serve_person.person, serve_person.top, serve_person.kind, serve_person.exclude_items, serve_person.only_items,
    serve_person.diversity, serve_person.page
  ) as listed;
  perform recommend._record_list(v_serving_ids, v_scores, 'serve_person', serve_person.kind, v_started_at);
  return query
  select listed.*
  from unnest(v_list) as listed;
end;
$$;

comment on function recommend.serve_person(text, int, text, text[], text[], float8, text) is $$
Returns what `recommend.for_person` returns, and records each row as served to the person.
For a list that will be shown; `recommend.impression` has the rows and the answers to them. For an unknown person, and
one who has opted out of `personalization`, nothing is recorded. The arguments and errors are those of
`recommend.for_person`.
$$;

grant execute on function recommend.serve_person(text, int, text, text[], text[], float8, text)
to insights_admin, insights_worker;
--! EndIncluded recommend/feedback/serve_person.sql

--! Included recommend/feedback/serve_items.sql
/*
 * A definer: no role may write impressions. It records the list that it makes here, so that a caller can record nothing
 * else.
 */
create or replace function recommend.serve_items(
  items text[],
  top int default 10,
  kind text default 'course',
  exclude_items text[] default null,
  only_items text[] default null,
  diversity float8 default null,
  page text default null
)
returns setof recommend.recommendation
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_started_at constant timestamptz := clock_timestamp();
  v_list recommend.recommendation[];
  v_serving_ids text[];
  v_scores float8[];
begin
  select array_agg(listed), array_agg(listed.serving_id), array_agg(listed.score)
  into v_list, v_serving_ids, v_scores
  from recommend.for_items(
    serve_items.items, serve_items.top, serve_items.kind, serve_items.exclude_items, serve_items.only_items,
    serve_items.diversity, serve_items.page
  ) as listed;
  perform recommend._record_list(v_serving_ids, v_scores, 'serve_items', serve_items.kind, v_started_at);
  return query
  select listed.*
  from unnest(v_list) as listed;
end;
$$;

comment on function recommend.serve_items(text[], int, text, text[], text[], float8, text) is $$
Returns what `recommend.for_items` returns, and records each row as served to the learner who is signed in.
For visitors, and for calls of servers, nothing is recorded: a row enters `recommend.impression` when a person sends an
event with its `serving_id`. The arguments and errors are those of `recommend.for_items`.
$$;

grant execute on function recommend.serve_items(text[], int, text, text[], text[], float8, text)
to insights_visitor, insights_learner, insights_admin, insights_worker;
--! EndIncluded recommend/feedback/serve_items.sql

--! Included recommend/functions/erase.sql
create or replace function recommend.erase(subject privacy.subject)
returns setof privacy.erased
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  -- The key of a person is that of one of her identities, and some of her identities are people of their own.
  v_people constant bigint[] := subject.identity_ids;
  -- Evaluations in progress, whose sums contain her. Those of trainings start again.
  v_evaluations constant bigint[] := array(
    select distinct person.evaluation_id
    from recommend.evaluation_person as person
    where person.person_id = any (v_people)
  );
begin
  -- The lists since the last refresh are stored under the people to whom they belong now.
  while recommend.collect_servings(2000) > 0 loop
  end loop;
  return next privacy.erase_rows('recommend.interaction', 'person_id', v_people);
  return next privacy.erase_rows('recommend.dismissed_topic', 'person_id', v_people);
  return next privacy.erase_rows('recommend.taken', 'person_id', v_people);
  return next privacy.erase_rows('recommend.impression', 'person_id', v_people);
  return next privacy.erase_rows('recommend.evaluation_person', 'evaluation_id', v_evaluations);
  return next privacy.erase_rows('recommend.evaluation', 'evaluation_id', v_evaluations);
  return next privacy.clear_values('recommend.rule_log', 'actor', privacy.user_names(subject));
  -- After her rows: a model learns the difference between what it has learned from her and what is stored now.
  return query
  select erased.*
  from unnest(v_people) as entry (person_id)
  cross join lateral recommend.unlearn(entry.person_id) as erased;
end;
$$;

comment on function recommend.erase(privacy.subject) is $$
@behavior -*
Erases what a person did with items, what was recommended to her, and what models have learned from her.
Called by `privacy.erase_person`.
$$;
--! EndIncluded recommend/functions/erase.sql

--! Included recommend/access/_export_lists.sql
create or replace function recommend._export_lists(subject privacy.subject)
returns setof privacy.exported
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return next privacy.exported_rows(
    'recommend.impression',
    (
      select jsonb_agg(
        to_jsonb(impression) - '{person_id,identity_id,item_id,model_id,pool,experiment_id,variation}'::text[]
        || jsonb_build_object(
          'item', item.external_id,
          'item_title', item.title,
          'model', project.name || ' ' || model.version,
          'pool', recommend._item_names(impression.pool),
          'experiment', experiment.experiment_key,
          'variation', variation.variation_key,
          'identity', subject.names[array_position(subject.identity_ids, impression.identity_id)]
        )
        order by impression.listed_at, impression.rank, impression.serving_key
      )
      from recommend.impression
      left join track.item using (item_id)
      left join ml.model using (model_id)
      left join ml.project using (project_id)
      left join experiment.experiment using (experiment_id)
      left join experiment.variation
        on variation.experiment_id = impression.experiment_id
        and variation.variation = impression.variation
      where impression.person_id = subject.person_id
    )
  );
  -- Lists since the last refresh, which stores their rows.
  return next privacy.exported_rows(
    'recommend.serving_call',
    (
      select jsonb_agg(
        to_jsonb(served) - '{person_id,identity_id,model_id}'::text[]
        || jsonb_build_object(
          'items', recommend._item_names(array(
            select (recommend._serving_content(listed.serving_id)).item_id
            from unnest(served.serving_ids) with ordinality as listed (serving_id, place)
            order by listed.place
          )),
          'identity', subject.names[array_position(subject.identity_ids, served.identity_id)]
        )
        order by served.hour_at, served.function_name, served.serving_ids
      )
      from recommend.serving_call as served
      where served.person_id = subject.person_id
    )
  );
  return next privacy.exported_rows(
    'recommend.learned',
    (
      select jsonb_agg(
        jsonb_build_object(
          'model', project.name || ' ' || model.version,
          'items', recommend._item_names(learned.item_ids),
          'strengths', to_jsonb(learned.strengths),
          'is_stale', learned.is_stale
        )
        order by learned.model_id
      )
      from recommend.learned
      join ml.model using (model_id)
      join ml.project using (project_id)
      where learned.person_id = subject.person_id
    )
  );
  return next privacy.exported_rows(
    'recommend.evaluation_person',
    (
      select jsonb_agg(
        to_jsonb(tested) - '{person_id,items,left_out,relevant,candidates,lists}'::text[]
        || jsonb_build_object(
          'items', recommend._evaluated_names(tested.evaluation_id, tested.items),
          'left_out', recommend._evaluated_names(tested.evaluation_id, tested.left_out),
          'relevant', recommend._evaluated_names(tested.evaluation_id, tested.relevant),
          'candidates', recommend._evaluated_names(tested.evaluation_id, tested.candidates),
          'lists', recommend._evaluated_names(tested.evaluation_id, tested.lists)
        )
        order by tested.evaluation_id
      )
      from recommend.evaluation_person as tested
      where tested.person_id = subject.person_id
    )
  );
  return next privacy.exported_rows(
    'recommend.rule_log',
    (
      select jsonb_agg(
        jsonb_build_object(
          'logged_at', entry.logged_at, 'name', entry.name, 'settings', entry.settings, 'actor', entry.actor
        )
        order by entry.logged_at, entry.log_id
      )
      from recommend.rule_log as entry
      where entry.actor = any (privacy.user_names(subject))
    )
  );
  -- Models from outside can be of people, whose names are then their keys.
  return next privacy.exported_rows(
    'ml.score',
    (
      select jsonb_agg(
        jsonb_build_object(
          'model', project.name || ' ' || model.version, 'keys', to_jsonb(score.keys), 'score', score.score
        )
        order by score.model_id, score.keys
      )
      from ml.score
      join ml.model using (model_id)
      join ml.project using (project_id)
      where score.keys && privacy.user_names(subject)
    )
  );
  return next privacy.exported_rows(
    'ml.embedding',
    (
      select jsonb_agg(
        jsonb_build_object(
          'model', project.name || ' ' || model.version, 'key', embedding.key, 'embedding', embedding.embedding::text
        )
        order by embedding.model_id, embedding.side, embedding.key
      )
      from ml.embedding
      join ml.model using (model_id)
      join ml.project using (project_id)
      where embedding.key = any (privacy.user_names(subject))
    )
  );
end;
$$;

comment on function recommend._export_lists(privacy.subject) is $$
Returns what was recommended to a person, and what models store about her, for `recommend.export`.
$$;

create or replace function recommend._item_names(item_ids bigint[])
returns jsonb
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return (
    select jsonb_agg(item.external_id order by listed.position)
    from unnest(item_ids) with ordinality as listed (item_id, position)
    left join track.item using (item_id)
  );
end;
$$;

comment on function recommend._item_names(bigint[]) is $$
Returns the external ids of items, in their order; null for null.
$$;

create or replace function recommend._evaluated_names(evaluation_id bigint, item_numbers int[])
returns jsonb
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return (
    select jsonb_agg(item.external_id order by listed.position)
    from unnest(item_numbers) with ordinality as listed (item_no, position)
    left join recommend.evaluation_item as evaluated
      on evaluated.evaluation_id = _evaluated_names.evaluation_id
      and evaluated.item_no = listed.item_no
    left join track.item on item.item_id = evaluated.item_id
  );
end;
$$;

comment on function recommend._evaluated_names(bigint, int[]) is $$
Returns the external ids of the items with the given numbers in an evaluation, in their order; null for null.
$$;
--! EndIncluded recommend/access/_export_lists.sql

-- from recommend/policies.sql
revoke select on recommend.serving_call from insights_admin, insights_worker;
grant select (hour_at, function_name, kind, model_id, item_count, seconds) on recommend.serving_call
to insights_admin, insights_worker;
grant select on recommend.serving_call to insights_reader, insights_learner;
grant select on recommend.serving_time to insights_reader, insights_admin, insights_worker;
drop policy if exists own on recommend.serving_call;
create policy own on recommend.serving_call for select to insights_learner
using (person_id <> 0 and person_id = nullif(current_setting('insights.person_id', true), '')::bigint);

-- from recommend/data_map.sql
insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, erasure, description, basis)
values
  ('recommend', 'interaction', 'person_id', 'person', 'personalization', 'deleted', 'Person that used the item.', null),
  (
    'recommend', 'interaction', 'identity_id', 'identity', 'personalization', 'deleted',
    'Identity that used the item first.', null
  ),
  (
    'recommend', 'dismissed_topic', 'person_id', 'person', 'personalization', 'deleted',
    'Person who dismissed the topic.', null
  ),
  (
    'recommend', 'dismissed_topic', 'identity_id', 'identity', 'personalization', 'deleted',
    'Identity that named it first.', null
  ),
  (
    'recommend', 'dismissed_topic', 'topic', 'behaviour', 'personalization', 'deleted',
    'Topic, as the event of the person names it.', null
  ),
  ('recommend', 'taken', 'person_id', 'person', 'personalization', 'deleted', 'Person that took the item.', null),
  (
    'recommend', 'taken', 'identity_id', 'identity', 'personalization', 'deleted',
    'Identity that used the item first.', null
  ),
  (
    'recommend', 'impression', 'person_id', 'person', 'personalization', 'deleted',
    'Person to whom the item was recommended.', null
  ),
  (
    'recommend', 'impression', 'identity_id', 'identity', 'personalization', 'deleted',
    'Identity for which the list was made.', null
  ),
  (
    'recommend', 'impression', 'serving_key', 'behaviour', 'personalization', 'deleted',
    'Signature of the list, which the client sends back.', null
  ),
  (
    'recommend', 'impression', 'basis', 'behaviour', 'personalization', 'deleted',
    'Reason for the recommendation.', null
  ),
  (
    'recommend', 'impression', 'score', 'behaviour', 'personalization', 'deleted',
    'Score of the recommendation for the person.', null
  ),
  (
    'recommend', 'impression', 'pool', 'behaviour', 'personalization', 'deleted',
    'Items from which the recommended one was drawn.', null
  ),
  (
    'recommend', 'serving_call', 'person_id', 'person', 'personalization', 'deleted',
    'Person to whom a list was served, until the next refresh.', null
  ),
  (
    'recommend', 'serving_call', 'identity_id', 'identity', 'personalization', 'deleted',
    'Identity for which a list was made, until the next refresh.', null
  ),
  (
    'recommend', 'serving_call', 'serving_ids', 'behaviour', 'personalization', 'deleted',
    'Rows of a list that was served, until the next refresh.', null
  ),
  (
    'recommend', 'serving_call', 'scores', 'behaviour', 'personalization', 'deleted',
    'Scores of the rows of a list that was served, until the next refresh.', null
  ),
  (
    'recommend', 'evaluation_person', 'person_id', 'person', 'personalization', 'deleted',
    'Person that an evaluation of recommenders is running on.', null
  ),
  (
    'recommend', 'evaluation_person', 'items', 'behaviour', 'personalization', 'deleted',
    'Items of the person before the split.', null
  ),
  (
    'recommend', 'evaluation_person', 'strengths', 'behaviour', 'personalization', 'deleted',
    'Strengths of these items.', null
  ),
  (
    'recommend', 'evaluation_person', 'left_out', 'behaviour', 'personalization', 'deleted',
    'Items that are not recommended to the person.', null
  ),
  (
    'recommend', 'evaluation_person', 'relevant', 'behaviour', 'personalization', 'deleted',
    'Items that the person took afterwards.', null
  ),
  (
    'recommend', 'evaluation_person', 'candidates', 'derived', 'personalization', 'deleted',
    'Items that are ranked for the person.', null
  ),
  (
    'recommend', 'evaluation_person', 'segments', 'derived', 'personalization', 'deleted',
    'Sets that contain the person.', null
  ),
  (
    'recommend', 'evaluation_person', 'gains', 'derived', 'personalization', 'deleted',
    'Metrics of the lists of the person.', null
  ),
  (
    'recommend', 'evaluation_person', 'lists', 'derived', 'personalization', 'deleted',
    'Lists of the person by the evaluated models.', null
  ),
  (
    'recommend', 'evaluation_item', 'people', 'derived', 'personalization', 'deleted',
    'People of a sample who used the item, one bit each, while an evaluation is running.', null
  ),
  (
    'recommend', 'evaluation_weight', 'weights', 'derived', 'personalization', 'deleted',
    'What an evaluated model learned, while the evaluation is running.', null
  ),
  (
    'recommend', 'neighbours', 'neighbour_ids', 'derived', 'personalization', 'unlearned',
    'Items that go with an item, learned from the items of people.', null
  ),
  ('recommend', 'neighbours', 'weights', 'derived', 'personalization', 'unlearned', 'Weights of these items.', null),
  (
    'recommend', 'item_vector', 'content', 'behaviour', 'personalization', 'recomputed',
    'Vector of the text of an item.', null
  ),
  (
    'recommend', 'best_parameters', 'parameters', 'derived', 'personalization', 'kept',
    'Parameters that a search found best.',
    'As ml.model.parameters.'
  ),
  ('recommend', 'rule_log', 'actor', 'identity', 'service', 'cleared', 'Administrator who changed the rule.', null),
  ('recommend', 'learned', 'person_id', 'person', 'personalization', 'deleted', 'Person of a learned row.', null),
  ('recommend', 'learned', 'item_ids', 'derived', 'personalization', 'deleted', 'Items of the person.', null),
  (
    'recommend', 'learned', 'strengths', 'derived', 'personalization', 'deleted',
    'Strength of each of these items.', null
  ),
  (
    'recommend', 'learned_item', 'target_ids', 'derived', 'personalization', 'unlearned',
    'Items that were used with an item.', null
  ),
  (
    'recommend', 'learned_item', 'totals', 'derived', 'personalization', 'unlearned',
    'Sums over the people who used both.', null
  ),
  (
    'recommend', 'learned_item', 'inverse', 'derived', 'personalization', 'unlearned',
    'Row of the inverse of the sums of all people.', null
  )
on conflict (schema_name, table_name, column_name) do update
set
  holds = excluded.holds,
  purpose = excluded.purpose,
  description = excluded.description,
  erasure = excluded.erasure,
  basis = excluded.basis;

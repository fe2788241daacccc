create or replace function ml._bin_counts(rows_of text, bins jsonb)
returns table (feature text, counts float8[])
language plpgsql
stable
set jit to off
as $$
begin
  if bins = '[]' then
    return;
  end if;
  return query execute format(
    $query$
    with tally as (
      select placed.position, placed.place, count(*)::float8 as row_count
      from %s as input
      cross join lateral (values %s) as placed (position, place)
      group by 1, 2
    )
    select bin.feature::text, array(
      select coalesce(tally.row_count, 0)
      from generate_series(0, bin.size - 1) as number
      left join tally on tally.position = bin.position and tally.place = number
      order by number
    )
    from (values %s) as bin (position, feature, size)
    order by bin.position
    $query$,
    rows_of,
    (
      select string_agg(
        case
          when jsonb_typeof(bin -> 'edges') = 'array' then format(
            '(%s, coalesce(width_bucket(x%s, %L::float8[]) + 1, 0))', position, bin ->> 'place',
            array(select edge::float8 from jsonb_array_elements_text(bin -> 'edges') as edge)
          )
          else format(
            '(%1$s, case when x%2$s is null then 0 else coalesce(array_position(%3$L::text[], x%2$s), %4$s) end)', position, bin ->> 'place',
            array(select jsonb_array_elements_text(bin -> 'categories')), jsonb_array_length(bin -> 'categories') + 1
          )
        end,
        ', ' order by position
      )
      from jsonb_array_elements(bins) with ordinality as listed (bin, position)
    ),
    (
      select string_agg(
        format(
          '(%s, %L, %s)', position, bin ->> 'feature',
          2 + case when jsonb_typeof(bin -> 'edges') = 'array' then jsonb_array_length(bin -> 'edges') else jsonb_array_length(bin -> 'categories') end
        ),
        ', ' order by position
      )
      from jsonb_array_elements(bins) with ordinality as listed (bin, position)
    )
  );
end;
$$;

comment on function ml._bin_counts(text, jsonb) is $$
How many rows lie in each bin of each feature, in one scan. `rows_of` is a query with the features as x1, x2, …; a bin has `feature`, `place` (the number of its x) and `edges` or `categories`.
$$;

create or replace function ml._profile(rows_of text, document jsonb)
returns jsonb
language plpgsql
stable
as $$
declare
  v_feature record;
  v_bins jsonb := '[]';
  v_edges float8[];
  v_categories text[];
begin
  for v_feature in
    select listed.feature ->> 'name' as name, listed.feature ->> 'type' as type, listed.position
    from jsonb_array_elements(document -> 'features') with ordinality as listed (feature, position)
    order by listed.position
  loop
    if v_feature.type = 'number' then
      execute format(
        'select array(select distinct edge from unnest(percentile_disc(array[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]) within group (order by x%1$s)) as edge order by edge) from %2$s as input where x%1$s is not null',
        v_feature.position, rows_of
      ) into v_edges;
      v_bins := v_bins || jsonb_build_object('feature', v_feature.name, 'place', v_feature.position, 'edges', coalesce(v_edges, '{}'));
    else
      execute format(
        'select array(select category from (select x%1$s as category from %2$s as input where x%1$s is not null group by 1 order by count(*) desc, 1 limit 20) as frequent order by 1)',
        v_feature.position, rows_of
      ) into v_categories;
      v_bins := v_bins || jsonb_build_object('feature', v_feature.name, 'place', v_feature.position, 'categories', coalesce(v_categories, '{}'));
    end if;
  end loop;
  return (
    select coalesce(jsonb_agg(bin || jsonb_build_object('shares', (
      select jsonb_agg(count_ / nullif(total, 0) order by place)
      from unnest(counted.counts) with ordinality as entry (count_, place)
      cross join (select sum(value) as total from unnest(counted.counts) as value) as whole
    ))), '[]')
    from ml._bin_counts(rows_of, v_bins) as counted
    join jsonb_array_elements(v_bins) as bin on bin ->> 'feature' = counted.feature
  );
end;
$$;

comment on function ml._profile(text, jsonb) is $$
How the features of a model are distributed over the rows of a query, as ml.input_profile stores it: numbers by deciles, categories by the twenty most frequent.
$$;

/* A definer: it writes the registry, and is granted to those who may train. It reads its arguments only, never a relation. */
create or replace function ml._conclude(
  model_id bigint,
  metrics jsonb,
  champion_model_id bigint,
  champion_metrics jsonb,
  profile jsonb,
  duration interval,
  champion_factor float8 default 1,
  tolerance float8 default null
)
returns ml.training
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_model ml.model;
  v_project ml.project;
  v_result ml.training;
  v_margin float8;
begin
  select * into v_model from ml.model where model.model_id = _conclude.model_id;
  select * into v_project from ml.project where project.project_id = v_model.project_id for update;
  v_result.project := v_project.name;
  v_result.version := v_model.version;
  v_result.algorithm := v_model.algorithm;
  v_result.metric := v_project.metric;
  v_result.metrics := _conclude.metrics;
  v_result.value := _conclude.metrics ->> v_project.metric;
  v_result.champion_value := (_conclude.champion_metrics ->> v_project.metric)::float8 * _conclude.champion_factor;
  v_result.champion_version := (select model.version from ml.model where model.model_id = _conclude.champion_model_id);
  v_result.row_count := v_model.row_count;
  v_result.holdout_row_count := _conclude.metrics ->> 'row_count';
  v_result.duration := _conclude.duration;
  v_margin := (v_result.value - v_result.champion_value) * case when v_project.higher_is_better then 1 else -1 end;
  v_result.outcome := case
    when v_result.champion_version is null then 'first'
    when v_result.champion_value is null or v_result.value is null then 'incomparable'
    when v_margin > 0 then 'better'
    when v_margin >= -coalesce(_conclude.tolerance, 0) then 'equal'
    else 'worse'
  end;
  v_result.deployed := case
    when _conclude.tolerance is not null then v_result.outcome <> 'worse'
    else v_result.outcome in ('first', 'better') or (v_result.outcome = 'incomparable' and v_result.value is not null)
  end;

  update ml.model
  set metrics = model.metrics || _conclude.metrics, duration = coalesce(_conclude.duration, model.duration)
  where model.model_id = v_model.model_id;
  insert into ml.input_profile (model_id, feature, edges, categories, shares)
  select
    v_model.model_id, bin ->> 'feature',
    case when jsonb_typeof(bin -> 'edges') = 'array' then array(select edge::float8 from jsonb_array_elements_text(bin -> 'edges') as edge) end,
    case when jsonb_typeof(bin -> 'categories') = 'array' then array(select jsonb_array_elements_text(bin -> 'categories')) end,
    array(select share::float8 from jsonb_array_elements_text(bin -> 'shares') with ordinality as listed (share, place) order by place)
  from jsonb_array_elements(_conclude.profile) as bin
  on conflict on constraint input_profile_pkey do nothing;
  insert into ml.comparison (project_id, challenger_model_id, champion_model_id, metric, challenger_value, champion_value, challenger_metrics, champion_metrics, row_count, outcome)
  values (
    v_project.project_id, v_model.model_id, _conclude.champion_model_id, v_project.metric, v_result.value, v_result.champion_value,
    _conclude.metrics, _conclude.champion_metrics, coalesce(v_result.holdout_row_count, 0), v_result.outcome
  );
  if v_result.deployed then
    perform ml._deploy(
      v_model.model_id, case when v_result.outcome in ('incomparable', 'equal') then 'newest' else v_result.outcome end
    );
  end if;
  return v_result;
end;
$$;

comment on function ml._conclude(bigint, jsonb, bigint, jsonb, jsonb, interval, float8, float8) is $$
Records the metrics of a version and of the deployed one, and deploys the version when it is the first or better.
With a tolerance it is also deployed when it is worse by no more than that, as the newer one. `champion_factor` scales the metric of the deployed version.
$$;

/* A definer: see ml._conclude. */
create or replace function ml._calibrate(model_id bigint, calibration jsonb)
returns ml.model
language sql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
  update ml.model
  set coefficients = model.coefficients || jsonb_build_object('calibration', _calibrate.calibration)
  where model.model_id = _calibrate.model_id
  returning model.*;
$$;

comment on function ml._calibrate(bigint, jsonb) is $$Gives a version the calibration of its scores, before it is first deployed.$$;

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
  v_metrics := ml._evaluate(v_predicted, v_project.task);
  execute format('drop table %s', v_predicted);

  select * into v_champion from ml.model as version where version.model_id = ml._deployed_model_id(v_project.project_id) and version.model_id <> (_challenge.model).model_id;
  if v_champion.model_id is not null then
    begin
      perform ml._predict_into(v_champion, relation, v_predicted, label, 'observed', kept);
      v_champion_metrics := ml._evaluate(v_predicted, v_project.task);
      execute format('drop table %s', v_predicted);
    exception when sqlstate 'CF001' or sqlstate 'CF002' or sqlstate 'CF004' then
      -- It needs features that are no longer there.
      v_champion_metrics := null;
    end;
  end if;
  return ml._conclude((_challenge.model).model_id, v_metrics, v_champion.model_id, v_champion_metrics, profile, clock_timestamp() - started_at);
end;
$$;

comment on function ml._challenge(ml.model, regclass, text, text, jsonb, timestamptz) is $$
Scores a version and the one in force on the same rows, those that are `kept`, and deploys the better. All texts are SQL that the caller has checked.
$$;

grant execute on function
  ml._bin_counts(text, jsonb), ml._profile(text, jsonb), ml._conclude(bigint, jsonb, bigint, jsonb, jsonb, interval, float8, float8),
  ml._calibrate(bigint, jsonb), ml._challenge(ml.model, regclass, text, text, jsonb, timestamptz)
to insights_admin, insights_worker;

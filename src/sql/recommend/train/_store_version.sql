create or replace function recommend._store_version(
  kind text,
  model recommend.evaluation_model,
  metrics jsonb,
  seed bigint
)
returns ml.model
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
declare
  v_project constant text := 'recommend.' || kind;
  v_setting recommend.setting;
  v_part recommend.part;
  v_place int;
  v_model ml.model;
  v_version int;
  v_learns boolean;
begin
  select * into v_setting from recommend.setting;
  -- From here to the end of the transaction no model learns or unlearns, so that no change of a person is missed.
  perform pg_advisory_xact_lock(hashtext('track.refresh'));
  -- The model itself is trained on all rows, including those that it was tested on.
  create temporary table coded on commit drop as
  select
    dense_rank() over (order by rows_.person_id)::int as person_no,
    dense_rank() over (order by rows_.item_id)::int as item_no,
    rows_.strength as weight,
    row_number() over (partition by rows_.person_id order by rows_.last_at, rows_.item_id)::int as position,
    rows_.item_id,
    rows_.last_at,
    rows_.person_id
  from recommend._training_rows(_store_version.kind) as rows_
  where rows_.strength > 0;
  analyze pg_temp.coded;
  create temporary table coded_item on commit drop as
  select coded.item_no, coded.item_id, count(*)::int as person_count
  from pg_temp.coded
  group by coded.item_no, coded.item_id;
  analyze pg_temp.coded_item;

  v_version := ml.register_model(
    v_project,
    task => 'recommendation',
    algorithm => recommend._algorithm_of(model),
    document => null,
    metrics => jsonb_strip_nulls(_store_version.metrics) || jsonb_build_object(
      'people', (select count(distinct person_no) from pg_temp.coded),
      'items', (select count(*) from pg_temp.coded_item)
    ),
    parameters => jsonb_build_object(
      'prior', (model).prior, 'parts', (model).parts, 'full_weight', v_setting.full_weight
    ),
    metric => 'ndcg_at_10',
    seed => _store_version.seed,
    data_watermark => (select max(last_at) from pg_temp.coded),
    row_count => (select count(*) from pg_temp.coded),
    description => format('Which %s a person will take next.', _store_version.kind)
  );
  select known.* into v_model
  from ml.model as known
  join ml.project using (project_id)
  where project.name = v_project
    and known.version = v_version;

  v_learns := recommend._can_learn((model).parts, (select count(*) from pg_temp.coded_item));
  for v_part.algorithm, v_part.parameters, v_part.history_decay, v_part.share, v_place in
    select *
    from rows from (
      jsonb_populate_recordset(null::recommend.part, (model).parts)
    ) with ordinality as part (algorithm, parameters, history_decay, share, place)
  loop
    insert into recommend.model_part (model_id, part, algorithm, share, history_decay)
    values (v_model.model_id, v_place, v_part.algorithm, v_part.share, v_part.history_decay);
    continue when v_learns;
    perform recommend._train_part('pg_temp.coded', v_part, jsonb_array_length((model).parts) > 1);

    insert into recommend.neighbours (model_id, part, item_id, person_count, neighbour_ids, weights)
    select
      v_model.model_id, v_place, source.item_id, source.person_count, coalesce(list.neighbour_ids, '{}'),
      coalesce(list.weights, '{}')
    from pg_temp.coded_item as source
    left join (
      select
        trained.item_no,
        array_agg(target.item_id order by target.item_id) as neighbour_ids,
        array_agg(entry.weight order by target.item_id) as weights
      from pg_temp.trained_part as trained
      cross join lateral unnest(trained.neighbours, trained.weights) as entry (item_no, weight)
      join pg_temp.coded_item as target on target.item_no = entry.item_no
      group by trained.item_no
    ) as list using (item_no);
    drop table pg_temp.trained_part;
  end loop;
  if v_learns then
    insert into recommend.learning (model_id, person_count)
    values (v_model.model_id, (select count(distinct person_id) from pg_temp.coded));
    insert into recommend.learned (person_id, model_id, item_ids, strengths)
    select
      coded.person_id, v_model.model_id, array_agg(coded.item_id order by coded.position),
      array_agg(coded.weight order by coded.position)
    from pg_temp.coded
    group by coded.person_id;
  end if;
  drop table pg_temp.coded, pg_temp.coded_item;
  if v_learns then
    perform recommend._relearn(v_model.model_id);
  end if;
  return v_model;
end;
$$;

comment on function recommend._store_version(text, recommend.evaluation_model, jsonb, bigint) is $$
@behavior -*
Trains a model on all rows, stores its neighbour lists, and registers it with its measures. Returns the version.
A version that can learn (`recommend._can_learn`) keeps the record of its rows, and its lists are made from its
statistics, as after each update.
$$;

create or replace function recommend._export_lists(subject privacy.subject)
returns setof privacy.exported
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_rows jsonb;
begin
  v_rows := (
    with impression as materialized (
      select own.*
      from recommend.impression as own
      where own.person_id = subject.person_id
    )

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
    from impression
    left join track.item using (item_id)
    left join ml.model using (model_id)
    left join ml.project using (project_id)
    left join experiment.experiment using (experiment_id)
    left join experiment.variation
      on variation.experiment_id = impression.experiment_id
      and variation.variation = impression.variation
  );
  return next privacy.exported_rows('recommend.impression', v_rows);
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
  v_rows := (
    with learned as materialized (
      select own.*
      from recommend.learned as own
      where own.person_id = subject.person_id
    )

    select jsonb_agg(
      jsonb_build_object(
        'model', project.name || ' ' || model.version,
        'items', recommend._item_names(learned.item_ids),
        'strengths', to_jsonb(learned.strengths),
        'is_stale', learned.is_stale
      )
      order by learned.model_id
    )
    from learned
    join ml.model using (model_id)
    join ml.project using (project_id)
  );
  return next privacy.exported_rows('recommend.learned', v_rows);
  v_rows := (
    with tested as materialized (
      select own.*
      from recommend.evaluation_person as own
      where own.person_id = subject.person_id
    )

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
    from tested
    join recommend.evaluation using (evaluation_id)
  );
  return next privacy.exported_rows('recommend.evaluation_person', v_rows);
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

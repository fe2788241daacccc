create or replace function recommend._export_interactions(subject privacy.subject)
returns setof privacy.exported
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_rows jsonb;
begin
  v_rows := (
    select jsonb_agg(
      to_jsonb(interaction) - '{person_id,identity_id,item_id}'::text[]
      || jsonb_build_object(
        'item', item.external_id,
        'item_title', item.title,
        'identity', subject.names[array_position(subject.identity_ids, interaction.identity_id)]
      )
      order by interaction.first_at, interaction.item_id
    )
    from recommend.interaction
    join track.item using (item_id)
    where interaction.person_id = subject.person_id
  );
  return next privacy.exported_rows('recommend.interaction', v_rows);
  v_rows := (
    select jsonb_agg(
      to_jsonb(taken) - '{person_id,identity_id,item_id}'::text[]
      || jsonb_build_object(
        'item', item.external_id,
        'item_title', item.title,
        'identity', subject.names[array_position(subject.identity_ids, taken.identity_id)]
      )
      order by taken.first_at, taken.item_id
    )
    from recommend.taken
    join track.item using (item_id)
    where taken.person_id = subject.person_id
  );
  return next privacy.exported_rows('recommend.taken', v_rows);
  v_rows := (
    select jsonb_agg(
      to_jsonb(dismissed) - '{person_id,identity_id}'::text[]
      || jsonb_build_object(
        'identity', subject.names[array_position(subject.identity_ids, dismissed.identity_id)]
      )
      order by dismissed.first_at, dismissed.topic
    )
    from recommend.dismissed_topic as dismissed
    where dismissed.person_id = subject.person_id
  );
  return next privacy.exported_rows('recommend.dismissed_topic', v_rows);
end;
$$;

comment on function recommend._export_interactions(privacy.subject) is $$
Returns what a person did with items, for `recommend.export`.
$$;

/* A definer: it counts what everybody did, and tells no more than the kinds. */
create or replace function recommend.due_trainings(share float8 default 0.1)
returns setof text
language sql
stable
security definer
set search_path to pg_catalog, pg_temp
set jit to off
as $$
  with known as (
    select kind, 'recommend.' || kind as project
    from unnest(array['course']) as kind

    union

    select substr(project.name, length('recommend.') + 1), project.name
    from ml.project
    where starts_with(project.name, 'recommend.')
  )

  select known.kind
  from known
  left join lateral (
    select model.data_watermark, model.row_count
    from ml.project
    join ml.model on model.project_id = project.project_id
    where project.name = known.project
    order by model.version desc
    limit 1
  ) as latest on true
  cross join recommend.setting
  cross join lateral (
    select
      coalesce(sum(owned.item_count), 0) as interaction_count,
      count(*) filter (where owned.item_count > 1) as person_count
    from (
      select interaction.person_id, count(distinct ancestor.ancestor_item_id) as item_count
      from recommend.interaction
      join track.item_ancestor as ancestor on ancestor.item_id = interaction.item_id
      join track.item on item.item_id = ancestor.ancestor_item_id
      where item.kind = known.kind
        and interaction.weight > 0
        and interaction.last_at > coalesce(latest.data_watermark, '-infinity')
      group by interaction.person_id
    ) as owned
  ) as fresh
  where case
    when latest.data_watermark is null then fresh.person_count >= setting.fewest_people
    else fresh.interaction_count > 0 and fresh.interaction_count >= due_trainings.share * latest.row_count
  end
  order by known.kind;
$$;

comment on function recommend.due_trainings(float8) is $$
@behavior -*
The kinds of items whose recommender should be trained.
That is: it never was, while `recommend.setting.fewest_people` have to do with two or more items; or as many interactions are newer than what the latest version saw as make up the given share of what it learned from.
$$;

grant execute on function recommend.due_trainings(float8) to insights_worker;

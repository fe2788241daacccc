/* A definer: it counts the interactions of all people, and returns only kinds of items. */
create or replace function recommend.due_trainings(share float8 default 0.1)
returns setof text
language plpgsql
stable
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_fewest_people constant int := (select fewest_people from recommend.setting);
  v_known record;
  v_interactions bigint;
  v_people bigint;
begin
  if share is null or not share between 0 and 1e6 then
    perform common.refuse('CF001', format('share is %s', coalesce(share::text, 'null')),
      'Give a part of the rows of the last training, from 0: 0.1 is a tenth.');
  end if;
  for v_known in
    select
      known.kind,
      -- A deployed version that is marked for training is replaced at once, as if there were none.
      case when latest.is_served then latest.data_watermark end as data_watermark,
      case when latest.is_served then latest.row_count end as row_count
    from (
      select 'course' as kind

      union

      select substr(project.name, length('recommend.') + 1)
      from ml.project
      where starts_with(project.name, 'recommend.')
    ) as known
    left join lateral (
      select
        model.data_watermark, model.row_count,
        ml.deployed_version(project.name) is not null
          or not exists (select 1 from ml.deployment where deployment.project_id = project.project_id) as is_served
      from ml.project
      join ml.model on model.project_id = project.project_id
      where project.name = 'recommend.' || known.kind
      order by model.version desc
      limit 1
    ) as latest on true
    order by known.kind
  loop
    -- First an upper limit, from the new interactions. A training counts fewer, and reads all interactions for it.
    with leaf as materialized (
      select interaction.person_id, interaction.item_id
      from recommend.interaction
      where interaction.last_at > coalesce(v_known.data_watermark, '-infinity')
        and (interaction.weight > 0 or interaction.liking > 0)

      union all

      select enrolment.person_id, enrolment.item_id
      from track.enrolment
      where enrolment.enrolled_at > coalesce(v_known.data_watermark, '-infinity')
    )

    select coalesce(sum(owned.item_count), 0), count(*) filter (where owned.item_count > 1)
    into v_interactions, v_people
    from (
      select leaf.person_id, count(distinct ancestor.ancestor_item_id) as item_count
      from leaf
      join track.item_ancestor as ancestor on ancestor.item_id = leaf.item_id
      join track.item on item.item_id = ancestor.ancestor_item_id
      where item.kind = v_known.kind
      group by leaf.person_id
    ) as owned;
    if v_known.data_watermark is null and v_people < v_fewest_people
      or v_interactions < due_trainings.share * v_known.row_count
    then
      continue;
    end if;

    select coalesce(sum(owned.item_count), 0), count(*) filter (where owned.item_count > 1)
    into v_interactions, v_people
    from (
      select liked.person_id, count(*) as item_count
      from recommend._training_rows(v_known.kind) as liked
      where liked.last_at > coalesce(v_known.data_watermark, '-infinity')
      group by liked.person_id
    ) as owned;

    if v_known.data_watermark is null and v_people >= v_fewest_people
      or v_known.data_watermark is not null
        and v_interactions > 0
        and v_interactions >= due_trainings.share * v_known.row_count
    then
      return next v_known.kind;
    end if;
  end loop;
end;
$$;

comment on function recommend.due_trainings(float8) is $$
@behavior -*
Returns the kinds of items whose recommender should be trained.
A kind is returned when it has no version, or the deployed one is marked for training, and at least
`recommend.setting.fewest_people` people like two or more items,
or when the items of people that are newer than the latest version are at least the given share of those it was trained
on. They are counted as a training counts them (`recommend._training_rows`).
Error CF001 for a share that is null, negative or above 1e6.
$$;

grant execute on function recommend.due_trainings(float8) to insights_worker;

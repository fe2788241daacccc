create or replace function track.apply_path_rule(most_items int default 1000)
returns int
language plpgsql
volatile
-- A definer: it moves the events of all people, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set lock_timeout to '5s'
as $$
declare
  v_setting track.setting;
  v_candidates bigint[];
  v_renamed int;
  v_items bigint[];
  v_targets bigint[];
begin
  perform common.check_count('most_items', apply_path_rule.most_items, 1, 100000);
  perform track._begin_naming();
  select setting.* into v_setting from track.setting;

  -- Items with the name of a page that is not normal by the rule of at least one source. A name of 512 characters may
  -- have been cut.
  v_candidates := array(
    select item.item_id
    from track.item
    where item.kind in ('page', 'unknown')
      and item.external_id ~* '^([/?#]|https?://)'
      and length(item.external_id) < 512
      and exists (
        select
        from track.source
        where item.external_id <> track._path_item(
          item.external_id,
          coalesce(source.path_rule, v_setting.path_rule),
          coalesce(source.kept_parameters, v_setting.kept_parameters)
        )
      )
  );
  if v_candidates = '{}' then
    return 0;
  end if;

  -- Their sources. Items that an event names by "properties.item" were not named by a path.
  with used as materialized (
    select event.item_id, event.source_id, bool_or(event.properties ? 'item') as is_named
    from track.event
    where event.item_id = any (v_candidates)
    group by event.item_id, event.source_id
  ),

  normal as (
    select
      item.item_id,
      track._path_item(
        item.external_id,
        coalesce(source.path_rule, v_setting.path_rule),
        coalesce(source.kept_parameters, v_setting.kept_parameters)
      ) as name,
      coalesce(used.is_named, false) as is_named
    from track.item
    left join used on used.item_id = item.item_id
    left join track.source on source.source_id = used.source_id
    where item.item_id = any (v_candidates)
  ),

  agreed as (
    select normal.item_id, min(normal.name) as name
    from normal
    group by normal.item_id
    having min(normal.name) = max(normal.name) and not bool_or(normal.is_named)
  ),

  planned as (
    select agreed.item_id, agreed.name
    from agreed
    join track.item on item.item_id = agreed.item_id
    where item.external_id <> agreed.name
    order by agreed.item_id
    limit apply_path_rule.most_items
  ),

  -- The oldest of the items of a name that no item has gets it, which moves no event.
  renamed as (
    update track.item
    set external_id = chosen.name, updated_at = now()
    from (
      select distinct on (planned.name) planned.name, planned.item_id
      from planned
      where not exists (select 1 from track.item as known where known.external_id = planned.name)
      order by planned.name, planned.item_id
    ) as chosen
    where item.item_id = chosen.item_id
    returning item.item_id, item.external_id
  ),

  paired as (
    select
      planned.item_id, coalesce(target.item_id, renamed.item_id) as target_id,
      coalesce(target.merged_item_id, target.item_id, renamed.item_id) as root_id
    from planned
    left join track.item as target on target.external_id = planned.name
    left join renamed on renamed.external_id = planned.name
  ),

  -- Items of a cycle of such pairs wait for the next call, except the first ones.
  merged as (
    select paired.item_id, paired.target_id
    from paired
    where paired.item_id < paired.root_id
      or paired.item_id > paired.root_id
      and not exists (
        select 1
        from paired as other
        where other.item_id = paired.root_id
          and other.item_id <> other.root_id
      )
  )

  select (select count(*) from renamed), array_agg(merged.item_id), array_agg(merged.target_id)
  into v_renamed, v_items, v_targets
  from merged;

  if v_items is not null then
    perform track._point_items(v_items, v_targets);
    perform track._log_name('item merged', item.external_id, target.external_id)
    from unnest(v_items, v_targets) as merged (item_id, target_id)
    join track.item on item.item_id = merged.item_id
    join track.item as target on target.item_id = merged.target_id
    order by item.external_id;
    perform track._apply_names(100000);
  end if;
  return v_renamed + coalesce(cardinality(v_items), 0);
end;
$$;

comment on function track.apply_path_rule(int) is $$
Applies the path rules of `track.setting` and `track.source` to the pages that are stored.
Items are renamed, and those that get the same name are merged, as by `track.merge_items`. Returns the number of items;
0: all are done.
At most `most_items` items are changed by a call. All events are read, and messages wait meanwhile. Items that an event
names explicitly (`properties.item`), described ones (of another kind than `page` and `unknown`), and those on which the
rules of their sources disagree are not changed. A merge can be undone by `track.unmerge_item`, a new name cannot.
Errors: CF001 unless `most_items` is from 1 to 100,000.
$$;

grant execute on function track.apply_path_rule(int) to insights_admin;

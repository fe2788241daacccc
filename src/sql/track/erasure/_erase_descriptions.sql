create or replace function track._replace_descriptions(identities bigint[], items bigint[], with_parents boolean)
returns bigint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_cleared bigint;
  v_named bigint[];
  v_item_id bigint;
  v_courses bigint[] := '{}';
begin
  -- As track.sync_enrolments adds an item.
  for v_item_id in
    select distinct source.item_id
    from track.item_source as source
    where source.identity_id = any (_replace_descriptions.identities)
      and source.attribute = 'kind'
      and (_replace_descriptions.items is null or source.item_id = any (_replace_descriptions.items))
  loop
    perform
    from track.enrolment
    where v_item_id in (enrolment.item_id, enrolment.named_item_id)
      and coalesce(enrolment.named_item_id, enrolment.item_id) = v_item_id
      and num_nulls(enrolment.source_id) > 0
    limit 1;
    if found then
      v_courses := v_courses || v_item_id;
    end if;
  end loop;

  with own as materialized (
    select source.item_id, array_agg(source.attribute) as attributes
    from track.item_source as source
    where source.identity_id = any (_replace_descriptions.identities)
      and source.attribute <> 'name'
      and (_replace_descriptions.items is null or source.item_id = any (_replace_descriptions.items))
    group by source.item_id
  ),

  told as materialized (
    select own.item_id, entry.attribute, other.said, other.identity_id
    from own
    cross join lateral unnest(own.attributes) as entry (attribute)
    left join lateral track._told_by_others(own.item_id, own.attributes) as other
      on other.attribute = entry.attribute
      and (_replace_descriptions.with_parents or entry.attribute <> 'parent')
  ),

  -- A parent that was not entered, because the item had another one.
  entered as (
    insert into track.item (external_id)
    select distinct told.said
    from told
    where told.attribute = 'parent'
      and told.said is not null
      and not exists (select 1 from track.item where item.external_id = told.said)
    returning item.item_id, item.external_id
  ),

  named as (
    insert into track.item_source (item_id, attribute, identity_id)
    select entered.item_id, 'name', min(told.identity_id)
    from entered
    join told on told.attribute = 'parent' and told.said = entered.external_id
    group by entered.item_id
  ),

  by_item as (
    select
      told.item_id,
      bool_or(told.attribute = 'kind') as has_kind, max(told.said) filter (where told.attribute = 'kind') as kind,
      bool_or(told.attribute = 'title') as has_title, max(told.said) filter (where told.attribute = 'title') as title,
      bool_or(told.attribute = 'url') as has_url, max(told.said) filter (where told.attribute = 'url') as url,
      bool_or(told.attribute = 'parent') as has_parent,
      max(coalesce(entered.item_id, parent.item_id)) filter (where told.attribute = 'parent') as named_parent_id,
      max(coalesce(entered.item_id, parent.merged_item_id, parent.item_id))
        filter (where told.attribute = 'parent') as parent_item_id,
      bool_or(num_nonnulls(parent.merged_item_id) > 0) as has_merged_parent,
      case when told.item_id = any (v_courses) then 'course' else 'unknown' end as other_kind
    from told
    left join entered on told.attribute = 'parent' and entered.external_id = told.said
    left join track.item as parent on told.attribute = 'parent' and parent.external_id = told.said
    group by told.item_id
  ),

  changed as (
    update track.item
    set
      kind = case when by_item.has_kind then coalesce(by_item.kind, by_item.other_kind) else item.kind end,
      title = case when by_item.has_title then by_item.title else item.title end,
      url = case when by_item.has_url then by_item.url else item.url end,
      parent_item_id = case
        when by_item.has_parent then nullif(by_item.parent_item_id, item.item_id)
        else item.parent_item_id
      end
    from by_item
    where item.item_id = by_item.item_id
      and not exists (select 1 from track.named_item where named_item.item_id = item.item_id)
    returning item.item_id
  ),

  -- Items of a merge, and items whose parent is merged.
  changed_names as (
    insert into track.named_item
    select
      described.item_id,
      case when by_item.has_kind then coalesce(by_item.kind, by_item.other_kind) else described.kind end,
      case when by_item.has_title then by_item.title else described.title end,
      case
        when by_item.has_parent then nullif(by_item.named_parent_id, by_item.item_id) else described.parent_item_id
      end,
      case when by_item.has_url then by_item.url else described.url end,
      described.language, described.attributes, described.available_from, described.available_until, described.due_at
    from by_item
    cross join lateral track._descriptions(array[by_item.item_id]) as described
    where by_item.has_merged_parent
      or exists (select 1 from track.named_item where named_item.item_id = by_item.item_id)
    on conflict (item_id) do update
    set
      kind = excluded.kind,
      title = excluded.title,
      parent_item_id = excluded.parent_item_id,
      url = excluded.url
    returning named_item.item_id
  ),

  deleted as (
    delete from track.item_source
    using told, by_item
    where item_source.item_id = told.item_id
      and item_source.attribute = told.attribute
      and by_item.item_id = told.item_id
      and (told.identity_id is null or told.attribute = 'kind' and told.said = by_item.other_kind)
  ),

  renamed as (
    update track.item_source
    set identity_id = told.identity_id
    from told, by_item
    where item_source.item_id = told.item_id
      and item_source.attribute = told.attribute
      and by_item.item_id = told.item_id
      and told.identity_id is not null
      and (told.attribute <> 'kind' or told.said <> by_item.other_kind)
  )

  select
    array(select changed_names.item_id from changed_names),
    (select count(*) from (select changed.item_id from changed union select item_id from changed_names) as entry)
  into v_named, v_cleared;
  perform track._describe_merged(v_named);

  -- The item is used by others, or named by the application.
  update track.item_source
  set identity_id = 0
  where item_source.identity_id = any (_replace_descriptions.identities)
    and item_source.attribute = 'name';
  return v_cleared;
end;
$$;

comment on function track._replace_descriptions(bigint[], bigint[], boolean) is $$
Does the work of `track._erase_descriptions`; without parents, the items have none afterwards. Raises CF010 for a cycle.
$$;

create or replace function track._items_without_parent(identities bigint[])
returns bigint[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return array(
    select distinct ancestor.ancestor_item_id
    from track.item_source as source
    join track.item on item.item_id = source.item_id
    join track.item_ancestor as ancestor on ancestor.item_id = coalesce(item.merged_item_id, item.item_id)
    where source.identity_id = any (_items_without_parent.identities)
      and source.attribute = 'parent'
      and ancestor.depth > 0
      and not exists (
        select 1
        from track.item_source as other
        where other.item_id = ancestor.ancestor_item_id
          and other.attribute = 'parent'
      )
    order by 1
  );
end;
$$;

comment on function track._items_without_parent(bigint[]) is $$
Returns the items that are above those whose parent identities told, and have no parent themselves.
A parent that others told of them may have been left out, because it would have formed a cycle with these.
$$;

create or replace function track._erase_descriptions(identities bigint[], items bigint[] default null)
returns bigint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_item_id bigint;
  v_cleared bigint := 0;
  v_above constant bigint[] := case
    when _erase_descriptions.items is null then track._items_without_parent(_erase_descriptions.identities)
    else '{}'
  end;
begin
  begin
    v_cleared := track._replace_descriptions(_erase_descriptions.identities, _erase_descriptions.items, true);
  exception
    -- The parent that others told first is meanwhile a part of the item. No erasure may fail for it.
    when sqlstate 'CF010' then
      for v_item_id in
        select distinct source.item_id
        from track.item_source as source
        where source.identity_id = any (_erase_descriptions.identities)
          and source.attribute <> 'name'
          and (_erase_descriptions.items is null or source.item_id = any (_erase_descriptions.items))
        order by source.item_id
      loop
        begin
          v_cleared := v_cleared
            + track._replace_descriptions(_erase_descriptions.identities, array[v_item_id], true);
        exception
          when sqlstate 'CF010' then
            v_cleared := v_cleared
              + track._replace_descriptions(_erase_descriptions.identities, array[v_item_id], false);
        end;
      end loop;
  end;

  foreach v_item_id in array v_above loop
    begin
      insert into track.item_source (item_id, attribute, identity_id)
      select v_item_id, told.attribute, _erase_descriptions.identities[1]
      from track._told_by_others(v_item_id, '{parent}') as told;
      if found then
        v_cleared := v_cleared
          + track._replace_descriptions(_erase_descriptions.identities, array[v_item_id], true);
      end if;
    exception
      when sqlstate 'CF010' then
        null;
    end;
  end loop;
  return v_cleared;
end;
$$;

comment on function track._erase_descriptions(bigint[], bigint[]) is $$
Replaces the attributes that identities gave to items by what others told, or else removes them.
`items`: of these items only; null: of all, and parents that others told are entered where those of the identities stood
in their way (`track._items_without_parent`).
Returns the number of items. A parent that would form a cycle is left out. The derived data of courses follows with the
next refresh, as with each change of an item.
$$;

create or replace function track._describe_names(said track.named_item[], replaces boolean)
returns bigint[]
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_names bigint[];
  v_changed bigint[];
begin
  -- As a rule, no item is merged.
  if not exists (select from track.item where item.merged_item_id is not null) then
    return '{}';
  end if;

  -- Items of a merge, and items whose parent is merged.
  insert into track.named_item
  select
    item.item_id, item.kind, item.title, item.parent_item_id, item.url, item.language, item.attributes,
    item.available_from, item.available_until, item.due_at
  from unnest(_describe_names.said) as given
  join track.item on item.item_id = given.item_id
  join track.item as parent on parent.item_id = given.parent_item_id
  where parent.merged_item_id is not null
    and (_describe_names.replaces or item.parent_item_id is null)
  on conflict (item_id) do nothing;
  v_names := array(
    select named_item.item_id
    from unnest(_describe_names.said) as given
    join track.named_item on named_item.item_id = given.item_id
  );
  if v_names = '{}' then
    return '{}';
  end if;

  with described as (
    select
      named_item.item_id,
      case
        when _describe_names.replaces or named_item.kind = 'unknown' then coalesce(given.kind, named_item.kind)
        else named_item.kind
      end as kind,
      said.title, said.parent_item_id, said.url, said.language, said.attributes, said.available_from,
      said.available_until, said.due_at
    from unnest(_describe_names.said) as given
    join track.named_item on named_item.item_id = given.item_id
    -- A value of the application's tables replaces the stored one; one of a message is kept where there is none.
    cross join lateral (
      select
        coalesce(preferred.title, other.title), coalesce(preferred.parent_item_id, other.parent_item_id),
        coalesce(preferred.url, other.url), coalesce(preferred.language, other.language),
        coalesce(preferred.attributes, other.attributes), coalesce(preferred.available_from, other.available_from),
        coalesce(preferred.available_until, other.available_until), coalesce(preferred.due_at, other.due_at)
      from (
        select (case when _describe_names.replaces then given else named_item end).*
      ) as preferred
      cross join (
        select (case when _describe_names.replaces then named_item else given end).*
      ) as other
    ) as said (
      title, parent_item_id, url, language, attributes, available_from, available_until, due_at
    )
  ),

  changed as (
    update track.named_item
    set
      kind = described.kind,
      title = described.title,
      parent_item_id = nullif(described.parent_item_id, described.item_id),
      url = described.url,
      language = described.language,
      attributes = described.attributes,
      available_from = described.available_from,
      available_until = described.available_until,
      due_at = described.due_at
    from described
    where named_item.item_id = described.item_id
      and (
        named_item.kind, named_item.title, named_item.parent_item_id, named_item.url, named_item.language,
        named_item.attributes, named_item.available_from, named_item.available_until, named_item.due_at
      ) is distinct from (
        described.kind, described.title, nullif(described.parent_item_id, described.item_id), described.url,
        described.language, described.attributes, described.available_from, described.available_until, described.due_at
      )
    returning named_item.item_id
  )

  select array_agg(changed.item_id) into v_changed from changed;
  perform track._describe_merged(v_changed);
  return coalesce(v_changed, '{}');
end;
$$;

comment on function track._describe_names(track.named_item[], boolean) is $$
Stores what is said of items of a merge, and of items whose parent is merged, under the names that it was said of.
The parents are those that were named. `replaces`: the values replace the stored ones, or else are kept where there is
none. Returns the items that changed. All other items are left to the caller: those without a row in `track.named_item`.
$$;

create or replace function track._stated_items(items jsonb)
returns jsonb
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_most constant int := 10000;
  v_bad record;
begin
  if coalesce(jsonb_typeof(_stated_items.items), '') <> 'array' then
    perform common.refuse('CF009', 'the items are not a list', 'Give a list such as [{"item": "course-1", …}].');
  end if;
  if jsonb_array_length(_stated_items.items) > v_most then
    perform common.refuse(
      'CF008', format('%s items are more than %s', jsonb_array_length(_stated_items.items), v_most),
      'Divide them into several calls.'
    );
  end if;
  select entry.* into v_bad
  from jsonb_array_elements(_stated_items.items) as element (stated)
  left join lateral (
    select
      element.stated ->> 'item' as item, element.stated ->> 'kind' as kind, element.stated ->> 'title' as title,
      element.stated ->> 'url' as url, element.stated ->> 'parent' as parent
    where jsonb_typeof(element.stated) = 'object'
  ) as entry on true
  where coalesce(length(entry.item), 0) not between 1 and 512
    or entry.kind !~ '^[a-z][a-z0-9_]{0,62}$'
    or length(entry.title) > 1000
    or length(entry.url) > 2048
    or length(entry.parent) not between 1 and 512
    or entry.parent = entry.item
  limit 1;
  if found then
    perform common.refuse(
      'CF001',
      format(
        'item "%s" of kind "%s" with parent "%s" is invalid',
        left(v_bad.item, 100), left(v_bad.kind, 100), left(v_bad.parent, 100)
      ),
      'An item has an id of 1 to 512 characters, a kind in lower case, such as course, a title of at most 1,000 '
        || 'characters, a url of at most 2,048, and another item as parent.'
    );
  end if;
  -- The first statement about an item counts, with what it lacks from later ones.
  return (
    select coalesce(jsonb_agg(to_jsonb(stated)), '[]')
    from (
      select
        element.stated ->> 'item' as external_id,
        (array_agg(element.stated ->> 'kind' order by element.place)
          filter (where element.stated ->> 'kind' <> ''))[1] as kind,
        (array_agg(element.stated ->> 'title' order by element.place)
          filter (where element.stated ->> 'title' <> ''))[1] as title,
        (array_agg(element.stated ->> 'url' order by element.place)
          filter (where element.stated ->> 'url' <> ''))[1] as url,
        (array_agg(element.stated ->> 'parent' order by element.place)
          filter (where element.stated ->> 'parent' <> ''))[1] as parent
      from jsonb_array_elements(_stated_items.items) with ordinality as element (stated, place)
      group by 1
    ) as stated
  );
end;
$$;

comment on function track._stated_items(jsonb) is $$
Returns the items of a list, each once. Errors: CF009, CF008 and CF001, as described for `track.import_items`.
$$;

create or replace function track._apply_imported_items(items bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
-- A plan for any number of items would compare each item with each statement.
set plan_cache_mode to force_custom_plan
as $$
begin
  -- Attributes that messages gave, or that are missing. The tables of the application have given what has no source.
  with said as materialized (
    select
      entry.item_id, entry.kind, entry.title, entry.url,
      nullif(coalesce(parent.merged_item_id, parent.item_id), entry.item_id) as parent_item_id
    from track._imported_attributes(_apply_imported_items.items) as entry
    left join track.item as parent on parent.item_id = entry.parent_item_id
    where not exists (select from track.named_item where named_item.item_id = entry.item_id)
  ),

  free as materialized (
    select
      item.item_id,
      item.kind = 'unknown' or bool_or(told.attribute = 'kind') as has_kind,
      item.title is null or bool_or(told.attribute = 'title') as has_title,
      item.url is null or bool_or(told.attribute = 'url') as has_url,
      item.parent_item_id is null or bool_or(told.attribute = 'parent') as has_parent
    from said
    join track.item on item.item_id = said.item_id
    left join track.item_source as told on told.item_id = item.item_id
    where num_nulls(item.merged_item_id) > 0
    group by item.item_id
  ),

  given as materialized (
    select
      said.item_id,
      case when free.has_kind then said.kind end as kind,
      case when free.has_title then said.title end as title,
      case when free.has_url then said.url end as url,
      case when free.has_parent then said.parent_item_id end as parent_item_id
    from said
    join free on free.item_id = said.item_id
  ),

  sourced as (
    insert into track.item_source (item_id, attribute, identity_id)
    select given.item_id, entry.attribute, 0
    from given
    cross join lateral (
      values
        ('kind', given.kind), ('title', given.title), ('url', given.url), ('parent', given.parent_item_id::text)
    ) as entry (attribute, value)
    where entry.value is not null
    on conflict (item_id, attribute) do update
    set identity_id = 0
    where item_source.identity_id <> 0
  )

  update track.item
  set
    kind = coalesce(given.kind, item.kind),
    title = coalesce(given.title, item.title),
    url = coalesce(given.url, item.url),
    parent_item_id = coalesce(given.parent_item_id, item.parent_item_id),
    updated_at = now()
  from given
  where item.item_id = given.item_id
    and (item.kind, item.title, item.url, item.parent_item_id) is distinct from (
      coalesce(given.kind, item.kind), coalesce(given.title, item.title), coalesce(given.url, item.url),
      coalesce(given.parent_item_id, item.parent_item_id)
    );
end;
$$;

comment on function track._apply_imported_items(bigint[]) is $$
Gives items what imports state about them (`track.imported_item`), where the application states nothing.
Items of a merge keep their descriptions. Raises CF010 for a cycle of parents.
$$;

create or replace function track.import_items(items jsonb)
returns track.sync_result
language plpgsql
volatile
-- A definer: it writes track.item, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_sender track.message_sender;
  v_items jsonb;
  v_new bigint[];
  v_changed bigint[];
  v_result track.sync_result;
begin
  -- As a batch of messages: a removal or an erasure waits for it.
  perform pg_advisory_xact_lock_shared(hashtext('track.ingest'));
  v_sender := track._sender(clock_timestamp());
  if not v_sender.is_trusted then
    perform common.refuse(
      'CF005', 'only a server may describe items', 'Send them as an administrator or a worker, or with its write key.'
    );
  end if;
  if (select source.name from track.source where source.source_id = v_sender.source_id) = 'default' then
    perform common.refuse(
      'CF001', 'the source "default" is not an import', 'Name the import in the setting insights.source.'
    );
  end if;
  v_items := track._stated_items(import_items.items);

  with entered as (
    insert into track.item (external_id)
    select named.external_id
    from (
      select stated.external_id from jsonb_to_recordset(v_items) as stated (external_id text)
      union
      select stated.parent from jsonb_to_recordset(v_items) as stated (parent text)
    ) as named
    where named.external_id is not null
      and not exists (select from track.item where item.external_id = named.external_id)
    order by named.external_id
    on conflict (external_id) do nothing
    returning item.item_id
  ),

  sourced as (
    insert into track.item_source (item_id, attribute, identity_id)
    select entered.item_id, 'name', 0
    from entered
  )

  select array_agg(entered.item_id) into v_new
  from entered;

  -- In the order of track.ingest, to avoid deadlocks.
  perform item.item_id
  from track.item
  where item.item_id = any (array(
    select unnest(array[known.item_id, known.merged_item_id])
    from jsonb_to_recordset(v_items) as stated (external_id text)
    join track.item as known on known.external_id = stated.external_id
  ))
  order by item.item_id
  for no key update;

  with stated as (
    select item.item_id, entry.kind, entry.title, entry.url, parent.item_id as parent_item_id
    from jsonb_to_recordset(v_items) as entry (external_id text, kind text, title text, url text, parent text)
    join track.item on item.external_id = entry.external_id
    left join track.item as parent on parent.external_id = entry.parent
  ),

  -- A removal of the import deletes former parents that nothing uses.
  former as (
    insert into track.forgotten_item (source_id, item_id)
    select distinct v_sender.source_id, known.parent_item_id
    from stated
    join track.imported_item as known on known.item_id = stated.item_id
    where known.source_id = v_sender.source_id
      and known.parent_item_id <> stated.parent_item_id
    on conflict do nothing
  ),

  stored as (
    insert into track.imported_item (source_id, item_id, kind, title, url, parent_item_id)
    select v_sender.source_id, stated.item_id, stated.kind, stated.title, stated.url, stated.parent_item_id
    from stated
    on conflict (source_id, item_id) do update
    set
      kind = coalesce(excluded.kind, imported_item.kind),
      title = coalesce(excluded.title, imported_item.title),
      url = coalesce(excluded.url, imported_item.url),
      parent_item_id = coalesce(excluded.parent_item_id, imported_item.parent_item_id),
      stated_at = clock_timestamp()
    where (imported_item.kind, imported_item.title, imported_item.url, imported_item.parent_item_id)
      is distinct from (
        coalesce(excluded.kind, imported_item.kind), coalesce(excluded.title, imported_item.title),
        coalesce(excluded.url, imported_item.url), coalesce(excluded.parent_item_id, imported_item.parent_item_id)
      )
    returning imported_item.item_id
  )

  select array_agg(stored.item_id) into v_changed
  from stored;

  perform track._apply_imported_items(v_changed);
  v_result.inserted := coalesce((
    select count(*) from unnest(v_changed) as entry (item_id) where entry.item_id = any (v_new)
  ), 0);
  v_result.updated := coalesce(cardinality(v_changed), 0) - v_result.inserted;
  v_result.unchanged := jsonb_array_length(v_items) - coalesce(cardinality(v_changed), 0);
  return v_result;
end;
$$;

comment on function track.import_items(jsonb) is $$
@behavior -*
Stores what an import states about items without an event: the structure of courses.
`items`: a list of `{item, kind, title, url, parent}`, of which only `item` is required; `parent` is another item. The
source is the setting `insights.source` or that of the write key, as for `track.ingest`. Items and parents are added
when they are new. What is stated has precedence over what messages tell, and the tables of the application over both.
The call can be repeated: an item without a change is not written. A value that is not stated keeps the stored one.
`track.forget_import` removes all of it, and gives the items what the messages that are left tell.
Returns the number of items that are new, that changed, and that did not.
Errors: CF001 for an invalid item, and for the source `default`; CF005 unless the sender is a server; CF008 for more
than 10,000 items; CF009 for what is not a list; CF010 for a cycle of parents.
$$;

grant execute on function track.import_items(jsonb) to insights_admin, insights_worker;

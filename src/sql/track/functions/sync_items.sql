create or replace function track._store_items(items jsonb, newest_known bigint)
returns track.sync_result
language plpgsql
volatile
-- A definer: the caller reads its own table, and this writes track.item, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_bad record;
  v_renamed bigint[];
  v_placed bigint[];
  v_parents bigint[];
  v_result track.sync_result;
begin
  select item.external_id, item.kind, item.parent into v_bad
  from jsonb_to_recordset(items) as item (external_id text, kind text, parent text, attributes jsonb)
  where coalesce(length(item.external_id), 0) not between 1 and 512
    or coalesce(item.kind, '') !~ '^[a-z][a-z0-9_]{0,62}$'
    or item.parent = item.external_id
    or length(item.parent) not between 1 and 512
    or jsonb_typeof(item.attributes) <> 'object'
  limit 1;

  if found then
    perform common.refuse(
      'CF001',
      format(
        'item "%s" of kind "%s" with parent "%s" is invalid',
        left(v_bad.external_id, 100),
        left(v_bad.kind, 100),
        left(v_bad.parent, 100)
      ),
      'An item needs an external_id of 1 to 512 characters and a kind in lower case, such as course. The parent is '
        || 'null or another item; attributes are null or a JSON object.'
    );
  end if;

  with given as (
    select item.external_id from jsonb_to_recordset(items) as item (external_id text)
    union
    select item.parent from jsonb_to_recordset(items) as item (parent text)
  )
  insert into track.item (external_id)
  select external_id
  from given
  where external_id is not null
    and not exists (select from track.item where item.external_id = given.external_id)
  order by external_id
  on conflict (external_id) do nothing;

  -- In the order of track.ingest, to avoid deadlocks.
  perform item.item_id
  from track.item
  where item.item_id = any (array(
    select unnest(array[known.item_id, known.merged_item_id])
    from jsonb_to_recordset(items) as given (external_id text)
    join track.item as known on known.external_id = given.external_id
  ))
  order by item.item_id
  for no key update;

  -- A parent that a message stated was not a place in the structure of the application.
  select array_agg(placed.item_id), array_agg(placed.parent_item_id) into v_placed, v_parents
  from (
    select distinct item.item_id, item.parent_item_id
    from jsonb_to_recordset(items) as given (external_id text, parent text)
    join track.item as known on known.external_id = given.external_id
    join track.item on item.item_id = coalesce(known.merged_item_id, known.item_id)
    where given.parent is not null
      and item.parent_item_id is not null
      and not exists (
        select
        from track.item_source
        where item_source.item_id in (known.item_id, item.item_id)
          and item_source.attribute = 'parent'
      )
  ) as placed;

  -- The application takes the place of the messages that named or described the items.
  delete from track.item_source
  using jsonb_to_recordset(items) as given (external_id text, title text, parent text, url text), track.item
  where item_source.item_id = item.item_id
    and (
      item.external_id = given.external_id
      and (
        item_source.attribute in ('name', 'kind')
        or item_source.attribute = 'title' and given.title is not null
        or item_source.attribute = 'url' and given.url is not null
        or item_source.attribute = 'parent' and given.parent is not null
      )
      or item.external_id = given.parent and item_source.attribute = 'name'
    );

  v_renamed := track._describe_names(
    array(
      select row(
        item.item_id, given.kind, given.title, parent.item_id, given.url, given.language, given.attributes,
        given.available_from, given.available_until, given.due_at
      )::track.named_item
      from jsonb_to_recordset(items) as given (
        external_id text, kind text, title text, parent text, url text, language text, attributes jsonb,
        available_from timestamptz, available_until timestamptz, due_at timestamptz
      )
      join track.item on item.external_id = given.external_id
      left join track.item as parent on parent.external_id = given.parent
    ),
    true
  );

  with given as materialized (
    select item.*, coalesce(parent.merged_item_id, parent.item_id) as parent_item_id
    from jsonb_to_recordset(items) as item (
      external_id text, kind text, title text, parent text, url text, language text, attributes jsonb,
      available_from timestamptz, available_until timestamptz, due_at timestamptz
    )
    left join track.item as parent on parent.external_id = item.parent
  ),
  changed as (
    update track.item
    set
      kind = given.kind,
      title = coalesce(given.title, item.title),
      parent_item_id = coalesce(nullif(given.parent_item_id, item.item_id), item.parent_item_id),
      url = coalesce(given.url, item.url),
      language = coalesce(given.language, item.language),
      attributes = coalesce(given.attributes, item.attributes),
      available_from = coalesce(given.available_from, item.available_from),
      available_until = coalesce(given.available_until, item.available_until),
      due_at = coalesce(given.due_at, item.due_at),
      updated_at = now()
    from given
    where item.external_id = given.external_id
      -- Not "is null": without statistics, the planner would expect few rows, and compare each pair.
      and num_nulls(item.merged_item_id) > 0
      and not exists (select from track.named_item where named_item.item_id = item.item_id)
      and (
        item.kind <> given.kind
        or item.title is distinct from coalesce(given.title, item.title)
        or item.parent_item_id is distinct from
          coalesce(nullif(given.parent_item_id, item.item_id), item.parent_item_id)
        or item.url is distinct from coalesce(given.url, item.url)
        or item.language is distinct from coalesce(given.language, item.language)
        or item.attributes is distinct from coalesce(given.attributes, item.attributes)
        or item.available_from is distinct from coalesce(given.available_from, item.available_from)
        or item.available_until is distinct from coalesce(given.available_until, item.available_until)
        or item.due_at is distinct from coalesce(given.due_at, item.due_at)
      )
    returning item.item_id
  ),
  written as (
    select changed.item_id from changed
    union
    select renamed.item_id from unnest(v_renamed) as renamed (item_id)
  )
  select
    count(*) filter (where item.item_id > _store_items.newest_known),
    count(*) filter (where item.item_id <= _store_items.newest_known and written.item_id is not null),
    count(*) filter (where item.item_id <= _store_items.newest_known and written.item_id is null)
  into v_result
  from given
  join track.item on item.external_id = given.external_id
  left join written on written.item_id = item.item_id;
  -- Of two moves in a transaction, the first place is that of before.
  insert into track.former_parent (item_id, parent_item_id, ended_at)
  select placed.item_id, placed.parent_item_id, now()
  from unnest(v_placed, v_parents) as placed (item_id, parent_item_id)
  join track.item on item.item_id = placed.item_id
  where item.parent_item_id is distinct from placed.parent_item_id
  on conflict (item_id, ended_at) do nothing;
  return v_result;
exception
  when data_exception then
    perform common.refuse('CF001', format('a value of an item is invalid: %s', left(sqlerrm, 100)),
      'Give a view whose columns have the types of track.item.');
end;
$$;

comment on function track._store_items(jsonb, bigint) is $$
@behavior -queryField -mutationField
Stores a list of `{external_id, kind, …}`, as described for `track.sync_items`.
Items with keys up to `newest_known` are counted as existing before the call.
$$;

grant execute on function track._store_items(jsonb, bigint) to insights_admin, insights_worker;

create or replace function track.sync_items(source regclass)
returns track.sync_result
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_columns text[];
  v_former bigint;
  v_twice text;
  v_items jsonb;
  v_part track.sync_result;
  v_result track.sync_result := row(0, 0, 0);
begin
  v_columns := track._columns(source, array['external_id', 'kind'], array[
    'title', 'parent', 'url', 'language', 'attributes', 'available_from', 'available_until', 'due_at'
  ]);

  execute format('select external_id from %s group by external_id having count(*) > 1 order by 1 limit 1', source)
  into v_twice;
  if v_twice is not null then
    perform common.refuse('CF001', format('%s names item "%s" more than once', source, left(v_twice, 100)),
      'Give a view with one row for each external_id.');
  end if;

  v_former := (select coalesce(max(item_id), 0) from track.item);

  -- The query runs as the caller, and passes its rows to a definer that takes values only. Each call passes at most
  -- 10,000 rows, because the size of a jsonb value is limited.
  for v_items in
    execute format(
      $query$
      select jsonb_agg(jsonb_build_object(%s))
      from (
        select %s, (row_number() over () - 1) / 10000 as part
        from %s
      ) as numbered
      group by part
      order by part
      $query$,
      (select string_agg(format('%L, %I', name, name), ', ') from unnest(v_columns) as name),
      (select string_agg(format('%I', name), ', ') from unnest(v_columns) as name),
      source
    )
  loop
    v_part := track._store_items(v_items, v_former);
    v_result.inserted := v_result.inserted + v_part.inserted;
    v_result.updated := v_result.updated + v_part.updated;
    v_result.unchanged := v_result.unchanged + v_part.unchanged;
  end loop;
  return v_result;
end;
$$;

comment on function track.sync_items(regclass) is $$
Reads items from a table or view of the application, with the privileges of the caller.
Required columns: `external_id` and `kind`; optional: `title`, `parent` (external id), `url`, `language`, `attributes`
(jsonb), `available_from`, `available_until` and `due_at`.
Values of the application replace those of events; a missing column or a null keeps the stored value. The call can be
repeated: unchanged items are not written.
Errors: CF002 for a missing column, CF001 for an invalid value or a duplicate item, CF010 for a cycle of parents.
$$;

grant execute on function track.sync_items(regclass) to insights_admin, insights_worker;

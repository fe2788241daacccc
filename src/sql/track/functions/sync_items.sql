create or replace function track.sync_items(source regclass)
returns track.sync_result
language plpgsql
volatile
set search_path to ''
as $$
declare
  v_columns text[];
  v_result track.sync_result;
begin
  v_columns := track._columns(source, array['external_id', 'kind'], array[
    'title', 'parent', 'url', 'language', 'attributes', 'available_from', 'available_until', 'due_at'
  ]);

  -- The query runs as the caller; what it finds goes in through a definer that takes values only.
  execute format(
    'select (track._store_items(jsonb_agg(jsonb_strip_nulls(jsonb_build_object(%s))))).* from %s',
    (select string_agg(format('%L, %I', name, name), ', ') from unnest(v_columns) as name),
    source
  )
  into v_result;
  return v_result;
end;
$$;

comment on function track.sync_items(regclass) is $$
Brings items in from a table or view of the application, read with the caller's rights.
Columns: `external_id`, `kind`, and, where present, `title`, `parent` (external id), `url`,
`language`, `attributes` (jsonb), `available_from`, `available_until`, `due_at`. What the application says replaces what events said; a column that it lacks, or a null, leaves what is there.
Run it again at any time: unchanged items are not written. Errors: CF002 for a missing column, CF001 for a bad value, CF010 for a circle of parents.
$$;

grant execute on function track.sync_items(regclass) to insights_admin, insights_worker;

create or replace function track._columns(source regclass, needed text[], possible text[])
returns text[]
language plpgsql
stable
set search_path to ''
as $$
declare
  v_present text[] := array(
    select attname::text
    from pg_catalog.pg_attribute
    where attrelid = source and attnum > 0 and not attisdropped
  );
  v_missing text := (select name from unnest(needed) as name where name <> all (v_present) limit 1);
begin
  if v_missing is not null then
    raise exception using
      errcode = 'CF002',
      message = format('%s has no column "%s"', source, v_missing),
      hint = format('It has %s. Give a view that names the columns as needed.', array_to_string(v_present, ', '));
  end if;
  return needed || array(select name from unnest(possible) as name where name = any (v_present));
end;
$$;

comment on function track._columns(regclass, text[], text[]) is $$
@behavior -queryField -mutationField
The needed columns of a relation, and those of the possible ones that it has. CF002 when a needed one is missing.
$$;

grant execute on function track._columns(regclass, text[], text[]) to insights_admin, insights_worker;

create or replace function track._store_items(items jsonb)
returns track.sync_result
language plpgsql
volatile
security definer
set search_path to ''
as $$
declare
  v_bad record;
  v_inserted int;
  v_updated int;
begin
  select item.external_id, item.kind, item.parent into v_bad
  from jsonb_to_recordset(items) as item (external_id text, kind text, parent text)
  where coalesce(length(item.external_id), 0) not between 1 and 512
    or coalesce(item.kind, '') !~ '^[a-z][a-z0-9_]{0,62}$'
    or item.parent = item.external_id
  limit 1;

  if found then
    raise exception using
      errcode = 'CF001',
      message = format('item "%s" of kind "%s" with parent "%s" can''t be stored', left(v_bad.external_id, 100), left(v_bad.kind, 100), left(v_bad.parent, 100)),
      hint = 'An item needs an external_id of 1 to 512 characters, a kind in lower case such as course, and a parent other than itself.';
  end if;

  with said as (
    select item.external_id from jsonb_to_recordset(items) as item (external_id text)
    union
    select item.parent from jsonb_to_recordset(items) as item (parent text)
  ),
  entered as (
    insert into track.item (external_id)
    select external_id
    from said
    where external_id is not null
      and not exists (select from track.item where item.external_id = said.external_id)
    order by external_id
    on conflict (external_id) do nothing
    returning 1
  )
  select count(*) into v_inserted from entered;

  with said as (
    select distinct on (item.external_id) item.*, parent.item_id as parent_item_id
    from jsonb_to_recordset(items) as item (
      external_id text, kind text, title text, parent text, url text, language text, attributes jsonb,
      available_from timestamptz, available_until timestamptz, due_at timestamptz
    )
    left join track.item as parent on parent.external_id = item.parent
    order by item.external_id
  ),
  changed as (
    update track.item
    set
      kind = said.kind,
      title = coalesce(said.title, item.title),
      parent_item_id = coalesce(said.parent_item_id, item.parent_item_id),
      url = coalesce(said.url, item.url),
      language = coalesce(said.language, item.language),
      attributes = coalesce(said.attributes, item.attributes),
      available_from = coalesce(said.available_from, item.available_from),
      available_until = coalesce(said.available_until, item.available_until),
      due_at = coalesce(said.due_at, item.due_at),
      updated_at = now()
    from said
    where item.external_id = said.external_id
      and (
        item.kind <> said.kind
        or item.title is distinct from coalesce(said.title, item.title)
        or item.parent_item_id is distinct from coalesce(said.parent_item_id, item.parent_item_id)
        or item.url is distinct from coalesce(said.url, item.url)
        or item.language is distinct from coalesce(said.language, item.language)
        or item.attributes is distinct from coalesce(said.attributes, item.attributes)
        or item.available_from is distinct from coalesce(said.available_from, item.available_from)
        or item.available_until is distinct from coalesce(said.available_until, item.available_until)
        or item.due_at is distinct from coalesce(said.due_at, item.due_at)
      )
    returning 1
  )
  select count(*) into v_updated from changed;

  return row(
    v_inserted,
    greatest(v_updated - v_inserted, 0),
    coalesce(jsonb_array_length(items), 0) - greatest(v_updated, v_inserted)
  )::track.sync_result;
end;
$$;

comment on function track._store_items(jsonb) is $$
@behavior -queryField -mutationField
Stores a list of `{external_id, kind, …}` as `track.sync_items` describes.
$$;

grant execute on function track._store_items(jsonb) to insights_admin, insights_worker;

create or replace function recommend._item_texts(items bigint[])
returns table (item_id bigint, content text)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set jit to off
as $$
begin
  return query
  select
    item.item_id,
    concat_ws(
      ' ',
      item.title,
      known.topic,
      (
        select string_agg(entry.value #>> '{}', ' ' order by entry.key)
        from jsonb_each(item.attributes) as entry
        where jsonb_typeof(entry.value) in ('string', 'array')
      )
    )
  from track.item
  left join recommend._topics(_item_texts.items) as known using (item_id)
  where item.item_id = any (_item_texts.items);
end;
$$;

comment on function recommend._item_texts(bigint[]) is $$
@behavior -*
Returns the text of items: title, topic, and the attributes that are texts or lists.
$$;

/* A definer: it writes the vectors, which no role may read. It reads no data about people. */
create or replace function recommend.refresh_item_vectors(most int default 500)
returns bigint
language plpgsql
volatile
security definer
set search_path from current
set client_min_messages to notice
set jit to off
as $$
declare
  v_kinds constant text[] := array(
    select 'course'

    union

    select substr(project.name, length('recommend.') + 1)
    from ml.project
    where starts_with(project.name, 'recommend.')
  );
  v_items bigint[];
  v_described_at timestamptz[];
begin
  perform common.check_count('most', refresh_item_vectors.most, 1, 100000);
  perform pg_advisory_xact_lock(hashtext('recommend.refresh_item_vectors'));
  delete from recommend.item_vector
  using track.item
  where item.item_id = item_vector.item_id
    and item.kind <> all (v_kinds);

  select array_agg(changed.item_id), array_agg(changed.described_at)
  into v_items, v_described_at
  from (
    select served.item_id, served.described_at
    from (
      select item.item_id, max(container.updated_at) as described_at
      from track.item
      join track.item_ancestor as ancestor on ancestor.item_id = item.item_id
      join track.item as container on container.item_id = ancestor.ancestor_item_id
      where item.kind = any (v_kinds)
      group by item.item_id
    ) as served
    left join recommend.item_vector using (item_id)
    where item_vector.described_at is distinct from served.described_at
    order by item_vector.described_at nulls first, served.item_id
    limit refresh_item_vectors.most
  ) as changed;

  insert into recommend.item_vector (item_id, content, described_at)
  select described.item_id, ml.text_vector(described.content, 256), changed.described_at
  from unnest(v_items, v_described_at) as changed (item_id, described_at)
  join recommend._item_texts(v_items) as described using (item_id)
  on conflict (item_id) do update
  set content = excluded.content, described_at = excluded.described_at;
  return coalesce(cardinality(v_items), 0);
end;
$$;

comment on function recommend.refresh_item_vectors(int) is $$
Computes the vectors of the contents of items that are new or were changed. Returns their number.
At most `most` items are computed, the new ones before the others. The content is the title, the topic, and the
attributes that are texts or lists (`ml.text_vector`). Items are those of the kind `course`, and of the kinds that have
a recommender.
Error: CF001 for `most`.
$$;

grant execute on function recommend.refresh_item_vectors(int) to insights_worker;

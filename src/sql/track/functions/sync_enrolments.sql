create or replace function track._store_enrolments(enrolments jsonb)
returns track.sync_result
language plpgsql
volatile
-- A definer: the caller reads its own table, and this writes track.enrolment, which no role may write.
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
  v_inserted int;
  v_updated int;
  v_items bigint[];
  v_touched bigint[];
  v_merged bigint[];
  v_identities bigint[];
begin
  select enrolment.* into v_bad
  from jsonb_to_recordset(enrolments) as enrolment (person text, item text, enrolled_at timestamptz, status text)
  where coalesce(length(enrolment.person), 0) not between 1 and 256
    or coalesce(length(enrolment.item), 0) not between 1 and 512
    or enrolment.enrolled_at is null
    or enrolment.status not in ('active', 'completed', 'dropped')
  limit 1;

  if found then
    perform common.refuse(
      'CF001',
      format(
        'the enrolment of "%s" in "%s" at %s with status "%s" is invalid',
        left(v_bad.person, 100),
        left(v_bad.item, 100),
        coalesce(v_bad.enrolled_at::text, 'null'),
        coalesce(left(v_bad.status, 100), 'active')
      ),
      'An enrolment needs a person, an item and a time; its status is active, completed or dropped.'
    );
  end if;

  select enrolment.person into v_bad
  from jsonb_to_recordset(enrolments) as enrolment (person text)
  where track._names_nobody(enrolment.person)
  limit 1;

  if found then
    perform common.refuse('CF001', format('the enrolment of "%s", which names nobody', left(v_bad.person, 100)),
      'Leave out rows without a person. Administrators keep the list track.placeholder_id.');
  end if;

  enrolments := track._without_suppressed(enrolments);
  perform track._enter_people(array_agg('user'::text), array_agg(named.person))
  from (select distinct enrolment.person from jsonb_to_recordset(enrolments) as enrolment (person text)) as named;

  insert into track.item (external_id, kind)
  select distinct enrolment.item, 'course'
  from jsonb_to_recordset(enrolments) as enrolment (item text)
  where not exists (select from track.item where item.external_id = enrolment.item)
  order by enrolment.item
  on conflict (external_id) do nothing;
  v_items := array(
    select item.item_id
    from track.item
    where item.external_id in (select enrolment.item from jsonb_to_recordset(enrolments) as enrolment (item text))
  );

  perform track._describe_names(
    array(
      select row(given.item_id, 'course', null, null, null, null, null, null, null, null)::track.named_item
      from unnest(v_items) as given (item_id)
    ),
    false
  );
  update track.item
  set kind = 'course', updated_at = now()
  where item.item_id = any (v_items)
    and item.kind = 'unknown'
    and num_nulls(item.merged_item_id) > 0
    and not exists (select from track.named_item where named_item.item_id = item.item_id);
  -- The application takes the place of the messages that named the item or called it a course, as in track.sync_items.
  -- Another kind that they told is kept.
  delete from track.item_source
  using track._descriptions(v_items) as described
  where item_source.item_id = described.item_id
    and (item_source.attribute = 'name' or item_source.attribute = 'kind' and described.kind = 'course');

  -- Blocks merges of these people until the end of the transaction.
  perform track.lock_identities(array(
    select identity.identity_id
    from track.identity
    where identity.kind = 'user'
      and identity.external_id = any (
        array(select distinct enrolment.person from jsonb_to_recordset(enrolments) as enrolment (person text))
      )
  ));

  -- As a rule, no item is merged. The enrolments of the names of those that are get their own items meanwhile.
  v_merged := array(
    select distinct member.item_id
    from track.item as member
    join track.item on coalesce(item.merged_item_id, item.item_id) in (member.item_id, member.merged_item_id)
    where (item.merged_item_id is not null or member.merged_item_id is not null)
      and item.external_id = any (
        array(select distinct enrolment.item from jsonb_to_recordset(enrolments) as enrolment (item text))
      )
  );
  if v_merged <> '{}' then
    v_identities := array(
      select identity.identity_id
      from track.identity
      where identity.kind = 'user'
        and identity.external_id = any (
          array(select distinct enrolment.person from jsonb_to_recordset(enrolments) as enrolment (person text))
        )
    );
    perform track._name_enrolments(v_merged, v_identities);
  end if;

  with stored as (
    insert into track.enrolment (person_id, item_id, identity_id, status, enrolled_at, ended_at)
    select
      identity.person_id, item.item_id, identity.identity_id,
      coalesce(enrolment.status, 'active'), enrolment.enrolled_at, enrolment.ended_at
    from jsonb_to_recordset(enrolments) as enrolment (
      person text, item text, enrolled_at timestamptz, status text, ended_at timestamptz
    )
    join track.identity on identity.external_id = enrolment.person and identity.kind = 'user'
    join track.item on item.external_id = enrolment.item
    on conflict (person_id, item_id, identity_id) do update
    set status = excluded.status, enrolled_at = excluded.enrolled_at, ended_at = excluded.ended_at, source_id = null
    where enrolment.source_id is not null
      or (enrolment.status, enrolment.enrolled_at, enrolment.ended_at)
        is distinct from (excluded.status, excluded.enrolled_at, excluded.ended_at)
    returning enrolment.person_id, xmax = 0 as is_new
  )
  select count(*) filter (where is_new), count(*) filter (where not is_new), array_agg(distinct person_id)
  into v_inserted, v_updated, v_touched
  from stored;
  if v_merged <> '{}' then
    perform track._merge_enrolments(v_merged, v_identities);
  end if;
  perform track._enqueue('enrolment', v_touched);

  return row(
    v_inserted,
    v_updated,
    jsonb_array_length(enrolments) - v_inserted - v_updated
  )::track.sync_result;
exception
  when data_exception then
    perform common.refuse('CF001', format('a value of an enrolment is invalid: %s', left(sqlerrm, 100)),
      'Give a view whose columns have the types of track.enrolment, and texts for person and item.');
end;
$$;

comment on function track._store_enrolments(jsonb) is $$
@behavior -queryField -mutationField
Stores a list of `{person, item, enrolled_at, …}`, as described for `track.sync_enrolments`.
$$;

grant execute on function track._store_enrolments(jsonb) to insights_admin, insights_worker;

create or replace function track.sync_enrolments(source regclass)
returns track.sync_result
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_columns text[];
  v_enrolments jsonb;
  v_part track.sync_result;
  v_result track.sync_result := row(0, 0, 0);
begin
  v_columns := track._columns(source, array['person', 'item', 'enrolled_at'], array['status', 'ended_at']);

  -- The latest enrolment of a person in an item applies. The query runs as the caller, and passes its rows to a definer
  -- that takes values only. Each call passes at most 50,000 rows, because the size of a jsonb value is limited.
  for v_enrolments in
    execute format(
      $query$
      select jsonb_agg(jsonb_build_object(%s))
      from (
        select *, (row_number() over (order by person, item) - 1) / 50000 as part
        from (
          select distinct on (person, item) %s
          from %s
          order by person, item, enrolled_at desc
        ) as newest
      ) as numbered
      group by part
      order by part
      $query$,
      (select string_agg(format('%L, %I', name, name), ', ') from unnest(v_columns) as name),
      (select string_agg(format('%I', name), ', ') from unnest(v_columns) as name),
      source
    )
  loop
    v_part := track._store_enrolments(v_enrolments);
    v_result.inserted := v_result.inserted + v_part.inserted;
    v_result.updated := v_result.updated + v_part.updated;
    v_result.unchanged := v_result.unchanged + v_part.unchanged;
  end loop;
  return v_result;
end;
$$;

comment on function track.sync_enrolments(regclass) is $$
Reads enrolments from a table or view of the application, with the privileges of the caller.
Required columns: `person` (`userId`), `item` (external id, usually of a course) and `enrolled_at`; optional: `status`
(`active`, `completed`, `dropped`) and `ended_at`.
Unknown people and items are added, and an item without a kind is a course; rows of people who
were erased (`privacy.suppression`) are left out. Of several rows for one person and item, the latest `enrolled_at`
applies. They replace what imports have stated. The call can be
repeated: unchanged enrolments are not written. Errors: CF002 for a missing column, CF001 for an invalid value.
$$;

grant execute on function track.sync_enrolments(regclass) to insights_admin, insights_worker;

/*
 * Names of items and event types may be personal, such as the path of a page that only one person has. Items and types
 * that messages have named are deleted with the last person who used them. A batch that is being stored may name one of
 * them: therefore an erasure with such candidates waits for the running batches before it locks the people, and later
 * batches wait for it.
 */
create or replace function track._has_names_of_its_own(subject privacy.subject)
returns boolean
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return exists (
    select
    from track.item_source
    join (
      select unnest(step.item_ids)::bigint as item_id
      from track.step
      where step.person_id = any (subject.identity_ids)
      union
      select event.item_id
      from track.stale
      join track.event
        on event.person_id = stale.person_id
        and event.occurred_at between stale.since and stale.until
      where stale.person_id = any (subject.identity_ids)
      union
      select named.item_id
      from track.item_source as named
      where named.identity_id = any (subject.identity_ids)
    ) as used on used.item_id = item_source.item_id
    where item_source.attribute = 'name'
      and not exists (
        select
        from track.item_month
        where item_month.item_id = item_source.item_id
          -- Of at least two people, one is another one, but for what was sent without proof.
          and (
            cardinality(item_month.people) > cardinality(subject.identity_ids)
            or exists (
              select
              from unnest(item_month.people) as entry (person)
              where item_month.part * 32768::bigint + entry.person <> all (subject.identity_ids)
            )
          )
      )
  ) or exists (
    select
    from (
      select step.event_type_id
      from track.step
      where step.person_id = any (subject.identity_ids)
      union
      select event.event_type_id
      from track.stale
      join track.event
        on event.person_id = stale.person_id
        and event.occurred_at between stale.since and stale.until
      where stale.person_id = any (subject.identity_ids)
    ) as used
    where not exists (
      select
      from track.step
      where step.event_type_id = used.event_type_id
        and step.person_id <> all (subject.identity_ids)
    )
  );
end;
$$;

comment on function track._has_names_of_its_own(privacy.subject) is $$
Returns whether a person may have used an item or an event type that messages have named, and that nobody else uses.
$$;

create or replace function track._other_use(
  items bigint[],
  event_types int[],
  out used_items bigint[],
  out used_types int[]
)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  -- Refreshed events of people, those without a person, and those that are not refreshed.
  used_items := array(
    select item_month.item_id
    from track.item_month
    where item_month.item_id = any (_other_use.items)
    union
    select item_day.item_id
    from track.item_day
    where item_day.item_id = any (_other_use.items)
    union
    select unnest(array[item_transition.source_item_id, item_transition.target_item_id])
    from track.item_transition
    where item_transition.source_item_id = any (_other_use.items)
      or item_transition.target_item_id = any (_other_use.items)
    union
    select unnest(step.item_ids)::bigint
    from track.step
    where step.person_id = 0
      and step.item_ids && _other_use.items::int[]
    union
    select unnest(array[event.item_id, event.named_item_id])
    from track.stale
    join track.event
      on event.person_id = stale.person_id
      and event.occurred_at between stale.since and stale.until
    where event.item_id = any (_other_use.items)
      or event.named_item_id = any (_other_use.items)
    union
    select enrolment.named_item_id
    from track.enrolment
    where enrolment.named_item_id = any (_other_use.items)
  );
  used_types := array(
    select entry.event_type_id
    from unnest(_other_use.event_types) as entry (event_type_id)
    where exists (select from track.step where step.event_type_id = entry.event_type_id)
      or exists (
        select
        from track.stale
        join track.event
          on event.person_id = stale.person_id
          and event.occurred_at between stale.since and stale.until
        where entry.event_type_id in (event.event_type_id, event.named_event_type_id)
      )
  );
end;
$$;

comment on function track._other_use(bigint[], int[]) is $$
Returns which of the given items and event types have events or enrolments.
$$;

create or replace function track._erase_items(items bigint[])
returns bigint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_item_id bigint;
  v_deleted bigint := 0;
begin
  -- One by one, children first: an item that something else refers to is kept, such as the parent of another one.
  for v_item_id in
    select item.item_id
    from track.item
    join track.item_source on item_source.item_id = item.item_id and item_source.attribute = 'name'
    where item.item_id = any (_erase_items.items)
    order by
      (select max(ancestor.depth) from track.item_ancestor as ancestor where ancestor.item_id = item.item_id) desc,
      item.item_id
  loop
    begin
      delete from track.item_ancestor where item_ancestor.item_id = v_item_id;
      delete from track.stale_course where stale_course.item_id = v_item_id;
      delete from track.item where item.item_id = v_item_id;
      v_deleted := v_deleted + 1;
    exception
      when foreign_key_violation then null;
    end;
  end loop;
  return v_deleted;
end;
$$;

comment on function track._erase_items(bigint[]) is $$
Deletes items that only messages have named, unless something refers to them. Returns their number.
$$;

create or replace function track._erase_event_types(event_types int[])
returns bigint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_type_id int;
  v_deleted bigint := 0;
begin
  for v_type_id in
    select event_type.event_type_id
    from track.event_type
    where event_type.event_type_id = any (_erase_event_types.event_types)
      -- As messages enter them, so that the next message with the name enters the same.
      and event_type.description is null
      and event_type.purpose = 'analytics'
      and event_type.allowed_properties is not distinct from (select setting.allowed_properties from track.setting)
      and not (event_type.opens_view or event_type.is_heartbeat or event_type.is_automatic)
      and num_nonnulls(
        event_type.merged_event_type_id, event_type.target_event_type_id, event_type.former_event_type_id
      ) = 0
    order by event_type.event_type_id
  loop
    begin
      delete from track.event_type where event_type.event_type_id = v_type_id;
      v_deleted := v_deleted + 1;
    exception
      when foreign_key_violation then null;
    end;
  end loop;
  return v_deleted;
end;
$$;

comment on function track._erase_event_types(int[]) is $$
Deletes event types that only messages have named, unless something refers to them. Returns their number.
$$;

create or replace function track._told_by_others(item_id bigint, attributes text[])
returns table (attribute text, said text, identity_id bigint)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_most int;
begin
  -- As a rule, the first few people tell the same.
  foreach v_most in array array[20, 1000] loop
    return query
    select distinct on (told.attribute) told.attribute, told.said, event.identity_id
    from (
      select used.person_id, used.since, used.until
      from (
        select
          item_month.part * 32768::bigint + entry.person as person_id,
          item_month.month::timestamp at time zone 'UTC' as since,
          (item_month.month + interval '1 month')::timestamp at time zone 'UTC' as until
        from track.item_month
        cross join lateral unnest(item_month.people) as entry (person)
        where item_month.item_id = _told_by_others.item_id
        order by item_month.month, item_month.part, entry.person
        limit v_most
      ) as used
      union all
      (
        select stale.person_id, stale.since, stale.until
        from track.stale
        limit v_most
      )
    ) as period
    join track.event
      on event.person_id = period.person_id
      and event.occurred_at >= period.since
      and event.occurred_at <= period.until
      and event.item_id = _told_by_others.item_id
    join track.source on source.source_id = event.source_id
    join track.event_type on event_type.event_type_id = event.event_type_id
    cross join lateral (
      values (
        case event_type.name when 'Page Viewed' then 'page' when 'Screen Viewed' then 'screen' else 'track' end,
        source.level = 'server'
      )
    ) as message (type, is_trusted)
    cross join lateral (
      values
        ('kind', track._item_kind(message.type, event.properties, event.properties ->> 'path', message.is_trusted)),
        (
          'title',
          case
            when message.is_trusted
              then coalesce(
                event.properties ->> 'itemTitle', case message.type when 'page' then event.properties ->> 'title' end
              )
          end
        ),
        ('url', case when message.is_trusted and message.type = 'page' then event.properties ->> 'url' end),
        (
          'parent',
          case
            when message.is_trusted
              then (
                select nullif(event.properties ->> 'parent', '')
                from track.item
                where item.item_id = _told_by_others.item_id
                  and item.external_id <> event.properties ->> 'parent'
              )
          end
        )
    ) as told (attribute, said)
    where told.attribute = any (_told_by_others.attributes)
      and told.said is not null
    order by told.attribute, event.received_at, event.occurred_at, event.event_id;
    exit when found;
  end loop;
end;
$$;

comment on function track._told_by_others(bigint, text[]) is $$
Returns attributes of an item as the earliest stored events of others tell them, and the identities of these events.
Reads the events of the first 20 people with the item, or when they tell nothing those of the first 1,000, and as many
people that are queued for the refresh.
$$;

create or replace function track._erase_descriptions(identities bigint[], items bigint[] default null)
returns bigint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_cleared bigint;
begin
  with own as materialized (
    select source.item_id, array_agg(source.attribute) as attributes
    from track.item_source as source
    where source.identity_id = any (_erase_descriptions.identities)
      and source.attribute <> 'name'
      and (_erase_descriptions.items is null or source.item_id = any (_erase_descriptions.items))
    group by source.item_id
  ),

  told as materialized (
    select own.item_id, entry.attribute, other.said, other.identity_id
    from own
    cross join lateral unnest(own.attributes) as entry (attribute)
    left join lateral track._told_by_others(own.item_id, own.attributes) as other
      on other.attribute = entry.attribute
  ),

  -- A parent that was not entered, because the item had another one.
  entered as (
    insert into track.item (external_id)
    select distinct told.said
    from told
    where told.attribute = 'parent'
      and told.said is not null
      and not exists (select from track.item where item.external_id = told.said)
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
      max(coalesce(entered.item_id, parent.merged_item_id, parent.item_id))
        filter (where told.attribute = 'parent') as parent_item_id
    from told
    left join entered on told.attribute = 'parent' and entered.external_id = told.said
    left join track.item as parent on told.attribute = 'parent' and parent.external_id = told.said
    group by told.item_id
  ),

  changed as (
    update track.item
    set
      kind = case when by_item.has_kind then coalesce(by_item.kind, 'unknown') else item.kind end,
      title = case when by_item.has_title then by_item.title else item.title end,
      url = case when by_item.has_url then by_item.url else item.url end,
      parent_item_id = case
        when by_item.has_parent then nullif(by_item.parent_item_id, item.item_id)
        else item.parent_item_id
      end
    from by_item
    where item.item_id = by_item.item_id
      and not exists (select from track.named_item where named_item.item_id = item.item_id)
    returning item.item_id
  ),

  deleted as (
    delete from track.item_source
    using told
    where item_source.item_id = told.item_id
      and item_source.attribute = told.attribute
      and told.identity_id is null
  ),

  renamed as (
    update track.item_source
    set identity_id = told.identity_id
    from told
    where item_source.item_id = told.item_id
      and item_source.attribute = told.attribute
      and told.identity_id is not null
  )

  select count(*) into v_cleared
  from changed;

  -- The item is used by others, or named by the application.
  update track.item_source
  set identity_id = 0
  where item_source.identity_id = any (_erase_descriptions.identities)
    and item_source.attribute = 'name';
  return v_cleared;
end;
$$;

comment on function track._erase_descriptions(bigint[], bigint[]) is $$
Replaces the attributes that identities gave to items by what others told, or else removes them.
`items`: of these items only; null: of all.
Returns the number of items. The derived data of courses follows with the next refresh, as with each change of an item.
$$;

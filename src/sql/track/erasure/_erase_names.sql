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
declare
  v_items constant bigint[] := array(
    select unnest(step.item_ids)::bigint
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
  );
  v_types constant int[] := array(
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
  );
  v_type int;
begin
  if exists (
    select 1
    from track.item_source
    where item_source.item_id = any (v_items)
      and item_source.attribute = 'name'
      and not exists (
        select 1
        from track.item_month
        where item_month.item_id = item_source.item_id
          -- Of at least two people, one is another one, but for what was sent without proof.
          and (
            cardinality(item_month.people) > cardinality(subject.identity_ids)
            or exists (
              select 1
              from unnest(item_month.people) as entry (person)
              where item_month.part * 32768::bigint + entry.person <> all (subject.identity_ids)
            )
          )
      )
  ) then
    return true;
  end if;
  -- As a rule, the first row that is read is that of another person.
  foreach v_type in array v_types loop
    perform
    from track.step
    where step.event_type_id = v_type
      and step.person_id <> all (subject.identity_ids)
    limit 1;
    if not found then
      return true;
    end if;
  end loop;
  return false;
end;
$$;

comment on function track._has_names_of_its_own(privacy.subject) is $$
Returns whether a person may have used an item or an event type that messages have named, and that nobody else uses.
$$;

create or replace function track._told_by_others(item_id bigint, attributes text[])
returns table (attribute text, said text, identity_id bigint)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_most int;
  v_stated track.imported_item;
  v_open text[] := attributes;
  v_root constant bigint := (
    select item.merged_item_id from track.item where item.item_id = _told_by_others.item_id
  );
begin
  -- The structure that imports state has precedence: of several, the last one.
  if exists (select from track.imported_item where imported_item.item_id = _told_by_others.item_id) then
    select stated.* into v_stated from track._imported_attributes(array[_told_by_others.item_id]) as stated;
    return query
    select given.attribute, given.said, 0::bigint
    from (
      values
        ('kind', v_stated.kind), ('title', v_stated.title), ('url', v_stated.url),
        (
          'parent',
          (
            select item.external_id
            from track.item
            where item.item_id = v_stated.parent_item_id
              and v_stated.parent_item_id <> v_stated.item_id
          )
        )
    ) as given (attribute, said)
    where given.attribute = any (_told_by_others.attributes)
      and given.said is not null;
    v_open := array(
      select entry.attribute
      from unnest(_told_by_others.attributes) as entry (attribute)
      where case entry.attribute
        when 'kind' then v_stated.kind is null
        when 'title' then v_stated.title is null
        when 'url' then v_stated.url is null
        when 'parent' then v_stated.parent_item_id is null
        else true
      end
    );
    if v_open = '{}' then
      return;
    end if;
  end if;
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
        where item_month.item_id in (_told_by_others.item_id, v_root)
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
      and event.item_id in (_told_by_others.item_id, v_root)
      and coalesce(event.named_item_id, event.item_id) = _told_by_others.item_id
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
    where told.attribute = any (v_open)
      and told.said is not null
    order by told.attribute, event.received_at, event.occurred_at, event.event_id;
    exit when found;
  end loop;
end;
$$;

comment on function track._told_by_others(bigint, text[]) is $$
Returns attributes of an item as imports or others tell them.
The structure that the last import states has precedence (identity 0); then the earliest stored events of others tell
them, with the identities of these events.
Reads the events of the first 20 people with the item, or when they tell nothing those of the first 1,000, and as many
people that are queued for the refresh.
$$;

create or replace function track.source_contents(source text)
returns track.source_contents
language plpgsql
stable
-- A definer: it counts the events of all people.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_source constant track.source := track._import_source(source_contents.source);
  v_contents track.source_contents;
begin
  if v_source.source_id is null then
    perform track._refuse_unknown_import(source_contents.source);
  end if;
  -- Each event is read once, and the others of its people and items with it.
  select
    v_source.name, coalesce(sum(used.imported), 0), min(used.first_at), max(used.last_at),
    count(*) filter (where used.person_id is not null and used.imported > 0),
    count(*) filter (where used.person_id is not null and used.imported = used.events),
    null, null
  into v_contents
  from (
    select
      event.person_id, count(*) as events, count(*) filter (where event.source_id = v_source.source_id) as imported,
      min(event.occurred_at) filter (where event.source_id = v_source.source_id) as first_at,
      max(event.occurred_at) filter (where event.source_id = v_source.source_id) as last_at
    from track.event
    group by event.person_id
  ) as used;
  select count(*) filter (where used.imported > 0), count(*) filter (where used.imported = used.events)
  into v_contents.items, v_contents.items_alone
  from (
    select
      event.item_id, count(*) as events, count(*) filter (where event.source_id = v_source.source_id) as imported
    from track.event
    where num_nonnulls(event.item_id) > 0
    group by event.item_id
  ) as used;
  -- Items of its structure that no event is about.
  select v_contents.items + count(*), v_contents.items_alone + count(*) filter (where not used.is_used)
  into v_contents.items, v_contents.items_alone
  from (
    select
      exists (select 1 from track.item_month where item_month.item_id = entry.item_id)
        or exists (
          select 1
          from track.imported_item as other
          where other.item_id = entry.item_id
            and other.source_id <> entry.source_id
        ) as is_used
    from track.imported_item as entry
    where entry.source_id = v_source.source_id
      and not exists (
        select 1
        from track.event
        where event.item_id = entry.item_id
          and event.source_id = entry.source_id
      )
  ) as used;
  return v_contents;
end;
$$;

comment on function track.source_contents(text) is $$
@behavior -*
Counts what the events of an import are about, and the items of its structure, before `track.forget_import` removes it.
`source`: its name, as in `track.source`. Reads all events. Errors: CF002 for an unknown name, with the nearest one;
CF001 and CF005 for the sources of applications.
$$;

grant execute on function track.source_contents(text) to insights_admin;

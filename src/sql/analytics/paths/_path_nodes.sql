create or replace function analytics._path_nodes(nodes text, wildcards text[], exclusions text[])
returns table (item_id bigint, event_type_id int, node text)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_patterns constant text[] := coalesce(wildcards, '{}') || coalesce(exclusions, '{}');
begin
  if _path_nodes.nodes is null or _path_nodes.nodes not in ('item', 'kind', 'course', 'event', 'page_or_event') then
    perform common.refuse(
      'CF001',
      format('nodes is "%s"', left(_path_nodes.nodes, 100)),
      'Use item, kind (of items), course (of which items are part), event or page_or_event.'
    );
  end if;
  if cardinality(v_patterns) > 100
    or exists (select from unnest(v_patterns) as pattern where pattern is null or length(pattern) not between 1 and 200)
  then
    perform common.refuse(
      'CF008',
      format('there are %s wildcards and exclusions', cardinality(v_patterns)),
      'There can be 100, each of 1 to 200 characters.'
    );
  end if;

  return query
  with named as (
    select
      item.item_id,
      null::int as event_type_id,
      case _path_nodes.nodes
        when 'item' then item.external_id
        when 'page_or_event' then item.external_id
        when 'kind' then item.kind
        else (
          select course.external_id
          from track.item_ancestor as ancestor
          join track.item as course on course.item_id = ancestor.ancestor_item_id and course.kind = 'course'
          where ancestor.item_id = item.item_id
          order by ancestor.depth desc, course.external_id
          limit 1
        )
      end as name
    from track.item
    where _path_nodes.nodes <> 'event'

    union all

    select null, event_type.event_type_id, event_type.name
    from track.event_type
    where not event_type.is_heartbeat
      and case _path_nodes.nodes
        when 'event' then true
        when 'page_or_event' then not event_type.opens_view
        else false
      end
  )

  select named.item_id, named.event_type_id, coalesce(wildcard.pattern, named.name)
  from named
  left join lateral (
    select listed.pattern
    from unnest(_path_nodes.wildcards) with ordinality as listed (pattern, position)
    where named.name like analytics._like_pattern(listed.pattern)
    order by listed.position
    limit 1
  ) as wildcard on true
  where named.name is not null
    and not exists (
      select
      from unnest(_path_nodes.exclusions) as listed (pattern)
      where named.name like analytics._like_pattern(listed.pattern)
    );
end;
$$;

comment on function analytics._path_nodes(text, text[], text[]) is $$
Returns the node of a path that a view of each item is, or an event of each type.
A node is a name, or the first wildcard that it matches. `nodes`: of items, their `item`, `kind` or `course`; of events,
their name (`event`); or the item of page views and the name of other events (`page_or_event`). Items and events without
one, and those whose names match an exclusion, are left out, as are heartbeats.
Errors: CF001 for other nodes, CF008 for more than 100 patterns.
$$;

grant execute on function analytics._path_nodes(text, text[], text[]) to insights_reader;

create or replace function analytics._like_pattern(wildcard text)
returns text
language sql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select replace(regexp_replace(wildcard, '([\\%_])', '\\\1', 'g'), '*', '%');
$$;

comment on function analytics._like_pattern(text) is $$
Returns the pattern of `like` that matches the same names as a text in which `*` is any number of characters.
$$;

grant execute on function analytics._like_pattern(text) to insights_reader;

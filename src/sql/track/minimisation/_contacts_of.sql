create or replace function track._contacts_of(
  messages track.parsed_message[],
  places bigint[],
  exempt_traits text[]
)
returns table (place bigint, event_name text, property text, kind text, found int)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  with recursive
  document as (
    select named.place, message.event_name, part.prefix, part.content, part.exempt
    from unnest(places) as named (place)
    cross join lateral unnest(messages[named.place:named.place]) as message
    cross join lateral (
      values
        ('properties', message.properties, '{}'::text[]),
        ('traits', message.traits, exempt_traits),
        ('message', jsonb_build_object('event', message.event_name), '{}'),
        (
          'context',
          -- The page of the context, where the properties have none.
          jsonb_build_object(
            'page',
            concat_ws(
              ' ',
              case
                when message.type = 'page' and (message.properties ?| '{item,path,url}') is not true then message.item
              end,
              case when (message.properties ? 'url') is not true then message.item_url end
            )
          ),
          '{}'
        )
    ) as part (prefix, content, exempt)
  ),

  -- Only branches that may contain something are followed. Values deeper than 8 levels are counted at the eighth.
  node as (
    select
      document.place,
      document.event_name,
      1 as depth,
      format('%s.%s', document.prefix, left(track._mask_word(field.key, true), 100)) as path,
      not track._is_identifier(field.key) as has_phones,
      field.key,
      field.value
    from document
    cross join lateral jsonb_each(
      case jsonb_typeof(document.content) when 'object' then document.content end
    ) as field
    where field.key <> all (document.exempt)
      and track._is_suspect(jsonb_build_object(field.key, field.value)::text)

    union all

    select
      node.place,
      node.event_name,
      node.depth + 1,
      left(node.path || coalesce('.' || left(track._mask_word(child.key, true), 100), '[]'), 200),
      node.has_phones,
      child.key,
      child.value
    from node
    cross join lateral (
      select field.key, field.value
      from jsonb_each(case jsonb_typeof(node.value) when 'object' then node.value end) as field
      union all
      select null, entry.value
      from jsonb_array_elements(case jsonb_typeof(node.value) when 'array' then node.value end) as entry
    ) as child
    where node.depth < 8
      and track._is_suspect(
        case when child.key is null then child.value::text else jsonb_build_object(child.key, child.value)::text end
      )
  ),

  leaf as (
    select
      node.*,
      case
        -- The values of an object are nodes of their own, and its key is not.
        when node.depth < 8 and jsonb_typeof(node.value) in ('object', 'array') then to_jsonb(node.key)::text
        when node.key is null then node.value::text
        else jsonb_build_object(node.key, node.value)::text
      end as content
    from node
  ),

  masked as materialized (
    select leaf.*, track._mask_text(leaf.content, leaf.has_phones) as masked
    from leaf
    where track._is_suspect(leaf.content)
  )

  select
    masked.place,
    -- The name of a new event type may be personal itself.
    track._mask_word(masked.event_name, true),
    masked.path, counted.kind, sum(counted.found)::int
  from masked
  cross join lateral (
    values
      ('e-mail', regexp_count(masked.masked, '\[e-mail\]') - regexp_count(masked.content, '\[e-mail\]')),
      ('phone', regexp_count(masked.masked, '\[phone\]') - regexp_count(masked.content, '\[phone\]'))
  ) as counted (kind, found)
  where masked.masked <> masked.content
    and counted.found > 0
  group by 1, 2, 3, 4;
end;
$$;

comment on function track._contacts_of(track.parsed_message[], bigint[], text[]) is $$
Returns the e-mail addresses and phone numbers that the messages at `places` contain, by path and kind, as numbers.
Not in their ids, and not in the traits `exempt_traits`.
$$;

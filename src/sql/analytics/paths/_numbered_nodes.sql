create or replace function analytics._numbered_nodes(
  nodes text, wildcards text[], exclusions text[], out names text[], out node_of int[], out node_of_type int[]
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  with listed as materialized (
    select entry.item_id, entry.event_type_id, entry.node
    from analytics._path_nodes(_numbered_nodes.nodes, _numbered_nodes.wildcards, _numbered_nodes.exclusions) as entry
  ),

  numbered as materialized (
    select distinct_node.node, (row_number() over (order by distinct_node.node collate "C"))::int as number
    from (select distinct listed.node from listed) as distinct_node
  )

  select
    coalesce((select array_agg(numbered.node order by numbered.number) from numbered), '{}'),
    coalesce(
      (
        select array_agg(coalesce(numbered.number, 0) order by every_item.item_id)
        from generate_series(1, (select max(item.item_id) from track.item)) as every_item (item_id)
        left join listed on listed.item_id = every_item.item_id
        left join numbered on numbered.node = listed.node
      ),
      '{}'
    ),
    case
      when nodes in ('event', 'page_or_event') then coalesce(
        (
          select
            array_agg(
              case when event_type.opens_view and nodes = 'page_or_event' then -1 else coalesce(numbered.number, 0) end
              order by every_type.event_type_id
            )
          from generate_series(1, (select max(event_type.event_type_id) from track.event_type))
            as every_type (event_type_id)
          left join track.event_type on event_type.event_type_id = every_type.event_type_id
          left join listed on listed.event_type_id = every_type.event_type_id
          left join numbered on numbered.node = listed.node
        ),
        '{}'
      )
    end
  into names, node_of, node_of_type;
end;
$$;

comment on function analytics._numbered_nodes(text, text[], text[]) is $$
Returns the nodes of `analytics._path_nodes` as a list of names, and the number of the node of each item and event type.
`node_of`: by the key of the item; 0 for an item that is not a node. `node_of_type`: by the key of the event type; 0 for
one that is not a node, -1 for one whose node is that of its item; null when nodes are page views.
$$;

grant execute on function analytics._numbered_nodes(text, text[], text[]) to insights_reader;

create or replace function analytics._node_number(names text[], name text, argument text)
returns int
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_number constant int := array_position(names, _node_number.name);
begin
  if v_number is null and _node_number.name is not null then
    perform common.refuse(
      'CF002',
      format('%s is "%s", which is not a node', _node_number.argument, left(_node_number.name, 100)),
      coalesce(
        'Did you mean "' || common.nearest_name(_node_number.name, names) || '"?',
        'Give the name of an item, of a kind or of a course, or a wildcard, as in the result.'
      )
    );
  end if;
  return v_number;
end;
$$;

comment on function analytics._node_number(text[], text, text) is $$
Returns the number of a node; null for null. Errors: CF002 for another name (names the nearest).
$$;

grant execute on function analytics._node_number(text[], text, text) to insights_reader;

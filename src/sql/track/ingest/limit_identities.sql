create or replace function track._limit_identities(messages track.parsed_message[])
returns track.parsed_message[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_limit constant int := (select setting.most_identities from track.setting);
  v_messages track.parsed_message[] := messages;
  v_message track.parsed_message;
  v_places int[];
  v_froms int[];
  v_tos int[];
  v_sizes int[];
  -- A disjoint-set forest of the people and new names of the batch, as in track._link_people.
  v_joined int[];
  v_from int;
  v_to int;
begin
  with said as materialized (
    select
      message.ordinality, message.type, message.external_id,
      case message.type when 'identify' then message.anonymous_id else message.previous_id end as name
    from unnest(messages) with ordinality as message
    where message.type in ('identify', 'alias')
      and message.identity_kind = 'user'
      and message.problem is null
  ),

  -- A person by its key, and a name that is new by its text.
  link as materialized (
    select
      said.ordinality, 'browser ' || said.name || ' of ' || said.external_id as from_name,
      said.external_id as to_name, own.person_id as from_person
    from said
    left join track.identity as person on person.external_id = said.external_id and person.kind = 'user'
    left join track.identity as own
      on own.external_id = said.name
      and own.kind = 'anonymous'
      and own.user_identity_id = person.identity_id
    where said.name is not null

    union all

    select said.ordinality, 'user ' || said.name, said.external_id, other.person_id
    from said
    left join track.identity as other on other.external_id = said.name and other.kind = 'user'
    where said.type = 'alias'
  ),

  keyed as materialized (
    select
      link.ordinality,
      coalesce('person ' || link.from_person, link.from_name) as from_key,
      coalesce('person ' || person.person_id, 'user ' || link.to_name) as to_key
    from link
    left join track.identity as person on person.external_id = link.to_name and person.kind = 'user'
  ),

  node as materialized (
    select key.key, row_number() over (order by key.key)::int as place
    from (select from_key from keyed union select to_key from keyed) as key (key)
  )

  select
    array_agg(keyed.ordinality order by keyed.ordinality),
    array_agg(from_node.place order by keyed.ordinality),
    array_agg(to_node.place order by keyed.ordinality),
    (
      select array_agg(
        case
          when node.key like 'person %' then (
            select count(*)
            from track.identity
            where identity.person_id = substr(node.key, 8)::bigint
          ) + (
            select count(distinct claim.identity_id)
            from track.identity
            join track.identity_link as claim on claim.linked_identity_id = identity.identity_id
            where identity.person_id = substr(node.key, 8)::bigint
              and claim.kind = 'claim'
          )
          else 1
        end
        order by node.place
      )
      from node
    )
  into v_places, v_froms, v_tos, v_sizes
  from keyed
  join node as from_node on from_node.key = keyed.from_key
  join node as to_node on to_node.key = keyed.to_key;

  if v_places is null then
    return messages;
  end if;
  v_joined := array(select generate_series(1, cardinality(v_sizes)));
  for i in 1 .. cardinality(v_places) loop
    v_from := v_froms[i];
    while v_joined[v_from] <> v_from loop
      v_joined[v_from] := v_joined[v_joined[v_from]];
      v_from := v_joined[v_from];
    end loop;
    v_to := v_tos[i];
    while v_joined[v_to] <> v_to loop
      v_joined[v_to] := v_joined[v_joined[v_to]];
      v_to := v_joined[v_to];
    end loop;
    continue when v_from = v_to;
    if v_sizes[v_from] + v_sizes[v_to] > v_limit then
      v_message := v_messages[v_places[i]];
      v_message.problem := row(
        'CF008',
        format(
          'the person "%s" would have %s identities',
          left(v_message.external_id, 100),
          v_sizes[v_from] + v_sizes[v_to]
        ),
        format('A person has %s at most (track.setting.most_identities). Keep the anonymousId of a browser.', v_limit)
      );
      v_messages[v_places[i]] := v_message;
    else
      v_joined[v_from] := v_to;
      v_sizes[v_to] := v_sizes[v_to] + v_sizes[v_from];
    end if;
  end loop;
  return v_messages;
end;
$$;

comment on function track._limit_identities(track.parsed_message[]) is $$
Returns the messages; an `identify` or `alias` that would give a person too many identities is rejected (CF008).
$$;

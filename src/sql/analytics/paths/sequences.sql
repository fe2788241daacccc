create or replace function analytics._sequences(
  since timestamptz,
  until timestamptz,
  nodes text,
  length int,
  wildcards text[],
  exclusions text[],
  among text,
  compared_with text,
  top int,
  smallest_group int
)
returns setof analytics.path_sequence
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set work_mem to '64MB'
as $$
declare
  v_days constant timestamptz[] := analytics._bounds('day', _sequences.since, _sequences.until, 'UTC');
  v_names text[];
  v_node_of int[];
  v_node_of_type int[];
begin
  perform common.check_count('length', _sequences.length, 2, 10);
  perform common.check_count('top', coalesce(_sequences.top, 1), 1, 10000);
  select numbered.names, numbered.node_of, numbered.node_of_type into v_names, v_node_of, v_node_of_type
  from analytics._numbered_nodes(_sequences.nodes, _sequences.wildcards, _sequences.exclusions) as numbered;

  return query
  with by_person as (
    select
      path.person_id, part.nodes,
      count(*) filter (where path.is_member) as times,
      count(*) filter (where path.is_compared) as compared_times
    from analytics._session_paths(
      v_days[1], v_days[cardinality(v_days)], v_node_of, v_node_of_type, null, null, 100000, false,
      _sequences.among, _sequences.compared_with, _sequences.smallest_group
    ) as path
    cross join lateral generate_series(1, cardinality(path.nodes) - _sequences.length + 1) as place (number)
    cross join lateral (select path.nodes[place.number:place.number + _sequences.length - 1] as nodes) as part
    group by path.person_id, part.nodes
  ),

  counted as (
    select
      by_person.nodes,
      sum(by_person.times) as times,
      count(*) filter (where by_person.times > 0) as person_count,
      sum(by_person.compared_times) as compared_times,
      count(*) filter (where by_person.compared_times > 0) as compared_people
    from by_person
    group by by_person.nodes
  ),

  shown as (
    select
      counted.nodes,
      analytics._shown(counted.times::float8, counted.person_count, _sequences.smallest_group)::bigint as times,
      analytics._shown(counted.person_count, counted.person_count, _sequences.smallest_group)::bigint as person_count,
      analytics._shown(counted.compared_times::float8, counted.compared_people, _sequences.smallest_group)::bigint
        as compared_times,
      analytics._shown(counted.compared_people, counted.compared_people, _sequences.smallest_group)::bigint
        as compared_people
    from counted
    where counted.person_count >= coalesce(_sequences.smallest_group, 1)
      or counted.compared_people >= coalesce(_sequences.smallest_group, 1)
  ),

  largest as (
    select shown.*
    from shown
    order by greatest(shown.times, shown.compared_times) desc, shown.nodes
    limit _sequences.top
  )

  select
    array(
      select v_names[entry.node]
      from unnest(largest.nodes) with ordinality as entry (node, number)
      order by entry.number
    ),
    largest.times,
    largest.person_count,
    case when _sequences.compared_with is not null then largest.compared_times end,
    case when _sequences.compared_with is not null then largest.compared_people end
  from largest
  order by greatest(largest.times, largest.compared_times) desc, largest.nodes;
end;
$$;

comment on function analytics._sequences(
  timestamptz, timestamptz, text, int, text[], text[], text, text, int, int
) is $$
Computes the result of `analytics.sequences`, with the privileges of the caller.
`smallest_group`: figures of groups of counted people (see `analytics._visible_periods` and `analytics._shown`);
null: exact figures of all people.
$$;

grant execute on function analytics._sequences(
  timestamptz, timestamptz, text, int, text[], text[], text, text, int, int
)
to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._sequences_exact(
  since timestamptz,
  until timestamptz,
  nodes text,
  length int,
  wildcards text[],
  exclusions text[],
  among text,
  compared_with text,
  top int
)
returns setof analytics.path_sequence
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select *
  from analytics._sequences(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, null
  );
$$;

alter function analytics._sequences_exact(
  timestamptz, timestamptz, text, int, text[], text[], text, text, int
)
owner to insights_reader;

comment on function analytics._sequences_exact(
  timestamptz, timestamptz, text, int, text[], text[], text, text, int
) is $$
Returns the result of `analytics.sequences` with exact figures of all people, for admins and workers.
$$;

grant execute on function analytics._sequences_exact(
  timestamptz, timestamptz, text, int, text[], text[], text, text, int
)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._sequences_shown(
  since timestamptz,
  until timestamptz,
  nodes text,
  length int,
  wildcards text[],
  exclusions text[],
  among text,
  compared_with text,
  top int
)
returns setof analytics.path_sequence
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select *
  from analytics._sequences(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._sequences_shown(
  timestamptz, timestamptz, text, int, text[], text[], text, text, int
)
owner to insights_reader;

comment on function analytics._sequences_shown(
  timestamptz, timestamptz, text, int, text[], text[], text, text, int
) is $$
Returns the result of `analytics.sequences` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._sequences_shown(
  timestamptz, timestamptz, text, int, text[], text[], text, text, int
)
to insights_analyst;

create or replace function analytics.sequences(
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  nodes text default 'item',
  length int default 3,
  wildcards text[] default '{}',
  exclusions text[] default '{}',
  among text default null,
  compared_with text default null,
  top int default 50
)
returns setof analytics.path_sequence
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._sequences_exact(timestamptz, timestamptz, text, int, text[], text[], text, text, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._sequences_exact(
      sequences.since, sequences.until, sequences.nodes, sequences.length, sequences.wildcards, sequences.exclusions,
      sequences.among, sequences.compared_with, sequences.top
    );
  else
    return query
    select *
    from analytics._sequences_shown(
      sequences.since, sequences.until, sequences.nodes, sequences.length, sequences.wildcards, sequences.exclusions,
      sequences.among, sequences.compared_with, sequences.top
    );
  end if;
end;
$$;

comment on function analytics.sequences(
  timestamptz, timestamptz, text, int, text[], text[], text, text, int
) is $$
Returns the most frequent sequences of nodes in the sessions that started in a period.
A sequence is `length` nodes in succession, 2 to 10; every position of a session counts, the most frequent `top` first;
null: all.
`nodes`: the pages that were viewed as `item`, their `kind`, or the `course` of which they are part; `event`: the names
of all events that are not automatic; `page_or_event`: the pages that were viewed and the names of other events.
`wildcards`: names in which `*` is any number of characters; all that match are one node of this name, that of the first
that matches. `exclusions`: such names, whose views are left out. Equal nodes in succession are one, that of the last
view. Views that continue from an earlier session, and those without a node, are left out.
`among`: people of these sets now; `compared_with`: figures of other sets beside them (a person can be in both).
For admins and workers, figures are exact and include anonymous browsers. Analysts see figures of counted people, of
days (UTC) on which at least `analytics.setting.smallest_group` of them are active, or of the small days of a week
together; what fewer people did is left out, and figures are rounded by `analytics._shown`. As of the last refresh of
the sessions. Errors: CF001 for an invalid argument, CF002 for an unknown node or set (names the nearest), CF008 for
more than 100 wildcards and exclusions.
$$;

grant execute on function analytics.sequences(
  timestamptz, timestamptz, text, int, text[], text[], text, text, int
)
to insights_analyst, insights_admin, insights_worker;

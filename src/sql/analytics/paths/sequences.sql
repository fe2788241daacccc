/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
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
  breakdown text,
  top_values int,
  smallest_group int
)
returns setof analytics.path_sequence
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
set timezone to 'UTC'
set work_mem to '64MB'
as $$
declare
  v_days constant timestamptz[] := analytics._bounds('day', _sequences.since, _sequences.until, 'UTC');
  v_names text[];
  v_node_of int[];
  v_node_of_type int[];
  -- Analysts see the values of each day.
  v_by_day constant boolean := analytics._is_by_day(_sequences.breakdown, _sequences.smallest_group);
  v_blocks int[];
  v_people bit(4096)[];
begin
  perform common.check_count('length', _sequences.length, 2, 10);
  perform common.check_count('top', coalesce(_sequences.top, 1), 1, 10000);
  if _sequences.breakdown is not null and _sequences.compared_with is not null then
    perform common.refuse(
      'CF001',
      'breakdown and compared_with are both given',
      'Give one of them: each value of a breakdown has its own rows, which can be compared.'
    );
  end if;
  select numbered.names, numbered.node_of, numbered.node_of_type into v_names, v_node_of, v_node_of_type
  from analytics._numbered_nodes(_sequences.nodes, _sequences.wildcards, _sequences.exclusions) as numbered;

  select array_agg(member.block), array_agg(member.people) into v_blocks, v_people
  from analytics._members(_sequences.among, _sequences.smallest_group) as member;

  return query
  with by_person as not materialized (
    select
      path.person_id,
      case when v_by_day then width_bucket(path.started_at, v_days) else 0 end as day,
      part.nodes,
      count(*) filter (where path.is_member) as times,
      count(*) filter (where path.is_compared) as compared_times
    from analytics._session_paths(
      v_days[1], v_days[cardinality(v_days)], v_node_of, v_node_of_type, null, null, 100000, false,
      _sequences.among, _sequences.compared_with, _sequences.smallest_group
    ) as path
    cross join lateral generate_series(1, cardinality(path.nodes) - _sequences.length + 1) as place (number)
    cross join lateral (select path.nodes[place.number:place.number + _sequences.length - 1] as nodes) as part
    group by 1, 2, 3
  ),

  divided as materialized (
    select by_person.* from by_person where _sequences.breakdown is not null
  ),

  used as materialized (
    select array_agg(listed.day) as days, array_agg(listed.person_id) as people
    from (select distinct divided.day, divided.person_id from divided where v_by_day) as listed
  ),

  -- The values of the people of each day, or of day 0.
  place as materialized (
    select person.person_id, person.day, part.value, part.is_other
    from used
    cross join lateral analytics._groups_of_use(
      _sequences.breakdown, _sequences.top_values, _sequences.smallest_group, v_blocks, v_people, used.days,
      used.people
    ) as part
    join (select distinct divided.person_id, divided.day from divided) as person
      on person.person_id / 4096 = part.block
      and person.day = part.day
      and get_bit(part.people, (person.person_id % 4096)::int) <> 0
    where _sequences.breakdown is not null
  ),

  valued as (
    select null::text as value, false as is_other, by_person.nodes, by_person.times, by_person.compared_times
    from by_person
    where _sequences.breakdown is null

    union all

    -- The days of a person are one.
    select place.value, place.is_other, divided.nodes, sum(divided.times)::bigint, 0
    from divided
    join place on place.person_id = divided.person_id and place.day = divided.day
    group by place.value, place.is_other, divided.person_id, divided.nodes
  ),

  counted as (
    select
      valued.value, valued.is_other, valued.nodes,
      sum(valued.times) as times,
      count(*) filter (where valued.times > 0) as person_count,
      sum(valued.compared_times) as compared_times,
      count(*) filter (where valued.compared_times > 0) as compared_people
    from valued
    group by valued.value, valued.is_other, valued.nodes
  ),

  shown as not materialized (
    select
      counted.value, counted.is_other, counted.nodes,
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

  -- Without a breakdown there is no need to sort all of them.
  largest as (
    (
      select shown.*
      from shown
      where _sequences.breakdown is null
      order by greatest(shown.times, shown.compared_times) desc, shown.nodes
      limit _sequences.top
    )

    union all

    select
      ranked.value, ranked.is_other, ranked.nodes, ranked.times, ranked.person_count, ranked.compared_times,
      ranked.compared_people
    from (
      select
        shown.*,
        row_number() over (partition by shown.is_other, shown.value order by shown.times desc, shown.nodes) as rank
      from shown
      where _sequences.breakdown is not null
    ) as ranked
    where ranked.rank <= coalesce(_sequences.top, ranked.rank)
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
    case when _sequences.compared_with is not null then largest.compared_people end,
    largest.value,
    largest.is_other
  from largest
  order by
    largest.is_other, largest.value is null, largest.value, greatest(largest.times, largest.compared_times) desc,
    largest.nodes;
end;
$$;

alter function analytics._sequences(
  timestamptz, timestamptz, text, int, text[], text[], text, text, int, text, int, int
)
owner to insights_reader;

comment on function analytics._sequences(
  timestamptz, timestamptz, text, int, text[], text[], text, text, int, text, int, int
) is $$
Computes the result of `analytics.sequences`.
`smallest_group`: figures of groups of counted people (see `analytics._visible_periods` and `analytics._shown`);
null: exact figures of all people.
$$;

grant execute on function analytics._sequences(
  timestamptz, timestamptz, text, int, text[], text[], text, text, int, text, int, int
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
  top int,
  breakdown text,
  top_values int
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
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._sequences_shown(
  timestamptz, timestamptz, text, int, text[], text[], text, text, int, text, int
)
owner to insights_reader;

comment on function analytics._sequences_shown(
  timestamptz, timestamptz, text, int, text[], text[], text, text, int, text, int
) is $$
Returns the result of `analytics.sequences` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._sequences_shown(
  timestamptz, timestamptz, text, int, text[], text[], text, text, int, text, int
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
  top int default 50,
  breakdown text default null,
  top_values int default 10
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
    'analytics._sequences(timestamptz, timestamptz, text, int, text[], text[], text, text, int, text, int, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._sequences(
      sequences.since, sequences.until, sequences.nodes, sequences.length, sequences.wildcards, sequences.exclusions,
      sequences.among, sequences.compared_with, sequences.top, sequences.breakdown, sequences.top_values, null
    );
  else
    return query
    select *
    from analytics._sequences_shown(
      sequences.since, sequences.until, sequences.nodes, sequences.length, sequences.wildcards, sequences.exclusions,
      sequences.among, sequences.compared_with, sequences.top, sequences.breakdown, sequences.top_values
    );
  end if;
end;
$$;

comment on function analytics.sequences(
  timestamptz, timestamptz, text, int, text[], text[], text, text, int, text, int
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
`breakdown`: `set.<family>` or `trait.<name>`, as of now: the result for the people of each value, of at most
`top_values`, with the `top` sequences of each; for analysts, values of too few people on a day are in its rest.
For admins and workers, figures are exact and include anonymous browsers. Analysts see figures of counted people, of
days (UTC) on which at least `analytics.setting.smallest_group` of them are active, or of the small days of a week
together; what fewer people did is left out, and figures are rounded by `analytics._shown`. As of the last refresh of
the sessions. Errors: CF001 for an invalid argument, CF002 for an unknown node or set (names the nearest), CF008 for
more than 100 wildcards and exclusions.
$$;

grant execute on function analytics.sequences(
  timestamptz, timestamptz, text, int, text[], text[], text, text, int, text, int
)
to insights_analyst, insights_admin, insights_worker;

create or replace function analytics._transitions_of(
  first_month date,
  end_month date,
  names text[],
  node_of int[],
  top int,
  blocks int[],
  people bit(4096)[],
  smallest_group int
)
returns setof analytics.transition
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set work_mem to '64MB'
-- The best plan depends on the period.
set plan_cache_mode to force_custom_plan
as $$
begin
  return query
  with whole as not materialized (
    select
      transition.month, transition.source_item_id, transition.target_item_id, transition.transition_count,
      transition.person_count, transition.elapsed::float8 as elapsed
    from track.item_transition as transition
    where transition.month >= _transitions_of.first_month
      and transition.month < _transitions_of.end_month
      and transition.month not in (select stale_month.month from track.stale_transition_month as stale_month)

    union all

    select
      transition.month, transition.source_item_id, transition.target_item_id, transition.transition_count,
      transition.person_count, transition.elapsed::float8
    from track.stale_transition_month as stale_month
    cross join lateral track.month_transitions(stale_month.month) as transition
    where stale_month.month >= greatest(
        _transitions_of.first_month, (select setting.sums_kept_before from track.setting)
      )
      and stale_month.month < _transitions_of.end_month
  ),

  -- Of some people: from their sessions, which are those of all months but the ones that remain as sums.
  own as (
    select transition.*
    from (
      select min(session.started_at) as oldest, max(session.started_at) as latest
      from track.session
      where _transitions_of.blocks is not null
      having min(session.started_at) is not null
    ) as stored
    cross join lateral generate_series(
      date_trunc(
        'month',
        greatest(
          _transitions_of.first_month::timestamp, stored.oldest::timestamp,
          (select setting.sums_kept_before::timestamp from track.setting)
        )
      ),
      least(_transitions_of.end_month - 1, stored.latest::date)::timestamp,
      interval '1 month'
    ) as month
    cross join lateral track.month_transitions(
      month::date, _transitions_of.blocks, _transitions_of.people
    ) as transition
  ),

  stored as (
    select
      whole.source_item_id, whole.target_item_id, sum(whole.transition_count)::bigint as transition_count,
      sum(whole.person_count) as person_months, max(whole.person_count) as people, sum(whole.elapsed) as elapsed
    from whole
    where _transitions_of.blocks is null
      and whole.person_count >= coalesce(_transitions_of.smallest_group, 1)
    group by whole.source_item_id, whole.target_item_id

    union all

    -- Of analysts, in the months in which the others are a group too, or there are none.
    select
      own.source_item_id, own.target_item_id, own.transition_count, own.person_count, own.person_count,
      own.elapsed::float8
    from own
    left join whole
      on _transitions_of.smallest_group > 1
      and whole.month = own.month
      and whole.source_item_id = own.source_item_id
      and whole.target_item_id = own.target_item_id
    where own.person_count >= coalesce(_transitions_of.smallest_group, 1)
      and (
        whole.month is null
        or whole.person_count - own.person_count not between 1 and _transitions_of.smallest_group - 1
      )
  ),

  edge as (
    select
      _transitions_of.node_of[stored.source_item_id] as source,
      _transitions_of.node_of[stored.target_item_id] as target,
      sum(stored.transition_count)::float8 as transition_count, sum(stored.person_months)::bigint as person_months,
      -- At least as many people are in the group.
      max(stored.people)::bigint as people,
      sum(stored.elapsed) as elapsed
    from stored
    group by 1, 2
  ),

  shown as (
    select
      edge.source, edge.target, edge.people, edge.person_months,
      edge.elapsed / edge.transition_count as mean_microseconds,
      case
        when _transitions_of.smallest_group is null then edge.transition_count
        else analytics._shown(edge.transition_count, edge.people, _transitions_of.smallest_group)
      end::bigint as transition_count
    from edge
    where edge.source > 0
      and edge.target > 0
      and edge.source <> edge.target
  ),

  -- Nodes are numbered in the order of their names.
  largest as (
    select
      shown.*,
      shown.transition_count / nullif(sum(shown.transition_count) over (partition by shown.source), 0)::float8 as share
    from shown
    order by shown.transition_count desc, shown.source, shown.target
    limit _transitions_of.top
  )

  select
    _transitions_of.names[largest.source], _transitions_of.names[largest.target], largest.transition_count,
    analytics._shown(largest.person_months, largest.people, _transitions_of.smallest_group)::bigint, largest.share,
    make_interval(
      secs => analytics._shown_mean(
        largest.mean_microseconds, largest.people, _transitions_of.smallest_group
      ) / 1000000
    ),
    null::text,
    false
  from largest
  order by largest.transition_count desc, largest.source, largest.target;
end;
$$;

comment on function analytics._transitions_of(date, date, text[], int[], int, int[], bit[], int) is $$
Returns the most frequent transitions of some counted people, with the privileges of the caller.
See `analytics.transitions`. Months from `first_month` until `end_month` (exclusive). `names`, `node_of`: those of
`analytics._numbered_nodes`. `blocks`, `people`: one bit per person; null: all counted people, from the sums.
`smallest_group`: transitions of an item to another by fewer people in a month are left out, others are rounded by
`analytics._shown`; null: exact figures.
$$;

grant execute on function analytics._transitions_of(date, date, text[], int[], int, int[], bit[], int)
to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._transitions(
  since timestamptz,
  until timestamptz,
  nodes text,
  wildcards text[],
  exclusions text[],
  top int,
  among text,
  breakdown text,
  top_values int,
  smallest_group int
)
returns setof analytics.transition
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
as $$
declare
  v_bounds constant timestamptz[] := analytics._bounds('month', _transitions.since, _transitions.until, 'UTC');
  v_names text[];
  v_node_of int[];
begin
  perform common.check_count('top', coalesce(_transitions.top, 1), 1, 10000);
  if _transitions.nodes in ('event', 'page_or_event') then
    perform common.refuse(
      'CF001',
      format('nodes is "%s", and the sums are those of page views', _transitions.nodes),
      'Use item, kind or course, or analytics.paths, which reads events too.'
    );
  end if;
  select numbered.names, numbered.node_of into v_names, v_node_of
  from analytics._numbered_nodes(_transitions.nodes, _transitions.wildcards, _transitions.exclusions) as numbered;

  return query
  select
    moved.source, moved.target, moved.transition_count, moved.person_months, moved.share, moved.mean_time,
    part.value, part.is_other
  from analytics._counted_groups(
    _transitions.among, _transitions.breakdown, _transitions.top_values, _transitions.smallest_group
  ) as part
  cross join lateral analytics._transitions_of(
    v_bounds[1]::date, v_bounds[cardinality(v_bounds)]::date, v_names, v_node_of, _transitions.top, part.blocks,
    part.people, _transitions.smallest_group
  ) as moved
  order by
    part.is_other, part.value is null, part.value, moved.transition_count desc, moved.source collate "C",
    moved.target collate "C";
end;
$$;

alter function analytics._transitions(
  timestamptz, timestamptz, text, text[], text[], int, text, text, int, int
)
owner to insights_reader;

comment on function analytics._transitions(
  timestamptz, timestamptz, text, text[], text[], int, text, text, int, int
) is $$
Computes the result of `analytics.transitions`.
`smallest_group`: transitions of an item to another by fewer people in a month are left out, others are rounded by
`analytics._shown`; null: exact figures.
$$;

grant execute on function analytics._transitions(
  timestamptz, timestamptz, text, text[], text[], int, text, text, int, int
) to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._transitions_shown(
  since timestamptz,
  until timestamptz,
  nodes text,
  wildcards text[],
  exclusions text[],
  top int,
  among text,
  breakdown text,
  top_values int
)
returns setof analytics.transition
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
  from analytics._transitions(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._transitions_shown(timestamptz, timestamptz, text, text[], text[], int, text, text, int)
owner to insights_reader;

comment on function analytics._transitions_shown(
  timestamptz, timestamptz, text, text[], text[], int, text, text, int
) is $$
Returns the result of `analytics.transitions` for analysts: figures of groups of people, rounded.
$$;

grant execute on function analytics._transitions_shown(
  timestamptz, timestamptz, text, text[], text[], int, text, text, int
)
to insights_analyst;

create or replace function analytics.transitions(
  since timestamptz default date_trunc('month', now() at time zone 'UTC' - interval '11 months') at time zone 'UTC',
  until timestamptz default now(),
  nodes text default 'item',
  wildcards text[] default '{}',
  exclusions text[] default '{}',
  top int default 50,
  among text default null,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.transition
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._transitions(timestamptz, timestamptz, text, text[], text[], int, text, text, int, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._transitions(
      transitions.since, transitions.until, transitions.nodes, transitions.wildcards, transitions.exclusions,
      transitions.top, transitions.among, transitions.breakdown, transitions.top_values, null
    );
  else
    return query
    select *
    from analytics._transitions_shown(
      transitions.since, transitions.until, transitions.nodes, transitions.wildcards, transitions.exclusions,
      transitions.top, transitions.among, transitions.breakdown, transitions.top_values
    );
  end if;
end;
$$;

comment on function analytics.transitions(timestamptz, timestamptz, text, text[], text[], int, text, text, int) is $$
Returns the most frequent transitions between pages that were viewed in succession, of whole months.
It reads the sums of `track.item_transition`: its cost is that of the pairs of items by month. `analytics.paths` and
`analytics.sequences` read the sessions, with steps and any days. `among`: people of these sets now, such as
`segment.power & ~cohort.beta`; `breakdown`: `set.<family>` or `trait.<name>`, as of now: the result for the people of
each value, of at most `top_values`; the others have `is_other`. Both read the sessions of the months, which takes
longer, and only months whose sessions are stored: those that a retention rule deleted remain as sums of all people.
The period is extended to whole months
(UTC), in which the sessions started. Figures are those of counted people. Rows are transitions from `source` to
`target`, the most frequent `top` first; null: all.
`nodes`: the pages as `item`, their `kind`, or the `course` of which they are part. `wildcards`: names in which `*` is
any number of characters; all that match are one node of this name, that of the first that matches. A transition from a
node to itself does not count, nor one of which an item has no node or matches one of the `exclusions`; `paths` and
`sequences` skip the views of such items instead.
For admins and workers, figures are exact. For analysts, a transition from an item to another counts in the months in
which at least `analytics.setting.smallest_group` people did it (of a set: and as many others, or none), and figures are
rounded by `analytics._shown`.
As of the last refresh of the sessions. Errors: CF001 for an invalid argument, CF002 for an unknown set, CF008 for more
than 100 wildcards and exclusions.
$$;

grant execute on function analytics.transitions(timestamptz, timestamptz, text, text[], text[], int, text, text, int)
to insights_analyst, insights_admin, insights_worker;

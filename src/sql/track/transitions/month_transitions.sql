create or replace function track.month_transitions(
  month date, blocks int[] default null, people bit(4096)[] default null
)
returns setof track.item_transition
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the month.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_since constant timestamptz := month::timestamp at time zone 'UTC';
  v_until constant timestamptz := (month + interval '1 month') at time zone 'UTC';
begin
  return query
  with member as materialized (
    select listed.block, listed.people
    from unnest(month_transitions.blocks, month_transitions.people) as listed (block, people)

    union all

    select counted.block, counted.people
    from track.person_set_block as counted
    where counted.name = 'counted'
      and month_transitions.blocks is null
  ),

  by_person as (
    select
      session.person_id, pair.source, pair.target,
      count(*) as transition_count,
      sum(pair.ended - pair.started) as elapsed
    from track.session
    join member
      on member.block = session.person_id / 4096
      and get_bit(member.people, (session.person_id % 4096)::int) <> 0
    cross join lateral (
      select array_agg(viewed.item_id) as items, array_agg(viewed.start) as starts
      from unnest(session.view_item_ids, session.view_starts, session.view_continued)
        as viewed (item_id, start, is_continued)
      where viewed.item_id is not null
        and viewed.is_continued is not true
    ) as view
    cross join lateral unnest(view.items, view.items[2:], view.starts, view.starts[2:])
      as pair (source, target, started, ended)
    where session.started_at >= v_since
      and session.started_at < v_until
      and pair.source <> pair.target
    group by session.person_id, pair.source, pair.target
  )

  select
    month_transitions.month, by_person.source, by_person.target, sum(by_person.transition_count)::bigint,
    count(*)::int, sum(by_person.elapsed)::bigint
  from by_person
  group by by_person.source, by_person.target;
end;
$$;

comment on function track.month_transitions(date, int[], bit[]) is $$
@behavior -*
Returns the transitions of a month as the sessions give them: the rows that `track.item_transition` has, or will have.
Readers call it for the months in `track.stale_transition_month`. `month`: its first day. `blocks`, `people`: only these
people, one bit per person; null: those who are counted.
$$;

grant execute on function track.month_transitions(date, int[], bit[]) to insights_reader, insights_admin;

create or replace function track._transitions(people bigint[], first_months date[], end_months date[])
returns setof track.transition
language plpgsql
stable
set search_path to pg_catalog, pg_temp
-- The best plan depends on the number of people.
set plan_cache_mode to force_custom_plan
as $$
begin
  return query
  with period as materialized (
    select
      entry.person_id,
      entry.first_month::timestamp at time zone 'UTC' as since,
      entry.end_month::timestamp at time zone 'UTC' as until
    from unnest(_transitions.people, _transitions.first_months, _transitions.end_months)
      as entry (person_id, first_month, end_month)
  )

  select
    session.person_id, date_trunc('month', session.started_at at time zone 'UTC')::date, pair.source, pair.target,
    count(*)::int, sum(pair.ended - pair.started)::bigint
  from period
  join track.session
    on session.person_id = period.person_id
    and session.ended_at >= period.since
    and session.started_at >= period.since
    and session.started_at < period.until
  cross join lateral (
    select array_agg(viewed.item_id) as items, array_agg(viewed.start) as starts
    from unnest(session.view_item_ids, session.view_starts, session.view_continued)
      as viewed (item_id, start, is_continued)
    where viewed.item_id is not null
      and viewed.is_continued is not true
  ) as view
  cross join lateral unnest(view.items, view.items[2:], view.starts, view.starts[2:])
    as pair (source, target, started, ended)
  where pair.source <> pair.target
  group by 1, 2, 3, 4;
end;
$$;

comment on function track._transitions(bigint[], date[], date[]) is $$
Returns the transitions between items in the sessions of people that started in some months.
Each position is a person, the first day of a month, and the day after the last month (UTC). Views that continue from an
earlier session, and those without an item, are left out, as are transitions from an item to itself.
$$;

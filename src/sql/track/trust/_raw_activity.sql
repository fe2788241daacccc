create or replace function track._raw_activity(
  first_person bigint,
  last_person bigint,
  first_day date,
  end_day date,
  items bigint[] default null
)
returns setof track.activity
language plpgsql
stable
set search_path to pg_catalog, pg_temp
-- The plan contains the partitions of these days only.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_since constant timestamptz := first_day::timestamp at time zone 'UTC';
  v_until constant timestamptz := end_day::timestamp at time zone 'UTC';
begin
  return query
  select
    event.person_id,
    (event.occurred_at at time zone 'UTC')::date,
    event.event_type_id,
    event.item_id,
    count(*)::int,
    interval '0',
    (count(*) filter (where event_type.is_automatic or source.is_automatic))::int
  from track.event
  join track.event_type on event_type.event_type_id = event.event_type_id
  join track.source on source.source_id = event.source_id
  where event.person_id between first_person and last_person
    and event.occurred_at >= v_since
    and event.occurred_at < v_until
    and (items is null or event.item_id = any (items))
  group by 1, 2, 3, 4

  union all

  select
    page_view.person_id, (page_view.started_at at time zone 'UTC')::date, 0, page_view.item_id, 0,
    sum(page_view.engaged), 0
  from track.session
  join track.page_view on page_view.person_id = session.person_id and page_view.session_id = session.session_id
  where session.person_id between first_person and last_person
    and session.ended_at >= v_since
    and session.started_at < v_until
    and page_view.started_at >= v_since
    and page_view.started_at < v_until
    and (items is null or session.view_item_ids && items and page_view.item_id = any (items))
  group by 1, 2, 4;
end;
$$;

comment on function track._raw_activity(bigint, bigint, date, date, bigint[]) is $$
Returns the activity of a range of people, computed from their events and page views, for `track.check_rollups`.
It shares no code with the refresh, so that an error of the refresh is found. `items`: only these; null: everything.
$$;

create or replace function track._unrefreshed_people(first_person bigint, last_person bigint)
returns bigint[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return array(
    select stale.person_id
    from track.stale
    where stale.person_id between first_person and last_person
    union
    select changed.person_id
    from track.changed
    where changed.consumer = 'track.person_set'
      and changed.person_id between first_person and last_person
  );
end;
$$;

comment on function track._unrefreshed_people(bigint, bigint) is $$
Returns the people of a range who are queued, for the sessions or for the sets of people.
$$;

create or replace function track._unrefreshed_activity(
  people bigint[],
  first_day date,
  end_day date
)
returns setof track.activity
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  select stored.*
  from track.stored_activity(
    people, array_fill(first_day, array[cardinality(people)]), array_fill(end_day, array[cardinality(people)])
  ) as stored;
end;
$$;

comment on function track._unrefreshed_activity(bigint[], date, date) is $$
Returns the activity of queued people that the rollups still contain, whose cells are not compared.
$$;

create or replace function track._rollup_people(first_person bigint, last_person bigint)
returns table (person_id bigint, is_excluded boolean, is_counted boolean)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  select
    identity.person_id,
    bool_or(exclusion.identity_id is not null or restricted.person_id is not null),
    bool_or(identity.kind = 'user')
    and not bool_or(exclusion.identity_id is not null or restricted.person_id is not null)
  from track.identity
  left join track.exclusion on exclusion.identity_id = identity.identity_id
  left join privacy.restricted() as restricted (person_id) on restricted.person_id = identity.person_id
  where identity.person_id between first_person and last_person
  group by identity.person_id;
end;
$$;

comment on function track._rollup_people(bigint, bigint) is $$
Returns whether people are excluded or counted, from their identities and restrictions and not from the stored sets.
$$;

create or replace function monitor._dwell(since timestamptz, until timestamptz, kind text)
returns table (person_id bigint, serving_key uuid, seconds float8)
language plpgsql
stable
parallel safe
-- The estimate of the planner, for the joins of reports.
rows 100000
set search_path to pg_catalog, pg_temp
set jit to off
as $$
begin
  return query
  with clicked as (
    select impression.person_id, impression.serving_key, item.item_id, impression.clicked_at, session.session_id
    from recommend.impression
    join track.item as named on named.item_id = impression.item_id
    join track.item on item.item_id = coalesce(named.merged_item_id, named.item_id)
    -- Sessions of a person do not overlap.
    join track.session
      on session.person_id = impression.person_id
      and session.started_at <= impression.clicked_at
      and session.ended_at >= impression.clicked_at
    where impression.listed_at >= _dwell.since
      and impression.listed_at < _dwell.until
      and impression.is_served
      and impression.clicked_at is not null
      and impression.person_id <> 0
      and item.kind = _dwell.kind
  ),

  -- A page view belongs to the latest click on a row that it is part of.
  viewed as (
    select distinct on (page_view.person_id, page_view.session_id, page_view.view_number)
      clicked.person_id, clicked.serving_key, extract(epoch from page_view.engaged)::float8 as seconds
    from clicked
    join track.page_view
      on page_view.person_id = clicked.person_id
      and page_view.session_id = clicked.session_id
      and page_view.started_at >= clicked.clicked_at
    join track.item_ancestor
      on item_ancestor.item_id = page_view.item_id
      and item_ancestor.ancestor_item_id = clicked.item_id
    order by
      page_view.person_id, page_view.session_id, page_view.view_number, clicked.clicked_at desc, clicked.serving_key
  )

  select viewed.person_id, viewed.serving_key, sum(viewed.seconds)
  from viewed
  group by viewed.person_id, viewed.serving_key;
end;
$$;

comment on function monitor._dwell(timestamptz, timestamptz, text) is $$
@behavior -*
Returns the dwell time of clicks on rows of recorded lists of a kind, for clicks that were followed by a page view.
It is the engaged time of the page views of the item, or of what it contains, in the session of the click, from the
click on. A page view counts for the latest click before it.
$$;

grant execute on function monitor._dwell(timestamptz, timestamptz, text) to insights_reader;

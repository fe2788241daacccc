create or replace function track._check_transitions(month date, items bigint[], is_repair boolean)
returns track.rollup_comparison
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_since constant timestamptz := month::timestamp at time zone 'UTC';
  v_until constant timestamptz := (month + interval '1 month') at time zone 'UTC';
  v_result track.rollup_comparison;
begin
  with counted as materialized (
    select stored.block, stored.people
    from track.person_set_block as stored
    where stored.name = 'counted'
  ),

  viewed as (
    select
      session.person_id, session.session_id, page_view.item_id, page_view.started_at,
      lead(page_view.item_id) over in_session as next_item_id,
      lead(page_view.started_at) over in_session as next_at
    from track.session
    join track.page_view on page_view.person_id = session.person_id and page_view.session_id = session.session_id
    where session.started_at >= v_since
      and session.started_at < v_until
      and session.view_item_ids && items
      and not page_view.is_continued
      and page_view.item_id is not null
      and exists (
        select 1
        from counted
        where counted.block = session.person_id / 4096
          and get_bit(counted.people, (session.person_id % 4096)::int) = 1
      )
    window in_session as (partition by session.person_id, session.session_id order by page_view.view_number)
  ),

  fresh as (
    select
      viewed.item_id as source_item_id,
      viewed.next_item_id as target_item_id,
      count(*) as transition_count,
      (count(distinct viewed.person_id))::int as person_count,
      (extract(epoch from sum(viewed.next_at - viewed.started_at)) * 1000000)::bigint as elapsed
    from viewed
    where viewed.item_id = any (items)
      and viewed.next_item_id <> viewed.item_id
    group by viewed.item_id, viewed.next_item_id
  ),

  compared as (
    select
      source_item_id, target_item_id, fresh.transition_count, fresh.person_count, fresh.elapsed,
      row(fresh.transition_count, fresh.person_count, fresh.elapsed)
        is distinct from row(stored.transition_count, stored.person_count, stored.elapsed) as is_different
    from (
      select item_transition.*
      from track.item_transition
      where item_transition.month = _check_transitions.month
        and item_transition.source_item_id = any (items)
    ) as stored
    full join fresh using (source_item_id, target_item_id)
    -- Queued months are recomputed by the next refresh.
    where not exists (
      select 1
      from track.stale_transition_month as stale_month
      where stale_month.month = _check_transitions.month
    )
  ),

  differing as materialized (
    select compared.*
    from compared
    where compared.is_different
  ),

  deleted as (
    delete from track.item_transition
    using differing
    where is_repair
      and differing.person_count is null
      and item_transition.month = _check_transitions.month
      and item_transition.source_item_id = differing.source_item_id
      and item_transition.target_item_id = differing.target_item_id
  ),

  written as (
    insert into track.item_transition (
      month, source_item_id, target_item_id, transition_count, person_count, elapsed
    )
    select
      _check_transitions.month, differing.source_item_id, differing.target_item_id, differing.transition_count,
      differing.person_count, differing.elapsed
    from differing
    where is_repair
      and differing.person_count is not null
    on conflict on constraint item_transition_pkey do update
    set
      transition_count = excluded.transition_count,
      person_count = excluded.person_count,
      elapsed = excluded.elapsed
  )

  select
    (select count(*) from compared),
    (select count(*) from differing),
    (
      select format('item %s, %s', min(differing.source_item_id), _check_transitions.month)
      from differing
      having count(*) > 0
    )
  into v_result.checked, v_result.differing, v_result.example;
  return v_result;
end;
$$;

comment on function track._check_transitions(date, bigint[], boolean) is $$
Compares `track.item_transition` with the page views of a month, of the transitions from some items.
`is_repair`: writes what the page views give.
$$;

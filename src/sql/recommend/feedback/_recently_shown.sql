create or replace function recommend._recently_shown(
  person_id bigint,
  period interval,
  out shown bigint[],
  out shown_at timestamptz[]
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_since constant timestamptz := now() - _recently_shown.period;
  -- Whether events are queued for the refresh. Then the stored rows are incomplete.
  v_is_behind constant boolean := exists (
    select 1 from track.stale where stale.person_id = _recently_shown.person_id
  ) or exists (
    select 1
    from track.changed
    where changed.person_id = _recently_shown.person_id
      and changed.consumer = 'recommend.impression'
  );
  v_shown constant int[] := case
    when v_is_behind then recommend._event_types_named('Recommendation Shown')
  end;
begin
  select
    coalesce(array_agg(latest.item_id order by latest.item_id), '{}'),
    coalesce(array_agg(latest.shown_at order by latest.item_id), '{}')
  into _recently_shown.shown, _recently_shown.shown_at
  from (
    select coalesce(item.merged_item_id, item.item_id) as item_id, max(entry.shown_at) as shown_at
    from (
      select impression.item_id, greatest(impression.seen_at, impression.listed_at) as shown_at
      from recommend.impression
      where impression.person_id = _recently_shown.person_id

      union all

      -- Lists since the last refresh.
      select served.item_id, served.listed_at
      from recommend._served_rows(array(
        select serving_call
        from recommend.serving_call
        where serving_call.person_id = _recently_shown.person_id
      )) as served

      union all

      select event.item_id, event.occurred_at
      from track.event
      where event.person_id = _recently_shown.person_id
        and event.occurred_at >= v_since
        and coalesce(event.named_event_type_id, event.event_type_id) = any (v_shown)
    ) as entry
    join track.item on item.item_id = entry.item_id
    where entry.shown_at >= v_since
    group by coalesce(item.merged_item_id, item.item_id)
  ) as latest;
end;
$$;

comment on function recommend._recently_shown(bigint, interval) is $$
@behavior -*
Returns the items that were served to a person or seen by her within a period before now, with the last time of each.
As far as the caller may read them. Events `Recommendation Shown` that the refresh has not processed yet are included.
$$;

grant execute on function recommend._recently_shown(bigint, interval) to insights_reader, insights_learner;

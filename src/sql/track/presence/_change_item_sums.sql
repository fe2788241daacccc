create or replace function track._change_item_sums(removed track.activity[], added track.activity[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_items bigint[];
  v_days date[];
  v_parts int[];
  v_event_counts int[];
  v_engaged interval[];
begin
  with change as (
    select
      signed.item_id, signed.day, (signed.person_id / 32768)::int as part,
      sum(signed.event_count)::int as event_count,
      sum(signed.engaged) as engaged
    from (
      select entry.person_id, entry.item_id, entry.day, entry.event_count, entry.engaged
      from unnest(_change_item_sums.added) as entry
      union all
      select entry.person_id, entry.item_id, entry.day, -entry.event_count, -entry.engaged
      from unnest(_change_item_sums.removed) as entry
    ) as signed
    where signed.item_id is not null
    group by 1, 2, 3
    having sum(signed.event_count) <> 0 or sum(signed.engaged) <> interval '0'
  )

  select
    array_agg(change.item_id), array_agg(change.day), array_agg(change.part), array_agg(change.event_count),
    array_agg(change.engaged)
  into v_items, v_days, v_parts, v_event_counts, v_engaged
  from change;
  if v_items is null then
    return;
  end if;

  merge into track.item_day
  using (
    select
      listed.item_id, listed.day, sum(listed.event_count)::int as event_count, sum(listed.engaged) as engaged
    from unnest(v_items, v_days, v_event_counts, v_engaged) as listed (item_id, day, event_count, engaged)
    group by listed.item_id, listed.day
  ) as change
  on item_day.day = change.day and item_day.item_id = change.item_id
  when matched
    and item_day.event_count + change.event_count = 0
    and item_day.engaged + change.engaged = interval '0'
  then delete
  when matched then
    update set event_count = item_day.event_count + change.event_count, engaged = item_day.engaged + change.engaged
  when not matched and (change.event_count <> 0 or change.engaged <> interval '0') then
    insert (day, item_id, event_count, engaged)
    values (change.day, change.item_id, change.event_count, change.engaged);

  update track.item_month
  set event_count = item_month.event_count + change.event_count, engaged = item_month.engaged + change.engaged
  from (
    select
      listed.item_id, listed.part, date_trunc('month', listed.day::timestamp)::date as month,
      sum(listed.event_count)::int as event_count,
      sum(listed.engaged) as engaged
    from unnest(v_items, v_days, v_parts, v_event_counts, v_engaged)
      as listed (item_id, day, part, event_count, engaged)
    group by 1, 2, 3
  ) as change
  where item_month.item_id = change.item_id
    and item_month.month = change.month
    and item_month.part = change.part;
end;
$$;

comment on function track._change_item_sums(track.activity[], track.activity[]) is $$
Subtracts activity from the sums of `track.item_day` and `track.item_month`, and adds other activity.
The people of the activity must be in the set `counted`. A month that has no row any more is left out.
$$;

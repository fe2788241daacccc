/*
 * The sums of a month stay when its events are deleted: events by type and day, events and people by item and day, and
 * transitions by month.
 * Everything else that the rollups contain of the month names people, or values that people sent, and is deleted. From
 * then on refreshes do not change the days before `sums_kept_before`: they delete what was derived from the events, and
 * the sums stay as they are. They are of whole months, because some rollups are.
 */
create or replace function track._keep_sums(horizon timestamptz)
returns bigint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
declare
  v_kept constant date := (select setting.sums_kept_before from track.setting);
  v_smallest constant int := 5;
  v_month date;
  v_rows bigint;
  v_changed bigint := 0;
begin
  -- One month at a time.
  v_month := least(
    (
      select date_trunc('month', min(found.day))::date + interval '1 month'
      from (
        select min(presence.day) as day from track.presence where presence.day >= v_kept
        union all
        select min(item_day.day) from track.item_day where item_day.day >= v_kept
        union all
        select min(item_month.month) from track.item_month
      ) as found
    )::date,
    _keep_sums.horizon::date
  );

  -- Small sums could be those of a person who is known to have been there.
  with taken as (
    delete from track.presence
    where presence.day >= v_kept
      and presence.day < v_month
    returning presence.*
  ),

  summed as (
    insert into track.presence (event_type_id, day, block, people, event_count, counted_count)
    select
      taken.event_type_id, taken.day, 0, b'0'::bit(4096), sum(taken.event_count)::int, sum(taken.counted_count)::int
    from taken
    group by taken.event_type_id, taken.day
    having sum(bit_count(taken.people)) >= v_smallest
      and sum(taken.event_count) > 0
  )

  select count(*) into v_rows from taken;
  v_changed := v_changed + v_rows;
  delete from track.item_day
  where item_day.day >= v_kept
    and item_day.day < v_month
    and item_day.person_count < v_smallest;
  get diagnostics v_rows = row_count;
  v_changed := v_changed + v_rows;
  delete from track.item_transition
  where item_transition.month < v_month
    and item_transition.person_count < v_smallest;
  get diagnostics v_rows = row_count;
  v_changed := v_changed + v_rows;
  delete from track.stale_transition_month where stale_transition_month.month < v_month;
  delete from track.item_month where item_month.month < v_month;
  get diagnostics v_rows = row_count;
  v_changed := v_changed + v_rows;
  delete from track.course_presence where course_presence.month < v_month;
  get diagnostics v_rows = row_count;
  v_changed := v_changed + v_rows;
  delete from track.value_presence where value_presence.day < v_month;
  get diagnostics v_rows = row_count;
  v_changed := v_changed + v_rows;
  delete from track.property_value
  where v_rows > 0
    and not exists (
      select
      from track.value_presence
      where value_presence.property_id = property_value.property_id
        and value_presence.value_id = property_value.value_id
    );
  update track.setting
  set sums_kept_before = v_month, oldest_event = greatest(setting.oldest_event, v_month::timestamp at time zone 'UTC');
  return v_changed;
end;
$$;

comment on function track._keep_sums(timestamptz) is $$
Reduces the rollups of the oldest month before a time to sums without people. Returns the number of rows it read.
The caller has locked the refresh.
$$;

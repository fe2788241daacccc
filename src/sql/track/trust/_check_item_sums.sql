create or replace function track._check_item_days(day date, is_repair boolean)
returns track.rollup_comparison
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_result track.rollup_comparison;
begin
  with queued as materialized (
    select track._unrefreshed_people(0, 9223372036854775807) as people
  ),

  raw as materialized (
    select
      activity.person_id, activity.item_id, activity.event_count, activity.engaged,
      activity.person_id = any ((select queued.people from queued)::bigint[]) as is_queued
    from track._raw_activity(0, 9223372036854775807, _check_item_days.day, _check_item_days.day + 1) as activity
    where activity.item_id is not null

    union all

    select activity.person_id, activity.item_id, 0, interval '0', true
    from queued
    cross join track._unrefreshed_activity(queued.people, _check_item_days.day, _check_item_days.day + 1) as activity
    where activity.item_id is not null
  ),

  fresh as (
    select
      item.item_id,
      form.with_parts,
      coalesce(sum(raw.event_count) filter (where person.is_counted), 0)::int as event_count,
      (count(distinct raw.person_id) filter (where person.is_counted))::int as person_count,
      coalesce(sum(raw.engaged) filter (where person.is_counted), interval '0') as engaged,
      bool_or(raw.is_queued) as is_queued
    from raw
    join track.item_ancestor as ancestor on ancestor.item_id = raw.item_id
    join track.item on item.item_id = ancestor.ancestor_item_id
    cross join (values (false), (true)) as form (with_parts)
    left join track._rollup_people(0, 9223372036854775807) as person on person.person_id = raw.person_id
    where case when form.with_parts then item.kind = 'course' else ancestor.depth = 0 end
    group by item.item_id, form.with_parts
  ),

  compared as (
    select
      item_id, with_parts,
      row(stored.event_count, stored.person_count, stored.engaged) as stored_sums,
      fresh.event_count, fresh.person_count, fresh.engaged
    from (
      select item_day.*
      from track.item_day
      where item_day.day = _check_item_days.day
    ) as stored
    full join (select fresh.* from fresh where fresh.person_count > 0 or fresh.is_queued) as fresh
      using (item_id, with_parts)
    -- Sums that contain queued people are not compared, nor queued courses.
    where fresh.is_queued is not true
      and (not with_parts or item_id not in (select stale_course.item_id from track.stale_course))
  ),

  differing as materialized (
    select compared.*
    from compared
    where row(compared.event_count, compared.person_count, compared.engaged) is distinct from compared.stored_sums
  ),

  deleted as (
    delete from track.item_day
    using differing
    where is_repair
      and differing.person_count is null
      and item_day.item_id = differing.item_id
      and item_day.with_parts = differing.with_parts
      and item_day.day = _check_item_days.day
  ),

  written as (
    insert into track.item_day (day, item_id, with_parts, event_count, person_count, engaged)
    select
      _check_item_days.day, differing.item_id, differing.with_parts, differing.event_count, differing.person_count,
      differing.engaged
    from differing
    where is_repair
      and differing.person_count > 0
    on conflict on constraint item_day_pkey do update
    set
      event_count = excluded.event_count,
      person_count = excluded.person_count,
      engaged = excluded.engaged
  )

  select
    (select count(*) from compared),
    (select count(*) from differing),
    (
      select format('item %s, %s', min(differing.item_id), _check_item_days.day)
      from differing
      having count(*) > 0
    )
  into v_result.checked, v_result.differing, v_result.example;
  return v_result;
end;
$$;

comment on function track._check_item_days(date, boolean) is $$
Compares `track.item_day` with the events of a day, of all items. `is_repair`: writes what the events give.
$$;

create or replace function track._check_item_sums(month date, items bigint[], is_repair boolean)
returns track.rollup_comparison
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_end constant date := (month + interval '1 month')::date;
  v_result track.rollup_comparison;
begin
  with queued as materialized (
    select track._unrefreshed_people(0, 9223372036854775807) as people
  ),

  raw as (
    select
      activity.person_id, activity.item_id, activity.event_count, activity.engaged,
      activity.person_id = any ((select queued.people from queued)::bigint[]) as is_queued
    from track._raw_activity(0, 9223372036854775807, _check_item_sums.month, v_end, items) as activity

    union all

    select activity.person_id, activity.item_id, 0, interval '0', true
    from queued
    cross join track._unrefreshed_activity(queued.people, _check_item_sums.month, v_end) as activity
    where activity.item_id = any (items)
  ),

  fresh as (
    select
      raw.item_id,
      (raw.person_id / 32768)::int as part,
      coalesce(sum(raw.event_count) filter (where person.is_counted), 0)::int as event_count,
      coalesce(sum(raw.engaged) filter (where person.is_counted), interval '0') as engaged,
      bool_or(raw.is_queued) as is_queued
    from raw
    left join track._rollup_people(0, 9223372036854775807) as person on person.person_id = raw.person_id
    group by 1, 2
  ),

  compared as (
    select
      item_id, part, item_month.event_count as stored_count, item_month.engaged as stored_engaged,
      coalesce(fresh.event_count, 0) as event_count,
      coalesce(fresh.engaged, interval '0') as engaged
    from track.item_month
    left join fresh using (item_id, part)
    where item_month.month = _check_item_sums.month
      and item_month.item_id = any (items)
      and fresh.is_queued is not true
  ),

  differing as materialized (
    select compared.*
    from compared
    where (compared.event_count, compared.engaged) is distinct from (compared.stored_count, compared.stored_engaged)
  ),

  written as (
    update track.item_month
    set event_count = differing.event_count, engaged = differing.engaged
    from differing
    where is_repair
      and item_month.item_id = differing.item_id
      and item_month.month = _check_item_sums.month
      and item_month.part = differing.part
  )

  select
    (select count(*) from compared),
    (select count(*) from differing),
    (
      select format('item %s, %s', min(differing.item_id), _check_item_sums.month)
      from differing
      having count(*) > 0
    )
  into v_result.checked, v_result.differing, v_result.example;
  return v_result;
end;
$$;

comment on function track._check_item_sums(date, bigint[], boolean) is $$
Compares the sums of `track.item_month` with the events of items in a month. `is_repair`: writes what the events give.
The rows themselves are compared by `track._check_item_months`.
$$;

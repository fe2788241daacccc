create or replace function track._check_item_months(month date, block int, is_repair boolean)
returns track.rollup_comparison
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_first constant bigint := block::bigint * 4096;
  v_last constant bigint := v_first + 4095;
  v_end constant date := (month + interval '1 month')::date;
  v_part constant int := block / 8;
  v_result track.rollup_comparison;
begin
  with queued as materialized (
    select track._unrefreshed_people(v_first, v_last) as people
  ),

  by_person as (
    select
      activity.item_id,
      (activity.person_id % 32768)::smallint as person,
      bit_or(1 << (extract(day from activity.day)::int - 1)) as days
    from track._raw_activity(v_first, v_last, _check_item_months.month, v_end) as activity
    where activity.item_id is not null
      and activity.person_id <> 0
      and activity.person_id <> all ((select queued.people from queued)::bigint[])
    group by activity.item_id, activity.person_id
  ),

  fresh as (
    select
      by_person.item_id,
      array_agg(by_person.person order by by_person.person) as people,
      array_agg(by_person.days order by by_person.person) as days
    from by_person
    group by by_person.item_id
  ),

  listed as (
    select
      item_month.item_id, entry.person, entry.days,
      entry.person / 4096 = _check_item_months.block % 8
        and v_part::bigint * 32768 + entry.person <> all ((select queued.people from queued)::bigint[]) as is_compared
    from track.item_month
    cross join unnest(item_month.people, item_month.days) as entry (person, days)
    where item_month.month = _check_item_months.month
      and item_month.part = v_part
  ),

  stored as (
    select
      listed.item_id,
      array_agg(listed.person order by listed.person) filter (where listed.is_compared) as people,
      array_agg(listed.days order by listed.person) filter (where listed.is_compared) as days,
      array_agg(listed.person) filter (where not listed.is_compared) as other_people,
      array_agg(listed.days) filter (where not listed.is_compared) as other_days
    from listed
    group by listed.item_id
  ),

  compared as (
    select
      item_id, stored.people as stored_people, stored.days as stored_days, stored.other_people, stored.other_days,
      fresh.people, fresh.days
    from stored
    full join fresh using (item_id)
    where stored.people is not null
      or fresh.people is not null
  ),

  differing as materialized (
    select
      compared.item_id,
      combined.people,
      combined.days
    from compared
    cross join lateral (
      select
        array_agg(entry.person order by entry.person) as people,
        array_agg(entry.days order by entry.person) as days
      from (
        select * from unnest(compared.people, compared.days) as kept (person, days)
        union all
        select * from unnest(compared.other_people, compared.other_days) as other (person, days)
      ) as entry
    ) as combined
    where (compared.people, compared.days) is distinct from (compared.stored_people, compared.stored_days)
  ),

  deleted as (
    delete from track.item_month
    using differing
    where is_repair
      and differing.people is null
      and item_month.item_id = differing.item_id
      and item_month.month = _check_item_months.month
      and item_month.part = v_part
  ),

  written as (
    -- The sums of a row that was missing are written by the check of the sums.
    insert into track.item_month (item_id, month, part, people, days, event_count, engaged)
    select
      differing.item_id, _check_item_months.month, v_part, differing.people, differing.days, 0, interval '0'
    from differing
    where is_repair
      and differing.people is not null
    on conflict on constraint item_month_pkey do update
    set people = excluded.people, days = excluded.days
  )

  select
    (select count(*) from compared),
    (select count(*) from differing),
    (
      select format('item %s, %s, block %s', min(differing.item_id), _check_item_months.month, _check_item_months.block)
      from differing
      having count(*) > 0
    ),
    array(select differing.item_id from differing order by differing.item_id limit 1000)
  into v_result.checked, v_result.differing, v_result.example, v_result.items;
  return v_result;
end;
$$;

comment on function track._check_item_months(date, int, boolean) is $$
Compares the people and days of `track.item_month` with the events of a month and a block of people.
`is_repair`: writes what the events give.
$$;

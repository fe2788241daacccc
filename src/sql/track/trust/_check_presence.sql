create or replace function track._check_presence(month date, block int, is_repair boolean)
returns track.rollup_comparison
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_first constant bigint := block::bigint * 4096;
  v_last constant bigint := v_first + 4095;
  v_end constant date := (month + interval '1 month')::date;
  v_nobody constant bit(4096) := b'0'::bit(4096);
  v_one constant bit(4096) := b'1'::bit(4096);
  v_result track.rollup_comparison;
begin
  with queued as materialized (
    select
      listed.people,
      (
        select coalesce(bit_or(v_one >> (person_id % 4096)::int), v_nobody)
        from unnest(listed.people) as person_id
      ) as bits
    from (select track._unrefreshed_people(v_first, v_last)) as listed (people)
  ),

  raw as materialized (
    select activity.*, activity.person_id = any ((select queued.people from queued)::bigint[]) as is_queued
    from track._raw_activity(v_first, v_last, _check_presence.month, v_end) as activity
    where activity.event_count > 0
  ),

  typed as (
    select raw.person_id, raw.day, raw.is_queued, form.event_type_id, form.event_count
    from raw
    cross join lateral (
      values (raw.event_type_id, raw.event_count), (0, raw.event_count - raw.automatic_count)
    ) as form (event_type_id, event_count)
    where form.event_count > 0
  ),

  fresh as (
    select
      typed.event_type_id,
      typed.day,
      coalesce(
        bit_or(v_one >> (typed.person_id % 4096)::int) filter (where typed.person_id <> 0 and not typed.is_queued),
        v_nobody
      ) as people,
      coalesce(sum(typed.event_count) filter (where person.is_excluded is not true), 0)::int as event_count,
      coalesce(sum(typed.event_count) filter (where person.is_counted), 0)::int as counted_count,
      bool_or(typed.is_queued) as is_queued
    from typed
    left join track._rollup_people(v_first, v_last) as person on person.person_id = typed.person_id
    group by typed.event_type_id, typed.day
  ),

  left_out as (
    select distinct form.event_type_id, activity.day
    from queued
    cross join track._unrefreshed_activity(queued.people, _check_presence.month, v_end) as activity
    cross join lateral (values (activity.event_type_id), (0)) as form (event_type_id)
    where activity.event_count > 0
  ),

  stored as (
    select presence.*
    from track.presence
    where presence.day >= _check_presence.month
      and presence.day < v_end
      and presence.block = _check_presence.block
  ),

  compared as (
    select
      event_type_id,
      day,
      stored.people as stored_people,
      stored.event_count as stored_count,
      stored.counted_count as stored_counted,
      coalesce(stored.people, v_nobody) & queued.bits | coalesce(fresh.people, v_nobody) as people,
      -- Numbers that contain events of queued people are not compared.
      case
        when fresh.is_queued or left_out.day is not null then coalesce(stored.event_count, 0)
        else coalesce(fresh.event_count, 0)
      end as event_count,
      case
        when fresh.is_queued or left_out.day is not null then coalesce(stored.counted_count, 0)
        else coalesce(fresh.counted_count, 0)
      end as counted_count
    from stored
    full join fresh using (event_type_id, day)
    left join left_out using (event_type_id, day)
    cross join queued
  ),

  differing as materialized (
    select compared.*
    from compared
    where (compared.people, compared.event_count, compared.counted_count)
      is distinct from (
        coalesce(compared.stored_people, v_nobody), coalesce(compared.stored_count, 0),
        coalesce(compared.stored_counted, 0)
      )
  ),

  deleted as (
    delete from track.presence
    using differing
    where is_repair
      and bit_count(differing.people) = 0
      and differing.event_count = 0
      and presence.event_type_id = differing.event_type_id
      and presence.day = differing.day
      and presence.block = _check_presence.block
  ),

  written as (
    insert into track.presence (event_type_id, day, block, people, event_count, counted_count)
    select
      differing.event_type_id, differing.day, _check_presence.block, differing.people, differing.event_count,
      differing.counted_count
    from differing
    where is_repair
      and (bit_count(differing.people) > 0 or differing.event_count > 0)
    on conflict on constraint presence_pkey do update
    set
      people = excluded.people,
      event_count = excluded.event_count,
      counted_count = excluded.counted_count
  )

  select
    (select count(*) from compared),
    (select count(*) from differing),
    (
      select format('event type %s, %s, block %s', differing.event_type_id, differing.day, _check_presence.block)
      from differing
      order by differing.event_type_id, differing.day
      limit 1
    )
  into v_result.checked, v_result.differing, v_result.example;
  return v_result;
end;
$$;

comment on function track._check_presence(date, int, boolean) is $$
Compares `track.presence` with the events of a month and a block of people. `is_repair`: writes what the events give.
$$;

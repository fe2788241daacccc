/*
 * A check compares the rows of a month and a block of 4,096 people. The next check takes the next block, and after the
 * last one the next month, so that all rows are compared in turn. Sums of all people are compared for days of the month
 * and for some of its items. The days are shared among the blocks, so that all are compared in a turn: each check takes
 * those whose last check is the oldest.
 */
create or replace function track._next_check(out month date, out block int)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_last track.rollup_check;
  v_months constant date[] := track._checked_months();
  v_newest bigint;
begin
  select * into v_last from track.rollup_check order by rollup_check.check_id desc limit 1;
  v_newest := coalesce((select max(person.person_id) from track.person), 0) / 4096;
  if v_last.month = any (v_months) and v_last.block < v_newest then
    month := v_last.month;
    block := (
      select min(person.person_id) / 4096
      from track.person
      where person.person_id >= (v_last.block + 1)::bigint * 4096
    );
  else
    -- From the latest month back, and then again from the latest.
    month := coalesce(
      (select max(listed) from unnest(v_months) as listed where listed < v_last.month),
      v_months[cardinality(v_months)]
    );
    block := 0;
  end if;
end;
$$;

comment on function track._next_check() is $$
Returns the month and the block of people of the next check, from the last one. Null without any month of events.
$$;

create or replace function track._check_block(month date, block int)
returns setof track.rollup_check
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_check_id constant bigint := coalesce((select max(rollup_check.check_id) from track.rollup_check), 0) + 1;
  v_blocks constant int := greatest(track._checked_blocks(), 1);
  v_days date[];
  v_day date;
  v_number int := 0;
  v_items bigint[];
  v_rollup text;
  v_rollups text[] := array[
    'track.step', 'track.presence', 'track.item_month', 'track.item_month sums', 'track.course_presence',
    'track.item_transition'
  ];
  v_started timestamptz;
  v_found track.rollup_comparison;
  v_row track.rollup_check;
begin
  v_days := array(
    select listed::date
    from generate_series(_check_block.month, _check_block.month + interval '1 month - 1 day', '1 day') as listed
    left join track.rollup_check as earlier on earlier.rollup = 'track.item_day' and earlier.day = listed::date
    group by listed
    order by max(earlier.check_id) nulls first, listed
    limit ceil(31.0 / v_blocks)
  );
  v_items := array(
    select used.item_id
    from (
      select item_month.item_id
      from track.item_month
      where item_month.month = _check_block.month
      union
      select item_transition.source_item_id
      from track.item_transition
      where item_transition.month = _check_block.month
    ) as used
    order by random()
    limit case when v_blocks > 1 then 100 end
  );

  if exists (select 1 from track.declared_property as declared where declared.is_queued) then
    v_rollups := v_rollups || array['track.step_value', 'track.value_presence'];
  end if;
  v_rollups := v_rollups || array_fill('track.item_day'::text, array[cardinality(v_days)]);
  foreach v_rollup in array v_rollups loop
    v_started := clock_timestamp();
    if v_rollup = 'track.item_day' then
      v_day := v_days[v_number + 1];
      v_number := v_number + 1;
    end if;
    -- First without the lock of the refresh. Under it, the differences are those that no refresh is about to change.
    for v_attempt in 1 .. 2 loop
      v_found := case v_rollup
        when 'track.step' then track._check_steps(month, block, v_attempt = 2)
        when 'track.presence' then track._check_presence(month, block, v_attempt = 2)
        when 'track.item_month' then track._check_item_months(month, block, v_attempt = 2)
        when 'track.item_month sums' then track._check_item_sums(month, v_items, v_attempt = 2)
        when 'track.step_value' then track._check_step_values(month, block, v_attempt = 2)
        when 'track.value_presence' then track._check_value_presence(month, block, v_attempt = 2)
        when 'track.item_transition' then track._check_transitions(month, v_items, v_attempt = 2)
        when 'track.course_presence' then track._check_course_presence(month, block, v_attempt = 2)
        else track._check_item_days(v_day, v_attempt = 2)
      end;
      exit when v_found.differing = 0;
      perform pg_advisory_xact_lock(hashtext('track.refresh'));
    end loop;
    v_items := v_items || coalesce(v_found.items, '{}');

    insert into track.rollup_check (
      check_id, rollup, checked_at, month, block, day, checked, differing, example, duration
    )
    values (
      -- A further day has a number of its own.
      v_check_id + greatest(v_number - 1, 0), v_rollup, v_started, month, block, v_day,
      v_found.checked, v_found.differing, v_found.example, clock_timestamp() - v_started
    )
    returning * into v_row;
    return next v_row;
  end loop;
end;
$$;

comment on function track._check_block(date, int) is $$
Compares the rollups of a month and a block of people with the events, repairs what differs, and records the result.
$$;

create or replace function track.check_rollups(checks int default 1)
returns setof track.rollup_check
language plpgsql
volatile
-- A definer: it reads the events of all people and repairs derived tables, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set timezone to 'UTC'
set datestyle to 'ISO, MDY'
set jit to off
as $$
declare
  v_next record;
  -- After these, everything has been compared: a further check would repeat one.
  v_turn constant bigint := track._turn_checks();
begin
  perform common.check_count('checks', check_rollups.checks, 1, 100);
  -- One at a time: two would check the same block.
  perform pg_advisory_xact_lock(hashtext('track.check_rollups'));
  for v_check in 1 .. least(check_rollups.checks, v_turn) loop
    -- With a long queue most cells could not be compared, and the work would not be bounded.
    if (select count(*) from (select 1 from track.stale limit 10001) as queued) > 10000
      or (select count(*) from (select 1 from track.changed limit 10001) as queued) > 10000
    then
      exit;
    end if;
    v_next := track._next_check();
    exit when v_next.month is null;
    return query select checked.* from track._check_block(v_next.month, v_next.block) as checked;
  end loop;
  delete from track.rollup_check
  where rollup_check.check_id <= (select max(latest.check_id) from track.rollup_check as latest) - 10000;
end;
$$;

comment on function track.check_rollups(int) is $$
@behavior -*
Compares a sample of the rollups with the events, repairs what differs, and records the result.
One row per rollup, and for `item_day` per day.
The rollups are `track.step`, `presence`, `item_month`, `course_presence`, `item_transition` and `item_day`, and with
declared properties `step_value` and `value_presence`. One check is a month and 4,096 people; each takes the next ones,
so that all are compared in turn (`track.rollup_turn`); a call ends when all have been. With at most 4,096 people all
items of the month are compared, otherwise 100 of them, picked at random. What is queued for a refresh is not
compared, and nothing is checked while more than 10,000 changes are queued. `differing` is the number of cells that
were wrong: they are written again from the events.
`track.rollup_trust` summarizes the results.
From the first difference on, refreshes wait for the end of the transaction: prefer many calls to many checks.
Errors: CF001 for fewer than one check, or more than 100.
$$;

grant execute on function track.check_rollups(int) to insights_admin, insights_worker;

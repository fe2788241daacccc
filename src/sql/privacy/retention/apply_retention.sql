/*
 * A wrong clock would delete data that must be kept. A rule may therefore be applied only when the clock is not before
 * that of the last run, and not much later than it: the task runs each day.
 */
create or replace function privacy._check_retention_clock(confirm_clock boolean)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set datestyle to 'ISO, MDY'
as $$
declare
  v_last constant timestamptz := (select clock.applied_at from privacy.retention_clock as clock);
begin
  if now() between v_last and v_last + interval '45 days' then
    -- Once an hour is exact enough, and costs a run of many steps nothing.
    update privacy.retention_clock
    set applied_at = now()
    where retention_clock.applied_at < now() - interval '1 hour';
    return;
  end if;
  -- A transaction that began before the last one, or the correction of a clock by a little.
  if now() between v_last - interval '1 hour' and v_last then
    return;
  end if;
  if not _check_retention_clock.confirm_clock then
    perform common.refuse(
      'CF005',
      format(
        'the clock of the server is %s; that of the last run was %s', date_trunc('second', now()),
        date_trunc('second', v_last)
      ),
      'Nothing was deleted. If the clock is right, an administrator confirms it: '
        || 'select privacy.apply_retention(confirm_clock => true)'
    );
  end if;
  if not pg_has_role(
    case current_setting('role') when 'none' then session_user else current_setting('role') end, 'insights_admin',
    'usage'
  )
  then
    perform common.refuse('42501', 'only an administrator may confirm the clock');
  end if;
  update privacy.retention_clock set applied_at = now();
  insert into privacy.retention_log (rule, action, actor, details)
  values ('all', 'clock confirmed', common.author(), jsonb_build_object('before', v_last, 'now', now()));
end;
$$;

comment on function privacy._check_retention_clock(boolean) is $$
Raises CF005 when the clock is more than an hour before that of the last run, or more than 45 days after it.
`confirm_clock`: an administrator confirms it, which is logged.
$$;

create or replace function privacy._hold_restrictions()
returns boolean
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set lock_timeout to '300ms'
as $$
begin
  lock table privacy.restriction in share mode;
  return true;
exception
  when lock_not_available or deadlock_detected then
    return false;
end;
$$;

comment on function privacy._hold_restrictions() is $$
Holds the restrictions of people until the end of the transaction, so that the rows to keep are known.
False when another transaction is changing them.
$$;

create or replace function privacy._apply_rule(
  class privacy.retention_class,
  rule privacy.retention,
  horizon timestamptz,
  most_rows int
)
returns setof privacy.retention_step
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
-- Less than the time after which the server looks for deadlocks. Writers that wait behind it wait no longer.
set lock_timeout to '300ms'
as $$
begin
  if class.apply_function is null then
    return query select step.* from privacy._delete_rows(class, rule, horizon, most_rows) as step;
  else
    return query execute format(
      'select * from %I.%I($1, $2, $3)', split_part(class.apply_function, '.', 1),
      split_part(class.apply_function, '.', 2)
    )
    using rule, horizon, most_rows;
  end if;
exception
  when lock_not_available or deadlock_detected then
    return next row(rule.rule, class.table_name, 'wait', 0, '{}', null, null, horizon)::privacy.retention_step;
end;
$$;

comment on function privacy._apply_rule(privacy.retention_class, privacy.retention, timestamptz, int) is $$
Does one step of a rule. Returns the step `wait` when other transactions held a lock.
$$;

create or replace function privacy.apply_retention(most_rows int default 20000, confirm_clock boolean default false)
returns setof privacy.retention_step
language plpgsql
volatile
-- A definer: it deletes rows of all people, which no role may do.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set timezone to 'UTC'
set jit to off
as $$
declare
  v_each record;
  v_class privacy.retention_class;
  v_rule privacy.retention;
  v_step privacy.retention_step;
  v_waiting privacy.retention_step;
begin
  perform common.check_count('most_rows', apply_retention.most_rows, 1, 1000000);
  if apply_retention.confirm_clock is null then
    perform common.refuse('CF001', 'confirm_clock is null', 'Give true or false.');
  end if;
  if current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
    perform common.refuse(
      '25001',
      format('retention cannot be applied in a transaction of the level %s', current_setting('transaction_isolation')),
      'Use read committed: the call must see the data that others have stored until it has its locks.'
    );
  end if;
  -- One at a time: another call waits here, and does the next step.
  perform pg_advisory_xact_lock(hashtext('privacy.retention'));
  if not exists (select from privacy.retention) then
    return;
  end if;
  perform privacy._check_retention_clock(apply_retention.confirm_clock);
  if not privacy._hold_restrictions() then
    return next row('all', 'privacy.restriction', 'wait', 0, '{}', null, null, null)::privacy.retention_step;
    return;
  end if;

  for v_each in
    select class, retention as rule
    from privacy.retention
    join privacy.retention_class as class using (data_class)
    order by class.position, retention.rule
  loop
    v_class := v_each.class;
    v_rule := v_each.rule;
    for v_step in
      select step.*
      from privacy._apply_rule(v_class, v_rule, privacy._retention_horizon(v_rule), apply_retention.most_rows) as step
    loop
      if v_step.method in ('delete', 'anonymize') then
        insert into privacy.retention_total as stored (rule, day, table_name, method, row_count, partitions)
        values (v_step.rule, now()::date, v_step.table_name, v_step.method, v_step.row_count, v_step.partitions)
        on conflict on constraint retention_total_pkey do update
        set row_count = stored.row_count + excluded.row_count, partitions = stored.partitions || excluded.partitions;
      end if;
      if v_step.method = 'wait' then
        v_waiting := v_step;
      else
        return next v_step;
        return;
      end if;
    end loop;
  end loop;
  if v_waiting.rule is not null then
    return next v_waiting;
  end if;
end;
$$;

comment on function privacy.apply_retention(int, boolean) is $$
Does one step of the rules of retention, and returns it; no row when nothing is left to delete.
A step is a month of events, which is removed as a partition, or at most `most_rows` rows. Call it until it returns no
row, each call in its own transaction; a call that is interrupted leaves nothing half done. Data derived from events
follows with `track.refresh`. Rows of people whose data is restricted stay. The step `wait` means that another
transaction held a lock: try again. `confirm_clock`: see the error CF005.
Errors: CF001 for an invalid `most_rows`, CF005 when the clock is implausible: more than an hour before that of the last
run, or more than 45 days after it; 25001 in a transaction that is not read committed.
$$;

grant execute on function privacy.apply_retention(int, boolean) to insights_admin, insights_worker;

create or replace function monitor._check_partitions()
returns setof monitor.finding
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_this_month constant timestamp := date_trunc('month', clock_timestamp() at time zone 'UTC');
  v_month timestamp;
  v_rows bigint;
  v_default regclass;
begin
  -- They are made by the first run of the task; before, by the first event of a month.
  if exists (select 1 from monitor.run where run.task = 'make_partitions' and run.outcome = 'ok')
    or exists (select 1 from monitor.run where run.started_at < clock_timestamp() - interval '26 hours')
  then
    foreach v_month in array array[v_this_month, v_this_month + interval '1 month'] loop
      if not exists (
        select 1
        from pg_catalog.pg_inherits as part
        join pg_catalog.pg_class as partition on partition.oid = part.inhrelid
        where part.inhparent = 'track.event'::regclass
          and partition.relname = 'event_' || to_char(v_month, 'YYYY_MM')
          and not part.inhdetachpending
      ) then
        return next monitor._finding(
          'partitions', 'track.event_' || to_char(v_month, 'YYYY_MM'),
          case when v_month = v_this_month then 'critical' else 'warning' end,
          format('track.event has no partition for %s', to_char(v_month, 'YYYY-MM')),
          case
            when to_regclass('track.event_' || to_char(v_month, 'YYYY_MM')) is null
              then 'Create it: select track.make_partitions(). A worker does so each day: see the task make_partitions '
                || 'in monitor.run'
            when exists (
              select
              from pg_catalog.pg_inherits as part
              where part.inhparent = 'track.event'::regclass
                and part.inhrelid = to_regclass('track.event_' || to_char(v_month, 'YYYY_MM'))
            )
              then format('To detach it concurrently was interrupted. Complete that: alter table track.event detach '
                || 'partition track.event_%1$s finalize. Attach it again: alter table track.event attach partition '
                || 'track.event_%1$s for values from (''%2$s 00:00+00'') to (''%3$s 00:00+00'')',
                to_char(v_month, 'YYYY_MM'), v_month::date, (v_month + interval '1 month')::date)
            else format(
              'A table of this name is detached. Attach it: alter table track.event attach partition track.event_%s '
                || 'for values from (''%s 00:00+00'') to (''%s 00:00+00'')',
              to_char(v_month, 'YYYY_MM'), v_month::date, (v_month + interval '1 month')::date
            )
          end
        );
      end if;
    end loop;
  end if;

  v_default := (
    select nullif(partitioned.partdefid, 0)::regclass
    from pg_catalog.pg_partitioned_table as partitioned
    where partitioned.partrelid = 'track.event'::regclass
  );
  if v_default is not null then
    execute format('select count(*) from (select from %s limit 1000) as stray', v_default) into v_rows;
    if v_rows > 0 then
      return next monitor._finding(
        'partitions', v_default::text, 'warning',
        format('the default partition %s has %s%s events', v_default, v_rows,
          case v_rows when 1000 then ' or more' end),
        format(
          'Detach it: alter table track.event detach partition %1$s. Create the partitions of its months: '
            || 'select track.make_partitions(min(occurred_at), max(occurred_at)) from %1$s. Move its rows: '
            || 'insert into %2$s select * from %1$s. Drop it: drop table %1$s', v_default, 'track.event'
        ),
        v_rows, 1
      );
    end if;
  end if;
end;
$$;

comment on function monitor._check_partitions() is $$
Finds a missing partition of events for this month or the next one, and rows in a default partition.
$$;

create or replace function track._checked_months()
returns date[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  -- The months of the partitions, and those of rows without events.
  return array(
    select to_date(substr(partition.relname, 7), 'YYYY_MM')
    from pg_catalog.pg_inherits
    join pg_catalog.pg_class as partition on partition.oid = pg_inherits.inhrelid
    where pg_inherits.inhparent = 'track.event'::regclass
      and partition.relname ~ '^event_\d{4}_\d\d$'
      and to_date(substr(partition.relname, 7), 'YYYY_MM') <= (now() at time zone 'UTC')::date + 31
      -- The sums of earlier months are kept without their events.
      and to_date(substr(partition.relname, 7), 'YYYY_MM') >= (select setting.sums_kept_before from track.setting)
    union
    select item_month.month
    from track.item_month
    order by 1
  );
end;
$$;

comment on function track._checked_months() is $$
Returns the months whose rollups are compared with the events, in order.
$$;

create or replace function track._queue_months()
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  -- The neighbours too, because a partition may hold events near its boundaries.
  insert into track.renamed_month (month)
  select distinct (partition.month + shift.months * interval '1 month')::date
  from (
    select to_date(right(class.relname, 7), 'YYYY_MM') as month
    from pg_inherits
    join pg_class as class on class.oid = pg_inherits.inhrelid
    where pg_inherits.inhparent = 'track.event'::regclass
      and class.relname ~ '^event_\d{4}_\d{2}$'
  ) as partition
  cross join generate_series(-1, 1) as shift (months)
  on conflict (month) do nothing;
end;
$$;

comment on function track._queue_months() is $$
Queues all months of events for `track._apply_names`.
$$;

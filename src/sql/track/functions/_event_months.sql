create or replace function track._event_months()
returns setof date
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  -- The neighbours too, because a partition may hold events near its boundaries.
  return query
  select distinct (partition.month + shift.months * interval '1 month')::date
  from (
    select to_date(right(class.relname, 7), 'YYYY_MM') as month
    from pg_inherits
    join pg_class as class on class.oid = pg_inherits.inhrelid
    where pg_inherits.inhparent = 'track.event'::regclass
      and class.relname ~ '^event_\d{4}_\d{2}$'
  ) as partition
  cross join generate_series(-1, 1) as shift (months);
end;
$$;

comment on function track._event_months() is $$
Returns all months (UTC) that can have events.
$$;

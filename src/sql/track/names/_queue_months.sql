create or replace function track._queue_months()
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  insert into track.renamed_month (month)
  select months.month from track._event_months() as months (month)
  on conflict (month) do nothing;
end;
$$;

comment on function track._queue_months() is $$
Queues all months of events for `track._apply_names`.
$$;

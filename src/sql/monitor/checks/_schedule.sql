create or replace function monitor._schedule(out known_since timestamptz, out executed_at timestamptz)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  -- The queue of graphile-worker exists once a worker has run.
  if to_regclass('insights_queue._private_known_crontabs') is not null then
    execute $statement$
      select min(known.known_since), max(known.last_execution)
      from insights_queue._private_known_crontabs as known
      where known.identifier like 'insights-%'
    $statement$
    into known_since, executed_at;
  end if;
end;
$$;

comment on function monitor._schedule() is $$
Returns since when a worker has had the schedule, and when it queued a task last. Nulls without a worker so far.
$$;

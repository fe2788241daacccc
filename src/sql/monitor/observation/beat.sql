create or replace function monitor.beat(worker text, version text)
returns void
language plpgsql
volatile
-- A definer: workers write monitor.worker through these functions only.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_now constant timestamptz := clock_timestamp();
begin
  if length(beat.worker) between 1 and 200 is not true or length(beat.version) <= 100 is not true then
    perform common.refuse(
      'CF001',
      format(
        'the worker is "%s", its version "%s"',
        coalesce(left(beat.worker, 100), 'null'),
        coalesce(left(beat.version, 100), 'null')
      ),
      'Give names of 1 to 200 and of at most 100 characters.'
    );
  end if;
  insert into monitor.worker as known (worker, started_at, seen_at, version)
  values (beat.worker, v_now, v_now, beat.version)
  on conflict on constraint worker_pkey do update
  set seen_at = excluded.seen_at, stopped_at = null, version = excluded.version;
end;
$$;

comment on function monitor.beat(text, text) is $$
@behavior -*
Records a heartbeat of a worker. Errors: CF001 for names that are null or too long.
$$;

grant execute on function monitor.beat(text, text) to insights_worker;

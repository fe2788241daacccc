create or replace function analytics._end_training(target text)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  delete from analytics.snapshot where snapshot.target = _end_training.target;
  delete from analytics.training where training.target = _end_training.target;
end;
$$;

comment on function analytics._end_training(text) is $$Deletes the snapshots and the progress of a training.$$;

create or replace function monitor.erase(subject privacy.subject)
returns setof privacy.erased
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_rows bigint;
begin
  -- Messages of errors contain the key of a person, or a value that she sent.
  update monitor.run
  set error = 'erased'
  where run.error ~ format('\yperson %s\y', subject.person_id)
    or exists (
      select
      from unnest(subject.names) as named (name)
      where strpos(run.error, named.name) > 0
    );
  get diagnostics v_rows = row_count;
  return next row('monitor.run', v_rows, 'cleared')::privacy.erased;

  -- The queue of graphile-worker exists once a worker has run.
  if to_regclass('insights_queue._private_jobs') is not null then
    execute $statement$
      update insights_queue._private_jobs as job
      set last_error = 'erased'
      where exists (
        select
        from unnest($1) as named (name)
        where strpos(job.last_error, named.name) > 0
      )
    $statement$
    using subject.names;
    get diagnostics v_rows = row_count;
    return next row('insights_queue.jobs', v_rows, 'cleared')::privacy.erased;
  end if;
end;
$$;

comment on function monitor.erase(privacy.subject) is $$
@behavior -*
Replaces the error messages of task runs and queued jobs that contain a name of the person.
Called by `privacy.erase_person`.
$$;

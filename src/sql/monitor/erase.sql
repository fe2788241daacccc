create or replace function monitor._names_person(content text, names text[])
returns boolean
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  -- One name at a time: a person can have thousands, too many for one regular expression.
  return exists (
    select
    from unnest(_names_person.names) as named (name)
    where strpos(_names_person.content, named.name) > 0
      and _names_person.content ~ privacy.names_pattern(array[named.name])
  );
end;
$$;

comment on function monitor._names_person(text, text[]) is $$
Returns whether one of the names occurs in a text as a word.
$$;

create or replace function monitor.erase(subject privacy.subject)
returns setof privacy.erased
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  -- Also as they are written in JSON.
  v_names constant text[] := array(
    select named.name
    from unnest(subject.names) as named (name)
    union
    select substr(written.name, 2, length(written.name) - 2)
    from (select to_jsonb(named.name)::text as name from unnest(subject.names) as named (name)) as written
  );
  v_key_pattern constant text := format('\yperson (%s)\y', array_to_string(subject.identity_ids, '|'));
  v_rows bigint;
begin
  -- Messages of errors contain the key of a person, or a value that she sent.
  update monitor.run
  set error = case when error is not null then 'erased' end, detail = null
  where monitor._names_person(run.error, v_names)
    or run.error ~ v_key_pattern
    or monitor._names_person(run.detail::text, v_names)
    or run.detail::text ~ v_key_pattern;
  get diagnostics v_rows = row_count;
  return next row('monitor.run', v_rows, 'cleared')::privacy.erased;
  update monitor.probe_state
  set error = 'erased'
  where monitor._names_person(probe_state.error, v_names)
    or probe_state.error ~ v_key_pattern;
  get diagnostics v_rows = row_count;
  return next row('monitor.probe_state', v_rows, 'cleared')::privacy.erased;

  return next privacy.clear_values('monitor.alert', 'acknowledged_by', privacy.user_names(subject));
  return next privacy.clear_values('monitor.alert_event', 'author', privacy.user_names(subject));
  return next privacy.clear_values('monitor.rule', 'set_by', privacy.user_names(subject));
  return next privacy.clear_values('monitor.alert_silence', 'author', privacy.user_names(subject));

  -- The queue of graphile-worker exists once a worker has run.
  if to_regclass('insights_queue._private_jobs') is not null then
    execute $statement$
      delete from insights_queue._private_jobs as job
      where exists (
        select
        from unnest($1) as named (name)
        where jsonb_path_exists(job.payload::jsonb, '$.** ? (@ == $name)', jsonb_build_object('name', named.name))
      )
    $statement$
    using privacy.user_names(subject);
    get diagnostics v_rows = row_count;
    return next row('insights_queue.jobs', v_rows, 'deleted')::privacy.erased;
    execute $statement$
      update insights_queue._private_jobs as job
      set last_error = 'erased'
      where monitor._names_person(job.last_error, $1)
        -- A failed run has its error here too. Errors of other tasks contain keys of an application.
        or job.last_error ~ $2
        and job.task_id in (
          select task.id from insights_queue._private_tasks as task where task.identifier like 'insights:%'
        )
    $statement$
    using v_names, v_key_pattern;
    get diagnostics v_rows = row_count;
    return next row('insights_queue.jobs', v_rows, 'cleared')::privacy.erased;
  end if;
end;
$$;

comment on function monitor.erase(privacy.subject) is $$
@behavior -*
Replaces the error messages of task runs and queued jobs that contain a name of the person.
Also her name where she acknowledged or silenced alerts. Deletes jobs about her.
Called by `privacy.erase_person`.
$$;

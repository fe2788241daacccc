/* The data map of this room, of the job queue and of the releases: see privacy/data_map.sql. */

insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, erasure, description, basis)
values
  (
    'monitor', 'run', 'detail', 'behaviour', 'service', 'cleared',
    'Results of a run. It can quote the error of the refresh of a person.', null
  ),
  ('monitor', 'run', 'error', 'behaviour', 'service', 'cleared', 'Error of a run, which can quote a value.', null),
  (
    'monitor', 'probe_state', 'error', 'behaviour', 'service', 'cleared',
    'Error of a probe, which can quote a value.', null
  ),
  (
    'monitor', 'alert', 'acknowledged_by', 'identity', 'service', 'cleared', 'Administrator who acknowledged an alert.',
    null
  ),
  (
    'monitor', 'alert_event', 'author', 'identity', 'service', 'cleared', 'Administrator who changed an alert.', null
  ),
  ('monitor', 'rule', 'set_by', 'identity', 'service', 'cleared', 'Administrator who set a rule.', null),
  (
    'monitor', 'alert_silence', 'author', 'identity', 'service', 'cleared', 'Administrator who silenced alerts.', null
  ),
  ('insights_queue', '_private_jobs', 'payload', 'behaviour', 'service', 'deleted', 'Arguments of a job.', null),
  (
    'insights_queue', '_private_jobs', 'last_error', 'behaviour', 'service', 'cleared',
    'Error of the last attempt of a job, which can quote a value.', null
  ),
  (
    'insights_queue', '_private_jobs', 'key', 'behaviour', 'service', 'deleted',
    'Key by which an equal job replaces the job.', null
  )
on conflict (schema_name, table_name, column_name) do update
set
  holds = excluded.holds,
  purpose = excluded.purpose,
  description = excluded.description,
  erasure = excluded.erasure,
  basis = excluded.basis;

/* Without data of people. */
insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, erasure, description)
select entry.schema_name, entry.table_name, column_name, 'none', 'service', 'kept', entry.reason
from (
  values
    ('monitor', 'run', '{task}', 'Names of functions, tables or tasks of the installation.'),
    (
      'monitor', 'latency', '{operation,counts}',
      'Names of fields of the schema and routes of the server, with numbers.'
    ),
    ('monitor', 'latency_writer', '{writer}', 'Random keys of processes of the API.'),
    ('monitor', 'relevance_setting', '{kind}', 'Kinds of items.'),
    ('monitor', 'deployment_relevance', '{kind,note}', 'Kinds of items, and figures of versions of models.'),
    ('monitor', 'health_check', '{health_check,function_name,owner,description}', 'Checks of the installation.'),
    ('monitor', 'scheduled_task', '{task,severity}', 'Tasks of the installation.'),
    (
      'monitor', 'alert', '{source,subject,owner,severity,state,message,fix}',
      'Problems of tasks, tables and models of the installation.'
    ),
    (
      'monitor', 'alert_event', '{transition,severity,owner,note}',
      'Transitions of alerts, with notes of administrators.'
    ),
    ('monitor', 'rule', '{rule,metric,labels,direction,severity,owner}', 'Rules about metrics of the installation.'),
    ('monitor', 'rule_bound', '{rule,basis}', 'Bounds of metrics of the installation.'),
    ('monitor', 'alert_silence', '{source,subject,reason}', 'Silences of checks, with their reasons.'),
    ('monitor', 'metric', '{metric,unit,labels,description}', 'Metrics of the installation.'),
    ('monitor', 'probe', '{probe,function_name,description}', 'Functions of the installation.'),
    ('monitor', 'probe_state', '{probe}', 'Functions of the installation.'),
    ('monitor', 'series', '{metric,labels,probe}', 'Names of tasks, tables, models and metrics of the installation.'),
    ('monitor', 'sample', '{measured}', 'Numbers of the installation, of no person.'),
    ('monitor', 'worker', '{worker,version}', 'Hosts and processes of workers.'),
    (
      'monitor', 'channel', '{channel,kind,address,owners,least_severity,last_error}', 'Receivers of notifications.'
    ),
    ('monitor', 'channel_url', '{channel,url}', 'URLs of receivers of notifications.'),
    ('monitor', 'channel_secret', '{channel,secret}', 'Keys with which notifications are signed.'),
    (
      'monitor', 'notification', '{channel,message_id,body,state,last_error}',
      'Notifications about tasks, tables and models of the installation.'
    ),
    ('insights_queue', '_private_jobs', '{locked_by,flags}', 'Workers, and flags of the queue.'),
    ('insights_queue', '_private_job_queues', '{queue_name,locked_by}', 'Names of queues and workers.'),
    (
      'insights_queue', '_private_known_crontabs', '{identifier}',
      'Names of functions, tables or tasks of the installation.'
    ),
    (
      'insights_queue', '_private_tasks', '{identifier}',
      'Names of functions, tables or tasks of the installation.'
    ),
    ('graphile_migrate', 'current', '{filename,content}', 'Releases of the installation.'),
    ('graphile_migrate', 'migrations', '{hash,previous_hash,filename}', 'Releases of the installation.')
) as entry (schema_name, table_name, column_names, reason)
cross join unnest(entry.column_names::text[]) as column_name
on conflict (schema_name, table_name, column_name) do update
set
  holds = excluded.holds,
  purpose = excluded.purpose,
  description = excluded.description,
  erasure = excluded.erasure,
  basis = excluded.basis;

insert into privacy.handler (room, position, export_function, description)
values ('monitor', 50, 'monitor.export', 'Messages of errors that contain a name of the person.')
on conflict (room) do update set export_function = excluded.export_function;

-- Changes of structure since the last release: see migrations/README.md.

/* --- retention --- */

create table if not exists privacy.retention_class (
  data_class text primary key check (data_class ~ '^[a-z][a-z_]{0,62}$'),
  position smallint not null unique,
  table_name text not null check (table_name ~ '^[a-z][a-z_]*\.[a-z][a-z_]*$'),
  time_column text check (time_column ~ '^[a-z][a-z_]*$'),
  person_column text check (person_column ~ '^[a-z][a-z_]*$'),
  condition text,
  sealed_columns text[] not null default '{}',
  default_keep interval,
  plan_function text check (plan_function ~ '^[a-z][a-z_]*\.[a-z][a-z_]*$'),
  apply_function text check (apply_function ~ '^[a-z][a-z_]*\.[a-z][a-z_]*$'),
  description text not null,
  check ((plan_function is null) = (apply_function is null)),
  check ((plan_function is null) = (time_column is not null))
);

comment on table privacy.retention_class is $$
Classes of data for which a rule of retention can be set: see `privacy.set_retention`. Every room registers its own.
Rows of a class are deleted by the time in `time_column`, or by the functions of the class. These take a rule
(`privacy.retention`) and a time; `apply_function` also takes the maximum number of rows. Both return
`setof privacy.retention_step`: what would be deleted, or what one step has deleted, no row when nothing is left. What
is derived from the rows has no class: it follows them.
$$;
comment on column privacy.retention_class.data_class is $$Name of the class.$$;
comment on column privacy.retention_class.position is $$Place in the order in which rules are applied.$$;
comment on column privacy.retention_class.table_name is $$Table with its schema. It has a primary key.$$;
comment on column privacy.retention_class.time_column is $$
Column with the time, or the day, that decides. Null when the class has functions.
$$;
comment on column privacy.retention_class.person_column is $$
Column with the person; rows of people whose data is restricted are kept. Null when rows are of no person.
$$;
comment on column privacy.retention_class.condition is $$
@behavior -*
Condition in SQL that a row must meet to be deleted, in which the table is `stored`; null without one.
$$;
comment on column privacy.retention_class.sealed_columns is $$
Columns with positions in `privacy.ledger`, which account for the deletion of sealed rows.
$$;
comment on column privacy.retention_class.default_keep is $$
Time after which a task deletes the rows when there is no rule; null: without a rule they are kept.
$$;
comment on column privacy.retention_class.plan_function is $$Function that counts; null without functions.$$;
comment on column privacy.retention_class.apply_function is $$Function that deletes; null without functions.$$;
comment on column privacy.retention_class.description is $$Rows of the class, and what a deletion means.$$;

create table if not exists privacy.retention (
  rule text not null primary key generated always as (data_class || coalesce('/' || purpose, '')) stored,
  data_class text not null references privacy.retention_class,
  purpose text references privacy.purpose,
  keep interval not null check (keep between '1 day' and '1000 years'),
  counted_from text not null default 'event' check (counted_from in ('event', 'arrival')),
  method text not null default 'delete' check (method in ('delete', 'anonymize')),
  keeps_rollups boolean not null default false,
  set_at timestamptz not null default clock_timestamp(),
  check (purpose is null or data_class = 'events'),
  check (data_class = 'events' or counted_from = 'event' and method = 'delete'),
  check (
    not keeps_rollups
    or data_class = 'events' and purpose is null and method = 'delete' and counted_from = 'event'
  )
);

comment on table privacy.retention is $$
@foreignKey (purpose) references privacy.purpose (purpose)
Rules of retention: the time for which data of a class, or events of a purpose, is kept. Each rule applies on its own.
Without a rule nothing is deleted, except as `privacy.retention_class.default_keep` specifies.
$$;
comment on column privacy.retention.rule is $$
Name of the rule: the class, followed by `/` and the purpose if there is one.
$$;
comment on column privacy.retention.data_class is $$Class of data.$$;
comment on column privacy.retention.purpose is $$
Purpose of the event types to which the rule applies; null: all of them.
$$;
comment on column privacy.retention.keep is $$
Time for which the data is kept. It ends at 00:00 UTC, so that whole days are deleted.
$$;
comment on column privacy.retention.counted_from is $$
Time from which `keep` counts: `event` (when it happened) or `arrival` (when it was stored).
$$;
comment on column privacy.retention.method is $$
`delete`, or `anonymize`: events stay without person, identity and properties.
$$;
comment on column privacy.retention.keeps_rollups is $$
True: the sums of whole months that are deleted stay, without people. False: they are those of the events that are left.
$$;
comment on column privacy.retention.set_at is $$Time of the last change of the rule.$$;

create index if not exists retention_purpose on privacy.retention (purpose);
create index if not exists retention_class_of on privacy.retention (data_class);

create table if not exists privacy.retention_log (
  log_id uuid primary key default gen_random_uuid(),
  logged_at timestamptz not null default clock_timestamp(),
  rule text not null,
  action text not null check (action in ('set', 'dropped', 'clock confirmed')),
  actor text not null,
  details jsonb not null default '{}'
);

comment on table privacy.retention_log is $$
Log of the changes of the rules of retention, append-only.
$$;
comment on column privacy.retention_log.log_id is $$Key of the entry.$$;
comment on column privacy.retention_log.logged_at is $$Time of the change.$$;
comment on column privacy.retention_log.rule is $$Rule that changed; `all` when the clock was confirmed.$$;
comment on column privacy.retention_log.action is $$
`set`, `dropped`, or `clock confirmed`: an administrator applied the rules although the clock was implausible.
$$;
comment on column privacy.retention_log.actor is $$
Administrator who made the change: the signed-in person, or else the login of the database.
$$;
comment on column privacy.retention_log.details is $$New values; for a dropped rule, those that it had.$$;

create index if not exists retention_log_time on privacy.retention_log (logged_at);

create table if not exists privacy.retention_total (
  rule text not null,
  day date not null,
  table_name text not null,
  method text not null,
  row_count bigint not null,
  partitions text[] not null default '{}',
  primary key (rule, day, table_name, method)
);

comment on table privacy.retention_total is $$
Rows that the rules of retention deleted, by rule and day: the record that they are applied.
$$;
comment on column privacy.retention_total.rule is $$Rule, as in `privacy.retention.rule`.$$;
comment on column privacy.retention_total.day is $$Day of the deletion (UTC).$$;
comment on column privacy.retention_total.table_name is $$Table with its schema.$$;
comment on column privacy.retention_total.method is $$As in `privacy.retention_step.method`.$$;
comment on column privacy.retention_total.row_count is $$Number of rows.$$;
comment on column privacy.retention_total.partitions is $$Partitions that were removed as a whole.$$;

create table if not exists privacy.retention_clock (
  only_row boolean primary key default true check (only_row),
  applied_at timestamptz not null default now()
);

comment on table privacy.retention_clock is $$
@behavior -*
The latest time at which the rules of retention were applied: one row. A run whose clock contradicts it is refused.
$$;
comment on column privacy.retention_clock.only_row is $$Always true, so that the table has one row.$$;
comment on column privacy.retention_clock.applied_at is $$
Latest time of the clock; at first, that of the installation.
$$;

insert into privacy.retention_clock default values
on conflict do nothing;

do $do$
begin
  create type privacy.retention_step as (
    rule text,
    table_name text,
    method text,
    row_count bigint,
    partitions text[],
    held_count bigint,
    oldest_at timestamptz,
    horizon timestamptz
  );
exception when duplicate_object then null;
end
$do$;

comment on type privacy.retention_step is $$
Rows that a rule of retention deletes with the next run, or that one step has deleted.
$$;
comment on column privacy.retention_step.rule is $$Rule, as in `privacy.retention.rule`.$$;
comment on column privacy.retention_step.table_name is $$Table with its schema.$$;
comment on column privacy.retention_step.method is $$
Treatment of the rows, or result of a step.
`delete`, `anonymize`, `sum` (the sums of a month are kept without people, or kept sums are deleted), `refresh` (people
were refreshed before that), or `wait` (other transactions held a lock: nothing was done, and it can be tried again).
$$;
comment on column privacy.retention_step.row_count is $$Number of rows.$$;
comment on column privacy.retention_step.partitions is $$Partitions that are removed as a whole.$$;
comment on column privacy.retention_step.held_count is $$
Number of rows that stay, because the data of their person is restricted; null for a step.
$$;
comment on column privacy.retention_step.oldest_at is $$Time of the oldest row; null without rows.$$;
comment on column privacy.retention_step.horizon is $$Time before which rows are deleted.$$;

alter table privacy.retention_class enable row level security;
alter table privacy.retention enable row level security;
alter table privacy.retention_log enable row level security;
alter table privacy.retention_total enable row level security;
alter table privacy.retention_clock enable row level security;

insert into privacy.retention_class (
  data_class, position, table_name, time_column, person_column, condition, sealed_columns, default_keep, description
)
values
  (
    'requests', 60, 'privacy.request', 'completed_at', null, 'stored.completed_at is not null',
    '{ledger_position,answer_position}', null, 'Requests of people that are answered, by the time of the answer.'
  ),
  (
    'receipts', 61, 'privacy.erasure', 'erased_at', null, 'stored.completed_at is not null', '{ledger_position}', null,
    'Receipts of erasures that are complete. They are needed after the restore of a backup: keep them longer than it.'
  ),
  (
    'exports', 62, 'privacy.export_log', 'exported_at', null, null, '{}', null,
    'The log of exports of data of people.'
  ),
  (
    'retention_log', 63, 'privacy.retention_log', 'logged_at', null, null, '{}', null,
    'The log of changes of the rules of retention.'
  )
on conflict do nothing;

alter table track.setting add column if not exists sums_kept_before date not null default '-infinity';
do $do$
begin
  alter table track.setting add constraint setting_deleted_months
    check (sums_kept_before = '-infinity' or oldest_event >= sums_kept_before::timestamp at time zone 'UTC');
exception when duplicate_object then null;
end
$do$;
comment on column track.setting.oldest_event is $$
Events with an earlier time are rejected.
A rule of retention for all events sets it to the time before which it deletes.
$$;
comment on column track.setting.sums_kept_before is $$
Day before which the rollups are sums that a rule of retention keeps; `-infinity` without such a rule.
The events of these days are deleted, and refreshes and checks do not change the sums. See `privacy.set_retention`.
$$;

insert into privacy.retention_class (
  data_class, position, table_name, time_column, condition, default_keep, plan_function, apply_function, description
)
values
  (
    'events', 10, 'track.event', null, null, null, 'track.plan_event_retention', 'track.apply_event_retention',
    'Events. Sessions, journeys, rollups, interactions and what else is derived from them follow.'
  ),
  (
    'refusals', 20, 'track.refusal', 'day', null, '400 days', null, null, 'Numbers of refused messages.'
  ),
  (
    'refusal_samples', 21, 'track.refusal_sample', 'refused_at', null, '7 days', null, null,
    'Samples of refused messages, without values.'
  ),
  (
    'write_key_log', 22, 'track.write_key_log', 'logged_at', null, null, null, null, 'The log of changes of write keys.'
  ),
  (
    'name_log', 23, 'track.name_log', 'logged_at', null, null, null, null,
    'The log of changed names of events and items.'
  )
on conflict do nothing;

insert into privacy.retention_class (
  data_class, position, table_name, time_column, condition, default_keep, description
)
values (
  'runs', 50, 'monitor.run', 'started_at',
  'exists (select from monitor.run as later where later.task = stored.task and later.started_at > stored.started_at)',
  '90 days', 'Runs of tasks, except the latest of each task.'
)
on conflict do nothing;

insert into privacy.retention_class (
  data_class, position, table_name, time_column, person_column, condition, description
)
values
  (
    'impressions', 30, 'recommend.impression', 'listed_at', 'person_id', null,
    'Recommended items that people were shown, with their answers. An event that names a row brings it back.'
  ),
  (
    'taken', 32, 'recommend.taken', 'last_at', 'person_id', null,
    'Items that people took, finished or rejected, whose events are deleted. Without them, items are recommended again.'
  ),
  (
    'dismissed_topics', 33, 'recommend.dismissed_topic', 'first_at', 'person_id',
    'greatest(stored.dismissed_at, stored.withdrawn_at) < $1',
    'Topics that people rejected. An event brings them back as long as it is kept.'
  ),
  (
    'rule_log', 31, 'recommend.rule_log', 'logged_at', null, null, 'The log of changes of rules of recommendations.'
  )
on conflict do nothing;
/* --- end of retention --- */

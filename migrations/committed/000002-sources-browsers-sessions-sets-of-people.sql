--! Previous: sha1:d704c8e49c50aa084e6a7ebbd4f07d5b9aba317f
--! Hash: sha1:6126d17993ba34f30a172952714371edb3bb508e
--! Message: sources, browsers, sessions, sets of people

--! Included prepare.sql
/*
 * The start of every migration. The types and operators of pgvector are resolved when objects are created, in the
 * schema of the extension. Only the owner may call a function until its file grants it.
 */
do $$
declare
  v_schema text := (
    select namespace.nspname
    from pg_catalog.pg_extension as extension
    join pg_catalog.pg_namespace as namespace on namespace.oid = extension.extnamespace
    where extension.extname = 'vector'
  );
begin
  if v_schema is null then
    raise exception using
      errcode = 'CF002',
      message = format('the extension "vector" is not installed in database "%s"', current_database()),
      hint = 'Run "insights migrate", which installs it, or "create extension vector" as an administrator.';
  end if;
  perform pg_catalog.set_config('search_path', pg_catalog.format('%I, pg_temp', v_schema), true);
  -- Hides the notices of "drop … if exists" for objects that do not exist.
  perform pg_catalog.set_config('client_min_messages', 'warning', true);
end;
$$;

alter default privileges revoke execute on functions from public;
--! EndIncluded prepare.sql

-- Changes of structure since the last release: see migrations/README.md.

-- Sources, write keys, refused messages ------------------------------------------------------------------------------

do $do$
begin
  if not exists (select from pg_catalog.pg_attribute where attrelid = 'track.source'::regclass and attname = 'level') then
    alter table track.source
      add column level text not null default 'server' check (level in ('server', 'signed_in', 'anonymous'));
    alter table track.source drop constraint source_name_key;
    alter table track.source add unique (name, level);
  end if;
end;
$do$;
update track.source
set description = 'Messages of servers and database logins without a source.'
where name = 'default' and level = 'server' and description = 'Messages without a source.';
insert into track.source (name, level, description)
values
  ('default', 'signed_in', 'Messages of signed-in people without a source.'),
  ('default', 'anonymous', 'Messages of visitors without a source.')
on conflict (name, level) do nothing;

comment on table track.source is $$
Sources of messages, such as an application or an importer, one row per level of trust.
Message ids are unique within a row, so that a client cannot use up the ids of a server.
$$;
comment on column track.source.source_id is $$Key of the source.$$;
comment on column track.source.name is $$
Name of the source: that of the write key, or else the setting `insights.source`, or else `default`.
$$;
comment on column track.source.description is $$Description of the source; null when none was given.$$;
comment on column track.source.level is $$
Level of trust of its messages.
`server`: may name any person, describe items and set times of arrival. `signed_in`: may name the person of its token.
`anonymous`: may name browsers (`anonymousId`) only, which any client can invent.
$$;

create table if not exists track.write_key (
  key_id int generated always as identity primary key,
  source_id smallint not null references track.source,
  key_hash bytea not null unique check (octet_length(key_hash) = 32),
  preview text not null,
  scopes text[] not null default '{events}' check (scopes <> '{}' and scopes <@ '{events,features}'),
  origins text[] not null default '{}',
  requests_per_minute int not null default 6000 check (requests_per_minute between 1 and 1000000),
  created_at timestamptz not null default now(),
  expires_at timestamptz,
  revoked_at timestamptz,
  used_on date
);

comment on table track.write_key is $$
Write keys: a client that sends one writes to the source of the key, at the level of the source.
The key itself is returned once, by `track.create_write_key`, and not stored.
$$;
comment on column track.write_key.key_id is $$Key of the row, for `track.rotate_write_key` and others.$$;
comment on column track.write_key.source_id is $$Source to which messages with the key belong.$$;
comment on column track.write_key.key_hash is $$SHA-256 hash of the key.$$;
comment on column track.write_key.preview is $$First characters of the key, to recognize it by.$$;
comment on column track.write_key.scopes is $$
Permissions of the key: `events` (send messages), `features` (read the experiments' payload).
$$;
comment on column track.write_key.origins is $$
Origins of web pages that may use the key, such as `https://campus.example`; empty: any.
$$;
comment on column track.write_key.requests_per_minute is $$
Maximum rate of requests with the key, in each process of the API.
$$;
comment on column track.write_key.created_at is $$Time at which the key was created.$$;
comment on column track.write_key.expires_at is $$Time from which the key is refused; null: no limit.$$;
comment on column track.write_key.revoked_at is $$Time at which the key was revoked; null while it is valid.$$;
comment on column track.write_key.used_on is $$Date (UTC) of the last batch; null when it was never used.$$;

create index if not exists write_key_source on track.write_key (source_id);

create table if not exists track.write_key_log (
  log_id uuid primary key default gen_random_uuid(),
  key_id int not null references track.write_key,
  logged_at timestamptz not null default clock_timestamp(),
  action text not null check (action in ('created', 'rotated', 'changed', 'revoked')),
  actor text not null,
  details jsonb not null default '{}'
);

comment on table track.write_key_log is $$
Log of the changes of write keys, append-only.
$$;
comment on column track.write_key_log.log_id is $$Key of the entry.$$;
comment on column track.write_key_log.key_id is $$Write key that changed.$$;
comment on column track.write_key_log.logged_at is $$Time of the change.$$;
comment on column track.write_key_log.action is $$`created`, `rotated`, `changed` or `revoked`.$$;
comment on column track.write_key_log.actor is $$
Administrator who made the change: the signed-in person, or else the login of the database.
$$;
comment on column track.write_key_log.details is $$New values, without the key.$$;

create index if not exists write_key_log_key on track.write_key_log (key_id, logged_at);

create table if not exists track.refusal (
  source_id smallint not null references track.source,
  code text not null check (length(code) between 1 and 20),
  day date not null,
  backend int not null,
  messages bigint not null check (messages > 0),
  primary key (source_id, day, code, backend)
);

comment on table track.refusal is $$
Numbers of refused messages by source, error code and day; `track.refused_messages` returns the sums.
One row per backend process, so that concurrent batches do not wait for each other. Contains no content.
$$;
comment on column track.refusal.source_id is $$Source of the messages.$$;
comment on column track.refusal.code is $$Code of the error, such as `CF001`.$$;
comment on column track.refusal.day is $$Day of arrival (UTC).$$;
comment on column track.refusal.backend is $$
Process that counted: its process id; 0 for days that `track.delete_old_refusals` has summed.
$$;
comment on column track.refusal.messages is $$Number of messages.$$;

create table if not exists track.refusal_sample (
  sample_id uuid primary key default gen_random_uuid(),
  source_id smallint not null references track.source,
  code text not null,
  day date not null,
  refused_at timestamptz not null default clock_timestamp(),
  hint text,
  fields jsonb not null
);

comment on table track.refusal_sample is $$
Samples of refused messages, without values: some per source, error code and day, kept for 7 days.
They show which fields a broken client sends, and what the rule expects.
$$;
comment on column track.refusal_sample.sample_id is $$Key of the sample.$$;
comment on column track.refusal_sample.source_id is $$Source of the message.$$;
comment on column track.refusal_sample.code is $$Code of the error.$$;
comment on column track.refusal_sample.day is $$Day of arrival (UTC).$$;
comment on column track.refusal_sample.refused_at is $$Time of arrival.$$;
comment on column track.refusal_sample.hint is $$Hint of the error, which states the rule.$$;
comment on column track.refusal_sample.fields is $$
JSON types of the known fields of the message, such as `{"userId": "string of 5"}`; no values.
$$;

create index if not exists refusal_sample_source on track.refusal_sample (source_id, code, day);

alter table track.write_key enable row level security;
alter table track.write_key_log enable row level security;
alter table track.refusal enable row level security;
alter table track.refusal_sample enable row level security;

insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, description)
values ('track', 'write_key_log', 'actor', 'identity', 'service', 'Administrator who changed the key.')
on conflict do nothing;

do $do$
begin
  if to_regtype('track.new_write_key') is null then
    create type track.new_write_key as (key_id int, write_key text, source text, level text);
  end if;
end;
$do$;

comment on type track.new_write_key is $$
A write key at its creation, the only time that it is returned.
$$;
comment on column track.new_write_key.key_id is $$Key of the row in `track.write_key`.$$;
comment on column track.new_write_key.write_key is $$The key, which clients send.$$;
comment on column track.new_write_key.source is $$Name of the source.$$;
comment on column track.new_write_key.level is $$Level of the source.$$;

do $do$
begin
  if to_regtype('track.open_write_key') is null then
    create type track.open_write_key as (key_id int, source text, level text, requests_per_minute int);
  end if;
end;
$do$;

comment on type track.open_write_key is $$
A write key that may be used, with the source of its messages.
$$;
comment on column track.open_write_key.key_id is $$Key of the row in `track.write_key`.$$;
comment on column track.open_write_key.source is $$Name of the source.$$;
comment on column track.open_write_key.level is $$Level of the source.$$;
comment on column track.open_write_key.requests_per_minute is $$
Maximum rate of requests, in each process of the API.
$$;

do $do$
begin
  if to_regtype('track.refused_messages') is null then
    create type track.refused_messages as (day date, source text, level text, code text, messages bigint);
  end if;
end;
$do$;

comment on type track.refused_messages is $$
Number of refused messages of a source, with an error code, on a day.
$$;
comment on column track.refused_messages.day is $$Day of arrival (UTC).$$;
comment on column track.refused_messages.source is $$Name of the source.$$;
comment on column track.refused_messages.level is $$Level of the source.$$;
comment on column track.refused_messages.code is $$Code of the error, such as `CF001`.$$;
comment on column track.refused_messages.messages is $$Number of messages.$$;

do $do$
begin
  if not exists (select from pg_catalog.pg_attribute where attrelid = 'track.message_sender'::regclass and attname = 'level') then
    alter type track.message_sender add attribute level text;
  end if;
  if not exists (select from pg_catalog.pg_attribute where attrelid = 'track.message_sender'::regclass and attname = 'source_id') then
    alter type track.message_sender add attribute source_id smallint;
  end if;
  if not exists (select from pg_catalog.pg_attribute where attrelid = 'track.message_sender'::regclass and attname = 'browser') then
    alter type track.message_sender add attribute browser uuid;
  end if;
  if not exists (select from pg_catalog.pg_attribute where attrelid = 'track.message_sender'::regclass and attname = 'opt_out') then
    alter type track.message_sender add attribute opt_out text[];
  end if;
end;
$do$;
comment on column track.message_sender.person is $$
The `userId` that a signed-in person may send; null for other senders.
$$;
comment on column track.message_sender.oldest is $$Time of the oldest event that is accepted.$$;
comment on column track.message_sender.newest is $$Time of the newest event that is accepted.$$;
comment on column track.message_sender.longest_message is $$Maximum size of a message, in bytes of JSON text.$$;
comment on column track.message_sender.level is $$Level of trust: see `track.source.level`.$$;
comment on column track.message_sender.source_id is $$Source of the messages.$$;
comment on column track.message_sender.browser is $$
Hash of the signed cookie of the calling browser; null without one.
$$;
comment on column track.message_sender.opt_out is $$
Opt-out signals of the request: `gpc` (header Sec-GPC) and `dnt` (header DNT); empty without one.
$$;

drop function if exists track._source_id();
-- Sessions: views of earlier sessions, intervals of heartbeats, automatic events.
alter table track.setting
  add column if not exists longest_view interval not null default '30 days' check (longest_view >= '0');
alter table track.source
  add column if not exists heartbeat interval check (heartbeat > '0'),
  add column if not exists is_automatic boolean not null default false;
alter table track.event_type add column if not exists is_automatic boolean not null default false;
alter table track.page_view
  add column if not exists is_continued boolean not null default false,
  add column if not exists view_key bigint;
alter table analytics.activity add column if not exists automatic_count int not null default 0;
create index if not exists page_view_opened on track.page_view (person_id, view_key, started_at)
where view_key is not null and not is_continued;
create index if not exists page_view_continued on track.page_view (person_id, started_at) where is_continued;
create table if not exists track.automatic_period (
  person_id bigint primary key,
  since timestamptz not null,
  until timestamptz not null,
  check (since <= until)
);

comment on table track.automatic_period is $$
@behavior -*
People with events in no session (of an automatic event type or source), and the period of these events.
Together with the sessions and `track.stale`, it bounds the time of all events of a person, so that a merge reads no
other months. Maintained by `track.refresh_sessions`.
$$;
comment on column track.automatic_period.person_id is $$Person.$$;
comment on column track.automatic_period.since is $$Time of the earliest such event, or earlier.$$;
comment on column track.automatic_period.until is $$Time of the latest such event, or later.$$;
alter table track.automatic_period enable row level security;
comment on table track.setting is $$
Settings of the collection: one row.
After a change of `session_timeout`, `heartbeat`, `minimum_visit`, `longest_gap` or `longest_view`,
`select track.rebuild()` applies it to the stored events.
$$;
comment on column track.setting.heartbeat is $$
Interval at which clients send heartbeats while a page is in use.
A source may have another (`track.source.heartbeat`), and so may a message (`properties.interval`, in seconds).
$$;
comment on column track.setting.minimum_visit is $$Engaged time that the first heartbeat of a page view confirms.$$;
comment on column track.setting.longest_gap is $$
Maximum engaged time that is counted for the gap after an event, for clients without heartbeats.
$$;
comment on column track.setting.longest_view is $$
Maximum time from the opening of a page to the first heartbeat of a later session that names its `viewId`.
The item of views that were opened earlier is unknown.
$$;
comment on column track.source.heartbeat is $$
Interval of the heartbeats of this source; null: that of `track.setting`.
After a change, run `select track.rebuild()`.
$$;
comment on column track.source.is_automatic is $$
Whether a program sends these events without an action of their person, such as a nightly import of grades.
Such events are in no session. After a change, run `select track.rebuild()`.
$$;
comment on column track.event_type.is_automatic is $$
Whether such an event happens without an action of its person, such as a grade by a teacher.
It is then in no session, opens no page view and adds no engaged time. After a change, run `select track.rebuild()`.
$$;
comment on table track.session is $$
@foreignKey (entry_item_id) references track.item (item_id)
@foreignKey (exit_item_id) references track.item (item_id)
Sessions: events of a person without a pause longer than `track.setting.session_timeout`.
Derived from the events; the rows are always the same as those of a computation from scratch. Events of an automatic
type or source are in no session.
$$;
comment on column track.session.started_at is $$
Time of the first event.
When it is a heartbeat, `track.setting.minimum_visit` before it, which is the time that it confirms.
$$;
comment on column track.session.view_count is $$
Number of page views that were opened in the session; continued ones are not counted.
$$;
comment on column track.session.engaged is $$
Engaged time: the sum over the page views.
Each moment counts for one page view only, so that the sum is never longer than the session.
$$;
comment on column track.session.engaged_by is $$
Method of measuring the engaged time.
`heartbeats` (for at least one page view), `gaps` (to the next event) or `nothing` (no page view).
$$;
comment on table track.page_view is $$
@foreignKey (item_id) references track.item (item_id)
Page views with their engaged time.
Derived from the events; the rows are always the same as those of a computation from scratch.
A page view belongs to one session. Heartbeats that name a view (`properties.viewId`) that was not opened in their
session continue it: they form a page view of their own, of the item of that view.
With heartbeats: each heartbeat confirms the time since the previous heartbeat of the session or the opening of its
page view, at most one interval (at most `track.setting.minimum_visit` for the first heartbeat of the page view). For
one page at a regular interval this is Snowplow's formula, interval * (distinct heartbeats - 1) + minimum visit.
Without heartbeats: the sum of the gaps between the events up to the next view, each capped at
`track.setting.longest_gap`, without the time that heartbeats of other page views confirm. A page view without
heartbeats has no engaged time when its client (source, identity, with or without `viewId`) sent heartbeats for
another page view of the session: it was left before the first one.
$$;
comment on column track.page_view.event_id is $$
Event that opened the page view; for a continued one, its first heartbeat.
$$;
comment on column track.page_view.view_number is $$
Number of the page view within the session, from 1, in order of time; continued ones included.
$$;
comment on column track.page_view.item_id is $$
Item that was viewed; null when the event names none.
For a continued page view, the item of the view that was opened earlier; when that is unknown, the item that the first
heartbeat names.
$$;
comment on column track.page_view.started_at is $$
Time at which the page was opened; for a continued page view, the start of its engaged time.
$$;
comment on column track.page_view.is_continued is $$
Whether the page was opened in an earlier session, or its opening is unknown. Not a further visit of the page.
$$;
comment on column track.page_view.view_key is $$
@behavior -*
64-bit hash of the `viewId`; null when the client sent none.
$$;
comment on column track.action.session_id is $$
Session; null until the next refresh of the sessions, and for events of an automatic type or source.
$$;
comment on column track.action.action_number is $$
Number of the action within the session, from 1; null for events of an automatic type or source.
$$;
comment on column track.action.since_previous is $$
Time since the previous action of the session; null for the first one, and for events of an automatic type or source.
$$;
comment on column analytics.activity.event_count is $$
Number of events. 0 for the engaged time of a continued page view, if no heartbeat names its item.
$$;
comment on column analytics.activity.engaged is $$
Engaged time of the page views that these events opened or continued.
$$;
comment on column analytics.activity.automatic_count is $$
Number of these events that are of an automatic type or source: not an activity of the person.
$$;
-- Types of these names that exist stay as they are.
insert into track.event_type (name, is_automatic, description)
values
  ('Task Graded', true, 'A teacher or a program graded a submission of the person.'),
  ('Grade Changed', true, 'A teacher or a program changed a grade of the person.'),
  ('Badge Awarded', true, 'The person was awarded a badge.'),
  ('Certificate Issued', true, 'A certificate was issued to the person.'),
  ('Course Assigned', true, 'A teacher or a program enrolled the person in a course.'),
  ('Enrolment Changed', true, 'A teacher or a program changed an enrolment of the person.'),
  ('Reminder Sent', true, 'A reminder was sent to the person.'),
  ('Deadline Passed', true, 'A deadline of the person passed.')
on conflict (name) do nothing;
insert into track.distribution (schema_name, table_name, column_name, colocated_with, description)
values
  ('track', 'automatic_period', 'person_id', 'track.event', 'Derived from the events of the person.')
on conflict do nothing;
insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, description)
values ('track', 'automatic_period', 'person_id', 'person', 'analytics', 'Person that the events are about.')
on conflict do nothing;

-- Times of events, names of pages -------------------------------------------------------------------------------------

alter table track.setting
  add column if not exists clock_tolerance interval not null default '5 minutes' check (clock_tolerance >= '0'),
  add column if not exists path_rule text[] not null
    default '{host,query,fragment,encoding,slashes,dots,index,trailing_slash}'
    check (path_rule <@ '{host,query,fragment,encoding,slashes,dots,index,trailing_slash}'),
  add column if not exists kept_parameters text[] not null default '{id}' check (cardinality(kept_parameters) <= 100);
alter table track.source
  add column if not exists path_rule text[]
    check (path_rule <@ '{host,query,fragment,encoding,slashes,dots,index,trailing_slash}'),
  add column if not exists kept_parameters text[] check (cardinality(kept_parameters) <= 100);
do $do$
begin
  if not exists (
    select from pg_catalog.pg_attribute where attrelid = 'track.item'::regclass and attname = 'merged_item_id'
  ) then
    alter table track.item add column merged_item_id bigint references track.item;
    alter table track.item add check (merged_item_id <> item_id);
  end if;
end;
$do$;
create index if not exists item_merged on track.item (merged_item_id) where merged_item_id is not null;
alter table track.event add column if not exists client_at timestamptz;

do $do$
begin
  if not exists (
    select from pg_catalog.pg_attribute where attrelid = 'track.message_sender'::regclass and attname = 'path_rule'
  ) then
    alter type track.message_sender
      add attribute clock_tolerance interval, add attribute path_rule text[], add attribute kept_parameters text[];
  end if;
  if not exists (
    select from pg_catalog.pg_attribute where attrelid = 'track.parsed_message'::regclass and attname = 'client_at'
  ) then
    alter type track.parsed_message add attribute client_at timestamptz;
  end if;
end;
$do$;

comment on column track.setting.clock_tolerance is $$
Time by which `sentAt` may be before the arrival without a correction of the clock of the client.
It may be the delay of the delivery, which varies: a correction by it could change the order of the events of a device.
$$;
comment on column track.setting.path_rule is $$
Steps by which the path or URL of a page becomes the name of its item; `{}`: paths are stored as they were sent.
`host` removes scheme and host of a URL (without it, they are in lower case), `query` the query string except
`kept_parameters`, `fragment` the fragment (not `#/…` and `#!…`). `encoding` normalises percent-encoding, `slashes`
repeated slashes, `dots` the segments `.` and `..`. `index` replaces `index.html`, `default.aspx` and such by their
folder, `trailing_slash` removes the slash at the end. After a change, run `select track.apply_path_rule()`.
$$;
comment on column track.setting.kept_parameters is $$
Parameters of the query string that belong to the name of a page, such as the `id` of `/course/view.php?id=7`.
$$;
comment on column track.source.path_rule is $$Path rule of the source; null: that of `track.setting`.$$;
comment on column track.source.kept_parameters is $$Kept parameters of the source; null: those of `track.setting`.$$;
comment on column track.message_sender.clock_tolerance is $$
Time by which `sentAt` may be before the arrival without a correction.
$$;
comment on column track.message_sender.path_rule is $$Path rule of the source: see `track.setting.path_rule`.$$;
comment on column track.message_sender.kept_parameters is $$
Kept parameters of the source: see `track.setting.kept_parameters`.
$$;
comment on column track.parsed_message.client_at is $$Time of the client; null when it is that of the event.$$;
comment on column track.event.occurred_at is $$
Time of the event, never later than its arrival.
The time of the client, or, if its clock is behind by more than `track.setting.clock_tolerance` or ahead by more than 5
seconds, `receivedAt - (sentAt - timestamp)`. The arrival when the client sent no time, or one later than `sentAt`.
$$;
comment on column track.event.event_id is $$
Version 7 UUID of the time and the hash of the message; orders events of the same time.
Events whose time is that of their arrival are in the order of the times of their client.
$$;
comment on column track.event.client_at is $$
Time of the client, when it differs from `occurred_at`: its clock was wrong. Null otherwise.
$$;
comment on column track.item.merged_item_id is $$
Item into which `track.merge_items` merged this one, which is then only a further name of it; null otherwise.
$$;
comment on column track.item.kind is $$
`course`, `module`, `task`, `page`, `video` and others.
`unknown` until a message or table states the kind; `merged` for a further name of another item.
$$;

drop function if exists track._read_fields(track.message_batch, timestamptz, boolean, boolean);
drop function if exists track._correct_clock(timestamptz, text, timestamptz, text, timestamptz);
drop function if exists track._event_id(timestamptz, uuid, smallint);
drop function if exists track._item(text, jsonb, jsonb, jsonb);
drop function if exists track._item_kind(text, jsonb, jsonb, boolean);

-- Trends -------------------------------------------------------------------------------------------------------------

do $do$
begin
  if not exists (
    select
    from pg_catalog.pg_attribute
    where attrelid = 'analytics.trend_point'::regclass and attname = 'is_complete' and not attisdropped
  ) then
    alter type analytics.trend_point add attribute is_complete boolean;
  end if;
end;
$do$;
comment on column analytics.trend_point.running_average is $$
Average number of events over the latest complete buckets of the window.
$$;
comment on column analytics.trend_point.slope is $$
Slope of the least-squares line through the latest complete buckets of the window, in events per bucket.
$$;
comment on column analytics.trend_point.is_complete is $$
Whether the period contains the whole bucket. Others are excluded from average and slope.
$$;
comment on type analytics.learner_features is $$
Features of a learner in a course as of a time, computed from earlier events only.
The features begin with `days_enrolled`. Days are in UTC. Weeks consist of complete days, so that they are comparable at
any time of the day: week 1 is the 7 days before the last midnight. The hours since then count in the other features.
$$;
comment on column analytics.learner_features.active_days_week_1 is $$
Number of days with activity in the course in the last 7 complete days.
$$;
comment on column analytics.learner_features.events_week_1 is $$
Number of events in the course in the last 7 complete days.
$$;
comment on column analytics.learner_features.engaged_minutes_week_1 is $$
Engaged time in the course in the last 7 complete days, in minutes.
$$;
comment on column analytics.learner_features.active_days_anywhere_week_1 is $$
Number of days with activity on the platform in the last 7 complete days.
$$;

-- Sets of people, and who is counted ----------------------------------------------------------------------------------

alter table track.consumer
drop constraint if exists consumer_inputs_check,
add constraint consumer_inputs_check check (
  inputs <> '{}' and inputs <@ '{event,enrolment,decision,identity}'
);
comment on column track.consumer.inputs is $$
Data that it is derived from: `event` (also sessions and page views), `enrolment`, `decision` or `identity`.
`identity`: identities that are new, moved to another person, excluded or included.
$$;
comment on table track.changed is $$
@foreignKey (consumer) references track.consumer (consumer)
Periods in which data of a person changed, one row per consumer (see `track.consumer.inputs`).
`track.refresh` deletes the rows of a consumer and recomputes the periods in a later statement of the same
transaction. Changes that are committed between the two statements have rows of their own, so that no change is
missed. Repeating a refresh gives the same result.
$$;


create table if not exists track.person_set (
  name text primary key check (name ~ '^[a-z][a-z0-9_]*(\.[a-z0-9_]+)*$' and length(name) <= 100),
  description text not null,
  members text check (members ~ '^[a-z][a-z_]*\.[a-z][a-z_]*$'),
  consumer text not null default 'track.person_set' references track.consumer
);

comment on table track.person_set is $$
Named sets of people, by which analyses filter: `counted`, segments, groups of an experiment.
Every room registers its own. A set is kept by a function of `set_name text, people bigint[]` that returns those of the
given people who belong; `track.refresh` calls it for people whose data changed. `insights doctor` checks that the
functions exist.
$$;
comment on column track.person_set.name is $$Name, such as `counted` or `segment.power_users`.$$;
comment on column track.person_set.description is $$Description of the set: who belongs to it.$$;
comment on column track.person_set.members is $$
Name of the function that returns the members, with its schema.
Null when the members are listed in `track.person_set_member`.
$$;
comment on column track.person_set.consumer is $$
Consumer whose refresh recomputes the set: it must come after the data that the function reads.
$$;

create index if not exists person_set_consumer on track.person_set (consumer);

create table if not exists track.person_set_member (
  name text not null references track.person_set on delete cascade,
  identity_id bigint not null references track.identity,
  primary key (name, identity_id)
);

comment on table track.person_set_member is $$
@behavior -*
Members of the sets whose members are listed. The person of a listed identity belongs to the set.
By identity, so that a set is the same after a merge of people that is reversed.
$$;
comment on column track.person_set_member.name is $$Set.$$;
comment on column track.person_set_member.identity_id is $$Identity of a member.$$;

create index if not exists person_set_member_identity on track.person_set_member (identity_id);

create table if not exists track.person_set_block (
  name text not null references track.person_set on delete cascade,
  block int not null check (block >= 0),
  people bit(4096) not null check (bit_count(people) > 0),
  primary key (name, block)
);

comment on table track.person_set_block is $$
@behavior -*
The people of each set, as of the last refresh: one bit per person.
A person belongs when `get_bit(people, (person_id % 4096)::int)` of the block `person_id / 4096` is 1. A block in which
no person belongs has no row.
Sets are combined by `&`, `|` and `& ~`, and counted by `bit_count`.
$$;
comment on column track.person_set_block.name is $$Set.$$;
comment on column track.person_set_block.block is $$Number of the block: `person_id / 4096`.$$;
comment on column track.person_set_block.people is $$
One bit per person of the block; bit 0, the leftmost, is the person `block * 4096`.
$$;

create table if not exists track.exclusion (
  identity_id bigint primary key references track.identity,
  reason text not null check (reason in ('staff', 'test', 'bot', 'service_account')),
  note text check (length(note) <= 1000),
  excluded_at timestamptz not null default now(),
  excluded_by text not null
);

comment on table track.exclusion is $$
Identities whose people are not counted: in popularity, in training and in the smallest group of figures.
See `track.exclude_person` and `track.include_person`.
$$;
comment on column track.exclusion.identity_id is $$Identity that is excluded, with the person that it belongs to.$$;
comment on column track.exclusion.reason is $$`staff`, `test`, `bot` or `service_account`.$$;
comment on column track.exclusion.note is $$Note of the administrator; null when none was given.$$;
comment on column track.exclusion.excluded_at is $$Time at which the identity was excluded.$$;
comment on column track.exclusion.excluded_by is $$
Person who excluded it: the signed-in administrator, or the login of the database.
$$;

insert into track.consumer (consumer, position, refresh, inputs, description)
values (
  'track.person_set', 0, 'track.refresh_person_sets', '{event,enrolment,decision,identity}',
  'The sets of people, before the data that is filtered by them.'
)
on conflict do nothing;

insert into track.person_set (name, description, members)
values
  ('signed_in', 'People who have signed in at some time.', 'track.signed_in_people'),
  (
    'counted',
    'People who count in popularity, in training and in the smallest group of figures: signed in and not excluded.',
    'track.counted_people'
  )
on conflict do nothing;

insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, description)
values
  ('track', 'person_set_member', 'identity_id', 'identity', 'service', 'Identity of a member of a listed set.'),
  ('track', 'person_set_block', 'people', 'derived', 'analytics', 'People of a set, one bit per person.'),
  ('track', 'exclusion', 'identity_id', 'identity', 'service', 'Identity of a person who is not counted.'),
  ('track', 'exclusion', 'note', 'traits', 'service', 'Note about the person, by an administrator.')
on conflict do nothing;

alter table track.person_set enable row level security;
alter table track.person_set_member enable row level security;
alter table track.person_set_block enable row level security;
alter table track.exclusion enable row level security;

-- The sets of the people that are stored already. No person is excluded yet when a set has no block.
insert into track.person_set_block (name, block, people)
select
  person_set.name,
  (identity.person_id / 4096)::int,
  bit_or(b'1'::bit(4096) >> (identity.person_id % 4096)::int)
from track.identity
cross join track.person_set
where identity.kind = 'user'
  and identity.person_id = identity.identity_id
  and person_set.name in ('signed_in', 'counted')
  and not exists (select from track.person_set_block as stored where stored.name = person_set.name)
group by 1, 2;

/* The popularity of items, of counted people only. Until the next analytics.refresh_views, popularity is computed. */

do $$
begin
  if pg_get_viewdef('analytics.item_popularity'::regclass) not like '%person_set_block%' then
    drop materialized view analytics.item_popularity;
  end if;
end;
$$;

create materialized view if not exists analytics.item_popularity as
with counted as (
  select activity.person_id, activity.day, activity.item_id, activity.event_count, activity.engaged
  from analytics.activity
  join track.person_set_block
    on person_set_block.name = 'counted'
    and person_set_block.block = activity.person_id / 4096
    and get_bit(person_set_block.people, (activity.person_id % 4096)::int) <> 0
)
select
  ancestor.ancestor_item_id as item_id,
  sum(activity.event_count) as event_count,
  count(distinct activity.person_id) as person_count,
  sum(activity.engaged) as engaged,
  max(activity.day) as last_day,
  -- Halved per 30 days of age, as of the latest day with activity.
  sum(activity.event_count * 0.5::float8 ^ least(1000, (newest.day - activity.day) / 30::float8)) as decayed_event_count
from counted as activity
cross join (select max(day) as day from counted) as newest
join track.item_ancestor as ancestor using (item_id)
group by ancestor.ancestor_item_id
with no data;

comment on materialized view analytics.item_popularity is $$
@behavior -*
Use of each item and the items it contains by counted people, over all time. Refreshed concurrently by a worker.
Recommendations for unknown people are ranked by it.
$$;
comment on column analytics.item_popularity.item_id is $$Item.$$;
comment on column analytics.item_popularity.event_count is $$
Number of events of counted people, of the item and of those it contains.
$$;
comment on column analytics.item_popularity.person_count is $$Number of distinct counted people.$$;
comment on column analytics.item_popularity.engaged is $$Engaged time.$$;
comment on column analytics.item_popularity.last_day is $$Latest day of use, UTC.$$;
comment on column analytics.item_popularity.decayed_event_count is $$
Number of events, each halved per 30 days of age.
$$;

create unique index if not exists item_popularity_item on analytics.item_popularity (item_id);
grant select on analytics.item_popularity to insights_reader;

comment on column analytics.learner_features.course_active_share is $$
Share of the counted learners of the course with activity in it in the last 7 complete days.
$$;

-- Identities: browsers of several people, proof of a browser --------------------------------------------------------------

alter table track.identity add column if not exists user_identity_id bigint;
alter table track.identity add column if not exists branch bigint not null default 0;
alter table track.identity add column if not exists browser uuid;
do $do$
begin
  if exists (
    select from pg_catalog.pg_constraint
    where conrelid = 'track.identity'::regclass and conname = 'identity_external_id_kind_key'
  ) then
    alter table track.identity drop constraint identity_external_id_kind_key;
    alter table track.identity add unique (external_id, kind, branch);
    alter table track.identity drop constraint identity_kind_check;
    alter table track.identity
      add constraint identity_kind_check check (kind in ('user', 'anonymous', 'unverified', 'none')) not valid;
    alter table track.identity validate constraint identity_kind_check;

    alter table track.identity_link drop constraint identity_link_pkey;
    alter table track.identity_link add primary key (identity_id, linked_identity_id, linked_at);
    alter table track.identity_link drop constraint identity_link_kind_check;
    alter table track.identity_link
      add constraint identity_link_kind_check check (kind in ('identify', 'alias', 'claim')) not valid;
    alter table track.identity_link validate constraint identity_link_kind_check;

    -- Until now a browser had one user at most.
    update track.identity as browser
    set user_identity_id = link.linked_identity_id
    from track.identity_link as link
    join track.identity as person on person.identity_id = link.linked_identity_id and person.kind = 'user'
    where browser.kind = 'anonymous'
      and link.identity_id = browser.identity_id
      and link.unlinked_at is null
      and not exists (
        select
        from track.identity_link as earlier
        join track.identity as other on other.identity_id = earlier.linked_identity_id and other.kind = 'user'
        where earlier.identity_id = link.identity_id
          and earlier.unlinked_at is null
          and (earlier.linked_at, earlier.linked_identity_id) < (link.linked_at, link.linked_identity_id)
      );
  end if;
end;
$do$;
comment on table track.identity is $$
Names by which clients identify a person: the `userId` of the application, or the `anonymousId` of a browser.
The person of an identity follows from the active links between identities. A browser that several people have used
has one identity per user; `track.identity_link` shows from when on each of them used it.
$$;
comment on column track.identity.kind is $$
`user` (a `userId`), `anonymous` (an `anonymousId`), `unverified` or `none` (identity 0, of anonymized events).
`unverified` is an `anonymousId` of a person that a client sent without proof; it is never linked.
$$;
comment on column track.identity.user_identity_id is $$
Of a browser: identity of the user who identified on it; null when nobody did, and for other kinds.
$$;
comment on column track.identity.branch is $$
0 for the first identity of a name; `identity_id` for the further identities of a browser.
$$;
comment on column track.identity.browser is $$
Hash of the signed cookie with which a browser sent the `anonymousId` first; null when it had none.
A client that has this cookie may send messages for the identity after it was linked, and link it with its past.
$$;
comment on table track.identity_link is $$
Links between identities, one row per message.
People are the connected components of the active links, except claims; removing a link splits them. An event of a
browser belongs to the user of the latest link before it, or else of the first link.
$$;
comment on column track.identity_link.kind is $$
`identify` (a user identified on a browser), `alias` (the two are the same) or `claim`.
A claim is an `identify` without proof: it counts for messages that its user sends while signed in, and for no others.
$$;
comment on column track.identity_link.linked_at is $$
Time of the message that linked the identities: from then on a browser belongs to the user.
$$;

alter table track.setting
  add column if not exists most_identities int not null default 2500 check (most_identities > 0);
comment on column track.setting.most_identities is $$
Maximum number of identities of a person; further `identify` and `alias` messages are rejected.
$$;

insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, description)
values ('track', 'identity', 'browser', 'identity', 'service', 'Hash of the cookie of the browser.')
on conflict do nothing;

drop function if exists privacy.move_decisions(bigint[], bigint[], bigint[]);
drop function if exists track._store_events(track.parsed_message[], smallint);
drop function if exists track._store_traits(track.parsed_message[]);
drop function if exists track._store_consent(track.parsed_message[]);

do $do$
begin
  if not exists (
    select from pg_catalog.pg_attribute where attrelid = 'track.parsed_message'::regclass and attname = 'is_claim'
  ) then
    alter type track.parsed_message add attribute is_claim boolean;
  end if;
end;
$do$;
comment on column track.parsed_message.is_claim is $$
Of `identify`: whether the sender did not prove that the browser is hers; null for other messages.
$$;

create table if not exists track.placeholder_id (
  external_id text primary key check (external_id = lower(external_id) and external_id <> ''),
  description text
);

comment on table track.placeholder_id is $$
Ids that name nobody: what broken clients send as `userId` or `anonymousId`, such as "undefined".
Messages with such an id are rejected. Ids are compared in lower case, without blanks and quotation marks around them;
blanks alone also name nobody. Administrators may add and delete rows.
$$;
comment on column track.placeholder_id.external_id is $$The id, in lower case.$$;
comment on column track.placeholder_id.description is $$Meaning of the id; null when none was given.$$;

insert into track.placeholder_id (external_id, description)
values
  ('undefined', 'A missing value in JavaScript.'),
  ('null', 'A missing value in JavaScript, JSON and SQL.'),
  ('nil', 'A missing value in Ruby, Go and Swift.'),
  ('none', 'A missing value in Python.'),
  ('nan', 'A missing number in JavaScript.'),
  ('[object object]', 'A JavaScript object instead of its id.'),
  ('object object', 'A JavaScript object instead of its id.'),
  ('{}', 'An empty object.'),
  ('[]', 'An empty list.'),
  ('true', 'A truth value instead of an id.'),
  ('false', 'A truth value instead of an id.'),
  ('0', 'A user who is not signed in, in Moodle, WordPress and Drupal.'),
  ('-1', 'A user who is not signed in.'),
  ('-', 'No value, in logs.'),
  ('--', 'No value, in logs.'),
  ('anonymous', 'A user who is not signed in.'),
  ('anonymoususer', 'A user who is not signed in, in Spring and Django.'),
  ('guest', 'A user who is not signed in.'),
  ('(null)', 'Null, as Objective-C prints it.'),
  ('<null>', 'Null, as some logs print it.'),
  ('[object promise]', 'A promise that was not awaited in JavaScript.'),
  ('not_authenticated', 'A user who is not signed in.'),
  ('unauthenticated', 'A user who is not signed in.'),
  ('id', 'The name of a field instead of its value.'),
  ('user_id', 'The name of a field instead of its value.'),
  ('userid', 'The name of a field instead of its value.'),
  ('anonymous_id', 'The name of a field instead of its value.'),
  ('anonymousid', 'The name of a field instead of its value.'),
  ('distinct_id', 'The name of a field instead of its value.'),
  ('distinctid', 'The name of a field instead of its value.'),
  ('email', 'The name of a field instead of its value.'),
  ('unknown', 'No value.'),
  ('not set', 'No value.'),
  ('(not set)', 'No value, in Google Analytics.'),
  ('not_set', 'No value.'),
  ('n/a', 'No value.'),
  ('#n/a', 'No value, in spreadsheets.'),
  ('00000000-0000-0000-0000-000000000000', 'The nil UUID.')
on conflict do nothing;

alter table track.placeholder_id enable row level security;

drop function if exists track._enter_people(text[], text[]);
drop function if exists track._enter_people_of(track.parsed_message[]);

do $do$
begin
  if not exists (
    select from pg_catalog.pg_attribute where attrelid = 'privacy.purpose'::regclass and attname = 'opted_out_by_dnt'
  ) then
    alter table privacy.purpose add column opted_out_by_dnt boolean not null default false;
    update privacy.purpose
    set opted_out_by_dnt = true
    where purpose in ('analytics', 'personalization', 'advertising');
    alter table privacy.consent drop constraint consent_source_check;
    alter table privacy.consent
      add constraint consent_source_check check (source in ('api', 'event', 'gpc', 'import', 'dnt')) not valid;
    alter table privacy.consent validate constraint consent_source_check;
  end if;
end;
$do$;
comment on column privacy.purpose.opted_out_by_dnt is $$
Whether a Do Not Track signal counts as an opt-out.
$$;
comment on column privacy.consent.source is $$
Origin of the decision.
`api`, `event` (a tracking message), `gpc` (Global Privacy Control), `dnt` (Do Not Track) or `import`.
$$;

insert into track.event_type (name, description)
values (
  'Other Event',
  'An event of a person who opted out, whose name no other event has: it is kept without the name.'
)
on conflict (name) do nothing;

drop function if exists track._ask_consent(track.parsed_message[]);
drop function if exists track._withheld_messages(track.parsed_message[]);

create index if not exists identity_link_removed
on track.identity_link (linked_identity_id)
where unlinked_at is not null;

--! Included common/functions/check_period.sql
create or replace function common.check_period(since timestamptz, until timestamptz)
returns void
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
as $$
begin
  if check_period.since is null or check_period.until is null or check_period.since >= check_period.until then
    perform common.refuse(
      'CF001',
      format(
        'the period is from %s until %s',
        coalesce(check_period.since::text, 'null'),
        coalesce(check_period.until::text, 'null')
      ),
      'Give a time for since, and a later one for until.'
    );
  end if;
end;
$$;

comment on function common.check_period(timestamptz, timestamptz) is $$
Raises CF001 unless `since` is before `until`.
$$;

grant execute on function common.check_period(timestamptz, timestamptz)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;
--! EndIncluded common/functions/check_period.sql

--! Included ml/distributions/_log_gamma.sql
create or replace function ml._log_gamma(x float8)
returns float8
language plpgsql
immutable
parallel safe
strict
set search_path to pg_catalog, pg_temp
as $$
declare
  v_x float8 := x;
  v_product float8 := 1;
begin
  if not x > 0 then
    perform common.refuse('CF001', format('a parameter of the distribution is %s', 2 * x),
      'Degrees of freedom are above 0.');
  end if;
  -- x gamma(x) = gamma(x + 1), applied until Stirling's series is accurate to the last digit
  while v_x < 16 loop
    v_product := v_product * v_x;
    v_x := v_x + 1;
  end loop;
  return (v_x - 0.5) * ln(v_x) - v_x + 0.918938533204672741780329736406 + ml._log_gamma_correction(v_x) - ln(v_product);
end
$$;

comment on function ml._log_gamma(float8) is $$
Returns the natural logarithm of the gamma function for x > 0; CF001 for any other number.
$$;

grant execute on function ml._log_gamma(float8) to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/distributions/_log_gamma.sql

--! Included privacy/functions/move_decisions.sql
create or replace function privacy.move_decisions(
  identities bigint[],
  old_people bigint[],
  new_people bigint[],
  new_identities bigint[] default null,
  since timestamptz[] default null,
  until timestamptz[] default null
)
returns bigint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_touched bigint[];
  v_moved bigint;
begin
  -- Rows are moved by delete and insert, because the person is the distribution column.
  with deleted as (
    delete from privacy.consent
    using unnest(
      move_decisions.identities, move_decisions.old_people, move_decisions.new_people, move_decisions.new_identities,
      move_decisions.since, move_decisions.until
    ) as moved (identity_id, old_person_id, new_person_id, new_identity_id, since, until)
    where consent.person_id = moved.old_person_id
      and consent.identity_id = moved.identity_id
      and consent.decided_at >= coalesce(moved.since, '-infinity')
      and (moved.until is null or consent.decided_at < moved.until)
    returning moved.old_person_id, moved.new_person_id, moved.new_identity_id, consent.*
  ),

  placed as (
    insert into privacy.consent (
      person_id, identity_id, consent_id, purpose, granted, decided_at, recorded_at, source, document_version, evidence
    )
    select
      new_person_id, coalesce(new_identity_id, identity_id), consent_id, purpose, granted, decided_at, recorded_at,
      source, document_version, evidence
    from deleted
  )

  select array_agg(old_person_id) || array_agg(new_person_id), count(*)
  into v_touched, v_moved
  from deleted;

  perform privacy._call_listeners(array(select distinct person_id from unnest(v_touched) as person_id));
  return v_moved;
end;
$$;

comment on function privacy.move_decisions(
  bigint[], bigint[], bigint[], bigint[], timestamptz[], timestamptz[]
) is $$
Moves the decisions of identities, each from its old person to its new one. Returns the number of moved decisions.
The lists have the same length. `new_identities`, `since` and `until`: moves the decisions of a period (`until`
exclusive) to another identity, too. Called by `track` when people are merged or split: the decisions of an identity
always belong to its person.
$$;
--! EndIncluded privacy/functions/move_decisions.sql

-- from privacy/views.sql
comment on column privacy.current_consent.source is $$
Origin of the decision: `api`, `event`, `gpc`, `dnt` or `import`.
$$;

--! Included track/functions/find_person.sql
create or replace function track.find_person(person text)
returns bigint
language sql
stable
parallel safe
begin atomic
  -- A userId takes precedence over an equal anonymousId, and the present user of a browser over earlier ones.
  select identity.person_id
  from track.identity
  where identity.external_id = find_person.person
    and identity.kind in ('user', 'anonymous')
  order by
    identity.kind = 'user' desc,
    (
      select max(link.linked_at)
      from track.identity_link as link
      where link.identity_id = identity.identity_id
        and link.linked_identity_id = identity.user_identity_id
        and link.kind <> 'claim'
        and link.unlinked_at is null
    ) desc nulls last
  limit 1;
end;

comment on function track.find_person(text) is $$
@behavior -queryField
Returns the key of the person with a `userId`, or else with an `anonymousId`: the one who identified on it last.
Null when there is none, or when the caller may not read it.
$$;

grant execute on function track.find_person(text) to insights_reader, insights_learner, insights_admin, insights_worker;
--! EndIncluded track/functions/find_person.sql

--! Included track/functions/make_partitions.sql
create or replace function track.make_partitions(
  since timestamptz default now(),
  until timestamptz default (now() at time zone 'UTC' + interval '3 months') at time zone 'UTC'
)
returns int
language plpgsql
volatile
-- A definer: only the owner of a table may add partitions to it.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_month timestamp;
  v_name text;
  v_made int := 0;
begin
  if make_partitions.since is null or make_partitions.until is null
    or not isfinite(make_partitions.since) or not isfinite(make_partitions.until)
    or make_partitions.since > make_partitions.until
  then
    perform common.refuse(
      'CF001',
      format(
        'the period is from %s until %s',
        coalesce(make_partitions.since::text, 'null'),
        coalesce(make_partitions.until::text, 'null')
      ),
      'Give a time for since, and the same or a later one for until.'
    );
  end if;
  if make_partitions.until > make_partitions.since + interval '100 years' then
    perform common.refuse(
      'CF008',
      format('from %s until %s there are more than 1200 months', make_partitions.since, make_partitions.until),
      'Give a shorter period.'
    );
  end if;

  for v_month in
    select month
    from generate_series(
      date_trunc('month', make_partitions.since at time zone 'UTC'),
      date_trunc('month', make_partitions.until at time zone 'UTC'),
      interval '1 month'
    ) as month
    where to_regclass(format('track.event_%s', to_char(month, 'YYYY_MM'))) is null
  loop
    -- A concurrent call waits here, and then finds the partition created.
    perform pg_advisory_xact_lock(hashtext('track.make_partitions'));
    v_name := format('event_%s', to_char(v_month, 'YYYY_MM'));
    -- A query, because to_regclass reads a cache that is not updated while waiting for an advisory lock.
    if not exists (select from pg_catalog.pg_class where relnamespace = 'track'::regnamespace and relname = v_name) then
      -- Unlike "create table … partition of", attaching does not block writers of other partitions.
      execute format('create table track.%I (like track.event including defaults including constraints)', v_name);
      execute format('alter table track.%I enable row level security', v_name);
      execute format(
        'comment on table track.%I is %L',
        v_name, 'Events of ' || to_char(v_month, 'YYYY-MM') || ' (UTC).'
      );
      execute format(
        'alter table track.event attach partition track.%I for values from (%L) to (%L)',
        v_name, v_month at time zone 'UTC', (v_month + interval '1 month') at time zone 'UTC'
      );
      v_made := v_made + 1;
    end if;
  end loop;
  return v_made;
end;
$$;

comment on function track.make_partitions(timestamptz, timestamptz) is $$
@behavior -mutationField
Creates the missing monthly partitions of `track.event` between two times. Returns their number.
By default these are the partitions of the next three months. A worker calls it in advance; `track.ingest` calls it
for events of other months.
Errors: CF001 for an invalid period, CF008 for more than 100 years.
$$;

grant execute on function track.make_partitions(timestamptz, timestamptz) to insights_worker;
--! EndIncluded track/functions/make_partitions.sql

--! Included track/identities/_bare_id.sql
create or replace function track._bare_id(external_id text)
returns text
language sql
immutable
parallel safe
-- Blanks, invisible characters and quotation marks. Nearly all ids are ASCII, which has few of them.
return lower(btrim(
  external_id,
  case octet_length(external_id)
    when length(external_id) then E' \t\n\r\f\v\b\u001c\u001d\u001e\u001f"''`'
    else E' \t\n\r\f\v\b\u001c\u001d\u001e\u001f"''`\u0085\u00a0\u00ad\u034f\u061c\u115f\u1160\u1680\u180e'
      || E'\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u200e\u200f'
      || E'\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u202f\u205f\u2060\u2061\u2062\u2063\u2064\u2066\u2067\u2068\u2069'
      || E'\u2800\u3000\u3164\ufe0f\ufeff\uffa0\u00ab\u00bb\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u201f\u2039\u203a'
  end
));

comment on function track._bare_id(text) is $$
Returns an id in lower case, without blanks, invisible characters and quotation marks around it.
$$;
--! EndIncluded track/identities/_bare_id.sql

--! Included track/identities/_is_blank_id.sql
create or replace function track._is_blank_id(external_id text)
returns boolean
language sql
immutable
parallel safe
return track._bare_id(external_id) = '' and external_id not in ('"', $$'$$, '`');

comment on function track._is_blank_id(text) is $$
Returns whether an id consists of blanks, or is empty in quotation marks.
$$;
--! EndIncluded track/identities/_is_blank_id.sql

--! Included track/identities/_names_nobody.sql
create or replace function track._names_nobody(external_id text)
returns boolean
language sql
stable
parallel safe
begin atomic
  select track._is_blank_id(_names_nobody.external_id)
    or exists (
      select
      from track.placeholder_id
      where placeholder_id.external_id = track._bare_id(_names_nobody.external_id)
    );
end;

comment on function track._names_nobody(text) is $$
Returns whether an id names nobody: blanks, or a row of `track.placeholder_id`.
$$;
--! EndIncluded track/identities/_names_nobody.sql

--! Included track/identities/_with_siblings.sql
create or replace function track._with_siblings(identity_ids bigint[])
returns bigint[]
language sql
stable
parallel safe
begin atomic
  select array(
    select identity_id
    from unnest(_with_siblings.identity_ids) as identity_id

    union

    select sibling.identity_id
    from track.identity
    join track.identity as sibling on sibling.external_id = identity.external_id and sibling.kind = 'anonymous'
    where identity.identity_id = any (_with_siblings.identity_ids)
      and identity.kind = 'anonymous'
  );
end;

comment on function track._with_siblings(bigint[]) is $$
Returns the given identities, and the other identities of the same browsers.
A transaction that moves one of them locks all of them, so that a transaction that stores data for one locks only it.
$$;
--! EndIncluded track/identities/_with_siblings.sql

--! Included track/identities/_lock_people.sql
/*
 * A person is a connected component of identities. Its key is that of its oldest user identity, or else of its oldest
 * identity. The key therefore shows whether the person has a user, and two people that are merged keep the first of
 * their keys. Adding a link does not have to follow the existing links; only `track.unlink_identities` does.
 *
 * To avoid deadlocks, locks are taken in this order, all of one kind in one statement: rows of `track.person` for
 * update, by transactions that link or unlink; rows of `track.identity`, for update by transactions that move them,
 * and for key share by transactions that store data for them.
 */
create or replace function track._lock_people(identity_ids bigint[])
returns void
language plpgsql
volatile
-- A definer: locking rows of track.person requires the privilege to update them.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
-- The statistics of a new database are those of empty tables.
set enable_seqscan to off
as $$
declare
  v_people bigint[];
  v_locked int;
begin
  for attempt in 1 .. 1000 loop
    begin
      v_people := array(
        select distinct identity.person_id
        from track.identity
        where identity.identity_id = any ((select track._with_siblings(_lock_people.identity_ids))::bigint[])
        order by identity.person_id
      );
      perform person.person_id
      from track.person
      where person.person_id = any (v_people)
      order by person.person_id
      for update;
      get diagnostics v_locked = row_count;
      -- All of them, because a person that was merged and split again in the meantime has another row.
      if v_locked = cardinality(v_people) and v_people = array(
        select distinct identity.person_id
        from track.identity
        where identity.identity_id = any ((select track._with_siblings(_lock_people.identity_ids))::bigint[])
        order by identity.person_id
      ) then
        return;
      end if;
      perform common.refuse('CF099', 'the identities were moved to other people concurrently');
    exception
      -- The error releases the locks; otherwise the next attempt could cause a deadlock.
      when sqlstate 'CF099' then null;
    end;
  end loop;
  perform common.refuse(
    'serialization_failure', 'the identities were moved to other people concurrently', 'Try again.'
  );
end;
$$;

comment on function track._lock_people(bigint[]) is $$
Locks the people of the given identities, and those of the other identities of the same browsers.
Until the transaction ends, no other transaction links or unlinks an identity of these people.
$$;
--! EndIncluded track/identities/_lock_people.sql

--! Included track/identities/_move_identities.sql
create or replace function track._move_identities(identity_ids bigint[], old_people bigint[], new_people bigint[])
returns void
language plpgsql
volatile
-- A definer: it moves the data of people between tables that no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_period tstzrange;
  v_touched bigint[];
begin
  insert into track.person (person_id, created_at)
  select distinct identity.identity_id, identity.created_at
  from unnest(_move_identities.new_people) as moved (person_id)
  join track.identity on identity.identity_id = moved.person_id
  on conflict (person_id) do nothing;

  update track.identity
  set person_id = moved.new_person_id
  from unnest(_move_identities.identity_ids, _move_identities.new_people) as moved (identity_id, new_person_id)
  where identity.identity_id = moved.identity_id;

  -- Each event of a person is in a session, in the period of the automatic events, or in a period that is queued for
  -- the refresh. For most browsers these are a few days; a new one has none. The periods are rounded to months. The
  -- months between them are not read, since they contain no event. Infinite periods are left out: `track.rebuild`
  -- queues them, and adds no event.
  for v_period in
    select unnest(range_agg(tstzrange(
      date_trunc('month', period.since at time zone 'UTC') at time zone 'UTC',
      (date_trunc('month', period.until at time zone 'UTC') + interval '1 month') at time zone 'UTC'
    )))
    from (
      select stale.since, stale.until
      from track.stale
      where stale.person_id = any (_move_identities.old_people)
        and isfinite(stale.since)
        and isfinite(stale.until)
      union all
      select session.started_at, session.ended_at
      from track.session
      where session.person_id = any (_move_identities.old_people)
      union all
      select automatic_period.since, automatic_period.until
      from track.automatic_period
      where automatic_period.person_id = any (_move_identities.old_people)
    ) as period
  loop
    -- Rows are moved by delete and insert, because the person is the distribution column. The statement is planned for
    -- each execution, so that only the partitions of these months are planned for, locked and read.
    execute $statement$
      with deleted as (
        delete from track.event
        using unnest($1, $2, $3) as moved (identity_id, old_person_id, new_person_id)
        where event.person_id = moved.old_person_id
          and event.identity_id = moved.identity_id
          and event.occurred_at >= $4
          and event.occurred_at < $5
        returning moved.old_person_id, moved.new_person_id, event.*
      ),

      placed as (
        insert into track.event (
          person_id, occurred_at, event_id, identity_id, event_type_id, item_id, received_at, source_id, properties,
          client_at
        )
        select
          new_person_id, occurred_at, event_id, identity_id, event_type_id, item_id, received_at, source_id, properties,
          client_at
        from deleted
      )

      insert into track.stale (person_id, since, until)
      select old_person_id, min(occurred_at), max(occurred_at)
      from deleted
      group by old_person_id, date_trunc('month', occurred_at, 'UTC')
      union all
      select new_person_id, min(occurred_at), max(occurred_at)
      from deleted
      group by new_person_id, date_trunc('month', occurred_at, 'UTC')
    $statement$
    using
      _move_identities.identity_ids, _move_identities.old_people, _move_identities.new_people,
      lower(v_period), upper(v_period);
  end loop;

  with deleted as (
    delete from track.trait
    using unnest(_move_identities.identity_ids, _move_identities.old_people, _move_identities.new_people)
      as moved (identity_id, old_person_id, new_person_id)
    where trait.person_id = moved.old_person_id
      and trait.identity_id = moved.identity_id
    returning moved.new_person_id, trait.*
  )
  insert into track.trait (person_id, identity_id, name, value, set_at)
  select new_person_id, identity_id, name, value, set_at
  from deleted;

  with deleted as (
    delete from track.enrolment
    using unnest(_move_identities.identity_ids, _move_identities.old_people, _move_identities.new_people)
      as moved (identity_id, old_person_id, new_person_id)
    where enrolment.person_id = moved.old_person_id
      and enrolment.identity_id = moved.identity_id
    returning moved.old_person_id, moved.new_person_id, enrolment.*
  ),

  placed as (
    insert into track.enrolment (person_id, item_id, status, enrolled_at, ended_at, identity_id)
    select new_person_id, item_id, status, enrolled_at, ended_at, identity_id
    from deleted
  )

  select array_agg(old_person_id) || array_agg(new_person_id)
  into v_touched
  from deleted;
  perform track._enqueue('enrolment', array(select distinct person_id from unnest(v_touched) as person_id));

  perform privacy.move_decisions(
    _move_identities.identity_ids, _move_identities.old_people, _move_identities.new_people
  );

  perform track._enqueue('identity', array(
    select distinct moved.person_id
    from unnest(_move_identities.old_people || _move_identities.new_people) as moved (person_id)
  ));

  delete from track.person
  where person.person_id = any (_move_identities.old_people)
    and not exists (select from track.identity where identity.person_id = person.person_id);
end;
$$;

comment on function track._move_identities(bigint[], bigint[], bigint[]) is $$
Moves identities and their data, each from its old person to its new one; the three lists have the same length.
The cost is proportional to the data of the old people. Months without events of them are neither read nor locked.
The caller has locked the people and the identities.
$$;
--! EndIncluded track/identities/_move_identities.sql

--! Included track/identities/_browser_identity.sql
create or replace function track._browser_identity(external_id text, occurred_at timestamptz)
returns bigint
language sql
stable
parallel safe
begin atomic
  select coalesce(
    (
      select browser.identity_id
      from track.identity as browser
      join track.identity as person on person.identity_id = browser.user_identity_id
      cross join lateral (
        select link.linked_at
        from track.identity_link as link
        where link.identity_id = browser.identity_id
          and link.linked_identity_id = browser.user_identity_id
          and link.linked_at <= _browser_identity.occurred_at
          and link.kind <> 'claim'
          and link.unlinked_at is null
        order by link.linked_at desc
        limit 1
      ) as latest
      where browser.external_id = _browser_identity.external_id
        and browser.kind = 'anonymous'
      order by latest.linked_at desc, person.external_id desc
      limit 1
    ),
    (
      select browser.identity_id
      from track.identity as browser
      where browser.external_id = _browser_identity.external_id
        and browser.kind = 'anonymous'
        and browser.user_identity_id is null
    ),
    (
      select browser.identity_id
      from track.identity as browser
      join track.identity as person on person.identity_id = browser.user_identity_id
      cross join lateral (
        select link.linked_at
        from track.identity_link as link
        where link.identity_id = browser.identity_id
          and link.linked_identity_id = browser.user_identity_id
          and link.kind <> 'claim'
          and link.unlinked_at is null
        order by link.linked_at
        limit 1
      ) as earliest
      where browser.external_id = _browser_identity.external_id
        and browser.kind = 'anonymous'
      order by earliest.linked_at, person.external_id
      limit 1
    )
  );
end;

comment on function track._browser_identity(text, timestamptz) is $$
Returns the identity of a browser at a time: that of the user who identified on it last, or else of the first one.
Null for an unknown `anonymousId`.
$$;
--! EndIncluded track/identities/_browser_identity.sql

--! Included track/identities/_browser_spans.sql
create or replace function track._browser_spans(external_id text)
returns table (identity_id bigint, linked_at timestamptz, since timestamptz, until timestamptz)
language sql
stable
parallel safe
begin atomic
  select
    fact.identity_id,
    fact.linked_at,
    case when row_number() over in_order = 1 then '-infinity' else fact.linked_at end,
    coalesce(lead(fact.linked_at) over in_order, 'infinity')
  from (
    select
      browser.identity_id, coalesce(link.linked_at, '-infinity') as linked_at,
      coalesce(person.external_id, '') as person
    from track.identity as browser
    left join track.identity_link as link
      on link.identity_id = browser.identity_id
      and link.linked_identity_id = browser.user_identity_id
      and link.kind <> 'claim'
      and link.unlinked_at is null
    left join track.identity as person on person.identity_id = link.linked_identity_id
    where browser.external_id = _browser_spans.external_id
      and browser.kind = 'anonymous'
      and (link.linked_at is not null or browser.user_identity_id is null)
  ) as fact
  window in_order as (order by fact.linked_at, fact.person);
end;

comment on function track._browser_spans(text) is $$
Returns the periods of a browser with their identities: one row per link to a user, `until` exclusive.
The first period reaches back to the first event. `track._browser_identity` returns the identity at one time.
$$;
--! EndIncluded track/identities/_browser_spans.sql

--! Included track/identities/_keep_latest_traits.sql
create or replace function track._keep_latest_traits(identity_ids bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_people bigint[];
  v_identities bigint[];
  v_names text[];
begin
  -- Two statements, because the identities of a browser may be on several servers.
  with sibling as materialized (
    select distinct sibling.external_id, sibling.person_id, sibling.identity_id
    from track.identity
    join track.identity as sibling on sibling.external_id = identity.external_id and sibling.kind = 'anonymous'
    where identity.identity_id = any (_keep_latest_traits.identity_ids)
      and identity.kind = 'anonymous'
  ),

  ranked as (
    select
      trait.person_id, trait.identity_id, trait.name,
      row_number() over (
        partition by sibling.external_id, trait.name
        order by trait.set_at desc, trait.value desc, trait.identity_id
      ) as place
    from sibling
    join track.trait on trait.person_id = sibling.person_id and trait.identity_id = sibling.identity_id
  )

  select array_agg(person_id), array_agg(identity_id), array_agg(name)
  into v_people, v_identities, v_names
  from ranked
  where place > 1;

  delete from track.trait
  using unnest(v_people, v_identities, v_names) as older (person_id, identity_id, name)
  where trait.person_id = older.person_id
    and trait.identity_id = older.identity_id
    and trait.name = older.name;
end;
$$;

comment on function track._keep_latest_traits(bigint[]) is $$
Deletes traits of browsers that a later message of the same browser replaced, also when another user had it by then.
The result therefore does not depend on whether the traits or the links arrived first.
$$;
--! EndIncluded track/identities/_keep_latest_traits.sql

--! Included track/identities/_move_spans.sql
create or replace function track._move_spans(
  identity_ids bigint[],
  new_identity_ids bigint[],
  since timestamptz[],
  until timestamptz[]
)
returns void
language plpgsql
volatile
-- A definer: it moves the data of people between tables that no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_old bigint[];
  v_new bigint[];
  v_since timestamptz;
  v_until timestamptz;
begin
  select
    array_agg(identity.person_id order by span.position),
    array_agg(new_identity.person_id order by span.position)
  into v_old, v_new
  from unnest(_move_spans.identity_ids, _move_spans.new_identity_ids) with ordinality
    as span (identity_id, new_identity_id, position)
  join track.identity on identity.identity_id = span.identity_id
  join track.identity as new_identity on new_identity.identity_id = span.new_identity_id;

  -- Each event of a person is in a session, in the period of the automatic events, or in a period that is queued for
  -- the refresh.
  select min(greatest(period.since, span.since)), max(least(period.until, span.until))
  into v_since, v_until
  from unnest(v_old, _move_spans.since, _move_spans.until) as span (person_id, since, until)
  join (
    select stale.person_id, stale.since, stale.until
    from track.stale
    where stale.person_id = any (v_old)
    union all
    select session.person_id, session.started_at, session.ended_at
    from track.session
    where session.person_id = any (v_old)
    union all
    select automatic_period.person_id, automatic_period.since, automatic_period.until
    from track.automatic_period
    where automatic_period.person_id = any (v_old)
  ) as period
    on period.person_id = span.person_id
    and period.since < span.until
    and period.until >= span.since;

  -- Rows are moved by delete and insert, because the person is the distribution column. The statement is planned for
  -- each execution, so that only the partitions of the period are read.
  if v_since is not null then
    execute $statement$
      with deleted as (
        delete from track.event
        using unnest($1, $2, $3, $4, $5, $6)
          as span (identity_id, new_identity_id, old_person_id, new_person_id, since, until)
        where event.person_id = span.old_person_id
          and event.identity_id = span.identity_id
          and event.occurred_at >= span.since
          and event.occurred_at < span.until
          and event.occurred_at between $7 and $8
        returning span.old_person_id, span.new_person_id, span.new_identity_id, event.*
      ),

      placed as (
        insert into track.event (
          person_id, occurred_at, event_id, identity_id, event_type_id, item_id, received_at, source_id, properties,
          client_at
        )
        select
          new_person_id, occurred_at, event_id, new_identity_id, event_type_id, item_id, received_at, source_id,
          properties, client_at
        from deleted
      )

      insert into track.stale (person_id, since, until)
      select old_person_id, min(occurred_at), max(occurred_at)
      from deleted
      group by old_person_id
      union all
      select new_person_id, min(occurred_at), max(occurred_at)
      from deleted
      group by new_person_id
    $statement$
    using
      _move_spans.identity_ids, _move_spans.new_identity_ids, v_old, v_new, _move_spans.since, _move_spans.until,
      v_since, v_until;
  end if;

  with deleted as (
    delete from track.trait
    using unnest(
      _move_spans.identity_ids, _move_spans.new_identity_ids, v_old, v_new, _move_spans.since, _move_spans.until
    ) as span (identity_id, new_identity_id, old_person_id, new_person_id, since, until)
    where trait.person_id = span.old_person_id
      and trait.identity_id = span.identity_id
      and trait.set_at >= span.since
      and trait.set_at < span.until
    returning span.new_person_id, span.new_identity_id, trait.*
  )
  insert into track.trait (person_id, identity_id, name, value, set_at)
  select distinct on (new_identity_id, name) new_person_id, new_identity_id, name, value, set_at
  from deleted
  order by new_identity_id, name, set_at desc, value desc
  on conflict (person_id, identity_id, name) do update
  set value = excluded.value, set_at = excluded.set_at
  where (trait.set_at, trait.value) < (excluded.set_at, excluded.value);
  perform track._keep_latest_traits(_move_spans.new_identity_ids);

  perform privacy.move_decisions(
    _move_spans.identity_ids, v_old, v_new, _move_spans.new_identity_ids, _move_spans.since, _move_spans.until
  );
end;
$$;

comment on function track._move_spans(bigint[], bigint[], timestamptz[], timestamptz[]) is $$
Moves what browsers sent in the given periods (`until` exclusive) from one identity to another of the same browser.
The cost is proportional to the data of the periods. The caller has locked the people and the identities.
$$;
--! EndIncluded track/identities/_move_spans.sql

--! Included track/identities/_is_linked.sql
create or replace function track._is_linked(identity_id bigint, linked_identity_id bigint, linked_at timestamptz)
returns boolean
language sql
stable
parallel safe
begin atomic
  select exists (
    select
    from track.identity as one
    join track.identity as sibling on sibling.external_id = one.external_id and sibling.kind = one.kind
    join track.identity_link as link on link.identity_id = sibling.identity_id
    where one.identity_id = _is_linked.identity_id
      and link.linked_identity_id = _is_linked.linked_identity_id
      and link.unlinked_at >= _is_linked.linked_at
      and link.kind <> 'claim'
  ) or exists (
    select
    from track.identity as one
    join track.identity as other on other.identity_id = _is_linked.linked_identity_id
    join track.identity as sibling on sibling.external_id = one.external_id and sibling.kind = one.kind
    join track.identity_link as link
      on link.identity_id = sibling.identity_id
      and link.linked_identity_id = other.identity_id
    where one.identity_id = _is_linked.identity_id
      and link.unlinked_at is null
      and link.kind <> 'claim'
      -- A browser keeps each link to a user, because another user may have identified between two of them.
      and (link.linked_at = _is_linked.linked_at or one.kind <> 'anonymous' or other.kind <> 'user')
  );
end;

comment on function track._is_linked(bigint, bigint, timestamptz) is $$
Returns whether a link between two identities already exists, or was removed after the given time.
For a link of a browser to a user, whether one of this time exists.
$$;
--! EndIncluded track/identities/_is_linked.sql

--! Included track/identities/_link_people.sql
create or replace function track._enter_browsers(browsers text[], users bigint[], linked_at timestamptz[])
returns table (browser text, user_identity_id bigint, identity_id bigint)
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
-- The statistics of a new database are those of empty tables.
set enable_seqscan to off
as $$
begin
  return query
  with pair as (
    select said.external_id, said.user_id, min(said.linked_at) as linked_at
    from unnest(_enter_browsers.browsers, _enter_browsers.users, _enter_browsers.linked_at)
      as said (external_id, user_id, linked_at)
    group by said.external_id, said.user_id
  ),

  found as materialized (
    select
      pair.external_id, pair.user_id, own.identity_id as own_id,
      row_number() over (partition by pair.external_id, own.identity_id is null order by pair.linked_at, pair.user_id)
        as place
    from pair
    left join track.identity as own
      on own.external_id = pair.external_id
      and own.kind = 'anonymous'
      and own.user_identity_id = pair.user_id
  ),

  placed as materialized (
    select
      free.external_id, free.user_id, free.identity_id is null as is_new,
      coalesce(free.identity_id, nextval('track.identity_identity_id_seq')) as identity_id
    from (
      select
        found.external_id, found.user_id,
        case
          when found.own_id is not null then found.own_id
          -- The identity of a browser without a user becomes that of its first one, unless it belongs to another person
          -- by a link to another browser.
          when found.place = 1 then (
            select browser.identity_id
            from track.identity as browser
            where browser.external_id = found.external_id
              and browser.kind = 'anonymous'
              and browser.user_identity_id is null
              and (
                (select key.kind from track.identity as key where key.identity_id = browser.person_id) <> 'user'
                or browser.person_id = (
                  select person.person_id from track.identity as person where person.identity_id = found.user_id
                )
              )
          )
        end as identity_id
      from found
    ) as free
  ),

  entered as (
    insert into track.identity (identity_id, kind, external_id, person_id, user_identity_id, branch, browser)
    overriding system value
    select
      placed.identity_id, 'anonymous', placed.external_id, placed.identity_id, placed.user_id, placed.identity_id,
      (
        select other.browser
        from track.identity as other
        where other.external_id = placed.external_id and other.kind = 'anonymous'
        limit 1
      )
    from placed
    where placed.is_new
    returning track.identity.person_id
  ),

  people as (
    insert into track.person (person_id)
    select entered.person_id
    from entered
  )

  select placed.external_id, placed.user_id, placed.identity_id
  from placed;
end;
$$;

comment on function track._enter_browsers(text[], bigint[], timestamptz[]) is $$
Returns the identity of each browser and user; new ones are inserted. The caller has locked the people.
$$;

create or replace function track._move_to_users(identity_ids bigint[], linked_at timestamptz[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
-- The statistics of a new database are those of empty tables.
set enable_seqscan to off
as $$
declare
  -- Browsers that several people have used.
  v_shared text[];
  v_froms bigint[];
  v_tos bigint[];
  v_since timestamptz[];
  v_until timestamptz[];
begin
  v_shared := array(
    select distinct sibling.external_id
    from track.identity
    join track.identity as sibling on sibling.external_id = identity.external_id and sibling.kind = 'anonymous'
    where identity.identity_id = any (_move_to_users.identity_ids)
      and identity.kind = 'anonymous'
      and sibling.branch <> 0
  );
  if v_shared = '{}' then
    return;
  end if;

  -- A new link changes the user from its time to the next link; the first one also before.
  with span as materialized (
    select shared.external_id, browser.*
    from unnest(v_shared) as shared (external_id)
    cross join lateral track._browser_spans(shared.external_id) as browser
  ),

  changed as materialized (
    select distinct span.external_id, span.identity_id, span.since, span.until
    from unnest(_move_to_users.identity_ids, _move_to_users.linked_at) as link (identity_id, linked_at)
    join span on span.identity_id = link.identity_id and span.linked_at = link.linked_at
  )

  select
    array_agg(other.identity_id), array_agg(changed.identity_id), array_agg(changed.since), array_agg(changed.until)
  into v_froms, v_tos, v_since, v_until
  from changed
  join track.identity as other
    on other.external_id = changed.external_id
    and other.kind = 'anonymous'
    and other.identity_id <> changed.identity_id;

  if v_froms is not null then
    perform track._move_spans(v_froms, v_tos, v_since, v_until);
  end if;
end;
$$;

comment on function track._move_to_users(bigint[], timestamptz[]) is $$
After new links of browsers to users: moves what the browsers sent to the identities of the users.
$$;

create or replace function track._link_people(
  identity_ids bigint[],
  linked_identity_ids bigint[],
  kinds text[],
  linked_at timestamptz[],
  also_locked bigint[] default '{}'
)
returns int
language plpgsql
volatile
-- A definer: it writes track.identity_link, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
-- The statistics of a new database are those of empty tables.
set enable_seqscan to off
as $$
declare
  -- For each new link, in order: its ends, kind and time. For a browser, the first end is its identity for the user.
  v_froms bigint[];
  v_tos bigint[];
  v_kinds text[];
  v_times timestamptz[];
  v_browsers text[];
  v_all bigint[];
  -- The people of the ends: first those with a user identity, each group by age. The variables below refer to a person
  -- by its position in this array.
  v_people bigint[];
  v_from_places int[];
  v_to_places int[];
  -- A disjoint-set forest: for each person another one that it is joined to, or itself. The root gives the key.
  v_joined int[];
  v_from int;
  v_to int;
  v_moved bigint[];
  v_old bigint[];
  v_new bigint[];
begin
  perform track._lock_people(_link_people.identity_ids || _link_people.linked_identity_ids);

  with said as materialized (
    -- A browser keeps each link to a user, because another user may have identified between two of them.
    select distinct on (
      link.identity_id, link.linked_identity_id,
      case when browser.kind = 'anonymous' and linked.kind = 'user' then link.linked_at end
    )
      link.position, link.identity_id, link.linked_identity_id, link.kind, link.linked_at,
      case when browser.kind = 'anonymous' and linked.kind = 'user' then browser.external_id end as browser
    from unnest(_link_people.identity_ids, _link_people.linked_identity_ids, _link_people.kinds, _link_people.linked_at)
      with ordinality as link (identity_id, linked_identity_id, kind, linked_at, position)
    join track.identity as browser on browser.identity_id = link.identity_id
    join track.identity as linked on linked.identity_id = link.linked_identity_id
    where not track._is_linked(link.identity_id, link.linked_identity_id, link.linked_at)
    order by
      link.identity_id, link.linked_identity_id,
      case when browser.kind = 'anonymous' and linked.kind = 'user' then link.linked_at end,
      link.position
  ),

  entered as (
    select entered.*
    from (
      select array_agg(browser) as browsers, array_agg(linked_identity_id) as users, array_agg(said.linked_at) as times
      from said
      where browser is not null
    ) as pair
    cross join lateral track._enter_browsers(pair.browsers, pair.users, pair.times) as entered
  )

  select
    array_agg(coalesce(entered.identity_id, said.identity_id) order by said.position),
    array_agg(said.linked_identity_id order by said.position),
    array_agg(said.kind order by said.position),
    array_agg(said.linked_at order by said.position),
    array_agg(said.browser order by said.position)
  into v_froms, v_tos, v_kinds, v_times, v_browsers
  from said
  left join entered on entered.browser = said.browser and entered.user_identity_id = said.linked_identity_id;

  if v_froms is null then
    return 0;
  end if;

  with person as materialized (
    select
      person.person_id,
      row_number() over (order by person.is_user desc, person.person_id)::int as place
    from (
      select distinct identity.person_id, name.kind = 'user' as is_user
      from track.identity
      join track.identity as name on name.identity_id = identity.person_id
      where identity.identity_id = any (v_froms || v_tos)
    ) as person
  )

  select
    array(select person.person_id from person order by person.place),
    array_agg(from_person.place order by link.position),
    array_agg(to_person.place order by link.position)
  into v_people, v_from_places, v_to_places
  from unnest(v_froms, v_tos) with ordinality as link (from_id, to_id, position)
  join track.identity as from_identity on from_identity.identity_id = link.from_id
  join track.identity as to_identity on to_identity.identity_id = link.to_id
  join person as from_person on from_person.person_id = from_identity.person_id
  join person as to_person on to_person.person_id = to_identity.person_id;

  v_joined := array(select generate_series(1, cardinality(v_people)));
  for i in 1 .. cardinality(v_froms) loop
    v_from := v_from_places[i];
    while v_joined[v_from] <> v_from loop
      v_joined[v_from] := v_joined[v_joined[v_from]];
      v_from := v_joined[v_from];
    end loop;
    v_to := v_to_places[i];
    while v_joined[v_to] <> v_to loop
      v_joined[v_to] := v_joined[v_joined[v_to]];
      v_to := v_joined[v_to];
    end loop;
    v_joined[greatest(v_from, v_to)] := least(v_from, v_to);
  end loop;

  -- A person is never joined to a later one, so that one pass in order leads from each person to its root.
  for i in 1 .. cardinality(v_people) loop
    v_joined[i] := v_joined[v_joined[i]];
  end loop;

  select
    array_agg(identity.identity_id),
    array_agg(identity.person_id),
    array_agg(joined.person_id)
  into v_moved, v_old, v_new
  from unnest(v_people, v_joined) with ordinality as person (person_id, joined, place)
  join unnest(v_people) with ordinality as joined (person_id, place) on joined.place = person.joined
  join track.identity on identity.person_id = person.person_id
  where person.joined <> person.place;

  -- Blocks transactions that store data for these identities.
  v_all := track._with_siblings(v_froms || v_tos || v_moved || _link_people.also_locked);
  perform identity.identity_id
  from track.identity
  where identity.identity_id = any (v_all)
  order by identity.identity_id
  for update;

  update track.identity
  set user_identity_id = link.to_id
  from unnest(v_froms, v_tos, v_browsers) as link (from_id, to_id, browser)
  where identity.identity_id = link.from_id
    and identity.user_identity_id is null
    and link.browser is not null;

  insert into track.identity_link (identity_id, linked_identity_id, kind, linked_at)
  select link.from_id, link.to_id, link.kind, link.linked_at
  from unnest(v_froms, v_tos, v_kinds, v_times) as link (from_id, to_id, kind, linked_at)
  on conflict on constraint identity_link_pkey do update
  set kind = excluded.kind, unlinked_at = null;

  if v_moved is not null then
    perform track._move_identities(v_moved, v_old, v_new);
  end if;
  perform track._move_to_users(v_froms, v_times);
  return cardinality(v_froms);
end;
$$;

comment on function track._link_people(bigint[], bigint[], text[], timestamptz[], bigint[]) is $$
Links identities in the order of the lists, then moves their data once. Returns the number of new links.
A link of a browser to a user applies from its time to the next link of the browser; the first one also before. A link
is skipped when it exists, or when it was removed at a later time. The lists have the same length.
`also_locked`: further identities for which the caller stores data, and which are locked together with these.
$$;
--! EndIncluded track/identities/_link_people.sql

--! Included track/identities/_named_identity.sql
create or replace function track._named_identity(name text, at timestamptz)
returns bigint
language sql
stable
parallel safe
begin atomic
  select coalesce(
    (
      select identity.identity_id
      from track.identity
      where identity.external_id = _named_identity.name
        and identity.kind = 'user'
    ),
    track._browser_identity(_named_identity.name, _named_identity.at)
  );
end;

comment on function track._named_identity(text, timestamptz) is $$
Returns the identity of a `userId`, or else the one that a browser has at a time; null for an unknown name.
$$;
--! EndIncluded track/identities/_named_identity.sql

--! Included track/identities/link_identities.sql
create or replace function track.link_identities(person text, other text)
returns boolean
language plpgsql
volatile
-- A definer: it merges people and moves data between tables that no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_now constant timestamptz := clock_timestamp();
  v_person_id constant bigint := track._named_identity(link_identities.person, v_now);
  v_other_id constant bigint := track._named_identity(link_identities.other, v_now);
  v_ids bigint[] := array[v_other_id, v_person_id];
begin
  if v_person_id is null or v_other_id is null then
    perform common.refuse(
      'CF002',
      format(
        'there is no person "%s"',
        left(case when v_person_id is null then link_identities.person else link_identities.other end, 100)
      ),
      'Give the userId or anonymousId that was sent with events.'
    );
  end if;
  if v_person_id = v_other_id then
    perform common.refuse('CF001', format('"%s" would be linked to itself', left(link_identities.person, 100)),
      'Give two different names.');
  end if;
  -- A browser is linked to its user, whichever of the two is named first.
  if (select kind from track.identity where identity_id = v_person_id) = 'anonymous' then
    v_ids := array[v_person_id, v_other_id];
  end if;
  if (select user_identity_id from track.identity where identity_id = v_ids[1]) = v_ids[2] then
    return false;
  end if;
  return track._link_people(v_ids[1:1], v_ids[2:2], array['alias'], array[v_now]) > 0;
end;
$$;

comment on function track.link_identities(text, text) is $$
Links two names to one person: the past and future events of `other` belong to `person`. False when already linked.
A browser that another user has used is linked from now on: its past stays with that user.
`track.unlink_identities` removes the link. Errors: CF002 for an unknown name, CF001 when both names are the same.
$$;

grant execute on function track.link_identities(text, text) to insights_admin;
--! EndIncluded track/identities/link_identities.sql

--! Included track/identities/unlink_identities.sql
create or replace function track._resolve_people(identity_ids bigint[])
returns void
language plpgsql
volatile
-- A definer: it moves the data of people between tables that no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_moved bigint[];
  v_old bigint[];
  v_new bigint[];
begin
  with recursive reached (start_id, identity_id) as (
    select identity_id, identity_id
    from unnest(_resolve_people.identity_ids) as identity_id

    union

    select reached.start_id, other.identity_id
    from reached
    cross join lateral (
      select linked_identity_id
      from track.identity_link
      where identity_link.identity_id = reached.identity_id
        and kind <> 'claim'
        and unlinked_at is null
      union all
      select identity_link.identity_id
      from track.identity_link
      where linked_identity_id = reached.identity_id
        and kind <> 'claim'
        and unlinked_at is null
    ) as other (identity_id)
  ),

  named as (
    select distinct on (identity.identity_id)
      identity.identity_id,
      identity.person_id as old_person_id,
      first_value(identity.identity_id) over (
        partition by reached.start_id
        order by identity.kind = 'user' desc, identity.identity_id
      ) as new_person_id
    from reached
    join track.identity using (identity_id)
    order by identity.identity_id
  )

  select array_agg(identity_id), array_agg(old_person_id), array_agg(new_person_id)
  into v_moved, v_old, v_new
  from named
  where old_person_id <> new_person_id;

  if v_moved is not null then
    perform track._move_identities(v_moved, v_old, v_new);
  end if;
end;
$$;

comment on function track._resolve_people(bigint[]) is $$
Follows the links of the given identities, and moves each identity that belongs to another person now.
The caller has locked the people and the identities.
$$;

create or replace function track._give_back_browsers(identity_ids bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_froms bigint[];
  v_tos bigint[];
  v_since timestamptz[];
  v_until timestamptz[];
begin
  with gone as (
    select distinct identity.identity_id, identity.external_id
    from track.identity
    where identity.identity_id = any (_give_back_browsers.identity_ids)
      and identity.kind = 'anonymous'
      and identity.user_identity_id is not null
      and not exists (
        select
        from track.identity_link as link
        where link.identity_id = identity.identity_id
          and link.linked_identity_id = identity.user_identity_id
          and link.kind <> 'claim'
          and link.unlinked_at is null
      )
  ),

  span as materialized (
    select gone.identity_id as old_identity_id, browser.*
    from gone
    left join lateral track._browser_spans(gone.external_id) as browser on true
  ),

  freed as (
    update track.identity
    set user_identity_id = null
    from span
    where identity.identity_id = span.old_identity_id
      and span.identity_id is null
  )

  select array_agg(old_identity_id), array_agg(identity_id), array_agg(since), array_agg(until)
  into v_froms, v_tos, v_since, v_until
  from span
  where identity_id is not null;

  if v_froms is not null then
    perform track._move_spans(v_froms, v_tos, v_since, v_until);
  end if;
end;
$$;

comment on function track._give_back_browsers(bigint[]) is $$
After links of browsers to users were removed: what they sent belongs to the other users of the browser, or to none.
$$;

create or replace function track._delete_empty_browsers(identity_ids bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_empty bigint[];
  v_names text[];
begin
  v_empty := array(
    select identity.identity_id
    from track.identity
    where identity.identity_id = any (_delete_empty_browsers.identity_ids)
      and identity.kind = 'anonymous'
      and identity.user_identity_id is not null
      and not exists (
        select
        from track.identity_link as link
        where identity.identity_id in (link.identity_id, link.linked_identity_id)
          and link.kind <> 'claim'
          and link.unlinked_at is null
      )
      -- Lists of people name identities.
      and not exists (select from track.exclusion where exclusion.identity_id = identity.identity_id)
      and not exists (select from track.person_set_member as listed where listed.identity_id = identity.identity_id)
  );

  -- Removed links are kept, so that an older message does not link again. Not by delete and insert, which would lock
  -- the other ends.
  with moved as (
    select
      link.identity_id, link.linked_identity_id, link.linked_at,
      (
        select sibling.identity_id
        from track.identity as sibling
        where sibling.external_id = identity.external_id
          and sibling.kind = 'anonymous'
          and sibling.identity_id <> all (v_empty)
        order by sibling.identity_id
        limit 1
      ) as new_identity_id
    from track.identity_link as link
    join track.identity on identity.identity_id = link.identity_id
    where link.identity_id = any (v_empty)
  )
  update track.identity_link
  set identity_id = moved.new_identity_id
  from moved
  where (identity_link.identity_id, identity_link.linked_identity_id, identity_link.linked_at)
      = (moved.identity_id, moved.linked_identity_id, moved.linked_at)
    and not exists (
      select
      from track.identity_link as other
      where (other.identity_id, other.linked_identity_id, other.linked_at)
        = (moved.new_identity_id, moved.linked_identity_id, moved.linked_at)
    );
  delete from track.identity_link
  where identity_link.identity_id = any (v_empty)
    or identity_link.linked_identity_id = any (v_empty);

  with deleted as (
    delete from track.identity
    where identity.identity_id = any (v_empty)
    returning identity.external_id, identity.branch
  )
  select array_agg(deleted.external_id) into v_names
  from deleted
  where deleted.branch = 0;
  -- Each name has a first identity.
  update track.identity
  set branch = 0
  where identity.identity_id in (
    select min(sibling.identity_id)
    from track.identity as sibling
    where sibling.external_id = any (v_names)
      and sibling.kind = 'anonymous'
    group by sibling.external_id
  );
  delete from track.person
  where person.person_id = any (v_empty);
end;
$$;

comment on function track._delete_empty_browsers(bigint[]) is $$
Deletes identities of browsers for users without an active link. `track._give_back_browsers` has moved their data.
$$;

create or replace function track.unlink_identities(person text, other text)
returns boolean
language plpgsql
volatile
-- A definer: it splits a person and moves data between tables that no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_names constant bigint[] := track._with_siblings(array(
    select identity_id
    from track.identity
    where external_id in (unlink_identities.person, unlink_identities.other)
  ));
  v_all bigint[];
  v_ends bigint[];
begin
  perform track._lock_people(v_names);
  -- Blocks transactions that store data for these people.
  v_all := track._with_siblings(array(
    select identity.identity_id
    from track.identity
    where identity.person_id in (
      select named.person_id from track.identity as named where named.identity_id = any (v_names)
    )
  ));
  perform identity.identity_id
  from track.identity
  where identity.identity_id = any (v_all)
  order by identity.identity_id
  for update;

  with taken as (
    update track.identity_link
    set unlinked_at = clock_timestamp()
    from track.identity as identity, track.identity as linked
    where identity_link.identity_id = identity.identity_id
      and identity_link.linked_identity_id = linked.identity_id
      and identity_link.unlinked_at is null
      and (
        (identity.external_id, linked.external_id) = (unlink_identities.other, unlink_identities.person)
        or (identity.external_id, linked.external_id) = (unlink_identities.person, unlink_identities.other)
      )
    returning identity_link.identity_id, identity_link.linked_identity_id
  )
  select array_agg(identity_id) || array_agg(linked_identity_id) into v_ends
  from taken;

  if v_ends is null then
    perform common.refuse(
      'CF002',
      format('"%s" and "%s" are not linked', left(unlink_identities.person, 100), left(unlink_identities.other, 100)),
      'The active links are the rows of track.identity_link where unlinked_at is null.'
    );
  end if;

  perform track._give_back_browsers(v_ends);
  perform track._resolve_people(v_ends);
  perform track._delete_empty_browsers(v_ends);
  return true;
end;
$$;

comment on function track.unlink_identities(text, text) is $$
Removes a link between two names. Each event then belongs to the person of its own identity.
Errors: CF002 when the names are not linked.
$$;

grant execute on function track.unlink_identities(text, text) to insights_admin;
--! EndIncluded track/identities/unlink_identities.sql

--! Included track/ingest/source_id.sql
create or replace function track._source_id(name text, level text)
returns smallint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_source_id smallint := (
    select source.source_id
    from track.source
    where source.name = _source_id.name and source.level = _source_id.level
  );
begin
  if v_source_id is null then
    -- The program is the same at each level, but one of its servers may be automatic, and its clients are not.
    insert into track.source (name, level, heartbeat, path_rule, kept_parameters)
    select _source_id.name, _source_id.level, known.heartbeat, known.path_rule, known.kept_parameters
    from (select) as one
    left join (
      select source.heartbeat, source.path_rule, source.kept_parameters
      from track.source
      where source.name = _source_id.name
      order by source.source_id
      limit 1
    ) as known on true
    on conflict on constraint source_name_level_key do nothing;
    v_source_id := (
      select source.source_id
      from track.source
      where source.name = _source_id.name and source.level = _source_id.level
    );
  end if;
  return v_source_id;
end;
$$;

comment on function track._source_id(text, text) is $$
Returns the row of a source with a level, which is added when new.
A new level of a known name has its interval of heartbeats and its path rule.
$$;
--! EndIncluded track/ingest/source_id.sql

--! Included track/write_keys/_log_write_key.sql
create or replace function track._log_write_key(key_id int, action text, details jsonb default '{}')
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  insert into track.write_key_log (key_id, action, actor, details)
  values (
    _log_write_key.key_id,
    _log_write_key.action,
    coalesce(nullif(current_setting('insights.person', true), ''), session_user),
    _log_write_key.details
  );
end;
$$;

comment on function track._log_write_key(int, text, jsonb) is $$
Adds an entry to the log of the write keys, with the caller.
$$;
--! EndIncluded track/write_keys/_log_write_key.sql

--! Included track/write_keys/_check_write_key.sql
create or replace function track._check_write_key(
  scopes text[], origins text[], requests_per_minute int, expires_at timestamptz
)
returns void
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_wrong text;
begin
  v_wrong := (select scope from unnest(scopes) as scope where scope not in ('events', 'features') limit 1);
  if coalesce(scopes, '{}') = '{}' or v_wrong is not null or array_position(scopes, null) is not null then
    perform common.refuse(
      'CF001', format('the scope is "%s"', left(v_wrong, 100)), 'Give events, features, or both.'
    );
  end if;
  if cardinality(origins) > 100 then
    perform common.refuse('CF008', format('there are %s origins', cardinality(origins)), 'Give 100 at most.');
  end if;
  v_wrong := (
    select coalesce(origin, 'null')
    from unnest(origins) as origin
    where (origin ~ '^https?://[a-z0-9.-]{1,253}(:[0-9]{1,5})?$' or origin ~ '^https?://\[[0-9a-f:]+\](:[0-9]{1,5})?$')
      is not true
    limit 1
  );
  if v_wrong is not null or origins is null then
    perform common.refuse(
      'CF001',
      format('the origin is "%s"', left(v_wrong, 100)),
      'Give scheme, host in lower case and, unless it is the default, the port: https://campus.example'
    );
  end if;
  perform common.check_count('requests_per_minute', requests_per_minute, 1, 1000000);
  if expires_at <= now() then
    perform common.refuse(
      'CF001', format('the key would expire at %s', expires_at), 'Give a time in the future, or none.'
    );
  end if;
end;
$$;

comment on function track._check_write_key(text[], text[], int, timestamptz) is $$
Raises CF001 or CF008 for invalid properties of a write key.
$$;
--! EndIncluded track/write_keys/_check_write_key.sql

--! Included track/write_keys/_new_write_key.sql
create or replace function track._new_write_key(
  source_id smallint, scopes text[], origins text[], requests_per_minute int, expires_at timestamptz
)
returns track.new_write_key
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  -- 244 random bits, with a prefix by which scanners of source code find keys that were published.
  v_key constant text := 'cfi_' || replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', '');
  v_key_id int;
begin
  insert into track.write_key (source_id, key_hash, preview, scopes, origins, requests_per_minute, expires_at)
  values (
    _new_write_key.source_id, sha256(convert_to(v_key, 'UTF8')), left(v_key, 12), _new_write_key.scopes,
    _new_write_key.origins, _new_write_key.requests_per_minute, _new_write_key.expires_at
  )
  returning write_key.key_id into v_key_id;
  return (
    select row(v_key_id, v_key, source.name, source.level)::track.new_write_key
    from track.source
    where source.source_id = _new_write_key.source_id
  );
end;
$$;

comment on function track._new_write_key(smallint, text[], text[], int, timestamptz) is $$
Inserts a write key with a random value, and returns it.
$$;
--! EndIncluded track/write_keys/_new_write_key.sql

--! Included track/write_keys/_valid_write_key.sql
create or replace function track._valid_write_key(key_id int)
returns track.write_key
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_key track.write_key;
begin
  select *
  into v_key
  from track.write_key
  where write_key.key_id = _valid_write_key.key_id
  for update;
  if v_key.key_id is null then
    perform common.refuse(
      'CF002', format('there is no write key %s', coalesce(_valid_write_key.key_id::text, 'null')),
      'The keys are the rows of track.write_key.'
    );
  end if;
  if v_key.revoked_at is not null or v_key.expires_at <= statement_timestamp() then
    perform common.refuse(
      'CF001',
      format(
        'the write key %s (%s…) %s', v_key.key_id, v_key.preview,
        case when v_key.revoked_at is null then 'has expired' else 'is revoked' end
      ),
      'Create a new one: track.create_write_key.'
    );
  end if;
  return v_key;
end;
$$;

comment on function track._valid_write_key(int) is $$
Returns a write key, locked until the end of the transaction.
Raises CF002 for an unknown key, CF001 for one that is revoked or has expired.
$$;
--! EndIncluded track/write_keys/_valid_write_key.sql

--! Included track/write_keys/create_write_key.sql
create or replace function track.create_write_key(
  source text,
  level text default 'anonymous',
  scopes text[] default '{events}',
  origins text[] default '{}',
  requests_per_minute int default 6000,
  expires_at timestamptz default null
)
returns track.new_write_key
language plpgsql
volatile
-- A definer: no role may write track.write_key, whose hashes decide who may send messages.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
as $$
declare
  v_source_id smallint;
  v_new track.new_write_key;
begin
  if nullif(trim(create_write_key.source), '') is null or length(create_write_key.source) > 100 then
    perform common.refuse(
      'CF001', format('the source is "%s"', left(create_write_key.source, 100)),
      'Name the application, in 1 to 100 characters.'
    );
  end if;
  if create_write_key.level is null or create_write_key.level not in ('server', 'signed_in', 'anonymous') then
    perform common.refuse(
      'CF001', format('the level is "%s"', left(create_write_key.level, 100)),
      'Use anonymous or signed_in for browsers and apps, server for servers that keep the key secret.'
    );
  end if;
  perform track._check_write_key(
    create_write_key.scopes, create_write_key.origins, create_write_key.requests_per_minute, create_write_key.expires_at
  );

  v_source_id := track._source_id(create_write_key.source, create_write_key.level);
  v_new := track._new_write_key(
    v_source_id, create_write_key.scopes, create_write_key.origins, create_write_key.requests_per_minute,
    create_write_key.expires_at
  );
  perform track._log_write_key(
    v_new.key_id,
    'created',
    jsonb_build_object(
      'source', create_write_key.source, 'level', create_write_key.level, 'scopes', create_write_key.scopes,
      'origins', create_write_key.origins, 'requests_per_minute', create_write_key.requests_per_minute,
      'expires_at', create_write_key.expires_at
    )
  );
  return v_new;
end;
$$;

comment on function track.create_write_key(text, text, text[], text[], int, timestamptz) is $$
Creates a write key for a source, which is added when new, and returns the key: the only time that it can be read.
`level`: `server` for servers that keep the key secret; `signed_in` and `anonymous` for browsers and apps, whose keys
any user can read. With a key of level `signed_in`, a request still needs the token of a person to name her.
`scopes`: `events` (send messages), `features`. `origins`: the web origins that may use it; empty: any.
`requests_per_minute`: limit of each process of the API. Errors: CF001 and CF008 for invalid arguments.
$$;

grant execute on function track.create_write_key(text, text, text[], text[], int, timestamptz) to insights_admin;
--! EndIncluded track/write_keys/create_write_key.sql

--! Included track/write_keys/change_write_key.sql
create or replace function track.change_write_key(
  key_id int,
  scopes text[] default null,
  origins text[] default null,
  requests_per_minute int default null
)
returns track.write_key
language plpgsql
volatile
-- A definer: no role may write track.write_key, whose hashes decide who may send messages.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_key track.write_key := track._valid_write_key(change_write_key.key_id);
begin
  v_key.scopes := coalesce(change_write_key.scopes, v_key.scopes);
  v_key.origins := coalesce(change_write_key.origins, v_key.origins);
  v_key.requests_per_minute := coalesce(change_write_key.requests_per_minute, v_key.requests_per_minute);
  perform track._check_write_key(v_key.scopes, v_key.origins, v_key.requests_per_minute, null);
  update track.write_key
  set scopes = v_key.scopes, origins = v_key.origins, requests_per_minute = v_key.requests_per_minute
  where write_key.key_id = v_key.key_id;
  perform track._log_write_key(
    v_key.key_id,
    'changed',
    jsonb_build_object(
      'scopes', v_key.scopes, 'origins', v_key.origins, 'requests_per_minute', v_key.requests_per_minute
    )
  );
  return v_key;
end;
$$;

comment on function track.change_write_key(int, text[], text[], int) is $$
Changes the scopes, origins or rate of a write key; null: as it is. Returns the key.
Errors: CF002 for an unknown key, CF001 for one that is revoked or has expired, CF001 and CF008 for invalid values.
$$;

grant execute on function track.change_write_key(int, text[], text[], int) to insights_admin;
--! EndIncluded track/write_keys/change_write_key.sql

--! Included track/write_keys/rotate_write_key.sql
create or replace function track.rotate_write_key(key_id int, keep_old interval default '7 days')
returns track.new_write_key
language plpgsql
volatile
-- A definer: no role may write track.write_key, whose hashes decide who may send messages.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
as $$
declare
  v_old track.write_key;
  v_new track.new_write_key;
begin
  if rotate_write_key.keep_old is null or rotate_write_key.keep_old < '0' or rotate_write_key.keep_old > '1 year' then
    perform common.refuse(
      'CF001', format('keep_old is %s', coalesce(rotate_write_key.keep_old::text, 'null')),
      'Give the time for which clients may use the old key: 0 to one year.'
    );
  end if;
  v_old := track._valid_write_key(rotate_write_key.key_id);
  v_new := track._new_write_key(v_old.source_id, v_old.scopes, v_old.origins, v_old.requests_per_minute, null);
  update track.write_key
  set expires_at = least(write_key.expires_at, now() + rotate_write_key.keep_old)
  where write_key.key_id = v_old.key_id;
  perform track._log_write_key(
    v_old.key_id, 'rotated',
    jsonb_build_object('replaced_by', v_new.key_id, 'expires_at', least(v_old.expires_at, now() + keep_old))
  );
  perform track._log_write_key(v_new.key_id, 'created', jsonb_build_object('replaces', v_old.key_id));
  return v_new;
end;
$$;

comment on function track.rotate_write_key(int, interval) is $$
Creates a write key with the properties of an old one, which expires after `keep_old`, and returns the new key.
Clients can be changed one after the other in the meantime. Errors: CF002 for an unknown key, CF001 for one that is
revoked or has expired, or for an invalid interval.
$$;

grant execute on function track.rotate_write_key(int, interval) to insights_admin;
--! EndIncluded track/write_keys/rotate_write_key.sql

--! Included track/write_keys/revoke_write_key.sql
create or replace function track.revoke_write_key(key_id int)
returns boolean
language plpgsql
volatile
-- A definer: no role may write track.write_key, whose hashes decide who may send messages.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_revoked_at timestamptz;
  v_found boolean;
begin
  select write_key.revoked_at, true
  into v_revoked_at, v_found
  from track.write_key
  where write_key.key_id = revoke_write_key.key_id
  for update;
  if v_found is null then
    perform common.refuse(
      'CF002', format('there is no write key %s', coalesce(revoke_write_key.key_id::text, 'null')),
      'The keys are the rows of track.write_key.'
    );
  end if;
  if v_revoked_at is not null then
    return false;
  end if;
  update track.write_key set revoked_at = now() where write_key.key_id = revoke_write_key.key_id;
  perform track._log_write_key(revoke_write_key.key_id, 'revoked');
  return true;
end;
$$;

comment on function track.revoke_write_key(int) is $$
Revokes a write key; from the next batch on, messages with it are refused. False when it was revoked before.
Errors: CF002 for an unknown key.
$$;

grant execute on function track.revoke_write_key(int) to insights_admin;
--! EndIncluded track/write_keys/revoke_write_key.sql

--! Included track/write_keys/open_write_key.sql
/* A definer: workers, and so the API, may not read track.write_key. */
create or replace function track.open_write_key(key_hash text, scope text, origin text default null)
returns track.open_write_key
language plpgsql
stable
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
as $$
declare
  v_key track.write_key;
begin
  if open_write_key.key_hash ~ '^[0-9a-f]{64}$' then
    select *
    into v_key
    from track.write_key
    where write_key.key_hash = decode(open_write_key.key_hash, 'hex');
  end if;
  if v_key.key_id is null then
    perform common.refuse('CF005', 'the write key is unknown', 'Send a key that track.create_write_key returned.');
  end if;
  if v_key.revoked_at is not null or v_key.expires_at <= statement_timestamp() then
    perform common.refuse(
      'CF005',
      format(
        'the write key %s… %s', v_key.preview,
        case
          when v_key.revoked_at is not null then 'is revoked'
          else 'expired at ' || v_key.expires_at
        end
      ),
      'Use the key that replaces it.'
    );
  end if;
  if open_write_key.scope is null or not open_write_key.scope = any (v_key.scopes) then
    perform common.refuse(
      'CF005',
      format('the write key %s… does not have the scope "%s"', v_key.preview, left(open_write_key.scope, 100)),
      'Use another key, or add the scope by track.change_write_key.'
    );
  end if;
  if v_key.origins <> '{}' and open_write_key.origin is not null and open_write_key.origin <> all (v_key.origins) then
    perform common.refuse(
      'CF005',
      format('the origin "%s" may not use the write key %s…', left(open_write_key.origin, 100), v_key.preview),
      'Add the origin to the key by track.change_write_key.'
    );
  end if;
  return (
    select row(v_key.key_id, source.name, source.level, v_key.requests_per_minute)::track.open_write_key
    from track.source
    where source.source_id = v_key.source_id
  );
end;
$$;

comment on function track.open_write_key(text, text, text) is $$
@behavior -queryField -mutationField
Returns the source, level and rate of a write key, given its SHA-256 hash in hexadecimal.
`origin`: the origin of the calling web page; null for other clients. Errors: CF005 for a key that is unknown, revoked
or has expired, that does not have the scope, or that the origin may not use.
$$;

grant execute on function track.open_write_key(text, text, text) to insights_worker;
--! EndIncluded track/write_keys/open_write_key.sql

--! Included track/refusals/_count_refused.sql
create or replace function track._count_refused(
  messages track.parsed_message[], raw jsonb, source_id smallint, received_at timestamptz
)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_most_samples constant int := 10;
  v_day constant date := (_count_refused.received_at at time zone 'UTC')::date;
begin
  insert into track.refusal (source_id, code, day, backend, messages)
  select _count_refused.source_id, (message.problem).code, v_day, pg_backend_pid(), count(*)
  from unnest(_count_refused.messages) as message
  where (message.problem).code is not null
  group by (message.problem).code
  order by (message.problem).code
  on conflict on constraint refusal_pkey do update
  set messages = refusal.messages + excluded.messages;

  -- One of each batch and code, so that the samples of a day are of several clients.
  insert into track.refusal_sample (source_id, code, day, hint, fields)
  select distinct on ((message.problem).code)
    _count_refused.source_id, (message.problem).code, v_day, (message.problem).hint,
    track._field_types(_count_refused.raw -> message.position)
  from unnest(_count_refused.messages) as message
  where (message.problem).code is not null
    and (
      select count(*)
      from track.refusal_sample
      where refusal_sample.source_id = _count_refused.source_id
        and refusal_sample.code = (message.problem).code
        and refusal_sample.day = v_day
    ) < v_most_samples
  order by (message.problem).code, message.position;
end;
$$;

comment on function track._count_refused(track.parsed_message[], jsonb, smallint, timestamptz) is $$
Counts the refused messages of a batch by code, and keeps samples of them without values.
`raw`: the list of messages as it was sent.
$$;

create or replace function track._field_types(message jsonb)
returns jsonb
language sql
stable
parallel safe
-- Names of fields are chosen by clients, too: only known ones are kept.
return coalesce(
  (
    select jsonb_object_agg(
      field.key,
      case jsonb_typeof(field.value)
        when 'string' then format('string of %s', length(field.value #>> '{}'))
        when 'array' then format('array of %s', jsonb_array_length(field.value))
        else jsonb_typeof(field.value)
      end
    )
    from jsonb_each(case jsonb_typeof(message) when 'object' then message end) as field
    where field.key in (
      'type', 'messageId', 'userId', 'anonymousId', 'previousId', 'groupId', 'event', 'name', 'properties', 'traits',
      'context', 'timestamp', 'originalTimestamp', 'sentAt', 'receivedAt'
    )
  ),
  '{}'
);

comment on function track._field_types(jsonb) is $$
Returns the JSON types of the known fields of a message, without values.
$$;
--! EndIncluded track/refusals/_count_refused.sql

--! Included track/refusals/count_refused.sql
create or replace function track.count_refused(source text, level text, code text, messages bigint)
returns void
language plpgsql
volatile
-- A definer: no role may write track.refusal.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  if count_refused.messages is null or count_refused.messages < 1 then
    perform common.refuse(
      'CF001', format('messages is %s', coalesce(count_refused.messages::text, 'null')), 'Give 1 or more.'
    );
  end if;
  if nullif(count_refused.source, '') is null or length(count_refused.source) > 100
    or count_refused.code is null or count_refused.code !~ '^[A-Z0-9]{5}$'
    or count_refused.level is null or count_refused.level not in ('server', 'signed_in', 'anonymous')
  then
    perform common.refuse(
      'CF001',
      format(
        'the source is "%s", the level "%s", the code "%s"', left(count_refused.source, 100),
        left(count_refused.level, 100), left(count_refused.code, 100)
      ),
      'Give a source of 1 to 100 characters, the level server, signed_in or anonymous, and a SQLSTATE.'
    );
  end if;
  insert into track.refusal (source_id, code, day, backend, messages)
  values (
    track._source_id(count_refused.source, count_refused.level), count_refused.code, (now() at time zone 'UTC')::date,
    pg_backend_pid(), count_refused.messages
  )
  on conflict on constraint refusal_pkey do update
  set messages = refusal.messages + excluded.messages;
end;
$$;

comment on function track.count_refused(text, text, text, bigint) is $$
@behavior -mutationField
Counts messages that were refused before they reached `track.ingest`, such as requests above a rate limit.
The API calls it from time to time. Errors: CF001 for an invalid argument.
$$;

grant execute on function track.count_refused(text, text, text, bigint) to insights_worker;
--! EndIncluded track/refusals/count_refused.sql

--! Included track/refusals/refused_messages.sql
/* A definer: the counts contain no person, but a table that analysts cannot read. */
create or replace function track.refused_messages(
  since date default (now() at time zone 'UTC')::date - 6,
  until date default (now() at time zone 'UTC')::date
)
returns setof track.refused_messages
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  return query
  select refusal.day, source.name, source.level, refusal.code, sum(refusal.messages)::bigint
  from track.refusal
  join track.source using (source_id)
  where refusal.day between refused_messages.since and refused_messages.until
  group by refusal.day, source.name, source.level, refusal.code
  order by refusal.day desc, sum(refusal.messages) desc, source.name, source.level, refusal.code;
end;
$$;

comment on function track.refused_messages(date, date) is $$
Returns the numbers of refused messages by day, source and error code, for the days from `since` to `until` (UTC).
By default the last 7 days. `track.refusal_sample` contains samples without values.
$$;

grant execute on function track.refused_messages(date, date) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded track/refusals/refused_messages.sql

--! Included track/refusals/delete_old_refusals.sql
create or replace function track.delete_old_refusals(
  samples_older_than interval default '7 days',
  counts_older_than interval default '400 days'
)
returns bigint
language plpgsql
volatile
-- A definer: no role may write these tables.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set timezone to 'UTC'
set intervalstyle to 'postgres'
as $$
declare
  v_samples bigint;
  v_counts bigint;
begin
  if (
    delete_old_refusals.samples_older_than between '1 day' and '1000 years'
    and delete_old_refusals.counts_older_than between '1 day' and '1000 years'
  ) is not true
  then
    perform common.refuse(
      'CF001',
      format(
        'the intervals are %s and %s', coalesce(delete_old_refusals.samples_older_than::text, 'null'),
        coalesce(delete_old_refusals.counts_older_than::text, 'null')
      ),
      'Give intervals from a day to 1000 years.'
    );
  end if;
  delete from track.refusal_sample
  where refusal_sample.refused_at < now() - delete_old_refusals.samples_older_than;
  get diagnostics v_samples = row_count;
  delete from track.refusal
  where refusal.day < ((now() - delete_old_refusals.counts_older_than) at time zone 'UTC')::date;
  get diagnostics v_counts = row_count;

  -- Batches write rows of the current day only, except one that was running at midnight.
  with taken as (
    delete from track.refusal
    where refusal.day < (now() at time zone 'UTC')::date - 1
      and refusal.backend <> 0
    returning refusal.source_id, refusal.code, refusal.day, refusal.messages
  )
  insert into track.refusal (source_id, code, day, backend, messages)
  select taken.source_id, taken.code, taken.day, 0, sum(taken.messages)
  from taken
  group by taken.source_id, taken.code, taken.day
  on conflict on constraint refusal_pkey do update
  set messages = refusal.messages + excluded.messages;
  return v_samples + v_counts;
end;
$$;

comment on function track.delete_old_refusals(interval, interval) is $$
@behavior -mutationField
Deletes old samples and counts of refused messages, and sums the counts of former days.
Returns the number of deleted rows. Errors: CF001 for less than a day.
$$;

grant execute on function track.delete_old_refusals(interval, interval) to insights_worker;
--! EndIncluded track/refusals/delete_old_refusals.sql

--! Included track/ingest/sender.sql
create or replace function track._sender(received_at timestamptz)
returns track.message_sender
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_levels constant text[] := array['anonymous', 'signed_in', 'server'];
  -- For a login that has not set a role, its own memberships apply.
  v_caller constant text := case current_setting('role') when 'none' then session_user else current_setting('role') end;
  v_key_hash constant text := nullif(current_setting('insights.write_key', true), '');
  v_name text := coalesce(nullif(current_setting('insights.source', true), ''), 'default');
  v_key track.open_write_key;
  v_sender track.message_sender;
begin
  v_sender.person := case
    when current_setting('role') in ('insights_learner', 'insights_analyst')
      then nullif(current_setting('insights.person', true), '')
  end;
  v_sender.level := case
    when pg_has_role(v_caller, 'insights_worker', 'usage')
      or pg_has_role(v_caller, 'insights_admin', 'usage')
      or pg_has_role(v_caller, 'insights_owner', 'usage')
      then 'server'
    when v_sender.person is not null then 'signed_in'
    else 'anonymous'
  end;

  if v_key_hash is not null then
    v_key := track.open_write_key(v_key_hash, 'events', nullif(current_setting('insights.origin', true), ''));
    v_name := v_key.source;
    -- Only servers have a key of the level `server`. Other keys can be read by each visitor of a page: they add nothing
    -- to the rights of the sender.
    v_sender.level := case v_key.level
      when 'server' then 'server'
      else v_levels[
        least(array_position(v_levels, v_key.level), array_position(v_levels, v_sender.level))
      ]
    end;
    -- Once a day; another batch may be writing it.
    if (select write_key.used_on from track.write_key where write_key.key_id = v_key.key_id)
      is distinct from (_sender.received_at at time zone 'UTC')::date
    then
      update track.write_key
      set used_on = (_sender.received_at at time zone 'UTC')::date
      from (
        select write_key.key_id
        from track.write_key
        where write_key.key_id = v_key.key_id
        for no key update skip locked
      ) as free
      where write_key.key_id = free.key_id;
    end if;
  end if;

  v_sender.is_trusted := v_sender.level = 'server';
  v_sender.person := case v_sender.level when 'signed_in' then v_sender.person end;
  v_sender.source_id := track._source_id(v_name, v_sender.level);
  v_sender.browser := case
    when v_sender.level <> 'server' then nullif(current_setting('insights.browser', true), '')::uuid
  end;
  v_sender.opt_out := case
    when v_sender.level = 'server' then '{}'
    else string_to_array(coalesce(current_setting('insights.opt_out', true), ''), ',')
  end;
  select
    case
      when v_sender.is_trusted then setting.oldest_event
      else greatest(setting.oldest_event, _sender.received_at - setting.oldest_client_event)
    end,
    _sender.received_at + setting.newest_event,
    setting.longest_properties,
    setting.clock_tolerance,
    coalesce(source.path_rule, setting.path_rule),
    coalesce(source.kept_parameters, setting.kept_parameters)
  into
    v_sender.oldest, v_sender.newest, v_sender.longest_message, v_sender.clock_tolerance, v_sender.path_rule,
    v_sender.kept_parameters
  from track.setting
  join track.source on source.source_id = v_sender.source_id;
  return v_sender;
end;
$$;

comment on function track._sender(timestamptz) is $$
Returns the source, permissions and limits of the caller: those of its write key, or else those of its role.
Raises CF005 for a write key that may not be used.
$$;
--! EndIncluded track/ingest/sender.sql

--! Included track/ingest/read_times.sql
create or replace function track._parse_time(value text)
returns timestamptz
language plpgsql
stable
parallel restricted
set search_path to pg_catalog, pg_temp
as $$
begin
  return value::timestamptz;
exception
  when others then return null;
end;
$$;

comment on function track._parse_time(text) is $$
Returns a time as PostgreSQL parses it; null for an invalid one.
$$;

create or replace function track._read_time(value text, doubtful boolean)
returns timestamptz
language sql
stable
parallel restricted
-- PostgreSQL also accepts words such as "now", "BC" and names of zones, which are not ISO 8601. The first pattern is
-- that of JavaScript and the fastest to check; "UTC" is how databases export times.
return case
  when value like '____-__-__T__:__:__.___Z'
    or value like '____-__-__%' and ltrim(value, '0123456789-:.+ TtZzUC') = ''
    then case when doubtful then track._parse_time(value) else value::timestamptz end
end;

comment on function track._read_time(text, boolean) is $$
Returns an ISO 8601 time; null for any other text.
An invalid time raises an error unless `doubtful`, because catching an error per value is slow.
$$;

create or replace function track._correct_clock(
  received_at timestamptz,
  sent_at_text text,
  sent_at timestamptz,
  original_timestamp text,
  original_at timestamptz,
  tolerance interval
)
returns timestamptz
language sql
stable
parallel safe
return case
  when original_timestamp is null then received_at
  when sent_at_text is null then least(original_at, received_at)
  -- The clock was set back between the event and its sending: neither of the times is that of the event.
  when original_at - sent_at > tolerance then received_at
  -- A `sentAt` before the arrival may be due to the delay of the delivery. The delay varies, so that a correction by it
  -- would change the order of the events of a device. A `sentAt` after the arrival is an error of the clock, which is
  -- corrected from 5 seconds on: without a correction, all events of a batch would have the time of its arrival.
  when sent_at - received_at between -tolerance and least(tolerance, '5 seconds') then least(original_at, received_at)
  -- With clocks that are thousands of years apart, the time is out of range, which is an error of the batch.
  when sent_at - original_at > received_at - timestamptz '0001-01-01 00:00:00Z' then '0001-01-01 00:00:00Z'
  else least(received_at, received_at - (sent_at - original_at))
end;

comment on function track._correct_clock(timestamptz, text, timestamptz, text, timestamptz, interval) is $$
Returns the time of an event, never later than its arrival.
It is the time of the client if the clock of the client is behind that of the server by at most `tolerance`, or ahead of
it by at most 5 seconds, or if the time of sending is unknown. Otherwise it is the arrival, less the time for which the
event was queued on the client.
An event with a time later than its sending (by more than `tolerance`) has the time of its arrival.
$$;

create or replace function track._iso_time(at timestamptz)
returns text
language sql
stable
parallel safe
return to_char(at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"');

comment on function track._iso_time(timestamptz) is $$
Returns a time as an error shows it.
$$;
--! EndIncluded track/ingest/read_times.sql

--! Included track/ingest/read_fields.sql
create or replace function track._read_fields(
  batch track.message_batch,
  received_at timestamptz,
  sender track.message_sender,
  doubtful boolean
)
returns setof track.message_fields
language plpgsql
stable
parallel restricted
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
declare
  v_is_marked constant boolean := track._holds_extreme_number(batch.messages);
  v_messages constant jsonb := case
    when v_is_marked then track._mark_extreme_numbers(batch.messages)
    else batch.messages
  end;
  -- The record of a message that is not an object is empty.
  v_objects constant jsonb := case
    when jsonb_path_exists(v_messages, 'strict $[*] ? (@.type() != "object")')
      then (
        select jsonb_agg(case jsonb_typeof(message) when 'object' then message else '{}' end order by ordinality)
        from jsonb_array_elements(v_messages) with ordinality as entry (message, ordinality)
      )
    else v_messages
  end;
begin
  return query
  with read as (
    select entry.*
    -- Each message with its fields, all of them read in one pass.
    from rows from (
      jsonb_array_elements(v_messages),
      jsonb_to_recordset(v_objects) as (
        type text, "messageId" text, "userId" text, "anonymousId" text, "previousId" text, event text, name jsonb,
        properties jsonb, traits jsonb, context jsonb, "originalTimestamp" text, timestamp text, "sentAt" text,
        "receivedAt" text
      )
    ) with ordinality as entry (
      message, type, message_id, user_id, anonymous_id, previous_id, event, name, properties, traits, context,
      original_timestamp, stated_timestamp, sent_at, received_at, place
    )
  ),

  completed as (
    select
      read.*,
      coalesce(read.original_timestamp, read.stated_timestamp) as original_text,
      coalesce(read.sent_at, batch.sent_at) as sent_text,
      case when sender.is_trusted then read.received_at end as received_text,
      case
        when batch.context is null then read.context
        else batch.context || case jsonb_typeof(read.context) when 'object' then read.context else '{}' end
      end as whole_context
    from read
  ),

  timed as materialized (
    select
      completed.*,
      track._read_time(original_text, doubtful) as original_at,
      track._read_time(sent_text, doubtful) as parsed_sent_at,
      coalesce(track._read_time(received_text, doubtful), _read_fields.received_at) as arrived_at
    from completed
  )

  select
    place::int - 1,
    message,
    v_is_marked and type is null and message ? 'extreme',
    type,
    message_id,
    nullif(user_id, ''),
    nullif(anonymous_id, ''),
    nullif(previous_id, ''),
    event,
    name,
    properties,
    traits,
    whole_context,
    original_text,
    sent_text,
    original_at,
    parsed_sent_at,
    arrived_at,
    track._correct_clock(
      arrived_at, sent_text, parsed_sent_at, original_text, original_at, sender.clock_tolerance
    )
  from timed;
end;
$$;

comment on function track._read_fields(track.message_batch, timestamptz, track.message_sender, boolean) is $$
Returns the fields of each message, with the context of the batch and corrected times.
`doubtful`: a time in the batch is known to be invalid; otherwise an invalid time raises an error.
$$;
--! EndIncluded track/ingest/read_fields.sql

--! Included track/ingest/person_problem.sql
/*
 * Rules of validation, as the table in README.md lists them: the first rule that a message breaks is its problem.
 * One expression over the fields, which the planner puts in place of the call.
 */
create or replace function track._person_problem(fields track.message_fields, sender track.message_sender)
returns track.problem
language sql
stable
parallel safe
return case
  when fields.user_id is null and fields.anonymous_id is null
    then row(
      'CF001',
      'neither "userId" nor "anonymousId" is given',
      'Send "userId" for a signed-in person, or else "anonymousId".'
    )::track.problem
  when fields.user_id is not null
    and jsonb_typeof(fields.message -> 'userId') not in ('string', 'number', 'null')
    then row(
      'CF001', format('"userId" is a JSON %s', jsonb_typeof(fields.message -> 'userId')), 'Send a string.'
    )::track.problem
  when fields.anonymous_id is not null
    and jsonb_typeof(fields.message -> 'anonymousId') not in ('string', 'number', 'null')
    then row(
      'CF001',
      format('"anonymousId" is a JSON %s', jsonb_typeof(fields.message -> 'anonymousId')),
      'Send a string.'
    )::track.problem
  when fields.previous_id is not null
    and jsonb_typeof(fields.message -> 'previousId') not in ('string', 'number', 'null')
    then row(
      'CF001',
      format('"previousId" is a JSON %s', jsonb_typeof(fields.message -> 'previousId')),
      'Send a string.'
    )::track.problem
  when length(fields.user_id) > 256 or length(fields.anonymous_id) > 256 or length(fields.previous_id) > 256
    then row(
      'CF008',
      format(
        'an id has %s characters',
        greatest(length(fields.user_id), length(fields.anonymous_id), length(fields.previous_id))
      ),
      'Send 256 at most.'
    )::track.problem
  when not sender.is_trusted and fields.user_id is not null and fields.user_id is distinct from sender.person
    then row(
      'CF005',
      format('"userId" is "%s", who is not signed in', left(fields.user_id, 100)),
      'Sign in as that person, or send "anonymousId" only.'
    )::track.problem
  when fields.type = 'alias' and (fields.previous_id is null or fields.user_id is null)
    then row('CF001', '"alias" needs "previousId" and "userId"', 'Send both.')::track.problem
  when fields.type = 'alias' and not sender.is_trusted
    then row(
      'CF005',
      '"alias" is for servers',
      'Use "identify" with "anonymousId" and "userId", or send it with a worker''s token.'
    )::track.problem
  when fields.type = 'group' and fields.message ->> 'groupId' is null
    then row('CF001', '"group" needs "groupId"', 'Send it.')::track.problem
end;

comment on function track._person_problem(track.message_fields, track.message_sender) is $$
Returns the error of the identity of a message: missing, invalid, or not permitted for the sender; null when valid.
$$;

create or replace function track._placeholder_problem(field text, external_id text)
returns track.problem
language sql
stable
parallel safe
return row(
  'CF001',
  format('"%s" is "%s", which names nobody', field, left(external_id, 100)),
  'Send the id of a person or browser, or leave the field out. Administrators keep the list track.placeholder_id.'
)::track.problem;

comment on function track._placeholder_problem(text, text) is $$
Returns the error of an id that names nobody.
$$;
--! EndIncluded track/ingest/person_problem.sql

--! Included track/ingest/content_problem.sql
/*
 * Rules of validation, as the table in README.md lists them: the first rule that a message breaks is its problem.
 * One expression over the fields, which the planner puts in place of the call.
 */
create or replace function track._content_problem(fields track.message_fields, sender track.message_sender)
returns track.problem
language sql
stable
parallel safe
return case
  when fields.type = 'track'
    and (fields.event is null or fields.event = '' or jsonb_typeof(fields.message -> 'event') <> 'string')
    then row(
      'CF001', '"track" needs "event"', 'Send the name of the event, a string such as "Task Submitted".'
    )::track.problem
  when length(fields.event) > 200
    then row(
      'CF008',
      format('"event" has %s characters', length(fields.event)),
      'Send 200 at most, and details in "properties".'
    )::track.problem
  when jsonb_typeof(fields.properties) <> 'object'
    then row(
      'CF001', format('"properties" is a JSON %s', jsonb_typeof(fields.properties)), 'Send an object.'
    )::track.problem
  when jsonb_typeof(fields.traits) <> 'object'
    then row(
      'CF001', format('"traits" is a JSON %s', jsonb_typeof(fields.traits)), 'Send an object.'
    )::track.problem
  when fields.type = 'identify' and jsonb_typeof(fields.context -> 'traits') not in ('object', 'null')
    then row(
      'CF001', format('"context.traits" is a JSON %s', jsonb_typeof(fields.context -> 'traits')), 'Send an object.'
    )::track.problem
  when pg_column_size(fields.message) > sender.longest_message / 2
    and octet_length(fields.message::text) > sender.longest_message
    then row(
      'CF008',
      format('the message has %s bytes', octet_length(fields.message::text)),
      format('Send %s at most.', sender.longest_message)
    )::track.problem
  when jsonb_typeof(fields.properties -> 'item') not in ('string', 'number', 'null')
    then row(
      'CF001',
      format('"properties.item" is a JSON %s', jsonb_typeof(fields.properties -> 'item')),
      'Send the external id of an item, a string.'
    )::track.problem
  when length(fields.properties ->> 'item') > 512
    then row(
      'CF008',
      format('"properties.item" has %s characters', length(fields.properties ->> 'item')),
      'Send 512 at most.'
    )::track.problem
  when sender.is_trusted and jsonb_typeof(fields.properties -> 'parent') not in ('string', 'number', 'null')
    then row(
      'CF001',
      format('"properties.parent" is a JSON %s', jsonb_typeof(fields.properties -> 'parent')),
      'Send the external id of an item, a string.'
    )::track.problem
  when sender.is_trusted and length(fields.properties ->> 'parent') > 512
    then row(
      'CF008',
      format('"properties.parent" has %s characters', length(fields.properties ->> 'parent')),
      'Send 512 at most.'
    )::track.problem
  when fields.properties ->> 'itemKind' !~ '^[a-z][a-z0-9_]{0,62}$'
    -- The kind of items that are only a further name of another one.
    or fields.properties ->> 'itemKind' = 'merged'
    then row(
      'CF001',
      format('"properties.itemKind" is "%s"', left(fields.properties ->> 'itemKind', 100)),
      'Use a lower case word such as course, module, task, page or video.'
    )::track.problem
  when jsonb_typeof(fields.properties -> 'duration') = 'number'
    and (fields.properties ->> 'duration')::numeric < 0
    then row(
      'CF001',
      format('"properties.duration" is %s', left(fields.properties ->> 'duration', 40)),
      'A duration is zero or more.'
    )::track.problem
end;

comment on function track._content_problem(track.message_fields, track.message_sender) is $$
Returns the error of the content of a message (event, properties, traits, size); null when it is valid.
$$;
--! EndIncluded track/ingest/content_problem.sql

--! Included track/ingest/time_problem.sql
/*
 * Rules of validation, as the table in README.md lists them: the first rule that a message breaks is its problem.
 * One expression over the fields, which the planner puts in place of the call.
 */
create or replace function track._time_problem(fields track.message_fields, sender track.message_sender)
returns track.problem
language sql
stable
parallel safe
return case
  when fields.original_timestamp is not null and fields.original_at is null
    then row(
      'CF001',
      format('"timestamp" is "%s"', left(fields.original_timestamp, 100)),
      'Send an ISO 8601 time such as 2026-02-28T09:30:00.000Z.'
    )::track.problem
  when fields.sent_at_text is not null and fields.sent_at is null
    then row(
      'CF001',
      format('"sentAt" is "%s"', left(fields.sent_at_text, 100)),
      'Send an ISO 8601 time such as 2026-02-28T09:30:00.000Z.'
    )::track.problem
  when fields.original_at > sender.newest and fields.sent_at_text is null
    then row(
      'CF001',
      format('the event''s time is %s, in the future', track._iso_time(fields.original_at)),
      'Check the client''s clock, or send "sentAt" so that it can be corrected.'
    )::track.problem
  when fields.original_at - fields.sent_at > sender.clock_tolerance and fields.sent_at > sender.newest
    then row(
      'CF001',
      format('the event''s time is %s, in the future', track._iso_time(fields.original_at)),
      'Check the client''s clock: it was set back after the event and is still ahead, so that it cannot be corrected.'
    )::track.problem
  when fields.occurred_at > sender.newest
    then row(
      'CF001',
      format('the time of arrival is %s, in the future', track._iso_time(fields.received_at)),
      'Check "receivedAt" and the clock of the server that sent it.'
    )::track.problem
  when fields.occurred_at < sender.oldest
    then row(
      'CF001',
      format('the event''s time is %s, too long ago', track._iso_time(fields.occurred_at)),
      format('The earliest accepted is %s.', track._iso_time(sender.oldest))
    )::track.problem
end;

comment on function track._time_problem(track.message_fields, track.message_sender) is $$
Returns the error of the times of a message; null when they are valid.
$$;
--! EndIncluded track/ingest/time_problem.sql

--! Included track/ingest/path_item.sql
create or replace function track._normal_escapes(value text)
returns text
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if strpos(value, '%') = 0 then
    return value;
  end if;
  return (
    select string_agg(
      case
        when place = 1 then part
        when part ~* '^(2d|2e|5f|7e|3\d|4[1-9a-f]|5[\da]|6[1-9a-f]|7[\da])'
          then chr(('x' || left(part, 2))::bit(8)::int) || substr(part, 3)
        when part ~* '^[\da-f]{2}' then '%' || upper(left(part, 2)) || substr(part, 3)
        else '%' || part
      end,
      '' order by place
    )
    from unnest(string_to_array(value, '%')) with ordinality as piece (part, place)
  );
end;
$$;

comment on function track._normal_escapes(text) is $$
Returns a part of a URL with its percent-encoding normalised (RFC 3986, section 6.2.2).
Escapes of letters, digits, `-`, `.`, `_` and `~` are decoded, and others are written in capitals.
$$;

create or replace function track._without_dots(path text)
returns text
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_first constant int := case when starts_with(path, '/') then 1 else 0 end;
  v_segment text;
  v_segments text[] := '{}';
  v_count int := 0;
begin
  -- A dot at the end stands for the folder itself, which ends with a slash.
  foreach v_segment in array string_to_array(regexp_replace(path, '(^|/)(\.\.?)$', '\1\2/'), '/') loop
    if v_segment = '..' then
      v_count := greatest(v_count - 1, v_first);
    elsif v_segment <> '.' then
      v_count := v_count + 1;
      v_segments[v_count] := v_segment;
    end if;
  end loop;
  return array_to_string(v_segments[:v_count], '/');
end;
$$;

comment on function track._without_dots(text) is $$
Returns a path without the segments `.` and `..` (RFC 3986, section 5.2.4).
$$;

create or replace function track._normal_path(path text, path_rule text[], kept_parameters text[])
returns text
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  -- Longer addresses are rare, and the work is bounded.
  v_whole constant text := left(path, 2048);
  v_fragment text := coalesce(substring(v_whole from '#.*$'), '');
  v_query text := coalesce(substring(v_whole from '^[^#?]*\?([^#]*)'), '');
  v_path text := substring(v_whole from '^[^#?]*');
  v_host text := coalesce(substring(v_path from '^[Hh][Tt][Tt][Pp][Ss]?://[^/]*'), '');
begin
  v_path := substr(v_path, length(v_host) + 1);
  v_host := case when 'host' = any (path_rule) then '' else lower(v_host) end;

  -- "#/" and "#!" begin the addresses within an application of one page.
  if 'fragment' = any (path_rule) and v_fragment !~ '^#[/!]' then
    v_fragment := '';
  end if;
  if 'encoding' = any (path_rule) then
    v_path := track._normal_escapes(v_path);
    v_query := track._normal_escapes(v_query);
  end if;
  if v_query <> '' and 'query' = any (path_rule) then
    v_query := coalesce(
      (
        select string_agg(parameter, '&' order by parameter collate "C")
        from (select distinct unnest(string_to_array(v_query, '&')) as parameter) as given
        where split_part(parameter, '=', 1) = any (kept_parameters)
      ),
      ''
    );
  end if;

  if 'slashes' = any (path_rule) then
    v_path := regexp_replace(v_path, '//+', '/', 'g');
  end if;
  if 'dots' = any (path_rule) and v_path ~ '(^|/)\.\.?(/|$)' then
    v_path := track._without_dots(v_path);
  end if;
  if 'index' = any (path_rule) then
    v_path := regexp_replace(v_path, '((^|/)(index|default)\.(html?|php|aspx?|jsp))+/*$', '/', 'i');
  end if;
  if 'trailing_slash' = any (path_rule) then
    v_path := rtrim(v_path, '/');
  end if;
  return left(
    v_host || case v_path when '' then '/' else v_path end
      || case v_query when '' then '' else '?' || v_query end
      || v_fragment,
    512
  );
end;
$$;

comment on function track._normal_path(text, text[], text[]) is $$
Returns the name of a page by its path or URL: see `track.setting.path_rule`.
The first 2,048 characters are read, and 512 at most returned.
$$;

create or replace function track._path_item(path text, path_rule text[], kept_parameters text[])
returns text
language sql
stable
parallel safe
-- Nearly all paths are normal as they are: one search decides it.
return case
  when path_rule <> '{}' and (path ~* '[?#%]|//|/\.|./$|index\.|default\.|^[^/]' or length(path) > 512)
    then track._normal_path(path, path_rule, kept_parameters)
  else left(path, 512)
end;

comment on function track._path_item(text, text[], text[]) is $$
Returns the external id of the item of a page by its path or URL.
$$;
--! EndIncluded track/ingest/path_item.sql

--! Included track/ingest/describe_message.sql
create or replace function track._path(type text, properties jsonb, context jsonb)
returns text
language sql
immutable
parallel safe
-- A page without an item is an item by its path, as in web analytics.
return case
  when type = 'page'
    then coalesce(
      nullif(properties ->> 'path', ''),
      nullif(context #>> '{page,path}', ''),
      nullif(properties ->> 'url', ''),
      nullif(context #>> '{page,url}', '')
    )
end;

comment on function track._path(text, jsonb, jsonb) is $$
Returns the path, or else the URL, of a page; null for other messages.
$$;

create or replace function track._item(
  type text,
  name jsonb,
  properties jsonb,
  path text,
  path_rule text[],
  kept_parameters text[]
)
returns text
language sql
stable
parallel safe
return coalesce(
  nullif(properties ->> 'item', ''),
  case type
    when 'page' then track._path_item(path, path_rule, kept_parameters)
    when 'screen' then left(nullif(name #>> '{}', ''), 512)
  end
);

comment on function track._item(text, jsonb, jsonb, text, text[], text[]) is $$
Returns the external id of the item of a message; null when there is none.
$$;

create or replace function track._item_kind(type text, properties jsonb, path text, is_trusted boolean)
returns text
language sql
immutable
parallel safe
return case
  when is_trusted and properties ? 'itemKind' then properties ->> 'itemKind'
  when type in ('page', 'screen') and nullif(properties ->> 'item', '') is null
    and (is_trusted or path ~* '^(/|https?://)')
    then 'page'
end;

comment on function track._item_kind(text, jsonb, text, boolean) is $$
Returns the kind of the item of a message; null unless the sender may describe items.
$$;

create or replace function track._traits(type text, traits jsonb, context jsonb)
returns jsonb
language sql
stable
parallel safe
-- Clients such as RudderStack's send the traits of `identify` in its context. The context of each later event repeats
-- them.
return case
  when type = 'identify'
    then nullif(
      case jsonb_typeof(context -> 'traits') when 'object' then context -> 'traits' else '{}' end
        || case jsonb_typeof(traits) when 'object' then traits else '{}' end
        || case jsonb_typeof(context -> 'timezone')
          when 'string' then jsonb_build_object('timezone', context -> 'timezone')
          else '{}'
        end,
      '{}'
    )
  when jsonb_typeof(context -> 'timezone') = 'string' then jsonb_build_object('timezone', context -> 'timezone')
end;

comment on function track._traits(text, jsonb, jsonb) is $$
Returns the traits of the person of a message: those of `identify`, and the time zone of the client.
For a trait in both places, `traits` has precedence over `context.traits`.
$$;

create or replace function track._decided_preferences(properties jsonb, context jsonb)
returns jsonb
language sql
immutable
parallel safe
return case jsonb_typeof(properties -> 'categoryPreferences')
    when 'object' then properties -> 'categoryPreferences'
    else '{}'
  end
  || case jsonb_typeof(context #> '{consent,categoryPreferences}')
    when 'object' then context #> '{consent,categoryPreferences}'
    else '{}'
  end;

comment on function track._decided_preferences(jsonb, jsonb) is $$
Returns the preferences of `Segment Consent Preference Updated`: those of its properties and of its context.
For a purpose in both places, the context has precedence.
$$;
--! EndIncluded track/ingest/describe_message.sql

--! Included track/ingest/message_keys.sql
create or replace function track._message_hash(message_id text)
returns uuid
language sql
stable
parallel safe
return encode(substr(sha256(convert_to(message_id, 'UTF8')), 1, 16), 'hex')::uuid;

comment on function track._message_hash(text) is $$
First 128 bits of the SHA-256 of a message's id.
$$;

create or replace function track._milliseconds_ahead(client_at timestamptz, received_at timestamptz)
returns bigint
language sql
immutable
parallel safe
-- At UTC, because the epoch of a timestamptz is only stable, and an immutable function over it is never inlined.
return greatest(
  least(
    floor(date_part('epoch', client_at at time zone 'UTC') * 1000)::bigint
      - floor(date_part('epoch', received_at at time zone 'UTC') * 1000)::bigint
      + 8589934592,
    17179869183
  ),
  0
);

comment on function track._milliseconds_ahead(timestamptz, timestamptz) is $$
Returns the time of the client less the arrival, in milliseconds, as a number of 34 bits with an offset of 2^33.
Differences of more than 99 days are cut.
$$;

create or replace function track._event_id(
  occurred_at timestamptz,
  message_hash uuid,
  source_id smallint,
  ahead bigint
)
returns uuid
language sql
immutable
parallel safe
return encode(
  case
    when ahead is null
      then int8send(
        (floor(date_part('epoch', occurred_at at time zone 'UTC') * 1000)::bigint << 16)
        | 28672
        | (get_byte(uuid_send(message_hash), 0) << 4)
      )
      || '\x80'::bytea || substr(uuid_send(message_hash), 2, 5) || int2send(source_id)
    -- 12 and 22 bits of `ahead`, around the variant, and 40 bits of the hash and the source.
    else int8send(
        (floor(date_part('epoch', occurred_at at time zone 'UTC') * 1000)::bigint << 16)
        | 28672
        | (ahead >> 22)
      )
      || int8send(
        (2::bigint << 62)
        | ((ahead & 4194303) << 40)
        | (
          ('x' || encode(substr(uuid_send(message_hash), 1, 5), 'hex'))::bit(40)::bigint
          # (source_id::bigint & 65535)
        )
      )
  end,
  'hex'
)::uuid;

comment on function track._event_id(timestamptz, uuid, smallint, bigint) is $$
Returns a version 7 UUID (RFC 9562): milliseconds, 48 bits of the hash of the message, and the source.
For an event whose time is not that of its client, `ahead` orders the events that have the time of their arrival: see
`track._milliseconds_ahead`. It depends on the message and its arrival only, and not on the order of arrival.
$$;
--! EndIncluded track/ingest/message_keys.sql

--! Included track/ingest/parse_messages.sql
create or replace function track._parse_messages(
  batch track.message_batch,
  received_at timestamptz,
  sender track.message_sender,
  doubtful boolean default false
)
returns track.parsed_message[]
language plpgsql
stable
parallel restricted
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
-- Planned once: the only table is hashed as a whole, so that no other plan would be better.
set plan_cache_mode to force_generic_plan
as $$
begin
  return (
    with placeholder as materialized (
      select placeholder_id.external_id
      from track.placeholder_id
      where not sender.is_trusted
        or placeholder_id.external_id <> all (
          string_to_array(coalesce(current_setting('insights.kept_ids', true), ''), ',')
        )
    ),

    judged as materialized (
      select
        fields.*,
        track._path(fields.type, fields.properties, fields.context) as path,
        coalesce(
          track._envelope_problem(fields, sender),
          track._person_problem(fields, sender),
          track._content_problem(fields, sender),
          track._time_problem(fields, sender),
          -- Here and not in a function: a function with a sub-query is not put in place of its call.
          case
            when track._is_blank_id(fields.user_id)
              or track._bare_id(fields.user_id) in (select placeholder.external_id from placeholder)
              then track._placeholder_problem('userId', fields.user_id)
            when track._is_blank_id(fields.anonymous_id)
              or track._bare_id(fields.anonymous_id) in (select placeholder.external_id from placeholder)
              then track._placeholder_problem('anonymousId', fields.anonymous_id)
            when track._is_blank_id(fields.previous_id)
              or track._bare_id(fields.previous_id) in (select placeholder.external_id from placeholder)
              then track._placeholder_problem('previousId', fields.previous_id)
          end
        ) as problem
      from track._read_fields(batch, received_at, sender, doubtful) as fields
    ),

    parsed as (
      select
        judged.position,
        judged.type,
        judged.message_id,
        case when judged.problem is null then track._message_hash(judged.message_id) end as message_hash,
        case when judged.user_id is null then 'anonymous' else 'user' end as identity_kind,
        coalesce(judged.user_id, judged.anonymous_id) as external_id,
        judged.anonymous_id,
        judged.previous_id,
        case judged.type
          when 'track' then judged.event
          when 'page' then 'Page Viewed'
          when 'screen' then 'Screen Viewed'
        end as event_name,
        track._item(
          judged.type, judged.name, judged.properties, judged.path, sender.path_rule, sender.kept_parameters
        ) as item,
        track._item_kind(judged.type, judged.properties, judged.path, sender.is_trusted) as item_kind,
        -- Only servers may describe items, because any client can send a page view.
        case
          when sender.is_trusted
            then coalesce(
              judged.properties ->> 'itemTitle', case judged.type when 'page' then judged.properties ->> 'title' end
            )
        end as item_title,
        case when sender.is_trusted then nullif(judged.properties ->> 'parent', '') end as item_parent,
        case
          when sender.is_trusted and judged.type = 'page'
            then coalesce(judged.properties ->> 'url', judged.context #>> '{page,url}')
        end as item_url,
        judged.occurred_at,
        judged.received_at,
        case
          when judged.type in ('page', 'screen') and judged.name is not null
            then coalesce(judged.properties, '{}') || jsonb_build_object('name', judged.name)
          when judged.properties <> '{}' then judged.properties
        end as properties,
        track._traits(judged.type, judged.traits, judged.context) as traits,
        case
          when judged.event = 'Segment Consent Preference Updated'
            then track._decided_preferences(judged.properties, judged.context)
          else judged.context #> '{consent,categoryPreferences}'
        end as preferences,
        judged.context ->> 'gpc' in ('true', '1') as opts_out,
        judged.problem,
        case when judged.occurred_at <> judged.original_at then judged.original_at end as client_at,
        null::boolean as is_claim
      from judged
    )

    select array_agg(parsed::track.parsed_message order by parsed.position)
    from parsed
  );
exception
  when data_exception then
    -- A time in the batch is invalid: parse the times again, one by one.
    if doubtful then
      raise;
    end if;
    return track._parse_messages(batch, received_at, sender, true);
end;
$$;

comment on function track._parse_messages(track.message_batch, timestamptz, track.message_sender, boolean) is $$
Returns the messages of a batch in order, each with its contents or its error.
`doubtful`: a time in the batch is known to be invalid.
$$;
--! EndIncluded track/ingest/parse_messages.sql

--! Included track/ingest/verify_browsers.sql
create or replace function track._verify_browsers(messages track.parsed_message[], sender track.message_sender)
returns track.parsed_message[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_messages track.parsed_message[] := messages;
  v_message track.parsed_message;
  v_found record;
  -- Browsers that are known, that have the cookie of the caller, that belong to a user, that the caller has claimed.
  v_known text[];
  v_proved text[];
  v_linked text[];
  v_claimed constant text[] := array(
    select browser.external_id
    from track.identity as person
    join track.identity_link as link on link.linked_identity_id = person.identity_id
    join track.identity as browser on browser.identity_id = link.identity_id
    where person.external_id = sender.person
      and person.kind = 'user'
      and link.kind = 'claim'
      and link.unlinked_at is null
  );
begin
  if sender.is_trusted then
    return v_messages;
  end if;

  select
    coalesce(array_agg(name.anonymous_id), '{}'),
    coalesce(array_agg(name.anonymous_id) filter (where browser.browser = sender.browser), '{}'),
    coalesce(array_agg(name.anonymous_id) filter (where person.identity_id is not null), '{}')
  into v_known, v_proved, v_linked
  from (
    select distinct message.anonymous_id
    from unnest(messages) as message
    where message.anonymous_id is not null
  ) as name
  join track.identity as browser on browser.external_id = name.anonymous_id and browser.kind = 'anonymous'
  left join track.identity as person on person.identity_id = browser.person_id and person.kind = 'user';

  -- Browsers of visitors, as a rule.
  if sender.person is null and v_linked = '{}' then
    return v_messages;
  end if;
  -- A client may state any time: an earlier one would take events of the user who has identified since.
  for v_found in
    select message.ordinality
    from unnest(messages) with ordinality as message
    where message.problem is null
      and message.type = 'identify'
      and message.identity_kind = 'user'
      and message.anonymous_id = any (v_proved)
      and message.anonymous_id = any (v_linked)
      and exists (
        select
        from track.identity as browser
        join track.identity_link as link on link.identity_id = browser.identity_id
        join track.identity as person on person.identity_id = link.linked_identity_id
        where browser.external_id = message.anonymous_id
          and browser.kind = 'anonymous'
          and link.kind <> 'claim'
          and link.unlinked_at is null
          and link.linked_at >= message.occurred_at
          and person.external_id <> message.external_id
      )
  loop
    v_message := v_messages[v_found.ordinality];
    v_message.occurred_at := v_message.received_at;
    v_messages[v_found.ordinality] := v_message;
  end loop;
  for v_found in
    select
      message.ordinality,
      case
        when message.identity_kind = 'user' then 'claim'
        when sender.person is not null and exists (
          select
          from track.identity as browser
          join track.identity as own on own.person_id = browser.person_id
          where browser.identity_id = track._browser_identity(message.external_id, message.occurred_at)
            and own.external_id = sender.person
            and own.kind = 'user'
        ) then 'own'
        when message.anonymous_id = any (v_claimed) then 'claimed'
        else 'unverified'
      end as verdict
    from unnest(messages) with ordinality as message
    where message.problem is null
      and message.anonymous_id is not null
      and message.anonymous_id <> all (v_proved)
      and case message.identity_kind
        when 'anonymous' then message.anonymous_id = any (v_linked || v_claimed)
        -- A browser that is new to us is that of the caller when the caller has the cookie.
        else message.type = 'identify' and (sender.browser is null or message.anonymous_id = any (v_known))
      end
  loop
    v_message := v_messages[v_found.ordinality];
    case v_found.verdict
      when 'claim' then
        v_message.is_claim := true;
      when 'claimed' then
        v_message.identity_kind := 'user';
        v_message.external_id := sender.person;
        v_message.anonymous_id := null;
      when 'unverified' then
        v_message.identity_kind := 'unverified';
        v_message.anonymous_id := null;
      else
        continue;
    end case;
    v_messages[v_found.ordinality] := v_message;
  end loop;
  return v_messages;
end;
$$;

comment on function track._verify_browsers(track.parsed_message[], track.message_sender) is $$
Returns the messages after the check of each `anonymousId` that a client sent: an id is a name, and not a proof.
The proof is the cookie with which the browser sent the id first. Without it, a message for a browser that belongs to a
person is stored as `unverified`, and `identify` is a claim: it counts for messages that its sender sends herself.
It is decided at arrival, because clients choose the times of their messages.
$$;
--! EndIncluded track/ingest/verify_browsers.sql

--! Included track/ingest/limit_identities.sql
create or replace function track._limit_identities(messages track.parsed_message[])
returns track.parsed_message[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_limit constant int := (select setting.most_identities from track.setting);
  v_messages track.parsed_message[] := messages;
  v_message track.parsed_message;
  v_places int[];
  v_froms int[];
  v_tos int[];
  v_sizes int[];
  -- A disjoint-set forest of the people and new names of the batch, as in track._link_people.
  v_joined int[];
  v_from int;
  v_to int;
begin
  with said as materialized (
    select
      message.ordinality, message.type, message.external_id,
      case message.type when 'identify' then message.anonymous_id else message.previous_id end as name
    from unnest(messages) with ordinality as message
    where message.type in ('identify', 'alias')
      and message.identity_kind = 'user'
      and message.problem is null
  ),

  -- A person by its key, and a name that is new by its text.
  link as materialized (
    select
      said.ordinality, 'browser ' || said.name || ' of ' || said.external_id as from_name,
      said.external_id as to_name, own.person_id as from_person
    from said
    left join track.identity as person on person.external_id = said.external_id and person.kind = 'user'
    left join track.identity as own
      on own.external_id = said.name
      and own.kind = 'anonymous'
      and own.user_identity_id = person.identity_id
    where said.name is not null

    union all

    select said.ordinality, 'user ' || said.name, said.external_id, other.person_id
    from said
    left join track.identity as other on other.external_id = said.name and other.kind = 'user'
    where said.type = 'alias'
  ),

  keyed as materialized (
    select
      link.ordinality,
      coalesce('person ' || link.from_person, link.from_name) as from_key,
      coalesce('person ' || person.person_id, 'user ' || link.to_name) as to_key
    from link
    left join track.identity as person on person.external_id = link.to_name and person.kind = 'user'
  ),

  node as materialized (
    select key.key, row_number() over (order by key.key)::int as place
    from (select from_key from keyed union select to_key from keyed) as key (key)
  )

  select
    array_agg(keyed.ordinality order by keyed.ordinality),
    array_agg(from_node.place order by keyed.ordinality),
    array_agg(to_node.place order by keyed.ordinality),
    (
      select array_agg(
        case
          when node.key like 'person %' then (
            select count(*)
            from track.identity
            where identity.person_id = substr(node.key, 8)::bigint
          ) + (
            select count(distinct claim.identity_id)
            from track.identity
            join track.identity_link as claim on claim.linked_identity_id = identity.identity_id
            where identity.person_id = substr(node.key, 8)::bigint
              and claim.kind = 'claim'
          )
          else 1
        end
        order by node.place
      )
      from node
    )
  into v_places, v_froms, v_tos, v_sizes
  from keyed
  join node as from_node on from_node.key = keyed.from_key
  join node as to_node on to_node.key = keyed.to_key;

  if v_places is null then
    return messages;
  end if;
  v_joined := array(select generate_series(1, cardinality(v_sizes)));
  for i in 1 .. cardinality(v_places) loop
    v_from := v_froms[i];
    while v_joined[v_from] <> v_from loop
      v_joined[v_from] := v_joined[v_joined[v_from]];
      v_from := v_joined[v_from];
    end loop;
    v_to := v_tos[i];
    while v_joined[v_to] <> v_to loop
      v_joined[v_to] := v_joined[v_joined[v_to]];
      v_to := v_joined[v_to];
    end loop;
    continue when v_from = v_to;
    if v_sizes[v_from] + v_sizes[v_to] > v_limit then
      v_message := v_messages[v_places[i]];
      v_message.problem := row(
        'CF008',
        format(
          'the person "%s" would have %s identities',
          left(v_message.external_id, 100),
          v_sizes[v_from] + v_sizes[v_to]
        ),
        format('A person has %s at most (track.setting.most_identities). Keep the anonymousId of a browser.', v_limit)
      );
      v_messages[v_places[i]] := v_message;
    else
      v_joined[v_from] := v_to;
      v_sizes[v_to] := v_sizes[v_to] + v_sizes[v_from];
    end if;
  end loop;
  return v_messages;
end;
$$;

comment on function track._limit_identities(track.parsed_message[]) is $$
Returns the messages; an `identify` or `alias` that would give a person too many identities is rejected (CF008).
$$;
--! EndIncluded track/ingest/limit_identities.sql

--! Included track/ingest/withheld_messages.sql
create or replace function track._withheld_messages(messages track.parsed_message[], opt_out text[])
returns setof track.withheld_message
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  with valid as materialized (
    select
      message.position, message.type, message.identity_kind, message.external_id, message.anonymous_id,
      message.previous_id, message.event_name, message.occurred_at, message.preferences, message.opts_out,
      message.is_claim,
      message.event_name is not distinct from 'Segment Consent Preference Updated' as is_decision
    from unnest(messages) as message
    where message.problem is null
  ),

  -- Names that the batch links to a user, each from the first message that does it. The past of a browser that belongs
  -- to a user stays with that user.
  tied as materialized (
    select distinct on (valid.external_id, tie.external_id, tie.identity_kind)
      valid.external_id as user_name, tie.external_id, tie.identity_kind,
      case when tie.external_id = valid.external_id and tie.identity_kind = 'user' then '-infinity'
        else valid.occurred_at
      end as since,
      valid.position + 1 as position,
      tie.identity_kind = 'user' or not exists (
        select
        from track.identity as browser
        where browser.external_id = tie.external_id
          and browser.kind = 'anonymous'
          and browser.user_identity_id is not null
      ) as has_past
    from valid
    cross join lateral (
      values
        (valid.external_id, 'user'),
        (case valid.type when 'identify' then valid.anonymous_id else valid.previous_id end, 'anonymous'),
        (case valid.type when 'alias' then valid.previous_id end, 'user')
    ) as tie (external_id, identity_kind)
    where valid.type in ('identify', 'alias')
      and valid.identity_kind = 'user'
      and valid.is_claim is not true
      and tie.external_id is not null
    order by valid.external_id, tie.external_id, tie.identity_kind, valid.occurred_at, valid.position
  ),

  -- People by name: `is_own` is false for the people of a browser whose id was sent without proof. Their refusals
  -- count, and a refusal in such a message counts for them; a grant does not. `browser_id` is set where the person
  -- depends on the time of the message.
  named as materialized (
    select
      name.external_id, name.identity_kind, identity.person_id, identity.kind = name.identity_kind as is_own,
      case
        when name.identity_kind = 'anonymous'
          and count(*) over (partition by name.external_id, name.identity_kind) > 1
          then identity.identity_id
      end as browser_id
    from (
      select valid.external_id, valid.identity_kind from valid
      union
      select tied.external_id, tied.identity_kind from tied
    ) as name
    join track.identity
      on identity.external_id = name.external_id
      and (
        identity.kind = name.identity_kind
        or identity.kind = 'anonymous' and name.identity_kind = 'unverified'
      )
  ),

  -- With the other names of their people.
  tied_name as materialized (
    select distinct on (known.user_name, known.external_id, known.identity_kind) known.*
    from (
      select tied.* from tied

      union all

      select tied.user_name, other.external_id, other.identity_kind, tied.since, tied.position, true
      from tied
      join named
        on named.external_id = tied.external_id
        and named.identity_kind = tied.identity_kind
        and named.browser_id is null
      join named as other
        on other.person_id = named.person_id
        and other.is_own
        and other.browser_id is null
      where tied.has_past
        and named.is_own
    ) as known (user_name, external_id, identity_kind, since, position, has_past)
    order by known.user_name, known.external_id, known.identity_kind, known.since, known.position
  ),

  -- Decisions of the batch, which apply from their time on, and the latest earlier one of each person.
  said as materialized (
    select
      valid.external_id, valid.identity_kind, preference.key as purpose, preference.value::boolean as granted,
      valid.occurred_at as decided_at, valid.position,
      case
        when valid.identity_kind = 'anonymous' then track._browser_identity(valid.external_id, valid.occurred_at)
      end as browser_id
    from valid
    cross join lateral jsonb_each(
      case jsonb_typeof(valid.preferences) when 'object' then valid.preferences end
    ) as preference
    where valid.is_decision
      and jsonb_typeof(preference.value) = 'boolean'
  ),

  recorded as materialized (
    select distinct on (consent.person_id, consent.purpose)
      consent.person_id, consent.purpose, consent.granted, consent.decided_at,
      max(consent.decided_at) filter (where consent.source in ('gpc', 'dnt'))
        over (partition by consent.person_id, consent.purpose) as signalled_at
    from (select distinct named.person_id from named) as person
    join privacy.consent on consent.person_id = person.person_id
    order by consent.person_id, consent.purpose, consent.decided_at desc, consent.recorded_at desc
  ),

  decision as materialized (
    select
      named.external_id, named.identity_kind, named.browser_id, recorded.purpose, recorded.granted,
      recorded.decided_at, recorded.signalled_at, null::timestamptz as since, -1 as position
    from named
    join recorded using (person_id)
    where named.is_own or not recorded.granted

    union all

    -- Of a name that is new.
    select
      said.external_id, said.identity_kind, null, said.purpose, said.granted, said.decided_at, null, said.decided_at,
      said.position
    from said
    where not exists (
      select
      from named
      where named.external_id = said.external_id
        and named.identity_kind = said.identity_kind
        and named.is_own
    )

    union all

    -- Of a person, for all of her names.
    select
      other.external_id, other.identity_kind, other.browser_id, said.purpose, said.granted, said.decided_at, null,
      said.decided_at, said.position
    from said
    join named
      on named.external_id = said.external_id
      and named.identity_kind = said.identity_kind
      and (named.browser_id is null or named.browser_id = said.browser_id)
    join named as other on other.person_id = named.person_id
    where not said.granted
      or named.is_own and other.is_own and not (
        said.identity_kind = 'anonymous'
        and (select key.kind from track.identity as key where key.identity_id = named.person_id) = 'user'
      )

    union all

    -- Refusals of names that the batch links, under the name of the user: see `tied_to`.
    select
      tied.user_name, 'tied', null, said.purpose, false, said.decided_at, null,
      greatest(said.decided_at, tied.since),
      case
        when tied.since < said.decided_at then said.position
        when tied.since = said.decided_at then greatest(said.position, tied.position)
        else tied.position
      end
    from said
    join tied_name as tied
      on tied.external_id = said.external_id
      and tied.identity_kind = said.identity_kind
      and (tied.has_past or tied.since <= said.decided_at)
    where not said.granted

    union all

    (
      select distinct on (tied.user_name, recorded.purpose)
        tied.user_name, 'tied', null::bigint, recorded.purpose, false, recorded.decided_at, recorded.signalled_at,
        tied.since, tied.position
      from tied_name as tied
      join named
        on named.external_id = tied.external_id
        and named.identity_kind = tied.identity_kind
        and named.is_own
      join recorded using (person_id)
      where not recorded.granted
        and tied.has_past
      order by tied.user_name, recorded.purpose, recorded.decided_at desc
    )
  ),

  asked as materialized (
    select
      valid.position, valid.external_id, valid.identity_kind, valid.occurred_at, purpose.purpose, purpose.basis,
      purpose.without_basis,
      case jsonb_typeof(valid.preferences -> purpose.purpose)
        when 'boolean' then (valid.preferences ->> purpose.purpose)::boolean
      end as preference,
      purpose.opted_out_by_gpc and (valid.opts_out or 'gpc' = any (_withheld_messages.opt_out))
        or purpose.opted_out_by_dnt and 'dnt' = any (_withheld_messages.opt_out) as is_signalled,
      -- A sub-query that is hashed: a join would be a nested loop, since the planner cannot estimate the rows of an
      -- array.
      (valid.external_id, valid.identity_kind, purpose.purpose) in (
        select decision.external_id, decision.identity_kind, decision.purpose
        from decision
      ) as is_decided,
      -- Users to whom the batch has linked the name by then: as if each message had come alone.
      case
        when (valid.external_id, valid.identity_kind) in (
          select tied_name.external_id, tied_name.identity_kind from tied_name
        ) then (
          select array_agg(tied.user_name)
          from tied_name as tied
          where tied.external_id = valid.external_id
            and tied.identity_kind = valid.identity_kind
            and (tied.since, tied.position) <= (valid.occurred_at, valid.position)
        )
      end as tied_to
    from valid
    left join track.event_type on event_type.name = valid.event_name
    join privacy.purpose on purpose.purpose = coalesce(event_type.purpose, 'analytics')
    -- A decision itself needs no consent.
    where not valid.is_decision
  )

  -- In this order: a refusal of the person, a signal of the browser, the preference in the message, a grant of the
  -- person, the lawful basis.
  select asked.position, asked.purpose, asked.without_basis = 'refuse'
  from asked
  where case
    when asked.is_decided or asked.tied_to is not null then (
      select case
        when not latest.granted then true
        when asked.is_signalled then not coalesce(latest.granted and latest.is_after_signal, false)
        else not coalesce(asked.preference, latest.granted, asked.basis <> 'consent')
      end
      from (
        select
          (array_agg(decision.granted order by decision.decided_at desc, decision.position desc))[1] as granted,
          max(decision.decided_at) > max(decision.signalled_at) as is_after_signal
        from decision
        where (
            decision.external_id = asked.external_id and decision.identity_kind = asked.identity_kind
            or decision.external_id = any (asked.tied_to) and decision.identity_kind = 'tied'
          )
          and decision.purpose = asked.purpose
          and (decision.since is null or (decision.since, decision.position) <= (asked.occurred_at, asked.position))
          and (
            decision.browser_id is null
            or decision.browser_id = (select track._browser_identity(asked.external_id, asked.occurred_at))
          )
      ) as latest
    )
    else asked.is_signalled or not coalesce(asked.preference, asked.basis <> 'consent')
  end;
end;
$$;

comment on function track._withheld_messages(track.parsed_message[], text[]) is $$
Returns the valid messages that may not be stored with their person, because there is no consent to their purpose.
A refusal that was recorded before the batch applies to all of its messages, whatever time they give; a decision of
the batch applies to the messages from its time on. A refusal also applies to names that the batch links to the person.
`opt_out`: signals of the request, `gpc` and `dnt`.
$$;
--! EndIncluded track/ingest/withheld_messages.sql

--! Included track/ingest/ask_consent.sql
create or replace function track._ask_consent(messages track.parsed_message[], opt_out text[])
returns track.parsed_message[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_messages track.parsed_message[] := messages;
  v_message track.parsed_message;
  v_withheld track.withheld_message;
  v_place int;
begin
  -- A decision needs no consent, and so carries nothing else: a person who refuses would leave a page or a trait.
  for v_place in
    select message.ordinality
    from unnest(messages) with ordinality as message
    where message.event_name = 'Segment Consent Preference Updated'
      and num_nonnulls(message.item, message.item_parent, message.traits) > 0
  loop
    v_message := v_messages[v_place];
    v_message.item := null;
    v_message.item_kind := null;
    v_message.item_title := null;
    v_message.item_parent := null;
    v_message.item_url := null;
    v_message.traits := null;
    v_messages[v_place] := v_message;
  end loop;

  -- Few or none, as a rule, so that the others are not copied.
  for v_withheld in
    select withheld.* from track._withheld_messages(messages, opt_out) as withheld
  loop
    v_message := v_messages[v_withheld.position + 1];
    if v_withheld.is_refused then
      v_message.problem := row(
        'CF005',
        format('the person has not agreed to "%s"', v_withheld.purpose),
        'Ask first, and say so in context.consent.categoryPreferences or by privacy.record_consent.'
      );
    else
      v_message.identity_kind := 'none';
      v_message.external_id := 'none';
      v_message.anonymous_id := null;
      v_message.previous_id := null;
      v_message.properties := null;
      v_message.client_at := null;
      v_message.traits := null;
      v_message.preferences := null;
      -- A name that is new may identify the person, such as the path of a page.
      if not exists (select from track.item where item.external_id = v_message.item) then
        v_message.item := null;
      end if;
      if not exists (select from track.event_type where event_type.name = v_message.event_name) then
        v_message.event_name := case when v_message.event_name is not null then 'Other Event' end;
      end if;
      v_message.item_kind := null;
      v_message.item_title := null;
      v_message.item_parent := null;
      v_message.item_url := null;
    end if;
    v_messages[v_withheld.position + 1] := v_message;
  end loop;
  return v_messages;
end;
$$;

comment on function track._ask_consent(track.parsed_message[], text[]) is $$
Returns the messages after the check of consent.
A message whose person has not agreed to its purpose is rejected (CF005) or anonymized, as `privacy.purpose`
specifies. An anonymized message creates no identity, item or event type, and a decision no item or trait.
$$;
--! EndIncluded track/ingest/ask_consent.sql

--! Included track/ingest/enter_people.sql
create or replace function track._enter_people(kinds text[], external_ids text[], browser uuid default null)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_entered bigint[];
begin
  with named as (
    select distinct name.kind, name.external_id
    from unnest(_enter_people.kinds, _enter_people.external_ids) as name (kind, external_id)
  ),

  numbered as materialized (
    select kind, external_id, nextval('track.identity_identity_id_seq') as identity_id
    from named
    where not exists (
      select
      from track.identity
      where identity.external_id = named.external_id
        and identity.kind = named.kind
    )
    order by external_id, kind
  ),

  entered as (
    insert into track.identity (identity_id, kind, external_id, person_id, browser)
    overriding system value
    select
      identity_id, kind, external_id, identity_id, case kind when 'anonymous' then _enter_people.browser end
    from numbered
    order by external_id, kind
    on conflict (external_id, kind, branch) do nothing
    returning person_id
  ),

  stored as (
    insert into track.person (person_id)
    select person_id
    from entered
  )

  select array_agg(person_id) into v_entered
  from entered;
  if v_entered is not null then
    perform track._enqueue('identity', v_entered);
  end if;
end;
$$;

comment on function track._enter_people(text[], text[], uuid) is $$
Inserts new identities, each with a person of its own, and queues these people for the refresh.
`browser`: hash of the cookie of the calling browser, or null.
$$;

create or replace function track._enter_people_of(messages track.parsed_message[], browser uuid)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  perform track._enter_people(array_agg(named.kind), array_agg(named.external_id), _enter_people_of.browser)
  from (
    select message.identity_kind as kind, message.external_id
    from unnest(messages) as message

    union

    select 'anonymous', message.anonymous_id
    from unnest(messages) as message
    where message.type = 'identify' and message.anonymous_id is not null

    union

    -- An alias may come before any message of the name that it replaces, which may have been a user's or a browser's.
    select kind, message.previous_id
    from unnest(messages) as message
    cross join unnest(array['user', 'anonymous']) as kind
    where message.type = 'alias' and message.previous_id is not null
  ) as named;
end;
$$;

comment on function track._enter_people_of(track.parsed_message[], uuid) is $$
Inserts the identities that messages name for the first time; `browser` as for `track._enter_people`.
$$;
--! EndIncluded track/ingest/enter_people.sql

--! Included track/ingest/describe_items.sql
create or replace function track._describe_items(messages track.parsed_message[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  -- Events set only columns without a value, so that values of the application's tables are kept.
  with said as (
    select
      message.item,
      (array_agg(message.item_kind order by message.position) filter (where message.item_kind is not null))[1] as kind,
      (array_agg(message.item_title order by message.position) filter (where message.item_title is not null))[1]
        as title,
      (array_agg(message.item_url order by message.position) filter (where message.item_url is not null))[1] as url,
      (
        array_agg(coalesce(parent.merged_item_id, parent.item_id) order by message.position)
        filter (where parent.item_id is not null)
      )[1] as parent_item_id
    from unnest(messages) as message
    left join track.item as parent
      on parent.external_id = message.item_parent
      and parent.external_id <> message.item
    group by message.item
  )

  update track.item
  set
    kind = case when item.kind = 'unknown' then coalesce(said.kind, item.kind) else item.kind end,
    title = coalesce(item.title, said.title),
    url = coalesce(item.url, said.url),
    parent_item_id = coalesce(item.parent_item_id, nullif(said.parent_item_id, item.item_id)),
    updated_at = now()
  from said
  where item.external_id = said.item
    -- Not "is null": without statistics, the planner would expect few rows, and compare each pair.
    and num_nulls(item.merged_item_id) > 0
    and (
      item.kind = 'unknown' and said.kind is not null
      or item.title is null and said.title is not null
      or item.url is null and said.url is not null
      or item.parent_item_id is null and said.parent_item_id <> item.item_id
    );
end;
$$;

comment on function track._describe_items(track.parsed_message[]) is $$
Stores attributes of items that messages contain, for columns without a value. Raises CF010 for a cycle of parents.
$$;

create or replace function track._describe_items_one_by_one(messages track.parsed_message[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_message track.parsed_message;
begin
  perform track._describe_items(array(
    select jsonb_populate_record(message, '{"item_parent": null}') from unnest(messages) as message
  ));
  for v_message in
    select distinct on (message.item) message.*
    from unnest(messages) as message
    where message.item_parent is not null
    order by message.item, message.position
  loop
    begin
      perform track._describe_items(array[v_message]);
    exception
      when sqlstate 'CF010' then null;
    end;
  end loop;
end;
$$;

comment on function track._describe_items_one_by_one(track.parsed_message[]) is $$
Does the same as `track._describe_items`, without the parents that would form a cycle.
$$;
--! EndIncluded track/ingest/describe_items.sql

--! Included track/ingest/enter_items.sql
create or replace function track._enter_items(messages track.parsed_message[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  -- A snapshot from before a merge would store the events for the merged item: in these transactions, the lock fails.
  if current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
    perform item.item_id
    from track.item
    where item.external_id = any (array(select distinct message.item from unnest(messages) as message))
    order by item.item_id
    for share;
  end if;

  if not exists (
    select
    from unnest(messages) as message
    left join track.item on item.external_id = message.item
    where message.item is not null
      and (
        item.item_id is null
        or item.merged_item_id is null
        and (
          item.kind = 'unknown' and message.item_kind is not null
          or item.title is null and message.item_title is not null
          or item.url is null and message.item_url is not null
          or item.parent_item_id is null and message.item_parent is not null
        )
      )
  ) then
    return;
  end if;

  insert into track.item (external_id)
  select external_id
  from (
    select message.item from unnest(messages) as message
    union
    select message.item_parent from unnest(messages) as message
  ) as named (external_id)
  where external_id is not null
    and not exists (select from track.item where item.external_id = named.external_id)
  order by external_id
  on conflict (external_id) do nothing;

  -- Sorted, so that concurrent batches do not cause a deadlock.
  perform item.item_id
  from track.item
  where item.external_id = any (array(select distinct message.item from unnest(messages) as message))
  order by item.item_id
  for no key update;

  begin
    perform track._describe_items(messages);
  exception
    when sqlstate 'CF010' then
      perform track._describe_items_one_by_one(messages);
  end;
end;
$$;

comment on function track._enter_items(track.parsed_message[]) is $$
Inserts the items that messages name for the first time, and stores their missing attributes.
$$;
--! EndIncluded track/ingest/enter_items.sql

--! Included track/ingest/link_people.sql
create or replace function track._said_links(messages track.parsed_message[])
returns table (
  "position" int, identity_id bigint, linked_identity_id bigint, kind text, linked_at timestamptz, is_known boolean
)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
-- The statistics of a new database are those of empty tables.
set enable_seqscan to off
as $$
begin
  return query
  with said as materialized (
    select
      message.position, message.type, message.occurred_at, message.is_claim,
      case message.type when 'identify' then message.anonymous_id else message.previous_id end as name,
      person.identity_id as linked_identity_id
    from unnest(messages) as message
    join track.identity as person on person.external_id = message.external_id and person.kind = message.identity_kind
    where message.type in ('identify', 'alias')
      and message.identity_kind = 'user'
  ),

  browser as materialized (
    select
      said.position, said.name, said.linked_identity_id, said.occurred_at,
      case when said.is_claim then 'claim' else said.type end as kind,
      (
        select identity.identity_id
        from track.identity
        where identity.external_id = said.name
          and identity.kind = 'anonymous'
          and identity.user_identity_id = said.linked_identity_id
          and (
            identity.identity_id = track._browser_identity(said.name, said.occurred_at)
            or exists (
              select
              from track.identity_link as link
              where link.identity_id = identity.identity_id
                and link.linked_identity_id = said.linked_identity_id
                and link.linked_at = said.occurred_at
                and link.kind <> 'claim'
                and link.unlinked_at is null
            )
          )
      ) as own_id,
      first.identity_id as any_id
    from said
    join track.identity as first on first.external_id = said.name and first.kind = 'anonymous' and first.branch = 0
    where not exists (
      select
      from track.identity as sibling
      join track.identity_link as link on link.identity_id = sibling.identity_id
      where sibling.external_id = said.name
        and sibling.kind = 'anonymous'
        and link.linked_identity_id = said.linked_identity_id
        and link.unlinked_at >= said.occurred_at
    )
  )

  select
    browser.position, coalesce(browser.own_id, browser.any_id), browser.linked_identity_id, browser.kind,
    browser.occurred_at,
    browser.kind = 'claim' or browser.own_id is not null
  from browser

  union all

  select said.position, other.identity_id, said.linked_identity_id, said.type, said.occurred_at, false
  from said
  join track.identity as other on other.external_id = said.name and other.kind = 'user'
  where said.type = 'alias'
    and other.identity_id <> said.linked_identity_id
    and not track._is_linked(other.identity_id, said.linked_identity_id, said.occurred_at);
end;
$$;

comment on function track._said_links(track.parsed_message[]) is $$
Returns the links of `identify` and `alias` messages that are not stored.
`is_known`: the browser belongs to the user at that time already, or the link is a claim, so that storing it moves
nothing.
$$;

create or replace function track._link_people_of(messages track.parsed_message[], also_locked bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
-- The statistics of a new database are those of empty tables.
set enable_seqscan to off
as $$
declare
  v_identities bigint[];
  v_linked_identities bigint[];
  v_kinds text[];
  v_linked_at timestamptz[];
begin
  -- Most links are known, such as those of a client that identifies with each page. Storing them locks no person.
  if (select coalesce(bool_and(said.is_known), true) from track._said_links(messages) as said) then
    begin
      perform identity.identity_id
      from track.identity
      where identity.identity_id = any (also_locked)
      order by identity.identity_id
      for key share;
      if (select coalesce(bool_and(said.is_known), true) from track._said_links(messages) as said) then
        perform track._store_known_links(messages);
        return;
      end if;
      perform common.refuse('CF099', 'a browser was linked to another user concurrently');
    exception
      -- The error releases the locks. They must not be in a sub-transaction of this one: those that wait for a lock of
      -- a finished sub-transaction wait for the end of the whole transaction.
      when sqlstate 'CF099' then null;
    end;
  end if;

  select
    array_agg(said.identity_id order by said.position, said.identity_id),
    array_agg(said.linked_identity_id order by said.position, said.identity_id),
    array_agg(said.kind order by said.position, said.identity_id),
    array_agg(said.linked_at order by said.position, said.identity_id)
  into v_identities, v_linked_identities, v_kinds, v_linked_at
  from track._said_links(messages) as said
  where said.kind <> 'claim';
  if v_identities is not null then
    perform track._link_people(v_identities, v_linked_identities, v_kinds, v_linked_at, also_locked);
  end if;

  -- The persons of the identities must not change from here to the end of the transaction.
  perform identity.identity_id
  from track.identity
  where identity.identity_id = any (also_locked)
  order by identity.identity_id
  for key share;
  perform track._store_known_links(messages);
end;
$$;

comment on function track._link_people_of(track.parsed_message[], bigint[]) is $$
Creates the links of `identify` and `alias` messages, then locks the identities `also_locked`.
$$;

create or replace function track._store_known_links(messages track.parsed_message[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  insert into track.identity_link (identity_id, linked_identity_id, kind, linked_at)
  select distinct on (said.identity_id, said.linked_identity_id, said.linked_at)
    said.identity_id, said.linked_identity_id, said.kind, said.linked_at
  from track._said_links(messages) as said
  where said.is_known
  order by said.identity_id, said.linked_identity_id, said.linked_at, said.position
  on conflict on constraint identity_link_pkey do nothing;
end;
$$;

comment on function track._store_known_links(track.parsed_message[]) is $$
Stores the links of messages that move nothing.
$$;
--! EndIncluded track/ingest/link_people.sql

--! Included track/ingest/place_messages.sql
create or replace function track._named_identities(messages track.parsed_message[])
returns bigint[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return array(
    select identity.identity_id
    from (
      select message.external_id, message.identity_kind
      from unnest(messages) as message

      union

      select coalesce(message.previous_id, message.anonymous_id), 'anonymous'
      from unnest(messages) as message
      where message.type in ('identify', 'alias')

      union

      select message.external_id, 'anonymous'
      from unnest(messages) as message
      where message.identity_kind = 'unverified'
    ) as named (external_id, kind)
    join track.identity on identity.external_id = named.external_id and identity.kind = named.kind
  );
end;
$$;

comment on function track._named_identities(track.parsed_message[]) is $$
Returns the identities for which messages store data or links.
$$;

create or replace function track._place_messages(
  messages track.parsed_message[],
  has_browsers boolean,
  out identities bigint[],
  out people bigint[]
)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  -- Browsers that several people have used. The others have one identity, whatever the time of the message.
  v_shared text[] := '{}';
begin
  if has_browsers then
    v_shared := array(
      select distinct identity.external_id
      from (
        select distinct message.external_id
        from unnest(messages) as message
        where message.identity_kind = 'anonymous'
      ) as named
      join track.identity on identity.external_id = named.external_id and identity.kind = 'anonymous'
      where identity.branch <> 0
    );
  end if;
  select
    array_agg(identity.identity_id order by message.ordinality),
    array_agg(identity.person_id order by message.ordinality)
  into _place_messages.identities, _place_messages.people
  from unnest(messages) with ordinality as message
  join track.identity
    on identity.external_id = message.external_id
    and identity.kind = message.identity_kind
  where v_shared = '{}'
    or message.identity_kind <> 'anonymous'
    or message.external_id <> all (v_shared)
    or identity.identity_id = track._browser_identity(message.external_id, message.occurred_at);
end;
$$;

comment on function track._place_messages(track.parsed_message[], boolean) is $$
Returns the identity and the person of each message, in the order of the messages. All names are entered and locked.
`has_browsers`: whether a message may have an `anonymousId` only.
$$;
--! EndIncluded track/ingest/place_messages.sql

--! Included track/ingest/store_events.sql
create or replace function track._store_events(
  messages track.parsed_message[],
  identities bigint[],
  people bigint[],
  source smallint
)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  with placed as materialized (
    select
      people[message.ordinality] as person_id, message.occurred_at, message.message_hash,
      identities[message.ordinality] as identity_id, event_type.event_type_id,
      coalesce(item.merged_item_id, item.item_id) as item_id, message.received_at, message.properties,
      message.client_at,
      case
        when message.client_at is not null then track._milliseconds_ahead(message.client_at, message.received_at)
      end as ahead
    from unnest(messages) with ordinality as message
    join track.event_type on event_type.name = message.event_name
    left join track.item on item.external_id = message.item
  ),

  stored as (
    insert into track.event (
      person_id, occurred_at, event_id, identity_id, event_type_id, item_id, received_at, source_id, properties,
      client_at
    )
    select
      placed.person_id,
      placed.occurred_at,
      track._event_id(placed.occurred_at, placed.message_hash, _store_events.source, placed.ahead),
      placed.identity_id,
      placed.event_type_id,
      placed.item_id,
      placed.received_at,
      _store_events.source,
      placed.properties,
      placed.client_at
    from placed
  )

  -- By month, so that an old and a new event of a batch do not queue the months between them.
  insert into track.stale (person_id, since, until)
  select placed.person_id, min(placed.occurred_at), max(placed.occurred_at)
  from placed
  group by placed.person_id, date_trunc('month', placed.occurred_at, 'UTC');
end;
$$;

comment on function track._store_events(track.parsed_message[], bigint[], bigint[], smallint) is $$
Stores the events of messages with their identities and people, and queues their people for the refresh of sessions.
$$;
--! EndIncluded track/ingest/store_events.sql

--! Included track/ingest/store_traits.sql
create or replace function track._store_traits(messages track.parsed_message[], identities bigint[], people bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  insert into track.trait (person_id, identity_id, name, value, set_at)
  select distinct on (identities[message.ordinality], trait.key)
    people[message.ordinality], identities[message.ordinality], trait.key, trait.value, message.occurred_at
  from unnest(messages) with ordinality as message
  cross join lateral jsonb_each(message.traits) as trait
  where message.traits is not null
    and length(trait.key) between 1 and 100
  order by identities[message.ordinality], trait.key, message.occurred_at desc, trait.value desc
  on conflict (person_id, identity_id, name) do update
  set value = excluded.value, set_at = excluded.set_at
  where (trait.set_at, trait.value) < (excluded.set_at, excluded.value);

  if exists (
    select
    from track.identity
    join track.identity as sibling on sibling.external_id = identity.external_id and sibling.kind = 'anonymous'
    where identity.identity_id = any (identities)
      and identity.kind = 'anonymous'
      and sibling.branch <> 0
  ) then
    perform track._keep_latest_traits(identities);
  end if;
end;
$$;

comment on function track._store_traits(track.parsed_message[], bigint[], bigint[]) is $$
Stores the traits of messages; the latest value by the time of the message applies.
$$;
--! EndIncluded track/ingest/store_traits.sql

--! Included track/ingest/store_consent.sql
create or replace function track._store_consent(messages track.parsed_message[], identities bigint[], people bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_named text[];
begin
  -- A grant of a browser that was linked before does not bind the person.
  v_named := array(
    select distinct message.external_id
    from unnest(messages) with ordinality as message
    join track.identity as key on key.identity_id = people[message.ordinality]
    where message.event_name = 'Segment Consent Preference Updated'
      and message.identity_kind = 'anonymous'
      and key.kind = 'user'
      and jsonb_path_exists(message.preferences, '$.* ? (@ == true)')
  );
  perform track._enter_people(array_fill('unverified'::text, array[cardinality(v_named)]), v_named);

  perform privacy.record_decisions(
    array_agg(decided.person_id), array_agg(decided.identity_id), array_agg(purpose.purpose),
    array_agg(preference.value::boolean), array_agg(message.occurred_at), 'event', array_agg(message.properties)
  )
  from unnest(messages) with ordinality as message
  cross join lateral jsonb_each(
    case jsonb_typeof(message.preferences) when 'object' then message.preferences end
  ) as preference
  join privacy.purpose on purpose.purpose = preference.key
  cross join lateral (
    select identity.identity_id, identity.person_id
    from track.identity
    where identity.identity_id = identities[message.ordinality]
      and not (
        message.identity_kind = 'anonymous' and preference.value = 'true' and message.external_id = any (v_named)
      )

    union all

    select identity.identity_id, identity.person_id
    from track.identity
    where identity.external_id = message.external_id
      and identity.kind = 'unverified'
      and message.identity_kind = 'anonymous'
      and preference.value = 'true'
      and message.external_id = any (v_named)

    union all

    -- A refusal counts for the person of the browser also without proof.
    select identity.identity_id, identity.person_id
    from track.identity
    where identity.identity_id = track._browser_identity(message.external_id, message.occurred_at)
      and message.identity_kind = 'unverified'
      and preference.value = 'false'
  ) as decided
  where message.event_name = 'Segment Consent Preference Updated'
    and jsonb_typeof(preference.value) = 'boolean'
  having count(*) > 0;
end;
$$;

comment on function track._store_consent(track.parsed_message[], bigint[], bigint[]) is $$
Stores the decisions of messages, with the properties of the message as evidence.
A grant under the `anonymousId` of a person is stored for the identity of kind `unverified`; a refusal for both.
$$;
--! EndIncluded track/ingest/store_consent.sql

--! Included track/ingest/store_signals.sql
create or replace function track._store_signals(
  messages track.parsed_message[], opt_out text[], received_at timestamptz
)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  perform privacy.record_decisions(
    array_agg(signalled.person_id), array_agg(signalled.identity_id), array_agg(signalled.purpose),
    array_agg(false), array_agg(_store_signals.received_at), signalled.source
  )
  from (
    select distinct on (person.person_id, purpose.purpose)
      person.person_id, person.identity_id, purpose.purpose,
      case when purpose.opted_out_by_gpc and 'gpc' = any (_store_signals.opt_out) then 'gpc' else 'dnt' end as source
    from (
      select identity.person_id, identity.identity_id
      from (
        select distinct
          message.external_id, case message.identity_kind when 'user' then 'user' else 'anonymous' end as kind
        from unnest(messages) as message
        where message.problem is null
          and message.identity_kind <> 'none'
      ) as named
      join track.identity
        on identity.external_id = named.external_id
        and identity.kind = named.kind
      where named.kind = 'user'
        or identity.identity_id = track._browser_identity(named.external_id, _store_signals.received_at)
    ) as person
    join privacy.purpose
      on purpose.opted_out_by_gpc and 'gpc' = any (_store_signals.opt_out)
      or purpose.opted_out_by_dnt and 'dnt' = any (_store_signals.opt_out)
    order by person.person_id, purpose.purpose, person.identity_id
  ) as signalled
  left join lateral (
    select
      (array_agg(consent.granted order by consent.decided_at desc, consent.recorded_at desc))[1] as granted,
      bool_or(consent.source in ('gpc', 'dnt')) as is_signalled
    from privacy.consent
    where consent.person_id = signalled.person_id
      and consent.purpose = signalled.purpose
  ) as latest on true
  -- Not again after the person has granted it, because most browsers send the signal with each request.
  where latest.granted is null
    or latest.granted and not latest.is_signalled
  group by signalled.source;
end;
$$;

comment on function track._store_signals(track.parsed_message[], text[], timestamptz) is $$
Records the opt-out signals of a request (`gpc`, `dnt`) as refusals of the people of its messages.
Once per person and purpose: a later grant of the person applies, although the browser still sends the signal.
$$;
--! EndIncluded track/ingest/store_signals.sql

--! Included track/ingest/ingest.sql
/*
 * A definer: callers may write events only through this function, which checks each message.
 * Without just-in-time compilation, which would take seconds for statements that run for milliseconds.
 */
create or replace function track.ingest(batch jsonb)
returns track.ingest_result
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_batch constant track.message_batch := track._read_batch(ingest.batch);
  v_received_at constant timestamptz := clock_timestamp();
  v_sender constant track.message_sender := track._sender(v_received_at);
  v_messages track.parsed_message[];
  -- The messages with their people, when the request has an opt-out signal.
  v_signalled track.parsed_message[];
  v_locked bigint[];
  v_placed record;
  v_links boolean;
  v_traits boolean;
  v_decisions boolean;
  v_browsers boolean;
  v_result track.ingest_result;
begin
  v_messages := track._parse_messages(v_batch, v_received_at, v_sender);
  v_messages := track._verify_browsers(v_messages, v_sender);
  select
    bool_or(message.type in ('identify', 'alias')),
    bool_or(message.traits is not null),
    bool_or(message.event_name = 'Segment Consent Preference Updated'),
    bool_or(message.identity_kind = 'anonymous')
  into v_links, v_traits, v_decisions, v_browsers
  from unnest(v_messages) as message
  where message.problem is null;
  if v_links then
    v_messages := track._limit_identities(v_messages);
  end if;
  if v_sender.opt_out <> '{}' then
    v_signalled := v_messages;
  end if;
  v_messages := track._ask_consent(v_messages, v_sender.opt_out);
  v_result.errors := track._problems(v_messages);
  v_result.rejected := jsonb_array_length(v_result.errors);
  if v_result.rejected > 0 then
    perform track._count_refused(v_messages, v_batch.messages, v_sender.source_id, v_received_at);
  end if;

  v_result.duplicates := coalesce(cardinality(v_messages), 0) - v_result.rejected;
  v_messages := track._store_messages(v_messages, v_sender.source_id);
  v_result.accepted := cardinality(v_messages);
  v_result.duplicates := v_result.duplicates - v_result.accepted;
  if v_result.accepted = 0 and v_signalled is null then
    return v_result;
  end if;

  -- Months first: creating a partition waits for transactions that have inserted items or event types, so that this
  -- transaction must not have inserted any before.
  perform track._enter_months(v_messages);
  perform track._enter_people_of(v_messages, v_sender.browser);
  if v_signalled is not null then
    perform track._enter_people(array_agg('user'::text), array_agg(message.external_id))
    from unnest(v_signalled) as message
    where message.identity_kind = 'user'
      and message.problem is null;
  end if;
  perform track._enter_event_types(v_messages);
  perform track._enter_items(v_messages);

  v_locked := track._named_identities(v_messages || v_signalled);
  -- The persons of the identities must not change from here to the end of the transaction, or the rows below would be
  -- stored for a former person.
  if v_links then
    perform track._link_people_of(v_messages, v_locked);
  else
    perform identity.identity_id
    from track.identity
    where identity.identity_id = any (v_locked)
    order by identity.identity_id
    for key share;
  end if;
  v_placed := track._place_messages(v_messages, v_browsers);

  perform track._store_events(v_messages, v_placed.identities, v_placed.people, v_sender.source_id);
  if v_traits then
    perform track._store_traits(v_messages, v_placed.identities, v_placed.people);
  end if;
  if v_decisions then
    perform track._store_consent(v_messages, v_placed.identities, v_placed.people);
  end if;
  if v_signalled is not null then
    perform track._store_signals(v_signalled, v_sender.opt_out, v_received_at);
  end if;
  return v_result;
end;
$$;

comment on function track.ingest(jsonb) is $$
Stores messages in Segment's format (`track`, `page`, `screen`, `identify`, `alias`, `group`).
A batch is a list, one message, or `{batch, sentAt, context}`; a JSON string with any of these is parsed.
Each `messageId` of a source is stored once, also by concurrent calls and at any later time. An invalid message is
rejected with an error of its own; the others are stored.
Items are created when first named. `properties` of trusted senders (`itemKind`, `itemTitle`, `parent`, `url`) are
stored where the item has no value yet; a parent that would form a cycle is ignored.
An event is never later than its arrival. The time of the client applies, unless its clock is behind by more than
`track.setting.clock_tolerance` or ahead: then the event is at `receivedAt - (sentAt - timestamp)`.
Learners may send their own events only, visitors only with an `anonymousId`, which is checked: see
`track.identity.browser`. A browser belongs to the user who identified on it last before the event, and before the
first `identify` to the first user. A write key (setting `insights.write_key`: its SHA-256 hash) decides the source and
its level. Refused messages are counted: see
`track.refused_messages`.
Errors of the whole batch: CF005 when the write key may not be used, CF009 when it is not a list of messages, CF008
when it has more than `track.setting.largest_batch` messages or its `context` is too long, CF001 when its `context`
contains a number beyond double precision.
$$;

grant execute on function track.ingest(jsonb)
to insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;
--! EndIncluded track/ingest/ingest.sql

--! Included track/items/_merge_items.sql
create or replace function track._merge_item(merged_id bigint, target_id bigint)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_merged constant track.item := (select item from track.item where item.item_id = _merge_item.merged_id);
  v_people bigint[];
begin
  -- The tree: the parts of the merged item become parts of the other. Neither may become a part of itself.
  update track.item
  set parent_item_id = v_merged.parent_item_id
  where item.item_id = _merge_item.target_id
    and exists (
      select
      from track.item_ancestor
      where item_ancestor.item_id = _merge_item.target_id
        and item_ancestor.ancestor_item_id = v_merged.item_id
    );
  update track.item
  set parent_item_id = _merge_item.target_id
  where item.parent_item_id = v_merged.item_id;
  update track.item
  set parent_item_id = null, kind = 'merged', merged_item_id = _merge_item.target_id, updated_at = now()
  where item.item_id = v_merged.item_id;
  update track.item
  set merged_item_id = _merge_item.target_id
  where item.merged_item_id = v_merged.item_id;

  update track.item
  set
    kind = case item.kind when 'unknown' then v_merged.kind else item.kind end,
    title = coalesce(item.title, v_merged.title),
    url = coalesce(item.url, v_merged.url),
    language = coalesce(item.language, v_merged.language),
    attributes = v_merged.attributes || item.attributes,
    available_from = coalesce(item.available_from, v_merged.available_from),
    available_until = coalesce(item.available_until, v_merged.available_until),
    due_at = coalesce(item.due_at, v_merged.due_at),
    parent_item_id = coalesce(
      item.parent_item_id,
      (
        select v_merged.parent_item_id
        where not exists (
          select
          from track.item_ancestor
          where item_ancestor.item_id = v_merged.parent_item_id
            and item_ancestor.ancestor_item_id = _merge_item.target_id
        )
      )
    ),
    updated_at = now()
  where item.item_id = _merge_item.target_id;

  with deleted as (
    delete from track.prerequisite
    where v_merged.item_id in (prerequisite.item_id, prerequisite.required_item_id)
    returning prerequisite.*
  ),

  renamed as (
    select
      case deleted.item_id when v_merged.item_id then _merge_item.target_id else deleted.item_id end as item_id,
      case deleted.required_item_id when v_merged.item_id then _merge_item.target_id else deleted.required_item_id end
        as required_item_id
    from deleted
  )

  insert into track.prerequisite (item_id, required_item_id)
  select renamed.item_id, renamed.required_item_id
  from renamed
  where renamed.item_id <> renamed.required_item_id
  on conflict (item_id, required_item_id) do nothing;

  with deleted as (
    delete from track.enrolment
    where enrolment.item_id = v_merged.item_id
    returning enrolment.*
  ),

  placed as (
    insert into track.enrolment (person_id, item_id, status, enrolled_at, ended_at, identity_id)
    select person_id, _merge_item.target_id, status, enrolled_at, ended_at, identity_id
    from deleted
    on conflict (person_id, item_id, identity_id) do nothing
  )

  select array_agg(distinct deleted.person_id)
  into v_people
  from deleted;
  perform track._enqueue('enrolment', v_people);
end;
$$;

comment on function track._merge_item(bigint, bigint) is $$
Makes an item a further name of another one.
Moves its parts, prerequisites and enrolments, and fills the columns of the other item that have no value. An enrolment
of the same identity in the other item is kept.
$$;

create or replace function track._merge_items(item_ids bigint[], target_ids bigint[])
returns bigint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_item_id bigint;
  v_target_id bigint;
  v_moved bigint;
begin
  for v_item_id, v_target_id in
    select pair.item_id, pair.target_id
    from unnest(_merge_items.item_ids, _merge_items.target_ids) as pair (item_id, target_id)
    order by pair.item_id
  loop
    perform track._merge_item(v_item_id, v_target_id);
  end loop;

  -- Planned for each execution: for few items, the planner compares instead of hashing.
  execute $statement$
    with moved as (
      update track.event
      set item_id = pair.target_id
      from unnest($1, $2) as pair (item_id, target_id)
      where event.item_id = pair.item_id
      returning event.person_id, event.occurred_at
    ),

    queued as (
      insert into track.stale (person_id, since, until)
      select person_id, min(occurred_at), max(occurred_at)
      from moved
      group by person_id, date_trunc('month', occurred_at, 'UTC')
    )

    select count(*)
    from moved
  $statement$
  into v_moved
  using _merge_items.item_ids, _merge_items.target_ids;
  return v_moved;
end;
$$;

comment on function track._merge_items(bigint[], bigint[]) is $$
Merges items into other items, moves their events, and queues the people of these for the refresh.
The caller has locked `track.item` and `track.event`, so that no transaction stores events of these items at the same
time. Returns the number of events.
$$;
--! EndIncluded track/items/_merge_items.sql

--! Included track/items/merge_items.sql
create or replace function track.merge_items(item text, target text)
returns bigint
language plpgsql
volatile
-- A definer: it moves the events of all people, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set lock_timeout to '5s'
as $$
declare
  v_missing text;
  v_item track.item;
  v_target track.item;
begin
  -- In the order of track.ingest, which waits here until the events are moved. Afterwards it finds the merged item.
  lock table track.item in share row exclusive mode;
  lock table track.event in share mode;

  select known.* into v_item from track.item as known where known.external_id = merge_items.item;
  select known.* into v_target from track.item as known where known.external_id = merge_items.target;
  if v_item.item_id is null or v_target.item_id is null then
    v_missing := case when v_item.item_id is null then merge_items.item else merge_items.target end;
    perform common.refuse(
      'CF002',
      format('there is no item "%s"', coalesce(left(v_missing, 100), 'null')),
      'Give the external ids of two items, as in track.item.'
    );
  end if;
  if v_item.merged_item_id = coalesce(v_target.merged_item_id, v_target.item_id) then
    return 0;
  end if;
  if v_item.merged_item_id is not null then
    perform common.refuse(
      'CF001',
      format('item "%s" was merged into another one', left(merge_items.item, 100)),
      format(
        'Merge that one: "%s".',
        (select left(known.external_id, 100) from track.item as known where known.item_id = v_item.merged_item_id)
      )
    );
  end if;
  if v_item.item_id = coalesce(v_target.merged_item_id, v_target.item_id) then
    perform common.refuse(
      'CF001',
      format('"%s" and "%s" are the same item', left(merge_items.item, 100), left(merge_items.target, 100)),
      'Give two different items.'
    );
  end if;
  return track._merge_items(
    array[v_item.item_id], array[coalesce(v_target.merged_item_id, v_target.item_id)]
  );
end;
$$;

comment on function track.merge_items(text, text) is $$
Merges `item` into `target`.
Its events, parts, prerequisites and enrolments become those of `target`, and later messages with its name too. Returns
the number of events.
Derived data follow with the next `track.refresh`, and models with their next training. The row of the item stays, with
the kind `merged`. All events are read, and messages wait meanwhile; the transaction fails (55P03) when it waits for
others for more than 5 seconds. It cannot be undone.
Errors: CF002 for an unknown item, CF001 for two names of the same item and for an item that was merged into another.
$$;

grant execute on function track.merge_items(text, text) to insights_admin;
--! EndIncluded track/items/merge_items.sql

--! Included track/items/apply_path_rule.sql
create or replace function track.apply_path_rule(most_items int default 1000)
returns int
language plpgsql
volatile
-- A definer: it moves the events of all people, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set lock_timeout to '5s'
as $$
declare
  v_setting track.setting;
  v_candidates bigint[];
  v_renamed int;
  v_items bigint[];
  v_targets bigint[];
begin
  perform common.check_count('most_items', apply_path_rule.most_items, 1, 100000);
  -- In the order of track.ingest, which waits here until the events are moved. Afterwards it finds the merged items.
  lock table track.item in share row exclusive mode;
  lock table track.event in share mode;
  select setting.* into v_setting from track.setting;

  -- Items with the name of a page that is not normal by the rule of at least one source. A name of 512 characters may
  -- have been cut.
  v_candidates := array(
    select item.item_id
    from track.item
    where item.kind in ('page', 'unknown')
      and item.external_id ~* '^([/?#]|https?://)'
      and length(item.external_id) < 512
      and exists (
        select
        from track.source
        where item.external_id <> track._path_item(
          item.external_id,
          coalesce(source.path_rule, v_setting.path_rule),
          coalesce(source.kept_parameters, v_setting.kept_parameters)
        )
      )
  );
  if v_candidates = '{}' then
    return 0;
  end if;

  -- Their sources. Items that an event names by "properties.item" were not named by a path.
  with used as materialized (
    select event.item_id, event.source_id, bool_or(event.properties ? 'item') as is_named
    from track.event
    where event.item_id = any (v_candidates)
    group by event.item_id, event.source_id
  ),

  normal as (
    select
      item.item_id,
      track._path_item(
        item.external_id,
        coalesce(source.path_rule, v_setting.path_rule),
        coalesce(source.kept_parameters, v_setting.kept_parameters)
      ) as name,
      coalesce(used.is_named, false) as is_named
    from track.item
    left join used on used.item_id = item.item_id
    left join track.source on source.source_id = used.source_id
    where item.item_id = any (v_candidates)
  ),

  agreed as (
    select normal.item_id, min(normal.name) as name
    from normal
    group by normal.item_id
    having min(normal.name) = max(normal.name) and not bool_or(normal.is_named)
  ),

  planned as (
    select agreed.item_id, agreed.name
    from agreed
    join track.item on item.item_id = agreed.item_id
    where item.external_id <> agreed.name
    order by agreed.item_id
    limit apply_path_rule.most_items
  ),

  -- The oldest of the items of a name that no item has gets it, which moves no event.
  renamed as (
    update track.item
    set external_id = chosen.name, updated_at = now()
    from (
      select distinct on (planned.name) planned.name, planned.item_id
      from planned
      where not exists (select from track.item as known where known.external_id = planned.name)
      order by planned.name, planned.item_id
    ) as chosen
    where item.item_id = chosen.item_id
    returning item.item_id, item.external_id
  ),

  paired as (
    select planned.item_id, coalesce(target.merged_item_id, target.item_id, renamed.item_id) as target_id
    from planned
    left join track.item as target on target.external_id = planned.name
    left join renamed on renamed.external_id = planned.name
  )

  select
    (select count(*) from renamed),
    array_agg(paired.item_id) filter (where paired.item_id <> paired.target_id),
    array_agg(paired.target_id) filter (where paired.item_id <> paired.target_id)
  into v_renamed, v_items, v_targets
  from paired;

  if v_items is not null then
    perform track._merge_items(v_items, v_targets);
  end if;
  return v_renamed + coalesce(cardinality(v_items), 0);
end;
$$;

comment on function track.apply_path_rule(int) is $$
Applies the path rules of `track.setting` and `track.source` to the pages that are stored.
Items are renamed, and those that get the same name are merged, as by `track.merge_items`. Returns the number of items;
0: all are done.
At most `most_items` items are changed by a call. All events are read, and messages wait meanwhile. Items that an event
names explicitly (`properties.item`), described ones (of another kind than `page` and `unknown`), and those on which the
rules of their sources disagree are not changed. It cannot be undone.
Errors: CF001 unless `most_items` is from 1 to 100,000.
$$;

grant execute on function track.apply_path_rule(int) to insights_admin;
--! EndIncluded track/items/apply_path_rule.sql

--! Included track/functions/refresh_sessions.sql
/*
 * The time of a session is divided among its page views so that each moment counts once. A heartbeat confirms the time
 * before it, back to the previous heartbeat of the session or the opening of its page view, at most one interval. An
 * event is followed by a gap, up to the next event or the time that the next heartbeat confirms. Page views of clients
 * with heartbeats have the time that their heartbeats confirm, those of other clients their gaps.
 */
create or replace function track._compute_sessions(
  people bigint[],
  since timestamptz[],
  until timestamptz[],
  setting track.setting
)
returns track.refresh_result
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_setting constant track.setting := setting;
  v_result track.refresh_result;
begin
  with deleted as (
    delete from track.session
    using unnest(people, since, until) as period (person_id, since, until)
    where session.person_id = period.person_id
      and session.ended_at between period.since and period.until
    returning session.person_id, session.session_id
  )
  delete from track.page_view
  using deleted
  where page_view.person_id = deleted.person_id
    and page_view.session_id = deleted.session_id;

  delete from track.automatic_period
  using unnest(people, _compute_sessions.since, _compute_sessions.until) as period (person_id, since, until)
  where automatic_period.person_id = period.person_id
    and automatic_period.since >= period.since
    and automatic_period.until <= period.until;
  -- Those of people that were merged into others. A merge deletes none, so that it never waits for a refresh.
  delete from track.automatic_period
  where automatic_period.person_id = any (array(
    select merged.person_id
    from unnest(people) as merged (person_id)
    where not exists (select from track.person where person.person_id = merged.person_id)
  ));

  -- Events of automatic types and sources pass through the steps as sessions of their own, with negative numbers, so
  -- that the events are read once.
  with happened as (
    select
      event.person_id,
      event.occurred_at,
      event.event_id,
      event.item_id,
      event.source_id,
      event.identity_id,
      event_type.opens_view,
      event_type.is_heartbeat,
      event_type.is_automatic or source.is_automatic as is_automatic,
      case
        when event_type.opens_view or event_type.is_heartbeat
          then hashtextextended(event.properties ->> 'viewId', 0)
      end as view_key,
      case
        when not event_type.is_heartbeat then null
        when jsonb_typeof(event.properties -> 'interval') = 'number'
          and (event.properties ->> 'interval')::numeric > 0
          then least((event.properties ->> 'interval')::numeric, 86400)::float8 * interval '1 second'
        else coalesce(source.heartbeat, v_setting.heartbeat)
      end as heartbeat
    from unnest(people, since, until) as period (person_id, since, until)
    join track.event
      on event.person_id = period.person_id
      and event.occurred_at between period.since and period.until
    join track.event_type using (event_type_id)
    join track.source using (source_id)
    -- Person 0 (anonymized events) has no sessions.
    where period.person_id <> 0
  ),

  followed as (
    select
      happened.*,
      lag(occurred_at) over earlier as previous_at,
      max(occurred_at) filter (where is_heartbeat) over earlier as previous_heartbeat_at
    from happened
    window earlier as (
      partition by person_id, is_automatic
      order by occurred_at, event_id
      rows between unbounded preceding and 1 preceding
    )
  ),

  numbered as (
    select
      followed.*,
      case when is_automatic then -1 else 1 end
        * count(*) filter (where previous_at is null or occurred_at - previous_at > v_setting.session_timeout)
        over (partition by person_id, is_automatic order by occurred_at, event_id) as session_number
    from followed
  ),

  placed as (
    select
      numbered.*,
      first_value(event_id) over session_in_order as session_id,
      first_value(occurred_at) over session_in_order
        - case
          when first_value(is_heartbeat) over session_in_order
            then least(v_setting.minimum_visit, v_setting.session_timeout)
          else interval '0'
        end as session_started_at,
      count(*) filter (where opens_view) over session_in_order as view_number,
      max(occurred_at) filter (where opens_view) over session_in_order as view_opened_at,
      max(occurred_at) filter (where not is_heartbeat) over session_in_order as last_action_at,
      count(item_id) over session_in_order as item_number
    from numbered
    window session_in_order as (partition by person_id, session_number order by occurred_at, event_id)
  ),

  -- A heartbeat belongs to the view of its name that was opened before it. One without a name belongs to the last view.
  -- Others continue a view that was not opened in the session: that of their name, or else that of their item.
  keyed as (
    select
      placed.*,
      case when is_heartbeat and view_key is null and view_number = 0 then item_id end as continued_item_id
    from placed
  ),

  named as (
    select
      keyed.*,
      max(view_number) filter (where opens_view) over earlier_of_key as named_number,
      max(occurred_at) filter (where opens_view) over earlier_of_key as named_opened_at,
      max(occurred_at) filter (where is_heartbeat) over earlier_of_key as named_heartbeat_at
    from keyed
    window earlier_of_key as (
      partition by person_id, session_number, view_key, continued_item_id
      order by occurred_at, event_id
      rows between unbounded preceding and 1 preceding
    )
  ),

  targeted as (
    select
      named.*,
      case when is_heartbeat and view_key is not null then coalesce(named_number, 0) else view_number end
        as target_number,
      case when view_key is null then view_opened_at else named_opened_at end as opened_at
    from named
  ),

  confirmed as (
    select
      targeted.*,
      is_heartbeat and target_number = 0 as is_continued,
      is_heartbeat and (named_heartbeat_at is null or named_heartbeat_at < opened_at) as is_first_heartbeat,
      case
        when is_heartbeat
          then greatest(
            occurred_at - case
              when named_heartbeat_at is null or named_heartbeat_at < opened_at then v_setting.minimum_visit
              else heartbeat
            end,
            previous_heartbeat_at,
            opened_at,
            session_started_at
          )
      end as confirmed_since
    from targeted
  ),

  spent as (
    select
      confirmed.*,
      opens_view or is_continued and is_first_heartbeat as is_first_of_view,
      case when is_continued then coalesce(view_key, continued_item_id, 0) end as continued_key,
      -- Null for the last event of a session. The next heartbeat is the later one that confirms the earliest time.
      case
        when lag(occurred_at) over later_in_session is not null
          then greatest(
            least(
              lag(occurred_at) over later_in_session,
              min(confirmed_since) over later_in_session,
              last_action_at + v_setting.longest_gap
            ) - occurred_at,
            interval '0'
          )
      end as gap
    from confirmed
    window later_in_session as (
      partition by person_id, session_number
      order by occurred_at desc, event_id desc
      rows between unbounded preceding and 1 preceding
    )
  ),

  -- The time after a heartbeat of another view than the last one is a gap of the last one: a row for each of the two.
  spread as (
    select
      spent.*,
      unnest(
        case when is_heartbeat and target_number <> view_number then '{t,f}'::boolean[] else '{t}' end
      ) as is_event
    from spent
  ),

  attributed as (
    select
      spread.*,
      case when is_event then target_number else view_number end as attributed_number,
      case when is_event then continued_key end as attributed_key,
      case when not is_event or target_number = view_number then gap end as view_gap
    from spread
  ),

  -- From here on, rows are grouped and not joined, so that the cost is linear regardless of the statistics.
  viewed as (
    select
      person_id,
      session_number,
      attributed_number,
      attributed_key,
      session_id,
      session_started_at,
      (array_agg(event_id) filter (where is_event and is_first_of_view))[1] as event_id,
      min(item_id) filter (where is_event and is_first_of_view) as item_id,
      min(source_id) filter (where is_event and is_first_of_view) as source_id,
      min(identity_id) filter (where is_event and is_first_of_view) as identity_id,
      min(view_key) filter (where is_event and is_first_of_view) as view_key,
      min(coalesce(confirmed_since, occurred_at)) filter (where is_event and is_first_of_view) as started_at,
      max(occurred_at) as last_event_at,
      max(occurred_at + coalesce(view_gap, '0')) as last_sign_at,
      count(*) filter (where is_event) as event_count,
      sum(view_gap) as gaps,
      count(*) filter (where is_event and is_heartbeat) as heartbeat_count,
      max(occurred_at) filter (where is_event and is_heartbeat) as last_heartbeat_at,
      sum(occurred_at - confirmed_since) filter (where is_event) as confirmed,
      min(item_id) filter (where item_number = 1) as entry_item_id,
      max(array[item_number, item_id]) filter (where item_id is not null) as exit_item
    from attributed
    group by person_id, session_number, attributed_number, attributed_key, session_id, session_started_at
  ),

  judged as (
    select
      viewed.*,
      event_id is not null as is_view,
      row_number() over (partition by person_id, session_number order by event_id is null, started_at, event_id)
        as view_number,
      -- In a session in which its client sent heartbeats, a view without heartbeats was left before the first one.
      bool_or(heartbeat_count > 0) over (
        partition by person_id, session_number, source_id, identity_id, view_key is not null
      ) as has_heartbeats
    from viewed
  ),

  measured as materialized (
    select
      judged.*,
      case
        when is_view then coalesce(case when has_heartbeats then confirmed else gaps end, '0')
      end as engaged,
      case
        when not is_view then null
        when has_heartbeats then 'heartbeats'
        when gaps is not null then 'gaps'
        else 'nothing'
      end as engaged_by
    from judged
  ),

  stored_view as (
    insert into track.page_view (
      person_id, event_id, session_id, view_number, item_id, started_at, ended_at, engaged, engaged_by,
      heartbeat_count, is_continued, view_key
    )
    select
      person_id, event_id, session_id, view_number, item_id, started_at,
      greatest(started_at, coalesce(last_heartbeat_at, last_sign_at)), engaged, engaged_by,
      heartbeat_count, attributed_key is not null, view_key
    from measured
    where is_view
      and session_number > 0
    returning 1
  ),

  stored_session as (
    insert into track.session (
      person_id, session_id, started_at, ended_at, event_count, view_count, engaged, engaged_by, entry_item_id,
      exit_item_id
    )
    select
      person_id,
      session_id,
      min(session_started_at),
      max(last_event_at),
      sum(event_count),
      count(*) filter (where is_view and attributed_key is null),
      coalesce(sum(engaged), '0'),
      case
        when bool_or(engaged_by = 'heartbeats') then 'heartbeats'
        when bool_or(engaged_by = 'gaps') then 'gaps'
        else 'nothing'
      end,
      min(entry_item_id),
      (max(exit_item))[2]
    from measured
    where session_number > 0
    group by person_id, session_number, session_id
    returning 1
  ),

  stored_period as (
    insert into track.automatic_period as stored (person_id, since, until)
    select person_id, min(session_started_at), max(last_event_at)
    from measured
    where session_number < 0
    group by person_id
    on conflict (person_id) do update
    set since = least(stored.since, excluded.since), until = greatest(stored.until, excluded.until)
  )

  select (select count(*) from stored_session), (select count(*) from stored_view)
  into v_result.sessions, v_result.page_views;
  v_result.people := (select count(distinct person_id) from unnest(people) as person_id);
  return v_result;
end;
$$;

comment on function track._compute_sessions(bigint[], timestamptz[], timestamptz[], track.setting) is $$
Deletes the sessions and page views in the given periods of people, and recomputes them from the events.
The periods of a person must not overlap, and must not divide a session. Returns the numbers of rows. Continued page
views have the item of their first heartbeat: see `track._continue_views`.
$$;

/* A late event, a merge or a deletion can change the view that later sessions continue: the earlier one of its name. */
create or replace function track._continue_views(
  inout people bigint[],
  inout since timestamptz[],
  inout until timestamptz[],
  setting track.setting
)
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_setting constant track.setting := setting;
begin
  if not exists (
    select
    from track.page_view
    where page_view.is_continued
      and page_view.person_id = any (people)
  ) then
    return;
  end if;

  with continued as (
    select distinct
      page_view.person_id, page_view.event_id, page_view.view_key, page_view.started_at, page_view.ended_at,
      session.ended_at as session_ended_at
    from unnest(people, since, until) as period (person_id, since, until)
    join track.page_view
      on page_view.is_continued
      and page_view.person_id = period.person_id
      and page_view.started_at >= period.since
      and page_view.started_at <= period.until + v_setting.longest_view
    join track.session
      on session.person_id = page_view.person_id
      and session.session_id = page_view.session_id
    where page_view.view_key is not null
  ),

  resolved as (
    select
      continued.*,
      coalesce(
        (
          select opened.item_id
          from track.page_view as opened
          where opened.person_id = continued.person_id
            and opened.view_key = continued.view_key
            and not opened.is_continued
            and opened.started_at >= continued.started_at - v_setting.longest_view
            and opened.started_at <= continued.session_ended_at
          order by opened.started_at desc, opened.event_id desc
          limit 1
        ),
        (
          select event.item_id
          from track.event
          where event.person_id = continued.person_id
            and event.occurred_at between continued.started_at and continued.ended_at
            and event.event_id = continued.event_id
        )
      ) as item_id
    from continued
  ),

  changed as (
    update track.page_view
    set item_id = resolved.item_id
    from resolved
    where page_view.person_id = resolved.person_id
      and page_view.event_id = resolved.event_id
      and page_view.item_id is distinct from resolved.item_id
    returning page_view.person_id, page_view.started_at, page_view.ended_at
  )

  select
    _continue_views.people || array_agg(changed.person_id),
    _continue_views.since || array_agg(changed.started_at),
    _continue_views.until || array_agg(changed.ended_at)
  into people, since, until
  from changed;
end;
$$;

comment on function track._continue_views(bigint[], timestamptz[], timestamptz[], track.setting) is $$
Sets the items of continued page views after a change of the sessions in the given periods of people.
Each has the item of the last page view of the same `viewId` that was opened before it, at most
`track.setting.longest_view`, or later in the same session (the clocks of messages may differ), or else of its first
heartbeat. Reads only the continued page views within this time
after a period. Returns the periods, with those of the changed page views.
$$;

/*
 * Sessions are separated by pauses longer than the time-out, so that a change affects only sessions within a time-out
 * of it. These are deleted and recomputed from their events; all others are kept. Periods of changes are widened by the
 * time-out, then to the sessions that they overlap, then merged, so that each session is in at most one period.
 */
create or replace function track.refresh_sessions(most_people int default 2000)
returns track.refresh_result
language plpgsql
volatile
-- A definer: it reads the events of all people and writes sessions and page views, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_setting track.setting;
  v_picked bigint[];
  v_people bigint[];
  v_since timestamptz[];
  v_until timestamptz[];
  v_result track.refresh_result;
begin
  perform common.check_count('most_people', refresh_sessions.most_people, 1, 2147483647);

  -- One refresh at a time: two would compute the same sessions.
  perform pg_advisory_xact_lock(hashtext('track.refresh_sessions'));
  select * into v_setting from track.setting;

  -- An array, not a join, because the statistics of a queue are often out of date.
  v_picked := array(
    select distinct person_id
    from track.stale
    order by person_id
    limit refresh_sessions.most_people
  );

  with taken as (
    delete from track.stale
    where stale.person_id = any (v_picked)
    returning stale.person_id, stale.since, stale.until
  ),

  widened as (
    select
      taken.person_id,
      taken.since - v_setting.session_timeout as since,
      taken.until + v_setting.session_timeout as until
    from taken
  ),

  touched as (
    select widened.person_id, tstzrange(widened.since, widened.until, '[]') as period
    from widened

    union all

    -- The index is by the end of the session, and most changes are recent: earlier sessions are not read.
    select widened.person_id, tstzrange(session.started_at, session.ended_at, '[]')
    from widened
    join track.session
      on session.person_id = widened.person_id
      and session.ended_at >= widened.since
      and session.started_at <= widened.until
  ),

  merged as (
    select person_id, unnest(range_agg(period)) as period
    from touched
    group by person_id
  )

  select array_agg(person_id), array_agg(lower(period)), array_agg(upper(period))
  into v_people, v_since, v_until
  from merged;

  if v_people is null then
    return row(0, 0, 0)::track.refresh_result;
  end if;

  v_result := track._compute_sessions(v_people, v_since, v_until, v_setting);
  select continued.people, continued.since, continued.until
  into v_people, v_since, v_until
  from track._continue_views(v_people, v_since, v_until, v_setting) as continued;
  perform track._enqueue('event', v_people, v_since, v_until);
  return v_result;
end;
$$;

comment on function track.refresh_sessions(int) is $$
Refreshes the sessions, page views and engaged times of at most `most_people` people, and queues them for consumers.
The cost is proportional to the changed periods. The result is the same as that of a computation from scratch, also
after late events and events out of order. Call it until `people` is 0; `track.refresh` also processes the consumers.
Errors: CF001 for fewer than one person.
$$;

grant execute on function track.refresh_sessions(int) to insights_worker;
--! EndIncluded track/functions/refresh_sessions.sql

--! Included track/person_sets/person_bit.sql
create or replace function track.person_bit(person_id bigint)
returns bit(4096)
language sql
immutable
strict
parallel safe
return b'1'::bit(4096) >> (person_bit.person_id % 4096)::int;

comment on function track.person_bit(bigint) is $$
@behavior -*
Returns the bit string of one person within its block of 4,096 people.
`bit_or` of it builds the rows of `track.person_set_block`; `get_bit(people, (person_id % 4096)::int)` reads them.
$$;
--! EndIncluded track/person_sets/person_bit.sql

--! Included track/person_sets/signed_in_people.sql
create or replace function track.signed_in_people(set_name text, people bigint[])
returns setof bigint
language sql
stable
parallel safe
begin atomic
  -- The key of a person is the key of its oldest user identity, if it has one.
  select identity.person_id
  from track.identity
  where identity.identity_id = any (signed_in_people.people)
    and identity.person_id = identity.identity_id
    and identity.kind = 'user';
end;

comment on function track.signed_in_people(text, bigint[]) is $$
@behavior -*
Returns which of the given people have signed in at some time: those with a user identity.
The members of the set `signed_in`; see `track.person_set`.
$$;
--! EndIncluded track/person_sets/signed_in_people.sql

--! Included track/person_sets/counted_people.sql
create or replace function track.counted_people(set_name text, people bigint[])
returns setof bigint
language sql
stable
parallel safe
begin atomic
  select signed_in.person_id
  from track.signed_in_people(counted_people.set_name, counted_people.people) as signed_in (person_id)
  where not exists (
    select
    from track.identity
    join track.exclusion using (identity_id)
    where identity.person_id = signed_in.person_id
  );
end;

comment on function track.counted_people(text, bigint[]) is $$
@behavior -*
Returns which of the given people count: those who have signed in, and none of whose identities is excluded.
The members of the set `counted`; see `track.person_set` and `track.exclusion`.
$$;
--! EndIncluded track/person_sets/counted_people.sql

--! Included track/person_sets/listed_people.sql
create or replace function track.listed_people(set_name text, people bigint[])
returns setof bigint
language sql
stable
parallel safe
begin atomic
  select identity.person_id
  from track.identity
  join track.person_set_member using (identity_id)
  where identity.person_id = any (listed_people.people)
    and person_set_member.name = listed_people.set_name;
end;

comment on function track.listed_people(text, bigint[]) is $$
@behavior -*
Returns which of the given people are listed as members of a set, by one of their identities.
The members of sets without a function; see `track.person_set`.
$$;
--! EndIncluded track/person_sets/listed_people.sql

--! Included track/person_sets/_check_set_name.sql
create or replace function track._check_set_name(name text)
returns void
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if _check_set_name.name is null
    or length(_check_set_name.name) > 100
    or _check_set_name.name !~ '^[a-z][a-z0-9_]*(\.[a-z0-9_]+)*$'
  then
    perform common.refuse(
      'CF001',
      format('"%s" cannot be the name of a set of people', coalesce(left(_check_set_name.name, 100), 'null')),
      'Use lower case letters, digits and "_", with "." between parts, and at most 100 characters.'
    );
  end if;
end;
$$;

comment on function track._check_set_name(text) is $$
Raises CF001 for a name that a set of people cannot have.
$$;
--! EndIncluded track/person_sets/_check_set_name.sql

--! Included track/person_sets/_find_person_set.sql
create or replace function track._find_person_set(name text)
returns track.person_set
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_set track.person_set;
begin
  select * into v_set
  from track.person_set
  where person_set.name = _find_person_set.name;
  if not found then
    perform common.refuse(
      'CF002',
      format('there is no set of people "%s"', coalesce(left(_find_person_set.name, 100), 'null')),
      coalesce(
        'Did you mean "'
          || common.nearest_name(
            _find_person_set.name,
            array(select known.name from track.person_set as known order by known.name limit 1000)
          )
          || '"?',
        'The sets are the rows of track.person_set.'
      )
    );
  end if;
  return v_set;
end;
$$;

comment on function track._find_person_set(text) is $$
Returns a set of people by its name. Errors: CF002 (names the nearest).
$$;

grant execute on function track._find_person_set(text) to insights_reader, insights_admin, insights_worker;
--! EndIncluded track/person_sets/_find_person_set.sql

--! Included track/person_sets/_person_set_size.sql
create or replace function track._person_set_size(name text)
returns bigint
language sql
stable
parallel safe
begin atomic
  select coalesce(sum(bit_count(person_set_block.people)), 0)::bigint
  from track.person_set_block
  where person_set_block.name = _person_set_size.name;
end;

comment on function track._person_set_size(text) is $$
Returns the number of people in a set, 0 for an unknown set.
$$;

grant execute on function track._person_set_size(text) to insights_reader, insights_admin, insights_worker;
--! EndIncluded track/person_sets/_person_set_size.sql

--! Included track/person_sets/recompute_person_sets.sql
create or replace function track._recompute_person_set(person_set track.person_set, people bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_name constant text := (person_set).name;
  v_function constant text := coalesce((person_set).members, 'track.listed_people');
  v_members bigint[];
begin
  execute format(
    'select array(select %I.%I($1, $2))', split_part(v_function, '.', 1), split_part(v_function, '.', 2)
  )
  into v_members
  using v_name, people;

  with given as (
    select distinct entry.person_id
    from unnest(people) as entry (person_id)
    -- Person 0 (anonymized events) is in no set.
    where entry.person_id <> 0
  ),

  member as (
    select distinct entry.person_id
    from unnest(v_members) as entry (person_id)
    join track.person using (person_id)
  ),

  changed as (
    select
      (given.person_id / 4096)::int as block,
      bit_or(track.person_bit(given.person_id)) as given,
      coalesce(
        bit_or(track.person_bit(member.person_id)) filter (where member.person_id is not null), b'0'::bit(4096)
      ) as members
    from given
    left join member using (person_id)
    group by 1
  ),

  fresh as materialized (
    select
      changed.block,
      stored.people as stored,
      coalesce(stored.people & ~changed.given, b'0'::bit(4096)) | changed.members as people
    from changed
    left join track.person_set_block as stored on stored.name = v_name and stored.block = changed.block
  ),

  deleted as (
    delete from track.person_set_block
    using fresh
    where person_set_block.name = v_name
      and person_set_block.block = fresh.block
      and bit_count(fresh.people) = 0
  )

  insert into track.person_set_block (name, block, people)
  select v_name, fresh.block, fresh.people
  from fresh
  where bit_count(fresh.people) > 0
    and fresh.people is distinct from fresh.stored
  on conflict on constraint person_set_block_pkey do update
  set people = excluded.people;
end;
$$;

comment on function track._recompute_person_set(track.person_set, bigint[]) is $$
Recomputes whether the given people belong to a set. The bits of all other people stay as they are.
$$;

create or replace function track.recompute_person_sets(consumer text, people bigint[], set_name text default null)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  -- One writer at a time, because a block is read before it is written. track.refresh holds the same lock.
  perform pg_advisory_xact_lock(hashtext(recompute_person_sets.consumer));
  perform track._recompute_person_set(person_set, recompute_person_sets.people)
  from track.person_set
  where person_set.consumer = recompute_person_sets.consumer
    and person_set.name = coalesce(recompute_person_sets.set_name, person_set.name);
end;
$$;

comment on function track.recompute_person_sets(text, bigint[], text) is $$
@behavior -*
Recomputes which of the given people belong to the sets of a consumer, or to one of them.
A room whose sets are derived from its own rollups registers a consumer after that of the rollup, whose refresh
function calls this one with the name of the consumer.
$$;
--! EndIncluded track/person_sets/recompute_person_sets.sql

--! Included track/person_sets/refresh_person_sets.sql
create or replace function track.refresh_person_sets(people bigint[], since timestamptz[], until timestamptz[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  perform track.recompute_person_sets('track.person_set', refresh_person_sets.people);
end;
$$;

comment on function track.refresh_person_sets(bigint[], timestamptz[], timestamptz[]) is $$
Recomputes which of the given people belong to the sets of the consumer `track.person_set`. Called by `track.refresh`.
Membership does not depend on periods, so that `since` and `until` are not used.
$$;
--! EndIncluded track/person_sets/refresh_person_sets.sql

--! Included track/person_sets/define_person_set.sql
create or replace function track.define_person_set(
  name text, description text, members text, consumer text default 'track.person_set'
)
returns bigint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_marked bigint;
begin
  perform track._check_set_name(define_person_set.name);
  if define_person_set.members is null
    or define_person_set.members !~ '^[a-z][a-z_]*\.[a-z][a-z_]*$'
    or to_regprocedure(define_person_set.members || '(text, bigint[])') is null
  then
    perform common.refuse(
      'CF002',
      format('there is no function %s(text, bigint[])', coalesce(left(define_person_set.members, 100), 'null')),
      'Give the name of a function room.function(set_name text, people bigint[]) that returns those who belong.'
    );
  end if;

  insert into track.person_set (name, description, members, consumer)
  values (
    define_person_set.name, define_person_set.description, define_person_set.members, define_person_set.consumer
  )
  on conflict on constraint person_set_pkey do update
  set description = excluded.description, members = excluded.members, consumer = excluded.consumer;
  delete from track.person_set_member where person_set_member.name = define_person_set.name;

  -- The refresh fills the set, a number of people in each call.
  insert into track.changed (person_id, consumer, since, until)
  select person.person_id, define_person_set.consumer, '-infinity', 'infinity'
  from track.person
  where person.person_id <> 0;
  get diagnostics v_marked = row_count;
  return v_marked;
end;
$$;

comment on function track.define_person_set(text, text, text, text) is $$
@behavior -*
Registers a set whose members a function returns, or replaces it. Returns the number of people that are queued.
`members`: the name of a function `room.function(set_name text, people bigint[]) returns setof bigint`, which returns
those of the given people who belong. `consumer`: the consumer of the refresh that recomputes changed people. The set
is complete when the queue of that consumer has been processed; a set that is replaced keeps its former members until
then. For the owner, because `track.refresh` calls the function with the owner's rights.
Errors: CF001 for an invalid name, CF002 for a function that does not exist.
$$;
--! EndIncluded track/person_sets/define_person_set.sql

--! Included track/person_sets/_list_people.sql
create or replace function track._list_people(name text, added bigint[], removed bigint[])
returns bigint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_set constant track.person_set := track._find_person_set(_list_people.name);
  v_unknown bigint;
  v_changed bigint[];
begin
  if v_set.members is not null then
    perform common.refuse(
      'CF001',
      format('the members of "%s" are computed by %s', v_set.name, v_set.members),
      'Use another name for a set whose members are listed.'
    );
  end if;
  if array_position(_list_people.added, null) is not null then
    perform common.refuse('CF001', 'a person is null', 'Give the keys of people, as track.find_person returns them.');
  end if;
  select entry.person_id into v_unknown
  from unnest(_list_people.added) as entry (person_id)
  where not exists (select from track.person where person.person_id = entry.person_id and person.person_id <> 0)
  order by entry.person_id
  limit 1;
  if found then
    perform common.refuse(
      'CF002', format('there is no person %s', v_unknown), 'Give the keys of people, as track.find_person returns them.'
    );
  end if;

  -- The lock of the recomputation, before the rows of the list, so that two calls cannot wait for each other.
  perform pg_advisory_xact_lock(hashtext(v_set.consumer));
  with deleted as (
    delete from track.person_set_member
    using track.identity
    where person_set_member.name = v_set.name
      and identity.identity_id = person_set_member.identity_id
      and (
        _list_people.removed is null
        or exists (
          select from unnest(_list_people.removed) as gone (person_id) where gone.person_id = identity.person_id
        )
      )
      and not exists (
        select from unnest(_list_people.added) as kept (person_id) where kept.person_id = identity.person_id
      )
    returning identity.person_id
  )
  select array_agg(deleted.person_id) into v_changed
  from deleted;

  -- A person has the key of one of its identities. The list holds that identity, so that it follows merges.
  insert into track.person_set_member (name, identity_id)
  select v_set.name, entry.person_id
  from unnest(_list_people.added) as entry (person_id)
  on conflict do nothing;

  -- As of now: a merge that was committed in the meantime has moved identities.
  perform track.recompute_person_sets(
    v_set.consumer,
    v_changed || array(
      select identity.person_id
      from track.identity
      where identity.identity_id = any (_list_people.added || v_changed)
    ),
    v_set.name
  );
  return track._person_set_size(v_set.name);
end;
$$;

comment on function track._list_people(text, bigint[], bigint[]) is $$
Adds people to the list of a set and removes others from it; `removed` null: all others.
Returns the number of people in the set.
Errors: CF001 for a set with computed members, CF002 for an unknown set or person.
$$;
--! EndIncluded track/person_sets/_list_people.sql

--! Included track/person_sets/set_person_set.sql
create or replace function track.set_person_set(name text, people bigint[], description text default null)
returns bigint
language plpgsql
volatile
-- A definer: it writes the tables of sets, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  perform track._check_set_name(set_person_set.name);
  insert into track.person_set (name, description)
  values (set_person_set.name, coalesce(set_person_set.description, 'A list of people.'))
  on conflict on constraint person_set_pkey do update
  set description = excluded.description
  where set_person_set.description is not null
    and person_set.members is null;
  return track._list_people(set_person_set.name, coalesce(set_person_set.people, '{}'), null);
end;
$$;

comment on function track.set_person_set(text, bigint[], text) is $$
Makes a list of people the members of a set, which is created if it does not exist. Returns the number of people.
The list follows merges of people, and their reversal. `description` null: unchanged.
Errors: CF001 for an invalid name and for a set with computed members, CF002 for an unknown person.
$$;

grant execute on function track.set_person_set(text, bigint[], text) to insights_admin;
--! EndIncluded track/person_sets/set_person_set.sql

--! Included track/person_sets/add_to_person_set.sql
create or replace function track.add_to_person_set(name text, people bigint[])
returns bigint
language plpgsql
volatile
-- A definer: it writes the tables of sets, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  return track._list_people(add_to_person_set.name, coalesce(add_to_person_set.people, '{}'), '{}');
end;
$$;

comment on function track.add_to_person_set(text, bigint[]) is $$
Adds people to a set whose members are listed. Returns the number of people in the set.
Errors: CF001 for a set with computed members, CF002 for an unknown set or person.
$$;

grant execute on function track.add_to_person_set(text, bigint[]) to insights_admin;
--! EndIncluded track/person_sets/add_to_person_set.sql

--! Included track/person_sets/remove_from_person_set.sql
create or replace function track.remove_from_person_set(name text, people bigint[])
returns bigint
language plpgsql
volatile
-- A definer: it writes the tables of sets, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  return track._list_people(remove_from_person_set.name, '{}', coalesce(remove_from_person_set.people, '{}'));
end;
$$;

comment on function track.remove_from_person_set(text, bigint[]) is $$
Removes people from a set whose members are listed. Returns the number of people in the set.
People who are not in the set are ignored. Errors: CF001 for a set with computed members, CF002 for an unknown set.
$$;

grant execute on function track.remove_from_person_set(text, bigint[]) to insights_admin;
--! EndIncluded track/person_sets/remove_from_person_set.sql

--! Included track/person_sets/drop_person_set.sql
create or replace function track.drop_person_set(name text)
returns void
language plpgsql
volatile
-- A definer: it writes the tables of sets, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_set constant track.person_set := track._find_person_set(drop_person_set.name);
begin
  if v_set.members is not null then
    perform common.refuse(
      'CF001',
      format('"%s" is computed by %s', v_set.name, v_set.members),
      'Only sets whose members are listed can be dropped.'
    );
  end if;
  delete from track.person_set where person_set.name = v_set.name;
end;
$$;

comment on function track.drop_person_set(text) is $$
Drops a set whose members are listed.
Errors: CF001 for a set with computed members, CF002 for an unknown set.
$$;

grant execute on function track.drop_person_set(text) to insights_admin;
--! EndIncluded track/person_sets/drop_person_set.sql

--! Included track/person_sets/person_set_size.sql
create or replace function track.person_set_size(name text)
returns bigint
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return track._person_set_size((track._find_person_set(person_set_size.name)).name);
end;
$$;

comment on function track.person_set_size(text) is $$
Returns the number of people in a set, as of the last refresh.
Errors: CF002 for an unknown set (names the nearest).
$$;

grant execute on function track.person_set_size(text) to insights_reader, insights_admin, insights_worker;
--! EndIncluded track/person_sets/person_set_size.sql

--! Included track/person_sets/person_set_blocks.sql
create or replace function track.person_set_blocks(set_name text)
returns table (block int, people bit(4096))
language plpgsql
stable
parallel safe
-- A definer: the functions of the members are for the owner, and are called for the people that are queued.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_set constant track.person_set := track._find_person_set(person_set_blocks.set_name);
  v_function constant text := coalesce(v_set.members, 'track.listed_people');
  v_queued constant bigint[] := array(
    select distinct changed.person_id
    from track.changed
    where changed.consumer = v_set.consumer
      and changed.person_id <> 0
  );
  v_members bigint[];
begin
  if v_queued = '{}' then
    return query
    select stored.block, stored.people
    from track.person_set_block as stored
    where stored.name = v_set.name;
    return;
  end if;

  execute format(
    'select array(select %I.%I($1, $2))', split_part(v_function, '.', 1), split_part(v_function, '.', 2)
  )
  into v_members
  using v_set.name, v_queued;

  return query
  with queued as (
    select
      (entry.person_id / 4096)::int as block,
      bit_or(track.person_bit(entry.person_id)) as given,
      coalesce(
        bit_or(track.person_bit(entry.person_id)) filter (where member.person_id is not null), b'0'::bit(4096)
      ) as members
    from unnest(v_queued) as entry (person_id)
    left join (select distinct unnest(v_members) as person_id) as member using (person_id)
    group by 1
  )

  select
    coalesce(stored.block, queued.block),
    coalesce(stored.people & ~queued.given | queued.members, stored.people, queued.members)
  from (
    select person_set_block.block, person_set_block.people
    from track.person_set_block
    where person_set_block.name = v_set.name
  ) as stored
  full join queued on queued.block = stored.block;
end;
$$;

comment on function track.person_set_blocks(text) is $$
@behavior -*
Returns the people of a set as `track.person_set_block` stores them, with the people that are queued for a refresh.
It is therefore exact at any moment. Errors: CF002 for an unknown set.
$$;

grant execute on function track.person_set_blocks(text) to insights_reader;
--! EndIncluded track/person_sets/person_set_blocks.sql

--! Included track/person_sets/person_set_members.sql
create or replace function track.person_set_members(name text)
returns setof bigint
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_set constant track.person_set := track._find_person_set(person_set_members.name);
begin
  return query
  select person_set_block.block::bigint * 4096 + place
  from track.person_set_block
  cross join generate_series(0, 4095) as place
  where person_set_block.name = v_set.name
    and get_bit(person_set_block.people, place) = 1
  order by person_set_block.block, place;
end;
$$;

comment on function track.person_set_members(text) is $$
Returns the people of a set, as of the last refresh, in the order of their keys.
A query that filters events by a large set joins `track.person_set_block` instead. Errors: CF002 for an unknown set
(names the nearest).
$$;

grant execute on function track.person_set_members(text) to insights_reader, insights_admin, insights_worker;
--! EndIncluded track/person_sets/person_set_members.sql

--! Included track/person_sets/is_in_person_set.sql
create or replace function track.is_in_person_set(name text, person_id bigint)
returns boolean
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_set constant track.person_set := track._find_person_set(is_in_person_set.name);
begin
  return coalesce(
    (
      select get_bit(person_set_block.people, (is_in_person_set.person_id % 4096)::int) <> 0
      from track.person_set_block
      where person_set_block.name = v_set.name
        and person_set_block.block = is_in_person_set.person_id / 4096
        and is_in_person_set.person_id > 0
    ),
    false
  );
end;
$$;

comment on function track.is_in_person_set(text, bigint) is $$
Returns whether a person belongs to a set, as of the last refresh.
Errors: CF002 for an unknown set (names the nearest).
$$;

grant execute on function track.is_in_person_set(text, bigint) to insights_reader, insights_admin, insights_worker;
--! EndIncluded track/person_sets/is_in_person_set.sql

--! Included track/person_sets/_identity_to_exclude.sql
create or replace function track._identity_to_exclude(person text)
returns bigint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_identity_id constant bigint := track._named_identity(_identity_to_exclude.person, clock_timestamp());
begin
  if v_identity_id is null then
    perform common.refuse(
      'CF002',
      format('there is no person "%s"', coalesce(left(_identity_to_exclude.person, 100), 'null')),
      'Give the userId or anonymousId that was sent with events.'
    );
  end if;
  -- Blocks merges of this person until the end of the transaction, so that the current person is queued.
  perform identity.identity_id
  from track.identity
  where identity.identity_id = v_identity_id
  for key share;
  return v_identity_id;
end;
$$;

comment on function track._identity_to_exclude(text) is $$
Returns the identity with a `userId`, or else the present one of a browser.
It is locked against moves to another person.
Errors: CF002 for an unknown name.
$$;
--! EndIncluded track/person_sets/_identity_to_exclude.sql

--! Included track/person_sets/exclude_person.sql
create or replace function track.exclude_person(person text, reason text, note text default null)
returns boolean
language plpgsql
volatile
-- A definer: it writes track.exclusion, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_identity_id bigint;
  v_is_new boolean;
begin
  if exclude_person.reason is null
    or exclude_person.reason not in ('staff', 'test', 'bot', 'service_account')
  then
    perform common.refuse(
      'CF001',
      format('reason is "%s"', coalesce(left(exclude_person.reason, 100), 'null')),
      'Use staff, test, bot or service_account.'
    );
  end if;
  if length(exclude_person.note) > 1000 then
    perform common.refuse('CF008', format('the note has %s characters', length(exclude_person.note)),
      'It can have at most 1,000.');
  end if;
  v_identity_id := track._identity_to_exclude(exclude_person.person);

  insert into track.exclusion (identity_id, reason, note, excluded_by)
  values (
    v_identity_id, exclude_person.reason, exclude_person.note,
    coalesce(nullif(current_setting('insights.person', true), ''), session_user)
  )
  on conflict on constraint exclusion_pkey do update
  set reason = excluded.reason, note = excluded.note
  returning xmax = 0 into v_is_new;
  perform track._enqueue('identity', array(
    select identity.person_id from track.identity where identity.identity_id = v_identity_id
  ));
  return v_is_new;
end;
$$;

comment on function track.exclude_person(text, text, text) is $$
Excludes a person from popularity, from training and from the smallest group of figures. False when already excluded.
`reason`: `staff`, `test`, `bot` or `service_account`; a further call replaces reason and note. The person can still
use everything, recommendations included. Her identity is excluded: after a link the whole person, after an unlink the
one with this name. It takes effect at the next refresh (`track.refresh`, every minute); the list of popular items for
new people follows at the next `analytics.refresh_views` (hourly), models at their next training.
`track.include_person` reverses it.
Errors: CF001 for another reason, CF002 for an unknown name, CF008 for a note that is too long.
$$;

grant execute on function track.exclude_person(text, text, text) to insights_admin;
--! EndIncluded track/person_sets/exclude_person.sql

--! Included track/person_sets/include_person.sql
create or replace function track.include_person(person text)
returns boolean
language plpgsql
volatile
-- A definer: it writes track.exclusion, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_identity_id constant bigint := track._identity_to_exclude(include_person.person);
  v_person_id constant bigint := (
    select identity.person_id from track.identity where identity.identity_id = v_identity_id
  );
begin
  delete from track.exclusion
  using track.identity
  where identity.identity_id = exclusion.identity_id
    and (
      identity.person_id = v_person_id
      -- The identity that an unlink of the user of an excluded browser left.
      or identity.external_id = include_person.person
      and identity.kind = 'anonymous'
      and identity.person_id = identity.identity_id
    );
  if not found then
    perform common.refuse(
      'CF002',
      format('"%s" is not excluded', left(include_person.person, 100)),
      'The excluded identities are the rows of track.exclusion.'
    );
  end if;
  perform track._enqueue('identity', array[v_person_id]);
  return true;
end;
$$;

comment on function track.include_person(text) is $$
Reverses `track.exclude_person`, for all names of the person. It takes effect at the next refresh.
Errors: CF002 for an unknown name, and for a person who is not excluded.
$$;

grant execute on function track.include_person(text) to insights_admin;
--! EndIncluded track/person_sets/include_person.sql

--! Included track/functions/_journey.sql
create or replace function track._journey(person_id bigint, since timestamptz, until timestamptz)
returns setof track.action
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  select
    session.session_id,
    case when not placed.is_automatic then (row_number() over session_in_order)::int end as action_number,
    event.occurred_at,
    event_type.name as event,
    item.external_id as item,
    item.kind as item_kind,
    item.title as item_title,
    case
      when not placed.is_automatic then event.occurred_at - lag(event.occurred_at) over session_in_order
    end as since_previous,
    event.properties
  from track.event
  join track.event_type using (event_type_id)
  join track.source using (source_id)
  cross join lateral (select event_type.is_automatic or source.is_automatic) as placed (is_automatic)
  left join track.item using (item_id)
  left join track.session
    on session.person_id = event.person_id
    and not placed.is_automatic
    and event.occurred_at between session.started_at and session.ended_at
  where event.person_id = _journey.person_id
    and event.occurred_at >= _journey.since
    and event.occurred_at < _journey.until
  window session_in_order as (
    partition by session.session_id, placed.is_automatic
    order by event.occurred_at, event.event_id
  )
  order by event.occurred_at, event.event_id;
end;
$$;

comment on function track._journey(bigint, timestamptz, timestamptz) is $$
@behavior -queryField
Returns the actions of a person between two times, in order of time, with their sessions.
Events of an automatic type or source have no session.
$$;

grant execute on function track._journey(bigint, timestamptz, timestamptz) to insights_learner, insights_admin;
--! EndIncluded track/functions/_journey.sql

--! Included track/functions/journey.sql
create or replace function track.journey(
  person text,
  since timestamptz default (now() at time zone 'UTC' - interval '30 days') at time zone 'UTC',
  until timestamptz default 'infinity'
)
returns setof track.action
language sql
stable
parallel safe
begin atomic
  select * from track._journey(track.find_person(journey.person), journey.since, journey.until);
end;

comment on function track.journey(text, timestamptz, timestamptz) is $$
Returns the actions of a person between two times (`until` exclusive), in order of time.
Each action has its session and the time since the previous action of the session. No rows for a person that the
caller may not read. `session_id` is null until the next refresh of the sessions.
$$;

grant execute on function track.journey(text, timestamptz, timestamptz) to insights_admin;
--! EndIncluded track/functions/journey.sql

--! Included track/functions/my_journey.sql
create or replace function track.my_journey(
  since timestamptz default (now() at time zone 'UTC' - interval '30 days') at time zone 'UTC',
  until timestamptz default 'infinity'
)
returns setof track.action
language sql
stable
parallel safe
begin atomic
  select * from track._journey(track.current_person_id(), my_journey.since, my_journey.until);
end;

comment on function track.my_journey(timestamptz, timestamptz) is $$
Returns the actions of the signed-in person between two times (`until` exclusive), in order of time.
$$;

grant execute on function track.my_journey(timestamptz, timestamptz) to insights_learner;
--! EndIncluded track/functions/my_journey.sql

--! Included track/functions/sync_items.sql
create or replace function track._store_items(items jsonb, newest_known bigint)
returns track.sync_result
language plpgsql
volatile
-- A definer: the caller reads its own table, and this writes track.item, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_bad record;
  v_result track.sync_result;
begin
  select item.external_id, item.kind, item.parent into v_bad
  from jsonb_to_recordset(items) as item (external_id text, kind text, parent text, attributes jsonb)
  where coalesce(length(item.external_id), 0) not between 1 and 512
    or coalesce(item.kind, '') !~ '^[a-z][a-z0-9_]{0,62}$'
    or item.parent = item.external_id
    or length(item.parent) not between 1 and 512
    or jsonb_typeof(item.attributes) <> 'object'
  limit 1;

  if found then
    perform common.refuse(
      'CF001',
      format(
        'item "%s" of kind "%s" with parent "%s" is invalid',
        left(v_bad.external_id, 100),
        left(v_bad.kind, 100),
        left(v_bad.parent, 100)
      ),
      'An item needs an external_id of 1 to 512 characters and a kind in lower case, such as course. The parent is '
        || 'null or another item; attributes are null or a JSON object.'
    );
  end if;

  with given as (
    select item.external_id from jsonb_to_recordset(items) as item (external_id text)
    union
    select item.parent from jsonb_to_recordset(items) as item (parent text)
  )
  insert into track.item (external_id)
  select external_id
  from given
  where external_id is not null
    and not exists (select from track.item where item.external_id = given.external_id)
  order by external_id
  on conflict (external_id) do nothing;

  -- In the order of track.ingest, to avoid deadlocks.
  perform item.item_id
  from track.item
  where item.external_id = any (array(select external_id from jsonb_to_recordset(items) as given (external_id text)))
  order by item.item_id
  for no key update;

  with given as materialized (
    select item.*, coalesce(parent.merged_item_id, parent.item_id) as parent_item_id
    from jsonb_to_recordset(items) as item (
      external_id text, kind text, title text, parent text, url text, language text, attributes jsonb,
      available_from timestamptz, available_until timestamptz, due_at timestamptz
    )
    left join track.item as parent on parent.external_id = item.parent
  ),
  changed as (
    update track.item
    set
      kind = given.kind,
      title = coalesce(given.title, item.title),
      parent_item_id = coalesce(nullif(given.parent_item_id, item.item_id), item.parent_item_id),
      url = coalesce(given.url, item.url),
      language = coalesce(given.language, item.language),
      attributes = coalesce(given.attributes, item.attributes),
      available_from = coalesce(given.available_from, item.available_from),
      available_until = coalesce(given.available_until, item.available_until),
      due_at = coalesce(given.due_at, item.due_at),
      updated_at = now()
    from given
    where item.external_id = given.external_id
      -- Not "is null": without statistics, the planner would expect few rows, and compare each pair.
      and num_nulls(item.merged_item_id) > 0
      and (
        item.kind <> given.kind
        or item.title is distinct from coalesce(given.title, item.title)
        or item.parent_item_id is distinct from
          coalesce(nullif(given.parent_item_id, item.item_id), item.parent_item_id)
        or item.url is distinct from coalesce(given.url, item.url)
        or item.language is distinct from coalesce(given.language, item.language)
        or item.attributes is distinct from coalesce(given.attributes, item.attributes)
        or item.available_from is distinct from coalesce(given.available_from, item.available_from)
        or item.available_until is distinct from coalesce(given.available_until, item.available_until)
        or item.due_at is distinct from coalesce(given.due_at, item.due_at)
      )
    returning item.item_id
  )
  select
    count(*) filter (where item.item_id > _store_items.newest_known),
    count(*) filter (where item.item_id <= _store_items.newest_known and changed.item_id is not null),
    count(*) filter (where item.item_id <= _store_items.newest_known and changed.item_id is null)
  into v_result
  from given
  join track.item on item.external_id = given.external_id
  left join changed on changed.item_id = item.item_id;
  return v_result;
exception
  when data_exception then
    perform common.refuse('CF001', format('a value of an item is invalid: %s', left(sqlerrm, 100)),
      'Give a view whose columns have the types of track.item.');
end;
$$;

comment on function track._store_items(jsonb, bigint) is $$
@behavior -queryField -mutationField
Stores a list of `{external_id, kind, …}`, as described for `track.sync_items`.
Items with keys up to `newest_known` are counted as existing before the call.
$$;

grant execute on function track._store_items(jsonb, bigint) to insights_admin, insights_worker;

create or replace function track.sync_items(source regclass)
returns track.sync_result
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_columns text[];
  v_former bigint;
  v_twice text;
  v_items jsonb;
  v_part track.sync_result;
  v_result track.sync_result := row(0, 0, 0);
begin
  v_columns := track._columns(source, array['external_id', 'kind'], array[
    'title', 'parent', 'url', 'language', 'attributes', 'available_from', 'available_until', 'due_at'
  ]);

  execute format('select external_id from %s group by external_id having count(*) > 1 order by 1 limit 1', source)
  into v_twice;
  if v_twice is not null then
    perform common.refuse('CF001', format('%s names item "%s" more than once', source, left(v_twice, 100)),
      'Give a view with one row for each external_id.');
  end if;

  v_former := (select coalesce(max(item_id), 0) from track.item);

  -- The query runs as the caller, and passes its rows to a definer that takes values only. Each call passes at most
  -- 10,000 rows, because the size of a jsonb value is limited.
  for v_items in
    execute format(
      $query$
      select jsonb_agg(jsonb_build_object(%s))
      from (
        select %s, (row_number() over () - 1) / 10000 as part
        from %s
      ) as numbered
      group by part
      order by part
      $query$,
      (select string_agg(format('%L, %I', name, name), ', ') from unnest(v_columns) as name),
      (select string_agg(format('%I', name), ', ') from unnest(v_columns) as name),
      source
    )
  loop
    v_part := track._store_items(v_items, v_former);
    v_result.inserted := v_result.inserted + v_part.inserted;
    v_result.updated := v_result.updated + v_part.updated;
    v_result.unchanged := v_result.unchanged + v_part.unchanged;
  end loop;
  return v_result;
end;
$$;

comment on function track.sync_items(regclass) is $$
Reads items from a table or view of the application, with the privileges of the caller.
Required columns: `external_id` and `kind`; optional: `title`, `parent` (external id), `url`, `language`, `attributes`
(jsonb), `available_from`, `available_until` and `due_at`.
Values of the application replace those of events; a missing column or a null keeps the stored value. The call can be
repeated: unchanged items are not written.
Errors: CF002 for a missing column, CF001 for an invalid value or a duplicate item, CF010 for a cycle of parents.
$$;

grant execute on function track.sync_items(regclass) to insights_admin, insights_worker;
--! EndIncluded track/functions/sync_items.sql

--! Included track/functions/sync_enrolments.sql
create or replace function track._store_enrolments(enrolments jsonb)
returns track.sync_result
language plpgsql
volatile
-- A definer: the caller reads its own table, and this writes track.enrolment, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_bad record;
  v_inserted int;
  v_updated int;
  v_touched bigint[];
begin
  select enrolment.* into v_bad
  from jsonb_to_recordset(enrolments) as enrolment (person text, item text, enrolled_at timestamptz, status text)
  where coalesce(length(enrolment.person), 0) not between 1 and 256
    or coalesce(length(enrolment.item), 0) not between 1 and 512
    or enrolment.enrolled_at is null
    or enrolment.status not in ('active', 'completed', 'dropped')
  limit 1;

  if found then
    perform common.refuse(
      'CF001',
      format(
        'the enrolment of "%s" in "%s" at %s with status "%s" is invalid',
        left(v_bad.person, 100),
        left(v_bad.item, 100),
        coalesce(v_bad.enrolled_at::text, 'null'),
        coalesce(left(v_bad.status, 100), 'active')
      ),
      'An enrolment needs a person, an item and a time; its status is active, completed or dropped.'
    );
  end if;

  select enrolment.person into v_bad
  from jsonb_to_recordset(enrolments) as enrolment (person text)
  where track._names_nobody(enrolment.person)
  limit 1;

  if found then
    perform common.refuse('CF001', format('the enrolment of "%s", which names nobody', left(v_bad.person, 100)),
      'Leave out rows without a person. Administrators keep the list track.placeholder_id.');
  end if;

  perform track._enter_people(array_agg('user'::text), array_agg(named.person))
  from (select distinct enrolment.person from jsonb_to_recordset(enrolments) as enrolment (person text)) as named;

  insert into track.item (external_id, kind)
  select distinct enrolment.item, 'course'
  from jsonb_to_recordset(enrolments) as enrolment (item text)
  where not exists (select from track.item where item.external_id = enrolment.item)
  order by enrolment.item
  on conflict (external_id) do nothing;

  -- Blocks merges of these people until the end of the transaction.
  perform identity.identity_id
  from track.identity
  where identity.kind = 'user'
    and identity.external_id = any (
      array(select distinct enrolment.person from jsonb_to_recordset(enrolments) as enrolment (person text))
    )
  order by identity.identity_id
  for key share;

  with stored as (
    insert into track.enrolment (person_id, item_id, identity_id, status, enrolled_at, ended_at)
    select distinct on (identity.identity_id, coalesce(item.merged_item_id, item.item_id))
      identity.person_id, coalesce(item.merged_item_id, item.item_id), identity.identity_id,
      coalesce(enrolment.status, 'active'), enrolment.enrolled_at, enrolment.ended_at
    from jsonb_to_recordset(enrolments) as enrolment (
      person text, item text, enrolled_at timestamptz, status text, ended_at timestamptz
    )
    join track.identity on identity.external_id = enrolment.person and identity.kind = 'user'
    join track.item on item.external_id = enrolment.item
    order by
      identity.identity_id, coalesce(item.merged_item_id, item.item_id), enrolment.enrolled_at desc
    on conflict (person_id, item_id, identity_id) do update
    set status = excluded.status, enrolled_at = excluded.enrolled_at, ended_at = excluded.ended_at
    where (enrolment.status, enrolment.enrolled_at, enrolment.ended_at)
      is distinct from (excluded.status, excluded.enrolled_at, excluded.ended_at)
    returning enrolment.person_id, xmax = 0 as is_new
  )
  select count(*) filter (where is_new), count(*) filter (where not is_new), array_agg(distinct person_id)
  into v_inserted, v_updated, v_touched
  from stored;
  perform track._enqueue('enrolment', v_touched);

  return row(
    v_inserted,
    v_updated,
    jsonb_array_length(enrolments) - v_inserted - v_updated
  )::track.sync_result;
exception
  when data_exception then
    perform common.refuse('CF001', format('a value of an enrolment is invalid: %s', left(sqlerrm, 100)),
      'Give a view whose columns have the types of track.enrolment, and texts for person and item.');
end;
$$;

comment on function track._store_enrolments(jsonb) is $$
@behavior -queryField -mutationField
Stores a list of `{person, item, enrolled_at, …}`, as described for `track.sync_enrolments`.
$$;

grant execute on function track._store_enrolments(jsonb) to insights_admin, insights_worker;

create or replace function track.sync_enrolments(source regclass)
returns track.sync_result
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_columns text[];
  v_enrolments jsonb;
  v_part track.sync_result;
  v_result track.sync_result := row(0, 0, 0);
begin
  v_columns := track._columns(source, array['person', 'item', 'enrolled_at'], array['status', 'ended_at']);

  -- The latest enrolment of a person in an item applies. The query runs as the caller, and passes its rows to a definer
  -- that takes values only. Each call passes at most 50,000 rows, because the size of a jsonb value is limited.
  for v_enrolments in
    execute format(
      $query$
      select jsonb_agg(jsonb_build_object(%s))
      from (
        select *, (row_number() over (order by person, item) - 1) / 50000 as part
        from (
          select distinct on (person, item) %s
          from %s
          order by person, item, enrolled_at desc
        ) as newest
      ) as numbered
      group by part
      order by part
      $query$,
      (select string_agg(format('%L, %I', name, name), ', ') from unnest(v_columns) as name),
      (select string_agg(format('%I', name), ', ') from unnest(v_columns) as name),
      source
    )
  loop
    v_part := track._store_enrolments(v_enrolments);
    v_result.inserted := v_result.inserted + v_part.inserted;
    v_result.updated := v_result.updated + v_part.updated;
    v_result.unchanged := v_result.unchanged + v_part.unchanged;
  end loop;
  return v_result;
end;
$$;

comment on function track.sync_enrolments(regclass) is $$
Reads enrolments from a table or view of the application, with the privileges of the caller.
Required columns: `person` (`userId`), `item` (external id, usually of a course) and `enrolled_at`; optional: `status`
(`active`, `completed`, `dropped`) and `ended_at`.
Unknown people and items are added. Of several rows for one person and item, the latest `enrolled_at` applies. The
call can be repeated: unchanged enrolments are not written. Errors: CF002 for a missing column, CF001 for an invalid
value.
$$;

grant execute on function track.sync_enrolments(regclass) to insights_admin, insights_worker;
--! EndIncluded track/functions/sync_enrolments.sql

--! Included track/functions/record_my_consent.sql
create or replace function track.record_my_consent(purpose text, granted boolean, document_version text default null)
returns privacy.consent
language plpgsql
volatile
-- A definer: it writes privacy.consent, which no role may write, for the signed-in person only.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_name constant text := nullif(current_setting('insights.person', true), '');
  v_person_id bigint := track.current_person_id();
begin
  if v_name is null then
    perform common.refuse('CF005', 'no person is signed in', 'Sign in first: a decision belongs to a person.');
  end if;
  if track._names_nobody(v_name) then
    perform common.refuse('CF005', format('"%s" is signed in, which names nobody', left(v_name, 100)),
      'Sign in with the userId of a person.');
  end if;
  -- The decision may be the first request of a person.
  if v_person_id is null then
    perform track._enter_people(array['user'], array[v_name]);
    -- The rest of the transaction reads the rows of this person.
    v_person_id := track.sign_in();
  end if;
  return privacy.record_consent(
    v_person_id, record_my_consent.purpose, record_my_consent.granted, now(), record_my_consent.document_version, null
  );
end;
$$;

comment on function track.record_my_consent(text, boolean, text) is $$
Records a decision of the signed-in person about a purpose.
Withdrawing is as easy as granting (GDPR article 7). Errors: CF005 when no person is signed in, CF002 for an unknown
purpose.
$$;

grant execute on function track.record_my_consent(text, boolean, text) to insights_learner;
--! EndIncluded track/functions/record_my_consent.sql

-- from track/policies.sql
grant select (source_id, is_automatic) on track.source to insights_learner;
grant update (
  session_timeout, heartbeat, minimum_visit, longest_gap, oldest_event, oldest_client_event, newest_event,
  longest_properties, largest_batch, longest_view, clock_tolerance, path_rule, kept_parameters,
  most_identities
)
on track.setting to insights_admin;
grant select on track.placeholder_id to insights_reader, insights_analyst, insights_admin, insights_worker;
grant insert, delete on track.placeholder_id to insights_admin;
grant update (purpose, opens_view, is_heartbeat, is_automatic, description) on track.event_type to insights_admin;
grant update (heartbeat, is_automatic) on track.source to insights_admin;
grant select (
  key_id, source_id, preview, scopes, origins, requests_per_minute, created_at, expires_at, revoked_at, used_on
)
on track.write_key to insights_admin;
grant select on track.write_key_log, track.refusal_sample to insights_admin;
grant select on track.refusal to insights_analyst, insights_admin, insights_worker;
grant update (description, path_rule, kept_parameters) on track.source to insights_admin;
grant select on track.stale, track.changed, track.automatic_period
to insights_reader, insights_learner, insights_admin, insights_worker;
grant select on track.person_set to insights_reader, insights_analyst, insights_admin, insights_worker;
grant select on track.person_set_member, track.person_set_block, track.exclusion
to insights_reader, insights_admin, insights_worker;
drop policy if exists all_rows on track.placeholder_id;
create policy all_rows on track.placeholder_id for select using (true);
drop policy if exists admins_insert on track.placeholder_id;
create policy admins_insert on track.placeholder_id for insert to insights_admin with check (true);
drop policy if exists admins_delete on track.placeholder_id;
create policy admins_delete on track.placeholder_id for delete to insights_admin using (true);
drop policy if exists admins_change on track.source;
create policy admins_change on track.source for update to insights_admin using (true);
drop policy if exists all_rows on track.write_key;
create policy all_rows on track.write_key for select using (true);
drop policy if exists all_rows on track.write_key_log;
create policy all_rows on track.write_key_log for select using (true);
drop policy if exists all_rows on track.refusal;
create policy all_rows on track.refusal for select using (true);
drop policy if exists all_rows on track.refusal_sample;
create policy all_rows on track.refusal_sample for select using (true);
drop policy if exists all_rows on track.person_set;
create policy all_rows on track.person_set for select using (true);
drop policy if exists all_people on track.person_set_member;
create policy all_people on track.person_set_member for select to insights_reader, insights_admin, insights_worker
using (true);
drop policy if exists all_people on track.person_set_block;
create policy all_people on track.person_set_block for select to insights_reader, insights_admin, insights_worker
using (true);
drop policy if exists all_people on track.exclusion;
create policy all_people on track.exclusion for select to insights_reader, insights_admin, insights_worker
using (true);
do $$
declare
  v_table text;
begin
  foreach v_table in array array[
    'person', 'identity', 'trait', 'enrolment', 'event', 'session', 'page_view', 'automatic_period', 'stale', 'changed'
  ]
  loop
    execute format('drop policy if exists own on track.%I', v_table);
    execute format(
      $policy$
      create policy own on track.%I for select to insights_learner
      using (person_id <> 0 and person_id = nullif(current_setting('insights.person_id', true), '')::bigint)
      $policy$,
      v_table
    );
    execute format('drop policy if exists all_people on track.%I', v_table);
    execute format(
      $policy$
      create policy all_people on track.%I for select to insights_reader, insights_admin, insights_worker
      using (true)
      $policy$,
      v_table
    );
  end loop;
end;
$$;

--! Included analytics/functions/_queued_days.sql
create or replace function analytics._queued_days(
  first_day date,
  end_day date,
  of_people bigint[] default null,
  out people bigint[],
  out first_days date[],
  out end_days date[]
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the length of the queues.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_since constant timestamptz := _queued_days.first_day::timestamp at time zone 'UTC';
  v_until constant timestamptz := _queued_days.end_day::timestamp at time zone 'UTC';
begin
  if v_since >= v_until then
    return;
  end if;

  with queued as (
    select stale.person_id, stale.since, stale.until
    from track.stale
    where stale.since < v_until
      and stale.until >= v_since
      and (_queued_days.of_people is null or stale.person_id = any (_queued_days.of_people))

    union all

    select changed.person_id, changed.since, changed.until
    from track.changed
    where changed.consumer = 'analytics.activity'
      and changed.since < v_until
      and changed.until >= v_since
      and (_queued_days.of_people is null or changed.person_id = any (_queued_days.of_people))
  ),

  merged as (
    select
      queued.person_id,
      unnest(range_agg(daterange(
        greatest((queued.since at time zone 'UTC')::date, _queued_days.first_day),
        least((queued.until at time zone 'UTC')::date + 1, _queued_days.end_day)
      ))) as days
    from queued
    group by queued.person_id
  )

  select array_agg(merged.person_id), array_agg(lower(merged.days)), array_agg(upper(merged.days))
  into people, first_days, end_days
  from merged;
end;
$$;

comment on function analytics._queued_days(date, date, bigint[]) is $$
Returns the days between two (`end_day` exclusive) for which `analytics.activity` is not refreshed yet.
They are ranges of days, one per position: the person, the first day, and the day after the last one. Null when there
are none. `of_people`: only these people; null: all.
A reader of the rollup leaves these rows out, and reads `analytics._days_of_people` instead, so that its result is the
same before and after a refresh.
$$;

grant execute on function analytics._queued_days(date, date, bigint[]) to insights_reader, insights_admin;
--! EndIncluded analytics/functions/_queued_days.sql

--! Included analytics/functions/_days_of_people.sql
create or replace function analytics._days_of_people(
  people bigint[],
  first_days date[],
  end_days date[],
  event_type_id int default null,
  with_engaged boolean default true
)
returns setof analytics.activity
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the number of people, and the plan contains the partitions of these days only.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_since constant timestamptz := (select min(day) from unnest(first_days) as day)::timestamp at time zone 'UTC';
  v_until constant timestamptz := (select max(day) from unnest(end_days) as day)::timestamp at time zone 'UTC';
begin
  if v_since is null then
    return;
  end if;

  return query
  with counted as (
    select
      event.person_id,
      (event.occurred_at at time zone 'UTC')::date as day,
      event.event_type_id,
      event.item_id,
      count(*) as event_count,
      -- An index lookup per event, not a join, which might read all page views.
      coalesce(
        sum(
          case
            when _days_of_people.with_engaged then (
              select page_view.engaged
              from track.page_view
              where page_view.person_id = event.person_id
                and page_view.event_id = event.event_id
                and not page_view.is_continued
            )
          end
        ),
        '0'
      ) as engaged,
      count(*) filter (where event_type.is_automatic or source.is_automatic) as automatic_count
    from unnest(_days_of_people.people, _days_of_people.first_days, _days_of_people.end_days)
      as period (person_id, first_day, end_day)
    join track.event
      on event.person_id = period.person_id
      and event.occurred_at >= period.first_day::timestamp at time zone 'UTC'
      and event.occurred_at < period.end_day::timestamp at time zone 'UTC'
    join track.event_type on event_type.event_type_id = event.event_type_id
    join track.source on source.source_id = event.source_id
    where event.occurred_at >= v_since
      and event.occurred_at < v_until
      and (_days_of_people.event_type_id is null or event.event_type_id = _days_of_people.event_type_id)
    group by 1, 2, 3, 4

    union all

    -- The item of a continued page view is often not that of its first heartbeat.
    select
      page_view.person_id,
      (page_view.started_at at time zone 'UTC')::date,
      event.event_type_id,
      page_view.item_id,
      0,
      page_view.engaged,
      0
    from unnest(_days_of_people.people, _days_of_people.first_days, _days_of_people.end_days)
      as period (person_id, first_day, end_day)
    join track.page_view
      on page_view.is_continued
      and page_view.person_id = period.person_id
      and page_view.started_at >= period.first_day::timestamp at time zone 'UTC'
      and page_view.started_at < period.end_day::timestamp at time zone 'UTC'
    join track.event
      on event.person_id = page_view.person_id
      and event.occurred_at between page_view.started_at and page_view.ended_at
      and event.event_id = page_view.event_id
    where _days_of_people.with_engaged
      and (_days_of_people.event_type_id is null or event.event_type_id = _days_of_people.event_type_id)
  )

  select
    counted.person_id, counted.day, counted.event_type_id, counted.item_id, sum(counted.event_count)::int,
    sum(counted.engaged), sum(counted.automatic_count)::int
  from counted
  group by counted.person_id, counted.day, counted.event_type_id, counted.item_id;
end;
$$;

comment on function analytics._days_of_people(bigint[], date[], date[], int, boolean) is $$
Computes rows of `analytics.activity` from the events, for ranges of days of people.
Each position is a person, the first day, and the day after the last one. The ranges of a person must not overlap.
`event_type_id`: only this type; null: all. Without `with_engaged`, the engaged time is 0 and page views are not read.
The engaged time is that of the page views as of the last refresh of the sessions.
$$;

grant execute on function analytics._days_of_people(bigint[], date[], date[], int, boolean)
to insights_reader, insights_admin;
--! EndIncluded analytics/functions/_days_of_people.sql

--! Included analytics/functions/refresh_activity.sql
create or replace function analytics.refresh_activity(people bigint[], since timestamptz[], until timestamptz[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_people bigint[];
  v_first_days date[];
  v_end_days date[];
begin
  with widened as (
    select
      changed.person_id,
      daterange((changed.since at time zone 'UTC')::date, (changed.until at time zone 'UTC')::date + 1) as days
    from unnest(refresh_activity.people, refresh_activity.since, refresh_activity.until)
      as changed (person_id, since, until)
  ),

  merged as (
    select person_id, unnest(range_agg(days)) as days
    from widened
    group by person_id
  )

  select array_agg(person_id), array_agg(lower(days)), array_agg(upper(days))
  into v_people, v_first_days, v_end_days
  from merged;

  delete from analytics.activity
  using unnest(v_people, v_first_days, v_end_days) as period (person_id, first_day, end_day)
  where activity.person_id = period.person_id
    and activity.day >= period.first_day
    and activity.day < period.end_day;

  insert into analytics.activity (person_id, day, event_type_id, item_id, event_count, engaged, automatic_count)
  select
    computed.person_id, computed.day, computed.event_type_id, computed.item_id, computed.event_count, computed.engaged,
    computed.automatic_count
  from analytics._days_of_people(v_people, v_first_days, v_end_days) as computed;
end;
$$;

comment on function analytics.refresh_activity(bigint[], timestamptz[], timestamptz[]) is $$
Recomputes the days of `analytics.activity` in the given periods of people. Called by `track.refresh`.
The result is the same as that of a computation from scratch.
$$;
--! EndIncluded analytics/functions/refresh_activity.sql

--! Included analytics/functions/popular_items.sql
create or replace function analytics._popular_items(
  kind text, since timestamptz, until timestamptz, half_life interval, top int, measure text, smallest_group int
)
returns setof analytics.popular_item
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
declare
  -- Whole days are read from the rollup. The hours before the first and after the last of them are read from the
  -- events, and so are the days that are queued for a refresh.
  v_first_day constant date := (
    _popular_items.since at time zone 'UTC' + interval '1 day' - interval '1 microsecond'
  )::date;
  v_end_day constant date := (_popular_items.until at time zone 'UTC')::date;
  v_head_until constant timestamptz := least(_popular_items.until, v_first_day::timestamp at time zone 'UTC');
  v_tail_since constant timestamptz := greatest(v_head_until, v_end_day::timestamp at time zone 'UTC');
  v_newest_day constant date := least(v_end_day, (now() at time zone 'UTC')::date);
  v_people bigint[];
  v_first_days date[];
  v_end_days date[];
begin
  select queued.people, queued.first_days, queued.end_days
  into v_people, v_first_days, v_end_days
  from analytics._queued_days(v_first_day, v_end_day) as queued;

  return query
  with counted as materialized (
    select counted_block.block, counted_block.people
    from track.person_set_blocks('counted') as counted_block
  ),

  happened as (
    select activity.person_id, activity.day, activity.item_id, activity.event_count, activity.engaged
    from analytics.activity
    where activity.day >= v_first_day
      and activity.day < v_end_day
      and activity.item_id is not null
      and not exists (
        select
        from unnest(v_people, v_first_days, v_end_days) as queued (person_id, first_day, end_day)
        where queued.person_id = activity.person_id
          and activity.day >= queued.first_day
          and activity.day < queued.end_day
      )

    union all

    select computed.person_id, computed.day, computed.item_id, computed.event_count, computed.engaged
    from analytics._days_of_people(v_people, v_first_days, v_end_days) as computed
    where computed.item_id is not null

    union all

    select
      event.person_id,
      (event.occurred_at at time zone 'UTC')::date,
      event.item_id,
      1,
      -- An index lookup per event, not a join: these are the events of some hours, among page views of years.
      coalesce(
        (
          select page_view.engaged
          from track.page_view
          where page_view.person_id = event.person_id
            and page_view.event_id = event.event_id
            and not page_view.is_continued
        ),
        '0'
      )
    from track.event
    where event.item_id is not null
      and (
        event.occurred_at >= _popular_items.since and event.occurred_at < v_head_until
        or event.occurred_at >= v_tail_since and event.occurred_at < _popular_items.until
      )

    union all

    select
      page_view.person_id,
      (page_view.started_at at time zone 'UTC')::date,
      page_view.item_id,
      0,
      page_view.engaged
    from track.page_view
    where page_view.is_continued
      and page_view.item_id is not null
      and (
        page_view.started_at >= _popular_items.since and page_view.started_at < v_head_until
        or page_view.started_at >= v_tail_since and page_view.started_at < _popular_items.until
      )
  ),

  by_person as (
    select
      coalesce(ancestor.ancestor_item_id, happened.item_id) as item_id,
      happened.person_id,
      sum(happened.event_count) as event_count,
      sum(happened.engaged) as engaged,
      sum(happened.event_count * aged.weight) as decayed_event_count,
      sum(extract(epoch from happened.engaged) * aged.weight) as decayed_engaged,
      max(aged.weight) as weight
    from happened
    join counted
      on counted.block = happened.person_id / 4096
      and get_bit(counted.people, (happened.person_id % 4096)::int) <> 0
    cross join lateral (
      select case
        when _popular_items.half_life is null then 1.0::float8
        -- A weight of 2 to the power of -1000 counts as zero; a smaller power would raise an underflow.
        else 0.5 ^ least(
          1000,
          (v_newest_day - happened.day) * 86400 / extract(epoch from _popular_items.half_life)::float8
        )
      end as weight
    ) as aged
    left join track.item_ancestor as ancestor
      on ancestor.item_id = happened.item_id
      and _popular_items.kind is not null
    group by 1, 2
  ),

  by_item as (
    select
      item.external_id as item,
      item.title,
      item.kind,
      sum(by_person.event_count)::bigint as event_count,
      count(*) as person_count,
      sum(by_person.engaged) as engaged,
      -- Rounded, because the last digits depend on the order of addition and would decide the order of equal items.
      round(
        case _popular_items.measure
          when 'events' then sum(by_person.decayed_event_count)
          when 'engaged' then sum(by_person.decayed_engaged)::float8
          else sum(by_person.weight)
        end::numeric,
        9
      )::float8 as score
    from by_person
    join track.item using (item_id)
    where _popular_items.kind is null or item.kind = _popular_items.kind
    group by item.item_id, item.external_id, item.title, item.kind
  )

  select
    (row_number() over by_score)::int,
    by_item.item,
    by_item.title,
    by_item.kind,
    by_item.event_count,
    by_item.person_count,
    by_item.engaged,
    by_item.score
  from by_item
  where by_item.person_count >= _popular_items.smallest_group
  window by_score as (order by by_item.score desc, by_item.event_count desc, by_item.item)
  order by by_item.score desc, by_item.event_count desc, by_item.item
  limit _popular_items.top;
end;
$$;

comment on function analytics._popular_items(text, timestamptz, timestamptz, interval, int, text, int) is $$
Computes the result of `analytics.popular_items`, with the privileges of the caller and the given smallest group.
$$;

grant execute on function analytics._popular_items(text, timestamptz, timestamptz, interval, int, text, int)
to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics.popular_items(
  kind text default 'course',
  since timestamptz default (now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  half_life interval default null,
  top int default 10,
  measure text default 'people'
)
returns setof analytics.popular_item
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
begin
  perform common.check_period(popular_items.since, popular_items.until);
  if popular_items.half_life <= '0' then
    perform common.refuse('CF001', format('half_life is %s', popular_items.half_life),
      'Give an interval above zero, such as 7 days, or null for equal weights.');
  end if;
  perform common.check_count('top', popular_items.top, 1, 10000);
  if popular_items.measure is null or popular_items.measure not in ('events', 'people', 'engaged') then
    perform common.refuse('CF001', format('measure is "%s"', left(popular_items.measure, 100)),
      'Use events (frequency), people (distinct people) or engaged (engaged time).');
  end if;
  if popular_items.kind is not null
    and not exists (select from track.item where item.kind = popular_items.kind)
  then
    perform common.refuse(
      'CF002',
      format('there is no item of kind "%s"', left(popular_items.kind, 100)),
      coalesce(
        (select 'There are ' || string_agg(distinct item.kind, ', ') || '.' from track.item),
        'There are no items yet: send events, or run track.sync_items.'
      )
    );
  end if;

  return query
  select *
  from analytics._popular_items(
    popular_items.kind, popular_items.since, popular_items.until, popular_items.half_life,
    popular_items.top, popular_items.measure,
    (select smallest_group from analytics.setting)
  );
end;
$$;

alter function analytics.popular_items(text, timestamptz, timestamptz, interval, int, text) owner to insights_reader;

comment on function analytics.popular_items(text, timestamptz, timestamptz, interval, int, text) is $$
Returns the most used items of a kind between two times (`until` exclusive), including what they contain.
`measure`: `events` (frequency), `people` (distinct people) or `engaged` (engaged time). `half_life`: age at which the
weight of an event is halved, as in trending lists (Metarank). `kind` null: the items themselves, without what they
contain.
Only people in the set `counted` count, in all figures: those who have signed in, without excluded ones
(`track.exclude_person`); anonymized events and anonymous browsers do not.
Items with fewer people than `analytics.setting.smallest_group` are excluded. Whole days are read from the rollup, and
those that are queued for a refresh from the events: the result includes every event that was stored when the function
was called. Engaged times are as of the last refresh of the sessions, and so are people who used an item only by
continuing to read a page of an earlier session.
Errors: CF001 for an invalid argument, CF002 for a kind that no item has.
$$;

grant execute on function analytics.popular_items(text, timestamptz, timestamptz, interval, int, text)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/functions/popular_items.sql

--! Included analytics/functions/trend.sql
create or replace function analytics._trend(
  event_type_id int, bucket text, since timestamptz, until timestamptz, window_size int, smallest_group int
)
returns setof analytics.trend_point
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
declare
  -- Whole days are read from the rollup. The hours before the first and after the last of them are read from the
  -- events, and so are a trend by hour and the days that are queued for a refresh.
  v_by_hour constant boolean := _trend.bucket = 'hour';
  v_length constant interval := ('1 ' || _trend.bucket)::interval;
  v_first_day constant date := (_trend.since at time zone 'UTC' + interval '1 day' - interval '1 microsecond')::date;
  v_end_day constant date := (_trend.until at time zone 'UTC')::date;
  v_head_until constant timestamptz := case
    when v_by_hour then _trend.until
    else least(_trend.until, v_first_day::timestamp at time zone 'UTC')
  end;
  v_tail_since constant timestamptz := greatest(v_head_until, v_end_day::timestamp at time zone 'UTC');
  v_people bigint[];
  v_first_days date[];
  v_end_days date[];
begin
  if not v_by_hour then
    select queued.people, queued.first_days, queued.end_days
    into v_people, v_first_days, v_end_days
    from analytics._queued_days(v_first_day, v_end_day) as queued;
  end if;

  return query
  with happened as (
    select date_trunc(_trend.bucket, activity.day::timestamp) as bucket_start, activity.person_id, activity.event_count
    from analytics.activity
    where activity.event_type_id = _trend.event_type_id
      and activity.day >= v_first_day
      and activity.day < v_end_day
      -- Not the rows of continued page views, which have no event.
      and activity.event_count > 0
      and not v_by_hour
      and not exists (
        select
        from unnest(v_people, v_first_days, v_end_days) as queued (person_id, first_day, end_day)
        where queued.person_id = activity.person_id
          and activity.day >= queued.first_day
          and activity.day < queued.end_day
      )

    union all

    select date_trunc(_trend.bucket, computed.day::timestamp), computed.person_id, computed.event_count
    from analytics._days_of_people(v_people, v_first_days, v_end_days, _trend.event_type_id, false) as computed

    union all

    select date_trunc(_trend.bucket, event.occurred_at at time zone 'UTC'), event.person_id, 1
    from track.event
    where event.event_type_id = _trend.event_type_id
      and (
        event.occurred_at >= _trend.since and event.occurred_at < v_head_until
        or event.occurred_at >= v_tail_since and event.occurred_at < _trend.until
      )
  ),

  trusted as materialized (
    select trusted_block.block, trusted_block.people
    from track.person_set_blocks('counted') as trusted_block
  ),

  counted as (
    select
      happened.bucket_start,
      sum(happened.event_count) as event_count,
      count(distinct nullif(happened.person_id, 0)) as person_count,
      -- Anonymous browsers, which any client can invent, do not lift a bucket above the floor.
      count(distinct happened.person_id)
        filter (where get_bit(trusted.people, (happened.person_id % 4096)::int) <> 0) as trusted_count
    from happened
    left join trusted on trusted.block = happened.person_id / 4096
    group by happened.bucket_start
  ),

  filled as (
    select
      bucket.bucket_start,
      bucket.ordinality as bucket_number,
      bucket.bucket_start >= _trend.since at time zone 'UTC'
        and bucket.bucket_start + v_length <= least(_trend.until, now()) at time zone 'UTC' as is_complete,
      case when floor.is_met then coalesce(counted.event_count, 0) end as event_count,
      case when floor.is_met then coalesce(counted.person_count, 0) end as person_count
    from generate_series(
      date_trunc(_trend.bucket, _trend.since at time zone 'UTC'),
      _trend.until at time zone 'UTC' - interval '1 microsecond',
      v_length
    ) with ordinality as bucket (bucket_start, ordinality)
    left join counted using (bucket_start)
    cross join lateral (
      select counted.event_count is null or counted.trusted_count >= _trend.smallest_group as is_met
    ) as floor
  )

  -- The rows after the last complete bucket have its number, and so its average and slope.
  select
    filled.bucket_start at time zone 'UTC',
    filled.event_count::bigint,
    filled.person_count::bigint,
    (avg(filled.event_count) filter (where filled.is_complete) over last_buckets)::float8,
    regr_slope(filled.event_count::float8, filled.bucket_number::float8)
      filter (where filled.is_complete) over last_buckets,
    filled.is_complete
  from filled
  cross join (
    select max(complete.bucket_number) as bucket_number from filled as complete where complete.is_complete
  ) as last_complete
  window last_buckets as (
    order by least(filled.bucket_number, last_complete.bucket_number)
    range between (_trend.window_size - 1)::bigint preceding and current row
  )
  order by filled.bucket_number;
end;
$$;

comment on function analytics._trend(int, text, timestamptz, timestamptz, int, int) is $$
Computes the result of `analytics.trend`, with the privileges of the caller and the given smallest group.
$$;

grant execute on function analytics._trend(int, text, timestamptz, timestamptz, int, int) to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics.trend(
  event_name text,
  bucket text default 'day',
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  window_size int default 7
)
returns setof analytics.trend_point
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
declare
  v_event_type_id constant int := (
    select event_type.event_type_id
    from track.event_type
    where event_type.name = trend.event_name
  );
  v_longest constant interval := interval '10000 hours';
begin
  perform common.check_period(trend.since, trend.until);
  if length(trend.event_name) > 200 then
    perform common.refuse('CF008', format('event_name has %s characters', length(trend.event_name)),
      'The name of an event has 200 at most.');
  end if;
  if v_event_type_id is null then
    perform common.refuse(
      'CF002',
      format('there is no event "%s"', left(trend.event_name, 100)),
      coalesce(
        (
          select format('The most similar names are %s.', string_agg(format('"%s"', near.name), ', '))
          from (
            select event_type.name
            from track.event_type
            order by
              cardinality(array(
                select unnest(regexp_split_to_array(lower(event_type.name), '\W+'))
                intersect
                select unnest(regexp_split_to_array(lower(trend.event_name), '\W+'))
              )) desc,
              abs(length(event_type.name) - length(trend.event_name)),
              event_type.name
            limit 3
          ) as near
        ),
        'There are no events yet.'
      )
    );
  end if;
  if trend.bucket is null or trend.bucket not in ('hour', 'day', 'week', 'month') then
    perform common.refuse('CF001', format('bucket is "%s"', left(trend.bucket, 100)),
      'Use hour, day, week (from Monday) or month.');
  end if;
  perform common.check_count('window_size', trend.window_size, 1, 10000);
  if not isfinite(trend.since) or not isfinite(trend.until)
    or trend.until - trend.since > v_longest * (
      case trend.bucket
        when 'hour' then 1
        when 'day' then 24
        when 'week' then 168
        else 720
      end
    )
  then
    perform common.refuse(
      'CF008',
      format('from %s until %s there are more than 10000 buckets of one %s', trend.since, trend.until, trend.bucket),
      'Give a shorter period, or a larger bucket.'
    );
  end if;

  return query
  select *
  from analytics._trend(
    v_event_type_id, trend.bucket, trend.since, trend.until, trend.window_size,
    (select smallest_group from analytics.setting)
  );
end;
$$;

alter function analytics.trend(text, text, timestamptz, timestamptz, int) owner to insights_reader;

comment on function analytics.trend(text, text, timestamptz, timestamptz, int) is $$
Returns the number of events of a type per time bucket, between two times (`until` exclusive).
Buckets are in UTC, weeks start on Monday, and empty buckets are zero. Each bucket has the numbers of events and
distinct people, the running average over the last `window_size` complete buckets, and the slope of the least-squares
line through them, in events per bucket.
A bucket that begins before `since`, or ends after `until` or now, is not complete (`is_complete`). Its numbers are
those of the part in the period, and are excluded from average and slope, because they differ by the length of the
bucket.
The average and slope in its own row are those of the last complete bucket before it; null when there is none. With
the default arguments the last bucket is the current day, which is not complete.
Events of anonymous browsers are included. Buckets with fewer counted people (`track.exclude_person`) than
`analytics.setting.smallest_group` are null, and excluded from average and slope. Whole days are read from the rollup,
and those that are queued for a refresh from the events: the result includes every event that was stored when the
function was called.
Errors: CF002 for an unknown event (with the most similar names), CF001 for an invalid argument, CF008 for more than
10,000 buckets.
$$;

grant execute on function analytics.trend(text, text, timestamptz, timestamptz, int)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/functions/trend.sql

--! Included analytics/functions/_active_days.sql
create or replace function analytics._active_days(out first_day date, out last_day date)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  -- From both ends of the index, up to the first row of a counted person.
  first_day := (
    select activity.day
    from analytics.activity
    join track.person_set_block as counted
      on counted.name = 'counted'
      and counted.block = activity.person_id / 4096
      and get_bit(counted.people, (activity.person_id % 4096)::int) <> 0
    order by activity.day
    limit 1
  );
  last_day := (
    select activity.day
    from analytics.activity
    join track.person_set_block as counted
      on counted.name = 'counted'
      and counted.block = activity.person_id / 4096
      and get_bit(counted.people, (activity.person_id % 4096)::int) <> 0
    order by activity.day desc
    limit 1
  );
end;
$$;

comment on function analytics._active_days() is $$
Returns the first and the last day (UTC) with activity of counted people; null when there is none.
$$;

grant execute on function analytics._active_days() to insights_reader;
--! EndIncluded analytics/functions/_active_days.sql

--! Included analytics/functions/_learner_features.sql
/*
 * The single definition of the features of a learner as of a time, used by training and prediction. Whole days are read
 * from the rollup, or from the events where they are queued for a refresh, and the hours since the last midnight from
 * the events. Each part is limited to rows before the time; `known_at` is the time of the latest row used. Seconds and
 * gaps are summed as numeric and int, so that the result does not depend on the order of the rows.
 */
create or replace function analytics._learner_features(moments timestamptz[], courses bigint[] default null)
returns setof analytics.learner_features
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_by_default constant boolean := (
    select purpose.basis <> 'consent'
    from privacy.purpose
    where purpose.purpose = 'analytics'
  );
  v_people bigint[];
  v_first_days date[];
  v_end_days date[];
begin
  select queued.people, queued.first_days, queued.end_days
  into v_people, v_first_days, v_end_days
  from analytics._queued_days(
    '-infinity',
    (select (max(entry.as_of) at time zone 'UTC')::date from unnest(_learner_features.moments) as entry (as_of)),
    case
      when _learner_features.courses is not null
        then array(
          select distinct enrolment.person_id
          from track.enrolment
          where enrolment.item_id = any (_learner_features.courses)
        )
    end
  ) as queued;

  return query
  with moment as materialized (
    select distinct
      entry.as_of,
      date_trunc('day', entry.as_of at time zone 'UTC') at time zone 'UTC' as midnight,
      (entry.as_of at time zone 'UTC')::date as today
    from unnest(_learner_features.moments) as entry (as_of)
  ),

  -- The items of each course, including the course itself.
  part as materialized (
    select course.item_id as course_id, item.item_id, item.kind, item.due_at, course.available_until
    from track.item as course
    join track.item_ancestor as ancestor on ancestor.ancestor_item_id = course.item_id
    join track.item on item.item_id = ancestor.item_id
    where course.kind = 'course'
      and (_learner_features.courses is null or course.item_id = any (_learner_features.courses))
  ),

  size as (
    select
      part.course_id,
      max(part.available_until) as available_until,
      count(*) filter (where part.kind not in ('course', 'module'))::float8 as items,
      count(*) filter (where part.kind = 'task')::float8 as tasks
    from part
    group by part.course_id
  ),

  -- Learners of a course at a time: enrolled earlier, not completed or dropped by then, and not opted out of analytics.
  taker as materialized (
    select enrolled.person_id, enrolled.course_id, enrolled.enrolled_at, moment.as_of, moment.midnight, moment.today
    from (
      select
        enrolment.person_id,
        enrolment.item_id as course_id,
        min(enrolment.enrolled_at) as enrolled_at,
        case when bool_and(enrolment.ended_at is not null) then max(enrolment.ended_at) end as ended_at
      from track.enrolment
      join size on size.course_id = enrolment.item_id
      where enrolment.person_id <> 0
        -- With the default "allowed", the decisions that matter are opt-outs; with the default "not allowed", grants.
        and v_by_default <> (
          enrolment.person_id in (
            select decision.person_id
            from privacy.latest_decisions('analytics') as decision
            where decision.granted <> v_by_default
          )
        )
      group by enrolment.person_id, enrolment.item_id
    ) as enrolled
    join moment
      on enrolled.enrolled_at < moment.as_of
      and (enrolled.ended_at is null or enrolled.ended_at >= moment.as_of)
  ),

  person as materialized (
    select distinct taker.person_id from taker
  ),

  queued as materialized (
    select day_queued.person_id, day_queued.first_day, day_queued.end_day
    from unnest(v_people, v_first_days, v_end_days) as day_queued (person_id, first_day, end_day)
  ),

  computed as materialized (
    select * from analytics._days_of_people(v_people, v_first_days, v_end_days)
  ),

  day_of_item as materialized (
    select
      happened.course_id, happened.person_id, happened.item_id, happened.day, happened.kind, happened.due_at,
      sum(happened.event_count - happened.automatic_count)::float8 as events,
      sum(extract(epoch from happened.engaged)) as seconds,
      bool_or(event_type.name in ('Task Submitted', 'Task Completed')) as submitted,
      -- A grade by a teacher, or another automatic event, is not an activity of the learner.
      bool_or(happened.event_count > happened.automatic_count or happened.engaged > '0') as is_active
    from (
      select
        part.course_id, part.kind, part.due_at,
        activity.person_id, activity.item_id, activity.day, activity.event_type_id, activity.event_count,
        activity.engaged, activity.automatic_count
      from part
      join analytics.activity on activity.item_id = part.item_id
      join person on person.person_id = activity.person_id
      where not exists (
        select
        from queued
        where queued.person_id = activity.person_id
          and activity.day >= queued.first_day
          and activity.day < queued.end_day
      )

      union all

      select
        part.course_id, part.kind, part.due_at,
        computed.person_id, computed.item_id, computed.day, computed.event_type_id, computed.event_count,
        computed.engaged, computed.automatic_count
      from part
      join computed on computed.item_id = part.item_id
      join person on person.person_id = computed.person_id
    ) as happened
    join track.event_type on event_type.event_type_id = happened.event_type_id
    group by
      happened.course_id, happened.person_id, happened.item_id, happened.day, happened.kind, happened.due_at
  ),

  day_of_course as materialized (
    select
      day_of_item.course_id, day_of_item.person_id, day_of_item.day,
      sum(day_of_item.events) as events,
      sum(day_of_item.seconds) as seconds
    from day_of_item
    where day_of_item.is_active
    group by day_of_item.course_id, day_of_item.person_id, day_of_item.day
  ),

  -- Since the last midnight: events of the learner, and page views of earlier sessions that were continued.
  today as (
    select
      taker.person_id, taker.course_id, taker.as_of, taker.today,
      1 as events,
      extract(epoch from page_view.engaged) as seconds,
      event.occurred_at as known_at
    from taker
    join track.event
      on event.person_id = taker.person_id
      and event.occurred_at >= taker.midnight
      and event.occurred_at < taker.as_of
    join track.event_type on event_type.event_type_id = event.event_type_id and not event_type.is_automatic
    join track.source on source.source_id = event.source_id and not source.is_automatic
    join part on part.item_id = event.item_id and part.course_id = taker.course_id
    left join (
      track.page_view
      join track.session on session.person_id = page_view.person_id and session.session_id = page_view.session_id
    )
      on page_view.person_id = event.person_id
      and page_view.event_id = event.event_id
      and not page_view.is_continued
      and session.ended_at < taker.as_of
    where taker.midnight < taker.as_of

    union all

    select
      taker.person_id, taker.course_id, taker.as_of, taker.today,
      0,
      extract(epoch from page_view.engaged),
      page_view.ended_at
    from taker
    join track.page_view
      on page_view.is_continued
      and page_view.person_id = taker.person_id
      and page_view.started_at >= taker.midnight
      and page_view.started_at < taker.as_of
    join track.session
      on session.person_id = page_view.person_id
      and session.session_id = page_view.session_id
      and session.ended_at < taker.as_of
    join part on part.item_id = page_view.item_id and part.course_id = taker.course_id
  ),

  active_day as (
    select
      taker.person_id, taker.course_id, taker.as_of,
      taker.today - day_of_course.day as age,
      day_of_course.day,
      day_of_course.events,
      day_of_course.seconds,
      (day_of_course.day + 1)::timestamp at time zone 'UTC' as known_at
    from taker
    join day_of_course
      on day_of_course.person_id = taker.person_id
      and day_of_course.course_id = taker.course_id
      and day_of_course.day < taker.today

    union all

    select
      today.person_id, today.course_id, today.as_of,
      0,
      today.today,
      sum(today.events)::float8,
      coalesce(sum(today.seconds), 0),
      max(today.known_at)
    from today
    group by today.person_id, today.course_id, today.as_of, today.today
  ),

  -- The engaged time of a session is known at its end. The rollup already contains that of sessions in progress at the
  -- time, so it is subtracted.
  unfinished as (
    select taker.person_id, taker.course_id, taker.as_of, sum(extract(epoch from page_view.engaged)) as seconds
    from taker
    join track.session
      on session.person_id = taker.person_id
      and session.started_at >= taker.as_of - interval '168 hours'
      and session.started_at < taker.midnight
      and session.ended_at >= taker.as_of
    join track.page_view
      on page_view.person_id = session.person_id
      and page_view.session_id = session.session_id
      and page_view.started_at < taker.midnight
    join part on part.item_id = page_view.item_id and part.course_id = taker.course_id
    group by taker.person_id, taker.course_id, taker.as_of
  ),

  active as (
    select
      stepped.person_id, stepped.course_id, stepped.as_of,
      max(stepped.known_at) as known_at,
      min(stepped.age) as days_idle,
      count(*) as active_days,
      count(*) filter (where stepped.age between 1 and 7) as active_days_week_1,
      count(*) filter (where stepped.age between 8 and 14) as active_days_week_2,
      count(*) filter (where stepped.age between 15 and 21) as active_days_week_3,
      count(*) filter (where stepped.age between 22 and 28) as active_days_week_4,
      sum(stepped.events) as events,
      coalesce(sum(stepped.events) filter (where stepped.age between 1 and 7), 0) as events_week_1,
      coalesce(sum(stepped.events) filter (where stepped.age between 8 and 14), 0) as events_week_2,
      sum(stepped.seconds) as seconds,
      coalesce(sum(stepped.seconds) filter (where stepped.age between 1 and 7), 0) as seconds_week_1,
      avg(stepped.gap) as mean_gap,
      stddev_pop(stepped.gap) as gap_deviation,
      max(stepped.gap) as longest_gap
    from (
      select active_day.*, (active_day.day - lag(active_day.day) over by_day) as gap
      from active_day
      window by_day as (
        partition by active_day.person_id, active_day.course_id, active_day.as_of
        order by active_day.day
      )
    ) as stepped
    group by stepped.person_id, stepped.course_id, stepped.as_of
  ),

  -- Breadth and lateness, as of the last midnight.
  used as materialized (
    select
      day_of_item.course_id, day_of_item.person_id, day_of_item.item_id, day_of_item.kind, day_of_item.due_at,
      min(day_of_item.day) as day,
      min(day_of_item.day) filter (where day_of_item.submitted) as submitted_day
    from day_of_item
    where day_of_item.kind not in ('course', 'module')
      and (day_of_item.is_active or day_of_item.submitted)
    group by day_of_item.course_id, day_of_item.person_id, day_of_item.item_id, day_of_item.kind, day_of_item.due_at
  ),

  breadth as (
    select
      taker.person_id, taker.course_id, taker.as_of,
      count(*) as items,
      count(*) filter (where used.kind = 'task' and used.submitted_day < taker.today) as tasks,
      count(*) filter (
        where used.kind = 'task' and used.submitted_day < taker.today and used.due_at < taker.midnight
      ) as due_tasks,
      avg(used.submitted_day - (used.due_at at time zone 'UTC')::date)
        filter (where used.kind = 'task' and used.submitted_day < taker.today) as days_late
    from taker
    join used
      on used.person_id = taker.person_id
      and used.course_id = taker.course_id
      and used.day < taker.today
    group by taker.person_id, taker.course_id, taker.as_of
  ),

  due as (
    select part.course_id, moment.as_of, count(*)::float8 as tasks
    from moment
    join part on part.kind = 'task' and part.due_at < moment.midnight
    group by part.course_id, moment.as_of
  ),

  learner as materialized (
    select distinct taker.person_id, taker.as_of, taker.today
    from taker
  ),

  anywhere as (
    select happened.person_id, happened.as_of, count(distinct happened.day) as active_days
    from (
      select learner.person_id, learner.as_of, activity.day
      from learner
      join analytics.activity
        on activity.person_id = learner.person_id
        and activity.day >= learner.today - 7
        and activity.day < learner.today
        and (activity.event_count > activity.automatic_count or activity.engaged > '0')
      where not exists (
        select
        from queued
        where queued.person_id = activity.person_id
          and activity.day >= queued.first_day
          and activity.day < queued.end_day
      )

      union all

      select learner.person_id, learner.as_of, computed.day
      from learner
      join computed
        on computed.person_id = learner.person_id
        and computed.day >= learner.today - 7
        and computed.day < learner.today
        and (computed.event_count > computed.automatic_count or computed.engaged > '0')
    ) as happened
    group by happened.person_id, happened.as_of
  )

  select
    taker.person_id,
    taker.course_id,
    taker.as_of,
    greatest(taker.enrolled_at, active.known_at),
    extract(epoch from taker.as_of - taker.enrolled_at)::float8 / 86400,
    coalesce(active.days_idle, extract(epoch from taker.as_of - taker.enrolled_at) / 86400)::float8,
    coalesce(active.active_days, 0)::float8,
    coalesce(active.active_days_week_1, 0)::float8,
    coalesce(active.active_days_week_2, 0)::float8,
    coalesce(active.active_days_week_3, 0)::float8,
    coalesce(active.active_days_week_4, 0)::float8,
    coalesce(active.events, 0),
    coalesce(active.events_week_1, 0),
    coalesce(active.events_week_2, 0),
    greatest(coalesce(active.seconds, 0) - coalesce(unfinished.seconds, 0), 0)::float8 / 60,
    greatest(coalesce(active.seconds_week_1, 0) - coalesce(unfinished.seconds, 0), 0)::float8 / 60,
    active.mean_gap::float8,
    active.gap_deviation::float8,
    active.longest_gap::float8,
    coalesce(breadth.items, 0) / nullif(size.items, 0),
    coalesce(breadth.tasks, 0) / nullif(size.tasks, 0),
    greatest(coalesce(due.tasks, 0) - coalesce(breadth.due_tasks, 0), 0),
    breadth.days_late::float8,
    coalesce(anywhere.active_days, 0)::float8,
    coalesce(
      avg((coalesce(active.active_days_week_1, 0) > 0)::int::float8)
        filter (where get_bit(counted.people, (taker.person_id % 4096)::int) <> 0)
        over (partition by taker.course_id, taker.as_of),
      0
    ),
    extract(epoch from size.available_until - taker.as_of)::float8 / 86400
  from taker
  join size on size.course_id = taker.course_id
  left join active
    on active.person_id = taker.person_id
    and active.course_id = taker.course_id
    and active.as_of = taker.as_of
  left join unfinished
    on unfinished.person_id = taker.person_id
    and unfinished.course_id = taker.course_id
    and unfinished.as_of = taker.as_of
  left join breadth
    on breadth.person_id = taker.person_id
    and breadth.course_id = taker.course_id
    and breadth.as_of = taker.as_of
  left join due on due.course_id = taker.course_id and due.as_of = taker.as_of
  left join anywhere on anywhere.person_id = taker.person_id and anywhere.as_of = taker.as_of
  left join track.person_set_block as counted on counted.name = 'counted' and counted.block = taker.person_id / 4096;
end;
$$;

comment on function analytics._learner_features(timestamptz[], bigint[]) is $$
Returns the learners who take a course at each of the given times, with their features.
One row per learner, course and time. Events after the time are not used. `courses` null: all courses. People who have
opted out of the purpose `analytics` are excluded. Engaged times are as of the last refresh of the sessions.
$$;

grant execute on function analytics._learner_features(timestamptz[], bigint[]) to insights_reader, insights_admin;
--! EndIncluded analytics/functions/_learner_features.sql

--! Included analytics/functions/_learner_outcomes.sql
create or replace function analytics._learner_outcomes(
  target text, moments timestamptz[], horizon interval, courses bigint[] default null
)
returns table (person_id bigint, course_id bigint, as_of timestamptz, outcome float8)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_people bigint[];
  v_first_days date[];
  v_end_days date[];
begin
  select queued.people, queued.first_days, queued.end_days
  into v_people, v_first_days, v_end_days
  from analytics._queued_days(
    (select (min(entry) at time zone 'UTC')::date from unnest(_learner_outcomes.moments) as entry),
    (
      select (max(entry) at time zone 'UTC' + _learner_outcomes.horizon)::date
      from unnest(_learner_outcomes.moments) as entry
    )
  ) as queued;

  return query
  with moment as materialized (
    select distinct
      entry.as_of,
      (entry.as_of at time zone 'UTC')::date as since,
      (entry.as_of at time zone 'UTC' + _learner_outcomes.horizon)::date as until,
      (entry.as_of at time zone 'UTC' + _learner_outcomes.horizon) at time zone 'UTC' as ends_at
    from unnest(_learner_outcomes.moments) as entry (as_of)
  ),

  happened as (
    select activity.person_id, activity.item_id, activity.day, moment.as_of
    from moment
    join analytics.activity on activity.day >= moment.since and activity.day < moment.until
    -- A grade by a teacher, or another automatic event, is not an activity of the learner.
    where (activity.event_count > activity.automatic_count or activity.engaged > '0')
      and not exists (
        select
        from unnest(v_people, v_first_days, v_end_days) as queued (person_id, first_day, end_day)
        where queued.person_id = activity.person_id
          and activity.day >= queued.first_day
          and activity.day < queued.end_day
      )

    union all

    select computed.person_id, computed.item_id, computed.day, moment.as_of
    from moment
    join analytics._days_of_people(v_people, v_first_days, v_end_days) as computed
      on computed.day >= moment.since
      and computed.day < moment.until
    where computed.event_count > computed.automatic_count or computed.engaged > '0'
  ),

  active as (
    select
      happened.person_id, ancestor.ancestor_item_id as course_id, happened.as_of,
      count(distinct happened.day)::float8 as days
    from happened
    join track.item_ancestor as ancestor on ancestor.item_id = happened.item_id
    join track.item as course on course.item_id = ancestor.ancestor_item_id and course.kind = 'course'
    where happened.person_id <> 0
      and (_learner_outcomes.courses is null or ancestor.ancestor_item_id = any (_learner_outcomes.courses))
    group by happened.person_id, ancestor.ancestor_item_id, happened.as_of
  ),

  taken as (
    select
      enrolment.person_id, enrolment.item_id as course_id, moment.as_of,
      bool_or(enrolment.status = 'completed' and ending.is_within) as completed,
      bool_or(enrolment.status = 'dropped' and ending.is_within) as dropped
    from moment
    join track.enrolment on enrolment.enrolled_at < moment.as_of
    cross join lateral (
      select enrolment.ended_at >= moment.as_of and enrolment.ended_at < moment.ends_at
    ) as ending (is_within)
    where _learner_outcomes.courses is null
      or enrolment.item_id = any (_learner_outcomes.courses)
    group by enrolment.person_id, enrolment.item_id, moment.as_of
  )

  select
    taken.person_id, taken.course_id, taken.as_of,
    case _learner_outcomes.target
      when 'dropout' then (
        (coalesce(active.days, 0) = 0 or coalesce(taken.dropped, false)) and not coalesce(taken.completed, false)
      )::int::float8
      when 'completion' then coalesce(taken.completed, false)::int::float8
      when 'activity' then coalesce(active.days, 0)
    end
  from taken
  left join active
    on active.person_id = taken.person_id
    and active.course_id = taken.course_id
    and active.as_of = taken.as_of;
end;
$$;

comment on function analytics._learner_outcomes(text, timestamptz[], interval, bigint[]) is $$
Returns the outcomes of the learners who were enrolled at the given times (UTC midnights), within the horizon.
1 or 0 for `dropout` and `completion`, the number of active days for `activity`.
$$;

grant execute on function analytics._learner_outcomes(text, timestamptz[], interval, bigint[])
to insights_reader, insights_admin;
--! EndIncluded analytics/functions/_learner_outcomes.sql

--! Included analytics/functions/_snapshot_times.sql
create or replace function analytics._snapshot_times(target analytics.prediction_target, weeks int)
returns timestamptz[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
declare
  -- In UTC without a zone, so that a week has 168 hours in every zone of the session.
  v_newest timestamp;
  v_oldest timestamp;
begin
  -- From a week after the first activity up to the end of the last complete day.
  select
    least(active.last_day + 1, (now() at time zone 'UTC')::date),
    active.first_day + 7
  into v_newest, v_oldest
  from analytics._active_days() as active;
  return array(
    select moment at time zone 'UTC'
    from generate_series(0, weeks - 1) as week
    cross join lateral (select v_newest - (target).horizon - week * interval '7 days' as moment) as snapshot
    where moment >= v_oldest
    order by moment
  );
end;
$$;

comment on function analytics._snapshot_times(analytics.prediction_target, int) is $$
Returns the latest weekly times, at most `weeks`, whose outcomes are known. They depend on counted people only.
$$;
--! EndIncluded analytics/functions/_snapshot_times.sql

--! Included analytics/functions/_snapshots.sql
create or replace function analytics._snapshots(
  settings analytics.prediction_target, moments timestamptz[], courses bigint[] default null
)
returns setof analytics.snapshot
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set jit to off
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
begin
  return query
  select (settings).target, person_id, course_id, as_of, feature, outcome.outcome
  from analytics._learner_features(moments, courses) as feature
  join analytics._learner_outcomes((settings).target, moments, (settings).horizon, courses) as outcome
    using (person_id, course_id, as_of)
  join track.person_set_block as counted
    on counted.name = 'counted'
    and counted.block = person_id / 4096
    and get_bit(counted.people, (person_id % 4096)::int) <> 0
  where feature.days_idle <= extract(epoch from (settings).longest_idle) / 86400;
end;
$$;

comment on function analytics._snapshots(analytics.prediction_target, timestamptz[], bigint[]) is $$
Returns snapshots of the counted learners who took a course at the given times: features and outcomes.
`courses` null: all courses. The snapshots of a course do not depend on the other courses.
$$;
--! EndIncluded analytics/functions/_snapshots.sql

--! Included analytics/train_predictions/train_predictions_step.sql
/* A definer: see analytics.train_predictions. */
create or replace function analytics.train_predictions_step(seed bigint default 0)
returns analytics.training_step
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
set client_min_messages to warning
as $$
declare
  v_most_people constant int := 50;
  v_sessions bigint;
  v_sets bigint;
  v_activity bigint;
  v_target analytics.prediction_target;
  v_step analytics.training_step;
begin
  perform analytics._lock_training(train_predictions_step.seed);
  -- A training that started on another day, or with another seed, is about other data.
  if not exists (
    select
    from analytics.training
    where training.seed = train_predictions_step.seed
      and training.started_at >= date_trunc('day', now() at time zone 'UTC') at time zone 'UTC'
  ) then
    -- Refresh until a step finds fewer people than it may refresh. The queue need not be empty, because events may
    -- arrive all the time.
    v_sessions := (select sum(people) from track.refresh(v_most_people, 'track.session'));
    v_sets := (select sum(people) from track.refresh(v_most_people, 'track.person_set'));
    v_activity := (select sum(people) from track.refresh(v_most_people, 'analytics.activity'));
    if greatest(v_sessions, v_sets, v_activity) >= v_most_people then
      v_step.step := format('refreshed %s people', greatest(v_sessions, v_sets, v_activity));
      v_step.finished := false;
      return v_step;
    end if;
    perform analytics._end_training(training.target) from analytics.training;
    perform analytics._begin_training(entry, train_predictions_step.seed)
    from analytics.prediction_target as entry
    order by entry.target;
  end if;
  select * into v_target
  from analytics.prediction_target as entry
  where entry.target = (select min(training.target) from analytics.training);
  v_step := analytics._train_step(
    v_target,
    (select training from analytics.training where training.target = v_target.target)
  );
  v_step.finished := not exists (select from analytics.training);
  return v_step;
end;
$$;

comment on function analytics.train_predictions_step(bigint) is $$
@behavior -*
Does the next step of `analytics.train_predictions` for all targets. Call it until `finished` is true.
Each call is bounded (some courses, or one algorithm) and continues after the last committed step, for clients that
share one session, as in the embedded database. The resulting models are the same.
Errors: CF001, CF010 (already running).
$$;

grant execute on function analytics.train_predictions_step(bigint) to insights_admin, insights_worker;
--! EndIncluded analytics/train_predictions/train_predictions_step.sql

--! Included analytics/train_predictions/train_predictions.sql
/* A definer: it reads the activity of all people and writes models, and is granted to administrators and workers. */
create or replace function analytics.train_predictions(target text default null, seed bigint default 0)
returns setof ml.training
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
set client_min_messages to warning
as $$
declare
  v_is_given constant boolean := train_predictions.target is not null;
  v_target analytics.prediction_target;
  v_training analytics.training;
  v_step analytics.training_step;
  v_trained int;
begin
  if v_is_given then
    perform analytics._prediction_target(train_predictions.target);
  end if;
  perform analytics._lock_training(train_predictions.seed);
  perform track.refresh(2147483647, 'track.session');
  perform track.refresh(2147483647, 'track.person_set');
  perform track.refresh(2147483647, 'analytics.activity');
  for v_target in
    select *
    from analytics.prediction_target as entry
    where not v_is_given
      or entry.target = train_predictions.target
    order by entry.target
  loop
    v_training := analytics._begin_training(v_target, train_predictions.seed);
    v_trained := 0;
    loop
      v_step := analytics._train_step(v_target, v_training);
      if (v_step.trained).version is not null then
        v_trained := v_trained + 1;
        return next v_step.trained;
      end if;
      exit when v_step.finished;
      select * into v_training from analytics.training where training.target = v_target.target;
    end loop;
    if v_is_given and v_trained = 0 then
      perform common.refuse('CF004', v_step.step, v_step.hint);
    end if;
  end loop;
end;
$$;

comment on function analytics.train_predictions(text, bigint) is $$
Trains the predictions about learners and deploys each version that is better than the deployed one.
`target`: `dropout`, `completion` or `activity`; null: all. The training data are weekly snapshots of the learners in
the set `counted` who took a course (`analytics.prediction_target.weeks` of them), with the features as of the snapshot
and the outcome by the end of the horizon.
The latest quarter is held out. Snapshots whose outcome was not known when it starts are not used, and a feature that
uses later data than its snapshot is refused (`ml.time_split`). A penalised linear model and boosted trees are
compared by log loss (calibrated) or by squared error.
Without a target, those with too little training data are skipped. `analytics.train_predictions_step` does the same in
many short transactions.
Errors: CF001, CF002 (unknown target), CF004 (too little data), CF010 (already running).
$$;

grant execute on function analytics.train_predictions(text, bigint) to insights_admin, insights_worker;
--! EndIncluded analytics/train_predictions/train_predictions.sql

--! Included analytics/functions/due_predictions.sql
/* A definer owned by insights_reader: it reads the days with activity, and returns names of prediction targets only. */
create or replace function analytics.due_predictions()
returns setof text
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set timezone to 'UTC'
as $$
declare
  v_first_day_at timestamptz;
  v_complete_at timestamptz;
  v_enrolments constant bigint := (
    select count(*)
    from track.enrolment
    join track.person_set_block as counted
      on counted.name = 'counted'
      and counted.block = enrolment.person_id / 4096
      and get_bit(counted.people, (enrolment.person_id % 4096)::int) <> 0
  );
begin
  select
    active.first_day::timestamp at time zone 'UTC',
    least(
      (active.last_day + 1)::timestamp at time zone 'UTC',
      date_trunc('day', now() at time zone 'UTC') at time zone 'UTC'
    )
  into v_first_day_at, v_complete_at
  from analytics._active_days() as active;

  return query
  select entry.target
  from analytics.prediction_target as entry
  where v_complete_at >= v_first_day_at + interval '7 days' + entry.horizon
    and v_enrolments * entry.weeks >= entry.fewest_rows
    and not exists (
      select
      from ml.project
      join ml.model using (project_id)
      where project.name = entry.project
        and model.trained_at >= v_complete_at
    )
  order by entry.target;
end;
$$;

alter function analytics.due_predictions() owner to insights_reader;

comment on function analytics.due_predictions() is $$
@behavior -*
Returns the prediction targets whose latest version is older than the last complete day.
Only targets for which there may be enough training data. For the worker.
$$;

grant execute on function analytics.due_predictions() to insights_admin, insights_worker;
--! EndIncluded analytics/functions/due_predictions.sql

--! Included analytics/functions/_predict_learners.sql
create or replace function analytics._course_id(course text)
returns bigint
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_course_id bigint;
begin
  -- A merged item is a further name of the other one.
  select item.item_id into v_course_id
  from track.item as known
  join track.item on item.item_id = coalesce(known.merged_item_id, known.item_id)
  where known.external_id = _course_id.course
    and item.kind = 'course';
  if v_course_id is null then
    perform common.refuse(
      'CF002',
      format('there is no course "%s"', coalesce(left(_course_id.course, 100), 'null')),
      coalesce(
        'Did you mean "'
          || common.nearest_name(
            _course_id.course,
            (select array_agg(item.external_id) from track.item where item.kind = 'course')
          )
          || '"?',
        'Give the external id of an item of kind course.'
      )
    );
  end if;
  return v_course_id;
end;
$$;

comment on function analytics._course_id(text) is $$
Returns the key of a course by its external id. Errors: CF002 (names the nearest).
$$;

grant execute on function analytics._course_id(text) to insights_reader;

create or replace function analytics._predict_learners(
  target text, course text, as_of timestamptz, top int, lowest_first boolean
)
returns setof analytics.learner_prediction
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_course_id constant bigint := analytics._course_id(_predict_learners.course);
  v_project constant text := (analytics._prediction_target(_predict_learners.target)).project;
  v_version constant int := ml.deployed_version(v_project);
  v_features analytics.learner_features[];
  v_scores float8[];
begin
  perform common.check_count('top', _predict_learners.top, 1, 10000);
  select array_agg(chosen.feature order by chosen.place), array_agg(chosen.score order by chosen.place)
  into v_features, v_scores
  from (
    select
      scored.feature,
      scored.score,
      row_number() over (
        order by case when lowest_first then scored.score else -scored.score end, scored.person_id
      ) as place
    from analytics._learner_scores(_predict_learners.target, _predict_learners.as_of, v_course_id) as scored
  ) as chosen
  where chosen.place <= _predict_learners.top;
  if v_features is null then
    return;
  end if;

  return query
  with reason as (
    select
      moved.row_no,
      array_agg(
        row(moved.feature, moved.feature_value, moved.contribution)::ml.contribution order by moved.place
      ) as reasons
    from (
      select
        explained.*,
        row_number() over (
          partition by explained.row_no order by abs(explained.contribution) desc, explained.feature
        ) as place
      from ml.explain_each(v_project, v_features, v_version) as explained
      where explained.feature <> '(base)'
        and explained.contribution <> 0
    ) as moved
    where moved.place <= 5
    group by moved.row_no
  )

  select
    learner.rank::int, (learner.known).person_id, name.external_id, v_scores[learner.rank::int],
    coalesce(reason.reasons, '{}'), v_version, _predict_learners.as_of
  from (select known, row_number() over () as rank from unnest(v_features) as known) as learner
  left join reason on reason.row_no = learner.rank
  left join lateral (
    select identity.external_id
    from track.identity
    where identity.person_id = (learner.known).person_id
    order by identity.kind = 'user' desc, identity.identity_id
    limit 1
  ) as name on true
  order by learner.rank;
end;
$$;

comment on function analytics._predict_learners(text, text, timestamptz, int, boolean) is $$
Returns the learners of a course with the highest or lowest predictions, with reasons.
The reasons are the five features that changed the prediction most.
$$;

grant execute on function analytics._predict_learners(text, text, timestamptz, int, boolean) to insights_reader;
--! EndIncluded analytics/functions/_predict_learners.sql

--! Included analytics/functions/course_outlook.sql
/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics.course_outlook(target text default 'dropout', as_of timestamptz default now())
returns setof analytics.course_outlook
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
  select
    item.external_id,
    item.title,
    count(*),
    avg(scored.score),
    case
      when count(*) filter (where counted.belongs) >= 4 * setting.smallest_group
        then percentile_cont(0.25) within group (order by scored.score)
    end,
    case
      when count(*) filter (where counted.belongs) >= 4 * setting.smallest_group
        then percentile_cont(0.75) within group (order by scored.score)
    end
  from analytics._learner_scores($1, $2) as scored
  join track.item on item.item_id = scored.course_id
  cross join analytics.setting
  cross join lateral (
    select track.is_in_person_set('counted', scored.person_id) as belongs
  ) as counted
  group by item.item_id, item.external_id, item.title, setting.smallest_group
  having count(*) filter (where counted.belongs) >= setting.smallest_group
  order by avg(scored.score) desc, item.external_id;
$$;

alter function analytics.course_outlook(text, timestamptz) owner to insights_reader;

comment on function analytics.course_outlook(text, timestamptz) is $$
Returns the predictions for the learners of each course, aggregated.
The mean probability of `dropout` or `completion`, or the mean expected `activity`, as of a time. Courses with fewer
learners than `analytics.setting.smallest_group` are excluded; quartiles are null when a quarter has fewer learners
than that. For these limits, only learners in the set `counted` count.
Errors: CF001 (as_of), CF002 (unknown target), CF006 (not trained).
$$;

grant execute on function analytics.course_outlook(text, timestamptz)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/functions/course_outlook.sql

--! Included recommend/functions/_popularity.sql
/* A definer: it reads the interactions of all people, and returns only shares of the most popular item. */
create or replace function recommend._popularity(kind text)
returns table (item_id bigint, popularity float8)
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
begin
  if (select relispopulated from pg_catalog.pg_class where oid = 'analytics.item_popularity'::regclass) then
    return query
    with counted as (
      select
        item_popularity.item_id,
        item_popularity.person_count * item_popularity.decayed_event_count / nullif(item_popularity.event_count, 0)
          as people
      from analytics.item_popularity
      join track.item using (item_id)
      where item.kind = _popularity.kind
    )
    select counted.item_id, (counted.people / nullif(max(counted.people) over (), 0))::float8
    from counted
    where counted.people > 0;
    return;
  end if;

  -- A new installation, before the first refresh of the view.
  return query
  with counted as (
    select ancestor.ancestor_item_id as item_id, count(distinct interaction.person_id) as people
    from recommend.interaction
    join track.person_set_block as block
      on block.name = 'counted'
      and block.block = interaction.person_id / 4096
      and get_bit(block.people, (interaction.person_id % 4096)::int) <> 0
    join track.item_ancestor as ancestor using (item_id)
    join track.item on item.item_id = ancestor.ancestor_item_id
    where item.kind = _popularity.kind
    group by ancestor.ancestor_item_id
  )
  select counted.item_id, counted.people / (max(counted.people) over ())::float8
  from counted;
end;
$$;

comment on function recommend._popularity(text) is $$
@behavior -*
Returns the popularity of the items of a kind, from 0 to 1 for the most popular item.
Popularity is the number of distinct people in the set `counted`, multiplied by the share of recent events of the item
(weights are halved every 30 days).
$$;
--! EndIncluded recommend/functions/_popularity.sql

--! Included recommend/functions/similar_items.sql
/* A definer: no role may read the weights. */
create or replace function recommend.similar_items(
  item text,
  top int default 10
)
returns setof recommend.similar_item
language plpgsql
stable
parallel safe
security definer
set search_path from current
set client_min_messages to notice
set jit to off
as $$
declare
  v_item track.item;
  v_model ml.model;
  v_weights real[];
  -- The items similar to an item that few people took are the other items of these people.
  v_fewest constant int := (select smallest_group from analytics.setting);
begin
  perform common.check_count('top', similar_items.top, 1, 1000);
  if length(similar_items.item) > 512 then
    perform common.refuse('CF008', format('item has %s characters', length(similar_items.item)),
      'The name of an item has at most 512.');
  end if;

  -- A merged item is a further name of the other one.
  select target.* into v_item
  from track.item as known
  join track.item as target on target.item_id = coalesce(known.merged_item_id, known.item_id)
  where known.external_id = similar_items.item;
  if not found then
    perform common.refuse(
      'CF002',
      format('there is no item "%s"', coalesce(left(similar_items.item, 100), 'null')),
      coalesce(
        'Did you mean "'
          || common.nearest_name(
            similar_items.item,
            (
              select array_agg(near.external_id)
              from (
                select known.external_id
                from track.item as known
                where known.kind = 'course'
                  or starts_with(known.external_id, left(similar_items.item, 3))
                limit 1000
              ) as near
            )
          )
          || '"?',
        'Give an item by the name that was sent with events.'
      )
    );
  end if;

  select * into v_model
  from recommend._deployed_model(v_item.kind);
  if not found then
    perform common.refuse('CF006', format('no recommender is trained for items of kind "%s"', v_item.kind),
      format('Run select * from recommend.train(%L), or wait for the scheduled training.', v_item.kind));
  end if;

  select item_weight.weights::real[] into v_weights
  from recommend.item_weight
  where item_weight.model_id = v_model.model_id
    and item_weight.item_id = v_item.item_id
    and item_weight.person_count >= v_fewest;
  if not found then
    perform common.refuse(
      'CF006',
      format('version %s of the recommender does not contain "%s"', v_model.version, left(similar_items.item, 100)),
      format(
        'Fewer than %s people (analytics.setting.smallest_group) had taken the item when the version was trained.',
        v_fewest
      )
    );
  end if;

  return query
  select
    row_number() over (order by entry.weight desc, other.item_id)::int,
    other.item_id,
    other.external_id,
    other.title,
    entry.weight::float8
  from unnest(v_weights) with ordinality as entry (weight, item_no)
  join recommend.item_weight on item_weight.model_id = v_model.model_id and item_weight.item_no = entry.item_no
  join track.item as other on other.item_id = item_weight.item_id
  where other.item_id <> v_item.item_id
    and item_weight.person_count >= v_fewest
    and entry.weight > 0
    -- An item may have been merged, or described as another kind, after the training.
    and other.kind = v_item.kind
    and (other.available_from is null or other.available_from <= now())
    and (other.available_until is null or other.available_until > now())
  order by entry.weight desc, other.item_id
  limit similar_items.top;
end;
$$;

comment on function recommend.similar_items(text, int) is $$
Returns the items that are most similar to an item, the most similar first.
The score is the weight of the model between the two items, adjusted for all other items (a partial correlation, not a
count of common people). Only items of the same kind with a positive weight that are available now are returned. Items
that fewer than `analytics.setting.smallest_group` people had taken at the training are excluded.
Errors: CF001 for `top`, CF002 for an unknown item (names the nearest), CF006 when no model is trained or the model
does not contain the item.
$$;

grant execute on function recommend.similar_items(text, int)
to insights_learner, insights_analyst, insights_admin, insights_worker;
--! EndIncluded recommend/functions/similar_items.sql

--! Included recommend/train/_training_rows.sql
create or replace function recommend._training_rows(kind text)
returns table (person_id bigint, item_id bigint, strength real, first_at timestamptz, last_at timestamptz)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_full_weight constant real := (select full_weight from recommend.setting);
  v_by_default constant boolean := (
    select purpose.basis <> 'consent'
    from privacy.purpose
    where purpose.purpose = 'personalization'
  );
begin
  return query
  with leaf as (
    select interaction.person_id, interaction.item_id, interaction.weight, interaction.first_at, interaction.last_at
    from recommend.interaction

    union all

    -- Enrolments that the application reports count as taken.
    select enrolment.person_id, enrolment.item_id, v_full_weight, enrolment.enrolled_at, enrolment.enrolled_at
    from track.enrolment
  ),

  allowed as (
    select leaf.*
    from leaf
    join track.person_set_block as counted
      on counted.name = 'counted'
      and counted.block = leaf.person_id / 4096
      and get_bit(counted.people, (leaf.person_id % 4096)::int) <> 0
    -- With the default "allowed", the decisions that matter are opt-outs; with the default "not allowed", grants.
    where v_by_default <> (
      leaf.person_id in (
        select decision.person_id
        from privacy.latest_decisions('personalization') as decision
        where decision.granted <> v_by_default
      )
    )
  )

  select
    allowed.person_id,
    target.item_id,
    least(sum(allowed.weight) / v_full_weight, 1)::real,
    min(allowed.first_at),
    max(allowed.last_at)
  from allowed
  join track.item_ancestor as ancestor on ancestor.item_id = allowed.item_id
  join track.item as target on target.item_id = ancestor.ancestor_item_id
  where target.kind = _training_rows.kind
  group by allowed.person_id, target.item_id
  having sum(allowed.weight) > 0;
end;
$$;

comment on function recommend._training_rows(text) is $$
@behavior -*
Returns the interactions and enrolments with the items of a kind, by the same rules as `recommend._history`.
Only people in the set `counted` who have consented to `personalization`, or have not opted out, are included.
$$;
--! EndIncluded recommend/train/_training_rows.sql

--! Included recommend/train/train.sql
create or replace function recommend._store_version(
  trained recommend.training,
  measured recommend.measurement,
  seed bigint,
  watermark timestamptz
)
returns bigint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_project constant text := 'recommend.' || (trained).kind;
  v_setting recommend.setting;
  v_version int;
begin
  select * into v_setting from recommend.setting;
  v_version := ml.register_model(
    v_project,
    task => 'recommendation',
    algorithm => 'ease',
    document => null,
    metrics => jsonb_strip_nulls(to_jsonb(measured) - 'lambda' || jsonb_build_object(
      'people', (trained).people,
      'items', (trained).items,
      'row_count', (measured).test_people,
      'protocol', 'leave last item out, ranked among all items not taken'
    )),
    parameters => jsonb_build_object(
      'lambda', (trained).lambda, 'lambdas', v_setting.lambdas, 'full_weight', v_setting.full_weight
    ),
    metric => 'ndcg_at_10',
    seed => _store_version.seed,
    data_watermark => _store_version.watermark,
    row_count => (trained).interactions,
    description => format('Which %s a person will take next.', (trained).kind)
  );
  return (
    select model.model_id
    from ml.model
    join ml.project using (project_id)
    where project.name = v_project
      and model.version = v_version
  );
end;
$$;

comment on function recommend._store_version(recommend.training, recommend.measurement, bigint, timestamptz) is $$
@behavior -*
Registers a trained version with its measures in the registry. Returns its key.
$$;

/*
 * A definer: it reads the interactions of all people and writes models, and is granted to administrators and workers.
 * It runs in one transaction: a training that is cancelled leaves no rows, and the deployed version stays deployed.
 */
create or replace function recommend.train(
  kind text default 'course',
  seed bigint default 1
)
returns recommend.training
language plpgsql
volatile
security definer
set search_path from current
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
declare
  v_started_at constant timestamptz := clock_timestamp();
  v_everyone constant int := 2147483647;
  v_setting recommend.setting;
  v_measured recommend.measurement;
  v_challenged ml.training;
  v_model_id bigint;
  v_watermark timestamptz;
  v_sums ml.ease_sums;
  v_people int[];
  v_inverse vector[];
  v_people_with_two int;
  v_result recommend.training;
begin
  perform recommend._check(1, train.kind);
  if train.seed is null then
    perform common.refuse('CF001', 'seed is null', 'Give a number: the same seed and data give the same model.');
  end if;
  if not pg_try_advisory_xact_lock(hashtext('recommend.train'), hashtext(train.kind)) then
    perform common.refuse(
      'CF010',
      format('another training of the recommender of kind "%s" is running', left(train.kind, 100)),
      'Try again when it has finished.'
    );
  end if;
  select * into v_setting from recommend.setting;
  v_result.kind := train.kind;

  perform track.refresh(v_everyone, 'track.session');
  perform track.refresh(v_everyone, 'track.person_set');
  perform track.refresh(v_everyone, 'recommend.interaction');
  create temporary table training on commit drop as
  select rows_.*, false as is_held_out, false as is_tuning
  from recommend._training_rows(train.kind) as rows_;
  analyze pg_temp.training;

  select count(*) filter (where owned.item_count > 1), count(*), sum(owned.item_count), max(owned.last_at)
  into v_people_with_two, v_result.people, v_result.interactions, v_watermark
  from (
    select person_id, count(*) as item_count, max(last_at) as last_at
    from pg_temp.training
    group by person_id
  ) as owned;

  if v_people_with_two < v_setting.fewest_people then
    perform common.refuse(
      'CF004',
      format(
        'not enough interactions to train: %s people have two or more items of kind "%s"',
        v_people_with_two, left(train.kind, 100)
      ),
      format(
        'At least %s people are needed (recommend.setting.fewest_people). Import or simulate events, '
          || 'and check that items have that kind and that recommend.event_weight has their events.',
        v_setting.fewest_people
      )
    );
  end if;

  v_measured.lambda := v_setting.lambdas[1];
  if recommend._hold_out(v_setting.most_test_people, train.seed) > 0 then
    analyze pg_temp.training;
    v_measured := recommend._measure(v_setting.lambdas);
  end if;
  v_result.lambda := v_measured.lambda;
  v_result.ndcg_at_10 := v_measured.ndcg_at_10;
  v_result.recall_at_10 := v_measured.recall_at_10;
  v_result.popularity_ndcg_at_10 := v_measured.popularity_ndcg_at_10;
  v_result.popularity_recall_at_10 := v_measured.popularity_recall_at_10;
  v_result.test_people := v_measured.test_people;

  -- The model itself is trained on all rows, including those held out for the measurement.
  v_sums := ml.ease_gram('pg_temp.training', 'person_id', 'item_id', 'strength');
  v_inverse := ml.ease_inverse(v_sums.gram, v_result.lambda);
  v_people := array(
    select count(training.person_id)
    from unnest(v_sums.items::bigint[]) with ordinality as known (item_id, n)
    join pg_temp.training using (item_id)
    group by known.n
    order by known.n
  );
  v_result.items := cardinality(v_sums.items);
  drop table pg_temp.training;

  v_model_id := recommend._store_version(v_result, v_measured, train.seed, v_watermark);
  insert into recommend.item_weight (model_id, item_no, item_id, person_count, diagonal, weights)
  select v_model_id, entry.n, entry.item_id, entry.person_count, (entry.inverse::real[])[entry.n], entry.weights
  from rows from (
    unnest(v_sums.items::bigint[]), unnest(v_people), unnest(v_inverse), unnest(ml.ease_weights(v_inverse))
  ) with ordinality as entry (item_id, person_count, inverse, weights, n);

  -- The versions are measured on different people and items. The measure of popularity shows how hard each task was.
  v_challenged := ml.challenge_by_metrics(
    'recommend.' || train.kind,
    (select model.version from ml.model where model.model_id = v_model_id),
    baseline => 'popularity_ndcg_at_10',
    duration => clock_timestamp() - v_started_at
  );
  v_result.version := v_challenged.version;
  v_result.deployed := v_challenged.deployed;
  v_result.duration := v_challenged.duration;
  v_result.reason := case
    when v_challenged.outcome in ('first', 'better', 'worse') then v_challenged.outcome
    else 'newest'
  end;

  perform recommend._delete_old_weights(v_challenged.project, v_result.version - v_setting.versions_kept);
  return v_result;
end;
$$;

comment on function recommend.train(text, bigint) is $$
Trains the recommender of a kind of items (EASE) on all interactions and enrolments of counted people, and measures it.
Refreshes the interactions first. Registers the model as a new version of `recommend.<kind>` in `ml.model`, and
deploys it unless it is significantly worse than the deployed version (`ml.challenge_by_metrics`, with popularity as
the baseline).
The last item of at most `most_test_people` people is held out, and ranked among all items that the person had not
taken. NDCG@10 and recall@10 are compared with those of popularity. Half of these people select the ridge, the other
half measure.
People who have opted out of `personalization` are excluded. The same seed and data give the same model.
Errors: CF002 for a kind that no item has, CF004 for not enough interactions, CF008 for more than 16,000 items, CF010
while the same training runs.
$$;

grant execute on function recommend.train(text, bigint) to insights_admin, insights_worker;
--! EndIncluded recommend/train/train.sql

--! Included recommend/functions/due_trainings.sql
/* A definer: it counts the interactions of all people, and returns only kinds of items. */
create or replace function recommend.due_trainings(share float8 default 0.1)
returns setof text
language plpgsql
stable
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_fewest_people constant int := (select fewest_people from recommend.setting);
  v_known record;
  v_interactions bigint;
  v_people bigint;
begin
  for v_known in
    select known.kind, latest.data_watermark, latest.row_count
    from (
      select 'course' as kind

      union

      select substr(project.name, length('recommend.') + 1)
      from ml.project
      where starts_with(project.name, 'recommend.')
    ) as known
    left join lateral (
      select model.data_watermark, model.row_count
      from ml.project
      join ml.model on model.project_id = project.project_id
      where project.name = 'recommend.' || known.kind
      order by model.version desc
      limit 1
    ) as latest on true
    order by known.kind
  loop
    select coalesce(sum(owned.item_count), 0), count(*) filter (where owned.item_count > 1)
    into v_interactions, v_people
    from (
      select interaction.person_id, count(distinct ancestor.ancestor_item_id) as item_count
      from recommend.interaction
      join track.person_set_block as counted
        on counted.name = 'counted'
        and counted.block = interaction.person_id / 4096
        and get_bit(counted.people, (interaction.person_id % 4096)::int) <> 0
      join track.item_ancestor as ancestor on ancestor.item_id = interaction.item_id
      join track.item on item.item_id = ancestor.ancestor_item_id
      where item.kind = v_known.kind
        and interaction.weight > 0
        and interaction.last_at > coalesce(v_known.data_watermark, '-infinity')
      group by interaction.person_id
    ) as owned;

    if v_known.data_watermark is null and v_people >= v_fewest_people
      or v_known.data_watermark is not null
        and v_interactions > 0
        and v_interactions >= due_trainings.share * v_known.row_count
    then
      return next v_known.kind;
    end if;
  end loop;
end;
$$;

comment on function recommend.due_trainings(float8) is $$
@behavior -*
Returns the kinds of items whose recommender should be trained.
A kind is returned when it has no version and at least `recommend.setting.fewest_people` people have interacted with
two or more items, or when the interactions that are newer than the latest version are at least the given share of
those it was trained on. Only people in the set `counted` count.
$$;

grant execute on function recommend.due_trainings(float8) to insights_worker;
--! EndIncluded recommend/functions/due_trainings.sql

--! Included monitor/functions/start_run.sql
create or replace function monitor.start_run(task text)
returns bigint
language plpgsql
volatile
-- A definer: workers write monitor.run through these functions only.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_run_id bigint;
begin
  if start_run.task is null then
    perform common.refuse('CF001', 'task is null', 'Give the name of the task.');
  end if;
  insert into monitor.run (task) values (start_run.task) returning run.run_id into v_run_id;
  return v_run_id;
end;
$$;

comment on function monitor.start_run(text) is $$
@behavior -mutationField
Records the start of a task and returns the key of the run.
Commit before the task does its work, so that a terminated run leaves a record.
Errors: CF001 for null.
$$;

grant execute on function monitor.start_run(text) to insights_worker;
--! EndIncluded monitor/functions/start_run.sql

--! Included monitor/functions/delete_old_runs.sql
create or replace function monitor.delete_old_runs(older_than interval default '90 days')
returns bigint
language plpgsql
volatile
-- A definer: workers have no privilege to delete from monitor.run.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set timezone to 'UTC'
set intervalstyle to 'postgres'
as $$
declare
  v_deleted bigint;
begin
  if delete_old_runs.older_than between '1 day' and '1000 years' is not true then
    perform common.refuse('CF001', format('older_than is %s', coalesce(delete_old_runs.older_than::text, 'null')),
      'Give an interval from a day to 1000 years.');
  end if;

  -- The latest run of each task is kept at any age: it shows when the task last ran.
  delete from monitor.run
  where run.started_at < now() - delete_old_runs.older_than
    and exists (
      select
      from monitor.run as later
      where later.task = run.task
        and later.started_at > run.started_at
    );
  get diagnostics v_deleted = row_count;
  return v_deleted;
end;
$$;

comment on function monitor.delete_old_runs(interval) is $$
@behavior -mutationField
Deletes runs older than `older_than`, except the latest run of each task. Returns the number of deleted rows.
Errors: CF001 for less than a day.
$$;

grant execute on function monitor.delete_old_runs(interval) to insights_worker;
--! EndIncluded monitor/functions/delete_old_runs.sql

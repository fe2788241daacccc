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

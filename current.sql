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
comment on column analytics.learner_features.course_active_share is $$
Share of the learners of the course with activity in it in the last 7 complete days.
$$;

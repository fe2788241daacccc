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
`anonymous`: may name browsers (`anonymousId`) only, which anybody can invent.
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
Who made the change: the signed-in administrator, or else the login of the database.
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
has one identity per user; `track.identity_link` tells from when on each of them used it.
$$;
comment on column track.identity.kind is $$
`user` (a `userId`), `anonymous` (an `anonymousId`), `unverified` (an `anonymousId` of somebody, sent by a client that
did not prove it; never linked) or `none` (identity 0, of anonymized events).
$$;
comment on column track.identity.user_identity_id is $$
Of a browser: identity of the user who identified on it; null when nobody did, and for other kinds.
$$;
comment on column track.identity.branch is $$
0 for the first identity of a name; `user_identity_id` for the further identities of a browser.
$$;
comment on column track.identity.browser is $$
Hash of the signed cookie with which a browser sent the `anonymousId` first; null when it had none.
A client that has this cookie may send messages for the identity after it was linked, and link it with its past.
$$;
comment on table track.identity_link is $$
Links between identities, one row per message. People are the connected components of the active links, except
claims; removing a link splits them.
A browser belongs to the user of the latest link before an event, and before the first link to the user of the first.
$$;
comment on column track.identity_link.kind is $$
`identify` (a user identified on a browser), `alias` (the two are the same) or `claim` (a signed-in person sent the
`anonymousId` of a browser without proof; it counts for messages that this person sends herself, and for nothing else).
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
Origin of the decision: `api`, `event` (a tracking message), `gpc` (Global Privacy Control), `dnt` (Do Not Track) or
`import`.
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

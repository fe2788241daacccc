create schema track;

comment on schema track is $$
Collection: people and their identities, items, enrolments, events, sessions, page views and engaged time.
$$;

grant usage on schema track
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

/* -------------------------------------------------------------------------------------------------- settings -- */

create table track.setting (
  only_row boolean primary key default true check (only_row),
  session_timeout interval not null default '30 minutes' check (session_timeout > '0'),
  heartbeat interval not null default '10 seconds' check (heartbeat > '0'),
  minimum_visit interval not null default '5 seconds' check (minimum_visit >= '0'),
  longest_gap interval not null default '10 minutes' check (longest_gap > '0'),
  oldest_event timestamptz not null default '1990-01-01 00:00:00Z',
  oldest_client_event interval not null default '400 days' check (oldest_client_event > '0'),
  newest_event interval not null default '1 hour' check (newest_event >= '0'),
  longest_properties int not null default 32768 check (longest_properties > 0),
  largest_batch int not null default 10000 check (largest_batch > 0),
  longest_view interval not null default '30 days' check (longest_view >= '0'),
  clock_tolerance interval not null default '5 minutes' check (clock_tolerance >= '0'),
  path_rule text[] not null
    default '{host,query,fragment,encoding,slashes,dots,index,trailing_slash}'
    check (path_rule <@ '{host,query,fragment,encoding,slashes,dots,index,trailing_slash}'),
  kept_parameters text[] not null default '{id}' check (cardinality(kept_parameters) <= 100),
  most_identities int not null default 2500 check (most_identities > 0),
  most_trait_times int not null default 2000 check (most_trait_times between 1 and 100000),
  allowed_properties text[] check (cardinality(allowed_properties) <= 1000),
  allowed_traits text[] check (cardinality(allowed_traits) <= 1000),
  personal_data text not null default 'report' check (personal_data in ('off', 'report', 'mask', 'refuse')),
  contact_traits text[] not null default '{email,phone}' check (cardinality(contact_traits) <= 100),
  agent_properties text[] not null default '{browser,os,device}'
    check (agent_properties <@ '{browser,browserVersion,os,device}'),
  bots text not null default 'exclude' check (bots in ('store', 'exclude', 'refuse')),
  sums_kept_before date not null default '-infinity',
  constraint setting_deleted_months
    check (sums_kept_before = '-infinity' or oldest_event >= sums_kept_before::timestamp at time zone 'UTC')
);

comment on table track.setting is $$
Settings of the collection: one row.
After a change of `session_timeout`, `heartbeat`, `minimum_visit`, `longest_gap` or `longest_view`,
`select track.rebuild()` applies it to the stored events.
$$;
comment on column track.setting.only_row is $$Always true, so that the table has one row.$$;
comment on column track.setting.session_timeout is $$Inactivity after which a session ends.$$;
comment on column track.setting.heartbeat is $$
Interval at which clients send heartbeats while a page is in use.
A source may have another (`track.source.heartbeat`), and so may a message (`properties.interval`, in seconds).
$$;
comment on column track.setting.minimum_visit is $$Engaged time that the first heartbeat of a page view confirms.$$;
comment on column track.setting.longest_gap is $$
Maximum engaged time that is counted for the gap after an event, for clients without heartbeats.
$$;
comment on column track.setting.oldest_event is $$
Events with an earlier time are rejected.
A rule of retention for all events sets it to the time before which it deletes.
$$;
comment on column track.setting.oldest_client_event is $$
Maximum age of events of learners and visitors; older ones are rejected.
Importers and workers may send older events, back to `oldest_event`.
$$;
comment on column track.setting.newest_event is $$
Maximum time by which an event may be ahead of the clock of the server.
$$;
comment on column track.setting.longest_properties is $$
Maximum size of the properties of an event, in bytes of JSON text.
$$;
comment on column track.setting.largest_batch is $$Maximum number of messages in a batch.$$;
comment on column track.setting.longest_view is $$
Maximum time from the opening of a page to the first heartbeat of a later session that names its `viewId`.
The item of views that were opened earlier is unknown.
$$;
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
comment on column track.setting.most_identities is $$
Maximum number of identities of a person; further `identify` and `alias` messages are rejected.
$$;
comment on column track.setting.most_trait_times is $$
Maximum number of times that `track.trait_history` keeps per identity, trait and year: the latest ones.
$$;
comment on column track.setting.allowed_properties is $$
Properties that are stored of events of a new type, and those that the system itself needs; null: all.
An event type gets it as its `track.event_type.allowed_properties` when it is first seen.
$$;
comment on column track.setting.allowed_traits is $$
Traits that are stored; null: all. The time zone is stored always.
Changed by `track.allow_traits`, `track.disallow_traits` and `track.allow_all_traits`.
$$;
comment on column track.setting.personal_data is $$
Treatment of e-mail addresses and phone numbers in properties, traits, paths and names of events.
`report` counts them (`track.personal_data_found`), `mask` also replaces them by `[e-mail]` and `[phone]`, `refuse`
rejects the message, `off` does not look for them.
$$;
comment on column track.setting.contact_traits is $$
Traits that may hold e-mail addresses and phone numbers: in them, none are looked for.
$$;
comment on column track.setting.agent_properties is $$
Properties that an event gets of the user agent of its message, which is not stored itself.
$$;
comment on column track.setting.bots is $$
Treatment of messages whose user agent is that of a bot.
`store`: they are stored, and `device` is `bot`. `exclude`: a browser whose first message is one is also excluded, as by
`track.exclude_person`. `refuse`: they are rejected.
$$;
comment on column track.setting.sums_kept_before is $$
Day before which the rollups are sums that a rule of retention keeps; `-infinity` without such a rule.
The events of these days are deleted, and refreshes and checks do not change the sums. See `privacy.set_retention`.
$$;

insert into track.setting default values;

create table track.source (
  source_id smallint generated always as identity primary key,
  name text not null check (name <> '' and length(name) <= 100),
  description text,
  level text not null default 'server' check (level in ('server', 'signed_in', 'anonymous')),
  heartbeat interval check (heartbeat > '0'),
  is_automatic boolean not null default false,
  path_rule text[] check (path_rule <@ '{host,query,fragment,encoding,slashes,dots,index,trailing_slash}'),
  kept_parameters text[] check (cardinality(kept_parameters) <= 100),
  states_enrolments boolean not null default false,
  unique (name, level)
);

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
comment on column track.source.heartbeat is $$
Interval of the heartbeats of this source; null: that of `track.setting`.
After a change, run `select track.rebuild()`.
$$;
comment on column track.source.is_automatic is $$
Whether a program sends these events without an action of their person, such as a nightly import of grades.
Such events are in no session. After a change, run `select track.rebuild()`.
$$;
comment on column track.source.states_enrolments is $$
Whether its events `Course Enrolled`, `Course Dropped` and `Course Completed` give rows of `track.enrolment`.
So do those of imports (setting `insights.states_enrolments`), but not those of applications.
$$;
comment on column track.source.path_rule is $$Path rule of the source; null: that of `track.setting`.$$;
comment on column track.source.kept_parameters is $$Kept parameters of the source; null: those of `track.setting`.$$;

insert into track.source (name, level, description)
values
  ('default', 'server', 'Messages of servers and database logins without a source.'),
  ('default', 'signed_in', 'Messages of signed-in people without a source.'),
  ('default', 'anonymous', 'Messages of visitors without a source.');

create table track.write_key (
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

create index write_key_source on track.write_key (source_id);

create table track.write_key_log (
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

create index write_key_log_key on track.write_key_log (key_id, logged_at);

/* -------------------------------------------------------------------------------------------- refused messages -- */

create table track.refusal (
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

create table track.refusal_sample (
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

create index refusal_sample_source on track.refusal_sample (source_id, code, day);

/* ------------------------------------------------------------------------------------ people and identities -- */

create table track.identity (
  identity_id bigint generated always as identity primary key,
  kind text not null check (kind in ('user', 'anonymous', 'unverified', 'none')),
  external_id text not null check (length(external_id) between 1 and 256),
  person_id bigint not null,
  created_at timestamptz not null default now(),
  user_identity_id bigint,
  branch bigint not null default 0,
  browser uuid,
  unique (external_id, kind, branch)
);

comment on table track.identity is $$
Names by which clients identify a person: the `userId` of the application, or the `anonymousId` of a browser.
The person of an identity follows from the active links between identities. A browser that several people have used
has one identity per user; `track.identity_link` shows from when on each of them used it.
$$;
comment on column track.identity.identity_id is $$Key of the identity. 0 is the identity of anonymized events.$$;
comment on column track.identity.kind is $$
`user` (a `userId`), `anonymous` (an `anonymousId`), `unverified` or `none` (identity 0, of anonymized events).
`unverified` is an `anonymousId` of a person that a client sent without proof; it is never linked.
$$;
comment on column track.identity.external_id is $$Name that the client sent.$$;
comment on column track.identity.person_id is $$Person that the identity belongs to now.$$;
comment on column track.identity.created_at is $$Time at which the identity was first seen.$$;
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

create index identity_person on track.identity (person_id);

create table track.person (
  person_id bigint primary key,
  created_at timestamptz not null default now()
);

comment on table track.person is $$
People: connected components of identities, each with the key of its oldest user identity.
A person without a user identity has the key of its oldest anonymous identity. Person 0 holds anonymized events.
$$;
comment on column track.person.person_id is $$
Key of the person: the `identity_id` of one of its identities. 0 for anonymized events.
$$;
comment on column track.person.created_at is $$Time at which the person was first seen.$$;

insert into track.identity (identity_id, kind, external_id, person_id, created_at) overriding system value
values (0, 'none', 'none', 0, '-infinity');

insert into track.person (person_id, created_at) values (0, '-infinity');

create table track.identity_link (
  identity_id bigint not null references track.identity,
  linked_identity_id bigint not null references track.identity,
  kind text not null check (kind in ('identify', 'alias', 'claim', 'merge')),
  linked_at timestamptz not null,
  unlinked_at timestamptz,
  primary key (identity_id, linked_identity_id, linked_at),
  check (identity_id <> linked_identity_id)
);

comment on table track.identity_link is $$
Links between identities, one row per message.
People are the connected components of the active links, except claims; removing a link splits them. An event of a
browser belongs to the user of the latest link before it, or else of the first link.
$$;
comment on column track.identity_link.identity_id is $$
Identity that `identify` or `alias` linked, often an anonymous one.
$$;
comment on column track.identity_link.linked_identity_id is $$Identity to which it was linked.$$;
comment on column track.identity_link.kind is $$
`identify` (a user identified on a browser), `alias` (the two are the same), `merge` (`track.merge_persons`) or `claim`.
A claim is an `identify` without proof: it counts for messages that its user sends while signed in, and for no others.
$$;
comment on column track.identity_link.linked_at is $$
Time of the message that linked the identities: from then on a browser belongs to the user.
$$;
comment on column track.identity_link.unlinked_at is $$Time at which the link was removed; null while it is active.$$;

create index identity_link_linked on track.identity_link (linked_identity_id);
create index identity_link_removed on track.identity_link (linked_identity_id) where unlinked_at is not null;

create table track.placeholder_id (
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
  ('00000000-0000-0000-0000-000000000000', 'The nil UUID.');

create table track.trait (
  person_id bigint not null,
  identity_id bigint not null references track.identity,
  name text not null check (length(name) between 1 and 100),
  value jsonb not null,
  set_at timestamptz not null,
  primary key (person_id, identity_id, name)
);

comment on table track.trait is $$
@foreignKey (identity_id) references track.identity (identity_id)
Traits of people, as last sent by `identify`.
The latest value by the time of the message applies, in any order of arrival. `timezone` is the IANA time zone of the
client.
$$;
comment on column track.trait.person_id is $$Person that has the trait.$$;
comment on column track.trait.identity_id is $$Identity for which the trait was sent.$$;
comment on column track.trait.name is $$Name of the trait, such as `plan`.$$;
comment on column track.trait.value is $$Value of the trait.$$;
comment on column track.trait.set_at is $$Time of the message that set the value.$$;

create index trait_identity on track.trait (identity_id);

create table track.trait_history (
  person_id bigint not null,
  identity_id bigint not null references track.identity,
  name text not null check (length(name) between 1 and 100),
  since date not null,
  set_at timestamptz[] not null check (cardinality(set_at) > 0),
  value jsonb[] not null check (cardinality(value) = cardinality(set_at)),
  repeated_at timestamptz[] not null,
  primary key (person_id, identity_id, name, since)
);

comment on table track.trait_history is $$
@behavior -*
@foreignKey (identity_id) references track.identity (identity_id)
The values that traits of people had in the course of time: one row per identity, trait and year.
The times of repetitions are kept, because a message with another value may arrive late and be between two of them. The
rows are the same in any order of arrival of the messages, and follow merges of people and their reversal as
`track.trait` does. Of two values of the same time, the greater one applies. See `track.trait_changes`.
$$;
comment on column track.trait_history.person_id is $$Person that has the trait.$$;
comment on column track.trait_history.identity_id is $$Identity for which the trait was sent.$$;
comment on column track.trait_history.name is $$Name of the trait, such as `plan`.$$;
comment on column track.trait_history.since is $$First day (UTC) of the year of the times.$$;
comment on column track.trait_history.set_at is $$
Times at which a value was sent that is not the one before, in order, so that `width_bucket` finds a position.
Of `identify`, the time of the message; of the time zone in other messages, the start of the hour (UTC) of the message.
$$;
comment on column track.trait_history.value is $$
The value of each time in `set_at`; JSON null for a value of more than 1,000 bytes.
$$;
comment on column track.trait_history.repeated_at is $$
Times at which the value was sent again, in order.
Of these and `set_at` together, the latest `track.setting.most_trait_times` of the year are kept.
$$;

create index trait_history_identity on track.trait_history (identity_id);

/* ------------------------------------------------------------------------------------------------------ items -- */

create table track.item (
  item_id bigint generated always as identity primary key,
  external_id text not null unique check (length(external_id) between 1 and 512),
  kind text not null default 'unknown' check (kind ~ '^[a-z][a-z0-9_]{0,62}$'),
  title text,
  parent_item_id bigint references track.item,
  url text,
  language text,
  attributes jsonb not null default '{}',
  available_from timestamptz,
  available_until timestamptz,
  due_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  merged_item_id bigint references track.item,
  target_item_id bigint references track.item,
  check (parent_item_id <> item_id),
  check (merged_item_id <> item_id),
  check (target_item_id <> item_id)
);

comment on table track.item is $$
Items that people use: courses, modules, tasks, pages, videos.
An item is created when an event first names it, and completed from the tables of the application.
$$;
comment on column track.item.item_id is $$Key of the item.$$;
comment on column track.item.external_id is $$Identifier of the item in the application.$$;
comment on column track.item.kind is $$
`course`, `module`, `task`, `page`, `video` and others.
`unknown` until a message or table states the kind; `merged` for a further name of another item.
$$;
comment on column track.item.title is $$Title; null when unknown.$$;
comment on column track.item.parent_item_id is $$
Item that contains this one, such as the module of a page; null when there is none.
$$;
comment on column track.item.url is $$URL of the item; null when unknown.$$;
comment on column track.item.language is $$Language of the content (BCP 47); null when unknown.$$;
comment on column track.item.attributes is $$Further attributes that the application stores.$$;
comment on column track.item.available_from is $$Time from which the item is available; null: no limit.$$;
comment on column track.item.available_until is $$Time until which the item is available, exclusive; null: no limit.$$;
comment on column track.item.due_at is $$Deadline; null when there is none.$$;
comment on column track.item.created_at is $$Time at which the item was first seen.$$;
comment on column track.item.updated_at is $$Time of the last change.$$;
comment on column track.item.merged_item_id is $$
Item of which this one is only a further name, because `track.merge_items` merged it; null otherwise.
$$;
comment on column track.item.target_item_id is $$
Item that the merge named: `merged_item_id`, or an item that was itself merged into that one. Null when not merged.
$$;

create index item_merged on track.item (merged_item_id) where merged_item_id is not null;
create index item_target on track.item (target_item_id) where target_item_id is not null;
create index item_parent on track.item (parent_item_id);
create index item_kind on track.item (kind);
create index item_newest on track.item (kind, created_at desc, item_id desc);

create table track.item_source (
  item_id bigint not null references track.item on delete cascade,
  attribute text not null check (attribute in ('name', 'kind', 'title', 'url', 'parent')),
  identity_id bigint not null,
  primary key (item_id, attribute)
);

comment on table track.item_source is $$
Origin of items and attributes that messages gave: the identity that named an item first, or gave an attribute.
The tables of the application (`track.sync_items`) take the place of messages: their items and values have no row here.
An erasure deletes items that only messages have named when nobody else uses them, and attributes that the person gave.
$$;
comment on column track.item_source.item_id is $$The item.$$;
comment on column track.item_source.attribute is $$
`name` (the item itself), `kind`, `title`, `url` or `parent`.
$$;
comment on column track.item_source.identity_id is $$Identity of the message.$$;

create index item_source_identity on track.item_source (identity_id);

create table track.item_ancestor (
  item_id bigint not null references track.item,
  ancestor_item_id bigint not null references track.item,
  depth smallint not null check (depth >= 0),
  primary key (item_id, ancestor_item_id)
);

comment on table track.item_ancestor is $$
Transitive closure of the item tree: each item with itself, its parent and all further ancestors.
Maintained by triggers on `track.item`.
$$;
comment on column track.item_ancestor.item_id is $$Item.$$;
comment on column track.item_ancestor.ancestor_item_id is $$The item itself or an ancestor.$$;
comment on column track.item_ancestor.depth is $$
Number of levels from the item up to the ancestor; 0 for the item itself.
$$;

create index item_ancestor_ancestor on track.item_ancestor (ancestor_item_id);

create table track.former_parent (
  item_id bigint not null references track.item,
  parent_item_id bigint not null references track.item,
  ended_at timestamptz not null,
  primary key (item_id, ended_at)
);

comment on table track.former_parent is $$
@behavior -*
Former places of items: what contained an item until the application moved it.
`track.sync_items` writes them. The parents that messages stated are not kept.
$$;
comment on column track.former_parent.item_id is $$Item that was moved.$$;
comment on column track.former_parent.parent_item_id is $$Item that contained it before.$$;
comment on column track.former_parent.ended_at is $$Time until which it did, exclusive.$$;

create index former_parent_parent on track.former_parent (parent_item_id);

create table track.prerequisite (
  item_id bigint not null references track.item,
  required_item_id bigint not null references track.item,
  primary key (item_id, required_item_id),
  check (item_id <> required_item_id)
);

comment on table track.prerequisite is $$
Items that should be finished before another item is started.
$$;
comment on column track.prerequisite.item_id is $$Item that has the prerequisite.$$;
comment on column track.prerequisite.required_item_id is $$Item that should be finished first.$$;

create index prerequisite_required on track.prerequisite (required_item_id);

create table track.enrolment (
  person_id bigint not null,
  item_id bigint not null references track.item,
  status text not null default 'active' check (status in ('active', 'completed', 'dropped')),
  enrolled_at timestamptz not null,
  ended_at timestamptz,
  identity_id bigint not null references track.identity,
  named_item_id bigint,
  source_id smallint,
  primary key (person_id, item_id, identity_id)
);

comment on table track.enrolment is $$
@foreignKey (item_id) references track.item (item_id)
@foreignKey (identity_id) references track.identity (identity_id)
Enrolments of people in items, as stored by the application, or as the events of an import state them.
Of the enrolments of an identity under several names of a merged item, the one of the item's own name counts, or else
the latest one. The others keep the merged item, whose kind is `merged`.
$$;
comment on column track.enrolment.person_id is $$Person that is enrolled.$$;
comment on column track.enrolment.item_id is $$Item, usually a course.$$;
comment on column track.enrolment.status is $$`active`, `completed` or `dropped`.$$;
comment on column track.enrolment.enrolled_at is $$Start of the enrolment.$$;
comment on column track.enrolment.ended_at is $$Time at which the item was completed or dropped; null otherwise.$$;
comment on column track.enrolment.identity_id is $$Identity that the application enrolled.$$;
comment on column track.enrolment.named_item_id is $$
Item that the application named, when it was merged into `item_id`; null otherwise.
$$;
comment on column track.enrolment.source_id is $$
Import whose event began the enrolment; null: the application or an administrator stated it.
$$;

create index enrolment_source on track.enrolment (source_id) where source_id is not null;
create index enrolment_item on track.enrolment (item_id);
create index enrolment_identity on track.enrolment (identity_id);
create index enrolment_named on track.enrolment (named_item_id) where named_item_id is not null;

create table track.named_item (
  item_id bigint primary key references track.item,
  kind text not null,
  title text,
  parent_item_id bigint references track.item,
  url text,
  language text,
  attributes jsonb not null,
  available_from timestamptz,
  available_until timestamptz,
  due_at timestamptz
);

comment on table track.named_item is $$
@behavior -*
Descriptions of the items of a merge, each under its own name, so that the merge can be undone.
A row for each item that is merged or the target of a merge, and for each item whose parent is merged. The rows of these
items in `track.item` are computed from here (`track._describe_merged`).
$$;
comment on column track.named_item.item_id is $$Item, under its own name.$$;
comment on column track.named_item.kind is $$Kind; `unknown` until it is stated.$$;
comment on column track.named_item.title is $$Title; null when unknown.$$;
comment on column track.named_item.parent_item_id is $$
Parent as it was named, which may be a merged item; null when there is none.
$$;
comment on column track.named_item.url is $$URL; null when unknown.$$;
comment on column track.named_item.language is $$Language of the content (BCP 47); null when unknown.$$;
comment on column track.named_item.attributes is $$Further attributes.$$;
comment on column track.named_item.available_from is $$Time from which the item is available; null: no limit.$$;
comment on column track.named_item.available_until is $$
Time until which the item is available, exclusive; null: no limit.
$$;
comment on column track.named_item.due_at is $$Deadline; null when there is none.$$;

create index named_item_parent on track.named_item (parent_item_id);

create table track.named_prerequisite (
  item_id bigint not null references track.item,
  required_item_id bigint not null references track.item,
  primary key (item_id, required_item_id)
);

comment on table track.named_prerequisite is $$
@behavior -*
Prerequisites of merged items and of their targets, with the items as they were named: see `track.named_item`.
$$;
comment on column track.named_prerequisite.item_id is $$Item that has the prerequisite.$$;
comment on column track.named_prerequisite.required_item_id is $$Item that should be finished first.$$;

create index named_prerequisite_required on track.named_prerequisite (required_item_id);

create table track.item_role (
  person_id bigint not null,
  item_id bigint not null references track.item,
  role text not null check (role in ('instructor', 'assistant', 'author')),
  started_at timestamptz not null default '-infinity',
  ended_at timestamptz not null default 'infinity',
  identity_id bigint not null references track.identity,
  primary key (person_id, item_id, role, identity_id, started_at)
);

comment on table track.item_role is $$
Roles of people in items, as stored by the application: who teaches an item, assists in it, or wrote it.
One row per period.
A role applies to all that the item contains. Instructors and assistants see the learners of their courses from
`started_at` until `ended_at`; authors do not. `track.sync_item_roles` writes the rows.
$$;
comment on column track.item_role.person_id is $$Person that has the role.$$;
comment on column track.item_role.item_id is $$
Item, usually a course, as the application names it: see `track.applied_item_role`.
$$;
comment on column track.item_role.role is $$`instructor`, `assistant` or `author`.$$;
comment on column track.item_role.started_at is $$
Time from which the person has the role; `-infinity`: no limit.
$$;
comment on column track.item_role.ended_at is $$
Time until which the person has the role, exclusive; `infinity`: no limit.
$$;
comment on column track.item_role.identity_id is $$Identity to which the application gave the role.$$;

create index item_role_item on track.item_role (item_id);
create index item_role_identity on track.item_role (identity_id);

/* ----------------------------------------------------------------------------------------------------- events -- */

create table track.event_type (
  event_type_id int generated always as identity primary key,
  name text not null unique check (length(name) between 1 and 200),
  purpose text not null default 'analytics' references privacy.purpose,
  opens_view boolean not null default false,
  is_heartbeat boolean not null default false,
  description text,
  created_at timestamptz not null default now(),
  is_automatic boolean not null default false,
  merged_event_type_id int references track.event_type,
  target_event_type_id int references track.event_type,
  former_event_type_id int references track.event_type,
  allowed_properties text[] check (cardinality(allowed_properties) <= 1000),
  check (not (opens_view and is_heartbeat)),
  check (merged_event_type_id <> event_type_id),
  check (target_event_type_id <> event_type_id),
  check (former_event_type_id <> event_type_id)
);

comment on table track.event_type is $$
Event types with their meaning for the collection. A new name is added when it is first seen.
$$;
comment on column track.event_type.event_type_id is $$Key of the event type.$$;
comment on column track.event_type.name is $$Name in messages, such as `Task Submitted`.$$;
comment on column track.event_type.purpose is $$
Purpose for which such events are processed; the consent to this purpose is required.
$$;
comment on column track.event_type.opens_view is $$
Whether the event opens a page view. After a change, run `select track.rebuild()`.
$$;
comment on column track.event_type.is_heartbeat is $$
Whether the event means that the open page is still in use. After a change, run `select track.rebuild()`.
$$;
comment on column track.event_type.description is $$Description of the event; null when none was given.$$;
comment on column track.event_type.created_at is $$Time at which the event type was added.$$;
comment on column track.event_type.is_automatic is $$
Whether such an event happens without an action of its person, such as a grade by a teacher.
It is then in no session, opens no page view and adds no engaged time. After a change, run `select track.rebuild()`.
$$;

comment on column track.event_type.merged_event_type_id is $$
Type of which this one is only a further name, because `track.merge_events` or `track.rename_event` merged it.
Its purpose and its other properties apply. Null otherwise.
$$;
comment on column track.event_type.target_event_type_id is $$
Type that the merge named: `merged_event_type_id`, or a type that was itself merged into that one. Null when not merged.
$$;
comment on column track.event_type.former_event_type_id is $$
Type that `track.rename_event` gave this name; null otherwise.
A setting of the former name, such as that of `recommend.event_weight`, applies to this one, unless there is one of this
name.
$$;
comment on column track.event_type.allowed_properties is $$
Properties that are stored of such events, and those that the system itself needs; null: all.
Of a merged type, the list of its target applies. Changed by `track.allow_properties` and its opposites.
$$;

create index event_type_purpose on track.event_type (purpose);
create index event_type_merged on track.event_type (merged_event_type_id) where merged_event_type_id is not null;
create index event_type_target on track.event_type (target_event_type_id) where target_event_type_id is not null;
create index event_type_former on track.event_type (former_event_type_id) where former_event_type_id is not null;

insert into track.event_type (name, purpose, opens_view, is_heartbeat, description)
values
  ('Page Viewed', 'analytics', true, false, 'A person opened a page: a `page` message.'),
  ('Screen Viewed', 'analytics', true, false, 'A person opened a screen of an app: a `screen` message.'),
  ('Heartbeat', 'analytics', false, true, 'The open page is in use: after 5 s, then every 10 s.'),
  ('Video Content Playing', 'analytics', false, true, 'The video is playing: every 10 s.'),
  (
    'Segment Consent Preference Updated', 'service', false, false,
    'The person decided about purposes; stored in privacy.consent.'
  ),
  (
    'Other Event', 'analytics', false, false,
    'An event of a person who opted out, whose name no other event has: it is kept without the name.'
  );

insert into track.event_type (name, is_automatic, description)
values
  ('Task Graded', true, 'A teacher or a program graded a submission of the person.'),
  ('Grade Changed', true, 'A teacher or a program changed a grade of the person.'),
  ('Badge Awarded', true, 'The person was awarded a badge.'),
  ('Certificate Issued', true, 'A certificate was issued to the person.'),
  ('Course Assigned', true, 'A teacher or a program enrolled the person in a course.'),
  ('Enrolment Changed', true, 'A teacher or a program changed an enrolment of the person.'),
  ('Reminder Sent', true, 'A reminder was sent to the person.'),
  ('Deadline Passed', true, 'A deadline of the person passed.');

create table track.message (
  source_id smallint not null,
  message_hash uuid not null,
  primary key (source_id, message_hash)
);

comment on table track.message is $$
Hashes of recent messages, which identify duplicates. Contains no person and no content.
Those of all earlier messages are in `track.packed_message`, where `track.pack_messages` moves them.
$$;
comment on column track.message.source_id is $$Source of the message.$$;
comment on column track.message.message_hash is $$First 128 bits of the SHA-256 hash of the `messageId`.$$;

create table track.packed_message (
  node int primary key check (node >= 256),
  tags smallint[] not null,
  remainders bigint[] not null
)
with (toast_tuple_target = 128, autovacuum_vacuum_scale_factor = 0.05, toast.autovacuum_vacuum_scale_factor = 0.05);

alter table track.packed_message alter column tags set storage main;
alter table track.packed_message alter column remainders set storage external;

comment on table track.packed_message is $$
Hashes of messages that are no longer in `track.message`, some hundred per row, kept permanently: 88 bits of each.
A row is a node of the binary tree of all hashes. All rows are of the same depth, or of two while rows are split. The
tags are in the row, the remainders out of line: for a message that is new they are read in one of 200 cases.
$$;
comment on column track.packed_message.node is $$
Number of the node: 1, followed by the first bits of its hashes, as many as the depth (`track.message_packing`).
$$;
comment on column track.packed_message.tags is $$Bits 72 to 87 of each hash, in ascending order.$$;
comment on column track.packed_message.remainders is $$
Bits 8 to 71 of the hash of each tag, the last 16 of them combined with the source by exclusive or.
$$;

create table track.message_packing (
  only_row boolean primary key default true check (only_row),
  depth int not null default 8 check (depth between 8 and 29),
  next_depth int not null default 8 check (next_depth between depth and 29),
  position bigint not null default 0 check (position between 0 and 4294967295),
  step bigint not null default 0,
  messages bigint not null default 0,
  is_behind boolean not null default false,
  cycle_started_at timestamptz not null default now()
);

comment on table track.message_packing is $$
State of the packing of messages: one row.
$$;
comment on column track.message_packing.only_row is $$Always true, so that the table has one row.$$;
comment on column track.message_packing.depth is $$
Number of bits that the key of a row of `track.packed_message` holds.
$$;
comment on column track.message_packing.next_depth is $$
The same for hashes before `position`: greater than `depth` while rows are split.
$$;
comment on column track.message_packing.position is $$
First 32 bits of the hashes at which the next step begins; 0 at the beginning of a cycle.
$$;
comment on column track.message_packing.step is $$Number of steps, which shows that hashes have moved.$$;
comment on column track.message_packing.messages is $$Number of hashes in `track.packed_message`.$$;
comment on column track.message_packing.is_behind is $$
Whether the other steps of the cycle are scheduled at once, because a step found many recent messages.
$$;
comment on column track.message_packing.cycle_started_at is $$
Start of the cycle, which takes a week: a step is scheduled at the part of the week that corresponds to `position`.
$$;

insert into track.message_packing default values;

create table track.event (
  person_id bigint not null,
  occurred_at timestamptz not null,
  event_id uuid not null,
  identity_id bigint not null,
  event_type_id int not null,
  item_id bigint,
  received_at timestamptz not null,
  source_id smallint not null,
  properties jsonb,
  client_at timestamptz,
  named_event_type_id int,
  named_item_id bigint,
  primary key (person_id, occurred_at, event_id)
)
partition by range (occurred_at);

comment on table track.event is $$
@foreignKey (event_type_id) references track.event_type (event_type_id)
@foreignKey (item_id) references track.item (item_id)
Events of people, partitioned by month.
`track.ingest` is the only function that inserts events, and it looks up each key. Foreign keys are therefore not
declared: they would take about a third of the time of an insert.
$$;
comment on column track.event.person_id is $$Person that the identity belongs to now; 0 for an anonymized event.$$;
comment on column track.event.occurred_at is $$
Time of the event, never later than its arrival.
The time of the client, or, if its clock is behind by more than `track.setting.clock_tolerance` or ahead by more than 5
seconds, `receivedAt - (sentAt - timestamp)`. The arrival when the client sent no time, or one later than `sentAt`.
$$;
comment on column track.event.event_id is $$
Version 7 UUID of the time and the hash of the message; orders events of the same time.
Events whose time is that of their arrival are in the order of the times of their client.
$$;
comment on column track.event.identity_id is $$
Identity with which the event was sent. It never changes, so that a merge of people can be undone.
$$;
comment on column track.event.event_type_id is $$Event type.$$;
comment on column track.event.item_id is $$Item that the event is about; null when there is none.$$;
comment on column track.event.received_at is $$Time at which the message arrived.$$;
comment on column track.event.source_id is $$Source of the message.$$;
comment on column track.event.properties is $$Further properties of the message; null when there are none.$$;
comment on column track.event.client_at is $$
Time of the client, when it differs from `occurred_at`: its clock was wrong. Null otherwise.
$$;
comment on column track.event.named_event_type_id is $$
Event type that the message named, when it was merged into `event_type_id`; null otherwise.
$$;
comment on column track.event.named_item_id is $$
Item that the message named, when it was merged into `item_id`; null otherwise.
$$;

-- Most analyses read the rollups. Here they read periods of time, whose events are adjacent on disk.
create index event_time on track.event using brin (occurred_at);

/* ---------------------------------------------------------------------------------------------- minimisation -- */

create table track.found_data (
  found_data_id bigint generated always as identity primary key,
  day date not null,
  event_type_id int references track.event_type on delete cascade,
  property text not null check (length(property) <= 200),
  kind text not null check (kind in ('e-mail', 'phone', 'ip', 'user_agent', 'not_allowed')),
  backend int not null,
  found bigint not null check (found > 0),
  constraint found_data_key unique nulls not distinct (day, event_type_id, property, kind, backend)
);

create index found_data_event_type on track.found_data (event_type_id);

comment on table track.found_data is $$
@behavior -*
Numbers of values that were found in messages, or dropped of them, by event type, property and day of arrival.
One row per backend process, so that concurrent batches do not wait for each other. Contains no value.
`track.personal_data_found` and `track.dropped_data` return the sums.
$$;
comment on column track.found_data.found_data_id is $$Key of the row.$$;
comment on column track.found_data.day is $$Day of arrival (UTC).$$;
comment on column track.found_data.event_type_id is $$Event type; null for traits.$$;
comment on column track.found_data.property is $$
Path of the property. Keys that contain an e-mail address or a phone number are masked; `…` above 2,000 paths per day.
$$;
comment on column track.found_data.kind is $$
`e-mail` or `phone`: found in a value. Dropped: `ip` and `user_agent`, by the name of the property, and `not_allowed`.
$$;
comment on column track.found_data.backend is $$
Process that counted: its process id; 0 for days that `track.delete_old_refusals` has summed.
$$;
comment on column track.found_data.found is $$Number of values.$$;

create table track.disallowed_month (
  month date primary key
);

comment on table track.disallowed_month is $$
@behavior -*
Months whose events may have properties that are not allowed any more; `track.apply_allow_lists` takes the latest.
$$;
comment on column track.disallowed_month.month is $$First day of the month (UTC).$$;

/* ----------------------------------------------------------------------------------------------- changed names -- */

create table track.renamed_month (
  month date primary key
);

comment on table track.renamed_month is $$
@behavior -*
Months of `track.event` to which a change of names is not applied yet.
`track.refresh` empties it (step `track.name`).
$$;
comment on column track.renamed_month.month is $$First day of the month (UTC).$$;

create table track.name_log (
  log_id uuid primary key default gen_random_uuid(),
  logged_at timestamptz not null default clock_timestamp(),
  action text not null check (
    action in (
      'event renamed', 'event merged', 'event unmerged', 'item renamed', 'item merged', 'item unmerged'
    )
  ),
  name text not null,
  target text not null,
  actor text not null
);

comment on table track.name_log is $$
Log of the names of events and items that were changed by administrators, append-only.
$$;
comment on column track.name_log.log_id is $$Key of the entry.$$;
comment on column track.name_log.logged_at is $$Time of the change.$$;
comment on column track.name_log.action is $$Change, such as `event merged`.$$;
comment on column track.name_log.name is $$Name of the event, or external id of the item.$$;
comment on column track.name_log.target is $$New name or target; of a merge that was undone, its former target.$$;
comment on column track.name_log.actor is $$
Administrator who made the change: the signed-in person, or else the login of the database.
$$;

create index name_log_time on track.name_log (logged_at);

/* ------------------------------------------------------------------------------- imports that were removed -- */

create table track.forgotten_import (
  source_id smallint primary key,
  name text not null,
  started_at timestamptz not null default clock_timestamp(),
  completed_at timestamptz,
  event_count bigint not null default 0,
  person_count bigint not null default 0,
  item_count bigint not null default 0,
  event_type_count bigint not null default 0,
  kept_event_count bigint not null default 0,
  event_types int[] not null default '{}',
  actor text not null,
  done_people bigint default 0
);

comment on table track.forgotten_import is $$
Imports that were removed, or are being removed, by `track.forget_import`; one row per import, kept as history.
$$;
comment on column track.forgotten_import.source_id is $$Key that the source of the import had.$$;
comment on column track.forgotten_import.name is $$Name that the source had.$$;
comment on column track.forgotten_import.started_at is $$Time of the first step.$$;
comment on column track.forgotten_import.completed_at is $$Time of the last step; null while there are more.$$;
comment on column track.forgotten_import.event_count is $$Number of events that were deleted.$$;
comment on column track.forgotten_import.person_count is $$
Number of people that were deleted, because only the import named them.
$$;
comment on column track.forgotten_import.item_count is $$
Number of items that were deleted, because only the import named them.
$$;
comment on column track.forgotten_import.event_type_count is $$
Number of event types that were deleted, because only the import named them.
$$;
comment on column track.forgotten_import.kept_event_count is $$
Number of events that stay, because the data of their people is restricted.
$$;
comment on column track.forgotten_import.event_types is $$
Types of the deleted events, until the last step has deleted those that nothing else uses.
$$;
comment on column track.forgotten_import.actor is $$
Administrator who removed the import: the signed-in person, or else the login of the database.
$$;
comment on column track.forgotten_import.done_people is $$
Events of the import are deleted up to this person, who may have more; null when all are deleted.
$$;

create table track.forgotten_item (
  source_id smallint not null,
  item_id bigint not null,
  primary key (source_id, item_id)
);

comment on table track.forgotten_item is $$
@behavior -*
Items that the last steps of the removal of an import delete when nothing else uses them.
They are found by the steps before; former parents of the structure that an import states are there from the start.
$$;
comment on column track.forgotten_item.source_id is $$Key of the import in `track.forgotten_import`.$$;
comment on column track.forgotten_item.item_id is $$Item.$$;

create table track.imported_item (
  source_id smallint not null references track.source,
  item_id bigint not null references track.item,
  kind text check (kind ~ '^[a-z][a-z0-9_]{0,62}$'),
  title text,
  url text,
  parent_item_id bigint references track.item,
  stated_at timestamptz not null default clock_timestamp(),
  primary key (source_id, item_id)
);

comment on table track.imported_item is $$
@behavior -*
What imports state about items without an event: the structure of courses.
It has precedence over what messages tell, and the tables of the application over both. Of several imports, the one that
stated an item last counts. `track.forget_import` deletes the rows of an import.
$$;
comment on column track.imported_item.source_id is $$Source of the import.$$;
comment on column track.imported_item.item_id is $$Item, under the name that the import gave.$$;
comment on column track.imported_item.kind is $$Kind; null when the import states none.$$;
comment on column track.imported_item.title is $$Title; null when the import states none.$$;
comment on column track.imported_item.url is $$URL; null when the import states none.$$;
comment on column track.imported_item.parent_item_id is $$Parent; null when the import states none.$$;
comment on column track.imported_item.stated_at is $$Time of the last change of the row.$$;

create index imported_item_item on track.imported_item (item_id);
create index imported_item_parent on track.imported_item (parent_item_id);

create type track.source_contents as (
  source text,
  events bigint,
  first_at timestamptz,
  last_at timestamptz,
  people bigint,
  people_alone bigint,
  items bigint,
  items_alone bigint
);

comment on type track.source_contents is $$
@behavior -*
What the events of an import are about.
$$;
comment on column track.source_contents.source is $$Name of the import.$$;
comment on column track.source_contents.events is $$Number of its events.$$;
comment on column track.source_contents.first_at is $$Time of its first event; null without events.$$;
comment on column track.source_contents.last_at is $$Time of its last event; null without events.$$;
comment on column track.source_contents.people is $$Number of people with such events.$$;
comment on column track.source_contents.people_alone is $$Number of these people who have no other events.$$;
comment on column track.source_contents.items is $$Number of items with such events.$$;
comment on column track.source_contents.items_alone is $$Number of these items that have no other events.$$;

/* ------------------------------------------------------------------------------------- sessions and page views -- */

create table track.session (
  person_id bigint not null,
  session_id uuid not null,
  started_at timestamptz not null,
  ended_at timestamptz not null,
  event_count int not null,
  view_count int not null,
  engaged interval not null,
  engaged_by text not null check (engaged_by in ('heartbeats', 'gaps', 'nothing')),
  entry_item_id bigint references track.item,
  exit_item_id bigint references track.item,
  view_event_ids uuid[],
  view_item_ids bigint[],
  view_starts bigint[],
  view_ends bigint[],
  view_engaged bigint[],
  view_heartbeats int[],
  view_continued boolean[],
  view_keys bigint[],
  primary key (person_id, session_id)
);

comment on table track.session is $$
@foreignKey (entry_item_id) references track.item (item_id)
@foreignKey (exit_item_id) references track.item (item_id)
Sessions: events of a person without a pause longer than `track.setting.session_timeout`.
Derived from the events; the rows are always the same as those of a computation from scratch. Events of an automatic
type or source are in no session.
$$;
comment on column track.session.person_id is $$Person.$$;
comment on column track.session.session_id is $$Key of the session: the `event_id` of its first event.$$;
comment on column track.session.started_at is $$
Time of the first event.
When it is a heartbeat, `track.setting.minimum_visit` before it, which is the time that it confirms.
$$;
comment on column track.session.ended_at is $$Time of the last event.$$;
comment on column track.session.event_count is $$Number of events.$$;
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
comment on column track.session.entry_item_id is $$First item of the session; null when no event names an item.$$;
comment on column track.session.exit_item_id is $$Last item of the session; null when no event names an item.$$;
comment on column track.session.view_event_ids is $$
@behavior -*
Events of the page views: see `track.page_view.event_id`. Null when there is no page view.
The columns `view_…` contain the page views of the session, one element per page view in the order of their numbers;
`track.page_view` shows them as rows. An element is null when its value is the usual one, and a list when all its
elements are.
$$;
comment on column track.session.view_item_ids is $$
@behavior -*
Items that were viewed. Keys of `track.item`; null when the event names none.
$$;
comment on column track.session.view_starts is $$
@behavior -*
Start of each page view, in microseconds after `started_at`.
$$;
comment on column track.session.view_ends is $$
@behavior -*
End of each page view, in microseconds after `started_at`.
Null: the start of the next page view; for the last one, the end of the session.
$$;
comment on column track.session.view_engaged is $$
@behavior -*
Engaged time of each page view, in microseconds. Null: the time from its start to its end.
$$;
comment on column track.session.view_heartbeats is $$
@behavior -*
Number of heartbeats of each page view.
-1 when its engaged time was measured by nothing, null when it was measured by gaps: both have no heartbeats.
$$;
comment on column track.session.view_continued is $$
@behavior -*
Whether a page view is a continued one; null: it is not.
$$;
comment on column track.session.view_keys is $$
@behavior -*
64-bit hashes of the `viewId`; null when the client sent none.
$$;

create index session_started on track.session (started_at);
create index session_person_ended on track.session (person_id, ended_at, started_at);
create index session_entry_item on track.session (entry_item_id);
create index session_exit_item on track.session (exit_item_id);
create index session_continued on track.session (person_id, ended_at) where view_continued is not null;

create view track.page_view
with (security_invoker = true)
as
select
  session.person_id,
  viewed.event_id,
  session.session_id,
  viewed.view_number::int as view_number,
  viewed.item_id,
  session.started_at + viewed.start * interval '1 microsecond' as started_at,
  coalesce(
    session.started_at + coalesce(viewed.ended, viewed.next_start) * interval '1 microsecond',
    session.ended_at
  ) as ended_at,
  coalesce(
    viewed.engaged * interval '1 microsecond',
    (coalesce(viewed.ended, viewed.next_start) - viewed.start) * interval '1 microsecond',
    session.ended_at - (session.started_at + viewed.start * interval '1 microsecond')
  ) as engaged,
  case
    when viewed.heartbeats is null then 'gaps'
    when viewed.heartbeats < 0 then 'nothing'
    else 'heartbeats'
  end as engaged_by,
  greatest(viewed.heartbeats, 0) as heartbeat_count,
  coalesce(viewed.is_continued, false) as is_continued,
  viewed.view_key,
  session.started_at as session_started_at,
  session.ended_at as session_ended_at
from track.session
cross join lateral unnest(
  session.view_event_ids, session.view_item_ids, session.view_starts, session.view_starts[2:], session.view_ends,
  session.view_engaged, session.view_heartbeats, session.view_continued, session.view_keys
) with ordinality as viewed (
  event_id, item_id, start, next_start, ended, engaged, heartbeats, is_continued, view_key, view_number
);

comment on view track.page_view is $$
@primaryKey person_id,event_id
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
comment on column track.page_view.person_id is $$
@notNull
Person.
$$;
comment on column track.page_view.event_id is $$
@notNull
Event that opened the page view; for a continued one, its first heartbeat.
$$;
comment on column track.page_view.session_id is $$
@notNull
Session that contains the page view.
$$;
comment on column track.page_view.view_number is $$
@behavior -filterBy -orderBy
@notNull
Number of the page view within the session, from 1, in order of time; continued ones included.
$$;
comment on column track.page_view.item_id is $$
Item that was viewed; null when the event names none.
For a continued page view, the item of the view that was opened earlier; when that is unknown, the item that the first
heartbeat names.
$$;
comment on column track.page_view.started_at is $$
@notNull
Time at which the page was opened; for a continued page view, the start of its engaged time.
$$;
comment on column track.page_view.ended_at is $$
@behavior -filterBy -orderBy
@notNull
Time of the last heartbeat or other event of the page view, or of the next view.
$$;
comment on column track.page_view.engaged is $$
@behavior -filterBy -orderBy
@notNull
Engaged time.
$$;
comment on column track.page_view.engaged_by is $$
@behavior -filterBy -orderBy
@notNull
Method of measuring the engaged time.
`heartbeats`, `gaps` (between events), or `nothing` for the last view of a session, whose duration is unknown and
counted as zero.
$$;
comment on column track.page_view.heartbeat_count is $$
@behavior -filterBy -orderBy
@notNull
Number of heartbeats received, including duplicates.
$$;
comment on column track.page_view.is_continued is $$
@behavior -filterBy -orderBy
@notNull
Whether the page was opened in an earlier session, or its opening is unknown. Not a further visit of the page.
$$;
comment on column track.page_view.view_key is $$
@behavior -*
64-bit hash of the `viewId`; null when the client sent none.
$$;
comment on column track.page_view.session_started_at is $$
@behavior -*
Time of the first event of the session. A condition on it, as on `session_ended_at`, limits the sessions that are read.
$$;
comment on column track.page_view.session_ended_at is $$
@behavior -*
Time of the last event of the session.
$$;

create table track.automatic_period (
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

/* ----------------------------------------------------------------------------------------- queues of the refresh -- */

create table track.stale (
  person_id bigint not null,
  stale_id uuid not null default gen_random_uuid(),
  since timestamptz not null,
  until timestamptz not null,
  primary key (person_id, stale_id),
  check (since <= until)
);

comment on table track.stale is $$
Periods in which the sessions of a person are out of date.
Written in the transaction that stores the events, and consumed by `track.refresh_sessions`. Append-only, so that
writers never wait for a refresh.
$$;
comment on column track.stale.person_id is $$Person whose events changed.$$;
comment on column track.stale.stale_id is $$Key of the row.$$;
comment on column track.stale.since is $$
Time of the earliest change; `-infinity` when any event of the person may have changed.
$$;
comment on column track.stale.until is $$
Time of the latest change; `infinity` when any event of the person may have changed.
$$;

create table track.consumer (
  consumer text primary key check (consumer ~ '^[a-z][a-z_.]*$' and consumer <> 'track.session'),
  position smallint not null unique,
  refresh text not null check (refresh ~ '^[a-z][a-z_]*\.[a-z][a-z_]*$'),
  inputs text[] not null check (inputs <> '{}' and inputs <@ '{event,enrolment,decision,identity,trait,set}'),
  description text not null,
  reads_set text check (reads_set ~ '^[a-z][a-z_]*\.[a-z][a-z_]*$'),
  incomplete_sets text check (incomplete_sets ~ '^[a-z][a-z_]*\.[a-z][a-z_]*$'),
  forget_function text check (forget_function ~ '^[a-z][a-z_]*\.[a-z][a-z_]*$'),
  collect_function text check (collect_function ~ '^[a-z][a-z_]*\.[a-z][a-z_]*$')
);

comment on table track.consumer is $$
Consumers: data that is derived from the data of people, with the function that refreshes it.
Every room registers its own; `track.refresh` calls the functions. The function takes `people bigint[], since
timestamptz[], until timestamptz[]`: one position per period in which data of a person changed, from `-infinity` to
`infinity` for all data of the person. It recomputes these periods and returns void. `insights doctor` checks that the
functions exist.
$$;
comment on column track.consumer.consumer is $$Name of the consumer, such as `recommend.interaction`.$$;
comment on column track.consumer.position is $$Position in the order of the refresh, after the sessions.$$;
comment on column track.consumer.refresh is $$Name of the function, with its schema.$$;
comment on column track.consumer.inputs is $$
Data that it is derived from: `event`, `enrolment`, `decision`, `identity`, `trait` or `set`.
`event`: also sessions and page views. `identity`: identities that are new, moved to another person, excluded or
included. `set`: lists of people (`track.set_person_set`).
$$;
comment on column track.consumer.description is $$Description of the derived data.$$;
comment on column track.consumer.reads_set is $$
Name of a function of `set_name text` that returns whether the derived data depends on this set; null: on all sets.
A consumer with the input `set` is queued when people join or leave a set that it reads.
$$;
comment on column track.consumer.incomplete_sets is $$
Name of a function that returns the names of sets whose people a rule of retention has deleted; null: there are none.
$$;
comment on column track.consumer.forget_function is $$
Name of a function of `people bigint[], times timestamptz[]`; null: it needs none.
`track.forget_import` calls it before it deletes events of these people and times, so that the refresh does not keep
what outlives events that a rule of retention deletes.
$$;
comment on column track.consumer.collect_function is $$
Name of a function of `most int` that returns an integer; null: it needs none.
`track.refresh` calls it before the refresh of the consumer, under the same lock. It stores at most `most` rows of a
queue of the room, queues the people whose data changes with them, and returns the number of rows.
$$;

create table track.changed (
  person_id bigint not null,
  changed_id uuid not null default gen_random_uuid(),
  -- Without a foreign key, whose check takes more time than the insertion.
  consumer text not null,
  since timestamptz not null,
  until timestamptz not null,
  primary key (person_id, changed_id),
  check (since <= until)
);

comment on table track.changed is $$
@foreignKey (consumer) references track.consumer (consumer)
Periods in which data of a person changed, one row per consumer (see `track.consumer.inputs`).
`track.refresh` deletes the rows of a consumer and recomputes the periods in a later statement of the same
transaction. Changes that are committed between the two statements have rows of their own, so that no change is
missed. Repeating a refresh gives the same result.
$$;
comment on column track.changed.person_id is $$Person whose data changed.$$;
comment on column track.changed.changed_id is $$Key of the row.$$;
comment on column track.changed.consumer is $$Consumer that must recompute the period.$$;
comment on column track.changed.since is $$
Time of the earliest change; `-infinity` when any data of the person may have changed.
$$;
comment on column track.changed.until is $$
Time of the latest change; `infinity` when any data of the person may have changed.
$$;

create index changed_consumer on track.changed (consumer, person_id);

/* --------------------------------------------------------------------------------------------- sets of people -- */

create table track.person_set (
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

create index person_set_consumer on track.person_set (consumer);

create table track.person_set_member (
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

create index person_set_member_identity on track.person_set_member (identity_id);

create table track.person_set_block (
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

create table track.exclusion (
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
);

insert into track.person_set (name, description, members)
values
  ('signed_in', 'People who have signed in at some time.', 'track.signed_in_people'),
  (
    'counted',
    'People who count in popularity, in training and in the smallest group of figures: signed in and not excluded.',
    'track.counted_people'
  ),
  ('excluded', 'People who count in no figure: those of track.exclude_person.', 'track.excluded_people'),
  (
    'shareable', 'People whose data may leave the organization: see privacy.may_share.', 'track.shareable_people'
  );

/* --------------------------------------------------------------------------------------- journeys and presence -- */

create table track.step (
  person_id bigint not null,
  event_type_id int not null,
  is_automatic boolean not null,
  since date not null,
  occurred_at timestamptz[] not null check (cardinality(occurred_at) > 0),
  item_ids int[] not null check (cardinality(item_ids) = cardinality(occurred_at)),
  primary key (person_id, event_type_id, is_automatic, since)
)
-- Room in each page, so that most updates change no index.
with (fillfactor = 80);

comment on table track.step is $$
@behavior -*
The journeys of people: the times and items of their events, one row per person, event type and year.
Times ascend (equal ones by item), so that `width_bucket` finds a position by binary search. Derived from the events
by `track.refresh_sessions`; the rows are always the same as those of a computation from scratch. What the tables of
presence and sums contain is what these rows and the page views of the sessions contain.
$$;
comment on column track.step.person_id is $$Person; 0 for anonymized events.$$;
comment on column track.step.event_type_id is $$Event type.$$;
comment on column track.step.is_automatic is $$
Whether the events are of an automatic type or source: not activities of the person.
$$;
comment on column track.step.since is $$
First day (UTC) of the year of the events; for person 0 the day of the events, which bounds the length of a row.
$$;
comment on column track.step.occurred_at is $$Times of the events.$$;
comment on column track.step.item_ids is $$Item of each event; 0 for events that name none.$$;

-- The journeys of all people with one event.
create index step_type on track.step (event_type_id, since);

create table track.presence (
  event_type_id int not null,
  day date not null,
  block int not null check (block >= 0),
  people bit(4096) not null,
  event_count int not null check (event_count >= 0),
  counted_count int not null check (counted_count >= 0),
  primary key (event_type_id, day, block),
  check (bit_count(people) > 0 or event_count > 0)
);

comment on table track.presence is $$
@behavior -*
The people with events of a type on a day, one bit per person, and the number of events.
Distinct people over any days are `bit_count(bit_or(people))` by block; sets of people (`track.person_set_blocks`) are
filters by `&`. Maintained by `track.refresh_sessions`.
$$;
comment on column track.presence.event_type_id is $$Event type; 0 for any event that is not automatic.$$;
comment on column track.presence.day is $$Day, UTC.$$;
comment on column track.presence.block is $$Number of the block: `person_id / 4096`.$$;
comment on column track.presence.people is $$
One bit per person of the block; bit 0, the leftmost, is the person `block * 4096`. Person 0 has no bit.
$$;
comment on column track.presence.event_count is $$
Number of events of the people of the block who are not in the set `excluded`.
$$;
comment on column track.presence.counted_count is $$
Number of events of the people of the block who are in the set `counted`.
$$;

create table track.item_month (
  item_id bigint not null references track.item,
  month date not null,
  part int not null check (part >= 0),
  people smallint[] not null check (cardinality(people) > 0),
  days int[] not null check (cardinality(days) = cardinality(people)),
  event_count int not null,
  engaged interval not null,
  primary key (item_id, month, part)
)
with (fillfactor = 80);

comment on table track.item_month is $$
@behavior -*
The people with events or page views of an item in a month, with the days, and sums.
Items that it contains are not included. Maintained by `track.refresh_sessions`.
$$;
comment on column track.item_month.item_id is $$Item.$$;
comment on column track.item_month.month is $$First day of the month, UTC.$$;
comment on column track.item_month.part is $$Number of the part of the people: `person_id / 32768`.$$;
comment on column track.item_month.people is $$
People of the part: `person_id % 32768`, ascending. Person 0 (anonymized events) is not contained.
$$;
comment on column track.item_month.days is $$
Days of the month of each person: `1 << (day - 1)` for each day, combined by `|`.
$$;
comment on column track.item_month.event_count is $$Number of events of the people in the set `counted`.$$;
comment on column track.item_month.engaged is $$Engaged time of the people in the set `counted`.$$;

create table track.item_day (
  day date not null,
  item_id bigint not null,
  with_parts boolean not null,
  event_count int not null,
  person_count int not null check (person_count > 0),
  engaged interval not null,
  primary key (with_parts, day, item_id)
);

comment on table track.item_day is $$
@behavior -*
Events, people and engaged time of an item on a day, of the people in the set `counted`.
Maintained by `track.refresh_sessions`.
$$;
comment on column track.item_day.day is $$Day, UTC.$$;
comment on column track.item_day.item_id is $$Item.$$;
comment on column track.item_day.with_parts is $$
Whether the items that it contains are included. Courses have a row with and one without them, other items one without.
$$;
comment on column track.item_day.event_count is $$Number of events.$$;
comment on column track.item_day.person_count is $$Number of people with events or page views.$$;
comment on column track.item_day.engaged is $$
Engaged time of the page views that were opened or continued on the day.
$$;

create table track.course_presence (
  item_id bigint not null references track.item,
  month date not null,
  block int not null check (block >= 0),
  people bit(4096) not null check (bit_count(people) > 0),
  members smallint[] not null check (cardinality(members) = bit_count(people)),
  days int[] not null check (cardinality(days) = cardinality(members)),
  primary key (item_id, month, block)
);

comment on table track.course_presence is $$
@behavior -*
The people with events or page views of a course, or of an item it contains, in a month: one bit per person, and days.
Whole months are read from the bits, parts of months from the days.
Maintained by `track.refresh_sessions`. Courses in `track.stale_course` are out of
date.
$$;
comment on column track.course_presence.item_id is $$Course: an item of the kind `course`.$$;
comment on column track.course_presence.month is $$First day of the month, UTC.$$;
comment on column track.course_presence.block is $$Number of the block: `person_id / 4096`.$$;
comment on column track.course_presence.people is $$
One bit per person of the block; bit 0, the leftmost, is the person `block * 4096`. Person 0 has no bit.
$$;
comment on column track.course_presence.members is $$
These people: `person_id % 4096`, ascending.
$$;
comment on column track.course_presence.days is $$
Days of the month of each of them: `1 << (day - 1)` for each day, combined by `|`.
$$;

create table track.item_transition (
  month date not null,
  source_item_id bigint not null,
  target_item_id bigint not null,
  transition_count bigint not null check (transition_count > 0),
  person_count int not null check (person_count > 0),
  elapsed bigint not null,
  primary key (month, source_item_id, target_item_id)
)
with (fillfactor = 80);

comment on table track.item_transition is $$
@behavior -*
Transitions between items that were viewed in succession in a session, by month, of the people in the set `counted`.
Views that continue from an earlier session, and those without an item, are left out, as are transitions from an item to
itself. Months in `track.stale_transition_month` are out of date. Maintained by `track.refresh_sessions`.
$$;
comment on column track.item_transition.month is $$
First day of the month (UTC) in which the session started.
$$;
comment on column track.item_transition.source_item_id is $$Item that was viewed first.$$;
comment on column track.item_transition.target_item_id is $$Item that was viewed next.$$;
comment on column track.item_transition.transition_count is $$Number of transitions.$$;
comment on column track.item_transition.person_count is $$Number of distinct people in the month.$$;
comment on column track.item_transition.elapsed is $$
Sum of the times from the start of the view of the source to that of the target, in microseconds.
$$;

create table track.stale_transition_month (month date primary key);

comment on table track.stale_transition_month is $$
@behavior -*
Months whose transitions are recomputed by the next refresh, such as all months after an upgrade.
Consumed by `track.refresh`, one month per call.
$$;
comment on column track.stale_transition_month.month is $$First day of the month, UTC.$$;

create table track.stale_course (
  item_id bigint not null references track.item,
  stale_id uuid not null default gen_random_uuid(),
  primary key (item_id, stale_id)
);

comment on table track.stale_course is $$
@behavior -*
Courses whose presence is out of date, because the items that they contain changed, or their kind.
Append-only, so that writers never wait for a refresh. Consumed by `track.refresh_sessions`.
$$;
comment on column track.stale_course.item_id is $$Item that is, or was, a course.$$;
comment on column track.stale_course.stale_id is $$Key of the row.$$;

/* ---------------------------------------------------------------------------------------- declared properties -- */

create table track.declared_property (
  property_id int generated always as identity primary key,
  event_type_id int not null references track.event_type,
  property text not null check (length(property) between 1 and 200),
  most_values int not null check (most_values between 1 and 1000),
  is_queued boolean not null default false,
  declared_at timestamptz not null default now(),
  unique (event_type_id, property)
);

comment on table track.declared_property is $$
Properties of events whose values are maintained for analyses: see `track.declare_property`.
A merge of event types copies the declarations to the target.
$$;
comment on column track.declared_property.property_id is $$Key of the declared property.$$;
comment on column track.declared_property.event_type_id is $$Event type; of a merged one, no events are left.$$;
comment on column track.declared_property.property is $$Name of the property: a key of `track.event.properties`.$$;
comment on column track.declared_property.most_values is $$
Number of values that analyses show; the rest is `other`.
$$;
comment on column track.declared_property.is_queued is $$
Whether the people with such events were queued (`track.stale_property`): from then on the values are maintained.
$$;
comment on column track.declared_property.declared_at is $$Time of the declaration.$$;

create table track.stale_property (
  person_id bigint not null,
  property_id int not null references track.declared_property,
  primary key (person_id, property_id)
);

create index stale_property_property on track.stale_property (property_id);

comment on table track.stale_property is $$
@behavior -*
People whose values of a declared property are not stored yet. Emptied by `track.refresh` (step `track.property`).
The tables of values contain nothing of the person and the property until then.
$$;
comment on column track.stale_property.person_id is $$Person with events of the type; 0 for anonymized events.$$;
comment on column track.stale_property.property_id is $$Declared property.$$;

create table track.property_value (
  value_id int generated always as identity primary key,
  property_id int not null references track.declared_property,
  value text not null check (length(value) <= 200),
  unique (property_id, value)
);

comment on table track.property_value is $$
@behavior -*
The values of declared properties, each with a key that it keeps. A value is removed with the last event that has it.
$$;
comment on column track.property_value.value_id is $$Key of the value, above 0.$$;
comment on column track.property_value.property_id is $$Declared property.$$;
comment on column track.property_value.value is $$
Text of the value, its first 200 characters: a string, or anything else as in JSON. 1 and "1" are one value.
$$;

create table track.step_value (
  person_id bigint not null,
  property_id int not null,
  is_automatic boolean not null,
  since date not null,
  value_ids int[] not null,
  primary key (person_id, property_id, is_automatic, since)
)
with (fillfactor = 80);

comment on table track.step_value is $$
@behavior -*
The values of a declared property in the journeys of people: beside each row of `track.step` of the event type.
There is no row when none of the events has a value. Events of the same time and item are in the order of their values.
$$;
comment on column track.step_value.person_id is $$Person; 0 for anonymized events.$$;
comment on column track.step_value.property_id is $$Declared property.$$;
comment on column track.step_value.is_automatic is $$As in `track.step`.$$;
comment on column track.step_value.since is $$As in `track.step`.$$;
comment on column track.step_value.value_ids is $$
Value of each event of `track.step.occurred_at`: a key of `track.property_value`, or 0 for an event without a value.
$$;

create table track.value_presence (
  property_id int not null references track.declared_property,
  value_id int not null,
  day date not null,
  part int not null check (part >= 0),
  people bit(16384) not null,
  event_count int not null check (event_count >= 0),
  counted_count int not null check (counted_count >= 0),
  primary key (property_id, value_id, day, part),
  check (bit_count(people) > 0 or event_count > 0)
);

-- Most of these bits are 0. A row above 2 kB is compressed, and stays in its page.
alter table track.value_presence alter column people set storage main;

comment on table track.value_presence is $$
@behavior -*
The people with events with a value of a declared property on a day, one bit per person, and the number of events.
Read by `track.value_days`. Maintained by `track.refresh_sessions`, as `track.presence` is.
$$;
comment on column track.value_presence.property_id is $$Declared property.$$;
comment on column track.value_presence.value_id is $$Value, or 0, as in `track.step_value`.$$;
comment on column track.value_presence.day is $$Day, UTC.$$;
comment on column track.value_presence.part is $$Number of the part of people: `person_id / 16384`, four blocks.$$;
comment on column track.value_presence.people is $$
One bit per person of the part; bit 0, the leftmost, is the person `part * 16384`. Person 0 has no bit.
$$;
comment on column track.value_presence.event_count is $$
Number of events of the people of the part who are not in the set `excluded`.
$$;
comment on column track.value_presence.counted_count is $$
Number of events of the people of the part who are in the set `counted`.
$$;

/* ------------------------------------------------------------------------------------------ checks of rollups -- */

create table track.rollup_check (
  check_id bigint not null,
  rollup text not null,
  checked_at timestamptz not null,
  month date not null,
  block int not null,
  day date,
  checked int not null,
  differing int not null check (differing between 0 and checked),
  example text,
  duration interval not null,
  primary key (check_id, rollup)
);

comment on table track.rollup_check is $$
@behavior -*
Results of `track.check_rollups`, one row per check and rollup, of the last 10,000 checks.
$$;
comment on column track.rollup_check.check_id is $$Number of the check, ascending with time.$$;
comment on column track.rollup_check.rollup is $$
Table that was compared with the events; `track.item_month sums` are its columns `event_count` and `engaged`.
$$;
comment on column track.rollup_check.checked_at is $$Time of the check.$$;
comment on column track.rollup_check.month is $$First day of the month that was compared (UTC).$$;
comment on column track.rollup_check.block is $$
Number of the block of people that was compared: `person_id / 4096`. Sums contain the people of all blocks.
$$;
comment on column track.rollup_check.day is $$Day that was compared (UTC), for `track.item_day`; null for others.$$;
comment on column track.rollup_check.checked is $$Number of cells that were compared.$$;
comment on column track.rollup_check.differing is $$
Number of cells that differed from the events, and were written again.
$$;
comment on column track.rollup_check.example is $$Keys of one of the cells that differed; null when none did.$$;
comment on column track.rollup_check.duration is $$Duration of the check.$$;

create index rollup_check_day on track.rollup_check (day, check_id) where day is not null;
create index rollup_check_differing on track.rollup_check (checked_at) where differing > 0;

/* ----------------------------------------------------------------------------------------------------- types -- */

create type track.ingest_result as (accepted int, duplicates int, rejected int, errors jsonb);

comment on type track.ingest_result is $$
Result of a batch: numbers of messages, and an error for each rejected one.
$$;
comment on column track.ingest_result.accepted is $$Number of messages that were stored.$$;
comment on column track.ingest_result.duplicates is $$
Number of messages that were stored before, or are repeated in the batch.
$$;
comment on column track.ingest_result.rejected is $$Number of messages that were rejected with an error.$$;
comment on column track.ingest_result.errors is $$
List of `{index, messageId, code, message, hint}`, one per rejected message; `index` counts from 0.
$$;

create type track.new_write_key as (key_id int, write_key text, source text, level text);

comment on type track.new_write_key is $$
A write key at its creation, the only time that it is returned.
$$;
comment on column track.new_write_key.key_id is $$Key of the row in `track.write_key`.$$;
comment on column track.new_write_key.write_key is $$The key, which clients send.$$;
comment on column track.new_write_key.source is $$Name of the source.$$;
comment on column track.new_write_key.level is $$Level of the source.$$;

create type track.open_write_key as (key_id int, source text, level text, requests_per_minute int);

comment on type track.open_write_key is $$
A write key that may be used, with the source of its messages.
$$;
comment on column track.open_write_key.key_id is $$Key of the row in `track.write_key`.$$;
comment on column track.open_write_key.source is $$Name of the source.$$;
comment on column track.open_write_key.level is $$Level of the source.$$;
comment on column track.open_write_key.requests_per_minute is $$
Maximum rate of requests, in each process of the API.
$$;

create type track.refused_messages as (day date, source text, level text, code text, messages bigint);

comment on type track.refused_messages is $$
Number of refused messages of a source, with an error code, on a day.
$$;
comment on column track.refused_messages.day is $$Day of arrival (UTC).$$;
comment on column track.refused_messages.source is $$Name of the source.$$;
comment on column track.refused_messages.level is $$Level of the source.$$;
comment on column track.refused_messages.code is $$Code of the error, such as `CF001`.$$;
comment on column track.refused_messages.messages is $$Number of messages.$$;

create type track.problem as (code text, message text, hint text);

comment on type track.problem is $$
Error of a message: the reason why it is rejected.
$$;
comment on column track.problem.code is $$SQLSTATE of the class `CF`.$$;
comment on column track.problem.message is $$Message of the error, with the invalid value.$$;
comment on column track.problem.hint is $$Hint: the valid values.$$;

create type track.message_batch as (messages jsonb, sent_at text, context jsonb);

comment on type track.message_batch is $$
A batch in a uniform format: a list of messages, and the fields that apply to all of them.
$$;
comment on column track.message_batch.messages is $$List of messages.$$;
comment on column track.message_batch.sent_at is $$
`sentAt` of the batch, for messages without one; null when not given.
$$;
comment on column track.message_batch.context is $$
Consent, page and time zone of the `context` of the batch; null when not given.
$$;

create type track.message_request as (
  messages int,
  person text,
  browser uuid,
  sends_gpc boolean,
  sends_dnt boolean,
  user_agent text
);

comment on type track.message_request is $$
A request whose messages are in a batch. The API stores messages of several requests by one call.
$$;
comment on column track.message_request.messages is $$
Number of its messages, which are next to each other in the batch; null when all of them are.
$$;
comment on column track.message_request.person is $$
The `userId` that a signed-in person may send; null for other senders.
$$;
comment on column track.message_request.browser is $$
Hash of the signed cookie of the calling browser; null without one.
$$;
comment on column track.message_request.sends_gpc is $$Whether it has the opt-out signal `gpc` (header Sec-GPC).$$;
comment on column track.message_request.sends_dnt is $$Whether it has the opt-out signal `dnt` (header DNT).$$;
comment on column track.message_request.user_agent is $$
User agent of the request, for messages without one; null unless it is that of a browser.
It is null for servers, which send the messages of others.
$$;

create type track.message_sender as (
  is_trusted boolean,
  oldest timestamptz,
  newest timestamptz,
  longest_message int,
  level text,
  source_id smallint,
  clock_tolerance interval,
  path_rule text[],
  kept_parameters text[],
  allowed_properties text[],
  allowed_traits text[],
  personal_data text,
  contact_traits text[],
  agent_properties text[],
  bots text,
  requests track.message_request[]
);

comment on type track.message_sender is $$
Permissions and limits of the sender of a batch.
$$;
comment on column track.message_sender.is_trusted is $$
Whether the sender is a server, which may send events of any person and describe items.
$$;
comment on column track.message_sender.oldest is $$Time of the oldest event that is accepted.$$;
comment on column track.message_sender.newest is $$Time of the newest event that is accepted.$$;
comment on column track.message_sender.longest_message is $$Maximum size of a message, in bytes of JSON text.$$;
comment on column track.message_sender.level is $$Level of trust: see `track.source.level`.$$;
comment on column track.message_sender.source_id is $$Source of the messages.$$;
comment on column track.message_sender.clock_tolerance is $$
Time by which `sentAt` may be before the arrival without a correction.
$$;
comment on column track.message_sender.path_rule is $$Path rule of the source: see `track.setting.path_rule`.$$;
comment on column track.message_sender.kept_parameters is $$
Kept parameters of the source: see `track.setting.kept_parameters`.
$$;
comment on column track.message_sender.allowed_properties is $$As `track.setting.allowed_properties`.$$;
comment on column track.message_sender.allowed_traits is $$As `track.setting.allowed_traits`.$$;
comment on column track.message_sender.personal_data is $$As `track.setting.personal_data`.$$;
comment on column track.message_sender.contact_traits is $$As `track.setting.contact_traits`.$$;
comment on column track.message_sender.agent_properties is $$As `track.setting.agent_properties`.$$;
comment on column track.message_sender.bots is $$As `track.setting.bots`.$$;
comment on column track.message_sender.requests is $$The requests of the batch, in the order of its messages.$$;

create type track.message_fields as (
  position int,
  message jsonb,
  is_extreme boolean,
  type text,
  message_id text,
  user_id text,
  anonymous_id text,
  previous_id text,
  event text,
  name jsonb,
  properties jsonb,
  traits jsonb,
  context jsonb,
  original_timestamp text,
  sent_at_text text,
  original_at timestamptz,
  sent_at timestamptz,
  received_at timestamptz,
  occurred_at timestamptz,
  caller text,
  browser uuid,
  sends_gpc boolean,
  sends_dnt boolean,
  user_agent text
);

comment on type track.message_fields is $$
The fields of a message as they were sent, before validation. JSON null is null.
$$;
comment on column track.message_fields.position is $$Position in the batch, from 0.$$;
comment on column track.message_fields.message is $$The message, of any JSON type.$$;
comment on column track.message_fields.is_extreme is $$
Whether the message contains a number beyond double precision; its fields are then not read.
$$;
comment on column track.message_fields.type is $$Type of the message.$$;
comment on column track.message_fields.message_id is $$Id of the message, as sent by the client.$$;
comment on column track.message_fields.user_id is $$The `userId`; null when empty.$$;
comment on column track.message_fields.anonymous_id is $$The `anonymousId`; null when empty.$$;
comment on column track.message_fields.previous_id is $$The `previousId`; null when empty.$$;
comment on column track.message_fields.event is $$Name of the event.$$;
comment on column track.message_fields.name is $$Name of the page or screen, of any JSON type.$$;
comment on column track.message_fields.properties is $$Properties, of any JSON type.$$;
comment on column track.message_fields.traits is $$Traits, of any JSON type.$$;
comment on column track.message_fields.context is $$Context, with that of the batch.$$;
comment on column track.message_fields.original_timestamp is $$`originalTimestamp`, or else `timestamp`.$$;
comment on column track.message_fields.sent_at_text is $$`sentAt` of the message, or else of the batch.$$;
comment on column track.message_fields.original_at is $$Time in `original_timestamp`; null when it is not ISO 8601.$$;
comment on column track.message_fields.sent_at is $$Time in `sent_at_text`; null when it is not ISO 8601.$$;
comment on column track.message_fields.received_at is $$
Time of arrival of the batch, or the one that a trusted sender gives.
$$;
comment on column track.message_fields.occurred_at is $$Time of the event, corrected for the clock of the client.$$;
comment on column track.message_fields.caller is $$As `track.message_request.person`.$$;
comment on column track.message_fields.browser is $$As `track.message_request.browser`.$$;
comment on column track.message_fields.sends_gpc is $$As `track.message_request.sends_gpc`.$$;
comment on column track.message_fields.sends_dnt is $$As `track.message_request.sends_dnt`.$$;
comment on column track.message_fields.user_agent is $$As `track.message_request.user_agent`.$$;

create type track.parsed_message as (
  position int,
  type text,
  message_id text,
  message_hash uuid,
  identity_kind text,
  external_id text,
  anonymous_id text,
  previous_id text,
  event_name text,
  item text,
  item_kind text,
  item_title text,
  item_parent text,
  item_url text,
  occurred_at timestamptz,
  received_at timestamptz,
  properties jsonb,
  traits jsonb,
  preferences jsonb,
  opts_out boolean,
  problem track.problem,
  client_at timestamptz,
  is_claim boolean,
  birth_date date,
  user_agent text,
  agent_hints jsonb,
  caller text,
  browser uuid,
  sends_gpc boolean,
  sends_dnt boolean
);

comment on type track.parsed_message is $$
A message of a batch during its processing by `track.ingest`.
$$;
comment on column track.parsed_message.position is $$Position in the batch, from 0.$$;
comment on column track.parsed_message.type is $$`track`, `page`, `screen`, `identify`, `alias` or `group`.$$;
comment on column track.parsed_message.message_id is $$Id of the message, as sent by the client.$$;
comment on column track.parsed_message.message_hash is $$
First 128 bits of the SHA-256 hash of the id; null for a message with a problem.
$$;
comment on column track.parsed_message.identity_kind is $$
`user`, `anonymous`, or `none` for a message that is anonymized.
$$;
comment on column track.parsed_message.external_id is $$Name of the person: `userId`, or else `anonymousId`.$$;
comment on column track.parsed_message.anonymous_id is $$
The `anonymousId`, also when there is a `userId`; null when there is none.
$$;
comment on column track.parsed_message.previous_id is $$
Name that an `alias` message replaces; null for other messages.
$$;
comment on column track.parsed_message.event_name is $$Name of the event type; null for messages that are not events.$$;
comment on column track.parsed_message.item is $$External id of the item; null when there is none.$$;
comment on column track.parsed_message.item_kind is $$Kind of the item; null unless the sender may describe items.$$;
comment on column track.parsed_message.item_title is $$Title of the item; null unless the sender may describe items.$$;
comment on column track.parsed_message.item_parent is $$
External id of the parent of the item; null unless the sender may describe items.
$$;
comment on column track.parsed_message.item_url is $$URL of the item; null unless the sender may describe items.$$;
comment on column track.parsed_message.occurred_at is $$Time of the event, corrected for the clock of the client.$$;
comment on column track.parsed_message.received_at is $$Time of arrival.$$;
comment on column track.parsed_message.properties is $$Properties of the event; null when there are none.$$;
comment on column track.parsed_message.traits is $$Traits of the person; null when there are none.$$;
comment on column track.parsed_message.preferences is $$
Purposes with true or false, as given in the message; of any JSON type.
$$;
comment on column track.parsed_message.opts_out is $$Whether the message has a Global Privacy Control signal.$$;
comment on column track.parsed_message.problem is $$Error of the message; null when it is valid.$$;
comment on column track.parsed_message.client_at is $$Time of the client; null when it is that of the event.$$;
comment on column track.parsed_message.is_claim is $$
Of `identify`: whether the sender did not prove that the browser is hers; null for other messages.
$$;
comment on column track.parsed_message.birth_date is $$
Date of birth of the user: the trait `birthday` of `identify` of a trusted sender; null otherwise.
$$;
comment on column track.parsed_message.user_agent is $$
User agent that the message states, or else that of its request; null without one, and from `track._minimise` on.
$$;
comment on column track.parsed_message.agent_hints is $$
Client hints of the message (`context.userAgentData`); null when none are given, and from `track._minimise` on.
$$;
comment on column track.parsed_message.caller is $$As `track.message_request.person`.$$;
comment on column track.parsed_message.browser is $$As `track.message_request.browser`.$$;
comment on column track.parsed_message.sends_gpc is $$As `track.message_request.sends_gpc`.$$;
comment on column track.parsed_message.sends_dnt is $$As `track.message_request.sends_dnt`.$$;

create type track.user_agent as (browser text, browser_version int, os text, device text, is_bot boolean);

comment on type track.user_agent is $$
Browser and device of a user agent, as `track.parse_user_agent` returns them.
$$;
comment on column track.user_agent.browser is $$Family of the browser, such as `Firefox`; null when unknown.$$;
comment on column track.user_agent.browser_version is $$Major version of the browser; null when unknown.$$;
comment on column track.user_agent.os is $$Operating system, without a version; null when unknown.$$;
comment on column track.user_agent.device is $$`desktop`, `mobile`, `tablet`, `bot` or `other`.$$;
comment on column track.user_agent.is_bot is $$Whether it is that of a program.$$;

create type track.finding as (event_name text, property text, kind text, found int);

comment on type track.finding is $$
Values that were found in a message, or dropped of it, as a number.
$$;
comment on column track.finding.event_name is $$Name of the event; null for `identify` and such.$$;
comment on column track.finding.property is $$Path of the property.$$;
comment on column track.finding.kind is $$As `track.found_data.kind`.$$;
comment on column track.finding.found is $$Number of values.$$;

create type track.data_finding as (
  event text,
  property text,
  kind text,
  found bigint,
  first_day date,
  last_day date
);

comment on type track.data_finding is $$
Values of a property that were found or dropped at their arrival, as a number.
$$;
comment on column track.data_finding.event is $$Name of the event; null for traits.$$;
comment on column track.data_finding.property is $$
Path of the property, such as `properties.form.comment`, `traits.note` or `context.page`.
$$;
comment on column track.data_finding.kind is $$`e-mail`, `phone`, `ip`, `user_agent` or `not_allowed`.$$;
comment on column track.data_finding.found is $$Number of values.$$;
comment on column track.data_finding.first_day is $$First day of arrival, UTC.$$;
comment on column track.data_finding.last_day is $$Last day of arrival, UTC.$$;

create type track.withheld_message as (position int, purpose text, is_refused boolean);

comment on type track.withheld_message is $$
A message that may not be stored with its person.
$$;
comment on column track.withheld_message.position is $$Position in the batch, from 0.$$;
comment on column track.withheld_message.purpose is $$Purpose of the event type.$$;
comment on column track.withheld_message.is_refused is $$True: the message is rejected. False: it is anonymized.$$;

create type track.refresh_result as (people int, sessions int, page_views int);

comment on type track.refresh_result is $$
Numbers of rows that a call of `track.refresh_sessions` recomputed. `people` is 0 when the queue is empty.
$$;
comment on column track.refresh_result.people is $$Number of people that were processed; 0 when the queue is empty.$$;
comment on column track.refresh_result.sessions is $$Number of sessions that were computed.$$;
comment on column track.refresh_result.page_views is $$Number of page views that were computed.$$;

create type track.refreshed as (step text, people int, failed int, error text);

comment on type track.refreshed is $$
Result of a step of `track.refresh`.
$$;
comment on column track.refreshed.step is $$`track.name`, `track.session`, or a consumer.$$;
comment on column track.refreshed.people is $$Number of people that were refreshed.$$;
comment on column track.refreshed.failed is $$Number of people whose refresh failed; they stay queued.$$;
comment on column track.refreshed.error is $$Error of one of these people; null when none failed.$$;

create type track.activity as (
  person_id bigint,
  day date,
  event_type_id int,
  item_id bigint,
  event_count int,
  engaged interval,
  automatic_count int
);

comment on type track.activity is $$
Activity of a person on a day (UTC) with an item: events of a type, or page views.
$$;
comment on column track.activity.person_id is $$Person; 0 for anonymized events.$$;
comment on column track.activity.day is $$Day, UTC.$$;
comment on column track.activity.event_type_id is $$Event type; 0 for page views.$$;
comment on column track.activity.item_id is $$Item; null when there is none.$$;
comment on column track.activity.event_count is $$Number of events; 0 for page views.$$;
comment on column track.activity.engaged is $$
Engaged time of the page views that were opened or continued on the day; 0 for events.
$$;
comment on column track.activity.automatic_count is $$
Number of these events that are of an automatic type or source: not an activity of the person.
$$;

create type track.transition as (
  person_id bigint,
  month date,
  source_item_id bigint,
  target_item_id bigint,
  transition_count int,
  elapsed bigint
);

comment on type track.transition is $$
Transitions of a person between two items in a month.
$$;
comment on column track.transition.person_id is $$Person.$$;
comment on column track.transition.month is $$First day of the month (UTC) in which the session started.$$;
comment on column track.transition.source_item_id is $$Item that was viewed first.$$;
comment on column track.transition.target_item_id is $$Item that was viewed next.$$;
comment on column track.transition.transition_count is $$Number of transitions.$$;
comment on column track.transition.elapsed is $$
Sum of the times from the start of the view of the source to that of the target, in microseconds.
$$;

create type track.value_activity as (person_id bigint, day date, property_id int, value_id int, event_count int);

comment on type track.value_activity is $$
Events of a person on a day (UTC) with a value of a declared property.
$$;
comment on column track.value_activity.person_id is $$Person; 0 for anonymized events.$$;
comment on column track.value_activity.day is $$Day, UTC.$$;
comment on column track.value_activity.property_id is $$Declared property.$$;
comment on column track.value_activity.value_id is $$Value, as in `track.step_value`.$$;
comment on column track.value_activity.event_count is $$Number of events.$$;

create type track.rollup_comparison as (checked int, differing int, example text, items bigint[]);

comment on type track.rollup_comparison is $$
Result of comparing cells of a rollup with the events.
$$;
comment on column track.rollup_comparison.checked is $$Number of cells that were compared.$$;
comment on column track.rollup_comparison.differing is $$Number of cells that differ.$$;
comment on column track.rollup_comparison.example is $$Keys of one of them; null when there is none.$$;
comment on column track.rollup_comparison.items is $$
Items of cells that differ, at most 1000, whose sums are compared too; null for other rollups.
$$;

create type track.rollup_trust as (
  rollup text,
  checked bigint,
  differing bigint,
  score float8,
  checked_at timestamptz,
  differed_at timestamptz
);

comment on type track.rollup_trust is $$
Trust score of a rollup: how much of what was compared agreed with the events.
$$;
comment on column track.rollup_trust.rollup is $$Rollup, as in `track.rollup_check`; `all` for all of them.$$;
comment on column track.rollup_trust.checked is $$Number of cells that were compared.$$;
comment on column track.rollup_trust.differing is $$Number of cells that differed, and were written again.$$;
comment on column track.rollup_trust.score is $$
Share of the compared cells that agreed, from 0 to 1; null when none was compared.
$$;
comment on column track.rollup_trust.checked_at is $$Time of the last check.$$;
comment on column track.rollup_trust.differed_at is $$Time of the last check with a difference; null without one.$$;

create type track.rollup_turn as (checks bigint, duration interval);

comment on type track.rollup_turn is $$
Work of comparing all rollups with the events once.
$$;
comment on column track.rollup_turn.checks is $$Number of checks: months times blocks of 4,096 people.$$;
comment on column track.rollup_turn.duration is $$
Time that they take, estimated from the latest checks; null before the first one.
$$;

create type track.sync_result as (inserted int, updated int, unchanged int);

comment on type track.sync_result is $$
Numbers of rows that a sync function read from the table of the application.
$$;
comment on column track.sync_result.inserted is $$Number of new rows.$$;
comment on column track.sync_result.updated is $$Number of changed rows.$$;
comment on column track.sync_result.unchanged is $$Number of unchanged rows.$$;

create type track.taught_course as (
  course text,
  title text,
  role text,
  started_at timestamptz,
  ended_at timestamptz
);

comment on type track.taught_course is $$
A course that the signed-in person teaches now.
$$;
comment on column track.taught_course.course is $$External id of the course.$$;
comment on column track.taught_course.title is $$Title of the course; null when unknown.$$;
comment on column track.taught_course.role is $$
`instructor` or `assistant`: the role in the course, or in an item that contains it.
$$;
comment on column track.taught_course.started_at is $$Time from which the person has the role; null: no limit.$$;
comment on column track.taught_course.ended_at is $$
Time until which the person has the role, exclusive; null: no limit.
$$;

create type track.action as (
  session_id uuid,
  action_number int,
  occurred_at timestamptz,
  event text,
  item text,
  item_kind text,
  item_title text,
  since_previous interval,
  properties jsonb
);

comment on type track.action is $$
An event in the journey of a person, with its session and the time since the previous event.
$$;
comment on column track.action.session_id is $$
Session; null until the next refresh of the sessions, and for events of an automatic type or source.
$$;
comment on column track.action.action_number is $$
Number of the action within the session, from 1; null for events of an automatic type or source.
$$;
comment on column track.action.occurred_at is $$Time of the event.$$;
comment on column track.action.event is $$Name of the event.$$;
comment on column track.action.item is $$External id of the item; null when there is none.$$;
comment on column track.action.item_kind is $$Kind of the item; null when there is none.$$;
comment on column track.action.item_title is $$Title of the item; null when there is none.$$;
comment on column track.action.since_previous is $$
Time since the previous action of the session; null for the first one, and for events of an automatic type or source.
$$;
comment on column track.action.properties is $$Further properties of the message; null when there are none.$$;

/* ------------------------------------------------------------------------------------------------- distribution -- */

/* --------------------------------------------------------------------------------------------------- statements -- */

create table track.statement (
  source_id smallint not null references track.source,
  statement_id uuid not null,
  stored_at timestamptz not null,
  statement jsonb not null check (jsonb_typeof(statement) = 'object'),
  keys bigint[] not null,
  people bigint[] not null,
  reference_id uuid,
  is_voiding boolean not null default false,
  is_voided boolean not null default false,
  bytes int not null,
  attachment_bytes int not null default 0,
  occurred_at timestamptz,
  event_ids uuid[] not null default '{}',
  identity_ids bigint[] not null default '{}' check (cardinality(identity_ids) = cardinality(event_ids)),
  primary key (source_id, statement_id)
);

comment on table track.statement is $$
@behavior -*
Statements of xAPI clients as they were sent, for these to read them back; their events are in `track.event`.
Only the source that sent a statement reads it. Statements of a person are deleted with her; in those of others, she is
replaced.
$$;
comment on column track.statement.source_id is $$Source of the statement.$$;
comment on column track.statement.statement_id is $$Id of the statement, unique within its source.$$;
comment on column track.statement.stored_at is $$
Time at which it was stored. The statements of a source are committed in the order of this time, which is unique.
$$;
comment on column track.statement.statement is $$The statement, with its `stored`, `authority` and `version`.$$;
comment on column track.statement.keys is $$
Hashes of what it is found by: agents, activities, verb, registration and attachments (`track._statement_keys`).
$$;
comment on column track.statement.people is $$
Hashes of the names of all people that it names (`track._people_keys`); those of its actors a second time.
$$;
comment on column track.statement.reference_id is $$Statement that it refers to; null when its object is another.$$;
comment on column track.statement.is_voiding is $$Whether it voids the statement that it refers to.$$;
comment on column track.statement.is_voided is $$Whether another one has voided it. Its events are deleted then.$$;
comment on column track.statement.bytes is $$Length of its JSON text in bytes.$$;
comment on column track.statement.attachment_bytes is $$Length of its attachments in bytes.$$;
comment on column track.statement.occurred_at is $$Time of its events; null when it has none.$$;
comment on column track.statement.event_ids is $$Its events: one per person; none where it voids another one.$$;
comment on column track.statement.identity_ids is $$Identities of its events.$$;

create unique index statement_stored on track.statement (source_id, stored_at);
create index statement_keys on track.statement using gin (keys);
create index statement_people on track.statement using gin (people);
create index statement_references on track.statement (source_id, reference_id) where reference_id is not null;

create table track.statement_attachment (
  source_id smallint not null references track.source,
  hash bytea not null check (length(hash) between 28 and 64),
  contents bytea not null,
  stored_at timestamptz not null default now(),
  primary key (source_id, hash)
);

comment on table track.statement_attachment is $$
@behavior -*
Contents of attachments of statements, one row per source and contents. Deleted with the last statement that has them.
$$;
comment on column track.statement_attachment.source_id is $$Source of the statements.$$;
comment on column track.statement_attachment.hash is $$SHA-2 of the contents: `sha2` of the statement.$$;
comment on column track.statement_attachment.contents is $$Contents of the attachment.$$;
comment on column track.statement_attachment.stored_at is $$Time at which it was stored.$$;

create table track.client_document (
  source_id smallint not null references track.source,
  document_hash uuid not null,
  kind text not null check (kind in ('state', 'agent', 'activity')),
  scope bigint not null,
  person bigint,
  registration uuid,
  place jsonb not null check (jsonb_typeof(place) = 'object'),
  content_type text not null check (length(content_type) <= 200),
  contents bytea not null,
  updated_at timestamptz not null,
  primary key (source_id, document_hash)
);

comment on table track.client_document is $$
@behavior -*
Documents that xAPI clients keep: the state of an activity for a person, and profiles of people and activities.
Only the source that stored a document reads it. Documents of a person are deleted with her.
$$;
comment on column track.client_document.source_id is $$Source of the document.$$;
comment on column track.client_document.document_hash is $$Hash of its place.$$;
comment on column track.client_document.kind is $$`state`, `agent` or `activity` (profiles).$$;
comment on column track.client_document.scope is $$Hash of activity and person, by which documents are listed.$$;
comment on column track.client_document.person is $$
Hash of the name of the person (`track._people_keys`); null for the profile of an activity.
$$;
comment on column track.client_document.registration is $$Registration of a state; null when it has none.$$;
comment on column track.client_document.place is $$
The `activity`, `agent`, `registration` and `id` with which the client reads it.
$$;
comment on column track.client_document.content_type is $$Media type that the client stated.$$;
comment on column track.client_document.contents is $$The document.$$;
comment on column track.client_document.updated_at is $$Time of its last change.$$;

create index client_document_scope on track.client_document (source_id, scope, updated_at);
create index client_document_person on track.client_document (person) where person is not null;

create type track.statement_page as (statements jsonb, next text, consistent_through timestamptz);

comment on type track.statement_page is $$
A page of statements, as `track.statements` returns it.
$$;
comment on column track.statement_page.statements is $$List of statements, in the order of the query.$$;
comment on column track.statement_page.next is $$Start of the next page; null when this is the last one.$$;
comment on column track.statement_page.consistent_through is $$
Time before which no further statement of the source will be stored.
$$;

create type track.attachment as (sha2 text, contents bytea);

comment on type track.attachment is $$
An attachment of a statement.
$$;
comment on column track.attachment.sha2 is $$SHA-2 of the contents, in hexadecimal.$$;
comment on column track.attachment.contents is $$Contents of the attachment.$$;

create type track.document as (content_type text, contents bytea, updated_at timestamptz);

comment on type track.document is $$
A document of an xAPI client.
$$;
comment on column track.document.content_type is $$Media type that the client stated.$$;
comment on column track.document.contents is $$The document.$$;
comment on column track.document.updated_at is $$Time of its last change.$$;

create table track.distribution (
  schema_name text not null,
  table_name text not null,
  column_name text not null,
  colocated_with text,
  description text not null,
  primary key (schema_name, table_name)
);

comment on table track.distribution is $$
@behavior -*
Large tables that Citus can distribute over several servers, with the distribution column of each.
Every room registers its own tables. All keys of such a table contain the column; `test/sql/distribution.test.ts`
lists the rules for functions that read it.
$$;
comment on column track.distribution.schema_name is $$Schema of the table.$$;
comment on column track.distribution.table_name is $$Name of the table.$$;
comment on column track.distribution.column_name is $$
Distribution column: its value determines the server that stores a row.
$$;
comment on column track.distribution.colocated_with is $$
Table, as `schema.table`, with which the table is colocated.
Null when other tables refer to this one, or when it is distributed separately.
$$;
comment on column track.distribution.description is $$
Contents of the table, and the reason for the distribution column.
$$;

insert into track.distribution (schema_name, table_name, column_name, colocated_with, description)
values
  ('track', 'event', 'person_id', null, 'Events; other tables with data of a person are colocated with this one.'),
  ('track', 'trait', 'person_id', 'track.event', 'Traits of the person.'),
  ('track', 'trait_history', 'person_id', 'track.event', 'Former values of traits of the person.'),
  ('track', 'enrolment', 'person_id', 'track.event', 'Enrolments of the person.'),
  ('track', 'session', 'person_id', 'track.event', 'Derived from the events of the person, with the page views.'),
  ('track', 'automatic_period', 'person_id', 'track.event', 'Derived from the events of the person.'),
  ('track', 'step', 'person_id', 'track.event', 'Derived from the events of the person.'),
  ('track', 'step_value', 'person_id', 'track.event', 'Derived from the events of the person.'),
  ('track', 'stale', 'person_id', 'track.event', 'Written together with the events of the person.'),
  ('track', 'changed', 'person_id', 'track.event', 'Written together with the sessions of the person.'),
  ('track', 'message', 'message_hash', null, 'Contains no person; rows are looked up by their hash.'),
  -- Registered here, because the room privacy must not depend on this one.
  ('privacy', 'consent', 'person_id', 'track.event', 'Decisions of the person, read for each batch of events.'),
  ('privacy', 'person_age', 'person_id', 'track.event', 'Dates of birth of the person.');

create table track.dropped_reference (
  table_name text not null,
  constraint_name text not null,
  definition text not null,
  dropped_at timestamptz not null default now(),
  primary key (table_name, constraint_name)
);

comment on table track.dropped_reference is $$
@behavior -*
Foreign keys that were dropped when their table was distributed.
They lead from a table of `track.distribution` to one that is not; `insights distribute --undo` adds them again.
$$;
comment on column track.dropped_reference.table_name is $$Table that had it, as `schema.table`.$$;
comment on column track.dropped_reference.constraint_name is $$Name of the foreign key.$$;
comment on column track.dropped_reference.definition is $$Its definition, as `pg_get_constraintdef` returns it.$$;
comment on column track.dropped_reference.dropped_at is $$Time at which it was dropped.$$;

create type track.distribution_step as (
  action text,
  relation text,
  detail text,
  statement text
);

comment on type track.distribution_step is $$
A step of the distribution of a table over the nodes of a cluster, or back.
$$;
comment on column track.distribution_step.action is $$
`drop foreign key`, `distribute` or `truncate the local rows`; back, `undistribute` or `restore foreign key`.
$$;
comment on column track.distribution_step.relation is $$Table, as `schema.table`.$$;
comment on column track.distribution_step.detail is $$
Name of the foreign key, or the distribution column; null for a step without one.
$$;
comment on column track.distribution_step.statement is $$Statements of the step, for one transaction.$$;

/* ---------------------------------------------------------------------------------------------------- decisions -- */

insert into privacy.listener (function_name, description)
values ('track.decisions_changed', 'Queues the people for the consumers that are derived from decisions.');

update privacy.setting
set
  subject_function = 'track.subject', lock_function = 'track.lock_subject', names_function = 'track.identity_names',
  unshared_function = 'track.unshared_names', hold_function = 'track.hold_subject',
  returned_function = 'track.returned_people', held_names_function = 'track.held_names';

insert into privacy.handler (room, position, erase_function, description, rectify_function)
values (
  'track', 40, 'track.erase', 'People, identities, events and all data that is derived from them.', 'track.rectify'
);

/* ---------------------------------------------------------------------------------------------------- retention -- */

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
  ),
  (
    'statements', 24, 'track.statement', 'stored_at', null, null, null, null,
    'xAPI statements as they were sent. Their events have rules of their own.'
  ),
  (
    'client_documents', 25, 'track.client_document', 'updated_at', null, null, null, null,
    'Documents of xAPI clients that have not changed since.'
  ),
  (
    'statement_attachments', 26, 'track.statement_attachment', 'stored_at',
    $$not exists (
      select
      from track.statement
      where statement.source_id = stored.source_id
        and statement.keys @> array[
          track._statement_key(stored.source_id, 'attachment', encode(stored.hash, 'hex'))
        ]
    )$$,
    null, null, null, 'Attachments that no stored xAPI statement has any more.'
  );

alter table track.setting enable row level security;
alter table track.source enable row level security;
alter table track.write_key enable row level security;
alter table track.write_key_log enable row level security;
alter table track.refusal enable row level security;
alter table track.refusal_sample enable row level security;
alter table track.person enable row level security;
alter table track.identity enable row level security;
alter table track.identity_link enable row level security;
alter table track.placeholder_id enable row level security;
alter table track.trait enable row level security;
alter table track.trait_history enable row level security;
alter table track.item enable row level security;
alter table track.item_source enable row level security;
alter table track.item_ancestor enable row level security;
alter table track.former_parent enable row level security;
alter table track.prerequisite enable row level security;
alter table track.enrolment enable row level security;
alter table track.item_role enable row level security;
alter table track.named_item enable row level security;
alter table track.named_prerequisite enable row level security;
alter table track.renamed_month enable row level security;
alter table track.name_log enable row level security;
alter table track.forgotten_import enable row level security;
alter table track.forgotten_item enable row level security;
alter table track.imported_item enable row level security;
alter table track.event_type enable row level security;
alter table track.message enable row level security;
alter table track.packed_message enable row level security;
alter table track.message_packing enable row level security;
alter table track.event enable row level security;
alter table track.found_data enable row level security;
alter table track.disallowed_month enable row level security;
alter table track.session enable row level security;
alter table track.automatic_period enable row level security;
alter table track.step enable row level security;
alter table track.presence enable row level security;
alter table track.item_month enable row level security;
alter table track.item_day enable row level security;
alter table track.course_presence enable row level security;
alter table track.item_transition enable row level security;
alter table track.stale_transition_month enable row level security;
alter table track.stale_course enable row level security;
alter table track.declared_property enable row level security;
alter table track.stale_property enable row level security;
alter table track.property_value enable row level security;
alter table track.step_value enable row level security;
alter table track.value_presence enable row level security;
alter table track.rollup_check enable row level security;
alter table track.stale enable row level security;
alter table track.consumer enable row level security;
alter table track.changed enable row level security;
alter table track.distribution enable row level security;
alter table track.dropped_reference enable row level security;
alter table track.person_set enable row level security;
alter table track.person_set_member enable row level security;
alter table track.person_set_block enable row level security;
alter table track.exclusion enable row level security;
alter table track.statement enable row level security;
alter table track.statement_attachment enable row level security;
alter table track.client_document enable row level security;

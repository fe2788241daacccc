create schema track;

comment on schema track is $$
Collection: people and their identities, items, enrolments, events, sessions, page views, engaged time.
$$;

grant usage on schema track to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

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
  largest_batch int not null default 10000 check (largest_batch > 0)
);

comment on table track.setting is $$
How collection works: one row. After a change of the first four, `select track.rebuild()` applies it to what is stored.
$$;
comment on column track.setting.only_row is $$Always true, so that there is one row.$$;
comment on column track.setting.session_timeout is $$Inactivity that ends a session.$$;
comment on column track.setting.heartbeat is $$Interval at which clients send heartbeats while a page is in use.$$;
comment on column track.setting.minimum_visit is $$Time from the opening of a page to its first heartbeat.$$;
comment on column track.setting.longest_gap is $$Most engaged time that the gap to the next event may count as, where there are no heartbeats.$$;
comment on column track.setting.oldest_event is $$Events before are refused.$$;
comment on column track.setting.oldest_client_event is $$Events of learners and visitors older than this are refused; importers and workers are trusted further.$$;
comment on column track.setting.newest_event is $$Events further ahead of the server's clock are refused.$$;
comment on column track.setting.longest_properties is $$Most bytes that the properties of an event may have as JSON text.$$;
comment on column track.setting.largest_batch is $$Most messages in one batch.$$;

insert into track.setting default values;

create table track.source (
  source_id smallint generated always as identity primary key,
  name text not null unique check (name <> '' and length(name) <= 100),
  description text
);

comment on table track.source is $$
Where messages come from: an application, an importer. Message ids are unique within a source.
$$;
comment on column track.source.source_id is $$Key of the source.$$;
comment on column track.source.name is $$Name; callers set it as `insights.source`.$$;
comment on column track.source.description is $$What the source is.$$;

insert into track.source (name, description) values ('default', 'Messages that name no source.');

/* ------------------------------------------------------------------------------------ people and identities -- */

create table track.identity (
  identity_id bigint generated always as identity primary key,
  kind text not null check (kind in ('user', 'anonymous', 'nobody')),
  external_id text not null check (length(external_id) between 1 and 256),
  person_id bigint not null,
  created_at timestamptz not null default now(),
  unique (external_id, kind)
);

comment on table track.identity is $$
A name by which clients know a person: `userId` of the application, or an `anonymousId` of a browser.
The person is what the links between identities resolve to now.
$$;
comment on column track.identity.identity_id is $$Key of the identity; 0 belongs to nobody.$$;
comment on column track.identity.kind is $$`user` (the application's `userId`), `anonymous` (`anonymousId`) or `nobody`.$$;
comment on column track.identity.external_id is $$The name itself.$$;
comment on column track.identity.person_id is $$Who it resolves to.$$;
comment on column track.identity.created_at is $$When it was first heard of.$$;

create index identity_person on track.identity (person_id);

create table track.person (
  person_id bigint primary key,
  created_at timestamptz not null default now()
);

comment on table track.person is $$
A human being, as far as the identities tell: a connected component of identities, named after its oldest user identity, or else its oldest anonymous one.
Person 0 is nobody: events that were kept without a person.
$$;
comment on column track.person.person_id is $$Key of the person: the `identity_id` that the person is named after. 0 is nobody.$$;
comment on column track.person.created_at is $$When the person was first heard of.$$;

insert into track.identity (identity_id, kind, external_id, person_id, created_at) overriding system value
values (0, 'nobody', 'nobody', 0, '-infinity');

insert into track.person (person_id, created_at) values (0, '-infinity');

create table track.identity_link (
  identity_id bigint not null references track.identity,
  linked_identity_id bigint not null references track.identity,
  kind text not null check (kind in ('identify', 'alias')),
  linked_at timestamptz not null,
  unlinked_at timestamptz,
  primary key (identity_id, linked_identity_id),
  check (identity_id <> linked_identity_id)
);

comment on table track.identity_link is $$
Why two identities are one person. People are the connected components of the links that hold; taking one back splits them again.
$$;
comment on column track.identity_link.identity_id is $$The identity that `identify` or `alias` attached, often anonymous.$$;
comment on column track.identity_link.linked_identity_id is $$The identity that it was attached to.$$;
comment on column track.identity_link.kind is $$`identify` (never joins two users, for a browser may be shared) or `alias` (joins whatever it names).$$;
comment on column track.identity_link.linked_at is $$When the message said so.$$;
comment on column track.identity_link.unlinked_at is $$When it was taken back; null while it holds.$$;

create index identity_link_linked on track.identity_link (linked_identity_id);

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
What `identify` said about a person, each trait as last said by time of the message, whatever the order of arrival. `timezone` is the client's IANA time zone.
$$;
comment on column track.trait.person_id is $$Whose.$$;
comment on column track.trait.identity_id is $$The identity that it was said of.$$;
comment on column track.trait.name is $$Name of the trait, such as `plan`.$$;
comment on column track.trait.value is $$Its value.$$;
comment on column track.trait.set_at is $$When it was said.$$;

create index trait_identity on track.trait (identity_id);

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
  check (parent_item_id <> item_id)
);

comment on table track.item is $$
What people act on: courses, modules, tasks, pages, videos. Made when an event first names it, filled from the application's tables.
$$;
comment on column track.item.item_id is $$Key of the item.$$;
comment on column track.item.external_id is $$Name by which the application knows it.$$;
comment on column track.item.kind is $$`course`, `module`, `task`, `page`, `video`, …; `unknown` until somebody says.$$;
comment on column track.item.title is $$Title for people.$$;
comment on column track.item.parent_item_id is $$What it is a part of: a page of a module, a module of a course.$$;
comment on column track.item.url is $$Address.$$;
comment on column track.item.language is $$Language of the content (BCP 47).$$;
comment on column track.item.attributes is $$Anything else that the application knows.$$;
comment on column track.item.available_from is $$Not offered before; null: always was.$$;
comment on column track.item.available_until is $$Not offered from then on; null: no end.$$;
comment on column track.item.due_at is $$Deadline.$$;
comment on column track.item.created_at is $$When it was first heard of.$$;
comment on column track.item.updated_at is $$When it last changed.$$;

create index item_parent on track.item (parent_item_id);
create index item_kind on track.item (kind);

create table track.item_ancestor (
  item_id bigint not null references track.item,
  ancestor_item_id bigint not null references track.item,
  depth smallint not null check (depth >= 0),
  primary key (item_id, ancestor_item_id)
);

comment on table track.item_ancestor is $$
The tree of items, closed: each item with itself (depth 0), its parent (1), and so on up. Kept by triggers on `track.item`.
$$;
comment on column track.item_ancestor.item_id is $$The item.$$;
comment on column track.item_ancestor.ancestor_item_id is $$The item itself, or one that it is a part of.$$;
comment on column track.item_ancestor.depth is $$Steps from the item up to the ancestor.$$;

create index item_ancestor_ancestor on track.item_ancestor (ancestor_item_id);

create table track.prerequisite (
  item_id bigint not null references track.item,
  required_item_id bigint not null references track.item,
  primary key (item_id, required_item_id),
  check (item_id <> required_item_id)
);

comment on table track.prerequisite is $$
What should be finished before an item is begun.
$$;
comment on column track.prerequisite.item_id is $$The item.$$;
comment on column track.prerequisite.required_item_id is $$What it builds on.$$;

create index prerequisite_required on track.prerequisite (required_item_id);

create table track.enrolment (
  person_id bigint not null,
  item_id bigint not null references track.item,
  status text not null default 'active' check (status in ('active', 'completed', 'dropped')),
  enrolled_at timestamptz not null,
  ended_at timestamptz,
  identity_id bigint not null references track.identity,
  primary key (person_id, item_id, identity_id)
);

comment on table track.enrolment is $$
@foreignKey (item_id) references track.item (item_id)
@foreignKey (identity_id) references track.identity (identity_id)
Who is enrolled in what, as the application's own table says.
$$;
comment on column track.enrolment.person_id is $$Who.$$;
comment on column track.enrolment.item_id is $$In what, usually a course.$$;
comment on column track.enrolment.status is $$`active`, `completed` or `dropped`.$$;
comment on column track.enrolment.enrolled_at is $$Since when.$$;
comment on column track.enrolment.ended_at is $$When it was completed or dropped.$$;
comment on column track.enrolment.identity_id is $$The identity that the application enrolled.$$;

create index enrolment_item on track.enrolment (item_id);
create index enrolment_identity on track.enrolment (identity_id);

/* ----------------------------------------------------------------------------------------------------- events -- */

create table track.event_type (
  event_type_id int generated always as identity primary key,
  name text not null unique check (length(name) between 1 and 200),
  purpose text not null default 'analytics' references privacy.purpose,
  opens_view boolean not null default false,
  is_heartbeat boolean not null default false,
  description text,
  created_at timestamptz not null default now(),
  check (not (opens_view and is_heartbeat))
);

comment on table track.event_type is $$
The dictionary of event names, with what each means for collection. New names are entered when first seen.
$$;
comment on column track.event_type.event_type_id is $$Key of the type.$$;
comment on column track.event_type.name is $$Name on the wire, such as `Task Submitted`.$$;
comment on column track.event_type.purpose is $$What such events are processed for; consent is asked for this.$$;
comment on column track.event_type.opens_view is $$Whether it opens a page view. After a change, `select track.rebuild()`.$$;
comment on column track.event_type.is_heartbeat is $$Whether it says that the open page is still in use. After a change, `select track.rebuild()`.$$;
comment on column track.event_type.description is $$What it means.$$;
comment on column track.event_type.created_at is $$When it was entered.$$;

create index event_type_purpose on track.event_type (purpose);

insert into track.event_type (name, purpose, opens_view, is_heartbeat, description)
values
  ('Page Viewed', 'analytics', true, false, 'A `page` message: somebody opened a page.'),
  ('Screen Viewed', 'analytics', true, false, 'A `screen` message: somebody opened a screen of an app.'),
  ('Heartbeat', 'analytics', false, true, 'The open page is in use: after 5 s, then every 10 s.'),
  ('Video Content Playing', 'analytics', false, true, 'The video is playing, every 10 s.'),
  ('Segment Consent Preference Updated', 'service', false, false, 'The person decided about purposes; recorded in privacy.consent.');

create table track.message (
  source_id smallint not null,
  message_hash uuid not null,
  primary key (source_id, message_hash)
);

comment on table track.message is $$
Each message that was ever accepted, once, for ever: what decides that a retry is a duplicate. Holds no person and no content.
$$;
comment on column track.message.source_id is $$Where the message came from.$$;
comment on column track.message.message_hash is $$First 128 bits of the SHA-256 of its `messageId`.$$;

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
  primary key (person_id, occurred_at, event_id)
)
partition by range (occurred_at);

comment on table track.event is $$
@foreignKey (event_type_id) references track.event_type (event_type_id)
@foreignKey (item_id) references track.item (item_id)
What people did, by month. `track.ingest` is the only door in, and looks each key up, so that declared foreign keys would only cost: about a third of the time that it takes to store an event.
$$;
comment on column track.event.person_id is $$Who: what the identity resolves to now; 0 where the event was kept without a person.$$;
comment on column track.event.occurred_at is $$When, by the corrected clock: `receivedAt - (sentAt - timestamp)`.$$;
comment on column track.event.event_id is $$Version 7 UUID of the time and the message's hash: the same message gives the same key, whenever it comes; orders events of the same time.$$;
comment on column track.event.identity_id is $$The identity that it came with, for ever, so that a merge can be undone.$$;
comment on column track.event.event_type_id is $$What.$$;
comment on column track.event.item_id is $$On what.$$;
comment on column track.event.received_at is $$When it arrived.$$;
comment on column track.event.source_id is $$Where it came from.$$;
comment on column track.event.properties is $$Anything else that the message said.$$;

-- Analyses read the rollups; what they read here is a stretch of time, which lies together on disk as it came in.
create index event_time on track.event using brin (occurred_at);

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
  primary key (person_id, session_id)
);

comment on table track.session is $$
@foreignKey (entry_item_id) references track.item (item_id)
@foreignKey (exit_item_id) references track.item (item_id)
Runs of events of a person without a pause longer than the time-out. Derived from the events, always what a recomputation would give.
$$;
comment on column track.session.person_id is $$Whose.$$;
comment on column track.session.session_id is $$Key of the session: the `event_id` of its first event.$$;
comment on column track.session.started_at is $$Time of the first event.$$;
comment on column track.session.ended_at is $$Time of the last event.$$;
comment on column track.session.event_count is $$Number of events.$$;
comment on column track.session.view_count is $$Number of page views.$$;
comment on column track.session.engaged is $$Engaged time: the sum over its page views.$$;
comment on column track.session.engaged_by is $$What the engaged time was measured by: `heartbeats`, `gaps` to the next event, or `nothing` (no page view).$$;
comment on column track.session.entry_item_id is $$First item that was touched.$$;
comment on column track.session.exit_item_id is $$Last item that was touched.$$;

create index session_started on track.session (started_at);
create index session_person_ended on track.session (person_id, ended_at, started_at);
create index session_entry_item on track.session (entry_item_id);
create index session_exit_item on track.session (exit_item_id);

create table track.page_view (
  person_id bigint not null,
  event_id uuid not null,
  session_id uuid not null,
  view_number int not null,
  item_id bigint references track.item,
  started_at timestamptz not null,
  ended_at timestamptz not null,
  engaged interval not null,
  engaged_by text not null check (engaged_by in ('heartbeats', 'gaps', 'nothing')),
  heartbeat_count int not null,
  primary key (person_id, event_id)
);

comment on table track.page_view is $$
@foreignKey (item_id) references track.item (item_id)
Page views with the time that was spent on them. Derived from the events, always what a recomputation would give.
Heartbeats count by Snowplow's formula, heartbeat * (distinct beats - 1) + minimum visit; in a session without any, the gaps between the events up to the next view count, each capped.
$$;
comment on column track.page_view.person_id is $$Whose.$$;
comment on column track.page_view.event_id is $$The event that opened it.$$;
comment on column track.page_view.session_id is $$The session that it belongs to.$$;
comment on column track.page_view.view_number is $$1, 2, 3, … within the session.$$;
comment on column track.page_view.item_id is $$What was viewed.$$;
comment on column track.page_view.started_at is $$When it was opened.$$;
comment on column track.page_view.ended_at is $$Last sign of it: its last heartbeat or other event, or the next view.$$;
comment on column track.page_view.engaged is $$Engaged time.$$;
comment on column track.page_view.engaged_by is $$`heartbeats`; `gaps` between events; `nothing` for a view that ends its session, whose time is unknown and counts as zero.$$;
comment on column track.page_view.heartbeat_count is $$Heartbeats received, repeated ones included.$$;

create index page_view_session on track.page_view (person_id, session_id);
create index page_view_started on track.page_view (started_at);
create index page_view_item on track.page_view (item_id, started_at);

/* --------------------------------------------------------------------------------------- what is to be refreshed -- */

create table track.stale (
  person_id bigint not null,
  stale_id uuid not null default gen_random_uuid(),
  since timestamptz not null,
  until timestamptz not null,
  primary key (person_id, stale_id),
  check (since <= until)
);

comment on table track.stale is $$
Whose sessions are out of date, and between which times: written with the events, in the same transaction, consumed by `track.refresh_sessions`.
Append-only, so writers never wait for the refresh.
$$;
comment on column track.stale.person_id is $$Whose events changed.$$;
comment on column track.stale.stale_id is $$Key of the note.$$;
comment on column track.stale.since is $$Earliest time of a change; `-infinity` when all of a person's events may have.$$;
comment on column track.stale.until is $$Latest time of a change.$$;

create table track.consumer (
  consumer text primary key check (consumer ~ '^[a-z][a-z_.]*$' and consumer <> 'track.session'),
  position smallint not null unique,
  refresh text not null check (refresh ~ '^[a-z][a-z_]*\.[a-z][a-z_]*$'),
  inputs text[] not null check (inputs <> '{}' and inputs <@ '{event,enrolment,decision}'),
  description text not null
);

comment on table track.consumer is $$
What is derived from the data of people, and the function that refreshes it. Every room registers its own; `track.refresh` calls them.
The function takes `people bigint[], since timestamptz[], until timestamptz[]`: one place for each period in which something of a person changed,
`-infinity` and `infinity` for all of the person. It recomputes these and returns nothing; a test and `insights doctor` check that it exists.
$$;
comment on column track.consumer.consumer is $$Name, such as `analytics.activity`.$$;
comment on column track.consumer.position is $$Place in the order of refresh; the sessions are refreshed before all of them.$$;
comment on column track.consumer.refresh is $$Name of the function, with its schema.$$;
comment on column track.consumer.inputs is $$What it is derived from: `event` (events, sessions, page views), `enrolment`, `decision` (about purposes).$$;
comment on column track.consumer.description is $$What it derives.$$;

create table track.changed (
  person_id bigint not null,
  changed_id uuid not null default gen_random_uuid(),
  consumer text not null references track.consumer on delete cascade,
  since timestamptz not null,
  until timestamptz not null,
  primary key (person_id, changed_id),
  check (since <= until)
);

comment on table track.changed is $$
@foreignKey (consumer) references track.consumer (consumer)
Whose events, sessions, page views, enrolments or decisions changed, one row for each consumer that is derived from them.
`track.refresh` deletes the rows of a consumer and, in the same transaction but a later statement, recomputes what they name; what is
committed in between has rows of its own, so nothing is missed and a repetition does no harm.
$$;
comment on column track.changed.person_id is $$Whose.$$;
comment on column track.changed.changed_id is $$Key of the note.$$;
comment on column track.changed.consumer is $$Who has to recompute.$$;
comment on column track.changed.since is $$Earliest time of a change; `-infinity`: all of the person.$$;
comment on column track.changed.until is $$Latest time of a change; `infinity`: all of the person.$$;

create index changed_consumer on track.changed (consumer, person_id);

/* ----------------------------------------------------------------------------------------------------- types -- */

create type track.ingest_result as (accepted int, duplicates int, rejected int, errors jsonb);

comment on type track.ingest_result is $$
What became of a batch. `errors` is a list of `{index, messageId, code, message, hint}`, one for each rejected message; `index` counts from 0.
$$;
comment on column track.ingest_result.accepted is $$Messages that were stored now.$$;
comment on column track.ingest_result.duplicates is $$Messages that were stored before, or twice in the batch.$$;
comment on column track.ingest_result.rejected is $$Messages that were not stored because of an error.$$;
comment on column track.ingest_result.errors is $$One `{index, messageId, code, message, hint}` for each rejected message.$$;

create type track.problem as (code text, message text, hint text);

comment on type track.problem is $$
Why a message is rejected.
$$;
comment on column track.problem.code is $$SQLSTATE of the class `CF`.$$;
comment on column track.problem.message is $$What is wrong, with the value.$$;
comment on column track.problem.hint is $$What is valid.$$;

create type track.message_batch as (messages jsonb, sent_at text, context jsonb);

comment on type track.message_batch is $$
A batch in its one form, whatever the client sent: a list of messages, and what the batch says of all of them.
$$;
comment on column track.message_batch.messages is $$The list of messages.$$;
comment on column track.message_batch.sent_at is $$The `sentAt` of the batch, for messages without one.$$;
comment on column track.message_batch.context is $$Consent, page and time zone in the `context` of the batch; null when it has none.$$;

create type track.message_sender as (
  is_trusted boolean,
  person text,
  oldest timestamptz,
  newest timestamptz,
  longest_message int
);

comment on type track.message_sender is $$
What the sender of a batch may say.
$$;
comment on column track.message_sender.is_trusted is $$Whether it is a server, which may speak for anybody and describe items.$$;
comment on column track.message_sender.person is $$The `userId` that a learner may use; null for anybody else.$$;
comment on column track.message_sender.oldest is $$Events before are refused.$$;
comment on column track.message_sender.newest is $$Events after are refused.$$;
comment on column track.message_sender.longest_message is $$Most bytes of a message as JSON text.$$;

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
  occurred_at timestamptz
);

comment on type track.message_fields is $$
The fields of a message as they were sent, before any rule of validation. JSON null is null.
$$;
comment on column track.message_fields.position is $$Place in the batch, from 0.$$;
comment on column track.message_fields.message is $$The whole message, which need not be an object.$$;
comment on column track.message_fields.is_extreme is $$Whether it holds a number beyond double precision, and was not read.$$;
comment on column track.message_fields.type is $$Type of the message.$$;
comment on column track.message_fields.message_id is $$The client's id of the message.$$;
comment on column track.message_fields.user_id is $$The `userId`; null when empty.$$;
comment on column track.message_fields.anonymous_id is $$The `anonymousId`; null when empty.$$;
comment on column track.message_fields.previous_id is $$The `previousId`; null when empty.$$;
comment on column track.message_fields.event is $$Name of the event.$$;
comment on column track.message_fields.name is $$Name of the page or screen, of any JSON type.$$;
comment on column track.message_fields.properties is $$The properties, of any JSON type.$$;
comment on column track.message_fields.traits is $$The traits, of any JSON type.$$;
comment on column track.message_fields.context is $$The context, with that of the batch.$$;
comment on column track.message_fields.original_timestamp is $$`originalTimestamp`, or else `timestamp`.$$;
comment on column track.message_fields.sent_at_text is $$`sentAt`, or else that of the batch.$$;
comment on column track.message_fields.original_at is $$The time in `original_timestamp`; null when it is not ISO 8601.$$;
comment on column track.message_fields.sent_at is $$The time in `sent_at_text`; null when it is not ISO 8601.$$;
comment on column track.message_fields.received_at is $$Time of arrival: of the batch, unless a server says another.$$;
comment on column track.message_fields.occurred_at is $$Time of the event by the corrected clock.$$;

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
  problem track.problem
);

comment on type track.parsed_message is $$
A message of a batch while `track.ingest` works on it.
$$;
comment on column track.parsed_message.position is $$Place in the batch, from 0.$$;
comment on column track.parsed_message.type is $$`track`, `page`, `screen`, `identify`, `alias` or `group`.$$;
comment on column track.parsed_message.message_id is $$The client's id of the message.$$;
comment on column track.parsed_message.message_hash is $$First 128 bits of its SHA-256; null for a message with a problem.$$;
comment on column track.parsed_message.identity_kind is $$`user`, `anonymous`, or `nobody` when it is kept without its person.$$;
comment on column track.parsed_message.external_id is $$Name of the person: `userId`, or else `anonymousId`.$$;
comment on column track.parsed_message.anonymous_id is $$The `anonymousId`, also beside a `userId`.$$;
comment on column track.parsed_message.previous_id is $$The name that an `alias` replaces.$$;
comment on column track.parsed_message.event_name is $$Name of the event type; null for messages that are no events.$$;
comment on column track.parsed_message.item is $$External id of the item that it is about.$$;
comment on column track.parsed_message.item_kind is $$Kind of the item, where the sender may say.$$;
comment on column track.parsed_message.item_title is $$Title of the item, where the sender may say.$$;
comment on column track.parsed_message.item_parent is $$External id of the parent, where the sender may say.$$;
comment on column track.parsed_message.item_url is $$Address of the item, where the sender may say.$$;
comment on column track.parsed_message.occurred_at is $$Time by the corrected clock.$$;
comment on column track.parsed_message.received_at is $$Time of arrival.$$;
comment on column track.parsed_message.properties is $$Properties of the event; null when there are none.$$;
comment on column track.parsed_message.traits is $$What it says about the person.$$;
comment on column track.parsed_message.preferences is $$Purposes with true or false, as the message says for itself; of any JSON type.$$;
comment on column track.parsed_message.opts_out is $$Whether it carries a Global Privacy Control signal.$$;
comment on column track.parsed_message.problem is $$Why it is rejected; null when it is not.$$;

create type track.withheld_message as (position int, purpose text, is_refused boolean);

comment on type track.withheld_message is $$
A message that may not be stored with its person.
$$;
comment on column track.withheld_message.position is $$Place in the batch, from 0.$$;
comment on column track.withheld_message.purpose is $$What its event type is processed for.$$;
comment on column track.withheld_message.is_refused is $$True: it is rejected. False: it is kept without its person.$$;

create type track.refresh_result as (people int, sessions int, page_views int);

comment on type track.refresh_result is $$
What a call of `track.refresh_sessions` recomputed. `people` 0: nothing was left to do.
$$;
comment on column track.refresh_result.people is $$People who were looked at; 0 when nothing was left to do.$$;
comment on column track.refresh_result.sessions is $$Sessions that were computed.$$;
comment on column track.refresh_result.page_views is $$Page views that were computed.$$;

create type track.refreshed as (step text, people int, failed int, error text);

comment on type track.refreshed is $$
A step of a call of `track.refresh`.
$$;
comment on column track.refreshed.step is $$`track.session`, or a consumer.$$;
comment on column track.refreshed.people is $$People that were refreshed.$$;
comment on column track.refreshed.failed is $$People whose refresh failed; they stay queued.$$;
comment on column track.refreshed.error is $$Error of one of them; null when none failed.$$;

create type track.sync_result as (inserted int, updated int, unchanged int);

comment on type track.sync_result is $$
What a call of a sync function found in the application's table.
$$;
comment on column track.sync_result.inserted is $$Rows that were new.$$;
comment on column track.sync_result.updated is $$Rows that had changed.$$;
comment on column track.sync_result.unchanged is $$Rows that were as stored.$$;

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
One step of a journey: what a person did, when, on what, and how long after the step before in the same session.
$$;
comment on column track.action.session_id is $$The session; null until the next refresh of the sessions.$$;
comment on column track.action.action_number is $$1, 2, 3, … within the session.$$;
comment on column track.action.occurred_at is $$When.$$;
comment on column track.action.event is $$Name of the event.$$;
comment on column track.action.item is $$On what: external id of the item.$$;
comment on column track.action.item_kind is $$Kind of the item.$$;
comment on column track.action.item_title is $$Title of the item.$$;
comment on column track.action.since_previous is $$Time since the action before in the same session.$$;
comment on column track.action.properties is $$What else the message said.$$;

/* ------------------------------------------------------------------------------------------------- distribution -- */

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
The big tables, which are spread over several servers where one is too small (Citus), and the column that each is spread by. Every room registers its own.
All keys of such a table hold the column, and what reads it is written so that each server can answer for its part: `test/sql/distribution.test.ts` has the rules.
$$;
comment on column track.distribution.schema_name is $$Schema of the table.$$;
comment on column track.distribution.table_name is $$Name of the table.$$;
comment on column track.distribution.column_name is $$The column that says on which server a row lies.$$;
comment on column track.distribution.colocated_with is $$The table, as `schema.table`, beside whose rows of the same value its rows lie; null for the table that others name, or that lies by itself.$$;
comment on column track.distribution.description is $$What the table holds, and why it is spread by this column.$$;

insert into track.distribution (schema_name, table_name, column_name, colocated_with, description)
values
  ('track', 'event', 'person_id', null, 'What people did: everything about a person lies where the events of the person are.'),
  ('track', 'trait', 'person_id', 'track.event', 'What was said about the person.'),
  ('track', 'enrolment', 'person_id', 'track.event', 'What the person is enrolled in.'),
  ('track', 'session', 'person_id', 'track.event', 'Derived from the events of the person.'),
  ('track', 'page_view', 'person_id', 'track.event', 'Derived from the events of the person.'),
  ('track', 'stale', 'person_id', 'track.event', 'Written beside the events of the person.'),
  ('track', 'changed', 'person_id', 'track.event', 'Written beside the sessions of the person.'),
  ('track', 'message', 'message_hash', null, 'Holds no person; is asked for one hash at a time.'),
  -- The room privacy comes before this one, and knows nothing of it.
  ('privacy', 'consent', 'person_id', 'track.event', 'What the person decided; asked with each batch of events.');

/* ---------------------------------------------------------------------------------------------------- decisions -- */

insert into privacy.listener (function_name, description)
values ('track.decisions_changed', 'Queues the people for the consumers that are derived from decisions.');

/* ------------------------------------------------------------------------------------------------ personal data -- */

insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, description)
values
  ('track', 'person', 'person_id', 'person', 'service', 'The person.'),
  ('track', 'trait', 'person_id', 'person', 'analytics', 'Whose trait it is.'),
  ('track', 'trait', 'value', 'traits', 'analytics', 'What the application said about the person.'),
  ('track', 'identity', 'person_id', 'person', 'service', 'Whose name it is.'),
  ('track', 'identity', 'external_id', 'identity', 'service', 'The application''s or the browser''s name for the person.'),
  ('track', 'enrolment', 'person_id', 'person', 'service', 'Who is enrolled.'),
  ('track', 'event', 'person_id', 'person', 'analytics', 'Who did it.'),
  ('track', 'event', 'properties', 'behaviour', 'analytics', 'What was done.'),
  ('track', 'session', 'person_id', 'person', 'analytics', 'Who was active.'),
  ('track', 'page_view', 'person_id', 'person', 'analytics', 'Who looked at the page.'),
  ('track', 'stale', 'person_id', 'person', 'analytics', 'Whose sessions are being refreshed.'),
  ('track', 'changed', 'person_id', 'person', 'analytics', 'Whose derived data are being refreshed.');

alter table track.setting enable row level security;
alter table track.source enable row level security;
alter table track.person enable row level security;
alter table track.identity enable row level security;
alter table track.identity_link enable row level security;
alter table track.trait enable row level security;
alter table track.item enable row level security;
alter table track.item_ancestor enable row level security;
alter table track.prerequisite enable row level security;
alter table track.enrolment enable row level security;
alter table track.event_type enable row level security;
alter table track.message enable row level security;
alter table track.event enable row level security;
alter table track.session enable row level security;
alter table track.page_view enable row level security;
alter table track.stale enable row level security;
alter table track.consumer enable row level security;
alter table track.changed enable row level security;
alter table track.distribution enable row level security;

-- Changes of structure since the last release: see migrations/README.md.

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
comment on column track.statement.event_ids is $$Its events: one, or one per member of a group; none for a voiding one.$$;
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
comment on column track.client_document.scope is $$Hash of the activity and the person, by which documents are listed.$$;
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

alter table track.statement enable row level security;
alter table track.statement_attachment enable row level security;
alter table track.client_document enable row level security;

insert into privacy.retention_class (
  data_class, position, table_name, time_column, condition, default_keep, plan_function, apply_function, description
)
values
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
  )
on conflict do nothing;

-- Funnels by declared properties are read from the journeys.
drop function analytics._search_statement(analytics.step_filter[], int, boolean, boolean, boolean);
drop function analytics._walk_statement(
  analytics.step_filter[], int, text, boolean, text, boolean, boolean, text
);

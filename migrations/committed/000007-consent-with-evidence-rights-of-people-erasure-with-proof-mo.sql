--! Previous: sha1:5d228a5ee4850261341a9cff99bc19ceac144129
--! Hash: sha1:13fed1477f651b1390ecd2ff4e183006bd5790dc
--! Message: consent with evidence, rights of people, erasure with proof, models that unlearn

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

/* --- Handlers: what each room does when a person's data is exported or erased --- */

do $do$
begin
  create type privacy.subject as (
    person_id bigint,
    identity_ids bigint[],
    kinds text[],
    names text[]
  );
exception when duplicate_object then null;
end
$do$;

comment on type privacy.subject is $$
One person with all her identities, for the functions in `privacy.handler`.
`kinds` and `names` are parallel to `identity_ids`: `user` or `anonymous`, and the name that the application sent.
$$;
comment on column privacy.subject.person_id is $$Key of the person.$$;
comment on column privacy.subject.identity_ids is $$Keys of all her identities.$$;
comment on column privacy.subject.kinds is $$Kind of each identity: `user`, `anonymous` or `unverified`.$$;
comment on column privacy.subject.names is $$Name of each identity, as the application sent it.$$;

do $do$
begin
  create type privacy.erased as (
    table_name text,
    row_count bigint,
    method text
  );
exception when duplicate_object then null;
end
$do$;

comment on type privacy.erased is $$
Rows of one table that an erasure changed.
`method`: `deleted`, `recomputed` (from the data of the others), `cleared` (a value was replaced), `unlearned` (a model
was changed exactly) or `marked` (a model is not used until it is trained again).
$$;
comment on column privacy.erased.table_name is $$Name of the table, with its schema.$$;
comment on column privacy.erased.row_count is $$Number of rows.$$;
comment on column privacy.erased.method is $$`deleted`, `recomputed`, `cleared`, `unlearned` or `marked`.$$;

do $do$
begin
  create type privacy.exported as (
    table_name text,
    description text,
    row_count bigint,
    contents jsonb
  );
exception when duplicate_object then null;
end
$do$;

comment on type privacy.exported is $$
Rows of one table in the export of a person: a list of objects, with names in place of surrogate keys.
$$;
comment on column privacy.exported.table_name is $$Name of the table, with its schema.$$;
comment on column privacy.exported.description is $$Meaning of the rows, for the person.$$;
comment on column privacy.exported.row_count is $$Number of rows.$$;
comment on column privacy.exported.contents is $$List of objects, one per row.$$;

create table if not exists privacy.handler (
  room text primary key check (room ~ '^[a-z][a-z_]*$'),
  position smallint not null unique,
  erase_function text check (erase_function ~ '^[a-z][a-z_]*\.[a-z_]+$'),
  export_function text check (export_function ~ '^[a-z][a-z_]*\.[a-z_]+$'),
  description text not null
);

comment on table privacy.handler is $$
@behavior -*
Functions of the rooms that export and erase the data of a person, called in the order of `position`.
Derived data comes first, the identities last. Both kinds take a `privacy.subject`; an erase function returns
`setof privacy.erased`, an export function `setof privacy.exported`. `insights doctor` checks that they exist.
$$;
comment on column privacy.handler.room is $$Name of the room.$$;
comment on column privacy.handler.position is $$Place in the order of the calls.$$;
comment on column privacy.handler.erase_function is $$Name of the erase function, with its schema; null when none.$$;
comment on column privacy.handler.export_function is $$Name of the export function, with its schema; null when none.$$;
comment on column privacy.handler.description is $$Data that the functions cover.$$;

alter table privacy.handler enable row level security;

/* --- Data map: every column of free content, and what an erasure does with it --- */

alter table privacy.data_map add column if not exists erasure text not null default 'deleted';
alter table privacy.data_map add column if not exists basis text;

alter table privacy.data_map drop constraint if exists data_map_holds_check;
alter table privacy.data_map drop constraint if exists data_map_erasure_check;
alter table privacy.data_map drop constraint if exists data_map_check;
alter table privacy.data_map drop constraint if exists data_map_check1;
-- A table of some hundred rows.
alter table privacy.data_map
-- squawk-ignore constraint-missing-not-valid
add constraint data_map_holds_check
check (holds in ('person', 'identity', 'traits', 'behaviour', 'decision', 'derived', 'none')),
-- squawk-ignore constraint-missing-not-valid
add constraint data_map_erasure_check
check (erasure in ('deleted', 'recomputed', 'cleared', 'unlearned', 'marked', 'kept')),
-- squawk-ignore constraint-missing-not-valid
add constraint data_map_check check (holds <> 'none' or erasure = 'kept'),
-- squawk-ignore constraint-missing-not-valid
add constraint data_map_check1 check ((holds <> 'none' and erasure = 'kept') = (basis is not null));

comment on table privacy.data_map is $$
Columns that hold personal data or refer to a person, one row per column (GDPR article 30).
Every room registers its own columns in its `data_map.sql`. So that none is missing, every column of free content
(text, JSON, arrays, bits, vectors, bytes, UUIDs) has a row; most of them hold `none`.
$$;
comment on column privacy.data_map.holds is $$
Kind of data in the column.
`person` (a `person_id`), `identity` (an identifier of the application), `traits`, `behaviour`, `decision`, `derived`
(computed from behaviour), or `none`: no data of a person.
$$;
comment on column privacy.data_map.description is $$
Meaning of the column; for `none`, the reason why it holds no data of a person.
$$;
comment on column privacy.data_map.erasure is $$
Effect of the erasure of a person on her data in the column.
`deleted` (the row), `recomputed` (from the data of the others), `cleared` (the value is replaced), `unlearned` (a model
is changed exactly), `marked` (a model is not used until it is trained again without her) or `kept`.
$$;
comment on column privacy.data_map.basis is $$
Reason for which the data is kept (GDPR article 17(3)); null for the other columns.
$$;
/* --- Consent and the ledger --- */

alter table privacy.purpose add column if not exists minimum_age smallint check (minimum_age between 0 and 30);
comment on column privacy.purpose.minimum_age is $$
Age in years below which the purpose needs the consent of a guardian, whatever its basis; 0: at no age.
Null: `privacy.setting.age_of_consent` for the basis `consent`, none for the others.
$$;

alter table privacy.consent
add column if not exists basis text,
add column if not exists subject_name text,
add column if not exists valid_until timestamptz,
add column if not exists decided_by text not null default 'person' check (decided_by in ('person', 'guardian')),
add column if not exists salt bytea,
add column if not exists ledger_position bigint;
comment on column privacy.consent.evidence is $$
Evidence of the decision, such as the form and its wording; null when there is none.
Of a message: its properties, such as `eventType`, `basisForProcessing`, `consentUrl`, `domainsApplied`, `gdprApplies`.
$$;
comment on column privacy.consent.basis is $$
Lawful basis of the purpose at the time of the decision; null for decisions that were recorded before it was stored.
$$;
comment on column privacy.consent.subject_name is $$
Name under which the person decided, as sent by the application; null when unknown.
$$;
comment on column privacy.consent.valid_until is $$
Time at which a grant expires; null when it does not. From then on the person has not decided.
$$;
comment on column privacy.consent.decided_by is $$
`person`, or `guardian`: the holder of parental responsibility decided (GDPR article 8).
$$;
comment on column privacy.consent.salt is $$
@behavior -*
Random bytes in the commitment of `privacy.ledger`; null until the decision is sealed.
$$;
comment on column privacy.consent.ledger_position is $$
Entry of `privacy.ledger` that seals the decision; null until then.
$$;

create index if not exists consent_unsealed on privacy.consent (consent_id) where ledger_position is null;
create index if not exists consent_expiry on privacy.consent (valid_until) where valid_until is not null;

/* --- Consent: settings, texts, ages --- */

create table if not exists privacy.setting (
  only_row boolean primary key default true check (only_row),
  age_of_consent smallint not null default 16 check (age_of_consent between 0 and 30),
  subject_function text check (subject_function ~ '^[a-z][a-z_]*\.[a-z_]+$'),
  names_function text check (names_function ~ '^[a-z][a-z_]*\.[a-z_]+$'),
  decisions_at timestamptz not null default now(),
  lock_function text check (lock_function ~ '^[a-z][a-z_]*\.[a-z_]+$'),
  unshared_function text check (unshared_function ~ '^[a-z][a-z_]*\.[a-z_]+$')
);

comment on table privacy.setting is $$
Settings of privacy: one row.
$$;
comment on column privacy.setting.only_row is $$Always true, so that the table has one row.$$;
comment on column privacy.setting.age_of_consent is $$
Age in years from which a person can consent herself (GDPR article 8: 13 to 16, by country).
A purpose may have another (`privacy.purpose.minimum_age`).
$$;
comment on column privacy.setting.subject_function is $$
Name of the function that returns the person of a name, with its schema; null: people cannot be named.
It takes `person text` and returns `privacy.subject`.
$$;
comment on column privacy.setting.names_function is $$
Name of the function that returns the names of identities, with its schema.
It takes `identities bigint[]` and returns `setof privacy.identity_name`. Null: decisions by `person_id` have no
`subject_name`.
$$;
comment on column privacy.setting.decisions_at is $$
Time up to which people have been notified whose decisions changed with time: see `privacy.refresh_decisions`.
$$;
comment on column privacy.setting.lock_function is $$
Name of the function that does the same as `subject_function`, and locks the person.
Until the transaction ends, no other one stores or moves her data.
$$;
comment on column privacy.setting.unshared_function is $$
Name of the function that returns, of the names of a `privacy.subject` who was erased, those that nobody else has.
$$;

insert into privacy.setting default values on conflict do nothing;

do $do$
begin
  create type privacy.identity_name as (
    identity_id bigint,
    person_id bigint,
    name text
  );
exception when duplicate_object then null;
end
$do$;

comment on type privacy.identity_name is $$
An identity with its person and its name, as the application sent it.
$$;
comment on column privacy.identity_name.identity_id is $$Key of the identity.$$;
comment on column privacy.identity_name.person_id is $$Key of the person that it belongs to.$$;
comment on column privacy.identity_name.name is $$Name of the identity, as the application sent it.$$;

create table if not exists privacy.consent_text (
  text_id uuid not null default gen_random_uuid() primary key,
  purpose text not null references privacy.purpose,
  version text not null check (length(version) between 1 and 200),
  language text not null default 'en' check (language ~ '^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$'),
  body text not null,
  url text,
  valid_from timestamptz not null,
  published_at timestamptz not null default clock_timestamp(),
  salt bytea,
  ledger_position bigint,
  unique (purpose, version, language)
);

comment on table privacy.consent_text is $$
Texts that people are shown when they decide about a purpose, by version and language; they do not change.
`privacy.publish_text` adds a version. `privacy.consent.document_version` refers to it.
$$;
comment on column privacy.consent_text.text_id is $$Key of the text.$$;
comment on column privacy.consent_text.purpose is $$Purpose that the text explains.$$;
comment on column privacy.consent_text.version is $$Version of the text, as chosen by the application.$$;
comment on column privacy.consent_text.language is $$Language of the text, such as `en` or `pt-BR` (BCP 47).$$;
comment on column privacy.consent_text.body is $$The text.$$;
comment on column privacy.consent_text.url is $$Address at which the text can be read; null when there is none.$$;
comment on column privacy.consent_text.valid_from is $$Time from which this version is shown.$$;
comment on column privacy.consent_text.published_at is $$Time at which the text was stored.$$;
comment on column privacy.consent_text.salt is $$
@behavior -*
Random bytes in the commitment of `privacy.ledger`; null until the text is sealed.
$$;
comment on column privacy.consent_text.ledger_position is $$
Entry of `privacy.ledger` that seals the text; null until then.
$$;

create table if not exists privacy.person_age (
  person_id bigint not null,
  identity_id bigint not null,
  birth_date date not null check (birth_date between '1800-01-01' and '9999-12-31'),
  is_verified boolean not null default false,
  set_at timestamptz not null default now(),
  primary key (person_id, identity_id)
);

comment on table privacy.person_age is $$
Dates of birth, which decide whether a person can consent herself.
The verified dates of a person apply, otherwise those of her messages; of several, the latest date: the youngest age.
$$;
comment on column privacy.person_age.person_id is $$Person that was born on the date.$$;
comment on column privacy.person_age.identity_id is $$Identity for which the date was given.$$;
comment on column privacy.person_age.birth_date is $$Date of birth.$$;
comment on column privacy.person_age.is_verified is $$
True: recorded by `privacy.record_birth_date`. False: the trait `birthday` of a message of a trusted sender.
$$;
comment on column privacy.person_age.set_at is $$Time at which the date was stored.$$;

create index if not exists person_age_birth_date on privacy.person_age (birth_date);

alter table privacy.setting enable row level security;
alter table privacy.consent_text enable row level security;
alter table privacy.person_age enable row level security;

/* --- Ledger: a chain of hashes over records that must not change --- */

create table if not exists privacy.sealed_table (
  kind text primary key check (kind ~ '^[a-z][a-z_]{0,62}$' and kind <> 'checkpoint'),
  table_name text not null check (table_name ~ '^privacy\.[a-z][a-z_]*$'),
  key_column text not null,
  recorded_column text not null,
  contents text[] not null check (cardinality(contents) > 0),
  salt_column text not null default 'salt',
  position_column text not null default 'ledger_position',
  ready_column text,
  description text not null
);

comment on table privacy.sealed_table is $$
@behavior -*
Records that `privacy.seal` enters into `privacy.ledger`, one row per kind of record.
The table has a key of the type uuid, and columns for the salt (bytea) and the position (bigint), both null until the
record is sealed, with a partial index on the key `where ledger_position is null`. `contents` never change afterwards:
neither a merge of people nor an erasure may touch them without deleting the record. A function that deletes sealed
records calls `privacy.account_removal`. To seal other columns from some day on, register another kind.
$$;
comment on column privacy.sealed_table.kind is $$Kind of the record, as in `privacy.ledger.kind`.$$;
comment on column privacy.sealed_table.table_name is $$Table with its schema.$$;
comment on column privacy.sealed_table.key_column is $$Column that identifies the record (uuid).$$;
comment on column privacy.sealed_table.recorded_column is $$Column with the time at which the record was stored.$$;
comment on column privacy.sealed_table.contents is $$Columns that are sealed.$$;
comment on column privacy.sealed_table.salt_column is $$Column for the salt.$$;
comment on column privacy.sealed_table.position_column is $$Column for the position in the ledger.$$;
comment on column privacy.sealed_table.ready_column is $$
Column that is null until the record can be sealed; null: records are sealed as soon as they are stored.
$$;
comment on column privacy.sealed_table.description is $$Description of the records.$$;

create table if not exists privacy.ledger (
  position bigint primary key,
  kind text not null,
  commitment bytea not null,
  hash bytea not null,
  sealed_at timestamptz not null
);

comment on table privacy.ledger is $$
Entries that prove that a record existed when it was sealed, and has not changed since; append-only.
It holds no personal data: without the salt, which is deleted with the record, a commitment reveals nothing about it.
$$;
comment on column privacy.ledger.position is $$Number of the entry, from 1, without gaps.$$;
comment on column privacy.ledger.kind is $$
Kind of the record (`privacy.sealed_table.kind`), or `checkpoint`: an entry without a record, at least one per day.
$$;
comment on column privacy.ledger.commitment is $$SHA-256 hash of the salt and the contents of the record.$$;
comment on column privacy.ledger.hash is $$
SHA-256 hash of the hash of the previous entry, the commitment, the position, the time and the kind.
$$;
comment on column privacy.ledger.sealed_at is $$Time of the entry.$$;

create table if not exists privacy.removal (
  removal_id uuid not null default gen_random_uuid() primary key,
  positions bigint[] not null,
  reason text not null,
  removed_at timestamptz not null default now(),
  recorded_at timestamptz not null default clock_timestamp(),
  salt bytea,
  ledger_position bigint
);

comment on table privacy.removal is $$
Entries of the ledger of which the records were deleted by right, one row per erasure. It holds no personal data.
$$;
comment on column privacy.removal.removal_id is $$Key of the removal.$$;
comment on column privacy.removal.positions is $$Positions in `privacy.ledger`.$$;
comment on column privacy.removal.reason is $$Reason of the removal, such as `erasure`.$$;
comment on column privacy.removal.removed_at is $$
Time of the transaction that deleted the records: that of the receipt of the erasure.
$$;
comment on column privacy.removal.recorded_at is $$Time at which the row was stored.$$;
comment on column privacy.removal.salt is $$
@behavior -*
Random bytes in the commitment of `privacy.ledger`; null until the removal is sealed.
$$;
comment on column privacy.removal.ledger_position is $$
Entry of `privacy.ledger` that seals the removal; null until then.
$$;

create index if not exists consent_text_unsealed on privacy.consent_text (text_id) where ledger_position is null;
create index if not exists removal_unsealed on privacy.removal (removal_id) where ledger_position is null;

do $do$
begin
  create type privacy.ledger_head as (
    position bigint,
    hash text,
    sealed_at timestamptz
  );
exception when duplicate_object then null;
end
$do$;

comment on type privacy.ledger_head is $$
Latest entry of the ledger: its position, its hash (hexadecimal) and its time.
$$;
comment on column privacy.ledger_head.position is $$Position of the entry.$$;
comment on column privacy.ledger_head.hash is $$Hash of the entry, hexadecimal.$$;
comment on column privacy.ledger_head.sealed_at is $$Time of the entry.$$;

do $do$
begin
  create type privacy.ledger_problem as (
    problem text,
    kind text,
    position bigint,
    record_id uuid,
    description text
  );
exception when duplicate_object then null;
end
$do$;

comment on type privacy.ledger_problem is $$
A difference between the ledger and the records: see `privacy.verify_ledger`.
$$;
comment on column privacy.ledger_problem.problem is $$Kind of the difference, such as `changed` or `missing`.$$;
comment on column privacy.ledger_problem.kind is $$Kind of the record; null for a difference in the ledger itself.$$;
comment on column privacy.ledger_problem.position is $$Position in the ledger; null when it is unknown.$$;
comment on column privacy.ledger_problem.record_id is $$Key of the record; null when there is none.$$;
comment on column privacy.ledger_problem.description is $$Description of the difference.$$;

do $do$
begin
  create type privacy.ledger_report as (
    is_intact boolean,
    entries bigint,
    records bigint,
    unsealed bigint,
    removed bigint,
    broken_position bigint,
    problem_count bigint,
    problems privacy.ledger_problem[],
    head_position bigint,
    head_hash text
  );
exception when duplicate_object then null;
end
$do$;

comment on type privacy.ledger_report is $$
Result of `privacy.verify_ledger`.
Keep `head_position` and `head_hash` outside of the database, and give them to a later verification.
$$;
comment on column privacy.ledger_report.is_intact is $$Whether there is no difference.$$;
comment on column privacy.ledger_report.entries is $$Number of entries of the ledger.$$;
comment on column privacy.ledger_report.records is $$Number of records that are sealed.$$;
comment on column privacy.ledger_report.unsealed is $$Number of records that the next `privacy.seal` enters.$$;
comment on column privacy.ledger_report.removed is $$Number of entries whose record was deleted by right.$$;
comment on column privacy.ledger_report.broken_position is $$
First entry that does not follow from the one before it; null when there is none.
$$;
comment on column privacy.ledger_report.problem_count is $$Number of differences.$$;
comment on column privacy.ledger_report.problems is $$The first 100 differences.$$;
comment on column privacy.ledger_report.head_position is $$Position of the latest entry; null when there is none.$$;
comment on column privacy.ledger_report.head_hash is $$Hash of the latest entry, hexadecimal.$$;

insert into privacy.sealed_table (kind, table_name, key_column, recorded_column, contents, description)
values
  (
    'consent', 'privacy.consent', 'consent_id', 'recorded_at',
    array[
      'consent_id', 'subject_name', 'purpose', 'granted', 'decided_at', 'recorded_at', 'source', 'document_version',
      'evidence', 'basis', 'valid_until', 'decided_by'
    ],
    'Decisions of people; not their person and identity, which a merge changes.'
  ),
  (
    'consent_text', 'privacy.consent_text', 'text_id', 'published_at',
    array['text_id', 'purpose', 'version', 'language', 'body', 'url', 'valid_from', 'published_at'],
    'Texts that were shown to people.'
  ),
  (
    'removal', 'privacy.removal', 'removal_id', 'recorded_at',
    array['removal_id', 'positions', 'reason', 'removed_at', 'recorded_at'],
    'Entries of the ledger of which the records were deleted by right.'
  )
on conflict do nothing;

alter table privacy.sealed_table enable row level security;
alter table privacy.ledger enable row level security;
alter table privacy.removal enable row level security;

insert into track.distribution (schema_name, table_name, column_name, colocated_with, description)
values ('privacy', 'person_age', 'person_id', 'track.event', 'Dates of birth of the person.')
on conflict do nothing;

update privacy.setting
set names_function = 'track.identity_names'
where names_function is null;

/* --- Erasure: receipts --- */

create table if not exists privacy.erasure (
  erasure_id uuid primary key default gen_random_uuid(),
  requested_at timestamptz not null,
  erased_at timestamptz not null default clock_timestamp(),
  subject_hash bytea not null check (octet_length(subject_hash) = 32),
  reason text check (length(reason) <= 200),
  counts jsonb not null,
  completed_at timestamptz,
  salt bytea,
  ledger_position bigint
);

comment on table privacy.erasure is $$
Receipts of erasures, append-only: numbers of rows by table, without a trace of the person.
$$;
comment on column privacy.erasure.erasure_id is $$Key of the receipt.$$;
comment on column privacy.erasure.requested_at is $$Time of the request.$$;
comment on column privacy.erasure.erased_at is $$Time of the erasure.$$;
comment on column privacy.erasure.subject_hash is $$
SHA-256 hash of a salt and the names of the person, as `privacy.subject_hash` computes it.
The salt is returned once and not stored: a person who has it can prove that the receipt is hers, and nobody else can
test names against it.
$$;
comment on column privacy.erasure.reason is $$Reason that was given, without a name; null when none was given.$$;
comment on column privacy.erasure.counts is $$
Numbers of rows by table and method (see `privacy.erased`), such as `{"track.event": {"deleted": 12}}`.
$$;
comment on column privacy.erasure.completed_at is $$
Time from which no materialized view, list or served model is left that was computed with the data; null until then.
$$;
comment on column privacy.erasure.salt is $$
@behavior -*
Random bytes in the commitment of `privacy.ledger`; null until the receipt is sealed. Not the salt of `subject_hash`.
$$;
comment on column privacy.erasure.ledger_position is $$
Entry of `privacy.ledger` that seals the receipt; null until then.
$$;

create index if not exists erasure_open on privacy.erasure (erased_at) where completed_at is null;
create index if not exists erasure_unsealed on privacy.erasure (erasure_id) where ledger_position is null;

insert into privacy.sealed_table (kind, table_name, key_column, recorded_column, contents, description)
values (
  'erasure', 'privacy.erasure', 'erasure_id', 'erased_at',
  array['erasure_id', 'requested_at', 'erased_at', 'subject_hash', 'reason', 'counts'],
  'Receipts of erasures.'
)
on conflict do nothing;

do $do$
begin
  create type privacy.erasure_receipt as (
    erasure_id uuid,
    erased_at timestamptz,
    subject_hash text,
    salt text,
    counts jsonb
  );
exception when duplicate_object then null;
end
$do$;

comment on type privacy.erasure_receipt is $$
Receipt of an erasure, for the person.
$$;
comment on column privacy.erasure_receipt.erasure_id is $$Key of the receipt.$$;
comment on column privacy.erasure_receipt.erased_at is $$Time of the erasure.$$;
comment on column privacy.erasure_receipt.subject_hash is $$Hash of the salt and the names, in hexadecimal.$$;
comment on column privacy.erasure_receipt.salt is $$
Salt of the hash, in hexadecimal. It is not stored: keep it to prove later whose receipt this is.
$$;
comment on column privacy.erasure_receipt.counts is $$
Numbers of rows by table and method, such as `{"track.event": {"deleted": 12}}`.
$$;

insert into privacy.handler (room, position, erase_function, description)
values ('privacy', 60, 'privacy.erase', 'Decisions, and the log of exports.')
on conflict do nothing;

alter table privacy.erasure enable row level security;

/* --- Erasure: registration of the rooms --- */

update privacy.setting
set
  subject_function = 'track.subject', lock_function = 'track.lock_subject', unshared_function = 'track.unshared_names';
insert into privacy.handler (room, position, erase_function, description)
values ('track', 40, 'track.erase', 'People, identities, events and all data that is derived from them.')
on conflict do nothing;
insert into privacy.handler (room, position, erase_function, description)
values (
  'recommend', 10, 'recommend.erase',
  'Interactions, impressions, evaluations in progress, and what models have learned.'
)
on conflict do nothing;
insert into privacy.handler (room, position, erase_function, description)
values ('analytics', 20, 'analytics.erase', 'Training data of predictions, and names of authors.')
on conflict do nothing;
insert into privacy.handler (room, position, erase_function, description)
values ('monitor', 50, 'monitor.erase', 'Messages of errors that contain a name of the person.')
on conflict do nothing;

/* --- Erasure: what messages have told about items --- */

create table if not exists track.item_source (
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

create index if not exists item_source_identity on track.item_source (identity_id);

alter table track.item_source enable row level security;

/* --- Access: the log of exports --- */

create table if not exists privacy.export_log (
  export_id uuid primary key default gen_random_uuid(),
  identity_id bigint not null,
  exported_at timestamptz not null default clock_timestamp(),
  exported_by text not null,
  row_count bigint not null
);

comment on table privacy.export_log is $$
Exports of the data of people, append-only.
$$;
comment on column privacy.export_log.export_id is $$Key of the export.$$;
comment on column privacy.export_log.identity_id is $$
Person whose data was exported, by the key at that time, which is that of one of her identities.
The entry follows the identity when people are merged or split.
$$;
comment on column privacy.export_log.exported_at is $$Time of the export.$$;
comment on column privacy.export_log.exported_by is $$
Administrator or person who exported the data: the signed-in person, or else the login of the database.
$$;
comment on column privacy.export_log.row_count is $$Number of rows in the export.$$;

create index if not exists export_log_identity on privacy.export_log (identity_id);

alter table privacy.export_log enable row level security;

/* --- Rights: requests of people, and names of erased people --- */

create table if not exists privacy.secret (
  purpose text primary key check (purpose ~ '^[a-z][a-z_]{0,62}$'),
  secret bytea not null default uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())
);

comment on table privacy.secret is $$
@behavior -*
Secret keys of the database, such as the one under which suppressed names are hashed. No role may read them.
$$;
comment on column privacy.secret.purpose is $$Name of the key.$$;
comment on column privacy.secret.secret is $$32 random bytes.$$;

insert into privacy.secret (purpose) values ('suppression_inner'), ('suppression_outer')
on conflict do nothing;

create table if not exists privacy.suppression (
  name_hash bytea primary key check (octet_length(name_hash) = 32),
  since timestamptz not null,
  lifted_at timestamptz,
  check (lifted_at > since)
);

comment on table privacy.suppression is $$
@behavior -*
Names of people who were erased, as keyed hashes: messages with such a name are refused until a new consent.
The key is in `privacy.secret`. The names cannot be read from this table; a role that can read both tables can test one.
$$;
comment on column privacy.suppression.name_hash is $$
HMAC-SHA-256 of the kind (`user` or `anonymous`) and the name: see `privacy.suppress`.
$$;
comment on column privacy.suppression.since is $$Time of the erasure.$$;
comment on column privacy.suppression.lifted_at is $$
Time of the consent that the person gave after the erasure; null while there is none.
Messages of an earlier time are refused also afterwards.
$$;

do $do$
begin
  create type privacy.suppressed_name as (
    kind text,
    name text,
    since timestamptz,
    lifted_at timestamptz
  );
exception when duplicate_object then null;
end
$do$;

comment on type privacy.suppressed_name is $$
@behavior -*
A name that is suppressed: see `privacy.suppression`.
$$;
comment on column privacy.suppressed_name.kind is $$`user` or `anonymous`.$$;
comment on column privacy.suppressed_name.name is $$The name, as given to the function.$$;
comment on column privacy.suppressed_name.since is $$Time of the erasure.$$;
comment on column privacy.suppressed_name.lifted_at is $$Time of the new consent; null while there is none.$$;

create table if not exists privacy.regime (
  regime text primary key check (regime ~ '^[a-z][a-z_]{0,62}$'),
  answer_within interval not null check (answer_within > '0'),
  extension interval check (extension > '0'),
  description text not null
);

comment on table privacy.regime is $$
Laws under which people make requests, with the time to answer. Administrators may add rows.
$$;
comment on column privacy.regime.regime is $$Name of the law, such as `gdpr`.$$;
comment on column privacy.regime.answer_within is $$Time to answer a request, from when it was received.$$;
comment on column privacy.regime.extension is $$
Time by which the answer may be extended once, when the person is informed why; null when the law allows none.
$$;
comment on column privacy.regime.description is $$The law and its articles.$$;

insert into privacy.regime (regime, answer_within, extension, description)
values
  ('gdpr', '1 month', '2 months', 'General Data Protection Regulation (EU, UK), article 12(3).'),
  ('ccpa', '45 days', '45 days', 'California Consumer Privacy Act, section 1798.130(a)(2).'),
  ('ferpa', '45 days', null, 'Family Educational Rights and Privacy Act, 34 CFR 99.10(b).')
on conflict do nothing;

create table if not exists privacy.request (
  request_id uuid primary key default gen_random_uuid(),
  kind text not null check (kind in (
    'access', 'portability', 'erasure', 'rectification', 'restriction', 'objection', 'opt_out'
  )),
  regime text not null references privacy.regime,
  person_id bigint,
  identity_id bigint,
  subject_hash bytea not null check (octet_length(subject_hash) = 32),
  received_at timestamptz not null,
  due_at timestamptz not null,
  extended_until timestamptz check (extended_until > due_at),
  state text not null default 'open' check (state in ('open', 'completed', 'refused', 'withdrawn')),
  completed_at timestamptz,
  outcome text check (length(outcome) <= 2000),
  recorded_at timestamptz not null default clock_timestamp(),
  salt bytea,
  ledger_position bigint,
  answer_salt bytea,
  answer_position bigint,
  check (due_at > received_at),
  check (completed_at >= received_at),
  check ((state = 'open') = (completed_at is null)),
  check ((state = 'open') = (person_id is not null)),
  check ((person_id is null) = (identity_id is null))
);

comment on table privacy.request is $$
@foreignKey (regime) references privacy.regime (regime)
Requests of people about their data (GDPR articles 15 to 21, CCPA, FERPA), with the time to answer.
A request refers to its person until it is answered. Then the hash remains, which proves the request together
with the salt that `privacy.open_request` returned.
$$;
comment on column privacy.request.request_id is $$Key of the request.$$;
comment on column privacy.request.kind is $$
`access`, `portability`, `erasure`, `rectification`, `restriction`, `objection` or `opt_out`.
$$;
comment on column privacy.request.regime is $$Law under which the request was made.$$;
comment on column privacy.request.person_id is $$
Person that the request is about, also after a merge or a split; null when it is answered.
$$;
comment on column privacy.request.identity_id is $$
Identity that the request names, which never changes; null when it is answered.
$$;
comment on column privacy.request.subject_hash is $$SHA-256 hash of a salt, which is not stored, and the name.$$;
comment on column privacy.request.received_at is $$Time at which the request was received.$$;
comment on column privacy.request.due_at is $$Time until which it must be answered, without an extension.$$;
comment on column privacy.request.extended_until is $$
Time until which it must be answered, after an extension; null without one.
$$;
comment on column privacy.request.state is $$`open`, `completed`, `refused` or `withdrawn`.$$;
comment on column privacy.request.completed_at is $$Time of the answer; null while the request is open.$$;
comment on column privacy.request.outcome is $$
Answer, without a name: what was done, or why it was refused; null while the request is open.
$$;
comment on column privacy.request.recorded_at is $$Time at which the request was stored.$$;
comment on column privacy.request.salt is $$
@behavior -*
Random bytes in the commitment of `privacy.ledger`; null until the request is sealed.
$$;
comment on column privacy.request.ledger_position is $$
Entry of `privacy.ledger` that seals the request; null until then.
$$;
comment on column privacy.request.answer_salt is $$
@behavior -*
Random bytes in the commitment to the answer; null until it is sealed.
$$;
comment on column privacy.request.answer_position is $$
Entry of `privacy.ledger` that seals the answer; null until then.
$$;

create unique index if not exists request_open on privacy.request (identity_id, kind) where completed_at is null;
create index if not exists request_person on privacy.request (person_id) where completed_at is null;
create index if not exists request_regime on privacy.request (regime);
create index if not exists request_unsealed on privacy.request (request_id) where ledger_position is null;
create index if not exists request_answer_unsealed on privacy.request (request_id) where answer_position is null;

insert into privacy.sealed_table (
  kind, table_name, key_column, recorded_column, contents, salt_column, position_column, ready_column, description
)
values
  (
    'request', 'privacy.request', 'request_id', 'recorded_at',
    '{request_id,kind,regime,subject_hash,received_at,due_at,recorded_at}', 'salt', 'ledger_position', null,
    'Requests of people; not the person, to whom a request refers until it is answered.'
  ),
  (
    'request_answer', 'privacy.request', 'request_id', 'completed_at', '{request_id,state,completed_at,outcome}',
    'answer_salt', 'answer_position', 'completed_at', 'Answers to requests of people.'
  )
on conflict do nothing;

do $do$
begin
  create type privacy.opened_request as (
    request_id uuid,
    kind text,
    regime text,
    received_at timestamptz,
    due_at timestamptz,
    subject_hash text,
    subject_salt text
  );
exception when duplicate_object then null;
end
$do$;

comment on type privacy.opened_request is $$
A new request, for the person who made it.
$$;
comment on column privacy.opened_request.request_id is $$Key of the request.$$;
comment on column privacy.opened_request.kind is $$Kind of the request.$$;
comment on column privacy.opened_request.regime is $$Law under which it was made.$$;
comment on column privacy.opened_request.received_at is $$Time at which it was received.$$;
comment on column privacy.opened_request.due_at is $$Time until which it must be answered.$$;
comment on column privacy.opened_request.subject_hash is $$
SHA-256 hash of the bytes of the salt and of the name in UTF-8, in hexadecimal.
$$;
comment on column privacy.opened_request.subject_salt is $$
Salt of the hash, in hexadecimal. It is not stored: keep it to prove later whose request this was.
$$;

alter table privacy.secret enable row level security;
alter table privacy.suppression enable row level security;
alter table privacy.regime enable row level security;
alter table privacy.request enable row level security;

/* --- Merges of people --- */

do $do$
begin
  if exists (
    select
    from pg_catalog.pg_constraint
    where conrelid = 'track.identity_link'::regclass
      and conname = 'identity_link_kind_check'
      and pg_get_constraintdef(oid) not like '%merge%'
  ) then
    alter table track.identity_link drop constraint identity_link_kind_check;
    alter table track.identity_link
      add constraint identity_link_kind_check check (kind in ('identify', 'alias', 'claim', 'merge')) not valid;
    alter table track.identity_link validate constraint identity_link_kind_check;
  end if;
end
$do$;

comment on column track.identity_link.kind is $$
`identify` (a user identified on a browser), `alias` (the two are the same), `merge` (`track.merge_persons`) or `claim`.
A claim is an `identify` without proof: it counts for messages that its user sends while signed in, and for no others.
$$;

/* --- Erasure: identities of a batch may be erased concurrently --- */

do $do$
begin
  if (
    select prorettype = 'void'::regtype
    from pg_proc
    where oid = to_regprocedure('track._link_people_of(track.parsed_message[], bigint[])')
  ) then
    drop function track._link_people_of(track.parsed_message[], bigint[]);
  end if;
end
$do$;

/* --- Rights: restriction --- */

create table if not exists privacy.restriction (
  identity_id bigint primary key,
  person_id bigint not null,
  reason text not null check (reason in ('accuracy', 'unlawful', 'claims', 'objection')),
  since timestamptz not null default clock_timestamp()
);

comment on table privacy.restriction is $$
People whose data is stored and not processed in any other way (GDPR article 18): see `privacy.restrict_person`.
A restriction belongs to an identity, and applies to its person: it follows merges of people and their reversal.
$$;
comment on column privacy.restriction.identity_id is $$Identity that the restriction names, which never changes.$$;
comment on column privacy.restriction.person_id is $$Person that the identity belongs to now.$$;
comment on column privacy.restriction.reason is $$
Reason of the restriction.
`accuracy` (the person contests it, until it is verified), `unlawful` (she opposes the erasure), `claims` (she needs the
data for legal claims) or `objection` (until it is verified which grounds prevail).
$$;
comment on column privacy.restriction.since is $$Time from which the data is restricted.$$;

create index if not exists restriction_person on privacy.restriction (person_id);

alter table privacy.restriction enable row level security;

alter table privacy.handler add column if not exists rectify_function text
  check (rectify_function ~ '^[a-z][a-z_]*\.[a-z_]+$');

comment on table privacy.handler is $$
@behavior -*
Functions of the rooms that export, erase and correct the data of a person, called in the order of `position`.
Derived data comes first, the identities last. All take a `privacy.subject`; an erase function returns
`setof privacy.erased`, an export function `setof privacy.exported`. A rectify function also takes `changes jsonb`, and
returns `setof privacy.erased`. `insights doctor` checks that they exist.
$$;
comment on column privacy.handler.rectify_function is $$
Name of the rectify function, with its schema; null when there is none.
$$;

update privacy.handler set rectify_function = 'track.rectify' where room = 'track';
update privacy.handler set rectify_function = 'privacy.rectify_birthday' where room = 'privacy';

alter table privacy.setting add column if not exists hold_function text
  check (hold_function ~ '^[a-z][a-z_]*\.[a-z_]+$');

comment on column privacy.setting.hold_function is $$
Function that does the same as `subject_function`, and holds the person.
Until the transaction ends, no other one merges, splits or erases her.
$$;

update privacy.setting set hold_function = 'track.hold_subject';


drop function if exists privacy.record_consent(bigint, text, boolean, timestamptz, text, jsonb);
drop function if exists privacy.record_decisions(bigint[], bigint[], text[], boolean[], timestamptz[], text, jsonb[]);

do $do$
begin
  alter type track.parsed_message add attribute birth_date date;
exception when duplicate_column then null;
end
$do$;
comment on column track.parsed_message.birth_date is $$
Date of birth of the user: the trait `birthday` of `identify` of a trusted sender; null otherwise.
$$;

/* --- One policy per role and action --- */

drop policy if exists admins_change on privacy.purpose;
drop policy if exists admins_change on recommend.event_weight;

/* --- Models that learn and unlearn --- */

alter table ml.model
  add column if not exists marked_at timestamptz,
  add column if not exists marked_reason text check (length(marked_reason) between 1 and 1000);

comment on column ml.model.marked_at is $$
Time from which the version is not used, until another one is trained (`ml.mark_for_training`); null: it is used.
$$;
comment on column ml.model.marked_reason is $$Reason of the mark; null when none was given.$$;

alter table recommend.setting
  add column if not exists most_learned_items int not null default 4000 check (most_learned_items between 0 and 16000);

comment on column recommend.setting.most_learned_items is $$
Maximum number of items of a version that keeps a record of what it learned, with which it is updated and unlearns.
A version with more items is marked for training when a person is erased. 0: no version keeps a record.
$$;

alter table recommend.model_part
  add column if not exists person_mean float8 check (person_mean > 0),
  add column if not exists scale float8 check (scale > 0);

comment on column recommend.model_part.person_mean is $$
Mean of n ^ -`person_exponent` over the people of the training, who have n items.
The factor of a person is divided by it. Fixed by the training, so that a person does not change the factors of others.
Null for methods without such a factor.
$$;
comment on column recommend.model_part.scale is $$
Number by which the weights of the part of a blend are divided, fixed by the training.
Null when there is one part.
$$;

comment on column recommend.neighbours.person_count is $$
Number of people who had taken the item when the version was trained or last updated.
$$;

drop function if exists recommend._training_rows(text, timestamptz);
drop function if exists ml._dense_neighbours(int[], vector[], int, int);

create table if not exists recommend.learning (
  model_id bigint primary key references ml.model on delete cascade,
  is_live boolean not null default true,
  person_count int not null check (person_count >= 0),
  update_count int not null default 0 check (update_count >= 0),
  updated_at timestamptz not null default clock_timestamp(),
  rebuilt_at timestamptz not null default clock_timestamp(),
  drift float8
);

comment on table recommend.learning is $$
@behavior -*
Versions of recommenders that are changed exactly when people arrive, change or are erased (`recommend.learned`).
$$;
comment on column recommend.learning.model_id is $$Version.$$;
comment on column recommend.learning.is_live is $$
Whether the record has the present rows of all people: true while the version is deployed.
$$;
comment on column recommend.learning.person_count is $$Number of people in the record.$$;
comment on column recommend.learning.update_count is $$
Number of updates since the statistics were last computed from the whole record.
$$;
comment on column recommend.learning.updated_at is $$Time of the last update.$$;
comment on column recommend.learning.rebuilt_at is $$
Time at which the statistics were last computed from the whole record.
$$;
comment on column recommend.learning.drift is $$
Relative error that the updates before this computation had left.
It is the largest, over the rows of the inverse of a part, of the distance to the computed row divided by its length; 0
for parts that count pairs, null before the first update.
$$;

create table if not exists recommend.learned (
  person_id bigint not null,
  model_id bigint not null references recommend.learning on delete cascade,
  item_ids bigint[] not null,
  strengths real[] not null,
  is_stale boolean not null default false,
  primary key (person_id, model_id),
  check (cardinality(item_ids) = cardinality(strengths) and cardinality(item_ids) > 0)
);

comment on table recommend.learned is $$
@foreignKey (model_id) references recommend.learning (model_id)
@behavior -*
Record of what a version of a recommender learned from each person, so that it can be unlearned exactly.
$$;
comment on column recommend.learned.person_id is $$Person.$$;
comment on column recommend.learned.model_id is $$Version.$$;
comment on column recommend.learned.item_ids is $$Items of the person, in the order of their last use.$$;
comment on column recommend.learned.strengths is $$Strength of each of them, above 0 and at most 1.$$;
comment on column recommend.learned.is_stale is $$
Whether the rows of the person may have changed while the version was not deployed; they are not learned then.
$$;

create index if not exists learned_model on recommend.learned (model_id);

create table if not exists recommend.learned_item (
  model_id bigint not null,
  part smallint not null,
  item_id bigint not null references track.item,
  person_count int not null check (person_count >= 0),
  target_ids bigint[],
  totals bigint[],
  inverse vector,
  primary key (model_id, part, item_id),
  foreign key (model_id, part) references recommend.model_part on delete cascade,
  check (cardinality(target_ids) = cardinality(totals)),
  check ((inverse is null) = (target_ids is not null))
);

-- Read and written whole: uncompressed.
alter table recommend.learned_item alter column target_ids set storage external;
alter table recommend.learned_item alter column totals set storage external;
alter table recommend.learned_item alter column inverse set storage external;

comment on table recommend.learned_item is $$
@behavior -*
Sufficient statistics of the parts of versions that learn: one row per item, from which its neighbour list is made.
$$;
comment on column recommend.learned_item.model_id is $$Version.$$;
comment on column recommend.learned_item.part is $$Part of the version.$$;
comment on column recommend.learned_item.item_id is $$Item.$$;
comment on column recommend.learned_item.person_count is $$Number of people in the record who have the item.$$;
comment on column recommend.learned_item.target_ids is $$
Of a part that counts pairs: the items of the sums, in ascending order. Null for EASE and EDLAE.
$$;
comment on column recommend.learned_item.totals is $$
Sum of each of them, a whole number of 2^-40 (`ml.sequence_pairs`, `ml.item_knn_pairs`).
$$;
comment on column recommend.learned_item.inverse is $$
Of EASE and EDLAE: the row of P = (XᵀX + ridges)⁻¹, whose columns are the items of the part in ascending order.
$$;

create index if not exists learned_item_item on recommend.learned_item (item_id);

alter table recommend.learning enable row level security;
alter table recommend.learned enable row level security;
alter table recommend.learned_item enable row level security;

insert into track.consumer (consumer, position, refresh, inputs, description)
values (
  'recommend.learned', 4, 'recommend.learn', '{event,enrolment,decision,identity}',
  'What the deployed recommenders learned from each person.'
)
on conflict do nothing;

insert into track.distribution (schema_name, table_name, column_name, colocated_with, description)
values (
  'recommend', 'learned', 'person_id', 'track.event', 'What recommenders learned from the person.'
)
on conflict do nothing;

/* --- serving: the lists of a set of people are found by its name alone --- */

-- A table of some thousand rows.
-- squawk-ignore require-concurrent-index-deletion
drop index if exists recommend.ranked_list_order;
create index ranked_list_order on recommend.ranked_list (list, kind, score desc, item_id);

-- Functions whose arguments changed.
drop function if exists recommend._gather(
  recommend.person_context, recommend.request, text[], bigint, int, bigint[], int, bigint[], float8[], text[]
);
drop function if exists recommend._explain(
  recommend.person_context, text, bigint, int, int, bigint[], text[], float8[], bigint[], int, text
);

-- Rows of former versions are changed by the next training.
alter table recommend.neighbours set (toast_tuple_target = 8160);

/* --- Bounds of the recommender: periods of its settings, and when a standard error is unknown --- */

update recommend.setting
set
  serving_period = least(serving_period, '10 years'),
  attribution_period = least(attribution_period, '10 years')
where serving_period > '10 years'
  or attribution_period > '10 years';

-- The table has one row.
alter table recommend.setting
  drop constraint if exists setting_serving_period_check,
  -- squawk-ignore constraint-missing-not-valid
  add constraint setting_serving_period_check check (serving_period > '0' and serving_period <= '10 years'),
  drop constraint if exists setting_attribution_period_check,
  -- squawk-ignore constraint-missing-not-valid
  add constraint setting_attribution_period_check
    check (attribution_period > '0' and attribution_period <= '10 years');

comment on column recommend.policy_value.ips_standard_error is $$
Standard error of `ips`, by person; null for fewer than two people, and when all deviations are 0.
$$;
comment on column recommend.policy_value.snips_standard_error is $$
Standard error of `snips`, by person (delta method); null for fewer than two people, and when all deviations are 0.
$$;

/* --- Erasure: requested erasures, and their repetition after a restore --- */

alter table privacy.setting add column if not exists returned_function text
  check (returned_function ~ '^[a-z][a-z_]*\.[a-z_]+$');
comment on column privacy.setting.returned_function is $$
Name of the function that returns the people whose names are suppressed although they are stored.
With its schema; called by `privacy.replay_erasures`.
$$;
update privacy.setting set returned_function = 'track.returned_people' where returned_function is null;

do $do$
begin
  create type privacy.erased_requests as (
    erased int,
    failed int,
    error text
  );
exception when duplicate_object then null;
end
$do$;

comment on type privacy.erased_requests is $$
@behavior -*
Result of a step of the erasures that people requested.
$$;
comment on column privacy.erased_requests.erased is $$1 when a person was erased, 0 when no request was left.$$;
comment on column privacy.erased_requests.failed is $$Number of requests before it that failed.$$;
comment on column privacy.erased_requests.error is $$Error of one of them, at most 100 characters; null without.$$;

drop function if exists track.lock_subject(text);

/* --- Erasure: what is derived of an item goes with it --- */

do $do$
declare
  v_table text;
begin
  foreach v_table in array array['neighbours', 'ranked_list', 'item_vector'] loop
    if exists (
      select
      from pg_constraint
      where conrelid = format('recommend.%I', v_table)::regclass
        and conname = v_table || '_item_id_fkey'
        and confdeltype = 'a'
    ) then
      execute format(
        'alter table recommend.%1$I drop constraint %2$I, '
          'add constraint %2$I foreign key (item_id) references track.item on delete cascade not valid',
        v_table, v_table || '_item_id_fkey'
      );
      execute format('alter table recommend.%I validate constraint %I', v_table, v_table || '_item_id_fkey');
    end if;
  end loop;
end
$do$;

--! Included common/functions/without_values.sql
create or replace function common.without_values(message text)
returns text
language sql
immutable
strict
parallel safe
begin atomic
  select left(regexp_replace(message, '"[^"]*("|$)', '"…"', 'g'), 100);
end;

comment on function common.without_values(text) is $$
Returns an error message without what it quotes, at most 100 characters, for logs and for tables that operators read.
PostgreSQL puts values that are not valid in quotation marks: they may be data of a person. An open quotation mark, as
of a message that was cut off, hides the rest. Null for null.
$$;

grant execute on function common.without_values(text) to insights_admin, insights_worker;
--! EndIncluded common/functions/without_values.sql

--! Included common/functions/relation.sql
create or replace function common.relation(source_table text)
returns regclass
language plpgsql
stable
parallel safe
as $$
declare
  v_relation regclass;
  v_kind "char";
  v_parts text[];
  v_candidates oid[];
  v_nearest text;
begin
  if source_table is null or btrim(source_table) = '' then
    perform common.refuse('CF001', 'the source table is null or empty',
      'Name a table, view or materialized view, such as ''public.houses''.');
  end if;
  begin
    perform parse_ident(source_table);
    v_relation := to_regclass(source_table);
  exception when invalid_parameter_value or invalid_name or syntax_error or feature_not_supported then
    perform common.refuse('CF001', format('"%s" is not the name of a table', left(source_table, 100)),
      'Give schema.name; put a name with blanks, capitals or semicolons into double quotes.');
  end;
  if v_relation is null then
    v_parts := parse_ident(source_table);
    v_candidates := array(
      select class.oid
      from pg_catalog.pg_class as class
      join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
      where class.relkind in ('r', 'v', 'm', 'p', 'f')
        and namespace.nspname not in ('pg_catalog', 'information_schema', 'pg_toast')
    );
    v_nearest := common.nearest_name(
      v_parts[cardinality(v_parts)],
      (select array_agg(class.relname::text) from pg_catalog.pg_class as class where class.oid = any (v_candidates))
    );
    -- regclass adds the schema where the caller needs it; the schema that the caller gave comes first.
    v_nearest := (
      select class.oid::regclass::text
      from pg_catalog.pg_class as class
      where class.oid = any (v_candidates)
        and class.relname = v_nearest
      order by class.relnamespace::regnamespace::text = v_parts[cardinality(v_parts) - 1] desc nulls last, class.oid
      limit 1
    );
    perform common.refuse('CF002', format('there is no table "%s"', left(source_table, 100)),
      coalesce('Did you mean "' || v_nearest || '"?', 'Name a table, view or materialized view, with its schema.'));
  end if;
  v_kind := (select relkind from pg_catalog.pg_class where oid = v_relation);
  if v_kind not in ('r', 'v', 'm', 'p', 'f') then
    perform common.refuse('CF001', format('"%s" is not a table, view or materialized view', left(source_table, 100)),
      'Name a relation that has rows.');
  end if;
  if not has_any_column_privilege(v_relation, 'select') then
    perform common.refuse('CF005', format('role "%s" may not read "%s"', current_user, left(source_table, 100)),
      'Ask its owner to grant select.');
  end if;
  return v_relation;
end;
$$;

comment on function common.relation(text) is $$
Returns the table, view or materialized view with a name, resolved by the caller's `search_path`.
Raises an error unless the caller may read it.
Errors: CF001 (not a name, not a relation with rows), CF002 (absent; names the nearest), CF005 (not readable).
$$;

grant execute on function common.relation(text) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded common/functions/relation.sql

--! Included common/functions/companion_table.sql
create or replace function common.companion_table(
  qualified_name text,
  suffix text
)
returns text
language plpgsql
stable
strict
set search_path to pg_catalog, pg_temp
as $$
declare
  v_parts text[];
begin
  begin
    v_parts := parse_ident(left(qualified_name, 300));
  exception when invalid_parameter_value then
    null;
  end;
  if cardinality(v_parts) is distinct from 2 then
    perform common.refuse('CF001', format('"%s" is not the name of a table with its schema', left(qualified_name, 100)),
      'Give schema.name; put a name with blanks, capitals or semicolons into double quotes.');
  end if;
  return format('%I.%I', v_parts[1], v_parts[2] || suffix);
end;
$$;

comment on function common.companion_table(text, text) is $$
Returns the quoted name of a companion table: schema.name and a suffix such as `_summary`.
Error CF001 for a name without a schema.
$$;

grant execute on function common.companion_table(text, text) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded common/functions/companion_table.sql

--! Included ml/linear_algebra/_without_traces.sql
create or replace function ml._without_traces(v vector)
returns vector
language plpgsql
immutable
parallel safe
set search_path from current
as $$
declare
  v_largest constant float8 := vector_norm(v);
  v_unit vector;
begin
  if v_largest < 1e-20 then
    return array_fill(0, array[vector_dims(v)])::vector;
  end if;
  v_unit := array_fill((v_largest * 2::float8 ^ -20)::real, array[vector_dims(v)])::vector;
  return (v + v_unit) - v_unit;
end;
$$;

comment on function ml._without_traces(vector) is $$
Returns a vector whose entries below about 1e-13 of its length are zero, rounded to this precision.
The product of two vectors fails when a product of entries is too small for single precision; that of the results does
not.
$$;

grant execute on function ml._without_traces(vector) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/linear_algebra/_without_traces.sql

--! Included ml/linear_algebra/inverse.sql
create or replace function ml._inverse_factor_leaf(
  matrix vector[],
  first_row int,
  out factor vector[],
  out transposed vector[]
)
language plpgsql
immutable
parallel safe
set search_path from current
as $$
declare
  v_size constant int := cardinality(matrix);
  v_matrix constant float8[] := array(select unnest(row_.v::real[]) from (select unnest(matrix) as v offset 0) as row_);
  v_lower float8[] := array_fill(0::float8, array[v_size * v_size]);
  v_factor float8[] := v_lower;
  v_sum float8;
begin
  -- L by Cholesky's method, and its inverse, row by row: entry (i, j) is at (i - 1) n + j.
  for v_i in 1..v_size loop
    for v_j in 1..v_i loop
      v_sum := v_matrix[(v_i - 1) * v_size + v_j];
      for v_k in 1..v_j - 1 loop
        v_sum := v_sum - v_lower[(v_i - 1) * v_size + v_k] * v_lower[(v_j - 1) * v_size + v_k];
      end loop;
      if v_j < v_i then
        v_lower[(v_i - 1) * v_size + v_j] := v_sum / v_lower[(v_j - 1) * v_size + v_j];
      elsif v_sum < 1e-6 then
        perform common.refuse(
          'CF007',
          format(
            'the matrix is %s: pivot %s of row %s',
            case
              when v_sum < -1e-6 then 'not positive definite'
              else 'singular, or nearly singular in single precision'
            end,
            v_sum::real,
            first_row + v_i - 1
          ),
          'The row depends on the rows before it. Remove it, or add a positive number to the diagonal (a ridge).'
        );
      else
        v_lower[(v_i - 1) * v_size + v_i] := sqrt(v_sum);
      end if;
    end loop;

    v_factor[(v_i - 1) * v_size + v_i] := 1 / v_lower[(v_i - 1) * v_size + v_i];
    for v_j in 1..v_i - 1 loop
      v_sum := 0;
      for v_k in v_j..v_i - 1 loop
        v_sum := v_sum - v_lower[(v_i - 1) * v_size + v_k] * v_factor[(v_k - 1) * v_size + v_j];
      end loop;
      v_factor[(v_i - 1) * v_size + v_j] := v_sum / v_lower[(v_i - 1) * v_size + v_i];
    end loop;
  end loop;

  factor := array(
    select v_factor[(i - 1) * v_size + 1:i * v_size]::vector
    from generate_series(1, v_size) as i
  );
  transposed := array(
    select array(select v_factor[(i - 1) * v_size + j] from generate_series(1, v_size) as i)::vector
    from generate_series(1, v_size) as j
  );
end;
$$;

comment on function ml._inverse_factor_leaf(vector[], int) is $$
Returns the inverse K of the Cholesky factor of a small block, and its transpose, in double precision.
Error CF007 names the row, counted from `first_row`.
$$;

create or replace function ml._part_of_rows(
  matrix vector[],
  first_column int,
  columns int
)
returns vector[]
language sql
immutable
parallel safe
begin atomic
  select array(
    select subvector(row_.v, _part_of_rows.first_column, _part_of_rows.columns)
    from (select unnest(_part_of_rows.matrix) as v offset 0) as row_
  );
end;

comment on function ml._part_of_rows(vector[], int, int) is $$
Returns some neighbouring columns of a matrix.
$$;

create or replace function ml._product_by_lower(a vector[], triangle vector[])
returns vector[]
language plpgsql
immutable
parallel safe
set search_path from current
as $$
declare
  v_size constant int := cardinality(triangle);
  v_half constant int := v_size / 2;
begin
  if v_size <= 96 then
    return ml._product(a, triangle);
  end if;
  return array(
    select part.x || part.y
    from (
      select
        unnest(ml._product(
          ml._part_of_rows(a, 1, v_half), ml._part_of_rows(triangle[:v_half], 1, v_half)
        )) as x,
        unnest(ml._product(a, triangle[v_half + 1:])) as y
      offset 0
    ) as part
  );
end;
$$;

comment on function ml._product_by_lower(vector[], vector[]) is $$
Returns A times the transpose of a lower triangular matrix, without multiplying a quarter that is zero.
$$;

create or replace function ml._product_by_upper(a vector[], triangle vector[])
returns vector[]
language plpgsql
immutable
parallel safe
set search_path from current
as $$
declare
  v_size constant int := cardinality(triangle);
  v_half constant int := v_size / 2;
begin
  if v_size <= 96 then
    return ml._product(a, triangle);
  end if;
  return array(
    select part.x || part.y
    from (
      select
        unnest(ml._product(a, triangle[:v_half])) as x,
        unnest(ml._product(
          ml._part_of_rows(a, v_half + 1, v_size - v_half),
          ml._part_of_rows(triangle[v_half + 1:], v_half + 1, v_size - v_half)
        )) as y
      offset 0
    ) as part
  );
end;
$$;

comment on function ml._product_by_upper(vector[], vector[]) is $$
Returns A times the transpose of an upper triangular matrix, without multiplying a quarter that is zero.
$$;

create or replace function ml._lower_by_product(triangle vector[], b vector[])
returns vector[]
language plpgsql
immutable
parallel safe
set search_path from current
as $$
declare
  v_size constant int := cardinality(triangle);
  v_half constant int := v_size / 2;
begin
  if v_size <= 96 then
    return ml._product(triangle, b);
  end if;
  return ml._product(ml._part_of_rows(triangle[:v_half], 1, v_half), ml._part_of_rows(b, 1, v_half))
    || ml._product(triangle[v_half + 1:], b);
end;
$$;

comment on function ml._lower_by_product(vector[], vector[]) is $$
Returns a lower triangular matrix times the transpose of B, without multiplying a quarter that is zero.
$$;

create or replace function ml._upper_by_product(triangle vector[], b vector[])
returns vector[]
language plpgsql
immutable
parallel safe
set search_path from current
as $$
declare
  v_size constant int := cardinality(triangle);
  v_half constant int := v_size / 2;
begin
  if v_size <= 96 then
    return ml._product(triangle, b);
  end if;
  return ml._product(triangle[:v_half], b)
    || ml._product(
      ml._part_of_rows(triangle[v_half + 1:], v_half + 1, v_size - v_half),
      ml._part_of_rows(b, v_half + 1, v_size - v_half)
    );
end;
$$;

comment on function ml._upper_by_product(vector[], vector[]) is $$
Returns an upper triangular matrix times the transpose of B, without multiplying a quarter that is zero.
$$;

create or replace function ml._lower_gram(a vector[])
returns vector[]
language plpgsql
immutable
parallel safe
set search_path from current
as $$
declare
  v_size constant int := cardinality(a);
  v_half constant int := v_size / 2;
  v_zero constant vector := array_fill(0, array[greatest(v_size - v_half, 1)])::vector;
begin
  if v_size <= 96 then
    return ml._product(a, a);
  end if;
  return array(
    select part.x || v_zero from (select unnest(ml._lower_gram(a[:v_half])) as x offset 0) as part
  ) || array(
    select part.x || part.y
    from (
      select unnest(ml._product(a[v_half + 1:], a[:v_half])) as x, unnest(ml._lower_gram(a[v_half + 1:])) as y
      offset 0
    ) as part
  );
end;
$$;

comment on function ml._lower_gram(vector[]) is $$
Returns the lower triangle of A times its transpose; entries above the diagonal are undefined.
$$;

create or replace function ml._inverse_factor(
  matrix vector[],
  first_row int,
  needs_factor boolean,
  out factor vector[],
  out transposed vector[]
)
language plpgsql
immutable
parallel safe
set search_path from current
as $$
declare
  v_size constant int := cardinality(matrix);
  v_half constant int := v_size / 2;
  v_upper_zero constant vector := array_fill(0, array[greatest(v_half, 1)])::vector;
  v_lower_zero constant vector := array_fill(0, array[v_size - v_half])::vector;
  v_upper record;
  v_lower record;
  v_link vector[];
  v_scaled vector[];
begin
  if v_size <= 48 then
    select leaf.factor, leaf.transposed into factor, transposed
    from ml._inverse_factor_leaf(matrix, first_row) as leaf;
    return;
  end if;

  /*
   * M = [[A, Cᵀ], [C, D]], K = [[K₁, 0], [E, K₂]] with K₁ of A, K₂ of the Schur complement S = D - W Wᵀ, W = C K₁ᵀ, and
   * E = -K₂ W K₁. S is the difference of D and a matrix that is not larger, so rounding errors do not grow; with
   * C A⁻¹ Cᵀ they would. Only the lower triangles of M and S are read.
   */
  select * into v_upper
  from ml._inverse_factor(ml._part_of_rows(matrix[:v_half], 1, v_half), first_row, true);
  v_link := array(
    select v_upper_zero - subvector(row_.v, 1, v_half)
    from (select unnest(matrix[v_half + 1:]) as v offset 0) as row_
  );
  v_scaled := ml._product_by_lower(v_link, v_upper.factor); -- -W
  select * into v_lower
  from ml._inverse_factor(
    array(
      select subvector(pair.v, v_half + 1, v_size - v_half) - pair.w
      from (select unnest(matrix[v_half + 1:]) as v, unnest(ml._lower_gram(v_scaled)) as w offset 0) as pair
    ),
    first_row + v_half,
    true
  );
  v_scaled := ml._upper_by_product(v_upper.transposed, v_scaled); -- -(W K₁)ᵀ

  if needs_factor then
    factor := array(
      select row_.v || v_lower_zero from (select unnest(v_upper.factor) as v offset 0) as row_
    ) || array(
      select pair.e || pair.k
      from (
        select unnest(ml._lower_by_product(v_lower.factor, v_scaled)) as e, unnest(v_lower.factor) as k
        offset 0
      ) as pair
    );
  end if;
  transposed := array(
    select pair.k || pair.e
    from (
      select unnest(v_upper.transposed) as k, unnest(ml._product_by_lower(v_scaled, v_lower.factor)) as e
      offset 0
    ) as pair
  ) || array(
    select v_upper_zero || row_.v from (select unnest(v_lower.transposed) as v offset 0) as row_
  );
end;
$$;

comment on function ml._inverse_factor(vector[], int, boolean) is $$
Returns the inverse K of the Cholesky factor of a symmetric positive definite matrix, and its transpose.
The diagonal of the matrix M must be ones; only its lower triangle is read. By recursive halves; M⁻¹ = KᵀK.
K itself is null unless `needs_factor`.
$$;

create or replace function ml._triangular_gram(transposed vector[])
returns vector[]
language plpgsql
immutable
parallel safe
set search_path from current
as $$
declare
  v_size constant int := cardinality(transposed);
  v_half constant int := v_size / 2;
  v_link vector[];
  v_lower vector[];
begin
  if v_size <= 96 then
    return ml._product(transposed, transposed);
  end if;
  v_link := ml._part_of_rows(transposed[:v_half], v_half + 1, v_size - v_half);
  v_lower := ml._part_of_rows(transposed[v_half + 1:], v_half + 1, v_size - v_half);
  return array(
    select (part.k + part.e) || part.c
    from (
      select
        unnest(ml._triangular_gram(ml._part_of_rows(transposed[:v_half], 1, v_half))) as k,
        unnest(ml._product(v_link, v_link)) as e,
        unnest(ml._product_by_upper(v_link, v_lower)) as c
      offset 0
    ) as part
  ) || array(
    select part.c || part.k
    from (
      select unnest(ml._upper_by_product(v_lower, v_link)) as c, unnest(ml._triangular_gram(v_lower)) as k
      offset 0
    ) as part
  );
end;
$$;

comment on function ml._triangular_gram(vector[]) is $$
Returns KᵀK of a lower triangular matrix K, given as Kᵀ, without multiplying most of the half that is zero.
$$;

create or replace function ml.inverse(matrix vector[])
returns vector[]
language plpgsql
immutable
parallel safe
set search_path from current
as $$
declare
  v_size constant int := cardinality(matrix);
  v_matrix constant vector[] := matrix || '{}';
  v_diagonal float8[];
  v_scale vector;
  v_probe vector;
  -- 2^-40. The diagonal of the inverse of the scaled matrix is at least 1.
  v_trace constant vector := array_fill(9.094947e-13::real, array[greatest(v_size, 1)])::vector;
  v_by_rows vector;
  v_by_columns vector;
  v_inverse vector[];
  v_error float8;
begin
  if ml._matrix_columns(matrix, 'matrix') <> v_size then
    perform common.refuse('CF001', format('the matrix has %s rows and %s columns', v_size, vector_dims(matrix[1])),
      'Only a square matrix has an inverse.');
  end if;

  v_diagonal := array(
    select (row_.v::real[])[row_.n]
    from unnest(v_matrix) with ordinality as row_ (v, n)
    order by row_.n
  );
  if exists (select from unnest(v_diagonal) as entry where entry <= 0) then
    perform common.refuse(
      'CF007',
      format(
        'the matrix is not positive definite: %s on the diagonal of row %s',
        (select entry::real from unnest(v_diagonal) as entry where entry <= 0 limit 1),
        (select n from unnest(v_diagonal) with ordinality as entry (value, n) where value <= 0 order by n limit 1)
      ),
      'Covariance, Gram and kernel matrices have a positive diagonal; a ridge on it makes them invertible.'
    );
  end if;

  -- Scaled to ones on the diagonal, so that the size of a pivot does not depend on the units of the rows.
  v_scale := array(select 1 / sqrt(entry) from unnest(v_diagonal) as entry)::vector;
  v_inverse := array(
    select row_.v * v_scale * array_fill((v_scale::real[])[row_.n], array[v_size])::vector
    from unnest(v_matrix) with ordinality as row_ (v, n)
    order by row_.n
  );

  -- The algorithm reads one triangle only. M x = Mᵀ x for an irregular vector x shows that the matrix is symmetric.
  v_probe := array(select 0.5 + (n * 0.6180339887498949) % 1 from generate_series(1, v_size) as n)::vector;
  v_by_rows := (ml.transpose(ml._product(v_inverse, array[v_probe])))[1];
  v_by_columns := (
    select sum(row_.v * array_fill((v_probe::real[])[row_.n], array[v_size])::vector)
    from unnest(v_inverse) with ordinality as row_ (v, n)
  );
  if v_by_rows <-> v_by_columns > 1e-4 * vector_norm(v_by_rows) then
    perform common.refuse('CF001', 'the matrix is not symmetric',
      'Only symmetric positive definite matrices, such as AᵀA plus a ridge, are inverted here.');
  end if;

  select ml._triangular_gram(factored.transposed) into v_inverse
  from ml._inverse_factor(v_inverse, 1, false) as factored;

  v_error := l2_distance(
    (ml.transpose(ml._product(v_inverse, array[v_by_rows])))[1], v_probe
  ) / vector_norm(v_probe);
  if v_error > 1e-2 then
    perform common.refuse(
      'CF007',
      format('the matrix is nearly singular in single precision: M⁻¹ M x is off x by %s', v_error::real),
      'Add a positive number to the diagonal (a ridge), or use double precision.'
    );
  end if;

  -- Traces of links over many rows are removed: their products could be too small for single precision, which fails.
  return array(
    select ((row_.v + v_trace) - v_trace) * v_scale * array_fill((v_scale::real[])[row_.n], array[v_size])::vector
    from unnest(v_inverse) with ordinality as row_ (v, n)
    order by row_.n
  );
end;
$$;

comment on function ml.inverse(vector[]) is $$
Returns the inverse of a symmetric positive definite matrix, such as AᵀA plus a ridge.
Cholesky's method by recursive halves: blocks of up to 48 rows in double precision, all other products as inner products
in single precision. With a condition number of 50, `A·A⁻¹` differs from the identity by about 1e-6; the error grows in
proportion.
Shapes: n × n, n at most 16,000; time grows with the third power, 1.5 s for n = 1,700, 9 s for n = 3,300.
Errors: CF001 (not square, not symmetric), CF004 (no rows), CF007 (not positive definite, singular or nearly so; names
the row).
Source: Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition, SIAM 2002, chapters 10, 13 and 14.
$$;

grant execute on function
  ml._inverse_factor_leaf(vector[], int),
  ml._part_of_rows(vector[], int, int),
  ml._product_by_lower(vector[], vector[]),
  ml._product_by_upper(vector[], vector[]),
  ml._lower_by_product(vector[], vector[]),
  ml._upper_by_product(vector[], vector[]),
  ml._lower_gram(vector[]),
  ml._inverse_factor(vector[], int, boolean),
  ml._triangular_gram(vector[]),
  ml.inverse(vector[])
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/linear_algebra/inverse.sql

--! Included ml/linear_algebra/rank_one_update.sql
create or replace function ml.rank_one_update(
  inverse vector[],
  x vector,
  weight float8 default 1
)
returns vector[]
language plpgsql
immutable
parallel safe
set search_path from current
as $$
declare
  v_size constant int := cardinality(inverse);
  v_product vector;
  v_quadratic float8;
  v_factor float8;
begin
  if ml._matrix_columns(inverse, 'inverse') <> v_size or vector_dims(x) is distinct from v_size then
    perform common.refuse(
      'CF001',
      format(
        'the inverse has %s rows and %s columns, x has %s entries',
        v_size,
        vector_dims(inverse[1]),
        coalesce(vector_dims(x)::text, 'no')
      ),
      'Give the inverse of an n × n matrix and a vector of n entries.'
    );
  end if;
  if weight is null or not abs(weight) < 'infinity' then
    perform common.refuse('CF001', format('the weight is %s', coalesce(weight::text, 'null')),
      'Give 1 to add x xᵀ, -1 to subtract it.');
  end if;

  -- (A + w x xᵀ)⁻¹ = P - w P x xᵀ P / (1 + w xᵀ P x)
  v_product := (ml.transpose(ml._product(inverse, array[x])))[1];
  v_quadratic := 1 - weight * (x <#> v_product);
  if v_quadratic < 1e-6 then
    perform common.refuse(
      'CF007',
      format('the matrix would no longer be positive definite: 1 + w xᵀA⁻¹x is %s', v_quadratic::real),
      'Subtract only what was added before.'
    );
  end if;
  v_factor := weight / v_quadratic;
  v_product := ml._without_traces(v_product);
  return array(
    select pair.v - v_product * array_fill(v_factor * pair.entry, array[v_size])::vector
    from (select unnest(inverse) as v, unnest(v_product::real[]) as entry offset 0) as pair
  );
end;
$$;

comment on function ml.rank_one_update(vector[], vector, float8) is $$
Returns the inverse of A + weight · x xᵀ from the inverse of A, in n² steps where a new inversion takes n³.
With `inverse` = (XᵀX + λI)⁻¹ and `x` the row of a learner, weight 1 is exact learning and weight -1 exact unlearning.
Shapes: n × n and n give n × n. Single precision: after some thousands of updates, invert the matrix again.
Errors: CF001 (shapes, weight), CF004 (no rows), CF007 (the result would not be positive definite).
Source: Sherman and Morrison, Adjustment of an inverse matrix corresponding to a change in one element of a given
matrix,
Annals of Mathematical Statistics 21, 1950.
$$;

grant execute on function ml.rank_one_update(vector[], vector, float8)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/linear_algebra/rank_one_update.sql

--! Included ml/linear_algebra/low_rank_update.sql
create or replace function ml.low_rank_update(
  inverse vector[],
  columns vector[],
  factors float8[]
)
returns vector[]
language plpgsql
immutable
parallel safe
set search_path from current
set jit to off
as $$
declare
  v_size constant int := cardinality(inverse);
  v_rank constant int := cardinality(columns);
  v_products vector[];
  v_row real[];
  v_step vector;
  v_inner float8[];
  v_middle float8[];
  v_solved vector[];
  v_pivot int;
  v_value float8;
  v_factor float8;
begin
  if columns is null or factors is null or cardinality(factors) <> v_rank then
    perform common.refuse(
      'CF001',
      format('%s columns and %s factors', coalesce(v_rank::text, 'null'),
        coalesce(cardinality(factors)::text, 'null')),
      'Give one factor per column.'
    );
  end if;
  if v_rank > 256 then
    perform common.refuse('CF008', format('%s columns are too many', v_rank),
      'At most 256 at once: call it for some after the others, or invert the new matrix.');
  end if;
  if exists (select from unnest(factors) as factor where (factor <> 0 and abs(factor) < 'infinity') is not true) then
    perform common.refuse('CF001', 'a factor is 0, null or not finite', 'Leave out columns with a factor of 0.');
  end if;
  if v_rank = 0 then
    return inverse;
  end if;
  if ml._matrix_columns(inverse, 'inverse') <> v_size or ml._matrix_columns(columns, 'columns') <> v_size then
    perform common.refuse(
      'CF001',
      format('the inverse has %s rows and %s columns, a column has %s entries', v_size, vector_dims(inverse[1]),
        vector_dims(columns[1])),
      'Give the inverse of an n × n matrix and columns of n entries.'
    );
  end if;

  -- (A + U C Uᵀ)⁻¹ = P - P U (C⁻¹ + Uᵀ P U)⁻¹ Uᵀ P. First UᵀP, one row per column of U: P is symmetric.
  v_products := ml._product(columns, inverse);
  v_inner := array(
    select unnest(row_.v::real[])::float8 from unnest(ml._product(v_products, columns)) with ordinality as row_ (v, n)
  );
  -- The inverse of the small matrix in double precision, by Gauss and Jordan: an array of rows of it and of the unit.
  v_middle := array_fill(0::float8, array[v_rank, 2 * v_rank]);
  for i in 1..v_rank loop
    for j in 1..v_rank loop
      v_middle[i][j] := (v_inner[(i - 1) * v_rank + j] + v_inner[(j - 1) * v_rank + i]) / 2;
    end loop;
    v_middle[i][i] := v_middle[i][i] + 1 / factors[i];
    v_middle[i][v_rank + i] := 1;
  end loop;
  for k in 1..v_rank loop
    v_pivot := k;
    for i in k + 1..v_rank loop
      if abs(v_middle[i][k]) > abs(v_middle[v_pivot][k]) then
        v_pivot := i;
      end if;
    end loop;
    -- Relative to 1 / factor, as the quotient of determinants of ml.rank_one_update.
    if not abs(v_middle[v_pivot][k]) > 1e-6 / (select max(abs(factor)) from unnest(factors) as factor) then
      perform common.refuse(
        'CF007',
        format('the matrix would be singular: pivot %s of column %s', v_middle[v_pivot][k]::real, k),
        'Subtract only what was added before.'
      );
    end if;
    if v_pivot <> k then
      for j in 1..2 * v_rank loop
        v_value := v_middle[k][j];
        v_middle[k][j] := v_middle[v_pivot][j];
        v_middle[v_pivot][j] := v_value;
      end loop;
    end if;
    v_value := v_middle[k][k];
    for j in k..2 * v_rank loop
      v_middle[k][j] := v_middle[k][j] / v_value;
    end loop;
    for i in 1..v_rank loop
      v_factor := v_middle[i][k];
      if i <> k and v_factor <> 0 then
        for j in k..2 * v_rank loop
          v_middle[i][j] := v_middle[i][j] - v_factor * v_middle[k][j];
        end loop;
      end if;
    end loop;
  end loop;

  -- (C⁻¹ + UᵀPU)⁻¹ UᵀP, then each row of P less its part.
  v_solved := ml._product(
    array(
      select array(select v_middle[i][v_rank + j]::real from generate_series(1, v_rank) as j order by j)::vector
      from generate_series(1, v_rank) as i
      order by i
    ),
    ml.transpose(v_products)
  );
  if v_rank <= 6 then
    for k in 1..v_rank loop
      v_row := ml._without_traces(v_products[k])::real[];
      v_step := ml._without_traces(v_solved[k]);
      inverse := array(
        select row_.v - v_step * array_fill(row_.entry, array[v_size])::vector
        from (select unnest(inverse) as v, unnest(v_row) as entry offset 0) as row_
      );
    end loop;
    return inverse;
  end if;
  return array(
    select pair.v - pair.part
    from (
      select unnest(inverse) as v, unnest(ml._product(ml.transpose(v_products), ml.transpose(v_solved))) as part
      offset 0
    ) as pair
  );
end;
$$;

comment on function ml.low_rank_update(vector[], vector[], float8[]) is $$
@behavior -*
Returns the inverse of A + Σ factor · u uᵀ, over columns u, from the inverse of the symmetric matrix A.
One pass for several changes where `ml.rank_one_update` makes one for each: rows of people that arrive, change or leave,
and elements of the diagonal. At most 256 columns. With more than 6 the time hardly depends on their number.
Shapes: n × n, m columns of n entries and m factors give n × n. Single precision, as `ml.rank_one_update`.
Errors: CF001 (shapes, factors), CF004 (no rows), CF007 (the result would not be invertible), CF008 (columns).
Source: Woodbury, Inverting modified matrices, Princeton Statistical Research Group, Memorandum 42, 1950.
$$;

grant execute on function ml.low_rank_update(vector[], vector[], float8[])
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/linear_algebra/low_rank_update.sql

--! Included ml/distributions/_finite_range.sql
create or replace function ml._finite_range(x float8)
returns float8
language sql
immutable
parallel safe
begin atomic
  select case
    when _finite_range.x = 'NaN' then _finite_range.x
    when abs(_finite_range.x) < 1e-100 then 0
    else greatest(least(_finite_range.x, 1e100), -1e100)
  end;
end;

comment on function ml._finite_range(float8) is $$
Returns x, at most 1e100 in absolute value, and 0 below 1e-100.
Products, squares and quotients of such numbers do not overflow or underflow, which are errors in SQL; no distribution
function changes in its first 16 digits between these bounds and infinity, or 0.
$$;

grant execute on function ml._finite_range(float8)
to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/distributions/_finite_range.sql

--! Included ml/distributions/_check_degrees.sql
create or replace function ml._check_degrees(degrees float8, most float8 default 1e9)
returns void
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if not degrees > 0 or degrees > most then
    perform common.refuse('CF001', format('there are %s degrees of freedom', degrees),
      format('Give a number above 0, of at most %s.', most));
  end if;
end;
$$;

comment on function ml._check_degrees(float8, float8) is $$
Error CF001 unless 0 < degrees <= most. With more, the series of the distribution functions do not converge.
$$;

grant execute on function ml._check_degrees(float8, float8)
to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/distributions/_check_degrees.sql

--! Included ml/distributions/normal_cdf.sql
create or replace function ml.normal_cdf(x float8, mean float8 default 0, sd float8 default 1)
returns float8
language sql
immutable
parallel safe
begin atomic
  select case
    when normal_cdf.sd > 0 and normal_cdf.sd < 'infinity'
      then ml._standard_normal_cdf(
        ml._finite_range(ml._finite_range(normal_cdf.x) - ml._finite_range(normal_cdf.mean))
          / greatest(ml._finite_range(normal_cdf.sd), 1e-100)
      )
    when normal_cdf.sd is null or normal_cdf.x is null or normal_cdf.mean is null then null
    else 'NaN'
  end;
end;

comment on function ml.normal_cdf(float8, float8, float8) is $$
Returns the normal distribution function, the probability of a value up to x.
The mean is 0 and the standard deviation 1 by default. Absolute error below 1e-15; twelve correct digits in the lower
tail. 0 or 1 beyond 38 standard deviations. NaN unless `sd` is a positive number.
$$;

grant execute on function ml.normal_cdf(float8, float8, float8)
to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/distributions/normal_cdf.sql

--! Included ml/distributions/normal_quantile.sql
create or replace function ml.normal_quantile(p float8, mean float8 default 0, sd float8 default 1)
returns float8
language plpgsql
immutable
parallel safe
strict
set search_path to pg_catalog, pg_temp
as $$
declare
  v_tail constant float8 := least(p, 1 - p);
  v_t float8;
  v_z float8;
  v_error float8;
begin
  if not p > 1e-300 or not p < 1 then
    perform common.refuse('CF001', format('%s is not a probability between 0 and 1', p),
      'A quantile is computed for 1e-300 < p < 1.');
  end if;
  if sd = 'NaN' or not sd >= 0 or sd = 'infinity' or mean in ('NaN', 'infinity', '-infinity') then
    perform common.refuse('CF001', format('the mean is %s and the standard deviation %s', mean, sd),
      'Give numbers, the standard deviation from 0.');
  end if;
  if p = 0.5 then
    return mean;
  end if;
  -- Abramowitz and Stegun 26.2.23 has an error of 4.5e-4; each step of Halley's method triples the digits
  v_t := sqrt(-2 * ln(v_tail));
  v_z := -(
    v_t - (2.515517 + 0.802853 * v_t + 0.010328 * v_t * v_t)
      / (1 + 1.432788 * v_t + 0.189269 * v_t * v_t + 0.001308 * v_t * v_t * v_t)
  );
  for step in 1..3 loop
    v_error := (ml._incomplete_gamma(0.5, v_z * v_z / 2, true) / 2 - v_tail)
      * 2.506628274631000502415765284811 * exp(v_z * v_z / 2);
    v_z := v_z - v_error / (1 + v_z * v_error / 2);
  end loop;
  v_z := case when p < 0.5 then v_z else -v_z end;
  -- Beyond double precision.
  if ln(greatest(sd, 1e-300)) + ln(greatest(abs(v_z), 1e-300)) > 709 or abs(mean) > 1e308 then
    perform common.refuse('CF001', format('the mean is %s and the standard deviation %s', mean, sd),
      'The quantile is out of the range of double precision.');
  end if;
  return mean + ml._finite_range(sd) * v_z;
end
$$;

comment on function ml.normal_quantile(float8, float8, float8) is $$
Returns the normal quantile: the value that a normal variable does not exceed with probability p, to about 14 digits.
Error CF001 unless 1e-300 < p < 1, and the mean and a standard deviation from 0 are finite.
$$;

grant execute on function ml.normal_quantile(float8, float8, float8)
to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/distributions/normal_quantile.sql

--! Included ml/distributions/students_t_cdf.sql
create or replace function ml.students_t_cdf(x float8, nu float8)
returns float8
language plpgsql
immutable
parallel safe
strict
set search_path to pg_catalog, pg_temp
as $$
declare
  v_x constant float8 := ml._finite_range(x);
  v_p_value float8;
begin
  if v_x = 'NaN' or nu = 'NaN' then
    return 'NaN';
  end if;
  if nu > 1e15 then
    return ml.normal_cdf(v_x);
  end if;
  perform ml._check_degrees(nu, 1e15);
  v_p_value := ml._students_t_p_value(v_x, greatest(nu, 1e-100));
  return case when v_x < 0 then v_p_value / 2 else 1 - v_p_value / 2 end;
end;
$$;

comment on function ml.students_t_cdf(float8, float8) is $$
Returns Student's t distribution function at x with nu > 0 degrees of freedom.
`nu` need not be an integer; above 1e15, the distribution is the normal one. Error CF001 unless it is above 0.
By the incomplete beta function.
$$;

grant execute on function ml.students_t_cdf(float8, float8)
to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/distributions/students_t_cdf.sql

--! Included ml/distributions/students_t_quantile.sql
create or replace function ml.students_t_quantile(p float8, nu float8)
returns float8
language plpgsql
immutable
parallel safe
strict
set search_path to pg_catalog, pg_temp
as $$
declare
  v_tail constant float8 := least(p, 1 - p);
  v_low float8 := 0;
  v_high float8 := 1;
  v_t float8;
  v_density float8;
  v_error float8;
  v_next float8;
begin
  if not p > 1e-300 or not p < 1 or not nu > 0.01 or nu > 1e9 then
    perform common.refuse('CF001', format('there is no quantile of Student''s t for p = %s and nu = %s', p, nu),
      'Give p above 1e-300 and below 1, and nu above 0.01 and at most 1e9.');
  end if;
  if p = 0.5 then
    return 0;
  end if;
  while ml._students_t_p_value(v_high, nu) / 2 > v_tail and v_high < 1e100 loop
    v_low := v_high;
    v_high := v_high * 4;
  end loop;
  v_t := (v_low + v_high) / 2;
  -- Newton's method within a bracket, which a step cannot leave; it converges quadratically
  for step in 1..200 loop
    v_error := ml._students_t_p_value(v_t, nu) / 2 - v_tail;
    if v_error > 0 then
      v_low := v_t;
    else
      v_high := v_t;
    end if;
    v_density := exp(-(nu + 1) / 2 * ml._log1p(v_t * v_t / nu) - ml._log_beta(nu / 2, 0.5)) / sqrt(nu);
    v_next := v_t + v_error / v_density;
    if not (v_next > v_low and v_next < v_high) then
      v_next := (v_low + v_high) / 2;
    end if;
    exit when abs(v_next - v_t) <= 1e-15 * v_t;
    v_t := v_next;
  end loop;
  return case when p < 0.5 then -v_t else v_t end;
end
$$;

comment on function ml.students_t_quantile(float8, float8) is $$
Returns the quantile of Student's t with nu degrees of freedom, to about 13 digits.
For p = 0.975 it is half the width of a 95 % confidence interval in standard errors.
Error CF001 unless 1e-300 < p < 1 and 0.01 < nu <= 1e9.
$$;

grant execute on function ml.students_t_quantile(float8, float8)
to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/distributions/students_t_quantile.sql

--! Included ml/distributions/chi_squared_cdf.sql
create or replace function ml.chi_squared_cdf(x float8, nu float8)
returns float8
language plpgsql
immutable
parallel safe
strict
set search_path to pg_catalog, pg_temp
as $$
declare
  v_x constant float8 := greatest(ml._finite_range(x), 0);
begin
  if v_x = 'NaN' or nu = 'NaN' then
    return 'NaN';
  end if;
  perform ml._check_degrees(nu, 1e7);
  return ml._incomplete_gamma(greatest(nu, 1e-100) / 2, v_x / 2, false);
end;
$$;

comment on function ml.chi_squared_cdf(float8, float8) is $$
Returns the chi-squared distribution function at x with nu > 0 degrees of freedom, by the incomplete gamma function.
Error CF001 unless `nu` is above 0, and at most 1e7.
$$;

grant execute on function ml.chi_squared_cdf(float8, float8)
to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/distributions/chi_squared_cdf.sql

--! Included ml/distributions/fisher_f_cdf.sql
create or replace function ml.fisher_f_cdf(x float8, df1 float8, df2 float8)
returns float8
language plpgsql
immutable
parallel safe
strict
set search_path to pg_catalog, pg_temp
as $$
declare
  v_x constant float8 := greatest(ml._finite_range(x), 0);
  v_df1 constant float8 := greatest(df1, 1e-100);
  v_df2 constant float8 := greatest(df2, 1e-100);
begin
  if v_x = 'NaN' or df1 = 'NaN' or df2 = 'NaN' then
    return 'NaN';
  end if;
  perform ml._check_degrees(df1), ml._check_degrees(df2);
  return ml._incomplete_beta(
    v_df1 / 2,
    v_df2 / 2,
    v_df1 * v_x / (v_df1 * v_x + v_df2),
    v_df2 / (v_df1 * v_x + v_df2)
  );
end;
$$;

comment on function ml.fisher_f_cdf(float8, float8, float8) is $$
Returns Fisher's F distribution function at x with df1 and df2 degrees of freedom, by the incomplete beta function.
Error CF001 unless both are above 0, and at most 1e9.
$$;

grant execute on function ml.fisher_f_cdf(float8, float8, float8)
to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/distributions/fisher_f_cdf.sql

--! Included ml/regression/_caller_error.sql
create or replace function ml._caller_error(state text, message text, relation regclass)
returns void
language plpgsql
as $$
declare
  v_name text := coalesce(substring(message from '"([^"]*)"'), substring(message from 'column ([^ ]+) '));
begin
  if state = '42703' then
    perform common.refuse(
      'CF002',
      format('"%s" has no column "%s"', relation, left(v_name, 100)),
      coalesce(
        'Did you mean "' || common.nearest_name(v_name, common.columns(relation)) || '"?',
        format('Its columns are %s.', array_to_string(common.columns(relation), ', '))
      )
    );
  elsif state = '42501' then
    perform common.refuse(
      'CF005',
      format('role "%s" may not read "%s": %s', current_user, relation, left(message, 100)),
      'Ask its owner to grant select.'
    );
  elsif state in ('22003', '22P02') and message ~* 'overflow|underflow|out of range' then
    perform common.refuse(
      'CF007',
      format('the values of "%s" are too large or too small to be squared: %s', relation, left(message, 100)),
      'Use other units, so that the values are between 1e-100 and 1e100.'
    );
  elsif left(state, 2) in ('22', '42', '0A', '54', '34') then
    perform common.refuse(
      'CF001',
      format('the expressions cannot be evaluated over "%s": %s', relation, left(message, 100)),
      'Give columns, or one SQL expression over the columns of one row.'
    );
  end if;
  perform common.refuse(left(state, 5), left(message, 300));
end;
$$;

comment on function ml._caller_error(text, text, regclass) is $$
Raises the error of a statement with a caller's expressions as an error of class CF.
CF002 (unknown column; names the nearest), CF005 (not readable), CF007 (overflow, underflow), CF001 (other errors in
data or syntax).
$$;

grant execute on function ml._caller_error(text, text, regclass) to insights_admin, insights_worker;
--! EndIncluded ml/regression/_caller_error.sql

--! Included ml/regression/_options.sql
create or replace function ml._options(options text, allowed text[], what text)
returns jsonb
language plpgsql
immutable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_result jsonb := '{}';
  v_option text;
  v_name text;
begin
  foreach v_option in array coalesce(common.split_expressions(nullif(btrim(options), '')), '{}') loop
    v_name := lower(btrim(split_part(v_option, '=', 1)));
    if position('=' in v_option) = 0 or v_name <> all (allowed) then
      perform common.refuse(
        'CF001',
        format('%s: there is no option "%s"', left(what, 100), left(v_option, 100)),
        coalesce(
          'Did you mean "' || common.nearest_name(v_name, allowed) || '"?',
          format(
            'Give name=value pairs, separated by commas; the names are %s.',
            array_to_string(array(select left(name, 60) from unnest(allowed) as name limit 30), ', ')
          )
        )
      );
    end if;
    v_result := v_result || jsonb_build_object(
      v_name, btrim(substr(v_option, position('=' in v_option) + 1), ' "''')
    );
  end loop;
  return v_result;
end;
$$;

comment on function ml._options(text, text[], text) is $$
Returns MADlib's `name=value, name=value` parameters as an object.
Error CF001 for an unknown name, with the nearest name.
$$;

grant execute on function ml._options(text, text[], text) to insights_admin, insights_worker;
--! EndIncluded ml/regression/_options.sql

--! Included ml/regression/elastic_net_binomial_prob.sql
create or replace function ml.elastic_net_binomial_prob(coefficients float8[], intercept float8, ind_var float8[])
returns float8
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if array_ndims(coefficients) > 1 or array_ndims(ind_var) > 1 then
    perform common.refuse('CF001', 'the coefficients or the independent variables are a matrix',
      'Give the arrays of one row.');
  end if;
  return ml.logregr_predict_prob(intercept || coefficients, 1::float8 || ind_var);
end;
$$;

comment on function ml.elastic_net_binomial_prob(float8[], float8, float8[]) is $$
Returns the probability of class 1 (true) by a logistic elastic net, from coef_all and intercept.
Error CF001 when the lengths differ, or an array has two dimensions.
$$;

grant execute on function ml.elastic_net_binomial_prob(float8[], float8, float8[])
to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/elastic_net_binomial_prob.sql

--! Included ml/assessment/adjusted_r2_score.sql
create or replace function ml.adjusted_r2_score(
  table_in text,
  table_out text,
  prediction_col text,
  observed_col text,
  num_predictors int,
  training_size int,
  grouping_cols text default null
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
begin
  if num_predictors is null or training_size is null or num_predictors < 0
    or training_size <= num_predictors + 1::bigint then
    perform common.refuse(
      'CF001',
      format(
        '%s rows and %s predictors leave no degree of freedom',
        coalesce(training_size::text, 'null'),
        coalesce(num_predictors::text, 'null')
      ),
      'training_size must be larger than num_predictors + 1.'
    );
  end if;
  perform ml._assess(
    table_in, table_out, prediction_col, observed_col, grouping_cols, 'number',
    format(
      'select {groups}r2 as r2_score, 1 - (1 - r2) * %s::float8 / %s as adjusted_r2_score from (
         select {groups}case
           when regr_syy(_observed, _observed) > 0 then 1 - sum((_prediction - _observed) ^ 2) / regr_syy(_observed,
             _observed) end as r2
         from data {by}
       ) as score',
      training_size - 1, training_size - num_predictors - 1
    )
  );
end;
$$;

comment on function ml.adjusted_r2_score(text, text, text, text, int, int, text) is $$
@behavior -*
Coefficient of determination, corrected for the number of predictors: 1 − (1 − r2) · (n − 1) / (n − p − 1).
Writes `table_out`: the grouping columns, `r2_score`, `adjusted_r2_score` (float8).
Errors: CF001 (no degree of freedom, not finite numbers), CF002, CF003 (`table_out` exists), CF004 (no rows).
$$;

grant execute on function ml.adjusted_r2_score(text, text, text, text, int, int, text) to insights_admin,
  insights_worker;
--! EndIncluded ml/assessment/adjusted_r2_score.sql

--! Included ml/assessment/population_stability_index.sql
create or replace function ml.population_stability_index(expected float8[], actual float8[])
returns float8
language plpgsql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_expected_total float8;
  v_actual_total float8;
begin
  if cardinality(expected) <> cardinality(actual) or cardinality(expected) = 0
    or array_ndims(expected) > 1 or array_ndims(actual) > 1
  then
    perform common.refuse('CF001', format('%s bins are held against %s', cardinality(actual), cardinality(expected)),
      'Count both populations in the same bins, at least one, in arrays of one dimension.');
  elsif exists (select from unnest(expected || actual) as value
    where value is null or value < 0 or value > 1e300) then
    perform common.refuse('CF001', 'a bin holds null, a negative or a number above 1e300',
      'Give counts or shares, 0 for an empty bin.');
  end if;
  v_expected_total := (select sum(value) from unnest(expected) as value);
  v_actual_total := (select sum(value) from unnest(actual) as value);
  if v_expected_total = 0 or v_actual_total = 0 then
    perform common.refuse('CF004', 'a population is empty', 'Both need rows in at least one bin.');
  end if;
  return (
    select sum((bin.actual - bin.expected) * ln(bin.actual / bin.expected))
    from (
      select greatest(old / v_expected_total, 0.0001) as expected, greatest(new / v_actual_total, 0.0001) as actual
      from unnest(expected, actual) as pair (old, new)
    ) as bin
  );
end;
$$;

comment on function ml.population_stability_index(float8[], float8[]) is $$
How far a population has moved: the sum over bins of (actual − expected) · ln(actual / expected), of shares.
Both arrays count the same bins, as numbers of rows or shares; an empty bin counts as a share of 0.0001. Below 0.1 is
stable, from 0.25 on the population is another one. Symmetric, 0 for equal shares. Null when either is null. Errors:
CF001 (bins), CF004 (an empty population).
Source: Siddiqi, Credit Risk Scorecards, Wiley, 2006; it is Jeffreys' divergence of the two distributions.
$$;

grant execute on function ml.population_stability_index(float8[], float8[]) to insights_reader, insights_analyst,
  insights_admin, insights_worker;
--! EndIncluded ml/assessment/population_stability_index.sql

--! Included ml/recommenders/edlae_inverse.sql
create or replace function ml.edlae_inverse(
  sums ml.ease_sums,
  lambda float8,
  exponent float8 default 0,
  dropout float8 default 0
)
returns vector[]
language plpgsql
immutable
parallel safe
set search_path from current
as $$
begin
  return ml._ease_inverse(sums.gram, ml._ease_ridges(sums, lambda, exponent, dropout));
end;
$$;

comment on function ml.edlae_inverse(ml.ease_sums, float8, float8, float8) is $$
@behavior -*
Returns P = (XᵀX + diag(ridges))⁻¹ of EASE, or with a `dropout` of EDLAE, from the sums of `ml.ease_coded_sums`.
`ml.low_rank_update` changes it for some people, `ml.ease_lists` makes neighbour lists of it. The parameters are those
of `ml.ease_neighbours`.
Errors: CF001 (lambda, exponent, dropout).
$$;

grant execute on function ml.edlae_inverse(ml.ease_sums, float8, float8, float8)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/recommenders/edlae_inverse.sql

--! Included ml/recommenders/ease_lists.sql
create or replace function ml.ease_lists(
  column_limit int default 500,
  row_limit int default 1000
)
returns text
language plpgsql
stable
set search_path from current
as $$
begin
  perform common.check_count('column_limit', column_limit, 1, 1000);
  perform common.check_count('row_limit', row_limit, 1, 100000);
  /*
   * P is symmetric, so that column j of B is row j of P divided by -P[j,j]: the strongest entries are found by row.
   * Then the entries of each item are collected, and only the lists that are too long are sorted by their weights: the
   * result is that of ml._pruned, without its sorts of all entries.
   */
  return format(
    $statement$
    with entry as (
      select strongest.n, target.n as target_n, -strongest.entry / target.diagonal as weight
      from (
        select row_.v::real[] as entries, (row_.v::real[])[row_.n] as diagonal, row_.n::int as n
        from unnest($1) with ordinality as row_ (v, n)
        offset 0
      ) as target
      cross join lateral (
        select element.entry, element.n
        from (
          select unnest(target.entries) as entry, generate_series(1, cardinality(target.entries)) as n
          offset 0
        ) as element
        where element.n <> target.n
        order by abs(element.entry) desc, element.n
        limit %1$s
      ) as strongest
    ),

    list as (
      select entry.n, array_agg(entry.target_n) as targets, array_agg(entry.weight) as weights
      from entry
      where entry.weight <> 0
      group by entry.n
    )

    select ($2)[list.n] as source_no, kept.neighbours, kept.weights
    from list
    cross join lateral (
      select
        array_agg(($2)[strongest.target_n] order by strongest.target_n) as neighbours,
        array_agg(strongest.weight order by strongest.target_n) as weights
      from (
        select element.target_n, element.weight
        from unnest(list.targets, list.weights) as element (target_n, weight)
        order by
          case when cardinality(list.targets) > %2$s then abs(element.weight) end desc,
          element.target_n
        limit %2$s
      ) as strongest
    ) as kept
    order by list.n
    $statement$,
    column_limit, row_limit
  );
end;
$$;

comment on function ml.ease_lists(int, int) is $$
@behavior -*
Returns the statement that makes neighbour lists of the weights B = I - P·diag(P)⁻¹.
Its parameter $1 is P, such as `ml.ease_inverse` returns (vector[]), $2 the numbers of the items of its rows, in
ascending order. The other arguments are those of `ml.ease_neighbours`.
Errors: CF001 (parameters).
$$;

grant execute on function ml.ease_lists(int, int) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/recommenders/ease_lists.sql

--! Included ml/recommenders/ease_neighbours.sql
create or replace function ml.ease_neighbours(
  relation regclass,
  lambda float8,
  exponent float8 default 0,
  dropout float8 default 0,
  column_limit int default 500,
  row_limit int default 1000,
  person_exponent float8 default 0
)
returns setof ml.neighbour_row
language plpgsql
volatile
set search_path from current
set jit to off
as $$
declare
  v_sums ml.ease_sums;
begin
  v_sums := ml.ease_coded_sums(relation, person_exponent);
  return query execute ml.ease_lists(column_limit, row_limit)
  using ml.edlae_inverse(v_sums, lambda, exponent, dropout), v_sums.items::int[];
end;
$$;

comment on function ml.ease_neighbours(regclass, float8, float8, float8, int, int, float8) is $$
@behavior -*
Returns the neighbour lists of EASE, or with a `dropout` of EDLAE.
`relation` is as for `ml.sequence_neighbours`; positions are not used. At most 16,000 items.
People count with a factor that falls with their number of items n, n ^ -`person_exponent`.
The ridge of an item of d people is `lambda` · d ^ `exponent`, plus p / (1 - p) times its diagonal of XᵀX for a
`dropout` of p.
Of each item as target the `column_limit` strongest weights are kept, as source the `row_limit` strongest.
Errors: CF001 (parameters), CF004 (no rows), CF008 (too many items).
$$;

grant execute on function ml.ease_neighbours(regclass, float8, float8, float8, int, int, float8)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/recommenders/ease_neighbours.sql

--! Included ml/recommenders/edlae_weights.sql
create or replace function ml.edlae_weights(
  sums ml.ease_sums,
  lambda float8,
  exponent float8 default 0,
  dropout float8 default 0
)
returns vector[]
language plpgsql
immutable
parallel safe
set search_path from current
as $$
begin
  return ml.ease_weights(ml.edlae_inverse(sums, lambda, exponent, dropout));
end;
$$;

comment on function ml.edlae_weights(ml.ease_sums, float8, float8, float8) is $$
@behavior -*
Returns the weights of EASE, or with a `dropout` of EDLAE, from the sums of `ml.ease_coded_sums`.
Row i holds the weights from item i to all items, in the order of `items` of the sums. The parameters are those of
`ml.ease_neighbours`, whose lists are the strongest of these weights.
Errors: CF001 (lambda, exponent, dropout).
$$;

grant execute on function ml.edlae_weights(ml.ease_sums, float8, float8, float8)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/recommenders/edlae_weights.sql

--! Included ml/recommenders/_check_pairs.sql
create or replace function ml._check_pairs(unit float8, pairs text default 'given')
returns void
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if (unit > 0 and unit < 'infinity') is not true then
    perform common.refuse('CF001', format('unit is %s', coalesce(unit::text, 'null')),
      'Give a positive number, in whole numbers of which products of two weights are counted: 2^-40 for weights to 1.');
  end if;
  if pairs is null then
    perform common.refuse('CF001', 'pairs is null', 'Give a statement, such as that of ml.sequence_pairs.');
  end if;
end;
$$;

comment on function ml._check_pairs(float8, text) is $$
Raises CF001 unless the unit of sums is a positive number, and a statement is given.
$$;

grant execute on function ml._check_pairs(float8, text) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/recommenders/_check_pairs.sql

--! Included ml/recommenders/item_knn_pairs.sql
create or replace function ml.item_knn_pairs(
  relation regclass,
  unit float8,
  similarity text default 'cosine',
  max_items int default 500
)
returns text
language plpgsql
stable
set search_path from current
set extra_float_digits to 1
as $$
begin
  perform ml._check_coded(relation);
  perform ml._check_pairs(unit);
  perform common.check_count('max_items', max_items, 2, 10000);
  if similarity is distinct from 'cosine' and similarity is distinct from 'jaccard' then
    perform common.refuse('CF001', format('similarity is %s', coalesce(left(similarity, 100), 'null')),
      'It is cosine or jaccard.');
  end if;
  return format(
    $statement$
    with used as materialized (
      select person_no, item_no, %2$s as weight
      from (
        select person_no, item_no, weight,
          row_number() over (partition by person_no order by position desc nulls last, item_no) as place
        from %1$s
        where weight > 0
      ) as ranked
      where place <= %3$s
    )

    select lower.item_no as source_no, upper.item_no as target_no,
      sum((lower.weight * upper.weight / %4$L::float8)::bigint) as total
    from used as lower
    join used as upper
      on upper.person_no = lower.person_no
      and upper.item_no >= lower.item_no
    group by lower.item_no, upper.item_no
    $statement$,
    relation,
    case similarity when 'jaccard' then '1::float8' else 'weight::float8' end,
    max_items,
    case similarity when 'jaccard' then 1 else unit end
  );
end;
$$;

comment on function ml.item_knn_pairs(regclass, float8, text, int) is $$
@behavior -*
Returns the statement that adds up, for each two items, the products of the weights of the people with both.
Its columns are `source_no`, `target_no`, not below the first, and `total`, a whole number of the `unit`; the total of
an item with itself is its squared norm. For the similarity `jaccard` the totals are numbers of people. Sums of whole
numbers do not depend on the order of the rows: the sums of some people are added to those of others, or subtracted,
exactly. `ml.item_knn_lists` makes neighbour lists of them. Arguments as in `ml.item_knn_neighbours`.
Errors: CF001 (parameters).
$$;

grant execute on function ml.item_knn_pairs(regclass, float8, text, int)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/recommenders/item_knn_pairs.sql

--! Included ml/recommenders/item_knn_lists.sql
create or replace function ml.item_knn_lists(
  pairs text,
  unit float8,
  similarity text default 'cosine',
  shrinkage float8 default 0,
  column_limit int default 200,
  row_limit int default 1000
)
returns text
language plpgsql
stable
set search_path from current
set extra_float_digits to 1
as $$
begin
  perform ml._check_pairs(unit, pairs);
  if similarity is distinct from 'cosine' and similarity is distinct from 'jaccard' then
    perform common.refuse('CF001', format('similarity is %s', coalesce(left(similarity, 100), 'null')),
      'It is cosine or jaccard.');
  end if;
  if shrinkage is null or not (shrinkage >= 0 and shrinkage <= 1e9) then
    perform common.refuse('CF001', format('shrinkage is %s', coalesce(shrinkage::text, 'null')),
      'Give a number from 0 (none) to 1e9; 10 to 100 lowers the similarity of items with few people.');
  end if;
  return ml._pruned(
    format(
      $statement$
      with counted as materialized (%1$s),

      item as materialized (
        select source_no as item_no, total::float8 * %2$L::float8 as total
        from counted
        where source_no = target_no
      ),

      pair as materialized (
        select pair.lower_no, pair.upper_no,
          (pair.total / (%4$s + %3$L::float8))::real as weight
        from (
          select source_no as lower_no, target_no as upper_no, total::float8 * %2$L::float8 as total
          from counted
          where source_no <> target_no
        ) as pair
        join item as lower on lower.item_no = pair.lower_no
        join item as upper on upper.item_no = pair.upper_no
      )

      select lower_no as source_no, upper_no as target_no, weight
      from pair
      union all
      select upper_no, lower_no, weight
      from pair
      $statement$,
      pairs,
      case similarity when 'jaccard' then 1 else unit end,
      shrinkage,
      case similarity
        when 'jaccard' then 'lower.total + upper.total - pair.total'
        else 'sqrt(lower.total) * sqrt(upper.total)'
      end
    ),
    column_limit, row_limit
  );
end;
$$;

comment on function ml.item_knn_lists(text, float8, text, float8, int, int) is $$
@behavior -*
Returns the statement that makes the neighbour lists of similar items from the sums of `ml.item_knn_pairs`.
`pairs` is a statement with the columns `source_no`, `target_no` and `total`, in whole numbers of `unit`. The other
arguments are those of `ml.item_knn_neighbours`.
Errors: CF001 (parameters).
$$;

grant execute on function ml.item_knn_lists(text, float8, text, float8, int, int)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/recommenders/item_knn_lists.sql

--! Included ml/recommenders/item_knn_neighbours.sql
create or replace function ml.item_knn_neighbours(
  relation regclass,
  similarity text default 'cosine',
  shrinkage float8 default 0,
  max_items int default 500,
  column_limit int default 200,
  row_limit int default 1000
)
returns setof ml.neighbour_row
language plpgsql
stable
set search_path from current
set work_mem to '64MB'
set enable_mergejoin to off
set jit to off
as $$
declare
  v_unit float8;
begin
  perform ml._check_coded(relation);
  v_unit := ml._weight_unit(relation);
  return query execute ml.item_knn_lists(
    ml.item_knn_pairs(relation, v_unit, similarity, max_items),
    v_unit, similarity, shrinkage, column_limit, row_limit
  );
end;
$$;

comment on function ml.item_knn_neighbours(regclass, text, float8, int, int, int) is $$
@behavior -*
Returns the neighbour lists of similarities between items.
`relation` is as for `ml.sequence_neighbours`.
`cosine` is the sum of the products of the weights of the people who have both items, divided by the product of the
norms of the two items plus `shrinkage`; `jaccard` the number of people with both divided by the number with one of them
plus `shrinkage`, without weights.
Of each person the last `max_items` items by position count, so that the work is at most rows × `max_items` pairs.
Memory is bounded (`work_mem` of 64 MB).
Errors: CF001 (parameters).
$$;

grant execute on function ml.item_knn_neighbours(regclass, text, float8, int, int, int)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/recommenders/item_knn_neighbours.sql

--! Included ml/recommenders/sequence_pairs.sql
create or replace function ml.sequence_pairs(
  relation regclass,
  unit float8,
  decay_form text default 'geometric',
  decay float8 default 0.7,
  max_distance int default 50,
  time_column text default null,
  half_life interval default null
)
returns text
language plpgsql
stable
set search_path from current
set extra_float_digits to 1
as $$
declare
  v_decays float8[];
  v_seconds constant float8 := extract(epoch from half_life);
  v_time text;
begin
  perform ml._check_coded(relation);
  perform ml._check_pairs(unit);
  if (half_life is null) <> (time_column is null) or not (v_seconds > 0 and v_seconds < 'infinity') then
    perform common.refuse(
      'CF001',
      format('the half-life is %s of the time column %s', coalesce(half_life::text, 'null'),
        coalesce(left(time_column, 100), 'null')),
      'Give both, the half-life a positive interval, or neither.'
    );
  end if;
  if time_column is not null then
    v_time := common.column_name(relation, time_column, 'time column');
  end if;
  perform common.check_count('max_distance', max_distance, 1, 1000);
  if decay_form is distinct from 'geometric' and decay_form is distinct from 'reciprocal' then
    perform common.refuse('CF001', format('decay_form is %s', coalesce(left(decay_form, 100), 'null')),
      'It is geometric (decay ^ (distance - 1)) or reciprocal (distance ^ -decay).');
  end if;
  if decay is null or not (decay >= 0 and decay < 'infinity') or (decay_form = 'geometric' and not decay <= 1) then
    perform common.refuse('CF001', format('decay is %s', coalesce(decay::text, 'null')),
      'Give a number from 0 to 1 for geometric decay, or from 0 up for reciprocal decay.');
  end if;
  v_decays := array(
    select
      case
        -- 0 ^ 0 is 1: a decay of 0 keeps neighbouring rows only. A smaller factor would be rounded to 0 below.
        when decay_form = 'geometric' then
          case when distance = 1 then 1 when decay = 0 or (distance - 1) * ln(decay) < -40 then 0
            else decay ^ (distance - 1) end
        when decay * ln(distance) > 40 then 0
        else distance ^ -decay
      end
    from generate_series(1, max_distance) as distance
    order by distance
  );
  return format(
    $statement$
    select earlier.item_no as source_no, later.item_no as target_no,
      sum((
        earlier.weight::float8 * later.weight / %4$L::float8 * decays.factors[place - earlier.position] %3$s
      )::bigint) as total
    from (
      select person_no, item_no, weight, position, %2$s as used_at,
        max(position) over (partition by person_no) as last_position
      from %1$s
      where weight > 0 and position is not null
      order by item_no -- the sums of one item at a time are in the cache of the processor
      offset 0
    ) as earlier
    cross join (select %5$L::float8[] as factors offset 0) as decays
    -- one row per place up to the last one of the person, so that a row costs at most max_distance
    cross join lateral generate_series(
      earlier.position + 1, least(earlier.position + %6$s, earlier.last_position)
    ) as place
    join %1$s as later
      on later.person_no = earlier.person_no
      and later.position = place
      and later.item_no <> earlier.item_no
      and later.weight > 0
    group by earlier.item_no, later.item_no
    $statement$,
    relation,
    coalesce(v_time, 'null'),
    -- A smaller factor than 0.5 ^ 60 is rounded to 0, and would be an error of underflow at 0.5 ^ 1075.
    '* 0.5::float8 ^ least(extract(epoch from later.' || v_time || ' - earlier.used_at)::float8 / '
      || quote_literal(v_seconds) || ', 100)',
    unit, v_decays, max_distance
  );
end;
$$;

comment on function ml.sequence_pairs(regclass, float8, text, float8, int, text, interval) is $$
@behavior -*
Returns the statement that adds up the pairs of items that `ml.sequence_neighbours` counts.
Its columns are `source_no`, `target_no`, the item that comes later, and `total`, a whole number of the `unit`.
Sums of whole numbers do not depend on the order of the rows: the sums of some people are added to those of others, or
subtracted, exactly. `ml.sequence_lists` makes neighbour lists of them. Arguments as in `ml.sequence_neighbours`.
Errors: CF001 (parameters).
$$;

grant execute on function ml.sequence_pairs(regclass, float8, text, float8, int, text, interval)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/recommenders/sequence_pairs.sql

--! Included ml/recommenders/sequence_lists.sql
create or replace function ml.sequence_lists(
  pairs text,
  unit float8,
  out_exponent float8 default 1,
  in_exponent float8 default 0.5,
  saturation float8 default 0,
  column_limit int default 200,
  row_limit int default 1000
)
returns text
language plpgsql
stable
set search_path from current
set extra_float_digits to 1
as $$
begin
  perform ml._check_pairs(unit, pairs);
  if out_exponent is null or not out_exponent between 0 and 10
    or in_exponent is null or not in_exponent between 0 and 10 then
    perform common.refuse(
      'CF001',
      format(
        'the exponents are %s and %s', coalesce(out_exponent::text, 'null'), coalesce(in_exponent::text, 'null')
      ),
      'Give numbers from 0 (not normalised) to 10.'
    );
  end if;
  if saturation is null or not saturation between 0 and 1e9 then
    perform common.refuse('CF001', format('saturation is %s', coalesce(saturation::text, 'null')),
      'Give a number from 0 (none) to 1e9; 100 to 1000 raises what follows rarely.');
  end if;
  return ml._pruned(
    format(
      $statement$
      with pair as materialized (%1$s)

      select pair.source_no, pair.target_no,
        (
          case when %5$L::float8 = 0 then
              pair.total::float8 * %2$L::float8 / (source.total::float8 * %2$L::float8) ^ %3$L::float8
            else ln(1 + %5$L::float8 * (
              pair.total::float8 * %2$L::float8 / (source.total::float8 * %2$L::float8) ^ %3$L::float8
            )) end
          / (target.total::float8 * %2$L::float8) ^ %4$L::float8
        )::real as weight
      from pair
      join (select source_no, sum(total) as total from pair group by source_no) as source using (source_no)
      join (select target_no, sum(total) as total from pair group by target_no) as target using (target_no)
      where pair.total > 0
      $statement$,
      pairs, unit, out_exponent, in_exponent, saturation
    ),
    column_limit, row_limit
  );
end;
$$;

comment on function ml.sequence_lists(text, float8, float8, float8, float8, int, int) is $$
@behavior -*
Returns the statement that makes the neighbour lists of the sequence model from the sums of `ml.sequence_pairs`.
`pairs` is a statement with the columns `source_no`, `target_no` and `total`, in whole numbers of `unit`. The other
arguments are those of `ml.sequence_neighbours`.
Errors: CF001 (parameters).
$$;

grant execute on function ml.sequence_lists(text, float8, float8, float8, float8, int, int)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/recommenders/sequence_lists.sql

--! Included ml/recommenders/sequence_neighbours.sql
create or replace function ml.sequence_neighbours(
  relation regclass,
  decay_form text default 'geometric',
  decay float8 default 0.7,
  out_exponent float8 default 1,
  in_exponent float8 default 0.5,
  max_distance int default 50,
  column_limit int default 200,
  row_limit int default 1000,
  time_column text default null,
  half_life interval default null,
  saturation float8 default 0
)
returns setof ml.neighbour_row
language plpgsql
stable
set search_path from current
set work_mem to '64MB'
set enable_mergejoin to off
set jit to off
as $$
declare
  v_unit float8;
begin
  perform ml._check_coded(relation);
  v_unit := ml._weight_unit(relation);
  return query execute ml.sequence_lists(
    ml.sequence_pairs(relation, v_unit, decay_form, decay, max_distance, time_column, half_life),
    v_unit, out_exponent, in_exponent, saturation, column_limit, row_limit
  );
end;
$$;

comment on function ml.sequence_neighbours(
  regclass, text, float8, float8, float8, int, int, int, text, interval, float8
) is $$
@behavior -*
Returns the neighbour lists of the sequence model.
`relation` has the columns `person_no`, `item_no`, `weight` and `position` (1 is the first of a person, null unknown).
Items and people are numbered, the items from 1; rows with a weight of 0 or less do not count.
C[i,j] is the sum, over the pairs of rows of a person with i before j at a distance of up to `max_distance` places, of
the product of their weights times the decay: geometric, `decay` ^ (distance - 1), or reciprocal, distance ^ -`decay`.
The weight W[i,j] is C[i,j] / (out[i] ^ `out_exponent` · in[j] ^ `in_exponent`) with out[i] the sum of row i of C and
in[j] the sum of column j: exponents 1 and 0 give the transition probabilities of a Markov chain.
With a `saturation` s, ln(1 + s · C[i,j] / out[i] ^ `out_exponent`) takes the place of the first quotient.
With a `half_life` each pair is multiplied by 0.5 ^ (time between the two rows / half_life), from the times in
`time_column`.
Rows without a position, or with the same position as another of the person, are not before or after each other.
Work is at most rows × `max_distance` pairs; memory is bounded (`work_mem` of 64 MB).
Errors: CF001 (parameters).
$$;

grant execute on function
  ml.sequence_neighbours(regclass, text, float8, float8, float8, int, int, int, text, interval, float8)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/recommenders/sequence_neighbours.sql

--! Included ml/registry/_deployed_model_id.sql
create or replace function ml._deployed_model_id(project_id int)
returns bigint
language sql
stable
parallel safe
begin atomic
  select latest.model_id
  from (
    select deployment.model_id
    from ml.deployment
    where deployment.project_id = _deployed_model_id.project_id
    order by deployment.deployment_id desc
    limit 1
  ) as latest
  join ml.model on model.model_id = latest.model_id
  where model.marked_at is null;
end;

comment on function ml._deployed_model_id(int) is $$
Returns the key of the deployed version of a project; null when none is deployed, or it is marked.
$$;

grant execute on function ml._deployed_model_id(int)
  to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/registry/_deployed_model_id.sql

--! Included ml/registry/_version.sql
create or replace function ml._version(project text, version int default null)
returns ml.model
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_project ml.project := ml._project(project);
  v_model ml.model;
begin
  select *
  into v_model
  from ml.model
  where model.project_id = v_project.project_id
    and case when _version.version is null then model.model_id = ml._deployed_model_id(v_project.project_id)
      else model.version = _version.version end;
  if v_model.marked_at is not null or v_model.model_id is null and version is null and exists (
    select from ml.deployment where deployment.project_id = v_project.project_id
  ) then
    perform common.refuse(
      'CF006',
      format('%s of "%s" is marked for training', coalesce('version ' || version, 'the deployed version'),
        left(project, 100)),
      'It is not used, because it was trained on data that may not be used any more. Train a new version.'
    );
  elsif v_model.model_id is null and version is null then
    perform common.refuse('CF006', format('no version of "%s" is deployed', left(project, 100)),
      'Train or import one, or deploy one with ml.deploy.');
  elsif v_model.model_id is null then
    perform common.refuse(
      'CF002',
      format('"%s" has no version %s', left(project, 100), version),
      coalesce(
        (select format('Its versions are %s to %s.', min(model.version), max(model.version)) from ml.model
          where model.project_id = v_project.project_id having count(*) > 0),
        'It has none yet.'
      )
    );
  end if;
  return v_model;
end;
$$;

comment on function ml._version(text, int) is $$
Returns a version of a project, or the deployed one where none is given.
Errors: CF002 (no such project or version), CF006 (none is deployed, or the version is marked for training).
$$;

grant execute on function ml._version(text, int) to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/registry/_version.sql

--! Included ml/registry/deployed_version.sql
create or replace function ml.deployed_version(project text)
returns int
language sql
stable
parallel safe
begin atomic
  select model.version
  from ml.project as known
  join ml.model on model.model_id = ml._deployed_model_id(known.project_id)
  where known.name = deployed_version.project;
end;

comment on function ml.deployed_version(text) is $$
Number of the deployed version of a project; null when none is deployed, it is marked, or no such project exists.
$$;

grant execute on function ml.deployed_version(text) to insights_reader, insights_analyst, insights_admin,
  insights_worker;
--! EndIncluded ml/registry/deployed_version.sql

--! Included ml/registry/mark_for_training.sql
/* A definer: it writes the registry, and is granted to those who may train. */
create or replace function ml.mark_for_training(project text, reason text default null, versions int[] default null)
returns int
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_project constant ml.project := ml._project(mark_for_training.project);
  v_unknown constant int := (
    select listed.version
    from unnest(mark_for_training.versions) as listed (version)
    where not exists (
      select
      from ml.model
      where model.project_id = v_project.project_id
        and model.version = listed.version
    )
    limit 1
  );
  v_marked int;
begin
  if mark_for_training.reason is not null and length(mark_for_training.reason) not between 1 and 1000 then
    perform common.refuse('CF001', format('the reason has %s characters', length(mark_for_training.reason)),
      'Give a text of 1 to 1000 characters, or null.');
  end if;
  if v_unknown is not null then
    perform common.refuse('CF002', format('"%s" has no version %s', left(mark_for_training.project, 100), v_unknown),
      'Its versions are in ml.model; without versions, all of them are marked.');
  end if;
  update ml.model
  set marked_at = clock_timestamp(), marked_reason = mark_for_training.reason
  where model.project_id = v_project.project_id
    and model.marked_at is null
    and (mark_for_training.versions is null or model.version = any (mark_for_training.versions));
  get diagnostics v_marked = row_count;
  return v_marked;
end;
$$;

comment on function ml.mark_for_training(text, text, int[]) is $$
Marks versions of a project, or all of them, so that they are not used until another one is trained.
For versions that were trained on data that may not be used any more, such as that of an erased person. A marked version
is not served: `ml.predict` raises CF006, and a recommender continues with its other lists. The project counts as one
without a deployed version, so that the next training is deployed whatever its figures, and the workers start it at once
(`recommend.due_trainings`, `analytics.due_predictions`). Returns the number of versions that were not marked before.
Errors: CF001 (reason), CF002 (no such project or version).
$$;

grant execute on function ml.mark_for_training(text, text, int[]) to insights_admin, insights_worker;
--! EndIncluded ml/registry/mark_for_training.sql

--! Included ml/registry/delete_keys.sql
create or replace function ml.delete_keys(keys text[], out embeddings bigint, out scores bigint)
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  delete from ml.embedding where embedding.key = any (delete_keys.keys);
  get diagnostics embeddings = row_count;
  delete from ml.score where score.keys && delete_keys.keys;
  get diagnostics scores = row_count;
end;
$$;

comment on function ml.delete_keys(text[]) is $$
@behavior -*
Deletes the vectors and scores of keys in all models from outside, and returns their numbers.
For the erasure of a person: the keys are names.
$$;
--! EndIncluded ml/registry/delete_keys.sql

--! Included ml/registry/in_holdout.sql
create or replace function ml.in_holdout(key text, share float8 default 0.25)
returns boolean
language sql
immutable
strict
parallel safe
begin atomic
  select hashtextextended(key, 20) & 1048575 < (least(greatest(nullif(share, 'NaN'), 0), 1) * 1048576)::int;
end;

comment on function ml.in_holdout(text, float8) is $$
@behavior -*
Whether ml.train holds out the row, or the group, of this key:
by a hash that no seed changes, so no version is trained on what the next one is compared on.
For models that are trained elsewhere: the condition of their challenge is `ml.in_holdout(id::text)`. Null when an
argument is null; a share below 0 counts as 0, and one above 1 as 1.
$$;

grant execute on function ml.in_holdout(text, float8) to insights_reader, insights_analyst, insights_admin,
  insights_worker;
--! EndIncluded ml/registry/in_holdout.sql

--! Included privacy/rights/restricted.sql
create or replace function privacy.restricted(people bigint[] default null)
returns setof bigint
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  -- Two statements, so that the plan for a few people does not read the restrictions of all people.
  if restricted.people is null then
    return query
    select distinct restriction.person_id
    from privacy.restriction;
  else
    return query
    select distinct restriction.person_id
    from privacy.restriction
    where restriction.person_id = any (restricted.people);
  end if;
end;
$$;

comment on function privacy.restricted(bigint[]) is $$
@behavior -*
Returns which of the given people have their data restricted; null: of all people. See `privacy.restrict_person`.
$$;

grant execute on function privacy.restricted(bigint[]) to insights_reader, insights_learner, insights_admin,
  insights_worker;
--! EndIncluded privacy/rights/restricted.sql

-- from privacy/functions/_basis_changed.sql
comment on function privacy._basis_changed() is $$
Trigger: notifies the listeners when a default changes.
It is that of the lawful basis or the minimum age of a purpose, or of the age of consent.
$$;
create or replace trigger basis_changed
after update on privacy.purpose
for each row
when ((old.basis, old.minimum_age) is distinct from (new.basis, new.minimum_age))
execute function privacy._basis_changed();
create or replace trigger age_of_consent_changed
after update on privacy.setting
for each row
when (old.age_of_consent is distinct from new.age_of_consent)
execute function privacy._basis_changed();

--! Included privacy/consent/_of_age_at.sql
create or replace function privacy._of_age_at(birth_date date, age smallint)
returns timestamptz
language sql
immutable
parallel safe
-- The birthday has started everywhere at noon UTC. Who was born on 29 February is of age on 1 March of a common year.
return (
  greatest(
    (birth_date + make_interval(years => age))::date,
    ((birth_date - 1) + make_interval(years => age))::date + 1
  ) + time '12:00'
) at time zone 'UTC';

comment on function privacy._of_age_at(date, smallint) is $$
Returns the time from which a person born on a date has an age in years, in every time zone.
$$;

grant execute on function privacy._of_age_at(date, smallint)
to insights_reader, insights_learner, insights_admin, insights_worker;
--! EndIncluded privacy/consent/_of_age_at.sql

--! Included privacy/consent/_ages.sql
create or replace function privacy._ages(purposes text[])
returns table (purpose text, age smallint)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  select aged.purpose, aged.age
  from (
    select
      purpose.purpose,
      coalesce(purpose.minimum_age, case purpose.basis when 'consent' then setting.age_of_consent end) as age
    from privacy.purpose
    cross join privacy.setting
    where _ages.purposes is null
      or purpose.purpose = any (_ages.purposes)
  ) as aged
  where aged.age > 0;
end;
$$;

comment on function privacy._ages(text[]) is $$
Returns the purposes that need an age, with this age in years: see `privacy.purpose.minimum_age`. Null: all purposes.
$$;

grant execute on function privacy._ages(text[])
to insights_reader, insights_learner, insights_admin, insights_worker;
--! EndIncluded privacy/consent/_ages.sql

--! Included privacy/consent/effective_decisions.sql
create or replace function privacy.effective_decisions(
  purposes text[],
  people bigint[] default null,
  born_people bigint[] default null,
  birth_dates date[] default null
)
returns table (
  person_id bigint,
  purpose text,
  granted boolean,
  decided_at timestamptz,
  signalled_at timestamptz
)
language plpgsql
stable
parallel safe
rows 100
set search_path to pg_catalog, pg_temp
as $$
declare
  -- A list, so that the plan for a few people does not read the decisions of all people.
  v_people constant bigint[] := coalesce(
    effective_decisions.people,
    array(
      select consent.person_id
      from privacy.consent
      where consent.purpose = any (effective_decisions.purposes)

      union

      select person_age.person_id
      from privacy.person_age
    )
  );
begin
  if effective_decisions.born_people is null
    and not exists (select from privacy.person_age where person_age.person_id = any (v_people))
  then
    return query
    select decision.*
    from (
      select distinct on (consent.person_id, consent.purpose)
        consent.person_id, consent.purpose,
        -- An expired grant counts as if there were none.
        case when consent.granted and consent.valid_until <= now() then null else consent.granted end as granted,
        consent.decided_at,
        max(consent.decided_at) filter (where consent.source in ('gpc', 'dnt'))
          over (partition by consent.person_id, consent.purpose) as signalled_at
      from privacy.consent
      where consent.person_id = any (v_people)
        and consent.purpose = any (effective_decisions.purposes)
      order by consent.person_id, consent.purpose, consent.decided_at desc, consent.recorded_at desc
    ) as decision
    where decision.granted is not null;
    return;
  end if;

  return query
  with born as materialized (
    select
      given.person_id,
      coalesce(max(given.birth_date) filter (where given.is_verified), max(given.birth_date)) as birth_date
    from (
      select person_age.person_id, person_age.birth_date, person_age.is_verified
      from privacy.person_age
      where person_age.person_id = any (v_people)

      union all

      select stated.person_id, stated.birth_date, false
      from unnest(effective_decisions.born_people, effective_decisions.birth_dates) as stated (person_id, birth_date)
      where stated.birth_date is not null
    ) as given
    group by given.person_id
  ),

  gate as materialized (
    select born.person_id, aged.purpose, privacy._of_age_at(born.birth_date, aged.age) as of_age_at
    from born
    cross join privacy._ages(effective_decisions.purposes) as aged
  ),

  -- A grant that a person gave before she was of age stays void afterwards.
  latest as materialized (
    select distinct on (consent.person_id, consent.purpose)
      consent.person_id, consent.purpose,
      case when consent.granted and consent.valid_until <= now() then null else consent.granted end as granted,
      consent.decided_at,
      max(consent.decided_at) filter (where consent.source in ('gpc', 'dnt'))
        over (partition by consent.person_id, consent.purpose) as signalled_at
    from privacy.consent
    left join gate on gate.person_id = consent.person_id and gate.purpose = consent.purpose
    where consent.person_id = any (v_people)
      and consent.purpose = any (effective_decisions.purposes)
      and (
        not consent.granted
        or consent.decided_by = 'guardian'
        or gate.of_age_at is null
        or consent.decided_at >= gate.of_age_at
      )
    order by consent.person_id, consent.purpose, consent.decided_at desc, consent.recorded_at desc
  )

  select latest.person_id, latest.purpose, latest.granted, latest.decided_at, latest.signalled_at
  from latest
  left join gate on gate.person_id = latest.person_id and gate.purpose = latest.purpose
  where latest.granted
    or not latest.granted and coalesce(gate.of_age_at, '-infinity') <= now()

  union all

  -- A minor without the consent of a guardian: no later decision of her own changes it.
  select gate.person_id, gate.purpose, false, 'infinity'::timestamptz, latest.signalled_at
  from gate
  left join latest on latest.person_id = gate.person_id and latest.purpose = gate.purpose
  where gate.of_age_at > now()
    and latest.granted is not true;
end;
$$;

comment on function privacy.effective_decisions(text[], bigint[], bigint[], date[]) is $$
@behavior -*
Returns the decision that applies now for each person and purpose; where there is none, the lawful basis applies.
It is the latest decision, except that
- an expired grant (`valid_until`) counts as if the person had not decided,
- a grant that a person gave before she was of age is void, unless a guardian gave it,
- for a minor without the consent of a guardian, the answer is false (`decided_at` is then `infinity`).
The one place that decides: `privacy.allowed`, `privacy.latest_decisions` and `track.ingest` read it.
`people` null: all people. `born_people` and `birth_dates`: dates of birth that are not stored yet. `signalled_at`: time
of the latest opt-out signal of a browser.
$$;

grant execute on function privacy.effective_decisions(text[], bigint[], bigint[], date[])
to insights_reader, insights_learner, insights_admin, insights_worker;
--! EndIncluded privacy/consent/effective_decisions.sql

--! Included privacy/consent/minor_purposes.sql
create or replace function privacy.minor_purposes(birth_date date)
returns setof text
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  select aged.purpose
  from privacy._ages(null) as aged
  where privacy._of_age_at(minor_purposes.birth_date, aged.age) > now();
end;
$$;

comment on function privacy.minor_purposes(date) is $$
@behavior -*
Returns the purposes about which a person born on a date cannot decide herself yet. Null: none.
$$;
--! EndIncluded privacy/consent/minor_purposes.sql

--! Included privacy/consent/optional_purposes.sql
create or replace function privacy.optional_purposes()
returns setof text
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  select purpose.purpose
  from privacy.purpose
  where purpose.basis in ('consent', 'legitimate_interests', 'public_task')
  order by purpose.purpose;
end;
$$;

comment on function privacy.optional_purposes() is $$
@behavior -*
Returns the purposes that a decision about "all" means.
They are those that need consent, and those that a person may opt out of (GDPR article 21).
$$;
--! EndIncluded privacy/consent/optional_purposes.sql

--! Included privacy/functions/allowed.sql
create or replace function privacy.allowed(person_id bigint, purpose text)
returns boolean
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return (
    select not exists (select from privacy.restricted(array[allowed.person_id])) and coalesce(
      (
        select decision.granted
        from privacy.effective_decisions(array[allowed.purpose], array[allowed.person_id]) as decision
      ),
      purpose.basis <> 'consent'
    )
    from privacy.purpose
    where purpose.purpose = allowed.purpose
  );
end;
$$;

comment on function privacy.allowed(bigint, text) is $$
@behavior -queryField
Returns whether the data of a person may be processed for a purpose.
The decision that applies is that of `privacy.effective_decisions`: the latest one of the person, unless it expired or
she was not of age. Without a decision, processing is allowed unless the lawful basis is `consent`. Null for an unknown
purpose.
False for all purposes while the data of the person is restricted (`privacy.restrict_person`).
$$;

grant execute on function privacy.allowed(bigint, text)
to insights_reader, insights_learner, insights_admin, insights_worker;
--! EndIncluded privacy/functions/allowed.sql

--! Included privacy/functions/latest_decisions.sql
create or replace function privacy.latest_decisions(purpose text, people bigint[] default null)
returns table (person_id bigint, granted boolean)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  select decision.person_id, decision.granted
  from privacy.effective_decisions(array[latest_decisions.purpose], latest_decisions.people) as decision;
end;
$$;

comment on function privacy.latest_decisions(text, bigint[]) is $$
@behavior -*
Returns the decision about a purpose that applies now, one row per person for whom there is one.
`people` restricts the result to these people; null: all people. See `privacy.effective_decisions`. Functions read this
function instead of the view `privacy.current_consent`, because its parameters restrict the rows that are read.
$$;

grant execute on function privacy.latest_decisions(text, bigint[]) to insights_reader, insights_admin;
--! EndIncluded privacy/functions/latest_decisions.sql

--! Included privacy/rights/may_store.sql
create or replace function privacy.may_store(person_id bigint, purpose text)
returns boolean
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return (
    select coalesce(
      (
        select decision.granted
        from privacy.latest_decisions(may_store.purpose, array[may_store.person_id]) as decision
      ),
      known.basis <> 'consent'
    )
    from privacy.purpose as known
    where known.purpose = may_store.purpose
  );
end;
$$;

comment on function privacy.may_store(bigint, text) is $$
@behavior -*
Returns whether the data of a person may be stored for a purpose: as `privacy.allowed`, also while it is restricted.
$$;
--! EndIncluded privacy/rights/may_store.sql

--! Included privacy/consent/_check_purpose.sql
create or replace function privacy._check_purpose(purpose text)
returns void
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  if not exists (select from privacy.purpose where purpose.purpose = _check_purpose.purpose) then
    perform common.refuse(
      'CF002',
      format('there is no purpose "%s"', left(_check_purpose.purpose, 100)),
      (
        select format('The purposes are %s.', string_agg(purpose.purpose, ', ' order by purpose.purpose))
        from privacy.purpose
      )
    );
  end if;
end;
$$;

comment on function privacy._check_purpose(text) is $$
Raises CF002 when there is no such purpose.
$$;
--! EndIncluded privacy/consent/_check_purpose.sql

--! Included privacy/consent/_check_version.sql
create or replace function privacy._check_version(purpose text, document_version text)
returns void
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  if _check_version.document_version is not null
    and exists (select from privacy.consent_text where consent_text.purpose = _check_version.purpose)
    and not exists (
      select
      from privacy.consent_text
      where consent_text.purpose = _check_version.purpose
        and consent_text.version = _check_version.document_version
    )
  then
    perform common.refuse(
      'CF002',
      format('there is no version "%s" of the text of "%s"', left(_check_version.document_version, 100),
        _check_version.purpose),
      coalesce(
        (
          select format('The nearest version is "%s".', nearest.version)
          from common.nearest_name(_check_version.document_version, array(
            select consent_text.version
            from privacy.consent_text
            where consent_text.purpose = _check_version.purpose
          )) as nearest (version)
          where nearest.version is not null
        ),
        'Publish it first, with privacy.publish_text.'
      )
    );
  end if;
end;
$$;

comment on function privacy._check_version(text, text) is $$
Raises CF002 when a purpose has texts, and none of this version.
$$;
--! EndIncluded privacy/consent/_check_version.sql

--! Included privacy/consent/publish_text.sql
create or replace function privacy.publish_text(
  purpose text,
  version text,
  body text,
  language text default 'en',
  url text default null,
  valid_from timestamptz default now()
)
returns privacy.consent_text
language plpgsql
volatile
-- A definer: it writes privacy.consent_text, which no role may write, since its rows do not change.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_text privacy.consent_text;
begin
  perform privacy._check_purpose(publish_text.purpose);
  if publish_text.version is null or publish_text.body is null or publish_text.language is null
    or publish_text.version = '' or publish_text.body !~ '\S' or publish_text.valid_from is null
  then
    perform common.refuse('CF001',
      format('a text "%s" of the version "%s" in the language "%s"', left(publish_text.body, 100),
        left(publish_text.version, 100), left(publish_text.language, 100)),
      'Give a version, a text and a language, and a time from which it is valid.');
  end if;
  if length(publish_text.version) > 200 or octet_length(publish_text.body) > 1000000
    or length(publish_text.url) > 2000
  then
    perform common.refuse('CF008',
      format('version has %s characters, body %s bytes, url %s characters', length(publish_text.version),
        octet_length(publish_text.body), coalesce(length(publish_text.url), 0)),
      'Send at most 200 characters, 1000000 bytes and 2000 characters.');
  end if;
  if length(publish_text.language) > 50 or publish_text.language !~ '^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$' then
    perform common.refuse('CF001', format('the language is "%s"', left(publish_text.language, 100)),
      'Give a language tag such as "en" or "pt-BR".');
  end if;

  insert into privacy.consent_text (purpose, version, language, body, url, valid_from)
  values (
    publish_text.purpose, publish_text.version, publish_text.language, publish_text.body, publish_text.url,
    publish_text.valid_from
  )
  on conflict on constraint consent_text_purpose_version_language_key do nothing
  returning * into v_text;
  if v_text.text_id is null then
    select consent_text.* into v_text
    from privacy.consent_text
    where consent_text.purpose = publish_text.purpose
      and consent_text.version = publish_text.version
      and consent_text.language = publish_text.language;
    if (v_text.body, v_text.url) is distinct from (publish_text.body, publish_text.url) then
      perform common.refuse('CF003',
        format('the version "%s" of "%s" in "%s" has another text', left(publish_text.version, 100),
          publish_text.purpose, publish_text.language),
        'A published text does not change, since people have decided about it. Publish a new version.');
    end if;
  end if;
  return v_text;
end;
$$;

comment on function privacy.publish_text(text, text, text, text, text, timestamptz) is $$
Publishes a version of the text that people are shown when they decide about a purpose, and returns it.
From the first text of a purpose on, `document_version` of a recorded decision has to be one of its versions. Publishing
the same text again changes nothing. Errors: CF001 for a missing or invalid value, CF002 for an unknown purpose, CF003
when the version has another text, CF008 for a text above 1 MB.
$$;

grant execute on function privacy.publish_text(text, text, text, text, text, timestamptz) to insights_admin;
--! EndIncluded privacy/consent/publish_text.sql

--! Included privacy/consent/record_consents.sql
create or replace function privacy.record_consents(
  person_id bigint,
  granted boolean,
  purposes text[] default null,
  decided_at timestamptz default now(),
  document_version text default null,
  evidence jsonb default null,
  valid_until timestamptz default null,
  decided_by text default 'person',
  identity_id bigint default null
)
returns setof privacy.consent
language plpgsql
volatile
-- A definer: it writes privacy.consent, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_purposes constant text[] := coalesce(record_consents.purposes, array(select privacy.optional_purposes()));
  v_names_function constant text := (select setting.names_function from privacy.setting);
  v_named privacy.identity_name;
  -- The key of a person who was merged into another one is that of an identity of hers.
  v_person_id bigint := record_consents.person_id;
  v_purpose text;
begin
  if record_consents.person_id is null or record_consents.person_id <= 0 or record_consents.granted is null
    or cardinality(v_purposes) = 0
  then
    perform common.refuse(
      'CF001',
      format(
        'a decision of person %s about "%s" to %s',
        coalesce(record_consents.person_id::text, 'null'),
        left(array_to_string(v_purposes, ', '), 100),
        coalesce(record_consents.granted::text, 'null')
      ),
      'Give a person, a purpose, and true or false.'
    );
  end if;
  perform common.check_count('the number of purposes', cardinality(v_purposes), 1, 1000);
  foreach v_purpose in array v_purposes loop
    perform privacy._check_purpose(v_purpose);
    perform privacy._check_version(v_purpose, record_consents.document_version);
  end loop;
  if length(record_consents.document_version) > 200 or pg_column_size(record_consents.evidence) > 32768 then
    perform common.refuse(
      'CF008',
      format(
        'document_version has %s characters, evidence %s bytes',
        coalesce(length(record_consents.document_version), 0),
        coalesce(pg_column_size(record_consents.evidence), 0)
      ),
      'Send at most 200 characters and 32768 bytes.'
    );
  end if;
  if record_consents.decided_at > now() + interval '1 hour' then
    perform common.refuse('CF001', format('decided_at is %s, in the future', record_consents.decided_at),
      'Give the time of the decision.');
  end if;
  if record_consents.valid_until is not null
    and (not record_consents.granted or record_consents.valid_until <= record_consents.decided_at)
  then
    perform common.refuse('CF001',
      format('valid_until is %s, of a decision to %s at %s', record_consents.valid_until, record_consents.granted,
        record_consents.decided_at),
      'Give a time after the decision, and only for a grant: a refusal does not expire.');
  end if;
  if record_consents.decided_by is null or record_consents.decided_by not in ('person', 'guardian') then
    perform common.refuse('CF001',
      format('decided_by is %s', coalesce('"' || left(record_consents.decided_by, 100) || '"', 'null')),
      'Give "person" or "guardian".');
  end if;

  if v_names_function is not null then
    -- First without a lock, then as the person is until the end of the transaction: an erasure at the same time either
    -- finds the decision, or is found here.
    for v_attempt in 1 .. 2 loop
      execute format(
        'select named.* from %I.%I($1) as named',
        split_part(v_names_function, '.', 1), split_part(v_names_function, '.', 2)
      )
      into v_named
      using array[coalesce(record_consents.identity_id, record_consents.person_id)];
      exit when v_attempt = 1 and v_named.name is null;
      if v_attempt = 1 then
        perform privacy._held_subject(v_named.name);
      elsif v_named.name is null then
        perform common.refuse('CF002', format('there is no person %s', record_consents.person_id),
          'The person was erased.');
      end if;
    end loop;
  end if;
  if record_consents.identity_id is null and v_named.person_id is not null then
    v_person_id := v_named.person_id;
  end if;
  if record_consents.identity_id is not null and v_named.person_id is distinct from record_consents.person_id then
    perform common.refuse('CF001',
      format('identity %s does not belong to person %s', record_consents.identity_id, record_consents.person_id),
      'Give an identity of the person, or none.');
  end if;

  return query
  insert into privacy.consent (
    person_id, identity_id, purpose, granted, decided_at, document_version, evidence, basis, subject_name, valid_until,
    decided_by
  )
  select
    v_person_id,
    coalesce(record_consents.identity_id, record_consents.person_id),
    purpose.purpose,
    record_consents.granted,
    -- A decision from a clock that is ahead must not override later decisions.
    least(record_consents.decided_at, now()),
    record_consents.document_version,
    record_consents.evidence,
    purpose.basis,
    v_named.name,
    record_consents.valid_until,
    record_consents.decided_by
  from privacy.purpose
  where purpose.purpose = any (v_purposes)
  returning *;
  perform privacy._call_listeners(array[v_person_id]);
end;
$$;

comment on function privacy.record_consents(
  bigint, boolean, text[], timestamptz, text, jsonb, timestamptz, text, bigint
) is $$
Records the same decision of a person about several purposes, made at `decided_at`; null: all that she can decide about.
So `record_consents(7, false)` withdraws everything, as easily as `record_consents(7, true)` grants it (GDPR article 7).
The other arguments and the errors are those of `privacy.record_consent`.
$$;

grant execute on function privacy.record_consents(
  bigint, boolean, text[], timestamptz, text, jsonb, timestamptz, text, bigint
) to insights_admin, insights_worker;
--! EndIncluded privacy/consent/record_consents.sql

--! Included privacy/functions/record_consent.sql
create or replace function privacy.record_consent(
  person_id bigint,
  purpose text,
  granted boolean,
  decided_at timestamptz default now(),
  document_version text default null,
  evidence jsonb default null,
  valid_until timestamptz default null,
  decided_by text default 'person',
  identity_id bigint default null
)
returns privacy.consent
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  return recorded
  from privacy.record_consents(
    record_consent.person_id, record_consent.granted, array[record_consent.purpose], record_consent.decided_at,
    record_consent.document_version, record_consent.evidence, record_consent.valid_until, record_consent.decided_by,
    record_consent.identity_id
  ) as recorded;
end;
$$;

comment on function privacy.record_consent(
  bigint, text, boolean, timestamptz, text, jsonb, timestamptz, text, bigint
) is $$
Records a decision of a person about a purpose, made at `decided_at`. Earlier decisions are kept.
`document_version` is the version of the text that she was shown: one of `privacy.consent_text` where the purpose has
texts. `valid_until`: the time at which a grant expires. `decided_by`: `guardian` when the holder of parental
responsibility decided for a minor. `identity_id`: the identity under which she decided, so that a split of the person
leaves it with the decision; without one, it is the key of the person.
Errors: CF001 for a missing value, a time in the future, a refusal that expires or an identity of another person, CF002
for an unknown purpose or version, CF008 for a document version above 200 characters or evidence above 32 kB.
$$;

grant execute on function privacy.record_consent(
  bigint, text, boolean, timestamptz, text, jsonb, timestamptz, text, bigint
) to insights_admin, insights_worker;
--! EndIncluded privacy/functions/record_consent.sql

--! Included privacy/functions/record_decisions.sql
create or replace function privacy.record_decisions(
  people bigint[],
  identities bigint[],
  purposes text[],
  granted boolean[],
  decided_at timestamptz[],
  source text,
  evidence jsonb[] default null,
  names text[] default null,
  document_versions text[] default null
)
returns bigint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_recorded bigint;
begin
  -- A decision from a clock that is ahead must not override later decisions.
  insert into privacy.consent (
    person_id, identity_id, purpose, granted, decided_at, source, document_version, evidence, basis, subject_name
  )
  select
    decision.person_id, decision.identity_id, decision.purpose, decision.granted,
    least(decision.decided_at, now()), record_decisions.source, decision.document_version, decision.evidence,
    (select purpose.basis from privacy.purpose where purpose.purpose = decision.purpose), decision.name
  from unnest(
    record_decisions.people,
    record_decisions.identities,
    record_decisions.purposes,
    record_decisions.granted,
    record_decisions.decided_at,
    record_decisions.evidence,
    record_decisions.names,
    record_decisions.document_versions
  ) as decision (person_id, identity_id, purpose, granted, decided_at, evidence, name, document_version);
  get diagnostics v_recorded = row_count;

  perform privacy._call_listeners(array(select distinct person_id from unnest(record_decisions.people) as person_id));
  return v_recorded;
end;
$$;

comment on function privacy.record_decisions(
  bigint[], bigint[], text[], boolean[], timestamptz[], text, jsonb[], text[], text[]
) is $$
Records decisions, one per position of the lists. Returns their number.
The caller has checked people, identities and purposes. Null lists record nothing.
$$;
--! EndIncluded privacy/functions/record_decisions.sql

--! Included privacy/consent/record_birth_dates.sql
create or replace function privacy.record_birth_dates(people bigint[], identities bigint[], birth_dates date[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_changed bigint[];
begin
  with stored as (
    insert into privacy.person_age (person_id, identity_id, birth_date)
    select stated.person_id, stated.identity_id, max(stated.birth_date)
    from unnest(record_birth_dates.people, record_birth_dates.identities, record_birth_dates.birth_dates)
      as stated (person_id, identity_id, birth_date)
    group by stated.person_id, stated.identity_id
    on conflict (person_id, identity_id) do update
    set birth_date = excluded.birth_date, set_at = excluded.set_at
    where not person_age.is_verified
      and person_age.birth_date < excluded.birth_date
    returning person_age.person_id
  )

  select coalesce(array_agg(distinct stored.person_id), '{}') into v_changed from stored;
  perform privacy._call_listeners(v_changed);
end;
$$;

comment on function privacy.record_birth_dates(bigint[], bigint[], date[]) is $$
@behavior -*
Stores dates of birth that messages of trusted senders state, one per position of the lists.
Of several dates for an identity, the latest is kept: a message can only make a person younger, in any order of arrival.
A verified date (`privacy.record_birth_date`) stays.
$$;
--! EndIncluded privacy/consent/record_birth_dates.sql

--! Included privacy/consent/record_birth_date.sql
create or replace function privacy.record_birth_date(person_id bigint, birth_date date)
returns void
language plpgsql
volatile
-- A definer: it writes privacy.person_age, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
as $$
begin
  if record_birth_date.person_id is null or record_birth_date.person_id <= 0 then
    perform common.refuse('CF001', format('person_id is %s', coalesce(record_birth_date.person_id::text, 'null')),
      'Give the key of a person.');
  end if;
  if record_birth_date.birth_date is null
    or record_birth_date.birth_date not between '1800-01-01' and (now() at time zone 'UTC')::date + 1
  then
    perform common.refuse('CF001', format('birth_date is %s', coalesce(record_birth_date.birth_date::text, 'null')),
      'Give a date from 1800-01-01 to today.');
  end if;

  insert into privacy.person_age (person_id, identity_id, birth_date, is_verified)
  select record_birth_date.person_id, identity.identity_id, record_birth_date.birth_date, true
  from (
    select record_birth_date.person_id

    union

    select person_age.identity_id
    from privacy.person_age
    where person_age.person_id = record_birth_date.person_id
  ) as identity (identity_id)
  on conflict on constraint person_age_pkey do update
  set birth_date = excluded.birth_date, is_verified = true, set_at = excluded.set_at;
  perform privacy._call_listeners(array[record_birth_date.person_id]);
end;
$$;

comment on function privacy.record_birth_date(bigint, date) is $$
Records the date of birth of a person, which the application has verified; it replaces every other one of her.
Grants that she gave below the age of consent (`privacy.setting.age_of_consent`, `privacy.purpose.minimum_age`) are then
void, and a guardian has to grant: `privacy.record_consent(…, decided_by => 'guardian')`. Without a date of birth, a
person is taken to be of age. Errors: CF001 for a missing person, or a date before 1800 or in the future.
$$;

grant execute on function privacy.record_birth_date(bigint, date) to insights_admin, insights_worker;
--! EndIncluded privacy/consent/record_birth_date.sql

--! Included privacy/consent/refresh_decisions.sql
create or replace function privacy.refresh_decisions()
returns int
language plpgsql
volatile
-- A definer: it writes privacy.setting, and the listeners write tables that no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_since timestamptz;
  v_people bigint[];
begin
  select setting.decisions_at into v_since from privacy.setting for update;
  if v_since >= now() then
    return 0;
  end if;

  v_people := array(
    select consent.person_id
    from privacy.consent
    where consent.valid_until > v_since
      and consent.valid_until <= now()

    union

    select person_age.person_id
    from privacy._ages(null) as aged
    join privacy.person_age
      on person_age.birth_date between
        (v_since - make_interval(years => aged.age))::date - 3 and (now() - make_interval(years => aged.age))::date + 3
    where privacy._of_age_at(person_age.birth_date, aged.age) > v_since
      and privacy._of_age_at(person_age.birth_date, aged.age) <= now()
  );
  update privacy.setting set decisions_at = now();
  perform privacy._call_listeners(v_people);
  return cardinality(v_people);
end;
$$;

comment on function privacy.refresh_decisions() is $$
@behavior -*
Notifies the listeners of people whose decisions changed with time since the last call; returns their number.
Their grants expired, or they came of age. The worker calls it; `privacy.allowed` and `track.ingest` do not wait for it.
$$;

grant execute on function privacy.refresh_decisions() to insights_worker;
--! EndIncluded privacy/consent/refresh_decisions.sql

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
      person_id, identity_id, consent_id, purpose, granted, decided_at, recorded_at, source, document_version, evidence,
      basis, subject_name, valid_until, decided_by, salt, ledger_position
    )
    select
      new_person_id, coalesce(new_identity_id, identity_id), consent_id, purpose, granted, decided_at, recorded_at,
      source, document_version, evidence, basis, subject_name, valid_until, decided_by, salt, ledger_position
    from deleted
  )

  select array_agg(old_person_id) || array_agg(new_person_id), count(*)
  into v_touched, v_moved
  from deleted;

  -- Dates of birth are those of identities, not of periods.
  if move_decisions.new_identities is null then
    with deleted as (
      delete from privacy.person_age
      using unnest(move_decisions.identities, move_decisions.old_people, move_decisions.new_people)
        as moved (identity_id, old_person_id, new_person_id)
      where person_age.person_id = moved.old_person_id
        and person_age.identity_id = moved.identity_id
      returning moved.old_person_id, moved.new_person_id, person_age.*
    ),

    placed as (
      insert into privacy.person_age (person_id, identity_id, birth_date, is_verified, set_at)
      select new_person_id, identity_id, birth_date, is_verified, set_at
      from deleted
    )

    select v_touched || array_agg(old_person_id) || array_agg(new_person_id)
    into v_touched
    from deleted;
  end if;

  perform privacy._call_listeners(array(select distinct person_id from unnest(v_touched) as person_id));
  return v_moved;
end;
$$;

comment on function privacy.move_decisions(
  bigint[], bigint[], bigint[], bigint[], timestamptz[], timestamptz[]
) is $$
Moves the decisions of identities, each from its old person to its new one, and their dates of birth.
Returns the number of moved decisions.
The lists have the same length. `new_identities`, `since` and `until`: moves the decisions of a period (`until`
exclusive) to another identity, too. Called by `track` when people are merged or split: the decisions of an identity
always belong to its person.
$$;
--! EndIncluded privacy/functions/move_decisions.sql

--! Included privacy/ledger/_commitment_expression.sql
create or replace function privacy._commitment_expression(kind text, record text, salt text)
returns text
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return (
    select format(
      'sha256(%s || convert_to(jsonb_build_array(%L, %s)::text, ''UTF8''))',
      _commitment_expression.salt,
      sealed.kind,
      string_agg(
        format('%L, %s.%I', content.name, _commitment_expression.record, content.name), ', ' order by content.position
      )
    )
    from privacy.sealed_table as sealed
    cross join lateral unnest(sealed.contents) with ordinality as content (name, position)
    where sealed.kind = _commitment_expression.kind
    group by sealed.kind
  );
end;
$$;

comment on function privacy._commitment_expression(text, text, text) is $$
Returns the SQL expression of the commitment to a record of a kind: SHA-256 of the salt and the contents as JSON.
`record` and `salt` are SQL expressions. The caller that evaluates it pins the settings that change the text of times
(`TimeZone`, `DateStyle`, `IntervalStyle`).
$$;
--! EndIncluded privacy/ledger/_commitment_expression.sql

--! Included privacy/ledger/_ledger_hash.sql
create or replace function privacy._ledger_hash(
  previous_hash bytea, commitment bytea, "position" bigint, sealed_at timestamptz, kind text
)
returns bytea
language sql
stable
parallel safe
return sha256(
  coalesce(previous_hash, '') || commitment || int8send("position")
    || int8send((extract(epoch from sealed_at) * 1000000)::bigint) || convert_to(kind, 'UTF8')
);

comment on function privacy._ledger_hash(bytea, bytea, bigint, timestamptz, text) is $$
Returns the hash of an entry of the ledger. `previous_hash` is null for the first entry.
$$;
--! EndIncluded privacy/ledger/_ledger_hash.sql

--! Included privacy/ledger/_ready_condition.sql
create or replace function privacy._ready_condition(sealed privacy.sealed_table)
returns text
language sql
stable
parallel safe
return case
  when sealed.ready_column is null then 'true'
  else format('record.%I is not null', sealed.ready_column)
end;

comment on function privacy._ready_condition(privacy.sealed_table) is $$
Returns the SQL condition under which a row `record` of a table can be sealed.
$$;
--! EndIncluded privacy/ledger/_ready_condition.sql

--! Included privacy/ledger/account_removal.sql
create or replace function privacy.account_removal(positions bigint[], reason text)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  insert into privacy.removal (positions, reason)
  select removed.positions, account_removal.reason
  from (
    select array_agg(distinct removed.position order by removed.position) as positions
    from unnest(account_removal.positions) as removed (position)
    where removed.position is not null
  ) as removed
  where removed.positions is not null;
end;
$$;

comment on function privacy.account_removal(bigint[], text) is $$
@behavior -*
Records that the records of these entries of the ledger were deleted by right, in the same transaction.
Called by functions that delete sealed records, with their `ledger_position`; nulls (not sealed yet) are left out. The
row is sealed itself, so that a deletion that it does not account for is found by `privacy.verify_ledger`.
$$;
--! EndIncluded privacy/ledger/account_removal.sql

--! Included privacy/ledger/seal.sql
create or replace function privacy.seal(most int default 10000)
returns int
language plpgsql
volatile
-- A definer: it writes the ledger and the positions in the records, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_sealed privacy.sealed_table;
  v_last privacy.ledger;
  v_sealed_at timestamptz;
  v_keys uuid[];
  v_salts bytea[];
  v_commitments bytea[];
  v_hashes bytea[];
  v_count int;
  v_total int := 0;
begin
  perform common.check_count('most', seal.most, 1, 100000);
  -- One at a time. Nobody else writes the ledger, and readers do not wait.
  lock table privacy.ledger in share row exclusive mode;
  select ledger.* into v_last from privacy.ledger order by ledger.position desc limit 1;
  -- Never before the last entry, also when the clock was set back.
  v_sealed_at := greatest(clock_timestamp(), v_last.sealed_at);

  for v_sealed in
    select sealed_table.* from privacy.sealed_table order by sealed_table.kind
  loop
    exit when v_total >= seal.most;
    -- A row that another transaction moves or deletes is left to the next call. The order is that of the commitments,
    -- so that a position reveals nothing about a record.
    execute format(
      $statement$
        with taken as materialized (
          select record, uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) as salt
          from %1$s as record
          where record.%3$I is null and (%4$s)
          limit $1
          for update skip locked
        ),

        committed as (
          select (taken.record).%2$I as key, taken.salt, %5$s as commitment
          from taken
        )

        select
          array_agg(key order by commitment), array_agg(salt order by commitment),
          array_agg(commitment order by commitment)
        from committed
      $statement$,
      v_sealed.table_name,
      v_sealed.key_column,
      v_sealed.position_column,
      privacy._ready_condition(v_sealed),
      privacy._commitment_expression(v_sealed.kind, '(taken.record)', 'taken.salt')
    )
    into v_keys, v_salts, v_commitments
    using seal.most - v_total;
    continue when v_keys is null;

    v_count := cardinality(v_keys);
    v_hashes := '{}';
    for v_index in 1 .. v_count loop
      v_last.position := coalesce(v_last.position, 0) + 1;
      v_last.hash := privacy._ledger_hash(
        v_last.hash, v_commitments[v_index], v_last.position, v_sealed_at, v_sealed.kind
      );
      v_hashes[v_index] := v_last.hash;
    end loop;
    insert into privacy.ledger (position, kind, commitment, hash, sealed_at)
    select v_last.position - v_count + entry.number, v_sealed.kind, entry.commitment, entry.hash, v_sealed_at
    from unnest(v_commitments, v_hashes) with ordinality as entry (commitment, hash, number);
    execute format(
      $statement$
        update %1$s as record
        set %3$I = entry.position, %4$I = entry.salt
        from unnest($1, $2, $3) as entry (key, salt, position)
        where record.%2$I = entry.key and record.%3$I is null
      $statement$,
      v_sealed.table_name,
      v_sealed.key_column,
      v_sealed.position_column,
      v_sealed.salt_column
    )
    using
      v_keys,
      v_salts,
      array(select generate_series(v_last.position - v_count + 1, v_last.position));
    v_last.sealed_at := v_sealed_at;
    v_total := v_total + v_count;
  end loop;

  -- A record that is inserted later with an earlier time is found by the time of the last entry before it.
  if v_total = 0 and v_sealed_at >= coalesce(v_last.sealed_at, '-infinity') + interval '1 day' then
    insert into privacy.ledger (position, kind, commitment, hash, sealed_at)
    select
      entry.position, 'checkpoint', sha256(''),
      privacy._ledger_hash(v_last.hash, sha256(''), entry.position, v_sealed_at, 'checkpoint'), v_sealed_at
    from (values (coalesce(v_last.position, 0) + 1)) as entry (position);
  end if;
  return v_total;
end;
$$;

comment on function privacy.seal(int) is $$
@behavior -*
Enters the records that are new since the last call into the ledger, at most `most`, and returns their number.
The worker calls it; records wait for it, but nobody waits for them: recording a decision does not lock the ledger.
When nothing is new for a day, it adds a checkpoint. Calls at the same time wait for each other. Errors: CF001 for an
invalid `most`.
$$;

grant execute on function privacy.seal(int) to insights_worker;
--! EndIncluded privacy/ledger/seal.sql

--! Included privacy/ledger/ledger_head.sql
create or replace function privacy.ledger_head()
returns privacy.ledger_head
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return (
    select row(ledger.position, encode(ledger.hash, 'hex'), ledger.sealed_at)::privacy.ledger_head
    from privacy.ledger
    order by ledger.position desc
    limit 1
  );
end;
$$;

comment on function privacy.ledger_head() is $$
@behavior -mutationField +queryField
Returns the latest entry of the ledger; null when it is empty.
Who keeps its position and hash outside of the database, and gives them to `privacy.verify_ledger` later, also finds a
ledger that was rewritten as a whole or cut at its end. The worker prints them whenever it seals records.
$$;

grant execute on function privacy.ledger_head() to insights_admin, insights_worker;
--! EndIncluded privacy/ledger/ledger_head.sql

--! Included privacy/ledger/_check_records.sql
create or replace function privacy._check_records(kind text, tolerance interval)
returns setof privacy.ledger_problem
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_sealed privacy.sealed_table;
begin
  select sealed_table.* into v_sealed from privacy.sealed_table where sealed_table.kind = _check_records.kind;
  return query execute format(
    $statement$
      with record as materialized (
        select
          record.%2$I as record_id, record.%3$I as position, record.%4$I as recorded_at,
          %5$s as commitment,
          count(*) over (partition by record.%3$I) as uses
        from %1$s as record
        where record.%3$I is not null
      ),

      removed as materialized (
        select unnest(removal.positions) as position
        from privacy.removal
      ),

      entry as materialized (
        select
          ledger.position, ledger.kind, ledger.commitment, ledger.sealed_at,
          max(ledger.sealed_at) over (
            order by ledger.sealed_at range between unbounded preceding and '1 microsecond' preceding
          ) as previous_at
        from privacy.ledger
      )

      select
        case
          when entry.position is null or entry.kind <> $1 then 'unknown_position'
          when record.record_id is null then 'missing'
          when record.uses > 1 then 'copied'
          when record.commitment is distinct from entry.commitment then 'changed'
          when entry.position in (select removed.position from removed) then 'restored'
          else 'backdated'
        end,
        $1,
        coalesce(record.position, entry.position),
        record.record_id,
        case
          when entry.position is null or entry.kind <> $1
            then 'The record refers to an entry that does not exist or seals another kind of record.'
          when record.record_id is null then 'The record of the entry was deleted, and no removal accounts for it.'
          when record.uses > 1 then 'Several records refer to the entry.'
          when record.commitment is distinct from entry.commitment
            then 'The contents of the record are not those that were sealed.'
          when entry.position in (select removed.position from removed)
            then 'The record was deleted by right, and is there again.'
          else format(
            'The record states that it was stored at %%s, but it was not there at %%s.',
            record.recorded_at, entry.previous_at
          )
        end
      from record
      full join (select entry.* from entry where entry.kind = $1) as entry using (position)
      where case
        when entry.position is null then true
        when record.record_id is null
          then entry.position not in (select removed.position from removed)
        else record.uses > 1
          or record.commitment is distinct from entry.commitment
          or record.recorded_at < entry.previous_at - $2
          or entry.position in (select removed.position from removed)
      end
    $statement$,
    v_sealed.table_name,
    v_sealed.key_column,
    v_sealed.position_column,
    v_sealed.recorded_column,
    privacy._commitment_expression(v_sealed.kind, 'record', format('record.%I', v_sealed.salt_column))
  )
  using v_sealed.kind, _check_records.tolerance;
end;
$$;

comment on function privacy._check_records(text, interval) is $$
Returns the records of a kind that differ from their entries in the ledger, and the entries without a record.
$$;
--! EndIncluded privacy/ledger/_check_records.sql

--! Included privacy/ledger/verify_ledger.sql
create or replace function privacy.verify_ledger(
  expected_position bigint default null,
  expected_hash text default null,
  tolerance interval default '1 hour'
)
returns privacy.ledger_report
language plpgsql
stable
-- A definer: it reads the salts of all records.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set intervalstyle to 'postgres'
as $$
declare
  v_report privacy.ledger_report;
  v_head privacy.ledger_head := privacy.ledger_head();
  v_names_function constant text := (select setting.names_function from privacy.setting);
  v_sealed privacy.sealed_table;
  v_records bigint;
  v_unsealed bigint;
  v_problems privacy.ledger_problem[] := '{}';
  v_found privacy.ledger_problem[];
begin
  if (verify_ledger.expected_position is null) <> (verify_ledger.expected_hash is null) then
    perform common.refuse('CF001',
      format('expected_position is %s, expected_hash is %s', coalesce(verify_ledger.expected_position::text, 'null'),
        coalesce('"' || left(verify_ledger.expected_hash, 100) || '"', 'null')),
      'Give both, as privacy.ledger_head answered them, or none.');
  end if;
  if verify_ledger.tolerance is null or verify_ledger.tolerance < '0' then
    perform common.refuse('CF001', format('tolerance is %s', coalesce(verify_ledger.tolerance::text, 'null')),
      'Give an interval of zero or more.');
  end if;

  select count(*) into v_report.entries from privacy.ledger;
  v_report.head_position := v_head.position;
  v_report.head_hash := v_head.hash;

  -- Each entry is compared with the one before it: if all of them are right, the whole chain is.
  select min(linked.position) into v_report.broken_position
  from (
    select
      ledger.*,
      lag(ledger.hash) over (order by ledger.position) as previous_hash,
      lag(ledger.sealed_at) over (order by ledger.position) as previous_at,
      row_number() over (order by ledger.position) as number
    from privacy.ledger
  ) as linked
  where linked.position <> linked.number
    or linked.sealed_at < linked.previous_at
    or linked.hash is distinct from privacy._ledger_hash(
      linked.previous_hash, linked.commitment, linked.position, linked.sealed_at, linked.kind
    );
  if v_report.broken_position is not null then
    v_problems := v_problems || row(
      'broken', null, v_report.broken_position, null,
      'The entry does not follow from the one before it: an entry was changed, deleted or inserted.'
    )::privacy.ledger_problem;
  end if;
  if verify_ledger.expected_position is not null and not exists (
    select
    from privacy.ledger
    where ledger.position = verify_ledger.expected_position
      and encode(ledger.hash, 'hex') = lower(verify_ledger.expected_hash)
  ) then
    v_problems := v_problems || row(
      'rewritten', null, verify_ledger.expected_position, null,
      'The ledger has no entry with the expected position and hash: it was rewritten or cut.'
    )::privacy.ledger_problem;
  end if;
  v_found := array(
    select row('unknown_kind', ledger.kind, min(ledger.position), null,
      format('%s entries have a kind that is not registered.', count(*)))::privacy.ledger_problem
    from privacy.ledger
    where ledger.kind <> 'checkpoint'
      and not exists (select from privacy.sealed_table where sealed_table.kind = ledger.kind)
    group by ledger.kind
    order by ledger.kind
  );
  v_problems := v_problems || v_found;

  v_report.records := 0;
  v_report.unsealed := 0;
  for v_sealed in
    select sealed_table.* from privacy.sealed_table order by sealed_table.kind
  loop
    execute format(
      $statement$
        select
          count(*) filter (where record.%2$I is not null),
          count(*) filter (where record.%2$I is null and (%3$s))
        from %1$s as record
      $statement$,
      v_sealed.table_name,
      v_sealed.position_column,
      privacy._ready_condition(v_sealed)
    )
    into v_records, v_unsealed;
    v_report.records := v_report.records + v_records;
    v_report.unsealed := v_report.unsealed + v_unsealed;
    v_found := array(
      select entry
      from privacy._check_records(v_sealed.kind, verify_ledger.tolerance) as entry
      order by entry.position, entry.record_id
    );
    v_problems := v_problems || v_found;
  end loop;

  -- The person is not sealed, since a merge changes it, but the name is, under which she decided.
  if v_names_function is not null then
    execute format(
      $statement$
        select array_agg(
          row(
            'moved', 'consent', consent.ledger_position, consent.consent_id,
            'The decision is stored for another person or identity than that of its name.'
          )::privacy.ledger_problem
          order by consent.ledger_position, consent.consent_id
        )
        from privacy.consent
        left join %I.%I(
          array(select distinct consent.identity_id from privacy.consent where consent.subject_name is not null)
        ) as named on named.identity_id = consent.identity_id
        where consent.subject_name is not null
          and (consent.person_id, consent.subject_name) is distinct from (named.person_id, named.name)
      $statement$,
      split_part(v_names_function, '.', 1), split_part(v_names_function, '.', 2)
    )
    into v_found;
    v_problems := v_problems || coalesce(v_found, '{}');
  end if;

  v_report.removed := (
    select count(distinct removed.position)
    from privacy.removal
    cross join lateral unnest(removal.positions) as removed (position)
  );
  v_report.problem_count := cardinality(v_problems);
  v_report.problems := v_problems[1:100];
  v_report.is_intact := v_report.problem_count = 0;
  return v_report;
end;
$$;

comment on function privacy.verify_ledger(bigint, text, interval) is $$
@behavior -mutationField +queryField
Compares the ledger with itself and with the records, and returns the differences.
`broken`: an entry that does not follow from the one before it. `changed`: a record whose contents are not those that
were sealed. `missing`: an entry without its record that no removal accounts for. `restored`: a record that was deleted
by right and is there again. `copied`, `unknown_position`: a record that refers to the entry of another one, or to none.
`backdated`: a record that claims to have been stored more than `tolerance` before an entry, at whose time it was not
there. `moved`: a decision that is stored for a person other than that of its name. `unknown_kind`: entries that no
registered table has. `rewritten`: there is no entry with `expected_position` and `expected_hash`, which
`privacy.ledger_head` answered earlier. Without these two, a ledger that was recomputed as a whole, or cut at its
end together with the records, is not found.
The time is proportional to the ledger. Errors: CF001 when only one of the two is given, or for an invalid tolerance.
$$;

grant execute on function privacy.verify_ledger(bigint, text, interval) to insights_admin, insights_worker;
--! EndIncluded privacy/ledger/verify_ledger.sql

--! Included privacy/ledger/needs_seal.sql
create or replace function privacy.needs_seal()
returns boolean
language plpgsql
stable
-- A definer: it reads the records of all kinds.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_sealed privacy.sealed_table;
  v_found boolean;
begin
  if not exists (select from privacy.ledger where ledger.sealed_at > now() - interval '1 day') then
    return true;
  end if;
  for v_sealed in
    select sealed_table.* from privacy.sealed_table
  loop
    execute format(
      'select exists (select from %1$s as record where record.%2$I is null and (%3$s))',
      v_sealed.table_name, v_sealed.position_column, privacy._ready_condition(v_sealed)
    )
    into v_found;
    if v_found then
      return true;
    end if;
  end loop;
  return false;
end;
$$;

comment on function privacy.needs_seal() is $$
@behavior -*
Returns whether `privacy.seal` has anything to do: new records, or a checkpoint once per day.
$$;

grant execute on function privacy.needs_seal() to insights_worker;
--! EndIncluded privacy/ledger/needs_seal.sql

-- from privacy/data_map.sql
insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, erasure, description, basis)
values
  ('privacy', 'consent', 'person_id', 'person', 'service', 'deleted', 'Person that the decision applies to.', null),
  ('privacy', 'consent', 'identity_id', 'identity', 'service', 'deleted', 'Identity that made the decision.', null),
  (
    'privacy', 'consent', 'document_version', 'decision', 'service', 'deleted',
    'Version of the text that was shown.', null
  ),
  ('privacy', 'consent', 'basis', 'decision', 'service', 'deleted', 'Lawful basis when it was made.', null),
  (
    'privacy', 'consent', 'subject_name', 'identity', 'service', 'deleted',
    'Name under which the person decided.', null
  ),
  ('privacy', 'consent', 'salt', 'decision', 'service', 'deleted', 'Salt of the entry in the ledger.', null),
  ('privacy', 'person_age', 'person_id', 'person', 'service', 'deleted', 'Person that was born on the date.', null),
  ('privacy', 'person_age', 'identity_id', 'identity', 'service', 'deleted', 'Identity of the date of birth.', null),
  ('privacy', 'person_age', 'birth_date', 'traits', 'service', 'deleted', 'Date of birth.', null),
  (
    'privacy', 'ledger', 'commitment', 'decision', 'service', 'kept',
    'Hash of a salt and a record, such as a decision.',
    'The chain proves that no decision was changed. Without its deleted salt, it contains nothing of a person.'
  ),
  (
    'privacy', 'ledger', 'hash', 'decision', 'service', 'kept',
    'Hash of the entry and of the one before it.', 'As privacy.ledger.commitment.'
  ),
  ('privacy', 'consent', 'evidence', 'decision', 'service', 'deleted', 'Evidence of the decision.', null),
  ('privacy', 'request', 'person_id', 'person', 'service', 'cleared', 'Person who made an open request.', null),
  ('privacy', 'request', 'identity_id', 'identity', 'service', 'cleared', 'Identity that the request names.', null),
  ('privacy', 'restriction', 'person_id', 'person', 'service', 'deleted', 'Person whose data is restricted.', null),
  ('privacy', 'restriction', 'identity_id', 'identity', 'service', 'deleted', 'Identity of the restriction.', null),
  ('privacy', 'restriction', 'reason', 'decision', 'service', 'deleted', 'Reason of the restriction.', null),
  (
    'privacy', 'request', 'subject_hash', 'identity', 'service', 'kept',
    'Hash of the name in a request.',
    'Proof of the answer. The salt of the hash is not stored, so that no name can be tested against it.'
  ),
  (
    'privacy', 'request', 'outcome', 'decision', 'service', 'kept',
    'Answer to a request, without a name.',
    'Proof of the answer. It must not name the person.'
  ),
  (
    'privacy', 'suppression', 'name_hash', 'identity', 'service', 'kept',
    'Keyed hash of the name of an erased person.',
    'Without it, a message with the name would be stored again (GDPR article 17(3)(b)).'
  ),
  ('privacy', 'export_log', 'identity_id', 'identity', 'service', 'deleted', 'Person whose data was exported.', null),
  ('privacy', 'export_log', 'exported_by', 'identity', 'service', 'cleared', 'Administrator who exported it.', null),
  (
    'privacy', 'erasure', 'subject_hash', 'identity', 'service', 'kept',
    'Hash of the names of an erased person.',
    'Proof of the erasure. The salt of the hash is not stored, so that no name can be tested against it.'
  ),
  (
    'privacy', 'erasure', 'reason', 'decision', 'service', 'kept',
    'Reason of an erasure, by an administrator.',
    'Proof of the erasure. It must not name the person.'
  ),
  (
    'privacy', 'erasure', 'counts', 'derived', 'service', 'kept',
    'Numbers of rows that were erased.',
    'Proof of the erasure, without content.'
  ),
  (
    'ml', 'input_profile', 'edges', 'derived', 'analytics', 'marked',
    'Deciles of a feature in the training, which can be values of a person.', null
  ),
  (
    'ml', 'input_profile', 'categories', 'derived', 'analytics', 'marked',
    'Frequent values of a feature in the training.', null
  ),
  ('ml', 'input_profile', 'shares', 'derived', 'analytics', 'marked', 'Shares of these values.', null),
  (
    'ml', 'embedding', 'key', 'identity', 'personalization', 'deleted',
    'Name of what the vector is of, such as a person or an item.', null
  ),
  ('ml', 'embedding', 'embedding', 'derived', 'personalization', 'deleted', 'Vector of a person or an item.', null),
  ('ml', 'score', 'keys', 'identity', 'personalization', 'deleted', 'Keys of a stored score, such as a person.', null),
  ('ml', 'score', 'score', 'derived', 'personalization', 'deleted', 'Score of a person.', null),
  (
    'ml', 'model', 'coefficients', 'derived', 'analytics', 'marked',
    'What a model learned from the people in its training.', null
  ),
  (
    'ml', 'tree_node', 'categories', 'derived', 'analytics', 'marked',
    'Values of a feature by which a tree decides.', null
  ),
  (
    'ml', 'tree_node', 'threshold', 'derived', 'analytics', 'marked',
    'Value of a feature by which a tree decides.', null
  ),
  (
    'ml', 'model', 'parameters', 'derived', 'analytics', 'kept',
    'Parameters that were chosen for a training.',
    'Figures about all people in a training, from which none of them can be recognized.'
  ),
  (
    'ml', 'model', 'metrics', 'derived', 'analytics', 'kept',
    'Measured quality of a model.',
    'Figures about all people in a training, from which none of them can be recognized.'
  ),
  (
    'ml', 'comparison', 'challenger_metrics', 'derived', 'analytics', 'kept',
    'Measured quality of a new version.',
    'As ml.model.metrics.'
  ),
  (
    'ml', 'comparison', 'champion_metrics', 'derived', 'analytics', 'kept',
    'Measured quality of the deployed version.',
    'As ml.model.metrics.'
  )
on conflict (schema_name, table_name, column_name) do update
set
  holds = excluded.holds,
  purpose = excluded.purpose,
  description = excluded.description,
  erasure = excluded.erasure,
  basis = excluded.basis;
insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, erasure, description)
select entry.schema_name, entry.table_name, column_name, 'none', 'service', 'kept', entry.reason
from (
  values
    ('privacy', 'consent', '{consent_id}', 'Random keys.'),
    ('privacy', 'export_log', '{export_id}', 'Random keys.'),
    ('privacy', 'erasure', '{erasure_id,salt}', 'Random keys.'),
    (
      'privacy', 'setting',
      '{subject_function,lock_function,names_function,unshared_function,hold_function,returned_function}',
      'Names of functions.'
    ),
    ('privacy', 'request', '{request_id,salt,answer_salt}', 'Random keys.'),
    ('privacy', 'request', '{regime}', 'Name of a law.'),
    ('privacy', 'regime', '{regime,description}', 'Laws with times to answer.'),
    ('privacy', 'secret', '{purpose,secret}', 'Random keys of hashes.'),
    ('privacy', 'consent', '{purpose}', 'Name of a purpose.'),
    ('privacy', 'consent_text', '{text_id,salt}', 'Random keys.'),
    ('privacy', 'consent_text', '{purpose,version,language,body,url}', 'Texts for all people.'),
    ('privacy', 'ledger', '{kind}', 'Kinds of records.'),
    ('privacy', 'removal', '{removal_id,salt}', 'Random keys.'),
    ('privacy', 'removal', '{positions,reason}', 'Entries of the ledger without records.'),
    (
      'privacy', 'sealed_table',
      '{kind,table_name,key_column,recorded_column,contents,salt_column,position_column,ready_column,description}',
      'Names of functions, tables or tasks of the installation.'
    ),
    ('privacy', 'purpose', '{purpose,description}', 'Purposes of processing.'),
    (
      'privacy', 'listener', '{function_name,description}',
      'Names of functions, tables or tasks of the installation.'
    ),
    (
      'privacy', 'handler', '{room,erase_function,export_function,rectify_function,description}',
      'Names of functions, tables or tasks of the installation.'
    ),
    ('privacy', 'data_map', '{schema_name,table_name,column_name,purpose,description,basis}', 'Content of this map.'),
    ('ml', 'project', '{name,metric,description}', 'Names of models.'),
    ('ml', 'model', '{algorithm,marked_reason}', 'Name of a method, and why a version is not used.'),
    ('ml', 'comparison', '{metric}', 'Name of a metric.'),
    ('ml', 'drift', '{feature}', 'Name of a feature.'),
    ('ml', 'input_profile', '{feature}', 'Name of a feature.'),
    ('ml', 'tree_node', '{feature}', 'Name of a feature.')
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
values ('privacy', 60, 'privacy.export', 'Decisions, and the log of exports.')
on conflict (room) do update set export_function = excluded.export_function;

--! Included privacy/access/_plain_comment.sql
create or replace function privacy._plain_comment(comment text)
returns text
language sql
immutable
parallel safe
begin atomic
  select substring(ltrim(regexp_replace(comment, '(^|\n)@[^\n]*', '', 'g'), E' \n') from '^[^\n]*');
end;

comment on function privacy._plain_comment(text) is $$
Returns the first sentence of the comment of an object, without the tags of the API.
$$;
--! EndIncluded privacy/access/_plain_comment.sql

--! Included privacy/access/user_names.sql
create or replace function privacy.user_names(subject privacy.subject)
returns text[]
language sql
immutable
parallel safe
return array(
  select named.name
  from unnest((user_names.subject).kinds, (user_names.subject).names) as named (kind, name)
  where named.kind = 'user'
);

comment on function privacy.user_names(privacy.subject) is $$
@behavior -*
Returns the names of a person that are proven: those of the kind `user`.
For comparisons with names that are not identities, such as authors in a log and keys of a model from outside: the name
of a browser is chosen by its client, and can be that of another person.
$$;
--! EndIncluded privacy/access/user_names.sql

--! Included privacy/access/_subject.sql
create or replace function privacy._subject(person text)
returns privacy.subject
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_function text;
  v_subject privacy.subject;
begin
  select setting.subject_function into v_function from privacy.setting;
  execute format('select * from %I.%I($1)', split_part(v_function, '.', 1), split_part(v_function, '.', 2))
  into v_subject
  using _subject.person;
  return v_subject;
end;
$$;

comment on function privacy._subject(text) is $$
Returns a person with all her identities, by the function in `privacy.setting.subject_function`. Error: CF002.
$$;
--! EndIncluded privacy/access/_subject.sql

--! Included privacy/access/exported_rows.sql
create or replace function privacy.exported_rows(table_name text, contents jsonb, description text default null)
returns privacy.exported
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return row(
    exported_rows.table_name,
    coalesce(
      exported_rows.description,
      privacy._plain_comment(obj_description(to_regclass(exported_rows.table_name), 'pg_class'))
    ),
    coalesce(jsonb_array_length(exported_rows.contents), 0),
    coalesce(exported_rows.contents, '[]')
  )::privacy.exported;
end;
$$;

comment on function privacy.exported_rows(text, jsonb, text) is $$
@behavior -*
Returns the rows of a table (`schema.table`) in the export of a person, with the comment of the table.
`description` replaces the comment. For the export functions of rooms. `contents` is a list of objects; null for none.
$$;
--! EndIncluded privacy/access/exported_rows.sql

--! Included privacy/access/_export_document.sql
/* Reads the tables of all rooms through their functions in privacy.handler: its callers are definers. */
create or replace function privacy._export_document(subject privacy.subject)
returns jsonb
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set datestyle to 'ISO, MDY'
set intervalstyle to 'iso_8601'
set extra_float_digits to 1
set bytea_output to 'hex'
set jit to off
as $$
declare
  v_handler privacy.handler;
  v_room privacy.exported[];
  v_all privacy.exported[] := '{}';
  v_rows bigint;
  v_document jsonb;
begin
  for v_handler in
    select handler.*
    from privacy.handler
    where handler.export_function is not null
    order by handler.position desc
  loop
    execute format(
      'select array(select exported from %I.%I($1) as exported)',
      split_part(v_handler.export_function, '.', 1), split_part(v_handler.export_function, '.', 2)
    )
    into v_room
    using _export_document.subject;
    v_all := v_all || v_room;
  end loop;
  select coalesce(sum(exported.row_count), 0) into v_rows from unnest(v_all) as exported;

  insert into privacy.export_log (identity_id, exported_by, row_count)
  values ((_export_document.subject).person_id, common.author(), v_rows);

  select jsonb_build_object(
    'person', (
      select jsonb_agg(jsonb_build_object('kind', named.kind, 'name', named.name) order by named.position)
      from unnest((_export_document.subject).kinds, (_export_document.subject).names)
        with ordinality as named (kind, name, position)
    ),
    'exported_at', now(),
    'purposes', (
      select jsonb_agg(
        jsonb_build_object('purpose', purpose.purpose, 'basis', purpose.basis, 'description', purpose.description)
        order by purpose.purpose
      )
      from privacy.purpose
    ),
    'index', jsonb_agg(
      jsonb_build_object(
        'table', exported.table_name,
        'description', exported.description,
        'rows', exported.row_count,
        'columns', privacy._describe_columns(exported.table_name, exported.contents -> 0)
      )
      order by exported.position
    ),
    'data', jsonb_object_agg(exported.table_name, exported.contents) filter (where exported.row_count > 0)
  )
  into v_document
  from unnest(v_all) with ordinality as exported (table_name, description, row_count, contents, position);
  return v_document;
exception
  when program_limit_exceeded then
    perform common.refuse(
      'CF008',
      format('the data of person %s is longer than 256 MB as JSON', (_export_document.subject).person_id),
      'Export the largest tables by themselves, as an administrator: insights query.'
    );
end;
$$;

comment on function privacy._export_document(privacy.subject) is $$
Returns all data of a person as one JSON document, and logs the export in `privacy.export_log`.
`person`: her names. `purposes`: the purposes of processing, with the lawful basis of each. `index`: each table with its
meaning, number of rows and columns. `data`: the rows by table, with names in place of surrogate keys.
Error: CF008 for more than 256 MB of JSON.
$$;

create or replace function privacy._describe_columns(table_name text, example jsonb)
returns jsonb
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return (
    select jsonb_object_agg(key, privacy._plain_comment(described.comment))
    from jsonb_object_keys(example) as key
    left join lateral (
      select col_description(attribute.attrelid, attribute.attnum) as comment
      from pg_attribute as attribute
      where attribute.attrelid = to_regclass(_describe_columns.table_name)
        -- Keys are replaced by names: `item` stands for `item_id`.
        and attribute.attname in (key, key || '_type_id', key || '_id', regexp_replace(key, 's$', '_ids'))
        and attribute.attnum > 0
        and not attribute.attisdropped
      order by attribute.attname = key desc, length(attribute.attname) desc
      limit 1
    ) as described on true
    where described.comment is not null
  );
end;
$$;

comment on function privacy._describe_columns(text, jsonb) is $$
Returns the comments of the columns of a table that the keys of a row in an export are named after.
$$;
--! EndIncluded privacy/access/_export_document.sql

--! Included privacy/access/export_person.sql
/* A definer: it reads the tables of all rooms, and writes the log of exports, which no role may do. */
create or replace function privacy.export_person(person text)
returns jsonb
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  if export_person.person is null then
    perform common.refuse('CF001', 'person is null', 'Give the userId or anonymousId of the person.');
  end if;
  return privacy._export_document(privacy._subject(export_person.person));
end;
$$;

comment on function privacy.export_person(text) is $$
@behavior -mutationField +queryField
Returns all data of a person as one JSON document (GDPR articles 15 and 20), and logs that it was exported.
`person` is a `userId` or `anonymousId`; the data of all her identities is returned, and that of nobody else.
The document has the keys `person` (her names), `exported_at`, `purposes`, `index` (each table with its meaning, number
of rows and columns) and `data` (the rows by table, with names in place of surrogate keys; times in UTC).
Errors: CF001 (null), CF002 for an unknown person, CF008 for more than 256 MB of JSON.
$$;

grant execute on function privacy.export_person(text) to insights_admin;
--! EndIncluded privacy/access/export_person.sql

--! Included privacy/access/export_me.sql
/* A definer: it reads the tables of all rooms for the signed-in person, and writes the log of exports. */
create or replace function privacy.export_me()
returns jsonb
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_name constant text := nullif(current_setting('insights.person', true), '');
  v_subject privacy.subject;
begin
  if v_name is null then
    perform common.refuse('CF005', 'no person is signed in', 'Sign in first: the export is that of a person.');
  end if;
  v_subject := privacy._subject(v_name);
  -- The name of a browser is not the proof that the token of a user is.
  if not exists (
    select
    from unnest(v_subject.kinds, v_subject.names) as named (kind, name)
    where named.kind = 'user' and named.name = v_name
  ) then
    perform common.refuse('CF002', format('there is no person "%s"', left(v_name, 100)),
      'No data of the signed-in person is stored.');
  end if;
  return privacy._export_document(v_subject);
end;
$$;

comment on function privacy.export_me() is $$
@behavior -mutationField +queryField
Returns all data of the signed-in person as one JSON document (GDPR articles 15 and 20), and logs the export.
The document is that of `privacy.export_person`. Errors: CF005 when no person is signed in, CF002 when no data of the
person is stored, CF008 for more than 256 MB of JSON.
$$;

grant execute on function privacy.export_me() to insights_learner;
--! EndIncluded privacy/access/export_me.sql

--! Included privacy/access/export.sql
create or replace function privacy.export(subject privacy.subject)
returns setof privacy.exported
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return next privacy.exported_rows(
    'privacy.consent',
    (
      select jsonb_agg(
        jsonb_build_object(
          'consent_id', consent.consent_id,
          'purpose', consent.purpose,
          'granted', consent.granted,
          'decided_at', consent.decided_at,
          'recorded_at', consent.recorded_at,
          'source', consent.source,
          'identity', (export.subject).names[array_position((export.subject).identity_ids, consent.identity_id)],
          'subject_name', consent.subject_name,
          'decided_by', consent.decided_by,
          'basis', consent.basis,
          'valid_until', consent.valid_until,
          'document_version', consent.document_version,
          'texts', (
            select jsonb_object_agg(consent_text.language, consent_text.body)
            from privacy.consent_text
            where consent_text.purpose = consent.purpose
              and consent_text.version = consent.document_version
          ),
          'evidence', consent.evidence,
          'ledger_position', consent.ledger_position,
          'salt', encode(consent.salt, 'hex')
        )
        order by consent.decided_at, consent.recorded_at, consent.consent_id
      )
      from privacy.consent
      where consent.person_id = (export.subject).person_id
    )
  );
  return next privacy.exported_rows(
    'privacy.person_age',
    (
      select jsonb_agg(
        jsonb_build_object(
          'birth_date', age.birth_date,
          'is_verified', age.is_verified,
          'set_at', age.set_at,
          'identity', (export.subject).names[array_position((export.subject).identity_ids, age.identity_id)]
        )
        order by age.identity_id
      )
      from privacy.person_age as age
      where age.person_id = (export.subject).person_id
    )
  );
  return next privacy.exported_rows(
    'privacy.request',
    (
      select jsonb_agg(
        to_jsonb(request) - '{person_id,identity_id,subject_hash,salt,answer_salt}'::text[]
        || jsonb_build_object(
          'identity', (export.subject).names[array_position((export.subject).identity_ids, request.identity_id)]
        )
        order by request.received_at, request.request_id
      )
      from privacy.request
      where request.person_id = (export.subject).person_id
    )
  );
  return next privacy.exported_rows(
    'privacy.restriction',
    (
      select jsonb_agg(
        jsonb_build_object(
          'reason', restriction.reason,
          'since', restriction.since,
          'identity', (export.subject).names[array_position((export.subject).identity_ids, restriction.identity_id)]
        )
        order by restriction.identity_id
      )
      from privacy.restriction
      where restriction.person_id = (export.subject).person_id
    )
  );
  return next privacy.exported_rows(
    'privacy.export_log',
    (
      -- Her own exports by name; those of administrators without.
      select jsonb_agg(
        jsonb_build_object(
          'exported_at', export_log.exported_at,
          'exported_by', case
            when export_log.exported_by = any (privacy.user_names(export.subject)) then export_log.exported_by
            else 'an administrator'
          end,
          'row_count', export_log.row_count
        )
        order by export_log.exported_at
      )
      from privacy.export_log
      where export_log.identity_id = any ((export.subject).identity_ids)
    )
  );
end;
$$;

comment on function privacy.export(privacy.subject) is $$
@behavior -*
Returns the decisions, date of birth, open requests and restrictions of a person, and the log of her exports.
Decisions have the texts that were shown, and the position in `privacy.ledger` and the salt, with which she can prove
later what she decided. For `privacy.export_person`.
$$;
--! EndIncluded privacy/access/export.sql

--! Included privacy/erasure/erase_rows.sql
create or replace function privacy.erase_rows(table_name text, column_name text, ids bigint[])
returns privacy.erased
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_rows bigint;
begin
  if num_nulls(erase_rows.table_name, erase_rows.column_name) > 0 then
    perform common.refuse('CF001', 'table_name or column_name is null', 'Give a table as schema.table, and a column.');
  end if;
  execute format(
    'delete from %I.%I where %I = any ($1)',
    split_part(erase_rows.table_name, '.', 1), split_part(erase_rows.table_name, '.', 2), erase_rows.column_name
  )
  using erase_rows.ids;
  get diagnostics v_rows = row_count;
  return row(erase_rows.table_name, v_rows, 'deleted')::privacy.erased;
end;
$$;

comment on function privacy.erase_rows(text, text, bigint[]) is $$
@behavior -*
Deletes the rows of a table (`schema.table`) whose column has one of the given keys, for the erase functions of rooms.
$$;
--! EndIncluded privacy/erasure/erase_rows.sql

--! Included privacy/erasure/clear_values.sql
create or replace function privacy.clear_values(
  table_name text,
  column_name text,
  names text[],
  replacement text default 'erased'
)
returns privacy.erased
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_rows bigint;
begin
  if num_nulls(clear_values.table_name, clear_values.column_name) > 0 then
    perform common.refuse('CF001', 'table_name or column_name is null', 'Give a table as schema.table, and a column.');
  end if;
  execute format(
    'update %1$I.%2$I set %3$I = $2 where %3$I = any ($1)',
    split_part(clear_values.table_name, '.', 1), split_part(clear_values.table_name, '.', 2), clear_values.column_name
  )
  using clear_values.names, clear_values.replacement;
  get diagnostics v_rows = row_count;
  return row(clear_values.table_name, v_rows, 'cleared')::privacy.erased;
end;
$$;

comment on function privacy.clear_values(text, text, text[], text) is $$
@behavior -*
Replaces the given names in a column of a table (`schema.table`), for the erase functions of rooms.
Used where the row is not about the person, such as a log of changes by administrators.
$$;
--! EndIncluded privacy/erasure/clear_values.sql

--! Included privacy/erasure/names_pattern.sql
create or replace function privacy.names_pattern(names text[])
returns text
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return (
    select
      '(^|[^[:alnum:]])('
        || string_agg(regexp_replace(name, '([^[:alnum:]])', '\\\1', 'g'), '|' order by length(name) desc, name)
        || ')($|[^[:alnum:]])'
    from (select distinct name from unnest(names_pattern.names) as name) as entry
  );
end;
$$;

comment on function privacy.names_pattern(text[]) is $$
@behavior -*
Returns a regular expression that matches texts in which one of the names occurs as a word. For the erase functions.
$$;
--! EndIncluded privacy/erasure/names_pattern.sql

--! Included privacy/erasure/erase.sql
create or replace function privacy.erase(subject privacy.subject)
returns setof privacy.erased
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_deleted record;
begin
  -- The entries of the ledger stay: without the salts nobody can tell whose they were.
  perform privacy.account_removal(
    array(
      select consent.ledger_position
      from privacy.consent
      where consent.person_id = any (subject.identity_ids)
    ),
    'erasure'
  );
  return next privacy.erase_rows('privacy.consent', 'person_id', subject.identity_ids);
  return next privacy.erase_rows('privacy.person_age', 'person_id', subject.identity_ids);
  return next privacy.erase_rows('privacy.export_log', 'identity_id', subject.identity_ids);
  return next privacy.clear_values('privacy.export_log', 'exported_by', privacy.user_names(subject));
  return query select erased.* from privacy.forget_rights(subject) as erased;

  -- The room ml is above this one and has no people: its keys are names that a model from outside contains.
  v_deleted := ml.delete_keys(privacy.user_names(subject));
  return next row('ml.embedding', v_deleted.embeddings, 'deleted')::privacy.erased;
  return next row('ml.score', v_deleted.scores, 'deleted')::privacy.erased;
end;
$$;

comment on function privacy.erase(privacy.subject) is $$
@behavior -*
Erases the decisions of a person, her date of birth and the log of her exports.
Also answers her open requests, and deletes her vectors and scores in models from outside.
Called by `privacy.erase_person`, after the other rooms.
$$;
--! EndIncluded privacy/erasure/erase.sql

--! Included privacy/erasure/subject_hash.sql
create or replace function privacy.subject_hash(names text[], salt text)
returns text
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if salt !~ '^([0-9a-fA-F]{2}){0,128}$' then
    perform common.refuse('CF001', format('the salt "%s" is not hexadecimal', left(salt, 100)),
      'Give the salt of the receipt, as privacy.erase_person returned it.');
  end if;
  return encode(
    sha256(
      decode(subject_hash.salt, 'hex')
        || convert_to(
          (
            select string_agg(length(entry.name) || ':' || entry.name, '' order by entry.name collate "C")
            from (select distinct name from unnest(subject_hash.names) as name) as entry
          ),
          'UTF8'
        )
    ),
    'hex'
  );
end;
$$;

comment on function privacy.subject_hash(text[], text) is $$
@behavior -*
Returns the hash of a receipt for a salt (hexadecimal) and all names that the person had, in any order.
It is the SHA-256 hash of the salt and, in the order of the names, the length of each, a colon and the name.
Error CF001 for a salt that is not hexadecimal.
$$;

grant execute on function privacy.subject_hash(text[], text) to insights_admin, insights_worker;
--! EndIncluded privacy/erasure/subject_hash.sql

--! Included privacy/rights/_hashed_names.sql
create or replace function privacy._hashed_names(kinds text[], names text[])
returns table (kind text, name text, name_hash bytea)
language plpgsql
stable
-- A definer: no role may read the key.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  return query
  select
    entry.kind, entry.name,
    sha256(
      outer_key.block || sha256(
        inner_key.block || convert_to(
          case entry.kind when 'unverified' then 'anonymous' else entry.kind end || ' ' || entry.name, 'UTF8'
        )
      )
    )
  from (
    select distinct given.kind, given.name
    from unnest(_hashed_names.kinds, _hashed_names.names) as given (kind, name)
  ) as entry
  -- Each key fills a block of SHA-256.
  cross join (
    select secret.secret || decode(repeat('00', 32), 'hex') as block
    from privacy.secret
    where secret.purpose = 'suppression_inner'
  ) as inner_key
  cross join (
    select secret.secret || decode(repeat('00', 32), 'hex') as block
    from privacy.secret
    where secret.purpose = 'suppression_outer'
  ) as outer_key;
end;
$$;

comment on function privacy._hashed_names(text[], text[]) is $$
Returns each of the names once, with its keyed hash: a nested SHA-256 with two keys, as HMAC.
An anonymousId that was sent without proof (`unverified`) is the same name as the `anonymous` one.
Source: Bellare, Canetti, Krawczyk, Keying hash functions for message authentication, CRYPTO 1996.
$$;
--! EndIncluded privacy/rights/_hashed_names.sql

--! Included privacy/rights/suppress.sql
create or replace function privacy._check_names(kinds text[], names text[])
returns void
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_wrong text;
begin
  if coalesce(cardinality(_check_names.kinds), 0) <> coalesce(cardinality(_check_names.names), 0) then
    perform common.refuse(
      'CF001',
      format(
        'there are %s kinds and %s names', coalesce(cardinality(_check_names.kinds), 0),
        coalesce(cardinality(_check_names.names), 0)
      ),
      'Give two lists of the same length.'
    );
  end if;
  if cardinality(_check_names.names) > 10000 then
    perform common.refuse('CF008', format('there are %s names', cardinality(_check_names.names)),
      'Give at most 10000 in a call.');
  end if;
  select format('%s "%s"', coalesce(left(entry.kind, 20), 'null'), coalesce(left(entry.name, 70), 'null')) into v_wrong
  from unnest(_check_names.kinds, _check_names.names) as entry (kind, name)
  where entry.kind is null
    or entry.kind not in ('user', 'anonymous', 'unverified')
    or entry.name is null
    or length(entry.name) not between 1 and 256
  limit 1;
  if v_wrong is not null then
    perform common.refuse('CF001', format('%s is not a name', v_wrong),
      'A kind is user or anonymous, and a name has 1 to 256 characters.');
  end if;
end;
$$;

comment on function privacy._check_names(text[], text[]) is $$
Checks two lists of kinds and names. Errors: CF001 for an invalid one or for different lengths, CF008 above 10,000.
$$;

create or replace function privacy.suppress(kinds text[], names text[])
returns bigint
language plpgsql
volatile
-- A definer: it writes privacy.suppression, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_suppressed bigint;
begin
  perform privacy._check_names(suppress.kinds, suppress.names);
  insert into privacy.suppression (name_hash, since)
  -- The time differs from row to row.
  select hashed.name_hash, clock_timestamp()
  from (select distinct name_hash from privacy._hashed_names(suppress.kinds, suppress.names)) as hashed
  order by hashed.name_hash
  on conflict (name_hash) do update
  set since = greatest(excluded.since, suppression.lifted_at), lifted_at = null
  where suppression.lifted_at is not null;
  get diagnostics v_suppressed = row_count;
  return v_suppressed;
end;
$$;

comment on function privacy.suppress(text[], text[]) is $$
Suppresses names: messages and rows of the application with one of them are refused until a new consent of the person.
`kinds` (`user` or `anonymous`) and `names` are parallel. Returns the number of names that were not suppressed before.
Only keyed hashes of the names are stored. Called by `privacy.erase_person`; may also be called for people of whom
nothing is stored. Errors: CF001 for an invalid name, CF008 above 10,000 names.
$$;

grant execute on function privacy.suppress(text[], text[]) to insights_admin;
--! EndIncluded privacy/rights/suppress.sql

--! Included privacy/rights/lift_suppression.sql
create or replace function privacy.lift_suppression(
  kinds text[],
  names text[],
  lifted_at timestamptz default clock_timestamp()
)
returns bigint
language plpgsql
volatile
-- A definer: it writes privacy.suppression, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_lifted bigint;
begin
  perform privacy._check_names(lift_suppression.kinds, lift_suppression.names);
  if lift_suppression.lifted_at is null or lift_suppression.lifted_at > clock_timestamp() + interval '1 hour' then
    perform common.refuse(
      'CF001', format('lifted_at is %s', coalesce(lift_suppression.lifted_at::text, 'null')),
      'Give the time of the consent, which is not in the future.'
    );
  end if;

  with lifted as (
    select hashed.name_hash
    from privacy._hashed_names(lift_suppression.kinds, lift_suppression.names) as hashed
    join privacy.suppression using (name_hash)
    where suppression.lifted_at is null
      and suppression.since < lift_suppression.lifted_at
    order by hashed.name_hash
    for update of suppression
  )
  update privacy.suppression
  set lifted_at = lift_suppression.lifted_at
  from lifted
  where suppression.name_hash = lifted.name_hash;
  get diagnostics v_lifted = row_count;
  return v_lifted;
end;
$$;

comment on function privacy.lift_suppression(text[], text[], timestamptz) is $$
Ends the suppression of names, because their person gave a new consent at `lifted_at`. Returns the number of names.
A consent that is older than the erasure has no effect. Messages of a time before the consent are refused also
afterwards. Errors: CF001 for an invalid name or a time in the future, CF008 above 10,000 names.
$$;

grant execute on function privacy.lift_suppression(text[], text[], timestamptz) to insights_admin;
--! EndIncluded privacy/rights/lift_suppression.sql

--! Included privacy/rights/suppressed.sql
create or replace function privacy.suppressed(kinds text[], names text[])
returns setof privacy.suppressed_name
language plpgsql
stable
-- A definer: no role may read privacy.suppression.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- Nothing is hashed where nobody was erased.
  if not exists (select from privacy.suppression) then
    return;
  end if;
  return query
  select hashed.kind, hashed.name, found.since, found.lifted_at
  from privacy._hashed_names(suppressed.kinds, suppressed.names) as hashed
  -- The limit keeps the planner from reading the whole table.
  cross join lateral (
    select suppression.since, suppression.lifted_at
    from privacy.suppression
    where suppression.name_hash = hashed.name_hash
    limit 1
  ) as found;
end;
$$;

comment on function privacy.suppressed(text[], text[]) is $$
@behavior -*
Returns which of the names are suppressed, or were before a new consent (`lifted_at`).
`kinds` (`user`, `anonymous` or `unverified`) and `names` are parallel. Read by `track` once per batch.
$$;
--! EndIncluded privacy/rights/suppressed.sql

--! Included privacy/rights/_held_subject.sql
create or replace function privacy._held_subject(person text)
returns privacy.subject
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_name constant text := (select setting.hold_function from privacy.setting);
  v_subject privacy.subject;
begin
  if _held_subject.person is null then
    perform common.refuse('CF001', 'person is null', 'Give the userId or anonymousId of the person.');
  end if;
  execute format('select * from %I.%I($1)', split_part(v_name, '.', 1), split_part(v_name, '.', 2))
  into v_subject
  using _held_subject.person;
  return v_subject;
end;
$$;

comment on function privacy._held_subject(text) is $$
Returns the person of a name, who is not merged, split or erased until the end of the transaction.
By the function that `privacy.setting.hold_function` names. Errors: CF001 for null, CF002 for an unknown name.
$$;
--! EndIncluded privacy/rights/_held_subject.sql

--! Included privacy/rights/_named_identity.sql
create or replace function privacy._named_identity(subject privacy.subject, name text)
returns bigint
language sql
immutable
parallel safe
begin atomic
  -- Of several identities of this name, that of the user.
  select entry.identity_id
  from unnest((_named_identity.subject).identity_ids, (_named_identity.subject).kinds, (_named_identity.subject).names)
    as entry (identity_id, kind, name)
  where entry.name = _named_identity.name
  order by entry.kind = 'user' desc, entry.identity_id
  limit 1;
end;

comment on function privacy._named_identity(privacy.subject, text) is $$
Returns the identity of a person that has a name.
$$;
--! EndIncluded privacy/rights/_named_identity.sql

--! Included privacy/rights/_answer_requests.sql
create or replace function privacy._answer_requests(person_id bigint, kinds text[], outcome text)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  update privacy.request
  set
    state = 'completed', outcome = _answer_requests.outcome, person_id = null, identity_id = null,
    completed_at = greatest(clock_timestamp(), request.received_at)
  where request.person_id = _answer_requests.person_id
    and request.kind = any (_answer_requests.kinds)
    and request.completed_at is null;
end;
$$;

comment on function privacy._answer_requests(bigint, text[], text) is $$
Completes the open requests of a person of the given kinds.
$$;
--! EndIncluded privacy/rights/_answer_requests.sql

--! Included privacy/rights/open_request.sql
create or replace function privacy._open_request(person text, kind text, regime text, received_at timestamptz)
returns privacy.opened_request
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
-- A month is one of the calendar in UTC.
set timezone to 'UTC'
set datestyle to 'ISO, MDY'
as $$
declare
  v_kinds constant text[] :=
    '{access,portability,erasure,rectification,restriction,objection,opt_out}';
  v_subject privacy.subject;
  v_identity_id bigint;
  v_regime privacy.regime;
  v_request privacy.request;
  v_opened privacy.opened_request;
begin
  if _open_request.kind is null or _open_request.kind <> all (v_kinds) then
    perform common.refuse(
      'CF001', format('there is no kind of request "%s"', coalesce(left(_open_request.kind, 100), 'null')),
      format('The kinds are %s.', array_to_string(v_kinds, ', '))
    );
  end if;
  select * into v_regime
  from privacy.regime
  where regime.regime = _open_request.regime;
  if v_regime.regime is null then
    perform common.refuse(
      'CF002', format('there is no regime "%s"', coalesce(left(_open_request.regime, 100), 'null')),
      (
        select format('The regimes are %s.', string_agg(regime.regime, ', ' order by regime.regime))
        from privacy.regime
      )
    );
  end if;
  if _open_request.received_at is null
    or _open_request.received_at > clock_timestamp() + interval '1 hour'
    or _open_request.received_at < clock_timestamp() - interval '1 year'
  then
    perform common.refuse(
      'CF001', format('received_at is %s', coalesce(_open_request.received_at::text, 'null')),
      'Give the time at which the request was received: within the last year, and not in the future.'
    );
  end if;

  v_subject := privacy._held_subject(_open_request.person);
  v_identity_id := privacy._named_identity(v_subject, _open_request.person);

  v_opened.subject_salt := encode(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()), 'hex');
  v_opened.subject_hash := privacy.subject_hash(array[_open_request.person], v_opened.subject_salt);
  v_opened.received_at := least(_open_request.received_at, clock_timestamp());
  if not exists (
    select
    from privacy.request
    where request.person_id = v_subject.person_id
      and request.kind = _open_request.kind
      and request.completed_at is null
  ) then
    insert into privacy.request (kind, regime, person_id, identity_id, subject_hash, received_at, due_at)
    values (
      _open_request.kind, v_regime.regime, v_subject.person_id, v_identity_id, decode(v_opened.subject_hash, 'hex'),
      v_opened.received_at, v_opened.received_at + v_regime.answer_within
    )
    on conflict do nothing
    returning * into v_request;
  end if;
  if v_request.request_id is null then
    select * into v_request
    from privacy.request
    where request.person_id = v_subject.person_id
      and request.kind = _open_request.kind
      and request.completed_at is null
    order by request.received_at
    limit 1;
    perform common.refuse(
      'CF003',
      format(
        'a request of the kind %s by "%s" is open, received at %s', v_request.kind, left(_open_request.person, 100),
        date_trunc('second', v_request.received_at)
      ),
      format(
        'It must be answered until %s. Administrators do so by privacy.complete_request(''%s'').',
        date_trunc('second', coalesce(v_request.extended_until, v_request.due_at)), v_request.request_id
      )
    );
  end if;

  v_opened.request_id := v_request.request_id;
  v_opened.kind := v_request.kind;
  v_opened.regime := v_request.regime;
  v_opened.due_at := v_request.due_at;
  return v_opened;
end;
$$;

comment on function privacy._open_request(text, text, text, timestamptz) is $$
Stores a request: see `privacy.open_request`.
$$;

create or replace function privacy.open_request(
  person text,
  kind text,
  regime text default 'gdpr',
  received_at timestamptz default clock_timestamp()
)
returns privacy.opened_request
language plpgsql
volatile
-- A definer: it writes privacy.request, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  return privacy._open_request(
    open_request.person, open_request.kind, open_request.regime, open_request.received_at
  );
end;
$$;

comment on function privacy.open_request(text, text, text, timestamptz) is $$
Records the request of a person about her data, and the time until which the law requires an answer.
`kind`: `access`, `portability`, `erasure`, `rectification`, `restriction`, `objection` or `opt_out`. `regime`: a row of
`privacy.regime` (`gdpr`: one month; `ccpa`, `ferpa`: 45 days). `received_at`: of a letter, the day on which it arrived.
A person has one open request of a kind, also after a merge of people.
Errors: CF001 for an unknown kind or a time that is older than a year or in the future, CF002 for an unknown person or
regime, CF003 when such a request is open.
$$;

grant execute on function privacy.open_request(text, text, text, timestamptz) to insights_admin;
--! EndIncluded privacy/rights/open_request.sql

--! Included privacy/rights/open_my_request.sql
create or replace function privacy.open_my_request(kind text, regime text default 'gdpr')
returns privacy.opened_request
language plpgsql
volatile
-- A definer: it writes privacy.request, which no role may write, for the signed-in person only.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_name constant text := nullif(current_setting('insights.person', true), '');
  v_subject privacy.subject;
begin
  if v_name is null then
    perform common.refuse('CF005', 'no person is signed in', 'Sign in first: a request belongs to a person.');
  end if;
  begin
    v_subject := privacy._subject(v_name);
  exception
    -- Reported below, after the other arguments.
    when sqlstate 'CF002' then null;
  end;
  -- The name of a browser, which its client has chosen, is not the proof that the token of a user is.
  if v_subject.person_id is not null and not exists (
    select
    from unnest(v_subject.kinds, v_subject.names) as named (kind, name)
    where named.kind = 'user' and named.name = v_name
  ) then
    perform common.refuse('CF002', format('there is no person "%s"', left(v_name, 100)),
      'No data of the signed-in person is stored.');
  end if;
  return privacy._open_request(v_name, open_my_request.kind, open_my_request.regime, clock_timestamp());
end;
$$;

comment on function privacy.open_my_request(text, text) is $$
Records a request of the signed-in person about her data: see `privacy.open_request`.
Errors: CF001 for an unknown kind, CF002 for an unknown regime or a person of whom nothing is stored, CF003 when such a
request is open, CF005 when no person is signed in.
$$;

grant execute on function privacy.open_my_request(text, text) to insights_learner;
--! EndIncluded privacy/rights/open_my_request.sql

--! Included privacy/rights/complete_request.sql
create or replace function privacy.complete_request(
  request_id uuid,
  outcome text default null,
  state text default 'completed'
)
returns privacy.request
language plpgsql
volatile
-- A definer: it writes privacy.request, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set timezone to 'UTC'
set datestyle to 'ISO, MDY'
as $$
declare
  v_request privacy.request;
begin
  if complete_request.state is null or complete_request.state not in ('completed', 'refused', 'withdrawn') then
    perform common.refuse(
      'CF001', format('a request cannot end as "%s"', coalesce(left(complete_request.state, 100), 'null')),
      'The states are completed, refused and withdrawn.'
    );
  end if;
  if complete_request.state = 'refused' and nullif(btrim(complete_request.outcome), '') is null then
    perform common.refuse('CF001', 'a request would be refused without a reason',
      'Give the reason as outcome, and inform the person (GDPR article 12(4)).');
  end if;
  if length(complete_request.outcome) > 2000 then
    perform common.refuse('CF008', format('the outcome has %s characters', length(complete_request.outcome)),
      'It can have at most 2000. Do not name the person in it.');
  end if;

  select * into v_request
  from privacy.request
  where request.request_id = complete_request.request_id
  for update;
  if v_request.request_id is null then
    perform common.refuse(
      'CF002', format('there is no request %s', coalesce(complete_request.request_id::text, 'null')),
      'The open requests are in privacy.open_requests.'
    );
  end if;
  if v_request.state <> 'open' then
    perform common.refuse(
      'CF003',
      format(
        'the request %s was %s at %s', v_request.request_id, v_request.state,
        date_trunc('second', v_request.completed_at)
      ),
      'An answer is final. Open a new request.'
    );
  end if;

  update privacy.request
  set
    state = complete_request.state, outcome = complete_request.outcome, person_id = null, identity_id = null,
    -- The clock may have been set back since.
    completed_at = greatest(clock_timestamp(), v_request.received_at)
  where request.request_id = v_request.request_id
  returning * into v_request;
  return v_request;
end;
$$;

comment on function privacy.complete_request(uuid, text, text) is $$
Records the answer to a request. The record no longer refers to the person; her salt proves that it was hers.
`outcome`: what was done, or why it was refused, without a name. `state`: `completed`, `refused` (needs an outcome) or
`withdrawn` by the person. Errors: CF001 for an invalid state or a refusal without a reason, CF002 for an unknown
request, CF003 when it was answered before, CF008 for an outcome of more than 2,000 characters.
$$;

grant execute on function privacy.complete_request(uuid, text, text) to insights_admin, insights_worker;
--! EndIncluded privacy/rights/complete_request.sql

--! Included privacy/rights/extend_request.sql
create or replace function privacy.extend_request(request_id uuid)
returns privacy.request
language plpgsql
volatile
-- A definer: it writes privacy.request, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set timezone to 'UTC'
set datestyle to 'ISO, MDY'
as $$
declare
  v_request privacy.request;
  v_extension interval;
begin
  select * into v_request
  from privacy.request
  where request.request_id = extend_request.request_id
  for update;
  if v_request.request_id is null then
    perform common.refuse(
      'CF002', format('there is no request %s', coalesce(extend_request.request_id::text, 'null')),
      'The open requests are in privacy.open_requests.'
    );
  end if;
  v_extension := (select regime.extension from privacy.regime where regime.regime = v_request.regime);
  if v_extension is null then
    perform common.refuse(
      'CF005', format('the law of the request, %s, allows no extension', v_request.regime),
      format('Answer it until %s.', date_trunc('second', v_request.due_at))
    );
  end if;
  if v_request.state <> 'open' or v_request.extended_until is not null then
    perform common.refuse(
      'CF003',
      format(
        'the request %s was %s', v_request.request_id,
        case v_request.state
          when 'open' then format('extended until %s', date_trunc('second', v_request.extended_until))
          else format('%s at %s', v_request.state, date_trunc('second', v_request.completed_at))
        end
      ),
      'A request is extended once, while it is open.'
    );
  end if;
  -- The person must be informed before the first limit ends.
  if clock_timestamp() > v_request.due_at then
    perform common.refuse(
      'CF005', format('the request was due at %s', date_trunc('second', v_request.due_at)),
      'An extension is only possible before. Answer the request now.'
    );
  end if;

  update privacy.request
  set extended_until = v_request.due_at + v_extension
  where request.request_id = v_request.request_id
  returning * into v_request;
  return v_request;
end;
$$;

comment on function privacy.extend_request(uuid) is $$
Extends the time to answer a request once, by the `extension` of its law. Tell the person why.
Errors: CF002 for an unknown request, CF003 when it was answered or extended before, CF005 when the law allows no
extension or the time to answer is over.
$$;

grant execute on function privacy.extend_request(uuid) to insights_admin;
--! EndIncluded privacy/rights/extend_request.sql

--! Included privacy/rights/forget_rights.sql
create or replace function privacy.forget_rights(subject privacy.subject)
returns setof privacy.erased
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_rows bigint;
begin
  update privacy.request
  set
    state = 'completed', outcome = 'The person was erased.', person_id = null, identity_id = null,
    completed_at = greatest(clock_timestamp(), request.received_at)
  where request.person_id = subject.person_id
    and request.completed_at is null;
  get diagnostics v_rows = row_count;
  return next row('privacy.request', v_rows, 'cleared')::privacy.erased;
  return next privacy.erase_rows('privacy.restriction', 'person_id', array[subject.person_id]);
end;
$$;

comment on function privacy.forget_rights(privacy.subject) is $$
@behavior -*
Answers the open requests of a person who is erased, and deletes her restrictions.
Called by the erase function of this room.
$$;
--! EndIncluded privacy/rights/forget_rights.sql

--! Included privacy/rights/_refuse_restricted.sql
create or replace function privacy._refuse_restricted(subject privacy.subject)
returns void
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set datestyle to 'ISO, MDY'
as $$
declare
  v_restriction privacy.restriction;
begin
  select * into v_restriction
  from privacy.restriction
  where restriction.person_id = subject.person_id
  order by restriction.since
  limit 1;
  if found then
    perform common.refuse(
      'CF005',
      format(
        'the data of the person is restricted since %s (%s)', date_trunc('second', v_restriction.since),
        v_restriction.reason
      ),
      'It must not be erased meanwhile. End the restriction first, by privacy.lift_restriction.'
    );
  end if;
end;
$$;

comment on function privacy._refuse_restricted(privacy.subject) is $$
Raises CF005 when the data of a person is restricted: it is kept for her (GDPR article 18).
$$;
--! EndIncluded privacy/rights/_refuse_restricted.sql

--! Included privacy/rights/restrict_person.sql
create or replace function privacy.restrict_person(person text, reason text)
returns boolean
language plpgsql
volatile
-- A definer: it writes privacy.restriction, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_subject privacy.subject;
  v_inserted int;
begin
  if restrict_person.reason is null
    or restrict_person.reason not in ('accuracy', 'unlawful', 'claims', 'objection')
  then
    perform common.refuse(
      'CF001', format('reason is "%s"', coalesce(left(restrict_person.reason, 100), 'null')),
      'Use accuracy, unlawful, claims or objection (GDPR article 18(1)).'
    );
  end if;
  v_subject := privacy._held_subject(restrict_person.person);
  if exists (select from privacy.restriction where restriction.person_id = v_subject.person_id) then
    return false;
  end if;
  insert into privacy.restriction (identity_id, person_id, reason)
  values (
    privacy._named_identity(v_subject, restrict_person.person), v_subject.person_id, restrict_person.reason
  )
  on conflict (identity_id) do nothing;
  get diagnostics v_inserted = row_count;
  perform privacy._answer_requests(v_subject.person_id, array['restriction'], 'The data is restricted.');
  perform privacy._call_listeners(array[v_subject.person_id]);
  return v_inserted > 0;
end;
$$;

comment on function privacy.restrict_person(text, text) is $$
Restricts the data of a person: it is stored, and not processed in any other way (GDPR article 18).
`privacy.allowed` is false for all purposes. The person is in no figure, segment, training, prediction or personal list
from the next refresh on; her events are still stored, and `privacy.erase_person` refuses to erase her. False when her
data is restricted already. `reason`: `accuracy`, `unlawful`, `claims` or `objection`. Completes her open requests of
this kind. `privacy.lift_restriction` ends it. Errors: CF001 for another reason, CF002 for an unknown person.
$$;

grant execute on function privacy.restrict_person(text, text) to insights_admin;
--! EndIncluded privacy/rights/restrict_person.sql

--! Included privacy/rights/lift_restriction.sql
create or replace function privacy.lift_restriction(person text)
returns boolean
language plpgsql
volatile
-- A definer: it writes privacy.restriction, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_subject constant privacy.subject := privacy._held_subject(lift_restriction.person);
begin
  delete from privacy.restriction
  where restriction.person_id = v_subject.person_id;
  if not found then
    return false;
  end if;
  perform privacy._call_listeners(array[v_subject.person_id]);
  return true;
end;
$$;

comment on function privacy.lift_restriction(text) is $$
Ends the restriction of the data of a person. Tell the person before (GDPR article 18(3)).
She is in figures, segments and lists again from the next refresh on. False when her data was not restricted.
Errors: CF002 for an unknown person.
$$;

grant execute on function privacy.lift_restriction(text) to insights_admin;
--! EndIncluded privacy/rights/lift_restriction.sql

--! Included privacy/rights/object.sql
create or replace function privacy.object(person text, purpose text default null)
returns text[]
language plpgsql
volatile
-- A definer: it writes privacy.consent, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_subject privacy.subject;
  v_basis text;
  v_purposes text[];
begin
  if object.purpose is not null then
    v_basis := (select known.basis from privacy.purpose as known where known.purpose = object.purpose);
    if v_basis is null then
      perform common.refuse(
        'CF002', format('there is no purpose "%s"', left(object.purpose, 100)),
        (
          select format('The purposes are %s.', string_agg(known.purpose, ', ' order by known.purpose))
          from privacy.purpose as known
        )
      );
    end if;
    if v_basis not in ('consent', 'legitimate_interests', 'public_task') then
      perform common.refuse(
        'CF005', format('the basis of "%s" is %s', object.purpose, v_basis),
        'A person can object to legitimate interests and to a public task (GDPR article 21), and withdraw a consent.'
      );
    end if;
  end if;
  v_subject := privacy._held_subject(object.person);
  v_purposes := array(
    select known.purpose
    from privacy.purpose as known
    where known.purpose = object.purpose
      or object.purpose is null
        and (known.basis in ('legitimate_interests', 'public_task') or known.opted_out_by_gpc)
    order by known.purpose
  );

  perform privacy.record_decisions(
    array_fill(v_subject.person_id, array[cardinality(v_purposes)]),
    array_fill(privacy._named_identity(v_subject, object.person), array[cardinality(v_purposes)]),
    v_purposes,
    array_fill(false, array[cardinality(v_purposes)]),
    array_fill(clock_timestamp(), array[cardinality(v_purposes)]),
    'api',
    array_fill('{"objection": "GDPR article 21"}'::jsonb, array[cardinality(v_purposes)]),
    array_fill(object.person, array[cardinality(v_purposes)])
  );
  perform privacy._answer_requests(
    v_subject.person_id, array['objection', 'opt_out'],
    format('The person opted out of %s.', array_to_string(v_purposes, ', '))
  );
  return v_purposes;
end;
$$;

comment on function privacy.object(text, text) is $$
Records the objection of a person to a purpose (GDPR article 21), and returns the purposes.
Null: to all that have the basis `legitimate_interests` or `public_task`, and to the sale and sharing of data
(`privacy.purpose.opted_out_by_gpc`, CCPA). From the next refresh on there is no profiling for these purposes: without
`personalization` no interactions, lists and feedback of the person, without `analytics` no predictions and segments.
A later grant of the person ends it. Completes her open requests of the kinds `objection` and `opt_out`.
Errors: CF002 for an unknown person or purpose, CF005 for a purpose that rests on a contract or a legal obligation.
$$;

grant execute on function privacy.object(text, text) to insights_admin;
--! EndIncluded privacy/rights/object.sql

--! Included privacy/rights/rectify_birthday.sql
create or replace function privacy.rectify_birthday(subject privacy.subject, changes jsonb)
returns setof privacy.erased
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
as $$
declare
  v_given constant jsonb := coalesce(changes -> 'birthday', changes #> '{traits,birthday}');
  v_rows bigint;
begin
  if v_given is null then
    return;
  end if;
  if v_given = 'null' then
    delete from privacy.person_age
    where person_age.person_id = subject.person_id;
    get diagnostics v_rows = row_count;
    perform privacy._call_listeners(array[subject.person_id]);
    return next row('privacy.person_age', v_rows, 'deleted')::privacy.erased;
    return;
  end if;
  if coalesce(v_given #>> '{}', '') !~ '^\d{4}-\d{2}-\d{2}$' then
    raise data_exception;
  end if;
  perform privacy.record_birth_date(subject.person_id, (v_given #>> '{}')::date);
  v_rows := (select count(*) from privacy.person_age where person_age.person_id = subject.person_id);
  return next row('privacy.person_age', v_rows, 'cleared')::privacy.erased;
exception
  when data_exception then
    perform common.refuse('CF001', format('the birthday is %s', left(v_given::text, 100)),
      'Give a date such as "2010-05-31", or null to delete it.');
end;
$$;

comment on function privacy.rectify_birthday(privacy.subject, jsonb) is $$
@behavior -*
Corrects the date of birth of a person, or deletes it. Called by `privacy.rectify`.
$$;
--! EndIncluded privacy/rights/rectify_birthday.sql

--! Included privacy/rights/rectify.sql
create or replace function privacy.rectify(person text, changes jsonb)
returns setof privacy.erased
language plpgsql
volatile
-- A definer: the functions of the rooms write tables that no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_keys constant text[] := array['traits', 'enrolments', 'birthday'];
  v_wrong text;
  v_subject privacy.subject;
  v_name text;
begin
  if jsonb_typeof(rectify.changes) is distinct from 'object' or rectify.changes = '{}' then
    perform common.refuse(
      'CF001',
      format(
        'the changes are %s', coalesce(nullif(jsonb_typeof(rectify.changes), 'object'), 'null or empty')
      ),
      'Give an object such as {"traits": {"city": "Oslo"}}.'
    );
  end if;
  if pg_column_size(rectify.changes) > 1000000 then
    perform common.refuse('CF008', format('the changes have %s bytes', pg_column_size(rectify.changes)),
      'Give at most 1 MB in a call.');
  end if;
  v_wrong := (
    select entry.key from jsonb_object_keys(rectify.changes) as entry (key) where entry.key <> all (v_keys) limit 1
  );
  if v_wrong is not null then
    perform common.refuse('CF001', format('"%s" cannot be corrected', left(v_wrong, 100)),
      format('The keys are %s.', array_to_string(v_keys, ', ')));
  end if;

  v_subject := privacy._held_subject(rectify.person);
  for v_name in
    select handler.rectify_function
    from privacy.handler
    where handler.rectify_function is not null
    order by handler.position
  loop
    return query execute format(
      'select * from %I.%I($1, $2) as changed where row_count > 0', split_part(v_name, '.', 1),
      split_part(v_name, '.', 2)
    )
    using v_subject, rectify.changes;
  end loop;
  perform privacy._answer_requests(v_subject.person_id, array['rectification'], 'The data was corrected.');
end;
$$;

comment on function privacy.rectify(text, jsonb) is $$
Corrects the data of a person (GDPR article 16, FERPA 34 CFR 99.20). Returns the numbers of changed rows by table.
`changes` is an object with these keys. `traits`: new values by name; null deletes a trait. The correct value applies
from the first time on at which the trait was sent, and the former values are gone from its history. `enrolments`: a
list of `{item, status, enrolled_at, ended_at}` for enrolments that exist, or `{item, removed: true}`.
`birthday`: the date of birth (`privacy.person_age`), which the trait of this name also corrects; null deletes it.
Derived data follows with the next refresh, predictions with the next training. Correct the application too, or its next
message or synchronisation brings the former value back. Completes the open requests of the person of this kind.
Errors: CF001 for an unknown key or an invalid value, CF002 for an unknown person or enrolment, CF008 for changes above
1 MB.
$$;

grant execute on function privacy.rectify(text, jsonb) to insights_admin;
--! EndIncluded privacy/rights/rectify.sql

--! Included privacy/rights/move_subjects.sql
create or replace function privacy.move_subjects(
  identities bigint[],
  new_people bigint[],
  new_identities bigint[] default null
)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  update privacy.request
  set person_id = moved.person_id
  from unnest(move_subjects.identities, move_subjects.new_people) as moved (identity_id, person_id)
  where request.identity_id = moved.identity_id
    and request.completed_at is null;

  update privacy.restriction
  set person_id = moved.person_id
  from unnest(move_subjects.identities, move_subjects.new_people) as moved (identity_id, person_id)
  where restriction.identity_id = moved.identity_id;

  if move_subjects.new_identities is null then
    return;
  end if;
  -- Of several requests of a kind, those that keep the deleted identity are answered with its new person.
  update privacy.request
  set identity_id = moved.new_identity_id
  from (
    select distinct on (open.kind, named.new_identity_id) open.request_id, named.new_identity_id
    from unnest(move_subjects.identities, move_subjects.new_identities) as named (identity_id, new_identity_id)
    join privacy.request as open on open.identity_id = named.identity_id
    where open.completed_at is null
      and not exists (
        select
        from privacy.request as other
        where other.identity_id = named.new_identity_id
          and other.kind = open.kind
          and other.completed_at is null
      )
    order by open.kind, named.new_identity_id, open.received_at, open.request_id
  ) as moved
  where request.request_id = moved.request_id;

  with former as (
    delete from privacy.restriction
    where restriction.identity_id = any (move_subjects.identities)
    returning restriction.*
  )
  insert into privacy.restriction (identity_id, person_id, reason, since)
  select distinct on (named.new_identity_id)
    named.new_identity_id, former.person_id, former.reason, former.since
  from former
  join unnest(move_subjects.identities, move_subjects.new_identities) as named (identity_id, new_identity_id)
    using (identity_id)
  order by named.new_identity_id, former.since, former.identity_id
  on conflict (identity_id) do nothing;
end;
$$;

comment on function privacy.move_subjects(bigint[], bigint[], bigint[]) is $$
@behavior -*
Moves open requests and restrictions of identities to their new people; the lists have the same length.
`new_identities`: of identities that are about to be deleted, those that have their names from then on.
Called by `track` when people are merged or split.
$$;
--! EndIncluded privacy/rights/move_subjects.sql

--! Included privacy/erasure/_erase.sql
create or replace function privacy._erase(person text, person_id bigint, reason text, keep_suppressed boolean)
returns privacy.erasure_receipt
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_started_at constant timestamptz := clock_timestamp();
  v_setting privacy.setting;
  v_subject privacy.subject;
  v_names privacy.subject;
  v_handler privacy.handler;
  v_erased privacy.erased[] := '{}';
  v_room_erased privacy.erased[];
  v_receipt privacy.erasure_receipt;
begin
  select * into v_setting from privacy.setting;
  execute format(
    'select * from %I.%I($1, $2)',
    split_part(v_setting.lock_function, '.', 1), split_part(v_setting.lock_function, '.', 2)
  )
  into v_subject
  using _erase.person, _erase.person_id;
  -- A call that is repeated: the name of the user who was erased may be that of the browser of another person.
  if _erase.person is not null and exists (
      select
      from privacy.suppressed(array['user'], array[_erase.person]) as suppressed
      where suppressed.lifted_at is null
    )
    and not exists (
      select
      from unnest(v_subject.kinds, v_subject.names) as named (kind, name)
      where named.kind = 'user' and named.name = _erase.person
    )
  then
    perform common.refuse('CF002', format('there is no person "%s"', left(_erase.person, 100)),
      'The person with this userId was erased. The browser that another person has given this name is not hers.');
  end if;
  perform privacy._refuse_restricted(v_subject);

  for v_handler in
    select handler.*
    from privacy.handler
    where handler.erase_function is not null
    order by handler.position
  loop
    execute format(
      'select array(select erased from %I.%I($1) as erased)',
      split_part(v_handler.erase_function, '.', 1), split_part(v_handler.erase_function, '.', 2)
    )
    into v_room_erased
    using v_subject;
    v_erased := v_erased || v_room_erased;
  end loop;

  if _erase.keep_suppressed then
    execute format(
      'select * from %I.%I($1)',
      split_part(v_setting.unshared_function, '.', 1), split_part(v_setting.unshared_function, '.', 2)
    )
    into v_names
    using v_subject;
    perform privacy.suppress((v_names).kinds, (v_names).names);
  end if;

  -- Two random UUIDs have 244 random bits.
  v_receipt.salt := encode(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()), 'hex');
  v_receipt.subject_hash := privacy.subject_hash(v_subject.names, v_receipt.salt);
  select coalesce(jsonb_object_agg(per_table.table_name, per_table.counts), '{}') into v_receipt.counts
  from (
    select counted.table_name, jsonb_object_agg(counted.method, counted.row_count) as counts
    from (
      select erased.table_name, erased.method, sum(erased.row_count)::bigint as row_count
      from unnest(v_erased) as erased
      where erased.row_count > 0
      group by erased.table_name, erased.method
    ) as counted
    group by counted.table_name
  ) as per_table;

  insert into privacy.erasure (requested_at, subject_hash, reason, counts)
  values (v_started_at, decode(v_receipt.subject_hash, 'hex'), _erase.reason, v_receipt.counts)
  returning erasure.erasure_id, erasure.erased_at into v_receipt.erasure_id, v_receipt.erased_at;
  return v_receipt;
end;
$$;

comment on function privacy._erase(text, bigint, text, boolean) is $$
Erases the person of a name, or else the one with a key: see `privacy.erase_person`.
$$;
--! EndIncluded privacy/erasure/_erase.sql

--! Included privacy/erasure/erase_person.sql
create or replace function privacy.erase_person(
  person text,
  reason text default null,
  keep_suppressed boolean default true
)
returns privacy.erasure_receipt
language plpgsql
volatile
-- A definer: it deletes rows of all rooms, which no role may do.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
begin
  if erase_person.person is null or erase_person.keep_suppressed is null then
    perform common.refuse(
      'CF001', case when erase_person.person is null then 'person is null' else 'keep_suppressed is null' end,
      'Give the userId or anonymousId of the person, and true or false.'
    );
  end if;
  if length(erase_person.reason) > 200 then
    perform common.refuse('CF008', format('the reason has %s characters', length(erase_person.reason)),
      'It can have at most 200. Do not name the person in it.');
  end if;
  return privacy._erase(erase_person.person, null, erase_person.reason, erase_person.keep_suppressed);
end;
$$;

comment on function privacy.erase_person(text, text, boolean) is $$
Erases a person: her identities, events, all that is derived from them, and what models have learned from her.
One transaction: with an error, nothing is erased. Returns the receipt, with the salt of its hash, which is not stored.
`reason`: at most 200 characters, without a name. `keep_suppressed`: messages that name her are refused from now on,
until she consents again. Materialized views and lists follow at once by a task: see
`privacy.erasure.completed_at`.
Errors: CF002 for an unknown name, also of a person who is erased already; CF001 and CF008 for invalid arguments;
CF005 while her data is restricted (`privacy.restrict_person`).
$$;

grant execute on function privacy.erase_person(text, text, boolean) to insights_admin, insights_worker;
--! EndIncluded privacy/erasure/erase_person.sql

--! Included privacy/erasure/erase_requested.sql
create or replace function privacy.erase_requested()
returns privacy.erased_requests
language plpgsql
volatile
-- A definer: it deletes rows of all rooms, which no role may do.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_request privacy.request;
  v_result privacy.erased_requests := row(0, 0, null);
begin
  -- Not the rows of the requests: a merge of people has locked the people before it moves their requests.
  if not pg_try_advisory_xact_lock(hashtext('privacy.erase_requested')) then
    return v_result;
  end if;
  -- One erasure in a transaction; those that fail are skipped, and tried again by the next run.
  for v_request in
    select request.*
    from privacy.request
    where request.kind = 'erasure'
      and request.completed_at is null
      and request.person_id not in (select restricted.person_id from privacy.restricted() as restricted (person_id))
    order by request.received_at, request.request_id
  loop
    begin
      perform privacy._erase(null, v_request.person_id, format('request %s', v_request.request_id), true);
      v_result.erased := 1;
      return v_result;
    exception
      when deadlock_detected or lock_not_available or serialization_failure then raise;
      when others then
        -- Answered, or the person was merged into another one, since the query began.
        continue when not exists (
          select
          from privacy.request
          where request.request_id = v_request.request_id
            and request.completed_at is null
            and request.person_id = v_request.person_id
        );
        v_result.failed := v_result.failed + 1;
        v_result.error := left(sqlerrm, 100);
        raise warning 'the erasure of request % failed: %', v_request.request_id, left(sqlerrm, 100);
    end;
  end loop;
  return v_result;
end;
$$;

comment on function privacy.erase_requested() is $$
@behavior -*
Erases the person of the oldest open request for it (`privacy.request`), and answers the request.
Requests of people whose data is restricted wait. Those that fail stay open and are reported; the next one is erased.
Call it until `erased` is 0, each call in its own transaction. Returns 0 while another session erases requests.
$$;

grant execute on function privacy.erase_requested() to insights_worker;
--! EndIncluded privacy/erasure/erase_requested.sql

--! Included privacy/erasure/complete_erasures.sql
create or replace function privacy.complete_erasures(refreshed_at timestamptz)
returns int
language plpgsql
volatile
-- A definer: it writes privacy.erasure, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_completed int;
begin
  if complete_erasures.refreshed_at is null or complete_erasures.refreshed_at > clock_timestamp() then
    perform common.refuse(
      'CF001', format('refreshed_at is %s', coalesce(complete_erasures.refreshed_at::text, 'null')),
      'Give the time at which the refresh began.'
    );
  end if;
  update privacy.erasure
  set completed_at = greatest(clock_timestamp(), erasure.erased_at)
  where erasure.completed_at is null
    and erasure.erased_at < complete_erasures.refreshed_at;
  get diagnostics v_completed = row_count;
  return v_completed;
end;
$$;

comment on function privacy.complete_erasures(timestamptz) is $$
@behavior -*
Marks the receipts of erasures before a refresh of the materialized views and lists as complete.
`refreshed_at`: start of the refresh. Returns their number. Called by the task `erase`.
Errors: CF001 for null or a time in the future.
$$;

grant execute on function privacy.complete_erasures(timestamptz) to insights_worker;
--! EndIncluded privacy/erasure/complete_erasures.sql

--! Included privacy/erasure/erasure_list.sql
create or replace function privacy.erasure_list(since timestamptz default '-infinity')
returns jsonb
language plpgsql
stable
-- A definer: no role may read privacy.suppression.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
as $$
begin
  if erasure_list.since is null then
    perform common.refuse('CF001', 'since is null', 'Give the time of the oldest backup, or leave it out.');
  end if;
  return jsonb_build_object(
    'key', privacy._suppression_key(),
    'names', (
      select coalesce(
        jsonb_agg(
          jsonb_build_object(
            'hash', encode(suppression.name_hash, 'hex'), 'since', suppression.since, 'lifted_at', suppression.lifted_at
          )
          order by suppression.name_hash
        ),
        '[]'
      )
      from privacy.suppression
      where suppression.since >= erasure_list.since
        or suppression.lifted_at >= erasure_list.since
    )
  );
end;
$$;

comment on function privacy.erasure_list(timestamptz) is $$
@behavior -*
Returns the erasures since a time, to be repeated by `privacy.replay_erasures` after the restore of an older backup.
A JSON object: `key` (which database can read the list) and `names` (keyed hashes with their times). It contains no
name, and nobody without the database can test one against it. Erasures that left the names free are not in it.
Errors: CF001 for null.
$$;

grant execute on function privacy.erasure_list(timestamptz) to insights_admin, insights_worker;
--! EndIncluded privacy/erasure/erasure_list.sql

--! Included privacy/erasure/_suppression_key.sql
create or replace function privacy._suppression_key()
returns text
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  -- There is no name of this kind.
  return (
    select encode(hashed.name_hash, 'hex')
    from privacy._hashed_names(array['list'], array['key']) as hashed
  );
end;
$$;

comment on function privacy._suppression_key() is $$
Returns a hash of the key under which names are hashed: equal for a database and its backups.
$$;
--! EndIncluded privacy/erasure/_suppression_key.sql

--! Included privacy/erasure/replay_erasures.sql
create or replace function privacy.replay_erasures(list jsonb)
returns bigint
language plpgsql
volatile
-- A definer: it deletes rows of all rooms, which no role may do.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_name constant text := (select setting.returned_function from privacy.setting);
  v_people bigint[];
  v_person bigint;
  v_erased bigint := 0;
begin
  if replay_erasures.list is null
    or jsonb_typeof(replay_erasures.list) <> 'object'
    or coalesce(jsonb_typeof(replay_erasures.list -> 'names'), 'null') <> 'array'
    or replay_erasures.list ->> 'key' is null
  then
    perform common.refuse('CF009', 'the list is not one of privacy.erasure_list',
      'Give the JSON document that privacy.erasure_list returned.');
  end if;
  if replay_erasures.list ->> 'key' <> privacy._suppression_key() then
    perform common.refuse('CF005', 'the list is of another database',
      'Names are hashed with a key of the database, which its backups contain: restore one of its own backups.');
  end if;

  begin
    insert into privacy.suppression as stored (name_hash, since, lifted_at)
    select decode(entry.hash, 'hex'), max(entry.since), max(entry.lifted_at)
    from jsonb_to_recordset(replay_erasures.list -> 'names')
      as entry (hash text, since timestamptz, lifted_at timestamptz)
    group by entry.hash
    order by entry.hash
    on conflict (name_hash) do update
    set since = greatest(stored.since, excluded.since), lifted_at = excluded.lifted_at
    where excluded.since >= stored.since;
  exception
    when data_exception or not_null_violation or check_violation then
      perform common.refuse('CF009', format('a name of the list is invalid: %s', left(sqlerrm, 100)),
        'Give the JSON document that privacy.erasure_list returned.');
  end;

  execute format(
    'select array(select %I.%I())', split_part(v_name, '.', 1), split_part(v_name, '.', 2)
  )
  into v_people;
  -- They are of the time of the backup: nobody is erased while her data is restricted, so that they had ended.
  delete from privacy.restriction where restriction.person_id = any (v_people);
  foreach v_person in array v_people loop
    -- The names are suppressed already, or were freed by a later consent.
    perform privacy._erase(null, v_person, 'repeated after the restore of a backup', false);
    v_erased := v_erased + 1;
  end loop;
  return v_erased;
end;
$$;

comment on function privacy.replay_erasures(jsonb) is $$
@behavior -*
Repeats the erasures of a list of `privacy.erasure_list` after a backup from before them was restored.
Suppresses the names again, and erases the people who have one of them since before their erasure. Returns their number;
each has a receipt. A repeated call does nothing. Run it before the API and the workers are started.
Errors: CF009 for what is not such a list, CF005 for one of another database.
$$;

grant execute on function privacy.replay_erasures(jsonb) to insights_admin;
--! EndIncluded privacy/erasure/replay_erasures.sql

-- from privacy/views.sql
create or replace view privacy.current_consent
with (security_invoker = true)
as
select distinct on (person_id, purpose)
  person_id, purpose, granted, decided_at, source, document_version, basis, valid_until, decided_by
from privacy.consent
order by person_id, purpose, decided_at desc, recorded_at desc;
comment on view privacy.current_consent is $$
@primaryKey person_id,purpose
Latest decision of each person about each purpose.
Whether it applies, `privacy.allowed` answers: a grant may have expired, or may be that of a minor.
$$;
comment on column privacy.current_consent.basis is $$
Lawful basis of the purpose at the time of the decision; null when unknown.
$$;
comment on column privacy.current_consent.valid_until is $$Time at which a grant expires; null when it does not.$$;
comment on column privacy.current_consent.decided_by is $$
`person`, or `guardian`: the holder of parental responsibility decided.
$$;
create or replace view privacy.open_requests
with (security_invoker = true)
as
select
  request_id, kind, regime, received_at, coalesce(extended_until, due_at) as due_at,
  coalesce(extended_until, due_at) < clock_timestamp() as is_overdue, person_id
from privacy.request
where completed_at is null;
comment on view privacy.open_requests is $$
@name privacy_pending_requests
@primaryKey request_id
Requests of people that are not answered yet, with the time until which they must be.
$$;
comment on column privacy.open_requests.request_id is $$Key of the request.$$;
comment on column privacy.open_requests.kind is $$
`access`, `portability`, `erasure`, `rectification`, `restriction`, `objection` or `opt_out`.
$$;
comment on column privacy.open_requests.regime is $$Law under which the request was made.$$;
comment on column privacy.open_requests.received_at is $$Time at which the request was received.$$;
comment on column privacy.open_requests.due_at is $$Time until which it must be answered, with an extension.$$;
comment on column privacy.open_requests.is_overdue is $$Whether this time is over.$$;
comment on column privacy.open_requests.person_id is $$Person that the request is about.$$;

-- from privacy/policies.sql
grant select on privacy.purpose, privacy.consent_text, privacy.setting
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;
grant select on privacy.data_map, privacy.listener, privacy.handler
to insights_reader, insights_analyst, insights_admin, insights_worker;
grant select on privacy.consent, privacy.current_consent, privacy.person_age
to insights_reader, insights_learner, insights_admin, insights_worker;
grant select on privacy.ledger, privacy.removal, privacy.sealed_table to insights_admin, insights_worker;
grant update (age_of_consent) on privacy.setting to insights_admin;
drop policy if exists admins_insert on privacy.purpose;
create policy admins_insert on privacy.purpose for insert to insights_admin with check (true);
drop policy if exists admins_update on privacy.purpose;
create policy admins_update on privacy.purpose for update to insights_admin using (true);
drop policy if exists all_rows on privacy.handler;
create policy all_rows on privacy.handler for select using (true);
drop policy if exists all_rows on privacy.setting;
create policy all_rows on privacy.setting for select using (true);
drop policy if exists admins_change on privacy.setting;
create policy admins_change on privacy.setting for update to insights_admin using (true);
drop policy if exists all_rows on privacy.consent_text;
create policy all_rows on privacy.consent_text for select using (true);
drop policy if exists all_people on privacy.person_age;
create policy all_people on privacy.person_age for select to insights_reader, insights_admin, insights_worker
using (true);
drop policy if exists all_rows on privacy.sealed_table;
create policy all_rows on privacy.sealed_table for select using (true);
drop policy if exists all_rows on privacy.ledger;
create policy all_rows on privacy.ledger for select using (true);
drop policy if exists all_rows on privacy.removal;
create policy all_rows on privacy.removal for select using (true);
grant select on privacy.erasure to insights_reader, insights_admin, insights_worker;
drop policy if exists all_rows on privacy.erasure;
create policy all_rows on privacy.erasure for select to insights_reader, insights_admin, insights_worker using (true);
grant select on privacy.export_log to insights_reader, insights_admin;
drop policy if exists all_rows on privacy.export_log;
create policy all_rows on privacy.export_log for select to insights_reader, insights_admin using (true);
grant select on privacy.regime
to insights_reader, insights_learner, insights_analyst, insights_admin, insights_worker;
grant insert, update on privacy.regime to insights_admin;
grant select on privacy.request, privacy.open_requests
to insights_reader, insights_learner, insights_admin, insights_worker;
drop policy if exists all_rows on privacy.regime;
create policy all_rows on privacy.regime for select using (true);
drop policy if exists admins_insert on privacy.regime;
create policy admins_insert on privacy.regime for insert to insights_admin with check (true);
drop policy if exists admins_update on privacy.regime;
create policy admins_update on privacy.regime for update to insights_admin using (true);
drop policy if exists all_people on privacy.request;
create policy all_people on privacy.request for select to insights_reader, insights_admin, insights_worker using (true);
drop policy if exists own on privacy.request;
create policy own on privacy.request for select to insights_learner
using (person_id = nullif(current_setting('insights.person_id', true), '')::bigint);
grant select on privacy.restriction to insights_reader, insights_learner, insights_admin, insights_worker;
drop policy if exists all_people on privacy.restriction;
create policy all_people on privacy.restriction for select to insights_reader, insights_admin, insights_worker
using (true);
drop policy if exists own on privacy.restriction;
create policy own on privacy.restriction for select to insights_learner
using (person_id = nullif(current_setting('insights.person_id', true), '')::bigint);

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

  perform track._move_events(
    _move_identities.identity_ids, _move_identities.identity_ids, _move_identities.old_people,
    _move_identities.new_people,
    array_fill('-infinity'::timestamptz, array[cardinality(_move_identities.identity_ids)]),
    array_fill('infinity'::timestamptz, array[cardinality(_move_identities.identity_ids)])
  );

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
    delete from track.trait_history
    using unnest(_move_identities.identity_ids, _move_identities.old_people, _move_identities.new_people)
      as moved (identity_id, old_person_id, new_person_id)
    where trait_history.person_id = moved.old_person_id
      and trait_history.identity_id = moved.identity_id
    returning moved.new_person_id, trait_history.*
  )
  insert into track.trait_history (person_id, identity_id, name, since, set_at, value, repeated_at)
  select new_person_id, identity_id, name, since, set_at, value, repeated_at
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
    insert into track.enrolment (person_id, item_id, status, enrolled_at, ended_at, identity_id, named_item_id)
    select new_person_id, item_id, status, enrolled_at, ended_at, identity_id, named_item_id
    from deleted
  )

  select array_agg(old_person_id) || array_agg(new_person_id)
  into v_touched
  from deleted;
  perform track._enqueue('enrolment', array(select distinct person_id from unnest(v_touched) as person_id));

  update track.item_role
  set person_id = moved.new_person_id
  from unnest(_move_identities.identity_ids, _move_identities.old_people, _move_identities.new_people)
    as moved (identity_id, old_person_id, new_person_id)
  where item_role.person_id = moved.old_person_id
    and item_role.identity_id = moved.identity_id;

  perform privacy.move_subjects(_move_identities.identity_ids, _move_identities.new_people);
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

--! Included track/identities/identity_names.sql
create or replace function track.identity_names(identities bigint[])
returns setof privacy.identity_name
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  select identity.identity_id, identity.person_id, identity.external_id
  from track.identity
  where identity.identity_id = any (identity_names.identities);
end;
$$;

comment on function track.identity_names(bigint[]) is $$
@behavior -*
Returns the person and the name of identities. Registered in `privacy.setting.names_function`.
$$;
--! EndIncluded track/identities/identity_names.sql

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
      -- A merge leaves no trace when it is undone, other than a message.
      and link.kind not in ('claim', 'merge')
      -- A browser keeps each link to a user, because another user may have identified between two of them.
      and (link.linked_at = _is_linked.linked_at or one.kind <> 'anonymous' or other.kind <> 'user')
  );
end;

comment on function track._is_linked(bigint, bigint, timestamptz) is $$
Returns whether a link between two identities already exists, or was removed after the given time.
For a link of a browser to a user, whether one of this time exists.
$$;
--! EndIncluded track/identities/_is_linked.sql

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
    select
      gone.identity_id as old_identity_id,
      -- Without a user, all that the browser has sent is that of one identity.
      coalesce(browser.identity_id, min(gone.identity_id) over (partition by gone.external_id)) as identity_id,
      coalesce(browser.since, '-infinity') as since, coalesce(browser.until, 'infinity') as until
    from gone
    left join lateral track._browser_spans(gone.external_id) as browser on true
  ),

  freed as (
    update track.identity
    set user_identity_id = null
    from span
    where identity.identity_id = span.old_identity_id
      and identity.identity_id = span.identity_id
  )

  select array_agg(old_identity_id), array_agg(identity_id), array_agg(since), array_agg(until)
  into v_froms, v_tos, v_since, v_until
  from span
  where identity_id <> old_identity_id;

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

  perform privacy.move_subjects(
    array_agg(empty.identity_id), array_agg(named.person_id), array_agg(named.identity_id)
  )
  from track.identity as empty
  cross join lateral (
    select sibling.identity_id, sibling.person_id
    from track.identity as sibling
    where sibling.external_id = empty.external_id
      and sibling.kind = 'anonymous'
      and sibling.identity_id <> all (v_empty)
    order by sibling.identity_id
    limit 1
  ) as named
  where empty.identity_id = any (v_empty);

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

--! Included track/identities/merge_persons.sql
create or replace function track._identity_to_merge(name text)
returns bigint
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_identity_id constant bigint := track._named_identity(_identity_to_merge.name, clock_timestamp());
begin
  if v_identity_id is null then
    perform common.refuse(
      'CF002',
      format('there is no person "%s"', coalesce(left(_identity_to_merge.name, 100), 'null')),
      'Give the userId or anonymousId that was sent with events.'
    );
  end if;
  -- A browser stays with its user.
  return (
    select coalesce(identity.user_identity_id, identity.identity_id)
    from track.identity
    where identity.identity_id = v_identity_id
  );
end;
$$;

comment on function track._identity_to_merge(text) is $$
Returns the identity of a `userId`, or of the present user of a browser, or else that of the browser.
Errors: CF002 for an unknown name.
$$;

create or replace function track.merge_persons(person text, other text)
returns boolean
language plpgsql
volatile
-- A definer: it merges people and moves data between tables that no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_most constant int := (select setting.most_identities from track.setting);
  v_person_id constant bigint := track._identity_to_merge(merge_persons.person);
  v_other_id constant bigint := track._identity_to_merge(merge_persons.other);
  v_ids bigint[] := array[v_other_id, v_person_id];
  v_count bigint;
begin
  perform track._lock_people(v_ids);
  select count(*) into v_count
  from track.identity
  where identity.person_id in (
    select named.person_id from track.identity as named where named.identity_id = any (v_ids)
  );
  if (select count(distinct identity.person_id) from track.identity where identity.identity_id = any (v_ids)) = 1 then
    return false;
  end if;
  if v_count > v_most then
    perform common.refuse(
      'CF008', format('the person "%s" would have %s identities', left(merge_persons.person, 100), v_count),
      format('A person has %s at most (track.setting.most_identities).', v_most)
    );
  end if;

  -- A browser is linked to its user, whichever of the two is named first.
  if (select identity.kind from track.identity where identity.identity_id = v_person_id) = 'anonymous' then
    v_ids := array[v_person_id, v_other_id];
  end if;
  return track._link_people(v_ids[1:1], v_ids[2:2], array['merge'], array[clock_timestamp()]) > 0;
end;
$$;

comment on function track.merge_persons(text, text) is $$
Merges two people, each with all her identities: everything of `other` belongs to `person`. False when they are one.
Sessions and all other derived data follow with the next refresh. What one of them has refused is refused for both.
A browser names its present user, or itself when nobody has identified on it. `track.split_person` undoes it.
Errors: CF002 for an unknown name, CF008 when the person would have more identities than
`track.setting.most_identities`.
$$;

grant execute on function track.merge_persons(text, text) to insights_admin;
--! EndIncluded track/identities/merge_persons.sql

--! Included track/identities/split_person.sql
create or replace function track.split_person(person text, names text[])
returns int
language plpgsql
volatile
-- A definer: it splits a person and moves data between tables that no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_identity_id bigint;
  v_person_id bigint;
  v_unknown text;
  v_all bigint[];
  -- The identities that leave, and those that stay.
  v_leaving bigint[];
  v_staying bigint[];
  v_ends bigint[];
  v_removed int;
begin
  if coalesce(cardinality(split_person.names), 0) not between 1 and 10000 or array_ndims(split_person.names) > 1 then
    perform common.refuse('CF001', format('there are %s names', coalesce(cardinality(split_person.names), 0)),
      'Give a list of 1 to 10000 names of the person.');
  end if;
  v_identity_id := track._named_identity(split_person.person, clock_timestamp());
  if v_identity_id is null then
    perform common.refuse(
      'CF002', format('there is no person "%s"', coalesce(left(split_person.person, 100), 'null')),
      'Give the userId or anonymousId that was sent with events.'
    );
  end if;
  perform track._lock_people(array[v_identity_id]);
  v_person_id := (select identity.person_id from track.identity where identity.identity_id = v_identity_id);

  select given.name into v_unknown
  from unnest(split_person.names) as given (name)
  where not exists (
    select
    from track.identity
    where identity.person_id = v_person_id
      and identity.external_id = given.name
  )
  limit 1;
  if found then
    perform common.refuse(
      'CF002',
      format(
        '"%s" is not a name of the person "%s"', coalesce(left(v_unknown, 100), 'null'),
        left(split_person.person, 100)
      ),
      'The names of a person are the rows of track.identity with her person_id.'
    );
  end if;

  -- The browsers of a user leave with her.
  select
    array_agg(named.identity_id) filter (where named.leaves),
    array_agg(named.identity_id) filter (where not named.leaves)
  into v_leaving, v_staying
  from (
    select
      identity.identity_id,
      identity.external_id = any (split_person.names)
        or (
          select user_identity.external_id = any (split_person.names)
          from track.identity as user_identity
          where user_identity.identity_id = identity.user_identity_id
        ) is true as leaves
    from track.identity
    where identity.person_id = v_person_id
  ) as named;
  if v_staying is null then
    perform common.refuse(
      'CF001', format('all names of the person "%s" would leave', left(split_person.person, 100)),
      'Name those that belong to another person. The browsers of a user leave with her.'
    );
  end if;

  -- Blocks transactions that store data for this person.
  v_all := track._with_siblings(v_leaving || v_staying);
  perform identity.identity_id
  from track.identity
  where identity.identity_id = any (v_all)
  order by identity.identity_id
  for update;

  -- A merge is undone without a trace. Removed links of messages are kept, so that an older message does not link
  -- again.
  with removed as materialized (
    select link.identity_id, link.linked_identity_id, link.linked_at, link.kind
    from track.identity_link as link
    where link.unlinked_at is null
      and link.kind <> 'claim'
      and (
        link.identity_id = any (v_leaving) and link.linked_identity_id = any (v_staying)
        or link.identity_id = any (v_staying) and link.linked_identity_id = any (v_leaving)
      )
  ),

  deleted as (
    delete from track.identity_link as link
    using removed
    where (link.identity_id, link.linked_identity_id, link.linked_at)
        = (removed.identity_id, removed.linked_identity_id, removed.linked_at)
      and removed.kind = 'merge'
  ),

  ended as (
    update track.identity_link as link
    set unlinked_at = greatest(clock_timestamp(), link.linked_at)
    from removed
    where (link.identity_id, link.linked_identity_id, link.linked_at)
        = (removed.identity_id, removed.linked_identity_id, removed.linked_at)
      and removed.kind <> 'merge'
  )

  select count(*), array_agg(removed.identity_id) || array_agg(removed.linked_identity_id)
  into v_removed, v_ends
  from removed;

  perform track._give_back_browsers(v_ends);
  perform track._resolve_people(v_ends);
  perform track._delete_empty_browsers(v_ends);
  return v_removed;
end;
$$;

comment on function track.split_person(text, text[]) is $$
Splits names off a person, and removes all links between these names and the others. Returns the number of links.
The browsers of a named user leave with her. Afterwards everything is as if the two had never been linked: each event,
trait, enrolment, decision and list belongs to the person of its own identity, and all derived data follows with the
next refresh. Undoes `track.merge_persons`, `track.link_identities` and links of messages; an `identify` or `alias`
of a later time links again. Errors: CF001 for an empty list, or when no name would stay, CF002 for an unknown person or
a name that is not hers.
$$;

grant execute on function track.split_person(text, text[]) to insights_admin;
--! EndIncluded track/identities/split_person.sql

--! Included track/ingest/_item_kind.sql
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
--! EndIncluded track/ingest/_item_kind.sql

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

create or replace function track._birthday(traits jsonb, context jsonb)
returns text
language sql
immutable
parallel safe
return coalesce(traits ->> 'birthday', context #>> '{traits,birthday}');

comment on function track._birthday(jsonb, jsonb) is $$
Returns the trait `birthday` of a message; null when it has none.
$$;
--! EndIncluded track/ingest/describe_message.sql

--! Included track/ingest/decision.sql
/*
 * Called for messages that are decisions only, so that these functions may read tables.
 */
create or replace function track._decided_preferences(properties jsonb, context jsonb)
returns jsonb
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_kind constant text := properties ->> 'eventType';
  v_scopes constant text[] := case jsonb_typeof(properties -> 'consentScopes')
    when 'array' then array(select jsonb_array_elements_text(properties -> 'consentScopes'))
  end;
  v_granted text[] := '{}';
  v_refused text[] := '{}';
begin
  case v_kind
    when 'allow_all' then
      v_granted := coalesce(v_scopes, array(select privacy.optional_purposes()));
    when 'allow_selected' then
      v_granted := v_scopes;
      v_refused := array(select privacy.optional_purposes() except select unnest(v_scopes));
    when 'deny_all' then
      v_refused := array(select privacy.optional_purposes() union select unnest(v_scopes));
    when 'withdrawn' then
      v_refused := coalesce(nullif(v_scopes, '{}'), array(select privacy.optional_purposes()));
    -- Only what needs consent ends with it.
    when 'expired' then
      v_refused := array(
        select purpose.purpose
        from privacy.purpose
        where purpose.basis = 'consent'
          and purpose.purpose = any (coalesce(nullif(v_scopes, '{}'), array[purpose.purpose]))
      );
    -- Where the GDPR applies, silence is not a consent (recital 32).
    when 'implicit_consent' then
      v_granted := case when properties -> 'gdprApplies' = 'false' then coalesce(v_scopes, '{}') else '{}' end;
    else null;
  end case;

  return coalesce(
      (
        select jsonb_object_agg(decided.purpose, decided.granted)
        from (
          select unnest(v_refused) as purpose, false as granted
          union all
          select unnest(v_granted), true
        ) as decided
      ),
      '{}'
    )
    || case jsonb_typeof(properties -> 'categoryPreferences')
      when 'object' then properties -> 'categoryPreferences'
      else '{}'
    end
    || case jsonb_typeof(context #> '{consent,categoryPreferences}')
      when 'object' then context #> '{consent,categoryPreferences}'
      else '{}'
    end;
end;
$$;

comment on function track._decided_preferences(jsonb, jsonb) is $$
Returns the purposes that a decision grants (true) or refuses (false).
They are the `categoryPreferences` of its context and of its properties, and what Snowplow's `eventType` means for its
`consentScopes`. For a purpose in several places, the context has precedence over the properties, and both over
`eventType`. `allow_all`, `deny_all` and `withdrawn` without scopes, and `allow_selected` for those that are not in its
scopes, mean the purposes that a person can decide about. `expired` ends what needs consent; `pending` decides nothing,
and `implicit_consent` only where `gdprApplies` is false.
$$;

create or replace function track._decision_problem(event text, properties jsonb, context jsonb)
returns track.problem
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_kinds constant text[] := array[
    'allow_all', 'allow_selected', 'deny_all', 'pending', 'implicit_consent', 'withdrawn', 'expired'
  ];
  v_kind constant text := properties ->> 'eventType';
  v_scopes constant jsonb := nullif(properties -> 'consentScopes', 'null');
  v_purposes constant text[] := array(select purpose.purpose from privacy.purpose order by purpose.purpose);
  v_unknown text;
begin
  if v_kind is null and event = 'consent_preferences' or v_kind <> all (v_kinds) then
    return row(
      'CF001',
      format('"properties.eventType" is %s', coalesce('"' || left(v_kind, 100) || '"', 'not given')),
      format('Send %s.', array_to_string(v_kinds, ', '))
    )::track.problem;
  end if;
  if v_scopes is not null and (
    jsonb_typeof(v_scopes) <> 'array' or jsonb_path_exists(v_scopes, 'strict $[*] ? (@.type() != "string")')
  ) or v_kind = 'allow_selected' and v_scopes is null
  then
    return row(
      'CF001',
      format('"properties.consentScopes" is %s', coalesce(left(v_scopes::text, 100), 'not given')),
      'Send a list of purposes.'
    )::track.problem;
  end if;
  v_unknown := (
    select named.purpose
    from (
      select jsonb_object_keys(
        case jsonb_typeof(properties -> 'categoryPreferences')
          when 'object' then properties -> 'categoryPreferences'
          else '{}'
        end
      )

      union all

      select jsonb_object_keys(
        case jsonb_typeof(context #> '{consent,categoryPreferences}')
          when 'object' then context #> '{consent,categoryPreferences}'
          else '{}'
        end
      )

      union all

      select jsonb_array_elements_text(v_scopes)
    ) as named (purpose)
    where named.purpose <> all (v_purposes)
    order by named.purpose
    limit 1
  );
  if v_unknown is not null then
    return row(
      'CF002',
      format('there is no purpose "%s"', left(v_unknown, 100)),
      coalesce(
        'The nearest name is "' || common.nearest_name(v_unknown, v_purposes) || '".',
        format('The purposes are %s.', array_to_string(v_purposes, ', '))
      )
    )::track.problem;
  end if;
  return null;
end;
$$;

comment on function track._decision_problem(text, jsonb, jsonb) is $$
Returns the error of a decision; null when it is valid.
The errors are an invalid `eventType` or `consentScopes`, and a purpose that does not exist.
$$;

create or replace function track._birth_date(birthday text)
returns date
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if birthday ~ '^(1[89]|[2-9]\d)\d\d-\d\d-\d\d($|[T ])' then
    return make_date(left(birthday, 4)::int, substr(birthday, 6, 2)::int, substr(birthday, 9, 2)::int);
  end if;
  return null;
exception
  when datetime_field_overflow then
    return null;
end;
$$;

comment on function track._birth_date(text) is $$
Returns the date of a trait `birthday` in ISO 8601; null for another text.
$$;
--! EndIncluded track/ingest/decision.sql

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
          case
            when fields.event in ('Segment Consent Preference Updated', 'consent_preferences')
              then track._decision_problem(fields.event, fields.properties, fields.context)
          end,
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
          -- Snowplow's name of the same event.
          when 'track' then case judged.event
            when 'consent_preferences' then 'Segment Consent Preference Updated'
            else judged.event
          end
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
          when judged.event in ('Segment Consent Preference Updated', 'consent_preferences')
            then case
              when judged.problem is null then track._decided_preferences(judged.properties, judged.context)
            end
          else judged.context #> '{consent,categoryPreferences}'
        end as preferences,
        judged.context ->> 'gpc' in ('true', '1') as opts_out,
        judged.problem,
        case when judged.occurred_at <> judged.original_at then judged.original_at end as client_at,
        null::boolean as is_claim,
        case
          when judged.type = 'identify' and sender.is_trusted and judged.user_id is not null
            and track._birthday(judged.traits, judged.context) is not null
            then track._birth_date(track._birthday(judged.traits, judged.context))
        end as birth_date
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

--! Included track/ingest/refuse_suppressed.sql
/*
 * The rule for names of people who were erased (privacy.suppression). It is checked before anything is stored, and
 * again for names that were erased while the batch waited for their locks.
 */
create or replace function track._suppressed_names(messages track.parsed_message[])
returns setof privacy.suppressed_name
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  select suppressed.*
  from (
    select array_agg(name.kind) as kinds, array_agg(name.name) as names
    from (
      select message.identity_kind, message.external_id
      from unnest(messages) as message
      where message.problem is null
        and message.identity_kind <> 'none'

      union

      -- Names that the message would link.
      select kind, coalesce(message.previous_id, message.anonymous_id)
      from unnest(messages) as message
      cross join unnest(array['anonymous', 'user']) as kind
      where message.problem is null
        and coalesce(message.previous_id, message.anonymous_id) is not null
        and (message.type = 'alias' or message.type = 'identify' and kind = 'anonymous')
    ) as name (kind, name)
  ) as named
  cross join lateral privacy.suppressed(named.kinds, named.names) as suppressed
  where named.names is not null;
end;
$$;

comment on function track._suppressed_names(track.parsed_message[]) is $$
Returns the names of valid messages that are suppressed, or were before a new consent.
$$;

create or replace function track._refuse_suppressed(messages track.parsed_message[], sender track.message_sender)
returns track.parsed_message[]
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_messages track.parsed_message[] := messages;
  v_message track.parsed_message;
  v_refused record;
  v_suppressed privacy.suppressed_name[];
begin
  v_suppressed := array(select suppressed from track._suppressed_names(messages) as suppressed);
  if v_suppressed = '{}' then
    return v_messages;
  end if;

  -- A new consent in the batch. An anonymousId is not a proof: only a server may consent for it.
  perform privacy.lift_suppression(array[consent.kind], array[consent.name], consent.decided_at)
  from (
    select suppressed.kind, suppressed.name, min(message.occurred_at) as decided_at
    from unnest(v_suppressed) as suppressed
    join unnest(messages) as message
      on message.external_id = suppressed.name
      and message.identity_kind = suppressed.kind
    where suppressed.lifted_at is null
      and message.problem is null
      and message.event_name = 'Segment Consent Preference Updated'
      and message.occurred_at > suppressed.since
      and (message.identity_kind = 'user' or sender.is_trusted)
      and exists (
        select
        from privacy.purpose
        where message.preferences -> purpose.purpose = 'true'
      )
    group by suppressed.kind, suppressed.name
    order by suppressed.kind, suppressed.name
  ) as consent;
  v_suppressed := array(select suppressed from track._suppressed_names(messages) as suppressed);

  for v_refused in
    select distinct on (message.ordinality) message.ordinality, suppressed.kind, suppressed.name
    from unnest(messages) with ordinality as message
    join unnest(v_suppressed) as suppressed
      on suppressed.name = message.external_id and suppressed.kind = message.identity_kind
      or message.type = 'alias' and suppressed.name = message.previous_id
        and suppressed.kind in ('user', 'anonymous')
      or message.type = 'identify' and suppressed.name = message.anonymous_id and suppressed.kind = 'anonymous'
    where message.problem is null
      and (suppressed.lifted_at is null or message.occurred_at < suppressed.lifted_at)
    order by message.ordinality, suppressed.kind desc
  loop
    v_message := v_messages[v_refused.ordinality];
    v_message.problem := row(
      'CF005',
      format('the data of "%s" was erased', left(v_refused.name, 100)),
      case v_refused.kind
        when 'user' then
          'Nothing is stored under this userId until its person consents again, in a message or by '
          'track.record_my_consent.'
        else 'Send a new anonymousId: nothing is stored under this one.'
      end
    );
    v_messages[v_refused.ordinality] := v_message;
  end loop;
  return v_messages;
end;
$$;

comment on function track._refuse_suppressed(track.parsed_message[], track.message_sender) is $$
Returns the messages; those with the name of an erased person are rejected (CF005).
A message that grants a purpose (`Segment Consent Preference Updated`), of the person or a server, ends the suppression
of its name from its time on. It must be later than the erasure.
$$;
--! EndIncluded track/ingest/refuse_suppressed.sql

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
      message.is_claim, message.birth_date,
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
    select decision.*
    from (
      select
        array(select purpose.purpose from privacy.purpose) as purposes,
        array(select distinct named.person_id from named) as people
    ) as given
    left join (
      select array_agg(named.person_id) as people, array_agg(valid.birth_date) as birth_dates
      from valid
      join named
        on named.external_id = valid.external_id
        and named.identity_kind = valid.identity_kind
      where valid.birth_date is not null
    ) as born on true
    cross join lateral privacy.effective_decisions(given.purposes, given.people, born.people, born.birth_dates)
      as decision
  ),

  -- Names that are new, of a person who is not of age.
  minor as materialized (
    select valid.external_id, valid.identity_kind, purpose.purpose
    from valid
    cross join lateral privacy.minor_purposes(valid.birth_date) as purpose (purpose)
    where valid.birth_date is not null
      and not exists (
        select
        from named
        where named.external_id = valid.external_id
          and named.identity_kind = valid.identity_kind
      )
  ),

  decision as materialized (
    select
      named.external_id, named.identity_kind, named.browser_id, recorded.purpose, recorded.granted,
      recorded.decided_at, recorded.signalled_at, null::timestamptz as since, -1 as position
    from named
    join recorded using (person_id)
    where named.is_own or not recorded.granted

    union all

    -- No other decision of a minor is later: see privacy.effective_decisions. The message that states the date of birth
    -- ties the name to itself.
    select
      tied.user_name, 'tied', null, minor.purpose, false, 'infinity'::timestamptz, null, tied.since, tied.position
    from minor
    join tied_name as tied
      on tied.external_id = minor.external_id
      and tied.identity_kind = minor.identity_kind

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
    left join track.event_type as named on named.name = valid.event_name
    left join track.event_type
      on event_type.event_type_id = coalesce(named.merged_event_type_id, named.event_type_id)
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
the batch applies to the messages from its time on. A date of birth in the batch applies to all of its messages. A
refusal also applies to names that the batch links to the person.
`opt_out`: signals of the request, `gpc` and `dnt`.
$$;
--! EndIncluded track/ingest/withheld_messages.sql

--! Included track/ingest/enter_items.sql
create or replace function track._enter_items(messages track.parsed_message[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_new bigint[];
  v_before track.item[];
begin
  if not exists (
    select
    from unnest(messages) as message
    left join track.item on item.external_id = message.item
    left join track.named_item as named on named.item_id = item.item_id
    where message.item is not null
      and (
        item.item_id is null
        -- An item that an earlier version merged has no description of its own.
        or (item.merged_item_id is null or named.item_id is not null)
        and (
          case when named.item_id is null then item.kind else named.kind end = 'unknown'
          and message.item_kind is not null
          or case when named.item_id is null then item.title else named.title end is null
          and message.item_title is not null
          or case when named.item_id is null then item.url else named.url end is null
          and message.item_url is not null
          or case when named.item_id is null then item.parent_item_id else named.parent_item_id end is null
          and message.item_parent is not null
        )
      )
  ) then
    return;
  end if;

  with entered as (
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
    on conflict (external_id) do nothing
    returning item.item_id
  )
  select array_agg(entered.item_id) into v_new
  from entered;

  -- Sorted, so that concurrent batches do not cause a deadlock.
  perform item.item_id
  from track.item
  where item.item_id = any (array(
    select unnest(array[known.item_id, known.merged_item_id])
    from unnest(messages) as message
    join track.item as known on known.external_id = message.item
  ))
  order by item.item_id
  for no key update;

  v_before := array(
    select item
    from track.item
    where item.external_id in (select message.item from unnest(messages) as message)
  );
  begin
    perform track._describe_items(messages);
  exception
    when sqlstate 'CF010' then
      perform track._describe_items_one_by_one(messages);
  end;
  perform track._store_item_sources(messages, coalesce(v_new, '{}'), v_before);
end;
$$;

comment on function track._enter_items(track.parsed_message[]) is $$
Inserts the items that messages name for the first time, and stores their missing attributes.
$$;

create or replace function track._store_item_sources(
  messages track.parsed_message[],
  new_items bigint[],
  before track.item[]
)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
-- A plan for any number of messages would compare each message with each item.
set plan_cache_mode to force_custom_plan
as $$
begin
  insert into track.item_source (item_id, attribute, identity_id)
  select
    first.item_id, first.attribute,
    coalesce(
      case first.identity_kind when 'anonymous' then track._browser_identity(first.external_id, first.occurred_at) end,
      first.identity_id
    )
  from (
    select distinct on (told.item_id, told.attribute)
      told.item_id, told.attribute, told.identity_kind, told.external_id, told.occurred_at, identity.identity_id
    from (
      select
        item.item_id, 'name' as attribute,
        message.identity_kind, message.external_id, message.occurred_at, message.position
      from unnest(messages) as message
      cross join lateral unnest(array[message.item, message.item_parent]) as named (external_id)
      join track.item on item.external_id = named.external_id
      join unnest(_store_item_sources.new_items) as new (item_id) on new.item_id = item.item_id

      union all

      select
        item.item_id, given.attribute,
        message.identity_kind, message.external_id, message.occurred_at, message.position
      from unnest(_store_item_sources.before) as former
      join track.item on item.item_id = former.item_id
      join unnest(messages) as message on message.item = item.external_id
      left join track.item as parent on parent.external_id = message.item_parent
      cross join lateral (
        values
          ('kind', nullif(former.kind, 'unknown'), item.kind, message.item_kind),
          ('title', former.title, item.title, message.item_title),
          ('url', former.url, item.url, message.item_url),
          ('parent', former.parent_item_id::text, item.parent_item_id::text, parent.item_id::text)
      ) as given (attribute, former, stored, said)
      where given.former is null
        and given.stored = given.said
    ) as told
    join track.identity
      on identity.external_id = told.external_id
      and identity.kind = told.identity_kind
      and (told.identity_kind <> 'anonymous' or identity.branch = 0)
    order by told.item_id, told.attribute, told.position
  ) as first
  on conflict (item_id, attribute) do update
  set identity_id = excluded.identity_id;
end;
$$;

comment on function track._store_item_sources(track.parsed_message[], bigint[], track.item[]) is $$
Stores which identities named the new items, and gave the attributes that had no value before the messages.
`before`: the items of the messages, as they were before these were applied.
$$;
--! EndIncluded track/ingest/enter_items.sql

--! Included track/ingest/lock_identities.sql
create or replace function track._lock_identities(identity_ids bigint[])
returns boolean
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_locked int;
begin
  -- Moves to other people update the rows, but not their keys: a key share lock would not notice a move that this
  -- snapshot does not contain. The stronger one fails (40001).
  if current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
    perform identity.identity_id
    from track.identity
    where identity.identity_id = any (_lock_identities.identity_ids)
    order by identity.identity_id
    for share;
  else
    perform identity.identity_id
    from track.identity
    where identity.identity_id = any (_lock_identities.identity_ids)
    order by identity.identity_id
    for key share;
  end if;
  get diagnostics v_locked = row_count;
  return v_locked = cardinality(identity_ids);
end;
$$;

comment on function track._lock_identities(bigint[]) is $$
Locks identities for which a transaction stores data: until it ends, they stay with their people.
False when one of them does not exist any more. Raises 40001 in a transaction whose snapshot is from before a move.
$$;
--! EndIncluded track/ingest/lock_identities.sql

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
returns boolean
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
  v_is_complete boolean;
begin
  -- Most links are known, such as those of a client that identifies with each page. Storing them locks no person.
  if (select coalesce(bool_and(said.is_known), true) from track._said_links(messages) as said) then
    begin
      v_is_complete := track._lock_identities(also_locked);
      if (select coalesce(bool_and(said.is_known), true) from track._said_links(messages) as said) then
        perform track._store_known_links(messages);
        return v_is_complete;
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
  v_is_complete := track._lock_identities(also_locked);
  perform track._store_known_links(messages);
  return v_is_complete;
end;
$$;

comment on function track._link_people_of(track.parsed_message[], bigint[]) is $$
Creates the links of `identify` and `alias` messages, then locks the identities `also_locked`.
False when one of these does not exist any more.
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
    array_agg(preference.value::boolean), array_agg(message.occurred_at), 'event', array_agg(message.properties),
    array_agg(message.external_id), array_agg(left(message.properties ->> 'consentVersion', 200))
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
    array_agg(false), array_agg(_store_signals.received_at), signalled.source, null, array_agg(signalled.name)
  )
  from (
    select distinct on (person.person_id, purpose.purpose)
      person.person_id, person.identity_id, person.external_id as name, purpose.purpose,
      case when purpose.opted_out_by_gpc and 'gpc' = any (_store_signals.opt_out) then 'gpc' else 'dnt' end as source
    from (
      select identity.person_id, identity.identity_id, identity.external_id
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
      (
        array_agg(
          case when consent.granted and consent.valid_until <= now() then null else consent.granted end
          order by consent.decided_at desc, consent.recorded_at desc
        )
      )[1] as granted,
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
  v_erased track.parsed_message[];
  -- Messages that state a date of birth. It is stored without consent, since it decides who can give it.
  v_born track.parsed_message[];
  v_locked bigint[];
  v_is_complete boolean;
  v_placed record;
  v_links boolean;
  v_traits boolean;
  v_decisions boolean;
  v_browsers boolean;
  v_births boolean;
  v_refused int[];
  v_result track.ingest_result;
begin
  -- An erasure waits for it before it deletes names of items and event types that nobody uses.
  perform pg_advisory_xact_lock_shared(hashtext('track.ingest'));
  v_messages := track._parse_messages(v_batch, v_received_at, v_sender);
  v_messages := track._verify_browsers(v_messages, v_sender);
  if exists (select from privacy.suppression) then
    v_messages := track._refuse_suppressed(v_messages, v_sender);
  end if;
  select
    bool_or(message.type in ('identify', 'alias')),
    bool_or(message.traits is not null),
    bool_or(message.event_name = 'Segment Consent Preference Updated'),
    bool_or(message.identity_kind = 'anonymous'),
    bool_or(message.birth_date is not null)
  into v_links, v_traits, v_decisions, v_browsers, v_births
  from unnest(v_messages) as message
  where message.problem is null;
  if v_links then
    v_messages := track._limit_identities(v_messages);
  end if;
  if v_sender.opt_out <> '{}' then
    v_signalled := v_messages;
  end if;
  if v_births then
    v_born := array(
      select message
      from unnest(v_messages) as message
      where message.birth_date is not null
        and message.problem is null
    );
  end if;
  v_messages := track._ask_consent(v_messages, v_sender.opt_out);
  v_result.errors := track._problems(v_messages);
  v_result.rejected := jsonb_array_length(v_result.errors);
  if v_result.rejected > 0 then
    perform track._count_refused(v_messages, v_batch.messages, v_sender.source_id, v_received_at);
  end if;

  v_result.duplicates := coalesce(cardinality(v_messages), 0) - v_result.rejected;
  if v_births then
    v_refused := array(select message.position from unnest(v_messages) as message where message.problem is not null);
  end if;
  v_messages := track._store_messages(v_messages, v_sender.source_id);
  if v_births then
    -- Without duplicates.
    v_born := array(
      select born
      from unnest(v_born) as born
      where born.position = any (v_refused)
        or born.position in (select message.position from unnest(v_messages) as message)
    );
    v_births := v_born <> '{}';
  end if;
  v_result.accepted := cardinality(v_messages);
  v_result.duplicates := v_result.duplicates - v_result.accepted;
  if v_result.accepted = 0 and v_signalled is null and v_births is not true then
    return v_result;
  end if;

  -- Months first: creating a partition waits for transactions that have inserted items or event types, so that this
  -- transaction must not have inserted any before.
  perform track._enter_months(v_messages);
  perform track._refuse_old_names();
  perform track._enter_people_of(v_messages, v_sender.browser);
  if v_signalled is not null then
    perform track._enter_people(array_agg('user'::text), array_agg(message.external_id))
    from unnest(v_signalled) as message
    where message.identity_kind = 'user'
      and message.problem is null;
  end if;
  if v_births then
    perform track._enter_people(array_agg('user'::text), array_agg(born.external_id))
    from unnest(v_born) as born;
  end if;
  perform track._enter_event_types(v_messages);
  perform track._enter_items(v_messages);

  for v_attempt in 1 .. 100 loop
    v_locked := track._named_identities(v_messages || v_signalled || v_born);
    -- The persons of the identities must not change from here to the end of the transaction, or the rows below would
    -- be stored for a former person.
    if v_links then
      v_is_complete := track._link_people_of(v_messages, v_locked);
    else
      v_is_complete := track._lock_identities(v_locked);
    end if;
    v_placed := track._place_messages(v_messages, v_browsers);
    -- An identity of a browser that was unlinked meanwhile has a sibling, which is locked as well.
    exit when coalesce(cardinality(v_placed.identities), 0) = cardinality(v_messages)
      and (v_is_complete or v_signalled is null and not coalesce(v_births, false));

    -- A person was erased while this transaction waited for her identities.
    v_messages := track._refuse_suppressed(v_messages, v_sender);
    v_signalled := track._refuse_suppressed(v_signalled, v_sender);
    v_born := track._refuse_suppressed(v_born, v_sender);
    v_erased := array(select message from unnest(v_messages) as message where message.problem is not null);
    perform track._count_refused(v_erased, v_batch.messages, v_sender.source_id, v_received_at);
    v_result.errors := v_result.errors || track._problems(v_erased);
    v_result.rejected := v_result.rejected + cardinality(v_erased);
    v_result.accepted := v_result.accepted - cardinality(v_erased);
    v_messages := array(select message from unnest(v_messages) as message where message.problem is null);
    perform track._enter_people_of(v_messages, v_sender.browser);
    if v_attempt = 100 then
      perform common.refuse(
        'serialization_failure', 'people of the batch were erased concurrently', 'Send the batch again.'
      );
    end if;
  end loop;

  perform track._store_events(v_messages, v_placed.identities, v_placed.people, v_sender.source_id);
  if v_traits then
    perform track._store_traits(v_messages, v_placed.identities, v_placed.people);
  end if;
  if v_decisions then
    perform track._store_consent(v_messages, v_placed.identities, v_placed.people);
  end if;
  if v_births then
    perform privacy.record_birth_dates(
      array_agg(identity.person_id), array_agg(identity.identity_id), array_agg(born.birth_date)
    )
    from unnest(v_born) as born
    join track.identity on identity.external_id = born.external_id and identity.kind = 'user';
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

--! Included track/presence/_change_presence.sql
/*
 * Whether a bit is set depends on the activity of its person alone. Bits are therefore set and cleared by comparing the
 * activity of the person before and after, and the activity of nobody else is read.
 */
create or replace function track._change_presence(removed track.activity[], added track.activity[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
begin
  with by_person as (
    select
      typed.event_type_id, entry.day, entry.person_id, bool_or(entry.was) as was, bool_or(not entry.was) as is_present
    from (
      select *, false as was from unnest(_change_presence.added)
      union all
      select *, true from unnest(_change_presence.removed)
    ) as entry
    cross join lateral (
      values (entry.event_type_id, entry.event_count), (0, entry.event_count - entry.automatic_count)
    ) as typed (event_type_id, event_count)
    where entry.person_id <> 0
      and typed.event_count > 0
    group by 1, 2, 3
    having bool_or(entry.was) <> bool_or(not entry.was)
  )

  merge into track.presence
  using (
    select
      by_person.event_type_id, by_person.day, (by_person.person_id / 4096)::int as block,
      coalesce(bit_or(track.person_bit(by_person.person_id)) filter (where by_person.is_present), v_no_people)
        as set_bits,
      coalesce(bit_or(track.person_bit(by_person.person_id)) filter (where by_person.was), v_no_people) as cleared_bits
    from by_person
    group by 1, 2, 3
  ) as change
  on presence.event_type_id = change.event_type_id
    and presence.day = change.day
    and presence.block = change.block
  when matched
    and presence.event_count = 0
    and bit_count(presence.people & ~change.cleared_bits | change.set_bits) = 0
  then delete
  when matched then update set people = presence.people & ~change.cleared_bits | change.set_bits
  when not matched then
    insert (event_type_id, day, block, people, event_count, counted_count)
    values (change.event_type_id, change.day, change.block, change.set_bits, 0, 0);
end;
$$;

comment on function track._change_presence(track.activity[], track.activity[]) is $$
Clears and sets the bits of `track.presence` of people whose activity changed, given before and after the change.
Both contain all activity of these people on the days of the change.
$$;

create or replace function track._change_item_months(removed track.activity[], added track.activity[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  with by_person as (
    select
      entry.item_id, date_trunc('month', entry.day::timestamp)::date as month, entry.person_id,
      coalesce(bit_or(1 << (extract(day from entry.day)::int - 1)) filter (where entry.was), 0) as cleared,
      coalesce(bit_or(1 << (extract(day from entry.day)::int - 1)) filter (where not entry.was), 0) as added
    from (
      select item_id, day, person_id, false as was from unnest(_change_item_months.added)
      union all
      select item_id, day, person_id, true from unnest(_change_item_months.removed)
    ) as entry
    where entry.item_id is not null
      and entry.person_id <> 0
    group by 1, 2, 3
  ),

  change as materialized (
    select
      by_person.item_id, by_person.month, (by_person.person_id / 32768)::int as part,
      array_agg((by_person.person_id % 32768)::smallint) as people,
      array_agg(by_person.cleared) as cleared,
      array_agg(by_person.added) as added
    from by_person
    where by_person.cleared <> by_person.added
    group by 1, 2, 3
  )

  merge into track.item_month
  using (
    select change.item_id, change.month, change.part, fresh.people, fresh.days
    from change
    left join track.item_month as stored
      on stored.item_id = change.item_id and stored.month = change.month and stored.part = change.part
    cross join lateral (
      select
        array_agg(combined.person order by combined.person) as people,
        array_agg(combined.days order by combined.person) as days
      from (
        select
          entry.person, bit_or(entry.days) & ~bit_or(entry.cleared) | bit_or(entry.added) as days
        from (
          select listed.person, listed.days, 0 as cleared, 0 as added
          from unnest(stored.people, stored.days) as listed (person, days)
          union all
          select changed.person, 0, changed.cleared, changed.added
          from unnest(change.people, change.cleared, change.added) as changed (person, cleared, added)
        ) as entry
        group by entry.person
      ) as combined
      where combined.days <> 0
    ) as fresh
  ) as change
  on item_month.item_id = change.item_id and item_month.month = change.month and item_month.part = change.part
  when matched and change.people is null then delete
  when matched then update set people = change.people, days = change.days
  when not matched and change.people is not null then
    insert (item_id, month, part, people, days, event_count, engaged)
    values (change.item_id, change.month, change.part, change.people, change.days, 0, interval '0');
end;
$$;

comment on function track._change_item_months(track.activity[], track.activity[]) is $$
Changes the people and days of `track.item_month` after a change of activity, given before and after the change.
Both contain all activity of these people on the days of the change.
$$;

create or replace function track._change_course_presence(removed track.activity[], added track.activity[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
begin
  with by_person as (
    select
      course.item_id, date_trunc('month', entry.day::timestamp)::date as month, entry.person_id,
      coalesce(bit_or(1 << (extract(day from entry.day)::int - 1)) filter (where entry.was), 0) as cleared,
      coalesce(bit_or(1 << (extract(day from entry.day)::int - 1)) filter (where not entry.was), 0) as added
    from (
      select item_id, day, person_id, false as was from unnest(_change_course_presence.added)
      union
      select item_id, day, person_id, true from unnest(_change_course_presence.removed)
    ) as entry
    join track.item_ancestor as ancestor on ancestor.item_id = entry.item_id
    join track.item as course on course.item_id = ancestor.ancestor_item_id and course.kind = 'course'
    where entry.person_id <> 0
      -- Courses that are queued are recomputed by the next refresh.
      and course.item_id not in (select stale_course.item_id from track.stale_course)
    group by 1, 2, 3
  ),

  change as materialized (
    select
      by_person.item_id, by_person.month, (by_person.person_id / 4096)::int as block,
      array_agg((by_person.person_id % 4096)::smallint) as members,
      array_agg(by_person.cleared) as cleared,
      array_agg(by_person.added) as added
    from by_person
    where by_person.cleared <> by_person.added
    group by 1, 2, 3
  )

  merge into track.course_presence
  using (
    select change.item_id, change.month, change.block, fresh.people, fresh.members, fresh.days
    from change
    left join track.course_presence as stored
      on stored.item_id = change.item_id and stored.month = change.month and stored.block = change.block
    cross join lateral (
      -- Only the bits of the people that changed are computed.
      select
        coalesce(stored.people, v_no_people)
          & ~bit_or(track.person_bit(combined.member)) filter (where combined.is_changed)
          | coalesce(
            bit_or(track.person_bit(combined.member)) filter (where combined.is_changed and combined.days <> 0),
            v_no_people
          ) as people,
        array_agg(combined.member order by combined.member) filter (where combined.days <> 0) as members,
        array_agg(combined.days order by combined.member) filter (where combined.days <> 0) as days
      from (
        select
          entry.member, bit_or(entry.days) & ~bit_or(entry.cleared) | bit_or(entry.added) as days,
          bool_or(entry.is_changed) as is_changed
        from (
          select listed.member, listed.days, 0 as cleared, 0 as added, false as is_changed
          from unnest(stored.members, stored.days) as listed (member, days)
          union all
          select changed.member, 0, changed.cleared, changed.added, true
          from unnest(change.members, change.cleared, change.added) as changed (member, cleared, added)
        ) as entry
        group by entry.member
      ) as combined
    ) as fresh
  ) as change
  on course_presence.item_id = change.item_id
    and course_presence.month = change.month
    and course_presence.block = change.block
  when matched and change.members is null then delete
  when matched then update set people = change.people, members = change.members, days = change.days
  when not matched and change.members is not null then
    insert (item_id, month, block, people, members, days)
    values (change.item_id, change.month, change.block, change.people, change.members, change.days);
end;
$$;

comment on function track._change_course_presence(track.activity[], track.activity[]) is $$
Changes the people and days of `track.course_presence` after a change of activity, given before and after the change.
Both contain all activity of these people on the days of the change.
$$;
--! EndIncluded track/presence/_change_presence.sql

--! Included track/properties/_refresh_all_properties.sql
create or replace function track._refresh_properties(most_people int)
returns int
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_declared track.declared_property;
  v_picked bigint[];
  v_property record;
begin
  -- One refresh at a time. Under the lock, each refresh before this one has not stored values of a new declaration, and
  -- each later one does, so that the people of the journeys are all who are missing.
  perform pg_advisory_xact_lock(hashtext('track.refresh'));
  -- A declaration may have been made at the same time as a merge of its event.
  if exists (select from track.declared_property as declared where not declared.is_queued) then
    perform track._copy_declarations();
  end if;
  for v_declared in select declared.* from track.declared_property as declared where not declared.is_queued loop
    update track.declared_property set is_queued = true where declared_property.property_id = v_declared.property_id;
    insert into track.stale_property (person_id, property_id)
    select distinct step.person_id, v_declared.property_id
    from track.step
    where step.event_type_id = v_declared.event_type_id;
  end loop;

  v_picked := array(
    select distinct stale_property.person_id
    from track.stale_property
    order by stale_property.person_id
    limit most_people
  );
  for v_property in
    with taken as (
      delete from track.stale_property
      where stale_property.person_id = any (v_picked)
      returning stale_property.property_id, stale_property.person_id
    )
    select taken.property_id, array_agg(taken.person_id) as people
    from taken
    group by taken.property_id
    order by taken.property_id
  loop
    perform track._refresh_values(
      '{}',
      v_property.people,
      array_fill('-infinity'::date, array[cardinality(v_property.people)]),
      array_fill('infinity'::date, array[cardinality(v_property.people)]),
      v_property.property_id
    );
  end loop;
  return cardinality(v_picked);
end;
$$;

comment on function track._refresh_properties(int) is $$
Stores the values of new declarations (`track.declare_property`) for at most `most_people` people.
Returns their number; 0 when nothing is left. Queues the people of declarations that are not queued yet.
$$;

create or replace function track._refresh_all_properties(most_people int)
returns track.refreshed
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_most int := most_people;
  v_people int;
  v_error text;
begin
  while v_most > 0 loop
    begin
      v_people := track._refresh_properties(v_most);
      return row('track.property', v_people, 0, null)::track.refreshed;
    exception
      -- An array of the values of many people may be too long.
      when data_exception or program_limit_exceeded then
        get stacked diagnostics v_error = message_text;
    end;
    v_most := v_most / 2;
  end loop;
  raise warning 'the values of declared properties cannot be stored: %', common.without_values(v_error);
  return row('track.property', 0, 1, common.without_values(v_error))::track.refreshed;
end;
$$;

comment on function track._refresh_all_properties(int) is $$
Stores the values of new declarations for at most `most_people` people; for fewer when their values are too many.
$$;
--! EndIncluded track/properties/_refresh_all_properties.sql

--! Included track/presence/_whole_activity.sql
create or replace function track._whole_activity(people bigint[])
returns setof track.activity
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  select stored.*
  from track.stored_activity(
    people,
    array_fill('-infinity'::date, array[cardinality(people)]),
    array_fill('infinity'::date, array[cardinality(people)])
  ) as stored;
end;
$$;

comment on function track._whole_activity(bigint[]) is $$
Returns all stored activity of people.
$$;
--! EndIncluded track/presence/_whole_activity.sql

--! Included track/functions/_refresh_sessions_of.sql
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
  delete from track.session
  using unnest(people, since, until) as period (person_id, since, until)
  where session.person_id = period.person_id
    and session.ended_at between period.since and period.until;

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
      row_number() over views_in_order as view_number,
      lead(started_at) over views_in_order as next_started_at,
      max(last_event_at) over (partition by person_id, session_number) as session_ended_at,
      -- In a session in which its client sent heartbeats, a view without heartbeats was left before the first one.
      bool_or(heartbeat_count > 0) over (
        partition by person_id, session_number, source_id, identity_id, view_key is not null
      ) as has_heartbeats
    from viewed
    window views_in_order as (
      partition by person_id, session_number
      order by event_id is null, started_at, event_id
    )
  ),

  measured as materialized (
    select
      judged.*,
      greatest(started_at, coalesce(last_heartbeat_at, last_sign_at)) as view_ended_at,
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

  -- As in the columns `view_…` of the session: null where the value is the usual one.
  encoded as (
    select
      measured.*,
      (extract(epoch from started_at - session_started_at) * 1000000)::bigint as view_start,
      case
        when is_view and view_ended_at <> coalesce(next_started_at, session_ended_at)
          then (extract(epoch from view_ended_at - session_started_at) * 1000000)::bigint
      end as view_end,
      case
        when engaged <> view_ended_at - started_at then (extract(epoch from engaged) * 1000000)::bigint
      end as view_engaged,
      case engaged_by when 'heartbeats' then heartbeat_count::int when 'nothing' then -1 end as view_heartbeats,
      case when attributed_key is not null then true end as view_continued
    from measured
  ),

  stored_session as (
    insert into track.session (
      person_id, session_id, started_at, ended_at, event_count, view_count, engaged, engaged_by, entry_item_id,
      exit_item_id, view_event_ids, view_item_ids, view_starts, view_ends, view_engaged, view_heartbeats,
      view_continued, view_keys
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
      (max(exit_item))[2],
      array_agg(event_id order by view_number) filter (where is_view),
      case
        when count(item_id) filter (where is_view) > 0
          then array_agg(item_id order by view_number) filter (where is_view)
      end,
      array_agg(view_start order by view_number) filter (where is_view),
      case when count(view_end) > 0 then array_agg(view_end order by view_number) filter (where is_view) end,
      case when count(view_engaged) > 0 then array_agg(view_engaged order by view_number) filter (where is_view) end,
      case
        when count(view_heartbeats) > 0 then array_agg(view_heartbeats order by view_number) filter (where is_view)
      end,
      case
        when count(view_continued) > 0 then array_agg(view_continued order by view_number) filter (where is_view)
      end,
      case when count(view_key) > 0 then array_agg(view_key order by view_number) filter (where is_view) end
    from encoded
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

  select
    (select count(*) from stored_session),
    (select count(*) from measured where is_view and session_number > 0)
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
    from track.session
    where session.person_id = any (people)
      and session.view_continued is not null
  ) then
    return;
  end if;

  with continued as materialized (
    select distinct
      page_view.person_id, page_view.session_id, page_view.view_number, page_view.event_id, page_view.item_id,
      page_view.view_key, page_view.started_at, page_view.ended_at, session.ended_at as session_ended_at
    from unnest(people, since, until) as period (person_id, since, until)
    join track.session
      on session.person_id = period.person_id
      and session.view_continued is not null
      and session.ended_at >= period.since
      and session.started_at <= period.until + v_setting.longest_view
    join track.page_view
      on page_view.person_id = session.person_id
      and page_view.session_id = session.session_id
      and page_view.is_continued
      and page_view.started_at >= period.since
      and page_view.started_at <= period.until + v_setting.longest_view
    where page_view.view_key is not null
  ),

  searched as (
    select
      person_id,
      unnest(range_agg(tstzrange(started_at - v_setting.longest_view, session_ended_at, '[]'))) as period
    from continued
    group by person_id
  ),

  -- The view that each one continues is the last opened one before it, in an order by the times at which an opened
  -- view counts for it.
  ordered as (
    select
      person_id, view_key, session_id, view_number, event_id, item_id, started_at, ended_at, session_ended_at as at,
      true as is_continued
    from continued

    union all

    select
      opened.person_id, opened.view_key, opened.session_id, opened.view_number, opened.event_id, opened.item_id,
      opened.started_at, opened.ended_at, opened.started_at, false
    from searched
    join track.session
      on session.person_id = searched.person_id
      and session.view_keys is not null
      and session.ended_at >= lower(searched.period)
      and session.started_at <= upper(searched.period)
    join track.page_view as opened
      on opened.person_id = session.person_id
      and opened.session_id = session.session_id
      and not opened.is_continued
    where opened.view_key is not null
  ),

  numbered as (
    select
      ordered.*,
      count(*) filter (where not is_continued) over (
        partition by person_id, view_key
        order by at, is_continued, event_id
        rows unbounded preceding
      ) as opened_number
    from ordered
  ),

  found as (
    select
      numbered.*,
      first_value(started_at) over opened as opened_at,
      first_value(item_id) over opened as opened_item_id,
      opened_number > 0 as is_opened
    from numbered
    window opened as (partition by person_id, view_key, opened_number order by is_continued)
  ),

  resolved as (
    select
      found.*,
      coalesce(
        case when is_opened and opened_at >= started_at - v_setting.longest_view then opened_item_id end,
        (
          select event.item_id
          from track.event
          where event.person_id = found.person_id
            and event.occurred_at between found.started_at and found.ended_at
            and event.event_id = found.event_id
        )
      ) as new_item_id
    from found
    where found.is_continued
  ),

  changed as materialized (
    select person_id, session_id, view_number, started_at, ended_at, new_item_id
    from resolved
    where item_id is distinct from new_item_id
  ),

  rewritten as (
    select
      page_view.person_id,
      page_view.session_id,
      array_agg(
        case when changed.view_number is null then page_view.item_id else changed.new_item_id end
        order by page_view.view_number
      ) as item_ids
    from (select distinct person_id, session_id from changed) as affected
    join track.page_view
      on page_view.person_id = affected.person_id
      and page_view.session_id = affected.session_id
    left join changed
      on changed.person_id = page_view.person_id
      and changed.session_id = page_view.session_id
      and changed.view_number = page_view.view_number
    group by page_view.person_id, page_view.session_id
  ),

  stored as (
    update track.session
    set view_item_ids = case when array_remove(rewritten.item_ids, null) <> '{}' then rewritten.item_ids end
    from rewritten
    where session.person_id = rewritten.person_id
      and session.session_id = rewritten.session_id
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
heartbeat. Reads only the sessions within this time after a period, and before the continued page views in them.
Returns the periods, with those of the changed page views.
$$;

/*
 * Sessions are separated by pauses longer than the time-out, so that a change affects only sessions within a time-out
 * of it. These are deleted and recomputed from their events; all others are kept. Periods of changes are widened by the
 * time-out, then to the sessions that they overlap, then merged, so that each session is in at most one period.
 */
create or replace function track._refresh_sessions_of(people bigint[])
returns track.refresh_result
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_setting track.setting;
  v_picked constant bigint[] := people;
  v_people bigint[];
  v_since timestamptz[];
  v_until timestamptz[];
  v_day_people bigint[];
  v_first_days date[];
  v_end_days date[];
  v_activity track.activity[];
  v_values track.value_activity[];
  v_has_values boolean;
  v_result track.refresh_result;
begin
  v_has_values := exists (select from track.declared_property as declared where declared.is_queued);
  select * into v_setting from track.setting;
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

  perform track._convert_page_views(v_picked);

  -- The whole days that may change, also those of continued page views.
  select array_agg(changed.person_id), array_agg(changed.first_day), array_agg(changed.end_day)
  into v_day_people, v_first_days, v_end_days
  from (
    select
      period.person_id,
      min((period.since at time zone 'UTC')::date) as first_day,
      max((
        period.until + case
          when exists (
            select
            from track.session
            where session.person_id = period.person_id
              and session.view_continued is not null
              and session.ended_at >= period.since
              and session.started_at <= period.until + v_setting.longest_view
          ) then v_setting.longest_view
          else interval '0'
        end
      ) at time zone 'UTC')::date + 1 as end_day
    from unnest(v_people, v_since, v_until) as period (person_id, since, until)
    group by period.person_id
  ) as changed;
  v_activity := array(select track.stored_activity(v_day_people, v_first_days, v_end_days));
  if v_has_values then
    v_values := array(select track.stored_values(v_day_people, v_first_days, v_end_days));
  end if;

  v_result := track._compute_sessions(v_people, v_since, v_until, v_setting);
  select continued.people, continued.since, continued.until
  into v_people, v_since, v_until
  from track._continue_views(v_people, v_since, v_until, v_setting) as continued;
  perform track._refresh_steps(v_day_people, v_first_days, v_end_days);
  perform track._refresh_presence(
    v_activity, array(select track.stored_activity(v_day_people, v_first_days, v_end_days))
  );
  if v_has_values then
    perform track._refresh_values(v_values, v_day_people, v_first_days, v_end_days);
  end if;
  perform track._enqueue('event', v_people, v_since, v_until);
  return v_result;
end;
$$;

comment on function track._refresh_sessions_of(bigint[]) is $$
Refreshes the data that is derived from the events of people, in the periods that are queued for them in `track.stale`.
The caller has locked the refresh.
$$;
--! EndIncluded track/functions/_refresh_sessions_of.sql

--! Included track/functions/_refresh_sessions.sql
create or replace function track._refresh_sessions(most_people int, without bigint[] default '{}')
returns track.refresh_result
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  -- One refresh at a time: two would compute the same sessions.
  perform pg_advisory_xact_lock(hashtext('track.refresh'));
  perform track._refresh_course_presence();
  -- An array, not a join, because the statistics of a queue are often out of date.
  return track._refresh_sessions_of(array(
    select distinct stale.person_id
    from track.stale
    where stale.person_id <> all (_refresh_sessions.without)
    order by stale.person_id
    limit _refresh_sessions.most_people
  ));
end;
$$;

comment on function track._refresh_sessions(int, bigint[]) is $$
Refreshes the data that is derived from the events of at most `most_people` people, in the order of their keys.
`without`: people who stay queued.
$$;
--! EndIncluded track/functions/_refresh_sessions.sql

--! Included track/functions/_refresh_people.sql
create or replace function track._refresh_people(
  refresh text,
  people bigint[],
  since timestamptz[],
  until timestamptz[],
  out failed bigint[],
  out error text
)
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_all constant bigint[] := array(select distinct person_id from unnest(people) as person_id order by person_id);
  v_middle constant bigint := v_all[cardinality(v_all) / 2];
  v_half record;
  v_rest record;
begin
  failed := '{}';
  begin
    execute format('select %I.%I($1, $2, $3)', split_part(refresh, '.', 1), split_part(refresh, '.', 2))
    using people, since, until;
    return;
  exception
    -- Errors that the data of one person may cause. Any other error ends the step; the next call tries again.
    when data_exception or integrity_constraint_violation or program_limit_exceeded then
      get stacked diagnostics error = message_text;
  end;
  if cardinality(v_all) = 1 then
    failed := v_all;
    return;
  end if;

  for v_half in
    select
      array_agg(period.person_id) as people,
      array_agg(period.since) as since,
      array_agg(period.until) as until
    from unnest(people, since, until) as period (person_id, since, until)
    group by period.person_id <= v_middle
  loop
    v_rest := track._refresh_people(refresh, v_half.people, v_half.since, v_half.until);
    failed := failed || v_rest.failed;
  end loop;
end;
$$;

comment on function track._refresh_people(text, bigint[], timestamptz[], timestamptz[]) is $$
Calls the refresh function of a consumer for the given periods of people.
When it fails because of the data, the people are halved repeatedly, until those that fail are isolated and the others
are refreshed.
$$;
--! EndIncluded track/functions/_refresh_people.sql

--! Included track/functions/refresh.sql
create or replace function track._refresh_consumer(consumer track.consumer, most_people int)
returns track.refreshed
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_name constant text := (consumer).consumer;
  v_picked bigint[];
  v_people bigint[];
  v_since timestamptz[];
  v_until timestamptz[];
  v_outcome record;
begin
  -- First without the lock: with an empty queue, the call does not wait and does not block other calls.
  if not exists (select from track.changed where changed.consumer = v_name) then
    return row(v_name, 0, 0, null)::track.refreshed;
  end if;

  -- One refresh at a time: two would write the same rows.
  perform pg_advisory_xact_lock(hashtext('track.refresh'));

  -- An array, not a join, because the statistics of a queue are often out of date.
  v_picked := array(
    select distinct changed.person_id
    from track.changed
    where changed.consumer = v_name
    order by changed.person_id
    limit most_people
  );
  if v_picked = '{}' then
    return row(v_name, 0, 0, null)::track.refreshed;
  end if;

  with taken as (
    delete from track.changed
    where changed.person_id = any (v_picked)
      and changed.consumer = v_name
    returning changed.person_id, changed.since, changed.until
  ),

  merged as (
    select taken.person_id, unnest(range_agg(tstzrange(taken.since, taken.until, '[]'))) as period
    from taken
    group by taken.person_id
  )

  select
    array_agg(merged.person_id order by merged.person_id, merged.period),
    array_agg(lower(merged.period) order by merged.person_id, merged.period),
    array_agg(upper(merged.period) order by merged.person_id, merged.period)
  into v_people, v_since, v_until
  from merged;

  v_outcome := track._refresh_people((consumer).refresh, v_people, v_since, v_until);

  if v_outcome.failed <> '{}' then
    insert into track.changed (person_id, consumer, since, until)
    select period.person_id, v_name, period.since, period.until
    from unnest(v_people, v_since, v_until) as period (person_id, since, until)
    where period.person_id = any (v_outcome.failed);
    raise warning '% failed for % of % people, such as %: %', (consumer).refresh,
      cardinality(v_outcome.failed), cardinality(v_picked), v_outcome.failed[1], common.without_values(v_outcome.error);
  end if;
  return row(
    v_name,
    cardinality(v_picked) - cardinality(v_outcome.failed),
    cardinality(v_outcome.failed),
    common.without_values(v_outcome.error)
  )::track.refreshed;
end;
$$;

comment on function track._refresh_consumer(track.consumer, int) is $$
Refreshes at most `most_people` of the people that are queued for a consumer. Those that fail are queued again.
$$;

create or replace function track._refresh_all_sessions(most_people int)
returns track.refreshed
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_most int := most_people;
  v_failed bigint[] := '{}';
  v_people int;
  v_error text;
begin
  loop
    begin
      v_people := (select sessions.people from track._refresh_sessions(v_most, v_failed) as sessions);
      exit;
    exception
      -- Errors that the data of one person, or those of many people together, may cause.
      when data_exception or integrity_constraint_violation or program_limit_exceeded then
        get stacked diagnostics v_error = message_text;
    end;
    v_most := least(
      v_most, (select count(distinct stale.person_id) from track.stale where stale.person_id <> all (v_failed))
    ) / 2;
    if v_most = 0 then
      v_failed := v_failed || (
        select min(stale.person_id) from track.stale where stale.person_id <> all (v_failed)
      );
      raise warning 'the sessions of person % cannot be refreshed: %', v_failed[cardinality(v_failed)],
        common.without_values(v_error);
      v_most := most_people;
    end if;
  end loop;
  return row(
    'track.session', v_people, cardinality(v_failed), case when v_failed <> '{}' then common.without_values(v_error) end
  )::track.refreshed;
end;
$$;

comment on function track._refresh_all_sessions(int) is $$
Refreshes the sessions of at most `most_people` people.
When that fails because of their data, their number is halved repeatedly, until one person is left who fails; she stays
queued, and the others are refreshed.
$$;

create or replace function track.refresh(most_people int default 2000, step text default null)
returns setof track.refreshed
language plpgsql
volatile
-- A definer: it reads the events of all people and writes derived tables, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_consumer track.consumer;
  v_refreshed track.refreshed;
  v_changed bigint;
  v_names constant text[] := array['track.name', 'track.session', 'track.property'] || array(
    select consumer.consumer from track.consumer order by consumer.position
  );
begin
  -- Also with an empty queue, so that a worker that is connected to a standby fails at its first call.
  if current_setting('transaction_read_only')::boolean then
    perform common.refuse('25006', 'cannot refresh in a read-only transaction');
  end if;
  perform common.check_count('most_people', refresh.most_people, 1, 2147483647);
  if refresh.step <> all (v_names) then
    perform common.refuse(
      'CF002',
      format('there is no step "%s"', left(refresh.step, 100)),
      coalesce(
        'Did you mean "' || common.nearest_name(refresh.step, v_names) || '"?',
        format('The steps are %s.', array_to_string(v_names, ', '))
      )
    );
  end if;

  -- Alone, because the next steps would only find a part of the events.
  if coalesce(refresh.step, 'track.name') = 'track.name' and exists (select from track.renamed_month) then
    v_changed := track._apply_names(least(refresh.most_people * 50::bigint, 100000), false);
    if v_changed > 0 then
      return next row('track.name', v_changed, 0, null)::track.refreshed;
      return;
    end if;
  end if;

  if coalesce(refresh.step, 'track.session') = 'track.session'
    and (exists (select from track.stale) or exists (select from track.stale_course))
  then
    v_refreshed := track._refresh_all_sessions(refresh.most_people);
    if v_refreshed.people + v_refreshed.failed > 0 then
      return next v_refreshed;
    end if;
  end if;

  if coalesce(refresh.step, 'track.property') = 'track.property'
    and (
      exists (select from track.stale_property)
      or exists (select from track.declared_property as declared where not declared.is_queued)
    )
  then
    v_refreshed := track._refresh_all_properties(refresh.most_people);
    if v_refreshed.people + v_refreshed.failed > 0 then
      return next v_refreshed;
    end if;
  end if;

  for v_consumer in
    select consumer.*
    from track.consumer
    where coalesce(refresh.step, consumer.consumer) = consumer.consumer
    order by consumer.position
  loop
    v_refreshed := track._refresh_consumer(v_consumer, refresh.most_people);
    if v_refreshed.people + v_refreshed.failed > 0 then
      return next v_refreshed;
    end if;
  end loop;
end;
$$;

comment on function track.refresh(int, text) is $$
Refreshes all data that is derived from changed data of people, for at most `most_people` people.
First the events whose names were changed (`track.name`: at most 50 for each of `most_people`, and 100,000; `people` is
the number of these events, and the call does no other step), then the sessions (`track.session`), the values of new
declared properties (`track.property`), and the consumers of `track.consumer` in their order; `step` restricts it to
one of these steps. Returns one row per step that processed people. Call it until no row has `people` above 0, each call
in its own transaction.
The cost is proportional to the changes; a call with an empty queue takes about a millisecond. People whose data makes
a refresh fail are reported and stay queued; the others are refreshed.
Errors: CF001 for an invalid `most_people`, CF002 for an unknown step.
$$;

grant execute on function track.refresh(int, text) to insights_admin, insights_worker;
--! EndIncluded track/functions/refresh.sql

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
  )
  and signed_in.person_id not in (
    select restricted.person_id
    from privacy.restricted(counted_people.people) as restricted (person_id)
  );
end;

comment on function track.counted_people(text, bigint[]) is $$
@behavior -*
Returns which of the given people count.
Those who have signed in, none of whose identities is excluded, and whose data is not restricted. The members of the
set `counted`; see `track.person_set` and `track.exclusion`.
$$;
--! EndIncluded track/person_sets/counted_people.sql

--! Included track/person_sets/excluded_people.sql
create or replace function track.excluded_people(set_name text, people bigint[])
returns setof bigint
language sql
stable
parallel safe
begin atomic
  select identity.person_id
  from track.identity
  join track.exclusion using (identity_id)
  where identity.person_id = any (excluded_people.people)

  union

  select restricted.person_id
  from privacy.restricted(excluded_people.people) as restricted (person_id)
  where restricted.person_id = any (excluded_people.people);
end;

comment on function track.excluded_people(text, bigint[]) is $$
@behavior -*
Returns which of the given people are excluded.
Those with an excluded identity (`track.exclude_person`), and those whose data is restricted
(`privacy.restrict_person`).
The members of the set `excluded`; see `track.person_set`.
$$;
--! EndIncluded track/person_sets/excluded_people.sql

--! Included track/trust/_raw_activity.sql
create or replace function track._raw_activity(
  first_person bigint,
  last_person bigint,
  first_day date,
  end_day date,
  items bigint[] default null
)
returns setof track.activity
language plpgsql
stable
set search_path to pg_catalog, pg_temp
-- The plan contains the partitions of these days only.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_since constant timestamptz := first_day::timestamp at time zone 'UTC';
  v_until constant timestamptz := end_day::timestamp at time zone 'UTC';
begin
  return query
  select
    event.person_id,
    (event.occurred_at at time zone 'UTC')::date,
    event.event_type_id,
    event.item_id,
    count(*)::int,
    interval '0',
    (count(*) filter (where event_type.is_automatic or source.is_automatic))::int
  from track.event
  join track.event_type on event_type.event_type_id = event.event_type_id
  join track.source on source.source_id = event.source_id
  where event.person_id between first_person and last_person
    and event.occurred_at >= v_since
    and event.occurred_at < v_until
    and (items is null or event.item_id = any (items))
  group by 1, 2, 3, 4

  union all

  select
    page_view.person_id, (page_view.started_at at time zone 'UTC')::date, 0, page_view.item_id, 0,
    sum(page_view.engaged), 0
  from track.session
  join track.page_view on page_view.person_id = session.person_id and page_view.session_id = session.session_id
  where session.person_id between first_person and last_person
    and session.ended_at >= v_since
    and session.started_at < v_until
    and page_view.started_at >= v_since
    and page_view.started_at < v_until
    and (items is null or session.view_item_ids && items and page_view.item_id = any (items))
  group by 1, 2, 4;
end;
$$;

comment on function track._raw_activity(bigint, bigint, date, date, bigint[]) is $$
Returns the activity of a range of people, computed from their events and page views, for `track.check_rollups`.
It shares no code with the refresh, so that an error of the refresh is found. `items`: only these; null: everything.
$$;

create or replace function track._unrefreshed_people(first_person bigint, last_person bigint)
returns bigint[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return array(
    select stale.person_id
    from track.stale
    where stale.person_id between first_person and last_person
    union
    select changed.person_id
    from track.changed
    where changed.consumer = 'track.person_set'
      and changed.person_id between first_person and last_person
  );
end;
$$;

comment on function track._unrefreshed_people(bigint, bigint) is $$
Returns the people of a range who are queued, for the sessions or for the sets of people.
$$;

create or replace function track._unrefreshed_activity(
  people bigint[],
  first_day date,
  end_day date
)
returns setof track.activity
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  select stored.*
  from track.stored_activity(
    people, array_fill(first_day, array[cardinality(people)]), array_fill(end_day, array[cardinality(people)])
  ) as stored;
end;
$$;

comment on function track._unrefreshed_activity(bigint[], date, date) is $$
Returns the activity of queued people that the rollups still contain, whose cells are not compared.
$$;

create or replace function track._rollup_people(first_person bigint, last_person bigint)
returns table (person_id bigint, is_excluded boolean, is_counted boolean)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  select
    identity.person_id,
    bool_or(exclusion.identity_id is not null or restricted.person_id is not null),
    bool_or(identity.kind = 'user')
    and not bool_or(exclusion.identity_id is not null or restricted.person_id is not null)
  from track.identity
  left join track.exclusion on exclusion.identity_id = identity.identity_id
  left join privacy.restricted() as restricted (person_id) on restricted.person_id = identity.person_id
  where identity.person_id between first_person and last_person
  group by identity.person_id;
end;
$$;

comment on function track._rollup_people(bigint, bigint) is $$
Returns whether people are excluded or counted, from their identities and restrictions and not from the stored sets.
$$;
--! EndIncluded track/trust/_raw_activity.sql

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
  perform track._lock_identities(array[v_identity_id]);
  return v_identity_id;
end;
$$;

comment on function track._identity_to_exclude(text) is $$
Returns the identity with a `userId`, or else the present one of a browser.
It is locked against moves to another person.
Errors: CF002 for an unknown name.
$$;
--! EndIncluded track/person_sets/_identity_to_exclude.sql

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
  v_renamed bigint[];
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
  where item.item_id = any (array(
    select unnest(array[known.item_id, known.merged_item_id])
    from jsonb_to_recordset(items) as given (external_id text)
    join track.item as known on known.external_id = given.external_id
  ))
  order by item.item_id
  for no key update;

  -- The application takes the place of the messages that named or described the items.
  delete from track.item_source
  using jsonb_to_recordset(items) as given (external_id text, title text, parent text, url text), track.item
  where item_source.item_id = item.item_id
    and (
      item.external_id = given.external_id
      and (
        item_source.attribute in ('name', 'kind')
        or item_source.attribute = 'title' and given.title is not null
        or item_source.attribute = 'url' and given.url is not null
        or item_source.attribute = 'parent' and given.parent is not null
      )
      or item.external_id = given.parent and item_source.attribute = 'name'
    );

  v_renamed := track._describe_names(
    array(
      select row(
        item.item_id, given.kind, given.title, parent.item_id, given.url, given.language, given.attributes,
        given.available_from, given.available_until, given.due_at
      )::track.named_item
      from jsonb_to_recordset(items) as given (
        external_id text, kind text, title text, parent text, url text, language text, attributes jsonb,
        available_from timestamptz, available_until timestamptz, due_at timestamptz
      )
      join track.item on item.external_id = given.external_id
      left join track.item as parent on parent.external_id = given.parent
    ),
    true
  );

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
      and not exists (select from track.named_item where named_item.item_id = item.item_id)
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
  ),
  written as (
    select changed.item_id from changed
    union
    select renamed.item_id from unnest(v_renamed) as renamed (item_id)
  )
  select
    count(*) filter (where item.item_id > _store_items.newest_known),
    count(*) filter (where item.item_id <= _store_items.newest_known and written.item_id is not null),
    count(*) filter (where item.item_id <= _store_items.newest_known and written.item_id is null)
  into v_result
  from given
  join track.item on item.external_id = given.external_id
  left join written on written.item_id = item.item_id;
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

--! Included track/functions/_without_suppressed.sql
create or replace function track._without_suppressed(named jsonb)
returns jsonb
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_erased text[];
begin
  if not exists (select from privacy.suppression) then
    return named;
  end if;
  v_erased := array(
    select suppressed.name
    from (
      select array_agg(distinct given.person) as people
      from jsonb_to_recordset(named) as given (person text)
    ) as listed
    cross join lateral privacy.suppressed(
      array_fill('user'::text, array[cardinality(listed.people)]), listed.people
    ) as suppressed
    where suppressed.lifted_at is null
  );
  if v_erased = '{}' then
    return named;
  end if;
  return (
    select coalesce(jsonb_agg(entry.value order by entry.ordinality), '[]')
    from jsonb_array_elements(named) with ordinality as entry
    where entry.value ->> 'person' <> all (v_erased)
  );
end;
$$;

comment on function track._without_suppressed(jsonb) is $$
Returns a list of objects without those whose `person` was erased (`privacy.suppression`).
$$;
--! EndIncluded track/functions/_without_suppressed.sql

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
  v_merged bigint[];
  v_identities bigint[];
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

  enrolments := track._without_suppressed(enrolments);
  perform track._enter_people(array_agg('user'::text), array_agg(named.person))
  from (select distinct enrolment.person from jsonb_to_recordset(enrolments) as enrolment (person text)) as named;

  insert into track.item (external_id, kind)
  select distinct enrolment.item, 'course'
  from jsonb_to_recordset(enrolments) as enrolment (item text)
  where not exists (select from track.item where item.external_id = enrolment.item)
  order by enrolment.item
  on conflict (external_id) do nothing;

  -- Blocks merges of these people until the end of the transaction.
  perform track._lock_identities(array(
    select identity.identity_id
    from track.identity
    where identity.kind = 'user'
      and identity.external_id = any (
        array(select distinct enrolment.person from jsonb_to_recordset(enrolments) as enrolment (person text))
      )
  ));

  -- As a rule, no item is merged. The enrolments of the names of those that are get their own items meanwhile.
  v_merged := array(
    select distinct member.item_id
    from track.item as member
    join track.item on coalesce(item.merged_item_id, item.item_id) in (member.item_id, member.merged_item_id)
    where (item.merged_item_id is not null or member.merged_item_id is not null)
      and item.external_id = any (
        array(select distinct enrolment.item from jsonb_to_recordset(enrolments) as enrolment (item text))
      )
  );
  if v_merged <> '{}' then
    v_identities := array(
      select identity.identity_id
      from track.identity
      where identity.kind = 'user'
        and identity.external_id = any (
          array(select distinct enrolment.person from jsonb_to_recordset(enrolments) as enrolment (person text))
        )
    );
    perform track._name_enrolments(v_merged, v_identities);
  end if;

  with stored as (
    insert into track.enrolment (person_id, item_id, identity_id, status, enrolled_at, ended_at)
    select
      identity.person_id, item.item_id, identity.identity_id,
      coalesce(enrolment.status, 'active'), enrolment.enrolled_at, enrolment.ended_at
    from jsonb_to_recordset(enrolments) as enrolment (
      person text, item text, enrolled_at timestamptz, status text, ended_at timestamptz
    )
    join track.identity on identity.external_id = enrolment.person and identity.kind = 'user'
    join track.item on item.external_id = enrolment.item
    on conflict (person_id, item_id, identity_id) do update
    set status = excluded.status, enrolled_at = excluded.enrolled_at, ended_at = excluded.ended_at
    where (enrolment.status, enrolment.enrolled_at, enrolment.ended_at)
      is distinct from (excluded.status, excluded.enrolled_at, excluded.ended_at)
    returning enrolment.person_id, xmax = 0 as is_new
  )
  select count(*) filter (where is_new), count(*) filter (where not is_new), array_agg(distinct person_id)
  into v_inserted, v_updated, v_touched
  from stored;
  if v_merged <> '{}' then
    perform track._merge_enrolments(v_merged, v_identities);
  end if;
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
Unknown people and items are added; rows of people who were erased (`privacy.suppression`) are left out. Of several rows
for one person and item, the latest `enrolled_at` applies. The call can be repeated: unchanged enrolments are not
written. Errors: CF002 for a missing column, CF001 for an invalid value.
$$;

grant execute on function track.sync_enrolments(regclass) to insights_admin, insights_worker;
--! EndIncluded track/functions/sync_enrolments.sql

--! Included track/instructors/sync_item_roles.sql
create or replace function track._store_item_roles(roles jsonb)
returns track.sync_result
language plpgsql
volatile
-- A definer: the caller reads its own table, and this writes track.item_role, which no role may write.
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
  v_ended int;
begin
  select given.* into v_bad
  from jsonb_to_recordset(roles) as given (person text, item text, role text)
  where coalesce(length(given.person), 0) not between 1 and 256
    or coalesce(length(given.item), 0) not between 1 and 512
    or coalesce(given.role, '') not in ('instructor', 'assistant', 'author')
  limit 1;

  if found then
    perform common.refuse(
      'CF001',
      format(
        'the role "%s" of "%s" in "%s" is invalid',
        coalesce(left(v_bad.role, 100), 'null'),
        left(v_bad.person, 100),
        left(v_bad.item, 100)
      ),
      'A role needs a person and an item; it is instructor, assistant or author.'
    );
  end if;

  select given.person into v_bad
  from jsonb_to_recordset(roles) as given (person text)
  where track._names_nobody(given.person)
  limit 1;

  if found then
    perform common.refuse('CF001', format('a role of "%s", which names nobody', left(v_bad.person, 100)),
      'Leave out rows without a person. Administrators keep the list track.placeholder_id.');
  end if;

  -- One call at a time: each ends the roles that its list does not contain.
  perform pg_advisory_xact_lock(hashtext('track.item_role'));

  roles := track._without_suppressed(roles);
  perform track._enter_people(array_agg('user'::text), array_agg(named.person))
  from (select distinct given.person from jsonb_to_recordset(roles) as given (person text)) as named
  having count(*) > 0;

  insert into track.item (external_id)
  select distinct given.item
  from jsonb_to_recordset(roles) as given (item text)
  where not exists (select from track.item where item.external_id = given.item)
  order by given.item
  on conflict (external_id) do nothing;

  -- Blocks merges of these people until the end of the transaction.
  perform track._lock_identities(array(
    select identity.identity_id
    from track.identity
    where identity.kind = 'user'
      and (
        identity.external_id = any (
          array(select distinct given.person from jsonb_to_recordset(roles) as given (person text))
        )
        or identity.identity_id = any (array(select distinct item_role.identity_id from track.item_role))
      )
  ));

  with given as materialized (
    select
      identity.person_id, item.item_id, given.role,
      coalesce(given.started_at, '-infinity') as started_at, max(coalesce(given.ended_at, 'infinity')) as ended_at,
      identity.identity_id
    from jsonb_to_recordset(roles) as given (
      person text, item text, role text, started_at timestamptz, ended_at timestamptz
    )
    join track.identity on identity.external_id = given.person and identity.kind = 'user'
    join track.item on item.external_id = given.item
    group by
      identity.person_id, identity.identity_id, item.item_id, given.role,
      coalesce(given.started_at, '-infinity')
  ),

  stored as (
    insert into track.item_role (person_id, item_id, role, started_at, ended_at, identity_id)
    select given.person_id, given.item_id, given.role, given.started_at, given.ended_at, given.identity_id
    from given
    on conflict (person_id, item_id, role, identity_id, started_at) do update
    set ended_at = excluded.ended_at
    where item_role.ended_at <> excluded.ended_at
    returning xmax = 0 as is_new
  ),

  ended as (
    update track.item_role
    set ended_at = now()
    where item_role.ended_at > now()
      and not exists (
        select
        from given
        where given.identity_id = item_role.identity_id
          and given.item_id = item_role.item_id
          and given.role = item_role.role
          and given.started_at = item_role.started_at
      )
    returning item_role.item_id
  )

  select
    (select count(*) from stored where is_new),
    (select count(*) from stored where not is_new),
    (select count(*) from ended)
  into v_inserted, v_updated, v_ended;

  return row(
    v_inserted,
    v_updated + v_ended,
    jsonb_array_length(roles) - v_inserted - v_updated
  )::track.sync_result;
exception
  when data_exception then
    perform common.refuse('CF001', format('a value of a role is invalid: %s', left(sqlerrm, 100)),
      'Give a view whose columns have the types of track.item_role, and texts for person and item.');
end;
$$;

comment on function track._store_item_roles(jsonb) is $$
@behavior -queryField -mutationField
Stores the complete list of `{person, item, role, …}`, as described for `track.sync_item_roles`.
$$;

grant execute on function track._store_item_roles(jsonb) to insights_admin, insights_worker;

create or replace function track.sync_item_roles(source regclass)
returns track.sync_result
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_columns text[];
  v_roles jsonb;
begin
  v_columns := track._columns(source, array['person', 'item', 'role'], array['started_at', 'ended_at']);

  -- The query runs as the caller, and passes its rows to a definer that takes values only.
  execute format(
    $query$
    select coalesce(jsonb_agg(jsonb_build_object(%s)), '[]')
    from (select distinct %s from %s) as role
    $query$,
    (select string_agg(format('%L, %I', name, name), ', ') from unnest(v_columns) as name),
    (select string_agg(format('%I', name), ', ') from unnest(v_columns) as name),
    source
  )
  into v_roles;
  return track._store_item_roles(v_roles);
end;
$$;

comment on function track.sync_item_roles(regclass) is $$
Reads who teaches, assists in or wrote an item from a table or view, with the privileges of the caller.
Required columns: `person` (`userId`), `item` (external id, usually of a course) and `role` (`instructor`, `assistant`
or `author`); optional: `started_at` and `ended_at`.
The relation is the complete list, one row per period: a period that it does not contain ends now, so that a person who
was removed in the application no longer sees the learners; it is counted as updated. Of several rows with one start,
the latest `ended_at` applies; null: no limit. Unknown people and items are added; rows of people who were erased
(`privacy.suppression`) are left out. The call can be repeated: unchanged roles are not written.
Errors: CF002 for a missing column, CF001 for an invalid value.
$$;

grant execute on function track.sync_item_roles(regclass) to insights_admin, insights_worker;
--! EndIncluded track/instructors/sync_item_roles.sql

--! Included track/functions/record_my_consents.sql
create or replace function track.record_my_consents(
  granted boolean,
  purposes text[] default null,
  document_version text default null
)
returns setof privacy.consent
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
  -- The decision may be the first request of a person, also of one who was erased.
  if v_person_id is null then
    if record_my_consents.granted then
      perform privacy.lift_suppression(array['user'], array[v_name], clock_timestamp());
    elsif exists (
      select
      from privacy.suppressed(array['user'], array[v_name]) as suppressed
      where suppressed.lifted_at is null
    ) then
      perform common.refuse('CF005', format('the data of "%s" was erased', left(v_name, 100)),
        'Nothing is stored under this name, so that there is nothing to refuse.');
    end if;
    perform track._enter_people(array['user'], array[v_name]);
    -- The rest of the transaction reads the rows of this person.
    v_person_id := track.sign_in();
  end if;
  return query
  select recorded.*
  from privacy.record_consents(
    v_person_id, record_my_consents.granted, record_my_consents.purposes, now(), record_my_consents.document_version,
    identity_id => (
      select identity.identity_id
      from track.identity
      where identity.external_id = v_name
        and identity.kind = 'user'
        and identity.person_id = v_person_id
    )
  ) as recorded;
end;
$$;

comment on function track.record_my_consents(boolean, text[], text) is $$
Records the same decision of the signed-in person about several purposes; null: all that she can decide about.
`record_my_consents(false)` withdraws everything, as easily as `record_my_consents(true)` grants it (GDPR article 7).
Errors: those of `track.record_my_consent`.
$$;

grant execute on function track.record_my_consents(boolean, text[], text) to insights_learner;
--! EndIncluded track/functions/record_my_consents.sql

--! Included track/functions/record_my_consent.sql
create or replace function track.record_my_consent(purpose text, granted boolean, document_version text default null)
returns privacy.consent
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  return recorded
  from track.record_my_consents(
    record_my_consent.granted, array[record_my_consent.purpose], record_my_consent.document_version
  ) as recorded;
end;
$$;

comment on function track.record_my_consent(text, boolean, text) is $$
Records a decision of the signed-in person about a purpose.
Withdrawing is as easy as granting (GDPR article 7). A person who was erased is stored again after a grant.
Errors: CF005 when no person is signed in, or for the refusal of a person who was erased, CF002 for an unknown
purpose, or for a version of its text that was not published.
$$;

grant execute on function track.record_my_consent(text, boolean, text) to insights_learner;
--! EndIncluded track/functions/record_my_consent.sql

--! Included track/erasure/subject_of.sql
create or replace function track.subject_of(person_id bigint)
returns privacy.subject
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_subject privacy.subject;
begin
  select
    subject_of.person_id,
    array_agg(identity.identity_id order by identity.identity_id),
    array_agg(identity.kind order by identity.identity_id),
    array_agg(identity.external_id order by identity.identity_id)
  into v_subject
  from track.identity
  where identity.person_id = subject_of.person_id
    and subject_of.person_id <> 0
  having count(*) > 0;
  return v_subject;
end;
$$;

comment on function track.subject_of(bigint) is $$
@behavior -*
Returns a person with all her identities, as the functions of `privacy.handler` take it.
Null when there is none, or when the caller may not read it.
$$;

grant execute on function track.subject_of(bigint)
to insights_reader, insights_learner, insights_admin, insights_worker;
--! EndIncluded track/erasure/subject_of.sql

--! Included track/erasure/subject.sql
create or replace function track.subject(person text)
returns privacy.subject
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_subject constant privacy.subject := track.subject_of(track.find_person(subject.person));
begin
  if v_subject.person_id is null then
    perform common.refuse(
      'CF002',
      format('there is no person "%s"', coalesce(left(subject.person, 100), 'null')),
      'Give the userId or anonymousId that was sent with events. A person who was erased has none any more.'
    );
  end if;
  return v_subject;
end;
$$;

comment on function track.subject(text) is $$
@behavior -*
Returns the person with a `userId` or `anonymousId`, with all her identities.
Errors: CF002 for an unknown name.
$$;

grant execute on function track.subject(text)
to insights_reader, insights_learner, insights_admin, insights_worker;
--! EndIncluded track/erasure/subject.sql

--! Included track/access/_export_identities.sql
create or replace function track._export_identities(subject privacy.subject)
returns setof privacy.exported
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return next privacy.exported_rows(
    'track.person',
    (
      select jsonb_agg(jsonb_build_object('created_at', person.created_at))
      from track.person
      where person.person_id = subject.person_id
    )
  );
  return next privacy.exported_rows(
    'track.identity',
    (
      select jsonb_agg(
        jsonb_build_object(
          'external_id', identity.external_id,
          'kind', identity.kind,
          'created_at', identity.created_at,
          'user_identity', subject.names[array_position(subject.identity_ids, identity.user_identity_id)],
          'browser', identity.browser
        )
        order by identity.identity_id
      )
      from track.identity
      where identity.person_id = subject.person_id
    )
  );
  return next privacy.exported_rows(
    'track.identity_link',
    (
      -- A link that was removed, or a claim without proof, can lead to a name of another person, which is left out.
      select jsonb_agg(
        jsonb_build_object(
          'identity', subject.names[array_position(subject.identity_ids, link.identity_id)],
          'linked_identity', subject.names[array_position(subject.identity_ids, link.linked_identity_id)],
          'kind', link.kind,
          'linked_at', link.linked_at,
          'unlinked_at', link.unlinked_at
        )
        order by link.linked_at, link.identity_id, link.linked_identity_id
      )
      from track.identity_link as link
      where link.identity_id = any (subject.identity_ids)
        or link.linked_identity_id = any (subject.identity_ids)
    )
  );
  return next privacy.exported_rows(
    'track.trait',
    (
      select jsonb_agg(
        jsonb_build_object(
          'name', trait.name,
          'value', trait.value,
          'set_at', trait.set_at,
          'identity', subject.names[array_position(subject.identity_ids, trait.identity_id)]
        )
        order by trait.name, trait.set_at, trait.identity_id
      )
      from track.trait
      where trait.person_id = subject.person_id
    )
  );
  return next privacy.exported_rows(
    'track.trait_history',
    (
      select jsonb_agg(
        jsonb_build_object(
          'name', history.name,
          'since', history.since,
          'set_at', to_jsonb(history.set_at),
          'value', to_jsonb(history.value),
          'repeated_at', to_jsonb(history.repeated_at),
          'identity', subject.names[array_position(subject.identity_ids, history.identity_id)]
        )
        order by history.name, history.since, history.identity_id
      )
      from track.trait_history as history
      where history.person_id = subject.person_id
    )
  );
end;
$$;

comment on function track._export_identities(privacy.subject) is $$
Returns the names and traits of a person, for `track.export`.
$$;
--! EndIncluded track/access/_export_identities.sql

--! Included track/access/_export_application.sql
create or replace function track._export_application(subject privacy.subject)
returns setof privacy.exported
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return next privacy.exported_rows(
    'track.enrolment',
    (
      select jsonb_agg(
        jsonb_build_object(
          'item', item.external_id,
          'item_title', item.title,
          'named_item', named_item.external_id,
          'status', enrolment.status,
          'enrolled_at', enrolment.enrolled_at,
          'ended_at', enrolment.ended_at,
          'identity', subject.names[array_position(subject.identity_ids, enrolment.identity_id)]
        )
        order by enrolment.enrolled_at, enrolment.item_id, enrolment.identity_id
      )
      from track.enrolment
      join track.item using (item_id)
      left join track.item as named_item on named_item.item_id = enrolment.named_item_id
      where enrolment.person_id = subject.person_id
    )
  );
  return next privacy.exported_rows(
    'track.item_role',
    (
      select jsonb_agg(
        jsonb_build_object(
          'item', item.external_id,
          'item_title', item.title,
          'role', item_role.role,
          'started_at', item_role.started_at,
          'ended_at', item_role.ended_at,
          'identity', subject.names[array_position(subject.identity_ids, item_role.identity_id)]
        )
        order by item_role.item_id, item_role.role, item_role.started_at, item_role.identity_id
      )
      from track.item_role
      join track.item using (item_id)
      where item_role.person_id = subject.person_id
    )
  );
  return next privacy.exported_rows(
    'track.person_set_block',
    (
      select jsonb_agg(
        jsonb_build_object('name', person_set.name, 'description', person_set.description)
        order by person_set.name
      )
      from track.person_set_block as stored
      join track.person_set using (name)
      where stored.block = subject.person_id / 4096
        and get_bit(stored.people, (subject.person_id % 4096)::int) = 1
    )
  );
  return next privacy.exported_rows(
    'track.person_set_member',
    (
      select jsonb_agg(
        jsonb_build_object(
          'name', member.name,
          'identity', subject.names[array_position(subject.identity_ids, member.identity_id)]
        )
        order by member.name, member.identity_id
      )
      from track.person_set_member as member
      where member.identity_id = any (subject.identity_ids)
    )
  );
  return next privacy.exported_rows(
    'track.exclusion',
    (
      select jsonb_agg(
        jsonb_build_object(
          'reason', exclusion.reason,
          'note', exclusion.note,
          'excluded_at', exclusion.excluded_at,
          'identity', subject.names[array_position(subject.identity_ids, exclusion.identity_id)]
        )
        order by exclusion.identity_id
      )
      from track.exclusion
      where exclusion.identity_id = any (subject.identity_ids)
    )
  );
  return next privacy.exported_rows(
    'track.item_source',
    (
      select jsonb_agg(
        jsonb_build_object(
          'item', item.external_id,
          'attribute', told.attribute,
          'value', case told.attribute
            when 'name' then item.external_id
            when 'kind' then coalesce(named.kind, item.kind)
            when 'title' then coalesce(named.title, item.title)
            when 'url' then coalesce(named.url, item.url)
            when 'parent' then parent.external_id
          end,
          'identity', subject.names[array_position(subject.identity_ids, told.identity_id)]
        )
        order by told.item_id, told.attribute
      )
      from track.item_source as told
      join track.item using (item_id)
      -- Of an item that was merged, its description under its own name.
      left join track.named_item as named using (item_id)
      left join track.item as parent
        on parent.item_id = case when named.item_id is not null then named.parent_item_id else item.parent_item_id end
      where told.identity_id = any (subject.identity_ids)
    )
  );
  return next privacy.exported_rows(
    'track.name_log',
    (
      select jsonb_agg(
        jsonb_build_object(
          'logged_at', entry.logged_at,
          'action', entry.action,
          'name', entry.name,
          'target', entry.target,
          'actor', entry.actor
        )
        order by entry.logged_at, entry.log_id
      )
      from track.name_log as entry
      where entry.actor = any (privacy.user_names(subject))
    )
  );
  return next privacy.exported_rows(
    'track.write_key_log',
    (
      select jsonb_agg(
        jsonb_build_object(
          'logged_at', entry.logged_at,
          'action', entry.action,
          'key_id', entry.key_id,
          'details', entry.details,
          'actor', entry.actor
        )
        order by entry.logged_at, entry.log_id
      )
      from track.write_key_log as entry
      where entry.actor = any (privacy.user_names(subject))
    )
  );
end;
$$;

comment on function track._export_application(privacy.subject) is $$
Returns what the application and its administrators store about a person, for `track.export`.
Enrolments, roles, sets, the exclusion from figures, items that she named first, and what she did as an administrator.
$$;
--! EndIncluded track/access/_export_application.sql

--! Included track/access/_export_events.sql
create or replace function track._export_events(subject privacy.subject)
returns setof privacy.exported
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return next privacy.exported_rows(
    'track.event',
    (
      select jsonb_agg(
        jsonb_build_object(
          'occurred_at', event.occurred_at,
          'event', event_type.name,
          'named_event', named_event.name,
          'item', item.external_id,
          'item_title', item.title,
          'named_item', named_item.external_id,
          'properties', event.properties,
          'client_at', event.client_at,
          'received_at', event.received_at,
          'source', source.name,
          'identity', subject.names[array_position(subject.identity_ids, event.identity_id)],
          'event_id', event.event_id
        )
        order by event.occurred_at, event.event_id
      )
      from track.event
      join track.event_type using (event_type_id)
      join track.source using (source_id)
      left join track.item using (item_id)
      left join track.event_type as named_event on named_event.event_type_id = event.named_event_type_id
      left join track.item as named_item on named_item.item_id = event.named_item_id
      where event.person_id = subject.person_id
    )
  );
  return next privacy.exported_rows(
    'track.session',
    (
      select jsonb_agg(
        jsonb_build_object(
          'session_id', session.session_id,
          'started_at', session.started_at,
          'ended_at', session.ended_at,
          'event_count', session.event_count,
          'view_count', session.view_count,
          'engaged', session.engaged,
          'engaged_by', session.engaged_by,
          'entry_item', entry_item.external_id,
          'exit_item', exit_item.external_id,
          'views', viewed.views
        )
        order by session.started_at, session.session_id
      )
      from track.session
      left join track.item as entry_item on entry_item.item_id = session.entry_item_id
      left join track.item as exit_item on exit_item.item_id = session.exit_item_id
      left join (
        select
          page_view.session_id,
          jsonb_agg(
            jsonb_build_object(
              'event_id', page_view.event_id,
              'item', item.external_id,
              'item_title', item.title,
              'started_at', page_view.started_at,
              'ended_at', page_view.ended_at,
              'engaged', page_view.engaged,
              'engaged_by', page_view.engaged_by,
              'heartbeat_count', page_view.heartbeat_count,
              'is_continued', page_view.is_continued,
              'view_key', page_view.view_key
            )
            order by page_view.view_number
          ) as views
        from track.page_view
        left join track.item using (item_id)
        where page_view.person_id = subject.person_id
        group by page_view.session_id
      ) as viewed using (session_id)
      where session.person_id = subject.person_id
    )
  );
  return next privacy.exported_rows(
    'track.automatic_period',
    (
      select jsonb_agg(jsonb_build_object('since', period.since, 'until', period.until))
      from track.automatic_period as period
      where period.person_id = subject.person_id
    )
  );
  return next privacy.exported_rows(
    'track.stale',
    (
      select jsonb_agg(jsonb_build_object('since', stale.since, 'until', stale.until) order by stale.since, stale.until)
      from track.stale
      where stale.person_id = subject.person_id
    )
  );
  return next privacy.exported_rows(
    'track.changed',
    (
      select jsonb_agg(
        jsonb_build_object('consumer', changed.consumer, 'since', changed.since, 'until', changed.until)
        order by changed.consumer, changed.since, changed.until
      )
      from track.changed
      where changed.person_id = subject.person_id
    )
  );
  return next privacy.exported_rows(
    'track.stale_property',
    (
      select jsonb_agg(
        jsonb_build_object('event', event_type.name, 'property', declared.property)
        order by event_type.name, declared.property
      )
      from track.stale_property
      join track.declared_property as declared using (property_id)
      join track.event_type using (event_type_id)
      where stale_property.person_id = subject.person_id
    )
  );
end;
$$;

comment on function track._export_events(privacy.subject) is $$
Returns the events and sessions of a person, and what is queued for her, for `track.export`.
$$;
--! EndIncluded track/access/_export_events.sql

--! Included track/access/_export_rollups.sql
create or replace function track._export_rollups(subject privacy.subject)
returns setof privacy.exported
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return next privacy.exported_rows(
    'track.step',
    (
      select jsonb_agg(
        jsonb_build_object(
          'event', event_type.name,
          'is_automatic', step.is_automatic,
          'since', step.since,
          'occurred_at', to_jsonb(step.occurred_at),
          'items', (
            select jsonb_agg(item.external_id order by listed.position)
            from unnest(step.item_ids) with ordinality as listed (item_id, position)
            left join track.item on item.item_id = listed.item_id
          )
        )
        order by event_type.name, step.since, step.is_automatic
      )
      from track.step
      join track.event_type using (event_type_id)
      where step.person_id = subject.person_id
    )
  );
  return next privacy.exported_rows(
    'track.step_value',
    (
      select jsonb_agg(
        jsonb_build_object(
          'event', event_type.name,
          'property', declared.property,
          'is_automatic', stored.is_automatic,
          'since', stored.since,
          'values', (
            select jsonb_agg(property_value.value order by listed.position)
            from unnest(stored.value_ids) with ordinality as listed (value_id, position)
            left join track.property_value on property_value.value_id = listed.value_id
          )
        )
        order by event_type.name, declared.property, stored.since, stored.is_automatic
      )
      from track.step_value as stored
      join track.declared_property as declared using (property_id)
      join track.event_type using (event_type_id)
      where stored.person_id = subject.person_id
    )
  );
  return next privacy.exported_rows(
    'track.presence',
    (
      select jsonb_agg(
        jsonb_build_object('event', by_type.event, 'days', by_type.days) order by by_type.event nulls first
      )
      from (
        -- Null: any event that is not automatic.
        select event_type.name as event, jsonb_agg(presence.day order by presence.day) as days
        from track.presence
        left join track.event_type using (event_type_id)
        where presence.block = subject.person_id / 4096
          and get_bit(presence.people, (subject.person_id % 4096)::int) = 1
        group by event_type.name
      ) as by_type
    )
  );
  return next privacy.exported_rows(
    'track.value_presence',
    (
      select jsonb_agg(
        jsonb_build_object(
          'event', by_value.event, 'property', by_value.property, 'value', by_value.value, 'days', by_value.days
        )
        order by by_value.event, by_value.property, by_value.value
      )
      from (
        select
          event_type.name as event, declared.property, property_value.value,
          jsonb_agg(present.day order by present.day) as days
        from track.value_presence as present
        join track.declared_property as declared using (property_id)
        join track.event_type using (event_type_id)
        left join track.property_value using (value_id)
        where present.part = subject.person_id / 16384
          and get_bit(present.people, (subject.person_id % 16384)::int) = 1
        group by event_type.name, declared.property, property_value.value
      ) as by_value
    )
  );
  return next privacy.exported_rows(
    'track.item_month',
    (
      select jsonb_agg(
        jsonb_build_object(
          'item', item.external_id,
          'month', used.month,
          'days', track._days_of_bits(used.days[array_position(used.people, (subject.person_id % 32768)::smallint)])
        )
        order by used.month, item.external_id
      )
      from track.item_month as used
      join track.item using (item_id)
      where used.part = subject.person_id / 32768
        and (subject.person_id % 32768)::smallint = any (used.people)
    )
  );
  return next privacy.exported_rows(
    'track.course_presence',
    (
      select jsonb_agg(
        jsonb_build_object(
          'item', item.external_id,
          'month', used.month,
          'days', track._days_of_bits(used.days[array_position(used.members, (subject.person_id % 4096)::smallint)])
        )
        order by used.month, item.external_id
      )
      from track.course_presence as used
      join track.item using (item_id)
      where used.block = subject.person_id / 4096
        and get_bit(used.people, (subject.person_id % 4096)::int) = 1
    )
  );
end;
$$;

comment on function track._export_rollups(privacy.subject) is $$
Returns what is derived from the events of a person, with days and names in place of bits, for `track.export`.
$$;

create or replace function track._days_of_bits(days int)
returns jsonb
language sql
stable
parallel safe
begin atomic
  select coalesce(jsonb_agg(day order by day) filter (where days & (1 << (day - 1)) <> 0), '[]')
  from generate_series(1, 31) as day;
end;

comment on function track._days_of_bits(int) is $$
Returns the days of the month of a number of `track.item_month.days` as a list.
$$;
--! EndIncluded track/access/_export_rollups.sql

--! Included track/access/export.sql
create or replace function track.export(subject privacy.subject)
returns setof privacy.exported
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return query select * from track._export_identities(subject);
  return query select * from track._export_application(subject);
  return query select * from track._export_events(subject);
  return query select * from track._export_rollups(subject);
end;
$$;

comment on function track.export(privacy.subject) is $$
@behavior -*
Returns the identities, traits, events, sessions, enrolments, sets and rollups of a person, for `privacy.export_person`.
$$;
--! EndIncluded track/access/export.sql

--! Included track/erasure/_erase_names.sql
/*
 * Names of items and event types may be personal, such as the path of a page that only one person has. Items and types
 * that messages have named are deleted with the last person who used them. A batch that is being stored may name one of
 * them: therefore an erasure with such candidates waits for the running batches before it locks the people, and later
 * batches wait for it.
 */
create or replace function track._has_names_of_its_own(subject privacy.subject)
returns boolean
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return exists (
    select
    from track.item_source
    join (
      select unnest(step.item_ids)::bigint as item_id
      from track.step
      where step.person_id = any (subject.identity_ids)
      union
      select event.item_id
      from track.stale
      join track.event
        on event.person_id = stale.person_id
        and event.occurred_at between stale.since and stale.until
      where stale.person_id = any (subject.identity_ids)
      union
      select named.item_id
      from track.item_source as named
      where named.identity_id = any (subject.identity_ids)
    ) as used on used.item_id = item_source.item_id
    where item_source.attribute = 'name'
      and not exists (
        select
        from track.item_month
        where item_month.item_id = item_source.item_id
          -- Of at least two people, one is another one, but for what was sent without proof.
          and (
            cardinality(item_month.people) > cardinality(subject.identity_ids)
            or exists (
              select
              from unnest(item_month.people) as entry (person)
              where item_month.part * 32768::bigint + entry.person <> all (subject.identity_ids)
            )
          )
      )
  ) or exists (
    select
    from (
      select step.event_type_id
      from track.step
      where step.person_id = any (subject.identity_ids)
      union
      select event.event_type_id
      from track.stale
      join track.event
        on event.person_id = stale.person_id
        and event.occurred_at between stale.since and stale.until
      where stale.person_id = any (subject.identity_ids)
    ) as used
    where not exists (
      select
      from track.step
      where step.event_type_id = used.event_type_id
        and step.person_id <> all (subject.identity_ids)
    )
  );
end;
$$;

comment on function track._has_names_of_its_own(privacy.subject) is $$
Returns whether a person may have used an item or an event type that messages have named, and that nobody else uses.
$$;

create or replace function track._other_use(
  items bigint[],
  event_types int[],
  out used_items bigint[],
  out used_types int[]
)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  -- Refreshed events of people, those without a person, and those that are not refreshed.
  used_items := array(
    select item_month.item_id
    from track.item_month
    where item_month.item_id = any (_other_use.items)
    union
    select item_day.item_id
    from track.item_day
    where item_day.item_id = any (_other_use.items)
    union
    select unnest(step.item_ids)::bigint
    from track.step
    where step.person_id = 0
      and step.item_ids && _other_use.items::int[]
    union
    select unnest(array[event.item_id, event.named_item_id])
    from track.stale
    join track.event
      on event.person_id = stale.person_id
      and event.occurred_at between stale.since and stale.until
    where event.item_id = any (_other_use.items)
      or event.named_item_id = any (_other_use.items)
    union
    select enrolment.named_item_id
    from track.enrolment
    where enrolment.named_item_id = any (_other_use.items)
  );
  used_types := array(
    select entry.event_type_id
    from unnest(_other_use.event_types) as entry (event_type_id)
    where exists (select from track.step where step.event_type_id = entry.event_type_id)
      or exists (
        select
        from track.stale
        join track.event
          on event.person_id = stale.person_id
          and event.occurred_at between stale.since and stale.until
        where entry.event_type_id in (event.event_type_id, event.named_event_type_id)
      )
  );
end;
$$;

comment on function track._other_use(bigint[], int[]) is $$
Returns which of the given items and event types have events or enrolments.
$$;

create or replace function track._erase_items(items bigint[])
returns bigint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_item_id bigint;
  v_deleted bigint := 0;
begin
  -- One by one, children first: an item that something else refers to is kept, such as the parent of another one.
  for v_item_id in
    select item.item_id
    from track.item
    join track.item_source on item_source.item_id = item.item_id and item_source.attribute = 'name'
    where item.item_id = any (_erase_items.items)
    order by
      (select max(ancestor.depth) from track.item_ancestor as ancestor where ancestor.item_id = item.item_id) desc,
      item.item_id
  loop
    begin
      delete from track.item_ancestor where item_ancestor.item_id = v_item_id;
      delete from track.stale_course where stale_course.item_id = v_item_id;
      delete from track.item where item.item_id = v_item_id;
      v_deleted := v_deleted + 1;
    exception
      when foreign_key_violation then null;
    end;
  end loop;
  return v_deleted;
end;
$$;

comment on function track._erase_items(bigint[]) is $$
Deletes items that only messages have named, unless something refers to them. Returns their number.
$$;

create or replace function track._erase_event_types(event_types int[])
returns bigint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_type_id int;
  v_deleted bigint := 0;
begin
  for v_type_id in
    select event_type.event_type_id
    from track.event_type
    where event_type.event_type_id = any (_erase_event_types.event_types)
      -- As messages enter them, so that the next message with the name enters the same.
      and event_type.description is null
      and event_type.purpose = 'analytics'
      and not (event_type.opens_view or event_type.is_heartbeat or event_type.is_automatic)
      and num_nonnulls(
        event_type.merged_event_type_id, event_type.target_event_type_id, event_type.former_event_type_id
      ) = 0
    order by event_type.event_type_id
  loop
    begin
      delete from track.event_type where event_type.event_type_id = v_type_id;
      v_deleted := v_deleted + 1;
    exception
      when foreign_key_violation then null;
    end;
  end loop;
  return v_deleted;
end;
$$;

comment on function track._erase_event_types(int[]) is $$
Deletes event types that only messages have named, unless something refers to them. Returns their number.
$$;

create or replace function track._told_by_others(item_id bigint, attributes text[])
returns table (attribute text, said text, identity_id bigint)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_most int;
begin
  -- As a rule, the first few people tell the same.
  foreach v_most in array array[20, 1000] loop
    return query
    select distinct on (told.attribute) told.attribute, told.said, event.identity_id
    from (
      select used.person_id, used.since, used.until
      from (
        select
          item_month.part * 32768::bigint + entry.person as person_id,
          item_month.month::timestamp at time zone 'UTC' as since,
          (item_month.month + interval '1 month')::timestamp at time zone 'UTC' as until
        from track.item_month
        cross join lateral unnest(item_month.people) as entry (person)
        where item_month.item_id = _told_by_others.item_id
        order by item_month.month, item_month.part, entry.person
        limit v_most
      ) as used
      union all
      (
        select stale.person_id, stale.since, stale.until
        from track.stale
        limit v_most
      )
    ) as period
    join track.event
      on event.person_id = period.person_id
      and event.occurred_at >= period.since
      and event.occurred_at <= period.until
      and event.item_id = _told_by_others.item_id
    join track.source on source.source_id = event.source_id
    join track.event_type on event_type.event_type_id = event.event_type_id
    cross join lateral (
      values (
        case event_type.name when 'Page Viewed' then 'page' when 'Screen Viewed' then 'screen' else 'track' end,
        source.level = 'server'
      )
    ) as message (type, is_trusted)
    cross join lateral (
      values
        ('kind', track._item_kind(message.type, event.properties, event.properties ->> 'path', message.is_trusted)),
        (
          'title',
          case
            when message.is_trusted
              then coalesce(
                event.properties ->> 'itemTitle', case message.type when 'page' then event.properties ->> 'title' end
              )
          end
        ),
        ('url', case when message.is_trusted and message.type = 'page' then event.properties ->> 'url' end),
        (
          'parent',
          case
            when message.is_trusted
              then (
                select parent.item_id::text
                from track.item as parent
                where parent.external_id = nullif(event.properties ->> 'parent', '')
                  and parent.item_id <> _told_by_others.item_id
              )
          end
        )
    ) as told (attribute, said)
    where told.attribute = any (_told_by_others.attributes)
      and told.said is not null
    order by told.attribute, event.received_at, event.occurred_at, event.event_id;
    exit when found;
  end loop;
end;
$$;

comment on function track._told_by_others(bigint, text[]) is $$
Returns attributes of an item as the earliest stored events of others tell them, and the identities of these events.
Reads the events of the first 20 people with the item, or when they tell nothing those of the first 1,000, and as many
people that are queued for the refresh.
$$;

create or replace function track._erase_descriptions(identities bigint[])
returns bigint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_cleared bigint;
begin
  with own as materialized (
    select source.item_id, array_agg(source.attribute) as attributes
    from track.item_source as source
    where source.identity_id = any (_erase_descriptions.identities)
      and source.attribute <> 'name'
    group by source.item_id
  ),

  told as materialized (
    select own.item_id, entry.attribute, other.said, other.identity_id
    from own
    cross join lateral unnest(own.attributes) as entry (attribute)
    left join lateral track._told_by_others(own.item_id, own.attributes) as other
      on other.attribute = entry.attribute
  ),

  by_item as (
    select
      told.item_id,
      bool_or(told.attribute = 'kind') as has_kind, max(told.said) filter (where told.attribute = 'kind') as kind,
      bool_or(told.attribute = 'title') as has_title, max(told.said) filter (where told.attribute = 'title') as title,
      bool_or(told.attribute = 'url') as has_url, max(told.said) filter (where told.attribute = 'url') as url,
      bool_or(told.attribute = 'parent') as has_parent,
      max(told.said) filter (where told.attribute = 'parent') as parent
    from told
    group by told.item_id
  ),

  changed as (
    update track.item
    set
      kind = case when by_item.has_kind then coalesce(by_item.kind, 'unknown') else item.kind end,
      title = case when by_item.has_title then by_item.title else item.title end,
      url = case when by_item.has_url then by_item.url else item.url end,
      parent_item_id = case when by_item.has_parent then by_item.parent::bigint else item.parent_item_id end
    from by_item
    where item.item_id = by_item.item_id
      and not exists (select from track.named_item where named_item.item_id = item.item_id)
    returning item.item_id
  ),

  deleted as (
    delete from track.item_source
    using told
    where item_source.item_id = told.item_id
      and item_source.attribute = told.attribute
      and told.identity_id is null
  ),

  renamed as (
    update track.item_source
    set identity_id = told.identity_id
    from told
    where item_source.item_id = told.item_id
      and item_source.attribute = told.attribute
      and told.identity_id is not null
  )

  select count(*) into v_cleared
  from changed;

  -- The item is used by others, or named by the application.
  update track.item_source
  set identity_id = 0
  where item_source.identity_id = any (_erase_descriptions.identities)
    and item_source.attribute = 'name';
  return v_cleared;
end;
$$;

comment on function track._erase_descriptions(bigint[]) is $$
Replaces the attributes that identities gave to items by what others told, or else removes them.
Returns the number of items. The derived data of courses follows with the next refresh, as with each change of an item.
$$;
--! EndIncluded track/erasure/_erase_names.sql

--! Included track/erasure/lock_subject.sql
create or replace function track._with_claims(subject privacy.subject)
returns privacy.subject
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_subject privacy.subject := subject;
begin
  -- They are never linked, and each is a person of its own. Those of a browser that others use may be theirs.
  select
    subject.identity_ids || array_agg(claimed.identity_id order by claimed.identity_id),
    subject.kinds || array_agg(claimed.kind order by claimed.identity_id),
    subject.names || array_agg(claimed.external_id order by claimed.identity_id)
  into v_subject.identity_ids, v_subject.kinds, v_subject.names
  from track.identity as claimed
  where claimed.kind = 'unverified'
    and claimed.external_id in (
      select entry.name
      from unnest(subject.kinds, subject.names) as entry (kind, name)
      where entry.kind = 'anonymous'
    )
    and not exists (
      select
      from track.identity as sibling
      where sibling.external_id = claimed.external_id
        and sibling.kind = 'anonymous'
        and sibling.identity_id <> all (subject.identity_ids)
    )
  having count(*) > 0;
  return case when v_subject.identity_ids is null then subject else v_subject end;
end;
$$;

comment on function track._with_claims(privacy.subject) is $$
Adds the messages without proof under the names of the browsers of a person (the kind `unverified`).
They are nobody else's, and nobody could name it after an erasure.
$$;

create or replace function track._settle(identity_ids bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_near bigint[];
  v_queued bigint[];
  v_outcome record;
  v_consumer track.consumer;
begin
  -- Courses that are queued are left out by the refresh of a person.
  perform track._refresh_course_presence();

  -- The keys that the people have, and those that they had: the key of a person is that of one of her identities.
  v_near := array(
    select distinct entry.person_id
    from (
      select unnest(_settle.identity_ids) as identity_id
      union
      select unnest(array[link.identity_id, link.linked_identity_id])
      from track.identity_link as link
      where link.identity_id = any (_settle.identity_ids)
        or link.linked_identity_id = any (_settle.identity_ids)
    ) as linked
    join track.identity as one on one.identity_id = linked.identity_id
    join track.identity as other on other.person_id = one.person_id
    cross join lateral (values (other.identity_id), (other.person_id)) as entry (person_id)
    where entry.person_id <> 0
  );
  begin
    perform track._refresh_sessions_of(array(
      select distinct stale.person_id from track.stale where stale.person_id = any (v_near)
    ));
  exception
    -- As with track.refresh: the data of one person makes it fail. Her erasure removes it; others stay queued.
    when data_exception or integrity_constraint_violation or program_limit_exceeded then null;
  end;
  for v_consumer in
    select consumer.*
    from track.consumer
    order by consumer.position
  loop
    with taken as (
      delete from track.changed
      where changed.person_id = any (v_near)
        and changed.consumer = v_consumer.consumer
      returning changed.person_id
    )
    select array_agg(distinct taken.person_id) into v_queued
    from taken;
    continue when v_queued is null;
    v_outcome := track._refresh_people(
      v_consumer.refresh, v_queued,
      array_fill('-infinity'::timestamptz, array[cardinality(v_queued)]),
      array_fill('infinity'::timestamptz, array[cardinality(v_queued)])
    );
    insert into track.changed (person_id, consumer, since, until)
    select failed.person_id, v_consumer.consumer, '-infinity', 'infinity'
    from unnest(v_outcome.failed) as failed (person_id);
  end loop;
end;
$$;

comment on function track._settle(bigint[]) is $$
Refreshes what is queued for the people of identities, and for those they were linked to at some time.
Merges and splits move derived data with the next refresh: afterwards nobody's derived data contains that of another.
The caller has locked the refresh, the people and the identities.
$$;

create or replace function track._subject_named(person text, person_id bigint)
returns privacy.subject
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_subject privacy.subject;
begin
  if _subject_named.person is not null then
    return track.subject(_subject_named.person);
  end if;
  v_subject := track.subject_of(_subject_named.person_id);
  if v_subject.person_id is null then
    perform common.refuse('CF002', format('there is no person %s', coalesce(_subject_named.person_id::text, 'null')),
      'The person was erased, or merged into another one.');
  end if;
  return v_subject;
end;
$$;

comment on function track._subject_named(text, bigint) is $$
Returns the person of a name, or else the one with a key. Errors: CF002 when there is none.
$$;

/*
 * The locks are taken in the order of the other transactions: the refresh first, because it reads and writes the same
 * derived rows, then the people, then their identities (see track._lock_people).
 */
create or replace function track.lock_subject(person text, person_id bigint default null)
returns privacy.subject
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_subject privacy.subject;
  v_all bigint[];
begin
  if current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
    perform common.refuse(
      '25001',
      format('nobody can be erased in a transaction of the level %s', current_setting('transaction_isolation')),
      'Use read committed: the call must see the data that others have stored until it has its locks.'
    );
  end if;
  v_subject := track._with_claims(track._subject_named(lock_subject.person, lock_subject.person_id));
  perform pg_advisory_xact_lock(hashtext('track.refresh'));
  -- Not before the refresh has ended, which can take minutes: while this waits, no batch is stored.
  if track._has_names_of_its_own(v_subject) then
    perform pg_advisory_xact_lock(hashtext('track.ingest'));
  end if;
  loop
    perform track._lock_people(v_subject.identity_ids);
    v_all := v_subject.identity_ids;
    v_subject := track._with_claims(track._subject_named(lock_subject.person, lock_subject.person_id));
    -- Otherwise the name was moved to another person before the lock.
    exit when v_subject.identity_ids <@ v_all;
  end loop;

  -- Waits for transactions that have stored data for these people; later ones wait here, and then find no identity.
  v_all := track._with_siblings(v_subject.identity_ids);
  perform identity.identity_id
  from track.identity
  where identity.identity_id = any (v_all)
  order by identity.identity_id
  for update;
  perform track._settle(v_all);
  return v_subject;
end;
$$;

comment on function track.lock_subject(text, bigint) is $$
@behavior -*
Returns the person of a name, or else of a key, and locks her.
Until the transaction ends, no other one stores her data, moves her identities, or refreshes what is derived from them.
Includes messages without proof under the names of her browsers. Refreshes what is queued for her and for people she was
linked to.
Errors: CF002 for an unknown name, 25001 in a transaction of another level than read committed.
$$;
--! EndIncluded track/erasure/lock_subject.sql

--! Included track/erasure/returned_people.sql
create or replace function track.returned_people()
returns setof bigint
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_kinds text[];
  v_names text[];
begin
  -- In parts: a list of names has at most 10,000.
  for v_kinds, v_names in
    select array_agg(part.kind), array_agg(part.external_id)
    from (
      select
        identity.kind, identity.external_id, (row_number() over (order by identity.identity_id) - 1) / 10000 as number
      from track.identity
      where identity.kind in ('user', 'anonymous', 'unverified')
    ) as part
    group by part.number
  loop
    return query
    select distinct identity.person_id
    from privacy.suppressed(v_kinds, v_names) as suppressed
    join track.identity on identity.external_id = suppressed.name and identity.kind = suppressed.kind
    where suppressed.lifted_at is null
      or identity.created_at < suppressed.since;
  end loop;
end;
$$;

comment on function track.returned_people() is $$
@behavior -*
Returns the people with a name that was erased after the name was stored, or that is suppressed.
There are none but after the restore of a backup from before an erasure. Hashes the names of all identities.
$$;
--! EndIncluded track/erasure/returned_people.sql

--! Included track/erasure/unshared_names.sql
create or replace function track.unshared_names(subject privacy.subject)
returns privacy.subject
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_subject privacy.subject := subject;
begin
  -- A browser that others have used is theirs, too.
  select array_agg(named.kind), array_agg(named.name)
  into v_subject.kinds, v_subject.names
  from (
    select distinct entry.kind, entry.name
    from unnest(subject.kinds, subject.names) as entry (kind, name)
    where not exists (
      select
      from track.identity
      where identity.external_id = entry.name
        and identity.kind = entry.kind
    )
  ) as named;
  return v_subject;
end;
$$;

comment on function track.unshared_names(privacy.subject) is $$
@behavior -*
Returns a person who was erased, with those of her names that nobody else has.
$$;
--! EndIncluded track/erasure/unshared_names.sql

--! Included track/erasure/hold_subject.sql
create or replace function track.hold_subject(person text)
returns privacy.subject
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_subject privacy.subject := track.subject(hold_subject.person);
  v_held bigint[];
begin
  for v_attempt in 1 .. 100 loop
    perform track._lock_identities(v_subject.identity_ids);
    v_held := v_subject.identity_ids;
    v_subject := track.subject(hold_subject.person);
    -- Otherwise the person was merged or split before the lock.
    if v_subject.identity_ids <@ v_held then
      return v_subject;
    end if;
  end loop;
  perform common.refuse(
    'serialization_failure', 'the identities were moved to other people concurrently', 'Try again.'
  );
end;
$$;

comment on function track.hold_subject(text) is $$
@behavior -*
Returns the same as `track.subject`, and holds the person.
Until the transaction ends, no other one merges, splits or erases her. Her messages are stored meanwhile. Errors:
CF002 for an unknown name.
$$;
--! EndIncluded track/erasure/hold_subject.sql

--! Included track/functions/rectify.sql
create or replace function track._rectify_traits(subject privacy.subject, traits jsonb)
returns setof privacy.erased
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_wrong text;
  v_owner constant bigint := (
    select entry.identity_id
    from unnest(subject.identity_ids, subject.kinds) as entry (identity_id, kind)
    order by entry.kind = 'user' desc, entry.identity_id
    limit 1
  );
  v_identities bigint[];
  v_names text[];
  v_times timestamptz[];
  v_values jsonb[];
  v_rows bigint;
  v_added bigint;
begin
  if jsonb_typeof(traits) <> 'object' then
    perform common.refuse('CF001', format('"traits" is a JSON %s', jsonb_typeof(traits)),
      'Give an object, such as {"plan": "pro", "city": null}; null deletes a trait.');
  end if;
  select entry.key into v_wrong
  from jsonb_each(traits) as entry
  where length(entry.key) not between 1 and 100
    or octet_length(entry.value::text) > 32768
  limit 1;
  if found then
    perform common.refuse('CF008', format('the trait "%s" is too long', left(v_wrong, 100)),
      'A name has 1 to 100 characters, a value at most 32768 bytes.');
  end if;

  -- The correct value applies from the first time on at which the trait was sent.
  select
    array_agg(said.identity_id), array_agg(said.name), array_agg(said.set_at), array_agg(said.value)
  into v_identities, v_names, v_times, v_values
  from (
    select known.identity_id, known.name, min(known.set_at) as set_at, traits -> known.name as value
    from (
      select trait.identity_id, trait.name, trait.set_at
      from track.trait
      where trait.person_id = subject.person_id
        and traits ? trait.name
      union all
      select history.identity_id, history.name, history.set_at[1]
      from track.trait_history as history
      where history.person_id = subject.person_id
        and traits ? history.name
    ) as known
    group by known.identity_id, known.name

    union all

    select v_owner, new.key, clock_timestamp(), new.value
    from jsonb_each(traits) as new
    where not exists (
        select from track.trait where trait.person_id = subject.person_id and trait.name = new.key
      )
      and not exists (
        select from track.trait_history as history
        where history.person_id = subject.person_id
          and history.name = new.key
      )
  ) as said
  where said.value <> 'null'
  having count(*) > 0;

  delete from track.trait_history as history
  where history.person_id = subject.person_id
    and traits ? history.name;
  get diagnostics v_rows = row_count;
  return next row('track.trait_history', v_rows, 'cleared')::privacy.erased;
  perform track._store_trait_history(
    array_fill(subject.person_id, array[cardinality(v_identities)]), v_identities, v_names, v_times, v_values
  )
  where v_identities is not null;

  delete from track.trait
  where trait.person_id = subject.person_id
    and traits -> trait.name = 'null';
  get diagnostics v_rows = row_count;
  return next row('track.trait', v_rows, 'deleted')::privacy.erased;
  update track.trait
  set value = traits -> trait.name
  where trait.person_id = subject.person_id
    and traits ? trait.name;
  get diagnostics v_rows = row_count;
  insert into track.trait (person_id, identity_id, name, value, set_at)
  select subject.person_id, said.identity_id, said.name, said.value, said.set_at
  from unnest(v_identities, v_names, v_times, v_values) as said (identity_id, name, set_at, value)
  where not exists (
    select
    from track.trait
    where trait.person_id = subject.person_id
      and trait.name = said.name
  );
  get diagnostics v_added = row_count;
  return next row('track.trait', v_rows + v_added, 'cleared')::privacy.erased;
  perform track._enqueue('trait', array[subject.person_id]);
end;
$$;

comment on function track._rectify_traits(privacy.subject, jsonb) is $$
Corrects the traits of a person, also in the past: see `privacy.rectify`.
$$;

create or replace function track._rectify_enrolments(subject privacy.subject, enrolments jsonb)
returns setof privacy.erased
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_entry jsonb;
  v_given record;
  v_item_id bigint;
  v_rows bigint := 0;
  v_part bigint;
begin
  if jsonb_typeof(enrolments) <> 'array' or jsonb_array_length(enrolments) > 1000 then
    perform common.refuse('CF001', 'the enrolments are not a list of at most 1000',
      'Give a list such as [{"item": "course-1", "status": "completed", "ended_at": "2026-03-01T00:00:00Z"}].');
  end if;
  for v_entry in select entry.value from jsonb_array_elements(enrolments) as entry loop
    if jsonb_typeof(v_entry) <> 'object'
      or exists (
        select
        from jsonb_object_keys(v_entry) as key
        where key not in ('item', 'status', 'enrolled_at', 'ended_at', 'removed')
      )
    then
      perform common.refuse('CF001', format('the enrolment %s is invalid', left(v_entry::text, 100)),
        'The keys are item, status, enrolled_at, ended_at and removed.');
    end if;
    select given.* into v_given
    from jsonb_to_record(v_entry) as given (
      item text, status text, enrolled_at timestamptz, ended_at timestamptz, removed boolean
    );
    if v_given.status not in ('active', 'completed', 'dropped')
      or not isfinite(v_given.enrolled_at)
      or v_entry ->> 'enrolled_at' is null and v_entry ? 'enrolled_at'
      or v_entry ->> 'status' is null and v_entry ? 'status'
    then
      perform common.refuse('CF001', format('the enrolment %s is invalid', left(v_entry::text, 100)),
        'The status is active, completed or dropped; enrolled_at is a time.');
    end if;
    v_item_id := (
      select coalesce(item.merged_item_id, item.item_id) from track.item where item.external_id = v_given.item
    );

    if v_given.removed then
      delete from track.enrolment
      where enrolment.person_id = subject.person_id
        and enrolment.item_id = v_item_id;
    else
      update track.enrolment
      set
        status = coalesce(v_given.status, enrolment.status),
        enrolled_at = coalesce(v_given.enrolled_at, enrolment.enrolled_at),
        ended_at = case when v_entry ? 'ended_at' then v_given.ended_at else enrolment.ended_at end
      where enrolment.person_id = subject.person_id
        and enrolment.item_id = v_item_id;
    end if;
    get diagnostics v_part = row_count;
    if v_part = 0 then
      perform common.refuse(
        'CF002', format('the person is not enrolled in "%s"', coalesce(left(v_given.item, 100), 'null')),
        'Enrolments are added by track.sync_enrolments.'
      );
    end if;
    v_rows := v_rows + v_part;
  end loop;
  perform track._enqueue('enrolment', array[subject.person_id]);
  return next row('track.enrolment', v_rows, 'cleared')::privacy.erased;
exception
  when data_exception then
    perform common.refuse('CF001', format('a value of an enrolment is invalid: %s', left(sqlerrm, 100)),
      'Times are ISO 8601, and removed is true or false.');
end;
$$;

comment on function track._rectify_enrolments(privacy.subject, jsonb) is $$
Corrects enrolments of a person: see `privacy.rectify`.
$$;

create or replace function track.rectify(subject privacy.subject, changes jsonb)
returns setof privacy.erased
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
begin
  if changes ? 'traits' then
    return query select changed.* from track._rectify_traits(subject, changes -> 'traits') as changed;
  end if;
  if changes ? 'enrolments' then
    return query select changed.* from track._rectify_enrolments(subject, changes -> 'enrolments') as changed;
  end if;
end;
$$;

comment on function track.rectify(privacy.subject, jsonb) is $$
@behavior -*
Corrects the traits and enrolments of a person, and queues what is derived from them. Called by `privacy.rectify`.
$$;
--! EndIncluded track/functions/rectify.sql

--! Included track/erasure/erase.sql
create or replace function track.erase(subject privacy.subject)
returns setof privacy.erased
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_identities constant bigint[] := subject.identity_ids;
  -- Messages without proof under the names of her browsers are people of their own, with the keys of their identities.
  v_people constant bigint[] := subject.identity_ids;
  -- A later link of a browser moves messages to the identity of another user, but not what they have told of items.
  v_tellers constant bigint[] := track._with_siblings(subject.identity_ids);
  v_items bigint[];
  v_types int[];
  v_used record;
  v_consumer track.consumer;
  v_rows bigint;
begin
  if subject.person_id is null then
    return;
  end if;
  v_items := array(
    select event.item_id from track.event where event.person_id = any (v_people)
    union
    select event.named_item_id from track.event where event.person_id = any (v_people)
    union
    select source.item_id from track.item_source as source where source.identity_id = any (v_tellers)
  );
  v_types := array(select distinct event.event_type_id from track.event where event.person_id = any (v_people));

  -- First what is derived from the events: the refresh of a person without events removes her from each rollup.
  return next privacy.erase_rows('track.event', 'person_id', v_people);
  return next privacy.erase_rows('track.stale_property', 'person_id', v_people);
  return query select counted.* from track._count_derived(v_people) as counted;
  insert into track.stale (person_id, since, until)
  select entry.person_id, '-infinity', 'infinity'
  from unnest(v_people) as entry (person_id);
  perform track._refresh_sessions_of(v_people);

  return next privacy.erase_rows('track.trait', 'person_id', v_people);
  return next privacy.erase_rows('track.trait_history', 'person_id', v_people);
  return next privacy.erase_rows('track.enrolment', 'person_id', v_people);
  return next privacy.erase_rows('track.item_role', 'person_id', v_people);
  return next privacy.erase_rows('track.exclusion', 'identity_id', v_identities);
  return next privacy.erase_rows('track.person_set_member', 'identity_id', v_identities);
  return next privacy.clear_values('track.exclusion', 'excluded_by', privacy.user_names(subject));
  return next privacy.clear_values('track.write_key_log', 'actor', privacy.user_names(subject));
  return next privacy.clear_values('track.name_log', 'actor', privacy.user_names(subject));
  return next track._clear_examples(v_people);
  return next privacy.erase_rows('track.identity_link', 'identity_id', v_identities);
  return next privacy.erase_rows('track.identity_link', 'linked_identity_id', v_identities);
  return next privacy.erase_rows('track.identity', 'identity_id', v_identities);
  return next privacy.erase_rows('track.person', 'person_id', v_people);
  perform track._number_browsers(subject.names);
  perform track._give_back_traits(subject.names);

  -- Sets of people, cohorts and what else other rooms derive: each finds no data of the person any more.
  for v_consumer in
    select consumer.*
    from track.consumer
    order by consumer.position
  loop
    execute format(
      'select %I.%I($1, $2, $3)', split_part(v_consumer.refresh, '.', 1), split_part(v_consumer.refresh, '.', 2)
    )
    using
      v_people,
      array_fill('-infinity'::timestamptz, array[cardinality(v_people)]),
      array_fill('infinity'::timestamptz, array[cardinality(v_people)]);
  end loop;
  return next privacy.erase_rows('track.changed', 'person_id', v_people);

  v_rows := track._erase_descriptions(v_tellers);
  return next row('track.item', v_rows, 'cleared')::privacy.erased;
  -- Not while a batch is stored that may name one of them: see track._has_names_of_its_own.
  if pg_try_advisory_xact_lock(hashtext('track.ingest')) then
    v_used := track._other_use(v_items, v_types);
    v_rows := track._erase_items(array(select unnest(v_items) except select unnest(v_used.used_items)));
    return next row('track.item', v_rows, 'deleted')::privacy.erased;
    v_rows := track._erase_event_types(array(select unnest(v_types) except select unnest(v_used.used_types)));
    return next row('track.event_type', v_rows, 'deleted')::privacy.erased;
  end if;
end;
$$;

comment on function track.erase(privacy.subject) is $$
@behavior -*
Erases the people, identities and events of a person, and recomputes the rollups and sets without her.
Called by `privacy.erase_person`, after the rooms whose data is derived from it. The caller has locked the person.
$$;

create or replace function track._count_derived(people bigint[])
returns setof privacy.erased
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_activity constant track.activity[] := array(select track._whole_activity(_count_derived.people));
begin
  return query
  select
    'track.session', count(*), 'deleted'
  from track.session
  where session.person_id = any (_count_derived.people)
  union all
  select 'track.step', count(*), 'deleted'
  from track.step
  where step.person_id = any (_count_derived.people)
  union all
  select 'track.step_value', count(*), 'deleted'
  from track.step_value
  where step_value.person_id = any (_count_derived.people)
  union all
  select 'track.presence', count(distinct (entry.event_type_id, entry.day)), 'recomputed'
  from unnest(v_activity) as entry
  where entry.event_count > 0
  union all
  select 'track.item_month', count(distinct (entry.item_id, date_trunc('month', entry.day::timestamp))), 'recomputed'
  from unnest(v_activity) as entry
  where entry.item_id is not null
  union all
  select 'track.item_day', count(distinct (entry.item_id, entry.day)), 'recomputed'
  from unnest(v_activity) as entry
  where entry.item_id is not null
  union all
  select 'track.person_set_block', count(*), 'recomputed'
  from track.person_set_block as stored
  join unnest(_count_derived.people) as entry (person_id)
    on entry.person_id / 4096 = stored.block
    and get_bit(stored.people, (entry.person_id % 4096)::int) <> 0;
end;
$$;

comment on function track._count_derived(bigint[]) is $$
Counts the derived rows of people, before a refresh deletes or recomputes them.
$$;

create or replace function track._clear_examples(people bigint[])
returns privacy.erased
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_rows bigint;
begin
  update track.rollup_check
  set example = 'erased'
  where exists (
    select
    from unnest(_clear_examples.people) as entry (person_id)
    where starts_with(rollup_check.example, format('person %s,', entry.person_id))
  );
  get diagnostics v_rows = row_count;
  return row('track.rollup_check', v_rows, 'cleared')::privacy.erased;
end;
$$;

comment on function track._clear_examples(bigint[]) is $$
Replaces the keys of people in the results of checks of the rollups.
$$;

create or replace function track._give_back_traits(names text[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_people bigint[];
begin
  with given_back as (
    insert into track.trait (person_id, identity_id, name, value, set_at)
    select distinct on (identity.external_id, history.name)
      history.person_id, history.identity_id, history.name, point.value, point.set_at
    from track.identity
    join track.trait_history as history
      on history.person_id = identity.person_id and history.identity_id = identity.identity_id
    cross join lateral track._trait_points(history.set_at, history.value, history.repeated_at) as point
    where identity.external_id = any (_give_back_traits.names)
      and identity.kind = 'anonymous'
      and not exists (
        select
        from track.identity as sibling
        join track.trait on trait.person_id = sibling.person_id and trait.identity_id = sibling.identity_id
        where sibling.external_id = identity.external_id
          and sibling.kind = 'anonymous'
          and trait.name = history.name
      )
    order by identity.external_id, history.name, point.set_at desc, point.value desc, history.identity_id
    returning trait.person_id
  )
  select array_agg(distinct given_back.person_id) into v_people
  from given_back;
  perform track._enqueue('trait', v_people);
end;
$$;

comment on function track._give_back_traits(text[]) is $$
After the erasure of a user of browsers: traits of the other users that hers had replaced apply again.
$$;

create or replace function track._number_browsers(names text[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  -- The first identity of each name has the branch 0.
  update track.identity
  set branch = 0
  where identity.identity_id in (
    select min(sibling.identity_id)
    from track.identity as sibling
    where sibling.external_id = any (_number_browsers.names)
      and sibling.kind = 'anonymous'
    group by sibling.external_id
    having min(sibling.branch) > 0
  );
end;
$$;

comment on function track._number_browsers(text[]) is $$
Makes the oldest identity of each browser the first one, after others of the same browser were deleted.
$$;
--! EndIncluded track/erasure/erase.sql

-- from track/policies.sql
drop policy if exists own on privacy.person_age;
create policy own on privacy.person_age for select to insights_learner
using (person_id <> 0 and person_id = nullif(current_setting('insights.person_id', true), '')::bigint);

-- from track/data_map.sql
insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, erasure, description, basis)
values
  ('track', 'person', 'person_id', 'person', 'service', 'deleted', 'The person.', null),
  ('track', 'identity', 'identity_id', 'identity', 'service', 'deleted', 'Key of a name of the person.', null),
  (
    'track', 'identity', 'external_id', 'identity', 'service', 'deleted',
    'Name of the person in the application or browser.', null
  ),
  ('track', 'identity', 'person_id', 'person', 'service', 'deleted', 'Person that the identity belongs to.', null),
  (
    'track', 'identity', 'user_identity_id', 'identity', 'service', 'deleted',
    'User who identified on the browser.', null
  ),
  ('track', 'identity', 'browser', 'identity', 'service', 'deleted', 'Hash of the cookie of the browser.', null),
  ('track', 'identity_link', 'identity_id', 'identity', 'service', 'deleted', 'Identity that was linked.', null),
  (
    'track', 'identity_link', 'linked_identity_id', 'identity', 'service', 'deleted',
    'Identity to which it was linked.', null
  ),
  ('track', 'trait', 'person_id', 'person', 'analytics', 'deleted', 'Person that has the trait.', null),
  ('track', 'trait', 'identity_id', 'identity', 'analytics', 'deleted', 'Identity for which the trait was sent.', null),
  ('track', 'trait', 'name', 'traits', 'analytics', 'deleted', 'Name of the trait, chosen by the application.', null),
  (
    'track', 'trait', 'value', 'traits', 'analytics', 'deleted',
    'Trait of the person, as sent by the application.', null
  ),
  ('track', 'trait_history', 'person_id', 'person', 'analytics', 'deleted', 'Person that had the trait.', null),
  (
    'track', 'trait_history', 'identity_id', 'identity', 'analytics', 'deleted',
    'Identity for which the trait was sent.', null
  ),
  (
    'track', 'trait_history', 'name', 'traits', 'analytics', 'deleted',
    'Name of the trait, chosen by the application.', null
  ),
  ('track', 'trait_history', 'set_at', 'traits', 'analytics', 'deleted', 'Times of the values.', null),
  (
    'track', 'trait_history', 'value', 'traits', 'analytics', 'deleted',
    'Former values of a trait of the person.', null
  ),
  ('track', 'trait_history', 'repeated_at', 'traits', 'analytics', 'deleted', 'Times of repeated values.', null),
  (
    'track', 'item', 'external_id', 'behaviour', 'analytics', 'recomputed',
    'Name of an item; a client can name one that nobody else names. Deleted when only the person named it.', null
  ),
  ('track', 'item', 'kind', 'behaviour', 'analytics', 'recomputed', 'Kind of the item, as for its name.', null),
  (
    'track', 'item', 'title', 'behaviour', 'analytics', 'recomputed',
    'Title of the item, by a message or the application. Taken from the messages of others.', null
  ),
  ('track', 'item', 'url', 'behaviour', 'analytics', 'recomputed', 'URL of the item, as for its title.', null),
  (
    'track', 'item', 'language', 'behaviour', 'analytics', 'recomputed',
    'Language of the item, as for its title.', null
  ),
  (
    'track', 'item', 'attributes', 'behaviour', 'analytics', 'recomputed',
    'Attributes of the item, as for its title.', null
  ),
  (
    'track', 'item_source', 'identity_id', 'identity', 'analytics', 'deleted',
    'Identity that named or described the item.', null
  ),
  (
    'track', 'named_item', 'kind', 'behaviour', 'analytics', 'recomputed',
    'Kind of a merged item, as in track.item.', null
  ),
  (
    'track', 'named_item', 'title', 'behaviour', 'analytics', 'recomputed',
    'Title of a merged item, as in track.item.', null
  ),
  (
    'track', 'named_item', 'url', 'behaviour', 'analytics', 'recomputed',
    'URL of a merged item, as in track.item.', null
  ),
  (
    'track', 'named_item', 'language', 'behaviour', 'analytics', 'recomputed',
    'Language of a merged item, as in track.item.', null
  ),
  (
    'track', 'named_item', 'attributes', 'behaviour', 'analytics', 'recomputed',
    'Attributes of a merged item, as in track.item.', null
  ),
  (
    'track', 'name_log', 'name', 'behaviour', 'service', 'cleared',
    'Name of an event or item that an administrator changed.', null
  ),
  ('track', 'name_log', 'target', 'behaviour', 'service', 'cleared', 'New name of it.', null),
  ('track', 'name_log', 'actor', 'identity', 'service', 'cleared', 'Administrator who changed the name.', null),
  ('track', 'enrolment', 'person_id', 'person', 'service', 'deleted', 'Person that is enrolled.', null),
  (
    'track', 'enrolment', 'identity_id', 'identity', 'service', 'deleted',
    'Identity that the application enrolled.', null
  ),
  ('track', 'item_role', 'person_id', 'person', 'service', 'deleted', 'Person that teaches or wrote the item.', null),
  (
    'track', 'item_role', 'identity_id', 'identity', 'service', 'deleted',
    'Identity to which the application gave the role.', null
  ),
  (
    'track', 'event_type', 'name', 'behaviour', 'analytics', 'recomputed',
    'Name of an event, chosen by clients. Deleted when only the person sent such events.', null
  ),
  (
    'track', 'message', 'message_hash', 'behaviour', 'service', 'kept',
    'Hash of the id of a message that was stored.',
    'Without it a message that is sent again would be stored again. It is the hash of an id, and is with no person.'
  ),
  (
    'track', 'packed_message', 'tags', 'behaviour', 'service', 'kept',
    'Parts of the hashes of ids of messages.',
    'As track.message.message_hash.'
  ),
  (
    'track', 'packed_message', 'remainders', 'behaviour', 'service', 'kept',
    'Parts of the hashes of ids of messages.',
    'As track.message.message_hash.'
  ),
  ('track', 'event', 'person_id', 'person', 'analytics', 'deleted', 'Person of the event.', null),
  (
    'track', 'event', 'event_id', 'behaviour', 'analytics', 'deleted',
    'Time of the event and hash of the id of its message.', null
  ),
  (
    'track', 'event', 'identity_id', 'identity', 'analytics', 'deleted',
    'Identity with which the event was sent.', null
  ),
  ('track', 'event', 'properties', 'behaviour', 'analytics', 'deleted', 'Properties of the event.', null),
  ('track', 'session', 'person_id', 'person', 'analytics', 'deleted', 'Person that was active.', null),
  ('track', 'session', 'session_id', 'behaviour', 'analytics', 'deleted', 'First event of the session.', null),
  ('track', 'session', 'view_event_ids', 'behaviour', 'analytics', 'deleted', 'Events of the page views.', null),
  ('track', 'session', 'view_item_ids', 'behaviour', 'analytics', 'deleted', 'Items that the person viewed.', null),
  ('track', 'session', 'view_starts', 'behaviour', 'analytics', 'deleted', 'Starts of the page views.', null),
  ('track', 'session', 'view_ends', 'behaviour', 'analytics', 'deleted', 'Ends of the page views.', null),
  ('track', 'session', 'view_engaged', 'behaviour', 'analytics', 'deleted', 'Engaged times of the page views.', null),
  (
    'track', 'session', 'view_heartbeats', 'behaviour', 'analytics', 'deleted',
    'Numbers of heartbeats of the page views.', null
  ),
  (
    'track', 'session', 'view_continued', 'behaviour', 'analytics', 'deleted',
    'Whether the page views are continued ones.', null
  ),
  (
    'track', 'session', 'view_keys', 'behaviour', 'analytics', 'deleted',
    'Hashes of the `viewId` of the page views.', null
  ),
  (
    'track', 'automatic_period', 'person_id', 'person', 'analytics', 'deleted',
    'Person that the events are about.', null
  ),
  ('track', 'step', 'person_id', 'person', 'analytics', 'deleted', 'Person of the events.', null),
  ('track', 'step', 'occurred_at', 'behaviour', 'analytics', 'deleted', 'Times of the events.', null),
  ('track', 'step', 'item_ids', 'behaviour', 'analytics', 'deleted', 'Items of the events.', null),
  ('track', 'step_value', 'person_id', 'person', 'analytics', 'deleted', 'Person of the events.', null),
  (
    'track', 'step_value', 'value_ids', 'behaviour', 'analytics', 'deleted',
    'Values of a property of the events.', null
  ),
  (
    'track', 'property_value', 'value', 'behaviour', 'analytics', 'recomputed',
    'Values of properties, while an event has them.', null
  ),
  (
    'track', 'presence', 'people', 'derived', 'analytics', 'recomputed',
    'People with events on a day, one bit per person.', null
  ),
  (
    'track', 'value_presence', 'people', 'derived', 'analytics', 'recomputed',
    'People with a value on a day, one bit per person.', null
  ),
  ('track', 'item_month', 'people', 'derived', 'analytics', 'recomputed', 'People who used an item in a month.', null),
  ('track', 'item_month', 'days', 'derived', 'analytics', 'recomputed', 'Days on which each of them used it.', null),
  (
    'track', 'course_presence', 'people', 'derived', 'analytics', 'recomputed',
    'People who used a course in a month, one bit each.', null
  ),
  ('track', 'course_presence', 'members', 'derived', 'analytics', 'recomputed', 'The same people as a list.', null),
  (
    'track', 'course_presence', 'days', 'derived', 'analytics', 'recomputed',
    'Days on which each of them used it.', null
  ),
  ('track', 'stale', 'person_id', 'person', 'analytics', 'deleted', 'Person whose sessions are out of date.', null),
  (
    'track', 'stale_property', 'person_id', 'person', 'analytics', 'deleted',
    'Person whose values are not stored yet.', null
  ),
  (
    'track', 'changed', 'person_id', 'person', 'analytics', 'deleted',
    'Person whose derived data is out of date.', null
  ),
  (
    'track', 'person_set_member', 'identity_id', 'identity', 'service', 'deleted',
    'Identity of a member of a listed set.', null
  ),
  (
    'track', 'person_set_block', 'people', 'derived', 'analytics', 'recomputed',
    'People of a set, one bit per person.', null
  ),
  (
    'track', 'exclusion', 'identity_id', 'identity', 'service', 'deleted',
    'Identity of a person who is not counted.', null
  ),
  ('track', 'exclusion', 'note', 'traits', 'service', 'deleted', 'Note about the person, by an administrator.', null),
  (
    'track', 'exclusion', 'excluded_by', 'identity', 'service', 'cleared',
    'Administrator who excluded the person.', null
  ),
  ('track', 'write_key_log', 'actor', 'identity', 'service', 'cleared', 'Administrator who changed the key.', null)
on conflict (schema_name, table_name, column_name) do update
set
  holds = excluded.holds,
  purpose = excluded.purpose,
  description = excluded.description,
  erasure = excluded.erasure,
  basis = excluded.basis;
insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, erasure, description)
select entry.schema_name, entry.table_name, column_name, 'none', 'service', 'kept', entry.reason
from (
  values
    ('track', 'setting', '{path_rule,kept_parameters}', 'Settings of the installation.'),
    (
      'track', 'source', '{name,description,path_rule,kept_parameters}',
      'Applications, importers and write keys, named by administrators.'
    ),
    ('track', 'write_key', '{key_hash,preview,scopes,origins}', 'Keys of applications, not of people.'),
    ('track', 'write_key_log', '{log_id}', 'Random keys.'),
    ('track', 'write_key_log', '{details}', 'New settings of a key: scopes, origins, rate and times.'),
    ('track', 'refusal', '{code}', 'Codes of errors; the messages are only counted.'),
    ('track', 'refusal_sample', '{sample_id}', 'Random keys.'),
    ('track', 'refusal_sample', '{code,hint}', 'Code of the error, and its rule.'),
    (
      'track', 'refusal_sample', '{fields}',
      'Types and lengths of the known fields of a message, without values.'
    ),
    ('track', 'placeholder_id', '{external_id,description}', 'Ids that name nobody.'),
    ('track', 'event_type', '{purpose,description}', 'Settings of an event type, by administrators.'),
    ('track', 'declared_property', '{property}', 'Name of a property, declared by an administrator.'),
    ('track', 'rollup_check', '{rollup}', 'Names of functions, tables or tasks of the installation.'),
    (
      'track', 'rollup_check', '{example}',
      'Surrogate keys of a sum that was written again, kept for 10,000 checks.'
    ),
    ('track', 'name_log', '{log_id}', 'Random keys.'),
    ('track', 'stale', '{stale_id}', 'Random keys.'),
    ('track', 'stale_course', '{stale_id}', 'Random keys.'),
    ('track', 'changed', '{changed_id}', 'Random keys.'),
    ('track', 'changed', '{consumer}', 'Names of functions, tables or tasks of the installation.'),
    (
      'track', 'consumer', '{consumer,refresh,inputs,description}',
      'Names of functions, tables or tasks of the installation.'
    ),
    (
      'track', 'person_set', '{name,description,members,consumer}',
      'Name and definition of a set; its members are in other tables.'
    ),
    ('track', 'person_set_member', '{name}', 'Name of the set.'),
    ('track', 'person_set_block', '{name}', 'Name of the set.'),
    (
      'track', 'distribution', '{schema_name,table_name,column_name,colocated_with,description}',
      'Names of functions, tables or tasks of the installation.'
    )
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
values ('track', 40, 'track.export', 'People, identities, events and all data that is derived from them.')
on conflict (room) do update set export_function = excluded.export_function;

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
begin
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
        and enrolment.person_id not in (select privacy.restricted())
      group by enrolment.person_id, enrolment.item_id
    ) as enrolled
    join moment
      on enrolled.enrolled_at < moment.as_of
      and (enrolled.ended_at is null or enrolled.ended_at >= moment.as_of)
  ),

  person as materialized (
    select distinct taker.person_id from taker
  ),

  activity as materialized (
    select happened.*
    from track.activity_of(
      array(select person.person_id from person),
      '-infinity',
      (select max(moment.today) from moment)
    ) as happened
  ),

  day_of_item as materialized (
    select
      happened.course_id, happened.person_id, happened.item_id, happened.day, happened.kind, happened.due_at,
      sum(happened.event_count - happened.automatic_count)::float8 as events,
      sum(extract(epoch from happened.engaged)) as seconds,
      bool_or(happened.event_type_id in (
        select coalesce(submission.merged_event_type_id, submission.event_type_id)
        from track.event_type as submission
        where submission.name in ('Task Submitted', 'Task Completed')
      )) as submitted,
      -- A grade by a teacher, or another automatic event, is not an activity of the learner.
      bool_or(happened.event_count > happened.automatic_count or happened.engaged > '0') as is_active
    from (
      select part.course_id, part.kind, part.due_at, activity.*
      from part
      join activity on activity.item_id = part.item_id
    ) as happened
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

  viewed_today as materialized (
    select
      page_view.person_id, watched.as_of, page_view.event_id, page_view.item_id, page_view.ended_at,
      page_view.engaged, page_view.is_continued
    from (select distinct taker.person_id, taker.as_of, taker.midnight from taker) as watched
    join track.session
      on session.person_id = watched.person_id
      and session.ended_at >= watched.midnight
      and session.ended_at < watched.as_of
    join track.page_view
      on page_view.person_id = session.person_id
      and page_view.session_id = session.session_id
      and page_view.started_at >= watched.midnight
    where watched.midnight < watched.as_of
  ),

  -- Since the last midnight: events of the learner, and page views of earlier sessions that were continued.
  today as (
    select
      taker.person_id, taker.course_id, taker.as_of, taker.today,
      1 as events,
      extract(epoch from opened.engaged) as seconds,
      event.occurred_at as known_at
    from taker
    join track.event
      on event.person_id = taker.person_id
      and event.occurred_at >= taker.midnight
      and event.occurred_at < taker.as_of
    join track.event_type on event_type.event_type_id = event.event_type_id and not event_type.is_automatic
    join track.source on source.source_id = event.source_id and not source.is_automatic
    join part on part.item_id = event.item_id and part.course_id = taker.course_id
    left join viewed_today as opened
      on opened.person_id = event.person_id
      and opened.as_of = taker.as_of
      and opened.event_id = event.event_id
      and not opened.is_continued
    where taker.midnight < taker.as_of

    union all

    select
      taker.person_id, taker.course_id, taker.as_of, taker.today,
      0,
      extract(epoch from viewed_today.engaged),
      viewed_today.ended_at
    from taker
    join viewed_today
      on viewed_today.is_continued
      and viewed_today.person_id = taker.person_id
      and viewed_today.as_of = taker.as_of
    join part on part.item_id = viewed_today.item_id and part.course_id = taker.course_id
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
    select learner.person_id, learner.as_of, count(distinct activity.day) as active_days
    from learner
    join activity
      on activity.person_id = learner.person_id
      and activity.day >= learner.today - 7
      and activity.day < learner.today
      and (activity.event_count > activity.automatic_count or activity.engaged > '0')
    group by learner.person_id, learner.as_of
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
        -- A deployed version that is marked for training is replaced at once.
        and (
          ml.deployed_version(project.name) is not null
          or not exists (select from ml.deployment where deployment.project_id = project.project_id)
        )
    )
  order by entry.target;
end;
$$;

alter function analytics.due_predictions() owner to insights_reader;

comment on function analytics.due_predictions() is $$
@behavior -*
Returns the prediction targets whose latest version is older than the last complete day, or marked for training.
Only targets for which there may be enough training data. For the worker.
$$;

grant execute on function analytics.due_predictions() to insights_admin, insights_worker;
--! EndIncluded analytics/functions/due_predictions.sql

--! Included analytics/functions/_course_people.sql
create or replace function analytics._course_people(course_id bigint, people bigint[])
returns table (person_id bigint, is_enrolled boolean, is_shown boolean)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_by_default constant boolean := (
    select purpose.basis <> 'consent'
    from privacy.purpose
    where purpose.purpose = 'analytics'
  );
begin
  return query
  with counted as materialized (
    select counted_block.block, counted_block.people
    from track.person_set_blocks('counted') as counted_block
  ),

  decided as (
    select
      candidate.person_id,
      exists (
        select
        from track.enrolment
        where enrolment.person_id = candidate.person_id
          and enrolment.item_id = _course_people.course_id
      ) as is_enrolled,
      -- With the default "allowed", the decisions that matter are opt-outs; with the default "not allowed", grants.
      v_by_default <> (
        candidate.person_id in (
          select decision.person_id
          from privacy.latest_decisions('analytics', _course_people.people) as decision
          where decision.granted <> v_by_default
        )
      )
      and candidate.person_id not in (select privacy.restricted(_course_people.people)) as is_shown
    from (select distinct listed.person_id from unnest(_course_people.people) as listed (person_id)) as candidate
    where candidate.person_id <> 0
  )

  select decided.person_id, decided.is_enrolled, decided.is_shown
  from decided
  where decided.is_enrolled
    or (
      decided.is_shown
      and exists (
        select
        from counted
        where counted.block = decided.person_id / 4096
          and get_bit(counted.people, (decided.person_id % 4096)::int) <> 0
      )
      and not exists (
        select
        from track.item_ancestor as ancestor
        join track.applied_item_role as item_role on item_role.item_id = ancestor.ancestor_item_id
        where ancestor.item_id = _course_people.course_id
          and item_role.person_id = decided.person_id
      )
    );
end;
$$;

comment on function analytics._course_people(bigint, bigint[]) is $$
Returns which of the given people are learners of a course, for its instructors; the caller has found them active in it.
These are the enrolled people, and of the others those who are counted, have no role in the course and have not opted
out of `analytics`. `is_shown`: whether name and activity may be shown; false for people who have
opted out, and for those whose data is restricted.
$$;

grant execute on function analytics._course_people(bigint, bigint[]) to insights_reader;
--! EndIncluded analytics/functions/_course_people.sql

--! Included analytics/cohorts/_profiled.sql
create or replace function analytics._profiled(given analytics.people_block[], people bigint[] default null)
returns analytics.people_block[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_by_default constant boolean := (
    select purpose.basis <> 'consent'
    from privacy.purpose
    where purpose.purpose = 'analytics'
  );
begin
  return array(
    select row(
      part.block,
      part.people
        & case
          when v_by_default then ~coalesce(decided.people, v_no_people)
          else coalesce(decided.people, v_no_people)
        end
        & ~coalesce(restricted.people, v_no_people)
    )::analytics.people_block
    from unnest(given) as part
    -- With the default "allowed", the decisions that matter are opt-outs; with the default "not allowed", grants.
    left join (
      select (decision.person_id / 4096)::int as block, bit_or(track.person_bit(decision.person_id)) as people
      from privacy.latest_decisions('analytics', _profiled.people) as decision
      where decision.granted <> v_by_default
      group by decision.person_id / 4096
    ) as decided on decided.block = part.block
    left join (
      select (entry.person_id / 4096)::int as block, bit_or(track.person_bit(entry.person_id)) as people
      from privacy.restricted(_profiled.people) as entry (person_id)
      group by entry.person_id / 4096
    ) as restricted on restricted.block = part.block
    order by part.block
  );
end;
$$;

comment on function analytics._profiled(analytics.people_block[], bigint[]) is $$
Returns the given people without those who have opted out of `analytics`, and those whose data is restricted.
They are in no segment and no cohort (GDPR articles 18 and 21). `people`: the given people as a list, when they are few.
$$;

grant execute on function analytics._profiled(analytics.people_block[], bigint[]) to insights_reader;
--! EndIncluded analytics/cohorts/_profiled.sql

--! Included analytics/cohorts/cohort_members.sql
create or replace function analytics.cohort_members(set_name text, people bigint[])
returns setof bigint
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_rule jsonb;
  v_as_of date;
  v_given analytics.people_block[];
begin
  select cohort.rule, cohort.as_of into v_rule, v_as_of
  from analytics.cohort
  where cohort.name = cohort_members.set_name;
  if not found then
    return;
  end if;
  v_given := array(
    select row((entry.person_id / 4096)::int, bit_or(track.person_bit(entry.person_id)))::analytics.people_block
    from unnest(cohort_members.people) as entry (person_id)
    where entry.person_id > 0
    group by entry.person_id / 4096
  );

  v_given := analytics._profiled(v_given, cohort_members.people);

  return query
  select distinct entry.person_id
  from unnest(cohort_members.people) as entry (person_id)
  join unnest(analytics._rule_people(v_rule, v_given, cohort_members.people, v_as_of)) as found
    on found.block = entry.person_id / 4096
    and get_bit(found.people, (entry.person_id % 4096)::int) <> 0;
end;
$$;

comment on function analytics.cohort_members(text, bigint[]) is $$
@behavior -*
Returns which of the given people belong to a live cohort or segment, as of now and the day `analytics.cohort.as_of`.
Nobody who has opted out of `analytics`, or whose data is restricted.
The members of the sets of live cohorts; see `track.person_set`.
$$;

grant execute on function analytics.cohort_members(text, bigint[]) to insights_reader;
--! EndIncluded analytics/cohorts/cohort_members.sql

--! Included analytics/cohorts/refresh_cohorts.sql
create or replace function analytics.refresh_cohorts()
returns int
language plpgsql
volatile
-- A definer: it writes the tables of cohorts and sets, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set jit to off
as $$
declare
  v_today constant date := (now() at time zone 'UTC')::date;
  v_cohort analytics.cohort;
  v_people bigint[];
begin
  -- One definition at a time, as in analytics.define_cohort.
  perform pg_advisory_xact_lock(hashtext('analytics.cohort'));

  -- A name that means something else now, or an item that contains other items: all people are computed.
  for v_cohort in
    select cohort.*
    from analytics.cohort
    where cohort.is_live
      and cohort.names <> analytics._rule_names(cohort.rule)
    order by cohort.name
  loop
    update analytics.cohort
    set names = analytics._rule_names(v_cohort.rule)
    where cohort.name = v_cohort.name;
    perform analytics._evaluate_cohort(v_cohort.name);
  end loop;

  for v_cohort in
    select cohort.*
    from analytics.cohort
    where cohort.is_live
      and cohort.as_of < v_today
      and jsonb_path_exists(cohort.rule, 'strict $.** ? (exists (@.prediction))')
    order by cohort.name
  loop
    begin
      perform analytics._list_predicted(v_cohort.rule, v_today);
    exception
      -- Not trained any more: the people stay as they are.
      when sqlstate 'CF006' then
        raise warning 'the predictions of % are not refreshed: %', v_cohort.name, common.without_values(sqlerrm);
    end;
  end loop;

  -- The people with activity on the days that entered or left a period since the last call.
  v_people := array(
    with edge as (
      select distinct
        case
          when found.value -> 'event' <> 'null' then (
            select coalesce(event_type.merged_event_type_id, event_type.event_type_id)
            from track.event_type
            where event_type.name = found.value ->> 'event'
          )
          -- Of an item, automatic events count too.
          when not found.value ? 'item' then 0
        end as event_type_id,
        cohort.as_of - period.days as after_day,
        v_today - period.days as last_day
      from analytics.cohort
      cross join lateral jsonb_path_query(cohort.rule, 'strict $.** ? (exists (@.event))') as found (value)
      cross join lateral (
        values
          (analytics._days_of(found.value ->> 'within')),
          (analytics._days_of(found.value ->> 'older_than'))
      ) as period (days)
      where cohort.is_live
        and cohort.as_of < v_today
        and period.days is not null
    ),

    moved as (
      select presence.block, bit_or(presence.people) as people
      from edge
      join track.presence
        on presence.event_type_id = coalesce(edge.event_type_id, presence.event_type_id)
        and presence.day > edge.after_day
        and presence.day <= edge.last_day
      group by presence.block
    )

    select moved.block::bigint * 4096 + place
    from moved
    cross join generate_series(0, 4095) as place
    where get_bit(moved.people, place) = 1
  );
  update analytics.cohort set as_of = v_today where cohort.is_live and cohort.as_of < v_today;
  perform track.queue_people('analytics.cohort', v_people);
  return cardinality(v_people);
end;
$$;

comment on function analytics.refresh_cohorts() is $$
Moves the days of live cohorts and segments on to the current day (UTC). Returns the number of people who are queued.
Queued are people with events on the days that entered or left the period of a condition (`within`, `older_than`); the
next `track.refresh` recomputes them, and readers do until then. Predictions are listed again as of the new day. A
cohort whose names have come to mean other events or items (`track.merge_events`, `track.merge_items`, items that were
moved) is computed for all people. Called by the worker every hour; a call on the same day does nothing else.
$$;

grant execute on function analytics.refresh_cohorts() to insights_admin, insights_worker;
--! EndIncluded analytics/cohorts/refresh_cohorts.sql

--! Included analytics/cohorts/segments.sql
create or replace function analytics._segments(compared_days int, smallest_group int)
returns setof analytics.segment_size
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_counted analytics.people_block[];
  v_stale bigint[];
begin
  perform common.check_count('compared_days', _segments.compared_days, 1, 3660);
  v_counted := array(
    select row(
      blocks.block,
      case when _segments.smallest_group is null then ~v_no_people else coalesce(counted.people, v_no_people) end
        & ~coalesce(excluded.people, v_no_people)
    )::analytics.people_block
    from generate_series(0, (select max(person.person_id) / 4096 from track.person)::int) as blocks (block)
    left join track.person_set_blocks('counted') as counted on counted.block = blocks.block
    left join track.person_set_blocks('excluded') as excluded on excluded.block = blocks.block
  );
  v_counted := analytics._profiled(v_counted);
  -- The conditions are those of whole days, for which only people whose events have changed are read one by one.
  v_stale := array(select distinct stale.person_id from track.stale where stale.person_id <> 0);

  return query
  with counted as (
    select
      cohort.name, cohort.as_of, person_set.description,
      (
        select coalesce(sum(bit_count(members.people & part.people)), 0)::bigint
        from track.person_set_blocks(cohort.name) as members
        join unnest(v_counted) as part on part.block = members.block
      ) as person_count,
      (
        select coalesce(sum(bit_count(former.people)), 0)::bigint
        from unnest(
          analytics._rule_people(
            cohort.rule, v_counted, v_stale, cohort.as_of - _segments.compared_days,
            (cohort.as_of - _segments.compared_days + 1)::timestamptz
          )
        ) as former
      ) as former_count
    from analytics.cohort
    join track.person_set using (name)
    where starts_with(cohort.name, 'segment.')
  ),

  shown as (
    select
      counted.*,
      analytics._shown(counted.person_count, counted.person_count, _segments.smallest_group)::bigint as shown_count,
      analytics._shown(counted.former_count, counted.former_count, _segments.smallest_group)::bigint as shown_former
    from counted
  )

  select
    split_part(shown.name, '.', 2),
    shown.description,
    shown.shown_count,
    shown.shown_count / nullif(sum(shown.shown_count) over (), 0)::float8,
    shown.shown_former,
    shown.shown_count - shown.shown_former,
    shown.as_of,
    shown.as_of - _segments.compared_days
  from shown
  order by array_position('{segment.new,segment.returning,segment.casual,segment.regular,segment.power}', shown.name);
end;
$$;

comment on function analytics._segments(int, int) is $$
Computes the result of `analytics.segments`, with the privileges of the caller.
`smallest_group`: numbers of counted people (see `analytics._shown`); null: of all people who are not excluded.
$$;

grant execute on function analytics._segments(int, int) to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._segments_exact(compared_days int)
returns setof analytics.segment_size
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
set jit to off
as $$
  select * from analytics._segments($1, null);
$$;

alter function analytics._segments_exact(int) owner to insights_reader;

comment on function analytics._segments_exact(int) is $$
Returns the result of `analytics.segments` with exact numbers, for admins and workers.
$$;

grant execute on function analytics._segments_exact(int) to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._segments_shown(compared_days int)
returns setof analytics.segment_size
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
set jit to off
as $$
  select * from analytics._segments($1, (select smallest_group from analytics.setting));
$$;

alter function analytics._segments_shown(int) owner to insights_reader;

comment on function analytics._segments_shown(int) is $$
Returns the result of `analytics.segments` for analysts: rounded numbers of counted people.
$$;

grant execute on function analytics._segments_shown(int) to insights_analyst;

create or replace function analytics.segments(compared_days int default 28)
returns setof analytics.segment_size
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege('analytics._segments_exact(int)', 'execute') then
    return query select * from analytics._segments_exact(segments.compared_days);
  else
    return query select * from analytics._segments_shown(segments.compared_days);
  end if;
end;
$$;

comment on function analytics.segments(int) is $$
Returns the sizes of the segments, and those of `compared_days` earlier.
The earlier sizes are computed from the events before that day, as they are stored now. Definitions and thresholds:
`analytics.define_segments`. For admins and workers, numbers are exact, of people who are not excluded. Analysts see
numbers of counted people, rounded by `analytics._shown`; shares and changes are computed from the numbers as shown.
Errors: CF001 for an invalid `compared_days`.
$$;

grant execute on function analytics.segments(int) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/cohorts/segments.sql

--! Included analytics/cohorts/person_rfm.sql
/* A definer owned by insights_reader: it returns people, and is granted to roles that may read them. */
create or replace function analytics.person_rfm(
  since timestamptz default (now() at time zone 'UTC' - interval '90 days') at time zone 'UTC',
  until timestamptz default now(),
  among text default null,
  cell text default null
)
returns setof analytics.person_rfm
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_by_default constant boolean := (
    select purpose.basis <> 'consent'
    from privacy.purpose
    where purpose.purpose = 'analytics'
  );
begin
  if person_rfm.cell not in (
    select analytics._rfm_cell(recency, value)
    from generate_series(1, 5) as recency
    cross join generate_series(1, 5) as value
  ) then
    perform common.refuse(
      'CF002',
      format('there is no cell "%s"', left(person_rfm.cell, 100)),
      'The cells are those that analytics.rfm returns, such as champions.'
    );
  end if;
  return query
  select
    scored.person_id, named.external_id, scored.recency_days, scored.active_days, scored.engaged,
    scored.recency_score, scored.frequency_score, scored.engaged_score, scored.cell
  from analytics._rfm(person_rfm.since, person_rfm.until, person_rfm.among, null) as scored
  left join lateral (
    select identity.external_id
    from track.identity
    where identity.person_id = scored.person_id
    order by identity.kind = 'user' desc, identity.identity_id
    limit 1
  ) as named on true
  where scored.cell = coalesce(person_rfm.cell, scored.cell)
    -- With the default "allowed", the decisions that matter are opt-outs; with the default "not allowed", grants.
    and v_by_default <> (
      scored.person_id in (
        select decision.person_id
        from privacy.latest_decisions('analytics') as decision
        where decision.granted <> v_by_default
      )
    )
  order by scored.person_id;
end;
$$;

alter function analytics.person_rfm(timestamptz, timestamptz, text, text) owner to insights_reader;

comment on function analytics.person_rfm(timestamptz, timestamptz, text, text) is $$
Returns the people of an RFM analysis with their values and scores: see `analytics.rfm`.
`cell`: only this cell; the scores are those among all people of the analysis. Of people who are not
excluded, and have not opted out of `analytics`.
Errors: CF001 for an invalid period or `among`, CF002 for an unknown set or cell, CF008 for more than 1,100 days.
$$;

grant execute on function analytics.person_rfm(timestamptz, timestamptz, text, text)
to insights_admin, insights_worker;
--! EndIncluded analytics/cohorts/person_rfm.sql

--! Included analytics/functions/erase.sql
create or replace function analytics.erase(subject privacy.subject)
returns setof privacy.erased
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  -- Not her enrolments alone: a later one takes the place of the first, and a correction removes it.
  v_first_at constant timestamptz := least(
    (select min(enrolment.enrolled_at) from track.enrolment where enrolment.person_id = any (subject.identity_ids)),
    (
      select min(identity.created_at)
      from track.identity
      where identity.identity_id = any (subject.identity_ids)
        and identity.kind = 'user'
    )
  );
  v_project text;
  v_versions int[];
  v_rows bigint := 0;
begin
  -- The people of a training are not recorded: each version that was trained since her name is known may contain her.
  for v_project, v_versions in
    select project.name, array_agg(model.version)
    from analytics.prediction_target as entry
    join ml.project on project.name = entry.project
    join ml.model using (project_id)
    where model.trained_at >= v_first_at
    group by project.name
    order by project.name
  loop
    v_rows := v_rows + ml.mark_for_training(v_project, 'a person was erased', v_versions);
  end loop;
  return next row('ml.model', v_rows, 'marked')::privacy.erased;

  -- A query about her cannot be run any more. Her name as another argument is the name of something else.
  delete from analytics.saved_query
  where exists (
    select
    from unnest(privacy.user_names(subject)) as named (name)
    where jsonb_path_exists(
        saved_query.arguments, '$.person ? (@ == $name)', jsonb_build_object('name', named.name)
      )
      or jsonb_path_exists(
        saved_query.arguments, '$.people ? (@ == $name)', jsonb_build_object('name', named.name)
      )
  );
  get diagnostics v_rows = row_count;
  return next row('analytics.saved_query', v_rows, 'deleted')::privacy.erased;
  return next privacy.erase_rows('analytics.snapshot', 'person_id', subject.identity_ids);
  return next privacy.clear_values('analytics.annotation', 'created_by', privacy.user_names(subject));
  return next privacy.clear_values('analytics.saved_query', 'created_by', privacy.user_names(subject));
  return next privacy.clear_values('analytics.cohort', 'defined_by', privacy.user_names(subject));
end;
$$;

comment on function analytics.erase(privacy.subject) is $$
@behavior -*
Erases a person from the training data of predictions, and her name where she has written or defined something.
Marks the versions that may have been trained on her data, so that they are not used until the next training.
Called by `privacy.erase_person`. Cohorts and segments are sets of people: see `track.erase`.
$$;
--! EndIncluded analytics/functions/erase.sql

--! Included analytics/access/_export_predictions.sql
create or replace function analytics._export_predictions(subject privacy.subject)
returns setof jsonb
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_courses constant bigint[] := array(
    select enrolment.item_id
    from track.enrolment
    where enrolment.person_id = subject.person_id
    union
    select used.item_id
    from track.course_presence as used
    where used.block = subject.person_id / 4096
      and get_bit(used.people, (subject.person_id % 4096)::int) = 1
  );
  v_target analytics.prediction_target;
  v_features analytics.learner_features[];
begin
  for v_target in
    select target.*
    from analytics.prediction_target as target
    where ml.deployed_version(target.project) is not null
    order by target.target
  loop
    v_features := array(
      select known
      from analytics._learner_features(array[now()], v_courses) as known
      where known.person_id = subject.person_id
        and known.days_idle <= extract(epoch from v_target.longest_idle) / 86400
    );
    return query
    select jsonb_build_object(
      'target', v_target.target,
      'description', v_target.description,
      'course', item.external_id,
      'course_title', item.title,
      'score', scored.score,
      'model', v_target.project || ' ' || ml.deployed_version(v_target.project),
      'reasons', (
        select jsonb_agg(
          jsonb_build_object(
            'feature', reason.feature, 'value', reason.feature_value, 'contribution', reason.contribution
          )
          order by abs(reason.contribution) desc, reason.feature
        )
        from ml.explain_each(v_target.project, v_features) as reason
        where reason.row_no = scored.row_no
          and reason.contribution <> 0
      )
    )
    from unnest(ml.predict_each(v_target.project, v_features)) with ordinality as scored (score, row_no)
    join track.item on item.item_id = v_features[scored.row_no].course_id;
  end loop;
end;
$$;

comment on function analytics._export_predictions(privacy.subject) is $$
Returns the current predictions about a person in her courses, each with all reasons, for `analytics.export`.
$$;
--! EndIncluded analytics/access/_export_predictions.sql

--! Included analytics/access/export.sql
create or replace function analytics.export(subject privacy.subject)
returns setof privacy.exported
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return next privacy.exported_rows(
    'analytics.snapshot',
    (
      select jsonb_agg(
        jsonb_build_object(
          'target', snapshot.target,
          'course', item.external_id,
          'as_of', snapshot.as_of,
          'feature', to_jsonb(snapshot.feature) - '{person_id,course_id}'::text[],
          'outcome', snapshot.outcome
        )
        order by snapshot.target, snapshot.as_of, snapshot.course_id
      )
      from analytics.snapshot
      left join track.item on item.item_id = snapshot.course_id
      where snapshot.person_id = subject.person_id
    )
  );
  return next privacy.exported_rows(
    'analytics.prediction_target',
    (
      select jsonb_agg(prediction order by prediction ->> 'target', prediction ->> 'course')
      from analytics._export_predictions(subject) as prediction
    ),
    'Predictions about the person as of now, with the features that changed them.'
  );
  return next privacy.exported_rows(
    'analytics.annotation',
    (
      select jsonb_agg(to_jsonb(annotation) - 'annotation_id' order by annotation.annotation_id)
      from analytics.annotation
      where annotation.created_by = any (privacy.user_names(subject))
    )
  );
  return next privacy.exported_rows(
    'analytics.saved_query',
    (
      select jsonb_agg(
        to_jsonb(saved) || jsonb_build_object(
          'created_by', case
            when saved.created_by = any (privacy.user_names(subject)) then saved.created_by
            else 'an administrator'
          end
        )
        order by saved.name
      )
      from analytics.saved_query as saved
      where saved.created_by = any (privacy.user_names(subject))
        or exists (
          select
          from jsonb_path_query(saved.arguments, '$.** ? (@.type() == "string")') as argument
          where argument #>> '{}' = any (privacy.user_names(subject))
        )
    )
  );
  return next privacy.exported_rows(
    'analytics.cohort',
    (
      select jsonb_agg(to_jsonb(cohort) order by cohort.name)
      from analytics.cohort
      where cohort.defined_by = any (privacy.user_names(subject))
    )
  );
end;
$$;

comment on function analytics.export(privacy.subject) is $$
@behavior -*
Returns the predictions about a person, the training data of predictions that is about her, and what she has written.
For `privacy.export_person`.
$$;
--! EndIncluded analytics/access/export.sql

-- from analytics/data_map.sql
insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, erasure, description, basis)
values
  (
    'analytics', 'snapshot', 'person_id', 'person', 'analytics', 'deleted',
    'Learner in the data of a training in progress.', null
  ),
  ('analytics', 'snapshot', 'feature', 'derived', 'analytics', 'deleted', 'Features of the learner.', null),
  ('analytics', 'annotation', 'created_by', 'identity', 'service', 'cleared', 'Author of the annotation.', null),
  ('analytics', 'saved_query', 'created_by', 'identity', 'service', 'cleared', 'Author of the query.', null),
  (
    'analytics', 'saved_query', 'arguments', 'identity', 'service', 'deleted',
    'Arguments; those of queries for administrators can name a person. A query that names one is deleted.', null
  ),
  (
    'analytics', 'cohort', 'rule', 'traits', 'analytics', 'kept',
    'Rule of a cohort, which can contain a value of a trait or property.',
    'An administrator wrote it about all people who have the value.'
  ),
  (
    'analytics', 'cohort', 'names', 'derived', 'analytics', 'kept',
    'Names in the rule.',
    'As analytics.cohort.rule.'
  ),
  (
    'analytics', 'cohort', 'defined_by', 'identity', 'service', 'cleared',
    'Administrator who defined the cohort.', null
  )
on conflict (schema_name, table_name, column_name) do update
set
  holds = excluded.holds,
  purpose = excluded.purpose,
  description = excluded.description,
  erasure = excluded.erasure,
  basis = excluded.basis;
insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, erasure, description)
select entry.schema_name, entry.table_name, column_name, 'none', 'service', 'kept', entry.reason
from (
  values
    (
      'analytics', 'annotation', '{title,description}',
      'Releases, terms and holidays; there is no field for a person.'
    ),
    ('analytics', 'saved_query', '{name,description,function_name}', 'Name and function of a query.'),
    ('analytics', 'cohort', '{name}', 'Name of a cohort.'),
    ('analytics', 'prediction_target', '{project,description}', 'Targets of predictions.'),
    ('analytics', 'snapshot', '{target}', 'Name of a target.'),
    (
      'analytics', 'training', '{target,moments,courses_left,algorithms_left}',
      'Work that a training has left.'
    )
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
values ('analytics', 20, 'analytics.export', 'Training data of predictions, and names of authors.')
on conflict (room) do update set export_function = excluded.export_function;

--! Included recommend/interactions/_move_taken.sql
create or replace function recommend._move_taken(people bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  with named as (
    select array_agg(taken.identity_id) as identity_ids, array_agg(taken.first_at) as first_at,
      array_agg(taken.person_id) as people, array_agg(taken.item_id) as items
    from recommend.taken
    where taken.person_id = any (_move_taken.people)
  ),

  moved as materialized (
    select entry.person_id, entry.identity_id, entry.item_id, entry.owner_id
    from named
    cross join lateral unnest(
      named.people, named.identity_ids, named.items,
      track.people_of_identities(named.identity_ids, named.first_at)
    ) as entry (person_id, identity_id, item_id, owner_id)
    where entry.owner_id is distinct from entry.person_id
      or not privacy.may_store(entry.person_id, 'personalization')
  ),

  deleted as (
    delete from recommend.taken
    using moved
    where taken.person_id = moved.person_id
      and taken.identity_id = moved.identity_id
      and taken.item_id = moved.item_id
    returning moved.owner_id, taken.*
  )

  insert into recommend.taken (
    person_id, identity_id, item_id, first_at, last_at, taken_at, completed_at, dropped_at, dismissed_at, liking,
    liked_at, known_at, topic_dismissed_at
  )
  select
    owner_id, identity_id, item_id, first_at, last_at, taken_at, completed_at, dropped_at, dismissed_at, liking,
    liked_at, known_at, topic_dismissed_at
  from deleted
  where owner_id <> person_id
    and privacy.may_store(owner_id, 'personalization')
  on conflict do nothing;
end;
$$;

comment on function recommend._move_taken(bigint[]) is $$
@behavior -*
Moves rows of `recommend.taken` to the people to whom their identities belong now, after links or unlinks.
Rows of people who have opted out of `personalization`, and of identities that do not exist any more, are deleted.
$$;
--! EndIncluded recommend/interactions/_move_taken.sql

--! Included recommend/interactions/_store_topics.sql
create or replace function recommend._store_topics(
  people bigint[],
  allowed bigint[],
  fresh recommend.dismissed_topic[]
)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  -- Rows whose first event is not among those of the person any more: it was moved, or is deleted.
  with suspect as (
    select
      array_agg(stored) as topics,
      track.people_of_identities(array_agg(stored.identity_id), array_agg(stored.first_at)) as owners
    from recommend.dismissed_topic as stored
    where stored.person_id = any (_store_topics.allowed)
      and not exists (
        select
        from unnest(_store_topics.fresh) as fresh
        where fresh.person_id = stored.person_id
          and fresh.topic = stored.topic
          and fresh.first_at = stored.first_at
      )
  ),

  said as (
    select fresh.*
    from unnest(_store_topics.fresh) as fresh

    union all

    select entry.owner_id, entry.topic, entry.dismissed_at, entry.withdrawn_at, entry.identity_id, entry.first_at
    from suspect
    cross join lateral unnest(suspect.topics, suspect.owners) as entry (
      person_id, topic, dismissed_at, withdrawn_at, identity_id, first_at, owner_id
    )
    where entry.owner_id is not null
      and (
        select true
        from track.event
        where event.person_id = entry.owner_id
          and event.occurred_at = entry.first_at
        limit 1
      ) is null
      and privacy.may_store(entry.owner_id, 'personalization')
  ),

  merged as materialized (
    select
      said.person_id,
      said.topic,
      max(said.dismissed_at) as dismissed_at,
      max(said.withdrawn_at) as withdrawn_at,
      (array_agg(said.identity_id order by said.first_at, said.identity_id))[1] as identity_id,
      min(said.first_at) as first_at
    from said
    group by said.person_id, said.topic
  ),

  deleted as (
    delete from recommend.dismissed_topic
    where dismissed_topic.person_id = any (_store_topics.people)
      and not exists (
        select
        from merged
        where merged.person_id = dismissed_topic.person_id
          and merged.topic = dismissed_topic.topic
      )
  )

  -- A row that moves to a person who is not refreshed now is added to hers.
  insert into recommend.dismissed_topic (person_id, topic, dismissed_at, withdrawn_at, identity_id, first_at)
  select merged.person_id, merged.topic, merged.dismissed_at, merged.withdrawn_at, merged.identity_id, merged.first_at
  from merged
  on conflict (person_id, topic) do update
  set
    dismissed_at = case
      when excluded.person_id = any (_store_topics.people) then excluded.dismissed_at
      else greatest(dismissed_topic.dismissed_at, excluded.dismissed_at)
    end,
    withdrawn_at = case
      when excluded.person_id = any (_store_topics.people) then excluded.withdrawn_at
      else greatest(dismissed_topic.withdrawn_at, excluded.withdrawn_at)
    end,
    identity_id = excluded.identity_id,
    first_at = excluded.first_at
  where dismissed_topic is distinct from excluded;
end;
$$;

comment on function recommend._store_topics(bigint[], bigint[], recommend.dismissed_topic[]) is $$
@behavior -*
Replaces the topics that people are not interested in by those computed from their events.
A row whose first event is deleted stays, and follows its identity. `people` are refreshed, `allowed` are those of them
whose data may be used, `fresh` is the result of the computation.
$$;
--! EndIncluded recommend/interactions/_store_topics.sql

--! Included recommend/interactions/refresh_interactions.sql
/*
 * An event can add to, complete or dismiss an interaction, and a merge or an erasure can remove events. Therefore the
 * interactions of the changed people are recomputed from all of their events. Only rows that differ are written.
 */
create or replace function recommend.refresh_interactions(people bigint[], since timestamptz[], until timestamptz[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_by_default constant boolean := (
    select purpose.basis <> 'consent'
    from privacy.purpose
    where purpose.purpose = 'personalization'
  );
  -- With the default "allowed", the decisions that matter are opt-outs; with the default "not allowed", grants.
  v_allowed constant bigint[] := array(
    select distinct changed.person_id
    from unnest(refresh_interactions.people) as changed (person_id)
    where v_by_default <> (
      changed.person_id in (
        select decision.person_id
        from privacy.latest_decisions('personalization', refresh_interactions.people) as decision
        where decision.granted <> v_by_default
      )
    )
  );
  v_topics recommend.dismissed_topic[];
begin
  if exists (select from recommend.taken where taken.person_id = any (refresh_interactions.people)) then
    perform recommend._move_taken(refresh_interactions.people);
  end if;

  with fresh as materialized (
    select interaction.*
    from recommend._interactions_of(v_allowed) as interaction
  ),

  -- Stored interactions whose first event is not among those of the person any more: it was moved, or is deleted.
  suspect as (
    select
      array_agg(interaction.person_id) as people,
      array_agg(interaction.item_id) as items,
      array_agg(interaction.first_at) as first_at,
      array_agg(coalesce(interaction.identity_id, interaction.person_id)) as identity_ids
    from recommend.interaction
    where interaction.person_id = any (v_allowed)
      and not exists (
        select
        from fresh
        where fresh.person_id = interaction.person_id
          and fresh.item_id = interaction.item_id
          and fresh.first_at = interaction.first_at
      )
  ),

  kept as (
    select
      array_agg(taken) as interactions,
      track.people_of_identities(array_agg(taken.identity_id), array_agg(taken.first_at)) as owners
    from suspect
    cross join lateral recommend._kept_of(
      suspect.people, suspect.items, suspect.first_at,
      track.people_of_identities(suspect.identity_ids, suspect.first_at)
    ) as taken
  ),

  stored_taken as (
    insert into recommend.taken (
      person_id, identity_id, item_id, first_at, last_at, taken_at, completed_at, dropped_at, dismissed_at, liking,
      liked_at, known_at, topic_dismissed_at
    )
    select distinct on (entry.owner_id, entry.item_id, entry.identity_id)
      entry.owner_id, entry.identity_id, entry.item_id, entry.first_at, entry.last_at, entry.taken_at,
      entry.completed_at, entry.dropped_at, entry.dismissed_at, entry.liking, entry.liked_at, entry.known_at,
      entry.topic_dismissed_at
    from kept
    cross join lateral unnest(kept.interactions, kept.owners) as entry (
      person_id, identity_id, item_id, first_at, last_at, taken_at, completed_at, dropped_at, dismissed_at, liking,
      liked_at, known_at, topic_dismissed_at, owner_id
    )
    where entry.owner_id is not null
      and num_nonnulls(
        entry.taken_at, entry.completed_at, entry.dropped_at, entry.dismissed_at, entry.liked_at, entry.known_at,
        entry.topic_dismissed_at
      ) > 0
      and privacy.may_store(entry.owner_id, 'personalization')
    order by entry.owner_id, entry.item_id, entry.identity_id, entry.last_at desc
    on conflict (person_id, item_id, identity_id) do update
    set
      first_at = least(taken.first_at, excluded.first_at),
      last_at = greatest(taken.last_at, excluded.last_at),
      taken_at = greatest(taken.taken_at, excluded.taken_at),
      completed_at = greatest(taken.completed_at, excluded.completed_at),
      dropped_at = greatest(taken.dropped_at, excluded.dropped_at),
      dismissed_at = greatest(taken.dismissed_at, excluded.dismissed_at),
      liking = case when excluded.liked_at >= taken.liked_at or taken.liked_at is null then excluded.liking
        else taken.liking end,
      liked_at = greatest(taken.liked_at, excluded.liked_at),
      known_at = greatest(taken.known_at, excluded.known_at),
      topic_dismissed_at = greatest(taken.topic_dismissed_at, excluded.topic_dismissed_at)
  ),

  deleted as (
    delete from recommend.interaction
    where interaction.person_id = any (refresh_interactions.people)
      and not exists (
        select
        from fresh
        where fresh.person_id = interaction.person_id
          and fresh.item_id = interaction.item_id
      )
  ),

  stored as (
    insert into recommend.interaction (
      person_id, item_id, weight, event_count, first_at, last_at, completed_at, dismissed_at, identity_id, dropped_at,
      resumed_at, liking, liked_at, known_at, topic_dismissed_at, withdrawn_at
    )
    select
      person_id, item_id, weight, event_count, first_at, last_at, completed_at, dismissed_at, identity_id, dropped_at,
      resumed_at, liking, liked_at, known_at, topic_dismissed_at, withdrawn_at
    from fresh
    where topic is null
    on conflict (person_id, item_id) do update
    set
      weight = excluded.weight,
      event_count = excluded.event_count,
      first_at = excluded.first_at,
      last_at = excluded.last_at,
      completed_at = excluded.completed_at,
      dismissed_at = excluded.dismissed_at,
      identity_id = excluded.identity_id,
      dropped_at = excluded.dropped_at,
      resumed_at = excluded.resumed_at,
      liking = excluded.liking,
      liked_at = excluded.liked_at,
      known_at = excluded.known_at,
      topic_dismissed_at = excluded.topic_dismissed_at,
      withdrawn_at = excluded.withdrawn_at
    where interaction is distinct from excluded
  )

  select array_agg(
    row(
      fresh.person_id, fresh.topic, fresh.topic_dismissed_at, fresh.withdrawn_at, fresh.identity_id, fresh.first_at
    )::recommend.dismissed_topic
  )
  into v_topics
  from fresh
  where fresh.topic is not null;

  if v_topics is not null
    or exists (
      select from recommend.dismissed_topic where dismissed_topic.person_id = any (refresh_interactions.people)
    )
  then
    perform recommend._store_topics(refresh_interactions.people, v_allowed, v_topics);
  end if;
end;
$$;

comment on function recommend.refresh_interactions(bigint[], timestamptz[], timestamptz[]) is $$
Recomputes `recommend.interaction` for the given people, whose events or decisions changed. Called by `track.refresh`.
All events of these people are read; `since` and `until` are not used. Idempotent, also after late events, merges of
people and deletions. People who have opted out of `personalization` have no interactions. Interactions whose events are
deleted are kept in `recommend.taken` as far as they leave items out of lists.
$$;
--! EndIncluded recommend/interactions/refresh_interactions.sql

--! Included recommend/rules/_person_sets.sql
/* A definer: people may not read the sets. It returns those of the caller, or of any person to those who read all. */
create or replace function recommend._person_sets(person_id bigint)
returns text[]
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
set plan_cache_mode to force_generic_plan
set enable_seqscan to off
as $$
begin
  if _person_sets.person_id is null
    or _person_sets.person_id <= 0
    or not (
      _person_sets.person_id is not distinct from track.current_person_id()
      or track.reads_all_people()
    )
  then
    return '{}';
  end if;

  return array(
    select named.name
    from track.person_set as named
    where (
        select get_bit(block.people, (_person_sets.person_id % 4096)::int)
        from track.person_set_block as block
        where block.name = named.name
          and block.block = _person_sets.person_id / 4096
      ) = 1
      and (
        exists (select from recommend.rule where rule.person_set = named.name)
        or exists (select from recommend.ranked_list where ranked_list.list = named.name)
      )
    order by named.name
  );
end;
$$;

comment on function recommend._person_sets(bigint) is $$
@behavior -*
Returns the sets that contain a person, as of the last refresh, of those that a rule or a ranked list names.
Empty unless the person is the caller, or the caller may read the data of all people.
$$;

grant execute on function recommend._person_sets(bigint) to insights_reader, insights_learner;
--! EndIncluded recommend/rules/_person_sets.sql

--! Included recommend/interactions/_recomputed_of.sql
create or replace function recommend._recomputed_of(person_id bigint, items bigint[], since timestamptz)
returns table (
  item_id bigint,
  weight real,
  last_at timestamptz,
  completed_at timestamptz,
  dismissed_at timestamptz,
  dropped_at timestamptz,
  resumed_at timestamptz,
  liking real,
  liked_at timestamptz,
  known_at timestamptz,
  topic_dismissed_at timestamptz,
  withdrawn_at timestamptz,
  topic text,
  taken_at timestamptz
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
-- The statistics of the queues are often those of empty tables.
set enable_seqscan to off
set plan_cache_mode to force_generic_plan
as $$
begin
  return query
  with fresh as materialized (
    select interaction.*
    from recommend._interactions_of(
      array[_recomputed_of.person_id], _recomputed_of.items, _recomputed_of.since
    ) as interaction
  ),

  -- Stored interactions whose first event is not there any more, which the next refresh may keep.
  suspect as (
    select
      array_agg(interaction.person_id) as people,
      array_agg(interaction.item_id) as items,
      array_agg(interaction.first_at) as first_at,
      array_agg(identity.person_id) as owners
    from recommend.interaction
    join track.identity
      on identity.identity_id = coalesce(interaction.identity_id, interaction.person_id)
      and identity.person_id = interaction.person_id
    where interaction.person_id = _recomputed_of.person_id
      and (_recomputed_of.items is null or interaction.item_id = any (_recomputed_of.items))
      and not exists (
        select
        from fresh
        where fresh.item_id = interaction.item_id
          and fresh.first_at = interaction.first_at
      )
  )

  select
    fresh.item_id, fresh.weight, fresh.last_at, fresh.completed_at, fresh.dismissed_at, fresh.dropped_at,
    fresh.resumed_at, fresh.liking, fresh.liked_at, fresh.known_at, fresh.topic_dismissed_at, fresh.withdrawn_at,
    fresh.topic, null::timestamptz
  from fresh

  union all

  select
    coalesce(item.merged_item_id, item.item_id), 0, kept.last_at, kept.completed_at, kept.dismissed_at,
    kept.dropped_at, null, kept.liking, kept.liked_at, kept.known_at, kept.topic_dismissed_at, null, null,
    kept.taken_at
  from suspect
  cross join lateral recommend._kept_of(suspect.people, suspect.items, suspect.first_at, suspect.owners) as kept
  join track.item using (item_id)

  union all

  -- Topics whose events are deleted, which the next refresh keeps, too. Of a topic, only the last times are stored.
  select
    null, null, null, null, null, null, null, null, null, null, dismissed_topic.dismissed_at,
    dismissed_topic.withdrawn_at, dismissed_topic.topic, null
  from recommend.dismissed_topic
  where dismissed_topic.person_id = _recomputed_of.person_id
    and _recomputed_of.since = '-infinity'
    and (
      select true
      from track.event
      where event.person_id = _recomputed_of.person_id
        and event.occurred_at = dismissed_topic.first_at
      limit 1
    ) is null
    and exists (
      select
      from track.identity
      where identity.identity_id = dismissed_topic.identity_id
        and identity.person_id = _recomputed_of.person_id
    );
end;
$$;

comment on function recommend._recomputed_of(bigint, bigint[], timestamptz) is $$
@behavior -*
Returns what a person did with the given items, from her events since a time, for which stored rows are incomplete.
`items` null: all items. `since` is the time of the first event of these items. The rows with a topic and no item are
those of topics that were dismissed by name; from `-infinity`, all of them. What the next refresh keeps of deleted
events is included.
$$;

grant execute on function recommend._recomputed_of(bigint, bigint[], timestamptz)
to insights_reader, insights_learner;
--! EndIncluded recommend/interactions/_recomputed_of.sql

--! Included recommend/interactions/_context.sql
create or replace function recommend._context(person_id bigint, identity_id bigint, kind text)
returns recommend.person_context
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
-- The statistics of the queues are often those of empty tables.
set enable_seqscan to off
set plan_cache_mode to force_generic_plan
as $$
declare
  v_person_id constant bigint := _context.person_id;
  v_setting constant recommend.setting := (select setting from recommend.setting);
  v_full_weight constant real := (v_setting).full_weight;
  v_kept_kinds constant text[] := (v_setting).kept_kinds;
  -- Period of the events that are queued for the refresh. In it, the stored interactions are incomplete.
  v_since timestamptz;
  v_until timestamptz;
  v_is_behind boolean;
  v_changed bigint[] := '{}';
  v_first_at timestamptz;
  v_own bigint[] := '{}';
  v_topics text[];
  v_dismissed_at timestamptz[];
  v_withdrawn_at timestamptz[];
  v_topical bigint[];
  v_topical_at timestamptz[];
  v_period interval;
  v_most_items constant int := 500;
  v_context recommend.person_context := row(
    v_person_id, coalesce(_context.identity_id, 0), '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}'
  );
begin
  -- Without consent no data is read.
  if v_person_id is null or not privacy.allowed(v_person_id, 'personalization') then
    return v_context;
  end if;

  select min(queued.since), max(queued.until)
  into v_since, v_until
  from (
    select stale.since, stale.until
    from track.stale
    where stale.person_id = v_person_id

    union all

    select changed.since, changed.until
    from track.changed
    where changed.person_id = v_person_id
      and changed.consumer = 'recommend.interaction'
  ) as queued;
  v_is_behind := v_since is not null;

  -- Items with events in this period are computed from events. The stored interactions of the others are complete.
  if v_since = '-infinity' then
    v_changed := null;
    v_first_at := '-infinity';
  elsif v_is_behind then
    with noticed as materialized (
      select distinct event.item_id
      from track.event
      where event.person_id = v_person_id
        and event.occurred_at between v_since and v_until
        and event.item_id is not null
    )

    select
      coalesce(array_agg(distinct changed.item_id) filter (where changed.item_id is not null), '{}'),
      least(min(changed.first_at), v_since)
    into v_changed, v_first_at
    from (
      select interaction.item_id, interaction.first_at
      from recommend.interaction
      where interaction.person_id = v_person_id
        and (
          interaction.first_at <= v_until and interaction.last_at >= v_since
          or interaction.item_id in (select noticed.item_id from noticed)
        )

      union all

      select noticed.item_id, null
      from noticed

      union all

      -- Of a topic, only the last times are stored.
      select null, '-infinity'
      from recommend.dismissed_topic
      where dismissed_topic.person_id = v_person_id
        and (
          dismissed_topic.dismissed_at between v_since and v_until
          or dismissed_topic.withdrawn_at between v_since and v_until
        )
    ) as changed;
  end if;

  -- Items that the person teaches or wrote, with all that they contain: her use is not that of a learner.
  if exists (select from track.item_role where item_role.person_id = v_person_id) then
    v_own := array(
      select distinct ancestor.item_id
      from track.applied_item_role as item_role
      join track.item_ancestor as ancestor on ancestor.ancestor_item_id = item_role.item_id
      where item_role.person_id = v_person_id
    );
  end if;

  with leaf as materialized (
    select
      interaction.item_id, interaction.weight, interaction.last_at, interaction.completed_at,
      interaction.dismissed_at, interaction.dropped_at, interaction.resumed_at, interaction.liking,
      interaction.liked_at, interaction.known_at, interaction.topic_dismissed_at, interaction.withdrawn_at,
      null as topic, null::timestamptz as taken_at, null::timestamptz as enrolled_at
    from recommend.interaction
    where interaction.person_id = v_person_id
      and (not v_is_behind or interaction.item_id <> all (v_changed))

    union all

    select
      null, null, null, null, null, null, null, null, null, null, dismissed_topic.dismissed_at,
      dismissed_topic.withdrawn_at, dismissed_topic.topic, null, null
    from recommend.dismissed_topic
    where dismissed_topic.person_id = v_person_id
      and v_first_at is distinct from '-infinity'

    union all

    select recomputed.*, null
    from recommend._recomputed_of(v_person_id, v_changed, v_first_at) as recomputed
    where v_is_behind

    union all

    -- Items that the person had taken before the events were deleted.
    select
      coalesce(item.merged_item_id, item.item_id), 0, taken.last_at, taken.completed_at, taken.dismissed_at,
      taken.dropped_at, null, taken.liking, taken.liked_at, taken.known_at, taken.topic_dismissed_at, null, null,
      taken.taken_at, null
    from recommend.taken
    join track.item using (item_id)
    where taken.person_id = v_person_id

    union all

    -- An enrolment that the application reports counts as taken.
    select
      enrolment.item_id, v_full_weight, enrolment.enrolled_at,
      case when enrolment.status = 'completed' then coalesce(enrolment.ended_at, enrolment.enrolled_at) end,
      null,
      case when enrolment.status = 'dropped' then coalesce(enrolment.ended_at, enrolment.enrolled_at) end,
      case when enrolment.status <> 'dropped' then enrolment.enrolled_at end,
      null, null, null, null, null, null, null,
      case when enrolment.status = 'active' then enrolment.enrolled_at end
    from track.enrolment
    where enrolment.person_id = v_person_id
  ),

  -- By arrays, so that the items are looked up by index whatever the size of the catalogue.
  part as materialized (
    select ancestor.item_id, ancestor.ancestor_item_id
    from track.item_ancestor as ancestor
    where ancestor.item_id = any (
      array(
        select leaf.item_id
        from leaf
        where v_own = '{}' or leaf.item_id <> all (v_own)
      )
    )
  ),

  -- Courses too: the person is in them already, which matters for their parts.
  target as materialized (
    select item.item_id, item.kind = _context.kind as is_of_kind
    from track.item
    where item.item_id = any (array(select part.ancestor_item_id from part))
      and (item.kind = _context.kind or item.kind = any (v_kept_kinds))
  ),

  used as (
    select target.item_id, target.is_of_kind, sum(leaf.weight::float8) as weight, max(leaf.last_at) as last_at
    from target
    join part on part.ancestor_item_id = target.item_id
    join leaf on leaf.item_id = part.item_id
    group by target.item_id, target.is_of_kind
  ),

  -- Events that are not only use. Most items of a person have none.
  expressed as materialized (
    select leaf.*
    from leaf
    where num_nonnulls(
        leaf.completed_at, leaf.dismissed_at, leaf.dropped_at, leaf.resumed_at, leaf.liked_at, leaf.known_at,
        leaf.topic_dismissed_at, leaf.withdrawn_at, leaf.topic, leaf.taken_at, leaf.enrolled_at
      ) > 0
  ),

  -- Those of the item itself, not of parts of it.
  said as materialized (
    select
      expressed.item_id,
      max(expressed.completed_at) as completed_at,
      max(expressed.dismissed_at) as dismissed_at,
      max(expressed.dropped_at) as dropped_at,
      max(expressed.resumed_at) as resumed_at,
      (array_agg(expressed.liking order by expressed.liked_at desc nulls last))[1] as liking,
      max(expressed.liked_at) as liked_at,
      max(expressed.known_at) as known_at,
      max(expressed.withdrawn_at) as withdrawn_at,
      max(expressed.taken_at) as taken_at,
      max(expressed.enrolled_at) as enrolled_at
    from expressed
    where expressed.topic is null
      and (v_own = '{}' or expressed.item_id <> all (v_own))
    group by expressed.item_id
  ),

  stated as (
    select
      said.item_id, said.completed_at, said.dismissed_at, said.dropped_at, said.resumed_at, said.withdrawn_at,
      said.taken_at, said.enrolled_at,
      case when said.liked_at > coalesce(said.withdrawn_at, '-infinity') then said.liking end as liking,
      case
        when said.liking > 0 and said.liked_at > coalesce(said.withdrawn_at, '-infinity') then said.liked_at
      end as liked_at,
      coalesce(said.known_at > coalesce(said.withdrawn_at, '-infinity'), false) as is_known
    from said
  ),

  judged as materialized (
    select
      stated.*,
      recommend._is_rejected(stated.dismissed_at, stated.withdrawn_at, stated.resumed_at, stated.liked_at)
        as is_dismissed,
      stated.completed_at is null
        and recommend._is_rejected(stated.dropped_at, null, stated.resumed_at, stated.liked_at) as is_dropped
    from stated
  ),

  listed as (
    select
      used.item_id,
      used.last_at,
      case
        when used.is_of_kind then recommend._strength(
          used.weight, v_full_weight, judged.liking, judged.is_dismissed or judged.is_dropped
        )
        else 0
      end as strength,
      case
        when judged.completed_at is not null then 'completed'
        when judged.is_known then 'known'
        when judged.is_dropped then 'dropped'
        when judged.is_dismissed then 'dismissed'
        when judged.liking < 0 then 'disliked'
        when judged.enrolled_at is not null then 'enrolled'
        when judged.taken_at is not null or used.weight >= v_full_weight then 'taken'
      end as reason
    from used
    left join judged using (item_id)

    union all

    select item.item_id, null, 0, 'own'
    from unnest(v_own) as own (item_id)
    join track.item using (item_id)
    where item.kind = _context.kind
  )

  select
    coalesce(list.items, '{}'), coalesce(list.strengths, '{}'), coalesce(list.left_out, '{}'),
    coalesce(list.reasons, '{}'), coalesce(done.items, '{}'),
    topic.topics, topic.dismissed_at, topic.withdrawn_at, topic.items, topic.items_at
  into
    v_context.items, v_context.strengths, v_context.left_out, v_context.left_out_reasons, v_context.finished,
    v_topics, v_dismissed_at, v_withdrawn_at, v_topical, v_topical_at
  from (
    select
      array_agg(listed.item_id order by listed.last_at, listed.item_id) filter (where listed.strength <> 0) as items,
      array_agg(listed.strength order by listed.last_at, listed.item_id) filter (where listed.strength <> 0)
        as strengths,
      array_agg(listed.item_id order by listed.item_id) filter (where listed.reason is not null) as left_out,
      array_agg(listed.reason order by listed.item_id) filter (where listed.reason is not null) as reasons
    from listed
  ) as list
  cross join (
    select array_agg(judged.item_id order by judged.item_id) as items
    from judged
    where judged.completed_at is not null
      or judged.is_known
  ) as done
  cross join (
    select
      array_agg(said.topic) filter (where said.topic is not null) as topics,
      array_agg(said.dismissed_at) filter (where said.topic is not null) as dismissed_at,
      array_agg(said.withdrawn_at) filter (where said.topic is not null) as withdrawn_at,
      array_agg(said.item_id) filter (where said.topic is null) as items,
      array_agg(said.dismissed_at) filter (where said.topic is null) as items_at
    from (
      select
        expressed.topic, expressed.item_id,
        max(expressed.topic_dismissed_at) as dismissed_at,
        max(expressed.withdrawn_at) as withdrawn_at
      from expressed
      group by expressed.topic, expressed.item_id
    ) as said
    where said.topic is not null
      or said.dismissed_at > coalesce(said.withdrawn_at, '-infinity')
  ) as topic;
  -- The cost of a list is in proportion to these items. What is left out, and what is finished, is complete.
  v_context.items := v_context.items[cardinality(v_context.items) - v_most_items + 1:];
  v_context.strengths := v_context.strengths[cardinality(v_context.strengths) - v_most_items + 1:];

  if num_nonnulls(v_topics, v_topical) > 0 then
    v_context.dismissed_topics := array(
      select said.topic
      from (
        select named.topic, named.dismissed_at, named.withdrawn_at
        from unnest(v_topics, v_dismissed_at, v_withdrawn_at) as named (topic, dismissed_at, withdrawn_at)

        union all

        select item.topic, named.dismissed_at, null
        from unnest(v_topical, v_topical_at) as named (item_id, dismissed_at)
        join recommend._topics(v_topical) as item using (item_id)
      ) as said
      group by said.topic
      having max(said.dismissed_at) > coalesce(max(said.withdrawn_at), '-infinity')
      order by said.topic collate "C"
    );
  end if;

  v_context.person_sets := recommend._person_sets(v_person_id);

  -- Items that were served lately, if a rule leaves them out.
  v_period := recommend._shown_period(v_context, _context.kind);
  if v_period is not null then
    select recent.shown, recent.shown_at into v_context.shown, v_context.shown_at
    from recommend._recently_shown(v_person_id, v_period) as recent;
  end if;

  -- As the application sends it: "de", "pt-BR", "en_GB.UTF-8" or a list of them.
  v_context.languages := array(
    select distinct split_part(replace(lower(btrim(named.language #>> '{}')), '_', '-'), '.', 1)
    from (
      select trait.value
      from track.trait
      where trait.person_id = v_person_id
        and trait.name in ('language', 'languages', 'locale')
      order by trait.name = 'locale', trait.set_at desc, trait.identity_id
      limit 1
    ) as latest
    cross join lateral jsonb_array_elements(
      case jsonb_typeof(latest.value) when 'array' then latest.value else jsonb_build_array(latest.value) end
    ) as named (language)
    where jsonb_typeof(named.language) = 'string'
      and btrim(named.language #>> '{}') <> ''
    order by 1
  );
  return v_context;
end;
$$;

comment on function recommend._context(bigint, bigint, text) is $$
@behavior -*
Returns what a list of items of a kind depends on for a person, as far as the caller may read it.
`items` are the last 500. `left_out` has also the items of `recommend.setting.kept_kinds`, such as the courses of a
page. Events that the refresh has not processed yet are included. All lists are empty for an unknown person, and for one
who has opted out of `personalization`.
$$;

grant execute on function recommend._context(bigint, bigint, text) to insights_reader, insights_learner;
--! EndIncluded recommend/interactions/_context.sql

--! Included recommend/feedback/_record_impressions.sql
/*
 * A definer: no role may write impressions. The rows are those of signed ids of this very transaction, so that a caller
 * can record only what was listed for the person.
 */
create or replace function recommend._record_impressions(serving_ids text[])
returns void
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_servings recommend.serving[];
  v_listed_at constant timestamptz := date_trunc('milliseconds', now());
  v_reads_all constant boolean := track.reads_all_people();
  -- A list for no person is shown to the one who is signed in.
  v_identity_ids bigint[];
  v_owners bigint[];
begin
  perform recommend._check_session('record what is served', '{}');
  perform common.check_count('the number of serving ids', cardinality(serving_ids), 0, 1000);
  v_servings := array(
    select recommend._read_serving_id(given.serving_id)
    from unnest(_record_impressions.serving_ids) with ordinality as given (serving_id, position)
    order by given.position
  );
  v_identity_ids := array(
    select coalesce(
      serving.identity_id,
      case
        when not v_reads_all and track.current_person_id() is not null
          then track.find_identity(current_setting('insights.person', true))
      end
    )
    from unnest(v_servings) with ordinality as serving
    order by serving.ordinality
  );
  if exists (
    select
    from unnest(v_servings) as serving
    where serving.problem is not null
      or serving.listed_at <> v_listed_at
  ) then
    perform common.refuse('CF005', 'a row was not listed in this transaction',
      'Call recommend.serve_me, serve_person or serve_items.');
  end if;

  -- The persons of the identities must not change until the end of the transaction.
  if current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
    -- Fails (40001) when they have changed since the snapshot: a key share lock would not.
    perform identity.identity_id
    from track.identity
    where identity.identity_id = any (v_identity_ids)
    order by identity.identity_id
    for share;
  else
    perform identity.identity_id
    from track.identity
    where identity.identity_id = any (v_identity_ids)
    order by identity.identity_id
    for key share;
  end if;
  v_owners := track.people_of_identities(
    v_identity_ids,
    array(select serving.listed_at from unnest(v_servings) with ordinality as serving order by serving.ordinality)
  );
  if not v_reads_all and exists (
    select
    from unnest(v_owners) as owner (person_id)
    where owner.person_id <> coalesce(track.current_person_id(), 0)
  ) then
    perform common.refuse('CF005', 'a row was listed for another person',
      'Learners can record only what was listed for themselves.');
  end if;

  insert into recommend.impression (
    person_id, serving_key, identity_id, model_id, item_id, rank, basis, propensity, pool, listed_at, is_served
  )
  select distinct on (owned.person_id, serving.serving_key)
    owned.person_id, serving.serving_key, v_identity_ids[serving.ordinality], serving.model_id, serving.item_id,
    serving.rank, serving.basis, serving.propensity, serving.pool, serving.listed_at, true
  from unnest(v_servings) with ordinality as serving
  join unnest(v_owners) with ordinality as owned (person_id, position) on owned.position = serving.ordinality
  where owned.person_id in (
    select entry.person_id
    from (select distinct given.person_id from unnest(v_owners) as given (person_id)) as entry
    where entry.person_id <> 0
      and privacy.allowed(entry.person_id, 'personalization')
  )
  order by owned.person_id, serving.serving_key
  on conflict (person_id, serving_key) do update
  set is_served = true
  where not impression.is_served;
end;
$$;

comment on function recommend._record_impressions(text[]) is $$
@behavior -*
Records rows of lists of this transaction as served, each once, by their `serving_id`.
A row that was listed for no person is recorded for the learner who is signed in, and otherwise not. Rows of people who
have opted out of `personalization` are not recorded.
Errors: CF005 for an id that is invalid, of another transaction, or, for learners, of another person.
$$;

grant execute on function recommend._record_impressions(text[])
to insights_visitor, insights_learner, insights_admin, insights_worker;
--! EndIncluded recommend/feedback/_record_impressions.sql

--! Included recommend/rules/_rules_of.sql
create or replace function recommend._rules_of(context recommend.person_context, kind text, at timestamptz)
returns setof recommend.rule
language sql
stable
parallel safe
begin atomic
  -- In SQL, because it is then a part of the statement that calls it.
  select rule.*
  from recommend.rule
  where rule.is_active
    and (rule.kind is null or rule.kind = _rules_of.kind)
    and (rule.active_from is null or rule.active_from <= _rules_of.at)
    and (rule.active_until is null or rule.active_until > _rules_of.at)
    and (
      rule.person_set is null
      or (rule.person_set = any (coalesce((_rules_of.context).person_sets, '{}'))) <> rule.is_outside_set
    );
end;

comment on function recommend._rules_of(recommend.person_context, text, timestamptz) is $$
@behavior -*
Returns the rules that apply to a list of a kind for a person at a time.
$$;
--! EndIncluded recommend/rules/_rules_of.sql

--! Included recommend/rules/_shown_period.sql
/*
 * A definer: people may not read the rules. Learners execute it through recommend._context: for them, the sets are
 * their own ones, whatever the context states.
 */
create or replace function recommend._shown_period(context recommend.person_context, kind text)
returns interval
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_context recommend.person_context := _shown_period.context;
begin
  if not exists (select from recommend.rule where rule.action = 'not_again' and rule.is_active) then
    return null;
  end if;
  if v_context.person_sets <> '{}' and not track.reads_all_people() then
    v_context.person_sets := recommend._person_sets(track.current_person_id());
  end if;
  return (
    select max(known.period)
    from recommend._rules_of(v_context, _shown_period.kind, now()) as known
    where known.action = 'not_again'
  );
end;
$$;

comment on function recommend._shown_period(recommend.person_context, text) is $$
@behavior -*
Returns for how long an item that was served is left out of a list; null when no rule leaves it out.
$$;

grant execute on function recommend._shown_period(recommend.person_context, text)
to insights_reader, insights_learner;
--! EndIncluded recommend/rules/_shown_period.sql

--! Included recommend/rules/_blocked.sql
/*
 * The only place that decides what is left out. The order is that of the branches of the union: the first one that
 * leaves an item out is its reason. Branches that no rule needs are not executed.
 */
create or replace function recommend._blocked(
  context recommend.person_context,
  kind text,
  items bigint[],
  at timestamptz
)
returns table (item_id bigint, rule text, detail text)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
set plan_cache_mode to force_generic_plan
-- Few rows of small tables: by index, not by reading the table again for each.
set random_page_cost to 1.1
as $$
declare
  v_left_out constant bigint[] := (_blocked.context).left_out;
  v_topics constant text[] := (_blocked.context).dismissed_topics;
  v_finished constant bigint[] := coalesce((_blocked.context).finished, '{}');
  v_started constant bigint[] := array(
    select state.item_id
    from unnest(v_left_out, (_blocked.context).left_out_reasons) as state (item_id, reason)
    where state.reason in ('enrolled', 'taken', 'completed', 'known')
  );
  v_languages constant text[] := array(
    select split_part(replace(lower(spoken.language), '_', '-'), '-', 1)
    from unnest((_blocked.context).languages) as spoken (language)
  );
  v_shown constant bigint[] := (_blocked.context).shown;
  v_rules record;
  -- Items that something may leave out. Of these, those that are part of another one, and those with a capacity.
  v_items bigint[];
  v_parts bigint[];
  v_limited bigint[];
begin
  -- Items of several kinds: each by the rules of its own kind.
  if _blocked.kind is null then
    return query
    select left_out.*
    from (
      select coalesce(item.kind, 'unknown') as kind, array_agg(given.item_id) as items
      from unnest(_blocked.items) as given (item_id)
      left join track.item on item.item_id = given.item_id
      group by coalesce(item.kind, 'unknown')
    ) as part
    cross join lateral recommend._blocked(_blocked.context, part.kind, part.items, _blocked.at) as left_out;
    return;
  end if;

  -- Of several rules of the same check, the first by name is reported, and the longest period applies.
  select
    min(known.name) filter (where known.action = 'topic') as topic,
    min(known.name) filter (where known.action = 'availability') as availability,
    min(known.name) filter (where known.action = 'prerequisites') as prerequisites,
    min(known.name) filter (where known.action = 'capacity') as capacity,
    min(known.name) filter (where known.action = 'language') as language,
    min(known.name) filter (where known.action = 'not_again') as not_again,
    max(known.period) as period,
    array_agg(known) filter (where known.action = 'exclude') as excluding,
    array_agg(known) filter (where known.action = 'include') as including,
    min(known.name) filter (where known.action = 'include') as include
  into v_rules
  from recommend._rules_of(_blocked.context, _blocked.kind, _blocked.at) as known;

  select
    array_agg(doubtful.item_id),
    coalesce(array_agg(doubtful.item_id) filter (where doubtful.is_part), '{}'),
    coalesce(array_agg(doubtful.item_id) filter (where doubtful.is_limited), '{}')
  into v_items, v_parts, v_limited
  from (
    select distinct
      given.item_id,
      item.parent_item_id is not null as is_part,
      item.attributes ->> 'capacity' ~ '^[0-9]{1,9}$' as is_limited
    from unnest(_blocked.items) as given (item_id)
    left join track.item on item.item_id = given.item_id
    where item.kind is distinct from _blocked.kind
      or item.merged_item_id is not null
      or item.parent_item_id is not null
      or item.available_from > _blocked.at
      or item.available_until <= _blocked.at
      or item.attributes ? 'capacity'
      or given.item_id in (select state.item_id from unnest(v_left_out || v_shown) as state (item_id))
      or exists (select from track.prerequisite where prerequisite.item_id = given.item_id)
      or v_topics <> '{}'
      or v_rules.language is not null
      or v_rules.excluding is not null
      or v_rules.including is not null
  ) as doubtful;
  if v_items is null then
    return;
  end if;

  return query
  with candidate as materialized (
    select
      given.item_id, item.kind, item.merged_item_id, item.language, item.attributes, item.available_from,
      item.available_until
    from unnest(v_items) as given (item_id)
    left join track.item on item.item_id = given.item_id
  ),

  left_out as (
    select
      1 as place,
      candidate.item_id,
      case when candidate.merged_item_id is not null then 'merged' else 'kind' end as rule,
      case
        when candidate.kind is null then 'Not a known item'
        when candidate.merged_item_id is not null then 'Another name of an item'
        else format('An item of kind "%s", not "%s"', candidate.kind, left(_blocked.kind, 100))
      end as detail
    from candidate
    where candidate.kind is distinct from _blocked.kind
      or candidate.merged_item_id is not null

    union all

    select
      2,
      candidate.item_id,
      state.reason,
      case state.reason
        when 'own' then 'Taught or written by the person'
        when 'completed' then 'Finished already'
        when 'known' then 'Known already'
        when 'enrolled' then 'Enrolled already'
        when 'taken' then 'Taken already'
        when 'dropped' then 'Dropped earlier'
        when 'dismissed' then 'Dismissed earlier'
        when 'disliked' then 'Disliked'
        else state.reason
      end
    from candidate
    join unnest(v_left_out, (_blocked.context).left_out_reasons) as state (item_id, reason)
      on state.item_id = candidate.item_id

    union all

    select 3, known.item_id, v_rules.topic, format('The topic "%s" was dismissed', left(known.topic, 100))
    from recommend._topics(v_items) as known
    where v_rules.topic is not null
      and v_topics <> '{}'
      and known.topic = any (v_topics)

    union all

    -- Of the item, or else of the nearest item that contains it.
    (
      select distinct on (dated.item_id)
        4,
        dated.item_id,
        v_rules.availability,
        case
          when dated.available_until <= _blocked.at
            then coalesce('Not available since ' || recommend._time_text(dated.available_until), 'Not available')
          else coalesce('Available from ' || recommend._time_text(dated.available_from), 'Not available')
        end
      from (
        select candidate.item_id, 0 as depth, candidate.available_from, candidate.available_until
        from candidate

        union all

        select ancestor.item_id, ancestor.depth, known.available_from, known.available_until
        from track.item_ancestor as ancestor
        join track.item as known on known.item_id = ancestor.ancestor_item_id
        where ancestor.item_id = any (v_parts)
          and ancestor.depth > 0
      ) as dated
      where v_rules.availability is not null
        and (dated.available_until <= _blocked.at or dated.available_from > _blocked.at)
      order by dated.item_id, dated.depth
    )

    union all

    select 5, unmet.item_id, v_rules.prerequisites, unmet.detail
    from recommend._unmet_prerequisites(
      v_items, v_parts, v_finished, v_started, _blocked.at
    ) as unmet
    where v_rules.prerequisites is not null

    union all

    select
      6,
      candidate.item_id,
      v_rules.capacity,
      format('Full: all %s places are taken', candidate.attributes ->> 'capacity')
    from candidate
    left join (
      select enrolment.item_id, count(distinct enrolment.person_id) as people
      from track.enrolment
      where enrolment.item_id = any (v_limited)
        and enrolment.status = 'active'
      group by enrolment.item_id
    ) as taken using (item_id)
    where v_rules.capacity is not null
      and candidate.item_id = any (v_limited)
      and coalesce(taken.people, 0) >= (candidate.attributes ->> 'capacity')::int

    union all

    select
      7,
      candidate.item_id,
      v_rules.language,
      format('In the language "%s"', left(candidate.language, 100))
    from candidate
    where v_rules.language is not null
      and v_languages <> '{}'
      and split_part(replace(lower(candidate.language), '_', '-'), '-', 1) <> all (v_languages)

    union all

    select
      8,
      candidate.item_id,
      v_rules.not_again,
      'Shown on ' || recommend._time_text(served.shown_at)
    from candidate
    join unnest(v_shown, (_blocked.context).shown_at) as served (item_id, shown_at)
      on served.item_id = candidate.item_id
    where v_rules.not_again is not null
      and served.shown_at > _blocked.at - v_rules.period

    union all

    select 9, matched.item_id, min(matched.name), 'Not offered at present'
    from recommend._matching_rules(v_rules.excluding, v_items) as matched
    where v_rules.excluding is not null
    group by matched.item_id

    union all

    select 10, candidate.item_id, v_rules.include, 'Not among the items that are offered at present'
    from candidate
    where v_rules.including is not null
      and candidate.item_id not in (
        select matched.item_id
        from recommend._matching_rules(v_rules.including, v_items) as matched
      )
  )

  select distinct on (left_out.item_id) left_out.item_id, left_out.rule, left_out.detail
  from left_out
  order by left_out.item_id, left_out.place;
end;
$$;

comment on function recommend._blocked(recommend.person_context, text, bigint[], timestamptz) is $$
@behavior -*
Returns those of the given items that are not recommended to a person at a time, each with the first rule for it.
In this order: another kind or name of an item, what the person did (`left_out_reasons`), a dismissed topic,
availability, prerequisites, capacity, language, shown lately, rules that exclude the item, rules that include only
others. Availability and prerequisites are also those of the items that contain it, but without the prerequisites of
one that the person is in already. `kind` null: items of any kind, each by the rules of its own.
$$;
--! EndIncluded recommend/rules/_blocked.sql

--! Included recommend/rules/set_rule.sql
create or replace function recommend.set_rule(
  name text,
  action text,
  items text[] default null,
  within_item text default null,
  attribute text default null,
  attribute_value text default null,
  language text default null,
  kind text default null,
  person_set text default null,
  is_outside_set boolean default false,
  active_from timestamptz default null,
  active_until timestamptz default null,
  amount float8 default null,
  place int default null,
  period interval default null,
  is_active boolean default true
)
returns recommend.rule
language plpgsql
volatile
-- A definer: it writes the rules and their log, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
-- The log and the messages do not depend on the settings of the session.
set timezone to 'UTC'
set datestyle to 'ISO'
set intervalstyle to 'postgres'
as $$
declare
  v_rule recommend.rule;
begin
  perform recommend._check_session('set a rule', '{}');
  perform recommend._find_items(set_rule.items);
  if set_rule.within_item is not null then
    perform recommend._find_items(array[set_rule.within_item]);
  end if;
  if set_rule.person_set is not null then
    perform track.is_in_person_set(set_rule.person_set, 0);
  end if;

  v_rule.name := set_rule.name;
  v_rule.action := set_rule.action;
  v_rule.kind := set_rule.kind;
  v_rule.has_items := set_rule.items is not null;
  v_rule.within_item_id := (select item.item_id from track.item where item.external_id = set_rule.within_item);
  v_rule.attribute := set_rule.attribute;
  v_rule.attribute_value := set_rule.attribute_value;
  v_rule.language := lower(set_rule.language);
  v_rule.person_set := set_rule.person_set;
  v_rule.is_outside_set := coalesce(set_rule.is_outside_set, false);
  v_rule.active_from := set_rule.active_from;
  v_rule.active_until := set_rule.active_until;
  v_rule.amount := set_rule.amount;
  v_rule.place := set_rule.place;
  v_rule.period := set_rule.period;
  v_rule.is_active := coalesce(set_rule.is_active, true);
  perform recommend._check_rule(v_rule);
  if cardinality(set_rule.items) = 0 then
    perform common.refuse('CF001', 'the list of items is empty', 'Give at least one item, or null.');
  end if;

  insert into recommend.rule
  select v_rule.*
  on conflict on constraint rule_pkey do update
  set
    action = excluded.action,
    kind = excluded.kind,
    has_items = excluded.has_items,
    within_item_id = excluded.within_item_id,
    attribute = excluded.attribute,
    attribute_value = excluded.attribute_value,
    language = excluded.language,
    person_set = excluded.person_set,
    is_outside_set = excluded.is_outside_set,
    active_from = excluded.active_from,
    active_until = excluded.active_until,
    amount = excluded.amount,
    place = excluded.place,
    period = excluded.period,
    is_active = excluded.is_active;
  delete from recommend.rule_item where rule_item.name = v_rule.name;
  insert into recommend.rule_item (name, item_id, position)
  select v_rule.name, item.item_id, row_number() over (order by min(given.position))
  from unnest(set_rule.items) with ordinality as given (external_id, position)
  join track.item on item.external_id = given.external_id
  group by item.item_id;
  perform recommend._log_rule(v_rule.name);
  return v_rule;
end;
$$;

comment on function recommend.set_rule(
  text, text, text[], text, text, text, text, text, text, boolean, timestamptz, timestamptz, float8, int, interval,
  boolean
) is $$
Stores a rule of lists, in place of the one with this name if there is one. It applies to the next list.
`action` is one of those of `recommend.rule`. `exclude`, `include` and `boost` apply to the items that fulfil all given
conditions: `items` (at most 1,000 names), `within_item` (this item and its parts), `attribute` with `attribute_value`,
`language`; at least one of them, or `kind`. `pin` applies to `items`: the first one has the rank `place`, the others
follow. The checks, such as `availability`, have no conditions; to switch one off, set it with `is_active => false`.
`kind` limits a rule to lists of a kind, `person_set` to the people in a set, or outside of it (`is_outside_set`), and
`active_from` and `active_until` to a period.
Errors: CF001 for an argument that is invalid or that the action does not use, CF002 for an unknown item, set, kind or
attribute (names the nearest), CF008 for too many items or too long texts.
$$;

grant execute on function recommend.set_rule(
  text, text, text[], text, text, text, text, text, text, boolean, timestamptz, timestamptz, float8, int, interval,
  boolean
) to insights_admin;
--! EndIncluded recommend/rules/set_rule.sql

--! Included recommend/rules/drop_rule.sql
create or replace function recommend.drop_rule(name text)
returns void
language plpgsql
volatile
-- A definer: it writes the rules and their log, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  perform recommend._check_session('drop a rule', '{}');
  delete from recommend.rule where rule.name = drop_rule.name;
  if not found then
    perform common.refuse(
      'CF002',
      format('there is no rule "%s"', coalesce(left(drop_rule.name, 100), 'null')),
      coalesce(
        'Did you mean "'
          || common.nearest_name(
            drop_rule.name, array(select known.name from recommend.rule as known order by known.name limit 1000)
          )
          || '"?',
        'The rules are the rows of recommend.rule.'
      )
    );
  end if;
  perform recommend._log_rule(drop_rule.name);
end;
$$;

comment on function recommend.drop_rule(text) is $$
Removes a rule of lists. A check such as `availability` can be set again by `recommend.set_rule`.
Errors: CF002 for an unknown rule (names the nearest).
$$;

grant execute on function recommend.drop_rule(text) to insights_admin;
--! EndIncluded recommend/rules/drop_rule.sql

--! Included recommend/rules/rule_problems.sql
/* A definer: it calls the functions of rules, which no role may call. It reads no data about people. */
create or replace function recommend.rule_problems()
returns setof recommend.rule_problem
language plpgsql
stable
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
begin
  return query
  with recursive edge as (
    select prerequisite.item_id as holder_id, prerequisite.required_item_id
    from track.prerequisite
  ),

  earlier as (
    select edge.holder_id, edge.required_item_id, edge.required_item_id as item_id
    from edge

    union

    select earlier.holder_id, earlier.required_item_id, next.item_id
    from earlier
    cross join lateral (
      select edge.required_item_id as item_id
      from edge
      where edge.holder_id = earlier.item_id

      union all

      select known.parent_item_id
      from track.item as known
      where known.item_id = earlier.item_id
    ) as next
    where earlier.item_id <> earlier.holder_id
      and next.item_id is not null
  )

  select
    'prerequisites',
    holder.external_id,
    format('requires "%s", which requires it in turn: this requirement is ignored', left(required.external_id, 100))
  from earlier
  join track.item as holder on holder.item_id = earlier.holder_id
  join track.item as required on required.item_id = earlier.required_item_id
  where earlier.item_id = earlier.holder_id
  order by holder.external_id, required.external_id;

  return query
  select
    'prerequisites',
    holder.external_id,
    format('requires "%s", which has ended: this requirement is ignored', left(required.external_id, 100))
  from track.prerequisite
  join track.item as holder on holder.item_id = prerequisite.item_id
  join track.item as required on required.item_id = prerequisite.required_item_id
  where exists (
    select
    from track.item_ancestor as ancestor
    join track.item as known on known.item_id = ancestor.ancestor_item_id
    where ancestor.item_id = required.item_id
      and known.available_until <= now()
  )
  order by holder.external_id, required.external_id;

  return query
  select
    'capacity',
    item.external_id,
    format('has the capacity %s, which is not a whole number: it is ignored',
      left((item.attributes -> 'capacity')::text, 100))
  from track.item
  where item.attributes ? 'capacity'
    and (item.attributes ->> 'capacity' !~ '^[0-9]{1,9}$' or item.attributes ->> 'capacity' is null)
  order by item.external_id;

  return query
  with rule as materialized (
    select known.*
    from recommend.rule as known
    where known.is_active
      and known.action in ('exclude', 'include', 'boost')
      and (known.active_until is null or known.active_until > now())
  ),

  kind as materialized (
    select item.kind, array_agg(item.item_id) as items
    from track.item
    where item.kind <> 'merged'
    group by item.kind
  ),

  matched as (
    select found.name, count(*) as items
    from kind
    cross join lateral (
      select array_agg(rule::recommend.rule) as rules
      from rule
      where rule.kind is null
        or rule.kind = kind.kind
    ) as applied
    cross join lateral recommend._matching_rules(applied.rules, kind.items) as found
    group by found.name
  )

  select
    rule.name,
    null,
    case
      when matched.items is null and rule.action = 'include'
        then 'no item fulfils its conditions: its lists are empty unless another rule includes items'
      when matched.items is null then 'no item fulfils its conditions: it has no effect'
      else 'it excludes all items'
        || coalesce(' of kind "' || rule.kind || '"', '') || ': its lists are empty'
    end
  from rule
  left join matched using (name)
  where matched.items is null
    or rule.action = 'exclude'
      and matched.items = (
        select sum(cardinality(kind.items))
        from kind
        where rule.kind is null
          or rule.kind = kind.kind
      )
  order by rule.name;

  -- For everyone, and for each set of people that has include or exclude rules of its own.
  return query
  with rule as materialized (
    select known.*
    from recommend.rule as known
    where known.is_active
      and known.action in ('exclude', 'include')
      and (known.active_until is null or known.active_until > now())
  ),

  kind as materialized (
    select item.kind, array_agg(item.item_id) as items
    from track.item
    group by item.kind
    having item.kind = 'course'
      or exists (select from recommend._deployed_model(item.kind))
  ),

  audience as (
    select distinct rule.person_set, rule.is_outside_set and rule.person_set is not null as is_outside_set
    from rule

    union

    select null, false
  ),

  applied as materialized (
    select
      kind.kind,
      kind.items,
      audience.person_set,
      audience.is_outside_set,
      array_agg(rule::recommend.rule) filter (where rule.action = 'include') as including,
      array_agg(rule::recommend.rule) filter (where rule.action = 'exclude') as excluding,
      min(rule.name) filter (where rule.action = 'include') as name
    from kind
    cross join audience
    join rule
      on (rule.kind is null or rule.kind = kind.kind)
      and (
        rule.person_set is null
        or (rule.person_set = audience.person_set and rule.is_outside_set = audience.is_outside_set)
      )
    group by kind.kind, kind.items, audience.person_set, audience.is_outside_set
  ),

  emptied as (
    select applied.*
    from applied
    where applied.including is not null
      -- Rules that no item of any kind fulfils are named above.
      and exists (
        select
        from unnest(applied.including) as included
        where exists (
          select
          from (
            select array_agg(item.item_id) as items
            from track.item
            where item.kind <> 'merged'
              and (included.kind is null or item.kind = included.kind)
          ) as known
          cross join lateral recommend._matching_rules(array[included]::recommend.rule[], known.items) as found
        )
      )
      and not exists (
        select
        from recommend._matching_rules(applied.including, applied.items) as offered
        where offered.item_id not in (
          select excluded.item_id
          from recommend._matching_rules(applied.excluding, applied.items) as excluded
        )
      )
  )

  -- A set of people has the problems of everyone.
  select
    emptied.name,
    null,
    format(
      'include and exclude rules leave nothing in the lists of kind "%s"%s',
      left(emptied.kind, 100),
      case
        when emptied.is_outside_set then format(' for people outside of "%s"', left(emptied.person_set, 100))
        when emptied.person_set is not null then format(' for people of "%s"', left(emptied.person_set, 100))
        else ''
      end
    )
  from emptied
  where emptied.person_set is null
    or not exists (
      select
      from emptied as general
      where general.person_set is null
        and general.kind = emptied.kind
    )
  order by emptied.name, emptied.kind, emptied.person_set, emptied.is_outside_set;

  return query
  select known.name, null, 'its period is over: it has no effect'
  from recommend.rule as known
  where known.is_active
    and known.active_until <= now()
  order by known.name;

  return query
  select
    known.name,
    target.external_id,
    format('is of kind "%s": lists of kind "%s" do not contain it', target.kind, known.kind)
  from recommend.rule as known
  join recommend.rule_item as listed using (name)
  join track.item as given on given.item_id = listed.item_id
  join track.item as target on target.item_id = coalesce(given.merged_item_id, given.item_id)
  where known.is_active
    and known.kind <> target.kind
  order by known.name, target.external_id;
end;
$$;

comment on function recommend.rule_problems() is $$
Returns rules and prerequisites that do not have the effect that is written.
These are requirements that are ignored because they are part of a circle or have ended, capacities that are not
numbers, rules that no item fulfils, that leave nothing in a list, or whose period is over, and items of another kind
than their rule.
$$;

grant execute on function recommend.rule_problems() to insights_analyst, insights_admin, insights_worker;
--! EndIncluded recommend/rules/rule_problems.sql

--! Included recommend/serving/_deployed_model.sql
create or replace function recommend._deployed_model(kind text)
returns setof ml.model
language sql
stable
parallel safe
begin atomic
  select model.*
  from ml.project
  cross join lateral (
    select deployment.model_id
    from ml.deployment
    where deployment.project_id = project.project_id
    order by deployment.deployment_id desc
    limit 1
  ) as latest
  join ml.model on model.model_id = latest.model_id
  where project.name = 'recommend.' || _deployed_model.kind
    and model.marked_at is null;
end;

comment on function recommend._deployed_model(text) is $$
Returns the deployed version of the recommender of a kind; no row when there is none, or it is marked.
$$;

grant execute on function recommend._deployed_model(text) to insights_reader;
--! EndIncluded recommend/serving/_deployed_model.sql

--! Included recommend/evaluation/_check_session.sql
create or replace function recommend._check_session(
  what text,
  -- Those of the definers that train and evaluate.
  tables text[] default '{coded,coded\\_item,trained\\_part,owned,entry,all\\_row,held\\_row,train\\_row,resampled,'
    'gain,cell,\\_learn\\_%}'
)
returns void
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_table constant text := (
    select relation.relname
    from pg_class as relation
    where relation.relnamespace = pg_my_temp_schema()
      and relation.relname like any (_check_session.tables)
    order by relation.relname
    limit 1
  );
begin
  if current_setting('transaction_read_only')::boolean then
    perform common.refuse('25006', format('cannot %s in a read-only transaction', _check_session.what),
      'Call it in a transaction that may write, on the primary server.');
  elsif v_table is not null then
    perform common.refuse('CF001', format('this session has a temporary table "%s"', left(v_table, 100)),
      'This function uses a temporary table of this name: rename or drop it.');
  end if;
end;
$$;

comment on function recommend._check_session(text, text[]) is $$
@behavior -*
Checks that the transaction may write, and that no temporary table of the session has a name that the caller will use.
`tables`: patterns of `like`. Errors: 25006, CF001.
$$;

grant execute on function recommend._check_session(text, text[])
to insights_learner, insights_analyst, insights_admin, insights_worker;
--! EndIncluded recommend/evaluation/_check_session.sql

--! Included recommend/serving/_model_candidates.sql
create or replace function recommend._model_candidates(
  model_id bigint,
  items bigint[],
  strengths real[],
  fewest_people int,
  is_lowered boolean,
  seen bigint[],
  only_items bigint[],
  most int,
  out item_ids bigint[],
  out scores float8[]
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
set plan_cache_mode to force_generic_plan
as $$
begin
  -- Materialized, so that the factor is computed once per item, not once per neighbour.
  with source as materialized (
    select
      -- In units of 2^-40: whole numbers, whose sum does not depend on the order.
      1099511627776 * used.strength::float8 * part.share
        * part.history_decay::float8 ^ (cardinality(_model_candidates.items) - used.place) as factor,
      -- An item with a negative strength lowers similar items, and raises none.
      case when used.strength < 0 then 0::real else '-infinity'::real end as least_weight,
      found.neighbour_ids,
      found.weights
    from unnest(_model_candidates.items, _model_candidates.strengths) with ordinality as used (item_id, strength, place)
    join recommend.model_part as part on part.model_id = _model_candidates.model_id
    cross join lateral (
      select neighbours.neighbour_ids, neighbours.weights
      from recommend.neighbours
      where neighbours.model_id = _model_candidates.model_id
        and neighbours.part = part.part
        and neighbours.item_id = used.item_id
        and neighbours.person_count >= _model_candidates.fewest_people
      offset 0
    ) as found
  ),

  entry as (
    select unnest(source.neighbour_ids) as item_id, unnest(source.weights) as weight, source.factor, source.least_weight
    from source
  ),

  -- Not materialized: the lowest score is computed only if it is needed.
  scored as not materialized (
    select entry.item_id, sum(round(entry.factor * greatest(entry.weight, entry.least_weight))) as units
    from entry
    group by entry.item_id
  ),

  -- Sorted first, so that few items are compared with `seen`, and with the least number of people.
  ranked as (
    select scored.item_id, scored.units
    from scored
    where case
        when _model_candidates.is_lowered
          -- Of a person who likes nothing, weights of a dense model that mean nothing do not order the list.
          then scored.units < 0 and (
            0 < any (_model_candidates.strengths)
            or 10 * scored.units <= (select min(least.units) from scored as least)
          )
        else scored.units > 0
      end
      and (
        _model_candidates.only_items is null
        or scored.item_id in (select known.item_id from unnest(_model_candidates.only_items) as known (item_id))
      )
    order by scored.units desc, scored.item_id
    limit case
      when _model_candidates.fewest_people = 0
        then _model_candidates.most::bigint + cardinality(_model_candidates.seen)
    end
  ),

  best as (
    select ranked.item_id, ranked.units
    from ranked
    where ranked.item_id not in (select known.item_id from unnest(_model_candidates.seen) as known (item_id))
      and (
        _model_candidates.fewest_people = 0
        -- "limit": one index lookup per item, instead of a hash of all.
        or (
          select true
          from recommend.neighbours as own
          where own.model_id = _model_candidates.model_id
            and own.item_id = ranked.item_id
            and own.person_count >= _model_candidates.fewest_people
          limit 1
        )
      )
    order by ranked.units desc, ranked.item_id
    limit _model_candidates.most
  )

  select
    array_agg(best.item_id order by best.units desc, best.item_id),
    array_agg(best.units / 1099511627776 order by best.units desc, best.item_id)
  into item_ids, scores
  from best;
end;
$$;

comment on function recommend._model_candidates(
  bigint, bigint[], real[], int, boolean, bigint[], bigint[], int
) is $$
@behavior -*
Returns the items with the highest scores of a version of a model, the best first, without those of `seen`.
`is_lowered`: those with a negative score, instead of those with a positive one; when no strength is positive, those
with at least a tenth of the lowest score.
Weights from and on items that fewer than `fewest_people` people had taken are not used.
$$;
--! EndIncluded recommend/serving/_model_candidates.sql

--! Included recommend/serving/_explain.sql
create or replace function recommend._explain(
  context recommend.person_context,
  kind text,
  actions text[],
  model_id bigint,
  model_version int,
  fewest_people int,
  items bigint[],
  bases text[],
  propensities float8[],
  pool bigint[],
  first_rank int,
  next_page text
)
returns setof recommend.recommendation
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
set plan_cache_mode to force_generic_plan
as $$
declare
  v_most_reasons constant int := (select most_reasons from recommend.setting);
  v_secret constant recommend.secret := (select secret from recommend.secret);
begin
  return query
  with chosen as materialized (
    select
      listed.item_id, listed.basis, listed.propensity, listed.place::int, item.external_id, item.title,
      case when listed.propensity is null then listed.basis else 'explored' end as shown_basis
    from unnest(_explain.items, _explain.bases, _explain.propensities) with ordinality
      as listed (item_id, basis, propensity, place)
    cross join lateral (
      -- "offset 0" makes the planner do one index lookup per item instead of reading all items.
      select known.external_id, known.title
      from track.item as known
      where known.item_id = listed.item_id
      offset 0
    ) as item
  ),

  contribution as materialized (
    select
      found.target_id,
      found.item_id,
      found.kind,
      found.contribution,
      row_number() over (
        partition by found.target_id
        order by abs(found.contribution) desc, found.kind, found.item_id
      ) as place
    from (
      select by_model.*, 'item' as kind
      from recommend._contributions(
        _explain.model_id, (_explain.context).items, (_explain.context).strengths, _explain.fewest_people,
        -- The model may lower an item of another tier by a little: this is not in its score.
        array(
          select chosen.item_id
          from chosen
          where chosen.basis not in ('content', 'segment', 'popularity', 'trending', 'newest')
        )
      ) as by_model

      union all

      select by_content.*, 'content'
      from recommend._content_contributions(
        (_explain.context).items, (_explain.context).strengths,
        array(select chosen.item_id from chosen where chosen.basis = 'content')
      ) as by_content
      where 'content' = any (_explain.bases)
        and by_content.contribution <> 0
    ) as found
  ),

  reason as (
    select
      contribution.target_id as item_id,
      0 as part,
      contribution.place,
      row(contribution.kind, named.external_id, named.title, contribution.contribution)::recommend.reason as reason
    from contribution
    cross join lateral (
      select known.external_id, known.title
      from track.item as known
      where known.item_id = contribution.item_id
      offset 0
    ) as named
    where contribution.place <= v_most_reasons

    union all

    select
      contribution.target_id,
      1,
      0,
      row('others', null, format('%s more', count(*)), sum(contribution.contribution))::recommend.reason
    from contribution
    where contribution.place > v_most_reasons
    group by contribution.target_id

    union all

    select
      chosen.item_id,
      2,
      0,
      row(
        chosen.basis,
        null,
        case chosen.basis
          when 'segment' then 'Popular with learners like you'
          when 'popularity' then 'Popular with all learners'
          when 'trending' then 'Used more than expected this week'
          when 'next' then 'Next in the course that was used last'
          else 'New'
        end,
        coalesce(listed.score, 0)
      )::recommend.reason
    from chosen
    left join lateral (
      select max(ranked_list.score) as score
      from recommend.ranked_list
      where ranked_list.kind = _explain.kind
        and ranked_list.item_id = chosen.item_id
        and ranked_list.list = any (
          case chosen.basis
            when 'popularity' then '{popular}'
            when 'trending' then '{trending}'
            when 'segment' then (_explain.context).person_sets
          end
        )
    ) as listed on true
    where chosen.basis in ('segment', 'popularity', 'trending', 'newest', 'next')

    union all

    select
      applied.item_id,
      3,
      row_number() over (order by applied.rule),
      row(
        'rule',
        null,
        -- The name of a rule may tell why a set of people has it. In a subquery, which is executed once, if at all.
        case when (select track.reads_all_people()) then applied.rule else 'Selected by the platform' end,
        applied.amount
      )::recommend.reason
    from (
      select boost.item_id, boost.rule, boost.amount
      from recommend._boosts(_explain.context, _explain.kind, _explain.items) as boost
      where 'boost' = any (_explain.actions)

      union all

      select pin.item_id, pin.rule, 0
      from recommend._pins(_explain.context, _explain.kind) as pin
      join chosen on chosen.item_id = pin.item_id
      where 'pinned' = any (_explain.bases)
        and chosen.basis = 'pinned'
    ) as applied
  ),

  explained as (
    select
      reason.item_id,
      array_agg(reason.reason order by reason.part, reason.place) as reasons,
      -- In the order of the reasons, so that the score is exactly their sum.
      sum((reason.reason).contribution order by reason.part, reason.place) as score
    from reason
    group by reason.item_id
  )

  select
    _explain.first_rank + chosen.place - 1,
    chosen.item_id,
    chosen.external_id,
    chosen.title,
    coalesce(explained.score, 0),
    coalesce(explained.reasons, '{}'),
    chosen.shown_basis,
    case when chosen.basis = 'model' then _explain.model_version end,
    recommend._serving_id(
      v_secret,
      case when chosen.basis = 'model' then _explain.model_id end,
      chosen.item_id,
      _explain.first_rank + chosen.place - 1,
      chosen.propensity,
      now(),
      (_explain.context).identity_id,
      chosen.shown_basis,
      case when chosen.propensity is not null then _explain.pool end
    ),
    chosen.propensity,
    case when chosen.place = cardinality(_explain.items) then _explain.next_page end
  from chosen
  left join explained using (item_id)
  order by chosen.place;
end;
$$;

comment on function recommend._explain(
  recommend.person_context, text, text[], bigint, int, int, bigint[], text[], float8[], bigint[], int, text
) is $$
@behavior -*
Returns the rows of a list from its items and what each is based on: names, reasons, score and signature.
The score is the sum of the contributions, which are multiples of 2^-40 of moderate size, so that it is exact.
$$;
--! EndIncluded recommend/serving/_explain.sql

--! Included recommend/serving/_page.sql
create or replace function recommend._page_scope(context recommend.person_context, kind text)
returns text
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  -- A list without a person is that of its items.
  return concat_ws(
    '.',
    _page_scope.kind,
    case
      when (_page_scope.context).person_id is null
        then 'i' || encode(sha256(convert_to((_page_scope.context).items::text, 'UTF8')), 'hex')
      else 'p' || (_page_scope.context).identity_id
    end
  );
end;
$$;

comment on function recommend._page_scope(recommend.person_context, text) is $$
@behavior -*
Returns the list to which a page belongs: its kind, and the identity of the person, or else a hash of the items.
$$;

create or replace function recommend._write_page(page recommend.page, scope text, at timestamptz)
returns text
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return (
    select recommend._sign(
      concat_ws(
        '.', 'page', floor(extract(epoch from _write_page.at)), _write_page.scope,
        coalesce((_write_page.page).model_id, 0),
        array_to_string((_write_page.page).served, ','),
        array_to_string((_write_page.page).frozen, ','),
        array_to_string((_write_page.page).bases, ',')
      ),
      secret.inner_key, secret.outer_key
    )
    from recommend.secret
  );
end;
$$;

comment on function recommend._write_page(recommend.page, text, timestamptz) is $$
@behavior -*
Returns the signed text of a page, of which `recommend._read_page` is the opposite.
$$;

create or replace function recommend._read_page(page text, scope text, at timestamptz)
returns recommend.page
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_payload text;
  v_fields text[];
  v_identity_ids bigint[];
  v_people bigint[];
  v_result recommend.page;
begin
  -- The longest one has 2,000 items that were served and 200 frozen ones, of at most 19 digits.
  if length(_read_page.page) <= 50000 then
    v_payload := left(_read_page.page, -33);
    if _read_page.page = (
      select recommend._sign(v_payload, secret.inner_key, secret.outer_key) from recommend.secret
    ) then
      v_fields := string_to_array(v_payload, '.');
    end if;
  end if;
  if v_fields[1] is distinct from 'page' then
    perform common.refuse('CF001', format('page is "%s"', left(_read_page.page, 100)),
      'Give next_page of the last row of the list that is continued, unchanged.');
  end if;
  if concat_ws('.', v_fields[3], v_fields[4]) <> _read_page.scope then
    -- Another name of the same person, such as that of her browser before she signed in.
    v_identity_ids := array[
      substring(v_fields[4] from '^p([0-9]+)$'), substring(_read_page.scope from '[.]p([0-9]+)$')
    ];
    if split_part(_read_page.scope, '.', 1) = v_fields[3] and array_position(v_identity_ids, null) is null then
      v_people := track.people_of_identities(
        v_identity_ids, array[to_timestamp(v_fields[2]::float8), _read_page.at]
      );
    end if;
    if v_people[1] is distinct from v_people[2] or coalesce(v_people[1], 0) = 0 then
      perform common.refuse('CF001', format('the page "%s" continues another list', left(_read_page.page, 100)),
        'Give it to the same function, with the same person or items and the same kind.');
    end if;
  end if;
  if to_timestamp(v_fields[2]::float8) < _read_page.at - interval '1 day' then
    perform common.refuse('CF001', format('the page "%s" is older than a day', left(_read_page.page, 100)),
      'Call without page, which returns a new list.');
  end if;
  v_result.model_id := v_fields[5];
  v_result.served := string_to_array(v_fields[6], ',')::bigint[];
  v_result.frozen := string_to_array(v_fields[7], ',')::bigint[];
  v_result.bases := string_to_array(v_fields[8], ',');
  return v_result;
end;
$$;

comment on function recommend._read_page(text, text, timestamptz) is $$
@behavior -*
Returns the content of a value of `next_page`.
Errors: CF001 for a text that is not one, for one of another list, and for one that is older than a day.
$$;

create or replace function recommend._without(
  page recommend.page,
  context recommend.person_context,
  seen bigint[],
  only_items bigint[]
)
returns recommend.page
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_page recommend.page := _without.page;
begin
  -- After an opt-out, an order that is based on what the person did is not continued.
  if ((_without.context).items = '{}' and (v_page).bases && '{model,content}')
    or ((_without.context).person_sets = '{}' and 'segment' = any ((v_page).bases))
  then
    v_page.frozen := '{}';
    v_page.bases := '{}';
    return v_page;
  end if;

  select
    coalesce(array_agg(frozen.item_id order by frozen.place), '{}'),
    coalesce(array_agg(frozen.basis order by frozen.place), '{}')
  into v_page.frozen, v_page.bases
  from unnest((_without.page).frozen, (_without.page).bases) with ordinality as frozen (item_id, basis, place)
  where frozen.item_id not in (select known.item_id from unnest(_without.seen) as known (item_id))
    and (
      _without.only_items is null
      or frozen.item_id in (select known.item_id from unnest(_without.only_items) as known (item_id))
    );
  return v_page;
end;
$$;

comment on function recommend._without(recommend.page, recommend.person_context, bigint[], bigint[]) is $$
@behavior -*
Returns a page without the given items, and with no others than `only_items` unless it is null.
The frozen order is dropped if it is based on data of which the context has none any more.
$$;

create or replace function recommend._current_bases(
  context recommend.person_context,
  kind text,
  model_id bigint,
  fewest_people int,
  items bigint[],
  bases text[]
)
returns text[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
set plan_cache_mode to force_generic_plan
as $$
begin
  return array(
    select case
      when frozen.basis not in ('model', 'content', 'segment', 'popularity', 'trending')
        or frozen.basis = 'model' and frozen.item_id in (
          select found.target_id
          from recommend._contributions(
            _current_bases.model_id, (_current_bases.context).items, (_current_bases.context).strengths,
            _current_bases.fewest_people, _current_bases.items
          ) as found
        )
        or frozen.basis = 'content' and frozen.item_id in (
          select found.target_id
          from recommend._content_contributions(
            (_current_bases.context).items, (_current_bases.context).strengths, _current_bases.items
          ) as found
          where found.contribution <> 0
        )
        or exists (
          select
          from recommend.ranked_list
          where ranked_list.kind = _current_bases.kind
            and ranked_list.item_id = frozen.item_id
            and ranked_list.list = any (
              case frozen.basis
                when 'popularity' then '{popular}'
                when 'trending' then '{trending}'
                when 'segment' then (_current_bases.context).person_sets
              end
            )
        )
        then frozen.basis
      when exists (
        select
        from recommend.ranked_list
        where ranked_list.kind = _current_bases.kind
          and ranked_list.item_id = frozen.item_id
          and ranked_list.list = 'popular'
      )
        then 'popularity'
      else 'newest'
    end
    from unnest(_current_bases.items, _current_bases.bases) with ordinality as frozen (item_id, basis, place)
    order by frozen.place
  );
end;
$$;

comment on function recommend._current_bases(
  recommend.person_context, text, bigint, int, bigint[], text[]
) is $$
@behavior -*
Returns what the items of a continued list are based on now.
For an item to whose score its frozen basis adds nothing any more, it is popularity if the item is popular, otherwise
its age.
$$;
--! EndIncluded recommend/serving/_page.sql

--! Included recommend/serving/_gather.sql
/*
 * Candidates are fetched tier by tier, and compared with the rules in pieces of their order, until there are enough:
 * neither the catalogue nor the whole list of a tier is compared.
 */
create or replace function recommend._gather(
  context recommend.person_context,
  request recommend.request,
  actions text[],
  tiers text[],
  model_id bigint,
  fewest_people int,
  seen bigint[],
  wanted int,
  inout item_ids bigint[],
  inout scores float8[],
  inout bases text[],
  out allowed int[],
  out unchecked int[]
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
set plan_cache_mode to force_generic_plan
as $$
declare
  v_most_frozen constant int := 200;
  -- Of the newest items: their comparison with the default rules takes about 0.1 s.
  v_most_newest constant int := 20000;
  v_newest int := 0;
  -- At once, so that the comparison stays in work_mem.
  v_most_compared constant int := 5000;
  v_kind constant text := (_gather.request).kind;
  v_has_boosts constant boolean := 'boost' = any (_gather.actions);
  -- A liked item that may be in the list: see recommend._raised.
  v_has_raised constant boolean := v_has_boosts or exists (
    select
    from unnest((_gather.context).items, (_gather.context).strengths) as used (item_id, strength)
    where used.strength >= 1
      and used.item_id not in (select known.item_id from unnest(_gather.seen) as known (item_id))
  );
  v_most int := case when v_has_boosts then greatest(wanted + v_most_frozen, 1000) else wanted + v_most_frozen end;
  v_seen bigint[] := seen;
  v_tiers constant text[] := array_remove(tiers, 'lowered') || '{lowered}'::text[];
  v_given constant int := cardinality(item_ids);
  -- Raised, for the first tier that has items; those with a negative score are for the last one.
  v_waiting record;
  v_bases text[];
  v_is_full boolean;
  v_is_merged boolean;
  v_tier int := 1;
  v_name text;
  v_found record;
  v_lowered record;
  -- The first `v_checked` candidates were compared with the rules.
  v_checked int := 0;
  v_last int;
begin
  allowed := '{}';
  if v_has_raised then
    v_waiting := recommend._raised(context, request, tiers, model_id, fewest_people, v_seen);
    v_seen := v_seen || v_waiting.item_ids;
  end if;
  loop
    if cardinality(allowed) < wanted and v_checked < cardinality(item_ids) then
      v_last := least(2 * v_checked + 2 * wanted, v_checked + v_most_compared, cardinality(item_ids));
      allowed := allowed || array(
        select v_checked + candidate.place::int
        from unnest(item_ids[v_checked + 1:v_last]) with ordinality as candidate (item_id, place)
        where candidate.item_id not in (
          select blocked.item_id
          from recommend._blocked(_gather.context, v_kind, _gather.item_ids[v_checked + 1:v_last], now()) as blocked
        )
        order by candidate.place
      );
      v_checked := v_last;
    elsif v_tier <= cardinality(v_tiers)
      and cardinality(allowed) + cardinality(item_ids) - v_checked < wanted + v_most_frozen
    then
      v_name := v_tiers[v_tier];
      -- Items that the model lowers are in no tier before their own.
      if v_name <> 'model' and v_lowered is null then
        v_lowered := recommend._tier_candidates('lowered', context, request, model_id, fewest_people, v_seen, 1000000);
        v_seen := v_seen || v_lowered.item_ids;
      end if;
      if v_name = 'lowered' then
        v_found := v_lowered;
      else
        if v_name = 'newest' then
          v_most := least(v_most, v_most_newest - v_newest);
        end if;
        v_found := recommend._tier_candidates(v_name, context, request, model_id, fewest_people, v_seen, v_most);
        v_seen := v_seen || v_found.item_ids;
      end if;
      if v_name = 'newest' then
        v_newest := v_newest + cardinality(v_found.item_ids);
      end if;
      v_is_full := cardinality(v_found.item_ids) = v_most and v_name <> 'lowered' and v_newest < v_most_newest;
      if v_is_full then
        v_most := 4 * v_most;
      else
        v_tier := v_tier + 1;
      end if;
      v_bases := array_fill(
        case v_name when 'lowered' then 'model' else v_name end, array[cardinality(v_found.item_ids)]
      );
      if v_has_raised then
        v_found := recommend._boosted(context, v_kind, v_found.item_ids, v_found.scores);
        v_is_merged := v_found.item_ids <> '{}' or cardinality(item_ids) > v_given or v_name = any (v_waiting.bases);
        with candidate as (
          select
            entry.*,
            case
              when v_name = 'lowered' then true
              when entry.score < 0 then false
              when entry.part = 1 then true
              -- The rest of the tier follows.
              when v_is_full then entry.score >= v_found.scores[cardinality(v_found.scores)]
              else v_is_merged
            end as is_next
          from (
            select 0 as part, waiting.*
            from unnest(v_waiting.item_ids, v_waiting.scores, v_waiting.bases) with ordinality
              as waiting (item_id, score, basis, place)

            union all

            select 1, found.*
            from unnest(v_found.item_ids, v_found.scores, v_bases) with ordinality
              as found (item_id, score, basis, place)
          ) as entry
        )

        select
          item_ids || array_agg(candidate.item_id order by candidate.score desc, candidate.part, candidate.place)
            filter (where candidate.is_next),
          scores || array_agg(candidate.score order by candidate.score desc, candidate.part, candidate.place)
            filter (where candidate.is_next),
          bases || array_agg(candidate.basis order by candidate.score desc, candidate.part, candidate.place)
            filter (where candidate.is_next),
          coalesce(
            array_agg(candidate.item_id order by candidate.part, candidate.place) filter (where not candidate.is_next),
            '{}'
          ),
          coalesce(
            array_agg(candidate.score order by candidate.part, candidate.place) filter (where not candidate.is_next),
            '{}'
          ),
          coalesce(
            array_agg(candidate.basis order by candidate.part, candidate.place) filter (where not candidate.is_next),
            '{}'
          )
        into item_ids, scores, bases, v_waiting.item_ids, v_waiting.scores, v_waiting.bases
        from candidate;
      else
        item_ids := item_ids || v_found.item_ids;
        scores := scores || v_found.scores;
        bases := bases || v_bases;
      end if;
    else
      exit;
    end if;
  end loop;
  unchecked := array(select generate_series(v_checked + 1, cardinality(item_ids)));
end;
$$;

comment on function recommend._gather(
  recommend.person_context, recommend.request, text[], text[], bigint, int, bigint[], int, bigint[], float8[], text[]
) is $$
@behavior -*
Returns the candidates of a list in its order, after those that are given.
`allowed` are the positions of those that no rule leaves out, at least `wanted` if there are enough; `unchecked` of
those that were not compared with the rules, which are there to freeze the order. `actions` are those of the rules that
apply. The tiers are used in their order, each only while there are too few candidates. Items that rules raise, and
liked ones, compete in the first tier that has items; those whose score rules make negative come last. Of the newest
items that are available by their own dates, at most 20,000 are compared with the rules.
$$;
--! EndIncluded recommend/serving/_gather.sql

--! Included recommend/serving/_rank.sql
/*
 * A definer: no role may read the weights, the lists and the signing keys. What depends on the person is an argument,
 * and no data about people is read. Learners may not execute it: a context of their own making would show them the
 * lists and the ids of other people, and weights without the floor.
 */
create or replace function recommend._rank(
  context recommend.person_context,
  request recommend.request,
  tiers text[] default '{model,content,segment,popularity,newest,lowered}',
  first_items bigint[] default '{}'
)
returns setof recommend.recommendation
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
set plan_cache_mode to force_generic_plan
as $$
declare
  v_most_served constant int := 2000;
  v_kind constant text := (_rank.request).kind;
  v_top constant int := (_rank.request).top;
  v_scope constant text := recommend._page_scope(_rank.context, v_kind);
  v_page recommend.page := row(null, '{}', '{}', '{}');
  v_first_rank int;
  v_model_id bigint;
  v_version int;
  -- For a list that is not that of a person: what was learned from few people would show what these people took.
  v_fewest_people constant int := case
    when (_rank.context).person_id is null then (select smallest_group from analytics.setting)
    else 0
  end;
  v_seen bigint[] := (_rank.context).left_out || (_rank.request).excluded;
  v_first bigint[] := '{}';
  v_actions constant text[] := array(
    select rule.action from recommend._rules_of(_rank.context, v_kind, now()) as rule
  );
  v_pinned bigint[] := '{}';
  v_places int[] := '{}';
  v_found record;
  v_list bigint[];
  v_rest bigint[];
  v_bases text[];
  v_diversity float8 := 0;
  v_pool_size int := 0;
  v_drawn bigint[];
  v_propensities float8[];
  v_pool bigint[];
begin
  perform common.check_count('top', v_top, 1, 1000);
  if (_rank.request).page is not null then
    v_page := recommend._read_page((_rank.request).page, v_scope, now());
    v_seen := v_seen || (v_page).served;
    v_page := recommend._without(v_page, _rank.context, v_seen, (_rank.request).only_items);
  elsif _rank.first_items <> '{}' then
    v_first := recommend._unblocked(_rank.context, null, _rank.first_items);
  end if;
  v_first_rank := cardinality((v_page).served) + 1;

  -- The version that ranked the former pages is used as long as its weights are kept.
  select model.model_id, model.version into v_model_id, v_version
  from recommend._deployed_model(v_kind) as model;
  if (v_page).model_id <> v_model_id
    and exists (select from recommend.model_part as part where part.model_id = (v_page).model_id)
  then
    select model.model_id, model.version into v_model_id, v_version
    from ml.model
    where model.model_id = (v_page).model_id;
  end if;

  -- Later pages continue the order of the first one.
  if (_rank.request).page is null then
    select
      coalesce((_rank.request).diversity, setting.diversity),
      case
        when (_rank.request).is_explored and setting.explored_slots <> '{}' then setting.explored_pool_size
        else 0
      end
    into v_diversity, v_pool_size
    from recommend.setting;
  end if;

  if 'pin' = any (v_actions) then
    select pins.items, pins.places into v_pinned, v_places
    from recommend._allowed_pins(_rank.context, _rank.request, v_seen || v_first) as pins;
  end if;
  v_found := recommend._gather(
    _rank.context, _rank.request, v_actions, _rank.tiers, v_model_id, v_fewest_people,
    v_seen || v_first || v_pinned || (v_page).frozen,
    greatest(v_top + v_pool_size, case when v_diversity > 0 then least(3 * v_top, 300) else 0 end),
    (v_page).frozen, array_fill(0::float8, array[cardinality((v_page).frozen)]), (v_page).bases
  );
  v_list := case
    when v_diversity > 0 then recommend._diversified(
      _rank.context, v_found.item_ids, v_found.scores, v_found.bases, v_found.allowed, v_top, v_diversity
    )
    else recommend._chosen(v_found.item_ids, v_found.allowed)
  end;
  v_list := recommend._place_pins(v_first || v_list, v_pinned, v_places, v_first_rank, v_top);
  v_rest := v_list[v_top + 1:];
  if v_pool_size > 0 then
    select
      coalesce(array_agg(explored.item_id order by explored.place), '{}'),
      array_agg(explored.propensity order by explored.place),
      max(explored.pool)
    into v_drawn, v_propensities, v_pool
    from recommend._explore(_rank.context, v_list, v_top, v_pinned || v_first) as explored;
    v_rest := recommend._minus(v_list, v_drawn);
    v_list := v_drawn;
  end if;
  v_rest := (v_rest || recommend._chosen(v_found.item_ids, v_found.unchecked))[:200];
  v_list := v_list[:v_top];
  v_bases := recommend._bases(v_list, v_found.item_ids, v_found.bases, v_pinned, v_first);
  if (_rank.request).page is not null then
    v_bases := recommend._current_bases(_rank.context, v_kind, v_model_id, v_fewest_people, v_list, v_bases);
  end if;

  return query
  select *
  from recommend._explain(
    _rank.context, v_kind, v_actions, v_model_id, v_version, v_fewest_people, v_list, v_bases, v_propensities, v_pool,
    v_first_rank,
    case
      when v_rest <> '{}' and v_first_rank + v_top <= v_most_served then recommend._write_page(
        row(
          coalesce(v_model_id, 0),
          (v_page).served || v_list,
          v_rest,
          recommend._bases(v_rest, v_found.item_ids, v_found.bases, v_pinned, v_first)
        )::recommend.page,
        v_scope,
        now()
      )
    end
  );
end;
$$;

comment on function recommend._rank(recommend.person_context, recommend.request, text[], bigint[]) is $$
@behavior -*
Returns the list that a person is recommended, best first.
Candidates are those of the tiers, in their order, each only while the list is short: those of the deployed model, of
similar content, popular in the segments of the person, popular, newest, and those that the model lowers. `first_items`
precede them, after the pinned ones. Items that a rule leaves out (`recommend._blocked`) are not in the list.
Errors: CF001 for a `page` that does not continue this list.
$$;

grant execute on function recommend._rank(recommend.person_context, recommend.request, text[], bigint[])
to insights_reader;
--! EndIncluded recommend/serving/_rank.sql

--! Included recommend/serving/for_me.sql
/* A definer owned by insights_reader: learners may not execute `_rank`, which takes the context of any person. */
create or replace function recommend.for_me(
  top int default 10,
  kind text default 'course',
  exclude_items text[] default null,
  only_items text[] default null,
  diversity float8 default null,
  page text default null
)
returns setof recommend.recommendation
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_request constant recommend.request := recommend._request(
    for_me.top, for_me.kind, for_me.exclude_items, for_me.only_items, for_me.diversity, for_me.page
  );
begin
  return query
  select *
  from recommend._rank(recommend._my_context(for_me.kind), v_request);
end;
$$;

alter function recommend.for_me(int, text, text[], text[], float8, text) owner to insights_reader;

comment on function recommend.for_me(int, text, text[], text[], float8, text) is $$
Returns recommended items for the signed-in person, best first, each with reasons that add up to its score.
As many rows as `top` are returned while items are available: `basis` states what a row is based on. Excluded are items
that the person has taken, finished, dismissed or enrolled in, those that she teaches or wrote, and items that are not
available now. Events count as soon as they are stored. For a person who has opted out of `personalization`, nothing
that she did is used.
`exclude_items`: items that the list must not contain; `only_items`: the only ones that it may contain; `page`:
`next_page` of the list that is continued, for a day. It is in the last of the `top` rows: over GraphQL, give `top` and
not `first`.
Errors: CF001 for `top`, `diversity` and `page`, CF002 for a kind that no item has and for an unknown item, CF008 for
more than 1,000 items.
$$;

grant execute on function recommend.for_me(int, text, text[], text[], float8, text) to insights_learner;
--! EndIncluded recommend/serving/for_me.sql

--! Included recommend/serving/for_people.sql
/* A definer owned by insights_reader: workers and admins query any person without privileges on the tables. */
create or replace function recommend.for_people(
  people text[],
  top int default 10,
  kind text default 'course',
  exclude_items text[] default null,
  only_items text[] default null,
  diversity float8 default null
)
returns setof recommend.person_recommendation
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_request constant recommend.request := recommend._request(
    for_people.top, for_people.kind, for_people.exclude_items, for_people.only_items, for_people.diversity, null
  );
  v_person text;
begin
  if for_people.people is null or cardinality(for_people.people) > 1000 then
    perform common.refuse(
      'CF008', format('%s people are given', coalesce(cardinality(for_people.people)::text, 'null')),
      'Give from 0 to 1,000 people.'
    );
  end if;
  -- A name that is given twice is one person.
  for v_person in
    select given.person
    from unnest(for_people.people) with ordinality as given (person, place)
    group by given.person
    order by min(given.place)
  loop
    perform recommend._check_person(v_person);
    return query
    select v_person, recommendation.*
    from recommend._rank(recommend._named_context(v_person, for_people.kind), v_request) as recommendation;
  end loop;
end;
$$;

alter function recommend.for_people(text[], int, text, text[], text[], float8) owner to insights_reader;

comment on function recommend.for_people(text[], int, text, text[], text[], float8) is $$
Returns recommended items for each of at most 1,000 people, in the order of the given names.
A name that is given more than once has one list. The rows of a person are those of `recommend.for_person`.
Errors: CF001 for an empty name, `top` and `diversity`, CF002 for a kind that no item has and for an unknown item, CF008
for more than 1,000 people or items.
$$;

grant execute on function recommend.for_people(text[], int, text, text[], text[], float8)
to insights_admin, insights_worker;
--! EndIncluded recommend/serving/for_people.sql

--! Included recommend/train/_training_rows.sql
create or replace function recommend._training_rows(
  kind text,
  until timestamptz default 'infinity',
  people bigint[] default null
)
returns table (person_id bigint, item_id bigint, strength real, first_at timestamptz, last_at timestamptz)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
-- All rows are read. Before the tables have statistics, as after an import, nested loops take a minute in place of a
-- second. Those of some people are found by their keys.
set enable_nestloop to off
set plan_cache_mode to force_custom_plan
as $$
declare
  v_full_weight constant real := (select full_weight from recommend.setting);
  v_by_default constant boolean := (
    select purpose.basis <> 'consent'
    from privacy.purpose
    where purpose.purpose = 'personalization'
  );
  -- People with an item that they used before and after that time.
  v_straddling constant bigint[] := array(
    select distinct interaction.person_id
    from recommend.interaction
    where interaction.first_at < _training_rows.until
      and interaction.last_at >= _training_rows.until
      and (_training_rows.people is null or interaction.person_id = any (_training_rows.people))
  );
begin
  if _training_rows.people is not null then
    perform set_config('enable_nestloop', 'on', true);
  end if;
  return query
  with leaf as (
    select
      interaction.person_id, interaction.item_id, interaction.weight, interaction.first_at, interaction.last_at,
      interaction.completed_at, interaction.dismissed_at, interaction.dropped_at, interaction.resumed_at,
      interaction.withdrawn_at, interaction.liking, interaction.liked_at
    from recommend.interaction
    where interaction.last_at < _training_rows.until
      and (_training_rows.people is null or interaction.person_id = any (_training_rows.people))

    union all

    -- Interactions that have later events are computed from the events before that time.
    select
      before.person_id, before.item_id, before.weight, before.first_at, before.last_at,
      before.completed_at, before.dismissed_at, before.dropped_at, before.resumed_at,
      before.withdrawn_at, before.liking, before.liked_at
    from recommend._interactions_of(v_straddling, until => _training_rows.until) as before
    join recommend.interaction
      on interaction.person_id = before.person_id
      and interaction.item_id = before.item_id
      and interaction.last_at >= _training_rows.until

    union all

    -- Enrolments that the application reports count as taken.
    select
      enrolment.person_id, enrolment.item_id, v_full_weight, enrolment.enrolled_at, enrolment.enrolled_at,
      case when enrolment.status = 'completed' then enrolment.enrolled_at end,
      null,
      case when ended.is_dropped then coalesce(enrolment.ended_at, enrolment.enrolled_at) end,
      case when not ended.is_dropped then enrolment.enrolled_at end,
      null, null, null
    from track.enrolment
    cross join lateral (
      select enrolment.status = 'dropped'
        and coalesce(enrolment.ended_at, enrolment.enrolled_at) < _training_rows.until as is_dropped
    ) as ended
    where enrolment.enrolled_at < _training_rows.until
      and (_training_rows.people is null or enrolment.person_id = any (_training_rows.people))
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
        from privacy.latest_decisions('personalization', _training_rows.people) as decision
        where decision.granted <> v_by_default
      )
    )
  ),

  used as (
    select
      allowed.person_id,
      target.item_id,
      sum(allowed.weight::float8) as weight,
      min(allowed.first_at) as first_at,
      max(allowed.last_at) as last_at
    from allowed
    join track.item_ancestor as ancestor on ancestor.item_id = allowed.item_id
    join track.item as target on target.item_id = ancestor.ancestor_item_id
    where (_training_rows.kind is null or target.kind = _training_rows.kind)
      -- Without items that the person teaches or wrote, and all that they contain.
      and not exists (
        select
        from track.item_ancestor as container
        join track.applied_item_role as item_role on item_role.item_id = container.ancestor_item_id
        where container.item_id = allowed.item_id
          and item_role.person_id = allowed.person_id
      )
    group by allowed.person_id, target.item_id
  ),

  -- Events of the items themselves, not of parts of them. Without feedback, use alone counts.
  said as (
    select
      allowed.person_id,
      allowed.item_id,
      max(allowed.completed_at) as completed_at,
      max(allowed.dismissed_at) as dismissed_at,
      max(allowed.dropped_at) as dropped_at,
      max(allowed.resumed_at) as resumed_at,
      max(allowed.withdrawn_at) as withdrawn_at,
      max(allowed.liking) filter (where allowed.liked_at > coalesce(allowed.withdrawn_at, '-infinity')) as liking,
      max(allowed.liked_at) filter (where allowed.liked_at > coalesce(allowed.withdrawn_at, '-infinity')) as liked_at
    from allowed
    join track.item using (item_id)
    where _training_rows.kind is null
      or item.kind = _training_rows.kind
    group by allowed.person_id, allowed.item_id
    having num_nonnulls(max(allowed.dismissed_at), max(allowed.dropped_at), max(allowed.liked_at)) > 0
  ),

  liked as (
    select
      used.*,
      recommend._strength(
        used.weight,
        v_full_weight,
        said.liking,
        recommend._is_rejected(
          said.dismissed_at, said.withdrawn_at, said.resumed_at, case when said.liking > 0 then said.liked_at end
        )
        or said.completed_at is null
          and recommend._is_rejected(
            said.dropped_at, null, said.resumed_at, case when said.liking > 0 then said.liked_at end
          )
      ) as strength
    from used
    left join said using (person_id, item_id)
  )

  select liked.person_id, liked.item_id, liked.strength, liked.first_at, liked.last_at
  from liked
  where liked.strength > 0;
end;
$$;

comment on function recommend._training_rows(text, timestamptz, bigint[]) is $$
@behavior -*
Returns the items of a kind, or of all kinds for null, that people like, by the same rules as `recommend._context`.
`strength` is above 0, and at most 1. Items that a person dislikes, dismissed or left before the end are not returned,
nor those that she only marked as known. `first_at` is the time at which she took the item, by which her items are in
order.
Events and enrolments from `until` on do not count. With `people`, only their rows are returned.
Only people in the set `counted` who have consented to `personalization`, or have not opted out, are included, without
what they teach or wrote.
$$;
--! EndIncluded recommend/train/_training_rows.sql

--! Included recommend/evaluation/_code_relations.sql
create or replace function recommend._comparable(
  train regclass,
  train_column text,
  test regclass,
  test_column text
)
returns text
language plpgsql
volatile
as $$
declare
  -- Of the first one, for columns that both have a collation.
  v_collation constant oid := (
    select one.attcollation
    from pg_attribute as one
    join pg_attribute as other on other.attrelid = test and quote_ident(other.attname) = test_column
    where one.attrelid = train
      and quote_ident(one.attname) = train_column
      and one.attcollation <> 0
      and other.attcollation <> 0
  );
  v_suffix text := coalesce(' collate ' || v_collation::regcollation::text, '');
begin
  execute format(
    'select
     from (select distinct source.%1$s%5$s as a from %2$s as source) as one
     join (select distinct source.%3$s%5$s as b from %4$s as source) as other on one.a = other.b
     limit 0',
    train_column, train, test_column, test, v_suffix
  );
  return v_suffix;
exception when undefined_function then
  return '::text' || coalesce(nullif(v_suffix, ''), ' collate "default"');
end;
$$;

comment on function recommend._comparable(regclass, text, regclass, text) is $$
Returns what makes the values of two columns comparable.
This is the collation of the first column, and a cast to text when the values have no equality.
The columns are quoted, and exist.
$$;

create or replace function recommend._code_relations(
  train regclass,
  test regclass,
  person_column name,
  item_column name,
  order_column name
)
returns void
language plpgsql
volatile
as $$
declare
  v_train_person text := common.column_name(train, person_column::text, 'person column');
  v_train_item text := common.column_name(train, item_column::text, 'item column');
  v_test_person text := common.column_name(test, person_column::text, 'person column');
  v_test_item text := common.column_name(test, item_column::text, 'item column');
  v_order constant text := case when order_column is not null then
    'source.' || common.column_name(train, order_column::text, 'order column') end;
  v_orders text[];
  v_place text;
  v_cast text;
begin
  v_cast := recommend._comparable(train, v_train_person, test, v_test_person);
  v_train_person := 'source.' || v_train_person || v_cast;
  v_test_person := 'source.' || v_test_person || v_cast;
  v_cast := recommend._comparable(train, v_train_item, test, v_test_item);
  v_train_item := 'source.' || v_train_item || v_cast;
  v_test_item := 'source.' || v_test_item || v_cast;
  -- Values that can be sorted but have no maximum, such as uuid, are compared by their place among all rows.
  v_orders := case
    when v_order is null then '{0}'
    else array[
      v_order, format('case when %1$s is not null then dense_rank() over (order by %1$s) end', v_order), null
    ]
  end;
  foreach v_place in array v_orders loop
    if v_place is null then
      perform common.refuse('CF001', format('the values of "%s" have no order', order_column),
        'Give a column of numbers, times or other values that can be sorted, or null.');
    end if;
    begin
      execute format(
        'create temporary table _recommend_row on commit drop as
         select person, item, max(place) as place
         from (
           select %1$s as person, %2$s as item, %3$s as place
           from %4$s as source
           where %1$s is not null and %2$s is not null
         ) as given
         group by person, item',
        v_train_person, v_train_item, v_place, train
      );
      exit;
    exception when undefined_function or invalid_table_definition then
      -- Since PostgreSQL 18, the maximum of a composite type is of no type that a table may have.
      null;
    end;
  end loop;

  -- Numbers of items are in the order in which items of equal score are ranked.
  create temporary table _recommend_item on commit drop as
  select item, (row_number() over (order by count(*) desc, item::text collate "C"))::int as item_no
  from pg_temp._recommend_row
  group by item;

  execute format(
    'create temporary table _recommend_person on commit drop as
     select person, (row_number() over (order by person::text collate "C"))::int as person_no
     from (
       select person from pg_temp._recommend_row
       union
       select %1$s from %2$s as source where %1$s is not null and %3$s is not null
     ) as everyone',
    v_test_person, test, v_test_item
  );
  analyze pg_temp._recommend_row, pg_temp._recommend_person, pg_temp._recommend_item;

  create temporary table _recommend_training on commit drop as
  select
    person_no,
    item_no,
    1::real as weight,
    case when v_order is not null then
      (rank() over (partition by person_no order by place nulls first))::int
    end as position
  from pg_temp._recommend_row
  join pg_temp._recommend_person using (person)
  join pg_temp._recommend_item using (item);

  -- An item of the test rows that is not in the training rows is relevant, and in no list.
  execute format(
    'create temporary table _recommend_target on commit drop as
     select person_no, array_agg(item_no) filter (where item_no is not null) as relevant,
       count(*)::int as relevant_count, ''{}''::int[] as left_out
     from (
       select _recommend_person.person_no, _recommend_item.item_no
       from (
         select %1$s as person, %2$s as item
         from %3$s as source
         where %1$s is not null and %2$s is not null
         group by %1$s, %2$s
       ) as hidden
       join pg_temp._recommend_person on _recommend_person.person = hidden.person
       left join pg_temp._recommend_item on _recommend_item.item = hidden.item
     ) as hidden
     where not exists (
       select
       from pg_temp._recommend_training as known
       where known.person_no = hidden.person_no and known.item_no = hidden.item_no
     )
     group by person_no
     order by person_no',
    v_test_person, v_test_item, test
  );
  drop table pg_temp._recommend_row, pg_temp._recommend_person;
  analyze pg_temp._recommend_training, pg_temp._recommend_target;
end;
$$;

comment on function recommend._code_relations(regclass, regclass, name, name, name) is $$
@behavior -*
Numbers the people and items of two relations, and writes them to temporary tables.
`_recommend_training (person_no, item_no, weight, position)`: the pairs of `train`, once each, at their last position;
`_recommend_target (person_no, relevant, relevant_count, left_out)`: the people of `test` with items that they do not
have in `train`; `_recommend_item (item, item_no)`: the items of `train`, numbered from 1 by their number of people, the
greatest first, then by their text in byte order.
Rows with a null person or item do not count. Positions are null without an order column; a null there comes first.
Errors: CF001 (a column without order), CF002 (no such column).
$$;

grant execute on function
  recommend._comparable(regclass, text, regclass, text),
  recommend._code_relations(regclass, regclass, name, name, name)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded recommend/evaluation/_code_relations.sql

--! Included recommend/evaluation/evaluate_relations.sql
create or replace function recommend._read_model(name text)
returns recommend.part
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_parts constant text[] := regexp_match(name, '^\s*([a-zA-Z_]+)\s*(?:\((.*)\))?\s*$');
  v_candidate record;
  v_arguments text[];
  v_types text[];
  v_argument text[];
  v_key text;
  v_type text;
  v_text text;
  v_value jsonb;
  v_given text[] := '{}';
  v_part recommend.part;
begin
  select * into v_candidate from recommend._candidates() as candidate where candidate.model = lower(v_parts[1]);
  if not found then
    perform common.refuse(
      'CF002',
      format('there is no model "%s"', left(coalesce(name, 'null'), 100)),
      coalesce(
        'Did you mean "' || common.nearest_name(
          coalesce(v_parts[1], name),
          array(select candidate.model from recommend._candidates() as candidate) || 'default'::text
        ) || '"?',
        'The models are ' || (
          select string_agg(candidate.model, ', ') from recommend._candidates() as candidate
        ) || ' and default.'
      )
    );
  end if;
  v_part := (v_candidate.algorithm, v_candidate.parameters, v_candidate.history_decay, 1)::recommend.part;
  if v_candidate.algorithm in ('popularity', 'trending') then
    if btrim(v_parts[2]) <> '' then
      perform common.refuse('CF001', format('the model "%s" has parameters', left(name, 100)),
        format('Give %s alone.', v_candidate.model));
    end if;
    return v_part;
  end if;

  select
    array_agg(entry.name order by entry.n),
    array_agg(format_type(entry.type, null) order by entry.n)
  into v_arguments, v_types
  from pg_proc as procedure
  cross join lateral unnest(
    procedure.proargnames, procedure.proargtypes::oid[]
  ) with ordinality as entry (name, type, n)
  where procedure.pronamespace = 'ml'::regnamespace
    and procedure.proname = case v_candidate.algorithm when 'edlae' then 'ease' else v_candidate.algorithm end
      || '_neighbours'
    and entry.type is not null
    -- Coded interactions have no column of a time.
    and entry.name not in ('relation', 'time_column', 'half_life');
  v_arguments := v_arguments || 'history_decay'::text;
  v_types := v_types || 'double precision'::text;

  foreach v_text in array coalesce(string_to_array(nullif(btrim(v_parts[2]), ''), ','), '{}') loop
    v_argument := regexp_match(v_text, '^\s*(?:([a-zA-Z_]+)\s*(?:=>|:=|=)\s*)?([^=\s]+)\s*$');
    v_key := coalesce(
      lower(v_argument[1]), case when v_arguments[1] = 'lambda' and cardinality(v_given) = 0 then 'lambda' end
    );
    if v_argument is null or v_key is null then
      perform common.refuse('CF001', format('"%s" is not a parameter of the model %s', left(v_text, 100),
          v_candidate.model), format('Write it as in %s(history_decay => 0.9).', v_candidate.model));
    end if;
    v_type := v_types[array_position(v_arguments, v_key)];
    if v_type is null then
      perform common.refuse(
        'CF002',
        format('the model %s has no parameter "%s"', v_candidate.model, left(v_key, 100)),
        coalesce('Did you mean "' || common.nearest_name(v_key, v_arguments) || '"?',
          format('It has %s.', array_to_string(v_arguments, ', ')))
      );
    end if;
    if v_key = any (v_given) then
      perform common.refuse('CF001', format('%s of the model %s is given twice', v_key, v_candidate.model),
        'Give each parameter once.');
    end if;
    v_given := v_given || v_key;
    begin
      v_value := case
        when v_type in ('text') then to_jsonb(btrim(v_argument[2], ''''))
        when v_type = 'integer' then to_jsonb(v_argument[2]::int)
        else to_jsonb(v_argument[2]::float8)
      end;
    exception when invalid_text_representation or numeric_value_out_of_range then
      v_value := null;
    end;
    if v_value is null or v_type = 'double precision' and jsonb_typeof(v_value) <> 'number' then
      perform common.refuse('CF001', format('%s is %s', v_key, left(v_argument[2], 100)), 'Give a finite number.');
    end if;
    if v_key = 'history_decay' then
      v_part.history_decay := v_value::float8;
      if not (v_part.history_decay > 0 and v_part.history_decay <= 1) then
        perform common.refuse('CF001', format('history_decay is %s', left(v_argument[2], 100)),
          'Give a number above 0, at most 1 (the order does not matter).');
      end if;
    else
      v_part.parameters := v_part.parameters || jsonb_build_object(v_key, v_value);
    end if;
  end loop;
  return v_part;
end;
$$;

comment on function recommend._read_model(text) is $$
@behavior -*
Reads the name of a model with parameters, such as `ease`, `ease(458)` or `sequence(history_decay => 0.7)`.
The parameters are the arguments of the function of the algorithm in `ml`, and `history_decay`; those that are not given
have the values of `_candidates`.
Errors: CF001 (a value), CF002 (an unknown model or parameter; names the nearest).
$$;

create or replace function recommend._model_name(part recommend.part)
returns text
language sql
stable
parallel safe
begin atomic
  select (part).algorithm || coalesce(
    '(' || (
      select string_agg(format('%s => %s', entry.key, entry.value), ', ' order by entry.key)
      from jsonb_each_text((part).parameters || case when (part).history_decay <> 1 then
        jsonb_build_object('history_decay', (part).history_decay) else '{}'::jsonb end) as entry
    ) || ')',
    ''
  );
end;

comment on function recommend._model_name(recommend.part) is $$
@behavior -*
Returns the name of a model of one part with its parameters, which `_read_model` reads.
$$;

create or replace function recommend.evaluate_relations(
  train regclass,
  test regclass,
  person_column name,
  item_column name,
  order_column name default null,
  models text[] default null,
  k int[] default '{10}'
)
returns setof recommend.metric
language plpgsql
volatile
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set client_min_messages to warning
as $$
declare
  v_train constant regclass := common.relation(train::text);
  v_test constant regclass := common.relation(test::text);
  v_models text[];
  v_parts recommend.part[];
  v_part recommend.part;
  v_place int;
  v_item_count int;
  v_bad text;
begin
  perform recommend._check_session('evaluate models', array['\_recommend\_%']);
  v_bad := (select coalesce(value::text, 'null') from unnest(k) as value where value is null or value < 1 limit 1);
  if v_bad is not null or coalesce(cardinality(k), 0) not between 1 and 100 then
    perform common.refuse('CF001', format('k is %s', coalesce(v_bad, left(coalesce(k::text, 'null'), 100))),
      'Give 1 to 100 lengths of lists, each of them 1 or more.');
  end if;
  v_models := coalesce(array(select model from unnest(models) as model), '{}');
  if models is null then
    v_models := array(
      select candidate.model
      from recommend._candidates() as candidate
      where order_column is not null or not candidate.needs_order
    ) || 'default'::text;
  end if;
  if cardinality(v_models) not between 1 and 100 then
    perform common.refuse('CF001', format('%s models are given', cardinality(v_models)),
      'Give 1 to 100, or null for all.');
  end if;
  for v_place in 1 .. cardinality(v_models) loop
    if lower(btrim(v_models[v_place])) = 'default' then
      v_part := null;
    else
      v_part := recommend._read_model(v_models[v_place]);
    end if;
    if order_column is null and v_part.algorithm in (
      select candidate.algorithm from recommend._candidates() as candidate where candidate.needs_order
    ) then
      perform common.refuse('CF001', format('the model %s needs an order', left(v_models[v_place], 100)),
        'Give order_column: a number or a time that grows within each person.');
    end if;
    v_parts := v_parts || v_part;
  end loop;

  perform recommend._code_relations(v_train, v_test, person_column, item_column, order_column);
  v_item_count := (select count(*) from pg_temp._recommend_item);
  if v_item_count = 0 then
    perform common.refuse('CF004', format('%s has no row with a person and an item', v_train),
      'There is nothing to learn from yet.');
  end if;
  if not exists (select from pg_temp._recommend_target) then
    perform common.refuse('CF004', format('%s has no row with a person and an item that is not in %s', v_test, v_train),
      'The test rows are those that the models must not see.');
  end if;
  if models is null and v_item_count > 16000 then
    raise info 'ease and edlae are left out: % has more than 16000 items', v_train;
  end if;

  for v_place in 1 .. cardinality(v_models) loop
    v_part := v_parts[v_place];
    continue when models is null and v_item_count > 16000 and v_part.algorithm in ('ease', 'edlae');
    if v_part.algorithm is null then
      v_part := recommend._choose_part('pg_temp._recommend_training', v_item_count);
      raise info '% is %', v_models[v_place], recommend._model_name(v_part);
    end if;
    perform recommend._fit_parts('pg_temp._recommend_training', array[v_part], v_item_count);
    perform recommend._rank_targets(
      'pg_temp._recommend_training', 'pg_temp._recommend_target', array[v_part], v_item_count,
      (select max(value) from unnest(k) as value)
    );
    return query
    select v_models[v_place], measured.metric, measured.k, measured.value
    from recommend._metrics(evaluate_relations.k, v_item_count) as measured;
  end loop;
  drop table if exists pg_temp._recommend_item, pg_temp._recommend_training, pg_temp._recommend_target,
    pg_temp._recommend_source, pg_temp._recommend_sums, pg_temp._recommend_gain, pg_temp._recommend_listed,
    pg_temp._recommend_trial;
end;
$$;

comment on function recommend.evaluate_relations(regclass, regclass, name, name, name, text[], int[]) is $$
@behavior -*
Measures recommenders on two relations: trained on `train`, they rank all its items for the people of `test`.
The columns of a person and an item have the same names in both relations and any type; a pair counts once, a null not
at all. `order_column` of `train` gives the order of the items of a person, such as a time (null: the order is unknown;
a row without a value comes first; the last row of a pair counts). What a person has in `train` is not ranked. The other
items of the person in `test` are relevant, also those that `train` does not have, which no list can contain.
People without rows in `train` get the items by popularity. Items of equal score are ranked by their number of people,
then by their text in byte order.

`models`: `popularity`; `trending` (people by how few items they took later); `item_knn`; `sequence`; `ease`; `edlae`;
with parameters as in `ease(458)` or `sequence(decay => 0.9, history_decay => 0.7)`, see `ml.ease_neighbours`,
`ml.item_knn_neighbours` and `ml.sequence_neighbours`; `default`: the model that the platform would deploy, chosen with
its parameters on the rows of `train` alone: the last fifth of each person's rows (without an order a random fifth) is
held out, and ranked by models of the rest; a message of level INFO names it. Null: all of them, without those that need
an order if there is none, and without those that cannot hold the items.

Metrics for each `k`, as means over the people, with h hits among the first k and n relevant items: `precision` h / k;
`recall` h / n; `recall_min` h / min(k, n); `ndcg` the sum of 1 / log2(1 + rank) of the hits, divided by that of
min(k, n) hits in the first places; `ndcg_uncut` the same divided by that of n hits; `map` the sum of the precision at
each hit, divided by min(k, n); `mrr` 1 / rank of the first hit; `hit_rate` 1 with a hit, else 0; `coverage` the share
of the items of `train` that are in a list.
The rows are numbered in temporary tables, which are dropped at the end. People are ranked in batches within a
`work_mem` of 64 MB; EASE holds at most 16,000 items.
Errors: CF001 (k, models, parameters, a column without order, a temporary table of the session whose name begins with
_recommend_), CF002 (no such column or model; names the nearest), CF004 (no rows), CF005 (not readable), CF008 (too many
items), 25006 in a read-only transaction.
$$;

grant execute on function
  recommend._read_model(text),
  recommend._model_name(recommend.part),
  recommend.evaluate_relations(regclass, regclass, name, name, name, text[], int[])
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded recommend/evaluation/evaluate_relations.sql

--! Included recommend/evaluation/start_evaluation.sql
/* A definer: it reads the interactions of all people, and is granted to administrators and workers. */
create or replace function recommend.start_evaluation(
  models text[] default null,
  protocol text default 'time',
  k int[] default '{10}',
  kind text default 'course',
  seed bigint default 1,
  segments text[] default '{}',
  people int default 1000,
  resamples int default 1000,
  split_at timestamptz default null
)
returns recommend.evaluation
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set jit to off
as $$
declare
  v_protocols constant text[] := '{time,leave_last_out,random,one_vs_100}';
  v_fewest_people constant int := (select fewest_people from recommend.setting);
  v_names text[] := start_evaluation.models;
  v_models recommend.evaluation_model[];
  v_name text;
  v_evaluation recommend.evaluation;
begin
  perform recommend._check_session('evaluate models');
  perform recommend._check(1, start_evaluation.kind);
  if start_evaluation.protocol is null or start_evaluation.protocol <> all (v_protocols) then
    perform common.refuse(
      'CF002',
      format('there is no protocol "%s"', coalesce(left(start_evaluation.protocol, 100), 'null')),
      coalesce('Did you mean "' || common.nearest_name(start_evaluation.protocol, v_protocols) || '"? ', '')
        || format('The protocols are %s.', array_to_string(v_protocols, ', '))
    );
  elsif start_evaluation.seed is null then
    perform common.refuse('CF001', 'seed is null', 'Give a number: the same seed and data give the same results.');
  elsif start_evaluation.split_at is not null
    and (start_evaluation.protocol <> 'time' or not isfinite(start_evaluation.split_at)) then
    perform common.refuse('CF001', format('split_at is %s', start_evaluation.split_at),
      'Give a time with the protocol "time" only.');
  end if;
  if start_evaluation.k is null or not cardinality(start_evaluation.k) between 1 and 10
    or array_position(start_evaluation.k, null) is not null
    or (select count(distinct size) from unnest(start_evaluation.k) as size) < cardinality(start_evaluation.k) then
    perform common.refuse('CF001', format('k is %s', coalesce(left(start_evaluation.k::text, 100), 'null')),
      'Give 1 to 10 different lengths of lists, such as {5,10}.');
  end if;
  perform common.check_count('k', size, 1, 1000) from unnest(start_evaluation.k) as size;
  perform common.check_count('people', start_evaluation.people, 1, 100000);
  perform common.check_count('resamples', start_evaluation.resamples, 20, 10000);

  if cardinality(start_evaluation.segments) > 20 then
    perform common.refuse('CF008', format('%s segments', cardinality(start_evaluation.segments)), 'Give at most 20.');
  end if;
  foreach v_name in array coalesce(start_evaluation.segments, '{}') loop
    if not exists (select from track.person_set where person_set.name = v_name) then
      perform common.refuse(
        'CF002',
        format('there is no set of people "%s"', coalesce(left(v_name, 100), 'null')),
        coalesce(
          'Did you mean "'
            || common.nearest_name(v_name, (select array_agg(name order by name) from track.person_set))
            || '"?',
          'track.person_set lists the sets.'
        )
      );
    end if;
  end loop;

  v_names := coalesce(
    v_names,
    array(
      select known.model
      from recommend._candidates() as known
    )
    || 'latest'::text
    || array(select 'deployed' from recommend._deployed_model(start_evaluation.kind))
  );
  perform common.check_count('the number of models', cardinality(v_names), 1, 50);
  if (select count(distinct coalesce(entry, '')) from unnest(v_names) as entry) < cardinality(v_names) then
    perform common.refuse('CF001', format('models is %s', left(v_names::text, 100)), 'Name each model once.');
  end if;
  foreach v_name in array v_names loop
    v_models := v_models || recommend._model_parts(start_evaluation.kind, v_name);
  end loop;

  v_evaluation.kind := start_evaluation.kind;
  v_evaluation.purpose := 'evaluation';
  v_evaluation.protocol := start_evaluation.protocol;
  v_evaluation.k := start_evaluation.k;
  v_evaluation.segments := array(select distinct name from unnest(start_evaluation.segments) as name order by name);
  v_evaluation.seed := start_evaluation.seed;
  v_evaluation.most_people := start_evaluation.people;
  v_evaluation.resamples := start_evaluation.resamples;
  v_evaluation.split_at := start_evaluation.split_at;
  v_evaluation := recommend._start_evaluation(v_evaluation, v_models);
  if v_evaluation.test_people < v_fewest_people then
    perform common.refuse(
      'CF004',
      format(
        'not enough people to evaluate on: %s by protocol "%s"',
        v_evaluation.test_people, v_evaluation.protocol
      ),
      format(
        'At least %s people are needed (recommend.setting.fewest_people) who used an item and took another one %s.',
        v_fewest_people,
        case
          when v_evaluation.split_at is null then 'that was available then'
          else format('from %s on that was available then', v_evaluation.split_at)
        end
      )
    );
  end if;
  return v_evaluation;
end;
$$;

comment on function recommend.start_evaluation(
  text[], text, int[], text, bigint, text[], int, int, timestamptz
) is $$
Starts an evaluation of recommenders, with the arguments of `recommend.evaluate`, which does all at once.
`recommend.continue_evaluation` does the work in steps, each in a transaction of its own.
The rows that models are trained and tested on are stored now, so that an evaluation that is interrupted continues with
the same results. They are deleted at its end, or when it has not been continued for a week.
Errors: CF001, CF002 (an unknown kind, model, protocol or set of people), CF004 for too few people, CF008.
$$;

grant execute on function recommend.start_evaluation(
  text[], text, int[], text, bigint, text[], int, int, timestamptz
) to insights_admin, insights_worker;
--! EndIncluded recommend/evaluation/start_evaluation.sql

--! Included recommend/evaluation/continue_evaluation.sql
/* A definer: it reads the interactions of all people, and is granted to administrators and workers. */
create or replace function recommend.continue_evaluation(evaluation_id bigint)
returns recommend.evaluation
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
begin
  perform recommend._check_session('evaluate models');
  if not exists (
    select
    from recommend.evaluation as known
    where known.evaluation_id = continue_evaluation.evaluation_id
  ) then
    perform common.refuse(
      'CF002',
      format('there is no evaluation %s', coalesce(continue_evaluation.evaluation_id::text, 'null')),
      'recommend.evaluation lists them; recommend.start_evaluation starts one.'
    );
  end if;
  if not pg_try_advisory_xact_lock(
    hashtext('recommend.evaluation'), hashint8(continue_evaluation.evaluation_id)
  ) then
    perform common.refuse(
      'CF010',
      format('evaluation %s is being continued elsewhere', continue_evaluation.evaluation_id),
      'recommend.evaluation shows its progress.'
    );
  end if;
  return recommend._continue_evaluation(continue_evaluation.evaluation_id);
end;
$$;

comment on function recommend.continue_evaluation(bigint) is $$
Does the next step of an evaluation, and returns its state. Call it until `state` is `finished`.
A step trains one model, tests one model on some people (at most 500,000 pairs of a person and an item), or computes the
results. A run that was interrupted continues after its last committed step, with the same results.
Errors: CF002 for an unknown evaluation, CF010 while another session continues it.
$$;

grant execute on function recommend.continue_evaluation(bigint) to insights_admin, insights_worker;
--! EndIncluded recommend/evaluation/continue_evaluation.sql

--! Included recommend/train/_delete_old_weights.sql
create or replace function recommend._delete_old_weights(project text, until_version int)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  delete from recommend.learning
  using ml.model, ml.project as known
  where learning.model_id = model.model_id
    and model.project_id = known.project_id
    and known.name = _delete_old_weights.project
    and model.version <= _delete_old_weights.until_version
    and model.version is distinct from ml.deployed_version(_delete_old_weights.project);
  delete from recommend.model_part
  using ml.model, ml.project as known
  where model_part.model_id = model.model_id
    and model.project_id = known.project_id
    and known.name = _delete_old_weights.project
    and model.version <= _delete_old_weights.until_version
    and model.version is distinct from ml.deployed_version(_delete_old_weights.project);
end;
$$;

comment on function recommend._delete_old_weights(text, int) is $$
@behavior -*
Deletes the weights and records of the versions of a recommender up to the given one.
Those of the deployed version are kept.
$$;
--! EndIncluded recommend/train/_delete_old_weights.sql

--! Included recommend/learning/_learning_parts.sql
create or replace function recommend._learning_parts(model_id bigint)
returns table (part smallint, algorithm text, parameters jsonb, person_mean float8, scale float8, is_blended boolean)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  select
    known.part, known.algorithm, entry.part -> 'parameters', known.person_mean, known.scale,
    jsonb_array_length(model.parameters -> 'parts') > 1
  from ml.model
  cross join lateral jsonb_array_elements(model.parameters -> 'parts') with ordinality as entry (part, place)
  join recommend.model_part as known on known.model_id = model.model_id and known.part = entry.place
  where model.model_id = _learning_parts.model_id
  order by known.part;
end;
$$;

comment on function recommend._learning_parts(bigint) is $$
@behavior -*
Returns the parts of a version of a recommender with their parameters.
$$;
--! EndIncluded recommend/learning/_learning_parts.sql

--! Included recommend/learning/_can_learn.sql
create or replace function recommend._can_learn(parts jsonb, item_count bigint)
returns boolean
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return _can_learn.parts <> '[]'
    and _can_learn.item_count <= (select most_learned_items from recommend.setting)
    and not exists (
      select
      from jsonb_array_elements(_can_learn.parts) as part
      where (
        array(select jsonb_object_keys(part -> 'parameters')) <@ case part ->> 'algorithm'
          when 'sequence' then array[
            'decay_form', 'decay', 'max_distance', 'out_exponent', 'in_exponent', 'saturation', 'column_limit',
            'row_limit'
          ]
          when 'item_knn' then array['similarity', 'shrinkage', 'max_items', 'column_limit', 'row_limit']
          when 'ease' then array['lambda', 'exponent', 'dropout', 'person_exponent', 'column_limit', 'row_limit']
          when 'edlae' then array['lambda', 'exponent', 'dropout', 'person_exponent', 'column_limit', 'row_limit']
        end
      ) is not true
    );
end;
$$;

comment on function recommend._can_learn(jsonb, bigint) is $$
@behavior -*
Whether a recommender of these parts and number of items keeps a record of what it learned.
Methods whose sums depend on the times of the events do not: the record has only their order.
$$;
--! EndIncluded recommend/learning/_can_learn.sql

--! Included recommend/learning/_keeps_record.sql
create or replace function recommend._keeps_record(model_id bigint, item_count bigint)
returns boolean
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  if _keeps_record.item_count <= (select most_learned_items from recommend.setting) then
    return true;
  end if;
  delete from recommend.learned_item where learned_item.model_id = _keeps_record.model_id;
  delete from recommend.learning where learning.model_id = _keeps_record.model_id;
  return false;
end;
$$;

comment on function recommend._keeps_record(bigint, bigint) is $$
@behavior -*
Whether a version with this number of items keeps its record; otherwise the record is deleted.
The version is then one that follows people with its next training only.
$$;
--! EndIncluded recommend/learning/_keeps_record.sql

--! Included recommend/learning/_statement.sql
create or replace function recommend._arguments(parameters jsonb, names text[])
returns text
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return (
    select string_agg(format('%I => %L', parameter.key, parameter.value), ', ' order by parameter.key)
    from jsonb_each_text(_arguments.parameters) as parameter
    where parameter.key = any (_arguments.names)
  );
end;
$$;

comment on function recommend._arguments(jsonb, text[]) is $$
@behavior -*
Returns named arguments for the parameters with these names, as a part of a call; null when there is none.
$$;

create or replace function recommend._statement(
  algorithm text,
  parameters jsonb,
  relation regclass default null,
  pairs text default null
)
returns text
language plpgsql
stable
set search_path from current
as $$
declare
  -- Products of two strengths, at most 1, are counted in this unit: sums over 8 million people fit a bigint.
  v_unit constant float8 := 2::float8 ^ -40;
  v_statement text;
begin
  execute format(
    'select ml.%I(%s)',
    case when _statement.algorithm in ('ease', 'edlae') then 'ease' else _statement.algorithm end
      || case when _statement.relation is null then '_lists' else '_pairs' end,
    concat_ws(
      ', ',
      case when _statement.relation is not null then format('relation => %L, unit => %L', relation, v_unit) end,
      case when _statement.pairs is not null then format('pairs => %L, unit => %L', pairs, v_unit) end,
      recommend._arguments(_statement.parameters, case
        when _statement.algorithm in ('ease', 'edlae') then array['column_limit', 'row_limit']
        when _statement.algorithm = 'sequence' and _statement.relation is null then
          array['out_exponent', 'in_exponent', 'saturation', 'column_limit', 'row_limit']
        when _statement.algorithm = 'sequence' then array['decay_form', 'decay', 'max_distance']
        when _statement.relation is null then array['similarity', 'shrinkage', 'column_limit', 'row_limit']
        else array['similarity', 'max_items']
      end)
    )
  )
  into v_statement;
  return v_statement;
end;
$$;

comment on function recommend._statement(text, jsonb, regclass, text) is $$
@behavior -*
Returns the statement that counts the pairs of a part in a relation, or without one that makes its neighbour lists.
It is that of `ml.sequence_pairs`, `ml.item_knn_pairs`, `ml.sequence_lists`, `ml.item_knn_lists` or `ml.ease_lists`,
with the parameters of the part.
$$;
--! EndIncluded recommend/learning/_statement.sql

--! Included recommend/learning/_list_part.sql
create or replace function recommend._list_part(model_id bigint, part smallint)
returns void
language plpgsql
volatile
set search_path from current
set client_min_messages to warning
set work_mem to '64MB'
set enable_mergejoin to off
-- The statistics of the tables may be from before the training: a nested loop would then take minutes.
set enable_nestloop to off
set jit to off
as $$
declare
  v_part record;
  v_items bigint[];
  v_inverse vector[];
  v_scale float8;
begin
  select * into v_part
  from recommend._learning_parts(_list_part.model_id) as known
  where known.part = _list_part.part;
  create temporary table _learn_list (item_id bigint, neighbour_ids bigint[], weights real[]) on commit drop;
  if v_part.algorithm in ('ease', 'edlae') then
    select array_agg(known.item_id order by known.item_id), array_agg(known.inverse order by known.item_id)
    into v_items, v_inverse
    from recommend.learned_item as known
    where known.model_id = _list_part.model_id
      and known.part = _list_part.part;
    execute 'insert into pg_temp._learn_list ' || recommend._statement(v_part.algorithm, v_part.parameters)
    using v_inverse, v_items;
  else
    execute 'insert into pg_temp._learn_list ' || recommend._statement(
      v_part.algorithm,
      v_part.parameters,
      pairs => format(
        $statement$
        select counted.item_id as source_no, entry.target_no, entry.total
        from recommend.learned_item as counted
        cross join lateral unnest(counted.target_ids, counted.totals) as entry (target_no, total)
        where counted.model_id = %s
          and counted.part = %s
        $statement$,
        _list_part.model_id, _list_part.part
      )
    );
  end if;

  -- The weights of methods differ in size. In a blend, those of each part have the same mean length per item.
  v_scale := v_part.scale;
  if v_part.is_blended and v_scale is null then
    select nullif(avg(sqrt(length.squares)), 0) into v_scale
    from pg_temp._learn_list as list
    cross join lateral (
      select sum(weight::float8 * weight) as squares from unnest(list.weights) as weight
    ) as length;
    update recommend.model_part as known
    set scale = v_scale
    where known.model_id = _list_part.model_id
      and known.part = _list_part.part;
  end if;
  if v_scale is not null then
    update pg_temp._learn_list as list
    set weights = array(
      select (entry.weight / v_scale)::real
      from unnest(list.weights) with ordinality as entry (weight, place)
      order by entry.place
    );
  end if;

  delete from recommend.neighbours as stored
  where stored.model_id = _list_part.model_id
    and stored.part = _list_part.part
    and not exists (
      select
      from recommend.learned_item as known
      where known.model_id = stored.model_id
        and known.part = stored.part
        and known.item_id = stored.item_id
    );
  insert into recommend.neighbours as stored (model_id, part, item_id, person_count, neighbour_ids, weights)
  select
    known.model_id, known.part, known.item_id, known.person_count, coalesce(list.neighbour_ids, '{}'),
    coalesce(list.weights, '{}')
  from recommend.learned_item as known
  left join pg_temp._learn_list as list using (item_id)
  where known.model_id = _list_part.model_id
    and known.part = _list_part.part
  on conflict on constraint neighbours_pkey do update
  set person_count = excluded.person_count, neighbour_ids = excluded.neighbour_ids, weights = excluded.weights
  where (stored.person_count, stored.neighbour_ids, stored.weights)
    is distinct from (excluded.person_count, excluded.neighbour_ids, excluded.weights);
  drop table pg_temp._learn_list;
end;
$$;

comment on function recommend._list_part(bigint, smallint) is $$
@behavior -*
Makes the neighbour lists of a part of a version from `recommend.learned_item`. Only lists that differ are written.
People who are served meanwhile see the former lists until the transaction ends.
$$;
--! EndIncluded recommend/learning/_list_part.sql

--! Included recommend/learning/_relearn_part.sql
create or replace function recommend._person_mean(model_id bigint, exponent float8)
returns float8
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return (
    select avg(cardinality(learned.item_ids)::float8 ^ -_person_mean.exponent)
    from recommend.learned
    where learned.model_id = _person_mean.model_id
  );
end;
$$;

comment on function recommend._person_mean(bigint, float8) is $$
@behavior -*
Returns the mean of n ^ -`exponent` over the people in the record of a version, n being their number of items.
$$;

create or replace function recommend._relearn_part(model_id bigint, part smallint)
returns float8
language plpgsql
volatile
set search_path from current
set client_min_messages to warning
set work_mem to '64MB'
set enable_mergejoin to off
set jit to off
as $$
declare
  v_part record;
  v_person_exponent float8;
  v_mean float8;
  v_sums ml.ease_sums;
  v_inverse vector[];
  v_drift float8;
begin
  select * into v_part
  from recommend._learning_parts(_relearn_part.model_id) as known
  where known.part = _relearn_part.part;
  v_person_exponent := coalesce((v_part.parameters ->> 'person_exponent')::float8, 0);
  v_mean := v_part.person_mean;
  if v_part.algorithm in ('ease', 'edlae') and v_mean is null then
    v_mean := recommend._person_mean(_relearn_part.model_id, v_person_exponent);
    update recommend.model_part as known
    set person_mean = v_mean
    where known.model_id = _relearn_part.model_id
      and known.part = _relearn_part.part;
  end if;

  create temporary table _learn_row on commit drop as
  select
    learned.person_id as person_no, entry.item_id as item_no, entry.place::int as position,
    case
      when v_mean is null then entry.strength
      -- A factor of a person is a factor of its square root on each of her weights.
      else (entry.strength * sqrt(cardinality(learned.item_ids)::float8 ^ -v_person_exponent / v_mean))::real
    end as weight
  from recommend.learned
  cross join lateral unnest(learned.item_ids, learned.strengths)
    with ordinality as entry (item_id, strength, place)
  where learned.model_id = _relearn_part.model_id;
  analyze pg_temp._learn_row;

  if v_part.algorithm in ('ease', 'edlae') and exists (select from pg_temp._learn_row) then
    v_sums := ml.ease_coded_sums('pg_temp._learn_row');
    v_inverse := ml.edlae_inverse(
      v_sums, (v_part.parameters ->> 'lambda')::float8, coalesce((v_part.parameters ->> 'exponent')::float8, 0),
      coalesce((v_part.parameters ->> 'dropout')::float8, 0)
    );
    select max(l2_distance(fresh.v, known.inverse) / nullif(vector_norm(fresh.v), 0)) into v_drift
    from unnest(v_sums.items::bigint[], v_inverse) as fresh (item_id, v)
    join recommend.learned_item as known
      on known.model_id = _relearn_part.model_id
      and known.part = _relearn_part.part
      and known.item_id = fresh.item_id
      and vector_dims(known.inverse) = vector_dims(fresh.v);
  end if;

  delete from recommend.learned_item as known
  where known.model_id = _relearn_part.model_id
    and known.part = _relearn_part.part;
  if v_inverse is not null then
    insert into recommend.learned_item (model_id, part, item_id, person_count, inverse)
    select _relearn_part.model_id, _relearn_part.part, fresh.item_id, fresh.person_count, fresh.v
    from unnest(v_sums.items::bigint[], v_sums.person_counts, v_inverse) as fresh (item_id, person_count, v);
  elsif v_part.algorithm not in ('ease', 'edlae') then
    execute format(
      $statement$
      insert into recommend.learned_item (model_id, part, item_id, person_count, target_ids, totals)
      select $1, $2, item.item_no, item.person_count, coalesce(list.target_ids, '{}'), coalesce(list.totals, '{}')
      from (select item_no, count(*) as person_count from pg_temp._learn_row group by item_no) as item
      left join (
        select
          pair.source_no as item_no, array_agg(pair.target_no order by pair.target_no) as target_ids,
          array_agg(pair.total::bigint order by pair.target_no) as totals
        from (%s) as pair
        where pair.total > 0
        group by pair.source_no
      ) as list using (item_no)
      $statement$,
      recommend._statement(v_part.algorithm, v_part.parameters, 'pg_temp._learn_row')
    )
    using _relearn_part.model_id, _relearn_part.part;
    v_drift := 0;
  end if;
  drop table pg_temp._learn_row;
  return v_drift;
end;
$$;

comment on function recommend._relearn_part(bigint, smallint) is $$
@behavior -*
Computes the statistics of a part of a version from the whole record, with the parameters that its training fixed.
Returns the relative error of the statistics that were there: the largest of a row of P; null when the items differ.
$$;
--! EndIncluded recommend/learning/_relearn_part.sql

--! Included recommend/learning/_relearn.sql
create or replace function recommend._relearn(model_id bigint)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_part smallint;
  v_drift float8;
begin
  for v_part in select known.part from recommend._learning_parts(_relearn.model_id) as known loop
    v_drift := greatest(v_drift, recommend._relearn_part(_relearn.model_id, v_part));
    perform recommend._list_part(_relearn.model_id, v_part);
  end loop;
  update recommend.learning
  set
    drift = case when learning.update_count > 0 then v_drift else learning.drift end,
    update_count = 0,
    updated_at = clock_timestamp(),
    rebuilt_at = clock_timestamp(),
    person_count = (select count(*) from recommend.learned where learned.model_id = _relearn.model_id)
  where learning.model_id = _relearn.model_id;
end;
$$;

comment on function recommend._relearn(bigint) is $$
@behavior -*
Computes statistics and neighbour lists of a version from its whole record, and stores the error that updates had left.
$$;
--! EndIncluded recommend/learning/_relearn.sql

--! Included recommend/learning/_update_pairs.sql
create or replace function recommend._count_people(model_id bigint, part smallint)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  update recommend.learned_item as known
  set person_count = known.person_count + change.people
  from pg_temp._learn_item as change
  where known.model_id = _count_people.model_id
    and known.part = _count_people.part
    and known.item_id = change.item_id
    and change.people <> 0;
  insert into recommend.learned_item (model_id, part, item_id, person_count, target_ids, totals)
  select _count_people.model_id, _count_people.part, change.item_id, change.people, '{}', '{}'
  from pg_temp._learn_item as change
  where change.people > 0
    and not exists (
      select
      from recommend.learned_item as known
      where known.model_id = _count_people.model_id
        and known.part = _count_people.part
        and known.item_id = change.item_id
    );
end;
$$;

comment on function recommend._count_people(bigint, smallint) is $$
@behavior -*
Changes the numbers of people per item by those in the temporary table `_learn_item` (item_id, people).
Items that are new are added.
$$;

create or replace function recommend._update_pairs(model_id bigint, part smallint)
returns boolean
language plpgsql
volatile
set search_path from current
set client_min_messages to warning
set work_mem to '64MB'
set enable_mergejoin to off
-- The statistics of the tables may be from before the training: a nested loop would then take minutes.
set enable_nestloop to off
set jit to off
as $$
declare
  v_part record;
begin
  select * into v_part
  from recommend._learning_parts(_update_pairs.model_id) as known
  where known.part = _update_pairs.part;
  execute format(
    $statement$
    create temporary table _learn_change on commit drop as
    select change.source_no, change.target_no, sum(change.total)::bigint as total
    from (
      select source_no, target_no, total from (%s) as fresh
      union all
      select source_no, target_no, -total from (%s) as stale
    ) as change
    group by change.source_no, change.target_no
    having sum(change.total) <> 0
    $statement$,
    recommend._statement(v_part.algorithm, v_part.parameters, 'pg_temp._learn_after'),
    recommend._statement(v_part.algorithm, v_part.parameters, 'pg_temp._learn_before')
  );
  if not exists (select from pg_temp._learn_change) and not exists (
    select from pg_temp._learn_item as item where item.people <> 0
  ) then
    drop table pg_temp._learn_change;
    return false;
  end if;

  perform recommend._count_people(_update_pairs.model_id, _update_pairs.part);
  with merged as (
    select counted.source_no, counted.target_no, sum(counted.total)::bigint as total
    from (
      select source_no, target_no, total from pg_temp._learn_change

      union all

      select known.item_id, entry.target_no, entry.total
      from recommend.learned_item as known
      cross join lateral unnest(known.target_ids, known.totals) as entry (target_no, total)
      where known.model_id = _update_pairs.model_id
        and known.part = _update_pairs.part
        and known.item_id in (select source_no from pg_temp._learn_change)
    ) as counted
    group by counted.source_no, counted.target_no
  ),

  list as (
    select
      merged.source_no,
      coalesce(array_agg(merged.target_no order by merged.target_no) filter (where merged.total <> 0), '{}')
        as target_ids,
      coalesce(array_agg(merged.total order by merged.target_no) filter (where merged.total <> 0), '{}') as totals
    from merged
    group by merged.source_no
  )

  update recommend.learned_item as known
  set target_ids = list.target_ids, totals = list.totals
  from list
  where known.model_id = _update_pairs.model_id
    and known.part = _update_pairs.part
    and known.item_id = list.source_no;
  delete from recommend.learned_item as known
  where known.model_id = _update_pairs.model_id
    and known.part = _update_pairs.part
    and known.person_count = 0;
  drop table pg_temp._learn_change;
  return true;
end;
$$;

comment on function recommend._update_pairs(bigint, smallint) is $$
@behavior -*
Adds the rows in the temporary table `_learn_after` to the sums of a part that counts pairs.
Those in `_learn_before` are subtracted. The result is exactly that of counting all rows. Returns whether anything
changed.
Both tables have the columns `person_no`, `item_no`, `weight` and `position`, with all rows of each person.
$$;
--! EndIncluded recommend/learning/_update_pairs.sql

--! Included recommend/learning/_placed.sql
create or replace function recommend._placed(
  matrix vector[],
  items bigint[],
  target_items bigint[],
  diagonal float8[]
)
returns vector[]
language plpgsql
immutable
parallel safe
set search_path from current
as $$
declare
  v_size constant int := cardinality(target_items);
  v_places constant int[] := array(
    select item.place::int
    from unnest(target_items) with ordinality as target (item_id, place)
    left join unnest(items) with ordinality as item (item_id, place) using (item_id)
    order by target.place
  );
begin
  return array(
    select
      case
        when row_.place is null then
          format('{%s:%s}/%s', row_.n, diagonal[row_.n]::real, v_size)::sparsevec::vector
        else (
          select array_agg(coalesce(known.entries[target.place], 0) order by target.n)::vector
          from (select matrix[row_.place]::real[] as entries offset 0) as known
          cross join unnest(v_places) with ordinality as target (place, n)
        )
      end
    from unnest(v_places) with ordinality as row_ (place, n)
    order by row_.n
  );
end;
$$;

comment on function recommend._placed(vector[], bigint[], bigint[], float8[]) is $$
@behavior -*
Returns a symmetric matrix with the rows and columns of other items, both lists in ascending order.
Those that it does not have are 0, but for their element of `diagonal`.
$$;
--! EndIncluded recommend/learning/_placed.sql

--! Included recommend/learning/_update_inverse.sql
create or replace function recommend._update_inverse(model_id bigint, part smallint)
returns boolean
language plpgsql
volatile
set search_path from current
set client_min_messages to warning
set jit to off
as $$
declare
  v_most_columns constant int := 256;
  v_columns_at_once constant int := 48;
  v_part record;
  v_lambda float8;
  v_exponent float8;
  v_dropout float8;
  v_person_exponent float8;
  v_items constant bigint[] := array(
    select known.item_id
    from recommend.learned_item as known
    where known.model_id = _update_inverse.model_id
      and known.part = _update_inverse.part
    order by known.item_id
  );
  v_new bigint[];
  v_all bigint[];
  v_kept bigint[];
  v_inverse vector[];
  v_columns vector[];
  v_factors float8[];
begin
  select * into v_part
  from recommend._learning_parts(_update_inverse.model_id) as known
  where known.part = _update_inverse.part;
  v_lambda := v_part.parameters ->> 'lambda';
  v_exponent := coalesce((v_part.parameters ->> 'exponent')::float8, 0);
  v_dropout := coalesce((v_part.parameters ->> 'dropout')::float8, 0);
  v_person_exponent := coalesce((v_part.parameters ->> 'person_exponent')::float8, 0);

  -- The rows of people whose items or strengths changed, with the factor of the person; the order does not count.
  create temporary table _learn_side on commit drop as
  with entry as (
    select side.sign, side.person_no, side.item_no,
      (side.weight * sqrt(side.item_count::float8 ^ -v_person_exponent / v_part.person_mean))::real as weight
    from (
      select 1 as sign, person_no, item_no, weight, count(*) over (partition by person_no) as item_count
      from pg_temp._learn_after

      union all

      select -1, person_no, item_no, weight, count(*) over (partition by person_no)
      from pg_temp._learn_before
    ) as side
  )

  select entry.*
  from entry
  where entry.person_no in (
    select same.person_no
    from (
      select person_no, sum(sign) as rows_
      from entry
      group by person_no, item_no, weight
    ) as same
    where same.rows_ <> 0
  );
  if not exists (select from pg_temp._learn_side) then
    drop table pg_temp._learn_side;
    return false;
  end if;

  create temporary table _learn_touched on commit drop as
  select
    change.item_no as item_id, known.item_id is null as is_new, coalesce(known.person_count, 0) as before,
    coalesce(known.person_count, 0) + change.people as after, change.square
  from (
    select item_no, sum(sign)::int as people, sum(sign * weight::float8 * weight) as square
    from pg_temp._learn_side
    group by item_no
  ) as change
  left join recommend.learned_item as known
    on known.model_id = _update_inverse.model_id
    and known.part = _update_inverse.part
    and known.item_id = change.item_no;
  v_new := array(select touched.item_id from pg_temp._learn_touched as touched where touched.is_new);
  v_all := array(select item_id from unnest(v_items || v_new) as item_id order by item_id);
  v_kept := array(
    select item_id
    from unnest(v_all) as item_id
    where item_id not in (select touched.item_id from pg_temp._learn_touched as touched where touched.after = 0)
    order by item_id
  );

  -- Columns of the change of XᵀX and the ridges. What is added comes first, so that each sum stays positive definite.
  select
    array_agg(change.v order by change.factor desc, change.key),
    array_agg(change.factor order by change.factor desc, change.key)
  into v_columns, v_factors
  from (
    select
      side.sign::float8 as factor, side.person_no as key,
      format('{%s}/%s', string_agg(item.place || ':' || side.weight, ','), cardinality(v_all))::sparsevec::vector as v
    from pg_temp._learn_side as side
    join unnest(v_all) with ordinality as item (item_id, place) on item.item_id = side.item_no
    where side.weight > 0
    group by side.sign, side.person_no

    union all

    select ridge.difference, ridge.item_id, format('{%s:1}/%s', item.place, cardinality(v_all))::sparsevec::vector
    from (
      select
        touched.item_id,
        v_lambda * (touched.after::float8 ^ v_exponent - touched.before::float8 ^ v_exponent)
          + v_dropout / (1 - v_dropout) * touched.square as difference
      from pg_temp._learn_touched as touched
      -- A new item begins with its ridge. One that leaves keeps its own until its row and column are removed.
      where not touched.is_new
        and touched.after > 0
    ) as ridge
    join unnest(v_all) with ordinality as item (item_id, place) using (item_id)
    where abs(ridge.difference) > 1e-9 * v_lambda
  ) as change;

  if v_items = '{}' or v_kept = '{}' or cardinality(v_columns) > least(v_most_columns, cardinality(v_items) / 4 + 16)
  then
    drop table pg_temp._learn_side, pg_temp._learn_touched;
    perform recommend._relearn_part(_update_inverse.model_id, _update_inverse.part);
    return true;
  end if;

  select array_agg(known.inverse order by known.item_id) into v_inverse
  from recommend.learned_item as known
  where known.model_id = _update_inverse.model_id
    and known.part = _update_inverse.part;
  if v_new <> '{}' then
    v_inverse := recommend._placed(v_inverse, v_items, v_all, array(
      select 1 / (
        v_lambda * touched.after::float8 ^ v_exponent + v_dropout / (1 - v_dropout) * touched.square
      )
      from unnest(v_all) with ordinality as item (item_id, place)
      left join pg_temp._learn_touched as touched on touched.item_id = item.item_id and touched.is_new
      order by item.place
    ));
  end if;
  begin
    for v_first in 1..cardinality(v_columns) by v_columns_at_once loop
      v_inverse := ml.low_rank_update(
        v_inverse,
        v_columns[v_first:v_first + v_columns_at_once - 1],
        v_factors[v_first:v_first + v_columns_at_once - 1]
      );
    end loop;
  exception when sqlstate 'CF007' then
    -- Too little is left of a row for single precision.
    drop table pg_temp._learn_side, pg_temp._learn_touched;
    perform recommend._relearn_part(_update_inverse.model_id, _update_inverse.part);
    return true;
  end;
  if v_kept <> v_all then
    v_inverse := recommend._placed(v_inverse, v_all, v_kept, null);
  end if;

  delete from recommend.learned_item as known
  where known.model_id = _update_inverse.model_id
    and known.part = _update_inverse.part
    and known.item_id <> all (v_kept);
  insert into recommend.learned_item as known (model_id, part, item_id, person_count, inverse)
  select
    _update_inverse.model_id, _update_inverse.part, fresh.item_id, coalesce(touched.after, 0), fresh.v
  from unnest(v_kept, v_inverse) as fresh (item_id, v)
  left join pg_temp._learn_touched as touched using (item_id)
  on conflict on constraint learned_item_pkey do update
  set
    inverse = excluded.inverse,
    person_count = case
      when excluded.item_id in (select touched.item_id from pg_temp._learn_touched as touched)
        then excluded.person_count
      else known.person_count
    end;
  drop table pg_temp._learn_side, pg_temp._learn_touched;
  return true;
end;
$$;

comment on function recommend._update_inverse(bigint, smallint) is $$
@behavior -*
Updates P = (XᵀX + ridges)⁻¹ of EASE or EDLAE for the rows in the temporary table `_learn_after`.
Those in `_learn_before` are subtracted: one column per row, and one per item whose ridge changes
(`ml.low_rank_update`).
A new item begins with a row and column of its ridge alone; one that no person has any more has no link to the others,
so that its row and column are removed. With many changes P is computed from the whole record. Returns whether anything
changed: not when only the order of items did.
$$;
--! EndIncluded recommend/learning/_update_inverse.sql

--! Included recommend/learning/_mark_versions.sql
create or replace function recommend._mark_versions(model_ids bigint[], reason text)
returns bigint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  return (
    select coalesce(sum(ml.mark_for_training(known.name, _mark_versions.reason, known.versions)), 0)
    from (
      select project.name, array_agg(model.version) as versions
      from ml.model
      join ml.project using (project_id)
      where model.model_id = any (_mark_versions.model_ids)
      group by project.name
    ) as known
  );
end;
$$;

comment on function recommend._mark_versions(bigint[], text) is $$
@behavior -*
Marks versions of recommenders for training. Returns the number of versions that were not marked before.
$$;
--! EndIncluded recommend/learning/_mark_versions.sql

--! Included recommend/learning/_update_model.sql
create or replace function recommend._update_model(model_id bigint, people bigint[], rows_ recommend.learned[])
returns int
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set client_min_messages to warning
as $$
declare
  v_fewest_people constant int := (select fewest_people from recommend.setting);
  -- Updates in single precision add up: then the statistics are computed from the record again.
  v_most_updates constant int := 200;
  v_part record;
  v_people bigint[];
  v_changed boolean;
begin
  create temporary table _learn_before on commit drop as
  select learned.person_id as person_no, entry.item_id as item_no, entry.strength as weight,
    entry.place::int as position
  from recommend.learned
  cross join lateral unnest(learned.item_ids, learned.strengths) with ordinality as entry (item_id, strength, place)
  where learned.model_id = _update_model.model_id
    and learned.person_id = any (_update_model.people);
  create temporary table _learn_after on commit drop as
  select fresh.person_id as person_no, entry.item_id as item_no, entry.strength as weight,
    entry.place::int as position
  from unnest(_update_model.rows_) as fresh
  cross join lateral unnest(fresh.item_ids, fresh.strengths) with ordinality as entry (item_id, strength, place);
  v_people := array(
    select distinct coalesce(fresh.person_no, stale.person_no)
    from pg_temp._learn_after as fresh
    full join pg_temp._learn_before as stale
      on stale.person_no = fresh.person_no
      and stale.position = fresh.position
    where (fresh.item_no, fresh.weight) is distinct from (stale.item_no, stale.weight)
    order by 1
  );
  if v_people = '{}' then
    drop table pg_temp._learn_before, pg_temp._learn_after;
    return 0;
  end if;
  delete from pg_temp._learn_before as stale where stale.person_no <> all (v_people);
  delete from pg_temp._learn_after as fresh where fresh.person_no <> all (v_people);
  analyze pg_temp._learn_before, pg_temp._learn_after;

  delete from recommend.learned
  where learned.model_id = _update_model.model_id
    and learned.person_id = any (v_people);
  insert into recommend.learned (person_id, model_id, item_ids, strengths)
  select fresh.person_id, _update_model.model_id, fresh.item_ids, fresh.strengths
  from unnest(_update_model.rows_) as fresh
  where fresh.person_id = any (v_people);
  update recommend.learning
  set
    update_count = learning.update_count + 1,
    updated_at = clock_timestamp(),
    person_count = learning.person_count
      + (select count(distinct fresh.person_no) from pg_temp._learn_after as fresh)::int
      - (select count(distinct stale.person_no) from pg_temp._learn_before as stale)::int
  where learning.model_id = _update_model.model_id;

  create temporary table _learn_item on commit drop as
  select change.item_no as item_id, sum(change.people)::int as people
  from (
    select item_no, 1 as people from pg_temp._learn_after
    union all
    select item_no, -1 from pg_temp._learn_before
  ) as change
  group by change.item_no;
  -- One person can bring thousands of items, and the time of an update grows with the third power of their number.
  if not recommend._keeps_record(
    _update_model.model_id,
    (
      select count(*)
      from (
        select known.item_id from recommend.learned_item as known where known.model_id = _update_model.model_id
        union
        select item.item_id from pg_temp._learn_item as item where item.people > 0
      ) as item
    )
  )
  then
    drop table pg_temp._learn_before, pg_temp._learn_after, pg_temp._learn_item;
    return 0;
  end if;
  for v_part in select * from recommend._learning_parts(_update_model.model_id) loop
    v_changed := case
      when v_part.algorithm in ('ease', 'edlae') then
        recommend._update_inverse(_update_model.model_id, v_part.part)
      else recommend._update_pairs(_update_model.model_id, v_part.part)
    end;
    if v_changed then
      perform recommend._list_part(_update_model.model_id, v_part.part);
    end if;
  end loop;
  drop table pg_temp._learn_before, pg_temp._learn_after, pg_temp._learn_item;

  if (select update_count from recommend.learning where learning.model_id = _update_model.model_id) >= v_most_updates
  then
    perform recommend._relearn(_update_model.model_id);
  end if;
  -- The items of few people could be inferred from the lists.
  if (
    select count(*)
    from (
      select
      from recommend.learned
      where learned.model_id = _update_model.model_id
        and cardinality(learned.item_ids) > 1
      limit v_fewest_people
    ) as known
  ) < v_fewest_people then
    perform recommend._mark_versions(array[_update_model.model_id], 'too few people are left');
  end if;
  return cardinality(v_people);
end;
$$;

comment on function recommend._update_model(bigint, bigint[], recommend.learned[]) is $$
@behavior -*
Changes a version so that it is as if it had been trained on `rows_` for these people; those without a row leave it.
The record, the statistics and the lists change in one transaction. Returns the number of people whose rows differ from
the record. The version is marked for training when fewer than `recommend.setting.fewest_people` people with two items
are left.
$$;
--! EndIncluded recommend/learning/_update_model.sql

--! Included recommend/learning/learn.sql
create or replace function recommend._rows_to_learn(kind text, model_id bigint, people bigint[] default null)
returns setof recommend.learned
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  select
    rows_.person_id, _rows_to_learn.model_id,
    array_agg(rows_.item_id order by rows_.last_at, rows_.item_id),
    array_agg(rows_.strength order by rows_.last_at, rows_.item_id),
    false
  from recommend._training_rows(_rows_to_learn.kind, people => _rows_to_learn.people) as rows_
  where rows_.strength > 0
  group by rows_.person_id;
end;
$$;

comment on function recommend._rows_to_learn(text, bigint, bigint[]) is $$
@behavior -*
Returns what a training learns from each person, or from some, as records of a version.
$$;

/*
 * The order of the interactions of a person, and so her row, can change with each event: her whole row is compared with
 * the record, and nothing is done when it is the same.
 */
create or replace function recommend.learn(people bigint[], since timestamptz[], until timestamptz[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_people constant bigint[] := array(select distinct person_id from unnest(learn.people) as person_id);
  v_known record;
begin
  if not exists (select from recommend.learning) then
    return;
  end if;
  for v_known in
    select
      known.model_id, known.is_live, known.marked_at, substr(known.name, length('recommend.') + 1) as kind,
      known.version = ml.deployed_version(known.name) as is_deployed
    from (
      select learning.model_id, learning.is_live, model.marked_at, model.version, project.name
      from recommend.learning
      join ml.model using (model_id)
      join ml.project using (project_id)
    ) as known
    order by known.model_id
  loop
    if v_known.is_deployed is not true then
      update recommend.learning
      set is_live = false
      where learning.model_id = v_known.model_id
        and learning.is_live;
      update recommend.learned
      set is_stale = true
      where learned.model_id = v_known.model_id
        and learned.person_id = any (v_people)
        and not learned.is_stale;
    elsif not v_known.is_live then
      -- Deployed again: what was missed is learned.
      perform recommend._catch_up(v_known.kind, v_known.model_id);
    else
      perform recommend._update_model(
        v_known.model_id, v_people,
        array(select rows_ from recommend._rows_to_learn(v_known.kind, v_known.model_id, v_people) as rows_)
      );
    end if;
  end loop;
end;
$$;

comment on function recommend.learn(bigint[], timestamptz[], timestamptz[]) is $$
Keeps the deployed recommenders up to date with the given people, whose interactions, enrolments or decisions changed.
Called by `track.refresh`. The lists are those of a training with the same parameters on the present rows of all people:
exactly for methods that count pairs, within the precision of single floating-point numbers for EASE and EDLAE.
`since` and `until` are not used. People who may not be used any more, and those who were merged, leave the models.
Versions that are not deployed do not learn; the people who changed are noted.
$$;
--! EndIncluded recommend/learning/learn.sql

--! Included recommend/learning/relearn.sql
create or replace function recommend._catch_up(kind text, model_id bigint)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  delete from recommend.learned where learned.model_id = _catch_up.model_id;
  insert into recommend.learned (person_id, model_id, item_ids, strengths)
  select rows_.person_id, rows_.model_id, rows_.item_ids, rows_.strengths
  from recommend._rows_to_learn(_catch_up.kind, _catch_up.model_id) as rows_;
  if not recommend._keeps_record(
    _catch_up.model_id,
    (
      select count(distinct entry.item_id)
      from recommend.learned
      cross join lateral unnest(learned.item_ids) as entry (item_id)
      where learned.model_id = _catch_up.model_id
    )
  )
  then
    return;
  end if;
  update recommend.learning set is_live = true where learning.model_id = _catch_up.model_id;
  perform recommend._relearn(_catch_up.model_id);
end;
$$;

comment on function recommend._catch_up(text, bigint) is $$
@behavior -*
Trains a version again on the present rows of all people, with the parameters that its training fixed.
$$;

/* A definer: it reads the interactions of all people, writes models, and is for administrators and workers. */
create or replace function recommend.relearn(kind text default 'course')
returns float8
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_model ml.model;
begin
  perform recommend._check_session('train a model', array['\_learn\_%']);
  perform recommend._check(1, relearn.kind);
  perform pg_advisory_xact_lock(hashtext('track.refresh'));
  select * into v_model from recommend._deployed_model(relearn.kind);
  if not exists (select from recommend.learning where learning.model_id = v_model.model_id) then
    perform common.refuse(
      'CF006',
      format('no recommender of kind "%s" that keeps a record is deployed', left(relearn.kind, 100)),
      format('Train one: select * from recommend.train(%L).', left(relearn.kind, 100))
    );
  end if;
  perform recommend._catch_up(relearn.kind, v_model.model_id);
  return (select learning.drift from recommend.learning where learning.model_id = v_model.model_id);
end;
$$;

comment on function recommend.relearn(text) is $$
Trains the deployed recommender again on all rows, with the same parameters, and returns the error of its updates.
The error is the relative one of `recommend.learning.drift`; null when it was never updated. For changes that queue no
person, such as an item that moves to another course, and to check the updates.
Errors: CF001 while the session has a temporary table whose name begins with `_learn_`, CF002 for a kind that no item
has, CF006 when no version with a record is deployed, 25006 in a read-only transaction.
$$;

grant execute on function recommend.relearn(text) to insights_admin, insights_worker;
--! EndIncluded recommend/learning/relearn.sql

--! Included recommend/learning/unlearn.sql
create or replace function recommend.unlearn(person_id bigint)
returns setof privacy.erased
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_known record;
  v_stale bigint[];
  v_records bigint := 0;
  v_unlearned bigint := 0;
  v_marked bigint;
begin
  -- Not while a refresh learns, or a training reads its rows.
  perform pg_advisory_xact_lock(hashtext('track.refresh'));
  for v_known in
    select learning.model_id, learning.is_live, substr(project.name, length('recommend.') + 1) as kind
    from recommend.learning
    join ml.model using (model_id)
    join ml.project using (project_id)
    order by learning.model_id
  loop
    v_stale := '{}';
    if not v_known.is_live then
      -- Items of hers may be in the row of another person, from before a merge or a split.
      v_stale := array(
        select learned.person_id
        from recommend.learned
        where learned.model_id = v_known.model_id
          and learned.is_stale
      );
    end if;
    if v_stale <> '{}' or exists (
      select
      from recommend.learned
      where learned.model_id = v_known.model_id
        and learned.person_id = unlearn.person_id
    ) then
      select count(*) + v_records into v_records
      from recommend.learned
      where learned.model_id = v_known.model_id
        and learned.person_id = unlearn.person_id;
      begin
        if recommend._update_model(
          v_known.model_id,
          v_stale || unlearn.person_id,
          array(
            select rows_
            from recommend._rows_to_learn(v_known.kind, v_known.model_id, v_stale) as rows_
            where rows_.person_id <> unlearn.person_id
          )
        ) > 0 then
          v_unlearned := v_unlearned + 1;
        end if;
      exception
        -- The weights without her cannot be computed, such as those of a matrix that is nearly singular. A person can
        -- be erased all the same: without its record, the version is marked below.
        when data_exception or sqlstate 'CF007' then
          delete from recommend.learned_item where learned_item.model_id = v_known.model_id;
          delete from recommend.learning where learning.model_id = v_known.model_id;
      end;
    end if;
  end loop;
  v_marked := recommend._mark_versions(
    array(
      select distinct part.model_id
      from recommend.model_part as part
      where not exists (select from recommend.learning where learning.model_id = part.model_id)
      order by part.model_id
    ),
    'a person was erased'
  );
  if v_records > 0 then
    return next row('recommend.learned', v_records, 'deleted')::privacy.erased;
  end if;
  if v_unlearned > 0 then
    return next row('ml.model', v_unlearned, 'unlearned')::privacy.erased;
  end if;
  if v_marked > 0 then
    return next row('ml.model', v_marked, 'marked')::privacy.erased;
  end if;
end;
$$;

comment on function recommend.unlearn(bigint) is $$
@behavior -*
Removes what the recommenders learned from a person, in all versions whose weights are kept.
Returns the changes by table.
Versions with a record (`recommend.learned`) become those that were trained, with the same parameters, without the
person. Versions without a record, because they have too many items or are older, are marked for training.
$$;
--! EndIncluded recommend/learning/unlearn.sql

--! Included recommend/train/_store_version.sql
create or replace function recommend._store_version(
  kind text,
  model recommend.evaluation_model,
  metrics jsonb,
  seed bigint
)
returns ml.model
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
declare
  v_project constant text := 'recommend.' || kind;
  v_setting recommend.setting;
  v_part recommend.part;
  v_place int;
  v_model ml.model;
  v_version int;
  v_learns boolean;
begin
  select * into v_setting from recommend.setting;
  -- From here to the end of the transaction no model learns or unlearns, so that no change of a person is missed.
  perform pg_advisory_xact_lock(hashtext('track.refresh'));
  -- The model itself is trained on all rows, including those that it was tested on.
  create temporary table coded on commit drop as
  select
    dense_rank() over (order by rows_.person_id)::int as person_no,
    dense_rank() over (order by rows_.item_id)::int as item_no,
    rows_.strength as weight,
    row_number() over (partition by rows_.person_id order by rows_.last_at, rows_.item_id)::int as position,
    rows_.item_id,
    rows_.last_at,
    rows_.person_id
  from recommend._training_rows(_store_version.kind) as rows_
  where rows_.strength > 0;
  analyze pg_temp.coded;
  create temporary table coded_item on commit drop as
  select coded.item_no, coded.item_id, count(*)::int as person_count
  from pg_temp.coded
  group by coded.item_no, coded.item_id;
  analyze pg_temp.coded_item;

  v_version := ml.register_model(
    v_project,
    task => 'recommendation',
    algorithm => recommend._algorithm_of(model),
    document => null,
    metrics => jsonb_strip_nulls(_store_version.metrics) || jsonb_build_object(
      'people', (select count(distinct person_no) from pg_temp.coded),
      'items', (select count(*) from pg_temp.coded_item)
    ),
    parameters => jsonb_build_object(
      'prior', (model).prior, 'parts', (model).parts, 'full_weight', v_setting.full_weight
    ),
    metric => 'ndcg_at_10',
    seed => _store_version.seed,
    data_watermark => (select max(last_at) from pg_temp.coded),
    row_count => (select count(*) from pg_temp.coded),
    description => format('Which %s a person will take next.', _store_version.kind)
  );
  select known.* into v_model
  from ml.model as known
  join ml.project using (project_id)
  where project.name = v_project
    and known.version = v_version;

  v_learns := recommend._can_learn((model).parts, (select count(*) from pg_temp.coded_item));
  for v_part.algorithm, v_part.parameters, v_part.history_decay, v_part.share, v_place in
    select *
    from rows from (
      jsonb_populate_recordset(null::recommend.part, (model).parts)
    ) with ordinality as part (algorithm, parameters, history_decay, share, place)
  loop
    insert into recommend.model_part (model_id, part, algorithm, share, history_decay)
    values (v_model.model_id, v_place, v_part.algorithm, v_part.share, v_part.history_decay);
    continue when v_learns;
    perform recommend._train_part('pg_temp.coded', v_part, jsonb_array_length((model).parts) > 1);

    insert into recommend.neighbours (model_id, part, item_id, person_count, neighbour_ids, weights)
    select
      v_model.model_id, v_place, source.item_id, source.person_count, coalesce(list.neighbour_ids, '{}'),
      coalesce(list.weights, '{}')
    from pg_temp.coded_item as source
    left join (
      select
        trained.item_no,
        array_agg(target.item_id order by target.item_id) as neighbour_ids,
        array_agg(entry.weight order by target.item_id) as weights
      from pg_temp.trained_part as trained
      cross join lateral unnest(trained.neighbours, trained.weights) as entry (item_no, weight)
      join pg_temp.coded_item as target on target.item_no = entry.item_no
      group by trained.item_no
    ) as list using (item_no);
    drop table pg_temp.trained_part;
  end loop;
  if v_learns then
    insert into recommend.learning (model_id, person_count)
    values (v_model.model_id, (select count(distinct person_id) from pg_temp.coded));
    insert into recommend.learned (person_id, model_id, item_ids, strengths)
    select
      coded.person_id, v_model.model_id, array_agg(coded.item_id order by coded.position),
      array_agg(coded.weight order by coded.position)
    from pg_temp.coded
    group by coded.person_id;
  end if;
  drop table pg_temp.coded, pg_temp.coded_item;
  if v_learns then
    perform recommend._relearn(v_model.model_id);
  end if;
  return v_model;
end;
$$;

comment on function recommend._store_version(text, recommend.evaluation_model, jsonb, bigint) is $$
@behavior -*
Trains a model on all rows, stores its neighbour lists, and registers it with its measures. Returns the version.
A version that can learn (`recommend._can_learn`) keeps the record of its rows, and its lists are made from its
statistics, as after each update.
$$;
--! EndIncluded recommend/train/_store_version.sql

--! Included recommend/train/_lock_training.sql
create or replace function recommend._lock_training(kind text, seed bigint)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  perform recommend._check_session('train a model');
  perform recommend._check(1, _lock_training.kind);
  if _lock_training.seed is null then
    perform common.refuse('CF001', 'seed is null', 'Give a number: the same seed and data give the same model.');
  end if;
  if not pg_try_advisory_xact_lock(hashtext('recommend.train'), hashtext(_lock_training.kind)) then
    perform common.refuse(
      'CF010',
      format('another training of the recommender of kind "%s" is running', left(_lock_training.kind, 100)),
      'Try again when it has finished.'
    );
  end if;
end;
$$;

comment on function recommend._lock_training(text, bigint) is $$
@behavior -*
Checks the arguments of a training, and that no other training of the kind runs until the end of the transaction.
$$;
--! EndIncluded recommend/train/_lock_training.sql

--! Included recommend/train/start_search.sql
/* A definer: it reads the interactions of all people, and is granted to administrators and workers. */
create or replace function recommend.start_search(
  kind text default 'course',
  trials int default 50,
  seed bigint default 1
)
returns recommend.evaluation
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_setting recommend.setting;
  v_evaluation recommend.evaluation;
  v_items int;
begin
  perform recommend._check_session('search parameters');
  perform recommend._check(1, start_search.kind);
  perform common.check_count('trials', start_search.trials, 1, 500);
  if start_search.seed is null then
    perform common.refuse('CF001', 'seed is null', 'Give a number: the same seed and data give the same parameters.');
  end if;
  select * into v_setting from recommend.setting;
  v_evaluation.kind := start_search.kind;
  v_evaluation.purpose := 'search';
  v_evaluation.protocol := 'time';
  v_evaluation.k := '{10}';
  v_evaluation.seed := start_search.seed;
  v_evaluation.most_people := v_setting.most_test_people;
  v_evaluation.resamples := 100;
  -- The rows that a training decides on are not searched on.
  select
    count(distinct rows_.item_id),
    percentile_disc(0.8) within group (order by rows_.first_at) filter (where rows_.strength >= 1)
  into v_items, v_evaluation.until_at
  from recommend._training_rows(start_search.kind) as rows_;

  v_evaluation := recommend._start_evaluation(
    v_evaluation,
    array(select trial from recommend._trials(start_search.trials, start_search.seed, v_items) as trial)
  );
  if v_evaluation.test_people < v_setting.fewest_people then
    perform common.refuse(
      'CF004',
      format('not enough people to search on: %s', v_evaluation.test_people),
      format('At least %s people are needed (recommend.setting.fewest_people) who took an item after others.',
        v_setting.fewest_people)
    );
  end if;
  return v_evaluation;
end;
$$;

comment on function recommend.start_search(text, int, bigint) is $$
Starts a search of the parameters of recommenders: `recommend.continue_evaluation` tries them in steps.
`trials` sets of parameters are drawn by the seed from the grids of the models, those that a model has without a search
among them. They are trained and tested as in the selection of a training. The best of each method is kept in
`recommend.best_parameters`, and the next training tries it. `recommend.evaluation_result` has all trials.
Errors: CF001, CF002 for a kind that no item has, CF004 for too few people, CF008.
$$;

grant execute on function recommend.start_search(text, int, bigint) to insights_admin, insights_worker;
--! EndIncluded recommend/train/start_search.sql

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
  if share is null or not share between 0 and 1e6 then
    perform common.refuse('CF001', format('share is %s', coalesce(share::text, 'null')),
      'Give a part of the rows of the last training, from 0: 0.1 is a tenth.');
  end if;
  for v_known in
    select
      known.kind,
      -- A deployed version that is marked for training is replaced at once, as if there were none.
      case when latest.is_served then latest.data_watermark end as data_watermark,
      case when latest.is_served then latest.row_count end as row_count
    from (
      select 'course' as kind

      union

      select substr(project.name, length('recommend.') + 1)
      from ml.project
      where starts_with(project.name, 'recommend.')
    ) as known
    left join lateral (
      select
        model.data_watermark, model.row_count,
        ml.deployed_version(project.name) is not null
          or not exists (select from ml.deployment where deployment.project_id = project.project_id) as is_served
      from ml.project
      join ml.model on model.project_id = project.project_id
      where project.name = 'recommend.' || known.kind
      order by model.version desc
      limit 1
    ) as latest on true
    order by known.kind
  loop
    -- First an upper limit, from the new interactions. A training counts fewer, and reads all interactions for it.
    select coalesce(sum(owned.item_count), 0), count(*) filter (where owned.item_count > 1)
    into v_interactions, v_people
    from (
      select leaf.person_id, count(distinct ancestor.ancestor_item_id) as item_count
      from (
        select interaction.person_id, interaction.item_id
        from recommend.interaction
        where interaction.last_at > coalesce(v_known.data_watermark, '-infinity')
          and (interaction.weight > 0 or interaction.liking > 0)

        union all

        select enrolment.person_id, enrolment.item_id
        from track.enrolment
        where enrolment.enrolled_at > coalesce(v_known.data_watermark, '-infinity')
      ) as leaf
      join track.item_ancestor as ancestor on ancestor.item_id = leaf.item_id
      join track.item on item.item_id = ancestor.ancestor_item_id
      where item.kind = v_known.kind
      group by leaf.person_id
    ) as owned;
    if v_known.data_watermark is null and v_people < v_fewest_people
      or v_interactions < due_trainings.share * v_known.row_count
    then
      continue;
    end if;

    select coalesce(sum(owned.item_count), 0), count(*) filter (where owned.item_count > 1)
    into v_interactions, v_people
    from (
      select liked.person_id, count(*) as item_count
      from recommend._training_rows(v_known.kind) as liked
      where liked.last_at > coalesce(v_known.data_watermark, '-infinity')
      group by liked.person_id
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
A kind is returned when it has no version, or the deployed one is marked for training, and at least
`recommend.setting.fewest_people` people like two or more items,
or when the items of people that are newer than the latest version are at least the given share of those it was trained
on. They are counted as a training counts them (`recommend._training_rows`).
Error CF001 for a share that is null, negative or above 1e6.
$$;

grant execute on function recommend.due_trainings(float8) to insights_worker;
--! EndIncluded recommend/functions/due_trainings.sql

--! Included recommend/feedback/_send_feedback.sql
create or replace function recommend._send_feedback(
  person text,
  name_field text,
  feedback text,
  item text,
  value float8,
  topic text,
  serving_id text
)
returns boolean
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set extra_float_digits to 1
as $$
declare
  v_kinds constant text[] := '{show,click,like,dislike,rate,dismiss,know,dismiss_topic,withdraw}';
  v_event text := (
    '{
      "show": "Recommendation Shown", "click": "Recommendation Clicked", "like": "Item Liked",
      "dislike": "Item Disliked", "rate": "Item Rated", "dismiss": "Item Dismissed", "know": "Item Known",
      "dismiss_topic": "Topic Dismissed", "withdraw": "Feedback Withdrawn"
    }'::jsonb
  ) ->> _send_feedback.feedback;
  v_topic constant text := nullif(btrim(_send_feedback.topic), '');
  v_item_id bigint;
  v_serving recommend.serving;
  v_weight recommend.event_weight;
  v_result track.ingest_result;
  v_error jsonb;
  v_person_id bigint;
begin
  perform recommend._check_session('send feedback', '{}');
  if v_event is null then
    perform common.refuse(
      'CF002',
      format('there is no feedback "%s"', coalesce(left(_send_feedback.feedback, 100), 'null')),
      coalesce('Did you mean "' || common.nearest_name(_send_feedback.feedback, v_kinds) || '"? ', '')
        || format('There are %s.', array_to_string(v_kinds, ', '))
    );
  end if;

  if _send_feedback.item is not null then
    v_item_id := (recommend._find_items(array[_send_feedback.item]))[1];
  end if;
  if _send_feedback.serving_id is not null then
    v_serving := recommend._own_serving(_send_feedback.serving_id, track.find_person(_send_feedback.person));
    select coalesce(known.merged_item_id, known.item_id) into v_serving.item_id
    from track.item as known
    where known.item_id = v_serving.item_id;
    if v_item_id <> v_serving.item_id then
      perform common.refuse(
        'CF001',
        format('item is "%s"', left(_send_feedback.item, 100)),
        format(
          'The serving_id is that of "%s": give no item, or this one.',
          (select left(known.external_id, 100) from track.item as known where known.item_id = v_serving.item_id)
        )
      );
    end if;
    v_item_id := v_serving.item_id;
    if v_event = 'Item Dismissed' then
      v_event := 'Recommendation Dismissed';
    end if;
  elsif _send_feedback.feedback in ('show', 'click') then
    perform common.refuse('CF001', 'serving_id is null', 'Give the serving_id of the row of the list.');
  end if;

  if v_topic is not null and _send_feedback.feedback not in ('dismiss_topic', 'withdraw') then
    perform common.refuse('CF001', format('topic is "%s"', left(v_topic, 100)),
      'A topic belongs to dismiss_topic and withdraw.');
  end if;
  if length(v_topic) > 500 then
    perform common.refuse('CF008', format('topic has %s characters', length(v_topic)), 'A topic has at most 500.');
  end if;
  if v_item_id is null and v_topic is null then
    perform common.refuse(
      'CF001',
      'item is null',
      case
        when _send_feedback.feedback in ('dismiss_topic', 'withdraw') then 'Give an item, a serving_id or a topic.'
        else 'Give an item or a serving_id.'
      end
    );
  end if;

  if _send_feedback.feedback <> 'rate' then
    if _send_feedback.value is not null then
      perform common.refuse('CF001', format('value is %s', _send_feedback.value), 'A value belongs to rate.');
    end if;
  else
    select * into v_weight
    from recommend.event_weight
    where event_weight.event = v_event;
    if v_weight.value_property is null then
      perform common.refuse('CF006', format('there is no scale of "%s"', v_event),
        'Administrators set value_property, value_from and value_to in recommend.event_weight.');
    end if;
    if _send_feedback.value is null
      or _send_feedback.value not between least(v_weight.value_from, v_weight.value_to)
        and greatest(v_weight.value_from, v_weight.value_to)
    then
      perform common.refuse(
        'CF001',
        format('value is %s', coalesce(_send_feedback.value::text, 'null')),
        format('Give a number from %s to %s.', v_weight.value_from, v_weight.value_to)
      );
    end if;
  end if;

  v_result := track.ingest(jsonb_build_array(jsonb_build_object(
    'type', 'track',
    'messageId', 'feedback-' || gen_random_uuid(),
    _send_feedback.name_field, _send_feedback.person,
    'event', v_event,
    'properties', jsonb_strip_nulls(jsonb_build_object(
      'item', (select known.external_id from track.item as known where known.item_id = v_item_id),
      'topic', v_topic,
      'servingId', _send_feedback.serving_id
    )) || case when v_weight.value_property is null then '{}' else
      jsonb_build_object(v_weight.value_property, _send_feedback.value)
    end
  )));
  if v_result.rejected > 0 then
    v_error := v_result.errors -> 0;
    perform common.refuse(v_error ->> 'code', v_error ->> 'message', v_error ->> 'hint');
  end if;

  -- Without the consent that the event needs, it was stored for no person; without that to personalization, it is not
  -- used.
  v_person_id := track.find_person(_send_feedback.person);
  return privacy.allowed(v_person_id, 'personalization')
    and privacy.allowed(
      v_person_id,
      (select event_type.purpose from track.event_type where event_type.name = v_event)
    );
end;
$$;

comment on function recommend._send_feedback(text, text, text, text, float8, text, text) is $$
@behavior -*
Checks an answer of a person and sends it as an event through `track.ingest`: see `recommend.feedback`.
`name_field`: `userId` or `anonymousId`.
$$;
--! EndIncluded recommend/feedback/_send_feedback.sql

--! Included recommend/feedback/off_policy_estimate.sql
create or replace function recommend._off_policy(people bigint[], weights float8[], outcomes float8[])
returns recommend.policy_value
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_total record;
  v_spread record;
  v_value recommend.policy_value;
begin
  select
    count(*) as slots,
    count(distinct slot.person_id) as people,
    sum(slot.weight) as weight,
    sum(slot.weight ^ 2) as squared_weight,
    sum(slot.weight * slot.outcome) as outcome
  into v_total
  from unnest(_off_policy.people, _off_policy.weights, _off_policy.outcomes) as slot (person_id, weight, outcome);

  v_value.slots := v_total.slots;
  v_value.people := v_total.people;
  v_value.mean_weight := v_total.weight / nullif(v_total.slots, 0);
  v_value.effective_sample_size := coalesce(v_total.weight ^ 2 / nullif(v_total.squared_weight, 0), 0);
  v_value.ips := v_total.outcome / nullif(v_total.slots, 0);
  v_value.snips := v_total.outcome / nullif(v_total.weight, 0);

  -- The slots of a person are not independent: the deviations are summed by person first.
  select
    sum(by_person.ips ^ 2) as ips,
    sum(by_person.snips ^ 2) as snips
  into v_spread
  from (
    select
      sum(slot.weight * slot.outcome - v_value.ips) as ips,
      sum(slot.weight * (slot.outcome - v_value.snips)) as snips
    from unnest(_off_policy.people, _off_policy.weights, _off_policy.outcomes) as slot (person_id, weight, outcome)
    group by slot.person_id
  ) as by_person;

  if v_value.people >= 2 then
    -- Without any spread, such as without an answer, the error is unknown and not 0.
    v_value.ips_standard_error := nullif(
      sqrt(v_spread.ips * v_value.people / (v_value.people - 1)) / v_value.slots, 0
    );
    v_value.snips_standard_error := nullif(
      sqrt(v_spread.snips * v_value.people / (v_value.people - 1)) / nullif(v_total.weight, 0), 0
    );
  end if;
  return v_value;
end;
$$;

comment on function recommend._off_policy(bigint[], float8[], float8[]) is $$
@behavior -*
Returns the estimates of the value of a policy from slots of another one.
One element per slot: its person, the weight (probability of the item under the policy, divided by that under which it
was drawn) and the outcome. Standard errors are robust against the dependence of the slots of a person, with the factor
n / (n - 1) for n people; null when all deviations are 0, as when no slot of the policy was answered.
Sources: D. G. Horvitz and D. J. Thompson, Journal of the American Statistical Association 47 (1952), 663-685;
A. Swaminathan and T. Joachims, The self-normalized estimator for counterfactual learning, NIPS 2015; A. B. Owen,
Monte Carlo theory, methods and examples (2013), chapter 9, also for the effective sample size.
$$;

create or replace function recommend._slot_history(slots recommend.impression[], kind text)
returns table (slot int, item_id bigint, strength float8, later_items int)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_weights constant record := recommend._event_names();
  v_full_weight constant float8 := (select full_weight from recommend.setting);
begin
  return query
  with slot as materialized (
    select entry.ordinality::int as slot, entry.person_id, entry.listed_at
    from unnest(_slot_history.slots) with ordinality as entry
  ),

  counted as (
    select
      slot.slot, event.item_id, event_weight.event,
      event_weight.weight::float8 * least(count(*), event_weight.most_counted) as weight,
      max(event.occurred_at) as last_at
    from slot
    join track.event
      on event.person_id = slot.person_id
      and event.occurred_at < slot.listed_at
    join unnest(v_weights.event_type_ids, v_weights.events) as named (event_type_id, event)
      on named.event_type_id = coalesce(event.named_event_type_id, event.event_type_id)
    join recommend.event_weight on event_weight.event = named.event
    where event.item_id is not null
      and event_weight.weight > 0
    group by slot.slot, event.item_id, event_weight.event, event_weight.weight, event_weight.most_counted
  ),

  used as (
    select
      counted.slot, target.item_id,
      least(sum(counted.weight) / v_full_weight, 1) as strength,
      max(counted.last_at) as last_at
    from counted
    join track.item_ancestor as ancestor on ancestor.item_id = counted.item_id
    join track.item as target on target.item_id = ancestor.ancestor_item_id
    where target.kind = _slot_history.kind
    group by counted.slot, target.item_id
  )

  select
    used.slot, used.item_id, used.strength,
    (row_number() over (partition by used.slot order by used.last_at desc, used.item_id desc))::int - 1
  from used;
end;
$$;

comment on function recommend._slot_history(recommend.impression[], text) is $$
@behavior -*
Returns the items of a kind that people had used before the times of their slots, with the strengths at that time.
`slot` is the position in the list, `later_items` the number of items that were used after the item. Strengths are those
of use alone, without preferences.
$$;

create or replace function recommend._policy_choices(slots recommend.impression[], kind text, model_id bigint)
returns bigint[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return (
    with candidate as materialized (
      select entry.ordinality::int as slot, member.item_id
      from unnest(_policy_choices.slots) with ordinality as entry
      cross join lateral unnest(entry.pool) as member (item_id)
    ),

    used as materialized (
      select history.*
      from recommend._slot_history(_policy_choices.slots, _policy_choices.kind) as history
      where _policy_choices.model_id is not null
    ),

    weight as materialized (
      select neighbours.item_id, entry.neighbour_id, part.share, part.history_decay, entry.weight
      from recommend.neighbours
      join recommend.model_part as part
        on part.model_id = neighbours.model_id
        and part.part = neighbours.part
      cross join lateral unnest(neighbours.neighbour_ids, neighbours.weights) as entry (neighbour_id, weight)
      where neighbours.model_id = _policy_choices.model_id
        and neighbours.item_id in (select used.item_id from used)
        and entry.neighbour_id in (select candidate.item_id from candidate)
    ),

    scored as (
      select
        candidate.slot, candidate.item_id,
        sum(
          weight.share::float8 * used.strength * weight.history_decay::float8 ^ used.later_items * weight.weight
        ) as score
      from candidate
      join used on used.slot = candidate.slot
      join weight on weight.item_id = used.item_id and weight.neighbour_id = candidate.item_id
      group by candidate.slot, candidate.item_id
    ),

    -- Items that the model does not rank are in the order of their popularity.
    chosen as (
      select distinct on (candidate.slot) candidate.slot, candidate.item_id
      from candidate
      left join scored on scored.slot = candidate.slot and scored.item_id = candidate.item_id
      left join recommend.ranked_list as popular
        on popular.kind = _policy_choices.kind
        and popular.list = 'popular'
        and popular.item_id = candidate.item_id
      order by candidate.slot, coalesce(scored.score, 0) desc, popular.score desc nulls last, candidate.item_id
    )

    select array_agg(chosen.item_id order by chosen.slot)
    from chosen
  );
end;
$$;

comment on function recommend._policy_choices(recommend.impression[], text, bigint) is $$
@behavior -*
Returns for each slot the item of its pool that a version of a model ranks best, from what the person had used before.
Items without a score, and all of them where `model_id` is null, are ranked by popularity. The slots have pools.
$$;

/*
 * A definer: it reads the impressions and events of all people and the weights, which no role may read, and returns
 * figures about all of them.
 */
create or replace function recommend.off_policy_estimate(
  policy text,
  outcome text default 'clicked',
  since timestamptz default (now() at time zone 'UTC' - interval '90 days') at time zone 'UTC',
  until timestamptz default now(),
  kind text default 'course'
)
returns recommend.policy_value
language plpgsql
stable
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_version constant text := substring(off_policy_estimate.policy from '^version ([0-9]{1,9})$');
  v_model_id bigint;
  v_slots recommend.impression[];
  v_choices bigint[];
  v_value recommend.policy_value;
begin
  perform common.check_period(off_policy_estimate.since, off_policy_estimate.until);
  perform recommend._check(1, off_policy_estimate.kind);
  if off_policy_estimate.outcome is null or off_policy_estimate.outcome not in ('clicked', 'completed', 'liked') then
    perform common.refuse(
      'CF001',
      format('outcome is %s', coalesce('"' || left(off_policy_estimate.outcome, 100) || '"', 'null')),
      'Use clicked, completed or liked.'
    );
  end if;
  if v_version is not null then
    select model.model_id into v_model_id
    from ml.project
    join ml.model on model.project_id = project.project_id
    where project.name = 'recommend.' || off_policy_estimate.kind
      and model.version = v_version::int
      and exists (select from recommend.model_part as part where part.model_id = model.model_id);
    if not found then
      perform common.refuse(
        'CF002',
        format('there are no weights of version %s of the recommender of "%s"', v_version, off_policy_estimate.kind),
        'Versions whose weights are kept are in recommend.model_part.'
      );
    end if;
  elsif off_policy_estimate.policy is null or off_policy_estimate.policy not in ('served', 'random', 'popularity') then
    perform common.refuse(
      'CF001',
      format('policy is %s', coalesce('"' || left(off_policy_estimate.policy, 100) || '"', 'null')),
      'Use served, random, popularity or the version of a model, such as version 3.'
    );
  end if;

  v_slots := array(
    select impression
    from recommend.impression
    join track.item as named on named.item_id = impression.item_id
    join track.item on item.item_id = coalesce(named.merged_item_id, named.item_id)
    where impression.listed_at >= off_policy_estimate.since
      and impression.listed_at < off_policy_estimate.until
      and item.kind = off_policy_estimate.kind
      -- Rows that are known only because of an event are those with an answer.
      and impression.is_served
      and impression.propensity > 0
      and impression.item_id = any (impression.pool)
      and (
        off_policy_estimate.outcome <> 'completed'
        or impression.listed_at < now() - (select attribution_period from recommend.setting)
      )
    order by impression.listed_at, impression.person_id, impression.serving_key
  );
  if off_policy_estimate.policy not in ('served', 'random') then
    v_choices := recommend._policy_choices(v_slots, off_policy_estimate.kind, v_model_id);
  end if;

  select estimated.* into v_value
  from (
    select
      coalesce(array_agg(slot.person_id order by slot.ordinality), '{}') as people,
      coalesce(
        array_agg(
          case off_policy_estimate.policy
            when 'served' then 1
            when 'random' then 1.0 / cardinality(slot.pool) / slot.propensity
            else (v_choices[slot.ordinality] = slot.item_id)::int / slot.propensity
          end
          order by slot.ordinality
        ),
        '{}'
      ) as weights,
      coalesce(
        array_agg(
          case off_policy_estimate.outcome
            when 'clicked' then slot.clicked_at is not null
            when 'completed' then slot.completed_at is not null
            else coalesce(slot.liking > 0, false)
          end::int::float8
          order by slot.ordinality
        ),
        '{}'
      ) as outcomes
    from unnest(v_slots) with ordinality as slot
  ) as slots
  cross join lateral recommend._off_policy(slots.people, slots.weights, slots.outcomes) as estimated;
  v_value.policy := off_policy_estimate.policy;
  v_value.outcome := off_policy_estimate.outcome;
  return v_value;
end;
$$;

comment on function recommend.off_policy_estimate(text, text, timestamptz, timestamptz, text) is $$
Estimates how often people would answer if another policy had filled the explored slots.
`policy`: `popularity`, `version <n>` (the item of the pool that this version of the model ranks best, from what the
person had used until then), `random` (each item of the pool with the same probability) or `served` (what was shown).
`outcome`: `clicked`, `completed` (within `recommend.setting.attribution_period`; younger slots are left out) or
`liked`. Only slots with a logged probability count (`recommend.setting.explored_slots`), of lists that `serve_me` and
`serve_person` recorded; the item is one of the pool of the slot. Compare estimates by their standard errors, and see
`mean_weight` and `effective_sample_size`. Below some 30 answers to items of the policy, an interval of two standard
errors contains the value in less than 95 % of cases (in 86 % with 5). Popularity is that of today, and a version that
was trained after the slots learned from their answers: for a version, give the time of its training as `since`.
Errors: CF001 for an unknown `policy` or `outcome` or an invalid period, CF002 for a version without weights and a kind
that no item has.
$$;

grant execute on function recommend.off_policy_estimate(text, text, timestamptz, timestamptz, text)
to insights_admin, insights_worker;
--! EndIncluded recommend/feedback/off_policy_estimate.sql

--! Included recommend/functions/erase.sql
create or replace function recommend.erase(subject privacy.subject)
returns setof privacy.erased
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  -- The key of a person is that of one of her identities, and some of her identities are people of their own.
  v_people constant bigint[] := subject.identity_ids;
  -- Evaluations in progress, whose sums contain her. Those of trainings start again.
  v_evaluations constant bigint[] := array(
    select distinct person.evaluation_id
    from recommend.evaluation_person as person
    where person.person_id = any (v_people)
  );
begin
  return next privacy.erase_rows('recommend.interaction', 'person_id', v_people);
  return next privacy.erase_rows('recommend.dismissed_topic', 'person_id', v_people);
  return next privacy.erase_rows('recommend.taken', 'person_id', v_people);
  return next privacy.erase_rows('recommend.impression', 'person_id', v_people);
  return next privacy.erase_rows('recommend.evaluation_person', 'evaluation_id', v_evaluations);
  return next privacy.erase_rows('recommend.evaluation', 'evaluation_id', v_evaluations);
  return next privacy.clear_values('recommend.rule_log', 'actor', privacy.user_names(subject));
  -- After her rows: a model learns the difference between what it has learned from her and what is stored now.
  return query
  select erased.*
  from unnest(v_people) as entry (person_id)
  cross join lateral recommend.unlearn(entry.person_id) as erased;
end;
$$;

comment on function recommend.erase(privacy.subject) is $$
@behavior -*
Erases what a person did with items, what was recommended to her, and what models have learned from her.
Called by `privacy.erase_person`.
$$;
--! EndIncluded recommend/functions/erase.sql

--! Included recommend/access/_export_interactions.sql
create or replace function recommend._export_interactions(subject privacy.subject)
returns setof privacy.exported
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return next privacy.exported_rows(
    'recommend.interaction',
    (
      select jsonb_agg(
        to_jsonb(interaction) - '{person_id,identity_id,item_id}'::text[]
        || jsonb_build_object(
          'item', item.external_id,
          'item_title', item.title,
          'identity', subject.names[array_position(subject.identity_ids, interaction.identity_id)]
        )
        order by interaction.first_at, interaction.item_id
      )
      from recommend.interaction
      join track.item using (item_id)
      where interaction.person_id = subject.person_id
    )
  );
  return next privacy.exported_rows(
    'recommend.taken',
    (
      select jsonb_agg(
        to_jsonb(taken) - '{person_id,identity_id,item_id}'::text[]
        || jsonb_build_object(
          'item', item.external_id,
          'item_title', item.title,
          'identity', subject.names[array_position(subject.identity_ids, taken.identity_id)]
        )
        order by taken.first_at, taken.item_id
      )
      from recommend.taken
      join track.item using (item_id)
      where taken.person_id = subject.person_id
    )
  );
  return next privacy.exported_rows(
    'recommend.dismissed_topic',
    (
      select jsonb_agg(
        to_jsonb(dismissed) - '{person_id,identity_id}'::text[]
        || jsonb_build_object(
          'identity', subject.names[array_position(subject.identity_ids, dismissed.identity_id)]
        )
        order by dismissed.first_at, dismissed.topic
      )
      from recommend.dismissed_topic as dismissed
      where dismissed.person_id = subject.person_id
    )
  );
end;
$$;

comment on function recommend._export_interactions(privacy.subject) is $$
Returns what a person did with items, for `recommend.export`.
$$;
--! EndIncluded recommend/access/_export_interactions.sql

--! Included recommend/access/_export_lists.sql
create or replace function recommend._export_lists(subject privacy.subject)
returns setof privacy.exported
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return next privacy.exported_rows(
    'recommend.impression',
    (
      select jsonb_agg(
        to_jsonb(impression) - '{person_id,identity_id,item_id,model_id,pool}'::text[]
        || jsonb_build_object(
          'item', item.external_id,
          'item_title', item.title,
          'model', project.name || ' ' || model.version,
          'pool', recommend._item_names(impression.pool),
          'identity', subject.names[array_position(subject.identity_ids, impression.identity_id)]
        )
        order by impression.listed_at, impression.rank, impression.serving_key
      )
      from recommend.impression
      left join track.item using (item_id)
      left join ml.model using (model_id)
      left join ml.project using (project_id)
      where impression.person_id = subject.person_id
    )
  );
  return next privacy.exported_rows(
    'recommend.learned',
    (
      select jsonb_agg(
        jsonb_build_object(
          'model', project.name || ' ' || model.version,
          'items', recommend._item_names(learned.item_ids),
          'strengths', to_jsonb(learned.strengths),
          'is_stale', learned.is_stale
        )
        order by learned.model_id
      )
      from recommend.learned
      join ml.model using (model_id)
      join ml.project using (project_id)
      where learned.person_id = subject.person_id
    )
  );
  return next privacy.exported_rows(
    'recommend.evaluation_person',
    (
      select jsonb_agg(
        to_jsonb(tested) - '{person_id,items,left_out,relevant,candidates,lists}'::text[]
        || jsonb_build_object(
          'items', recommend._evaluated_names(tested.evaluation_id, tested.items),
          'left_out', recommend._evaluated_names(tested.evaluation_id, tested.left_out),
          'relevant', recommend._evaluated_names(tested.evaluation_id, tested.relevant),
          'candidates', recommend._evaluated_names(tested.evaluation_id, tested.candidates),
          'lists', recommend._evaluated_names(tested.evaluation_id, tested.lists)
        )
        order by tested.evaluation_id
      )
      from recommend.evaluation_person as tested
      where tested.person_id = subject.person_id
    )
  );
  return next privacy.exported_rows(
    'recommend.rule_log',
    (
      select jsonb_agg(
        jsonb_build_object(
          'logged_at', entry.logged_at, 'name', entry.name, 'settings', entry.settings, 'actor', entry.actor
        )
        order by entry.logged_at, entry.log_id
      )
      from recommend.rule_log as entry
      where entry.actor = any (privacy.user_names(subject))
    )
  );
  -- Models from outside can be of people, whose names are then their keys.
  return next privacy.exported_rows(
    'ml.score',
    (
      select jsonb_agg(
        jsonb_build_object(
          'model', project.name || ' ' || model.version, 'keys', to_jsonb(score.keys), 'score', score.score
        )
        order by score.model_id, score.keys
      )
      from ml.score
      join ml.model using (model_id)
      join ml.project using (project_id)
      where score.keys && privacy.user_names(subject)
    )
  );
  return next privacy.exported_rows(
    'ml.embedding',
    (
      select jsonb_agg(
        jsonb_build_object(
          'model', project.name || ' ' || model.version, 'key', embedding.key, 'embedding', embedding.embedding::text
        )
        order by embedding.model_id, embedding.side, embedding.key
      )
      from ml.embedding
      join ml.model using (model_id)
      join ml.project using (project_id)
      where embedding.key = any (privacy.user_names(subject))
    )
  );
end;
$$;

comment on function recommend._export_lists(privacy.subject) is $$
Returns what was recommended to a person, and what models store about her, for `recommend.export`.
$$;

create or replace function recommend._item_names(item_ids bigint[])
returns jsonb
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return (
    select jsonb_agg(item.external_id order by listed.position)
    from unnest(item_ids) with ordinality as listed (item_id, position)
    left join track.item using (item_id)
  );
end;
$$;

comment on function recommend._item_names(bigint[]) is $$
Returns the external ids of items, in their order; null for null.
$$;

create or replace function recommend._evaluated_names(evaluation_id bigint, item_numbers int[])
returns jsonb
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return (
    select jsonb_agg(item.external_id order by listed.position)
    from unnest(item_numbers) with ordinality as listed (item_no, position)
    left join recommend.evaluation_item as evaluated
      on evaluated.evaluation_id = _evaluated_names.evaluation_id
      and evaluated.item_no = listed.item_no
    left join track.item on item.item_id = evaluated.item_id
  );
end;
$$;

comment on function recommend._evaluated_names(bigint, int[]) is $$
Returns the external ids of the items with the given numbers in an evaluation, in their order; null for null.
$$;
--! EndIncluded recommend/access/_export_lists.sql

--! Included recommend/access/export.sql
create or replace function recommend.export(subject privacy.subject)
returns setof privacy.exported
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return query select * from recommend._export_interactions(subject);
  return query select * from recommend._export_lists(subject);
end;
$$;

comment on function recommend.export(privacy.subject) is $$
@behavior -*
Returns what a person did with items, what was recommended to her, and what models store about her by name.
For `privacy.export_person`.
$$;
--! EndIncluded recommend/access/export.sql

-- from recommend/policies.sql
drop policy if exists admins_insert on recommend.event_weight;
create policy admins_insert on recommend.event_weight for insert to insights_admin with check (true);
drop policy if exists admins_update on recommend.event_weight;
create policy admins_update on recommend.event_weight for update to insights_admin using (true);
drop policy if exists admins_delete on recommend.event_weight;
create policy admins_delete on recommend.event_weight for delete to insights_admin using (true);
grant update (serving_period, attribution_period, fewest_test_people, most_learned_items) on recommend.setting
to insights_admin;

-- from recommend/data_map.sql
insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, erasure, description, basis)
values
  ('recommend', 'interaction', 'person_id', 'person', 'personalization', 'deleted', 'Person that used the item.', null),
  (
    'recommend', 'interaction', 'identity_id', 'identity', 'personalization', 'deleted',
    'Identity that used the item first.', null
  ),
  (
    'recommend', 'dismissed_topic', 'person_id', 'person', 'personalization', 'deleted',
    'Person who dismissed the topic.', null
  ),
  (
    'recommend', 'dismissed_topic', 'identity_id', 'identity', 'personalization', 'deleted',
    'Identity that named it first.', null
  ),
  (
    'recommend', 'dismissed_topic', 'topic', 'behaviour', 'personalization', 'deleted',
    'Topic, as the event of the person names it.', null
  ),
  ('recommend', 'taken', 'person_id', 'person', 'personalization', 'deleted', 'Person that took the item.', null),
  (
    'recommend', 'taken', 'identity_id', 'identity', 'personalization', 'deleted',
    'Identity that used the item first.', null
  ),
  (
    'recommend', 'impression', 'person_id', 'person', 'personalization', 'deleted',
    'Person to whom the item was recommended.', null
  ),
  (
    'recommend', 'impression', 'identity_id', 'identity', 'personalization', 'deleted',
    'Identity for which the list was made.', null
  ),
  (
    'recommend', 'impression', 'serving_key', 'behaviour', 'personalization', 'deleted',
    'Signature of the list, which the client sends back.', null
  ),
  (
    'recommend', 'impression', 'basis', 'behaviour', 'personalization', 'deleted',
    'Reason for the recommendation.', null
  ),
  (
    'recommend', 'impression', 'pool', 'behaviour', 'personalization', 'deleted',
    'Items from which the recommended one was drawn.', null
  ),
  (
    'recommend', 'evaluation_person', 'person_id', 'person', 'personalization', 'deleted',
    'Person that an evaluation of recommenders is running on.', null
  ),
  (
    'recommend', 'evaluation_person', 'items', 'behaviour', 'personalization', 'deleted',
    'Items of the person before the split.', null
  ),
  (
    'recommend', 'evaluation_person', 'strengths', 'behaviour', 'personalization', 'deleted',
    'Strengths of these items.', null
  ),
  (
    'recommend', 'evaluation_person', 'left_out', 'behaviour', 'personalization', 'deleted',
    'Items that are not recommended to the person.', null
  ),
  (
    'recommend', 'evaluation_person', 'relevant', 'behaviour', 'personalization', 'deleted',
    'Items that the person took afterwards.', null
  ),
  (
    'recommend', 'evaluation_person', 'candidates', 'derived', 'personalization', 'deleted',
    'Items that are ranked for the person.', null
  ),
  (
    'recommend', 'evaluation_person', 'segments', 'derived', 'personalization', 'deleted',
    'Sets that contain the person.', null
  ),
  (
    'recommend', 'evaluation_person', 'gains', 'derived', 'personalization', 'deleted',
    'Metrics of the lists of the person.', null
  ),
  (
    'recommend', 'evaluation_person', 'lists', 'derived', 'personalization', 'deleted',
    'Lists of the person by the evaluated models.', null
  ),
  (
    'recommend', 'evaluation_item', 'people', 'derived', 'personalization', 'deleted',
    'People of a sample who used the item, one bit each, while an evaluation is running.', null
  ),
  (
    'recommend', 'evaluation_weight', 'weights', 'derived', 'personalization', 'deleted',
    'What an evaluated model learned, while the evaluation is running.', null
  ),
  (
    'recommend', 'neighbours', 'neighbour_ids', 'derived', 'personalization', 'unlearned',
    'Items that go with an item, learned from the items of people.', null
  ),
  ('recommend', 'neighbours', 'weights', 'derived', 'personalization', 'unlearned', 'Weights of these items.', null),
  (
    'recommend', 'item_vector', 'content', 'behaviour', 'personalization', 'recomputed',
    'Vector of the text of an item.', null
  ),
  (
    'recommend', 'best_parameters', 'parameters', 'derived', 'personalization', 'kept',
    'Parameters that a search found best.',
    'As ml.model.parameters.'
  ),
  ('recommend', 'rule_log', 'actor', 'identity', 'service', 'cleared', 'Administrator who changed the rule.', null),
  ('recommend', 'learned', 'person_id', 'person', 'personalization', 'deleted', 'Person of a learned row.', null),
  ('recommend', 'learned', 'item_ids', 'derived', 'personalization', 'deleted', 'Items of the person.', null),
  (
    'recommend', 'learned', 'strengths', 'derived', 'personalization', 'deleted',
    'Strength of each of these items.', null
  ),
  (
    'recommend', 'learned_item', 'target_ids', 'derived', 'personalization', 'unlearned',
    'Items that were used with an item.', null
  ),
  (
    'recommend', 'learned_item', 'totals', 'derived', 'personalization', 'unlearned',
    'Sums over the people who used both.', null
  ),
  (
    'recommend', 'learned_item', 'inverse', 'derived', 'personalization', 'unlearned',
    'Row of the inverse of the sums of all people.', null
  )
on conflict (schema_name, table_name, column_name) do update
set
  holds = excluded.holds,
  purpose = excluded.purpose,
  description = excluded.description,
  erasure = excluded.erasure,
  basis = excluded.basis;
insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, erasure, description)
select entry.schema_name, entry.table_name, column_name, 'none', 'service', 'kept', entry.reason
from (
  values
    (
      'recommend', 'setting', '{lambdas,kept_kinds,topic_attribute,explored_slots}',
      'Settings of the installation.'
    ),
    ('recommend', 'event_weight', '{event,value_property}', 'Settings of an event type, by administrators.'),
    ('recommend', 'secret', '{inner_key,outer_key}', 'Random keys of signatures.'),
    (
      'recommend', 'rule', '{name,kind,attribute,attribute_value,language,person_set}',
      'Rules for lists, by administrators: conditions on items, and sets of people by name.'
    ),
    ('recommend', 'rule_item', '{name}', 'Name of a rule.'),
    ('recommend', 'rule_log', '{log_id}', 'Random keys.'),
    ('recommend', 'rule_log', '{name,settings}', 'Rules for lists, by administrators.'),
    ('recommend', 'model_part', '{algorithm}', 'Name of a method.'),
    ('recommend', 'ranked_list', '{kind,list}', 'Kinds of items, and names of lists.'),
    ('recommend', 'best_parameters', '{kind,algorithm}', 'Kinds of items, and names of methods.'),
    ('recommend', 'evaluation', '{kind,k,segments}', 'What was asked of an evaluation.'),
    ('recommend', 'evaluation_model', '{model,parts}', 'Models of an evaluation, by name and parameters.'),
    ('recommend', 'evaluation_result', '{model,segment,metric}', 'Names of models, sets and metrics.'),
    ('recommend', 'evaluation_comparison', '{model,other_model,metric}', 'Names of models and metrics.')
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
values (
  'recommend', 10, 'recommend.export',
  'Interactions, impressions, evaluations in progress, and what models have learned.'
)
on conflict (room) do update set export_function = excluded.export_function;

--! Included monitor/functions/erase.sql
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
    or monitor._names_person(run.detail::text, v_names);
  get diagnostics v_rows = row_count;
  return next row('monitor.run', v_rows, 'cleared')::privacy.erased;

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
    $statement$
    using v_names;
    get diagnostics v_rows = row_count;
    return next row('insights_queue.jobs', v_rows, 'cleared')::privacy.erased;
  end if;
end;
$$;

comment on function monitor.erase(privacy.subject) is $$
@behavior -*
Replaces the error messages of task runs and queued jobs that contain a name of the person, and deletes jobs about her.
Called by `privacy.erase_person`.
$$;
--! EndIncluded monitor/functions/erase.sql

-- from monitor/data_map.sql
insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, erasure, description, basis)
values
  (
    'monitor', 'run', 'detail', 'behaviour', 'service', 'cleared',
    'Results of a run. It can quote the error of the refresh of a person.', null
  ),
  ('monitor', 'run', 'error', 'behaviour', 'service', 'cleared', 'Error of a run, which can quote a value.', null),
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
insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, erasure, description)
select entry.schema_name, entry.table_name, column_name, 'none', 'service', 'kept', entry.reason
from (
  values
    ('monitor', 'run', '{task}', 'Names of functions, tables or tasks of the installation.'),
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

create schema privacy;

comment on schema privacy is $$
Consent, purposes of processing, and the data map: the tables and columns that hold personal data.
$$;

grant usage on schema privacy
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create table privacy.purpose (
  purpose text primary key check (purpose ~ '^[a-z][a-z_]{0,62}$'),
  basis text not null
    check (basis in (
      'consent', 'contract', 'legal_obligation', 'vital_interests', 'public_task', 'legitimate_interests'
    )),
  without_basis text not null default 'refuse' check (without_basis in ('refuse', 'anonymize')),
  opted_out_by_gpc boolean not null default false,
  description text not null,
  opted_out_by_dnt boolean not null default false,
  minimum_age smallint check (minimum_age between 0 and 30),
  opt_in_age smallint check (opt_in_age between 0 and 30),
  shares_data boolean not null default false
);

comment on table privacy.purpose is $$
Purposes for which personal data is processed, with the lawful basis of each (GDPR article 6).
With the basis `consent`, data is processed only after the person grants it. With any other basis, it is processed
until the person opts out (GDPR article 21, CCPA).
$$;
comment on column privacy.purpose.purpose is $$Name of the purpose, such as `analytics`.$$;
comment on column privacy.purpose.basis is $$
Lawful basis: `consent`, `contract`, `legal_obligation`, `vital_interests`, `public_task` or `legitimate_interests`.
$$;
comment on column privacy.purpose.without_basis is $$
Treatment of an event that has no lawful basis.
`refuse`: the event is rejected with an error. `anonymize`: it is stored without a person, an identity and properties.
$$;
comment on column privacy.purpose.opted_out_by_gpc is $$
Whether a Global Privacy Control signal counts as an opt-out, as CCPA requires for sale and sharing.
$$;
comment on column privacy.purpose.description is $$Description of the purpose, as shown to the person.$$;
comment on column privacy.purpose.opted_out_by_dnt is $$
Whether a Do Not Track signal counts as an opt-out.
$$;
comment on column privacy.purpose.minimum_age is $$
Age in years below which the purpose needs the consent of a guardian, whatever its basis; 0: at no age.
Null: `privacy.setting.age_of_consent` for the basis `consent`, none for the others.
$$;
comment on column privacy.purpose.opt_in_age is $$
Age in years below which a purpose needs a grant, whatever its basis (CCPA section 1798.120(c)); null: at no age.
From `minimum_age` on, the grant of the person herself is enough.
$$;
comment on column privacy.purpose.shares_data is $$
Whether data leaves the organization for the purpose: see `privacy.may_share`.
$$;

insert into privacy.purpose (purpose, basis, without_basis, opted_out_by_gpc, opted_out_by_dnt, description)
values
  ('service', 'contract', 'refuse', false, false, 'Running the learning platform that the person signed up for.'),
  (
    'analytics', 'legitimate_interests', 'anonymize', false, true,
    'Understanding how courses and features are used, to improve them.'
  ),
  ('personalization', 'legitimate_interests', 'anonymize', false, true, 'Recommending courses that suit the person.'),
  ('advertising', 'consent', 'refuse', true, true, 'Measuring and targeting advertising.');

insert into privacy.purpose (
  purpose, basis, without_basis, opted_out_by_gpc, description, minimum_age, opt_in_age, shares_data
)
values
  (
    'sale', 'legitimate_interests', 'anonymize', true,
    'Giving data to others for a consideration (CCPA section 1798.140(ad)).', 13, 16, true
  ),
  (
    'sharing', 'legitimate_interests', 'anonymize', true,
    'Giving data to others for advertising across contexts (CCPA section 1798.140(ah)).', 13, 16, true
  ),
  (
    'sensitive', 'legitimate_interests', 'anonymize', false,
    'Using sensitive data for more than the service needs (CCPA section 1798.121).', null, null, false
  );

create table privacy.consent (
  person_id bigint not null,
  identity_id bigint not null,
  consent_id uuid not null default gen_random_uuid(),
  purpose text not null references privacy.purpose,
  granted boolean not null,
  decided_at timestamptz not null default now(),
  recorded_at timestamptz not null default clock_timestamp(),
  source text not null default 'api' check (source in ('api', 'event', 'gpc', 'import', 'dnt')),
  document_version text,
  evidence jsonb,
  basis text,
  subject_name text,
  valid_until timestamptz,
  decided_by text not null default 'person' check (decided_by in ('person', 'guardian')),
  salt bytea,
  ledger_position bigint,
  primary key (person_id, consent_id)
);

comment on table privacy.consent is $$
@foreignKey (purpose) references privacy.purpose (purpose)
Decisions of people about purposes, append-only; the latest decision about a purpose applies.
$$;
comment on column privacy.consent.person_id is $$Person that the decision applies to.$$;
comment on column privacy.consent.identity_id is $$
Identity that made the decision.
It never changes, so that a merge of people can be undone. It is the key of the person when no identity is given.
$$;
comment on column privacy.consent.consent_id is $$Key of the decision.$$;
comment on column privacy.consent.purpose is $$Purpose that the decision is about.$$;
comment on column privacy.consent.granted is $$True: granted. False: refused, withdrawn or opted out.$$;
comment on column privacy.consent.decided_at is $$Time of the decision.$$;
comment on column privacy.consent.recorded_at is $$
Time at which the decision was stored. Orders decisions that have the same `decided_at`.
$$;
comment on column privacy.consent.source is $$
Origin of the decision.
`api`, `event` (a tracking message), `gpc` (Global Privacy Control), `dnt` (Do Not Track) or `import`.
$$;
comment on column privacy.consent.document_version is $$
Version of the text that was shown to the person; null when unknown.
$$;
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

create index consent_latest on privacy.consent (person_id, purpose, decided_at desc, recorded_at desc);
create index consent_purpose on privacy.consent (purpose);
create index consent_unsealed on privacy.consent (consent_id) where ledger_position is null;
create index consent_expiry on privacy.consent (valid_until) where valid_until is not null;

create table privacy.listener (
  function_name text primary key check (function_name ~ '^[a-z][a-z_]*\.[a-z][a-z_]*$'),
  description text not null
);

comment on table privacy.listener is $$
@behavior -*
Functions that are called when decisions are recorded or moved, or when a default changes.
They are called in the same transaction. Every room registers its own. Each takes `people bigint[]`: the people whose
decisions changed; null: all people. `insights doctor` checks that the functions exist.
$$;
comment on column privacy.listener.function_name is $$Name of the function, with its schema.$$;
comment on column privacy.listener.description is $$Purpose of the function.$$;

create table privacy.data_map (
  schema_name text not null,
  table_name text not null,
  column_name text not null,
  holds text not null check (holds in ('person', 'identity', 'traits', 'behaviour', 'decision', 'derived', 'none')),
  purpose text not null references privacy.purpose,
  description text not null,
  erasure text not null default 'deleted'
    check (erasure in ('deleted', 'recomputed', 'cleared', 'unlearned', 'marked', 'kept')),
  basis text,
  primary key (schema_name, table_name, column_name),
  check (holds <> 'none' or erasure = 'kept'),
  check ((holds <> 'none' and erasure = 'kept') = (basis is not null))
);

comment on table privacy.data_map is $$
Columns that hold personal data or refer to a person, one row per column (GDPR article 30).
Every room registers its own columns in its `data_map.sql`. So that none is missing, every column of free content
(text, JSON, arrays, bits, vectors, bytes, UUIDs) has a row; most of them hold `none`.
$$;
comment on column privacy.data_map.schema_name is $$Schema of the table.$$;
comment on column privacy.data_map.table_name is $$Name of the table.$$;
comment on column privacy.data_map.column_name is $$Name of the column.$$;
comment on column privacy.data_map.holds is $$
Kind of data in the column.
`person` (a `person_id`), `identity` (an identifier of the application), `traits`, `behaviour`, `decision`, `derived`
(computed from behaviour), or `none`: no data of a person.
$$;
comment on column privacy.data_map.purpose is $$Purpose for which the data is stored.$$;
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

create index data_map_purpose on privacy.data_map (purpose);

alter table privacy.purpose enable row level security;
alter table privacy.consent enable row level security;
alter table privacy.data_map enable row level security;
alter table privacy.listener enable row level security;

/* --- Handlers: what each room does when a person's data is exported or erased --- */

create type privacy.subject as (
  person_id bigint,
  identity_ids bigint[],
  kinds text[],
  names text[]
);

comment on type privacy.subject is $$
One person with all her identities, for the functions in `privacy.handler`.
`kinds` and `names` are parallel to `identity_ids`: `user` or `anonymous`, and the name that the application sent.
$$;
comment on column privacy.subject.person_id is $$Key of the person.$$;
comment on column privacy.subject.identity_ids is $$Keys of all her identities.$$;
comment on column privacy.subject.kinds is $$Kind of each identity: `user`, `anonymous` or `unverified`.$$;
comment on column privacy.subject.names is $$Name of each identity, as the application sent it.$$;

create type privacy.erased as (
  table_name text,
  row_count bigint,
  method text
);

comment on type privacy.erased is $$
Rows of one table that an erasure changed.
`method`: `deleted`, `recomputed` (from the data of the others), `cleared` (a value was replaced), `unlearned` (a model
was changed exactly) or `marked` (a model is not used until it is trained again).
$$;
comment on column privacy.erased.table_name is $$Name of the table, with its schema.$$;
comment on column privacy.erased.row_count is $$Number of rows.$$;
comment on column privacy.erased.method is $$`deleted`, `recomputed`, `cleared`, `unlearned` or `marked`.$$;

create type privacy.exported as (
  table_name text,
  description text,
  row_count bigint,
  contents jsonb
);

comment on type privacy.exported is $$
Rows of one table in the export of a person: a list of objects, with names in place of surrogate keys.
$$;
comment on column privacy.exported.table_name is $$Name of the table, with its schema.$$;
comment on column privacy.exported.description is $$Meaning of the rows, for the person.$$;
comment on column privacy.exported.row_count is $$Number of rows.$$;
comment on column privacy.exported.contents is $$List of objects, one per row.$$;

create table privacy.handler (
  room text primary key check (room ~ '^[a-z][a-z_]*$'),
  position smallint not null unique,
  erase_function text check (erase_function ~ '^[a-z][a-z_]*\.[a-z_]+$'),
  export_function text check (export_function ~ '^[a-z][a-z_]*\.[a-z_]+$'),
  description text not null,
  rectify_function text check (rectify_function ~ '^[a-z][a-z_]*\.[a-z_]+$')
);

comment on table privacy.handler is $$
@behavior -*
Functions of the rooms that export, erase and correct the data of a person, called in the order of `position`.
Derived data comes first, the identities last. All take a `privacy.subject`; an erase function returns
`setof privacy.erased`, an export function `setof privacy.exported`. A rectify function also takes `changes jsonb`, and
returns `setof privacy.erased`. `insights doctor` checks that they exist.
$$;
comment on column privacy.handler.room is $$Name of the room.$$;
comment on column privacy.handler.position is $$Place in the order of the calls.$$;
comment on column privacy.handler.erase_function is $$Name of the erase function, with its schema; null when none.$$;
comment on column privacy.handler.export_function is $$Name of the export function, with its schema; null when none.$$;
comment on column privacy.handler.description is $$Data that the functions cover.$$;
comment on column privacy.handler.rectify_function is $$
Name of the rectify function, with its schema; null when there is none.
$$;

alter table privacy.handler enable row level security;

/* --- Consent: settings, texts, ages --- */

create table privacy.setting (
  only_row boolean primary key default true check (only_row),
  age_of_consent smallint not null default 16 check (age_of_consent between 0 and 30),
  subject_function text check (subject_function ~ '^[a-z][a-z_]*\.[a-z_]+$'),
  names_function text check (names_function ~ '^[a-z][a-z_]*\.[a-z_]+$'),
  decisions_at timestamptz not null default now(),
  lock_function text check (lock_function ~ '^[a-z][a-z_]*\.[a-z_]+$'),
  unshared_function text check (unshared_function ~ '^[a-z][a-z_]*\.[a-z_]+$'),
  hold_function text check (hold_function ~ '^[a-z][a-z_]*\.[a-z_]+$'),
  returned_function text check (returned_function ~ '^[a-z][a-z_]*\.[a-z_]+$'),
  needs_read_reason boolean not null default false,
  held_names_function text check (held_names_function ~ '^[a-z][a-z_]*\.[a-z_]+$')
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
comment on column privacy.setting.hold_function is $$
Function that does the same as `subject_function`, and holds the person.
Until the transaction ends, no other one merges, splits or erases her.
$$;
comment on column privacy.setting.returned_function is $$
Name of the function that returns the people whose names are suppressed although they are stored.
With its schema; called by `privacy.replay_erasures`.
$$;
comment on column privacy.setting.needs_read_reason is $$
Whether the record of a person can be read only with a reason (`insights.read_reason`): see `privacy.disclosure`.
$$;
comment on column privacy.setting.held_names_function is $$
Name of the function that returns the names under which people are known, and holds them.
With its schema. It takes `people bigint[]` and returns `setof privacy.identity_name`; until the transaction ends, no
other one deletes them.
$$;

insert into privacy.setting default values;

create type privacy.identity_name as (
  identity_id bigint,
  person_id bigint,
  name text
);

comment on type privacy.identity_name is $$
An identity with its person and its name, as the application sent it.
$$;
comment on column privacy.identity_name.identity_id is $$Key of the identity.$$;
comment on column privacy.identity_name.person_id is $$Key of the person that it belongs to.$$;
comment on column privacy.identity_name.name is $$Name of the identity, as the application sent it.$$;

create table privacy.consent_text (
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

create table privacy.person_age (
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

create index person_age_birth_date on privacy.person_age (birth_date);

alter table privacy.setting enable row level security;
alter table privacy.consent_text enable row level security;
alter table privacy.person_age enable row level security;

/* --- Ledger: a chain of hashes over records that must not change --- */

create table privacy.sealed_table (
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

create table privacy.ledger (
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

create table privacy.removal (
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

create index consent_text_unsealed on privacy.consent_text (text_id) where ledger_position is null;
create index removal_unsealed on privacy.removal (removal_id) where ledger_position is null;

create type privacy.ledger_head as (
  position bigint,
  hash text,
  sealed_at timestamptz
);

comment on type privacy.ledger_head is $$
Latest entry of the ledger: its position, its hash (hexadecimal) and its time.
$$;
comment on column privacy.ledger_head.position is $$Position of the entry.$$;
comment on column privacy.ledger_head.hash is $$Hash of the entry, hexadecimal.$$;
comment on column privacy.ledger_head.sealed_at is $$Time of the entry.$$;

create type privacy.ledger_problem as (
  problem text,
  kind text,
  position bigint,
  record_id uuid,
  description text
);

comment on type privacy.ledger_problem is $$
A difference between the ledger and the records: see `privacy.verify_ledger`.
$$;
comment on column privacy.ledger_problem.problem is $$Kind of the difference, such as `changed` or `missing`.$$;
comment on column privacy.ledger_problem.kind is $$Kind of the record; null for a difference in the ledger itself.$$;
comment on column privacy.ledger_problem.position is $$Position in the ledger; null when it is unknown.$$;
comment on column privacy.ledger_problem.record_id is $$Key of the record; null when there is none.$$;
comment on column privacy.ledger_problem.description is $$Description of the difference.$$;

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
  );

alter table privacy.sealed_table enable row level security;
alter table privacy.ledger enable row level security;
alter table privacy.removal enable row level security;

/* --- Erasure: receipts --- */

create table privacy.erasure (
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

create index erasure_open on privacy.erasure (erased_at) where completed_at is null;
create index erasure_unsealed on privacy.erasure (erasure_id) where ledger_position is null;

insert into privacy.sealed_table (kind, table_name, key_column, recorded_column, contents, description)
values (
  'erasure', 'privacy.erasure', 'erasure_id', 'erased_at',
  array['erasure_id', 'requested_at', 'erased_at', 'subject_hash', 'reason', 'counts'],
  'Receipts of erasures.'
);

create type privacy.erasure_receipt as (
  erasure_id uuid,
  erased_at timestamptz,
  subject_hash text,
  salt text,
  counts jsonb
);

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

create type privacy.erased_requests as (
  erased int,
  failed int,
  error text
);

comment on type privacy.erased_requests is $$
@behavior -*
Result of a step of the erasures that people requested.
$$;
comment on column privacy.erased_requests.erased is $$1 when a person was erased, 0 when no request was left.$$;
comment on column privacy.erased_requests.failed is $$Number of requests before it that failed.$$;
comment on column privacy.erased_requests.error is $$Error of one of them, at most 100 characters; null without.$$;

insert into privacy.handler (room, position, erase_function, description)
values ('privacy', 60, 'privacy.erase', 'Decisions, and the log of exports.');

alter table privacy.erasure enable row level security;

/* --- Access: the log of exports --- */

create table privacy.export_log (
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

create index export_log_identity on privacy.export_log (identity_id);

alter table privacy.export_log enable row level security;

/* --- Rights: requests of people, and names of erased people --- */

create table privacy.secret (
  purpose text primary key check (purpose ~ '^[a-z][a-z_]{0,62}$'),
  secret bytea not null default uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())
);

comment on table privacy.secret is $$
@behavior -*
Secret keys of the database, such as the one under which suppressed names are hashed. No role may read them.
$$;
comment on column privacy.secret.purpose is $$Name of the key.$$;
comment on column privacy.secret.secret is $$32 random bytes.$$;

insert into privacy.secret (purpose) values ('suppression_inner'), ('suppression_outer');

create table privacy.suppression (
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

create type privacy.suppressed_name as (
  kind text,
  name text,
  since timestamptz,
  lifted_at timestamptz
);

comment on type privacy.suppressed_name is $$
@behavior -*
A name that is suppressed: see `privacy.suppression`.
$$;
comment on column privacy.suppressed_name.kind is $$`user` or `anonymous`.$$;
comment on column privacy.suppressed_name.name is $$The name, as given to the function.$$;
comment on column privacy.suppressed_name.since is $$Time of the erasure.$$;
comment on column privacy.suppressed_name.lifted_at is $$Time of the new consent; null while there is none.$$;

create table privacy.regime (
  regime text primary key check (regime ~ '^[a-z][a-z_]{0,62}$'),
  answer_within interval not null check (answer_within > '0'),
  extension interval check (extension > '0'),
  description text not null,
  opt_out_days smallint check (opt_out_days between 1 and 100)
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
comment on column privacy.regime.opt_out_days is $$
Time for requests of the kinds `opt_out` and `limit_use`, in days from Monday to Friday, without an extension.
Null: `answer_within`. Public holidays count, so that the time is never longer than the law allows.
$$;

insert into privacy.regime (regime, answer_within, extension, description)
values
  ('gdpr', '1 month', '2 months', 'General Data Protection Regulation (EU, UK), article 12(3).'),
  ('ccpa', '45 days', '45 days', 'California Consumer Privacy Act, section 1798.130(a)(2).'),
  ('ferpa', '45 days', null, 'Family Educational Rights and Privacy Act, 34 CFR 99.10(b).');
update privacy.regime set opt_out_days = 15 where regime = 'ccpa';

create table privacy.request (
  request_id uuid primary key default gen_random_uuid(),
  kind text not null check (kind in (
    'access', 'portability', 'erasure', 'rectification', 'restriction', 'objection', 'opt_out', 'limit_use'
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
`access`, `portability`, `erasure`, `rectification`, `restriction`, `objection`, `opt_out` or `limit_use`.
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

create unique index request_open on privacy.request (identity_id, kind) where completed_at is null;
create index request_person on privacy.request (person_id) where completed_at is null;
create index request_regime on privacy.request (regime);
create index request_unsealed on privacy.request (request_id) where ledger_position is null;
create index request_answer_unsealed on privacy.request (request_id) where answer_position is null;

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
  );

create type privacy.opened_request as (
  request_id uuid,
  kind text,
  regime text,
  received_at timestamptz,
  due_at timestamptz,
  subject_hash text,
  subject_salt text
);

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

/* --- Rights: restriction --- */

create table privacy.restriction (
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

create index restriction_person on privacy.restriction (person_id);

alter table privacy.restriction enable row level security;

update privacy.handler set rectify_function = 'privacy.rectify_birthday' where room = 'privacy';

/* --- Disclosures: who read the record of a person --- */

create sequence privacy.read_id;

create table privacy.disclosure (
  disclosure_id uuid primary key default gen_random_uuid(),
  read_id bigint not null,
  identity_id bigint,
  subject_name text,
  read_at timestamptz not null default clock_timestamp(),
  read_by text not null,
  role text not null,
  function_name text not null,
  reason text check (length(reason) <= 200),
  salt bytea,
  ledger_position bigint
);

comment on table privacy.disclosure is $$
Reads of the records of people by others, append-only (FERPA, 34 CFR 99.32): one row per person and read.
Of a person who was merged, one for each of her names, so that each has the read after a split.
Each is written by the function that reads: see `privacy.record_disclosure`. Reads by workers are not in it.
$$;
comment on column privacy.disclosure.disclosure_id is $$Key of the disclosure.$$;
comment on column privacy.disclosure.read_id is $$
Number of the read, which the people whose records it returned have in common.
A read whose transaction was rolled back leaves a gap in these numbers.
$$;
comment on column privacy.disclosure.identity_id is $$
Identity of the person whose record was read.
The row follows it when people are merged or split. Null: a table of people was read, in a statement of an
administrator to the API.
$$;
comment on column privacy.disclosure.subject_name is $$
Name of this identity; null for a table.
$$;
comment on column privacy.disclosure.read_at is $$Time of the read.$$;
comment on column privacy.disclosure.read_by is $$
Person who read the record: the signed-in person, or else the login of the database.
$$;
comment on column privacy.disclosure.role is $$
Role of the reader, such as `instructor` or `admin`; the login, when no role was set.
$$;
comment on column privacy.disclosure.function_name is $$Function that returned the record, or table, with its schema.$$;
comment on column privacy.disclosure.reason is $$
Legitimate interest of the reader, from the setting `insights.read_reason`; null when none was given.
$$;
comment on column privacy.disclosure.salt is $$
@behavior -*
Random bytes in the commitment of `privacy.ledger`; null until the disclosure is sealed.
$$;
comment on column privacy.disclosure.ledger_position is $$
Entry of `privacy.ledger` that seals the disclosure; null until then.
$$;

create index disclosure_identity on privacy.disclosure (identity_id, read_at);
-- The latest ones, for the desk of a privacy officer.
create index disclosure_read on privacy.disclosure (read_at);
create index disclosure_unsealed on privacy.disclosure (disclosure_id) where ledger_position is null;

insert into privacy.sealed_table (kind, table_name, key_column, recorded_column, contents, description)
values (
  'disclosure', 'privacy.disclosure', 'disclosure_id', 'read_at',
  '{disclosure_id,read_id,subject_name,read_at,read_by,role,function_name,reason}',
  'Reads of the records of people.'
);

create type privacy.disclosed as (
  read_at timestamptz,
  read_by text,
  role text,
  function_name text,
  reason text,
  subject_name text
);

comment on type privacy.disclosed is $$
A read of the record of a person by another: see `privacy.disclosure`.
$$;
comment on column privacy.disclosed.read_at is $$Time of the read.$$;
comment on column privacy.disclosed.read_by is $$Person or login that read the record.$$;
comment on column privacy.disclosed.role is $$Role of the reader.$$;
comment on column privacy.disclosed.function_name is $$Function that returned the record, or table.$$;
comment on column privacy.disclosed.reason is $$Legitimate interest that was given; null without.$$;
comment on column privacy.disclosed.subject_name is $$
Name under which the person was read; null when a table of all people was read.
$$;

alter table privacy.disclosure enable row level security;

/* --- Pseudonyms --- */

insert into privacy.secret (purpose) values ('pseudonym_analysts');

/* --- Retention: how long data is kept --- */

create table privacy.retention_class (
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

create table privacy.retention (
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

create index retention_purpose on privacy.retention (purpose);
create index retention_class_of on privacy.retention (data_class);

create table privacy.retention_log (
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

create index retention_log_time on privacy.retention_log (logged_at);

create table privacy.retention_total (
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

create table privacy.retention_clock (
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

insert into privacy.retention_clock default values;

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
  ),
  (
    'disclosures', 64, 'privacy.disclosure', 'read_at', null,
    'stored.identity_id is null or not exists (
      select from privacy.restriction where restriction.identity_id = stored.identity_id
    )',
    '{ledger_position}', null,
    'Reads of the records of people. FERPA requires them as long as the records (34 CFR 99.32(a)(2)).'
  );

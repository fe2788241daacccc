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
  decisions_at timestamptz not null default now()
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

insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, description)
values
  ('privacy', 'consent', 'subject_name', 'identity', 'service', 'Name under which the person decided.'),
  ('privacy', 'person_age', 'person_id', 'person', 'service', 'Person that was born on the date.'),
  ('privacy', 'person_age', 'birth_date', 'traits', 'service', 'Date of birth, which decides who may consent.')
on conflict do nothing;

alter table privacy.setting enable row level security;
alter table privacy.secret enable row level security;
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

insert into privacy.handler (room, position, erase_function, export_function, description)
values ('privacy', 60, 'privacy._erase', 'privacy._export', 'Decisions about purposes and dates of birth.')
on conflict do nothing;
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

insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, description)
values
  ('recommend', 'learned', 'person_id', 'person', 'personalization', 'Person that a recommender learned from.'),
  ('recommend', 'learned', 'item_ids', 'derived', 'personalization', 'Items that it learned from her.'),
  ('recommend', 'learned', 'strengths', 'derived', 'personalization', 'Strength of each of these items.')
on conflict do nothing;

insert into track.distribution (schema_name, table_name, column_name, colocated_with, description)
values (
  'recommend', 'learned', 'person_id', 'track.event', 'What recommenders learned from the person.'
)
on conflict do nothing;

/* --- serving: the lists of a set of people are found by its name alone --- */

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

create schema privacy;

comment on schema privacy is $$
Consent, purposes and the data map: which table and column holds whose data.
$$;

grant usage on schema privacy to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create table privacy.purpose (
  purpose text primary key check (purpose ~ '^[a-z][a-z_]{0,62}$'),
  basis text not null
    check (basis in ('consent', 'contract', 'legal_obligation', 'vital_interests', 'public_task', 'legitimate_interests')),
  without_basis text not null default 'refuse' check (without_basis in ('refuse', 'anonymize')),
  opted_out_by_gpc boolean not null default false,
  description text not null
);

comment on table privacy.purpose is $$
What personal data is processed for, and on which ground of GDPR article 6.
Under the basis `consent` nothing is processed until a person grants it; under any other basis it is, until a person objects (article 21, CCPA opt-out).
$$;
comment on column privacy.purpose.purpose is $$Name of the purpose, such as `analytics`.$$;
comment on column privacy.purpose.basis is $$Lawful basis: `consent`, `contract`, `legal_obligation`, `vital_interests`, `public_task` or `legitimate_interests`.$$;
comment on column privacy.purpose.without_basis is $$What becomes of an event whose person has not agreed: `refuse` it with an error, or `anonymize`, that is, keep it without a person, an identity or properties.$$;
comment on column privacy.purpose.opted_out_by_gpc is $$Whether a Global Privacy Control signal counts as an objection, as CCPA asks for sale and sharing.$$;
comment on column privacy.purpose.description is $$What the person is told.$$;

insert into privacy.purpose (purpose, basis, without_basis, opted_out_by_gpc, description)
values
  ('service', 'contract', 'refuse', false, 'Running the learning platform that the person signed up for.'),
  ('analytics', 'legitimate_interests', 'anonymize', false, 'Understanding how courses and features are used, to improve them.'),
  ('personalization', 'legitimate_interests', 'anonymize', false, 'Recommending courses that suit the person.'),
  ('advertising', 'consent', 'refuse', true, 'Measuring and targeting advertising.');

create table privacy.consent (
  person_id bigint not null,
  identity_id bigint not null,
  consent_id uuid not null default gen_random_uuid(),
  purpose text not null references privacy.purpose,
  granted boolean not null,
  decided_at timestamptz not null default now(),
  recorded_at timestamptz not null default clock_timestamp(),
  source text not null default 'api' check (source in ('api', 'event', 'gpc', 'import')),
  document_version text,
  evidence jsonb,
  primary key (person_id, consent_id)
);

comment on table privacy.consent is $$
@foreignKey (purpose) references privacy.purpose (purpose)
Every decision of a person about a purpose, append-only; the latest one holds.
$$;
comment on column privacy.consent.person_id is $$Whose decision it is.$$;
comment on column privacy.consent.identity_id is $$The identity that decided, for ever, so that a merge of people can be undone; the key of the person where nobody says which.$$;
comment on column privacy.consent.consent_id is $$Key of the decision.$$;
comment on column privacy.consent.purpose is $$What was decided about.$$;
comment on column privacy.consent.granted is $$True: agreed. False: refused, withdrawn or objected.$$;
comment on column privacy.consent.decided_at is $$When the person decided.$$;
comment on column privacy.consent.recorded_at is $$When it was stored; decides between two decisions of the same time.$$;
comment on column privacy.consent.source is $$How it came: `api`, `event` (rode in a tracking message), `gpc` (Global Privacy Control) or `import`.$$;
comment on column privacy.consent.document_version is $$Version of the text that the person saw.$$;
comment on column privacy.consent.evidence is $$What proves the decision, such as the form and its wording.$$;

create index consent_latest on privacy.consent (person_id, purpose, decided_at desc, recorded_at desc);
create index consent_purpose on privacy.consent (purpose);

create table privacy.listener (
  function_name text primary key check (function_name ~ '^[a-z][a-z_]*\.[a-z][a-z_]*$'),
  description text not null
);

comment on table privacy.listener is $$
Functions that are called in the transaction in which decisions are recorded, moved or get another default. Every room registers its own.
Each takes `people bigint[]`: whose decisions changed, null for all people. `insights doctor` checks that they exist.
$$;
comment on column privacy.listener.function_name is $$Name of the function, with its schema.$$;
comment on column privacy.listener.description is $$What the function does.$$;

create table privacy.data_map (
  schema_name text not null,
  table_name text not null,
  column_name text not null,
  holds text not null check (holds in ('person', 'identity', 'traits', 'behaviour', 'decision', 'derived')),
  purpose text not null references privacy.purpose,
  description text not null,
  primary key (schema_name, table_name, column_name)
);

comment on table privacy.data_map is $$
Where personal data lies: one row for each column that holds, or points to, a person. Every room registers its own (GDPR article 30).
$$;
comment on column privacy.data_map.schema_name is $$Schema of the table.$$;
comment on column privacy.data_map.table_name is $$Name of the table.$$;
comment on column privacy.data_map.column_name is $$Name of the column.$$;
comment on column privacy.data_map.holds is $$`person` (a `person_id`), `identity` (an identifier of the application), `traits`, `behaviour`, `decision` or `derived` (computed from behaviour).$$;
comment on column privacy.data_map.purpose is $$What it is kept for.$$;
comment on column privacy.data_map.description is $$What the column says about the person.$$;

create index data_map_purpose on privacy.data_map (purpose);

insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, description)
values
  ('privacy', 'consent', 'person_id', 'person', 'service', 'Whose decision it is.'),
  ('privacy', 'consent', 'evidence', 'decision', 'service', 'What proves the decision.');

alter table privacy.purpose enable row level security;
alter table privacy.consent enable row level security;
alter table privacy.data_map enable row level security;
alter table privacy.listener enable row level security;

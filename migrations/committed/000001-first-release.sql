--! Previous: -
--! Hash: sha1:3fec8152bd95bb51adb54489ec0a1f82d2e84c80
--! Message: first release

--! Included install.sql
/* From empty to complete: structure, then everything that can be replayed. The parity test holds it against the migrations. */
--! Included structure.sql
/* What runs once, room by room: schemas, tables, indexes, types. */
--! Included prepare.sql
/*
 * What every migration begins with. Names of pgvector's types and operators are bound at creation, wherever the
 * extension lives, and nobody but the owner may call a function until its file grants it.
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
  perform set_config('search_path', format('%I, pg_temp', v_schema), true);
  -- "drop … if exists" need not say that nothing was there.
  perform set_config('client_min_messages', 'warning', true);
end;
$$;

alter default privileges revoke execute on functions from public;
--! EndIncluded prepare.sql
--! Included ml/tables.sql
create schema ml;

comment on schema ml is $$
Linear algebra on pgvector, regression, trees and clustering in MADlib's names, and the model registry. Knows no learner and no course.
$$;

grant usage on schema ml to insights_reader, insights_analyst, insights_admin, insights_worker;

create table ml.project (
  project_id int generated always as identity primary key,
  name text not null unique check (name ~ '^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$'),
  task text not null check (task in ('recommendation', 'regression', 'classification', 'survival', 'clustering', 'forecast')),
  metric text not null,
  higher_is_better boolean not null default true,
  created_at timestamptz not null default now(),
  description text
);

comment on table ml.project is $$
A question that models answer, such as `recommend.course`: its versions compete by one metric, one of them is deployed.
$$;
comment on column ml.project.project_id is $$Key of the project.$$;
comment on column ml.project.name is $$Name by which it is asked for, lower case, dots allowed.$$;
comment on column ml.project.task is $$Kind of question: `recommendation`, `regression`, `classification`, `survival`, `clustering` or `forecast`.$$;
comment on column ml.project.metric is $$Key in `ml.model.metrics` by which versions are compared.$$;
comment on column ml.project.higher_is_better is $$Whether a larger metric is a better model.$$;
comment on column ml.project.created_at is $$When the project was made.$$;
comment on column ml.project.description is $$What the project predicts.$$;

create table ml.model (
  model_id bigint generated always as identity primary key,
  project_id int not null references ml.project,
  version int not null check (version > 0),
  algorithm text not null,
  parameters jsonb not null default '{}',
  metrics jsonb not null default '{}',
  coefficients jsonb,
  seed bigint,
  data_watermark timestamptz,
  row_count bigint,
  trained_at timestamptz not null default clock_timestamp(),
  duration interval,
  unique (project_id, version)
);

comment on table ml.model is $$
A trained version of a project: what it was trained with, on which data, and how well it did.
A version is written by the transaction that trains it, so there is no half-trained one.
$$;
comment on column ml.model.model_id is $$Key of the version among all projects.$$;
comment on column ml.model.project_id is $$Project that it is a version of.$$;
comment on column ml.model.version is $$1, 2, 3, … within the project.$$;
comment on column ml.model.algorithm is $$Method, by the name of its function or paper, such as `ease`.$$;
comment on column ml.model.parameters is $$Hyperparameters of the training.$$;
comment on column ml.model.metrics is $$Measured quality, one key a metric.$$;
comment on column ml.model.coefficients is $$The model itself where it is small; large ones lie in tables of their own, keyed by `model_id`.$$;
comment on column ml.model.seed is $$Seed of every random choice: the same seed and data give the same model.$$;
comment on column ml.model.data_watermark is $$Time of the newest event that the training saw.$$;
comment on column ml.model.row_count is $$How many rows it was trained on.$$;
comment on column ml.model.trained_at is $$End of the training.$$;
comment on column ml.model.duration is $$Time that the training took.$$;

create table ml.deployment (
  deployment_id bigint generated always as identity primary key,
  project_id int not null references ml.project,
  model_id bigint not null references ml.model,
  strategy text not null check (strategy in ('first', 'better', 'newest', 'manual', 'rollback')),
  deployed_at timestamptz not null default clock_timestamp()
);

comment on table ml.deployment is $$
Which version answered since when; the latest row of a project is in force.
$$;
comment on column ml.deployment.deployment_id is $$Key, ascending with time.$$;
comment on column ml.deployment.project_id is $$Project.$$;
comment on column ml.deployment.model_id is $$Version that was put in force.$$;
comment on column ml.deployment.strategy is $$Why: `first` version, `better` metric, `newest` data, `manual`, or `rollback`.$$;
comment on column ml.deployment.deployed_at is $$Since when.$$;

create index deployment_project on ml.deployment (project_id, deployment_id desc);
create index deployment_model on ml.deployment (model_id);

alter table ml.project enable row level security;
alter table ml.model enable row level security;
alter table ml.deployment enable row level security;

create type ml.ease_row as (item_no int, item text, weights vector, inverse vector);

comment on type ml.ease_row is $$
An item of an EASE model: its place in all the vectors of the model, its name, its row of the weights B and its row of P = (XᵀX + λI)⁻¹.
$$;
comment on column ml.ease_row.item_no is $$Place of the item in all the vectors of the model, from 1.$$;
comment on column ml.ease_row.item is $$The item, as text.$$;
comment on column ml.ease_row.weights is $$Row of B: what interest in the item says about each item.$$;
comment on column ml.ease_row.inverse is $$Row of P, which `ml.rank_one_update` keeps current.$$;

create table ml.tree_node (
  model_id bigint not null references ml.model on delete cascade,
  tree int not null check (tree > 0),
  node int not null check (node >= 0),
  parent int check (parent < node),
  feature text,
  threshold float8,
  categories text[],
  missing_left boolean,
  left_node int,
  right_node int,
  value float8,
  gain float8,
  cover float8 not null,
  primary key (model_id, tree, node),
  check ((parent is null) = (node = 0)),
  check ((feature is null) = (value is not null)),
  check (feature is null or (missing_left is not null and left_node is not null and right_node is not null and num_nonnulls(threshold, categories) = 1))
);

comment on table ml.tree_node is $$
@behavior -*
The trees of registered models, one row a node, as `ml.gbm_train` writes them.
$$;
comment on column ml.tree_node.model_id is $$Version that it belongs to.$$;
comment on column ml.tree_node.tree is $$1, 2, 3, … in the order of training.$$;
comment on column ml.tree_node.node is $$Number within the tree; 0 is the root.$$;
comment on column ml.tree_node.parent is $$Node above; null for the root.$$;
comment on column ml.tree_node.feature is $$Feature that decides; null for a leaf.$$;
comment on column ml.tree_node.threshold is $$Values below go left; infinity: every value that is not missing does.$$;
comment on column ml.tree_node.categories is $$Categories that go left.$$;
comment on column ml.tree_node.missing_left is $$Whether missing values go left.$$;
comment on column ml.tree_node.left_node is $$Node to the left.$$;
comment on column ml.tree_node.right_node is $$Node to the right.$$;
comment on column ml.tree_node.value is $$What a leaf adds to the score.$$;
comment on column ml.tree_node.gain is $$What the split improved in training.$$;
comment on column ml.tree_node.cover is $$Weight of the training rows that came by: for explanations.$$;

create table ml.embedding (
  model_id bigint not null references ml.model on delete cascade,
  side smallint not null check (side in (1, 2)),
  key text not null check (length(key) <= 512),
  embedding vector not null,
  primary key (model_id, side, key)
);

comment on table ml.embedding is $$
@behavior -*
Vectors of registered models that compare things by likeness. They are looked through as a whole, model by model.
$$;
comment on column ml.embedding.model_id is $$Version that it belongs to.$$;
comment on column ml.embedding.side is $$1 or 2: which of the two keys of the model it is of; models with one kind of thing have side 1 only.$$;
comment on column ml.embedding.key is $$Name of the thing.$$;
comment on column ml.embedding.embedding is $$Its vector; all of a model are of one length.$$;

create table ml.score (
  model_id bigint not null references ml.model on delete cascade,
  keys text[] not null,
  score float8 not null,
  primary key (model_id, keys)
);

comment on table ml.score is $$
@behavior -*
Registered models that are tables of answers.
$$;
comment on column ml.score.model_id is $$Version that it belongs to.$$;
comment on column ml.score.keys is $$Values of the model's keys, in their order.$$;
comment on column ml.score.score is $$The answer.$$;

create table ml.input_profile (
  model_id bigint not null references ml.model on delete cascade,
  feature text not null,
  edges float8[],
  categories text[],
  shares float8[] not null,
  primary key (model_id, feature),
  check (num_nonnulls(edges, categories) = 1),
  check (cardinality(shares) = 2 + coalesce(cardinality(edges), cardinality(categories)))
);

comment on table ml.input_profile is $$
How each feature of a model was distributed in training, for the watch on drift.
$$;
comment on column ml.input_profile.model_id is $$Version.$$;
comment on column ml.input_profile.feature is $$Feature.$$;
comment on column ml.input_profile.edges is $$Edges of the bins of a number, at deciles of the training; null for a category.$$;
comment on column ml.input_profile.categories is $$The frequent categories; null for a number.$$;
comment on column ml.input_profile.shares is $$Share of the rows in each bin: missing ones, then one more than there are edges; or missing ones, each category, all others.$$;

create table ml.comparison (
  comparison_id bigint generated always as identity primary key,
  project_id int not null references ml.project,
  challenger_model_id bigint not null references ml.model on delete cascade,
  champion_model_id bigint references ml.model on delete cascade,
  metric text not null,
  challenger_value float8,
  champion_value float8,
  challenger_metrics jsonb not null,
  champion_metrics jsonb,
  row_count bigint not null,
  outcome text not null check (outcome in ('first', 'better', 'equal', 'worse', 'incomparable')),
  compared_at timestamptz not null default clock_timestamp()
);

comment on table ml.comparison is $$
Each new version against the one in force, both scored on the same rows that neither was trained on.
$$;
comment on column ml.comparison.comparison_id is $$Key, ascending with time.$$;
comment on column ml.comparison.project_id is $$Project.$$;
comment on column ml.comparison.challenger_model_id is $$The new version.$$;
comment on column ml.comparison.champion_model_id is $$The version that was in force; null when none was.$$;
comment on column ml.comparison.metric is $$Metric of the project, by which it is decided.$$;
comment on column ml.comparison.challenger_value is $$That metric of the new version.$$;
comment on column ml.comparison.champion_value is $$That metric of the version that was in force.$$;
comment on column ml.comparison.challenger_metrics is $$All metrics of the new version.$$;
comment on column ml.comparison.champion_metrics is $$All metrics of the version that was in force.$$;
comment on column ml.comparison.row_count is $$On how many rows.$$;
comment on column ml.comparison.outcome is $$`first`, `better`, `equal`, `worse`, or `incomparable` when the version in force needs features that are no longer there. Deployed unless equal or worse.$$;
comment on column ml.comparison.compared_at is $$When.$$;

create index comparison_project on ml.comparison (project_id, comparison_id desc);
create index comparison_challenger on ml.comparison (challenger_model_id);
create index comparison_champion on ml.comparison (champion_model_id);

create table ml.drift (
  drift_id bigint generated always as identity primary key,
  model_id bigint not null references ml.model on delete cascade,
  statistic text not null check (statistic in ('population_stability_index', 'calibration', 'metric')),
  feature text,
  value float8 not null,
  reference float8,
  verdict text not null check (verdict in ('stable', 'shifting', 'drifted')),
  row_count bigint not null,
  measured_at timestamptz not null default clock_timestamp(),
  check ((feature is not null) = (statistic = 'population_stability_index'))
);

comment on table ml.drift is $$
How far what a version meets has moved from what it was trained on: its inputs, its calibration, its metric.
$$;
comment on column ml.drift.drift_id is $$Key, ascending with time.$$;
comment on column ml.drift.model_id is $$Version.$$;
comment on column ml.drift.statistic is $$`population_stability_index` of an input, `calibration` (mean distance of predicted and observed share, or of mean prediction and mean value in standard deviations), or `metric` (of the project).$$;
comment on column ml.drift.feature is $$The input, for its stability index.$$;
comment on column ml.drift.value is $$The statistic.$$;
comment on column ml.drift.reference is $$What it was in training; null where that is 0 by definition.$$;
comment on column ml.drift.verdict is $$`stable`, `shifting` or `drifted`; for the index below 0.1, below 0.25, above.$$;
comment on column ml.drift.row_count is $$Rows that it was measured on.$$;
comment on column ml.drift.measured_at is $$When.$$;

create index drift_model on ml.drift (model_id, drift_id desc);

alter table ml.tree_node enable row level security;
alter table ml.embedding enable row level security;
alter table ml.score enable row level security;
alter table ml.input_profile enable row level security;
alter table ml.comparison enable row level security;
alter table ml.drift enable row level security;

create type ml.training as (
  project text,
  version int,
  algorithm text,
  deployed boolean,
  outcome text,
  metric text,
  value float8,
  champion_version int,
  champion_value float8,
  metrics jsonb,
  row_count bigint,
  holdout_row_count bigint,
  duration interval
);

comment on type ml.training is $$
What became of a training or a comparison: the version, its metrics on the held-out rows beside those of the version in force, and whether it was deployed.
$$;
comment on column ml.training.project is $$Project.$$;
comment on column ml.training.version is $$The new version.$$;
comment on column ml.training.algorithm is $$Its method.$$;
comment on column ml.training.deployed is $$Whether it is in force now.$$;
comment on column ml.training.outcome is $$`first`, `better`, `equal`, `worse` than the version in force, or `incomparable`.$$;
comment on column ml.training.metric is $$Metric of the project.$$;
comment on column ml.training.value is $$That metric of the version on the held-out rows.$$;
comment on column ml.training.champion_version is $$The version that was in force.$$;
comment on column ml.training.champion_value is $$The metric of that version on the same rows.$$;
comment on column ml.training.metrics is $$All metrics of the version.$$;
comment on column ml.training.row_count is $$Rows that it was trained on.$$;
comment on column ml.training.holdout_row_count is $$Rows that were held out.$$;
comment on column ml.training.duration is $$Elapsed time.$$;

create type ml.contribution as (feature text, feature_value text, contribution float8);

comment on type ml.contribution is $$
What a feature added to a raw score, compared with the mean of the training rows. The contributions of a prediction, `(base)` included, sum to its raw score.
$$;
comment on column ml.contribution.feature is $$Feature; `(base)` is the mean score of the training rows.$$;
comment on column ml.contribution.feature_value is $$Its value as text; null when missing.$$;
comment on column ml.contribution.contribution is $$In the unit of the raw score: log odds for a probability.$$;

create type ml.neighbour as (rank int, key text, similarity float8);

comment on type ml.neighbour is $$
A thing that is like another one in a model of embeddings.
$$;
comment on column ml.neighbour.rank is $$1 for the nearest.$$;
comment on column ml.neighbour.key is $$Name of the thing.$$;
comment on column ml.neighbour.similarity is $$Inner product or cosine, as the model says.$$;
--! EndIncluded ml/tables.sql
--! Included privacy/tables.sql
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
--! EndIncluded privacy/tables.sql
--! Included track/tables.sql
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
  consumer text primary key check (consumer ~ '^[a-z][a-z_.]*$'),
  description text not null
);

comment on table track.consumer is $$
Who derives something from events or page views, and is told of changes through `track.changed`.
$$;
comment on column track.consumer.consumer is $$Name, such as `analytics.person_item_day`.$$;
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
Whose sessions, page views or events changed, once a consumer.
A consumer deletes its rows and, in the same transaction but a later statement, recomputes what they name; what is
committed in between has rows of its own, so nothing is missed and a repetition does no harm.
$$;
comment on column track.changed.person_id is $$Whose.$$;
comment on column track.changed.changed_id is $$Key of the note.$$;
comment on column track.changed.consumer is $$Who has to recompute.$$;
comment on column track.changed.since is $$Earliest time of a change; `-infinity`: all of the person.$$;
comment on column track.changed.until is $$Latest time of a change; `infinity`: all of the person.$$;

create index changed_consumer on track.changed (consumer);

/* ----------------------------------------------------------------------------------------------------- types -- */

create type track.ingest_result as (accepted int, duplicates int, rejected int, errors jsonb);

comment on type track.ingest_result is $$
What became of a batch. `errors` is a list of `{index, messageId, code, message, hint}`, one for each rejected message; `index` counts from 0.
$$;
comment on column track.ingest_result.accepted is $$Messages that were stored now.$$;
comment on column track.ingest_result.duplicates is $$Messages that were stored before, or twice in the batch.$$;
comment on column track.ingest_result.rejected is $$Messages that were not stored because of an error.$$;
comment on column track.ingest_result.errors is $$One `{index, messageId, code, message, hint}` for each rejected message.$$;

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
  consent jsonb,
  error_code text,
  error_message text,
  error_hint text
);

comment on type track.parsed_message is $$
A message of a batch while `track.ingest` works on it.
$$;
comment on column track.parsed_message.position is $$Place in the batch, from 0.$$;
comment on column track.parsed_message.type is $$`track`, `page`, `screen`, `identify`, `alias` or `group`.$$;
comment on column track.parsed_message.message_id is $$The client's id of the message.$$;
comment on column track.parsed_message.message_hash is $$First 128 bits of its SHA-256.$$;
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
comment on column track.parsed_message.properties is $$What else it says.$$;
comment on column track.parsed_message.traits is $$What it says about the person.$$;
comment on column track.parsed_message.consent is $$Decisions that it reports.$$;
comment on column track.parsed_message.error_code is $$SQLSTATE of what is wrong with it; null when nothing is.$$;
comment on column track.parsed_message.error_message is $$What is wrong, with the value.$$;
comment on column track.parsed_message.error_hint is $$What would be right.$$;

create type track.refresh_result as (people int, sessions int, page_views int);

comment on type track.refresh_result is $$
What a call of `track.refresh_sessions` recomputed. `people` 0: nothing was left to do.
$$;
comment on column track.refresh_result.people is $$People who were looked at; 0 when nothing was left to do.$$;
comment on column track.refresh_result.sessions is $$Sessions that were computed.$$;
comment on column track.refresh_result.page_views is $$Page views that were computed.$$;

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
--! EndIncluded track/tables.sql
--! Included analytics/tables.sql
create schema analytics;

comment on schema analytics is $$
The analysis queries, over rollups that are kept exact as events come late, move to another person, or go.
$$;

grant usage, create on schema analytics to insights_reader;
grant usage on schema analytics to insights_analyst, insights_admin, insights_worker;

create table analytics.setting (
  only_row boolean primary key default true check (only_row),
  smallest_group int not null default 5 check (smallest_group > 0)
);

comment on table analytics.setting is $$
How the analysis functions answer: one row.
$$;
comment on column analytics.setting.only_row is $$Always true, so that there is one row.$$;
comment on column analytics.setting.smallest_group is $$Figures about fewer people than this are withheld from analysts (k-anonymity).$$;

insert into analytics.setting default values;

create table analytics.activity (
  person_id bigint not null,
  day date not null,
  event_type_id int not null references track.event_type,
  item_id bigint references track.item,
  event_count int not null,
  engaged interval not null,
  unique nulls not distinct (person_id, day, event_type_id, item_id)
);

comment on table analytics.activity is $$
@behavior -*
@foreignKey (event_type_id) references track.event_type (event_type_id)
@foreignKey (item_id) references track.item (item_id)
What each person did on each day (UTC), by event type and item: the rollup behind popularity and trends.
One row a person makes distinct people exact over any period,
and deletions and moves as exact as additions. Kept by `analytics.refresh_activity`.
$$;
comment on column analytics.activity.person_id is $$Who; 0 for events that were kept without a person.$$;
comment on column analytics.activity.day is $$Day, UTC.$$;
comment on column analytics.activity.event_type_id is $$What.$$;
comment on column analytics.activity.item_id is $$On what; null for nothing in particular.$$;
comment on column analytics.activity.event_count is $$How often.$$;
comment on column analytics.activity.engaged is $$Engaged time of the page views that these events opened.$$;

create index activity_day on analytics.activity (day, event_type_id);
create index activity_item on analytics.activity (item_id, day);
create index activity_event_type on analytics.activity (event_type_id, day);

insert into track.consumer (consumer, description) values ('analytics.activity', 'The rollup of activity by person and day.');

insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, description)
values ('analytics', 'activity', 'person_id', 'person', 'analytics', 'Who was active.');

insert into track.distribution (schema_name, table_name, column_name, colocated_with, description)
values ('analytics', 'activity', 'person_id', 'track.event', 'Derived from the events of the person.');

create type analytics.popular_item as (
  rank int,
  item text,
  title text,
  kind text,
  event_count bigint,
  person_count bigint,
  engaged interval,
  score float8
);

comment on type analytics.popular_item is $$
An item with what was done on it and below it. `score` is the measure that it is ranked by, halved with age where a half-life was given; engaged time counts in seconds.
$$;
comment on column analytics.popular_item.rank is $$1 for the most popular.$$;
comment on column analytics.popular_item.item is $$External id of the item.$$;
comment on column analytics.popular_item.title is $$Its title.$$;
comment on column analytics.popular_item.kind is $$Its kind.$$;
comment on column analytics.popular_item.event_count is $$Events on it or below it.$$;
comment on column analytics.popular_item.person_count is $$Distinct people.$$;
comment on column analytics.popular_item.engaged is $$Engaged time.$$;
comment on column analytics.popular_item.score is $$The measure that it is ranked by, aged by the half-life.$$;

create type analytics.trend_point as (
  bucket_start timestamptz,
  event_count bigint,
  person_count bigint,
  running_average float8,
  slope float8
);

comment on type analytics.trend_point is $$
A bucket of time: events, distinct people, the average number of events over the last buckets of the window, and the slope of a least-squares line through them (events a bucket).
Figures about too few people are null.
$$;
comment on column analytics.trend_point.bucket_start is $$Begin of the bucket.$$;
comment on column analytics.trend_point.event_count is $$Events; null when too few people are behind them.$$;
comment on column analytics.trend_point.person_count is $$Distinct people; null when they are too few.$$;
comment on column analytics.trend_point.running_average is $$Average number of events over the last buckets.$$;
comment on column analytics.trend_point.slope is $$Slope of the least-squares line through the last buckets, in events a bucket.$$;

create materialized view analytics.item_popularity as
select
  ancestor.ancestor_item_id as item_id,
  sum(activity.event_count) as event_count,
  count(distinct nullif(activity.person_id, 0)) as person_count,
  sum(activity.engaged) as engaged,
  max(activity.day) as last_day,
  -- Halved every 30 days, up to the newest day on record.
  sum(activity.event_count * 0.5::float8 ^ least(1000, (newest.day - activity.day) / 30::float8)) as decayed_event_count
from analytics.activity
cross join (select max(day) as day from analytics.activity) as newest
join track.item_ancestor as ancestor using (item_id)
group by ancestor.ancestor_item_id
with no data;

comment on materialized view analytics.item_popularity is $$
@behavior -*
All-time use of each item together with all below it; what is offered to strangers. Refreshed by a worker, concurrently.
$$;
comment on column analytics.item_popularity.item_id is $$The item.$$;
comment on column analytics.item_popularity.event_count is $$Events on it or below it.$$;
comment on column analytics.item_popularity.person_count is $$Distinct people.$$;
comment on column analytics.item_popularity.engaged is $$Engaged time.$$;
comment on column analytics.item_popularity.last_day is $$Newest day of use, UTC.$$;
comment on column analytics.item_popularity.decayed_event_count is $$Events, each halved for every 30 days of age.$$;

create unique index item_popularity_item on analytics.item_popularity (item_id);

alter table analytics.setting enable row level security;
alter table analytics.activity enable row level security;

/* ------------------------------------------------------------------------------------------------ predictions -- */

create table analytics.question (
  question text primary key check (question in ('dropout', 'completion', 'activity')),
  project text not null unique,
  task text not null check (task in ('classification', 'regression')),
  horizon interval not null check (horizon >= '1 day' and horizon = date_trunc('day', horizon)),
  longest_idle interval not null default '28 days' check (longest_idle >= '1 day'),
  weeks int not null default 26 check (weeks between 2 and 520),
  fewest_rows int not null default 200 check (fewest_rows >= 100),
  description text not null
);

comment on table analytics.question is $$
What is predicted of each learner in each course, and from how much of the past it is learned.
$$;
comment on column analytics.question.question is $$`dropout`, `completion` or `activity`.$$;
comment on column analytics.question.project is $$Its project in the model registry.$$;
comment on column analytics.question.task is $$`classification`: a probability; `regression`: a number.$$;
comment on column analytics.question.horizon is $$How far ahead it looks: whole days.$$;
comment on column analytics.question.longest_idle is $$Who has done nothing in a course for longer is gone already: neither learned from nor asked about.$$;
comment on column analytics.question.weeks is $$How many weekly looks at the past are learned from.$$;
comment on column analytics.question.fewest_rows is $$Fewest looks at a learner, with the outcome known, that a model is trained on.$$;
comment on column analytics.question.description is $$What it asks.$$;

insert into analytics.question (question, project, task, horizon, description)
values
  ('dropout', 'analytics.dropout', 'classification', '14 days', 'Nothing is done in the course for the whole horizon, or it is dropped within it, and it is not completed.'),
  ('completion', 'analytics.completion', 'classification', '28 days', 'The course is completed within the horizon.'),
  ('activity', 'analytics.activity', 'regression', '7 days', 'On how many days of the horizon something is done in the course.');

create type analytics.learner_features as (
  person_id bigint,
  course_id bigint,
  as_of timestamptz,
  known_at timestamptz,
  days_enrolled float8,
  days_idle float8,
  active_days float8,
  active_days_week_1 float8,
  active_days_week_2 float8,
  active_days_week_3 float8,
  active_days_week_4 float8,
  events float8,
  events_week_1 float8,
  events_week_2 float8,
  engaged_minutes float8,
  engaged_minutes_week_1 float8,
  mean_gap float8,
  gap_deviation float8,
  longest_gap float8,
  share_of_items float8,
  share_of_tasks float8,
  tasks_overdue float8,
  mean_days_late float8,
  active_days_anywhere_week_1 float8,
  course_active_share float8,
  days_to_end float8
);

comment on type analytics.learner_features is $$
A learner in a course as of a time: everything from `days_enrolled` on is a feature, of events before that time only.
Weeks count back from the time: week 1 is the last seven days. Whole days are UTC.
$$;
comment on column analytics.learner_features.person_id is $$Who.$$;
comment on column analytics.learner_features.course_id is $$In which course.$$;
comment on column analytics.learner_features.as_of is $$As of when.$$;
comment on column analytics.learner_features.known_at is $$When the newest fact that the features use was known: never after `as_of`.$$;
comment on column analytics.learner_features.days_enrolled is $$Days since the enrolment.$$;
comment on column analytics.learner_features.days_idle is $$Recency: days since anything was done in the course; since the enrolment where nothing was.$$;
comment on column analytics.learner_features.active_days is $$Days on which something was done in the course.$$;
comment on column analytics.learner_features.active_days_week_1 is $$Of them in the last 7 days.$$;
comment on column analytics.learner_features.active_days_week_2 is $$Of them in the 7 days before.$$;
comment on column analytics.learner_features.active_days_week_3 is $$Of them in the 7 days before that.$$;
comment on column analytics.learner_features.active_days_week_4 is $$Of them in the 7 days before that.$$;
comment on column analytics.learner_features.events is $$Events in the course.$$;
comment on column analytics.learner_features.events_week_1 is $$Of them in the last 7 days.$$;
comment on column analytics.learner_features.events_week_2 is $$Of them in the 7 days before.$$;
comment on column analytics.learner_features.engaged_minutes is $$Engaged minutes in the course.$$;
comment on column analytics.learner_features.engaged_minutes_week_1 is $$Of them in the last 7 days.$$;
comment on column analytics.learner_features.mean_gap is $$Regularity: mean days from one active day to the next; null for fewer than two.$$;
comment on column analytics.learner_features.gap_deviation is $$Regularity: standard deviation of these gaps.$$;
comment on column analytics.learner_features.longest_gap is $$Longest of these gaps.$$;
comment on column analytics.learner_features.share_of_items is $$Breadth: share of what the course contains that was touched.$$;
comment on column analytics.learner_features.share_of_tasks is $$Share of the course's tasks that were submitted; null for a course without any.$$;
comment on column analytics.learner_features.tasks_overdue is $$Lateness: tasks that were due and are not submitted.$$;
comment on column analytics.learner_features.mean_days_late is $$Lateness: mean days from the deadline to the submission, negative when early; null where nothing with a deadline was submitted.$$;
comment on column analytics.learner_features.active_days_anywhere_week_1 is $$Days of the last 7 on which something was done anywhere.$$;
comment on column analytics.learner_features.course_active_share is $$Share of the course's learners who did something in it in the last 7 days.$$;
comment on column analytics.learner_features.days_to_end is $$Days until the course ends; null where no end is set.$$;

create type analytics.learner_prediction as (
  rank int,
  person_id bigint,
  person text,
  score float8,
  reasons ml.contribution[],
  model_version int,
  as_of timestamptz
);

comment on type analytics.learner_prediction is $$
What is predicted of a learner, with the features that moved it most.
$$;
comment on column analytics.learner_prediction.rank is $$1 for the learner to look at first.$$;
comment on column analytics.learner_prediction.person_id is $$Who.$$;
comment on column analytics.learner_prediction.person is $$The name by which the application knows the person.$$;
comment on column analytics.learner_prediction.score is $$A probability, or expected active days.$$;
comment on column analytics.learner_prediction.reasons is $$The features that moved the score most, largest first: exact shares of its distance from the mean, in log odds for a probability (before calibration).$$;
comment on column analytics.learner_prediction.model_version is $$Version of the model that said so.$$;
comment on column analytics.learner_prediction.as_of is $$As of when: nothing later was looked at.$$;

create type analytics.course_outlook as (
  course text,
  title text,
  person_count bigint,
  mean_score float8,
  lower_quartile float8,
  upper_quartile float8
);

comment on type analytics.course_outlook is $$
What is predicted of the learners of a course together.
$$;
comment on column analytics.course_outlook.course is $$External id of the course.$$;
comment on column analytics.course_outlook.title is $$Its title.$$;
comment on column analytics.course_outlook.person_count is $$Learners who take it now.$$;
comment on column analytics.course_outlook.mean_score is $$Mean of the scores; times the learners it is the expected number of dropouts or completions.$$;
comment on column analytics.course_outlook.lower_quartile is $$A quarter of the learners score below; null where these are too few.$$;
comment on column analytics.course_outlook.upper_quartile is $$A quarter of the learners score above; null where these are too few.$$;

alter table analytics.question enable row level security;
--! EndIncluded analytics/tables.sql
--! Included recommend/tables.sql
create schema recommend;

comment on schema recommend is $$
Recommendation: interactions, recommender models, served lists with reasons that add up.
$$;

grant usage on schema recommend to insights_learner, insights_analyst, insights_admin, insights_worker;
-- Creates nothing itself; whoever owns a function needs the right to create in its schema.
grant usage, create on schema recommend to insights_reader;

/* -------------------------------------------------------------------------------------------------- settings -- */

create table recommend.setting (
  only_row boolean primary key default true check (only_row),
  full_weight real not null default 1 check (full_weight > 0 and full_weight < 'infinity'),
  lambdas float8[] not null default '{5,50,500}' check (cardinality(lambdas) between 1 and 20),
  fewest_people int not null default 5 check (fewest_people >= 2),
  most_test_people int not null default 1000 check (most_test_people >= 0),
  versions_kept int not null default 3 check (versions_kept >= 1),
  most_reasons int not null default 5 check (most_reasons between 1 and 50)
);

comment on table recommend.setting is $$
How recommendation works: one row. Takes effect at the next training or request.
$$;
comment on column recommend.setting.only_row is $$Always true, so that there is one row.$$;
comment on column recommend.setting.full_weight is $$Weight from which on a person counts as having taken an item: it is not recommended any more, and more of it does not count more. Less counts in proportion.$$;
comment on column recommend.setting.lambdas is $$Ridges that a training chooses from, by the items that half of its test people took last.$$;
comment on column recommend.setting.fewest_people is $$Fewest people with two or more items that a model is trained on; fewer would tell about each.$$;
comment on column recommend.setting.most_test_people is $$Most people whose last item is held out to measure a model.$$;
comment on column recommend.setting.versions_kept is $$Versions of a model whose weights are kept, for a rollback; the deployed one is kept always.$$;
comment on column recommend.setting.most_reasons is $$Most items that a recommendation is explained by; the rest is summed up in one.$$;

insert into recommend.setting default values;

create table recommend.event_weight (
  event text primary key check (length(event) between 1 and 200),
  weight real not null check (weight >= 0 and weight < 'infinity'),
  most_counted int check (most_counted > 0),
  completes boolean not null default false,
  dismisses boolean not null default false,
  check (not (completes and dismisses))
);

comment on table recommend.event_weight is $$
What an event says about the interest of a person in an item. Events that are not listed say nothing.
After a change, `select recommend.rebuild()` applies it to what is stored.
$$;
comment on column recommend.event_weight.event is $$Name of the event, as in `track.event_type`.$$;
comment on column recommend.event_weight.weight is $$What each such event adds; the sum of an item and all it contains is held against `recommend.setting.full_weight`.$$;
comment on column recommend.event_weight.most_counted is $$How many of them count for one person and item; null: all.$$;
comment on column recommend.event_weight.completes is $$Whether it says that the person has finished the item.$$;
comment on column recommend.event_weight.dismisses is $$Whether it says that the person does not want the item.$$;

insert into recommend.event_weight (event, weight, most_counted, completes, dismisses)
values
  ('Course Enrolled', 1, 1, false, false),
  ('Course Started', 1, 1, false, false),
  ('Course Completed', 1, 1, true, false),
  ('Course Rated', 1, 1, false, false),
  ('Course Dropped', 0, 1, false, true),
  ('Course Dismissed', 0, 1, false, true),
  ('Recommendation Dismissed', 0, 1, false, true),
  ('Module Completed', 0.3, 1, true, false),
  ('Task Started', 0.1, 1, false, false),
  ('Task Submitted', 0.2, 1, false, false),
  ('Task Completed', 0.2, 1, true, false),
  ('Page Viewed', 0.05, 4, false, false),
  ('Screen Viewed', 0.05, 4, false, false),
  ('Video Playback Started', 0.05, 2, false, false),
  ('Video Playback Completed', 0.1, 1, true, false);

create table recommend.secret (
  only_row boolean primary key default true check (only_row),
  inner_key bytea not null check (length(inner_key) = 64),
  outer_key bytea not null check (length(outer_key) = 64)
);

comment on table recommend.secret is $$
@behavior -*
What served lists are signed with. Granted to nobody.
$$;
comment on column recommend.secret.only_row is $$Always true, so that there is one row.$$;
comment on column recommend.secret.inner_key is $$Key of the inner hash, one block of SHA-256.$$;
comment on column recommend.secret.outer_key is $$Key of the outer hash, one block of SHA-256.$$;

-- Version 4 UUIDs come from the server's strong random source, 122 bits each.
insert into recommend.secret (inner_key, outer_key)
select
  uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()),
  uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid());

/* ---------------------------------------------------------------------------------------------- interactions -- */

create table recommend.interaction (
  person_id bigint not null,
  item_id bigint not null references track.item,
  weight real not null,
  event_count int not null,
  first_at timestamptz not null,
  last_at timestamptz not null,
  completed_at timestamptz,
  dismissed_at timestamptz,
  primary key (person_id, item_id)
);

comment on table recommend.interaction is $$
@foreignKey (item_id) references track.item (item_id)
What each person has to do with each item, from the events that `recommend.event_weight` lists. Kept by `recommend.refresh_interactions`, always what a computation from scratch would give.
Rows are of the items that the events name; a course gets the sum of what it contains when a model is trained or asked.
$$;
comment on column recommend.interaction.person_id is $$Who.$$;
comment on column recommend.interaction.item_id is $$With what.$$;
comment on column recommend.interaction.weight is $$Sum of the weights of the events.$$;
comment on column recommend.interaction.event_count is $$Number of the events.$$;
comment on column recommend.interaction.first_at is $$Time of the first one.$$;
comment on column recommend.interaction.last_at is $$Time of the last one.$$;
comment on column recommend.interaction.completed_at is $$When the person last finished the item.$$;
comment on column recommend.interaction.dismissed_at is $$When the person last said not to want it.$$;

create index interaction_item on recommend.interaction (item_id);

insert into track.consumer (consumer, description) values ('recommend.interaction', 'What each person has to do with each item.');

insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, description)
values ('recommend', 'interaction', 'person_id', 'person', 'personalization', 'Whose interest it is.');

insert into track.distribution (schema_name, table_name, column_name, colocated_with, description)
values ('recommend', 'interaction', 'person_id', 'track.event', 'Derived from the events of the person.');

/* ---------------------------------------------------------------------------------------------------- models -- */

create table recommend.item_weight (
  model_id bigint not null references ml.model on delete cascade,
  item_no int not null check (item_no > 0),
  item_id bigint not null references track.item,
  diagonal real not null check (diagonal > 0),
  weights vector not null,
  primary key (model_id, item_no),
  unique (model_id, item_id)
);

comment on table recommend.item_weight is $$
@behavior -*
EASE models: the row of the weights B of each item. The sum of the rows of a person's items is the person's score for every item.
$$;
comment on column recommend.item_weight.model_id is $$Version of a model.$$;
comment on column recommend.item_weight.item_no is $$Place of the item in all vectors of the version.$$;
comment on column recommend.item_weight.item_id is $$The item.$$;
comment on column recommend.item_weight.diagonal is $$Its entry on the diagonal of P = (XᵀX + λI)⁻¹: B[i,j] = B[j,i] P[i,i] / P[j,j].$$;
comment on column recommend.item_weight.weights is $$What interest in it says about each item, in order of `item_no`; 0 for itself.$$;

create index item_weight_item on recommend.item_weight (item_id);

/* ----------------------------------------------------------------------------------------------------- types -- */

create type recommend.reason as (kind text, item text, title text, contribution float8);

comment on type recommend.reason is $$
A part of a score. `kind` is `item` (because of that item of the person's), `others` (all further items together) or `popularity`.
The contributions of a recommendation add up to its score.
$$;
comment on column recommend.reason.kind is $$`item`, `others` or `popularity`.$$;
comment on column recommend.reason.item is $$The item of the person's, by the application's name for it.$$;
comment on column recommend.reason.title is $$Its title, or what else the reason is.$$;
comment on column recommend.reason.contribution is $$What it adds to the score; negative where it speaks against.$$;

create type recommend.recommendation as (
  rank int,
  item_id bigint,
  item text,
  title text,
  score float8,
  reasons recommend.reason[],
  basis text,
  model_version int,
  serving_id text
);

comment on type recommend.recommendation is $$
An item for a person, with its reasons. `basis` is `model`, or `popularity` where nothing is known of the person or no model is trained: then the score is the item's popularity, 1 for the most popular.
`serving_id` is signed and says which version put the item at which rank; send it back with impressions and clicks.
$$;
comment on column recommend.recommendation.rank is $$1 for the best.$$;
comment on column recommend.recommendation.item_id is $$Key of the item.$$;
comment on column recommend.recommendation.item is $$The application's name for it.$$;
comment on column recommend.recommendation.title is $$Its title.$$;
comment on column recommend.recommendation.score is $$Sum of the contributions of its reasons.$$;
comment on column recommend.recommendation.reasons is $$Why, strongest first.$$;
comment on column recommend.recommendation.basis is $$`model` or `popularity`.$$;
comment on column recommend.recommendation.model_version is $$Version of the model, null for popularity.$$;
comment on column recommend.recommendation.serving_id is $$Model (0 for popularity), item, rank, propensity, time in seconds since 1970 and signature, with dots between.$$;

create type recommend.similar_item as (rank int, item_id bigint, item text, title text, score float8);

comment on type recommend.similar_item is $$
An item that goes with another one: `score` is the weight that interest in the other has for it.
$$;
comment on column recommend.similar_item.rank is $$1 for the most similar.$$;
comment on column recommend.similar_item.item_id is $$Key of the item.$$;
comment on column recommend.similar_item.item is $$The application's name for it.$$;
comment on column recommend.similar_item.title is $$Its title.$$;
comment on column recommend.similar_item.score is $$Weight that interest in the other item has for it.$$;

create type recommend.training as (
  kind text,
  version int,
  deployed boolean,
  reason text,
  lambda float8,
  ndcg_at_10 float8,
  recall_at_10 float8,
  popularity_ndcg_at_10 float8,
  popularity_recall_at_10 float8,
  test_people int,
  people int,
  items int,
  interactions int,
  duration interval
);

comment on type recommend.training is $$
What became of a training. `reason` says why the version was deployed or not, in the words of `ml.deployment.strategy`, or `worse`. Measures are null where there were too few people to hold anything out.
$$;
comment on column recommend.training.kind is $$Kind of items.$$;
comment on column recommend.training.version is $$Version in `ml.model` of the project `recommend.<kind>`.$$;
comment on column recommend.training.deployed is $$Whether it was put in force.$$;
comment on column recommend.training.reason is $$`first`, `better`, `newest` or `worse`.$$;
comment on column recommend.training.lambda is $$The ridge that was chosen.$$;
comment on column recommend.training.ndcg_at_10 is $$NDCG@10 of the held-out items.$$;
comment on column recommend.training.recall_at_10 is $$Share of the held-out items among the best ten.$$;
comment on column recommend.training.popularity_ndcg_at_10 is $$NDCG@10 of a list by popularity.$$;
comment on column recommend.training.popularity_recall_at_10 is $$Recall@10 of a list by popularity.$$;
comment on column recommend.training.test_people is $$People that it was measured on.$$;
comment on column recommend.training.people is $$People that it learned from.$$;
comment on column recommend.training.items is $$Items that it knows.$$;
comment on column recommend.training.interactions is $$Pairs of a person and an item that it learned from.$$;
comment on column recommend.training.duration is $$Elapsed time.$$;

alter table recommend.setting enable row level security;
alter table recommend.event_weight enable row level security;
alter table recommend.secret enable row level security;
alter table recommend.interaction enable row level security;
alter table recommend.item_weight enable row level security;
--! EndIncluded recommend/tables.sql
--! Included monitor/tables.sql
create schema monitor;

comment on schema monitor is $$
Runs, durations, freshness and health of the installation.
$$;

grant usage on schema monitor to insights_reader, insights_analyst, insights_admin, insights_worker;

create table monitor.run (
  run_id bigint generated always as identity primary key,
  task text not null,
  started_at timestamptz not null default clock_timestamp(),
  finished_at timestamptz,
  duration interval generated always as (finished_at - started_at) stored,
  outcome text not null default 'running' check (outcome in ('running', 'ok', 'failed')),
  row_count bigint,
  detail jsonb,
  error text
);

comment on table monitor.run is $$
Each run of a scheduled task: when, how long, how many rows, how it ended.
A row that stays `running` long after its start belongs to a worker that was killed.
$$;
comment on column monitor.run.run_id is $$Key of the run, ascending with time.$$;
comment on column monitor.run.task is $$Name of the task, as in `tasks/`.$$;
comment on column monitor.run.started_at is $$Begin of the run.$$;
comment on column monitor.run.finished_at is $$End of the run; null while it goes on.$$;
comment on column monitor.run.duration is $$Elapsed time.$$;
comment on column monitor.run.outcome is $$`running`, `ok` or `failed`.$$;
comment on column monitor.run.row_count is $$How many rows the run wrote or removed.$$;
comment on column monitor.run.detail is $$What the task reports beside the count.$$;
comment on column monitor.run.error is $$Message of the error that ended the run.$$;

create index run_task_started on monitor.run (task, started_at desc);

alter table monitor.run enable row level security;
--! EndIncluded monitor/tables.sql
--! EndIncluded structure.sql
--! Included all.sql
/* Everything that can be replayed, in dependency order: functions, views, policies. A room reaches only rooms above it. */
--! Included prepare.sql
/*
 * What every migration begins with. Names of pgvector's types and operators are bound at creation, wherever the
 * extension lives, and nobody but the owner may call a function until its file grants it.
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
  perform set_config('search_path', format('%I, pg_temp', v_schema), true);
  -- "drop … if exists" need not say that nothing was there.
  perform set_config('client_min_messages', 'warning', true);
end;
$$;

alter default privileges revoke execute on functions from public;
--! EndIncluded prepare.sql

-- ml
--! Included ml/functions/_source.sql
/*
 * How every function of this room that is given the name of a table, of a column or an expression reads it.
 * These helpers and their callers are security invoker and keep the caller's search_path, so a name means what it
 * means to the caller and nothing is reached that the caller could not reach alone.
 */
create or replace function ml._nearest(
  name text,
  candidates text[]
)
returns text
language sql
immutable
parallel safe
begin atomic
  select ranked.candidate
  from (
    select
      candidate,
      (
        select 2.0 * count(*) filter (where pair.sides = 2) / greatest(sum(pair.sides), 1)
        from (
          select side.bigram, count(distinct side.which) as sides
          from (
            select 1 as which, substr(' ' || lower(_nearest.name) || ' ', position, 2) as bigram
            from generate_series(1, length(_nearest.name) + 1) as position
            union
            select 2, substr(' ' || lower(candidate) || ' ', position, 2)
            from generate_series(1, length(candidate) + 1) as position
          ) as side
          group by side.bigram
        ) as pair
      ) as similarity
    from (
      select given.candidate
      from unnest(_nearest.candidates) as given (candidate)
      where length(given.candidate) <= 100
        and length(_nearest.name) <= 100
      limit 1000
    ) as near
  ) as ranked
  where ranked.similarity >= 0.3
  order by ranked.similarity desc, ranked.candidate
  limit 1;
end;

comment on function ml._nearest(text, text[]) is $$
The candidate that shares most pairs of letters with a name (Dice coefficient), null when none is near. For error messages.
Only names of at most 100 characters are compared, with the first 1,000 such candidates.
$$;

create or replace function ml._relation(source_table text)
returns regclass
language plpgsql
stable
parallel safe
as $$
declare
  v_relation regclass;
  v_kind "char";
  v_nearest text;
begin
  if source_table is null or btrim(source_table) = '' then
    raise exception using errcode = 'CF001', message = 'the source table is null or empty',
      hint = 'Name a table, view or materialized view, such as ''public.houses''.';
  end if;
  begin
    perform parse_ident(source_table);
    v_relation := to_regclass(source_table);
  exception when invalid_parameter_value or invalid_name or syntax_error then
    raise exception using errcode = 'CF001', message = format('"%s" is not the name of a table', left(source_table, 100)),
      hint = 'Give schema.name; put a name with blanks, capitals or semicolons into double quotes.';
  end;
  if v_relation is null then
    v_nearest := ml._nearest(
      (parse_ident(source_table))[array_upper(parse_ident(source_table), 1)],
      (
        select array_agg(class.relname::text)
        from pg_catalog.pg_class as class
        join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
        where class.relkind in ('r', 'v', 'm', 'p', 'f')
          and namespace.nspname not in ('pg_catalog', 'information_schema', 'pg_toast')
      )
    );
    raise exception using errcode = 'CF002', message = format('there is no table "%s"', left(source_table, 100)),
      hint = coalesce('Did you mean "' || v_nearest || '"?', 'Name a table, view or materialized view, with its schema.');
  end if;
  v_kind := (select relkind from pg_catalog.pg_class where oid = v_relation);
  if v_kind not in ('r', 'v', 'm', 'p', 'f') then
    raise exception using errcode = 'CF001', message = format('"%s" is not a table, view or materialized view', left(source_table, 100)),
      hint = 'Name a relation that has rows.';
  end if;
  if not has_any_column_privilege(v_relation, 'select') then
    raise exception using errcode = 'CF005', message = format('role "%s" may not read "%s"', current_user, left(source_table, 100)),
      hint = 'Ask its owner for select.';
  end if;
  return v_relation;
end;
$$;

comment on function ml._relation(text) is $$
The table, view or materialized view of a name as the caller sees it, which the caller may read.
Errors: CF001 (not a name, not a relation with rows), CF002 (absent; names the nearest), CF005 (not readable).
$$;

create or replace function ml._output(
  output_table text,
  suffixes text[] default '{}'
)
returns text
language plpgsql
stable
parallel safe
as $$
declare
  v_parts text[];
  v_schema text;
  v_name text;
  v_suffix text;
begin
  begin
    v_parts := parse_ident(output_table);
  exception when invalid_parameter_value then
    null;
  end;
  if v_parts is null or array_length(v_parts, 1) > 2 then
    raise exception using errcode = 'CF001', message = format('"%s" is not a name for the output table', coalesce(left(output_table, 100), 'null')),
      hint = 'Give name or schema.name; put a name with blanks, capitals or semicolons into double quotes.';
  end if;
  v_name := v_parts[array_length(v_parts, 1)];
  v_schema := case when array_length(v_parts, 1) = 2 then v_parts[1] else current_schema() end;
  if v_schema is null or to_regnamespace(quote_ident(v_schema)) is null then
    raise exception using errcode = 'CF002', message = format('there is no schema "%s"', coalesce(left(v_schema, 100), '')),
      hint = 'Create it, or name the output table as schema.name.';
  end if;
  if not has_schema_privilege(v_schema, 'create') then
    raise exception using errcode = 'CF005', message = format('role "%s" may not create tables in schema "%s"', current_user, left(v_schema, 100)),
      hint = 'Name the output table in a schema of your own.';
  end if;
  foreach v_suffix in array array['']::text[] || suffixes loop
    if octet_length(v_name || v_suffix) > 63 then
      raise exception using errcode = 'CF001', message = format('the name "%s" is longer than 63 bytes', left(v_name || v_suffix, 100)),
        hint = 'Choose a shorter name for the output table.';
    end if;
    if to_regclass(format('%I.%I', v_schema, v_name || v_suffix)) is not null then
      raise exception using errcode = 'CF003', message = format('the output table "%s" exists already', left(v_name || v_suffix, 100)),
        hint = 'Drop it, or choose another name; nothing is overwritten.';
    end if;
  end loop;
  return format('%I.%I', v_schema, v_name);
end;
$$;

comment on function ml._output(text, text[]) is $$
The quoted, qualified name of a table that is to be made, together with those that carry the suffixes.
Errors: CF001 (not a name), CF002 (no such schema), CF003 (it exists), CF005 (not allowed there).
$$;

create or replace function ml._suffixed(
  qualified_name text,
  suffix text
)
returns text
language sql
immutable
strict
parallel safe
begin atomic
  -- Longer ones are none, and parse_ident would show them whole.
  select format('%I.%I', (parse_ident(left(qualified_name, 300)))[1], (parse_ident(left(qualified_name, 300)))[2] || suffix);
end;

comment on function ml._suffixed(text, text) is $$The quoted name of a companion table: schema.name and a suffix such as `_summary`.$$;

create or replace function ml._split(expressions text)
returns text[]
language plpgsql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_longest constant int := 200000;
  -- Parts are cut at this mark, which no expression needs.
  v_mark constant text := chr(1);
  -- Each character by its place: to cut it out of a text, all before it would have to be walked through.
  v_chars text[];
  v_parts text[];
  v_char text;
  v_next text;
  v_former text;
  v_quote text;
  v_escapes boolean := false;
  v_depth int := 0;
  v_position int := 1;
  v_problem text;
begin
  if length(expressions) > v_longest then
    raise exception using errcode = 'CF008', message = format('an expression has %s characters', length(expressions)),
      hint = format('Give %s at most.', v_longest);
  end if;
  v_chars := string_to_array(expressions, null);
  if strpos(expressions, v_mark) > 0 then
    v_problem := 'a control character has no place here';
  end if;
  while v_position <= cardinality(v_chars) and v_problem is null loop
    v_former := v_chars[v_position - 1];
    v_char := v_chars[v_position];
    v_next := v_chars[v_position + 1];
    if v_quote is not null then
      if v_escapes and v_char = '\' then
        v_position := v_position + 1;
      elsif v_char = v_quote then
        v_quote := null;
      end if;
    elsif v_char in ('''', '"') then
      v_quote := v_char;
      v_escapes := v_char = '''' and coalesce(v_former in ('e', 'E'), false) and coalesce(v_chars[v_position - 2] !~* '[a-z0-9_$]', true);
    elsif v_char in ('(', '[', '{') then
      v_depth := v_depth + 1;
    elsif v_char in (')', ']', '}') then
      v_depth := v_depth - 1;
      if v_depth < 0 then
        v_problem := 'a bracket is closed that was never opened';
      end if;
    elsif v_char = ';' then
      v_problem := 'a semicolon ends the statement';
    elsif (v_char = '-' and v_next = '-') or (v_char = '/' and v_next = '*') then
      v_problem := 'a comment hides the rest';
    elsif v_char = '$' and coalesce(v_former !~* '[a-z0-9_$]', true) then
      v_problem := 'dollar quotes and parameters have no place here';
    elsif v_char = ',' and v_depth = 0 then
      v_chars[v_position] := v_mark;
    end if;
    v_position := v_position + 1;
  end loop;
  v_problem := coalesce(
    v_problem,
    case when v_quote is not null then 'a quote is not closed' when v_depth > 0 then 'a bracket is not closed' end
  );
  v_parts := array(
    select btrim(part.part, E' \t\n\r')
    from unnest(string_to_array(array_to_string(v_chars, ''), v_mark)) with ordinality as part (part, place)
    order by part.place
  );
  if v_problem is null and ('' = any (v_parts) or v_parts = '{}') then
    v_problem := 'a part of it is empty';
  end if;
  if v_problem is not null then
    raise exception using errcode = 'CF001', message = format('"%s" is not an expression: %s', left(expressions, 100), v_problem),
      hint = 'Give a column, a list of columns, or one SQL expression over them.';
  end if;
  return v_parts;
end;
$$;

comment on function ml._split(text) is $$
The parts of a list of expressions, cut at the commas outside brackets and quotes.
Refuses what could end the statement that it is put into or hide a part of it: semicolons, comments, dollar quotes, unbalanced brackets. Errors: CF001, CF008 above 200,000 characters.
$$;

create or replace function ml._columns(relation regclass)
returns text[]
language sql
stable
parallel safe
begin atomic
  select coalesce(array_agg(attribute.attname::text order by attribute.attnum), '{}')
  from pg_catalog.pg_attribute as attribute
  where attribute.attrelid = relation
    and attribute.attnum > 0
    and not attribute.attisdropped;
end;

comment on function ml._columns(regclass) is $$Names of a relation's columns, in order.$$;

create or replace function ml._expression(
  expression text,
  relation regclass,
  role text
)
returns regtype
language plpgsql
stable
as $$
declare
  v_columns text[] := ml._columns(relation);
  v_type regtype;
  v_cursor refcursor;
  v_name text;
  v_message text;
begin
  if expression is null or btrim(expression) = '' then
    raise exception using errcode = 'CF001', message = format('the %s is null or empty', left(role, 100)),
      hint = format('Name a column of %s or an expression over its columns.', relation);
  end if;
  perform ml._split(expression);
  begin
    -- A cursor takes exactly one statement, and no row is read: the columns are null, only the type is asked for.
    open v_cursor no scroll for execute format(
      'select pg_catalog.pg_typeof((%s)) from (values (1)) as one left join (select * from %s where false) as source on true',
      expression, relation
    );
    fetch v_cursor into v_type;
    close v_cursor;
  exception
    when undefined_column then
      get stacked diagnostics v_message = message_text;
      v_name := coalesce(substring(v_message from '"([^"]*)"'), substring(v_message from 'column ([^ ]+) '), expression);
      raise exception using errcode = 'CF002',
        message = format('%s: "%s" has no column "%s"', left(role, 100), relation, left(v_name, 100)),
        hint = coalesce(
          'Did you mean "' || ml._nearest(v_name, v_columns) || '"?',
          format('Its columns are %s.', array_to_string(v_columns, ', '))
        );
    when insufficient_privilege then
      get stacked diagnostics v_message = message_text;
      raise exception using errcode = 'CF005', message = format('role "%s" may not read "%s": %s', current_user, relation, left(v_message, 100)),
        hint = 'Ask its owner for select.';
    when syntax_error or undefined_function or grouping_error or datatype_mismatch or invalid_cursor_definition
      or undefined_object or feature_not_supported or wrong_object_type or invalid_text_representation or undefined_table then
      get stacked diagnostics v_message = message_text;
      raise exception using errcode = 'CF001', message = format('%s: "%s" can not be evaluated: %s', left(role, 100), left(expression, 100), left(v_message, 100)),
        hint = 'Give a column or one SQL expression over the columns of one row.';
  end;
  return v_type;
end;
$$;

comment on function ml._expression(text, regclass, text) is $$
The type of an expression over a relation's columns; `role` says in messages what it is for (such as `dependent variable`).
Errors: CF001 (not one expression), CF002 (unknown column; names the nearest).
$$;

create or replace function ml._numeric_expression(
  expression text,
  relation regclass,
  role text
)
returns text
language plpgsql
stable
as $$
declare
  v_type regtype := ml._expression(expression, relation, role);
begin
  if v_type = 'boolean'::regtype then
    return format('((%s)::int::float8)', expression);
  end if;
  if v_type not in ('smallint'::regtype, 'integer'::regtype, 'bigint'::regtype, 'real'::regtype, 'double precision'::regtype, 'numeric'::regtype) then
    raise exception using errcode = 'CF001', message = format('%s: "%s" is of type %s, a number is due', left(role, 100), left(expression, 100), v_type),
      hint = 'Cast it, or encode it with ml.encode_categorical_variables.';
  end if;
  return format('((%s)::float8)', expression);
end;
$$;

comment on function ml._numeric_expression(text, regclass, text) is $$
The expression, cast to float8 (booleans become 0 and 1), ready for a generated statement. Error CF001 when it is no number.
$$;

create or replace function ml._column(
  relation regclass,
  name text,
  role text
)
returns text
language plpgsql
stable
as $$
declare
  v_columns text[] := ml._columns(relation);
  v_name text := name;
begin
  if not v_name = any (v_columns) then
    begin
      v_name := (parse_ident(name))[1];
    exception when invalid_parameter_value then
      null;
    end;
  end if;
  if v_name = any (v_columns) then
    return quote_ident(v_name);
  end if;
  raise exception using errcode = 'CF002', message = format('%s: "%s" has no column "%s"', left(role, 100), relation, coalesce(left(name, 100), 'null')),
    hint = coalesce(
      'Did you mean "' || ml._nearest(name, v_columns) || '"?',
      format('Its columns are %s.', array_to_string(v_columns, ', '))
    );
end;
$$;

comment on function ml._column(regclass, text, text) is $$
The quoted name of a relation's column, given as it is stored or as it is written in SQL. Error CF002 names the nearest.
$$;

create or replace function ml._column_list(
  relation regclass,
  names text,
  role text
)
returns text[]
language sql
stable
begin atomic
  select coalesce(array_agg(ml._column(relation, name, role) order by position), '{}')
  from unnest(ml._split(nullif(btrim(names), ''))) with ordinality as part (name, position);
end;

comment on function ml._column_list(regclass, text, text) is $$The quoted names of a comma-separated list of columns, empty when none is given.$$;

grant execute on function
  ml._nearest(text, text[]),
  ml._relation(text),
  ml._output(text, text[]),
  ml._suffixed(text, text),
  ml._split(text),
  ml._columns(regclass),
  ml._expression(text, regclass, text),
  ml._numeric_expression(text, regclass, text),
  ml._column(regclass, text, text),
  ml._column_list(regclass, text, text)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/functions/_source.sql
--! Included ml/functions/_assess.sql
/*
 * One shape for every measure of predictions: read the names, look at the data once, then one generated statement.
 * In the statement `data` holds the rows with both values (_prediction, _observed) and the grouping columns;
 * {groups} stands for the grouping columns each followed by a comma, {by} for `group by` them, {partition} for `partition by`.
 */
create or replace function ml._assess(
  table_in text,
  table_out text,
  prediction_col text,
  observed_col text,
  grouping_cols text,
  kind text,
  statement text
)
returns void
language plpgsql
as $$
declare
  v_relation regclass := ml._relation(table_in);
  v_output text := ml._output(table_out);
  v_prediction text := ml._numeric_expression(prediction_col, v_relation, 'prediction column');
  v_observed text := ml._numeric_expression(observed_col, v_relation, 'observed column');
  v_groups text[] := ml._column_list(v_relation, grouping_cols, 'grouping columns');
  v_group_list text;
  v_seen record;
begin
  v_group_list := array_to_string(v_groups, ', ');
  execute format(
    $query$
    select
      count(*) as row_count,
      count(*) filter (where prediction = 'NaN' or abs(prediction) = 'Infinity' or observed = 'NaN' or abs(observed) = 'Infinity') as non_finite,
      min(prediction) as least_prediction, max(prediction) as greatest_prediction,
      min(observed) as least_observed, max(observed) as greatest_observed,
      min(observed) filter (where observed not in (0, 1)) as no_class
    from (select %s as prediction, %s as observed from %s) as pair
    where prediction is not null
      and observed is not null
    $query$,
    v_prediction, v_observed, v_relation
  ) into v_seen;
  if v_seen.row_count = 0 then
    raise exception using errcode = 'CF004', message = format('"%s" has no row with both "%s" and "%s"', v_relation, left(prediction_col, 100), left(observed_col, 100)),
      hint = 'A measure needs at least one prediction with its observed value.';
  end if;
  if v_seen.non_finite > 0 then
    raise exception using errcode = 'CF001', message = format('%s rows of "%s" have NaN or infinity in "%s" or "%s"', v_seen.non_finite, v_relation, left(prediction_col, 100), left(observed_col, 100)),
      hint = 'Only finite numbers can be compared; make the others null to leave them out.';
  end if;
  if kind in ('score', 'probability') then
    if v_seen.no_class is not null then
      raise exception using errcode = 'CF001', message = format('"%s" holds %s, a class is 0 or 1', left(observed_col, 100), v_seen.no_class),
        hint = 'Give the observed class as boolean or as 0 and 1.';
    end if;
  end if;
  if kind = 'score' and v_groups = '{}' and v_seen.least_observed = v_seen.greatest_observed then
    raise exception using errcode = 'CF004', message = format('"%s" holds one class only, %s', left(observed_col, 100), v_seen.least_observed),
      hint = 'This measure compares positive with negative rows and needs both.';
  end if;
  if kind = 'probability' and (v_seen.least_prediction < 0 or v_seen.greatest_prediction > 1) then
    raise exception using errcode = 'CF001',
      message = format('"%s" holds %s, a probability lies in 0..1', left(prediction_col, 100), case when v_seen.least_prediction < 0 then v_seen.least_prediction else v_seen.greatest_prediction end),
      hint = 'Give predicted probabilities of class 1.';
  end if;
  execute format('create table %s as with data as not materialized (select %s%s as _prediction, %s as _observed from %s where %s is not null and %s is not null) ',
    v_output, case when v_groups = '{}' then '' else v_group_list || ', ' end, v_prediction, v_observed, v_relation, v_prediction, v_observed)
  || replace(replace(replace(statement,
    '{groups}', case when v_groups = '{}' then '' else v_group_list || ', ' end),
    '{by}', case when v_groups = '{}' then '' else 'group by ' || v_group_list end),
    '{partition}', case when v_groups = '{}' then '' else 'partition by ' || v_group_list end);
end;
$$;

comment on function ml._assess(text, text, text, text, text, text, text) is $$
Checks the input of a measure and writes its output table. `kind` is `number`, `score` (classes 0 and 1) or `probability`.
Errors: CF001 (not a number, class or probability; non-finite), CF002, CF003, CF004 (no rows, one class), CF005.
$$;

grant execute on function ml._assess(text, text, text, text, text, text, text) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/functions/_assess.sql
--! Included ml/functions/mean_abs_error.sql
create or replace function ml.mean_abs_error(
  table_in text,
  table_out text,
  prediction_col text,
  observed_col text,
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
  perform ml._assess(
    table_in, table_out, prediction_col, observed_col, grouping_cols, 'number',
    'select {groups}avg(abs(_prediction - _observed)) as mean_abs_error from data {by}'
  );
end;
$$;

comment on function ml.mean_abs_error(text, text, text, text, text) is $$
@behavior -*
Mean absolute error of predictions, in the unit of the observed value.
Writes `table_out`: the grouping columns and `mean_abs_error` (float8). Rows without a prediction or an observed value are left out.
Errors: CF001 (not finite numbers), CF002 (unknown table or column), CF003 (`table_out` exists), CF004 (no rows).
$$;

grant execute on function ml.mean_abs_error(text, text, text, text, text) to insights_admin, insights_worker;
--! EndIncluded ml/functions/mean_abs_error.sql
--! Included ml/functions/mean_squared_error.sql
create or replace function ml.mean_squared_error(
  table_in text,
  table_out text,
  prediction_col text,
  observed_col text,
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
  perform ml._assess(
    table_in, table_out, prediction_col, observed_col, grouping_cols, 'number',
    'select {groups}avg((_prediction - _observed) ^ 2) as mean_squared_error from data {by}'
  );
end;
$$;

comment on function ml.mean_squared_error(text, text, text, text, text) is $$
@behavior -*
Mean squared error of predictions, in the square of the observed unit.
Writes `table_out`: the grouping columns and `mean_squared_error` (float8). Rows without a prediction or an observed value are left out.
Errors: CF001 (not finite numbers), CF002 (unknown table or column), CF003 (`table_out` exists), CF004 (no rows).
$$;

grant execute on function ml.mean_squared_error(text, text, text, text, text) to insights_admin, insights_worker;
--! EndIncluded ml/functions/mean_squared_error.sql
--! Included ml/functions/root_mean_squared_error.sql
create or replace function ml.root_mean_squared_error(
  table_in text,
  table_out text,
  prediction_col text,
  observed_col text,
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
  perform ml._assess(
    table_in, table_out, prediction_col, observed_col, grouping_cols, 'number',
    'select {groups}sqrt(avg((_prediction - _observed) ^ 2)) as root_mean_squared_error from data {by}'
  );
end;
$$;

comment on function ml.root_mean_squared_error(text, text, text, text, text) is $$
@behavior -*
Root of the mean squared error of predictions, in the unit of the observed value.
Writes `table_out`: the grouping columns and `root_mean_squared_error` (float8). Rows without a prediction or an observed value are left out.
Errors: CF001 (not finite numbers), CF002 (unknown table or column), CF003 (`table_out` exists), CF004 (no rows).
$$;

grant execute on function ml.root_mean_squared_error(text, text, text, text, text) to insights_admin, insights_worker;
--! EndIncluded ml/functions/root_mean_squared_error.sql
--! Included ml/functions/mean_perc_error.sql
create or replace function ml.mean_perc_error(
  table_in text,
  table_out text,
  prediction_col text,
  observed_col text,
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
  perform ml._assess(
    table_in, table_out, prediction_col, observed_col, grouping_cols, 'number',
    'select {groups}avg((_prediction - _observed) / nullif(_observed, 0)) as mean_perc_error from data {by}'
  );
end;
$$;

comment on function ml.mean_perc_error(text, text, text, text, text) is $$
@behavior -*
Mean error as a fraction of the observed value; negative when predictions are too low. Rows observed as 0 do not count.
Writes `table_out`: the grouping columns and `mean_perc_error` (float8). Rows without a prediction or an observed value are left out.
Errors: CF001 (not finite numbers), CF002 (unknown table or column), CF003 (`table_out` exists), CF004 (no rows).
$$;

grant execute on function ml.mean_perc_error(text, text, text, text, text) to insights_admin, insights_worker;
--! EndIncluded ml/functions/mean_perc_error.sql
--! Included ml/functions/mean_abs_perc_error.sql
create or replace function ml.mean_abs_perc_error(
  table_in text,
  table_out text,
  prediction_col text,
  observed_col text,
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
  perform ml._assess(
    table_in, table_out, prediction_col, observed_col, grouping_cols, 'number',
    'select {groups}avg(abs((_prediction - _observed) / nullif(_observed, 0))) as mean_abs_perc_error from data {by}'
  );
end;
$$;

comment on function ml.mean_abs_perc_error(text, text, text, text, text) is $$
@behavior -*
Mean absolute error as a fraction of the observed value. Rows observed as 0 do not count.
Writes `table_out`: the grouping columns and `mean_abs_perc_error` (float8). Rows without a prediction or an observed value are left out.
Errors: CF001 (not finite numbers), CF002 (unknown table or column), CF003 (`table_out` exists), CF004 (no rows).
$$;

grant execute on function ml.mean_abs_perc_error(text, text, text, text, text) to insights_admin, insights_worker;
--! EndIncluded ml/functions/mean_abs_perc_error.sql
--! Included ml/functions/r2_score.sql
create or replace function ml.r2_score(
  table_in text,
  table_out text,
  prediction_col text,
  observed_col text,
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
  perform ml._assess(
    table_in, table_out, prediction_col, observed_col, grouping_cols, 'number',
    'select {groups}case when regr_syy(_observed, _observed) > 0 then 1 - sum((_prediction - _observed) ^ 2) / regr_syy(_observed, _observed) end as r2_score from data {by}'
  );
end;
$$;

comment on function ml.r2_score(text, text, text, text, text) is $$
@behavior -*
Coefficient of determination: 1 minus the squared error over the squared deviation from the mean; null when nothing varies.
Writes `table_out`: the grouping columns and `r2_score` (float8). Rows without a prediction or an observed value are left out.
Errors: CF001 (not finite numbers), CF002 (unknown table or column), CF003 (`table_out` exists), CF004 (no rows).
$$;

grant execute on function ml.r2_score(text, text, text, text, text) to insights_admin, insights_worker;
--! EndIncluded ml/functions/r2_score.sql
--! Included ml/functions/adjusted_r2_score.sql
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
  if num_predictors is null or training_size is null or num_predictors < 0 or training_size <= num_predictors + 1 then
    raise exception using errcode = 'CF001',
      message = format('%s rows and %s predictors leave no degree of freedom', coalesce(training_size::text, 'null'), coalesce(num_predictors::text, 'null')),
      hint = 'training_size must be larger than num_predictors + 1.';
  end if;
  perform ml._assess(
    table_in, table_out, prediction_col, observed_col, grouping_cols, 'number',
    format(
      'select {groups}r2 as r2_score, 1 - (1 - r2) * %s::float8 / %s as adjusted_r2_score from (
         select {groups}case when regr_syy(_observed, _observed) > 0 then 1 - sum((_prediction - _observed) ^ 2) / regr_syy(_observed, _observed) end as r2
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

grant execute on function ml.adjusted_r2_score(text, text, text, text, int, int, text) to insights_admin, insights_worker;
--! EndIncluded ml/functions/adjusted_r2_score.sql
--! Included ml/functions/log_loss.sql
create or replace function ml.log_loss(
  table_in text,
  table_out text,
  prediction_col text,
  observed_col text,
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
  perform ml._assess(
    table_in, table_out, prediction_col, observed_col, grouping_cols, 'probability',
    'select {groups}-avg(case when _observed = 1 then ln(greatest(_prediction, 1e-15)) else ln(greatest(1 - _prediction, 1e-15)) end) as log_loss from data {by}'
  );
end;
$$;

comment on function ml.log_loss(text, text, text, text, text) is $$
@behavior -*
Logarithmic loss of predicted probabilities, in nats; probabilities are kept 1e-15 away from 0 and 1.
Writes `table_out`: the grouping columns and `log_loss` (float8). Rows without a prediction or an observed value are left out.
Errors: CF001 (not finite numbers, probabilities or classes), CF002 (unknown table or column), CF003 (`table_out` exists), CF004 (no rows).
$$;

grant execute on function ml.log_loss(text, text, text, text, text) to insights_admin, insights_worker;
--! EndIncluded ml/functions/log_loss.sql
--! Included ml/functions/brier_score.sql
create or replace function ml.brier_score(
  table_in text,
  table_out text,
  prediction_col text,
  observed_col text,
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
  perform ml._assess(
    table_in, table_out, prediction_col, observed_col, grouping_cols, 'probability',
    'select {groups}avg((_prediction - _observed) ^ 2) as brier_score from data {by}'
  );
end;
$$;

comment on function ml.brier_score(text, text, text, text, text) is $$
@behavior -*
Brier score: mean squared distance of the predicted probability from what happened.
Writes `table_out`: the grouping columns and `brier_score` (float8). Rows without a prediction or an observed value are left out.
Errors: CF001 (not finite numbers, probabilities or classes), CF002 (unknown table or column), CF003 (`table_out` exists), CF004 (no rows).
Source: Brier, Verification of forecasts expressed in terms of probability, Monthly Weather Review 78, 1950.
$$;

grant execute on function ml.brier_score(text, text, text, text, text) to insights_admin, insights_worker;
--! EndIncluded ml/functions/brier_score.sql
--! Included ml/functions/area_under_roc.sql
create or replace function ml.area_under_roc(
  table_in text,
  table_out text,
  prediction_col text,
  observed_col text,
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
  perform ml._assess(
    table_in, table_out, prediction_col, observed_col, grouping_cols, 'score',
    $statement$
    , tally as (
      select {groups}_prediction, sum(_observed) as positives, count(*) - sum(_observed) as negatives
      from data
      group by {groups}_prediction
    ), running as (
      select *, sum(negatives) over ({partition} order by _prediction) as negatives_to_here
      from tally
    )
    select {groups}
      sum(positives * (negatives_to_here - negatives / 2)) / nullif(sum(positives) * sum(negatives), 0) as area_under_roc
    from running
    {by}
    $statement$
  );
end;
$$;

comment on function ml.area_under_roc(text, text, text, text, text) is $$
@behavior -*
Area under the receiver operating characteristic: the chance that a positive row scores above a negative one, ties counting half.
Writes `table_out`: the grouping columns and `area_under_roc` (float8 in 0..1; null for a group of one class).
Any score will do, larger for class 1; `observed_col` is boolean or 0 and 1.
Errors: CF001 (not finite, not a class), CF002, CF003 (`table_out` exists), CF004 (no rows, one class).
Source: Hanley and McNeil, The meaning and use of the area under a ROC curve, Radiology 143, 1982.
$$;

grant execute on function ml.area_under_roc(text, text, text, text, text) to insights_admin, insights_worker;
--! EndIncluded ml/functions/area_under_roc.sql
--! Included ml/functions/average_precision.sql
create or replace function ml.average_precision(
  table_in text,
  table_out text,
  prediction_col text,
  observed_col text,
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
  perform ml._assess(
    table_in, table_out, prediction_col, observed_col, grouping_cols, 'score',
    $statement$
    , tally as (
      select {groups}_prediction, sum(_observed) as positives, count(*) as row_count
      from data
      group by {groups}_prediction
    ), running as (
      select
        *,
        sum(positives) over ({partition} order by _prediction desc) as positives_to_here,
        sum(row_count) over ({partition} order by _prediction desc) as rows_to_here
      from tally
    )
    select {groups}
      sum(positives * positives_to_here / rows_to_here::float8) / nullif(sum(positives), 0) as average_precision
    from running
    {by}
    $statement$
  );
end;
$$;

comment on function ml.average_precision(text, text, text, text, text) is $$
@behavior -*
Average precision: the precision at every threshold, weighted by the recall that it adds; no interpolation, ties move together.
Writes `table_out`: the grouping columns and `average_precision` (float8 in 0..1; null for a group without a positive row).
Errors: CF001 (not finite, not a class), CF002, CF003 (`table_out` exists), CF004 (no rows, one class).
Source: the definition of scikit-learn's average_precision_score; Manning, Raghavan and Schütze, Introduction to Information Retrieval, 2008, chapter 8.
$$;

grant execute on function ml.average_precision(text, text, text, text, text) to insights_admin, insights_worker;
--! EndIncluded ml/functions/average_precision.sql
--! Included ml/functions/binary_classifier.sql
create or replace function ml.binary_classifier(
  table_in text,
  table_out text,
  prediction_col text,
  observed_col text,
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
  perform ml._assess(
    table_in, table_out, prediction_col, observed_col, grouping_cols, 'score',
    $statement$
    , tally as (
      select {groups}_prediction, sum(_observed)::bigint as positives, count(*) as row_count
      from data
      group by {groups}_prediction
    ), running as (
      select
        {groups}_prediction as threshold,
        (sum(positives) over above)::bigint as tp,
        (sum(row_count - positives) over above)::bigint as fp,
        (sum(positives) over whole - sum(positives) over above)::bigint as fn,
        (sum(row_count - positives) over whole - sum(row_count - positives) over above)::bigint as tn
      from tally
      window above as ({partition} order by _prediction desc), whole as ({partition})
    )
    select
      {groups}threshold, tp, fp, fn, tn,
      tp / nullif(tp + fn, 0)::float8 as tpr,
      tn / nullif(fp + tn, 0)::float8 as tnr,
      tp / nullif(tp + fp, 0)::float8 as ppv,
      tn / nullif(tn + fn, 0)::float8 as npv,
      fp / nullif(fp + tn, 0)::float8 as fpr,
      fp / nullif(fp + tp, 0)::float8 as fdr,
      fn / nullif(fn + tp, 0)::float8 as fnr,
      (tp + tn) / (tp + tn + fp + fn)::float8 as acc,
      2 * tp / nullif(2 * tp + fp + fn, 0)::float8 as f1
    from running
    order by {groups}threshold
    $statement$
  );
end;
$$;

comment on function ml.binary_classifier(text, text, text, text, text) is $$
@behavior -*
What becomes of a score at each of its values as the threshold: a row counts as predicted positive when its score is the threshold or more.
Writes `table_out`, one row a distinct score: the grouping columns, `threshold`, counts `tp`, `fp`, `fn`, `tn` (bigint) and rates `tpr`
(recall), `tnr`, `ppv` (precision), `npv`, `fpr`, `fdr`, `fnr`, `acc`, `f1` (float8; null where nothing is divided by nothing).
Errors: CF001 (not finite, not a class), CF002, CF003 (`table_out` exists), CF004 (no rows, one class).
$$;

grant execute on function ml.binary_classifier(text, text, text, text, text) to insights_admin, insights_worker;
--! EndIncluded ml/functions/binary_classifier.sql
--! Included ml/functions/confusion_matrix.sql
create or replace function ml.confusion_matrix(
  table_in text,
  table_out text,
  prediction_col text,
  observed_col text,
  grouping_cols text default null
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_relation regclass := ml._relation(table_in);
  v_output text := ml._output(table_out);
  v_groups text[] := ml._column_list(v_relation, grouping_cols, 'grouping columns');
  v_group_list text := array_to_string(v_groups, ', ');
  v_classes bigint;
begin
  perform ml._expression(prediction_col, v_relation, 'prediction column');
  perform ml._expression(observed_col, v_relation, 'observed column');
  execute format(
    'select count(distinct class) from (select (%s)::text from %s union all select (%s)::text from %s) as seen (class)',
    prediction_col, v_relation, observed_col, v_relation
  ) into v_classes;
  if v_classes = 0 then
    raise exception using errcode = 'CF004', message = format('"%s" has no class in "%s" or "%s"', v_relation, left(prediction_col, 100), left(observed_col, 100)),
      hint = 'A confusion matrix needs rows.';
  elsif v_classes > 1000 then
    raise exception using errcode = 'CF008', message = format('%s classes', v_classes),
      hint = 'A confusion matrix of more than 1000 classes is not made; is a column continuous?';
  end if;
  execute format(
    $query$
    create table %1$s as
    with tally as (
      select %2$s (%3$s)::text as _predicted, (%4$s)::text as _observed, count(*) as _row_count
      from %5$s
      where (%3$s) is not null
        and (%4$s) is not null
      group by %2$s (%3$s)::text, (%4$s)::text
    ), class as (
      -- Numbers in the order of numbers, names in that of names.
      select class, row_number() over (order by case when class ~ '^-?[0-9]{1,18}$' then class::bigint end, class collate "C") as row_id
      from (select _predicted from tally union select _observed from tally) as seen (class)
    ), place as (
      select distinct %6$s
      from tally
    )
    select %7$s observed.row_id, observed.class, array_agg(coalesce(tally._row_count, 0) order by predicted.row_id) as confusion_arr
    from place
    cross join class as observed
    cross join class as predicted
    left join tally on tally._observed = observed.class and tally._predicted = predicted.class %8$s
    group by %7$s observed.row_id, observed.class
    order by %7$s observed.row_id
    $query$,
    v_output,
    v_group_list || case when v_groups = '{}' then '' else ',' end,
    prediction_col, observed_col, v_relation,
    case when v_groups = '{}' then 'true as everything' else v_group_list end,
    (select coalesce(string_agg(format('place.%s, ', name), '' order by position), '') from unnest(v_groups) with ordinality as part (name, position)),
    (select coalesce(string_agg(format(' and tally.%1$s is not distinct from place.%1$s', name), '' order by position), '') from unnest(v_groups) with ordinality as part (name, position))
  );
end;
$$;

comment on function ml.confusion_matrix(text, text, text, text, text) is $$
@behavior -*
How often each observed class was predicted as each class.
Writes `table_out`, one row a class (and group): the grouping columns, `row_id`, `class` (text; the observed one) and `confusion_arr`
(bigint[]: rows predicted as class 1, 2, … in the order of `row_id`, which is that of numbers or names).
Errors: CF001, CF002, CF003 (`table_out` exists), CF004 (no rows), CF008 (more than 1000 classes).
$$;

grant execute on function ml.confusion_matrix(text, text, text, text, text) to insights_admin, insights_worker;
--! EndIncluded ml/functions/confusion_matrix.sql
--! Included ml/functions/calibration_curve.sql
create or replace function ml.calibration_curve(
  table_in text,
  table_out text,
  prediction_col text,
  observed_col text,
  grouping_cols text default null,
  bins int default 10,
  strategy text default 'uniform'
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
begin
  if bins is null or bins not between 2 and 1000 then
    raise exception using errcode = 'CF001', message = format('%s bins', coalesce(bins::text, 'null')), hint = 'Choose 2 to 1000 bins.';
  end if;
  if strategy is null or strategy not in ('uniform', 'quantile') then
    raise exception using errcode = 'CF001', message = format('there is no strategy "%s"', coalesce(left(strategy, 100), 'null')),
      hint = 'Choose uniform (equal widths) or quantile (equal numbers of rows).';
  end if;
  perform ml._assess(
    table_in, table_out, prediction_col, observed_col, grouping_cols, 'probability',
    replace(
      $statement$
      , tally as (
        select {groups}_prediction, sum(_observed) as positives, count(*) as row_count
        from data
        group by {groups}_prediction
      ), placed as (
        select *, {bin} as bin
        from tally
      ), counted as (
        select
          {groups}bin,
          min(_prediction) as lowest,
          max(_prediction) as highest,
          sum(row_count)::bigint as num_rows,
          sum(_prediction * row_count) / sum(row_count)::float8 as mean_predicted,
          sum(positives) / sum(row_count)::float8 as fraction_positive
        from placed
        group by {groups}bin
      )
      select
        *,
        (fraction_positive + 1.9207294 / num_rows - 1.959964 * sqrt(fraction_positive * (1 - fraction_positive) / num_rows + 0.9603647 / num_rows ^ 2))
          / (1 + 3.8414588 / num_rows) as lower_95,
        (fraction_positive + 1.9207294 / num_rows + 1.959964 * sqrt(fraction_positive * (1 - fraction_positive) / num_rows + 0.9603647 / num_rows ^ 2))
          / (1 + 3.8414588 / num_rows) as upper_95
      from counted
      order by {groups}bin
      $statement$,
      '{bin}',
      case strategy
        when 'uniform' then format('least(floor(_prediction * %s)::int + 1, %s)', bins, bins)
        -- Equal scores belong together, so a score goes where the middle of its rows lies.
        else format(
          'least(floor((sum(row_count) over ({partition} order by _prediction) - row_count / 2.0) * %s / sum(row_count) over ({partition}))::int + 1, %s)',
          bins, bins
        )
      end
    )
  );
end;
$$;

comment on function ml.calibration_curve(text, text, text, text, text, int, text) is $$
@behavior -*
How often the predicted happens: probabilities in bins of equal width (`uniform`) or of equal numbers of rows (`quantile`) against the share observed.
Writes `table_out`: the grouping columns, `bin` (1..bins; empty ones are left out), `lowest` and `highest` prediction, `num_rows`,
`mean_predicted`, `fraction_positive` and its 95 % Wilson interval `lower_95`, `upper_95`.
Errors: CF001 (bins, strategy, not probabilities or classes), CF002, CF003 (`table_out` exists), CF004 (no rows).
Source of the interval: Wilson, Probable inference, Journal of the American Statistical Association 22, 1927.
$$;

grant execute on function ml.calibration_curve(text, text, text, text, text, int, text) to insights_admin, insights_worker;
--! EndIncluded ml/functions/calibration_curve.sql
--! Included ml/functions/lift.sql
create or replace function ml.lift(
  table_in text,
  table_out text,
  prediction_col text,
  observed_col text,
  grouping_cols text default null,
  buckets int default 10
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
begin
  if buckets is null or buckets not between 1 and 1000 then
    raise exception using errcode = 'CF001', message = format('%s buckets', coalesce(buckets::text, 'null')), hint = 'Choose 1 to 1000 buckets.';
  end if;
  perform ml._assess(
    table_in, table_out, prediction_col, observed_col, grouping_cols, 'score',
    replace(
      $statement$
      , tally as (
        select {groups}_prediction, sum(_observed) as positives, count(*) as row_count
        from data
        group by {groups}_prediction
      ), placed as (
        select
          *,
          least(floor((sum(row_count) over ({partition} order by _prediction desc) - row_count / 2.0) * {buckets} / sum(row_count) over ({partition}))::int + 1, {buckets}) as bucket
        from tally
      ), counted as (
        select
          {groups}bucket, min(_prediction) as lowest, max(_prediction) as highest,
          sum(row_count)::bigint as num_rows, sum(positives)::bigint as positives
        from placed
        group by {groups}bucket
      )
      select
        *,
        positives / num_rows::float8 as rate,
        positives / num_rows::float8 / nullif(sum(positives) over whole / (sum(num_rows) over whole)::float8, 0) as lift,
        (sum(positives) over above / (sum(num_rows) over above)::float8) / nullif(sum(positives) over whole / (sum(num_rows) over whole)::float8, 0) as cumulative_lift,
        (sum(positives) over above / nullif(sum(positives) over whole, 0))::float8 as captured
      from counted
      window above as ({partition} order by bucket), whole as ({partition})
      order by {groups}bucket
      $statement$,
      '{buckets}', buckets::text
    )
  );
end;
$$;

comment on function ml.lift(text, text, text, text, text, int) is $$
@behavior -*
What acting on the highest scores first would gain: rows in buckets of equal size from the highest score down.
Writes `table_out`: the grouping columns, `bucket` (1 = highest scores), `lowest` and `highest` score, `num_rows`, `positives`, `rate` of
positives, `lift` (rate over the rate of all rows), `cumulative_lift` of this bucket and those above, and `captured`, the share of all positives that they hold.
Equal scores stay together, so buckets may differ in size. Errors: CF001, CF002, CF003 (`table_out` exists), CF004 (no rows, one class).
$$;

grant execute on function ml.lift(text, text, text, text, text, int) to insights_admin, insights_worker;
--! EndIncluded ml/functions/lift.sql
--! Included ml/functions/bootstrap_interval.sql
do $$
begin
  if to_regtype('ml.bootstrap_estimate') is null then
    create type ml.bootstrap_estimate as (
      estimate float8,
      std_err float8,
      lower float8,
      upper float8,
      resamples int
    );
  end if;
end;
$$;

comment on type ml.bootstrap_estimate is $$
A statistic of a sample with its bootstrap standard error and percentile interval.
$$;
comment on column ml.bootstrap_estimate.estimate is $$The statistic of the sample itself.$$;
comment on column ml.bootstrap_estimate.std_err is $$Standard deviation of the statistic over the resamples.$$;
comment on column ml.bootstrap_estimate.lower is $$Lower end of the percentile interval.$$;
comment on column ml.bootstrap_estimate.upper is $$Upper end of the percentile interval.$$;
comment on column ml.bootstrap_estimate.resamples is $$Number of resamples in which the statistic was not null.$$;

create or replace function ml.bootstrap_interval(
  source_table text,
  statistic text,
  resamples int default 1000,
  confidence float8 default 0.95,
  cluster_col text default null,
  seed int default 0
)
returns ml.bootstrap_estimate
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_relation regclass := ml._relation(source_table);
  v_cluster text;
  v_units bigint;
  v_cursor refcursor;
  v_value float8;
  v_values float8[] := '{}';
  v_result ml.bootstrap_estimate;
begin
  if resamples is null or resamples not between 20 and 100000 then
    raise exception using errcode = 'CF001', message = format('%s resamples', coalesce(resamples::text, 'null')), hint = 'Choose 20 to 100000.';
  end if;
  if confidence is null or not (confidence > 0 and confidence < 1) then
    raise exception using errcode = 'CF001', message = format('confidence %s', coalesce(confidence::text, 'null')), hint = 'Choose a number between 0 and 1, such as 0.95.';
  end if;
  if statistic is null then
    raise exception using errcode = 'CF001', message = 'the statistic is null', hint = 'Give an aggregate, such as avg(score).';
  end if;
  perform ml._split(statistic);
  v_cluster := case when cluster_col is null then 'row_number() over ()' else ml._column(v_relation, cluster_col, 'cluster column') end;
  begin
    open v_cursor no scroll for execute format('select (%s)::float8 from %s', statistic, v_relation);
    fetch v_cursor into v_result.estimate;
    move v_cursor;
    if found then
      raise exception using errcode = 'CF001', message = format('"%s" gives more than one row', left(statistic, 100)), hint = 'Give an aggregate, such as avg(score).';
    end if;
    close v_cursor;
  exception
    when undefined_column then
      raise exception using errcode = 'CF002', message = format('statistic "%s": %s', left(statistic, 100), left(sqlerrm, 100)),
        hint = format('The columns of %s are %s.', v_relation, array_to_string(ml._columns(v_relation), ', '));
    when undefined_function or grouping_error or syntax_error or cannot_coerce or invalid_text_representation then
      raise exception using errcode = 'CF001', message = format('statistic "%s": %s', left(statistic, 100), left(sqlerrm, 100)), hint = 'Give one aggregate that is a number, such as avg(score).';
  end;
  if cluster_col is null then
    execute format('create temp table _ml_bootstrap on commit drop as select *, row_number() over () as _unit from %s', v_relation);
  else
    execute format('create temp table _ml_bootstrap on commit drop as select *, dense_rank() over (order by %s) as _unit from %s', v_cluster, v_relation);
  end if;
  execute 'create index on pg_temp._ml_bootstrap (_unit)';
  execute 'select count(distinct _unit) from pg_temp._ml_bootstrap' into v_units;
  if v_units < 2 then
    raise exception using errcode = 'CF004', message = format('"%s" has %s %s to draw from', v_relation, v_units, case when cluster_col is null then 'rows' else 'clusters' end),
      hint = 'A bootstrap needs at least two.';
  end if;
  execute 'analyze pg_temp._ml_bootstrap';
  for v_resample in 1..resamples loop
    execute format(
      $query$
      with draw as materialized (
        select (('x' || substr(md5(%s || '/' || %s || '/' || position), 1, 15))::bit(60)::bigint %% %s) + 1 as _unit
        from generate_series(1, %s) as position
      )
      select (%s)::float8
      from draw
      join pg_temp._ml_bootstrap using (_unit)
      $query$,
      seed, v_resample, v_units, v_units, statistic
    ) into v_value;
    v_values := v_values || v_value;
  end loop;
  drop table pg_temp._ml_bootstrap;
  select stddev_samp(value), percentile_cont((1 - confidence) / 2) within group (order by value), percentile_cont((1 + confidence) / 2) within group (order by value), count(value)
  into v_result.std_err, v_result.lower, v_result.upper, v_result.resamples
  from unnest(v_values) as value;
  return v_result;
end;
$$;

comment on function ml.bootstrap_interval(text, text, int, float8, text, int) is $$
@behavior -*
Standard error and percentile interval of any aggregate, such as `avg(score)` or `corr(x, y)`, by drawing the rows again with replacement.
With `cluster_col` whole clusters are drawn (all rows of a person, all persons of a course), which is right where rows of a cluster resemble each other.
The same seed gives the same answer for the same rows in the same order. Resamples in which the statistic is null do not count (see `resamples`).
Errors: CF001 (resamples, confidence, not one aggregate), CF002 (unknown table or column), CF004 (fewer than two rows or clusters).
Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 6 and 13.
$$;

grant execute on function ml.bootstrap_interval(text, text, int, float8, text, int) to insights_admin, insights_worker;
--! EndIncluded ml/functions/bootstrap_interval.sql
--! Included ml/functions/_tree_prepare.sql
/*
 * Trees look at features through bins. A bin is an integer code, 1024 · feature + bin, where bin 0 is «missing», so
 * that codes of one feature compare like its values, missing ones first, and the union of all features' codes is one
 * key space: a histogram needs no second column to say which feature it is of.
 */
create or replace function ml._tree_prepare(
  relation regclass,
  id_expression text,
  dependent_expression text,
  weight_expression text,
  validation_expression text,
  features text[],
  max_bins int,
  seed bigint
)
returns bigint
language plpgsql
set jit to off
set client_min_messages to warning
as $$
declare
  v_feature text;
  v_type regtype;
  v_columns text[] := '{}';
  v_codes text[] := '{}';
  v_position int := 0;
  v_edges float8[];
  v_categories text[];
  v_rows bigint;
  v_kept bigint;
  v_sample text;
  v_seen record;
begin
  if max_bins is null or max_bins not between 2 and 500 then
    raise exception using errcode = 'CF001', message = format('%s bins', coalesce(max_bins::text, 'null')), hint = 'Choose 2 to 500 bins; 64 is a good number.';
  end if;
  if array_length(features, 1) > 1500 then
    raise exception using errcode = 'CF008', message = format('%s features', array_length(features, 1)), hint = 'Trees take up to 1500 features.';
  end if;
  drop table if exists pg_temp._ml_tree_feature, pg_temp._ml_tree_source, pg_temp._ml_tree_row, pg_temp._ml_tree_node, pg_temp._ml_tree_histogram, pg_temp._ml_tree_split;
  create temp table _ml_tree_feature (
    feature int primary key,
    name text not null,
    category boolean not null,
    edges float8[],
    categories text[]
  ) on commit drop;

  foreach v_feature in array features loop
    v_position := v_position + 1;
    v_type := ml._expression(v_feature, relation, 'feature');
    if v_type in ('text'::regtype, 'character varying'::regtype, 'character'::regtype, 'name'::regtype, 'uuid'::regtype)
      or (select typtype = 'e' from pg_catalog.pg_type where oid = v_type) then
      insert into pg_temp._ml_tree_feature values (v_position, v_feature, true, null, null);
      v_columns := v_columns || format('(%s)::text as x%s', v_feature, v_position);
    else
      insert into pg_temp._ml_tree_feature values (v_position, v_feature, false, null, null);
      v_columns := v_columns || format('nullif(%s, ''NaN'') as x%s', ml._numeric_expression(v_feature, relation, 'feature'), v_position);
    end if;
  end loop;

  -- The source, which may be an expensive view, is read once.
  execute format(
    'create temp table _ml_tree_source on commit drop as
     select hashtextextended(coalesce((%s)::text, ''''), %s) as key, %s as y, %s as weight, %s as valid, %s from %s',
    id_expression, seed, dependent_expression, coalesce(weight_expression, '1::float8'), coalesce('coalesce((' || validation_expression || '), false)', 'false'),
    array_to_string(v_columns, ', '), relation
  );
  select count(*), count(*) filter (where y is not null and weight is not null and not valid) as training,
    count(*) filter (where weight < 0 or weight = 'NaN' or weight = 'Infinity') as bad_weights
  into v_seen
  from pg_temp._ml_tree_source;
  v_rows := v_seen.count;
  if v_seen.training = 0 then
    raise exception using errcode = 'CF004', message = format('"%s" has no row to train on', relation),
      hint = 'Rows need a dependent variable, and not all of them may be for validation.';
  end if;
  if v_seen.bad_weights > 0 then
    raise exception using errcode = 'CF001', message = format('%s rows have a negative or non-finite weight', v_seen.bad_weights), hint = 'Weights are finite and 0 or more.';
  end if;

  -- Quantiles of 100,000 rows are as good as those of all.
  v_sample := case when v_seen.training > 150000 then format('and key & 1048575 < %s', (1048576 * 100000.0 / v_seen.training)::bigint) else '' end;
  for v_seen in select * from pg_temp._ml_tree_feature order by feature loop
    if v_seen.category then
      execute format(
        'select array_agg(value order by value) from (
           select x%1$s as value from pg_temp._ml_tree_source where x%1$s is not null and y is not null and not valid %2$s
           group by 1 order by count(*) desc, x%1$s limit %3$s
         ) as frequent',
        v_seen.feature, v_sample, max_bins
      ) into v_categories;
      v_categories := coalesce(v_categories, '{}');
      update pg_temp._ml_tree_feature set categories = v_categories where feature = v_seen.feature;
      v_codes := v_codes || format('(%s + coalesce(array_position(%L::text[], x%s), 0))::int as f%s', v_seen.feature * 1024, v_categories, v_seen.feature, v_seen.feature);
    else
      -- Values with more than their share of the rows get a bin each, the others share the rest evenly; edges lie halfway.
      execute format(
        $query$
        with tally as (
          select x%1$s as value, count(*)::float8 as row_count
          from pg_temp._ml_tree_source
          where x%1$s is not null
            and y is not null
            and not valid %2$s
          group by 1
        ), marked as (
          select *, count(*) over () <= %3$s or row_count > sum(row_count) over () / %3$s as heavy
          from tally
        ), placed as (
          select
            value, heavy,
            count(*) filter (where heavy) over (order by value) as heavies_to_here,
            count(*) filter (where heavy) over () as heavies,
            sum(row_count) filter (where not heavy) over (order by value) as light_to_here,
            sum(row_count) filter (where not heavy) over () as light
          from marked
        ), bin as (
          select min(value) as lowest, max(value) as highest
          from placed
          group by heavies_to_here, heavy, case when not heavy then ceil(light_to_here * (%3$s - heavies) / light) end
        ), edge as (
          select lowest, lag(highest) over (order by lowest) as below
          from bin
        )
        select coalesce(array_agg(case when (below + lowest) / 2 > below and (below + lowest) / 2 < 'Infinity' then (below + lowest) / 2 else lowest end order by lowest), '{}')
        from edge
        where below is not null
        $query$,
        v_seen.feature, v_sample, max_bins
      ) into v_edges;
      update pg_temp._ml_tree_feature set edges = v_edges where feature = v_seen.feature;
      v_codes := v_codes || case
        when v_edges = '{}' then format('(%s + (x%s is not null)::int)::int as f%s', v_seen.feature * 1024, v_seen.feature, v_seen.feature)
        else format('(%s + coalesce(width_bucket(x%s, %L::float8[]) + 1, 0))::int as f%s', v_seen.feature * 1024, v_seen.feature, v_edges, v_seen.feature)
      end;
    end if;
  end loop;
  execute format(
    'create temp table _ml_tree_row on commit drop as select key, y, weight, valid, %s from pg_temp._ml_tree_source where y is not null and weight is not null',
    array_to_string(v_codes, ', ')
  );
  get diagnostics v_kept = row_count;
  drop table pg_temp._ml_tree_source;
  return v_rows - v_kept;
end;
$$;

comment on function ml._tree_prepare(regclass, text, text, text, text, text[], int, bigint) is $$
Reads the source of a training once and cuts its features into bins.
Makes the temporary tables `_ml_tree_feature` (bins of each feature) and `_ml_tree_row` (key, y, weight, valid, one code a feature), and returns the
number of rows left out for want of a dependent variable or weight.
Numbers and booleans are cut at quantiles, NaN counts as missing; text, enum and uuid are categories, the rarer ones beyond `max_bins` count as missing.
Errors: CF001, CF002, CF004 (no rows), CF008 (too many features).
$$;

create or replace function ml._tree_features(
  relation regclass,
  list_of_features text,
  list_of_features_to_exclude text,
  others text[]
)
returns text[]
language plpgsql
stable
as $$
declare
  v_excluded text[] := ml._column_list(relation, list_of_features_to_exclude, 'features to exclude');
  v_features text[];
begin
  if list_of_features is null or btrim(list_of_features) = '' then
    raise exception using errcode = 'CF001', message = 'the list of features is null or empty', hint = 'Name columns or expressions, separated by commas, or *.';
  end if;
  if btrim(list_of_features) = '*' then
    select array_agg(quote_ident(name) order by position)
    into v_features
    from unnest(ml._columns(relation)) with ordinality as stored (name, position)
    where not quote_ident(name) = any (v_excluded)
      and not name = any (array_remove(others, null))
      and not quote_ident(name) = any (array_remove(others, null));
  else
    select array_agg(name order by position)
    into v_features
    from unnest(ml._split(list_of_features)) with ordinality as part (name, position)
    where not name = any (v_excluded);
  end if;
  if v_features is null then
    raise exception using errcode = 'CF004', message = 'no feature is left', hint = 'Name at least one column that is neither the id, the dependent variable nor excluded.';
  end if;
  return v_features;
end;
$$;

comment on function ml._tree_features(regclass, text, text, text[]) is $$
The features of a list, or with `*` all columns that are not excluded and not among `others` (id, dependent variable, groups).
$$;

grant execute on function ml._tree_prepare(regclass, text, text, text, text, text[], int, bigint), ml._tree_features(regclass, text, text, text[])
  to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/functions/_tree_prepare.sql
--! Included ml/functions/_tree_grow.sql
/*
 * One tree, level by level. What a split can be judged by is a histogram: for every bin of every feature in every
 * open node the sums of the outputs, of the weight and of the rows. One scan with one grouping set a feature gives
 * all of a level (the idea of JoinBoost: a tree needs nothing but `sum … group by`); only the smaller child of each
 * split is scanned, the other is its parent less that. The tree so far is part of the statement, as nested CASE.
 */
create or replace function ml._tree_grow(
  features int[],
  outputs int,
  criterion text,
  lambda float8,
  min_gain float8,
  max_depth int,
  min_rows int,
  min_split int,
  min_weight float8,
  features_per_node int,
  seed bigint
)
returns text
language plpgsql
set search_path to pg_catalog, pg_temp
set jit to off
set client_min_messages to warning
-- A limit for the planner, so that it hashes all grouping sets in one scan: what is used is a few kB a node and feature.
set work_mem to '256MB'
as $$
declare
  v_columns text := (select string_agg('f' || feature, ', ') from unnest(features) as feature);
  v_sets text := (select string_agg(format('(node, f%s)', feature), ', ') from unnest(features) as feature);
  v_sums text := (select string_agg(format('sum(s%1$s) as s%1$s', k), ', ' order by k) from generate_series(1, outputs) as k);
  v_outputs text := (select string_agg('s' || k, ', ' order by k) from generate_series(1, outputs) as k);
  v_difference text := (select string_agg(format('parent.s%1$s - coalesce(child.s%1$s, 0)', k), ', ' order by k) from generate_series(1, outputs) as k);
  v_running text := (select string_agg(format('sum(s%1$s) over running as s%1$s', k), ', ' order by k) from generate_series(1, outputs) as k);
  v_score text := case criterion
    when 'entropy' then '(' || (select string_agg(format('coalesce({0}%1$s * ln(nullif(greatest({0}%1$s, 0), 0) / {0}h), 0)', k), ' + ' order by k) from generate_series(1, outputs) as k) || ')'
    when 'misclassification' then 'greatest(' || (select string_agg(format('{0}%s', k), ', ' order by k) from generate_series(1, outputs) as k) || ')'
    else '(' || (select string_agg(format('{0}%1$s * {0}%1$s', k), ' + ' order by k) from generate_series(1, outputs) as k) || format(') / nullif({0}h + %s, 0)', lambda)
  end;
  v_case text := '0';
  v_level int := 0;
  v_open bigint;
  v_next int := 1;
begin
  -- The working tables are made once a training and emptied for each tree.
  execute format(
    'create temp table if not exists _ml_tree_node (node int, parent int, depth int, feature int, cut int, codes int[], missing_left boolean,
       left_node int, right_node int, gain float8, %1$s, h float8, n bigint, open boolean, scanned boolean) on commit drop;
     create temp table if not exists _ml_tree_histogram (node int, code int, %1$s, h float8, n float8) on commit drop;
     create temp table if not exists _ml_tree_split (node int, feature int, cut int, codes int[], missing_left boolean, gain float8, left_node int, depth int,
       %2$s, lh float8, ln float8, rh float8, rn float8) on commit drop',
    (select string_agg(format('s%s float8', k), ', ' order by k) from generate_series(1, outputs) as k),
    (select string_agg(format('l%1$s float8, r%1$s float8', k), ', ' order by k) from generate_series(1, outputs) as k)
  );
  truncate pg_temp._ml_tree_node, pg_temp._ml_tree_histogram;
  execute format(
    'insert into pg_temp._ml_tree_node (node, depth, %s, h, n, open, scanned)
     select 0, 0, %s, coalesce(sum(h), 0), count(*), true, true from pg_temp._ml_tree_work where used',
    v_outputs, v_sums
  );
  while v_level < max_depth loop
    execute format('update pg_temp._ml_tree_node set open = false where open and n < %s', greatest(min_split, 2 * min_rows));
    execute 'select count(*) from pg_temp._ml_tree_node where open' into v_open;
    exit when v_open = 0;

    execute format(
      'insert into pg_temp._ml_tree_histogram
       select node, coalesce(%1$s), %2$s, sum(h), count(*)::float8
       from (select %3$s as node, %4$s, h, %1$s from pg_temp._ml_tree_work where used offset 0) as placed
       where node is not null
       group by grouping sets (%5$s)',
      v_columns, v_sums, v_case, v_outputs, v_sets
    );
    if v_level > 0 then
      execute format(
        'insert into pg_temp._ml_tree_histogram
         select larger.node, parent.code, %s, parent.h - coalesce(child.h, 0), parent.n - coalesce(child.n, 0)
         from pg_temp._ml_tree_node as larger
         join pg_temp._ml_tree_node as smaller on smaller.parent = larger.parent and smaller.node <> larger.node
         join pg_temp._ml_tree_histogram as parent on parent.node = larger.parent
         left join pg_temp._ml_tree_histogram as child on child.node = smaller.node and child.code = parent.code
         where larger.open and not larger.scanned and larger.depth = %s
           and parent.n > coalesce(child.n, 0)',
        v_difference, v_level
      );
      execute format('delete from pg_temp._ml_tree_histogram where node in (select node from pg_temp._ml_tree_node where depth < %s)', v_level);
    end if;

    truncate pg_temp._ml_tree_split;
    execute format(
      $query$
      insert into pg_temp._ml_tree_split
      with bin as materialized (
        select
          histogram.*, feature.feature, feature.category,
          case when histogram.code = feature.feature * 1024 then '-Infinity' when feature.category then histogram.s1 / (histogram.h + %1$s) else histogram.code end as place
        from pg_temp._ml_tree_histogram as histogram
        join pg_temp._ml_tree_node as node on node.node = histogram.node and node.open
        join pg_temp._ml_tree_feature as feature on feature.feature = histogram.code / 1024
        %2$s
      ), running as (
        -- Missing values come first: each prefix of the bins is a left side with them, and less the first one a left side without.
        select
          node, feature, code, category, place,
          lead(code) over running as next_code,
          first_value(code) over running = feature * 1024 as has_missing,
          %3$s, sum(h) over running as h, sum(n) over running as n,
          %4$s, first_value(h) over running as first_h, first_value(n) over running as first_n
        from bin
        window running as (partition by node, feature order by place, code rows unbounded preceding)
      ), side as (
        select
          running.node, running.feature, running.code, running.category, running.place, running.next_code, running.has_missing,
          node.depth, %5$s as before, way.missing_left, way.lh, way.ln, %6$s, %7$s, node.h - way.lh as rh, node.n - way.ln as rn
        from running
        join pg_temp._ml_tree_node as node on node.node = running.node
        cross join lateral (
          select true as missing_left, running.h as lh, running.n as ln, %8$s
          where running.next_code is not null
            and running.code > running.feature * 1024
          union all
          select false, running.h - running.first_h, running.n - running.first_n, %9$s
          where running.has_missing
        ) as way
        where way.ln >= %12$s and node.n - way.ln >= %12$s
          and way.lh >= %13$s and node.h - way.lh >= %13$s
      ), judged as (
        select *, %10$s + %11$s - before as gain
        from side
      ), best as (
        select distinct on (node) *
        from judged
        where gain > %14$s + 1e-9 * (abs(gain + before) + abs(before))
        order by node, gain desc, feature, code, missing_left
      ), subset as (
        select best.node, array_agg(bin.code order by bin.code) as codes
        from best
        join bin on bin.node = best.node and bin.feature = best.feature
        where best.category
          and bin.code > bin.feature * 1024
          and (bin.place, bin.code) <= (best.place, best.code)
        group by best.node
      )
      select
        best.node, best.feature,
        -- Codes from here on go right; beyond all codes when only missing values do.
        case when not category then coalesce(next_code, feature * 1024 + 1023) end,
        subset.codes,
        -- Where nothing was missing, what is missing later goes where most rows went.
        case when has_missing then missing_left else ln >= rn end,
        gain, %15$s + 2 * (row_number() over (order by best.node) - 1), depth, %16$s, lh, ln, rh, rn
      from best
      left join subset on subset.node = best.node
      $query$,
      greatest(lambda, 1e-12),
      case when features_per_node is not null then format(
        'join (
           select node.node, feature.feature, row_number() over (partition by node.node order by hashint8extended(feature.feature, hashint8extended(node.node, %s))) as draw
           from pg_temp._ml_tree_node as node
           cross join pg_temp._ml_tree_feature as feature
           where node.open
             and (cardinality(feature.edges) > 0 or cardinality(feature.categories) > 0)
         ) as drawn on drawn.node = histogram.node and drawn.feature = histogram.code / 1024 and drawn.draw <= %s',
        seed, features_per_node
      ) else '' end,
      v_running,
      (select string_agg(format('first_value(s%1$s) over running as first_%1$s', k), ', ' order by k) from generate_series(1, outputs) as k),
      replace(replace(v_score, '{0}h', 'node.h'), '{0}', 'node.s'),
      (select string_agg(format('way.l%1$s', k), ', ' order by k) from generate_series(1, outputs) as k),
      (select string_agg(format('node.s%1$s - way.l%1$s as r%1$s', k), ', ' order by k) from generate_series(1, outputs) as k),
      (select string_agg(format('running.s%1$s as l%1$s', k), ', ' order by k) from generate_series(1, outputs) as k),
      (select string_agg(format('running.s%1$s - running.first_%1$s', k), ', ' order by k) from generate_series(1, outputs) as k),
      replace(v_score, '{0}', 'l'), replace(v_score, '{0}', 'r'),
      min_rows, min_weight, min_gain, v_next,
      (select string_agg(format('l%1$s, r%1$s', k), ', ' order by k) from generate_series(1, outputs) as k)
    );
    execute 'select count(*) from pg_temp._ml_tree_split' into v_open;
    exit when v_open = 0;
    v_next := v_next + 2 * v_open;
    v_level := v_level + 1;
    execute
      'update pg_temp._ml_tree_node as node
       set feature = split.feature, cut = split.cut, codes = split.codes, missing_left = split.missing_left, gain = split.gain,
         left_node = split.left_node, right_node = split.left_node + 1
       from pg_temp._ml_tree_split as split
       where split.node = node.node';
    execute format(
      'update pg_temp._ml_tree_node set open = false where open;
       insert into pg_temp._ml_tree_node (node, parent, depth, %s, h, n, open, scanned)
       select left_node, node, depth + 1, %s, lh, ln, true, ln <= rn from pg_temp._ml_tree_split
       union all
       select left_node + 1, node, depth + 1, %s, rh, rn, true, ln > rn from pg_temp._ml_tree_split',
      v_outputs,
      (select string_agg('l' || k, ', ' order by k) from generate_series(1, outputs) as k),
      (select string_agg('r' || k, ', ' order by k) from generate_series(1, outputs) as k)
    );
    v_case := ml._tree_case('case when open and scanned then node::text else ''null::int'' end');
  end loop;
  return ml._tree_case('node::text');
end;
$$;

comment on function ml._tree_grow(int[], int, text, float8, float8, int, int, int, float8, int, bigint) is $$
Grows one tree on `_ml_tree_work` (used, s1…, h, one code a feature) into the temporary table `_ml_tree_node`; returns the CASE that finds a row's leaf.
`criterion` squares (with s = gradients and h = second derivatives: the gain of gradient boosting; with s = y, h = weight: least squares; with
s = indicators of classes: Gini), `entropy` or `misclassification`. Missing values try both sides; categories are ordered by their mean.
Source: Chen and Guestrin, XGBoost, KDD 2016; Huang and others, JoinBoost, SIGMOD 2023; Fisher, On grouping for maximum homogeneity, 1958.
$$;

create or replace function ml._tree_case(leaf text)
returns text
language plpgsql
set search_path to pg_catalog, pg_temp
as $$
declare
  v_node record;
  v_texts text[];
  v_text text;
begin
  execute 'select array_fill(null::text, array[max(node) + 1]) from pg_temp._ml_tree_node' into v_texts;
  -- Children have larger numbers than their parents, so going down the numbers every branch is there before it is needed.
  for v_node in execute format('select node, feature, cut, codes, missing_left, left_node, right_node, %s as leaf from pg_temp._ml_tree_node order by node desc', leaf) loop
    if v_node.feature is null then
      v_text := v_node.leaf;
    elsif v_texts[v_node.left_node + 1] = v_texts[v_node.right_node + 1] then
      v_text := v_texts[v_node.left_node + 1];
    else
      v_text := format(
        'case when %s then %s else %s end',
        case
          when v_node.codes is not null then format('f%s in (%s)', v_node.feature, array_to_string(v_node.codes || case when v_node.missing_left then v_node.feature * 1024 end, ', '))
          when v_node.missing_left then format('f%s < %s', v_node.feature, v_node.cut)
          else format('f%1$s > %2$s and f%1$s < %3$s', v_node.feature, v_node.feature * 1024, v_node.cut)
        end,
        v_texts[v_node.left_node + 1],
        v_texts[v_node.right_node + 1]
      );
    end if;
    v_texts[v_node.node + 1] := v_text;
  end loop;
  return v_texts[1];
end;
$$;

comment on function ml._tree_case(text) is $$
The tree in `_ml_tree_node` as nested CASE over the codes f1, f2, …; `leaf` is SQL over the node that gives the text of a leaf.
$$;

grant execute on function ml._tree_grow(int[], int, text, float8, float8, int, int, int, float8, int, bigint), ml._tree_case(text)
  to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/functions/_tree_grow.sql
--! Included ml/functions/_tree_expression.sql
/*
 * Prediction is one statement: each tree becomes a nested CASE over the features, evaluated while the new rows are
 * scanned once, in parallel where the server likes.
 */
create or replace function ml._tree_expression(
  nodes text,
  tree int,
  positions jsonb,
  categories jsonb,
  leaf text
)
returns text
language plpgsql
stable
as $$
declare
  v_node record;
  v_texts text[];
  v_text text;
  v_column text;
begin
  execute format('select array_fill(null::text, array[max(node) + 1]) from %s where tree = $1', nodes) into v_texts using tree;
  for v_node in execute format('select node, feature, threshold, categories, missing_left, left_node, right_node, (%s)::text as leaf from %s where tree = $1 order by node desc', leaf, nodes) using tree loop
    v_column := 'x' || (positions ->> v_node.feature);
    -- A condition on NULL is not true, so what is asked is whatever sends missing values to the ELSE.
    v_text := case
      when v_node.feature is null then coalesce(v_node.leaf, 'null')
      when v_node.categories is not null and v_node.missing_left then format(
        'case when %s = any (%L::text[]) then %s else %s end', v_column,
        array(select jsonb_array_elements_text(categories -> v_node.feature) except select unnest(v_node.categories) order by 1),
        v_texts[v_node.right_node + 1], v_texts[v_node.left_node + 1]
      )
      when v_node.categories is not null then format(
        'case when %s = any (%L::text[]) then %s else %s end', v_column, v_node.categories, v_texts[v_node.left_node + 1], v_texts[v_node.right_node + 1]
      )
      when v_node.threshold = 'Infinity' then format(
        'case when %s is not null then %s else %s end', v_column, v_texts[v_node.left_node + 1], v_texts[v_node.right_node + 1]
      )
      when v_node.missing_left then format(
        'case when %s >= %L::float8 then %s else %s end', v_column, v_node.threshold, v_texts[v_node.right_node + 1], v_texts[v_node.left_node + 1]
      )
      else format(
        'case when %s < %L::float8 then %s else %s end', v_column, v_node.threshold, v_texts[v_node.left_node + 1], v_texts[v_node.right_node + 1]
      )
    end;
    v_texts[v_node.node + 1] := v_text;
  end loop;
  return v_texts[1];
end;
$$;

comment on function ml._tree_expression(text, int, jsonb, jsonb, text) is $$
One tree of a model as nested CASE over the columns x1, x2, …; `nodes` is the model's table, or a query in its place; `leaf` is SQL over the node that gives the text of a leaf.
$$;

create or replace function ml._tree_inputs(
  features text[],
  types text[],
  relation regclass
)
returns text
language plpgsql
stable
as $$
declare
  v_inputs text[] := '{}';
begin
  for v_position in 1..cardinality(features) loop
    perform ml._expression(features[v_position], relation, 'feature');
    v_inputs := v_inputs || case
      when types[v_position] = 'category' then format('(%s)::text as x%s', features[v_position], v_position)
      else format('nullif(%s, ''NaN'') as x%s', ml._numeric_expression(features[v_position], relation, 'feature'), v_position)
    end;
  end loop;
  return array_to_string(v_inputs, ', ');
end;
$$;

comment on function ml._tree_inputs(text[], text[], regclass) is $$
The select list that gives a model's features as x1, x2, … from a relation. Errors: CF001, CF002 (a feature is missing; names the nearest).
$$;

create or replace function ml._model_summary(
  model_table text,
  methods text[]
)
returns jsonb
language plpgsql
stable
as $$
declare
  v_model regclass := ml._relation(model_table);
  v_summary text;
  v_row jsonb;
begin
  select format('%I.%I', namespace.nspname, class.relname || '_summary')
  into v_summary
  from pg_catalog.pg_class as class
  join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
  where class.oid = v_model;
  if to_regclass(v_summary) is not null then
    execute format('select to_jsonb(summary) from %s as summary limit 1', v_summary) into v_row;
  end if;
  if v_row is null or not coalesce(v_row ->> 'method' = any (methods), false) then
    raise exception using errcode = 'CF002', message = format('"%s" is not a model of %s', left(model_table, 100), array_to_string(methods, ' or ')),
      hint = format('A model is the output table of a training, beside its table "%s".', left(v_summary, 100));
  end if;
  return v_row;
end;
$$;

comment on function ml._model_summary(text, text[]) is $$
The row of a model's `_summary` table as JSON, when it was made by one of the methods. Error CF002.
$$;

grant execute on function ml._tree_expression(text, int, jsonb, jsonb, text) to insights_reader, insights_analyst, insights_admin, insights_worker;
grant execute on function ml._tree_inputs(text[], text[], regclass), ml._model_summary(text, text[])
  to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/functions/_tree_expression.sql
--! Included ml/functions/gbm_train.sql
create or replace function ml.gbm_train(
  source_table text,
  output_table text,
  id_col_name text,
  dependent_variable text,
  list_of_features text,
  list_of_features_to_exclude text default null,
  objective text default null,
  num_trees int default 200,
  learning_rate float8 default 0.1,
  max_depth int default 6,
  min_rows int default 20,
  min_child_weight float8 default 0.001,
  lambda float8 default 1,
  gamma float8 default 0,
  row_sample float8 default 1,
  feature_sample float8 default 1,
  max_bins int default 64,
  weights text default null,
  validation text default null,
  early_stopping_rounds int default 20,
  seed bigint default 0
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
set client_min_messages to warning
as $$
declare
  v_relation regclass := ml._relation(source_table);
  v_output text := ml._output(output_table, array['_summary']);
  v_summary text;
  v_id text;
  v_dependent text;
  v_weight text := case when weights is not null then ml._numeric_expression(weights, v_relation, 'weights') end;
  v_objective text := objective;
  v_features text[];
  v_skipped bigint;
  v_seen record;
  v_base float8;
  v_codes text;
  v_gradient text;
  v_usable int[];
  v_chosen int[];
  v_leaf text;
  v_trees int := 0;
  v_loss text;
  v_training float8[] := '{}';
  v_validation float8[] := '{}';
  v_loss_training float8;
  v_loss_validation float8;
  v_best int := 0;
  v_best_loss float8 := 'Infinity';
  v_nodes bigint;
begin
  v_summary := ml._suffixed(v_output, '_summary');
  if num_trees is null or num_trees not between 1 and 10000 then
    raise exception using errcode = 'CF001', message = format('num_trees %s', coalesce(num_trees::text, 'null')), hint = 'Choose 1 to 10000 trees.';
  elsif learning_rate is null or not (learning_rate > 0 and learning_rate <= 1) then
    raise exception using errcode = 'CF001', message = format('learning_rate %s', coalesce(learning_rate::text, 'null')), hint = 'Choose a number above 0, at most 1; 0.1 is usual.';
  elsif max_depth is null or max_depth not between 1 and 16 then
    raise exception using errcode = 'CF001', message = format('max_depth %s', coalesce(max_depth::text, 'null')), hint = 'Choose 1 to 16; boosting does well with 3 to 8.';
  elsif min_rows is null or min_rows < 1 then
    raise exception using errcode = 'CF001', message = format('min_rows %s', coalesce(min_rows::text, 'null')), hint = 'A leaf needs at least one row.';
  elsif lambda is null or lambda < 0 or lambda = 'Infinity' or lambda = 'NaN' then
    raise exception using errcode = 'CF001', message = format('lambda %s', coalesce(lambda::text, 'null')), hint = 'The penalty is a finite number, 0 or more.';
  elsif gamma is null or not (gamma >= 0 and gamma < 'Infinity') or min_child_weight is null or not (min_child_weight >= 0 and min_child_weight < 'Infinity') then
    raise exception using errcode = 'CF001', message = format('gamma %s, min_child_weight %s', coalesce(gamma::text, 'null'), coalesce(min_child_weight::text, 'null')), hint = 'Both are finite and 0 or more.';
  elsif row_sample is null or not (row_sample > 0 and row_sample <= 1) or feature_sample is null or not (feature_sample > 0 and feature_sample <= 1) then
    raise exception using errcode = 'CF001', message = format('row_sample %s, feature_sample %s', coalesce(row_sample::text, 'null'), coalesce(feature_sample::text, 'null')), hint = 'Shares are above 0 and at most 1.';
  elsif early_stopping_rounds is not null and early_stopping_rounds < 1 then
    raise exception using errcode = 'CF001', message = format('early_stopping_rounds %s', early_stopping_rounds), hint = 'Choose 1 or more, or null for no early stopping.';
  elsif seed is null then
    raise exception using errcode = 'CF001', message = 'the seed is null', hint = 'Give any number; the same seed gives the same model.';
  end if;
  v_id := ml._column(v_relation, id_col_name, 'id column');
  v_dependent := ml._numeric_expression(dependent_variable, v_relation, 'dependent variable');
  if v_objective is null then
    v_objective := case when ml._expression(dependent_variable, v_relation, 'dependent variable') = 'boolean'::regtype then 'logistic' else 'squared_error' end;
  elsif v_objective not in ('squared_error', 'logistic') then
    raise exception using errcode = 'CF001', message = format('there is no objective "%s"', left(objective, 100)), hint = 'Choose squared_error or logistic.';
  end if;
  if validation is not null and ml._expression(validation, v_relation, 'validation') <> 'boolean'::regtype then
    raise exception using errcode = 'CF001', message = format('validation "%s" is not boolean', left(validation, 100)), hint = 'Give a condition that is true for the rows to validate on, such as ''course_id in (4, 7)''.';
  end if;
  v_features := ml._tree_features(v_relation, list_of_features, list_of_features_to_exclude, array[id_col_name, v_id, dependent_variable, weights, validation]);
  v_skipped := ml._tree_prepare(v_relation, v_id, v_dependent, v_weight, validation, v_features, max_bins, seed);

  execute
    'select count(*) as row_count, count(*) filter (where valid) as validation_count, min(y) as least, max(y) as greatest,
       count(*) filter (where y = ''NaN'' or abs(y) = ''Infinity'') as non_finite, min(y) filter (where y not in (0, 1)) as no_class,
       min(y) filter (where not valid) as least_trained, max(y) filter (where not valid) as greatest_trained,
       sum(weight) filter (where not valid) as weight, avg(y) filter (where not valid) as middle,
       sum(weight * y) filter (where not valid) / nullif(sum(weight) filter (where not valid), 0) as mean
     from pg_temp._ml_tree_row'
  into v_seen;
  if v_seen.non_finite > 0 then
    raise exception using errcode = 'CF001', message = format('%s rows have NaN or infinity in "%s"', v_seen.non_finite, left(dependent_variable, 100)), hint = 'Make them null to leave them out.';
  elsif coalesce(v_seen.weight, 0) <= 0 then
    raise exception using errcode = 'CF004', message = format('the weights "%s" sum to 0', left(weights, 100)), hint = 'At least one row must count.';
  elsif v_objective = 'logistic' and v_seen.no_class is not null then
    raise exception using errcode = 'CF001', message = format('"%s" holds %s, a class is 0 or 1', left(dependent_variable, 100), v_seen.no_class), hint = 'Give a boolean or 0 and 1, or choose squared_error.';
  elsif v_objective = 'logistic' and v_seen.least_trained = v_seen.greatest_trained then
    raise exception using errcode = 'CF004', message = format('"%s" holds one class only, %s', left(dependent_variable, 100), v_seen.least_trained), hint = 'A classifier needs rows of both classes to train on.';
  elsif validation is not null and v_seen.validation_count = 0 then
    raise exception using errcode = 'CF004', message = format('no row is for validation: "%s"', left(validation, 100)), hint = 'Give a condition that is true for some rows.';
  end if;
  execute 'select array_agg(feature order by feature) from pg_temp._ml_tree_feature where cardinality(edges) > 0 or cardinality(categories) > 0' into v_usable;
  if v_usable is null then
    raise exception using errcode = 'CF004', message = 'no feature varies', hint = format('All of %s are constant or null.', array_to_string(v_features, ', '));
  end if;

  if v_objective = 'logistic' then
    v_base := ln(v_seen.mean / (1 - v_seen.mean));
    v_gradient := 'weight * (1 / (1 + exp(-score)) - y) as s1, weight * greatest(exp(-abs(score)) / (1 + exp(-abs(score))) ^ 2, 1e-16) as h';
    v_loss := 'weight * (greatest(score, 0) - score * y + ln(1 + exp(-abs(score))))';
  else
    v_base := v_seen.mean;
    v_gradient := 'weight * (score - y) as s1, weight as h';
    v_loss := 'weight * (score - y) ^ 2';
  end if;

  execute format(
    'create table %s (tree int not null, node int not null, parent int, depth int not null, feature text, threshold float8, categories text[],
       missing_left boolean, left_node int, right_node int, value float8, gain float8, cover float8 not null, num_rows bigint not null,
       primary key (tree, node))',
    v_output
  );
  v_codes := (select string_agg('f' || feature, ', ') from unnest(v_usable) as feature);
  drop table if exists pg_temp._ml_tree_work, pg_temp._ml_tree_scored;
  -- Once more than there are trees: the last turn only measures the last tree.
  for v_tree in 1..num_trees + 1 loop
    -- Score, gradient and second derivative of every row, once a tree: writing the rows anew is cheaper than an update.
    execute format(
      'create temp table _ml_tree_work on commit drop as
       select key, y, weight, valid, score, not valid %s as used, %s, %s
       from (select key, y, weight, valid, %s as score, %s from pg_temp.%I offset 0) as scored',
      case when row_sample < 1 then format('and hashint8extended(key, %s) & 1048575 < %s', seed + v_tree, (row_sample * 1048576)::bigint) else '' end,
      v_gradient, v_codes,
      case when v_tree = 1 then format('%L::float8', v_base) else format('score + %s', v_leaf) end,
      v_codes,
      case when v_tree = 1 then '_ml_tree_row' else '_ml_tree_scored' end
    );
    if v_tree = 1 then
      drop table pg_temp._ml_tree_row;
    else
      drop table pg_temp._ml_tree_scored;
      execute format(
        'select sum(%1$s) filter (where not valid) / sum(weight) filter (where not valid), sum(%1$s) filter (where valid) / nullif(sum(weight) filter (where valid), 0)
         from pg_temp._ml_tree_work',
        v_loss
      ) into v_loss_training, v_loss_validation;
      v_training := v_training || v_loss_training;
      v_trees := v_tree - 1;
      if validation is not null then
        v_validation := v_validation || v_loss_validation;
        if v_loss_validation < v_best_loss then
          v_best_loss := v_loss_validation;
          v_best := v_trees;
        end if;
        exit when early_stopping_rounds is not null and v_trees - v_best >= early_stopping_rounds;
      end if;
    end if;
    exit when v_tree > num_trees;

    v_chosen := v_usable;
    if feature_sample < 1 then
      select array_agg(feature order by feature)
      into v_chosen
      from (
        select feature
        from unnest(v_usable) as feature
        order by hashint8extended(feature, seed + v_tree)
        limit greatest(1, round(feature_sample * cardinality(v_usable))::int)
      ) as drawn;
    end if;
    perform ml._tree_grow(v_chosen, 1, 'newton', lambda, gamma, max_depth, min_rows, 0, min_child_weight, null, seed);
    execute 'select count(*) from pg_temp._ml_tree_node' into v_nodes;
    if v_nodes = 1 and v_tree = 1 then
      raise exception using errcode = 'CF004', message = format('no feature splits the %s rows into better halves', v_seen.row_count - v_seen.validation_count),
        hint = format('A leaf needs %s rows (min_rows), weight %s (min_child_weight) and a gain over %s (gamma).', min_rows, min_child_weight, gamma);
    end if;
    -- A tree that finds nothing to split will not find it the next time either, unless it looks at other rows or features.
    exit when v_nodes = 1 and row_sample = 1 and feature_sample = 1;
    execute format(
      $query$
      insert into %s
      select
        %s, node.node, node.parent, node.depth, feature.name,
        case when not feature.category then coalesce(feature.edges[(node.cut & 1023) - 1], 'Infinity') end,
        (select array_agg(feature.categories[code & 1023] order by code) from unnest(node.codes) as code),
        case when node.feature is not null then node.missing_left end,
        node.left_node, node.right_node,
        case when node.feature is null then coalesce(-%L::float8 * node.s1 / nullif(node.h + %L::float8, 0), 0) end,
        node.gain, node.h, node.n
      from pg_temp._ml_tree_node as node
      left join pg_temp._ml_tree_feature as feature on feature.feature = node.feature
      $query$,
      v_output, v_tree, learning_rate, lambda
    );
    v_leaf := ml._tree_case(format('format(''%%L::float8'', coalesce(-%L::float8 * s1 / nullif(h + %L::float8, 0), 0))', learning_rate, lambda));
    alter table pg_temp._ml_tree_work rename to _ml_tree_scored;
  end loop;
  if validation is not null then
    v_trees := v_best;
    execute format('delete from %s where tree > %s', v_output, v_trees);
  end if;

  execute format(
    'create table %s as
     select ''gbm''::text as method, %L::text as objective, %L::text as source_table, %L::text as model_table, %L::text as id_col_name,
       %L::text as dependent_varname, %L::text[] as independent_varnames,
       (select array_agg(case when category then ''category'' else ''number'' end order by feature) from pg_temp._ml_tree_feature) as independent_vartypes,
       (select coalesce(jsonb_object_agg(name, to_jsonb(categories)) filter (where category), ''{}'') from pg_temp._ml_tree_feature) as categories,
       %L::float8 as base_score, %s::int as num_trees, %s::int as num_trees_grown,
       %s::bigint as num_rows_processed, %s::bigint as num_validation_rows, %s::bigint as num_missing_rows_skipped,
       %L::float8[] as training_loss, %L::float8[] as validation_loss, %L::jsonb as parameters',
    v_summary, v_objective, v_relation, v_output, v_id, dependent_variable, v_features,
    v_base, v_trees, cardinality(v_training), v_seen.row_count - v_seen.validation_count, v_seen.validation_count, v_skipped,
    v_training, nullif(v_validation, '{}'),
    jsonb_build_object(
      'num_trees', num_trees, 'learning_rate', learning_rate, 'max_depth', max_depth, 'min_rows', min_rows, 'min_child_weight', min_child_weight,
      'lambda', lambda, 'gamma', gamma, 'row_sample', row_sample, 'feature_sample', feature_sample, 'max_bins', max_bins,
      'weights', weights, 'validation', validation, 'early_stopping_rounds', early_stopping_rounds, 'seed', seed
    )
  );
  execute format('comment on table %s is %L', v_output, format('Nodes of a gradient-boosted model of %s on %s, by ml.gbm_train.', dependent_variable, v_relation));
  drop table if exists pg_temp._ml_tree_work, pg_temp._ml_tree_scored, pg_temp._ml_tree_node, pg_temp._ml_tree_histogram, pg_temp._ml_tree_split, pg_temp._ml_tree_feature, pg_temp._ml_tree_row;
end;
$$;

comment on function ml.gbm_train(text, text, text, text, text, text, text, int, float8, int, int, float8, float8, float8, float8, float8, int, text, text, int, bigint) is $$
@behavior -*
Gradient-boosted trees, by histogram sums in plain SQL.
`objective` is `squared_error` or `logistic` (dependent variable boolean or 0 and 1); by default logistic for a boolean. Features are columns or
expressions (`*`: all other columns): numbers and booleans are cut into `max_bins` bins at quantiles, text is categorical, missing values
and categories never seen go the way that each split learned. `validation` is a condition on a row: such rows are not trained on, their
loss ends the training `early_stopping_rounds` trees after its best, and the model keeps the trees up to the best; name whole courses or
the latest weeks there. `row_sample` and `feature_sample` are shares drawn anew for each tree, by a hash of the id and the seed.
Writes `output_table`, one row a node: `tree`, `node` (0 = root), `parent`, `depth`, `feature` with `threshold` (left: value < threshold) or
`categories` (left: one of them), `missing_left`, `left_node`, `right_node`, `value` (leaves: what is added to the score), `gain`, `cover` (sum of second
derivatives), `num_rows`; and `<output_table>_summary`, one row: method, objective, names and kinds of features, `base_score`,
`num_trees`, numbers of rows, the loss after each tree (mean log loss or mean squared error), parameters.
Errors: CF001 (a parameter, a type, non-finite values), CF002, CF003 (a table exists), CF004 (no rows, one class, nothing varies or splits), CF005, CF008.
Source: Friedman, Greedy function approximation, Annals of Statistics 29, 2001; Chen and Guestrin, XGBoost, KDD 2016; Huang and others, JoinBoost, SIGMOD 2023.
$$;

grant execute on function ml.gbm_train(text, text, text, text, text, text, text, int, float8, int, int, float8, float8, float8, float8, float8, int, text, text, int, bigint)
  to insights_admin, insights_worker;
--! EndIncluded ml/functions/gbm_train.sql
--! Included ml/functions/gbm_predict.sql
create or replace function ml._gbm_expression(
  model regclass,
  summary jsonb,
  type text
)
returns text
language plpgsql
stable
as $$
declare
  v_positions jsonb := (
    select jsonb_object_agg(name, position)
    from jsonb_array_elements_text(summary -> 'independent_varnames') with ordinality as feature (name, position)
  );
  v_trees text[] := '{}';
  v_score text;
  v_size int;
begin
  for v_tree in 1..(summary ->> 'num_trees')::int loop
    v_trees := v_trees || ml._tree_expression(model::text, v_tree, v_positions, summary -> 'categories', 'format(''%L::float8'', value)');
  end loop;
  -- A sum of sums, so that thousands of trees do not nest too deep for the parser.
  v_size := greatest(1, ceil(sqrt(cardinality(v_trees)))::int);
  select format('%L::float8', (summary ->> 'base_score')::float8) || coalesce(string_agg(' + (' || part || ')', '' order by place), '')
  into v_score
  from (
    select (position - 1) / v_size as place, string_agg(tree, ' + ' order by position) as part
    from unnest(v_trees) with ordinality as grown (tree, position)
    group by (position - 1) / v_size
  ) as chunk;
  return case
    when type = 'prob' then format('1 / (1 + exp(-least(greatest(%s, -700), 700)))', v_score)
    when type = 'response' and summary ->> 'objective' = 'logistic' then format('(%s > 0)::int', v_score)
    else v_score
  end;
end;
$$;

comment on function ml._gbm_expression(regclass, jsonb, text) is $$
The prediction of a boosted model as one SQL expression over x1, x2, … (see ml._tree_inputs); `type` is `response`, `prob` or `raw`.
$$;

create or replace function ml.gbm_predict(
  model_table text,
  new_data_table text,
  output_table text,
  type text default null
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
declare
  v_summary jsonb := ml._model_summary(model_table, array['gbm']);
  v_model regclass := ml._relation(model_table);
  v_relation regclass := ml._relation(new_data_table);
  v_output text := ml._output(output_table);
  v_type text := coalesce(type, case when v_summary ->> 'objective' = 'logistic' then 'prob' else 'response' end);
  v_id text := ml._column(v_relation, v_summary ->> 'id_col_name', 'id column');
begin
  if v_type not in ('response', 'prob', 'raw') or (v_type = 'prob' and v_summary ->> 'objective' <> 'logistic') then
    raise exception using errcode = 'CF001', message = format('type "%s" does not go with objective %s', left(v_type, 100), left(v_summary ->> 'objective', 100)),
      hint = 'Choose response, raw, or for a logistic model prob.';
  end if;
  execute format(
    'create table %s as select id as %s, %s as prediction from (select %s as id, %s from %s offset 0) as input',
    v_output, v_id, ml._gbm_expression(v_model, v_summary, v_type), v_id,
    ml._tree_inputs(
      array(select jsonb_array_elements_text(v_summary -> 'independent_varnames')),
      array(select jsonb_array_elements_text(v_summary -> 'independent_vartypes')),
      v_relation
    ),
    v_relation
  );
end;
$$;

comment on function ml.gbm_predict(text, text, text, text) is $$
@behavior -*
Predictions of a model of ml.gbm_train for every row of a table, in one statement.
`type` is `prob` (probability of class 1; the default for a logistic model), `response` (the value, or the class 0 or 1) or `raw` (the sum of the
trees: log odds for a logistic model). The new table needs the id column and the columns of the features; a dependent variable is not looked at.
Writes `output_table`: the id column and `prediction`.
Errors: CF001 (type), CF002 (not a model, a missing column), CF003 (`output_table` exists), CF005.
$$;

grant execute on function ml._gbm_expression(regclass, jsonb, text) to insights_analyst, insights_admin, insights_worker;
grant execute on function ml.gbm_predict(text, text, text, text) to insights_admin, insights_worker;
--! EndIncluded ml/functions/gbm_predict.sql
--! Included ml/functions/gbm_explain.sql
create or replace function ml._gauss_legendre(points int)
returns table (point float8, weight float8)
language plpgsql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_x float8;
  v_step float8;
  v_before float8;
  v_value float8;
  v_next float8;
  v_slope float8;
begin
  for v_root in 1..points loop
    v_x := cos(pi() * (v_root - 0.25) / (points + 0.5));
    for v_round in 1..50 loop
      v_before := 1;
      v_value := v_x;
      for v_degree in 2..points loop
        v_next := ((2 * v_degree - 1) * v_x * v_value - (v_degree - 1) * v_before) / v_degree;
        v_before := v_value;
        v_value := v_next;
      end loop;
      v_slope := points * (v_x * v_value - v_before) / (v_x * v_x - 1);
      v_step := v_value / v_slope;
      v_x := v_x - v_step;
      exit when abs(v_step) < 1e-15;
    end loop;
    point := (1 - v_x) / 2;
    weight := 1 / ((1 - v_x * v_x) * v_slope * v_slope);
    return next;
  end loop;
end;
$$;

comment on function ml._gauss_legendre(int) is $$
Points and weights of Gauss–Legendre quadrature on 0..1: exact for polynomials of degree 2 · points − 1.
$$;

/*
 * Shapley's value of a feature in one leaf is the leaf's value times an average, over the orders in which features become
 * known, of a product of one factor a feature: the row's own answer to the splits of a known feature (0 or 1), the share
 * of training rows for an unknown one. The average over orders is the integral over t in 0..1 with each other feature
 * known with chance t. The integrand is a polynomial, so a few points of Gauss–Legendre quadrature give it exactly, and
 * every leaf, feature and point is a row of one statement.
 */
create or replace function ml._explanation(
  nodes text,
  intercept float8,
  names text[],
  types text[],
  categories jsonb,
  relation text,
  id_expression text,
  inputs text,
  kept text
)
returns text
language sql
immutable
parallel safe
begin atomic
  select format(
    $query$
    with recursive nodes as (
      select * from %1$s
    ), edge as (
      select child.tree, child.node as leaf, child.value, child.parent as node, child.node as child, child.cover as child_cover
      from nodes as child
      where child.feature is null
      union all
      select edge.tree, edge.leaf, edge.value, node.parent, node.node, node.cover
      from edge
      join nodes as node on node.tree = edge.tree and node.node = edge.node
      where node.parent is not null
    ), path as materialized (
      select
        edge.tree, edge.leaf, edge.value, node.feature, node.threshold, node.categories, node.missing_left,
        edge.child = node.left_node as goes_left,
        greatest(edge.child_cover / nullif(node.cover, 0), 1e-30) as share
      from edge
      join nodes as node on node.tree = edge.tree and node.node = edge.node
    ), quadrature as materialized (
      select *
      from ml._gauss_legendre((
        select (coalesce(max(used), 1) + 1) / 2
        from (select count(distinct feature)::int as used from path group by tree, leaf) as counted
      ))
    ), input as materialized (
      select row_number() over () as line, input.*
      from (select %2$s as id, %3$s from %4$s where %5$s) as input
    ), given as materialized (
      select input.line, feature.*
      from input
      cross join lateral (values %6$s) as feature (name, number, category, shown)
    ), factor as materialized (
      select
        given.line, path.tree, path.leaf, path.feature, path.value,
        exp(sum(ln(path.share))) as unknown,
        bool_and(path.goes_left = case
          when given.number is null and given.category is null then path.missing_left
          when path.categories is not null then given.category = any (path.categories)
          else given.number < path.threshold or path.threshold = 'Infinity'
        end)::int as known
      from path
      join given on given.name = path.feature
      group by given.line, path.tree, path.leaf, path.feature, path.value
    ), product as (
      select line, tree, leaf, point, weight, sum(ln(known * point + unknown * (1 - point))) as logarithm
      from factor
      cross join quadrature
      group by line, tree, leaf, point, weight
    ), moved as (
      select
        factor.line, factor.feature,
        sum(factor.value * (factor.known - factor.unknown) * product.weight
          * exp(product.logarithm - ln(factor.known * product.point + factor.unknown * (1 - product.point)))) as contribution
      from factor
      join product using (line, tree, leaf)
      group by factor.line, factor.feature
    ), expected as (
      select %7$L::float8 + coalesce(sum(leaf.value * leaf.cover / root.cover), 0) as contribution
      from nodes as leaf
      join nodes as root on root.tree = leaf.tree and root.node = 0
      where leaf.feature is null
    )
    select input.id, explained.feature, explained.feature_value, explained.contribution
    from input
    cross join lateral (
      select '(base)' as feature, null::text as feature_value, expected.contribution
      from expected
      union all
      select given.name, given.shown, coalesce(moved.contribution, 0)
      from given
      left join moved on moved.line = given.line and moved.feature = given.name
      where given.line = input.line
    ) as explained
    order by input.line, abs(explained.contribution) desc
    $query$,
    nodes, id_expression, inputs, relation, kept,
    (
      select string_agg(
        case when types[position] = 'category' then format(
          '(%1$L, null::float8, case when x%2$s = any (%3$L::text[]) then x%2$s end, x%2$s)',
          name, position, array(select jsonb_array_elements_text(categories -> name))
        )
        else format('(%1$L, x%2$s, null::text, x%2$s::text)', name, position) end,
        ', ' order by position
      )
      from unnest(names) with ordinality as feature (name, position)
    ),
    intercept
  );
end;

comment on function ml._explanation(text, float8, text[], text[], jsonb, text, text, text, text) is $$
The statement that explains the raw scores of boosted trees: id, feature, feature_value and contribution, for the rows of a relation that are `kept`.
`nodes` is the model's table, or a query in its place; `inputs` gives the features as x1, x2, … (see ml._tree_inputs).
$$;

create or replace function ml.gbm_explain(
  model_table text,
  new_data_table text,
  output_table text,
  id_value text default null
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
set work_mem to '64MB'
as $$
declare
  v_summary jsonb := ml._model_summary(model_table, array['gbm']);
  v_model regclass := ml._relation(model_table);
  v_relation regclass := ml._relation(new_data_table);
  v_output text := ml._output(output_table);
  v_id text := ml._column(v_relation, v_summary ->> 'id_col_name', 'id column');
  v_names text[] := array(select jsonb_array_elements_text(v_summary -> 'independent_varnames'));
  v_types text[] := array(select jsonb_array_elements_text(v_summary -> 'independent_vartypes'));
  v_rows bigint;
begin
  execute format('create table %s (%s, feature, feature_value, contribution) as ', v_output, v_id) || ml._explanation(
    v_model::text, (v_summary ->> 'base_score')::float8, v_names, v_types, v_summary -> 'categories', v_relation::text, v_id,
    ml._tree_inputs(v_names, v_types, v_relation),
    case when id_value is null then 'true' else format('(%s)::text = %L', v_id, id_value) end
  );
  get diagnostics v_rows = row_count;
  if v_rows = 0 then
    raise exception using errcode = 'CF002', message = format('"%s" has no row with %s = %s', v_relation, left(v_id, 100), coalesce(id_value, 'anything')),
      hint = 'Give the id of a row of the new data.';
  end if;
end;
$$;

comment on function ml.gbm_explain(text, text, text, text) is $$
@behavior -*
What moved each prediction: exact Shapley values of the features, path-dependent as TreeSHAP's.
Explains the row whose id is `id_value`, or all rows. Writes `output_table`: the id column, `feature` (`(base)` is the mean prediction over the
training rows), `feature_value` as text, and `contribution`, in the unit of the raw score: log odds for a logistic model. The contributions
of a row sum to its raw prediction (`ml.gbm_predict(…, 'raw')`).
Errors: CF002 (not a model, a missing column, no such row), CF003 (`output_table` exists), CF005.
Source: Lundberg and others, From local explanations to global understanding with explainable AI for trees, Nature Machine Intelligence 2, 2020.
$$;

grant execute on function ml._gauss_legendre(int), ml._explanation(text, float8, text[], text[], jsonb, text, text, text, text) to insights_reader, insights_analyst, insights_admin, insights_worker;
grant execute on function ml.gbm_explain(text, text, text, text) to insights_admin, insights_worker;
--! EndIncluded ml/functions/gbm_explain.sql
--! Included ml/functions/get_var_importance.sql
create or replace function ml.get_var_importance(
  model_table text,
  output_table text
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_summary jsonb := ml._model_summary(model_table, array['gbm', 'tree_train', 'forest_train']);
  v_model regclass := ml._relation(model_table);
  v_output text := ml._output(output_table);
begin
  execute format(
    $query$
    create table %s as
    select
      feature.name as feature,
      coalesce(100 * node.gain / nullif(sum(node.gain) over (), 0), 0) as impurity_var_importance,
      coalesce(node.gain, 0) as gain,
      coalesce(node.splits, 0) as splits,
      coalesce(node.cover, 0) as cover
    from unnest(%L::text[]) with ordinality as feature (name, position)
    left join (
      select feature, sum(gain) as gain, count(*) as splits, sum(cover) as cover
      from %s
      where feature is not null
      group by feature
    ) as node on node.feature = feature.name
    order by node.gain desc nulls last, feature.position
    $query$,
    v_output, array(select jsonb_array_elements_text(v_summary -> 'independent_varnames')), v_model
  );
end;
$$;

comment on function ml.get_var_importance(text, text) is $$
@behavior -*
How much each feature of a tree, forest or boosted model improved its training, in MADlib's name.
Writes `output_table`: `feature`, `impurity_var_importance` (share of the total gain, sums to 100), `gain`, `splits` and `cover` (weight of the rows split).
Gain favours features with many values; ml.gbm_explain says what moved a prediction. Errors: CF002 (not a model), CF003 (`output_table` exists), CF005.
$$;

grant execute on function ml.get_var_importance(text, text) to insights_admin, insights_worker;
--! EndIncluded ml/functions/get_var_importance.sql
--! Included ml/functions/_forest.sql
/*
 * A decision tree is a forest of one tree that sees every row and feature. Classes are learned as one indicator each,
 * whose sums of squares are Gini's index, so classification and regression share the kernel of the boosted trees.
 */
create or replace function ml._forest_train(
  method text,
  training_table_name text,
  output_table_name text,
  id_col_name text,
  dependent_variable text,
  list_of_features text,
  list_of_features_to_exclude text,
  split_criterion text,
  weights text,
  num_trees int,
  num_random_features int,
  sample_ratio float8,
  max_depth int,
  min_split int,
  min_bucket int,
  num_splits int,
  cp float8,
  seed bigint
)
returns void
language plpgsql
set jit to off
set client_min_messages to warning
as $$
declare
  v_relation regclass := ml._relation(training_table_name);
  v_output text := ml._output(output_table_name, array['_summary']);
  v_summary text := ml._suffixed(v_output, '_summary');
  v_id text;
  v_type regtype;
  v_classifies boolean;
  v_classes text[];
  v_dependent text;
  v_weight text := case when weights is not null then ml._numeric_expression(weights, v_relation, 'weights') end;
  v_features text[];
  v_usable int[];
  v_outputs int;
  v_skipped bigint;
  v_seen record;
  v_criterion text;
  v_codes text;
  v_sums text;
  v_bag text := '1';
  v_chance float8;
  v_left float8;
  v_risk float8;
  v_pruned int;
  v_leaf text;
  v_out_of_bag float8;
  v_ks int[];
begin
  if num_trees is null or num_trees not between 1 and 10000 then
    raise exception using errcode = 'CF001', message = format('num_trees %s', coalesce(num_trees::text, 'null')), hint = 'Choose 1 to 10000 trees.';
  elsif max_depth is null or max_depth not between 1 and 30 then
    raise exception using errcode = 'CF001', message = format('depth %s', coalesce(max_depth::text, 'null')), hint = 'Choose 1 to 30.';
  elsif min_split is null or min_split < 1 or min_bucket < 1 then
    raise exception using errcode = 'CF001', message = format('min_split %s, min_bucket %s', coalesce(min_split::text, 'null'), coalesce(min_bucket::text, 'null')), hint = 'Both are 1 or more.';
  elsif cp is null or not (cp >= 0 and cp <= 1) then
    raise exception using errcode = 'CF001', message = format('cp %s', coalesce(cp::text, 'null')), hint = 'The complexity parameter lies in 0..1; 0 prunes nothing.';
  elsif sample_ratio is not null and not (sample_ratio > 0 and sample_ratio <= 1) then
    raise exception using errcode = 'CF001', message = format('sample_ratio %s', sample_ratio), hint = 'Choose a share above 0, at most 1.';
  elsif num_random_features < 1 then
    raise exception using errcode = 'CF001', message = format('num_random_features %s', num_random_features), hint = 'Choose 1 or more, or null for the usual number.';
  end if;
  v_id := ml._column(v_relation, id_col_name, 'id column');
  v_type := ml._expression(dependent_variable, v_relation, 'dependent variable');
  v_classifies := v_type not in ('real'::regtype, 'double precision'::regtype, 'numeric'::regtype);
  v_criterion := lower(split_criterion);
  if v_criterion is null or v_criterion not in ('gini', 'entropy', 'misclassification', 'mse') then
    raise exception using errcode = 'CF001', message = format('there is no split criterion "%s"', coalesce(left(split_criterion, 100), 'null')), hint = 'Choose gini, entropy or misclassification for classes; numbers use mse.';
  elsif v_classifies and v_criterion = 'mse' then
    raise exception using errcode = 'CF001', message = format('"%s" is of type %s and so a class, which mse does not judge', left(dependent_variable, 100), v_type), hint = 'Cast it to float8 for a regression, or choose gini.';
  end if;
  v_features := ml._tree_features(v_relation, list_of_features, list_of_features_to_exclude, array[id_col_name, v_id, dependent_variable, weights]);

  if v_classifies then
    begin
      execute format('select array_agg(class order by class) from (select (%1$s)::text as class from %2$s where (%1$s) is not null group by 1 limit 101) as seen', dependent_variable, v_relation) into v_classes;
    exception when others then
      raise exception using errcode = 'CF001', message = format('dependent variable "%s": %s', left(dependent_variable, 100), left(sqlerrm, 100)), hint = 'Give a column of classes or numbers.';
    end;
    if v_type in ('smallint'::regtype, 'integer'::regtype, 'bigint'::regtype) then
      v_classes := array(select class from unnest(v_classes) as class order by class::bigint);
    end if;
    if cardinality(v_classes) > 100 then
      raise exception using errcode = 'CF008', message = format('"%s" has more than 100 classes', left(dependent_variable, 100)), hint = 'Cast it to float8 when it is a number to predict.';
    elsif cardinality(v_classes) = 1 then
      raise exception using errcode = 'CF004', message = format('"%s" holds one class only, %s', left(dependent_variable, 100), v_classes[1]), hint = 'A classifier needs rows of two classes or more.';
    end if;
    v_dependent := format('array_position(%L::text[], (%s)::text)::float8', coalesce(v_classes, '{}'), dependent_variable);
    v_outputs := cardinality(v_classes);
  else
    v_criterion := 'mse';
    v_dependent := ml._numeric_expression(dependent_variable, v_relation, 'dependent variable');
    v_outputs := 1;
  end if;
  v_skipped := ml._tree_prepare(v_relation, v_id, v_dependent, v_weight, null, v_features, num_splits, seed);
  execute
    'select count(*) as row_count, count(*) filter (where y = ''NaN'' or abs(y) = ''Infinity'') as non_finite, sum(weight) as weight,
       sum(weight * y) / nullif(sum(weight), 0) as mean, sum(weight * y * y) - sum(weight * y) ^ 2 / nullif(sum(weight), 0) as squares
     from pg_temp._ml_tree_row'
  into v_seen;
  if v_seen.non_finite > 0 then
    raise exception using errcode = 'CF001', message = format('%s rows have NaN or infinity in "%s"', v_seen.non_finite, left(dependent_variable, 100)), hint = 'Make them null to leave them out.';
  elsif coalesce(v_seen.weight, 0) <= 0 then
    raise exception using errcode = 'CF004', message = format('the weights "%s" sum to 0', left(weights, 100)), hint = 'At least one row must count.';
  end if;
  execute 'select array_agg(feature order by feature) from pg_temp._ml_tree_feature where cardinality(edges) > 0 or cardinality(categories) > 0' into v_usable;
  if v_usable is null then
    raise exception using errcode = 'CF004', message = 'no feature varies', hint = format('All of %s are constant or null.', array_to_string(v_features, ', '));
  end if;

  execute format(
    'create table %s (tree int not null, node int not null, parent int, depth int not null, feature text, threshold float8, categories text[],
       missing_left boolean, left_node int, right_node int, value float8, distribution float8[], gain float8, cover float8 not null, num_rows bigint not null,
       primary key (tree, node))',
    v_output
  );
  v_ks := array(select k from generate_series(1, v_outputs) as k order by k);
  v_codes := (select string_agg('f' || feature, ', ') from unnest(v_usable) as feature);
  -- Centred, so that a large mean does not swallow what varies.
  v_sums := case when v_classifies then (select string_agg(format('case when y = %1$s then weight * bag else 0 end as s%1$s', k), ', ' order by k) from unnest(v_ks) as k)
    else format('weight * bag * (y - %L::float8) as s1', v_seen.mean) end;
  drop table if exists pg_temp._ml_tree_work, pg_temp._ml_forest_vote;
  if sample_ratio is not null then
    execute format('create temp table _ml_forest_vote on commit drop as select key, y, weight, valid, %s, 0 as votes, %s from pg_temp._ml_tree_row',
      v_codes, (select string_agg(format('0::float8 as v%s', k), ', ' order by k) from unnest(v_ks) as k));
    drop table pg_temp._ml_tree_row;
    alter table pg_temp._ml_forest_vote rename to _ml_tree_row;
  end if;
  for v_tree in 1..num_trees loop
    if sample_ratio is not null then
      -- Drawing with replacement gives each row a number of copies that is Poisson's: the number of chances below a hash of its id.
      v_bag := '';
      v_chance := exp(-sample_ratio);
      v_left := v_chance;
      for v_copies in 0..7 loop
        v_bag := v_bag || format(' when lot < %s then %s', (v_left * 1073741824)::bigint, v_copies);
        v_chance := v_chance * sample_ratio / (v_copies + 1);
        v_left := v_left + v_chance;
      end loop;
      v_bag := 'case' || v_bag || ' else 8 end';
    end if;
    execute format(
      'create temp table _ml_tree_work on commit drop as
       select key, bag > 0 and weight > 0 as used, %s, weight * bag as h, %s
       from (select key, y, weight, %s as bag, %s from (select *, hashint8extended(key, %s) & 1073741823 as lot from pg_temp._ml_tree_row offset 0) as drawn offset 0) as bagged',
      v_sums, v_codes, v_bag, v_codes, seed + v_tree
    );
    if v_tree = 1 then
      analyze pg_temp._ml_tree_work;
    end if;
    perform ml._tree_grow(
      v_usable, v_outputs, v_criterion, 0, 0, max_depth, coalesce(min_bucket, greatest(1, min_split / 3)), min_split, 1e-12,
      case when num_random_features < cardinality(v_usable) then num_random_features end, seed + v_tree
    );
    if cp > 0 then
      v_risk := case when v_classifies then null else v_seen.squares end;
      if v_classifies then
        execute format('select %s from pg_temp._ml_tree_node where node = 0',
          case v_criterion
            when 'entropy' then '-(' || (select string_agg(format('coalesce(s%1$s * ln(nullif(s%1$s, 0) / h), 0)', k), ' + ') from unnest(v_ks) as k) || ')'
            when 'misclassification' then 'h - greatest(' || (select string_agg(format('s%s', k), ', ') from unnest(v_ks) as k) || ')'
            else 'h - (' || (select string_agg(format('s%1$s * s%1$s', k), ' + ') from unnest(v_ks) as k) || ') / h' end
        ) into v_risk;
      end if;
      -- The weakest link goes first: the branch whose splits gain least a leaf.
      loop
        execute format(
          $query$
          with recursive below as (
            select node as top, node, feature, gain, left_node, right_node
            from pg_temp._ml_tree_node
            where feature is not null
            union all
            select below.top, child.node, child.feature, child.gain, child.left_node, child.right_node
            from below
            join pg_temp._ml_tree_node as child on child.node in (below.left_node, below.right_node)
          )
          select top
          from below
          group by top
          having sum(gain) filter (where feature is not null) / count(*) filter (where feature is not null) < %L::float8
          order by sum(gain) filter (where feature is not null) / count(*) filter (where feature is not null), top desc
          limit 1
          $query$,
          cp * v_risk
        ) into v_pruned;
        exit when v_pruned is null;
        execute format(
          $query$
          with recursive below as (
            select left_node, right_node from pg_temp._ml_tree_node where node = %1$s
            union all
            select child.left_node, child.right_node
            from below
            join pg_temp._ml_tree_node as child on child.node in (below.left_node, below.right_node)
          )
          delete from pg_temp._ml_tree_node as node
          using below
          where node.node in (below.left_node, below.right_node)
          $query$,
          v_pruned
        );
        execute format('update pg_temp._ml_tree_node set feature = null, cut = null, codes = null, missing_left = null, left_node = null, right_node = null, gain = null where node = %s', v_pruned);
      end loop;
    end if;
    execute format(
      $query$
      insert into %s
      select
        %s, node.node, node.parent, node.depth, feature.name,
        case when not feature.category then coalesce(feature.edges[(node.cut & 1023) - 1], 'Infinity') end,
        (select array_agg(feature.categories[code & 1023] order by code) from unnest(node.codes) as code),
        case when node.feature is not null then node.missing_left end,
        node.left_node, node.right_node, %s, %s, node.gain, node.h, node.n
      from pg_temp._ml_tree_node as node
      left join pg_temp._ml_tree_feature as feature on feature.feature = node.feature
      $query$,
      v_output, v_tree,
      case when v_classifies then 'null::float8' else format('node.s1 / node.h + %L::float8', v_seen.mean) end,
      case when v_classifies then 'array[' || (select string_agg(format('node.s%s / node.h', k), ', ' order by k) from unnest(v_ks) as k) || ']' else 'null::float8[]' end
    );
    if sample_ratio is not null then
      -- Rows that a tree did not see say how good the forest is.
      execute format(
        'create temp table _ml_forest_vote on commit drop as
         select row.key, row.y, row.weight, row.valid, %1$s, row.votes + (not work.used)::int as votes, %2$s
         from (
           select *, case when bag = 0 then %3$s end as leaf
           from (select *, %4$s as bag from (select *, hashint8extended(key, %5$s) & 1073741823 as lot from pg_temp._ml_tree_row offset 0) as drawn offset 0) as bagged
           offset 0
         ) as row
         cross join lateral (select row.bag > 0 and row.weight > 0 as used) as work
         left join pg_temp._ml_tree_node as node on node.node = row.leaf',
        (select string_agg('row.f' || feature, ', ') from unnest(v_usable) as feature),
        (select string_agg(
          case when v_classifies then format('row.v%1$s + coalesce(node.s%1$s / node.h, 0) as v%1$s', k)
          else format('row.v%1$s + coalesce(node.s%1$s / node.h + %2$L::float8, 0) as v%1$s', k, v_seen.mean) end, ', ' order by k) from unnest(v_ks) as k),
        ml._tree_case('node::text'), v_bag, seed + v_tree
      );
      drop table pg_temp._ml_tree_row;
      alter table pg_temp._ml_forest_vote rename to _ml_tree_row;
    end if;
    drop table pg_temp._ml_tree_work;
  end loop;
  if sample_ratio is not null then
    execute format(
      'select sum(weight * %s) / nullif(sum(weight), 0) from pg_temp._ml_tree_row where votes > 0',
      case when v_classifies then format('(array_position(array[%1$s], greatest(%1$s)) <> y)::int', (select string_agg('v' || k, ', ' order by k) from unnest(v_ks) as k))
      else '(v1 / votes - y) ^ 2' end
    ) into v_out_of_bag;
  end if;

  execute format(
    'create table %s as
     select %L::text as method, %L::boolean as is_classification, %L::text as source_table, %L::text as model_table, %L::text as id_col_name,
       %L::text as dependent_varname, %L::text as dependent_var_type, %L::text[] as dependent_var_levels, %L::text[] as independent_varnames,
       (select array_agg(case when category then ''category'' else ''number'' end order by feature) from pg_temp._ml_tree_feature) as independent_vartypes,
       (select coalesce(jsonb_object_agg(name, to_jsonb(categories)) filter (where category), ''{}'') from pg_temp._ml_tree_feature) as categories,
       %s::int as num_trees, %L::float8 as oob_error, %s::bigint as num_rows_processed, %s::bigint as num_missing_rows_skipped, %L::jsonb as parameters',
    v_summary, method, v_classifies, v_relation, v_output, v_id,
    dependent_variable, v_type, v_classes, v_features,
    num_trees, v_out_of_bag, v_seen.row_count, v_skipped,
    jsonb_build_object(
      'split_criterion', v_criterion, 'weights', weights, 'num_trees', num_trees, 'num_random_features', num_random_features, 'sample_ratio', sample_ratio,
      'max_depth', max_depth, 'min_split', min_split, 'min_bucket', coalesce(min_bucket, greatest(1, min_split / 3)), 'num_splits', num_splits, 'cp', cp, 'seed', seed
    )
  );
  execute format('comment on table %s is %L', v_output, format('Nodes of a model of %s on %s, by ml.%s.', dependent_variable, v_relation, method));
  drop table if exists pg_temp._ml_tree_work, pg_temp._ml_tree_row, pg_temp._ml_tree_node, pg_temp._ml_tree_histogram, pg_temp._ml_tree_split, pg_temp._ml_tree_feature;
end;
$$;

comment on function ml._forest_train(text, text, text, text, text, text, text, text, text, int, int, float8, int, int, int, int, float8, bigint) is $$
Trains one tree (`sample_ratio` null) or a forest of bagged trees into a model table; see ml.tree_train and ml.forest_train.
$$;

create or replace function ml._forest_predict(
  method text,
  model_table text,
  new_data_table text,
  output_table text,
  type text
)
returns void
language plpgsql
set jit to off
as $$
declare
  v_summary jsonb := ml._model_summary(model_table, array[method]);
  v_model regclass := ml._relation(model_table);
  v_relation regclass := ml._relation(new_data_table);
  v_output text := ml._output(output_table);
  v_id text := ml._column(v_relation, v_summary ->> 'id_col_name', 'id column');
  v_classes text[] := array(select jsonb_array_elements_text(nullif(v_summary -> 'dependent_var_levels', 'null')));
  v_positions jsonb := (
    select jsonb_object_agg(name, position)
    from jsonb_array_elements_text(v_summary -> 'independent_varnames') with ordinality as feature (name, position)
  );
  v_dependent text := v_summary ->> 'dependent_varname';
  v_trees text[];
  v_size int;
  v_sums text[] := '{}';
  v_sum text;
  v_names text;
begin
  if type is null or type not in ('response', 'prob') or (type = 'prob' and v_classes = '{}') then
    raise exception using errcode = 'CF001', message = format('type "%s" does not go with this model', coalesce(left(type, 100), 'null')), hint = 'Choose response, or prob for classes.';
  end if;
  begin
    v_dependent := (parse_ident(v_dependent))[1];
  exception when invalid_parameter_value then
    null;
  end;
  -- One sum a class, but the last, which is what the others leave.
  for v_class in 1..greatest(cardinality(v_classes) - 1, 1) loop
    v_trees := '{}';
    for v_tree in 1..(v_summary ->> 'num_trees')::int loop
      v_trees := v_trees || ml._tree_expression(
        v_model::text, v_tree, v_positions, v_summary -> 'categories',
        case when v_classes = '{}' then 'format(''%L::float8'', value)' else format('format(''%%L::float8'', distribution[%s])', v_class) end
      );
    end loop;
    v_size := greatest(1, ceil(sqrt(cardinality(v_trees)))::int);
    select '(' || string_agg('(' || part || ')', ' + ' order by place) || format(') / %s', cardinality(v_trees))
    into v_sum
    from (
      select (position - 1) / v_size as place, string_agg(tree, ' + ' order by position) as part
      from unnest(v_trees) with ordinality as grown (tree, position)
      group by (position - 1) / v_size
    ) as chunk;
    v_sums := v_sums || format('%s as p%s', v_sum, v_class);
  end loop;
  v_names := (select string_agg('p' || k, ', ' order by k) from generate_series(1, cardinality(v_classes) - 1) as k);
  execute format(
    'create table %s as
     select id as %s, %s
     from (
       select id, %s
       from (select %s as id, %s from %s offset 0) as input
       offset 0
     ) as scored',
    v_output, v_id,
    case
      when v_classes = '{}' then format('p1 as %I', left('estimated_' || v_dependent, 63))
      when type = 'response' then format(
        '((%L::text[])[array_position(array[%2$s, 1 - (%3$s)], greatest(%2$s, 1 - (%3$s)))])::%4$s as %5$I',
        v_classes, v_names, replace(v_names, ',', ' +'), v_summary ->> 'dependent_var_type', left('estimated_' || v_dependent, 63)
      )
      else (
        select string_agg(
          case when position = cardinality(v_classes) then format('greatest(1 - (%s), 0) as %I', replace(v_names, ',', ' +'), left('estimated_prob_' || class, 63))
          else format('p%s as %I', position, left('estimated_prob_' || class, 63)) end, ', ' order by position
        )
        from unnest(v_classes) with ordinality as level (class, position)
      )
    end,
    array_to_string(v_sums, ', '), v_id,
    ml._tree_inputs(
      array(select jsonb_array_elements_text(v_summary -> 'independent_varnames')),
      array(select jsonb_array_elements_text(v_summary -> 'independent_vartypes')),
      v_relation
    ),
    v_relation
  );
end;
$$;

comment on function ml._forest_predict(text, text, text, text, text) is $$
Predictions of a tree or a forest in one statement; see ml.tree_predict and ml.forest_predict.
$$;

grant execute on function
  ml._forest_train(text, text, text, text, text, text, text, text, text, int, int, float8, int, int, int, int, float8, bigint),
  ml._forest_predict(text, text, text, text, text)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/functions/_forest.sql
--! Included ml/functions/tree_train.sql
create or replace function ml.tree_train(
  training_table_name text,
  output_table_name text,
  id_col_name text,
  dependent_variable text,
  list_of_features text,
  list_of_features_to_exclude text default null,
  split_criterion text default 'gini',
  grouping_cols text default null,
  weights text default null,
  max_depth int default 7,
  min_split int default 20,
  min_bucket int default null,
  num_splits int default 20,
  pruning_params text default null
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_cp float8 := 0;
begin
  if nullif(btrim(grouping_cols), '') is not null then
    raise exception using errcode = 'CF001', message = 'trees are not trained by group', hint = 'Train one model on a view of each group, or give the groups as a feature.';
  end if;
  if nullif(btrim(pruning_params), '') is not null then
    v_cp := substring(pruning_params from '^\s*cp\s*=\s*([0-9.]+(?:e-?[0-9]+)?)\s*$')::float8;
    if v_cp is null then
      raise exception using errcode = 'CF001', message = format('pruning_params "%s"', left(pruning_params, 100)), hint = 'Give the complexity parameter, such as cp=0.01.';
    end if;
  end if;
  perform ml._forest_train(
    'tree_train', training_table_name, output_table_name, id_col_name, dependent_variable, list_of_features, list_of_features_to_exclude,
    split_criterion, weights, 1, null, null, max_depth, min_split, min_bucket, num_splits, v_cp, 0
  );
end;
$$;

comment on function ml.tree_train(text, text, text, text, text, text, text, text, text, int, int, int, int, text) is $$
@behavior -*
A decision tree: classes for a boolean, integer or text dependent variable, numbers for the others, in MADlib's arguments.
`split_criterion`: `gini`, `entropy` or `misclassification` (numbers: least squares). `min_bucket` is a third of `min_split` by default, `num_splits` the
number of bins of a numeric feature (2 to 500). `pruning_params` is `cp=…`: branches that lower the root's impurity by less than this share a
split are cut, weakest first. Features: see ml.gbm_train; missing values go the way that each split learned, there are no surrogate splits. `grouping_cols` must be null.
Writes `output_table_name`, one row a node (as ml.gbm_train; leaves have `value` or, for classes, `distribution` in the order of
`dependent_var_levels`), and `<output_table_name>_summary`.
Errors: CF001, CF002, CF003 (a table exists), CF004 (no rows, one class, nothing varies), CF005, CF008 (over 100 classes).
Source: Breiman, Friedman, Olshen and Stone, Classification and Regression Trees, 1984.
$$;

grant execute on function ml.tree_train(text, text, text, text, text, text, text, text, text, int, int, int, int, text) to insights_admin, insights_worker;
--! EndIncluded ml/functions/tree_train.sql
--! Included ml/functions/tree_predict.sql
create or replace function ml.tree_predict(
  tree_model text,
  new_data_table text,
  output_table text,
  type text default 'response'
)
returns void
language sql
begin atomic
  select ml._forest_predict('tree_train', tree_model, new_data_table, output_table, type);
end;

comment on function ml.tree_predict(text, text, text, text) is $$
@behavior -*
Predictions of a model of ml.tree_train for every row of a table, in one statement.
Writes `output_table`: the id column and `estimated_<dependent variable>`, or with type `prob` one column `estimated_prob_<class>` a class.
Errors: CF001 (type), CF002 (not a model, a missing column), CF003 (`output_table` exists), CF005.
$$;

grant execute on function ml.tree_predict(text, text, text, text) to insights_admin, insights_worker;
--! EndIncluded ml/functions/tree_predict.sql
--! Included ml/functions/forest_train.sql
create or replace function ml.forest_train(
  training_table_name text,
  output_table_name text,
  id_col_name text,
  dependent_variable text,
  list_of_features text,
  list_of_features_to_exclude text default null,
  grouping_cols text default null,
  num_trees int default 100,
  num_random_features int default null,
  importance boolean default true,
  num_permutations int default null,
  max_tree_depth int default 7,
  min_split int default 20,
  min_bucket int default null,
  num_splits int default 20,
  null_handling_params text default null,
  verbose boolean default false,
  sample_ratio float8 default 1.0,
  seed bigint default 0
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_relation regclass := ml._relation(training_table_name);
  v_count int;
  v_classifies boolean;
begin
  if nullif(btrim(grouping_cols), '') is not null then
    raise exception using errcode = 'CF001', message = 'forests are not trained by group', hint = 'Train one model on a view of each group, or give the groups as a feature.';
  elsif num_permutations is not null then
    raise exception using errcode = 'CF001', message = 'features are not permuted', hint = 'ml.get_var_importance gives the importance by impurity; leave num_permutations null.';
  elsif null_handling_params is not null then
    raise exception using errcode = 'CF001', message = format('null_handling_params "%s"', left(null_handling_params, 100)), hint = 'Missing values go the way that each split learned; leave it null.';
  elsif sample_ratio is null or seed is null then
    raise exception using errcode = 'CF001', message = 'sample_ratio or seed is null', hint = 'Give a share above 0, at most 1, and any number as seed.';
  end if;
  v_count := cardinality(ml._tree_features(v_relation, list_of_features, list_of_features_to_exclude, array[id_col_name, quote_ident(id_col_name), dependent_variable]));
  v_classifies := ml._expression(dependent_variable, v_relation, 'dependent variable') not in ('real'::regtype, 'double precision'::regtype, 'numeric'::regtype);
  perform ml._forest_train(
    'forest_train', training_table_name, output_table_name, id_col_name, dependent_variable, list_of_features, list_of_features_to_exclude,
    'gini', null, num_trees,
    coalesce(num_random_features, case when v_classifies then greatest(1, floor(sqrt(v_count))::int) else greatest(1, v_count / 3) end),
    sample_ratio, max_tree_depth, min_split, min_bucket, num_splits, 0, seed
  );
end;
$$;

comment on function ml.forest_train(text, text, text, text, text, text, text, int, int, boolean, int, int, int, int, int, text, boolean, float8, bigint) is $$
@behavior -*
A random forest, in MADlib's arguments: trees on rows drawn with replacement, each split choosing among features drawn at random.
`num_random_features` is by default the root of the number of features for classes, a third of it for numbers. `sample_ratio` is the
expected number of times that a row is drawn for a tree. The seed and the ids decide all draws.
`grouping_cols`, `num_permutations` and `null_handling_params` must be null; `importance` and `verbose` are MADlib's and change nothing: ml.get_var_importance
gives the importance by impurity of any model.
Writes `output_table_name` and `<output_table_name>_summary` as ml.tree_train does; there `oob_error` is the share of rows (for numbers: the
squared error) that the trees which did not see them get wrong.
Errors: CF001, CF002, CF003 (a table exists), CF004 (no rows, one class, nothing varies), CF005, CF008 (over 100 classes).
Source: Breiman, Random forests, Machine Learning 45, 2001; draws after Oza and Russell, Online bagging and boosting, 2001.
$$;

grant execute on function ml.forest_train(text, text, text, text, text, text, text, int, int, boolean, int, int, int, int, int, text, boolean, float8, bigint) to insights_admin, insights_worker;
--! EndIncluded ml/functions/forest_train.sql
--! Included ml/functions/forest_predict.sql
create or replace function ml.forest_predict(
  random_forest_model text,
  new_data_table text,
  output_table text,
  type text default 'response'
)
returns void
language sql
begin atomic
  select ml._forest_predict('forest_train', random_forest_model, new_data_table, output_table, type);
end;

comment on function ml.forest_predict(text, text, text, text) is $$
@behavior -*
Predictions of a model of ml.forest_train for every row of a table, in one statement: the mean over the trees.
Writes `output_table`: the id column and `estimated_<dependent variable>` (the number, or the class of the highest mean probability), or with type
`prob` one column `estimated_prob_<class>` a class. Errors: CF001 (type), CF002 (not a model, a missing column), CF003 (`output_table` exists), CF005.
$$;

grant execute on function ml.forest_predict(text, text, text, text) to insights_admin, insights_worker;
--! EndIncluded ml/functions/forest_predict.sql
--! Included ml/functions/summary.sql
create or replace function ml.summary(
  source_table text,
  output_table text,
  target_cols text default null,
  grouping_cols text default null,
  get_distinct boolean default true,
  get_quartiles boolean default true,
  ntile_array float8[] default null,
  how_many_mfv int default 10
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
declare
  v_relation regclass := ml._relation(source_table);
  v_output text := ml._output(output_table);
  v_groups text[] := ml._column_list(v_relation, grouping_cols, 'grouping columns');
  v_columns text[] := coalesce(
    nullif(ml._column_list(v_relation, target_cols, 'target columns'), '{}'),
    array(select quote_ident(name) from unnest(ml._columns(v_relation)) with ordinality as stored (name, position) order by position)
  );
  v_column text;
  v_group text;
  v_type regtype;
  v_text boolean;
  v_number text;
  v_any boolean;
begin
  if exists (select from unnest(ntile_array) as share where share is null or not (share >= 0 and share <= 1)) then
    raise exception using errcode = 'CF001', message = format('ntile_array %s', ntile_array), hint = 'Quantiles are shares in 0..1.';
  elsif how_many_mfv is null or how_many_mfv not between 0 and 1000 then
    raise exception using errcode = 'CF001', message = format('how_many_mfv %s', coalesce(how_many_mfv::text, 'null')), hint = 'Choose 0 to 1000.';
  end if;
  execute format('select exists (select from %s)', v_relation) into v_any;
  if not v_any then
    raise exception using errcode = 'CF004', message = format('"%s" is empty', v_relation), hint = 'There is nothing to summarize.';
  end if;
  execute format(
    'create table %s (group_by text, group_by_value text, target_column text, column_number int, data_type text, row_count bigint, distinct_values bigint,
       missing_values bigint, blank_values bigint, fraction_missing float8, fraction_blank float8, positive_values bigint, negative_values bigint, zero_values bigint,
       mean float8, variance float8, confidence_interval float8[], min float8, max float8, first_quartile float8, median float8, third_quartile float8,
       quantile_array float8[], most_frequent_values text[], mfv_frequencies bigint[])',
    v_output
  );
  foreach v_column in array v_columns loop
    v_type := ml._expression(v_column, v_relation, 'target column');
    v_text := v_type in ('text'::regtype, 'character varying'::regtype, 'character'::regtype, 'name'::regtype);
    v_number := case
      when v_type in ('smallint'::regtype, 'integer'::regtype, 'bigint'::regtype, 'real'::regtype, 'double precision'::regtype, 'numeric'::regtype) then v_column || '::float8'
      when v_text then format('length(%s)::float8', v_column)
      else 'null::float8'
    end;
    -- MADlib's way: each grouping column by itself, and all rows when there is none.
    foreach v_group in array case when v_groups = '{}' then array[null::text] else v_groups end loop
      execute format(
        $query$
        insert into %1$s
        with value as (
          select %2$s as place, (%3$s)::text as shown, %4$s as number
          from %5$s
        ), measured as (
          select
            place,
            count(*) as row_count,
            %6$s as distinct_values,
            count(*) - count(shown) as missing_values,
            count(*) filter (where btrim(shown) = '') as blank_values,
            count(*) filter (where number > 0) as positive_values,
            count(*) filter (where number < 0) as negative_values,
            count(*) filter (where number = 0) as zero_values,
            avg(number) as mean, var_samp(number) as variance, count(number) as numbers, min(number) as least, max(number) as greatest,
            %7$s as quartiles,
            %8$s as quantiles
          from value
          group by place
        ), frequent as (
          select place, array_agg(shown order by times desc, shown) as most_frequent, array_agg(times order by times desc, shown) as times
          from (
            select place, shown, count(*) as times, row_number() over (partition by place order by count(*) desc, shown) as rank
            from value
            where shown is not null
              and %9$s > 0
            group by place, shown
          ) as counted
          where rank <= %9$s
          group by place
        )
        select
          %10$L, measured.place, %11$L, %12$s, %13$L, row_count, distinct_values, missing_values,
          case when %14$L then blank_values end,
          missing_values / row_count::float8,
          case when %14$L then blank_values / row_count::float8 end,
          case when not %14$L and numbers > 0 then positive_values end,
          case when not %14$L and numbers > 0 then negative_values end,
          case when not %14$L and numbers > 0 then zero_values end,
          mean, variance, case when numbers > 1 then array[mean - 1.959964 * sqrt(variance / numbers), mean + 1.959964 * sqrt(variance / numbers)] end,
          least, greatest, quartiles[1], quartiles[2], quartiles[3], quantiles, most_frequent, times
        from measured
        left join frequent on frequent.place is not distinct from measured.place
        order by measured.place
        $query$,
        v_output, coalesce(v_group || '::text', 'null::text'), v_column, v_number, v_relation,
        case when get_distinct then 'count(distinct shown)' else 'null::bigint' end,
        case when get_quartiles then 'percentile_cont(array[0.25, 0.5, 0.75]) within group (order by number)' else 'null::float8[]' end,
        case when ntile_array is not null then format('percentile_cont(%L::float8[]) within group (order by number)', ntile_array) else 'null::float8[]' end,
        how_many_mfv,
        case when v_group is not null then (parse_ident(v_group))[1] end,
        (parse_ident(v_column))[1],
        array_position(ml._columns(v_relation), (parse_ident(v_column))[1]),
        v_type, v_text
      );
    end loop;
  end loop;
end;
$$;

comment on function ml.summary(text, text, text, text, boolean, boolean, float8[], int) is $$
@behavior -*
What is in each column of a table, in MADlib's columns; one row a column, and a value of each grouping column by itself.
Writes `output_table`: `group_by`, `group_by_value`, `target_column`, `column_number`, `data_type`, `row_count`, `distinct_values` (exact), `missing_values`,
`blank_values`, `fraction_missing`, `fraction_blank`, `positive_values`, `negative_values`, `zero_values`, `mean`, `variance`, `confidence_interval` (95 % of
the mean), `min`, `max`, `first_quartile`, `median`, `third_quartile`, `quantile_array` (at the shares of `ntile_array`), `most_frequent_values`,
`mfv_frequencies`. For text the numbers are those of its length. Errors: CF001, CF002, CF003 (`output_table` exists), CF004 (empty), CF005.
$$;

grant execute on function ml.summary(text, text, text, text, boolean, boolean, float8[], int) to insights_admin, insights_worker;
--! EndIncluded ml/functions/summary.sql
--! Included ml/functions/_pairs.sql
create or replace function ml._pairs(
  source_table text,
  output_table text,
  target_cols text,
  grouping_cols text,
  aggregate text
)
returns void
language plpgsql
set jit to off
set client_min_messages to warning
as $$
declare
  v_relation regclass := ml._relation(source_table);
  v_output text := ml._output(output_table, array['_summary']);
  v_groups text[] := ml._column_list(v_relation, grouping_cols, 'grouping columns');
  v_columns text[];
  v_numbers text[];
  v_rows bigint;
begin
  if coalesce(btrim(target_cols), '*') = '*' then
    v_columns := array(
      select quote_ident(attribute.attname)
      from pg_catalog.pg_attribute as attribute
      where attribute.attrelid = v_relation
        and attribute.attnum > 0
        and not attribute.attisdropped
        and attribute.atttypid = any (array['smallint', 'integer', 'bigint', 'real', 'double precision', 'numeric', 'boolean']::regtype[])
        and not quote_ident(attribute.attname) = any (v_groups)
      order by attribute.attnum
    );
  else
    v_columns := ml._column_list(v_relation, target_cols, 'target columns');
  end if;
  if cardinality(v_columns) < 2 then
    raise exception using errcode = 'CF004', message = format('"%s" has %s columns to compare', v_relation, cardinality(v_columns)), hint = 'Name at least two columns of numbers.';
  elsif cardinality(v_columns) > 500 then
    raise exception using errcode = 'CF008', message = format('%s columns', cardinality(v_columns)), hint = 'Name up to 500 columns.';
  end if;
  v_numbers := array(select ml._numeric_expression(name, v_relation, 'target column') from unnest(v_columns) with ordinality as part (name, position) order by position);
  drop table if exists pg_temp._ml_pair;
  execute format(
    'create temp table _ml_pair on commit drop as select %s count(*) as row_count, array[%s]::float8[] as below from %s where %s %s having count(*) > 0',
    (select coalesce(string_agg(name || ', ', '' order by position), '') from unnest(v_groups) with ordinality as part (name, position)),
    -- The lower triangle, row by row, as one list of built-in aggregates.
    (
      select string_agg(format('%s(%s, %s)', aggregate, left_side.number, right_side.number), ', ' order by left_side.position, right_side.position)
      from unnest(v_numbers) with ordinality as left_side (number, position)
      join unnest(v_numbers) with ordinality as right_side (number, position) on right_side.position <= left_side.position
    ),
    v_relation,
    (select string_agg(name || ' is not null', ' and ') from unnest(v_columns) as name),
    case when v_groups = '{}' then '' else 'group by ' || array_to_string(v_groups, ', ') end
  );
  select sum(row_count) into v_rows from pg_temp._ml_pair;
  if coalesce(v_rows, 0) = 0 then
    raise exception using errcode = 'CF004', message = format('"%s" has no row without a null in %s', v_relation, array_to_string(v_columns, ', ')), hint = 'Rows with a null in any of the columns are left out.';
  end if;
  execute format(
    'create table %s as select %s column_position::int, variable, %s from pg_temp._ml_pair cross join unnest(%L::text[]) with ordinality as line (variable, column_position) order by %s column_position',
    v_output,
    (select coalesce(string_agg(name || ', ', '' order by position), '') from unnest(v_groups) with ordinality as part (name, position)),
    (
      select string_agg(format('case when column_position >= %1$s then below[column_position * (column_position - 1) / 2 + %1$s] end as %2$s', position, name), ', ' order by position)
      from unnest(v_columns) with ordinality as part (name, position)
    ),
    array(select (parse_ident(name))[1] from unnest(v_columns) with ordinality as part (name, position) order by position),
    (select coalesce(string_agg(name || ', ', '' order by position), '') from unnest(v_groups) with ordinality as part (name, position))
  );
  execute format(
    'create table %s as select %L::text as method, %L::text as source, %L::text as output_table, %L::text[] as column_names, %s::bigint as total_rows_processed, (select count(*) from %s) - %s as total_rows_skipped',
    ml._suffixed(v_output, '_summary'), case aggregate when 'corr' then 'Correlation' else 'Covariance' end, v_relation, v_output, v_columns, v_rows, v_relation, v_rows
  );
  drop table pg_temp._ml_pair;
end;
$$;

comment on function ml._pairs(text, text, text, text, text) is $$
Writes the lower triangle of a two-argument aggregate over all pairs of columns, in one scan.
$$;

grant execute on function ml._pairs(text, text, text, text, text) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/functions/_pairs.sql
--! Included ml/functions/correlation.sql
create or replace function ml.correlation(
  source_table text,
  output_table text,
  target_cols text default '*',
  verbose boolean default false,
  grouping_cols text default null
)
returns void
language sql
begin atomic
  select ml._pairs(source_table, output_table, target_cols, grouping_cols, 'corr');
end;

comment on function ml.correlation(text, text, text, boolean, text) is $$
@behavior -*
Pearson's correlation of every pair of columns (−1..1; null where a column is constant).
With `*` all columns of numbers or booleans. Rows with a null in any of them are left out and counted. One scan of built-in aggregates, also by group.
Writes `output_table`: the grouping columns, `column_position`, `variable` and one float8 column a variable (lower triangle, null above the
diagonal); and `<output_table>_summary`. `verbose` is MADlib's and changes nothing.
Errors: CF001 (not a number), CF002, CF003 (a table exists), CF004 (fewer than two columns, no rows), CF005, CF008 (over 500 columns).
$$;

grant execute on function ml.correlation(text, text, text, boolean, text) to insights_admin, insights_worker;
--! EndIncluded ml/functions/correlation.sql
--! Included ml/functions/covariance.sql
create or replace function ml.covariance(
  source_table text,
  output_table text,
  target_cols text default '*',
  verbose boolean default false,
  grouping_cols text default null
)
returns void
language sql
begin atomic
  select ml._pairs(source_table, output_table, target_cols, grouping_cols, 'covar_samp');
end;

comment on function ml.covariance(text, text, text, boolean, text) is $$
@behavior -*
Sample covariance of every pair of columns (divided by n − 1; the diagonal holds the variances).
With `*` all columns of numbers or booleans. Rows with a null in any of them are left out and counted. One scan of built-in aggregates, also by group.
Writes `output_table`: the grouping columns, `column_position`, `variable` and one float8 column a variable (lower triangle, null above the
diagonal); and `<output_table>_summary`. `verbose` is MADlib's and changes nothing.
Errors: CF001 (not a number), CF002, CF003 (a table exists), CF004 (fewer than two columns, no rows), CF005, CF008 (over 500 columns).
$$;

grant execute on function ml.covariance(text, text, text, boolean, text) to insights_admin, insights_worker;
--! EndIncluded ml/functions/covariance.sql
--! Included ml/functions/encode_categorical_variables.sql
create or replace function ml.encode_categorical_variables(
  source_table text,
  output_table text,
  categorical_cols text,
  categorical_cols_to_exclude text default null,
  row_id text default null,
  top text default null,
  value_to_drop text default null,
  encode_null boolean default false,
  output_type text default 'column',
  output_dictionary boolean default false
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_relation regclass := ml._relation(source_table);
  v_output text := ml._output(output_table, array['_dictionary']);
  v_excluded text[] := ml._column_list(v_relation, categorical_cols_to_exclude, 'columns to exclude');
  v_ids text[] := ml._column_list(v_relation, row_id, 'row id');
  v_columns text[];
  v_column text;
  v_name text;
  v_top float8;
  v_drop text;
  v_item text;
  v_values text[];
  v_frequent text[];
  v_value text;
  v_names text[] := '{}';
  v_expressions text[] := '{}';
  v_of text[] := '{}';
  v_shown text[] := '{}';
  v_rows bigint;
  v_kept text;
  v_keep_names boolean;
begin
  if btrim(categorical_cols) = '*' then
    v_columns := array(
      select quote_ident(attribute.attname)
      from pg_catalog.pg_attribute as attribute
      where attribute.attrelid = v_relation
        and attribute.attnum > 0
        and not attribute.attisdropped
        and attribute.atttypid = any (array['text', 'character varying', 'character', 'boolean', 'smallint', 'integer', 'bigint']::regtype[])
        and not quote_ident(attribute.attname) = any (v_excluded || v_ids)
      order by attribute.attnum
    );
  else
    v_columns := array(
      select name
      from unnest(ml._column_list(v_relation, categorical_cols, 'categorical columns')) with ordinality as part (name, position)
      where not name = any (v_excluded)
      order by position
    );
  end if;
  if v_columns = '{}' then
    raise exception using errcode = 'CF004', message = 'no categorical column is left', hint = 'Name at least one column, or * for all of text, boolean and integer.';
  elsif output_type is null or output_type not in ('column', 'array') then
    raise exception using errcode = 'CF001', message = format('output_type "%s"', coalesce(left(output_type, 100), 'null')), hint = 'Choose column or array.';
  end if;
  execute format('select count(*) from %s', v_relation) into v_rows;
  if v_rows = 0 then
    raise exception using errcode = 'CF004', message = format('"%s" is empty', v_relation), hint = 'There is nothing to encode.';
  end if;

  foreach v_column in array v_columns loop
    v_name := (parse_ident(v_column))[1];
    v_top := null;
    v_drop := null;
    foreach v_item in array coalesce(ml._split(nullif(btrim(top), '')), '{}') loop
      begin
        if v_item !~ '=' then
          v_top := v_item::float8;
        elsif ml._column(v_relation, btrim(split_part(v_item, '=', 1)), 'top') = v_column then
          v_top := btrim(split_part(v_item, '=', 2))::float8;
        end if;
      exception when invalid_text_representation then
        raise exception using errcode = 'CF001', message = format('top "%s"', left(top, 100)), hint = 'Give a number of values, a share below 1, or a list such as sex=2, rings=0.5.';
      end;
    end loop;
    foreach v_item in array coalesce(ml._split(nullif(btrim(value_to_drop), '')), '{}') loop
      if ml._column(v_relation, btrim(split_part(v_item, '=', 1)), 'value_to_drop') = v_column then
        v_drop := btrim(substr(v_item, strpos(v_item, '=') + 1));
      end if;
    end loop;
    if v_top <= 0 then
      raise exception using errcode = 'CF001', message = format('top %s', v_top), hint = 'Give a number of values, or a share below 1.';
    end if;
    execute format('select array_agg(value order by ordering), array_agg(value order by times desc, value) from (select %1$s::text as value, min(%1$s::text) as ordering, count(*) as times from %2$s where %1$s is not null group by 1) as counted', v_column, v_relation)
    into v_values, v_frequent;
    v_values := coalesce(v_values, '{}');
    if v_top < 1 then
      -- The most frequent values that together make up this share of the rows.
      execute format(
        'select array_agg(value) from (select value, sum(times) over (order by times desc, value) - times as before, sum(times) over () as total
           from (select %1$s::text as value, count(*) as times from %2$s where %1$s is not null group by 1) as counted) as running where before < %3$L::float8 * total',
        v_column, v_relation, v_top
      ) into v_frequent;
    elsif v_top is not null then
      v_frequent := v_frequent[1:floor(v_top)::int];
    end if;
    if cardinality(v_names) + cardinality(v_values) > 1500 and v_top is null then
      raise exception using errcode = 'CF008', message = format('"%s" has %s values', left(v_column, 100), cardinality(v_values)), hint = 'Encode the most frequent with top, or exclude the column.';
    end if;
    if v_drop is not null and not v_drop = any (v_values) then
      raise exception using errcode = 'CF002', message = format('"%s" never holds "%s"', left(v_column, 100), left(v_drop, 100)), hint = coalesce('Did you mean "' || ml._nearest(v_drop, v_values) || '"?', 'Drop a value that occurs.');
    end if;
    foreach v_value in array v_values loop
      continue when v_value = v_drop or (v_top is not null and not v_value = any (v_frequent));
      v_names := v_names || (v_name || '_' || v_value);
      v_of := v_of || v_name;
      v_shown := v_shown || v_value;
      v_expressions := v_expressions || format('coalesce(%s::text = %L, false)::int', v_column, v_value);
    end loop;
    if v_top is not null and cardinality(v_frequent) < cardinality(v_values) then
      v_names := v_names || (v_name || '__misc__');
      v_of := v_of || v_name;
      v_shown := v_shown || '__misc__'::text;
      v_expressions := v_expressions || format('coalesce(%1$s::text <> all (%2$L::text[]), false)::int', v_column, v_frequent || coalesce(v_drop, v_frequent[1]));
    end if;
    if encode_null then
      v_names := v_names || (v_name || '_null');
      v_of := v_of || v_name;
      v_shown := v_shown || null::text;
      v_expressions := v_expressions || format('(%s is null)::int', v_column);
    end if;
  end loop;
  if v_names = '{}' then
    raise exception using errcode = 'CF004', message = 'no value is left to encode', hint = 'The columns are null, or their only values are dropped.';
  end if;
  -- Names that PostgreSQL would cut, or that two values share, are replaced by numbers; the dictionary says what they mean.
  v_keep_names := not output_dictionary
    and not exists (select from unnest(v_names) as name where octet_length(name) > 63)
    and (select count(distinct name) = count(*) from unnest(v_names) as name);
  if not v_keep_names then
    v_names := array(select v_of[position] || '_' || row_number() over (partition by v_of[position] order by position) from generate_series(1, cardinality(v_of)) as position order by position);
  end if;
  v_kept := case
    when v_ids <> '{}' then array_to_string(v_ids, ', ')
    else coalesce((
      select string_agg(quote_ident(name), ', ' order by position)
      from unnest(ml._columns(v_relation)) with ordinality as stored (name, position)
      where not quote_ident(name) = any (v_columns)
    ), '')
  end;
  execute format(
    'create table %s as select %s %s from %s',
    v_output, v_kept || case when v_kept = '' then '' else ',' end,
    case when output_type = 'array' then format('array[%s] as encoded', array_to_string(v_expressions, ', '))
    else (select string_agg(format('%s as %I', v_expressions[position], v_names[position]), ', ' order by position) from generate_series(1, cardinality(v_names)) as position) end,
    v_relation
  );
  if not v_keep_names or output_type = 'array' then
    execute format(
      'create table %s as select encoded_column_name, index::int, variable, value from unnest(%L::text[], %L::text[], %L::text[]) with ordinality as entry (encoded_column_name, variable, value, index)',
      ml._suffixed(v_output, '_dictionary'), v_names, v_of, v_shown
    );
  end if;
end;
$$;

comment on function ml.encode_categorical_variables(text, text, text, text, text, text, text, boolean, text, boolean) is $$
@behavior -*
Categories as columns of 0 and 1, one a value (one-hot), or all but one (`value_to_drop`, such as `sex=M, rings=10`), in MADlib's arguments.
`categorical_cols`: a list, or `*` for all of text, boolean and integer. `row_id`: the columns to keep (null: all that are not encoded). `top`: encode the most frequent
values only (a number, or a share of the rows below 1; one for all or a list such as `sex=2, rings=0.5`), the rest together as `<column>__misc__`.
`encode_null` adds `<column>_null`. Names are `<column>_<value>`; where one is too long, or with `output_dictionary`, they are numbered and
`<output_table>_dictionary` (`encoded_column_name`, `index`, `variable`, `value`) says what they mean. `output_type` `array` gives one int[] `encoded`.
Errors: CF001, CF002 (unknown column or value), CF003 (a table exists), CF004 (empty), CF005, CF008 (over 1,500 columns).
$$;

grant execute on function ml.encode_categorical_variables(text, text, text, text, text, text, text, boolean, text, boolean) to insights_admin, insights_worker;
--! EndIncluded ml/functions/encode_categorical_variables.sql
--! Included ml/functions/pivot.sql
create or replace function ml.pivot(
  source_table text,
  output_table text,
  index text,
  pivot_cols text,
  pivot_values text,
  aggregate_func text default 'avg',
  fill_value text default null,
  keep_null boolean default false,
  output_col_dictionary boolean default false,
  output_type text default 'column'
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_relation regclass := ml._relation(source_table);
  v_output text := ml._output(output_table, array['_dictionary']);
  v_index text[] := ml._column_list(v_relation, index, 'index');
  v_pivots text[] := ml._column_list(v_relation, pivot_cols, 'pivot columns');
  v_values text[] := ml._column_list(v_relation, pivot_values, 'pivot values');
  v_item text;
  v_aggregates text[] := '{}';
  v_aggregated text[] := '{}';
  v_value text;
  v_aggregate text;
  v_combination jsonb;
  v_combinations jsonb;
  v_names text[] := '{}';
  v_expressions text[] := '{}';
  v_dictionary jsonb[] := '{}';
  v_filter text;
  v_label text;
begin
  if v_index = '{}' or v_pivots = '{}' or v_values = '{}' then
    raise exception using errcode = 'CF001', message = 'index, pivot columns or pivot values are missing', hint = 'Name at least one column of each.';
  elsif output_type is null or output_type not in ('column', 'array') then
    raise exception using errcode = 'CF001', message = format('output_type "%s"', coalesce(left(output_type, 100), 'null')), hint = 'Choose column or array.';
  end if;
  -- `avg`, `avg, sum` for every value, or `val=avg, val2=[avg, sum]`.
  foreach v_item in array coalesce(ml._split(nullif(btrim(aggregate_func), '')), array['avg']) loop
    v_value := case when v_item ~ '=' then ml._column(v_relation, btrim(split_part(v_item, '=', 1)), 'aggregate_func') end;
    foreach v_aggregate in array ml._split(btrim(substr(v_item, strpos(v_item, '=') + 1), ' []')) loop
      if to_regproc(v_aggregate) is null and not exists (
        select from pg_catalog.pg_proc where proname = lower(v_aggregate) and prokind = 'a'
      ) or v_aggregate !~* '^[a-z_][a-z0-9_.]*$' then
        raise exception using errcode = 'CF002', message = format('there is no aggregate "%s"', left(v_aggregate, 100)), hint = 'Name an aggregate of one argument, such as avg, sum, count, min or max.';
      end if;
      v_aggregates := v_aggregates || lower(v_aggregate);
      v_aggregated := v_aggregated || v_value;
    end loop;
  end loop;
  execute format(
    'select jsonb_agg(combination order by %1$s) from (select distinct %1$s, jsonb_build_array(%2$s) as combination from %3$s %4$s) as seen',
    array_to_string(v_pivots, ', '),
    (select string_agg(name || '::text', ', ' order by position) from unnest(v_pivots) with ordinality as part (name, position)),
    v_relation,
    case when keep_null then '' else 'where ' || (select string_agg(name || ' is not null', ' and ') from unnest(v_pivots) as name) end
  ) into v_combinations;
  if v_combinations is null then
    raise exception using errcode = 'CF004', message = format('"%s" has no value in %s', v_relation, left(pivot_cols, 100)), hint = 'Pivoting needs rows; keep_null makes a column for null.';
  elsif jsonb_array_length(v_combinations) * cardinality(v_values) * cardinality(v_aggregates) > 1500 then
    raise exception using errcode = 'CF008', message = format('%s combinations of %s', jsonb_array_length(v_combinations), left(pivot_cols, 100)), hint = 'A table has room for 1,500 of them.';
  end if;
  foreach v_value in array v_values loop
    for v_position in 1..cardinality(v_aggregates) loop
      continue when v_aggregated[v_position] is not null and v_aggregated[v_position] <> v_value;
      for v_combination in select value from jsonb_array_elements(v_combinations) loop
        select
          string_agg(format('%s::text is not distinct from %L', v_pivots[position], part), ' and ' order by position),
          string_agg((parse_ident(v_pivots[position]))[1] || '_' || coalesce(part, 'null'), '_' order by position)
        into v_filter, v_label
        from jsonb_array_elements_text(v_combination) with ordinality as entry (part, position);
        v_names := v_names || format('%s_%s_%s', (parse_ident(v_value))[1], v_aggregates[v_position], v_label);
        v_expressions := v_expressions || case
          when fill_value is null then format('%s(%s) filter (where %s)', v_aggregates[v_position], v_value, v_filter)
          else format('coalesce(%s(%s) filter (where %s), %L)', v_aggregates[v_position], v_value, v_filter, fill_value)
        end;
        v_dictionary := v_dictionary || jsonb_build_object('value', v_value, 'aggregate', v_aggregates[v_position], 'pivot', v_combination);
      end loop;
    end loop;
  end loop;
  if output_col_dictionary or output_type = 'array' or exists (select from unnest(v_names) as name where octet_length(name) > 63) or (select count(distinct name) < count(*) from unnest(v_names) as name) then
    v_names := array(select '__p_' || position || '__' from generate_series(1, cardinality(v_names)) as position order by position);
    execute format(
      'create table %s as
       select column_name, entry ->> ''value'' as pval, entry ->> ''aggregate'' as agg, %s
       from unnest(%L::text[], %L::jsonb[]) with ordinality as listed (column_name, entry, position) order by position',
      ml._suffixed(v_output, '_dictionary'),
      (select string_agg(format('entry -> ''pivot'' ->> %s as %s', position - 1, name), ', ' order by position) from unnest(v_pivots) with ordinality as part (name, position)),
      v_names, v_dictionary
    );
  end if;
  begin
    execute format(
      'create table %1$s as select %2$s, %3$s from %4$s group by %2$s order by %2$s',
      v_output, array_to_string(v_index, ', '),
      case when output_type = 'array' then format('array[%s] as pivoted', array_to_string(v_expressions, ', '))
      else (select string_agg(format('%s as %I', v_expressions[position], v_names[position]), ', ' order by position) from generate_series(1, cardinality(v_names)) as position) end,
      v_relation
    );
  exception when undefined_function or datatype_mismatch or invalid_text_representation then
    raise exception using errcode = 'CF001', message = format('%s of %s: %s', array_to_string(v_aggregates, ', '), left(pivot_values, 100), left(sqlerrm, 100)), hint = 'Choose aggregates and a fill value of the values'' type.';
  end;
end;
$$;

comment on function ml.pivot(text, text, text, text, text, text, text, boolean, boolean, text) is $$
@behavior -*
Values of columns as columns: one row an `index`, one column a combination of `pivot_cols`, filled by an aggregate of `pivot_values`; in one scan.
`aggregate_func`: `avg`, a list for every value (`avg, sum`), or by value (`price=[avg, sum], size=max`). `fill_value` stands where a combination has no
row; `keep_null` makes columns for null. Columns are `<value>_<aggregate>_<pivot column>_<its value>`; where one is too long, or with
`output_col_dictionary`, they are numbered and `<output_table>_dictionary` says what they mean. `output_type` `array` gives one array `pivoted`.
Errors: CF001, CF002 (unknown column or aggregate), CF003 (a table exists), CF004 (no rows), CF005, CF008 (over 1,500 columns).
$$;

grant execute on function ml.pivot(text, text, text, text, text, text, text, boolean, boolean, text) to insights_admin, insights_worker;
--! EndIncluded ml/functions/pivot.sql
--! Included ml/functions/_sample.sql
create or replace function ml._sample(
  relation regclass,
  groups text[],
  columns text[],
  proportion float8,
  with_replacement boolean,
  seed bigint
)
returns text
language plpgsql
stable
as $$
declare
  v_partition text := case when groups = '{}' then '' else 'partition by ' || array_to_string(groups, ', ') end;
  v_columns text := (select string_agg('source.' || name, ', ' order by position) from unnest(columns) with ordinality as part (name, position));
begin
  -- A row's place is decided by its content and the seed, so neither the order of rows nor a parallel plan changes the draw.
  return format(
    case when with_replacement then
      'select %1$s
       from (
         select *, row_number() over (%2$s order by hashtextextended(source::text, %4$L::bigint), source::text) as _place, count(*) over (%2$s) as _size, dense_rank() over (order by %6$s) as _stratum
         from %3$s as source
       ) as source
       cross join lateral (
         select count(*) as copies
         from generate_series(1, round(source._size * %5$L::float8)::bigint) as draw
         where abs(hashint8extended(draw, %4$L::bigint + 1 + source._stratum) %% source._size) + 1 = source._place
       ) as drawn
       cross join generate_series(1, drawn.copies)'
    else
      'select %1$s
       from (
         select *, row_number() over (%2$s order by hashtextextended(source::text, %4$L::bigint), source::text) as _place, count(*) over (%2$s) as _size
         from %3$s as source
       ) as source
       where source._place <= round(source._size * %5$L::float8)'
    end,
    v_columns, v_partition, relation, seed, proportion,
    case when groups = '{}' then '1' else array_to_string(groups, ', ') end
  );
end;
$$;

comment on function ml._sample(regclass, text[], text[], float8, boolean, bigint) is $$
A query that draws a share of the rows of each group, by a hash of the row and the seed.
$$;

grant execute on function ml._sample(regclass, text[], text[], float8, boolean, bigint) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/functions/_sample.sql
--! Included ml/functions/stratified_sample.sql
create or replace function ml.stratified_sample(
  source_table text,
  output_table text,
  proportion float8,
  grouping_cols text default null,
  target_cols text default null,
  with_replacement boolean default false,
  seed bigint default 0
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_relation regclass := ml._relation(source_table);
  v_output text := ml._output(output_table);
  v_groups text[] := ml._column_list(v_relation, grouping_cols, 'grouping columns');
  v_columns text[] := ml._column_list(v_relation, case when btrim(target_cols) <> '*' then target_cols end, 'target columns');
  v_rows bigint;
begin
  if proportion is null or not (proportion > 0 and proportion <= 1) or seed is null or with_replacement is null then
    raise exception using errcode = 'CF001', message = format('proportion %s', coalesce(proportion::text, 'null')), hint = 'Choose a share above 0, at most 1, a seed, and with_replacement true or false.';
  end if;
  if v_columns = '{}' then
    v_columns := array(select quote_ident(name) from unnest(ml._columns(v_relation)) with ordinality as stored (name, position) order by position);
  else
    v_columns := array(select name from unnest(v_groups || v_columns) with ordinality as part (name, position) group by name order by min(position));
  end if;
  execute format('create table %s as %s', v_output, ml._sample(v_relation, v_groups, v_columns, proportion, with_replacement, seed));
  get diagnostics v_rows = row_count;
  if v_rows = 0 then
    raise exception using errcode = 'CF004', message = format('a share of %s of "%s" holds no row', proportion, v_relation), hint = 'Choose a larger share.';
  end if;
end;
$$;

comment on function ml.stratified_sample(text, text, float8, text, text, boolean, bigint) is $$
@behavior -*
A share of the rows of each group (stratum), so that a sample keeps the groups' sizes; rounded to whole rows a group.
Writes `output_table` with the grouping columns and `target_cols` (null or `*`: all columns). A row's content and the seed decide, not the order of rows.
Errors: CF001 (proportion), CF002, CF003 (`output_table` exists), CF004 (nothing drawn), CF005.
$$;

grant execute on function ml.stratified_sample(text, text, float8, text, text, boolean, bigint) to insights_admin, insights_worker;
--! EndIncluded ml/functions/stratified_sample.sql
--! Included ml/functions/train_test_split.sql
create or replace function ml.train_test_split(
  source_table text,
  output_table text,
  train_proportion float8,
  test_proportion float8 default null,
  grouping_cols text default null,
  target_cols text default null,
  with_replacement boolean default false,
  separate_output_tables boolean default false,
  seed bigint default 0
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set client_min_messages to warning
as $$
declare
  v_relation regclass := ml._relation(source_table);
  v_output text := ml._output(output_table, array['_train', '_test']);
  v_groups text[] := ml._column_list(v_relation, grouping_cols, 'grouping columns');
  v_columns text[] := ml._column_list(v_relation, case when btrim(target_cols) <> '*' then target_cols end, 'target columns');
  v_test float8 := coalesce(test_proportion, 1 - train_proportion);
  v_partition text := case when v_groups = '{}' then '' else 'partition by ' || array_to_string(v_groups, ', ') end;
  v_list text;
  v_rows bigint;
begin
  if train_proportion is null or not (train_proportion > 0 and train_proportion < 1) or not (v_test > 0 and v_test < 1) or train_proportion + v_test > 1 + 1e-9 or seed is null then
    raise exception using errcode = 'CF001', message = format('train_proportion %s, test_proportion %s', coalesce(train_proportion::text, 'null'), coalesce(v_test::text, 'null')),
      hint = 'Both are shares between 0 and 1 that sum to 1 or less.';
  elsif with_replacement then
    raise exception using errcode = 'CF001', message = 'a split with replacement would test on rows it trains on', hint = 'Leave with_replacement false; ml.stratified_sample draws with replacement.';
  end if;
  if v_columns = '{}' then
    v_columns := array(select quote_ident(name) from unnest(ml._columns(v_relation)) with ordinality as stored (name, position) order by position);
  else
    v_columns := array(select name from unnest(v_groups || v_columns) with ordinality as part (name, position) group by name order by min(position));
  end if;
  if not separate_output_tables and 'split' = any (v_columns) then
    raise exception using errcode = 'CF003', message = format('"%s" has a column "split" already', v_relation), hint = 'Name target_cols without it, or choose separate_output_tables.';
  end if;
  v_list := array_to_string(v_columns, ', ');
  drop table if exists pg_temp._ml_split;
  execute format(
    'create temp table _ml_split on commit drop as
     select %1$s, (_place <= round(_size * %2$L::float8))::int as _split
     from (
       select *, row_number() over (%3$s order by hashtextextended(source::text, %4$L::bigint), source::text) as _place, count(*) over (%3$s) as _size
       from %5$s as source
     ) as placed
     where _place <= round(_size * %6$L::float8)',
    v_list, train_proportion, v_partition, seed, v_relation, least(train_proportion + v_test, 1)
  );
  get diagnostics v_rows = row_count;
  if v_rows < 2 then
    raise exception using errcode = 'CF004', message = format('"%s" has %s rows to split', v_relation, v_rows), hint = 'A split needs at least two rows.';
  end if;
  if separate_output_tables then
    execute format('create table %s as select %s from pg_temp._ml_split where _split = 1', ml._suffixed(v_output, '_train'), v_list);
    execute format('create table %s as select %s from pg_temp._ml_split where _split = 0', ml._suffixed(v_output, '_test'), v_list);
  else
    execute format('create table %s as select %s, _split as split from pg_temp._ml_split', v_output, v_list);
  end if;
  drop table pg_temp._ml_split;
end;
$$;

comment on function ml.train_test_split(text, text, float8, float8, text, text, boolean, boolean, bigint) is $$
@behavior -*
Random rows to train on and others to test on, by group where `grouping_cols` are given.
For behaviour, where the future must not teach about the past, use ml.time_split.
Writes `output_table` with `target_cols` (null or `*`: all columns) and `split` (1 = train, 0 = test), or with `separate_output_tables` the tables
`<output_table>_train` and `<output_table>_test`. A row's content and the seed decide, not the order of rows.
Errors: CF001 (proportions, with_replacement), CF002, CF003 (a table or the column `split` exists), CF004 (fewer than two rows), CF005.
$$;

grant execute on function ml.train_test_split(text, text, float8, float8, text, text, boolean, boolean, bigint) to insights_admin, insights_worker;
--! EndIncluded ml/functions/train_test_split.sql
--! Included ml/functions/time_split.sql
create or replace function ml.time_split(
  source_table text,
  output_table text,
  predicted_at text,
  label_known_at text,
  feature_known_at text,
  cut_off timestamptz default null,
  test_proportion float8 default 0.2
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_relation regclass := ml._relation(source_table);
  v_output text := ml._output(output_table);
  v_features text[] := coalesce(ml._split(nullif(btrim(feature_known_at), '')), '{}');
  v_columns text;
  v_expression text;
  v_seen record;
  v_cut timestamptz := cut_off;
  v_counts record;
begin
  foreach v_expression in array array[predicted_at, label_known_at] || v_features loop
    if ml._expression(v_expression, v_relation, 'time') not in ('timestamp with time zone'::regtype, 'timestamp without time zone'::regtype, 'date'::regtype) then
      raise exception using errcode = 'CF001', message = format('"%s" is not a time', left(v_expression, 100)), hint = 'Give a column or expression of type timestamptz, timestamp or date.';
    end if;
  end loop;
  if v_features = '{}' then
    raise exception using errcode = 'CF001', message = 'nothing says when the features were known', hint = 'Give for each feature (or for all) the time of the newest event that it uses, such as ''last_event_at''.';
  elsif 'split' = any (ml._columns(v_relation)) then
    raise exception using errcode = 'CF003', message = format('"%s" has a column "split" already', v_relation), hint = 'Split a view without it.';
  end if;

  foreach v_expression in array v_features loop
    execute format(
      'select source::text as row, (%1$s)::timestamptz as known_at, (%2$s)::timestamptz as predicted_at, count(*) over () as leaks
       from %3$s as source where (%1$s)::timestamptz > (%2$s)::timestamptz order by (%1$s)::timestamptz - (%2$s)::timestamptz desc limit 1',
      v_expression, predicted_at, v_relation
    ) into v_seen;
    if v_seen.leaks is not null then
      raise exception using errcode = 'CF001',
        message = format('"%s" leaks: %s rows use what came after the prediction, up to %s for one predicted at %s', left(v_expression, 100), v_seen.leaks, v_seen.known_at, v_seen.predicted_at),
        hint = format('Build the feature from events until %s only.', left(predicted_at, 100));
    end if;
  end loop;
  execute format(
    'select count(*) as leaks from %3$s as source where (%1$s)::timestamptz < (%2$s)::timestamptz', label_known_at, predicted_at, v_relation
  ) into v_seen;
  if v_seen.leaks > 0 then
    raise exception using errcode = 'CF001', message = format('%s rows are predicted after their label was known', v_seen.leaks), hint = format('%s must not lie before %s.', left(label_known_at, 100), left(predicted_at, 100));
  end if;

  if v_cut is null then
    if test_proportion is null or not (test_proportion > 0 and test_proportion < 1) then
      raise exception using errcode = 'CF001', message = format('test_proportion %s', coalesce(test_proportion::text, 'null')), hint = 'Choose a share between 0 and 1, or a cut_off.';
    end if;
    execute format('select percentile_disc(%L::float8) within group (order by (%s)::timestamptz) from %s', 1 - test_proportion, predicted_at, v_relation) into v_cut;
  end if;
  v_columns := (select string_agg('source.' || quote_ident(name), ', ' order by position) from unnest(ml._columns(v_relation)) with ordinality as stored (name, position));
  execute format(
    $query$
    create table %1$s as
    select %2$s, case when (%3$s)::timestamptz >= %5$L::timestamptz then 'test' else 'train' end as split
    from %6$s as source
    where (%3$s)::timestamptz >= %5$L::timestamptz
       or ((%3$s)::timestamptz < %5$L::timestamptz and (%4$s)::timestamptz <= %5$L::timestamptz)
    $query$,
    v_output, v_columns, predicted_at, label_known_at, v_cut, v_relation
  );
  execute format('select count(*) filter (where split = ''train'') as train, count(*) filter (where split = ''test'') as test from %s', v_output) into v_counts;
  if v_counts.train = 0 or v_counts.test = 0 then
    raise exception using errcode = 'CF004', message = format('the cut-off %s leaves %s rows to train on and %s to test on', v_cut, v_counts.train, v_counts.test),
      hint = 'Choose a cut-off within the data; a row is trained on only when its label was known by then.';
  end if;
  execute format('comment on table %s is %L', v_output, format('Split of %s at %s.', v_relation, v_cut));
end;
$$;

comment on function ml.time_split(text, text, text, text, text, timestamptz, float8) is $$
@behavior -*
The past to train on, the later to test on: the split for behaviour data, with a guard against leaks from the future.
`predicted_at`: the time at which a row's prediction is due. `label_known_at`: when its outcome is known. `feature_known_at`: one expression or more,
separated by commas, that give the time of the newest event the features use. A row whose features use anything after `predicted_at` is refused,
by name. Rows predicted before the cut-off are trained on if their label was known by then (the others are left out); rows predicted from
the cut-off on are tested on. Without a `cut_off` the latest `test_proportion` of the rows are tested on.
Writes `output_table`: all columns and `split` (`train` or `test`).
Errors: CF001 (a leak, not a time), CF002, CF003 (`output_table` or a column `split` exists), CF004 (nothing to train or test on), CF005.
Source: Kaufman and others, Leakage in data mining, ACM TKDD 6, 2012.
$$;

grant execute on function ml.time_split(text, text, text, text, text, timestamptz, float8) to insights_admin, insights_worker;
--! EndIncluded ml/functions/time_split.sql
--! Included ml/functions/cross_validation_general.sql
create or replace function ml.cross_validation_general(
  modelling_func text,
  modelling_params text[],
  modelling_params_type text[],
  param_explored text,
  explore_values text[],
  predict_func text,
  predict_params text[],
  predict_params_type text[],
  metric_func text,
  metric_params text[],
  metric_params_type text[],
  data_tbl text,
  data_id text,
  id_is_random boolean,
  validation_result text,
  data_cols text[] default null,
  fold_num int default 10,
  fold_by text default null
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set client_min_messages to warning
as $$
declare
  v_relation regclass := ml._relation(data_tbl);
  v_result text := ml._output(validation_result);
  v_id text := ml._column(v_relation, data_id, 'data id');
  v_unit text := v_id;
  v_columns text;
  v_value text;
  v_part text;
  v_units bigint;
  v_error float8;
  v_names text[];
  v_explored text[] := '{}';
  v_errors float8[] := '{}';
begin
  if fold_num is null or fold_num not between 2 and 1000 then
    raise exception using errcode = 'CF001', message = format('fold_num %s', coalesce(fold_num::text, 'null')), hint = 'Choose 2 to 1000 folds.';
  elsif coalesce(cardinality(explore_values), 0) = 0 then
    raise exception using errcode = 'CF001', message = 'there are no values to explore', hint = 'Give at least one value of the parameter.';
  elsif param_explored is null or not exists (
    select from unnest(modelling_params) as parameter where regexp_replace(parameter, '^\s*[a-z_][a-z0-9_]*\s*=>\s*', '') = param_explored
  ) then
    raise exception using errcode = 'CF001', message = format('"%s" is not among the modelling parameters', coalesce(left(param_explored, 100), 'null')), hint = 'Put the name of the explored parameter where its value belongs.';
  end if;
  if cardinality(modelling_params) is distinct from cardinality(modelling_params_type) or cardinality(predict_params) is distinct from cardinality(predict_params_type)
    or cardinality(metric_params) is distinct from cardinality(metric_params_type) then
    raise exception using errcode = 'CF001', message = 'a list of parameters and that of their types differ in length', hint = 'Each parameter has a type.';
  end if;
  if fold_by is not null then
    v_unit := ml._column(v_relation, fold_by, 'fold_by');
  end if;
  foreach v_part in array array[modelling_func, predict_func, metric_func] loop
    if to_regproc(v_part) is null then
      raise exception using errcode = 'CF002', message = format('there is no function "%s", or more than one', coalesce(left(v_part, 100), 'null')), hint = 'Name it with its schema, such as ml.gbm_train.';
    end if;
  end loop;
  v_columns := case when data_cols is null then '*' else array_to_string(ml._column_list(v_relation, array_to_string(array[data_id] || data_cols, ', '), 'data columns'), ', ') end;
  drop table if exists pg_temp._ml_cv_fold;
  -- Whole units (rows, or all rows of a person or a course) go into a fold, in the order of a hash, or of the id where that is random already.
  execute format(
    'create temp table _ml_cv_fold on commit drop as select unit, (row_number() over (order by %s) - 1) %% %s as fold from (select distinct %s as unit from %s) as seen',
    case when id_is_random and fold_by is null then 'unit' else 'hashtextextended(unit::text, 0), unit::text' end, fold_num, v_unit, v_relation
  );
  execute 'select count(*) from pg_temp._ml_cv_fold' into v_units;
  if v_units < fold_num then
    raise exception using errcode = 'CF004', message = format('"%s" has %s %s for %s folds', v_relation, v_units, coalesce(fold_by, data_id), fold_num), hint = 'Choose fewer folds.';
  end if;
  -- The temporary schema by its own name, for a function that makes a table there looks it up.
  v_names := array(
    select format('%I.%I', (pg_my_temp_schema()::regnamespace)::text, name)
    from unnest(array['_ml_cv_train', '_ml_cv_valid', '_ml_cv_model', '_ml_cv_prediction', '_ml_cv_error', '_ml_cv_model_summary']) with ordinality as part (name, position)
    order by position
  );
  foreach v_value in array explore_values loop
    for v_fold in 0..fold_num - 1 loop
      execute 'drop table if exists ' || array_to_string(v_names, ', ');
      execute format('create table %s as select %s from %s where %s in (select unit from pg_temp._ml_cv_fold where fold <> %s)', v_names[1], v_columns, v_relation, v_unit, v_fold);
      execute format('create table %s as select %s from %s where %s in (select unit from pg_temp._ml_cv_fold where fold = %s)', v_names[2], v_columns, v_relation, v_unit, v_fold);
      execute ml._cross_validation_call(modelling_func, modelling_params, modelling_params_type, v_names[1], v_names, v_id, param_explored, v_value);
      execute ml._cross_validation_call(predict_func, predict_params, predict_params_type, v_names[2], v_names, v_id, param_explored, v_value);
      if to_regclass(v_names[4]) is null then
        raise exception using errcode = 'CF001', message = format('%s made no table %%prediction%%', left(predict_func, 100)), hint = 'Give %prediction% where the name of its output table belongs.';
      end if;
      -- A measure compares predictions with the rows they were made for.
      execute format(
        'create temp table _ml_cv_scored as select * from %s as validation join %s as prediction using (%s)',
        v_names[2], v_names[4], v_id
      );
      execute ml._cross_validation_call(metric_func, metric_params, metric_params_type, v_names[2], v_names, v_id, param_explored, v_value);
      if to_regclass(v_names[5]) is null then
        raise exception using errcode = 'CF001', message = format('%s made no table %%error%%', left(metric_func, 100)), hint = 'Give %error% where the name of its output table belongs.';
      end if;
      execute format('select %I from %s limit 1', (ml._columns(v_names[5]::regclass))[1], v_names[5]) into v_error;
      drop table pg_temp._ml_cv_scored;
      v_explored := v_explored || v_value;
      v_errors := v_errors || v_error;
    end loop;
  end loop;
  execute 'drop table if exists ' || array_to_string(v_names, ', ');
  drop table pg_temp._ml_cv_fold;
  execute format(
    'create table %1$s as
     select %2$I, avg(error) as error_avg, stddev_samp(error) as error_stddev
     from unnest(%3$L::text[], %4$L::float8[]) as measured (%2$I, error)
     group by %2$I
     order by array_position(%5$L::text[], %2$I)',
    v_result, param_explored, v_explored, v_errors, explore_values
  );
end;
$$;

comment on function ml.cross_validation_general(text, text[], text[], text, text[], text, text[], text[], text, text[], text[], text, text, boolean, text, text[], int, text) is $$
@behavior -*
Cross-validation of any training, prediction and measure, over values of one parameter, in MADlib's arguments.
Parameters are texts with their types; in them stand `%data%` (the rows to train on, then to predict), `%model%`, `%id%`, `%prediction%` (the table that
the prediction makes), `%scored%` (the rows to validate on, joined with it by id: what the measure reads), `%error%` (the table that the measure makes) and, in the modelling parameters, the name of
the explored parameter for its value. A parameter may be named: `num_trees => 50`.
With `fold_by` all rows of a unit (a person, a course) go to one fold: the honest way when rows of a unit resemble each other. For time use ml.time_split.
Writes `validation_result`: the parameter's value (text), `error_avg` and `error_stddev` over the folds.
Errors: CF001, CF002 (unknown function, table or column), CF003 (`validation_result` exists), CF004 (fewer rows or units than folds), and those of the functions.
$$;

create or replace function ml._cross_validation_call(
  function_name text,
  parameters text[],
  types text[],
  data text,
  names text[],
  id text,
  explored text,
  value text
)
returns text
language plpgsql
stable
as $$
declare
  v_arguments text[] := '{}';
  v_match text[];
  v_text text;
begin
  for v_position in 1..coalesce(cardinality(parameters), 0) loop
    v_match := regexp_match(parameters[v_position], '^\s*([a-z_][a-z0-9_]*)\s*=>\s*(.*)$');
    v_text := coalesce(v_match[2], parameters[v_position]);
    if to_regtype(types[v_position]) is null then
      raise exception using errcode = 'CF002', message = format('there is no type "%s"', coalesce(left(types[v_position], 100), 'null')), hint = 'Name a type for each parameter.';
    end if;
    v_text := case
      when v_text = explored then value
      when v_text = '%scored%' then format('%I.%I', (pg_my_temp_schema()::regnamespace)::text, '_ml_cv_scored')
      else replace(replace(replace(replace(replace(v_text, '%data%', data), '%model%', names[3]), '%prediction%', names[4]), '%error%', names[5]), '%id%', id)
    end;
    v_arguments := v_arguments || (coalesce(v_match[1] || ' => ', '') || format('%L::%s', v_text, to_regtype(types[v_position])));
  end loop;
  return format('select %s(%s)', to_regproc(function_name), array_to_string(v_arguments, ', '));
end;
$$;

comment on function ml._cross_validation_call(text, text[], text[], text, text[], text, text, text) is $$
The call of one function of a cross-validation, its placeholders filled in and every argument a quoted literal of its type.
$$;

grant execute on function
  ml._cross_validation_call(text, text[], text[], text, text[], text, text, text),
  ml.cross_validation_general(text, text[], text[], text, text[], text, text[], text[], text, text[], text[], text, text, boolean, text, text[], int, text)
to insights_admin, insights_worker;
--! EndIncluded ml/functions/cross_validation_general.sql
--! Included ml/functions/_kmeans.sql
/*
 * Points are pgvector's vectors, moved to their common mean so that single precision measures distances between points and
 * not their distance from the origin; the centroids that are reported are averages in double precision. One statement an
 * iteration assigns all points, averages and counts: the centroids are constants in it.
 */
create or replace function ml._kmeans_points(
  relation regclass,
  expr_point text,
  seed bigint,
  centred boolean
)
returns int
language plpgsql
set jit to off
set client_min_messages to warning
as $$
declare
  v_schema text := (
    select quote_ident(namespace.nspname)
    from pg_catalog.pg_extension as extension
    join pg_catalog.pg_namespace as namespace on namespace.oid = extension.extnamespace
    where extension.extname = 'vector'
  );
  v_type regtype := ml._expression(expr_point, relation, 'point');
  v_array text;
  v_seen record;
  v_mean text;
begin
  if v_type = any (array['double precision[]', 'real[]', 'numeric[]', 'integer[]', 'bigint[]', 'smallint[]']::regtype[]) then
    v_array := format('(%s)::float8[]', expr_point);
  elsif v_type = to_regtype(v_schema || '.vector') then
    v_array := format('(%s)::real[]::float8[]', expr_point);
  else
    raise exception using errcode = 'CF001', message = format('point "%s" is of type %s', left(expr_point, 100), v_type), hint = 'Give an array of numbers, such as array[a, b], or a vector.';
  end if;
  drop table if exists pg_temp._ml_point, pg_temp._ml_raw_point;
  execute format('create temp table _ml_raw_point on commit drop as select %s as point from %s where (%s) is not null', v_array, relation, expr_point);
  select
    count(*) as row_count, min(cardinality(point)) as least, max(cardinality(point)) as most,
    count(*) filter (where array_position(point, null) is not null) as holes,
    count(*) filter (where point && array['NaN', 'Infinity', '-Infinity']::float8[]) as non_finite
  into v_seen
  from pg_temp._ml_raw_point;
  if v_seen.row_count = 0 then
    raise exception using errcode = 'CF004', message = format('"%s" has no point', relation), hint = 'Rows need a point that is not null.';
  elsif v_seen.least <> v_seen.most or v_seen.least = 0 then
    raise exception using errcode = 'CF001', message = format('points have %s to %s dimensions', v_seen.least, v_seen.most), hint = 'All points have the same number of dimensions.';
  elsif v_seen.holes > 0 or v_seen.non_finite > 0 then
    raise exception using errcode = 'CF001', message = format('%s points hold a null, NaN or infinity', v_seen.holes + v_seen.non_finite), hint = 'Leave such rows out or fill them.';
  elsif v_seen.most > 16000 then
    raise exception using errcode = 'CF008', message = format('%s dimensions', v_seen.most), hint = 'A vector has up to 16,000.';
  end if;
  select format('array[%s]', string_agg(format('%L::float8', case when centred then mean else 0 end), ', ' order by place))
  into v_mean
  from (
    select place, avg(value) as mean
    from pg_temp._ml_raw_point
    cross join lateral unnest(point) with ordinality as entry (value, place)
    group by place
  ) as centre;
  execute format(
    'create temp table _ml_point on commit drop as
     select point, (select array_agg(value - mean order by place) from unnest(point, %1$s) with ordinality as entry (value, mean, place))::%2$s.vector as v,
       hashtextextended(point::text, %3$L::bigint) as key
     from pg_temp._ml_raw_point',
    v_mean, v_schema, seed
  );
  drop table pg_temp._ml_raw_point;
  return v_seen.least;
end;
$$;

comment on function ml._kmeans_points(regclass, text, bigint, boolean) is $$
Reads points once into the temporary table `_ml_point` (point float8[]; v: the same as vector, less the mean if `centred`; key) and returns their dimension.
$$;

create or replace function ml._kmeans_distances(
  fn_dist text,
  centroids text[]
)
returns text
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_schema text := (
    select quote_ident(namespace.nspname)
    from pg_catalog.pg_extension as extension
    join pg_catalog.pg_namespace as namespace on namespace.oid = extension.extnamespace
    where extension.extname = 'vector'
  );
  v_name text := regexp_replace(lower(coalesce(fn_dist, 'null')), '^(madlib|ml)\.', '');
  v_operator text := case v_name when 'squared_dist_norm2' then '<->' when 'dist_norm2' then '<->' when 'dist_norm1' then '<+>' when 'dist_angle' then '<=>' end;
begin
  if v_operator is null then
    raise exception using errcode = 'CF001', message = format('there is no distance "%s"', left(v_name, 100)), hint = 'Choose squared_dist_norm2, dist_norm2, dist_norm1 or dist_angle.';
  end if;
  return (
    select string_agg(
      format(
        case v_name when 'squared_dist_norm2' then '(v operator(%1$s.%2$s) %3$L::%1$s.vector) ^ 2' when 'dist_angle' then 'acos(greatest(-1, least(1, 1 - (v operator(%1$s.%2$s) %3$L::%1$s.vector))))'
          else '(v operator(%1$s.%2$s) %3$L::%1$s.vector)' end,
        v_schema, v_operator, centroid
      ),
      ', ' order by place
    )
    from unnest(centroids) with ordinality as given (centroid, place)
  );
end;
$$;

comment on function ml._kmeans_distances(text, text[]) is $$
The distances of v to each centroid (a vector as text), as SQL separated by commas. Error CF001: an unknown distance.
$$;

do $$
begin
  if to_regtype('ml.kmeans_result') is null then
    create type ml.kmeans_result as (
      centroids float8[],
      cluster_variance float8[],
      objective_fn float8,
      frac_reassigned float8,
      num_iterations int
    );
  end if;
end;
$$;

comment on type ml.kmeans_result is $$
Clusters that k-means found.
$$;
comment on column ml.kmeans_result.centroids is $$Means of the clusters, one row a cluster (k × dimension).$$;
comment on column ml.kmeans_result.cluster_variance is $$Sum of the distances to the centroid, for each cluster.$$;
comment on column ml.kmeans_result.objective_fn is $$Sum of the distances of all points to their centroids.$$;
comment on column ml.kmeans_result.frac_reassigned is $$Share of the points that the last iteration moved to another cluster.$$;
comment on column ml.kmeans_result.num_iterations is $$Number of iterations.$$;

create or replace function ml._kmeans_run(
  k int,
  fn_dist text,
  agg_centroid text,
  max_num_iterations int,
  min_frac_reassigned float8,
  seeding_sample_ratio float8,
  seed bigint
)
returns ml.kmeans_result
language plpgsql
set search_path to pg_catalog, pg_temp
set jit to off
set client_min_messages to warning
as $$
declare
  v_schema text := (
    select quote_ident(namespace.nspname)
    from pg_catalog.pg_extension as extension
    join pg_catalog.pg_namespace as namespace on namespace.oid = extension.extnamespace
    where extension.extname = 'vector'
  );
  v_centroids text[];
  v_before text[];
  v_next text;
  v_distances text;
  v_assigned text;
  v_row record;
  v_moved bigint;
  v_total bigint;
  v_result ml.kmeans_result;
begin
  if k is null or k not between 1 and 1000 then
    raise exception using errcode = 'CF001', message = format('k %s', coalesce(k::text, 'null')), hint = 'Choose 1 to 1000 clusters.';
  elsif max_num_iterations is null or max_num_iterations < 1 then
    raise exception using errcode = 'CF001', message = format('max_num_iterations %s', coalesce(max_num_iterations::text, 'null')), hint = 'Choose 1 or more.';
  elsif min_frac_reassigned is null or not (min_frac_reassigned >= 0 and min_frac_reassigned <= 1) then
    raise exception using errcode = 'CF001', message = format('min_frac_reassigned %s', coalesce(min_frac_reassigned::text, 'null')), hint = 'Choose a share in 0..1.';
  elsif seeding_sample_ratio is null or not (seeding_sample_ratio > 0 and seeding_sample_ratio <= 1) then
    raise exception using errcode = 'CF001', message = format('seeding_sample_ratio %s', coalesce(seeding_sample_ratio::text, 'null')), hint = 'Choose a share above 0, at most 1.';
  elsif agg_centroid is null or regexp_replace(agg_centroid, '^(madlib|ml)\.', '') not in ('avg', 'normalized_avg') then
    raise exception using errcode = 'CF001', message = format('there is no centroid "%s"', coalesce(left(agg_centroid, 100), 'null')), hint = 'Choose avg or normalized_avg.';
  end if;
  -- k-means++: the next seed is drawn with a chance in proportion to the distance from the nearest one, as the winner of a race of exponentials.
  execute 'select array[v::text] from pg_temp._ml_point order by key, point limit 1' into v_centroids;
  while cardinality(v_centroids) < k loop
    execute format(
      'select v::text from (
         select v, key, point, least(%s) as distance, ((hashint8extended(key, %s) >> 11) + 4503599627370496.5) / 9007199254740992.0 as lot
         from pg_temp._ml_point
         where %s offset 0
       ) as race
       where distance > 1e-12
       order by -ln(lot) / distance, point limit 1',
      ml._kmeans_distances(fn_dist, v_centroids), seed + cardinality(v_centroids),
      case when seeding_sample_ratio < 1 then format('hashint8extended(key, %s) & 1048575 < %s', seed - 1, (1048576 * seeding_sample_ratio)::bigint) else 'true' end
    ) into v_next;
    if v_next is null then
      raise exception using errcode = 'CF004', message = format('%s distinct points do not make %s clusters', cardinality(v_centroids), k), hint = 'Choose fewer clusters.';
    end if;
    v_centroids := v_centroids || v_next;
  end loop;

  v_result.num_iterations := 0;
  loop
    v_distances := ml._kmeans_distances(fn_dist, v_centroids);
    v_assigned := format('array_position(array[%1$s], least(%1$s))', v_distances);
    exit when v_result.num_iterations >= max_num_iterations or v_result.frac_reassigned < min_frac_reassigned or v_result.frac_reassigned = 0;
    v_before := v_centroids;
    v_moved := 0;
    v_total := 0;
    for v_row in execute format(
      'select cluster, %s as centroid, count(*) as row_count, %s as moved
       from (select v, %s as cluster, %s as before from pg_temp._ml_point offset 0) as assigned
       group by cluster',
      case when agg_centroid ~ 'normalized_avg$' then format('%1$s.l2_normalize(%1$s.avg(v))::text', v_schema) else format('%s.avg(v)::text', v_schema) end,
      case when v_result.num_iterations = 0 then 'count(*)' else 'count(*) filter (where cluster is distinct from before)' end,
      v_assigned, case when v_result.num_iterations = 0 then 'null::int' else v_next end
    ) loop
      v_centroids[v_row.cluster] := v_row.centroid;
      v_moved := v_moved + v_row.moved;
      v_total := v_total + v_row.row_count;
    end loop;
    v_next := v_assigned;
    v_result.num_iterations := v_result.num_iterations + 1;
    v_result.frac_reassigned := v_moved::float8 / v_total;
  end loop;

  drop table if exists pg_temp._ml_assigned;
  execute format(
    'create temp table _ml_assigned on commit drop as select point, array_position(distances, nearest) as cluster, nearest,
       (select min(distance) from unnest(distances) with ordinality as other (distance, place) where place <> array_position(distances, nearest)) as second
     from (select point, array[%1$s] as distances, least(%1$s) as nearest from pg_temp._ml_point offset 0) as measured',
    v_distances
  );
  select
    array_agg(centre.centroid order by cluster.place),
    array_agg(coalesce(spread.total, 0) order by cluster.place)
  into v_result.centroids, v_result.cluster_variance
  from generate_series(1, k) as cluster (place)
  left join (
    select cluster, array_agg(mean order by place) as centroid
    from (
      select cluster, place, avg(value) as mean
      from pg_temp._ml_assigned
      cross join lateral unnest(point) with ordinality as entry (value, place)
      group by cluster, place
    ) as averaged
    group by cluster
  ) as centre on centre.cluster = cluster.place
  join (
    select cluster, sum(nearest) as total
    from pg_temp._ml_assigned
    group by cluster
  ) as spread on spread.cluster = cluster.place;
  v_result.objective_fn := (select sum(nearest) from pg_temp._ml_assigned);
  return v_result;
end;
$$;

comment on function ml._kmeans_run(int, text, text, int, float8, float8, bigint) is $$
k-means on the points in `_ml_point`; leaves the assignment of the points in `_ml_assigned` (point, cluster, distance to the nearest and second nearest centroid).
$$;

grant execute on function
  ml._kmeans_points(regclass, text, bigint, boolean),
  ml._kmeans_distances(text, text[]),
  ml._kmeans_run(int, text, text, int, float8, float8, bigint)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/functions/_kmeans.sql
--! Included ml/functions/kmeanspp.sql
create or replace function ml.kmeanspp(
  rel_source text,
  expr_point text,
  k int,
  fn_dist text default 'squared_dist_norm2',
  agg_centroid text default 'avg',
  max_num_iterations int default 20,
  min_frac_reassigned float8 default 0.001,
  seeding_sample_ratio float8 default 1.0,
  seed bigint default 0
)
returns ml.kmeans_result
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_result ml.kmeans_result;
begin
  perform ml._kmeans_points(ml._relation(rel_source), expr_point, seed, fn_dist !~ 'angle');
  v_result := ml._kmeans_run(k, fn_dist, agg_centroid, max_num_iterations, min_frac_reassigned, seeding_sample_ratio, seed);
  drop table pg_temp._ml_point, pg_temp._ml_assigned;
  return v_result;
end;
$$;

comment on function ml.kmeanspp(text, text, int, text, text, int, float8, float8, bigint) is $$
@behavior -*
k-means clustering with k-means++ seeds, in MADlib's arguments.
`expr_point` gives an array of numbers or a vector (of pgvector); `fn_dist` is `squared_dist_norm2`, `dist_norm2`, `dist_norm1` or `dist_angle`; `agg_centroid` is
`avg` or `normalized_avg`. It ends when less than `min_frac_reassigned` of the points change cluster. Points and the seed decide, not the order of rows.
Returns `centroids` (k × dimension; fewer rows when a cluster loses all its points), `cluster_variance` (sum of distances in each cluster), `objective_fn` (their sum), `frac_reassigned`, `num_iterations`.
Errors: CF001, CF002, CF004 (no points, fewer distinct points than clusters), CF005, CF008 (over 16,000 dimensions).
Source: Arthur and Vassilvitskii, k-means++: the advantages of careful seeding, SODA 2007; Lloyd, Least squares quantization in PCM, 1982.
$$;

grant execute on function ml.kmeanspp(text, text, int, text, text, int, float8, float8, bigint) to insights_admin, insights_worker;
--! EndIncluded ml/functions/kmeanspp.sql
--! Included ml/functions/kmeanspp_auto.sql
create or replace function ml.kmeanspp_auto(
  rel_source text,
  output_table text,
  expr_point text,
  k int[],
  fn_dist text default 'squared_dist_norm2',
  agg_centroid text default 'avg',
  max_num_iterations int default 20,
  min_frac_reassigned float8 default 0.001,
  seeding_sample_ratio float8 default 1.0,
  k_selection_algorithm text default 'silhouette',
  seed bigint default 0
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_relation regclass := ml._relation(rel_source);
  v_output text := ml._output(output_table, array['_summary']);
  v_ks int[] := array(select distinct tried from unnest(kmeanspp_auto.k) as tried order by tried);
  v_k int;
  v_result ml.kmeans_result;
  v_silhouette float8;
begin
  if coalesce(cardinality(v_ks), 0) < 2 or array_position(v_ks, null) is not null or v_ks[1] < 2 then
    raise exception using errcode = 'CF001', message = format('k %s', coalesce(kmeanspp_auto.k::text, 'null')), hint = 'Give two or more numbers of clusters to compare, each at least 2.';
  elsif k_selection_algorithm is null or k_selection_algorithm not in ('silhouette', 'elbow', 'both') then
    raise exception using errcode = 'CF001', message = format('there is no selection "%s"', coalesce(left(k_selection_algorithm, 100), 'null')), hint = 'Choose silhouette, elbow or both.';
  end if;
  perform ml._kmeans_points(v_relation, expr_point, seed, fn_dist !~ 'angle');
  execute format(
    'create table %s (k int, centroids float8[], cluster_variance float8[], objective_fn float8, frac_reassigned float8, num_iterations int, silhouette float8, elbow float8, selection_algorithm text)',
    v_output
  );
  foreach v_k in array v_ks loop
    v_result := ml._kmeans_run(v_k, fn_dist, agg_centroid, max_num_iterations, min_frac_reassigned, seeding_sample_ratio, seed);
    select avg(case when greatest(second, nearest) > 0 then (second - nearest) / greatest(second, nearest) else 0 end) into v_silhouette from pg_temp._ml_assigned;
    execute format('insert into %s (k, centroids, cluster_variance, objective_fn, frac_reassigned, num_iterations, silhouette) values ($1, $2, $3, $4, $5, $6, $7)', v_output)
    using v_k, v_result.centroids, v_result.cluster_variance, v_result.objective_fn, v_result.frac_reassigned, v_result.num_iterations, v_silhouette;
  end loop;
  drop table pg_temp._ml_point, pg_temp._ml_assigned;
  -- The elbow: where the objective bends most, its second difference over uneven steps of k.
  execute format(
    $query$
    update %1$s as tried
    set elbow = bend.elbow
    from (
      select k, (lag(objective_fn) over w - objective_fn) / (k - lag(k) over w) - (objective_fn - lead(objective_fn) over w) / (lead(k) over w - k) as elbow
      from %1$s
      window w as (order by k)
    ) as bend
    where bend.k = tried.k
    $query$,
    v_output
  );
  execute format(
    $query$
    update %1$s
    set selection_algorithm = case
      when k = (select k from %1$s order by silhouette desc, k limit 1) and %2$L in ('silhouette', 'both') then 'silhouette'
      when k = (select k from %1$s order by elbow desc nulls last, k limit 1) and %2$L in ('elbow', 'both') then 'elbow'
    end
    $query$,
    v_output, k_selection_algorithm
  );
  execute format('create table %s as select * from %s where selection_algorithm is not null order by selection_algorithm desc limit 1', ml._suffixed(v_output, '_summary'), v_output);
end;
$$;

comment on function ml.kmeanspp_auto(text, text, text, int[], text, text, int, float8, float8, text, bigint) is $$
@behavior -*
k-means for several numbers of clusters, and the number that serves best, in MADlib's arguments.
`k_selection_algorithm`: `silhouette` (highest mean of (b − a) / max(a, b) over the points, with a and b the distances to the nearest and second nearest
centroid), `elbow` (where the objective bends most) or `both`.
Writes `output_table`, one row a k: `k`, what ml.kmeanspp returns, `silhouette`, `elbow` (null at both ends), `selection_algorithm` (at the chosen k: what chose it);
and `<output_table>_summary` with the chosen row (silhouette's, when both are asked for). Errors: those of ml.kmeanspp, CF003 (a table exists).
$$;

grant execute on function ml.kmeanspp_auto(text, text, text, int[], text, text, int, float8, float8, text, bigint) to insights_admin, insights_worker;
--! EndIncluded ml/functions/kmeanspp_auto.sql
--! Included ml/functions/kmeans_predict.sql
create or replace function ml.kmeans_predict(
  rel_source text,
  output_table text,
  id_col_name text,
  expr_point text,
  centroids float8[],
  fn_dist text default 'squared_dist_norm2'
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
declare
  v_relation regclass := ml._relation(rel_source);
  v_output text := ml._output(output_table);
  v_id text := ml._column(v_relation, id_col_name, 'id column');
  v_type regtype := ml._expression(expr_point, v_relation, 'point');
  v_schema text := (
    select quote_ident(namespace.nspname)
    from pg_catalog.pg_extension as extension
    join pg_catalog.pg_namespace as namespace on namespace.oid = extension.extnamespace
    where extension.extname = 'vector'
  );
  v_distances text;
  v_mean float8[];
  v_point text := case when v_type = to_regtype(v_schema || '.vector') then format('(%s)::real[]::float8[]', expr_point) else format('(%s)::float8[]', expr_point) end;
begin
  if coalesce(array_ndims(centroids), 0) <> 2 then
    raise exception using errcode = 'CF001', message = 'centroids are not a matrix', hint = 'Give the centroids that ml.kmeanspp returns: one row a cluster.';
  end if;
  -- Moved to the mean of the centroids, for the sake of single precision; angles are measured from the origin.
  v_mean := array(
    select case when fn_dist ~ 'angle' then 0 else avg(centroids[cluster][place]) end
    from generate_series(1, array_length(centroids, 2)) as place
    cross join generate_series(1, array_length(centroids, 1)) as cluster
    group by place
    order by place
  );
  v_distances := ml._kmeans_distances(fn_dist, array(
    select '[' || string_agg((centroids[cluster][place] - v_mean[place])::text, ',' order by place) || ']'
    from generate_series(1, array_length(centroids, 1)) as cluster
    cross join generate_series(1, array_length(centroids, 2)) as place
    group by cluster
    order by cluster
  ));
  begin
    execute format(
      'create table %1$s as
       select id as %2$s, array_position(distances, nearest) as cluster_id, nearest as distance
       from (
         select id, array[%3$s] as distances, least(%3$s) as nearest
         from (
           select %2$s as id, (select array_agg(value - mean order by place) from unnest(%4$s, %5$L::float8[]) with ordinality as entry (value, mean, place))::%6$s.vector as v
           from %7$s
           where (%8$s) is not null
           offset 0
         ) as point
         offset 0
       ) as measured',
      v_output, v_id, v_distances, v_point, v_mean, v_schema, v_relation, expr_point
    );
  exception when data_exception or null_value_not_allowed or cannot_coerce then
    raise exception using errcode = 'CF001', message = format('point "%s": %s', left(expr_point, 100), left(sqlerrm, 100)), hint = format('Points are finite and have %s dimensions, as the centroids.', array_length(centroids, 2));
  end;
end;
$$;

comment on function ml.kmeans_predict(text, text, text, text, float8[], text) is $$
@behavior -*
The nearest centroid of each point. `centroids` are those that ml.kmeanspp returns (k × dimension), `expr_point` an array or a vector.
Writes `output_table`: the id column, `cluster_id` (1..k, the row in `centroids`) and `distance` (by `fn_dist`). Rows without a point are left out.
Errors: CF001 (centroids, distance, dimensions, non-finite), CF002, CF003 (`output_table` exists), CF005.
$$;

grant execute on function ml.kmeans_predict(text, text, text, text, float8[], text) to insights_admin, insights_worker;
--! EndIncluded ml/functions/kmeans_predict.sql
--! Included ml/functions/_eigen.sql
create or replace function ml._eigen(
  matrix float8[],
  out eigenvalues float8[],
  out eigenvectors float8[]
)
language plpgsql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_size constant int := array_length(matrix, 1);
  -- One dimension, row after row: assignments to it are made in place.
  v_a float8[];
  v_v float8[];
  v_off float8;
  v_all float8;
  v_theta float8;
  v_t float8;
  v_c float8;
  v_s float8;
  v_x float8;
  v_y float8;
begin
  v_a := array(select matrix[i][j] from generate_series(1, v_size) as i cross join generate_series(1, v_size) as j order by i, j);
  v_v := array(select (i = j)::int::float8 from generate_series(1, v_size) as i cross join generate_series(1, v_size) as j order by i, j);
  for v_sweep in 1..60 loop
    select coalesce(sum(value * value) filter (where (place - 1) / v_size < (place - 1) % v_size), 0), coalesce(sum(value * value), 0)
    into v_off, v_all
    from unnest(v_a) with ordinality as entry (value, place);
    exit when v_off <= 1e-30 * v_all;
    for p in 0..v_size - 2 loop
      for q in p + 1..v_size - 1 loop
        v_x := v_a[p * v_size + q + 1];
        if v_x * v_x > 1e-32 * v_all / (v_size * v_size) then
          v_theta := (v_a[q * v_size + q + 1] - v_a[p * v_size + p + 1]) / (2 * v_x);
          v_t := case when v_theta >= 0 then 1 else -1 end / (abs(v_theta) + sqrt(v_theta * v_theta + 1));
          v_c := 1 / sqrt(v_t * v_t + 1);
          v_s := v_t * v_c;
          for k in 0..v_size - 1 loop
            v_x := v_a[k * v_size + p + 1];
            v_y := v_a[k * v_size + q + 1];
            v_a[k * v_size + p + 1] := v_c * v_x - v_s * v_y;
            v_a[k * v_size + q + 1] := v_s * v_x + v_c * v_y;
          end loop;
          for k in 0..v_size - 1 loop
            v_x := v_a[p * v_size + k + 1];
            v_y := v_a[q * v_size + k + 1];
            v_a[p * v_size + k + 1] := v_c * v_x - v_s * v_y;
            v_a[q * v_size + k + 1] := v_s * v_x + v_c * v_y;
            v_x := v_v[k * v_size + p + 1];
            v_y := v_v[k * v_size + q + 1];
            v_v[k * v_size + p + 1] := v_c * v_x - v_s * v_y;
            v_v[k * v_size + q + 1] := v_s * v_x + v_c * v_y;
          end loop;
        end if;
      end loop;
    end loop;
  end loop;
  select array_agg(value order by value desc, place), array_agg(column_values order by value desc, place)
  into eigenvalues, eigenvectors
  from (
    select
      place, v_a[place * v_size + place + 1] as value,
      -- The largest entry is positive, so that the direction does not hang on the order of rotations.
      (
        select array_agg(entry * (
          select case when v_v[k * v_size + place + 1] < 0 then -1 else 1 end
          from generate_series(0, v_size - 1) as k
          order by round(abs(v_v[k * v_size + place + 1])::numeric, 9) desc, k
          limit 1
        ) order by k)
        from (select k, v_v[k * v_size + place + 1] as entry from generate_series(0, v_size - 1) as k) as listed
      ) as column_values
    from generate_series(0, v_size - 1) as place
  ) as found;
end;
$$;

comment on function ml._eigen(float8[]) is $$
Eigenvalues of a symmetric matrix, largest first, and the eigenvectors as rows (unit length, largest entry positive), by cyclic Jacobi rotations.
Source: Golub and Van Loan, Matrix Computations, 2013, section 8.5.
$$;

grant execute on function ml._eigen(float8[]) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/functions/_eigen.sql
--! Included ml/functions/pca_train.sql
create or replace function ml._pca_input(
  relation regclass,
  row_id text
)
returns text
language plpgsql
stable
as $$
declare
  v_schema text := (
    select quote_ident(namespace.nspname)
    from pg_catalog.pg_extension as extension
    join pg_catalog.pg_namespace as namespace on namespace.oid = extension.extnamespace
    where extension.extname = 'vector'
  );
  v_row record;
  v_numbers text[];
begin
  -- MADlib's two dense forms: one column of arrays (or vectors), or one column a dimension.
  select attribute.attname, attribute.atttypid::regtype as type
  into v_row
  from pg_catalog.pg_attribute as attribute
  where attribute.attrelid = relation
    and attribute.attnum > 0
    and not attribute.attisdropped
    and attribute.atttypid = any (array['double precision[]', 'real[]', 'numeric[]', 'integer[]', 'bigint[]', v_schema || '.vector']::regtype[])
  order by attribute.attname <> 'row_vec', attribute.attnum
  limit 1;
  if v_row.attname is not null then
    return case when v_row.type = to_regtype(v_schema || '.vector') then format('%I::real[]::float8[]', v_row.attname) else format('%I::float8[]', v_row.attname) end;
  end if;
  v_numbers := array(
    select format('%I::float8', attribute.attname)
    from pg_catalog.pg_attribute as attribute
    where attribute.attrelid = relation
      and attribute.attnum > 0
      and not attribute.attisdropped
      and quote_ident(attribute.attname) <> row_id
      and attribute.atttypid = any (array['smallint', 'integer', 'bigint', 'real', 'double precision', 'numeric']::regtype[])
    order by attribute.attnum
  );
  if v_numbers = '{}' then
    raise exception using errcode = 'CF001', message = format('"%s" has no column of arrays, vectors or numbers', relation), hint = 'Give row_id and row_vec, or row_id and one column a dimension.';
  end if;
  return format('case when num_nulls(%1$s) = 0 then array[%1$s] end', array_to_string(v_numbers, ', '));
end;
$$;

comment on function ml._pca_input(regclass, text) is $$
The expression that gives a row's vector as float8[]: the column `row_vec`, else the first column of arrays or vectors, else all columns of numbers.
$$;

create or replace function ml.pca_train(
  source_table text,
  out_table text,
  row_id text,
  components_param float8,
  use_correlation boolean default false
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
set client_min_messages to warning
as $$
declare
  v_relation regclass := ml._relation(source_table);
  v_output text := ml._output(out_table, array['_mean']);
  v_id text := ml._column(v_relation, row_id, 'row id');
  v_input text := ml._pca_input(v_relation, v_id);
  v_seen record;
  v_mean float8[];
  v_scale float8[];
  v_below float8[] := '{}';
  v_part float8[];
  v_size int;
  v_from int := 1;
  v_to int;
  v_eigen record;
  v_total float8;
  v_components int;
begin
  if components_param is null or not (components_param > 0 and components_param < 1e9) then
    raise exception using errcode = 'CF001', message = format('components_param %s', coalesce(components_param::text, 'null')), hint = 'Give a number of components, or a share of the variance below 1.';
  end if;
  drop table if exists pg_temp._ml_pca;
  execute format('create temp table _ml_pca on commit drop as select %s as x from %s', v_input, v_relation);
  select count(x) as row_count, count(*) - count(x) as skipped, min(cardinality(x)) as least, max(cardinality(x)) as most,
    count(*) filter (where array_position(x, null) is not null or x && array['NaN', 'Infinity', '-Infinity']::float8[]) as bad
  into v_seen
  from pg_temp._ml_pca;
  if v_seen.row_count < 2 then
    raise exception using errcode = 'CF004', message = format('"%s" has %s rows with a vector', v_relation, v_seen.row_count), hint = 'Two rows at least have a variance.';
  elsif v_seen.least <> v_seen.most or v_seen.least < 1 then
    raise exception using errcode = 'CF001', message = format('vectors have %s to %s dimensions', v_seen.least, v_seen.most), hint = 'All vectors have the same number of dimensions.';
  elsif v_seen.bad > 0 then
    raise exception using errcode = 'CF001', message = format('%s vectors hold a null, NaN or infinity', v_seen.bad), hint = 'Leave such rows out or fill them.';
  elsif v_seen.most > 200 then
    raise exception using errcode = 'CF008', message = format('%s dimensions', v_seen.most), hint = 'Up to 200 are decomposed; choose the columns that matter.';
  end if;
  v_size := v_seen.most;
  if components_param >= 1 and components_param > v_size then
    raise exception using errcode = 'CF001', message = format('%s components of %s dimensions', components_param, v_size), hint = 'There are at most as many components as dimensions.';
  end if;
  execute format('select array[%s], array[%s] from pg_temp._ml_pca where x is not null',
    (select string_agg(format('avg(x[%s])', i), ', ' order by i) from generate_series(1, v_size) as i),
    (select string_agg(format('stddev_samp(x[%s])', i), ', ' order by i) from generate_series(1, v_size) as i)
  ) into v_mean, v_scale;
  if use_correlation and 0 = any (v_scale) then
    raise exception using errcode = 'CF007', message = format('dimension %s is constant and has no correlation', array_position(v_scale, 0)), hint = 'Leave it out, or set use_correlation to false.';
  elsif 0 = all (v_scale) then
    raise exception using errcode = 'CF004', message = 'nothing varies', hint = 'All rows have the same vector.';
  end if;
  -- Rows of the lower triangle, as many a scan as a select list holds.
  while v_from <= v_size loop
    v_to := v_from;
    while v_to < v_size and (v_to + 1) * (v_to + 2) / 2 - v_from * (v_from - 1) / 2 <= 1500 loop
      v_to := v_to + 1;
    end loop;
    execute format('select array[%s] from pg_temp._ml_pca where x is not null',
      (
        select string_agg(format('%s(x[%s], x[%s])', case when use_correlation then 'corr' else 'covar_samp' end, i, j), ', ' order by i, j)
        from generate_series(v_from, v_to) as i
        cross join lateral generate_series(1, i) as j
      )
    ) into v_part;
    v_below := v_below || v_part;
    v_from := v_to + 1;
  end loop;
  drop table pg_temp._ml_pca;
  select *
  into v_eigen
  from ml._eigen((
    select array_agg(line order by i)
    from (
      select i, array_agg(v_below[greatest(i, j) * (greatest(i, j) - 1) / 2 + least(i, j)] order by j) as line
      from generate_series(1, v_size) as i
      cross join generate_series(1, v_size) as j
      group by i
    ) as filled
  ));
  v_total := (select sum(greatest(value, 0)) from unnest(v_eigen.eigenvalues) as value);
  v_components := case
    when components_param >= 1 then floor(components_param)::int
    else (
      select min(place)
      from (
        select place, sum(greatest(value, 0)) over (order by place) / v_total as reached
        from unnest(v_eigen.eigenvalues) with ordinality as entry (value, place)
      ) as running
      where reached >= components_param - 1e-12
    )
  end;
  execute format(
    'create table %s as
     select place as row_id, (select array_agg(($2)[place][j] order by j) from generate_series(1, %s) as j) as principal_components, sqrt(greatest(($1)[place], 0)) as std_dev, greatest(($1)[place], 0) / %L::float8 as proportion
     from generate_series(1, %s) as place',
    v_output, v_size, v_total, v_components
  ) using v_eigen.eigenvalues, v_eigen.eigenvectors;
  execute format(
    'create table %s as select %L::float8[] as column_mean, %L::float8[] as column_scale, %s::bigint as num_rows_processed, %s::bigint as num_missing_rows_skipped, %L::boolean as use_correlation',
    ml._suffixed(v_output, '_mean'), v_mean, case when use_correlation then v_scale end, v_seen.row_count, v_seen.skipped, use_correlation
  );
end;
$$;

comment on function ml.pca_train(text, text, text, float8, boolean) is $$
@behavior -*
Principal components of rows, in MADlib's columns.
The source has `row_id` and a column of arrays or vectors (`row_vec`, or the first such), or one column a dimension. `components_param` is a number of
components, or below 1 the share of the variance that they reach. With `use_correlation` dimensions are scaled to unit variance.
Writes `out_table`: `row_id` (1 = largest), `principal_components` (unit length, largest entry positive), `std_dev`, `proportion` of the variance; and
`<out_table>_mean`: `column_mean`, `column_scale`, `num_rows_processed`, `num_missing_rows_skipped`. Rows without a vector are left out.
Errors: CF001, CF002, CF003 (a table exists), CF004 (fewer than two rows, nothing varies), CF005, CF007 (a constant has no correlation), CF008 (over 200 dimensions).
Source: Pearson, On lines and planes of closest fit, 1901; Jolliffe, Principal Component Analysis, 2002.
$$;

grant execute on function ml._pca_input(regclass, text) to insights_analyst, insights_admin, insights_worker;
grant execute on function ml.pca_train(text, text, text, float8, boolean) to insights_admin, insights_worker;
--! EndIncluded ml/functions/pca_train.sql
--! Included ml/functions/pca_project.sql
create or replace function ml.pca_project(
  source_table text,
  pc_table text,
  out_table text,
  row_id text,
  residual_table text default null
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
declare
  v_relation regclass := ml._relation(source_table);
  v_model regclass := ml._relation(pc_table);
  v_mean_table text;
  v_output text := ml._output(out_table);
  v_residual text := case when residual_table is not null then ml._output(residual_table) end;
  v_id text := ml._column(v_relation, row_id, 'row id');
  v_components float8[];
  v_mean float8[];
  v_scale float8[];
  v_wrong bigint;
  v_input text;
begin
  select format('%I.%I', namespace.nspname, class.relname || '_mean')
  into v_mean_table
  from pg_catalog.pg_class as class
  join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
  where class.oid = v_model;
  if to_regclass(v_mean_table) is null or not 'principal_components' = any (ml._columns(v_model)) then
    raise exception using errcode = 'CF002', message = format('"%s" is not a table of principal components', left(pc_table, 100)), hint = 'Give the output table of ml.pca_train, beside its table of means.';
  end if;
  execute format('select array_agg(principal_components order by row_id) from %s', v_model) into v_components;
  execute format('select column_mean, coalesce(column_scale, array_fill(1::float8, array[cardinality(column_mean)])) from %s', v_mean_table) into v_mean, v_scale;
  v_input := ml._pca_input(v_relation, v_id);
  execute format('select count(*) from (select %s as x from %s) as source where cardinality(x) <> %s', v_input, v_relation, cardinality(v_mean)) into v_wrong;
  if v_wrong > 0 then
    raise exception using errcode = 'CF001', message = format('%s rows of "%s" have not %s dimensions', v_wrong, v_relation, cardinality(v_mean)), hint = 'Project rows of the kind that the components were trained on.';
  end if;
  execute format(
    'create table %s as
     select %s, array[%s] as row_vec
     from (select %s, %s as x from %s offset 0) as source
     where x is not null',
    v_output, v_id,
    (
      select string_agg(dot, ', ' order by component)
      from (
        select component, string_agg(format('(x[%s] - %L::float8) * %L::float8', i, v_mean[i], v_components[component][i] / v_scale[i]), ' + ' order by i) as dot
        from generate_series(1, array_length(v_components, 1)) as component
        cross join generate_series(1, cardinality(v_mean)) as i
        group by component
      ) as product
    ),
    v_id, v_input, v_relation
  );
  if v_residual is not null then
    execute format(
      'create table %s as
       select %s, array[%s] as row_vec
       from (select %s, %s as x from %s offset 0) as source
       join %s as projected using (%s)',
      v_residual, v_id,
      (
        select string_agg(format('x[%s] - %L::float8 - %L::float8 * (%s)', i, v_mean[i], v_scale[i], (
          select string_agg(format('projected.row_vec[%s] * %L::float8', component, v_components[component][i]), ' + ' order by component)
          from generate_series(1, array_length(v_components, 1)) as component
        )), ', ' order by i)
        from generate_series(1, cardinality(v_mean)) as i
      ),
      v_id, v_input, v_relation, v_output, v_id
    );
  end if;
end;
$$;

comment on function ml.pca_project(text, text, text, text, text) is $$
@behavior -*
Rows in the coordinates of the principal components of ml.pca_train.
Writes `out_table`: the row id and `row_vec` (float8[], one entry a component); and `residual_table`, if named: what the components leave of each row.
Errors: CF001 (other dimensions), CF002 (not components), CF003 (a table exists), CF005.
$$;

grant execute on function ml.pca_project(text, text, text, text, text) to insights_admin, insights_worker;
--! EndIncluded ml/functions/pca_project.sql
--! Included ml/functions/_series.sql
/*
 * A time series is filtered one step after another, the one thing here that is no set operation: each error depends on the
 * state that the errors before it left. The series is one array, the filter a loop over it, and least squares over its
 * parameters (Levenberg and Marquardt's) calls the filter a few dozen times.
 */
create or replace function ml._ets_filter(
  series float8[],
  shape int[],
  parameters float8[],
  out residuals float8[],
  out level float8,
  out slope float8,
  out seasons float8[]
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_period constant int := shape[1];
  v_trend constant int := shape[2];
  v_seasonal constant boolean := shape[3] = 1;
  v_size constant int := cardinality(series);
  v_alpha constant float8 := parameters[1];
  v_beta constant float8 := case when v_trend > 0 then parameters[2] else 0 end;
  v_gamma constant float8 := case when v_seasonal then parameters[3] else 0 end;
  v_phi constant float8 := case v_trend when 0 then 0 when 1 then 1 else parameters[4] end;
  v_cycles int;
  v_mean float8;
  v_error float8;
  v_place int;
begin
  residuals := array_fill(0::float8, array[v_size]);
  seasons := array_fill(0::float8, array[greatest(v_period, 1)]);
  slope := 0;
  if v_seasonal then
    -- The first cycles: their means give level and slope, what they leave of each place gives the seasons.
    v_cycles := least(v_size / v_period, 3);
    select case when v_trend > 0 and v_cycles > 1 then coalesce(regr_slope(mean, cycle), 0) / v_period else 0 end, avg(mean)
    into slope, v_mean
    from (
      select (place - 1) / v_period as cycle, avg(value) as mean
      from unnest(series) with ordinality as entry (value, place)
      where place <= v_cycles * v_period
      group by (place - 1) / v_period
    ) as cycle;
    level := v_mean - slope * (v_cycles * v_period + 1) / 2;
    select array_agg(coalesce(season, 0) - coalesce(middle, 0) order by place)
    into seasons
    from (
      select wanted.place, left_over.season, avg(left_over.season) over () as middle
      from generate_series(0, v_period - 1) as wanted (place)
      left join (
        select ((place - 1) % v_period)::int as place, avg(value - level - slope * place) as season
        from unnest(series) with ordinality as entry (value, place)
        where place <= v_cycles * v_period
        group by (place - 1) % v_period
      ) as left_over on left_over.place = wanted.place
    ) as centred;
  elsif v_trend > 0 then
    select coalesce(regr_slope(value, place), 0), coalesce(regr_intercept(value, place), avg(value))
    into slope, level
    from unnest(series) with ordinality as entry (value, place)
    where place <= greatest(10, v_size / 10);
  else
    level := (select value from unnest(series) with ordinality as entry (value, place) where value is not null order by place limit 1);
  end if;
  for v_step in 1..v_size loop
    v_place := (v_step - 1) % greatest(v_period, 1) + 1;
    v_error := series[v_step] - level - v_phi * slope - case when v_seasonal then seasons[v_place] else 0 end;
    -- A gap moves the state on without correcting it.
    if v_error is null then
      residuals[v_step] := null;
      v_error := 0;
    else
      residuals[v_step] := v_error;
    end if;
    level := level + v_phi * slope + v_alpha * v_error;
    slope := v_phi * slope + v_beta * v_error;
    if v_seasonal then
      seasons[v_place] := seasons[v_place] + v_gamma * v_error;
    end if;
  end loop;
  -- The season of the next step first.
  if v_seasonal then
    v_place := v_size % v_period;
    seasons := seasons[v_place + 1:v_period] || seasons[1:v_place];
  end if;
end;
$$;

comment on function ml._ets_filter(float8[], int[], float8[]) is $$
One-step errors and the last state of exponential smoothing with additive errors.
`shape`: period, trend (0 none, 1 additive, 2 damped), seasonal (0, 1);
`parameters`: alpha, beta, gamma, phi. Nulls in the series are gaps. Source: Hyndman and others, Forecasting with Exponential Smoothing, 2008, chapter 2.
$$;

create or replace function ml._arima_filter(
  series float8[],
  shape int[],
  parameters float8[],
  out residuals float8[]
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_p constant int := shape[1];
  v_q constant int := shape[2];
  v_mean constant float8 := case when shape[3] = 1 then parameters[v_p + v_q + 1] else 0 end;
  v_size constant int := cardinality(series);
  v_error float8;
begin
  residuals := array_fill(0::float8, array[v_size]);
  for v_step in v_p + 1..v_size loop
    v_error := series[v_step] - v_mean;
    for k in 1..v_p loop
      v_error := v_error - parameters[k] * (series[v_step - k] - v_mean);
    end loop;
    for k in 1..least(v_q, v_step - 1) loop
      v_error := v_error - parameters[v_p + k] * residuals[v_step - k];
    end loop;
    -- Far from any root the errors of a moving average explode; such parameters are simply bad.
    residuals[v_step] := greatest(least(v_error, 1e100), -1e100);
  end loop;
end;
$$;

comment on function ml._arima_filter(float8[], int[], float8[]) is $$
Errors of an ARMA model, conditional on the first p values and on errors of 0 before them. `shape`: p, q, with mean (0, 1); `parameters`: ar, ma, mean.
Source: Box and Jenkins, Time Series Analysis, 1970, section 7.1.
$$;

create or replace function ml._bounded(
  free float8[],
  fixed float8[]
)
returns float8[]
language sql
immutable
parallel safe
begin atomic
  select array[
    chosen.alpha,
    coalesce(fixed[2], chosen.alpha * (0.0001 + 0.9998 / (1 + exp(-free[2])))),
    coalesce(fixed[3], (1 - chosen.alpha) * (0.0001 + 0.9998 / (1 + exp(-free[3])))),
    coalesce(fixed[4], 0.8 + 0.18 / (1 + exp(-free[4])))
  ]
  from (select coalesce(fixed[1], 0.0001 + 0.9998 / (1 + exp(-free[1]))) as alpha) as chosen;
end;

comment on function ml._bounded(float8[], float8[]) is $$
Smoothing parameters from free numbers: 0 < alpha < 1, 0 < beta < alpha, 0 < gamma < 1 − alpha, 0.8 < phi < 0.98; those in `fixed` as they are.
$$;

create or replace function ml._series_fit(
  kind text,
  series float8[],
  shape int[],
  start float8[],
  fixed float8[],
  max_iter int,
  out parameters float8[],
  out residuals float8[],
  out covariance float8[],
  out squares float8,
  out iterations int
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_k int;
  v_moving int[] := array(select k from generate_series(1, cardinality(start)) as k where kind = 'arima' or fixed[k] is null order by k);
  v_point float8[] := start;
  v_try float8[];
  v_new float8[];
  v_new_squares float8;
  v_damping float8 := 0.001;
  v_slopes float8[];
  v_gram float8[];
  v_damped float8[];
  v_gradient float8[];
  v_inverse float8[];
  v_step float8;
  v_better boolean;
begin
  residuals := ml._series_residuals(kind, series, shape, v_point, fixed);
  squares := (select sum(error * error) from unnest(residuals) as error);
  iterations := 0;
  if kind = 'ets' then
    v_moving := array(select k from unnest(v_moving) as k where k = 1 or (k = 2 and shape[2] > 0) or (k = 3 and shape[3] = 1) or (k = 4 and shape[2] = 2) order by k);
  end if;
  while v_moving <> '{}' and iterations < max_iter loop
    iterations := iterations + 1;
    -- Slopes of the errors by central differences, one column a parameter, in one array.
    v_slopes := '{}';
    foreach v_k in array v_moving loop
      v_step := 1e-5 * greatest(1, abs(v_point[v_k]));
      v_try := v_point;
      v_try[v_k] := v_point[v_k] + v_step;
      v_new := v_point;
      v_new[v_k] := v_point[v_k] - v_step;
      v_slopes := v_slopes || array(
        select (up - down) / (2 * v_step)
        from unnest(ml._series_residuals(kind, series, shape, v_try, fixed), ml._series_residuals(kind, series, shape, v_new, fixed)) with ordinality as entry (up, down, place)
        order by place
      );
    end loop;
    select array_agg(line order by i), array_agg(slope order by i)
    into v_gram, v_gradient
    from (
      select i, array_agg(product order by j) as line, max(slope) as slope
      from (
        select
          i, j,
          (select sum(v_slopes[(i - 1) * cardinality(series) + t] * v_slopes[(j - 1) * cardinality(series) + t]) from generate_series(1, cardinality(series)) as t) as product,
          (select sum(v_slopes[(i - 1) * cardinality(series) + t] * residuals[t]) from generate_series(1, cardinality(series)) as t) as slope
        from generate_series(1, cardinality(v_moving)) as i
        cross join generate_series(1, cardinality(v_moving)) as j
      ) as pair
      group by i
    ) as filled;
    v_better := false;
    for v_attempt in 1..12 loop
      v_damped := v_gram;
      for i in 1..cardinality(v_moving) loop
        v_damped[i][i] := v_gram[i][i] * (1 + v_damping) + 1e-300;
      end loop;
      v_inverse := (ml._spd_inverse(v_damped, 1e-15)).inverse;
      if v_inverse is not null then
        v_try := v_point;
        for i in 1..cardinality(v_moving) loop
          v_step := 0;
          for j in 1..cardinality(v_moving) loop
            v_step := v_step - v_inverse[i][j] * v_gradient[j];
          end loop;
          v_try[v_moving[i]] := case when kind = 'ets' then greatest(-30, least(30, v_point[v_moving[i]] + greatest(-3, least(3, v_step)))) else v_point[v_moving[i]] + v_step end;
        end loop;
        v_new := ml._series_residuals(kind, series, shape, v_try, fixed);
        v_new_squares := (select sum(error * error) from unnest(v_new) as error);
        if v_new_squares < squares then
          v_better := (squares - v_new_squares) > 1e-12 * squares;
          v_point := v_try;
          residuals := v_new;
          squares := v_new_squares;
          v_damping := greatest(v_damping / 5, 1e-12);
          exit;
        end if;
      end if;
      v_damping := v_damping * 4;
    end loop;
    exit when not v_better;
  end loop;
  covariance := case when v_gram is not null then (ml._spd_inverse(v_gram, 1e-15)).inverse end;
  parameters := case when kind = 'ets' then ml._bounded(v_point, fixed) else v_point end;
end;
$$;

comment on function ml._series_fit(text, float8[], int[], float8[], float8[], int) is $$
Least squares of the one-step errors over the parameters of a filter (`ets` or `arima`).
`covariance` is the inverse of the
slopes' products, to be multiplied by the residual variance. Source: Marquardt, An algorithm for least-squares estimation of nonlinear parameters, 1963.
$$;

create or replace function ml._series_residuals(
  kind text,
  series float8[],
  shape int[],
  point float8[],
  fixed float8[]
)
returns float8[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if kind = 'ets' then
    return (ml._ets_filter(series, shape, ml._bounded(point, fixed))).residuals;
  end if;
  return ml._arima_filter(series, shape, point);
end;
$$;

comment on function ml._series_residuals(text, float8[], int[], float8[], float8[]) is $$The one-step errors of a filter at a point of its free parameters.$$;

create or replace function ml._read_series(
  relation regclass,
  timestamp_column text,
  timeseries_column text,
  groups text[]
)
returns void
language plpgsql
set client_min_messages to warning
as $$
declare
  v_time text := ml._column(relation, timestamp_column, 'timestamp column');
  v_value text := ml._numeric_expression(timeseries_column, relation, 'time series column');
  v_bad text;
begin
  drop table if exists pg_temp._ml_series;
  execute format(
    'create temp table _ml_series on commit drop as select jsonb_build_array(%s) as place, %s array_agg(%s order by %s) as series, array_agg(%s::text order by %s) as times from %s where %s is not null %s',
    coalesce(array_to_string(groups, ', '), ''),
    case when groups = '{}' then '' else array_to_string(groups, ', ') || ',' end,
    v_value, v_time, v_time, v_time, relation, v_time,
    case when groups = '{}' then 'having count(*) > 0' else 'group by ' || array_to_string(groups, ', ') end
  );
  if not exists (select from pg_temp._ml_series) then
    raise exception using errcode = 'CF004', message = format('"%s" has no row with a time', relation), hint = 'A forecast needs a past.';
  end if;
  execute 'select times[array_position(series, bad)] from pg_temp._ml_series cross join unnest(array[''NaN'', ''Infinity'', ''-Infinity'']::float8[]) as bad where array_position(series, bad) is not null limit 1' into v_bad;
  if v_bad is not null then
    raise exception using errcode = 'CF001', message = format('the value at %s is NaN or infinity', left(v_bad, 100)), hint = 'Make it null to leave a gap.';
  end if;
  execute format('select %1$s::text from %2$s group by %3$s %1$s having count(*) > 1 limit 1', v_time, relation, case when groups = '{}' then '' else array_to_string(groups, ', ') || ',' end) into v_bad;
  if v_bad is not null then
    raise exception using errcode = 'CF001', message = format('there are several rows at %s', left(v_bad, 100)), hint = 'Sum or average them first, or name grouping columns.';
  end if;
end;
$$;

comment on function ml._read_series(regclass, text, text, text[]) is $$
Reads one array a group, in the order of time, into the temporary table `_ml_series`. Errors: CF001 (two rows at a time, non-finite), CF002, CF004 (no rows).
$$;

grant execute on function
  ml._ets_filter(float8[], int[], float8[]), ml._arima_filter(float8[], int[], float8[]), ml._bounded(float8[], float8[]),
  ml._series_fit(text, float8[], int[], float8[], float8[], int), ml._series_residuals(text, float8[], int[], float8[], float8[]),
  ml._read_series(regclass, text, text, text[])
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/functions/_series.sql
--! Included ml/functions/ets_train.sql
create or replace function ml._ets_best(
  series float8[],
  period int,
  trend text,
  seasonal text,
  fixed float8[]
)
returns jsonb
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_size constant int := (select count(value) from unnest(series) as value);
  v_candidate record;
  v_fit record;
  v_state record;
  v_shape int[];
  v_unknowns int;
  v_criterion float8;
  v_best jsonb;
  v_best_criterion float8;
begin
  for v_candidate in
    select trend_shape, season_shape
    from unnest(case trend when 'none' then array[0] when 'additive' then array[1] when 'damped' then array[2] else array[0, 1, 2] end) as trend_shape
    cross join unnest(case seasonal when 'none' then array[0] when 'auto' then array[0, 1] else array[1] end) as season_shape
    where season_shape = 0 or (period > 1 and cardinality(series) >= 2 * period)
    order by season_shape, trend_shape
  loop
    v_shape := array[period, v_candidate.trend_shape, v_candidate.season_shape];
    v_fit := ml._series_fit('ets', series, v_shape, array[-1, -2, -2, 1], fixed, 60);
    -- Parameters, initial state and the variance.
    v_unknowns := 2 + 1 + (case v_candidate.trend_shape when 0 then 0 when 1 then 2 else 3 end) + v_candidate.season_shape * period;
    v_criterion := v_size * ln(greatest(v_fit.squares / v_size, 1e-300)) + case when v_size > v_unknowns + 1 then 2.0 * v_unknowns * v_size / (v_size - v_unknowns - 1) else 1e6 * v_unknowns end;
    if v_best is null or v_criterion < v_best_criterion then
      v_state := ml._ets_filter(series, v_shape, v_fit.parameters);
      v_best_criterion := v_criterion;
      v_best := jsonb_build_object(
        'trend', (array['none', 'additive', 'damped'])[v_candidate.trend_shape + 1],
        'seasonal', v_candidate.season_shape,
        'alpha', v_fit.parameters[1],
        'beta', case when v_candidate.trend_shape > 0 then v_fit.parameters[2] end,
        'gamma', case when v_candidate.season_shape = 1 then v_fit.parameters[3] end,
        'phi', case when v_candidate.trend_shape = 2 then v_fit.parameters[4] end,
        'level', v_state.level,
        'slope', case when v_candidate.trend_shape > 0 then v_state.slope end,
        'seasons', case when v_candidate.season_shape = 1 then to_jsonb(v_state.seasons) end,
        'squares', v_fit.squares,
        'aicc', v_criterion,
        'residual_variance', v_fit.squares / greatest(v_size - (v_unknowns - 2 - v_candidate.season_shape * period), 1),
        'num_iterations', v_fit.iterations
      );
    end if;
  end loop;
  return v_best;
end;
$$;

comment on function ml._ets_best(float8[], int, text, text, float8[]) is $$
The smoothing model of a series with the least corrected Akaike criterion among the shapes that are asked for, as JSON.
$$;

create or replace function ml._ets_ahead(
  model jsonb,
  steps int
)
returns table (step int, forecast float8, deviation float8)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_level constant float8 := model ->> 'level';
  v_slope constant float8 := coalesce((model ->> 'slope')::float8, 0);
  v_alpha constant float8 := model ->> 'alpha';
  v_beta constant float8 := coalesce((model ->> 'beta')::float8, 0);
  v_gamma constant float8 := coalesce((model ->> 'gamma')::float8, 0);
  v_phi constant float8 := coalesce((model ->> 'phi')::float8, 1);
  v_variance constant float8 := model ->> 'residual_variance';
  v_seasons constant float8[] := array(select value::float8 from jsonb_array_elements_text(nullif(model -> 'seasons', 'null')) with ordinality as season (value, place) order by place);
  v_period constant int := cardinality(v_seasons);
  v_growth float8 := 0;
  v_spread float8 := 1;
begin
  for v_step in 1..steps loop
    step := v_step;
    v_growth := v_growth + v_phi ^ v_step;
    forecast := v_level + v_slope * v_growth + case when v_period > 0 then v_seasons[(v_step - 1) % v_period + 1] else 0 end;
    deviation := sqrt(v_variance * v_spread);
    return next;
    -- What an error of this step still moves when the next one comes.
    v_spread := v_spread + (v_alpha + v_beta * v_growth + case when v_period > 0 and v_step % v_period = 0 then v_gamma else 0 end) ^ 2;
  end loop;
end;
$$;

comment on function ml._ets_ahead(jsonb, int) is $$
Mean and standard deviation of what comes, by the closed form for additive errors.
Source: Hyndman, Koehler, Ord and Snyder, Prediction intervals for exponential smoothing using two new classes of state space models, Journal of Forecasting 24, 2005.
$$;

create or replace function ml.ets_train(
  input_table text,
  output_table text,
  timestamp_column text,
  timeseries_column text,
  grouping_columns text default null,
  seasonal_period int default 1,
  trend text default 'auto',
  seasonal text default 'auto',
  optimizer_params text default null,
  holdout int default null
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_relation regclass := ml._relation(input_table);
  v_output text := ml._output(output_table);
  v_groups text[] := ml._column_list(v_relation, grouping_columns, 'grouping columns');
  v_group_list text := array_to_string(v_groups, ', ');
  v_item text;
  v_fixed float8[] := array[null, null, null, null]::float8[];
  v_row record;
  v_series float8[];
  v_model jsonb;
  v_tried jsonb;
  v_holdout int;
  v_error float8;
  v_naive float8;
  v_scale float8;
  v_log boolean := seasonal = 'multiplicative';
  v_size int;
begin
  if seasonal_period is null or seasonal_period not between 1 and 1000 then
    raise exception using errcode = 'CF001', message = format('seasonal_period %s', coalesce(seasonal_period::text, 'null')), hint = 'Give the number of rows in a cycle, such as 7 for days with a weekly cycle; 1 for none.';
  elsif trend is null or trend not in ('auto', 'none', 'additive', 'damped') then
    raise exception using errcode = 'CF001', message = format('there is no trend "%s"', coalesce(left(trend, 100), 'null')), hint = 'Choose auto, none, additive or damped.';
  elsif seasonal is null or seasonal not in ('auto', 'none', 'additive', 'multiplicative') then
    raise exception using errcode = 'CF001', message = format('there is no seasonal "%s"', coalesce(left(seasonal, 100), 'null')), hint = 'Choose auto, none, additive or multiplicative.';
  elsif seasonal in ('additive', 'multiplicative') and seasonal_period = 1 then
    raise exception using errcode = 'CF001', message = 'a season of one row is none', hint = 'Give seasonal_period, such as 7.';
  elsif holdout < 0 then
    raise exception using errcode = 'CF001', message = format('holdout %s', holdout), hint = 'Give the number of last rows to compare on, 0 for none.';
  end if;
  foreach v_item in array coalesce(ml._split(nullif(btrim(optimizer_params), '')), '{}') loop
    if v_item !~ '^(alpha|beta|gamma|phi)\s*=\s*[0-9.]+$' or substring(v_item from '=\s*(.*)$')::float8 > 1 then
      raise exception using errcode = 'CF001', message = format('optimizer_params "%s"', left(v_item, 100)), hint = 'Fix alpha, beta, gamma or phi at a number in 0..1, such as alpha=0.3; the others are fitted.';
    end if;
    v_fixed[array_position(array['alpha', 'beta', 'gamma', 'phi'], substring(v_item from '^[a-z]+'))] := substring(v_item from '=\s*(.*)$')::float8;
  end loop;
  perform ml._read_series(v_relation, timestamp_column, timeseries_column, v_groups);
  execute format(
    'create table %s as select %s null::jsonb as model, null::text as method, null::int as seasonal_period, null::float8 as alpha, null::float8 as beta, null::float8 as gamma, null::float8 as phi,
       null::float8 as residual_variance, null::float8 as aicc, null::bigint as num_rows_processed, null::bigint as num_missing_rows_skipped, null::text as last_time,
       null::float8 as mae, null::float8 as mase, null::int as holdout_rows, null::float8 as holdout_mae, null::float8 as holdout_naive_mae, null::float8[] as last_cycle
     from pg_temp._ml_series where false',
    v_output, v_group_list || case when v_groups = '{}' then '' else ',' end
  );
  for v_row in select place, series, times from pg_temp._ml_series order by place loop
    v_series := v_row.series;
    v_size := cardinality(v_series) - (select count(*) from unnest(v_series) as value where value is null);
    if v_size < greatest(4, case when seasonal in ('additive', 'multiplicative') then 2 * seasonal_period else 0 end) then
      raise exception using errcode = 'CF004', message = format('%s rows are too few for a forecast%s', v_size, case when v_groups = '{}' then '' else ' of ' || v_row.place::text end),
        hint = 'Give four rows or more, and two cycles of a season.';
    end if;
    if v_log then
      if exists (select from unnest(v_series) as value where value <= 0) then
        raise exception using errcode = 'CF001', message = 'a multiplicative season needs values above 0', hint = 'Choose additive.';
      end if;
      v_series := array(select ln(value) from unnest(v_series) with ordinality as entry (value, place) order by place);
    end if;
    v_model := ml._ets_best(v_series, seasonal_period, trend, seasonal, v_fixed);
    -- What the naive forecast, the value one cycle ago, would have missed in the same rows: the scale of MASE.
    select avg(abs(value - before)) into v_scale
    from (select value, lag(value, seasonal_period) over (order by place) as before from unnest(v_row.series) with ordinality as entry (value, place)) as pair;
    select avg(abs(case when v_log then actual - exp(logarithm - residual) else residual end))
    into v_error
    from unnest(
      (ml._ets_filter(v_series, array[seasonal_period, array_position(array['none', 'additive', 'damped'], v_model ->> 'trend') - 1, (v_model ->> 'seasonal')::int],
        array[(v_model ->> 'alpha')::float8, (v_model ->> 'beta')::float8, (v_model ->> 'gamma')::float8, (v_model ->> 'phi')::float8])).residuals,
      v_series, v_row.series
    ) as entry (residual, logarithm, actual);
    v_holdout := coalesce(holdout, case when v_size >= greatest(3 * seasonal_period, 10) + seasonal_period then greatest(seasonal_period, v_size / 10) else 0 end);
    v_holdout := case when v_size - v_holdout < greatest(4, 2 * seasonal_period) then 0 else v_holdout end;
    execute format(
      'insert into %s
       select %s $1, $2, $3, ($1 ->> ''alpha'')::float8, ($1 ->> ''beta'')::float8, ($1 ->> ''gamma'')::float8, ($1 ->> ''phi'')::float8,
         ($1 ->> ''residual_variance'')::float8, ($1 ->> ''aicc'')::float8, $4, $5, times[cardinality(times)], $6, $6 / nullif($7, 0), null, null, null, $8
       from pg_temp._ml_series where place = $9',
      v_output, v_group_list || case when v_groups = '{}' then '' else ',' end
    ) using
      v_model || jsonb_build_object('log', v_log),
      format('ETS(A,%s,%s)%s', case v_model ->> 'trend' when 'none' then 'N' when 'additive' then 'A' else 'Ad' end, case (v_model ->> 'seasonal')::int when 0 then 'N' else 'A' end, case when v_log then ' of the logarithm' else '' end),
      seasonal_period, v_size, cardinality(v_series) - v_size, v_error, v_scale,
      v_row.series[cardinality(v_row.series) - seasonal_period + 1:], v_row.place;
    if v_holdout > 0 then
      v_tried := ml._ets_best(v_series[1:cardinality(v_series) - v_holdout], seasonal_period, trend, seasonal, v_fixed);
      select avg(abs(actual.value - case when v_log then exp(ahead.forecast) else ahead.forecast end)), avg(abs(actual.value - v_row.series[cardinality(v_series) - v_holdout - seasonal_period + 1 + (actual.place - 1)::int % seasonal_period]))
      into v_error, v_naive
      from unnest(v_row.series[cardinality(v_series) - v_holdout + 1:]) with ordinality as actual (value, place)
      join ml._ets_ahead(v_tried, v_holdout) as ahead on ahead.step = actual.place;
      execute format('update %s set holdout_rows = $1, holdout_mae = $2, holdout_naive_mae = $3 where %s', v_output,
        case when v_groups = '{}' then '$4 is not null' else format('jsonb_build_array(%s) = $4', v_group_list) end)
      using v_holdout, v_error, v_naive, v_row.place;
    end if;
  end loop;
  drop table pg_temp._ml_series;
end;
$$;

comment on function ml.ets_train(text, text, text, text, text, int, text, text, text, int) is $$
@behavior -*
Exponential smoothing with level, trend and season (Holt and Winters), fitted by least squares of the one-step errors; one model a group.
`seasonal_period` is the number of rows in a cycle (7 for days). `trend`: `none`, `additive`, `damped`; `seasonal`: `none`, `additive`, `multiplicative` (the
series' logarithm is smoothed); `auto` takes the shape with the least corrected Akaike criterion. `optimizer_params` fixes parameters: `alpha=0.3, beta=0.1`. Rows are
in the order of time, one a step; a null is a gap. Every model is compared with the seasonal-naive forecast (the value one cycle ago): `mase` is the mean
absolute one-step error over that of the naive (below 1 is better), and with the last `holdout` rows (by default a cycle, or a tenth)
unseen `holdout_mae` stands beside `holdout_naive_mae`.
Writes `output_table`: the grouping columns, `model` (parameters and state), `method` such as `ETS(A,Ad,A)`, `seasonal_period`, `alpha`, `beta`, `gamma`, `phi`, `residual_variance`, `aicc`,
`num_rows_processed`, `num_missing_rows_skipped`, `last_time`, `mae`, `mase`, `holdout_rows`, `holdout_mae`, `holdout_naive_mae`, `last_cycle`.
Errors: CF001, CF002, CF003 (`output_table` exists), CF004 (too few rows), CF005.
Source: Hyndman, Koehler, Ord and Snyder, Forecasting with Exponential Smoothing, 2008; Hyndman and Koehler, Another look at measures of forecast accuracy, 2006.
$$;

grant execute on function ml._ets_best(float8[], int, text, text, float8[]), ml._ets_ahead(jsonb, int) to insights_analyst, insights_admin, insights_worker;
grant execute on function ml.ets_train(text, text, text, text, text, int, text, text, text, int) to insights_admin, insights_worker;
--! EndIncluded ml/functions/ets_train.sql
--! Included ml/functions/ets_forecast.sql
create or replace function ml.ets_forecast(
  model_table text,
  output_table text,
  steps_ahead int,
  confidence float8 default 0.95
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_model regclass := ml._relation(model_table);
  v_output text := ml._output(output_table);
  v_groups text[];
  v_z float8;
begin
  if steps_ahead is null or steps_ahead not between 1 and 10000 then
    raise exception using errcode = 'CF001', message = format('steps_ahead %s', coalesce(steps_ahead::text, 'null')), hint = 'Choose 1 to 10000.';
  elsif confidence is null or not (confidence > 0 and confidence < 1) then
    raise exception using errcode = 'CF001', message = format('confidence %s', coalesce(confidence::text, 'null')), hint = 'Choose a number between 0 and 1, such as 0.95.';
  elsif not ml._columns(v_model) @> array['model', 'last_cycle', 'seasonal_period', 'mase'] then
    raise exception using errcode = 'CF002', message = format('"%s" is not a model of ml.ets_train', left(model_table, 100)), hint = 'Give the output table of ml.ets_train.';
  end if;
  -- Whatever stands before the model are the groups.
  v_groups := array(
    select quote_ident(name)
    from unnest(ml._columns(v_model)) with ordinality as stored (name, position)
    where position < array_position(ml._columns(v_model), 'model')
    order by position
  );
  v_z := ml.normal_quantile((1 + confidence) / 2);
  execute format(
    $query$
    create table %1$s as
    select
      %2$s ahead.step as step_ahead,
      case when (model ->> 'log')::boolean then exp(forecast) else forecast end as forecast_value,
      case when (model ->> 'log')::boolean then exp(forecast - %3$L::float8 * deviation) else forecast - %3$L::float8 * deviation end as lower,
      case when (model ->> 'log')::boolean then exp(forecast + %3$L::float8 * deviation) else forecast + %3$L::float8 * deviation end as upper,
      last_cycle[(ahead.step - 1) %% seasonal_period + 1] as naive_value
    from %4$s as trained
    cross join lateral ml._ets_ahead(model, %5$s) as ahead
    order by %2$s ahead.step
    $query$,
    v_output, (select coalesce(string_agg('trained.' || name || ', ', '' order by position), '') from unnest(v_groups) with ordinality as part (name, position)),
    v_z, v_model, steps_ahead
  );
end;
$$;

comment on function ml.ets_forecast(text, text, int, float8) is $$
@behavior -*
What a model of ml.ets_train expects, with intervals, beside the seasonal-naive forecast.
Writes `output_table`: the grouping columns, `step_ahead` (1 = the row after the last), `forecast_value`, `lower` and `upper` (an interval that holds the value
with chance `confidence` if errors are normal; a median and its interval for a multiplicative season), and `naive_value`, the value one cycle ago.
Errors: CF001, CF002 (not a model), CF003 (`output_table` exists), CF005.
$$;

grant execute on function ml.ets_forecast(text, text, int, float8) to insights_admin, insights_worker;
--! EndIncluded ml/functions/ets_forecast.sql
--! Included ml/functions/arima_train.sql
create or replace function ml.arima_train(
  input_table text,
  output_table text,
  timestamp_column text,
  timeseries_column text,
  grouping_columns text default null,
  include_mean boolean default false,
  non_seasonal_orders int[] default array[1, 1, 1],
  optimizer_params text default null
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_started constant timestamptz := clock_timestamp();
  v_relation regclass := ml._relation(input_table);
  v_output text := ml._output(output_table, array['_summary', '_residual']);
  v_time text := ml._column(v_relation, timestamp_column, 'timestamp column');
  v_p int;
  v_d int;
  v_q int;
  v_max_iter int := 100;
  v_row record;
  v_series float8[];
  v_lasts float8[] := '{}';
  v_size int;
  v_fit record;
  v_variance float8;
  v_errors float8[];
  v_unknowns int;
begin
  if nullif(btrim(grouping_columns), '') is not null then
    raise exception using errcode = 'CF001', message = 'ARIMA models are not trained by group', hint = 'Train on a view of each group, or use ml.ets_train, which does.';
  elsif include_mean is null or coalesce(array_length(non_seasonal_orders, 1), 0) <> 3 or array_position(non_seasonal_orders, null) is not null
    or 0 > any (non_seasonal_orders) or 10 < any (non_seasonal_orders) or non_seasonal_orders[1] + non_seasonal_orders[3] + include_mean::int = 0 then
    raise exception using errcode = 'CF001', message = format('non_seasonal_orders %s', coalesce(non_seasonal_orders::text, 'null')), hint = 'Give p, d and q in 0..10, such as array[1,1,1], and something to estimate.';
  end if;
  if nullif(btrim(optimizer_params), '') is not null then
    v_max_iter := substring(optimizer_params from '^\s*max_iter\s*=\s*([0-9]{1,6})\s*$')::int;
    if v_max_iter is null then
      raise exception using errcode = 'CF001', message = format('optimizer_params "%s"', left(optimizer_params, 100)), hint = 'Give the number of iterations, such as max_iter=200.';
    end if;
  end if;
  v_p := non_seasonal_orders[1];
  v_d := non_seasonal_orders[2];
  v_q := non_seasonal_orders[3];
  v_unknowns := v_p + v_q + include_mean::int;
  perform ml._read_series(v_relation, timestamp_column, timeseries_column, '{}');
  select series, times into v_row from pg_temp._ml_series;
  if array_position(v_row.series, null) is not null then
    raise exception using errcode = 'CF001', message = format('the series has a gap at %s', v_row.times[array_position(v_row.series, null)]), hint = 'Fill it first; ml.ets_train takes gaps.';
  end if;
  v_series := v_row.series;
  for v_round in 1..v_d loop
    v_lasts := v_lasts || v_series[cardinality(v_series)];
    v_series := array(select v_series[place + 1] - v_series[place] from generate_series(1, cardinality(v_series) - 1) as place order by place);
  end loop;
  v_size := cardinality(v_series);
  if v_size - v_p <= v_unknowns + 1 then
    raise exception using errcode = 'CF004', message = format('%s rows are too few for orders %s', cardinality(v_row.series), non_seasonal_orders), hint = 'Lower the orders, or give a longer series.';
  end if;
  v_fit := ml._series_fit('arima', v_series, array[v_p, v_q, include_mean::int],
    array_fill(0.1::float8, array[v_p + v_q]) || case when include_mean then array[(select avg(value) from unnest(v_series) as value)] else '{}'::float8[] end, null, v_max_iter);
  v_variance := v_fit.squares / (v_size - v_p);
  if v_fit.covariance is null then
    raise exception using errcode = 'CF007', message = format('orders %s do not identify their parameters on this series', non_seasonal_orders), hint = 'Lower p or q: a pair of them cancels out, or the series does not vary.';
  end if;
  v_errors := array(select sqrt(v_variance * v_fit.covariance[k][k]) from generate_series(1, v_unknowns) as k order by k);
  execute format(
    'create table %s as
     select %L::float8 as mean, %L::float8 as mean_std_error, %L::float8[] as ar_params, %L::float8[] as ar_std_errors, %L::float8[] as ma_params, %L::float8[] as ma_std_errors',
    v_output,
    case when include_mean then v_fit.parameters[v_unknowns] end, case when include_mean then v_errors[v_unknowns] end,
    v_fit.parameters[1:v_p], v_errors[1:v_p], v_fit.parameters[v_p + 1:v_p + v_q], v_errors[v_p + 1:v_p + v_q]
  );
  execute format(
    'create table %s as
     select %L::text as input_table, %L::text as timestamp_col, %L::text as timeseries_col, %L::int[] as non_seasonal_orders, %L::boolean as include_mean,
       %L::float8 as residual_variance, %L::float8 as log_likelihood, %s::int as iter_num, %L::interval as exec_time, %s::bigint as num_rows_processed,
       %L::float8[] as last_values, %L::float8[] as last_errors, %L::float8[] as last_levels',
    ml._suffixed(v_output, '_summary'), v_relation, v_time, timeseries_column, non_seasonal_orders, include_mean,
    v_variance, -0.5 * (v_size - v_p) * (ln(2 * pi() * v_variance) + 1), v_fit.iterations, clock_timestamp() - v_started, cardinality(v_row.series),
    v_series[v_size - greatest(v_p, 1) + 1:], v_fit.residuals[v_size - greatest(v_q, 1) + 1:], v_lasts
  );
  execute format(
    'create table %s as select time::%s as %s, residual from unnest(%L::text[], %L::float8[]) as entry (time, residual)',
    ml._suffixed(v_output, '_residual'),
    (select format_type(atttypid, atttypmod) from pg_catalog.pg_attribute where attrelid = v_relation and quote_ident(attname) = v_time), v_time,
    v_row.times[v_d + 1:], v_fit.residuals
  );
  drop table pg_temp._ml_series;
end;
$$;

comment on function ml.arima_train(text, text, text, text, text, boolean, int[], text) is $$
@behavior -*
ARIMA(p, d, q) by conditional least squares, in MADlib's arguments: a series differenced d times, explained by its p last values and q last errors.
`non_seasonal_orders` is array[p, d, q]; `include_mean` adds the mean of the differenced series; `optimizer_params` is `max_iter=…`; `grouping_columns` must be null.
Rows are in the order of time, one a step, without gaps. For seasons, gaps and groups see ml.ets_train.
Writes `output_table`: `mean`, `mean_std_error`, `ar_params`, `ar_std_errors`, `ma_params`, `ma_std_errors`; `<output_table>_summary`: `input_table`, `timestamp_col`,
`timeseries_col`, `non_seasonal_orders`, `include_mean`, `residual_variance`, `log_likelihood`, `iter_num`, `exec_time`, `num_rows_processed` and the last
values, errors and levels to forecast from; `<output_table>_residual`: the timestamp and `residual`.
Errors: CF001 (orders, gaps, non-finite), CF002, CF003 (a table exists), CF004 (too few rows), CF005, CF007 (parameters that cancel out).
Source: Box and Jenkins, Time Series Analysis: Forecasting and Control, 1970.
$$;

grant execute on function ml.arima_train(text, text, text, text, text, boolean, int[], text) to insights_admin, insights_worker;
--! EndIncluded ml/functions/arima_train.sql
--! Included ml/functions/arima_forecast.sql
create or replace function ml.arima_forecast(
  model_table text,
  output_table text,
  steps_ahead int,
  confidence float8 default 0.95
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_model regclass := ml._relation(model_table);
  v_output text := ml._output(output_table);
  v_summary text;
  v_row record;
  v_state record;
  v_mean float8;
  v_values float8[];
  v_errors float8[];
  v_psi float8[];
  v_weight float8;
  v_spread float8 := 0;
  v_levels float8[];
  v_value float8;
  v_forecasts float8[] := '{}';
  v_deviations float8[] := '{}';
  v_z float8;
begin
  if steps_ahead is null or steps_ahead not between 1 and 10000 then
    raise exception using errcode = 'CF001', message = format('steps_ahead %s', coalesce(steps_ahead::text, 'null')), hint = 'Choose 1 to 10000.';
  elsif confidence is null or not (confidence > 0 and confidence < 1) then
    raise exception using errcode = 'CF001', message = format('confidence %s', coalesce(confidence::text, 'null')), hint = 'Choose a number between 0 and 1, such as 0.95.';
  end if;
  select format('%I.%I', namespace.nspname, class.relname || '_summary')
  into v_summary
  from pg_catalog.pg_class as class
  join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
  where class.oid = v_model;
  if not 'ar_params' = any (ml._columns(v_model)) or to_regclass(v_summary) is null then
    raise exception using errcode = 'CF002', message = format('"%s" is not a model of ml.arima_train', left(model_table, 100)), hint = 'Give the output table of ml.arima_train, beside its summary.';
  end if;
  execute format('select mean, ar_params, ma_params from %s', v_model) into v_row;
  execute format('select residual_variance, last_values, last_errors, last_levels from %s', v_summary) into v_state;
  v_mean := coalesce(v_row.mean, 0);
  v_z := ml.normal_quantile((1 + confidence) / 2);
  -- Newest first.
  v_values := array(select value from unnest(v_state.last_values) with ordinality as entry (value, place) order by place desc);
  v_errors := array(select value from unnest(v_state.last_errors) with ordinality as entry (value, place) order by place desc);
  v_levels := v_state.last_levels;
  -- How much of an error is left after 0, 1, 2, … steps; differencing sums it up once a round.
  v_psi := array[1]::float8[];
  for v_step in 1..steps_ahead loop
    v_weight := coalesce(v_row.ma_params[v_step], 0);
    for k in 1..least(cardinality(v_row.ar_params), v_step) loop
      v_weight := v_weight + v_row.ar_params[k] * v_psi[v_step - k + 1];
    end loop;
    v_psi := v_psi || v_weight;
  end loop;
  for v_round in 1..cardinality(v_levels) loop
    v_psi := array(select sum(weight) over (order by place) from unnest(v_psi) with ordinality as entry (weight, place) order by place);
  end loop;
  for v_step in 1..steps_ahead loop
    v_value := v_mean;
    for k in 1..cardinality(v_row.ar_params) loop
      v_value := v_value + v_row.ar_params[k] * (v_values[k] - v_mean);
    end loop;
    for k in 1..cardinality(v_row.ma_params) loop
      v_value := v_value + v_row.ma_params[k] * coalesce(v_errors[k], 0);
    end loop;
    v_values := v_value || v_values;
    v_errors := 0::float8 || v_errors;
    for v_round in reverse cardinality(v_levels)..1 loop
      v_levels[v_round] := v_levels[v_round] + v_value;
      v_value := v_levels[v_round];
    end loop;
    v_spread := v_spread + v_psi[v_step] ^ 2;
    v_forecasts := v_forecasts || v_value;
    v_deviations := v_deviations || sqrt(v_state.residual_variance * v_spread);
  end loop;
  execute format(
    'create table %s as select step_ahead::int, forecast_value, forecast_value - %L::float8 * deviation as lower, forecast_value + %L::float8 * deviation as upper
     from unnest(%L::float8[], %L::float8[]) with ordinality as ahead (forecast_value, deviation, step_ahead)',
    v_output, v_z, v_z, v_forecasts, v_deviations
  );
end;
$$;

comment on function ml.arima_forecast(text, text, int, float8) is $$
@behavior -*
What a model of ml.arima_train expects, with intervals.
Writes `output_table`: `step_ahead` (1 = the row after the last), `forecast_value`, `lower` and `upper` (an interval that holds the value with chance `confidence` if
errors are normal and the parameters right). Errors: CF001, CF002 (not a model), CF003 (`output_table` exists), CF005.
$$;

grant execute on function ml.arima_forecast(text, text, int, float8) to insights_admin, insights_worker;
--! EndIncluded ml/functions/arima_forecast.sql
--! Included ml/functions/seasonal_naive_forecast.sql
create or replace function ml.seasonal_naive_forecast(
  input_table text,
  output_table text,
  timestamp_column text,
  timeseries_column text,
  steps_ahead int,
  seasonal_period int default 1,
  grouping_columns text default null,
  confidence float8 default 0.95
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_relation regclass := ml._relation(input_table);
  v_output text := ml._output(output_table);
  v_groups text[] := ml._column_list(v_relation, grouping_columns, 'grouping columns');
  v_z float8;
begin
  if steps_ahead is null or steps_ahead not between 1 and 10000 or seasonal_period is null or seasonal_period not between 1 and 1000 then
    raise exception using errcode = 'CF001', message = format('steps_ahead %s, seasonal_period %s', coalesce(steps_ahead::text, 'null'), coalesce(seasonal_period::text, 'null')), hint = 'Choose 1 to 10000 steps and a period of 1 to 1000 rows.';
  elsif confidence is null or not (confidence > 0 and confidence < 1) then
    raise exception using errcode = 'CF001', message = format('confidence %s', coalesce(confidence::text, 'null')), hint = 'Choose a number between 0 and 1, such as 0.95.';
  end if;
  v_z := ml.normal_quantile((1 + confidence) / 2);
  perform ml._read_series(v_relation, timestamp_column, timeseries_column, v_groups);
  if exists (select from pg_temp._ml_series where cardinality(series) <= seasonal_period) then
    raise exception using errcode = 'CF004', message = format('a series is not longer than its period of %s rows', seasonal_period), hint = 'A cycle and one row at least say how much cycles differ.';
  end if;
  execute format(
    $query$
    create table %1$s as
    select
      %2$s step_ahead, forecast_value,
      forecast_value - %3$L::float8 * deviation * sqrt((step_ahead - 1) / %4$s + 1) as lower,
      forecast_value + %3$L::float8 * deviation * sqrt((step_ahead - 1) / %4$s + 1) as upper
    from (
      select
        source.*,
        (
          select sqrt(avg((value - before) ^ 2))
          from (select value, lag(value, %4$s) over (order by place) as before from unnest(series) with ordinality as entry (value, place)) as pair
        ) as deviation
      from pg_temp._ml_series as source
    ) as source
    cross join generate_series(1, %5$s) as step_ahead
    cross join lateral (select series[cardinality(series) - %4$s + 1 + (step_ahead - 1) %% %4$s] as forecast_value) as naive
    order by %2$s step_ahead
    $query$,
    v_output, (select coalesce(string_agg(name || ', ', '' order by position), '') from unnest(v_groups) with ordinality as part (name, position)), v_z, seasonal_period, steps_ahead
  );
  drop table pg_temp._ml_series;
end;
$$;

comment on function ml.seasonal_naive_forecast(text, text, text, text, int, int, text, float8) is $$
@behavior -*
The forecast that every other has to beat: the value one cycle ago (`seasonal_period` rows; 1 is the last value).
Writes `output_table`: the grouping columns, `step_ahead`, `forecast_value`, `lower`, `upper`: the variance is that of the changes from cycle to cycle, once for
each cycle ahead. Errors: CF001, CF002, CF003 (`output_table` exists), CF004 (not longer than a period), CF005.
Source: Hyndman and Athanasopoulos, Forecasting: Principles and Practice, 2021, sections 5.2 and 5.5.
$$;

grant execute on function ml.seasonal_naive_forecast(text, text, text, text, int, int, text, float8) to insights_admin, insights_worker;
--! EndIncluded ml/functions/seasonal_naive_forecast.sql
--! Included ml/functions/_registry.sql
/*
 * A registered model is a document (`ml.model.coefficients`) and, where it is large, rows of ml.tree_node, ml.embedding or
 * ml.score. The document says of what kind it is, what it needs and how a raw score becomes an answer:
 *
 *   {"kind": "linear" | "trees" | "embeddings" | "scores",
 *    "link": "identity" | "logit" | "log",
 *    "features": [{"name": "tax", "type": "number", "coefficient": 0.2, "mean": 590},
 *                 {"name": "country", "type": "category", "categories": ["at", "de"], "coefficients": [0.1, 0.3]}],
 *    "intercept": 1.5,
 *    "calibration": {"method": "platt", "slope": 0.9, "intercept": 0.1}}
 *
 * All that predicts is SQL generated from it: names are looked up, numbers cast, texts quoted, and nothing else enters.
 */
create or replace function ml._project(name text)
returns ml.project
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_project ml.project;
begin
  select * into v_project from ml.project where project.name = _project.name;
  if v_project.project_id is null then
    raise exception using errcode = 'CF002', message = format('there is no project "%s"', coalesce(left(name, 100), 'null')),
      hint = coalesce(
        'Did you mean "' || ml._nearest(name, (select array_agg(project.name) from ml.project)) || '"?',
        'Train or import a model first: ml.train, ml.import_model.'
      );
  end if;
  return v_project;
end;
$$;

comment on function ml._project(text) is $$The project of a name. Error CF002 names the nearest.$$;

create or replace function ml._deployed_model_id(project_id int)
returns bigint
language sql
stable
parallel safe
begin atomic
  select deployment.model_id
  from ml.deployment
  where deployment.project_id = _deployed_model_id.project_id
  order by deployment.deployment_id desc
  limit 1;
end;

comment on function ml._deployed_model_id(int) is $$The version of a project that is in force, null when there is none.$$;

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
    and case when _version.version is null then model.model_id = ml._deployed_model_id(v_project.project_id) else model.version = _version.version end;
  if v_model.model_id is null and version is null then
    raise exception using errcode = 'CF006', message = format('no version of "%s" is in force', left(project, 100)),
      hint = 'Train or import one, or deploy one with ml.deploy.';
  elsif v_model.model_id is null then
    raise exception using errcode = 'CF002', message = format('"%s" has no version %s', left(project, 100), version),
      hint = coalesce(
        (select format('Its versions are %s to %s.', min(model.version), max(model.version)) from ml.model where model.project_id = v_project.project_id having count(*) > 0),
        'It has none yet.'
      );
  end if;
  return v_model;
end;
$$;

comment on function ml._version(text, int) is $$
A version of a project, the one in force where none is named. Errors: CF002 (no such project or version), CF006 (none in force).
$$;

create or replace function ml._document(model ml.model)
returns jsonb
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if coalesce(model.coefficients ->> 'kind', '') not in ('linear', 'trees', 'embeddings', 'scores') then
    raise exception using errcode = 'CF001', message = format('version %s is a model of its own kind (%s) that answers elsewhere', model.version, model.algorithm),
      hint = 'ml.predict serves what ml.train, ml.register_model or ml.import_model made.';
  end if;
  return model.coefficients;
end;
$$;

comment on function ml._document(ml.model) is $$The document of a version that ml.predict can serve. Error CF001 for recommenders and the like, which are served by their own functions.$$;

/* -------------------------------------------------------------------------------------------------- answering -- */

create or replace function ml._interpolate(score float8, scores float8[], answers float8[])
returns float8
language sql
immutable
parallel safe
begin atomic
  select case
    when score is null then null
    when place = 0 then answers[1]
    when place = cardinality(scores) then answers[place]
    else answers[place] + (answers[place + 1] - answers[place]) * (score - scores[place]) / (scores[place + 1] - scores[place])
  end
  from width_bucket(score, scores) as place;
end;

comment on function ml._interpolate(float8, float8[], float8[]) is $$
The value at a score of the line through points in ascending order of `scores`, constant beyond both ends.
$$;

create or replace function ml._single_precision(value float8)
returns float8
language sql
immutable
parallel safe
begin atomic
  select case
    when abs(value) < 1.2e-38 then 0
    when abs(value) > 3.4e38 and abs(value) < 'Infinity' then sign(value) * 3.4e38
    else value::float4::float8
  end;
end;

comment on function ml._single_precision(float8) is $$A number as libraries see it that keep their features in four bytes, such as XGBoost.$$;

create or replace function ml._similarity(a vector, b vector, similarity text)
returns float8
language sql
immutable
parallel safe
begin atomic
  select case when similarity = 'cosine' then 1 - (a <=> b) else -(a <#> b) end;
end;

comment on function ml._similarity(vector, vector, text) is $$Likeness of two vectors: `cosine`, or else their inner product.$$;

create or replace function ml._answer_expression(document jsonb, score text)
returns text
language sql
immutable
parallel safe
begin atomic
  select case
    when document #>> '{calibration,method}' = 'isotonic' then format(
      'ml._interpolate(%s, %L::float8[], %L::float8[])', score,
      array(select value::float8 from jsonb_array_elements_text(document #> '{calibration,scores}') as value),
      array(select value::float8 from jsonb_array_elements_text(document #> '{calibration,answers}') as value)
    )
    else case document ->> 'link'
      when 'logit' then format('1 / (1 + exp(-least(greatest(%s, -700), 700)))', calibrated.score)
      when 'log' then format('exp(least(greatest(%s, -700), 700))', calibrated.score)
      else calibrated.score
    end
  end
  from (
    select case
      when document #>> '{calibration,method}' = 'platt' then format(
        '(%L::float8 * %s + %L::float8)', (document #>> '{calibration,slope}')::float8, _answer_expression.score, (document #>> '{calibration,intercept}')::float8
      )
      else _answer_expression.score
    end as score
  ) as calibrated;
end;

comment on function ml._answer_expression(jsonb, text) is $$
SQL that makes the answer of a model from the SQL of its raw score: calibration, then the inverse of the link.
$$;

create or replace function ml._score_expression(model ml.model)
returns text
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_document constant jsonb := ml._document(model);
  v_trees text[] := '{}';
  v_tree int;
  v_size int;
  v_score text;
begin
  case v_document ->> 'kind'
    when 'linear' then
      select format('%L::float8', (v_document ->> 'intercept')::float8) || coalesce(string_agg(
        case
          when feature ->> 'type' = 'category' then format(
            ' + coalesce((%L::float8[])[array_position(%L::text[], x%s)], 0)',
            array(select value::float8 from jsonb_array_elements_text(feature -> 'coefficients') as value),
            array(select jsonb_array_elements_text(feature -> 'categories')),
            position
          )
          else format(' + %L::float8 * coalesce(x%s, %L::float8)', (feature ->> 'coefficient')::float8, position, (feature ->> 'mean')::float8)
        end, '' order by position
      ), '')
      into v_score
      from jsonb_array_elements(v_document -> 'features') with ordinality as listed (feature, position);
    when 'trees' then
      for v_tree in select distinct node.tree from ml.tree_node as node where node.model_id = model.model_id order by node.tree loop
        v_trees := v_trees || ml._tree_expression(
          format('(select * from ml.tree_node where model_id = %s) as registered', model.model_id),
          v_tree,
          (select jsonb_object_agg(feature ->> 'name', position) from jsonb_array_elements(v_document -> 'features') with ordinality as listed (feature, position)),
          (select jsonb_object_agg(feature ->> 'name', feature -> 'categories') from jsonb_array_elements(v_document -> 'features') as feature),
          'format(''%L::float8'', value)'
        );
      end loop;
      -- A sum of sums, so that thousands of trees do not nest too deep for the parser.
      v_size := greatest(1, ceil(sqrt(cardinality(v_trees)))::int);
      select format('%L::float8', (v_document ->> 'intercept')::float8) || coalesce(string_agg(' + (' || part || ')', '' order by place), '')
      into v_score
      from (
        select (position - 1) / v_size as place, string_agg(tree, ' + ' order by position) as part
        from unnest(v_trees) with ordinality as grown (tree, position)
        group by (position - 1) / v_size
      ) as chunk;
    when 'embeddings' then
      v_score := format(
        '(select ml._similarity(one.embedding, other.embedding, %L) from ml.embedding as one, ml.embedding as other
          where one.model_id = %2$s and one.side = 1 and one.key = x1 and other.model_id = %2$s and other.side = %3$s and other.key = x2)',
        v_document ->> 'similarity', model.model_id, (v_document ->> 'sides')::int
      );
    when 'scores' then
      v_score := format(
        'coalesce((select listed.score from ml.score as listed where listed.model_id = %s and listed.keys = array[%s]), %L::float8)',
        model.model_id,
        (select string_agg('x' || position, ', ' order by position) from generate_series(1, jsonb_array_length(v_document -> 'features')) as position),
        (v_document ->> 'default')::float8
      );
  end case;
  return '(' || v_score || ')';
end;
$$;

comment on function ml._score_expression(ml.model) is $$
The raw score of a model as one SQL expression over its features x1, x2, … (see ml._feature_list).
$$;

create or replace function ml._feature_list(document jsonb, relation regclass)
returns text
language plpgsql
stable
as $$
declare
  v_feature record;
  v_name text;
  v_list text[] := '{}';
begin
  for v_feature in
    select feature ->> 'name' as name, feature ->> 'type' as type, position
    from jsonb_array_elements(document -> 'features') with ordinality as listed (feature, position)
    order by position
  loop
    v_name := ml._column(relation, v_feature.name, 'feature');
    v_list := v_list || case
      when v_feature.type = 'category' then format('(%s)::text as x%s', v_name, v_feature.position)
      when (document -> 'single_precision')::boolean then format('nullif(ml._single_precision(%s), ''NaN'') as x%s', ml._numeric_expression(v_name, relation, 'feature'), v_feature.position)
      else format('nullif(%s, ''NaN'') as x%s', ml._numeric_expression(v_name, relation, 'feature'), v_feature.position)
    end;
  end loop;
  return array_to_string(v_list, ', ');
end;
$$;

comment on function ml._feature_list(jsonb, regclass) is $$
The select list that gives a model's features as x1, x2, … from a relation that has columns of their names.
Errors: CF001 (not a number), CF002 (no such column; names the nearest).
$$;

create or replace function ml._feature_values(document jsonb, features jsonb)
returns table (name text, place int, type text, value text)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_feature jsonb;
  v_given jsonb;
begin
  if features is null or jsonb_typeof(features) <> 'object' then
    raise exception using errcode = 'CF001', message = format('the features are %s', coalesce('a JSON ' || jsonb_typeof(features), 'null')),
      hint = 'Give an object of names and values, such as {"tax": 590, "bath": null}.';
  end if;
  place := 0;
  for v_feature in select listed.feature from jsonb_array_elements(document -> 'features') with ordinality as listed (feature, position) order by position loop
    name := v_feature ->> 'name';
    place := place + 1;
    type := v_feature ->> 'type';
    v_given := features -> name;
    if v_given is null then
      raise exception using errcode = 'CF001', message = format('the feature "%s" is not given', left(name, 100)),
        hint = format(
          'Give a value, or null where it is unknown. %s',
          coalesce('Is it "' || ml._nearest(name, array(select jsonb_object_keys(features) except select listed.feature ->> 'name' from jsonb_array_elements(document -> 'features') as listed (feature))) || '"?', '')
        );
    end if;
    case
      when jsonb_typeof(v_given) in ('object', 'array') or (jsonb_typeof(v_given) = 'string' and type = 'number') then
        raise exception using errcode = 'CF001', message = format('the feature "%s" is %s, a %s is due', left(name, 100), left(v_given::text, 100), left(type, 100)),
          hint = 'Give a JSON number, true or false for a number; a string for a category; null where it is unknown.';
      when type = 'number' and jsonb_typeof(v_given) = 'boolean' then
        value := v_given::boolean::int::text;
      when type = 'number' and jsonb_typeof(v_given) = 'number' then
        begin
          value := (v_given #>> '{}')::float8;
        exception when numeric_value_out_of_range then
          raise exception using errcode = 'CF001', message = format('the feature "%s" is %s, which no double can hold', left(name, 100), left(v_given::text, 40)),
            hint = 'Give a number between 1e-307 and 1e308.';
        end;
        if (document -> 'single_precision')::boolean then
          value := ml._single_precision(value::float8);
        end if;
      else
        value := v_given #>> '{}';
    end case;
    return next;
  end loop;
end;
$$;

comment on function ml._feature_values(jsonb, jsonb) is $$
The features of a model as given in an object, in the model's order. Keys that the model does not know are not looked at.
Error CF001: one is not given (null says that it is unknown), not a number where one is due.
$$;

create or replace function ml._tree_score(model_id bigint, document jsonb, inputs jsonb)
returns float8
language sql
stable
parallel safe
begin atomic
  with recursive walk as (
    select node.*
    from ml.tree_node as node
    where node.model_id = _tree_score.model_id
      and node.node = 0

    union all

    select node.*
    from walk
    cross join lateral (
      select
        case
          when inputs -> walk.feature is null or inputs -> walk.feature = 'null' then walk.missing_left
          when walk.categories is not null then inputs ->> walk.feature = any (walk.categories)
          else walk.threshold = 'Infinity' or (inputs ->> walk.feature)::float8 < walk.threshold
        end as goes_left
    ) as decided
    join ml.tree_node as node
      on node.model_id = _tree_score.model_id
      and node.tree = walk.tree
      and node.node = case when decided.goes_left then walk.left_node else walk.right_node end
    where walk.feature is not null
  )

  select (document ->> 'intercept')::float8 + coalesce(sum(walk.value), 0)
  from walk
  where walk.feature is null;
end;

comment on function ml._tree_score(bigint, jsonb, jsonb) is $$
The raw score of a tree model for one row: all its trees are walked at once, by key. Batches use ml._score_expression.
$$;

create or replace function ml._score(model ml.model, features jsonb)
returns float8
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_document constant jsonb := ml._document(model);
  v_inputs jsonb;
  v_list text;
  v_score float8;
begin
  if v_document ->> 'kind' = 'trees' then
    select jsonb_object_agg(
      input.name,
      -- A category that the training never saw counts as missing.
      case when input.type = 'category' and not listed.feature -> 'categories' ? coalesce(input.value, '') then null else input.value end
    )
    into v_inputs
    from ml._feature_values(v_document, features) as input
    join jsonb_array_elements(v_document -> 'features') as listed (feature) on listed.feature ->> 'name' = input.name;
    return ml._tree_score(model.model_id, v_document, coalesce(v_inputs, '{}'));
  end if;
  select string_agg(format('%L::%s as x%s', input.value, case when input.type = 'category' then 'text' else 'float8' end, input.place), ', ' order by input.place)
  into v_list
  from ml._feature_values(v_document, features) as input;
  execute format('select %s from (select %s) as input', ml._score_expression(model), coalesce(v_list, '1 as one')) into v_score;
  return v_score;
end;
$$;

comment on function ml._score(ml.model, jsonb) is $$The raw score of a model for one object of features: log odds, the logarithm or the value itself, before calibration.$$;

create or replace function ml._predict(model ml.model, features jsonb)
returns float8
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_answer float8;
begin
  execute format('select %s', ml._answer_expression(model.coefficients, '$1')) into v_answer using ml._score(model, features);
  return v_answer;
end;
$$;

comment on function ml._predict(ml.model, jsonb) is $$The answer of a model for one object of features.$$;

create or replace function ml._predict_into(
  model ml.model,
  relation regclass,
  output text,
  expression text,
  name text,
  kept text default 'true'
)
returns bigint
language plpgsql
set jit to off
as $$
declare
  v_document constant jsonb := ml._document(model);
  v_rows bigint;
begin
  execute format(
    'create table %s as select _kept as %s, %s as prediction from (select %s as _kept, %s from %s where %s offset 0) as input',
    output, name, ml._answer_expression(v_document, ml._score_expression(model)),
    expression, ml._feature_list(v_document, relation), relation, kept
  );
  get diagnostics v_rows = row_count;
  return v_rows;
end;
$$;

comment on function ml._predict_into(ml.model, regclass, text, text, text, text) is $$
Writes a table of an expression over a relation, under a name, and `prediction`, for the rows that are `kept`, in one statement; returns how many.
All texts are SQL that the caller has checked.
$$;

grant execute on function
  ml._project(text), ml._deployed_model_id(int), ml._version(text, int), ml._document(ml.model), ml._interpolate(float8, float8[], float8[]),
  ml._single_precision(float8), ml._similarity(vector, vector, text), ml._answer_expression(jsonb, text), ml._score_expression(ml.model),
  ml._feature_values(jsonb, jsonb), ml._tree_score(bigint, jsonb, jsonb), ml._score(ml.model, jsonb), ml._predict(ml.model, jsonb)
to insights_reader, insights_analyst, insights_admin, insights_worker;

grant execute on function ml._feature_list(jsonb, regclass), ml._predict_into(ml.model, regclass, text, text, text, text)
to insights_analyst, insights_admin, insights_worker;

-- Errors name what is near, for whoever asks.
grant execute on function ml._nearest(text, text[]) to insights_reader;
--! EndIncluded ml/functions/_registry.sql
--! Included ml/functions/_evaluate.sql
create or replace function ml._temporary(name text)
returns text
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  -- The schema of temporary tables exists from the first one on.
  if pg_catalog.pg_my_temp_schema() = 0 then
    create temporary table _ml_first ();
    drop table pg_temp._ml_first;
  end if;
  return format('%I.%I', (select nspname from pg_catalog.pg_namespace where oid = pg_catalog.pg_my_temp_schema()), name);
end;
$$;

comment on function ml._temporary(text) is $$The qualified name of a temporary table of the session, made or to be made.$$;

create or replace function ml._evaluate(predicted text, task text)
returns jsonb
language plpgsql
volatile
set client_min_messages to warning
as $$
declare
  v_measured constant text := ml._temporary('_ml_measured');
  v_metrics jsonb := '{}';
  v_measure text;
  v_value float8;
  v_seen record;
begin
  execute format(
    'select count(*) as row_count, avg(observed) as mean, min(observed) as least, max(observed) as greatest, count(*) filter (where observed = round(observed)) as classes
     from %s where prediction is not null and observed is not null',
    predicted
  ) into v_seen;
  if v_seen.row_count = 0 then
    raise exception using errcode = 'CF004', message = 'no row has both a prediction and a label', hint = 'A model is judged by rows whose label is known.';
  end if;
  foreach v_measure in array case task
    when 'classification' then array['area_under_roc', 'average_precision', 'log_loss', 'brier_score']
    else array['root_mean_squared_error', 'mean_abs_error', 'r2_score']
  end loop
    execute format('drop table if exists %s', v_measured);
    if v_seen.least = v_seen.greatest and v_measure in ('area_under_roc', 'average_precision', 'r2_score') then
      continue;
    end if;
    execute format('select ml.%I(%L, %L, ''prediction'', ''observed'')', v_measure, predicted, v_measured);
    execute format('select %I from %s', v_measure, v_measured) into v_value;
    v_metrics := v_metrics || jsonb_build_object(v_measure, v_value);
  end loop;
  if task = 'classification' then
    execute format('drop table if exists %s', v_measured);
    execute format('select ml.calibration_curve(%L, %L, ''prediction'', ''observed'', null, 10, ''quantile'')', predicted, v_measured);
    execute format('select sum(num_rows * abs(mean_predicted - fraction_positive)) / sum(num_rows) from %s', v_measured) into v_value;
    v_metrics := v_metrics || jsonb_build_object('calibration_error', v_value);
  end if;
  execute format('drop table if exists %s', v_measured);
  return v_metrics || jsonb_build_object('row_count', v_seen.row_count, 'mean_observed', v_seen.mean);
end;
$$;

comment on function ml._evaluate(text, text) is $$
All metrics of a table of `prediction` and `observed`, as one object: those that its rows do not allow (one class only) are left out.
`calibration_error` is the mean distance of predicted and observed share over ten bins of equal numbers of rows. Errors: CF001 (no probabilities, no classes), CF004 (no rows).
$$;

create or replace function ml._fit_calibration(predicted text, method text)
returns jsonb
language plpgsql
volatile
as $$
declare
  v_slope float8 := 0;
  v_intercept float8 := 0;
  v_step_slope float8;
  v_step_intercept float8;
  v_loss float8 := 'Infinity';
  v_step record;
  v_block record;
  v_scores float8[] := '{}';
  v_weights float8[] := '{}';
  v_answers float8[] := '{}';
  v_places int := 0;
  v_score float8;
  v_answer float8;
  v_weight float8;
begin
  if method = 'platt' then
    -- Newton's steps on the log likelihood of Platt's softened targets, which keeps separable data finite; a step too far is halved.
    for v_round in 1..100 loop
      execute format(
        $query$
        with total as (
          select sum(observed)::float8 as positives, (count(*) - sum(observed))::float8 as negatives from %1$s
        ), fitted as (
          select
            score, $1 * score + $2 as logit,
            1 / (1 + exp(-least(greatest($1 * score + $2, -700), 700))) as p,
            case when observed = 1 then (positives + 1) / (positives + 2) else 1 / (negatives + 2) end as target
          from %1$s
          cross join total
        ), summed as (
          select
            sum(greatest(logit, 0) - target * logit + ln(1 + exp(-abs(logit)))) as loss,
            sum((p - target) * score) as g1, sum(p - target) as g0,
            sum(p * (1 - p) * score * score) + 1e-9 as h11, sum(p * (1 - p) * score) as h10, sum(p * (1 - p)) + 1e-9 as h00
          from fitted
        )
        select loss, (h00 * g1 - h10 * g0) / nullif(h11 * h00 - h10 * h10, 0) as slope, (h11 * g0 - h10 * g1) / nullif(h11 * h00 - h10 * h10, 0) as intercept
        from summed
        $query$,
        predicted
      ) into v_step using v_slope, v_intercept;
      if v_step.loss > v_loss + 1e-9 * abs(v_loss) then
        v_step_slope := v_step_slope / 2;
        v_step_intercept := v_step_intercept / 2;
        v_slope := v_slope + v_step_slope;
        v_intercept := v_intercept + v_step_intercept;
      else
        exit when v_step.slope is null;
        v_loss := v_step.loss;
        v_step_slope := v_step.slope;
        v_step_intercept := v_step.intercept;
        v_slope := v_slope - v_step_slope;
        v_intercept := v_intercept - v_step_intercept;
      end if;
      exit when abs(v_step_slope) + abs(v_step_intercept) < 1e-10;
    end loop;
    return jsonb_build_object('method', 'platt', 'slope', v_slope, 'intercept', v_intercept);
  end if;

  -- Pool adjacent violators: a block that is below the one before it is merged with it, until the answers ascend.
  for v_block in execute format('select score, avg(observed)::float8 as answer, count(*)::float8 as weight from %s group by score order by score', predicted) loop
    v_score := v_block.score;
    v_answer := v_block.answer;
    v_weight := v_block.weight;
    while v_places > 0 and v_answers[v_places] >= v_answer loop
      v_score := (v_scores[v_places] * v_weights[v_places] + v_score * v_weight) / (v_weights[v_places] + v_weight);
      v_answer := (v_answers[v_places] * v_weights[v_places] + v_answer * v_weight) / (v_weights[v_places] + v_weight);
      v_weight := v_weights[v_places] + v_weight;
      v_places := v_places - 1;
    end loop;
    v_places := v_places + 1;
    v_scores[v_places] := v_score;
    v_answers[v_places] := v_answer;
    v_weights[v_places] := v_weight;
  end loop;
  return jsonb_build_object('method', 'isotonic', 'scores', to_jsonb(v_scores[1:v_places]), 'answers', to_jsonb(v_answers[1:v_places]));
end;
$$;

comment on function ml._fit_calibration(text, text) is $$
The calibration that turns the raw scores of a table of `score` and `observed` (0 and 1) into probabilities.
`platt`: a logistic curve (Platt, Probabilistic outputs for support vector machines, 1999), fitted by Newton's method. `isotonic`: the ascending
step function with the least squared error, by pooling adjacent violators (Zadrozny and Elkan, KDD 2002), joined by lines.
$$;

grant execute on function ml._temporary(text), ml._evaluate(text, text), ml._fit_calibration(text, text) to insights_admin, insights_worker;
--! EndIncluded ml/functions/_evaluate.sql
--! Included ml/functions/_challenge.sql
create or replace function ml._bin_counts(rows_of text, bins jsonb)
returns table (feature text, counts float8[])
language plpgsql
stable
set jit to off
as $$
begin
  if bins = '[]' then
    return;
  end if;
  return query execute format(
    $query$
    with tally as (
      select placed.position, placed.place, count(*)::float8 as row_count
      from %s as input
      cross join lateral (values %s) as placed (position, place)
      group by 1, 2
    )
    select bin.feature::text, array(
      select coalesce(tally.row_count, 0)
      from generate_series(0, bin.size - 1) as number
      left join tally on tally.position = bin.position and tally.place = number
      order by number
    )
    from (values %s) as bin (position, feature, size)
    order by bin.position
    $query$,
    rows_of,
    (
      select string_agg(
        case
          when jsonb_typeof(bin -> 'edges') = 'array' then format(
            '(%s, coalesce(width_bucket(x%s, %L::float8[]) + 1, 0))', position, bin ->> 'place',
            array(select edge::float8 from jsonb_array_elements_text(bin -> 'edges') as edge)
          )
          else format(
            '(%1$s, case when x%2$s is null then 0 else coalesce(array_position(%3$L::text[], x%2$s), %4$s) end)', position, bin ->> 'place',
            array(select jsonb_array_elements_text(bin -> 'categories')), jsonb_array_length(bin -> 'categories') + 1
          )
        end,
        ', ' order by position
      )
      from jsonb_array_elements(bins) with ordinality as listed (bin, position)
    ),
    (
      select string_agg(
        format(
          '(%s, %L, %s)', position, bin ->> 'feature',
          2 + case when jsonb_typeof(bin -> 'edges') = 'array' then jsonb_array_length(bin -> 'edges') else jsonb_array_length(bin -> 'categories') end
        ),
        ', ' order by position
      )
      from jsonb_array_elements(bins) with ordinality as listed (bin, position)
    )
  );
end;
$$;

comment on function ml._bin_counts(text, jsonb) is $$
How many rows lie in each bin of each feature, in one scan. `rows_of` is a query with the features as x1, x2, …; a bin has `feature`, `place` (the number of its x) and `edges` or `categories`.
$$;

create or replace function ml._profile(rows_of text, document jsonb)
returns jsonb
language plpgsql
stable
as $$
declare
  v_feature record;
  v_bins jsonb := '[]';
  v_edges float8[];
  v_categories text[];
begin
  for v_feature in
    select listed.feature ->> 'name' as name, listed.feature ->> 'type' as type, listed.position
    from jsonb_array_elements(document -> 'features') with ordinality as listed (feature, position)
    order by listed.position
  loop
    if v_feature.type = 'number' then
      execute format(
        'select array(select distinct edge from unnest(percentile_disc(array[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]) within group (order by x%1$s)) as edge order by edge) from %2$s as input where x%1$s is not null',
        v_feature.position, rows_of
      ) into v_edges;
      v_bins := v_bins || jsonb_build_object('feature', v_feature.name, 'place', v_feature.position, 'edges', coalesce(v_edges, '{}'));
    else
      execute format(
        'select array(select category from (select x%1$s as category from %2$s as input where x%1$s is not null group by 1 order by count(*) desc, 1 limit 20) as frequent order by 1)',
        v_feature.position, rows_of
      ) into v_categories;
      v_bins := v_bins || jsonb_build_object('feature', v_feature.name, 'place', v_feature.position, 'categories', coalesce(v_categories, '{}'));
    end if;
  end loop;
  return (
    select coalesce(jsonb_agg(bin || jsonb_build_object('shares', (
      select jsonb_agg(count_ / nullif(total, 0) order by place)
      from unnest(counted.counts) with ordinality as entry (count_, place)
      cross join (select sum(value) as total from unnest(counted.counts) as value) as whole
    ))), '[]')
    from ml._bin_counts(rows_of, v_bins) as counted
    join jsonb_array_elements(v_bins) as bin on bin ->> 'feature' = counted.feature
  );
end;
$$;

comment on function ml._profile(text, jsonb) is $$
How the features of a model are distributed over the rows of a query, as ml.input_profile stores it: numbers by deciles, categories by the twenty most frequent.
$$;

/* A definer: it writes the registry, and is granted to those who may train. It reads its arguments only, never a relation. */
create or replace function ml._conclude(
  model_id bigint,
  metrics jsonb,
  champion_model_id bigint,
  champion_metrics jsonb,
  profile jsonb,
  duration interval
)
returns ml.training
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_model ml.model;
  v_project ml.project;
  v_result ml.training;
  v_margin float8;
begin
  select * into v_model from ml.model where model.model_id = _conclude.model_id;
  select * into v_project from ml.project where project.project_id = v_model.project_id for update;
  v_result.project := v_project.name;
  v_result.version := v_model.version;
  v_result.algorithm := v_model.algorithm;
  v_result.metric := v_project.metric;
  v_result.metrics := _conclude.metrics;
  v_result.value := _conclude.metrics ->> v_project.metric;
  v_result.champion_value := _conclude.champion_metrics ->> v_project.metric;
  v_result.champion_version := (select model.version from ml.model where model.model_id = _conclude.champion_model_id);
  v_result.row_count := v_model.row_count;
  v_result.holdout_row_count := _conclude.metrics ->> 'row_count';
  v_result.duration := _conclude.duration;
  v_margin := (v_result.value - v_result.champion_value) * case when v_project.higher_is_better then 1 else -1 end;
  v_result.outcome := case
    when v_result.champion_version is null then 'first'
    when v_result.champion_value is null or v_result.value is null then 'incomparable'
    when v_margin > 0 then 'better'
    when v_margin = 0 then 'equal'
    else 'worse'
  end;
  v_result.deployed := v_result.outcome in ('first', 'better') or (v_result.outcome = 'incomparable' and v_result.value is not null);

  update ml.model
  set metrics = model.metrics || _conclude.metrics, duration = coalesce(_conclude.duration, model.duration)
  where model.model_id = v_model.model_id;
  insert into ml.input_profile (model_id, feature, edges, categories, shares)
  select
    v_model.model_id, bin ->> 'feature',
    case when jsonb_typeof(bin -> 'edges') = 'array' then array(select edge::float8 from jsonb_array_elements_text(bin -> 'edges') as edge) end,
    case when jsonb_typeof(bin -> 'categories') = 'array' then array(select jsonb_array_elements_text(bin -> 'categories')) end,
    array(select share::float8 from jsonb_array_elements_text(bin -> 'shares') with ordinality as listed (share, place) order by place)
  from jsonb_array_elements(_conclude.profile) as bin
  on conflict on constraint input_profile_pkey do nothing;
  insert into ml.comparison (project_id, challenger_model_id, champion_model_id, metric, challenger_value, champion_value, challenger_metrics, champion_metrics, row_count, outcome)
  values (
    v_project.project_id, v_model.model_id, _conclude.champion_model_id, v_project.metric, v_result.value, v_result.champion_value,
    _conclude.metrics, _conclude.champion_metrics, v_result.holdout_row_count, v_result.outcome
  );
  if v_result.deployed then
    perform ml._deploy(v_model.model_id, case v_result.outcome when 'incomparable' then 'newest' else v_result.outcome end);
  end if;
  return v_result;
end;
$$;

comment on function ml._conclude(bigint, jsonb, bigint, jsonb, jsonb, interval) is $$
Notes how a version did beside the one in force, and deploys it when it is the first or better.
$$;

/* A definer: see ml._conclude. */
create or replace function ml._calibrate(model_id bigint, calibration jsonb)
returns ml.model
language sql
volatile
security definer
set search_path to pg_catalog, pg_temp
as $$
  update ml.model
  set coefficients = model.coefficients || jsonb_build_object('calibration', _calibrate.calibration)
  where model.model_id = _calibrate.model_id
  returning model.*;
$$;

comment on function ml._calibrate(bigint, jsonb) is $$Gives a version the calibration of its scores, before it is first deployed.$$;

create or replace function ml._challenge(
  model ml.model,
  relation regclass,
  label text,
  kept text,
  profile jsonb,
  started_at timestamptz
)
returns ml.training
language plpgsql
volatile
set client_min_messages to warning
as $$
declare
  v_project ml.project;
  v_champion ml.model;
  v_predicted constant text := ml._temporary('_ml_predicted');
  v_metrics jsonb;
  v_champion_metrics jsonb;
begin
  select * into v_project from ml.project where project.project_id = model.project_id;
  execute format('drop table if exists %s', v_predicted);
  perform ml._predict_into(model, relation, v_predicted, label, 'observed', kept);
  v_metrics := ml._evaluate(v_predicted, v_project.task);
  execute format('drop table %s', v_predicted);

  select * into v_champion from ml.model as version where version.model_id = ml._deployed_model_id(v_project.project_id) and version.model_id <> (_challenge.model).model_id;
  if v_champion.model_id is not null then
    begin
      perform ml._predict_into(v_champion, relation, v_predicted, label, 'observed', kept);
      v_champion_metrics := ml._evaluate(v_predicted, v_project.task);
      execute format('drop table %s', v_predicted);
    exception when sqlstate 'CF001' or sqlstate 'CF002' or sqlstate 'CF004' then
      -- It needs features that are no longer there.
      v_champion_metrics := null;
    end;
  end if;
  return ml._conclude((_challenge.model).model_id, v_metrics, v_champion.model_id, v_champion_metrics, profile, clock_timestamp() - started_at);
end;
$$;

comment on function ml._challenge(ml.model, regclass, text, text, jsonb, timestamptz) is $$
Scores a version and the one in force on the same rows, those that are `kept`, and deploys the better. All texts are SQL that the caller has checked.
$$;

grant execute on function
  ml._bin_counts(text, jsonb), ml._profile(text, jsonb), ml._conclude(bigint, jsonb, bigint, jsonb, jsonb, interval),
  ml._calibrate(bigint, jsonb), ml._challenge(ml.model, regclass, text, text, jsonb, timestamptz)
to insights_admin, insights_worker;
--! EndIncluded ml/functions/_challenge.sql
--! Included ml/functions/register_model.sql
create or replace function ml._is_double(value jsonb)
returns boolean
language sql
immutable
parallel safe
begin atomic
  select coalesce(jsonb_typeof(value) = 'number' and (value::numeric = 0 or abs(value::numeric) between 1e-300 and 1e300), false);
end;

comment on function ml._is_double(jsonb) is $$Whether a JSON value is a number that a double can hold.$$;

create or replace function ml._check_document(document jsonb)
returns void
language plpgsql
immutable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_kind constant text := document ->> 'kind';
  v_wrong text;
begin
  if document is null or jsonb_typeof(document) <> 'object' or coalesce(v_kind, '') not in ('linear', 'trees', 'embeddings', 'scores') then
    raise exception using errcode = 'CF009', message = format('a model document of kind "%s"', coalesce(left(v_kind, 100), 'null')),
      hint = 'The kind is linear, trees, embeddings or scores; src/sql/ml/README.md shows each.';
  end if;
  if coalesce(document ->> 'link', '') not in ('identity', 'logit', 'log') then
    raise exception using errcode = 'CF009', message = format('the link of the model is "%s"', coalesce(document ->> 'link', 'null')),
      hint = 'Give identity (the score is the answer), logit (a probability) or log.';
  end if;
  if jsonb_typeof(document -> 'features') is distinct from 'array' then
    raise exception using errcode = 'CF009', message = 'the document has no list of features', hint = 'Give [{"name": "tax", "type": "number"}, …].';
  end if;
  select format('feature %s: %s', position, feature)
  into v_wrong
  from jsonb_array_elements(document -> 'features') with ordinality as listed (feature, position)
  where jsonb_typeof(feature) <> 'object'
    or coalesce(feature ->> 'name', '') = ''
    or coalesce(feature ->> 'type', '') not in ('number', 'category')
    or (v_kind = 'linear' and feature ->> 'type' = 'number' and not (ml._is_double(feature -> 'coefficient') and ml._is_double(feature -> 'mean')))
    or (
      v_kind = 'linear' and feature ->> 'type' = 'category'
      and not coalesce(
        jsonb_typeof(feature -> 'categories') = 'array'
        and jsonb_array_length(feature -> 'categories') = jsonb_array_length(feature -> 'coefficients')
        and (select bool_and(ml._is_double(coefficient)) from jsonb_array_elements(feature -> 'coefficients') as coefficient) is not false,
        false
      )
    )
    or (v_kind = 'trees' and feature ->> 'type' = 'category' and not coalesce(jsonb_typeof(feature -> 'categories') = 'array', false))
  limit 1;
  if v_wrong is not null then
    raise exception using errcode = 'CF009', message = left(v_wrong, 300),
      hint = 'A feature has name and type; in a linear model a number has coefficient and mean, a category has categories and coefficients; in trees a category has categories.';
  end if;
  select feature ->> 'name' into v_wrong from jsonb_array_elements(document -> 'features') as feature group by 1 having count(*) > 1 limit 1;
  if v_wrong is not null then
    raise exception using errcode = 'CF009', message = format('the feature "%s" is listed twice', left(v_wrong, 100)), hint = 'Names of features are unique.';
  end if;
  v_wrong := case
    when v_kind in ('linear', 'trees') and not ml._is_double(document -> 'intercept') then 'a number "intercept"'
    when v_kind = 'trees' and coalesce(jsonb_typeof(document -> 'nodes'), '') <> 'array' then 'a list "nodes"'
    when v_kind = 'embeddings' and (coalesce(document ->> 'similarity', '') not in ('inner_product', 'cosine') or coalesce(document ->> 'sides', '') not in ('1', '2')) then '"similarity" (inner_product or cosine) and "sides" (1 or 2)'
    when v_kind = 'embeddings' and coalesce(jsonb_typeof(document -> 'embeddings'), '') <> 'array' then 'a list "embeddings"'
    when v_kind = 'embeddings' and jsonb_array_length(document -> 'features') <> 2 then 'two features, the keys'
    when v_kind = 'scores' and coalesce(jsonb_typeof(document -> 'scores'), '') <> 'array' then 'a list "scores"'
    when v_kind = 'scores' and jsonb_array_length(document -> 'features') = 0 then 'a key'
    when v_kind = 'scores' and document ? 'default' and not ml._is_double(document -> 'default') then 'a number as default'
    when document ? 'calibration' and not coalesce(
      case document #>> '{calibration,method}'
        when 'platt' then ml._is_double(document #> '{calibration,slope}') and ml._is_double(document #> '{calibration,intercept}')
        when 'isotonic' then jsonb_array_length(document #> '{calibration,scores}') = jsonb_array_length(document #> '{calibration,answers}')
          and jsonb_array_length(document #> '{calibration,scores}') > 0
          and (select bool_and(ml._is_double(number)) from jsonb_array_elements((document #> '{calibration,scores}') || (document #> '{calibration,answers}')) as number)
      end, false
    ) then 'a sound calibration'
  end;
  if v_wrong is not null then
    raise exception using errcode = 'CF009', message = format('the document lacks %s', left(v_wrong, 100)), hint = 'src/sql/ml/README.md shows what each kind of model needs.';
  end if;
end;
$$;

comment on function ml._check_document(jsonb) is $$
Refuses a model document that ml.predict could not serve. Error CF009.
$$;

/* A definer: it writes the registry, and is granted to those who may train. It reads its arguments only, never a relation. */
create or replace function ml.register_model(
  project text,
  task text,
  algorithm text,
  document jsonb,
  metrics jsonb default '{}',
  parameters jsonb default '{}',
  metric text default null,
  seed bigint default null,
  data_watermark timestamptz default null,
  row_count bigint default null,
  duration interval default null,
  description text default null
)
returns int
language plpgsql
volatile
-- A definer: it checks the document and writes the registry, which no role may write.
security definer
set search_path from current
as $$
declare
  v_project ml.project;
  v_metric text;
  v_higher boolean;
  v_model_id bigint;
  v_version int;
  v_wrong text;
begin
  if project is null or project !~ '^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$' or length(project) > 200 then
    raise exception using errcode = 'CF001', message = format('"%s" is no name for a project', coalesce(left(project, 100), 'null')),
      hint = 'Use lower case letters, digits and underscores, with dots between the parts, such as analytics.dropout.';
  end if;
  if task is null or task not in ('regression', 'classification') then
    raise exception using errcode = 'CF001', message = format('there is no task "%s"', coalesce(left(task, 100), 'null')), hint = 'Choose regression or classification.';
  end if;
  if algorithm is null or btrim(algorithm) = '' or length(algorithm) > 200 then
    raise exception using errcode = 'CF001', message = 'the algorithm has no name', hint = 'Say by what method the model was made, such as gbm.';
  end if;
  v_metric := coalesce(metric, case when task = 'classification' then 'area_under_roc' else 'root_mean_squared_error' end);
  v_higher := case v_metric
    when 'area_under_roc' then true when 'average_precision' then true when 'r2_score' then true
    when 'log_loss' then false when 'brier_score' then false when 'calibration_error' then false
    when 'root_mean_squared_error' then false when 'mean_abs_error' then false
  end;
  if v_higher is null then
    raise exception using errcode = 'CF001', message = format('there is no metric "%s"', left(v_metric, 100)),
      hint = 'Choose area_under_roc, average_precision, log_loss, brier_score or calibration_error; for a regression root_mean_squared_error, mean_abs_error or r2_score.';
  end if;
  perform ml._check_document(document);

  insert into ml.project (name, task, metric, higher_is_better, description)
  values (register_model.project, register_model.task, v_metric, v_higher, register_model.description)
  on conflict (name) do nothing;
  -- One version after the other.
  select * into v_project from ml.project where project.name = register_model.project for update;
  if v_project.task <> task then
    raise exception using errcode = 'CF010', message = format('project "%s" is a %s, not a %s', left(project, 100), v_project.task, left(task, 100)),
      hint = 'Give the model a project of its own.';
  elsif metric is not null and v_project.metric <> metric then
    raise exception using errcode = 'CF010', message = format('project "%s" is judged by %s, not by %s', left(project, 100), v_project.metric, left(metric, 100)),
      hint = 'Leave the metric out, or give the model a project of its own.';
  end if;

  insert into ml.model (project_id, version, algorithm, parameters, metrics, coefficients, seed, data_watermark, row_count, duration)
  values (
    v_project.project_id,
    (select coalesce(max(model.version), 0) + 1 from ml.model where model.project_id = v_project.project_id),
    algorithm, coalesce(parameters, '{}'), coalesce(metrics, '{}'),
    document - 'nodes' - 'embeddings' - 'scores', seed, data_watermark, row_count, duration
  )
  returning model_id, version into v_model_id, v_version;

  case document ->> 'kind'
    when 'trees' then
      begin
        insert into ml.tree_node (model_id, tree, node, parent, feature, threshold, categories, missing_left, left_node, right_node, value, gain, cover)
        select v_model_id, node.tree, node.node, node.parent, node.feature, node.threshold, node.categories, node.missing_left, node.left_node, node.right_node, node.value, node.gain, coalesce(node.cover, 0)
        from jsonb_to_recordset(document -> 'nodes') as node (
          tree int, node int, parent int, feature text, threshold float8, categories text[], missing_left boolean, left_node int, right_node int, value float8, gain float8, cover float8
        );
      exception when check_violation or not_null_violation or unique_violation or invalid_text_representation or numeric_value_out_of_range then
        raise exception using errcode = 'CF009', message = format('a node of the trees is not sound: %s', left(sqlerrm, 100)),
          hint = 'Every node has tree, node and, but for the root, parent; a leaf has value, any other node feature, threshold or categories, missing_left, left_node and right_node.';
      end;
      select format('tree %s, node %s', node.tree, node.node)
      into v_wrong
      from ml.tree_node as node
      where node.model_id = v_model_id
        and (
          (node.feature is not null and not document -> 'features' @> jsonb_build_array(jsonb_build_object('name', node.feature)))
          or (node.node > 0 and not exists (
            select
            from ml.tree_node as parent
            where parent.model_id = v_model_id and parent.tree = node.tree and parent.node = node.parent and node.node in (parent.left_node, parent.right_node)
          ))
          or (node.feature is not null and 2 <> (
            select count(*)
            from ml.tree_node as child
            where child.model_id = v_model_id and child.tree = node.tree and child.node in (node.left_node, node.right_node) and child.parent = node.node
          ))
        )
      order by node.tree, node.node
      limit 1;
      v_wrong := coalesce(v_wrong, (
        select format('tree %s, which has no root', node.tree) from ml.tree_node as node where node.model_id = v_model_id group by node.tree having min(node.node) > 0 limit 1
      ));
      if v_wrong is not null then
        raise exception using errcode = 'CF009', message = format('the trees do not hang together at %s', left(v_wrong, 100)),
          hint = 'Node 0 is the root, every other node is child of one node of a lower number, and all features are listed.';
      end if;
    when 'embeddings' then
      begin
        insert into ml.embedding (model_id, side, key, embedding)
        select v_model_id, listed.side, listed.key, (listed.embedding #>> '{}')::vector
        from jsonb_to_recordset(document -> 'embeddings') as listed (side smallint, key text, embedding jsonb);
      exception
        when check_violation or not_null_violation or invalid_text_representation or data_exception or program_limit_exceeded then
          raise exception using errcode = 'CF009', message = format('an embedding is not sound: %s', left(sqlerrm, 100)), hint = 'An embedding has side, key and embedding, a list of numbers.';
        when unique_violation then
          raise exception using errcode = 'CF009', message = 'an embedding is listed twice', hint = 'Keys are unique on each side.';
      end;
      select format('vectors of %s and of %s numbers', min(vector_dims(embedding)), max(vector_dims(embedding)))
      into v_wrong
      from ml.embedding
      where model_id = v_model_id
      having min(vector_dims(embedding)) <> max(vector_dims(embedding));
      if v_wrong is not null then
        raise exception using errcode = 'CF009', message = v_wrong, hint = 'All vectors of a model have the same length.';
      end if;
    when 'scores' then
      begin
        insert into ml.score (model_id, keys, score)
        select v_model_id, array(select jsonb_array_elements_text(listed.keys)), listed.score
        from jsonb_to_recordset(document -> 'scores') as listed (keys jsonb, score float8);
      exception
        when not_null_violation or invalid_text_representation or invalid_parameter_value then
          raise exception using errcode = 'CF009', message = format('a score is not sound: %s', left(sqlerrm, 100)), hint = 'A score has keys, a list of strings, and score, a number.';
        when unique_violation then
          raise exception using errcode = 'CF009', message = 'a key has two scores', hint = 'Keys are unique.';
      end;
      if exists (select from ml.score where model_id = v_model_id and cardinality(keys) <> jsonb_array_length(document -> 'features')) then
        raise exception using errcode = 'CF009', message = 'a score has another number of keys than the model', hint = 'Give one value for each of the features.';
      end if;
    else
      null;
  end case;
  return v_version;
end;
$$;

comment on function ml.register_model(text, text, text, jsonb, jsonb, jsonb, text, bigint, timestamptz, bigint, interval, text) is $$
Adds a version to a project, which it makes where there is none, and returns its number. Nothing is deployed by that.
`document` is the model itself, in the form that src/sql/ml/README.md describes (kinds linear, trees, embeddings, scores); ml.train and
ml.import_model write it for you. `task` is regression or classification; `metric` judges the versions of a new project.
Errors: CF001 (name, task, metric), CF009 (the document), CF010 (the project has another task or metric).
$$;

grant execute on function ml._is_double(jsonb), ml._check_document(jsonb) to insights_admin, insights_worker;
grant execute on function ml.register_model(text, text, text, jsonb, jsonb, jsonb, text, bigint, timestamptz, bigint, interval, text)
  to insights_admin, insights_worker;
--! EndIncluded ml/functions/register_model.sql
--! Included ml/functions/deploy.sql
/* A definer: it writes the registry, and is granted to those who may train. */
create or replace function ml._deploy(model_id bigint, strategy text)
returns void
language sql
volatile
security definer
set search_path to pg_catalog, pg_temp
as $$
  insert into ml.deployment (project_id, model_id, strategy)
  select model.project_id, model.model_id, _deploy.strategy
  from ml.model
  where model.model_id = _deploy.model_id;
$$;

comment on function ml._deploy(bigint, text) is $$Puts a version in force, and notes why.$$;

create or replace function ml.deploy(project text, version int)
returns int
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_model ml.model;
begin
  if version is null then
    raise exception using errcode = 'CF001', message = 'the version is null', hint = 'Give the number of a version, as in ml.model.';
  end if;
  v_model := ml._version(project, version);
  if v_model.model_id is distinct from ml._deployed_model_id(v_model.project_id) then
    perform ml._deploy(v_model.model_id, 'manual');
  end if;
  return v_model.version;
end;
$$;

comment on function ml.deploy(text, int) is $$
Puts a version of a project in force, whatever its metrics; returns its number. ml.rollback undoes it.
Errors: CF001 (null), CF002 (no such project or version).
$$;

grant execute on function ml._deploy(bigint, text), ml.deploy(text, int) to insights_admin, insights_worker;
--! EndIncluded ml/functions/deploy.sql
--! Included ml/functions/rollback.sql
create or replace function ml.rollback(project text)
returns int
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_project ml.project := ml._project(project);
  v_in_force bigint[] := '{}';
  v_deployment record;
begin
  -- Deployments are a pile: each is put on top, a rollback takes the top away. So a second rollback goes further back.
  for v_deployment in
    select deployment.model_id, deployment.strategy
    from ml.deployment
    where deployment.project_id = v_project.project_id
    order by deployment.deployment_id
  loop
    v_in_force := case when v_deployment.strategy = 'rollback' then trim_array(v_in_force, 1) else v_in_force || v_deployment.model_id end;
  end loop;
  if cardinality(v_in_force) < 2 then
    raise exception using errcode = 'CF004', message = format('"%s" has no version to go back to', left(project, 100)),
      hint = case when v_in_force = '{}' then 'None was ever in force.' else 'The one in force is the oldest; put another in force with ml.deploy.' end;
  end if;
  perform ml._deploy(v_in_force[cardinality(v_in_force) - 1], 'rollback');
  return (select model.version from ml.model where model.model_id = v_in_force[cardinality(v_in_force) - 1]);
end;
$$;

comment on function ml.rollback(text) is $$
Puts the version in force again that was before the present one; returns its number. Repeated, it goes further back.
Errors: CF002 (no such project), CF004 (nothing to go back to).
$$;

grant execute on function ml.rollback(text) to insights_admin, insights_worker;
--! EndIncluded ml/functions/rollback.sql
--! Included ml/functions/predict.sql
create or replace function ml.predict(project text, features jsonb, version int default null)
returns float8
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
begin
  return ml._predict(ml._version(project, version), features);
end;
$$;

comment on function ml.predict(text, jsonb, int) is $$
What the version of a project that is in force answers to an object of features: a probability of class 1, or a value.
`features` gives each feature of the model, null where it is unknown, such as `{"tax": 590, "bath": null}`; others are not looked at.
Null where the model has no answer (a key that it does not know).
Errors: CF001 (a feature is not given or not a number), CF002 (no such project or version), CF006 (none in force).
$$;

grant execute on function ml.predict(text, jsonb, int) to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/functions/predict.sql
--! Included ml/functions/predict_table.sql
create or replace function ml.predict_table(
  project text,
  source_table text,
  output_table text,
  id_col_name text,
  version int default null
)
returns bigint
language plpgsql
volatile
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
declare
  v_model ml.model := ml._version(project, version);
  v_relation regclass := ml._relation(source_table);
  v_output text := ml._output(output_table);
  v_id text := ml._column(v_relation, id_col_name, 'id column');
begin
  return ml._predict_into(v_model, v_relation, v_output, v_id, v_id);
end;
$$;

comment on function ml.predict_table(text, text, text, text, int) is $$
@behavior -*
What the version of a project that is in force answers for every row of a table, in one statement; returns the number of rows.
The table has a column for each feature of the model. Writes `output_table`: the id column and `prediction`.
Errors: CF001 (not a number), CF002 (no such project, version, table or column), CF003 (`output_table` exists), CF005, CF006 (none in force).
$$;

grant execute on function ml.predict_table(text, text, text, text, int) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/functions/predict_table.sql
--! Included ml/functions/explain.sql
create or replace function ml._explain(model ml.model, relation text, id_expression text, inputs text, kept text)
returns text
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_document constant jsonb := ml._document(model);
begin
  if v_document ->> 'kind' = 'trees' and exists (
    select from ml.tree_node as node where node.model_id = model.model_id and node.node = 0 and node.feature is not null and node.cover <= 0
  ) then
    raise exception using errcode = 'CF001', message = format('the trees of version %s do not say how many rows came by', model.version),
      hint = 'Import them with cover: get_dump(with_stats=True, dump_format="json").';
  elsif v_document ->> 'kind' = 'trees' then
    return ml._explanation(
      format('(select * from ml.tree_node where model_id = %s) as registered', model.model_id),
      (v_document ->> 'intercept')::float8,
      array(select feature ->> 'name' from jsonb_array_elements(v_document -> 'features') with ordinality as listed (feature, position) order by position),
      array(select feature ->> 'type' from jsonb_array_elements(v_document -> 'features') with ordinality as listed (feature, position) order by position),
      (select jsonb_object_agg(feature ->> 'name', coalesce(feature -> 'categories', '[]')) from jsonb_array_elements(v_document -> 'features') as feature),
      relation, id_expression, inputs, kept
    );
  elsif v_document ->> 'kind' = 'linear' then
    return format(
      $query$
      select input.id, explained.feature, explained.feature_value, explained.contribution
      from (select row_number() over () as line, %s as id, %s from %s where %s) as input
      cross join lateral (
        values ('(base)', null::text, %L::float8) %s
      ) as explained (feature, feature_value, contribution)
      order by input.line, abs(explained.contribution) desc
      $query$,
      id_expression, coalesce(nullif(inputs, ''), '1 as one'), relation, kept,
      (
        select (v_document ->> 'intercept')::float8 + coalesce(sum((feature ->> 'coefficient')::float8 * (feature ->> 'mean')::float8) filter (where feature ->> 'type' = 'number'), 0)
        from jsonb_array_elements(v_document -> 'features') as feature
      ),
      (
        select string_agg(
          case when feature ->> 'type' = 'category' then format(
            ', (%L, x%2$s, coalesce((%3$L::float8[])[array_position(%4$L::text[], x%2$s)], 0))', feature ->> 'name', position,
            array(select value::float8 from jsonb_array_elements_text(feature -> 'coefficients') as value),
            array(select jsonb_array_elements_text(feature -> 'categories'))
          )
          else format(
            ', (%L, x%2$s::text, coalesce(%3$L::float8 * (x%2$s - %4$L::float8), 0))', feature ->> 'name', position,
            (feature ->> 'coefficient')::float8, (feature ->> 'mean')::float8
          ) end,
          '' order by position
        )
        from jsonb_array_elements(v_document -> 'features') with ordinality as listed (feature, position)
      )
    );
  end if;
  raise exception using errcode = 'CF001', message = format('a model of kind "%s" is not a sum of its features', left(v_document ->> 'kind', 100)),
    hint = 'Linear models and trees can be explained.';
end;
$$;

comment on function ml._explain(ml.model, text, text, text, text) is $$
The statement that explains the raw scores of a model for the rows of a relation that are `kept`: id, feature, feature_value and contribution.
All texts are SQL that the caller has checked. Error CF001: the model has no exact explanation.
$$;

create or replace function ml.explain(project text, features jsonb, version int default null)
returns setof ml.contribution
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
declare
  v_model ml.model := ml._version(project, version);
  v_list text;
begin
  select string_agg(format('%L::%s as x%s', input.value, case when input.type = 'category' then 'text' else 'float8' end, input.place), ', ' order by input.place)
  into v_list
  from ml._feature_values(ml._document(v_model), features) as input;
  return query execute format(
    'select feature, feature_value, contribution from (%s) as explained (id, feature, feature_value, contribution)',
    ml._explain(v_model, '(values (1)) as one (id)', '1', coalesce(v_list, ''), 'true')
  );
end;
$$;

comment on function ml.explain(text, jsonb, int) is $$
What moved a prediction, by the version of a project that is in force: how much each feature added to the raw score.
For trees these are exact Shapley values (TreeSHAP, path-dependent), for linear models coefficient · (value − mean). With `(base)`, the mean, they
sum to the raw score: log odds for a probability before calibration, largest first.
Errors: CF001 (a feature is not given or not a number; embeddings, scores and trees without cover have no explanation), CF002, CF006 (none in force).
Source: Lundberg and others, From local explanations to global understanding with explainable AI for trees, Nature Machine Intelligence 2, 2020.
$$;

grant execute on function ml._explain(ml.model, text, text, text, text), ml.explain(text, jsonb, int)
  to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/functions/explain.sql
--! Included ml/functions/challenge.sql
create or replace function ml.challenge(
  project text,
  version int,
  source_table text,
  label text,
  holdout text default null
)
returns ml.training
language plpgsql
volatile
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_started_at constant timestamptz := clock_timestamp();
  v_model ml.model;
  v_relation regclass := ml._relation(source_table);
  v_label text;
begin
  if version is null then
    raise exception using errcode = 'CF001', message = 'the version is null', hint = 'Give the number of the version that challenges the one in force.';
  end if;
  v_model := ml._version(project, version);
  v_label := ml._numeric_expression(label, v_relation, 'label');
  if holdout is not null and ml._expression(holdout, v_relation, 'holdout') <> 'boolean'::regtype then
    raise exception using errcode = 'CF001', message = format('holdout "%s" is not boolean', left(holdout, 100)), hint = 'Give a condition that is true for the rows to score.';
  end if;
  return ml._challenge(
    v_model, v_relation, v_label, coalesce('coalesce((' || holdout || '), false)', 'true'),
    ml._profile(format('(select %s from %s)', coalesce(nullif(ml._feature_list(ml._document(v_model), v_relation), ''), '1 as one'), v_relation), v_model.coefficients),
    v_started_at
  );
end;
$$;

comment on function ml.challenge(text, int, text, text, text) is $$
@behavior -*
Scores a version of a project and the one in force on the same rows, notes both, and deploys the version if it is the first or better by the project's metric.
For models that were imported or made long ago; ml.train does it by itself. The rows (those for which `holdout` is true, or all) should be known
to neither model. The distribution of the features is kept as what later inputs are compared with, where the version has none yet.
Errors: CF001, CF002 (project, version, table, a feature), CF004 (no row with a label), CF005.
$$;

grant execute on function ml.challenge(text, int, text, text, text) to insights_admin, insights_worker;
--! EndIncluded ml/functions/challenge.sql
--! Included ml/functions/in_holdout.sql
create or replace function ml.in_holdout(key text, share float8 default 0.25)
returns boolean
language sql
immutable
strict
parallel safe
begin atomic
  select hashtextextended(key, 20) & 1048575 < (share * 1048576)::int;
end;

comment on function ml.in_holdout(text, float8) is $$
@behavior -*
Whether ml.train holds out the row, or the group, of this key: by a hash that no seed changes, so no version is trained on what the next one is compared on.
For models that are trained elsewhere: the condition of their challenge is `ml.in_holdout(id::text)`. Null when an argument is null.
$$;

grant execute on function ml.in_holdout(text, float8) to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/functions/in_holdout.sql
--! Included ml/functions/_divide.sql
/* Which rows are held out, decided in one place for ml.train and ml.export_training_set. */
create or replace function ml._divide(
  source_table text,
  id_col_name text,
  label text,
  features text,
  features_to_exclude text,
  predicted_at text,
  label_known_at text,
  feature_known_at text,
  group_column text,
  holdout text,
  holdout_share float8,
  seed bigint
)
returns text[]
language plpgsql
volatile
set client_min_messages to warning
as $$
declare
  v_relation regclass := ml._relation(source_table);
  v_split constant text := ml._temporary('_ml_train_split');
  v_id text;
  v_label text;
  v_group text;
  v_source text;
  v_part text;
  v_listed text[];
begin
  if holdout_share is null or not (holdout_share > 0 and holdout_share < 1) then
    raise exception using errcode = 'CF001', message = format('holdout_share %s', coalesce(holdout_share::text, 'null')), hint = 'Hold out a share between 0 and 1, such as 0.25.';
  elsif seed is null then
    raise exception using errcode = 'CF001', message = 'the seed is null', hint = 'Give any number; the same seed gives the same model.';
  elsif num_nonnulls(predicted_at, holdout) = 2 then
    raise exception using errcode = 'CF001', message = 'both predicted_at and holdout say what is held out', hint = 'Give one of them.';
  elsif predicted_at is null and num_nonnulls(label_known_at, feature_known_at) > 0 then
    raise exception using errcode = 'CF001', message = 'label_known_at and feature_known_at need predicted_at', hint = 'Say at which time each row''s prediction is due.';
  end if;
  v_id := ml._column(v_relation, id_col_name, 'id column');
  v_label := ml._numeric_expression(label, v_relation, 'label');
  v_group := case when group_column is null then v_id else ml._column(v_relation, group_column, 'group column') end;
  if holdout is not null and ml._expression(holdout, v_relation, 'holdout') <> 'boolean'::regtype then
    raise exception using errcode = 'CF001', message = format('holdout "%s" is not boolean', left(holdout, 100)), hint = 'Give a condition that is true for the rows to hold out, such as ''course_id in (4, 7)''.';
  end if;
  v_listed := ml._tree_features(v_relation, features, features_to_exclude, array[id_col_name, v_id, label, group_column, predicted_at, label_known_at, feature_known_at]);
  -- Features are columns, so that a model can be asked by their names.
  v_listed := array(select ml._column(v_relation, name, 'feature') from unnest(v_listed) with ordinality as feature (name, position) order by position);

  execute format('drop table if exists %s, %s cascade', ml._temporary('_ml_train_row'), v_split);
  v_source := v_relation::text;
  if predicted_at is not null then
    perform ml.time_split(source_table, v_split, predicted_at, coalesce(label_known_at, predicted_at), feature_known_at, null, holdout_share);
    v_source := v_split;
    v_part := 'split = ''test''';
  elsif holdout is not null then
    v_part := format('coalesce((%s), false)', holdout);
  else
    v_part := format('ml.in_holdout((%s)::text, %L::float8)', v_group, holdout_share);
  end if;
  execute format(
    'create temporary table _ml_train_row on commit drop as
     select source.*, %s as _ml_label, %s as _ml_known_at,
       case when %s then 2 when hashtextextended((%s)::text, %s) & 1048575 < 209715 then 1 else 0 end as _ml_part
     from %s as source',
    v_label, case when predicted_at is null then 'now()' else format('(%s)::timestamptz', coalesce(label_known_at, predicted_at)) end,
    v_part, v_group, seed + 21, v_source
  );
  execute format('drop table if exists %s', v_split);
  return v_listed;
end;
$$;

comment on function ml._divide(text, text, text, text, text, text, text, text, text, text, float8, bigint) is $$
Writes the temporary table `_ml_train_row`: the columns of the source, `_ml_label`, `_ml_known_at` (when the label was known) and `_ml_part` (0 to train on, 1 to validate on, 2 held out).
Returns the quoted names of the features. Errors: see ml.train.
$$;

grant execute on function ml._divide(text, text, text, text, text, text, text, text, text, text, float8, bigint) to insights_admin, insights_worker;
--! EndIncluded ml/functions/_divide.sql
--! Included ml/functions/train.sql
create or replace function ml._named_arguments(parameters jsonb, allowed text[])
returns text
language plpgsql
immutable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_unknown text;
begin
  if parameters is null or jsonb_typeof(parameters) <> 'object' then
    raise exception using errcode = 'CF001', message = 'the parameters are no JSON object', hint = 'Give {"num_trees": 300} or {}.';
  end if;
  select option.name into v_unknown from jsonb_object_keys(parameters) as option (name) where not option.name = any (allowed) order by 1 limit 1;
  if v_unknown is not null then
    raise exception using errcode = 'CF001', message = format('there is no parameter "%s"', left(v_unknown, 100)),
      hint = coalesce('Did you mean "' || ml._nearest(v_unknown, allowed) || '"?', (select format('There are %s.', string_agg(left(option.name, 100), ', ')) from unnest(allowed[:100]) as option (name)));
  end if;
  return (select coalesce(string_agg(format(', %I => %L', option.name, option.value), '' order by option.name), '') from jsonb_each_text(parameters) as option (name, value));
end;
$$;

comment on function ml._named_arguments(jsonb, text[]) is $$
Parameters of a training as named arguments of a call. Error CF001 names the nearest to one that is unknown.
$$;

create or replace function ml._gbm_document(model_table text, names text[], link text)
returns jsonb
language plpgsql
stable
set extra_float_digits to 1
as $$
declare
  v_summary constant jsonb := ml._model_summary(model_table, array['gbm']);
  v_nodes jsonb;
begin
  execute format(
    $query$
    select jsonb_agg(jsonb_strip_nulls(
      to_jsonb(grown) - 'depth' - 'num_rows' - 'feature'
      || jsonb_build_object('feature', (select feature.name from unnest(%L::text[], %L::text[]) as feature (name, quoted) where feature.quoted = grown.feature))
    ))
    from %s as grown
    $query$,
    names, array(select jsonb_array_elements_text(v_summary -> 'independent_varnames')), model_table
  ) into v_nodes;
  return jsonb_build_object(
    'kind', 'trees', 'link', link, 'intercept', v_summary -> 'base_score', 'nodes', coalesce(v_nodes, '[]'),
    'features', (
      select jsonb_agg(
        jsonb_build_object('name', feature.name, 'type', feature.type)
        || case when feature.type = 'category' then jsonb_build_object('categories', v_summary -> 'categories' -> feature.quoted) else '{}' end
        order by feature.position
      )
      from rows from (
        unnest(names),
        jsonb_array_elements_text(v_summary -> 'independent_varnames'),
        jsonb_array_elements_text(v_summary -> 'independent_vartypes')
      ) with ordinality as feature (name, quoted, type, position)
    )
  );
end;
$$;

comment on function ml._gbm_document(text, text[], text) is $$
A model of ml.gbm_train as a document for the registry; `names` are its features without quotes, in order.
$$;

create or replace function ml._linear_document(
  source_table text,
  names text[],
  task text,
  algorithm text,
  parameters jsonb
)
returns jsonb
language plpgsql
volatile
set client_min_messages to warning
set extra_float_digits to 1
as $$
declare
  v_relation constant regclass := ml._relation(source_table);
  v_output constant text := ml._temporary('_ml_linear');
  v_dependent constant text := case task when 'classification' then '_ml_label = 1' else '_ml_label' end;
  v_options text;
  v_inputs text[] := array(select ml._numeric_expression(quote_ident(name), v_relation, 'feature') from unnest(names) with ordinality as feature (name, position) order by position);
  v_means float8[];
  v_deviations float8[];
  v_used int[];
  v_design text;
  v_coefficients float8[];
  v_intercept float8;
begin
  execute format('drop table if exists %s, %s', v_output, v_output || '_summary');
  execute format(
    'select array[%s], array[%s] from %s',
    (select string_agg(format('coalesce(avg(nullif(%s, ''NaN'')), 0)', input), ', ' order by position) from unnest(v_inputs) with ordinality as feature (input, position)),
    (select string_agg(format('coalesce(stddev_pop(nullif(%s, ''NaN'')), 0)', input), ', ' order by position) from unnest(v_inputs) with ordinality as feature (input, position)),
    v_relation
  ) into v_means, v_deviations;
  -- What is missing counts as the mean; what does not vary says nothing.
  v_used := array(select place from generate_series(1, cardinality(names)) as place where v_deviations[place] > 1e-12 * abs(v_means[place]) order by place);
  if v_used = '{}' then
    raise exception using errcode = 'CF004', message = 'no feature varies', hint = format('All of %s are constant or null.', array_to_string(names, ', '));
  end if;
  select string_agg(format('(coalesce(nullif(%s, ''NaN''), %L::float8) - %L::float8) / %L::float8', v_inputs[place], v_means[place], v_means[place], v_deviations[place]), ', ' order by place)
  into v_design
  from unnest(v_used) as place;
  if algorithm = 'elastic_net' then
    v_options := ml._named_arguments(parameters, array['alpha', 'lambda_value', 'max_iter', 'tolerance']);
    v_options := case when parameters ? 'alpha' then '' else ', alpha => 0' end || case when parameters ? 'lambda_value' then '' else ', lambda_value => 0.01' end || v_options;
    execute format(
      'select ml.elastic_net_train(%L, %L, %L, %L, %L %s)',
      source_table, v_output, v_dependent, format('array[%s]', v_design), case task when 'classification' then 'binomial' else 'gaussian' end, v_options
    );
    execute format('select coef_all, intercept from %s', v_output) into v_coefficients, v_intercept;
  else
    v_options := ml._named_arguments(parameters, case algorithm when 'logregr' then array['max_iter', 'tolerance'] else '{}' end);
    execute format('select ml.%I(%L, %L, %L, %L %s)', algorithm || '_train', source_table, v_output, v_dependent, format('array[1, %s]', v_design), v_options);
    execute format('select coef[2:], coef[1] from %s', v_output) into v_coefficients, v_intercept;
  end if;
  execute format('drop table if exists %s, %s', v_output, v_output || '_summary');
  return jsonb_build_object(
    'kind', 'linear',
    'link', case task when 'classification' then 'logit' else 'identity' end,
    'intercept', v_intercept - (select sum(v_coefficients[position] * v_means[place] / v_deviations[place]) from unnest(v_used) with ordinality as used (place, position)),
    'features', (
      select jsonb_agg(
        jsonb_build_object('name', names[place], 'type', 'number', 'mean', v_means[place],
          'coefficient', coalesce(v_coefficients[array_position(v_used, place)] / nullif(v_deviations[place], 0), 0))
        order by place
      )
      from generate_series(1, cardinality(names)) as place
    )
  );
end;
$$;

comment on function ml._linear_document(text, text[], text, text, jsonb) is $$
A linear or logistic model of the column `_ml_label` of a table, as a document for the registry.
It is trained on standardised features, those that are missing being the mean, and its coefficients are in the features' own units.
$$;

create or replace function ml.train(
  project text,
  task text,
  source_table text,
  id_col_name text,
  label text,
  features text default '*',
  features_to_exclude text default null,
  algorithm text default 'gbm',
  parameters jsonb default '{}',
  predicted_at text default null,
  label_known_at text default null,
  feature_known_at text default null,
  group_column text default null,
  holdout text default null,
  holdout_share float8 default 0.25,
  calibration text default null,
  metric text default null,
  seed bigint default 0,
  description text default null
)
returns ml.training
language plpgsql
volatile
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
set client_min_messages to warning
as $$
declare
  v_started_at constant timestamptz := clock_timestamp();
  v_rows constant text := ml._temporary('_ml_train_row');
  v_seen constant text := ml._temporary('_ml_train_seen');
  v_model_table constant text := ml._temporary('_ml_train_model');
  v_scored constant text := ml._temporary('_ml_train_scored');
  v_listed text[];
  v_names text[];
  v_calibration text := coalesce(calibration, case when task = 'classification' and algorithm = 'gbm' then 'platt' else 'none' end);
  v_link constant text := case task when 'classification' then 'logit' else 'identity' end;
  v_document jsonb;
  v_version int;
  v_model ml.model;
  v_result ml.training;
  v_counts record;
begin
  if task is null or task not in ('regression', 'classification') then
    raise exception using errcode = 'CF001', message = format('there is no task "%s"', coalesce(left(task, 100), 'null')), hint = 'Choose regression or classification.';
  elsif algorithm is null or algorithm not in ('gbm', 'elastic_net', 'linregr', 'logregr')
    or (algorithm = 'linregr' and task <> 'regression') or (algorithm = 'logregr' and task <> 'classification') then
    raise exception using errcode = 'CF001', message = format('there is no algorithm "%s" for a %s', coalesce(left(algorithm, 100), 'null'), left(task, 100)),
      hint = format('Choose gbm (boosted trees), elastic_net or %s.', case task when 'regression' then 'linregr' else 'logregr' end);
  elsif v_calibration not in ('none', 'platt', 'isotonic') or (v_calibration <> 'none' and task <> 'classification') then
    raise exception using errcode = 'CF001', message = format('there is no calibration "%s" for a %s', left(v_calibration, 100), left(task, 100)),
      hint = 'Choose none, platt or isotonic; the last two make probabilities.';
  end if;
  execute format('drop table if exists %s, %s, %s cascade', v_model_table, v_model_table || '_summary', v_scored);
  v_listed := ml._divide(
    source_table, id_col_name, label, features, features_to_exclude, predicted_at, label_known_at, feature_known_at, group_column, holdout, holdout_share, seed
  );
  v_names := array(select (parse_ident(name))[1] from unnest(v_listed) with ordinality as feature (name, position) order by position);
  execute format(
    'select count(*) filter (where _ml_part < 2) as seen, count(*) filter (where _ml_part = 1) as validating, count(*) filter (where _ml_part = 2) as held,
       min(_ml_label) filter (where _ml_label not in (0, 1)) as no_class, max(_ml_known_at) filter (where _ml_part < 2) as watermark
     from %s where _ml_label is not null',
    v_rows
  ) into v_counts;
  if task = 'classification' and v_counts.no_class is not null then
    raise exception using errcode = 'CF001', message = format('"%s" holds %s, a class is 0 or 1', left(label, 100), v_counts.no_class), hint = 'Give a boolean or 0 and 1, or choose regression.';
  end if;
  if v_counts.seen = 0 or v_counts.held = 0 then
    raise exception using errcode = 'CF004', message = format('%s rows to train on and %s held out', v_counts.seen, v_counts.held),
      hint = 'Both parts need rows with a label.';
  end if;

  if algorithm = 'gbm' then
    -- A fifth says when to stop and is calibrated on, where there are enough rows for that.
    execute format('create temporary view _ml_train_seen as select * from %s where _ml_part < 2', v_rows);
    execute format(
      'select ml.gbm_train(%L, %L, %L, ''_ml_label'', %L, objective => %L, validation => %L, seed => %L %s)',
      v_seen, v_model_table, id_col_name, array_to_string(v_listed, ', '),
      case task when 'classification' then 'logistic' else 'squared_error' end,
      case when v_counts.validating >= 50 then '_ml_part = 1' end, seed,
      ml._named_arguments(parameters, array['num_trees', 'learning_rate', 'max_depth', 'min_rows', 'min_child_weight', 'lambda', 'gamma', 'row_sample', 'feature_sample', 'max_bins', 'early_stopping_rounds'])
    );
    v_document := ml._gbm_document(v_model_table, v_names, v_link);
  else
    execute format(
      'create temporary view _ml_train_seen as select * from %s where _ml_label is not null and _ml_part < %s',
      v_rows, case when v_calibration = 'none' then 2 else 1 end
    );
    v_document := ml._linear_document(v_seen, v_names, task, algorithm, parameters);
  end if;
  execute format('drop view %s', v_seen);

  v_version := ml.register_model(
    project, task, algorithm, v_document, '{}',
    parameters || jsonb_strip_nulls(jsonb_build_object(
      'source_table', source_table, 'id_col_name', id_col_name, 'label', label, 'features', v_names, 'predicted_at', predicted_at,
      'label_known_at', label_known_at, 'feature_known_at', feature_known_at, 'group_column', group_column, 'holdout', holdout,
      'holdout_share', case when holdout is null then holdout_share end, 'calibration', v_calibration
    )),
    metric, seed, v_counts.watermark, v_counts.seen, null, description
  );
  v_model := ml._version(project, v_version);

  if v_calibration <> 'none' and v_counts.validating >= 50 then
    execute format(
      'create temporary table _ml_train_scored on commit drop as select observed, %s as score from (select _ml_label as observed, %s from %s where _ml_part = 1 and _ml_label is not null offset 0) as input',
      ml._score_expression(v_model), ml._feature_list(v_model.coefficients, v_rows::regclass), v_rows
    );
    v_model := ml._calibrate(v_model.model_id, ml._fit_calibration(v_scored, v_calibration));
  end if;
  v_result := ml._challenge(
    v_model, v_rows::regclass, '_ml_label', '_ml_part = 2',
    ml._profile(format('(select %s from %s where _ml_part < 2)', ml._feature_list(v_model.coefficients, v_rows::regclass), v_rows), v_model.coefficients),
    v_started_at
  );
  execute format('drop table if exists %s, %s, %s, %s cascade', v_rows, v_model_table, v_model_table || '_summary', v_scored);
  return v_result;
end;
$$;

comment on function ml.train(text, text, text, text, text, text, text, text, jsonb, text, text, text, text, text, float8, text, text, bigint, text) is $$
@behavior -*
Trains a version of a project on a table or view, measures it on rows held out, compares it with the version in force on the same rows, and deploys the better.
`task` is classification (label boolean, or 0 and 1) or regression; `algorithm` is gbm (with missing values and categories), elastic_net, linregr or logregr;
`parameters` are those of ml.gbm_train and so on, by name. `features` are columns, `*` all others.
What is held out: with `predicted_at` the latest rows, by ml.time_split, which refuses features that use anything later (`feature_known_at`) and leaves out rows whose label was
not known by then (`label_known_at`); or the rows for which `holdout` is true; or a share by a hash of the id, or of `group_column`, so that no group is in two parts.
A fifth of the rest, where that is 50 rows or more, stops the boosting and fits the calibration (`platt`, `isotonic` or `none`; by default Platt's for boosted classifiers).
Metrics: area_under_roc, average_precision, log_loss, brier_score, calibration_error; root_mean_squared_error, mean_abs_error, r2_score. `metric` judges the versions of a new project.
The same seed and data give the same model. Errors: CF001 (an argument, a leak), CF002, CF004 (no rows, one class), CF005, CF007 (collinear, separated), CF010 (the project has another task).
$$;

grant execute on function
  ml._named_arguments(jsonb, text[]), ml._gbm_document(text, text[], text), ml._linear_document(text, text[], text, text, jsonb),
  ml.train(text, text, text, text, text, text, text, text, jsonb, text, text, text, text, text, float8, text, text, bigint, text)
to insights_admin, insights_worker;
--! EndIncluded ml/functions/train.sql
--! Included ml/functions/export_training_set.sql
create or replace function ml._csv(value text)
returns text
language sql
immutable
parallel safe
begin atomic
  select case
    when value is null then ''
    -- An empty string is quoted, an unknown value is nothing.
    when value = '' or value ~ '[",\n\r]' or value ~ '^\s|\s$' then '"' || replace(value, '"', '""') || '"'
    else value
  end;
end;

comment on function ml._csv(text) is $$A field of CSV (RFC 4180): null is nothing, what needs quotes has them.$$;

create or replace function ml.export_training_set(
  source_table text,
  id_col_name text,
  label text,
  features text default '*',
  features_to_exclude text default null,
  predicted_at text default null,
  label_known_at text default null,
  feature_known_at text default null,
  group_column text default null,
  holdout text default null,
  holdout_share float8 default 0.25,
  seed bigint default 0
)
returns setof text
language plpgsql
volatile
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set client_min_messages to warning
as $$
declare
  v_rows constant text := ml._temporary('_ml_train_row');
  v_listed text[];
  v_id text;
begin
  v_listed := ml._divide(
    source_table, id_col_name, label, features, features_to_exclude, predicted_at, label_known_at, feature_known_at, group_column, holdout, holdout_share, seed
  );
  v_id := ml._column(v_rows::regclass, id_col_name, 'id column');
  return next (
    select string_agg(ml._csv(name), ',' order by position)
    from unnest(array['part', 'id', 'label'] || array(select (parse_ident(name))[1] from unnest(v_listed) with ordinality as feature (name, position) order by position))
      with ordinality as head (name, position)
  );
  return query execute format(
    'select concat((array[''train'', ''validation'', ''holdout''])[_ml_part + 1], '','', ml._csv((%1$s)::text), '','', _ml_label, %2$s) from %3$s where _ml_label is not null order by %1$s',
    v_id,
    (
      select string_agg(
        format(''','', %s', case
          when ml._expression(name, v_rows::regclass, 'feature') = 'boolean'::regtype then format('(%s)::int', name)
          else format('ml._csv((%s)::text)', name)
        end),
        ', ' order by position
      )
      from unnest(v_listed) with ordinality as feature (name, position)
    ),
    v_rows
  );
  execute format('drop table if exists %s', v_rows);
end;
$$;

comment on function ml.export_training_set(text, text, text, text, text, text, text, text, text, text, float8, bigint) is $$
@behavior -*
The rows that ml.train would train on, as lines of CSV, the head first: `part` (train, validation or holdout), `id`, `label` and the features, in the order of the ids.
For models that are made elsewhere: the same arguments divide the rows as ml.train does, with the same guard against leaks. Booleans are 0 and 1, unknown
values empty, times as ISO 8601. Rows without a label are left out. Errors: as ml.train's.
$$;

grant execute on function ml._csv(text),
  ml.export_training_set(text, text, text, text, text, text, text, text, text, text, float8, bigint)
to insights_admin, insights_worker;
--! EndIncluded ml/functions/export_training_set.sql
--! Included ml/functions/import_model.sql
create or replace function ml._import_linear(document jsonb, link text)
returns jsonb
language plpgsql
immutable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_wrong text;
begin
  if coalesce(jsonb_typeof(document -> 'coefficients'), '') <> 'object' then
    raise exception using errcode = 'CF009', message = 'the document has no object "coefficients"',
      hint = 'Give {"intercept": 1, "coefficients": {"tax": 0.2, "country": {"at": 0.1, "de": 0.3}}}.';
  elsif document ? 'intercept' and jsonb_typeof(document -> 'intercept') <> 'number' then
    raise exception using errcode = 'CF009', message = format('the intercept is %s', left((document -> 'intercept')::text, 100)), hint = 'Give a number; without it the intercept is 0.';
  elsif document ? 'means' and jsonb_typeof(document -> 'means') <> 'object' then
    raise exception using errcode = 'CF009', message = format('the means are %s', left((document -> 'means')::text, 100)), hint = 'Give an object of names and numbers; what is missing counts as the mean.';
  end if;
  select format('"%s" is %s', coefficient.name, coefficient.value)
  into v_wrong
  from jsonb_each(document -> 'coefficients') as coefficient (name, value)
  where jsonb_typeof(coefficient.value) not in ('number', 'object')
    or (jsonb_typeof(coefficient.value) = 'object' and exists (select from jsonb_each(coefficient.value) as category (name, value) where jsonb_typeof(category.value) <> 'number'))
  limit 1;
  v_wrong := coalesce(v_wrong, (
    select format('the mean of "%s" is %s', mean.name, mean.value)
    from jsonb_each(coalesce(document -> 'means', '{}')) as mean (name, value)
    where jsonb_typeof(mean.value) <> 'number' or jsonb_typeof(document -> 'coefficients' -> mean.name) is distinct from 'number'
    limit 1
  ));
  if v_wrong is not null then
    raise exception using errcode = 'CF009', message = left(v_wrong, 300), hint = 'A number has one coefficient and may have a mean, a category an object of coefficients.';
  end if;
  return jsonb_build_object(
    'kind', 'linear', 'link', link, 'intercept', coalesce(document -> 'intercept', '0'),
    'features', (
      select coalesce(jsonb_agg(
        case when jsonb_typeof(coefficient.value) = 'number' then jsonb_build_object(
          'name', coefficient.name, 'type', 'number', 'coefficient', coefficient.value, 'mean', coalesce(document -> 'means' -> coefficient.name, '0')
        )
        else jsonb_build_object(
          'name', coefficient.name, 'type', 'category',
          'categories', (select coalesce(jsonb_agg(category.name order by category.name), '[]') from jsonb_each(coefficient.value) as category (name, value)),
          'coefficients', (select coalesce(jsonb_agg(category.value order by category.name), '[]') from jsonb_each(coefficient.value) as category (name, value))
        ) end
        order by coefficient.name
      ), '[]')
      from jsonb_each(document -> 'coefficients') as coefficient (name, value)
    )
  );
end;
$$;

comment on function ml._import_linear(jsonb, text) is $$
A model document of coefficients by name: {"intercept", "coefficients", "means"}. Error CF009.
$$;

create or replace function ml._import_xgboost(document jsonb)
returns jsonb
language plpgsql
immutable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_given constant jsonb := case when jsonb_typeof(document) = 'array' then jsonb_build_object('trees', document) else document end;
  v_objective constant text := coalesce(v_given ->> 'objective', 'reg:squarederror');
  v_link text;
  v_base float8;
  v_trees jsonb[];
  v_nodes jsonb;
  v_wrong text;
begin
  if jsonb_typeof(v_given -> 'trees') is distinct from 'array' or jsonb_array_length(v_given -> 'trees') = 0 then
    raise exception using errcode = 'CF009', message = 'the document has no list of trees', hint = 'Give what get_dump(dump_format="json") gives, or {"trees": that, "objective": "binary:logistic", "base_score": 0.5}.';
  end if;
  v_link := case
    when v_objective in ('binary:logistic', 'reg:logistic') then 'logit'
    when v_objective in ('count:poisson', 'reg:gamma', 'reg:tweedie') then 'log'
    when v_objective in ('reg:squarederror', 'reg:linear', 'reg:pseudohubererror', 'reg:absoluteerror', 'binary:logitraw') or v_objective like 'rank:%' then 'identity'
  end;
  if v_link is null then
    raise exception using errcode = 'CF009', message = format('the objective "%s" is not known here', left(v_objective, 100)),
      hint = 'There are reg:squarederror, reg:absoluteerror, reg:pseudohubererror, reg:logistic, binary:logistic, binary:logitraw, count:poisson, reg:gamma, reg:tweedie and rank:….';
  end if;
  begin
    -- XGBoost's default, in the unit of the answer.
    v_base := coalesce((v_given ->> 'base_score')::float4::float8, 0.5);
    v_base := case v_link when 'logit' then ln(v_base / (1 - v_base)) when 'log' then ln(v_base) else v_base end;
    -- get_dump gives a list of strings.
    v_trees := array(
      select case when jsonb_typeof(element) = 'string' then (element #>> '{}')::jsonb else element end
      from jsonb_array_elements(v_given -> 'trees') with ordinality as listed (element, position)
      order by position
    );
  exception when invalid_text_representation or division_by_zero or numeric_value_out_of_range or invalid_argument_for_logarithm then
    raise exception using errcode = 'CF009', message = format('the trees or the base_score (%s) can not be read: %s', coalesce(left(v_given ->> 'base_score', 100), '0.5'), left(sqlerrm, 100)),
      hint = 'A tree is a JSON object or its text; the base_score is a number, for a probability between 0 and 1.';
  end;

  begin
    with recursive dumped as (
      select position::int as tree, element as node, null::int as parent, 0 as depth
      from unnest(v_trees) with ordinality as listed (element, position)

      union all

      select dumped.tree, child.node, case when dumped.node ->> 'nodeid' ~ '^\d{1,9}$' then (dumped.node ->> 'nodeid')::int end, dumped.depth + 1
      from dumped
      cross join lateral jsonb_array_elements(case when jsonb_typeof(dumped.node -> 'children') = 'array' then dumped.node -> 'children' else '[]' end) as child (node)
    ), checked as (
      select
        *,
        case
          when jsonb_typeof(node) <> 'object' or coalesce(node ->> 'nodeid', '') !~ '^\d{1,9}$' then 'has no nodeid'
          when count(*) over (partition by tree, node ->> 'nodeid') > 1 then 'occurs twice'
          when node ? 'leaf' and jsonb_typeof(node -> 'leaf') <> 'number' then 'has a leaf that is no number'
          when node ? 'leaf' then null
          when coalesce(jsonb_typeof(node -> 'split'), '') <> 'string' then 'has neither leaf nor split'
          when jsonb_typeof(node -> 'children') is distinct from 'array' or jsonb_array_length(node -> 'children') <> 2
            or not (node -> 'children' -> 0 -> 'nodeid' in (node -> 'yes', node -> 'no') and node -> 'children' -> 1 -> 'nodeid' in (node -> 'yes', node -> 'no') and node -> 'yes' <> node -> 'no')
            then 'does not have yes and no as its two children'
          when node ? 'missing' and node -> 'missing' not in (node -> 'yes', node -> 'no') then 'sends missing values neither to yes nor to no'
          when node ? 'split_condition' and jsonb_typeof(node -> 'split_condition') not in ('number', 'array') then 'has a split_condition that is neither a number nor a list of categories'
          when jsonb_typeof(node -> 'split_condition') = 'array' and jsonb_typeof(v_given -> 'categories' -> (node ->> 'split')) is distinct from 'array'
            then format('splits the category "%s", whose values are not listed', node ->> 'split')
        end as wrong
      from dumped
    ), numbered as (
      select *, row_number() over (partition by tree order by depth, lpad(node ->> 'nodeid', 9, '0')) - 1 as number
      from checked
    ), converted as (
      select
        one.tree, one.number as node, parent.number as parent, one.node ->> 'split' as feature,
        -- As XGBoost holds it: in four bytes. An indicator is there or not.
        case
          when one.node ? 'leaf' or jsonb_typeof(one.node -> 'split_condition') = 'array' then null
          when jsonb_typeof(one.node -> 'split_condition') = 'number' then ml._single_precision((one.node ->> 'split_condition')::float8)
          when one.node ? 'split_condition' then null
          else 0.5
        end as threshold,
        case when jsonb_typeof(one.node -> 'split_condition') = 'array' then one.node -> 'split_condition' end as categories,
        -- Left is yes, but for an indicator, which is yes when it is there.
        case
          when one.node ? 'leaf' then null
          when not one.node ? 'missing' then true
          when one.node ? 'split_condition' then one.node -> 'missing' = one.node -> 'yes'
          else one.node -> 'missing' = one.node -> 'no'
        end as missing_left,
        case when one.node ? 'leaf' or one.node ? 'split_condition' then one.node -> 'yes' else one.node -> 'no' end as left_id,
        case when one.node ? 'leaf' or one.node ? 'split_condition' then one.node -> 'no' else one.node -> 'yes' end as right_id,
        one.node -> 'leaf' as value, one.node -> 'gain' as gain, one.node -> 'cover' as cover, one.wrong, one.node ->> 'nodeid' as nodeid
      from numbered as one
      left join numbered as parent on parent.tree = one.tree and parent.node ->> 'nodeid' = one.parent::text
    )
    select
      min(format('tree %s: node %s %s', converted.tree, coalesce(converted.nodeid, '?'), converted.wrong)) filter (where converted.wrong is not null),
      jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
        'tree', converted.tree, 'node', converted.node, 'parent', converted.parent, 'feature', converted.feature, 'threshold', converted.threshold,
        'categories', converted.categories, 'missing_left', converted.missing_left, 'left_node', left_child.node, 'right_node', right_child.node,
        'value', converted.value, 'gain', converted.gain, 'cover', coalesce(converted.cover, '0')
      )) order by converted.tree, converted.node)
    into v_wrong, v_nodes
    from converted
    left join converted as left_child on left_child.tree = converted.tree and left_child.nodeid = converted.left_id #>> '{}'
    left join converted as right_child on right_child.tree = converted.tree and right_child.nodeid = converted.right_id #>> '{}';
  exception when numeric_value_out_of_range then
    raise exception using errcode = 'CF009', message = format('a number of the trees can not be held: %s', left(sqlerrm, 100)), hint = 'Numbers lie between 1e-307 and 1e308.';
  end;
  if v_wrong is not null then
    raise exception using errcode = 'CF009', message = left(v_wrong, 300), hint = 'Give what get_dump(dump_format="json") gives; list the values of categories in "categories": {"country": ["at", "de"]}.';
  end if;
  return jsonb_build_object(
    'kind', 'trees', 'link', v_link, 'intercept', v_base, 'single_precision', true, 'nodes', v_nodes,
    'features', (
      select coalesce(jsonb_agg(
        jsonb_build_object('name', used.feature, 'type', case when used.categorical then 'category' else 'number' end)
        || case when used.categorical then jsonb_build_object('categories', (select jsonb_agg(category) from jsonb_array_elements_text(v_given -> 'categories' -> used.feature) as category)) else '{}' end
        order by used.feature
      ), '[]')
      from (
        select node ->> 'feature' as feature, bool_or(node ? 'categories') as categorical
        from jsonb_array_elements(v_nodes) as node
        where node ? 'feature'
        group by 1
      ) as used
    )
  );
end;
$$;

comment on function ml._import_xgboost(jsonb) is $$
A model document of trees in XGBoost's JSON dump. Numbers are compared in single precision, as XGBoost does. Error CF009 names the tree and the node.
$$;

create or replace function ml._import_keyed(document jsonb, format text)
returns jsonb
language plpgsql
immutable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_keys text[];
  v_sides int;
  v_wrong text;
begin
  if jsonb_typeof(document) <> 'object' or jsonb_typeof(document -> 'keys') is distinct from 'array'
    or exists (select from jsonb_array_elements(document -> 'keys') as key where jsonb_typeof(key) <> 'string') then
    raise exception using errcode = 'CF009', message = 'the document has no list of keys', hint = 'Name the features that a thing is looked up by: {"keys": ["person", "item"], …}.';
  end if;
  v_keys := array(select key from jsonb_array_elements_text(document -> 'keys') with ordinality as listed (key, position) order by position);
  if format = 'scores' then
    if jsonb_typeof(document -> 'scores') is distinct from 'array' then
      raise exception using errcode = 'CF009', message = 'the document has no list of scores', hint = 'Give {"keys": ["item"], "scores": [{"item": "sql", "score": 0.7}], "default": 0}.';
    end if;
    select left(format('score %s: %s', position, entry), 300)
    into v_wrong
    from jsonb_array_elements(document -> 'scores') with ordinality as listed (entry, position)
    where jsonb_typeof(entry) <> 'object'
      or jsonb_typeof(entry -> 'score') is distinct from 'number'
      or exists (select from unnest(v_keys) as key where coalesce(jsonb_typeof(entry -> key), 'null') in ('null', 'object', 'array'))
    limit 1;
    if v_wrong is not null or jsonb_typeof(coalesce(document -> 'default', '0')) not in ('number', 'null') then
      raise exception using errcode = 'CF009', message = coalesce(v_wrong, format('the default is %s', document -> 'default')), hint = 'Each score is an object with a value for every key and a number "score".';
    end if;
    return jsonb_build_object(
      'kind', 'scores', 'link', coalesce(document ->> 'link', 'identity'),
      'features', (select jsonb_agg(jsonb_build_object('name', key, 'type', 'category') order by position) from unnest(v_keys) with ordinality as listed (key, position)),
      'scores', (
        select coalesce(jsonb_agg(jsonb_build_object('keys', (select jsonb_agg(entry ->> key order by position) from unnest(v_keys) with ordinality as listed (key, position)), 'score', entry -> 'score')), '[]')
        from jsonb_array_elements(document -> 'scores') as entry
      )
    ) || case when jsonb_typeof(document -> 'default') = 'number' then jsonb_build_object('default', document -> 'default') else '{}' end;
  end if;

  select count(*) into v_sides from jsonb_object_keys(case when jsonb_typeof(document -> 'embeddings') = 'object' then document -> 'embeddings' else '{}' end) as side (name) where side.name = any (v_keys);
  v_wrong := case
    when cardinality(v_keys) <> 2 then format('%s keys', cardinality(v_keys))
    when jsonb_typeof(document -> 'embeddings') is distinct from 'object' then 'no object "embeddings"'
    when v_sides = 0 or not document -> 'embeddings' ? v_keys[1] then format('no embeddings of "%s"', v_keys[1])
    when exists (select from jsonb_each(document -> 'embeddings') as side (name, value) where not side.name = any (v_keys) or jsonb_typeof(side.value) <> 'object') then 'embeddings that belong to no key'
    when coalesce(document ->> 'similarity', 'inner_product') not in ('inner_product', 'cosine') then format('similarity "%s"', document ->> 'similarity')
  end;
  if v_wrong is not null then
    raise exception using errcode = 'CF009', message = format('the document has %s', left(v_wrong, 100)),
      hint = 'Give two keys and vectors for both, {"keys": ["person", "item"], "embeddings": {"person": {"ada": [0.1, 0.2]}, "item": {"sql": [0.3, 0.4]}}}; things of one kind are listed under the first key alone.';
  end if;
  return jsonb_build_object(
    'kind', 'embeddings', 'link', coalesce(document ->> 'link', 'identity'), 'sides', v_sides, 'similarity', coalesce(document ->> 'similarity', 'inner_product'),
    'features', (select jsonb_agg(jsonb_build_object('name', key, 'type', 'category') order by position) from unnest(v_keys) with ordinality as listed (key, position)),
    'embeddings', (
      select coalesce(jsonb_agg(jsonb_build_object('side', array_position(v_keys, side.name), 'key', entry.key, 'embedding', entry.embedding)), '[]')
      from jsonb_each(document -> 'embeddings') as side (name, value)
      cross join lateral jsonb_each(side.value) as entry (key, embedding)
    )
  );
end;
$$;

comment on function ml._import_keyed(jsonb, text) is $$
A model document of embeddings or scores, looked up by keys. Error CF009.
$$;

create or replace function ml.import_model(
  project text,
  task text,
  format text,
  document jsonb,
  algorithm text default null,
  metrics jsonb default '{}',
  metric text default null,
  data_watermark timestamptz default null,
  description text default null
)
returns int
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_document jsonb;
  v_version int;
  v_model ml.model;
begin
  if format is null or format not in ('linear', 'logistic', 'xgboost', 'embeddings', 'scores') then
    raise exception using errcode = 'CF001', message = pg_catalog.format('there is no format "%s"', coalesce(left(format, 100), 'null')), hint = 'Choose linear, logistic, xgboost, embeddings or scores.';
  elsif document is null or jsonb_typeof(document) not in ('object', 'array') then
    raise exception using errcode = 'CF009', message = pg_catalog.format('the document is %s', coalesce('a JSON ' || jsonb_typeof(document), 'null')), hint = 'src/sql/ml/README.md shows the form of each format.';
  elsif jsonb_typeof(document) = 'array' and format <> 'xgboost' then
    raise exception using errcode = 'CF009', message = 'the document is a list', hint = 'Give an object; only the trees of xgboost may be a bare list.';
  end if;
  v_document := case
    when format = 'linear' then ml._import_linear(document, 'identity')
    when format = 'logistic' then ml._import_linear(document, 'logit')
    when format = 'xgboost' then ml._import_xgboost(document)
    else ml._import_keyed(document, format)
  end;
  v_version := ml.register_model(
    project, task, coalesce(algorithm, 'imported ' || format), v_document, metrics, jsonb_build_object('imported', format), metric, null, data_watermark, null, null, description
  );
  v_model := ml._version(project, v_version);
  if ml._deployed_model_id(v_model.project_id) is null then
    perform ml._deploy(v_model.model_id, 'first');
  end if;
  return v_version;
end;
$$;

comment on function ml.import_model(text, text, text, jsonb, text, jsonb, text, timestamptz, text) is $$
Adds a model that was made elsewhere as a version of a project, and returns its number. The first of a project is deployed; later ones by ml.challenge or ml.deploy.
`format`: `linear` and `logistic` take {"intercept": 1, "coefficients": {"tax": 0.2, "country": {"at": 0.1}}, "means": {"tax": 590}}; `xgboost` takes the list of trees that
get_dump(dump_format="json") gives, or {"trees": …, "objective": "binary:logistic", "base_score": 0.5, "categories": {…}}; `embeddings` takes
{"keys": ["person", "item"], "embeddings": {"person": {"ada": […]}, "item": {…}}, "similarity": "inner_product" or "cosine"}; `scores` takes
{"keys": ["item"], "scores": [{"item": "sql", "score": 0.7}], "default": 0}. src/sql/ml/README.md shows each. Keys that name people are not erased with them: use others.
`algorithm` says how it was made, such as `scikit-learn LogisticRegression`. Errors: CF001 (format, name, task), CF009 (the document; names the node), CF010.
$$;

grant execute on function
  ml._import_linear(jsonb, text), ml._import_xgboost(jsonb), ml._import_keyed(jsonb, text),
  ml.import_model(text, text, text, jsonb, text, jsonb, text, timestamptz, text)
to insights_admin, insights_worker;
--! EndIncluded ml/functions/import_model.sql
--! Included ml/functions/nearest.sql
create or replace function ml.nearest(project text, key text, top int default 10, version int default null)
returns setof ml.neighbour
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_model ml.model := ml._version(project, version);
  v_document constant jsonb := ml._document(v_model);
begin
  if v_document ->> 'kind' <> 'embeddings' then
    raise exception using errcode = 'CF001', message = format('"%s" is a model of kind "%s", without embeddings', left(project, 100), left(v_document ->> 'kind', 100)), hint = 'Import embeddings with ml.import_model.';
  elsif top is null or top not between 1 and 10000 then
    raise exception using errcode = 'CF001', message = format('top is %s', coalesce(top::text, 'null')), hint = 'Give a number from 1 to 10000.';
  elsif not exists (select from ml.embedding where embedding.model_id = v_model.model_id and embedding.side = 1 and embedding.key = nearest.key) then
    raise exception using errcode = 'CF002', message = format('"%s" has no embedding of "%s"', left(project, 100), coalesce(left(key, 100), 'null')),
      hint = format('The key is one of "%s".', v_document #>> '{features,0,name}');
  end if;
  return query
  select (row_number() over (order by compared.similarity desc, compared.key))::int, compared.key, compared.similarity
  from (
    select other.key, ml._similarity(one.embedding, other.embedding, v_document ->> 'similarity') as similarity
    from ml.embedding as one
    join ml.embedding as other on other.model_id = one.model_id and other.side = (v_document ->> 'sides')::int
    where one.model_id = v_model.model_id
      and one.side = 1
      and one.key = nearest.key
      and ((v_document ->> 'sides')::int = 2 or other.key <> one.key)
  ) as compared
  order by compared.similarity desc, compared.key
  limit nearest.top;
end;
$$;

comment on function ml.nearest(text, text, int, int) is $$
The things that are most like one in a model of embeddings: of the second key where the model has two, otherwise the other things of the same kind.
Errors: CF001 (no embeddings, top), CF002 (no such project or key), CF006 (none in force).
$$;

grant execute on function ml.nearest(text, text, int, int) to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/functions/nearest.sql
--! Included ml/functions/population_stability_index.sql
create or replace function ml.population_stability_index(expected float8[], actual float8[])
returns float8
language plpgsql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_expected_total float8 := (select sum(value) from unnest(expected) as value);
  v_actual_total float8 := (select sum(value) from unnest(actual) as value);
begin
  if cardinality(expected) <> cardinality(actual) or cardinality(expected) = 0 then
    raise exception using errcode = 'CF001', message = format('%s bins are held against %s', cardinality(actual), cardinality(expected)),
      hint = 'Count both populations in the same bins, at least one.';
  elsif exists (select from unnest(expected || actual) as value where value is null or value < 0 or value in ('NaN', 'Infinity')) then
    raise exception using errcode = 'CF001', message = 'a bin holds null, a negative or a non-finite number', hint = 'Give counts or shares, 0 for an empty bin.';
  elsif v_expected_total = 0 or v_actual_total = 0 then
    raise exception using errcode = 'CF004', message = 'a population is empty', hint = 'Both need rows in at least one bin.';
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
Both arrays count the same bins, as numbers of rows or shares; an empty bin counts as a share of 0.0001. Below 0.1 is stable, from 0.25 on
the population is another one. Symmetric, 0 for equal shares. Null when either is null. Errors: CF001 (bins), CF004 (an empty population).
Source: Siddiqi, Credit Risk Scorecards, Wiley, 2006; it is Jeffreys' divergence of the two distributions.
$$;

grant execute on function ml.population_stability_index(float8[], float8[]) to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/functions/population_stability_index.sql
--! Included ml/functions/measure_drift.sql
/* A definer: it writes the registry, and is granted to those who watch. It reads its arguments only, never a relation. */
create or replace function ml._record_drift(measured jsonb)
returns setof ml.drift
language sql
volatile
security definer
set search_path to pg_catalog, pg_temp
as $$
  insert into ml.drift (model_id, statistic, feature, value, reference, verdict, row_count)
  select model_id, statistic, feature, value, reference, verdict, row_count
  from jsonb_populate_recordset(null::ml.drift, measured)
  returning drift.*;
$$;

comment on function ml._record_drift(jsonb) is $$Notes what a watch on drift has measured.$$;

create or replace function ml.measure_drift(
  project text,
  source_table text,
  label text default null,
  version int default null
)
returns setof ml.drift
language plpgsql
volatile
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
set client_min_messages to warning
as $$
declare
  v_model ml.model := ml._version(project, version);
  v_project ml.project := ml._project(project);
  v_relation regclass := ml._relation(source_table);
  v_predicted constant text := ml._temporary('_ml_predicted');
  v_label text;
  v_list text;
  v_rows bigint;
  v_measured jsonb;
  v_metrics jsonb;
  v_value float8;
  v_reference float8;
begin
  v_list := ml._feature_list(ml._document(v_model), v_relation);
  execute format('select count(*) from %s', v_relation) into v_rows;
  if v_rows = 0 then
    raise exception using errcode = 'CF004', message = format('"%s" is empty', v_relation), hint = 'Drift is measured on the rows that the model is asked about now.';
  end if;
  select jsonb_agg(jsonb_build_object(
    'model_id', v_model.model_id, 'statistic', 'population_stability_index', 'feature', profile.feature, 'value', moved.value,
    'verdict', case when moved.value < 0.1 then 'stable' when moved.value < 0.25 then 'shifting' else 'drifted' end, 'row_count', v_rows
  ) order by profile.feature)
  into v_measured
  from ml._bin_counts(
    format('(select %s from %s)', v_list, v_relation),
    (
      select coalesce(jsonb_agg(jsonb_build_object('feature', entry.feature, 'place', listed.place, 'edges', entry.edges, 'categories', entry.categories)), '[]')
      from ml.input_profile as entry
      join jsonb_array_elements(v_model.coefficients -> 'features') with ordinality as listed (feature, place) on listed.feature ->> 'name' = entry.feature
      where entry.model_id = v_model.model_id
    )
  ) as counted
  join ml.input_profile as profile on profile.model_id = v_model.model_id and profile.feature = counted.feature
  cross join lateral (select ml.population_stability_index(profile.shares, counted.counts) as value) as moved;
  v_measured := coalesce(v_measured, '[]');

  if label is not null then
    v_label := ml._numeric_expression(label, v_relation, 'label');
    execute format('drop table if exists %s', v_predicted);
    perform ml._predict_into(v_model, v_relation, v_predicted, v_label, 'observed');
    v_metrics := ml._evaluate(v_predicted, v_project.task);
    if v_project.task = 'regression' then
      execute format('select abs(avg(prediction) - avg(observed)) / nullif(stddev_samp(observed), 0) from %s where prediction is not null and observed is not null', v_predicted) into v_value;
      v_reference := 0;
    else
      v_value := v_metrics ->> 'calibration_error';
      v_reference := v_model.metrics ->> 'calibration_error';
    end if;
    execute format('drop table %s', v_predicted);
    if v_value is not null then
      v_measured := v_measured || jsonb_build_object(
        'model_id', v_model.model_id, 'statistic', 'calibration', 'value', v_value, 'reference', v_reference, 'row_count', v_metrics -> 'row_count',
        'verdict', case when v_value <= coalesce(v_reference, 0) + 0.05 then 'stable' when v_value <= coalesce(v_reference, 0) + 0.1 then 'shifting' else 'drifted' end
      );
    end if;
    v_value := v_metrics ->> v_project.metric;
    v_reference := v_model.metrics ->> v_project.metric;
    if v_value is not null then
      v_measured := v_measured || jsonb_build_object(
        'model_id', v_model.model_id, 'statistic', 'metric', 'value', v_value, 'reference', v_reference, 'row_count', v_metrics -> 'row_count',
        -- By how much the loss has grown.
        'verdict', case
          when v_reference is null or (v_project.higher_is_better and v_value >= v_reference - 0.02) or (case when v_project.higher_is_better then 1 - v_value else v_value end) <= 1.1 * (case when v_project.higher_is_better then 1 - v_reference else v_reference end) then 'stable'
          when (case when v_project.higher_is_better then 1 - v_value else v_value end) <= 1.25 * (case when v_project.higher_is_better then 1 - v_reference else v_reference end) then 'shifting'
          else 'drifted'
        end
      );
    end if;
  end if;
  return query select * from ml._record_drift(v_measured);
end;
$$;

comment on function ml.measure_drift(text, text, text, int) is $$
@behavior -*
How far the rows that a model is asked about now have moved from those it was trained on; noted in `ml.drift`.
For each feature its population stability index (stable below 0.1, drifted from 0.25 on). With `label`, the outcome where it is known already, also
the calibration (a classifier's calibration_error, a regression's mean error in standard deviations: stable up to 0.05 above training, drifted from 0.1 on)
and the metric of the project (drifted when the loss, which is 1 − metric where higher is better, has grown by more than a quarter; up to 0.02 less of such a metric is stable).
Errors: CF001, CF002 (project, version, table, a feature), CF004 (no rows), CF005, CF006 (none in force).
$$;

grant execute on function ml._record_drift(jsonb), ml.measure_drift(text, text, text, int) to insights_admin, insights_worker;
--! EndIncluded ml/functions/measure_drift.sql
--! Included ml/functions/watch_models.sql
create or replace function ml.watch_models()
returns setof ml.drift
language plpgsql
volatile
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_watched record;
begin
  for v_watched in
    select
      project.name,
      model.parameters ->> 'source_table' as source_table,
      -- An expression is not evaluated: whoever trained the model may be another role than the one that watches it.
      (
        select quote_ident(named)
        from unnest(ml._columns(to_regclass(model.parameters ->> 'source_table'))) as named
        where model.parameters ->> 'label' in (named, quote_ident(named))
        limit 1
      ) as label
    from ml.project
    join ml.model on model.model_id = ml._deployed_model_id(project.project_id)
    where model.coefficients ? 'kind'
      and model.parameters ->> 'source_table' !~ '^pg_temp'
      and to_regclass(model.parameters ->> 'source_table') is not null
      and has_table_privilege(to_regclass(model.parameters ->> 'source_table'), 'select')
    order by project.name
  loop
    begin
      return query select * from ml.measure_drift(v_watched.name, v_watched.source_table, v_watched.label);
    exception when sqlstate 'CF001' or sqlstate 'CF002' or sqlstate 'CF004' then
      -- One table that has changed or is empty keeps no other from being watched.
      raise warning 'ml.watch_models: %: %', v_watched.name, sqlerrm;
    end;
  end loop;
end;
$$;

comment on function ml.watch_models() is $$
Measures the drift of every model in force whose source, the table or view of its training, still exists and may be read by the caller; see ml.measure_drift.
Sources should show what is asked about now: a view of the latest weeks, say. A source that no longer fits gives a warning.
Where the label was an expression and not a column, the inputs alone are measured: it would run with the rights of whoever watches.
$$;

grant execute on function ml.watch_models() to insights_admin, insights_worker;
--! EndIncluded ml/functions/watch_models.sql
--! Included ml/policies.sql
/* Models and metrics are for everybody who may enter the room; they are written by the functions that train. */

do $$
declare
  v_table text;
begin
  foreach v_table in array array['project', 'model', 'deployment', 'tree_node', 'embedding', 'score', 'input_profile', 'comparison', 'drift']
  loop
    execute format('grant select on ml.%I to insights_reader, insights_analyst, insights_admin, insights_worker', v_table);
    execute format('drop policy if exists everybody on ml.%I', v_table);
    execute format('create policy everybody on ml.%I for select using (true)', v_table);
  end loop;
end;
$$;
--! EndIncluded ml/policies.sql
--! Included ml/functions/_matrix.sql
/*
 * Dense matrices on pgvector: an array of vectors, one for each row. The inner loops are pgvector's own inner products
 * in C (single precision, vectorized), so that a catalogue's worth of rows is multiplied or inverted in seconds by any
 * PostgreSQL that has the extension. For a few unknowns in double precision, see _linear_algebra.sql.
 */
create or replace function ml._matrix_columns(
  matrix vector[],
  name text
)
returns int
language plpgsql
immutable
parallel safe
set search_path from current
as $$
declare
  v_shortest int;
  v_longest int;
  v_rows int;
  v_present int;
begin
  select min(vector_dims(entry.v)), max(vector_dims(entry.v)), count(*), count(entry.v)
  into v_shortest, v_longest, v_rows, v_present
  from unnest(matrix) as entry (v);

  if v_rows = 0 or matrix is null then
    raise exception using errcode = 'CF004', message = format('the matrix %s has no rows', left(name, 100)),
      hint = 'Give an array of vectors, one for each row, such as array_agg(v order by row_number).';
  end if;
  if array_ndims(matrix) <> 1 or v_present < v_rows then
    raise exception using errcode = 'CF001', message = format('the matrix %s is not a list of rows: %s of %s entries are null', left(name, 100), v_rows - v_present, v_rows),
      hint = 'Give a one-dimensional array of vectors without nulls, one for each row.';
  end if;
  if v_shortest <> v_longest then
    raise exception using errcode = 'CF001', message = format('the rows of matrix %s have %s to %s columns', left(name, 100), v_shortest, v_longest),
      hint = 'All rows of a matrix have the same number of columns.';
  end if;
  return v_longest;
end;
$$;

comment on function ml._matrix_columns(vector[], text) is $$
Number of columns of a matrix, after having made sure that it is one; `name` is for messages. Errors: CF001 (nulls, ragged rows), CF004 (no rows).
$$;

create or replace function ml._fits_vector(
  count bigint,
  what text
)
returns void
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if count > 16000 then
    raise exception using errcode = 'CF008', message = format('%s %s are too many', count, left(what, 100)),
      hint = 'A row of a matrix is a pgvector vector, which has at most 16000 entries.';
  end if;
end;
$$;

comment on function ml._fits_vector(bigint, text) is $$Raises CF008 for more entries than a vector can have.$$;

create or replace function ml._product(
  a vector[],
  b vector[]
)
returns vector[]
language plpgsql
immutable
parallel safe
set search_path from current
as $$
declare
  -- Concatenation makes copies in memory: an argument read from a table would be decompressed again for every row.
  v_a constant vector[] := a || '{}';
  v_b constant vector[] := b || '{}';
begin
  -- unnest in the select list hands the rows on one by one, where a function in from would store all of them first.
  return array(
    select array(select -(a_row.v <#> b_row.v) from (select unnest(v_b) as v offset 0) as b_row)::vector
    from (select unnest(v_a) as v offset 0) as a_row
  );
end;
$$;

comment on function ml._product(vector[], vector[]) is $$
A times the transpose of B, unchecked: the kernel under all matrix functions.
$$;

grant execute on function
  ml._matrix_columns(vector[], text),
  ml._fits_vector(bigint, text),
  ml._product(vector[], vector[])
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/functions/_matrix.sql
--! Included ml/functions/transpose.sql
create or replace function ml.transpose(matrix vector[])
returns vector[]
language plpgsql
immutable
parallel safe
set search_path from current
as $$
declare
  v_columns constant int := ml._matrix_columns(matrix, 'matrix');
  v_matrix constant vector[] := matrix || '{}';
begin
  perform ml._fits_vector(cardinality(matrix), 'rows');
  return (
    select array_agg(transposed.v order by transposed.column_number)
    from (
      select entry.column_number, array_agg(entry.value)::vector as v
      from (
        -- Row by row, both unnested in step.
        select generate_series(1, v_columns) as column_number, unnest(row_.v::real[]) as value
        from (select unnest(v_matrix) as v offset 0) as row_
      ) as entry
      group by entry.column_number
    ) as transposed
  );
end;
$$;

comment on function ml.transpose(vector[]) is $$
The transpose of a matrix: its columns as rows.
Shapes: m × n gives n × m; m at most 16,000.
Errors: CF001 (not a matrix), CF004 (no rows), CF008 (m too large).
$$;

grant execute on function ml.transpose(vector[]) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/functions/transpose.sql
--! Included ml/functions/multiply_transposed.sql
create or replace function ml.multiply_transposed(
  a vector[],
  b vector[]
)
returns vector[]
language plpgsql
immutable
parallel safe
set search_path from current
as $$
declare
  v_a_columns constant int := ml._matrix_columns(a, 'a');
  v_b_columns constant int := ml._matrix_columns(b, 'b');
begin
  if v_a_columns <> v_b_columns then
    raise exception using errcode = 'CF001', message = format('the rows of a have %s columns, those of b %s', v_a_columns, v_b_columns),
      hint = 'A·Bᵀ is made of the inner products of the rows of a and the rows of b, so these are equally long.';
  end if;
  perform ml._fits_vector(cardinality(b), 'rows of b');
  return ml._product(a, b);
end;
$$;

comment on function ml.multiply_transposed(vector[], vector[]) is $$
A·Bᵀ: row i, column j is the inner product of row i of `a` and row j of `b`. The natural product of matrices that are stored by rows.
Shapes: m × k and n × k give m × n; n at most 16,000. Single precision.
Errors: CF001 (not matrices, different numbers of columns), CF004 (no rows), CF008 (n too large).
$$;

grant execute on function ml.multiply_transposed(vector[], vector[]) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/functions/multiply_transposed.sql
--! Included ml/functions/multiply.sql
create or replace function ml.multiply(
  a vector[],
  b vector[]
)
returns vector[]
language plpgsql
immutable
parallel safe
set search_path from current
as $$
declare
  v_a_columns constant int := ml._matrix_columns(a, 'a');
  v_b_rows constant int := cardinality(b);
begin
  perform ml._matrix_columns(b, 'b');
  if v_a_columns <> v_b_rows then
    raise exception using errcode = 'CF001', message = format('a has %s columns, b has %s rows', v_a_columns, v_b_rows),
      hint = 'A·B needs as many rows of b as a has columns; for A·Bᵀ use ml.multiply_transposed.';
  end if;
  return ml._product(a, ml.transpose(b));
end;
$$;

comment on function ml.multiply(vector[], vector[]) is $$
A·B, the matrix product. Where Bᵀ is at hand, `ml.multiply_transposed` spares the transposition.
Shapes: m × k and k × n give m × n; k and n at most 16,000. Single precision.
Errors: CF001 (not matrices, shapes that don't fit), CF004 (no rows), CF008 (too large).
$$;

grant execute on function ml.multiply(vector[], vector[]) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/functions/multiply.sql
--! Included ml/functions/gram.sql
create or replace function ml.gram(matrix vector[])
returns vector[]
language plpgsql
immutable
parallel safe
set search_path from current
as $$
declare
  v_transposed constant vector[] := ml.transpose(matrix);
begin
  return ml._product(v_transposed, v_transposed);
end;
$$;

comment on function ml.gram(vector[]) is $$
AᵀA, the Gram matrix of a matrix's columns.
Shapes: m × n gives n × n; m and n at most 16,000. Single precision.
Errors: CF001 (not a matrix), CF004 (no rows), CF008 (m too large).
$$;

grant execute on function ml.gram(vector[]) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/functions/gram.sql
--! Included ml/functions/inverse.sql
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
  -- L by Cholesky's method, and its inverse row by row: entry (i, j) lies at (i - 1) n + j.
  for v_i in 1..v_size loop
    for v_j in 1..v_i loop
      v_sum := v_matrix[(v_i - 1) * v_size + v_j];
      for v_k in 1..v_j - 1 loop
        v_sum := v_sum - v_lower[(v_i - 1) * v_size + v_k] * v_lower[(v_j - 1) * v_size + v_k];
      end loop;
      if v_j < v_i then
        v_lower[(v_i - 1) * v_size + v_j] := v_sum / v_lower[(v_j - 1) * v_size + v_j];
      elsif v_sum < 1e-6 then
        raise exception using errcode = 'CF007',
          message = format(
            'the matrix is %s: pivot %s of row %s',
            case when v_sum < -1e-6 then 'not positive definite' else 'singular, or too near to it for single precision' end,
            v_sum::real, first_row + v_i - 1
          ),
          hint = 'The row depends on the rows before it. Take it out, or add a positive number to the diagonal (a ridge).';
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
Inverse K of the Cholesky factor of a small block, and its transpose, in double precision. Error CF007 names the row, counted from `first_row`.
$$;

create or replace function ml._inverse_factor(
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
   * E = -K₂ W K₁. S is a difference of D and something not larger, so rounding can't blow up; C A⁻¹ Cᵀ would let it.
   */
  select * into v_upper
  from ml._inverse_factor(
    array(select subvector(row_.v, 1, v_half) from (select unnest(matrix[:v_half]) as v offset 0) as row_), first_row
  );
  v_link := array(
    select v_upper_zero - subvector(row_.v, 1, v_half)
    from (select unnest(matrix[v_half + 1:]) as v offset 0) as row_
  );
  v_scaled := ml._product(v_link, v_upper.factor); -- -W
  select * into v_lower
  from ml._inverse_factor(
    array(
      select subvector(pair.v, v_half + 1, v_size - v_half) - pair.w
      from (select unnest(matrix[v_half + 1:]) as v, unnest(ml._product(v_scaled, v_scaled)) as w offset 0) as pair
    ),
    first_row + v_half
  );
  v_scaled := ml._product(v_upper.transposed, v_scaled); -- -(W K₁)ᵀ

  factor := array(
    select row_.v || v_lower_zero from (select unnest(v_upper.factor) as v offset 0) as row_
  ) || array(
    select pair.e || pair.k
    from (select unnest(ml._product(v_lower.factor, v_scaled)) as e, unnest(v_lower.factor) as k offset 0) as pair
  );
  transposed := array(
    select pair.k || pair.e
    from (select unnest(v_upper.transposed) as k, unnest(ml._product(v_scaled, v_lower.factor)) as e offset 0) as pair
  ) || array(
    select v_upper_zero || row_.v from (select unnest(v_lower.transposed) as v offset 0) as row_
  );
end;
$$;

comment on function ml._inverse_factor(vector[], int) is $$
Inverse K of the Cholesky factor of a symmetric positive definite matrix with a diagonal of ones, and its transpose, by halves: M⁻¹ = KᵀK.
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
  if v_size <= 200 then
    return ml._product(transposed, transposed);
  end if;
  v_link := array(
    select subvector(row_.v, v_half + 1, v_size - v_half)
    from (select unnest(transposed[:v_half]) as v offset 0) as row_
  );
  v_lower := array(
    select subvector(row_.v, v_half + 1, v_size - v_half)
    from (select unnest(transposed[v_half + 1:]) as v offset 0) as row_
  );
  return array(
    select (part.k + part.e) || part.c
    from (
      select
        unnest(ml._triangular_gram(
          array(select subvector(row_.v, 1, v_half) from (select unnest(transposed[:v_half]) as v offset 0) as row_)
        )) as k,
        unnest(ml._product(v_link, v_link)) as e,
        unnest(ml._product(v_link, v_lower)) as c
      offset 0
    ) as part
  ) || array(
    select part.c || part.k
    from (
      select unnest(ml._product(v_lower, v_link)) as c, unnest(ml._triangular_gram(v_lower)) as k
      offset 0
    ) as part
  );
end;
$$;

comment on function ml._triangular_gram(vector[]) is $$
KᵀK of a lower triangular matrix K, given as Kᵀ, leaving out the half that is zero.
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
  v_by_rows vector;
  v_by_columns vector;
  v_inverse vector[];
  v_error float8;
begin
  if ml._matrix_columns(matrix, 'matrix') <> v_size then
    raise exception using errcode = 'CF001', message = format('the matrix has %s rows and %s columns', v_size, vector_dims(matrix[1])),
      hint = 'Only a square matrix has an inverse.';
  end if;

  v_diagonal := array(select (row_.v::real[])[row_.n] from unnest(v_matrix) with ordinality as row_ (v, n) order by row_.n);
  if exists (select from unnest(v_diagonal) as entry where entry <= 0) then
    raise exception using errcode = 'CF007',
      message = format(
        'the matrix is not positive definite: %s on the diagonal of row %s',
        (select entry::real from unnest(v_diagonal) as entry where entry <= 0 limit 1),
        (select n from unnest(v_diagonal) with ordinality as entry (value, n) where value <= 0 order by n limit 1)
      ),
      hint = 'Covariance, Gram and kernel matrices have a positive diagonal; a ridge on it makes them invertible.';
  end if;

  -- With ones on the diagonal a small pivot is small, whatever the units of the rows were.
  v_scale := array(select 1 / sqrt(entry) from unnest(v_diagonal) as entry)::vector;
  v_inverse := array(
    select row_.v * v_scale * array_fill((v_scale::real[])[row_.n], array[v_size])::vector
    from unnest(v_matrix) with ordinality as row_ (v, n)
    order by row_.n
  );

  -- The algorithm reads one triangle only. M x = Mᵀ x for a vector without pattern tells whether the other is the same.
  v_probe := array(select 0.5 + (n * 0.6180339887498949) % 1 from generate_series(1, v_size) as n)::vector;
  v_by_rows := (ml.transpose(ml._product(v_inverse, array[v_probe])))[1];
  v_by_columns := (
    select sum(row_.v * array_fill((v_probe::real[])[row_.n], array[v_size])::vector)
    from unnest(v_inverse) with ordinality as row_ (v, n)
  );
  if v_by_rows <-> v_by_columns > 1e-4 * vector_norm(v_by_rows) then
    raise exception using errcode = 'CF001', message = 'the matrix is not symmetric',
      hint = 'Only symmetric positive definite matrices, such as AᵀA plus a ridge, are inverted here.';
  end if;

  select ml._triangular_gram(factored.transposed) into v_inverse
  from ml._inverse_factor(v_inverse, 1) as factored;

  v_error := l2_distance(
    (ml.transpose(ml._product(v_inverse, array[v_by_rows])))[1], v_probe
  ) / vector_norm(v_probe);
  if v_error > 1e-2 then
    raise exception using errcode = 'CF007',
      message = format('the matrix is too near to a singular one for single precision: M⁻¹ M x is off x by %s', v_error::real),
      hint = 'Add a positive number to the diagonal (a ridge), or use double precision.';
  end if;

  return array(
    select row_.v * v_scale * array_fill((v_scale::real[])[row_.n], array[v_size])::vector
    from unnest(v_inverse) with ordinality as row_ (v, n)
    order by row_.n
  );
end;
$$;

comment on function ml.inverse(vector[]) is $$
Inverse of a symmetric positive definite matrix, such as AᵀA plus a ridge.
Cholesky's method by halves, down to blocks of 48: these in double precision, all else as inner products in single precision. With a condition number of 50, `A·A⁻¹` differs from the identity by some 1e-6; the error grows in proportion.
Shapes: n × n, n at most 16,000; time grows with the third power, about 3 s for n = 1,700.
Errors: CF001 (not square, not symmetric), CF004 (no rows), CF007 (not positive definite, singular or too near to it; names the row).
Source: Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition, SIAM 2002, chapters 10, 13 and 14.
$$;

grant execute on function
  ml._inverse_factor_leaf(vector[], int),
  ml._inverse_factor(vector[], int),
  ml._triangular_gram(vector[]),
  ml.inverse(vector[])
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/functions/inverse.sql
--! Included ml/functions/rank_one_update.sql
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
    raise exception using errcode = 'CF001',
      message = format('the inverse has %s rows and %s columns, x has %s entries', v_size, vector_dims(inverse[1]), coalesce(vector_dims(x)::text, 'no')),
      hint = 'The inverse of an n × n matrix and a vector of n entries are due.';
  end if;
  if weight is null or not abs(weight) < 'infinity' then
    raise exception using errcode = 'CF001', message = format('the weight is %s', coalesce(weight::text, 'null')),
      hint = '1 adds x xᵀ, -1 takes it away.';
  end if;

  -- (A + w x xᵀ)⁻¹ = P - w P x xᵀ P / (1 + w xᵀ P x)
  v_product := (ml.transpose(ml._product(inverse, array[x])))[1];
  v_quadratic := 1 - weight * (x <#> v_product);
  if v_quadratic < 1e-6 then
    raise exception using errcode = 'CF007',
      message = format('the matrix would no longer be positive definite: 1 + w xᵀA⁻¹x is %s', v_quadratic::real),
      hint = 'Take away only what had been added.';
  end if;
  v_factor := weight / v_quadratic;
  return array(
    select pair.v - v_product * array_fill(v_factor * pair.entry, array[v_size])::vector
    from (select unnest(inverse) as v, unnest(v_product::real[]) as entry offset 0) as pair
  );
end;
$$;

comment on function ml.rank_one_update(vector[], vector, float8) is $$
The inverse of A + weight · x xᵀ from the inverse of A, in n² steps where a new inversion takes n³.
With `inverse` = (XᵀX + λI)⁻¹ and `x` the row of a learner, weight 1 is exact learning and weight -1 exact unlearning.
Shapes: n × n and n give n × n. Single precision: after some thousands of updates, invert anew.
Errors: CF001 (shapes, weight), CF004 (no rows), CF007 (the result would not be positive definite).
Source: Sherman and Morrison, Adjustment of an inverse matrix corresponding to a change in one element of a given matrix, Annals of Mathematical Statistics 21, 1950.
$$;

grant execute on function ml.rank_one_update(vector[], vector, float8) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/functions/rank_one_update.sql
--! Included ml/functions/ease_weights.sql
create or replace function ml.ease_weights(inverse vector[])
returns vector[]
language plpgsql
immutable
parallel safe
set search_path from current
as $$
declare
  v_size constant int := cardinality(inverse);
  v_divisor vector;
begin
  if ml._matrix_columns(inverse, 'inverse') <> v_size then
    raise exception using errcode = 'CF001', message = format('the inverse has %s rows and %s columns', v_size, vector_dims(inverse[1])),
      hint = 'It is square: (XᵀX + λI)⁻¹, a row and a column for each item.';
  end if;
  v_divisor := array(
    select -1 / (row_.v::real[])[row_.n]
    from unnest(inverse) with ordinality as row_ (v, n)
    order by row_.n
  )::vector;
  return array(
    select (weights.entries[:weights.n - 1] || 0::real || weights.entries[weights.n + 1:])::vector
    from (
      select (row_.v * v_divisor)::real[] as entries, row_.n::int as n
      from unnest(inverse) with ordinality as row_ (v, n)
    ) as weights
    order by weights.n
  );
end;
$$;

comment on function ml.ease_weights(vector[]) is $$
The weights B of the EASE recommender from P = (XᵀX + λI)⁻¹: B[i,j] = -P[i,j] / P[j,j], and 0 on the diagonal.
The score of item j for a learner is the sum of B[i,j] over the learner's items i, so each of them has its share.
Shapes: n × n gives n × n.
Errors: CF001 (not a square matrix), CF004 (no rows).
Source: Steck, Embarrassingly shallow autoencoders for sparse data, WWW 2019.
$$;

grant execute on function ml.ease_weights(vector[]) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/functions/ease_weights.sql
--! Included ml/functions/ease_train.sql
create or replace function ml._ease_gram(
  relation regclass,
  person_expression text,
  item_expression text,
  weight_expression text,
  out items text[],
  out gram vector[]
)
language plpgsql
set search_path from current
set extra_float_digits to 1
as $$
declare
  v_source constant text := format(
    $statement$
    select
      source.%2$s as person,
      source.%3$s as item,
      %4$s::real as weight
    from %1$s as source
    where source.%2$s is not null
      and source.%3$s is not null
      %5$s
    group by source.%2$s, source.%3$s
    $statement$,
    relation, person_expression, item_expression,
    coalesce('sum(' || weight_expression || ')', '1'), 'and ' || weight_expression || ' is not null'
  );
  v_item_count bigint;
  v_bad text;
begin
  execute format(
    $statement$
    select count(distinct item), min(weight::text) filter (where weight in ('NaN', 'Infinity', '-Infinity'))
    from (%s) as interaction
    $statement$,
    v_source
  )
  into v_item_count, v_bad;

  if v_item_count = 0 then
    raise exception using errcode = 'CF004', message = format('%s has no row with a person, an item and a weight', relation),
      hint = 'There is nothing to learn from yet.';
  end if;
  if v_bad is not null then
    raise exception using errcode = 'CF001', message = format('%s has the weight %s', relation, left(v_bad, 100)),
      hint = 'Weights are finite numbers, 1 for "was here".';
  end if;
  perform ml._fits_vector(v_item_count, 'items');

  /*
   * A row of XᵀX is the sum of the vectors of those who have the item, so it costs as many additions as there are
   * interactions, and any number of people will do. Rows of one weight are summed before they are multiplied by it.
   */
  execute format(
    $statement$
    with interaction as materialized (%1$s),

    item as materialized (
      select item, row_number() over (order by item)::int as n
      from interaction
      group by item
    ),

    person as materialized (
      select interaction.person, format('{%%s}/%2$s', string_agg(item.n || ':' || interaction.weight, ','))::sparsevec::vector as v
      from interaction
      join item using (item)
      group by interaction.person
    ),

    part as (
      select interaction.item, interaction.weight, sum(person.v) as v
      from interaction
      join person using (person)
      group by interaction.item, interaction.weight
    ),

    gram as (
      select item, sum(case when weight = 1 then v else v * array_fill(weight, array[%2$s])::vector end) as v
      from part
      group by item
    )

    select array_agg(item.item::text order by item.n), array_agg(gram.v order by item.n)
    from gram
    join item using (item)
    $statement$,
    v_source, v_item_count
  )
  into items, gram;
end;
$$;

comment on function ml._ease_gram(regclass, text, text, text) is $$
XᵀX of a table of interactions, and the items that its rows and columns are. Columns and weight have been read and quoted already; weight null: each pair counts 1.
$$;

create or replace function ml._ease_inverse(
  gram vector[],
  lambda float8
)
returns vector[]
language sql
immutable
parallel safe
begin atomic
  select ml.inverse(
    array_agg(
      row_.v + format('{%s:%s}/%s', row_.n, lambda::numeric, cardinality(_ease_inverse.gram))::sparsevec::vector
      order by row_.n
    )
  )
  from unnest(_ease_inverse.gram) with ordinality as row_ (v, n);
end;

comment on function ml._ease_inverse(vector[], float8) is $$
(XᵀX + λI)⁻¹ from XᵀX.
$$;

create or replace function ml._ease_rows(
  items text[],
  inverse vector[]
)
returns setof ml.ease_row
language sql
immutable
parallel safe
begin atomic
  select entry.n::int, entry.item, entry.weights, entry.inverse
  from rows from (
    unnest(_ease_rows.items), unnest(ml.ease_weights(_ease_rows.inverse)), unnest(_ease_rows.inverse)
  ) with ordinality as entry (item, weights, inverse, n);
end;

comment on function ml._ease_rows(text[], vector[]) is $$
The rows of an EASE model from its items and its inverse.
$$;

create or replace function ml.ease_train(
  source_table text,
  person_column text default 'person_id',
  item_column text default 'item_id',
  weight_column text default null,
  lambda float8 default 500
)
returns setof ml.ease_row
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_relation constant regclass := ml._relation(source_table);
  v_gram record;
begin
  if lambda is null or not (lambda > 0 and lambda < 'infinity') then
    raise exception using errcode = 'CF001', message = format('lambda is %s', coalesce(lambda::text, 'null')),
      hint = 'It is a positive number: 100 to 1000 where items have hundreds of people each, less where they have fewer.';
  end if;
  select * into v_gram
  from ml._ease_gram(
    v_relation,
    ml._column(v_relation, person_column, 'person column'),
    ml._column(v_relation, item_column, 'item column'),
    case when weight_column is not null then ml._numeric_expression(weight_column, v_relation, 'weight column') end
  );
  return query
  select *
  from ml._ease_rows(v_gram.items, ml._ease_inverse(v_gram.gram, lambda));
end;
$$;

comment on function ml.ease_train(text, text, text, text, float8) is $$
Trains the EASE recommender on a table of interactions and returns a row for each item, in the order of `item_column`: `item_no`, `item`, `weights` and `inverse`.
`weights` is a row of B = I - P·diag(P)⁻¹, P = (XᵀX + λI)⁻¹; `inverse` the row of P, which `ml.rank_one_update` keeps current.
A learner's scores for all items are the sum of the `weights` of the learner's items (times the weight of each, where there are weights).
`weight_column` is a column or an expression over the columns; without one each pair of person and item counts 1, however often it comes; with one the weights of a pair are added.
`lambda` holds the weights small: the more people an item has, the larger. At most 16,000 items; some 5 s for 1,700 items and 100,000 interactions.
Errors: CF001 (lambda, weights), CF002 (no such table or column), CF004 (no rows), CF005 (not readable), CF008 (too many items).
Source: Steck, Embarrassingly shallow autoencoders for sparse data, WWW 2019.
$$;

grant execute on function
  ml._ease_gram(regclass, text, text, text),
  ml._ease_inverse(vector[], float8),
  ml._ease_rows(text[], vector[]),
  ml.ease_train(text, text, text, text, float8)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/functions/ease_train.sql
--! Included ml/functions/_linear_algebra.sql
/*
 * Small dense linear algebra in double precision and in exact-enough numeric, for systems of one regression (a few to a few
 * hundred unknowns). The big sums behind them are made by built-in aggregates in generated statements; what arrives here is
 * the k x k matrix.
 */

create or replace function ml._spd_inverse(
  matrix float8[],
  tolerance float8,
  out inverse float8[],
  out dependent integer
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_size constant integer := coalesce(array_length(matrix, 1), 0);
  v_lower float8[] := array_fill(0::float8, array[v_size, v_size]);
  v_inverse float8[] := array_fill(0::float8, array[v_size, v_size]);
  v_matrix float8[] := matrix;
  v_sum float8;
begin
  -- L, with each pivot compared to the diagonal it started from: what is left of a column after the columns before it
  for j in 1..v_size loop
    v_sum := v_matrix[j][j];
    for m in 1..j - 1 loop
      v_sum := v_sum - v_lower[j][m] * v_lower[j][m];
    end loop;
    if not v_sum > tolerance * v_matrix[j][j] then
      dependent := j;
      return;
    end if;
    v_lower[j][j] := sqrt(v_sum);
    for i in j + 1..v_size loop
      v_sum := v_matrix[i][j];
      for m in 1..j - 1 loop
        v_sum := v_sum - v_lower[i][m] * v_lower[j][m];
      end loop;
      v_lower[i][j] := v_sum / v_lower[j][j];
    end loop;
  end loop;

  -- L becomes its own inverse
  for j in 1..v_size loop
    v_lower[j][j] := 1 / v_lower[j][j];
    for i in j + 1..v_size loop
      v_sum := 0;
      for m in j..i - 1 loop
        v_sum := v_sum - v_lower[i][m] * v_lower[m][j];
      end loop;
      v_lower[i][j] := v_sum / v_lower[i][i];
    end loop;
  end loop;

  for i in 1..v_size loop
    for j in 1..i loop
      v_sum := 0;
      for m in i..v_size loop
        v_sum := v_sum + v_lower[m][i] * v_lower[m][j];
      end loop;
      v_inverse[i][j] := v_sum;
      v_inverse[j][i] := v_sum;
    end loop;
  end loop;
  inverse := v_inverse;
end
$$;

comment on function ml._spd_inverse(float8[], float8) is $$
Inverse of a symmetric positive definite k x k matrix by Cholesky decomposition, double precision.
`dependent` is the first column whose pivot falls under `tolerance` times its diagonal, that is, which the columns before
it explain; `inverse` is null then. Reads the lower triangle only.
$$;

create or replace function ml._spd_inverse_numeric(
  matrix numeric[],
  tolerance numeric,
  digits integer,
  out inverse numeric[],
  out dependent integer
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_size constant integer := coalesce(array_length(matrix, 1), 0);
  v_matrix numeric[] := matrix;
  v_lower numeric[] := array_fill(0::numeric, array[v_size, v_size]);
  v_pivot numeric[] := array_fill(0::numeric, array[v_size]);
  v_inverse numeric[] := array_fill(0::numeric, array[v_size, v_size]);
  v_sum numeric;
begin
  -- L D L', without a square root
  for j in 1..v_size loop
    v_sum := v_matrix[j][j];
    for m in 1..j - 1 loop
      v_sum := v_sum - round(v_lower[j][m] * v_lower[j][m] * v_pivot[m], digits);
    end loop;
    if not v_sum > tolerance * v_matrix[j][j] then
      dependent := j;
      return;
    end if;
    v_pivot[j] := v_sum;
    v_lower[j][j] := 1;
    for i in j + 1..v_size loop
      v_sum := v_matrix[i][j];
      for m in 1..j - 1 loop
        v_sum := v_sum - round(v_lower[i][m] * v_lower[j][m] * v_pivot[m], digits);
      end loop;
      v_lower[i][j] := round(round(v_sum, digits) / v_pivot[j], digits);
    end loop;
  end loop;

  -- L becomes its own inverse
  for j in 1..v_size loop
    for i in j + 1..v_size loop
      v_sum := 0;
      for m in j..i - 1 loop
        v_sum := v_sum - v_lower[i][m] * v_lower[m][j];
      end loop;
      v_lower[i][j] := round(v_sum, digits);
    end loop;
  end loop;

  for i in 1..v_size loop
    for j in 1..i loop
      v_sum := 0;
      for m in i..v_size loop
        v_sum := v_sum + round(round(v_lower[m][i] * v_lower[m][j], digits) / v_pivot[m], digits);
      end loop;
      v_inverse[i][j] := v_sum;
      v_inverse[j][i] := v_sum;
    end loop;
  end loop;
  inverse := v_inverse;
end
$$;

comment on function ml._spd_inverse_numeric(numeric[], numeric, integer) is $$
Inverse of a symmetric positive definite k x k matrix with `digits` decimals, for systems that double precision would spoil.
Expects a unit diagonal or nearly so, for `digits` counts decimals and not significant figures. `dependent` as in ml._spd_inverse.
$$;

create or replace function ml._largest_eigenvalue(matrix float8[])
returns float8
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_size constant integer := coalesce(array_length(matrix, 1), 0);
  v_a float8[] := matrix;
  v_diagonal float8[] := array_fill(0::float8, array[greatest(v_size, 1)]);
  v_beside float8[] := array_fill(0::float8, array[greatest(v_size, 1) + 1]);
  v_u float8[];
  v_p float8[];
  v_unit float8 := 0;
  v_norm float8;
  v_alpha float8;
  v_h float8;
  v_low float8;
  v_high float8;
  v_middle float8;
  v_q float8;
  v_above boolean;
begin
  for i in 1..v_size loop
    v_unit := greatest(v_unit, abs(v_a[i][i]));
  end loop;
  if v_size = 0 or v_unit = 0 then
    return v_unit;
  end if;
  for i in 1..v_size loop
    for j in 1..v_size loop
      -- far below the largest entry nothing can matter, and a product of such numbers would underflow, an error in SQL
      v_a[i][j] := case when abs(v_a[i][j]) > v_unit * 1e-60 then v_a[i][j] / v_unit else 0 end;
    end loop;
  end loop;

  -- Householder: to a tridiagonal matrix of the same eigenvalues
  for j in 1..v_size - 2 loop
    v_norm := 0;
    for i in j + 1..v_size loop
      v_norm := v_norm + v_a[i][j] * v_a[i][j];
    end loop;
    v_norm := sqrt(v_norm);
    if v_norm > 1e-30 then
      v_alpha := case when v_a[j + 1][j] > 0 then -v_norm else v_norm end;
      v_u := array_fill(0::float8, array[v_size]);
      v_p := array_fill(0::float8, array[v_size]);
      for i in j + 1..v_size loop
        v_u[i] := v_a[i][j];
      end loop;
      v_u[j + 1] := v_u[j + 1] - v_alpha;
      v_h := v_norm * (v_norm + abs(v_a[j + 1][j]));
      v_q := 0;
      for i in j + 1..v_size loop
        v_middle := 0;
        for m in j + 1..v_size loop
          v_middle := v_middle + v_a[i][m] * v_u[m];
        end loop;
        v_p[i] := v_middle / v_h;
        v_q := v_q + v_u[i] * v_p[i];
      end loop;
      v_q := v_q / (2 * v_h);
      for i in j + 1..v_size loop
        v_p[i] := v_p[i] - v_q * v_u[i];
      end loop;
      for i in j + 1..v_size loop
        for m in j + 1..v_size loop
          v_a[i][m] := v_a[i][m] - v_u[i] * v_p[m] - v_p[i] * v_u[m];
        end loop;
      end loop;
      v_beside[j + 1] := v_alpha;
    end if;
  end loop;
  if v_size > 1 then
    v_beside[v_size] := v_a[v_size][v_size - 1];
  end if;
  for i in 1..v_size loop
    v_diagonal[i] := v_a[i][i];
  end loop;

  -- bisection: an eigenvalue lies above `middle` exactly when a pivot of T - middle I is positive (Sturm)
  v_low := 0;
  v_high := 0;
  for i in 1..v_size loop
    v_high := greatest(v_high, v_diagonal[i] + abs(v_beside[i]) + abs(v_beside[i + 1]));
    v_low := greatest(v_low, v_diagonal[i]);
  end loop;
  for step in 1..60 loop
    v_middle := (v_low + v_high) / 2;
    exit when v_middle <= v_low or v_middle >= v_high;
    v_above := false;
    v_q := v_diagonal[1] - v_middle;
    for i in 1..v_size loop
      if v_q > 0 then
        v_above := true;
        exit;
      end if;
      exit when i = v_size;
      v_q := v_diagonal[i + 1] - v_middle
        - case when abs(v_beside[i + 1]) > 1e-100 then v_beside[i + 1] * v_beside[i + 1] else 0 end
          / case when abs(v_q) > 1e-100 then v_q else -1e-100 end;
    end loop;
    if v_above then
      v_low := v_middle;
    else
      v_high := v_middle;
    end if;
  end loop;
  return (v_low + v_high) / 2 * v_unit;
end
$$;

comment on function ml._largest_eigenvalue(float8[]) is $$
Largest eigenvalue of a symmetric positive semi-definite k x k matrix, to about 14 digits.
Householder reduction and Sturm bisection (Golub and Van Loan, Matrix Computations, 8.3 and 8.4). The condition number of a
design is sqrt(largest eigenvalue of X'X times that of its inverse): both are well determined, while the smallest
eigenvalue of X'X itself drowns in rounding.
$$;

create or replace function ml._condition_number(gram float8[], inverse float8[])
returns float8
language sql
immutable
parallel safe
begin atomic
  select sqrt(ml._largest_eigenvalue(_condition_number.gram)) * sqrt(ml._largest_eigenvalue(_condition_number.inverse));
end;

comment on function ml._condition_number(float8[], float8[]) is $$
Condition number of a design matrix X from X'X and its inverse: largest singular value over smallest.
$$;

grant execute on function
  ml._spd_inverse(float8[], float8),
  ml._spd_inverse_numeric(numeric[], numeric, integer),
  ml._largest_eigenvalue(float8[]),
  ml._condition_number(float8[], float8[])
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/functions/_linear_algebra.sql
--! Included ml/functions/_distributions.sql
/*
 * Special functions behind the distribution functions. PostgreSQL has erf from 16 and gamma from 18 only, and this must run
 * on 15; so they are written here, to about fourteen digits, upper tails to full relative accuracy.
 */

create or replace function ml._log1p(x float8)
returns float8
language sql
immutable
parallel safe
begin atomic
  -- (1 + x) - 1 is what ln really saw: dividing by it cancels the rounding (Goldberg 1991, theorem 4)
  select case when 1 + _log1p.x = 1 then _log1p.x else ln(1 + _log1p.x) * _log1p.x / ((1 + _log1p.x) - 1) end;
end;

comment on function ml._log1p(float8) is $$ln(1 + x), exact for small x.$$;

create or replace function ml._log_gamma_correction(x float8)
returns float8
language sql
immutable
parallel safe
begin atomic
  select (1.0 / 12 - (1.0 / 360 - (1.0 / 1260 - (1.0 / 1680 - (1.0 / 1188 - (691.0 / 360360 - z / 156) * z) * z) * z) * z) * z)
    / _log_gamma_correction.x
  from (values (1 / (_log_gamma_correction.x * _log_gamma_correction.x))) as inverse_square (z);
end;

comment on function ml._log_gamma_correction(float8) is $$
What Stirling's formula lacks of ln gamma(x), for x >= 10: 1/(12x) - 1/(360x^3) + … (Abramowitz and Stegun 6.1.41).
$$;

create or replace function ml._log_gamma(x float8)
returns float8
language plpgsql
immutable
parallel safe
strict
set search_path to pg_catalog, pg_temp
as $$
declare
  v_x float8 := x;
  v_product float8 := 1;
begin
  -- upwards by x gamma(x) = gamma(x + 1) until Stirling's series is exact to the last digit
  while v_x < 16 loop
    v_product := v_product * v_x;
    v_x := v_x + 1;
  end loop;
  return (v_x - 0.5) * ln(v_x) - v_x + 0.918938533204672741780329736406 + ml._log_gamma_correction(v_x) - ln(v_product);
end
$$;

comment on function ml._log_gamma(float8) is $$Natural logarithm of the gamma function for x > 0.$$;

create or replace function ml._log_beta(a float8, b float8)
returns float8
language plpgsql
immutable
parallel safe
strict
set search_path to pg_catalog, pg_temp
as $$
declare
  v_p constant float8 := least(a, b);
  v_q constant float8 := greatest(a, b);
begin
  -- for a large argument the difference of two huge logarithms is written out by hand, or half the digits would go
  if v_p >= 10 then
    return ml._log_gamma_correction(v_p) + ml._log_gamma_correction(v_q) - ml._log_gamma_correction(v_p + v_q)
      + 0.918938533204672741780329736406 - 0.5 * ln(v_q) + (v_p - 0.5) * ln(v_p / (v_p + v_q)) + v_q * ml._log1p(-v_p / (v_p + v_q));
  elsif v_q >= 10 then
    return ml._log_gamma(v_p) + ml._log_gamma_correction(v_q) - ml._log_gamma_correction(v_p + v_q)
      + v_p - v_p * ln(v_p + v_q) + (v_q - 0.5) * ml._log1p(-v_p / (v_p + v_q));
  end if;
  return ml._log_gamma(v_p) + ml._log_gamma(v_q) - ml._log_gamma(v_p + v_q);
end
$$;

comment on function ml._log_beta(float8, float8) is $$
Natural logarithm of the beta function for a, b > 0, accurate for large arguments too (as TOMS 708).
$$;

create or replace function ml._incomplete_beta(a float8, b float8, x float8, complement float8)
returns float8
language plpgsql
immutable
parallel safe
strict
set search_path to pg_catalog, pg_temp
as $$
declare
  v_a float8 := a;
  v_b float8 := b;
  v_x float8 := x;
  v_y float8 := complement;
  v_swapped boolean := false;
  v_log float8;
  v_c float8 := 1;
  v_d float8;
  v_fraction float8;
  v_term float8;
  v_delta float8;
begin
  if v_x <= 0 then
    return 0;
  elsif v_y <= 0 then
    return 1;
  end if;
  if v_x > (v_a + 1) / (v_a + v_b + 2) then
    v_swapped := true;
    v_a := b;
    v_b := a;
    v_x := complement;
    v_y := x;
  end if;
  v_log := v_a * case when v_x < 0.5 then ln(v_x) else ml._log1p(-v_y) end
    + v_b * case when v_y < 0.5 then ln(v_y) else ml._log1p(-v_x) end - ml._log_beta(v_a, v_b);
  if v_log < -700 then
    return case when v_swapped then 1 else 0 end;
  end if;

  -- continued fraction by Lentz's method (Numerical Recipes 6.4)
  v_d := 1 - (v_a + v_b) * v_x / (v_a + 1);
  v_d := 1 / case when abs(v_d) < 1e-100 then 1e-100 else v_d end;
  v_fraction := v_d;
  for m in 1..20000 loop
    v_term := m * (v_b - m) * v_x / ((v_a + 2 * m - 1) * (v_a + 2 * m));
    v_d := 1 + v_term * v_d;
    v_d := 1 / case when abs(v_d) < 1e-100 then 1e-100 else v_d end;
    v_c := 1 + v_term / v_c;
    v_c := case when abs(v_c) < 1e-100 then 1e-100 else v_c end;
    v_fraction := v_fraction * v_d * v_c;
    v_term := -(v_a + m) * (v_a + v_b + m) * v_x / ((v_a + 2 * m) * (v_a + 2 * m + 1));
    v_d := 1 + v_term * v_d;
    v_d := 1 / case when abs(v_d) < 1e-100 then 1e-100 else v_d end;
    v_c := 1 + v_term / v_c;
    v_c := case when abs(v_c) < 1e-100 then 1e-100 else v_c end;
    v_delta := v_d * v_c;
    v_fraction := v_fraction * v_delta;
    exit when abs(v_delta - 1) < 1e-16;
  end loop;
  v_fraction := exp(v_log) * v_fraction / v_a;
  return case when v_swapped then 1 - v_fraction else v_fraction end;
end
$$;

comment on function ml._incomplete_beta(float8, float8, float8, float8) is $$
Regularised incomplete beta function I_x(a, b). `complement` is 1 - x, given apart since near 1 it can't be had from x.
Small results keep their relative accuracy; under 1e-304 they are 0.
$$;

create or replace function ml._incomplete_gamma(a float8, x float8, upper_tail boolean)
returns float8
language plpgsql
immutable
parallel safe
strict
set search_path to pg_catalog, pg_temp
as $$
declare
  v_log float8;
  v_sum float8;
  v_term float8;
  v_n float8;
  v_b float8;
  v_c float8;
  v_d float8;
  v_lower boolean := x < a + 1;
begin
  if x <= 0 then
    return case when upper_tail then 1 else 0 end;
  end if;
  if a >= 10 then
    -- a ln x - x - ln gamma(a), around its peak, where the three cancel
    v_log := -a * ((x - a) / a - case when abs((x - a) / a) < 0.5 then ml._log1p((x - a) / a) else ln(x / a) end)
      - ml._log_gamma_correction(a) - 0.918938533204672741780329736406 + 0.5 * ln(a);
  else
    v_log := a * ln(x) - x - ml._log_gamma(a);
  end if;
  if v_log < -700 then
    return case when v_lower = upper_tail then 1 else 0 end;
  end if;
  if v_lower then
    v_n := a;
    v_term := 1 / a;
    v_sum := v_term;
    for i in 1..20000 loop
      v_n := v_n + 1;
      v_term := v_term * x / v_n;
      v_sum := v_sum + v_term;
      exit when v_term < v_sum * 1e-17;
    end loop;
    v_sum := v_sum * exp(v_log);
  else
    v_b := x + 1 - a;
    v_c := 1e100;
    v_d := 1 / v_b;
    v_sum := v_d;
    for i in 1..20000 loop
      v_term := -i * (i - a);
      v_b := v_b + 2;
      v_d := v_term * v_d + v_b;
      v_d := 1 / case when abs(v_d) < 1e-100 then 1e-100 else v_d end;
      v_c := v_b + v_term / v_c;
      v_c := case when abs(v_c) < 1e-100 then 1e-100 else v_c end;
      v_sum := v_sum * v_d * v_c;
      exit when abs(v_d * v_c - 1) < 1e-16;
    end loop;
    v_sum := v_sum * exp(v_log);
  end if;
  return case when v_lower = upper_tail then 1 - v_sum else v_sum end;
end
$$;

comment on function ml._incomplete_gamma(float8, float8, boolean) is $$
Regularised incomplete gamma function P(a, x), or Q(a, x) = 1 - P when `upper_tail`. Series below a + 1, continued fraction above.
$$;

create or replace function ml._normal_p_value(z float8)
returns float8
language sql
immutable
parallel safe
begin atomic
  select ml._incomplete_gamma(0.5, _normal_p_value.z * _normal_p_value.z / 2, true);
end;

comment on function ml._normal_p_value(float8) is $$Probability that a standard normal variable is at least as far from 0 as z, both sides.$$;

create or replace function ml._students_t_p_value(t float8, nu float8)
returns float8
language sql
immutable
parallel safe
begin atomic
  select ml._incomplete_beta(
    _students_t_p_value.nu / 2,
    0.5,
    1 / (1 + _students_t_p_value.t * _students_t_p_value.t / _students_t_p_value.nu),
    1 / (1 + _students_t_p_value.nu / nullif(_students_t_p_value.t * _students_t_p_value.t, 0))
  )
  where _students_t_p_value.t <> 0
  union all
  select 1
  where _students_t_p_value.t = 0;
end;

comment on function ml._students_t_p_value(float8, float8) is $$
Probability that Student's t with `nu` degrees of freedom is at least as far from 0 as t, both sides.
$$;

grant execute on function
  ml._log1p(float8),
  ml._log_gamma_correction(float8),
  ml._log_gamma(float8),
  ml._log_beta(float8, float8),
  ml._incomplete_beta(float8, float8, float8, float8),
  ml._incomplete_gamma(float8, float8, boolean),
  ml._normal_p_value(float8),
  ml._students_t_p_value(float8, float8)
to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/functions/_distributions.sql
--! Included ml/functions/normal_cdf.sql
create or replace function ml._standard_normal_cdf(z float8)
returns float8
language sql
immutable
parallel safe
begin atomic
  -- A bare expression, so that a generated statement over millions of rows inlines it.
  select case
    when z > 38 then 1
    when z < -38 then 0
    else case when z > 0 then 1 else 0 end + case when z > 0 then -1 else 1 end * exp(-z * z / 2)
      * case
        when abs(z) < 4 then
          ((((((3.52624965998911e-02 * abs(z) + 0.700383064443688) * abs(z) + 6.37396220353165) * abs(z) + 33.912866078383)
            * abs(z) + 112.079291497871) * abs(z) + 221.213596169931) * abs(z) + 220.206867912376)
          / (((((((8.83883476483184e-02 * abs(z) + 1.75566716318264) * abs(z) + 16.064177579207) * abs(z) + 86.7807322029461)
            * abs(z) + 296.564248779674) * abs(z) + 637.333633378831) * abs(z) + 793.826512519948) * abs(z) + 440.413735824752)
        else
          0.398942280401432677939946059934
            / (abs(z) + 1 / (abs(z) + 2 / (abs(z) + 3 / (abs(z) + 4 / (abs(z) + 5 / (abs(z) + 6 / (abs(z) + 7 /
              (abs(z) + 8 / (abs(z) + 9 / (abs(z) + 10 / (abs(z) + 11 / (abs(z) + 12 / (abs(z) + 13 /
              (abs(z) + 14 / (abs(z) + 15 / (abs(z) + 16 / (abs(z) + 17 / (abs(z) + 18 / (abs(z) + 19 /
              (abs(z) + 20 / abs(z)))))))))))))))))))))
      end
  end;
end;

comment on function ml._standard_normal_cdf(float8) is $$
Standard normal distribution function.
Hart's rational approximation for |z| < 4, a continued fraction beyond
(G. West, Better approximations to cumulative normal functions, Wilmott, 2005).
$$;

create or replace function ml.normal_cdf(x float8, mean float8 default 0, sd float8 default 1)
returns float8
language sql
immutable
parallel safe
begin atomic
  select ml._standard_normal_cdf((x - mean) / sd);
end;

comment on function ml.normal_cdf(float8, float8, float8) is $$
Normal distribution function: probability of a value up to x, with mean 0 and standard deviation 1 unless given.
Absolute error under 1e-15; in the lower tail twelve correct digits. 0 and 1 beyond 38 standard deviations.
$$;

grant execute on function ml._standard_normal_cdf(float8), ml.normal_cdf(float8, float8, float8)
to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/functions/normal_cdf.sql
--! Included ml/functions/normal_quantile.sql
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
  if not p > 0 or not p < 1 then
    raise exception using errcode = 'CF001', message = format('%s is not a probability between 0 and 1', p),
      hint = 'A quantile exists for 0 < p < 1.';
  end if;
  if p = 0.5 then
    return mean;
  end if;
  -- Abramowitz and Stegun 26.2.23 starts with an error of 4.5e-4; each step of Halley's method triples the digits
  v_t := sqrt(-2 * ln(v_tail));
  v_z := -(v_t - (2.515517 + 0.802853 * v_t + 0.010328 * v_t * v_t) / (1 + 1.432788 * v_t + 0.189269 * v_t * v_t + 0.001308 * v_t * v_t * v_t));
  for step in 1..3 loop
    v_error := (ml._incomplete_gamma(0.5, v_z * v_z / 2, true) / 2 - v_tail) * 2.506628274631000502415765284811 * exp(v_z * v_z / 2);
    v_z := v_z - v_error / (1 + v_z * v_error / 2);
  end loop;
  return mean + sd * case when p < 0.5 then v_z else -v_z end;
end
$$;

comment on function ml.normal_quantile(float8, float8, float8) is $$
Normal quantile: the value that a normal variable stays under with probability p, to about 14 digits.
Error CF001 unless 0 < p < 1.
$$;

grant execute on function ml.normal_quantile(float8, float8, float8) to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/functions/normal_quantile.sql
--! Included ml/functions/students_t_cdf.sql
create or replace function ml.students_t_cdf(x float8, nu float8)
returns float8
language sql
immutable
parallel safe
begin atomic
  select case
    when students_t_cdf.x < 0 then ml._students_t_p_value(students_t_cdf.x, students_t_cdf.nu) / 2
    else 1 - ml._students_t_p_value(students_t_cdf.x, students_t_cdf.nu) / 2
  end;
end;

comment on function ml.students_t_cdf(float8, float8) is $$
Student's t distribution function with nu > 0 degrees of freedom (not necessarily whole), by the incomplete beta function.
$$;

grant execute on function ml.students_t_cdf(float8, float8) to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/functions/students_t_cdf.sql
--! Included ml/functions/students_t_quantile.sql
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
  if not p > 0 or not p < 1 or not nu > 0 then
    raise exception using errcode = 'CF001', message = format('there is no quantile of Student''s t for p = %s and nu = %s', p, nu),
      hint = 'Give 0 < p < 1 and nu > 0.';
  end if;
  if p = 0.5 then
    return 0;
  end if;
  while ml._students_t_p_value(v_high, nu) / 2 > v_tail and v_high < 1e100 loop
    v_low := v_high;
    v_high := v_high * 4;
  end loop;
  v_t := (v_low + v_high) / 2;
  -- Newton inside a bracket: it can't leave, and ends quadratically
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
Quantile of Student's t with nu degrees of freedom, to about 13 digits; half the width of a confidence interval in standard errors.
Error CF001 unless 0 < p < 1 and nu > 0.
$$;

grant execute on function ml.students_t_quantile(float8, float8) to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/functions/students_t_quantile.sql
--! Included ml/functions/chi_squared_cdf.sql
create or replace function ml.chi_squared_cdf(x float8, nu float8)
returns float8
language sql
immutable
parallel safe
begin atomic
  select ml._incomplete_gamma(chi_squared_cdf.nu / 2, greatest(chi_squared_cdf.x, 0) / 2, false);
end;

comment on function ml.chi_squared_cdf(float8, float8) is $$
Chi-squared distribution function with nu > 0 degrees of freedom, by the incomplete gamma function.
$$;

grant execute on function ml.chi_squared_cdf(float8, float8) to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/functions/chi_squared_cdf.sql
--! Included ml/functions/fisher_f_cdf.sql
create or replace function ml.fisher_f_cdf(x float8, df1 float8, df2 float8)
returns float8
language sql
immutable
parallel safe
begin atomic
  select ml._incomplete_beta(
    fisher_f_cdf.df1 / 2,
    fisher_f_cdf.df2 / 2,
    fisher_f_cdf.df1 * greatest(fisher_f_cdf.x, 0) / (fisher_f_cdf.df1 * greatest(fisher_f_cdf.x, 0) + fisher_f_cdf.df2),
    fisher_f_cdf.df2 / (fisher_f_cdf.df1 * greatest(fisher_f_cdf.x, 0) + fisher_f_cdf.df2)
  );
end;

comment on function ml.fisher_f_cdf(float8, float8, float8) is $$
Fisher's F distribution function with df1 and df2 degrees of freedom, by the incomplete beta function.
$$;

grant execute on function ml.fisher_f_cdf(float8, float8, float8) to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/functions/fisher_f_cdf.sql
--! Included ml/functions/_design.sql
/*
 * How a regression reads its rows. A design is a jsonb object that ml._design makes once and the statements are made from:
 *
 *   relation, alias  the source as the caller sees it, and the name its columns may be qualified with
 *   y, y_type        expression and type of the dependent variable
 *   x, x_types       expressions and types of the independent variables; in `array` mode one expression and its element type
 *   groups           the quoted grouping columns
 *   width            number of coefficients, k
 *   exact            whether every value is an integer or a decimal, so that numeric sums are exact sums of the data
 *   clusters         quoted columns whose values make the clusters of a sandwich, as the column `cluster`
 *   status           whether the event was seen at y (survival), as the column `status`
 *   where            a condition on the rows, made by this room (folds), never by the caller
 *   literals         per coefficient the number written in array[1, ...], else null
 *   candidates       positions of columns that did not vary in the first thousand rows, and could be an intercept
 *   active           positions of all columns but the literals
 *   shift, scale     per coefficient: d = (x - shift) * scale is what is multiplied and summed; y_shift and y_scale for y
 *
 * Columns far from zero are centred near their medians, and very large or small ones scaled by powers of two, before
 * anything is multiplied: sums of squares of d lose nothing that x carried, overflow and underflow (errors in SQL) are out
 * of reach, and integers stay integers, whose sums are exact. Without a constant column nothing is shifted, since the model
 * would change.
 */
create or replace function ml._caller_error(state text, message text, relation regclass)
returns void
language plpgsql
as $$
declare
  v_name text := coalesce(substring(message from '"([^"]*)"'), substring(message from 'column ([^ ]+) '));
begin
  if state = '42703' then
    raise exception using errcode = 'CF002', message = format('"%s" has no column "%s"', relation, left(v_name, 100)),
      hint = coalesce(
        format('Did you mean "%s"?', ml._nearest(v_name, ml._columns(relation))),
        format('Its columns are %s.', array_to_string(ml._columns(relation), ', '))
      );
  elsif state = '42501' then
    raise exception using errcode = 'CF005', message = format('role "%s" may not read "%s": %s', current_user, relation, left(message, 100)),
      hint = 'Ask its owner for select.';
  elsif state in ('22003', '22P02') and message ~* 'overflow|underflow|out of range' then
    raise exception using errcode = 'CF007',
      message = format('the values of "%s" are too large or too small to be squared: %s', relation, left(message, 100)),
      hint = 'Use other units, so that the columns lie between 1e-100 and 1e100.';
  elsif left(state, 2) in ('22', '42', '0A', '54', '34') then
    raise exception using errcode = 'CF001',
      message = format('the expressions can not be evaluated over "%s": %s', relation, left(message, 100)),
      hint = 'Give columns, or one SQL expression over the columns of one row.';
  end if;
  raise exception using errcode = left(state, 5), message = left(message, 300);
end;
$$;

comment on function ml._caller_error(text, text, regclass) is $$
Raises what went wrong in a statement made of a caller's expressions as an error of class CF, naming what was meant.
$$;

create or replace function ml._sums(
  statement text,
  relation regclass
)
returns table (key text, complete boolean, row_count bigint, sums float8[])
language plpgsql
set jit to off
set extra_float_digits to 1
as $$
declare
  v_cursor refcursor;
  v_state text;
  v_message text;
begin
  -- A cursor takes one statement and no more, and opening it runs nothing; a cursor can't run in parallel, execute can.
  open v_cursor no scroll for execute statement;
  close v_cursor;
  return query execute statement;
exception when others then
  get stacked diagnostics v_state = returned_sqlstate, v_message = message_text;
  perform ml._caller_error(v_state, v_message, relation);
end;
$$;

comment on function ml._sums(text, regclass) is $$
Runs one generated statement of sums, as the caller and in parallel where the planner sees fit, and gives its rows.
Just-in-time compilation is off: for a hundred small aggregates it takes longer than it saves.
$$;

create or replace function ml._design(
  source_table text,
  dependent_varname text,
  independent_varname text,
  grouping_cols text
)
returns jsonb
language plpgsql
as $$
declare
  v_numbers constant regtype[] := '{boolean, smallint, integer, bigint, real, double precision, numeric}';
  v_relation constant regclass := ml._relation(source_table);
  v_alias constant text := (select quote_ident(relname) from pg_catalog.pg_class where oid = v_relation);
  v_groups constant text[] := ml._column_list(v_relation, grouping_cols, 'grouping columns');
  v_y_type constant regtype := ml._expression(dependent_varname, v_relation, 'dependent variable');
  v_inside constant text := substring(btrim(independent_varname, E' \t\r\n') from '^(?:[aA][rR][rR][aA][yY])\s*\[(.*)\]$');
  v_elements text[];
  v_element text;
  v_types regtype[] := '{}';
  v_x_type regtype;
  v_element_type regtype;
  v_array text;
  v_width integer;
begin
  if cardinality(ml._split(dependent_varname)) > 1 then
    raise exception using errcode = 'CF001',
      message = format('the dependent variable "%s" is more than one expression', left(dependent_varname, 100)),
      hint = 'Name one column, or one expression.';
  end if;
  perform ml._numeric_expression(dependent_varname, v_relation, 'dependent variable');
  -- array[a, b + c] is taken apart, so that the sums are over plain expressions and no array is built a million times;
  -- array[a] || array[b] only looks like one, which its brackets give away
  begin
    v_elements := ml._split(v_inside);
  exception when sqlstate 'CF001' then
    v_elements := null;
  end;
  if v_elements is not null then
    foreach v_element in array v_elements loop
      perform ml._numeric_expression(v_element, v_relation, 'independent variable');
      v_types := v_types || ml._expression(v_element, v_relation, 'independent variable');
    end loop;
    v_width := cardinality(v_elements);
  else
    if cardinality(ml._split(independent_varname)) > 1 then
      raise exception using errcode = 'CF001',
        message = format('the independent variable "%s" is a list, an array is due', left(independent_varname, 100)),
        hint = format('Write array[%s].', left(independent_varname, 100));
    end if;
    v_x_type := ml._expression(independent_varname, v_relation, 'independent variable');
    if v_x_type = any (v_numbers) then
      return ml._design(source_table, dependent_varname, format('array[%s]', independent_varname), grouping_cols);
    end if;
    select case when element.oid is not null then element.oid::regtype when type.typname in ('vector', 'halfvec') then 'real'::regtype end
    into v_element_type
    from pg_catalog.pg_type as type
    left join pg_catalog.pg_type as element on element.oid = type.typelem and type.typcategory = 'A'
    where type.oid = v_x_type;
    if v_element_type is null or v_element_type <> all (v_numbers) or v_element_type = 'boolean'::regtype then
      raise exception using errcode = 'CF001',
        message = format('independent variable: "%s" is of type %s, an array of numbers is due', left(independent_varname, 100), v_x_type),
        hint = 'Write array[1, x1, x2], or name a column of type float8[].';
    end if;
    v_array := format('((%s)::%s[])', independent_varname, v_element_type);
    v_types := array[v_element_type];
    v_width := (
      select probe.row_count
      from ml._sums(
        format(
          'select null::text, true, cardinality(%1$s)::bigint, null::float8[] from %2$s as %3$s where %1$s is not null limit 1',
          v_array, v_relation, v_alias
        ),
        v_relation
      ) as probe
    );
    if v_width is null then
      raise exception using errcode = 'CF004', message = format('"%s" has no row with an independent variable', v_relation),
        hint = 'Train on a table with rows.';
    end if;
  end if;
  if v_width > 250 or v_width = 0 then
    raise exception using errcode = 'CF008', message = format('%s independent variables; 1 to 250 can be fitted', v_width),
      hint = 'Choose some, or project them first with ml.pca_train.';
  end if;

  return ml._standardized(jsonb_build_object(
    'relation', v_relation::text,
    'alias', v_alias,
    'y', dependent_varname,
    'y_type', v_y_type::text,
    'x', to_jsonb(coalesce(v_elements, array[v_array])),
    'x_types', to_jsonb(v_types::text[]),
    'array', v_array is not null,
    'exact', 'real'::regtype <> all (v_types || v_y_type) and 'double precision'::regtype <> all (v_types || v_y_type),
    'groups', to_jsonb(v_groups),
    'width', v_width,
    'literals', (
      select jsonb_agg(case when v_elements[position] ~ '^[-+]?[0-9]+(\.[0-9]*)?$' then v_elements[position]::numeric end order by position)
      from generate_series(1, v_width) as position
    )
  ));
end;
$$;

comment on function ml._design(text, text, text, text) is $$
Reads what a regression is asked to fit: checks names, types and expressions, and looks at a first thousand rows to centre them.
Errors: CF001 (expression, type), CF002 (unknown; names the nearest), CF004 (no rows), CF005 (not readable), CF008 (too many columns).
$$;

create or replace function ml._cast(expression text, from_type text, to_type text)
returns text
language sql
immutable
parallel safe
begin atomic
  -- real and double precision become numeric by way of their shortest text, up to 17 digits, where the direct cast keeps 15
  select format(
    case
      when from_type = 'boolean' then '(%s)::int::%s'
      when to_type = 'numeric' and from_type in ('real', 'double precision') then '(%s)::text::%s'
      else '(%s)::%s'
    end,
    expression, to_type
  );
end;

comment on function ml._cast(text, text, text) is $$An expression of a known type, cast to float8 or numeric.$$;

create or replace function ml._values(design jsonb, type text)
returns text
language sql
stable
begin atomic
  select format(
    'select %s%s%s%s as y%s from %s as %s%s',
    coalesce((
      select string_agg(format('%s as g%s, ', name, position), '' order by position)
      from jsonb_array_elements_text(design -> 'groups') with ordinality as part (name, position)
    ), ''),
    'row(' || (select string_agg(name, ', ' order by nth)
      from jsonb_array_elements_text(design -> 'clusters') with ordinality as part (name, nth)) || ')::text as cluster, ',
    '(' || (design ->> 'status') || ')::int::float8 as status, ',
    ml._cast(design ->> 'y', design ->> 'y_type', type),
    (
      select string_agg(
        case
          when not (design ->> 'array')::boolean then
            format(', %s as x%s', ml._cast(design -> 'x' ->> position - 1, design -> 'x_types' ->> position - 1, type), position)
          -- a row of another length becomes NaN, which stops the training and is looked up then
          when position = 1 then format(
            ', case when cardinality(%1$s) <> %2$s then ''NaN'' else %3$s end as x1',
            design -> 'x' ->> 0, design ->> 'width', ml._cast(format('%s[1]', design -> 'x' ->> 0), design -> 'x_types' ->> 0, type)
          )
          else format(', %s as x%s', ml._cast(format('%s[%s]', design -> 'x' ->> 0, position), design -> 'x_types' ->> 0, type), position)
        end, '' order by position
      )
      from generate_series(1, (design ->> 'width')::int) as position
      where design -> 'literals' -> position - 1 = 'null'
    ),
    design ->> 'relation',
    design ->> 'alias',
    ' where ' || (design ->> 'where')
  );
end;

comment on function ml._values(jsonb, text) is $$
The select that evaluates a design's expressions row by row: g1 …, y, x1 … (literals left out), as float8 or numeric.
$$;

create or replace function ml._columns_of(design jsonb, prefix text, template text default '%s', separator text default ', ')
returns text
language sql
stable
begin atomic
  select coalesce(string_agg(format(template, prefix || position), separator order by position), '')
  from jsonb_array_elements_text(design -> 'active') with ordinality as active (value, nth), lateral (select value::int) as part (position);
end;

comment on function ml._columns_of(jsonb, text, text, text) is $$Text made of every active column of a design, such as `, d2, d3`.$$;

create or replace function ml._standardized(design jsonb)
returns jsonb
language plpgsql
as $$
declare
  v_width constant integer := (design ->> 'width')::int;
  v_active integer[] := array(
    select position from generate_series(1, v_width) as position where design -> 'literals' -> position - 1 = 'null' order by position
  );
  v_count constant integer := cardinality(v_active);
  v_design jsonb := design || jsonb_build_object('active', to_jsonb(v_active));
  v_sample float8[];
  v_shift float8[] := array_fill(0::float8, array[v_width]);
  v_scale float8[] := array_fill(1::float8, array[v_width]);
  v_candidates integer[] := '{}';
  v_constant boolean := design -> 'literals' @? '$[*] ? (@ != null)';
  v_middle float8;
  v_spread float8;
begin
  v_sample := (
    select sample.sums
    from ml._sums(
      format(
        'select null::text, true, count(*), array[%s] from (select * from (%s) as source where num_nulls(y%s) = 0 limit 1000) as head',
        (
          select string_agg(
            format('percentile_disc(0.5) within group (order by %1$s), coalesce(stddev_pop(%1$s), 0), (min(%1$s) = max(%1$s))::int', name),
            ', ' order by nth
          )
          from unnest('{y}'::text[] || (select array_agg('x' || position order by position) from unnest(v_active) as position))
            with ordinality as part (name, nth)
        ),
        ml._values(v_design, 'float8'),
        ml._columns_of(v_design, 'x', ', %s', '')
      ),
      (design ->> 'relation')::regclass
    ) as sample
  );

  for i in 1..v_count loop
    if v_sample[3 * i + 3] = 1 and v_sample[3 * i + 1] not in (0, 'NaN', 'Infinity', '-Infinity') then
      v_candidates := v_candidates || v_active[i];
    end if;
  end loop;
  v_constant := v_constant or v_candidates <> '{}';
  for i in 0..v_count loop
    v_middle := v_sample[3 * i + 1];
    v_spread := v_sample[3 * i + 2];
    if v_middle is null or v_middle in ('NaN', 'Infinity', '-Infinity') or not v_constant then
      v_spread := greatest(v_spread, abs(v_middle));
      v_middle := 0;
    elsif abs(v_middle) <= 2 * v_spread then
      -- near enough to its mean: half a digit is not worth two operations a row
      v_middle := 0;
    end if;
    v_spread := case
      when v_spread > 0 and v_spread < 'Infinity' and v_spread not between 1e-9 and 1e9
        then power(2::float8, -round(ln(v_spread) / ln(2::float8)))
      else 1
    end;
    if i = 0 then
      v_design := v_design || jsonb_build_object('y_shift', v_middle, 'y_scale', v_spread);
    else
      v_shift[v_active[i]] := v_middle;
      v_scale[v_active[i]] := v_spread;
    end if;
  end loop;
  return v_design || jsonb_build_object(
    'shift', to_jsonb(v_shift), 'scale', to_jsonb(v_scale), 'candidates', to_jsonb(v_candidates)
  );
end;
$$;

comment on function ml._standardized(jsonb) is $$
Adds to a design where its columns lie and how far they spread, from the medians and deviations of a first thousand rows.
Approximate is enough: what is subtracted is put back exactly.
$$;

create or replace function ml._centred(name text, shift float8, scale float8)
returns text
language sql
immutable
parallel safe
begin atomic
  select case when shift = 0 then name else format('(%s - %L::float8)', name, shift) end
    || case when scale = 1 then '' else format(' * %L::float8', scale) end;
end;

comment on function ml._centred(text, float8, float8) is $$The text of (name - shift) * scale, without what does nothing.$$;

create or replace function ml._layer(columns text, source text)
returns text
language sql
immutable
parallel safe
begin atomic
  -- The planner pastes the expressions of a subquery into whatever uses them, so eta would be computed afresh in each of a
  -- hundred sums. It leaves a subquery alone that calls a volatile function; pg_is_in_recovery is one that is parallel safe
  -- and costs no more than a variable. (`offset 0` and `materialized` forbid a parallel scan.)
  select format('select %s, pg_is_in_recovery() as layer from %s', columns, source);
end;

comment on function ml._layer(text, text) is $$
A select whose columns are computed once a row, however often they are used above it, and still in parallel.
$$;

create or replace function ml._rows(design jsonb)
returns text
language sql
stable
begin atomic
  select case when columns.plain then 'select ' || columns.list || ' from ' || columns.source else ml._layer(columns.list, columns.source) end
  from (
    select
      format('%s%s%s as key, %s as y%s, num_nulls(y%s%s) = 0 as complete',
        coalesce(grouped.columns || ', ', ''),
        case when design ? 'clusters' then 'cluster, ' else '' end || case when design ? 'status' then 'status, ' else '' end,
        coalesce('row(' || grouped.columns || ')::text', 'null::text'),
        ml._centred('y', (design ->> 'y_shift')::float8, (design ->> 'y_scale')::float8),
        coalesce(active.columns, ''),
        ml._columns_of(design, 'x', ', %s', ''),
        case when design ? 'status' then ', status' else '' end
      ) as list,
      format('(%s) as source', ml._values(design, 'float8')) as source,
      -- plain columns may be pasted: nothing is computed twice then, or (settled, see ml._settled) only by the one layer above
      not (design ->> 'array')::boolean
        and coalesce(active.named, true)
        and (
          design ? 'spread'
          or (design -> 'y_shift', design -> 'y_scale', design ->> 'y_type') = ('0', '1', 'double precision') and coalesce(active.plain, true)
        ) as plain
    from (
      select string_agg('g' || nth, ', ' order by nth) as columns
      from jsonb_array_elements(design -> 'groups') with ordinality as part (name, nth)
    ) as grouped
    cross join (
      select
        string_agg(
          format(', %s as d%s', ml._centred('x' || place, (design -> 'shift' ->> place - 1)::float8, (design -> 'scale' ->> place - 1)::float8), place),
          '' order by nth
        ) as columns,
        bool_and(
          (design -> 'shift' -> place - 1, design -> 'scale' -> place - 1, design -> 'x_types' ->> place - 1) = ('0', '1', 'double precision')
        ) as plain,
        bool_and(design -> 'x' ->> place - 1 ~ '^[a-zA-Z_0-9.]+$') as named
      from jsonb_array_elements_text(design -> 'active') with ordinality as list (value, nth), lateral (select value::int) as part (place)
    ) as active
  ) as columns;
end;

comment on function ml._rows(jsonb) is $$
The select that centres and scales a design's rows: g1 …, key (the group, as text), y, d1 …, complete (no null among them).
$$;

create or replace function ml._refuse_non_finite(design jsonb)
returns void
language plpgsql
as $$
declare
  v_relation constant regclass := (design ->> 'relation')::regclass;
  v_bare constant jsonb := design - 'where' || '{"groups": []}';
  v_key text;
  v_row text;
begin
  v_key := (
    select string_agg(format('%L || %I::text', attribute.attname || ' = ', attribute.attname), ' || '', '' || ' order by part.position)
    from pg_catalog.pg_index as index
    cross join lateral unnest(index.indkey::int2[]) with ordinality as part (attnum, position)
    join pg_catalog.pg_attribute as attribute on attribute.attrelid = index.indrelid and attribute.attnum = part.attnum
    where index.indrelid = v_relation
      and index.indisprimary
  );
  v_row := (
    select found.key
    from ml._sums(
      format(
        $statement$
        select key || case when width <> %s then format(' with %%s independent variables instead of %s', width) else '' end, true, 1::bigint, null::float8[]
        from (select %s as key, %s as width, source.* from %s as %s cross join lateral (%s) as source) as source
        where num_nulls(y%s) = 0 and (%s)
        limit 1
        $statement$,
        design ->> 'width',
        design ->> 'width',
        coalesce(v_key, format('left(%s::text, 200)', design ->> 'alias')),
        case when (design ->> 'array')::boolean then format('cardinality(%s)', design -> 'x' ->> 0) else design ->> 'width' end,
        design ->> 'relation',
        design ->> 'alias',
        -- the same expressions, over the row at hand
        left(ml._values(v_bare, 'float8'), -length(format(' from %s as %s', design ->> 'relation', design ->> 'alias'))),
        ml._columns_of(design, 'x', ', %s', ''),
        'y in (''NaN'', ''Infinity'', ''-Infinity'')' || ml._columns_of(design, 'x', ' or %s in (''NaN'', ''Infinity'', ''-Infinity'')', '')
      ),
      v_relation
    ) as found
  );
  raise exception using errcode = 'CF001',
    message = case
      when v_row is null then format('a sum over "%s" is not finite', v_relation)
      when v_row ~ 'instead of' then format('row (%s) of "%s"', v_row, v_relation)
      else format('row (%s) of "%s" holds NaN or infinity', v_row, v_relation)
    end,
    hint = 'Only finite numbers can be fitted; make the others null to have their rows skipped.';
end;
$$;

comment on function ml._refuse_non_finite(jsonb) is $$
Raises CF001 and names the row, by its primary key where it has one, that holds NaN, infinity or an array of another length.
Called when a sum came out non-finite, so that the ordinary training pays nothing for the check.
$$;

create or replace function ml._unscaled(
  beta float8[],
  covariance float8[],
  design jsonb,
  intercept integer,
  intercept_value float8,
  out coef float8[],
  out vcov float8[]
)
language plpgsql
immutable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_width constant integer := (design ->> 'width')::int;
  v_scale constant float8[] := array(select value::float8 from jsonb_array_elements_text(design -> 'scale') as value);
  v_shift constant float8[] := array(select value::float8 from jsonb_array_elements_text(design -> 'shift') as value);
  v_weight float8[] := array_fill(0::float8, array[v_width]);
  v_row float8[] := array_fill(0::float8, array[v_width]);
  v_sum float8;
begin
  -- x = shift + d / scale for a column, and the constant column stands for 1: coef = T beta, and its covariance T C T'
  coef := beta;
  for j in 1..v_width loop
    coef[j] := beta[j] * v_scale[j];
    v_weight[j] := v_scale[j] * v_shift[j];
  end loop;
  if intercept is not null then
    v_weight[intercept] := 0;
    v_sum := beta[intercept];
    for j in 1..v_width loop
      v_sum := v_sum - beta[j] * v_weight[j];
    end loop;
    coef[intercept] := v_sum / intercept_value;
  end if;
  if covariance is null then
    return;
  end if;
  vcov := covariance;
  if intercept is not null then
    for j in 1..v_width loop
      v_sum := covariance[intercept][j];
      for m in 1..v_width loop
        v_sum := v_sum - v_weight[m] * covariance[m][j];
      end loop;
      v_row[j] := v_sum / intercept_value;
    end loop;
    v_sum := v_row[intercept];
    for m in 1..v_width loop
      v_sum := v_sum - v_weight[m] * v_row[m];
    end loop;
  end if;
  for i in 1..v_width loop
    for j in 1..v_width loop
      if i = intercept and j = intercept then
        vcov[i][j] := v_sum / intercept_value;
      elsif i = intercept then
        vcov[i][j] := v_row[j] * v_scale[j];
      elsif j = intercept then
        vcov[i][j] := v_row[i] * v_scale[i];
      else
        vcov[i][j] := covariance[i][j] * v_scale[i] * v_scale[j];
      end if;
    end loop;
  end loop;
end
$$;

comment on function ml._unscaled(float8[], float8[], jsonb, integer, float8) is $$
Coefficients and their covariance in the caller's units.
They are made from those of the centred and scaled columns, in which the
constant column of value `intercept_value` at position `intercept` (null without one) counts as 1.
$$;

create or replace function ml._label(design jsonb, place integer)
returns text
language sql
stable
begin atomic
  select case
    when (design ->> 'array')::boolean then format('%s (element %s)', design -> 'x' ->> 0, place)
    else format('"%s"', design -> 'x' ->> place - 1)
  end;
end;

comment on function ml._label(jsonb, integer) is $$How a message calls the independent variable at a position.$$;

create or replace function ml._publish(
  out_table text,
  design jsonb,
  columns text,
  results jsonb,
  summary jsonb,
  summary_columns text
)
returns void
language plpgsql
as $$
declare
  v_groups constant text[] := array(select jsonb_array_elements_text(design -> 'groups'));
  v_names text := (select string_agg(quote_ident(split_part(btrim(part), ' ', 1)), ', ' order by position)
    from unnest(string_to_array(columns, ',')) with ordinality as column_definition (part, position));
begin
  if v_groups = '{}' then
    execute format('create table %s as select %s from jsonb_to_recordset(%L) as result (%s)', out_table, v_names, results, columns);
  else
    execute format(
      $statement$
      create table %1$s as
      select %2$s, %3$s
      from (select %2$s, row(%2$s)::text as key from %4$s as %5$s group by %2$s) as source
      join jsonb_to_recordset(%6$L) as result (key text, %7$s) using (key)
      $statement$,
      out_table, array_to_string(v_groups, ', '), v_names, design ->> 'relation', design ->> 'alias', results, columns
    );
  end if;
  execute format(
    'create table %s as select %s from jsonb_to_record(%L) as summary (%s)',
    ml._suffixed(out_table, '_summary'),
    (select string_agg(quote_ident(split_part(btrim(part), ' ', 1)), ', ' order by position)
      from unnest(string_to_array(summary_columns, ',')) with ordinality as column_definition (part, position)),
    summary, summary_columns
  );
exception when duplicate_column or ambiguous_column then
  raise exception using errcode = 'CF001', message = format('a grouping column of "%s" has the name of an output column', left(design ->> 'relation', 100)),
    hint = format('Rename it in a view; the output columns are %s.', left(v_names, 500));
end;
$$;

comment on function ml._publish(text, jsonb, text, jsonb, jsonb, text) is $$
Writes a model's output table, one row a group with the grouping columns in their own types, and its `_summary`.
`results` is an array of objects, with the group's `key` when there are groups; `columns` their names and types.
$$;

grant execute on function
  ml._caller_error(text, text, regclass),
  ml._sums(text, regclass),
  ml._design(text, text, text, text),
  ml._cast(text, text, text),
  ml._values(jsonb, text),
  ml._columns_of(jsonb, text, text, text),
  ml._standardized(jsonb),
  ml._centred(text, float8, float8),
  ml._layer(text, text),
  ml._rows(jsonb),
  ml._refuse_non_finite(jsonb),
  ml._unscaled(float8[], float8[], jsonb, integer, float8),
  ml._label(jsonb, integer),
  ml._publish(text, jsonb, text, jsonb, jsonb, text)
to insights_admin, insights_worker;
--! EndIncluded ml/functions/_design.sql
--! Included ml/functions/_least_squares.sql
/*
 * Least squares from sums, twice: in double precision, which says whether it can be trusted, and in numeric, which always can.
 * Both get their sums in one order: the sum of y and of each active column, then the upper triangle of the sums of products
 * over (y, active columns), row by row.
 */
create or replace function ml._product_sums(design jsonb, prefix text)
returns text
language sql
stable
begin atomic
  with variable as (
    select 0 as nth, 'y' as name
    union all
    select nth, prefix || value
    from jsonb_array_elements_text(design -> 'active') with ordinality as active (value, nth)
  ),
  product as (
    select row_variable.nth as row_nth, column_variable.nth as column_nth, format('sum(%s * %s)', row_variable.name, column_variable.name) as term
    from variable as row_variable
    join variable as column_variable on column_variable.nth >= row_variable.nth
  )
  select
    (select string_agg(format('sum(%s)', name), ', ' order by nth) from variable)
    || ', ' || (select string_agg(term, ', ' order by row_nth, column_nth) from product);
end;

comment on function ml._product_sums(jsonb, text) is $$
The built-in aggregates that make a Gram matrix of a design's columns and y, as the inside of one array constructor.
$$;

create or replace function ml._least_squares(
  row_count bigint,
  sums float8[],
  design jsonb,
  out beta float8[],
  out coef float8[],
  out inverse float8[],
  out rss float8,
  out r2 float8,
  out condition_no float8,
  out intercept integer,
  out intercept_value float8,
  out trusted boolean,
  out failure text
)
language plpgsql
immutable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_n constant float8 := row_count;
  v_width constant integer := (design ->> 'width')::int;
  v_active integer[] := array(select jsonb_array_elements_text(design -> 'active')::int);
  v_count constant integer := cardinality(v_active);
  v_candidates constant integer[] := array(select jsonb_array_elements_text(design -> 'candidates')::int);
  v_literal constant float8[] := array(select jsonb_array_elements_text(design -> 'literals')::float8);
  v_shift float8[] := array(select jsonb_array_elements_text(design -> 'shift')::float8);
  v_scale constant float8[] := array(select jsonb_array_elements_text(design -> 'scale')::float8);
  v_y_shift constant float8 := (design ->> 'y_shift')::float8;
  v_y_scale constant float8 := (design ->> 'y_scale')::float8;
  v_sum float8[] := array_fill(0::float8, array[v_count + 1]);
  v_product float8[] := array_fill(0::float8, array[v_count + 1, v_count + 1]);
  v_centred float8[];
  v_used integer[] := '{}';
  v_size integer;
  v_position integer;
  v_a float8[];
  v_root float8[];
  v_slope float8[];
  v_gram float8[];
  v_level float8[];
  v_covariance float8[];
  v_inverse float8[];
  v_dependent integer;
  v_row float8;
  v_largest float8 := 0;
  v_largest_inverse float8 := 0;
  v_explained float8 := 0;
  v_off_centre float8 := 1;
  v_at integer;
begin
  trusted := true;
  v_at := v_count + 1;
  for i in 1..v_count + 1 loop
    v_sum[i] := sums[i];
    for j in i..v_count + 1 loop
      v_at := v_at + 1;
      v_product[i][j] := sums[v_at];
      v_product[j][i] := sums[v_at];
    end loop;
  end loop;

  -- what plays the intercept: the first constant that was written or found
  for j in 1..v_width loop
    if v_literal[j] is not null then
      if v_literal[j] = 0 then
        failure := format('column %s is always 0', ml._label(design, j));
        return;
      elsif intercept is not null then
        failure := format('column %s is constant, and so is column %s', ml._label(design, j), ml._label(design, intercept));
        return;
      end if;
      intercept := j;
      intercept_value := v_literal[j];
    end if;
  end loop;
  if intercept is null then
    for i in 1..v_count loop
      if intercept is null and v_active[i] = any (v_candidates) and v_product[i + 1][i + 1] = 0 then
        intercept := v_active[i];
        intercept_value := v_shift[v_active[i]];
      end if;
    end loop;
  end if;
  for i in 1..v_count loop
    if v_active[i] is distinct from intercept then
      v_used := v_used || (i + 1);
    end if;
  end loop;
  v_size := cardinality(v_used);
  if v_n < v_width then
    failure := format('%s complete rows for %s columns', row_count, v_width);
    return;
  end if;

  -- moments about the mean with an intercept, about zero without
  v_centred := v_product;
  for i in 1..v_count + 1 loop
    for j in i..v_count + 1 loop
      if intercept is not null then
        v_centred[i][j] := v_product[i][j] - v_sum[i] * (v_sum[j] / v_n);
      else
        -- a candidate for the intercept that was none: the shift is taken back
        v_row := case when i = 1 then v_y_shift * v_y_scale else v_shift[v_active[i - 1]] * v_scale[v_active[i - 1]] end;
        v_explained := case when j = 1 then v_y_shift * v_y_scale else v_shift[v_active[j - 1]] * v_scale[v_active[j - 1]] end;
        v_centred[i][j] := v_product[i][j] + v_row * v_sum[j] + v_explained * v_sum[i] + v_n * v_row * v_explained;
      end if;
      v_centred[j][i] := v_centred[i][j];
    end loop;
  end loop;

  v_root := array_fill(1::float8, array[v_size + 1]);
  for i in 1..v_size loop
    v_row := v_centred[v_used[i]][v_used[i]];
    if v_row <= 1e-11 * v_product[v_used[i]][v_used[i]] or v_row <= 0 then
      -- nothing varies, or too little to tell
      if v_product[v_used[i]][v_used[i]] = 0 then
        failure := format('column %s is constant', ml._label(design, v_active[v_used[i] - 1]));
      end if;
      trusted := false;
      return;
    end if;
    v_root[i] := sqrt(v_row);
    v_off_centre := greatest(v_off_centre, v_product[v_used[i]][v_used[i]] / v_row);
  end loop;
  v_a := array_fill(0::float8, array[v_size, v_size]);
  for i in 1..v_size loop
    for j in 1..v_size loop
      v_a[i][j] := v_centred[v_used[i]][v_used[j]] / (v_root[i] * v_root[j]);
    end loop;
  end loop;
  select solved.inverse, solved.dependent into v_inverse, v_dependent from ml._spd_inverse(v_a, 1e-12) as solved;
  if v_dependent is not null then
    trusted := false;
    return;
  end if;

  v_slope := array_fill(0::float8, array[v_size + 1]);
  v_explained := 0;
  for i in 1..v_size loop
    v_row := 0;
    for j in 1..v_size loop
      v_row := v_row + v_inverse[i][j] * (v_centred[v_used[j]][1] / v_root[j]);
    end loop;
    v_slope[i] := v_row / v_root[i];
    v_explained := v_explained + v_slope[i] * v_centred[v_used[i]][1];
    v_row := 0;
    for j in 1..v_size loop
      v_row := v_row + abs(v_a[i][j]);
    end loop;
    v_largest := greatest(v_largest, v_row);
    v_row := 0;
    for j in 1..v_size loop
      v_row := v_row + abs(v_inverse[i][j]);
    end loop;
    v_largest_inverse := greatest(v_largest_inverse, v_row);
  end loop;
  rss := greatest(v_centred[1][1] - v_explained, 0);
  r2 := case when v_centred[1][1] > 0 then 1 - rss / v_centred[1][1] end;

  -- Rounding grows by the condition of the correlations, by what centring took away, and by what the fit leaves of y. Ten digits are kept
  -- where a second scan in numeric is cheap, six where it would take minutes.
  trusted := v_product[1][1] = 0
    or greatest(v_largest * v_largest_inverse, 1) * greatest(v_off_centre * v_centred[1][1], v_product[1][1]) * 4e-16
      <= rss * (case when v_n * v_size * v_size < 2e7 then 1e-10 else 1e-6 end);

  -- from the columns that were used to all of them
  beta := array_fill(0::float8, array[v_width]);
  v_covariance := array_fill(0::float8, array[v_width, v_width]);
  for i in 1..v_size loop
    v_position := v_active[v_used[i] - 1];
    beta[v_position] := v_slope[i] / v_y_scale;
    for j in 1..v_size loop
      v_covariance[v_position][v_active[v_used[j] - 1]] := v_inverse[i][j] / (v_root[i] * v_root[j]);
    end loop;
  end loop;
  if intercept is not null then
    v_explained := v_sum[1] / v_n;
    v_covariance[intercept][intercept] := 1 / v_n;
    for i in 1..v_size loop
      v_position := v_active[v_used[i] - 1];
      v_explained := v_explained - v_slope[i] * (v_sum[v_used[i]] / v_n);
      v_row := 0;
      for j in 1..v_size loop
        v_row := v_row - v_covariance[v_position][v_active[v_used[j] - 1]] * (v_sum[v_used[j]] / v_n);
      end loop;
      v_covariance[v_position][intercept] := v_row;
      v_covariance[intercept][v_position] := v_row;
      v_covariance[intercept][intercept] := v_covariance[intercept][intercept] - v_row * (v_sum[v_used[i]] / v_n);
    end loop;
    beta[intercept] := v_y_shift + v_explained / v_y_scale;
  end if;
  rss := rss / (v_y_scale * v_y_scale);

  select unscaled.coef, unscaled.vcov into coef, inverse
  from ml._unscaled(
    beta, v_covariance,
    -- without an intercept the shift was taken back
    design || case when intercept is null then jsonb_build_object('shift', to_jsonb(array_fill(0, array[v_width]))) else '{}' end,
    intercept, intercept_value
  ) as unscaled;

  -- X'X in the caller's units, for the condition number alone
  v_level := array_fill(0::float8, array[v_width]);
  v_gram := array_fill(0::float8, array[v_width, v_width]);
  for i in 1..v_count loop
    v_level[v_active[i]] := v_sum[i + 1] / v_scale[v_active[i]];
  end loop;
  for i in 1..v_width loop
    v_shift[i] := coalesce(v_literal[i], v_shift[i]);
  end loop;
  for i in 1..v_width loop
    for j in 1..v_width loop
      v_gram[i][j] := v_n * v_shift[i] * v_shift[j] + v_shift[i] * v_level[j] + v_shift[j] * v_level[i];
    end loop;
  end loop;
  for i in 1..v_count loop
    for j in 1..v_count loop
      v_gram[v_active[i]][v_active[j]] := v_gram[v_active[i]][v_active[j]]
        + v_product[i + 1][j + 1] / v_scale[v_active[i]] / v_scale[v_active[j]];
    end loop;
  end loop;
  condition_no := ml._condition_number(v_gram, inverse);
end
$$;

comment on function ml._least_squares(bigint, float8[], jsonb) is $$
Least squares in double precision from sums of centred, scaled columns.
`coef` and (X'X)^-1 (`inverse`) are in the caller's units,
`beta` for the columns as they are summed (the intercept counting as 1). `trusted` is false where too many digits were lost,
`failure` says why there is no fit at all: constant or collinear columns, fewer rows than columns.
$$;

create or replace function ml._least_squares_numeric(
  row_count bigint,
  sums numeric[],
  design jsonb,
  out beta float8[],
  out coef float8[],
  out inverse float8[],
  out rss float8,
  out r2 float8,
  out condition_no float8,
  out intercept integer,
  out intercept_value float8,
  out failure text
)
language plpgsql
immutable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_digits constant integer := 90;
  v_n constant numeric := row_count;
  v_width constant integer := (design ->> 'width')::int;
  v_literal constant numeric[] := array(select jsonb_array_elements_text(design -> 'literals')::numeric);
  v_active constant integer[] := array(select jsonb_array_elements_text(design -> 'active')::int);
  v_shift constant numeric[] := array(select jsonb_array_elements_text(design -> 'shift')::numeric);
  v_scale constant numeric[] := array(select jsonb_array_elements_text(design -> 'scale')::numeric);
  v_count constant integer := cardinality(v_active);
  v_sum numeric[] := array_fill(0::numeric, array[v_count + 1]);
  v_product numeric[] := array_fill(0::numeric, array[v_count + 1, v_count + 1]);
  v_moment numeric[];
  v_used integer[] := '{}';
  v_size integer;
  v_exponent integer[];
  v_root numeric[];
  v_r numeric[];
  v_inverse numeric[];
  v_dependent integer;
  v_slope numeric[];
  v_exact numeric[] := array_fill(0::numeric, array[v_width]);
  v_covariance numeric[] := array_fill(0::numeric, array[v_width, v_width]);
  v_gram numeric[] := array_fill(0::numeric, array[v_width, v_width]);
  v_one constant numeric := 1 + 0 * ('1e-' || v_digits)::numeric;
  v_constant numeric;
  v_value numeric;
  v_unit numeric;
  v_left numeric := 1;
  v_i integer;
  v_j integer;
  v_at integer;
begin
  v_at := v_count + 1;
  for i in 1..v_count + 1 loop
    v_sum[i] := sums[i];
    for j in i..v_count + 1 loop
      v_at := v_at + 1;
      v_product[i][j] := sums[v_at];
      v_product[j][i] := sums[v_at];
    end loop;
  end loop;
  for j in 1..v_width loop
    if v_literal[j] is not null then
      intercept := j;
      v_constant := v_literal[j];
    end if;
  end loop;
  if intercept is null then
    for i in 1..v_count loop
      -- constant exactly when the mean of the squares is the square of the mean
      if intercept is null and v_sum[i + 1] <> 0 and v_n * v_product[i + 1][i + 1] = v_sum[i + 1] * v_sum[i + 1] then
        intercept := v_active[i];
        v_constant := v_sum[i + 1] / v_n;
      end if;
    end loop;
  end if;
  intercept_value := v_constant;
  for i in 1..v_count loop
    if v_active[i] is distinct from intercept then
      v_used := v_used || (i + 1);
    end if;
  end loop;
  v_size := cardinality(v_used);
  -- y is treated as one more column, the last
  v_used := v_used || 1;

  v_moment := v_product;
  if intercept is not null then
    for i in 1..v_count + 1 loop
      for j in 1..v_count + 1 loop
        v_moment[i][j] := v_n * v_product[i][j] - v_sum[i] * v_sum[j];
      end loop;
    end loop;
  end if;

  -- to correlations: the decimal exponent first, so that `digits` decimals are as many significant figures
  v_exponent := array_fill(0, array[v_size + 1]);
  v_root := array_fill(1::numeric, array[v_size + 1]);
  for i in 1..v_size + 1 loop
    v_value := v_moment[v_used[i]][v_used[i]];
    if v_value = 0 and i <= v_size then
      failure := format('column %s is constant', ml._label(design, v_active[v_used[i] - 1]));
      return;
    elsif v_value > 0 then
      v_exponent[i] := floor(log(v_value) / 2);
      v_root[i] := sqrt(round(v_value * ('1e' || -2 * v_exponent[i])::numeric, v_digits));
    end if;
  end loop;
  v_r := array_fill(0::numeric, array[v_size + 1, v_size + 1]);
  for i in 1..v_size + 1 loop
    for j in 1..v_size + 1 loop
      v_r[i][j] := round(
        round(v_moment[v_used[i]][v_used[j]] * ('1e' || -(v_exponent[i] + v_exponent[j]))::numeric, v_digits)
        / round(v_root[i] * v_root[j], v_digits),
        v_digits
      );
    end loop;
  end loop;

  -- Exact data is collinear when nothing at all is left of a column. Values rounded to double precision leave about 1e-32
  -- of its variance where they should leave nothing.
  select solved.inverse, solved.dependent into v_inverse, v_dependent
  from ml._spd_inverse_numeric(
    v_r[1:v_size][1:v_size], case when (design ->> 'exact')::boolean then 1e-60 else 1e-28 end, v_digits
  ) as solved;
  if v_dependent is not null then
    failure := format('column %s is a linear combination of the columns before it', ml._label(design, v_active[v_used[v_dependent] - 1]));
    return;
  end if;

  v_slope := array_fill(0::numeric, array[v_size + 1]);
  for i in 1..v_size loop
    for j in 1..v_size loop
      v_slope[i] := v_slope[i] + round(v_inverse[i][j] * v_r[j][v_size + 1], v_digits);
    end loop;
    v_left := v_left - round(v_slope[i] * v_r[i][v_size + 1], v_digits);
  end loop;
  -- a perfect fit leaves only what the decimals could not hold
  if abs(v_left) < 1e-40 then
    v_left := 0;
  end if;
  v_unit := case when intercept is not null then v_n else 1 end;
  rss := v_moment[1][1] * v_left / v_unit;
  r2 := case when v_moment[1][1] > 0 then 1 - v_left end;

  for i in 1..v_size loop
    v_i := v_active[v_used[i] - 1];
    v_exact[v_i] := v_slope[i] * v_root[v_size + 1] / v_root[i] * ('1e' || v_exponent[v_size + 1] - v_exponent[i])::numeric;
    for j in 1..v_size loop
      v_j := v_active[v_used[j] - 1];
      v_covariance[v_i][v_j] := v_inverse[i][j] / (v_root[i] * v_root[j]) * v_unit * ('1e' || -(v_exponent[i] + v_exponent[j]))::numeric;
    end loop;
  end loop;
  for i in 1..v_count loop
    for j in 1..v_count loop
      v_gram[v_active[i]][v_active[j]] := v_product[i + 1][j + 1];
    end loop;
  end loop;
  if intercept is not null then
    v_left := v_sum[1];
    v_covariance[intercept][intercept] := v_one / (v_n * v_constant * v_constant);
    v_gram[intercept][intercept] := v_n * v_constant * v_constant;
    for i in 1..v_size loop
      v_i := v_active[v_used[i] - 1];
      v_left := v_left - v_exact[v_i] * v_sum[v_used[i]];
      v_unit := 0;
      for j in 1..v_size loop
        v_unit := v_unit - v_covariance[v_i][v_active[v_used[j] - 1]] * v_sum[v_used[j]];
      end loop;
      v_covariance[v_i][intercept] := v_unit / (v_n * v_constant);
      v_covariance[intercept][v_i] := v_covariance[v_i][intercept];
      v_covariance[intercept][intercept] := v_covariance[intercept][intercept]
        - v_covariance[v_i][intercept] * v_sum[v_used[i]] / (v_n * v_constant);
      v_gram[v_i][intercept] := v_sum[v_used[i]] * v_constant;
      v_gram[intercept][v_i] := v_gram[v_i][intercept];
    end loop;
    v_exact[intercept] := v_left / (v_n * v_constant);
  end if;
  coef := v_exact::float8[];
  inverse := v_covariance::float8[];
  condition_no := ml._condition_number(v_gram::float8[], inverse);

  -- the same model for the shifted and scaled columns, for a later look at the residuals
  beta := coef;
  v_left := 0;
  for j in 1..v_width loop
    if j <> coalesce(intercept, 0) then
      beta[j] := v_exact[j] / v_scale[j];
      v_left := v_left + v_exact[j] * v_shift[j];
    end if;
  end loop;
  if intercept is not null then
    beta[intercept] := v_exact[intercept] * v_constant + v_left;
  end if;
end
$$;

comment on function ml._least_squares_numeric(bigint, numeric[], jsonb) is $$
Least squares in numeric, ninety digits, from exact sums of the columns as they are; outputs as ml._least_squares.
Collinear columns are found by what is exactly nothing, not by a tolerance, when the data are integers and decimals.
$$;

grant execute on function
  ml._product_sums(jsonb, text),
  ml._least_squares(bigint, float8[], jsonb),
  ml._least_squares_numeric(bigint, numeric[], jsonb)
to insights_admin, insights_worker;
--! EndIncluded ml/functions/_least_squares.sql
--! Included ml/functions/linregr_train.sql
/*
 * One scan sums everything that ordinary least squares needs; the rest is k x k algebra. Where the correlations of the
 * columns, or a fit that is nearly perfect, would leave fewer than ten digits of a double, the sums are taken once more in
 * numeric, exactly: so the certified digits of NIST's hardest data sets come out, and easy data pay nothing for it.
 */
create or replace function ml._numeric_sums(design jsonb, keys text[])
returns table (key text, complete_count bigint, skipped_count bigint, sums numeric[])
language plpgsql
as $$
declare
  v_columns constant text := ml._columns_of(design, 'x', ', %s', '');
  v_state text;
  v_message text;
begin
  return query execute format(
    'select key, count(*) filter (where complete), count(*) filter (where not complete), array[%s] from (%s) as row where key = any (%L) group by key',
    replace(ml._product_sums(design, 'x'), ')', ') filter (where complete)'),
    ml._layer(
      format('y%s, num_nulls(y%s) = 0 as complete, %s as key', v_columns, v_columns, coalesce(
        (select format('row(%s)::text', string_agg('g' || nth, ', ' order by nth))
          from jsonb_array_elements(design -> 'groups') with ordinality as part (name, nth) having count(*) > 0),
        '''''::text'
      )),
      format('(%s) as source', ml._values(design, 'numeric'))
    ),
    keys
  );
exception when others then
  get stacked diagnostics v_state = returned_sqlstate, v_message = message_text;
  perform ml._caller_error(v_state, v_message, (design ->> 'relation')::regclass);
end;
$$;

comment on function ml._numeric_sums(jsonb, text[]) is $$
The sums of a design once more, exactly, for the groups named by key (one empty key without groups).
$$;

create or replace function ml._linregr_fits(
  design jsonb,
  out key text,
  out row_count bigint,
  out skipped bigint,
  out arithmetic text,
  out beta float8[],
  out coef float8[],
  out inverse float8[],
  out rss float8,
  out r2 float8,
  out condition_no float8,
  out intercept integer,
  out failure text
)
returns setof record
language plpgsql
as $$
declare
  v_relation constant regclass := (design ->> 'relation')::regclass;
  v_doubtful text[] := '{}';
  v_group record;
  v_fit record;
begin
  for v_group in
    select
      part.key,
      coalesce(sum(part.row_count) filter (where part.complete), 0)::bigint as complete_count,
      coalesce(sum(part.row_count) filter (where not part.complete), 0)::bigint as skipped_count,
      max(part.sums) filter (where part.complete) as sums
    from ml._sums(
      format(
        'select key, complete, count(*), case when complete then array[%s] end from (%s) as row group by key, complete',
        ml._product_sums(design, 'd'), ml._rows(design)
      ),
      v_relation
    ) as part
    group by part.key
  loop
    key := v_group.key;
    row_count := v_group.complete_count;
    skipped := v_group.skipped_count;
    arithmetic := 'float8';
    if row_count = 0 then
      v_fit := null;
      failure := 'no row without a null';
      beta := null;
      coef := null;
      inverse := null;
      return next;
      continue;
    end if;
    if v_group.sums && array['NaN', 'Infinity', '-Infinity']::float8[] then
      perform ml._refuse_non_finite(design);
    end if;
    v_fit := ml._least_squares(row_count, v_group.sums, design);
    if not v_fit.trusted and v_fit.failure is null then
      v_doubtful := v_doubtful || coalesce(key, '');
      continue;
    end if;
    beta := v_fit.beta;
    coef := v_fit.coef;
    inverse := v_fit.inverse;
    rss := v_fit.rss;
    r2 := v_fit.r2;
    condition_no := v_fit.condition_no;
    intercept := v_fit.intercept;
    failure := v_fit.failure;
    return next;
  end loop;

  if v_doubtful <> '{}' then
    for v_group in select * from ml._numeric_sums(design, v_doubtful) loop
      v_fit := ml._least_squares_numeric(v_group.complete_count, v_group.sums, design);
      key := case when design -> 'groups' <> '[]' then v_group.key end;
      row_count := v_group.complete_count;
      skipped := v_group.skipped_count;
      arithmetic := 'numeric';
      beta := v_fit.beta;
      coef := v_fit.coef;
      inverse := v_fit.inverse;
      rss := v_fit.rss;
      r2 := v_fit.r2;
      condition_no := v_fit.condition_no;
      intercept := v_fit.intercept;
      failure := v_fit.failure;
      return next;
    end loop;
  end if;
end;
$$;

comment on function ml._linregr_fits(jsonb) is $$
Ordinary least squares, one row a group: in double precision where that is enough, else in numeric (`arithmetic` says which).
$$;

create or replace function ml._fit_failed(failure text, relation text)
returns void
language plpgsql
set search_path to pg_catalog, pg_temp
as $$
begin
  if failure ~ 'without a null|rows for' then
    raise exception using errcode = 'CF004', message = format('"%s" has too few rows: %s', left(relation, 100), left(failure, 100)),
      hint = 'A model needs at least as many rows without nulls as it has columns.';
  elsif failure ~ 'one class only|of the . categories' then
    raise exception using errcode = 'CF004', message = format('"%s" can not be classified: %s', left(relation, 100), left(failure, 100)),
      hint = 'Both classes must occur among the rows without nulls.';
  end if;
  raise exception using errcode = 'CF007', message = format('"%s" does not determine the coefficients: %s', left(relation, 100), left(failure, 100)),
    hint = 'Leave the column out, or fit with a ridge penalty: ml.elastic_net_train with alpha 0 and a small lambda_value, or ml.ridge_train.';
end;
$$;

comment on function ml._fit_failed(text, text) is $$
Raises why a model could not be fitted: CF004 (too few rows, one class) or CF007 (constant, collinear, separated).
$$;

create or replace function ml._wald(
  coef float8[],
  covariance float8[],
  df float8,
  out std_err float8[],
  out stats float8[],
  out p_values float8[]
)
language sql
immutable
parallel safe
begin atomic
  select
    array_agg(se order by position),
    array_agg(stat order by position),
    array_agg(case when df is null then ml._normal_p_value(stat) else ml._students_t_p_value(stat, df) end order by position)
  from (
    select position, se, case when se > 0 then value / se end as stat
    from unnest(coef) with ordinality as estimate (value, position)
    cross join lateral (select sqrt(greatest(covariance[position::int][position::int], 0))) as error (se)
  ) as tested;
end;

comment on function ml._wald(float8[], float8[], float8) is $$
Standard errors, coefficients over standard errors, and two-sided p values.
By Student's t with `df` degrees of freedom or, when that is null, by the normal distribution.
$$;

create or replace function ml._scaled(matrix float8[], factor float8)
returns float8[]
language plpgsql
immutable
parallel safe
strict
set search_path to pg_catalog, pg_temp
as $$
declare
  v_matrix float8[] := matrix;
begin
  for i in 1..array_length(matrix, 1) loop
    for j in 1..array_length(matrix, 2) loop
      v_matrix[i][j] := v_matrix[i][j] * factor;
    end loop;
  end loop;
  return v_matrix;
end;
$$;

comment on function ml._scaled(float8[], float8) is $$A matrix times a number.$$;

create or replace function ml._residuals(design jsonb, fits jsonb, extra text default '')
returns text
language plpgsql
set search_path to pg_catalog, pg_temp
as $$
declare
  v_active constant integer[] := array(select jsonb_array_elements_text(design -> 'active')::int);
  v_grouped constant boolean := design -> 'groups' <> '[]';
begin
  -- One more scan that carries the model of each row's group: residual e = y - b0 - sum b d, in y's own unit.
  return ml._layer(
    format(
      'row.key%s%s, row.y / %L::float8 + %L::float8 - fit.b0%s as e, fit.mean_square',
      ml._columns_of(design, 'd', ', row.%s', ''),
      extra,
      design ->> 'y_scale',
      design ->> 'y_shift',
      (select coalesce(string_agg(format(' - fit.b%s * row.d%s', position, position), '' order by position), '')
        from unnest(v_active) as position)
    ),
    format('(select * from (%s) as row where complete) as row ', ml._rows(design)) || format(
      case when v_grouped then 'join (%s) as fit on fit.key = row.key' else 'cross join (%s) as fit' end,
      (
        select format(
          'select * from unnest(%L::text[], %L::float8[], %L::float8[]%s) as fit (key, mean_square, b0%s)',
          array_agg(coalesce(fit ->> 'key', '') order by nth),
          array_agg((fit ->> 'mean_square')::float8 order by nth),
          array_agg(coalesce((fit -> 'beta' ->> (fit ->> 'intercept')::int - 1)::float8, (
            -- no intercept: what the shift of the columns amounts to
            select sum((fit -> 'beta' ->> position - 1)::float8 * (design -> 'scale' ->> position - 1)::float8 * (design -> 'shift' ->> position - 1)::float8)
            from unnest(v_active) as position
          )) order by nth),
          (
            select coalesce(string_agg(
              format(', %L::float8[]', (
                select array_agg(case when position = (one ->> 'intercept')::int then 0 else (one -> 'beta' ->> position - 1)::float8 end order by one_nth)
                from jsonb_array_elements(fits) with ordinality as each_fit (one, one_nth)
              )), '' order by position
            ), '')
            from unnest(v_active) as position
          ),
          (select coalesce(string_agg(format(', b%s', position), '' order by position), '') from unnest(v_active) as position)
        )
        from jsonb_array_elements(fits) with ordinality as every_fit (fit, nth)
      )
    )
  );
end;
$$;

comment on function ml._residuals(jsonb, jsonb, text) is $$
The select that gives each complete row its residual `e` under its group's model, beside its columns d….
`fits` is an array of
objects with `key`, `beta`, `intercept` and `mean_square`. `extra` is more text for the select list.
$$;

create or replace function ml.linregr_train(
  source_table text,
  out_table text,
  dependent_varname text,
  independent_varname text,
  grouping_cols text default null,
  heteroskedasticity_option boolean default false
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_output text := ml._output(out_table, array['_summary']);
  v_design jsonb := ml._design(source_table, dependent_varname, independent_varname, grouping_cols);
  v_width integer := (v_design ->> 'width')::int;
  v_result jsonb[] := '{}';
  v_fits jsonb[] := '{}';
  v_breusch_pagan jsonb := '{}';
  v_rows bigint := 0;
  v_skipped bigint := 0;
  v_failed bigint := 0;
  v_fit record;
  v_mean_square float8;
  v_wald record;
begin
  for v_fit in select * from ml._linregr_fits(v_design) loop
    v_rows := v_rows + v_fit.row_count;
    v_skipped := v_skipped + v_fit.skipped;
    if v_fit.failure is not null then
      if v_design -> 'groups' = '[]' then
        perform ml._fit_failed(v_fit.failure, v_design ->> 'relation');
      end if;
      v_failed := v_failed + 1;
      v_result := v_result || jsonb_build_object(
        'key', v_fit.key, 'num_rows_processed', v_fit.row_count, 'num_missing_rows_skipped', v_fit.skipped, 'failure', v_fit.failure
      );
      continue;
    end if;
    v_mean_square := case when v_fit.row_count > v_width then v_fit.rss / (v_fit.row_count - v_width) end;
    v_wald := ml._wald(v_fit.coef, ml._scaled(v_fit.inverse, v_mean_square), v_fit.row_count - v_width);
    v_fits := v_fits || jsonb_build_object(
      'key', v_fit.key, 'beta', to_jsonb(v_fit.beta), 'intercept', v_fit.intercept, 'mean_square', v_fit.rss / v_fit.row_count,
      'inverse', case when heteroskedasticity_option then to_jsonb(v_fit.inverse) end, 'row_count', v_fit.row_count
    );
    v_result := v_result || jsonb_build_object(
      'key', v_fit.key,
      'coef', to_jsonb(v_fit.coef),
      'r2', v_fit.r2,
      'std_err', case when v_mean_square is not null then to_jsonb(v_wald.std_err) end,
      't_stats', case when v_mean_square is not null then to_jsonb(v_wald.stats) end,
      'p_values', case when v_mean_square is not null then to_jsonb(v_wald.p_values) end,
      'condition_no', v_fit.condition_no,
      'num_rows_processed', v_fit.row_count,
      'num_missing_rows_skipped', v_fit.skipped,
      'variance_covariance', to_jsonb(ml._scaled(v_fit.inverse, v_mean_square)),
      'arithmetic', v_fit.arithmetic
    );
  end loop;
  if v_result = '{}' then
    raise exception using errcode = 'CF004', message = format('"%s" has no rows', left(v_design ->> 'relation', 100)),
      hint = 'Train on a table with rows.';
  elsif v_fits = '{}' then
    perform ml._fit_failed(v_result[1] ->> 'failure', v_design ->> 'relation');
  end if;

  if heteroskedasticity_option then
    v_breusch_pagan := ml._breusch_pagan(v_design, to_jsonb(v_fits));
    v_result := array(
      select result || coalesce(v_breusch_pagan -> coalesce(result ->> 'key', ''), '{}')
      from unnest(v_result) as result
    );
  end if;

  perform ml._publish(
    v_output, v_design,
    'coef float8[], r2 float8, std_err float8[], t_stats float8[], p_values float8[], condition_no float8, '
      || case when heteroskedasticity_option then 'bp_stats float8, bp_p_value float8, ' else '' end
      || 'num_rows_processed bigint, num_missing_rows_skipped bigint, variance_covariance float8[], arithmetic text, failure text',
    to_jsonb(v_result),
    jsonb_build_object(
      'method', 'linregr',
      'source_table', source_table,
      'out_table', out_table,
      'dependent_varname', dependent_varname,
      'independent_varname', independent_varname,
      'num_rows_processed', v_rows,
      'num_missing_rows_skipped', v_skipped,
      'grouping_cols', grouping_cols,
      'num_all_groups', cardinality(v_result),
      'num_failed_groups', v_failed
    ),
    'method text, source_table text, out_table text, dependent_varname text, independent_varname text, '
      || 'num_rows_processed bigint, num_missing_rows_skipped bigint, grouping_cols text, num_all_groups bigint, num_failed_groups bigint'
  );
end;
$$;

create or replace function ml._breusch_pagan(design jsonb, fits jsonb)
returns jsonb
language plpgsql
as $$
declare
  v_width constant integer := (design ->> 'width')::int;
  v_active constant integer[] := array(select jsonb_array_elements_text(design -> 'active')::int);
  v_scale constant float8[] := array(select jsonb_array_elements_text(design -> 'scale')::float8);
  v_shift constant float8[] := array(select jsonb_array_elements_text(design -> 'shift')::float8);
  v_result jsonb := '{}';
  v_group record;
  v_sums float8[];
  v_weight float8[];
  v_explained float8;
  v_statistic float8;
begin
  for v_group in
    select part.row_count, part.sums, fit.value as fit
    from ml._sums(
      format(
        'select key, true, count(*), array[sum(u), sum(u * u)%s] from (%s) as row group by key',
        ml._columns_of(design, 'd', ', sum(u * %s)', ''),
        ml._layer(
          'key, e * e / nullif(mean_square, 0) - 1 as u' || ml._columns_of(design, 'd', ', %s', ''),
          format('(%s) as residual', ml._residuals(design, fits))
        )
      ),
      (design ->> 'relation')::regclass
    ) as part
    join jsonb_array_elements(fits) as fit on coalesce(fit.value ->> 'key', '') = coalesce(part.key, '')
  loop
    -- the squared residuals, as multiples of their mean, regressed on the same columns: n R^2 (Koenker 1981)
    v_sums := v_group.sums;
    v_weight := array_fill(0::float8, array[v_width]);
    for i in 1..cardinality(v_active) loop
      v_weight[v_active[i]] := v_sums[i + 2] / v_scale[v_active[i]]
        + case when v_group.fit ->> 'intercept' is null then v_sums[1] * v_shift[v_active[i]] else 0 end;
    end loop;
    if v_group.fit ->> 'intercept' is not null then
      v_weight[(v_group.fit ->> 'intercept')::int] := 0;
    end if;
    v_explained := 0;
    for i in 1..v_width loop
      for j in 1..v_width loop
        v_explained := v_explained + v_weight[i] * v_weight[j] * (v_group.fit -> 'inverse' -> i - 1 ->> j - 1)::float8;
      end loop;
    end loop;
    v_statistic := v_group.row_count * v_explained / nullif(v_sums[2] - v_sums[1] * v_sums[1] / v_group.row_count, 0);
    v_result := v_result || jsonb_build_object(
      coalesce(v_group.fit ->> 'key', ''),
      jsonb_build_object(
        'bp_stats', v_statistic,
        'bp_p_value', ml._incomplete_gamma(greatest(v_width - 1, 1) / 2.0, v_statistic / 2, true)
      )
    );
  end loop;
  return v_result;
end;
$$;

comment on function ml._breusch_pagan(jsonb, jsonb) is $$
Breusch and Pagan's test for residuals whose spread depends on the columns, in Koenker's form n R^2, by group key.
$$;

comment on function ml.linregr_train(text, text, text, text, text, boolean) is $$
@behavior -*
Ordinary least squares, as MADlib's: one model, or one for each value of the grouping columns.
`dependent_varname` is a column or expression; `independent_varname` an array: `array[1, tax, bath]` or a column of type
float8[]. No intercept is added: write the 1. Rows with a null are skipped and counted; NaN and infinity are an error.
Writes `out_table`: the grouping columns, coef, r2, std_err, t_stats, p_values (Student's t), condition_no (of X),
bp_stats and bp_p_value (Breusch-Pagan in Koenker's form, with `heteroskedasticity_option`), num_rows_processed,
num_missing_rows_skipped, variance_covariance, and beyond MADlib's `arithmetic` (`float8`, or `numeric` where double
precision would keep fewer than ten digits) and `failure` (why a group could not be fitted); and `<out_table>_summary`.
r2 is about the mean when a constant is among the columns, else about zero (as R and NIST).
One parallel scan; a second, exact one in numeric only where needed. At most 250 columns.
Errors: CF001 (not a number, not finite: names the row), CF002 (unknown table or column: names the nearest), CF003 (output
exists), CF004 (no rows, fewer than columns), CF005 (not readable), CF007 (constant or collinear column: names it), CF008.
Source: Golub and Van Loan, Matrix Computations; MADlib's linregr_train; certified against NIST StRD.
$$;

grant execute on function
  ml._numeric_sums(jsonb, text[]),
  ml._linregr_fits(jsonb),
  ml._fit_failed(text, text),
  ml._wald(float8[], float8[], float8),
  ml._scaled(float8[], float8),
  ml._residuals(jsonb, jsonb, text),
  ml._breusch_pagan(jsonb, jsonb),
  ml.linregr_train(text, text, text, text, text, boolean)
to insights_admin, insights_worker;
--! EndIncluded ml/functions/linregr_train.sql
--! Included ml/functions/linregr_predict.sql
create or replace function ml.linregr_predict(coef float8[], col_ind float8[])
returns float8
language plpgsql
immutable
parallel safe
strict
set search_path to pg_catalog, pg_temp
as $$
declare
  v_sum float8 := 0;
begin
  if cardinality(coef) <> cardinality(col_ind) then
    raise exception using errcode = 'CF001',
      message = format('%s coefficients, but %s independent variables', cardinality(coef), cardinality(col_ind)),
      hint = 'Give the same array as in training, the constant 1 included.';
  end if;
  for i in 1..cardinality(coef) loop
    v_sum := v_sum + coef[i] * col_ind[i];
  end loop;
  return v_sum;
end;
$$;

comment on function ml.linregr_predict(float8[], float8[]) is $$
Prediction of a linear model: the sum of coef times col_ind, which is the array of the training with the 1 included.
Null when either is null or holds a null. Error CF001 when their lengths differ.
$$;

grant execute on function ml.linregr_predict(float8[], float8[]) to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/functions/linregr_predict.sql
--! Included ml/functions/_glm.sql
/*
 * Fisher scoring (iteratively reweighted least squares) for generalized linear models. Each iteration is one generated
 * statement of built-in sums, in parallel where the table is large, for all groups at once; groups that are done drop out.
 * In the statement eta, mu and the weights are made layer by layer, so that nothing is computed twice a row.
 */
create or replace function ml._glm_terms(
  family text,
  link text,
  mean float8,
  out mu text,
  out rest text,
  out slope text,
  out variance text,
  out deviance text,
  out start_mu text,
  out start_eta text
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  -- mu and the rest 1 - mu (binomial only), null outside the link's range; slope d mu / d eta; bounds keep exp from overflow
  mu := case link
    when 'identity' then case when family = 'gaussian' then 'eta' else 'case when eta > 0 then eta end' end
    when 'log' then 'exp(least(greatest(eta, -200), 200))'
    when 'logit' then '1 / (1 + exp(least(greatest(-eta, -100), 100)))'
    when 'probit' then 'ml._standard_normal_cdf(least(greatest(eta, -30), 30))'
    when 'inverse' then case when family = 'gaussian' then 'case when abs(eta) > 1e-30 then 1 / eta end' else 'case when eta > 1e-30 then 1 / eta end' end
    when 'sqr_inverse' then 'case when eta > 1e-60 then 1 / sqrt(eta) end'
    when 'sqrt' then 'case when eta > 0 and eta < 1e100 then eta * eta end'
  end;
  rest := case link
    when 'logit' then '1 / (1 + exp(least(greatest(eta, -100), 100)))'
    when 'probit' then 'ml._standard_normal_cdf(-least(greatest(eta, -30), 30))'
    else 'null::float8'
  end;
  slope := case link
    when 'identity' then '1'
    when 'log' then 'mu'
    when 'logit' then 'mu * rest'
    when 'probit' then '0.39894228040143267794 * exp(-least(eta * eta, 900) / 2)'
    when 'inverse' then '-mu * mu'
    when 'sqr_inverse' then '-mu * mu * mu / 2'
    when 'sqrt' then '2 * eta'
  end;
  variance := case family
    when 'gaussian' then '1'
    when 'binomial' then 'mu * rest'
    when 'poisson' then 'mu'
    when 'gamma' then 'mu * mu'
    when 'inverse_gaussian' then 'mu * mu * mu'
  end;
  deviance := case family
    when 'gaussian' then '(y - mu) * (y - mu)'
    when 'binomial' then '-2 * ln(case when y = 1 then mu else rest end)'
    when 'poisson' then '2 * (case when y > 0 then y * ln(y / mu) else 0 end - (y - mu))'
    when 'gamma' then '2 * ((y - mu) / mu - ln(y / mu))'
    when 'inverse_gaussian' then '(y - mu) * (y - mu) / (y * mu * mu)'
  end;
  -- where to begin: near each row's own value (McCullagh and Nelder, 2.5)
  start_mu := case family
    when 'gaussian' then case link
      when 'identity' then 'y'
      when 'log' then format('greatest(y, %L::float8)', mean / 10)
      else format('case when abs(y) < %1$L::float8 then %2$L::float8 else y end', abs(mean) / 10, mean)
    end
    when 'binomial' then '(y + 0.5) / 2'
    when 'poisson' then 'y + 0.1'
    else 'y'
  end;
  start_eta := case link
    when 'identity' then 'mu'
    when 'log' then 'ln(mu)'
    when 'logit' then 'ln(mu / rest)'
    when 'probit' then '(y * 2 - 1) * 0.67448975019608174320'
    when 'inverse' then '1 / mu'
    when 'sqr_inverse' then '1 / (mu * mu)'
    when 'sqrt' then 'sqrt(mu)'
  end;
end;
$$;

comment on function ml._glm_terms(text, text, float8) is $$
The SQL of a family and link (McCullagh and Nelder, Generalized Linear Models, table 2.1) in terms of eta, mu, rest and y.
$$;

create or replace function ml._model_of_group(design jsonb, keys text[], beta float8[], variables integer[])
returns text
language sql
stable
begin atomic
  -- b0 … beside each group's key and number; written into the statement, for a join of tables could not run in parallel
  select case
    when design -> 'groups' = '[]' then format('cross join (select 1 as nth%s) as fit', listed.scalars)
    else format('join unnest(%L::text[], %L::int[]%s) as fit (key, nth%s) on fit.key = row.key', keys, numbers.nth, listed.arrays, listed.names)
  end
  from (
    select
      coalesce(string_agg(format(', %L::float8 as b%s', beta[place], variable), '' order by place), '') as scalars,
      coalesce(string_agg(format(', %L::float8[]', (
        select array_agg(beta[(key_nth - 1) * cardinality(variables) + place] order by key_nth)
        from generate_series(1, cardinality(keys)) as key_nth
      )), '' order by place), '') as arrays,
      coalesce(string_agg(format(', b%s', variable), '' order by place), '') as names
    from unnest(variables) with ordinality as list (variable, place)
    where beta is not null
  ) as listed
  cross join (select array_agg(nth order by nth) as nth from generate_series(1, cardinality(keys)) as nth) as numbers;
end;

comment on function ml._model_of_group(jsonb, text[], float8[], integer[]) is $$
The join that gives each row (`row`) its group's number and coefficients, `fit.b0` for the intercept and `fit.b2` … by position.
`beta` holds the groups one after another.
$$;

create or replace function ml._linear_predictor(variables integer[], prefix text default '')
returns text
language sql
immutable
parallel safe
begin atomic
  select string_agg(
    case when variable = 0 then 'fit.b0' else format('fit.b%s * %sd%s', variable, prefix, variable) end, ' + ' order by place
  )
  from unnest(variables) with ordinality as list (variable, place);
end;

comment on function ml._linear_predictor(integer[], text) is $$The sum of coefficients times columns, as text.$$;

create or replace function ml._glm_source(
  design jsonb,
  family text,
  link text,
  mean float8,
  keys text[],
  beta float8[],
  variables integer[]
)
returns text
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_terms record := ml._glm_terms(family, link, mean);
  v_columns text[] := array(select 'd' || variable from unnest(variables) as variable where variable > 0);
  v_carried text := (select coalesce(string_agg(', ' || name, '' order by nth), '')
    from unnest(v_columns) with ordinality as list (name, nth))
    || case when design ? 'clusters' then ', cluster' else '' end;
  v_source text;
begin
  -- row: the columns; first: eta; second: mu; third: weight, score and deviance
  v_source := format('(select * from (%s) as row where complete) as row %s', ml._rows(design), ml._model_of_group(design, keys, beta, variables));
  if beta is null then
    v_source := format('(%s) as first', ml._layer(format('fit.nth, row.y%s', replace(v_carried, ', ', ', row.')), v_source));
    v_source := format('(%s) as second', ml._layer(
      format('nth, y%s, %s as mu, %s as rest', v_carried, v_terms.start_mu, case when family = 'binomial' then '(1.5 - y) / 2' else 'null::float8' end),
      v_source
    ));
    v_source := format('(%s) as second', ml._layer(format('nth, y%s, mu, rest, %s as eta', v_carried, v_terms.start_eta), v_source));
  else
    v_source := format('(%s) as first', ml._layer(
      format('fit.nth, row.y%s, %s as eta', replace(v_carried, ', ', ', row.'), ml._linear_predictor(variables, 'row.')), v_source
    ));
    v_source := format('(%s) as second', ml._layer(format('nth, y%s, eta, %s as mu, %s as rest', v_carried, v_terms.mu, v_terms.rest), v_source));
  end if;
  if family = 'binomial' and link = 'logit' then
    v_source := format('(%s) as third', ml._layer(
      format('nth, y%s, eta, mu, mu * rest as weight, case when y = 1 then rest else -mu end as score, %s as deviance', v_carried, v_terms.deviance),
      v_source
    ));
  else
    v_source := format('(%s) as second', ml._layer(
      format('nth, y%s, eta, mu, (%s) as slope, (%s) / (%s) as ratio, %s as deviance',
        v_carried, v_terms.slope, v_terms.slope, v_terms.variance, v_terms.deviance
      ), v_source
    ));
    v_source := format('(%s) as third', ml._layer(
      format('nth, y%s, eta, mu, ratio * slope as weight, (y - mu) * ratio as score, deviance', v_carried), v_source
    ));
  end if;
  return v_source;
end;
$$;

comment on function ml._glm_source(jsonb, text, text, float8, text[], float8[], integer[]) is $$
What one step of Fisher scoring sums, row by row.
A subquery `third` with the group's number, y, the columns, eta, mu, and each row's weight, score and deviance.
$$;

create or replace function ml._glm_statement(
  design jsonb,
  family text,
  link text,
  mean float8,
  keys text[],
  beta float8[],
  variables integer[]
)
returns text
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_columns text[] := array(select 'd' || variable from unnest(variables) as variable where variable > 0);
  v_carried text := (select coalesce(string_agg(', ' || name, '' order by nth), '')
    from unnest(v_columns) with ordinality as list (name, nth));
  v_source text := ml._glm_source(design, family, link, mean, keys, beta, variables);
  v_score text;
begin
  v_score := case when beta is null then 'weight * eta + score' else 'score' end;
  v_source := format('(%s) as fourth', ml._layer(
    format('nth, y, mu, weight, %s as score, deviance%s%s', v_score, v_carried,
      (select coalesce(string_agg(format(', weight * %s as w%s', name, name), '' order by nth), '')
        from unnest(v_columns) with ordinality as list (name, nth))
    ), v_source
  ));
  return format(
    'select %s, true, count(*), array[sum(deviance), (count(*) - count(mu))::float8, %s%s] from %s%s',
    case when design -> 'groups' = '[]' then '''1''' else 'nth::text' end,
    (
      select string_agg(term, ', ' order by kind, row_place, column_place)
      from (
        select 1 as kind, place as row_place, 0::bigint as column_place,
          case when variable = 0 then 'sum(score)' else format('sum(score * d%s)', variable) end as term
        from unnest(variables) with ordinality as list (variable, place)
        union all
        select 2, row_list.place, column_list.place,
          case
            when row_list.variable = 0 and column_list.variable = 0 then 'sum(weight)'
            when row_list.variable = 0 then format('sum(wd%s)', column_list.variable)
            else format('sum(wd%s * d%s)', row_list.variable, column_list.variable)
          end
        from unnest(variables) with ordinality as row_list (variable, place)
        join unnest(variables) with ordinality as column_list (variable, place) on column_list.place >= row_list.place
      ) as every_term
    ),
    case when beta is not null and family not in ('binomial', 'poisson') then ', sum(score * score / weight)' else '' end,
    v_source,
    case when design -> 'groups' = '[]' then '' else ' group by nth' end
  );
end;
$$;

comment on function ml._glm_statement(jsonb, text, text, float8, text[], float8[], integer[]) is $$
One step of Fisher scoring as a statement.
By group number: the deviance, how many rows fall outside the link's range, the
score vector, the upper triangle of the information and, where the dispersion is free, Pearson's statistic. Without `beta` it is
the first step, from each row's own value.
$$;

create or replace function ml._scaled_inverse(
  matrix float8[],
  tolerance float8,
  out inverse float8[],
  out dependent integer
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_size constant integer := array_length(matrix, 1);
  v_root float8[] := array_fill(0::float8, array[v_size]);
  v_matrix float8[] := matrix;
begin
  for i in 1..v_size loop
    if not matrix[i][i] > 0 then
      dependent := i;
      return;
    end if;
    v_root[i] := sqrt(matrix[i][i]);
  end loop;
  for i in 1..v_size loop
    for j in 1..v_size loop
      v_matrix[i][j] := matrix[i][j] / v_root[i] / v_root[j];
    end loop;
  end loop;
  select solved.inverse, solved.dependent into v_matrix, dependent from ml._spd_inverse(v_matrix, tolerance) as solved;
  if dependent is null then
    for i in 1..v_size loop
      for j in 1..v_size loop
        v_matrix[i][j] := v_matrix[i][j] / v_root[i] / v_root[j];
      end loop;
    end loop;
    inverse := v_matrix;
  end if;
end;
$$;

comment on function ml._scaled_inverse(float8[], float8) is $$
Inverse of a symmetric positive definite matrix whose rows differ in size: scaled to a unit diagonal first. As ml._spd_inverse.
$$;

create or replace function ml._variables(settled jsonb)
returns integer[]
language sql
immutable
parallel safe
begin atomic
  select case when settled ->> 'intercept' is null then '{}' else '{0}' end::integer[]
    || array(select value::integer from jsonb_array_elements_text(settled -> 'active') with ordinality as list (value, nth) order by nth);
end;

comment on function ml._variables(jsonb) is $$The unknowns of a settled design: 0 for the intercept if there is one, then the positions of the columns.$$;

create or replace function ml._settled(
  design jsonb,
  out settled jsonb,
  out keys text[],
  out row_counts bigint[],
  out skipped bigint[],
  out sums float8[],
  out failure text
)
language plpgsql
as $$
declare
  v_width constant integer := (design ->> 'width')::int;
  v_active constant integer[] := array(select jsonb_array_elements_text(design -> 'active')::int);
  v_candidates integer[] := array(select jsonb_array_elements_text(design -> 'candidates')::int);
  v_spreads float8[] := array_fill(0::float8, array[v_width]);
  v_part record;
  v_constant integer;
  v_total float8 := 0;
begin
  -- the first scan: groups, counts, what y is, whether the candidates are constant, whether all is finite
  settled := design || '{"y_shift": 0, "y_scale": 1}';
  keys := '{}';
  row_counts := '{}';
  skipped := '{}';
  sums := '{}';
  for v_part in
    select
      part.key,
      coalesce(sum(part.row_count) filter (where part.complete), 0)::bigint as complete_count,
      coalesce(sum(part.row_count) filter (where not part.complete), 0)::bigint as skipped_count,
      max(part.sums) filter (where part.complete) as sums
    from ml._sums(
      format(
        'select key, complete, count(*), case when complete then array[sum(y), min(y), max(y), sum(abs(y * (y - 1)))%s] end from (%s) as row group by key, complete',
        ml._columns_of(settled, 'd', ', sum(%1$s * %1$s)', ''), ml._rows(settled)
      ),
      (design ->> 'relation')::regclass
    ) as part
    group by part.key
    order by part.key
  loop
    if v_part.sums && array['NaN', 'Infinity', '-Infinity']::float8[] then
      perform ml._refuse_non_finite(settled);
    end if;
    keys := keys || coalesce(v_part.key, '');
    row_counts := row_counts || v_part.complete_count;
    skipped := skipped || v_part.skipped_count;
    sums := sums || coalesce(v_part.sums[1:4], '{0, 0, 0, 0}');
    v_total := v_total + v_part.complete_count;
    for i in 1..cardinality(v_active) loop
      v_spreads[v_active[i]] := v_spreads[v_active[i]] + coalesce(v_part.sums[4 + i], 0);
    end loop;
  end loop;
  if keys = '{}' then
    raise exception using errcode = 'CF004', message = format('"%s" has no rows', left(design ->> 'relation', 100)),
      hint = 'Train on a table with rows.';
  end if;

  for place in 1..v_width loop
    if design -> 'literals' -> place - 1 <> 'null' or (place = any (v_candidates) and v_spreads[place] = 0) then
      if (design -> 'literals' ->> place - 1)::float8 = 0 then
        failure := format('column %s is always 0', ml._label(design, place));
      elsif v_constant is not null then
        failure := format('column %s is constant, and so is column %s', ml._label(design, place), ml._label(design, v_constant));
      else
        v_constant := place;
      end if;
    elsif v_spreads[place] = 0 and v_total > 0 then
      failure := format('column %s is constant', ml._label(design, place));
    end if;
  end loop;
  settled := settled || jsonb_build_object(
    'intercept', v_constant,
    'intercept_value', coalesce((design -> 'literals' ->> v_constant - 1)::float8, (design -> 'shift' ->> v_constant - 1)::float8),
    'spread', (select jsonb_agg(case when v_total > 0 then sqrt(spread / v_total) end order by place)
      from unnest(v_spreads) with ordinality as list (spread, place)),
    'active', (select coalesce(jsonb_agg(place order by place), '[]')
      from unnest(v_active) as place where place is distinct from v_constant),
    'candidates', '[]'::jsonb
  );
  if v_constant is null then
    -- nothing to take the shifts back: fit the columns as they are
    settled := settled || jsonb_build_object('shift', to_jsonb(array_fill(0, array[v_width])));
  end if;
end;
$$;

comment on function ml._settled(jsonb) is $$
The first scan of an iterative fit.
It finds the groups and which column is the intercept (design keys `intercept`,
`intercept_value`, `spread`), and checks that all values are finite. `sums` holds per group sum, min, max of y and sum |y (y - 1)|.
$$;

create or replace function ml._glm_fits(
  design jsonb,
  family text,
  link text,
  max_iter integer,
  tolerance float8,
  out settled jsonb,
  out key text,
  out row_count bigint,
  out skipped bigint,
  out beta float8[],
  out coef float8[],
  out inverse float8[],
  out information float8[],
  out deviance float8,
  out pearson float8,
  out iterations integer,
  out converged boolean,
  out failure text
)
returns setof record
language plpgsql
as $$
declare
  v_first record := ml._settled(design);
  v_relation constant regclass := (design ->> 'relation')::regclass;
  v_width constant integer := (design ->> 'width')::int;
  v_intercept constant integer := (v_first.settled ->> 'intercept')::int;
  v_variables constant integer[] := ml._variables(v_first.settled);
  v_size constant integer := cardinality(v_variables);
  v_groups constant integer := cardinality(v_first.keys);
  v_spread constant float8[] := array(select jsonb_array_elements_text(v_first.settled -> 'spread')::float8);
  v_mean float8;
  v_beta float8[] := array_fill(0::float8, array[v_groups * v_size]);
  v_before float8[] := v_beta;
  v_step float8[] := v_beta;
  v_deviance float8[] := array_fill('Infinity'::float8, array[v_groups]);
  v_pearson float8[] := array_fill(null::float8, array[v_groups]);
  v_halvings integer[] := array_fill(0, array[v_groups]);
  v_iterations integer[] := array_fill(0, array[v_groups]);
  v_done boolean[] := array_fill(false, array[v_groups]);
  v_good boolean[] := array_fill(false, array[v_groups]);
  v_failure text[] := array_fill(v_first.failure, array[v_groups]);
  v_inverse jsonb[] := array_fill(null::jsonb, array[v_groups]);
  v_matrix float8[];
  v_solved record;
  v_part record;
  v_living integer[];
  v_g integer;
  v_at integer;
  v_value float8;
  v_gain float8;
  v_length float8;
  v_farthest float8;
  v_column integer;
  v_full float8[];
  v_vector float8[];
begin
  v_mean := (select sum(v_first.sums[4 * g - 3]) from generate_series(1, v_groups) as g) / nullif((select sum(n)
    from unnest(v_first.row_counts) as n), 0);
  for g in 1..v_groups loop
    if v_first.row_counts[g] = 0 then
      v_failure[g] := 'no row without a null';
    elsif family = 'binomial' and v_first.sums[4 * g] > 0 then
      raise exception using errcode = 'CF001',
        message = format(
          'the dependent variable "%s" holds %s, a class is 0 or 1',
          left(design ->> 'y', 100), case when v_first.sums[4 * g - 2] <> 0 then v_first.sums[4 * g - 2] else v_first.sums[4 * g - 1] end
        ),
        hint = 'Give a boolean, 0 and 1, or an expression such as score >= 50.';
    elsif family = 'binomial' and v_first.sums[4 * g - 2] = v_first.sums[4 * g - 1] then
      v_failure[g] := format('it holds one class only, %s', v_first.sums[4 * g - 1]);
    elsif family = 'poisson' and v_first.sums[4 * g - 2] < 0 or family in ('gamma', 'inverse_gaussian') and v_first.sums[4 * g - 2] <= 0 then
      raise exception using errcode = 'CF001',
        message = format('the dependent variable "%s" holds %s, which family %s can not have', left(design ->> 'y', 100), v_first.sums[4 * g - 2], left(family, 100)),
        hint = case family when 'poisson' then 'Counts are 0 or more.' else 'Values must be positive.' end;
    elsif family = 'poisson' and v_first.sums[4 * g - 1] = 0 then
      v_failure[g] := 'every count is 0, so it holds one class only';
    elsif v_first.row_counts[g] < v_width then
      v_failure[g] := format('%s complete rows for %s columns', v_first.row_counts[g], v_width);
    end if;
    v_done[g] := v_failure[g] is not null;
  end loop;
  if family = 'gaussian' and link = 'log' and not v_mean > 0 then
    raise exception using errcode = 'CF001',
      message = format('the mean of "%s" is %s, which the log link can not reach', left(design ->> 'y', 100), v_mean),
      hint = 'Use link=identity.';
  end if;

  -- With an intercept, step 1 evaluates the model of the mean alone. Without one, step 0 starts from each row's own value.
  -- Step t evaluates the model of step t - 1 and improves it.
  if v_intercept is not null then
    for g in 1..v_groups loop
      v_value := v_first.sums[4 * g - 3] / nullif(v_first.row_counts[g], 0);
      if v_failure[g] is null then
        v_beta[(g - 1) * v_size + 1] := case link
          when 'identity' then v_value
          when 'log' then ln(greatest(v_value, 1e-10 * abs(v_mean)))
          when 'logit' then ln(v_value / (1 - v_value))
          when 'probit' then ml.normal_quantile(case when family = 'binomial' then v_value else 0.5 end)
          when 'inverse' then 1 / v_value
          when 'sqr_inverse' then 1 / (v_value * v_value)
          when 'sqrt' then sqrt(v_value)
        end;
      end if;
    end loop;
  end if;
  for iteration in case when v_intercept is null then 0 else 1 end..max_iter loop
    v_living := array(select g from generate_series(1, v_groups) as g where not v_done[g]);
    exit when v_living = '{}';
    for v_part in
      select v_living[part.key::int] as g, part.sums
      from ml._sums(
        ml._glm_statement(
          v_first.settled, family, link, v_mean,
          array(select v_first.keys[g] from unnest(v_living) with ordinality as living (g, nth) order by nth),
          case when iteration > 0 then array(
            select v_beta[(g - 1) * v_size + j]
              from unnest(v_living) with ordinality as living (g, nth), generate_series(1, v_size) as j order by nth, j
          ) end,
          v_variables
        ),
        v_relation
      ) as part
    loop
      v_g := v_part.g;
      if iteration > 0 then
        v_iterations[v_g] := iteration;
        -- outside the link's range, or worse than before: half the step
        if v_part.sums[2] > 0 or v_part.sums[1] > v_deviance[v_g] * (1 + 1e-8) + 1e-12 then
          v_halvings[v_g] := v_halvings[v_g] + 1;
          if v_halvings[v_g] > 30 then
            v_done[v_g] := true;
            v_failure[v_g] := case when v_deviance[v_g] = 'Infinity' then 'no starting point inside the range of the link' end;
            continue;
          end if;
          for j in 1..v_size loop
            v_at := (v_g - 1) * v_size + j;
            v_step[v_at] := v_step[v_at] / 2;
            v_beta[v_at] := v_before[v_at] + v_step[v_at];
          end loop;
          continue;
        end if;
        v_deviance[v_g] := v_part.sums[1];
        v_pearson[v_g] := v_part.sums[3 + v_size + v_size * (v_size + 1) / 2];
        v_halvings[v_g] := 0;
      end if;

      v_matrix := array_fill(0::float8, array[v_size, v_size]);
      v_at := 2 + v_size;
      for i in 1..v_size loop
        for j in i..v_size loop
          v_at := v_at + 1;
          v_matrix[i][j] := v_part.sums[v_at];
          v_matrix[j][i] := v_part.sums[v_at];
        end loop;
      end loop;
      v_solved := ml._scaled_inverse(v_matrix, case when v_iterations[v_g] <= 1 then 1e-11 else 1e-14 end);
      if v_solved.dependent is not null then
        v_done[v_g] := true;
        v_column := v_variables[v_solved.dependent];
        v_failure[v_g] := case
          when v_iterations[v_g] <= 1
            then format('column %s is a linear combination of the columns before it', ml._label(design, coalesce(nullif(v_column, 0), v_intercept)))
          else ml._separation(design, case when v_column = 0 then v_variables[least(2, v_size)] else v_column end)
        end;
        continue;
      end if;

      v_gain := 0;
      v_length := 0;
      v_farthest := 0;
      v_column := null;
      for i in 1..v_size loop
        v_value := 0;
        for j in 1..v_size loop
          v_value := v_value + v_solved.inverse[i][j] * v_part.sums[2 + j];
          v_length := v_length + v_matrix[i][j] * v_beta[(v_g - 1) * v_size + i] * v_beta[(v_g - 1) * v_size + j];
        end loop;
        v_at := (v_g - 1) * v_size + i;
        v_before[v_at] := v_beta[v_at];
        v_step[v_at] := v_value;
        v_beta[v_at] := v_beta[v_at] + v_value;
        v_gain := v_gain + v_value * v_part.sums[2 + i];
        if v_variables[i] > 0 and abs(v_value) * v_spread[v_variables[i]] > v_farthest then
          v_farthest := abs(v_value) * v_spread[v_variables[i]];
          v_column := v_variables[i];
        end if;
      end loop;

      if iteration > 0 then
        v_inverse[v_g] := jsonb_build_array(v_solved.inverse, v_matrix);
        -- The likelihood is flat (nothing more to gain) where a coefficient still runs: it would run for ever.
        if family in ('binomial', 'poisson') and v_farthest > 0.3
          and (v_gain < 1e-3 or v_farthest > 30 * sqrt(v_gain) or iteration = max_iter and iteration >= 15)
        then
          v_done[v_g] := true;
          v_failure[v_g] := ml._separation(design, v_column);
        -- The root of the gain is the distance to the optimum in standard errors. With a canonical link the step just made
        -- squares it, and the information moves by a root n-th of it: so many rows allow to stop a step sooner.
        elsif v_gain <= (case
            when (family, link) in (('binomial', 'logit'), ('poisson', 'log')) then least(v_first.row_counts[v_g] * (tolerance / 100) ^ 2, tolerance / 100)
            when family = 'binomial' then (tolerance / 100) ^ 2
            else (tolerance / 100) ^ 2 * v_part.sums[1] / v_first.row_counts[v_g]
          end)
          or v_gain <= 1e-24 * v_length
        then
          v_done[v_g] := true;
          v_good[v_g] := true;
        end if;
      end if;
    end loop;
  end loop;

  for g in 1..v_groups loop
    settled := v_first.settled;
    key := v_first.keys[g];
    row_count := v_first.row_counts[g];
    skipped := v_first.skipped[g];
    failure := v_failure[g];
    deviance := nullif(v_deviance[g], 'Infinity');
    pearson := v_pearson[g];
    iterations := v_iterations[g];
    converged := v_good[g];
    if failure is null and v_inverse[g] is null then
      failure := 'it did not converge';
    end if;
    beta := null;
    coef := null;
    inverse := null;
    information := null;
    if failure is null then
      v_full := array_fill(0::float8, array[v_width, v_width]);
      v_vector := array_fill(0::float8, array[v_width]);
      for i in 1..v_size loop
        v_vector[case when v_variables[i] = 0 then v_intercept else v_variables[i] end] := v_beta[(g - 1) * v_size + i];
        for j in 1..v_size loop
          v_full[coalesce(nullif(v_variables[i], 0), v_intercept)][coalesce(nullif(v_variables[j], 0), v_intercept)]
            := (v_inverse[g] -> 0 -> i - 1 ->> j - 1)::float8;
        end loop;
      end loop;
      beta := v_vector;
      select unscaled.coef, unscaled.vcov into coef, inverse
      from ml._unscaled(v_vector, v_full, v_first.settled, v_intercept, (v_first.settled ->> 'intercept_value')::float8) as unscaled;
      information := (ml._scaled_inverse(inverse, 1e-15)).inverse;
    end if;
    return next;
  end loop;
end;
$$;

comment on function ml._glm_fits(jsonb, text, text, integer, float8) is $$
Fits a generalized linear model to each group.
`beta` belongs to the columns as they are summed, `coef`, `inverse` (of the
information, dispersion 1) and `information` to the caller's. Ends when the optimum is nearer than tolerance / 100 standard
errors. `failure` names collinear and separating columns.
$$;

create or replace function ml._separation(design jsonb, place integer)
returns text
language sql
stable
begin atomic
  select format('column %s separates the classes, at least for some rows, so its coefficient has no finite value', ml._label(design, place));
end;

comment on function ml._separation(jsonb, integer) is $$
What is said of complete and quasi-complete separation (Albert and Anderson, Biometrika 71, 1984).
$$;

grant execute on function
  ml._glm_terms(text, text, float8),
  ml._model_of_group(jsonb, text[], float8[], integer[]),
  ml._linear_predictor(integer[], text),
  ml._glm_source(jsonb, text, text, float8, text[], float8[], integer[]),
  ml._glm_statement(jsonb, text, text, float8, text[], float8[], integer[]),
  ml._scaled_inverse(float8[], float8),
  ml._variables(jsonb),
  ml._settled(jsonb),
  ml._glm_fits(jsonb, text, text, integer, float8),
  ml._separation(jsonb, integer)
to insights_admin, insights_worker;
--! EndIncluded ml/functions/_glm.sql
--! Included ml/functions/logregr_predict_prob.sql
create or replace function ml.logregr_predict_prob(coef float8[], ind_var float8[])
returns float8
language plpgsql
immutable
parallel safe
strict
set search_path to pg_catalog, pg_temp
as $$
declare
  v_eta constant float8 := ml.linregr_predict(coef, ind_var);
begin
  -- exp is kept from overflow and underflow, which are errors in SQL; beyond 700 the probability is 0 or 1 anyway
  return case
    when v_eta >= 0 then 1 / (1 + exp(-least(v_eta, 700)))
    else exp(greatest(v_eta, -700)) / (1 + exp(greatest(v_eta, -700)))
  end;
end;
$$;

comment on function ml.logregr_predict_prob(float8[], float8[]) is $$
Probability of the class 1 (true) by a logistic model: 1 / (1 + exp(-coef . ind_var)), the 1 of the intercept included.
Null when either is null or holds a null. Error CF001 when their lengths differ.
$$;

grant execute on function ml.logregr_predict_prob(float8[], float8[]) to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/functions/logregr_predict_prob.sql
--! Included ml/functions/logregr_predict.sql
create or replace function ml.logregr_predict(coef float8[], ind_var float8[])
returns boolean
language sql
immutable
parallel safe
begin atomic
  select ml.linregr_predict(logregr_predict.coef, logregr_predict.ind_var) > 0;
end;

comment on function ml.logregr_predict(float8[], float8[]) is $$
Class by a logistic model: whether class 1 (true) is more probable than not. As ml.logregr_predict_prob.
$$;

grant execute on function ml.logregr_predict(float8[], float8[]) to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/functions/logregr_predict.sql
--! Included ml/functions/logregr_train.sql
create or replace function ml.logregr_train(
  source_table text,
  out_table text,
  dependent_varname text,
  independent_varname text,
  grouping_cols text default null,
  max_iter integer default 20,
  optimizer text default 'irls',
  tolerance float8 default 0.0001,
  verbose boolean default false
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_output text := ml._output(out_table, array['_summary']);
  v_design jsonb;
  v_result jsonb[] := '{}';
  v_rows bigint := 0;
  v_skipped bigint := 0;
  v_failed bigint := 0;
  v_iterations integer := 0;
  v_fit record;
  v_wald record;
begin
  perform ml._check_iteration(max_iter, tolerance);
  if optimizer is null or lower(optimizer) not in ('irls', 'newton') then
    raise exception using errcode = 'CF001', message = format('there is no optimizer "%s"', left(optimizer, 100)),
      hint = 'Use irls (the same as newton): it finds the optimum in a few scans, to every digit.';
  end if;
  v_design := ml._design(source_table, dependent_varname, independent_varname, grouping_cols);
  for v_fit in select * from ml._glm_fits(v_design, 'binomial', 'logit', max_iter, tolerance) loop
    v_rows := v_rows + v_fit.row_count;
    v_skipped := v_skipped + v_fit.skipped;
    v_iterations := greatest(v_iterations, v_fit.iterations);
    if v_fit.failure is not null and v_design -> 'groups' = '[]' then
      perform ml._fit_failed(v_fit.failure, v_design ->> 'relation');
    end if;
    v_wald := ml._wald(v_fit.coef, v_fit.inverse, null);
    v_failed := v_failed + (v_fit.failure is not null)::int;
    v_result := v_result || jsonb_build_object(
      'key', v_fit.key,
      'coef', to_jsonb(v_fit.coef),
      'log_likelihood', case when v_fit.failure is null then -v_fit.deviance / 2 end,
      'std_err', to_jsonb(v_wald.std_err),
      'z_stats', to_jsonb(v_wald.stats),
      'p_values', to_jsonb(v_wald.p_values),
      'odds_ratios', (select to_jsonb(array_agg(exp(least(greatest(value, -700), 700)) order by nth))
        from unnest(v_fit.coef) with ordinality as list (value, nth)),
      'condition_no', case when v_fit.failure is null then ml._condition_number(v_fit.information, v_fit.inverse) end,
      'num_rows_processed', v_fit.row_count,
      'num_missing_rows_skipped', v_fit.skipped,
      'num_iterations', v_fit.iterations,
      'variance_covariance', to_jsonb(v_fit.inverse),
      'converged', v_fit.converged,
      'failure', v_fit.failure
    );
    if logregr_train.verbose then
      raise info 'group %: % rows, % iterations, deviance %', v_fit.key, v_fit.row_count, v_fit.iterations, v_fit.deviance;
    end if;
    if v_fit.failure is null and not v_fit.converged then
      raise warning 'ml.logregr_train: no convergence after % iterations%', max_iter,
        case when v_fit.key <> '' then format(' in group %s', v_fit.key) else '' end
        using hint = 'Give a larger max_iter.';
    end if;
  end loop;
  if v_failed = cardinality(v_result) then
    perform ml._fit_failed(v_result[1] ->> 'failure', v_design ->> 'relation');
  end if;

  perform ml._publish(
    v_output, v_design,
    'coef float8[], log_likelihood float8, std_err float8[], z_stats float8[], p_values float8[], odds_ratios float8[], condition_no float8, '
      || 'num_rows_processed bigint, num_missing_rows_skipped bigint, num_iterations integer, variance_covariance float8[], converged boolean, failure text',
    to_jsonb(v_result),
    jsonb_build_object(
      'method', 'logregr',
      'source_table', source_table,
      'out_table', out_table,
      'dependent_varname', dependent_varname,
      'independent_varname', independent_varname,
      'optimizer_params', format('optimizer=%s, max_iter=%s, tolerance=%s', optimizer, max_iter, tolerance),
      'num_all_groups', cardinality(v_result),
      'num_failed_groups', v_failed,
      'num_rows_processed', v_rows,
      'num_missing_rows_skipped', v_skipped,
      'grouping_cols', grouping_cols
    ),
    'method text, source_table text, out_table text, dependent_varname text, independent_varname text, optimizer_params text, '
      || 'num_all_groups bigint, num_failed_groups bigint, num_rows_processed bigint, num_missing_rows_skipped bigint, grouping_cols text'
  );
end;
$$;

comment on function ml.logregr_train(text, text, text, text, text, integer, text, float8, boolean) is $$
@behavior -*
Logistic regression, as MADlib's: one model, or one for each value of the grouping columns, by iteratively reweighted least squares.
`dependent_varname` is a boolean, 0 and 1, or an expression such as `score >= 50`; `independent_varname` an array, the 1 included.
Rows with a null are skipped and counted; NaN and infinity are an error. All groups share each scan.
Writes `out_table`: the grouping columns, coef, log_likelihood, std_err, z_stats, p_values, odds_ratios, condition_no (of the
weighted design), num_rows_processed, num_missing_rows_skipped, num_iterations, variance_covariance, and beyond MADlib's
`converged` and `failure`; and `<out_table>_summary`.
`tolerance`: iteration ends when no coefficient is farther from the optimum than a hundredth of it, in standard errors.
Errors: CF001 (not two classes, not a number), CF002, CF003 (output exists), CF004 (no rows, one class only), CF005,
CF007 (collinear; separated: names the column), CF008.
Source: McCullagh and Nelder, Generalized Linear Models; separation by Albert and Anderson, Biometrika 71, 1984.
$$;

create or replace function ml._check_iteration(max_iter integer, tolerance float8)
returns void
language plpgsql
immutable
set search_path to pg_catalog, pg_temp
as $$
begin
  if max_iter is null or max_iter < 1 then
    raise exception using errcode = 'CF001', message = format('max_iter is %s', coalesce(max_iter::text, 'null')),
      hint = 'Give 1 or more.';
  elsif tolerance is null or not tolerance >= 0 or tolerance = 'Infinity' then
    raise exception using errcode = 'CF001', message = format('tolerance is %s', coalesce(tolerance::text, 'null')),
      hint = 'Give 0 or more, such as 0.0001.';
  end if;
end;
$$;

comment on function ml._check_iteration(integer, float8) is $$Refuses a number of iterations or a tolerance that makes no sense. Error CF001.$$;

grant execute on function
  ml._check_iteration(integer, float8),
  ml.logregr_train(text, text, text, text, text, integer, text, float8, boolean)
to insights_admin, insights_worker;
--! EndIncluded ml/functions/logregr_train.sql
--! Included ml/functions/glm.sql
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
  foreach v_option in array coalesce(ml._split(nullif(btrim(options), '')), '{}') loop
    v_name := lower(btrim(split_part(v_option, '=', 1)));
    if position('=' in v_option) = 0 or v_name <> all (allowed) then
      raise exception using errcode = 'CF001', message = format('%s: there is no option "%s"', left(what, 100), left(v_option, 100)),
        hint = coalesce(
          format('Did you mean "%s"?', ml._nearest(v_name, allowed)),
          format('Give name=value pairs with commas between; the names are %s.', array_to_string(allowed, ', '))
        );
    end if;
    v_result := v_result || jsonb_build_object(v_name, btrim(substr(v_option, position('=' in v_option) + 1), ' "'''));
  end loop;
  return v_result;
end;
$$;

comment on function ml._options(text, text[], text) is $$
Reads MADlib's `name=value, name=value` parameters into an object. Error CF001 for an unknown name, with the nearest.
$$;

create or replace function ml._number(options jsonb, name text, fallback float8, smallest float8, largest float8)
returns float8
language plpgsql
immutable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_value float8;
begin
  if options ->> name is null then
    return fallback;
  end if;
  begin
    v_value := (options ->> name)::float8;
  exception when invalid_text_representation or numeric_value_out_of_range then
    null;
  end;
  if v_value is null or not v_value between smallest and largest then
    raise exception using errcode = 'CF001', message = format('%s is "%s"', left(name, 100), options ->> name),
      hint = format('Give a number from %s to %s.', smallest, largest);
  end if;
  return v_value;
end;
$$;

comment on function ml._number(jsonb, text, float8, float8, float8) is $$A number among options, within its bounds. Error CF001.$$;

create or replace function ml._digamma(x float8)
returns float8
language plpgsql
immutable
parallel safe
strict
set search_path to pg_catalog, pg_temp
as $$
declare
  v_x float8 := x;
  v_sum float8 := 0;
  v_z float8;
begin
  while v_x < 12 loop
    v_sum := v_sum - 1 / v_x;
    v_x := v_x + 1;
  end loop;
  v_z := 1 / (v_x * v_x);
  return v_sum + ln(v_x) - 0.5 / v_x
    - v_z * (1.0 / 12 - v_z * (1.0 / 120 - v_z * (1.0 / 252 - v_z * (1.0 / 240 - v_z * (1.0 / 132 - v_z * 691.0 / 32760)))));
end;
$$;

comment on function ml._digamma(float8) is $$Derivative of ln gamma(x), for x > 0 (Abramowitz and Stegun 6.3.18).$$;

create or replace function ml._gamma_shape(mean_deviance float8)
returns float8
language plpgsql
immutable
parallel safe
strict
set search_path to pg_catalog, pg_temp
as $$
declare
  v_target constant float8 := mean_deviance / 2;
  v_low float8 := 1e-8;
  v_high float8 := 1e12;
  v_middle float8;
begin
  -- ln a - digamma(a) falls from infinity to 0, so halving the exponent finds the one root
  for step in 1..120 loop
    v_middle := sqrt(v_low * v_high);
    if ln(v_middle) - ml._digamma(v_middle) > v_target then
      v_low := v_middle;
    else
      v_high := v_middle;
    end if;
  end loop;
  return v_middle;
end;
$$;

comment on function ml._gamma_shape(float8) is $$
Maximum likelihood estimate of a gamma distribution's shape from the mean deviance: ln a - digamma(a) = D / 2n.
$$;

create or replace function ml._glm_constants(design jsonb, family text)
returns jsonb
language plpgsql
as $$
begin
  return (
    select jsonb_object_agg(coalesce(part.key, ''), part.sums[1])
    from ml._sums(
      case when family = 'poisson' then format(
        -- ln y! only once for each count that occurs
        $statement$
        select key, true, sum(times)::bigint, array[sum(times * (case when y > 0 then y * ln(y) else 0 end - y - ml._log_gamma(y + 1)))]
        from (select key, y, count(*) as times from (%s) as row where complete group by key, y) as tally
        group by key
        $statement$,
        ml._rows(design)
      )
      else format('select key, true, count(*), array[sum(ln(y))] from (%s) as row where complete group by key', ml._rows(design)) end,
      (design ->> 'relation')::regclass
    ) as part
  );
end;
$$;

comment on function ml._glm_constants(jsonb, text) is $$
What the likelihood has of y alone, by group key: the saturated model's for counts, the sum of ln y for positive values.
$$;

create or replace function ml.glm(
  source_table text,
  model_table text,
  dependent_varname text,
  independent_varname text,
  family_params text,
  grouping_col text default null,
  optim_params text default 'max_iter=100, optimizer=irls, tolerance=1e-6',
  verbose boolean default false
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_links constant jsonb := '{
    "gaussian": ["identity", "log", "inverse"], "binomial": ["logit", "probit"], "poisson": ["log", "identity", "sqrt"],
    "gamma": ["inverse", "identity", "log"], "inverse_gaussian": ["sqr_inverse", "log", "identity", "inverse"]
  }';
  v_output text := ml._output(model_table, array['_summary']);
  v_family_params constant jsonb := ml._options(family_params, '{family, link}', 'family_params');
  v_options constant jsonb := ml._options(optim_params, '{max_iter, optimizer, tolerance}', 'optim_params');
  v_family constant text := lower(v_family_params ->> 'family');
  v_link constant text := coalesce(lower(v_family_params ->> 'link'), v_links -> v_family ->> 0);
  v_max_iter constant integer := ml._number(v_options, 'max_iter', 100, 1, 100000);
  v_tolerance constant float8 := ml._number(v_options, 'tolerance', 1e-6, 0, 1);
  v_normal constant boolean := v_family in ('binomial', 'poisson');
  v_design jsonb;
  v_constants jsonb := '{}';
  v_result jsonb[] := '{}';
  v_rows bigint := 0;
  v_skipped bigint := 0;
  v_failed bigint := 0;
  v_width integer;
  v_fit record;
  v_wald record;
  v_dispersion float8;
  v_shape float8;
  v_likelihood float8;
begin
  if v_family is null or not v_links ? v_family then
    raise exception using errcode = 'CF001', message = format('there is no family "%s"', coalesce(v_family, '')),
      hint = 'Give family=gaussian, binomial, poisson, gamma or inverse_gaussian, such as ''family=poisson, link=log''.';
  elsif not v_links -> v_family ? v_link then
    raise exception using errcode = 'CF001', message = format('family %s has no link "%s"', left(v_family, 100), left(v_link, 100)),
      hint = format('Its links are %s.', (select string_agg(name, ', ')
        from jsonb_array_elements_text(v_links -> v_family) as name));
  elsif coalesce(lower(v_options ->> 'optimizer'), 'irls') <> 'irls' then
    raise exception using errcode = 'CF001', message = format('there is no optimizer "%s"', left(v_options ->> 'optimizer', 100)),
      hint = 'Use irls.';
  end if;
  v_design := ml._design(source_table, dependent_varname, independent_varname, grouping_col);
  v_width := (v_design ->> 'width')::int;

  for v_fit in select * from ml._glm_fits(v_design, v_family, v_link, v_max_iter, v_tolerance) loop
    v_rows := v_rows + v_fit.row_count;
    v_skipped := v_skipped + v_fit.skipped;
    if v_fit.failure is not null then
      if v_design -> 'groups' = '[]' then
        perform ml._fit_failed(v_fit.failure, v_design ->> 'relation');
      end if;
      v_failed := v_failed + 1;
      v_result := v_result || jsonb_build_object(
        'key', v_fit.key, 'num_rows_processed', v_fit.row_count, 'num_rows_skipped', v_fit.skipped, 'failure', v_fit.failure
      );
      continue;
    elsif not v_fit.converged then
      raise warning 'ml.glm: no convergence after % iterations%', v_max_iter, case when v_fit.key <> '' then format(' in group %s', v_fit.key) else '' end
        using hint = 'Give a larger max_iter.';
    end if;
    if v_family <> 'gaussian' and v_family <> 'binomial' and v_constants = '{}' then
      v_constants := ml._glm_constants(v_fit.settled, v_family);
    end if;
    v_dispersion := case when v_normal then 1 else v_fit.pearson / nullif(v_fit.row_count - v_width, 0) end;
    v_wald := ml._wald(v_fit.coef, ml._scaled(v_fit.inverse, v_dispersion), case when not v_normal then nullif(v_fit.row_count - v_width, 0) end);
    v_shape := case when v_family = 'gamma' then ml._gamma_shape(v_fit.deviance / v_fit.row_count) end;
    v_likelihood := case v_family
      when 'binomial' then -v_fit.deviance / 2
      when 'gaussian' then -v_fit.row_count / 2.0 * (ln(2 * pi() * v_fit.deviance / v_fit.row_count) + 1)
      -- the saturated model's likelihood less half the deviance
      when 'poisson' then (v_constants ->> v_fit.key)::float8 - v_fit.deviance / 2
      when 'gamma' then v_fit.row_count * (v_shape * ln(v_shape) - v_shape - ml._log_gamma(v_shape)) - (v_constants ->> v_fit.key)::float8 - v_shape * v_fit.deviance / 2
      else -v_fit.row_count / 2.0 * (ln(2 * pi() * v_fit.deviance / v_fit.row_count) + 1) - 1.5 * (v_constants ->> v_fit.key)::float8
    end;
    v_result := v_result || jsonb_build_object(
      'key', v_fit.key,
      'coef', to_jsonb(v_fit.coef),
      'log_likelihood', v_likelihood,
      'std_err', case when v_dispersion is not null then to_jsonb(v_wald.std_err) end,
      'z_stats', to_jsonb(v_wald.stats),
      't_stats', case when v_dispersion is not null then to_jsonb(v_wald.stats) end,
      'p_values', case when v_dispersion is not null then to_jsonb(v_wald.p_values) end,
      'dispersion', v_dispersion,
      'num_rows_processed', v_fit.row_count,
      'num_rows_skipped', v_fit.skipped,
      'num_iterations', v_fit.iterations,
      'deviance', v_fit.deviance,
      'converged', v_fit.converged
    );
    if glm.verbose then
      raise info 'group %: % rows, % iterations, deviance %', v_fit.key, v_fit.row_count, v_fit.iterations, v_fit.deviance;
    end if;
  end loop;
  if v_failed = cardinality(v_result) then
    perform ml._fit_failed(v_result[1] ->> 'failure', v_design ->> 'relation');
  end if;

  perform ml._publish(
    v_output, v_design,
    'coef float8[], log_likelihood float8, std_err float8[], ' || case when v_normal then 'z_stats' else 't_stats' end
      || ' float8[], p_values float8[], dispersion float8, num_rows_processed bigint, num_rows_skipped bigint, num_iterations integer, '
      || 'deviance float8, converged boolean, failure text',
    to_jsonb(v_result),
    jsonb_build_object(
      'method', 'glm',
      'source_table', source_table,
      'model_table', model_table,
      'dependent_varname', dependent_varname,
      'independent_varname', independent_varname,
      'family_params', format('family=%s, link=%s', v_family, v_link),
      'grouping_col', grouping_col,
      'optimizer_params', format('optimizer=irls, max_iter=%s, tolerance=%s', v_max_iter, v_tolerance),
      'num_all_groups', cardinality(v_result),
      'num_failed_groups', v_failed,
      'total_rows_processed', v_rows,
      'total_rows_skipped', v_skipped
    ),
    'method text, source_table text, model_table text, dependent_varname text, independent_varname text, family_params text, '
      || 'grouping_col text, optimizer_params text, num_all_groups bigint, num_failed_groups bigint, total_rows_processed bigint, total_rows_skipped bigint'
  );
end;
$$;

comment on function ml.glm(text, text, text, text, text, text, text, boolean) is $$
@behavior -*
Generalized linear model, as MADlib's: one model, or one for each value of the grouping columns.
By iteratively reweighted least squares. `family_params` is such as `family=poisson, link=log`, the first link being the default: gaussian (identity,
log, inverse), binomial (logit, probit), poisson (log, identity, sqrt), gamma (inverse, identity, log), inverse_gaussian
(sqr_inverse, log, identity, inverse). `optim_params`: max_iter, tolerance (in hundredths of a standard error).
Writes `model_table`: the grouping columns, coef, log_likelihood (at the maximum likelihood dispersion), std_err, z_stats
(binomial, poisson) or t_stats (others), p_values, dispersion (Pearson's estimate; 1 for binomial and poisson),
num_rows_processed, num_rows_skipped, num_iterations, and beyond MADlib's `deviance`, `converged`, `failure`; and `_summary`.
Errors: CF001 (family, link, a value the family can not have), CF002, CF003, CF004 (no rows, one class), CF005, CF007
(collinear; separated), CF008.
Source: McCullagh and Nelder, Generalized Linear Models, 2nd edition, 1989.
$$;

grant execute on function
  ml._options(text, text[], text),
  ml._number(jsonb, text, float8, float8, float8),
  ml._digamma(float8),
  ml._gamma_shape(float8),
  ml._glm_constants(jsonb, text),
  ml.glm(text, text, text, text, text, text, text, boolean)
to insights_admin, insights_worker;
--! EndIncluded ml/functions/glm.sql
--! Included ml/functions/glm_predict.sql
create or replace function ml.glm_predict(coef float8[], col_ind_var float8[], link text)
returns float8
language plpgsql
immutable
parallel safe
strict
set search_path to pg_catalog, pg_temp
as $$
declare
  v_eta constant float8 := ml.linregr_predict(coef, col_ind_var);
begin
  case lower(link)
    when 'identity' then return v_eta;
    when 'log' then return exp(least(greatest(v_eta, -700), 700));
    when 'logit' then return ml.logregr_predict_prob(coef, col_ind_var);
    when 'probit' then return ml.normal_cdf(v_eta);
    when 'inverse' then return 1 / nullif(v_eta, 0);
    when 'sqr_inverse' then return case when v_eta > 0 then 1 / sqrt(v_eta) end;
    when 'sqrt' then return v_eta * v_eta;
    else
      raise exception using errcode = 'CF001', message = format('there is no link "%s"', left(link, 100)),
        hint = 'Links are identity, log, logit, probit, inverse, sqr_inverse and sqrt: the one of the training.';
  end case;
end;
$$;

comment on function ml.glm_predict(float8[], float8[], text) is $$
Expected value by a generalized linear model with the link it was trained with.
Null when an argument is null or holds a null, or outside the link's range. Error CF001 for another link, or when the lengths differ.
$$;

grant execute on function ml.glm_predict(float8[], float8[], text) to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/functions/glm_predict.sql
--! Included ml/functions/elastic_net_train.sql
/*
 * Penalised regression on sums: the columns' Gram matrix is made by one scan (gaussian) or one a Newton step (binomial), and
 * coordinate descent runs on the k x k matrix alone, so that a whole path of lambdas costs what one does.
 */
create or replace function ml._coordinate_descent(
  gram float8[],
  target float8[],
  start float8[],
  l1 float8,
  l2 float8,
  max_iter integer,
  tolerance float8,
  out solution float8[],
  out sweeps integer
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_size constant integer := coalesce(array_length(target, 1), 0);
  v_gram float8[] := gram;
  v_slope float8[] := target;
  v_value float8;
  v_change float8;
  v_largest float8;
begin
  solution := start;
  for i in 1..v_size loop
    for j in 1..v_size loop
      v_slope[i] := v_slope[i] - v_gram[i][j] * start[j];
    end loop;
  end loop;
  for sweep in 1..max_iter loop
    sweeps := sweep;
    v_largest := 0;
    for j in 1..v_size loop
      -- a column that never varies, or that nothing holds, stays out
      if v_gram[j][j] + l2 > 1e-14 and v_gram[j][j] > 1e-14 then
        v_value := v_slope[j] + v_gram[j][j] * solution[j];
        v_value := sign(v_value) * greatest(abs(v_value) - l1, 0) / (v_gram[j][j] + l2);
        v_change := v_value - solution[j];
        if v_change <> 0 then
          solution[j] := v_value;
          v_largest := greatest(v_largest, abs(v_change) * sqrt(v_gram[j][j]));
          for i in 1..v_size loop
            v_slope[i] := v_slope[i] - v_gram[i][j] * v_change;
          end loop;
        end if;
      end if;
    end loop;
    exit when v_largest <= tolerance;
  end loop;
end;
$$;

comment on function ml._coordinate_descent(float8[], float8[], float8[], float8, float8, integer, float8) is $$
Minimises b'Gb / 2 - t'b + l1 |b| + l2 b'b / 2, one coefficient after another (Friedman, Hastie and Tibshirani, J. Stat. Softw. 33, 2010).
$$;

create or replace function ml._elastic_net_fits(
  design jsonb,
  family text,
  alpha float8,
  lambdas float8[],
  standardize boolean,
  max_iter integer,
  tolerance float8,
  out key text,
  out row_count bigint,
  out skipped bigint,
  out lambda float8,
  out beta float8[],
  out coef float8[],
  out intercept float8,
  out deviance float8,
  out iterations integer,
  out settled jsonb,
  out failure text
)
returns setof record
language plpgsql
as $$
declare
  v_first record := ml._settled(design);
  v_width constant integer := (design ->> 'width')::int;
  v_active constant integer[] := array(select jsonb_array_elements_text(v_first.settled -> 'active')::int);
  v_variables constant integer[] := '{0}'::integer[] || v_active;
  v_size constant integer := cardinality(v_active);
  v_all constant integer := v_size + 1;
  v_groups constant integer := cardinality(v_first.keys);
  v_scale constant float8[] := array(select jsonb_array_elements_text(design -> 'scale')::float8);
  v_beta float8[] := array_fill(0::float8, array[v_groups * v_all]);
  v_before float8[];
  v_objective float8[];
  v_deviance float8[] := array_fill(0::float8, array[v_groups]);
  v_iterations integer[] := array_fill(0, array[v_groups]);
  v_unit float8[] := array_fill(1::float8, array[v_groups, v_size]);
  v_failure text[] := array_fill(null::text, array[v_groups]);
  v_sums jsonb := '{}';
  v_living integer[];
  v_lambda float8;
  v_g integer;
  v_n float8;
  v_h float8[];
  v_gram float8[];
  v_target float8[];
  v_start float8[];
  v_solved record;
  v_at integer;
  v_value float8;
  v_change float8;
  v_penalty float8;
  v_step float8[];
  v_full float8[];
begin
  for g in 1..v_groups loop
    v_n := v_first.row_counts[g];
    if v_n = 0 then
      v_failure[g] := 'no row without a null';
      continue;
    elsif family = 'binomial' and v_first.sums[4 * g] > 0 then
      raise exception using errcode = 'CF001',
        message = format('the dependent variable "%s" holds other values than 0 and 1', left(design ->> 'y', 100)),
        hint = 'Give a boolean, 0 and 1, or an expression such as score >= 50.';
    elsif family = 'binomial' and v_first.sums[4 * g - 2] = v_first.sums[4 * g - 1] then
      v_failure[g] := format('it holds one class only, %s', v_first.sums[4 * g - 1]);
      continue;
    end if;
    v_value := v_first.sums[4 * g - 3] / v_n;
    v_beta[(g - 1) * v_all + 1] := case family when 'binomial' then ln(v_value / (1 - v_value)) else v_value end;
  end loop;
  v_before := v_beta;

  for path in 1..cardinality(lambdas) loop
    v_lambda := lambdas[path];
    v_objective := array_fill('Infinity'::float8, array[v_groups]);
    v_living := array(select g from generate_series(1, v_groups) as g where v_failure[g] is null);
    for step in 1..50 loop
      exit when v_living = '{}';
      if v_sums = '{}' or family = 'binomial' then
        v_sums := (
          select jsonb_object_agg(v_living[part.key::int], to_jsonb(part.sums))
          from ml._sums(
            ml._glm_statement(
              v_first.settled, family, case family when 'binomial' then 'logit' else 'identity' end, null,
              array(select v_first.keys[g] from unnest(v_living) with ordinality as living (g, nth) order by nth),
              array(select v_beta[(g - 1) * v_all + j]
                from unnest(v_living) with ordinality as living (g, nth), generate_series(1, v_all) as j order by nth, j),
              v_variables
            ),
            (design ->> 'relation')::regclass
          ) as part
        );
        if family = 'gaussian' then
          v_before := v_beta;
        end if;
      end if;
      foreach v_g in array v_living loop
        v_n := v_first.row_counts[v_g];
        v_step := array(select jsonb_array_elements_text(v_sums -> v_g::text)::float8);
        v_h := array_fill(0::float8, array[v_all, v_all]);
        v_at := 2 + v_all;
        for i in 1..v_all loop
          for j in i..v_all loop
            v_at := v_at + 1;
            v_h[i][j] := v_step[v_at];
            v_h[j][i] := v_step[v_at];
          end loop;
        end loop;
        -- the unit in which coefficients are penalised: standard deviations of the columns, or the columns' own
        if path = 1 and step = 1 then
          for j in 1..v_size loop
            v_unit[v_g][j] := case
              when not standardize then v_scale[v_active[j]]
              when family = 'gaussian' then sqrt(greatest(v_h[j + 1][j + 1] - v_h[1][j + 1] * v_h[1][j + 1] / v_n, 0) / v_n)
              -- at the mean all weights are alike
              else sqrt(greatest(v_h[j + 1][j + 1] - v_h[1][j + 1] * v_h[1][j + 1] / v_h[1][1], 0) / v_h[1][1])
            end;
            if v_unit[v_g][j] < 1e-12 then
              v_unit[v_g][j] := 1;
            end if;
          end loop;
        end if;
        v_at := (v_g - 1) * v_all;

        v_penalty := 0;
        for j in 1..v_size loop
          v_value := v_beta[v_at + 1 + j] * v_unit[v_g][j];
          v_penalty := v_penalty + v_lambda * (alpha * abs(v_value) + (1 - alpha) / 2 * v_value * v_value);
        end loop;
        if family = 'binomial' then
          if v_step[1] / (2 * v_n) + v_penalty > v_objective[v_g] + 1e-12 then
            -- too far: half way back
            for j in 1..v_all loop
              v_beta[v_at + j] := (v_beta[v_at + j] + v_before[v_at + j]) / 2;
            end loop;
            continue;
          end if;
          v_objective[v_g] := v_step[1] / (2 * v_n) + v_penalty;
        end if;

        -- the intercept is free: it is eliminated, and follows
        v_gram := array_fill(0::float8, array[v_size, v_size]);
        v_target := array_fill(0::float8, array[v_size]);
        v_start := array_fill(0::float8, array[v_size]);
        for i in 1..v_size loop
          v_target[i] := (v_step[3 + i] - v_h[1][i + 1] * v_step[3] / v_h[1][1]) / (v_n * v_unit[v_g][i]);
          v_start[i] := v_beta[v_at + 1 + i] * v_unit[v_g][i];
          for j in 1..v_size loop
            v_gram[i][j] := (v_h[i + 1][j + 1] - v_h[1][i + 1] * v_h[1][j + 1] / v_h[1][1]) / (v_n * v_unit[v_g][i] * v_unit[v_g][j]);
          end loop;
        end loop;
        for i in 1..v_size loop
          for j in 1..v_size loop
            v_target[i] := v_target[i] + v_gram[i][j] * v_before[v_at + 1 + j] * v_unit[v_g][j] * (family = 'gaussian')::int
              + v_gram[i][j] * v_start[j] * (family = 'binomial')::int;
          end loop;
        end loop;
        v_solved := ml._coordinate_descent(v_gram, v_target, v_start, v_lambda * alpha, v_lambda * (1 - alpha), max_iter, tolerance / 10);
        v_iterations[v_g] := v_iterations[v_g] + v_solved.sweeps;
        if family = 'binomial' then
          for j in 1..v_all loop
            v_before[v_at + j] := v_beta[v_at + j];
          end loop;
        end if;
        v_change := 0;
        v_value := v_step[3];
        for j in 1..v_size loop
          v_change := greatest(v_change, abs(v_solved.solution[j] - v_start[j]));
          v_beta[v_at + 1 + j] := v_solved.solution[j] / v_unit[v_g][j];
          v_value := v_value - v_h[1][j + 1] * (v_beta[v_at + 1 + j] - v_before[v_at + 1 + j]);
        end loop;
        v_beta[v_at + 1] := v_before[v_at + 1] + v_value / v_h[1][1];
        -- the deviance after this step, exact for gaussian
        v_deviance[v_g] := v_step[1];
        for i in 1..v_all loop
          v_value := v_beta[v_at + i] - v_before[v_at + i];
          v_deviance[v_g] := v_deviance[v_g] - 2 * v_value * v_step[2 + i];
          for j in 1..v_all loop
            v_deviance[v_g] := v_deviance[v_g] + v_value * v_h[i][j] * (v_beta[v_at + j] - v_before[v_at + j]);
          end loop;
        end loop;
        if family = 'gaussian' or v_change <= tolerance then
          v_living := array_remove(v_living, v_g);
        end if;
      end loop;
    end loop;

    for g in 1..v_groups loop
      key := v_first.keys[g];
      row_count := v_first.row_counts[g];
      skipped := v_first.skipped[g];
      lambda := v_lambda;
      deviance := v_deviance[g];
      iterations := v_iterations[g];
      settled := v_first.settled;
      failure := v_failure[g];
      coef := null;
      beta := null;
      intercept := null;
      if failure is null then
        v_full := array_fill(0::float8, array[v_width]);
        v_full[(v_first.settled ->> 'intercept')::int] := v_beta[(g - 1) * v_all + 1];
        for j in 1..v_size loop
          v_full[v_active[j]] := v_beta[(g - 1) * v_all + 1 + j];
        end loop;
        beta := v_full;
        v_full := (ml._unscaled(v_full, null, v_first.settled, (v_first.settled ->> 'intercept')::int, 1)).coef;
        intercept := v_full[1];
        coef := v_full[2:];
      end if;
      return next;
    end loop;
  end loop;
end;
$$;

comment on function ml._elastic_net_fits(jsonb, text, float8, float8[], boolean, integer, float8) is $$
Fits a path of lambdas, each from the one before, to each group. The first column of the design is the intercept.
`beta` belongs to the columns as they are summed, `coef` and `intercept` to the caller's.
$$;

create or replace function ml._elastic_net_design(
  tbl_source text,
  col_dep_var text,
  col_ind_var text,
  grouping_col text,
  excluded text,
  out design jsonb,
  out features text[]
)
language plpgsql
as $$
declare
  v_relation constant regclass := ml._relation(tbl_source);
  v_excluded constant text[] := ml._column_list(v_relation, excluded, 'excluded columns');
  v_groups constant text[] := ml._column_list(v_relation, grouping_col, 'grouping columns');
  v_inside text;
begin
  if btrim(col_ind_var) = '*' then
    features := array(
      select quote_ident(name)
      from unnest(ml._columns(v_relation)) with ordinality as list (name, nth)
      where quote_ident(name) <> all (v_excluded || v_groups) and quote_ident(name) <> btrim(col_dep_var) and name <> btrim(col_dep_var)
      order by nth
    );
    if features = '{}' then
      raise exception using errcode = 'CF001', message = format('"%s" has no other column', left(tbl_source, 100)),
        hint = 'Name the independent variables.';
    end if;
  else
    perform ml._expression(col_ind_var, v_relation, 'independent variable');
    v_inside := substring(btrim(col_ind_var, E' \t\r\n') from '^(?:[aA][rR][rR][aA][yY])\s*\[(.*)\]$');
    begin
      features := ml._split(v_inside);
    exception when sqlstate 'CF001' then
      features := null;
    end;
  end if;
  design := ml._design(
    tbl_source, col_dep_var,
    case when features is null then format('array[1::float8] || (%s)::float8[]', col_ind_var) else format('array[1, %s]', array_to_string(features, ', ')) end,
    grouping_col
  );
  features := coalesce(features, array(
    select format('(%s)[%s]', col_ind_var, place) from generate_series(1, (design ->> 'width')::int - 1) as place order by place
  ));
end;
$$;

comment on function ml._elastic_net_design(text, text, text, text, text) is $$
A design with an intercept put first, `*` standing for every other column of the table.
$$;

create or replace function ml.elastic_net_train(
  tbl_source text,
  tbl_result text,
  col_dep_var text,
  col_ind_var text,
  regress_family text,
  alpha float8,
  lambda_value float8,
  standardize boolean default true,
  grouping_col text default null,
  optimizer text default 'fista',
  optimizer_params text default null,
  excluded text default null,
  max_iter integer default 1000,
  tolerance float8 default 1e-6
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_output text := ml._output(tbl_result, array['_summary']);
  v_options jsonb := ml._options(optimizer_params, '{n_folds, n_lambdas, lambda_value, alpha, validation_result, warmup, max_iter, tolerance}', 'optimizer_params');
  v_folds constant integer := ml._number(v_options, 'n_folds', 0, 0, 100);
  v_family constant text := case lower(regress_family) when 'gaussian' then 'gaussian' when 'linear' then 'gaussian' when 'binomial' then 'binomial' when 'logistic' then 'binomial' end;
  v_validation text;
  v_made record;
  v_chosen record;
  v_alpha float8 := alpha;
  v_lambda float8 := lambda_value;
  v_result jsonb[] := '{}';
  v_rows bigint := 0;
  v_skipped bigint := 0;
  v_failed bigint := 0;
  v_fit record;
begin
  perform ml._check_iteration(max_iter, tolerance);
  if v_family is null then
    raise exception using errcode = 'CF001', message = format('there is no family "%s"', left(regress_family, 100)),
      hint = 'Give gaussian (or linear), or binomial (or logistic).';
  elsif lower(optimizer) is distinct from 'fista' and lower(optimizer) is distinct from 'igd' and lower(optimizer) is distinct from 'cd' then
    raise exception using errcode = 'CF001', message = format('there is no optimizer "%s"', left(optimizer, 100)),
      hint = 'fista, igd and cd are taken; the optimum is one and the same, and is found by coordinate descent.';
  elsif v_folds = 0 and (alpha is null or not alpha between 0 and 1) then
    raise exception using errcode = 'CF001', message = format('alpha is %s', coalesce(alpha::text, 'null')),
      hint = 'Give 0 (ridge) to 1 (lasso).';
  elsif v_folds = 0 and (lambda_value is null or not lambda_value >= 0 or lambda_value = 'Infinity') then
    raise exception using errcode = 'CF001', message = format('lambda is %s', coalesce(lambda_value::text, 'null')),
      hint = 'Give 0 or more.';
  elsif v_folds = 1 then
    raise exception using errcode = 'CF001', message = 'n_folds is 1', hint = 'Give 2 or more folds, or none for a given lambda.';
  end if;
  v_made := ml._elastic_net_design(tbl_source, col_dep_var, col_ind_var, grouping_col, excluded);

  if v_folds > 1 then
    if grouping_col is not null then
      raise exception using errcode = 'CF001', message = 'cross-validation can not be grouped',
        hint = 'Train each group on a view of its own.';
    end if;
    if v_options ->> 'validation_result' is not null then
      v_validation := ml._output(v_options ->> 'validation_result');
    end if;
    v_chosen := ml._elastic_net_cross_validation(
      v_made.design, v_family,
      coalesce(ml._list(v_options ->> 'alpha', 'alpha', 0, 1), array[coalesce(alpha, 1)]),
      ml._list(v_options ->> 'lambda_value', 'lambda_value', 0, 1e300), ml._number(v_options, 'n_lambdas', 15, 1, 1000)::int,
      v_folds, standardize, max_iter, tolerance, v_validation
    );
    v_alpha := v_chosen.alpha;
    v_lambda := v_chosen.lambda;
  end if;

  for v_fit in select * from ml._elastic_net_fits(v_made.design, v_family, v_alpha, array[v_lambda], standardize, max_iter, tolerance) loop
    v_rows := v_rows + v_fit.row_count;
    v_skipped := v_skipped + v_fit.skipped;
    v_failed := v_failed + (v_fit.failure is not null)::int;
    v_result := v_result || jsonb_build_object(
      'key', v_fit.key,
      'regress_family', v_family,
      'features', to_jsonb(v_made.features),
      'features_selected', (
        select coalesce(jsonb_agg(name order by nth), '[]')
          from unnest(v_made.features, v_fit.coef) with ordinality as list (name, value, nth) where value <> 0
      ),
      'coef_nonzero', (select coalesce(jsonb_agg(value order by nth), '[]')
        from unnest(v_fit.coef) with ordinality as list (value, nth) where value <> 0),
      'coef_all', to_jsonb(v_fit.coef),
      'intercept', v_fit.intercept,
      'log_likelihood', case
        when v_fit.failure is not null then null
        when v_family = 'binomial' then -v_fit.deviance / 2
        when v_fit.deviance > 0 then -v_fit.row_count / 2.0 * (ln(2 * pi() * v_fit.deviance / v_fit.row_count) + 1)
      end,
      'standardize', standardize,
      'iteration_run', v_fit.iterations,
      'alpha', v_alpha,
      'lambda_value', v_lambda,
      'num_rows_processed', v_fit.row_count,
      'num_missing_rows_skipped', v_fit.skipped,
      'failure', v_fit.failure
    );
  end loop;
  if v_failed = cardinality(v_result) then
    perform ml._fit_failed(v_result[1] ->> 'failure', v_made.design ->> 'relation');
  end if;
  perform ml._publish(
    v_output, v_made.design,
    'regress_family text, features text[], features_selected text[], coef_nonzero float8[], coef_all float8[], intercept float8, log_likelihood float8, '
      || 'standardize boolean, iteration_run integer, alpha float8, lambda_value float8, num_rows_processed bigint, num_missing_rows_skipped bigint, failure text',
    to_jsonb(v_result),
    jsonb_build_object(
      'method', 'elastic_net', 'source_table', tbl_source, 'out_table', tbl_result, 'dependent_varname', col_dep_var, 'independent_varname', col_ind_var,
      'regress_family', v_family, 'alpha', v_alpha, 'lambda_value', v_lambda, 'grouping_col', grouping_col,
      'num_rows_processed', v_rows, 'num_missing_rows_skipped', v_skipped, 'num_all_groups', cardinality(v_result), 'num_failed_groups', v_failed
    ),
    'method text, source_table text, out_table text, dependent_varname text, independent_varname text, regress_family text, alpha float8, '
      || 'lambda_value float8, grouping_col text, num_rows_processed bigint, num_missing_rows_skipped bigint, num_all_groups bigint, num_failed_groups bigint'
  );
end;
$$;

comment on function ml.elastic_net_train(text, text, text, text, text, float8, float8, boolean, text, text, text, text, integer, float8) is $$
@behavior -*
Linear (gaussian) or logistic (binomial) regression with the elastic net penalty, as MADlib's.
Minimises loss / n + lambda ((1 - alpha) / 2 b'b + alpha |b|), loss being half the squared residuals or minus the log likelihood.
An intercept is added and never penalised. `col_ind_var` is an array or `*` for every other column but those in `excluded`.
With `standardize` the penalty is on coefficients of columns divided by their standard deviation; those written are in the
columns' own units. `optimizer_params` with `n_folds=5` chooses lambda by cross-validation, among `lambda_value={…}` or
`n_lambdas` of them, and `alpha={…}`; `validation_result=table` keeps what it saw.
Writes `tbl_result`: the grouping columns, regress_family, features, features_selected, coef_nonzero, coef_all, intercept,
log_likelihood, standardize, iteration_run, and beyond MADlib's alpha, lambda_value, num_rows_processed,
num_missing_rows_skipped, failure; and `<tbl_result>_summary`.
Errors: CF001 (lambda < 0, alpha outside 0..1, not a number), CF002, CF003, CF004, CF005, CF008.
Source: Friedman, Hastie and Tibshirani, Regularization paths for generalized linear models via coordinate descent, J. Stat. Softw. 33, 2010.
$$;

create or replace function ml._list(list text, name text, smallest float8, largest float8)
returns float8[]
language plpgsql
immutable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_values float8[];
begin
  if list is null then
    return null;
  end if;
  begin
    v_values := (case when list like '{%' then list else '{' || list || '}' end)::float8[];
  exception when invalid_text_representation or numeric_value_out_of_range then
    null;
  end;
  if v_values is null or v_values = '{}' or exists (select
    from unnest(v_values) as value where value is null or not value between smallest and largest) then
    raise exception using errcode = 'CF001', message = format('%s is "%s"', left(name, 100), left(list, 100)),
      hint = format('Give numbers from %s to %s, such as {0.1, 0.5}.', smallest, largest);
  end if;
  return v_values;
end;
$$;

comment on function ml._list(text, text, float8, float8) is $$A list of numbers among options, within its bounds. Error CF001.$$;

create or replace function ml._elastic_net_cross_validation(
  design jsonb,
  family text,
  alphas float8[],
  lambdas float8[],
  n_lambdas integer,
  n_folds integer,
  standardize boolean,
  max_iter integer,
  tolerance float8,
  validation_result text,
  out alpha float8,
  out lambda float8
)
language plpgsql
as $$
declare
  -- which fold a row is in depends on its values alone, so on nothing that a rerun could change
  v_fold constant text := format('(hashtextextended(%s::text, 20240607) & 1073741823) %% %s', design ->> 'alias', n_folds);
  v_path float8[] := lambdas;
  v_top float8;
  v_alpha float8;
  v_part record;
  v_scores jsonb := '[]';
begin
  foreach v_alpha in array alphas loop
    if lambdas is null then
      -- from where every coefficient is 0, down to a thousandth of it
      v_top := ml._elastic_net_top(design, family, greatest(v_alpha, 0.001), standardize);
      v_path := array(select v_top * power(0.001::float8, (i - 1.0) / greatest(n_lambdas - 1, 1))
        from generate_series(1, n_lambdas) as i order by i);
    else
      v_path := array(select value from unnest(lambdas) as value order by value desc);
    end if;
    for fold in 0..n_folds - 1 loop
      for v_part in
        select fit.lambda, sum(part.sums[1]) as loss, sum(part.row_count) as row_count, fit.failure
        from ml._elastic_net_fits(design || jsonb_build_object('where', format('%s <> %s', v_fold, fold)), family, v_alpha, v_path, standardize, max_iter, tolerance) as fit
        left join lateral ml._sums(
          ml._glm_statement(
            fit.settled || jsonb_build_object('where', format('%s = %s', v_fold, fold)), family, case family when 'binomial' then 'logit' else 'identity' end, null,
            array[''], array[fit.beta[(fit.settled ->> 'intercept')::int]] || array(
              select fit.beta[place::int]
                from jsonb_array_elements_text(fit.settled -> 'active') with ordinality as list (place, nth) order by nth
            ),
            '{0}'::integer[] || array(select jsonb_array_elements_text(fit.settled -> 'active')::int)
          ),
          (design ->> 'relation')::regclass
        ) as part on fit.failure is null
        group by fit.lambda, fit.failure
      loop
        if v_part.failure is not null then
          perform ml._fit_failed(format('fold %s of %s: %s', fold + 1, n_folds, v_part.failure), design ->> 'relation');
        end if;
        v_scores := v_scores || jsonb_build_object('alpha', v_alpha, 'lambda', v_part.lambda, 'fold', fold, 'loss', v_part.loss / nullif(v_part.row_count, 0));
      end loop;
    end loop;
  end loop;
  select score.alpha, score.lambda into alpha, lambda
  from jsonb_to_recordset(v_scores) as score (alpha float8, lambda float8, fold integer, loss float8)
  group by score.alpha, score.lambda
  order by avg(score.loss), score.lambda desc
  limit 1;
  if validation_result is not null then
    execute format(
      $statement$
      create table %s as
      select alpha, lambda as lambda_value, avg(loss) as average_loss, coalesce(stddev_samp(loss), 0) as std_loss
      from jsonb_to_recordset(%L) as score (alpha float8, lambda float8, fold integer, loss float8)
      group by alpha, lambda
      order by alpha, lambda desc
      $statement$,
      validation_result, v_scores
    );
  end if;
end;
$$;

comment on function ml._elastic_net_cross_validation(jsonb, text, float8[], float8[], integer, integer, boolean, integer, float8, text) is $$
The alpha and lambda of least deviance on rows left out, fold by fold; ties go to the larger lambda.
$$;

create or replace function ml._elastic_net_top(design jsonb, family text, alpha float8, standardize boolean)
returns float8
language plpgsql
as $$
declare
  v_first record := ml._settled(design);
  v_active constant integer[] := array(select jsonb_array_elements_text(v_first.settled -> 'active')::int);
  v_mean constant float8 := v_first.sums[1] / nullif(v_first.row_counts[1], 0);
  v_n constant float8 := v_first.row_counts[1];
  v_all constant integer := cardinality(v_active) + 1;
  v_sums float8[];
  v_spread float8;
  v_top float8 := 0;
begin
  if v_mean is null or family = 'binomial' and (v_mean <= 0 or v_mean >= 1) then
    perform ml._fit_failed(case when v_mean is null then 'no row without a null' else format('it holds one class only, %s', v_mean) end, design ->> 'relation');
  end if;
  v_sums := (
    select part.sums
    from ml._sums(
      ml._glm_statement(
        v_first.settled, family, case family when 'binomial' then 'logit' else 'identity' end, null, array[''],
        array[case family when 'binomial' then ln(v_mean / (1 - v_mean)) else v_mean end] || array_fill(0::float8, array[v_all - 1]),
        '{0}'::integer[] || v_active
      ),
      (design ->> 'relation')::regclass
    ) as part
  );
  for j in 2..v_all loop
    -- the slope at zero, in the unit of the penalty; sums hold the upper triangle, whose row j starts after j - 1 shorter ones
    v_spread := v_sums[2 + v_all + j] / v_sums[2 + v_all + 1];
    v_spread := v_sums[2 + v_all + (j - 1) * v_all - (j - 1) * (j - 2) / 2 + 1] / v_sums[2 + v_all + 1] - v_spread * v_spread;
    if v_spread > 1e-24 then
      v_top := greatest(v_top, abs(v_sums[2 + j]) / v_n / case when standardize then sqrt(v_spread) else (design -> 'scale' ->> v_active[j - 1] - 1)::float8 end);
    end if;
  end loop;
  return greatest(v_top, 1e-9) / alpha;
end;
$$;

comment on function ml._elastic_net_top(jsonb, text, float8, boolean) is $$The least lambda at which every coefficient is 0: where a path begins.$$;

grant execute on function
  ml._coordinate_descent(float8[], float8[], float8[], float8, float8, integer, float8),
  ml._elastic_net_fits(jsonb, text, float8, float8[], boolean, integer, float8),
  ml._elastic_net_design(text, text, text, text, text),
  ml._list(text, text, float8, float8),
  ml._elastic_net_cross_validation(jsonb, text, float8[], float8[], integer, integer, boolean, integer, float8, text),
  ml._elastic_net_top(jsonb, text, float8, boolean),
  ml.elastic_net_train(text, text, text, text, text, float8, float8, boolean, text, text, text, text, integer, float8)
to insights_admin, insights_worker;
--! EndIncluded ml/functions/elastic_net_train.sql
--! Included ml/functions/elastic_net_gaussian_predict.sql
create or replace function ml.elastic_net_gaussian_predict(coefficients float8[], intercept float8, ind_var float8[])
returns float8
language sql
immutable
parallel safe
begin atomic
  select elastic_net_gaussian_predict.intercept
    + ml.linregr_predict(elastic_net_gaussian_predict.coefficients, elastic_net_gaussian_predict.ind_var);
end;

comment on function ml.elastic_net_gaussian_predict(float8[], float8, float8[]) is $$
Prediction of a linear elastic net: intercept plus coef_all times the independent variables. Error CF001 when lengths differ.
$$;

grant execute on function ml.elastic_net_gaussian_predict(float8[], float8, float8[])
to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/functions/elastic_net_gaussian_predict.sql
--! Included ml/functions/elastic_net_binomial_prob.sql
create or replace function ml.elastic_net_binomial_prob(coefficients float8[], intercept float8, ind_var float8[])
returns float8
language sql
immutable
parallel safe
begin atomic
  select ml.logregr_predict_prob(
    elastic_net_binomial_prob.intercept || elastic_net_binomial_prob.coefficients, 1::float8 || elastic_net_binomial_prob.ind_var
  );
end;

comment on function ml.elastic_net_binomial_prob(float8[], float8, float8[]) is $$
Probability of the class 1 (true) by a logistic elastic net, from coef_all and intercept. Error CF001 when lengths differ.
$$;

grant execute on function ml.elastic_net_binomial_prob(float8[], float8, float8[])
to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/functions/elastic_net_binomial_prob.sql
--! Included ml/functions/elastic_net_predict.sql
create or replace function ml.elastic_net_predict(regress_family text, coefficients float8[], intercept float8, ind_var float8[])
returns float8
language plpgsql
immutable
parallel safe
strict
set search_path to pg_catalog, pg_temp
as $$
begin
  case lower(regress_family)
    when 'gaussian', 'linear' then return ml.elastic_net_gaussian_predict(coefficients, intercept, ind_var);
    when 'binomial', 'logistic' then return (ml.elastic_net_binomial_prob(coefficients, intercept, ind_var) > 0.5)::int;
    else
      raise exception using errcode = 'CF001', message = format('there is no family "%s"', left(regress_family, 100)), hint = 'Give gaussian or binomial.';
  end case;
end;
$$;

comment on function ml.elastic_net_predict(text, float8[], float8, float8[]) is $$
Prediction of an elastic net, as MADlib's.
The value (gaussian), or the class as 0 or 1 (binomial; the probability is
ml.elastic_net_binomial_prob). `coefficients` is coef_all. Error CF001 for an unknown family, or when the lengths differ.
$$;

grant execute on function ml.elastic_net_predict(text, float8[], float8, float8[])
to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/functions/elastic_net_predict.sql
--! Included ml/functions/ridge_train.sql
create or replace function ml.ridge_train(
  source_table text,
  out_table text,
  dependent_varname text,
  independent_varname text,
  lambda float8,
  grouping_cols text default null
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_output text := ml._output(out_table, array['_summary']);
  v_design jsonb;
  v_first record;
  v_intercept integer;
  v_variables integer[];
  v_place integer[];
  v_size integer;
  v_width integer;
  v_keys text[];
  v_beta float8[];
  v_part record;
  v_matrix float8[];
  v_penalized float8[];
  v_inverse float8[];
  v_full float8[];
  v_value float8;
  v_unit float8;
  v_rss float8;
  v_total float8;
  v_degrees float8;
  v_at integer;
  v_failed bigint := 0;
  v_result jsonb[] := '{}';
begin
  if lambda is null or not lambda >= 0 or lambda = 'Infinity' then
    raise exception using errcode = 'CF001', message = format('lambda is %s', coalesce(lambda::text, 'null')),
      hint = 'Give 0 or more.';
  end if;
  v_design := ml._design(source_table, dependent_varname, independent_varname, grouping_cols);
  v_first := ml._settled(v_design);
  v_width := (v_design ->> 'width')::int;
  v_intercept := (v_first.settled ->> 'intercept')::int;
  v_variables := ml._variables(v_first.settled);
  v_size := cardinality(v_variables);
  v_place := array(select case when variable = 0 then v_intercept else variable end
    from unnest(v_variables) with ordinality as list (variable, nth) order by nth);
  if v_first.failure is not null and v_first.failure ~ 'constant, and so' then
    perform ml._fit_failed(v_first.failure, v_design ->> 'relation');
  end if;

  v_keys := array(select key
    from unnest(v_first.keys, v_first.row_counts) with ordinality as list (key, row_count, nth) where row_count > 0 order by nth);
  if v_keys = '{}' then
    perform ml._fit_failed('no row without a null', v_design ->> 'relation');
  end if;
  -- from the mean of y, so that its level costs no digits
  v_beta := array(
    select case when j = 1 and v_intercept is not null then v_first.sums[4 * nth - 3] / v_first.row_counts[nth] else 0 end
    from unnest(v_first.row_counts) with ordinality as list (row_count, nth), generate_series(1, v_size) as j
    where row_count > 0
    order by nth, j
  );
  for v_part in
    select part.key::int as g, part.row_count, part.sums
    from ml._sums(ml._glm_statement(v_first.settled, 'gaussian', 'identity', null, v_keys, v_beta, v_variables), (v_design ->> 'relation')::regclass) as part
  loop
    v_matrix := array_fill(0::float8, array[v_size, v_size]);
    v_at := 2 + v_size;
    for i in 1..v_size loop
      for j in i..v_size loop
        v_at := v_at + 1;
        v_matrix[i][j] := v_part.sums[v_at];
        v_matrix[j][i] := v_part.sums[v_at];
      end loop;
    end loop;
    v_penalized := v_matrix;
    for i in 1..v_size loop
      if v_variables[i] > 0 then
        v_unit := (v_first.settled -> 'scale' ->> v_variables[i] - 1)::float8;
        v_penalized[i][i] := v_penalized[i][i] + lambda * v_unit * v_unit;
      end if;
    end loop;
    v_inverse := (ml._scaled_inverse(v_penalized, 1e-13)).inverse;
    if v_inverse is null then
      if v_design -> 'groups' = '[]' then
        perform ml._fit_failed('the columns are collinear, and lambda is too small to tell them apart', v_design ->> 'relation');
      end if;
      v_failed := v_failed + 1;
      v_result := v_result || jsonb_build_object('key', v_keys[v_part.g], 'num_rows_processed', v_part.row_count, 'failure', 'the columns are collinear, and lambda is too small to tell them apart');
      continue;
    end if;
    v_full := array_fill(0::float8, array[v_width]);
    v_degrees := 0;
    for i in 1..v_size loop
      v_value := 0;
      for j in 1..v_size loop
        v_value := v_value + v_inverse[i][j] * v_part.sums[2 + j];
        v_degrees := v_degrees + v_inverse[i][j] * v_matrix[j][i];
      end loop;
      v_full[v_place[i]] := v_value;
    end loop;
    v_total := v_part.sums[1];
    v_rss := v_total;
    for i in 1..v_size loop
      v_rss := v_rss - 2 * v_full[v_place[i]] * v_part.sums[2 + i];
      for j in 1..v_size loop
        v_rss := v_rss + v_full[v_place[i]] * v_matrix[i][j] * v_full[v_place[j]];
      end loop;
    end loop;
    if v_intercept is not null then
      v_full[v_intercept] := v_full[v_intercept] + v_beta[(v_part.g - 1) * v_size + 1];
    end if;
    v_result := v_result || jsonb_build_object(
      'key', v_keys[v_part.g],
      'coef', to_jsonb((ml._unscaled(v_full, null, v_first.settled, v_intercept, (v_first.settled ->> 'intercept_value')::float8)).coef),
      'lambda', lambda,
      'r2', case when v_total > 0 then 1 - v_rss / v_total end,
      'effective_df', v_degrees,
      'num_rows_processed', v_part.row_count,
      'num_missing_rows_skipped', v_first.skipped[array_position(v_first.keys, v_keys[v_part.g])]
    );
  end loop;
  perform ml._publish(
    v_output, v_design,
    'coef float8[], lambda float8, r2 float8, effective_df float8, num_rows_processed bigint, num_missing_rows_skipped bigint, failure text',
    to_jsonb(v_result),
    jsonb_build_object(
      'method', 'ridge', 'source_table', source_table, 'out_table', out_table, 'dependent_varname', dependent_varname,
      'independent_varname', independent_varname, 'lambda', lambda, 'grouping_cols', grouping_cols,
      'num_rows_processed', (select sum(n) from unnest(v_first.row_counts) as n), 'num_missing_rows_skipped', (select sum(n)
        from unnest(v_first.skipped) as n),
      'num_all_groups', cardinality(v_first.keys), 'num_failed_groups', v_failed
    ),
    'method text, source_table text, out_table text, dependent_varname text, independent_varname text, lambda float8, grouping_cols text, '
      || 'num_rows_processed bigint, num_missing_rows_skipped bigint, num_all_groups bigint, num_failed_groups bigint'
  );
end;
$$;

comment on function ml.ridge_train(text, text, text, text, float8, text) is $$
@behavior -*
Ridge regression: minimises the squared residuals plus lambda times the squared coefficients, in closed form, from two scans.
A constant column among the independent variables is the intercept and is not penalised; none is added. Works where columns
are collinear or more than the rows. Predict with ml.linregr_predict.
Writes `out_table`: the grouping columns, coef, lambda, r2, effective_df (trace of the hat matrix), num_rows_processed,
num_missing_rows_skipped, failure; and `<out_table>_summary`.
Errors: CF001 (lambda < 0, not a number), CF002, CF003, CF004, CF005, CF007 (collinear with lambda 0), CF008.
Source: Hoerl and Kennard, Technometrics 12, 1970.
$$;

grant execute on function ml.ridge_train(text, text, text, text, float8, text) to insights_admin, insights_worker;
--! EndIncluded ml/functions/ridge_train.sql
--! Included ml/functions/_sandwich.sql
/*
 * Standard errors that hold when rows differ in spread (Huber and White) or belong together (clusters): bread, meat, bread.
 * One more scan at the fitted coefficients gives both.
 */
create or replace function ml._sandwich(
  method text,
  source_table text,
  out_table text,
  dependent_varname text,
  independent_varname text,
  clustervar text,
  grouping_cols text,
  max_iter integer,
  tolerance float8
)
returns void
language plpgsql
set extra_float_digits to 1
as $$
declare
  v_linear constant boolean := method like '%linregr';
  v_family constant text := case when v_linear then 'gaussian' else 'binomial' end;
  v_link constant text := case when v_linear then 'identity' else 'logit' end;
  v_clustered constant boolean := method like 'clustered%';
  v_output text := ml._output(out_table, array['_summary']);
  v_design jsonb;
  v_settled jsonb;
  v_width integer;
  v_intercept integer;
  v_variables integer[];
  v_size integer;
  v_keys text[] := '{}';
  v_beta float8[] := '{}';
  v_fits jsonb := '{}';
  v_result jsonb[] := '{}';
  v_rows bigint := 0;
  v_skipped bigint := 0;
  v_failed bigint := 0;
  v_fit record;
  v_part record;
  v_bread float8[];
  v_meat float8[];
  v_full float8[];
  v_half float8[];
  v_value float8;
  v_at integer;
  v_place integer[];
  v_covariance float8[];
  v_wald record;
  v_statement text;
  v_source text;
begin
  perform ml._check_iteration(max_iter, tolerance);
  v_design := ml._design(source_table, dependent_varname, independent_varname, grouping_cols);
  v_width := (v_design ->> 'width')::int;
  if v_clustered then
    if nullif(btrim(clustervar), '') is null then
      raise exception using errcode = 'CF001', message = 'no cluster column is named',
        hint = 'Name the columns whose values make a cluster, such as ''course_id''.';
    end if;
    v_design := v_design || jsonb_build_object('clusters', to_jsonb(ml._column_list((v_design ->> 'relation')::regclass, clustervar, 'cluster columns')));
  end if;
  for v_fit in select * from ml._glm_fits(v_design - 'clusters', v_family, v_link, max_iter, tolerance) loop
    v_rows := v_rows + v_fit.row_count;
    v_skipped := v_skipped + v_fit.skipped;
    v_settled := v_fit.settled || case when v_clustered then jsonb_build_object('clusters', v_design -> 'clusters') else '{}' end;
    if v_fit.failure is not null then
      if v_design -> 'groups' = '[]' then
        perform ml._fit_failed(v_fit.failure, v_design ->> 'relation');
      end if;
      v_failed := v_failed + 1;
      v_result := v_result || jsonb_build_object('key', v_fit.key, 'num_rows_processed', v_fit.row_count, 'num_missing_rows_skipped', v_fit.skipped, 'failure', v_fit.failure);
      continue;
    end if;
    if v_variables is null then
      v_intercept := (v_settled ->> 'intercept')::int;
      v_variables := ml._variables(v_settled);
      v_size := cardinality(v_variables);
      v_place := array(select case when variable = 0 then v_intercept else variable end
        from unnest(v_variables) with ordinality as list (variable, nth) order by nth);
    end if;
    v_keys := v_keys || v_fit.key;
    for i in 1..v_size loop
      v_beta := v_beta || v_fit.beta[v_place[i]];
    end loop;
    v_fits := v_fits || jsonb_build_object(cardinality(v_keys)::text, jsonb_build_object(
      'key', v_fit.key, 'beta', to_jsonb(v_fit.beta), 'coef', to_jsonb(v_fit.coef), 'row_count', v_fit.row_count, 'skipped', v_fit.skipped
    ));
  end loop;
  if v_keys = '{}' then
    perform ml._fit_failed(v_result[1] ->> 'failure', v_design ->> 'relation');
  end if;

  v_source := ml._glm_source(v_settled, v_family, v_link, null, v_keys, v_beta, v_variables);
  select
    string_agg(format('sum(weight%s%s)', row_list.term, column_list.term), ', ' order by row_list.nth, column_list.nth),
    string_agg(
      format(
        case when v_clustered then 'sum(s%3$s * s%4$s)' else 'sum(score * score%1$s%2$s)' end,
        row_list.term, column_list.term, row_list.nth, column_list.nth
      ), ', ' order by row_list.nth, column_list.nth
    )
  into v_statement, v_source
  from (select case when variable = 0 then '' else ' * d' || variable end as term, nth
    from unnest(v_variables) with ordinality as list (variable, nth)) as row_list
  join (select case when variable = 0 then '' else ' * d' || variable end as term, nth
    from unnest(v_variables) with ordinality as list (variable, nth)) as column_list
    on column_list.nth >= row_list.nth;
  if v_clustered then
    v_statement := format(
      'select nth::text, true, count(*), array[%s, %s] from (select nth, %s, %s from %s group by nth, cluster) as clustered group by nth',
      (select string_agg(format('sum(b%s)', nth), ', ' order by nth) from generate_series(1, v_size * (v_size + 1) / 2) as nth),
      v_source,
      (select string_agg(format('%s as b%s', term, nth), ', ' order by nth) from regexp_split_to_table(v_statement, ', ') with ordinality as list (term, nth)),
      (select string_agg(format('sum(score%s) as s%s', case when variable = 0 then '' else ' * d' || variable end, nth), ', ' order by nth)
        from unnest(v_variables) with ordinality as list (variable, nth)),
      ml._glm_source(v_settled, v_family, v_link, null, v_keys, v_beta, v_variables)
    );
  else
    v_statement := format(
      'select nth::text, true, count(*), array[%s, %s] from %s group by nth',
      v_statement, v_source, ml._glm_source(v_settled, v_family, v_link, null, v_keys, v_beta, v_variables)
    );
  end if;

  for v_part in
    select part.row_count as clusters, part.sums, v_fits -> part.key as fit
    from ml._sums(v_statement, (v_design ->> 'relation')::regclass) as part
  loop
    v_bread := array_fill(0::float8, array[v_size, v_size]);
    v_meat := v_bread;
    v_half := v_bread;
    v_at := 0;
    for i in 1..v_size loop
      for j in i..v_size loop
        v_at := v_at + 1;
        v_bread[i][j] := v_part.sums[v_at];
        v_bread[j][i] := v_part.sums[v_at];
        v_meat[i][j] := v_part.sums[v_size * (v_size + 1) / 2 + v_at];
        v_meat[j][i] := v_meat[i][j];
      end loop;
    end loop;
    v_bread := (ml._scaled_inverse(v_bread, 1e-14)).inverse;
    for i in 1..v_size loop
      for j in 1..v_size loop
        v_value := 0;
        for m in 1..v_size loop
          v_value := v_value + v_bread[i][m] * v_meat[m][j];
        end loop;
        v_half[i][j] := v_value;
      end loop;
    end loop;
    v_full := array_fill(0::float8, array[v_width, v_width]);
    for i in 1..v_size loop
      for j in 1..v_size loop
        v_value := 0;
        for m in 1..v_size loop
          v_value := v_value + v_half[i][m] * v_bread[m][j];
        end loop;
        v_full[v_place[i]][v_place[j]] := v_value;
      end loop;
    end loop;
    v_covariance := (ml._unscaled(array(select jsonb_array_elements_text(v_part.fit -> 'beta')::float8), v_full, v_settled, v_intercept, (v_settled ->> 'intercept_value')::float8)).vcov;
    if v_clustered then
      if v_part.clusters < 2 then
        perform ml._fit_failed(format('%s rows for 2 clusters at least', v_part.clusters), v_design ->> 'relation');
      end if;
      v_covariance := ml._scaled(v_covariance, v_part.clusters / (v_part.clusters - 1.0)
        * ((v_part.fit ->> 'row_count')::float8 - 1) / nullif((v_part.fit ->> 'row_count')::float8 - v_width, 0));
    end if;
    v_wald := ml._wald(
      array(select jsonb_array_elements_text(v_part.fit -> 'coef')::float8), v_covariance,
      case when v_linear then nullif((v_part.fit ->> 'row_count')::float8 - v_width, 0) end
    );
    v_result := v_result || jsonb_build_object(
      'key', v_part.fit ->> 'key',
      'coef', v_part.fit -> 'coef',
      'std_err', to_jsonb(v_wald.std_err),
      't_stats', to_jsonb(v_wald.stats),
      'z_stats', to_jsonb(v_wald.stats),
      'p_values', to_jsonb(v_wald.p_values),
      'variance_covariance', to_jsonb(v_covariance),
      'num_clusters', case when v_clustered then v_part.clusters end,
      'num_rows_processed', v_part.fit -> 'row_count',
      'num_missing_rows_skipped', v_part.fit -> 'skipped'
    );
  end loop;

  perform ml._publish(
    v_output, v_design,
    format(
      'coef float8[], std_err float8[], %s float8[], p_values float8[], variance_covariance float8[], %snum_rows_processed bigint, num_missing_rows_skipped bigint, failure text',
      case when v_linear then 't_stats' else 'z_stats' end, case when v_clustered then 'num_clusters bigint, ' else '' end
    ),
    to_jsonb(v_result),
    jsonb_build_object(
      'method', method, 'source_table', source_table, 'out_table', out_table, 'dependent_varname', dependent_varname,
      'independent_varname', independent_varname, 'clustervar', clustervar, 'grouping_cols', grouping_cols,
      'num_rows_processed', v_rows, 'num_missing_rows_skipped', v_skipped, 'num_all_groups', cardinality(v_result), 'num_failed_groups', v_failed
    ),
    'method text, source_table text, out_table text, dependent_varname text, independent_varname text, clustervar text, grouping_cols text, '
      || 'num_rows_processed bigint, num_missing_rows_skipped bigint, num_all_groups bigint, num_failed_groups bigint'
  );
end;
$$;

comment on function ml._sandwich(text, text, text, text, text, text, text, integer, float8) is $$
Fits, then writes coefficients with sandwich standard errors.
B M B, B being the inverse information and M the sum of squared scores
(HC0) or of squared cluster totals, those times m / (m - 1) (n - 1) / (n - k).
$$;

grant execute on function ml._sandwich(text, text, text, text, text, text, text, integer, float8)
to insights_admin, insights_worker;
--! EndIncluded ml/functions/_sandwich.sql
--! Included ml/functions/robust_variance_linregr.sql
create or replace function ml.robust_variance_linregr(
  source_table text,
  out_table text,
  dependent_varname text,
  independent_varname text,
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
  perform ml._sandwich('robust_variance_linregr', source_table, out_table, dependent_varname, independent_varname, null, grouping_cols, 20, 1e-6);
end;
$$;

comment on function ml.robust_variance_linregr(text, text, text, text, text) is $$
@behavior -*
Linear regression with standard errors that hold when the spread of the residuals depends on the row, as MADlib's.
Writes `out_table`: the grouping columns, coef, std_err, t_stats, p_values, and beyond MADlib's variance_covariance,
num_rows_processed, num_missing_rows_skipped, failure; and `<out_table>_summary`.
Source: White, Econometrica 48, 1980: HC0, without a correction for small samples.
Errors: as ml.linregr_train.
$$;

grant execute on function ml.robust_variance_linregr(text, text, text, text, text) to insights_admin, insights_worker;
--! EndIncluded ml/functions/robust_variance_linregr.sql
--! Included ml/functions/robust_variance_logregr.sql
create or replace function ml.robust_variance_logregr(
  source_table text,
  out_table text,
  dependent_varname text,
  independent_varname text,
  grouping_cols text default null,
  max_iter integer default 20,
  optimizer text default 'irls',
  tolerance float8 default 0.0001,
  verbose_mode boolean default false
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
begin
  if lower(optimizer) not in ('irls', 'newton') then
    raise exception using errcode = 'CF001', message = format('there is no optimizer "%s"', left(optimizer, 100)),
      hint = 'Use irls (the same as newton).';
  end if;
  perform ml._sandwich('robust_variance_logregr', source_table, out_table, dependent_varname, independent_varname, null, grouping_cols, max_iter, tolerance);
end;
$$;

comment on function ml.robust_variance_logregr(text, text, text, text, text, integer, text, float8, boolean) is $$
@behavior -*
Logistic regression with Huber-White standard errors, as MADlib's.
Writes `out_table`: the grouping columns, coef, std_err, z_stats, p_values, and beyond MADlib's variance_covariance,
num_rows_processed, num_missing_rows_skipped, failure; and `<out_table>_summary`.
Source: Huber, Fifth Berkeley Symposium, 1967; HC0 of R's sandwich.
Errors: as ml.logregr_train.
$$;

grant execute on function ml.robust_variance_logregr(text, text, text, text, text, integer, text, float8, boolean) to insights_admin, insights_worker;
--! EndIncluded ml/functions/robust_variance_logregr.sql
--! Included ml/functions/clustered_variance_linregr.sql
create or replace function ml.clustered_variance_linregr(
  source_table text,
  out_table text,
  dependent_varname text,
  independent_varname text,
  clustervar text,
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
  perform ml._sandwich('clustered_variance_linregr', source_table, out_table, dependent_varname, independent_varname, clustervar, grouping_cols, 20, 1e-6);
end;
$$;

comment on function ml.clustered_variance_linregr(text, text, text, text, text, text) is $$
@behavior -*
Linear regression with standard errors that hold when rows of a cluster (a course, a school) belong together, as MADlib's.
`clustervar` is a list of columns whose values make a cluster. Writes `out_table`: the grouping columns, coef, std_err,
t_stats, p_values, and beyond MADlib's variance_covariance, num_clusters, num_rows_processed, num_missing_rows_skipped,
failure; and `<out_table>_summary`. The variance is multiplied by m / (m - 1) (n - 1) / (n - k).
Source: Liang and Zeger, Biometrika 73, 1986.
Errors: as ml.linregr_train.
$$;

grant execute on function ml.clustered_variance_linregr(text, text, text, text, text, text) to insights_admin, insights_worker;
--! EndIncluded ml/functions/clustered_variance_linregr.sql
--! Included ml/functions/clustered_variance_logregr.sql
create or replace function ml.clustered_variance_logregr(
  source_table text,
  out_table text,
  dependent_varname text,
  independent_varname text,
  clustervar text,
  grouping_cols text default null,
  max_iter integer default 20,
  optimizer text default 'irls',
  tolerance float8 default 0.0001,
  verbose_mode boolean default false
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
begin
  if lower(optimizer) not in ('irls', 'newton') then
    raise exception using errcode = 'CF001', message = format('there is no optimizer "%s"', left(optimizer, 100)),
      hint = 'Use irls (the same as newton).';
  end if;
  perform ml._sandwich('clustered_variance_logregr', source_table, out_table, dependent_varname, independent_varname, clustervar, grouping_cols, max_iter, tolerance);
end;
$$;

comment on function ml.clustered_variance_logregr(text, text, text, text, text, text, integer, text, float8, boolean) is $$
@behavior -*
Logistic regression with standard errors that hold when rows of a cluster belong together, as MADlib's.
Writes `out_table`: as ml.clustered_variance_linregr, with z_stats.
Source: Liang and Zeger, Biometrika 73, 1986.
Errors: as ml.logregr_train.
$$;

grant execute on function ml.clustered_variance_logregr(text, text, text, text, text, text, integer, text, float8, boolean) to insights_admin, insights_worker;
--! EndIncluded ml/functions/clustered_variance_logregr.sql
--! Included ml/functions/mlogregr_train.sql
create or replace function ml._multinomial_statement(
  design jsonb,
  categories integer[],
  keys text[],
  beta float8[],
  variables integer[]
)
returns text
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_count constant integer := cardinality(categories);
  v_columns constant text := (select coalesce(string_agg(', d' || variable, '' order by nth), '')
    from unnest(variables) with ordinality as list (variable, nth) where variable > 0);
  v_all constant text := (select string_agg('eta' || c, ', ' order by c) from generate_series(1, v_count) as c);
  -- the coefficient of variable 2 for the third category is b3002
  v_coefficients constant integer[] := array(
    select 1000 * c + variable
      from generate_series(1, v_count) as c, unnest(variables) with ordinality as list (variable, nth) order by c, nth
  );
  v_source text;
begin
  v_source := format('(%s) as first', ml._layer(
    format('fit.nth, row.y%s, %s', replace(v_columns, ', ', ', row.'), (
      select string_agg(format('%s as eta%s', (
        select string_agg(format(case when variable = 0 then 'fit.b%1$s' else 'fit.b%1$s * row.d%2$s' end, 1000 * c + variable, variable), ' + ' order by nth)
        from unnest(variables) with ordinality as list (variable, nth)
      ), c), ', ' order by c)
      from generate_series(1, v_count) as c
    )),
    format('(select * from (%s) as row where complete) as row %s', ml._rows(design), ml._model_of_group(design, keys, beta, v_coefficients))
  ));
  -- the largest is taken off before exp, so nothing overflows
  v_source := format('(%s) as second', ml._layer(format('nth, y%s, %s, greatest(0, %s) as top', v_columns, v_all, v_all), v_source));
  v_source := format('(%s) as third', ml._layer(
    format('nth, y%s, %s, top, exp(greatest(-top, -200)) as e0, %s', v_columns, v_all,
      (select string_agg(format('exp(greatest(eta%s - top, -200)) as e%s', c, c), ', ' order by c)
        from generate_series(1, v_count) as c)),
    v_source
  ));
  v_source := format('(%s) as fourth', ml._layer(
    format('nth, y%s, %s, top, e0 + %s as total, %s', v_columns, v_all,
      (select string_agg('e' || c, ' + ' order by c) from generate_series(1, v_count) as c),
      (select string_agg('e' || c, ', ' order by c) from generate_series(1, v_count) as c)),
    v_source
  ));
  v_source := format('(%s) as fifth', ml._layer(
    format('nth, y%s, case %s else 0 end - top - ln(total) as likelihood, %s', v_columns,
      (select string_agg(format('when y = %s then eta%s', category, c), ' ' order by c)
        from unnest(categories) with ordinality as list (category, c)),
      (select string_agg(format('e%s / total as p%s', c, c), ', ' order by c) from generate_series(1, v_count) as c)),
    v_source
  ));
  v_source := format('(%s) as sixth', ml._layer(
    format('nth, likelihood%s, %s, %s', v_columns,
      (select string_agg(format('case when y = %s then 1 - p%s else -p%s end as s%s', category, c, c, c), ', ' order by c)
        from unnest(categories) with ordinality as list (category, c)),
      (select string_agg(format(case when a = b then 'p%1$s * (1 - p%1$s) as w%1$s_%2$s' else '-p%1$s * p%2$s as w%1$s_%2$s' end, a, b), ', ' order by a, b)
        from generate_series(1, v_count) as a, generate_series(1, v_count) as b where b >= a)),
    v_source
  ));
  return format(
    'select %s, true, count(*), array[sum(likelihood), %s, %s] from %s%s',
    case when design -> 'groups' = '[]' then '''1''' else 'nth::text' end,
    (select string_agg(format('sum(s%s%s)', c, case when variable = 0 then '' else ' * d' || variable end), ', ' order by c, nth)
      from generate_series(1, v_count) as c, unnest(variables) with ordinality as list (variable, nth)),
    (select string_agg(
        format('sum(w%s_%s%s%s)', a, b, ' * d' || nullif(i.variable, 0), ' * d' || nullif(j.variable, 0)), ', ' order by a, b, i.nth, j.nth
      )
      from generate_series(1, v_count) as a, generate_series(1, v_count) as b,
        unnest(variables) with ordinality as i (variable, nth), unnest(variables) with ordinality as j (variable, nth)
      where b >= a and j.nth >= i.nth),
    v_source,
    case when design -> 'groups' = '[]' then '' else ' group by nth' end
  );
end;
$$;

comment on function ml._multinomial_statement(jsonb, integer[], text[], float8[], integer[]) is $$
One Newton step of multinomial logistic regression as a statement.
By group: the log likelihood, the score, and the information by pairs of categories, upper triangles. `categories` are those
but the reference; `beta` holds them one after another, group by group.
$$;

create or replace function ml._multinomial_fits(
  design jsonb,
  ref_category integer,
  max_iter integer,
  tolerance float8,
  out settled jsonb,
  out categories integer[],
  out key text,
  out row_count bigint,
  out skipped bigint,
  out log_likelihood float8,
  out beta float8[],
  out inverse float8[],
  out iterations integer,
  out converged boolean,
  out failure text
)
returns setof record
language plpgsql
as $$
declare
  v_first constant record := ml._settled(design);
  v_groups constant integer := cardinality(v_first.keys);
  v_relation constant regclass := (design ->> 'relation')::regclass;
  v_intercept constant integer := (v_first.settled ->> 'intercept')::int;
  v_variables constant integer[] := ml._variables(v_first.settled);
  v_spread constant float8[] := array(select jsonb_array_elements_text(v_first.settled -> 'spread')::float8);
  v_size constant integer := cardinality(v_variables);
  v_found integer[] := '{}';
  v_present jsonb := '{}';
  v_categories integer[];
  v_count integer;
  v_all integer;
  v_part record;
  v_living integer[];
  v_beta float8[];
  v_before float8[];
  v_likelihood float8[] := array_fill('-Infinity'::float8, array[v_groups]);
  v_halvings integer[] := array_fill(0, array[v_groups]);
  v_iterations integer[] := array_fill(0, array[v_groups]);
  v_done boolean[] := array_fill(false, array[v_groups]);
  v_good boolean[] := array_fill(false, array[v_groups]);
  v_failure text[] := array_fill(v_first.failure, array[v_groups]);
  v_inverse jsonb[] := array_fill(null::jsonb, array[v_groups]);
  v_matrix float8[];
  v_solved record;
  v_g integer;
  v_at integer;
  v_base integer;
  v_value float8;
  v_gain float8;
  v_farthest float8;
  v_column integer;
begin
  for v_part in
    select coalesce(part.key, '') as key, part.sums[1] as category
    from ml._sums(
      format('select key, true, count(*), array[y] from (%s) as row where complete group by key, y', ml._rows(v_first.settled)),
      v_relation
    ) as part
    order by part.sums[1]
  loop
    if v_part.category <> round(v_part.category) or abs(v_part.category) > 2147483647 then
      raise exception using errcode = 'CF001',
        message = format('the dependent variable "%s" holds %s, a category is a whole number', left(design ->> 'y', 100), v_part.category),
        hint = 'Number the categories 0, 1, 2, …';
    end if;
    if not v_part.category::integer = any (v_found) then
      v_found := v_found || v_part.category::integer;
      if cardinality(v_found) > 100 then
        raise exception using errcode = 'CF008',
          message = format('the dependent variable "%s" has more than 100 categories', left(design ->> 'y', 100)),
          hint = 'Join rare categories, or use a regression for numbers.';
      end if;
    end if;
    v_present := v_present || jsonb_build_object(v_part.key, coalesce((v_present ->> v_part.key)::int, 0) + 1);
  end loop;
  if v_found <> '{}' and cardinality(v_found) > 1 and not ref_category = any (v_found) then
    raise exception using errcode = 'CF002',
      message = format('"%s" never holds the reference category %s', left(design ->> 'y', 100), ref_category),
      hint = format('Its categories are %s.', array_to_string(v_found, ', '));
  end if;
  v_categories := array_remove(v_found, ref_category);
  v_count := cardinality(v_categories);
  v_all := v_size * v_count;
  if v_all > 120 then
    raise exception using errcode = 'CF008',
      message = format('%s coefficients: %s categories of %s columns', v_all, v_count, v_size),
      hint = 'At most 120 can be fitted; join rare categories.';
  end if;
  for g in 1..v_groups loop
    v_failure[g] := coalesce(v_failure[g], case
      when v_first.row_counts[g] = 0 then 'no row without a null'
      when cardinality(v_found) < 2 then 'it holds one class only, ' || v_found[1]
      when (v_present ->> v_first.keys[g])::int < cardinality(v_found) then format('it holds %s of the %s categories', v_present ->> v_first.keys[g], cardinality(v_found))
      when v_first.row_counts[g] < v_all then format('%s complete rows for %s coefficients', v_first.row_counts[g], v_all)
    end);
    v_done[g] := v_failure[g] is not null;
  end loop;
  v_beta := array_fill(0::float8, array[greatest(v_groups * v_all, 1)]);
  v_before := v_beta;

  for iteration in 1..max_iter loop
    v_living := array(select g from generate_series(1, v_groups) as g where not v_done[g]);
    exit when v_living = '{}';
    for v_part in
      select v_living[part.key::int] as g, part.sums
      from ml._sums(
        ml._multinomial_statement(
          v_first.settled, v_categories,
          array(select v_first.keys[g] from unnest(v_living) with ordinality as living (g, nth) order by nth),
          array(select v_beta[(g - 1) * v_all + j]
            from unnest(v_living) with ordinality as living (g, nth), generate_series(1, v_all) as j order by nth, j),
          v_variables
        ),
        v_relation
      ) as part
    loop
      v_g := v_part.g;
      v_base := (v_g - 1) * v_all;
      v_iterations[v_g] := iteration;
      if v_part.sums[1] < v_likelihood[v_g] - 1e-10 * abs(v_likelihood[v_g]) then
        v_halvings[v_g] := v_halvings[v_g] + 1;
        v_done[v_g] := v_halvings[v_g] > 30;
        for j in 1..v_all loop
          v_beta[v_base + j] := (v_beta[v_base + j] + v_before[v_base + j]) / 2;
        end loop;
        continue;
      end if;
      v_likelihood[v_g] := v_part.sums[1];
      v_halvings[v_g] := 0;
      v_matrix := array_fill(0::float8, array[v_all, v_all]);
      v_at := 1 + v_all;
      for a in 1..v_count loop
        for b in a..v_count loop
          for i in 1..v_size loop
            for j in i..v_size loop
              v_at := v_at + 1;
              v_matrix[(a - 1) * v_size + i][(b - 1) * v_size + j] := v_part.sums[v_at];
              v_matrix[(a - 1) * v_size + j][(b - 1) * v_size + i] := v_part.sums[v_at];
              v_matrix[(b - 1) * v_size + j][(a - 1) * v_size + i] := v_part.sums[v_at];
              v_matrix[(b - 1) * v_size + i][(a - 1) * v_size + j] := v_part.sums[v_at];
            end loop;
          end loop;
        end loop;
      end loop;
      v_solved := ml._scaled_inverse(v_matrix, case when iteration = 1 then 1e-11 else 1e-14 end);
      if v_solved.dependent is not null then
        v_at := v_variables[(v_solved.dependent - 1) % v_size + 1];
        v_column := case when v_at = 0 then v_intercept else v_at end;
        v_done[v_g] := true;
        v_failure[v_g] := case when iteration = 1 then format('column %s is a linear combination of the columns before it', ml._label(design, v_column))
          else ml._separation(design, v_column) end;
        continue;
      end if;
      v_gain := 0;
      v_farthest := 0;
      for i in 1..v_all loop
        v_value := 0;
        for j in 1..v_all loop
          v_value := v_value + v_solved.inverse[i][j] * v_part.sums[1 + j];
        end loop;
        v_before[v_base + i] := v_beta[v_base + i];
        v_beta[v_base + i] := v_beta[v_base + i] + v_value;
        v_gain := v_gain + v_value * v_part.sums[1 + i];
        v_at := v_variables[(i - 1) % v_size + 1];
        if v_at > 0 and abs(v_value) * v_spread[v_at] > v_farthest then
          v_farthest := abs(v_value) * v_spread[v_at];
          v_column := v_at;
        end if;
      end loop;
      v_inverse[v_g] := to_jsonb(v_solved.inverse);
      if v_farthest > 0.3 and (v_gain < 1e-3 or v_farthest > 30 * sqrt(v_gain) or iteration = max_iter and iteration >= 15) then
        v_done[v_g] := true;
        v_failure[v_g] := ml._separation(design, v_column);
      elsif v_gain <= (tolerance / 100) ^ 2 then
        v_done[v_g] := true;
        v_good[v_g] := true;
      end if;
    end loop;
  end loop;

  for g in 1..v_groups loop
    settled := v_first.settled;
    categories := v_categories;
    key := v_first.keys[g];
    row_count := v_first.row_counts[g];
    skipped := v_first.skipped[g];
    log_likelihood := nullif(v_likelihood[g], '-Infinity');
    iterations := v_iterations[g];
    converged := v_good[g];
    failure := v_failure[g];
    beta := null;
    inverse := null;
    if failure is null then
      beta := v_beta[(g - 1) * v_all + 1:g * v_all];
      -- a matrix of any size out of json, by its text
      inverse := translate(v_inverse[g]::text, '[]', '{}')::float8[];
    end if;
    return next;
  end loop;
end;
$$;

comment on function ml._multinomial_fits(jsonb, integer, integer, float8) is $$
Fits a multinomial logistic model to each group by Newton's method, one scan an iteration for all of them.
`beta` and `inverse` (of the information) belong to the columns as they are summed, category after category.
$$;

create or replace function ml.mlogregr_train(
  source_table text,
  output_table text,
  dependent_varname text,
  independent_varname text,
  ref_category integer default 0,
  optimizer_params text default null,
  grouping_cols text default null
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_output text := ml._output(output_table, array['_summary']);
  v_options constant jsonb := ml._options(optimizer_params, '{max_iter, max_num_iterations, optimizer, precision, tolerance}', 'optimizer_params');
  v_max_iter constant integer := ml._number(v_options, case when v_options ? 'max_iter' then 'max_iter' else 'max_num_iterations' end, 20, 1, 100000);
  v_tolerance constant float8 := ml._number(v_options, case when v_options ? 'precision' then 'precision' else 'tolerance' end, 1e-4, 0, 1);
  v_design jsonb;
  v_variables integer[];
  v_place integer[];
  v_width integer;
  v_intercept integer;
  v_size integer;
  v_count integer := 0;
  v_covariance float8[];
  v_full float8[];
  v_block float8[];
  v_coef float8[];
  v_condition float8;
  v_fit record;
  v_wald record;
  v_groups bigint := 0;
  v_failed bigint := 0;
  v_rows bigint := 0;
  v_skipped bigint := 0;
  v_failure text;
  v_result jsonb[] := '{}';
  v_coefs jsonb;
begin
  if lower(coalesce(v_options ->> 'optimizer', 'irls')) not in ('irls', 'newton') then
    raise exception using errcode = 'CF001', message = format('there is no optimizer "%s"', left(v_options ->> 'optimizer', 100)),
      hint = 'Use irls (the same as newton).';
  end if;
  v_design := ml._design(source_table, dependent_varname, independent_varname, grouping_cols);
  v_width := (v_design ->> 'width')::int;
  for v_fit in select * from ml._multinomial_fits(v_design, ref_category, v_max_iter, v_tolerance) loop
    v_groups := v_groups + 1;
    v_rows := v_rows + v_fit.row_count;
    v_skipped := v_skipped + v_fit.skipped;
    v_count := cardinality(v_fit.categories);
    if v_fit.failure is not null then
      v_failure := coalesce(v_failure, v_fit.failure);
      v_failed := v_failed + 1;
      v_result := v_result || jsonb_build_object(
        'key', v_fit.key, 'ref_category', ref_category, 'num_rows_processed', v_fit.row_count, 'num_missing_rows_skipped', v_fit.skipped, 'failure', v_fit.failure
      );
      continue;
    elsif not v_fit.converged then
      raise warning 'ml.mlogregr_train: no convergence after % iterations%', v_max_iter, case when v_fit.key <> '' then format(' in group %s', v_fit.key) else '' end
        using hint = 'Give a larger max_iter in optimizer_params.';
    end if;
    v_intercept := (v_fit.settled ->> 'intercept')::int;
    v_variables := ml._variables(v_fit.settled);
    v_place := array(select case when variable = 0 then v_intercept else variable end
      from unnest(v_variables) with ordinality as list (variable, nth) order by nth);
    v_size := cardinality(v_variables);

    -- to the caller's columns: T V T' for every pair of categories, T being the same for each
    v_covariance := array_fill(0::float8, array[v_count * v_width, v_count * v_width]);
    for a in 1..v_count loop
      for b in 1..v_count loop
        v_full := array_fill(0::float8, array[v_width, v_width]);
        for i in 1..v_size loop
          for j in 1..v_size loop
            v_full[v_place[i]][v_place[j]] := v_fit.inverse[(a - 1) * v_size + i][(b - 1) * v_size + j];
          end loop;
        end loop;
        v_block := ml._transformed(v_full, v_fit.settled);
        for i in 1..v_width loop
          for j in 1..v_width loop
            -- MADlib's order: by column, then by category
            v_covariance[(i - 1) * v_count + a][(j - 1) * v_count + b] := v_block[i][j];
          end loop;
        end loop;
      end loop;
    end loop;
    v_condition := ml._condition_number((ml._scaled_inverse(v_covariance, 1e-15)).inverse, v_covariance) ^ 2;
    v_coefs := '[]';
    for a in 1..v_count loop
      v_coef := array_fill(0::float8, array[v_width]);
      v_block := array_fill(0::float8, array[v_width, v_width]);
      for i in 1..v_size loop
        v_coef[v_place[i]] := v_fit.beta[(a - 1) * v_size + i];
      end loop;
      v_coef := (ml._unscaled(v_coef, null, v_fit.settled, v_intercept, (v_fit.settled ->> 'intercept_value')::float8)).coef;
      for i in 1..v_width loop
        v_block[i][i] := v_covariance[(i - 1) * v_count + a][(i - 1) * v_count + a];
      end loop;
      v_wald := ml._wald(v_coef, v_block, null);
      v_coefs := v_coefs || jsonb_build_array(v_coef);
      v_result := v_result || jsonb_build_object(
        'key', v_fit.key,
        'category', v_fit.categories[a],
        'ref_category', ref_category,
        'coef', to_jsonb(v_coef),
        'log_likelihood', v_fit.log_likelihood,
        'std_err', to_jsonb(v_wald.std_err),
        'z_stats', to_jsonb(v_wald.stats),
        'p_values', to_jsonb(v_wald.p_values),
        'odds_ratios', (select to_jsonb(array_agg(exp(least(greatest(value, -700), 700)) order by nth))
          from unnest(v_coef) with ordinality as list (value, nth)),
        'condition_no', v_condition,
        'num_iterations', v_fit.iterations,
        'num_rows_processed', v_fit.row_count,
        'num_missing_rows_skipped', v_fit.skipped,
        'converged', v_fit.converged
      );
    end loop;
  end loop;
  if v_failed = v_groups then
    perform ml._fit_failed(v_failure, v_design ->> 'relation');
  end if;
  perform ml._publish(
    v_output, v_design,
    'category integer, ref_category integer, coef float8[], log_likelihood float8, std_err float8[], z_stats float8[], p_values float8[], odds_ratios float8[], '
      || 'condition_no float8, num_iterations integer, num_rows_processed bigint, num_missing_rows_skipped bigint, converged boolean, failure text',
    to_jsonb(v_result),
    jsonb_build_object(
      'method', 'mlogregr', 'source_table', source_table, 'out_table', output_table, 'dependent_varname', dependent_varname, 'independent_varname', independent_varname,
      'optimizer_params', format('optimizer=irls, max_iter=%s, tolerance=%s', v_max_iter, v_tolerance), 'ref_category', ref_category, 'num_categories', v_count + 1,
      'num_rows_processed', v_rows, 'num_missing_rows_skipped', v_skipped, 'grouping_cols', grouping_cols, 'num_all_groups', v_groups, 'num_failed_groups', v_failed,
      'variance_covariance', case when grouping_cols is null then to_jsonb(v_covariance) end, 'coef', case when grouping_cols is null then v_coefs end
    ),
    'method text, source_table text, out_table text, dependent_varname text, independent_varname text, optimizer_params text, ref_category integer, '
      || 'num_categories integer, num_rows_processed bigint, num_missing_rows_skipped bigint, grouping_cols text, num_all_groups bigint, num_failed_groups bigint, '
      || 'variance_covariance float8[], coef float8[]'
  );
end;
$$;

comment on function ml.mlogregr_train(text, text, text, text, integer, text, text) is $$
@behavior -*
Multinomial logistic regression, as MADlib's: the log odds of each category against `ref_category`.
`dependent_varname` is a whole number; `independent_varname` an array, the 1 included. `optimizer_params`: max_iter (20),
tolerance or precision (1e-4, in hundredths of a standard error). `grouping_cols`, which MADlib's has not, gives a model a group.
Writes `output_table`, one row a category but the reference: the grouping columns, category, ref_category, coef, log_likelihood,
std_err, z_stats, p_values, odds_ratios, condition_no, num_iterations, num_rows_processed, num_missing_rows_skipped, converged,
failure; and `<output_table>_summary` with variance_covariance (by column, then category; without groups).
Errors: CF001 (not whole numbers), CF002 (unknown table, column or reference), CF003, CF004 (no rows, one class), CF005, CF007
(collinear; separated), CF008 (more than 120 coefficients).
Source: Agresti, Categorical Data Analysis, 3rd edition, chapter 8.
$$;

create or replace function ml._transformed(covariance float8[], design jsonb)
returns float8[]
language plpgsql
immutable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_width constant integer := (design ->> 'width')::int;
  v_intercept constant integer := (design ->> 'intercept')::int;
  v_value constant float8 := (design ->> 'intercept_value')::float8;
  v_scale constant float8[] := array(select value::float8 from jsonb_array_elements_text(design -> 'scale') as value);
  v_shift constant float8[] := array(select value::float8 from jsonb_array_elements_text(design -> 'shift') as value);
  v_half float8[] := covariance;
  v_result float8[] := covariance;
  v_sum float8;
begin
  for j in 1..v_width loop
    for i in 1..v_width loop
      v_half[i][j] := covariance[i][j] * v_scale[i];
    end loop;
    if v_intercept is not null then
      v_sum := covariance[v_intercept][j];
      for m in 1..v_width loop
        if m <> v_intercept then
          v_sum := v_sum - v_scale[m] * v_shift[m] * covariance[m][j];
        end if;
      end loop;
      v_half[v_intercept][j] := v_sum / v_value;
    end if;
  end loop;
  for i in 1..v_width loop
    for j in 1..v_width loop
      v_result[i][j] := v_half[i][j] * v_scale[j];
    end loop;
    if v_intercept is not null then
      v_sum := v_half[i][v_intercept];
      for m in 1..v_width loop
        if m <> v_intercept then
          v_sum := v_sum - v_scale[m] * v_shift[m] * v_half[i][m];
        end if;
      end loop;
      v_result[i][v_intercept] := v_sum / v_value;
    end if;
  end loop;
  return v_result;
end;
$$;

comment on function ml._transformed(float8[], jsonb) is $$
A block of covariances, not necessarily symmetric, from the centred and scaled columns to the caller's.
$$;

grant execute on function
  ml._multinomial_statement(jsonb, integer[], text[], float8[], integer[]),
  ml._multinomial_fits(jsonb, integer, integer, float8),
  ml._transformed(float8[], jsonb),
  ml.mlogregr_train(text, text, text, text, integer, text, text)
to insights_admin, insights_worker;
--! EndIncluded ml/functions/mlogregr_train.sql
--! Included ml/functions/mlogregr_predict.sql
create or replace function ml._softmax(logits float8[])
returns float8[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_top float8;
  v_total float8 := 0;
  v_result float8[] := logits;
begin
  if logits is null or array_position(logits, null) is not null then
    return null;
  end if;
  v_top := (select max(value) from unnest(logits) as value);
  for i in 1..cardinality(logits) loop
    v_result[i] := exp(greatest(logits[i] - v_top, -700));
    v_total := v_total + v_result[i];
  end loop;
  for i in 1..cardinality(logits) loop
    v_result[i] := v_result[i] / v_total;
  end loop;
  return v_result;
end;
$$;

comment on function ml._softmax(float8[]) is $$Probabilities proportional to exp of the values; null when one is null.$$;

create or replace function ml.mlogregr_predict(
  model_table text,
  new_data_table text,
  id_col_name text,
  output_table text,
  type text default 'response'
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_model constant regclass := ml._relation(model_table);
  v_data constant regclass := ml._relation(new_data_table);
  v_id constant text := ml._column(v_data, id_col_name, 'id column');
  v_output constant text := ml._output(output_table);
  v_kind constant text := lower(coalesce(type, 'response'));
  v_x text;
  v_categories integer[];
  v_coefs jsonb;
  v_logits text;
begin
  if v_kind not in ('response', 'prob') then
    raise exception using errcode = 'CF001', message = format('there is no type "%s"', left(type, 100)),
      hint = 'Give response for the category, or prob for a probability of each.';
  end if;
  begin
    execute format(
      $statement$
      select
        (select independent_varname from %s limit 1),
        min(ref_category) || array_agg(category order by category),
        jsonb_agg(coef order by category)
      from %s
      where coef is not null
      $statement$,
      ml._relation((
        select format('%I.%I', namespace.nspname, class.relname || '_summary')
        from pg_catalog.pg_class as class
        join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
        where class.oid = v_model
      )),
      v_model
    ) into v_x, v_categories, v_coefs;
  exception when undefined_column then
    raise exception using errcode = 'CF001', message = format('"%s" is not a model of ml.mlogregr_train', left(model_table, 100)),
      hint = 'Name its output table.';
  end;
  if cardinality(v_categories) > 1 + (select count(distinct category) from unnest(v_categories[2:]) as category) then
    raise exception using errcode = 'CF001', message = format('"%s" holds one model a group', left(model_table, 100)),
      hint = 'Put the rows of one group into a view of its own, and predict with that.';
  end if;
  perform ml._expression(v_x, v_data, 'independent variable');
  v_logits := format('ml._softmax(array[0%s])', (
    select string_agg(format(', ml.linregr_predict(%L::float8[], x)', translate(coef::text, '[]', '{}')), '' order by nth)
    from jsonb_array_elements(v_coefs) with ordinality as list (coef, nth)
  ));
  execute format(
    'create table %s as select %s, %s from (select %s, %s as p from (select source.%s, (%s)::float8[] as x from %s as source) as evaluated offset 0) as scored',
    v_output,
    v_id,
    case v_kind
      when 'prob' then (select string_agg(format('p[%s] as %I', nth, 'estimated_prob_' || category), ', ' order by category)
        from unnest(v_categories) with ordinality as list (category, nth))
      else format('(%L::int[])[array_position(p, (select max(value) from unnest(p) as value))] as category', v_categories)
    end,
    v_id, v_logits, v_id,
    v_x,
    v_data
  );
end;
$$;

comment on function ml.mlogregr_predict(text, text, text, text, text) is $$
@behavior -*
Predictions of a multinomial model, as MADlib's: evaluates the training's independent variables over `new_data_table`.
Writes `output_table`: the id column and `category`, the most probable (`response`), or `estimated_prob_<category>` for each (`prob`).
Null where an independent variable is null.
Errors: CF001 (not such a model, a grouped one, unknown type), CF002 (unknown table or column), CF003 (output exists), CF005.
$$;

grant execute on function ml._softmax(float8[]), ml.mlogregr_predict(text, text, text, text, text)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/functions/mlogregr_predict.sql
--! Included ml/functions/coxph_train.sql
/*
 * The partial likelihood needs, at each time of an event, sums over all rows still at risk: running sums backwards in time.
 * So an iteration is one statement: sums by time (in parallel), window sums over the times, sums over those.
 */
create or replace function ml._cox_statement(design jsonb, beta float8[], efron boolean)
returns text
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_active constant integer[] := array(select jsonb_array_elements_text(design -> 'active')::int);
  v_size constant integer := cardinality(v_active);
  v_columns text := (select string_agg(', d' || place, '' order by nth)
    from unnest(v_active) with ordinality as list (place, nth));
  v_moments text[];
  v_source text;
  v_names text[];
begin
  v_source := format('(%s) as first', ml._layer(
    format('key, y, status%s, %s as eta', v_columns, (
      select string_agg(format('%L::float8 * d%s', beta[nth], place), ' + ' order by nth)
        from unnest(v_active) with ordinality as list (place, nth)
    )),
    format('(select * from (%s) as row where complete) as row', ml._rows(design))
  ));
  v_source := format('(%s) as second', ml._layer(format('key, y, status%s, eta, exp(least(greatest(eta, -200), 200)) as risk', v_columns), v_source));
  v_names := array['r0'] || array(select 'r' || i from generate_series(1, v_size) as i order by i)
    || array(select format('r%s_%s', i, j)
      from generate_series(1, v_size) as i, generate_series(1, v_size) as j where j >= i order by i, j);
  v_moments := array['risk'] || array(select 'risk * d' || place
    from unnest(v_active) with ordinality as list (place, nth) order by nth)
    || array(select format('risk * d%s * d%s', a.place, b.place)
      from unnest(v_active) with ordinality as a (place, nth), unnest(v_active) with ordinality as b (place, nth) where b.nth >= a.nth order by a.nth, b.nth);
  v_source := format(
    'select key, y, sum(status) as events, sum(status * eta) as eta, %s, %s%s from %s group by key, y',
    (select string_agg(format('sum(status * d%s) as x%s', place, nth), ', ' order by nth)
      from unnest(v_active) with ordinality as list (place, nth)),
    (select string_agg(format('sum(%s) as %s', moment, name), ', ' order by nth)
      from unnest(v_moments, v_names) with ordinality as list (moment, name, nth)),
    case when efron then (select string_agg(format(', sum(status * %s) as e%s', moment, name), '' order by nth)
      from unnest(v_moments, v_names) with ordinality as list (moment, name, nth)) else '' end,
    v_source
  );
  v_source := format(
    'select key, y, events, eta, %s, %s%s from (%s) as by_time window later as (partition by key order by y desc rows unbounded preceding)',
    (select string_agg('x' || i, ', ' order by i) from generate_series(1, v_size) as i),
    (select string_agg(format('sum(%s) over later as %s', name, name), ', ' order by nth)
      from unnest(v_names) with ordinality as list (name, nth)),
    case when efron then (select string_agg(', e' || name, '' order by nth)
      from unnest(v_names) with ordinality as list (name, nth)) else '' end,
    v_source
  );
  if efron then
    -- each of d events at one time sees a d-th more of their own risk gone (Efron 1977)
    v_source := format(
      $statement$
      select key, y, case when nth = 0 then events else 0 end as seen, case when nth = 0 then eta else 0 end as eta,
        1::float8 as events, %s, %s
      from (%s) as at_risk
      cross join lateral generate_series(0, events::int - 1) as nth
      where events > 0
      $statement$,
      (select string_agg(format('case when nth = 0 then x%s else 0 end as x%s', i, i), ', ' order by i)
        from generate_series(1, v_size) as i),
      (select string_agg(format('%s - nth / events * e%s as %s', name, name, name), ', ' order by nth)
        from unnest(v_names) with ordinality as list (name, nth)),
      v_source
    );
  else
    v_source := format('select *, events as seen from (%s) as at_risk where events > 0', v_source);
  end if;
  return format(
    'select null::text, true, sum(seen)::bigint, array[sum(eta - events * ln(r0)), %s, %s] from (%s) as event_time',
    (select string_agg(format('sum(x%s - events * r%s / r0)', i, i), ', ' order by i) from generate_series(1, v_size) as i),
    (select string_agg(format('sum(events * (r%s_%s / r0 - (r%s / r0) * (r%s / r0)))', i, j, i, j), ', ' order by i, j)
      from generate_series(1, v_size) as i, generate_series(1, v_size) as j where j >= i),
    v_source
  );
end;
$$;

comment on function ml._cox_statement(jsonb, float8[], boolean) is $$
One Newton step of Cox's partial likelihood as a statement.
Number of events, log likelihood, score, and the upper triangle of
the information, over all strata (the design's groups). Ties as Breslow or as Efron.
$$;

create or replace function ml.coxph_train(
  source_table text,
  output_table text,
  dependent_variable text,
  independent_variable text,
  right_censoring_status text default 'true',
  strata text default null,
  optimizer_params text default null
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_output text := ml._output(output_table, array['_summary']);
  v_options constant jsonb := ml._options(optimizer_params, '{max_iter, optimizer, tolerance, ties, array_agg_size, sample_size}', 'optimizer_params');
  v_max_iter constant integer := ml._number(v_options, 'max_iter', 100, 1, 100000);
  v_tolerance constant float8 := ml._number(v_options, 'tolerance', 1e-8, 0, 1);
  v_monotone constant text := 'column %s orders the events perfectly, so its coefficient has no finite value';
  v_ties constant text := lower(coalesce(v_options ->> 'ties', 'breslow'));
  v_status text := coalesce(nullif(btrim(right_censoring_status), ''), 'true');
  v_design jsonb;
  v_first record;
  v_active integer[];
  v_scale float8[];
  v_spread float8[];
  v_size integer;
  v_beta float8[];
  v_before float8[];
  v_part record;
  v_likelihood float8 := '-Infinity';
  v_halvings integer := 0;
  v_iterations integer := 0;
  v_converged boolean := false;
  v_matrix float8[];
  v_covariance float8[];
  v_solved record;
  v_gain float8;
  v_value float8;
  v_farthest float8;
  v_column integer;
  v_at integer;
  v_coef float8[];
  v_hessian float8[];
  v_means float8[];
  v_wald record;
begin
  if v_ties not in ('breslow', 'efron') then
    raise exception using errcode = 'CF001', message = format('there is no way "%s" with ties', left(v_options ->> 'ties', 100)),
      hint = 'Give ties=breslow or ties=efron.';
  elsif lower(coalesce(v_options ->> 'optimizer', 'newton')) <> 'newton' then
    raise exception using errcode = 'CF001', message = format('there is no optimizer "%s"', left(v_options ->> 'optimizer', 100)),
      hint = 'Use newton.';
  end if;
  -- an intercept cancels in the partial likelihood: it is put in so that the columns may be centred, and left out again
  v_design := (ml._elastic_net_design(source_table, dependent_variable, independent_variable, strata, null)).design;
  if ml._expression(v_status, (v_design ->> 'relation')::regclass, 'right censoring status')
    not in ('boolean'::regtype, 'integer'::regtype, 'smallint'::regtype, 'bigint'::regtype)
  then
    raise exception using errcode = 'CF001', message = format('the right censoring status "%s" is not a truth value', left(v_status, 100)),
      hint = 'Give a boolean or 0 and 1: true where the event was seen, false where the row was censored.';
  end if;
  v_design := v_design || jsonb_build_object('status', format('(%s)::boolean', v_status));
  v_first := ml._settled(v_design);
  if v_first.failure is not null then
    perform ml._fit_failed(v_first.failure, v_design ->> 'relation');
  end if;
  v_active := array(select jsonb_array_elements_text(v_first.settled -> 'active')::int);
  v_scale := array(select jsonb_array_elements_text(v_first.settled -> 'scale')::float8);
  v_spread := array(select jsonb_array_elements_text(v_first.settled -> 'spread')::float8);
  v_size := cardinality(v_active);
  v_beta := array_fill(0::float8, array[v_size]);
  v_before := v_beta;

  for iteration in 1..v_max_iter loop
    select part.row_count, part.sums into v_part
    from ml._sums(ml._cox_statement(v_first.settled, v_beta, v_ties = 'efron'), (v_design ->> 'relation')::regclass) as part;
    if coalesce(v_part.row_count, 0) = 0 then
      perform ml._fit_failed('no row without a null has an event: it holds one class only, censored', v_design ->> 'relation');
    end if;
    v_iterations := iteration;
    if v_part.sums[1] < v_likelihood - 1e-10 * abs(v_likelihood) then
      v_halvings := v_halvings + 1;
      exit when v_halvings > 30;
      for j in 1..v_size loop
        v_beta[j] := (v_beta[j] + v_before[j]) / 2;
      end loop;
      continue;
    end if;
    v_likelihood := v_part.sums[1];
    v_halvings := 0;
    v_matrix := array_fill(0::float8, array[v_size, v_size]);
    v_at := 1 + v_size;
    for i in 1..v_size loop
      for j in i..v_size loop
        v_at := v_at + 1;
        v_matrix[i][j] := v_part.sums[v_at];
        v_matrix[j][i] := v_part.sums[v_at];
      end loop;
    end loop;
    v_solved := ml._scaled_inverse(v_matrix, case when iteration = 1 then 1e-11 else 1e-14 end);
    if v_solved.dependent is not null then
      perform ml._fit_failed(
        format(
          case when iteration = 1 then 'column %s is a linear combination of the columns before it' else v_monotone end,
          ml._label(v_design, v_active[v_solved.dependent])
        ),
        v_design ->> 'relation'
      );
    end if;
    v_covariance := v_solved.inverse;
    v_gain := 0;
    v_farthest := 0;
    v_before := v_beta;
    for i in 1..v_size loop
      v_value := 0;
      for j in 1..v_size loop
        v_value := v_value + v_covariance[i][j] * v_part.sums[1 + j];
      end loop;
      v_beta[i] := v_beta[i] + v_value;
      v_gain := v_gain + v_value * v_part.sums[1 + i];
      if abs(v_value) * v_spread[v_active[i]] > v_farthest then
        v_farthest := abs(v_value) * v_spread[v_active[i]];
        v_column := v_active[i];
      end if;
    end loop;
    -- the likelihood is flat where a coefficient still runs: it would run for ever
    if v_farthest > 0.3 and (v_gain < 1e-3 or v_farthest > 30 * sqrt(v_gain)) then
      perform ml._fit_failed(format(v_monotone, ml._label(v_design, v_column)), v_design ->> 'relation');
    elsif v_gain <= greatest(v_tolerance * v_tolerance, 1e-20) or v_gain <= 1e-24 * abs(v_likelihood) then
      v_converged := true;
      exit;
    end if;
  end loop;
  if not v_converged and v_farthest > 0.3 and v_iterations >= 15 then
    perform ml._fit_failed(format(v_monotone, ml._label(v_design, v_column)), v_design ->> 'relation');
  elsif not v_converged then
    raise warning 'ml.coxph_train: no convergence after % iterations', v_max_iter using hint = 'Give a larger max_iter in optimizer_params.';
  end if;

  v_coef := v_beta;
  v_hessian := v_matrix;
  for i in 1..v_size loop
    v_coef[i] := v_beta[i] * v_scale[v_active[i]];
    for j in 1..v_size loop
      v_hessian[i][j] := v_matrix[i][j] / v_scale[v_active[i]] / v_scale[v_active[j]];
      v_covariance[i][j] := v_covariance[i][j] * v_scale[v_active[i]] * v_scale[v_active[j]];
    end loop;
  end loop;
  v_wald := ml._wald(v_coef, v_covariance, null);
  -- what predictions are centred on
  v_means := (
    select array_agg((v_first.settled -> 'shift' ->> v_active[nth::int] - 1)::float8 + mean / v_scale[v_active[nth::int]] order by nth)
    from ml._sums(
      format('select null::text, true, count(*), array[%s] from (%s) as row where complete', ml._columns_of(v_first.settled, 'd', 'avg(%s)'), ml._rows(v_first.settled)),
      (v_design ->> 'relation')::regclass
    ) as part
    cross join lateral unnest(part.sums) with ordinality as list (mean, nth)
  );
  perform ml._publish(
    v_output, v_design || '{"groups": []}',
    'coef float8[], loglikelihood float8, std_err float8[], z_stats float8[], p_values float8[], hessian float8[], num_iterations integer, num_events bigint, converged boolean',
    jsonb_build_array(jsonb_build_object(
      'coef', v_coef, 'loglikelihood', v_likelihood, 'std_err', to_jsonb(v_wald.std_err), 'z_stats', to_jsonb(v_wald.stats), 'p_values', to_jsonb(v_wald.p_values),
      'hessian', v_hessian, 'num_iterations', v_iterations, 'num_events', v_part.row_count, 'converged', v_converged
    )),
    jsonb_build_object(
      'source_table', source_table, 'dependent_variable', dependent_variable, 'independent_variable', independent_variable,
      'right_censoring_status', right_censoring_status, 'strata', strata, 'ties', v_ties, 'means', to_jsonb(v_means),
      'num_processed', (select sum(n) from unnest(v_first.row_counts) as n), 'num_missing_rows_skipped', (select sum(n)
        from unnest(v_first.skipped) as n)
    ),
    'source_table text, dependent_variable text, independent_variable text, right_censoring_status text, strata text, ties text, means float8[], '
      || 'num_processed bigint, num_missing_rows_skipped bigint'
  );
end;
$$;

comment on function ml.coxph_train(text, text, text, text, text, text, text) is $$
@behavior -*
Cox's proportional hazards, as MADlib's: how columns multiply the hazard of an event, such as dropping out of a course.
`dependent_variable` is the time of the event or of censoring; `independent_variable` an array without a constant, which would
cancel; `right_censoring_status` true where the event was seen; `strata` columns have baseline hazards of their own.
`optimizer_params`: max_iter (100), tolerance (1e-8, in standard errors), ties (breslow, as MADlib; or efron, as R).
Writes `output_table`: coef, loglikelihood (partial), std_err, z_stats, p_values, hessian, num_iterations, num_events, converged;
and `<output_table>_summary`. Predict with ml.coxph_predict.
Rows with a null are skipped and counted. Errors: CF001, CF002, CF003, CF004 (no rows, no events), CF005, CF007 (constant,
collinear, monotone: names the column), CF008.
Source: Cox, J. R. Stat. Soc. B 34, 1972; ties by Breslow 1974 and Efron, J. Am. Stat. Assoc. 72, 1977.
$$;

grant execute on function
  ml._cox_statement(jsonb, float8[], boolean),
  ml.coxph_train(text, text, text, text, text, text, text)
to insights_admin, insights_worker;
--! EndIncluded ml/functions/coxph_train.sql
--! Included ml/functions/coxph_predict.sql
create or replace function ml.coxph_predict(
  model_table text,
  source_table text,
  id_col_name text,
  output_table text,
  pred_type text default 'linear_predictors',
  reference text default 'overall'
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_model constant regclass := ml._relation(model_table);
  v_data constant regclass := ml._relation(source_table);
  v_id constant text := ml._column(v_data, id_col_name, 'id column');
  v_output constant text := ml._output(output_table);
  v_kind constant text := lower(coalesce(pred_type, 'linear_predictors'));
  v_x text;
  v_means float8[];
  v_coef float8[];
begin
  if v_kind not in ('linear_predictors', 'risk', 'terms') then
    raise exception using errcode = 'CF001', message = format('there is no type "%s"', left(pred_type, 100)),
      hint = 'Give linear_predictors, risk or terms.';
  elsif lower(coalesce(reference, 'overall')) <> 'overall' then
    raise exception using errcode = 'CF001', message = format('there is no reference "%s"', left(reference, 100)),
      hint = 'Predictions are centred on the mean of all rows of the training: overall.';
  end if;
  begin
    execute format(
      'select summary.independent_variable, summary.means, model.coef from %s as summary, %s as model',
      ml._relation((
        select format('%I.%I', namespace.nspname, class.relname || '_summary')
        from pg_catalog.pg_class as class
        join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
        where class.oid = v_model
      )),
      v_model
    ) into v_x, v_means, v_coef;
  exception when undefined_column then
    raise exception using errcode = 'CF001', message = format('"%s" is not a model of ml.coxph_train', left(model_table, 100)),
      hint = 'Name its output table.';
  end;
  perform ml._expression(v_x, v_data, 'independent variable');
  execute format(
    'create table %s as select %s, %s as predicted_value from (select source.%s, (%s)::float8[] as x from %s as source) as evaluated',
    v_output,
    v_id,
    case v_kind
      when 'terms' then format('(select array_agg(coef * (value - mean) order by nth) from unnest(%L::float8[], x, %L::float8[]) with ordinality as term (coef, value, mean, nth))', v_coef, v_means)
      when 'risk' then format('exp(least(greatest(ml.linregr_predict(%L::float8[], x) - %L::float8, -700), 700))', v_coef, ml.linregr_predict(v_coef, v_means))
      else format('ml.linregr_predict(%L::float8[], x) - %L::float8', v_coef, ml.linregr_predict(v_coef, v_means))
    end,
    v_id,
    v_x,
    v_data
  );
end;
$$;

comment on function ml.coxph_predict(text, text, text, text, text, text) is $$
@behavior -*
Predictions of a proportional hazards model, as MADlib's: how a row's hazard compares with that of an average row.
Evaluates the training's independent variables over `source_table` and writes `output_table`: the id column and
`predicted_value`, the log relative hazard (`linear_predictors`), the relative hazard (`risk`) or its parts by column (`terms`,
float8[]). The average is that of all rows of the training (`reference` overall).
Errors: CF001 (not such a model, unknown type or reference), CF002, CF003 (output exists), CF005.
$$;

grant execute on function ml.coxph_predict(text, text, text, text, text, text) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/functions/coxph_predict.sql

-- privacy
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
    select coalesce(
      (
        select consent.granted
        from privacy.consent
        where consent.person_id = allowed.person_id
          and consent.purpose = allowed.purpose
        order by consent.decided_at desc, consent.recorded_at desc
        limit 1
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
Whether a person's data may be processed for a purpose: what the person last decided, or else whether the lawful basis works without asking. Null for an unknown purpose.
$$;

grant execute on function privacy.allowed(bigint, text) to insights_reader, insights_learner, insights_admin, insights_worker;
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
  -- Two statements, so that the plan for a few people never reads the decisions of all.
  if latest_decisions.people is null then
    return query
    select distinct on (consent.person_id) consent.person_id, consent.granted
    from privacy.consent
    where consent.purpose = latest_decisions.purpose
    order by consent.person_id, consent.decided_at desc, consent.recorded_at desc;
  else
    return query
    select distinct on (consent.person_id) consent.person_id, consent.granted
    from privacy.consent
    where consent.purpose = latest_decisions.purpose
      and consent.person_id = any (latest_decisions.people)
    order by consent.person_id, consent.decided_at desc, consent.recorded_at desc;
  end if;
end;
$$;

comment on function privacy.latest_decisions(text, bigint[]) is $$
@behavior -*
What people last decided about a purpose: one row for each of the given people, or of all, who ever decided. Functions read this instead of the view `privacy.current_consent`.
$$;

grant execute on function privacy.latest_decisions(text, bigint[]) to insights_reader, insights_admin;
--! EndIncluded privacy/functions/latest_decisions.sql
--! Included privacy/functions/record_consent.sql
create or replace function privacy.record_consent(
  person_id bigint,
  purpose text,
  granted boolean,
  decided_at timestamptz default now(),
  document_version text default null,
  evidence jsonb default null
)
returns privacy.consent
language plpgsql
volatile
-- A definer: it writes privacy.consent, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_consent privacy.consent;
begin
  if record_consent.person_id is null or record_consent.person_id <= 0 or record_consent.granted is null then
    raise exception using
      errcode = 'CF001',
      message = format('a decision of person %s about "%s" to %s', coalesce(record_consent.person_id::text, 'null'), left(record_consent.purpose, 100), coalesce(record_consent.granted::text, 'null')),
      hint = 'Give a person, a purpose, and true or false.';
  end if;
  if not exists (select from privacy.purpose where purpose.purpose = record_consent.purpose) then
    raise exception using
      errcode = 'CF002',
      message = format('there is no purpose "%s"', left(record_consent.purpose, 100)),
      hint = (select format('The purposes are %s.', string_agg(purpose.purpose, ', ' order by purpose.purpose)) from privacy.purpose);
  end if;
  if length(record_consent.document_version) > 200 or pg_column_size(record_consent.evidence) > 32768 then
    raise exception using
      errcode = 'CF008',
      message = format(
        'document_version has %s characters, evidence %s bytes',
        coalesce(length(record_consent.document_version), 0), coalesce(pg_column_size(record_consent.evidence), 0)
      ),
      hint = 'Send 200 characters and 32768 bytes at most.';
  end if;
  if record_consent.decided_at > now() + interval '1 hour' then
    raise exception using
      errcode = 'CF001',
      message = format('decided_at is %s, in the future', record_consent.decided_at),
      hint = 'Give the time of the decision.';
  end if;

  insert into privacy.consent (person_id, identity_id, purpose, granted, decided_at, document_version, evidence)
  values (
    -- A clock that runs ahead must not outlast the decisions that come after.
    record_consent.person_id, record_consent.person_id, record_consent.purpose, record_consent.granted, least(record_consent.decided_at, now()),
    record_consent.document_version, record_consent.evidence
  )
  returning * into v_consent;
  return v_consent;
end;
$$;

comment on function privacy.record_consent(bigint, text, boolean, timestamptz, text, jsonb) is $$
Records what a person decided about a purpose, by `decided_at`; earlier decisions stay in the record.
Errors: CF001 for a missing value or a time in the future, CF002 for an unknown purpose, CF008 for a document version above 200 characters or evidence above 32 kB.
$$;

grant execute on function privacy.record_consent(bigint, text, boolean, timestamptz, text, jsonb) to insights_admin, insights_worker;
--! EndIncluded privacy/functions/record_consent.sql
--! Included privacy/views.sql
create or replace view privacy.current_consent
with (security_invoker = true)
as
select distinct on (person_id, purpose) person_id, purpose, granted, decided_at, source, document_version
from privacy.consent
order by person_id, purpose, decided_at desc, recorded_at desc;

comment on view privacy.current_consent is $$
@primaryKey person_id,purpose
The decision of each person about each purpose that is in force.
$$;
comment on column privacy.current_consent.person_id is $$Whose decision it is.$$;
comment on column privacy.current_consent.purpose is $$What was decided about.$$;
comment on column privacy.current_consent.granted is $$True: agreed. False: refused, withdrawn or objected.$$;
comment on column privacy.current_consent.decided_at is $$When the person decided.$$;
comment on column privacy.current_consent.source is $$How it came: `api`, `event`, `gpc` or `import`.$$;
comment on column privacy.current_consent.document_version is $$Version of the text that the person saw.$$;
--! EndIncluded privacy/views.sql
--! Included privacy/policies.sql
/* Purposes and the data map are public knowledge of the platform; decisions are seen by admins. Learners see their own through policies of the track room. */

grant select on privacy.purpose to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;
grant select on privacy.data_map to insights_reader, insights_analyst, insights_admin, insights_worker;
grant select on privacy.consent, privacy.current_consent to insights_reader, insights_learner, insights_admin, insights_worker;
grant insert, update on privacy.purpose to insights_admin;

drop policy if exists everybody on privacy.purpose;
create policy everybody on privacy.purpose for select using (true);
drop policy if exists admins_change on privacy.purpose;
create policy admins_change on privacy.purpose to insights_admin using (true) with check (true);
drop policy if exists everybody on privacy.data_map;
create policy everybody on privacy.data_map for select using (true);
drop policy if exists all_people on privacy.consent;
create policy all_people on privacy.consent for select to insights_reader, insights_admin, insights_worker using (true);
--! EndIncluded privacy/policies.sql

-- track
--! Included track/functions/current_person_id.sql
/* A definer: it looks up the caller's identity under the very row security that its answer decides. */
create or replace function track.current_person_id()
returns bigint
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
as $$
begin
  -- Each request of a person begins with this, so it is in a language that keeps the plan.
  return (
    select identity.person_id
    from track.identity
    where identity.external_id = nullif(current_setting('insights.person', true), '')
      and identity.kind = 'user'
  );
end;
$$;

comment on function track.current_person_id() is $$
@behavior -queryField
The person that the request was signed in as: what the setting `insights.person` (the token's subject, a `userId`) resolves to; null for a stranger.
$$;

grant execute on function track.current_person_id()
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;
--! EndIncluded track/functions/current_person_id.sql
--! Included track/functions/sign_in.sql
create or replace function track.sign_in()
returns bigint
language sql
volatile
begin atomic
  select nullif(set_config('insights.person_id', coalesce(track.current_person_id()::text, ''), true), '')::bigint;
end;

comment on function track.sign_in() is $$
@behavior -queryField -mutationField
Looks up the person whom the setting `insights.person` names, and sets `insights.person_id` to it for the rest of the transaction: the row policies compare with that. Null, and no person's rows, for a stranger.
A transaction keeps the person that it began with; what links or unlinks identities meanwhile counts from the next one on.
$$;

grant execute on function track.sign_in()
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;
--! EndIncluded track/functions/sign_in.sql
--! Included track/functions/find_person.sql
create or replace function track.find_person(person text)
returns bigint
language sql
stable
parallel safe
begin atomic
  -- A user's name wins over the same string as an anonymous one.
  select identity.person_id
  from track.identity
  where identity.external_id = find_person.person
    and identity.kind <> 'nobody'
  order by identity.kind = 'user' desc
  limit 1;
end;

comment on function track.find_person(text) is $$
@behavior -queryField
Key of the person whom the application calls so (`userId`, or else `anonymousId`); null when nobody is, or when the caller may not see it.
$$;

grant execute on function track.find_person(text) to insights_reader, insights_learner, insights_admin, insights_worker;
--! EndIncluded track/functions/find_person.sql
--! Included track/functions/make_partitions.sql
create or replace function track.make_partitions(since timestamptz default now(), until timestamptz default now() + interval '3 months')
returns int
language plpgsql
volatile
-- A definer: only the owner of a table may add partitions to it.
security definer
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_month timestamp;
  v_name text;
  v_made int := 0;
begin
  if make_partitions.since is null or make_partitions.until is null
    or not isfinite(make_partitions.since) or not isfinite(make_partitions.until)
    or make_partitions.since > make_partitions.until
  then
    raise exception using
      errcode = 'CF001',
      message = format('the period is from %s until %s', coalesce(make_partitions.since::text, 'null'), coalesce(make_partitions.until::text, 'null')),
      hint = 'Give a time for since, and the same or a later one for until.';
  end if;
  if make_partitions.until > make_partitions.since + interval '100 years' then
    raise exception using
      errcode = 'CF008',
      message = format('from %s until %s there are more than 1200 months', make_partitions.since, make_partitions.until),
      hint = 'Give a shorter period.';
  end if;

  for v_month in
    select month
    from generate_series(
      date_trunc('month', make_partitions.since at time zone 'UTC'),
      date_trunc('month', make_partitions.until at time zone 'UTC'),
      interval '1 month'
    ) as month
    where to_regclass(format('track.event_%s', to_char(month, 'YYYY_MM'))) is null
  loop
    -- Whoever comes second waits here, and then finds the month made.
    perform pg_advisory_xact_lock(hashtext('track.make_partitions'));
    v_name := format('event_%s', to_char(v_month, 'YYYY_MM'));
    -- A query, for to_regclass answers from a cache that waiting for an advisory lock does not bring up to date.
    if not exists (select from pg_catalog.pg_class where relnamespace = 'track'::regnamespace and relname = v_name) then
      -- Attaching, other than "create table … partition of", lets writers of other months go on.
      execute format('create table track.%I (like track.event including defaults including constraints)', v_name);
      execute format('alter table track.%I enable row level security', v_name);
      execute format('comment on table track.%I is %L', v_name, 'Events of ' || to_char(v_month, 'YYYY-MM') || ' (UTC).');
      execute format(
        'alter table track.event attach partition track.%I for values from (%L) to (%L)',
        v_name, v_month at time zone 'UTC', (v_month + interval '1 month') at time zone 'UTC'
      );
      v_made := v_made + 1;
    end if;
  end loop;
  return v_made;
end;
$$;

comment on function track.make_partitions(timestamptz, timestamptz) is $$
@behavior -mutationField
Makes the missing monthly partitions of `track.event` between two times, by default for the next three months; returns how many.
A worker calls it ahead of time; `track.ingest` calls it for events of months that nobody foresaw.
Errors: CF001 for a period that is none, CF008 for more than 100 years.
$$;

grant execute on function track.make_partitions(timestamptz, timestamptz) to insights_worker;
--! EndIncluded track/functions/make_partitions.sql
--! Included track/functions/item_ancestors.sql
create or replace function track._keep_item_ancestors()
returns trigger
language plpgsql
-- A definer: it writes track.item_ancestor, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
as $$
begin
  if tg_op = 'UPDATE' then
    if not exists (
      select
      from changed
      join former using (item_id)
      where changed.parent_item_id is distinct from former.parent_item_id
    ) then
      return null;
    end if;
  elsif not exists (select from changed where parent_item_id is not null) then
    insert into track.item_ancestor (item_id, ancestor_item_id, depth)
    select item_id, item_id, 0
    from changed;
    return null;
  end if;

  -- One move at a time: two at once, one below the other, would each miss the other's ancestors.
  perform pg_advisory_xact_lock(hashtext('track.item_ancestor'));

  with recursive affected (item_id) as (
    select item_id from changed

    union

    select item.item_id
    from affected
    join track.item on item.parent_item_id = affected.item_id
  ),

  ancestor (item_id, ancestor_item_id, depth, path) as (
    select item_id, item_id, 0, array[item_id]
    from affected

    union all

    select ancestor.item_id, item.parent_item_id, ancestor.depth + 1, ancestor.path || item.parent_item_id
    from ancestor
    join track.item on item.item_id = ancestor.ancestor_item_id
    where item.parent_item_id is not null
      and (item.parent_item_id <> all (ancestor.path) or track._refuse_item_cycle(ancestor.path || item.parent_item_id))
  ),

  forgotten as (
    delete from track.item_ancestor
    using affected
    where item_ancestor.item_id = affected.item_id
      and not exists (
        select
        from ancestor
        where ancestor.item_id = item_ancestor.item_id
          and ancestor.ancestor_item_id = item_ancestor.ancestor_item_id
      )
  )

  insert into track.item_ancestor (item_id, ancestor_item_id, depth)
  select item_id, ancestor_item_id, depth
  from ancestor
  on conflict (item_id, ancestor_item_id) do update
  set depth = excluded.depth
  where item_ancestor.depth <> excluded.depth;

  return null;
end;
$$;

comment on function track._keep_item_ancestors() is $$
Trigger: brings `track.item_ancestor` up to date for the items that a statement made or moved, and all below them.
$$;

create or replace function track._refuse_item_cycle(path bigint[])
returns boolean
language plpgsql
stable
-- A definer: it reads all items, on behalf of whoever stores one of them.
security definer
set search_path to pg_catalog, pg_temp
as $$
begin
  raise exception using
    errcode = 'CF010',
    message = format(
      'items would be parts of each other: %s',
      (
        select string_agg(format('"%s"', left(item.external_id, 100)), ' → ' order by step.ordinality)
        from unnest(_refuse_item_cycle.path) with ordinality as step (item_id, ordinality)
        join track.item using (item_id)
        where step.ordinality <= 10
      )
    ),
    hint = 'Give one of them another parent.';
end;
$$;

comment on function track._refuse_item_cycle(bigint[]) is $$
Raises CF010 for a circle of parents, naming the items of the path from the item upwards.
$$;

create or replace trigger keep_ancestors_of_new
after insert on track.item
referencing new table as changed
for each statement execute function track._keep_item_ancestors();

create or replace trigger keep_ancestors_of_moved
after update on track.item
referencing new table as changed old table as former
for each statement execute function track._keep_item_ancestors();
--! EndIncluded track/functions/item_ancestors.sql
--! Included track/functions/link_identities.sql
/*
 * A person is a connected component of identities, named after its oldest user, or else its oldest identity. So the
 * name alone says whether a person has a user, two people who become one keep the name that comes first, and nobody
 * has to walk through the links to add one: only `track.unlink_identities` does.
 *
 * Locks are taken in this order, and each kind at once, so that nobody waits in a circle: rows of `track.person` for
 * update by whoever links or unlinks; rows of `track.identity` for update by whoever moves them, for key share by
 * whoever stores something for them.
 */
create or replace function track._lock_people(identity_ids bigint[])
returns void
language plpgsql
volatile
-- A definer: it locks rows of track.person, which takes a right to write them.
security definer
set search_path to pg_catalog, pg_temp
as $$
declare
  v_people bigint[];
  v_locked int;
begin
  for attempt in 1 .. 1000 loop
    begin
      v_people := array(
        select distinct identity.person_id
        from track.identity
        where identity.identity_id = any (_lock_people.identity_ids)
        order by identity.person_id
      );
      perform person.person_id
      from track.person
      where person.person_id = any (v_people)
      order by person.person_id
      for update;
      get diagnostics v_locked = row_count;
      -- All of them, for a person who was merged away and is back meanwhile has another row.
      if v_locked = cardinality(v_people) and v_people = array(
        select distinct identity.person_id
        from track.identity
        where identity.identity_id = any (_lock_people.identity_ids)
        order by identity.person_id
      ) then
        return;
      end if;
      raise exception using errcode = 'CF099', message = 'the identities moved to other people meanwhile';
    exception
      -- The error gives the locks back, without which the next attempt could wait in a circle.
      when sqlstate 'CF099' then null;
    end;
  end loop;
  raise exception using
    errcode = 'serialization_failure',
    message = 'the people to be linked keep changing',
    hint = 'Try again.';
end;
$$;

comment on function track._lock_people(bigint[]) is $$
Locks the people of some identities: until the transaction ends, nobody else links or unlinks an identity of them.
$$;

create or replace function track._move_identities(identity_ids bigint[], old_people bigint[], new_people bigint[])
returns void
language plpgsql
volatile
-- A definer: it moves the data of people, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
as $$
declare
  v_since timestamptz;
  v_until timestamptz;
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

  -- Each event of a person lies in a session or in what is to be refreshed. A browser has been there for a day or so,
  -- and a new one has no events.
  select min(period.since), max(period.until)
  into v_since, v_until
  from (
    select stale.since, stale.until
    from track.stale
    where stale.person_id = any (_move_identities.old_people)
    union all
    select session.started_at, session.ended_at
    from track.session
    where session.person_id = any (_move_identities.old_people)
  ) as period;

  -- Rows move by deletion and insertion: the person is what they are distributed by. Planned each time, so that only
  -- the months between are touched.
  if v_since is not null then
    execute $statement$
      with gone as (
        delete from track.event
        using unnest($1, $2, $3) as moved (identity_id, old_person_id, new_person_id)
        where event.person_id = moved.old_person_id
          and event.identity_id = moved.identity_id
          and event.occurred_at between $4 and $5
        returning moved.old_person_id, moved.new_person_id, event.*
      ),

      placed as (
        insert into track.event (
          person_id, occurred_at, event_id, identity_id, event_type_id, item_id, received_at, source_id, properties
        )
        select new_person_id, occurred_at, event_id, identity_id, event_type_id, item_id, received_at, source_id, properties
        from gone
      )

      insert into track.stale (person_id, since, until)
      select old_person_id, min(occurred_at), max(occurred_at)
      from gone
      group by old_person_id
      union all
      select new_person_id, min(occurred_at), max(occurred_at)
      from gone
      group by new_person_id
    $statement$
    using _move_identities.identity_ids, _move_identities.old_people, _move_identities.new_people, v_since, v_until;
  end if;

  with gone as (
    delete from track.trait
    using unnest(_move_identities.identity_ids, _move_identities.old_people, _move_identities.new_people)
      as moved (identity_id, old_person_id, new_person_id)
    where trait.person_id = moved.old_person_id
      and trait.identity_id = moved.identity_id
    returning moved.new_person_id, trait.*
  )
  insert into track.trait (person_id, identity_id, name, value, set_at)
  select new_person_id, identity_id, name, value, set_at
  from gone;

  -- What follows from an enrolment or a decision concerns all that a person did.
  with gone as (
    delete from track.enrolment
    using unnest(_move_identities.identity_ids, _move_identities.old_people, _move_identities.new_people)
      as moved (identity_id, old_person_id, new_person_id)
    where enrolment.person_id = moved.old_person_id
      and enrolment.identity_id = moved.identity_id
    returning moved.old_person_id, moved.new_person_id, enrolment.*
  ),

  placed as (
    insert into track.enrolment (person_id, item_id, status, enrolled_at, ended_at, identity_id)
    select new_person_id, item_id, status, enrolled_at, ended_at, identity_id
    from gone
  )

  insert into track.stale (person_id, since, until)
  select person_id, '-infinity', 'infinity'
  from (select old_person_id from gone union select new_person_id from gone) as touched (person_id);

  with gone as (
    delete from privacy.consent
    using unnest(_move_identities.identity_ids, _move_identities.old_people, _move_identities.new_people)
      as moved (identity_id, old_person_id, new_person_id)
    where consent.person_id = moved.old_person_id
      and consent.identity_id = moved.identity_id
    returning moved.old_person_id, moved.new_person_id, consent.*
  ),

  placed as (
    insert into privacy.consent (
      person_id, identity_id, consent_id, purpose, granted, decided_at, recorded_at, source, document_version, evidence
    )
    select
      new_person_id, identity_id, consent_id, purpose, granted, decided_at, recorded_at, source, document_version, evidence
    from gone
  )

  insert into track.stale (person_id, since, until)
  select person_id, '-infinity', 'infinity'
  from (select old_person_id from gone union select new_person_id from gone) as touched (person_id);

  delete from track.person
  where person.person_id = any (_move_identities.old_people)
    and not exists (select from track.identity where identity.person_id = person.person_id);
end;
$$;

comment on function track._move_identities(bigint[], bigint[], bigint[]) is $$
Moves identities and all that came with them, each from its old person to its new one; the three lists have the same length.
Costs what the identities have. The people and the identities are locked by the caller.
$$;

create or replace function track._resolve_people(identity_ids bigint[])
returns void
language plpgsql
volatile
-- A definer: it moves the data of people, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
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
        and unlinked_at is null
      union all
      select identity_link.identity_id
      from track.identity_link
      where linked_identity_id = reached.identity_id
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
    perform identity.identity_id
    from track.identity
    where identity.identity_id = any (v_moved)
    order by identity.identity_id
    for update;
    perform track._move_identities(v_moved, v_old, v_new);
  end if;
end;
$$;

comment on function track._resolve_people(bigint[]) is $$
Walks through the links of some identities and moves whoever is not with the person that they resolve to. `track._lock_people` comes first.
$$;

create or replace function track._is_linked(identity_id bigint, linked_identity_id bigint, linked_at timestamptz)
returns boolean
language sql
stable
parallel safe
begin atomic
  select exists (
    select
    from track.identity_link
    where identity_link.identity_id = _is_linked.identity_id
      and identity_link.linked_identity_id = _is_linked.linked_identity_id
      and (identity_link.unlinked_at is null or identity_link.unlinked_at >= _is_linked.linked_at)
  );
end;

comment on function track._is_linked(bigint, bigint, timestamptz) is $$
Whether an identity is linked to another one already, or was taken back from it after the given time: nothing to do.
$$;

create or replace function track._link_people(
  identity_ids bigint[],
  linked_identity_ids bigint[],
  kinds text[],
  linked_at timestamptz[],
  also_locked bigint[] default '{}'
)
returns int
language plpgsql
volatile
-- A definer: it writes track.identity_link, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
as $$
declare
  v_ends constant bigint[] := _link_people.identity_ids || _link_people.linked_identity_ids;
  -- Whose identities are linked: first those who have a user, each group by age. Below, a person is its place here.
  v_people bigint[];
  v_users int;
  -- For each link that is not made yet, in order: its place in the arguments, its kind, and whom it joins.
  v_links int[];
  v_is_identify boolean[];
  v_froms int[];
  v_tos int[];
  -- For each person one that it is joined to, or itself; following it leads to the one whose name all will have.
  v_joined int[];
  v_from int;
  v_to int;
  v_made int[] := '{}';
  v_moved bigint[];
  v_old bigint[];
  v_new bigint[];
begin
  perform track._lock_people(v_ends);

  select array_agg(person_id order by is_user desc, person_id), count(*) filter (where is_user)
  into v_people, v_users
  from (
    select distinct identity.person_id, name.kind = 'user' as is_user
    from track.identity
    join track.identity as name on name.identity_id = identity.person_id
    where identity.identity_id = any (v_ends)
  ) as person;

  select
    array_agg(link.position order by link.position),
    array_agg(link.kind = 'identify' order by link.position),
    array_agg(person.place order by link.position),
    array_agg(linked_person.place order by link.position)
  into v_links, v_is_identify, v_froms, v_tos
  from unnest(_link_people.identity_ids, _link_people.linked_identity_ids, _link_people.kinds, _link_people.linked_at)
    with ordinality as link (identity_id, linked_identity_id, kind, linked_at, position)
  join track.identity on identity.identity_id = link.identity_id
  join track.identity as linked on linked.identity_id = link.linked_identity_id
  join unnest(v_people) with ordinality as person (person_id, place) on person.person_id = identity.person_id
  join unnest(v_people) with ordinality as linked_person (person_id, place) on linked_person.person_id = linked.person_id
  where not track._is_linked(link.identity_id, link.linked_identity_id, link.linked_at);

  v_joined := array(select generate_series(1, cardinality(v_people)));
  for i in 1 .. coalesce(cardinality(v_links), 0) loop
    v_from := v_froms[i];
    while v_joined[v_from] <> v_from loop
      v_joined[v_from] := v_joined[v_joined[v_from]];
      v_from := v_joined[v_from];
    end loop;
    v_to := v_tos[i];
    while v_joined[v_to] <> v_to loop
      v_joined[v_to] := v_joined[v_joined[v_to]];
      v_to := v_joined[v_to];
    end loop;
    -- A browser that belongs to one user already is shared: its past stays with that user.
    continue when v_is_identify[i] and v_from <> v_to and v_from <= v_users;
    v_joined[greatest(v_from, v_to)] := least(v_from, v_to);
    v_made := v_made || v_links[i];
  end loop;

  if v_made = '{}' then
    return 0;
  end if;

  -- Nobody is joined to somebody behind, so one pass leads everybody to the end.
  for i in 1 .. cardinality(v_people) loop
    v_joined[i] := v_joined[v_joined[i]];
  end loop;

  select
    array_agg(identity.identity_id),
    array_agg(identity.person_id),
    array_agg(joined.person_id)
  into v_moved, v_old, v_new
  from unnest(v_people, v_joined) with ordinality as person (person_id, joined, place)
  join unnest(v_people) with ordinality as joined (person_id, place) on joined.place = person.joined
  join track.identity on identity.person_id = person.person_id
  where person.joined <> person.place;

  -- And nobody stores anything for these meanwhile.
  perform identity.identity_id
  from track.identity
  where identity.identity_id = any (v_ends || v_moved || _link_people.also_locked)
  order by identity.identity_id
  for update;

  insert into track.identity_link (identity_id, linked_identity_id, kind, linked_at)
  select distinct on (link.identity_id, link.linked_identity_id)
    link.identity_id, link.linked_identity_id, link.kind, link.linked_at
  from unnest(_link_people.identity_ids, _link_people.linked_identity_ids, _link_people.kinds, _link_people.linked_at)
    with ordinality as link (identity_id, linked_identity_id, kind, linked_at, position)
  join unnest(v_made) as made (position) using (position)
  order by link.identity_id, link.linked_identity_id, link.position
  on conflict on constraint identity_link_pkey do update
  set kind = excluded.kind, linked_at = excluded.linked_at, unlinked_at = null;

  if v_moved is not null then
    perform track._move_identities(v_moved, v_old, v_new);
  end if;
  return cardinality(v_made);
end;
$$;

comment on function track._link_people(bigint[], bigint[], text[], timestamptz[], bigint[]) is $$
Links identities to others, one link after the other as the lists of the same length say, and moves what belongs to whom once at the end; returns how many links were made.
A link is left out that is there already, that was taken back later, or that would join two users by an `identify`.
`also_locked`: identities that the caller will store something for, and has to lock with these.
$$;

create or replace function track.link_identities(person text, other text)
returns boolean
language plpgsql
volatile
-- A definer: it merges people and moves their data, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
as $$
declare
  v_person_id constant bigint := (
    select identity_id
    from track.identity
    where external_id = link_identities.person and kind <> 'nobody'
    order by kind = 'user' desc
    limit 1
  );
  v_other_id constant bigint := (
    select identity_id
    from track.identity
    where external_id = link_identities.other and kind <> 'nobody'
    order by kind = 'user' desc
    limit 1
  );
begin
  if v_person_id is null or v_other_id is null then
    raise exception using
      errcode = 'CF002',
      message = format(
        'nobody is known as "%s"',
        left(case when v_person_id is null then link_identities.person else link_identities.other end, 100)
      ),
      hint = 'Give the userId or anonymousId that was sent with events.';
  end if;
  if v_person_id = v_other_id then
    raise exception using
      errcode = 'CF001',
      message = format('"%s" would be linked to itself', left(link_identities.person, 100)),
      hint = 'Give two different names.';
  end if;
  return track._link_people(array[v_other_id], array[v_person_id], array['alias'], array[clock_timestamp()]) > 0;
end;
$$;

comment on function track.link_identities(text, text) is $$
Says that two names are one person: what `other` did, and will do, belongs to `person`. False when they are linked already.
Errors: CF002 for a name that nobody has, CF001 for a name and itself. `track.unlink_identities` takes it back.
$$;

grant execute on function track.link_identities(text, text) to insights_admin;
--! EndIncluded track/functions/link_identities.sql
--! Included track/functions/unlink_identities.sql
create or replace function track.unlink_identities(person text, other text)
returns boolean
language plpgsql
volatile
-- A definer: it splits a person and moves data of hers, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
as $$
declare
  v_ends bigint[];
begin
  perform track._lock_people(array(
    select identity_id
    from track.identity
    where external_id in (unlink_identities.person, unlink_identities.other)
  ));

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
    raise exception using
      errcode = 'CF002',
      message = format('"%s" and "%s" are not linked', left(unlink_identities.person, 100), left(unlink_identities.other, 100)),
      hint = 'The table track.identity_link lists the links that hold.';
  end if;

  perform track._resolve_people(v_ends);
  return true;
end;
$$;

comment on function track.unlink_identities(text, text) is $$
Takes a link between two names back: each event goes to the person that its own identity now resolves to.
Errors: CF002 when there is no such link.
$$;

grant execute on function track.unlink_identities(text, text) to insights_admin;
--! EndIncluded track/functions/unlink_identities.sql
--! Included track/functions/ingest.sql
create or replace function track._parse_time(value text)
returns timestamptz
language plpgsql
stable
parallel restricted
set search_path to pg_catalog, pg_temp
as $$
begin
  return value::timestamptz;
exception
  when others then return null;
end;
$$;

comment on function track._parse_time(text) is $$
A time as PostgreSQL reads it; null for what is none.
$$;

create or replace function track._time(value text, doubtful boolean)
returns timestamptz
language sql
stable
parallel restricted
-- Words such as "now" and "infinity" are times to PostgreSQL, but not to anybody else.
return case
  when value like '____-__-__%' then case when doubtful then track._parse_time(value) else value::timestamptz end
end;

comment on function track._time(text, boolean) is $$
An ISO 8601 time; null for anything else, or an error unless `doubtful`, for catching errors one by one is slow.
$$;

create or replace function track._parse_batch(batch jsonb, received_at timestamptz, trusted boolean, doubtful boolean default false)
returns track.parsed_message[]
language plpgsql
stable
parallel restricted
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
declare
  -- Ten bytes such as 1e131000 would become 131,000 wherever they are written out.
  v_vast_number constant jsonpath := '$.** ? (@.type() == "number" && (@ > 1e308 || @ < -1e308 || @ != 0 && @ < 1e-307 && @ > -1e-307))';
  v_holds_vast_number constant boolean := jsonb_path_exists(_parse_batch.batch, v_vast_number);
  v_messages jsonb := case jsonb_typeof(_parse_batch.batch) when 'array' then _parse_batch.batch else _parse_batch.batch -> 'batch' end;
  -- What a batch says of all its messages, each of them comes to hold: little, and no more than is read.
  v_longest_context constant int := 4096;
  v_sent_at constant text := left(_parse_batch.batch ->> 'sentAt', 100);
  v_context constant jsonb := (
    select jsonb_object_agg(part.key, part.value)
    from jsonb_each(
      case jsonb_typeof(_parse_batch.batch -> 'context') when 'object' then _parse_batch.batch -> 'context' end
    ) as part
    where part.key in ('consent', 'gpc', 'page', 'timezone')
  );
begin
  if pg_column_size(v_context) > v_longest_context then
    raise exception using
      errcode = 'CF008',
      message = format('the "context" of the batch has %s bytes about consent, page and timezone', pg_column_size(v_context)),
      hint = format('Send %s at most, and the rest in the "context" of each message.', v_longest_context);
  end if;
  if v_holds_vast_number then
    if jsonb_path_exists(v_context, v_vast_number) then
      raise exception using
        errcode = 'CF001',
        message = 'the "context" of the batch holds a number beyond double precision',
        hint = 'Send a number from 1e-307 to 1e308, or a string.';
    end if;
    -- Nothing of such a message is written out, below or in an error.
    v_messages := (
      select jsonb_agg(
        case
          when jsonb_typeof(entry.message) = 'object' and jsonb_path_exists(entry.message, v_vast_number)
            then jsonb_build_object(
              'vast', true, 'messageId', case jsonb_typeof(entry.message -> 'messageId') when 'string' then entry.message -> 'messageId' end
            )
          else entry.message
        end
        order by entry.ordinality
      )
      from jsonb_array_elements(v_messages) with ordinality as entry (message, ordinality)
    );
  end if;

  return (
    with setting as materialized (
      select
        longest_properties,
        _parse_batch.received_at + newest_event as newest,
        case
          when _parse_batch.trusted then oldest_event
          else greatest(oldest_event, _parse_batch.received_at - oldest_client_event)
        end as oldest,
        nullif(current_setting('insights.person', true), '') as own_name,
        current_setting('role') = 'insights_learner' as is_learner
      from track.setting
    ),

    field as materialized (
      select
        entry.ordinality::int - 1 as position,
        entry.message,
        entry.message ->> 'type' as type,
        entry.message ->> 'messageId' as message_id,
        nullif(entry.message ->> 'userId', '') as user_id,
        nullif(entry.message ->> 'anonymousId', '') as anonymous_id,
        nullif(entry.message ->> 'previousId', '') as previous_id,
        entry.message ->> 'event' as event,
        coalesce(entry.message ->> 'originalTimestamp', entry.message ->> 'timestamp') as original_timestamp,
        coalesce(entry.message ->> 'sentAt', v_sent_at) as sent_at,
        -- What the batch says of all its messages, each may say otherwise.
        case
          when v_context is not null
            then v_context || case jsonb_typeof(entry.message -> 'context') when 'object' then entry.message -> 'context' else '{}' end
          else entry.message -> 'context'
        end as context,
        case when jsonb_typeof(entry.message -> 'properties') <> 'null' then entry.message -> 'properties' end as properties,
        case when _parse_batch.trusted then entry.message ->> 'receivedAt' end as stated_arrival
      from jsonb_array_elements(v_messages) with ordinality as entry (message, ordinality)
    ),

    timed as materialized (
      select
        field.*,
        track._time(original_timestamp, doubtful) as original_at,
        track._time(sent_at, doubtful) as parsed_sent_at,
        coalesce(track._time(stated_arrival, doubtful), _parse_batch.received_at) as arrived_at
      from field
    ),

    corrected as materialized (
      select
        timed.*,
        case
          when original_timestamp is null then arrived_at
          when sent_at is null then original_at
          when isfinite(original_at) and isfinite(parsed_sent_at) then arrived_at - (parsed_sent_at - original_at)
          else original_at
        end as occurred_at
      from timed
    ),

    judged as materialized (
      select
        corrected.*,
        case
          when jsonb_typeof(message) <> 'object'
            then array['CF009', format('the message is a JSON %s', jsonb_typeof(message)), 'Send an object such as {"type": "track", …}.']
          when type is null and message ? 'unreadable'
            then array['CF009', left(message ->> 'unreadable', 100), 'Send well-formed JSON without null bytes and half surrogate pairs.']
          when v_holds_vast_number and type is null and message ? 'vast'
            then array['CF001', 'the message holds a number beyond double precision', 'Send a number from 1e-307 to 1e308, or a string.']
          when type is null
            then array['CF001', 'the message has no "type"', 'Use track, page, screen, identify, alias or group.']
          when type not in ('track', 'page', 'screen', 'identify', 'alias', 'group')
            then array['CF001', format('"type" is "%s"', left(type, 100)), 'Use track, page, screen, identify, alias or group.']
          when message_id is null or message_id = ''
            then array['CF001', '"messageId" is missing', 'Give each message an id of its own; it makes retries safe.']
          when jsonb_typeof(message -> 'messageId') <> 'string'
            then array['CF001', format('"messageId" is a JSON %s', jsonb_typeof(message -> 'messageId')), 'Send a string.']
          when length(message_id) > 256
            then array['CF008', format('"messageId" has %s characters', length(message_id)), 'Send 256 at most.']
          when user_id is null and anonymous_id is null
            then array['CF001', 'neither "userId" nor "anonymousId" is given', 'Say who it was: "userId" for somebody signed in, or else "anonymousId".']
          when jsonb_typeof(message -> 'userId') not in ('string', 'number', 'null')
            then array['CF001', format('"userId" is a JSON %s', jsonb_typeof(message -> 'userId')), 'Send a string.']
          when jsonb_typeof(message -> 'anonymousId') not in ('string', 'number', 'null')
            then array['CF001', format('"anonymousId" is a JSON %s', jsonb_typeof(message -> 'anonymousId')), 'Send a string.']
          when jsonb_typeof(message -> 'previousId') not in ('string', 'number', 'null')
            then array['CF001', format('"previousId" is a JSON %s', jsonb_typeof(message -> 'previousId')), 'Send a string.']
          when length(user_id) > 256 or length(anonymous_id) > 256 or length(previous_id) > 256
            then array['CF008', format('an id has %s characters', greatest(length(user_id), length(anonymous_id), length(previous_id))), 'Send 256 at most.']
          when not trusted and user_id is not null and not (setting.is_learner and user_id is not distinct from setting.own_name)
            then array['CF005', format('"userId" is "%s", who is not signed in', left(user_id, 100)), 'Sign in as that person, or send "anonymousId" only.']
          when type = 'alias' and (previous_id is null or user_id is null)
            then array['CF001', '"alias" needs "previousId" and "userId"', 'Send both.']
          when type = 'alias' and not trusted
            then array['CF005', '"alias" is for servers', 'Use "identify" with "anonymousId" and "userId", or send it with a worker''s token.']
          when type = 'group' and message ->> 'groupId' is null
            then array['CF001', '"group" needs "groupId"', 'Send it.']
          when type = 'track' and (event is null or event = '' or jsonb_typeof(message -> 'event') <> 'string')
            then array['CF001', '"track" needs "event"', 'Send the name of the event, a string such as "Task Submitted".']
          when length(event) > 200
            then array['CF008', format('"event" has %s characters', length(event)), 'Send 200 at most, and details in "properties".']
          when jsonb_typeof(properties) <> 'object'
            then array['CF001', format('"properties" is a JSON %s', jsonb_typeof(properties)), 'Send an object.']
          when jsonb_typeof(message -> 'traits') not in ('object', 'null')
            then array['CF001', format('"traits" is a JSON %s', jsonb_typeof(message -> 'traits')), 'Send an object.']
          when pg_column_size(message) > setting.longest_properties / 2 and octet_length(message::text) > setting.longest_properties
            then array['CF008', format('the message has %s bytes', octet_length(message::text)), format('Send %s at most.', setting.longest_properties)]
          when jsonb_typeof(properties -> 'item') not in ('string', 'number', 'null')
            then array['CF001', format('"properties.item" is a JSON %s', jsonb_typeof(properties -> 'item')), 'Send the external id of an item, a string.']
          when length(properties ->> 'item') > 512
            then array['CF008', format('"properties.item" has %s characters', length(properties ->> 'item')), 'Send 512 at most.']
          when trusted and jsonb_typeof(properties -> 'parent') not in ('string', 'number', 'null')
            then array['CF001', format('"properties.parent" is a JSON %s', jsonb_typeof(properties -> 'parent')), 'Send the external id of an item, a string.']
          when trusted and length(properties ->> 'parent') > 512
            then array['CF008', format('"properties.parent" has %s characters', length(properties ->> 'parent')), 'Send 512 at most.']
          when properties ->> 'itemKind' !~ '^[a-z][a-z0-9_]{0,62}$'
            then array['CF001', format('"properties.itemKind" is "%s"', left(properties ->> 'itemKind', 100)), 'Use a lower case word such as course, module, task, page or video.']
          when jsonb_typeof(properties -> 'duration') = 'number' and (properties ->> 'duration')::numeric < 0
            then array['CF001', format('"properties.duration" is %s', left(properties ->> 'duration', 40)), 'A duration is zero or more.']
          when original_timestamp is not null and (original_at is null or not isfinite(original_at))
            then array['CF001', format('"timestamp" is "%s"', left(original_timestamp, 100)), 'Send an ISO 8601 time such as 2026-02-28T09:30:00.000Z.']
          when sent_at is not null and (parsed_sent_at is null or not isfinite(parsed_sent_at))
            then array['CF001', format('"sentAt" is "%s"', left(sent_at, 100)), 'Send an ISO 8601 time such as 2026-02-28T09:30:00.000Z.']
          when occurred_at > setting.newest
            then array['CF001', format('the event''s time is %s, in the future', to_char(occurred_at at time zone 'UTC', 'FMYYYY-MM-DD"T"HH24:MI:SS"Z"')), 'Check the client''s clock, or send "sentAt" so that it can be corrected.']
          when occurred_at < setting.oldest
            then array['CF001', format('the event''s time is %s, too long ago', to_char(occurred_at at time zone 'UTC', 'FMYYYY-MM-DD"T"HH24:MI:SS"Z"')), format('The earliest accepted is %s.', to_char(setting.oldest at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))]
        end as problem
      from corrected
      cross join setting
    ),

    named as materialized (
      select
        judged.*,
        case type when 'track' then event when 'page' then 'Page Viewed' when 'screen' then 'Screen Viewed' end as event_name,
        case when user_id is not null then 'user' else 'anonymous' end as identity_kind,
        coalesce(user_id, anonymous_id) as external_id,
        coalesce(
          context #> '{consent,categoryPreferences}',
          case when event = 'Segment Consent Preference Updated' then properties -> 'categoryPreferences' end
        ) as preferences
      from judged
    ),

    -- What each person of the batch last decided about each purpose, in this batch or before.
    decision as materialized (
      select distinct on (said.external_id, said.identity_kind, said.purpose)
        said.external_id, said.identity_kind, said.purpose, said.granted
      from (
        select
          identity.external_id, identity.kind as identity_kind, consent.purpose, consent.granted, consent.decided_at, consent.recorded_at
        from (select distinct external_id, identity_kind from named) as person
        join track.identity
          on identity.external_id = person.external_id
          and identity.kind = person.identity_kind
        join privacy.consent on consent.person_id = identity.person_id

        union all

        select named.external_id, named.identity_kind, preference.key, preference.value::boolean, named.occurred_at, 'infinity'
        from named
        cross join lateral jsonb_each(case jsonb_typeof(named.preferences) when 'object' then named.preferences end) as preference
        where named.event = 'Segment Consent Preference Updated'
          and named.type = 'track'
          and named.problem is null
          and jsonb_typeof(preference.value) = 'boolean'
      ) as said
      order by said.external_id, said.identity_kind, said.purpose, said.decided_at desc, said.recorded_at desc
    ),

    -- Consent is asked for the purpose of the event type: what the message says, then Global Privacy Control, then what the
    -- person decided, then the lawful basis. A decision itself needs nobody's leave.
    allowed as materialized (
      select
        named.*,
        purpose.purpose,
        purpose.without_basis,
        coalesce(
          case when named.type = 'track' and named.event = 'Segment Consent Preference Updated' then true end,
          case jsonb_typeof(named.preferences -> purpose.purpose)
            when 'boolean' then (named.preferences ->> purpose.purpose)::boolean
          end,
          case when purpose.opted_out_by_gpc and named.context ->> 'gpc' in ('true', '1') then false end,
          decision.granted,
          purpose.basis <> 'consent'
        ) as is_allowed
      from named
      left join track.event_type on event_type.name = named.event_name
      join privacy.purpose on purpose.purpose = coalesce(event_type.purpose, 'analytics')
      left join decision
        on decision.external_id = named.external_id
        and decision.identity_kind = named.identity_kind
        and decision.purpose = purpose.purpose
    ),

    decided as (
      select
        allowed.*,
        case
          when problem is not null then problem
          when not is_allowed and without_basis = 'refuse'
            then array['CF005', format('the person has not agreed to "%s"', purpose), 'Ask first, and say so in context.consent.categoryPreferences or by privacy.record_consent.']
        end as error,
        problem is null and not is_allowed as is_nobody
      from allowed
    )

    select array_agg(
      row(
        position,
        type,
        message_id,
        encode(substr(sha256(convert_to(message_id, 'UTF8')), 1, 16), 'hex')::uuid,
        case when is_nobody then 'nobody' else identity_kind end,
        case when is_nobody then 'nobody' else external_id end,
        case when not is_nobody then anonymous_id end,
        case when not is_nobody then previous_id end,
        event_name,
        -- A page is an item even where the client does not say which: by its path, as web analytics do.
        coalesce(
          nullif(properties ->> 'item', ''),
          case type
            when 'page' then left(coalesce(nullif(properties ->> 'path', ''), nullif(context #>> '{page,path}', '')), 512)
            when 'screen' then left(nullif(message ->> 'name', ''), 512)
          end
        ),
        -- What an item is, only servers may say: anybody can send a page view.
        case
          when _parse_batch.trusted and properties ? 'itemKind' then properties ->> 'itemKind'
          when nullif(properties ->> 'item', '') is null
            and (
              trusted and type in ('page', 'screen')
              or type = 'page' and starts_with(coalesce(nullif(properties ->> 'path', ''), context #>> '{page,path}'), '/')
            )
            then 'page'
        end,
        case when _parse_batch.trusted then coalesce(properties ->> 'itemTitle', case type when 'page' then properties ->> 'title' end) end,
        case when _parse_batch.trusted then nullif(properties ->> 'parent', '') end,
        case when _parse_batch.trusted and type = 'page' then coalesce(properties ->> 'url', context #>> '{page,url}') end,
        occurred_at,
        arrived_at,
        case
          when is_nobody then null
          when type in ('page', 'screen') and message ->> 'name' is not null
            then coalesce(properties, '{}') || jsonb_build_object('name', message -> 'name')
          when properties <> '{}' then properties
        end,
        case
          when is_nobody then null
          when type = 'identify' and jsonb_typeof(message -> 'traits') = 'object'
            then message -> 'traits' || case when jsonb_typeof(context -> 'timezone') = 'string' then jsonb_build_object('timezone', context -> 'timezone') else '{}' end
          when jsonb_typeof(context -> 'timezone') = 'string' then jsonb_build_object('timezone', context -> 'timezone')
        end,
        case when event_name = 'Segment Consent Preference Updated' then preferences end,
        error[1],
        error[2],
        error[3]
      )::track.parsed_message
      order by position
    )
    from decided
  );
exception
  when data_exception then
    -- Some time of the batch is none: once more, one by one.
    if doubtful then
      raise;
    end if;
    return track._parse_batch(batch, received_at, trusted, true);
end;
$$;

comment on function track._parse_batch(jsonb, timestamptz, boolean, boolean) is $$
Reads the messages of a batch, corrects their clocks, asks for consent, and says what is wrong with each. A message that may be kept only without its person comes out as one of nobody. `doubtful`: a time in it is known to be none.
$$;

create or replace function track._refuse_batch(messages int, largest_batch int)
returns void
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  raise exception using
    errcode = 'CF008',
    message = format('the batch has %s messages', _refuse_batch.messages),
    hint = format('Send %s at most in one batch.', _refuse_batch.largest_batch);
end;
$$;

comment on function track._refuse_batch(int, int) is $$
Raises CF008.
$$;

create or replace function track._split_text(body text)
returns jsonb
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_longest_body constant int := 64 * 1024 * 1024;
  v_largest_batch constant int := (select largest_batch from track.setting);
  -- Each message but the first has a comma before it.
  v_may_be_too_many constant boolean := octet_length(body) - octet_length(replace(body, ',', '')) >= v_largest_batch;
  -- Random, so that no text can hold them.
  v_backslash constant text := left(gen_random_uuid()::text, 13);
  v_escape constant text := left(gen_random_uuid()::text, 13);
  v_document json;
  v_list json;
  v_message json;
  v_messages jsonb[] := '{}';
  v_sent_at jsonb;
  v_context jsonb;
begin
  if octet_length(body) > v_longest_body then
    raise exception using
      errcode = 'CF008',
      message = format('the batch has %s bytes', octet_length(body)),
      hint = format('Send %s at most in one batch.', v_longest_body);
  end if;
  if not v_may_be_too_many then
    begin
      return body::jsonb;
    exception
      when others then null;
    end;
  end if;

  -- Too many messages, or one that jsonb can't hold, while json can: then the others are still good. Not even json can look into an
  -- object with an escape for what is no character, \u0000 or half a surrogate pair, so escapes are replaced until the messages are apart.
  begin
    v_document := replace(replace(body, '\\', v_backslash), '\u', v_escape)::json;
    v_list := case json_typeof(v_document) when 'array' then v_document when 'object' then v_document -> 'batch' end;
    if json_typeof(v_document) = 'object' and v_list is null then
      v_list := json_build_array(v_document);
    end if;
  exception
    when others then
      raise exception using
        errcode = 'CF009',
        message = format('the batch is not JSON: "%s"', left(body, 40) || case when length(body) > 40 then '…' else '' end),
        hint = 'Send a JSON list of messages, or {"batch": […], "sentAt": "…"}.';
  end;
  if v_list is null or json_typeof(v_list) <> 'array' then
    return 'null'::jsonb;
  end if;
  -- Counted here already: to read so many as jsonb takes ten times as long.
  if json_array_length(v_list) > v_largest_batch then
    perform track._refuse_batch(json_array_length(v_list), v_largest_batch);
  end if;
  if v_may_be_too_many then
    begin
      return body::jsonb;
    exception
      when others then null;
    end;
  end if;

  for v_message in
    select value from json_array_elements(v_list)
  loop
    begin
      v_messages := v_messages || replace(replace(v_message::text, v_escape, '\u'), v_backslash, '\\')::jsonb;
    exception
      when untranslatable_character or invalid_text_representation then
        v_messages := v_messages || jsonb_build_object('unreadable', 'the message holds a null byte or half a surrogate pair');
      when others then
        v_messages := v_messages || jsonb_build_object('unreadable', left(sqlerrm, 100));
    end;
  end loop;
  if json_typeof(v_document) = 'object' then
    begin
      v_sent_at := replace(replace((v_document -> 'sentAt')::text, v_escape, '\u'), v_backslash, '\\')::jsonb;
    exception
      when others then v_sent_at := '"unreadable"';
    end;
    begin
      v_context := replace(replace((v_document -> 'context')::text, v_escape, '\u'), v_backslash, '\\')::jsonb;
    exception
      when others then null;
    end;
    return jsonb_build_object('batch', v_messages, 'sentAt', v_sent_at, 'context', v_context);
  end if;
  return to_jsonb(v_messages);
end;
$$;

comment on function track._split_text(text) is $$
A batch that came as text. A message that can't be stored as jsonb (a null byte, half a surrogate pair) becomes `{"unreadable": why}`; the others stay as they are.
Errors: CF008 for too many messages or bytes, CF009 for what is not JSON.
$$;

create or replace function track._event_id(occurred_at timestamptz, message_hash uuid, source_id smallint)
returns uuid
language sql
immutable
parallel safe
return encode(
  int8send((floor(date_part('epoch', occurred_at) * 1000)::bigint << 16) | 28672 | (get_byte(uuid_send(message_hash), 0) << 4))
  || '\x80'::bytea || substr(uuid_send(message_hash), 2, 5) || int2send(source_id),
  'hex'
)::uuid;

comment on function track._event_id(timestamptz, uuid, smallint) is $$
Version 7 UUID (RFC 9562): milliseconds, 48 bits of the message's hash, the source. A function of the message alone, so that no order of arrival changes it.
$$;

create or replace function track._describe_items(messages track.parsed_message[])
returns void
language sql
volatile
-- A definer: it writes track.item, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
as $$
  -- Events fill gaps only: what the application's tables say stays.
  update track.item
  set
    kind = case when item.kind = 'unknown' then coalesce(said.kind, item.kind) else item.kind end,
    title = coalesce(item.title, said.title),
    url = coalesce(item.url, said.url),
    parent_item_id = coalesce(item.parent_item_id, said.parent_item_id),
    updated_at = now()
  from (
    select
      message.item,
      (array_agg(message.item_kind order by message.position) filter (where message.item_kind is not null))[1] as kind,
      (array_agg(message.item_title order by message.position) filter (where message.item_title is not null))[1] as title,
      (array_agg(message.item_url order by message.position) filter (where message.item_url is not null))[1] as url,
      (array_agg(parent.item_id order by message.position) filter (where parent.item_id is not null))[1] as parent_item_id
    from unnest(messages) as message
    left join track.item as parent
      on parent.external_id = message.item_parent
      and parent.external_id <> message.item
    group by message.item
  ) as said
  where item.external_id = said.item
    and (
      item.kind = 'unknown' and said.kind is not null
      or item.title is null and said.title is not null
      or item.url is null and said.url is not null
      or item.parent_item_id is null and said.parent_item_id is not null
    );
$$;

comment on function track._describe_items(track.parsed_message[]) is $$
Fills what is not known yet of the items that messages name. Raises CF010 for a circle of parents.
$$;

create or replace function track._name_everything(messages track.parsed_message[])
returns void
language plpgsql
volatile
-- A definer: it writes identities, people, event types and items, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
as $$
declare
  v_message track.parsed_message;
begin
  -- First of all: a new partition has to wait for whoever has entered items or event types, so whoever makes one must not have.
  perform track.make_partitions(month, month)
  from (
    select distinct date_trunc('month', message.occurred_at at time zone 'UTC') at time zone 'UTC' as month
    from unnest(messages) as message
  ) as needed
  where month is not null
    and to_regclass('track.event_' || to_char(month at time zone 'UTC', 'YYYY_MM')) is null;

  with named as (
    select message.identity_kind as kind, message.external_id
    from unnest(messages) as message

    union

    select 'anonymous', message.anonymous_id
    from unnest(messages) as message
    where message.type = 'identify' and message.anonymous_id is not null

    union

    -- An alias may come before anything of the name that it replaces, which may have been a user's or a browser's.
    select kind, message.previous_id
    from unnest(messages) as message
    cross join unnest(array['user', 'anonymous']) as kind
    where message.type = 'alias' and message.previous_id is not null
  ),

  numbered as materialized (
    select kind, external_id, nextval('track.identity_identity_id_seq') as identity_id
    from named
    where not exists (
      select
      from track.identity
      where identity.external_id = named.external_id
        and identity.kind = named.kind
    )
    order by external_id, kind
  ),

  entered as (
    insert into track.identity (identity_id, kind, external_id, person_id)
    overriding system value
    select identity_id, kind, external_id, identity_id
    from numbered
    order by external_id, kind
    on conflict (external_id, kind) do nothing
    returning person_id
  )

  insert into track.person (person_id)
  select person_id
  from entered;

  insert into track.event_type (name)
  select distinct message.event_name
  from unnest(messages) as message
  where message.event_name is not null
    and not exists (select from track.event_type where event_type.name = message.event_name)
  order by message.event_name
  on conflict (name) do nothing;

  if exists (
    select
    from unnest(messages) as message
    left join track.item on item.external_id = message.item
    where message.item is not null
      and (
        item.item_id is null
        or item.kind = 'unknown' and message.item_kind is not null
        or item.title is null and message.item_title is not null
        or item.url is null and message.item_url is not null
        or item.parent_item_id is null and message.item_parent is not null
      )
  ) then
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
    on conflict (external_id) do nothing;

    -- In one order, so that two batches wait for each other, but never in a circle.
    perform item.item_id
    from track.item
    where item.external_id = any (array(select distinct message.item from unnest(messages) as message))
    order by item.item_id
    for no key update;

    begin
      perform track._describe_items(messages);
    exception
      when sqlstate 'CF010' then
        -- Somebody's parents go round in a circle: one after the other, without those that would close it.
        perform track._describe_items(array(
          select jsonb_populate_record(message, '{"item_parent": null}') from unnest(messages) as message
        ));
        for v_message in
          select distinct on (message.item) message.*
          from unnest(messages) as message
          where message.item_parent is not null
          order by message.item, message.position
        loop
          begin
            perform track._describe_items(array[v_message]);
          exception
            when sqlstate 'CF010' then null;
          end;
        end loop;
    end;
  end if;
end;
$$;

comment on function track._name_everything(track.parsed_message[]) is $$
Enters what the messages of a batch name for the first time: identities with their people, event types, items, months.
$$;

create or replace function track._source_id()
returns smallint
language plpgsql
volatile
-- A definer: it enters a new name into track.source, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
as $$
declare
  v_name constant text := coalesce(nullif(current_setting('insights.source', true), ''), 'default');
  v_source_id smallint := (select source_id from track.source where name = v_name);
begin
  if v_source_id is null then
    insert into track.source (name) values (v_name) on conflict (name) do nothing;
    v_source_id := (select source_id from track.source where name = v_name);
  end if;
  return v_source_id;
end;
$$;

comment on function track._source_id() is $$
The source that the caller named in the setting `insights.source`, entered when new; `default` otherwise.
$$;

/*
 * A definer: this is the one door through which anybody may write, and it checks each message.
 * Without just-in-time compilation, which would take seconds for statements that run for milliseconds.
 */
create or replace function track.ingest(batch jsonb)
returns track.ingest_result
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  -- A login that has not switched to a role is judged by its own memberships.
  v_caller constant text := case current_setting('role') when 'none' then session_user else current_setting('role') end;
  v_trusted constant boolean := pg_catalog.pg_has_role(v_caller, 'insights_worker', 'usage')
    or pg_catalog.pg_has_role(v_caller, 'insights_admin', 'usage')
    or pg_catalog.pg_has_role(v_caller, 'insights_owner', 'usage');
  v_batch jsonb := ingest.batch;
  v_count int;
  v_largest_batch int;
  v_source_id smallint;
  v_messages track.parsed_message[];
  v_errors jsonb;
  v_rejected int;
  v_fresh uuid[];
  v_linked bigint[];
  v_linked_to bigint[];
  v_kinds text[];
  v_linked_at timestamptz[];
  v_identities bigint[];
begin
  -- GraphQL clients and forms send the batch as a string that holds JSON.
  if jsonb_typeof(v_batch) = 'string' then
    v_batch := track._split_text(v_batch #>> '{}');
  end if;
  if jsonb_typeof(v_batch) = 'object' and v_batch ? 'type' then
    v_batch := jsonb_build_array(v_batch);
  end if;
  if jsonb_typeof(v_batch) is distinct from 'array' and jsonb_typeof(v_batch -> 'batch') is distinct from 'array' then
    raise exception using
      errcode = 'CF009',
      message = format('the batch is not a list of messages, but a JSON %s', coalesce(jsonb_typeof(v_batch), 'null')),
      hint = 'Send a JSON list of messages, or {"batch": […], "sentAt": "…"}.';
  end if;

  v_count := jsonb_array_length(case jsonb_typeof(v_batch) when 'array' then v_batch else v_batch -> 'batch' end);
  v_largest_batch := (select largest_batch from track.setting);
  if v_count > v_largest_batch then
    perform track._refuse_batch(v_count, v_largest_batch);
  end if;

  v_source_id := track._source_id();
  v_messages := track._parse_batch(v_batch, clock_timestamp(), v_trusted);

  select
    count(*),
    coalesce(
      jsonb_agg(
        jsonb_build_object(
          'index', position, 'messageId', left(message_id, 256), 'code', error_code, 'message', error_message, 'hint', error_hint
        )
        order by position
      ),
      '[]'
    )
  into v_rejected, v_errors
  from unnest(v_messages)
  where error_code is not null;

  -- Each message once, for ever. Sorted here and below, so that two batches wait for each other, but never in a circle.
  with stored as (
    insert into track.message (source_id, message_hash)
    select v_source_id, message_hash
    from unnest(v_messages)
    where error_code is null
    order by message_hash
    on conflict (source_id, message_hash) do nothing
    returning message_hash
  )
  select array_agg(message_hash) into v_fresh from stored;

  if v_fresh is null then
    return row(0, v_count - v_rejected, v_rejected, v_errors)::track.ingest_result;
  end if;

  if cardinality(v_fresh) < v_count then
    v_messages := array(
      select message
      from (
        select distinct on (message.message_hash) message
        from unnest(v_messages) as message
        join unnest(v_fresh) as fresh (message_hash) on fresh.message_hash = message.message_hash
        where message.error_code is null
        order by message.message_hash, message.position
      ) as fresh
      order by (fresh.message).position
    );
  end if;

  perform track._name_everything(v_messages);

  v_identities := array(
    select distinct identity.identity_id
    from unnest(v_messages) as message
    join track.identity on identity.external_id = message.external_id and identity.kind = message.identity_kind
  );

  with said as materialized (
    select
      message.position, message.type, message.occurred_at, message.anonymous_id, message.previous_id,
      identity.identity_id as linked_identity_id
    from unnest(v_messages) as message
    join track.identity on identity.external_id = message.external_id and identity.kind = message.identity_kind
    where message.type in ('identify', 'alias')
  ),

  named as (
    select said.position, said.type, said.occurred_at, said.linked_identity_id, other.identity_id
    from said
    join track.identity as other on other.external_id = said.anonymous_id and other.kind = 'anonymous'
    where said.type = 'identify'

    union all

    select said.position, said.type, said.occurred_at, said.linked_identity_id, other.identity_id
    from said
    join track.identity as other on other.external_id = said.previous_id and other.kind <> 'nobody'
    where said.type = 'alias'
  )

  select
    array_agg(named.identity_id order by named.position, named.identity_id),
    array_agg(named.linked_identity_id order by named.position, named.identity_id),
    array_agg(named.type order by named.position, named.identity_id),
    array_agg(named.occurred_at order by named.position, named.identity_id)
  into v_linked, v_linked_to, v_kinds, v_linked_at
  from named
  where named.identity_id <> named.linked_identity_id
    and not track._is_linked(named.identity_id, named.linked_identity_id, named.occurred_at);

  if v_linked is not null then
    perform track._link_people(v_linked, v_linked_to, v_kinds, v_linked_at, v_identities);
  end if;

  -- Who somebody is may not change between here and the end of the transaction, or what is stored below would go to a former person.
  perform identity.identity_id
  from track.identity
  where identity.identity_id = any (v_identities)
  order by identity.identity_id
  for key share;

  insert into track.event (
    person_id, occurred_at, event_id, identity_id, event_type_id, item_id, received_at, source_id, properties
  )
  select
    identity.person_id,
    message.occurred_at,
    track._event_id(message.occurred_at, message.message_hash, v_source_id),
    identity.identity_id,
    event_type.event_type_id,
    item.item_id,
    message.received_at,
    v_source_id,
    message.properties
  from unnest(v_messages) as message
  join track.identity on identity.external_id = message.external_id and identity.kind = message.identity_kind
  join track.event_type on event_type.name = message.event_name
  left join track.item on item.external_id = message.item;

  insert into track.trait (person_id, identity_id, name, value, set_at)
  select distinct on (identity.identity_id, trait.key)
    identity.person_id, identity.identity_id, trait.key, trait.value, message.occurred_at
  from unnest(v_messages) as message
  join track.identity on identity.external_id = message.external_id and identity.kind = message.identity_kind
  cross join lateral jsonb_each(message.traits) as trait
  where length(trait.key) between 1 and 100
  order by identity.identity_id, trait.key, message.occurred_at desc, trait.value desc
  on conflict (person_id, identity_id, name) do update
  set value = excluded.value, set_at = excluded.set_at
  where (trait.set_at, trait.value) < (excluded.set_at, excluded.value);

  -- A clock that runs ahead must not outlast the decisions that come after.
  insert into privacy.consent (person_id, identity_id, purpose, granted, decided_at, source, evidence)
  select
    identity.person_id, identity.identity_id, purpose.purpose, preference.value::boolean, least(message.occurred_at, now()), 'event',
    message.properties
  from unnest(v_messages) as message
  join track.identity on identity.external_id = message.external_id and identity.kind = message.identity_kind
  cross join lateral jsonb_each(case jsonb_typeof(message.consent) when 'object' then message.consent end) as preference
  join privacy.purpose on purpose.purpose = preference.key
  where jsonb_typeof(preference.value) = 'boolean';

  insert into track.stale (person_id, since, until)
  select identity.person_id, min(message.occurred_at), max(message.occurred_at)
  from unnest(v_messages) as message
  join track.identity on identity.external_id = message.external_id and identity.kind = message.identity_kind
  where message.event_name is not null
  group by identity.person_id;

  return row(cardinality(v_fresh), v_count - v_rejected - cardinality(v_fresh), v_rejected, v_errors)::track.ingest_result;
end;
$$;

comment on function track.ingest(jsonb) is $$
Takes Segment-shaped messages (`track`, `page`, `screen`, `identify`, `alias`, `group`): a list, one message, or `{batch, sentAt}`; a JSON string that holds any of these is parsed.
Each `messageId` of a source is stored once, for ever and under concurrency. A bad message gets an error of its own, the others are kept.
Items are made when first named; what `properties` say of one (`itemKind`, `itemTitle`, `parent`, `url`) fills gaps, from servers only, and a parent that would close a circle is left out.
Clocks are corrected as Segment does: `timestamp = receivedAt - (sentAt - timestamp)`. Learners may speak for themselves only, visitors only as an `anonymousId`.
Errors: CF009 for what is not a list of messages, CF008 for a batch above `track.setting.largest_batch`.
$$;

grant execute on function track.ingest(jsonb) to insights_visitor, insights_learner, insights_admin, insights_worker;
--! EndIncluded track/functions/ingest.sql
--! Included track/functions/changed_people.sql
create or replace function track._changed_people(consumer text, most_people int)
returns bigint[]
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  if _changed_people.most_people is null or _changed_people.most_people < 1 then
    raise exception using
      errcode = 'CF001',
      message = format('most_people is %s', coalesce(_changed_people.most_people::text, 'null')),
      hint = 'Give the number of people to refresh in one call, 1 or more.';
  end if;

  -- One refresh of a consumer at a time: two would write the same rows.
  perform pg_advisory_xact_lock(hashtext(_changed_people.consumer));

  -- An array, not a join: statistics of a queue are wrong whenever it matters.
  return array(
    select distinct changed.person_id
    from track.changed
    where changed.consumer = _changed_people.consumer
    order by changed.person_id
    limit _changed_people.most_people
  );
end;
$$;

comment on function track._changed_people(text, int) is $$
How the refresh of a consumer begins: waits for its turn, then names at most so many people of whom `track.changed` tells it; their rows are the caller's to delete.
Errors: CF001 for fewer than one person.
$$;
--! EndIncluded track/functions/changed_people.sql
--! Included track/functions/refresh_sessions.sql
/*
 * Sessions are separated by pauses longer than the time-out, so a change can only touch the sessions that come within a
 * time-out of it. Those are deleted and computed anew from their events; all others stay. Times are widened by the
 * time-out, then to the sessions that they touch, then merged: no session lies in two of them.
 */
create or replace function track.refresh_sessions(most_people int default 2000)
returns track.refresh_result
language plpgsql
volatile
-- A definer: it reads everybody's events and writes sessions and page views, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_setting track.setting;
  v_picked bigint[];
  v_people bigint[];
  v_since timestamptz[];
  v_until timestamptz[];
  v_sessions int;
  v_views int;
begin
  if refresh_sessions.most_people is null or refresh_sessions.most_people < 1 then
    raise exception using
      errcode = 'CF001',
      message = format('most_people is %s', coalesce(refresh_sessions.most_people::text, 'null')),
      hint = 'Give the number of people to refresh in one call, 1 or more.';
  end if;

  -- One refresh at a time: two would compute the same sessions.
  perform pg_advisory_xact_lock(hashtext('track.refresh_sessions'));
  select * into v_setting from track.setting;

  -- An array, not a join: statistics of a queue are wrong whenever it matters.
  v_picked := array(
    select distinct person_id
    from track.stale
    order by person_id
    limit refresh_sessions.most_people
  );

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

    -- What has ended before is not read: the index is by the end, and changes are mostly of today.
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

  with gone as (
    delete from track.session
    using unnest(v_people, v_since, v_until) as period (person_id, since, until)
    where session.person_id = period.person_id
      and session.ended_at between period.since and period.until
    returning session.person_id, session.session_id
  )
  delete from track.page_view
  using gone
  where page_view.person_id = gone.person_id
    and page_view.session_id = gone.session_id;

  with happened as (
    select
      event.person_id,
      event.occurred_at,
      event.event_id,
      event.item_id,
      event_type.opens_view,
      event_type.is_heartbeat,
      case when event_type.opens_view or event_type.is_heartbeat then event.properties ->> 'viewId' end as view_key,
      lag(event.occurred_at) over person_in_order as previous_at
    from unnest(v_people, v_since, v_until) as period (person_id, since, until)
    join track.event
      on event.person_id = period.person_id
      and event.occurred_at between period.since and period.until
    join track.event_type using (event_type_id)
    -- Nobody has no sessions: events that were kept without their person stand alone.
    where period.person_id <> 0
    window person_in_order as (partition by event.person_id order by event.occurred_at, event.event_id)
  ),

  numbered as (
    select
      happened.*,
      count(*) filter (where previous_at is null or occurred_at - previous_at > v_setting.session_timeout)
        over (partition by person_id order by occurred_at, event_id) as session_number
    from happened
  ),

  placed as (
    select
      numbered.*,
      first_value(event_id) over session_in_order as session_id,
      count(*) filter (where opens_view) over session_in_order as view_number,
      -- Up to the next event of the session, if there is one (least() would pass over a null); idle time beyond the cap does not count.
      case
        when lead(occurred_at) over session_in_order is not null
          then least(lead(occurred_at) over session_in_order - occurred_at, v_setting.longest_gap)
      end as gap
    from numbered
    window session_in_order as (partition by person_id, session_number order by occurred_at, event_id)
  ),

  named as materialized (
    select
      placed.*,
      -- A heartbeat belongs to the view that it names, or else to the one before it.
      case
        when is_heartbeat and view_key is not null
          then coalesce(
            max(view_number) filter (where opens_view) over (partition by person_id, session_number, view_key),
            view_number
          )
        when is_heartbeat then view_number
      end as beating_number
    from placed
  ),

  -- From here on everything is grouped, not joined: the cost stays linear whatever the planner knows about the tables.
  spread as (
    select person_id, session_id, view_number, occurred_at, event_id, item_id, opens_view, gap, null::timestamptz as beat_at
    from named

    union all

    select person_id, session_id, beating_number, null, null, null, false, null, occurred_at
    from named
    where beating_number > 0
  ),

  viewed as (
    select
      person_id,
      session_id,
      view_number::int as view_number,
      (array_agg(event_id) filter (where opens_view))[1] as event_id,
      (array_agg(item_id) filter (where opens_view))[1] as item_id,
      min(occurred_at) as started_at,
      max(occurred_at) as last_event_at,
      max(occurred_at + coalesce(gap, '0')) as last_sign_at,
      count(occurred_at)::int as event_count,
      sum(gap) as gaps,
      count(beat_at)::int as heartbeat_count,
      max(beat_at) as last_beat_at,
      count(distinct floor(date_part('epoch', beat_at) / date_part('epoch', v_setting.heartbeat))) as beats,
      (array_agg(item_id order by occurred_at, event_id) filter (where item_id is not null))[1] as entry_item_id,
      (array_agg(item_id order by occurred_at desc, event_id desc) filter (where item_id is not null))[1] as exit_item_id
    from spread
    group by person_id, session_id, view_number
  ),

  measured as materialized (
    select
      viewed.*,
      -- Where the client sends heartbeats, a view without any was left at once.
      case
        when view_number = 0 then null
        when beats > 0 then (beats - 1) * v_setting.heartbeat + v_setting.minimum_visit
        when bool_or(beats > 0) over whole_session then interval '0'
        else coalesce(gaps, '0')
      end as engaged,
      case
        when view_number = 0 then null
        when bool_or(beats > 0) over whole_session then 'heartbeats'
        when gaps is not null then 'gaps'
        else 'nothing'
      end as engaged_by
    from viewed
    window whole_session as (partition by person_id, session_id)
  ),

  stored_view as (
    insert into track.page_view (
      person_id, event_id, session_id, view_number, item_id, started_at, ended_at, engaged, engaged_by, heartbeat_count
    )
    select
      person_id, event_id, session_id, view_number, item_id, started_at, coalesce(last_beat_at, last_sign_at), engaged, engaged_by,
      heartbeat_count
    from measured
    where view_number > 0
    returning 1
  ),

  stored_session as (
    insert into track.session (
      person_id, session_id, started_at, ended_at, event_count, view_count, engaged, engaged_by, entry_item_id, exit_item_id
    )
    select
      person_id,
      session_id,
      min(started_at),
      max(last_event_at),
      sum(event_count),
      max(view_number),
      coalesce(sum(engaged), '0'),
      case
        when bool_or(engaged_by = 'heartbeats') then 'heartbeats'
        when bool_or(engaged_by = 'gaps') then 'gaps'
        else 'nothing'
      end,
      (array_agg(entry_item_id order by view_number) filter (where entry_item_id is not null))[1],
      (array_agg(exit_item_id order by view_number desc) filter (where exit_item_id is not null))[1]
    from measured
    group by person_id, session_id
    returning 1
  )

  select (select count(*) from stored_session), (select count(*) from stored_view)
  into v_sessions, v_views;

  insert into track.changed (person_id, consumer, since, until)
  select period.person_id, consumer.consumer, period.since, period.until
  from unnest(v_people, v_since, v_until) as period (person_id, since, until)
  cross join track.consumer;

  return row(
    (select count(distinct person_id) from unnest(v_people) as person_id),
    v_sessions,
    v_views
  )::track.refresh_result;
end;
$$;

comment on function track.refresh_sessions(int) is $$
Brings sessions, page views and engaged times up to date for at most so many people, and tells the consumers in `track.changed`.
Costs what changed, not what is stored. Incremental, idempotent, and right for late and out-of-order events: the result is what `track.rebuild` would give.
Call it until `people` is 0. Errors: CF001 for fewer than one person.
$$;

grant execute on function track.refresh_sessions(int) to insights_worker;
--! EndIncluded track/functions/refresh_sessions.sql
--! Included track/functions/rebuild.sql
create or replace function track.rebuild()
returns bigint
language plpgsql
volatile
-- A definer: it marks everybody in track.stale, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
as $$
declare
  v_marked bigint;
begin
  insert into track.stale (person_id, since, until)
  select person_id, '-infinity', 'infinity'
  from track.person
  where person_id <> 0;
  get diagnostics v_marked = row_count;
  return v_marked;
end;
$$;

comment on function track.rebuild() is $$
Marks everything that is derived from events as out of date, for instance after a change of `track.setting`; returns how many people that concerns.
The workers, or `track.refresh_sessions`, then compute it from scratch.
$$;

grant execute on function track.rebuild() to insights_admin, insights_worker;
--! EndIncluded track/functions/rebuild.sql
--! Included track/functions/journey.sql
create or replace function track._journey(person_id bigint, since timestamptz, until timestamptz)
returns setof track.action
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  select
    session.session_id,
    (row_number() over session_in_order)::int as action_number,
    event.occurred_at,
    event_type.name as event,
    item.external_id as item,
    item.kind as item_kind,
    item.title as item_title,
    event.occurred_at - lag(event.occurred_at) over session_in_order as since_previous,
    event.properties
  from track.event
  join track.event_type using (event_type_id)
  left join track.item using (item_id)
  left join track.session
    on session.person_id = event.person_id
    and event.occurred_at between session.started_at and session.ended_at
  where event.person_id = _journey.person_id
    and event.occurred_at >= _journey.since
    and event.occurred_at < _journey.until
  window session_in_order as (partition by session.session_id order by event.occurred_at, event.event_id)
  order by event.occurred_at, event.event_id;
end;
$$;

comment on function track._journey(bigint, timestamptz, timestamptz) is $$
@behavior -queryField
The actions of a person between two times, in order, with their sessions.
$$;

grant execute on function track._journey(bigint, timestamptz, timestamptz) to insights_learner, insights_admin;

create or replace function track.journey(
  person text,
  since timestamptz default now() - interval '30 days',
  until timestamptz default 'infinity'
)
returns setof track.action
language sql
stable
parallel safe
begin atomic
  select * from track._journey(track.find_person(journey.person), journey.since, journey.until);
end;

comment on function track.journey(text, timestamptz, timestamptz) is $$
What a person did between two times (`until` excluded), step by step: the sequence of actions, session by session, with the time since the step before.
Nothing for a person whom the caller may not see. `session_id` is null until the next refresh of the sessions.
$$;

grant execute on function track.journey(text, timestamptz, timestamptz) to insights_admin;

create or replace function track.my_journey(
  since timestamptz default now() - interval '30 days',
  until timestamptz default 'infinity'
)
returns setof track.action
language sql
stable
parallel safe
begin atomic
  select * from track._journey(track.current_person_id(), my_journey.since, my_journey.until);
end;

comment on function track.my_journey(timestamptz, timestamptz) is $$
What the signed-in person did between two times (`until` excluded), step by step.
$$;

grant execute on function track.my_journey(timestamptz, timestamptz) to insights_learner;
--! EndIncluded track/functions/journey.sql
--! Included track/functions/sync_items.sql
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
    raise exception using
      errcode = 'CF001',
      message = format('%s names item "%s" more than once', source, left(v_twice, 100)),
      hint = 'Give a view with one row for each external_id.';
  end if;

  v_former := (select coalesce(max(item_id), 0) from track.item);

  -- The query runs as the caller; what it finds goes in through a definer that takes values only, as much at a time as a value may hold.
  for v_items in
    execute format(
      'select jsonb_agg(jsonb_build_object(%s)) from (select %s, (row_number() over () - 1) / 10000 as part from %s) as numbered group by part order by part',
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
Brings items in from a table or view of the application, read with the caller's rights.
Columns: `external_id`, `kind`, and, where present, `title`, `parent` (external id), `url`,
`language`, `attributes` (jsonb), `available_from`, `available_until`, `due_at`. What the application says replaces what events said; a column that it lacks, or a null, leaves what is there.
Run it again at any time: unchanged items are not written. Errors: CF002 for a missing column, CF001 for a bad value or an item that comes twice, CF010 for a circle of parents.
$$;

grant execute on function track.sync_items(regclass) to insights_admin, insights_worker;

create or replace function track._columns(source regclass, needed text[], possible text[])
returns text[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_present text[] := array(
    select attname::text
    from pg_catalog.pg_attribute
    where attrelid = source and attnum > 0 and not attisdropped
  );
  v_missing text := (select name from unnest(needed) as name where name <> all (v_present) limit 1);
begin
  if v_missing is not null then
    raise exception using
      errcode = 'CF002',
      message = format('%s has no column "%s"', source, left(v_missing, 100)),
      hint = format('It has %s. Give a view that names the columns as needed.', left(array_to_string(v_present, ', '), 500));
  end if;
  return needed || array(select name from unnest(possible) as name where name = any (v_present));
end;
$$;

comment on function track._columns(regclass, text[], text[]) is $$
@behavior -queryField -mutationField
The needed columns of a relation, and those of the possible ones that it has. CF002 when a needed one is missing.
$$;

grant execute on function track._columns(regclass, text[], text[]) to insights_admin, insights_worker;

create or replace function track._store_items(items jsonb, newest_known bigint)
returns track.sync_result
language plpgsql
volatile
-- A definer: the caller reads its own table, and this writes track.item, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_bad record;
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
    raise exception using
      errcode = 'CF001',
      message = format('item "%s" of kind "%s" with parent "%s" can''t be stored', left(v_bad.external_id, 100), left(v_bad.kind, 100), left(v_bad.parent, 100)),
      hint = 'An item needs an external_id of 1 to 512 characters, a kind in lower case such as course, a parent other than itself or none, and a JSON object or nothing as attributes.';
  end if;

  with said as (
    select item.external_id from jsonb_to_recordset(items) as item (external_id text)
    union
    select item.parent from jsonb_to_recordset(items) as item (parent text)
  )
  insert into track.item (external_id)
  select external_id
  from said
  where external_id is not null
    and not exists (select from track.item where item.external_id = said.external_id)
  order by external_id
  on conflict (external_id) do nothing;

  -- In one order, as track.ingest does, so that nobody waits in a circle.
  perform item.item_id
  from track.item
  where item.external_id = any (array(select external_id from jsonb_to_recordset(items) as said (external_id text)))
  order by item.item_id
  for no key update;

  with said as materialized (
    select item.*, parent.item_id as parent_item_id
    from jsonb_to_recordset(items) as item (
      external_id text, kind text, title text, parent text, url text, language text, attributes jsonb,
      available_from timestamptz, available_until timestamptz, due_at timestamptz
    )
    left join track.item as parent on parent.external_id = item.parent
  ),
  changed as (
    update track.item
    set
      kind = said.kind,
      title = coalesce(said.title, item.title),
      parent_item_id = coalesce(said.parent_item_id, item.parent_item_id),
      url = coalesce(said.url, item.url),
      language = coalesce(said.language, item.language),
      attributes = coalesce(said.attributes, item.attributes),
      available_from = coalesce(said.available_from, item.available_from),
      available_until = coalesce(said.available_until, item.available_until),
      due_at = coalesce(said.due_at, item.due_at),
      updated_at = now()
    from said
    where item.external_id = said.external_id
      and (
        item.kind <> said.kind
        or item.title is distinct from coalesce(said.title, item.title)
        or item.parent_item_id is distinct from coalesce(said.parent_item_id, item.parent_item_id)
        or item.url is distinct from coalesce(said.url, item.url)
        or item.language is distinct from coalesce(said.language, item.language)
        or item.attributes is distinct from coalesce(said.attributes, item.attributes)
        or item.available_from is distinct from coalesce(said.available_from, item.available_from)
        or item.available_until is distinct from coalesce(said.available_until, item.available_until)
        or item.due_at is distinct from coalesce(said.due_at, item.due_at)
      )
    returning item.item_id
  )
  select
    count(*) filter (where item.item_id > _store_items.newest_known),
    count(*) filter (where item.item_id <= _store_items.newest_known and changed.item_id is not null),
    count(*) filter (where item.item_id <= _store_items.newest_known and changed.item_id is null)
  into v_result
  from said
  join track.item on item.external_id = said.external_id
  left join changed on changed.item_id = item.item_id;
  return v_result;
exception
  when data_exception then
    raise exception using
      errcode = 'CF001',
      message = format('a value of an item can''t be stored: %s', left(sqlerrm, 100)),
      hint = 'Give a view whose columns have the types of track.item.';
end;
$$;

comment on function track._store_items(jsonb, bigint) is $$
@behavior -queryField -mutationField
Stores a list of `{external_id, kind, …}` as `track.sync_items` describes. Items with keys up to `newest_known` count as known before.
$$;

grant execute on function track._store_items(jsonb, bigint) to insights_admin, insights_worker;
--! EndIncluded track/functions/sync_items.sql
--! Included track/functions/sync_enrolments.sql
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

  -- Who enrolled again is enrolled since the last time. The query runs as the caller; what it finds goes in through a definer that takes
  -- values only, as much at a time as a value may hold.
  for v_enrolments in
    execute format(
      'select jsonb_agg(jsonb_build_object(%s)) from (select *, (row_number() over (order by person, item) - 1) / 50000 as part from'
        ' (select distinct on (person, item) %s from %s order by person, item, enrolled_at desc) as newest) as numbered group by part order by part',
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
Brings enrolments in from a table or view of the application, read with the caller's rights.
Columns: `person` (`userId`), `item` (external id, usually of a course), `enrolled_at`,
and, where present, `status` (`active`, `completed`, `dropped`) and `ended_at`. People and items that are not known yet are entered. Of several rows of one person and item the one that was enrolled last holds.
Run it again at any time: unchanged enrolments are not written. Errors: CF002 for a missing column, CF001 for a bad value.
$$;

grant execute on function track.sync_enrolments(regclass) to insights_admin, insights_worker;

create or replace function track._store_enrolments(enrolments jsonb)
returns track.sync_result
language plpgsql
volatile
-- A definer: the caller reads its own table, and this writes track.enrolment, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_bad record;
  v_inserted int;
  v_updated int;
begin
  select enrolment.* into v_bad
  from jsonb_to_recordset(enrolments) as enrolment (person text, item text, enrolled_at timestamptz, status text)
  where coalesce(length(enrolment.person), 0) not between 1 and 256
    or coalesce(length(enrolment.item), 0) not between 1 and 512
    or enrolment.enrolled_at is null
    or enrolment.status not in ('active', 'completed', 'dropped')
  limit 1;

  if found then
    raise exception using
      errcode = 'CF001',
      message = format(
        'the enrolment of "%s" in "%s" at %s with status "%s" can''t be stored',
        left(v_bad.person, 100), left(v_bad.item, 100), coalesce(v_bad.enrolled_at::text, 'null'), coalesce(left(v_bad.status, 100), 'active')
      ),
      hint = 'An enrolment needs a person, an item and a time; its status is active, completed or dropped.';
  end if;

  with numbered as materialized (
    select person, nextval('track.identity_identity_id_seq') as identity_id
    from (select distinct enrolment.person from jsonb_to_recordset(enrolments) as enrolment (person text)) as said
    where not exists (
      select from track.identity
      where identity.external_id = said.person and identity.kind = 'user'
    )
    order by person
  ),
  entered as (
    insert into track.identity (identity_id, kind, external_id, person_id)
    overriding system value
    select identity_id, 'user', person, identity_id
    from numbered
    order by person
    on conflict (external_id, kind) do nothing
    returning person_id
  )
  insert into track.person (person_id)
  select person_id
  from entered;

  insert into track.item (external_id, kind)
  select distinct enrolment.item, 'course'
  from jsonb_to_recordset(enrolments) as enrolment (item text)
  where not exists (select from track.item where item.external_id = enrolment.item)
  order by enrolment.item
  on conflict (external_id) do nothing;

  -- Nobody may be merged away between here and the end of the transaction.
  perform identity.identity_id
  from track.identity
  where identity.kind = 'user'
    and identity.external_id = any (array(select distinct enrolment.person from jsonb_to_recordset(enrolments) as enrolment (person text)))
  order by identity.identity_id
  for key share;

  with stored as (
    insert into track.enrolment (person_id, item_id, identity_id, status, enrolled_at, ended_at)
    select distinct on (identity.identity_id, item.item_id)
      identity.person_id, item.item_id, identity.identity_id, coalesce(enrolment.status, 'active'), enrolment.enrolled_at, enrolment.ended_at
    from jsonb_to_recordset(enrolments) as enrolment (
      person text, item text, enrolled_at timestamptz, status text, ended_at timestamptz
    )
    join track.identity on identity.external_id = enrolment.person and identity.kind = 'user'
    join track.item on item.external_id = enrolment.item
    order by identity.identity_id, item.item_id, enrolment.enrolled_at desc
    on conflict (person_id, item_id, identity_id) do update
    set status = excluded.status, enrolled_at = excluded.enrolled_at, ended_at = excluded.ended_at
    where (enrolment.status, enrolment.enrolled_at, enrolment.ended_at)
      is distinct from (excluded.status, excluded.enrolled_at, excluded.ended_at)
    returning xmax = 0 as is_new
  )
  select count(*) filter (where is_new), count(*) filter (where not is_new)
  into v_inserted, v_updated
  from stored;

  return row(
    v_inserted,
    v_updated,
    jsonb_array_length(enrolments) - v_inserted - v_updated
  )::track.sync_result;
exception
  when data_exception then
    raise exception using
      errcode = 'CF001',
      message = format('a value of an enrolment can''t be stored: %s', left(sqlerrm, 100)),
      hint = 'Give a view whose columns have the types of track.enrolment, and texts for person and item.';
end;
$$;

comment on function track._store_enrolments(jsonb) is $$
@behavior -queryField -mutationField
Stores a list of `{person, item, enrolled_at, …}` as `track.sync_enrolments` describes.
$$;

grant execute on function track._store_enrolments(jsonb) to insights_admin, insights_worker;
--! EndIncluded track/functions/sync_enrolments.sql
--! Included track/functions/record_my_consent.sql
create or replace function track.record_my_consent(purpose text, granted boolean, document_version text default null)
returns privacy.consent
language plpgsql
volatile
-- A definer: it writes privacy.consent, which no role may write, and for the caller's own person only.
security definer
set search_path to pg_catalog, pg_temp
as $$
declare
  v_name constant text := nullif(current_setting('insights.person', true), '');
  v_person_id bigint := track.current_person_id();
begin
  if v_name is null then
    raise exception using
      errcode = 'CF005',
      message = 'nobody is signed in',
      hint = 'Sign in first: a decision belongs to a person.';
  end if;
  -- The decision may be the first thing that is heard of a person.
  if v_person_id is null then
    perform track._name_everything(
      array[jsonb_populate_record(null::track.parsed_message, jsonb_build_object('identity_kind', 'user', 'external_id', v_name))]
    );
    -- What the rest of the transaction reads is theirs.
    v_person_id := track.sign_in();
  end if;
  return privacy.record_consent(v_person_id, record_my_consent.purpose, record_my_consent.granted, now(), record_my_consent.document_version, null);
end;
$$;

comment on function track.record_my_consent(text, boolean, text) is $$
Records what the signed-in person decided about a purpose: to withdraw is as easy as to agree (GDPR article 7).
Errors: CF005 when nobody is signed in, CF002 for an unknown purpose.
$$;

grant execute on function track.record_my_consent(text, boolean, text) to insights_learner;
--! EndIncluded track/functions/record_my_consent.sql
--! Included track/policies.sql
/* Who sees what. Learners see themselves; admins see people; analysts see the catalogue and ask functions of insights_reader. */

grant select on track.item, track.item_ancestor, track.prerequisite, track.event_type
to insights_reader, insights_learner, insights_analyst, insights_admin, insights_worker;

grant select on track.setting, track.source, track.consumer to insights_reader, insights_analyst, insights_admin, insights_worker;

grant update (session_timeout, heartbeat, minimum_visit, longest_gap, oldest_event, oldest_client_event, newest_event, longest_properties, largest_batch)
on track.setting to insights_admin;

grant update (purpose, opens_view, is_heartbeat, description) on track.event_type to insights_admin;

grant select on track.person, track.identity, track.identity_link, track.trait, track.enrolment, track.event, track.session, track.page_view
to insights_reader, insights_learner, insights_admin;

grant select on track.stale, track.changed to insights_reader, insights_learner, insights_admin, insights_worker;

drop policy if exists everybody on track.item;
create policy everybody on track.item for select using (true);
drop policy if exists everybody on track.item_ancestor;
create policy everybody on track.item_ancestor for select using (true);
drop policy if exists everybody on track.prerequisite;
create policy everybody on track.prerequisite for select using (true);
drop policy if exists everybody on track.event_type;
create policy everybody on track.event_type for select using (true);
drop policy if exists admins_change on track.event_type;
create policy admins_change on track.event_type for update to insights_admin using (true);
drop policy if exists everybody on track.setting;
create policy everybody on track.setting for select using (true);
drop policy if exists admins_change on track.setting;
create policy admins_change on track.setting for update to insights_admin using (true);
drop policy if exists everybody on track.source;
create policy everybody on track.source for select using (true);
drop policy if exists everybody on track.consumer;
create policy everybody on track.consumer for select using (true);

/*
 * The person is a setting of the transaction, made by track.sign_in(), and no look-up in a table, which a policy of a distributed table cannot
 * have. Person 0 holds what was kept without its person, and is nobody to sign in as.
 */
do $$
declare
  v_table text;
begin
  foreach v_table in array array['person', 'identity', 'trait', 'enrolment', 'event', 'session', 'page_view', 'stale', 'changed']
  loop
    execute format('drop policy if exists own on track.%I', v_table);
    execute format(
      $policy$
      create policy own on track.%I for select to insights_learner
      using (person_id <> 0 and person_id = nullif(current_setting('insights.person_id', true), '')::bigint)
      $policy$,
      v_table
    );
    execute format('drop policy if exists all_people on track.%I', v_table);
    execute format('create policy all_people on track.%I for select to insights_reader, insights_admin, insights_worker using (true)', v_table);
  end loop;
end;
$$;

drop policy if exists own on track.identity_link;
create policy own on track.identity_link for select to insights_learner
using (
  linked_identity_id in (
    select identity_id
    from track.identity
    where person_id <> 0
      and person_id = nullif(current_setting('insights.person_id', true), '')::bigint
  )
);
drop policy if exists all_people on track.identity_link;
create policy all_people on track.identity_link for select to insights_reader, insights_admin, insights_worker using (true);

drop policy if exists own on privacy.consent;
create policy own on privacy.consent for select to insights_learner
using (person_id <> 0 and person_id = nullif(current_setting('insights.person_id', true), '')::bigint);
--! EndIncluded track/policies.sql

-- experiment

-- analytics
--! Included analytics/functions/check_period.sql
create or replace function analytics._check_period(since timestamptz, until timestamptz)
returns void
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if _check_period.since is null or _check_period.until is null or _check_period.since >= _check_period.until then
    raise exception using
      errcode = 'CF001',
      message = format('the period is from %s until %s', coalesce(_check_period.since::text, 'null'), coalesce(_check_period.until::text, 'null')),
      hint = 'Give a time for since, and a later one for until.';
  end if;
end;
$$;

comment on function analytics._check_period(timestamptz, timestamptz) is $$
Raises CF001 unless `since` lies before `until`.
$$;

grant execute on function analytics._check_period(timestamptz, timestamptz) to insights_reader;
--! EndIncluded analytics/functions/check_period.sql
--! Included analytics/functions/refresh_activity.sql
create or replace function analytics.refresh_activity(most_people int default 2000)
returns bigint
language plpgsql
volatile
-- A definer: it reads everybody's events and writes analytics.activity, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_picked constant bigint[] := track._changed_people('analytics.activity', refresh_activity.most_people);
  v_people bigint[];
  v_since timestamptz[];
  v_until timestamptz[];
begin
  with taken as (
    delete from track.changed
    where changed.person_id = any (v_picked)
      and changed.consumer = 'analytics.activity'
    returning changed.person_id, changed.since, changed.until
  ),

  -- Whole days, as half-open ranges.
  widened as (
    select
      taken.person_id,
      tstzrange(
        date_trunc('day', taken.since at time zone 'UTC') at time zone 'UTC',
        (date_trunc('day', taken.until at time zone 'UTC') + interval '1 day') at time zone 'UTC'
      ) as period
    from taken
  ),

  merged as (
    select person_id, unnest(range_agg(period)) as period
    from widened
    group by person_id
  )

  select array_agg(person_id), array_agg(lower(period)), array_agg(upper(period))
  into v_people, v_since, v_until
  from merged;

  if v_people is null then
    return 0;
  end if;

  delete from analytics.activity
  using unnest(v_people, v_since, v_until) as period (person_id, since, until)
  where activity.person_id = period.person_id
    and activity.day >= (period.since at time zone 'UTC')::date
    and activity.day < (period.until at time zone 'UTC')::date;

  insert into analytics.activity (person_id, day, event_type_id, item_id, event_count, engaged)
  select
    event.person_id,
    (event.occurred_at at time zone 'UTC')::date,
    event.event_type_id,
    event.item_id,
    count(*),
    -- A look at each, not a join, which might read all page views there are.
    coalesce(
      sum((select page_view.engaged from track.page_view where page_view.person_id = event.person_id and page_view.event_id = event.event_id)),
      '0'
    )
  from unnest(v_people, v_since, v_until) as period (person_id, since, until)
  join track.event
    on event.person_id = period.person_id
    and event.occurred_at >= period.since
    and event.occurred_at < period.until
  group by 1, 2, 3, 4;

  return (select count(distinct person_id) from unnest(v_people) as person_id);
end;
$$;

comment on function analytics.refresh_activity(int) is $$
Brings `analytics.activity` up to date for at most so many people whose sessions changed; returns how many. Call it until that is 0.
Recomputes the days that were touched and no others, so the result is what a computation from scratch would give.
Errors: CF001 for fewer than one person.
$$;

grant execute on function analytics.refresh_activity(int) to insights_worker;
--! EndIncluded analytics/functions/refresh_activity.sql
--! Included analytics/functions/refresh_views.sql
/* A definer: only the owner of a materialized view may refresh it. */
create or replace function analytics.refresh_views()
returns bigint
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
as $$
begin
  -- The first time there is nothing that readers could go on reading.
  if (select relispopulated from pg_catalog.pg_class where oid = 'analytics.item_popularity'::regclass) then
    refresh materialized view concurrently analytics.item_popularity;
  else
    refresh materialized view analytics.item_popularity;
  end if;
  return (select count(*) from analytics.item_popularity);
end;
$$;

comment on function analytics.refresh_views() is $$
Refreshes the materialized views of the room, concurrently: readers never wait. Returns the number of rows.
$$;

grant execute on function analytics.refresh_views() to insights_worker;
--! EndIncluded analytics/functions/refresh_views.sql
--! Included analytics/functions/popular_items.sql
create or replace function analytics._popular_items(
  kind text, since timestamptz, until timestamptz, half_life interval, top int, measure text, smallest_group int
)
returns setof analytics.popular_item
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
declare
  -- Whole days come from the rollup, the hours before the first and after the last of them from the events.
  v_first_day constant date := (
    _popular_items.since at time zone 'UTC' + interval '1 day' - interval '1 microsecond'
  )::date;
  v_end_day constant date := (_popular_items.until at time zone 'UTC')::date;
  v_head_until constant timestamptz := least(_popular_items.until, v_first_day::timestamp at time zone 'UTC');
  v_tail_since constant timestamptz := greatest(v_head_until, v_end_day::timestamp at time zone 'UTC');
  v_newest_day constant date := least(v_end_day, (now() at time zone 'UTC')::date);
begin
  return query
  with happened as (
    select activity.person_id, activity.day, activity.item_id, activity.event_count, activity.engaged
    from analytics.activity
    where activity.day >= v_first_day
      and activity.day < v_end_day
      and activity.item_id is not null

    union all

    select
      event.person_id,
      (event.occurred_at at time zone 'UTC')::date,
      event.item_id,
      1,
      -- A look at each, not a join: these are hours of events, while the page views may be years.
      coalesce(
        (
          select page_view.engaged
          from track.page_view
          where page_view.person_id = event.person_id
            and page_view.event_id = event.event_id
        ),
        '0'
      )
    from track.event
    where event.item_id is not null
      and (
        event.occurred_at >= _popular_items.since and event.occurred_at < v_head_until
        or event.occurred_at >= v_tail_since and event.occurred_at < _popular_items.until
      )
  ),

  by_person as (
    select
      coalesce(ancestor.ancestor_item_id, happened.item_id) as item_id,
      happened.person_id,
      sum(happened.event_count) as event_count,
      sum(happened.engaged) as engaged,
      sum(happened.event_count * aged.weight) as decayed_event_count,
      sum(extract(epoch from happened.engaged) * aged.weight) as decayed_engaged,
      max(aged.weight) as weight
    from happened
    cross join lateral (
      select case
        when _popular_items.half_life is null then 1.0::float8
        -- A weight of 2 to the power of -1000 is none; below that the power would raise an underflow.
        else 0.5 ^ least(
          1000,
          (v_newest_day - happened.day) * 86400 / extract(epoch from _popular_items.half_life)::float8
        )
      end as weight
    ) as aged
    left join track.item_ancestor as ancestor
      on ancestor.item_id = happened.item_id
      and _popular_items.kind is not null
    group by 1, 2
  ),

  by_item as (
    select
      item.external_id as item,
      item.title,
      item.kind,
      sum(by_person.event_count)::bigint as event_count,
      count(*) filter (where by_person.person_id <> 0) as person_count,
      sum(by_person.engaged) as engaged,
      -- Rounded: the last digits depend on the order of addition, and would decide between equals.
      round(
        case _popular_items.measure
          when 'events' then sum(by_person.decayed_event_count)
          when 'engaged' then sum(by_person.decayed_engaged)::float8
          else coalesce(sum(by_person.weight) filter (where by_person.person_id <> 0), 0)
        end::numeric,
        9
      )::float8 as score
    from by_person
    join track.item using (item_id)
    where _popular_items.kind is null or item.kind = _popular_items.kind
    group by item.item_id, item.external_id, item.title, item.kind
  )

  select
    (row_number() over by_score)::int,
    by_item.item,
    by_item.title,
    by_item.kind,
    by_item.event_count,
    by_item.person_count,
    by_item.engaged,
    by_item.score
  from by_item
  where by_item.person_count >= _popular_items.smallest_group
  window by_score as (order by by_item.score desc, by_item.event_count desc, by_item.item)
  order by by_item.score desc, by_item.event_count desc, by_item.item
  limit _popular_items.top;
end;
$$;

comment on function analytics._popular_items(text, timestamptz, timestamptz, interval, int, text, int) is $$
The query behind `analytics.popular_items`, with the caller's own rights and floor.
$$;

grant execute on function analytics._popular_items(text, timestamptz, timestamptz, interval, int, text, int) to insights_reader;

/* A definer of insights_reader: it reads people's activity, and answers about groups of them only. */
create or replace function analytics.popular_items(
  kind text default 'course',
  since timestamptz default now() - interval '28 days',
  until timestamptz default now(),
  half_life interval default null,
  top int default 10,
  measure text default 'people'
)
returns setof analytics.popular_item
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
begin
  perform analytics._check_period(popular_items.since, popular_items.until);
  if popular_items.half_life <= '0' then
    raise exception using
      errcode = 'CF001',
      message = format('half_life is %s', popular_items.half_life),
      hint = 'Give an interval above zero, such as 7 days, or null for no ageing.';
  end if;
  if popular_items.top is null or popular_items.top not between 1 and 10000 then
    raise exception using
      errcode = 'CF001',
      message = format('top is %s', coalesce(popular_items.top::text, 'null')),
      hint = 'Give a number from 1 to 10000.';
  end if;
  if popular_items.measure is null or popular_items.measure not in ('events', 'people', 'engaged') then
    raise exception using
      errcode = 'CF001',
      message = format('measure is "%s"', left(popular_items.measure, 100)),
      hint = 'Use events (frequency), people (distinct people) or engaged (time spent).';
  end if;
  if popular_items.kind is not null and not exists (select from track.item where item.kind = popular_items.kind) then
    raise exception using
      errcode = 'CF002',
      message = format('there is no item of kind "%s"', left(popular_items.kind, 100)),
      hint = coalesce(
        (select 'There are ' || string_agg(distinct item.kind, ', ') || '.' from track.item),
        'There are no items yet: send events, or run track.sync_items.'
      );
  end if;

  return query
  select *
  from analytics._popular_items(
    popular_items.kind, popular_items.since, popular_items.until, popular_items.half_life,
    popular_items.top, popular_items.measure,
    (select smallest_group from analytics.setting)
  );
end;
$$;

alter function analytics.popular_items(text, timestamptz, timestamptz, interval, int, text) owner to insights_reader;

comment on function analytics.popular_items(text, timestamptz, timestamptz, interval, int, text) is $$
The items of a kind that were used most between two times (`until` excluded), with all that happened on what they contain.
`measure` ranks by `events` (frequency), `people` (distinct people) or `engaged` (time spent); `half_life` halves what is that old, as trending lists do (Metarank). `kind` null: the items themselves.
Items with fewer people than `analytics.setting.smallest_group` are left out. Whole days come from the rollup as of its last refresh.
Errors: CF001 for a bad argument, CF002 for a kind that no item has.
$$;

grant execute on function analytics.popular_items(text, timestamptz, timestamptz, interval, int, text) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/functions/popular_items.sql
--! Included analytics/functions/trend.sql
create or replace function analytics._trend(
  event_type_id int, bucket text, since timestamptz, until timestamptz, window_size int, smallest_group int
)
returns setof analytics.trend_point
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
declare
  -- Whole days come from the rollup; the hours before the first and after the last of them come from the events, and so
  -- does a trend by hour.
  v_by_hour constant boolean := _trend.bucket = 'hour';
  v_first_day constant date := (_trend.since at time zone 'UTC' + interval '1 day' - interval '1 microsecond')::date;
  v_end_day constant date := (_trend.until at time zone 'UTC')::date;
  v_head_until constant timestamptz := case
    when v_by_hour then _trend.until
    else least(_trend.until, v_first_day::timestamp at time zone 'UTC')
  end;
  v_tail_since constant timestamptz := greatest(v_head_until, v_end_day::timestamp at time zone 'UTC');
begin
  return query
  with happened as (
    select date_trunc(_trend.bucket, activity.day::timestamp) as bucket_start, activity.person_id, activity.event_count
    from analytics.activity
    where activity.event_type_id = _trend.event_type_id
      and activity.day >= v_first_day
      and activity.day < v_end_day
      and not v_by_hour

    union all

    select date_trunc(_trend.bucket, event.occurred_at at time zone 'UTC'), event.person_id, 1
    from track.event
    where event.event_type_id = _trend.event_type_id
      and (
        event.occurred_at >= _trend.since and event.occurred_at < v_head_until
        or event.occurred_at >= v_tail_since and event.occurred_at < _trend.until
      )
  ),

  counted as (
    select
      happened.bucket_start,
      sum(happened.event_count) as event_count,
      count(distinct nullif(happened.person_id, 0)) as person_count
    from happened
    group by happened.bucket_start
  ),

  filled as (
    select
      bucket.bucket_start,
      bucket.ordinality as bucket_number,
      case when floor.is_met then coalesce(counted.event_count, 0) end as event_count,
      case when floor.is_met then coalesce(counted.person_count, 0) end as person_count
    from generate_series(
      date_trunc(_trend.bucket, _trend.since at time zone 'UTC'),
      _trend.until at time zone 'UTC' - interval '1 microsecond',
      ('1 ' || _trend.bucket)::interval
    ) with ordinality as bucket (bucket_start, ordinality)
    left join counted using (bucket_start)
    cross join lateral (
      select counted.event_count is null or counted.person_count >= _trend.smallest_group as is_met
    ) as floor
  )

  select
    filled.bucket_start at time zone 'UTC',
    filled.event_count::bigint,
    filled.person_count::bigint,
    (avg(filled.event_count) over last_buckets)::float8,
    regr_slope(filled.event_count::float8, filled.bucket_number::float8) over last_buckets
  from filled
  window last_buckets as (order by filled.bucket_number rows between (_trend.window_size - 1) preceding and current row)
  order by filled.bucket_number;
end;
$$;

comment on function analytics._trend(int, text, timestamptz, timestamptz, int, int) is $$
The query behind `analytics.trend`, with the caller's own rights and floor.
$$;

grant execute on function analytics._trend(int, text, timestamptz, timestamptz, int, int) to insights_reader;

/* A definer of insights_reader: it reads people's activity, and answers about groups of them only. */
create or replace function analytics.trend(
  event_name text,
  bucket text default 'day',
  since timestamptz default date_trunc('day', now()) - interval '28 days',
  until timestamptz default now(),
  window_size int default 7
)
returns setof analytics.trend_point
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
declare
  v_event_type_id constant int := (select event_type_id from track.event_type where event_type.name = trend.event_name);
  v_longest constant interval := interval '10000 hours';
begin
  perform analytics._check_period(trend.since, trend.until);
  if length(trend.event_name) > 200 then
    raise exception using
      errcode = 'CF008',
      message = format('event_name has %s characters', length(trend.event_name)),
      hint = 'The name of an event has 200 at most.';
  end if;
  if v_event_type_id is null then
    raise exception using
      errcode = 'CF002',
      message = format('there is no event "%s"', left(trend.event_name, 100)),
      hint = coalesce(
        (
          select format('The most similar names are %s.', string_agg(format('"%s"', near.name), ', '))
          from (
            select event_type.name
            from track.event_type
            order by
              cardinality(array(
                select unnest(regexp_split_to_array(lower(event_type.name), '\W+'))
                intersect
                select unnest(regexp_split_to_array(lower(trend.event_name), '\W+'))
              )) desc,
              abs(length(event_type.name) - length(trend.event_name)),
              event_type.name
            limit 3
          ) as near
        ),
        'No event has come in yet.'
      );
  end if;
  if trend.bucket is null or trend.bucket not in ('hour', 'day', 'week', 'month') then
    raise exception using
      errcode = 'CF001',
      message = format('bucket is "%s"', left(trend.bucket, 100)),
      hint = 'Use hour, day, week (from Monday) or month.';
  end if;
  if trend.window_size is null or trend.window_size not between 1 and 10000 then
    raise exception using
      errcode = 'CF001',
      message = format('window_size is %s', coalesce(trend.window_size::text, 'null')),
      hint = 'Give the number of buckets that the running average goes over, from 1 to 10000.';
  end if;
  if not isfinite(trend.since) or not isfinite(trend.until)
    or trend.until - trend.since > v_longest * (case trend.bucket when 'hour' then 1 when 'day' then 24 when 'week' then 168 else 720 end)
  then
    raise exception using
      errcode = 'CF008',
      message = format('from %s until %s there are more than 10000 buckets of a %s', trend.since, trend.until, trend.bucket),
      hint = 'Give a shorter period, or a larger bucket.';
  end if;

  return query
  select *
  from analytics._trend(
    v_event_type_id, trend.bucket, trend.since, trend.until, trend.window_size,
    (select smallest_group from analytics.setting)
  );
end;
$$;

alter function analytics.trend(text, text, timestamptz, timestamptz, int) owner to insights_reader;

comment on function analytics.trend(text, text, timestamptz, timestamptz, int) is $$
How often an event happened, bucket by bucket, between two times (`until` excluded).
Buckets are in UTC, weeks begin on Monday, empty buckets are zero. Each has events, distinct people, the running average over the last `window_size` buckets, and the slope of the least-squares line through them, in events a bucket.
Buckets with fewer people than `analytics.setting.smallest_group` are null, and left out of average and slope. Whole days come from the rollup as of its last refresh.
Errors: CF002 for an unknown event (with the most similar names), CF001 for a bad argument, CF008 for more than 10,000 buckets.
$$;

grant execute on function analytics.trend(text, text, timestamptz, timestamptz, int) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/functions/trend.sql
--! Included analytics/functions/_learner_features.sql
/*
 * The one definition of what is known of a learner as of a time, for training and for asking. Whole days come from the
 * rollup, the hours since the last midnight from the events; each part is bound by the time, and `known_at` says what it used.
 */
create or replace function analytics._learner_features(moments timestamptz[], courses bigint[] default null)
returns setof analytics.learner_features
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
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

  -- What a course contains, itself included.
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

  -- Who takes a course at a time: enrolled before, neither completed nor dropped by then, and not objecting to be analysed.
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
        -- Allowed unless decided otherwise, or the other way round.
        and v_by_default <> (
          enrolment.person_id in (
            select decision.person_id
            from privacy.latest_decisions('analytics') as decision
            where decision.granted <> v_by_default
          )
        )
      group by enrolment.person_id, enrolment.item_id
    ) as enrolled
    join moment on enrolled.enrolled_at < moment.as_of and (enrolled.ended_at is null or enrolled.ended_at >= moment.as_of)
  ),

  person as materialized (
    select distinct taker.person_id from taker
  ),

  day_of_item as materialized (
    select
      part.course_id, activity.person_id, activity.item_id, activity.day, part.kind, part.due_at,
      sum(activity.event_count)::float8 as events,
      sum(extract(epoch from activity.engaged))::float8 / 60 as minutes,
      bool_or(event_type.name in ('Task Submitted', 'Task Completed')) as submitted
    from part
    join analytics.activity on activity.item_id = part.item_id
    join person on person.person_id = activity.person_id
    join track.event_type on event_type.event_type_id = activity.event_type_id
    group by part.course_id, activity.person_id, activity.item_id, activity.day, part.kind, part.due_at
  ),

  day_of_course as materialized (
    select day_of_item.course_id, day_of_item.person_id, day_of_item.day, sum(day_of_item.events) as events, sum(day_of_item.minutes) as minutes
    from day_of_item
    group by day_of_item.course_id, day_of_item.person_id, day_of_item.day
  ),

  seen as (
    select
      taker.person_id, taker.course_id, taker.as_of, taker.today - day_of_course.day as age, day_of_course.day, day_of_course.events, day_of_course.minutes,
      (day_of_course.day + 1)::timestamp at time zone 'UTC' as known_at
    from taker
    join day_of_course
      on day_of_course.person_id = taker.person_id
      and day_of_course.course_id = taker.course_id
      and day_of_course.day < taker.today

    union all

    -- Since the last midnight.
    select
      taker.person_id, taker.course_id, taker.as_of, 0, taker.today, count(*)::float8, coalesce(sum(extract(epoch from page_view.engaged)), 0)::float8 / 60,
      max(event.occurred_at)
    from taker
    join track.event
      on event.person_id = taker.person_id
      and event.occurred_at >= taker.midnight
      and event.occurred_at < taker.as_of
    join part on part.item_id = event.item_id and part.course_id = taker.course_id
    left join (
      track.page_view
      join track.session on session.person_id = page_view.person_id and session.session_id = page_view.session_id
    )
      on page_view.person_id = event.person_id
      and page_view.event_id = event.event_id
      and session.ended_at < taker.as_of
    where taker.midnight < taker.as_of
    group by taker.person_id, taker.course_id, taker.as_of, taker.today
  ),

  -- Time in a session that goes on is known at its end: the rollup has it already, the look has not.
  going_on as (
    select taker.person_id, taker.course_id, taker.as_of, sum(extract(epoch from page_view.engaged))::float8 / 60 as minutes
    from taker
    join track.session
      on session.person_id = taker.person_id
      and session.started_at >= taker.as_of - interval '7 days'
      and session.started_at < taker.midnight
      and session.ended_at >= taker.as_of
    join track.page_view
      on page_view.person_id = session.person_id
      and page_view.session_id = session.session_id
      and page_view.started_at < taker.midnight
    join part on part.item_id = page_view.item_id and part.course_id = taker.course_id
    group by taker.person_id, taker.course_id, taker.as_of
  ),

  use as (
    select
      stepped.person_id, stepped.course_id, stepped.as_of,
      max(stepped.known_at) as known_at,
      min(stepped.age) as days_idle,
      count(*) as active_days,
      count(*) filter (where stepped.age <= 7) as active_days_week_1,
      count(*) filter (where stepped.age between 8 and 14) as active_days_week_2,
      count(*) filter (where stepped.age between 15 and 21) as active_days_week_3,
      count(*) filter (where stepped.age between 22 and 28) as active_days_week_4,
      sum(stepped.events) as events,
      coalesce(sum(stepped.events) filter (where stepped.age <= 7), 0) as events_week_1,
      coalesce(sum(stepped.events) filter (where stepped.age between 8 and 14), 0) as events_week_2,
      sum(stepped.minutes) as minutes,
      coalesce(sum(stepped.minutes) filter (where stepped.age <= 7), 0) as minutes_week_1,
      avg(stepped.gap) as mean_gap,
      stddev_pop(stepped.gap) as gap_deviation,
      max(stepped.gap) as longest_gap
    from (
      select seen.*, (seen.day - lag(seen.day) over (partition by seen.person_id, seen.course_id, seen.as_of order by seen.day))::float8 as gap
      from seen
    ) as stepped
    group by stepped.person_id, stepped.course_id, stepped.as_of
  ),

  -- Breadth and lateness, as of the last midnight.
  touched as materialized (
    select
      day_of_item.course_id, day_of_item.person_id, day_of_item.item_id, day_of_item.kind, day_of_item.due_at,
      min(day_of_item.day) as day,
      min(day_of_item.day) filter (where day_of_item.submitted) as submitted_day
    from day_of_item
    where day_of_item.kind not in ('course', 'module')
    group by day_of_item.course_id, day_of_item.person_id, day_of_item.item_id, day_of_item.kind, day_of_item.due_at
  ),

  breadth as (
    select
      taker.person_id, taker.course_id, taker.as_of,
      count(*) as items,
      count(*) filter (where touched.kind = 'task' and touched.submitted_day < taker.today) as tasks,
      count(*) filter (where touched.kind = 'task' and touched.submitted_day < taker.today and touched.due_at < taker.midnight) as due_tasks,
      avg(touched.submitted_day - (touched.due_at at time zone 'UTC')::date)
        filter (where touched.kind = 'task' and touched.submitted_day < taker.today) as days_late
    from taker
    join touched
      on touched.person_id = taker.person_id
      and touched.course_id = taker.course_id
      and touched.day < taker.today
    group by taker.person_id, taker.course_id, taker.as_of
  ),

  due as (
    select part.course_id, moment.as_of, count(*)::float8 as tasks
    from moment
    join part on part.kind = 'task' and part.due_at < moment.midnight
    group by part.course_id, moment.as_of
  ),

  anywhere as (
    select looked.person_id, looked.as_of, count(distinct activity.day) as active_days
    from (select distinct taker.person_id, taker.as_of, taker.today from taker) as looked
    join analytics.activity
      on activity.person_id = looked.person_id
      and activity.day >= looked.today - 7
      and activity.day < looked.today
    group by looked.person_id, looked.as_of
  )

  select
    taker.person_id,
    taker.course_id,
    taker.as_of,
    greatest(taker.enrolled_at, use.known_at),
    extract(epoch from taker.as_of - taker.enrolled_at)::float8 / 86400,
    coalesce(use.days_idle, extract(epoch from taker.as_of - taker.enrolled_at) / 86400)::float8,
    coalesce(use.active_days, 0)::float8,
    coalesce(use.active_days_week_1, 0)::float8,
    coalesce(use.active_days_week_2, 0)::float8,
    coalesce(use.active_days_week_3, 0)::float8,
    coalesce(use.active_days_week_4, 0)::float8,
    coalesce(use.events, 0),
    coalesce(use.events_week_1, 0),
    coalesce(use.events_week_2, 0),
    greatest(coalesce(use.minutes, 0) - coalesce(going_on.minutes, 0), 0),
    greatest(coalesce(use.minutes_week_1, 0) - coalesce(going_on.minutes, 0), 0),
    use.mean_gap,
    use.gap_deviation,
    use.longest_gap,
    coalesce(breadth.items, 0) / nullif(size.items, 0),
    coalesce(breadth.tasks, 0) / nullif(size.tasks, 0),
    greatest(coalesce(due.tasks, 0) - coalesce(breadth.due_tasks, 0), 0),
    breadth.days_late::float8,
    coalesce(anywhere.active_days, 0)::float8,
    avg((coalesce(use.active_days_week_1, 0) > 0)::int::float8) over (partition by taker.course_id, taker.as_of),
    extract(epoch from size.available_until - taker.as_of)::float8 / 86400
  from taker
  join size on size.course_id = taker.course_id
  left join use on use.person_id = taker.person_id and use.course_id = taker.course_id and use.as_of = taker.as_of
  left join going_on on going_on.person_id = taker.person_id and going_on.course_id = taker.course_id and going_on.as_of = taker.as_of
  left join breadth on breadth.person_id = taker.person_id and breadth.course_id = taker.course_id and breadth.as_of = taker.as_of
  left join due on due.course_id = taker.course_id and due.as_of = taker.as_of
  left join anywhere on anywhere.person_id = taker.person_id and anywhere.as_of = taker.as_of;
end;
$$;

comment on function analytics._learner_features(timestamptz[], bigint[]) is $$
Everybody who takes a course at each of some moments, with what was known then: one row a learner, course and moment. `courses` null: all.
Nothing after a moment is looked at. People who object to the purpose `analytics` are left out. Rollups are as of their last refresh.
$$;

create or replace function analytics._learner_outcomes(question text, moments timestamptz[], horizon interval)
returns table (person_id bigint, course_id bigint, as_of timestamptz, outcome float8)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
begin
  return query
  with moment as materialized (
    select distinct
      entry.as_of,
      (entry.as_of at time zone 'UTC')::date as since,
      ((entry.as_of + _learner_outcomes.horizon) at time zone 'UTC')::date as until
    from unnest(_learner_outcomes.moments) as entry (as_of)
  ),

  active as (
    select activity.person_id, ancestor.ancestor_item_id as course_id, moment.as_of, count(distinct activity.day)::float8 as days
    from moment
    join analytics.activity on activity.day >= moment.since and activity.day < moment.until
    join track.item_ancestor as ancestor on ancestor.item_id = activity.item_id
    join track.item as course on course.item_id = ancestor.ancestor_item_id and course.kind = 'course'
    where activity.person_id <> 0
    group by activity.person_id, ancestor.ancestor_item_id, moment.as_of
  ),

  taken as (
    select
      enrolment.person_id, enrolment.item_id as course_id, moment.as_of,
      bool_or(enrolment.status = 'completed' and enrolment.ended_at >= moment.as_of and enrolment.ended_at < moment.as_of + _learner_outcomes.horizon) as completed,
      bool_or(enrolment.status = 'dropped' and enrolment.ended_at >= moment.as_of and enrolment.ended_at < moment.as_of + _learner_outcomes.horizon) as dropped
    from moment
    join track.enrolment on enrolment.enrolled_at < moment.as_of
    group by enrolment.person_id, enrolment.item_id, moment.as_of
  )

  select
    taken.person_id, taken.course_id, taken.as_of,
    case _learner_outcomes.question
      when 'dropout' then ((coalesce(active.days, 0) = 0 or coalesce(taken.dropped, false)) and not coalesce(taken.completed, false))::int::float8
      when 'completion' then coalesce(taken.completed, false)::int::float8
      when 'activity' then coalesce(active.days, 0)
    end
  from taken
  left join active on active.person_id = taken.person_id and active.course_id = taken.course_id and active.as_of = taken.as_of;
end;
$$;

comment on function analytics._learner_outcomes(text, timestamptz[], interval) is $$
What became of everybody who was enrolled at each of some moments, UTC midnights, within the horizon: 1 or 0 for `dropout` and `completion`, active days for `activity`.
$$;

grant execute on function analytics._learner_features(timestamptz[], bigint[]), analytics._learner_outcomes(text, timestamptz[], interval)
to insights_reader, insights_admin;
--! EndIncluded analytics/functions/_learner_features.sql
--! Included analytics/functions/train_predictions.sql
create or replace function analytics._question(question text)
returns analytics.question
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_question analytics.question;
begin
  select * into v_question from analytics.question as entry where entry.question = _question.question;
  if v_question.question is null then
    raise exception using errcode = 'CF002', message = format('there is no question "%s"', coalesce(left(_question.question, 100), 'null')),
      hint = (select format('There are %s.', string_agg(entry.question, ', ' order by entry.question)) from analytics.question as entry);
  end if;
  return v_question;
end;
$$;

comment on function analytics._question(text) is $$A question by its name. Error CF002.$$;

create or replace function analytics._write_looks(question analytics.question, weeks int)
returns bigint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set jit to off
set client_min_messages to warning
as $$
declare
  v_newest timestamptz;
  v_oldest timestamptz;
  v_moments timestamptz[];
  v_rows bigint;
begin
  -- The first midnight of which the day before is complete, and the first by which anybody could have done anything for a week.
  select (least(max(activity.day) + 1, (now() at time zone 'UTC')::date))::timestamp at time zone 'UTC', (min(activity.day) + 7)::timestamp at time zone 'UTC'
  into v_newest, v_oldest
  from analytics.activity;
  select array_agg(moment order by moment)
  into v_moments
  from generate_series(0, weeks - 1) as week
  cross join lateral (select v_newest - (question).horizon - week * interval '7 days' as moment) as looked
  where moment >= v_oldest;

  drop table if exists pg_temp.learner_look;
  create temporary table learner_look on commit drop as
  select
    format('%s/%s/%s', feature.person_id, feature.course_id, feature.as_of::date) as look,
    feature.*,
    outcome.outcome,
    feature.as_of + (question).horizon as outcome_known_at
  from analytics._learner_features(coalesce(v_moments, '{}')) as feature
  join analytics._learner_outcomes((question).question, coalesce(v_moments, '{}'), (question).horizon) as outcome using (person_id, course_id, as_of)
  where feature.days_idle <= extract(epoch from (question).longest_idle) / 86400;
  get diagnostics v_rows = row_count;
  return v_rows;
end;
$$;

comment on function analytics._write_looks(analytics.question, int) is $$
Writes the temporary table `learner_look`: weekly looks at all learners, the latest ones whose outcome is known, with features and outcome. Returns the number of rows.
$$;

/* A definer: it reads what everybody did and writes models, and is granted to those who run the installation. */
create or replace function analytics.train_predictions(question text default null, seed bigint default 0)
returns setof ml.training
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
set client_min_messages to warning
as $$
declare
  v_question analytics.question;
  v_asked boolean := train_predictions.question is not null;
  v_looks text;
  v_seen record;
  v_features text;
  v_algorithm text;
  v_trained int;
  v_message text;
  v_hint text;
begin
  if v_asked then
    perform analytics._question(train_predictions.question);
  end if;
  if seed is null then
    raise exception using errcode = 'CF001', message = 'the seed is null', hint = 'Give a number: the same seed and data give the same model.';
  end if;
  if not pg_try_advisory_xact_lock(hashtext('analytics.train_predictions')) then
    raise exception using errcode = 'CF010', message = 'predictions are being trained already', hint = 'Wait until that is done.';
  end if;

  for v_question in
    select * from analytics.question as entry where not v_asked or entry.question = train_predictions.question order by entry.question
  loop
    perform analytics._write_looks(v_question, v_question.weeks);
    execute 'select count(*) as rows, count(distinct outcome) as outcomes, least(count(*) filter (where outcome > 0), count(*) filter (where outcome = 0)) as rarer from pg_temp.learner_look'
    into v_seen;
    if v_seen.rows < v_question.fewest_rows or v_seen.outcomes < 2 or v_seen.rarer < 10 then
      if v_asked then
        raise exception using
          errcode = 'CF004',
          message = format('too little is known to learn from: %s looks at learners, %s of the rarer outcome', v_seen.rows, v_seen.rarer),
          hint = format(
            'At least %s looks and 10 of the rarer outcome are needed. Looks are weekly and %s long: import enrolments with track.sync_enrolments and a few weeks of events, and run analytics.refresh_activity.',
            v_question.fewest_rows, v_question.horizon
          );
      end if;
      continue;
    end if;
    v_looks := format('%I.learner_look', (select nspname from pg_catalog.pg_namespace where oid = pg_catalog.pg_my_temp_schema()));
    select string_agg(quote_ident(attribute.attname), ', ' order by attribute.attnum)
    into v_features
    from pg_catalog.pg_attribute as attribute
    where attribute.attrelid = 'analytics.learner_features'::regclass
      and attribute.attnum > 0
      and not attribute.attisdropped
      and attribute.attname not in ('person_id', 'course_id', 'as_of', 'known_at');

    -- Both kinds, so that the better one is in force whatever the data are like, and one is when the other can not be had.
    v_trained := 0;
    foreach v_algorithm in array array['elastic_net', 'gbm'] loop
      begin
        return query
        select *
        from ml.train(
          v_question.project, v_question.task, v_looks, 'look', 'outcome',
          features => v_features,
          algorithm => v_algorithm,
          parameters => case v_algorithm
            when 'gbm' then '{"num_trees": 200, "max_depth": 3, "learning_rate": 0.1, "min_rows": 20, "lambda": 5, "row_sample": 0.8, "feature_sample": 0.6, "max_bins": 32}'::jsonb
            else '{"alpha": 0, "lambda_value": 0.01}'::jsonb
          end,
          predicted_at => 'as_of',
          label_known_at => 'outcome_known_at',
          feature_known_at => 'known_at',
          group_column => 'person_id',
          calibration => case v_question.task when 'classification' then 'platt' else 'none' end,
          metric => case v_question.task when 'classification' then 'log_loss' else 'root_mean_squared_error' end,
          seed => train_predictions.seed,
          description => v_question.description
        );
        v_trained := v_trained + 1;
      exception when sqlstate 'CF004' or sqlstate 'CF007' then
        get stacked diagnostics v_message = message_text, v_hint = pg_exception_hint;
        raise warning 'analytics.train_predictions: % by %: %', v_question.question, v_algorithm, v_message;
      end;
    end loop;
    if v_asked and v_trained = 0 then
      raise exception using errcode = 'CF004', message = format('nothing could be learned about %s: %s', v_question.question, v_message), hint = v_hint;
    end if;
  end loop;
  drop table if exists pg_temp.learner_look;
end;
$$;

comment on function analytics.train_predictions(text, bigint) is $$
Trains the predictions about learners, all or one question (`dropout`, `completion`, `activity`), and deploys what is better than the version in force.
Learns from weekly looks at everybody who took a course then (`analytics.question.weeks` of them), with the features as of the look and the outcome by the end
of the horizon. The latest quarter is held out; looks whose outcome was not known when it began are learned from by nobody, and a feature that used
anything later than its look would be refused (ml.time_split). A penalised linear model and boosted trees compete by log loss, calibrated, or squared error.
Without a question, those with too little to learn from are passed over. Errors: CF001, CF002 (no such question), CF004 (too little), CF010 (running already).
$$;

grant execute on function analytics._question(text) to insights_reader;
grant execute on function analytics.train_predictions(text, bigint) to insights_admin, insights_worker;
--! EndIncluded analytics/functions/train_predictions.sql
--! Included analytics/functions/due_predictions.sql
/* A definer of insights_reader: it looks at what days are on record, and tells of questions only. */
create or replace function analytics.due_predictions()
returns setof text
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
as $$
declare
  v_begun_at timestamptz;
  v_complete_at timestamptz;
  v_enrolments constant bigint := (select count(*) from track.enrolment);
begin
  select
    min(activity.day)::timestamp at time zone 'UTC',
    least(
      (max(activity.day) + 1)::timestamp at time zone 'UTC',
      date_trunc('day', now() at time zone 'UTC') at time zone 'UTC'
    )
  into v_begun_at, v_complete_at
  from analytics.activity;

  return query
  select entry.question
  from analytics.question as entry
  where v_complete_at >= v_begun_at + interval '7 days' + entry.horizon
    and v_enrolments * entry.weeks >= entry.fewest_rows
    and not exists (
      select
      from ml.project
      join ml.model using (project_id)
      where project.name = entry.project
        and model.trained_at >= v_complete_at
    )
  order by entry.question;
end;
$$;

alter function analytics.due_predictions() owner to insights_reader;

comment on function analytics.due_predictions() is $$
@behavior -*
The questions about learners whose newest version does not know the last complete day, where there may be enough to learn from. For the worker.
$$;

grant execute on function analytics.due_predictions() to insights_admin, insights_worker;
--! EndIncluded analytics/functions/due_predictions.sql
--! Included analytics/functions/_predict_learners.sql
create or replace function analytics._course_id(course text)
returns bigint
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_course_id bigint;
begin
  select item.item_id into v_course_id from track.item where item.external_id = _course_id.course and item.kind = 'course';
  if v_course_id is null then
    raise exception using errcode = 'CF002', message = format('there is no course "%s"', coalesce(left(_course_id.course, 100), 'null')),
      hint = coalesce(
        'Did you mean "' || ml._nearest(_course_id.course, (select array_agg(item.external_id) from track.item where item.kind = 'course')) || '"?',
        'Give the external id of an item of kind course.'
      );
  end if;
  return v_course_id;
end;
$$;

comment on function analytics._course_id(text) is $$Key of the course of an external id. Error CF002 names the nearest.$$;

create or replace function analytics._learner_scores(question text, as_of timestamptz, of_course bigint default null)
returns table (person_id bigint, course_id bigint, score float8)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
declare
  v_question analytics.question := analytics._question(_learner_scores.question);
  v_model ml.model;
begin
  if _learner_scores.as_of is null or not isfinite(_learner_scores.as_of) then
    raise exception using errcode = 'CF001', message = format('as_of is %s', coalesce(_learner_scores.as_of::text, 'null')), hint = 'Give a time, such as now().';
  end if;
  begin
    v_model := ml._version(v_question.project);
  exception when sqlstate 'CF002' then
    raise exception using errcode = 'CF006', message = format('the prediction of %s has not been trained yet', _learner_scores.question),
      hint = 'Run analytics.train_predictions, or let the worker do it.';
  end;
  return query execute format(
    'select person_id, course_id, %s from (select person_id, course_id, %s from analytics._learner_features(array[$1], case when $2 is not null then array[$2] end)
     where days_idle <= extract(epoch from $3) / 86400 offset 0) as input',
    ml._answer_expression(ml._document(v_model), ml._score_expression(v_model)),
    analytics._input_list(v_model.coefficients)
  ) using _learner_scores.as_of, of_course, v_question.longest_idle;
end;
$$;

comment on function analytics._learner_scores(text, timestamptz, bigint) is $$
What the version in force predicts of everybody who takes a course, or all courses, as of a time. Errors: CF001, CF002, CF006 (not trained).
$$;

create or replace function analytics._input_list(document jsonb)
returns text
language sql
immutable
parallel safe
begin atomic
  select string_agg(format('%I::float8 as x%s', listed.feature ->> 'name', listed.position), ', ' order by listed.position)
  from jsonb_array_elements(document -> 'features') with ordinality as listed (feature, position);
end;

comment on function analytics._input_list(jsonb) is $$The features of a model, of those of `analytics.learner_features`, as x1, x2, ….$$;

create or replace function analytics._predict_learners(question text, course text, as_of timestamptz, top int, lowest_first boolean)
returns setof analytics.learner_prediction
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
declare
  v_course_id bigint := analytics._course_id(_predict_learners.course);
  v_question analytics.question := analytics._question(_predict_learners.question);
  v_model ml.model;
  v_people bigint[];
  v_scores float8[];
begin
  if _predict_learners.top is null or _predict_learners.top not between 1 and 10000 then
    raise exception using errcode = 'CF001', message = format('top is %s', coalesce(_predict_learners.top::text, 'null')), hint = 'Give a number from 1 to 10000.';
  end if;
  select array_agg(chosen.person_id order by chosen.place), array_agg(chosen.score order by chosen.place)
  into v_people, v_scores
  from (
    select scored.person_id, scored.score, row_number() over (order by case when lowest_first then scored.score else -scored.score end, scored.person_id) as place
    from analytics._learner_scores(_predict_learners.question, _predict_learners.as_of, v_course_id) as scored
  ) as chosen
  where chosen.place <= _predict_learners.top;
  if v_people is null then
    return;
  end if;
  v_model := ml._version(v_question.project);
  return query execute format(
    $query$
    with explained (person_id, feature, feature_value, contribution) as (
      %s
    )
    select
      chosen.rank::int, chosen.person_id, name.external_id, chosen.score,
      array(
        select row(explained.feature, explained.feature_value, explained.contribution)::ml.contribution
        from explained
        where explained.person_id = chosen.person_id
          and explained.feature <> '(base)'
          and explained.contribution <> 0
        order by abs(explained.contribution) desc, explained.feature
        limit 5
      ),
      $4, $1
    from unnest($3, $5) with ordinality as chosen (person_id, score, rank)
    left join lateral (
      select identity.external_id
      from track.identity
      where identity.person_id = chosen.person_id
      order by identity.kind = 'user' desc, identity.identity_id
      limit 1
    ) as name on true
    order by chosen.rank
    $query$,
    ml._explain(
      v_model,
      '(select feature.* from analytics._learner_features(array[$1], array[$2]) as feature where feature.person_id = any ($3) offset 0) as learner',
      'person_id', analytics._input_list(v_model.coefficients), 'true'
    )
  ) using _predict_learners.as_of, v_course_id, v_people, v_model.version, v_scores;
end;
$$;

comment on function analytics._predict_learners(text, text, timestamptz, int, boolean) is $$
The learners of a course for whom the prediction is highest, or lowest, with the five features that moved each most.
$$;

grant execute on function
  analytics._course_id(text), analytics._learner_scores(text, timestamptz, bigint), analytics._input_list(jsonb),
  analytics._predict_learners(text, text, timestamptz, int, boolean)
to insights_reader;
--! EndIncluded analytics/functions/_predict_learners.sql
--! Included analytics/functions/dropout_risk.sql
/* A definer of insights_reader: it reads what people did, and is granted to those who may see people. */
create or replace function analytics.dropout_risk(course text, as_of timestamptz default now(), top int default 50)
returns setof analytics.learner_prediction
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
as $$
  select * from analytics._predict_learners('dropout', $1, $2, $3, false);
$$;

alter function analytics.dropout_risk(text, timestamptz, int) owner to insights_reader;

comment on function analytics.dropout_risk(text, timestamptz, int) is $$
Who is about to drop out of a course, and why.
`score` is the probability that nothing more is done in the course within the horizon (`analytics.question`; 14 days), or that it is dropped, without being completed.
Everybody who takes the course as of the time, and was not idle for longer than the `longest_idle` of the question, is scored from events before it only; the `top` learners most at risk come with the five features that moved their score most,
exact shares of its distance from the mean. The model is the one in force of the project `analytics.dropout`, trained by `analytics.train_predictions`.
People who object to the purpose `analytics` are left out. Errors: CF001 (as_of, top), CF002 (no such course), CF006 (not trained yet).
$$;

grant execute on function analytics.dropout_risk(text, timestamptz, int) to insights_admin, insights_worker;
--! EndIncluded analytics/functions/dropout_risk.sql
--! Included analytics/functions/completion_probability.sql
/* A definer of insights_reader: it reads what people did, and is granted to those who may see people. */
create or replace function analytics.completion_probability(course text, as_of timestamptz default now(), top int default 50)
returns setof analytics.learner_prediction
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
as $$
  select * from analytics._predict_learners('completion', $1, $2, $3, true);
$$;

alter function analytics.completion_probability(text, timestamptz, int) owner to insights_reader;

comment on function analytics.completion_probability(text, timestamptz, int) is $$
Who will complete a course soon, and what speaks against it.
`score` is the probability that the course is completed within the horizon (`analytics.question`; 28 days).
Everybody who takes the course as of the time, and was not idle for longer than the `longest_idle` of the question, is scored from events before it only; the `top` learners least likely to come with the five features that moved their score most,
exact shares of its distance from the mean. The model is the one in force of the project `analytics.completion`, trained by `analytics.train_predictions`.
People who object to the purpose `analytics` are left out. Errors: CF001 (as_of, top), CF002 (no such course), CF006 (not trained yet).
$$;

grant execute on function analytics.completion_probability(text, timestamptz, int) to insights_admin, insights_worker;
--! EndIncluded analytics/functions/completion_probability.sql
--! Included analytics/functions/expected_next_week_activity.sql
/* A definer of insights_reader: it reads what people did, and is granted to those who may see people. */
create or replace function analytics.expected_next_week_activity(course text, as_of timestamptz default now(), top int default 50)
returns setof analytics.learner_prediction
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
as $$
  select * from analytics._predict_learners('activity', $1, $2, $3, true);
$$;

alter function analytics.expected_next_week_activity(text, timestamptz, int) owner to insights_reader;

comment on function analytics.expected_next_week_activity(text, timestamptz, int) is $$
How active the learners of a course will be next week.
`score` is the expected number of days, of the horizon's (`analytics.question`; 7), on which something is done in the course.
Everybody who takes the course as of the time, and was not idle for longer than the `longest_idle` of the question, is scored from events before it only; the `top` learners with least come with the five features that moved their score most,
exact shares of its distance from the mean. The model is the one in force of the project `analytics.activity`, trained by `analytics.train_predictions`.
People who object to the purpose `analytics` are left out. Errors: CF001 (as_of, top), CF002 (no such course), CF006 (not trained yet).
$$;

grant execute on function analytics.expected_next_week_activity(text, timestamptz, int) to insights_admin, insights_worker;
--! EndIncluded analytics/functions/expected_next_week_activity.sql
--! Included analytics/functions/course_outlook.sql
/* A definer of insights_reader: it reads what people did, and answers about groups of them only. */
create or replace function analytics.course_outlook(question text default 'dropout', as_of timestamptz default now())
returns setof analytics.course_outlook
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
  select
    item.external_id,
    item.title,
    count(*),
    avg(scored.score),
    case when count(*) >= 4 * setting.smallest_group then percentile_cont(0.25) within group (order by scored.score) end,
    case when count(*) >= 4 * setting.smallest_group then percentile_cont(0.75) within group (order by scored.score) end
  from analytics._learner_scores($1, $2) as scored
  join track.item on item.item_id = scored.course_id
  cross join analytics.setting
  group by item.item_id, item.external_id, item.title, setting.smallest_group
  having count(*) >= setting.smallest_group
  order by avg(scored.score) desc, item.external_id;
$$;

alter function analytics.course_outlook(text, timestamptz) owner to insights_reader;

comment on function analytics.course_outlook(text, timestamptz) is $$
What is predicted of the learners of each course together: the mean probability of `dropout` or `completion`, or the expected `activity`, as of a time.
Courses with fewer learners than `analytics.setting.smallest_group` are left out, and quartiles with fewer than that in a quarter.
Errors: CF001 (as_of), CF002 (no such question), CF006 (not trained yet).
$$;

grant execute on function analytics.course_outlook(text, timestamptz) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/functions/course_outlook.sql
--! Included analytics/functions/watch_predictions.sql
/* A definer: it reads what everybody did and notes drift, and is granted to those who run the installation. */
create or replace function analytics.watch_predictions()
returns setof ml.drift
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
set client_min_messages to warning
as $$
declare
  v_question analytics.question;
begin
  for v_question in
    select entry.*
    from analytics.question as entry
    join ml.project on project.name = entry.project
    where ml._deployed_model_id(project.project_id) is not null
    order by entry.question
  loop
    -- The latest two looks whose outcome is known.
    if analytics._write_looks(v_question, 2) > 0 then
      return query
      select *
      from ml.measure_drift(
        v_question.project,
        format('%I.learner_look', (select nspname from pg_catalog.pg_namespace where oid = pg_catalog.pg_my_temp_schema())),
        'outcome'
      );
    end if;
    drop table if exists pg_temp.learner_look;
  end loop;
end;
$$;

comment on function analytics.watch_predictions() is $$
Measures the drift of the predictions about learners: inputs, calibration and metric on the latest looks whose outcome is known; see ml.measure_drift.
$$;

grant execute on function analytics.watch_predictions() to insights_admin, insights_worker;
--! EndIncluded analytics/functions/watch_predictions.sql
--! Included analytics/policies.sql
/* People's activity is read by the functions of insights_reader, and by admins. Learners see their own. */

grant select on analytics.setting to insights_reader, insights_analyst, insights_admin, insights_worker;
grant update (smallest_group) on analytics.setting to insights_admin;
grant select on analytics.activity, analytics.item_popularity to insights_reader;
grant select on analytics.activity to insights_admin;

drop policy if exists everybody on analytics.setting;
create policy everybody on analytics.setting for select using (true);
drop policy if exists admins_change on analytics.setting;
create policy admins_change on analytics.setting for update to insights_admin using (true);
drop policy if exists all_people on analytics.activity;
create policy all_people on analytics.activity for select to insights_reader, insights_admin using (true);

grant select on analytics.question to insights_reader, insights_analyst, insights_admin, insights_worker;
grant update (horizon, longest_idle, weeks, fewest_rows) on analytics.question to insights_admin;
drop policy if exists everybody on analytics.question;
create policy everybody on analytics.question for select using (true);
drop policy if exists admins_change on analytics.question;
create policy admins_change on analytics.question for update to insights_admin using (true);
--! EndIncluded analytics/policies.sql

-- recommend
--! Included recommend/functions/_interactions_of.sql
create or replace function recommend._interactions_of(people bigint[])
returns setof recommend.interaction
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  with counted as (
    select
      event.person_id,
      event.item_id,
      event_weight.weight * least(count(*), event_weight.most_counted) as weight,
      count(*) as event_count,
      min(event.occurred_at) as first_at,
      max(event.occurred_at) as last_at,
      max(event.occurred_at) filter (where event_weight.completes) as completed_at,
      max(event.occurred_at) filter (where event_weight.dismisses) as dismissed_at
    from track.event
    join track.event_type using (event_type_id)
    join recommend.event_weight on event_weight.event = event_type.name
    where event.person_id = any (_interactions_of.people)
      and event.person_id <> 0
      and event.item_id is not null
    group by event.person_id, event.item_id, event_weight.event, event_weight.weight, event_weight.most_counted
  )

  select
    counted.person_id,
    counted.item_id,
    sum(counted.weight)::real,
    sum(counted.event_count)::int,
    min(counted.first_at),
    max(counted.last_at),
    max(counted.completed_at),
    max(counted.dismissed_at)
  from counted
  group by counted.person_id, counted.item_id;
end;
$$;

comment on function recommend._interactions_of(bigint[]) is $$
The interactions of some people, computed from their events: what `recommend.interaction` holds once it is up to date.
$$;

grant execute on function recommend._interactions_of(bigint[]) to insights_reader, insights_learner;
--! EndIncluded recommend/functions/_interactions_of.sql
--! Included recommend/functions/refresh_interactions.sql
/*
 * An event can raise, complete or take back what a person has to do with an item, and a merge or an erasure can take any
 * of it away, so the people who changed are computed anew from their events; nobody else is touched. Only rows that
 * differ are written.
 */
create or replace function recommend.refresh_interactions(most_people int default 2000)
returns bigint
language plpgsql
volatile
-- A definer: it reads everybody's events and writes recommend.interaction, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_people constant bigint[] := track._changed_people('recommend.interaction', refresh_interactions.most_people);
  v_by_default constant boolean := (
    select purpose.basis <> 'consent'
    from privacy.purpose
    where purpose.purpose = 'personalization'
  );
  v_allowed bigint[];
begin
  delete from track.changed
  where person_id = any (v_people)
    and consumer = 'recommend.interaction';

  -- Whoever objected is forgotten at the next refresh, whether or not anything else happened.
  delete from recommend.interaction
  where interaction.person_id = any (array(
    select decision.person_id
    from privacy.latest_decisions('personalization') as decision
    where not decision.granted
  ));

  if v_people = '{}' then
    return 0;
  end if;

  v_allowed := array(
    select changed.person_id
    from unnest(v_people) as changed (person_id)
    -- Allowed unless decided otherwise, or the other way round.
    where v_by_default <> (
      changed.person_id in (
        select decision.person_id
        from privacy.latest_decisions('personalization', v_people) as decision
        where decision.granted <> v_by_default
      )
    )
  );

  with fresh as materialized (
    select interaction.*
    from recommend._interactions_of(v_allowed) as interaction
  ),

  gone as (
    delete from recommend.interaction
    where interaction.person_id = any (v_people)
      and not exists (
        select
        from fresh
        where fresh.person_id = interaction.person_id
          and fresh.item_id = interaction.item_id
      )
  )

  insert into recommend.interaction (
    person_id, item_id, weight, event_count, first_at, last_at, completed_at, dismissed_at
  )
  select person_id, item_id, weight, event_count, first_at, last_at, completed_at, dismissed_at
  from fresh
  on conflict (person_id, item_id) do update
  set
    weight = excluded.weight,
    event_count = excluded.event_count,
    first_at = excluded.first_at,
    last_at = excluded.last_at,
    completed_at = excluded.completed_at,
    dismissed_at = excluded.dismissed_at
  where interaction is distinct from excluded;

  return cardinality(v_people);
end;
$$;

comment on function recommend.refresh_interactions(int) is $$
Brings `recommend.interaction` up to date for at most so many people whose events changed; returns how many. Call it until that is 0.
Idempotent, and right for late events, merges of people and deletions. People who objected to `personalization` have no interactions.
Errors: CF001 for fewer than one person.
$$;

grant execute on function recommend.refresh_interactions(int) to insights_worker;
--! EndIncluded recommend/functions/refresh_interactions.sql
--! Included recommend/functions/rebuild.sql
create or replace function recommend.rebuild()
returns bigint
language plpgsql
volatile
-- A definer: it marks everybody as changed in track.changed, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
as $$
declare
  v_marked bigint;
begin
  insert into track.changed (person_id, consumer, since, until)
  select person_id, 'recommend.interaction', '-infinity', 'infinity'
  from track.person
  where person_id <> 0;
  get diagnostics v_marked = row_count;
  return v_marked;
end;
$$;

comment on function recommend.rebuild() is $$
Marks all interactions as out of date, after a change of `recommend.event_weight`; returns how many people that concerns.
The workers, or `recommend.refresh_interactions`, then compute them from scratch.
$$;

grant execute on function recommend.rebuild() to insights_admin, insights_worker;
--! EndIncluded recommend/functions/rebuild.sql
--! Included recommend/functions/_history.sql
create or replace function recommend._history(
  person_id bigint,
  kind text
)
returns table (item_id bigint, strength real, is_left_out boolean)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_full_weight constant real := (select full_weight from recommend.setting);
  -- Events that came in since the last refresh: then the stored interactions are not the whole truth.
  v_is_behind constant boolean := exists (
    select from track.stale where stale.person_id = _history.person_id
  ) or exists (
    select from track.changed where changed.person_id = _history.person_id and changed.consumer = 'recommend.interaction'
  );
begin
  -- Without consent nothing is looked at.
  if not privacy.allowed(_history.person_id, 'personalization') then
    return;
  end if;

  return query
  with stored as (
    select interaction.item_id, interaction.weight, interaction.completed_at, interaction.dismissed_at
    from recommend.interaction
    where interaction.person_id = _history.person_id
      and not v_is_behind

    union all

    select interaction.item_id, interaction.weight, interaction.completed_at, interaction.dismissed_at
    from recommend._interactions_of(array[_history.person_id]) as interaction
    where v_is_behind
  ),

  leaf as (
    select stored.item_id, stored.weight, stored.completed_at is not null or stored.dismissed_at is not null as is_over
    from stored

    union all

    -- What the application says: enrolled is taken, whatever became of it.
    select enrolment.item_id, v_full_weight, true
    from track.enrolment
    where enrolment.person_id = _history.person_id
  )

  select
    target.item_id,
    least(sum(leaf.weight) / v_full_weight, 1)::real,
    -- A course is not over because a page of it is.
    sum(leaf.weight) >= v_full_weight or bool_or(leaf.is_over and ancestor.depth = 0)
  from leaf
  join track.item_ancestor as ancestor on ancestor.item_id = leaf.item_id
  join track.item as target on target.item_id = ancestor.ancestor_item_id
  where target.kind = _history.kind
  group by target.item_id;
end;
$$;

comment on function recommend._history(bigint, text) is $$
@behavior -*
What a person has to do with the items of a kind, as the caller may see it: strength from 0 to 1, summed over what an item contains, and whether the item is to be left out (taken, finished, dismissed, enrolled).
Right to the last event: where events wait for the refresh, they are computed on the spot. Empty for who objected to `personalization`.
$$;

grant execute on function recommend._history(bigint, text) to insights_reader, insights_learner;
--! EndIncluded recommend/functions/_history.sql
--! Included recommend/functions/_deployed_model.sql
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
  where project.name = 'recommend.' || _deployed_model.kind;
end;

comment on function recommend._deployed_model(text) is $$
The version of the recommender of a kind that is in force; no row when none was trained.
$$;

grant execute on function recommend._deployed_model(text) to insights_reader;
--! EndIncluded recommend/functions/_deployed_model.sql
--! Included recommend/functions/_sign.sql
create or replace function recommend._sign(
  payload text,
  inner_key bytea,
  outer_key bytea
)
returns text
language sql
immutable
parallel safe
begin atomic
  select payload || '.' || encode(
    substr(sha256(_sign.outer_key || sha256(_sign.inner_key || convert_to(payload, 'UTF8'))), 1, 16), 'hex'
  );
end;

comment on function recommend._sign(text, bytea, bytea) is $$
@behavior -*
A text with its signature behind a dot: a nested SHA-256 with two keys, cut to 128 bits.
Source: Bellare, Canetti, Krawczyk, Keying hash functions for message authentication, CRYPTO 1996.
$$;
--! EndIncluded recommend/functions/_sign.sql
--! Included recommend/functions/_check.sql
create or replace function recommend._check(
  top int,
  kind text
)
returns void
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if _check.top is null or _check.top not between 1 and 1000 then
    raise exception using
      errcode = 'CF001',
      message = format('top is %s', coalesce(_check.top::text, 'null')),
      hint = 'Give a number from 1 to 1000.';
  end if;
  if not exists (select from track.item where item.kind = _check.kind) then
    raise exception using
      errcode = 'CF002',
      message = format('there is no item of kind "%s"', coalesce(left(_check.kind, 100), 'null')),
      hint = coalesce(
        (select 'There are ' || string_agg(distinct item.kind, ', ' order by item.kind) || '.' from track.item),
        'There are no items yet: send events, or run track.sync_items.'
      );
  end if;
end;
$$;

comment on function recommend._check(int, text) is $$
@behavior -*
Raises CF001 for a length of list out of 1 to 1000, CF002 for a kind that no item has.
$$;

grant execute on function recommend._check(int, text) to insights_reader, insights_learner;
--! EndIncluded recommend/functions/_check.sql
--! Included recommend/functions/_popularity.sql
/* A definer: it reads who has to do with what, and answers with shares of the most popular item only. */
create or replace function recommend._popularity(kind text)
returns table (item_id bigint, popularity float8)
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set jit to off
as $$
begin
  if (select relispopulated from pg_catalog.pg_class where oid = 'analytics.item_popularity'::regclass) then
    return query
    with counted as (
      select
        item_popularity.item_id,
        item_popularity.person_count * item_popularity.decayed_event_count / nullif(item_popularity.event_count, 0) as people
      from analytics.item_popularity
      join track.item using (item_id)
      where item.kind = _popularity.kind
    )
    select counted.item_id, (counted.people / nullif(max(counted.people) over (), 0))::float8
    from counted
    where counted.people > 0;
    return;
  end if;

  -- A young installation, before the first refresh of the view.
  return query
  with counted as (
    select ancestor.ancestor_item_id as item_id, count(distinct interaction.person_id) as people
    from recommend.interaction
    join track.item_ancestor as ancestor using (item_id)
    join track.item on item.item_id = ancestor.ancestor_item_id
    where item.kind = _popularity.kind
    group by ancestor.ancestor_item_id
  )
  select counted.item_id, counted.people / (max(counted.people) over ())::float8
  from counted;
end;
$$;

comment on function recommend._popularity(text) is $$
@behavior -*
Popularity of the items of a kind, 1 for the most popular one: by people, each item's share of recent use counting (halved every 30 days).
$$;
--! EndIncluded recommend/functions/_popularity.sql
--! Included recommend/functions/_rank_items.sql
/*
 * A definer: weights, popularity and the signing keys are granted to nobody. It is told what somebody has to do with
 * which items, and reads nothing about people, so who calls it learns nothing but what the models say to all.
 */
create or replace function recommend._rank_items(
  kind text,
  items bigint[],
  strengths real[],
  left_out bigint[],
  top int
)
returns setof recommend.recommendation
language plpgsql
stable
parallel safe
security definer
set search_path from current
set jit to off
as $$
declare
  v_most_reasons constant int := (select most_reasons from recommend.setting);
  v_left_out constant bigint[] := coalesce(left_out, '{}');
  v_asked_at constant text := floor(extract(epoch from now()))::text;
  v_secret recommend.secret;
  v_model ml.model;
  v_numbers int[];
  v_items bigint[];
  v_external_ids text[];
  v_titles text[];
begin
  select * into v_secret
  from recommend.secret;
  select * into v_model
  from recommend._deployed_model(_rank_items.kind);

  if exists (
    select
    from unnest(_rank_items.items) as taken (item_id)
    join recommend.item_weight on item_weight.model_id = v_model.model_id and item_weight.item_id = taken.item_id
  ) then
    with part as (
      select taken.strength, sum(item_weight.weights) as weights
      from unnest(_rank_items.items, _rank_items.strengths) as taken (item_id, strength)
      join recommend.item_weight on item_weight.model_id = v_model.model_id and item_weight.item_id = taken.item_id
      group by taken.strength
    ),

    -- Rows of one strength were summed before they are multiplied by it: mostly all are 1.
    total as (
      select sum(
        case
          when part.strength = 1 then part.weights
          else part.weights * array_fill(part.strength, array[vector_dims(part.weights)])::vector
        end
      ) as scores
      from part
    ),

    scored as (
      select entry.item_no, entry.score
      from total
      cross join lateral unnest(total.scores::real[]) with ordinality as entry (score, item_no)
      order by entry.score desc, entry.item_no
    ),

    -- In order, until there are enough: items are looked up for a few of the scores only.
    best as (
      select scored.item_no, item.item_id, item.external_id, item.title
      from scored
      join recommend.item_weight on item_weight.model_id = v_model.model_id and item_weight.item_no = scored.item_no
      join track.item on item.item_id = item_weight.item_id
      where item.kind = _rank_items.kind
        and item.item_id <> all (v_left_out)
        and (item.available_from is null or item.available_from <= now())
        and (item.available_until is null or item.available_until > now())
      order by scored.score desc, scored.item_no
      limit _rank_items.top
    )

    select array_agg(best.item_no), array_agg(best.item_id), array_agg(best.external_id), array_agg(best.title)
    into v_numbers, v_items, v_external_ids, v_titles
    from best;

    return query
    /*
     * What each item adds to each of the best. B[i,j] = -P[i,j] / P[j,j] and P is symmetric, so B[i,j] = B[j,i] P[i,i] / P[j,j]:
     * the rows of the few best tell it as well as those of the many items of the person.
     */
    with known as (
      select item_weight.item_id, item_weight.item_no, item_weight.diagonal, taken.strength
      from unnest(_rank_items.items, _rank_items.strengths) as taken (item_id, strength)
      join recommend.item_weight on item_weight.model_id = v_model.model_id and item_weight.item_id = taken.item_id
      where taken.strength > 0
    ),

    best as materialized (
      select found.n, item_weight.diagonal, item_weight.weights::real[] as weights
      from unnest(v_numbers) with ordinality as found (item_no, n)
      join recommend.item_weight on item_weight.model_id = v_model.model_id and item_weight.item_no = found.item_no
    ),

    contribution as materialized (
      select
        best.n,
        known.item_id as because_id,
        known.strength::float8 * best.weights[known.item_no] * known.diagonal / best.diagonal as contribution
      from best
      cross join known
    ),

    placed as (
      select
        contribution.*,
        row_number() over (
          partition by contribution.n
          order by abs(contribution.contribution) desc, contribution.because_id
        ) as place
      from contribution
    ),

    explained as (
      select
        placed.n,
        -- To the last bit what the reasons add up to in the order in which they are given.
        sum(placed.contribution order by placed.place) filter (where placed.place <= v_most_reasons)
          + coalesce(sum(placed.contribution order by placed.place) filter (where placed.place > v_most_reasons), 0) as score,
        array_agg(placed.because_id order by placed.place) filter (where placed.place <= v_most_reasons) as because_ids,
        array_agg(placed.contribution order by placed.place) filter (where placed.place <= v_most_reasons) as contributions,
        count(*) - v_most_reasons as other_count,
        sum(placed.contribution order by placed.place) filter (where placed.place > v_most_reasons) as other_contribution
      from placed
      group by placed.n
    ),

    ranked as (
      select
        row_number() over (order by explained.score desc, explained.n) as rank,
        v_items[explained.n] as item_id,
        explained.*
      from explained
    )

    select
      ranked.rank::int,
      ranked.item_id,
      v_external_ids[ranked.n],
      v_titles[ranked.n],
      ranked.score,
      array(
        select row('item', named.external_id, named.title, because.contribution)::recommend.reason
        from unnest(ranked.because_ids, ranked.contributions) with ordinality as because (item_id, contribution, place)
        cross join lateral (
          -- One look-up each: the planner would rather read all items.
          select item.external_id, item.title
          from track.item
          where item.item_id = because.item_id
          offset 0
        ) as named
        order by because.place
      ) || case
        when ranked.other_count > 0
          then array[row('others', null, format('%s more', ranked.other_count), ranked.other_contribution)::recommend.reason]
        else '{}'
      end,
      'model',
      v_model.version,
      recommend._sign(concat_ws('.', v_model.model_id, ranked.item_id, ranked.rank, 1, v_asked_at), v_secret.inner_key, v_secret.outer_key)
    from ranked
    order by ranked.rank;
    return;
  end if;

  -- Somebody of whom nothing is known: by the number of people, recent use counting more.
  return query
  with counted as (
    select popular.item_id, popular.popularity
    from recommend._popularity(_rank_items.kind) as popular
  ),

  ranked as (
    select
      row_number() over (order by counted.popularity desc, item.item_id) as rank,
      item.item_id,
      item.external_id,
      item.title,
      counted.popularity
    from counted
    join track.item using (item_id)
    where item.item_id <> all (v_left_out)
      and (item.available_from is null or item.available_from <= now())
      and (item.available_until is null or item.available_until > now())
    order by counted.popularity desc, item.item_id
    limit _rank_items.top
  )

  select
    ranked.rank::int,
    ranked.item_id,
    ranked.external_id,
    ranked.title,
    ranked.popularity,
    array[row('popularity', null, 'Popular with everybody', ranked.popularity)::recommend.reason],
    'popularity',
    null::int,
    recommend._sign(concat_ws('.', 0, ranked.item_id, ranked.rank, 1, v_asked_at), v_secret.inner_key, v_secret.outer_key)
  from ranked
  order by ranked.rank;
end;
$$;

comment on function recommend._rank_items(text, bigint[], real[], bigint[], int) is $$
@behavior -*
The best items of a kind for somebody with this history: by the deployed model, or by popularity where the model knows none of the items.
Items that are not available now and those to be left out are not among them.
$$;

grant execute on function recommend._rank_items(text, bigint[], real[], bigint[], int) to insights_reader, insights_learner;
--! EndIncluded recommend/functions/_rank_items.sql
--! Included recommend/functions/_recommend.sql
create or replace function recommend._recommend(
  person_id bigint,
  top int,
  kind text
)
returns setof recommend.recommendation
language sql
stable
parallel safe
begin atomic
  select recommendation.*
  from (
    select
      array_agg(history.item_id) as items,
      array_agg(history.strength) as strengths,
      array_agg(history.item_id) filter (where history.is_left_out) as left_out
    from recommend._history(_recommend.person_id, _recommend.kind) as history
  ) as known
  cross join lateral recommend._rank_items(_recommend.kind, known.items, known.strengths, known.left_out, _recommend.top) as recommendation;
end;

comment on function recommend._recommend(bigint, int, text) is $$
@behavior -*
Recommendations for a person, with the caller's own right to see what the person did.
$$;

grant execute on function recommend._recommend(bigint, int, text) to insights_reader, insights_learner;
--! EndIncluded recommend/functions/_recommend.sql
--! Included recommend/functions/for_me.sql
create or replace function recommend.for_me(
  top int default 10,
  kind text default 'course'
)
returns setof recommend.recommendation
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
as $$
begin
  perform recommend._check(for_me.top, for_me.kind);
  return query
  select *
  from recommend._recommend(track.current_person_id(), for_me.top, for_me.kind);
end;
$$;

comment on function recommend.for_me(int, text) is $$
Items for the person who is signed in, best first, each with reasons that add up to its score.
Left out is what the person has taken, finished, dismissed or is enrolled in, and what is not available now. An event counts from the moment that it is stored.
Of whom nothing is known, or who objected to `personalization`, gets what is popular.
Errors: CF001 for `top`, CF002 for a kind that no item has.
$$;

grant execute on function recommend.for_me(int, text) to insights_learner;
--! EndIncluded recommend/functions/for_me.sql
--! Included recommend/functions/for_person.sql
/* A definer of insights_reader: workers and admins ask for anybody, and need no right on the tables for it. */
create or replace function recommend.for_person(
  person text,
  top int default 10,
  kind text default 'course'
)
returns setof recommend.recommendation
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set jit to off
as $$
begin
  if nullif(btrim(for_person.person), '') is null then
    raise exception using
      errcode = 'CF001',
      message = 'the person is ' || coalesce('"' || for_person.person || '"', 'null'),
      hint = 'Give the userId or anonymousId that was sent with events.';
  end if;
  perform recommend._check(for_person.top, for_person.kind);
  return query
  select *
  from recommend._recommend(track.find_person(for_person.person), for_person.top, for_person.kind);
end;
$$;

alter function recommend.for_person(text, int, text) owner to insights_reader;

comment on function recommend.for_person(text, int, text) is $$
Items for a person, by the `userId` or `anonymousId` that the application knows, best first, each with reasons that add up to its score.
Left out is what the person has taken, finished, dismissed or is enrolled in, and what is not available now. An event counts from the moment that it is stored.
A stranger, and who objected to `personalization`, gets what is popular: then `basis` says so.
Errors: CF001 for an empty name or `top`, CF002 for a kind that no item has.
$$;

grant execute on function recommend.for_person(text, int, text) to insights_admin, insights_worker;
--! EndIncluded recommend/functions/for_person.sql
--! Included recommend/functions/similar_items.sql
/* A definer: the weights are granted to nobody. */
create or replace function recommend.similar_items(
  item text,
  top int default 10
)
returns setof recommend.similar_item
language plpgsql
stable
parallel safe
security definer
set search_path from current
set jit to off
as $$
declare
  v_item track.item;
  v_model ml.model;
  v_weights real[];
begin
  if similar_items.top is null or similar_items.top not between 1 and 1000 then
    raise exception using
      errcode = 'CF001',
      message = format('top is %s', coalesce(similar_items.top::text, 'null')),
      hint = 'Give a number from 1 to 1000.';
  end if;

  if length(similar_items.item) > 512 then
    raise exception using
      errcode = 'CF008',
      message = format('item has %s characters', length(similar_items.item)),
      hint = 'The name of an item has 512 at most.';
  end if;

  select * into v_item
  from track.item as known
  where known.external_id = similar_items.item;
  if not found then
    raise exception using
      errcode = 'CF002',
      message = format('there is no item "%s"', coalesce(left(similar_items.item, 100), 'null')),
      hint = coalesce(
        'Did you mean "' || ml._nearest(
          similar_items.item,
          (
            select array_agg(near.external_id)
            from (
              select known.external_id
              from track.item as known
              where known.kind = 'course' or starts_with(known.external_id, left(similar_items.item, 3))
              limit 1000
            ) as near
          )
        ) || '"?',
        'Give an item by the name that was sent with events.'
      );
  end if;

  select * into v_model
  from recommend._deployed_model(v_item.kind);
  if not found then
    raise exception using
      errcode = 'CF006',
      message = format('no recommender is trained for items of kind "%s"', v_item.kind),
      hint = format('A worker does it on schedule; now: select * from recommend.train(%L).', v_item.kind);
  end if;

  select item_weight.weights::real[] into v_weights
  from recommend.item_weight
  where item_weight.model_id = v_model.model_id
    and item_weight.item_id = v_item.item_id;
  if not found then
    raise exception using
      errcode = 'CF006',
      message = format('version %s of the recommender does not know "%s"', v_model.version, left(similar_items.item, 100)),
      hint = 'Nobody had taken it when the version was trained; a later version will know it.';
  end if;

  return query
  select
    row_number() over (order by entry.weight desc, other.item_id)::int,
    other.item_id,
    other.external_id,
    other.title,
    entry.weight::float8
  from unnest(v_weights) with ordinality as entry (weight, item_no)
  join recommend.item_weight on item_weight.model_id = v_model.model_id and item_weight.item_no = entry.item_no
  join track.item as other on other.item_id = item_weight.item_id
  where other.item_id <> v_item.item_id
    and entry.weight > 0
    and (other.available_from is null or other.available_from <= now())
    and (other.available_until is null or other.available_until > now())
  order by entry.weight desc, other.item_id
  limit similar_items.top;
end;
$$;

comment on function recommend.similar_items(text, int) is $$
Items that go with an item, strongest first: what interest in it says for them, with what all other items say taken into account (a partial correlation, not a mere count of common people).
Only items of the same kind that are available now and that it speaks for.
Errors: CF001 for `top`, CF002 for an unknown item (names the nearest), CF006 where no model is trained, or the model does not know the item.
$$;

grant execute on function recommend.similar_items(text, int) to insights_learner, insights_analyst, insights_admin, insights_worker;
--! EndIncluded recommend/functions/similar_items.sql
--! Included recommend/functions/train.sql
create or replace function recommend._training_rows(kind text)
returns table (person_id bigint, item_id bigint, strength real, first_at timestamptz, last_at timestamptz)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_full_weight constant real := (select full_weight from recommend.setting);
  v_by_default constant boolean := (
    select purpose.basis <> 'consent'
    from privacy.purpose
    where purpose.purpose = 'personalization'
  );
begin
  return query
  with leaf as (
    select interaction.person_id, interaction.item_id, interaction.weight, interaction.first_at, interaction.last_at
    from recommend.interaction

    union all

    -- What the application says: enrolled is taken.
    select enrolment.person_id, enrolment.item_id, v_full_weight, enrolment.enrolled_at, enrolment.enrolled_at
    from track.enrolment
    where enrolment.person_id <> 0
  ),

  allowed as (
    select leaf.*
    from leaf
    -- Allowed unless decided otherwise, or the other way round.
    where v_by_default <> (
      leaf.person_id in (
        select decision.person_id
        from privacy.latest_decisions('personalization') as decision
        where decision.granted <> v_by_default
      )
    )
  )

  select
    allowed.person_id,
    target.item_id,
    least(sum(allowed.weight) / v_full_weight, 1)::real,
    min(allowed.first_at),
    max(allowed.last_at)
  from allowed
  join track.item_ancestor as ancestor on ancestor.item_id = allowed.item_id
  join track.item as target on target.item_id = ancestor.ancestor_item_id
  where target.kind = _training_rows.kind
  group by allowed.person_id, target.item_id
  having sum(allowed.weight) > 0;
end;
$$;

comment on function recommend._training_rows(text) is $$
@behavior -*
What everybody who may be learned from has to do with the items of a kind, by the same rules as `recommend._history`.
$$;

create or replace function recommend._held_out_ranks(
  items bigint[],
  weights vector[]
)
returns table (is_tuning boolean, rank float8)
language plpgsql
volatile
set search_path from current
set jit to off
as $$
begin
  return query
  with model as materialized (
    select entry.item_id, entry.item_no, (_held_out_ranks.weights)[entry.item_no] as weights
    from unnest(_held_out_ranks.items) with ordinality as entry (item_id, item_no)
  ),

  held as (
    select training.person_id, training.is_tuning, model.item_no
    from pg_temp.training
    left join model using (item_id)
    where training.is_held_out
  ),

  history as materialized (
    select training.person_id, model.item_no, training.strength
    from pg_temp.training
    join model using (item_id)
    where not training.is_held_out
      and training.person_id in (select held.person_id from held)
  ),

  scored as materialized (
    select
      history.person_id,
      array_agg(history.item_no) as known,
      sum(
        case
          when history.strength = 1 then model.weights
          else model.weights * array_fill(history.strength, array[vector_dims(model.weights)])::vector
        end
      )::real[] as scores
    from history
    join model using (item_no)
    where _held_out_ranks.weights is not null
    group by history.person_id

    union all

    -- Without weights: by popularity, the same for everybody.
    select own.person_id, own.known, popular.scores
    from (
      select history.person_id, array_agg(history.item_no) as known
      from history
      group by history.person_id
    ) as own
    cross join (
      select array_agg(counted.people order by counted.item_no) as scores
      from (
        select model.item_no, count(training.person_id)::real as people
        from model
        left join pg_temp.training on training.item_id = model.item_id and not training.is_held_out
        group by model.item_no
      ) as counted
    ) as popular
    where _held_out_ranks.weights is null
  )

  -- 1 + what scores above it + half of what ties, among all items less those of the person's.
  select
    held.is_tuning,
    case
      when held.item_no is not null and scored.person_id is not null then (
        select
          1 + coalesce(sum(entry.factor) filter (where entry.score > scored.scores[held.item_no]), 0)
          + coalesce(sum(entry.factor) filter (where entry.score = scored.scores[held.item_no]) - 1, 0) / 2.0::float8
        from (
          select 1 as factor, score from unnest(scored.scores) as score
          union all
          select -1, scored.scores[item_no] from unnest(scored.known) as item_no
        ) as entry
      )
    end
  from held
  left join scored using (person_id);
end;
$$;

comment on function recommend._held_out_ranks(bigint[], vector[]) is $$
@behavior -*
At which rank a model would have put the item that each test person of a training took last, among all that the person had not taken; null: not at all. `weights` null: by popularity.
$$;

/*
 * A definer: it reads what everybody did and writes models, and is granted to those who run the installation. All in one
 * transaction: a training that is cut short leaves nothing, and the version in force stays in force.
 */
create or replace function recommend.train(
  kind text default 'course',
  seed bigint default 1
)
returns recommend.training
language plpgsql
volatile
security definer
set search_path from current
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
declare
  v_started_at constant timestamptz := clock_timestamp();
  v_setting recommend.setting;
  v_project_id int;
  v_former ml.model;
  v_model_id bigint;
  v_watermark timestamptz;
  v_gram record;
  v_items bigint[];
  v_inverse vector[];
  v_lambda float8;
  v_best_ndcg float8;
  v_ndcg float8;
  v_ndcg_error float8;
  v_harder float8;
  v_people_with_two int;
  v_test_count int := 0;
  v_result recommend.training;
begin
  perform recommend._check(1, train.kind);
  if train.seed is null then
    raise exception using errcode = 'CF001', message = 'the seed is null',
      hint = 'Give a number: the same seed and data give the same model.';
  end if;
  if not pg_try_advisory_xact_lock(hashtext('recommend.train'), hashtext(train.kind)) then
    raise exception using errcode = 'CF010', message = format('the recommender of kind "%s" is being trained already', left(train.kind, 100)),
      hint = 'Wait until that is done.';
  end if;
  select * into v_setting from recommend.setting;
  v_result.kind := train.kind;

  create temporary table training on commit drop as
  select rows_.*, false as is_held_out, false as is_tuning
  from recommend._training_rows(train.kind) as rows_;
  analyze pg_temp.training;

  select count(*) filter (where owned.item_count > 1), count(*), sum(owned.item_count), max(owned.last_at)
  into v_people_with_two, v_result.people, v_result.interactions, v_watermark
  from (
    select person_id, count(*) as item_count, max(last_at) as last_at
    from pg_temp.training
    group by person_id
  ) as owned;

  if v_people_with_two < v_setting.fewest_people then
    raise exception using
      errcode = 'CF004',
      message = format('too little is known to learn from: %s people have to do with two or more items of kind "%s"', v_people_with_two, left(train.kind, 100)),
      hint = format(
        'At least %s are needed (recommend.setting.fewest_people). Import or simulate events, see that items have that kind and recommend.event_weight their events, and run recommend.refresh_interactions.',
        v_setting.fewest_people
      );
  end if;

  -- The item that a person took last is held out, as it is what a recommendation should have been.
  with last_taken as (
    select distinct on (taken.person_id) taken.person_id, taken.item_id
    from (
      select training.*, count(*) over (partition by training.person_id) as item_count
      from pg_temp.training
    ) as taken
    where taken.item_count > 1
      and taken.strength = 1
    order by taken.person_id, taken.first_at desc, taken.item_id
  ),

  sample as (
    select
      last_taken.*,
      row_number() over (order by hashint8extended(last_taken.person_id, train.seed), last_taken.person_id) as n
    from last_taken
  )

  update pg_temp.training
  set is_held_out = true, is_tuning = sample.n % 2 = 0
  from sample
  where sample.n <= v_setting.most_test_people
    and training.person_id = sample.person_id
    and training.item_id = sample.item_id;
  get diagnostics v_test_count = row_count;

  -- One half of the test people chooses the ridge, the other half measures the model; few of them do both.
  if v_test_count < 40 then
    update pg_temp.training set is_tuning = null where is_held_out;
  end if;
  analyze pg_temp.training;

  v_lambda := v_setting.lambdas[1];
  if v_test_count > 0 then
    select * into v_gram
    from ml._ease_gram('pg_temp.training', 'person_id', 'item_id', 'case when not is_held_out then strength end');
    v_items := v_gram.items::bigint[];

    for v_position in 1..cardinality(v_setting.lambdas) loop
      v_inverse := ml.ease_weights(ml._ease_inverse(v_gram.gram, v_setting.lambdas[v_position]));
      create temporary table held_out_rank on commit drop as
      select * from recommend._held_out_ranks(v_items, v_inverse);

      select avg(case when rank <= 10 then ln(2) / ln(1 + rank) else 0 end) filter (where is_tuning is not false)
      into v_ndcg
      from pg_temp.held_out_rank;

      if v_best_ndcg is null or v_ndcg > v_best_ndcg then
        v_best_ndcg := v_ndcg;
        v_lambda := v_setting.lambdas[v_position];
        select
          count(*),
          avg(case when rank <= 10 then ln(2) / ln(1 + rank) else 0 end),
          coalesce(stddev(case when rank <= 10 then ln(2) / ln(1 + rank) else 0 end) / sqrt(count(*)), 0),
          avg(case when rank <= 10 then 1 else 0 end)
        into v_result.test_people, v_result.ndcg_at_10, v_ndcg_error, v_result.recall_at_10
        from pg_temp.held_out_rank
        where is_tuning is not true;
      end if;
      drop table pg_temp.held_out_rank;
    end loop;

    select
      avg(case when rank <= 10 then ln(2) / ln(1 + rank) else 0 end),
      avg(case when rank <= 10 then 1 else 0 end)
    into v_result.popularity_ndcg_at_10, v_result.popularity_recall_at_10
    from recommend._held_out_ranks(v_items, null)
    where is_tuning is not true;
  end if;

  -- The model itself learns from everything.
  select * into v_gram
  from ml._ease_gram('pg_temp.training', 'person_id', 'item_id', 'strength');
  v_items := v_gram.items::bigint[];
  v_inverse := ml._ease_inverse(v_gram.gram, v_lambda);
  v_result.items := cardinality(v_items);
  v_result.lambda := v_lambda;
  drop table pg_temp.training;

  insert into ml.project (name, task, metric, description)
  values (
    'recommend.' || train.kind, 'recommendation', 'ndcg_at_10',
    format('Which %s a person will take next.', train.kind)
  )
  on conflict (name) do nothing;
  select project_id into v_project_id from ml.project where name = 'recommend.' || train.kind;
  select * into v_former from recommend._deployed_model(train.kind);

  insert into ml.model (
    project_id, version, algorithm, parameters, metrics, seed, data_watermark, row_count, trained_at, duration
  )
  values (
    v_project_id,
    (select coalesce(max(version), 0) + 1 from ml.model where project_id = v_project_id),
    'ease',
    jsonb_build_object('lambda', v_lambda, 'lambdas', v_setting.lambdas, 'full_weight', v_setting.full_weight),
    jsonb_strip_nulls(jsonb_build_object(
      'ndcg_at_10', v_result.ndcg_at_10,
      'ndcg_at_10_standard_error', v_ndcg_error,
      'recall_at_10', v_result.recall_at_10,
      'popularity_ndcg_at_10', v_result.popularity_ndcg_at_10,
      'popularity_recall_at_10', v_result.popularity_recall_at_10,
      'test_people', v_result.test_people,
      'people', v_result.people,
      'items', v_result.items,
      'protocol', 'leave last item out, ranked among all items not taken'
    )),
    train.seed, v_watermark, v_result.interactions, clock_timestamp(), clock_timestamp() - v_started_at
  )
  returning model_id, version into v_model_id, v_result.version;

  insert into recommend.item_weight (model_id, item_no, item_id, diagonal, weights)
  select v_model_id, entry.n, entry.item_id, (entry.inverse::real[])[entry.n], entry.weights
  from rows from (unnest(v_items), unnest(v_inverse), unnest(ml.ease_weights(v_inverse))) with ordinality
    as entry (item_id, inverse, weights, n);

  -- Newer data are a reason to deploy, unless the version is worse by more than chance (two standard errors). Other people and
  -- other items make another task, and how hard it is, popularity tells: the former figure is held against it in proportion.
  v_harder := coalesce(v_result.popularity_ndcg_at_10 / nullif((v_former.metrics ->> 'popularity_ndcg_at_10')::float8, 0), 1);
  v_ndcg := (v_former.metrics ->> 'ndcg_at_10')::float8 * v_harder;
  v_result.reason := case
    when v_former.model_id is null then 'first'
    when v_result.ndcg_at_10 is null or v_ndcg is null then 'newest'
    when v_result.ndcg_at_10 > v_ndcg then 'better'
    when v_result.ndcg_at_10 >= v_ndcg - 2 * sqrt(
      v_ndcg_error ^ 2 + coalesce((v_former.metrics ->> 'ndcg_at_10_standard_error')::float8 * v_harder, 0) ^ 2
    ) then 'newest'
    else 'worse'
  end;
  v_result.deployed := v_result.reason <> 'worse';
  if v_result.deployed then
    insert into ml.deployment (project_id, model_id, strategy)
    values (v_project_id, v_model_id, v_result.reason);
  end if;

  delete from recommend.item_weight
  using ml.model
  where item_weight.model_id = model.model_id
    and model.project_id = v_project_id
    and model.version <= v_result.version - v_setting.versions_kept
    and model.model_id <> (select model_id from recommend._deployed_model(train.kind));

  v_result.duration := clock_timestamp() - v_started_at;
  update ml.model set duration = v_result.duration where model_id = v_model_id;
  return v_result;
end;
$$;

comment on function recommend.train(text, bigint) is $$
Trains the recommender of a kind of items (EASE) on all interactions and enrolments, measures it, registers it as a new version of `recommend.<kind>` in `ml.model`, and deploys it unless it is worse than the version in force by more than chance, popularity being the yardstick between them.
Measured on up to `most_test_people` people: the item that each took last is held out and ranked among all that the person had not taken; NDCG@10 and recall@10 beside those of popularity. Half of these people choose the ridge, the other half measure.
People who objected to `personalization` are not learned from. The same seed and data give the same model.
Errors: CF002 for a kind that no item has, CF004 for too little to learn from, CF008 for more than 16,000 items, CF010 while the same training runs.
$$;

grant execute on function recommend.train(text, bigint) to insights_admin, insights_worker;
--! EndIncluded recommend/functions/train.sql
--! Included recommend/functions/due_trainings.sql
/* A definer: it counts what everybody did, and tells no more than the kinds. */
create or replace function recommend.due_trainings(share float8 default 0.1)
returns setof text
language plpgsql
stable
security definer
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_fewest_people constant int := (select fewest_people from recommend.setting);
  v_known record;
  v_interactions bigint;
  v_people bigint;
begin
  for v_known in
    select known.kind, latest.data_watermark, latest.row_count
    from (
      select 'course' as kind

      union

      select substr(project.name, length('recommend.') + 1)
      from ml.project
      where starts_with(project.name, 'recommend.')
    ) as known
    left join lateral (
      select model.data_watermark, model.row_count
      from ml.project
      join ml.model on model.project_id = project.project_id
      where project.name = 'recommend.' || known.kind
      order by model.version desc
      limit 1
    ) as latest on true
    order by known.kind
  loop
    select coalesce(sum(owned.item_count), 0), count(*) filter (where owned.item_count > 1)
    into v_interactions, v_people
    from (
      select interaction.person_id, count(distinct ancestor.ancestor_item_id) as item_count
      from recommend.interaction
      join track.item_ancestor as ancestor on ancestor.item_id = interaction.item_id
      join track.item on item.item_id = ancestor.ancestor_item_id
      where item.kind = v_known.kind
        and interaction.weight > 0
        and interaction.last_at > coalesce(v_known.data_watermark, '-infinity')
      group by interaction.person_id
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
The kinds of items whose recommender should be trained.
That is: it never was, while `recommend.setting.fewest_people` have to do with two or more items; or as many interactions are newer than what the latest version saw as make up the given share of what it learned from.
$$;

grant execute on function recommend.due_trainings(float8) to insights_worker;
--! EndIncluded recommend/functions/due_trainings.sql
--! Included recommend/policies.sql
/* Learners see what concerns themselves, admins all of it. Weights and the secret are for the room's own functions. */

grant select on recommend.setting, recommend.event_weight to insights_reader, insights_learner, insights_analyst, insights_admin, insights_worker;
grant update (full_weight, lambdas, fewest_people, most_test_people, versions_kept, most_reasons) on recommend.setting to insights_admin;
grant insert, update, delete on recommend.event_weight to insights_admin;
grant select on recommend.interaction to insights_reader, insights_learner, insights_admin;

drop policy if exists everybody on recommend.setting;
create policy everybody on recommend.setting for select using (true);
drop policy if exists admins_change on recommend.setting;
create policy admins_change on recommend.setting for update to insights_admin using (true);
drop policy if exists everybody on recommend.event_weight;
create policy everybody on recommend.event_weight for select using (true);
drop policy if exists admins_change on recommend.event_weight;
create policy admins_change on recommend.event_weight to insights_admin using (true) with check (true);

drop policy if exists own on recommend.interaction;
create policy own on recommend.interaction for select to insights_learner
using (person_id <> 0 and person_id = nullif(current_setting('insights.person_id', true), '')::bigint);
drop policy if exists all_people on recommend.interaction;
create policy all_people on recommend.interaction for select to insights_reader, insights_admin, insights_worker using (true);
--! EndIncluded recommend/policies.sql

-- monitor
--! Included monitor/functions/start_run.sql
create or replace function monitor.start_run(task text)
returns bigint
language sql
volatile
-- A definer: workers write monitor.run through these functions only.
security definer
set search_path to pg_catalog, pg_temp
as $$
  insert into monitor.run (task) values (start_run.task) returning run_id;
$$;

comment on function monitor.start_run(text) is $$
@behavior -mutationField
Notes that a task begins; returns the key of its run. Commit before the work begins, so that a killed run leaves a trace.
$$;

grant execute on function monitor.start_run(text) to insights_worker;
--! EndIncluded monitor/functions/start_run.sql
--! Included monitor/functions/finish_run.sql
create or replace function monitor.finish_run(run_id bigint, row_count bigint default null, detail jsonb default null)
returns void
language sql
volatile
-- A definer: workers write monitor.run through these functions only.
security definer
set search_path to pg_catalog, pg_temp
as $$
  update monitor.run
  set outcome = 'ok', finished_at = clock_timestamp(), row_count = finish_run.row_count, detail = finish_run.detail
  where run.run_id = finish_run.run_id
    and outcome = 'running';
$$;

comment on function monitor.finish_run(bigint, bigint, jsonb) is $$
@behavior -mutationField
Notes that a run ended well, with how many rows it wrote or removed.
$$;

grant execute on function monitor.finish_run(bigint, bigint, jsonb) to insights_worker;
--! EndIncluded monitor/functions/finish_run.sql
--! Included monitor/functions/fail_run.sql
create or replace function monitor.fail_run(run_id bigint, error text)
returns void
language sql
volatile
-- A definer: workers write monitor.run through these functions only.
security definer
set search_path to pg_catalog, pg_temp
as $$
  update monitor.run
  set outcome = 'failed', finished_at = clock_timestamp(), error = left(fail_run.error, 10000)
  where run.run_id = fail_run.run_id
    and outcome = 'running';
$$;

comment on function monitor.fail_run(bigint, text) is $$
@behavior -mutationField
Notes that a run ended with an error.
$$;

grant execute on function monitor.fail_run(bigint, text) to insights_worker;
--! EndIncluded monitor/functions/fail_run.sql
--! Included monitor/functions/forget_runs.sql
create or replace function monitor.forget_runs(older_than interval default '90 days')
returns bigint
language plpgsql
volatile
-- A definer: workers have no right to delete from monitor.run.
security definer
set search_path to pg_catalog, pg_temp
as $$
declare
  v_forgotten bigint;
begin
  if forget_runs.older_than is null or forget_runs.older_than < '1 day' then
    raise exception using
      errcode = 'CF001',
      message = format('older_than is %s', coalesce(forget_runs.older_than::text, 'null')),
      hint = 'Give an interval of a day or more.';
  end if;

  -- The latest run of a task stays, however old: it says when the task was last seen.
  delete from monitor.run
  where run.started_at < now() - forget_runs.older_than
    and exists (
      select
      from monitor.run as later
      where later.task = run.task
        and later.started_at > run.started_at
    );
  get diagnostics v_forgotten = row_count;
  return v_forgotten;
end;
$$;

comment on function monitor.forget_runs(interval) is $$
@behavior -mutationField
Deletes the record of runs that began longer ago, all but the latest of each task; returns how many.
Errors: CF001 for less than a day.
$$;

grant execute on function monitor.forget_runs(interval) to insights_worker;
--! EndIncluded monitor/functions/forget_runs.sql
--! Included monitor/policies.sql
grant select on monitor.run to insights_reader, insights_analyst, insights_admin, insights_worker;

drop policy if exists everybody on monitor.run;
create policy everybody on monitor.run for select using (true);
--! EndIncluded monitor/policies.sql
--! EndIncluded all.sql
--! EndIncluded install.sql

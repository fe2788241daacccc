-- Changes of structure since the last release: see migrations/README.md.

create type ml.tree_growth as (
  criterion text,
  lambda float8,
  min_gain float8,
  max_depth int,
  min_rows int,
  min_split int,
  min_weight float8,
  features_per_node int
);

comment on type ml.tree_growth is $$
How a tree is grown.
$$;
comment on column ml.tree_growth.criterion is $$
Measure of a split: `entropy`, `misclassification`, or the squares of sums (`gini`, `mse`, `newton`).
$$;
comment on column ml.tree_growth.lambda is $$Penalty that is added to the weight of a node.$$;
comment on column ml.tree_growth.min_gain is $$Least gain of a split.$$;
comment on column ml.tree_growth.max_depth is $$Largest depth; the root has depth 0.$$;
comment on column ml.tree_growth.min_rows is $$Least number of rows of a leaf.$$;
comment on column ml.tree_growth.min_split is $$Least number of rows of a node that is split.$$;
comment on column ml.tree_growth.min_weight is $$Least weight of a leaf.$$;
comment on column ml.tree_growth.features_per_node is $$Number of features drawn for each split; null: all.$$;

create type ml.tree_design as (
  method text,
  relation regclass,
  output text,
  groups text[],
  id text,
  dependent text,
  dependent_type regtype,
  classifies boolean,
  weights text,
  validation text,
  features text[],
  num_bins int,
  num_trees int,
  sample_ratio float8,
  cp float8,
  seed bigint,
  growth ml.tree_growth
);

comment on type ml.tree_design is $$
Checked arguments of a training of trees.
$$;
comment on column ml.tree_design.method is $$`gbm`, `tree_train` or `forest_train`.$$;
comment on column ml.tree_design.relation is $$Table or view with the rows.$$;
comment on column ml.tree_design.output is $$Qualified name of the table of nodes.$$;
comment on column ml.tree_design.groups is $$Quoted names of the grouping columns; empty without groups.$$;
comment on column ml.tree_design.id is $$Quoted name of the id column.$$;
comment on column ml.tree_design.dependent is $$Dependent variable, as the caller wrote it.$$;
comment on column ml.tree_design.dependent_type is $$Its type.$$;
comment on column ml.tree_design.classifies is $$Whether its values are classes, each with an output of its own.$$;
comment on column ml.tree_design.weights is $$Weight of a row, as the caller wrote it; null: 1.$$;
comment on column ml.tree_design.validation is $$Condition of the rows that are not trained on; null: none.$$;
comment on column ml.tree_design.features is $$Features, as quoted names or expressions.$$;
comment on column ml.tree_design.num_bins is $$Largest number of bins of a feature.$$;
comment on column ml.tree_design.num_trees is $$Number of trees, for boosted classes of each class.$$;
comment on column ml.tree_design.sample_ratio is $$
Expected number of copies of a row for each tree of a forest; null for one tree.
$$;
comment on column ml.tree_design.cp is $$Complexity parameter of the pruning; 0 prunes nothing.$$;
comment on column ml.tree_design.seed is $$Seed of all draws.$$;
comment on column ml.tree_design.growth is $$How each tree is grown.$$;

create type ml.tree_fit as (
  gid int,
  levels text[],
  outputs int,
  types text[],
  categories jsonb,
  usable int[],
  codes text,
  mean float8,
  squares float8,
  row_count bigint,
  validation_count bigint,
  skipped bigint,
  oob_error float8,
  failure text
);

comment on type ml.tree_fit is $$
Figures of one group in a training of trees, or of all rows without groups.
$$;
comment on column ml.tree_fit.gid is $$Number of the group, from 1.$$;
comment on column ml.tree_fit.levels is $$Classes, in the order of the outputs; null for numbers.$$;
comment on column ml.tree_fit.outputs is $$Number of outputs: classes, or 1.$$;
comment on column ml.tree_fit.types is $$`number` or `category`, for each feature.$$;
comment on column ml.tree_fit.categories is $$Known categories of the features that are text, by name.$$;
comment on column ml.tree_fit.usable is $$Numbers of the features that vary.$$;
comment on column ml.tree_fit.codes is $$Columns of their codes, as a select list.$$;
comment on column ml.tree_fit.mean is $$Weighted mean of the dependent variable.$$;
comment on column ml.tree_fit.squares is $$Weighted sum of its squared deviations.$$;
comment on column ml.tree_fit.row_count is $$Number of rows trained on.$$;
comment on column ml.tree_fit.validation_count is $$Number of rows for validation.$$;
comment on column ml.tree_fit.skipped is $$Number of rows without a dependent variable or weight.$$;
comment on column ml.tree_fit.oob_error is $$
Error of a forest on rows that its trees did not see; null for other models.
$$;
comment on column ml.tree_fit.failure is $$Reason why the group has no model; null when it has one.$$;

create type ml.boosting as (
  objective text,
  learning_rate float8,
  row_sample float8,
  feature_sample float8,
  early_stopping_rounds int,
  base float8[]
);

comment on type ml.boosting is $$
How trees are boosted.
$$;
comment on column ml.boosting.objective is $$`squared_error`, `logistic` or `softmax`.$$;
comment on column ml.boosting.learning_rate is $$Factor of what each tree adds.$$;
comment on column ml.boosting.row_sample is $$Share of the rows drawn for each round.$$;
comment on column ml.boosting.feature_sample is $$Share of the features drawn for each round.$$;
comment on column ml.boosting.early_stopping_rounds is $$
Number of rounds without a lower loss of the rows for validation that ends the training; null: none.
$$;
comment on column ml.boosting.base is $$Scores before the first tree, one per output.$$;

create type ml.tree_model as (
  gid int,
  method text,
  objective text,
  id_col_name text,
  dependent_varname text,
  dependent_var_type text,
  dependent_var_levels text[],
  independent_varnames text[],
  independent_vartypes text[],
  categories jsonb,
  base_score float8,
  base_scores float8[],
  num_trees int,
  grouping_cols text,
  failure text
);

comment on type ml.tree_model is $$
A row of the summary of a tree, forest or boosted model, as predictions read it.
$$;
comment on column ml.tree_model.gid is $$Number of the group; null without grouping columns.$$;
comment on column ml.tree_model.method is $$`gbm`, `tree_train` or `forest_train`.$$;
comment on column ml.tree_model.objective is $$Objective of a boosted model; null for others.$$;
comment on column ml.tree_model.id_col_name is $$Quoted name of the id column.$$;
comment on column ml.tree_model.dependent_varname is $$Dependent variable.$$;
comment on column ml.tree_model.dependent_var_type is $$Its type.$$;
comment on column ml.tree_model.dependent_var_levels is $$Classes, in the order of the outputs; null for numbers.$$;
comment on column ml.tree_model.independent_varnames is $$Features.$$;
comment on column ml.tree_model.independent_vartypes is $$`number` or `category`, for each feature.$$;
comment on column ml.tree_model.categories is $$Known categories of the features that are text, by name.$$;
comment on column ml.tree_model.base_score is $$
Score before the first tree of a boosted model; null for others and for classes.
$$;
comment on column ml.tree_model.base_scores is $$Scores of the classes before the first trees; null for others.$$;
comment on column ml.tree_model.num_trees is $$Number of trees, for boosted classes of each class.$$;
comment on column ml.tree_model.grouping_cols is $$Quoted names of the grouping columns; null without groups.$$;
comment on column ml.tree_model.failure is $$Reason why the group has no model; null when it has one.$$;

drop function ml._tree_prepare(regclass, text, text, text, text, text[], int, bigint);
drop function ml._tree_grow(int[], int, text, float8, float8, int, int, int, float8, int, bigint);
drop function ml._forest_train(text, text, text, text, text, text, text, text, text, int, int, float8, int, int, int,
  int, float8, bigint);
drop function ml._check_forest_arguments(int, int, float8, int, int, int, float8);
drop function ml._prune_tree(float8);
drop function ml._check_gbm_arguments(int, float8, int, int, float8, float8, float8, float8, float8, int, bigint);
drop function ml._model_summary(text, text[]);
drop function ml._gbm_expression(regclass, jsonb, text);

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

drop function ml.tree_train(text, text, text, text, text, text, text, text, text, int, int, int, int, text);
drop function ml.summary(text, text, text, text, boolean, boolean, float8[], int);
drop function ml.encode_categorical_variables(text, text, text, text, text, text, text, boolean, text, boolean);
drop function ml.pca_train(text, text, text, float8, boolean);
create table experiment.period_sum (
  experiment_id int not null references experiment.experiment on delete cascade,
  since timestamptz not null,
  variation smallint not null,
  people bigint not null check (people > 0),
  primary key (experiment_id, since, variation)
);

comment on table experiment.period_sum is $$
@behavior -*
Numbers of counted people of each variation, by the weights at their exposure.
So that `experiment.health` costs the number of changes of the weights, not of people.
$$;
comment on column experiment.period_sum.experiment_id is $$Experiment.$$;
comment on column experiment.period_sum.since is $$Time from which the weights applied: `experiment.weighting.since`.$$;
comment on column experiment.period_sum.variation is $$Position of the variation.$$;
comment on column experiment.period_sum.people is $$Number of people.$$;

alter table experiment.period_sum enable row level security;

-- From now on no refresh stores exposures, so that all of them are counted.
lock table experiment.exposure in share row exclusive mode;
insert into experiment.period_sum (experiment_id, since, variation, people)
select
  exposure.experiment_id, coalesce(period.since[width_bucket(exposure.exposed_at, period.since)], period.since[1]),
  exposure.variation, count(*)
from experiment.exposure
join (
  select weighting.experiment_id, array_agg(weighting.since order by weighting.since) as since
  from experiment.weighting
  group by weighting.experiment_id
) as period on period.experiment_id = exposure.experiment_id
where exposure.is_counted
  and exposure.variation is not null
group by 1, 2, 3;

comment on type experiment.drawn is $$
@behavior -*
Numbers of people of the variations of an experiment, and what its weights make expect of them.
Of a part of the time, added up over the periods between two changes of the weights.
$$;

alter table experiment.kept
  alter column drawn type experiment.drawn[] using case when drawn is not null then array[drawn] end;
comment on column experiment.kept.drawn is $$
@behavior -*
Numbers by which `experiment.health` tests the assignment, by part of the time.
Of at least 5 people per variation; null with fewer.
$$;

drop function experiment._assigned(experiment.experiment, experiment.day_sum[], track.person_set_block[]);
drop function experiment._mismatch_p(experiment.drawn);
drop function experiment._drawn(float8[], float8[]);

-- Weights and offsets in regressions.
drop function ml._design(text, text, text, text);
drop function ml._settled(jsonb);
drop function ml._cross_product(bigint, float8[], float8[], jsonb);
drop function ml._glm_fits(jsonb, text, text, integer, float8);
drop function ml._sandwich(text, text, text, text, text, text, text, integer, float8, text);
drop function ml.linregr_train(text, text, text, text, text, boolean);
drop function ml.logregr_train(text, text, text, text, text, integer, text, float8, boolean);
drop function ml.glm(text, text, text, text, text, text, text, boolean);
drop function ml.robust_variance_linregr(text, text, text, text, text, boolean, text);
drop function ml.robust_variance_logregr(text, text, text, text, text, integer, text, float8, boolean, text);
drop function ml.clustered_variance_linregr(text, text, text, text, text, text);
drop function ml.clustered_variance_logregr(text, text, text, text, text, text, integer, text, float8, boolean);
drop function ml._product_sums(jsonb, text);
drop function ml._sums(text, regclass);

alter table track.consumer
  add column incomplete_sets text check (incomplete_sets ~ '^[a-z][a-z_]*\.[a-z][a-z_]*$');
comment on column track.consumer.incomplete_sets is $$
Name of a function that returns the names of sets whose people a rule of retention has deleted; null: there are none.
$$;

update track.consumer set incomplete_sets = 'analytics.incomplete_sets' where consumer = 'analytics.cohort';
update track.consumer set incomplete_sets = 'experiment.incomplete_sets' where consumer = 'experiment.exposure';

comment on column monitor.score_shift.verdict is $$
`stable` (below 0.1), `shifting`, `drifted` (from 0.25 on) or `unknown`.
Unknown: the rows are so few that the index would be 0.1 by chance alone, with a probability of more than 5 %. Of so few
rows, the part of the index that chance does not explain on average decides, with at least 50 people in both periods and
a p-value of at most 0.001.
$$;

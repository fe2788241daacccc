--! Previous: sha1:44bd271d523e24324167f9875ded24d946a890bb
--! Hash: sha1:ec732708f55b817afdbd7dc9bd00a68ae10abb0c
--! Message: xAPI, weights and offsets, trees by groups, sums of experiments by period

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

-- A table with one row per variation of an experiment that has ended.
alter table experiment.kept
  -- squawk-ignore changing-column-type
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

--! Included common/functions/expression.sql
create or replace function common.expression(expression text, relation regclass)
returns text
language plpgsql
stable
as $$
declare
  v_expression constant text := btrim(expression, E' \t\r\n');
  v_inside text;
  v_elements text[];
begin
  -- A number stays a number, also where a pivot has named a column after it.
  if v_expression !~ '^[-+.0-9''"]' and exists (
    select
    from pg_catalog.pg_attribute as attribute
    where attribute.attrelid = expression.relation
      and attribute.attname = v_expression
      and attribute.attnum > 0
      and not attribute.attisdropped
  ) then
    return quote_ident(v_expression);
  end if;
  v_inside := substring(v_expression from '^(?:[aA][rR][rR][aA][yY])\s*\[(.*)\]$');
  if v_inside is null then
    return expression;
  end if;
  begin
    v_elements := common.split_expressions(v_inside);
  exception when sqlstate 'CF001' then
    -- array[a] || array[b]
    return expression;
  end;
  return 'array[' || (
    select string_agg(common.expression(element, relation), ', ' order by position)
    from unnest(v_elements) with ordinality as part (element, position)
  ) || ']';
end;
$$;

comment on function common.expression(text, regclass) is $$
Returns an expression with the names of columns quoted, where it or an element of array[…] is the name of a column.
So a column may be named after a word of SQL, such as `order` or `user`, or with capitals. Other expressions are
returned as they are.
$$;

grant execute on function common.expression(text, regclass) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded common/functions/expression.sql

--! Included common/functions/expression_type.sql
create or replace function common.expression_type(
  expression text,
  relation regclass,
  role text
)
returns regtype
language plpgsql
stable
as $$
declare
  v_expression constant text := common.expression(expression, relation);
  v_words text;
  v_type regtype;
  v_cursor refcursor;
  v_name text;
  v_message text;
begin
  v_type := (
    select attribute.atttypid
    from pg_catalog.pg_attribute as attribute
    where attribute.attrelid = expression_type.relation
      and attribute.attname = v_expression
      and attribute.attnum > 0
      and not attribute.attisdropped
      and v_expression ~ '^[a-z_][a-z_0-9]*$'
      and has_table_privilege(expression_type.relation, 'select')
  );
  if v_type is not null then
    -- a readable column needs no statement
    return common.base_type(v_type);
  end if;
  if expression is null or btrim(expression) = '' then
    perform common.refuse('CF001', format('the %s is null or empty', left(role, 100)),
      format('Name a column of %s or an expression over its columns.', relation));
  end if;
  perform common.split_expressions(v_expression);
  begin
    -- A cursor accepts exactly one statement. No row is read: all columns are null, since only the type is needed.
    open v_cursor no scroll for execute format(
      $statement$
      select pg_catalog.pg_typeof((%s))
      from (values (1)) as one
      left join (select * from %s where false) as source on true
      $statement$,
      v_expression, relation
    );
    fetch v_cursor into v_type;
    close v_cursor;
  exception
    when undefined_column then
      get stacked diagnostics v_message = message_text;
      v_name := coalesce(
        substring(v_message from '"([^"]*)"'),
        substring(v_message from 'column ([^ ]+) '),
        expression
      );
      perform common.refuse(
        'CF002',
        format('%s: "%s" has no column "%s"', left(role, 100), relation, left(v_name, 100)),
        coalesce(
          'Did you mean "' || common.nearest_name(v_name, common.columns(relation)) || '"?',
          format('Its columns are %s.', array_to_string(common.columns(relation), ', '))
        )
      );
    when insufficient_privilege then
      get stacked diagnostics v_message = message_text;
      perform common.refuse(
        'CF005',
        format('role "%s" may not read "%s": %s', current_user, relation, left(v_message, 100)),
        'Ask its owner to grant select.'
      );
    when syntax_error or undefined_function or grouping_error or datatype_mismatch or invalid_cursor_definition
      or undefined_object or feature_not_supported or wrong_object_type or invalid_text_representation
      or undefined_table
    then
      get stacked diagnostics v_message = message_text;
      v_words := (
        select string_agg('"' || name || '"', ', ' order by name)
        from unnest(common.expression_columns(expression, relation)) as name
        join pg_catalog.pg_get_keywords() as keyword on keyword.word = name and keyword.catcode in ('R', 'T')
      );
      perform common.refuse(
        'CF001',
        format('%s: "%s" cannot be evaluated: %s', left(role, 100), left(expression, 100), left(v_message, 100)),
        'Give a column or one SQL expression over the columns of one row.'
          || coalesce(' Put a column that is named after a word of SQL in double quotes: ' || v_words || '.', '')
      );
  end;
  return common.base_type(v_type);
end;
$$;

comment on function common.expression_type(text, regclass, text) is $$
Returns the type of an expression over a relation's columns; for a domain the type that it is over.
A name of a column is taken before an expression, as by common.expression.
`role` names its purpose in messages, such as `dependent variable`.
Errors: CF001 (not one expression), CF002 (unknown column; names the nearest).
$$;

grant execute on function common.expression_type(text, regclass, text)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded common/functions/expression_type.sql

--! Included ml/linear_algebra/_check_output_columns.sql
create or replace function ml._check_output_columns(
  groups text[],
  names text[]
)
returns void
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_name text;
begin
  select name into v_name from unnest(groups) as name where name = any (names) limit 1;
  if v_name is not null then
    perform common.refuse('CF001', format('the grouping column %s has the name of an output column', left(v_name, 100)),
      'Rename it in a view of the table.');
  end if;
end;
$$;

comment on function ml._check_output_columns(text[], text[]) is $$
Refuses grouping columns that have the name of an output column of a trainer. Error CF001.
$$;

grant execute on function ml._check_output_columns(text[], text[]) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/linear_algebra/_check_output_columns.sql

--! Included ml/linear_algebra/_check_product.sql
create or replace function ml._check_product(a vector[], b vector[])
returns void
language plpgsql
immutable
parallel safe
set search_path from current
as $$
declare
  v_a constant vector[] := a || '{}';
  v_b constant vector[] := b || '{}';
  v_found record;
begin
  -- |a b| <= |a| |b|: no inner product is too large where the longest rows' product is not.
  if (select max(vector_norm(v)) from unnest(v_a) as v) * (select max(vector_norm(v)) from unnest(v_b) as v)
    < 3.4e38
  then
    return;
  end if;
  select a_row.n as row_number, b_row.n as column_number
  into v_found
  from unnest(v_a) with ordinality as a_row (v, n)
  cross join unnest(v_b) with ordinality as b_row (v, n)
  where not abs(a_row.v <#> b_row.v) < 3.4e38
  limit 1;
  if found then
    perform common.refuse(
      'CF007',
      format(
        'the product in row %s, column %s is too large for single precision',
        v_found.row_number,
        v_found.column_number
      ),
      'Use other units, so that the entries of the product are below 3.4e38.'
    );
  end if;
end;
$$;

comment on function ml._check_product(vector[], vector[]) is $$
Raises CF007 when an entry of A times the transpose of B is too large for single precision.
In time linear in the matrices unless one of them has very large entries.
$$;

grant execute on function ml._check_product(vector[], vector[]) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/linear_algebra/_check_product.sql

--! Included ml/linear_algebra/multiply_transposed.sql
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
    perform common.refuse('CF001', format('the rows of a have %s columns, those of b %s', v_a_columns, v_b_columns),
      'A·Bᵀ consists of the inner products of the rows of a and the rows of b, which must be equally long.');
  end if;
  perform ml._fits_vector(cardinality(b), 'rows of b');
  perform ml._check_product(a, b);
  return ml._product(a, b);
end;
$$;

comment on function ml.multiply_transposed(vector[], vector[]) is $$
Returns A·Bᵀ: row i, column j is the inner product of row i of `a` and row j of `b`.
The fastest product of matrices that are stored by rows.
Shapes: m × k and n × k give m × n; n at most 16,000. Single precision.
Errors: CF001 (not matrices, different numbers of columns), CF004 (no rows), CF007 (an entry of the product is
too large), CF008 (n too large).
$$;

grant execute on function ml.multiply_transposed(vector[], vector[])
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/linear_algebra/multiply_transposed.sql

--! Included ml/linear_algebra/multiply.sql
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
  v_transposed vector[];
begin
  perform ml._matrix_columns(b, 'b');
  if v_a_columns <> v_b_rows then
    perform common.refuse('CF001', format('a has %s columns, b has %s rows', v_a_columns, v_b_rows),
      'A·B needs as many rows of b as a has columns; for A·Bᵀ use ml.multiply_transposed.');
  end if;
  v_transposed := ml.transpose(b);
  perform ml._check_product(a, v_transposed);
  return ml._product(a, v_transposed);
end;
$$;

comment on function ml.multiply(vector[], vector[]) is $$
Returns the matrix product A·B. Where Bᵀ is available, `ml.multiply_transposed` saves the transposition.
Shapes: m × k and k × n give m × n; k and n at most 16,000. Single precision.
Errors: CF001 (not matrices, shapes that do not fit), CF004 (no rows), CF007 (an entry of the product is too
large), CF008 (too large).
$$;

grant execute on function ml.multiply(vector[], vector[]) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/linear_algebra/multiply.sql

--! Included ml/linear_algebra/gram.sql
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
  perform ml._check_product(v_transposed, v_transposed);
  return ml._product(v_transposed, v_transposed);
end;
$$;

comment on function ml.gram(vector[]) is $$
Returns AᵀA, the Gram matrix of a matrix's columns.
Shapes: m × n gives n × n; m and n at most 16,000. Single precision.
Errors: CF001 (not a matrix), CF004 (no rows), CF007 (an entry of the product is too large), CF008 (m too large).
$$;

grant execute on function ml.gram(vector[]) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/linear_algebra/gram.sql

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
  v_trace constant vector := array_fill(9.094947e-13::real, array[least(greatest(v_size, 1), 16000)])::vector;
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

  -- The diagonal of the inverse is at least 1 / entry.
  if exists (select from unnest(v_diagonal) as entry where entry not between 1e-36 and 1e36) then
    perform common.refuse(
      'CF007',
      format(
        'the diagonal holds %s, too %s to be inverted in single precision',
        (select entry::real from unnest(v_diagonal) as entry where entry not between 1e-36 and 1e36 limit 1),
        case when exists (select from unnest(v_diagonal) as entry where entry > 1e36) then 'large' else 'small' end
      ),
      'Use other units, so that the entries are between 1e-36 and 1e36.'
    );
  end if;
  -- |m_ij| < sqrt(m_ii m_jj) in a positive definite matrix; rows far beyond it could not be scaled.
  if (
    select max(vector_norm(row_.v) / sqrt(v_diagonal[row_.n]))
    from unnest(v_matrix) with ordinality as row_ (v, n)
  ) > 2 * sqrt((select sum(entry) from unnest(v_diagonal) as entry)) then
    perform common.refuse(
      'CF007',
      'the matrix is not positive definite: an entry is larger than the diagonal allows',
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

  perform ml._check_product(inverse, array[x]);

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
Errors: CF001 (shapes, weight), CF004 (no rows), CF007 (the result would not be positive
definite, or is too large).
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
  elsif exists (select from unnest(factors) as factor where abs(factor) not between 1e-36 and 1e36) then
    perform common.refuse('CF001', 'a factor is not between 1e-36 and 1e36 in absolute value',
      'The matrices are of single precision: use other units.');
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
  perform ml._check_product(columns, inverse);
  v_products := ml._product(columns, inverse);
  perform ml._check_product(v_products, columns);
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
Errors: CF001 (shapes, factors), CF004 (no rows), CF007 (not invertible, too large), CF008 (columns).
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
    -- greatest() and least() would ignore a null.
    when _finite_range.x is null or _finite_range.x = 'NaN' then _finite_range.x
    when abs(_finite_range.x) < 1e-100 then 0
    else greatest(least(_finite_range.x, 1e100), -1e100)
  end;
end;

comment on function ml._finite_range(float8) is $$
Returns x, at most 1e100 in absolute value, and 0 below 1e-100; null and NaN as they are.
Products, squares and quotients of such numbers do not overflow or underflow, which are errors in SQL; no distribution
function changes in its first 16 digits between these bounds and infinity, or 0.
$$;

grant execute on function ml._finite_range(float8)
to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/distributions/_finite_range.sql

--! Included ml/regression/_sums.sql
create or replace function ml._sums(
  statement text,
  relation regclass,
  checked boolean default false
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
  -- A cursor accepts one statement only, and opening it executes nothing. The statement itself is run by execute, since
  -- a cursor does not allow a parallel plan.
  if not checked then
    open v_cursor no scroll for execute statement;
    close v_cursor;
  end if;
  return query execute statement;
exception when others then
  get stacked diagnostics v_state = returned_sqlstate, v_message = message_text;
  perform ml._caller_error(v_state, v_message, relation);
end;
$$;

comment on function ml._sums(text, regclass, boolean) is $$
Runs one generated statement of sums with the caller's rights and returns its rows.
In parallel, if the planner chooses so. `checked`: the same expressions were in a statement before, so that they need
not be planned twice.
Just-in-time compilation is off: for a hundred small aggregates it costs more than it saves.
$$;

grant execute on function ml._sums(text, regclass, boolean) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_sums.sql

--! Included ml/regression/_sums_statement.sql
create or replace function ml._sums_statement(head text, terms text[], tail text)
returns text
language sql
stable
parallel safe
begin atomic
  -- The planner compares each aggregate with all others of its query, which takes a minute for thirty thousand: a wide
  -- design is summed in parts, which are joined by the group.
  select
    case
      when count(*) = 1 then format('select %s, array[%s] as sums %s', head, min(part.list), tail)
      else format(
        'select part1.key, part1.complete, part1.row_count, %s from %s',
        string_agg(format('part%s.sums', part.nth), ' || ' order by part.nth),
        string_agg(
          format('(select %s, array[%s] as sums %s) as part%s', head, part.list, tail, part.nth)
            || case
              when part.nth > 1 then format(
                ' on part%1$s.complete = part1.complete and coalesce(part%1$s.key, '''') = coalesce(part1.key, '''')',
                part.nth
              )
              else ''
            end,
          ' join ' order by part.nth
        )
      )
    end
  from (
    select (place - 1) / 1500 + 1 as nth, string_agg(term, ', ' order by place) as list
    from unnest(terms) with ordinality as listed (term, place)
    group by 1
  ) as part;
end;

comment on function ml._sums_statement(text, text[], text) is $$
Returns the text of a statement for ml._sums that computes the terms, each an aggregate, over `tail` (`from …`).
`head` is a select list with the columns key, complete and row_count.
$$;

grant execute on function ml._sums_statement(text, text[], text) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_sums_statement.sql

--! Included ml/regression/_cast.sql
create or replace function ml._cast(expression text, from_type text, to_type text)
returns text
language sql
stable
parallel safe
begin atomic
  -- real and double precision are cast to numeric through their shortest text, which has up to 17 digits; a direct cast
  -- keeps only 15
  select format(
    case
      when from_type = 'boolean' then '(%s)::int::%s'
      when to_type = 'numeric' and from_type in ('real', 'double precision') then '(%s)::text::%s'
      else '(%s)::%s'
    end,
    expression, to_type
  );
end;

comment on function ml._cast(text, text, text) is $$
Returns the text of an expression of a known type, cast to float8 or numeric.
$$;

grant execute on function ml._cast(text, text, text)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_cast.sql

--! Included ml/regression/_values.sql
create or replace function ml._values(design jsonb, type text)
returns text
language sql
stable
begin atomic
  select format(
    'select %s%s%s%s%s as y%s from %s as %s%s',
    coalesce((
      select string_agg(format('%s as g%s, ', name, position), '' order by position)
      from jsonb_array_elements_text(design -> 'groups') with ordinality as part (name, position)
    ), ''),
    'row(' || (
      select string_agg(name, ', ' order by nth)
      from jsonb_array_elements_text(design -> 'clusters') with ordinality as part (name, nth)
    ) || ')::text as cluster, ',
    '(' || (design ->> 'status') || ')::int::float8 as status, ',
    concat(
      -- a weight that is not allowed becomes NaN, which stops the training; ml._refuse_non_finite finds the row then
      case when design ? 'weights' then format(
        'case when %1$s between 1e-100 and 1e100 or %1$s = 0 then %1$s else ''NaN'' end as prior, ',
        ml._cast(design ->> 'weights', design ->> 'weights_type', type)
      ) end,
      case when design ? 'offsets' then
        ml._cast(design ->> 'offsets', design ->> 'offsets_type', type) || ' as baseline, '
      end
    ),
    ml._cast(design ->> 'y', design ->> 'y_type', type),
    (
      select string_agg(
        case
          when not (design ->> 'array')::boolean then
            format(
              ', %s as x%s',
              ml._cast(design -> 'x' ->> position - 1, design -> 'x_types' ->> position - 1, type),
              position
            )
          -- a row of another length becomes NaN, which stops the training; ml._refuse_non_finite finds the row then
          when position = 1 then
            format(
              ', case when cardinality(%1$s) <> %2$s then ''NaN'' else %3$s end as x1',
              design -> 'x' ->> 0,
              design ->> 'width',
              ml._cast(format('%s[1]', design -> 'x' ->> 0), design -> 'x_types' ->> 0, type)
            )
          else
            format(
              ', %s as x%s',
              ml._cast(format('%s[%s]', design -> 'x' ->> 0, position), design -> 'x_types' ->> 0, type),
              position
            )
        end,
        '' order by position
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
Returns the text of the select that evaluates a design's expressions row by row.
Its columns: g1 …, prior, baseline, y, x1 … (without the literals), as float8 or numeric.
$$;

grant execute on function
  ml._values(jsonb, text)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_values.sql

--! Included ml/regression/_complete.sql
create or replace function ml._complete(design jsonb)
returns text
language sql
stable
begin atomic
  select format(
    'row(y%s%s%s) is not null%s',
    ml._columns_of(design, 'x', ', %s', ''),
    case when design ? 'status' then ', status' else '' end,
    case when design ? 'offsets' then ', baseline' else '' end,
    -- NaN, which stands for a weight that is not allowed, is larger than all numbers
    case when design ? 'weights' then ' and prior > 0' else '' end
  );
end;

comment on function ml._complete(jsonb) is $$
Returns the text of the condition on ml._values that a row is fitted: none of its values is null, its weight is not 0.
$$;

grant execute on function ml._complete(jsonb) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_complete.sql

--! Included ml/regression/_rows.sql
create or replace function ml._centred(name text, shift float8, scale float8)
returns text
language sql
stable
parallel safe
begin atomic
  select case when shift = 0 then name else format('(%s - %L::float8)', name, shift) end
    || case when scale = 1 then '' else format(' * %L::float8', scale) end;
end;

comment on function ml._centred(text, float8, float8) is $$
Returns the text of (name - shift) * scale, without a shift of 0 and a scale of 1.
$$;

create or replace function ml._rows(design jsonb)
returns text
language sql
stable
begin atomic
  select case
    when columns.plain then 'select ' || columns.list || ' from ' || columns.source
    else ml._layer(columns.list, columns.source)
  end
  from (
    select
      format('%s%s%s as key, %s as y%s, %s as complete',
        coalesce(grouped.columns || ', ', ''),
        case when design ? 'clusters' then 'cluster, ' else '' end
          || case when design ? 'status' then 'status, ' else '' end
          || case when design ? 'weights' then 'prior, ' else '' end
          || case when design ? 'offsets' then 'baseline, ' else '' end,
        coalesce('row(' || grouped.columns || ')::text', 'null::text'),
        ml._centred('y', (design ->> 'y_shift')::float8, (design ->> 'y_scale')::float8),
        coalesce(active.columns, ''),
        ml._complete(design)
      ) as list,
      format('(%s) as source', ml._values(design, 'float8')) as source,
      -- Plain columns may be inlined: then nothing is computed twice, or only by the one layer above (when the design
      -- is settled, see ml._settled).
      not (design ->> 'array')::boolean
        and coalesce(active.named, true)
        and (
          design ? 'spread'
          or not design ? 'weights'
            and (design -> 'y_shift', design -> 'y_scale', design ->> 'y_type') = ('0', '1', 'double precision')
            and coalesce(active.plain, true)
        ) as plain
    from (
      select string_agg('g' || nth, ', ' order by nth) as columns
      from jsonb_array_elements(design -> 'groups') with ordinality as part (name, nth)
    ) as grouped
    cross join (
      select
        string_agg(
          format(
            ', %s as d%s',
            ml._centred(
              'x' || place,
              (design -> 'shift' ->> place - 1)::float8,
              (design -> 'scale' ->> place - 1)::float8
            ),
            place
          ),
          '' order by nth
        ) as columns,
        bool_and(
          (design -> 'shift' -> place - 1, design -> 'scale' -> place - 1, design -> 'x_types' ->> place - 1)
            = ('0', '1', 'double precision')
        ) as plain,
        bool_and(design -> 'x' ->> place - 1 ~ '^[a-zA-Z_0-9.]+$') as named
      from jsonb_array_elements_text(design -> 'active') with ordinality as list (value, nth),
        lateral (select value::int) as part (place)
    ) as active
  ) as columns;
end;

comment on function ml._rows(jsonb) is $$
Returns the text of the select that centres and scales a design's rows.
Its columns: g1 …, prior, baseline, key (the group, as text), y, d1 …, complete (see ml._complete).
$$;

grant execute on function
  ml._centred(text, float8, float8),
  ml._rows(jsonb)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_rows.sql

--! Included ml/regression/_scalar_expression.sql
create or replace function ml._scalar_expression(expression text, relation regclass, what text)
returns text
language plpgsql
as $$
declare
  v_expression text;
begin
  if expression is null then
    return null;
  end if;
  v_expression := common.expression(expression, relation);
  if cardinality(common.split_expressions(v_expression)) > 1 then
    perform common.refuse(
      'CF001',
      format('the %s "%s" is more than one expression', left(what, 100), left(expression, 100)),
      'Name one column, or one expression.'
    );
  end if;
  perform common.numeric_expression(expression, relation, what);
  return v_expression;
end;
$$;

comment on function ml._scalar_expression(text, regclass, text) is $$
Returns the text of one numeric expression over a relation, after checking it; null for null.
$$;

grant execute on function ml._scalar_expression(text, regclass, text)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_scalar_expression.sql

--! Included ml/regression/_design.sql
/*
 * A design describes how a regression reads its rows. It is a jsonb object that ml._design creates once, and from which
 * the statements are generated:
 *
 *   relation, alias  the source table, and the name that may qualify its columns
 *   y, y_type        expression and type of the dependent variable
 *   x, x_types       expressions and types of the independent variables; with `array` one expression, its element type
 *   groups           the quoted grouping columns
 *   weights          expression of the rows' weights, and its type (weights_type), as the column `prior`; absent
 *                    without weights
 *   offsets          expression that is added to the linear predictor, and its type (offsets_type), as the column
 *                    `baseline`; absent without offsets
 *   width            number of coefficients, k
 *   exact            whether every value is an integer or a decimal, so that numeric sums are exact sums of the data
 *   clusters         quoted columns whose values identify the clusters of a sandwich, as the column `cluster`
 *   status           whether the event was observed at y (survival), as the column `status`
 *   where            a condition on the rows, generated by this schema (folds), never given by the caller
 *   literals         per coefficient the number written in array[1, ...], else null
 *   candidates       positions of columns that are constant in the first thousand rows and may be an intercept
 *   active           positions of all columns except the literals
 *   nulls            whether the first thousand rows contain one that is skipped
 *   shift, scale     per coefficient: d = (x - shift) * scale is multiplied and summed; y_shift and y_scale for y
 *
 * Columns far from zero are centred near their medians, and very large or small ones are scaled by powers of two,
 * before they are multiplied: so the sums of squares lose no digits of x, cannot overflow or underflow (errors in SQL),
 * and integers stay integers, whose sums are exact. Without a constant column nothing is shifted, since the model would
 * change.
 */
create or replace function ml._design(
  source_table text,
  dependent_varname text,
  independent_varname text,
  grouping_cols text,
  weights text default null,
  offsets text default null
)
returns jsonb
language plpgsql
as $$
declare
  v_numbers constant regtype[] := '{boolean, smallint, integer, bigint, real, double precision, numeric}';
  v_relation constant regclass := common.relation(source_table);
  v_alias constant text := (select quote_ident(relname) from pg_catalog.pg_class where oid = v_relation);
  v_groups constant text[] := common.column_names(v_relation, grouping_cols, 'grouping columns');
  v_y constant text := common.expression(dependent_varname, v_relation);
  v_x constant text := common.expression(independent_varname, v_relation);
  v_y_type constant regtype := common.expression_type(dependent_varname, v_relation, 'dependent variable');
  v_inside constant text := substring(
    btrim(v_x, E' \t\r\n') from '^(?:[aA][rR][rR][aA][yY])\s*\[(.*)\]$'
  );
  v_elements text[];
  v_element text;
  v_types regtype[] := '{}';
  v_x_type regtype;
  v_element_type regtype;
  v_array text;
  v_width integer;
begin
  perform ml._scalar_expression(dependent_varname, v_relation, 'dependent variable');
  -- array[a, b + c] is split into its elements, so that the sums are over plain expressions and no array is built per
  -- row. array[a] || array[b] matches the pattern, too, but its unbalanced brackets make split_expressions fail.
  begin
    v_elements := common.split_expressions(v_inside);
  exception when sqlstate 'CF001' then
    v_elements := null;
  end;
  if v_elements is not null then
    foreach v_element in array v_elements loop
      v_element_type := common.expression_type(v_element, v_relation, 'independent variable');
      if v_element_type <> all (v_numbers) then
        perform common.numeric_expression(v_element, v_relation, 'independent variable');
      end if;
      v_types := v_types || v_element_type;
    end loop;
    v_width := cardinality(v_elements);
  else
    if cardinality(common.split_expressions(v_x)) > 1 then
      perform common.refuse(
        'CF001',
        format('the independent variable "%s" is a list, not an array', left(independent_varname, 100)),
        format('Write array[%s].', left(independent_varname, 100))
      );
    end if;
    v_x_type := common.expression_type(independent_varname, v_relation, 'independent variable');
    if v_x_type = any (v_numbers) then
      return ml._design(source_table, dependent_varname, format('array[%s]', v_x), grouping_cols, weights, offsets);
    end if;
    select
      case
        when element.oid is not null then element.oid::regtype
        when type.typname in ('vector', 'halfvec') then 'real'::regtype
      end
    into v_element_type
    from pg_catalog.pg_type as type
    left join pg_catalog.pg_type as element on element.oid = type.typelem and type.typcategory = 'A'
    where type.oid = v_x_type;
    if v_element_type is null or v_element_type <> all (v_numbers) or v_element_type = 'boolean'::regtype then
      perform common.refuse(
        'CF001',
        format(
          'independent variable: "%s" is of type %s, not an array of numbers',
          left(independent_varname, 100),
          v_x_type
        ),
        'Write array[1, x1, x2], or name a column of type float8[].'
      );
    end if;
    v_array := format('((%s)::%s[])', v_x, v_element_type);
    v_types := array[v_element_type];
    v_width := (
      select probe.row_count
      from ml._sums(
        format(
          $statement$
          select null::text, true, cardinality(%1$s)::bigint, null::float8[]
          from %2$s as %3$s
          where %1$s is not null
          limit 1
          $statement$,
          v_array, v_relation, v_alias
        ),
        v_relation
      ) as probe
    );
    if v_width is null then
      perform common.refuse('CF004', format('"%s" has no row with an independent variable', v_relation),
        'Train on a table with rows.');
    end if;
  end if;
  if v_width > 250 or v_width = 0 then
    perform common.refuse('CF008', format('%s independent variables; 1 to 250 can be fitted', v_width),
      'Select fewer variables, or reduce them with ml.pca_train.');
  end if;

  return ml._standardized(jsonb_strip_nulls(jsonb_build_object(
    'weights', ml._scalar_expression(weights, v_relation, 'weights'),
    'weights_type', case when weights is not null then common.expression_type(weights, v_relation, 'weights') end,
    'offsets', ml._scalar_expression(offsets, v_relation, 'offsets'),
    'offsets_type', case when offsets is not null then common.expression_type(offsets, v_relation, 'offsets') end
  )) || jsonb_build_object(
    'relation', v_relation::text,
    'alias', v_alias,
    'y', v_y,
    'y_type', v_y_type::text,
    'x', to_jsonb(coalesce(v_elements, array[v_array])),
    'x_types', to_jsonb(v_types::text[]),
    'array', v_array is not null,
    'exact', 'real'::regtype <> all (v_types || v_y_type) and 'double precision'::regtype <> all (v_types || v_y_type),
    'groups', to_jsonb(v_groups),
    'width', v_width,
    'literals', (
      select jsonb_agg(
        case when v_elements[position] ~ '^[-+]?[0-9]+(\.[0-9]*)?$' then v_elements[position]::numeric end
        order by position
      )
      from generate_series(1, v_width) as position
    )
  ));
end;
$$;

comment on function ml._design(text, text, text, text, text, text) is $$
Returns the design of a regression, after checking names, types and expressions.
Reads the first thousand rows to centre the columns.
Errors: CF001 (expression, type), CF002 (unknown; names the nearest), CF004 (no rows), CF005 (not readable), CF008 (too
many columns).
$$;

create or replace function ml._standardized(design jsonb)
returns jsonb
language plpgsql
as $$
declare
  v_width constant integer := (design ->> 'width')::int;
  v_active integer[] := array(
    select position
    from generate_series(1, v_width) as position
    where design -> 'literals' -> position - 1 = 'null'
    order by position
  );
  v_count constant integer := cardinality(v_active);
  v_design jsonb := design || jsonb_build_object('active', to_jsonb(v_active));
  v_sample float8[];
  v_nulls boolean;
  v_shift float8[] := array_fill(0::float8, array[v_width]);
  v_scale float8[] := array_fill(1::float8, array[v_width]);
  v_candidates integer[] := '{}';
  v_constant boolean := design -> 'literals' @? '$[*] ? (@ != null)';
  v_middle float8;
  v_spread float8;
begin
  select sample.sums, not sample.complete
  into v_sample, v_nulls
  from ml._sums(
    format(
      $statement$
      select null::text, not exists (select from (%2$s limit 1000) as head where not (%3$s)), count(*), array[%1$s]
      from (select * from (%2$s) as source where %3$s limit 1000) as head
      $statement$,
      (
        select string_agg(
          format(
            'percentile_disc(0.5) within group (order by %1$s), coalesce(stddev_pop(%1$s), 0), '
              || '(min(%1$s) = max(%1$s))::int',
            name
          ),
          ', ' order by nth
        )
        from unnest(
          '{y}'::text[] || (select array_agg('x' || position order by position) from unnest(v_active) as position)
        ) with ordinality as part (name, nth)
      ),
      ml._values(v_design, 'float8'),
      ml._complete(v_design)
    ),
    (design ->> 'relation')::regclass
  ) as sample;

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
      -- close to zero: centring would gain half a digit at the cost of two operations per row
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
    'shift', to_jsonb(v_shift), 'scale', to_jsonb(v_scale), 'candidates', to_jsonb(v_candidates), 'nulls', v_nulls
  );
end;
$$;

comment on function ml._standardized(jsonb) is $$
Returns a design with shifts and scales, from the medians and standard deviations of the first thousand rows.
An approximation is enough, since the coefficients are transformed back exactly.
$$;

grant execute on function
  ml._design(text, text, text, text, text, text),
  ml._standardized(jsonb)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_design.sql

--! Included ml/regression/_less_offsets.sql
create or replace function ml._less_offsets(dependent_varname text, offsets text, source_table text)
returns text
language plpgsql
as $$
declare
  v_relation regclass;
  v_types text[];
  v_type text;
begin
  if offsets is null then
    return dependent_varname;
  end if;
  v_relation := common.relation(source_table);
  perform ml._scalar_expression(dependent_varname, v_relation, 'dependent variable');
  perform ml._scalar_expression(offsets, v_relation, 'offsets');
  v_types := array[
    common.expression_type(dependent_varname, v_relation, 'dependent variable'),
    common.expression_type(offsets, v_relation, 'offsets')
  ]::text[];
  -- integers and decimals are subtracted exactly
  v_type := case when v_types && '{real, double precision}' then 'double precision' else 'numeric' end;
  return format(
    '%s - %s',
    ml._cast(common.expression(dependent_varname, v_relation), v_types[1], v_type),
    ml._cast(common.expression(offsets, v_relation), v_types[2], v_type)
  );
end;
$$;

comment on function ml._less_offsets(text, text, text) is $$
Returns the expression of a linear regression's dependent variable minus the offsets; the former without offsets.
$$;

grant execute on function ml._less_offsets(text, text, text) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_less_offsets.sql

--! Included ml/regression/_no_rows.sql
create or replace function ml._no_rows(design jsonb)
returns text
language sql
stable
begin atomic
  select case
    when design ? 'weights' then 'no row without a null has a weight above 0'
    else 'no row without a null'
  end;
end;

comment on function ml._no_rows(jsonb) is $$
Returns the failure of a group that has no complete row.
$$;

grant execute on function ml._no_rows(jsonb) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_no_rows.sql

--! Included ml/regression/_refuse_non_finite.sql
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
    select string_agg(
      format('%L || %I::text', attribute.attname || ' = ', attribute.attname),
      ' || '', '' || ' order by part.position
    )
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
        select
          key || case
            when width <> %s then format(' with %%s independent variables instead of %s', width)
            %s
            else ''
          end,
          true,
          1::bigint,
          null::float8[]
        from (select %s as key, %s as width, %ssource.* from %s as %s cross join lateral (%s) as source) as source
        where %s and (%s)
        limit 1
        $statement$,
        design ->> 'width',
        design ->> 'width',
        case
          when design ? 'weights' then
            'when prior = ''NaN'' then format('') has the weight %s'', coalesce(weight, ''null''))'
          else ''
        end,
        coalesce(v_key, format('left(%s::text, 200)', design ->> 'alias')),
        case
          when (design ->> 'array')::boolean then format('cardinality(%s)', design -> 'x' ->> 0)
          else design ->> 'width'
        end,
        case when design ? 'weights' then format('(%s)::text as weight, ', design ->> 'weights') else '' end,
        design ->> 'relation',
        design ->> 'alias',
        -- the same expressions, over the current row
        left(
          ml._values(v_bare, 'float8'),
          -length(format(' from %s as %s', design ->> 'relation', design ->> 'alias'))
        ),
        ml._complete(design),
        'y in (''NaN'', ''Infinity'', ''-Infinity'')'
          || ml._columns_of(design, 'x', ' or %s in (''NaN'', ''Infinity'', ''-Infinity'')', '')
          || case when design ? 'offsets' then ' or baseline in (''NaN'', ''Infinity'', ''-Infinity'')' else '' end
          || case when design ? 'weights' then ' or prior = ''NaN''' else '' end
      ),
      v_relation
    ) as found
  );
  perform common.refuse(
    'CF001',
    case
      when v_row is null then format('a sum over "%s" is not finite', v_relation)
      when v_row ~ 'instead of' then format('row (%s) of "%s"', v_row, v_relation)
      when v_row ~ '\) has the weight ' then format(
        'row (%s) of "%s" has the weight %s',
        substring(v_row from '^(.*)\) has the weight '),
        v_relation,
        left(substring(v_row from '^.*\) has the weight (.*)$'), 100)
      )
      else format('row (%s) of "%s" contains NaN or infinity', v_row, v_relation)
    end,
    case
      when v_row ~ '\) has the weight ' then 'Weights are 0, which skips the row, or from 1e-100 to 1e100.'
      else 'Only finite numbers can be fitted; use null instead to have the row skipped.'
    end
  );
end;
$$;

comment on function ml._refuse_non_finite(jsonb) is $$
Raises CF001 and names the row that contains NaN, infinity, an array of another length or a weight that is not allowed.
The row is named by its primary key if it has one.
Called when a sum is not finite, so that the check costs nothing otherwise.
$$;

grant execute on function ml._refuse_non_finite(jsonb) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_refuse_non_finite.sql

--! Included ml/regression/_product_sums.sql
create or replace function ml._product_sums(design jsonb, prefix text)
returns text[]
language sql
stable
begin atomic
  with weight as (
    select case when design ? 'weights' then 'prior * ' else '' end as factor
  ),
  variable as (
    select 0 as nth, 'y' as name
    union all
    select nth, prefix || value
    from jsonb_array_elements_text(design -> 'active') with ordinality as active (value, nth)
  ),
  product as (
    select
      row_variable.nth as row_nth,
      column_variable.nth as column_nth,
      format('sum(%s%s * %s)', weight.factor, row_variable.name, column_variable.name) as term
    from variable as row_variable
    join variable as column_variable on column_variable.nth >= row_variable.nth
    cross join weight
  )
  select
    (select array_agg(format('sum(%s%s)', factor, name) order by nth) from variable cross join weight)
    || (select array_agg(term order by row_nth, column_nth) from product)
    || case when design ? 'weights' then '{sum(prior)}'::text[] end;
end;

comment on function ml._product_sums(jsonb, text) is $$
Returns the aggregates that compute the sums and the Gram matrix of a design's columns and y.
The last is the sum of the weights if there are weights.
$$;

grant execute on function ml._product_sums(jsonb, text) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_product_sums.sql

--! Included ml/regression/_least_squares.sql
/*
 * Least squares from sums is computed in double precision, with an estimate of whether the result is accurate, and in
 * numeric where it is not. Both take their sums in one order: the sum of y and of each active column, then the upper
 * triangle of the sums of products over (y, active columns), row by row.
 */
create or replace function ml._cross_product(
  total_weight float8,
  sums float8[],
  products float8[],
  design jsonb
)
returns float8[]
language plpgsql
immutable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_n constant float8 := total_weight;
  v_width constant integer := (design ->> 'width')::int;
  v_active constant integer[] := array(select jsonb_array_elements_text(design -> 'active')::int);
  v_count constant integer := cardinality(v_active);
  v_literal constant float8[] := array(select jsonb_array_elements_text(design -> 'literals')::float8);
  v_shift float8[] := array(select jsonb_array_elements_text(design -> 'shift')::float8);
  v_scale constant float8[] := array(select jsonb_array_elements_text(design -> 'scale')::float8);
  v_level float8[] := array_fill(0::float8, array[v_width]);
  v_gram float8[] := array_fill(0::float8, array[v_width, v_width]);
begin
  for i in 1..v_count loop
    v_level[v_active[i]] := sums[i + 1] / v_scale[v_active[i]];
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
        + products[i + 1][j + 1] / v_scale[v_active[i]] / v_scale[v_active[j]];
    end loop;
  end loop;
  return v_gram;
end;
$$;

comment on function ml._cross_product(float8, float8[], float8[], jsonb) is $$
Returns X'X in the caller's units, from the sums and the products of the centred and scaled columns.
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
  v_n float8 := row_count;
  v_width constant integer := (design ->> 'width')::int;
  v_active integer[] := array(select jsonb_array_elements_text(design -> 'active')::int);
  v_count constant integer := cardinality(v_active);
  v_candidates constant integer[] := array(select jsonb_array_elements_text(design -> 'candidates')::int);
  v_literal constant float8[] := array(select jsonb_array_elements_text(design -> 'literals')::float8);
  v_shift constant float8[] := array(select jsonb_array_elements_text(design -> 'shift')::float8);
  v_scale constant float8[] := array(select jsonb_array_elements_text(design -> 'scale')::float8);
  v_y_shift constant float8 := (design ->> 'y_shift')::float8;
  v_y_scale constant float8 := (design ->> 'y_scale')::float8;
  v_sum constant float8[] := sums[1:v_count + 1];
  v_product constant float8[] := ml._symmetric_matrix(sums[v_count + 2:], v_count + 1);
  v_centred float8[];
  v_used integer[] := '{}';
  v_size integer;
  v_position integer;
  v_a float8[];
  v_root float8[];
  v_slope float8[];
  v_covariance float8[];
  v_inverse float8[];
  v_dependent integer;
  v_row float8;
  v_largest float8 := 0;
  v_largest_inverse float8 := 0;
  v_explained float8 := 0;
  v_off_centre float8 := 1;
begin
  trusted := true;
  if design ? 'weights' then
    v_n := sums[cardinality(sums)];
  end if;
  -- the intercept: the first constant that is written or found
  for j in 1..v_width loop
    if v_literal[j] is not null then
      if v_literal[j] = 0 then
        failure := format('column %s is always 0', ml._label(design, j));
        return;
      elsif intercept is not null then
        failure := format(
          'column %s is constant, and so is column %s', ml._label(design, j), ml._label(design, intercept)
        );
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
  if row_count < v_width then
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
        -- the candidate for the intercept is not constant: the shift is reverted
        v_row := case
          when i = 1 then v_y_shift * v_y_scale
          else v_shift[v_active[i - 1]] * v_scale[v_active[i - 1]]
        end;
        v_explained := case
          when j = 1 then v_y_shift * v_y_scale
          else v_shift[v_active[j - 1]] * v_scale[v_active[j - 1]]
        end;
        v_centred[i][j] := v_product[i][j] + v_row * v_sum[j] + v_explained * v_sum[i] + v_n * v_row * v_explained;
      end if;
      v_centred[j][i] := v_centred[i][j];
    end loop;
  end loop;

  v_root := array_fill(1::float8, array[v_size + 1]);
  for i in 1..v_size loop
    v_row := v_centred[v_used[i]][v_used[i]];
    if v_row <= 1e-11 * v_product[v_used[i]][v_used[i]] or v_row <= 0 then
      -- constant, or with too little variance to decide in double precision
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
  select solved.inverse, solved.dependent
  into v_inverse, v_dependent
  from ml._spd_inverse(v_a, 1e-12) as solved;
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

  -- Rounding errors grow with the condition of the correlations, with the digits lost by centring, and with the share
  -- of y that the fit explains. Ten digits are required where a second scan in numeric is cheap, six where it would
  -- take minutes.
  trusted := v_product[1][1] = 0
    or greatest(v_largest * v_largest_inverse, 1) * greatest(v_off_centre * v_centred[1][1], v_product[1][1]) * 4e-16
      <= rss * (case when row_count::float8 * v_size * v_size < 2e7 then 1e-10 else 1e-6 end);

  -- from the columns in use to all columns
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
    -- without an intercept the shift was reverted
    design || case
      when intercept is null then jsonb_build_object('shift', to_jsonb(array_fill(0, array[v_width])))
      else '{}'
    end,
    intercept, intercept_value
  ) as unscaled;

  condition_no := ml._condition_number(ml._cross_product(v_n, v_sum, v_product, design), inverse);
end
$$;

comment on function ml._least_squares(bigint, float8[], jsonb) is $$
Returns the least squares fit in double precision from sums of centred and scaled columns.
`coef` and (X'X)^-1 (`inverse`) are in the caller's units, `beta` is for the columns as they are summed (the intercept
counts as 1). `trusted` is false where too many digits were lost. `failure` is the reason why there is no fit: constant
or collinear columns, fewer rows than columns; null otherwise.
$$;

grant execute on function
  ml._cross_product(float8, float8[], float8[], jsonb),
  ml._least_squares(bigint, float8[], jsonb)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_least_squares.sql

--! Included ml/regression/_least_squares_numeric.sql
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
  v_n constant numeric := case when design ? 'weights' then sums[cardinality(sums)] else row_count end;
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

  -- to correlations: scaled by the decimal exponent first, so that `digits` decimals are as many significant digits
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

  -- Columns of exact data are collinear when the remaining variance is exactly 0; with values rounded to double
  -- precision about 1e-32 of the variance remains.
  select solved.inverse, solved.dependent into v_inverse, v_dependent
  from ml._spd_inverse_numeric(
    v_r[1:v_size][1:v_size], case when (design ->> 'exact')::boolean then 1e-60 else 1e-28 end, v_digits
  ) as solved;
  if v_dependent is not null then
    failure := format(
      'column %s is a linear combination of the columns before it',
      ml._label(design, v_active[v_used[v_dependent] - 1])
    );
    return;
  end if;

  v_slope := array_fill(0::numeric, array[v_size + 1]);
  for i in 1..v_size loop
    for j in 1..v_size loop
      v_slope[i] := v_slope[i] + round(v_inverse[i][j] * v_r[j][v_size + 1], v_digits);
    end loop;
    v_left := v_left - round(v_slope[i] * v_r[i][v_size + 1], v_digits);
  end loop;
  -- after a perfect fit only the rounding error of the decimals remains
  if abs(v_left) < 1e-40 then
    v_left := 0;
  end if;
  v_unit := case when intercept is not null then v_n else 1 end;
  rss := v_moment[1][1] * v_left / v_unit;
  r2 := case when v_moment[1][1] > 0 then 1 - v_left end;

  for i in 1..v_size loop
    v_i := v_active[v_used[i] - 1];
    v_exact[v_i] := v_slope[i] * v_root[v_size + 1] / v_root[i]
      * ('1e' || v_exponent[v_size + 1] - v_exponent[i])::numeric;
    for j in 1..v_size loop
      v_j := v_active[v_used[j] - 1];
      v_covariance[v_i][v_j] := v_inverse[i][j] / (v_root[i] * v_root[j]) * v_unit
        * ('1e' || -(v_exponent[i] + v_exponent[j]))::numeric;
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

  -- the same model for the shifted and scaled columns, from which residuals are computed later
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
Returns the least squares fit in numeric, with ninety digits, from exact sums of the columns.
Outputs as ml._least_squares.
When the data are integers and decimals, a column is collinear when its remaining variance is exactly 0, not within a
tolerance.
$$;

grant execute on function ml._least_squares_numeric(bigint, numeric[], jsonb)
  to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_least_squares_numeric.sql

--! Included ml/regression/linregr_train.sql
/*
 * One scan computes all sums that ordinary least squares needs; the rest is k x k algebra. Where strong correlations or
 * a nearly perfect fit would leave fewer than ten digits of double precision, the sums are computed once more in
 * numeric, exactly: this reproduces the certified digits of NIST's most difficult data sets, and costs nothing for
 * other data.
 */
create or replace function ml._numeric_sums(design jsonb, keys text[])
returns table (key text, complete_count bigint, skipped_count bigint, sums numeric[])
language plpgsql
as $$
declare
  v_columns constant text := ml._columns_of(design, 'x', ', %s', '');
  v_prior constant text := case when design ? 'weights' then ', prior' else '' end;
  v_state text;
  v_message text;
begin
  return query execute ml._sums_statement(
    'key, count(*) filter (where complete) as complete, count(*) filter (where not complete) as row_count',
    array(
      select term || ' filter (where complete)'
      from unnest(ml._product_sums(design, 'x')) with ordinality as list (term, nth)
      order by nth
    ),
    format('from (%s) as row where key = any (%L) group by key', ml._layer(
      format('y%s%s, %s as complete, %s as key', v_columns, v_prior, ml._complete(design), coalesce(
        (
          select format('row(%s)::text', string_agg('g' || nth, ', ' order by nth))
          from jsonb_array_elements(design -> 'groups') with ordinality as part (name, nth)
          having count(*) > 0
        ),
        '''''::text'
      )),
      format('(%s) as source', ml._values(design, 'numeric'))
    ), keys)
  );
exception when others then
  get stacked diagnostics v_state = returned_sqlstate, v_message = message_text;
  perform ml._caller_error(v_state, v_message, (design ->> 'relation')::regclass);
end;
$$;

comment on function ml._numeric_sums(jsonb, text[]) is $$
Returns the sums of a design in numeric, exactly, for the groups with the given keys (one empty key without groups).
$$;

create or replace function ml._float8_sums(design jsonb)
returns table (key text, complete_count bigint, skipped_count bigint, sums float8[])
language plpgsql
as $$
declare
  v_relation constant regclass := (design ->> 'relation')::regclass;
begin
  -- Without groups and nulls, a plain aggregate takes a fifth less time than one that is grouped by completeness.
  if design -> 'groups' = '[]' and not (design ->> 'nulls')::boolean then
    return query
    select null::text, part.row_count, 0::bigint, part.sums
    from ml._sums(
      ml._sums_statement(
        'null::text as key, count(*) = count(*) filter (where complete) as complete, count(*) as row_count',
        ml._product_sums(design, 'd'),
        format('from (%s) as row', ml._rows(design))
      ),
      v_relation,
      true
    ) as part
    where part.complete
      and part.row_count > 0;
    if found then
      return;
    end if;
  end if;
  return query
  select
    part.key,
    coalesce(sum(part.row_count) filter (where part.complete), 0)::bigint,
    coalesce(sum(part.row_count) filter (where not part.complete), 0)::bigint,
    max(part.sums) filter (where part.complete)
  from ml._sums(
    ml._sums_statement(
      'key, complete, count(*) as row_count',
      ml._product_sums(design, 'd'),
      format('from (%s) as row group by key, complete', ml._rows(design))
    ),
    v_relation,
    true
  ) as part
  group by part.key;
end;
$$;

comment on function ml._float8_sums(jsonb) is $$
Returns the sums of a design in double precision, with the numbers of complete and of skipped rows, by group key.
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
  v_doubtful text[] := '{}';
  v_group record;
  v_fit record;
begin
  for v_group in select * from ml._float8_sums(design) loop
    key := v_group.key;
    row_count := v_group.complete_count;
    skipped := v_group.skipped_count;
    arithmetic := 'float8';
    if row_count = 0 then
      v_fit := null;
      failure := ml._no_rows(design);
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
Returns ordinary least squares fits, one row per group.
In double precision where that is accurate, else in numeric (`arithmetic` states which).
$$;

create or replace function ml._residuals(design jsonb, fits jsonb, extra text default '')
returns text
language plpgsql
set search_path to pg_catalog, pg_temp
as $$
declare
  v_active constant integer[] := array(select jsonb_array_elements_text(design -> 'active')::int);
  v_grouped constant boolean := design -> 'groups' <> '[]';
begin
  -- The rows, joined with the model of their group: residual e = y - b0 - sum b d, in the unit of y.
  return ml._layer(
    format(
      'row.key%s%s, row.y / %L::float8 + %L::float8 - fit.b0%s as e, fit.mean_square',
      ml._columns_of(design, 'd', ', row.%s', ''),
      extra,
      design ->> 'y_scale',
      design ->> 'y_shift',
      (
        select coalesce(string_agg(format(' - fit.b%s * row.d%s', position, position), '' order by position), '')
        from unnest(v_active) as position
      )
    ),
    format('(select * from (%s) as row where complete) as row ', ml._rows(design)) || format(
      case when v_grouped then 'join (%s) as fit on fit.key = row.key' else 'cross join (%s) as fit' end,
      (
        select format(
          'select * from unnest(%L::text[], %L::float8[], %L::float8[]%s) as fit (key, mean_square, b0%s)',
          array_agg(coalesce(fit ->> 'key', '') order by nth),
          array_agg((fit ->> 'mean_square')::float8 order by nth),
          array_agg(coalesce((fit -> 'beta' ->> (fit ->> 'intercept')::int - 1)::float8, (
            -- without an intercept: the sum of the shifts times the coefficients
            select sum(
              (fit -> 'beta' ->> position - 1)::float8
              * (design -> 'scale' ->> position - 1)::float8
              * (design -> 'shift' ->> position - 1)::float8
            )
            from unnest(v_active) as position
          )) order by nth),
          (
            select coalesce(string_agg(
              format(', %L::float8[]', (
                select array_agg(
                  case
                    when position = (one ->> 'intercept')::int then 0
                    else (one -> 'beta' ->> position - 1)::float8
                  end
                  order by one_nth
                )
                from jsonb_array_elements(fits) with ordinality as each_fit (one, one_nth)
              )),
              '' order by position
            ), '')
            from unnest(v_active) as position
          ),
          (
            select coalesce(string_agg(format(', b%s', position), '' order by position), '')
            from unnest(v_active) as position
          )
        )
        from jsonb_array_elements(fits) with ordinality as every_fit (fit, nth)
      )
    )
  );
end;
$$;

comment on function ml._residuals(jsonb, jsonb, text) is $$
Returns the text of the select that adds the residual `e` under its group's model to each complete row.
`fits` is an array of objects with `key`, `beta`, `intercept` and `mean_square`. `extra` is added to the select list.
$$;

create or replace function ml.linregr_train(
  source_table text,
  out_table text,
  dependent_varname text,
  independent_varname text,
  grouping_cols text default null,
  heteroskedasticity_option boolean default false,
  weights text default null,
  offsets text default null
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_output text := common.output_table(out_table, array['_summary']);
  v_design jsonb := ml._design(
    source_table,
    ml._less_offsets(dependent_varname, offsets, source_table),
    independent_varname,
    grouping_cols,
    weights
  );
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
  if heteroskedasticity_option and weights is not null then
    perform common.refuse('CF001', 'heteroskedasticity_option is true and there are weights',
      'Weights assume known variances; to allow for others, use ml.robust_variance_linregr with the weights.');
  end if;
  for v_fit in select * from ml._linregr_fits(v_design) loop
    v_rows := v_rows + v_fit.row_count;
    v_skipped := v_skipped + v_fit.skipped;
    if v_fit.failure is not null then
      if v_design -> 'groups' = '[]' then
        perform ml._fit_failed(v_fit.failure, v_design ->> 'relation');
      end if;
      v_failed := v_failed + 1;
      v_result := v_result || jsonb_build_object(
        'key', v_fit.key,
        'num_rows_processed', v_fit.row_count,
        'num_missing_rows_skipped', v_fit.skipped,
        'failure', v_fit.failure
      );
      continue;
    end if;
    v_mean_square := case when v_fit.row_count > v_width then v_fit.rss / (v_fit.row_count - v_width) end;
    v_wald := ml._wald(v_fit.coef, ml._scaled(v_fit.inverse, v_mean_square), v_fit.row_count - v_width);
    v_fits := v_fits || jsonb_build_object(
      'key', v_fit.key,
      'beta', to_jsonb(v_fit.beta),
      'intercept', v_fit.intercept,
      'mean_square', v_fit.rss / v_fit.row_count,
      'inverse', case when heteroskedasticity_option then to_jsonb(v_fit.inverse) end,
      'row_count', v_fit.row_count
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
    perform common.refuse('CF004', format('"%s" has no rows', left(v_design ->> 'relation', 100)),
      'Train on a table with rows.');
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
      || 'num_rows_processed bigint, num_missing_rows_skipped bigint, variance_covariance float8[], '
      || 'arithmetic text, failure text',
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
      'num_failed_groups', v_failed,
      'weights', weights,
      'offsets', offsets
    ),
    'method text, source_table text, out_table text, dependent_varname text, independent_varname text, '
      || 'num_rows_processed bigint, num_missing_rows_skipped bigint, grouping_cols text, '
      || 'num_all_groups bigint, num_failed_groups bigint, weights text, offsets text'
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
    v_statistic := v_group.row_count * v_explained
      / nullif(v_sums[2] - v_sums[1] * v_sums[1] / v_group.row_count, 0);
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
Returns Breusch and Pagan's test for heteroskedasticity, in Koenker's form n R^2, by group key.
$$;

comment on function ml.linregr_train(text, text, text, text, text, boolean, text, text) is $$
@behavior -*
Trains a linear regression by ordinary least squares, as MADlib.
One model, or one for each value of the grouping columns.
`dependent_varname` is a column or expression; `independent_varname` an array: `array[1, tax, bath]` or a column of type
float8[]. No intercept is added: include the 1. Rows with a null are skipped and counted; NaN and infinity are an error.
Writes `out_table`: the grouping columns, coef, r2, std_err, t_stats, p_values (Student's t), condition_no (of X),
bp_stats and bp_p_value (Breusch-Pagan in Koenker's form, with `heteroskedasticity_option`), num_rows_processed,
num_missing_rows_skipped, variance_covariance, and, not in MADlib, `arithmetic` (`float8`, or `numeric` where double
precision would keep fewer than ten digits) and `failure` (why a group could not be fitted, else null); and
`<out_table>_summary`. r2 is about the mean when a constant is among the columns, else about zero (as in R and NIST).
`weights` is an expression: the variance of a row is assumed to be the reciprocal of its weight (R's `lm`); a row of
weight 0 is skipped. `offsets` is an expression whose coefficient is 1 (r2 is of the rest); add it to predictions.
One parallel scan; a second one in numeric only where needed. At most 250 columns.
Errors: CF001 (not a number, not finite, a weight that is negative or null: names the row), CF002 (unknown table or
column: names the nearest), CF003 (output exists), CF004 (no rows, fewer than columns), CF005 (not readable), CF007
(constant or collinear column: names it), CF008.
Source: Golub and Van Loan, Matrix Computations; MADlib's linregr_train; certified against NIST StRD.
$$;

grant execute on function
  ml._numeric_sums(jsonb, text[]),
  ml._float8_sums(jsonb),
  ml._linregr_fits(jsonb),
  ml._residuals(jsonb, jsonb, text),
  ml._breusch_pagan(jsonb, jsonb),
  ml.linregr_train(text, text, text, text, text, boolean, text, text)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/linregr_train.sql

--! Included ml/regression/_settled.sql
create or replace function ml._settled(
  design jsonb,
  out settled jsonb,
  out keys text[],
  out row_counts bigint[],
  out skipped bigint[],
  out sums float8[],
  out mean_weights float8[],
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
  -- the first scan: groups, counts, range of y, whether the candidates are constant, whether all values are finite
  settled := design || '{"y_shift": 0, "y_scale": 1}';
  keys := '{}';
  row_counts := '{}';
  skipped := '{}';
  sums := '{}';
  mean_weights := '{}';
  for v_part in
    select
      part.key,
      coalesce(sum(part.row_count) filter (where part.complete), 0)::bigint as complete_count,
      coalesce(sum(part.row_count) filter (where not part.complete), 0)::bigint as skipped_count,
      max(part.sums) filter (where part.complete) as sums
    from ml._sums(
      format(
        $statement$
        select
          key,
          complete,
          count(*),
          case when complete then array[%s, min(y), max(y), sum(abs(y * (y - 1)))%s%s] end
        from (%s) as row
        group by key, complete
        $statement$,
        case when design ? 'weights' then 'sum(prior * y) / sum(prior) * count(*)' else 'sum(y)' end,
        ml._columns_of(settled, 'd', ', sum(%1$s * %1$s)', ''),
        case when design ? 'weights' then ', sum(prior) / count(*)' else ', 1' end
          || case when design ? 'offsets' then ', sum(baseline)' else '' end,
        ml._rows(settled)
      ),
      (design ->> 'relation')::regclass,
      true
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
    mean_weights := mean_weights || v_part.sums[5 + cardinality(v_active)];
    v_total := v_total + v_part.complete_count;
    for i in 1..cardinality(v_active) loop
      v_spreads[v_active[i]] := v_spreads[v_active[i]] + coalesce(v_part.sums[4 + i], 0);
    end loop;
  end loop;
  if keys = '{}' then
    perform common.refuse('CF004', format('"%s" has no rows', left(design ->> 'relation', 100)),
      'Train on a table with rows.');
  end if;

  for place in 1..v_width loop
    if design -> 'literals' -> place - 1 <> 'null' or (place = any (v_candidates) and v_spreads[place] = 0) then
      if (design -> 'literals' ->> place - 1)::float8 = 0 then
        failure := format('column %s is always 0', ml._label(design, place));
      elsif v_constant is not null then
        failure := format(
          'column %s is constant, and so is column %s', ml._label(design, place), ml._label(design, v_constant)
        );
      else
        v_constant := place;
      end if;
    elsif v_spreads[place] = 0 and v_total > 0 then
      failure := format('column %s is constant', ml._label(design, place));
    end if;
  end loop;
  settled := settled || jsonb_build_object(
    'intercept', v_constant,
    'intercept_value', coalesce(
      (design -> 'literals' ->> v_constant - 1)::float8,
      (design -> 'shift' ->> v_constant - 1)::float8
    ),
    'spread', (
      select jsonb_agg(case when v_total > 0 then sqrt(spread / v_total) end order by place)
      from unnest(v_spreads) with ordinality as list (spread, place)
    ),
    'active', (
      select coalesce(jsonb_agg(place order by place), '[]')
      from unnest(v_active) as place
      where place is distinct from v_constant
    ),
    'candidates', '[]'::jsonb
  );
  if v_constant is null then
    -- without an intercept a shift could not be transformed back: the columns are fitted without shifts
    settled := settled || jsonb_build_object('shift', to_jsonb(array_fill(0, array[v_width])));
  end if;
end;
$$;

comment on function ml._settled(jsonb) is $$
Returns a design after the first scan of an iterative fit, with the groups and their row counts.
The design has the additional keys `intercept`, `intercept_value` and `spread`, and all values are finite. `sums`
contains per group the sum of y (with weights, their mean of y times the rows), min, max of y and sum |y (y - 1)|;
`mean_weights` the mean weight, 1 without weights. `failure` names a constant column; null otherwise.
$$;

grant execute on function ml._settled(jsonb) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_settled.sql

--! Included ml/regression/_glm_source.sql
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
  -- mu and the rest 1 - mu (binomial only), null outside the range of the link; slope d mu / d eta; bounds prevent
  -- an overflow of exp
  mu := case link
    when 'identity' then case when family = 'gaussian' then 'eta' else 'case when eta > 0 then eta end' end
    when 'log' then 'exp(least(greatest(eta, -200), 200))'
    when 'logit' then '1 / (1 + exp(least(greatest(-eta, -100), 100)))'
    when 'probit' then 'ml._standard_normal_cdf(least(greatest(eta, -30), 30))'
    when 'inverse' then case
      when family = 'gaussian' then 'case when abs(eta) > 1e-30 then 1 / eta end'
      else 'case when eta > 1e-30 then 1 / eta end'
    end
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
  -- starting values: near each row's own value (McCullagh and Nelder, 2.5)
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
Returns the SQL expressions of a family and link in terms of eta, mu, rest and y.
Source: McCullagh and Nelder, Generalized Linear Models, table 2.1.
$$;

create or replace function ml._linear_predictor(variables integer[], prefix text default '')
returns text
language sql
stable
parallel safe
begin atomic
  select string_agg(
    case when variable = 0 then 'fit.b0' else format('fit.b%s * %sd%s', variable, prefix, variable) end,
    ' + ' order by place
  )
  from unnest(variables) with ordinality as list (variable, place);
end;

comment on function ml._linear_predictor(integer[], text) is $$
Returns the text of the sum of coefficients times columns.
$$;

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
  v_carried text := (
    select coalesce(string_agg(', ' || name, '' order by nth), '')
    from unnest(v_columns) with ordinality as list (name, nth)
  ) || case when design ? 'clusters' then ', cluster' else '' end
    || case when design ? 'weights' then ', prior' else '' end
    || case when design ? 'offsets' then ', baseline' else '' end;
  v_prior constant text := case when design ? 'weights' then 'prior * ' else '' end;
  v_source text;
begin
  -- row: the columns; first: eta; second: mu; third: weight, score and deviance
  v_source := format(
    '(select * from (%s) as row where complete) as row %s',
    ml._rows(design),
    ml._model_of_group(design, keys, beta, variables)
  );
  if beta is null then
    v_source := format('(%s) as first', ml._layer(
      format('fit.nth, row.y%s', replace(v_carried, ', ', ', row.')),
      v_source
    ));
    v_source := format('(%s) as second', ml._layer(
      format(
        'nth, y%s, %s as mu, %s as rest',
        v_carried,
        v_terms.start_mu,
        case when family = 'binomial' then '(1.5 - y) / 2' else 'null::float8' end
      ),
      v_source
    ));
    v_source := format('(%s) as second', ml._layer(
      format('nth, y%s, mu, rest, %s as eta', v_carried, v_terms.start_eta),
      v_source
    ));
  else
    v_source := format('(%s) as first', ml._layer(
      format(
        'fit.nth, row.y%s, %s as eta',
        replace(v_carried, ', ', ', row.'),
        ml._linear_predictor(variables, 'row.') || case when design ? 'offsets' then ' + row.baseline' else '' end
      ),
      v_source
    ));
    v_source := format('(%s) as second', ml._layer(
      format('nth, y%s, eta, %s as mu, %s as rest', v_carried, v_terms.mu, v_terms.rest),
      v_source
    ));
  end if;
  if family = 'binomial' and link = 'logit' then
    v_source := format('(%s) as third', ml._layer(
      format(
        'nth, y%1$s, eta, mu, %2$smu * rest as weight, %2$scase when y = 1 then rest else -mu end as score, '
          || '%2$s(%3$s) as deviance',
        v_carried,
        v_prior,
        v_terms.deviance
      ),
      v_source
    ));
  else
    v_source := format('(%s) as second', ml._layer(
      format(
        'nth, y%s, eta, mu, (%s) as slope, %s(%s) / (%s) as ratio, %s(%s) as deviance',
        v_carried, v_terms.slope, v_prior, v_terms.slope, v_terms.variance, v_prior, v_terms.deviance
      ),
      v_source
    ));
    v_source := format('(%s) as third', ml._layer(
      format('nth, y%s, eta, mu, ratio * slope as weight, (y - mu) * ratio as score, deviance', v_carried),
      v_source
    ));
  end if;
  return v_source;
end;
$$;

comment on function ml._glm_source(jsonb, text, text, float8, text[], float8[], integer[]) is $$
Returns the text of the subquery with the rows that one step of Fisher scoring sums.
It is named `third` and has the group's number, y, the columns, eta, mu, and each row's weight, score and deviance,
which are multiplied by its weight in the design.
$$;

grant execute on function
  ml._glm_terms(text, text, float8),
  ml._linear_predictor(integer[], text),
  ml._glm_source(jsonb, text, text, float8, text[], float8[], integer[])
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_glm_source.sql

--! Included ml/regression/_glm_statement.sql
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
  v_carried text := (
    select coalesce(string_agg(', ' || name, '' order by nth), '')
    from unnest(v_columns) with ordinality as list (name, nth)
  );
  v_source text := ml._glm_source(design, family, link, mean, keys, beta, variables);
  v_score text;
begin
  v_score := case
    when beta is not null then 'score'
    when design ? 'offsets' then 'weight * (eta - baseline) + score'
    else 'weight * eta + score'
  end;
  v_source := format('(%s) as fourth', ml._layer(
    format(
      'nth, y, mu, weight, %s as score, deviance%s%s',
      v_score,
      v_carried,
      (
        select coalesce(string_agg(format(', weight * %s as w%s', name, name), '' order by nth), '')
        from unnest(v_columns) with ordinality as list (name, nth)
      )
    ),
    v_source
  ));
  return ml._sums_statement(
    format(
      '%s as key, true as complete, count(*) as row_count',
      case when design -> 'groups' = '[]' then '''1''' else 'nth::text' end
    ),
    '{sum(deviance), (count(*) - count(mu))::float8}'::text[] || (
      select array_agg(term order by kind, row_place, column_place)
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
        join unnest(variables) with ordinality as column_list (variable, place)
          on column_list.place >= row_list.place
      ) as every_term
    ) || case
      when beta is not null and family not in ('binomial', 'poisson') then '{sum(score * score / weight)}'::text[]
    end,
    format('from %s%s', v_source, case when design -> 'groups' = '[]' then '' else ' group by nth' end)
  );
end;
$$;

comment on function ml._glm_statement(jsonb, text, text, float8, text[], float8[], integer[]) is $$
Returns the text of the statement for one step of Fisher scoring.
By group number: the deviance, the number of rows outside the range of the link, the score vector, the upper triangle of
the information and, where the dispersion is estimated, Pearson's statistic. When `beta` is null, the step starts from
each row's own value.
$$;

grant execute on function ml._glm_statement(jsonb, text, text, float8, text[], float8[], integer[])
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_glm_statement.sql

--! Included ml/regression/_glm_fits.sql
/*
 * Fisher scoring (iteratively reweighted least squares) for generalized linear models. Each iteration is one generated
 * statement of built-in sums, in parallel where the table is large, for all groups that have not converged. In the
 * statement eta, mu and the weights are computed layer by layer, so that each is computed once per row.
 */
create or replace function ml._glm_failures(
  design jsonb,
  family text,
  link text,
  row_counts bigint[],
  sums float8[],
  failure text
)
returns text[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_width constant integer := (design ->> 'width')::int;
  v_y constant text := left(design ->> 'y', 100);
  v_failures text[] := array_fill(failure, array[cardinality(row_counts)]);
  v_mean float8;
  v_least float8;
  v_largest float8;
begin
  for g in 1..cardinality(row_counts) loop
    v_least := sums[4 * g - 2];
    v_largest := sums[4 * g - 1];
    if row_counts[g] = 0 then
      v_failures[g] := ml._no_rows(design);
    elsif family = 'binomial' and sums[4 * g] > 0 then
      perform common.refuse(
        'CF001',
        format(
          'the dependent variable "%s" holds %s, a class is 0 or 1',
          v_y,
          case when v_least <> 0 then v_least else v_largest end
        ),
        'Give a boolean, 0 and 1, or an expression such as score >= 50.'
      );
    elsif family = 'binomial' and v_least = v_largest then
      v_failures[g] := format('it holds one class only, %s', v_largest);
    elsif family = 'poisson' and v_least < 0 or family in ('gamma', 'inverse_gaussian') and v_least <= 0 then
      perform common.refuse(
        'CF001',
        format('the dependent variable "%s" holds %s, which family %s cannot have', v_y, v_least, left(family, 100)),
        case family when 'poisson' then 'Counts are 0 or more.' else 'Values must be positive.' end
      );
    elsif family = 'poisson' and v_largest = 0 then
      v_failures[g] := 'every count is 0, so it holds one class only';
    elsif row_counts[g] < v_width then
      v_failures[g] := format('%s complete rows for %s columns', row_counts[g], v_width);
    end if;
  end loop;
  v_mean := (select sum(sums[4 * g - 3]) from generate_series(1, cardinality(row_counts)) as g)
    / nullif((select sum(n) from unnest(row_counts) as n), 0);
  if family = 'gaussian' and link = 'log' and not v_mean > 0 then
    perform common.refuse(
      'CF001',
      format('the mean of "%s" is %s, which is outside the range of the log link', v_y, v_mean),
      'Use link=identity.'
    );
  end if;
  return v_failures;
end;
$$;

comment on function ml._glm_failures(jsonb, text, text, bigint[], float8[], text) is $$
Returns for each group the reason why it cannot be fitted, null for groups that can.
`row_counts`, `sums` and `failure` are those of ml._settled. Error CF001 for values of y that the family cannot have.
$$;

create or replace function ml._glm_linked(family text, link text, value float8, mean float8)
returns float8
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return case link
    when 'identity' then value
    when 'log' then ln(greatest(value, 1e-10 * abs(mean)))
    when 'logit' then ln(value / (1 - value))
    when 'probit' then ml.normal_quantile(case when family = 'binomial' then value else 0.5 end)
    when 'inverse' then 1 / value
    when 'sqr_inverse' then 1 / (value * value)
    when 'sqrt' then sqrt(value)
  end;
end;
$$;

comment on function ml._glm_linked(text, text, float8, float8) is $$
Returns the link function at the mean `value` of a group; `mean` is that of all groups.
$$;

create or replace function ml._glm_estimate(
  settled jsonb,
  unknowns float8[],
  covariance float8[],
  out beta float8[],
  out coef float8[],
  out inverse float8[]
)
language plpgsql
immutable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_width constant integer := (settled ->> 'width')::int;
  v_intercept constant integer := (settled ->> 'intercept')::int;
  v_place constant integer[] := array(
    select case when variable = 0 then v_intercept else variable end
    from unnest(ml._variables(settled)) with ordinality as list (variable, nth)
    order by nth
  );
  v_full float8[] := array_fill(0::float8, array[v_width, v_width]);
begin
  beta := array_fill(0::float8, array[v_width]);
  for i in 1..cardinality(v_place) loop
    beta[v_place[i]] := unknowns[i];
    for j in 1..cardinality(v_place) loop
      v_full[v_place[i]][v_place[j]] := covariance[i][j];
    end loop;
  end loop;
  select unscaled.coef, unscaled.vcov
  into coef, inverse
  from ml._unscaled(
    beta, v_full, settled, v_intercept, (settled ->> 'intercept_value')::float8
  ) as unscaled;
end;
$$;

comment on function ml._glm_estimate(jsonb, float8[], float8[]) is $$
Returns the coefficients and the inverse of the information for all columns of a settled design.
`beta` is for the columns as they are summed, `coef` and `inverse` are in the caller's units.
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
  out total_weight float8,
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
  v_intercept constant integer := (v_first.settled ->> 'intercept')::int;
  v_variables constant integer[] := ml._variables(v_first.settled);
  v_size constant integer := cardinality(v_variables);
  v_own constant boolean := v_intercept is null or design ? 'offsets';
  v_groups constant integer := cardinality(v_first.keys);
  v_spread constant float8[] := array(select jsonb_array_elements_text(v_first.settled -> 'spread')::float8);
  v_mean float8;
  v_beta float8[] := array_fill(0::float8, array[v_groups * v_size]);
  v_before float8[] := v_beta;
  v_step float8[] := v_beta;
  v_deviance float8[] := array_fill('Infinity'::float8, array[v_groups]);
  v_pearson float8[] := array_fill(null::float8, array[v_groups]);
  v_reach float8[] := array_fill('Infinity'::float8, array[v_groups]);
  v_steady integer[] := array_fill(0, array[v_groups]);
  v_halvings integer[] := array_fill(0, array[v_groups]);
  v_iterations integer[] := array_fill(0, array[v_groups]);
  v_done boolean[];
  v_good boolean[] := array_fill(false, array[v_groups]);
  v_failure text[];
  v_inverse jsonb[] := array_fill(null::jsonb, array[v_groups]);
  v_matrix float8[];
  v_solved record;
  v_part record;
  v_living integer[];
  v_g integer;
  v_at integer;
  v_unit float8;
  v_value float8;
  v_gain float8;
  v_length float8;
  v_farthest float8;
  v_column integer;
begin
  v_mean := (select sum(v_first.sums[4 * g - 3]) from generate_series(1, v_groups) as g)
    / nullif((select sum(n) from unnest(v_first.row_counts) as n), 0);
  v_failure := ml._glm_failures(
    v_first.settled, family, link, v_first.row_counts, v_first.sums, v_first.failure
  );
  v_done := array(select reason is not null from unnest(v_failure) with ordinality as list (reason, nth) order by nth);

  -- With an intercept, step 1 evaluates the model of the mean. Without one, or with offsets, step 0 starts from each
  -- row's own value.
  -- Each further step evaluates the model of the step before and improves it.
  if not v_own then
    for g in 1..v_groups loop
      if v_failure[g] is null then
        v_beta[(g - 1) * v_size + 1] := ml._glm_linked(
          family, link, v_first.sums[4 * g - 3] / nullif(v_first.row_counts[g], 0), v_mean
        );
      end if;
    end loop;
  end if;
  for iteration in case when v_own then 0 else 1 end..max_iter loop
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
            from unnest(v_living) with ordinality as living (g, nth)
            cross join generate_series(1, v_size) as j
            order by nth, j
          ) end,
          v_variables
        ),
        v_relation,
        true
      ) as part
    loop
      v_g := v_part.g;
      -- gains and deviances are compared as if the weights had the mean 1
      v_unit := v_first.mean_weights[v_g];
      if iteration > 0 then
        v_iterations[v_g] := iteration;
        -- outside the range of the link, or a larger deviance: the step is halved
        if v_part.sums[2] > 0 or v_part.sums[1] > v_deviance[v_g] * (1 + 1e-8) + 1e-12 * v_unit then
          v_halvings[v_g] := v_halvings[v_g] + 1;
          if v_halvings[v_g] > 30 then
            v_done[v_g] := true;
            v_failure[v_g] := case
              when v_deviance[v_g] = 'Infinity' then 'no starting point is inside the range of the link'
            end;
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

      v_matrix := ml._symmetric_matrix(v_part.sums[3 + v_size:], v_size);
      v_solved := ml._scaled_inverse(v_matrix, case when v_iterations[v_g] <= 1 then 1e-11 else 1e-14 end);
      if v_solved.dependent is not null then
        v_done[v_g] := true;
        v_column := v_variables[v_solved.dependent];
        v_failure[v_g] := case
          when v_iterations[v_g] <= 1
            then format(
              'column %s is a linear combination of the columns before it',
              ml._label(design, coalesce(nullif(v_column, 0), v_intercept))
            )
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
        v_gain := v_gain + v_value / v_unit * v_part.sums[2 + i];
        if v_variables[i] > 0 and abs(v_value) * v_spread[v_variables[i]] > v_farthest then
          v_farthest := abs(v_value) * v_spread[v_variables[i]];
          v_column := v_variables[i];
        end if;
      end loop;

      if iteration > 0 then
        v_inverse[v_g] := to_jsonb(v_solved.inverse);
        -- Towards a finite optimum the steps shrink faster and faster. Where the classes are separated they stay as
        -- long as they are while the likelihood hardly increases: the coefficient would grow without bound.
        v_steady[v_g] := case when v_gain < 0.1 and v_farthest > 0.5 * v_reach[v_g] then v_steady[v_g] + 1 else 0 end;
        v_reach[v_g] := v_farthest;
        if family in ('binomial', 'poisson')
          and v_steady[v_g] >= 3
          and v_farthest > 1e-3
          and (
            v_gain <= (tolerance / 100) ^ 2
            -- With probit the steps shrink as 1 / eta.
            or v_steady[v_g] >= 8 and v_gain < 1e-6 and v_farthest > 0.01
            or v_farthest > 0.3 and (v_gain < 1e-5 or iteration = max_iter and iteration >= 15)
          )
        then
          v_done[v_g] := true;
          v_failure[v_g] := ml._separation(design, v_column);
        -- The root of the gain is the distance to the optimum in standard errors. With a canonical link the step just
        -- made squares the distance, and changes the information by the distance over the root of n: with many rows the
        -- iteration ends one step earlier.
        elsif v_gain <= (case
            when (family, link) in (('binomial', 'logit'), ('poisson', 'log')) then
              least(v_first.row_counts[v_g] * (tolerance / 100) ^ 2, tolerance / 100)
            when family = 'binomial' then (tolerance / 100) ^ 2
            else (tolerance / 100) ^ 2 * v_part.sums[1] / v_unit / v_first.row_counts[v_g]
          end)
          or v_gain <= 1e-24 * v_length / v_unit
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
    total_weight := v_first.mean_weights[g] * row_count;
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
      select estimate.beta, estimate.coef, estimate.inverse
      into beta, coef, inverse
      from ml._glm_estimate(
        v_first.settled,
        v_beta[(g - 1) * v_size + 1:g * v_size],
        translate(v_inverse[g]::text, '[]', '{}')::float8[]
      ) as estimate;
      information := (ml._scaled_inverse(inverse, 1e-15)).inverse;
    end if;
    return next;
  end loop;
end;
$$;

comment on function ml._glm_fits(jsonb, text, text, integer, float8) is $$
Fits a generalized linear model to each group and returns one row per group.
`beta` is for the columns as they are summed; `coef`, `inverse` (of the information, with dispersion 1) and
`information` are in the caller's units. The iteration ends when the distance to the optimum is below tolerance / 100
standard errors.
`failure` names a collinear or separating column; null otherwise.
$$;

grant execute on function
  ml._glm_failures(jsonb, text, text, bigint[], float8[], text),
  ml._glm_linked(text, text, float8, float8),
  ml._glm_estimate(jsonb, float8[], float8[]),
  ml._glm_fits(jsonb, text, text, integer, float8)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_glm_fits.sql

--! Included ml/regression/logregr_train.sql
create or replace function ml.logregr_train(
  source_table text,
  out_table text,
  dependent_varname text,
  independent_varname text,
  grouping_cols text default null,
  max_iter integer default 20,
  optimizer text default 'irls',
  tolerance float8 default 0.0001,
  verbose boolean default false,
  weights text default null,
  offsets text default null
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_output text := common.output_table(out_table, array['_summary']);
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
    perform common.refuse('CF001', format('there is no optimizer "%s"', left(optimizer, 100)),
      'Use irls (the same as newton), which converges in a few scans.');
  end if;
  v_design := ml._design(source_table, dependent_varname, independent_varname, grouping_cols, weights, offsets);
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
      'odds_ratios', (
        select to_jsonb(array_agg(exp(least(greatest(value, -700), 700)) order by nth))
        from unnest(v_fit.coef) with ordinality as list (value, nth)
      ),
      'condition_no', case when v_fit.failure is null then ml._condition_number(v_fit.information, v_fit.inverse) end,
      'num_rows_processed', v_fit.row_count,
      'num_missing_rows_skipped', v_fit.skipped,
      'num_iterations', v_fit.iterations,
      'variance_covariance', to_jsonb(v_fit.inverse),
      'converged', v_fit.converged,
      'failure', v_fit.failure
    );
    if logregr_train.verbose then
      raise info 'group %: % rows, % iterations, deviance %',
        v_fit.key, v_fit.row_count, v_fit.iterations, v_fit.deviance;
    end if;
    if v_fit.failure is null and not v_fit.converged then
      raise warning 'ml.logregr_train: no convergence after % iterations%',
        max_iter,
        case when v_fit.key <> '' then format(' in group %s', left(v_fit.key, 100)) else '' end
        using hint = 'Give a larger max_iter.';
    end if;
  end loop;
  if v_failed = cardinality(v_result) then
    perform ml._fit_failed(v_result[1] ->> 'failure', v_design ->> 'relation');
  end if;

  perform ml._publish(
    v_output, v_design,
    'coef float8[], log_likelihood float8, std_err float8[], z_stats float8[], p_values float8[], '
      || 'odds_ratios float8[], condition_no float8, num_rows_processed bigint, num_missing_rows_skipped bigint, '
      || 'num_iterations integer, variance_covariance float8[], converged boolean, failure text',
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
      'grouping_cols', grouping_cols,
      'weights', weights,
      'offsets', offsets
    ),
    'method text, source_table text, out_table text, dependent_varname text, independent_varname text, '
      || 'optimizer_params text, num_all_groups bigint, num_failed_groups bigint, num_rows_processed bigint, '
      || 'num_missing_rows_skipped bigint, grouping_cols text, weights text, offsets text'
  );
end;
$$;

comment on function ml.logregr_train(text, text, text, text, text, integer, text, float8, boolean, text, text) is $$
@behavior -*
Trains a logistic regression, as MADlib: one model, or one for each value of the grouping columns.
Iteratively reweighted least squares; one scan per iteration for all groups. `dependent_varname` is a boolean, 0 and 1,
or an expression such as `score >= 50`; `independent_varname` an array, with the 1 of the intercept. Rows with a null
are skipped and counted; NaN and infinity are an error.
Writes `out_table`: the grouping columns, coef, log_likelihood, std_err, z_stats, p_values, odds_ratios, condition_no
(of the weighted design), num_rows_processed, num_missing_rows_skipped, num_iterations, variance_covariance, and, not in
MADlib, `converged` and `failure`; and `<out_table>_summary`.
`weights` is an expression: each row counts as that many rows; a row of weight 0 is skipped. `offsets` is an expression
that is added to the log odds; add it to predictions.
`tolerance`: the iteration ends when the distance of the coefficients to the optimum is below a hundredth of it, in
standard errors.
Errors: CF001 (not two classes, not a number, a weight that is negative or null), CF002, CF003 (output exists), CF004
(no rows, one class only), CF005, CF007 (collinear; separated: names the column), CF008.
Source: McCullagh and Nelder, Generalized Linear Models; separation by Albert and Anderson, Biometrika 71, 1984.
$$;

grant execute on function ml.logregr_train(text, text, text, text, text, integer, text, float8, boolean, text, text)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/logregr_train.sql

--! Included ml/regression/margins.sql
create or replace function ml._margin_terms(x_design text, width integer)
returns setof ml.margin_term
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_terms constant text[] := string_to_array(x_design, ',');
  v_basis constant text := '^(?:(ir?)\.)?([A-Za-z_][A-Za-z0-9_]*)(?:\.([A-Za-z0-9_]+))?$';
  v_match text[];
  v_factor text;
  v_term text;
begin
  if length(x_design) > 100000 or cardinality(v_terms) <> width then
    perform common.refuse('CF001', format('x_design has %s terms, the model %s', cardinality(v_terms), width),
      'Give one term per coefficient, in the order of the independent variables.');
  end if;
  for place in 1..width loop
    v_term := regexp_replace(coalesce(v_terms[place], place::text), '\s', '', 'g');
    v_match := regexp_match(v_term, v_basis);
    if v_terms is null then
      return next (place, place::text, 1, place::text, 'c', null)::ml.margin_term;
    elsif v_match is not null and (v_match[1] is not null or v_match[3] is null) then
      return next (
        place, v_match[2], 1, v_match[2], coalesce(v_match[1], 'c'), v_match[3]
      )::ml.margin_term;
    else
      foreach v_factor in array string_to_array(v_term, '*') loop
        v_match := regexp_match(v_factor, '^([A-Za-z_][A-Za-z0-9_]*|[0-9]+(?:\.[0-9]*)?)(?:\^([1-9]))?$');
        if v_match is null then
          perform common.refuse('CF001', format('x_design: "%s" is not a term', left(v_term, 100)),
            'Terms are 1, name, i.name or i.name.category for an indicator, name^2, and products: name*other.');
        end if;
        return next (place, v_match[1], coalesce(v_match[2]::int, 1), null, null, null)::ml.margin_term;
      end loop;
    end if;
  end loop;
end;
$$;

comment on function ml._margin_terms(text, integer) is $$
Returns the factors of the terms of a design in MADlib's notation, one row per factor.
A term that consists of one variable defines it (`variable`, `kind`, `category`). Without a design, each term is a
variable whose name is its position. Error CF001: another number of terms, or not a term.
$$;

create or replace function ml._margin_factor(name text, power integer, replacement text)
returns text
language sql
stable
parallel safe
begin atomic
  select array_to_string(array_fill(coalesce(replacement, name), array[power]), ' * ');
end;

comment on function ml._margin_factor(text, integer, text) is $$
Returns the text of a power of a variable, or of what replaces it.
$$;

create or replace function ml.margins(
  model_table text,
  output_table text,
  x_design text default null,
  source_table text default null,
  marginal_vars text default null
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_model constant regclass := common.relation(model_table);
  v_output constant text := common.output_table(output_table);
  v_coef float8[];
  v_covariance float8[];
  v_x text;
  v_source text;
  v_groups text;
  v_method text;
  v_weighted text;
  v_relation regclass;
  v_alias text;
  v_width integer;
  v_terms ml.margin_term[];
  v_names text[];
  v_wanted text[];
  v_name text;
  v_kind text;
  v_category text;
  v_columns text[] := '{}';
  v_layer text[] := '{}';
  v_effects text[] := '{}';
  v_gradients text[] := '{}';
  v_slopes text[];
  v_upper text[];
  v_lower text[];
  v_sums float8[];
  v_rows bigint;
  v_variance float8;
  v_margin float8[];
  v_errors float8[] := '{}';
begin
  begin
    execute format(
      'select model.coef, model.variance_covariance, summary.independent_varname, summary.source_table,
         summary.grouping_cols, summary.method,
         coalesce(to_jsonb(summary) ->> ''weights'', to_jsonb(summary) ->> ''offsets'')
       from %s as summary, %s as model
       limit 1',
      common.relation((
        select format('%I.%I', namespace.nspname, class.relname || '_summary')
        from pg_catalog.pg_class as class
        join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
        where class.oid = v_model
      )),
      v_model
    ) into v_coef, v_covariance, v_x, v_source, v_groups, v_method, v_weighted;
  exception when undefined_column then
    perform common.refuse('CF001', format('"%s" is not a model of ml.logregr_train', left(model_table, 100)),
      'Give the output table of ml.logregr_train.');
  end;
  if v_method is distinct from 'logregr' or v_coef is null or nullif(v_groups, '') is not null then
    perform common.refuse('CF001', format('"%s" is not a logistic model without groups', left(model_table, 100)),
      'Give the output table of ml.logregr_train; train one table per group.');
  end if;
  if v_weighted is not null then
    perform common.refuse('CF001', format('"%s" was trained with weights or offsets', left(model_table, 100)),
      'Marginal effects are computed for models without them.');
  end if;
  v_width := cardinality(v_coef);
  v_relation := common.relation(coalesce(margins.source_table, v_source));
  v_alias := (select quote_ident(relname) from pg_catalog.pg_class where oid = v_relation);
  perform common.expression_type(v_x, v_relation, 'independent variable');
  v_terms := array(select term from ml._margin_terms(nullif(btrim(x_design), ''), v_width) as term);
  v_names := array(
    select term.variable from unnest(v_terms) as term where term.variable is not null order by term.place
  );
  if (select count(distinct name) from unnest(v_names) as name) < cardinality(v_names) then
    perform common.refuse('CF001', 'x_design: a variable stands in two terms of its own',
      'Give each variable a name of its own.');
  end if;
  v_name := (
    select term.factor from unnest(v_terms) as term
    where term.factor ~ '^[A-Za-z_]' and term.factor <> all (v_names)
    limit 1
  );
  if v_name is not null then
    perform common.refuse('CF001', format('x_design: the variable "%s" has no term of its own', left(v_name, 100)),
      'A product or power needs its variables as terms of their own; otherwise its values are unknown.');
  end if;
  v_wanted := coalesce(
    array(select btrim(name) from unnest(string_to_array(marginal_vars, ',')) with ordinality as list (name, nth)
      order by nth),
    '{}'
  );
  v_name := (select name from unnest(v_wanted) as name where name <> all (v_names) limit 1);
  if v_name is not null then
    perform common.refuse('CF002', format('there is no variable "%s"', left(v_name, 100)),
      coalesce('Did you mean "' || common.nearest_name(v_name, v_names) || '"?', 'Name variables of x_design.'));
  end if;
  v_wanted := array(
    select term.variable from unnest(v_terms) as term
    where term.variable is not null and term.kind <> 'ir' and (v_wanted = '{}' or term.variable = any (v_wanted))
    order by term.place
  );
  if v_wanted = '{}' then
    perform common.refuse('CF001', 'there is no variable to compute', 'A reference indicator has no marginal effect.');
  end if;

  foreach v_name in array v_wanted loop
    select term.kind, term.category into v_kind, v_category from unnest(v_terms) as term where term.variable = v_name;
    if v_kind = 'c' then
      -- the derivative of each term by the variable
      select array_agg(coalesce(slope.expression, '0') order by slot.place)
      into v_slopes
      from generate_series(1, v_width) as slot (place)
      left join lateral (
        select string_agg(
          case
            when term.factor <> v_name then
              ml._margin_factor(coalesce('x' || variable.place, term.factor), term.power, null)
            when term.power > 1 then
              format('%s * %s', term.power, ml._margin_factor('x' || variable.place, term.power - 1, null))
            else '1'
          end, ' * '
        ) as expression
        from unnest(v_terms) as term
        left join unnest(v_terms) as variable on variable.variable = term.factor
        where term.place = slot.place
        having bool_or(term.factor = v_name)
      ) as slope on true;
      v_layer := v_layer || format('%s as slope_%s', (
        select string_agg(format('%L::float8 * (%s)', v_coef[place], v_slopes[place]), ' + ' order by place)
        from generate_series(1, v_width) as place
      ), array_position(v_wanted, v_name));
      v_effects := v_effects || format('avg(density * slope_%s)', array_position(v_wanted, v_name));
      v_gradients := v_gradients || array(
        select format('avg(density * ((1 - 2 * p) * x%1$s * slope_%2$s + (%3$s)))', place,
          array_position(v_wanted, v_name), v_slopes[place])
        from generate_series(1, v_width) as place
        order by place
      );
    else
      -- the difference between the indicator at 1 and at 0, or the reference of its category at 1
      select
        array_agg(coalesce(changed.upper_value, 'x' || slot.place) order by slot.place),
        array_agg(coalesce(changed.lower_value, 'x' || slot.place) order by slot.place)
      into v_upper, v_lower
      from generate_series(1, v_width) as slot (place)
      left join lateral (
        select
          string_agg(ml._margin_factor(coalesce('x' || variable.place, term.factor), term.power, case
            when term.factor = v_name then '1'
            when variable.kind <> 'c' and variable.category = v_category then '0'
          end), ' * ') as upper_value,
          string_agg(ml._margin_factor(coalesce('x' || variable.place, term.factor), term.power, case
            when term.factor = v_name then '0'
            when variable.kind = 'ir' and variable.category = v_category then '1'
            when variable.kind <> 'c' and variable.category = v_category then '0'
          end), ' * ') as lower_value
        from unnest(v_terms) as term
        left join unnest(v_terms) as variable on variable.variable = term.factor
        where term.place = slot.place
        having bool_or(term.factor = v_name or variable.kind <> 'c' and variable.category = v_category)
      ) as changed on true;
      v_layer := v_layer || array(
        select format('1 / (1 + exp(least(greatest(-(%s), -700), 700))) as %s_%s', (
          select string_agg(format('%L::float8 * (%s)', v_coef[place], side.terms[place]), ' + ' order by place)
          from generate_series(1, v_width) as place
        ), side.name, array_position(v_wanted, v_name))
        from (select v_upper as terms, 'upper' as name union all select v_lower, 'lower') as side
      );
      v_effects := v_effects || format('avg(upper_%1$s - lower_%1$s)', array_position(v_wanted, v_name));
      v_gradients := v_gradients || array(
        select format(
          'avg(upper_%1$s * (1 - upper_%1$s) * (%2$s) - lower_%1$s * (1 - lower_%1$s) * (%3$s))',
          array_position(v_wanted, v_name), v_upper[place], v_lower[place]
        )
        from generate_series(1, v_width) as place
        order by place
      );
    end if;
  end loop;

  select part.row_count, part.sums
  into v_rows, v_sums
  from ml._sums(
    format(
      'select null::text, true, count(*), array[%s, %s] from (%s) as row',
      array_to_string(v_effects, ', '),
      array_to_string(v_gradients, ', '),
      ml._layer(
        format('*, p * (1 - p) as density, %s', array_to_string(v_layer, ', ')),
        format('(%s) as scored', ml._layer(
          format('*, 1 / (1 + exp(least(greatest(-(%s), -700), 700))) as p', (
            select string_agg(format('%L::float8 * x%s', v_coef[place], place), ' + ' order by place)
            from generate_series(1, v_width) as place
          )),
          format('(%s) as spread', ml._layer(
            (select string_agg(format('x[%1$s] as x%1$s', place), ', ' order by place)
              from generate_series(1, v_width) as place),
            format('(select (%s)::float8[] as x from %s as %s) as source
              where cardinality(x) = %s and array_position(x, null) is null', v_x, v_relation, v_alias, v_width)
          ))
        ))
      )
    ),
    v_relation
  ) as part;
  if coalesce(v_rows, 0) = 0 then
    perform common.refuse('CF004', format('"%s" has no row without a null', v_relation), 'Give a table with rows.');
  elsif v_sums && array['NaN', 'Infinity', '-Infinity']::float8[] then
    perform common.refuse('CF001', format('"%s" has a value that is not finite', v_relation),
      'Leave such rows out or fill them.');
  end if;

  v_margin := v_sums[1:cardinality(v_wanted)];
  for k in 1..cardinality(v_wanted) loop
    v_variance := 0;
    for i in 1..v_width loop
      for j in 1..v_width loop
        v_variance := v_variance + v_sums[cardinality(v_wanted) + (k - 1) * v_width + i] * v_covariance[i][j]
          * v_sums[cardinality(v_wanted) + (k - 1) * v_width + j];
      end loop;
    end loop;
    v_errors := v_errors || sqrt(greatest(v_variance, 0));
  end loop;
  execute format(
    $statement$
    create table %s as
    select array_agg(name order by nth) as variables, array_agg(margin order by nth) as margins,
      array_agg(std_err order by nth) as std_err, array_agg(margin / nullif(std_err, 0) order by nth) as z_stats,
      array_agg(case when std_err > 0 then ml._normal_p_value(margin / std_err) end order by nth) as p_values
    from unnest(%L::text[], %L::float8[], %L::float8[]) with ordinality as effect (name, margin, std_err, nth)
    $statement$,
    v_output, v_wanted, v_margin, v_errors
  );
end;
$$;

comment on function ml.margins(text, text, text, text, text) is $$
@behavior -*
Average marginal effects of a logistic regression, as MADlib: how the probability changes with each variable.
`model_table` is the output of ml.logregr_train without groups. `x_design` names the terms of its independent
variables in MADlib's notation, for products, powers and indicators: `1, i.color_blue.color, i.color_green.color, gpa,
gpa^2, color_blue*gpa`. A term `i.name` is an indicator, whose effect is the difference between 1 and 0;
`i.name.category` puts the others of its category to 0, and `ir.name.category`, the reference of the category, has no
effect of its own. Without `x_design`, each term is a variable, with its position as name. `source_table`: the rows to
average over, by default those of the training; rows with a null are left out. `marginal_vars`: the variables to
compute, by default all. Writes `output_table`, one row of arrays: variables, margins, std_err (delta method),
z_stats, p_values. Errors: CF001 (not such a model, not a term), CF002 (unknown table or variable), CF003, CF004,
CF005. Source: Greene, Econometric Analysis, 7th edition, 17.3; R's package margins, Stata's margins.
$$;

grant execute on function
  ml._margin_terms(text, integer),
  ml._margin_factor(text, integer, text),
  ml.margins(text, text, text, text, text)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/margins.sql

--! Included ml/regression/glm.sql
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
    - v_z * (
      1.0 / 12 - v_z * (1.0 / 120 - v_z * (1.0 / 252 - v_z * (1.0 / 240 - v_z * (1.0 / 132 - v_z * 691.0 / 32760))))
    );
end;
$$;

comment on function ml._digamma(float8) is $$
Returns the derivative of ln gamma(x), for x > 0. Source: Abramowitz and Stegun 6.3.18.
$$;

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
  -- ln a - digamma(a) decreases from infinity to 0, so bisection of the exponent finds the only root
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
Returns the maximum likelihood estimate of a gamma distribution's shape from the mean deviance.
The root of ln a - digamma(a) = D / 2n.
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
        -- ln y! is computed once for each distinct count
        $statement$
        select
          key,
          true,
          count(*),
          array[sum(times * (case when y > 0 then y * ln(y) else 0 end - y - ml._log_gamma(y + 1)))]
        from (select key, y, %s as times from (%s) as row where complete group by key, y) as tally
        group by key
        $statement$,
        case when design ? 'weights' then 'sum(prior)' else 'count(*)' end,
        ml._rows(design)
      )
      else format(
        'select key, true, count(*), array[sum(%s)] from (%s) as row where complete group by key',
        case when family = 'gaussian' then 'ln(prior)' when design ? 'weights' then 'prior * ln(y)' else 'ln(y)' end,
        ml._rows(design)
      ) end,
      (design ->> 'relation')::regclass
    ) as part
  );
end;
$$;

comment on function ml._glm_constants(jsonb, text) is $$
Returns the terms of the log likelihood that depend on y only, by group key.
The log likelihood of the saturated model for counts, the sum of ln y for positive values, the sum of the logarithms of
the weights for gaussian.
$$;

create or replace function ml.glm(
  source_table text,
  model_table text,
  dependent_varname text,
  independent_varname text,
  family_params text,
  grouping_col text default null,
  optim_params text default 'max_iter=100, optimizer=irls, tolerance=1e-6',
  verbose boolean default false,
  weights text default null,
  offsets text default null
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
  v_output text := common.output_table(model_table, array['_summary']);
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
    perform common.refuse('CF001', format('there is no family "%s"', coalesce(left(v_family, 100), '')),
      'Give family=gaussian, binomial, poisson, gamma or inverse_gaussian, such as ''family=poisson, link=log''.');
  elsif not v_links -> v_family ? v_link then
    perform common.refuse(
      'CF001',
      format('family %s has no link "%s"', left(v_family, 100), left(v_link, 100)),
      format(
        'Its links are %s.',
        (select string_agg(name, ', ') from jsonb_array_elements_text(v_links -> v_family) as name)
      )
    );
  elsif coalesce(lower(v_options ->> 'optimizer'), 'irls') <> 'irls' then
    perform common.refuse('CF001', format('there is no optimizer "%s"', left(v_options ->> 'optimizer', 100)),
      'Use irls.');
  end if;
  v_design := ml._design(source_table, dependent_varname, independent_varname, grouping_col, weights, offsets);
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
        'key', v_fit.key,
        'num_rows_processed', v_fit.row_count,
        'num_rows_skipped', v_fit.skipped,
        'failure', v_fit.failure
      );
      continue;
    elsif not v_fit.converged then
      raise warning 'ml.glm: no convergence after % iterations%',
        v_max_iter,
        case when v_fit.key <> '' then format(' in group %s', left(v_fit.key, 100)) else '' end
        using hint = 'Give a larger max_iter.';
    end if;
    if (v_family in ('poisson', 'gamma', 'inverse_gaussian') or v_family = 'gaussian' and weights is not null)
      and v_constants = '{}'
    then
      v_constants := ml._glm_constants(v_fit.settled, v_family);
    end if;
    v_dispersion := case when v_normal then 1 else v_fit.pearson / nullif(v_fit.row_count - v_width, 0) end;
    v_wald := ml._wald(
      v_fit.coef,
      ml._scaled(v_fit.inverse, v_dispersion),
      case when not v_normal then nullif(v_fit.row_count - v_width, 0) end
    );
    v_shape := case when v_family = 'gamma' then ml._gamma_shape(v_fit.deviance / v_fit.total_weight) end;
    v_likelihood := case v_family
      when 'binomial' then -v_fit.deviance / 2
      when 'gaussian' then -v_fit.row_count / 2.0 * (ln(2 * pi() * v_fit.deviance / v_fit.row_count) + 1)
        + coalesce((v_constants ->> v_fit.key)::float8 / 2, 0)
      -- the log likelihood of the saturated model minus half the deviance
      when 'poisson' then (v_constants ->> v_fit.key)::float8 - v_fit.deviance / 2
      when 'gamma' then v_fit.total_weight * (v_shape * ln(v_shape) - v_shape - ml._log_gamma(v_shape))
        - (v_constants ->> v_fit.key)::float8 - v_shape * v_fit.deviance / 2
      else -v_fit.total_weight / 2.0 * (ln(2 * pi() * v_fit.deviance / v_fit.total_weight) + 1)
        - 1.5 * (v_constants ->> v_fit.key)::float8
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
      raise info 'group %: % rows, % iterations, deviance %',
        v_fit.key, v_fit.row_count, v_fit.iterations, v_fit.deviance;
    end if;
  end loop;
  if v_failed = cardinality(v_result) then
    perform ml._fit_failed(v_result[1] ->> 'failure', v_design ->> 'relation');
  end if;

  perform ml._publish(
    v_output, v_design,
    'coef float8[], log_likelihood float8, std_err float8[], ' || case when v_normal then 'z_stats' else 't_stats' end
      || ' float8[], p_values float8[], dispersion float8, num_rows_processed bigint, num_rows_skipped bigint, '
      || 'num_iterations integer, deviance float8, converged boolean, failure text',
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
      'total_rows_skipped', v_skipped,
      'weights', weights,
      'offsets', offsets
    ),
    'method text, source_table text, model_table text, dependent_varname text, independent_varname text, '
      || 'family_params text, grouping_col text, optimizer_params text, num_all_groups bigint, '
      || 'num_failed_groups bigint, total_rows_processed bigint, total_rows_skipped bigint, weights text, '
      || 'offsets text'
  );
end;
$$;

comment on function ml.glm(text, text, text, text, text, text, text, boolean, text, text) is $$
@behavior -*
Trains a generalized linear model, as MADlib: one model, or one for each value of the grouping columns.
Iteratively reweighted least squares. `family_params` is, for example, `family=poisson, link=log`. Families and links,
the first link being the default: gaussian (identity, log, inverse), binomial (logit, probit), poisson (log, identity,
sqrt), gamma (inverse, identity, log), inverse_gaussian (sqr_inverse, log, identity, inverse). `optim_params`: max_iter,
tolerance (in hundredths of a standard error).
`weights` is an expression: the dispersion of a row is divided by its weight (R's `glm`), so with binomial and poisson
it counts as that many rows; a row of weight 0 is skipped. `offsets` is an expression that is added to the linear
predictor, such as `ln(days)` for counts over different numbers of days; add it to predictions.
Writes `model_table`: the grouping columns, coef, log_likelihood (at the maximum likelihood dispersion), std_err,
z_stats (binomial, poisson) or t_stats (others), p_values, dispersion (Pearson's estimate; 1 for binomial and poisson),
num_rows_processed, num_rows_skipped, num_iterations, and, not in MADlib, `deviance`, `converged`, `failure`; and
`<model_table>_summary`.
Errors: CF001 (family, link, a value the family cannot have, a weight that is negative or null), CF002, CF003, CF004 (no
rows, one class), CF005, CF007 (collinear; separated), CF008.
Source: McCullagh and Nelder, Generalized Linear Models, 2nd edition, 1989.
$$;

grant execute on function
  ml._digamma(float8),
  ml._gamma_shape(float8),
  ml._glm_constants(jsonb, text),
  ml.glm(text, text, text, text, text, text, text, boolean, text, text)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/glm.sql

--! Included ml/regression/_sandwich.sql
/*
 * Standard errors that are valid when the variance differs between rows (Huber and White) or the rows of a cluster are
 * correlated: the product bread, meat, bread. Both matrices are computed in one more scan at the fitted coefficients.
 */
create or replace function ml._sandwich_statement(
  settled jsonb,
  family text,
  link text,
  keys text[],
  beta float8[],
  variables integer[],
  hc text,
  breads float8[]
)
returns text
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_source text := ml._glm_source(settled, family, link, null, keys, beta, variables);
  v_clustered constant boolean := settled ? 'clusters';
  v_size constant integer := cardinality(variables);
  v_terms constant text[] := array(
    select case when variable = 0 then '' else ' * d' || variable end
    from unnest(variables) with ordinality as list (variable, nth)
    order by nth
  );
  v_head constant text := 'nth::text as key, true as complete, count(*) as row_count';
  v_squared text := 'score * score';
  v_bread text[];
  v_meat text[];
begin
  if breads is not null then
    -- The leverage of a row is its entry of the hat matrix: w d' B d.
    v_source := format(
      $statement$
      (
        select *, score * score / power(greatest(1 - leverage, 1e-12), %s) as squared
        from (select *, weight * (%s) as leverage from %s offset 0) as measured
      ) as weighed
      $statement$,
      case hc when 'HC2' then 1 else 2 end,
      (
        select string_agg(format('%s(%L::float8[])[(nth - 1) * %s + %s]%s%s', case when i < j then '2 * ' else '' end,
          breads, v_size * v_size, (i - 1) * v_size + j, v_terms[i], v_terms[j]), ' + ' order by i, j)
        from generate_series(1, v_size) as i
        cross join generate_series(1, v_size) as j
        where j >= i
      ),
      v_source
    );
    v_squared := 'squared';
  end if;
  select
    array_agg(format('sum(weight%s%s)', v_terms[i], v_terms[j]) order by i, j),
    array_agg(
      case
        when v_clustered then format('sum(s%s * s%s)', i, j)
        else format('sum(%s%s%s)', v_squared, v_terms[i], v_terms[j])
      end
      order by i, j
    )
  into v_bread, v_meat
  from generate_series(1, v_size) as i
  cross join generate_series(1, v_size) as j
  where j >= i;
  if not v_clustered then
    return ml._sums_statement(v_head, v_bread || v_meat, format('from %s group by nth', v_source));
  end if;
  return format(
    $statement$
    select meat.key, true, meat.row_count, bread.sums || meat.sums
    from (%s) as bread (key, complete, row_count, sums)
    join (%s) as meat (key, complete, row_count, sums) using (key)
    $statement$,
    ml._sums_statement(v_head, v_bread, format('from %s group by nth', v_source)),
    ml._sums_statement(
      v_head,
      v_meat,
      format(
        'from (select nth, %s from %s group by nth, cluster) as clustered group by nth',
        (
          select string_agg(format('sum(score%s) as s%s', term, nth), ', ' order by nth)
          from unnest(v_terms) with ordinality as list (term, nth)
        ),
        v_source
      )
    )
  );
end;
$$;

comment on function ml._sandwich_statement(
  jsonb, text, text, text[], float8[], integer[], text, float8[]
) is $$
Returns the text of the statement that computes bread and meat by group at the fitted coefficients.
Its sums are the upper triangles of the information and of the squared scores, or of the squared cluster totals when the
design has clusters; its count is the number of rows or of clusters. With `breads`, the inverses of the information of
all groups, each squared score is divided by 1 - leverage (HC2) or its square (HC3).
$$;

create or replace function ml._sandwich_covariance(sums float8[], size integer)
returns float8[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_bread float8[] := (ml._scaled_inverse(ml._symmetric_matrix(sums, size), 1e-14)).inverse;
  v_meat float8[] := ml._symmetric_matrix(sums[size * (size + 1) / 2 + 1:], size);
  v_half float8[] := array_fill(0::float8, array[size, size]);
  v_covariance float8[] := v_half;
  v_value float8;
begin
  for i in 1..size loop
    for j in 1..size loop
      v_value := 0;
      for m in 1..size loop
        v_value := v_value + v_bread[i][m] * v_meat[m][j];
      end loop;
      v_half[i][j] := v_value;
    end loop;
  end loop;
  for i in 1..size loop
    for j in 1..size loop
      v_value := 0;
      for m in 1..size loop
        v_value := v_value + v_half[i][m] * v_bread[m][j];
      end loop;
      v_covariance[i][j] := v_value;
    end loop;
  end loop;
  return v_covariance;
end;
$$;

comment on function ml._sandwich_covariance(float8[], integer) is $$
Returns the product B M B, where B is the inverse of the information and M the meat, from the sums of one group.
$$;

create or replace function ml._sandwich(
  method text,
  source_table text,
  out_table text,
  dependent_varname text,
  independent_varname text,
  clustervar text,
  grouping_cols text,
  max_iter integer,
  tolerance float8,
  hc text default 'HC0',
  weights text default null,
  offsets text default null
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
  v_output text := common.output_table(out_table, array['_summary']);
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
  v_full float8[];
  v_block float8[];
  v_place integer[];
  v_covariance float8[];
  v_wald record;
  v_statement text;
  v_hc constant text := upper(hc);
  v_breads float8[];
begin
  perform ml._check_iteration(max_iter, tolerance);
  if v_hc is null or v_hc not in ('HC0', 'HC1', 'HC2', 'HC3') then
    perform common.refuse('CF001', format('there is no correction "%s"', coalesce(left(hc, 100), 'null')),
      'Choose HC0, HC1, HC2 or HC3.');
  end if;
  v_design := ml._design(
    source_table,
    case when v_linear then ml._less_offsets(dependent_varname, offsets, source_table) else dependent_varname end,
    independent_varname,
    grouping_cols,
    weights,
    case when not v_linear then offsets end
  );
  v_width := (v_design ->> 'width')::int;
  if v_clustered then
    if nullif(btrim(clustervar), '') is null then
      perform common.refuse('CF001', 'no cluster column is named',
        'Name the columns whose values identify a cluster, such as ''course_id''.');
    end if;
    v_design := v_design || jsonb_build_object(
      'clusters',
      to_jsonb(common.column_names((v_design ->> 'relation')::regclass, clustervar, 'cluster columns'))
    );
  end if;
  for v_fit in select * from ml._glm_fits(v_design - 'clusters', v_family, v_link, max_iter, tolerance) loop
    v_rows := v_rows + v_fit.row_count;
    v_skipped := v_skipped + v_fit.skipped;
    v_settled := v_fit.settled
      || case when v_clustered then jsonb_build_object('clusters', v_design -> 'clusters') else '{}' end;
    if v_fit.failure is not null then
      if v_design -> 'groups' = '[]' then
        perform ml._fit_failed(v_fit.failure, v_design ->> 'relation');
      end if;
      v_failed := v_failed + 1;
      v_result := v_result || jsonb_build_object(
        'key', v_fit.key,
        'num_rows_processed', v_fit.row_count,
        'num_missing_rows_skipped', v_fit.skipped,
        'failure', v_fit.failure
      );
      continue;
    end if;
    if v_variables is null then
      v_intercept := (v_settled ->> 'intercept')::int;
      v_variables := ml._variables(v_settled);
      v_size := cardinality(v_variables);
      v_place := array(
        select case when variable = 0 then v_intercept else variable end
        from unnest(v_variables) with ordinality as list (variable, nth)
        order by nth
      );
    end if;
    v_keys := v_keys || v_fit.key;
    for i in 1..v_size loop
      v_beta := v_beta || v_fit.beta[v_place[i]];
    end loop;
    v_fits := v_fits || jsonb_build_object(cardinality(v_keys)::text, jsonb_build_object(
      'key', v_fit.key,
      'beta', to_jsonb(v_fit.beta),
      'coef', to_jsonb(v_fit.coef),
      'row_count', v_fit.row_count,
      'skipped', v_fit.skipped
    ));
  end loop;
  if v_keys = '{}' then
    perform ml._fit_failed(v_result[1] ->> 'failure', v_design ->> 'relation');
  end if;

  v_statement := ml._sandwich_statement(v_settled, v_family, v_link, v_keys, v_beta, v_variables, v_hc, null);
  if v_hc in ('HC2', 'HC3') then
    for v_part in
      select part.sums from ml._sums(v_statement, (v_design ->> 'relation')::regclass) as part order by part.key::int
    loop
      v_breads := v_breads || array(
        select value
        from unnest((ml._scaled_inverse(ml._symmetric_matrix(v_part.sums, v_size), 1e-14)).inverse) as value
      );
    end loop;
    v_statement := ml._sandwich_statement(v_settled, v_family, v_link, v_keys, v_beta, v_variables, v_hc, v_breads);
  end if;
  for v_part in
    select part.row_count as clusters, part.sums, v_fits -> part.key as fit
    from ml._sums(v_statement, (v_design ->> 'relation')::regclass) as part
  loop
    v_full := array_fill(0::float8, array[v_width, v_width]);
    v_block := ml._sandwich_covariance(v_part.sums, v_size);
    for i in 1..v_size loop
      for j in 1..v_size loop
        v_full[v_place[i]][v_place[j]] := v_block[i][j];
      end loop;
    end loop;
    v_covariance := (
      ml._unscaled(
        array(select jsonb_array_elements_text(v_part.fit -> 'beta')::float8),
        v_full,
        v_settled,
        v_intercept,
        (v_settled ->> 'intercept_value')::float8
      )
    ).vcov;
    if v_hc = 'HC1' then
      v_covariance := ml._scaled(v_covariance, (v_part.fit ->> 'row_count')::float8
        / nullif((v_part.fit ->> 'row_count')::float8 - v_width, 0));
    end if;
    if v_clustered then
      if v_part.clusters < 2 then
        perform ml._fit_failed(format('%s rows for at least 2 clusters', v_part.clusters), v_design ->> 'relation');
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
      'coef float8[], std_err float8[], %s float8[], p_values float8[], variance_covariance float8[], %s'
        || 'num_rows_processed bigint, num_missing_rows_skipped bigint, failure text',
      case when v_linear then 't_stats' else 'z_stats' end,
      case when v_clustered then 'num_clusters bigint, ' else '' end
    ),
    to_jsonb(v_result),
    jsonb_build_object(
      'method', method,
      'source_table', source_table,
      'out_table', out_table,
      'dependent_varname', dependent_varname,
      'independent_varname', independent_varname,
      'clustervar', clustervar,
      'grouping_cols', grouping_cols,
      'num_rows_processed', v_rows,
      'num_missing_rows_skipped', v_skipped,
      'num_all_groups', cardinality(v_result),
      'num_failed_groups', v_failed,
      'weights', weights,
      'offsets', offsets
    ),
    'method text, source_table text, out_table text, dependent_varname text, independent_varname text, '
      || 'clustervar text, grouping_cols text, num_rows_processed bigint, num_missing_rows_skipped bigint, '
      || 'num_all_groups bigint, num_failed_groups bigint, weights text, offsets text'
  );
end;
$$;

comment on function ml._sandwich(text, text, text, text, text, text, text, integer, float8, text, text, text) is $$
Fits a model and writes its coefficients with sandwich standard errors.
The covariance is B M B, where B is the inverse of the information and M the sum of squared scores (HC0; HC1 times
n / (n - k); HC2 and HC3 divide each by 1 - leverage or its square) or the sum of squared cluster
totals times m / (m - 1) (n - 1) / (n - k).
$$;

grant execute on function
  ml._sandwich_statement(jsonb, text, text, text[], float8[], integer[], text, float8[]),
  ml._sandwich_covariance(float8[], integer),
  ml._sandwich(text, text, text, text, text, text, text, integer, float8, text, text, text)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_sandwich.sql

--! Included ml/regression/robust_variance_linregr.sql
create or replace function ml.robust_variance_linregr(
  source_table text,
  out_table text,
  dependent_varname text,
  independent_varname text,
  grouping_cols text default null,
  verbose_mode boolean default false,
  hc text default 'HC0',
  weights text default null,
  offsets text default null
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
begin
  perform ml._sandwich(
    'robust_variance_linregr',
    source_table, out_table, dependent_varname, independent_varname, null, grouping_cols,
    20, 1e-6, hc, weights, offsets
  );
end;
$$;

comment on function ml.robust_variance_linregr(text, text, text, text, text, boolean, text, text, text) is $$
@behavior -*
Trains a linear regression with standard errors that are valid under heteroskedasticity, as MADlib.
Writes `out_table`: the grouping columns, coef, std_err, t_stats, p_values, and, not in MADlib, variance_covariance,
num_rows_processed, num_missing_rows_skipped, failure; and `<out_table>_summary`.
`hc`: `HC0` (White, as MADlib), `HC1` (times n / (n - k), as Stata), `HC2` or `HC3` (by the leverage of each row, for
small samples). `verbose_mode` changes nothing. `weights` and `offsets` are those of ml.linregr_train.
Errors: as ml.linregr_train.
Source: White, Econometrica 48, 1980; MacKinnon and White, Journal of Econometrics 29, 1985.
$$;

grant execute on function ml.robust_variance_linregr(text, text, text, text, text, boolean, text, text, text)
  to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/robust_variance_linregr.sql

--! Included ml/regression/robust_variance_logregr.sql
create or replace function ml.robust_variance_logregr(
  source_table text,
  out_table text,
  dependent_varname text,
  independent_varname text,
  grouping_cols text default null,
  max_iter integer default 20,
  optimizer text default 'irls',
  tolerance float8 default 0.0001,
  verbose_mode boolean default false,
  hc text default 'HC0',
  weights text default null,
  offsets text default null
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
    perform common.refuse('CF001', format('there is no optimizer "%s"', left(optimizer, 100)),
      'Use irls (the same as newton).');
  end if;
  perform ml._sandwich(
    'robust_variance_logregr',
    source_table, out_table, dependent_varname, independent_varname, null, grouping_cols,
    max_iter, tolerance, hc, weights, offsets
  );
end;
$$;

comment on function ml.robust_variance_logregr(
  text, text, text, text, text, integer, text, float8, boolean, text, text, text
) is $$
@behavior -*
Trains a logistic regression with Huber-White standard errors, as MADlib.
Writes `out_table`: the grouping columns, coef, std_err, z_stats, p_values, and, not in MADlib, variance_covariance,
num_rows_processed, num_missing_rows_skipped, failure; and `<out_table>_summary`.
`hc`: `HC0`, `HC1`, `HC2` or `HC3`, as those of ml.robust_variance_linregr.
`weights` and `offsets` are those of ml.logregr_train. Errors: as ml.logregr_train.
Source: Huber, Fifth Berkeley Symposium, 1967; R's sandwich.
$$;

grant execute on function ml.robust_variance_logregr(
  text, text, text, text, text, integer, text, float8, boolean, text, text, text
)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/robust_variance_logregr.sql

--! Included ml/regression/clustered_variance_linregr.sql
create or replace function ml.clustered_variance_linregr(
  source_table text,
  out_table text,
  dependent_varname text,
  independent_varname text,
  clustervar text,
  grouping_cols text default null,
  weights text default null,
  offsets text default null
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
begin
  perform ml._sandwich(
    'clustered_variance_linregr',
    source_table, out_table, dependent_varname, independent_varname, clustervar, grouping_cols,
    20, 1e-6, 'HC0', weights, offsets
  );
end;
$$;

comment on function ml.clustered_variance_linregr(text, text, text, text, text, text, text, text) is $$
@behavior -*
Trains a linear regression with standard errors that allow for correlated rows in a cluster, as MADlib.
`clustervar` is a list of columns whose values identify a cluster, such as a course. Writes `out_table`: the grouping
columns, coef, std_err, t_stats, p_values, and, not in MADlib, variance_covariance, num_clusters, num_rows_processed,
num_missing_rows_skipped, failure; and `<out_table>_summary`. The variance is multiplied by m / (m - 1) (n - 1) / (n -
k).
Source: Liang and Zeger, Biometrika 73, 1986.
`weights` and `offsets` are those of ml.linregr_train. Errors: as ml.linregr_train.
$$;

grant execute on function ml.clustered_variance_linregr(text, text, text, text, text, text, text, text)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/clustered_variance_linregr.sql

--! Included ml/regression/clustered_variance_logregr.sql
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
  verbose_mode boolean default false,
  weights text default null,
  offsets text default null
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
    perform common.refuse('CF001', format('there is no optimizer "%s"', left(optimizer, 100)),
      'Use irls (the same as newton).');
  end if;
  perform ml._sandwich(
    'clustered_variance_logregr',
    source_table, out_table, dependent_varname, independent_varname, clustervar, grouping_cols,
    max_iter, tolerance, 'HC0', weights, offsets
  );
end;
$$;

comment on function ml.clustered_variance_logregr(
  text, text, text, text, text, text, integer, text, float8, boolean, text, text
) is $$
@behavior -*
Trains a logistic regression with standard errors that allow for correlated rows in a cluster, as MADlib.
Writes `out_table`: as ml.clustered_variance_linregr, with z_stats.
Source: Liang and Zeger, Biometrika 73, 1986.
`weights` and `offsets` are those of ml.logregr_train. Errors: as ml.logregr_train.
$$;

grant execute on function
  ml.clustered_variance_logregr(text, text, text, text, text, text, integer, text, float8, boolean, text, text)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/clustered_variance_logregr.sql

--! Included ml/trees/_each.sql
create or replace function ml._each(outputs int, template text, separator text default ', ')
returns text
language sql
immutable
parallel safe
begin atomic
  select string_agg(replace(template, '#', k::text), separator order by k) from generate_series(1, outputs) as k;
end;

comment on function ml._each(int, text, text) is $$
SQL repeated for each output of a tree, with its number in place of `#`: `s#` and 2 outputs are `s1, s2`.
$$;

grant execute on function ml._each(int, text, text) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/trees/_each.sql

--! Included ml/trees/_tree_read.sql
create or replace function ml._tree_read(design ml.tree_design)
returns void
language plpgsql
set jit to off
set client_min_messages to warning
as $$
declare
  v_label text := common.expression(design.dependent, design.relation);
  v_columns text[] := '{}';
  v_type regtype;
  v_groups bigint;
begin
  if design.num_bins is null or design.num_bins not between 2 and 500 then
    perform common.refuse('CF001', format('%s bins', coalesce(design.num_bins::text, 'null')),
      'Choose 2 to 500 bins; 64 is a good number.');
  elsif cardinality(design.features) > 1500 then
    perform common.refuse('CF008', format('%s features', cardinality(design.features)),
      'Trees take up to 1500 features.');
  end if;
  drop table if exists pg_temp._ml_tree_source, pg_temp._ml_tree_group, pg_temp._ml_tree_fit, pg_temp._ml_tree_feature,
    pg_temp._ml_tree_row, pg_temp._ml_tree_work, pg_temp._ml_tree_node, pg_temp._ml_tree_histogram,
    pg_temp._ml_tree_split;
  create temp table _ml_tree_fit of ml.tree_fit on commit drop;
  create temp table _ml_tree_feature (
    feature int primary key,
    name text not null,
    category boolean not null,
    edges float8[],
    categories text[]
  ) on commit drop;

  for v_place in 1..cardinality(design.features) loop
    v_type := common.expression_type(design.features[v_place], design.relation, 'feature');
    insert into pg_temp._ml_tree_feature (feature, name, category)
    values (v_place, design.features[v_place], ml._is_category(v_type));
    v_columns := v_columns || format(
      case when ml._is_category(v_type) then '(%s)::text as x%s' else 'nullif(%s, ''NaN'') as x%s' end,
      case when ml._is_category(v_type) then design.features[v_place]
        else common.numeric_expression(design.features[v_place], design.relation, 'feature') end,
      v_place
    );
  end loop;
  v_columns := array[
    format('hashtextextended(coalesce((%s)::text, ''''), %s) as key', design.id, design.seed),
    case when design.classifies then format('(%s)::text as y', v_label)
      else common.numeric_expression(design.dependent, design.relation, 'dependent variable') || ' as y' end,
    case when design.weights is null then '1::float8 as weight'
      else common.numeric_expression(design.weights, design.relation, 'weights') || ' as weight' end,
    case when design.validation is null then 'false as valid'
      else format('coalesce((%s), false) as valid', common.expression(design.validation, design.relation)) end
  ] || v_columns;

  -- The source, which may be an expensive view, is read once.
  if design.groups = '{}' then
    execute format('create temp table _ml_tree_source on commit drop as select %s from %s',
      array_to_string(v_columns, ', '), design.relation);
  else
    -- Sums depend on the order of the rows in the last digit: within a group it is that of the source.
    execute format(
      $query$
      create temp table _ml_tree_source on commit drop as
      select dense_rank() over (order by %1$s)::int as gid, *
      from (select row_number() over () as line, %2$s, %3$s from %4$s) as read
      order by gid, line
      $query$,
      ml._each(cardinality(design.groups), 'g#'),
      (
        select string_agg(format('%s as g%s', name, place), ', ' order by place)
        from unnest(design.groups) with ordinality as listed (name, place)
      ),
      array_to_string(v_columns, ', '), design.relation
    );
    execute format(
      'create temp table _ml_tree_group on commit drop as select distinct gid, %s from pg_temp._ml_tree_source',
      (
        select string_agg(format('g%s as %s', place, name), ', ' order by place)
        from unnest(design.groups) with ordinality as listed (name, place)
      )
    );
    get diagnostics v_groups = row_count;
    -- Each tree takes locks until the end of the transaction.
    if v_groups * design.num_trees > 10000 then
      perform common.refuse('CF008', format('%s groups of %s trees', v_groups, design.num_trees),
        'Up to 10000 trees are trained at once: train parts of the groups, or fewer trees.');
    end if;
    alter table pg_temp._ml_tree_group alter column gid set not null;
    create index on pg_temp._ml_tree_source (gid);
    analyze pg_temp._ml_tree_source;
  end if;
exception when data_exception or syntax_error_or_access_rule_violation then
  if sqlstate ~ '^CF' then
    raise;
  end if;
  perform ml._caller_error(sqlstate, sqlerrm, design.relation);
end;
$$;

comment on function ml._tree_read(ml.tree_design) is $$
Reads the rows of a training into temporary tables, once.
`_ml_tree_source` has key, y (as text where it is a class), weight, valid and the features x1, x2, …; with grouping
columns also `gid`, and `_ml_tree_group` has one row per group. `_ml_tree_feature` has the features, not yet cut into
bins, `_ml_tree_fit` is empty.
Errors: CF001, CF002, CF005, CF007 (overflow), CF008 (too many features or groups).
$$;

grant execute on function ml._tree_read(ml.tree_design) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/trees/_tree_read.sql

--! Included ml/trees/_tree_bin.sql
/*
 * Trees look at features through bins. A bin is an integer code, 1024 · feature + bin, where bin 0 is «missing», so
 * that codes of one feature compare like its values, missing ones first, and the union of all features' codes is one
 * key space: a histogram needs no second column to say which feature it is of.
 */
create or replace function ml._frequent_categories(feature int, kept text, max_bins int)
returns text[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_categories text[];
begin
  execute format(
    $query$
    select coalesce(array_agg(value order by value), '{}')
    from (
      select x%1$s as value
      from pg_temp._ml_tree_source
      where x%1$s is not null and %2$s
      group by 1
      order by count(*) desc, x%1$s
      limit %3$s
    ) as frequent
    $query$,
    feature, kept, max_bins
  ) into v_categories;
  return v_categories;
end;
$$;

comment on function ml._frequent_categories(int, text, int) is $$
The most frequent values of a categorical feature in the rows of `_ml_tree_source` that are `kept`, in their order.
$$;

create or replace function ml._quantile_edges(feature int, kept text, max_bins int)
returns float8[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_edges float8[];
begin
  -- Values with more than their share of the rows get a bin each, the others share the rest evenly; edges are halfway.
  execute format(
    $query$
    with tally as (
      select x%1$s as value, count(*)::float8 as row_count
      from pg_temp._ml_tree_source
      where x%1$s is not null and %2$s
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
      select lowest, below, (below + lowest) / 2 as halfway
      from (select lowest, lag(highest) over (order by lowest) as below from bin) as neighbours
      where below is not null
    )
    select coalesce(
      array_agg(case when halfway > below and halfway < 'Infinity' then halfway else lowest end order by lowest), '{}'
    )
    from edge
    $query$,
    feature, kept, max_bins
  ) into v_edges;
  return v_edges;
end;
$$;

comment on function ml._quantile_edges(int, text, int) is $$
The edges that cut a numeric feature into bins of about equal numbers of the rows of `_ml_tree_source` that are `kept`.
$$;

create or replace function ml._tree_levels(design ml.tree_design, kept text)
returns text[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_levels text[];
begin
  execute format(
    'select array_agg(y order by y)
     from (select y from pg_temp._ml_tree_source where y is not null and %s group by y limit 101) as seen',
    kept
  ) into v_levels;
  if design.dependent_type in ('smallint'::regtype, 'integer'::regtype, 'bigint'::regtype) then
    v_levels := array(select class from unnest(v_levels) as class order by class::bigint);
  end if;
  if cardinality(v_levels) > 100 then
    perform common.refuse('CF008', format('"%s" has more than 100 classes', left(design.dependent, 100)),
      'Cast it to float8 when it is a number to predict.');
  elsif cardinality(v_levels) = 1 then
    perform common.refuse(
      'CF004',
      format('"%s" holds one class only, %s', left(design.dependent, 100), left(v_levels[1], 100)),
      'A classifier needs rows of two classes or more.'
    );
  end if;
  return v_levels;
end;
$$;

comment on function ml._tree_levels(ml.tree_design, text) is $$
The classes of the rows of `_ml_tree_source` that are `kept`: numbers in their order, others as text.
Errors: CF004 (one class only), CF008 (over 100).
$$;

create or replace function ml._tree_bin(design ml.tree_design, gid int)
returns ml.tree_fit
language plpgsql
set search_path to pg_catalog, pg_temp
set jit to off
set client_min_messages to warning
as $$
declare
  v_fit ml.tree_fit;
  v_group constant text := case when design.groups = '{}' then 'true' else format('gid = %s', gid) end;
  v_kept text := format('%s and y is not null and not valid', v_group);
  v_codes text[] := '{}';
  v_feature record;
  v_seen record;
  v_sums record;
begin
  v_fit.gid := gid;
  v_fit.outputs := 1;
  if design.classifies then
    v_fit.levels := ml._tree_levels(design, v_group);
    v_fit.outputs := cardinality(v_fit.levels);
  end if;
  execute format(
    'select count(*) as row_count,
       count(*) filter (where weight < 0 or weight in (''NaN'', ''Infinity'')) as bad_weights,
       count(*) filter (where y is not null and weight is not null and not valid) as training
     from pg_temp._ml_tree_source where %s',
    v_group
  ) into v_seen;
  if v_seen.training = 0 then
    perform common.refuse('CF004', format('"%s" has no row to train on', design.relation),
      'Rows need a dependent variable, and not all of them may be for validation.');
  elsif v_seen.bad_weights > 0 then
    perform common.refuse('CF001', format('%s rows have a negative or non-finite weight', v_seen.bad_weights),
      'Weights are finite and 0 or more.');
  end if;
  -- Quantiles of 100,000 rows are as good as those of all.
  if v_seen.training > 150000 then
    v_kept := format('%s and key & 1048575 < %s', v_kept, (1048576 * 100000.0 / v_seen.training)::bigint);
  end if;

  for v_feature in select feature, category from pg_temp._ml_tree_feature order by feature loop
    if v_feature.category then
      update pg_temp._ml_tree_feature
      set categories = ml._frequent_categories(v_feature.feature, v_kept, design.num_bins)
      where feature = v_feature.feature;
    else
      update pg_temp._ml_tree_feature
      set edges = ml._quantile_edges(v_feature.feature, v_kept, design.num_bins)
      where feature = v_feature.feature;
    end if;
  end loop;
  select
    array_agg(feature order by feature) filter (where varies), string_agg('f' || feature, ', ' order by feature)
      filter (where varies),
    array_agg(case when category then 'category' else 'number' end order by feature),
    coalesce(jsonb_object_agg(name, to_jsonb(categories)) filter (where category), '{}'),
    array_agg(format(
      case
        when category then '(%1$s + coalesce(array_position(%2$L::text[], x%3$s), 0))::int as f%3$s'
        else '(%1$s + coalesce(width_bucket(x%3$s, %4$L::float8[]) + 1, 0))::int as f%3$s'
      end,
      feature * 1024, categories, feature, edges
    ) order by feature) filter (where varies)
  into v_fit.usable, v_fit.codes, v_fit.types, v_fit.categories, v_codes
  from (
    select *, cardinality(edges) > 0 or cardinality(categories) > 0 as varies
    from pg_temp._ml_tree_feature
  ) as feature;
  execute format(
    $query$
    create temp table _ml_tree_row on commit drop as
    select key, %1$s as y, weight, valid %2$s
    from pg_temp._ml_tree_source
    where %3$s and y is not null and weight is not null
    $query$,
    case when design.classifies then format('array_position(%L::text[], y)::float8', v_fit.levels) else 'y' end,
    coalesce(', ' || array_to_string(v_codes, ', '), ''), v_group
  );

  select
    count(*) filter (where not valid) as row_count, count(*) filter (where valid) as validation_count,
    count(*) filter (where y in ('NaN', 'Infinity', '-Infinity')) as non_finite,
    sum(weight) filter (where not valid) as weight,
    sum(weight * y) filter (where not valid) as total,
    sum(weight * y * y) filter (where not valid) as squares
  into v_sums
  from pg_temp._ml_tree_row;
  if v_sums.non_finite > 0 then
    perform common.refuse(
      'CF001',
      format('%s rows have NaN or infinity in "%s"', v_sums.non_finite, left(design.dependent, 100)),
      'Make them null to leave them out.'
    );
  elsif coalesce(v_sums.weight, 0) <= 0 then
    perform common.refuse('CF004', format('the weights "%s" sum to 0', left(design.weights, 100)),
      'At least one row must count.');
  elsif v_fit.usable is null then
    perform common.refuse('CF004', 'no feature varies',
      format('All of %s are constant or null.', array_to_string(design.features, ', ')));
  end if;
  v_fit.row_count := v_sums.row_count;
  v_fit.validation_count := v_sums.validation_count;
  v_fit.skipped := v_seen.row_count - v_sums.row_count - v_sums.validation_count;
  v_fit.mean := v_sums.total / v_sums.weight;
  v_fit.squares := v_sums.squares - v_sums.total ^ 2 / v_sums.weight;
  return v_fit;
end;
$$;

comment on function ml._tree_bin(ml.tree_design, int) is $$
Cuts the features of one group into bins, and returns what is known of the group before a tree is grown.
Writes the bins into `_ml_tree_feature` and the rows into `_ml_tree_row`: key, y (a class is its place in the levels),
weight, valid and one code for each feature that varies. Numbers and booleans are cut at quantiles, NaN counts as
missing; text, enum and uuid are categories, the rarer ones beyond `num_bins` count as missing.
Errors: CF001 (weights, NaN or infinity), CF004 (no rows, one class, nothing varies), CF008 (over 100 classes).
$$;

grant execute on function
  ml._frequent_categories(int, text, int),
  ml._quantile_edges(int, text, int),
  ml._tree_levels(ml.tree_design, text),
  ml._tree_bin(ml.tree_design, int)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/trees/_tree_bin.sql

--! Included ml/trees/_tree_case.sql
create or replace function ml._tree_case(leaf text)
returns text
language plpgsql
set search_path to pg_catalog, pg_temp
as $$
declare
  v_node record;
  v_texts text[] := (select array_fill(null::text, array[max(node) + 1]) from pg_temp._ml_tree_node);
  v_text text;
begin
  -- Children have larger numbers than their parents, so going down the numbers every branch is there before it is
  -- needed.
  for v_node in
    select node, feature, cut, codes, missing_left, left_node, right_node,
      case leaf
        when 'value' then format('%L::float8', value)
        when 'distribution' then format('%L::float8[]', distribution)
        when 'scanned' then case when scanned then node::text else 'null::int' end
      end as leaf
    from pg_temp._ml_tree_node
    order by node desc
  loop
    if v_node.feature is null then
      v_text := v_node.leaf;
    elsif v_texts[v_node.left_node + 1] = v_texts[v_node.right_node + 1] then
      v_text := v_texts[v_node.left_node + 1];
    else
      v_text := format(
        'case when %s then %s else %s end',
        case
          when v_node.codes is not null then format('f%s in (%s)', v_node.feature,
            array_to_string(v_node.codes || case when v_node.missing_left then v_node.feature * 1024 end, ', '))
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
Returns the tree in `_ml_tree_node` as nested CASE over the codes f1, f2, ….
What it gives a row is the `value` or the `distribution` of its leaf, or, with `scanned`, its node where that is
scanned.
$$;

grant execute on function ml._tree_case(text) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/trees/_tree_case.sql

--! Included ml/trees/_tree_workspace.sql
create or replace function ml._tree_workspace(outputs int)
returns void
language plpgsql
set search_path to pg_catalog, pg_temp
set client_min_messages to warning
as $$
begin
  create temp table if not exists _ml_tree_node (
    node int, parent int, depth int,
    feature int, cut int, codes int[], missing_left boolean, left_node int, right_node int, gain float8,
    s float8[], h float8, n bigint,
    value float8, distribution float8[],
    open boolean, scanned boolean
  ) on commit drop;
  create temp table if not exists _ml_tree_split (
    node int, depth int,
    feature int, cut int, codes int[], missing_left boolean, left_node int, gain float8,
    ls float8[], lh float8, ln float8,
    rs float8[], rh float8, rn float8
  ) on commit drop;
  -- Groups that have as many classes as the last one use its table.
  if cardinality(common.columns(to_regclass('pg_temp._ml_tree_histogram'))) is distinct from outputs + 4 then
    drop table if exists pg_temp._ml_tree_histogram;
    execute format('create temp table _ml_tree_histogram (node int, code int, %s, h float8, n float8) on commit drop',
      ml._each(outputs, 's# float8'));
  end if;
end;
$$;

comment on function ml._tree_workspace(int) is $$
Makes the tables in which trees with a number of outputs are grown; each tree empties them.
`_ml_tree_node` is the tree: sums `s` of the outputs, `h` of the weight and `n` of the rows; `open` may be split
further, `scanned` is the smaller child, whose rows are summed also for its sibling. `_ml_tree_split` holds the splits
of a level, `_ml_tree_histogram` the sums of each bin.
$$;

grant execute on function ml._tree_workspace(int)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/trees/_tree_workspace.sql

--! Included ml/trees/_tree_grow.sql
/*
 * One tree, level by level. What a split can be judged by is a histogram: for every bin of every feature in every
 * open node the sums of the outputs, of the weight and of the rows. One scan with one grouping set a feature gives
 * all of a level (the idea of JoinBoost: a tree needs nothing but `sum … group by`); only the smaller child of each
 * split is scanned, the other is its parent less that. The tree so far is part of the statement, as nested CASE.
 */
create or replace function ml._tree_histogram(features int[], sums text[], weight text, level int)
returns void
language plpgsql
set search_path to pg_catalog, pg_temp
as $$
declare
  v_outputs constant int := cardinality(sums);
  v_codes constant text := (select string_agg('f' || feature, ', ') from unnest(features) as feature);
begin
  execute format(
    $query$
    insert into pg_temp._ml_tree_histogram
    select node, coalesce(%1$s), %2$s, sum(%3$s), count(*)::float8
    from (select %4$s as node, %5$s, %3$s, %1$s from pg_temp._ml_tree_work where used offset 0) as placed
    where node is not null
    group by grouping sets (%6$s)
    $query$,
    v_codes,
    (select string_agg(format('sum(%s)', output), ', ' order by k)
      from unnest(sums) with ordinality as listed (output, k)),
    weight,
    ml._tree_case('scanned'),
    array_to_string(sums, ', '),
    (select string_agg(format('(node, f%s)', feature), ', ') from unnest(features) as feature)
  );
  if level = 0 then
    return;
  end if;
  -- The larger child is its parent less the smaller one.
  execute format(
    $query$
    insert into pg_temp._ml_tree_histogram
    select larger.node, parent.code, %s, parent.h - coalesce(child.h, 0), parent.n - coalesce(child.n, 0)
    from pg_temp._ml_tree_node as larger
    join pg_temp._ml_tree_node as smaller on smaller.parent = larger.parent and smaller.node <> larger.node
    join pg_temp._ml_tree_histogram as parent on parent.node = larger.parent
    left join pg_temp._ml_tree_histogram as child on child.node = smaller.node and child.code = parent.code
    where larger.open and not larger.scanned and larger.depth = %s
      and parent.n > coalesce(child.n, 0)
    $query$,
    ml._each(v_outputs, 'parent.s# - coalesce(child.s#, 0)'), level
  );
  delete from pg_temp._ml_tree_histogram as histogram
  using pg_temp._ml_tree_node as node
  where node.node = histogram.node
    and node.depth < level;
end;
$$;

comment on function ml._tree_histogram(int[], text[], text, int) is $$
Writes the sums of each bin of each feature in the open nodes of a level into `_ml_tree_histogram`.
`sums` and `weight` are columns of `_ml_tree_work`.
$$;

create or replace function ml._split_score(growth ml.tree_growth, outputs int, side text)
returns text
language sql
stable
parallel safe
begin atomic
  select replace(
    case growth.criterion
      when 'entropy' then format('(%s)',
        ml._each(outputs, 'coalesce(@# * ln(nullif(greatest(@#, 0), 0) / @h), 0)', ' + '))
      when 'misclassification' then format('greatest(%s)', ml._each(outputs, '@#'))
      else format('(%s) / nullif(@h + %s, 0)', ml._each(outputs, '@# * @#', ' + '), growth.lambda)
    end,
    '@', side
  );
end;

comment on function ml._split_score(ml.tree_growth, int, text) is $$
SQL of what a node scores by a criterion; a split gains the scores of its sides less that of the whole.
The sums of a side `l` are l1, l2, …, its weight is lh.
$$;

create or replace function ml._tree_split(growth ml.tree_growth, outputs int, seed bigint)
returns bigint
language plpgsql
set search_path to pg_catalog, pg_temp
as $$
declare
  v_drawn text := '';
  v_splits bigint;
begin
  if growth.features_per_node is not null then
    v_drawn := format(
      $query$
        join (
          select node.node, feature.feature,
            row_number() over (partition by node.node
              order by hashint8extended(feature.feature, hashint8extended(node.node, %s))) as draw
          from pg_temp._ml_tree_node as node
          cross join pg_temp._ml_tree_feature as feature
          where node.open
            and (cardinality(feature.edges) > 0 or cardinality(feature.categories) > 0)
        ) as drawn on drawn.node = histogram.node and drawn.feature = histogram.code / 1024 and drawn.draw <= %s
      $query$,
      seed, growth.features_per_node
    );
  end if;
  truncate pg_temp._ml_tree_split;
  execute format(
    $query$
    insert into pg_temp._ml_tree_split
    with whole as materialized (
      select *, %2$s as before
      from (
        select node, depth, %3$s, h as th, n as tn
        from pg_temp._ml_tree_node
        where open
        offset 0
      ) as opened
    ), bin as materialized (
      select
        histogram.*, feature.feature, feature.category,
        case
          when histogram.code = feature.feature * 1024 then '-Infinity'
          when feature.category then histogram.s1 / (histogram.h + %4$s)
          else histogram.code
        end as place
      from pg_temp._ml_tree_histogram as histogram
      join whole on whole.node = histogram.node
      join pg_temp._ml_tree_feature as feature on feature.feature = histogram.code / 1024
      %1$s
    ), running as (
      -- Missing values come first: each prefix of the bins is a left side with them, and less the first one a left
      -- side without.
      select
        node, feature, code, category, place,
        lead(code) over running as next_code,
        first_value(code) over running = feature * 1024 as has_missing,
        %5$s, sum(h) over running as h, sum(n) over running as n,
        %6$s, first_value(h) over running as first_h, first_value(n) over running as first_n
      from bin
      window running as (partition by node, feature order by place, code rows unbounded preceding)
    ), side as (
      select
        running.node, running.feature, running.code, running.category, running.place, running.next_code,
        running.has_missing, whole.depth, whole.before,
        way.*, %7$s, whole.th - way.lh as rh, whole.tn - way.ln as rn
      from running
      join whole on whole.node = running.node
      cross join lateral (
        select true as missing_left, running.h as lh, running.n as ln, %8$s
        where running.next_code is not null
          and running.code > running.feature * 1024
        union all
        select false, running.h - running.first_h, running.n - running.first_n, %9$s
        where running.has_missing
      ) as way
      where way.ln >= %10$s and whole.tn - way.ln >= %10$s
        and way.lh >= %11$s and whole.th - way.lh >= %11$s
    ), judged as (
      select *, %12$s + %13$s - before as gain
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
      best.node, depth, best.feature,
      -- Codes from here on go right; beyond all codes when only missing values do.
      case when not category then coalesce(next_code, feature * 1024 + 1023) end,
      subset.codes,
      -- Where nothing was missing, what is missing later goes where most rows went.
      case when has_missing then missing_left else ln >= rn end,
      (select count(*) from pg_temp._ml_tree_node) + 2 * (row_number() over (order by best.node) - 1),
      gain, array[%15$s], lh, ln, array[%16$s], rh, rn
    from best
    left join subset on subset.node = best.node
    $query$,
    v_drawn,
    ml._split_score(growth, outputs, 't'),
    ml._each(outputs, 's[#] as t#'),
    greatest(growth.lambda, 1e-12),
    ml._each(outputs, 'sum(s#) over running as s#'),
    ml._each(outputs, 'first_value(s#) over running as first_#'),
    ml._each(outputs, 'whole.t# - way.l# as r#'),
    ml._each(outputs, 'running.s# as l#'),
    ml._each(outputs, 'running.s# - running.first_#'),
    growth.min_rows, growth.min_weight,
    ml._split_score(growth, outputs, 'l'), ml._split_score(growth, outputs, 'r'),
    growth.min_gain,
    ml._each(outputs, 'l#'), ml._each(outputs, 'r#')
  );
  get diagnostics v_splits = row_count;
  return v_splits;
end;
$$;

comment on function ml._tree_split(ml.tree_growth, int, bigint) is $$
Writes the best split of each open node that has one into `_ml_tree_split`, and returns their number.
Missing values try both sides; categories are ordered by their mean.
$$;

create or replace function ml._tree_branch()
returns void
language plpgsql
set search_path to pg_catalog, pg_temp
as $$
begin
  update pg_temp._ml_tree_node as node
  set feature = split.feature, cut = split.cut, codes = split.codes, missing_left = split.missing_left,
    gain = split.gain, left_node = split.left_node, right_node = split.left_node + 1
  from pg_temp._ml_tree_split as split
  where split.node = node.node;
  update pg_temp._ml_tree_node set open = false, scanned = false where open or scanned;
  insert into pg_temp._ml_tree_node (node, parent, depth, s, h, n, open, scanned)
  select left_node, node, depth + 1, ls, lh, ln, true, ln <= rn
  from pg_temp._ml_tree_split
  union all
  select left_node + 1, node, depth + 1, rs, rh, rn, true, ln > rn
  from pg_temp._ml_tree_split;
end;
$$;

comment on function ml._tree_branch() is $$
Adds the children of the splits in `_ml_tree_split` to the tree; of two children the smaller one is scanned.
$$;

create or replace function ml._tree_grow(
  growth ml.tree_growth,
  features int[],
  sums text[],
  weight text,
  seed bigint
)
returns void
language plpgsql
set search_path to pg_catalog, pg_temp
set jit to off
set client_min_messages to warning
-- A limit for the planner, so that it hashes all grouping sets in one scan: what is used is a few kB a node and
-- feature.
set work_mem to '256MB'
as $$
begin
  truncate pg_temp._ml_tree_node, pg_temp._ml_tree_histogram;
  execute format(
    'insert into pg_temp._ml_tree_node (node, depth, s, h, n, open, scanned)
     select 0, 0, array[%s], coalesce(sum(%s), 0), count(*), true, true from pg_temp._ml_tree_work where used',
    (select string_agg(format('sum(%s)', output), ', ' order by k)
      from unnest(sums) with ordinality as listed (output, k)),
    weight
  );
  for v_level in 0..growth.max_depth - 1 loop
    update pg_temp._ml_tree_node
    set open = false
    where open
      and n < greatest(growth.min_split, 2 * growth.min_rows);
    exit when not exists (select from pg_temp._ml_tree_node where open);
    perform ml._tree_histogram(features, sums, weight, v_level);
    exit when ml._tree_split(growth, cardinality(sums), seed) = 0;
    perform ml._tree_branch();
  end loop;
end;
$$;

comment on function ml._tree_grow(ml.tree_growth, int[], text[], text, bigint) is $$
Grows one tree on the rows of `_ml_tree_work` that are `used` into the table `_ml_tree_node`.
`sums` and `weight` are its columns that are summed: gradients and second derivatives (squares: the gain of gradient
boosting), or the weight times y and the weight (least squares), or times the indicators of classes and the weight
(Gini). `features` are the numbers of those that may be split by; a code of each is a column.
Source: Chen and Guestrin, XGBoost, KDD 2016; Huang and others, JoinBoost, SIGMOD 2023; Fisher, On grouping for
maximum homogeneity, 1958.
$$;

grant execute on function
  ml._tree_histogram(int[], text[], text, int),
  ml._split_score(ml.tree_growth, int, text),
  ml._tree_split(ml.tree_growth, int, bigint),
  ml._tree_branch(),
  ml._tree_grow(ml.tree_growth, int[], text[], text, bigint)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/trees/_tree_grow.sql

--! Included ml/trees/_tree_prune.sql
create or replace function ml._tree_prune(least_gain float8)
returns void
language plpgsql
set search_path to pg_catalog, pg_temp
as $$
declare
  v_node record;
  -- The gain of each branch beyond the price of its splits, when its own branches that gain less than nothing are cut.
  v_worth float8[] := (select array_fill(0::float8, array[max(node) + 1]) from pg_temp._ml_tree_node);
begin
  for v_node in
    select node, left_node, right_node, gain
    from pg_temp._ml_tree_node
    where feature is not null
    order by node desc
  loop
    v_worth[v_node.node + 1] := v_node.gain - least_gain
      + greatest(v_worth[v_node.left_node + 1], 0) + greatest(v_worth[v_node.right_node + 1], 0);
  end loop;
  with recursive kept as (
    select node.node, v_worth[node.node + 1] < 0 as pruned
    from pg_temp._ml_tree_node as node
    where node.node = 0
    union all
    select child.node, v_worth[child.node + 1] < 0
    from kept
    join pg_temp._ml_tree_node as child on child.parent = kept.node
    where not kept.pruned
  ), dropped as (
    delete from pg_temp._ml_tree_node as node
    where node.node not in (select kept.node from kept)
  )
  update pg_temp._ml_tree_node as node
  set feature = null, cut = null, codes = null, missing_left = null, left_node = null, right_node = null, gain = null
  from kept
  where kept.node = node.node
    and kept.pruned;
end;
$$;

comment on function ml._tree_prune(float8) is $$
Prunes the tree in `_ml_tree_node` by minimal cost complexity: branches with less gain per split than `least_gain` go.
The branches that remain have the largest gain less `least_gain` for each split, which is what removing the weakest
branch first leads to.
Source: Breiman and others, Classification and Regression Trees, 1984, chapter 3 and section 10.2.
$$;

grant execute on function ml._tree_prune(float8) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/trees/_tree_prune.sql

--! Included ml/trees/_tree_table.sql
create or replace function ml._tree_table(output text, origin text, measures text, keys text)
returns void
language plpgsql
as $$
begin
  execute format(
    $query$
    create table %s (
      %s tree int not null, node int not null, parent int, depth int not null,
      feature text, threshold float8, categories text[], missing_left boolean, left_node int, right_node int,
      %s, gain float8, cover float8 not null, num_rows bigint not null,
      primary key (%s)
    )
    $query$,
    output, coalesce(origin || ',', ''), measures, keys
  );
end;
$$;

comment on function ml._tree_table(text, text, text, text) is $$
Creates the table of the nodes of a model.
`origin` are the definitions of its first columns, or null, `measures` those of what a leaf answers.
$$;

grant execute on function ml._tree_table(text, text, text, text)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/trees/_tree_table.sql

--! Included ml/trees/_tree_publish.sql
create or replace function ml._tree_publish(design ml.tree_design, columns text)
returns void
language plpgsql
as $$
begin
  execute format(
    'create table %s as select %s %s from pg_temp._ml_tree_fit as fit %s order by fit.gid',
    common.companion_table(design.output, '_summary'),
    case when design.groups = '{}' then '' else 'origin.*, ' end,
    columns,
    case when design.groups = '{}' then '' else 'join pg_temp._ml_tree_group as origin using (gid)' end
  );
  execute format('comment on table %s is %L', design.output,
    format('Nodes of a model of %s on %s, by ml.%s.', design.dependent, design.relation,
      case design.method when 'gbm' then 'gbm_train' else design.method end));
  drop table if exists pg_temp._ml_tree_source, pg_temp._ml_tree_group, pg_temp._ml_tree_fit, pg_temp._ml_tree_feature,
    pg_temp._ml_tree_row, pg_temp._ml_tree_work, pg_temp._ml_tree_node, pg_temp._ml_tree_histogram,
    pg_temp._ml_tree_split;
end;
$$;

comment on function ml._tree_publish(ml.tree_design, text) is $$
Writes the summary of a model, one row per group, and drops the temporary tables of the training.
`columns` are SQL over `fit`, a row of `_ml_tree_fit`.
$$;

grant execute on function ml._tree_publish(ml.tree_design, text)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/trees/_tree_publish.sql

--! Included ml/trees/_tree_write.sql
create or replace function ml._tree_write(output text, origin text, tree int, measures text)
returns void
language plpgsql
as $$
begin
  execute format(
    $query$
    insert into %1$s
    select
      origin.*, %2$s, node.node, node.parent, node.depth, feature.name,
      case when not feature.category then coalesce(feature.edges[(node.cut & 1023) - 1], 'Infinity') end,
      (select array_agg(feature.categories[code & 1023] order by code) from unnest(node.codes) as code),
      case when node.feature is not null then node.missing_left end,
      node.left_node, node.right_node, %3$s, node.gain, node.h, node.n
    from (%4$s) as origin
    cross join pg_temp._ml_tree_node as node
    left join pg_temp._ml_tree_feature as feature on feature.feature = node.feature
    $query$,
    output, tree, measures, coalesce(origin, 'select')
  );
end;
$$;

comment on function ml._tree_write(text, text, int, text) is $$
Adds the tree in `_ml_tree_node` to the table of a model.
`origin` is a query that gives the first columns, or null; `measures` are the columns of `node` that a leaf answers
with.
$$;

grant execute on function
  ml._tree_write(text, text, int, text)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/trees/_tree_write.sql

--! Included ml/trees/_tree_summary.sql
create or replace function ml._tree_summary(model regclass)
returns text
language sql
stable
begin atomic
  select format('%I.%I', namespace.nspname, class.relname || '_summary')
  from pg_catalog.pg_class as class
  join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
  where class.oid = model;
end;

comment on function ml._tree_summary(regclass) is $$
The qualified name of the summary of a model's table.
$$;

grant execute on function ml._tree_summary(regclass) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/trees/_tree_summary.sql

--! Included ml/trees/_tree_model.sql
create or replace function ml._tree_model(model_table text, methods text[])
returns setof ml.tree_model
language plpgsql
stable
as $$
declare
  v_summary constant text := ml._tree_summary(common.relation(model_table));
  v_found boolean := false;
begin
  if to_regclass(v_summary) is not null then
    return query execute format(
      $query$
      select model.*
      from %s as summary
      cross join lateral jsonb_populate_record(null::ml.tree_model, to_jsonb(summary)) as model
      where model.method = any ($1)
      order by model.gid
      $query$,
      v_summary
    ) using methods;
    v_found := found;
  end if;
  if not v_found then
    perform common.refuse(
      'CF002',
      format('"%s" is not a model of %s', left(model_table, 100), array_to_string(methods, ' or ')),
      format('A model is the output table of a training, with its table "%s".', left(v_summary, 100))
    );
  end if;
end;
$$;

comment on function ml._tree_model(text, text[]) is $$
The rows of a model's `_summary` table, when it was made by one of the methods: one row, or one per group. Error CF002.
$$;

grant execute on function ml._tree_model(text, text[]) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/trees/_tree_model.sql

--! Included ml/trees/_tree_sum.sql
create or replace function ml._tree_sum(nodes text, model ml.tree_model, leaf text)
returns text
language plpgsql
stable
as $$
declare
  v_positions constant jsonb := (
    select jsonb_object_agg(name, position)
    from unnest(model.independent_varnames) with ordinality as feature (name, position)
  );
  v_trees text[] := '{}';
  v_size int;
begin
  for v_tree in 1..model.num_trees loop
    v_trees := v_trees || ml._tree_expression(nodes, v_tree, v_positions, model.categories, leaf);
  end loop;
  -- A sum of sums, so that thousands of trees do not nest too deep for the parser.
  v_size := greatest(1, ceil(sqrt(cardinality(v_trees)))::int);
  return (
    select string_agg('(' || part || ')', ' + ' order by place)
    from (
      select (position - 1) / v_size as place, string_agg(tree, ' + ' order by position) as part
      from unnest(v_trees) with ordinality as grown (tree, position)
      group by (position - 1) / v_size
    ) as chunk
  );
end;
$$;

comment on function ml._tree_sum(text, ml.tree_model, text) is $$
The sum of the trees of a model as SQL over the columns x1, x2, …; null without trees.
`nodes` is the model's table, or a query in its place; `leaf` is SQL over a node that gives the text of a leaf.
$$;

grant execute on function ml._tree_sum(text, ml.tree_model, text)
  to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/trees/_tree_sum.sql

--! Included ml/trees/_class_columns.sql
create or replace function ml._class_columns(levels text[])
returns text[]
language sql
immutable
parallel safe
begin atomic
  select array_agg(
    'estimated_prob_' || case when octet_length(level) <= 48 then level else md5(level) end order by place
  )
  from unnest(levels) with ordinality as listed (level, place);
end;

comment on function ml._class_columns(text[]) is $$
The names of the columns that hold the probabilities of classes.
A class that is too long for the name of a column (48 bytes) is named by its MD5 hash.
$$;

grant execute on function ml._class_columns(text[]) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/trees/_class_columns.sql

--! Included ml/trees/gbm_train.sql
create or replace function ml._check_gbm_arguments(design ml.tree_design, boosting ml.boosting)
returns void
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_growth constant ml.tree_growth := design.growth;
begin
  if design.num_trees is null or design.num_trees not between 1 and 10000 then
    perform common.refuse('CF001', format('num_trees %s', coalesce(design.num_trees::text, 'null')),
      'Choose 1 to 10000 trees.');
  elsif boosting.learning_rate is null or not (boosting.learning_rate > 0 and boosting.learning_rate <= 1) then
    perform common.refuse('CF001', format('learning_rate %s', coalesce(boosting.learning_rate::text, 'null')),
      'Choose a number above 0, at most 1; 0.1 is usual.');
  elsif v_growth.max_depth is null or v_growth.max_depth not between 1 and 16 then
    perform common.refuse('CF001', format('max_depth %s', coalesce(v_growth.max_depth::text, 'null')),
      'Choose 1 to 16; boosting does well with 3 to 8.');
  elsif v_growth.min_rows is null or v_growth.min_rows < 1 then
    perform common.refuse('CF001', format('min_rows %s', coalesce(v_growth.min_rows::text, 'null')),
      'A leaf needs at least one row.');
  elsif v_growth.lambda is null or not (v_growth.lambda >= 0 and v_growth.lambda < 'Infinity') then
    perform common.refuse('CF001', format('lambda %s', coalesce(v_growth.lambda::text, 'null')),
      'The penalty is a finite number, 0 or more.');
  elsif v_growth.min_gain is null or not (v_growth.min_gain >= 0 and v_growth.min_gain < 'Infinity')
    or v_growth.min_weight is null or not (v_growth.min_weight >= 0 and v_growth.min_weight < 'Infinity') then
    perform common.refuse(
      'CF001',
      format('gamma %s, min_child_weight %s', coalesce(v_growth.min_gain::text, 'null'),
        coalesce(v_growth.min_weight::text, 'null')),
      'Both are finite and 0 or more.'
    );
  elsif boosting.row_sample is null or not (boosting.row_sample > 0 and boosting.row_sample <= 1)
    or boosting.feature_sample is null or not (boosting.feature_sample > 0 and boosting.feature_sample <= 1) then
    perform common.refuse(
      'CF001',
      format('row_sample %s, feature_sample %s', coalesce(boosting.row_sample::text, 'null'),
        coalesce(boosting.feature_sample::text, 'null')),
      'Shares are above 0 and at most 1.'
    );
  elsif boosting.early_stopping_rounds < 1 then
    perform common.refuse('CF001', format('early_stopping_rounds %s', boosting.early_stopping_rounds),
      'Choose 1 or more, or null for no early stopping.');
  elsif design.seed is null then
    perform common.refuse('CF001', 'the seed is null', 'Give a number; the same seed gives the same model.');
  elsif boosting.objective not in ('squared_error', 'logistic', 'softmax') then
    perform common.refuse('CF001', format('there is no objective "%s"', left(boosting.objective, 100)),
      'Choose squared_error, logistic (two classes) or softmax (classes).');
  end if;
  perform common.check_count('seed', design.seed, -1000000000000000000, 1000000000000000000);
end;
$$;

comment on function ml._check_gbm_arguments(ml.tree_design, ml.boosting) is $$
Raises CF001 unless the arguments of ml.gbm_train are in their ranges.
$$;

create or replace function ml._gbm_base(design ml.tree_design, boosting ml.boosting, fit ml.tree_fit)
returns float8[]
language plpgsql
set search_path to pg_catalog, pg_temp
as $$
declare
  v_seen record;
begin
  if boosting.objective = 'squared_error' then
    return array[fit.mean];
  elsif boosting.objective = 'logistic' then
    select
      min(y) filter (where y not in (0, 1)) as no_class,
      min(y) filter (where not valid) as least,
      max(y) filter (where not valid) as greatest
    into v_seen
    from pg_temp._ml_tree_row;
    if v_seen.no_class is not null then
      perform common.refuse(
        'CF001',
        format('"%s" holds %s, a class is 0 or 1', left(design.dependent, 100), v_seen.no_class),
        'Give a boolean or 0 and 1, or choose squared_error or softmax.'
      );
    elsif v_seen.least = v_seen.greatest then
      perform common.refuse(
        'CF004',
        format('"%s" holds one class only, %s', left(design.dependent, 100), v_seen.least),
        'A classifier needs rows of both classes to train on.'
      );
    end if;
    return array[ln(fit.mean / (1 - fit.mean))];
  end if;
  select
    array_agg(ln(counted.weight / counted.whole) order by counted.y) as base,
    min(fit.levels[counted.y::int]) filter (where counted.weight is null) as without
  into v_seen
  from (
    select y, nullif(sum(weight) filter (where not valid), 0) as weight,
      sum(sum(weight) filter (where not valid)) over () as whole
    from pg_temp._ml_tree_row
    group by y
  ) as counted;
  if v_seen.without is not null or cardinality(v_seen.base) < fit.outputs then
    perform common.refuse(
      'CF004',
      format('"%s" has no row of class %s to train on', left(design.dependent, 100),
        coalesce(left(v_seen.without, 100), 'some value')),
      'Each class needs rows that have a weight and are not for validation.'
    );
  end if;
  return v_seen.base;
end;
$$;

comment on function ml._gbm_base(ml.tree_design, ml.boosting, ml.tree_fit) is $$
The scores before the first tree: the mean, the log odds, or the logarithms of the shares of the classes.
Errors: CF001 (not a class), CF004 (no row of a class).
$$;

create or replace function ml._gbm_rows(
  design ml.tree_design,
  boosting ml.boosting,
  fit ml.tree_fit,
  tree int,
  leaves text[]
)
returns void
language plpgsql
set search_path to pg_catalog, pg_temp
as $$
declare
  v_scores constant text := ml._each(fit.outputs, 'score#');
  v_scored text := format(
    '(select key, y, weight, valid, %s, %s from pg_temp._ml_tree_row offset 0) as scored',
    (
      select string_agg(
        case when tree = 1 then format('%L::float8 as score%s', boosting.base[k], k)
          else format('score%1$s + %2$s as score%1$s', k, leaves[k]) end, ', ' order by k
      )
      from generate_series(1, fit.outputs) as k
    ),
    fit.codes
  );
begin
  if boosting.objective = 'softmax' then
    -- Less the greatest score, so that none of the powers is too large.
    v_scored := format(
      '(select *, %s as total from (select *, %s from %s offset 0) as risen offset 0) as shared',
      ml._each(fit.outputs, 'e#', ' + '),
      replace(ml._each(fit.outputs, 'exp(greatest(score# - {top}, -700)) as e#'), '{top}',
        format('greatest(%s)', v_scores)),
      v_scored
    );
  end if;
  execute format(
    $query$
    create temp table _ml_tree_work on commit drop as
    select not valid %s as used, %s, %s, key, y, weight, valid, %s
    from %s
    $query$,
    case when boosting.row_sample < 1 then format('and hashint8extended(key, %s) & 1048575 < %s',
      design.seed + tree, (boosting.row_sample * 1048576)::bigint) else '' end,
    case boosting.objective
      when 'squared_error' then 'weight * (score1 - y) as s1, weight as h1'
      when 'logistic' then 'weight * (1 / (1 + exp(-score1)) - y) as s1,
        weight * greatest(exp(-abs(score1)) / (1 + exp(-abs(score1))) ^ 2, 1e-16) as h1'
      else ml._each(fit.outputs, 'weight * (e# / total - (y = #)::int) as s#,
        weight * greatest(2 * (e# / total) * (1 - e# / total), 1e-16) as h#')
    end,
    fit.codes,
    v_scores,
    v_scored
  );
  drop table pg_temp._ml_tree_row;
end;
$$;

comment on function ml._gbm_rows(ml.tree_design, ml.boosting, ml.tree_fit, int, text[]) is $$
Makes the rows of a round, `_ml_tree_work`: the scores with the last trees added, gradients and second derivatives.
`leaves` are the trees of the last round as SQL. Rewriting the rows is cheaper than an update.
$$;

create or replace function ml._gbm_loss(boosting ml.boosting, outputs int, out training float8, out validation float8)
language plpgsql
set search_path to pg_catalog, pg_temp
as $$
declare
  v_scores constant text := ml._each(outputs, 'score#');
begin
  execute format(
    $query$
    select
      sum(loss) filter (where not valid) / sum(weight) filter (where not valid),
      sum(loss) filter (where valid) / nullif(sum(weight) filter (where valid), 0)
    from (select valid, weight, %s as loss from pg_temp._ml_tree_work) as measured
    $query$,
    case boosting.objective
      when 'squared_error' then 'weight * (score1 - y) ^ 2'
      when 'logistic' then 'weight * (greatest(score1, 0) - score1 * y + ln(1 + exp(-abs(score1))))'
      else replace(
        format('weight * (ln(%s) + {top} - (array[%s])[y::int])',
          ml._each(outputs, 'exp(greatest(score# - {top}, -700))', ' + '), v_scores),
        '{top}', format('greatest(%s)', v_scores)
      )
    end
  ) into training, validation;
end;
$$;

comment on function ml._gbm_loss(ml.boosting, int) is $$
The mean loss of the scores in `_ml_tree_work`, of the rows trained on and of those for validation.
$$;

create or replace function ml._gbm_features(boosting ml.boosting, usable int[], seed bigint)
returns int[]
language sql
immutable
parallel safe
begin atomic
  select array_agg(feature order by feature)
  from (
    select feature
    from unnest(usable) as feature
    order by case when boosting.feature_sample < 1 then hashint8extended(feature, seed) end, feature
    limit greatest(1, round(boosting.feature_sample * cardinality(usable))::int)
  ) as drawn;
end;

comment on function ml._gbm_features(ml.boosting, int[], bigint) is $$
The features of a round: a share of them, drawn by the seed.
$$;

create or replace function ml._gbm_leaves(learning_rate float8, lambda float8)
returns void
language plpgsql
set search_path to pg_catalog, pg_temp
as $$
begin
  update pg_temp._ml_tree_node as node
  set value = coalesce(-learning_rate * node.s[1] / nullif(node.h + lambda, 0), 0)
  where node.feature is null;
end;
$$;

comment on function ml._gbm_leaves(float8, float8) is $$
Sets what the leaves of the tree in `_ml_tree_node` add to the score.
$$;

grant execute on function
  ml._check_gbm_arguments(ml.tree_design, ml.boosting),
  ml._gbm_base(ml.tree_design, ml.boosting, ml.tree_fit),
  ml._gbm_rows(ml.tree_design, ml.boosting, ml.tree_fit, int, text[]),
  ml._gbm_loss(ml.boosting, int),
  ml._gbm_features(ml.boosting, int[], bigint),
  ml._gbm_leaves(float8, float8)
to insights_analyst, insights_admin, insights_worker;

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
  v_design ml.tree_design;
  v_boosting ml.boosting;
  v_fit ml.tree_fit;
  v_leaves text[];
  v_splits bigint;
  v_loss record;
  v_trees int := 0;
  v_training float8[] := '{}';
  v_validation float8[] := '{}';
  v_best int := 0;
  v_best_loss float8 := 'Infinity';
begin
  v_design.method := 'gbm';
  v_design.relation := common.relation(source_table);
  v_design.output := common.output_table(output_table, array['_summary']);
  v_design.groups := '{}';
  v_design.id := common.column_name(v_design.relation, id_col_name, 'id column');
  v_design.dependent := dependent_variable;
  v_design.dependent_type := common.expression_type(dependent_variable, v_design.relation, 'dependent variable');
  v_design.weights := weights;
  v_design.validation := validation;
  v_design.num_bins := max_bins;
  v_design.num_trees := num_trees;
  v_design.seed := seed;
  v_design.growth := row('newton', lambda, gamma, max_depth, min_rows, 0, min_child_weight, null);
  v_boosting.objective := coalesce(objective, case
    when v_design.dependent_type = 'boolean'::regtype then 'logistic'
    when ml._is_category(v_design.dependent_type) then 'softmax'
    else 'squared_error'
  end);
  v_boosting.learning_rate := learning_rate;
  v_boosting.row_sample := row_sample;
  v_boosting.feature_sample := feature_sample;
  v_boosting.early_stopping_rounds := early_stopping_rounds;
  v_design.classifies := v_boosting.objective = 'softmax';
  perform ml._check_gbm_arguments(v_design, v_boosting);
  if validation is not null
    and common.expression_type(validation, v_design.relation, 'validation') <> 'boolean'::regtype then
    perform common.refuse('CF001', format('validation "%s" is not boolean', left(validation, 100)),
      'Give a condition that is true for the rows to validate on, such as ''course_id in (4, 7)''.');
  end if;
  v_design.features := ml._tree_features(v_design.relation, list_of_features, list_of_features_to_exclude,
    array[id_col_name, v_design.id, weights, validation], dependent_variable);

  perform ml._tree_read(v_design);
  v_fit := ml._tree_bin(v_design, 1);
  v_boosting.base := ml._gbm_base(v_design, v_boosting, v_fit);
  if validation is not null and v_fit.validation_count = 0 then
    perform common.refuse('CF004', format('no row is for validation: "%s"', left(validation, 100)),
      'Give a condition that is true for some rows.');
  end if;
  perform ml._tree_table(
    v_design.output,
    case when v_design.classifies then 'class text not null' end,
    'value float8',
    case when v_design.classifies then 'class, tree, node' else 'tree, node' end
  );
  perform ml._tree_workspace(1);

  -- Once more than there are rounds: the last turn only measures the last trees.
  for v_tree in 1..num_trees + 1 loop
    perform ml._gbm_rows(v_design, v_boosting, v_fit, v_tree, v_leaves);
    if v_tree > 1 then
      v_loss := ml._gbm_loss(v_boosting, v_fit.outputs);
      v_training := v_training || v_loss.training;
      v_trees := v_tree - 1;
      if validation is not null then
        v_validation := v_validation || v_loss.validation;
        if v_loss.validation < v_best_loss then
          v_best_loss := v_loss.validation;
          v_best := v_trees;
        end if;
        exit when early_stopping_rounds is not null and v_trees - v_best >= early_stopping_rounds;
      end if;
    end if;
    exit when v_tree > num_trees;

    v_splits := 0;
    for v_output in 1..v_fit.outputs loop
      perform ml._tree_grow(
        v_design.growth, ml._gbm_features(v_boosting, v_fit.usable, seed + v_tree),
        array['s' || v_output], 'h' || v_output, seed
      );
      perform ml._gbm_leaves(learning_rate, lambda);
      perform ml._tree_write(
        v_design.output,
        case when v_design.classifies then format('select %L::text as class', v_fit.levels[v_output]) end,
        v_tree, 'node.value'
      );
      v_leaves[v_output] := ml._tree_case('value');
      v_splits := v_splits + (select count(*) from pg_temp._ml_tree_node where feature is not null);
    end loop;
    if v_splits = 0 and v_tree = 1 then
      perform common.refuse(
        'CF004',
        format('no feature splits the %s rows into better halves', v_fit.row_count),
        format('A leaf needs %s rows (min_rows), weight %s (min_child_weight) and a gain over %s (gamma).', min_rows,
          min_child_weight, gamma)
      );
    end if;
    -- Trees that find nothing to split will not find it the next time either, unless they look at other rows or
    -- features.
    exit when v_splits = 0 and row_sample = 1 and feature_sample = 1;
    alter table pg_temp._ml_tree_work rename to _ml_tree_row;
  end loop;
  if validation is not null then
    v_trees := v_best;
  end if;
  execute format('delete from %s where tree > %s', v_design.output, v_trees);

  insert into pg_temp._ml_tree_fit select v_fit.*;
  perform ml._tree_publish(v_design, format(
    $columns$
    'gbm'::text as method, %L::text as objective, %L::text as source_table, %L::text as model_table,
    %L::text as id_col_name, %L::text as dependent_varname, %L::text as dependent_var_type,
    fit.levels as dependent_var_levels, %L::text[] as independent_varnames, fit.types as independent_vartypes,
    fit.categories, %L::float8 as base_score, %L::float8[] as base_scores, %s::int as num_trees,
    %s::int as num_trees_grown, fit.row_count as num_rows_processed, fit.validation_count as num_validation_rows,
    fit.skipped as num_missing_rows_skipped, %L::float8[] as training_loss, %L::float8[] as validation_loss,
    %L::jsonb as parameters
    $columns$,
    v_boosting.objective, v_design.relation, v_design.output, v_design.id, dependent_variable, v_design.dependent_type,
    v_design.features,
    case when not v_design.classifies then v_boosting.base[1] end,
    case when v_design.classifies then v_boosting.base end,
    v_trees, cardinality(v_training), v_training, nullif(v_validation, '{}'),
    jsonb_build_object(
      'num_trees', num_trees, 'learning_rate', learning_rate, 'max_depth', max_depth, 'min_rows', min_rows,
      'min_child_weight', min_child_weight, 'lambda', lambda, 'gamma', gamma, 'row_sample', row_sample,
      'feature_sample', feature_sample, 'max_bins', max_bins, 'weights', weights, 'validation', validation,
      'early_stopping_rounds', early_stopping_rounds, 'seed', seed
    )
  ));
exception when numeric_value_out_of_range then
  perform ml._caller_error(sqlstate, sqlerrm, common.relation(source_table));
end;
$$;

comment on function ml.gbm_train(
  text, text, text, text, text, text, text, int, float8, int, int, float8, float8, float8, float8, float8, int, text,
  text, int, bigint
) is $$
@behavior -*
Gradient-boosted trees, by histogram sums in plain SQL.
`objective` is `squared_error`, `logistic` (dependent variable boolean or 0 and 1) or `softmax` (up to 100 classes
of any type, one tree for each class in a round, as XGBoost's multi:softprob); by default logistic for a boolean,
softmax for text.
Features are columns or expressions (`*`: all other columns): numbers and booleans are cut into `max_bins` bins at
quantiles, text is categorical, missing values and categories never seen go the way that each split learned.
`validation` is a condition on a row: such rows are not trained on, their loss ends the training
`early_stopping_rounds` trees after its best, and the model keeps the trees up to the best; name whole courses or the
latest weeks there. `row_sample` and `feature_sample` are shares drawn for each tree, by a hash of the id and the
seed.
Writes `output_table`, one row per node: `tree`, `node` (0 = root), `parent`, `depth`, `feature` with `threshold` (left:
value < threshold) or `categories` (left: one of them), `missing_left`, `left_node`, `right_node`, `value` (leaves:
what is added to the score), `gain`, `cover` (sum of second derivatives), `num_rows`, and for softmax first `class`; and
`<output_table>_summary`, one row: method, objective, names and kinds of features, `base_score` (for softmax
`base_scores`, the logarithms of the shares of the classes), `num_trees`, numbers of rows, the loss after each round
(mean log loss or mean squared error), parameters.
Errors: CF001 (a parameter, a type, non-finite values), CF002, CF003 (a table exists), CF004 (no rows, a class without
rows, nothing varies or splits), CF005, CF008 (over 100 classes, too many features).
Source: Friedman, Greedy function approximation, Annals of Statistics 29, 2001; Chen and Guestrin, XGBoost, KDD 2016;
Huang and others, JoinBoost, SIGMOD 2023.
$$;

grant execute on function ml.gbm_train(text, text, text, text, text, text, text, int, float8, int, int, float8, float8,
  float8, float8, float8, int, text, text, int, bigint)
  to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/trees/gbm_train.sql

--! Included ml/trees/gbm_predict.sql
create or replace function ml._gbm_answers(model ml.tree_model, nodes text, type text, source text)
returns text
language plpgsql
stable
as $$
declare
  v_classes constant text[] := model.dependent_var_levels;
  v_scores text[] := '{}';
  v_names constant text := ml._each(cardinality(v_classes), 'score#');
  v_shares constant text := ml._each(
    cardinality(v_classes), format('exp(greatest(score# - greatest(%s), -700))', v_names), ' + '
  );
begin
  if model.objective <> 'softmax' then
    return format(
      'select id as %s, %s as prediction from (select id, %s as score from %s offset 0) as scored',
      model.id_col_name,
      case
        when type = 'prob' then '1 / (1 + exp(-least(greatest(score, -700), 700)))'
        when type = 'response' and model.objective = 'logistic' then '(score > 0)::int'
        else 'score'
      end,
      format('%L::float8', model.base_score)
        || coalesce(' + ' || ml._tree_sum(nodes, model, 'format(''%L::float8'', value)'), ''),
      source
    );
  end if;
  for v_class in 1..cardinality(v_classes) loop
    v_scores := v_scores || format(
      '%L::float8 %s as score%s',
      model.base_scores[v_class],
      coalesce(' + ' || ml._tree_sum(
        format('(select * from %s as grown where class = %L) as grown', nodes, v_classes[v_class]), model,
        'format(''%L::float8'', value)'
      ), ''),
      v_class
    );
  end loop;
  return format(
    'select id as %s, %s from (select id, %s from %s offset 0) as scored',
    model.id_col_name,
    case type
      when 'raw' then format('array[%s] as prediction', v_names)
      when 'response' then format(
        '((%L::text[])[array_position(array[%2$s], greatest(%2$s))])::%3$s as prediction',
        v_classes, v_names, model.dependent_var_type
      )
      else (
        select string_agg(
          format('exp(greatest(score%s - greatest(%s), -700)) / (%s) as %I', place, v_names, v_shares, name), ', '
            order by place
        )
        from unnest(ml._class_columns(v_classes)) with ordinality as level (name, place)
      )
    end,
    array_to_string(v_scores, ', '),
    source
  );
end;
$$;

comment on function ml._gbm_answers(ml.tree_model, text, text, text) is $$
The statement that predicts the rows of `source`, which has id and the features x1, x2, …, by a boosted model.
`type` is `response`, `prob` or `raw`; `nodes` is the table of the model.
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
  v_model constant ml.tree_model := ml._tree_model(model_table, array['gbm']);
  v_relation regclass := common.relation(new_data_table);
  v_output text := common.output_table(output_table);
  v_type text := coalesce(type, case v_model.objective when 'logistic' then 'prob' else 'response' end);
  v_id text := common.column_name(v_relation, v_model.id_col_name, 'id column');
begin
  if v_type not in ('response', 'prob', 'raw') or (v_type = 'prob' and v_model.objective = 'squared_error') then
    perform common.refuse(
      'CF001',
      format('type "%s" does not go with objective %s', left(v_type, 100), left(v_model.objective, 100)),
      'Choose response, raw, or for classes prob.'
    );
  end if;
  execute format('create table %s as ', v_output) || ml._gbm_answers(
    v_model, common.relation(model_table)::text, v_type,
    format('(select %s as id, %s from %s offset 0) as input', v_id,
      ml._tree_inputs(v_model.independent_varnames, v_model.independent_vartypes, v_relation), v_relation)
  );
end;
$$;

comment on function ml.gbm_predict(text, text, text, text) is $$
@behavior -*
Predictions of a model of ml.gbm_train for every row of a table, in one statement.
`type` is `prob` (the probability of class 1, the default for a logistic model; for softmax the columns
`estimated_prob_<class>`), `response` (the value, or the class) or `raw` (the sum of the trees: log odds for a
logistic model, for softmax an array in the order of `dependent_var_levels`). The new table needs the id column and
the columns of the features; a dependent variable is not read.
Writes `output_table`: the id column and `prediction`, or a column for each class.
Errors: CF001 (type), CF002 (not a model, a missing column), CF003 (`output_table` exists), CF005.
$$;

grant execute on function ml._gbm_answers(ml.tree_model, text, text, text)
  to insights_analyst, insights_admin, insights_worker;
grant execute on function ml.gbm_predict(text, text, text, text)
  to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/trees/gbm_predict.sql

--! Included ml/trees/gbm_explain.sql
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
  v_model constant ml.tree_model := ml._tree_model(model_table, array['gbm']);
  v_nodes constant text := common.relation(model_table)::text;
  v_relation regclass := common.relation(new_data_table);
  v_output text := common.output_table(output_table);
  v_id text := common.column_name(v_relation, v_model.id_col_name, 'id column');
  v_inputs constant text := ml._tree_inputs(v_model.independent_varnames, v_model.independent_vartypes, v_relation);
  v_kept constant text := case when id_value is null then 'true' else format('(%s)::text = %L', v_id, id_value) end;
  v_class constant text := case when v_model.objective = 'softmax' then 'class,' end;
  v_explained text;
  v_rows bigint;
begin
  if v_model.objective = 'softmax' then
    -- The score of each class has trees of its own.
    select string_agg(
      format('select %L::text as class, explained.* from (', level.class) || ml._explanation(
        format('(select * from %s as grown where class = %L) as grown', v_nodes, level.class), level.base,
        v_model.independent_varnames, v_model.independent_vartypes, v_model.categories, v_relation::text, v_id,
        v_inputs, v_kept
      ) || ') as explained', ' union all ' order by level.place
    )
    into v_explained
    from unnest(v_model.dependent_var_levels, v_model.base_scores) with ordinality as level (class, base, place);
  else
    v_explained := ml._explanation(v_nodes, v_model.base_score, v_model.independent_varnames,
      v_model.independent_vartypes, v_model.categories, v_relation::text, v_id, v_inputs, v_kept);
  end if;
  execute format(
    'create table %s (%s, %s feature, feature_value, contribution) as
     select id, %s ml._unquoted(feature), feature_value, contribution from (%s) as explained',
    v_output, v_id,
    v_class, v_class, v_explained
  );
  get diagnostics v_rows = row_count;
  if v_rows = 0 then
    perform common.refuse(
      'CF002',
      format('"%s" has no row with %s = %s', v_relation, left(v_id, 100), coalesce(id_value, 'anything')),
      'Give the id of a row of the new data.'
    );
  end if;
end;
$$;

comment on function ml.gbm_explain(text, text, text, text) is $$
@behavior -*
What moved each prediction: exact Shapley values of the features, path-dependent as TreeSHAP's.
Explains the row whose id is `id_value`, or all rows. Writes `output_table`: the id column, `feature` (`(base)` is the
mean prediction over the training rows), `feature_value` as text, and `contribution`, in the unit of the raw score:
log odds for a logistic model. A softmax model has a column `class` after the id, and explains the score of each class;
their differences are log odds. The contributions of a row sum to its raw prediction (`ml.gbm_predict(…, 'raw')`).
Errors: CF002 (not a model, a missing column, no such row), CF003 (`output_table` exists), CF005.
Source: Lundberg and others, From local explanations to global understanding with explainable AI for trees, Nature
Machine Intelligence 2, 2020.
$$;

grant execute on function ml.gbm_explain(text, text, text, text) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/trees/gbm_explain.sql

--! Included ml/trees/get_var_importance.sql
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
  -- Of a model by groups, the first group.
  v_model constant ml.tree_model := (
    select trained from ml._tree_model(model_table, array['gbm', 'tree_train', 'forest_train']) as trained limit 1
  );
  v_nodes constant regclass := common.relation(model_table);
  v_output text := common.output_table(output_table);
begin
  execute format(
    $query$
    create table %1$s as
    select
      %2$s
      ml._unquoted(feature.name) as feature,
      coalesce(100 * node.gain / nullif(sum(node.gain) over (partition by model.gid), 0), 0) as impurity_var_importance,
      coalesce(node.gain, 0) as gain,
      coalesce(node.splits, 0) as splits,
      coalesce(node.cover, 0) as cover
    from %3$s as model
    cross join lateral unnest(model.independent_varnames) with ordinality as feature (name, position)
    left join (
      select %4$s as gid, feature, sum(gain order by tree, node) as gain, count(*) as splits,
        sum(cover order by tree, node) as cover
      from %5$s
      where feature is not null
      group by 1, 2
    ) as node on node.gid = model.gid and node.feature = feature.name
    where model.failure is null
    order by model.gid, node.gain desc nulls last, feature.position
    $query$,
    v_output,
    case when v_model.gid is not null then 'model.gid, ' || v_model.grouping_cols || ',' end,
    case when v_model.gid is null
      then format('(select 1 as gid, independent_varnames, null::text as failure from %s)', ml._tree_summary(v_nodes))
      else ml._tree_summary(v_nodes) end,
    case when v_model.gid is null then '1' else 'gid' end,
    v_nodes
  );
end;
$$;

comment on function ml.get_var_importance(text, text) is $$
@behavior -*
How much each feature of a tree, forest or boosted model improved its training, in MADlib's name.
Writes `output_table`, for a model by groups with `gid` and the grouping columns: `feature`, `impurity_var_importance`
(share of the total gain, sums to 100), `gain`, `splits` and `cover` (weight of the rows split).
Gain favours features with many values; ml.gbm_explain explains single predictions. Errors: CF002 (not a model),
CF003 (`output_table` exists), CF005.
$$;

grant execute on function ml.get_var_importance(text, text) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/trees/get_var_importance.sql

--! Included ml/trees/_forest_design.sql
create or replace function ml._forest_design(
  method text,
  training_table_name text,
  output_table_name text,
  id_col_name text,
  dependent_variable text,
  list_of_features text,
  list_of_features_to_exclude text,
  grouping_cols text,
  weights text
)
returns ml.tree_design
language plpgsql
as $$
declare
  v_design ml.tree_design;
begin
  v_design.method := method;
  v_design.relation := common.relation(training_table_name);
  v_design.output := common.output_table(output_table_name, array['_summary']);
  v_design.groups := common.column_names(v_design.relation, grouping_cols, 'grouping columns');
  v_design.id := common.column_name(v_design.relation, id_col_name, 'id column');
  v_design.dependent := dependent_variable;
  v_design.dependent_type := common.expression_type(dependent_variable, v_design.relation, 'dependent variable');
  v_design.classifies := v_design.dependent_type not in
    ('real'::regtype, 'double precision'::regtype, 'numeric'::regtype);
  v_design.weights := weights;
  v_design.features := ml._tree_features(
    v_design.relation, list_of_features, list_of_features_to_exclude,
    array[id_col_name, v_design.id, weights] || v_design.groups, dependent_variable
  );
  perform ml._check_output_columns(v_design.groups, array[
    'gid', 'tree', 'node', 'parent', 'depth', 'feature', 'threshold', 'categories', 'missing_left', 'left_node',
    'right_node', 'value', 'distribution', 'gain', 'cover', 'num_rows', 'method', 'is_classification', 'source_table',
    'model_table', 'id_col_name', 'dependent_varname', 'dependent_var_type', 'dependent_var_levels',
    'independent_varnames', 'independent_vartypes', 'num_trees', 'oob_error', 'num_rows_processed',
    'num_missing_rows_skipped', 'parameters', 'grouping_cols', 'failure', 'impurity_var_importance', 'splits'
  ]);
  return v_design;
end;
$$;

comment on function ml._forest_design(text, text, text, text, text, text, text, text, text) is $$
Checks and quotes the arguments that ml.tree_train and ml.forest_train share.
Errors: CF001, CF002, CF003 (a table exists), CF004 (no feature), CF005.
$$;

grant execute on function ml._forest_design(text, text, text, text, text, text, text, text, text)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/trees/_forest_design.sql

--! Included ml/trees/_forest_train.sql
create or replace function ml._check_forest_arguments(design ml.tree_design)
returns void
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_growth constant ml.tree_growth := design.growth;
begin
  if design.num_trees is null or design.num_trees not between 1 and 10000 then
    perform common.refuse('CF001', format('num_trees %s', coalesce(design.num_trees::text, 'null')),
      'Choose 1 to 10000 trees.');
  elsif v_growth.max_depth is null or v_growth.max_depth not between 1 and 30 then
    perform common.refuse('CF001', format('depth %s', coalesce(v_growth.max_depth::text, 'null')), 'Choose 1 to 30.');
  elsif v_growth.min_split is null or v_growth.min_split < 1 or v_growth.min_rows < 1 then
    perform common.refuse(
      'CF001',
      format('min_split %s, min_bucket %s', coalesce(v_growth.min_split::text, 'null'),
        coalesce(v_growth.min_rows::text, 'null')),
      'Both are 1 or more.'
    );
  elsif design.cp is null or not (design.cp >= 0 and design.cp <= 1) then
    perform common.refuse('CF001', format('cp %s', coalesce(design.cp::text, 'null')),
      'The complexity parameter is in 0..1; 0 prunes nothing.');
  elsif design.sample_ratio is not null and not (design.sample_ratio > 0 and design.sample_ratio <= 1) then
    perform common.refuse('CF001', format('sample_ratio %s', design.sample_ratio),
      'Choose a share above 0, at most 1.');
  elsif v_growth.features_per_node < 1 then
    perform common.refuse('CF001', format('num_random_features %s', v_growth.features_per_node),
      'Choose 1 or more, or null for the usual number.');
  elsif v_growth.criterion is null or v_growth.criterion not in ('gini', 'entropy', 'misclassification', 'mse') then
    perform common.refuse(
      'CF001',
      format('there is no split criterion "%s"', coalesce(left(v_growth.criterion, 100), 'null')),
      'Choose gini, entropy or misclassification for classes; numbers use mse.'
    );
  elsif design.classifies and v_growth.criterion = 'mse' then
    perform common.refuse(
      'CF001',
      format('"%s" is of type %s and so a class, which mse does not judge', left(design.dependent, 100),
        design.dependent_type),
      'Cast it to float8 for a regression, or choose gini.'
    );
  end if;
end;
$$;

comment on function ml._check_forest_arguments(ml.tree_design) is $$
Raises CF001 unless the arguments of a tree or forest are in their ranges.
$$;

create or replace function ml._copies_expression(sample_ratio float8)
returns text
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_cases text := '';
  v_chance float8 := exp(-sample_ratio);
  v_below float8 := v_chance;
begin
  for v_copies in 0..7 loop
    v_cases := v_cases || format(' when lot < %s then %s', (v_below * 1073741824)::bigint, v_copies);
    v_chance := v_chance * sample_ratio / (v_copies + 1);
    v_below := v_below + v_chance;
  end loop;
  return 'case' || v_cases || ' else 8 end';
end;
$$;

comment on function ml._copies_expression(float8) is $$
Returns the number of copies of a row in a bootstrap sample, as SQL over `lot`, a hash of its id in 0..1073741823.
Drawing with replacement gives each row a number of copies with a Poisson distribution; the hash selects its quantile.
$$;

create or replace function ml._forest_bag(design ml.tree_design, fit ml.tree_fit, tree int)
returns void
language plpgsql
set search_path to pg_catalog, pg_temp
as $$
declare
  v_votes constant text := 'votes, ' || ml._each(fit.outputs, 'v#');
  -- Centred, so that a large mean does not hide the variation.
  v_sums constant text := case
    when design.classifies then ml._each(fit.outputs, 'case when y = # then weight * bag else 0 end as s#')
    else format('weight * bag * (y - %L::float8) as s1', fit.mean)
  end;
begin
  if design.sample_ratio is null then
    execute format(
      $query$
      create temp table _ml_tree_work on commit drop as
      select weight > 0 as used, %s, weight as h, %s
      from (select *, 1 as bag from pg_temp._ml_tree_row) as bagged
      $query$,
      v_sums, fit.codes
    );
  else
    execute format(
      $query$
      create temp table _ml_tree_work on commit drop as
      select bag > 0 and weight > 0 as used, %1$s, weight * bag as h, %3$s, key, y, weight, %2$s
      from (
        select key, y, weight, %4$s as bag, %5$s, %3$s
        from (select *, hashint8extended(key, %6$s) & 1073741823 as lot from pg_temp._ml_tree_row offset 0) as drawn
        offset 0
      ) as bagged
      $query$,
      v_sums,
      case when tree = 1 then '0 as votes, ' || ml._each(fit.outputs, '0::float8 as v#') else v_votes end,
      fit.codes,
      ml._copies_expression(design.sample_ratio),
      case when tree = 1 then '1' else v_votes end,
      design.seed + tree
    );
  end if;
  if tree = 1 then
    analyze pg_temp._ml_tree_work;
  end if;
  drop table pg_temp._ml_tree_row;
end;
$$;

comment on function ml._forest_bag(ml.tree_design, ml.tree_fit, int) is $$
Makes the rows of one tree, `_ml_tree_work`, of the rows of its group: all of them, or for a forest copies of some.
The columns that each level scans come first, so that the others are not read.
A forest keeps with each row the number of trees that did not see it, `votes`, and the sums of their answers v1, ….
$$;

create or replace function ml._tree_risk(criterion text, squares float8)
returns float8
language plpgsql
set search_path to pg_catalog, pg_temp
as $$
begin
  if criterion = 'mse' then
    return squares;
  end if;
  return (
    select case criterion
      when 'entropy' then -sum(coalesce(part * ln(nullif(part, 0) / root.h), 0))
      when 'misclassification' then root.h - max(part)
      else root.h - sum(part * part) / root.h
    end
    from pg_temp._ml_tree_node as root
    cross join lateral unnest(root.s) as part
    where root.node = 0
    group by root.h
  );
end;
$$;

comment on function ml._tree_risk(text, float8) is $$
The impurity of the root of the tree in `_ml_tree_node` by a criterion; for numbers it is their sum of squares.
$$;

create or replace function ml._forest_leaves(classifies boolean, mean float8)
returns void
language plpgsql
set search_path to pg_catalog, pg_temp
as $$
begin
  if classifies then
    update pg_temp._ml_tree_node as node
    set distribution = array(
      select listed.part / node.h
      from unnest(node.s) with ordinality as listed (part, place)
      order by listed.place
    );
  else
    update pg_temp._ml_tree_node as node set value = node.s[1] / node.h + mean;
  end if;
end;
$$;

comment on function ml._forest_leaves(boolean, float8) is $$
Sets what the nodes of the tree in `_ml_tree_node` answer: the shares of the classes, or the mean.
$$;

create or replace function ml._forest_vote(design ml.tree_design, fit ml.tree_fit)
returns void
language plpgsql
set search_path to pg_catalog, pg_temp
as $$
begin
  execute format(
    $query$
    create temp table _ml_tree_row on commit drop as
    select key, y, weight, votes + (not used)::int as votes, %1$s, %2$s
    from (select *, case when not used then %3$s end as answer from pg_temp._ml_tree_work offset 0) as answered
    $query$,
    ml._each(fit.outputs, case when design.classifies then 'v# + coalesce(answer[#], 0) as v#'
      else 'v# + coalesce(answer, 0) as v#' end),
    fit.codes,
    ml._tree_case(case when design.classifies then 'distribution' else 'value' end)
  );
end;
$$;

comment on function ml._forest_vote(ml.tree_design, ml.tree_fit) is $$
Adds the answer of the tree in `_ml_tree_node` to the rows that it did not see, as the rows of the next tree.
$$;

create or replace function ml._out_of_bag_error(design ml.tree_design, fit ml.tree_fit)
returns float8
language plpgsql
set search_path to pg_catalog, pg_temp
as $$
declare
  v_error float8;
begin
  execute format(
    'select sum(weight * %s) / nullif(sum(weight), 0) from pg_temp._ml_tree_row where votes > 0',
    case when design.classifies
      then format('(array_position(array[%1$s], greatest(%1$s)) <> y)::int', ml._each(fit.outputs, 'v#'))
      else '(v1 / votes - y) ^ 2'
    end
  ) into v_error;
  return v_error;
end;
$$;

comment on function ml._out_of_bag_error(ml.tree_design, ml.tree_fit) is $$
The share of rows, or the squared error, that the trees of a forest which did not see a row get wrong.
$$;

create or replace function ml._forest_fit(design ml.tree_design, gid int)
returns ml.tree_fit
language plpgsql
set client_min_messages to warning
as $$
declare
  v_fit ml.tree_fit := ml._tree_bin(design, gid);
  v_origin constant text := case when design.groups <> '{}' then
    format('select * from pg_temp._ml_tree_group as named where named.gid = %s', gid) end;
  v_growth ml.tree_growth := design.growth;
begin
  perform ml._tree_workspace(v_fit.outputs);
  if v_growth.features_per_node >= cardinality(v_fit.usable) then
    v_growth.features_per_node := null;
  end if;
  for v_tree in 1..design.num_trees loop
    perform ml._forest_bag(design, v_fit, v_tree);
    perform ml._tree_grow(
      v_growth, v_fit.usable, string_to_array(ml._each(v_fit.outputs, 's#'), ', '), 'h', design.seed + v_tree
    );
    if design.cp > 0 then
      perform ml._tree_prune(design.cp * ml._tree_risk(v_growth.criterion, v_fit.squares));
    end if;
    perform ml._forest_leaves(design.classifies, v_fit.mean);
    perform ml._tree_write(design.output, v_origin, v_tree, 'node.value, node.distribution');
    if design.sample_ratio is not null then
      perform ml._forest_vote(design, v_fit);
    end if;
    drop table pg_temp._ml_tree_work;
  end loop;
  if design.sample_ratio is not null then
    v_fit.oob_error := ml._out_of_bag_error(design, v_fit);
    drop table pg_temp._ml_tree_row;
  end if;
  return v_fit;
end;
$$;

comment on function ml._forest_fit(ml.tree_design, int) is $$
Trains the tree or the forest of one group and writes its nodes: bag, grow, prune, measure, write.
$$;

/*
 * A decision tree is a forest of one tree that sees every row and feature. Classes are learned as one indicator each,
 * whose sums of squares are Gini's index, so classification and regression share the kernel of the boosted trees.
 */
create or replace function ml._forest_train(design ml.tree_design)
returns void
language plpgsql
set jit to off
set client_min_messages to warning
as $$
declare
  v_gid int;
  v_fit ml.tree_fit;
  v_failed text;
begin
  perform ml._check_forest_arguments(design);
  if not design.classifies then
    design.growth.criterion := 'mse';
  end if;
  perform ml._tree_read(design);
  perform ml._tree_table(
    design.output,
    case when design.groups <> '{}' then 'like pg_temp._ml_tree_group' end,
    'value float8, distribution float8[]',
    case when design.groups <> '{}' then 'gid, ' else '' end || 'tree, node'
  );
  if design.groups = '{}' then
    v_fit := ml._forest_fit(design, 1);
    insert into pg_temp._ml_tree_fit select v_fit.*;
  else
    for v_gid in execute 'select gid from pg_temp._ml_tree_group order by gid' loop
      begin
        v_fit := ml._forest_fit(design, v_gid);
      exception when sqlstate 'CF001' or sqlstate 'CF004' or sqlstate 'CF008' or numeric_value_out_of_range then
        v_fit := null;
        v_fit.gid := v_gid;
        v_fit.failure := sqlerrm;
      end;
      insert into pg_temp._ml_tree_fit select v_fit.*;
    end loop;
    select min(failure) into v_failed from pg_temp._ml_tree_fit having bool_and(failure is not null);
    if v_failed is not null then
      perform common.refuse('CF004', format('no group of "%s" has a model: %s', design.relation, left(v_failed, 200)),
        'A group needs rows of two classes or varying numbers, and a feature that varies.');
    end if;
  end if;
  perform ml._tree_publish(design, format(
    $columns$
    %L::text as method, %L::boolean as is_classification, %L::text as source_table, %L::text as model_table,
    %L::text as id_col_name, %L::text as dependent_varname, %L::text as dependent_var_type,
    fit.levels as dependent_var_levels, %L::text[] as independent_varnames, fit.types as independent_vartypes,
    fit.categories, %L::int as num_trees, fit.oob_error, fit.row_count as num_rows_processed,
    fit.skipped as num_missing_rows_skipped, %L::jsonb as parameters, %L::text as grouping_cols, fit.failure
    $columns$,
    design.method, design.classifies, design.relation, design.output, design.id, design.dependent,
    design.dependent_type, design.features, design.num_trees,
    jsonb_build_object(
      'split_criterion', (design.growth).criterion, 'weights', design.weights, 'num_trees', design.num_trees,
      'num_random_features', (design.growth).features_per_node, 'sample_ratio', design.sample_ratio,
      'max_depth', (design.growth).max_depth, 'min_split', (design.growth).min_split,
      'min_bucket', (design.growth).min_rows, 'num_splits', design.num_bins, 'cp', design.cp, 'seed', design.seed
    ),
    nullif(array_to_string(design.groups, ', '), '')
  ));
exception when numeric_value_out_of_range then
  perform ml._caller_error(sqlstate, sqlerrm, design.relation);
end;
$$;

comment on function ml._forest_train(ml.tree_design) is $$
Trains one tree, or a forest of bagged trees, for each group, into a model table: check, read, fit, publish.
`sample_ratio` is null for one tree. See ml.tree_train and ml.forest_train.
$$;

grant execute on function
  ml._check_forest_arguments(ml.tree_design),
  ml._copies_expression(float8),
  ml._forest_bag(ml.tree_design, ml.tree_fit, int),
  ml._tree_risk(text, float8),
  ml._forest_leaves(boolean, float8),
  ml._forest_vote(ml.tree_design, ml.tree_fit),
  ml._out_of_bag_error(ml.tree_design, ml.tree_fit),
  ml._forest_fit(ml.tree_design, int),
  ml._forest_train(ml.tree_design)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/trees/_forest_train.sql

--! Included ml/trees/_forest_predict.sql
create or replace function ml._forest_answers(
  model ml.tree_model,
  nodes text,
  source text,
  type text,
  name text,
  levels text[]
)
returns text
language plpgsql
stable
as $$
declare
  v_classes constant int := coalesce(cardinality(model.dependent_var_levels), 0);
  v_names constant text := ml._each(v_classes - 1, 'p#');
  v_last constant text := format('1 - (%s)', ml._each(v_classes - 1, 'p#', ' + '));
  v_sums text[] := '{}';
begin
  -- One mean a class, but the last, which is what the others leave.
  for v_class in 1..greatest(v_classes - 1, 1) loop
    v_sums := v_sums || format('(%s) / %s as p%s',
      ml._tree_sum(nodes, model, case when v_classes = 0 then 'format(''%L::float8'', value)'
        else format('format(''%%L::float8'', distribution[%s])', v_class) end),
      model.num_trees, v_class);
  end loop;
  return format(
    'select id as %s, %s from (select id, %s from %s offset 0) as scored',
    model.id_col_name,
    case
      when v_classes = 0 then format('p1 as %I', left('estimated_' || name, 63))
      when type = 'response' then format(
        '((%L::text[])[array_position(array[%2$s, %3$s], greatest(%2$s, %3$s))])::%4$s as %5$I',
        model.dependent_var_levels, v_names, v_last, model.dependent_var_type, left('estimated_' || name, 63)
      )
      else (
        select string_agg(
          format('%s as %I',
            case
              when place = v_classes then format('greatest(%s, 0)', v_last)
              else coalesce('p' || place, '0::float8')
            end,
            column_name
          ), ', ' order by position
        )
        from unnest(levels, ml._class_columns(levels)) with ordinality as level (class, column_name, position)
        cross join lateral array_position(model.dependent_var_levels, class) as place
      )
    end,
    array_to_string(v_sums, ', '),
    source
  );
end;
$$;

comment on function ml._forest_answers(ml.tree_model, text, text, text, text, text[]) is $$
The statement that predicts the rows of `source`, which has id and the features x1, x2, …, by a tree or forest.
`name` is that of the dependent variable; `levels` are the classes of all groups, those that a group lacks have
probability 0.
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
set client_min_messages to warning
as $$
declare
  v_models constant ml.tree_model[] := array(select model from ml._tree_model(model_table, array[method]) as model);
  v_model ml.tree_model := v_models[1];
  v_nodes constant text := common.relation(model_table)::text;
  v_relation regclass := common.relation(new_data_table);
  v_output text := common.output_table(output_table);
  v_id text := common.column_name(v_relation, v_model.id_col_name, 'id column');
  v_groups text[] := common.column_names(v_relation, v_model.grouping_cols, 'grouping columns');
  v_levels text[] := (
    select array_agg(distinct level)
    from unnest(v_models) as model
    cross join unnest(model.dependent_var_levels) as level
  );
  v_name text := v_model.dependent_varname;
  v_source text := format('(select %s as id, %s from %s offset 0) as input', v_id,
    ml._tree_inputs(v_model.independent_varnames, v_model.independent_vartypes, v_relation), v_relation);
begin
  if type is null or type not in ('response', 'prob') or (type = 'prob' and v_levels is null) then
    perform common.refuse('CF001', format('type "%s" does not go with this model', coalesce(left(type, 100), 'null')),
      'Choose response, or prob for classes.');
  end if;
  begin
    v_name := (parse_ident(v_name))[1];
  exception when invalid_parameter_value then
    null;
  end;
  if v_model.grouping_cols is null then
    execute format('create table %s as ', v_output)
      || ml._forest_answers(v_model, v_nodes, v_source, type, v_name, v_model.dependent_var_levels);
    return;
  end if;

  -- The new rows are read once, each with the number of its group, which is null when the group has no model.
  drop table if exists pg_temp._ml_tree_new;
  execute format(
    $query$
    create temp table _ml_tree_new on commit drop as
    select trained.gid, input.*
    from (select jsonb_build_array(%1$s) as place, %2$s as id, %3$s from %4$s offset 0) as input
    left join (
      select gid, jsonb_build_array(%1$s) as place
      from %5$s
      where failure is null
    ) as trained on trained.place = input.place
    $query$,
    v_model.grouping_cols, v_id,
    ml._tree_inputs(v_model.independent_varnames, v_model.independent_vartypes, v_relation), v_relation,
    ml._tree_summary(common.relation(model_table))
  );
  create index on pg_temp._ml_tree_new (gid);
  analyze pg_temp._ml_tree_new;
  v_levels := array(
    select level
    from unnest(v_levels) as level
    order by case when v_model.dependent_var_type in ('smallint', 'integer', 'bigint') then level::bigint end, level
  );
  foreach v_model in array v_models loop
    continue when v_model.failure is not null;
    execute case when to_regclass(v_output) is null then format('create table %s as ', v_output)
        else format('insert into %s ', v_output) end
      || ml._forest_answers(
        v_model, format('(select * from %s as grown where gid = %s) as grown', v_nodes, v_model.gid),
        format('pg_temp._ml_tree_new where gid = %s', v_model.gid), type, v_name, v_levels
      );
  end loop;
  execute format('insert into %s select id from pg_temp._ml_tree_new where gid is null', v_output);
  drop table pg_temp._ml_tree_new;
end;
$$;

comment on function ml._forest_predict(text, text, text, text, text) is $$
Predictions of a tree or a forest, for each group by its own model; see ml.tree_predict and ml.forest_predict.
$$;

grant execute on function
  ml._forest_answers(ml.tree_model, text, text, text, text, text[]),
  ml._forest_predict(text, text, text, text, text)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/trees/_forest_predict.sql

--! Included ml/trees/tree_train.sql
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
  pruning_params text default null,
  null_handling_params text default null,
  verbose_mode boolean default false
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_design ml.tree_design := ml._forest_design(
    'tree_train', training_table_name, output_table_name, id_col_name, dependent_variable, list_of_features,
    list_of_features_to_exclude, grouping_cols, weights
  );
begin
  if null_handling_params is not null then
    perform common.refuse('CF001', format('null_handling_params "%s"', left(null_handling_params, 100)),
      'Missing values go the way that each split learned; leave it null.');
  end if;
  v_design.num_bins := num_splits;
  v_design.num_trees := 1;
  v_design.cp := 0;
  v_design.seed := 0;
  if nullif(btrim(pruning_params), '') is not null then
    v_design.cp := substring(pruning_params from '^\s*cp\s*=\s*([0-9]*\.?[0-9]+(?:e-?[0-9]{1,2})?)\s*$')::float8;
    if v_design.cp is null then
      perform common.refuse('CF001', format('pruning_params "%s"', left(pruning_params, 100)),
        'Give the complexity parameter, such as cp=0.01.');
    end if;
  end if;
  v_design.growth.criterion := lower(split_criterion);
  v_design.growth.lambda := 0;
  v_design.growth.min_gain := 0;
  v_design.growth.max_depth := max_depth;
  v_design.growth.min_rows := coalesce(min_bucket, greatest(1, min_split / 3));
  v_design.growth.min_split := min_split;
  v_design.growth.min_weight := 1e-12;
  perform ml._forest_train(v_design);
end;
$$;

comment on function ml.tree_train(
  text, text, text, text, text, text, text, text, text, int, int, int, int, text, text, boolean
) is $$
@behavior -*
A decision tree:
classes for a boolean, integer or text dependent variable, numbers for the others, in MADlib's arguments.
`split_criterion`: `gini`, `entropy` or `misclassification` (numbers: least squares). `min_bucket` is a third of
`min_split` by default, `num_splits` the number of bins of a numeric feature (2 to 500). `pruning_params` is `cp=…`:
branches that lower the root's impurity by less than this share a split are cut, weakest first. Features: see
ml.gbm_train; missing values go the way that each split learned, there are no surrogate splits, so that
`null_handling_params` must be null. `verbose_mode` is MADlib's and changes nothing.
Writes `output_table_name`, one row per node (as ml.gbm_train; leaves have `value` or, for classes, `distribution` in
the order of `dependent_var_levels`), and `<output_table_name>_summary`.
With `grouping_cols` each group has the tree that it would have alone: the tables begin with `gid`, the number of the
group, and the grouping columns, the summary has a row per group, and the reason in `failure` for one without a tree.
Errors: CF001, CF002, CF003 (a table exists), CF004 (no rows, one class, nothing varies), CF005, CF008 (over 100
classes, over 10,000 trees in all groups).
Source: Breiman, Friedman, Olshen and Stone, Classification and Regression Trees, 1984.
$$;

grant execute on function ml.tree_train(text, text, text, text, text, text, text, text, text, int, int, int, int,
  text, text, boolean) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/trees/tree_train.sql

--! Included ml/trees/tree_predict.sql
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
Writes `output_table`: the id column and `estimated_<dependent variable>`, or with type `prob` one column
`estimated_prob_<class>` a class.
The column of a class of more than 48 bytes is named by its MD5 hash.
A row is predicted by the tree of its group; where that has none, the prediction is null.
Errors: CF001 (type), CF002 (not a model, a missing column), CF003 (`output_table` exists), CF005.
$$;

grant execute on function ml.tree_predict(text, text, text, text) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/trees/tree_predict.sql

--! Included ml/trees/forest_train.sql
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
  v_design ml.tree_design;
begin
  if num_permutations is not null then
    perform common.refuse('CF001', 'features are not permuted',
      'ml.get_var_importance gives the importance by impurity; leave num_permutations null.');
  elsif null_handling_params is not null then
    perform common.refuse('CF001', format('null_handling_params "%s"', left(null_handling_params, 100)),
      'Missing values go the way that each split learned; leave it null.');
  elsif sample_ratio is null or seed is null then
    perform common.refuse('CF001', 'sample_ratio or seed is null',
      'Give a share above 0, at most 1, and a number as seed.');
  end if;
  perform common.check_count('seed', forest_train.seed, -1000000000000000000, 1000000000000000000);
  v_design := ml._forest_design(
    'forest_train', training_table_name, output_table_name, id_col_name, dependent_variable, list_of_features,
    list_of_features_to_exclude, grouping_cols, null
  );
  v_design.num_bins := num_splits;
  v_design.num_trees := num_trees;
  v_design.sample_ratio := sample_ratio;
  v_design.cp := 0;
  v_design.seed := seed;
  v_design.growth.criterion := 'gini';
  v_design.growth.lambda := 0;
  v_design.growth.min_gain := 0;
  v_design.growth.max_depth := max_tree_depth;
  v_design.growth.min_rows := coalesce(min_bucket, greatest(1, min_split / 3));
  v_design.growth.min_split := min_split;
  v_design.growth.min_weight := 1e-12;
  v_design.growth.features_per_node := coalesce(
    num_random_features,
    case when v_design.classifies then greatest(1, floor(sqrt(cardinality(v_design.features)))::int)
      else greatest(1, cardinality(v_design.features) / 3) end
  );
  perform ml._forest_train(v_design);
end;
$$;

comment on function ml.forest_train(
  text, text, text, text, text, text, text, int, int, boolean, int, int, int, int, int, text, boolean, float8, bigint
) is $$
@behavior -*
A random forest, in MADlib's arguments:
trees on rows drawn with replacement, each split choosing among features drawn at random.
`num_random_features` is by default the root of the number of features for classes, a third of it for numbers.
`sample_ratio` is the expected number of times that a row is drawn for a tree. The seed and the ids decide all draws.
`num_permutations` and `null_handling_params` must be null; `importance` and `verbose` are MADlib's
and change nothing: ml.get_var_importance gives the importance by impurity of any model.
Writes `output_table_name` and `<output_table_name>_summary` as ml.tree_train does, also by groups; there `oob_error` is
the share of rows (for numbers: the squared error) that the trees which did not see them get wrong.
Errors: CF001, CF002, CF003 (a table exists), CF004 (no rows, one class, nothing varies), CF005, CF008 (over 100
classes, over 10,000 trees in all groups).
Source: Breiman, Random forests, Machine Learning 45, 2001; draws after Oza and Russell, Online bagging and boosting,
2001.
$$;

grant execute on function ml.forest_train(text, text, text, text, text, text, text, int, int, boolean, int, int, int,
  int, int, text, boolean, float8, bigint) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/trees/forest_train.sql

--! Included ml/trees/forest_predict.sql
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
Writes `output_table`: the id column and `estimated_<dependent variable>` (the number, or the class of the highest
mean probability), or with type `prob` one column `estimated_prob_<class>` a class.
The column of a class of more than 48 bytes is named by its MD5 hash.
A row is predicted by the forest of its group; where that has none, the prediction is null.
Errors: CF001 (type), CF002 (not a model, a missing column), CF003 (`output_table` exists), CF005.
$$;

grant execute on function ml.forest_predict(text, text, text, text)
  to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/trees/forest_predict.sql

--! Included ml/preparation/summary.sql
create or replace function ml.summary(
  source_table text,
  output_table text,
  target_cols text default null,
  grouping_cols text default null,
  get_distinct boolean default true,
  get_quartiles boolean default true,
  ntile_array float8[] default null,
  how_many_mfv int default 10,
  get_estimates boolean default true,
  n_cols_per_run int default 15
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
  v_relation regclass := common.relation(source_table);
  v_output text := common.output_table(output_table);
  v_groups text[] := common.column_names(v_relation, grouping_cols, 'grouping columns');
  v_columns text[] := coalesce(
    nullif(common.column_names(v_relation, target_cols, 'target columns'), '{}'),
    array(select quote_ident(name) from unnest(common.columns(v_relation)) with ordinality as stored (name, position)
      order by position)
  );
  v_column text;
  v_group text;
  v_type regtype;
  v_text boolean;
  v_number text;
  v_any boolean;
begin
  if exists (select from unnest(ntile_array) as share where share is null or not (share >= 0 and share <= 1)) then
    perform common.refuse('CF001', format('ntile_array %s', ntile_array), 'Quantiles are shares in 0..1.');
  elsif how_many_mfv is null or how_many_mfv not between 0 and 1000 then
    perform common.refuse('CF001', format('how_many_mfv %s', coalesce(how_many_mfv::text, 'null')),
      'Choose 0 to 1000.');
  end if;
  execute format('select exists (select from %s)', v_relation) into v_any;
  if not v_any then
    perform common.refuse('CF004', format('"%s" is empty', v_relation), 'There is nothing to summarize.');
  end if;
  execute format(
    'create table %s (group_by text, group_by_value text, target_column text, column_number int, data_type text,
        row_count bigint, distinct_values bigint,
       missing_values bigint, blank_values bigint, fraction_missing float8, fraction_blank float8,
         positive_values bigint, negative_values bigint, zero_values bigint,
       mean float8, variance float8, confidence_interval float8[], min float8, max float8, first_quartile float8,
         median float8, third_quartile float8,
       quantile_array float8[], most_frequent_values text[], mfv_frequencies bigint[])',
    v_output
  );
  foreach v_column in array v_columns loop
    v_type := common.expression_type(v_column, v_relation, 'target column');
    v_text := v_type in ('text'::regtype, 'character varying'::regtype, 'character'::regtype, 'name'::regtype);
    v_number := case
      when v_type in (
        'smallint'::regtype, 'integer'::regtype, 'bigint'::regtype,
        'real'::regtype, 'double precision'::regtype, 'numeric'::regtype
      ) then v_column || '::float8'
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
            avg(number) as mean, var_samp(number) as variance, count(number) as numbers, min(number) as least,
            max(number) as greatest,
            %7$s as quartiles,
            %8$s as quantiles
          from value
          group by place
        ), frequent as (
          select place, array_agg(shown order by times desc, shown) as most_frequent,
            array_agg(times order by times desc, shown) as times
          from (
            select place, shown, count(*) as times,
              row_number() over (partition by place order by count(*) desc, shown) as rank
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
          mean, variance, case
            when numbers > 1 then array[mean - 1.959964 * sqrt(variance / numbers),
              mean + 1.959964 * sqrt(variance / numbers)] end,
          least, greatest, quartiles[1], quartiles[2], quartiles[3], quantiles, most_frequent, times
        from measured
        left join frequent on frequent.place is not distinct from measured.place
        order by measured.place
        $query$,
        v_output, coalesce(v_group || '::text', 'null::text'), v_column, v_number, v_relation,
        case when get_distinct then 'count(distinct shown)' else 'null::bigint' end,
        case when get_quartiles then 'percentile_cont(array[0.25, 0.5, 0.75]) within group (order by number)'
          else 'null::float8[]' end,
        case when ntile_array is not null then format('percentile_cont(%L::float8[]) within group (order by number)',
          ntile_array) else 'null::float8[]' end,
        how_many_mfv,
        case when v_group is not null then (parse_ident(v_group))[1] end,
        (parse_ident(v_column))[1],
        array_position(common.columns(v_relation), (parse_ident(v_column))[1]),
        v_type, v_text
      );
    end loop;
  end loop;
exception when numeric_value_out_of_range then
  perform ml._caller_error(sqlstate, sqlerrm, v_relation);
end;
$$;

comment on function ml.summary(text, text, text, text, boolean, boolean, float8[], int, boolean, int) is $$
@behavior -*
Writes summary statistics of the columns of a table, in MADlib's columns:
one row per column and value of a grouping column.
Writes `output_table`: `group_by`, `group_by_value`, `target_column`, `column_number`, `data_type`, `row_count`,
`distinct_values` (exact), `missing_values`, `blank_values`, `fraction_missing`, `fraction_blank`, `positive_values`,
`negative_values`, `zero_values`, `mean`, `variance`, `confidence_interval` (95 % of the mean), `min`, `max`,
`first_quartile`, `median`, `third_quartile`, `quantile_array` (at the shares of `ntile_array`),
`most_frequent_values`, `mfv_frequencies`. For text the numbers are those of its length. `get_estimates` and
`n_cols_per_run` are MADlib's and change nothing: counts and quantiles are exact, columns are read in one scan.
Errors: CF001, CF002, CF003 (`output_table` exists), CF004 (empty), CF005.
$$;

grant execute on function ml.summary(text, text, text, text, boolean, boolean, float8[], int, boolean, int)
  to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/preparation/summary.sql

--! Included ml/preparation/encode_categorical_variables.sql
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
  output_dictionary boolean default false,
  distributed_by text default null
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_relation regclass := common.relation(source_table);
  v_output text := common.output_table(output_table, array['_dictionary']);
  v_excluded text[] := common.column_names(v_relation, categorical_cols_to_exclude, 'columns to exclude');
  v_ids text[] := common.column_names(v_relation, row_id, 'row id');
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
        and common.base_type(attribute.atttypid::regtype) = any (
          array['text', 'character varying', 'character', 'boolean', 'smallint', 'integer', 'bigint']::regtype[])
        and not quote_ident(attribute.attname) = any (v_excluded || v_ids)
      order by attribute.attnum
    );
  else
    v_columns := array(
      select name
      from unnest(common.column_names(v_relation, categorical_cols, 'categorical columns')) with ordinality
        as part (name, position)
      where not name = any (v_excluded)
      order by position
    );
  end if;
  if v_columns = '{}' then
    perform common.refuse('CF004', 'no categorical column is left',
      'Name at least one column, or * for all of text, boolean and integer.');
  elsif output_type is null or output_type not in ('column', 'array') then
    perform common.refuse('CF001', format('output_type "%s"', coalesce(left(output_type, 100), 'null')),
      'Choose column or array.');
  end if;
  execute format('select count(*) from %s', v_relation) into v_rows;
  if v_rows = 0 then
    perform common.refuse('CF004', format('"%s" is empty', v_relation), 'There is nothing to encode.');
  end if;

  foreach v_column in array v_columns loop
    v_name := (parse_ident(v_column))[1];
    v_top := null;
    v_drop := null;
    foreach v_item in array coalesce(common.split_expressions(nullif(btrim(top), '')), '{}') loop
      begin
        if v_item !~ '=' then
          v_top := v_item::float8;
        elsif common.column_name(v_relation, btrim(split_part(v_item, '=', 1)), 'top') = v_column then
          v_top := btrim(split_part(v_item, '=', 2))::float8;
        end if;
      exception when invalid_text_representation then
        perform common.refuse('CF001', format('top "%s"', left(top, 100)),
          'Give a number of values, a share below 1, or a list such as sex=2, rings=0.5.');
      end;
    end loop;
    foreach v_item in array coalesce(common.split_expressions(nullif(btrim(value_to_drop), '')), '{}') loop
      if common.column_name(v_relation, btrim(split_part(v_item, '=', 1)), 'value_to_drop') = v_column then
        v_drop := btrim(substr(v_item, strpos(v_item, '=') + 1));
      end if;
    end loop;
    if v_top <= 0 then
      perform common.refuse('CF001', format('top %s', v_top), 'Give a number of values, or a share below 1.');
    end if;
    execute format('select array_agg(value order by ordering), array_agg(value order by times desc, value)
        from (select %1$s::text as value, min(%1$s::text) as ordering, count(*) as times from %2$s
          where %1$s is not null group by 1) as counted', v_column, v_relation)
    into v_values, v_frequent;
    v_values := coalesce(v_values, '{}');
    if v_top < 1 then
      -- The most frequent values that together make up this share of the rows.
      execute format(
        'select array_agg(value)
          from (select value, sum(times) over (order by times desc, value) - times as before,
            sum(times) over () as total
           from (select %1$s::text as value, count(*) as times from %2$s where %1$s is not null group by 1) as counted)
             as running where before < %3$L::float8 * total',
        v_column, v_relation, v_top
      ) into v_frequent;
    elsif v_top is not null then
      v_frequent := v_frequent[1:floor(v_top)::int];
    end if;
    if cardinality(v_names) + cardinality(v_values) > 1500 and v_top is null then
      perform common.refuse('CF008', format('"%s" has %s values', left(v_column, 100), cardinality(v_values)),
        'Encode the most frequent with top, or exclude the column.');
    end if;
    if v_drop is not null and not v_drop = any (v_values) then
      perform common.refuse('CF002', format('"%s" never holds "%s"', left(v_column, 100), left(v_drop, 100)),
        coalesce('Did you mean "' || common.nearest_name(v_drop, v_values) || '"?', 'Drop a value that occurs.'));
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
      v_expressions := v_expressions
        || format('coalesce(%1$s::text <> all (%2$L::text[]), false)::int', v_column, v_frequent
          || coalesce(v_drop, v_frequent[1]));
    end if;
    if encode_null then
      v_names := v_names || (v_name || '_null');
      v_of := v_of || v_name;
      v_shown := v_shown || null::text;
      v_expressions := v_expressions || format('(%s is null)::int', v_column);
    end if;
  end loop;
  if v_names = '{}' then
    perform common.refuse('CF004', 'no value is left to encode',
      'The columns are null, or their only values are dropped.');
  end if;
  -- Names that PostgreSQL would cut, or that two values share, are replaced by numbers; the dictionary has
  -- their meaning.
  v_keep_names := not output_dictionary
    and not exists (select from unnest(v_names) as name where octet_length(name) > 63)
    and (select count(distinct name) = count(*) from unnest(v_names) as name);
  if not v_keep_names then
    v_names := array(select v_of[position] || '_' || row_number() over (partition by v_of[position] order by position)
      from generate_series(1, cardinality(v_of)) as position order by position);
  end if;
  v_kept := case
    when v_ids <> '{}' then array_to_string(v_ids, ', ')
    else coalesce((
      select string_agg(quote_ident(name), ', ' order by position)
      from unnest(common.columns(v_relation)) with ordinality as stored (name, position)
      where not quote_ident(name) = any (v_columns)
    ), '')
  end;
  execute format(
    'create table %s as select %s %s from %s',
    v_output, v_kept || case when v_kept = '' then '' else ',' end,
    case when output_type = 'array' then format('array[%s] as encoded', array_to_string(v_expressions, ', '))
    else (select string_agg(format('%s as %I', v_expressions[position], v_names[position]), ', ' order by position)
      from generate_series(1, cardinality(v_names)) as position) end,
    v_relation
  );
  if not v_keep_names or output_type = 'array' then
    execute format(
      'create table %s as select encoded_column_name, index::int, variable, value
        from unnest(%L::text[], %L::text[], %L::text[]) with ordinality as entry (encoded_column_name, variable, value,
          index)',
      common.companion_table(v_output, '_dictionary'), v_names, v_of, v_shown
    );
  end if;
end;
$$;

comment on function ml.encode_categorical_variables(
  text, text, text, text, text, text, text, boolean, text, boolean, text
) is $$
@behavior -*
Encodes categories as columns of 0 and 1, in MADlib's arguments.
There is one column per value (one-hot), or one for all values but one (`value_to_drop`, such as `sex=M, rings=10`).
`categorical_cols`: a list, or `*` for all of text, boolean and integer. `row_id`: the columns to keep (null: all that
are not encoded). `top`: encode the most frequent values only (a number, or a share of the rows below 1; one for all
or a list such as `sex=2, rings=0.5`), the rest together as `<column>__misc__`.
`encode_null` adds `<column>_null`. Names are `<column>_<value>`; where one is too long, or with `output_dictionary`,
they are numbered and `<output_table>_dictionary` (`encoded_column_name`, `index`, `variable`, `value`) explains what
they
mean. `output_type` `array` gives one int[] `encoded`. `distributed_by` is MADlib's and changes nothing.
Errors: CF001, CF002 (unknown column or value), CF003 (a table exists), CF004 (empty), CF005, CF008 (over 1,500
columns).
$$;

grant execute on function ml.encode_categorical_variables(text, text, text, text, text, text, text, boolean, text,
  boolean, text) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/preparation/encode_categorical_variables.sql

--! Included ml/forecasts/_refuse_series.sql
create or replace function ml._refuse_series(
  failure text,
  relation text
)
returns void
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  perform common.refuse(
    case when failure ~ 'too few' then 'CF004' when failure ~ 'constant|cancel' then 'CF007' else 'CF001' end,
    format('"%s" has no model: %s', left(relation, 100), left(failure, 100)),
    case
      when failure ~ 'several rows' then 'Sum or average them first, or name grouping columns.'
      when failure ~ 'NaN' then 'Use null for a missing value.'
      when failure ~ 'too few' then 'Give a longer series, a shorter cycle or lower orders.'
      when failure ~ 'constant' then 'A constant series needs no model: its forecast is its value.'
      when failure ~ 'a gap' then 'Use method => ''ml'', or ml.ets_train; both accept gaps.'
      else 'Rescale or transform the values.'
    end
  );
end;
$$;

comment on function ml._refuse_series(text, text) is $$
Raises the reason why a series has no model as an error.
It is CF004 (too few values), CF007 (constant) or CF001 (not a series, a gap, values out of range).
$$;

grant execute on function ml._read_series(regclass, text, text, text[]), ml._refuse_series(text, text)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/forecasts/_refuse_series.sql

--! Included ml/forecasts/_arima_innovations.sql
create or replace function ml._arima_innovations(
  series float8[],
  ar float8[],
  ma float8[],
  out residuals float8[],
  out deviations float8[]
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_length constant int := cardinality(series);
  v_size constant int := greatest(cardinality(ar), cardinality(ma) + 1);
  v_phi constant float8[] := ar || array_fill(0::float8, array[v_size - cardinality(ar)]);
  v_theta constant float8[] := ma || array_fill(0::float8, array[v_size - cardinality(ma)]);
  v_start constant float8[] := ml._arima_start(ar, ma, 0);
  v_state float8[] := array_fill(0::float8, array[v_size + 1]);
  v_gain float8[] := array_fill(0::float8, array[v_size + 1]);
  -- The covariance of the state changes by `v_weight` times the square of this vector.
  v_change float8[];
  v_weight float8;
  v_first float8;
  v_spread float8;
  v_last_spread float8;
  v_error float8;
  v_value float8;
  v_level float8;
  v_share float8;
  v_settled boolean := false;
begin
  if v_start is null then
    return;
  end if;
  residuals := array_fill(0::float8, array[v_length]);
  deviations := array_fill(1::float8, array[v_length]);
  v_spread := v_start[1][1];
  for i in 1..v_size loop
    v_gain[i] := v_phi[i] * v_spread + case when i < v_size then v_start[i + 1][1] else 0 end;
  end loop;
  v_change := v_gain;
  v_weight := -1 / v_spread;
  for v_step in 1..v_length loop
    v_error := series[v_step] - v_state[1];
    if abs(v_error) < 1e-150 then
      v_error := 0;
    end if;
    residuals[v_step] := v_error;
    if v_settled then
      v_value := v_state[1] + v_error;
      for i in 1..v_size loop
        v_state[i] := v_phi[i] * v_value + v_state[i + 1] + v_theta[i] * v_error;
      end loop;
    else
      deviations[v_step] := sqrt(v_spread);
      v_level := v_state[1];
      v_share := v_error / v_spread;
      v_first := v_change[1];
      v_last_spread := v_spread;
      v_spread := v_spread + v_weight * v_first * v_first;
      for i in 1..v_size loop
        v_state[i] := v_phi[i] * v_level + v_state[i + 1] + v_gain[i] * v_share;
        v_value := v_phi[i] * v_first + v_change[i + 1];
        v_gain[i] := v_gain[i] + v_weight * v_first * v_value;
        v_value := v_value - v_gain[i] / v_spread * v_first;
        v_change[i] := case when abs(v_value) < 1e-100 then 0 else v_value end;
      end loop;
      v_weight := v_weight * (1 + v_weight * v_first * v_first / v_last_spread);
      v_settled := v_spread - 1 < 1e-13;
    end if;
    if abs(v_state[1]) < 1e-150 then
      v_state[1] := 0;
    end if;
  end loop;
end;
$$;

comment on function ml._arima_innovations(float8[], float8[], float8[]) is $$
Returns the errors and deviations of ml._arima_filter for a series without gaps and differences, in less time.
Null when the autoregression is not stationary.
Source: Morf, Sidhu and Kailath, Some new algorithms for recursive estimation in constant, linear, discrete-time
systems, IEEE Transactions on Automatic Control 19, 1974.
$$;
--! EndIncluded ml/forecasts/_arima_innovations.sql

--! Included ml/forecasts/_arima_errors.sql
create or replace function ml._arima_errors(
  series float8[],
  orders int[],
  point float8[],
  bounded boolean
)
returns float8[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_p constant int := orders[1];
  v_d constant int := orders[2];
  v_q constant int := orders[3];
  v_mean constant float8 := case when orders[4] = 1 then point[v_p + v_q + 1] else 0 end;
  v_ar float8[] := point[1:v_p];
  v_ma float8[] := point[v_p + 1:v_p + v_q];
  v_centred float8[] := series;
  v_fit record;
  v_scale float8;
begin
  if bounded then
    v_ar := ml._arima_bounded(v_ar, 1);
    v_ma := ml._arima_bounded(v_ma, -1);
  end if;
  if v_mean <> 0 then
    -- With one difference, what rises by the mean at each step.
    for v_step in 1..cardinality(series) loop
      v_centred[v_step] := series[v_step] - v_mean * case v_d when 0 then 1 else v_step end;
    end loop;
  end if;
  if orders[5] = 0 then
    return ml._arima_conditional(v_centred, v_ar, v_ma);
  end if;
  if v_d > 0 or array_position(series, null) is not null then
    select filtered.residuals, filtered.deviations
    into v_fit
    from ml._arima_filter(v_centred, v_ar, v_ma, v_d) as filtered;
  else
    v_fit := ml._arima_innovations(v_centred, v_ar, v_ma);
  end if;
  if v_fit.residuals is null then
    return null;
  end if;
  -- The likelihood falls with the sum of squares of these: errors over their deviations, times the mean deviation.
  select exp(avg(ln(deviation))) into v_scale from unnest(v_fit.deviations) as deviation;
  return array(
    select entry.residual / entry.deviation * v_scale
    from unnest(v_fit.residuals, v_fit.deviations) with ordinality as entry (residual, deviation, place)
    order by entry.place
  );
end;
$$;

comment on function ml._arima_errors(float8[], int[], float8[], boolean) is $$
Returns the errors of an ARIMA model whose least sum of squares is the estimate.
`orders`: p, d, q, with mean (0, 1), exact likelihood (0, 1; otherwise conditional, with d = 0). `point`: ar, ma, mean;
`bounded`: the first two as unbounded numbers of ml._arima_bounded. Null when the model is not stationary.
$$;

grant execute on function
  ml._reflected(float8[]),
  ml._unreflected(float8[]),
  ml._arima_start(float8[], float8[], int),
  ml._arima_next(float8[], float8[], int, float8, float8[], float8[]),
  ml._arima_filter(float8[], float8[], float8[], int),
  ml._arima_innovations(float8[], float8[], float8[]),
  ml._arima_conditional(float8[], float8[], float8[]),
  ml._arima_bounded(float8[], int),
  ml._arima_errors(float8[], int[], float8[], boolean)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/forecasts/_arima_errors.sql

--! Included ml/unsupervised/pca_train.sql
create or replace function ml.pca_train(
  source_table text,
  out_table text,
  row_id text,
  components_param float8,
  grouping_cols text default null,
  lanczos_iter int default null,
  use_correlation boolean default false,
  result_summary_table text default null
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
  v_relation regclass := common.relation(source_table);
  v_output text := common.output_table(out_table, array['_mean']);
  v_id text := common.column_name(v_relation, row_id, 'row id');
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
  if nullif(btrim(grouping_cols), '') is not null then
    perform common.refuse('CF001', 'components are not computed by group',
      'Train one table on a view of each group; leave grouping_cols null.');
  elsif result_summary_table is not null then
    perform common.refuse('CF001', format('result_summary_table "%s"', left(result_summary_table, 100)),
      'The table <out_table>_mean has the numbers of rows; leave it null.');
  elsif components_param is null or not (components_param > 0 and components_param < 1e9) then
    perform common.refuse('CF001', format('components_param %s', coalesce(components_param::text, 'null')),
      'Give a number of components, or a share of the variance below 1.');
  end if;
  drop table if exists pg_temp._ml_pca;
  execute format('create temp table _ml_pca on commit drop as select %s as x from %s', v_input, v_relation);
  select count(x) as row_count, count(*) - count(x) as skipped, min(cardinality(x)) as least,
    max(cardinality(x)) as most,
    count(*) filter (where array_position(x, null) is not null or x && array['NaN', 'Infinity', '-Infinity']::float8[])
      as bad
  into v_seen
  from pg_temp._ml_pca;
  if v_seen.row_count < 2 then
    perform common.refuse('CF004', format('"%s" has %s rows with a vector', v_relation, v_seen.row_count),
      'Two rows at least have a variance.');
  elsif v_seen.least <> v_seen.most or v_seen.least < 1 then
    perform common.refuse('CF001', format('vectors have %s to %s dimensions', v_seen.least, v_seen.most),
      'All vectors have the same number of dimensions.');
  elsif v_seen.bad > 0 then
    perform common.refuse('CF001', format('%s vectors hold a null, NaN or infinity', v_seen.bad),
      'Leave such rows out or fill them.');
  elsif v_seen.most > 200 then
    perform common.refuse('CF008', format('%s dimensions', v_seen.most),
      'Up to 200 are decomposed; choose the columns that matter.');
  end if;
  v_size := v_seen.most;
  if components_param >= 1 and components_param > v_size then
    perform common.refuse('CF001', format('%s components of %s dimensions', components_param, v_size),
      'There are at most as many components as dimensions.');
  end if;
  execute format('select array[%s], array[%s] from pg_temp._ml_pca where x is not null',
    (select string_agg(format('avg(x[%s])', i), ', ' order by i) from generate_series(1, v_size) as i),
    (select string_agg(format('stddev_samp(x[%s])', i), ', ' order by i) from generate_series(1, v_size) as i)
  ) into v_mean, v_scale;
  if use_correlation and 0 = any (v_scale) then
    perform common.refuse(
      'CF007',
      format('dimension %s is constant and has no correlation', array_position(v_scale, 0)),
      'Leave it out, or set use_correlation to false.'
    );
  elsif 0 = all (v_scale) then
    perform common.refuse('CF004', 'nothing varies', 'All rows have the same vector.');
  end if;
  -- Rows of the lower triangle, as many a scan as a select list holds.
  while v_from <= v_size loop
    v_to := v_from;
    while v_to < v_size and (v_to + 1) * (v_to + 2) / 2 - v_from * (v_from - 1) / 2 <= 1500 loop
      v_to := v_to + 1;
    end loop;
    execute format('select array[%s] from pg_temp._ml_pca where x is not null',
      (
        select string_agg(format('%s(x[%s], x[%s])', case when use_correlation then 'corr' else 'covar_samp' end, i,
            j), ', ' order by i, j)
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
     select place as row_id, (select array_agg(($2)[place][j] order by j) from generate_series(1, %s) as j)
       as principal_components, sqrt(greatest(($1)[place], 0)) as std_dev,
         greatest(($1)[place], 0) / %L::float8 as proportion
     from generate_series(1, %s) as place',
    v_output, v_size, v_total, v_components
  ) using v_eigen.eigenvalues, v_eigen.eigenvectors;
  execute format(
    'create table %s as select %L::float8[] as column_mean, %L::float8[] as column_scale,
      %s::bigint as num_rows_processed, %s::bigint as num_missing_rows_skipped, %L::boolean as use_correlation',
    common.companion_table(v_output, '_mean'), v_mean, case when use_correlation then v_scale end, v_seen.row_count,
    v_seen.skipped, use_correlation
  );
exception when numeric_value_out_of_range then
  perform ml._caller_error(sqlstate, sqlerrm, v_relation);
end;
$$;

comment on function ml.pca_train(text, text, text, float8, text, int, boolean, text) is $$
@behavior -*
Principal components of rows, in MADlib's columns.
The source has `row_id` and a column of arrays or vectors (`row_vec`, or the first such), or one column per dimension.
`components_param` is a number of components, or below 1 the share of the variance that they reach. With
`use_correlation` dimensions are scaled to unit variance. `lanczos_iter` is MADlib's and changes nothing, since the
decomposition is exact; `grouping_cols` and `result_summary_table` must be null.
Writes `out_table`: `row_id` (1 = largest), `principal_components` (unit length, largest entry positive), `std_dev`,
`proportion` of the variance; and `<out_table>_mean`: `column_mean`, `column_scale`, `num_rows_processed`,
`num_missing_rows_skipped`. Rows without a vector are left out.
Errors: CF001, CF002, CF003 (a table exists), CF004 (fewer than two rows, nothing varies), CF005, CF007 (a constant
has no correlation), CF008 (over 200 dimensions).
Source: Pearson, On lines and planes of closest fit, 1901; Jolliffe, Principal Component Analysis, 2002.
$$;

grant execute on function ml.pca_train(text, text, text, float8, text, int, boolean, text)
  to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/unsupervised/pca_train.sql

--! Included ml/hypothesis_tests/_one_way_anova_result.sql
create or replace function ml._one_way_anova_result(
  between_groups float8,
  within_groups float8,
  groups float8,
  row_count float8
)
returns ml.one_way_anova_result
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_df_between constant bigint := groups - 1;
  v_df_within constant bigint := row_count - groups;
  v_root float8;
begin
  if v_df_between > 0 and v_df_within > 0 and within_groups > 0 then
    v_root := sqrt(between_groups / v_df_between) / sqrt(within_groups / v_df_within);
  end if;
  return (
    between_groups,
    within_groups,
    v_df_between,
    v_df_within,
    between_groups / nullif(v_df_between, 0),
    within_groups / nullif(v_df_within, 0),
    case when v_root is not null then ml._finite_range(v_root) * ml._finite_range(v_root) end,
    ml._fisher_f_p_value(v_root, v_df_between, v_df_within)
  )::ml.one_way_anova_result;
end;
$$;

comment on function ml._one_way_anova_result(float8, float8, float8, float8) is $$
Returns the analysis of variance from the sums of squares between and within groups.
$$;

grant execute on function ml._one_way_anova_result(float8, float8, float8, float8)
to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/hypothesis_tests/_one_way_anova_result.sql

--! Included ml/hypothesis_tests/one_way_anova.sql
/*
 * State: the number of groups, then the slots of a hash table with open addressing, five numbers each: the group, its
 * first value (the origin), the number of values, and mean and sum of squared deviations of the values minus the
 * origin. At most half of the slots are taken. Values near 1e9 lose no digits by the origin.
 */

create or replace function ml._one_way_anova_slot(state float8[], group_no int)
returns int
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_slots constant int := cardinality(state) / 5;
  v_slot int := hashint4(group_no) & (v_slots - 1);
begin
  while state[v_slot * 5 + 2] <> group_no loop
    v_slot := (v_slot + 1) & (v_slots - 1);
  end loop;
  return v_slot * 5 + 2;
end;
$$;

comment on function ml._one_way_anova_slot(float8[], int) is $$
Returns where a group is, or can be put, in the state of `ml.one_way_anova`.
$$;

grant execute on function ml._one_way_anova_slot(float8[], int)
to insights_reader, insights_analyst, insights_admin, insights_worker;

create or replace function ml._one_way_anova_grown(state float8[])
returns float8[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_slots constant int := cardinality(state) / 5;
  v_grown float8[];
  v_at int;
begin
  if state[1] > 1000 then
    perform common.refuse('CF008', 'there are more than 1000 groups', 'Compare fewer groups.');
  end if;
  v_grown := array[state[1]] || array_fill(null::float8, array[greatest(v_slots * 2, 16) * 5]);
  for at in 2..cardinality(state) by 5 loop
    if state[at] is not null then
      v_at := ml._one_way_anova_slot(v_grown, state[at]::int);
      v_grown[v_at:v_at + 4] := state[at:at + 4];
    end if;
  end loop;
  return v_grown;
end;
$$;

comment on function ml._one_way_anova_grown(float8[]) is $$
Returns the state of `ml.one_way_anova` with twice the room for groups.
$$;

grant execute on function ml._one_way_anova_grown(float8[])
to insights_reader, insights_analyst, insights_admin, insights_worker;

create or replace function ml._one_way_anova_add(state float8[], group_no int, value float8)
returns float8[]
language plpgsql
immutable
parallel safe
strict
set search_path to pg_catalog, pg_temp
as $$
declare
  v_at int;
  v_mask int := cardinality(state) / 5 - 1;
  v_value float8;
  v_deviation float8;
begin
  if not abs(value) <= 1e100 then
    perform ml._check_magnitude(value);
  end if;
  if state[1] * 2 > v_mask then
    state := ml._one_way_anova_grown(state);
    v_mask := cardinality(state) / 5 - 1;
  end if;
  v_at := (hashint4(group_no) & v_mask) * 5 + 2;
  if state[v_at] = group_no then
    null;
  else
    v_at := ml._one_way_anova_slot(state, group_no);
    if state[v_at] is null then
      state[v_at:v_at + 4] := array[group_no, value, 0, 0, 0];
      state[1] := state[1] + 1;
    end if;
  end if;
  v_value := value - state[v_at + 1];
  if abs(v_value) < 1e-100 then
    v_value := 0;
  end if;
  -- Welford's update (1962)
  v_deviation := v_value - state[v_at + 3];
  state[v_at + 2] := state[v_at + 2] + 1;
  state[v_at + 3] := state[v_at + 3] + v_deviation / state[v_at + 2];
  state[v_at + 4] := state[v_at + 4] + v_deviation * (v_value - state[v_at + 3]);
  return state;
end;
$$;

comment on function ml._one_way_anova_add(float8[], int, float8) is $$
Adds a value to the state of `ml.one_way_anova`.
$$;

create or replace function ml._one_way_anova_combine(state float8[], other float8[])
returns float8[]
language plpgsql
immutable
parallel safe
strict
set search_path to pg_catalog, pg_temp
as $$
declare
  v_at int;
  v_count float8;
  v_distance float8;
begin
  for other_at in 2..cardinality(other) by 5 loop
    continue when other[other_at] is null;
    if state[1] * 2 > cardinality(state) / 5 - 1 then
      state := ml._one_way_anova_grown(state);
    end if;
    v_at := ml._one_way_anova_slot(state, other[other_at]::int);
    if state[v_at] is null then
      state[v_at:v_at + 4] := other[other_at:other_at + 4];
      state[1] := state[1] + 1;
      continue;
    end if;
    -- Chan, Golub and LeVeque (1979)
    v_count := state[v_at + 2] + other[other_at + 2];
    v_distance := (other[other_at + 1] - state[v_at + 1]) + (other[other_at + 3] - state[v_at + 3]);
    if abs(v_distance) < 1e-100 then
      v_distance := 0;
    end if;
    state[v_at + 3] := state[v_at + 3] + v_distance * (other[other_at + 2] / v_count);
    state[v_at + 4] := state[v_at + 4] + other[other_at + 4]
      + v_distance * v_distance * (state[v_at + 2] * other[other_at + 2] / v_count);
    state[v_at + 2] := v_count;
  end loop;
  return state;
end;
$$;

comment on function ml._one_way_anova_combine(float8[], float8[]) is $$
Returns the state of `ml.one_way_anova` over the rows of both states.
$$;

create or replace function ml._one_way_anova(state float8[])
returns ml.one_way_anova_result
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_rows float8;
  v_within float8;
  v_between float8;
begin
  if state[1] = 0 then
    return null;
  elsif state[1] > 1000 then
    perform common.refuse('CF008', 'there are more than 1000 groups', 'Compare fewer groups.');
  end if;

  with slot as (
    select state[at] as group_no, state[at + 1] as origin, state[at + 2] as number, state[at + 3] as mean,
      state[at + 4] as squares
    from generate_series(2, cardinality(state), 5) as at
    where state[at] is not null
  ),
  -- all means from one origin
  placed as (
    select number, squares, (origin - min(origin) over ()) + mean as mean, sum(number) over () as row_count
    from slot
  ),
  centred as (
    select number, squares, mean - sum(mean * (number / row_count)) over () as deviation, row_count
    from placed
  )

  select min(row_count), sum(squares),
    sum(number * case when abs(deviation) < 1e-100 then 0 else deviation * deviation end)
  into v_rows, v_within, v_between
  from centred;

  return ml._one_way_anova_result(v_between, v_within, state[1], v_rows);
end;
$$;

comment on function ml._one_way_anova(float8[]) is $$Returns the result of `ml.one_way_anova`.$$;

create or replace aggregate ml.one_way_anova(group_no int, value float8) (
  sfunc = ml._one_way_anova_add,
  stype = float8[],
  initcond = '{0}',
  finalfunc = ml._one_way_anova,
  combinefunc = ml._one_way_anova_combine,
  parallel = safe
);

comment on aggregate ml.one_way_anova(int, float8) is $$
@behavior -*
One-way analysis of variance: do all groups have the same mean?
`group_no`: any number for each group. The statistic is the mean square between the groups divided by that within
them; `p_value` is the probability of one that is at least as high. Rows with a NULL are left out; null without rows.
A mean square without degrees of freedom is null, statistic and p-value also where all values within the groups are
equal. Error CF001 for NaN, infinity and values above 1e100, CF008 for more than 1,000 groups; the time per row grows
with their number: for more than some tens, `ml.one_way_anova_by_group` is faster. MADlib's `one_way_anova`; R's
`oneway.test(…, var.equal = TRUE)`.
$$;

grant execute on function ml.one_way_anova(int, float8)
to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/hypothesis_tests/one_way_anova.sql

--! Included ml/hypothesis_tests/one_way_anova_by_group.sql
/*
 * State: the numbers of groups and of rows, the mean of the first group (the origin), the mean of all rows minus the
 * origin, and the sums of squares between and within the groups.
 */

create or replace function ml._one_way_anova_by_group_add(
  state float8[],
  row_count bigint,
  mean float8,
  variance float8
)
returns float8[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if row_count is null or row_count = 0 or mean is null or variance is null and row_count > 1 then
    return state;
  elsif row_count < 0 then
    perform common.refuse('CF001', format('a group has %s rows', row_count), 'Give count(x).');
  elsif not coalesce(variance, 0) between 0 and 1e200 then
    perform common.refuse('CF001', format('a group has the variance %s', variance),
      'Give var_samp(x) of values of at most 1e100 in absolute value.');
  elsif not abs(mean) <= 1e100 then
    perform ml._check_magnitude(mean);
  end if;
  return ml._one_way_anova_by_group_combine(
    state,
    array[1, row_count, mean, 0, 0, case when row_count > 1 and variance > 1e-200 then variance else 0 end
      * (row_count - 1)]
  );
end;
$$;

comment on function ml._one_way_anova_by_group_add(float8[], bigint, float8, float8) is $$
Adds a group to the state of `ml.one_way_anova_by_group`.
$$;

create or replace function ml._one_way_anova_by_group_combine(state float8[], other float8[])
returns float8[]
language plpgsql
immutable
parallel safe
strict
set search_path to pg_catalog, pg_temp
as $$
declare
  v_rows constant float8 := state[2] + other[2];
  v_distance float8;
begin
  if other[1] = 0 then
    return state;
  elsif state[1] = 0 then
    return other;
  end if;
  -- Chan, Golub and LeVeque (1979)
  v_distance := (other[3] - state[3]) + (other[4] - state[4]);
  if abs(v_distance) < 1e-100 then
    v_distance := 0;
  end if;
  return array[
    state[1] + other[1],
    v_rows,
    state[3],
    state[4] + v_distance * (other[2] / v_rows),
    state[5] + other[5] + v_distance * v_distance * (state[2] * other[2] / v_rows),
    state[6] + other[6]
  ];
end;
$$;

comment on function ml._one_way_anova_by_group_combine(float8[], float8[]) is $$
Returns the state of `ml.one_way_anova_by_group` over the groups of both states.
$$;

grant execute on function ml._one_way_anova_by_group_combine(float8[], float8[])
to insights_reader, insights_analyst, insights_admin, insights_worker;

create or replace function ml._one_way_anova_by_group(state float8[])
returns ml.one_way_anova_result
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if state[1] = 0 then
    return null;
  end if;
  return ml._one_way_anova_result(state[5], state[6], state[1], state[2]);
end;
$$;

comment on function ml._one_way_anova_by_group(float8[]) is $$Returns the result of `ml.one_way_anova_by_group`.$$;

create or replace aggregate ml.one_way_anova_by_group(row_count bigint, mean float8, variance float8) (
  sfunc = ml._one_way_anova_by_group_add,
  stype = float8[],
  initcond = '{0,0,0,0,0,0}',
  finalfunc = ml._one_way_anova_by_group,
  combinefunc = ml._one_way_anova_by_group_combine,
  parallel = safe
);

comment on aggregate ml.one_way_anova_by_group(bigint, float8, float8) is $$
@behavior -*
One-way analysis of variance from the number, mean and variance of each group.
`select (ml.one_way_anova_by_group(n, mean, variance)).* from (select count(x) as n, avg(x) as mean, var_samp(x) as
variance from … group by …) as g`, with x of type float8. The result is that of ml.one_way_anova, in a time that is
proportional to the rows, for any number of groups. Groups without rows are left out; null without groups. Error CF001
for a negative number or variance, NaN, infinity and means above 1e100.
$$;

grant execute on function ml.one_way_anova_by_group(bigint, float8, float8)
to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/hypothesis_tests/one_way_anova_by_group.sql

--! Included ml/registry/train.sql
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
    perform common.refuse('CF001', 'the parameters are not a JSON object', 'Give {"num_trees": 300} or {}.');
  end if;
  select option.name into v_unknown from jsonb_object_keys(parameters) as option (name)
  where not option.name = any (allowed) order by 1 limit 1;
  if v_unknown is not null then
    perform common.refuse(
      'CF001',
      format('there is no parameter "%s"', left(v_unknown, 100)),
      coalesce(
        'Did you mean "' || common.nearest_name(v_unknown, allowed) || '"?',
        (select format('There are %s.', string_agg(left(option.name, 100), ', '))
          from unnest(allowed[:100]) as option (name))
      )
    );
  end if;
  return (select coalesce(string_agg(format(', %I => %L', option.name, option.value), '' order by option.name), '')
    from jsonb_each_text(parameters) as option (name, value));
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
  v_model constant ml.tree_model := ml._tree_model(model_table, array['gbm']);
  v_nodes jsonb;
begin
  execute format(
    $query$
    select jsonb_agg(jsonb_strip_nulls(
      to_jsonb(grown) - 'depth' - 'num_rows' - 'feature'
      || jsonb_build_object('feature', (select feature.name
          from unnest(%L::text[], %L::text[]) as feature (name, quoted) where feature.quoted = grown.feature))
    ))
    from %s as grown
    $query$,
    names, v_model.independent_varnames, model_table
  ) into v_nodes;
  return jsonb_build_object(
    'kind', 'trees', 'link', link, 'intercept', v_model.base_score, 'nodes', coalesce(v_nodes, '[]'),
    'features', (
      select jsonb_agg(
        jsonb_build_object('name', feature.name, 'type', feature.type)
        || case when feature.type = 'category' then jsonb_build_object('categories',
          v_model.categories -> feature.quoted) else '{}' end
        order by feature.position
      )
      from rows from (
        unnest(names),
        unnest(v_model.independent_varnames),
        unnest(v_model.independent_vartypes)
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
  v_relation constant regclass := common.relation(source_table);
  v_output constant text := ml._temporary('_ml_linear');
  v_dependent constant text := case task when 'classification' then '_ml_label = 1' else '_ml_label' end;
  v_options text;
  -- A feature that is text is one input for each category, which is compared with the rows where it is missing (or
  -- rare), and where none is missing with the most frequent category.
  v_inputs text[] := '{}';
  v_of int[] := '{}';
  v_category text[] := '{}';
  v_categories text[];
  v_categorical boolean[] := '{}';
  v_means float8[];
  v_deviations float8[];
  v_used int[];
  v_design text;
  v_coefficients float8[];
  v_intercept float8;
begin
  execute format('drop table if exists %s, %s', v_output, v_output || '_summary');
  for v_place in 1..cardinality(names) loop
    v_categorical := v_categorical || ml._is_category(common.expression_type(quote_ident(names[v_place]), v_relation,
      'feature'));
    if v_categorical[v_place] then
      execute format(
        'select array(select category from (select (%1$I)::text as category, count(*) as times from %2$s
           where %1$I is not null group by 1 order by times desc, category
           offset (select bool_and(%1$I is not null)::int from %2$s) limit 49) as listed
         order by category)',
        names[v_place], v_relation
      ) into v_categories;
      v_inputs := v_inputs || array(
        select format('(coalesce((%I)::text = %L, false)::int::float8)', names[v_place], category)
        from unnest(v_categories) with ordinality as listed (category, position)
        order by position
      );
    else
      v_categories := array[null::text];
      v_inputs := v_inputs || common.numeric_expression(quote_ident(names[v_place]), v_relation, 'feature');
    end if;
    v_category := v_category || v_categories;
    v_of := v_of || array_fill(v_place, array[cardinality(v_categories)]);
  end loop;
  execute format(
    'select array[%s]::float8[], array[%s]::float8[] from %s',
    (select string_agg(format('coalesce(avg(nullif(%s, ''NaN'')), 0)', input), ', ' order by position)
      from unnest(v_inputs) with ordinality as feature (input, position)),
    (select string_agg(format('coalesce(stddev_pop(nullif(%s, ''NaN'')), 0)', input), ', ' order by position)
      from unnest(v_inputs) with ordinality as feature (input, position)),
    v_relation
  ) into v_means, v_deviations;
  -- A missing value counts as the mean; a constant feature has no coefficient.
  v_used := array(select place from generate_series(1, cardinality(v_inputs)) as place
    where v_deviations[place] > 1e-12 * abs(v_means[place]) order by place);
  if v_used = '{}' then
    perform common.refuse('CF004', 'no feature varies',
      format('All of %s are constant or null.', array_to_string(names, ', ')));
  end if;
  select string_agg(format('(coalesce(nullif(%s, ''NaN''), %L::float8) - %L::float8) / %L::float8', v_inputs[place],
      v_means[place], v_means[place], v_deviations[place]), ', ' order by place)
  into v_design
  from unnest(v_used) as place;
  if algorithm = 'elastic_net' then
    v_options := ml._named_arguments(parameters, array['alpha', 'lambda_value', 'max_iter', 'tolerance']);
    v_options := case when parameters ? 'alpha' then '' else ', alpha => 0' end || case
      when parameters ? 'lambda_value' then '' else ', lambda_value => 0.01' end || v_options;
    execute format(
      'select ml.elastic_net_train(%L, %L, %L, %L, %L %s)',
      source_table, v_output, v_dependent, format('array[%s]', v_design), case task
        when 'classification' then 'binomial' else 'gaussian' end, v_options
    );
    execute format('select coef_all, intercept from %s', v_output) into v_coefficients, v_intercept;
  else
    v_options := ml._named_arguments(parameters, case algorithm when 'logregr' then array['max_iter', 'tolerance']
      else '{}' end);
    execute format('select ml.%I(%L, %L, %L, %L %s)', algorithm || '_train', source_table, v_output, v_dependent,
      format('array[1, %s]', v_design), v_options);
    execute format('select coef[2:], coef[1] from %s', v_output) into v_coefficients, v_intercept;
  end if;
  execute format('drop table if exists %s, %s', v_output, v_output || '_summary');
  return jsonb_build_object(
    'kind', 'linear',
    'link', case task when 'classification' then 'logit' else 'identity' end,
    'intercept', v_intercept - (select sum(v_coefficients[position] * v_means[place] / v_deviations[place])
      from unnest(v_used) with ordinality as used (place, position)),
    'features', (
      select jsonb_agg(
        case when v_categorical[feature.place] then (
          select jsonb_build_object('name', names[feature.place], 'type', 'category',
            'categories', coalesce(jsonb_agg(v_category[input] order by input), '[]'),
            'coefficients', coalesce(jsonb_agg(fitted.coefficient order by input), '[]'))
          from generate_subscripts(v_of, 1) as input
          cross join lateral (
            select coalesce(v_coefficients[array_position(v_used, input)] / nullif(v_deviations[input], 0), 0)
          ) as fitted (coefficient)
          where v_of[input] = feature.place
        )
        else (
          select jsonb_build_object('name', names[feature.place], 'type', 'number', 'mean', v_means[input],
            'coefficient', coalesce(v_coefficients[array_position(v_used, input)] / nullif(v_deviations[input], 0), 0))
          from array_position(v_of, feature.place) as input
        ) end
        order by feature.place
      )
      from generate_series(1, cardinality(names)) as feature (place)
    )
  );
end;
$$;

comment on function ml._linear_document(text, text[], text, text, jsonb) is $$
A linear or logistic model of the column `_ml_label` of a table, as a document for the registry.
It is trained on standardised features, those that are missing being the mean, and its coefficients are in the
features' own units. Text has a coefficient for each of up to 49 categories, compared with
missing values, or without any with the most frequent category.
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
  v_calibration text := coalesce(calibration, case when task = 'classification' and algorithm = 'gbm' then 'platt'
    else 'none' end);
  v_link constant text := case task when 'classification' then 'logit' else 'identity' end;
  v_document jsonb;
  v_version int;
  v_model ml.model;
  v_result ml.training;
  v_counts record;
begin
  if task is null or task not in ('regression', 'classification') then
    perform common.refuse('CF001', format('there is no task "%s"', coalesce(left(task, 100), 'null')),
      'Choose regression or classification.');
  elsif algorithm is null or algorithm not in ('gbm', 'elastic_net', 'linregr', 'logregr')
    or (algorithm = 'linregr' and task <> 'regression') or (algorithm = 'logregr' and task <> 'classification') then
    perform common.refuse(
      'CF001',
      format('there is no algorithm "%s" for a %s', coalesce(left(algorithm, 100), 'null'), left(task, 100)),
      format(
        'Choose gbm (boosted trees), elastic_net or %s.',
        case task when 'regression' then 'linregr' else 'logregr' end
      )
    );
  elsif v_calibration not in ('none', 'platt', 'isotonic')
    or (v_calibration <> 'none' and task <> 'classification') then
    perform common.refuse(
      'CF001',
      format('there is no calibration "%s" for a %s', left(v_calibration, 100), left(task, 100)),
      'Choose none, platt or isotonic; the last two make probabilities.'
    );
  end if;
  execute format('drop table if exists %s, %s, %s cascade', v_model_table, v_model_table || '_summary', v_scored);
  v_listed := ml._divide(
    source_table, id_col_name, label, features, features_to_exclude, predicted_at, label_known_at, feature_known_at,
    group_column, holdout, holdout_share, seed
  );
  v_names := array(select (parse_ident(name))[1] from unnest(v_listed) with ordinality as feature (name, position)
    order by position);
  execute format(
    'select count(*) filter (where _ml_part < 2) as seen, count(*) filter (where _ml_part = 1) as validating,
      count(*) filter (where _ml_part = 2) as held,
       min(_ml_label) filter (where _ml_label not in (0, 1)) as no_class,
         max(_ml_known_at) filter (where _ml_part < 2) as watermark
     from %s where _ml_label is not null',
    v_rows
  ) into v_counts;
  if task = 'classification' and v_counts.no_class is not null then
    perform common.refuse('CF001', format('"%s" holds %s, a class is 0 or 1', left(label, 100), v_counts.no_class),
      'Give a boolean or 0 and 1, or choose regression.');
  end if;
  if v_counts.seen = 0 or v_counts.held = 0 then
    perform common.refuse('CF004', format('%s rows to train on and %s held out', v_counts.seen, v_counts.held),
      'Both parts need rows with a label.');
  end if;

  if algorithm = 'gbm' then
    -- A fifth of the rows stops the boosting and fits the calibration, where there are enough rows.
    execute format('create temporary view _ml_train_seen as select * from %s where _ml_part < 2', v_rows);
    execute format(
      'select ml.gbm_train(%L, %L, %L, ''_ml_label'', %L, objective => %L, validation => %L, seed => %L %s)',
      v_seen, v_model_table, id_col_name, array_to_string(v_listed, ', '),
      case task when 'classification' then 'logistic' else 'squared_error' end,
      case when v_counts.validating >= 50 then '_ml_part = 1' end, seed,
      ml._named_arguments(parameters, array[
        'num_trees', 'learning_rate', 'max_depth', 'min_rows', 'min_child_weight', 'lambda', 'gamma', 'row_sample',
        'feature_sample', 'max_bins', 'early_stopping_rounds'
      ])
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
      -- With its schema, so that it means the same to any role that watches the model.
      'source_table', (
        select format('%I.%I', namespace.nspname, class.relname)
        from pg_catalog.pg_class as class
        join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
        where class.oid = common.relation(train.source_table)
      ),
      'id_col_name', id_col_name, 'label', label, 'features', v_names, 'predicted_at', predicted_at,
      'label_known_at', label_known_at, 'feature_known_at', feature_known_at, 'group_column', group_column, 'holdout',
      holdout,
      'holdout_share', case when holdout is null then holdout_share end, 'calibration', v_calibration
    )),
    metric, seed, v_counts.watermark, v_counts.seen, null, description
  );
  v_model := ml._version(project, v_version);

  if v_calibration <> 'none' and v_counts.validating >= 50 then
    execute format(
      'create temporary table _ml_train_scored on commit drop as select observed, %s as score
        from (select _ml_label as observed, %s from %s where _ml_part = 1 and _ml_label is not null offset 0) as input',
      ml._score_expression(v_model), ml._feature_list(v_model.coefficients, v_rows::regclass), v_rows
    );
    v_model := ml._calibrate(v_model.model_id, ml._fit_calibration(v_scored, v_calibration));
  end if;
  v_result := ml._challenge(
    v_model, v_rows::regclass, '_ml_label', '_ml_part = 2',
    ml._profile(
      format('(select %s from %s where _ml_part < 2)', ml._feature_list(v_model.coefficients, v_rows::regclass),
        v_rows), v_model.coefficients),
    v_started_at
  );
  execute format('drop table if exists %s, %s, %s, %s cascade', v_rows, v_model_table, v_model_table || '_summary',
    v_scored);
  return v_result;
exception when numeric_value_out_of_range then
  perform ml._caller_error(sqlstate, sqlerrm, common.relation(source_table));
end;
$$;

comment on function ml.train(
  text, text, text, text, text, text, text, text, jsonb, text, text, text, text, text, float8, text, text, bigint,
  text
) is $$
@behavior -*
Trains a version of a project on a table or view and deploys it if it is better.
It is measured on rows held out, and compared with the deployed version on the same rows.
`task` is classification (label boolean, or 0 and 1) or regression; `algorithm` is gbm (with missing values and
categories), elastic_net, linregr or logregr (text has a coefficient for each category); `parameters` are those of
ml.gbm_train and so on, by name. `features` are columns, `*` all others; columns of the label are not features.
What is held out: with `predicted_at` the latest rows, by ml.time_split, which refuses features that use anything
later (`feature_known_at`) and leaves out rows whose label was not known by then (`label_known_at`); or the rows for
which `holdout` is true; or a share by a hash of the id, or of `group_column`, so that no group is in two parts.
A fifth of the rest, where that is 50 rows or more, stops the boosting and fits the calibration (`platt`, `isotonic`
or `none`; by default Platt's for boosted classifiers).
Metrics: area_under_roc, average_precision, log_loss, brier_score, calibration_error; root_mean_squared_error,
mean_abs_error, r2_score. `metric` judges the versions of a new project.
The same seed and data give the same model. Errors: CF001 (an argument, a leak), CF002, CF004 (no rows, one class),
CF005, CF007 (collinear, separated), CF010 (the project has another task).
$$;

grant execute on function
  ml._named_arguments(jsonb, text[]), ml._gbm_document(text, text[], text),
    ml._linear_document(text, text[], text, text, jsonb),
  ml.train(text, text, text, text, text, text, text, text, jsonb, text, text, text, text, text, float8, text, text,
    bigint, text)
to insights_admin, insights_worker;
--! EndIncluded ml/registry/train.sql

--! Included track/ingest/_message_hash.sql
create or replace function track._message_hash(message_id text)
returns uuid
language sql
stable
parallel safe
return encode(substr(sha256(convert_to(message_id, 'UTF8')), 1, 16), 'hex')::uuid;

comment on function track._message_hash(text) is $$
First 128 bits of the SHA-256 of a message's id.
$$;
--! EndIncluded track/ingest/_message_hash.sql

--! Included track/ingest/_milliseconds_ahead.sql
create or replace function track._milliseconds_ahead(client_at timestamptz, received_at timestamptz)
returns bigint
language sql
immutable
parallel safe
-- At UTC, because the epoch of a timestamptz is only stable, and an immutable function over it is never inlined.
return greatest(
  least(
    floor(date_part('epoch', client_at at time zone 'UTC') * 1000)::bigint
      - floor(date_part('epoch', received_at at time zone 'UTC') * 1000)::bigint
      + 8589934592,
    17179869183
  ),
  0
);

comment on function track._milliseconds_ahead(timestamptz, timestamptz) is $$
Returns the time of the client less the arrival, in milliseconds, as a number of 34 bits with an offset of 2^33.
Differences of more than 99 days are cut.
$$;
--! EndIncluded track/ingest/_milliseconds_ahead.sql

--! Included track/ingest/_event_id.sql
create or replace function track._event_id(
  occurred_at timestamptz,
  message_hash uuid,
  source_id smallint,
  ahead bigint
)
returns uuid
language sql
immutable
parallel safe
return encode(
  case
    when ahead is null
      then int8send(
        (floor(date_part('epoch', occurred_at at time zone 'UTC') * 1000)::bigint << 16)
        | 28672
        | (get_byte(uuid_send(message_hash), 0) << 4)
      )
      || '\x80'::bytea || substr(uuid_send(message_hash), 2, 5) || int2send(source_id)
    -- 12 and 22 bits of `ahead`, around the variant, and 40 bits of the hash and the source.
    else int8send(
        (floor(date_part('epoch', occurred_at at time zone 'UTC') * 1000)::bigint << 16)
        | 28672
        | (ahead >> 22)
      )
      || int8send(
        (2::bigint << 62)
        | ((ahead & 4194303) << 40)
        | (
          ('x' || encode(substr(uuid_send(message_hash), 1, 5), 'hex'))::bit(40)::bigint
          # (source_id::bigint & 65535)
        )
      )
  end,
  'hex'
)::uuid;

comment on function track._event_id(timestamptz, uuid, smallint, bigint) is $$
Returns a version 7 UUID (RFC 9562): milliseconds, 48 bits of the hash of the message, and the source.
For an event whose time is not that of its client, `ahead` orders the events that have the time of their arrival: see
`track._milliseconds_ahead`. It depends on the message and its arrival only, and not on the order of arrival.
$$;
--! EndIncluded track/ingest/_event_id.sql

--! Included track/person_sets/incomplete_sets.sql
create or replace function track.incomplete_sets()
returns setof text
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_function text;
begin
  for v_function in
    select consumer.incomplete_sets
    from track.consumer
    where consumer.incomplete_sets is not null
    order by consumer.position
  loop
    return query execute format(
      'select name from %I.%I() as name', split_part(v_function, '.', 1), split_part(v_function, '.', 2)
    );
  end loop;
end;
$$;

comment on function track.incomplete_sets() is $$
@behavior -*
Returns the sets of people that `track.check_sets` refuses: a rule of retention has deleted people of them.
For functions that read all sets, which leave them out.
$$;

grant execute on function track.incomplete_sets() to insights_reader;
--! EndIncluded track/person_sets/incomplete_sets.sql

--! Included track/person_sets/check_sets.sql
create or replace function track.check_sets(set_names text[])
returns void
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_name text;
begin
  -- Other sets follow from people and identities.
  if not exists (
    select from unnest(check_sets.set_names) as entry (name) where entry.name ~ '^(arm|cohort|segment)\.'
  ) then
    return;
  end if;
  v_name := (
    select min(incomplete.name)
    from track.incomplete_sets() as incomplete (name)
    where incomplete.name = any (check_sets.set_names)
  );
  if v_name is not null then
    perform common.refuse(
      'CF010',
      format('the set "%s" reads people who were deleted by a rule of retention', v_name),
      'Use another set. A cohort with is_live false keeps its people.'
    );
  end if;
end;
$$;

comment on function track.check_sets(text[]) is $$
@behavior -*
Raises CF010 if one of the sets has people that a rule of retention has deleted.
That is a variation of an ended experiment (`arm.…`), or a live cohort or segment that reads one. For functions that
take names of sets, before they read them: the people who are left are others.
$$;

grant execute on function track.check_sets(text[]) to insights_reader;
--! EndIncluded track/person_sets/check_sets.sql

--! Included track/statements/_statement_key.sql
create or replace function track._statement_key(source smallint, kind text, value text)
returns bigint
language sql
stable
strict
parallel safe
set search_path to pg_catalog, pg_temp
return (
  'x' || left(encode(sha256(convert_to(concat_ws(E'\n', source, kind, value), 'UTF8')), 'hex'), 16)
)::bit(64)::bigint;

comment on function track._statement_key(smallint, text, text) is $$
Returns the first 64 bits of the SHA-256 of what a statement is found by. Names of people have the source 0.
$$;
--! EndIncluded track/statements/_statement_key.sql

--! Included track/statements/_agent_name.sql
create or replace function track._agent_name(agent jsonb)
returns text
language sql
immutable
parallel safe
return coalesce(
  agent #>> '{account,name}', substr(agent ->> 'mbox', 8), agent ->> 'openid', 'sha1:' || (agent ->> 'mbox_sha1sum')
);

comment on function track._agent_name(jsonb) is $$
Returns the name of a person for an xAPI agent.
It is the name of its account, its address without `mailto:`, its OpenID, or `sha1:` and the hash of its address; null
for a group without an identifier.
$$;

create or replace function track._agent_identifier(agent jsonb)
returns text
language sql
immutable
parallel safe
return coalesce(
  'account ' || (agent #>> '{account,homePage}') || ' ' || (agent #>> '{account,name}'),
  'mbox ' || (agent ->> 'mbox'), 'openid ' || (agent ->> 'openid'), 'mbox_sha1sum ' || lower(agent ->> 'mbox_sha1sum')
);

comment on function track._agent_identifier(jsonb) is $$
Returns the inverse functional identifier of an xAPI agent as one text; null for a group without one.
$$;
--! EndIncluded track/statements/_agent_name.sql

--! Included track/statements/_statement_agents.sql
create or replace function track._statement_agents(statement jsonb)
returns table (agent jsonb, is_direct boolean, is_actor boolean, name text)
language sql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
begin atomic
  with named as (
    select found.agent, place.is_direct, place.is_actor, place.is_person
    from (
      values
        ('$.actor'::jsonpath, true, true, true),
        ('$.object ? (@.objectType == "Agent" || @.objectType == "Group")', true, false, true),
        ('$.authority', false, false, false),
        ('$.context.instructor', false, false, true),
        ('$.context.team', false, false, true),
        ('$.object.actor', false, false, true),
        ('$.object.object ? (@.objectType == "Agent" || @.objectType == "Group")', false, false, true),
        ('$.object.context.instructor', false, false, true),
        ('$.object.context.team', false, false, true)
    ) as place (path, is_direct, is_actor, is_person)
    cross join lateral jsonb_path_query(statement, place.path) as found (agent)
  )

  select
    found.agent, found.is_direct, found.is_actor,
    case
      when found.is_person and coalesce(found.agent ->> 'objectType', 'Agent') = 'Agent'
        then track._agent_name(found.agent)
    end
  from (
    select named.agent, named.is_direct, named.is_actor, named.is_person
    from named
    union all
    select member.agent, named.is_direct, named.is_actor, named.is_person
    from named
    cross join lateral jsonb_path_query(named.agent, '$.member[*]') as member (agent)
  ) as found;
end;

comment on function track._statement_agents(jsonb) is $$
Returns the agents and groups of a statement, with the members of groups.
`is_direct`: whether it is in the actor or the object. `name`: that of the person; null for a group and the authority.
$$;
--! EndIncluded track/statements/_statement_agents.sql

--! Included track/statements/_people_keys.sql
create or replace function track._person_keys(name text, level text, is_actor boolean)
returns bigint[]
language sql
stable
parallel safe
set search_path to pg_catalog, pg_temp
return array[track._statement_key(0::smallint, case level when 'anonymous' then 'browser' else 'user' end, name)]
  || case
    when is_actor
      then track._statement_key(
        0::smallint, case level when 'anonymous' then 'browser' else 'user' end || ' actor', name
      )
  end;

comment on function track._person_keys(text, text, boolean) is $$
Returns the hash of the name of a person in statements of sources of a level, and that of an actor.
$$;

create or replace function track._people_keys(statement jsonb, level text)
returns bigint[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return array(
    select distinct key
    from track._statement_agents(_people_keys.statement) as named
    cross join lateral unnest(
      track._person_keys(named.name, _people_keys.level, named.is_actor)
    ) as key
    where named.name is not null
      and key is not null
  );
end;
$$;

comment on function track._people_keys(jsonb, text) is $$
Returns the hashes of the names of all people in a statement of a source of a level, by which an erasure finds it.
$$;
--! EndIncluded track/statements/_people_keys.sql

--! Included track/statements/_statement_keys.sql
create or replace function track._statement_keys(statement jsonb, source smallint)
returns bigint[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return array(
    select distinct track._statement_key(_statement_keys.source, found.kind, found.value)
    from (
      select kind.kind, track._agent_identifier(named.agent) as value
      from track._statement_agents(_statement_keys.statement) as named
      cross join lateral (
        select 'related agent' as kind
        union all
        select 'agent' where named.is_direct
      ) as kind

      union all

      select place.kind, activity.id #>> '{}'
      from (
        values
          ('activity', '$.object ? (!exists (@.objectType) || @.objectType == "Activity").id'::jsonpath),
          ('related activity', '$.object ? (!exists (@.objectType) || @.objectType == "Activity").id'),
          ('related activity', '$.context.contextActivities.*[*].id'),
          (
            'related activity',
            '$.object ? (@.objectType == "SubStatement").object
              ? (!exists (@.objectType) || @.objectType == "Activity").id'
          ),
          ('related activity', '$.object ? (@.objectType == "SubStatement").context.contextActivities.*[*].id'),
          ('attachment', '$.attachments[*].sha2'),
          ('attachment', '$.object ? (@.objectType == "SubStatement").attachments[*].sha2')
      ) as place (kind, path)
      cross join lateral jsonb_path_query(_statement_keys.statement, place.path) as activity (id)

      union all

      select 'verb', _statement_keys.statement #>> '{verb,id}'

      union all

      select 'registration', lower(_statement_keys.statement #>> '{context,registration}')
    ) as found
    where found.value is not null
  );
end;
$$;

comment on function track._statement_keys(jsonb, smallint) is $$
Returns the hashes of what a statement of a source is found by: agents, activities, attachments, verb and registration.
The agents and activities that only `related_agents` and `related_activities` find have kinds of their own.
$$;
--! EndIncluded track/statements/_statement_keys.sql

--! Included track/statements/_void_statements.sql
create or replace function track._void_statements(source smallint, targets uuid[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_people bigint[];
  v_times timestamptz[];
  v_events uuid[];
begin
  select array_agg(identity.person_id), array_agg(voided.occurred_at), array_agg(event.event_id)
  into v_people, v_times, v_events
  from track.statement as voided
  cross join lateral unnest(voided.event_ids, voided.identity_ids) as event (event_id, identity_id)
  join track.identity on identity.identity_id = event.identity_id
  where voided.source_id = _void_statements.source
    and voided.statement_id = any (_void_statements.targets)
    and not voided.is_voiding
    and not voided.is_voided;

  update track.statement
  set is_voided = true, event_ids = '{}', identity_ids = '{}'
  where statement.source_id = _void_statements.source
    and statement.statement_id = any (_void_statements.targets)
    and not statement.is_voiding
    and not statement.is_voided;

  with deleted as (
    delete from track.event
    using unnest(v_people, v_times, v_events) as voided (person_id, occurred_at, event_id)
    where event.person_id = voided.person_id
      and event.occurred_at = voided.occurred_at
      and event.event_id = voided.event_id
    returning event.person_id, event.occurred_at
  )

  insert into track.stale (person_id, since, until)
  select deleted.person_id, min(deleted.occurred_at), max(deleted.occurred_at)
  from deleted
  group by deleted.person_id, date_trunc('month', deleted.occurred_at, 'UTC');
end;
$$;

comment on function track._void_statements(smallint, uuid[]) is $$
Marks statements as voided, deletes their events, and queues their people for the refresh. Voiding ones stay.
$$;
--! EndIncluded track/statements/_void_statements.sql

--! Included track/statements/_without_agents.sql
create or replace function track._without_agents(contents jsonb, names text[])
returns jsonb
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  case jsonb_typeof(_without_agents.contents)
    when 'object' then
      if track._agent_name(_without_agents.contents) = any (_without_agents.names)
        and num_nonnulls(
          _without_agents.contents -> 'account', _without_agents.contents -> 'mbox',
          _without_agents.contents -> 'mbox_sha1sum', _without_agents.contents -> 'openid'
        ) = 1
      then
        return jsonb_build_object(
          'objectType', coalesce(_without_agents.contents -> 'objectType', '"Agent"'),
          'account', jsonb_build_object('homePage', 'urn:canvas-flow-insights', 'name', 'erased')
        );
      end if;
      return (
        select coalesce(jsonb_object_agg(field.key, track._without_agents(field.value, _without_agents.names)), '{}')
        from jsonb_each(_without_agents.contents) as field
      );
    when 'array' then
      return (
        select coalesce(
          jsonb_agg(track._without_agents(element.value, _without_agents.names) order by element.ordinality), '[]'
        )
        from jsonb_array_elements(_without_agents.contents) with ordinality as element
      );
    else
      return _without_agents.contents;
  end case;
end;
$$;

comment on function track._without_agents(jsonb, text[]) is $$
Returns a statement in which the agents with the given names are replaced by the account `erased`.
$$;
--! EndIncluded track/statements/_without_agents.sql

--! Included track/statements/_stored_events.sql
create or replace function track._stored_events(messages jsonb, source smallint, stored_at timestamptz)
returns table (message_id text, occurred_at timestamptz, event_id uuid, identity_id bigint)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
begin
  return query
  with message as (
    select
      entry.value ->> 'messageId' as id,
      coalesce(entry.value ->> 'userId', entry.value ->> 'anonymousId') as name,
      case when entry.value ? 'userId' then '{user}'::text[] else '{anonymous,unverified}' end as kinds,
      (entry.value ->> 'timestamp')::timestamptz as sent_at
    from jsonb_array_elements(_stored_events.messages) as entry
  ),

  -- The time of an event is that of its message, or, if this is in the future, the arrival.
  period as (
    select message.*, period.since, period.until
    from message
    cross join lateral (
      values
        (message.sent_at, message.sent_at),
        (_stored_events.stored_at, _stored_events.stored_at + interval '1 minute')
    ) as period (since, until)
    where period.since <= _stored_events.stored_at or message.sent_at > _stored_events.stored_at
  )

  select distinct period.id, event.occurred_at, event.event_id, event.identity_id
  from period
  join track.identity on identity.external_id = period.name and identity.kind = any (period.kinds)
  join track.event
    on event.person_id = identity.person_id
    and event.identity_id = identity.identity_id
    and event.occurred_at between period.since and period.until
  where event.source_id = _stored_events.source
    and event.event_id = track._event_id(
      event.occurred_at, track._message_hash(period.id), event.source_id,
      case
        when event.client_at is not null then track._milliseconds_ahead(event.client_at, event.received_at)
      end
    );
end;
$$;

comment on function track._stored_events(jsonb, smallint, timestamptz) is $$
Returns the events of messages that were stored at a time, with the people that they name.
A message that was refused or anonymized has none.
$$;
--! EndIncluded track/statements/_stored_events.sql

--! Included track/statements/store_statements.sql
create or replace function track._statement_messages(entries jsonb, level text)
returns jsonb
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
begin
  return (
    select coalesce(
      jsonb_agg(
        (entry.value -> 'event') || jsonb_build_object(
          'messageId', (entry.value #>> '{statement,id}') || coalesce(':' || person.place, ''),
          case _statement_messages.level when 'anonymous' then 'anonymousId' else 'userId' end,
          track._agent_name(person.agent),
          'timestamp', entry.value #> '{statement,timestamp}',
          -- A clock that is ahead: the event is at its arrival.
          'sentAt',
          case
            when (entry.value #>> '{statement,timestamp}')::timestamptz > clock_timestamp()
              then entry.value #> '{statement,timestamp}'
          end
        )
        order by entry.ordinality, person.place
      ),
      '[]'
    )
    from jsonb_array_elements(_statement_messages.entries) with ordinality as entry
    cross join lateral (
      select entry.value #> '{statement,actor}' as agent, null::bigint as place
      where coalesce(entry.value #>> '{statement,actor,objectType}', 'Agent') = 'Agent'
      union all
      select member.value, member.ordinality
      from jsonb_path_query(entry.value, '$.statement.actor.member[*]') with ordinality as member (value, ordinality)
    ) as person
    where jsonb_typeof(entry.value -> 'event') = 'object'
  );
end;
$$;

comment on function track._statement_messages(jsonb, text) is $$
Returns the messages of statements for `track.ingest`: one for its actor, or one for each member of a group.
$$;

create or replace function track._mentioned_people(entries jsonb)
returns jsonb
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return (
    select coalesce(
      jsonb_agg(
        jsonb_build_object(
          'type', 'identify', 'messageId', mentioned.id || ':' || mentioned.name, 'userId', mentioned.name
        )
      ),
      '[]'
    )
    from (
      select named.name, min(entry.value #>> '{statement,id}') as id
      from jsonb_array_elements(_mentioned_people.entries) as entry
      cross join lateral track._statement_agents(entry.value -> 'statement') as named
      where not named.is_actor
        and length(named.name) <= 200
        and not exists (
          select
          from track.identity
          where identity.external_id = named.name
            and identity.kind = 'user'
        )
      group by named.name
    ) as mentioned
  );
end;
$$;

comment on function track._mentioned_people(jsonb) is $$
Returns messages that enter people whom statements mention, such as an instructor, and that are not known yet.
So their requests for access and erasure find these statements.
$$;

create or replace function track._check_statements(batch jsonb)
returns void
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_invalid text;
begin
  if pg_column_size(_check_statements.batch) > 16000000 then
    perform common.refuse(
      'CF008', format('the statements have %s bytes', pg_column_size(_check_statements.batch)),
      'Send at most 16000000 bytes; split the batch.'
    );
  end if;
  if jsonb_typeof(_check_statements.batch -> 'statements') is distinct from 'array' then
    perform common.refuse(
      'CF009', 'the batch has no list "statements"', 'Send {"statements": [{"statement": …, "event": …}]}.'
    );
  end if;
  if jsonb_array_length(_check_statements.batch -> 'statements') > 1000 then
    perform common.refuse(
      'CF008', format('there are %s statements', jsonb_array_length(_check_statements.batch -> 'statements')),
      'Send at most 1000; split the batch.'
    );
  end if;
  select coalesce(entry.value #>> '{statement,id}', 'null') into v_invalid
  from jsonb_array_elements(_check_statements.batch -> 'statements') as entry
  where coalesce(
      not entry.value #>> '{statement,id}'
        ~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$',
      true
    )
    or coalesce(jsonb_typeof(entry.value #> '{statement,actor}') <> 'object', true)
    or coalesce(jsonb_typeof(entry.value #> '{statement,object}') <> 'object', true)
  limit 1;
  if v_invalid is not null then
    perform common.refuse(
      'CF009', format('the statement "%s" is incomplete', left(v_invalid, 100)),
      'It needs an id (a UUID in lower case), an actor and an object.'
    );
  end if;
  select entry.value #>> '{statement,id}' into v_invalid
  from jsonb_array_elements(_check_statements.batch -> 'statements') as entry
  group by entry.value #>> '{statement,id}'
  having count(*) > 1
  limit 1;
  if v_invalid is not null then
    perform common.refuse('CF009', format('two statements have the id "%s"', v_invalid), 'Each has an id of its own.');
  end if;
end;
$$;

comment on function track._check_statements(jsonb) is $$
Refuses a batch of statements that is too large, or that `track.store_statements` cannot read.
$$;

create or replace function track._refuse_conflicts(entries jsonb, source smallint)
returns void
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_conflict text;
begin
  select entry.value #>> '{statement,id}' into v_conflict
  from jsonb_array_elements(_refuse_conflicts.entries) as entry
  join track.statement as known
    on known.source_id = _refuse_conflicts.source
    and known.statement_id = (entry.value #>> '{statement,id}')::uuid
  where known.statement - '{stored,authority,version,timestamp}'::text[]
      <> (entry.value -> 'statement') - '{stored,authority,version,timestamp}'::text[]
    or known.statement -> 'timestamp' <> entry.value #> '{statement,timestamp}'
  limit 1;
  if v_conflict is not null then
    perform common.refuse(
      'CF010', format('another statement has the id "%s"', v_conflict),
      'Statements cannot be changed. Send a new one with an id of its own, or void the stored one.'
    );
  end if;
end;
$$;

comment on function track._refuse_conflicts(jsonb, smallint) is $$
Raises CF010 when a statement has the id of another one that is stored.
$$;

create or replace function track._new_statements(entries jsonb, source smallint, stored_at timestamptz)
returns jsonb
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
begin
  return (
    select jsonb_agg(
      entry.value || jsonb_build_object(
        'statement',
        jsonb_build_object('timestamp', stored.at) || (entry.value -> 'statement')
          || jsonb_build_object('stored', stored.at),
        'event',
        case
          when not exists (
            select
            from track.statement as voiding
            where voiding.source_id = _new_statements.source
              and voiding.reference_id = (entry.value #>> '{statement,id}')::uuid
              and voiding.is_voiding
          )
            then entry.value -> 'event'
        end
      )
      order by entry.ordinality
    )
    from jsonb_array_elements(_new_statements.entries) with ordinality as entry
    cross join lateral (
      select
        to_char(
          _new_statements.stored_at + (entry.ordinality - 1) * interval '1 microsecond', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'
        ) as at
    ) as stored
    where not exists (
      select
      from track.statement as known
      where known.source_id = _new_statements.source
        and known.statement_id = (entry.value #>> '{statement,id}')::uuid
    )
  );
end;
$$;

comment on function track._new_statements(jsonb, smallint, timestamptz) is $$
Returns the statements of a batch that are not stored yet, with their times; without events those that are voided.
$$;

create or replace function track._accepted_statements(
  entries jsonb, messages jsonb, source smallint, stored_at timestamptz, out accepted jsonb
)
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_result track.ingest_result;
  v_problem record;
begin
  if jsonb_array_length(_accepted_statements.messages) > 0 then
    v_result := track.ingest(_accepted_statements.messages);
  end if;
  -- A person who has not consented, or was erased: no client could do anything else about it.
  select
    error.value ->> 'code' as code, error.value ->> 'message' as message, error.value ->> 'hint' as hint,
    _accepted_statements.messages #>> array[error.value ->> 'index', 'messageId'] as id
  into v_problem
  from jsonb_array_elements(coalesce(v_result.errors, '[]')) as error
  where error.value ->> 'code' <> 'CF005'
  limit 1;
  if v_problem.code is not null then
    perform common.refuse(
      v_problem.code, format('statement %s: %s', v_problem.id, left(v_problem.message, 300)), v_problem.hint
    );
  end if;

  with stored as (
    select
      left(event.message_id, 36) as id, jsonb_agg(event.event_id) as events, jsonb_agg(event.identity_id) as identities,
      min(event.occurred_at) as occurred_at
    from track._stored_events(
      _accepted_statements.messages, _accepted_statements.source, _accepted_statements.stored_at
    ) as event
    group by left(event.message_id, 36)
  ),

  expected as (
    select left(message.value ->> 'messageId', 36) as id, count(*) as messages
    from jsonb_array_elements(_accepted_statements.messages) as message
    where message.value ->> 'type' <> 'identify'
    group by left(message.value ->> 'messageId', 36)
  )

  select jsonb_agg(
    entry.value || jsonb_build_object(
      'events', coalesce(stored.events, '[]'), 'identities', coalesce(stored.identities, '[]'),
      'occurred_at', stored.occurred_at
    )
    order by entry.ordinality
  )
  into _accepted_statements.accepted
  from jsonb_array_elements(_accepted_statements.entries) with ordinality as entry
  left join expected on expected.id = entry.value #>> '{statement,id}'
  left join stored on stored.id = entry.value #>> '{statement,id}'
  where coalesce(expected.messages, 0) = coalesce(jsonb_array_length(stored.events), 0);
end;
$$;

comment on function track._accepted_statements(jsonb, jsonb, smallint, timestamptz) is $$
Stores the events of statements. Returns the statements whose people may be stored, with their events.
Raises the error of the first message that is refused for another reason.
$$;

create or replace function track.store_statements(batch jsonb)
returns int
language plpgsql
volatile
-- A definer: callers may write statements only through this function, which checks whose they are.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_sender track.message_sender;
  v_stored_at timestamptz;
  v_entries jsonb;
  v_messages jsonb;
  v_names text[];
  v_suppressed text[];
  v_stored int;
begin
  perform track._check_statements(store_statements.batch);
  v_sender := track._sender(clock_timestamp());
  -- One batch of a source at a time, so that its statements are committed in the order of `stored_at`.
  perform pg_advisory_xact_lock(hashtext('track.statement'), v_sender.source_id);
  v_stored_at := greatest(
    clock_timestamp(),
    (
      select max(statement.stored_at) + interval '1 microsecond'
      from track.statement
      where statement.source_id = v_sender.source_id
    )
  );
  v_entries := store_statements.batch -> 'statements';
  perform track._refuse_conflicts(v_entries, v_sender.source_id);
  v_entries := track._new_statements(v_entries, v_sender.source_id, v_stored_at);
  if v_entries is null then
    return 0;
  end if;
  if v_sender.level <> 'server' and exists (
    select
    from jsonb_array_elements(v_entries) as entry
    where entry.value #>> '{statement,verb,id}' = 'http://adlnet.gov/expapi/verbs/voided'
  )
  then
    perform common.refuse('CF005', 'this key may not void statements', 'Use a key of the level server.');
  end if;
  v_messages := track._statement_messages(v_entries, v_sender.level);
  if v_sender.level = 'server' then
    v_messages := v_messages || track._mentioned_people(v_entries);
  end if;
  if v_sender.level = 'signed_in' and exists (
    select
    from jsonb_array_elements(v_messages) as message
    where message.value ->> 'userId' <> v_sender.person
  )
  then
    perform common.refuse(
      'CF005', 'a statement is about another person', 'Send statements of the person who is signed in.'
    );
  end if;

  v_entries := coalesce(track._accepted_statements(v_entries, v_messages, v_sender.source_id, v_stored_at), '[]');
  v_names := array(
    select distinct named.name
    from jsonb_array_elements(v_entries) as entry
    cross join lateral track._statement_agents(entry.value -> 'statement') as named
    where named.name is not null
  );
  v_suppressed := array(
    select suppressed.name
    from privacy.suppressed(
      array_fill(case v_sender.level when 'anonymous' then 'anonymous' else 'user' end, array[cardinality(v_names)]),
      v_names
    ) as suppressed
    where suppressed.lifted_at is null
  );

  insert into track.statement (
    source_id, statement_id, stored_at, statement, keys, people, reference_id, is_voiding, is_voided, bytes,
    attachment_bytes, occurred_at, event_ids, identity_ids
  )
  select
    v_sender.source_id, (kept.statement ->> 'id')::uuid, (kept.statement ->> 'stored')::timestamptz, kept.statement,
    track._statement_keys(kept.statement, v_sender.source_id),
    track._people_keys(kept.statement, v_sender.level),
    case kept.statement #>> '{object,objectType}'
      when 'StatementRef' then (kept.statement #>> '{object,id}')::uuid
    end,
    coalesce(
      kept.statement #>> '{verb,id}' = 'http://adlnet.gov/expapi/verbs/voided'
        and kept.statement #>> '{object,objectType}' = 'StatementRef',
      false
    ),
    -- Voided by one that arrived before.
    exists (
      select
      from track.statement as voiding
      where voiding.source_id = v_sender.source_id
        and voiding.reference_id = (kept.statement ->> 'id')::uuid
        and voiding.is_voiding
    )
    and coalesce(kept.statement #>> '{verb,id}' <> 'http://adlnet.gov/expapi/verbs/voided', true),
    octet_length(kept.statement::text),
    coalesce((kept.entry ->> 'attachment_bytes')::int, 0),
    (kept.entry ->> 'occurred_at')::timestamptz,
    array(select jsonb_array_elements_text(kept.entry -> 'events'))::uuid[],
    array(select jsonb_array_elements_text(kept.entry -> 'identities'))::bigint[]
  from (
    select
      entry.value as entry,
      case
        when v_suppressed = '{}' then entry.value -> 'statement'
        else track._without_agents(entry.value -> 'statement', v_suppressed)
      end as statement
    from jsonb_array_elements(v_entries) as entry
  ) as kept;
  get diagnostics v_stored = row_count;

  insert into track.statement_attachment (source_id, hash, contents)
  select v_sender.source_id, decode(sent.key, 'hex'), decode(sent.value, 'base64')
  from jsonb_each_text(coalesce(store_statements.batch -> 'attachments', '{}')) as sent
  where exists (
    select
    from track.statement
    where statement.source_id = v_sender.source_id
      and statement.keys @> array[track._statement_key(v_sender.source_id, 'attachment', sent.key)]
  )
  on conflict (source_id, hash) do nothing;

  perform track._void_statements(
    v_sender.source_id,
    array(
      select voiding.reference_id
      from jsonb_array_elements(v_entries) as entry
      join track.statement as voiding
        on voiding.source_id = v_sender.source_id
        and voiding.statement_id = (entry.value #>> '{statement,id}')::uuid
      where voiding.is_voiding
    )
  );
  return v_stored;
end;
$$;

comment on function track.store_statements(batch jsonb) is $$
@behavior -*
Stores xAPI statements with their events, all of them or none, and returns how many were new.
`batch`: `{statements: [{statement, event, attachment_bytes}], attachments: {sha2: base64}}`. `event` is the message for
`track.ingest`, without the person, its id and time; null for a statement without one. The caller has validated the
statements against xAPI 1.0.3.
A statement of a person who has not consented or was erased is not stored; such a person in another role is replaced. A
voided statement stays, without its events.
Errors: CF005 for a key that may not be used, a statement about another person, or the voiding by a key that is not of
the level `server`; CF008 for more than 1000 statements or 16 MB, CF009 for a batch without statements, CF010 for a
statement with the id of another one; and those of the messages.
$$;

grant execute on function track.store_statements(jsonb)
to insights_visitor, insights_learner, insights_admin, insights_worker;
--! EndIncluded track/statements/store_statements.sql

--! Included track/statements/_reading_source.sql
create or replace function track._reading_source(what text)
returns smallint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_sender constant track.message_sender := track._sender(clock_timestamp());
begin
  if v_sender.level <> 'server' then
    perform common.refuse(
      'CF005', format('this key may not read %s', _reading_source.what), 'Use a key of the level server.'
    );
  end if;
  return v_sender.source_id;
end;
$$;

comment on function track._reading_source(text) is $$
Returns the source of the caller, who may read what was sent by it. Raises CF005 unless it is of the level `server`.
$$;
--! EndIncluded track/statements/_reading_source.sql

--! Included track/statements/statements.sql
create or replace function track._queried_keys(query jsonb, source smallint)
returns bigint[]
language sql
stable
parallel safe
set search_path to pg_catalog, pg_temp
return array_remove(
  array[
    track._statement_key(
      source, case query ->> 'related_agents' when 'true' then 'related agent' else 'agent' end,
      track._agent_identifier(query -> 'agent')
    ),
    track._statement_key(
      source, case query ->> 'related_activities' when 'true' then 'related activity' else 'activity' end,
      query ->> 'activity'
    ),
    track._statement_key(source, 'verb', query ->> 'verb'),
    track._statement_key(source, 'registration', lower(query ->> 'registration'))
  ],
  null
);

comment on function track._queried_keys(jsonb, smallint) is $$
Returns the keys that a statement must have to be in the answer to a query of `track.statements`.
$$;

create or replace function track._page_of_statements(query jsonb, source smallint, top int)
returns table (stored_at timestamptz, statement jsonb, bytes bigint)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
declare
  v_ascending constant boolean := coalesce(query ->> 'ascending' = 'true', false);
  v_keys constant bigint[] := track._queried_keys(query, _page_of_statements.source);
  v_part text;
begin
  -- Planned for each execution, by what is queried.
  v_part := format(
    'select statement.stored_at, statement.statement,
      statement.bytes::bigint + case when %L then statement.attachment_bytes else 0 end as bytes
    from track.statement
    where statement.source_id = $1
      and not statement.is_voided%s%s%s
      and %%s
    order by statement.stored_at %s
    limit $6',
    coalesce(query ->> 'attachments' = 'true', false),
    case when query ? 'since' then ' and statement.stored_at > $3' end,
    case when query ? 'until' then ' and statement.stored_at <= $4' end,
    case
      when query ? 'start' then format(' and statement.stored_at %s $5', case when v_ascending then '>' else '<' end)
    end,
    case when v_ascending then 'asc' else 'desc' end
  );
  return query execute
    case
      when v_keys = '{}' then format(v_part, '$2 is not null')
      else format(
        'with recursive reference as (
          select referring.statement_id
          from track.statement as target
          join track.statement as referring
            on referring.source_id = target.source_id
            and referring.reference_id = target.statement_id
          where target.source_id = $1
            and referring.reference_id is not null
            and target.keys @> $2
          union
          select referring.statement_id
          from reference
          join track.statement as referring
            on referring.source_id = $1
            and referring.reference_id = reference.statement_id
        )

        (%s) union all (%s) order by stored_at %s limit $6',
        format(v_part, 'statement.keys @> $2'),
        format(
          v_part,
          'statement.statement_id = any (array(select reference.statement_id from reference))
            and not statement.keys @> $2'
        ),
        case when v_ascending then 'asc' else 'desc' end
      )
    end
  using
    _page_of_statements.source, v_keys, (query ->> 'since')::timestamptz, (query ->> 'until')::timestamptz,
    (query ->> 'start')::timestamptz, _page_of_statements.top;
end;
$$;

comment on function track._page_of_statements(jsonb, smallint, int) is $$
Returns the first statements of a query. Those that refer to a statement with its keys are found, too.
$$;

create or replace function track._consistent_through(source smallint)
returns timestamptz
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_through timestamptz;
begin
  -- Without a writer at this moment, later ones store later times.
  if pg_try_advisory_lock_shared(hashtext('track.statement'), _consistent_through.source) then
    v_through := clock_timestamp();
    perform pg_advisory_unlock_shared(hashtext('track.statement'), _consistent_through.source);
    return v_through;
  end if;
  select max(statement.stored_at) into v_through
  from track.statement
  where statement.source_id = _consistent_through.source;
  return coalesce(v_through, '-infinity');
end;
$$;

comment on function track._consistent_through(smallint) is $$
Returns the time before which no further statement of a source will be stored, as far as later statements see it.
$$;

create or replace function track.statements(query jsonb)
returns track.statement_page
language plpgsql
volatile
-- A definer: no role may read the statements of a source but with its key.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set timezone to 'UTC'
set jit to off
as $$
declare
  v_source constant smallint := track._reading_source('statements');
  v_top int;
  v_page track.statement_page;
begin
  if pg_column_size(statements.query) > 100000 or jsonb_typeof(statements.query) is distinct from 'object' then
    perform common.refuse('CF009', 'the query is not an object of at most 100000 bytes', 'Send {"verb": …}.');
  end if;
  v_page.consistent_through := track._consistent_through(v_source);
  if statements.query ?| '{statementId,voidedStatementId}' then
    select jsonb_agg(statement.statement) into v_page.statements
    from track.statement
    where statement.source_id = v_source
      and statement.statement_id = coalesce(query ->> 'statementId', query ->> 'voidedStatementId')::uuid
      and statement.is_voided = (query ? 'voidedStatementId');
    return v_page;
  end if;

  v_top := coalesce((query ->> 'limit')::int, 100);
  perform common.check_count('limit', v_top, 1, 500);
  with found as (
    select
      page.*, row_number() over running as place, sum(page.bytes) over running as bytes_so_far,
      count(*) over () as found
    from track._page_of_statements(statements.query, v_source, v_top + 1)
      with ordinality as page (stored_at, statement, bytes, ordinality)
    window running as (order by page.ordinality)
  ),

  -- At least one.
  listed as (
    select found.*
    from found
    where found.place <= v_top
      and (found.place = 1 or found.bytes_so_far <= 8000000)
  )

  select
    jsonb_agg(listed.statement order by listed.place),
    case
      when count(*) < max(listed.found)
        then to_char(
          (array_agg(listed.stored_at order by listed.place desc))[1], 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'
        )
    end
  into v_page.statements, v_page.next
  from listed;
  return v_page;
end;
$$;

comment on function track.statements(jsonb) is $$
@behavior -*
Returns a page of the xAPI statements that the source of the caller has sent, with the parameters of xAPI 1.0.3.
`query`: `statementId` or `voidedStatementId`; or `agent` (an object), `verb`, `activity`, `registration`,
`related_agents`, `related_activities`, `since`, `until`, `limit` (1 to 500; 100), `ascending`, `attachments`, and
`start`, which is `next` of the previous page. A page has at most 8 MB, or one statement. The order is that of the
storage, the latest first. Voided statements are found by `voidedStatementId` only. Statements are found, too, when one
that they refer to is found.
Errors: CF001 for an invalid `limit`, CF005 unless the caller has the key of a server, CF009 for an invalid query.
$$;

grant execute on function track.statements(jsonb)
to insights_visitor, insights_admin, insights_worker;
--! EndIncluded track/statements/statements.sql

--! Included track/statements/statement_attachments.sql
create or replace function track.statement_attachments(hashes text[])
returns setof track.attachment
language plpgsql
volatile
-- A definer: no role may read the statements of a source but with its key.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_source constant smallint := track._reading_source('attachments');
begin
  if cardinality(statement_attachments.hashes) > 10000 then
    perform common.refuse(
      'CF008', format('there are %s hashes', cardinality(statement_attachments.hashes)), 'Give at most 10000.'
    );
  end if;
  return query
  select encode(stored.hash, 'hex'), stored.contents
  from track.statement_attachment as stored
  where stored.source_id = v_source
    and stored.hash = any (
      array(
        select decode(sent.hash, 'hex')
        from unnest(statement_attachments.hashes) as sent (hash)
        where sent.hash ~ '^[0-9a-f]{56,128}$'
      )
    );
end;
$$;

comment on function track.statement_attachments(text[]) is $$
@behavior -*
Returns the contents of attachments of statements that the source of the caller has sent.
`hashes`: values of `sha2`, at most 10,000. Errors: CF005 unless the caller has the key of a server, CF008 for more.
$$;

grant execute on function track.statement_attachments(text[])
to insights_visitor, insights_admin, insights_worker;
--! EndIncluded track/statements/statement_attachments.sql

--! Included track/statements/_documents.sql
create or replace function track._document_hash(place jsonb)
returns uuid
language sql
stable
parallel safe
set search_path to pg_catalog, pg_temp
return left(
  encode(
    sha256(
      convert_to(
        jsonb_build_array(
          place -> 'kind', place -> 'activity', track._agent_identifier(place -> 'agent'),
          lower(place ->> 'registration'), place -> 'id'
        )::text,
        'UTF8'
      )
    ),
    'hex'
  ),
  32
)::uuid;

comment on function track._document_hash(jsonb) is $$
Returns the hash of the place of a document: `kind`, `activity`, `agent`, `registration` and `id`.
$$;

create or replace function track._document_scope(place jsonb, source smallint)
returns bigint
language sql
stable
parallel safe
set search_path to pg_catalog, pg_temp
return track._statement_key(
  source, 'documents',
  jsonb_build_array(
    place -> 'kind', place -> 'activity', track._agent_identifier(place -> 'agent')
  )::text
);

comment on function track._document_scope(jsonb, smallint) is $$
Returns the hash of the kind, the activity and the agent of a document.
$$;

create or replace function track._check_place(place jsonb)
returns void
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  if _check_place.place is null or pg_column_size(_check_place.place) > 20000
    or coalesce(_check_place.place ->> 'kind', '') not in ('state', 'agent', 'activity')
  then
    perform common.refuse(
      'CF009', 'the place of the document is invalid',
      'Send {"kind": "state" | "agent" | "activity", "activity", "agent", "registration", "id"} of at most 20000 bytes.'
    );
  end if;
end;
$$;

comment on function track._check_place(jsonb) is $$
Refuses the place of a document that is too long, or of another kind.
$$;

create or replace function track._check_condition(if_match text, if_none_match text, known bytea)
returns void
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_tag constant text := left(encode(sha256(known), 'hex'), 40);
begin
  if _check_condition.if_match <> '' and (
      v_tag is null or _check_condition.if_match <> '*' and strpos(_check_condition.if_match, v_tag) = 0
    )
    or _check_condition.if_none_match <> '' and v_tag is not null and (
      _check_condition.if_none_match = '*' or strpos(_check_condition.if_none_match, v_tag) > 0
    )
  then
    perform common.refuse(
      'CF010', 'the document is not the one that the request states', 'Read it again, and state its ETag in If-Match.'
    );
  end if;
end;
$$;

comment on function track._check_condition(text, text, bytea) is $$
Raises CF010 unless the contents of a document are as the headers If-Match and If-None-Match state.
`known`: null when no document is stored.
$$;
--! EndIncluded track/statements/_documents.sql

--! Included track/statements/store_document.sql
create or replace function track._merged_document(
  known bytea, contents bytea, known_type text, content_type text
)
returns bytea
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_known jsonb;
  v_new jsonb;
begin
  if known_type ~* '^application/json' and content_type ~* '^application/json' then
    v_known := convert_from(known, 'UTF8')::jsonb;
    v_new := convert_from(contents, 'UTF8')::jsonb;
  end if;
  if jsonb_typeof(v_known) is distinct from 'object' or jsonb_typeof(v_new) is distinct from 'object' then
    perform common.refuse(
      'CF009', 'the stored document or the new one is not a JSON object',
      'POST merges two JSON objects with the content type application/json; PUT replaces a document.'
    );
  end if;
  return convert_to((v_known || v_new)::text, 'UTF8');
end;
$$;

comment on function track._merged_document(bytea, bytea, text, text) is $$
Returns a stored JSON object with the fields of another one. Raises CF009 for other documents.
$$;

create or replace function track.store_document(
  place jsonb,
  contents bytea,
  content_type text,
  merges boolean default false,
  if_match text default '',
  if_none_match text default ''
)
returns void
language plpgsql
volatile
-- A definer: callers may write documents only through this function, which checks whose they are.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_name constant text := track._agent_name(store_document.place -> 'agent');
  v_sender track.message_sender;
  v_known track.client_document;
  v_contents bytea := contents;
begin
  perform track._check_place(store_document.place);
  v_sender := track._sender(clock_timestamp());
  if v_sender.level = 'signed_in' and v_name is distinct from v_sender.person then
    perform common.refuse('CF005', 'the document is not of the person who is signed in', 'Send her own documents.');
  end if;
  if v_name is not null and exists (
    select
    from privacy.suppressed(
      array[case v_sender.level when 'anonymous' then 'anonymous' else 'user' end], array[v_name]
    ) as suppressed
    where suppressed.lifted_at is null
  )
  then
    perform common.refuse('CF005', 'the person was erased', 'Nothing of her is stored until she consents again.');
  end if;
  perform pg_advisory_xact_lock(
    hashtext('track.client_document'),
    hashtext(concat_ws(' ', v_sender.source_id, track._document_hash(store_document.place)))
  );
  select * into v_known
  from track.client_document as known
  where known.source_id = v_sender.source_id
    and known.document_hash = track._document_hash(store_document.place);
  perform track._check_condition(if_match, if_none_match, v_known.contents);
  if store_document.place ->> 'kind' <> 'state' and not merges and concat(if_match, if_none_match) = '' then
    if v_known.source_id is not null then
      perform common.refuse(
        'CF010', 'the profile exists already', 'State the ETag of the profile that it replaces in If-Match.'
      );
    end if;
    perform common.refuse(
      'CF009', 'the request does not state whether the profile exists', 'Send If-None-Match: * for a new profile.'
    );
  end if;
  if v_known.source_id is null then
    if (
      select count(*)
      from track.client_document as other
      where other.source_id = v_sender.source_id
        and other.scope = track._document_scope(store_document.place, v_sender.source_id)
    ) >= 1000 then
      perform common.refuse(
        'CF008', 'there are 1000 documents for the same activity and agent', 'Delete those that are no longer used.'
      );
    end if;
  elsif merges then
    v_contents := track._merged_document(v_known.contents, contents, v_known.content_type, content_type);
  end if;
  if length(v_contents) > 4000000 or length(content_type) > 200 then
    perform common.refuse(
      'CF008', format('the document has %s bytes', length(v_contents)),
      'A document has at most 4000000 bytes, and its media type 200 characters.'
    );
  end if;
  if num_nulls(v_contents, content_type) > 0 then
    perform common.refuse('CF001', 'contents or content_type is null', 'Give the document and its media type.');
  end if;

  insert into track.client_document (
    source_id, document_hash, kind, scope, person, registration, place, content_type, contents, updated_at
  )
  values (
    v_sender.source_id, track._document_hash(store_document.place), store_document.place ->> 'kind',
    track._document_scope(store_document.place, v_sender.source_id),
    (track._person_keys(v_name, v_sender.level, false))[1],
    (store_document.place ->> 'registration')::uuid, store_document.place, content_type, v_contents, clock_timestamp()
  )
  on conflict on constraint client_document_pkey do update
  set content_type = excluded.content_type, contents = excluded.contents, updated_at = excluded.updated_at;
end;
$$;

comment on function track.store_document(jsonb, bytea, text, boolean, text, text) is $$
@behavior -*
Stores a document of an xAPI client: the state of an activity, or a profile.
`place`: `{kind, activity, agent, registration, id}`. `merges`: two JSON objects become one. `if_match` and
`if_none_match` are the headers; the ETag is the SHA-256 of the contents, its first 40 digits.
Errors: CF001 for null contents, CF005 for a key that may not be used or for another person, CF008 for more than 4 MB or
1000 documents of an agent and activity, CF009 for documents that cannot be merged and for a new profile without a
condition, CF010 when the stored document is another than stated, and for a profile that exists when nothing is stated.
$$;

grant execute on function track.store_document(jsonb, bytea, text, boolean, text, text)
to insights_visitor, insights_learner, insights_admin, insights_worker;
--! EndIncluded track/statements/store_document.sql

--! Included track/statements/stored_document.sql
create or replace function track.stored_document(place jsonb)
returns track.document
language plpgsql
volatile
-- A definer: no role may read the documents of a source but with its key.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_source constant smallint := track._reading_source('documents');
  v_document track.document;
begin
  perform track._check_place(stored_document.place);
  select known.content_type, known.contents, known.updated_at into v_document
  from track.client_document as known
  where known.source_id = v_source
    and known.document_hash = track._document_hash(stored_document.place);
  return v_document;
end;
$$;

comment on function track.stored_document(jsonb) is $$
@behavior -*
Returns a document that the source of the caller has stored; null when there is none.
`place`: as that of `track.store_document`. Errors: CF005 unless the caller has the key of a server, CF009 for another
place.
$$;

grant execute on function track.stored_document(jsonb)
to insights_visitor, insights_admin, insights_worker;
--! EndIncluded track/statements/stored_document.sql

--! Included track/statements/stored_documents.sql
create or replace function track.stored_documents(place jsonb, since timestamptz default null)
returns text[]
language plpgsql
volatile
-- A definer: no role may read the documents of a source but with its key.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_source constant smallint := track._reading_source('documents');
begin
  perform track._check_place(stored_documents.place);
  return array(
    select known.place ->> 'id'
    from track.client_document as known
    where known.source_id = v_source
      and known.scope = track._document_scope(stored_documents.place, v_source)
      and (stored_documents.since is null or known.updated_at > stored_documents.since)
      and (
        stored_documents.place ->> 'registration' is null
        or known.registration = (stored_documents.place ->> 'registration')::uuid
      )
    order by known.updated_at, known.place ->> 'id'
  );
end;
$$;

comment on function track.stored_documents(jsonb, timestamptz) is $$
@behavior -*
Returns the ids of the documents that the source of the caller has stored for an activity and an agent.
`place`: as that of `track.store_document`, without `id`. `since`: those that changed later.
Errors: CF005 unless the caller has the key of a server, CF009 for another place.
$$;

grant execute on function track.stored_documents(jsonb, timestamptz)
to insights_visitor, insights_admin, insights_worker;
--! EndIncluded track/statements/stored_documents.sql

--! Included track/statements/delete_documents.sql
create or replace function track.delete_documents(place jsonb, if_match text default '', if_none_match text default '')
returns int
language plpgsql
volatile
-- A definer: no role may change the documents of a source but with its key.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_source constant smallint := track._reading_source('documents');
  v_deleted int;
begin
  perform track._check_place(delete_documents.place);
  if delete_documents.place ->> 'id' is not null then
    perform pg_advisory_xact_lock(
      hashtext('track.client_document'),
      hashtext(concat_ws(' ', v_source, track._document_hash(delete_documents.place)))
    );
    perform track._check_condition(
      if_match, if_none_match,
      (
        select known.contents
        from track.client_document as known
        where known.source_id = v_source
          and known.document_hash = track._document_hash(delete_documents.place)
      )
    );
    delete from track.client_document as known
    where known.source_id = v_source
      and known.document_hash = track._document_hash(delete_documents.place);
  else
    delete from track.client_document as known
    where known.source_id = v_source
      and known.scope = track._document_scope(delete_documents.place, v_source)
      and (
        delete_documents.place ->> 'registration' is null
        or known.registration = (delete_documents.place ->> 'registration')::uuid
      );
  end if;
  get diagnostics v_deleted = row_count;
  return v_deleted;
end;
$$;

comment on function track.delete_documents(jsonb, text, text) is $$
@behavior -*
Deletes a document that the source of the caller has stored, or without `id` those of an activity and an agent.
`place`, `if_match` and `if_none_match`: as those of `track.store_document`. Returns the number of documents.
Errors: CF005 unless the caller has the key of a server, CF009 for another place, CF010 when the stored document is
another than stated.
$$;

grant execute on function track.delete_documents(jsonb, text, text)
to insights_visitor, insights_admin, insights_worker;
--! EndIncluded track/statements/delete_documents.sql

--! Included track/statements/statement_agent.sql
create or replace function track.statement_agent(agent jsonb)
returns text[]
language plpgsql
volatile
-- A definer: no role may read the statements of a source but with its key.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_source constant smallint := track._reading_source('agents');
  v_identifier constant text := left(track._agent_identifier(statement_agent.agent), 5000);
begin
  return array(
    select distinct named.agent ->> 'name'
    from (
      select statement.statement
      from track.statement
      where statement.source_id = v_source
        and statement.keys @> array[track._statement_key(v_source, 'related agent', v_identifier)]
      order by statement.stored_at desc
      limit 100
    ) as latest
    cross join lateral track._statement_agents(latest.statement) as named
    where track._agent_identifier(named.agent) = v_identifier
      and named.agent ->> 'name' is not null
    order by 1
  );
end;
$$;

comment on function track.statement_agent(jsonb) is $$
@behavior -*
Returns the names of an xAPI agent in the latest 100 statements of the source of the caller that name it.
Errors: CF005 unless the caller has the key of a server.
$$;

grant execute on function track.statement_agent(jsonb)
to insights_visitor, insights_admin, insights_worker;
--! EndIncluded track/statements/statement_agent.sql

--! Included track/statements/statement_activity.sql
create or replace function track.statement_activity(activity text)
returns jsonb
language plpgsql
volatile
-- A definer: no role may read the statements of a source but with its key.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_source constant smallint := track._reading_source('activities');
  v_known jsonb := '{}';
  v_definition jsonb;
begin
  if length(statement_activity.activity) > 5000 then
    perform common.refuse(
      'CF008', format('the activity has %s characters', length(statement_activity.activity)), 'Give at most 5000.'
    );
  end if;
  for v_definition in
    select found.activity -> 'definition'
    from (
      select statement.statement, statement.stored_at
      from track.statement
      where statement.source_id = v_source
        and statement.keys && array[
          track._statement_key(v_source, 'activity', statement_activity.activity),
          track._statement_key(v_source, 'related activity', statement_activity.activity)
        ]
      order by statement.stored_at desc
      limit 100
    ) as latest
    cross join lateral (
      values
        ('$.object'::jsonpath), ('$.context.contextActivities.*[*]'), ('$.object.object'),
        ('$.object.context.contextActivities.*[*]')
    ) as place (path)
    cross join lateral jsonb_path_query(latest.statement, place.path) as found (activity)
    where found.activity ->> 'id' = statement_activity.activity
      and jsonb_typeof(found.activity -> 'definition') = 'object'
    order by latest.stored_at
  loop
    v_known := v_known || v_definition || jsonb_build_object(
      'name', coalesce(v_known -> 'name', '{}') || coalesce(v_definition -> 'name', '{}'),
      'description', coalesce(v_known -> 'description', '{}') || coalesce(v_definition -> 'description', '{}')
    );
  end loop;
  return nullif(
    v_known
      - case when v_known -> 'name' = '{}' then 'name' else '' end
      - case when v_known -> 'description' = '{}' then 'description' else '' end,
    '{}'
  );
end;
$$;

comment on function track.statement_activity(text) is $$
@behavior -*
Returns the definition of an xAPI activity, or null: that of the latest 100 statements of the caller's source with it.
Later definitions have precedence; names and descriptions in all languages are kept.
Errors: CF005 unless the caller has the key of a server, CF008 for an activity of more than 5000 characters.
$$;

grant execute on function track.statement_activity(text)
to insights_visitor, insights_admin, insights_worker;
--! EndIncluded track/statements/statement_activity.sql

--! Included track/statements/_erase_statements.sql
create or replace function track._subject_keys(subject privacy.subject, is_actor boolean)
returns bigint[]
language sql
stable
parallel safe
set search_path to pg_catalog, pg_temp
return array(
  select (track._person_keys(named.name, case named.kind when 'user' then 'server' else 'anonymous' end, true))[
    case when is_actor then 2 else 1 end
  ]
  from unnest(subject.kinds, subject.names) as named (kind, name)
);

comment on function track._subject_keys(privacy.subject, boolean) is $$
Returns the hashes of the names of a person in statements: those of actors, or those of all people.
$$;

create or replace function track._erase_statements(subject privacy.subject)
returns setof privacy.erased
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_rows bigint;
  v_sources smallint[];
  v_hashes text[];
begin
  return next privacy.erase_rows(
    'track.client_document', 'person', track._subject_keys(subject, false)
  );
  with deleted as (
    delete from track.statement
    where statement.people && track._subject_keys(subject, true)
      -- A group has other actors: it stays, without her.
      and not exists (
        select
        from track._statement_agents(statement.statement) as named
        where named.is_actor
          and named.name <> all (subject.names)
      )
    returning statement.source_id, statement.statement
  )

  select
    count(distinct deleted.statement ->> 'id'),
    array_agg(deleted.source_id) filter (where attached.hash is not null),
    array_agg(attached.hash #>> '{}') filter (where attached.hash is not null)
  into v_rows, v_sources, v_hashes
  from deleted
  left join lateral jsonb_path_query(deleted.statement, '$.**.sha2') as attached (hash) on true;
  return next row('track.statement', v_rows, 'deleted')::privacy.erased;

  update track.statement as other
  set
    statement = replaced.statement,
    keys = track._statement_keys(replaced.statement, other.source_id),
    people = track._people_keys(replaced.statement, replaced.level),
    bytes = octet_length(replaced.statement::text),
    event_ids = replaced.event_ids,
    identity_ids = replaced.identity_ids
  from (
    select
      named.source_id, named.statement_id, source.level,
      track._without_agents(named.statement, subject.names) as statement,
      kept.event_ids, kept.identity_ids
    from track.statement as named
    join track.source using (source_id)
    cross join lateral (
      select
        coalesce(array_agg(event.event_id), '{}') as event_ids,
        coalesce(array_agg(event.identity_id), '{}') as identity_ids
      from unnest(named.event_ids, named.identity_ids) as event (event_id, identity_id)
      where event.identity_id <> all (subject.identity_ids)
    ) as kept
    where named.people && track._subject_keys(subject, false)
  ) as replaced
  where other.source_id = replaced.source_id
    and other.statement_id = replaced.statement_id;
  get diagnostics v_rows = row_count;
  return next row('track.statement', v_rows, 'cleared')::privacy.erased;

  delete from track.statement_attachment as attached
  using (
    select distinct entry.source_id, entry.hash from unnest(v_sources, v_hashes) as entry (source_id, hash)
  ) as former
  where attached.source_id = former.source_id
    and attached.hash = case when former.hash ~ '^[0-9a-f]{56,128}$' then decode(former.hash, 'hex') end
    and not exists (
      select
      from track.statement
      where statement.source_id = attached.source_id
        and statement.keys @> array[track._statement_key(attached.source_id, 'attachment', former.hash)]
    );
  get diagnostics v_rows = row_count;
  return next row('track.statement_attachment', v_rows, 'deleted')::privacy.erased;
end;
$$;

comment on function track._erase_statements(privacy.subject) is $$
Deletes the statements and documents of a person, and replaces her in the statements of others.
Attachments that no statement has any more are deleted.
$$;
--! EndIncluded track/statements/_erase_statements.sql

--! Included track/statements/_export_statements.sql
create or replace function track._export_statements(subject privacy.subject)
returns setof privacy.exported
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return next privacy.exported_rows(
    'track.statement',
    (
      select jsonb_agg(
        jsonb_build_object(
          'source', source.name, 'statement', statement.statement, 'is_voided', statement.is_voided
        )
        order by statement.stored_at, statement.statement_id
      )
      from track.statement
      join track.source using (source_id)
      where statement.people && track._subject_keys(subject, true)
    )
  );
  return next privacy.exported_rows(
    'track.statement_attachment',
    (
      select jsonb_agg(
        jsonb_build_object('hash', encode(attached.hash, 'hex'), 'contents', encode(attached.contents, 'base64'))
        order by attached.source_id, attached.hash
      )
      from track.statement_attachment as attached
      where (attached.source_id, attached.hash) in (
        select statement.source_id, decode(named.hash #>> '{}', 'hex')
        from track.statement
        cross join lateral jsonb_path_query(
          statement.statement, '$.**.sha2 ? (@ like_regex "^([0-9a-f][0-9a-f]){28,64}$" flag "i")'
        ) as named (hash)
        where statement.people && track._subject_keys(subject, true)
      )
    )
  );
  return next privacy.exported_rows(
    'track.client_document',
    (
      select jsonb_agg(
        jsonb_build_object(
          'source', source.name, 'kind', document.kind, 'place', document.place,
          'registration', document.registration,
          'content_type', document.content_type, 'contents', encode(document.contents, 'base64'),
          'updated_at', document.updated_at
        )
        order by document.updated_at, document.document_hash
      )
      from track.client_document as document
      join track.source using (source_id)
      where document.person = any (track._subject_keys(subject, false))
    )
  );
end;
$$;

comment on function track._export_statements(privacy.subject) is $$
Returns the statements of a person as they were sent, and her documents, for `track.export`. Contents are in base64.
$$;
--! EndIncluded track/statements/_export_statements.sql

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
  return query select * from track._export_statements(subject);
end;
$$;

comment on function track.export(privacy.subject) is $$
@behavior -*
Returns all data of a person in this room, for `privacy.export_person`.
These are the identities, traits, events, sessions, enrolments, sets, rollups and xAPI statements.
$$;
--! EndIncluded track/access/export.sql

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

  return query select erased.* from track._erase_statements(subject) as erased;
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
  select
    'track.item_transition', count(distinct (entry.month, entry.source_item_id, entry.target_item_id)), 'recomputed'
  from track._whole_transitions(track._counted_among(_count_derived.people)) as entry
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
grant select on track.statement, track.statement_attachment, track.client_document to insights_admin;
drop policy if exists all_people on track.statement;
create policy all_people on track.statement for select to insights_admin using (true);
drop policy if exists all_people on track.statement_attachment;
create policy all_people on track.statement_attachment for select to insights_admin using (true);
drop policy if exists all_people on track.client_document;
create policy all_people on track.client_document for select to insights_admin using (true);

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
  (
    'track', 'found_data', 'property', 'behaviour', 'service', 'kept',
    'Name of a property in which contact data was found, or which was not stored.',
    'It is counted without a person and without a value, and deleted after 400 days. Contact data in it is masked.'
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
  (
    'track', 'statement', 'statement_id', 'behaviour', 'analytics', 'deleted', 'Id of an xAPI statement of the person.',
    null
  ),
  (
    'track', 'statement', 'statement', 'behaviour', 'analytics', 'deleted',
    'The xAPI statement as it was sent, with its names and addresses. In those of others, the person is replaced.',
    null
  ),
  (
    'track', 'statement', 'keys', 'identity', 'analytics', 'deleted',
    'Hashes of the agents of the statement, by which clients find it.', null
  ),
  (
    'track', 'statement', 'people', 'identity', 'analytics', 'deleted',
    'Hashes of the names of people in the statement.', null
  ),
  (
    'track', 'statement', 'reference_id', 'behaviour', 'analytics', 'deleted',
    'Id of a statement that this one refers to.', null
  ),
  ('track', 'statement', 'event_ids', 'behaviour', 'analytics', 'deleted', 'Events of the statement.', null),
  ('track', 'statement', 'identity_ids', 'identity', 'analytics', 'deleted', 'Identities of these events.', null),
  (
    'track', 'statement_attachment', 'hash', 'behaviour', 'analytics', 'deleted',
    'Hash of an attachment. Deleted when only statements of the person have it.', null
  ),
  (
    'track', 'statement_attachment', 'contents', 'behaviour', 'analytics', 'deleted',
    'Attachment of a statement. Deleted when only statements of the person have it.', null
  ),
  ('track', 'client_document', 'document_hash', 'identity', 'service', 'deleted', 'Hash of its place.', null),
  (
    'track', 'client_document', 'scope', 'identity', 'service', 'deleted',
    'Hash of the person and the activity of the document.', null
  ),
  ('track', 'client_document', 'person', 'identity', 'service', 'deleted', 'Hash of the name of the person.', null),
  (
    'track', 'client_document', 'registration', 'behaviour', 'service', 'deleted', 'Registration for an activity.', null
  ),
  (
    'track', 'client_document', 'place', 'identity', 'service', 'deleted',
    'Agent, activity and id of the document.', null
  ),
  (
    'track', 'client_document', 'contents', 'behaviour', 'service', 'deleted',
    'State of an activity, or a profile, as the client stored it.', null
  ),
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
    (
      'track', 'setting',
      '{path_rule,kept_parameters,allowed_properties,allowed_traits,personal_data,contact_traits}',
      'Settings of the installation.'
    ),
    ('track', 'setting', '{agent_properties,bots}', 'Settings of the installation.'),
    (
      'track', 'source', '{name,description,path_rule,kept_parameters}',
      'Applications, importers and write keys, named by administrators.'
    ),
    ('track', 'write_key', '{key_hash,preview,scopes,origins}', 'Keys of applications, not of people.'),
    ('track', 'write_key_log', '{log_id}', 'Random keys.'),
    ('track', 'write_key_log', '{details}', 'New settings of a key: scopes, origins, rate and times.'),
    ('track', 'found_data', '{kind}', 'Words of a fixed list.'),
    ('track', 'refusal', '{code}', 'Codes of errors; the messages are only counted.'),
    ('track', 'refusal_sample', '{sample_id}', 'Random keys.'),
    ('track', 'refusal_sample', '{code,hint}', 'Code of the error, and its rule.'),
    (
      'track', 'refusal_sample', '{fields}',
      'Types and lengths of the known fields of a message, without values.'
    ),
    ('track', 'placeholder_id', '{external_id,description}', 'Ids that name nobody.'),
    (
      'track', 'event_type', '{purpose,description,allowed_properties}',
      'Settings of an event type, by administrators.'
    ),
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
      'track', 'consumer', '{consumer,refresh,inputs,description,reads_set,incomplete_sets}',
      'Names of functions, tables or tasks of the installation.'
    ),
    (
      'track', 'person_set', '{name,description,members,consumer}',
      'Name and definition of a set; its members are in other tables.'
    ),
    ('track', 'client_document', '{kind,content_type}', 'Kind and media type.'),
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

--! Included experiment/statistics/_added_drawn.sql
create or replace function experiment._added_drawn(parts experiment.drawn[])
returns experiment.drawn
language sql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select row(
    (
      select array_agg(added.figure order by added.place)
      from (
        select entry.place, sum(entry.figure) as figure
        from unnest(parts) as part, unnest(part.users) with ordinality as entry (figure, place)
        group by entry.place
      ) as added
    ),
    (
      select array_agg(added.figure order by added.place)
      from (
        select entry.place, sum(entry.figure) as figure
        from unnest(parts) as part, unnest(part.expected) with ordinality as entry (figure, place)
        group by entry.place
      ) as added
    ),
    (
      select array_agg(added.figure order by added.place)
      from (
        select entry.place, sum(entry.figure) as figure
        from unnest(parts) as part, unnest(part.covariances) with ordinality as entry (figure, place)
        group by entry.place
      ) as added
    )
  )::experiment.drawn;
$$;

comment on function experiment._added_drawn(experiment.drawn[]) is $$
@behavior -*
Adds up the numbers of people of parts of the time, and what the weights make expect of them.
$$;

grant execute on function experiment._added_drawn(experiment.drawn[])
to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded experiment/statistics/_added_drawn.sql

--! Included experiment/statistics/_drawn.sql
create or replace function experiment._drawn(
  users float8[],
  weights float8[],
  least_expected float8 default 10,
  least_users float8 default 0
)
returns experiment.drawn[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_count constant int := array_length(weights, 2);
  v_zeros constant float8[] := array_fill(0::float8, array[v_count]);
  v_people float8;
  v_total float8;
  v_share float8[];
  v_former float8[];
  -- Variables of their own: each assignment to an array in a composite would copy it.
  v_users float8[] := v_zeros;
  v_expected float8[] := v_zeros;
  v_covariances float8[] := array_fill(0::float8, array[v_count * v_count]);
  v_parts experiment.drawn[] := '{}';
  v_is_open boolean := false;
  v_is_complete boolean;
begin
  for p in 1..array_length(weights, 1) loop
    v_people := 0;
    v_total := 0;
    for i in 1..v_count loop
      -- A variation without weight, or whose users are not known, is not tested.
      v_share[i] := case when users[p][i] is null then 0 else weights[p][i] end;
      if v_share[i] > 0 then
        v_people := v_people + users[p][i];
        v_total := v_total + v_share[i];
      end if;
    end loop;
    continue when v_people = 0;
    for i in 1..v_count loop
      v_share[i] := v_share[i] / v_total;
    end loop;

    -- A part ends when other weights begin, and it is large enough.
    v_is_complete := v_is_open;
    for i in 1..v_count loop
      exit when not v_is_complete;
      v_is_complete := v_expected[i] = 0 or (v_expected[i] >= least_expected and v_users[i] >= least_users);
    end loop;
    if v_is_complete and exists (
      select from unnest(v_former, v_share) as part (former, share) where abs(part.former - part.share) > 1e-12
    ) then
      v_parts := v_parts || row(v_users, v_expected, v_covariances)::experiment.drawn;
      v_users := v_zeros;
      v_expected := v_zeros;
      v_covariances := array_fill(0::float8, array[v_count * v_count]);
    end if;

    v_former := v_share;
    v_is_open := true;
    for i in 1..v_count loop
      continue when v_share[i] = 0;
      v_users[i] := v_users[i] + users[p][i];
      v_expected[i] := v_expected[i] + v_people * v_share[i];
      for j in 1..v_count loop
        v_covariances[(i - 1) * v_count + j] := v_covariances[(i - 1) * v_count + j]
          + v_people * v_share[i] * (case when i = j then 1 else 0 end - v_share[j]);
      end loop;
    end loop;
  end loop;

  -- The rest belongs to the last part.
  v_is_complete := v_parts = '{}';
  for i in 1..v_count loop
    exit when v_is_complete;
    exit when v_expected[i] > 0 and (v_expected[i] < least_expected or v_users[i] < least_users);
    v_is_complete := i = v_count;
  end loop;
  if v_is_complete then
    return v_parts || row(v_users, v_expected, v_covariances)::experiment.drawn;
  end if;
  return v_parts[:cardinality(v_parts) - 1] || experiment._added_drawn(
    array[v_parts[cardinality(v_parts)], row(v_users, v_expected, v_covariances)::experiment.drawn]
  );
end;
$$;

comment on function experiment._drawn(float8[], float8[], float8, float8) is $$
@behavior -*
Returns users and their expectation, of parts of the time: a row of `users` and `weights` per period.
Consecutive periods are added up until each variation is expected to have `least_expected` users, and has `least_users`;
those with the same weights are one. In each period the users are drawn from a multinomial distribution with its
weights. Weights that follow from outcomes of earlier users, as those of a bandit, change nothing: the differences to
the expectation are a martingale.
$$;

grant execute on function experiment._drawn(float8[], float8[], float8, float8)
to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded experiment/statistics/_drawn.sql

--! Included experiment/statistics/_mismatch_p.sql
create or replace function experiment._mismatch(drawn experiment.drawn, out statistic float8, out degrees int)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_count constant int := cardinality((drawn).users);
  v_matrix float8[] := (drawn).covariances;
  v_rest float8[];
  v_open int[] := array(select generate_series(1, v_count));
  v_least float8;
  v_pivot int;
  v_variance float8;
  v_share float8;
  i int;
  j int;
begin
  statistic := 0;
  degrees := 0;
  for i in 1..v_count loop
    v_rest[i] := (drawn).users[i] - (drawn).expected[i];
    v_least := greatest(v_least, 1e-9 * v_matrix[(i - 1) * v_count + i]);
  end loop;
  -- d' C⁻ d by elimination, the largest variance first. The numbers of a period add up, so that the last one is 0.
  loop
    select place into v_pivot
    from unnest(v_open) as place
    order by v_matrix[(place - 1) * v_count + place] desc, place
    limit 1;
    v_variance := v_matrix[(v_pivot - 1) * v_count + v_pivot];
    exit when not coalesce(v_variance > v_least, false);
    degrees := degrees + 1;
    statistic := statistic + v_rest[v_pivot] / v_variance * v_rest[v_pivot];
    v_open := array_remove(v_open, v_pivot);
    foreach i in array v_open loop
      v_share := v_matrix[(i - 1) * v_count + v_pivot] / v_variance;
      v_rest[i] := v_rest[i] - v_share * v_rest[v_pivot];
      foreach j in array v_open loop
        v_matrix[(i - 1) * v_count + j] := v_matrix[(i - 1) * v_count + j]
          - v_share * v_matrix[(v_pivot - 1) * v_count + j];
      end loop;
    end loop;
  end loop;
end;
$$;

comment on function experiment._mismatch(experiment.drawn) is $$
@behavior -*
Returns the chi-squared statistic of numbers of people that differ from the expected ones, and its degrees of freedom.
By the covariances of the numbers; the degrees are their rank: one less than the variations, 0 if nothing could differ.
$$;

grant execute on function experiment._mismatch(experiment.drawn)
to insights_reader, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._mismatch_p(whole experiment.drawn, parts experiment.drawn[])
returns float8
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_whole constant record := experiment._mismatch(whole);
  v_between record;
  v_p float8;
begin
  if v_whole.degrees = 0 then
    return 1;
  end if;
  v_p := experiment._chi_squared_tail(v_whole.statistic, v_whole.degrees);
  -- The statistics of the parts beyond that of the whole are independent of it (Cochran's theorem).
  select
    sum(mismatch.statistic) - v_whole.statistic as statistic,
    sum(mismatch.degrees)::int - v_whole.degrees as degrees
  into v_between
  from unnest(parts) as part
  cross join lateral experiment._mismatch(part) as mismatch;
  if coalesce(v_between.degrees, 0) <= 0 then
    return v_p;
  end if;
  v_p := least(v_p, experiment._chi_squared_tail(v_between.statistic, v_between.degrees));
  -- The smaller one of two independent p-values (Šidák).
  return v_p * (2 - v_p);
end;
$$;

comment on function experiment._mismatch_p(experiment.drawn, experiment.drawn[]) is $$
@behavior -*
Returns the p-value of numbers of people that differ from the expected ones by chance; 1 if nothing could differ.
Two independent tests in one: of the `whole` time, which finds the same error at all times, and of the differences of
its `parts` to the whole, which finds errors that cancel out.
$$;

grant execute on function experiment._mismatch_p(experiment.drawn, experiment.drawn[])
to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded experiment/statistics/_mismatch_p.sql

--! Included experiment/statistics/srm.sql
create or replace function experiment.srm(users float8[], weights float8[])
returns float8
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_number float8;
  v_total_users float8 := 0;
  v_total_weight float8 := 0;
  v_arms int := 0;
  v_has_null boolean;
  v_parts experiment.drawn[];
  v_expected float8;
  v_statistic float8 := 0;
begin
  if users is null or weights is null or cardinality(users) > cardinality(weights)
    or array_lower(users, 1) <> 1 or array_lower(weights, 1) <> 1
    or array_ndims(weights) = 2 and (
      array_length(users, 1) <> array_length(weights, 1) or array_length(users, 2) <> array_length(weights, 2)
      or array_lower(users, 2) <> 1 or array_lower(weights, 2) <> 1
      or array_length(weights, 2) > 100 or cardinality(weights)::bigint * array_length(weights, 2) > 1000000
    ) is not false
    or coalesce(array_ndims(weights), 1) = 1 and (coalesce(array_ndims(users), 1) > 1 or cardinality(weights) > 1000)
    or array_ndims(weights) > 2
  then
    perform common.refuse('CF001',
      format('there are %s numbers of users and %s weights', coalesce(cardinality(users)::text, 'no'),
        coalesce(cardinality(weights)::text, 'no')),
      'Give the users and the weight of each variation, of at most 1000; over several periods with other weights, a '
      'row of each period, of at most 100 variations, and 1000000 / the square of their number periods.');
  end if;
  v_has_null := exists (select from unnest(weights) as entry (weight) where entry.weight is null);
  foreach v_number in array users || weights loop
    if v_number < 0 or v_number = 'NaN' or v_number > 1e30 or v_number > 0 and v_number < 1e-30
      or v_number is null and v_has_null then
      perform common.refuse('CF001', format('a number of users or a weight is %s', coalesce(v_number::text, 'null')),
        'Give 0, or numbers from 1e-30 to 1e30.');
    end if;
  end loop;
  if array_ndims(weights) = 2 then
    v_parts := experiment._drawn(users, weights);
    return experiment._mismatch_p(experiment._added_drawn(v_parts), v_parts);
  end if;
  -- a variation without weight, or whose users are not known, is not tested
  for i in 1..cardinality(users) loop
    if weights[i] > 0 and users[i] is not null then
      v_arms := v_arms + 1;
      v_total_users := v_total_users + users[i];
      v_total_weight := v_total_weight + weights[i];
    end if;
  end loop;
  if v_arms < 2 or v_total_users = 0 then
    return 1;
  end if;
  for i in 1..cardinality(users) loop
    if weights[i] > 0 and users[i] is not null then
      v_expected := weights[i] / v_total_weight * v_total_users;
      v_statistic := v_statistic + (users[i] - v_expected) / v_expected * (users[i] - v_expected);
    end if;
  end loop;
  return experiment._chi_squared_tail(v_statistic, v_arms - 1);
end;
$$;

comment on function experiment.srm(float8[], float8[]) is $$
Returns the p-value of a sample ratio mismatch: of users whose numbers differ from the weights by chance.
A chi-squared test over the variations with a weight above 0; 1 with fewer than two of them, or without users. A value
below 0.001 means that assignment or logging is broken: the results should not be used.
When the weights changed, as those of a bandit do, give an array of two dimensions: a row of users and of weights of
each period. The differences are added up over the periods, and compared with the sum of their covariances; and they are
compared with each other, so that opposite errors of two periods do not cancel out. Consecutive periods are one until
each variation is expected to have 10 users.
$$;

grant execute on function experiment.srm(float8[], float8[])
to insights_reader, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._chi_squared_tail(x float8, degrees int)
returns float8
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_half constant float8 := x / 2;
  v_term float8;
  v_sum float8;
begin
  if x <= 0 then
    return 1;
  elsif v_half > 700 then
    return case when v_half > degrees + 700 then 0 else 1 - ml.chi_squared_cdf(x, degrees) end;
  elsif degrees > 100 then
    return 1 - ml.chi_squared_cdf(x, degrees);
  end if;
  -- positive terms, so that a small tail keeps its digits (Abramowitz and Stegun 26.4.4 and 26.4.5)
  if degrees % 2 = 0 then
    v_term := exp(-v_half);
    v_sum := v_term;
    for k in 1..degrees / 2 - 1 loop
      v_term := v_term * v_half / k;
      v_sum := v_sum + v_term;
    end loop;
  else
    v_sum := 2 * ml.normal_cdf(-sqrt(x));
    v_term := exp(-v_half) * sqrt(v_half) * 2 / sqrt(pi());
    for k in 1..degrees / 2 loop
      v_sum := v_sum + v_term;
      v_term := v_term * v_half / (k + 0.5);
    end loop;
  end if;
  return least(v_sum, 1);
end;
$$;

comment on function experiment._chi_squared_tail(float8, int) is $$
Returns the probability that a chi-squared variable is above x.
$$;

grant execute on function experiment._chi_squared_tail(float8, int)
to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded experiment/statistics/srm.sql

--! Included experiment/design/_check_definition.sql
create or replace function experiment._check_bandit(definition jsonb)
returns void
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_given constant jsonb := _check_bandit.definition;
  v_goal experiment.metric;
begin
  if (v_given ->> 'minimum_weight')::float8 * jsonb_array_length(v_given -> 'variations') > 1 then
    perform experiment._refuse_field('minimum_weight', v_given -> 'minimum_weight',
      'The minimum weights of all variations add up to 1 at most.');
  elsif exists (select from jsonb_array_elements(v_given -> 'weights') as given where given.value = '0') then
    perform experiment._refuse_field('weights', v_given -> 'weights',
      'The weights follow the results of all variations: each starts with more than 0.');
  elsif v_given ? 'goals' then
    v_goal := experiment._find_metric(coalesce(v_given #>> '{goals,0,metric}', v_given #>> '{goals,0}'));
    if v_goal.type = 'quantile' then
      perform common.refuse('CF001', format('the first goal "%s" is a quantile', v_goal.metric_key),
        'The weights of a bandit follow a proportion, a mean, a count, a ratio or retention.');
    end if;
  end if;
end;
$$;

comment on function experiment._check_bandit(jsonb) is $$
@behavior -*
Raises CF001 for a bandit whose weights could not follow its results.
$$;

create or replace function experiment._check_definition(definition jsonb)
returns void
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_given constant jsonb := _check_definition.definition;
  v_feature experiment.feature;
  v_holdout experiment.holdout;
begin
  if v_given ? 'feature' then
    v_feature := experiment._find_feature(v_given ->> 'feature');
    perform experiment._check_value(
      variation.value -> 'value', v_feature.value_type, format('the value of %s', variation.value ->> 'key')
    )
    from jsonb_array_elements(v_given -> 'variations') as variation (value);
  end if;
  if v_given ? 'placement' then
    perform experiment._check_placement(v_given ->> 'placement', v_given -> 'variations');
  end if;
  perform experiment._check_assignment(v_given);

  if v_given ? 'layer' then
    if not exists (select from experiment.layer as known where known.layer = v_given ->> 'layer') then
      perform experiment._refuse_unknown_name(
        'layer',
        v_given ->> 'layer',
        array(select known.layer from experiment.layer as known order by known.layer limit 1000),
        'Create it with experiment.define_layer.'
      );
    end if;
    if (v_given ->> 'layer_from')::float8 >= (v_given ->> 'layer_until')::float8 then
      perform experiment._refuse_field('layer_until', v_given -> 'layer_until',
        'Give a number greater than layer_from.');
    end if;
    perform experiment._check_layer(
      v_given ->> 'key', v_given ->> 'layer', (v_given ->> 'layer_from')::float8, (v_given ->> 'layer_until')::float8
    );
  elsif v_given ?| '{layer_from,layer_until}' then
    perform common.refuse('CF001', 'a range is given without a layer', 'Name the layer, or leave the range out.');
  end if;
  if v_given ? 'holdout' then
    v_holdout := experiment._find_holdout(v_given ->> 'holdout');
    if v_holdout.ended_at is not null then
      perform common.refuse('CF003', format('the holdout "%s" has ended', v_holdout.holdout), 'Name another one.');
    end if;
  end if;

  -- Refuses an unknown set with the nearest name.
  perform track.is_in_person_set(v_given ->> 'population', 0);
  perform track.check_sets(array[v_given ->> 'population', substr(v_given ->> 'strata', 5)]);
  if v_given ? 'strata' then
    perform experiment._check_strata(v_given ->> 'strata');
  end if;
  if (v_given ->> 'min_bucket_version')::int > (v_given ->> 'bucket_version')::int then
    perform experiment._refuse_field('min_bucket_version', v_given -> 'min_bucket_version',
      'It is at most bucket_version.');
  elsif (v_given ->> 'maximum_duration')::interval < (v_given ->> 'minimum_duration')::interval then
    perform experiment._refuse_field('maximum_duration', v_given -> 'maximum_duration',
      'Give at least minimum_duration.');
  elsif v_given ? 'bandit' then
    perform experiment._check_bandit(v_given);
  end if;
end;
$$;

comment on function experiment._check_definition(jsonb) is $$
@behavior -*
Raises an error for a complete definition whose fields do not fit together, or to what else is defined and running.
Errors: CF001, CF002, CF003, CF008.
$$;
--! EndIncluded experiment/design/_check_definition.sql

--! Included experiment/exposure/_count_periods.sql
create or replace function experiment._count_periods(experiment_id int, since timestamptz default null)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set jit to off
as $$
declare
  v_since constant timestamptz[] := array(
    select weighting.since
    from experiment.weighting
    where weighting.experiment_id = _count_periods.experiment_id
    order by weighting.since
  );
  v_from constant timestamptz := coalesce(v_since[width_bucket(_count_periods.since, v_since) - 1], '-infinity');
begin
  delete from experiment.period_sum
  where period_sum.experiment_id = _count_periods.experiment_id
    and period_sum.since >= v_from;

  insert into experiment.period_sum (experiment_id, since, variation, people)
  select
    exposure.experiment_id, v_since[greatest(width_bucket(exposure.exposed_at, v_since), 1)], exposure.variation,
    count(*)
  from experiment.exposure
  where exposure.experiment_id = _count_periods.experiment_id
    and exposure.exposed_on >= v_from::date
    and exposure.exposed_at >= v_from
    and exposure.is_counted
    and exposure.variation is not null
  group by 1, 2, 3;
end;
$$;

comment on function experiment._count_periods(int, timestamptz) is $$
Counts the people of an experiment by the weights at their exposure: from the weights before `since` on, null for all.
For new weights, because people may have been exposed after them, by the clock of a client, and counted before. The
caller holds the lock of the refresh.
$$;
--! EndIncluded experiment/exposure/_count_periods.sql

--! Included experiment/design/_set_weights.sql
create or replace function experiment._set_weights(
  experiment experiment.experiment,
  weights float8[],
  coverage float8,
  details jsonb
)
returns experiment.weighting
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_id constant int := (_set_weights.experiment).experiment_id;
  v_before experiment.weighting;
  v_weighting experiment.weighting;
begin
  select * into v_before
  from experiment.weighting as known
  where known.experiment_id = v_id
  order by known.since desc
  limit 1;
  perform experiment._check_weights(
    coalesce(_set_weights.weights, v_before.weights),
    (select count(*)::int from experiment.variation as known where known.experiment_id = v_id)
  );
  insert into experiment.weighting (experiment_id, since, weights, coverage, details)
  values (
    v_id, clock_timestamp(), coalesce(_set_weights.weights, v_before.weights),
    coalesce(_set_weights.coverage, v_before.coverage), _set_weights.details
  )
  returning weighting.* into v_weighting;
  perform experiment._count_periods(v_id, v_weighting.since);
  perform experiment._log_change(
    'experiment', (_set_weights.experiment).experiment_key, 'weights changed',
    to_jsonb(v_before) - 'experiment_id', to_jsonb(v_weighting) - 'experiment_id'
  );
  return v_weighting;
end;
$$;

comment on function experiment._set_weights(experiment.experiment, float8[], float8, jsonb) is $$
@behavior -*
Stores new weights of a running experiment, from now on, and records them. Null: as they are.
The caller holds the locks of `experiment.change_weights`. Errors: CF001.
$$;
--! EndIncluded experiment/design/_set_weights.sql

--! Included experiment/exposure/_first_exposures.sql
create or replace function experiment._first_exposures(people bigint[])
returns setof experiment.exposed
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set plan_cache_mode to force_generic_plan
-- A loop over the times of the journeys: the planner has no statistics of the arrays, and the caller's settings, which
-- are for joins of arrays, would read the index of all events.
set enable_nestloop to on
set enable_seqscan to off
set enable_hashjoin to off
set enable_mergejoin to off
set jit to off
as $$
declare
  v_viewed constant record := experiment._viewed_types();
  v_since constant timestamptz := (select min(experiment.started_at) from experiment.experiment);
  -- By the key of the experiment, and by the key of the variation, or else its position.
  v_arms constant jsonb := (
    select jsonb_object_agg(arm.experiment_key, arm.variations)
    from (
      select
        experiment.experiment_key,
        jsonb_object_agg(
          name.name, jsonb_build_array(variation.experiment_id, variation.variation) order by name.is_key
        ) as variations
      from experiment.experiment
      join experiment.variation using (experiment_id)
      cross join lateral (
        values (variation.variation::text, false), (variation.variation_key, true)
      ) as name (name, is_key)
      where experiment.started_at is not null
      group by experiment.experiment_key
    ) as arm
  );
  v_function text;
  v_some experiment.exposed[];
  v_served experiment.exposed[] := '{}';
begin
  for v_function in
    select handler.exposure_function
    from experiment.handler
    where handler.exposure_function is not null
      and exists (
        select
        from experiment.experiment
        where experiment.placement like handler.room || '.%'
          and experiment.started_at is not null
      )
    order by handler.room
  loop
    execute format(
      'select array(select exposed from %I.%I($1) as exposed)',
      split_part(v_function, '.', 1), split_part(v_function, '.', 2)
    )
    into v_some
    using _first_exposures.people;
    v_served := v_served || v_some;
  end loop;

  return query
  with mentioned as materialized (
    select distinct step.person_id, viewed.occurred_at
    from track.step
    cross join lateral unnest(step.occurred_at) as viewed (occurred_at)
    where step.person_id = any (_first_exposures.people)
      and step.event_type_id = any (v_viewed.stored)
      and viewed.occurred_at >= v_since
  ),

  named as materialized (
    select
      event.person_id, event.identity_id, event.occurred_at,
      v_arms -> coalesce(event.properties ->> 'experiment_id', event.properties ->> 'experimentId')
      -> coalesce(event.properties ->> 'variation_id', event.properties ->> 'variationId') as arm
    from mentioned
    join track.event
      on event.person_id = mentioned.person_id
      and event.occurred_at = mentioned.occurred_at
    where coalesce(event.named_event_type_id, event.event_type_id) = v_viewed.named
      or event.event_type_id = v_viewed.named
  ),

  shown as (
    select
      named.person_id, named.identity_id, (named.arm ->> 0)::int as experiment_id,
      (named.arm ->> 1)::smallint as variation, named.occurred_at as exposed_at
    from named
    where named.arm is not null

    union all

    select served.person_id, served.identity_id, served.experiment_id, served.variation, served.exposed_at
    from unnest(v_served) as served
    where served.variation is not null
  )

  select
    shown.person_id,
    min(shown.identity_id),
    shown.experiment_id,
    case when min(shown.variation) = max(shown.variation) then min(shown.variation) end,
    min(shown.exposed_at)
  from shown
  join experiment.experiment
    on experiment.experiment_id = shown.experiment_id
    and shown.exposed_at >= experiment.started_at
    and shown.exposed_at < coalesce(experiment.stopped_at, 'infinity')
  where shown.person_id <> 0
  group by shown.person_id, shown.experiment_id;
end;
$$;

comment on function experiment._first_exposures(bigint[]) is $$
Returns the first exposure of people to each experiment; `variation` is null for those with two or more variations.
From the events "Experiment Viewed" while the experiment runs, and from the rooms of `experiment.handler`. Events that
name another experiment or variation are ignored.
$$;
--! EndIncluded experiment/exposure/_first_exposures.sql

--! Included experiment/exposure/_change_day_sums.sql
create or replace function experiment._change_period_sums(exposures experiment.exposure[], signs int[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set plan_cache_mode to force_generic_plan
set jit to off
as $$
begin
  merge into experiment.period_sum
  using (
    select
      entry.experiment_id,
      coalesce(period.since[width_bucket(entry.exposed_at, period.since)], period.since[1]) as since,
      entry.variation, sum(entry.sign) as people
    from unnest(exposures, signs) as entry (
      person_id, experiment_id, variation, exposed_at, exposed_on, is_counted, stratum, probability, outcomes,
      outcomes_before, sign
    )
    join (
      select weighting.experiment_id, array_agg(weighting.since order by weighting.since) as since
      from experiment.weighting
      group by weighting.experiment_id
    ) as period on period.experiment_id = entry.experiment_id
    where entry.is_counted
      and entry.variation is not null
    group by 1, 2, 3
    having sum(entry.sign) <> 0
  ) as changed
    on period_sum.experiment_id = changed.experiment_id
    and period_sum.since = changed.since
    and period_sum.variation = changed.variation
  -- After weights of the past were changed, a number may be too small until `check_exposures` counts it again.
  when matched and period_sum.people + changed.people <= 0 then delete
  when matched then update set people = period_sum.people + changed.people
  when not matched and changed.people > 0 then
    insert (experiment_id, since, variation, people)
    values (changed.experiment_id, changed.since, changed.variation, changed.people);
end;
$$;

comment on function experiment._change_period_sums(experiment.exposure[], int[]) is $$
Adds exposures to the numbers of people by weights (1), or subtracts them (-1).
$$;

create or replace function experiment._change_day_sums(exposures experiment.exposure[], signs int[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
-- Planned once: a plan for the values of the arrays would copy them several times, and not be another one.
set plan_cache_mode to force_generic_plan
set enable_seqscan to off
set jit to off
as $$
declare
  v_sums constant experiment.day_sum[] := array(
    select changed from experiment._day_sums(exposures, signs) as changed
  );
begin
  merge into experiment.day_sum
  using unnest(v_sums) as changed
    on day_sum.experiment_id = changed.experiment_id
    and day_sum.position = changed.position
    and day_sum.variation = changed.variation
    and day_sum.exposed_on = changed.exposed_on
    and day_sum.stratum = changed.stratum
  when matched and day_sum.people + changed.people = 0 then delete
  when matched then
    update set
      people = day_sum.people + changed.people,
      sums = array(
        select trim_scale(entry.stored + entry.added)
        from unnest(day_sum.sums, changed.sums) with ordinality as entry (stored, added, place)
        order by entry.place
      )
  when not matched and changed.people <> 0 then
    insert (experiment_id, position, variation, exposed_on, stratum, people, sums)
    values (
      changed.experiment_id, changed.position, changed.variation, changed.exposed_on, changed.stratum, changed.people,
      changed.sums
    );
  perform experiment._change_period_sums(exposures, signs);
end;
$$;

comment on function experiment._change_day_sums(experiment.exposure[], int[]) is $$
Adds exposures to the sums (1), or subtracts them (-1).
$$;
--! EndIncluded experiment/exposure/_change_day_sums.sql

--! Included experiment/results/_take_results.sql
/*
 * The people of a variation, day and stratum are the same in each metric, so that one grouping serves all of them, and
 * no difference of two sums is of fewer people than a sum.
 */
create or replace function experiment._take_results(experiment experiment.experiment)
returns experiment.kept
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set jit to off
as $$
declare
  v_id constant int := (experiment).experiment_id;
  v_smallest constant int := 5;
  -- Days until which metrics are complete, and days on which weights changed, separate segments of days.
  v_limits constant date[] := array(
    select experiment._complete_until(_take_results.experiment, measured.metric_id)
    from experiment.measured
    where measured.experiment_id = v_id
    union
    select weighting.since::date + shift
    from experiment.weighting
    cross join generate_series(-1, 0) as shift
    where weighting.experiment_id = v_id
      and weighting.since > (experiment).started_at
  );
  v_drawn constant experiment.drawn[] := experiment._assigned(_take_results.experiment, least_users => v_smallest);
  v_kept experiment.kept;
begin
  delete from experiment.kept where kept.experiment_id = v_id;
  insert into experiment.kept (experiment_id, quantiles, drawn)
  select
    v_id,
    coalesce(
      jsonb_agg(
        jsonb_build_object(
          'position', measured.position, 'variation', quantile.variation, 'is_complete', part.is_complete,
          'people', quantile.people, 'statistic', quantile.statistic
        )
      ),
      '[]'
    ),
    case
      when v_smallest <= all (array(select unnest(part.users) from unnest(v_drawn) as part)) then v_drawn
    end
  from experiment.measured
  join experiment.metric using (metric_id)
  cross join (values (true), (false)) as part (is_complete)
  cross join lateral experiment._quantile_statistics(
    v_id, measured.position, metric.quantile,
    case when part.is_complete then experiment._complete_until(_take_results.experiment, measured.metric_id) end
  ) as quantile
  where measured.experiment_id = v_id
    and metric.type = 'quantile'
    and quantile.people >= v_smallest
  returning kept.* into v_kept;

  insert into experiment.kept_sum (experiment_id, position, variation, exposed_on, stratum, people, sums)
  with day as materialized (
    select
      stored.variation, stored.stratum, stored.exposed_on, stored.people,
      (select count(*) from unnest(v_limits) as day_limit where day_limit < stored.exposed_on) as segment
    from experiment.day_sum as stored
    where stored.experiment_id = v_id
      and stored.position = -1
  ),

  grouped as (
    select entry.variation, entry.stratum, known.exposed_on, known.people, known.segment, known.kept_on
    from (
      select
        day.variation, day.stratum,
        array_agg(day.exposed_on order by day.exposed_on) as days,
        array_agg(day.people order by day.exposed_on) as people,
        array_agg(day.segment order by day.exposed_on) as segments
      from day
      group by day.variation, day.stratum
    ) as entry
    cross join lateral unnest(
      entry.days, entry.people, entry.segments,
      experiment._kept_days(entry.days, entry.people, entry.segments, v_smallest)
    ) as known (exposed_on, people, segment, kept_on)
  ),

  -- The rest of small strata is added up over the strata.
  left_over as (
    select entry.variation, known.exposed_on, known.kept_on
    from (
      select
        rest.variation,
        array_agg(rest.exposed_on order by rest.exposed_on) as days,
        array_agg(rest.people order by rest.exposed_on) as people,
        array_agg(rest.segment order by rest.exposed_on) as segments
      from (
        select grouped.variation, grouped.exposed_on, grouped.segment, sum(grouped.people)::bigint as people
        from grouped
        where grouped.kept_on is null
        group by grouped.variation, grouped.exposed_on, grouped.segment
      ) as rest
      group by rest.variation
    ) as entry
    cross join lateral unnest(
      entry.days, experiment._kept_days(entry.days, entry.people, entry.segments, v_smallest)
    ) as known (exposed_on, kept_on)
    where known.kept_on is not null
  )

  select added.*
  from experiment._added_sums(
    array(
      select
        row(
          v_id, stored.position, stored.variation, coalesce(grouped.kept_on, left_over.kept_on),
          case
            when grouped.kept_on is not null or stored.stratum = '' then stored.stratum
            else 'other strata'
          end,
          stored.people, stored.sums
        )::experiment.day_sum
      from experiment.day_sum as stored
      join grouped using (variation, stratum, exposed_on)
      left join left_over using (variation, exposed_on)
      where stored.experiment_id = v_id
        and coalesce(grouped.kept_on, left_over.kept_on) is not null
    )
  ) as added;
  return v_kept;
end;
$$;

comment on function experiment._take_results(experiment.experiment) is $$
@behavior -*
Stores the results of an ended experiment as they are now, in sums of at least 5 people each.
Of a variation at most 4 people are left out: those that belong to no such sum. The caller holds the lock of the
refresh.
$$;
--! EndIncluded experiment/results/_take_results.sql

--! Included experiment/exposure/check_exposures.sql
create or replace function experiment._wrong_exposures(people bigint[])
returns bigint[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set jit to off
as $$
begin
  -- People who are queued are about to change.
  return array(
    with computed as materialized (
      select computed
      from unnest(
        experiment._exposures_of(
          array(
            select unnest(_wrong_exposures.people)
            except
            select unnest(experiment._refused_people(_wrong_exposures.people))
          )
        )
      ) as computed
    ),

    stored as materialized (
      select exposure from experiment.exposure where exposure.person_id = any (_wrong_exposures.people)
    )

    select (differing.entry).person_id
    from (
      (select computed as entry from computed except select exposure from stored)
      union all
      (select exposure from stored except select computed from computed)
    ) as differing
    where (differing.entry).person_id not in (
      select changed.person_id from track.changed where changed.person_id = any (_wrong_exposures.people)
      union all
      select stale.person_id from track.stale where stale.person_id = any (_wrong_exposures.people)
    )
    group by (differing.entry).person_id
  );
end;
$$;

comment on function experiment._wrong_exposures(bigint[]) is $$
Returns the people whose stored exposures are not those that their events show. Those who are queued are left out.
$$;

create or replace function experiment.check_exposures(experiment text, most_people int default 10000)
returns experiment.exposure_check
language plpgsql
volatile
-- A definer: it reads the events of all people and repairs derived tables, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_experiment constant experiment.experiment := experiment._find_experiment(check_exposures.experiment);
  v_check experiment.exposure_check;
  v_people bigint[];
  v_wrong bigint[];
  v_exposures experiment.exposure[];
  v_sums experiment.day_sum[] := '{}';
  v_periods experiment.period_sum[];
begin
  perform common.check_count('most_people', check_exposures.most_people, 1, 100000);
  v_check.experiment := v_experiment.experiment_key;

  v_people := array(
    select exposure.person_id
    from experiment.exposure
    where exposure.experiment_id = v_experiment.experiment_id
    order by random()
    limit check_exposures.most_people
  );
  v_wrong := experiment._wrong_exposures(v_people);
  if v_wrong <> '{}' then
    -- Under the lock of the refresh, the differences are those that no refresh is about to change.
    perform pg_advisory_xact_lock(hashtext('track.refresh'));
    v_wrong := experiment._wrong_exposures(v_people);
    perform experiment.queue_exposures(v_wrong);
  end if;
  v_check.people := cardinality(v_people);
  v_check.wrong_people := cardinality(v_wrong);

  -- The sums are those of the stored exposures at each moment: no queue matters.
  perform pg_advisory_xact_lock(hashtext('track.refresh'));
  for v_exposures in
    select array_agg(part.exposure)
    from (
      select exposure, row_number() over () / 20000 as part
      from experiment.exposure
      where exposure.experiment_id = v_experiment.experiment_id
    ) as part (exposure, part)
    group by part.part
  loop
    v_sums := v_sums || array(
      select added
      from experiment._day_sums(v_exposures, array_fill(1, array[cardinality(v_exposures)])) as added
    );
  end loop;
  v_sums := array(select summed from experiment._added_sums(v_sums) as summed);
  v_check.sums := cardinality(v_sums);
  select count(*) into v_check.wrong_sums
  from (
    select day_sum.position, day_sum.variation, day_sum.exposed_on, day_sum.stratum
    from (
      (
        select summed.* from unnest(v_sums) as summed
        except
        select stored.* from experiment.day_sum as stored where stored.experiment_id = v_experiment.experiment_id
      )
      union all
      (
        select stored.* from experiment.day_sum as stored where stored.experiment_id = v_experiment.experiment_id
        except
        select summed.* from unnest(v_sums) as summed
      )
    ) as day_sum
    group by day_sum.position, day_sum.variation, day_sum.exposed_on, day_sum.stratum
  ) as differing;
  if v_check.wrong_sums > 0 then
    delete from experiment.day_sum
    where day_sum.experiment_id = v_experiment.experiment_id;
    insert into experiment.day_sum
    select summed.* from unnest(v_sums) as summed;
  end if;

  v_periods := array(
    select period_sum
    from experiment.period_sum
    where period_sum.experiment_id = v_experiment.experiment_id
    order by period_sum.since, period_sum.variation
  );
  perform experiment._count_periods(v_experiment.experiment_id);
  v_check.sums := v_check.sums + cardinality(v_periods);
  v_check.wrong_sums := v_check.wrong_sums + (
    select count(*)
    from unnest(v_periods) as former
    full join (
      select * from experiment.period_sum where period_sum.experiment_id = v_experiment.experiment_id
    ) as present using (since, variation)
    where former.people is distinct from present.people
  );
  return v_check;
end;
$$;

comment on function experiment.check_exposures(text, int) is $$
Compares the exposures of an experiment with the events, and its sums with the exposures, and repairs what differs.
At most `most_people` people, drawn at random, are recomputed; those that differ are queued for the next refresh. The
sums, and the numbers of people by weights, are compared as a whole, and replaced when they differ. Nothing differs
unless events were changed by other means than the functions of this system, or an item of a metric has other contents.
Errors: CF002 for an unknown experiment (names the nearest), CF001 for an invalid `most_people`.
$$;

grant execute on function experiment.check_exposures(text, int) to insights_admin, insights_worker;
--! EndIncluded experiment/exposure/check_exposures.sql

--! Included experiment/results/_among.sql
create or replace function experiment._among(among text)
returns setof track.person_set_block
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_terms constant text[] := regexp_split_to_array(btrim(left(_among.among, 1001)), '\s*&\s*');
  v_invalid text;
  v_names text[];
begin
  select term.term into v_invalid
  from unnest(v_terms) as term (term)
  where term.term !~ '^~?\s*[a-z][a-z0-9_]*(\.[a-z0-9_]+)*$'
  limit 1;
  if found or length(_among.among) > 1000 or cardinality(v_terms) > 20 then
    perform common.refuse(
      'CF001',
      format('among is "%s"', left(_among.among, 100)),
      'Give names of at most 20 sets of people, with & between them and ~ before those to leave out.'
    );
  end if;

  v_names := array(select btrim(ltrim(entry.term, '~')) from unnest(v_terms) as entry (term));
  perform experiment.check_sets(v_names);
  perform track.check_sets(v_names);
  return query
  with term as materialized (
    select entry.position, entry.term like '~%' as is_left_out, btrim(ltrim(entry.term, '~')) as name
    from unnest(v_terms) with ordinality as entry (term, position)
  ),

  named as materialized (
    select term.position, set_block.block, set_block.people
    from term
    cross join lateral track.person_set_blocks(term.name) as set_block
  )

  select
    'among',
    blocks.block,
    bit_and(
      case
        when term.is_left_out then ~coalesce(named.people, b'0'::bit(4096))
        else coalesce(named.people, b'0'::bit(4096))
      end
    )::bit(4096)
  from generate_series(0, (select max(person.person_id) / 4096 from track.person)::int) as blocks (block)
  cross join term
  left join named on named.position = term.position and named.block = blocks.block
  group by blocks.block;
end;
$$;

comment on function experiment._among(text) is $$
@behavior -*
Returns the people of an expression of sets: names with `&` between them, and `~` before those to leave out.
Errors: CF001 for another expression, CF002 for an unknown set (names the nearest), CF010 for variations whose
people were deleted by retention, and cohorts that read them.
$$;

grant execute on function experiment._among(text) to insights_reader;
--! EndIncluded experiment/results/_among.sql

--! Included experiment/results/_assigned.sql
create or replace function experiment._assigned(
  experiment experiment.experiment,
  among track.person_set_block[] default null,
  kept experiment.day_sum[] default null,
  least_expected float8 default 10,
  least_users float8 default 0
)
returns experiment.drawn[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_id constant int := (experiment).experiment_id;
  v_started_at constant timestamptz := (experiment).started_at;
  v_count constant int := (select count(*) from experiment.variation where variation.experiment_id = v_id);
  v_since timestamptz[];
  v_weights float8[];
  v_numbers bigint[];
  v_users float8[];
begin
  -- The weights of the start are those of the whole first day.
  select
    array_agg(weighting.since order by weighting.since),
    array_agg(weighting.weights order by weighting.since)
  into v_since, v_weights
  from (
    select
      case when row_number() over (order by known.since) = 1 then '-infinity' else known.since end as since,
      known.weights
    from experiment.weighting as known
    where known.experiment_id = v_id
      and known.since >= coalesce(
        (
          select max(former.since)
          from experiment.weighting as former
          where former.experiment_id = v_id
            and former.since <= v_started_at
        ),
        '-infinity'
      )
  ) as weighting;
  if array_length(v_weights, 1) is null then
    return null;
  end if;

  -- The sums that are kept are of days on which the weights did not change.
  v_numbers := array(
    select coalesce(number.people, 0)
    from generate_series(1, cardinality(v_since)) as part (period)
    cross join generate_series(0, v_count - 1) as arm (place)
    left join (
      select entry.period, entry.variation, sum(entry.people) as people
      from (
        select width_bucket(period_sum.since, v_since) as period, period_sum.variation, period_sum.people
        from experiment.period_sum
        where period_sum.experiment_id = v_id
          and _assigned.among is null
          and _assigned.kept is null

        union all

        select
          width_bucket(stored.exposed_on::timestamp at time zone 'UTC', v_since), stored.variation, stored.people
        from unnest(_assigned.kept) as stored
        where stored.position = -1
          and stored.variation >= 0

        union all

        select width_bucket(exposure.exposed_at, v_since), exposure.variation, 1
        from experiment.exposure
        join unnest(_assigned.among) as member
          on member.block = exposure.person_id / 4096
          and get_bit(member.people, (exposure.person_id % 4096)::int) <> 0
        where _assigned.among is not null
          and exposure.experiment_id = v_id
          and exposure.is_counted
          and exposure.variation is not null
      ) as entry
      group by entry.period, entry.variation
    ) as number on number.period = part.period and number.variation = arm.place
    order by part.period, arm.place
  );
  v_users := (
    select array_agg(v_numbers[(period - 1) * v_count + 1 : period * v_count]::float8[] order by period)
    from generate_subscripts(v_since, 1) as period
  );
  return experiment._drawn(v_users, v_weights, least_expected, least_users);
end;
$$;

comment on function experiment._assigned(
  experiment.experiment, track.person_set_block[], experiment.day_sum[], float8, float8
) is $$
@behavior -*
Returns how many people each variation has, and what the weights at the time of their exposure make expect.
By part of the time (`experiment._drawn`). Of all people, by `experiment.period_sum`; of those of `among`, by their
exposures; or of the sums of days that are `kept` of an ended experiment.
$$;

grant execute on function experiment._assigned(
  experiment.experiment, track.person_set_block[], experiment.day_sum[], float8, float8
)
to insights_reader;
--! EndIncluded experiment/results/_assigned.sql

--! Included experiment/results/_health.sql
create or replace function experiment._shown_drawn(drawn experiment.drawn, smallest_group int)
returns experiment.drawn
language sql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select row(
    shown.users,
    array(
      select shown.share * entry.figure from unnest((drawn).expected) with ordinality as entry (figure, n) order by n
    ),
    array(
      select shown.share * entry.figure from unnest((drawn).covariances) with ordinality as entry (figure, n) order by n
    )
  )::experiment.drawn
  from (
    select
      array_agg(trunc(entry.figure / smallest_group) * smallest_group order by entry.n) as users,
      sum(trunc(entry.figure / smallest_group) * smallest_group) / nullif(sum(entry.figure), 0) as share
    from unnest((drawn).users) with ordinality as entry (figure, n)
  ) as shown;
$$;

comment on function experiment._shown_drawn(experiment.drawn, int) is $$
@behavior -*
Returns numbers of people rounded down to multiples of `smallest_group`, with the expectation of as many people.
$$;

grant execute on function experiment._shown_drawn(experiment.drawn, int) to insights_reader;

create or replace function experiment._health(
  experiment experiment.experiment,
  among track.person_set_block[] default null,
  smallest_group int default 1
)
returns experiment.health
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_result experiment.health;
  v_id constant int := (experiment).experiment_id;
  v_variations constant int := (select count(*) from experiment.variation where variation.experiment_id = v_id);
  v_sums constant experiment.day_sum[] := array(
    select stored
    from experiment._arm_sums(v_id, _health.among) as stored
    where stored.position = -1
  );
  v_parts experiment.drawn[];
  v_drawn experiment.drawn;
  v_oldest constant timestamptz := (select setting.oldest_event from track.setting);
begin
  v_result.experiment := (experiment).experiment_key;
  v_result.state := (experiment).state;
  v_result.population := (experiment).population;
  if _health.among is null then
    v_result.as_of := (select kept.kept_at from experiment.kept where kept.experiment_id = v_id);
  end if;
  v_result.variations := array(
    select variation.variation_key
    from experiment.variation
    where variation.experiment_id = v_id
    order by variation.variation
  );
  v_result.people := array(
    select coalesce(sum(stored.people), 0)::bigint
    from generate_series(0, v_variations - 1) as place
    left join unnest(v_sums) as stored on stored.variation = place
    group by place
    order by place
  );
  select
    min(stored.exposed_on), max(stored.exposed_on),
    coalesce(sum(stored.people) filter (where stored.variation = -1), 0),
    coalesce(sum(stored.people) filter (where stored.variation = -2), 0)
  into v_result.first_day, v_result.last_day, v_result.multiple, v_result.not_counted
  from unnest(v_sums) as stored;

  v_parts := coalesce(
    (select kept.drawn from experiment.kept where kept.experiment_id = v_id and v_result.as_of is not null),
    experiment._assigned(
      _health.experiment, _health.among, case when v_result.as_of is not null then v_sums end,
      greatest(
        -- Rounding is small beside the deviation of this number.
        case when smallest_group > 1 then 40.0 * smallest_group else 10 end,
        -- At most 50 parts.
        (select sum(figure) from unnest(v_result.people) as entry (figure)) / (50.0 * v_variations)
      )
    )
  );
  if v_parts is not null then
    v_drawn := experiment._added_drawn(v_parts);
    v_result.expected := case
      when exists (select from unnest((v_drawn).users) as entry (figure) where figure >= smallest_group)
        then (v_drawn).expected
    end;
  end if;
  if v_result.expected is not null then
    -- A p-value of exact numbers of few people would show them.
    v_result.srm_p := experiment._mismatch_p(
      experiment._shown_drawn(v_drawn, smallest_group),
      array(select experiment._shown_drawn(part, smallest_group) from unnest(v_parts) as part)
    );
  end if;
  if smallest_group > 1 then
    v_result.srm_p := experiment._rounded(v_result.srm_p, v_result.srm_p / 10);
    v_result.people := array(
      select figure / smallest_group * smallest_group
      from unnest(v_result.people) with ordinality as entry (figure, place)
      order by entry.place
    );
    v_result.expected := array(
      select experiment._rounded(figure, 10) from unnest(v_result.expected) with ordinality as entry (figure, place)
      order by entry.place
    );
    -- The day of an exposure among few people is that of a person.
    if _health.among is not null or (select max(figure) from unnest(v_result.people) as entry (figure)) = 0 then
      v_result.first_day := null;
      v_result.last_day := null;
      v_result.expected := null;
    end if;
    v_result.multiple := v_result.multiple / smallest_group * smallest_group;
    v_result.not_counted := v_result.not_counted / smallest_group * smallest_group;
  end if;
  v_result.is_mismatched := coalesce(v_result.srm_p < 0.001, false);
  v_result.warnings := array_remove(
    array[
      case
        when v_result.is_mismatched then format(
          'Sample ratio mismatch (p = %s): people are not distributed by the weights. Do not use the results.',
          case when v_result.srm_p < 1e-10 then 'less than 1e-10' else round(v_result.srm_p::numeric, 10)::text end
        )
        when v_result.srm_p < 0.01 then format(
          'A sample ratio mismatch is likely (p = %s): look for its cause before you use the results.',
          round(v_result.srm_p::numeric, 4)
        )
      end,
      case
        when v_result.multiple > 0 then format(
          '%s people saw several variations, and are not counted.', v_result.multiple
        )
      end,
      case
        when (experiment).population <> 'counted' then format(
          'The people of the set "%s" are counted, not those of "counted".', (experiment).population
        )
      end,
      case
        when v_result.as_of is null
          and concat((experiment).population, ' ', (experiment).strata) ~ '(^| set\.)(arm|cohort|segment)\.'
        then (
          select format(
            'The set "%s" reads people who were deleted by a rule of retention: results are those of the others.',
            min(incomplete.name)
          )
          from track.incomplete_sets() as incomplete (name)
          where incomplete.name in ((experiment).population, substr((experiment).strata, 5))
          having count(*) > 0
        )
      end,
      case
        when v_oldest > (experiment).started_at and v_result.as_of is null then format(
          'Events before %s were deleted by a rule of retention: exposures and outcomes since the start are missing.',
          to_char(v_oldest at time zone 'UTC', 'YYYY-MM-DD')
        )
      end
    ],
    null
  );
  return v_result;
end;
$$;

comment on function experiment._health(experiment.experiment, track.person_set_block[], int) is $$
@behavior -*
Computes the result of `experiment.health`, with the privileges of the caller.
Numbers are rounded down to multiples of `smallest_group`.
$$;

grant execute on function experiment._health(experiment.experiment, track.person_set_block[], int)
to insights_reader;
--! EndIncluded experiment/results/_health.sql

-- from experiment/policies.sql
grant select on experiment.period_sum to insights_reader, insights_admin, insights_worker;
drop policy if exists all_rows on experiment.period_sum;
create policy all_rows on experiment.period_sum for select
to insights_reader, insights_admin, insights_worker using (true);

--! Included analytics/cohorts/incomplete_sets.sql
create or replace function analytics.incomplete_sets()
returns setof text
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  select incomplete.name
  from analytics._incomplete_sets() as incomplete
  where incomplete.name ~ '^(cohort|segment)\.'
  order by incomplete.name;
end;
$$;

comment on function analytics.incomplete_sets() is $$
@behavior -*
Returns the live cohorts and segments whose rules read people that a rule of retention has deleted.
See `track.incomplete_sets`.
$$;

grant execute on function analytics.incomplete_sets() to insights_reader;
--! EndIncluded analytics/cohorts/incomplete_sets.sql

--! Included analytics/funnels/_valued_journeys.sql
create or replace function analytics._valued_journeys(
  event_types int[], properties int[], with_any boolean, since timestamptz, until timestamptz
)
returns table (
  person_id bigint, event_type_id int, is_automatic boolean, occurred_at timestamptz[], item_ids int[], value_ids int[]
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the period.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_first_day constant date := (_valued_journeys.since at time zone 'UTC')::date;
  v_end_day constant date := (_valued_journeys.until at time zone 'UTC')::date + 1;
begin
  return query
  with declared as materialized (
    select entry.event_type_id, entry.property_id
    from unnest(_valued_journeys.event_types, _valued_journeys.properties) as entry (event_type_id, property_id)
    where entry.property_id is not null
  )

  select
    step.person_id, step.event_type_id, step.is_automatic, step.occurred_at[slice.before + 1:slice.until],
    step.item_ids[slice.before + 1:slice.until],
    case
      when declared.property_id is not null then coalesce(
        step_value.value_ids[slice.before + 1:slice.until], array_fill(0, array[slice.until - slice.before])
      )
    end
  from track.step
  left join declared on declared.event_type_id = step.event_type_id
  left join track.step_value
    on step_value.person_id = step.person_id
    and step_value.property_id = declared.property_id
    and step_value.is_automatic = step.is_automatic
    and step_value.since = step.since
  cross join lateral (
    select
      width_bucket(_valued_journeys.since - interval '1 microsecond', step.occurred_at) as before,
      width_bucket(_valued_journeys.until - interval '1 microsecond', step.occurred_at) as until
  ) as slice
  where (step.event_type_id = any (_valued_journeys.event_types) or _valued_journeys.with_any and not step.is_automatic)
    and step.person_id <> 0
    and step.since > v_first_day - 366
    and step.since < v_end_day
    and slice.before < slice.until;
end;
$$;

comment on function analytics._valued_journeys(int[], int[], boolean, timestamptz, timestamptz) is $$
Returns the times, items and values of events of people in a period as of the last refresh, with the caller's rights.
Of these event types, and `with_any` of all events that are not automatic; without person 0. `properties`: the declared
property of each of the types, null for none. `value_ids`: for these, as in `track.step_value`; else null.
A person and event type can have several rows, in each of which the times ascend.
$$;

grant execute on function analytics._valued_journeys(int[], int[], boolean, timestamptz, timestamptz)
to insights_reader;
--! EndIncluded analytics/funnels/_valued_journeys.sql

--! Included analytics/funnels/_funnel_attempts.sql
/* Times of one event by person: a row per person, with the times in order. */
create or replace aggregate analytics._concatenated(anycompatiblearray) (
  sfunc = array_cat,
  stype = anycompatiblearray,
  parallel = safe
);

comment on aggregate analytics._concatenated(anycompatiblearray) is $$Returns the arrays of a group as one.$$;

grant execute on function analytics._concatenated(anycompatiblearray) to insights_reader;

create or replace function analytics._has_ties(every timestamptz[], hits timestamptz[], step_count int)
returns boolean
language sql
immutable
parallel safe
begin atomic
  select exists (
    select
    from unnest(_has_ties.hits) as hit (at)
    cross join lateral (select width_bucket(hit.at, _has_ties.every) as number offset 0) as place
    cross join generate_series(-_has_ties.step_count, 0) as distance
    where _has_ties.every[place.number + distance] = _has_ties.every[place.number + distance + 1]
  );
end;

comment on function analytics._has_ties(timestamptz[], timestamptz[], int) is $$
Returns whether one of the events `hits`, or of the `step_count` events before it, has the time of another event.
`every`: the times of all events of a person, ascending.
$$;

grant execute on function analytics._has_ties(timestamptz[], timestamptz[], int) to insights_reader;

create or replace function analytics._read_properties(filters analytics.step_filter[], types int[], property text)
returns int[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return (
    with wanted as (
      select distinct
        filter.event_type_id,
        unnest(array_remove(array[filter.property ->> 'name', _read_properties.property], null)) as name
      from unnest(filters) as filter
    )

    select array_agg(declared.property_id order by entry.number)
    from unnest(types) with ordinality as entry (event_type_id, number)
    left join wanted on wanted.event_type_id = entry.event_type_id
    left join track.declared_property as declared
      on declared.event_type_id = entry.event_type_id
      and declared.property = wanted.name
    having count(distinct entry.number) = count(*)
      and bool_and(wanted.name is null or track.is_property_complete(entry.event_type_id, wanted.name) is true)
      and not exists (
        select
        from unnest(filters) as filter
        -- 1 and "1" are one value in the journeys, of which only the first 200 characters are stored.
        where jsonb_typeof(filter.property -> 'is') <> 'string'
          or filter.property ->> 'is' ~ '^(.{200,}|-?[0-9].*|true|false|[[{].*)$'
          or filter.event_type_id = 0 and coalesce(filter.property ->> 'name', _read_properties.property) is not null
      )
  );
end;
$$;

comment on function analytics._read_properties(analytics.step_filter[], int[], text) is $$
Returns the declared property that a funnel reads of each of its event types, null for a type of which it reads none.
Null when the values have to be read from the events: a property is not declared or not complete, two of a type are
read, or a value is not a text. `property`: that of the breakdown, which is read of all types.
$$;

grant execute on function analytics._read_properties(analytics.step_filter[], int[], text) to insights_reader;

/*
 * The statements have these parameters: $1 the filters, $2 the bounds, $3 the visible periods of each filter and, at
 * the end, of any event, $4 and $5 the people as blocks and bits, $6 the conversion window, $7 the event types, $8
 * whether all events are read, $9 the optional steps, one bit each, $10 the property, $11 the declared property of each
 * event type, $12 the value of each filter, and $13 the people as a list.
 */

/*
 * `at1`, `at2`, …: the times of the steps. From each time of a step, the latest time of the step before it is found
 * by binary search, and from there the latest one of the step before that: the latest possible start, with the latest
 * end of the window. When the first time whose start is late enough is found, the search ends. In a strict funnel, the
 * steps before a time are the events before it in `every`, the list of all events.
 */
create or replace function analytics._search_statement(
  filters analytics.step_filter[],
  step_count int,
  is_strict boolean,
  by_bucket boolean,
  only_visible boolean,
  by_values boolean
)
returns text
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_lists text := '';
  v_columns text := 'journey.at1';
  v_found text := '';
  v_start text := '%s';
  v_starts text[] := '{"start.found_1"}';
  v_forward text := '';
  -- In a strict funnel: the conditions of an attempt, from the place of its last step in the list of all events.
  v_chain text := '';
  v_every text := '';
  v_with_items constant boolean := exists (
    select from unnest(filters) as filter where not filter.is_exclusion and filter.items is not null
  );
  v_types constant text := quote_literal((
    select array_agg(filter.event_type_id) from unnest(filters) as filter where not filter.is_exclusion
  )) || '::int[]';
begin
  for v_number in 1 .. step_count loop
    v_lists := v_lists || format(
      ', %2$s as at%1$s',
      v_number,
      case
        when (filters[v_number]).items is null
          and (filters[v_number]).property is null
          and not only_visible then format(
          $query$
          case
            when bool_and(journey.is_automatic) filter (where journey.event_type_id = %1$s)
              = bool_or(journey.is_automatic) filter (where journey.event_type_id = %1$s)
              then analytics._concatenated(journey.occurred_at order by journey.person_id, journey.first_at)
                filter (where journey.event_type_id = %1$s)
            else array(
              select unnest(
                analytics._concatenated(journey.occurred_at order by journey.person_id, journey.first_at)
                  filter (where journey.event_type_id = %1$s)
              )
              order by 1
            )
          end$query$,
          (filters[v_number]).event_type_id
        )
        else format(
          $query$
          array(
            select used.at
            from unnest(
              analytics._concatenated(journey.occurred_at order by journey.person_id, journey.first_at)
                filter (where journey.event_type_id = %1$s),
              %2$s,
              %4$s
            ) as used (at, item_id, value_id)
            where %3$s
            order by 1
          )$query$,
          (filters[v_number]).event_type_id,
          case
            when v_with_items then format(
              $query$analytics._concatenated(journey.item_ids order by journey.person_id, journey.first_at)
                filter (where journey.event_type_id = %s)$query$,
              (filters[v_number]).event_type_id
            )
            else $query$'{}'::int[]$query$
          end,
          concat_ws(
            ' and ',
            case
              when (filters[v_number]).items is not null
                then format('used.item_id = any (($1)[%s].items)', v_number)
            end,
            case
              when (filters[v_number]).property is not null then format('used.value_id = ($12)[%s]', v_number)
            end,
            case when only_visible then format('used.at <@ ($3)[%s]', v_number) end
          ),
          case
            when (filters[v_number]).property is not null then format(
              $query$analytics._concatenated(journey.value_ids order by journey.person_id, journey.first_at)
                filter (where journey.event_type_id = %s)$query$,
              (filters[v_number]).event_type_id
            )
            else $query$'{}'::int[]$query$
          end
        )
      end
    );
    continue when v_number = 1;

    v_columns := v_columns || format(', journey.at%s', v_number);
    if is_strict then
      v_chain := (
        select string_agg(
          format(
            ' and attempt.at%1$s[width_bucket(attempt.every[ended.place - %2$s], attempt.at%1$s)]'
              || ' = attempt.every[ended.place - %2$s]',
            number, v_number - number
          ),
          '' order by number desc
        )
        from generate_series(1, v_number - 1) as number
      );
    end if;
    -- The start of the attempt that a time of this step belongs to.
    v_start := format(v_start, format('attempt.at%1$s[width_bucket(%%s, attempt.at%1$s)]', v_number - 1));
    v_found := v_found || format(
      $query$
      left join lateral (
        select later.at
        from (
          select unnest(attempt.at%1$s%2$s) as at
        ) as later%4$s
        where later.at <= %3$s + $6%5$s
        limit 1
      ) as reach_%1$s on true$query$,
      v_number,
      case
        when v_number > 2 then format(
          $query$[width_bucket(reach_%1$s.at - interval '1 microsecond', attempt.at%2$s) + 1:]$query$,
          v_number - 1, v_number
        )
        else ''
      end,
      case
        when is_strict then format('attempt.every[ended.place - %s]', v_number - 1)
        else format(v_start, 'later.at')
      end,
      case
        when is_strict
          then ' cross join lateral (select width_bucket(later.at, attempt.every) as place) as ended'
        else ''
      end,
      v_chain
    );
    v_starts := v_starts || case
      when is_strict
        then format('attempt.every[width_bucket(reach_%1$s.at, attempt.every) - %2$s]', v_number, v_number - 1)
      else format(v_start, format('reach_%s.at', v_number))
    end;
    v_forward := v_forward || format(
      $query$
      cross join lateral (
        select
          case
            when start.reached >= %1$s
              then attempt.at%1$s[
                width_bucket(time_%2$s.at - interval '1 microsecond', attempt.at%1$s) + 1
              ]
          end as at
      ) as time_%1$s$query$,
      v_number, v_number - 1
    );
  end loop;

  if is_strict then
    v_every := format(
      $query$
      select
        seen.*,
        seen.has_automatic or analytics._has_ties(seen.every, %1$s, %2$s) as is_walked
      from (
        select journey.person_id, journey.has_automatic, %3$s as every%4$s
        from journey
        where cardinality(journey.at1) > 0
        offset 0
      ) as seen$query$,
      coalesce(
        (
          select string_agg(format('seen.at%s', number), ' || ' order by number)
          from generate_series(2, step_count) as number
        ),
        $query$'{}'::timestamptz[]$query$
      ),
      step_count,
      case
        when only_visible then format(
          $query$array(
            select happened.at
            from (
              select unnest(journey.every) as at
            ) as happened
            where happened.at <@ ($3)[cardinality($1) + 1]%s
            order by 1
          )$query$,
          (
            select string_agg(
              format(' or journey.at%1$s[width_bucket(happened.at, journey.at%1$s)] = happened.at', number),
              '' order by number
            )
            from generate_series(1, step_count) as number
          )
        )
        else 'journey.every'
      end,
      (
        select string_agg(format(', journey.at%s', number), '' order by number)
        from generate_series(1, step_count) as number
      )
    );
  end if;

  return format(
    $query$
    with member as materialized (
      select entry.block, entry.people from unnest($4, $5) as entry (block, people)
    ),

    -- Sorted once, for all lists of times.
    journey as (
      select journey.person_id%1$s%13$s
      from (
        select
          journey.person_id, journey.event_type_id, journey.is_automatic, journey.occurred_at, journey.item_ids%3$s,
          journey.occurred_at[1] as first_at
        from %2$s as journey
        join member
          on member.block = journey.person_id / 4096
          and get_bit(member.people, (journey.person_id %% 4096)::int) <> 0
      ) as journey
      group by journey.person_id
      having bool_or(journey.event_type_id = ($1)[1].event_type_id)
    ),

%12$s    attempt as (
      select journey.person_id, %4$s, %5$s%15$s
      from %16$s as journey%6$s
      where cardinality(journey.at1) > 0%17$s
      offset 0
    )

    select attempt.person_id, attempt.bucket, null::text, start.reached, array[time_1.at%7$s]
    from attempt%8$s
    cross join lateral (
      select
        %9$s as reached,
        case %10$s else attempt.at1[1] end as at
    ) as start
    cross join lateral (select start.at) as time_1%11$s
    $query$,
    v_lists,
    case
      when by_values
        then format('analytics._valued_journeys($7, $11, %L, ($2)[1], ($2)[cardinality($2)])', is_strict)
      else format(
        'analytics._journeys(%s, %L, %L, ($2)[1], ($2)[cardinality($2)])', v_types, is_strict, v_with_items
      )
    end,
    case when by_values then ', journey.value_ids' else '' end,
    case when by_bucket then 'part.bucket' else '1 as bucket' end,
    case when by_bucket then replace(v_columns, 'journey.at1', 'part.at as at1') else v_columns end,
    case
      when by_bucket then $query$
      cross join lateral (
        select entered.bucket, array_agg(entered.at order by entered.at) as at
        from (
          select width_bucket(listed.at, $2) as bucket, listed.at
          from unnest(journey.at1) as listed (at)
        ) as entered
        group by entered.bucket
      ) as part$query$
      else ''
    end,
    (
      select string_agg(format(', time_%s.at', number), '' order by number)
      from generate_series(2, step_count) as number
    ),
    v_found,
    (
      select 'case ' || string_agg(format('when reach_%1$s.at is not null then %1$s', number), ' ' order by number desc)
        || ' else 1 end'
      from generate_series(2, step_count) as number
    ),
    (
      select
        string_agg(format('when reach_%s.at is not null then %s', number, v_starts[number]), ' ' order by number desc)
      from generate_series(2, step_count) as number
    ),
    v_forward,
    -- Read twice: those with ties are walked.
    case when is_strict then format('    listed as materialized (%s),%s', v_every, E'\n\n') else '' end,
    case
      when is_strict then format(
        $query$, array(
          select unnest(
            analytics._concatenated(journey.occurred_at order by journey.person_id, journey.first_at)
              filter (where not journey.is_automatic)
          )
          order by 1
        ) as every,
        coalesce(bool_or(journey.is_automatic) filter (where journey.event_type_id = any (%s)), false) as has_automatic
        $query$,
        v_types
      )
      else ''
    end,
    is_strict,
    case when is_strict then ', journey.every' else '' end,
    case when is_strict then 'listed' else 'journey' end,
    case when is_strict then ' and not journey.is_walked' else '' end
  );
end;
$$;

comment on function analytics._search_statement(
  analytics.step_filter[], int, boolean, boolean, boolean, boolean
) is $$
Returns the statement that finds the attempts of people in an ordered or strict funnel of different events.
By binary search; see `analytics._funnel_attempts`. `by_bucket`: one attempt per person and bucket of its start.
`by_values`: properties are read, from the journeys. In a strict funnel it leaves out the people of its CTE `listed`
that are `is_walked`, because events of one time count in the order of the steps, and automatic events, which are in no
list of all events, are steps.
$$;

grant execute on function analytics._search_statement(
  analytics.step_filter[], int, boolean, boolean, boolean, boolean
)
to insights_reader;

create or replace function analytics._touch_statement(
  filters analytics.step_filter[], attribution text, only_visible boolean
)
returns text
language sql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select format(
    $query$
    select distinct on (touched.person_id) touched.person_id, property_value.value
    from (
      select journey.person_id, place.at, place.value_id
      from analytics._valued_journeys($7, $11, false, ($2)[1], ($2)[cardinality($2)]) as journey
      join unnest($4, $5) as entry (block, people)
        on entry.block = journey.person_id / 4096
        and get_bit(entry.people, (journey.person_id %% 4096)::int) <> 0
      cross join lateral (
        select used.at, used.value_id
        from unnest(journey.occurred_at, journey.item_ids, journey.value_ids) as used (at, item_id, value_id)
        where used.value_id > 0
          and case journey.event_type_id %1$s else false end
        order by used.at %2$s
        fetch first 1 row with ties
      ) as place
    ) as touched
    join track.property_value on property_value.value_id = touched.value_id
    order by touched.person_id, touched.at %2$s, property_value.value
    $query$,
    string_agg(
      format(
        'when %s then %s',
        filter.event_type_id,
        concat_ws(
          ' and ',
          'true',
          case when filter.items is not null then format('used.item_id = any (($1)[%s].items)', filter.ordinality) end,
          case when filter.property is not null then format('used.value_id = ($12)[%s]', filter.ordinality) end,
          case when only_visible then format('used.at <@ ($3)[%s]', filter.ordinality) end
        )
      ),
      ' ' order by filter.ordinality
    ),
    case when attribution = 'last_touch' then 'desc' else '' end
  )
  from unnest(filters) with ordinality as filter
  where not filter.is_exclusion
$$;

comment on function analytics._touch_statement(analytics.step_filter[], text, boolean) is $$
Returns the statement that finds the value of people: that of their first or last step with a value (`attribution`).
For a funnel of different events whose properties are read from the journeys; see `analytics._funnel_attempts`.
$$;

grant execute on function analytics._touch_statement(analytics.step_filter[], text, boolean) to insights_reader;

create or replace function analytics._walk_statement(
  filters analytics.step_filter[],
  step_count int,
  step_order text,
  source text,
  attribution text,
  by_bucket boolean,
  only_visible boolean,
  members text
)
returns text
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_filter analytics.step_filter;
  v_steps text := '0';
  v_exclusions text := '0';
  v_bit int;
  v_expression text;
  v_source text;
  -- The steps that begin an attempt.
  v_entry constant int := case when step_order = 'unordered' then (1 << step_count) - 1 else 1 end;
  -- The first step of an attempt is in its bucket, and the step that gives the value has this value.
  v_masked constant text := concat(
    'hit.steps',
    case
      when by_bucket and step_order <> 'unordered'
        then ' & case when hit.at >= ($2)[entered.bucket + 1] then ~1 else ~0 end'
    end,
    case
      when attribution like 'step\_%' then format(
        ' & case when hit.steps & %1$s <> 0 and hit.value is distinct from given.value then ~%1$s else ~0 end',
        1 << (substr(attribution, 6)::int - 1)
      )
    end
  );
begin
  for v_number in 1 .. cardinality(filters) loop
    v_filter := filters[v_number];
    v_bit := case
      when v_filter.is_exclusion then (1 << v_filter.last_step) - (1 << v_filter.first_step)
      else 1 << (v_number - 1)
    end;
    v_expression := format(
      ' | case when %s then %s else 0 end',
      concat_ws(
        ' and ',
        case
          when v_filter.event_type_id = 0 then 'not happened.is_automatic'
          else format('happened.event_type_id = %s', v_filter.event_type_id)
        end,
        case when v_filter.items is not null then format('happened.item_id = any (($1)[%s].items)', v_number) end,
        case
          when v_filter.property is not null and source = 'values'
            then format('happened.value_id = ($12)[%s]', v_number)
          when v_filter.property is not null then format(
            $query$happened.properties -> (($1)[%1$s].property ->> 'name') = ($1)[%1$s].property -> 'is'$query$,
            v_number
          )
        end,
        case when only_visible then format('happened.at <@ ($3)[%s]', v_number) end
      ),
      v_bit
    );
    if v_filter.is_exclusion then
      v_exclusions := v_exclusions || v_expression;
    else
      v_steps := v_steps || v_expression;
    end if;
  end loop;

  v_source := case source
    when 'journeys' then
      $query$
      select
        journey.person_id, journey.event_type_id, used.at, used.item_id, null::jsonb as properties,
        journey.is_automatic, null::text as value
      from analytics._journeys($7, $8, true, ($2)[1], ($2)[cardinality($2)]) as journey
      join member
        on member.block = journey.person_id / 4096
        and get_bit(member.people, (journey.person_id % 4096)::int) <> 0
      cross join lateral unnest(journey.occurred_at, journey.item_ids) as used (at, item_id)
      $query$
    when 'values' then
      $query$
      select
        journey.person_id, journey.event_type_id, used.at, used.item_id, used.value_id, journey.is_automatic,
        property_value.value
      from analytics._valued_journeys($7, $11, $8, ($2)[1], ($2)[cardinality($2)]) as journey
      join member
        on member.block = journey.person_id / 4096
        and get_bit(member.people, (journey.person_id % 4096)::int) <> 0
      cross join lateral unnest(journey.occurred_at, journey.item_ids, journey.value_ids)
        as used (at, item_id, value_id)
      left join track.property_value on property_value.value_id = used.value_id and $10 is not null
      $query$
    else
      format(
        $query$
        select
          event.person_id, event.event_type_id, event.occurred_at as at, event.item_id, event.properties,
          event_type.is_automatic or source.is_automatic as is_automatic,
          left(event.properties ->> $10, 200) as value
        from track.event
        join track.event_type on event_type.event_type_id = event.event_type_id
        join track.source on source.source_id = event.source_id
        %s
        where event.occurred_at >= ($2)[1]
          and event.occurred_at < ($2)[cardinality($2)]
          and (event.event_type_id = any ($7) or $8)
          and event.person_id <> 0
        $query$,
        case source
          when 'events' then
            $query$
            join member
              on member.block = event.person_id / 4096
              and get_bit(member.people, (event.person_id % 4096)::int) <> 0
            $query$
          else 'join unnest($13) as listed (person_id) on listed.person_id = event.person_id'
        end
      )
  end;

  return format(
    $query$
    with member as materialized (%7$s),

    hit as (
      select happened.person_id, happened.at, happened.steps, happened.exclusions, happened.value
      from (
        select
          happened.person_id, happened.at, happened.value, happened.is_automatic, %1$s as steps, %2$s as exclusions
        from (%3$s) as happened
      ) as happened
      where happened.steps <> 0
        or happened.exclusions <> 0
        or %4$s
    ),

    journey as (%5$s)

    select journey.person_id, journey.bucket, journey.value, attempt.reached, attempt.times
    from journey
    cross join lateral %6$s as attempt
    where attempt.reached > 0
    $query$,
    v_steps,
    v_exclusions,
    v_source,
    case
      when step_order <> 'strict' then 'false'
      when only_visible then 'not happened.is_automatic and happened.at <@ ($3)[cardinality($1) + 1]'
      else 'not happened.is_automatic'
    end,
    format(
      $query$
      select
        %1$s as person_id, %2$s as bucket, %3$s as value,
        array_agg(hit.at order by hit.at, hit.steps <> 0, hit.steps, hit.exclusions) as at,
        array_agg(%4$s order by hit.at, hit.steps <> 0, hit.steps, hit.exclusions) as steps,
        array_agg(hit.exclusions order by hit.at, hit.steps <> 0, hit.steps, hit.exclusions) as exclusions
      from hit%5$s
      group by %6$s
      having bool_or(%4$s & %7$s <> 0)
      $query$,
      'hit.person_id',
      case when by_bucket then 'entered.bucket' else '1' end,
      case
        when attribution is null then 'null::text'
        when attribution in ('first_touch', 'last_touch') then format(
          $query$(
            array_agg(hit.value order by hit.at%s, hit.value) filter (where hit.steps <> 0 and hit.value is not null)
          )[1]$query$,
          case when attribution = 'last_touch' then ' desc' end
        )
        when attribution = 'all_events' then 'hit.value'
        else 'given.value'
      end,
      v_masked,
      concat(
        case
          when by_bucket then format(
            $query$
            join (
              select distinct hit.person_id, width_bucket(hit.at, $2) as bucket
              from hit
              where hit.steps & %s <> 0
            ) as entered
              on entered.person_id = hit.person_id
              and hit.at >= ($2)[entered.bucket]
              and hit.at <= ($2)[entered.bucket + 1] + $6
            $query$,
            v_entry
          )
        end,
        case
          when attribution like 'step\_%' then format(
            $query$
            left join (
              select distinct hit.person_id, hit.value
              from hit
              where hit.steps & %s <> 0
            ) as given on given.person_id = hit.person_id
            $query$,
            1 << (substr(attribution, 6)::int - 1)
          )
        end
      ),
      concat_ws(
        ', ',
        'hit.person_id',
        case when by_bucket then 'entered.bucket' end,
        case when attribution = 'all_events' then 'hit.value' when attribution like 'step\_%' then 'given.value' end
      ),
      v_entry
    ),
    case
      when step_order = 'unordered' then format(
        'analytics._walk_unordered(journey.at, journey.steps, journey.exclusions, %s, $6, %s)',
        step_count,
        case when by_bucket then '($2)[journey.bucket + 1]' else $query$'infinity'$query$ end
      )
      else format(
        $query$(
          select walked.reached, walked.times
          from analytics._walk_steps(
            journey.at, journey.steps, journey.exclusions, %s, $6, $9, %s
          ) as walked
          where not walked.is_excluded
        )$query$,
        step_count, case when step_order = 'strict' then 'true' else 'false' end
      )
    end,
    members
  );
end;
$$;

comment on function analytics._walk_statement(
  analytics.step_filter[], int, text, text, text, boolean, boolean, text
) is $$
Returns the statement that finds the attempts of people in any funnel, by walking through their events.
See `analytics._funnel_attempts`. `source`: `journeys`, `values` (journeys with properties), `events` (properties of
the events themselves), or `listed` (these, of the people $13). `by_bucket`: one attempt per person and bucket of its
start. `members`: the query of the people, as blocks and bits.
$$;

grant execute on function analytics._walk_statement(
  analytics.step_filter[], int, text, text, text, boolean, boolean, text
)
to insights_reader;

create or replace function analytics._funnel_attempts(
  filters analytics.step_filter[],
  bounds timestamptz[],
  step_order text,
  conversion_window interval,
  among text,
  property text,
  attribution text,
  smallest_group int
)
returns table (person_id bigint, bucket int, value text, reached int, times timestamptz[])
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
-- A row has the journey of a person.
set work_mem to '64MB'
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_since constant timestamptz := bounds[1];
  v_until constant timestamptz := bounds[cardinality(bounds)];
  v_by_bucket constant boolean := cardinality(bounds) > 2;
  v_step_count constant int := (select count(*) from unnest(filters) as filter where not filter.is_exclusion);
  v_types constant int[] := array(
    select distinct filter.event_type_id from unnest(filters) as filter where filter.event_type_id <> 0
  );
  v_with_any constant boolean := step_order = 'strict'
    or exists (select from unnest(filters) as filter where filter.event_type_id = 0);
  v_with_values constant boolean := _funnel_attempts.property is not null
    or exists (select from unnest(filters) as filter where filter.property is not null);
  -- Null: the values are read from the events.
  v_properties constant int[] := case
    when v_with_values then analytics._read_properties(filters, v_types, _funnel_attempts.property)
  end;
  v_source constant text := case
    when not v_with_values then 'journeys'
    when v_properties is not null then 'values'
    else 'events'
  end;
  -- A value without a key is -1, so that it is equal to none.
  v_values constant int[] := array(
    select
      coalesce(
        (
          select property_value.value_id
          from track.property_value
          where property_value.property_id = v_properties[array_position(v_types, filter.event_type_id)]
            and property_value.value = filter.property ->> 'is'
        ),
        -1
      )
    from unnest(filters) with ordinality as filter
    order by filter.ordinality
  );
  v_optional constant int := (
    select coalesce(sum(1 << (filter.first_step - 1)), 0)
    from unnest(filters) as filter
    where filter.is_optional
  );
  -- Where no event is two steps, and none is optional.
  v_by_search constant boolean := step_order in ('ordered', 'strict')
    and v_source <> 'events'
    and (
      _funnel_attempts.property is null
      or not v_by_bucket and _funnel_attempts.attribution in ('first_touch', 'last_touch')
    )
    and v_optional = 0
    and not exists (select from unnest(filters) as filter where filter.event_type_id = 0)
    and (
      select count(distinct filter.event_type_id) = v_step_count
      from unnest(filters) as filter
      where not filter.is_exclusion
    );
  v_visible tstzmultirange[];
  v_blocks int[];
  v_people bit(4096)[];
  v_walkers bit(4096)[];
  v_queued bigint[];
  v_statement text;
begin
  select array_agg(member.block order by member.block), array_agg(member.people order by member.block)
  into v_blocks, v_people
  from analytics._members(_funnel_attempts.among, _funnel_attempts.smallest_group) as member;
  if smallest_group is not null then
    v_visible := array(
      select
        analytics._visible_periods(
          entry.event_type_id, entry.item_id, _funnel_attempts.among, bounds, _funnel_attempts.smallest_group
        )
      from (
        select filter.event_type_id, filter.item_id, filter.ordinality
        from unnest(filters) with ordinality as filter
        union all
        select 0, null, cardinality(filters) + 1 where step_order = 'strict'
      ) as entry
      order by entry.ordinality
    );
  end if;

  -- The journeys of people who are queued for a refresh do not have the values of now: their events are read.
  if v_source = 'values' then
    v_queued := array(
      select queued.person_id
      from unnest(
        (track.queued_days((v_since at time zone 'UTC')::date, (v_until at time zone 'UTC')::date + 1)).people
      ) as queued (person_id)
      join unnest(v_blocks, v_people) as entry (block, people) on entry.block = queued.person_id / 4096
      where get_bit(entry.people, (queued.person_id % 4096)::int) <> 0
    );
    if v_queued <> '{}' then
      return query execute analytics._walk_statement(
        filters, v_step_count, step_order, 'listed',
        case when _funnel_attempts.property is not null then attribution end, v_by_bucket, v_visible is not null,
        'select 0 as block, null::bit(4096) as people where false'
      )
      using filters, bounds, v_visible, v_blocks, v_people, conversion_window, v_types, v_with_any, v_optional,
        _funnel_attempts.property, v_properties, v_values, v_queued;
      v_people := array(
        select entry.people & ~coalesce(queued.people, v_no_people)
        from unnest(v_blocks, v_people) as entry (block, people)
        left join (
          select listed.person_id / 4096 as block, bit_or(track.person_bit(listed.person_id)) as people
          from unnest(v_queued) as listed (person_id)
          group by 1
        ) as queued on queued.block = entry.block
        order by entry.block
      );
    end if;
  end if;

  if not v_by_search then
    v_walkers := v_people;
  elsif cardinality(filters) > v_step_count then
    -- Exclusions are of no concern to people without one.
    v_walkers := array(
      select coalesce(bit_or(track.person_bit(journey.person_id)) & entry.people, v_no_people)
      from unnest(v_blocks, v_people) as entry (block, people)
      left join analytics._journeys(
        array(select filter.event_type_id from unnest(filters) as filter where filter.is_exclusion),
        exists (select from unnest(filters) as filter where filter.is_exclusion and filter.event_type_id = 0),
        false, v_since, v_until
      ) as journey on journey.person_id / 4096 = entry.block
      group by entry.block, entry.people
      order by entry.block
    );
    v_people := array(
      select entry.people & ~entry.walkers
      from unnest(v_blocks, v_people, v_walkers) as entry (block, people, walkers)
      order by entry.block
    );
  end if;

  if v_by_search then
    v_statement :=
      analytics._search_statement(
        filters, v_step_count, step_order = 'strict', v_by_bucket, v_visible is not null, v_source = 'values'
      )
      || case
        when step_order = 'strict' then format(
          ' union all select walked.* from (%s) as walked',
          analytics._walk_statement(
            filters, v_step_count, step_order, v_source, null, v_by_bucket, v_visible is not null,
            $query$
            select listed.person_id / 4096 as block, bit_or(track.person_bit(listed.person_id)) as people
            from listed
            where listed.is_walked
            group by listed.person_id / 4096
            $query$
          )
        )
        else ''
      end;
    if _funnel_attempts.property is not null then
      v_statement := format(
        $query$
        select attempt.person_id, attempt.bucket, touched.value, attempt.reached, attempt.times
        from (%s) as attempt (person_id, bucket, value, reached, times)
        left join (%s) as touched on touched.person_id = attempt.person_id
        $query$,
        v_statement, analytics._touch_statement(filters, attribution, v_visible is not null)
      );
    end if;
    return query execute v_statement
    using filters, bounds, v_visible, v_blocks, v_people, conversion_window, v_types, v_with_any, v_optional,
      _funnel_attempts.property, v_properties, v_values, v_queued;
  end if;
  if v_walkers is not null then
    return query execute analytics._walk_statement(
      filters, v_step_count, step_order, v_source,
      case when _funnel_attempts.property is not null then attribution end, v_by_bucket, v_visible is not null,
      'select entry.block, entry.people from unnest($4, $5) as entry (block, people)'
    )
    using filters, bounds, v_visible, v_blocks, v_walkers, conversion_window, v_types, v_with_any, v_optional,
      _funnel_attempts.property, v_properties, v_values, v_queued;
  end if;
end;
$$;

comment on function analytics._funnel_attempts(
  analytics.step_filter[], timestamptz[], text, interval, text, text, text, int
) is $$
Returns the furthest attempt of each person in a funnel, with the privileges of the caller.
`filters`: the steps and exclusions (`analytics._funnel_steps`). `bounds`: ascending times; the events are those
between the first and the last one. With more than two, there is one attempt per person and bucket in which the person
did the first step. `property`: the attempts have the value of this property of the events that `attribution` names;
null: null. `reached`: the number of the furthest step; `times`: the time of each step, null where it was not done (in
an unordered funnel the times of that many steps). People whose furthest attempt met an exclusion are left out, except
in an unordered funnel. `smallest_group`: events of counted people in `analytics._visible_periods`; null: of all
people.
$$;

grant execute on function analytics._funnel_attempts(
  analytics.step_filter[], timestamptz[], text, interval, text, text, text, int
) to insights_reader;
--! EndIncluded analytics/funnels/_funnel_attempts.sql

--! Included analytics/sessions/session_items.sql
create or replace function analytics._session_items(
  place text, since timestamptz, until timestamptz, among text, top int, smallest_group int
)
returns setof analytics.session_item
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set work_mem to '64MB'
as $$
declare
  v_days constant timestamptz[] := analytics._bounds('day', _session_items.since, _session_items.until, 'UTC');
begin
  if _session_items.place is null or _session_items.place not in ('entry', 'exit') then
    perform common.refuse(
      'CF001',
      format('place is "%s"', left(_session_items.place, 100)),
      'Use entry (the first item of a session) or exit (the last one).'
    );
  end if;
  perform common.check_count('top', coalesce(_session_items.top, 1), 1, 10000);

  return query
  with by_person as (
    select
      case _session_items.place when 'entry' then session.entry_item_id else session.exit_item_id end as item_id,
      count(*) as session_count,
      count(*) filter (where session.views <= 1 and session.engaged < interval '10 seconds') as bounce_count
    from analytics._sessions(
      array[v_days[1], v_days[cardinality(v_days)]], _session_items.among, _session_items.smallest_group
    ) as session
    group by session.person_id, 1
  ),

  counted as (
    select
      by_person.item_id, sum(by_person.session_count) as session_count, count(*) as person_count,
      sum(by_person.bounce_count) as bounce_count,
      count(*) filter (where by_person.bounce_count > 0) as bounced_people
    from by_person
    group by by_person.item_id
  ),

  shown as (
    select
      counted.item_id,
      analytics._shown(counted.session_count, counted.person_count, _session_items.smallest_group)::bigint
        as session_count,
      analytics._shown(counted.person_count, counted.person_count, _session_items.smallest_group)::bigint
        as person_count,
      analytics._shown(
        counted.bounce_count, counted.bounced_people, _session_items.smallest_group, counted.session_count
      )::bigint as bounce_count
    from counted
    where counted.item_id is not null
  )

  select
    (row_number() over (order by shown.session_count desc, item.external_id collate "C"))::int,
    item.external_id, item.title, item.kind, shown.session_count, shown.person_count, shown.bounce_count,
    least(shown.bounce_count::float8 / shown.session_count, 1)
  from shown
  join track.item on item.item_id = shown.item_id
  where shown.session_count > 0
  order by shown.session_count desc, item.external_id collate "C"
  limit _session_items.top;
end;
$$;

comment on function analytics._session_items(
  text, timestamptz, timestamptz, text, int, int
) is $$
Computes the result of `analytics.session_items`, with the privileges of the caller.
`smallest_group`: figures of groups of counted people (see `analytics._visible_periods` and `analytics._shown`);
null: exact figures of all people.
$$;

grant execute on function analytics._session_items(
  text, timestamptz, timestamptz, text, int, int
)
to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._session_items_exact(
  place text,
  since timestamptz,
  until timestamptz,
  among text,
  top int
)
returns setof analytics.session_item
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
  select *
  from analytics._session_items(
    $1, $2, $3, $4, $5, null
  );
$$;

alter function analytics._session_items_exact(
  text, timestamptz, timestamptz, text, int
)
owner to insights_reader;

comment on function analytics._session_items_exact(
  text, timestamptz, timestamptz, text, int
) is $$
Returns the result of `analytics.session_items` with exact figures of all people, for admins and workers.
$$;

grant execute on function analytics._session_items_exact(
  text, timestamptz, timestamptz, text, int
)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._session_items_shown(
  place text,
  since timestamptz,
  until timestamptz,
  among text,
  top int
)
returns setof analytics.session_item
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
  select *
  from analytics._session_items(
    $1, $2, $3, $4, $5, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._session_items_shown(
  text, timestamptz, timestamptz, text, int
)
owner to insights_reader;

comment on function analytics._session_items_shown(
  text, timestamptz, timestamptz, text, int
) is $$
Returns the result of `analytics.session_items` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._session_items_shown(
  text, timestamptz, timestamptz, text, int
)
to insights_analyst;

create or replace function analytics.session_items(
  place text default 'entry',
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  among text default null,
  top int default 10
)
returns setof analytics.session_item
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._session_items_exact(text, timestamptz, timestamptz, text, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._session_items_exact(
      session_items.place, session_items.since, session_items.until, session_items.among, session_items.top
    );
  else
    return query
    select *
    from analytics._session_items_shown(
      session_items.place, session_items.since, session_items.until, session_items.among, session_items.top
    );
  end if;
end;
$$;

comment on function analytics.session_items(text, timestamptz, timestamptz, text, int) is $$
Returns the items with which most sessions of a period start (`place` = `entry`) or end (`exit`).
The period is extended to whole days (UTC). A bounce is a session of at most one page view and less than 10 seconds of
engaged time. `among`: people of these sets now; `top` null: all items.
For admins and workers, figures are exact and include anonymous browsers. Analysts see figures of counted people, of
days (UTC; in other zones of hours) on which at least `analytics.setting.smallest_group` of them are active; a figure
of fewer people reads as 0, and others are rounded by `analytics._shown`. As of the last refresh of the sessions.
Errors: CF001 for an invalid argument, CF002 for an unknown set (names the nearest).
$$;

grant execute on function analytics.session_items(text, timestamptz, timestamptz, text, int)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/sessions/session_items.sql

--! Included analytics/sessions/session_distribution.sql
create or replace function analytics._session_distribution(
  measure text, since timestamptz, until timestamptz, among text, smallest_group int
)
returns setof analytics.session_bin
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set work_mem to '64MB'
as $$
declare
  v_days constant timestamptz[] := analytics._bounds(
    'day', _session_distribution.since, _session_distribution.until, 'UTC'
  );
  v_starts constant float8[] := case
    when _session_distribution.measure in ('engaged', 'duration') then '{0,10,30,60,180,600,1800,3600}'::float8[]
    when _session_distribution.measure = 'views' then '{0,1,2,3,4,5,10,20}'::float8[]
  end;
  v_times constant interval[] := array(
    select make_interval(secs => entry.seconds)
    from unnest(v_starts) with ordinality as entry (seconds, number)
    order by entry.number
  );
begin
  if v_starts is null then
    perform common.refuse(
      'CF001',
      format('measure is "%s"', coalesce(left(_session_distribution.measure, 100), 'null')),
      'Use engaged or duration (in seconds), or views.'
    );
  end if;

  return query
  with by_person as (
    select
      case _session_distribution.measure
        when 'engaged' then width_bucket(session.engaged, v_times)
        when 'duration' then width_bucket(session.duration, v_times)
        else width_bucket(session.views::float8, v_starts)
      end as bin,
      count(*) as session_count
    from analytics._sessions(
      array[v_days[1], v_days[cardinality(v_days)]], _session_distribution.among, _session_distribution.smallest_group
    ) as session
    group by session.person_id, 1
  ),

  counted as (
    select by_person.bin, sum(by_person.session_count) as session_count, count(*) as person_count
    from by_person
    group by by_person.bin
  ),

  shown as (
    select
      listed.bin,
      coalesce(
        analytics._shown(counted.session_count, counted.person_count, _session_distribution.smallest_group), 0
      )::bigint as session_count,
      coalesce(
        analytics._shown(counted.person_count, counted.person_count, _session_distribution.smallest_group), 0
      )::bigint as person_count
    from generate_series(1, cardinality(v_starts)) as listed (bin)
    left join counted on counted.bin = listed.bin
  )

  select
    v_starts[shown.bin], v_starts[shown.bin + 1], shown.session_count, shown.person_count,
    shown.session_count / nullif(sum(shown.session_count) over (), 0)::float8
  from shown
  order by shown.bin;
end;
$$;

comment on function analytics._session_distribution(text, timestamptz, timestamptz, text, int) is $$
Computes the result of `analytics.session_distribution`, with the privileges of the caller.
`smallest_group`: figures of groups of counted people (see `analytics._visible_periods` and `analytics._shown`);
null: exact figures of all people.
$$;

grant execute on function analytics._session_distribution(text, timestamptz, timestamptz, text, int)
to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._session_distribution_exact(
  measure text,
  since timestamptz,
  until timestamptz,
  among text
)
returns setof analytics.session_bin
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
  select *
  from analytics._session_distribution(
    $1, $2, $3, $4, null
  );
$$;

alter function analytics._session_distribution_exact(
  text, timestamptz, timestamptz, text
)
owner to insights_reader;

comment on function analytics._session_distribution_exact(
  text, timestamptz, timestamptz, text
) is $$
Returns the result of `analytics.session_distribution` with exact figures of all people, for admins and workers.
$$;

grant execute on function analytics._session_distribution_exact(
  text, timestamptz, timestamptz, text
)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._session_distribution_shown(
  measure text,
  since timestamptz,
  until timestamptz,
  among text
)
returns setof analytics.session_bin
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
  select *
  from analytics._session_distribution(
    $1, $2, $3, $4, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._session_distribution_shown(
  text, timestamptz, timestamptz, text
)
owner to insights_reader;

comment on function analytics._session_distribution_shown(
  text, timestamptz, timestamptz, text
) is $$
Returns the result of `analytics.session_distribution` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._session_distribution_shown(
  text, timestamptz, timestamptz, text
)
to insights_analyst;

create or replace function analytics.session_distribution(
  measure text default 'engaged',
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  among text default null
)
returns setof analytics.session_bin
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._session_distribution_exact(text, timestamptz, timestamptz, text)',
    'execute'
  ) then
    return query
    select *
    from analytics._session_distribution_exact(
      session_distribution.measure, session_distribution.since, session_distribution.until, session_distribution.among
    );
  else
    return query
    select *
    from analytics._session_distribution_shown(
      session_distribution.measure, session_distribution.since, session_distribution.until, session_distribution.among
    );
  end if;
end;
$$;

comment on function analytics.session_distribution(text, timestamptz, timestamptz, text) is $$
Returns how many sessions have which engaged time, duration or number of page views.
`measure`: `engaged` and `duration`, in bins of 0, 10, 30 seconds and 1, 3, 10, 30 and 60 minutes, or `views`. A session
counts when it started from `since` until `until` (extended to whole days, UTC). `among`: people of these sets now.
For admins and workers, figures are exact and include anonymous browsers. Analysts see figures of counted people, of
days on which at least `analytics.setting.smallest_group` of them are active; a bin of fewer people reads as 0, others
are rounded by `analytics._shown`, and shares are computed from these numbers. As of the last refresh of the sessions.
Errors: CF001 for an invalid argument, CF002 for an unknown set (names the nearest).
$$;

grant execute on function analytics.session_distribution(text, timestamptz, timestamptz, text)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/sessions/session_distribution.sql

--! Included monitor/relevance/_listed_sums.sql
create or replace function monitor._listed_sums(
  since timestamptz,
  until timestamptz,
  by text,
  kind text,
  by_week boolean,
  smallest_group int
)
returns setof monitor.listed_sum
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
-- Results of functions have no statistics. Callers that exclude nested loops have plans of their own.
set enable_mergejoin to off
set enable_nestloop to on
set work_mem to '64MB'
set jit to off
-- Parts that the grouping and the caller do not need are not in the plan.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_deployments int[];
  v_deployed timestamptz[];
begin
  select
    coalesce(array_agg(deployment.deployment_id order by deployment.deployed_at, deployment.deployment_id), '{}'),
    coalesce(array_agg(deployment.deployed_at order by deployment.deployed_at, deployment.deployment_id), '{}')
  into v_deployments, v_deployed
  from ml.deployment
  join ml.project using (project_id)
  where _listed_sums.by = 'deployment'
    and project.name = 'recommend.' || _listed_sums.kind;

  return query
  with segment as materialized (
    select person_set.name, stored.block, stored.people
    from track.person_set
    cross join lateral track.person_set_blocks(person_set.name) as stored
    where _listed_sums.by = 'segment'
      and person_set.name like 'segment.%'
      and person_set.name not in (select incomplete.name from track.incomplete_sets() as incomplete (name))
  ),

  known as materialized (
    select named.item_id, item.item_id as merged_item_id
    from track.item as named
    join track.item on item.item_id = coalesce(named.merged_item_id, named.item_id)
    where item.kind = _listed_sums.kind
  ),

  -- The group of each row, without nulls: rows are joined and grouped by it.
  listed as not materialized (
    select
      case _listed_sums.by
        when 'model' then coalesce(model.version, 0)
        when 'rank' then impression.rank
        when 'deployment' then width_bucket(impression.listed_at, v_deployed)
        else 0
      end as number,
      case _listed_sums.by when 'basis' then impression.basis when 'segment' then segment.name else '' end as label,
      case
        when _listed_sums.by_week then date_bin('7 days', impression.listed_at, '2000-01-03 00:00Z')
        else '-infinity'
      end as starts_at,
      case
        when _listed_sums.smallest_group is null then '-infinity'
        else date_bin('7 days', impression.listed_at, '2000-01-03 00:00Z')
      end as week,
      known.merged_item_id as item_id, impression.person_id, impression.rank, impression.listed_at, impression.seen_at,
      impression.clicked_at, impression.completed_at, impression.dismissed_at, impression.liking,
      impression.serving_key
    from recommend.impression
    join known on known.item_id = impression.item_id
    left join ml.model on model.model_id = impression.model_id
    left join segment
      on segment.block = impression.person_id / 4096
      and get_bit(segment.people, (impression.person_id % 4096)::int) = 1
    left join track.person_set_blocks('counted') as counted
      on _listed_sums.smallest_group is not null
      and counted.block = impression.person_id / 4096
    where impression.listed_at >= _listed_sums.since
      and impression.listed_at < _listed_sums.until
      and impression.is_served
      and (_listed_sums.by <> 'segment' or segment.name is not null)
      and (
        _listed_sums.smallest_group is null
        or get_bit(counted.people, (impression.person_id % 4096)::int) <> 0
      )
  ),

  list as (
    select
      listed.number, listed.label, listed.starts_at, listed.week, listed.person_id,
      1 as lists,
      count(*)::float8 as served,
      count(listed.seen_at)::float8 as seen,
      count(listed.clicked_at)::float8 as clicked,
      count(listed.completed_at)::float8 as completed,
      count(listed.dismissed_at)::float8 as dismissed,
      count(*) filter (where listed.liking > 0)::float8 as liked,
      count(*) filter (where listed.liking < 0)::float8 as disliked,
      0 as viewed,
      null::float8 as seconds
    from listed
    group by listed.number, listed.label, listed.starts_at, listed.week, listed.person_id, listed.listed_at

    union all

    select
      listed.number, listed.label, listed.starts_at, listed.week, listed.person_id, 0, 0, 0, 0, 0, 0, 0, 0, 1,
      dwell.seconds
    from listed
    join monitor._dwell(_listed_sums.since, _listed_sums.until, _listed_sums.kind) as dwell
      on dwell.person_id = listed.person_id
      and dwell.serving_key = listed.serving_key
    where listed.clicked_at is not null
  ),

  person as materialized (
    select
      list.number, list.label, list.starts_at, list.week, list.person_id, sum(list.lists)::float8 as lists,
      sum(list.served) as served, sum(list.seen) as seen, sum(list.clicked) as clicked,
      sum(list.completed) as completed, sum(list.dismissed) as dismissed, sum(list.liked) as liked,
      sum(list.disliked) as disliked, sum(list.viewed)::float8 as viewed, sum(list.seconds) as seconds
    from list
    group by list.number, list.label, list.starts_at, list.week, list.person_id
  ),

  -- For analysts, a week in which a group has few people is left out.
  kept as materialized (
    select person.number, person.label, person.starts_at, person.week
    from person
    group by person.number, person.label, person.starts_at, person.week
    having count(*) >= _listed_sums.smallest_group
  ),

  told as not materialized (
    select listed.*
    from listed
    where _listed_sums.smallest_group is null
      or (listed.number, listed.label, listed.starts_at, listed.week) in (select * from kept)
  ),

  -- By item, and by rank and bucket of people, in one pass over the rows.
  shared as materialized (
    select
      told.number, told.label, told.starts_at, told.item_id, told.rank, (told.person_id % 64)::int as bucket,
      count(*)::float8 as served, count(told.clicked_at)::float8 as clicked,
      bit_or(1::bigint << (told.person_id % 64)::int) as buckets
    from told
    group by grouping sets (
      (told.number, told.label, told.starts_at, told.item_id),
      (told.number, told.label, told.starts_at, told.rank, (told.person_id % 64)::int)
    )
  ),

  item as not materialized (
    select
      shared.number, shared.label, shared.starts_at, shared.item_id, shared.served,
      -- At most as many as people.
      bit_count(shared.buckets::bit(64)) as buckets
    from shared
    where shared.item_id is not null
  ),

  -- For analysts, items that few people were served do not count.
  rare as (
    select person_item.number, person_item.label, person_item.starts_at, person_item.item_id
    from (
      select distinct told.number, told.label, told.starts_at, told.item_id, told.person_id
      from told
      where (told.number, told.label, told.starts_at, told.item_id) in (
        select item.number, item.label, item.starts_at, item.item_id
        from item
        where item.buckets < _listed_sums.smallest_group
      )
    ) as person_item
    group by person_item.number, person_item.label, person_item.starts_at, person_item.item_id
    having count(*) < _listed_sums.smallest_group
  ),

  summed as (
    select
      person.number, person.label, person.starts_at, person.person_id, null::int as rank, null::int as bucket,
      null::bigint as item_id, sum(person.lists) as lists, sum(person.served) as served, sum(person.seen) as seen,
      sum(person.clicked) as clicked, sum(person.completed) as completed, sum(person.dismissed) as dismissed,
      sum(person.liked) as liked, sum(person.disliked) as disliked, sum(person.viewed) as viewed,
      sum(person.seconds) as seconds
    from person
    where _listed_sums.smallest_group is null
      or (person.number, person.label, person.starts_at, person.week) in (select * from kept)
    group by person.number, person.label, person.starts_at, person.person_id

    union all

    select
      shared.number, shared.label, shared.starts_at, null, shared.rank, shared.bucket, null, null, shared.served, null,
      shared.clicked, null, null, null, null, null, null
    from shared
    where shared.item_id is null
      and shared.rank between 1 and 20

    union all

    select
      item.number, item.label, item.starts_at, null, null, null, item.item_id, null, item.served, null, null, null,
      null, null, null, null, null
    from item
    where _listed_sums.smallest_group is null
      or (item.number, item.label, item.starts_at, item.item_id) not in (select * from rare)
  )

  select
    case
      when _listed_sums.by in ('basis', 'segment') then summed.label
      when _listed_sums.by = 'deployment' then v_deployments[summed.number]::text
      when _listed_sums.by <> 'all' then nullif(summed.number, 0)::text
    end,
    case
      when _listed_sums.by_week then summed.starts_at
      when _listed_sums.by = 'deployment' then v_deployed[summed.number]
    end,
    summed.person_id, summed.rank, summed.bucket, summed.item_id, summed.lists, summed.served, summed.seen,
    summed.clicked, summed.completed, summed.dismissed, summed.liked, summed.disliked, summed.viewed, summed.seconds
  from summed;
end;
$$;

comment on function monitor._listed_sums(timestamptz, timestamptz, text, text, boolean, int) is $$
@behavior -*
Counts the rows of recorded lists of a kind: by group and person, by group, rank and bucket of people, and by item.
The group is that of `monitor.relevance`: one per segment of the person with `by` segment,
without those of which retention has deleted people. Of the first 20 ranks.
`smallest_group`: of counted people, without weeks of a group and without items of a group that have fewer; null: all.
$$;

grant execute on function monitor._listed_sums(timestamptz, timestamptz, text, text, boolean, int) to insights_reader;
--! EndIncluded monitor/relevance/_listed_sums.sql

--! Included monitor/relevance/_score_shift.sql
create or replace function monitor._score_shift(
  model_id bigint,
  kind text,
  reference tstzrange,
  period tstzrange,
  smallest_group int,
  most int
)
returns setof monitor.score_shift
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set jit to off
-- Results of functions have no statistics.
set enable_nestloop to off
set work_mem to '64MB'
as $$
begin
  return query
  with scored as materialized (
    select false as is_new, entry.*
    from monitor._scored(
      lower(_score_shift.reference), upper(_score_shift.reference), _score_shift.kind, _score_shift.model_id,
      _score_shift.smallest_group, _score_shift.most
    ) as entry

    union all

    select true, entry.*
    from monitor._scored(
      greatest(lower(_score_shift.period), upper(_score_shift.reference)), upper(_score_shift.period),
      _score_shift.kind, _score_shift.model_id, _score_shift.smallest_group, _score_shift.most
    ) as entry
  ),

  -- Tenths of the first days; equal scores are in one bin.
  edged as materialized (
    select cut.basis, array(select distinct edge from unnest(cut.edges) as edge order by edge) as edges
    from (
      select
        scored.basis,
        percentile_disc('{0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9}'::float8[]) within group (order by scored.score) as edges
      from scored
      where not scored.is_new
      group by scored.basis
    ) as cut
  ),

  tally as materialized (
    select
      scored.basis, scored.is_new, scored.person_id, width_bucket(scored.score, edged.edges) as bin,
      count(*)::float8 as count, sum(scored.score) as score
    from scored
    join edged using (basis)
    group by 1, 2, 3, 4
  ),

  side as materialized (
    select
      person.basis, person.is_new, count(*) as people, sum(person.count) as count,
      sum(person.count ^ 2) as count_count, sum(person.score) / sum(person.count) as mean
    from (
      select tally.basis, tally.is_new, tally.person_id, sum(tally.count) as count, sum(tally.score) as score
      from tally
      group by tally.basis, tally.is_new, tally.person_id
    ) as person
    group by person.basis, person.is_new
  ),

  filled as materialized (
    select
      part.basis, part.is_new, part.bin, sum(part.count) as count, sum(part.count ^ 2) as squares,
      sum(part.count * part.person_count) as products
    from (
      select
        tally.*, sum(tally.count) over (partition by tally.basis, tally.is_new, tally.person_id) as person_count
      from tally
    ) as part
    group by part.basis, part.is_new, part.bin
  ),

  -- Bins without a row of one of the periods count.
  cell as (
    select
      side.basis, side.is_new, bin.bin, coalesce(filled.count, 0) as count, coalesce(filled.squares, 0) as squares,
      coalesce(filled.products, 0) as products
    from side
    join (select distinct filled.basis, filled.bin from filled) as bin using (basis)
    left join filled using (basis, is_new, bin)
  ),

  -- The mean effect of people having many rows on the variance of the shares (Rao and Scott), of bins with rows.
  whole as (
    select
      side.basis, side.is_new, side.people, side.count, side.mean, count(*)::int as bins,
      array_agg(cell.count order by cell.bin) as counts,
      case when count(*) > 1 then coalesce(
        sum((1 - cell.count / side.count) * monitor._design_effect(
          side.people, cell.count, side.count, cell.squares, cell.products, side.count_count
        )) filter (where cell.count between 1 and side.count - 1)
          / sum(1 - cell.count / side.count) filter (where cell.count between 1 and side.count - 1),
        side.count / side.people
      ) end / side.count as scale
    from side
    join cell using (basis, is_new)
    group by side.basis, side.is_new, side.people, side.count, side.mean
  ),

  compared as (
    select
      former.basis, former.bins, former.people as former_people, former.count as former_count,
      former.mean as former_mean, latter.people, latter.count, latter.mean,
      case when latter.counts is not null then ml.population_stability_index(former.counts, latter.counts) end as index,
      former.scale + latter.scale as scale
    from whole as former
    left join whole as latter
      on latter.basis = former.basis
      and latter.is_new
    where not former.is_new
  )

  select
    model.version::text, compared.basis, lower(_score_shift.reference), upper(_score_shift.reference),
    analytics.shown(compared.former_people, compared.former_people, _score_shift.smallest_group)::bigint,
    analytics.shown(compared.former_count, compared.former_people, _score_shift.smallest_group)::bigint,
    coalesce(analytics.shown(compared.people, compared.people, _score_shift.smallest_group), 0)::bigint,
    coalesce(analytics.shown(compared.count, compared.people, _score_shift.smallest_group), 0)::bigint,
    monitor._shown_rate(compared.former_mean, _score_shift.smallest_group),
    monitor._shown_rate(compared.mean, _score_shift.smallest_group),
    compared.bins,
    monitor._shown_rate(compared.index, _score_shift.smallest_group),
    monitor._shown_rate(1 - ml.chi_squared_cdf(compared.index / compared.scale, compared.bins - 1),
      _score_shift.smallest_group),
    case
      -- So few rows that chance alone may move them by 0.1: only what chance does not explain.
      when 1 - ml.chi_squared_cdf(0.1 / compared.scale, compared.bins - 1) <= 0.05 is not true then
        case
          when 1 - ml.chi_squared_cdf(compared.index / compared.scale, compared.bins - 1) <= 0.001 is not true
            or compared.index - (compared.bins - 1) * compared.scale < 0.1
            -- The p-value is that of many people.
            or least(compared.former_people, compared.people) < 50
            then 'unknown'
          when compared.index - (compared.bins - 1) * compared.scale < 0.25 then 'shifting'
          else 'drifted'
        end
      when compared.index < 0.1 then 'stable'
      when compared.index < 0.25 then 'shifting'
      else 'drifted'
    end
  from compared
  join ml.model on model.model_id = _score_shift.model_id
  order by compared.basis;
end;
$$;

comment on function monitor._score_shift(bigint, text, tstzrange, tstzrange, int, int) is $$
@behavior -*
Compares the scores of a version in two periods, by basis: see `monitor.score_drift`. `most`: most rows of each period.
$$;

grant execute on function monitor._score_shift(bigint, text, tstzrange, tstzrange, int, int)
to insights_reader, insights_worker;
--! EndIncluded monitor/relevance/_score_shift.sql

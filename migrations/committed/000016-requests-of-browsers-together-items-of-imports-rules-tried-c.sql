--! Previous: sha1:aa28d63e08bb57982bb35b96e5837bedb35b8205
--! Hash: sha1:fd67d432bee406688e311cdfe3132a25017ec667
--! Message: Requests of browsers together, items of imports, rules tried, classes of forests

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

-- Messages of several requests in one batch.
drop function if exists
  track._person_problem(track.message_fields, track.message_sender),
  track._enter_people(text[], text[], uuid),
  track._enter_people_of(track.parsed_message[], uuid),
  track._store_signals(track.parsed_message[], text[], timestamptz),
  track._ask_consent(track.parsed_message[], text[]),
  track._withheld_messages(track.parsed_message[], text[]),
  track._may_withhold(track.parsed_message[], text[]);

do $do$
begin
  if to_regtype('track.message_request') is null then
    create type track.message_request as (
      messages int, person text, browser uuid, sends_gpc boolean, sends_dnt boolean, user_agent text
    );
    alter type track.message_sender
      drop attribute person, drop attribute browser, drop attribute opt_out, drop attribute user_agent,
      add attribute requests track.message_request[];
    alter type track.message_fields
      add attribute caller text, add attribute browser uuid, add attribute sends_gpc boolean,
      add attribute sends_dnt boolean, add attribute user_agent text;
    alter type track.parsed_message
      add attribute caller text, add attribute browser uuid, add attribute sends_gpc boolean,
      add attribute sends_dnt boolean;
  end if;
end;
$do$;
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

comment on column track.message_sender.requests is $$The requests of the batch, in the order of its messages.$$;
comment on column track.message_fields.caller is $$As `track.message_request.person`.$$;
comment on column track.message_fields.browser is $$As `track.message_request.browser`.$$;
comment on column track.message_fields.sends_gpc is $$As `track.message_request.sends_gpc`.$$;
comment on column track.message_fields.sends_dnt is $$As `track.message_request.sends_dnt`.$$;
comment on column track.message_fields.user_agent is $$As `track.message_request.user_agent`.$$;
comment on column track.parsed_message.user_agent is $$
User agent that the message states, or else that of its request; null without one, and from `track._minimise` on.
$$;
comment on column track.parsed_message.caller is $$As `track.message_request.person`.$$;
comment on column track.parsed_message.browser is $$As `track.message_request.browser`.$$;
comment on column track.parsed_message.sends_gpc is $$As `track.message_request.sends_gpc`.$$;
comment on column track.parsed_message.sends_dnt is $$As `track.message_request.sends_dnt`.$$;

-- Rules and their effect.
do $do$
begin
  if to_regtype('recommend.rule_effect') is null then
    create type recommend.rule_effect as (rank int, former_rank int, item text, title text);
  end if;
end;
$do$;
comment on type recommend.rule_effect is $$
An item of a list as it would be with a rule, or of the present list.
$$;
comment on column recommend.rule_effect.rank is $$Rank with the rule, 1 for the best one; null when it is not listed.$$;
comment on column recommend.rule_effect.former_rank is $$Rank without the rule; null when it is not listed.$$;
comment on column recommend.rule_effect.item is $$External id of the item.$$;
comment on column recommend.rule_effect.title is $$Title of the item; null when unknown.$$;

-- A leaf of a forest of several classes has a value for each class.
alter table ml.tree_node
  add column if not exists class_values float8[],
  drop constraint if exists tree_node_check2,
  -- A model has some thousands of rows.
  -- squawk-ignore constraint-missing-not-valid
  add constraint tree_node_check2 check (num_nonnulls(feature, value, class_values) = 1);
comment on column ml.tree_node.value is $$
Contribution of a leaf to the score; null in a tree of several classes.
$$;
comment on column ml.tree_node.class_values is $$
Contribution of a leaf to the score of each class, in a tree of several classes; null in trees of one score.
$$;
drop function if exists ml._tree_values(bigint, jsonb);
drop function if exists ml._explain(ml.model, text, text, text, text);
drop function if exists ml.explain(text, jsonb, int);
drop function if exists ml.explain_each(text, anyarray, int);
comment on column ml.contribution.feature_value is $$
Its value as text; null when missing. With several classes, that of `(base)` is the class whose score is explained.
$$;

-- Items that imports state.
create table if not exists track.imported_item (
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

create index if not exists imported_item_item on track.imported_item (item_id);
create index if not exists imported_item_parent on track.imported_item (parent_item_id);
alter table track.imported_item enable row level security;

-- Calls without a key.
-- squawk-ignore ban-drop-column
alter table recommend.serving_call drop column if exists call_id;
alter table recommend.serving_call replica identity full;

comment on table recommend.serving_call is $$
@behavior -*
Calls of `recommend.serve_me` and its variants that `recommend.refresh_serving_times` has not counted yet.
Append-only, so that no call waits for another one. Without the person and the time of the list, and without a key,
whose index would take as long as the row: a publication of logical replication identifies a row by all of its columns.
$$;
drop function if exists analytics._session_paths(
  timestamptz, timestamptz, int[], int[], int, int, int, text, text, int
);

drop function if exists analytics._has_ties(timestamptz[], timestamptz[], int);

drop function if exists analytics._journeys(int[], boolean, boolean, timestamptz, timestamptz);

drop function if exists analytics._valued_journeys(int[], int[], boolean, timestamptz, timestamptz);

drop function if exists analytics._walk_statement(
  analytics.step_filter[], int, text, text, text, boolean, boolean, text
);

drop function if exists analytics._search_best(analytics.step_filter[], int, boolean);

comment on table track.forgotten_item is $$
@behavior -*
Items that the last steps of the removal of an import delete when nothing else uses them.
They are found by the steps before; former parents of the structure that an import states are there from the start.
$$;

--! Included common/functions/output_table.sql
create or replace function common.output_table(
  output_table text,
  suffixes text[] default '{}'
)
returns text
language plpgsql
volatile
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
    perform common.refuse(
      'CF001',
      format('"%s" is not a name for the output table', coalesce(left(output_table, 100), 'null')),
      'Give name or schema.name; put a name with blanks, capitals or semicolons into double quotes.'
    );
  end if;
  if current_setting('transaction_read_only')::boolean then
    perform common.refuse('CF005', 'no table can be written: this server or transaction only reads',
      'Connect to the primary server, or begin a transaction that may write.');
  end if;
  v_name := v_parts[array_length(v_parts, 1)];
  v_schema := case when array_length(v_parts, 1) = 2 then v_parts[1] else current_schema() end;
  if v_schema = 'pg_temp' and has_database_privilege(current_database(), 'temporary') then
    -- The schema of temporary tables exists from the first one on.
    if pg_my_temp_schema() = 0 then
      create temporary table _output_first ();
      drop table pg_temp._output_first;
    end if;
    v_schema := (select nspname from pg_catalog.pg_namespace where oid = pg_my_temp_schema());
  end if;
  if v_schema is null or to_regnamespace(quote_ident(v_schema)) is null then
    perform common.refuse('CF002', format('there is no schema "%s"', coalesce(left(v_schema, 100), '')),
      'Create it, or name the output table as schema.name.');
  end if;
  if not has_schema_privilege(v_schema, 'create') then
    perform common.refuse(
      'CF005',
      format('role "%s" may not create tables in schema "%s"', current_user, left(v_schema, 100)),
      'Name the output table in a schema of your own.'
    );
  end if;
  foreach v_suffix in array array['']::text[] || suffixes loop
    if octet_length(v_name || v_suffix) > 63 then
      perform common.refuse('CF001', format('the name "%s" is longer than 63 bytes', left(v_name || v_suffix, 100)),
        'Choose a shorter name for the output table.');
    end if;
    -- Held until the end of the transaction: a name is given to one session at a time.
    if not pg_try_advisory_xact_lock(hashtextextended(format('common.output_table %I.%I', v_schema, v_name || v_suffix),
      0)) then
      perform common.refuse(
        'CF003',
        format('the output table "%s" is being written by another session', left(v_name || v_suffix, 100)),
        'Wait for it, or choose another name; nothing is overwritten.'
      );
    end if;
    if to_regclass(format('%I.%I', v_schema, v_name || v_suffix)) is not null then
      perform common.refuse('CF003', format('the output table "%s" exists already', left(v_name || v_suffix, 100)),
        'Drop it, or choose another name; nothing is overwritten.');
    end if;
  end loop;
  return format('%I.%I', v_schema, v_name);
end;
$$;

comment on function common.output_table(text, text[]) is $$
Returns the quoted, qualified name of a table to be created, after checking it and the names with the suffixes.
In `pg_temp` it is a temporary table of the session.
Two sessions do not get one name: it is locked until the end of the transaction.
Errors: CF001 (not a name), CF002 (no such schema), CF003 (a table exists, or another session writes it), CF005 (no
right to create in the schema, or a server that only reads).
$$;

grant execute on function common.output_table(text, text[]) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded common/functions/output_table.sql

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
    -- A cursor accepts exactly one statement. No row is read: all columns are null, since only the type is needed. What
    -- returns several rows is not accepted within case, and an aggregate not beside a column.
    open v_cursor no scroll for execute format(
      $statement$
      select typed.type
      from (
        select pg_catalog.pg_typeof((%1$s)) as type, case when false then (%1$s) is null end, each.row
        from (values (1)) as each (row)
        left join (select * from %2$s where false) as source on true
      ) as typed
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
    when syntax_error_or_access_rule_violation or feature_not_supported or data_exception or program_limit_exceeded
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

--! Included ml/regression/_label.sql
create or replace function ml._shortened(expression text)
returns text
language sql
immutable
parallel safe
begin atomic
  select case when length(expression) > 70 then left(expression, 69) || '…' else expression end;
end;

comment on function ml._shortened(text) is $$Returns an expression, or the beginning of a long one, for messages.$$;

create or replace function ml._label(design ml.design, place integer)
returns text
language sql
stable
begin atomic
  select case
    when design.packed then format('%s (element %s)', ml._shortened(design.x[1]), place)
    else format('"%s"', ml._shortened(design.x[place]))
  end;
end;

comment on function ml._label(ml.design, integer) is $$
Returns the name of the independent variable at a position, for messages.
$$;

grant execute on function ml._shortened(text), ml._label(ml.design, integer)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_label.sql

--! Included ml/regression/_fit_failed.sql
create or replace function ml._fit_failed(failure text, relation text)
returns void
language plpgsql
set search_path to pg_catalog, pg_temp
as $$
declare
  -- No word of it is longer than 100 characters.
  v_failure constant text := left(regexp_replace(left(failure, 1000), '(\S{97})\S{4,}', '\1…', 'g'), 200);
begin
  if failure ~ 'without a null|rows for' then
    perform common.refuse('CF004', format('"%s" has too few rows: %s', left(relation, 100), v_failure),
      'A model needs at least as many rows without nulls as it has columns.');
  elsif failure ~ 'one class only|of the . categories' then
    perform common.refuse('CF004', format('"%s" cannot be classified: %s', left(relation, 100), v_failure),
      'Both classes must occur among the rows without nulls.');
  end if;
  perform common.refuse(
    'CF007',
    format('"%s" does not determine the coefficients: %s', left(relation, 100), v_failure),
    'Omit the column, or fit with a ridge penalty: ml.elastic_net_train with alpha 0 and a small lambda_value, or '
      || 'ml.ridge_train.'
  );
end;
$$;

comment on function ml._fit_failed(text, text) is $$
Raises the failure of a fit as an error: CF004 (too few rows, one class) or CF007 (constant, collinear, separated).
$$;

grant execute on function ml._fit_failed(text, text) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_fit_failed.sql

--! Included ml/regression/_product_variables.sql
/*
 * One transition of regr_sxy(a, b) gives the sums of a, b, a * a, b * b and a * b, and takes the time of less than two
 * of the transitions of sum(). So the variables are taken by twos: the Gram matrix of ten columns and y needs 57
 * transitions instead of 77. regr_count() also counts the rows in which both are known.
 */
create or replace function ml._product_variables(design ml.design, prefix text)
returns table (nth int, name text, mate text, is_first boolean)
language sql
stable
begin atomic
  select
    variable.nth, variable.name,
    case when design.weights is null and prefix = 'd' then
      case when variable.nth % 2 = 0 then lead(variable.name) over (order by variable.nth)
        else lag(variable.name) over (order by variable.nth) end
    end,
    variable.nth % 2 = 0
  from (
    select 0 as nth, 'y' as name
    union all
    select place::int, prefix || value
    from unnest(design.active) with ordinality as active (value, place)
  ) as variable;
end;

comment on function ml._product_variables(ml.design, text) is $$
Returns y and a design's columns, which are numbered from 0, by twos.
`mate` is the other one of two, null where sums are computed one by one: of the last of an odd number, with weights,
and in numeric.
$$;

grant execute on function ml._product_variables(ml.design, text) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_product_variables.sql

--! Included ml/regression/_product_sums.sql
create or replace function ml._product_sums(design ml.design, prefix text)
returns text[]
language sql
stable
begin atomic
  with weight as (
    select case when design.weights is not null then 'prior * ' else '' end as factor
  ),
  variable as (
    select
      listed.nth, listed.name, listed.mate,
      case when listed.is_first then format('(%s, %s)', listed.name, listed.mate)
        else format('(%s, %s)', listed.mate, listed.name) end as pair,
      case when listed.is_first then 'y' else 'x' end as side
    from ml._product_variables(design, prefix) as listed
  ),
  product as (
    select
      row_variable.nth as row_nth,
      column_variable.nth as column_nth,
      case
        when row_variable.mate is not null and row_variable.nth = column_variable.nth then format(
          'regr_s%2$s%2$s%1$s + regr_count%1$s * regr_avg%2$s%1$s * regr_avg%2$s%1$s', row_variable.pair,
          row_variable.side
        )
        when row_variable.mate = column_variable.name then format(
          'regr_sxy%1$s + regr_count%1$s * regr_avgx%1$s * regr_avgy%1$s', row_variable.pair
        )
        else format('sum(%s%s * %s)', weight.factor, row_variable.name, column_variable.name)
      end as term
    from variable as row_variable
    join variable as column_variable on column_variable.nth >= row_variable.nth
    cross join weight
  )
  select
    (
      select array_agg(
        case when mate is not null then format('regr_count%1$s * regr_avg%2$s%1$s', pair, side)
          else format('sum(%s%s)', factor, name) end
        order by nth
      )
      from variable
      cross join weight
    )
    || (select array_agg(term order by row_nth, column_nth) from product)
    || case when design.weights is not null then '{sum(prior)}'::text[] end;
end;

comment on function ml._product_sums(ml.design, text) is $$
Returns the aggregates that compute the sums and the Gram matrix of a design's columns and y.
The last is the sum of the weights if there are weights. `prefix` is d, the columns in double precision, or x, in
numeric: then each term is one aggregate.
$$;

grant execute on function ml._product_sums(ml.design, text) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_product_sums.sql

--! Included ml/regression/_every_row_complete.sql
create or replace function ml._every_row_complete(design ml.design)
returns text
language sql
stable
begin atomic
  select case
    when design.weights is not null then 'count(*) = count(*) filter (where complete)'
    else string_agg(
      case when mate is null then format('count(*) = count(%s)', name)
        else format('count(*) = regr_count(%s, %s)', name, mate) end,
      ' and ' order by nth
    ) filter (where is_first)
  end
  from ml._product_variables(design, 'd');
end;

comment on function ml._every_row_complete(ml.design) is $$
Returns the text of an aggregate condition over ml._rows: no row has a null.
$$;

grant execute on function ml._every_row_complete(ml.design) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_every_row_complete.sql

--! Included ml/regression/linregr_train.sql
/*
 * One scan computes all sums that ordinary least squares needs; the rest is k x k algebra. Where strong correlations or
 * a nearly perfect fit would leave fewer than ten digits of double precision, the sums are computed once more in
 * numeric, exactly: this reproduces the certified digits of NIST's most difficult data sets, and costs nothing for
 * other data.
 */
create or replace function ml._numeric_sums(design ml.design, keys text[])
returns table (key text, complete_count bigint, skipped_count bigint, sums numeric[])
language plpgsql
as $$
declare
  v_columns constant text := ml._columns_of(design, 'x', ', %s', '');
  v_prior constant text := case when design.weights is not null then ', prior' else '' end;
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
          from unnest(design.groups) with ordinality as part (name, nth)
          having count(*) > 0
        ),
        '''''::text'
      )),
      format('(%s) as source', ml._values(design, 'numeric'))
    ), keys)
  );
exception when others then
  get stacked diagnostics v_state = returned_sqlstate, v_message = message_text;
  perform ml._caller_error(v_state, v_message, design.relation);
end;
$$;

comment on function ml._numeric_sums(ml.design, text[]) is $$
Returns the sums of a design in numeric, exactly, for the groups with the given keys (one empty key without groups).
$$;

create or replace function ml._float8_sums(design ml.design)
returns table (key text, complete_count bigint, skipped_count bigint, sums float8[])
language plpgsql
as $$
declare
  v_relation constant regclass := design.relation;
begin
  -- Without groups and nulls, a plain aggregate takes less time than one that is grouped by completeness.
  if design.groups = '{}' and not design.nulls then
    return query
    select null::text, part.row_count, 0::bigint, part.sums
    from ml._sums(
      ml._sums_statement(
        format('null::text as key, %s as complete, count(*) as row_count', ml._every_row_complete(design)),
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

comment on function ml._float8_sums(ml.design) is $$
Returns the sums of a design in double precision, with the numbers of complete and of skipped rows, by group key.
$$;

create or replace function ml._linregr_fits(design ml.design)
returns setof ml.fit
language plpgsql
as $$
declare
  v_doubtful text[] := '{}';
  v_group record;
  v_fit ml.fit;
begin
  for v_group in select * from ml._float8_sums(design) loop
    v_fit := null;
    if v_group.complete_count = 0 then
      v_fit.failure := ml._no_rows(design);
    else
      if v_group.sums && array['NaN', 'Infinity', '-Infinity']::float8[] then
        perform ml._refuse_non_finite(design);
      end if;
      v_fit := ml._least_squares(v_group.complete_count, v_group.sums, design);
      if not v_fit.trusted and v_fit.failure is null then
        v_doubtful := v_doubtful || coalesce(v_group.key, '');
        continue;
      end if;
    end if;
    v_fit.group_key := coalesce(v_group.key, '');
    v_fit.row_count := v_group.complete_count;
    v_fit.skipped := v_group.skipped_count;
    v_fit.arithmetic := case when v_fit.failure is null then 'float8' end;
    return next v_fit;
  end loop;

  if v_doubtful <> '{}' then
    for v_group in select * from ml._numeric_sums(design, v_doubtful) loop
      v_fit := ml._least_squares_numeric(v_group.complete_count, v_group.sums, design);
      v_fit.group_key := v_group.key;
      v_fit.row_count := v_group.complete_count;
      v_fit.skipped := v_group.skipped_count;
      v_fit.arithmetic := case when v_fit.failure is null then 'numeric' end;
      return next v_fit;
    end loop;
  end if;
exception when numeric_value_out_of_range then
  perform ml._caller_error(sqlstate, sqlerrm, design.relation);
end;
$$;

comment on function ml._linregr_fits(ml.design) is $$
Returns ordinary least squares fits, one row per group.
In double precision where that is accurate, else in numeric (`arithmetic` states which).
$$;

create or replace function ml._residuals(design ml.design, fits ml.fit[])
returns text
language plpgsql
set search_path to pg_catalog, pg_temp
as $$
begin
  -- The rows, joined with the model of their group: residual e = y - b0 - sum b d, in the unit of y.
  return ml._layer(
    format(
      'row.key%s, row.y / %L::float8 + %L::float8 - fit.b0%s as e, fit.mean_square',
      ml._columns_of(design, 'd', ', row.%s', ''),
      design.y_scale,
      design.y_shift,
      (
        select coalesce(string_agg(format(' - fit.b%s * row.d%s', place, place), '' order by place), '')
        from unnest(design.active) as place
      )
    ),
    format('(select * from (%s) as row where complete) as row ', ml._rows(design)) || format(
      case when design.groups <> '{}' then 'join (%s) as fit on fit.key = row.key' else 'cross join (%s) as fit' end,
      (
        select format(
          'select * from unnest(%L::text[], %L::float8[], %L::float8[]%s) as fit (key, mean_square, b0%s)',
          array_agg(fit.group_key order by fit.group_key),
          array_agg(fit.rss / fit.row_count order by fit.group_key),
          array_agg(coalesce(fit.beta[fit.intercept], (
            -- without an intercept: the sum of the shifts times the coefficients
            select sum(fit.beta[place] * design.scale[place] * design.shift[place]) from unnest(design.active) as place
          )) order by fit.group_key),
          (
            select coalesce(string_agg(
              format(', %L::float8[]', (
                select array_agg(
                  case when place = one.intercept then 0 else one.beta[place] end
                  order by one.group_key
                )
                from unnest(fits) as one
              )),
              '' order by place
            ), '')
            from unnest(design.active) as place
          ),
          ml._columns_of(design, 'b', ', %s', '')
        )
        from unnest(fits) as fit
      )
    )
  );
end;
$$;

comment on function ml._residuals(ml.design, ml.fit[]) is $$
Returns the text of the select that adds the residual `e` under its group's linear model to each complete row.
$$;

create or replace function ml._breusch_pagan(design ml.design, fits ml.fit[])
returns ml.fit[]
language plpgsql
as $$
declare
  v_width constant integer := design.width;
  v_active constant integer[] := design.active;
  v_fits ml.fit[] := fits;
  v_fit ml.fit;
  v_group record;
  v_weight float8[];
  v_explained float8;
begin
  for v_group in
    select fit.nth, part.row_count, part.sums
    from ml._sums(
      format(
        'select key, true, count(*), array[sum(u), sum(u * u)%s] from (%s) as row group by key',
        ml._columns_of(design, 'd', ', sum(u * %s)', ''),
        ml._layer(
          'key, e * e / nullif(mean_square, 0) - 1 as u' || ml._columns_of(design, 'd', ', %s', ''),
          format('(%s) as residual', ml._residuals(
            design, array(select fit from unnest(fits) as fit where fit.failure is null)
          ))
        )
      ),
      design.relation
    ) as part
    join (
      select fit.ordinality as nth, fit.group_key from unnest(fits) with ordinality as fit
    ) as fit on fit.group_key = coalesce(part.key, '')
  loop
    -- the squared residuals, as multiples of their mean, regressed on the same columns: n R^2 (Koenker 1981)
    v_fit := fits[v_group.nth];
    v_weight := array_fill(0::float8, array[v_width]);
    for i in 1..cardinality(v_active) loop
      v_weight[v_active[i]] := v_group.sums[i + 2] / design.scale[v_active[i]]
        + case when v_fit.intercept is null then v_group.sums[1] * design.shift[v_active[i]] else 0 end;
    end loop;
    if v_fit.intercept is not null then
      v_weight[v_fit.intercept] := 0;
    end if;
    v_explained := 0;
    for i in 1..v_width loop
      for j in 1..v_width loop
        v_explained := v_explained + v_weight[i] * v_weight[j] * v_fit.inverse[i][j];
      end loop;
    end loop;
    v_fit.bp_stats := v_group.row_count * v_explained
      / nullif(v_group.sums[2] - v_group.sums[1] * v_group.sums[1] / v_group.row_count, 0);
    v_fit.bp_p_value := ml._incomplete_gamma(greatest(v_width - 1, 1) / 2.0, v_fit.bp_stats / 2, true);
    v_fits[v_group.nth] := v_fit;
  end loop;
  return v_fits;
end;
$$;

comment on function ml._breusch_pagan(ml.design, ml.fit[]) is $$
Returns fits with Breusch and Pagan's test for heteroskedasticity, in Koenker's form n R^2.
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
  v_design ml.design := ml._design(
    source_table,
    ml._less_offsets(dependent_varname, offsets, source_table),
    independent_varname,
    grouping_cols,
    weights
  );
  v_fit ml.fit;
  v_fits ml.fit[] := '{}';
  v_degrees float8;
begin
  if heteroskedasticity_option and weights is not null then
    perform common.refuse('CF001', 'heteroskedasticity_option is true and there are weights',
      'Weights assume known variances; to allow for others, use ml.robust_variance_linregr with the weights.');
  end if;
  for v_fit in select * from ml._linregr_fits(v_design) loop
    v_degrees := v_fit.row_count - v_design.width;
    if v_fit.failure is null and v_degrees > 0 then
      v_fit.covariance := ml._scaled(v_fit.inverse, v_fit.rss / v_degrees);
      v_fit := ml._tested(v_fit, v_degrees);
    end if;
    v_fits := v_fits || v_fit;
  end loop;
  perform ml._check_fits(v_fits, v_design);
  if heteroskedasticity_option then
    v_fits := ml._breusch_pagan(v_design, v_fits);
  end if;

  perform ml._publish(
    v_output, v_design, v_fits,
    format(
      'coef, r2, std_err, stats as t_stats, p_values, condition_no, %srow_count as num_rows_processed, '
        || 'skipped as num_missing_rows_skipped, covariance as variance_covariance, arithmetic, failure',
      case when heteroskedasticity_option then 'bp_stats, bp_p_value, ' else '' end
    ),
    format(
      $list$
      'linregr'::text as method, %L::text as source_table, %L::text as out_table, %L::text as dependent_varname,
      %L::text as independent_varname, row_count as num_rows_processed, skipped as num_missing_rows_skipped,
      %L::text as grouping_cols, group_count as num_all_groups, failed_count as num_failed_groups,
      %L::text as weights, %L::text as offsets
      $list$,
      source_table, out_table, dependent_varname, independent_varname, grouping_cols, weights, offsets
    )
  );
end;
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
  ml._numeric_sums(ml.design, text[]),
  ml._float8_sums(ml.design),
  ml._linregr_fits(ml.design),
  ml._residuals(ml.design, ml.fit[]),
  ml._breusch_pagan(ml.design, ml.fit[]),
  ml.linregr_train(text, text, text, text, text, boolean, text, text)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/linregr_train.sql

--! Included ml/trees/_explanation.sql
/*
 * Shapley's value of a feature in one leaf is the leaf's value times an average, over the orders in which features
 * become known, of a product of one factor a feature: the row's own answer to the splits of a known feature (0 or 1),
 * the share of training rows for an unknown one. The average over orders is the integral over t in 0..1 with each
 * other feature known with chance t. The integrand is a polynomial, so a few points of Gauss–Legendre quadrature give
 * it exactly, and every leaf, feature and point is a row of one statement.
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
stable
parallel safe
begin atomic
  select format(
    $query$
    with recursive nodes as (
      select * from %1$s
    ), edge as (
      select child.tree, child.node as leaf, child.value, child.parent as node, child.node as child,
        child.cover as child_cover
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
      from (select %2$s as id%3$s from %4$s where %5$s) as input
    ), given as materialized (
      select input.line, feature.*
      from input
      cross join lateral (%6$s) as feature (name, number, category, shown)
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
          * exp(product.logarithm - ln(factor.known * product.point + factor.unknown * (1 - product.point))))
          as contribution
      from factor
      join product using (line, tree, leaf)
      group by factor.line, factor.feature
    ), expected as (
      select %7$L::float8 + coalesce(sum(
        case when leaf.node = 0 then leaf.value else leaf.value * leaf.cover / root.cover end
      ), 0) as contribution
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
    nodes, id_expression, coalesce(', ' || nullif(inputs, ''), ''), relation, kept,
    coalesce((
      select 'values ' || string_agg(
        case when types[position] = 'category' and jsonb_typeof(categories -> name) is distinct from 'array'
          then format('(%1$L, null::float8, x%2$s, x%2$s)', name, position)
        when types[position] = 'category' then format(
          '(%1$L, null::float8, case when x%2$s = any (%3$L::text[]) then x%2$s end, x%2$s)',
          name, position, array(select jsonb_array_elements_text(categories -> name))
        )
        else format('(%1$L, x%2$s, null::text, x%2$s::text)', name, position) end,
        ', ' order by position
      )
      from unnest(names) with ordinality as feature (name, position)
    ), 'select null::text, null::float8, null::text, null::text where false'),
    intercept
  );
end;

comment on function ml._explanation(text, float8, text[], text[], jsonb, text, text, text, text) is $$
The statement that explains the raw scores of boosted trees:
id, feature, feature_value and contribution, for the rows of a relation that are `kept`.
`nodes` is the model's table, or a query in its place; `inputs` gives the features as x1, x2, … (see ml._tree_inputs).
$$;

grant execute on function ml._explanation(text, float8, text[], text[], jsonb, text, text, text, text)
  to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/trees/_explanation.sql

--! Included ml/preparation/_pairs.sql
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
  v_relation regclass := common.relation(source_table);
  v_output text := common.output_table(output_table, array['_summary']);
  v_groups text[] := common.column_names(v_relation, grouping_cols, 'grouping columns');
  v_columns text[];
  v_numbers text[];
  v_rows bigint;
  v_wrong text;
begin
  if coalesce(btrim(target_cols), '*') = '*' then
    v_columns := array(
      select quote_ident(attribute.attname)
      from pg_catalog.pg_attribute as attribute
      where attribute.attrelid = v_relation
        and attribute.attnum > 0
        and not attribute.attisdropped
        and common.base_type(attribute.atttypid::regtype) = any (
          array['smallint', 'integer', 'bigint', 'real', 'double precision', 'numeric', 'boolean']::regtype[])
        and not quote_ident(attribute.attname) = any (v_groups)
      order by attribute.attnum
    );
  else
    v_columns := common.column_names(v_relation, target_cols, 'target columns');
  end if;
  if cardinality(v_columns) < 2 then
    perform common.refuse('CF004', format('"%s" has %s columns to compare', v_relation, cardinality(v_columns)),
      'Name at least two columns of numbers.');
  elsif cardinality(v_columns) > 500 then
    perform common.refuse('CF008', format('%s columns', cardinality(v_columns)), 'Name up to 500 columns.');
  end if;
  v_numbers := array(select common.numeric_expression(name, v_relation, 'target column')
    from unnest(v_columns) with ordinality as part (name, position) order by position);
  drop table if exists pg_temp._ml_pair;
  execute format(
    'create temp table _ml_pair on commit drop as
      select %s count(*) as _row_count, array[%s]::float8[] as _below from %s
      where %s %s having count(*) > 0',
    (select coalesce(string_agg(name || ', ', '' order by position), '')
      from unnest(v_groups) with ordinality as part (name, position)),
    -- The lower triangle, row by row, as one list of built-in aggregates.
    (
      select string_agg(format('%s(%s, %s)', aggregate, left_side.number, right_side.number), ', '
        order by left_side.position, right_side.position)
      from unnest(v_numbers) with ordinality as left_side (number, position)
      join unnest(v_numbers) with ordinality as right_side (number,
        position) on right_side.position <= left_side.position
    ),
    v_relation,
    (select string_agg(name || ' is not null', ' and ') from unnest(v_columns) as name),
    case when v_groups = '{}' then '' else 'group by ' || array_to_string(v_groups, ', ') end
  );
  select sum(_row_count) into v_rows from pg_temp._ml_pair;
  if coalesce(v_rows, 0) = 0 then
    perform common.refuse(
      'CF004',
      format('"%s" has no row without a null in %s', v_relation, array_to_string(v_columns, ', ')),
      'Rows with a null in any of the columns are left out.'
    );
  end if;
  -- NaN and infinity make what their column is compared with, itself included, NaN.
  select name
  into v_wrong
  from pg_temp._ml_pair
  cross join unnest(v_columns) with ordinality as part (name, position)
  where _below[position * (position + 1) / 2] in ('NaN', 'Infinity', '-Infinity')
  order by position
  limit 1;
  if v_wrong is not null then
    perform common.refuse('CF001', format('%s of "%s" holds NaN or infinity', left(v_wrong, 100), v_relation),
      'Leave such rows out, or make the values null: rows with a null are left out.');
  end if;
  perform ml._create_table(format(
    'create table %s as select %s column_position::int, variable, %s from pg_temp._ml_pair cross
      join unnest(%L::text[]) with ordinality as line (variable, column_position) order by %s column_position',
    v_output,
    (select coalesce(string_agg(name || ', ', '' order by position), '')
      from unnest(v_groups) with ordinality as part (name, position)),
    (
      select string_agg(
        format('case when column_position >= %1$s then _below[column_position * (column_position - 1) / 2 + %1$s]
            end as %2$s', position, name), ', ' order by position)
      from unnest(v_columns) with ordinality as part (name, position)
    ),
    array(select (parse_ident(name))[1] from unnest(v_columns) with ordinality as part (name, position)
      order by position),
    (select coalesce(string_agg(name || ', ', '' order by position), '')
      from unnest(v_groups) with ordinality as part (name, position))
  ));
  execute format(
    'create table %s as select %L::text as method, %L::text as source, %L::text as output_table,
      %L::text[] as column_names, %s::bigint as total_rows_processed, (select count(*)
        from %s) - %s as total_rows_skipped',
    common.companion_table(v_output, '_summary'), case aggregate when 'corr' then 'Correlation' else 'Covariance' end,
    v_relation, v_output, v_columns, v_rows, v_relation, v_rows
  );
  drop table pg_temp._ml_pair;
exception when numeric_value_out_of_range then
  perform ml._caller_error(sqlstate, sqlerrm, v_relation);
end;
$$;

comment on function ml._pairs(text, text, text, text, text) is $$
Writes the lower triangle of a two-argument aggregate over all pairs of columns, in one scan.
$$;

grant execute on function ml._pairs(text, text, text, text, text) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/preparation/_pairs.sql

--! Included ml/preparation/correlation.sql
create or replace function ml.correlation(
  source_table text,
  output_table text,
  target_cols text default '*',
  verbose boolean default false,
  grouping_cols text default null,
  n_groups_per_run int default 10
)
returns void
language sql
begin atomic
  select ml._pairs(source_table, output_table, target_cols, grouping_cols, 'corr');
end;

comment on function ml.correlation(text, text, text, boolean, text, int) is $$
@behavior -*
Pearson's correlation of every pair of columns (−1..1; null where a column is constant).
With `*` all columns of numbers or booleans. Rows with a null in any of them are left out and counted. One scan of
built-in aggregates, also by group.
Writes `output_table`: the grouping columns, `column_position`, `variable` and one float8 column a variable (lower
triangle, null above the diagonal); and `<output_table>_summary`. `verbose` and `n_groups_per_run` change nothing.
Errors: CF001 (not a number, NaN or infinity), CF002, CF003 (a table exists), CF004 (fewer than two columns, no rows),
CF005, CF008 (over 500 columns).
$$;

grant execute on function ml.correlation(text, text, text, boolean, text, int)
  to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/preparation/correlation.sql

--! Included ml/preparation/covariance.sql
create or replace function ml.covariance(
  source_table text,
  output_table text,
  target_cols text default '*',
  verbose boolean default false,
  grouping_cols text default null,
  n_groups_per_run int default 10
)
returns void
language sql
begin atomic
  select ml._pairs(source_table, output_table, target_cols, grouping_cols, 'covar_samp');
end;

comment on function ml.covariance(text, text, text, boolean, text, int) is $$
@behavior -*
Sample covariance of every pair of columns (divided by n − 1; the diagonal holds the variances).
With `*` all columns of numbers or booleans. Rows with a null in any of them are left out and counted. One scan of
built-in aggregates, also by group.
Writes `output_table`: the grouping columns, `column_position`, `variable` and one float8 column a variable (lower
triangle, null above the diagonal); and `<output_table>_summary`. `verbose` and `n_groups_per_run` change nothing.
Errors: CF001 (not a number, NaN or infinity), CF002, CF003 (a table exists), CF004 (fewer than two columns, no rows),
CF005, CF008 (over 500 columns).
$$;

grant execute on function ml.covariance(text, text, text, boolean, text, int)
  to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/preparation/covariance.sql

--! Included ml/forecasts/_read_series.sql
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
  v_time text := common.column_name(relation, timestamp_column, 'timestamp column');
  v_value text := common.numeric_expression(timeseries_column, relation, 'time series column');
begin
  drop table if exists pg_temp._ml_series;
  execute format(
    $query$
    create temp table _ml_series on commit drop as
    select
      jsonb_build_array(%1$s) as _place,
      %2$s array_agg(%3$s order by %4$s) as _series,
      array_agg(%4$s::text order by %4$s) as _times,
      case when count(*) > count(distinct %4$s) then
        format('it has several rows at %%s', left((mode() within group (order by %4$s))::text, 100))
      end as _failure
    from %5$s
    where %4$s is not null
    %6$s
    $query$,
    coalesce(array_to_string(groups, ', '), ''),
    case when groups = '{}' then '' else array_to_string(groups, ', ') || ',' end,
    v_value, v_time, relation,
    case when groups = '{}' then 'having count(*) > 0' else 'group by ' || array_to_string(groups, ', ') end
  );
  if not exists (select from pg_temp._ml_series) then
    perform common.refuse('CF004', format('"%s" has no row with a time', relation),
      'Give a table with at least one row whose time is not null.');
  end if;
  update pg_temp._ml_series
  set _failure = case
    when invalid.position is not null then
      format('the value at %s is NaN or infinity', left(_times[invalid.position], 100))
    else 'it has values beyond 1e100'
  end
  from (
    select
      source._place as place,
      coalesce(
        array_position(source._series, 'NaN'),
        array_position(source._series, 'Infinity'),
        array_position(source._series, '-Infinity')
      ) as position,
      (select max(abs(value)) > 1e100 from unnest(source._series) as value) as is_huge
    from pg_temp._ml_series as source
  ) as invalid
  where _ml_series._place = invalid.place
    and _ml_series._failure is null
    and (invalid.position is not null or invalid.is_huge);
end;
$$;

comment on function ml._read_series(regclass, text, text, text[]) is $$
Reads the series of a table into the temporary table `_ml_series`.
One row per group: its columns, its values `_series` and their `_times` as arrays in the order of time, and `_failure`,
the reason why it is not a series (two rows with the same time, NaN, infinity or values beyond 1e100), or null.
Errors: CF001 (not a number), CF002 (unknown column), CF004 (no rows).
$$;
--! EndIncluded ml/forecasts/_read_series.sql

--! Included ml/forecasts/_ets_model.sql
create or replace function ml._ets_shapes(
  period int,
  trend text,
  seasonal text,
  positive boolean,
  cycles int
)
returns int[]
language sql
immutable
parallel safe
begin atomic
  select array_agg(
    array[period, shape.trend, shape.season, shape.error]
    order by shape.season, shape.trend, shape.error
  )
  from (
    select trend_shape as trend, season_shape as season, error_shape as error
    from unnest(
      case _ets_shapes.trend
        when 'none' then array[0]
        when 'additive' then array[1]
        when 'damped' then array[2]
        else array[0, 1, 2]
      end
    ) as trend_shape
    cross join unnest(
      case _ets_shapes.seasonal
        when 'none' then array[0]
        when 'additive' then array[1]
        when 'multiplicative' then array[2]
        else array[0, 1, 2]
      end
    ) as season_shape
    cross join unnest(array[0, 1]) as error_shape
    -- Additive errors of multiplicative seasons are not stable.
    where (season_shape = 0 or (period > 1 and cycles >= 2))
      and (error_shape = 0 or positive)
      and (season_shape < 2 or error_shape = 1)
  ) as shape;
end;

comment on function ml._ets_shapes(int, text, text, boolean, int) is $$
Returns the shapes of exponential smoothing among which one is chosen, those of ets() of R.
One per line, the simple ones first. Multiplicative ones need a series whose values are all above 0 (`positive`),
seasons at least two `cycles`.
$$;

create or replace function ml._ets_chosen(
  series float8[],
  shapes int[],
  fixed float8[],
  out model jsonb,
  out shape int[],
  out mae float8
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_fit constant record := ml._ets_best(series, shapes, fixed);
  -- Counts are not below 0; neither is what only has a relative error.
  v_least constant float8 := case
    when v_fit.shape[4] = 1
      or not exists (select from unnest(series) as value where value < 0 or value <> floor(value))
      then 0
  end;
begin
  shape := v_fit.shape;
  mae := (select avg(abs(error)) from unnest(v_fit.errors) as error);
  model := jsonb_build_object(
    'error', (array['additive', 'multiplicative'])[shape[4] + 1],
    'trend', (array['none', 'additive', 'damped'])[shape[2] + 1],
    'seasonal', (array['none', 'additive', 'multiplicative'])[shape[3] + 1],
    'alpha', v_fit.parameters[1],
    'beta', case when shape[2] > 0 then v_fit.parameters[2] end,
    'gamma', case when shape[3] > 0 then v_fit.parameters[3] end,
    'phi', case when shape[2] = 2 then v_fit.parameters[4] end,
    'level', v_fit.state[1],
    'slope', case when shape[2] > 0 then v_fit.state[2] end,
    'seasons', case when shape[3] > 0 then to_jsonb(v_fit.state[3:]) end,
    'least', v_least,
    'aicc', v_fit.criterion,
    'squares', v_fit.squares,
    'residual_variance', v_fit.residual_variance,
    'num_iterations', v_fit.iterations
  );
end;
$$;

comment on function ml._ets_chosen(float8[], int[], float8[]) is $$
Returns the best of some shapes as the JSON from which ml._ets_ahead forecasts, and its mean absolute one-step error.
$$;

create or replace function ml._ets_holdout(
  series float8[],
  shape int[],
  fixed float8[],
  holdout int,
  out mae float8,
  out naive_mae float8
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_known constant int := cardinality(series) - holdout;
  v_period constant int := greatest(shape[1], 1);
  v_model constant jsonb := (ml._ets_chosen(series[1:v_known], array[shape], fixed)).model;
  v_cycle constant float8[] := (ml._naive_cycle(series[1:v_known], v_period)).cycle;
begin
  select
    avg(abs(unseen.value - ahead.forecast)),
    avg(abs(unseen.value - v_cycle[(unseen.place - 1)::int % v_period + 1]))
  into mae, naive_mae
  from unnest(series[v_known + 1:]) with ordinality as unseen (value, place)
  join ml._ets_ahead(v_model, holdout) as ahead on ahead.step = unseen.place;
end;
$$;

comment on function ml._ets_holdout(float8[], int[], float8[], int) is $$
Returns the mean absolute errors of a shape and of the seasonal-naive forecast on held-out rows.
These are the last `holdout` rows; the model is fitted to the rows before.
$$;

create or replace function ml._ets_model(
  series float8[],
  period int,
  trend text,
  seasonal text,
  fixed float8[],
  holdout int,
  out failure text,
  out model jsonb,
  out method text,
  out size int,
  out mae float8,
  out mase float8,
  out holdout_rows int,
  out holdout_mae float8,
  out holdout_naive_mae float8,
  out cycle float8[]
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_lowest float8;
  v_highest float8;
  v_fit record;
  v_naive record;
  v_naive_mae float8;
begin
  select count(value), min(value), max(value) into size, v_lowest, v_highest from unnest(series) as value;
  failure := case
    when size < greatest(4, case when seasonal in ('additive', 'multiplicative') then 2 * period end) then
      format('%s values are too few for a forecast', size)
    when cardinality(series) <= period then
      format('%s values are too few for a cycle of %s', size, period)
    when greatest(abs(v_lowest), abs(v_highest)) between 1e-320 and 1e-100 then 'its values are within 1e-100 of 0'
    when seasonal = 'multiplicative' and v_lowest <= 0 then
      'a multiplicative season needs values above 0; choose additive'
  end;
  if failure is not null then
    return;
  end if;

  v_fit := ml._ets_chosen(
    series,
    ml._ets_shapes(period, trend, seasonal, v_lowest > 1e-100, cardinality(series) / period),
    fixed
  );
  model := v_fit.model;
  method := format(
    'ETS(%s,%s,%s)',
    (array['A', 'M'])[v_fit.shape[4] + 1],
    (array['N', 'A', 'Ad'])[v_fit.shape[2] + 1],
    (array['N', 'A', 'M'])[v_fit.shape[3] + 1]
  );
  mae := v_fit.mae;
  v_naive := ml._naive_cycle(series, period);
  cycle := v_naive.cycle;
  -- The mean absolute error of the seasonal-naive forecast on the same rows: the scale of MASE.
  select avg(abs(pair.value - pair.last))
  into v_naive_mae
  from (
    select entry.value, lag(entry.value, _ets_model.period) over (order by entry.place) as last
    from unnest(series) with ordinality as entry (value, place)
  ) as pair;

  holdout_rows := coalesce(holdout, case
    when size >= greatest(3 * period, 10) + period then greatest(period, size / 10)
    else 0
  end);
  holdout_rows := case when size - holdout_rows >= greatest(4, 2 * period) then nullif(holdout_rows, 0) end;
  if holdout_rows > 0 then
    select compared.mae, compared.naive_mae
    into holdout_mae, holdout_naive_mae
    from ml._ets_holdout(series, v_fit.shape, fixed, holdout_rows) as compared;
  end if;
  -- Where the choice is free, the naive forecast is one of the choices.
  if holdout_naive_mae < holdout_mae and trend = 'auto' and seasonal = 'auto' and num_nonnulls(variadic fixed) = 0 then
    method := case when period > 1 then 'seasonal naive' else 'naive' end;
    mae := v_naive_mae;
    model := jsonb_build_object(
      'error', 'additive',
      'trend', 'none',
      'seasonal', 'additive',
      'seasons', to_jsonb(v_naive.cycle),
      'ages', to_jsonb(v_naive.ages),
      'least', model -> 'least',
      'residual_variance', v_naive.deviation ^ 2
    );
  end if;
  mase := mae / nullif(v_naive_mae, 0);
end;
$$;

comment on function ml._ets_model(float8[], int, text, text, float8[], int) is $$
Returns the smoothing model of a series, with its errors and those of the seasonal-naive forecast.
The arguments and results are those of `ml.ets_train`, `fixed` the result of `ml._ets_fixed`; `size`: number of values;
`cycle`: the seasonal-naive forecast of the next cycle; `failure`: why the series has no model.
$$;

grant execute on function
  ml._ets_shapes(int, text, text, boolean, int),
  ml._ets_chosen(float8[], int[], float8[]),
  ml._ets_holdout(float8[], int[], float8[], int),
  ml._ets_model(float8[], int, text, text, float8[], int)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/forecasts/_ets_model.sql

--! Included ml/forecasts/_arima_model.sql
create or replace function ml._arima_deviance(
  series float8[],
  orders int[],
  point float8[],
  bounded boolean
)
returns float8
language sql
immutable
parallel safe
begin atomic
  select 0.5 * count(*) * ln(sum(entry.error * entry.error))
  from unnest(
    ml._arima_errors(
      _arima_deviance.series, _arima_deviance.orders, _arima_deviance.point, _arima_deviance.bounded
    )
  ) as entry (error)
  where abs(entry.error) > 1e-140;
end;

comment on function ml._arima_deviance(float8[], int[], float8[], boolean) is $$
Returns what the logarithm of the likelihood lacks, up to a constant; null where the model is not stationary.
$$;

create or replace function ml._arima_curvature(
  series float8[],
  orders int[],
  point float8[],
  bounded boolean,
  out deviance float8,
  out gradient float8[],
  out curvature float8[]
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_count constant int := cardinality(point);
  v_step constant float8 := 1e-4;
  v_sides float8[] := array[0, 0];
  v_try float8[];
  v_sum float8;
begin
  deviance := ml._arima_deviance(series, orders, point, bounded);
  gradient := array_fill(0::float8, array[v_count]);
  curvature := array_fill(0::float8, array[v_count, v_count]);
  for i in 1..v_count loop
    for v_side in 1..2 loop
      v_try := point;
      v_try[i] := point[i] + (2 * v_side - 3) * v_step;
      v_sides[v_side] := ml._arima_deviance(series, orders, v_try, bounded);
    end loop;
    gradient[i] := (v_sides[2] - v_sides[1]) / (2 * v_step);
    curvature[i][i] := (v_sides[1] + v_sides[2] - 2 * deviance) / v_step ^ 2;
    for j in 1..i - 1 loop
      v_sum := 0;
      for v_side in 1..2 loop
        for v_other in 1..2 loop
          v_try := point;
          v_try[i] := point[i] + (2 * v_side - 3) * v_step;
          v_try[j] := point[j] + (2 * v_other - 3) * v_step;
          v_sum := v_sum
            + case when v_side = v_other then 1 else -1 end * ml._arima_deviance(series, orders, v_try, bounded);
        end loop;
      end loop;
      curvature[i][j] := v_sum / (4 * v_step ^ 2);
      curvature[j][i] := curvature[i][j];
    end loop;
  end loop;
end;
$$;

comment on function ml._arima_curvature(float8[], int[], float8[], boolean) is $$
Returns the deviance of an ARIMA model with its first and second derivatives, by differences.
$$;

create or replace function ml._arima_refined(
  series float8[],
  orders int[],
  start float8[],
  max_iter int,
  out point float8[],
  out iterations int,
  out converged boolean
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_near record;
  v_damped float8[];
  v_inverse float8[];
  v_damping float8 := 0;
  v_try float8[];
  v_step float8;
  v_promise float8;
begin
  point := start;
  iterations := 0;
  converged := false;
  v_near := ml._arima_curvature(series, orders, point, true);
  while iterations < max_iter and not converged loop
    iterations := iterations + 1;
    v_damped := v_near.curvature;
    for i in 1..cardinality(point) loop
      v_damped[i][i] := v_damped[i][i] + v_damping;
    end loop;
    v_inverse := (ml._spd_inverse(v_damped, 1e-14)).inverse;
    if v_inverse is not null then
      v_try := point;
      v_promise := 0;
      for i in 1..cardinality(point) loop
        v_step := 0;
        for j in 1..cardinality(point) loop
          v_step := v_step - v_inverse[i][j] * v_near.gradient[j];
        end loop;
        v_promise := v_promise - v_step * v_near.gradient[i];
        v_try[i] := point[i] + greatest(-2, least(2, v_step));
      end loop;
      -- By how much the step would raise the logarithm of the likelihood.
      converged := v_damping = 0 and v_promise < 1e-8;
      if ml._arima_deviance(series, orders, v_try, true) < v_near.deviance then
        point := v_try;
        v_damping := case when v_damping > 0.01 then v_damping / 10 else 0 end;
        if not converged then
          v_near := ml._arima_curvature(series, orders, point, true);
        end if;
        continue;
      end if;
    end if;
    exit when v_damping > 1e9;
    v_damping := greatest(v_damping * 10, 0.01);
  end loop;
end;
$$;

comment on function ml._arima_refined(float8[], int[], float8[], int) is $$
Returns the estimate of an ARIMA model by damped Newton steps, from a point near it.
For likelihoods with a long ridge, on which least squares advance slowly.
$$;

create or replace function ml._arima_model(
  series float8[],
  orders int[],
  method text,
  max_iter int,
  out failure text,
  out parameters float8[],
  out standard_errors float8[],
  out residual_variance float8,
  out log_likelihood float8,
  out value_count int,
  out iterations int,
  out converged boolean,
  out unit_root text,
  out residuals float8[],
  out state float8[],
  out covariance float8[]
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_p constant int := orders[1];
  v_d constant int := orders[2];
  v_q constant int := orders[3];
  v_mean constant int := orders[4];
  v_unknowns constant int := v_p + v_q + v_mean;
  v_known constant int := (select count(value) from unnest(series) as value);
  v_gaps constant boolean := v_known < cardinality(series);
  v_exact constant int := case method when 'ml' then 1 else 0 end;
  v_largest constant float8 := (select max(abs(value)) from unnest(series) as value);
  v_values float8[] := series;
  v_levels float8[] := '{}';
  v_centre float8;
  v_scale float8;
  v_shape int[];
  v_fit record;
  v_best record;
  v_least float8;
  v_filtered record;
  v_errors float8[];
  v_start float8[];
  v_counted int;
  v_offset float8 := 0;
  v_arma int;
  v_inverse float8[];
begin
  converged := false;
  failure := case
    when v_known - v_d - case when v_exact = 1 then 0 else v_p end <= v_unknowns + 1 then
      format('%s values are too few for orders %s', v_known, orders[1:3])
    when v_gaps and v_exact = 0 then 'it has a gap, which the method css does not accept'
    when v_gaps and v_d > 1 and v_mean = 1 then
      'it has a gap, so that the mean of its second or higher differences is not estimated'
  end;
  if failure is not null then
    return;
  end if;

  -- Without gaps the series is differenced; with gaps the levels are part of the state.
  if not v_gaps then
    for v_round in 1..v_d loop
      v_levels := v_levels || v_values[cardinality(v_values)];
      v_values := array(
        select v_values[place + 1] - v_values[place]
        from generate_series(1, cardinality(v_values) - 1) as place
        order by place
      );
    end loop;
  end if;
  v_shape := array[v_p, case when v_gaps then v_d else 0 end, v_q, v_mean, v_exact];

  -- In units in which the changes are about 1, around 0.
  select avg(value), stddev_pop(value / v_largest) * v_largest
  into v_centre, v_scale
  from unnest(v_values) as value;
  if v_gaps and v_d > 0 then
    select stddev_pop((change.value - change.last) / v_largest) * v_largest
    into v_scale
    from (
      select entry.value, lag(entry.value) over (order by entry.place) as last
      from unnest(v_values) with ordinality as entry (value, place)
      where entry.value is not null
    ) as change;
  end if;
  if not coalesce(v_scale > 1e-13 * v_largest and v_scale > 1e-100, false) then
    failure := case when v_d = 0 then 'it is constant' else 'its differences are constant' end;
    return;
  end if;
  if v_mean = 0 and v_shape[2] = 0 then
    v_centre := 0;
    select sqrt(avg((value / v_scale) ^ 2)) * v_scale into v_scale from unnest(v_values) as value;
  end if;
  v_values := array(
    select (entry.value - v_centre) / v_scale
    from unnest(v_values) with ordinality as entry (value, place)
    order by entry.place
  );

  -- Nine starts; the best three are followed to the end.
  for v_start in
    select tried.start
    from (
      select candidate.start, ml._squares(ml._arima_errors(v_values, v_shape, candidate.start, true)) as squares
      from (
        select distinct array_cat(
          array_cat(
            case when v_p > 0 then ar.partial || array_fill(0::float8, array[v_p - 1]) else '{}' end,
            case when v_q > 0 then ma.partial || array_fill(0::float8, array[v_q - 1]) else '{}' end
          ),
          array_fill(0::float8, array[v_mean])
        ) as start
        from unnest(array[-0.6, 0.1, 0.8]::float8[]) as ar (partial)
        cross join unnest(array[-0.6, 0.1, 0.6]::float8[]) as ma (partial)
      ) as candidate
    ) as tried
    order by tried.squares
    limit 3
  loop
    v_fit := ml._series_fit(
      'arima', v_values, v_shape, v_start, null,
      array(select generate_series(1, v_unknowns)), v_p + v_q, least(max_iter, 40), 1e-10
    );
    if v_least is null or v_fit.squares < v_least then
      v_best := v_fit;
      v_least := v_fit.squares;
    end if;
  end loop;
  iterations := v_best.iterations;
  converged := v_best.converged;
  v_start := v_best.point;
  if not converged and iterations < max_iter then
    v_best := ml._arima_refined(v_values, v_shape, v_start, max_iter - iterations);
    iterations := iterations + v_best.iterations;
    converged := v_best.converged;
    v_start := v_best.point;
  end if;
  unit_root := nullif(concat_ws(', ',
    case when exists (select from unnest(v_start[1:v_p]) as free where abs(free) > 4.5) then 'ar' end,
    case when exists (select from unnest(v_start[v_p + 1:v_p + v_q]) as free where abs(free) > 4.5) then 'ma' end
  ), '');
  parameters := ml._arima_bounded(v_start[1:v_p], 1)
    || ml._arima_bounded(v_start[v_p + 1:v_p + v_q], -1)
    || v_start[v_p + v_q + 1:v_unknowns];

  v_errors := ml._arima_errors(v_values, v_shape, parameters, false);
  v_counted := (select count(error) from unnest(v_errors) as error);
  value_count := v_known - v_d;
  if unit_root is null then
    v_inverse := (
      ml._spd_inverse((ml._arima_curvature(v_values, v_shape, parameters, false)).curvature, 1e-12)
    ).inverse;
  end if;
  standard_errors := array(
    select sqrt(v_inverse[k][k] * v_counted / value_count)
    from generate_series(1, v_unknowns) as k
    order by k
  );
  log_likelihood := -0.5 * value_count * (ln(2 * pi() * ml._squares(v_errors) / v_counted) + 1)
    - value_count * ln(v_scale);

  -- The state after the last value is that of the exact filter for both methods.
  if v_mean = 1 then
    v_offset := parameters[v_unknowns];
  end if;
  v_filtered := ml._arima_filter(
    array(
      select entry.value - v_offset * case v_shape[2] when 0 then 1 else entry.place end
      from unnest(v_values) with ordinality as entry (value, place)
      order by entry.place
    ),
    parameters[1:v_p], parameters[v_p + 1:v_p + v_q], v_shape[2]
  );
  if v_exact = 1 then
    v_errors := array(
      select entry.residual / entry.deviation
      from unnest(v_filtered.residuals, v_filtered.deviations) with ordinality as entry (residual, deviation, place)
      order by entry.place
    );
  end if;
  residual_variance := ml._squares(v_errors) / v_counted * v_scale ^ 2;
  residuals := array(
    select entry.error * v_scale
    from unnest(v_errors) with ordinality as entry (error, place)
    order by entry.place
  );
  if v_mean = 1 then
    parameters[v_unknowns] := v_offset * v_scale + case v_shape[2] when 0 then v_centre else 0 end;
    standard_errors[v_unknowns] := standard_errors[v_unknowns] * v_scale;
  end if;
  state := array(
    select part.value * v_scale
    from unnest(v_filtered.state) with ordinality as part (value, place)
    order by part.place
  );
  covariance := v_filtered.covariance;
  v_arma := cardinality(state) - v_shape[2];
  if v_shape[2] > 0 then
    state[v_arma + 1] := state[v_arma + 1] + v_centre;
    if v_mean = 1 then
      state[v_arma + 1] := state[v_arma + 1] + parameters[v_unknowns] * (cardinality(series) + 1);
    end if;
  elsif v_d > 0 then
    v_start := array_fill(0::float8, array[v_arma + v_d, v_arma + v_d]);
    for i in 1..v_arma + v_d loop
      for j in 1..v_arma + v_d loop
        v_start[i][j] := covariance[case when i > v_arma then 1 else i end][case when j > v_arma then 1 else j end];
      end loop;
    end loop;
    covariance := v_start;
    for k in reverse v_d..1 loop
      state[v_arma + k] := v_levels[k] + case
        when k < v_d then state[v_arma + k + 1]
        else state[1] + case when v_mean = 1 then parameters[v_unknowns] else 0 end
      end;
    end loop;
  end if;
end;
$$;

comment on function ml._arima_model(float8[], int[], text, int) is $$
Returns the ARIMA model of a series, or the reason why it has none.
`orders`: p, d, q, with mean (0, 1); `method`: css, ml. `parameters` and `standard_errors`: ar, ma, mean. `residuals`
begin with the first value that has one, and, without gaps, after the first d. `state` and `covariance` are those of
ml._arima_ahead. `value_count`: number of values less d.
$$;

grant execute on function
  ml._arima_deviance(float8[], int[], float8[], boolean),
  ml._arima_curvature(float8[], int[], float8[], boolean),
  ml._arima_refined(float8[], int[], float8[], int),
  ml._arima_model(float8[], int[], text, int)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/forecasts/_arima_model.sql

--! Included ml/forecasts/arima_train.sql
create or replace function ml.arima_train(
  input_table text,
  output_table text,
  timestamp_column text,
  timeseries_column text,
  grouping_columns text default null,
  include_mean boolean default false,
  non_seasonal_orders int[] default array[1, 1, 1],
  optimizer_params text default null,
  method text default 'css'
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_started timestamptz := clock_timestamp();
  v_relation regclass := common.relation(input_table);
  v_output text := common.output_table(output_table, array['_summary', '_residual']);
  v_summary constant text := common.companion_table(v_output, '_summary');
  v_residual constant text := common.companion_table(v_output, '_residual');
  v_time text := common.column_name(v_relation, timestamp_column, 'timestamp column');
  v_groups text[] := common.column_names(v_relation, grouping_columns, 'grouping columns');
  v_group_list text := array_to_string(v_groups, ', ') || case when v_groups = '{}' then '' else ',' end;
  v_p int;
  v_q int;
  v_max_iter int := 500;
  v_row record;
  v_fit record;
begin
  if include_mean is null
    or coalesce(array_length(non_seasonal_orders, 1), 0) <> 3
    or array_ndims(non_seasonal_orders) <> 1
    or array_position(non_seasonal_orders, null) is not null
    or 0 > any (non_seasonal_orders)
    or 10 < any (non_seasonal_orders)
    or non_seasonal_orders[1] + non_seasonal_orders[3] + include_mean::int = 0
  then
    perform common.refuse(
      'CF001',
      format('non_seasonal_orders is %s', coalesce(left(non_seasonal_orders::text, 100), 'null')),
      'Give p, d and q from 0 to 10, such as array[1,1,1]; p, q or the mean must be estimated.'
    );
  elsif method is null or method not in ('css', 'ml') then
    perform common.refuse('CF001', format('method is %s', coalesce(left(method, 100), 'null')),
      'Choose css (conditional sum of squares) or ml (exact maximum likelihood).');
  end if;
  if nullif(btrim(optimizer_params), '') is not null then
    v_max_iter := substring(optimizer_params from '^\s*max_iter\s*=\s*([0-9]{1,6})\s*$')::int;
    if v_max_iter is null then
      perform common.refuse('CF001', format('optimizer_params is "%s"', left(optimizer_params, 100)),
        'Give the number of iterations, such as max_iter=200.');
    end if;
  end if;
  perform ml._check_output_columns(v_groups, array[
    'mean', 'mean_std_error', 'ar_params', 'ar_std_errors', 'ma_params', 'ma_std_errors', 'input_table', 'method',
    'timestamp_col', 'timeseries_col', 'non_seasonal_orders', 'include_mean', 'residual_variance', 'log_likelihood',
    'iter_num', 'converged', 'unit_root', 'exec_time', 'num_rows_processed', 'num_missing_rows_skipped', 'failure',
    'state', 'state_covariance', 'residual', v_time
  ]);
  v_p := non_seasonal_orders[1];
  v_q := non_seasonal_orders[3];
  perform ml._read_series(v_relation, timestamp_column, timeseries_column, v_groups);
  perform ml._create_table(format(
    $query$
    create table %1$s as
    select
      %2$s null::float8 as mean, null::float8 as mean_std_error, null::float8[] as ar_params,
      null::float8[] as ar_std_errors, null::float8[] as ma_params, null::float8[] as ma_std_errors
    from pg_temp._ml_series
    where false
    $query$,
    v_output, v_group_list
  ));
  execute format(
    $query$
    create table %1$s as
    select
      %2$s null::text as input_table, null::text as timestamp_col, null::text as timeseries_col,
      null::int[] as non_seasonal_orders, null::boolean as include_mean, null::text as method,
      null::float8 as residual_variance, null::float8 as log_likelihood, null::int as iter_num,
      null::boolean as converged, null::text as unit_root, null::interval as exec_time,
      null::bigint as num_rows_processed, null::bigint as num_missing_rows_skipped, null::text as failure,
      null::float8[] as state, null::float8[] as state_covariance
    from pg_temp._ml_series
    where false
    $query$,
    v_summary, v_group_list
  );
  perform ml._create_table(format(
    'create table %1$s as select %2$s %3$s, null::float8 as residual from %4$s where false',
    v_residual, v_group_list, v_time, v_relation
  ));

  for v_row in
    select
      source._place as place, source._series as series, source._failure as failure,
      (select count(value) from unnest(source._series) as value) as known
    from pg_temp._ml_series as source
    order by source._place
  loop
    v_fit := ml._arima_model(
      case when v_row.failure is null then v_row.series else '{}' end, non_seasonal_orders || include_mean::int, method,
      v_max_iter
    );
    v_row.failure := coalesce(v_row.failure, v_fit.failure);
    if v_row.failure is not null and v_groups = '{}' then
      perform ml._refuse_series(v_row.failure, v_relation::text);
    end if;
    execute format(
      $query$
      insert into %1$s
      select %2$s $1, $2, $3, $4, $5, $6
      from pg_temp._ml_series
      where _place = $7
      $query$,
      v_output, v_group_list
    ) using
      case when include_mean and v_row.failure is null then v_fit.parameters[v_p + v_q + 1] end,
      case when include_mean and v_row.failure is null then v_fit.standard_errors[v_p + v_q + 1] end,
      case when v_row.failure is null then v_fit.parameters[1:v_p] end,
      case when v_row.failure is null then v_fit.standard_errors[1:v_p] end,
      case when v_row.failure is null then v_fit.parameters[v_p + 1:v_p + v_q] end,
      case when v_row.failure is null then v_fit.standard_errors[v_p + 1:v_p + v_q] end,
      v_row.place;
    execute format(
      $query$
      insert into %1$s
      select %2$s $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17
      from pg_temp._ml_series
      where _place = $18
      $query$,
      v_summary, v_group_list
    ) using
      v_relation::text,
      v_time,
      timeseries_column,
      non_seasonal_orders,
      include_mean,
      method,
      case when v_row.failure is null then v_fit.residual_variance end,
      case when v_row.failure is null then v_fit.log_likelihood end,
      case when v_row.failure is null then v_fit.iterations end,
      case when v_row.failure is null then v_fit.converged end,
      case when v_row.failure is null then v_fit.unit_root end,
      clock_timestamp() - v_started,
      v_row.known,
      cardinality(v_row.series) - v_row.known,
      v_row.failure,
      case when v_row.failure is null then v_fit.state end,
      case when v_row.failure is null then v_fit.covariance end,
      v_row.place;
    if v_row.failure is null then
      execute format(
        $query$
        insert into %1$s
        select %2$s entry.time::%3$s, entry.residual
        from pg_temp._ml_series
        cross join lateral unnest(_times[cardinality(_times) - $1 + 1:], $2) with ordinality
          as entry (time, residual, position)
        where _place = $3
        order by entry.position
        $query$,
        v_residual, v_group_list,
        (
          select format_type(atttypid, atttypmod)
          from pg_catalog.pg_attribute
          where attrelid = v_relation
            and quote_ident(attname) = v_time
        )
      ) using cardinality(v_fit.residuals), v_fit.residuals, v_row.place;
    end if;
    v_started := clock_timestamp();
  end loop;
  drop table pg_temp._ml_series;
end;
$$;

comment on function ml.arima_train(text, text, text, text, text, boolean, int[], text, text) is $$
@behavior -*
Trains an ARIMA(p, d, q) model, with MADlib's arguments: one, or one for each value of the grouping columns.
A series is differenced d times and explained by its p last values and q last errors.
`non_seasonal_orders` is array[p, d, q]; `include_mean` adds the mean of the differenced series. `method`: `css`, the
conditional sum of squares (as MADlib; the first p errors are not counted), or `ml`, the exact likelihood of a Kalman
filter, which accepts gaps (nulls). `optimizer_params` is `max_iter=…`. Rows are in the order of time, one per step.
The autoregression is kept stationary and the moving average invertible, and the best of nine starts is taken. An
estimate at the edge has no standard errors and is named in `unit_root`: with `ar`, difference once more; with `ma`,
once less. Standard errors are from the curvature of the likelihood.
Writes `output_table`: `mean`, `mean_std_error`, `ar_params`, `ar_std_errors`, `ma_params`, `ma_std_errors`;
`<output_table>_summary`: `input_table`, `timestamp_col`, `timeseries_col`, `non_seasonal_orders`, `include_mean`,
`method`, `residual_variance`, `log_likelihood` (of all values but d), `iter_num`, `converged`, `unit_root`,
`exec_time`, `num_rows_processed`, `num_missing_rows_skipped`, `failure`, and `state` and `state_covariance`, from which
forecasts start; `<output_table>_residual`: the timestamp and `residual`, null for a gap and for values that are not
counted. Each begins with the grouping columns. A group without a model has its reason in `failure`; without groups it
is an error.
Errors: CF001 (arguments, a gap with `css`, not finite), CF002, CF003 (a table exists), CF004 (too few values), CF005,
CF007 (constant).
Source: Box and Jenkins, Time Series Analysis: Forecasting and Control, 1970; Gardner, Harvey and Phillips, Applied
Statistics 29, 1980. Compared with arima() of R 4.2.2 in `src/sql/ml/forecasts/README.md`.
$$;

grant execute on function ml.arima_train(text, text, text, text, text, boolean, int[], text, text)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/forecasts/arima_train.sql

--! Included ml/forecasts/seasonal_naive_forecast.sql
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
  v_relation regclass := common.relation(input_table);
  v_output text := common.output_table(output_table);
  v_groups text[] := common.column_names(v_relation, grouping_columns, 'grouping columns');
  v_z float8;
  v_failure text;
begin
  perform common.check_count('steps_ahead', steps_ahead, 1, 10000);
  perform common.check_count('seasonal_period', seasonal_period, 1, 1000);
  if confidence is null or not (confidence > 0 and confidence < 1) then
    perform common.refuse('CF001', format('confidence is %s', coalesce(confidence::text, 'null')),
      'Give a number between 0 and 1, such as 0.95.');
  end if;
  v_z := ml.normal_quantile((1 + confidence) / 2);
  perform ml._read_series(v_relation, timestamp_column, timeseries_column, v_groups);
  if v_groups = '{}' then
    select coalesce(source._failure, case
      when cardinality(source._series) <= seasonal_period then
        format('%s rows are too few for a cycle of %s', cardinality(source._series), seasonal_period)
    end)
    into v_failure
    from pg_temp._ml_series as source;
    if v_failure is not null then
      perform ml._refuse_series(v_failure, v_relation::text);
    end if;
  end if;
  perform ml._create_table(format(
    $query$
    create table %1$s as
    select
      %2$s step_ahead, forecast_value,
      forecast_value - %3$L::float8 * spread as lower,
      forecast_value + %3$L::float8 * spread as upper
    from pg_temp._ml_series
    cross join lateral ml._naive_cycle(_series, %4$s) as naive
    cross join generate_series(1, %5$s) as step_ahead
    cross join lateral (
      select
        naive.cycle[(step_ahead - 1) %% %4$s + 1] as forecast_value,
        naive.deviation * sqrt(naive.ages[(step_ahead - 1) %% %4$s + 1] + (step_ahead - 1) / %4$s) as spread
    ) as ahead
    where _failure is null
      and cardinality(_series) > %4$s
      and forecast_value is not null
    order by %2$s step_ahead
    $query$,
    v_output,
    (
      select coalesce(string_agg(name || ', ', '' order by position), '')
      from unnest(v_groups) with ordinality as part (name, position)
    ),
    v_z,
    seasonal_period,
    steps_ahead
  ));
  drop table pg_temp._ml_series;
end;
$$;

comment on function ml.seasonal_naive_forecast(text, text, text, text, int, int, text, float8) is $$
@behavior -*
Writes the seasonal-naive forecast, the baseline of all other methods: the last known value of each position in a cycle.
`seasonal_period` is the length of a cycle in rows; with 1 the forecast is the last known value. Writes `output_table`:
the grouping columns, `step_ahead`, `forecast_value`, `lower`, `upper`. The variance is that of the changes from cycle
to cycle, multiplied by the number of cycles since the value; null when no position is known twice. A group that is not
longer than a cycle, has two rows with the same time, values beyond 1e100 or no value has no rows.
Errors: CF001, CF002, CF003 (`output_table` exists), CF004 (not longer than a period), CF005.
Source: Hyndman and Athanasopoulos, Forecasting: Principles and Practice, 2021, sections 5.2 and 5.5.
$$;

grant execute on function ml.seasonal_naive_forecast(text, text, text, text, int, int, text, float8)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/forecasts/seasonal_naive_forecast.sql

-- from ml/assessment/bootstrap_interval.sql
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
volatile
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_relation regclass := common.relation(source_table);
  v_cluster text;
  v_units bigint;
  v_cursor refcursor;
  v_source text;
  v_values float8[];
  v_result ml.bootstrap_estimate;
begin
  if resamples is null or resamples not between 20 and 100000 then
    perform common.refuse('CF001', format('%s resamples', coalesce(resamples::text, 'null')), 'Choose 20 to 100000.');
  end if;
  if confidence is null or not (confidence > 0 and confidence < 1) then
    perform common.refuse('CF001', format('confidence %s', coalesce(confidence::text, 'null')),
      'Choose a number between 0 and 1, such as 0.95.');
  end if;
  if statistic is null then
    perform common.refuse('CF001', 'the statistic is null', 'Give an aggregate, such as avg(score).');
  end if;
  perform common.split_expressions(statistic);
  v_cluster := case when cluster_col is not null then common.column_name(v_relation, cluster_col, 'cluster column') end;
  begin
    open v_cursor no scroll for execute format('select (%s)::float8 from %s', statistic, v_relation);
    fetch v_cursor into v_result.estimate;
    move v_cursor;
    if found then
      perform common.refuse('CF001', format('"%s" gives more than one row', left(statistic, 100)),
        'Give an aggregate, such as avg(score).');
    end if;
    close v_cursor;
  exception
    when undefined_column then
      perform common.refuse('CF002', format('statistic "%s": %s', left(statistic, 100), left(sqlerrm, 100)),
        format('The columns of %s are %s.', v_relation, array_to_string(common.columns(v_relation), ', ')));
    when numeric_value_out_of_range then
      perform common.refuse('CF007', format('statistic "%s": %s', left(statistic, 100), left(sqlerrm, 100)),
        'Use other units, so that the values are between 1e-100 and 1e100.');
    when insufficient_privilege then
      perform common.refuse('CF005', format('role "%s" may not read "%s"', current_user, v_relation),
        'Ask its owner to grant select.');
    when syntax_error_or_access_rule_violation or feature_not_supported or data_exception then
      perform common.refuse('CF001', format('statistic "%s": %s', left(statistic, 100), left(sqlerrm, 100)),
        'Give one aggregate that is a number, such as avg(score).');
  end;
  -- The numbers of the rows hold within one statement, so it makes all resamples.
  v_source := format('select *, %s over (%s) as _ml_unit from %s',
    case when cluster_col is null then 'row_number()' else 'dense_rank()' end,
    case when cluster_col is not null then 'order by ' || v_cluster else '' end, v_relation);
  execute format('select count(distinct _ml_unit) from (%s) as source', v_source) into v_units;
  if v_units < 2 then
    perform common.refuse(
      'CF004',
      format(
        '"%s" has %s %s to draw from',
        v_relation,
        v_units,
        case when cluster_col is null then 'rows' else 'clusters' end
      ),
      'A bootstrap needs at least two.'
    );
  end if;
  begin
    execute format(
      $query$
      with source as materialized (
        %1$s
      )
      select array_agg(_ml_resample.value order by _ml_resample.resample)
      from (
        select resample, (
          select (%2$s)::float8
          from (
            select (('x' || substr(md5(%3$s || '/' || resample || '/' || draw), 1, 15))::bit(60)::bigint %% %4$s) + 1
              as _ml_unit
            from generate_series(1, %4$s) as draw
          ) as drawn
          join source using (_ml_unit)
        ) as value
        from generate_series(1, %5$s) as resample
        offset 0
      ) as _ml_resample
      $query$,
      v_source, statistic, seed, v_units, resamples
    ) into v_values;
  exception
    when numeric_value_out_of_range then
      perform common.refuse('CF007', format('statistic "%s": %s', left(statistic, 100), left(sqlerrm, 100)),
        'Use other units, so that the values are between 1e-100 and 1e100.');
    when data_exception then
      perform common.refuse('CF001', format('statistic "%s" of a resample: %s', left(statistic, 100),
        left(sqlerrm, 100)),
        'Give an aggregate that is null where it has no value, such as sum(a) / nullif(sum(b), 0).');
  end;
  select stddev_samp(value), percentile_cont((1 - confidence) / 2) within group (order by value),
    percentile_cont((1 + confidence) / 2) within group (order by value), count(value)
  into v_result.std_err, v_result.lower, v_result.upper, v_result.resamples
  from unnest(v_values) as value;
  return v_result;
end;
$$;
comment on function ml.bootstrap_interval(text, text, int, float8, text, int) is $$
@behavior -*
Returns the standard error and percentile interval of an aggregate by the bootstrap.
The aggregate is any, such as `avg(score)` or `corr(x, y)`; rows are drawn with replacement.
With `cluster_col` whole clusters are drawn (all rows of a person, all persons of a course), which is right where rows
of a cluster resemble each other.
The same seed gives the same answer for the same rows in the same order. Resamples in which the statistic is null do
not count (see `resamples`).
Errors: CF001 (resamples, confidence, not one aggregate, one that fails), CF002 (unknown table or column), CF004 (fewer
than two rows or clusters), CF005 (not readable), CF007 (numbers that are too large).
Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 6 and 13.
$$;

--! Included ml/unsupervised/_kmeans_start.sql
/*
 * k-means++: the next seed is drawn with a chance in proportion to the distance from the nearest one, as the winner of
 * a race of exponentials.
 */
create or replace function ml._kmeans_start(points text, k int, fn_dist text, kept text, seed bigint, spread boolean)
returns text[]
language plpgsql
set jit to off
as $$
declare
  v_centroids text[];
  v_next text;
begin
  execute format(
    'select array[v::text] from %s as point order by hashint8extended(key, %s), key, point limit 1', points, seed
  ) into v_centroids;
  while cardinality(v_centroids) < k loop
    execute format(
      'select v::text from (
         select v, key, point,
           least(%s) as distance, ((hashint8extended(key, %s) >> 11) + 4503599627370496.5) / 9007199254740992.0 as lot
         from %s as point
         where %s offset 0
       ) as race
       where distance > 1e-30
       order by -ln(lot) / %s, point limit 1',
      ml._kmeans_distances(fn_dist, v_centroids), seed + cardinality(v_centroids), points, kept,
      case when spread then 'distance' else '1' end
    ) into v_next;
    if v_next is null then
      perform common.refuse('CF004', format('%s distinct points do not make %s clusters', cardinality(v_centroids), k),
        'Choose fewer clusters.');
    end if;
    v_centroids := v_centroids || v_next;
  end loop;
  return v_centroids;
end;
$$;

comment on function ml._kmeans_start(text, int, text, text, bigint, boolean) is $$
The first centroids of k-means, as text: k distinct points, far from each other by chance if `spread`.
`points` is the relation of ml._kmeans_points, `kept` a condition on its rows. Error CF004: fewer distinct points.
$$;

grant execute on function ml._kmeans_start(text, int, text, text, bigint, boolean)
  to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/unsupervised/_kmeans_start.sql

--! Included ml/unsupervised/_kmeans_settle.sql
create or replace function ml._kmeans_settle(
  points text,
  fn_dist text,
  agg_centroid text,
  max_num_iterations int,
  min_frac_reassigned float8,
  kept text,
  inout centroids text[],
  out num_iterations int,
  out frac_reassigned float8,
  out objective_fn float8
)
language plpgsql
set jit to off
as $$
declare
  v_schema text := (
    select quote_ident(namespace.nspname)
    from pg_catalog.pg_extension as extension
    join pg_catalog.pg_namespace as namespace on namespace.oid = extension.extnamespace
    where extension.extname = 'vector'
  );
  v_assigned text;
  v_before text := 'null::int';
  v_row record;
  v_moved bigint;
  v_total bigint;
begin
  num_iterations := 0;
  loop
    v_assigned := format('array_position(array[%1$s], least(%1$s))', ml._kmeans_distances(fn_dist, centroids));
    exit when num_iterations >= max_num_iterations or frac_reassigned < min_frac_reassigned or frac_reassigned = 0;
    v_moved := 0;
    v_total := 0;
    -- One statement an iteration assigns all points, averages and counts: the centroids are constants in it.
    for v_row in execute format(
      'select cluster, %s as centroid, count(*) as row_count,
         count(*) filter (where cluster is distinct from before) as moved
       from (select v, %s as cluster, %s as before from %s as point where %s offset 0) as assigned
       where cluster is not null
       group by cluster',
      case when agg_centroid ~ 'normalized_avg$' then format('%1$s.l2_normalize(%1$s.avg(v))::text', v_schema)
        else format('%s.avg(v)::text', v_schema) end,
      v_assigned, v_before, points, kept
    ) loop
      centroids[v_row.cluster] := v_row.centroid;
      v_moved := v_moved + v_row.moved;
      v_total := v_total + v_row.row_count;
    end loop;
    v_before := v_assigned;
    num_iterations := num_iterations + 1;
    frac_reassigned := v_moved::float8 / nullif(v_total, 0);
  end loop;
  execute format('select sum(least(%s)) from %s as point where %s', ml._kmeans_distances(fn_dist, centroids), points,
    kept) into objective_fn;
end;
$$;

comment on function ml._kmeans_settle(text, text, text, int, float8, text, text[]) is $$
Lloyd's iterations of k-means from given centroids, until few points change their cluster.
`points` is the relation of ml._kmeans_points, `kept` a condition on its rows.
$$;

grant execute on function ml._kmeans_settle(text, text, text, int, float8, text, text[])
  to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/unsupervised/_kmeans_settle.sql

--! Included ml/unsupervised/_kmeans_run.sql
create or replace function ml._kmeans_run(
  points text,
  k int,
  fn_dist text,
  agg_centroid text,
  max_num_iterations int,
  min_frac_reassigned float8,
  seeding_sample_ratio float8,
  seed bigint,
  n_init int,
  out result ml.kmeans_result,
  out vectors text[]
)
language plpgsql
set jit to off
set client_min_messages to warning
as $$
declare
  -- Starts are tried on this many points; the best one is settled on all.
  v_most constant int := 20000;
  v_sampled text := 'true';
  v_kept text := 'true';
  v_rows bigint;
  v_tried record;
  v_best record;
  v_least float8;
begin
  if k is null or k not between 1 and 1000 then
    perform common.refuse('CF001', format('k %s', coalesce(k::text, 'null')), 'Choose 1 to 1000 clusters.');
  elsif max_num_iterations is null or max_num_iterations < 1 then
    perform common.refuse('CF001', format('max_num_iterations %s', coalesce(max_num_iterations::text, 'null')),
      'Choose 1 or more.');
  elsif min_frac_reassigned is null or not (min_frac_reassigned >= 0 and min_frac_reassigned <= 1) then
    perform common.refuse('CF001', format('min_frac_reassigned %s', coalesce(min_frac_reassigned::text, 'null')),
      'Choose a share in 0..1.');
  elsif not (seeding_sample_ratio > 0 and seeding_sample_ratio <= 1) then
    perform common.refuse('CF001', format('seeding_sample_ratio %s', coalesce(seeding_sample_ratio::text, 'null')),
      'Choose a share above 0, at most 1.');
  elsif agg_centroid is null or regexp_replace(agg_centroid, '^(madlib|ml)\.', '') not in ('avg', 'normalized_avg') then
    perform common.refuse('CF001', format('there is no centroid "%s"', coalesce(left(agg_centroid, 100), 'null')),
      'Choose avg or normalized_avg.');
  end if;
  perform common.check_count('n_init', n_init, 1, 1000);
  if seeding_sample_ratio < 1 then
    v_kept := format('hashint8extended(key, %s) & 1048575 < %s', seed - 1, (1048576 * seeding_sample_ratio)::bigint);
  end if;
  execute format('select count(*) from %s as point', points) into v_rows;
  if n_init > 1 and v_rows > 1.5 * v_most then
    v_sampled := format('hashint8extended(key, %s) & 1048575 < %s', seed - 2, (1048576.0 * v_most / v_rows)::bigint);
  end if;

  for v_start in 0..n_init - 1 loop
    select settled.* into v_tried
    from ml._kmeans_settle(
      points, fn_dist, agg_centroid, max_num_iterations, min_frac_reassigned, v_sampled,
      ml._kmeans_start(
        points, k, fn_dist, case when n_init = 1 then v_kept else v_kept || ' and ' || v_sampled end,
        seed + v_start * 1000003, seeding_sample_ratio is not null
      )
    ) as settled;
    if v_start = 0 or v_tried.objective_fn < v_least then
      v_best := v_tried;
      v_least := v_tried.objective_fn;
    end if;
    exit when k = 1;
  end loop;
  if v_sampled <> 'true' then
    select settled.* into v_best
    from ml._kmeans_settle(points, fn_dist, agg_centroid, max_num_iterations, min_frac_reassigned, 'true',
      v_best.centroids) as settled;
  end if;

  vectors := v_best.centroids;
  result.num_iterations := v_best.num_iterations;
  result.frac_reassigned := v_best.frac_reassigned;
  execute format(
    $query$
    with assigned as materialized (
      select point, array_position(array[%1$s], least(%1$s)) as cluster, least(%1$s) as nearest
      from %2$s as point
    ), centre as (
      select cluster, array_agg(mean order by place) as centroid
      from (
        select cluster, place, avg(value) as mean
        from assigned
        cross join lateral unnest(point) with ordinality as entry (value, place)
        where cluster is not null
        group by cluster, place
      ) as averaged
      group by cluster
    ), spread as (
      select cluster, sum(nearest) as total
      from assigned
      where cluster is not null
      group by cluster
    )
    select array_agg(centroid order by cluster), array_agg(total order by cluster), sum(total)
    from centre
    join spread using (cluster)
    $query$,
    ml._kmeans_distances(fn_dist, vectors), points
  ) into result.centroids, result.cluster_variance, result.objective_fn;
end;
$$;

comment on function ml._kmeans_run(text, int, text, text, int, float8, float8, bigint, int) is $$
Runs k-means from several starts on the points of a relation (see ml._kmeans_points) and returns the best.
`vectors` are the centroids as they are compared with the column v.
The starts are those of k-means++, or random points if `seeding_sample_ratio` is null.
$$;

grant execute on function ml._kmeans_run(text, int, text, text, int, float8, float8, bigint, int)
  to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/unsupervised/_kmeans_run.sql

--! Included ml/unsupervised/_silhouette.sql
/*
 * The distance of two points is measured, not of a point and a centroid, so the time grows with the square of the
 * number of points: of more than 2,000 a sample is compared, as with scikit-learn's sample_size.
 */
create or replace function ml._silhouette(points text, fn_dist text, vectors text[], seed bigint)
returns float8
language plpgsql
set jit to off
as $$
declare
  v_schema text := (
    select quote_ident(namespace.nspname)
    from pg_catalog.pg_extension as extension
    join pg_catalog.pg_namespace as namespace on namespace.oid = extension.extnamespace
    where extension.extname = 'vector'
  );
  v_silhouette float8;
begin
  execute format(
    $query$
    with sampled as materialized (
      select row_number() over () as place, v, array_position(array[%1$s], least(%1$s)) as cluster
      from (
        select v
        from %2$s as point
        order by hashint8extended(key, %3$s), key, point
        limit 2000
      ) as drawn
    ), distance as (
      select one.place, one.cluster, other.cluster as other_cluster,
        sum(%4$s) / nullif(count(*) - (one.cluster = other.cluster)::int, 0) as mean
      from sampled as one
      cross join sampled as other
      group by one.place, one.cluster, other.cluster
    ), compared as (
      select place,
        min(mean) filter (where other_cluster = cluster) as within,
        min(mean) filter (where other_cluster <> cluster) as beyond
      from distance
      group by place
    )
    -- The only point of a cluster counts as 0.
    select case when count(beyond) > 0
      then avg(coalesce((beyond - within) / nullif(greatest(beyond, within), 0), 0)) end
    from compared
    $query$,
    ml._kmeans_distances(fn_dist, vectors), points, seed,
    format(
      case
        when fn_dist ~ 'norm1$' then '(one.v operator(%1$s.<+>) other.v)'
        when fn_dist ~ 'angle$' then 'acos(greatest(-1, least(1, 1 - (one.v operator(%1$s.<=>) other.v))))'
        else '(one.v operator(%1$s.<->) other.v)'
      end,
      v_schema
    )
  ) into v_silhouette;
  return v_silhouette;
end;
$$;

comment on function ml._silhouette(text, text, text[], bigint) is $$
The silhouette of a clustering, as scikit-learn's silhouette_score defines it, of up to 2,000 points.
The mean of (b − a) / max(a, b): a is the mean distance of a point to the others of its cluster, b to those of the
nearest other cluster. Distances are Euclidean for squared_dist_norm2, too. Null with one cluster.
$$;

grant execute on function ml._silhouette(text, text, text[], bigint)
  to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/unsupervised/_silhouette.sql

--! Included ml/unsupervised/_simple_silhouette.sql
create or replace function ml._simple_silhouette(points text, fn_dist text, vectors text[])
returns float8
language plpgsql
set jit to off
as $$
declare
  v_silhouette float8;
begin
  execute format(
    $query$
    select avg(coalesce((distances[2] - distances[1]) / nullif(distances[2], 0), 0))
    from (
      select array(select distance from unnest(array[%s]) as distance order by distance limit 2) as distances
      from %s as point
      offset 0
    ) as measured
    $query$,
    ml._kmeans_distances(fn_dist, vectors), points
  ) into v_silhouette;
  return v_silhouette;
end;
$$;

comment on function ml._simple_silhouette(text, text, text[]) is $$
The mean of (b − a) / b over all points, with the distances a and b to the nearest and second nearest centroid.
$$;

grant execute on function ml._simple_silhouette(text, text, text[])
  to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/unsupervised/_simple_silhouette.sql

--! Included ml/registry/_log_odds.sql
create or replace function ml._log_odds(probability float8)
returns float8
language sql
immutable
parallel safe
begin atomic
  select ln(share / (1 - share))
  from (select least(greatest(probability, 1e-15), 1 - 1e-15) as share where probability is not null) as bounded;
end;

comment on function ml._log_odds(float8) is $$
The log odds of a probability, which is kept 1e-15 away from 0 and 1; null of null.
$$;

grant execute on function ml._log_odds(float8)
  to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/registry/_log_odds.sql

--! Included ml/registry/_answer_expression.sql
create or replace function ml._shares(answers float8[])
returns float8[]
language sql
immutable
parallel safe
begin atomic
  select case
    when array_position(answers, null) is null then array_agg(
      case when total > 0 then answer / total else 1.0::float8 / cardinality(answers) end order by place
    )
  end
  from (
    select answer, place, sum(answer) over () as total
    from unnest(answers) with ordinality as listed (answer, place)
  ) as summed;
end;

comment on function ml._shares(float8[]) is $$
Values of at least 0 in the proportion that sums to 1, all alike where all are 0; null when one is null.
$$;

create or replace function ml._answer_expression(document jsonb, score text)
returns text
language sql
stable
parallel safe
begin atomic
  select case
    when document ? 'classes' then case
      when document ? 'calibration' then format(
        '(select ml._shares(array[%s]) from (select %s as p offset 0) as uncalibrated)',
        (
          select string_agg(
            case document #>> '{calibration,method}'
              when 'platt' then format(
                '1 / (1 + exp(-least(greatest(%L::float8 * ml._log_odds(p[%s]) + %L::float8, -700), 700)))',
                (part ->> 'slope')::float8, place, (part ->> 'intercept')::float8
              )
              else format(
                'ml._interpolate(p[%s], %L::float8[], %L::float8[])', place,
                array(select value::float8 from jsonb_array_elements_text(part -> 'scores') as value),
                array(select value::float8 from jsonb_array_elements_text(part -> 'answers') as value)
              )
            end,
            ', ' order by place
          )
          from jsonb_array_elements(document #> '{calibration,classes}') with ordinality as listed (part, place)
        ),
        uncalibrated.probabilities
      )
      else uncalibrated.probabilities
    end
    when document ->> 'kind' = 'ensemble' then format(
      '(select case when odds is not null then 1 / (1 + exp(-least(greatest(odds, -700), 700))) end
        from (select %s as odds offset 0) as given)',
      score
    )
    when document #>> '{calibration,method}' = 'isotonic' then format(
      'ml._interpolate(%s, %L::float8[], %L::float8[])', score,
      array(select value::float8 from jsonb_array_elements_text(document #> '{calibration,scores}') as value),
      array(select value::float8 from jsonb_array_elements_text(document #> '{calibration,answers}') as value)
    )
    else format(
      -- greatest() and least() ignore a null: a key without an embedding or a score has no answer, whatever the link.
      case when document ->> 'kind' in ('embeddings', 'scores') then 'case when %1$s is not null then %2$s end'
        else '%2$s' end,
      calibrated.score,
      case document ->> 'link'
        when 'logit' then format('1 / (1 + exp(-least(greatest(%s, -700), 700)))', calibrated.score)
        when 'log' then format('exp(least(greatest(%s, -700), 700))', calibrated.score)
        else calibrated.score
      end
    )
  end
  from (
    select case
      when document #>> '{calibration,method}' = 'platt' then format(
        '(%L::float8 * %s + %L::float8)', (document #>> '{calibration,slope}')::float8,
          _answer_expression.score, (document #>> '{calibration,intercept}')::float8
      )
      else _answer_expression.score
    end as score
  ) as calibrated
  cross join (
    select case document ->> 'link' when 'softmax' then format('ml._softmax(%s)', _answer_expression.score)
      else _answer_expression.score end as probabilities
  ) as uncalibrated;
end;

comment on function ml._answer_expression(jsonb, text) is $$
SQL that makes the answer of a model from the SQL of its raw score: calibration, then the inverse of the link.
With several classes it is an array of their probabilities: calibrated, the answers of the classes, each against the
others, in the proportion that sums to 1.
$$;

grant execute on function ml._shares(float8[]), ml._answer_expression(jsonb, text)
  to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/registry/_answer_expression.sql

--! Included ml/registry/_score_expression.sql
create or replace function ml._linear_expression(document jsonb)
returns text
language sql
stable
parallel safe
begin atomic
  select format('%L::float8', (document ->> 'intercept')::float8) || coalesce(string_agg(
    case
      when feature ->> 'type' = 'category' then format(
        ' + coalesce((%L::float8[])[array_position(%L::text[], x%s)], 0)',
        array(select value::float8 from jsonb_array_elements_text(feature -> 'coefficients') as value),
        array(select jsonb_array_elements_text(feature -> 'categories')),
        position
      )
      -- Within what a product can hold.
      else format(' + %1$L::float8 * least(greatest(coalesce(x%2$s, %3$L::float8), -%4$L::float8), %4$L::float8)',
        case when abs((feature ->> 'coefficient')::float8) > 1e-200 then (feature ->> 'coefficient')::float8
          else 0 end,
        position, (feature ->> 'mean')::float8,
        1e290 / greatest(abs((feature ->> 'coefficient')::float8), 1))
    end, '' order by position
  ), '')
  from jsonb_array_elements(document -> 'features') with ordinality as listed (feature, position);
end;

comment on function ml._linear_expression(jsonb) is $$
The sum of a linear document as SQL over its features x1, x2, ….
$$;

create or replace function ml._sum_expression(intercept float8, terms text[])
returns text
language sql
stable
parallel safe
begin atomic
  -- A sum of sums, so that thousands of trees do not nest too deep for the parser.
  select format('%L::float8', intercept) || coalesce(string_agg(' + (' || part || ')', '' order by place), '')
  from (
    select (position - 1) / greatest(1, ceil(sqrt(cardinality(terms)))::int) as place,
      string_agg(term, ' + ' order by position) as part
    from unnest(terms) with ordinality as listed (term, position)
    group by 1
  ) as chunk;
end;

comment on function ml._sum_expression(float8, text[]) is $$The sum of an intercept and of SQL expressions, as SQL.$$;

create or replace function ml._leaf_scores(model_id bigint, intercepts jsonb, trees text[])
returns text
language sql
stable
parallel safe
begin atomic
  -- A row walks each tree once: the place of its leaf is then looked up for each class.
  with leaf as (
    select dense_rank() over (order by node.tree) as tree, node.node, node.class_values
    from ml.tree_node as node
    where node.model_id = _leaf_scores.model_id
      and node.class_values is not null
  )
  select format('(select array[%s] from (select array[%s]::int[] as leaf offset 0) as reached)',
    string_agg(ml._sum_expression(intercept::float8, array(
      select format('(%L::float8[])[leaf[%s]]', array_agg(leaf.class_values[class.place] order by leaf.node), leaf.tree)
      from leaf
      group by leaf.tree
      order by leaf.tree
    )), ', ' order by class.place),
    array_to_string(trees, ', ')
  )
  from jsonb_array_elements(intercepts) with ordinality as class (intercept, place);
end;

comment on function ml._leaf_scores(bigint, jsonb, text[]) is $$
The array of the scores of the classes as SQL, for trees whose leaves have a value for each class.
`trees` is the SQL of the place of the leaf that a row reaches, for each tree in ascending order.
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
  v_classes constant text[] := ml._classes(v_document);
  v_trees text[] := '{}';
  v_numbers int[] := '{}';
  v_tree int;
  v_score text;
begin
  case v_document ->> 'kind'
    when 'linear' then
      if v_classes is null then
        v_score := ml._linear_expression(v_document);
      else
        select format('array[%s]', string_agg(ml._linear_expression(output), ', ' order by position))
        into v_score
        from jsonb_array_elements(v_document -> 'outputs') with ordinality as listed (output, position);
      end if;
    when 'trees' then
      for v_tree in select distinct node.tree from ml.tree_node as node where node.model_id = model.model_id
        order by node.tree loop
        v_numbers := v_numbers || v_tree;
        v_trees := v_trees || ml._tree_expression(
          format('(select *, count(class_values) over (order by node) as leaf from ml.tree_node where model_id = %s
            and tree = %s) as registered', model.model_id, v_tree),
          v_tree,
          (select jsonb_object_agg(feature ->> 'name', position)
            from jsonb_array_elements(v_document -> 'features') with ordinality as listed (feature, position)),
          (select jsonb_object_agg(feature ->> 'name', feature -> 'categories')
            from jsonb_array_elements(v_document -> 'features') as feature),
          'case when class_values is null then format(''%L::float8'', value) else leaf::text end'
        );
      end loop;
      if v_classes is null then
        v_score := ml._sum_expression((v_document ->> 'intercept')::float8, v_trees);
      elsif not v_document ? 'tree_classes' then
        v_score := ml._leaf_scores(model.model_id, v_document -> 'intercepts', v_trees);
      else
        -- Each class has trees of its own.
        select format('array[%s]', string_agg(ml._sum_expression(intercept::float8, array(
          select grown.expression
          from unnest(v_trees, v_numbers) as grown (expression, tree)
          where (v_document -> 'tree_classes' ->> grown.tree - 1)::int = place
          order by grown.tree
        )), ', ' order by place))
        into v_score
        from jsonb_array_elements_text(v_document -> 'intercepts') with ordinality as listed (intercept, place);
      end if;
    when 'embeddings' then
      v_score := format(
        '(select ml._similarity(one.embedding, other.embedding, %L) from ml.embedding as one, ml.embedding as other
          where one.model_id = %2$s and one.side = 1 and one.key = x1 and other.model_id = %2$s and other.side = %3$s
            and other.key = x2)',
        v_document ->> 'similarity', model.model_id, (v_document ->> 'sides')::int
      );
    when 'scores' then
      v_score := format(
        'coalesce((select listed.score from ml.score as listed where listed.model_id = %s and listed.keys = array[%s]),
            %L::float8)',
        model.model_id,
        (select string_agg('x' || position, ', ' order by position)
          from generate_series(1, jsonb_array_length(v_document -> 'features')) as position),
        (v_document ->> 'default')::float8
      );
    when 'ensemble' then
      -- Each member reads its features by its own numbers.
      select string_agg(format(
        '%L::float8 * (select %s from (select %s offset 0) as member)',
        member.weight,
        ml._log_odds_expression((member.model).coefficients, ml._score_expression(member.model)),
        coalesce((
          select string_agg(
            format(
              case when feature ->> 'type' = 'number'
                and ((member.model).coefficients -> 'single_precision')::boolean then 'ml._single_precision(x%s) as x%s'
                else 'x%s as x%s' end,
              (
                select place
                from jsonb_array_elements(v_document -> 'features') with ordinality as whole (known, place)
                where known -> 'name' = feature -> 'name'
              ),
              position
            ), ', ' order by position
          )
          from jsonb_array_elements((member.model).coefficients -> 'features') with ordinality
            as listed (feature, position)
        ), '1 as one')
      ), ' + ' order by member.position)
      into v_score
      from ml._members(v_document) with ordinality as member (model, weight, position);
  end case;
  return '(' || v_score || ')';
end;
$$;

comment on function ml._score_expression(ml.model) is $$
The raw score of a model as one SQL expression over its features x1, x2, … (see ml._feature_list).
With several classes it is an array of one score for each.
$$;

grant execute on function ml._linear_expression(jsonb), ml._sum_expression(float8, text[]),
  ml._leaf_scores(bigint, jsonb, text[]), ml._score_expression(ml.model)
  to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/registry/_score_expression.sql

--! Included ml/registry/_tree_values.sql
create or replace function ml._tree_values(model_id bigint, inputs jsonb)
returns table (tree int, value float8, class_values float8[])
language sql
stable
parallel safe
begin atomic
  with recursive walk as (
    select node.*
    from ml.tree_node as node
    where node.model_id = _tree_values.model_id
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
      on node.model_id = _tree_values.model_id
      and node.tree = walk.tree
      and node.node = case when decided.goes_left then walk.left_node else walk.right_node end
    where walk.feature is not null
  )

  select walk.tree, walk.value, walk.class_values
  from walk
  where walk.feature is null;
end;

comment on function ml._tree_values(bigint, jsonb) is $$
The value, or the values by class, of the leaf that one row reaches, for each tree of a model.
All trees are walked at once, by key. Batches use ml._score_expression.
$$;

grant execute on function ml._tree_values(bigint, jsonb)
  to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/registry/_tree_values.sql

--! Included ml/registry/_class_probabilities.sql
create or replace function ml._class_probabilities(model ml.model, features jsonb)
returns float8[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_document constant jsonb := ml._document(model);
  v_scores float8[];
  v_answer float8[];
begin
  if v_document ->> 'kind' = 'trees' then
    v_scores := array(
      select output.intercept::float8 + coalesce(sum(coalesce(leaf.value, leaf.class_values[output.place])), 0)
      from jsonb_array_elements_text(v_document -> 'intercepts') with ordinality as output (intercept, place)
      left join ml._tree_values(model.model_id, ml._tree_inputs_of(v_document, features)) as leaf
        on leaf.value is null or (v_document -> 'tree_classes' ->> leaf.tree - 1)::int = output.place
      group by output.place, output.intercept
      order by output.place
    );
  else
    execute format('select %s from (select %s) as input', ml._score_expression(model),
      ml._constants(v_document, features)) into v_scores;
  end if;
  execute format('select %s', ml._answer_expression(v_document, '$1')) into v_answer using v_scores;
  return v_answer;
end;
$$;

comment on function ml._class_probabilities(ml.model, jsonb) is $$
The probabilities of the classes of a model for one object of features, in the order of ml._classes.
$$;

grant execute on function ml._class_probabilities(ml.model, jsonb)
  to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/registry/_class_probabilities.sql

--! Included ml/registry/_temporary.sql
create or replace function ml._temporary(name text)
returns text
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  if current_setting('transaction_read_only')::boolean then
    perform common.refuse('CF005', 'no table can be written: this server or transaction only reads',
      'Connect to the primary server, or begin a transaction that may write.');
  end if;
  -- The schema of temporary tables exists from the first one on.
  if pg_catalog.pg_my_temp_schema() = 0 then
    create temporary table _ml_first ();
    drop table pg_temp._ml_first;
  end if;
  return format('%I.%I', (select nspname from pg_catalog.pg_namespace where oid = pg_catalog.pg_my_temp_schema()),
    name);
end;
$$;

comment on function ml._temporary(text) is $$
The qualified name of a temporary table of the session, made or to be made.
Error CF005: the server or transaction only reads.
$$;

grant execute on function ml._temporary(text) to insights_admin, insights_worker;
--! EndIncluded ml/registry/_temporary.sql

--! Included ml/registry/_fit_calibration.sql
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
    -- Newton's steps on the log likelihood of Platt's softened targets, which keeps separable data finite; a step too
    -- far is halved.
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
            sum(p * (1 - p) * score * score) + 1e-9 as h11, sum(p * (1 - p) * score) as h10,
              sum(p * (1 - p)) + 1e-9 as h00
          from fitted
        )
        select loss, (h00 * g1 - h10 * g0) / nullif(h11 * h00 - h10 * h10, 0) as slope,
          (h11 * g0 - h10 * g1) / nullif(h11 * h00 - h10 * h10, 0) as intercept
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
  for v_block in execute format('select score, avg(observed)::float8 as answer, count(*)::float8 as weight from %s
      group by score order by score', predicted) loop
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
  return jsonb_build_object('method', 'isotonic', 'scores', to_jsonb(v_scores[1:v_places]), 'answers',
    to_jsonb(v_answers[1:v_places]));
end;
$$;

comment on function ml._fit_calibration(text, text) is $$
The calibration that turns the raw scores of a relation of `score` and `observed` (0 and 1) into probabilities.
`platt`: a logistic curve (Platt, Probabilistic outputs for support vector machines, 1999), fitted by Newton's method.
`isotonic`: the ascending step function with the least squared error, by pooling adjacent violators (Zadrozny and
Elkan, KDD 2002), joined by lines.
$$;

grant execute on function ml._fit_calibration(text, text) to insights_admin, insights_worker;
--! EndIncluded ml/registry/_fit_calibration.sql

--! Included ml/registry/_fit_class_calibration.sql
create or replace function ml._fit_class_calibration(predicted text, method text, classes text[])
returns jsonb
language sql
volatile
as $$
  select jsonb_build_object('method', method, 'classes', jsonb_agg(
    ml._fit_calibration(
      format('(select %s as score, (observed = %L)::int as observed from %s where observed is not null) as one',
        format(case method when 'platt' then 'ml._log_odds(prediction[%s])' else 'prediction[%s]' end, class.place),
        class.name, predicted),
      method
    ) - 'method' order by class.place
  ))
  from unnest(classes) with ordinality as class (name, place);
$$;

comment on function ml._fit_class_calibration(text, text, text[]) is $$
The calibration of a model of several classes, each class against all others.
`predicted` is a table of `prediction`, probabilities in the order of the classes, and `observed`, a class: Platt's is
fitted to the log odds of the probabilities, the isotonic one to the probabilities.
Source: Zadrozny and Elkan, Transforming classifier scores into accurate multiclass probability estimates, KDD 2002.
$$;

grant execute on function ml._fit_class_calibration(text, text, text[]) to insights_admin, insights_worker;
--! EndIncluded ml/registry/_fit_class_calibration.sql

--! Included ml/registry/_evaluate_classes.sql
create or replace function ml._evaluate_classes(predicted text, classes text[])
returns jsonb
language plpgsql
volatile
set client_min_messages to warning
as $$
declare
  v_each constant text := ml._temporary('_ml_each_class');
  v_measured constant text := ml._temporary('_ml_measured');
  v_metrics jsonb;
  v_error float8;
begin
  execute format(
    $query$
    with answer as materialized (
      select observed, prediction,
        $1[array_position(prediction, (select max(share) from unnest(prediction) as share))] as predicted
      from %s
      where prediction is not null
        and observed is not null
    ), by_class as (
      select class, count(*) filter (where observed = class and predicted = class) as hits,
        count(*) filter (where observed = class) + count(*) filter (where predicted = class) as named
      from answer
      cross join lateral (select observed union select predicted) as listed (class)
      group by class
    )
    select jsonb_build_object(
      'log_loss', avg(-ln(greatest(coalesce(prediction[array_position($1, observed)], 0), 1e-15))),
      'accuracy', avg((observed = predicted)::int::float8),
      'macro_f1', (select avg(2 * hits::float8 / named) from by_class),
      'row_count', count(*)
    )
    from answer
    having count(*) > 0
    $query$,
    predicted
  ) into v_metrics using classes;
  if v_metrics is null then
    perform common.refuse('CF004', 'no row has both a prediction and a label',
      'A model is judged by rows whose label is known.');
  end if;
  execute format('drop table if exists %s, %s', v_each, v_measured);
  execute format(
    'create temporary table _ml_each_class on commit drop as
     select place, share, (observed = $1[place])::int as hit from %s
     cross join lateral unnest(prediction) with ordinality as listed (share, place)
     where prediction is not null and observed is not null',
    predicted
  ) using classes;
  execute format('select ml.calibration_curve(%L, %L, ''share'', ''hit'', ''place'', 10, ''quantile'')', v_each,
    v_measured);
  execute format('select sum(num_rows * abs(mean_predicted - fraction_positive)) / sum(num_rows) from %s', v_measured)
    into v_error;
  execute format('drop table if exists %s, %s', v_each, v_measured);
  return v_metrics || jsonb_build_object('calibration_error', v_error);
end;
$$;

comment on function ml._evaluate_classes(text, text[]) is $$
The metrics of a table of `prediction`, probabilities in the order of the classes, and `observed`, a class.
`log_loss` keeps probabilities 1e-15 away from 0, which is also that of a class that the model does not know;
`macro_f1` is the mean of F1 over the classes that are observed or predicted; `calibration_error` is the mean over the
classes of the distance of predicted and observed share over ten bins of equal numbers of rows. Error CF004 (no rows).
Source of `calibration_error`: Kull and others, Beyond temperature scaling, NeurIPS 2019 (classwise).
$$;

grant execute on function ml._evaluate_classes(text, text[]) to insights_admin, insights_worker;
--! EndIncluded ml/registry/_evaluate_classes.sql

--! Included ml/registry/register_model.sql
create or replace function ml._is_calibration(method text, part jsonb)
returns boolean
language sql
immutable
parallel safe
begin atomic
  select coalesce(
    case
      when method = 'platt' then ml._is_double(part -> 'slope') and ml._is_double(part -> 'intercept')
      when method = 'isotonic' and jsonb_typeof(part -> 'scores') = 'array'
        and jsonb_typeof(part -> 'answers') = 'array' then
        jsonb_array_length(part -> 'scores') = jsonb_array_length(part -> 'answers')
        and jsonb_array_length(part -> 'scores') > 0
        and (select bool_and(ml._is_double(number))
          from jsonb_array_elements((part -> 'scores') || (part -> 'answers')) as number)
        -- The answers are probabilities, and both ascend.
        and (
          select bool_and(answer between 0 and 1 and coalesce(score > last_score and answer >= last_answer, true))
          from (
            select score, answer, lag(score) over (order by place) as last_score,
              lag(answer) over (order by place) as last_answer
            from (
              select (part -> 'scores' ->> place)::numeric as score, (part -> 'answers' ->> place)::numeric as answer,
                place
              from generate_series(0, jsonb_array_length(part -> 'scores') - 1) as place
              where jsonb_typeof(part -> 'scores' -> place) = 'number'
                and jsonb_typeof(part -> 'answers' -> place) = 'number'
            ) as point
          ) as followed
        )
    end,
    false
  );
end;

comment on function ml._is_calibration(text, jsonb) is $$Whether an object has the numbers of a calibration.$$;

create or replace function ml._check_document(document jsonb)
returns void
language plpgsql
immutable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_kind constant text := document ->> 'kind';
  v_classes int;
  v_output jsonb;
  v_wrong text;
begin
  if document is null or jsonb_typeof(document) <> 'object'
    or coalesce(v_kind, '') not in ('linear', 'trees', 'embeddings', 'scores', 'ensemble') then
    perform common.refuse('CF009', format('a model document of kind "%s"', coalesce(left(v_kind, 100), 'null')),
      'The kind is linear, trees, embeddings, scores or ensemble; src/sql/ml/README.md shows each.');
  end if;
  if document ? 'classes' then
    v_classes := case when jsonb_typeof(document -> 'classes') = 'array' and v_kind in ('linear', 'trees') then (
      select count(distinct name)
      from jsonb_array_elements(document -> 'classes') as class (name)
      where jsonb_typeof(name) = 'string' and length(name #>> '{}') between 1 and 1000
    ) end;
    v_wrong := case
      when v_classes is distinct from jsonb_array_length(document -> 'classes') or v_classes not between 2 and 100
        then '2 to 100 names of classes, all different, for linear or trees'
      when coalesce(document ->> 'link', '') not in ('softmax', 'identity') then 'the link softmax or identity'
      when jsonb_typeof(document -> 'features') is distinct from 'array' then 'a list of features'
      when v_kind = 'linear' and (jsonb_typeof(document -> 'outputs') is distinct from 'array'
        or jsonb_array_length(document -> 'outputs') <> v_classes) then 'one of the outputs for each class'
      when v_kind = 'trees' and (jsonb_typeof(document -> 'intercepts') is distinct from 'array'
        or jsonb_array_length(document -> 'intercepts') <> v_classes
        or exists (select from jsonb_array_elements(document -> 'intercepts') as number
          where not ml._is_double(number))) then 'a number in "intercepts" for each class'
      when v_kind = 'trees' and document ? 'tree_classes' and (jsonb_typeof(document -> 'tree_classes') <> 'array'
        or exists (select from jsonb_array_elements(document -> 'tree_classes') as place
          where jsonb_typeof(place) <> 'number' or place::numeric not in (select generate_series(1, v_classes))))
        then '"tree_classes", the number of a class for each tree'
      when document ? 'calibration' and not coalesce(
        jsonb_typeof(document #> '{calibration,classes}') = 'array'
        and jsonb_array_length(document #> '{calibration,classes}') = v_classes
        and (
          select bool_and(ml._is_calibration(document #>> '{calibration,method}', part))
          from jsonb_array_elements(document #> '{calibration,classes}') as part
        ),
        false
      ) then 'a sound calibration of each class'
    end;
    if v_wrong is not null then
      perform common.refuse('CF009', format('the document of several classes lacks %s', v_wrong),
        'src/sql/ml/registry/README.md shows what each kind of model needs.');
    end if;
    if v_kind = 'linear' then
      for v_output in select output from jsonb_array_elements(document -> 'outputs') as output loop
        perform ml._check_document(v_output);
        if v_output ->> 'kind' <> 'linear' or (
          select jsonb_agg(jsonb_build_array(feature -> 'name', feature -> 'type') order by position)
          from jsonb_array_elements(v_output -> 'features') with ordinality as listed (feature, position)
        ) is distinct from (
          select jsonb_agg(jsonb_build_array(feature -> 'name', feature -> 'type') order by position)
          from jsonb_array_elements(document -> 'features') with ordinality as listed (feature, position)
        ) then
          perform common.refuse('CF009', 'the outputs of the classes have other features than the document',
            'Each output is a linear document with the features of all, in their order.');
        end if;
      end loop;
      -- Its features are those of the outputs, which are checked.
      return;
    end if;
  elsif coalesce(document ->> 'link', '') not in ('identity', 'logit', 'log') then
    perform common.refuse('CF009', format('the link of the model is "%s"', coalesce(document ->> 'link', 'null')),
      'Give identity (the score is the answer), logit (a probability) or log.');
  end if;
  if jsonb_typeof(document -> 'features') is distinct from 'array' then
    perform common.refuse('CF009', 'the document has no list of features',
      'Give [{"name": "tax", "type": "number"}, …].');
  end if;
  select format('feature %s: %s', position, feature)
  into v_wrong
  from jsonb_array_elements(document -> 'features') with ordinality as listed (feature, position)
  where jsonb_typeof(feature) <> 'object'
    or coalesce(feature ->> 'name', '') = ''
    or coalesce(feature ->> 'type', '') not in ('number', 'category')
    or (v_kind = 'linear' and feature ->> 'type' = 'number'
      and not (ml._is_double(feature -> 'coefficient') and ml._is_double(feature -> 'mean')))
    or (
      v_kind = 'linear' and feature ->> 'type' = 'category'
      and not coalesce(
        jsonb_typeof(feature -> 'categories') = 'array'
        and jsonb_array_length(feature -> 'categories') = jsonb_array_length(feature -> 'coefficients')
        and (select bool_and(ml._is_double(coefficient))
          from jsonb_array_elements(feature -> 'coefficients') as coefficient) is not false,
        false
      )
    )
    or (v_kind = 'trees' and feature ->> 'type' = 'category' and feature ? 'categories'
      and jsonb_typeof(feature -> 'categories') <> 'array')
  limit 1;
  if v_wrong is not null then
    perform common.refuse(
      'CF009',
      left(v_wrong, 300),
      'A feature has name and type; in a linear model a number has coefficient and mean, a category has '
        || 'categories and coefficients; in trees a category may have categories.'
    );
  end if;
  select feature ->> 'name' into v_wrong from jsonb_array_elements(document -> 'features') as feature group by 1
  having count(*) > 1 limit 1;
  if v_wrong is not null then
    perform common.refuse('CF009', format('the feature "%s" is listed twice', left(v_wrong, 100)),
      'Names of features are unique.');
  end if;
  v_wrong := case
    when v_classes is null and v_kind in ('linear', 'trees')
      and not ml._is_double(document -> 'intercept') then 'a number "intercept"'
    when v_kind = 'trees' and coalesce(jsonb_typeof(document -> 'nodes'), '') <> 'array' then 'a list "nodes"'
    when v_kind = 'embeddings'
      and (coalesce(document ->> 'similarity', '') not in ('inner_product', 'cosine')
        or coalesce(document ->> 'sides', '') not in ('1', '2'))
          then '"similarity" (inner_product or cosine) and "sides" (1 or 2)'
    when v_kind = 'embeddings'
      and coalesce(jsonb_typeof(document -> 'embeddings'), '') <> 'array' then 'a list "embeddings"'
    when v_kind = 'embeddings' and jsonb_array_length(document -> 'features') <> 2 then 'two features, the keys'
    when v_kind = 'scores' and coalesce(jsonb_typeof(document -> 'scores'), '') <> 'array' then 'a list "scores"'
    when v_kind = 'scores' and jsonb_array_length(document -> 'features') = 0 then 'a key'
    when v_kind = 'scores' and document ? 'default'
      and not ml._is_double(document -> 'default') then 'a number as default'
    when document ? 'calibration' and v_classes is null
      and not ml._is_calibration(document #>> '{calibration,method}', document -> 'calibration')
        then 'a sound calibration'
  end;
  if v_wrong is not null then
    perform common.refuse('CF009', format('the document lacks %s', left(v_wrong, 100)),
      'src/sql/ml/README.md shows what each kind of model needs.');
  end if;
end;
$$;

comment on function ml._check_document(jsonb) is $$
Refuses a model document that ml.predict could not serve. Error CF009.
$$;

/*
 * A definer: it writes the registry, and is granted to those who may train. It reads its arguments only, never a
 * relation.
 */
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
set client_min_messages to notice
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
    perform common.refuse('CF001', format('"%s" is not a name for a project', coalesce(left(project, 100), 'null')),
      'Use lower case letters, digits and underscores, with dots between the parts, such as analytics.dropout.');
  end if;
  if task is null or task not in ('regression', 'classification', 'recommendation') then
    perform common.refuse('CF001', format('there is no task "%s"', coalesce(left(task, 100), 'null')),
      'Choose regression, classification or recommendation.');
  end if;
  if algorithm is null or btrim(algorithm) = '' or length(algorithm) > 200 then
    perform common.refuse('CF001', 'the algorithm has no name', 'Say by what method the model was made, such as gbm.');
  end if;
  v_metric := coalesce(metric, case task
    when 'classification' then case when document ? 'classes' then 'log_loss' else 'area_under_roc' end
    when 'recommendation' then 'ndcg_at_10'
    else 'root_mean_squared_error'
  end);
  v_higher := case v_metric
    when 'ndcg_at_10' then true when 'recall_at_10' then true
    when 'area_under_roc' then true when 'average_precision' then true when 'r2_score' then true
    when 'accuracy' then true when 'macro_f1' then true
    when 'log_loss' then false when 'brier_score' then false when 'calibration_error' then false
    when 'root_mean_squared_error' then false when 'mean_abs_error' then false
  end;
  if v_higher is null then
    perform common.refuse(
      'CF001',
      format('there is no metric "%s"', left(v_metric, 100)),
      'Choose area_under_roc, average_precision, log_loss, brier_score or calibration_error; for several classes '
        || 'log_loss, accuracy or macro_f1; for a regression '
        || 'root_mean_squared_error, mean_abs_error or r2_score; for a recommendation ndcg_at_10 or recall_at_10.'
    );
  end if;
  if v_metric <> 'log_loss' and (document ? 'classes') <> (v_metric in ('accuracy', 'macro_f1')) then
    perform common.refuse('CF001',
      format('the metric %s is not one of a model %s', v_metric,
        case when document ? 'classes' then 'of several classes' else 'with one answer' end),
      'Several classes are measured by log_loss, accuracy or macro_f1, one answer by the other metrics.');
  end if;
  if task <> 'recommendation' then
    perform ml._check_document(document);
  elsif document is not null then
    perform common.refuse('CF009', 'a recommender has no document',
      'Give null, and keep the model in a table of its own by its model_id.');
  end if;

  insert into ml.project (name, task, metric, higher_is_better, description)
  values (register_model.project, register_model.task, v_metric, v_higher, register_model.description)
  on conflict (name) do nothing;
  -- One version after the other.
  select * into v_project from ml.project where project.name = register_model.project for update;
  if v_project.task <> task then
    perform common.refuse(
      'CF010',
      format('project "%s" is a %s, not a %s', left(project, 100), v_project.task, left(task, 100)),
      'Give the model a project of its own.'
    );
  elsif metric is not null and v_project.metric <> metric then
    perform common.refuse(
      'CF010',
      format('project "%s" is judged by %s, not by %s', left(project, 100), v_project.metric, left(metric, 100)),
      'Leave the metric out, or give the model a project of its own.'
    );
  elsif exists (
    select from ml.model as version
    where version.project_id = v_project.project_id and version.coefficients ? 'kind'
      and (version.coefficients ? 'classes') <> (document ? 'classes')
  ) then
    perform common.refuse(
      'CF010',
      format('the versions of project "%s" answer with %s', left(project, 100),
        case when document ? 'classes' then 'one number' else 'a probability for each class' end),
      'Give the model a project of its own.'
    );
  end if;

  if document ->> 'kind' = 'ensemble' then
    perform ml._check_ensemble(v_project.project_id, document);
  end if;

  insert into ml.model (project_id, version, algorithm, parameters, metrics, coefficients, seed, data_watermark,
    row_count, duration)
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
        insert into ml.tree_node (model_id, tree, node, parent, feature, threshold, categories, missing_left,
          left_node, right_node, value, gain, cover, class_values)
        select v_model_id, node.tree, node.node, node.parent, node.feature, node.threshold, node.categories,
          node.missing_left, node.left_node, node.right_node, node.value, node.gain, coalesce(node.cover, 0),
          node.class_values
        from jsonb_to_recordset(document -> 'nodes') as node (
          tree int, node int, parent int, feature text, threshold float8, categories text[], missing_left boolean,
            left_node int, right_node int, value float8, gain float8, cover float8, class_values float8[]
        );
      exception when check_violation or not_null_violation or unique_violation or invalid_text_representation
        or numeric_value_out_of_range then
        perform common.refuse(
          'CF009',
          format('a node of the trees is not sound: %s', left(sqlerrm, 100)),
          'Every node has tree, node and, but for the root, parent; a leaf has value or class_values, any other node '
            || 'feature, threshold or categories, missing_left, left_node and right_node.'
        );
      end;
      select format('tree %s, node %s', node.tree, node.node)
      into v_wrong
      from ml.tree_node as node
      where node.model_id = v_model_id
        and (
          (node.feature is not null
            and not document -> 'features' @> jsonb_build_array(jsonb_build_object('name', node.feature)))
          or (node.node > 0 and not exists (
            select
            from ml.tree_node as parent
            where parent.model_id = v_model_id and parent.tree = node.tree and parent.node = node.parent
              and node.node in (parent.left_node, parent.right_node)
          ))
          or (node.feature is not null and 2 <> (
            select count(*)
            from ml.tree_node as child
            where child.model_id = v_model_id and child.tree = node.tree
              and child.node in (node.left_node, node.right_node) and child.parent = node.node
          ))
        )
      order by node.tree, node.node
      limit 1;
      v_wrong := coalesce(v_wrong, (
        select format('tree %s, which belongs to no class', node.tree) from ml.tree_node as node
        where node.model_id = v_model_id and node.tree > jsonb_array_length(document -> 'tree_classes')
        order by node.tree limit 1
      ), (
        select format('tree %s, which has no root', node.tree) from ml.tree_node as node
        where node.model_id = v_model_id group by node.tree having min(node.node) > 0 limit 1
      ), (
        -- Within what a sum can hold.
        select format('tree %s, node %s, whose value is not a number up to 1e100', node.tree, node.node)
        from ml.tree_node as node
        where node.model_id = v_model_id
          and not (coalesce(abs(node.value), 0) <= 1e100 and 1e100 >= all (
            select abs(value) from unnest(node.class_values) as value where value is not null
          ))
        order by node.tree, node.node limit 1
      ), (
        -- A tree is of one class, by tree_classes, or has values for all.
        select format('tree %s, node %s, whose values are not those of its classes', node.tree, node.node)
        from ml.tree_node as node
        where node.model_id = v_model_id and node.feature is null
          and case when document ? 'classes' and not document ? 'tree_classes'
            then coalesce(
              array_ndims(node.class_values) <> 1 or array_position(node.class_values, null) is not null
                or cardinality(node.class_values) <> jsonb_array_length(document -> 'classes'),
              true
            )
            else node.value is null end
        order by node.tree, node.node limit 1
      ));
      if v_wrong is not null then
        perform common.refuse('CF009', format('the trees do not hang together at %s', left(v_wrong, 100)),
          'Node 0 is the root, every other node is child of one node of a lower number, and all features are listed.');
      end if;
    when 'embeddings' then
      begin
        insert into ml.embedding (model_id, side, key, embedding)
        select v_model_id, listed.side, listed.key, (listed.embedding #>> '{}')::vector
        from jsonb_to_recordset(document -> 'embeddings') as listed (side smallint, key text, embedding jsonb);
      exception
        when check_violation or not_null_violation or invalid_text_representation or data_exception
          or program_limit_exceeded then
          perform common.refuse('CF009', format('an embedding is not sound: %s', left(sqlerrm, 100)),
            'An embedding has side, key and embedding, a list of numbers.');
        when unique_violation then
          perform common.refuse('CF009', 'an embedding is listed twice', 'Keys are unique on each side.');
      end;
      select format('vectors of %s and of %s numbers', min(vector_dims(embedding)), max(vector_dims(embedding)))
      into v_wrong
      from ml.embedding
      where model_id = v_model_id
      having min(vector_dims(embedding)) <> max(vector_dims(embedding));
      if v_wrong is not null then
        perform common.refuse('CF009', v_wrong, 'All vectors of a model have the same length.');
      end if;
    when 'scores' then
      begin
        insert into ml.score (model_id, keys, score)
        select v_model_id, array(select jsonb_array_elements_text(listed.keys)), listed.score
        from jsonb_to_recordset(document -> 'scores') as listed (keys jsonb, score float8);
      exception
        when not_null_violation or invalid_text_representation or invalid_parameter_value then
          perform common.refuse('CF009', format('a score is not sound: %s', left(sqlerrm, 100)),
            'A score has keys, a list of strings, and score, a number.');
        when unique_violation then
          perform common.refuse('CF009', 'a key has two scores', 'Keys are unique.');
      end;
      if exists (select from ml.score
        where model_id = v_model_id and cardinality(keys) <> jsonb_array_length(document -> 'features')) then
        perform common.refuse('CF009', 'a score has another number of keys than the model',
          'Give one value for each of the features.');
      end if;
    else
      null;
  end case;
  return v_version;
end;
$$;

comment on function ml.register_model(
  text, text, text, jsonb, jsonb, jsonb, text, bigint, timestamptz, bigint, interval, text
) is $$
Adds a version to a project, creates the project if necessary, and returns the number of the version.
Does not deploy the version.
`document` is the model itself, in the form that src/sql/ml/README.md describes (kinds linear, trees, embeddings,
scores, ensemble); ml.train, ml.import_model and ml.register_ensemble write it for you.
`task` is regression, classification or recommendation;
`metric` judges the versions of a new project.
A recommender has no document: it is in tables of the room that serves it.
Errors: CF001 (name, task, metric), CF009 (the document), CF010 (the project has another task or metric).
$$;

grant execute on function ml._is_calibration(text, jsonb), ml._check_document(jsonb) to insights_admin, insights_worker;
grant execute on function ml.register_model(text, text, text, jsonb, jsonb, jsonb, text, bigint, timestamptz, bigint,
  interval, text)
  to insights_admin, insights_worker;
--! EndIncluded ml/registry/register_model.sql

--! Included ml/registry/_explain.sql
create or replace function ml._explain(
  model ml.model,
  relation text,
  id_expression text,
  inputs text,
  kept text,
  class text
)
returns text
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_document constant jsonb := ml._document(model);
  v_classes constant text[] := ml._classes(v_document);
  v_place constant int := array_position(v_classes, class);
  v_linear jsonb := v_document;
  v_statement text;
begin
  if v_classes is null and class is not null then
    perform common.refuse('CF001', format('version %s answers with one number', model.version),
      'Leave the class out.');
  elsif v_classes is not null and v_place is null then
    perform common.refuse(
      'CF001',
      format('version %s has no class "%s"', model.version, coalesce(left(class, 100), 'null')),
      format('There are %s.', left(array_to_string(v_classes, ', '), 300))
    );
  elsif v_document ->> 'kind' = 'trees' and exists (
    select from ml.tree_node as node where node.model_id = model.model_id and node.node = 0
      and node.feature is not null and node.cover <= 0
  ) then
    perform common.refuse('CF001', format('the trees of version %s do not say how many rows came by', model.version),
      'Import them with cover: get_dump(with_stats=True, dump_format="json").');
  elsif v_document ->> 'kind' = 'trees' then
    v_statement := ml._explanation(
      -- With several classes, the trees of the class, or the values that all trees have for it.
      case
        when v_classes is null then format('(select * from ml.tree_node where model_id = %s) as registered',
          model.model_id)
        when v_document ? 'tree_classes' then format(
          '(select * from ml.tree_node where model_id = %s and tree = any (%L::int[])) as registered', model.model_id,
          array(
            select tree
            from jsonb_array_elements_text(v_document -> 'tree_classes') with ordinality as listed (place, tree)
            where place::int = v_place
          )
        )
        else format(
          '(select tree, node, parent, feature, threshold, categories, missing_left, left_node, cover,
              class_values[%s] as value
            from ml.tree_node where model_id = %s) as registered',
          v_place, model.model_id
        )
      end,
      coalesce(v_document ->> 'intercept', v_document -> 'intercepts' ->> v_place - 1)::float8,
      array(select feature ->> 'name'
        from jsonb_array_elements(v_document -> 'features') with ordinality as listed (feature, position)
          order by position),
      array(select feature ->> 'type'
        from jsonb_array_elements(v_document -> 'features') with ordinality as listed (feature, position)
          order by position),
      (select jsonb_object_agg(feature ->> 'name', feature -> 'categories')
        from jsonb_array_elements(v_document -> 'features') as feature),
      relation, id_expression, inputs, kept
    );
  elsif v_document ->> 'kind' = 'linear' then
    if v_classes is not null then
      v_linear := v_document -> 'outputs' -> v_place - 1;
    end if;
    v_statement := format(
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
        select (v_linear ->> 'intercept')::float8 + coalesce(
          sum((feature ->> 'coefficient')::float8 * (feature ->> 'mean')::float8)
            filter (where feature ->> 'type' = 'number'), 0)
        from jsonb_array_elements(v_linear -> 'features') as feature
      ),
      (
        select string_agg(
          case when feature ->> 'type' = 'category' then format(
            ', (%L, x%2$s, coalesce((%3$L::float8[])[array_position(%4$L::text[], x%2$s)], 0))', feature ->> 'name',
            position,
            array(select value::float8 from jsonb_array_elements_text(feature -> 'coefficients') as value),
            array(select jsonb_array_elements_text(feature -> 'categories'))
          )
          else format(
            ', (%L, x%2$s::text, coalesce(ml._times(%3$L::float8, x%2$s - %4$L::float8), 0))', feature ->> 'name',
            position,
            (feature ->> 'coefficient')::float8, (feature ->> 'mean')::float8
          ) end,
          '' order by position
        )
        from jsonb_array_elements(v_linear -> 'features') with ordinality as listed (feature, position)
      )
    );
  else
    perform common.refuse(
      'CF001',
      format('a model of kind "%s" is not a sum of its features', left(v_document ->> 'kind', 100)),
      'Linear models and trees can be explained.'
    );
  end if;
  return case
    when v_classes is null then v_statement
    else format(
      'select id, feature, case when feature = ''(base)'' then %L else feature_value end as feature_value, contribution
        from (%s) as explained',
      class, v_statement
    )
  end;
end;
$$;

comment on function ml._explain(ml.model, text, text, text, text, text) is $$
The statement that explains the raw scores of a model for the rows of a relation that are `kept`:
id, feature, feature_value and contribution.
With several classes it explains the score of one, which is the value of the feature (base).
All texts but the class are SQL that the caller has checked. Error CF001: the model has no exact explanation, no such
class.
$$;

grant execute on function ml._explain(ml.model, text, text, text, text, text)
  to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/registry/_explain.sql

--! Included ml/registry/explain.sql
create or replace function ml.explain(
  project text,
  features jsonb,
  version int default null,
  class text default null
)
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
  v_class text := class;
  v_list text;
begin
  if v_class is null and ml._document(v_model) ? 'classes' then
    v_class := (
      select answer.class
      from unnest(ml._classes(v_model.coefficients), ml._class_probabilities(v_model, features)) with ordinality
        as answer (class, probability, place)
      order by answer.probability desc, answer.place
      limit 1
    );
  end if;
  select string_agg(format('%L::%s as x%s', input.value, case when input.type = 'category' then 'text' else 'float8'
      end, input.place), ', ' order by input.place)
  into v_list
  from ml._feature_values(ml._document(v_model), features) as input;
  return query execute format(
    'select feature, feature_value, contribution from (%s) as explained (id, feature, feature_value, contribution)',
    ml._explain(v_model, '(values (1)) as one (id)', '1', coalesce(v_list, ''), 'true', v_class)
  );
end;
$$;

comment on function ml.explain(text, jsonb, int, text) is $$
Explains a prediction of the deployed version of a project: how much each feature added to the raw score.
For trees these are exact Shapley values (TreeSHAP, path-dependent), for linear models coefficient · (value − mean).
With `(base)`, the mean, they sum to the raw score: log odds for a probability before calibration, largest first.
With several classes they explain the score of `class`, without it that of the most probable one; `feature_value` of
`(base)` names it. Differences between the scores of two classes are log odds, where the classes have a softmax; the
score of a forest is the probability.
Errors: CF001 (a feature is not given or not a number; no such class; embeddings, scores and trees without cover have
no explanation), CF002, CF006 (none is deployed).
Source: Lundberg and others, From local explanations to global understanding with explainable AI for trees, Nature
Machine Intelligence 2, 2020.
$$;

grant execute on function ml.explain(text, jsonb, int, text)
  to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/registry/explain.sql

--! Included ml/registry/explain_each.sql
create or replace function ml.explain_each(
  project text,
  inputs anyarray,
  version int default null,
  class text default null
)
returns setof ml.row_contribution
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
  v_model constant ml.model := ml._version(project, version);
  v_document constant jsonb := ml._document(v_model);
  v_input record;
  v_rows text;
  v_classes text[];
begin
  select * into v_input from ml._row_features(v_document, pg_typeof(inputs)) as input;
  v_rows := format('unnest($1) with ordinality as given (%s)', v_input.columns);
  if class is null and v_document ? 'classes' then
    -- The most probable class of each row.
    execute format(
      'select array_agg((%L::text[])[array_position(answer, (select max(share) from unnest(answer) as share))]
          order by row_no)
        from (select row_no, %s as answer from (select row_no, %s from %s offset 0) as input offset 0) as answered',
      ml._classes(v_document), ml._answer_expression(v_document, ml._score_expression(v_model)), v_input.features,
      v_rows
    ) into v_classes using inputs;
    return query execute format(
      'select id::int, feature, feature_value, contribution
        from (%s) as explained (id, feature, feature_value, contribution)
        order by id, abs(contribution) desc',
      coalesce(
        (
          select string_agg('(' || ml._explain(v_model, v_rows, 'row_no', v_input.features,
            format('(%L::text[])[row_no] = %L', v_classes, listed.class), listed.class) || ')', ' union all ')
          from (select distinct unnest(v_classes)) as listed (class)
        ),
        'select null::int, null::text, null::text, null::float8 where false'
      )
    )
    using inputs;
    return;
  end if;
  return query execute format(
    'select id::int, feature, feature_value, contribution
      from (%s) as explained (id, feature, feature_value, contribution)',
    ml._explain(v_model, v_rows, 'row_no', v_input.features, 'true', class)
  )
  using inputs;
end;
$$;

comment on function ml.explain_each(text, anyarray, int, text) is $$
@behavior -*
Explains the predictions for an array of rows, by the deployed version of a project or the given one:
`ml.explain` for each of them, with several classes of the given class or of the most probable one of each row.
The rows are those of `ml.predict_each`; `row_no` is the place of a row in the array, from 1.
Errors: CF001 (not an array of rows, no such class, the model has no explanation), CF002 (no such project or version,
a feature is missing), CF006 (none is deployed).
$$;

grant execute on function ml.explain_each(text, anyarray, int, text)
  to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/registry/explain_each.sql

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

create or replace function ml._tree_features_document(model ml.tree_model, names text[])
returns jsonb
language sql
stable
begin atomic
  select jsonb_agg(
    jsonb_build_object('name', feature.name, 'type', feature.type)
    || case when feature.type = 'category' then jsonb_build_object('categories',
      (model).categories -> feature.quoted) else '{}' end
    order by feature.position
  )
  from rows from (
    unnest(names),
    unnest((model).independent_varnames),
    unnest((model).independent_vartypes)
  ) with ordinality as feature (name, quoted, type, position);
end;

comment on function ml._tree_features_document(ml.tree_model, text[]) is $$
The features of a model of trees as a document for the registry has them; `names` are the names without quotes.
$$;

create or replace function ml._gbm_document(model_table text, names text[], link text, classes text[])
returns jsonb
language plpgsql
stable
set extra_float_digits to 1
as $$
declare
  v_model constant ml.tree_model := ml._tree_model(model_table, array['gbm']);
  v_nodes jsonb;
begin
  -- The trees of a round follow each other in the order of the classes.
  execute format(
    $query$
    select jsonb_agg(jsonb_strip_nulls(
      to_jsonb(grown) - 'depth' - 'num_rows' - 'feature' - 'class'
      || jsonb_build_object('tree', %s, 'feature', (select feature.name
          from unnest(%L::text[], %L::text[]) as feature (name, quoted) where feature.quoted = grown.feature))
    ))
    from %s as grown
    $query$,
    case when classes is null then 'grown.tree'
      else format('(grown.tree - 1) * %s + array_position(%L::text[], grown.class)', cardinality(classes), classes) end,
    names, v_model.independent_varnames, model_table
  ) into v_nodes;
  return jsonb_build_object(
    'kind', 'trees', 'link', link, 'nodes', coalesce(v_nodes, '[]'),
    'features', ml._tree_features_document(v_model, names)
  ) || case
    when classes is null then jsonb_build_object('intercept', v_model.base_score)
    else jsonb_build_object(
      'classes', classes,
      'intercepts', (
        select jsonb_agg(v_model.base_scores[array_position(v_model.dependent_var_levels, class)] order by place)
        from unnest(classes) with ordinality as listed (class, place)
      ),
      'tree_classes', (
        select coalesce(jsonb_agg(1 + (tree - 1) % cardinality(classes) order by tree), '[]')
        from generate_series(1, (select max((node ->> 'tree')::int) from jsonb_array_elements(v_nodes) as node)) as tree
      )
    )
  end;
end;
$$;

comment on function ml._gbm_document(text, text[], text, text[]) is $$
A model of ml.gbm_train as a document for the registry; `names` are its features without quotes, in order.
`classes` are those of a model of several, null for one answer.
$$;

create or replace function ml._forest_document(model_table text, names text[], classes text[])
returns jsonb
language plpgsql
stable
set extra_float_digits to 1
as $$
declare
  v_model constant ml.tree_model := ml._tree_model(model_table, array['tree_train', 'forest_train']);
  v_nodes jsonb;
begin
  -- The answer is the mean of the trees; with several classes a leaf has the share of each.
  execute format(
    $query$
    select jsonb_agg(jsonb_strip_nulls(
      to_jsonb(grown) - 'depth' - 'num_rows' - 'feature' - 'distribution' - 'value'
      || jsonb_build_object(
        'feature', (select feature.name
          from unnest(%1$L::text[], %2$L::text[]) as feature (name, quoted) where feature.quoted = grown.feature),
        %3$L, case when grown.feature is null then %4$s end
      )
    ))
    from %5$s as grown
    $query$,
    names, v_model.independent_varnames, case when classes is null then 'value' else 'class_values' end,
    case
      when v_model.dependent_var_levels is null then format('grown.value / %s::float8', v_model.num_trees)
      when classes is null then format('grown.distribution[%s] / %s::float8',
        array_position(v_model.dependent_var_levels, '1'), v_model.num_trees)
      else (
        select format('array[%s]', string_agg(format('grown.distribution[%s] / %s::float8',
          array_position(v_model.dependent_var_levels, class), v_model.num_trees), ', ' order by position))
        from unnest(classes) with ordinality as listed (class, position)
      )
    end,
    model_table
  ) into v_nodes;
  return jsonb_build_object(
    'kind', 'trees', 'link', 'identity', 'nodes', v_nodes, 'features', ml._tree_features_document(v_model, names)
  ) || case
    when classes is null then '{"intercept": 0}'
    else jsonb_build_object('classes', classes, 'intercepts', array_fill(0, array[cardinality(classes)]))
  end;
end;
$$;

comment on function ml._forest_document(text, text[], text[]) is $$
A model of ml.tree_train or ml.forest_train as a document for the registry, whose score is its answer.
`names` are its features without quotes, in order; `classes` are those of a model of several, null for one answer: a
number, or the probability of class 1.
$$;

create or replace function ml._linear_document(
  source_table text,
  names text[],
  task text,
  algorithm text,
  parameters jsonb,
  classes text[]
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
  -- A row for each output: the intercept and the coefficients of the inputs used.
  v_fitted float8[];
  v_coefficients float8[];
  v_outputs jsonb := '[]';
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
    execute format('select array[array[intercept] || coef_all] from %s', v_output) into v_fitted;
  elsif algorithm = 'mlogregr' then
    -- The first class is the reference: its coefficients are 0. Only differences between classes matter, so the mean
    -- over the classes is subtracted: the score of each class is explained, also that of the first.
    v_options := ml._named_arguments(parameters, array['max_iter', 'tolerance']);
    execute format(
      'select ml.mlogregr_train(%L, %L, %L, %L, 0, %L)', source_table, v_output,
      format('array_position(%L::text[], _ml_label) - 1', classes), format('array[1, %s]', v_design),
      format('max_iter=%s, tolerance=%s', coalesce(parameters ->> 'max_iter', '20'),
        coalesce(parameters ->> 'tolerance', '1e-6'))
    );
    execute format(
      'select array[array_fill(0::float8, array[%s])] || array_agg(coef order by category) from %s',
      cardinality(v_used) + 1, v_output
    ) into v_fitted;
    v_fitted := array(
      select array(
        select v_fitted[class][place]
          - (select avg(v_fitted[other][place]) from generate_subscripts(v_fitted, 1) as other)
        from generate_subscripts(v_fitted, 2) as place
        order by place
      )
      from generate_subscripts(v_fitted, 1) as class
      order by class
    );
  else
    v_options := ml._named_arguments(parameters, case algorithm when 'logregr' then array['max_iter', 'tolerance']
      else '{}' end);
    execute format('select ml.%I(%L, %L, %L, %L %s)', algorithm || '_train', source_table, v_output, v_dependent,
      format('array[1, %s]', v_design), v_options);
    execute format('select array[coef] from %s', v_output) into v_fitted;
  end if;
  execute format('drop table if exists %s, %s', v_output, v_output || '_summary');
  foreach v_coefficients slice 1 in array v_fitted loop
    v_outputs := v_outputs || jsonb_build_object(
      'kind', 'linear',
      'link', case when classes is null and task = 'classification' then 'logit' else 'identity' end,
      'intercept', v_coefficients[1] - (select sum(v_coefficients[position + 1] * v_means[place] / v_deviations[place])
        from unnest(v_used) with ordinality as used (place, position)),
      'features', (
        select jsonb_agg(
          case when v_categorical[feature.place] then (
            select jsonb_build_object('name', names[feature.place], 'type', 'category',
              'categories', coalesce(jsonb_agg(v_category[input] order by input), '[]'),
              'coefficients', coalesce(jsonb_agg(fitted.coefficient order by input), '[]'))
            from generate_subscripts(v_of, 1) as input
            cross join lateral (
              select coalesce(v_coefficients[array_position(v_used, input) + 1] / nullif(v_deviations[input], 0), 0)
            ) as fitted (coefficient)
            where v_of[input] = feature.place
          )
          else (
            select jsonb_build_object('name', names[feature.place], 'type', 'number', 'mean', v_means[input],
              'coefficient',
              coalesce(v_coefficients[array_position(v_used, input) + 1] / nullif(v_deviations[input], 0), 0))
            from array_position(v_of, feature.place) as input
          ) end
          order by feature.place
        )
        from generate_series(1, cardinality(names)) as feature (place)
      )
    );
  end loop;
  if classes is null then
    return v_outputs -> 0;
  end if;
  return jsonb_build_object(
    'kind', 'linear', 'link', 'softmax', 'classes', classes, 'outputs', v_outputs,
    'features', (
      select jsonb_agg(jsonb_build_object('name', feature -> 'name', 'type', feature -> 'type') order by position)
      from jsonb_array_elements(v_outputs -> 0 -> 'features') with ordinality as listed (feature, position)
    )
  );
end;
$$;

comment on function ml._linear_document(text, text[], text, text, jsonb, text[]) is $$
A linear or logistic model of the column `_ml_label` of a table, as a document for the registry.
For several `classes` it is multinomial, null otherwise.
It is trained on standardised features, those that are missing being the mean, and its coefficients are in the
features' own units. Text has a coefficient for each of up to 49 categories, compared with
missing values, or without any with the most frequent category.
$$;

create or replace function ml._label_classes(rows_table text, label text)
returns text[]
language plpgsql
volatile
as $$
declare
  v_wrong float8;
  v_several boolean := true;
  v_classes text[];
begin
  if common.expression_type('_ml_label', rows_table::regclass, 'label') <> 'text'::regtype then
    execute format(
      'select min(_ml_label) filter (where _ml_label <> round(_ml_label) or abs(_ml_label) >= 1e15),
         coalesce(bool_or(_ml_label not in (0, 1)), false)
       from %s',
      rows_table
    ) into v_wrong, v_several;
    if v_wrong is not null then
      perform common.refuse('CF001', format('"%s" holds %s, a class is 0 or 1, or an integer', label, v_wrong),
        'Give a boolean or 0 and 1, text or integers for several classes, or choose regression.');
    elsif not v_several then
      return null;
    end if;
    execute format('alter table %s alter column _ml_label type text using _ml_label::bigint::text', rows_table);
  end if;
  execute format(
    $query$
    select array(
      select _ml_label from %s where _ml_part < 2 and _ml_label is not null
      group by 1
      -- Numbers in the order of numbers, names in that of names.
      order by case when _ml_label ~ '^-?[0-9]{1,18}$' then _ml_label::bigint end, _ml_label collate "C"
      limit 101
    )
    $query$,
    rows_table
  ) into v_classes;
  if cardinality(v_classes) > 100 then
    perform common.refuse('CF008', format('"%s" has more than 100 classes', label),
      'Group the rare ones, or choose regression for a number.');
  elsif cardinality(v_classes) = 1 then
    perform common.refuse('CF004', format('"%s" holds one class only, %s', label, left(v_classes[1], 100)),
      'A model needs at least two classes.');
  end if;
  return v_classes;
end;
$$;

comment on function ml._label_classes(text, text) is $$
The classes of `_ml_label` in the rows to train on, after it became text; null where it is 0 and 1.
`rows_table` is written by ml._divide. Errors: CF001 (not integers), CF004 (one class), CF008 (over 100).
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
  v_classes text[];
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
  elsif algorithm is null or algorithm not in ('gbm', 'tree', 'forest', 'elastic_net', 'linregr', 'logregr', 'mlogregr')
    or (algorithm = 'linregr' and task <> 'regression')
    or (algorithm in ('logregr', 'mlogregr') and task <> 'classification') then
    perform common.refuse(
      'CF001',
      format('there is no algorithm "%s" for a %s', coalesce(left(algorithm, 100), 'null'), left(task, 100)),
      format(
        'Choose gbm (boosted trees), forest, tree, elastic_net or %s.',
        case task when 'regression' then 'linregr' else 'logregr; for several classes mlogregr' end
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
  if task = 'classification' then
    v_classes := ml._label_classes(v_rows, left(label, 100));
  elsif common.expression_type('_ml_label', v_rows::regclass, 'label') = 'text'::regtype then
    perform common.refuse('CF001', format('label: "%s" is text', left(label, 100)),
      'Give a column or an expression of numbers, or choose classification.');
  end if;
  execute format(
    'select count(*) filter (where _ml_part < 2) as seen, count(*) filter (where _ml_part = 1) as validating,
      count(*) filter (where _ml_part = 2) as held, max(_ml_known_at) filter (where _ml_part < 2) as watermark
     from %s where _ml_label is not null',
    v_rows
  ) into v_counts;
  if v_counts.seen = 0 or v_counts.held = 0 then
    perform common.refuse('CF004', format('%s rows to train on and %s held out', v_counts.seen, v_counts.held),
      'Both parts need rows with a label.');
  end if;
  if v_classes is not null then
    if algorithm not in ('gbm', 'tree', 'forest', 'mlogregr') then
      perform common.refuse(
        'CF001',
        format('"%s" has %s classes, and %s answers for two', left(label, 100), cardinality(v_classes), algorithm),
        'Choose gbm, forest, tree or mlogregr, or give a boolean or 0 and 1.'
      );
    end if;
    v_calibration := coalesce(calibration, 'none');
  elsif algorithm = 'mlogregr' then
    perform common.refuse('CF001', format('"%s" has two classes, 0 and 1', left(label, 100)), 'Choose logregr.');
  end if;

  if algorithm = 'gbm' then
    -- A fifth of the rows stops the boosting and fits the calibration, where there are enough rows.
    execute format('create temporary view _ml_train_seen as select * from %s where _ml_part < 2', v_rows);
    execute format(
      'select ml.gbm_train(%L, %L, %L, ''_ml_label'', %L, objective => %L, validation => %L, seed => %L %s)',
      v_seen, v_model_table, id_col_name, array_to_string(v_listed, ', '),
      case when v_classes is not null then 'softmax' when task = 'classification' then 'logistic'
        else 'squared_error' end,
      case when v_counts.validating >= 50 then '_ml_part = 1' end, seed,
      ml._named_arguments(parameters, array[
        'num_trees', 'learning_rate', 'max_depth', 'min_rows', 'min_child_weight', 'lambda', 'gamma', 'row_sample',
        'feature_sample', 'max_bins', 'early_stopping_rounds'
      ])
    );
    v_document := ml._gbm_document(v_model_table, v_names, case when v_classes is null then v_link else 'softmax' end,
      v_classes);
  else
    execute format(
      'create temporary view _ml_train_seen as select * from %s where _ml_label is not null and _ml_part < %s',
      v_rows, case when v_calibration = 'none' then 2 else 1 end
    );
    if algorithm in ('tree', 'forest') then
      execute format(
        'select ml.%I(%L, %L, %L, %L, %L %s %s)',
        algorithm || '_train', v_seen, v_model_table, id_col_name,
        case when v_classes is null and task = 'classification' then '_ml_label::int' else '_ml_label' end,
        array_to_string(v_listed, ', '), case when algorithm = 'forest' then format(', seed => %L', seed) end,
        ml._named_arguments(parameters, case algorithm
          when 'tree' then array['split_criterion', 'max_depth', 'min_split', 'min_bucket', 'num_splits',
            'pruning_params']
          else array['num_trees', 'num_random_features', 'max_tree_depth', 'min_split', 'min_bucket', 'num_splits',
            'sample_ratio']
        end)
      );
      v_document := ml._forest_document(v_model_table, v_names, v_classes);
    else
      v_document := ml._linear_document(v_seen, v_names, task, algorithm, parameters, v_classes);
    end if;
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
    -- The raw score, or with several classes their probabilities.
    execute format(
      'create temporary table _ml_train_scored on commit drop as select observed, %s as %s
        from (select _ml_label as observed, %s from %s where _ml_part = 1 and _ml_label is not null offset 0) as input',
      case when v_classes is null then ml._score_expression(v_model)
        else ml._answer_expression(v_model.coefficients, ml._score_expression(v_model)) end,
      case when v_classes is null then 'score' else 'prediction' end,
      ml._feature_list(v_model.coefficients, v_rows::regclass), v_rows
    );
    v_model := ml._calibrate(v_model.model_id, case when v_classes is null
      then ml._fit_calibration(v_scored, v_calibration)
      else ml._fit_class_calibration(v_scored, v_calibration, v_classes) end);
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
`task` is classification (label boolean, or 0 and 1; text or integers for 2 to 100 classes) or regression; `algorithm`
is gbm, forest or tree (with missing values and categories), elastic_net, linregr, logregr or, for several classes,
mlogregr (text has a coefficient for each category); `parameters` are those of ml.gbm_train and so on, by name.
`features` are columns, `*` all others; columns of the label are not features.
What is held out: with `predicted_at` the latest rows, by ml.time_split, which refuses features that use anything
later (`feature_known_at`) and leaves out rows whose label was not known by then (`label_known_at`); or the rows for
which `holdout` is true; or a share by a hash of the id, or of `group_column`, so that no group is in two parts.
A fifth of the rest, where that is 50 rows or more, stops the boosting and fits the calibration (`platt`, `isotonic`
or `none`; by default Platt's for boosted classifiers of two classes; with several, each against the others).
Metrics: area_under_roc, average_precision, log_loss, brier_score, calibration_error; for several classes log_loss,
accuracy, macro_f1, calibration_error; root_mean_squared_error, mean_abs_error, r2_score. `metric` judges the versions
of a new project.
The same seed and data give the same model. Errors: CF001 (an argument, a leak), CF002, CF004 (no rows, one class),
CF005, CF007 (collinear, separated), CF010 (the project has another task).
$$;

grant execute on function
  ml._named_arguments(jsonb, text[]), ml._tree_features_document(ml.tree_model, text[]),
  ml._gbm_document(text, text[], text, text[]), ml._forest_document(text, text[], text[]),
  ml._linear_document(text, text[], text, text, jsonb, text[]), ml._label_classes(text, text),
  ml.train(text, text, text, text, text, text, text, text, jsonb, text, text, text, text, text, float8, text, text,
    bigint, text)
to insights_admin, insights_worker;
--! EndIncluded ml/registry/train.sql

--! Included ml/registry/_xgboost_link.sql
create or replace function ml._xgboost_link(objective text)
returns text
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if objective in ('binary:logistic', 'reg:logistic') then
    return 'logit';
  elsif objective in ('count:poisson', 'reg:gamma', 'reg:tweedie', 'survival:cox', 'survival:aft') then
    return 'log';
  elsif objective in ('multi:softprob', 'multi:softmax') then
    return 'softmax';
  elsif objective in (
    'reg:squarederror', 'reg:linear', 'reg:pseudohubererror', 'reg:absoluteerror', 'reg:squaredlogerror',
    'reg:quantileerror', 'binary:logitraw'
  ) or objective like 'rank:%' then
    return 'identity';
  end if;
  perform common.refuse(
    'CF009',
    format('the objective "%s" is not known here', coalesce(left(objective, 100), 'null')),
    'There are reg:squarederror, reg:absoluteerror, reg:pseudohubererror, reg:squaredlogerror, '
      || 'reg:quantileerror, reg:logistic, binary:logistic, binary:logitraw, multi:softprob, multi:softmax, '
      || 'count:poisson, reg:gamma, reg:tweedie, survival:cox, survival:aft and rank:….'
  );
end;
$$;

comment on function ml._xgboost_link(text) is $$
The link of an objective of XGBoost: logit, log, softmax or identity. Error CF009.
$$;

grant execute on function ml._xgboost_link(text) to insights_admin, insights_worker;
--! EndIncluded ml/registry/_xgboost_link.sql

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
  ('privacy', 'disclosure', 'identity_id', 'identity', 'service', 'deleted', 'Person whose record was read.', null),
  ('privacy', 'disclosure', 'subject_name', 'identity', 'service', 'deleted', 'Name of this person.', null),
  ('privacy', 'disclosure', 'reason', 'decision', 'service', 'deleted', 'Interest of the reader, in her words.', null),
  (
    'privacy', 'disclosure', 'read_by', 'identity', 'service', 'kept',
    'Reader, such as an instructor, of the record of another.',
    'The law requires the names of the readers as long as the record is kept (34 CFR 99.32; GDPR article 17(3)(b)).'
  ),
  ('privacy', 'disclosure', 'salt', 'decision', 'service', 'deleted', 'Salt of the entry in the ledger.', null),
  ('privacy', 'export_log', 'exported_by', 'identity', 'service', 'cleared', 'Administrator who exported it.', null),
  (
    'privacy', 'retention_log', 'actor', 'identity', 'service', 'cleared',
    'Administrator who changed a rule of retention.', null
  ),
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
    'ml', 'tree_node', 'class_values', 'derived', 'analytics', 'marked',
    'Contributions of a leaf to the scores of the classes.', null
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

--! Included track/minimisation/parse_user_agent.sql
create or replace function track.parse_user_agent(user_agent text)
returns track.user_agent
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_text constant text := left(parse_user_agent.user_agent, 512);
  -- Name, part of the text, and pattern. Most browsers also name those that they descend from: the first pattern that
  -- matches applies. Each match contains the part, which is found faster.
  v_known constant text[] := array[
    ['Edge', 'Edg', '(?:Edge|Edg|EdgA|EdgiOS)/(\d{1,4})'],
    ['Opera', 'OP', '(?:OPR|OPiOS|OPT)/(\d{1,4})'],
    ['Opera', 'Opera/', '^Opera/.*Version/(\d{1,4})'],
    ['Opera', 'Opera', '^Opera[/ ](\d{1,4})'],
    ['Samsung Internet', 'SamsungBrowser/', 'SamsungBrowser/(\d{1,4})'],
    ['Yandex Browser', 'YaBrowser/', 'YaBrowser/(\d{1,4})'],
    ['Vivaldi', 'Vivaldi/', 'Vivaldi/(\d{1,4})'],
    ['DuckDuckGo', 'D', '(?:DuckDuckGo|Ddg)/(\d{1,4})'],
    ['UC Browser', 'Browser/', '(?:UCBrowser|UBrowser)/(\d{1,4})'],
    ['Silk', 'Silk/', 'Silk/(\d{1,4})'],
    ['Facebook', 'FBAV/', 'FBAV/(\d{1,4})'],
    ['Instagram', 'Instagram ', 'Instagram (\d{1,4})'],
    ['Electron', 'Electron/', 'Electron/(\d{1,4})'],
    ['Firefox', 'F', '(?:Firefox|FxiOS|Focus)/(\d{1,4})'],
    ['Android WebView', '; wv)', '; wv\).*(?:Chrome)/(\d{1,4})'],
    ['Chrome', 'C', '(?:HeadlessChrome|CriOS|Chromium|Chrome)/(\d{1,4})'],
    ['Android Browser', 'Version/', 'Android.*Version/(\d{1,4}).*Safari/'],
    ['Safari', 'Version/', '(?:Macintosh|iPhone|iPad|iPod).*Version/(\d{1,4}).*Safari/'],
    ['Internet Explorer', 'MSIE ', 'MSIE (\d{1,4})'],
    ['Internet Explorer', 'Trident/', 'Trident/.*rv:(\d{1,4})']
  ];
  v_browser text;
  v_version int;
  v_os constant text := case
    when v_text ~ 'Windows Phone' then 'Windows Phone'
    when v_text ~ 'Android|Dalvik' then 'Android'
    when v_text ~ 'iPhone|iPad|iPod|iOS|AppleTV' then 'iOS'
    when v_text ~ 'CrOS' then 'ChromeOS'
    when v_text ~ 'Windows' then 'Windows'
    when v_text ~ 'Macintosh|Mac OS X|Darwin' then 'macOS'
    when v_text ~ 'Linux|X11|Ubuntu' then 'Linux'
  end;
  v_lower constant text := lower(v_text);
  -- Programs that name themselves, and browsers that a program controls. CUBOT is a maker of phones. Several patterns
  -- are faster than one with assertions.
  v_is_bot constant boolean := strpos(v_lower, 'bot') > 0 and v_lower ~ '(?<!cu)bot(?![a-z])'
    or v_lower ~ (
      'crawl|spider|slurp|headless|phantomjs|puppeteer|playwright|selenium|lighthouse|pagespeed|facebookexternalhit'
      '|mediapartners|bingpreview|google-read-aloud|feedfetcher|monitoring|pingdom|uptime|archiver|scrapy'
    )
    or v_lower ~ (
      '^(?:curl|wget|python|go-http-client|java|node-fetch|axios|undici|libwww|php|ruby|perl|postmanruntime'
      '|apache-httpclient)\M'
    );
begin
  if v_text is null or btrim(v_text) = '' then
    return null;
  end if;
  for v_place in 1 .. array_length(v_known, 1) loop
    if strpos(v_text, v_known[v_place][2]) > 0 and v_text ~ v_known[v_place][3] then
      v_browser := v_known[v_place][1];
      v_version := substring(v_text from v_known[v_place][3]);
      exit;
    end if;
  end loop;
  return row(
    v_browser,
    v_version,
    v_os,
    case
      when v_is_bot then 'bot'
      when v_lower ~ 'smart-?tv|appletv|googletv|hbbtv|web0s|webos|tizen.*tv|crkey|playstation|xbox|nintendo|\mtv\M'
        then 'other'
      when v_text ~ 'iPad|Tablet|Kindle|Silk/|PlayBook'
        or v_text ~ 'Android' and v_text !~ 'Mobi|Dalvik'
        then 'tablet'
      when v_text ~ 'Mobi|iPhone|iPod|Android|Dalvik|Windows Phone|Opera Mini' then 'mobile'
      when v_os in ('Windows', 'macOS', 'Linux', 'ChromeOS') then 'desktop'
      else 'other'
    end,
    v_is_bot
  )::track.user_agent;
end;
$$;

comment on function track.parse_user_agent(text) is $$
Returns browser, major version, operating system and type of device of a user agent; null for an empty one.
The first 512 characters are read. The result is coarse, and as true as the text: browsers name others, iPads name
macOS, and any client can send any text. Unknown browsers and operating systems are null, unknown devices `other`.
`track.ingest` keeps these values, as `track.setting.agent_properties` lists them, and not the text.
$$;

grant execute on function track.parse_user_agent(text)
to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded track/minimisation/parse_user_agent.sql

--! Included track/minimisation/_minimise.sql
create or replace function track._minimise_fields(
  messages track.parsed_message[],
  sender track.message_sender,
  out minimised track.parsed_message[],
  out findings track.finding[],
  out bots text[]
)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_dropped constant text[] := track._dropped_names();
  v_traits constant text[] := case
    when sender.allowed_traits is not null then array_append(sender.allowed_traits, 'timezone')
  end;
begin
  with read as materialized (
    select
      message.*,
      case
        when message.event_name is not null and message.identity_kind <> 'none'
          then message.user_agent
      end as stated_agent,
      case when message.event_name is not null and message.identity_kind <> 'none' then message.agent_hints end as hints
    from unnest(messages) with ordinality as message
  ),

  -- Each user agent of the batch is parsed once.
  agent as materialized (
    select
      stated.stated_agent, stated.hints, parsed.is_bot,
      track._agent_properties(parsed, sender.agent_properties) as properties
    from (
      select distinct read.stated_agent, read.hints
      from read
      where num_nonnulls(read.stated_agent, read.hints) > 0
    ) as stated
    cross join lateral track._agent(stated.stated_agent, stated.hints) as parsed
  ),

  allowed as materialized (
    select
      event_type.name,
      case
        when event_type.merged_event_type_id is null then event_type.allowed_properties
        else target.allowed_properties
      end as properties
    from track.event_type
    left join track.event_type as target on target.event_type_id = event_type.merged_event_type_id
    where event_type.name in (select read.event_name from read)
  ),

  reduced as materialized (
    select
      read.ordinality as place,
      case
        when read.event_name = 'Segment Consent Preference Updated' then read.properties
        when case when allowed.name is null then sender.allowed_properties else allowed.properties end is not null
          then track._only(
            read.properties - v_dropped,
            case when allowed.name is null then sender.allowed_properties else allowed.properties end
              || track._kept_properties()
          )
        when read.properties ?| v_dropped then nullif(read.properties - v_dropped, '{}')
        else read.properties
      end as properties,
      case
        when v_traits is not null then track._only(read.traits - v_dropped, v_traits)
        when read.traits ?| v_dropped then nullif(read.traits - v_dropped, '{}')
        else read.traits
      end as traits,
      agent.properties as agent_properties,
      coalesce(agent.is_bot, false) as is_bot
    from read
    left join allowed on allowed.name = read.event_name
    left join agent
      on coalesce(agent.stated_agent, '') = coalesce(read.stated_agent, '')
      and coalesce(agent.hints, 'null') = coalesce(read.hints, 'null')
  ),

  dropped as (
    select read.event_name, 'properties' as prefix, field.key, count(*) as found
    from read
    join reduced on reduced.place = read.ordinality
    cross join lateral jsonb_object_keys(read.properties) as field (key)
    where read.properties is distinct from reduced.properties
      and (reduced.properties ? field.key) is not true
    group by 1, 2, 3

    union all

    select read.event_name, 'traits', field.key, count(*)
    from read
    join reduced on reduced.place = read.ordinality
    cross join lateral jsonb_object_keys(read.traits) as field (key)
    where read.traits is distinct from reduced.traits
      and (reduced.traits ? field.key) is not true
    group by 1, 2, 3
  )

  select
    array_agg(
      row(
        read.position, read.type, read.message_id, read.message_hash, read.identity_kind, read.external_id,
        read.anonymous_id, read.previous_id, read.event_name, read.item, read.item_kind, read.item_title,
        read.item_parent, read.item_url, read.occurred_at, read.received_at,
        -- Properties of the application have precedence.
        coalesce(reduced.agent_properties || reduced.properties, reduced.agent_properties, reduced.properties),
        reduced.traits, read.preferences, read.opts_out, read.problem, read.client_at, read.is_claim, read.birth_date,
        null, null, read.caller, read.browser, read.sends_gpc, read.sends_dnt
      )::track.parsed_message
      order by read.ordinality
    ),
    (
      select array_agg(
        row(
          track._mask_word(dropped.event_name, true),
          format('%s.%s', dropped.prefix, left(track._mask_word(dropped.key, true), 100)),
          case
            when dropped.key <> all (v_dropped) then 'not_allowed'
            when dropped.key ~* 'agent' then 'user_agent'
            else 'ip'
          end,
          dropped.found
        )::track.finding
      )
      from dropped
    ),
    array_agg(distinct read.external_id) filter (
      where reduced.is_bot and read.identity_kind in ('anonymous', 'unverified')
    )
  into minimised, findings, bots
  from read
  join reduced on reduced.place = read.ordinality;
end;
$$;

comment on function track._minimise_fields(track.parsed_message[], track.message_sender) is $$
Drops properties and traits that are not allowed, and replaces user agents by what is kept of them.
`findings`: the numbers of dropped fields by name. `bots`: browsers with a message of a bot.
$$;

create or replace function track._minimise(
  messages track.parsed_message[],
  sender track.message_sender,
  out minimised track.parsed_message[],
  out findings track.finding[],
  out bots text[]
)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_dropped constant text[] := track._dropped_names();
  v_is_searched constant boolean := sender.personal_data in ('report', 'mask');
  v_is_reduced boolean;
  v_contents text;
  v_places bigint[];
begin
  minimised := messages;
  if coalesce(cardinality(messages), 0) = 0 then
    return;
  end if;
  -- In one pass over the messages.
  select
    bool_or(
      num_nonnulls(message.user_agent, message.agent_hints) > 0
      or message.properties ?| v_dropped
      or message.traits ?| v_dropped
    ),
    string_agg(
      case
        when v_is_searched
          then track._message_text(
            message.properties, message.traits, message.item, message.item_url, message.event_name
          )
      end,
      ' '
    )
  into v_is_reduced, v_contents
  from unnest(messages) as message;
  if v_is_reduced
    or sender.allowed_properties is not null
    or sender.allowed_traits is not null
    or exists (select from track.event_type where event_type.allowed_properties is not null)
  then
    select reduced.* into minimised, findings, bots from track._minimise_fields(messages, sender) as reduced;
    v_contents := null;
  end if;

  if v_is_searched then
    v_places := track._suspects(minimised, v_contents);
    if v_places = '{}' then
      return;
    end if;
    findings := findings || array(
      select row(contact.event_name, contact.property, contact.kind, sum(contact.found))::track.finding
      from track._contacts_of(minimised, v_places, sender.contact_traits) as contact
      group by contact.event_name, contact.property, contact.kind
    );
    if sender.personal_data = 'mask' then
      minimised := track._masked_messages(minimised, v_places, sender.contact_traits);
    end if;
  end if;
end;
$$;

comment on function track._minimise(track.parsed_message[], track.message_sender) is $$
Returns the messages with no more data of people than the settings allow, and what was found and dropped, as numbers.
$$;
--! EndIncluded track/minimisation/_minimise.sql

--! Included track/minimisation/_refuse_contents.sql
create or replace function track._refuse_contents(messages track.parsed_message[], sender track.message_sender)
returns track.parsed_message[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_messages track.parsed_message[] := messages;
  v_message track.parsed_message;
  v_place bigint;
  v_finding record;
begin
  if sender.bots = 'refuse' then
    for v_place in
      select message.ordinality
      from unnest(messages) with ordinality as message
      where num_nonnulls(message.user_agent, message.agent_hints) > 0
        and message.problem is null
        and (track._agent(message.user_agent, message.agent_hints)).is_bot
    loop
      v_message := v_messages[v_place];
      v_message.problem := row(
        'CF005', 'the user agent of the message is that of a bot',
        'Messages of programs are refused here (track.setting.bots).'
      );
      v_messages[v_place] := v_message;
    end loop;
  end if;

  if sender.personal_data = 'refuse' then
    for v_finding in
      select distinct on (contact.place) contact.*
      from track._contacts_of(messages, track._suspects(messages, null), sender.contact_traits) as contact
      order by contact.place, contact.property, contact.kind
    loop
      v_message := v_messages[v_finding.place];
      if v_message.problem is null then
        v_message.problem := row(
          'CF001',
          format(
            '"%s" contains %s', left(v_finding.property, 100),
            case v_finding.kind when 'phone' then 'a phone number' else 'an e-mail address' end
          ),
          'Leave it out: messages with contact data of people are refused here (track.setting.personal_data).'
        );
        v_messages[v_finding.place] := v_message;
      end if;
    end loop;
  end if;
  return v_messages;
end;
$$;

comment on function track._refuse_contents(track.parsed_message[], track.message_sender) is $$
Refuses messages of bots (CF005) and with contact data (CF001), where the settings say so.
$$;
--! EndIncluded track/minimisation/_refuse_contents.sql

--! Included track/ingest/sender.sql
create or replace function track._requests()
returns track.message_request[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_stated constant text := nullif(current_setting('insights.requests', true), '');
begin
  if v_stated is null then
    return array[
      row(
        null, nullif(current_setting('insights.person', true), ''),
        nullif(current_setting('insights.browser', true), ''),
        coalesce(current_setting('insights.opt_out', true), '') ~ '\mgpc\M',
        coalesce(current_setting('insights.opt_out', true), '') ~ '\mdnt\M',
        current_setting('insights.user_agent', true)
      )::track.message_request
    ];
  end if;
  return array(
    select
      row(
        stated.messages, nullif(stated.person, ''), nullif(stated.browser, ''),
        coalesce(stated."optOut", '') ~ '\mgpc\M', coalesce(stated."optOut", '') ~ '\mdnt\M', stated."userAgent"
      )::track.message_request
    from rows from (
      jsonb_to_recordset(v_stated::jsonb) as (
        messages int, person text, browser text, "optOut" text, "userAgent" text
      )
    ) with ordinality as stated (messages, person, browser, "optOut", "userAgent", place)
    order by stated.place
  );
end;
$$;

comment on function track._requests() is $$
Returns the requests of a batch, as the API states them in settings.
One request: `insights.person`, `insights.browser`, `insights.opt_out` and `insights.user_agent`. Several: a JSON list
in `insights.requests`, in the order of their messages, of `{messages, person, browser, optOut, userAgent}`.
$$;

create or replace function track._sender(received_at timestamptz)
returns track.message_sender
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_levels constant text[] := array['anonymous', 'signed_in', 'server'];
  -- For a login that has not set a role, its own memberships apply.
  v_caller constant text := case current_setting('role') when 'none' then session_user else current_setting('role') end;
  v_key_hash constant text := nullif(current_setting('insights.write_key', true), '');
  v_name text := coalesce(nullif(current_setting('insights.source', true), ''), 'default');
  v_requests constant track.message_request[] := track._requests();
  v_key track.open_write_key;
  v_sender track.message_sender;
begin
  v_sender.level := case
    when pg_has_role(v_caller, 'insights_worker', 'usage')
      or pg_has_role(v_caller, 'insights_admin', 'usage')
      or pg_has_role(v_caller, 'insights_owner', 'usage')
      then 'server'
    when current_setting('role') in ('insights_learner', 'insights_instructor', 'insights_analyst')
      and not exists (select from unnest(v_requests) as request where request.person is null)
      then 'signed_in'
    else 'anonymous'
  end;

  if v_key_hash is not null then
    v_key := track.open_write_key(v_key_hash, 'events', nullif(current_setting('insights.origin', true), ''));
    v_name := v_key.source;
    -- Only servers have a key of the level `server`. Other keys can be read by each visitor of a page: they add nothing
    -- to the rights of the sender.
    v_sender.level := case v_key.level
      when 'server' then 'server'
      else v_levels[
        least(array_position(v_levels, v_key.level), array_position(v_levels, v_sender.level))
      ]
    end;
    -- Once a day; another batch may be writing it.
    if (select write_key.used_on from track.write_key where write_key.key_id = v_key.key_id)
      is distinct from (_sender.received_at at time zone 'UTC')::date
    then
      update track.write_key
      set used_on = (_sender.received_at at time zone 'UTC')::date
      from (
        select write_key.key_id
        from track.write_key
        where write_key.key_id = v_key.key_id
        for no key update skip locked
      ) as free
      where write_key.key_id = free.key_id;
    end if;
  end if;

  v_sender.is_trusted := v_sender.level = 'server';
  v_sender.source_id := track._source_id(v_name, v_sender.level);
  v_sender.requests := array(
    select
      row(
        request.messages,
        case v_sender.level when 'signed_in' then request.person end,
        case when not v_sender.is_trusted then request.browser end,
        request.sends_gpc and not v_sender.is_trusted,
        request.sends_dnt and not v_sender.is_trusted,
        -- Only that of a browser, or of a bot that behaves as one. An application's server that sends the messages of
        -- its users with their tokens has the user agent of its HTTP library.
        case
          when not v_sender.is_trusted and request.user_agent ~ '^(?:Mozilla|Opera)/' then left(request.user_agent, 512)
        end
      )::track.message_request
    from unnest(v_requests) with ordinality as request
    order by request.ordinality
  );
  select
    case
      when v_sender.is_trusted then setting.oldest_event
      else greatest(setting.oldest_event, _sender.received_at - setting.oldest_client_event)
    end,
    _sender.received_at + setting.newest_event,
    setting.longest_properties,
    setting.clock_tolerance,
    coalesce(source.path_rule, setting.path_rule),
    coalesce(source.kept_parameters, setting.kept_parameters),
    setting.allowed_properties, setting.allowed_traits, setting.personal_data, setting.contact_traits,
    setting.agent_properties, setting.bots
  into
    v_sender.oldest, v_sender.newest, v_sender.longest_message, v_sender.clock_tolerance, v_sender.path_rule,
    v_sender.kept_parameters, v_sender.allowed_properties, v_sender.allowed_traits, v_sender.personal_data,
    v_sender.contact_traits, v_sender.agent_properties, v_sender.bots
  from track.setting
  join track.source on source.source_id = v_sender.source_id;
  return v_sender;
end;
$$;

comment on function track._sender(timestamptz) is $$
Returns the source, permissions and limits of the caller: those of its write key, or else those of its role.
Raises CF005 for a write key that may not be used.
$$;
--! EndIncluded track/ingest/sender.sql

--! Included track/ingest/read_fields.sql
create or replace function track._read_fields(
  batch track.message_batch,
  received_at timestamptz,
  sender track.message_sender,
  doubtful boolean
)
returns setof track.message_fields
language plpgsql
stable
parallel restricted
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
declare
  v_is_marked constant boolean := track._holds_extreme_number(batch.messages);
  v_messages constant jsonb := case
    when v_is_marked then track._mark_extreme_numbers(batch.messages)
    else batch.messages
  end;
  -- The record of a message that is not an object is empty.
  v_objects constant jsonb := case
    when jsonb_path_exists(v_messages, 'strict $[*] ? (@.type() != "object")')
      then (
        select jsonb_agg(case jsonb_typeof(message) when 'object' then message else '{}' end order by ordinality)
        from jsonb_array_elements(v_messages) with ordinality as entry (message, ordinality)
      )
    else v_messages
  end;
  v_count constant int := jsonb_array_length(v_messages);
  v_stated bigint;
  -- Of each message, the statements of its request.
  v_callers text[];
  v_browsers uuid[];
  v_gpc boolean[];
  v_dnt boolean[];
  v_agents text[];
begin
  v_stated := (select sum(greatest(coalesce(request.messages, v_count), 0)) from unnest(sender.requests) as request);
  if coalesce(v_stated, 0) <> v_count then
    perform common.refuse(
      'CF009',
      format('the requests have %s messages, the batch has %s', coalesce(v_stated, 0), v_count),
      'Give the number of messages of each request in insights.requests.'
    );
  end if;
  select
    array_agg(request.person order by request.ordinality), array_agg(request.browser order by request.ordinality),
    array_agg(request.sends_gpc order by request.ordinality), array_agg(request.sends_dnt order by request.ordinality),
    array_agg(request.user_agent order by request.ordinality)
  into v_callers, v_browsers, v_gpc, v_dnt, v_agents
  from unnest(sender.requests) with ordinality as request
  cross join lateral generate_series(1, coalesce(request.messages, v_count));
  return query
  with read as (
    select entry.*
    -- Each message with its fields, all of them read in one pass.
    from rows from (
      jsonb_array_elements(v_messages),
      jsonb_to_recordset(v_objects) as (
        type text, "messageId" text, "userId" text, "anonymousId" text, "previousId" text, event text, name jsonb,
        properties jsonb, traits jsonb, context jsonb, "originalTimestamp" text, timestamp text, "sentAt" text,
        "receivedAt" text
      ),
      unnest(v_callers, v_browsers, v_gpc, v_dnt, v_agents)
    ) with ordinality as entry (
      message, type, message_id, user_id, anonymous_id, previous_id, event, name, properties, traits, context,
      original_timestamp, stated_timestamp, sent_at, received_at, caller, browser, sends_gpc, sends_dnt, user_agent,
      place
    )
  ),

  completed as (
    select
      read.*,
      coalesce(read.original_timestamp, read.stated_timestamp) as original_text,
      coalesce(read.sent_at, batch.sent_at) as sent_text,
      case when sender.is_trusted then read.received_at end as received_text,
      case
        when batch.context is null then read.context
        else batch.context || case jsonb_typeof(read.context) when 'object' then read.context else '{}' end
      end as whole_context
    from read
  ),

  timed as materialized (
    select
      completed.*,
      track._read_time(original_text, doubtful) as original_at,
      track._read_time(sent_text, doubtful) as parsed_sent_at,
      coalesce(track._read_time(received_text, doubtful), _read_fields.received_at) as arrived_at
    from completed
  )

  select
    place::int - 1,
    message,
    v_is_marked and type is null and message ? 'extreme',
    type,
    message_id,
    nullif(user_id, ''),
    nullif(anonymous_id, ''),
    nullif(previous_id, ''),
    event,
    name,
    properties,
    traits,
    whole_context,
    original_text,
    sent_text,
    original_at,
    parsed_sent_at,
    arrived_at,
    track._correct_clock(
      arrived_at, sent_text, parsed_sent_at, original_text, original_at, sender.clock_tolerance
    ),
    caller,
    browser,
    sends_gpc,
    sends_dnt,
    user_agent
  from timed;
end;
$$;

comment on function track._read_fields(track.message_batch, timestamptz, track.message_sender, boolean) is $$
Returns the fields of each message, with the context of the batch, corrected times, and what its request states.
`doubtful`: a time in the batch is known to be invalid; otherwise an invalid time raises an error.
$$;
--! EndIncluded track/ingest/read_fields.sql

--! Included track/ingest/person_problem.sql
/*
 * Rules of validation, as the table in README.md lists them: the first rule that a message breaks is its problem.
 * One expression over the fields, which the planner puts in place of the call.
 */
create or replace function track._person_problem(fields track.message_fields, sender track.message_sender)
returns track.problem
language sql
stable
parallel safe
return case
  when fields.user_id is null and fields.anonymous_id is null
    then row(
      'CF001',
      'neither "userId" nor "anonymousId" is given',
      'Send "userId" for a signed-in person, or else "anonymousId".'
    )::track.problem
  when fields.user_id is not null
    and jsonb_typeof(fields.message -> 'userId') not in ('string', 'number', 'null')
    then row(
      'CF001', format('"userId" is a JSON %s', jsonb_typeof(fields.message -> 'userId')), 'Send a string.'
    )::track.problem
  when fields.anonymous_id is not null
    and jsonb_typeof(fields.message -> 'anonymousId') not in ('string', 'number', 'null')
    then row(
      'CF001',
      format('"anonymousId" is a JSON %s', jsonb_typeof(fields.message -> 'anonymousId')),
      'Send a string.'
    )::track.problem
  when fields.previous_id is not null
    and jsonb_typeof(fields.message -> 'previousId') not in ('string', 'number', 'null')
    then row(
      'CF001',
      format('"previousId" is a JSON %s', jsonb_typeof(fields.message -> 'previousId')),
      'Send a string.'
    )::track.problem
  when length(fields.user_id) > 256 or length(fields.anonymous_id) > 256 or length(fields.previous_id) > 256
    then row(
      'CF008',
      format(
        'an id has %s characters',
        greatest(length(fields.user_id), length(fields.anonymous_id), length(fields.previous_id))
      ),
      'Send 256 at most.'
    )::track.problem
  when not sender.is_trusted and fields.user_id is not null and fields.user_id is distinct from fields.caller
    then row(
      'CF005',
      format('"userId" is "%s", who is not signed in', left(fields.user_id, 100)),
      'Sign in as that person, or send "anonymousId" only.'
    )::track.problem
  when fields.type = 'alias' and (fields.previous_id is null or fields.user_id is null)
    then row('CF001', '"alias" needs "previousId" and "userId"', 'Send both.')::track.problem
  when fields.type = 'alias' and not sender.is_trusted
    then row(
      'CF005',
      '"alias" is for servers',
      'Use "identify" with "anonymousId" and "userId", or send it with a worker''s token.'
    )::track.problem
  when fields.type = 'group' and fields.message ->> 'groupId' is null
    then row('CF001', '"group" needs "groupId"', 'Send it.')::track.problem
end;

comment on function track._person_problem(track.message_fields, track.message_sender) is $$
Returns the error of the identity of a message: missing, invalid, or not permitted for the sender; null when valid.
$$;

create or replace function track._placeholder_problem(field text, external_id text)
returns track.problem
language sql
stable
parallel safe
return row(
  'CF001',
  format('"%s" is "%s", which names nobody', field, left(external_id, 100)),
  'Send the id of a person or browser, or leave the field out. Administrators keep the list track.placeholder_id.'
)::track.problem;

comment on function track._placeholder_problem(text, text) is $$
Returns the error of an id that names nobody.
$$;
--! EndIncluded track/ingest/person_problem.sql

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
        end as birth_date,
        coalesce(left(judged.context ->> 'userAgent', 512), judged.user_agent) as user_agent,
        case jsonb_typeof(judged.context -> 'userAgentData') when 'object' then judged.context -> 'userAgentData' end
          as agent_hints,
        judged.caller,
        judged.browser,
        judged.sends_gpc,
        judged.sends_dnt
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

--! Included track/ingest/verify_browsers.sql
create or replace function track._verify_browsers(messages track.parsed_message[], sender track.message_sender)
returns track.parsed_message[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_messages track.parsed_message[] := messages;
  v_message track.parsed_message;
  v_found record;
  -- Browsers that belong to a user.
  v_linked text[];
  -- Places of the messages with the cookie of their browser, and of those whose caller has claimed it.
  v_proved bigint[];
  v_claimed bigint[];
begin
  if sender.is_trusted then
    return v_messages;
  end if;

  v_linked := array(
    select browser.external_id
    from (
      select distinct message.anonymous_id
      from unnest(messages) as message
      where message.anonymous_id is not null
    ) as name
    join track.identity as browser on browser.external_id = name.anonymous_id and browser.kind = 'anonymous'
    join track.identity as person on person.identity_id = browser.person_id and person.kind = 'user'
  );
  -- Browsers of visitors, as a rule.
  if v_linked = '{}' and not exists (select from unnest(messages) as message where message.caller is not null) then
    return v_messages;
  end if;

  -- A browser that is new is that of the first request that names it.
  v_proved := array(
    select unnest(name.places)
    from (
      select
        message.anonymous_id, message.browser, array_agg(message.ordinality) as places,
        min(message.ordinality) = min(min(message.ordinality)) over (partition by message.anonymous_id) as is_first
      from unnest(messages) with ordinality as message
      where message.problem is null
        and message.anonymous_id is not null
      group by message.anonymous_id, message.browser
    ) as name
    cross join lateral (
      select count(*) > 0 as is_known, coalesce(bool_or(known.browser = name.browser), false) as is_same
      from track.identity as known
      where known.external_id = name.anonymous_id
        and known.kind = 'anonymous'
    ) as browser
    where name.browser is not null
      and case when browser.is_known then browser.is_same else name.is_first end
  );
  -- By an earlier batch, or by an earlier message of this one.
  v_claimed := array(
    select message.place
    from (
      select
        message.caller, message.anonymous_id, array_agg(message.ordinality) as places,
        min(message.ordinality) filter (
          where message.problem is null
            and message.type = 'identify'
            and message.identity_kind = 'user'
            and message.ordinality <> all (v_proved)
        ) as claimed_by
      from unnest(messages) with ordinality as message
      where message.caller is not null
        and message.anonymous_id is not null
      group by message.caller, message.anonymous_id
    ) as name
    cross join lateral (
      select exists (
        select
        from track.identity as person
        join track.identity_link as link on link.linked_identity_id = person.identity_id
        join track.identity as browser on browser.identity_id = link.identity_id
        where person.external_id = name.caller
          and person.kind = 'user'
          and link.kind = 'claim'
          and link.unlinked_at is null
          and browser.external_id = name.anonymous_id
      ) as is_claimed
    ) as stored
    cross join lateral unnest(name.places) as message (place)
    where stored.is_claimed
      or message.place > name.claimed_by
  );
  -- A client may state any time: an earlier one would take events of the user who has identified since.
  for v_found in
    select message.ordinality
    from unnest(messages) with ordinality as message
    where message.problem is null
      and message.type = 'identify'
      and message.identity_kind = 'user'
      and message.ordinality = any (v_proved)
      and message.anonymous_id = any (v_linked)
      and exists (
        select
        from track.identity as browser
        join track.identity_link as link on link.identity_id = browser.identity_id
        join track.identity as person on person.identity_id = link.linked_identity_id
        where browser.external_id = message.anonymous_id
          and browser.kind = 'anonymous'
          and link.kind <> 'claim'
          and link.unlinked_at is null
          and link.linked_at >= message.occurred_at
          and person.external_id <> message.external_id
      )
  loop
    v_message := v_messages[v_found.ordinality];
    v_message.occurred_at := v_message.received_at;
    v_messages[v_found.ordinality] := v_message;
  end loop;
  for v_found in
    select
      message.ordinality,
      case
        when message.identity_kind = 'user' then 'claim'
        when message.caller is not null and exists (
          select
          from track.identity as browser
          join track.identity as own on own.person_id = browser.person_id
          where browser.identity_id = track._browser_identity(message.external_id, message.occurred_at)
            and own.external_id = message.caller
            and own.kind = 'user'
        ) then 'own'
        when message.ordinality = any (v_claimed) then 'claimed'
        else 'unverified'
      end as verdict
    from unnest(messages) with ordinality as message
    where message.problem is null
      and message.anonymous_id is not null
      and message.ordinality <> all (v_proved)
      and case message.identity_kind
        when 'anonymous' then message.anonymous_id = any (v_linked) or message.ordinality = any (v_claimed)
        else message.type = 'identify'
      end
  loop
    v_message := v_messages[v_found.ordinality];
    case v_found.verdict
      when 'claim' then
        v_message.is_claim := true;
      when 'claimed' then
        v_message.identity_kind := 'user';
        v_message.external_id := v_message.caller;
        v_message.anonymous_id := null;
      when 'unverified' then
        v_message.identity_kind := 'unverified';
        v_message.anonymous_id := null;
      else
        continue;
    end case;
    v_messages[v_found.ordinality] := v_message;
  end loop;
  return v_messages;
end;
$$;

comment on function track._verify_browsers(track.parsed_message[], track.message_sender) is $$
Returns the messages after the check of each `anonymousId` that a client sent: an id is a name, and not a proof.
The proof is the cookie with which the browser sent the id first. Without it, a message for a browser that belongs to a
person is stored as `unverified`, and `identify` is a claim: it counts for messages that its sender sends herself.
A browser that is new belongs to the cookie of the first request that names it.
It is decided at arrival, because clients choose the times of their messages.
$$;
--! EndIncluded track/ingest/verify_browsers.sql

--! Included track/ingest/withheld_messages.sql
create or replace function track._may_withhold(messages track.parsed_message[])
returns boolean
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  if exists (
    select
    from unnest(messages) as message
    where message.problem is null
      and (
        message.preferences is not null
        or message.opts_out
        or message.sends_gpc
        or message.sends_dnt
        or message.birth_date is not null
        or message.type in ('identify', 'alias')
        or message.event_name = 'Segment Consent Preference Updated'
      )
  ) then
    return true;
  end if;

  -- Of all event types and not of those of the batch: without an argument, the statement is planned once.
  if exists (
    select
    from privacy.purpose
    where purpose.basis = 'consent'
      and (
        purpose.purpose = 'analytics'
        or purpose.purpose in (select event_type.purpose from track.event_type)
      )
  ) then
    return true;
  end if;

  return exists (
    select
    from privacy.effective_decisions(
      array(select purpose.purpose from privacy.purpose),
      array(
        select identity.person_id
        from unnest(messages) as message
        join track.identity
          on identity.external_id = message.external_id
          and (
            identity.kind = message.identity_kind
            or identity.kind = 'anonymous' and message.identity_kind = 'unverified'
          )
        where message.problem is null
      )
    )
  );
end;
$$;

comment on function track._may_withhold(track.parsed_message[]) is $$
Returns false when no message can be withheld.
That is so when none decides, links or has a signal, no purpose in use needs consent, and none of the people has
decided. For a small batch, the check costs a fraction of the query of `track._withheld_messages`.
$$;

create or replace function track._withheld_messages(messages track.parsed_message[])
returns setof track.withheld_message
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  if not track._may_withhold(messages) then
    return;
  end if;

  return query
  with valid as materialized (
    select
      message.position, message.type, message.identity_kind, message.external_id, message.anonymous_id,
      message.previous_id, message.event_name, message.occurred_at, message.preferences,
      message.opts_out or message.sends_gpc as has_gpc, message.sends_dnt as has_dnt,
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
    select valid.external_id, valid.identity_kind, limited.purpose, limited.decided_at
    from valid
    cross join lateral (
      select minor.purpose, 'infinity'::timestamptz as decided_at
      from privacy.minor_purposes(valid.birth_date) as minor (purpose)

      union all

      select opt_in.purpose, '-infinity'
      from privacy.opt_in_purposes(valid.birth_date) as opt_in (purpose)
    ) as limited
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
      tied.user_name, 'tied', null, minor.purpose, false, minor.decided_at, null, tied.since, tied.position
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
      purpose.opted_out_by_gpc and valid.has_gpc or purpose.opted_out_by_dnt and valid.has_dnt as is_signalled,
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

comment on function track._withheld_messages(track.parsed_message[]) is $$
Returns the valid messages that may not be stored with their person, because there is no consent to their purpose.
A refusal that was recorded before the batch applies to all of its messages, whatever time they give; a decision of
the batch applies to the messages from its time on. A date of birth in the batch applies to all of its messages. A
refusal also applies to names that the batch links to the person.
$$;
--! EndIncluded track/ingest/withheld_messages.sql

--! Included track/ingest/ask_consent.sql
create or replace function track._ask_consent(messages track.parsed_message[])
returns track.parsed_message[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_messages track.parsed_message[] := messages;
  v_message track.parsed_message;
  v_withheld track.withheld_message;
  v_place int;
begin
  -- A decision needs no consent, and so carries nothing else: a person who refuses would leave a page or a trait.
  for v_place in
    select message.ordinality
    from unnest(messages) with ordinality as message
    where message.event_name = 'Segment Consent Preference Updated'
      and num_nonnulls(message.item, message.item_parent, message.traits) > 0
  loop
    v_message := v_messages[v_place];
    v_message.item := null;
    v_message.item_kind := null;
    v_message.item_title := null;
    v_message.item_parent := null;
    v_message.item_url := null;
    v_message.traits := null;
    v_messages[v_place] := v_message;
  end loop;

  -- Few or none, as a rule, so that the others are not copied.
  for v_withheld in
    select withheld.* from track._withheld_messages(messages) as withheld
  loop
    v_message := v_messages[v_withheld.position + 1];
    if v_withheld.is_refused then
      v_message.problem := row(
        'CF005',
        format('the person has not agreed to "%s"', v_withheld.purpose),
        'Ask first, and say so in context.consent.categoryPreferences or by privacy.record_consent.'
      );
    else
      v_message.identity_kind := 'none';
      v_message.external_id := 'none';
      v_message.anonymous_id := null;
      v_message.previous_id := null;
      v_message.properties := null;
      v_message.client_at := null;
      v_message.traits := null;
      v_message.preferences := null;
      -- A name that is new may identify the person, such as the path of a page.
      if not exists (select from track.item where item.external_id = v_message.item) then
        v_message.item := null;
      end if;
      if not exists (select from track.event_type where event_type.name = v_message.event_name) then
        v_message.event_name := case when v_message.event_name is not null then 'Other Event' end;
      end if;
      v_message.item_kind := null;
      v_message.item_title := null;
      v_message.item_parent := null;
      v_message.item_url := null;
    end if;
    v_messages[v_withheld.position + 1] := v_message;
  end loop;
  return v_messages;
end;
$$;

comment on function track._ask_consent(track.parsed_message[]) is $$
Returns the messages after the check of consent.
A message whose person has not agreed to its purpose is rejected (CF005) or anonymized, as `privacy.purpose`
specifies. An anonymized message creates no identity, item or event type, and a decision no item or trait.
$$;
--! EndIncluded track/ingest/ask_consent.sql

--! Included track/ingest/enter_people.sql
create or replace function track._enter_people(kinds text[], external_ids text[], browsers uuid[] default null)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_entered bigint[];
begin
  with named as (
    select distinct on (name.kind, name.external_id) name.kind, name.external_id, name.browser
    from unnest(_enter_people.kinds, _enter_people.external_ids, _enter_people.browsers)
      with ordinality as name (kind, external_id, browser)
    order by name.kind, name.external_id, name.ordinality
  ),

  numbered as materialized (
    select kind, external_id, browser, nextval('track.identity_identity_id_seq') as identity_id
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
    insert into track.identity (identity_id, kind, external_id, person_id, browser)
    overriding system value
    select
      identity_id, kind, external_id, identity_id, case kind when 'anonymous' then browser end
    from numbered
    order by external_id, kind
    on conflict (external_id, kind, branch) do nothing
    returning person_id
  ),

  stored as (
    insert into track.person (person_id)
    select person_id
    from entered
  )

  select array_agg(person_id) into v_entered
  from entered;
  if v_entered is not null then
    perform track._enqueue('identity', v_entered);
  end if;
end;
$$;

comment on function track._enter_people(text[], text[], uuid[]) is $$
Inserts new identities, each with a person of its own, and queues these people for the refresh.
`browsers`: for each name the hash of the cookie of the calling browser, or null. The first one of a name applies.
$$;

create or replace function track._enter_people_of(messages track.parsed_message[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_kinds text[];
  v_external_ids text[];
  v_browsers uuid[];
begin
  -- None, as a rule.
  select
    array_agg(named.kind order by named.position), array_agg(named.external_id order by named.position),
    array_agg(named.browser order by named.position)
  into v_kinds, v_external_ids, v_browsers
  from (
    select message.identity_kind as kind, message.external_id, message.browser, message.position
    from unnest(messages) as message

    union all

    select 'anonymous', message.anonymous_id, message.browser, message.position
    from unnest(messages) as message
    where message.type = 'identify' and message.anonymous_id is not null

    union all

    -- An alias may come before any message of the name that it replaces, which may have been a user's or a browser's.
    select kind, message.previous_id, message.browser, message.position
    from unnest(messages) as message
    cross join unnest(array['user', 'anonymous']) as kind
    where message.type = 'alias' and message.previous_id is not null
  ) as named
  where not exists (
    select
    from track.identity
    where identity.external_id = named.external_id
      and identity.kind = named.kind
  );
  if v_kinds is not null then
    perform track._enter_people(v_kinds, v_external_ids, v_browsers);
  end if;
end;
$$;

comment on function track._enter_people_of(track.parsed_message[]) is $$
Inserts the identities that messages name for the first time, each with the browser of the first message that names it.
$$;
--! EndIncluded track/ingest/enter_people.sql

--! Included track/ingest/settle_messages.sql
create or replace function track._settle_messages(
  inout messages track.parsed_message[],
  inout signalled track.parsed_message[],
  inout born track.parsed_message[],
  sender track.message_sender,
  links boolean,
  browsers boolean,
  out identities bigint[],
  out people bigint[],
  out erased track.parsed_message[]
)
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_locked bigint[];
  v_is_complete boolean;
  v_placed record;
  v_erased track.parsed_message[];
begin
  erased := '{}';
  for v_attempt in 1 .. 100 loop
    v_locked := track._named_identities(messages || signalled || born);
    -- The persons of the identities must not change from here to the end of the transaction, or what is stored next
    -- would be stored for a former person.
    if links then
      v_is_complete := track._link_people_of(messages, v_locked);
    else
      v_is_complete := track.lock_identities(v_locked);
    end if;
    v_placed := track._place_messages(messages, browsers);
    identities := v_placed.identities;
    people := v_placed.people;
    -- An identity of a browser that was unlinked meanwhile has a sibling, which is locked as well.
    if coalesce(cardinality(identities), 0) = cardinality(messages)
      and (v_is_complete or num_nonnulls(signalled, nullif(born, '{}')) = 0)
    then
      return;
    end if;

    -- A person was erased while this transaction waited for her identities.
    messages := track._refuse_suppressed(messages, sender);
    signalled := track._refuse_suppressed(signalled, sender);
    born := track._refuse_suppressed(born, sender);
    v_erased := array(select message from unnest(messages) as message where message.problem is not null);
    erased := erased || v_erased;
    messages := array(select message from unnest(messages) as message where message.problem is null);
    perform track._enter_people_of(messages);
  end loop;

  perform common.refuse(
    'serialization_failure', 'people of the batch were erased concurrently', 'Send the batch again.'
  );
end;
$$;

comment on function track._settle_messages(
  track.parsed_message[], track.parsed_message[], track.parsed_message[], track.message_sender, boolean, boolean
) is $$
Links and locks the identities of a batch, and returns for each message its identity and person, which stay as they are.
`signalled` and `born`: the messages with an opt-out signal and with a date of birth, whose people are locked as well.
`links`: whether a message links identities; `browsers`: whether one is of a browser. Messages of people who were erased
meanwhile are returned in `erased`, with the problem, and no longer among the others.
Errors: 40001 when people of the batch are erased again and again.
$$;
--! EndIncluded track/ingest/settle_messages.sql

--! Included track/ingest/store_signals.sql
create or replace function track._store_signals(messages track.parsed_message[], received_at timestamptz)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  perform privacy.record_decisions(
    array_agg(signalled.person_id), array_agg(signalled.identity_id), array_agg(signalled.purpose),
    array_agg(false), array_agg(signalled.decided_at), signalled.source, null, array_agg(signalled.name)
  )
  from (
    select distinct on (person.person_id, purpose.purpose)
      person.person_id, person.identity_id, person.external_id as name, purpose.purpose,
      signal.source, signal.decided_at
    from (
      select
        identity.person_id, identity.identity_id, identity.external_id, named.opted_out_at, named.sends_gpc,
        named.sends_dnt
      from (
        select
          message.external_id, case message.identity_kind when 'user' then 'user' else 'anonymous' end as kind,
          max(message.occurred_at) filter (where message.opts_out) as opted_out_at,
          bool_or(message.sends_gpc) as sends_gpc, bool_or(message.sends_dnt) as sends_dnt
        from unnest(messages) as message
        where message.problem is null
          and message.identity_kind <> 'none'
        group by 1, 2
      ) as named
      join track.identity
        on identity.external_id = named.external_id
        and identity.kind = named.kind
      where named.kind = 'user'
        or identity.identity_id = track._browser_identity(named.external_id, _store_signals.received_at)
    ) as person
    cross join privacy.purpose
    -- A signal of the request is one of now, a signal in a message is as old as the message.
    cross join lateral (
      values
        ('gpc', purpose.opted_out_by_gpc and person.sends_gpc, _store_signals.received_at),
        (
          'gpc', purpose.opted_out_by_gpc and person.opted_out_at is not null,
          least(person.opted_out_at, _store_signals.received_at)
        ),
        ('dnt', purpose.opted_out_by_dnt and person.sends_dnt, _store_signals.received_at)
    ) as signal (source, applies, decided_at)
    where signal.applies
    order by person.person_id, purpose.purpose, signal.decided_at desc, signal.source desc,
      person.identity_id
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

comment on function track._store_signals(track.parsed_message[], timestamptz) is $$
Records the opt-out signals of requests (`gpc`, `dnt`) as refusals of the people of their messages.
The signal in a message (`context.gpc`) is one of its person.
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
  -- The messages with their people, of which the request or the message has an opt-out signal.
  v_signalled track.parsed_message[];
  -- Messages that state a date of birth. It is stored without consent, since it decides who can give it.
  v_born track.parsed_message[];
  v_settled record;
  v_links boolean;
  v_traits boolean;
  v_decisions boolean;
  v_browsers boolean;
  v_births boolean;
  v_opts_out boolean;
  v_refused int[];
  v_findings track.finding[];
  v_bots text[];
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
    bool_or(message.birth_date is not null),
    bool_or(message.opts_out or message.sends_gpc or message.sends_dnt)
  into v_links, v_traits, v_decisions, v_browsers, v_births, v_opts_out
  from unnest(v_messages) as message
  where message.problem is null;
  if v_links then
    v_messages := track._limit_identities(v_messages);
  end if;
  if v_opts_out then
    v_signalled := array(
      select message
      from unnest(v_messages) as message
      where message.opts_out
        or message.sends_gpc
        or message.sends_dnt
    );
  end if;
  if v_births then
    v_born := array(
      select message
      from unnest(v_messages) as message
      where message.birth_date is not null
        and message.problem is null
    );
  end if;
  v_messages := track._ask_consent(v_messages);
  if v_sender.personal_data = 'refuse' or v_sender.bots = 'refuse' then
    v_messages := track._refuse_contents(v_messages, v_sender);
  end if;
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

  select reduced.minimised, reduced.findings, reduced.bots
  into v_messages, v_findings, v_bots
  from track._minimise(v_messages, v_sender) as reduced;
  v_bots := case when v_sender.bots = 'exclude' and v_bots <> '{}' then track._new_browsers(v_bots) end;

  -- Months first: creating a partition waits for transactions that have inserted items or event types, so that this
  -- transaction must not have inserted any before.
  perform track._enter_months(v_messages);
  perform track._refuse_old_names();
  perform track._enter_people_of(v_messages);
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

  select settled.* into v_settled
  from track._settle_messages(
    v_messages, v_signalled, v_born, v_sender, coalesce(v_links, false), v_browsers
  ) as settled;
  v_messages := v_settled.messages;
  v_signalled := v_settled.signalled;
  v_born := v_settled.born;
  if v_settled.erased <> '{}' then
    perform track._count_refused(v_settled.erased, v_batch.messages, v_sender.source_id, v_received_at);
    v_result.errors := v_result.errors || track._problems(v_settled.erased);
    v_result.rejected := v_result.rejected + cardinality(v_settled.erased);
    v_result.accepted := v_result.accepted - cardinality(v_settled.erased);
  end if;

  perform track._store_events(v_messages, v_settled.identities, v_settled.people, v_sender.source_id);
  if v_sender.level = 'server' and current_setting('insights.states_enrolments', true) = 'on' then
    perform track._store_stated_enrolments(v_messages, v_settled.identities, v_sender.source_id);
  end if;
  if v_traits then
    perform track._store_traits(v_messages, v_settled.identities, v_settled.people);
  end if;
  if v_decisions then
    perform track._store_consent(v_messages, v_settled.identities, v_settled.people);
  end if;
  if v_births then
    perform privacy.record_birth_dates(
      array_agg(identity.person_id), array_agg(identity.identity_id), array_agg(born.birth_date)
    )
    from unnest(v_born) as born
    join track.identity on identity.external_id = born.external_id and identity.kind = 'user';
  end if;
  if v_signalled is not null then
    perform track._store_signals(v_signalled, v_received_at);
  end if;
  if v_findings <> '{}' then
    perform track._count_found(v_findings, v_received_at);
  end if;
  if v_bots <> '{}' then
    perform track._exclude_bots(v_bots);
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
  v_counted bigint[];
  v_first_months date[];
  v_end_months date[];
  v_transitions track.transition[];
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
  -- Whole months, since a transition of a person in a month counts her once.
  -- Computed once: in a condition, it would be computed for each person.
  v_counted := track._counted_among(v_day_people);
  select
    array_agg(changed.person_id),
    array_agg(date_trunc('month', changed.first_day::timestamp)::date),
    array_agg((date_trunc('month', (changed.end_day - 1)::timestamp) + interval '1 month')::date)
  into v_counted, v_first_months, v_end_months
  from unnest(v_day_people, v_first_days, v_end_days) as changed (person_id, first_day, end_day)
  where changed.person_id = any (v_counted);
  v_transitions := array(select track._transitions(v_counted, v_first_months, v_end_months));

  v_result := track._compute_sessions(v_people, v_since, v_until, v_setting);
  select continued.people, continued.since, continued.until
  into v_people, v_since, v_until
  from track._continue_views(v_people, v_since, v_until, v_setting) as continued;
  perform track._refresh_steps(v_day_people, v_first_days, v_end_days);
  perform track._refresh_presence(
    v_activity, array(select track.stored_activity(v_day_people, v_first_days, v_end_days))
  );
  perform track._change_transitions(
    v_transitions, array(select track._transitions(v_counted, v_first_months, v_end_months))
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

  -- The application takes the place of the messages that named the item, as in track.sync_items. A kind that they told
  -- is kept.
  delete from track.item_source
  using track.item
  where item_source.item_id = item.item_id
    and item_source.attribute = 'name'
    and item.external_id in (
      select enrolment.item from jsonb_to_recordset(enrolments) as enrolment (item text)
    );
  update track.item
  set kind = 'course', updated_at = now()
  where item.kind = 'unknown'
    and num_nulls(item.merged_item_id) > 0
    and not exists (select from track.named_item where named_item.item_id = item.item_id)
    and item.external_id in (
      select enrolment.item from jsonb_to_recordset(enrolments) as enrolment (item text)
    );

  -- Blocks merges of these people until the end of the transaction.
  perform track.lock_identities(array(
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
    set status = excluded.status, enrolled_at = excluded.enrolled_at, ended_at = excluded.ended_at, source_id = null
    where enrolment.source_id is not null
      or (enrolment.status, enrolment.enrolled_at, enrolment.ended_at)
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
Unknown people and items are added, and an item without a kind is a course; rows of people who
were erased (`privacy.suppression`) are left out. Of several rows for one person and item, the latest `enrolled_at`
applies. They replace what imports have stated. The call can be
repeated: unchanged enrolments are not written. Errors: CF002 for a missing column, CF001 for an invalid value.
$$;

grant execute on function track.sync_enrolments(regclass) to insights_admin, insights_worker;
--! EndIncluded track/functions/sync_enrolments.sql

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
    where message.value ->> 'userId' <> (v_sender.requests[1]).person
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
  if v_sender.level = 'signed_in' and v_name is distinct from (v_sender.requests[1]).person then
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

--! Included track/erasure/_other_use.sql
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
    select unnest(array[item_transition.source_item_id, item_transition.target_item_id])
    from track.item_transition
    where item_transition.source_item_id = any (_other_use.items)
      or item_transition.target_item_id = any (_other_use.items)
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
    union
    select imported_item.item_id
    from track.imported_item
    where imported_item.item_id = any (_other_use.items)
    union
    select imported_item.parent_item_id
    from track.imported_item
    where imported_item.parent_item_id = any (_other_use.items)
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
Returns which of the given items and event types have events or enrolments, or are in the structure of an import.
$$;
--! EndIncluded track/erasure/_other_use.sql

--! Included track/erasure/_erase_descriptions.sql
create or replace function track._replace_descriptions(identities bigint[], items bigint[], with_parents boolean)
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
    where source.identity_id = any (_replace_descriptions.identities)
      and source.attribute <> 'name'
      and (_replace_descriptions.items is null or source.item_id = any (_replace_descriptions.items))
    group by source.item_id
  ),

  told as materialized (
    select own.item_id, entry.attribute, other.said, other.identity_id
    from own
    cross join lateral unnest(own.attributes) as entry (attribute)
    left join lateral track._told_by_others(own.item_id, own.attributes) as other
      on other.attribute = entry.attribute
      and (_replace_descriptions.with_parents or entry.attribute <> 'parent')
  ),

  -- A parent that was not entered, because the item had another one.
  entered as (
    insert into track.item (external_id)
    select distinct told.said
    from told
    where told.attribute = 'parent'
      and told.said is not null
      and not exists (select from track.item where item.external_id = told.said)
    returning item.item_id, item.external_id
  ),

  named as (
    insert into track.item_source (item_id, attribute, identity_id)
    select entered.item_id, 'name', min(told.identity_id)
    from entered
    join told on told.attribute = 'parent' and told.said = entered.external_id
    group by entered.item_id
  ),

  by_item as (
    select
      told.item_id,
      bool_or(told.attribute = 'kind') as has_kind, max(told.said) filter (where told.attribute = 'kind') as kind,
      bool_or(told.attribute = 'title') as has_title, max(told.said) filter (where told.attribute = 'title') as title,
      bool_or(told.attribute = 'url') as has_url, max(told.said) filter (where told.attribute = 'url') as url,
      bool_or(told.attribute = 'parent') as has_parent,
      max(coalesce(entered.item_id, parent.merged_item_id, parent.item_id))
        filter (where told.attribute = 'parent') as parent_item_id
    from told
    left join entered on told.attribute = 'parent' and entered.external_id = told.said
    left join track.item as parent on told.attribute = 'parent' and parent.external_id = told.said
    group by told.item_id
  ),

  changed as (
    update track.item
    set
      kind = case
        when not by_item.has_kind then item.kind
        when by_item.kind is not null then by_item.kind
        -- As track.sync_enrolments adds an item.
        when exists (
          select from track.enrolment where enrolment.item_id = item.item_id and num_nulls(enrolment.source_id) > 0
        ) then 'course'
        else 'unknown'
      end,
      title = case when by_item.has_title then by_item.title else item.title end,
      url = case when by_item.has_url then by_item.url else item.url end,
      parent_item_id = case
        when by_item.has_parent then nullif(by_item.parent_item_id, item.item_id)
        else item.parent_item_id
      end
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
  where item_source.identity_id = any (_replace_descriptions.identities)
    and item_source.attribute = 'name';
  return v_cleared;
end;
$$;

comment on function track._replace_descriptions(bigint[], bigint[], boolean) is $$
Does the work of `track._erase_descriptions`; without parents, the items have none afterwards. Raises CF010 for a cycle.
$$;

create or replace function track._erase_descriptions(identities bigint[], items bigint[] default null)
returns bigint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_item_id bigint;
  v_cleared bigint := 0;
begin
  return track._replace_descriptions(_erase_descriptions.identities, _erase_descriptions.items, true);
exception
  -- The parent that others told first is meanwhile a part of the item. No erasure may fail for it.
  when sqlstate 'CF010' then
    for v_item_id in
      select distinct source.item_id
      from track.item_source as source
      where source.identity_id = any (_erase_descriptions.identities)
        and source.attribute <> 'name'
        and (_erase_descriptions.items is null or source.item_id = any (_erase_descriptions.items))
      order by source.item_id
    loop
      begin
        v_cleared := v_cleared
          + track._replace_descriptions(_erase_descriptions.identities, array[v_item_id], true);
      exception
        when sqlstate 'CF010' then
          v_cleared := v_cleared
            + track._replace_descriptions(_erase_descriptions.identities, array[v_item_id], false);
      end;
    end loop;
    return v_cleared;
end;
$$;

comment on function track._erase_descriptions(bigint[], bigint[]) is $$
Replaces the attributes that identities gave to items by what others told, or else removes them.
`items`: of these items only; null: of all.
Returns the number of items. A parent that would form a cycle is left out. The derived data of courses follows with the
next refresh, as with each change of an item.
$$;
--! EndIncluded track/erasure/_erase_descriptions.sql

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

create or replace function track._told_by_others(item_id bigint, attributes text[])
returns table (attribute text, said text, identity_id bigint)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_most int;
  v_stated track.imported_item;
  v_open text[] := attributes;
begin
  -- The structure that imports state has precedence: of several, the last one.
  if exists (select from track.imported_item where imported_item.item_id = _told_by_others.item_id) then
    select stated.* into v_stated from track._imported_attributes(array[_told_by_others.item_id]) as stated;
    return query
    select given.attribute, given.said, 0::bigint
    from (
      values
        ('kind', v_stated.kind), ('title', v_stated.title), ('url', v_stated.url),
        (
          'parent',
          (
            select item.external_id
            from track.item
            where item.item_id = v_stated.parent_item_id
              and v_stated.parent_item_id <> v_stated.item_id
          )
        )
    ) as given (attribute, said)
    where given.attribute = any (_told_by_others.attributes)
      and given.said is not null;
    v_open := array(
      select entry.attribute
      from unnest(_told_by_others.attributes) as entry (attribute)
      where case entry.attribute
        when 'kind' then v_stated.kind is null
        when 'title' then v_stated.title is null
        when 'url' then v_stated.url is null
        when 'parent' then v_stated.parent_item_id is null
        else true
      end
    );
    if v_open = '{}' then
      return;
    end if;
  end if;
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
                select nullif(event.properties ->> 'parent', '')
                from track.item
                where item.item_id = _told_by_others.item_id
                  and item.external_id <> event.properties ->> 'parent'
              )
          end
        )
    ) as told (attribute, said)
    where told.attribute = any (v_open)
      and told.said is not null
    order by told.attribute, event.received_at, event.occurred_at, event.event_id;
    exit when found;
  end loop;
end;
$$;

comment on function track._told_by_others(bigint, text[]) is $$
Returns attributes of an item as imports or others tell them.
The structure that the last import states has precedence (identity 0); then the earliest stored events of others tell
them, with the identities of these events.
Reads the events of the first 20 people with the item, or when they tell nothing those of the first 1,000, and as many
people that are queued for the refresh.
$$;
--! EndIncluded track/erasure/_erase_names.sql

--! Included track/retention/apply_event_retention.sql
/*
 * Whole months are removed as partitions. The people of the month are queued for the refresh, which recomputes what is
 * derived from their events: afterwards each table is what it would be without these events. The partition is locked
 * first, and then read while others store events of later months; the lock on the whole table is held for the removal
 * alone.
 */
create or replace function track._remove_month(
  name text,
  horizon timestamptz,
  by_arrival boolean,
  held bigint[]
)
returns privacy.retention_step
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_step privacy.retention_step;
  v_stays boolean;
begin
  execute format('lock table track.%I in exclusive mode', _remove_month.name);
  execute format(
    'select exists (
      select
      from track.%I as event
      where event.person_id = any ($1)
        or $2 and event.received_at >= $3
    )',
    _remove_month.name
  )
  into v_stays
  using _remove_month.held, _remove_month.by_arrival, _remove_month.horizon;
  if v_stays then
    return null;
  end if;
  execute format(
    'with queued as (
      insert into track.stale (person_id, since, until)
      select event.person_id, min(event.occurred_at), max(event.occurred_at)
      from track.%1$I as event
      group by event.person_id
    )
    select count(*), min(event.%2$I)
    from track.%1$I as event',
    _remove_month.name, case when _remove_month.by_arrival then 'received_at' else 'occurred_at' end
  )
  into v_step.row_count, v_step.oldest_at;
  -- A batch that has found its months must not find them gone. Later batches create the month again, if they need it.
  perform pg_advisory_xact_lock(hashtext('track.ingest'));
  lock table track.event in access exclusive mode;
  execute format('drop table track.%I', _remove_month.name);
  v_step.partitions := array['track.' || _remove_month.name];
  return v_step;
exception
  -- Others use the table: the rows are deleted instead, which waits for no reader.
  when lock_not_available or deadlock_detected then
    return null;
end;
$$;

comment on function track._remove_month(text, timestamptz, boolean, bigint[]) is $$
Removes a partition of `track.event` and queues its people for the refresh.
Null when it holds events that stay, or when another transaction uses the table.
$$;

/*
 * Names of items and event types may be personal, such as the path of a page that only one person has. They stay with
 * an anonymized event when the application or another person uses them; person 0 counts as another one, so that events
 * that were anonymized before decide as the people did.
 */
create or replace function track._shared_names(
  items bigint[],
  event_types int[],
  out shared_items bigint[],
  out shared_types int[]
)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  shared_items := array(
    select item.item_id
    from track.item
    where item.item_id = any (_shared_names.items)
      and not exists (
        select from track.item_source where item_source.item_id = item.item_id and item_source.attribute = 'name'
      )
    union
    select imported_item.item_id
    from track.imported_item
    where imported_item.item_id = any (_shared_names.items)
    union
    select item_month.item_id
    from track.item_month
    where item_month.item_id = any (_shared_names.items)
    group by item_month.item_id
    having count(distinct (item_month.part, item_month.people[1])) > 1 or max(cardinality(item_month.people)) > 1
    union
    select used.item_id
    from track.step
    cross join lateral unnest(step.item_ids) as used (item_id)
    where step.person_id = 0
      and step.item_ids && _shared_names.items::int[]
  );
  shared_types := array(
    select event_type.event_type_id
    from track.event_type
    where event_type.event_type_id = any (_shared_names.event_types)
      and (
        event_type.description is not null
        or event_type.purpose <> 'analytics'
        or event_type.opens_view
        or event_type.is_heartbeat
        or event_type.is_automatic
        or exists (
          select
          from track.step
          join track.step as other on other.event_type_id = step.event_type_id and other.person_id <> step.person_id
          where step.event_type_id = event_type.event_type_id
        )
      )
  );
end;
$$;

comment on function track._shared_names(bigint[], int[]) is $$
Returns which of the given items and event types are known to the application, or used by more than one person.
$$;

create or replace function track._delete_expired(
  name text,
  rule privacy.retention,
  horizon timestamptz,
  event_types int[],
  held bigint[],
  most_rows int
)
returns privacy.retention_step
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_time constant text := case rule.counted_from when 'event' then 'occurred_at' else 'received_at' end;
  v_shared record;
  v_step privacy.retention_step;
  v_picked text;
begin
  v_picked := format(
    'select event.*
    from track.%I as event
    where event.%I < $1
      and ($2 is null or event.event_type_id = any ($2))
      and event.person_id <> all ($3)
      and ($4 or event.person_id <> 0)
    order by event.person_id, event.occurred_at, event.event_id
    limit $5',
    _delete_expired.name, v_time
  );
  if rule.method = 'anonymize' then
    execute format(
      'select shared.*
      from (
        select
          array_agg(distinct picked.item_id) as items,
          array_agg(distinct picked.event_type_id) as event_types
        from (%s) as picked
      ) as used
      cross join lateral track._shared_names(used.items, used.event_types) as shared',
      v_picked
    )
    into v_shared
    using horizon, event_types, held, false, most_rows;
  else
    select '{}'::bigint[] as shared_items, '{}'::int[] as shared_types into v_shared;
  end if;

  execute format(
    'with picked as (%1$s),

    deleted as (
      delete from track.%2$I as event
      using picked
      where event.person_id = picked.person_id
        and event.occurred_at = picked.occurred_at
        and event.event_id = picked.event_id
      returning event.*
    ),

    placed as (
      insert into track.event (
        person_id, occurred_at, event_id, identity_id, event_type_id, item_id, received_at, source_id,
        named_event_type_id, named_item_id
      )
      select
        0, deleted.occurred_at, deleted.event_id, 0,
        case when shared.type_id then deleted.event_type_id else other.event_type_id end,
        case when shared.item_id then deleted.item_id end,
        deleted.received_at, deleted.source_id,
        case when shared.type_id then deleted.named_event_type_id end,
        case when shared.item_id then deleted.named_item_id end
      from deleted
      cross join lateral (
        select
          coalesce(deleted.event_type_id = any ($7), false) as type_id,
          coalesce(deleted.item_id = any ($6), false) as item_id
      ) as shared
      cross join (select event_type_id from track.event_type where name = ''Other Event'') as other
      where not $4
      on conflict do nothing
    ),

    queued as (
      insert into track.stale (person_id, since, until)
      select deleted.person_id, min(deleted.occurred_at), max(deleted.occurred_at)
      from deleted
      group by deleted.person_id
      union all
      select 0, min(deleted.occurred_at), max(deleted.occurred_at)
      from deleted
      where not $4
      having count(*) > 0
    )

    select count(*), min(deleted.%3$I) from deleted',
    v_picked, _delete_expired.name, v_time
  )
  into v_step.row_count, v_step.oldest_at
  using
    horizon, event_types, held, rule.method = 'delete', most_rows, v_shared.shared_items, v_shared.shared_types;
  v_step.partitions := '{}';
  return v_step;
end;
$$;

comment on function track._delete_expired(text, privacy.retention, timestamptz, int[], bigint[], int) is $$
Deletes or anonymizes at most `most_rows` events of a partition, and queues their people for the refresh.
$$;

create or replace function track._follow_horizon(rule privacy.retention, horizon timestamptz)
returns privacy.retention_step
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_kept constant date := (select setting.sums_kept_before from track.setting);
  v_step privacy.retention_step;
begin
  -- Otherwise a message that arrives late would bring back a month that was deleted.
  update track.setting
  set oldest_event = _follow_horizon.horizon
  where setting.oldest_event < _follow_horizon.horizon;

  if rule.keeps_rollups and v_kept < (_follow_horizon.horizon at time zone 'UTC')::date then
    perform pg_advisory_xact_lock(hashtext('track.refresh'));
    -- The sums are to contain all events that were stored. People whose refresh fails are not waited for.
    if exists (select from track.stale where stale.since < _follow_horizon.horizon) then
      select 'refresh', coalesce(max(refreshed.people), 0)
      into v_step.method, v_step.row_count
      from track.refresh(2000, 'track.session') as refreshed;
      if v_step.row_count > 0 then
        return v_step;
      end if;
    end if;
    v_step.method := 'sum';
    v_step.row_count := track._keep_sums(_follow_horizon.horizon);
    return v_step;
  end if;

  -- Sums that an earlier rule has kept go, so that all rollups are again those of the events that are left.
  if not rule.keeps_rollups and v_kept > '-infinity' then
    perform pg_advisory_xact_lock(hashtext('track.refresh'));
    delete from track.presence where presence.day < v_kept;
    get diagnostics v_step.row_count = row_count;
    delete from track.item_day where item_day.day < v_kept;
    delete from track.item_transition where item_transition.month < v_kept;
    update track.setting set sums_kept_before = '-infinity';
    v_step.method := 'sum';
    return v_step;
  end if;
  return null;
end;
$$;

comment on function track._follow_horizon(privacy.retention, timestamptz) is $$
Prepares the deletion of all events before a time.
Later messages of that time are rejected, and the sums stay or go as the rule specifies. Returns a step; null when
nothing is left to prepare.
$$;

create or replace function track.apply_event_retention(
  rule privacy.retention,
  horizon timestamptz,
  most_rows int
)
returns setof privacy.retention_step
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_held constant bigint[] := array(select privacy.restricted());
  v_types constant int[] := case when rule.purpose is not null then track._types_of_purpose(rule.purpose) end;
  v_month record;
  v_step privacy.retention_step;
begin
  if rule.purpose is null and rule.method = 'delete' and rule.counted_from = 'event' then
    v_step := track._follow_horizon(rule, apply_event_retention.horizon);
  end if;
  if v_step.method is null then
    for v_month in
      select month.*
      from track._event_partitions() as month
      where month.since < apply_event_retention.horizon
    loop
      if rule.purpose is null and rule.method = 'delete' and v_month.until <= apply_event_retention.horizon then
        v_step := track._remove_month(
          v_month.name, apply_event_retention.horizon, rule.counted_from = 'arrival', v_held
        );
      end if;
      if v_step.partitions is null then
        v_step := track._delete_expired(
          v_month.name, rule, apply_event_retention.horizon, v_types, v_held, apply_event_retention.most_rows
        );
      end if;
      exit when v_step.row_count > 0 or v_step.partitions <> '{}';
      v_step := null;
    end loop;
    v_step.method := case when v_step.partitions is not null then rule.method end;
  end if;
  if v_step.method is not null then
    v_step.rule := rule.rule;
    v_step.table_name := case
      when v_step.method in ('delete', 'anonymize') then 'track.event'
      else 'track.presence'
    end;
    v_step.partitions := coalesce(v_step.partitions, '{}');
    v_step.horizon := apply_event_retention.horizon;
    return next v_step;
  end if;
end;
$$;

comment on function track.apply_event_retention(privacy.retention, timestamptz, int) is $$
@behavior -*
Does one step of a rule of retention for events: a month as a partition, or at most `most_rows` events of a month.
Called by `privacy.apply_retention`. The people are queued for the refresh in the same transaction.
$$;
--! EndIncluded track/retention/apply_event_retention.sql

--! Included track/imports/_imported_attributes.sql
create or replace function track._imported_attributes(items bigint[])
returns setof track.imported_item
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  select
    (array_agg(entry.source_id order by entry.stated_at desc, entry.source_id desc))[1],
    entry.item_id,
    (array_agg(entry.kind order by entry.stated_at desc, entry.source_id desc)
      filter (where entry.kind is not null))[1],
    (array_agg(entry.title order by entry.stated_at desc, entry.source_id desc)
      filter (where entry.title is not null))[1],
    (array_agg(entry.url order by entry.stated_at desc, entry.source_id desc) filter (where entry.url is not null))[1],
    (array_agg(entry.parent_item_id order by entry.stated_at desc, entry.source_id desc)
      filter (where entry.parent_item_id is not null))[1],
    max(entry.stated_at)
  from track.imported_item as entry
  where entry.item_id = any (_imported_attributes.items)
  group by entry.item_id;
end;
$$;

comment on function track._imported_attributes(bigint[]) is $$
Returns the attributes of items that imports state. Of several, that of the last import that states the attribute.
$$;
--! EndIncluded track/imports/_imported_attributes.sql

--! Included track/imports/import_items.sql
create or replace function track._stated_items(items jsonb)
returns jsonb
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_most constant int := 10000;
  v_bad record;
begin
  if coalesce(jsonb_typeof(_stated_items.items), '') <> 'array' then
    perform common.refuse('CF009', 'the items are not a list', 'Give a list such as [{"item": "course-1", …}].');
  end if;
  if jsonb_array_length(_stated_items.items) > v_most then
    perform common.refuse(
      'CF008', format('%s items are more than %s', jsonb_array_length(_stated_items.items), v_most),
      'Divide them into several calls.'
    );
  end if;
  select entry.* into v_bad
  from jsonb_array_elements(_stated_items.items) as element (stated)
  left join lateral (
    select
      element.stated ->> 'item' as item, element.stated ->> 'kind' as kind, element.stated ->> 'title' as title,
      element.stated ->> 'url' as url, element.stated ->> 'parent' as parent
    where jsonb_typeof(element.stated) = 'object'
  ) as entry on true
  where coalesce(length(entry.item), 0) not between 1 and 512
    or entry.kind !~ '^[a-z][a-z0-9_]{0,62}$'
    or length(entry.title) > 1000
    or length(entry.url) > 2048
    or length(entry.parent) not between 1 and 512
    or entry.parent = entry.item
  limit 1;
  if found then
    perform common.refuse(
      'CF001',
      format(
        'item "%s" of kind "%s" with parent "%s" is invalid',
        left(v_bad.item, 100), left(v_bad.kind, 100), left(v_bad.parent, 100)
      ),
      'An item has an id of 1 to 512 characters, a kind in lower case, such as course, a title of at most 1,000 '
        || 'characters, a url of at most 2,048, and another item as parent.'
    );
  end if;
  -- The first statement about an item counts, with what it lacks from later ones.
  return (
    select coalesce(jsonb_agg(to_jsonb(stated)), '[]')
    from (
      select
        element.stated ->> 'item' as external_id,
        (array_agg(element.stated ->> 'kind' order by element.place)
          filter (where element.stated ->> 'kind' <> ''))[1] as kind,
        (array_agg(element.stated ->> 'title' order by element.place)
          filter (where element.stated ->> 'title' <> ''))[1] as title,
        (array_agg(element.stated ->> 'url' order by element.place)
          filter (where element.stated ->> 'url' <> ''))[1] as url,
        (array_agg(element.stated ->> 'parent' order by element.place)
          filter (where element.stated ->> 'parent' <> ''))[1] as parent
      from jsonb_array_elements(_stated_items.items) with ordinality as element (stated, place)
      group by 1
    ) as stated
  );
end;
$$;

comment on function track._stated_items(jsonb) is $$
Returns the items of a list, each once. Errors: CF009, CF008 and CF001, as described for `track.import_items`.
$$;

create or replace function track._apply_imported_items(items bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
-- A plan for any number of items would compare each item with each statement.
set plan_cache_mode to force_custom_plan
as $$
begin
  -- Attributes that messages gave, or that are missing. The tables of the application have given what has no source.
  with said as materialized (
    select
      entry.item_id, entry.kind, entry.title, entry.url,
      nullif(coalesce(parent.merged_item_id, parent.item_id), entry.item_id) as parent_item_id
    from track._imported_attributes(_apply_imported_items.items) as entry
    left join track.item as parent on parent.item_id = entry.parent_item_id
    where not exists (select from track.named_item where named_item.item_id = entry.item_id)
  ),

  free as materialized (
    select
      item.item_id,
      item.kind = 'unknown' or bool_or(told.attribute = 'kind') as has_kind,
      item.title is null or bool_or(told.attribute = 'title') as has_title,
      item.url is null or bool_or(told.attribute = 'url') as has_url,
      item.parent_item_id is null or bool_or(told.attribute = 'parent') as has_parent
    from said
    join track.item on item.item_id = said.item_id
    left join track.item_source as told on told.item_id = item.item_id
    where num_nulls(item.merged_item_id) > 0
    group by item.item_id
  ),

  given as materialized (
    select
      said.item_id,
      case when free.has_kind then said.kind end as kind,
      case when free.has_title then said.title end as title,
      case when free.has_url then said.url end as url,
      case when free.has_parent then said.parent_item_id end as parent_item_id
    from said
    join free on free.item_id = said.item_id
  ),

  sourced as (
    insert into track.item_source (item_id, attribute, identity_id)
    select given.item_id, entry.attribute, 0
    from given
    cross join lateral (
      values
        ('kind', given.kind), ('title', given.title), ('url', given.url), ('parent', given.parent_item_id::text)
    ) as entry (attribute, value)
    where entry.value is not null
    on conflict (item_id, attribute) do update
    set identity_id = 0
    where item_source.identity_id <> 0
  )

  update track.item
  set
    kind = coalesce(given.kind, item.kind),
    title = coalesce(given.title, item.title),
    url = coalesce(given.url, item.url),
    parent_item_id = coalesce(given.parent_item_id, item.parent_item_id),
    updated_at = now()
  from given
  where item.item_id = given.item_id
    and (item.kind, item.title, item.url, item.parent_item_id) is distinct from (
      coalesce(given.kind, item.kind), coalesce(given.title, item.title), coalesce(given.url, item.url),
      coalesce(given.parent_item_id, item.parent_item_id)
    );
end;
$$;

comment on function track._apply_imported_items(bigint[]) is $$
Gives items what imports state about them (`track.imported_item`), where the application states nothing.
Items of a merge keep their descriptions. Raises CF010 for a cycle of parents.
$$;

create or replace function track.import_items(items jsonb)
returns track.sync_result
language plpgsql
volatile
-- A definer: it writes track.item, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_sender track.message_sender;
  v_items jsonb;
  v_new bigint[];
  v_changed bigint[];
  v_result track.sync_result;
begin
  -- As a batch of messages: a removal or an erasure waits for it.
  perform pg_advisory_xact_lock_shared(hashtext('track.ingest'));
  v_sender := track._sender(clock_timestamp());
  if not v_sender.is_trusted then
    perform common.refuse(
      'CF005', 'only a server may describe items', 'Send them as an administrator or a worker, or with its write key.'
    );
  end if;
  if (select source.name from track.source where source.source_id = v_sender.source_id) = 'default' then
    perform common.refuse(
      'CF001', 'the source "default" is not an import', 'Name the import in the setting insights.source.'
    );
  end if;
  v_items := track._stated_items(import_items.items);

  with entered as (
    insert into track.item (external_id)
    select named.external_id
    from (
      select stated.external_id from jsonb_to_recordset(v_items) as stated (external_id text)
      union
      select stated.parent from jsonb_to_recordset(v_items) as stated (parent text)
    ) as named
    where named.external_id is not null
      and not exists (select from track.item where item.external_id = named.external_id)
    order by named.external_id
    on conflict (external_id) do nothing
    returning item.item_id
  ),

  sourced as (
    insert into track.item_source (item_id, attribute, identity_id)
    select entered.item_id, 'name', 0
    from entered
  )

  select array_agg(entered.item_id) into v_new
  from entered;

  -- In the order of track.ingest, to avoid deadlocks.
  perform item.item_id
  from track.item
  where item.item_id = any (array(
    select unnest(array[known.item_id, known.merged_item_id])
    from jsonb_to_recordset(v_items) as stated (external_id text)
    join track.item as known on known.external_id = stated.external_id
  ))
  order by item.item_id
  for no key update;

  with stated as (
    select item.item_id, entry.kind, entry.title, entry.url, parent.item_id as parent_item_id
    from jsonb_to_recordset(v_items) as entry (external_id text, kind text, title text, url text, parent text)
    join track.item on item.external_id = entry.external_id
    left join track.item as parent on parent.external_id = entry.parent
  ),

  -- A removal of the import deletes former parents that nothing uses.
  former as (
    insert into track.forgotten_item (source_id, item_id)
    select distinct v_sender.source_id, known.parent_item_id
    from stated
    join track.imported_item as known on known.item_id = stated.item_id
    where known.source_id = v_sender.source_id
      and known.parent_item_id <> stated.parent_item_id
    on conflict do nothing
  ),

  stored as (
    insert into track.imported_item (source_id, item_id, kind, title, url, parent_item_id)
    select v_sender.source_id, stated.item_id, stated.kind, stated.title, stated.url, stated.parent_item_id
    from stated
    on conflict (source_id, item_id) do update
    set
      kind = coalesce(excluded.kind, imported_item.kind),
      title = coalesce(excluded.title, imported_item.title),
      url = coalesce(excluded.url, imported_item.url),
      parent_item_id = coalesce(excluded.parent_item_id, imported_item.parent_item_id),
      stated_at = clock_timestamp()
    where (imported_item.kind, imported_item.title, imported_item.url, imported_item.parent_item_id)
      is distinct from (
        coalesce(excluded.kind, imported_item.kind), coalesce(excluded.title, imported_item.title),
        coalesce(excluded.url, imported_item.url), coalesce(excluded.parent_item_id, imported_item.parent_item_id)
      )
    returning imported_item.item_id
  )

  select array_agg(stored.item_id) into v_changed
  from stored;

  perform track._apply_imported_items(v_changed);
  v_result.inserted := coalesce((
    select count(*) from unnest(v_changed) as entry (item_id) where entry.item_id = any (v_new)
  ), 0);
  v_result.updated := coalesce(cardinality(v_changed), 0) - v_result.inserted;
  v_result.unchanged := jsonb_array_length(v_items) - coalesce(cardinality(v_changed), 0);
  return v_result;
end;
$$;

comment on function track.import_items(jsonb) is $$
@behavior -*
Stores what an import states about items without an event: the structure of courses.
`items`: a list of `{item, kind, title, url, parent}`, of which only `item` is required; `parent` is another item. The
source is the setting `insights.source` or that of the write key, as for `track.ingest`. Items and parents are added
when they are new. What is stated has precedence over what messages tell, and the tables of the application over both.
The call can be repeated: an item without a change is not written. A value that is not stated keeps the stored one.
`track.forget_import` removes all of it, and gives the items what the messages that are left tell.
Returns the number of items that are new, that changed, and that did not.
Errors: CF001 for an invalid item, and for the source `default`; CF005 unless the sender is a server; CF008 for more
than 10,000 items; CF009 for what is not a list; CF010 for a cycle of parents.
$$;

grant execute on function track.import_items(jsonb) to insights_admin, insights_worker;
--! EndIncluded track/imports/import_items.sql

--! Included track/imports/source_contents.sql
create or replace function track.source_contents(source text)
returns track.source_contents
language plpgsql
stable
-- A definer: it counts the events of all people.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_source constant track.source := track._import_source(source_contents.source);
  v_contents track.source_contents;
begin
  if v_source.source_id is null then
    perform track._refuse_unknown_import(source_contents.source);
  end if;
  -- Each event is read once, and the others of its people and items with it.
  select
    v_source.name, coalesce(sum(used.imported), 0), min(used.first_at), max(used.last_at),
    count(*) filter (where used.person_id is not null and used.imported > 0),
    count(*) filter (where used.person_id is not null and used.imported = used.events),
    null, null
  into v_contents
  from (
    select
      event.person_id, count(*) as events, count(*) filter (where event.source_id = v_source.source_id) as imported,
      min(event.occurred_at) filter (where event.source_id = v_source.source_id) as first_at,
      max(event.occurred_at) filter (where event.source_id = v_source.source_id) as last_at
    from track.event
    group by event.person_id
  ) as used;
  select count(*) filter (where used.imported > 0), count(*) filter (where used.imported = used.events)
  into v_contents.items, v_contents.items_alone
  from (
    select
      event.item_id, count(*) as events, count(*) filter (where event.source_id = v_source.source_id) as imported
    from track.event
    where num_nonnulls(event.item_id) > 0
    group by event.item_id
  ) as used;
  -- Items of its structure that no event is about.
  select v_contents.items + count(*), v_contents.items_alone + count(*) filter (where not used.is_used)
  into v_contents.items, v_contents.items_alone
  from (
    select
      exists (select from track.item_month where item_month.item_id = entry.item_id)
        or exists (
          select
          from track.imported_item as other
          where other.item_id = entry.item_id
            and other.source_id <> entry.source_id
        ) as is_used
    from track.imported_item as entry
    where entry.source_id = v_source.source_id
      and not exists (
        select
        from track.event
        where event.item_id = entry.item_id
          and event.source_id = entry.source_id
      )
  ) as used;
  return v_contents;
end;
$$;

comment on function track.source_contents(text) is $$
@behavior -*
Counts what the events of an import are about, and the items of its structure, before `track.forget_import` removes it.
`source`: its name, as in `track.source`. Reads all events. Errors: CF002 for an unknown name, with the nearest one;
CF001 and CF005 for the sources of applications.
$$;

grant execute on function track.source_contents(text) to insights_admin;
--! EndIncluded track/imports/source_contents.sql

--! Included track/imports/forget_import.sql
/*
 * The ids of messages are unique within a source, and most of their hashes are packed, without their source. Therefore
 * the source of an import that is removed keeps its key and gets another name: an import under the same name has a
 * new key from then on, and none of its messages is a duplicate.
 *
 * No batch of messages is stored during a step, so that none can name a person or an item that the step deletes.
 */
create or replace function track._begin_forgetting(source text)
returns track.forgotten_import
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_source track.source;
  v_import track.forgotten_import;
begin
  -- The one that is not completed. The last one is resumed when events that it had to keep may have become free.
  select former.* into v_import
  from track.forgotten_import as former
  where former.name = _begin_forgetting.source
  order by former.completed_at is null desc, former.started_at desc
  limit 1;
  if v_import.source_id is not null and v_import.completed_at is null then
    return v_import;
  end if;

  v_source := track._import_source(_begin_forgetting.source);
  if v_source.source_id is null then
    if v_import.source_id is null then
      perform track._refuse_unknown_import(_begin_forgetting.source);
    end if;
    if v_import.kept_event_count > 0 then
      update track.forgotten_import
      set completed_at = null, done_people = 0, kept_event_count = 0
      where forgotten_import.source_id = v_import.source_id
      returning * into v_import;
    end if;
    return v_import;
  end if;

  update track.source
  set name = format('%s (removed %s)', left(v_source.name, 80), v_source.source_id)
  where source.source_id = v_source.source_id;
  -- Settings by administrators apply to the next import, too.
  if num_nonnulls(v_source.description, v_source.heartbeat, v_source.path_rule, v_source.kept_parameters) > 0
    or v_source.is_automatic
  then
    insert into track.source (name, description, level, heartbeat, is_automatic, path_rule, kept_parameters)
    values (
      v_source.name, v_source.description, v_source.level, v_source.heartbeat, v_source.is_automatic,
      v_source.path_rule, v_source.kept_parameters
    );
  end if;
  insert into track.forgotten_import (source_id, name, actor)
  values (v_source.source_id, v_source.name, common.author())
  returning * into v_import;
  return v_import;
end;
$$;

comment on function track._begin_forgetting(text) is $$
Returns the import of a name that is being removed; begins with it, or returns the last one that is completed.
Errors: CF002 for an unknown name, CF001 and CF005 for the sources of applications.
$$;

create or replace function track._forget_people(people bigint[])
returns bigint[]
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_gone bigint[] := array(
    select identity.person_id
    from track.identity
    where identity.person_id = any (_forget_people.people)
      and identity.person_id <> 0
    group by identity.person_id
    having count(*) = 1
  );
  v_column record;
  v_used bigint[];
  v_consumer track.consumer;
begin
  -- Every column that refers to people, of any room, in the data map.
  for v_column in
    select entry.schema_name, entry.table_name, entry.column_name
    from privacy.data_map as entry
    join pg_catalog.pg_attribute as attribute
      on attribute.attrelid = to_regclass(format('%I.%I', entry.schema_name, entry.table_name))
      and attribute.attname = entry.column_name
      and attribute.atttypid = 'bigint'::regtype
    where entry.holds in ('person', 'identity')
      and (entry.schema_name, entry.table_name) not in (
        values
          ('track', 'person'), ('track', 'identity'), ('track', 'item_source'),
          ('track', 'stale'), ('track', 'changed'), ('track', 'stale_property'), ('track', 'automatic_period')
      )
    order by entry.schema_name, entry.table_name, entry.column_name
  loop
    exit when v_gone = '{}';
    execute format(
      'select array(select distinct %1$I from %2$I.%3$I where %1$I = any ($1))',
      v_column.column_name, v_column.schema_name, v_column.table_name
    )
    into v_used
    using v_gone;
    if v_used <> '{}' then
      v_gone := array(select unnest(v_gone) except select unnest(v_used));
    end if;
  end loop;
  if v_gone = '{}' then
    return v_gone;
  end if;

  update track.item_source set identity_id = 0 where item_source.identity_id = any (v_gone);
  delete from track.stale where stale.person_id = any (v_gone);
  delete from track.stale_property where stale_property.person_id = any (v_gone);
  delete from track.automatic_period where automatic_period.person_id = any (v_gone);
  delete from track.identity where identity.identity_id = any (v_gone);
  delete from track.person where person.person_id = any (v_gone);
  -- Sets of people, and what else is derived from a name alone.
  for v_consumer in
    select consumer.*
    from track.consumer
    order by consumer.position
  loop
    execute format(
      'select %I.%I($1, $2, $3)', split_part(v_consumer.refresh, '.', 1), split_part(v_consumer.refresh, '.', 2)
    )
    using
      v_gone,
      array_fill('-infinity'::timestamptz, array[cardinality(v_gone)]),
      array_fill('infinity'::timestamptz, array[cardinality(v_gone)]);
  end loop;
  delete from track.changed where changed.person_id = any (v_gone);
  return v_gone;
end;
$$;

comment on function track._forget_people(bigint[]) is $$
Deletes the people who have no stored data except one name. Returns their keys.
The caller has locked them. A column of any room that `privacy.data_map` lists as a person or an identity counts.
$$;

create or replace function track._forget_events(import track.forgotten_import, most_events int)
returns track.forgotten_import
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
declare
  v_import track.forgotten_import := import;
  v_held constant bigint[] := array(select privacy.restricted());
  v_month record;
  v_picked record;
  v_deleted record;
  v_found bigint := 0;
  v_function text;
  v_gone bigint[];
  v_items bigint[];
  -- Those that give enrolments, where the import states any.
  v_types constant int[] := array(
    select coalesce(event_type.merged_event_type_id, event_type.event_type_id)
    from track.event_type
    join track.source on source.source_id = v_import.source_id and source.states_enrolments
    where event_type.name in ('Course Enrolled', 'Course Dropped', 'Course Completed')
  );
  v_linked bigint[];
  v_enrolled bigint[];
  v_courses bigint[];
begin
  if v_import.done_people is null then
    return v_import;
  end if;
  -- Person by person, so that what is derived from the events of a person is computed again once. An event that was
  -- moved meanwhile to a person who is done is found when the people begin again.
  loop
    select
      count(*) as events, max(picked.person_id) as last_person,
      array_agg(picked.person_id) as people, array_agg(picked.occurred_at) as times,
      array_agg(picked.event_id) as ids, array_agg(distinct picked.identity_id) as identities,
      array_agg(distinct picked.item_id) || array_agg(distinct picked.named_item_id) as items,
      array_agg(distinct picked.properties ->> 'parent') as parents,
      array_agg(distinct picked.event_type_id) || array_agg(distinct picked.named_event_type_id) as types
    into v_picked
    from (
      select event.*
      from track.event
      where event.source_id = v_import.source_id
        and event.person_id >= v_import.done_people
        and event.person_id <> all (v_held)
      order by event.person_id, event.occurred_at
      limit _forget_events.most_events
    ) as picked;
    exit when v_picked.events > 0 or v_import.done_people = 0;
    v_import.done_people := 0;
  end loop;
  v_import.done_people := v_picked.last_person;
  if v_picked.events = 0 then
    return v_import;
  end if;

  -- In the order of an erasure: the people, their identities, and what is queued for them.
  v_picked.identities := array_remove(v_picked.identities, 0);
  perform track._lock_people(v_picked.identities);
  perform identity.identity_id
  from track.identity
  where identity.identity_id = any (track._with_siblings(v_picked.identities))
  order by identity.identity_id
  for update;
  -- Data of people who were merged or split may still be with others: `forget_function` would not find it there.
  -- That of all others is computed once, without the events.
  v_linked := array(
    select entry.identity_id
    from unnest(v_picked.identities) as entry (identity_id)
    join track.identity on identity.identity_id = entry.identity_id
    where identity.kind <> 'user'
      or identity.person_id <> identity.identity_id
      or exists (select from track.identity_link as link where link.identity_id = entry.identity_id)
      or exists (select from track.identity_link as link where link.linked_identity_id = entry.identity_id)
  );
  if v_linked <> '{}' then
    perform track._settle(v_linked);
  end if;
  for v_function in
    select consumer.forget_function
    from track.consumer
    where num_nonnulls(consumer.forget_function) > 0
    order by consumer.position
  loop
    execute format('select %I.%I($1, $2)', split_part(v_function, '.', 1), split_part(v_function, '.', 2))
    using v_picked.people, v_picked.times;
  end loop;

  -- An event that was moved to another person before the lock is found by a later step.
  for v_month in
    select month.*
    from track._event_partitions() as month
    where exists (
      select
      from unnest(v_picked.times) as picked (occurred_at)
      where picked.occurred_at >= month.since
        and picked.occurred_at < month.until
    )
  loop
    execute format(
      'with deleted as (
        delete from track.%I as event
        using unnest($1, $2, $3) as picked (person_id, occurred_at, event_id)
        where event.person_id = picked.person_id
          and event.occurred_at = picked.occurred_at
          and event.event_id = picked.event_id
          and picked.occurred_at >= $5
          and picked.occurred_at < $6
        returning
          event.person_id, event.occurred_at, event.identity_id, event.event_type_id,
          coalesce(event.named_item_id, event.item_id) as item_id
      ),

      queued as (
        insert into track.stale (person_id, since, until)
        select deleted.person_id, min(deleted.occurred_at), max(deleted.occurred_at)
        from deleted
        group by deleted.person_id
      )

      select
        count(*) as events,
        array_agg(deleted.identity_id) filter (where deleted.event_type_id = any ($4)) as enrolled,
        array_agg(deleted.item_id) filter (where deleted.event_type_id = any ($4)) as courses
      from deleted',
      v_month.name
    )
    into v_deleted
    using v_picked.people, v_picked.times, v_picked.ids, v_types, v_month.since, v_month.until;
    v_found := v_found + v_deleted.events;
    v_enrolled := v_enrolled || v_deleted.enrolled;
    v_courses := v_courses || v_deleted.courses;
  end loop;
  if v_enrolled is not null then
    perform track._derive_enrolments(v_enrolled, v_courses);
  end if;
  perform track._settle(v_picked.identities);

  v_items := array_remove(v_picked.items, null);
  v_gone := track._forget_people(array(select distinct unnest(v_picked.people)));
  insert into track.forgotten_item (source_id, item_id)
  select v_import.source_id, ancestor.ancestor_item_id
  from track.item_ancestor as ancestor
  where ancestor.item_id = any (v_items)
  union
  -- As they were named: an item has the parent that was named first.
  select v_import.source_id, item.item_id
  from track.item
  where item.external_id = any (v_picked.parents)
  on conflict do nothing;
  -- The attributes that these people gave to items are read again from the events that are left, after the last step.
  update track.item_source
  set identity_id = 0
  where item_source.identity_id = any (v_picked.identities)
    and item_source.item_id = any (v_items)
    and item_source.attribute <> 'name';
  v_import.event_types := array(
    select unnest(v_import.event_types)
    union
    select unnest(array_remove(v_picked.types, null))
  );
  v_import.event_count := v_import.event_count + v_found;
  v_import.person_count := v_import.person_count + cardinality(v_gone);
  return v_import;
end;
$$;

comment on function track._forget_events(track.forgotten_import, int) is $$
Deletes at most `most_events` events of an import, refreshes what is derived from them, and deletes people without data.
The people are done in order. Events of people whose data is restricted stay. The caller has the locks of the refresh
and of all batches.
$$;

create or replace function track._forget_enrolments(import track.forgotten_import, most_enrolments int)
returns track.forgotten_import
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_import track.forgotten_import := import;
  v_held constant bigint[] := array(select privacy.restricted());
  v_identities bigint[];
  v_items bigint[];
begin
  select array_agg(picked.identity_id), array_agg(picked.item_id) into v_identities, v_items
  from (
    select enrolment.identity_id, coalesce(enrolment.named_item_id, enrolment.item_id) as item_id
    from track.enrolment
    where enrolment.source_id = v_import.source_id
      and enrolment.person_id <> all (v_held)
    limit _forget_enrolments.most_enrolments
  ) as picked;
  if v_items is null then
    return null;
  end if;
  perform track._lock_people(v_identities);
  perform track._derive_enrolments(v_identities, v_items);
  perform track._settle(v_identities);
  v_import.person_count := v_import.person_count + cardinality(track._forget_people(array(
    select distinct identity.person_id from track.identity where identity.identity_id = any (v_identities)
  )));
  insert into track.forgotten_item (source_id, item_id)
  select distinct v_import.source_id, entry.item_id
  from unnest(v_items) as entry (item_id)
  on conflict do nothing;
  return v_import;
end;
$$;

comment on function track._forget_enrolments(track.forgotten_import, int) is $$
Derives enrolments again that an import began, and whose events retention has deleted. Null when there are none.
The caller has the locks of the refresh and of all batches.
$$;

create or replace function track._forget_structure(import track.forgotten_import, most_items int)
returns boolean
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_items bigint[];
  v_parents bigint[];
begin
  with picked as (
    select imported_item.item_id
    from track.imported_item
    where imported_item.source_id = _forget_structure.import.source_id
    limit _forget_structure.most_items
  ),

  deleted as (
    delete from track.imported_item
    using picked
    where imported_item.source_id = _forget_structure.import.source_id
      and imported_item.item_id = picked.item_id
    returning imported_item.item_id, imported_item.parent_item_id
  )

  select array_agg(deleted.item_id), array_agg(distinct deleted.parent_item_id) into v_items, v_parents
  from deleted;
  if v_items is null then
    return false;
  end if;
  insert into track.forgotten_item (source_id, item_id)
  select _forget_structure.import.source_id, ancestor.ancestor_item_id
  from track.item_ancestor as ancestor
  where ancestor.item_id = any (v_items)
  union
  select _forget_structure.import.source_id, entry.item_id
  from unnest(v_parents) as entry (item_id)
  where entry.item_id is not null
  on conflict do nothing;
  return true;
end;
$$;

comment on function track._forget_structure(track.forgotten_import, int) is $$
Deletes what an import states about items, and queues these for the steps that follow. False when there is none.
$$;

create or replace function track._unused_items(items bigint[])
returns bigint[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_used constant bigint[] := (
    select array_remove(other.used_items, null) from track._other_use(_unused_items.items, '{}') as other
  );
begin
  return array(
    select named.item_id
    from track.item_source as named
    where named.item_id = any (_unused_items.items)
      and named.item_id <> all (v_used)
      and named.attribute = 'name'
  );
end;
$$;

comment on function track._unused_items(bigint[]) is $$
Returns those of the items that only messages have named, and that have neither events nor enrolments.
$$;

create or replace function track._forget_items(import track.forgotten_import, most_items int)
returns track.forgotten_import
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_import track.forgotten_import := import;
  -- Children first: an item that contains another one stays.
  v_items constant bigint[] := array(
    select named.item_id
    from track.forgotten_item as named
    where named.source_id = v_import.source_id
    order by
      (select max(ancestor.depth) from track.item_ancestor as ancestor where ancestor.item_id = named.item_id) desc,
      named.item_id
    limit _forget_items.most_items
  );
  v_unused bigint[];
begin
  if v_items = '{}' then
    return v_import;
  end if;
  -- The items that stay first: one of the others may be their parent, and then has the sums of its parts.
  v_unused := track._unused_items(v_items);
  perform track._erase_descriptions('{0}', array(select unnest(v_items) except select unnest(v_unused)));
  perform track._refresh_course_presence();
  v_unused := track._unused_items(v_items);
  v_import.item_count := v_import.item_count + track._erase_items(v_unused);
  -- Those that something else refers to.
  perform track._erase_descriptions('{0}', array(
    select item.item_id from track.item where item.item_id = any (v_items)
  ));
  -- Their former parents, to which nothing refers any more.
  perform track._refresh_course_presence();
  v_import.item_count := v_import.item_count + track._erase_items(track._unused_items(v_items));
  delete from track.forgotten_item
  where forgotten_item.source_id = v_import.source_id
    and forgotten_item.item_id = any (v_items);
  return v_import;
end;
$$;

comment on function track._forget_items(track.forgotten_import, int) is $$
Deletes items that only messages have named and that nothing uses any more.
Of the others, the events that are left give the attributes that the import gave.
$$;

create or replace function track.forget_import(source text, most_events int default 10000)
returns track.forgotten_import
language plpgsql
volatile
-- A definer: it deletes events and people, which no role may do.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_import track.forgotten_import;
  v_before track.forgotten_import;
  v_rest track.forgotten_import;
  v_types int[];
  v_messages bigint;
begin
  perform common.check_count('most_events', forget_import.most_events, 1, 100000);
  if current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
    perform common.refuse(
      '25001',
      format('no import can be removed in a transaction of the level %s', current_setting('transaction_isolation')),
      'Use read committed: the call must see the data that others have stored until it has its locks.'
    );
  end if;
  -- In the order of an erasure: a refresh can take minutes, and while this waits for batches, none begins.
  perform pg_advisory_xact_lock(hashtext('track.refresh'));
  perform pg_advisory_xact_lock(hashtext('track.ingest'));
  v_before := track._begin_forgetting(forget_import.source);
  if v_before.completed_at is not null then
    return v_before;
  end if;
  v_import := track._forget_events(v_before, forget_import.most_events);

  if v_import.event_count = v_before.event_count then
    v_rest := track._forget_enrolments(v_import, forget_import.most_events);
  end if;
  if v_rest.source_id is not null then
    v_import := v_rest;
  elsif v_import.event_count = v_before.event_count
    and not track._forget_structure(v_import, forget_import.most_events)
  then
    v_import := track._forget_items(v_import, 1000);
    if not exists (select from track.forgotten_item where forgotten_item.source_id = v_import.source_id) then
      with taken as (
        select message.source_id, message.message_hash
        from track.message
        where message.source_id = v_import.source_id
        limit 100000
      ),

      deleted as (
        delete from track.message
        using taken
        where message.source_id = taken.source_id
          and message.message_hash = taken.message_hash
        returning message.source_id
      )

      select count(*) into v_messages from deleted;
      if v_messages = 0 then
        v_types := (select other.used_types from track._other_use('{}', v_import.event_types) as other);
        v_import.event_type_count := v_import.event_type_count
          + track._erase_event_types(array(select unnest(v_import.event_types) except select unnest(v_types)));
        v_import.event_types := '{}';
        v_import.completed_at := clock_timestamp();
        v_import.kept_event_count := (
          select count(*)
          from track.event
          where event.source_id = v_import.source_id
            and event.person_id = any (array(select privacy.restricted()))
        );
        delete from track.refusal where refusal.source_id = v_import.source_id;
        delete from track.refusal_sample where refusal_sample.source_id = v_import.source_id;
        if v_import.kept_event_count = 0 then
          delete from track.source where source.source_id = v_import.source_id;
        end if;
      end if;
    end if;
  end if;

  update track.forgotten_import
  set
    completed_at = v_import.completed_at,
    done_people = v_import.done_people,
    event_count = v_import.event_count,
    person_count = v_import.person_count,
    item_count = v_import.item_count,
    event_type_count = v_import.event_type_count,
    kept_event_count = v_import.kept_event_count,
    event_types = v_import.event_types
  where forgotten_import.source_id = v_import.source_id;
  return v_import;
end;
$$;

comment on function track.forget_import(text, int) is $$
@behavior -*
Removes an import, in steps.
Each call is a transaction that deletes at most `most_events` events, with all that is derived from them. Repeat it
until `completed_at` of the result is not null; a call that is interrupted has done nothing. Returns the row of
`track.forgotten_import`, which stays as the history; a further call returns it again.
`source`: the name of the import, as in `track.source`. From the first call on, an import under this name is a new one.
Afterwards every table is as if the import had never been: sessions, journeys, sums, sets, interactions and enrolments
follow in the same transaction, and people, items and types of events that nothing else names are deleted. What stays
is what is not recorded by source: traits, links between names and decisions of Segment's messages; hashes of ids of
messages that are packed already, without a person; and names that a model, a table of the application or an
administrator uses. A parent is left out that the messages that are left tell, and that would form a cycle; an item that
they name as the parent of an item with another parent is deleted, too. The kind of an item in which the application
enrols people is the one that is still stated, or else course.
Events of people whose data is restricted stay (`kept_event_count`); a call after the restriction deletes them.
Models follow with their next training. Messages wait while a step runs.
Errors: CF002 for an unknown name, with the nearest one; CF001 for `default` and unless `most_events` is from 1 to
100,000; CF005 for the source of an application; 25001 in a transaction of another level than read committed.
$$;

grant execute on function track.forget_import(text, int) to insights_admin;
--! EndIncluded track/imports/forget_import.sql

-- from track/policies.sql
grant select on track.write_key_log, track.refusal_sample, track.name_log, track.forgotten_import,
  track.forgotten_item, track.imported_item
to insights_admin;
drop policy if exists all_rows on track.imported_item;
create policy all_rows on track.imported_item for select using (true);

-- from track/data_map.sql
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
    (
      'track', 'imported_item', '{kind,title,url}',
      'Structure of courses, as the file of an import states it without a person.'
    ),
    ('track', 'forgotten_import', '{name,event_types}', 'Name of an importer, and keys of types of events.'),
    ('track', 'stale', '{stale_id}', 'Random keys.'),
    ('track', 'stale_course', '{stale_id}', 'Random keys.'),
    ('track', 'changed', '{changed_id}', 'Random keys.'),
    ('track', 'changed', '{consumer}', 'Names of functions, tables or tasks of the installation.'),
    (
      'track', 'consumer', '{consumer,refresh,inputs,description,reads_set,incomplete_sets,forget_function}',
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

--! Included analytics/functions/_shown_mean.sql
create or replace function analytics._shown_mean(
  figure float8, people bigint, smallest_group int, mean float8 default null
)
returns float8
language sql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select case
    when coalesce(smallest_group, 1) = 1 or figure is null then figure
    -- HESA: averages of 7 or fewer, percentages of fewer than 22.5 people, where numbers are rounded to 5.
    when people >= case when mean is null then 1.5 else 4.5 end * smallest_group
      then coalesce(floor(figure / unit.size + 0.5) * unit.size, 0)
  end
  from (
    select analytics._power_of_two(smallest_group * abs(coalesce(mean, figure)) / nullif(people, 0)) as size
  ) as unit;
$$;

comment on function analytics._shown_mean(float8, bigint, int, float8) is $$
Returns a mean over a group of people as analysts see it, or a quartile when the `mean` is given too.
Rounded to a multiple of `smallest_group` / `people` of the mean, rounded up to a power of two: as precise as a sum by
`analytics._shown`. Null for fewer than 1.5 times `smallest_group` people, and a quartile for fewer than 4.5 times as
many: with 5, the limits of HESA for averages (7 or fewer) and percentages (fewer than 22.5). A `smallest_group` of 1
or null shows exact figures. A figure that is null, such as a mean of nothing, stays null.
$$;

grant execute on function analytics._shown_mean(float8, bigint, int, float8) to insights_reader;
--! EndIncluded analytics/functions/_shown_mean.sql

--! Included analytics/functions/_shown_time.sql
create or replace function analytics._shown_time(
  figure interval, people bigint, smallest_group int, mean interval default null
)
returns interval
language sql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select case
    when coalesce(smallest_group, 1) = 1 then figure
    else justify_hours(make_interval(
      secs => analytics._shown_mean(
        extract(epoch from figure)::float8, people, smallest_group, extract(epoch from mean)::float8
      )
    ))
  end;
$$;

comment on function analytics._shown_time(interval, bigint, int, interval) is $$
Returns a mean time, or a quartile when the `mean` is given too, as analysts see it: see `analytics._shown_mean`.
$$;

grant execute on function analytics._shown_time(interval, bigint, int, interval) to insights_reader;
--! EndIncluded analytics/functions/_shown_time.sql

--! Included analytics/funnels/_journeys.sql
create or replace function analytics._journeys(
  event_types int[],
  with_any boolean,
  with_items boolean,
  since timestamptz,
  until timestamptz,
  people bigint[] default null
)
returns table (
  person_id bigint, event_type_id int, is_automatic boolean, occurred_at timestamptz[], item_ids int[]
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the period.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_first_day constant date := (_journeys.since at time zone 'UTC')::date;
  v_end_day constant date := (_journeys.until at time zone 'UTC')::date + 1;
  v_queued record;
begin
  v_queued := track.queued_days(v_first_day, v_end_day, _journeys.people);
  if v_queued.people is null then
    -- The whole list where it is within the period.
    return query
    select
      step.person_id, step.event_type_id, step.is_automatic,
      case
        when step.occurred_at[1] >= _journeys.since
          and step.occurred_at[cardinality(step.occurred_at)] < _journeys.until
          then step.occurred_at
        else step.occurred_at[
          width_bucket(_journeys.since - interval '1 microsecond', step.occurred_at) + 1
          :width_bucket(_journeys.until - interval '1 microsecond', step.occurred_at)
        ]
      end,
      case
        when not _journeys.with_items then null
        when step.occurred_at[1] >= _journeys.since
          and step.occurred_at[cardinality(step.occurred_at)] < _journeys.until
          then step.item_ids
        else step.item_ids[
          width_bucket(_journeys.since - interval '1 microsecond', step.occurred_at) + 1
          :width_bucket(_journeys.until - interval '1 microsecond', step.occurred_at)
        ]
      end
    from track.step
    where (step.event_type_id = any (_journeys.event_types) or _journeys.with_any and not step.is_automatic)
      and step.person_id <> 0
      and (_journeys.people is null or step.person_id = any (_journeys.people))
      and step.since > v_first_day - 366
      and step.since < v_end_day
      and step.occurred_at[1] < _journeys.until
      and step.occurred_at[cardinality(step.occurred_at)] >= _journeys.since;
    return;
  end if;

  return query
  with queued as materialized (
    select
      entry.person_id,
      greatest(entry.first_day::timestamp at time zone 'UTC', _journeys.since) as since,
      least(entry.end_day::timestamp at time zone 'UTC', _journeys.until) as until
    from unnest(v_queued.people, v_queued.first_days, v_queued.end_days) as entry (person_id, first_day, end_day)
  )

  select
    kept.person_id, kept.event_type_id, kept.is_automatic,
    step.occurred_at[kept.first_place + 1:kept.end_place], step.item_ids[kept.first_place + 1:kept.end_place]
  from track.step
  left join queued on queued.person_id = step.person_id
  cross join lateral (
    select
      width_bucket(_journeys.since - interval '1 microsecond', step.occurred_at) as since,
      width_bucket(queued.since - interval '1 microsecond', step.occurred_at) as queued_since,
      width_bucket(queued.until - interval '1 microsecond', step.occurred_at) as queued_until,
      width_bucket(_journeys.until - interval '1 microsecond', step.occurred_at) as until
  ) as place
  -- In two parts where those between them are queued.
  cross join lateral (
    values
      (
        step.person_id, step.event_type_id, step.is_automatic, place.since, coalesce(place.queued_since, place.until)
      ),
      (step.person_id, step.event_type_id, step.is_automatic, coalesce(place.queued_until, place.until), place.until)
  ) as kept (person_id, event_type_id, is_automatic, first_place, end_place)
  where (step.event_type_id = any (_journeys.event_types) or _journeys.with_any and not step.is_automatic)
    and step.person_id <> 0
    and (_journeys.people is null or step.person_id = any (_journeys.people))
    and step.since > v_first_day - 366
    and step.since < v_end_day
    and kept.first_place < kept.end_place

  union all

  select
    happened.person_id, happened.event_type_id, happened.is_automatic,
    array_agg(happened.occurred_at order by happened.occurred_at, happened.item_id),
    array_agg(happened.item_id order by happened.occurred_at, happened.item_id)
  from (
    select
      event.person_id, event.event_type_id, event.occurred_at, coalesce(event.item_id, 0)::int as item_id,
      event_type.is_automatic or source.is_automatic as is_automatic
    from queued
    join track.event
      on event.person_id = queued.person_id
      and event.occurred_at >= queued.since
      and event.occurred_at < queued.until
    join track.event_type on event_type.event_type_id = event.event_type_id
    join track.source on source.source_id = event.source_id
    where event.person_id <> 0
  ) as happened
  where happened.event_type_id = any (_journeys.event_types)
    or _journeys.with_any and not happened.is_automatic
  group by happened.person_id, happened.event_type_id, happened.is_automatic;
end;
$$;

comment on function analytics._journeys(int[], boolean, boolean, timestamptz, timestamptz, bigint[]) is $$
Returns the times and items of events of people in a period, with the privileges of the caller.
Of these event types, and `with_any` of all events that are not automatic; without person 0. `people`: of these only;
null: of all. A person and event type
can have several rows, in each of which the times ascend, and which can be empty. `item_ids`: 0 for events that name
none; null unless `with_items`. The events of people who are queued for a refresh are included.
$$;

grant execute on function analytics._journeys(int[], boolean, boolean, timestamptz, timestamptz, bigint[])
to insights_reader;
--! EndIncluded analytics/funnels/_journeys.sql

--! Included analytics/funnels/_valued_journeys.sql
create or replace function analytics._valued_journeys(
  event_types int[],
  properties int[],
  with_any boolean,
  since timestamptz,
  until timestamptz,
  people bigint[] default null
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
    step.person_id, step.event_type_id, step.is_automatic,
    case when slice.is_whole then step.occurred_at else step.occurred_at[slice.before + 1:slice.until] end,
    case when slice.is_whole then step.item_ids else step.item_ids[slice.before + 1:slice.until] end,
    case
      when declared.property_id is null then null
      when step_value.value_ids is null then array_fill(0, array[slice.until - slice.before])
      when slice.is_whole then step_value.value_ids
      else step_value.value_ids[slice.before + 1:slice.until]
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
      place.before, place.until, place.before = 0 and place.until = cardinality(step.occurred_at) as is_whole
    from (
      select
        width_bucket(_valued_journeys.since - interval '1 microsecond', step.occurred_at) as before,
        width_bucket(_valued_journeys.until - interval '1 microsecond', step.occurred_at) as until
      offset 0
    ) as place
  ) as slice
  where (step.event_type_id = any (_valued_journeys.event_types) or _valued_journeys.with_any and not step.is_automatic)
    and step.person_id <> 0
    and (_valued_journeys.people is null or step.person_id = any (_valued_journeys.people))
    and step.since > v_first_day - 366
    and step.since < v_end_day
    and slice.before < slice.until;
end;
$$;

comment on function analytics._valued_journeys(int[], int[], boolean, timestamptz, timestamptz, bigint[]) is $$
Returns the times, items and values of events of people in a period as of the last refresh, with the caller's rights.
Of these event types, and `with_any` of all events that are not automatic; without person 0. `properties`: the declared
property of each of the types, null for none. `value_ids`: for these, as in `track.step_value`; else null.
A person and event type can have several rows, in each of which the times ascend.
$$;

grant execute on function analytics._valued_journeys(int[], int[], boolean, timestamptz, timestamptz, bigint[])
to insights_reader;
--! EndIncluded analytics/funnels/_valued_journeys.sql

--! Included analytics/funnels/_search_statement.sql
create or replace function analytics._search_uses(
  filters analytics.step_filter[], number int, only_visible boolean
)
returns text
language sql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select format(
    $query$
      select used.at
      from (select unnest(%s) as at, unnest(%s) as item_id, unnest(%s) as value_id) as used
      where %s$query$,
    format(list.times, 'occurred_at'),
    case when filters[number].items is null then $query$'{}'::int[]$query$ else format(list.times, 'item_ids') end,
    case when filters[number].property is null then $query$'{}'::int[]$query$ else format(list.times, 'value_ids') end,
    analytics._step_condition(filters, number, only_visible, false)
  )
  from (
    select format(
      $query$analytics._concatenated(journey.%%s order by journey.person_id, journey.first_at)
        filter (where journey.event_type_id = %s)$query$,
      filters[number].event_type_id
    ) as times
  ) as list
$$;

comment on function analytics._search_uses(analytics.step_filter[], int, boolean) is $$
Returns the query of the events by which a person did a step with a condition, for `analytics._search_statement`.
$$;

grant execute on function analytics._search_uses(analytics.step_filter[], int, boolean) to insights_reader;

create or replace function analytics._search_times(
  filters analytics.step_filter[], number int, only_visible boolean
)
returns text
language sql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select case
    when analytics._step_condition(filters, number, only_visible, false) is not null
      then format('array(%s order by 1)', analytics._search_uses(filters, number, only_visible))
    -- The times are in order already, unless some events of the type are automatic and others are not.
    else format(
      $query$
      case
        when bit_or(journey.mark) & %1$s <> %1$s then %2$s
        else array(select unnest(%2$s) order by 1)
      end$query$,
      3::bigint << (2 * number - 2),
      format(
        $query$analytics._concatenated(journey.occurred_at order by journey.person_id, journey.first_at)
        filter (where journey.event_type_id = %s)$query$,
        filters[number].event_type_id
      )
    )
  end
$$;

comment on function analytics._search_times(analytics.step_filter[], int, boolean) is $$
Returns the expression of the times at which a person did a step, or an exclusion, for `analytics._search_statement`.
$$;

grant execute on function analytics._search_times(analytics.step_filter[], int, boolean) to insights_reader;

create or replace function analytics._search_mark(filters analytics.step_filter[])
returns text
language sql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select format(
    'case journey.event_type_id%s else 0 end << journey.is_automatic::int',
    string_agg(
      format(' when %s then %s::bigint', filter.event_type_id, 1::bigint << (2 * filter.ordinality::int - 2)),
      '' order by filter.ordinality
    )
  )
  from unnest(filters) with ordinality as filter
$$;

comment on function analytics._search_mark(analytics.step_filter[]) is $$
Returns the expression of the mark of a journey: two bits per step or exclusion, the second one of automatic events.
$$;

grant execute on function analytics._search_mark(analytics.step_filter[]) to insights_reader;

create or replace function analytics._search_exclusions(filters analytics.step_filter[], step int)
returns text
language sql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select string_agg(
    format(
      'select used.at from unnest(attempt.at%s) as used (at) where %s',
      excluded.number,
      (
        select string_agg(
          format('used.at is distinct from attempt.at%1$s[width_bucket(used.at, attempt.at%1$s)]', other.number),
          ' and ' order by other.number
        )
        from generate_series(1, cardinality(filters)) as other (number)
        where not filters[other.number].is_exclusion
          or filters[other.number].first_step <> filters[excluded.number].first_step
          or filters[other.number].last_step <> filters[excluded.number].last_step
      )
    ),
    ' union all ' order by excluded.number
  )
  from generate_series(1, cardinality(filters)) as excluded (number)
  where filters[excluded.number].is_exclusion
    and filters[excluded.number].first_step < step
    and filters[excluded.number].last_step >= step
$$;

comment on function analytics._search_exclusions(analytics.step_filter[], int) is $$
Returns the query of the events that keep an attempt from a step, for `analytics._search_statement`; null: none.
An excluded event at the time of another event, which is not of the same exclusion, does not count.
$$;

grant execute on function analytics._search_exclusions(analytics.step_filter[], int) to insights_reader;

create or replace function analytics._search_list(step int)
returns text
language sql
immutable
parallel safe
return case when step = 1 then 'entered' else 'at' || step::text end;

comment on function analytics._search_list(int) is $$
Returns the name of the list of the times of a step; of the first step those that begin an attempt of the bucket.
$$;

grant execute on function analytics._search_list(int) to insights_reader;

create or replace function analytics._search_first(step int, start text)
returns text
language sql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select case
    when step = 1 then start
    else format(
      $query$level_%1$s.at[width_bucket(%2$s - interval '1 microsecond', level_%1$s.start) + 1]$query$, step, start
    )
  end
$$;

comment on function analytics._search_first(int, text) is $$
Returns the expression of the time at which the attempt that began at `start` reached a step.
$$;

grant execute on function analytics._search_first(int, text) to insights_reader;

create or replace function analytics._search_only(times text, earlier text, later text)
returns text
language sql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select format(
    'width_bucket(%3$s, attempt.every) - width_bucket(%2$s, attempt.every)'
      || ' = width_bucket(%3$s, attempt.%1$s) - width_bucket(%2$s, attempt.%1$s)',
    times, earlier, later
  )
$$;

comment on function analytics._search_only(text, text, text) is $$
Returns the condition that all events after `earlier`, until `later`, are in a list of times.
With ` + 1` after it: all but one.
$$;

grant execute on function analytics._search_only(text, text, text) to insights_reader;

create or replace function analytics._search_best(filters analytics.step_filter[], step int)
returns text
language sql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select case
    when analytics._search_exclusions(filters, step + 1) is null then format('level_%s.start[1]', step)
    else format(
      $query$(
        select min(former.start)
        from unnest(level_%1$s.start) as former (start)
        cross join lateral (select %2$s as at offset 0) as done
        cross join lateral (
          select excluded_%3$s.at[width_bucket(done.at, excluded_%3$s.at) + 1] as at offset 0
        ) as excluded
        where (excluded.at <= former.start + $6) is not true
      )$query$,
      step, analytics._search_first(step, 'former.start'), step + 1
    )
  end
$$;

comment on function analytics._search_best(analytics.step_filter[], int) is $$
Returns the expression of the start of the earliest attempt that has reached a step without meeting an exclusion.
It meets none after this step either.
$$;

grant execute on function analytics._search_best(analytics.step_filter[], int) to insights_reader;

create or replace function analytics._search_level(
  filters analytics.step_filter[], step int, is_strict boolean, is_plain boolean
)
returns text
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_previous constant int := step - 1;
  v_excluded constant text := analytics._search_exclusions(filters, step);
  v_is_excluded constant text := case
    when v_excluded is null then 'false'
    else format(
      'coalesce(excluded_%1$s.at[width_bucket(next.at, excluded_%1$s.at)] > %2$s, false)',
      step, analytics._search_first(v_previous, 'former.start')
    )
  end;
  v_later text := 'next.at';
  v_earlier text;
  v_only text := '';
  v_source text;
begin
  if filters[v_previous].is_optional then
    -- The closest step before it that an attempt has reached, in whose window the event is.
    v_source := format(
      $query$
      select next.at, former.start, false as is_excluded
      from (select unnest(attempt.at%s) as at) as next
      cross join lateral (select case%s end as start offset 0) as former
      where former.start is not null$query$,
      step,
      (
        select string_agg(
          format(
            $query$ when next.at <= level_%1$s.start[width_bucket(next.at, level_%1$s.at)] + $6
              then level_%1$s.start[width_bucket(next.at, level_%1$s.at)]$query$,
            earlier.number
          ),
          '' order by earlier.number desc
        )
        from generate_series(1, v_previous) as earlier (number)
        where not exists (
          select
          from generate_series(earlier.number + 1, v_previous) as later (number)
          where not filters[later.number].is_optional
        )
      )
    );
  elsif is_plain then
    -- From an event to the latest one of the step before it, and so on: the latest possible start. The first event with
    -- a start in the window is enough, and usually it is the first one after the step before it.
    for v_number in reverse v_previous .. 1 loop
      v_earlier := format(
        'attempt.%2$s[width_bucket(%1$s, attempt.%2$s)]', v_later, analytics._search_list(v_number)
      );
      if is_strict then
        v_only := v_only || ' and ' || analytics._search_only('at' || v_number + 1, v_earlier, v_later);
      end if;
      v_later := v_earlier;
    end loop;
    v_only := format('next.at <= %s + $6%s', v_later, v_only);
    return format(
      $query$
      cross join lateral (
        select place.at, %3$s as start, place.at is not null as is_reached
        from (
          select
            case
              when %4$s then first.at
              when first.at is not null then (
                select next.at
                from (select unnest(attempt.at%1$s[first.number + 1:]) as at) as next
                where %5$s
                limit 1
              )
            end as at
          from (
            select attempt.at%1$s[after.number] as at, after.number
            from (select width_bucket(%2$s - interval '1 microsecond', attempt.at%1$s) + 1 as number offset 0) as after
            offset 0
          ) as first
          offset 0
        ) as place
      ) as level_%1$s$query$,
      step, case when step = 2 then 'attempt.entered[1]' else format('level_%s.at', v_previous) end,
      replace(v_later, 'next.at', 'place.at'), replace(v_only, 'next.at', 'first.at'), v_only
    );
  else
    v_source := format(
      $query$
      select next.at, former.start, %3$s as is_excluded
      from (select unnest(attempt.at%2$s) as at) as next
      cross join lateral (
        select
          level_%1$s.at[width_bucket(next.at, level_%1$s.at)] as at,
          level_%1$s.start[width_bucket(next.at, level_%1$s.at)] as start
      ) as former
      where next.at <= former.start + $6%4$s$query$,
      v_previous, step, v_is_excluded,
      case
        when is_strict
          then format(' and %s + 1', analytics._search_only(analytics._search_list(v_previous), 'former.at', 'next.at'))
        else ''
      end
    );
  end if;

  -- In a strict funnel, those that follow an attempt directly: they count against each attempt in the window of which
  -- they are.
  return case
    when v_excluded is not null then format(
      ' cross join lateral (select array(select used.at from (%s) as used%s order by 1) as at) as excluded_%s',
      v_excluded,
      case
        when is_strict then format(
          ' where %s + 1',
          analytics._search_only(
            analytics._search_list(v_previous),
            format('level_%1$s.at[width_bucket(used.at, level_%1$s.at)]', v_previous), 'used.at'
          )
        )
        else ''
      end,
      step
    )
    else ''
  end || format(
    $query$
    cross join lateral (
      select
        array_agg(done.at order by done.at)%2$s as at, array_agg(done.start order by done.at)%2$s as start,
        count(*) > 0 as is_reached
      from (%3$s) as done
    ) as level_%1$s$query$,
    step,
    case when v_excluded is not null then ' filter (where not done.is_excluded)' else '' end,
    v_source
  );
end;
$$;

comment on function analytics._search_level(analytics.step_filter[], int, boolean, boolean) is $$
Returns the part of `analytics._search_statement` that finds the attempts of a person that have reached a step.
`is_plain`: without optional steps and exclusions, where the first one is enough.
$$;

grant execute on function analytics._search_level(analytics.step_filter[], int, boolean, boolean) to insights_reader;

create or replace function analytics._search_listed(
  filters analytics.step_filter[], step_count int, only_visible boolean
)
returns text
language sql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select format(
    $query$
    -- Read twice: events of one time count in the order of the steps, and automatic ones are not in the list of all
    -- events. People with such steps are walked: those with another event at the time of a step, or of one of as many
    -- events before it.
    listed as materialized (
      select
        seen.*,
        seen.has_automatic or exists (
          select
          from unnest(%1$s) as hit (at)
          cross join lateral (select width_bucket(hit.at, seen.every) as number offset 0) as place
          where %2$s
        ) as is_walked
      from (
        select journey.person_id, journey.has_automatic, %3$s as every%4$s
        from journey
        where cardinality(journey.at1) > 0
        offset 0
      ) as seen
    ),$query$,
    string_agg(format('seen.at%s', number), ' || ' order by number) filter (where number > 1),
    (
      select
        string_agg(
          format('seen.every[place.number - %s] = seen.every[place.number - %s]', distance, distance - 1),
          ' or ' order by distance
        )
      from generate_series(0, step_count) as distance
    ),
    case
      when only_visible then format(
        $query$array(
          select used.at
          from unnest(journey.every) as used (at)
          where used.at <@ ($3)[cardinality($1) + 1]%s
          order by 1
        )$query$,
        string_agg(
          format(' or journey.at%1$s[width_bucket(used.at, journey.at%1$s)] = used.at', number), '' order by number
        )
      )
      else 'journey.every'
    end,
    string_agg(format(', journey.at%s', number), '' order by number)
  )
  from generate_series(1, cardinality(filters)) as number
$$;

comment on function analytics._search_listed(analytics.step_filter[], int, boolean) is $$
Returns the CTE `listed` of `analytics._search_statement`: people with the times of all their events (`every`).
$$;

grant execute on function analytics._search_listed(analytics.step_filter[], int, boolean) to insights_reader;

/*
 * `at1`, `at2`, …: the times of each step, and after them of each exclusion. `entered`: those of the first step that
 * begin an attempt. `level_1`, `level_2`, …: the events by which attempts have reached a step, with their times (`at`)
 * and the times of the first step of the attempt (`start`). Both ascend: an event of a level that is later has no
 * earlier start. Each level is found from those before it by binary search; without optional steps and exclusions,
 * only its first event, from the lists alone. `excluded_2`, …: the times of events that keep an attempt from this step.
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
  v_types constant text := format(
    '%L::int[]', array(select filter.event_type_id from unnest(filters) as filter)
  );
  v_with_optional constant boolean := exists (select from unnest(filters) as filter where filter.is_optional);
  v_is_plain constant boolean := not v_with_optional and step_count = cardinality(filters);
  v_lists text := '';
  v_levels text := '';
  v_reached text := '';
  v_start text := '';
  v_times text := '';
  v_time text;
begin
  for v_number in 1 .. cardinality(filters) loop
    v_lists := v_lists || format(
      ', %s as at%s', analytics._search_times(filters, v_number, only_visible), v_number
    );
  end loop;
  for v_number in 1 .. step_count loop
    if v_number > 1 then
      v_levels := v_levels || analytics._search_level(filters, v_number, is_strict, v_is_plain);
    end if;
    v_reached := format(' when level_%1$s.is_reached then %1$s', v_number) || v_reached;
    v_start := format(
      ' when level_%s.is_reached then %s', v_number,
      case
        when v_is_plain and v_number > 1 then format('level_%s.start', v_number)
        else analytics._search_best(filters, v_number)
      end
    ) || v_start;
    v_time := analytics._search_first(v_number, 'furthest.start');
    if v_is_plain and v_number > 1 then
      v_time := format(
        $query$
        case
          when furthest.reached >= %1$s
            then attempt.at%1$s[width_bucket(time_%2$s.at - interval '1 microsecond', attempt.at%1$s) + 1]
        end$query$,
        v_number, v_number - 1
      );
    elsif v_with_optional and v_number > 1 then
      -- A step that the attempt did after the next one is not one of its steps.
      v_time := format(
        $query$
        case
          when level_%1$s.start[width_bucket(furthest.start, level_%1$s.start)] = furthest.start
            and (%2$s <= coalesce(null::timestamptz%3$s)) is not false
            then %2$s
        end$query$,
        v_number, v_time,
        (
          select string_agg(format(', time_%s.at', later), '' order by later)
          from generate_series(v_number + 1, step_count) as later
        )
      );
    end if;
    v_time := format(' cross join lateral (select %s as at offset 0) as time_%s', v_time, v_number);
    v_times := case when v_is_plain then v_times || v_time else v_time || v_times end;
  end loop;

  return format(
    $query$
    with member as materialized (
      select entry.block, entry.people from unnest($4, $5) as entry (block, people)
    ),

    -- Sorted once, for all lists of times.
    journey as (
      select journey.person_id%1$s
      from (
        select
          journey.person_id, journey.event_type_id, journey.is_automatic, journey.occurred_at, journey.item_ids%2$s,
          journey.occurred_at[1] as first_at, %11$s as mark
        from %3$s as journey
        join member
          on member.block = journey.person_id / 4096
          and get_bit(member.people, (journey.person_id %% 4096)::int) <> 0
      ) as journey
      group by journey.person_id
      having bit_or(journey.mark) & 3 <> 0%12$s
    ),

    %4$s

    attempt as (
      %5$s
    )

    select attempt.person_id, attempt.bucket, null::text, furthest.reached, array[%6$s]
    from attempt
    cross join lateral (select attempt.entered as at, attempt.entered as start, true as is_reached) as level_1%7$s
    cross join lateral (select case%8$s end as reached, case%9$s end as start) as furthest%10$s
    where furthest.start is not null
    $query$,
    v_lists || case
      when is_strict then format(
        $query$,
        array(
          select unnest(
            analytics._concatenated(journey.occurred_at order by journey.person_id, journey.first_at)
              filter (where not journey.is_automatic)
          )
          order by 1
        ) as every,
        bit_or(journey.mark) & %s <> 0 as has_automatic$query$,
        (select sum(2::bigint << (2 * number - 2)) from generate_series(1, cardinality(filters)) as number)
      )
      else ''
    end,
    case when by_values then ', journey.value_ids' else '' end,
    case
      when by_values
        then format('analytics._valued_journeys($7, $11, %L, ($2)[1], ($2)[cardinality($2)])', is_strict)
      else format(
        'analytics._journeys(%s, %L, %L, ($2)[1], ($2)[cardinality($2)])',
        v_types, is_strict, exists (select from unnest(filters) as filter where filter.items is not null)
      )
    end,
    case when is_strict then analytics._search_listed(filters, step_count, only_visible) else '' end,
    format(
      case
        when by_bucket then $query$
          select journey.*, part.bucket, part.entered
          from %1$s as journey
          cross join lateral (
            select entered.bucket, array_agg(entered.at order by entered.at) as entered
            from (
              select width_bucket(used.at, $2) as bucket, used.at
              from unnest(journey.at1) as used (at)
            ) as entered
            group by entered.bucket
          ) as part
          where %2$s
          offset 0$query$
        else 'select journey.*, 1 as bucket, journey.at1 as entered from %1$s as journey where %2$s offset 0'
      end,
      case when is_strict then 'listed' else 'journey' end,
      case when is_strict then 'not journey.is_walked' else 'cardinality(journey.at1) > 0' end
    ),
    array_to_string(array(select format('time_%s.at', number) from generate_series(1, step_count) as number), ', '),
    v_levels, v_reached, v_start, v_times, analytics._search_mark(filters),
    -- Few people did the first step with an item: the lists of the others are not computed.
    case
      when filters[1].items is not null or filters[1].property is not null
        then format(' and exists (%s)', analytics._search_uses(filters, 1, only_visible))
    end
  );
end;
$$;

comment on function analytics._search_statement(
  analytics.step_filter[], int, boolean, boolean, boolean, boolean
) is $$
Returns the statement that finds the attempts of people in an ordered or strict funnel of different events.
By binary search; see `analytics._funnel_attempts`. `by_bucket`: one attempt per person and bucket of its start.
`by_values`: properties are read, from the journeys. In a strict funnel it leaves out the people of its CTE `listed`
that are `is_walked`.
$$;

grant execute on function analytics._search_statement(
  analytics.step_filter[], int, boolean, boolean, boolean, boolean
)
to insights_reader;
--! EndIncluded analytics/funnels/_search_statement.sql

--! Included analytics/funnels/_funnel_attempts.sql
/* Times of one event by person: a row per person, with the times in order. */
create or replace aggregate analytics._concatenated(anycompatiblearray) (
  sfunc = array_cat,
  stype = anycompatiblearray,
  parallel = safe
);

comment on aggregate analytics._concatenated(anycompatiblearray) is $$Returns the arrays of a group as one.$$;

grant execute on function analytics._concatenated(anycompatiblearray) to insights_reader;

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
      select journey.person_id, known.at, used.value_id
      from analytics._valued_journeys($7, $11, false, ($2)[1], ($2)[cardinality($2)]) as journey
      join unnest($4, $5) as entry (block, people)
        on entry.block = journey.person_id / 4096
        and get_bit(entry.people, (journey.person_id %% 4096)::int) <> 0
      -- Usually it is the event at the end of the list. There can be several events of its time.
      cross join lateral (
        select
          case
            when %1$s and journey.value_ids[%2$s] > 0 then journey.occurred_at[%2$s]
            else (
              select %3$s
              from (
                select
                  unnest(journey.occurred_at) as at, unnest(journey.item_ids) as item_id,
                  unnest(journey.value_ids) as value_id
              ) as used
              where used.value_id > 0
                and case journey.event_type_id %4$s else false end
              limit 1
            )
          end as at
        offset 0
      ) as known
      cross join lateral (
        select
          width_bucket(known.at - interval '1 microsecond', journey.occurred_at) + 1 as first,
          width_bucket(known.at, journey.occurred_at) as last
        offset 0
      ) as place
      cross join lateral (
        select
          known.at, unnest(journey.item_ids[place.first:place.last]) as item_id,
          unnest(journey.value_ids[place.first:place.last]) as value_id
      ) as used
      where used.value_id > 0
        and case journey.event_type_id %4$s else false end
    ) as touched
    join track.property_value on property_value.value_id = touched.value_id
    order by touched.person_id, touched.at %5$s, property_value.value
    $query$,
    case when bool_and(filter.condition is null) then 'true' else 'false' end,
    case when attribution = 'last_touch' then 'cardinality(journey.occurred_at)' else '1' end,
    case when attribution = 'last_touch' then 'max(used.at)' else 'used.at' end,
    string_agg(
      format('when %s then %s', filter.event_type_id, coalesce(filter.condition, 'true')), ' ' order by filter.number
    ),
    case when attribution = 'last_touch' then 'desc' else '' end
  )
  from (
    select
      entry.event_type_id, entry.ordinality as number,
      analytics._step_condition(filters, entry.ordinality::int, only_visible, false) as condition
    from unnest(filters) with ordinality as entry
    where not entry.is_exclusion
  ) as filter
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
  people text,
  by_bucket boolean,
  only_visible boolean
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
          when v_filter.event_type_id = 0 then 'not used.is_automatic'
          else format('used.event_type_id = %s', v_filter.event_type_id)
        end,
        analytics._step_condition(filters, v_number, only_visible, source in ('events', 'listed'))
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
      from analytics._journeys($7, $8, true, ($2)[1], ($2)[cardinality($2)], $query$ || people || $query$) as journey
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
      from analytics._valued_journeys($7, $11, $8, ($2)[1], ($2)[cardinality($2)], $query$ || people || $query$)
        as journey
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
    with member as materialized (
      select entry.block, entry.people from unnest($4, $5) as entry (block, people)
    ),

    hit as (
      select used.person_id, used.at, used.steps, used.exclusions, used.value
      from (
        select used.person_id, used.at, used.value, used.is_automatic, %1$s as steps, %2$s as exclusions
        from (%3$s) as used
      ) as used
      where used.steps <> 0
        or used.exclusions <> 0
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
      when only_visible then 'not used.is_automatic and used.at <@ ($3)[cardinality($1) + 1]'
      else 'not used.is_automatic'
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
    end
  );
end;
$$;

comment on function analytics._walk_statement(
  analytics.step_filter[], int, text, text, text, text, boolean, boolean
) is $$
Returns the statement that finds the attempts of people in any funnel, by walking through their events.
See `analytics._funnel_attempts`. `source`: `journeys`, `values` (journeys with properties), `events` (properties of
the events themselves), or `listed` (these, of the people $13). `by_bucket`: one attempt per person and bucket of its
start. `people`: the expression of a list of people, of whom only the journeys are read; `null`: of all.
$$;

grant execute on function analytics._walk_statement(
  analytics.step_filter[], int, text, text, text, text, boolean, boolean
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
  -- Where no event is two steps or exclusions.
  v_by_search constant boolean := step_order in ('ordered', 'strict')
    and v_source <> 'events'
    and (
      _funnel_attempts.property is null
      or not v_by_bucket and _funnel_attempts.attribution in ('first_touch', 'last_touch')
    )
    -- Without any event (0), and without both optional steps and exclusions.
    and cardinality(v_types) = cardinality(filters)
    and (v_optional = 0 or v_step_count = cardinality(filters));
  v_visible tstzmultirange[];
  v_blocks int[];
  v_people bit(4096)[];
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
        case when _funnel_attempts.property is not null then attribution end, 'null', v_by_bucket,
        v_visible is not null
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

  if v_by_search then
    v_statement :=
      analytics._search_statement(
        filters, v_step_count, step_order = 'strict', v_by_bucket, v_visible is not null,
        -- The values of a breakdown are read on their own.
        exists (select from unnest(filters) as filter where filter.property is not null)
      )
      || case
        when step_order = 'strict' then format(
          ' union all select walked.* from (%s) as walked',
          analytics._walk_statement(
            filters, v_step_count, step_order, v_source, null,
            'array(select listed.person_id from listed where listed.is_walked)', v_by_bucket, v_visible is not null
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
  else
    v_statement := analytics._walk_statement(
      filters, v_step_count, step_order, v_source,
      case when _funnel_attempts.property is not null then attribution end, 'null', v_by_bucket, v_visible is not null
    );
  end if;
  return query execute v_statement
  using filters, bounds, v_visible, v_blocks, v_people, conversion_window, v_types, v_with_any, v_optional,
    _funnel_attempts.property, v_properties, v_values, v_queued;
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

--! Included analytics/funnels/funnel.sql
create or replace function analytics._funnel(
  steps jsonb,
  since timestamptz,
  until timestamptz,
  step_order text,
  conversion_window interval,
  exclusions jsonb,
  item text,
  among text,
  breakdown text,
  attribution text,
  top_values int,
  smallest_group int
)
returns setof analytics.funnel_step
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set work_mem to '64MB'
as $$
declare
  v_days constant timestamptz[] := analytics._bounds('day', _funnel.since, _funnel.until, 'UTC');
  v_bounds constant timestamptz[] := array[v_days[1], v_days[cardinality(v_days)]];
  v_filters constant analytics.step_filter[] := analytics._funnel_steps(
    _funnel.steps, _funnel.exclusions, _funnel.step_order, _funnel.item
  );
  v_window constant interval := analytics._conversion_window(_funnel.conversion_window);
begin
  return query
  with attempt as materialized (
    select * from analytics._attempts_by_value(
      v_filters, v_bounds, _funnel.step_order, v_window, _funnel.among, _funnel.breakdown, _funnel.attribution,
      _funnel.top_values, _funnel.smallest_group
    )
  ),

  step as (
    select
      filter.first_step as number, filter.event, filter.item, filter.is_optional,
      -- The steps before and after it that are not optional.
      max(filter.first_step) filter (where not filter.is_optional) over (
        order by filter.first_step rows between unbounded preceding and 1 preceding
      ) as previous,
      min(filter.first_step) filter (where not filter.is_optional) over (
        order by filter.first_step rows between 1 following and unbounded following
      ) as next
    from unnest(v_filters) as filter
    where not filter.is_exclusion
  ),

  -- Times in seconds, which are sorted faster than intervals.
  done as (
    select
      attempt.value, attempt.is_other, step.number,
      attempt.times[step.next] is null
        and attempt.times[1] + v_window > least(v_bounds[2], now())
        and step.next is not null as is_open,
      date_part('epoch', attempt.times[step.number] - attempt.times[step.previous]) as time,
      case when step.number > 1 then date_part('epoch', attempt.times[step.number] - attempt.times[1]) end as total_time
    from attempt
    join step on attempt.times[step.number] is not null
    offset 0
  ),

  counted as (
    select
      done.value, done.is_other, done.number,
      count(*) as person_count,
      count(*) filter (where done.is_open) as open_count,
      justify_hours(make_interval(secs => avg(done.time))) as mean_time,
      justify_hours(make_interval(secs => percentile_cont(0.5) within group (order by done.time))) as median_time,
      justify_hours(make_interval(secs => percentile_cont(0.5) within group (order by done.total_time)))
        as total_time
    from done
    group by done.value, done.is_other, done.number
  ),

  shown as (
    select
      keys.value, keys.is_other, step.*,
      coalesce(
        analytics._shown(counted.person_count, counted.person_count, _funnel.smallest_group), 0
      )::bigint as person_count,
      coalesce(
        analytics._shown(counted.open_count, counted.open_count, _funnel.smallest_group), 0
      )::bigint as open_count,
      analytics._shown_time(counted.mean_time, counted.person_count, _funnel.smallest_group) as mean_time,
      analytics._shown_time(
        counted.median_time, counted.person_count, _funnel.smallest_group, counted.median_time
      ) as median_time,
      analytics._shown_time(
        counted.total_time, counted.person_count, _funnel.smallest_group, counted.total_time
      ) as total_time
    from (
      select distinct counted.value, counted.is_other from counted where _funnel.breakdown is not null
      union all
      select null, false where _funnel.breakdown is null
    ) as keys
    cross join step
    left join counted
      on counted.value is not distinct from keys.value
      and counted.is_other = keys.is_other
      and counted.number = step.number
  )

  select
    shown.value,
    shown.is_other,
    shown.number,
    case when _funnel.step_order <> 'unordered' then shown.event end,
    case when _funnel.step_order <> 'unordered' then shown.item end,
    shown.is_optional,
    shown.person_count,
    shown.person_count::float8 / nullif(entered.person_count, 0),
    shown.person_count::float8 / nullif(earlier.person_count, 0),
    case when later.number is not null then greatest(shown.person_count - later.person_count, 0) end,
    case when shown.next is not null then shown.open_count end,
    shown.mean_time,
    shown.median_time,
    case when shown.number > 1 then shown.total_time end
  from shown
  join shown as entered
    on entered.value is not distinct from shown.value
    and entered.is_other = shown.is_other
    and entered.number = 1
  left join shown as earlier
    on earlier.value is not distinct from shown.value
    and earlier.is_other = shown.is_other
    and earlier.number = shown.previous
  left join shown as later
    on later.value is not distinct from shown.value
    and later.is_other = shown.is_other
    and later.number = shown.next
    and not shown.is_optional
  where _funnel.breakdown is null
    or entered.person_count > 0
  order by shown.is_other, shown.value is null, shown.value, shown.number;
end;
$$;

comment on function analytics._funnel(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, text, int, int
) is $$
Computes the result of `analytics.funnel`, with the privileges of the caller.
`smallest_group`: figures of groups of counted people (see `analytics._visible_periods` and `analytics._shown`);
null: exact figures of all people.
$$;

grant execute on function analytics._funnel(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, text, int, int
)
to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._funnel_exact(
  steps jsonb,
  since timestamptz,
  until timestamptz,
  step_order text,
  conversion_window interval,
  exclusions jsonb,
  item text,
  among text,
  breakdown text,
  attribution text,
  top_values int
)
returns setof analytics.funnel_step
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
  from analytics._funnel(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, null
  );
$$;

alter function analytics._funnel_exact(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, text, int
)
owner to insights_reader;

comment on function analytics._funnel_exact(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, text, int
) is $$
Returns the result of `analytics.funnel` with exact figures of all people, for admins and workers.
$$;

grant execute on function analytics._funnel_exact(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, text, int
)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._funnel_shown(
  steps jsonb,
  since timestamptz,
  until timestamptz,
  step_order text,
  conversion_window interval,
  exclusions jsonb,
  item text,
  among text,
  breakdown text,
  attribution text,
  top_values int
)
returns setof analytics.funnel_step
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
  from analytics._funnel(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._funnel_shown(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, text, int
)
owner to insights_reader;

comment on function analytics._funnel_shown(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, text, int
) is $$
Returns the result of `analytics.funnel` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._funnel_shown(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, text, int
)
to insights_analyst;

create or replace function analytics.funnel(
  steps jsonb,
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  step_order text default 'ordered',
  conversion_window interval default '14 days',
  exclusions jsonb default '[]',
  item text default null,
  among text default null,
  breakdown text default null,
  attribution text default 'first_touch',
  top_values int default 10
)
returns setof analytics.funnel_step
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._funnel_exact(jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, text, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._funnel_exact(
      funnel.steps, funnel.since, funnel.until, funnel.step_order, funnel.conversion_window, funnel.exclusions,
      funnel.item, funnel.among, funnel.breakdown, funnel.attribution, funnel.top_values
    );
  else
    return query
    select *
    from analytics._funnel_shown(
      funnel.steps, funnel.since, funnel.until, funnel.step_order, funnel.conversion_window, funnel.exclusions,
      funnel.item, funnel.among, funnel.breakdown, funnel.attribution, funnel.top_values
    );
  end if;
end;
$$;

comment on function analytics.funnel(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, text, int
) is $$
Returns how many people did each step of a funnel, and how long it took.
`steps`: 2 to 20 events, each the name of an event, or an object with the keys `event` (null: any that is not
automatic), `item` (with what it contains), `property` ({"name": …, "is": …}) and `optional`. Only events from
`since` until `until` count, extended to whole days (UTC). `step_order`: `ordered`, with other events between the
steps; `strict`, without another event between them (automatic ones apart); or `unordered`, where row n is about any n
of the steps. All steps are within the `conversion_window` from the first one, including its end. A person counts
once, with the attempt that went furthest, and of those the earliest; a later first step begins a new attempt. One
event is one step: the same step twice needs two events. Events of the same instant count in the order of the steps.
`exclusions`: events, with the keys of a step, `from` and `to` (the first and the last step), that must not be between
two steps. A person whose furthest attempt met one is not in the funnel; in an unordered funnel, where only an
exclusion from the first to the last step is possible, she has done one step. An `optional` step can be left out; its
people are those who did it, and the next step is compared with the one before it.
`item`: that of the steps without an item. `among`: people of these sets now, such as `segment.power & ~staff`.
`breakdown`: `set.<family>`, `trait.<name>`, or `property.<name>` of the events that `attribution` names: the first or
the last one with a value (`first_touch`, `last_touch`), the one of a step (`step_2`; a person counts for each value
there), or all (`all_events`: the steps of a value only). The rules are those of PostHog.
For admins and workers, figures are exact and include anonymous browsers. Analysts see figures of counted people
(`track.exclude_person`), of days on which at least `analytics.setting.smallest_group` of them did the step, or of the
small days of a week together; a number of fewer people reads as 0, others are rounded by `analytics._shown`.
The result includes every event that was stored when the function was called, also before a refresh.
Errors: CF001 for an invalid argument, CF002 for an unknown event, item or set (names the nearest), CF008 for too many
steps, CF009 for steps of another form.
$$;

grant execute on function analytics.funnel(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, text, int
)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/funnels/funnel.sql

--! Included analytics/paths/_session_paths.sql
create or replace function analytics._session_paths(
  since timestamptz,
  until timestamptz,
  node_of int[],
  node_of_type int[],
  start_node int,
  end_node int,
  steps int,
  with_starts boolean,
  among text,
  compared_with text,
  smallest_group int
)
returns table (person_id bigint, is_member boolean, is_compared boolean, nodes int[], starts bigint[])
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the period.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_visible constant tstzmultirange := case
    when smallest_group is not null
      then analytics._visible_periods(0, null, null, array[since, until], _session_paths.smallest_group)
  end;
  v_half constant int := _session_paths.steps / 2;
  v_blocks int[];
  v_people bit(4096)[];
  v_compared bit(4096)[];
begin
  -- Read first, so that an invalid argument is an error also when there are no sessions.
  select array_agg(member.block), array_agg(member.people), array_agg(compared.people)
  into v_blocks, v_people, v_compared
  from analytics._members(_session_paths.among, _session_paths.smallest_group) as member
  join analytics._members(_session_paths.compared_with, _session_paths.smallest_group) as compared
    on compared.block = member.block;

  return query
  with member as materialized (
    select
      entry.block, entry.people,
      case when _session_paths.compared_with is not null then entry.compared end as compared
    from unnest(v_blocks, v_people, v_compared) as entry (block, people, compared)
  ),

  -- Views of nodes.
  viewed as (
    select
      session.person_id,
      get_bit(member.people, (session.person_id % 4096)::int) <> 0 as is_member,
      coalesce(get_bit(member.compared, (session.person_id % 4096)::int) <> 0, false) as is_compared,
      view.nodes, view.starts
    from track.session
    join member on member.block = session.person_id / 4096
    cross join lateral (
      select array_agg(viewed.node) as nodes, array_agg(viewed.start) filter (where with_starts) as starts
      from (
        select
          node_of[unnest(session.view_item_ids)] as node,
          unnest(case when with_starts then session.view_starts end) as start,
          unnest(session.view_continued) as is_continued
      ) as viewed
      where viewed.node > 0
        and viewed.is_continued is not true
    ) as view
    where node_of_type is null
      and session.started_at >= _session_paths.since
      and session.started_at < _session_paths.until
      and session.view_item_ids is not null
      and session.person_id <> 0
      and (v_visible is null or session.started_at <@ v_visible)
  ),

  -- Events of nodes, from the journeys. Those of the same instant are in the order of their types.
  happened as (
    select
      session.person_id,
      get_bit(member.people, (session.person_id % 4096)::int) <> 0 as is_member,
      coalesce(get_bit(member.compared, (session.person_id % 4096)::int) <> 0, false) as is_compared,
      place.nodes, place.starts
    from track.session
    cross join lateral (
      select
        array_agg(event.node order by event.at, event.event_type_id, event.node) as nodes,
        array_agg(
          (extract(epoch from event.at - session.started_at) * 1000000)::bigint
          order by event.at, event.event_type_id, event.node
        ) as starts
      from (
        select
          sliced.event_type_id, sliced.at,
          case when node_of_type[sliced.event_type_id] = -1 then node_of[sliced.item_id]
            else node_of_type[sliced.event_type_id]
          end as node
        from (
          select
            step.event_type_id,
            unnest(step.occurred_at[slice.before + 1:slice.until]) as at,
            unnest(step.item_ids[slice.before + 1:slice.until]) as item_id
          from track.step
          cross join lateral (
            select
              width_bucket(session.started_at - interval '1 microsecond', step.occurred_at) as before,
              width_bucket(session.ended_at, step.occurred_at) as until
          ) as slice
          where step.person_id = session.person_id
            and not step.is_automatic
            and node_of_type[step.event_type_id] <> 0
        ) as sliced
      ) as event
      where event.node > 0
    ) as place
    join member on member.block = session.person_id / 4096
    where node_of_type is not null
      and session.started_at >= _session_paths.since
      and session.started_at < _session_paths.until
      and session.person_id <> 0
      and (v_visible is null or session.started_at <@ v_visible)
  ),

  view as (
    select * from viewed
    union all
    select * from happened
  )

  select view.person_id, view.is_member, view.is_compared, cut.nodes, cut.starts
  from view
  -- The last of several equal ones in succession.
  cross join lateral (
    select array_agg(run.node) as nodes, array_agg(run.start) filter (where with_starts) as starts
    from (
      select unnest(view.nodes) as node, unnest(view.nodes[2:] || 0) as next, unnest(view.starts) as start
    ) as run
    where run.node <> run.next
  ) as path
  cross join lateral (
    select
      case when start_node is null then 1 else array_position(path.nodes, start_node) end as first_place
  ) as start
  cross join lateral (
    select
      case
        when start.first_place is null then null
        when end_node is null then cardinality(path.nodes)
        else array_position(path.nodes, end_node, start.first_place)
      end as last_place
  ) as stop
  cross join lateral (
    select
      case
        when stop.last_place - start.first_place < _session_paths.steps
          then path.nodes[start.first_place:stop.last_place]
        when end_node is null
          then path.nodes[start.first_place:start.first_place + _session_paths.steps - 1]
        when start_node is null then path.nodes[stop.last_place - _session_paths.steps + 1:stop.last_place]
        else path.nodes[start.first_place:start.first_place + v_half - 1] || -1
          || path.nodes[stop.last_place - v_half + 1:stop.last_place]
      end as nodes,
      case
        when stop.last_place - start.first_place < _session_paths.steps
          then path.starts[start.first_place:stop.last_place]
        when end_node is null
          then path.starts[start.first_place:start.first_place + _session_paths.steps - 1]
        when start_node is null then path.starts[stop.last_place - _session_paths.steps + 1:stop.last_place]
        else path.starts[start.first_place:start.first_place + v_half]
          || path.starts[stop.last_place - v_half + 1:stop.last_place]
      end as starts
  ) as cut
  where stop.last_place is not null
    and (view.is_member or view.is_compared);
end;
$$;

comment on function analytics._session_paths(
  timestamptz, timestamptz, int[], int[], int, int, int, boolean, text, text, int
) is $$
Returns the paths through the sessions that started in a period, with the privileges of the caller.
`node_of`: the number of the node of each item, by its key; 0: none. `node_of_type`: that of each event type, -1 for the
node of the item; null: nodes are page views. `start_node`: the path starts with the first such
node; `end_node`: it ends with the first one (after the start). At most `steps` nodes: the first ones, with an end the
last ones, and with both the first and the last half with -1 in place of those between. Equal nodes in succession are
one, that of the last view. `starts`: start of each view, in microseconds after that of the session; null unless
`with_starts`.
`is_member`, `is_compared`: whether the person is one of `among` and of `compared_with`. As of the last refresh of the
sessions. `smallest_group`: counted people, in periods with enough of them (`analytics._visible_periods`); null: all.
$$;

grant execute on function analytics._session_paths(
  timestamptz, timestamptz, int[], int[], int, int, int, boolean, text, text, int
)
to insights_reader;
--! EndIncluded analytics/paths/_session_paths.sql

--! Included analytics/paths/paths.sql
create or replace function analytics._paths(
  since timestamptz,
  until timestamptz,
  nodes text,
  start_at text,
  end_at text,
  steps int,
  wildcards text[],
  exclusions text[],
  among text,
  compared_with text,
  top int,
  smallest_group int
)
returns setof analytics.path_edge
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set work_mem to '64MB'
as $$
declare
  v_days constant timestamptz[] := analytics._bounds('day', _paths.since, _paths.until, 'UTC');
  v_names text[];
  v_node_of int[];
  v_node_of_type int[];
  -- Of "..." in the order of the names.
  v_place_of_others float8;
begin
  perform common.check_count('steps', _paths.steps, 2, 20);
  perform common.check_count('top', coalesce(_paths.top, 1), 1, 10000);
  select numbered.names, numbered.node_of, numbered.node_of_type into v_names, v_node_of, v_node_of_type
  from analytics._numbered_nodes(_paths.nodes, _paths.wildcards, _paths.exclusions) as numbered;
  v_place_of_others := 0.5 + (select count(*) from unnest(v_names) as name where name collate "C" < '...');

  return query
  with view as (
    select place.*, (place.ended - place.started)::float8 as took
    from (
      select
        path.person_id, path.is_member, path.is_compared, generate_series(1, cardinality(path.nodes)) as step,
        unnest(path.nodes) as source, unnest(path.nodes[2:]) as target, unnest(path.starts) as started,
        unnest(path.starts[2:]) as ended
      from analytics._session_paths(
        v_days[1], v_days[cardinality(v_days)], v_node_of, v_node_of_type,
        analytics._node_number(v_names, _paths.start_at, 'start_at'),
        analytics._node_number(v_names, _paths.end_at, 'end_at'), _paths.steps, true, _paths.among,
        _paths.compared_with, _paths.smallest_group
      ) as path
    ) as place
  ),

  by_person as (
    select
      view.step, view.source, view.target, view.person_id,
      count(*) filter (where view.is_member) as transition_count,
      count(*) filter (where view.is_compared) as compared_count,
      sum(view.took) filter (where view.is_member) as took
    from view
    group by view.step, view.source, view.target, view.person_id
  ),

  edge as materialized (
    select
      by_person.step, by_person.source, by_person.target,
      sum(by_person.transition_count)::float8 as transition_count,
      count(*) filter (where by_person.transition_count > 0) as person_count,
      sum(by_person.compared_count)::float8 as compared_count,
      count(*) filter (where by_person.compared_count > 0) as compared_people,
      sum(by_person.took) / nullif(sum(by_person.transition_count), 0) as mean_microseconds
    from by_person
    group by by_person.step, by_person.source, by_person.target
  ),

  -- The paths at each node, also those that end there.
  node as (
    select
      edge.step, edge.source, sum(edge.transition_count) as path_count, sum(edge.compared_count) as compared_count
    from edge
    group by edge.step, edge.source
  ),

  shown as materialized (
    select
      edge.step, edge.source, edge.target, edge.mean_microseconds, edge.person_count, edge.compared_people,
      case
        when _paths.smallest_group is null then edge.transition_count
        else analytics._shown(edge.transition_count, edge.person_count, _paths.smallest_group)
      end::bigint as transition_count,
      case
        when _paths.smallest_group is null then edge.compared_count
        else analytics._shown(edge.compared_count, edge.compared_people, _paths.smallest_group)
      end::bigint as compared_count
    from edge
    where edge.target is not null
      and (
        edge.person_count >= coalesce(_paths.smallest_group, 1)
        or edge.compared_people >= coalesce(_paths.smallest_group, 1)
      )
  ),

  -- All other figures are those of these only. The nodes are numbered in the order of their names.
  largest as materialized (
    select shown.*
    from shown
    order by
      greatest(shown.transition_count, shown.compared_count) desc, shown.step,
      case shown.source when -1 then v_place_of_others else shown.source end,
      case shown.target when -1 then v_place_of_others else shown.target end
    limit _paths.top
  ),

  related as (
    select
      largest.*,
      -- As precise as the number of transitions.
      analytics._shown(
        node.path_count, greatest(largest.person_count, largest.compared_people), _paths.smallest_group
      ) as path_count,
      analytics._shown(
        node.compared_count, greatest(largest.person_count, largest.compared_people), _paths.smallest_group
      ) as compared_path_count
    from largest
    join node on node.step = largest.step and node.source = largest.source
  )

  select
    related.step,
    coalesce(v_names[related.source], '...'),
    coalesce(v_names[related.target], '...'),
    related.transition_count,
    analytics._shown(related.person_count, related.person_count, _paths.smallest_group)::bigint,
    -- least() ignores a null.
    case when related.path_count > 0 then least(related.transition_count / related.path_count, 1) end,
    analytics._shown_time(
      make_interval(secs => (related.mean_microseconds / 1000000)::float8), related.person_count,
      _paths.smallest_group
    ),
    case when _paths.compared_with is not null then related.compared_count end,
    case
      when _paths.compared_with is not null
        then analytics._shown(related.compared_people, related.compared_people, _paths.smallest_group)::bigint
    end,
    case
      when _paths.compared_with is not null and related.compared_path_count > 0
        then least(related.compared_count / related.compared_path_count, 1)
    end
  from related
  order by
    greatest(related.transition_count, related.compared_count) desc, related.step,
    case related.source when -1 then v_place_of_others else related.source end,
    case related.target when -1 then v_place_of_others else related.target end;
end;
$$;

comment on function analytics._paths(
  timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int, int
) is $$
Computes the result of `analytics.paths`, with the privileges of the caller.
`smallest_group`: figures of groups of counted people (see `analytics._visible_periods` and `analytics._shown`);
null: exact figures of all people.
$$;

grant execute on function analytics._paths(
  timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int, int
)
to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._paths_exact(
  since timestamptz,
  until timestamptz,
  nodes text,
  start_at text,
  end_at text,
  steps int,
  wildcards text[],
  exclusions text[],
  among text,
  compared_with text,
  top int
)
returns setof analytics.path_edge
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
  from analytics._paths(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, null
  );
$$;

alter function analytics._paths_exact(
  timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int
)
owner to insights_reader;

comment on function analytics._paths_exact(
  timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int
) is $$
Returns the result of `analytics.paths` with exact figures of all people, for admins and workers.
$$;

grant execute on function analytics._paths_exact(
  timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int
)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._paths_shown(
  since timestamptz,
  until timestamptz,
  nodes text,
  start_at text,
  end_at text,
  steps int,
  wildcards text[],
  exclusions text[],
  among text,
  compared_with text,
  top int
)
returns setof analytics.path_edge
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
  from analytics._paths(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._paths_shown(
  timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int
)
owner to insights_reader;

comment on function analytics._paths_shown(
  timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int
) is $$
Returns the result of `analytics.paths` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._paths_shown(
  timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int
)
to insights_analyst;

create or replace function analytics.paths(
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  nodes text default 'item',
  start_at text default null,
  end_at text default null,
  steps int default 5,
  wildcards text[] default '{}',
  exclusions text[] default '{}',
  among text default null,
  compared_with text default null,
  top int default 50
)
returns setof analytics.path_edge
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._paths_exact(timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._paths_exact(
      paths.since, paths.until, paths.nodes, paths.start_at, paths.end_at, paths.steps, paths.wildcards,
      paths.exclusions, paths.among, paths.compared_with, paths.top
    );
  else
    return query
    select *
    from analytics._paths_shown(
      paths.since, paths.until, paths.nodes, paths.start_at, paths.end_at, paths.steps, paths.wildcards,
      paths.exclusions, paths.among, paths.compared_with, paths.top
    );
  end if;
end;
$$;

comment on function analytics.paths(
  timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int
) is $$
Returns the most frequent transitions of paths through the sessions that started in a period, by step.
Step 1 is the first node of a path. `start_at`: paths start with the first view of this node; `end_at`: they end with
the first view of this one. Of longer paths, the first `steps` nodes are read; with `end_at` the last ones; and with
both the first and the last half, with the node "..." in place of those between. Sessions without these nodes are left
out. Rows are transitions from `source` to `target`, the most frequent `top` first; null: all. The rules are those of
PostHog. `nodes`: the pages that were viewed as `item`, their `kind`, or the `course` of which they are part; `event`:
the names of all events that are not automatic; `page_or_event`: the pages that were viewed and the names of other
events. `wildcards`: names in which `*` is any number of characters; all that match are one node of this name, that of
the first that matches. `exclusions`: such names, whose views are left out. Equal nodes in succession are one, that of
the last view. Views that continue from an earlier session, and those without a node, are left out.
`among`: people of these sets now; `compared_with`: figures of other sets beside them (a person can be in both).
For admins and workers, figures are exact and include anonymous browsers. Analysts see figures of counted people, of
days (UTC) on which at least `analytics.setting.smallest_group` of them are active, or of the small days of a week
together; what fewer people did is left out, and figures are rounded by `analytics._shown`. As of the last refresh of
the sessions. Errors: CF001 for an invalid argument, CF002 for an unknown node or set (names the nearest), CF008 for
more than 100 wildcards and exclusions.
$$;

grant execute on function analytics.paths(
  timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int
)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/paths/paths.sql

--! Included analytics/paths/sequences.sql
create or replace function analytics._sequences(
  since timestamptz,
  until timestamptz,
  nodes text,
  length int,
  wildcards text[],
  exclusions text[],
  among text,
  compared_with text,
  top int,
  smallest_group int
)
returns setof analytics.path_sequence
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set work_mem to '64MB'
as $$
declare
  v_days constant timestamptz[] := analytics._bounds('day', _sequences.since, _sequences.until, 'UTC');
  v_names text[];
  v_node_of int[];
  v_node_of_type int[];
begin
  perform common.check_count('length', _sequences.length, 2, 10);
  perform common.check_count('top', coalesce(_sequences.top, 1), 1, 10000);
  select numbered.names, numbered.node_of, numbered.node_of_type into v_names, v_node_of, v_node_of_type
  from analytics._numbered_nodes(_sequences.nodes, _sequences.wildcards, _sequences.exclusions) as numbered;

  return query
  with by_person as (
    select
      path.person_id, part.nodes,
      count(*) filter (where path.is_member) as times,
      count(*) filter (where path.is_compared) as compared_times
    from analytics._session_paths(
      v_days[1], v_days[cardinality(v_days)], v_node_of, v_node_of_type, null, null, 100000, false,
      _sequences.among, _sequences.compared_with, _sequences.smallest_group
    ) as path
    cross join lateral generate_series(1, cardinality(path.nodes) - _sequences.length + 1) as place (number)
    cross join lateral (select path.nodes[place.number:place.number + _sequences.length - 1] as nodes) as part
    group by path.person_id, part.nodes
  ),

  counted as (
    select
      by_person.nodes,
      sum(by_person.times) as times,
      count(*) filter (where by_person.times > 0) as person_count,
      sum(by_person.compared_times) as compared_times,
      count(*) filter (where by_person.compared_times > 0) as compared_people
    from by_person
    group by by_person.nodes
  ),

  shown as (
    select
      counted.nodes,
      analytics._shown(counted.times::float8, counted.person_count, _sequences.smallest_group)::bigint as times,
      analytics._shown(counted.person_count, counted.person_count, _sequences.smallest_group)::bigint as person_count,
      analytics._shown(counted.compared_times::float8, counted.compared_people, _sequences.smallest_group)::bigint
        as compared_times,
      analytics._shown(counted.compared_people, counted.compared_people, _sequences.smallest_group)::bigint
        as compared_people
    from counted
    where counted.person_count >= coalesce(_sequences.smallest_group, 1)
      or counted.compared_people >= coalesce(_sequences.smallest_group, 1)
  ),

  largest as (
    select shown.*
    from shown
    order by greatest(shown.times, shown.compared_times) desc, shown.nodes
    limit _sequences.top
  )

  select
    array(
      select v_names[entry.node]
      from unnest(largest.nodes) with ordinality as entry (node, number)
      order by entry.number
    ),
    largest.times,
    largest.person_count,
    case when _sequences.compared_with is not null then largest.compared_times end,
    case when _sequences.compared_with is not null then largest.compared_people end
  from largest
  order by greatest(largest.times, largest.compared_times) desc, largest.nodes;
end;
$$;

comment on function analytics._sequences(
  timestamptz, timestamptz, text, int, text[], text[], text, text, int, int
) is $$
Computes the result of `analytics.sequences`, with the privileges of the caller.
`smallest_group`: figures of groups of counted people (see `analytics._visible_periods` and `analytics._shown`);
null: exact figures of all people.
$$;

grant execute on function analytics._sequences(
  timestamptz, timestamptz, text, int, text[], text[], text, text, int, int
)
to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._sequences_exact(
  since timestamptz,
  until timestamptz,
  nodes text,
  length int,
  wildcards text[],
  exclusions text[],
  among text,
  compared_with text,
  top int
)
returns setof analytics.path_sequence
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
  from analytics._sequences(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, null
  );
$$;

alter function analytics._sequences_exact(
  timestamptz, timestamptz, text, int, text[], text[], text, text, int
)
owner to insights_reader;

comment on function analytics._sequences_exact(
  timestamptz, timestamptz, text, int, text[], text[], text, text, int
) is $$
Returns the result of `analytics.sequences` with exact figures of all people, for admins and workers.
$$;

grant execute on function analytics._sequences_exact(
  timestamptz, timestamptz, text, int, text[], text[], text, text, int
)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._sequences_shown(
  since timestamptz,
  until timestamptz,
  nodes text,
  length int,
  wildcards text[],
  exclusions text[],
  among text,
  compared_with text,
  top int
)
returns setof analytics.path_sequence
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
  from analytics._sequences(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._sequences_shown(
  timestamptz, timestamptz, text, int, text[], text[], text, text, int
)
owner to insights_reader;

comment on function analytics._sequences_shown(
  timestamptz, timestamptz, text, int, text[], text[], text, text, int
) is $$
Returns the result of `analytics.sequences` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._sequences_shown(
  timestamptz, timestamptz, text, int, text[], text[], text, text, int
)
to insights_analyst;

create or replace function analytics.sequences(
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  nodes text default 'item',
  length int default 3,
  wildcards text[] default '{}',
  exclusions text[] default '{}',
  among text default null,
  compared_with text default null,
  top int default 50
)
returns setof analytics.path_sequence
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._sequences_exact(timestamptz, timestamptz, text, int, text[], text[], text, text, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._sequences_exact(
      sequences.since, sequences.until, sequences.nodes, sequences.length, sequences.wildcards, sequences.exclusions,
      sequences.among, sequences.compared_with, sequences.top
    );
  else
    return query
    select *
    from analytics._sequences_shown(
      sequences.since, sequences.until, sequences.nodes, sequences.length, sequences.wildcards, sequences.exclusions,
      sequences.among, sequences.compared_with, sequences.top
    );
  end if;
end;
$$;

comment on function analytics.sequences(
  timestamptz, timestamptz, text, int, text[], text[], text, text, int
) is $$
Returns the most frequent sequences of nodes in the sessions that started in a period.
A sequence is `length` nodes in succession, 2 to 10; every position of a session counts, the most frequent `top` first;
null: all.
`nodes`: the pages that were viewed as `item`, their `kind`, or the `course` of which they are part; `event`: the names
of all events that are not automatic; `page_or_event`: the pages that were viewed and the names of other events.
`wildcards`: names in which `*` is any number of characters; all that match are one node of this name, that of the first
that matches. `exclusions`: such names, whose views are left out. Equal nodes in succession are one, that of the last
view. Views that continue from an earlier session, and those without a node, are left out.
`among`: people of these sets now; `compared_with`: figures of other sets beside them (a person can be in both).
For admins and workers, figures are exact and include anonymous browsers. Analysts see figures of counted people, of
days (UTC) on which at least `analytics.setting.smallest_group` of them are active, or of the small days of a week
together; what fewer people did is left out, and figures are rounded by `analytics._shown`. As of the last refresh of
the sessions. Errors: CF001 for an invalid argument, CF002 for an unknown node or set (names the nearest), CF008 for
more than 100 wildcards and exclusions.
$$;

grant execute on function analytics.sequences(
  timestamptz, timestamptz, text, int, text[], text[], text, text, int
)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/paths/sequences.sql

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
-- The best plan depends on the period.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_days constant timestamptz[] := analytics._bounds('day', _session_items.since, _session_items.until, 'UTC');
  v_visible tstzmultirange;
  v_blocks int[];
  v_people bit(4096)[];
begin
  if _session_items.place is null or _session_items.place not in ('entry', 'exit') then
    perform common.refuse(
      'CF001',
      format('place is "%s"', left(_session_items.place, 100)),
      'Use entry (the first item of a session) or exit (the last one).'
    );
  end if;
  perform common.check_count('top', coalesce(_session_items.top, 1), 1, 10000);

  -- Read first, so that an invalid argument is an error also when there are no sessions.
  select array_agg(member.block), array_agg(member.people) into v_blocks, v_people
  from analytics._members(_session_items.among, _session_items.smallest_group) as member;
  if smallest_group is not null then
    v_visible := analytics._visible_periods(
      0, null, _session_items.among, array[v_days[1], v_days[cardinality(v_days)]], _session_items.smallest_group
    );
  end if;

  return query
  -- The sessions of `analytics._sessions`, which are counted before the members are chosen: people have several each.
  with by_person as (
    select
      session.person_id,
      case _session_items.place when 'entry' then session.entry_item_id else session.exit_item_id end as item_id,
      count(*) as session_count,
      count(*) filter (where session.view_count <= 1 and session.engaged < interval '10 seconds') as bounce_count
    from track.session
    where session.started_at >= v_days[1]
      and session.started_at < v_days[cardinality(v_days)]
      and session.person_id <> 0
      and (v_visible is null or session.started_at <@ v_visible)
    group by 1, 2
  ),

  counted as (
    select
      by_person.item_id, sum(by_person.session_count) as session_count, count(*) as person_count,
      sum(by_person.bounce_count) as bounce_count,
      count(*) filter (where by_person.bounce_count > 0) as bounced_people
    from by_person
    join unnest(v_blocks, v_people) as member (block, people)
      on member.block = by_person.person_id / 4096
      and get_bit(member.people, (by_person.person_id % 4096)::int) <> 0
    where by_person.item_id is not null
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
-- The best plan depends on the period.
set plan_cache_mode to force_custom_plan
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
  v_visible tstzmultirange;
  v_blocks int[];
  v_people bit(4096)[];
begin
  if v_starts is null then
    perform common.refuse(
      'CF001',
      format('measure is "%s"', coalesce(left(_session_distribution.measure, 100), 'null')),
      'Use engaged or duration (in seconds), or views.'
    );
  end if;

  -- Read first, so that an invalid argument is an error also when there are no sessions.
  select array_agg(member.block), array_agg(member.people) into v_blocks, v_people
  from analytics._members(_session_distribution.among, _session_distribution.smallest_group) as member;
  if smallest_group is not null then
    v_visible := analytics._visible_periods(
      0, null, _session_distribution.among, array[v_days[1], v_days[cardinality(v_days)]],
      _session_distribution.smallest_group
    );
  end if;

  return query
  -- The sessions of `analytics._sessions`, which are counted before the members are chosen: people have several each.
  with by_person as (
    select
      session.person_id,
      case _session_distribution.measure
        when 'engaged' then width_bucket(session.engaged, v_times)
        when 'duration' then width_bucket(session.ended_at - session.started_at, v_times)
        else width_bucket(session.view_count::float8, v_starts)
      end as bin,
      count(*) as session_count
    from track.session
    where session.started_at >= v_days[1]
      and session.started_at < v_days[cardinality(v_days)]
      and session.person_id <> 0
      and (v_visible is null or session.started_at <@ v_visible)
    group by 1, 2
  ),

  counted as (
    select by_person.bin, sum(by_person.session_count) as session_count, count(*) as person_count
    from by_person
    join unnest(v_blocks, v_people) as member (block, people)
      on member.block = by_person.person_id / 4096
      and get_bit(member.people, (by_person.person_id % 4096)::int) <> 0
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

--! Included analytics/learning/hour_of_week.sql
create or replace function analytics._hour_of_week(
  event_name text,
  since timestamptz,
  until timestamptz,
  zone text,
  item text,
  among text,
  smallest_group int
)
returns setof analytics.week_hour
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set work_mem to '64MB'
as $$
declare
  v_event_type_id constant int := analytics._event_type_id(_hour_of_week.event_name);
  v_item_id constant bigint := analytics._item_id(_hour_of_week.item);
  v_items constant bigint[] := array(
    select ancestor.item_id from track.item_ancestor as ancestor where ancestor.ancestor_item_id = v_item_id
  );
  v_days constant timestamptz[] := analytics._bounds(
    'day', _hour_of_week.since, _hour_of_week.until, coalesce(_hour_of_week.zone, 'UTC')
  );
  v_bounds constant timestamptz[] := array[v_days[1], v_days[cardinality(v_days)]];
  v_visible constant tstzmultirange := case
    when smallest_group is not null then analytics._visible_periods(
      v_event_type_id, v_item_id, _hour_of_week.among, v_bounds, _hour_of_week.smallest_group
    )
  end;
  v_blocks int[];
  v_people bit(4096)[];
begin
  -- Read first, so that an invalid argument is an error also when there are no events.
  select array_agg(member.block), array_agg(member.people) into v_blocks, v_people
  from analytics._members(_hour_of_week.among, _hour_of_week.smallest_group) as member;

  return query
  with member as materialized (
    select entry.block, entry.people from unnest(v_blocks, v_people) as entry (block, people)
  ),

  -- Zones that PostgreSQL does not know are ignored.
  local as materialized (
    select stated.person_id, stated.zone
    from (
      select trait.person_id, trait.value #>> '{}' as zone
      from track.current_trait(null, 'timezone') as trait
      where _hour_of_week.zone is null
    ) as stated
    join pg_timezone_names as known on known.name = stated.zone
  ),

  happened as (
    select
      journey.person_id, coalesce(_hour_of_week.zone, local.zone, 'UTC') as zone, unnest(journey.occurred_at) as at,
      unnest(journey.item_ids) as item_id
    from analytics._journeys(
      array[v_event_type_id], v_event_type_id = 0, v_item_id is not null, v_bounds[1], v_bounds[2]
    ) as journey
    join member
      on member.block = journey.person_id / 4096
      and get_bit(member.people, (journey.person_id % 4096)::int) <> 0
    left join local on local.person_id = journey.person_id
  ),

  -- Hours since a Monday, which are computed faster than the weekday and the hour of each event.
  by_person as (
    select
      happened.person_id,
      (floor(date_part('epoch', happened.at at time zone happened.zone - timestamp '0001-01-01') / 3600)::bigint % 168)
        ::int as week_hour,
      count(*) as event_count
    from happened
    where (v_item_id is null or happened.item_id = any (v_items))
      and (v_visible is null or happened.at <@ v_visible)
    group by 1, 2
  ),

  counted as (
    select by_person.week_hour, sum(by_person.event_count) as event_count, count(*) as person_count
    from by_person
    group by by_person.week_hour
  ),

  shown as (
    select
      weekday.number as weekday, hour.number as hour,
      coalesce(
        analytics._shown(counted.event_count::float8, counted.person_count, _hour_of_week.smallest_group), 0
      )::bigint as event_count,
      coalesce(
        analytics._shown(counted.person_count, counted.person_count, _hour_of_week.smallest_group), 0
      )::bigint as person_count
    from generate_series(1, 7) as weekday (number)
    cross join generate_series(0, 23) as hour (number)
    left join counted on counted.week_hour = 24 * (weekday.number - 1) + hour.number
  )

  select
    shown.weekday, shown.hour, shown.event_count, shown.person_count,
    shown.event_count / nullif(sum(shown.event_count) over (), 0)::float8
  from shown
  order by shown.weekday, shown.hour;
end;
$$;

comment on function analytics._hour_of_week(
  text, timestamptz, timestamptz, text, text, text, int
) is $$
Computes the result of `analytics.hour_of_week`, with the privileges of the caller.
`smallest_group`: figures of groups of counted people (see `analytics._visible_periods` and `analytics._shown`);
null: exact figures of all people.
$$;

grant execute on function analytics._hour_of_week(
  text, timestamptz, timestamptz, text, text, text, int
)
to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._hour_of_week_exact(
  event_name text,
  since timestamptz,
  until timestamptz,
  zone text,
  item text,
  among text
)
returns setof analytics.week_hour
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
  from analytics._hour_of_week(
    $1, $2, $3, $4, $5, $6, null
  );
$$;

alter function analytics._hour_of_week_exact(
  text, timestamptz, timestamptz, text, text, text
)
owner to insights_reader;

comment on function analytics._hour_of_week_exact(
  text, timestamptz, timestamptz, text, text, text
) is $$
Returns the result of `analytics.hour_of_week` with exact figures of all people, for admins and workers.
$$;

grant execute on function analytics._hour_of_week_exact(
  text, timestamptz, timestamptz, text, text, text
)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._hour_of_week_shown(
  event_name text,
  since timestamptz,
  until timestamptz,
  zone text,
  item text,
  among text
)
returns setof analytics.week_hour
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
  from analytics._hour_of_week(
    $1, $2, $3, $4, $5, $6, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._hour_of_week_shown(
  text, timestamptz, timestamptz, text, text, text
)
owner to insights_reader;

comment on function analytics._hour_of_week_shown(
  text, timestamptz, timestamptz, text, text, text
) is $$
Returns the result of `analytics.hour_of_week` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._hour_of_week_shown(
  text, timestamptz, timestamptz, text, text, text
)
to insights_analyst;

create or replace function analytics.hour_of_week(
  event_name text default null,
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '84 days') at time zone 'UTC',
  until timestamptz default now(),
  zone text default null,
  item text default null,
  among text default null
)
returns setof analytics.week_hour
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._hour_of_week_exact(text, timestamptz, timestamptz, text, text, text)',
    'execute'
  ) then
    return query
    select *
    from analytics._hour_of_week_exact(
      hour_of_week.event_name, hour_of_week.since, hour_of_week.until, hour_of_week.zone, hour_of_week.item,
      hour_of_week.among
    );
  else
    return query
    select *
    from analytics._hour_of_week_shown(
      hour_of_week.event_name, hour_of_week.since, hour_of_week.until, hour_of_week.zone, hour_of_week.item,
      hour_of_week.among
    );
  end if;
end;
$$;

comment on function analytics.hour_of_week(
  text, timestamptz, timestamptz, text, text, text
) is $$
Returns when in the week people are active: events and people by weekday and hour, in the time of each person.
For each person the zone is that of her trait `timezone`, as of now, and UTC without one; `zone`: one zone for all.
There are 168 rows: weekday 1 is Monday, hour 0 the hour after midnight. An hour that clocks repeat counts with the
other one. `event_name`: such as `Task Started` or `Task Submitted`; null: any event that is not automatic. `item`:
with what it contains. `among`: people of these sets now. The period is extended to whole days (of `zone`, or UTC).
For admins and workers, figures are exact and include anonymous browsers. Analysts see figures of counted people, of
days on which at least `analytics.setting.smallest_group` of them did the event, or of the small days of a week
together; an hour of fewer people reads as 0, and others are rounded by `analytics._shown`.
The result includes every event that was stored when the function was called, also before a refresh.
Errors: CF001 for an invalid argument, CF002 for an unknown event, item, set or zone (names the nearest).
$$;

grant execute on function analytics.hour_of_week(
  text, timestamptz, timestamptz, text, text, text
)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/learning/hour_of_week.sql

--! Included analytics/learning/task_deadlines.sql
create or replace function analytics._task_deadlines(course text, among text, smallest_group int)
returns setof analytics.task_deadline
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set work_mem to '64MB'
as $$
declare
  v_course_id constant bigint := analytics._item_id(coalesce(_task_deadlines.course, ''));
  v_learners constant bigint[] := analytics._enrolled_learners(
    _task_deadlines.course, _task_deadlines.among, _task_deadlines.smallest_group
  );
  v_started constant int := (
    select coalesce(event_type.merged_event_type_id, event_type.event_type_id)
    from track.event_type
    where event_type.name = 'Task Started'
  );
  v_submitted constant int[] := array(
    select coalesce(event_type.merged_event_type_id, event_type.event_type_id)
    from track.event_type
    where event_type.name in ('Task Submitted', 'Task Completed')
  );
begin
  return query
  with task as materialized (
    select item.item_id, item.external_id, item.title, item.due_at
    from track.item_ancestor as ancestor
    join track.item on item.item_id = ancestor.item_id and item.kind = 'task'
    where ancestor.ancestor_item_id = v_course_id
  ),

  learner as materialized (
    select entry.person_id from unnest(v_learners) as entry (person_id)
  ),

  happened as (
    select learner.person_id, task.item_id, journey.event_type_id = v_started as is_start, used.at
    from analytics._journeys(
      v_started || v_submitted, false, true, '0001-01-01', 'infinity', v_learners
    ) as journey
    join learner on learner.person_id = journey.person_id
    cross join lateral unnest(journey.occurred_at, journey.item_ids) as used (at, item_id)
    join task on task.item_id = used.item_id
  ),

  done as (
    select
      happened.person_id, happened.item_id,
      min(happened.at) filter (where happened.is_start) as started_at,
      min(happened.at) filter (where not happened.is_start) as submitted_at
    from happened
    group by happened.person_id, happened.item_id
  ),

  counted as (
    select
      task.external_id, task.title, task.due_at,
      count(learner.person_id) as learner_count,
      count(done.started_at) as started_count,
      count(done.submitted_at) as submitted_count,
      count(*) filter (where done.submitted_at <= coalesce(task.due_at, 'infinity')) as on_time_count,
      count(*) filter (where done.submitted_at > task.due_at) as late_count,
      count(learner.person_id) filter (where done.submitted_at is null and task.due_at <= now()) as missing_count,
      count(learner.person_id) filter (where done.submitted_at is null and coalesce(task.due_at, 'infinity') > now())
        as floating_count,
      percentile_cont(0.5) within group (order by task.due_at - done.submitted_at) as median_lead,
      count(*) filter (where done.started_at <= done.submitted_at) as worked_count,
      percentile_cont(0.5) within group (order by done.submitted_at - done.started_at)
        filter (where done.started_at <= done.submitted_at) as median_work
    from task
    left join learner on true
    left join done on done.item_id = task.item_id and done.person_id = learner.person_id
    group by task.item_id, task.external_id, task.title, task.due_at
  )

  select
    counted.external_id,
    counted.title,
    counted.due_at,
    analytics._shown(counted.learner_count, counted.learner_count, _task_deadlines.smallest_group)::bigint,
    analytics._shown(counted.started_count, counted.started_count, _task_deadlines.smallest_group)::bigint,
    analytics._shown(counted.on_time_count, counted.on_time_count, _task_deadlines.smallest_group)::bigint,
    analytics._shown(counted.late_count, counted.late_count, _task_deadlines.smallest_group)::bigint,
    analytics._shown(counted.missing_count, counted.missing_count, _task_deadlines.smallest_group)::bigint,
    analytics._shown(counted.floating_count, counted.floating_count, _task_deadlines.smallest_group)::bigint,
    analytics._shown_time(
      counted.median_lead, counted.submitted_count, _task_deadlines.smallest_group, counted.median_lead
    ),
    analytics._shown_time(
      counted.median_work, counted.worked_count, _task_deadlines.smallest_group, counted.median_work
    )
  from counted
  order by counted.due_at, counted.external_id collate "C";
end;
$$;

comment on function analytics._task_deadlines(text, text, int) is $$
Computes the result of `analytics.task_deadlines`, with the privileges of the caller.
`smallest_group`: figures of groups of counted people (see `analytics._visible_periods` and `analytics._shown`);
null: exact figures of all people.
$$;

grant execute on function analytics._task_deadlines(text, text, int)
to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._task_deadlines_exact(
  course text,
  among text
)
returns setof analytics.task_deadline
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
  from analytics._task_deadlines(
    $1, $2, null
  );
$$;

alter function analytics._task_deadlines_exact(text, text)
owner to insights_reader;

comment on function analytics._task_deadlines_exact(text, text) is $$
Returns the result of `analytics.task_deadlines` with exact figures of all people, for admins and workers.
$$;

grant execute on function analytics._task_deadlines_exact(text, text)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._task_deadlines_shown(
  course text,
  among text
)
returns setof analytics.task_deadline
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
  from analytics._task_deadlines(
    $1, $2, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._task_deadlines_shown(text, text)
owner to insights_reader;

comment on function analytics._task_deadlines_shown(text, text) is $$
Returns the result of `analytics.task_deadlines` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._task_deadlines_shown(text, text)
to insights_analyst;

create or replace function analytics.task_deadlines(
  course text,
  among text default null
)
returns setof analytics.task_deadline
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._task_deadlines_exact(text, text)',
    'execute'
  ) then
    return query
    select *
    from analytics._task_deadlines_exact(
      task_deadlines.course, task_deadlines.among
    );
  else
    return query
    select *
    from analytics._task_deadlines_shown(
      task_deadlines.course, task_deadlines.among
    );
  end if;
end;
$$;

comment on function analytics.task_deadlines(text, text) is $$
Returns how many learners of a course submitted each of its tasks, in time or late, and how long before the deadline.
The words are those of Canvas: `on_time`, `late`, `missing` (not submitted by a deadline that has passed) and
`floating` (not submitted, without a deadline or before it). A task is submitted with the first `Task Submitted` or
`Task Completed` of the learner; a task without a deadline is submitted on time. Learners are those who are enrolled
and have not dropped the course. `median_lead`: time from the submission to the deadline, negative for late ones;
`median_work`: time from the first `Task Started` to the submission, of those who started before it.
The deadlines and the enrolments are those of now. `among`: people of these sets now.
For admins and workers, figures are exact. Analysts see figures of counted people; a number of fewer people than
`analytics.setting.smallest_group` reads as 0, others are rounded by `analytics._shown`.
The result includes every event that was stored when the function was called, also before a refresh.
Errors: CF002 for an unknown course or set (names the nearest).
$$;

grant execute on function analytics.task_deadlines(text, text)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/learning/task_deadlines.sql

--! Included analytics/learning/item_analysis.sql
create or replace function analytics._item_analysis(
  learners bigint[], items bigint[], measure text, attempt text, smallest_group int
)
returns setof analytics.analysed_item
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set work_mem to '64MB'
as $$
begin
  return query
  with response as materialized (
    select
      taken.person_id, taken.item_id, count(*) as attempt_count,
      case _item_analysis.attempt
        when 'first' then (array_agg(taken.score order by taken.attempt))[1]
        when 'last' then (array_agg(taken.score order by taken.attempt desc))[1]
        else max(taken.score)
      end as score
    from analytics._attempts(_item_analysis.learners, _item_analysis.items, _item_analysis.measure) as taken
    group by taken.person_id, taken.item_id
  ),

  person as materialized (
    select
      totalled.person_id, totalled.score, totalled.item_count,
      rank() over (order by totalled.mean desc) - 1 as above,
      rank() over (order by totalled.mean) - 1 as below,
      count(*) over (partition by totalled.mean) as tied,
      0.27 * count(*) over () as group_size
    from (
      select
        response.person_id, sum(response.score) as score, count(*) as item_count, avg(response.score) as mean
      from response
      group by response.person_id
    ) as totalled
  ),

  -- Of people with the same total at the edge of a group, each counts in part: the order of equals is not a result.
  placed as (
    select
      person.person_id, person.score, person.item_count,
      least(greatest((person.group_size - person.above) / person.tied, 0), 1) as upper_weight,
      least(greatest((person.group_size - person.below) / person.tied, 0), 1) as lower_weight
    from person
  ),

  analysed as (
    select
      response.item_id,
      count(*) as person_count,
      sum(response.attempt_count)::float8 as attempt_count,
      avg(response.score)::float8 as difficulty,
      corr(
        response.score::float8, ((placed.score - response.score) / nullif(placed.item_count - 1, 0))::float8
      ) as discrimination,
      (
        sum(placed.upper_weight * response.score) / nullif(sum(placed.upper_weight), 0)
        - sum(placed.lower_weight * response.score) / nullif(sum(placed.lower_weight), 0)
      )::float8 as discrimination_index
    from response
    join placed on placed.person_id = response.person_id
    group by response.item_id
  ),

  shown as (
    select
      item.external_id, item.kind, item.title,
      analytics._shown(analysed.person_count, analysed.person_count, _item_analysis.smallest_group)::bigint
        as person_count,
      analytics._shown(
        analysed.attempt_count, analysed.person_count, _item_analysis.smallest_group
      )::bigint as attempt_count,
      -- As precise as the mean of a figure of 1 per person.
      analytics._shown_mean(analysed.difficulty, analysed.person_count, _item_analysis.smallest_group, 1)
        as difficulty,
      analytics._shown_mean(analysed.discrimination, analysed.person_count, _item_analysis.smallest_group, 1)
        as discrimination,
      analytics._shown_mean(analysed.discrimination_index, analysed.person_count, _item_analysis.smallest_group, 1)
        as discrimination_index
    from analysed
    join track.item on item.item_id = analysed.item_id
  )

  select *
  from shown
  where shown.person_count > 0
  order by shown.discrimination nulls last, shown.difficulty nulls last, shown.external_id collate "C";
end;
$$;

comment on function analytics._item_analysis(bigint[], bigint[], text, text, int) is $$
Computes the result of `analytics.item_analysis` for people and items, with the privileges of the caller.
`smallest_group`: see `analytics._shown` and `analytics._shown_mean`; null: exact figures.
$$;

grant execute on function analytics._item_analysis(bigint[], bigint[], text, text, int) to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures that its caller may see. */
create or replace function analytics.item_analysis(
  course text,
  item text default null,
  measure text default 'answers',
  attempt text default 'first',
  among text default null
)
returns setof analytics.analysed_item
language plpgsql
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
declare
  v_visible record;
  v_items bigint[];
begin
  if item_analysis.measure is null or item_analysis.measure not in ('answers', 'scores') then
    perform common.refuse(
      'CF001', format('measure is "%s"', left(item_analysis.measure, 100)), 'Use answers or scores.'
    );
  end if;
  if item_analysis.attempt is null or item_analysis.attempt not in ('first', 'last', 'best') then
    perform common.refuse(
      'CF001', format('attempt is "%s"', left(item_analysis.attempt, 100)), 'Use first, last or best.'
    );
  end if;
  v_visible := analytics._visible_learners(coalesce(item_analysis.course, ''), item_analysis.among);
  v_items := analytics._items_within(v_visible.course_id, item_analysis.item);
  return query
  select *
  from analytics._item_analysis(
    v_visible.learners, v_items, item_analysis.measure, item_analysis.attempt, v_visible.smallest_group
  );
end;
$$;

alter function analytics.item_analysis(text, text, text, text, text) owner to insights_reader;

comment on function analytics.item_analysis(text, text, text, text, text) is $$
Returns how difficult the questions or tasks of a course are, and how well they separate good from weak learners.
This is classical item analysis (R. L. Ebel and D. A. Frisbie, Essentials of Educational Measurement, 1991). `measure`:
`answers` analyses `Question Answered` (`correct`), `scores` tasks: the score of a `Task Submitted`, or the latest one
that `Task Completed`, `Task Failed`, `Task Graded` or `Grade Changed` gave until the next submission. `item`: those
within an item of the course, such as one quiz, of which the total is meant then. `attempt`: the `first`, `last` or
`best` score of each learner. `difficulty` is the mean score, for answers the proportion correct. `discrimination` is
the correlation with the mean score on the other items (corrected item-total correlation, for answers the point-biserial
one); `discrimination_index` is the mean score of the 27 % of learners with the highest mean over all items, less that
of the lowest 27 % (T. L. Kelley 1939), in which learners with equal means at the edge of a group count in part. Items
that a learner has not answered are left out of her mean. Learners are people who are enrolled in the course, also those
who have dropped it; `among`: people of these sets now.
For administrators and workers, figures are exact; for instructors too, in the courses that they teach now, without
people who have opted out of the purpose `analytics`. Analysts see figures of counted people: items with fewer people
than `analytics.setting.smallest_group` are left out, means are rounded to that number per person, and null for fewer
than 4.5 times as many people.
Errors: CF001 for another measure or attempt; CF002 for an unknown course, item or set (names the nearest), an item
that is not in the course, and a course that the instructor does not teach; CF005 for `among` given by an instructor.
$$;

grant execute on function analytics.item_analysis(text, text, text, text, text)
to insights_instructor, insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/learning/item_analysis.sql

--! Included analytics/learning/course_terms.sql
create or replace function analytics._course_terms(course_id bigint, learners bigint[], smallest_group int)
returns setof analytics.course_term
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  with run as materialized (
    select run.*, term.annotation_id, term.title, term.starts_at, term.ends_at
    from analytics._course_runs(_course_terms.course_id, _course_terms.learners) as run
    left join lateral (
      select annotation.annotation_id, annotation.title, annotation.starts_at, annotation.ends_at
      from analytics.annotation
      where annotation.kind = 'term'
        and run.enrolled_at >= annotation.starts_at
        and run.enrolled_at < coalesce(annotation.ends_at, 'infinity')
      order by annotation.starts_at desc, annotation.annotation_id desc
      limit 1
    ) as term on true
  ),

  counted as (
    select
      run.title, run.starts_at, run.ends_at,
      count(*) as learner_count,
      count(*) filter (where run.status = 'completed') as completed_count,
      count(*) filter (where run.status = 'dropped') as dropped_count,
      percentile_cont(0.5) within group (order by run.ended_at - run.enrolled_at)
        filter (where run.status = 'completed') as median_time,
      count(run.ended_at) filter (where run.status = 'completed') as timed_count,
      count(run.grade) as graded_count,
      avg(run.grade) as mean_grade
    from run
    group by run.annotation_id, run.title, run.starts_at, run.ends_at
  ),

  shown as (
    select
      counted.title, counted.starts_at, counted.ends_at,
      analytics._shown(counted.learner_count, counted.learner_count, _course_terms.smallest_group)::bigint
        as learner_count,
      analytics._shown(counted.completed_count, counted.completed_count, _course_terms.smallest_group)::bigint
        as completed_count,
      analytics._shown(counted.dropped_count, counted.dropped_count, _course_terms.smallest_group)::bigint
        as dropped_count,
      analytics._shown_time(
        counted.median_time, counted.timed_count, _course_terms.smallest_group, counted.median_time
      ) as median_time,
      analytics._shown(counted.graded_count, counted.graded_count, _course_terms.smallest_group)::bigint
        as graded_count,
      analytics._shown_mean(counted.mean_grade, counted.graded_count, _course_terms.smallest_group) as mean_grade
    from counted
  )

  select
    shown.title, shown.starts_at, shown.ends_at, shown.learner_count, shown.completed_count, shown.dropped_count,
    shown.completed_count / nullif(shown.learner_count, 0)::float8, shown.median_time, shown.graded_count,
    shown.mean_grade
  from shown
  where shown.learner_count > 0
  order by shown.starts_at nulls last, shown.ends_at, shown.title collate "C";
end;
$$;

comment on function analytics._course_terms(bigint, bigint[], int) is $$
Computes the result of `analytics.course_terms` for learners of a course, with the privileges of the caller.
`smallest_group`: see `analytics._shown`; null: exact figures.
$$;

grant execute on function analytics._course_terms(bigint, bigint[], int) to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures that its caller may see. */
create or replace function analytics.course_terms(course text, among text default null)
returns setof analytics.course_term
language plpgsql
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
declare
  v_visible record;
begin
  v_visible := analytics._visible_learners(coalesce(course_terms.course, ''), course_terms.among);
  return query
  select *
  from analytics._course_terms(v_visible.course_id, v_visible.learners, v_visible.smallest_group);
end;
$$;

alter function analytics.course_terms(text, text) owner to insights_reader;

comment on function analytics.course_terms(text, text) is $$
Returns the learners of a course by the term in which they enrolled, with completions, times and grades.
Terms are the annotations of the kind `term` (`analytics.annotate`). A learner is in the one in which her latest
enrolment began, of several in that which began last; those of no term have a row without title. A term without learners
has no row. The grade is the latest score of the course itself since the enrolment: of `Course Completed`, or of `Task
Graded` and `Grade Changed` whose item is the course. `among`: people of these sets now.
For administrators and workers, figures are exact; for instructors too, in the courses that they teach now, without
people who have opted out of the purpose `analytics`. Analysts see figures of counted people: a number of fewer people
than `analytics.setting.smallest_group` reads as 0, others are rounded by `analytics._shown`, and shares are computed
from these numbers; the mean grade is null for fewer than 1.5
times as many graded learners, and the median time for fewer than 4.5 times as many.
Errors: CF001 and CF002 for an invalid or unknown set; CF002 for an unknown course (names the nearest), and one that the
instructor does not teach; CF005 for `among` given by an instructor.
$$;

grant execute on function analytics.course_terms(text, text)
to insights_instructor, insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/learning/course_terms.sql

--! Included analytics/interventions/intervention_outcomes.sql
create or replace function analytics._intervention_outcomes(
  course_id bigint, learners bigint[], days int, smallest_group int
)
returns setof analytics.intervention_outcome
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_items constant bigint[] := array(
    select ancestor.item_id
    from track.item_ancestor as ancestor
    where ancestor.ancestor_item_id = _intervention_outcomes.course_id
  );
begin
  return query
  -- The first action of each kind about a learner: what she did after a second one may be due to the first.
  with noted as materialized (
    select distinct on (entry.person_id, entry.action)
      entry.person_id, entry.action, entry.happened_at, entry.risk
    from analytics._interventions(_intervention_outcomes.course_id) as entry
    where entry.person_id = any (_intervention_outcomes.learners)
    order by entry.person_id, entry.action, entry.happened_at, entry.intervention_id
  ),

  run as (
    select
      enrolment.person_id,
      bool_or(enrolment.status = 'completed') as has_completed,
      bool_and(enrolment.status = 'dropped') as has_dropped
    from track.enrolment
    where enrolment.item_id = _intervention_outcomes.course_id
      and enrolment.person_id = any (_intervention_outcomes.learners)
    group by enrolment.person_id
  ),

  followed as (
    select
      noted.action, noted.risk, run.has_completed, run.has_dropped,
      exists (
        select
        from track.event
        join track.event_type on event_type.event_type_id = event.event_type_id and not event_type.is_automatic
        join track.source on source.source_id = event.source_id and not source.is_automatic
        where event.person_id = noted.person_id
          and event.occurred_at > noted.happened_at
          and event.occurred_at <= noted.happened_at + make_interval(days => _intervention_outcomes.days)
          and event.item_id = any (v_items)
      ) as has_resumed,
      noted.happened_at + make_interval(days => _intervention_outcomes.days) > now() as is_open
    from noted
    join run on run.person_id = noted.person_id
  ),

  counted as (
    select
      followed.action,
      count(*) as person_count,
      count(*) filter (where followed.has_resumed) as resumed_count,
      count(*) filter (where not followed.has_resumed and not followed.is_open) as idle_count,
      count(*) filter (where not followed.has_resumed and followed.is_open) as open_count,
      count(*) filter (where followed.has_completed) as completed_count,
      count(*) filter (where followed.has_dropped) as dropped_count,
      count(followed.risk) as risk_count,
      avg(followed.risk) as mean_risk
    from followed
    group by followed.action
  ),

  shown as (
    select
      counted.action,
      analytics._shown(counted.person_count, counted.person_count, smallest_group)::bigint as person_count,
      analytics._shown(counted.resumed_count, counted.resumed_count, smallest_group)::bigint as resumed_count,
      analytics._shown(counted.idle_count, counted.idle_count, smallest_group)::bigint as idle_count,
      analytics._shown(counted.open_count, counted.open_count, smallest_group)::bigint as open_count,
      analytics._shown(counted.completed_count, counted.completed_count, smallest_group)::bigint as completed_count,
      analytics._shown(counted.dropped_count, counted.dropped_count, smallest_group)::bigint as dropped_count,
      analytics._shown_mean(counted.mean_risk, counted.risk_count, smallest_group) as mean_risk
    from counted
  )

  select
    shown.action, shown.person_count, shown.resumed_count, shown.idle_count, shown.open_count, shown.completed_count,
    shown.dropped_count, shown.resumed_count / nullif(shown.resumed_count + shown.idle_count, 0)::float8,
    shown.mean_risk
  from shown
  where shown.person_count > 0
  order by shown.person_count desc, shown.action collate "C";
end;
$$;

comment on function analytics._intervention_outcomes(bigint, bigint[], int, int) is $$
Computes the result of `analytics.intervention_outcomes` for learners, with the privileges of the caller.
`smallest_group`: see `analytics._shown` and `analytics._shown_mean`; null: exact figures.
$$;

grant execute on function analytics._intervention_outcomes(bigint, bigint[], int, int) to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures that its caller may see. */
create or replace function analytics.intervention_outcomes(course text, days int default 14, among text default null)
returns setof analytics.intervention_outcome
language plpgsql
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
declare
  v_visible record;
begin
  perform common.check_count('days', intervention_outcomes.days, 1, 365);
  v_visible := analytics._visible_learners(coalesce(intervention_outcomes.course, ''), intervention_outcomes.among);
  return query
  select *
  from analytics._intervention_outcomes(
    v_visible.course_id, v_visible.learners, intervention_outcomes.days, v_visible.smallest_group
  );
end;
$$;

alter function analytics.intervention_outcomes(text, int, text) owner to insights_reader;

comment on function analytics.intervention_outcomes(text, int, text) is $$
Returns the outcome of what teachers did about the learners of a course, by kind of action.
A learner has resumed when she was active in the course within `days` after the first action of the kind. This does not
show what the action caused: teachers choose whom they help, and many learners resume by themselves. An experiment does
(`experiment.assign`). Learners are people who are or were enrolled, without those who have opted out of the
purpose `analytics`; `among`: people of these sets now.
For administrators and workers, figures are exact; for instructors too, in the courses that they teach now. Analysts see
figures of counted people: actions about fewer people than `analytics.setting.smallest_group` are left out, a number of
fewer people reads as 0, others are rounded by `analytics._shown`, and the mean is null for fewer than 1.5 times as
many. Errors: CF001 for `days` that are not from 1 to 365; CF002 for an unknown course or set (names the nearest), and a
course that the instructor does not teach; CF005 for `among` given by an instructor.
$$;

grant execute on function analytics.intervention_outcomes(text, int, text)
to insights_instructor, insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/interventions/intervention_outcomes.sql

--! Included analytics/clusters/_fit_behaviour.sql
create or replace function analytics._fit_behaviour(settings analytics.cluster_setting, seed bigint)
returns analytics.cluster_fit
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set client_min_messages to warning
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set extra_float_digits to 1
set jit to off
as $$
declare
  -- More people do not move the centroids of a sample of this size noticeably.
  v_sample constant int := 20000;
  v_schema text;
  v_smallest constant int := greatest(5, (select setting.smallest_group from analytics.setting));
  v_fit analytics.cluster_fit;
  v_distinct int;
  v_centroids float8[];
  v_best float8;
  v_chosen int;
  v_dissolved int;
begin
  v_fit.fitted_at := now();
  v_fit.until := (now() at time zone 'UTC')::date;
  v_fit.since := v_fit.until - (settings).window_days;
  v_fit.seed := _fit_behaviour.seed;
  drop table if exists pg_temp._cluster_point, pg_temp._cluster_sample, pg_temp._cluster_tried,
    pg_temp._cluster_assigned;
  create temp table _cluster_point on commit drop as
  select behaviour.person_id, behaviour.features, null::float8[] as scaled, null::float8[] as point
  from analytics._behaviour(v_fit.since, v_fit.until) as behaviour;
  create temp table _cluster_assigned (person_id bigint, cluster_id int) on commit drop;
  v_schema := (select nspname from pg_catalog.pg_namespace where oid = pg_my_temp_schema());

  -- On its scale, within the percentiles 1 and 99 of all people (winsorized), and in standard deviations from the mean.
  with value as (
    select
      point.person_id, entry.position,
      case when feature.is_logarithmic then ln(1 + entry.value) else entry.value end as value
    from pg_temp._cluster_point as point
    cross join lateral unnest(point.features) with ordinality as entry (value, position)
    join analytics._behaviour_features() with ordinality
      as feature (feature, is_logarithmic, high_word, low_word, description, position)
      on feature.position = entry.position
  ),

  bound as (
    select
      value.position,
      percentile_disc(0.01) within group (order by value.value) as low,
      percentile_disc(0.99) within group (order by value.value) as high
    from value
    group by value.position
  ),

  bounded as materialized (
    select value.person_id, value.position, greatest(bound.low, least(bound.high, value.value)) as value
    from value
    join bound on bound.position = value.position
  ),

  spread as (
    -- Of a feature that all people share, the deviation is that of the rounding.
    select
      bounded.position, avg(bounded.value) as mean,
      case when stddev_pop(bounded.value) > 1e-6 then stddev_pop(bounded.value) end as deviation
    from bounded
    group by bounded.position
  ),

  placed as (
    select
      bounded.person_id,
      array_agg(bounded.value order by bounded.position) as scaled,
      -- Four digits: people who behave the same are the same point.
      array_agg(
        coalesce(round(((bounded.value - spread.mean) / spread.deviation)::numeric, 4)::float8, 0)
        order by bounded.position
      ) as point
    from bounded
    join spread on spread.position = bounded.position
    group by bounded.person_id
  )

  update pg_temp._cluster_point
  set scaled = placed.scaled, point = placed.point
  from placed
  where placed.person_id = _cluster_point.person_id;

  select count(*), count(distinct point.point) into v_fit.person_count, v_distinct from pg_temp._cluster_point as point;
  v_fit.tried := array(
    select number
    from (
      select generate_series(3, 8)
      union
      select (settings).cluster_count
    ) as candidate (number)
    where number < least(v_distinct, v_fit.person_count / v_smallest + 1)
    order by number
  );
  if cardinality(v_fit.tried) = 1 then
    v_fit.tried := array[2, v_fit.tried[1]];
  end if;
  if cardinality(v_fit.tried) < 2 then
    return null;
  end if;

  create temp table _cluster_sample on commit drop as
  select point.point
  from pg_temp._cluster_point as point
  order by hashint8extended(point.person_id, _fit_behaviour.seed)
  limit v_sample;
  -- The best of ten starts for each number of clusters.
  perform ml.kmeanspp_auto(
    'pg_temp._cluster_sample', v_schema || '._cluster_tried', 'point', v_fit.tried, seed => _fit_behaviour.seed
  );
  drop table pg_temp._cluster_sample, pg_temp._cluster_tried_summary;
  v_fit.silhouettes := array(select tried.silhouette from pg_temp._cluster_tried as tried order by tried.k);

  -- The given number, or the best; the present one stays unless another is clearly better, so that names stay.
  v_best := (select max(tried.silhouette) from pg_temp._cluster_tried as tried);
  select tried.k, tried.silhouette, tried.centroids into v_chosen, v_fit.silhouette, v_centroids
  from pg_temp._cluster_tried as tried
  order by
    tried.k is not distinct from (settings).cluster_count desc,
    case when (settings).cluster_count > tried.k then (settings).cluster_count - tried.k end,
    tried.k = (select count(*) from analytics.cluster where cluster.retired_at is null)
      and tried.silhouette >= v_best - 0.02 desc,
    tried.silhouette desc, tried.k
  limit 1;
  drop table pg_temp._cluster_tried;

  -- All people, also those who are not in the sample. Clusters of too few people are dissolved, the smallest first.
  loop
    drop table if exists pg_temp._cluster_assigned;
    perform ml.kmeans_predict(
      'pg_temp._cluster_point', v_schema || '._cluster_assigned', 'person_id', 'point', v_centroids
    );
    execute
      'select centroid.position
      from generate_series(1, $2) as centroid (position)
      left join (
        select assigned.cluster_id, count(*) as people from pg_temp._cluster_assigned as assigned group by 1
      ) as assigned on assigned.cluster_id = centroid.position
      where coalesce(assigned.people, 0) < $1
      order by coalesce(assigned.people, 0), centroid.position
      limit 1'
    into v_dissolved
    using v_smallest, array_length(v_centroids, 1);
    exit when v_dissolved is null;
    v_centroids := v_centroids[:v_dissolved - 1] || v_centroids[v_dissolved + 1:];
  end loop;
  v_fit.cluster_count := array_length(v_centroids, 1);
  return v_fit;
end;
$$;

comment on function analytics._fit_behaviour(analytics.cluster_setting, bigint) is $$
Clusters the people by their behaviour, into the temporary tables `_cluster_point` and `_cluster_assigned`.
The first has the features of each person, these on their scales within the percentiles 1 and 99, and as points in
standard deviations; the second her cluster. Returns the fit; null when there are too few people, or behaviours.
The best of three starts of k-means (`ml.kmeanspp_auto`) on at most 20,000 people, from the points and the seed alone:
nothing of former fits is read but their number of clusters.
$$;
--! EndIncluded analytics/clusters/_fit_behaviour.sql

--! Included recommend/feedback/_served_rows.sql
create or replace function recommend._served_rows(
  list recommend.recommendation[],
  person_id bigint,
  identity_id bigint,
  experiment_id int,
  variation smallint,
  function_name text
)
returns setof recommend.impression
language sql
stable
parallel safe
begin atomic
  select
    _served_rows.person_id,
    right(listed.serving_id, 32)::uuid,
    _served_rows.identity_id,
    nullif(split_part(listed.serving_id, '.', 1), '0')::bigint,
    listed.item_id,
    listed.rank,
    listed.basis,
    listed.propensity,
    -- The eighth field of the id of a marked slot.
    case
      when listed.propensity is not null then string_to_array(split_part(listed.serving_id, '.', 8), '-')::bigint[]
    end,
    -- That of the transaction, in the milliseconds of the id.
    date_trunc('milliseconds', now()),
    true,
    null::timestamptz,
    null::timestamptz,
    null::timestamptz,
    null::timestamptz,
    null::real,
    null::timestamptz,
    null::timestamptz,
    _served_rows.experiment_id,
    _served_rows.variation,
    listed.score,
    _served_rows.function_name
  from unnest(_served_rows.list) as listed;
end;

comment on function recommend._served_rows(
  recommend.recommendation[], bigint, bigint, int, smallint, text
) is $$
@behavior -*
Returns the rows of a list as they are recorded for a person when they are served.
In SQL, so that the statement which inserts them contains it.
$$;
--! EndIncluded recommend/feedback/_served_rows.sql

--! Included recommend/feedback/_record_list.sql
create or replace function recommend._record_list(
  list recommend.recommendation[],
  function_name text,
  kind text,
  started_at timestamptz
)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set plan_cache_mode to force_generic_plan
as $$
declare
  -- Identity and experiment are those of all rows, and read from the first one: see `recommend._serving_id`.
  v_fields constant text[] := string_to_array((_record_list.list[1]).serving_id, '.');
  v_identity_id bigint := nullif(v_fields[6], '0');
  v_serving recommend.serving;
  v_person_id bigint;
begin
  -- One condition for what is rare, because each list that is served is recorded here.
  if v_identity_id is null or cardinality(v_fields) > 8 or current_setting('transaction_read_only')::boolean then
    perform recommend._check_session('record what is served', '{}');
    -- A list for no person is shown to the learner who is signed in.
    if v_identity_id is null and _record_list.list <> '{}' and track.current_person_id() is not null
      and not track.reads_all_people()
    then
      v_identity_id := track.find_identity(current_setting('insights.person', true));
    end if;
    -- The ninth field is that of a pool or of an experiment.
    v_serving := recommend._serving_content((_record_list.list[1]).serving_id);
  end if;
  v_person_id := track.lock_person(v_identity_id, now());

  begin
    insert into recommend.impression
    select served.*
    from recommend._served_rows(
      _record_list.list, v_person_id, v_identity_id, (v_serving).experiment_id, (v_serving).variation,
      _record_list.function_name
    ) as served
    where v_person_id <> 0
      -- Most people have decided nothing: what `privacy.allowed` returns then takes less time here than in a function.
      and coalesce(
        (
          select purpose.basis <> 'consent'
          from privacy.purpose
          where purpose.purpose = 'personalization'
            and not exists (select from privacy.consent where consent.person_id = v_person_id)
            and not exists (select from privacy.restriction where restriction.person_id = v_person_id)
            and not exists (select from privacy.person_age where person_age.person_id = v_person_id)
        ),
        (select recommend._may_record(v_person_id))
      );
  exception
    when unique_violation then
      -- Rows that are recorded already: the same list in one transaction, or a row of `for_me` that an event named.
      -- They are rare, and to look for each of them first would take a quarter of the time of the record.
      insert into recommend.impression
      select served.*
      from recommend._served_rows(
        _record_list.list, v_person_id, v_identity_id, (v_serving).experiment_id, (v_serving).variation,
        _record_list.function_name
      ) as served
      where recommend._may_record(v_person_id)
      on conflict (person_id, serving_key) do update
      set is_served = true, score = excluded.score, function_name = excluded.function_name
      where not impression.is_served;
  end;

  -- The first exposure counts: a person who is known in this variation need not be computed again.
  if (v_serving).experiment_id is not null and recommend._may_record(v_person_id) and not exists (
    select
    from experiment.exposure
    where exposure.person_id = v_person_id
      and exposure.experiment_id = (v_serving).experiment_id
      and exposure.variation = (v_serving).variation
      and exposure.exposed_at <= (v_serving).listed_at
  ) then
    perform experiment.queue_exposures(array[v_person_id]);
  end if;

  insert into recommend.serving_call (hour_at, function_name, kind, model_id, item_count, seconds)
  values (
    date_bin('1 hour', now(), 'epoch'), _record_list.function_name, _record_list.kind,
    -- Rows of one version only; those that need no model may be before them.
    coalesce(
      nullif(v_fields[1], '0')::bigint,
      (
        select max(nullif(split_part(listed.serving_id, '.', 1), '0')::bigint)
        from unnest(_record_list.list) as listed
      )
    ),
    cardinality(_record_list.list),
    -- The clock may be set back.
    greatest(extract(epoch from clock_timestamp() - _record_list.started_at), 0)
  );
end;
$$;

comment on function recommend._record_list(recommend.recommendation[], text, text, timestamptz) is $$
@behavior -*
Records the rows of a list as served, each once, and how long the call of `function_name` took since `started_at`.
The list is one that the caller has just made: nothing is checked. One that is for no person is recorded for the learner
who is signed in, and otherwise not. Those of people who have opted out of `personalization` are not recorded.
Errors: 25006 in a read-only transaction.
$$;
--! EndIncluded recommend/feedback/_record_list.sql

--! Included recommend/rules/preview_rule.sql
create or replace function recommend.preview_rule(
  person text,
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
  is_active boolean default true,
  top int default 10
)
returns setof recommend.rule_effect
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_kind constant text := coalesce(preview_rule.kind, 'course');
  v_before recommend.recommendation[] := array(
    select listed from recommend.for_person(preview_rule.person, preview_rule.top, v_kind) as listed
  );
  v_after recommend.recommendation[];
begin
  -- The rule is stored in a subtransaction, which is rolled back: the list is the one that people would get.
  begin
    perform recommend.set_rule(
      preview_rule.name, preview_rule.action, preview_rule.items, preview_rule.within_item, preview_rule.attribute,
      preview_rule.attribute_value, preview_rule.language, preview_rule.kind, preview_rule.person_set,
      preview_rule.is_outside_set, preview_rule.active_from, preview_rule.active_until, preview_rule.amount,
      preview_rule.place, preview_rule.period, preview_rule.is_active
    );
    v_after := array(
      select listed from recommend.for_person(preview_rule.person, preview_rule.top, v_kind) as listed
    );
    raise sqlstate 'CFPRE';
  exception
    when sqlstate 'CFPRE' then null;
  end;

  return query
  select
    present.rank, former.rank, coalesce(present.item, former.item), coalesce(present.title, former.title)
  from unnest(v_after) as present
  full join unnest(v_before) as former using (item_id)
  order by present.rank, former.rank;
end;
$$;

comment on function recommend.preview_rule(
  text, text, text, text[], text, text, text, text, text, text, boolean, timestamptz, timestamptz, float8, int,
  interval, boolean, int
) is $$
@behavior -mutationField +queryField
Returns the list of the first `top` items for a person as it would be with a rule, beside the present one.
The arguments of the rule are those of `recommend.set_rule`; nothing is stored. The kind of the list is that of the
rule, or `course`.
Errors: those of `recommend.set_rule` and `recommend.for_person`; the read is logged in `privacy.disclosure`.
$$;

grant execute on function recommend.preview_rule(
  text, text, text, text[], text, text, text, text, text, text, boolean, timestamptz, timestamptz, float8, int,
  interval, boolean, int
) to insights_admin;
--! EndIncluded recommend/rules/preview_rule.sql

--! Included recommend/times/refresh_serving_times.sql
create or replace function recommend.refresh_serving_times(most_calls int default 20000)
returns bigint
language plpgsql
volatile
-- A definer: no role may write recommend.serving_time.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_buckets constant int := cardinality(common.duration_bounds()) + 1;
  v_counted bigint;
begin
  perform common.check_count('most_calls', refresh_serving_times.most_calls, 1, 10000000);

  -- In one order, so that two refreshes at once do not wait for each other's rows in a circle.
  with taken as (
    delete from recommend.serving_call
    where serving_call.ctid = any (
      array(
        select queued.ctid
        from recommend.serving_call as queued
        limit refresh_serving_times.most_calls
        for update skip locked
      )
    )
    returning serving_call.*
  ),

  counted as (
    select
      taken.hour_at, taken.function_name, taken.kind, coalesce(taken.model_id, 0) as model_id,
      common.duration_bucket(taken.seconds) as bucket,
      count(*) as calls, sum(taken.item_count) as items, sum(taken.seconds) as seconds
    from taken
    group by taken.hour_at, taken.function_name, taken.kind, coalesce(taken.model_id, 0), bucket
  ),

  summed as (
    select
      counted.hour_at, counted.function_name, counted.kind, counted.model_id,
      sum(counted.calls) as calls, sum(counted.items)::bigint as items, sum(counted.seconds) as seconds,
      array(
        select coalesce(max(entry.calls), 0)
        from generate_series(1, v_buckets) as place
        left join unnest(array_agg(counted.bucket), array_agg(counted.calls)) as entry (bucket, calls)
          on entry.bucket = place
        group by place
        order by place
      ) as counts
    from counted
    group by counted.hour_at, counted.function_name, counted.kind, counted.model_id
  ),

  stored as (
    insert into recommend.serving_time as known (hour_at, function_name, kind, model_id, counts, items, seconds)
    select
      summed.hour_at, summed.function_name, summed.kind, summed.model_id, summed.counts, summed.items, summed.seconds
    from summed
    order by summed.hour_at, summed.function_name collate "C", summed.kind collate "C", summed.model_id
    on conflict (hour_at, function_name, kind, model_id) do update
    set
      counts = array(
        select former.calls + added.calls
        from unnest(known.counts) with ordinality as former (calls, place)
        join unnest(excluded.counts) with ordinality as added (calls, place) using (place)
        order by place
      ),
      items = known.items + excluded.items,
      seconds = known.seconds + excluded.seconds
  )

  select coalesce(sum(summed.calls), 0) into v_counted
  from summed;

  delete from recommend.serving_time
  where serving_time.hour_at < now() - privacy.kept_for('serving_times');
  return v_counted;
end;
$$;

comment on function recommend.refresh_serving_times(int) is $$
@behavior -mutationField
Counts the durations of calls that are stored in `recommend.serving_call`, and deletes these rows.
At most `most_calls` in a transaction; the worker repeats it until it returns 0. Counts older than
`privacy.kept_for('serving_times')` are deleted. Returns the number of calls.
Errors: CF001 for `most_calls`.
$$;

grant execute on function recommend.refresh_serving_times(int) to insights_worker;
--! EndIncluded recommend/times/refresh_serving_times.sql

-- from recommend/data_map.sql
insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, erasure, description)
select entry.schema_name, entry.table_name, column_name, 'none', 'service', 'kept', entry.reason
from (
  values
    (
      'recommend', 'setting', '{lambdas,kept_kinds,topic_attribute,explored_slots}',
      'Settings of the installation.'
    ),
    ('recommend', 'list_parameters', '{kind,parameters}', 'Parameters of lists, by administrators.'),
    ('recommend', 'event_weight', '{event,value_property}', 'Settings of an event type, by administrators.'),
    ('recommend', 'secret', '{inner_key,outer_key}', 'Random keys of signatures.'),
    (
      'recommend', 'rule', '{name,kind,attribute,attribute_value,language,person_set}',
      'Rules for lists, by administrators: conditions on items, and sets of people by name.'
    ),
    ('recommend', 'rule_item', '{name}', 'Name of a rule.'),
    ('recommend', 'rule_log', '{log_id}', 'Random keys.'),
    ('recommend', 'serving_call', '{function_name,kind}', 'Names of functions, and kinds of items.'),
    ('recommend', 'serving_time', '{function_name,kind,counts}', 'Numbers of calls by function and kind of items.'),
    ('recommend', 'impression', '{function_name}', 'Name of a function.'),
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

--! Included monitor/relevance/_fit_positions.sql
create or replace function monitor._fit_positions(
  alike bigint[],
  rank int[],
  listed float8[],
  clicked float8[],
  out used int[],
  out compared float8[],
  out logs float8[],
  out inverse float8[]
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_fewest_clicks constant int := 10;
  v_former int[];
  v_size int;
  v_alike bigint[];
  v_place int[];
  v_listed float8[];
  v_clicked float8[];
  v_logs float8[];
  v_next float8[];
  v_now record;
  v_then record;
  v_inverse float8[];
  v_direction float8[];
  v_length float8;
begin
  -- Ranks with enough clicks in groups that have two of such ranks, until no rank falls out.
  used := array(select generate_series(1, 20));
  loop
    v_former := used;
    select
      array_agg(compared.rank order by compared.rank) filter (where compared.clicked >= v_fewest_clicks),
      array_agg(compared.clicked order by compared.rank)
    into used, compared
    from (
      select each.rank, coalesce(sum(cell.clicked), 0) as clicked
      from generate_series(1, 20) as each (rank)
      left join (
        select given.rank, given.clicked, min(given.rank) over alike < max(given.rank) over alike as is_compared
        from unnest(_fit_positions.alike, _fit_positions.rank, _fit_positions.clicked) as given (alike, rank, clicked)
        where given.rank = any (v_former)
        window alike as (partition by given.alike)
      ) as cell
        on cell.rank = each.rank
        and cell.is_compared
      group by each.rank
    ) as compared;
    exit when used is null or used = v_former;
  end loop;
  v_size := cardinality(used) - 1;
  if used[1] is distinct from 1 or v_size < 1 then
    return;
  end if;

  select
    array_agg(given.alike order by given.alike), array_agg(array_position(used, given.rank) order by given.alike),
    array_agg(given.listed order by given.alike), array_agg(given.clicked order by given.alike)
  into v_alike, v_place, v_listed, v_clicked
  from unnest(_fit_positions.alike, _fit_positions.rank, _fit_positions.listed, _fit_positions.clicked)
    as given (alike, rank, listed, clicked)
  where given.rank = any (used);

  -- Newton's method. The likelihood is concave; a step that does not improve it is halved. The first estimate is
  -- that of the click rates, as if items of all ranks were equally relevant.
  v_logs := array(
    select ln(observed.rate) - ln(first_value(observed.rate) over (order by observed.place))
    from (
      select given.place, sum(given.clicked) / sum(given.listed) as rate
      from unnest(v_place, v_listed, v_clicked) as given (place, listed, clicked)
      group by given.place
    ) as observed
    order by observed.place
  );
  select * into v_now from monitor._position_step(v_alike, v_place, v_listed, v_clicked, v_logs);
  for v_iteration in 1..50 loop
    v_inverse := monitor._inverse(v_now.information, v_size);
    if v_inverse is null then
      return;
    end if;
    v_direction := array(
      select sum(v_inverse[(i - 1) * v_size + j] * v_now.gradient[j])
      from generate_series(1, v_size) as i
      cross join generate_series(1, v_size) as j
      group by i
      order by i
    );
    v_length := 1;
    loop
      v_next := array(
        select v_logs[place] + case when place = 1 then 0 else v_length * v_direction[place - 1] end
        from generate_series(1, v_size + 1) as place
        order by place
      );
      select * into v_then from monitor._position_step(v_alike, v_place, v_listed, v_clicked, v_next);
      exit when v_then.likelihood >= v_now.likelihood - 1e-9 * abs(v_now.likelihood);
      v_length := v_length / 2;
      if v_length < 1e-6 then
        return;
      end if;
    end loop;
    v_logs := v_next;
    v_now := v_then;
    -- A rank of which the clicks are separated from those of the others has no finite estimate.
    if (select max(abs(log)) > 15 from unnest(v_logs) as log) then
      return;
    end if;
    -- The error that remains is about the square of the last step.
    if (select max(abs(step)) < 1e-7 from unnest(v_direction) as step) then
      logs := v_logs;
      inverse := monitor._inverse(v_now.information, v_size);
      return;
    end if;
  end loop;
end;
$$;

comment on function monitor._fit_positions(bigint[], int[], float8[], float8[]) is $$
@behavior -*
Estimates the examination of ranks from rows and clicks of groups of equal rows by rank.
`used`: the ranks that can be compared; `compared`: the clicks by rank, from 1 to 20, of which the estimate is made;
`logs`: the logarithms of the examination of the ranks in `used`, the first of which is 0; `inverse`: the inverse of
their information matrix, without the first. The last two are null without a finite estimate.
$$;

grant execute on function monitor._fit_positions(bigint[], int[], float8[], float8[]) to insights_reader;
--! EndIncluded monitor/relevance/_fit_positions.sql

--! Included monitor/cost/_stored_bytes.sql
create or replace function monitor._stored_bytes(relations regclass[], out row_count float8, out bytes float8)
language sql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  -- A table that was never analyzed has -1 rows; the counter of live rows is 0 after a crash of the server.
  select
    sum(greatest(class.reltuples, pg_stat_get_live_tuples(class.oid), 0)), sum(pg_total_relation_size(class.oid))
  from unnest(relations) as given (relation)
  cross join lateral (
    select given.relation as relid
    where (select relkind from pg_class where oid = given.relation) <> 'p'

    union all

    select tree.relid
    from pg_partition_tree(given.relation) as tree
    where (select relkind from pg_class where oid = given.relation) = 'p'
      and tree.isleaf
  ) as stored
  join pg_class as class on class.oid = stored.relid
$$;

comment on function monitor._stored_bytes(regclass[]) is $$
@behavior -*
Returns the estimated number of rows of tables and their partitions, and their bytes with indexes.
The larger one of the number of the last analyze and of the counter of the statistics.
$$;

grant execute on function monitor._stored_bytes(regclass[])
to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded monitor/cost/_stored_bytes.sql

--! Included monitor/cost/cost.sql
create or replace function monitor._cost(period tstzrange, weeks timestamptz[], list_weeks timestamptz[])
returns setof monitor.cost_figures
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set jit to off
as $$
declare
  v_lists constant monitor.list_duration := (
    select lists
    from monitor._list_histograms(
      array[lower(_cost.period)], array[upper(_cost.period)], null, false,
      case when _cost.list_weeks is not null then array_fill(''::text, array[cardinality(_cost.list_weeks)]) end,
      _cost.list_weeks
    ) as lists
  );
begin
  return query
  with received as (
    select sum(latency.messages)::float8 as units, sum(latency.seconds) as seconds
    from monitor.latency
    where latency.hour_at >= lower(_cost.period)
      and latency.hour_at < upper(_cost.period)
      and (_cost.weeks is null or date_bin('7 days', latency.hour_at, '2000-01-03 00:00Z') = any (_cost.weeks))
      and latency.operation = 'trackIngest'
  ),

  refreshed as (
    select
      sum(run.row_count)::float8 as units, sum(extract(epoch from run.duration))::float8 as seconds
    from monitor.run
    where run.task = 'refresh'
      and run.outcome = 'ok'
      and run.started_at >= lower(_cost.period)
      and run.started_at < upper(_cost.period)
      and (_cost.weeks is null or date_bin('7 days', run.started_at, '2000-01-03 00:00Z') = any (_cost.weeks))
  ),

  trained as (
    select
      count(*)::float8 as units, sum(extract(epoch from model.duration))::float8 as seconds,
      percentile_cont(0.5) within group (order by extract(epoch from model.duration)::float8) as p50,
      percentile_cont(0.95) within group (order by extract(epoch from model.duration)::float8) as p95
    from ml.model
    join ml.project using (project_id)
    where starts_with(project.name, 'recommend.')
      and model.trained_at >= lower(_cost.period)
      and model.trained_at < upper(_cost.period)
      and model.duration is not null
  ),

  kept as (
    select count(distinct model_part.model_id)::float8 as versions from recommend.model_part
  ),

  figure as (
    select 1 as place, 'event' as subject, received.units, received.seconds, null::float8 as p50, null::float8 as p95,
      stored.row_count as stored, stored.bytes
    from received
    cross join monitor._stored_bytes('{track.event}') as stored

    union all

    select 2, 'refresh', refreshed.units, refreshed.seconds, null, null, null, null
    from refreshed

    union all

    select 3, 'list', v_lists.call_count, v_lists.seconds, v_lists.p50_ms / 1000, v_lists.p95_ms / 1000, null, null

    union all

    select 4, 'recommendation', v_lists.item_count, v_lists.seconds, null, null, stored.row_count, stored.bytes
    from monitor._stored_bytes('{recommend.impression}') as stored

    union all

    select 5, 'training', trained.units, trained.seconds, trained.p50, trained.p95, kept.versions, stored.bytes
    from trained
    cross join kept
    cross join monitor._stored_bytes(
      '{recommend.neighbours,recommend.learning,recommend.learned,recommend.learned_item}'
    ) as stored
  )

  select
    figure.subject, coalesce(figure.units, 0)::bigint, figure.seconds, 1000 * figure.seconds / nullif(figure.units, 0),
    1000 * figure.p50, 1000 * figure.p95, figure.stored::bigint, figure.bytes::bigint,
    figure.bytes / nullif(figure.stored, 0)
  from figure
  order by figure.place;
end;
$$;

comment on function monitor._cost(tstzrange, timestamptz[], timestamptz[]) is $$
@behavior -*
Computes the result of `monitor.cost`, with exact figures.
`weeks`: the weeks of messages and refreshes that count, `list_weeks`: those of lists; null: the whole period.
$$;

/* A definer: it reads durations, and sizes of tables that no role may read; it takes no names. */
create or replace function monitor._cost_exact(since timestamptz, until timestamptz)
returns setof monitor.cost_figures
language plpgsql
stable
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  perform common.check_period(_cost_exact.since, _cost_exact.until);
  return query
  select * from monitor._cost(tstzrange(_cost_exact.since, _cost_exact.until), null, null);
end;
$$;

comment on function monitor._cost_exact(timestamptz, timestamptz) is $$
@behavior -*
Returns the result of `monitor.cost` with exact figures, for admins and workers.
$$;

grant execute on function monitor._cost_exact(timestamptz, timestamptz) to insights_admin, insights_worker;

/* A definer: as `_cost_exact`; it also finds the weeks in which enough people were active. */
create or replace function monitor._cost_shown(since timestamptz, until timestamptz)
returns setof monitor.cost_figures
language plpgsql
stable
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set timezone to 'UTC'
set jit to off
-- Results of functions have no statistics.
set enable_mergejoin to off
as $$
declare
  v_smallest_group constant int := (select setting.smallest_group from analytics.setting);
  v_period constant tstzrange := monitor._whole_weeks(_cost_shown.since, _cost_shown.until);
  v_weeks timestamptz[];
  v_list_weeks timestamptz[];
begin
  -- A week in which few counted people were active, or were served lists, is left out.
  v_weeks := array(
    select person.week
    from (
      select distinct date_bin('7 days', session.started_at, '2000-01-03 00:00Z') as week, session.person_id
      from track.session
      join track.person_set_blocks('counted') as counted on counted.block = session.person_id / 4096
      where session.started_at >= lower(v_period)
        and session.started_at < upper(v_period)
        and get_bit(counted.people, (session.person_id % 4096)::int) <> 0
    ) as person
    group by person.week
    having count(*) >= v_smallest_group
  );
  v_list_weeks := array(
    select person.week
    from (
      select distinct date_bin('7 days', impression.listed_at, '2000-01-03 00:00Z') as week, impression.person_id
      from recommend.impression
      join track.person_set_blocks('counted') as counted on counted.block = impression.person_id / 4096
      where impression.listed_at >= lower(v_period)
        and impression.listed_at < upper(v_period)
        and impression.is_served
        and get_bit(counted.people, (impression.person_id % 4096)::int) <> 0
    ) as person
    group by person.week
    having count(*) >= v_smallest_group
  );

  return query
  select
    figure.subject, null::bigint, null::float8, monitor._shown_rate(figure.mean_ms, v_smallest_group),
    monitor._shown_rate(figure.p50_ms, v_smallest_group), monitor._shown_rate(figure.p95_ms, v_smallest_group),
    null::bigint, null::bigint, monitor._shown_rate(figure.unit_bytes, v_smallest_group)
  from monitor._cost(v_period, v_weeks, v_list_weeks) as figure;
end;
$$;

comment on function monitor._cost_shown(timestamptz, timestamptz) is $$
@behavior -*
Returns the result of `monitor.cost` for analysts: milliseconds and bytes of a unit, rounded.
$$;

grant execute on function monitor._cost_shown(timestamptz, timestamptz) to insights_analyst;

create or replace function monitor.cost(
  since timestamptz default (now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now()
)
returns setof monitor.cost_figures
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege('monitor._cost_exact(timestamptz, timestamptz)', 'execute') then
    return query select * from monitor._cost_exact(cost.since, cost.until);
  else
    return query select * from monitor._cost_shown(cost.since, cost.until);
  end if;
end;
$$;

comment on function monitor.cost(timestamptz, timestamptz) is $$
Returns what an event, its refresh, a list, a recommendation and a training cost, in milliseconds and bytes.
- `event`: a message given to `trackIngest`; bytes of `track.event`.
- `refresh`: a person whose derived data was brought up to date by the task `refresh`.
- `list`: a call of `recommend.serve_me` or a variant (`recommend.serving_times`); `recommendation`: a row of these
  lists, with the time of the calls divided by their number; bytes of `recommend.impression`.
- `training`: a version of a recommender; bytes of its weights and record, per version whose weights are kept.
Messages, lists and recommendations are those of the hours that begin in the period, in UTC; refreshes those
that began in it, trainings those that ended in it; sizes are those of the present, numbers of stored rows the
estimates of the statistics.
For admins and workers, figures are exact. Analysts read the milliseconds and bytes of a unit, with two significant
digits, without numbers of units: of whole weeks, without those in which fewer than `analytics.setting.smallest_group`
counted people were active (`event`, `refresh`), or were served lists (`list`, `recommendation`).
Errors: CF001 for an invalid period.
$$;

grant execute on function monitor.cost(timestamptz, timestamptz)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded monitor/cost/cost.sql

/* The rows that are held out are determined in one place for ml.train and ml.export_training_set. */
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
  v_relation regclass := common.relation(source_table);
  v_split constant text := ml._temporary('_ml_train_split');
  v_id text;
  v_label text;
  v_group text;
  v_source text;
  v_part text;
  v_listed text[];
  v_leak text;
begin
  if holdout_share is null or not (holdout_share > 0 and holdout_share < 1) then
    perform common.refuse('CF001', format('holdout_share %s', coalesce(holdout_share::text, 'null')),
      'Hold out a share between 0 and 1, such as 0.25.');
  elsif seed is null then
    perform common.refuse('CF001', 'the seed is null', 'Give a number; the same seed gives the same model.');
  elsif num_nonnulls(predicted_at, holdout) = 2 then
    perform common.refuse('CF001', 'both predicted_at and holdout say what is held out', 'Give one of them.');
  elsif predicted_at is null and num_nonnulls(label_known_at, feature_known_at) > 0 then
    perform common.refuse('CF001', 'label_known_at and feature_known_at need predicted_at',
      'Give the time of each row''s prediction.');
  end if;
  perform common.check_count('seed', seed, -1000000000000000000, 1000000000000000000);
  v_id := common.column_name(v_relation, id_col_name, 'id column');
  -- A label that is text names classes.
  v_label := case
    when (
      select typcategory from pg_catalog.pg_type
      where oid = common.base_type(common.expression_type(label, v_relation, 'label'))
    ) in ('S', 'E') then ml._class_label(label, v_relation)
    else common.numeric_expression(label, v_relation, 'label')
  end;
  v_group := case when group_column is null then v_id else common.column_name(v_relation, group_column, 'group column')
    end;
  if holdout is not null and common.expression_type(holdout, v_relation, 'holdout') <> 'boolean'::regtype then
    perform common.refuse('CF001', format('holdout "%s" is not boolean', left(holdout, 100)),
      'Give a condition that is true for the rows to hold out, such as ''course_id in (4, 7)''.');
  end if;
  v_listed := ml._tree_features(v_relation, features, features_to_exclude,
    array[id_col_name, v_id, group_column, predicted_at, label_known_at, feature_known_at], label);
  -- Features are columns, so that a model can be asked by their names.
  v_listed := array(select common.column_name(v_relation, name, 'feature')
    from unnest(v_listed) with ordinality as feature (name, position) order by position);
  v_leak := (
    select left(name, 100)
    from unnest(common.expression_columns(label, v_relation)) as name
    where quote_ident(name) = any (v_listed)
    limit 1
  );
  if v_leak is not null then
    perform common.refuse('CF001', format('the feature "%s" is a part of the label "%s"', v_leak, left(label, 100)),
      'Leave it out: what is predicted is not known when it is predicted.');
  end if;

  execute format('drop table if exists %s, %s cascade', ml._temporary('_ml_train_row'), v_split);
  v_source := v_relation::text;
  if predicted_at is not null then
    perform ml.time_split(source_table, v_split, predicted_at, coalesce(label_known_at, predicted_at),
      feature_known_at, null, holdout_share);
    v_source := v_split;
    v_part := 'split = ''test''';
  elsif holdout is not null then
    v_part := format('coalesce((%s), false)', common.expression(holdout, v_relation));
  else
    v_part := format('ml.in_holdout((%s)::text, %L::float8)', v_group, holdout_share);
  end if;
  perform ml._create_table(format(
    'create temporary table _ml_train_row on commit drop as
     select source.*, %s as _ml_label, %s as _ml_known_at,
       case when %s then 2 when hashtextextended((%s)::text, %s) & 1048575 < 209715 then 1 else 0 end as _ml_part
     from %s as source',
    v_label, case when predicted_at is null then 'now()'
      else format('(%s)::timestamptz', common.expression(coalesce(label_known_at, predicted_at), v_relation)) end,
    v_part, v_group, seed + 21, v_source
  ));
  execute format('drop table if exists %s', v_split);
  return v_listed;
end;
$$;

comment on function ml._divide(text, text, text, text, text, text, text, text, text, text, float8, bigint) is $$
Writes the temporary table `_ml_train_row`:
the columns of the source, `_ml_label`, `_ml_known_at` (when the label was known) and `_ml_part` (0 to train on, 1 to
validate on, 2 held out).
Returns the quoted names of the features. Errors: see ml.train.
$$;

grant execute on function ml._divide(text, text, text, text, text, text, text, text, text, text, float8,
  bigint) to insights_admin, insights_worker;

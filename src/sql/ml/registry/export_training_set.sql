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
    source_table, id_col_name, label, features, features_to_exclude, predicted_at, label_known_at, feature_known_at,
    group_column, holdout, holdout_share, seed
  );
  v_id := common.column_name(v_rows::regclass, id_col_name, 'id column');
  return next (
    select string_agg(ml._csv(name), ',' order by position)
    from unnest(array['part', 'id', 'label']
      || array(select (parse_ident(name))[1] from unnest(v_listed) with ordinality as feature (name, position)
        order by position))
      with ordinality as head (name, position)
  );
  return query execute format(
    'select concat((array[''train'', ''validation'', ''holdout''])[_ml_part + 1], '','', ml._csv((%1$s)::text), '','',
        ml._csv(_ml_label::text), %2$s) from %3$s where _ml_label is not null order by %1$s',
    v_id,
    (
      select string_agg(
        format(''','', %s', case
          when common.expression_type(name, v_rows::regclass, 'feature') = 'boolean'::regtype then format('(%s)::int',
            name)
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

comment on function ml.export_training_set(
  text, text, text, text, text, text, text, text, text, text, float8, bigint
) is $$
@behavior -*
The rows that ml.train would train on, as lines of CSV, the head first:
`part` (train, validation or holdout), `id`, `label` and the features, in the order of the ids.
For models that are made elsewhere: the same arguments divide the rows as ml.train does, with the same guard against
leaks. Booleans are 0 and 1, a label that is text stays text, unknown values empty, times as ISO 8601. Rows without a
label are left out. Errors: as ml.train's.
$$;

grant execute on function ml._csv(text),
  ml.export_training_set(text, text, text, text, text, text, text, text, text, text, float8, bigint)
to insights_admin, insights_worker;

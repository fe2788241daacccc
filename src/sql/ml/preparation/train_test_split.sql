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
  v_relation regclass := common.relation(source_table);
  v_output text := common.output_table(output_table, array['_train', '_test']);
  v_groups text[] := common.column_names(v_relation, grouping_cols, 'grouping columns');
  v_columns text[] := common.column_names(v_relation, case when btrim(target_cols) <> '*' then target_cols
    end, 'target columns');
  v_test float8 := coalesce(test_proportion, 1 - train_proportion);
  v_partition text := case when v_groups = '{}' then '' else 'partition by ' || array_to_string(v_groups, ', ') end;
  v_list text;
  v_rows bigint;
begin
  if train_proportion is null or not (train_proportion > 0 and train_proportion < 1) or not (v_test > 0 and v_test < 1)
    or train_proportion + v_test > 1 + 1e-9 or seed is null then
    perform common.refuse(
      'CF001',
      format(
        'train_proportion %s, test_proportion %s',
        coalesce(train_proportion::text, 'null'),
        coalesce(v_test::text, 'null')
      ),
      'Both are shares between 0 and 1 that sum to 1 or less.'
    );
  elsif with_replacement then
    perform common.refuse('CF001', 'a split with replacement would test on rows it trains on',
      'Leave with_replacement false; ml.stratified_sample draws with replacement.');
  end if;
  if v_columns = '{}' then
    v_columns := array(select quote_ident(name)
      from unnest(common.columns(v_relation)) with ordinality as stored (name, position) order by position);
  else
    v_columns := array(select name from unnest(v_groups || v_columns) with ordinality as part (name, position)
      group by name order by min(position));
  end if;
  if not separate_output_tables and 'split' = any (v_columns) then
    perform common.refuse('CF003', format('"%s" has a column "split" already', v_relation),
      'Name target_cols without it, or choose separate_output_tables.');
  end if;
  v_list := array_to_string(v_columns, ', ');
  drop table if exists pg_temp._ml_split;
  execute format(
    'create temp table _ml_split on commit drop as
     select %1$s, (_place <= round(_size * %2$L::float8))::int as _split
     from (
       select *, row_number() over (%3$s order by hashtextextended(source::text, %4$L::bigint), source::text)
         as _place, count(*) over (%3$s) as _size
       from %5$s as source
     ) as placed
     where _place <= round(_size * %6$L::float8)',
    v_list, train_proportion, v_partition, seed, v_relation, least(train_proportion + v_test, 1)
  );
  get diagnostics v_rows = row_count;
  if v_rows < 2 then
    perform common.refuse('CF004', format('"%s" has %s rows to split', v_relation, v_rows),
      'A split needs at least two rows.');
  end if;
  if separate_output_tables then
    execute format('create table %s as select %s from pg_temp._ml_split where _split = 1',
      common.companion_table(v_output, '_train'), v_list);
    execute format('create table %s as select %s from pg_temp._ml_split where _split = 0',
      common.companion_table(v_output, '_test'), v_list);
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
Writes `output_table` with `target_cols` (null or `*`: all columns) and `split` (1 = train, 0 = test), or with
`separate_output_tables` the tables `<output_table>_train` and `<output_table>_test`. A row's content and the seed
decide, not the order of rows.
Errors: CF001 (proportions, with_replacement), CF002, CF003 (a table or the column `split` exists), CF004 (fewer than
two rows), CF005.
$$;

grant execute on function ml.train_test_split(text, text, float8, float8, text, text, boolean, boolean,
  bigint) to insights_analyst, insights_admin, insights_worker;

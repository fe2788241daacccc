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
  v_relation regclass := common.relation(source_table);
  v_output text := common.output_table(output_table);
  v_groups text[] := common.column_names(v_relation, grouping_cols, 'grouping columns');
  v_columns text[] := common.column_names(v_relation, case when btrim(target_cols) <> '*' then target_cols
    end, 'target columns');
  v_rows bigint;
begin
  if proportion is null or not (proportion > 0 and proportion <= 1) or seed is null or with_replacement is null then
    perform common.refuse('CF001', format('proportion %s', coalesce(proportion::text, 'null')),
      'Choose a share above 0, at most 1, a seed, and with_replacement true or false.');
  end if;
  if v_columns = '{}' then
    v_columns := array(select quote_ident(name)
      from unnest(common.columns(v_relation)) with ordinality as stored (name, position) order by position);
  else
    v_columns := array(select name from unnest(v_groups || v_columns) with ordinality as part (name, position)
      group by name order by min(position));
  end if;
  execute format('create table %s as %s', v_output,
    ml._sample(v_relation, v_groups, v_columns, proportion, with_replacement, seed));
  get diagnostics v_rows = row_count;
  if v_rows = 0 then
    perform common.refuse('CF004', format('a share of %s of "%s" holds no row', proportion, v_relation),
      'Choose a larger share.');
  end if;
end;
$$;

comment on function ml.stratified_sample(text, text, float8, text, text, boolean, bigint) is $$
@behavior -*
Draws a share of the rows of each group (stratum), rounded to whole rows per group.
Writes `output_table` with the grouping columns and `target_cols` (null or `*`: all columns). A row's content and the
seed decide, not the order of rows.
Errors: CF001 (proportion), CF002, CF003 (`output_table` exists), CF004 (nothing drawn), CF005.
$$;

grant execute on function ml.stratified_sample(text, text, float8, text, text, boolean, bigint)
  to insights_analyst, insights_admin, insights_worker;

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
    perform common.refuse('CF001', format('%s bins', coalesce(max_bins::text, 'null')),
      'Choose 2 to 500 bins; 64 is a good number.');
  end if;
  if array_length(features, 1) > 1500 then
    perform common.refuse('CF008', format('%s features', array_length(features, 1)), 'Trees take up to 1500 features.');
  end if;
  drop table if exists pg_temp._ml_tree_feature, pg_temp._ml_tree_source, pg_temp._ml_tree_row, pg_temp._ml_tree_node,
    pg_temp._ml_tree_histogram, pg_temp._ml_tree_split;
  create temp table _ml_tree_feature (
    feature int primary key,
    name text not null,
    category boolean not null,
    edges float8[],
    categories text[]
  ) on commit drop;

  foreach v_feature in array features loop
    v_position := v_position + 1;
    v_type := common.expression_type(v_feature, relation, 'feature');
    if v_type in ('text'::regtype, 'character varying'::regtype, 'character'::regtype, 'name'::regtype, 'uuid'::regtype)
      or (select typtype = 'e' from pg_catalog.pg_type where oid = v_type) then
      insert into pg_temp._ml_tree_feature values (v_position, v_feature, true, null, null);
      v_columns := v_columns || format('(%s)::text as x%s', v_feature, v_position);
    else
      insert into pg_temp._ml_tree_feature values (v_position, v_feature, false, null, null);
      v_columns := v_columns
        || format('nullif(%s, ''NaN'') as x%s', common.numeric_expression(v_feature, relation, 'feature'), v_position);
    end if;
  end loop;

  -- The source, which may be an expensive view, is read once.
  execute format(
    'create temp table _ml_tree_source on commit drop as
     select hashtextextended(coalesce((%s)::text, ''''), %s) as key, %s as y, %s as weight, %s as valid, %s from %s',
    id_expression, seed, dependent_expression, coalesce(weight_expression, '1::float8'),
      coalesce('coalesce((' || common.expression(validation_expression, relation) || '), false)', 'false'),
    array_to_string(v_columns, ', '), relation
  );
  select count(*), count(*) filter (where y is not null and weight is not null and not valid) as training,
    count(*) filter (where weight < 0 or weight = 'NaN' or weight = 'Infinity') as bad_weights
  into v_seen
  from pg_temp._ml_tree_source;
  v_rows := v_seen.count;
  if v_seen.training = 0 then
    perform common.refuse('CF004', format('"%s" has no row to train on', relation),
      'Rows need a dependent variable, and not all of them may be for validation.');
  end if;
  if v_seen.bad_weights > 0 then
    perform common.refuse('CF001', format('%s rows have a negative or non-finite weight', v_seen.bad_weights),
      'Weights are finite and 0 or more.');
  end if;

  -- Quantiles of 100,000 rows are as good as those of all.
  v_sample := case
    when v_seen.training > 150000 then format('and key & 1048575 < %s', (1048576 * 100000.0 / v_seen.training)::bigint)
      else '' end;
  for v_seen in select * from pg_temp._ml_tree_feature order by feature loop
    if v_seen.category then
      execute format(
        'select array_agg(value order by value) from (
           select x%1$s as value from pg_temp._ml_tree_source where x%1$s is not null and y is not null
             and not valid %2$s
           group by 1 order by count(*) desc, x%1$s limit %3$s
         ) as frequent',
        v_seen.feature, v_sample, max_bins
      ) into v_categories;
      v_categories := coalesce(v_categories, '{}');
      update pg_temp._ml_tree_feature set categories = v_categories where feature = v_seen.feature;
      v_codes := v_codes
        || format('(%s + coalesce(array_position(%L::text[], x%s), 0))::int as f%s', v_seen.feature * 1024,
          v_categories, v_seen.feature, v_seen.feature);
    else
      -- Values with more than their share of the rows get a bin each, the others share the rest evenly; edges are
      -- halfway.
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
        select coalesce(
          array_agg(case when (below + lowest) / 2 > below
            and (below + lowest) / 2 < 'Infinity' then (below + lowest) / 2 else lowest end order by lowest), '{}')
        from edge
        where below is not null
        $query$,
        v_seen.feature, v_sample, max_bins
      ) into v_edges;
      update pg_temp._ml_tree_feature set edges = v_edges where feature = v_seen.feature;
      v_codes := v_codes || case
        when v_edges = '{}' then format('(%s + (x%s is not null)::int)::int as f%s', v_seen.feature * 1024,
          v_seen.feature, v_seen.feature)
        else format('(%s + coalesce(width_bucket(x%s, %L::float8[]) + 1, 0))::int as f%s', v_seen.feature * 1024,
          v_seen.feature, v_edges, v_seen.feature)
      end;
    end if;
  end loop;
  execute format(
    'create temp table _ml_tree_row on commit drop as select key, y, weight, valid, %s from pg_temp._ml_tree_source
      where y is not null and weight is not null',
    array_to_string(v_codes, ', ')
  );
  get diagnostics v_kept = row_count;
  drop table pg_temp._ml_tree_source;
  return v_rows - v_kept;
end;
$$;

comment on function ml._tree_prepare(regclass, text, text, text, text, text[], int, bigint) is $$
Reads the source of a training once and cuts its features into bins.
Makes the temporary tables `_ml_tree_feature` (bins of each feature) and `_ml_tree_row` (key, y, weight, valid, one
code a feature), and returns the number of rows left out for want of a dependent variable or weight.
Numbers and booleans are cut at quantiles, NaN counts as missing; text, enum and uuid are categories, the rarer ones
beyond `max_bins` count as missing.
Errors: CF001, CF002, CF004 (no rows), CF008 (too many features).
$$;

grant execute on function ml._tree_prepare(regclass, text, text, text, text, text[], int, bigint)
  to insights_analyst, insights_admin, insights_worker;

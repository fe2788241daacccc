create or replace function recommend._arguments(parameters jsonb, names text[])
returns text
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return (
    select string_agg(format('%I => %L', parameter.key, parameter.value), ', ' order by parameter.key)
    from jsonb_each_text(_arguments.parameters) as parameter
    where parameter.key = any (_arguments.names)
  );
end;
$$;

comment on function recommend._arguments(jsonb, text[]) is $$
@behavior -*
Returns named arguments for the parameters with these names, as a part of a call; null when there is none.
$$;

create or replace function recommend._statement(
  algorithm text,
  parameters jsonb,
  relation regclass default null,
  pairs text default null
)
returns text
language plpgsql
stable
set search_path from current
as $$
declare
  -- Products of two strengths, at most 1, are counted in this unit: sums over 8 million people fit a bigint.
  v_unit constant float8 := 2::float8 ^ -40;
  v_statement text;
begin
  execute format(
    'select ml.%I(%s)',
    case when _statement.algorithm in ('ease', 'edlae') then 'ease' else _statement.algorithm end
      || case when _statement.relation is null then '_lists' else '_pairs' end,
    concat_ws(
      ', ',
      case when _statement.relation is not null then format('relation => %L, unit => %L', relation, v_unit) end,
      case when _statement.pairs is not null then format('pairs => %L, unit => %L', pairs, v_unit) end,
      recommend._arguments(_statement.parameters, case
        when _statement.algorithm in ('ease', 'edlae') then array['column_limit', 'row_limit']
        when _statement.algorithm = 'sequence' and _statement.relation is null then
          array['out_exponent', 'in_exponent', 'saturation', 'column_limit', 'row_limit']
        when _statement.algorithm = 'sequence' then array['decay_form', 'decay', 'max_distance']
        when _statement.relation is null then array['similarity', 'shrinkage', 'column_limit', 'row_limit']
        else array['similarity', 'max_items']
      end)
    )
  )
  into v_statement;
  return v_statement;
end;
$$;

comment on function recommend._statement(text, jsonb, regclass, text) is $$
@behavior -*
Returns the statement that counts the pairs of a part in a relation, or without one that makes its neighbour lists.
It is that of `ml.sequence_pairs`, `ml.item_knn_pairs`, `ml.sequence_lists`, `ml.item_knn_lists` or `ml.ease_lists`,
with the parameters of the part.
$$;

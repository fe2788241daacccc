create or replace function ml._tree_values(model_id bigint, inputs jsonb)
returns table (tree int, value float8)
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

  select walk.tree, walk.value
  from walk
  where walk.feature is null;
end;

comment on function ml._tree_values(bigint, jsonb) is $$
The value of the leaf that one row reaches, for each tree of a model.
All trees are walked at once, by key. Batches use ml._score_expression.
$$;

create or replace function ml._tree_inputs_of(document jsonb, features jsonb)
returns jsonb
language sql
stable
parallel safe
begin atomic
  select coalesce(jsonb_object_agg(
    input.name,
    -- A category that the training never saw counts as missing.
    case when input.type = 'category' and listed.feature ? 'categories'
      and not listed.feature -> 'categories' ? coalesce(input.value, '') then null
      else input.value end
  ), '{}')
  from ml._feature_values(document, features) as input
  join jsonb_array_elements(document -> 'features') as listed (feature) on listed.feature ->> 'name' = input.name;
end;

comment on function ml._tree_inputs_of(jsonb, jsonb) is $$
The features of a tree model as given in an object, as text by name; unknown categories are null.
$$;

create or replace function ml._constants(document jsonb, features jsonb)
returns text
language sql
stable
parallel safe
begin atomic
  select coalesce(string_agg(format('%L::%s as x%s', input.value, case when input.type = 'category' then 'text'
    else 'float8' end, input.place), ', ' order by input.place), '1 as one')
  from ml._feature_values(document, features) as input;
end;

comment on function ml._constants(jsonb, jsonb) is $$
The select list that gives a model's features as constants x1, x2, … from an object.
$$;

create or replace function ml._score(model ml.model, features jsonb)
returns float8
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_document constant jsonb := ml._one_answer(model);
  v_score float8;
begin
  if v_document ->> 'kind' = 'trees' then
    return (v_document ->> 'intercept')::float8 + coalesce((
      select sum(leaf.value)
      from ml._tree_values(model.model_id, ml._tree_inputs_of(v_document, features)) as leaf
    ), 0);
  end if;
  execute format('select %s from (select %s) as input', ml._score_expression(model),
    ml._constants(v_document, features)) into v_score;
  return v_score;
end;
$$;

comment on function ml._score(ml.model, jsonb) is $$
The raw score of a model for one object of features: log odds, the logarithm or the value itself, before calibration.
$$;

grant execute on function
  ml._tree_values(bigint, jsonb),
  ml._tree_inputs_of(jsonb, jsonb),
  ml._constants(jsonb, jsonb),
  ml._score(ml.model, jsonb)
to insights_reader, insights_analyst, insights_admin, insights_worker;

create or replace function ml._tree_score(model_id bigint, document jsonb, inputs jsonb)
returns float8
language sql
stable
parallel safe
begin atomic
  with recursive walk as (
    select node.*
    from ml.tree_node as node
    where node.model_id = _tree_score.model_id
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
      on node.model_id = _tree_score.model_id
      and node.tree = walk.tree
      and node.node = case when decided.goes_left then walk.left_node else walk.right_node end
    where walk.feature is not null
  )

  select (document ->> 'intercept')::float8 + coalesce(sum(walk.value), 0)
  from walk
  where walk.feature is null;
end;

comment on function ml._tree_score(bigint, jsonb, jsonb) is $$
The raw score of a tree model for one row: all its trees are walked at once, by key. Batches use ml._score_expression.
$$;

create or replace function ml._score(model ml.model, features jsonb)
returns float8
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_document constant jsonb := ml._document(model);
  v_inputs jsonb;
  v_list text;
  v_score float8;
begin
  if v_document ->> 'kind' = 'trees' then
    select jsonb_object_agg(
      input.name,
      -- A category that the training never saw counts as missing.
      case when input.type = 'category' and listed.feature ? 'categories'
        and not listed.feature -> 'categories' ? coalesce(input.value, '') then null
        else input.value end
    )
    into v_inputs
    from ml._feature_values(v_document, features) as input
    join jsonb_array_elements(v_document -> 'features') as listed (feature) on listed.feature ->> 'name' = input.name;
    return ml._tree_score(model.model_id, v_document, coalesce(v_inputs, '{}'));
  end if;
  select string_agg(format('%L::%s as x%s', input.value, case when input.type = 'category' then 'text' else 'float8'
      end, input.place), ', ' order by input.place)
  into v_list
  from ml._feature_values(v_document, features) as input;
  execute format('select %s from (select %s) as input', ml._score_expression(model), coalesce(v_list, '1 as one'))
    into v_score;
  return v_score;
end;
$$;

comment on function ml._score(ml.model, jsonb) is $$
The raw score of a model for one object of features: log odds, the logarithm or the value itself, before calibration.
$$;

grant execute on function
  ml._tree_score(bigint, jsonb, jsonb),
  ml._score(ml.model, jsonb)
to insights_reader, insights_analyst, insights_admin, insights_worker;

create or replace function ml._tree_weights(booster text, weight_drop jsonb, tree_count int)
returns float8[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_weights float8[];
begin
  if coalesce(booster, 'gbtree') not in ('gbtree', 'dart') then
    perform common.refuse('CF009', format('the booster is "%s"', left(booster, 100)),
      'The trees of gbtree and dart can be imported; give the coefficients of gblinear in the format linear.');
  elsif booster is distinct from 'dart' then
    return array_fill(1::float8, array[tree_count]);
  end if;
  if jsonb_typeof(weight_drop) = 'array' then
    v_weights := array(
      select case when jsonb_typeof(weight) = 'number' and abs(weight::numeric) between 0 and 1e30
        then weight::float8 end
      from jsonb_array_elements(weight_drop) with ordinality as listed (weight, position)
      order by position
    );
  end if;
  if v_weights is null or cardinality(v_weights) <> tree_count or array_position(v_weights, null) is not null then
    perform common.refuse(
      'CF009',
      format('the booster is dart, and weight_drop is %s for %s trees',
        coalesce(left(weight_drop::text, 100), 'absent'), tree_count),
      'Give one number for each tree, as save_model("model.json") writes them in gradient_booster.'
    );
  end if;
  return v_weights;
end;
$$;

comment on function ml._tree_weights(text, jsonb, int) is $$
The weight of each tree of a booster: 1, or for dart `weight_drop`. Error CF009.
$$;

grant execute on function ml._tree_weights(text, jsonb, int) to insights_admin, insights_worker;

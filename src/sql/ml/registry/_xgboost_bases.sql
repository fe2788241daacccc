create or replace function ml._xgboost_bases(base_score jsonb, class_count int)
returns float8[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  -- 0.5 for all classes, and from version 3.1 on "[2E-1,-1E-1,0E0]": one for each.
  v_parts constant text[] := string_to_array(btrim(base_score #>> '{}', E'[]" \t\n'), ',');
begin
  if cardinality(v_parts) > 1 and cardinality(v_parts) <> class_count then
    perform common.refuse(
      'CF009',
      format('there are %s base scores for %s classes', cardinality(v_parts), class_count),
      'There is one base score for all classes or one for each.'
    );
  elsif cardinality(v_parts) > 1 then
    return array(
      select ml._xgboost_base(to_jsonb(part), 'identity')
      from unnest(v_parts) with ordinality as listed (part, place)
      order by place
    );
  end if;
  return array_fill(ml._xgboost_base(base_score, 'identity'), array[class_count]);
end;
$$;

comment on function ml._xgboost_bases(jsonb, int) is $$
The base score of each class of a model of XGBoost. Error CF009: absent, or of another number of classes.
$$;

grant execute on function ml._xgboost_bases(jsonb, int) to insights_admin, insights_worker;

create or replace function recommend._can_learn(parts jsonb, item_count bigint)
returns boolean
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return _can_learn.parts <> '[]'
    and _can_learn.item_count <= (select most_learned_items from recommend.setting)
    and not exists (
      select
      from jsonb_array_elements(_can_learn.parts) as part
      where (
        array(select jsonb_object_keys(part -> 'parameters')) <@ case part ->> 'algorithm'
          when 'sequence' then array[
            'decay_form', 'decay', 'max_distance', 'out_exponent', 'in_exponent', 'saturation', 'column_limit',
            'row_limit'
          ]
          when 'item_knn' then array['similarity', 'shrinkage', 'max_items', 'column_limit', 'row_limit']
          when 'ease' then array['lambda', 'exponent', 'dropout', 'person_exponent', 'column_limit', 'row_limit']
          when 'edlae' then array['lambda', 'exponent', 'dropout', 'person_exponent', 'column_limit', 'row_limit']
        end
      ) is not true
    );
end;
$$;

comment on function recommend._can_learn(jsonb, bigint) is $$
@behavior -*
Whether a recommender of these parts and number of items keeps a record of what it learned.
Methods whose sums depend on the times of the events do not: the record has only their order.
$$;

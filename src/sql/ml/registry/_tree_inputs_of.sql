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

grant execute on function ml._tree_inputs_of(jsonb, jsonb)
  to insights_reader, insights_analyst, insights_admin, insights_worker;

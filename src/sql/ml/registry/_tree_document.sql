create or replace function ml._tree_document(
  nodes jsonb,
  link text,
  intercept float8,
  categories jsonb,
  single_precision boolean
)
returns jsonb
language sql
stable
parallel safe
begin atomic
  select jsonb_build_object(
    'kind', 'trees', 'link', link, 'intercept', intercept, 'single_precision', single_precision, 'nodes', nodes,
    'features', (
      select coalesce(jsonb_agg(
        jsonb_build_object('name', used.feature, 'type', case when used.categorical then 'category' else 'number' end)
        || case when used.categorical and jsonb_typeof(categories -> used.feature) = 'array' then jsonb_build_object(
          'categories', (
            select coalesce(jsonb_agg(category), '[]')
            from jsonb_array_elements_text(categories -> used.feature) as category
          )
        ) else '{}' end
        order by used.feature
      ), '[]')
      from (
        select node ->> 'feature' as feature, bool_or(node ? 'categories') as categorical
        from jsonb_array_elements(nodes) as node
        where node ? 'feature'
        group by 1
      ) as used
    )
  );
end;

comment on function ml._tree_document(jsonb, text, float8, jsonb, boolean) is $$
A model document of the nodes of trees and the features that they split by.
`categories` lists the values of features by name; where it has none, any category may be given, and those that no
split lists are treated alike.
$$;

grant execute on function ml._tree_document(jsonb, text, float8, jsonb, boolean) to insights_admin, insights_worker;

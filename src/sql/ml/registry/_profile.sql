create or replace function ml._profile(rows_of text, document jsonb)
returns jsonb
language plpgsql
stable
as $$
declare
  v_feature record;
  v_bins jsonb := '[]';
  v_edges float8[];
  v_categories text[];
begin
  for v_feature in
    select listed.feature ->> 'name' as name, listed.feature ->> 'type' as type, listed.position
    from jsonb_array_elements(document -> 'features') with ordinality as listed (feature, position)
    order by listed.position
  loop
    if v_feature.type = 'number' then
      execute format(
        'select array(select distinct edge
            from unnest(percentile_disc(array[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
              within group (order by x%1$s)) as edge order by edge) from %2$s as input where x%1$s is not null',
        v_feature.position, rows_of
      ) into v_edges;
      v_bins := v_bins
        || jsonb_build_object('feature', v_feature.name, 'place', v_feature.position, 'edges', coalesce(v_edges, '{}'));
    else
      execute format(
        'select array(select category
            from (select x%1$s as category from %2$s as input where x%1$s is not null group by 1
              order by count(*) desc, 1 limit 20) as frequent order by 1)',
        v_feature.position, rows_of
      ) into v_categories;
      v_bins := v_bins || jsonb_build_object('feature', v_feature.name, 'place', v_feature.position, 'categories',
        coalesce(v_categories, '{}'));
    end if;
  end loop;
  return (
    select coalesce(jsonb_agg(bin || jsonb_build_object('shares', (
      select jsonb_agg(count_ / nullif(total, 0) order by place)
      from unnest(counted.counts) with ordinality as entry (count_, place)
      cross join (select sum(value) as total from unnest(counted.counts) as value) as whole
    ))), '[]')
    from ml._bin_counts(rows_of, v_bins) as counted
    join jsonb_array_elements(v_bins) as bin on bin ->> 'feature' = counted.feature
  );
end;
$$;

comment on function ml._profile(text, jsonb) is $$
Returns the distribution of the features of a model over the rows of a query, as ml.input_profile stores it:
numbers by deciles, categories by the twenty most frequent.
$$;

grant execute on function ml._profile(text, jsonb) to insights_admin, insights_worker;

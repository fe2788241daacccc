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

grant execute on function ml._constants(jsonb, jsonb)
  to insights_reader, insights_analyst, insights_admin, insights_worker;

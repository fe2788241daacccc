create or replace function ml._feature_values(document jsonb, features jsonb)
returns table (name text, place int, type text, value text)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_feature jsonb;
  v_given jsonb;
begin
  if features is null or jsonb_typeof(features) <> 'object' then
    perform common.refuse('CF001', format('the features are %s', coalesce('a JSON ' || jsonb_typeof(features), 'null')),
      'Give an object of names and values, such as {"tax": 590, "bath": null}.');
  end if;
  place := 0;
  for v_feature in select listed.feature
    from jsonb_array_elements(document -> 'features') with ordinality as listed (feature, position)
      order by position loop
    name := v_feature ->> 'name';
    place := place + 1;
    type := v_feature ->> 'type';
    v_given := features -> name;
    if v_given is null then
      perform common.refuse(
        'CF001',
        format('the feature "%s" is not given', left(name, 100)),
        format(
          'Give a value, or null where it is unknown. %s',
          coalesce(
            'Is it "'
              || common.nearest_name(
                name,
                array(
                  select jsonb_object_keys(features) except select listed.feature ->> 'name'
                  from jsonb_array_elements(document -> 'features') as listed (feature)
                )
              )
              || '"?',
            ''
          )
        )
      );
    end if;
    case
      when jsonb_typeof(v_given) in ('object', 'array') or (jsonb_typeof(v_given) = 'string' and type = 'number') then
        perform common.refuse(
          'CF001',
          format('the feature "%s" is %s, a %s is due', left(name, 100), left(v_given::text, 100), left(type, 100)),
          'Give a JSON number, true or false for a number; a string for a category; null where it is unknown.'
        );
      when type = 'number' and jsonb_typeof(v_given) = 'boolean' then
        value := v_given::boolean::int::text;
      when type = 'number' and jsonb_typeof(v_given) = 'number' then
        begin
          value := (v_given #>> '{}')::float8;
        exception when numeric_value_out_of_range then
          perform common.refuse(
            'CF001',
            format('the feature "%s" is %s, which no double can hold', left(name, 100), left(v_given::text, 40)),
            'Give a number between 1e-307 and 1e308.'
          );
        end;
        if (document -> 'single_precision')::boolean then
          value := ml._single_precision(value::float8);
        end if;
      else
        value := v_given #>> '{}';
    end case;
    return next;
  end loop;
end;
$$;

comment on function ml._feature_values(jsonb, jsonb) is $$
The features of a model as given in an object, in the model's order.
Keys that the model does not know are not looked at.
Error CF001: one is not given (null says that it is unknown), not a number where one is due.
$$;

grant execute on function ml._feature_values(jsonb, jsonb)
  to insights_reader, insights_analyst, insights_admin, insights_worker;

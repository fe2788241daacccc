create or replace function ml._row_features(document jsonb, of_type regtype, out features text, out columns text)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_columns text[] := array(
    select attribute.attname::text
    from pg_catalog.pg_type as type
    join pg_catalog.pg_attribute as attribute on attribute.attrelid = type.typrelid
    where type.oid = (select element.typelem from pg_catalog.pg_type as element where element.oid = of_type)
      and attribute.attnum > 0
      and not attribute.attisdropped
    order by attribute.attnum
  );
  v_missing text;
begin
  if v_columns = '{}' then
    perform common.refuse('CF001', format('the rows are of type %s', of_type),
      'Give an array of rows of a table or of a composite type.');
  end if;
  select feature ->> 'name'
  into v_missing
  from jsonb_array_elements(document -> 'features') as feature
  where feature ->> 'name' <> all (v_columns)
  limit 1;
  if v_missing is not null then
    perform common.refuse(
      'CF002',
      format('%s has no column "%s"', left(of_type::text, 100), left(v_missing, 100)),
      coalesce(
        'Is it "' || common.nearest_name(v_missing, v_columns) || '"?',
        format('The model needs the features %s.', left(document ->> 'features', 100))
      )
    );
  end if;
  -- Places instead of names: no name of a column can clash with another one of the statement.
  columns := (
    select string_agg('c' || place, ', ' order by place) || ', row_no'
    from generate_subscripts(v_columns, 1) as place
  );
  features := coalesce(
    (
      select string_agg(
        format(
          case
            when feature ->> 'type' = 'category' then 'c%s::text as x%s'
            when (document -> 'single_precision')::boolean
              then 'nullif(ml._single_precision(c%s::float8), ''NaN'') as x%s'
            else 'nullif(c%s::float8, ''NaN'') as x%s'
          end,
          array_position(v_columns, feature ->> 'name'), position
        ),
        ', ' order by position
      )
      from jsonb_array_elements(document -> 'features') with ordinality as listed (feature, position)
    ),
    '1 as one'
  );
end;
$$;

comment on function ml._row_features(jsonb, regtype) is $$
For a statement over an array of rows:
the select list of a model's features as x1, x2, …, and the list of the names of its columns.
Errors: CF001 (not an array of rows), CF002 (a feature is missing; names the nearest).
$$;

grant execute on function ml._row_features(jsonb, regtype)
  to insights_reader, insights_analyst, insights_admin, insights_worker;

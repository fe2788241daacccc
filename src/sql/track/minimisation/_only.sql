create or replace function track._only(document jsonb, names text[])
returns jsonb
language sql
stable
parallel safe
return (
  select jsonb_object_agg(field.key, field.value)
  from jsonb_each(document) as field
  where field.key = any (names)
);

comment on function track._only(jsonb, text[]) is $$
Returns the fields of an object that have one of the names; null when there are none.
$$;

create or replace function track._only(document jsonb, names text[])
returns jsonb
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return nullif(
    document - array(select key from jsonb_object_keys(document) as field (key) where key <> all (names)), '{}'
  );
end;
$$;

comment on function track._only(jsonb, text[]) is $$
Returns the fields of an object that have one of the names; null when there are none.
$$;

create or replace function track._columns(source regclass, needed text[], possible text[])
returns text[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_present text[] := array(
    select attname::text
    from pg_catalog.pg_attribute
    where attrelid = source and attnum > 0 and not attisdropped
  );
  v_missing text := (select name from unnest(needed) as name where name <> all (v_present) limit 1);
begin
  if v_missing is not null then
    perform common.refuse('CF002', format('%s has no column "%s"', source, left(v_missing, 100)),
      format('It has %s. Give a view that names the columns as needed.', left(array_to_string(v_present, ', '), 500)));
  end if;
  return needed || array(select name from unnest(possible) as name where name = any (v_present));
end;
$$;

comment on function track._columns(regclass, text[], text[]) is $$
@behavior -queryField -mutationField
Returns the required columns of a relation, and those of the optional ones that it has.
Errors: CF002 when a required column is missing.
$$;

grant execute on function track._columns(regclass, text[], text[]) to insights_admin, insights_worker;

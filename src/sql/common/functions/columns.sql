create or replace function common.columns(relation regclass)
returns text[]
language sql
stable
parallel safe
begin atomic
  select coalesce(array_agg(attribute.attname::text order by attribute.attnum), '{}')
  from pg_catalog.pg_attribute as attribute
  where attribute.attrelid = relation
    and attribute.attnum > 0
    and not attribute.attisdropped;
end;

comment on function common.columns(regclass) is $$Returns the names of a relation's columns, in order.$$;

grant execute on function common.columns(regclass) to insights_analyst, insights_admin, insights_worker;

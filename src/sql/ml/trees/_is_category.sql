create or replace function ml._is_category(type regtype)
returns boolean
language sql
stable
parallel safe
begin atomic
  select type in (
    'text'::regtype, 'character varying'::regtype, 'character'::regtype, 'name'::regtype, 'uuid'::regtype
  ) or exists (select from pg_catalog.pg_type as known where known.oid = type and known.typtype = 'e');
end;

comment on function ml._is_category(regtype) is $$
Whether values of a type are categories: text, enum and uuid.
$$;

grant execute on function ml._is_category(regtype) to insights_analyst, insights_admin, insights_worker;

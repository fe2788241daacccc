create or replace function privacy.record_table_reads(tables text[])
returns void
language plpgsql
volatile
-- A definer: it writes privacy.disclosure, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_tables constant text[] := array(
    select distinct named.name
    from unnest(record_table_reads.tables[:1000]) as named (name)
    join pg_attribute as attribute on attribute.attrelid = to_regclass(named.name)
    join pg_class as class on class.oid = attribute.attrelid
    join pg_namespace as namespace on namespace.oid = class.relnamespace
    where named.name = namespace.nspname || '.' || class.relname
      and namespace.nspname in ('privacy', 'track', 'experiment', 'analytics', 'recommend', 'ml')
      and class.relkind in ('r', 'p', 'v', 'm')
      and (
        attribute.attname in ('person_id', 'identity_id')
        -- Lists and bit strings of people, and the keys of predictions.
        or attribute.attname in ('people', 'members', 'keys')
        and exists (
          select
          from privacy.data_map
          where data_map.schema_name = namespace.nspname
            and data_map.table_name = class.relname
            and data_map.column_name = attribute.attname
            and data_map.holds <> 'none'
        )
      )
      and not attribute.attisdropped
      and named.name not in ('privacy.disclosure', 'privacy.export_log')
  );
  v_reason text;
begin
  if v_tables = '{}' then
    return;
  end if;
  v_reason := privacy._read_reason(v_tables[1]);
  insert into privacy.disclosure (read_id, read_by, role, function_name, reason)
  select reading.read_id, common.author(), privacy._reader_role(), named.name, v_reason
  from (select nextval('privacy.read_id') as read_id) as reading
  cross join unnest(v_tables) as named (name);
end;
$$;

comment on function privacy.record_table_reads(text[]) is $$
@behavior -*
Records in `privacy.disclosure` that the caller reads tables of people, without the people: for the API.
Names that are not tables with data of people are left out. Errors: those of `privacy.record_disclosure`.
$$;

grant execute on function privacy.record_table_reads(text[]) to insights_admin;

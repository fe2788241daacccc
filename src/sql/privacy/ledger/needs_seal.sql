create or replace function privacy.needs_seal()
returns boolean
language plpgsql
stable
-- A definer: it reads the records of all kinds.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_sealed privacy.sealed_table;
  v_found boolean;
begin
  if not exists (select from privacy.ledger where ledger.sealed_at > now() - interval '1 day') then
    return true;
  end if;
  for v_sealed in
    select sealed_table.* from privacy.sealed_table
  loop
    execute format(
      'select true from %1$s as record where record.%2$I is null and (%3$s) limit 1',
      v_sealed.table_name, v_sealed.position_column, privacy._ready_condition(v_sealed)
    )
    into v_found;
    if v_found then
      return true;
    end if;
  end loop;
  return false;
end;
$$;

comment on function privacy.needs_seal() is $$
@behavior -*
Returns whether `privacy.seal` has anything to do: new records, or a checkpoint once per day.
$$;

grant execute on function privacy.needs_seal() to insights_worker;

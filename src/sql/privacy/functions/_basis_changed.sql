create or replace function privacy._basis_changed()
returns trigger
language plpgsql
-- A definer: admins change purposes, and the listeners write tables that no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  perform privacy._call_listeners(null);
  return null;
end;
$$;

comment on function privacy._basis_changed() is $$
Trigger: notifies the listeners when the lawful basis of a purpose changes, because this changes the default.
$$;

create or replace trigger basis_changed
after update on privacy.purpose
for each row
when (old.basis is distinct from new.basis)
execute function privacy._basis_changed();

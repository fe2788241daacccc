create or replace function privacy._basis_changed()
returns trigger
language plpgsql
-- A definer: admins change purposes, and the listeners write what no role may write.
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
Trigger: another lawful basis is another default for everyone who has not decided.
$$;

create or replace trigger basis_changed
after update on privacy.purpose
for each row
when (old.basis is distinct from new.basis)
execute function privacy._basis_changed();

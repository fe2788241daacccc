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
Trigger: notifies the listeners when a default changes.
It is that of the lawful basis or an age of a purpose, of whether it shares data, or of the age of consent.
$$;

create or replace trigger basis_changed
after update on privacy.purpose
for each row
when (
  (old.basis, old.minimum_age, old.opt_in_age, old.shares_data)
    is distinct from (new.basis, new.minimum_age, new.opt_in_age, new.shares_data)
)
execute function privacy._basis_changed();

create or replace trigger age_of_consent_changed
after update on privacy.setting
for each row
when (old.age_of_consent is distinct from new.age_of_consent)
execute function privacy._basis_changed();

create or replace function privacy._reader_role()
returns text
language sql
stable
-- In a definer, the setting is still the caller's.
return case current_setting('role')
  when 'none' then session_user::text
  else regexp_replace(current_setting('role'), '^insights_', '')
end;

comment on function privacy._reader_role() is $$
Returns the role that the caller has set, without its prefix, or else the login.
$$;

create or replace function track.reads_all_people()
returns boolean
language sql
stable
parallel safe
begin atomic
  -- For a login that has not set a role, its own memberships apply. In a definer, the setting is still the caller's.
  select pg_has_role(caller.name, 'insights_admin', 'usage')
    or pg_has_role(caller.name, 'insights_worker', 'usage')
    or pg_has_role(caller.name, 'insights_reader', 'usage')
  from (
    select case current_setting('role') when 'none' then session_user else current_setting('role') end as name
  ) as caller;
end;

comment on function track.reads_all_people() is $$
Returns whether the caller may read the data of all people: administrators and workers, but not instructors.
Functions that are granted to both check it, and return to an instructor only her own courses (`track.teaches`).
$$;

grant execute on function track.reads_all_people() to insights_reader;

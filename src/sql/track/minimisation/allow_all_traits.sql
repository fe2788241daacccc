create or replace function track.allow_all_traits()
returns boolean
language plpgsql
volatile
-- A definer: no role may write the list.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set lock_timeout to '5s'
as $$
begin
  perform track._begin_allowing();
  update track.setting set allowed_traits = null where setting.allowed_traits is not null;
  return found;
end;
$$;

comment on function track.allow_all_traits() is $$
Removes the list of allowed traits: all traits of later messages are stored. False when there was none.
What was dropped before is lost.
$$;

grant execute on function track.allow_all_traits() to insights_admin;

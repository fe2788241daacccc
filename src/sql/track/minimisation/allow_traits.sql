create or replace function track.allow_traits(traits text[])
returns text[]
language plpgsql
volatile
-- A definer: no role may write the list.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set lock_timeout to '5s'
as $$
declare
  v_names text[] := track._checked_names(allow_traits.traits, 'traits');
begin
  perform track._begin_allowing();
  v_names := track._checked_names(
    coalesce((select setting.allowed_traits from track.setting), '{}') || v_names, 'traits'
  );
  update track.setting set allowed_traits = v_names;
  return v_names;
end;
$$;

comment on function track.allow_traits(text[]) is $$
Adds traits to the list of those that are stored, and returns the list. The first call makes the list.
From then on only the listed traits of messages are stored, and `timezone`. The trait `birthday` of a server is read for
the age of consent whether it is listed or not. What is dropped is counted: `track.dropped_data`.
Stored traits follow by `track.apply_allow_lists`. `track.disallow_traits` removes names, and `track.allow_all_traits`
the list. Errors: CF001 for null and an invalid name, CF008 for more than 1000 names.
$$;

grant execute on function track.allow_traits(text[]) to insights_admin;

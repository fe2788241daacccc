create or replace function track.disallow_traits(traits text[])
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
  v_names text[] := track._checked_names(disallow_traits.traits, 'traits');
begin
  perform track._begin_allowing();
  if (select setting.allowed_traits from track.setting) is null then
    perform common.refuse(
      'CF001', 'there is no list of allowed traits',
      'All are allowed. List those that must be stored, by track.allow_traits.'
    );
  end if;
  update track.setting
  set allowed_traits = array(select unnest(setting.allowed_traits) except select unnest(v_names) order by 1)
  returning setting.allowed_traits into v_names;
  return v_names;
end;
$$;

comment on function track.disallow_traits(text[]) is $$
Removes traits from the list of those that are stored, and returns the list. It reverses `track.allow_traits`.
Stored traits follow by `track.apply_allow_lists`, which cannot be undone.
Errors: CF001 without a list, for null and an invalid name, CF008 for more than 1000 names.
$$;

grant execute on function track.disallow_traits(text[]) to insights_admin;

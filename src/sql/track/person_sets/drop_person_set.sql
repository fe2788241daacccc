create or replace function track.drop_person_set(name text)
returns void
language plpgsql
volatile
-- A definer: it writes the tables of sets, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_set constant track.person_set := track._find_person_set(drop_person_set.name);
begin
  if v_set.members is not null then
    perform common.refuse(
      'CF001',
      format('"%s" is computed by %s', v_set.name, v_set.members),
      'Only sets whose members are listed can be dropped.'
    );
  end if;
  perform track.undefine_person_set(v_set.name);
end;
$$;

comment on function track.drop_person_set(text) is $$
Drops a set whose members are listed.
Errors: CF001 for a set with computed members, CF002 for an unknown set.
$$;

grant execute on function track.drop_person_set(text) to insights_admin;

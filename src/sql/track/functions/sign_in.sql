create or replace function track.sign_in()
returns bigint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_person_id constant bigint := track.current_person_id();
begin
  perform set_config('insights.person_id', coalesce(v_person_id::text, ''), true);
  -- The row policies of distributed tables read the setting on the workers. Citus sends them what `set local` sets
  -- while its own setting allows it, and not later, such as the role, which they refuse to set.
  if current_setting('citus.propagate_set_commands', true) is not null then
    set local citus.propagate_set_commands to 'local';
    execute format('set local insights.person_id to %L', coalesce(v_person_id::text, ''));
    set local citus.propagate_set_commands to 'none';
  end if;
  return v_person_id;
end;
$$;

comment on function track.sign_in() is $$
@behavior -queryField -mutationField
Sets `insights.person_id`, which the row policies use, to the person of `insights.person`. Returns its key.
The setting applies until the end of the transaction. Null, and no rows of people, for an unknown person. Links that
are added or removed during the transaction apply from the next one.
$$;

grant execute on function track.sign_in()
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

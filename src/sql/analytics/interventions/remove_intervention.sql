/* A definer: it deletes from analytics.intervention, which no role may write: notes of the caller, or any as admin. */
create or replace function analytics.remove_intervention(intervention_id bigint)
returns boolean
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  delete from analytics.intervention
  where intervention.intervention_id = remove_intervention.intervention_id
    and (track.reads_all_people() or intervention.created_by = common.author());
  return found;
end;
$$;

comment on function analytics.remove_intervention(bigint) is $$
Removes a note about a learner. False when there is no such note that the caller may remove.
Instructors remove their own notes, administrators and workers all.
$$;

grant execute on function analytics.remove_intervention(bigint)
to insights_instructor, insights_admin, insights_worker;

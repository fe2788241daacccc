/*
 * An exposure follows from all events of the person, and they may arrive in any order: the rows of a person are
 * computed from scratch whenever a change touches them. The sums change by the difference between the old and the new
 * rows.
 */
create or replace function experiment.refresh_exposures(people bigint[], since timestamptz[], until timestamptz[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set jit to off
-- The exposures of a batch of people are passed as an array, and read by several statements.
set work_mem to '64MB'
set enable_mergejoin to off
as $$
declare
  v_people bigint[];
  v_refused bigint[];
  v_old experiment.exposure[];
  v_new experiment.exposure[];
begin
  if not exists (select from experiment.experiment where experiment.started_at is not null) then
    return;
  end if;
  -- Deletions by retention come as changes of people, so that results are kept before they reach the sums.
  perform experiment._keep_ended(true);
  v_people := experiment._touched_people(
    refresh_exposures.people, refresh_exposures.since, refresh_exposures.until
  );
  if v_people = '{}' then
    return;
  end if;

  v_old := array(select stored from experiment._stored_exposures(v_people) as stored);
  v_refused := experiment._refused_people(v_people);
  v_new := experiment._exposures_of(
    case
      when v_refused = '{}' then v_people
      else array(select unnest(v_people) except select unnest(v_refused))
    end
  );

  -- Rows that differ: those of before, and those of now.
  if v_old <> '{}' then
    select
      coalesce(array_agg(old) filter (where old.person_id is not null), '{}'),
      coalesce(array_agg(new) filter (where new.person_id is not null), '{}')
    into v_old, v_new
    from unnest(v_old) as old
    full join unnest(v_new) as new
      on new.person_id = old.person_id
      and new.experiment_id = old.experiment_id
    where old is distinct from new;
  end if;

  perform experiment._store_exposures(v_old, v_new);
  perform experiment._change_day_sums(
    v_old || v_new,
    array_fill(-1, array[cardinality(v_old)]) || array_fill(1, array[cardinality(v_new)])
  );
  perform experiment._store_event_values(v_people);
  perform experiment._retake_results(
    array(select distinct old.experiment_id from unnest(v_old) as old where old.person_id = any (v_refused))
  );

  perform experiment._refresh_arms(v_old, v_new);
end;
$$;

comment on function experiment.refresh_exposures(bigint[], timestamptz[], timestamptz[]) is $$
@behavior -*
Recomputes `experiment.exposure` for the given people and periods, and the sums that follow. Called by `track.refresh`.
Their events, identities, decisions, traits or sets have changed. The rows and sums are those of a computation from
scratch, also after late events, merges of people and deletions. People who have opted out of `analytics`, or whose data
is restricted, have no rows.
$$;

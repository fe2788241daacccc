create or replace function experiment.erase(subject privacy.subject)
returns setof privacy.erased
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  -- The key of a person is that of one of her identities, and some of her identities are people of their own.
  v_people constant bigint[] := subject.identity_ids;
  v_exposures experiment.exposure[];
  v_sums bigint;
begin
  v_exposures := array(select stored from experiment._stored_exposures(v_people) as stored);
  v_sums := (
    select count(*)
    from experiment._day_sums(v_exposures, array_fill(-1, array[cardinality(v_exposures)]))
  );
  perform experiment._change_day_sums(v_exposures, array_fill(-1, array[cardinality(v_exposures)]));
  return next privacy.erase_rows('experiment.event_value', 'person_id', v_people);
  return next privacy.erase_rows('experiment.exposure', 'person_id', v_people);
  return next row('experiment.day_sum', v_sums, 'recomputed')::privacy.erased;
  perform experiment._retake_results(array(select exposed.experiment_id from unnest(v_exposures) as exposed));
  -- The refresh after the erasure finds no exposure any more.
  perform experiment._refresh_arms(v_exposures, '{}');
  return next privacy.clear_values('experiment.change', 'actor', privacy.user_names(subject));
end;
$$;

comment on function experiment.erase(privacy.subject) is $$
@behavior -*
Erases the exposures and outcomes of a person, and takes them out of the sums of the experiments.
Called by `privacy.erase_person`. Results that are kept are recomputed, unless events of their time were deleted. The
weights of a bandit that had learned from her stay as they are until the next update, which is computed from the sums
without her.
$$;

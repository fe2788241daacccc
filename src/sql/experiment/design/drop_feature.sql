create or replace function experiment.drop_feature(feature_key text)
returns void
language plpgsql
volatile
-- A definer: it writes the features and the history, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_feature experiment.feature;
  v_user text;
begin
  perform experiment._begin_change();
  v_feature := experiment._find_feature(drop_feature.feature_key);
  v_user := (
    select min(known.experiment_key) from experiment.experiment as known
    where known.feature_key = v_feature.feature_key
      or known.parent_conditions @> jsonb_build_array(jsonb_build_object('id', v_feature.feature_key))
  );
  if v_user is not null then
    perform common.refuse('CF003', format('the experiment "%s" uses the feature "%s"', v_user, v_feature.feature_key),
      'Experiments that have started keep their features.');
  end if;
  v_user := (
    select min(known.feature_key) from experiment.feature as known
    where known.rules @> jsonb_build_array(jsonb_build_object(
      'parentConditions', jsonb_build_array(jsonb_build_object('id', v_feature.feature_key))
    ))
  );
  if v_user is not null then
    perform common.refuse('CF003', format('the feature "%s" needs "%s"', v_user, v_feature.feature_key),
      'Remove this prerequisite first.');
  end if;
  delete from experiment.feature as known where known.feature_key = v_feature.feature_key;
  perform experiment._log_change('feature', v_feature.feature_key, 'dropped', to_jsonb(v_feature), null);
end;
$$;

comment on function experiment.drop_feature(text) is $$
Removes a feature that no experiment and no other feature uses. Clients then get null for it.
Errors: CF002 for an unknown feature (names the nearest), CF003 for one in use.
$$;

grant execute on function experiment.drop_feature(text) to insights_admin;

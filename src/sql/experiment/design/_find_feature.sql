create or replace function experiment._find_feature(feature_key text)
returns experiment.feature
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_feature experiment.feature;
begin
  select * into v_feature from experiment.feature as known where known.feature_key = _find_feature.feature_key;
  if not found then
    perform experiment._refuse_unknown_name(
      'feature',
      _find_feature.feature_key,
      array(select known.feature_key from experiment.feature as known order by known.feature_key limit 1000),
      'Create it with experiment.define_feature.'
    );
  end if;
  return v_feature;
end;
$$;

comment on function experiment._find_feature(text) is $$
@behavior -*
Returns a feature by its key. Errors: CF002 (names the nearest).
$$;

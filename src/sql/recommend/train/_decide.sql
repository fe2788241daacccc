create or replace function recommend._decide(deployment recommend.evaluation)
returns text
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_id constant bigint := (deployment).evaluation_id;
  v_against_popularity text;
  v_against_deployed text;
  v_has_deployed constant boolean := exists (
    select
    from recommend.evaluation_model as model
    where model.evaluation_id = v_id
      and model.model = 'deployed'
  );
  v_is_popularity constant boolean := not exists (
    select
    from recommend.evaluation_model as model
    where model.evaluation_id = v_id
      and model.model = 'challenger'
  );
begin
  select
    max(comparison.verdict) filter (where comparison.model = 'challenger' and comparison.other_model = 'popularity'),
    max(comparison.verdict) filter (
      where comparison.model = case when v_is_popularity then 'popularity' else 'challenger' end
        and comparison.other_model = 'deployed'
    )
  into v_against_popularity, v_against_deployed
  from recommend.evaluation_comparison as comparison
  where comparison.evaluation_id = v_id
    and comparison.metric = 'ndcg'
    and comparison.k = 10;

  return case
    when v_is_popularity and not v_has_deployed then 'popularity'
    when v_is_popularity and v_against_deployed is null then 'untested'
    when v_is_popularity and v_against_deployed = 'better' then 'better'
    when v_is_popularity then 'worse'
    when v_against_popularity is null then 'untested'
    when not v_has_deployed and v_against_popularity = 'better' then 'first'
    when not v_has_deployed then 'popularity'
    when v_against_deployed = 'worse' then 'worse'
    when v_against_popularity = 'worse' then 'popularity'
    when v_against_deployed = 'better' and v_against_popularity = 'better' then 'better'
    -- Not worse than the deployed version, and trained on newer data.
    else 'newest'
  end;
end;
$$;

comment on function recommend._decide(recommend.evaluation) is $$
@behavior -*
Decides by the paired comparisons of NDCG@10 whether the challenger is deployed, and why.
`first`: better than popularity, and none is deployed. `better`: better than popularity and than the deployed version.
`newest`: not significantly worse than either. `worse` (than the deployed version), `popularity` (not better than it)
and `untested` (too few people): not deployed. Popularity itself is a version without parts, deployed only when it is
better than the deployed version.
$$;

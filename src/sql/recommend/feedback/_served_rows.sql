create or replace function recommend._served_rows(calls recommend.serving_call[])
returns setof recommend.impression
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  select
    served.person_id,
    serving.serving_key,
    served.identity_id,
    serving.model_id,
    serving.item_id,
    serving.rank,
    serving.basis,
    serving.propensity,
    serving.pool,
    serving.listed_at,
    true,
    null::timestamptz,
    null::timestamptz,
    null::timestamptz,
    null::timestamptz,
    null::real,
    null::timestamptz,
    null::timestamptz,
    serving.experiment_id,
    serving.variation,
    listed.score,
    served.function_name
  from unnest(_served_rows.calls) as served
  cross join lateral unnest(served.serving_ids, served.scores) as listed (serving_id, score)
  cross join lateral recommend._serving_content(listed.serving_id) as serving
  where serving.problem is null;
end;
$$;

comment on function recommend._served_rows(recommend.serving_call[]) is $$
@behavior -*
Returns the rows of the lists of calls as they are stored in `recommend.impression`, for the people they were served to.
$$;

grant execute on function recommend._served_rows(recommend.serving_call[]) to insights_reader, insights_learner;

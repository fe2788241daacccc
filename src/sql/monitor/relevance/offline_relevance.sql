create or replace function monitor.offline_relevance(
  since timestamptz default (now() at time zone 'UTC' - interval '365 days') at time zone 'UTC',
  until timestamptz default now(),
  kind text default 'course',
  metric text default 'ndcg',
  k int default 10
)
returns setof monitor.offline_figures
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  perform common.check_period(offline_relevance.since, offline_relevance.until);
  perform common.check_count('k', offline_relevance.k, 1, 1000);
  if not exists (select from track.item where item.kind = offline_relevance.kind) then
    perform common.refuse(
      'CF002', format('there is no item of kind "%s"', coalesce(left(offline_relevance.kind, 100), 'null')),
      coalesce(
        (
          select 'There are ' || string_agg(known.kind, ', ' order by known.kind) || '.'
          from (select distinct item.kind from track.item order by item.kind limit 20) as known
        ),
        'There are no items yet: see track.sync_items.'
      )
    );
  end if;
  if offline_relevance.metric is null or not exists (
    select from recommend.evaluation_result as result where result.metric = offline_relevance.metric
  ) then
    perform common.refuse(
      'CF002', format('metric is "%s", which no evaluation has', coalesce(left(offline_relevance.metric, 100), 'null')),
      coalesce(
        (
          select 'There are ' || string_agg(distinct result.metric, ', ' order by result.metric) || '.'
          from recommend.evaluation_result as result
        ),
        'There are no results of evaluations yet: train a version.'
      )
    );
  end if;

  return query
  select
    evaluation.finished_at, model.version,
    (select min(deployment.deployed_at) from ml.deployment where deployment.model_id = model.model_id),
    result.metric, result.k, result.people, result.value, result.lower, result.upper, deployed.value, popular.value
  from recommend.evaluation
  join ml.model on model.model_id = evaluation.model_id
  join recommend.evaluation_result as result
    on result.evaluation_id = evaluation.evaluation_id
    and result.segment = ''
    and result.metric = offline_relevance.metric
    and result.k = offline_relevance.k
    -- A version without parts is popularity itself.
    and result.model = case
      when exists (
        select
        from recommend.evaluation_model as member
        where member.evaluation_id = evaluation.evaluation_id
          and member.model = 'challenger'
      ) then 'challenger'
      else 'popularity'
    end
  left join recommend.evaluation_result as deployed
    on deployed.evaluation_id = evaluation.evaluation_id
    and deployed.segment = ''
    and deployed.metric = result.metric
    and deployed.k = result.k
    and deployed.model = 'deployed'
  left join recommend.evaluation_result as popular
    on popular.evaluation_id = evaluation.evaluation_id
    and popular.segment = ''
    and popular.metric = result.metric
    and popular.k = result.k
    and popular.model = 'popularity'
  where evaluation.purpose = 'deployment'
    and evaluation.kind = offline_relevance.kind
    and evaluation.finished_at >= offline_relevance.since
    and evaluation.finished_at < offline_relevance.until
  order by evaluation.finished_at, model.version;
end;
$$;

comment on function monitor.offline_relevance(timestamptz, timestamptz, text, text, int) is $$
Returns the evaluations of the trained versions of a kind over time: one row per version, by one metric.
Each is compared, on the same people and items, with the version that was deployed then and with popularity. The test
people differ from one evaluation to the next, so that a value that falls while that of popularity falls too is a change
of the data, not of the model.
Errors: CF001 for an invalid period or `k`, CF002 for a kind that no item has, or a metric that no evaluation has.
$$;

grant execute on function monitor.offline_relevance(timestamptz, timestamptz, text, text, int)
to insights_analyst, insights_admin, insights_worker;

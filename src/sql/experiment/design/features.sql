/* A definer owned by insights_reader: what clients read is public, the tables are not. */
create or replace function experiment.features()
returns jsonb
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  return jsonb_build_object(
    'features', (
      select coalesce(
        jsonb_object_agg(
          feature.feature_key,
          jsonb_build_object(
            'defaultValue', feature.default_value,
            'rules', feature.rules || coalesce(running.rules, '[]') || coalesce(shipped.rules, '[]')
          )
        ),
        '{}'
      )
      from experiment.feature
      left join (
        select
          known.feature_key,
          jsonb_agg(experiment._rule(known) order by known.started_at, known.experiment_id) as rules
        from experiment.experiment as known
        where known.state = 'running'
        group by known.feature_key
      ) as running using (feature_key)
      left join (
        select distinct on (known.feature_key)
          known.feature_key,
          -- People who are held out keep the value of the control until the holdout ends.
          case
            when holdout.share is null then '[]'
            else jsonb_build_array(jsonb_build_object(
              'id', 'holdout.' || holdout.holdout,
              'force', control.value,
              'filters', jsonb_build_array(experiment._holdout_filter(known, holdout.share, false))
            ))
          end
            || jsonb_build_array(jsonb_build_object('id', known.experiment_key, 'force', chosen.value)) as rules
        from experiment.experiment as known
        join experiment.variation as chosen
          on chosen.experiment_id = known.experiment_id and chosen.variation = known.shipped_variation
        join experiment.variation as control
          on control.experiment_id = known.experiment_id and control.variation = 0
        left join experiment.holdout on holdout.holdout = known.holdout and holdout.ended_at is null
        where known.state = 'shipped'
        order by known.feature_key, known.shipped_at desc, known.experiment_id desc
      ) as shipped using (feature_key)
    ),
    'dateUpdated', (
      select to_char(max(change.changed_at) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
      from experiment.change
    )
  );
end;
$$;

alter function experiment.features() owner to insights_reader;

comment on function experiment.features() is $$
Returns the features with their rules as GrowthBook's clients read them: `{"features": {…}, "dateUpdated": …}`.
Of each feature its own rules, then the running experiments, then the variation that was shipped last. Public: it holds
no data of people, and is the same for all clients.
$$;

grant execute on function experiment.features()
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment.export(subject privacy.subject)
returns setof privacy.exported
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_rows jsonb;
begin
  v_rows := (
    with exposure as materialized (
      select own.*
      from experiment.exposure as own
      where own.person_id = (export.subject).person_id
    )

    select jsonb_agg(
      jsonb_build_object(
        'experiment', experiment.experiment_key,
        'name', experiment.name,
        'variation', variation.variation_key,
        'exposed_at', exposure.exposed_at,
        'is_counted', exposure.is_counted,
        'stratum', exposure.stratum,
        'probability', exposure.probability,
        'outcomes', experiment._named_outcomes(exposure.experiment_id, exposure.outcomes),
        'outcomes_before', experiment._named_outcomes(exposure.experiment_id, exposure.outcomes_before)
      )
      order by exposure.exposed_at, experiment.experiment_key
    )
    from exposure
    join experiment.experiment using (experiment_id)
    left join experiment.variation
      on variation.experiment_id = exposure.experiment_id
      and variation.variation = exposure.variation
  );
  return next privacy.exported_rows('experiment.exposure', v_rows);
  v_rows := (
    select jsonb_agg(
      jsonb_build_object(
        'experiment', experiment.experiment_key,
        'metric', metric.metric_key,
        'event_values', event_value.event_values
      )
      order by experiment.experiment_key, event_value.position
    )
    from experiment.event_value
    join experiment.experiment using (experiment_id)
    left join experiment.measured
      on measured.experiment_id = event_value.experiment_id
      and measured.position = event_value.position
    left join experiment.metric using (metric_id)
    where event_value.person_id = (export.subject).person_id
  );
  return next privacy.exported_rows('experiment.event_value', v_rows);
  return next privacy.exported_rows(
    'experiment.change',
    (
      select jsonb_agg(
        jsonb_build_object(
          'changed_at', change.changed_at, 'subject', change.subject, 'key', change.key, 'action', change.action,
          'actor', change.actor
        )
        order by change.changed_at, change.change_id
      )
      from experiment.change
      where change.actor = any (privacy.user_names(export.subject))
    ),
    'Changes of experiments that the person made.'
  );
end;
$$;

comment on function experiment.export(privacy.subject) is $$
@behavior -*
Returns the experiments in which a person takes part, with her outcomes, and the changes that she made.
For `privacy.export_person`.
$$;

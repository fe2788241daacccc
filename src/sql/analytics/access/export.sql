create or replace function analytics.export(subject privacy.subject)
returns setof privacy.exported
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_rows jsonb;
begin
  v_rows := (
    select jsonb_agg(
      jsonb_build_object(
        'target', snapshot.target,
        'course', item.external_id,
        'as_of', snapshot.as_of,
        'feature', to_jsonb(snapshot.feature) - '{person_id,course_id}'::text[],
        'outcome', snapshot.outcome
      )
      order by snapshot.target, snapshot.as_of, snapshot.course_id
    )
    from analytics.snapshot
    left join track.item on item.item_id = snapshot.course_id
    where snapshot.person_id = subject.person_id
  );
  return next privacy.exported_rows('analytics.snapshot', v_rows);
  return next privacy.exported_rows(
    'analytics.prediction_target',
    (
      select jsonb_agg(prediction order by prediction ->> 'target', prediction ->> 'course')
      from analytics._export_predictions(subject) as prediction
    ),
    'Predictions about the person as of now, with the features that changed them.'
  );
  return next privacy.exported_rows(
    'analytics.cluster_member',
    (
      select jsonb_agg(
        jsonb_build_object(
          'identity', identity.external_id, 'cluster', cluster_member.name, 'description', person_set.description
        )
        order by cluster_member.identity_id
      )
      from analytics.cluster_member
      join track.identity on identity.identity_id = cluster_member.identity_id
      join track.person_set on person_set.name = cluster_member.name
      where cluster_member.identity_id = any (subject.identity_ids)
    ),
    'The cluster of people with similar behaviour.'
  );
  return next privacy.exported_rows(
    'analytics.intervention',
    (
      -- Of the author, the learner gets no name; of the learner, the author gets what she herself did.
      select jsonb_agg(
        jsonb_build_object(
          'course', item.external_id, 'action', intervention.action, 'happened_at', intervention.happened_at,
          'created_at', intervention.created_at
        )
        || case
          when intervention.identity_id = any (subject.identity_ids) then jsonb_build_object(
            'identity', identity.external_id, 'note', intervention.note, 'risk', intervention.risk
          )
          else '{}'
        end
        || case
          when intervention.created_by = any (privacy.user_names(subject))
            then jsonb_build_object('created_by', intervention.created_by)
          else '{}'
        end
        order by intervention.intervention_id
      )
      from analytics.intervention
      join track.item on item.item_id = intervention.course_id
      join track.identity on identity.identity_id = intervention.identity_id
      where intervention.identity_id = any (subject.identity_ids)
        or intervention.created_by = any (privacy.user_names(subject))
    ),
    'What teachers did about the person, with their notes, and what she did about learners as a teacher.'
  );
  return next privacy.exported_rows(
    'analytics.annotation',
    (
      select jsonb_agg(to_jsonb(annotation) - 'annotation_id' order by annotation.annotation_id)
      from analytics.annotation
      where annotation.created_by = any (privacy.user_names(subject))
    )
  );
  return next privacy.exported_rows(
    'analytics.saved_query',
    (
      select jsonb_agg(
        to_jsonb(saved) || jsonb_build_object(
          'created_by', case
            when saved.created_by = any (privacy.user_names(subject)) then saved.created_by
            else 'an administrator'
          end
        )
        order by saved.name
      )
      from analytics.saved_query as saved
      where saved.created_by = any (privacy.user_names(subject))
        or exists (
          select
          from jsonb_path_query(saved.arguments, '$.** ? (@.type() == "string")') as argument
          where argument #>> '{}' = any (privacy.user_names(subject))
        )
    )
  );
  return next privacy.exported_rows(
    'analytics.saved_view',
    (
      select jsonb_agg(to_jsonb(saved_view) - 'view_id' order by saved_view.view_id)
      from analytics.saved_view
      where saved_view.created_by = any (privacy.user_names(subject))
    )
  );
  return next privacy.exported_rows(
    'analytics.cohort',
    (
      select jsonb_agg(to_jsonb(cohort) order by cohort.name)
      from analytics.cohort
      where cohort.defined_by = any (privacy.user_names(subject))
    )
  );
end;
$$;

comment on function analytics.export(privacy.subject) is $$
@behavior -*
Returns the predictions about a person, their training data, the notes of teachers about her, and what she has written.
For `privacy.export_person`.
$$;

create or replace function analytics._export_predictions(subject privacy.subject)
returns setof jsonb
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_courses constant bigint[] := array(
    select enrolment.item_id
    from track.enrolment
    where enrolment.person_id = subject.person_id
    union
    select used.item_id
    from track.course_presence as used
    where used.block = subject.person_id / 4096
      and get_bit(used.people, (subject.person_id % 4096)::int) = 1
  );
  v_target analytics.prediction_target;
  v_features analytics.learner_features[];
begin
  for v_target in
    select target.*
    from analytics.prediction_target as target
    where ml.deployed_version(target.project) is not null
    order by target.target
  loop
    v_features := array(
      select known
      from analytics._learner_features(array[now()], v_courses) as known
      where known.person_id = subject.person_id
        and known.days_idle <= extract(epoch from v_target.longest_idle) / 86400
    );
    return query
    select jsonb_build_object(
      'target', v_target.target,
      'description', v_target.description,
      'course', item.external_id,
      'course_title', item.title,
      'score', scored.score,
      'model', v_target.project || ' ' || ml.deployed_version(v_target.project),
      'reasons', (
        select jsonb_agg(
          jsonb_build_object(
            'feature', reason.feature, 'value', reason.feature_value, 'contribution', reason.contribution
          )
          order by abs(reason.contribution) desc, reason.feature
        )
        from ml.explain_each(v_target.project, v_features) as reason
        where reason.row_no = scored.row_no
          and reason.contribution <> 0
      )
    )
    from unnest(ml.predict_each(v_target.project, v_features)) with ordinality as scored (score, row_no)
    join track.item on item.item_id = v_features[scored.row_no].course_id;
  end loop;
end;
$$;

comment on function analytics._export_predictions(privacy.subject) is $$
Returns the current predictions about a person in her courses, each with all reasons, for `analytics.export`.
$$;

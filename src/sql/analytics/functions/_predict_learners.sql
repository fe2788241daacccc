create or replace function analytics._predict_learners(
  target text, course text, as_of timestamptz, top int, lowest_first boolean
)
returns setof analytics.learner_prediction
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_reads_all constant boolean := track.reads_all_people();
  v_course_id constant bigint := analytics._course_id(_predict_learners.course);
  v_project constant text := (analytics._prediction_target(_predict_learners.target)).project;
  v_version constant int := ml.deployed_version(v_project);
  v_features analytics.learner_features[];
  v_scores float8[];
begin
  perform common.check_count('top', _predict_learners.top, 1, 10000);
  select array_agg(chosen.feature order by chosen.place), array_agg(chosen.score order by chosen.place)
  into v_features, v_scores
  from (
    select
      scored.feature,
      scored.score,
      row_number() over (
        order by case when lowest_first then scored.score else -scored.score end, scored.person_id
      ) as place
    from analytics._learner_scores(_predict_learners.target, _predict_learners.as_of, v_course_id) as scored
  ) as chosen
  where chosen.place <= _predict_learners.top;
  if v_features is null then
    return;
  end if;

  return query
  with reason as (
    select
      moved.row_no,
      array_agg(
        row(moved.feature, moved.feature_value, moved.contribution)::ml.contribution order by moved.place
      ) as reasons
    from (
      select
        explained.*,
        row_number() over (
          partition by explained.row_no order by abs(explained.contribution) desc, explained.feature
        ) as place
      from ml.explain_each(v_project, v_features, v_version) as explained
      where explained.feature <> '(base)'
        and explained.contribution <> 0
        -- Instructors do not see what a learner does outside of their courses.
        and (v_reads_all or explained.feature <> 'active_days_anywhere_week_1')
    ) as moved
    where moved.place <= 5
    group by moved.row_no
  )

  select
    learner.rank::int, (learner.known).person_id, name.external_id, v_scores[learner.rank::int],
    coalesce(reason.reasons, '{}'), v_version, _predict_learners.as_of
  from (select known, row_number() over () as rank from unnest(v_features) as known) as learner
  left join reason on reason.row_no = learner.rank
  left join lateral (
    select identity.external_id
    from track.identity
    where identity.person_id = (learner.known).person_id
    order by identity.kind = 'user' desc, identity.identity_id
    limit 1
  ) as name on true
  order by learner.rank;
end;
$$;

comment on function analytics._predict_learners(text, text, timestamptz, int, boolean) is $$
Returns the learners of a course with the highest or lowest predictions, with reasons.
The reasons are the five features that changed the prediction most.
$$;

grant execute on function analytics._predict_learners(text, text, timestamptz, int, boolean) to insights_reader;

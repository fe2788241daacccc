create or replace function monitor.watch_relevance()
returns setof monitor.deployment_relevance
language plpgsql
volatile
/*
 * A definer: it reads the impressions of all people, writes its readings, and deploys the version before. It takes no
 * argument.
 */
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set timezone to 'UTC'
as $$
declare
  v_now constant timestamptz := now();
  v_watched record;
  v_setting monitor.relevance_setting;
  v_measured record;
  v_evidence float8;
  v_reading monitor.deployment_relevance;
  v_is_worse boolean;
begin
  -- Two watches at once would roll back twice.
  perform pg_advisory_xact_lock(hashtextextended('monitor.watch_relevance', 0));

  for v_watched in
    select
      latest.deployment_id, latest.deployed_at, project.name as project, project.project_id,
      substr(project.name, length('recommend.') + 1) as kind, model.version, former.model_id as former_model_id,
      former.version as former_version, greatest(former.deployed_at, latest.deployed_at - interval '28 days') as since,
      former.marked_at
    from ml.project
    cross join lateral (
      select deployment.*
      from ml.deployment
      where deployment.project_id = project.project_id
      order by deployment.deployment_id desc
      limit 1
    ) as latest
    cross join lateral (
      select deployment.model_id, deployment.deployed_at, model.version, model.marked_at
      from ml.deployment
      join ml.model using (model_id)
      where deployment.project_id = project.project_id
        and deployment.deployment_id < latest.deployment_id
      order by deployment.deployment_id desc
      limit 1
    ) as former
    join ml.model on model.model_id = latest.model_id
    where starts_with(project.name, 'recommend.')
      -- After a rollback there is nothing to go back to.
      and latest.strategy <> 'rollback'
      and latest.model_id <> former.model_id
      and exists (select from track.item where item.kind = substr(project.name, length('recommend.') + 1))
    order by project.name
  loop
    select setting.* into v_setting from monitor.relevance_setting as setting where setting.kind = v_watched.kind;
    if not found then
      v_setting := row(v_watched.kind, false, 0.05, 100, interval '1 day');
    end if;
    continue when v_now - v_setting.answer_period <= v_watched.deployed_at;

    v_measured := monitor._compare_deployment(
      v_watched.kind, v_watched.since, v_watched.deployed_at, v_now - v_setting.answer_period, v_setting.answer_period
    );
    v_evidence := case
      when least(v_measured.people, v_measured.former_people) >= v_setting.fewest_people then coalesce(
        monitor.evidence_of_loss(
          v_measured.rate - v_measured.former_rate, v_measured.standard_error, v_measured.former_standard_error,
          v_setting.alpha
        ), 0
      )
      else 0
    end;

    insert into monitor.deployment_relevance as stored (
      deployment_id, kind, version, former_version, deployed_at, measured_at, person_count, former_person_count,
      click_rate, former_click_rate, difference, standard_error, is_corrected, evidence, verdict
    )
    values (
      v_watched.deployment_id, v_watched.kind, v_watched.version, v_watched.former_version,
      v_watched.deployed_at, v_now,
      v_measured.people, v_measured.former_people, v_measured.rate, v_measured.former_rate,
      v_measured.rate - v_measured.former_rate, v_measured.standard_error, v_measured.is_corrected, v_evidence,
      'watching'
    )
    on conflict (deployment_id) do update
    set
      measured_at = excluded.measured_at,
      person_count = excluded.person_count,
      former_person_count = excluded.former_person_count,
      click_rate = excluded.click_rate,
      former_click_rate = excluded.former_click_rate,
      difference = excluded.difference,
      standard_error = excluded.standard_error,
      is_corrected = excluded.is_corrected,
      evidence = greatest(stored.evidence, excluded.evidence)
    returning * into v_reading;

    if v_reading.verdict <> 'rolled_back' and v_reading.evidence >= 1 / v_setting.alpha then
      v_reading.verdict := 'worse';
      v_reading.worse_at := coalesce(v_reading.worse_at, v_now);
      v_reading.note := case
        when not v_setting.rolls_back then 'Versions of this kind are not rolled back: see monitor.relevance_setting.'
        when v_watched.marked_at is not null then 'The version before is marked for training.'
        -- A version that was deployed immediately before a rollback was rolled back.
        when exists (
          select
          from (
            select
              deployment.strategy,
              lag(deployment.model_id) over (order by deployment.deployment_id) as model_id
            from ml.deployment
            where deployment.project_id = v_watched.project_id
          ) as followed
          where followed.strategy = 'rollback'
            and followed.model_id = v_watched.former_model_id
        ) then 'The version before was rolled back itself.'
      end;
      if v_reading.note is null then
        perform ml.rollback(v_watched.project);
        v_reading.verdict := 'rolled_back';
      end if;
      update monitor.deployment_relevance
      set verdict = v_reading.verdict, worse_at = v_reading.worse_at, note = v_reading.note
      where deployment_relevance.deployment_id = v_reading.deployment_id;
    end if;
    return next v_reading;
  end loop;
end;
$$;

comment on function monitor.watch_relevance() is $$
Compares each deployed recommender with the version before, and rolls it back when it is worse and the kind allows it.
Compared are the clicks per row of recorded lists since the deployment and in the 28 days before it, of people without
an experiment, corrected by `monitor.position_bias`. It can be read every day: see `monitor.evidence_of_loss`. A season
that lowers clicks for all versions looks like a worse version; an experiment distinguishes them. With
`monitor.relevance_setting.rolls_back`, a worse version is rolled back once (`ml.rollback`), never to a version that was
rolled back itself. Returns the readings; called by the task `watch_relevance`.
$$;

grant execute on function monitor.watch_relevance() to insights_admin, insights_worker;

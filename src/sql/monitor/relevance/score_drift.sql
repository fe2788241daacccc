/* A definer owned by insights_reader: it reads the impressions of people, for those who may read them. */
create or replace function monitor._score_drift(
  since timestamptz,
  until timestamptz,
  kind text,
  reference interval,
  smallest_group int
)
returns setof monitor.score_shift
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
set timezone to 'UTC'
set intervalstyle to 'postgres'
as $$
declare
  v_period constant tstzrange := monitor._reported_period(
    _score_drift.since, _score_drift.until, _score_drift.kind, _score_drift.smallest_group
  );
  v_reference interval := _score_drift.reference;
  v_version record;
begin
  if v_reference between '1 hour' and '90 days' is not true then
    perform common.refuse(
      'CF001', format('reference is %s', coalesce(v_reference::text, 'null')), 'Use 1 hour to 90 days.'
    );
  end if;
  for v_version in
    select model.model_id, coalesce(deployed.since, model.trained_at) as since
    from (
      select distinct impression.model_id
      from recommend.impression
      where impression.listed_at >= lower(v_period)
        and impression.listed_at < upper(v_period)
        and impression.is_served
    ) as served
    join ml.model using (model_id)
    join ml.project using (project_id)
    left join (
      select deployment.model_id, min(deployment.deployed_at) as since
      from ml.deployment
      group by deployment.model_id
    ) as deployed using (model_id)
    where project.name = 'recommend.' || _score_drift.kind
    order by model.version
  loop
    -- For analysts, whole weeks.
    if _score_drift.smallest_group is not null then
      v_version.since := date_trunc('week', v_version.since);
      v_reference := ceil(extract(epoch from _score_drift.reference) / 604800) * interval '7 days';
    end if;
    return query
    select shift.*
    from monitor._score_shift(
      v_version.model_id, _score_drift.kind, tstzrange(v_version.since, v_version.since + v_reference), v_period,
      _score_drift.smallest_group, null
    ) as shift;
  end loop;
end;
$$;

alter function monitor._score_drift(timestamptz, timestamptz, text, interval, int)
owner to insights_reader;

comment on function monitor._score_drift(timestamptz, timestamptz, text, interval, int) is $$
@behavior -*
Computes the result of `monitor.score_drift`.
`smallest_group`: figures of groups of counted people (see `analytics.shown`); null: exact figures of all people.
$$;

grant execute on function monitor._score_drift(timestamptz, timestamptz, text, interval, int)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the impressions of people, and returns figures about groups only. */
create or replace function monitor._score_drift_shown(
  since timestamptz, until timestamptz, kind text, reference interval
)
returns setof monitor.score_shift
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
  select * from monitor._score_drift($1, $2, $3, $4, (select smallest_group from analytics.setting));
$$;

alter function monitor._score_drift_shown(timestamptz, timestamptz, text, interval) owner to insights_reader;

comment on function monitor._score_drift_shown(timestamptz, timestamptz, text, interval) is $$
@behavior -*
Returns the result of `monitor.score_drift` for analysts: figures of groups, rounded.
$$;

grant execute on function monitor._score_drift_shown(timestamptz, timestamptz, text, interval) to insights_analyst;

create or replace function monitor.score_drift(
  since timestamptz default (now() at time zone 'UTC' - interval '7 days') at time zone 'UTC',
  until timestamptz default now(),
  kind text default 'course',
  reference interval default '7 days'
)
returns setof monitor.score_shift
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege('monitor._score_drift(timestamptz, timestamptz, text, interval, int)', 'execute') then
    return query
    select *
    from monitor._score_drift(score_drift.since, score_drift.until, score_drift.kind, score_drift.reference, null);
  else
    return query
    select *
    from monitor._score_drift_shown(score_drift.since, score_drift.until, score_drift.kind, score_drift.reference);
  end if;
end;
$$;

comment on function monitor.score_drift(timestamptz, timestamptz, text, interval) is $$
Compares the scores of recommended items in a period with those of the first days of the version, by version and basis.
The first days begin with the first deployment of the version, or with its training when it was never deployed (an arm
of an experiment), and last as long as `reference`; the period begins after them. The bins are the tenths of the scores
of the first days, the distance is the population stability index: by a rule of thumb, below 0.1 is stable, and from
0.25 on the scores are other ones (Siddiqi, Credit Risk Scorecards, 2006). By chance alone the index is about (bins -
1) * (1 / n + 1 / m) for n and m rows, and times that a variable with a chi-squared distribution (Yurdakul and Naranjo,
Statistical properties of the population stability index, Journal of Risk Model Validation 2020), from which `p_value`
follows, for the index with half a person in addition to each bin, so that it holds for few people; since a person has
many rows, n and m are those of independent rows with the same variance (Rao and Scott, The analysis of categorical
data from complex sample surveys, JASA 1981). Longer lists have lower scores: a change of their length is a shift.
For admins and workers, figures are exact and about all people. For analysts, they are about counted people, the period
and the first days are whole weeks, a week in which a version has fewer than `analytics.setting.smallest_group` people
is left out, numbers are rounded by `analytics.shown`, and other figures to two significant digits.
Errors: CF001 for an invalid period or `reference`, CF002 for a kind that no item has.
$$;

grant execute on function monitor.score_drift(timestamptz, timestamptz, text, interval)
to insights_analyst, insights_admin, insights_worker;

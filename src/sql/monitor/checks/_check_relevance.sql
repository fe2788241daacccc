create or replace function monitor._check_relevance()
returns setof monitor.finding
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  select (monitor._finding(
    'relevance', 'recommend.' || reading.kind, case reading.verdict when 'worse' then 'critical' else 'warning' end,
    format('version %s of recommend.%s %s fewer clicks than version %s%s', reading.version, reading.kind,
      case
        when reading.difference < 0
          then format('gets %s %%', round((-100 * reading.difference / reading.former_click_rate)::numeric))
        -- The verdict remains, with the evidence of that time, when later readings differ, or have no lists any more.
        else format('got on %s', to_char(reading.worse_at at time zone 'UTC', 'YYYY-MM-DD'))
      end,
      reading.former_version, case reading.verdict when 'rolled_back' then ', which was deployed again' else '' end),
    case reading.verdict
      when 'worse' then format('Deploy the version before: select ml.rollback(''recommend.%s'').%s', reading.kind,
        ' ' || reading.note)
      else 'Compare the versions before another training is deployed: select * from monitor.relevance(by => ''model'').'
    end,
    reading.difference, 0
  )).*
  from ml.project
  cross join lateral (
    select max(deployment.deployment_id) as deployment_id
    from ml.deployment
    where deployment.project_id = project.project_id
  ) as latest
  join monitor.deployment_relevance as reading
    on 'recommend.' || reading.kind = project.name
  where reading.verdict = 'worse' and reading.deployment_id = latest.deployment_id
    or reading.verdict = 'rolled_back' and reading.worse_at > clock_timestamp() - interval '7 days'
$$;

comment on function monitor._check_relevance() is $$
Finds deployed recommenders that are worse than the version before, and those that were rolled back in the last 7 days.
$$;

create or replace function monitor._run_checks(
  out findings monitor.finding[],
  out unfinished text[],
  out checks int
)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_most constant int := 100;
  v_started_at constant timestamptz := clock_timestamp();
  -- The embedded database has one session, for which all other clients wait.
  v_longest constant interval := case when version() like '%wasm%' then '5 seconds' else '10 seconds' end;
  v_check monitor.health_check;
  v_found monitor.finding[];
  v_problem text;
  v_has_time boolean := true;
begin
  findings := '{}';
  unfinished := '{}';
  checks := 0;
  for v_check in select health_check.* from monitor.health_check order by health_check.position loop
    checks := checks + 1;
    if not v_has_time then
      unfinished := unfinished || v_check.health_check;
      continue;
    end if;

    v_problem := null;
    begin
      execute format(
        'select array(select finding from %s() as finding limit %s)', v_check.function_name, v_most + 1
      )
      into v_found;
      if cardinality(v_found) > v_most then
        v_problem := format('found more than %s problems', v_most);
        v_found := v_found[:v_most];
        findings := findings || v_found;
      end if;
    exception
      -- Also a cancelled statement, which "others" leaves out: the time limit of the caller, or an administrator. The
      -- limit has then passed for all checks.
      when query_canceled then
        v_problem := 'was cancelled [57014]';
        v_has_time := false;
      when assert_failure or others then
        v_problem := format('failed: %s [%s]', common.without_values(sqlerrm), sqlstate);
    end;

    if v_problem is null then
      findings := findings || v_found;
    else
      unfinished := unfinished || v_check.health_check;
      findings := findings || row(
        v_check.health_check,
        'the check itself',
        'warning',
        format('the check %s %s', v_check.health_check, v_problem),
        format('Call it to see the error: select * from %s()', v_check.function_name),
        null,
        null
      )::monitor.finding;
    end if;
    v_has_time := v_has_time and clock_timestamp() - v_started_at <= v_longest;
  end loop;

  if exists (
    select from unnest(unfinished) as name
    where name not in (
      select found.health_check from unnest(findings) as found where found.subject = 'the check itself'
    )
  ) then
    findings := findings || row(
      'health',
      'time',
      'warning',
      format(
        'the checks took longer than %s s, and these were not run: %s',
        round(extract(epoch from clock_timestamp() - v_started_at)::numeric, 1),
        (
          select string_agg(name, ', ')
          from unnest(unfinished) as name
          where name not in (
            select found.health_check from unnest(findings) as found where found.subject = 'the check itself'
          )
        )
      ),
      'Look for locks and for a load that slows the catalogue: select * from pg_stat_activity',
      extract(epoch from clock_timestamp() - v_started_at),
      extract(epoch from v_longest)
    )::monitor.finding;
  end if;

  -- The findings of this check have the names of rules.
  if 'rules' = any (unfinished) then
    unfinished := unfinished || array(select rule.rule from monitor.rule);
  end if;

  -- A subject has one finding: the worst one.
  findings := array(
    select row(
      worst.health_check, worst.subject, worst.severity, left(worst.message, 2000), left(worst.fix, 2000), worst.value,
      worst.threshold
    )::monitor.finding
    from (
      select distinct on (found.health_check, left(coalesce(found.subject, ''), 300))
        found.health_check, left(coalesce(found.subject, ''), 300) as subject,
        case when found.severity = 'critical' then 'critical' else 'warning' end as severity,
        coalesce(found.message, 'no message') as message, coalesce(found.fix, 'See docs/operations.md.') as fix,
        found.value, found.threshold, found.number
      from unnest(findings)
        with ordinality as found (health_check, subject, severity, message, fix, value, threshold, number)
      order by found.health_check, left(coalesce(found.subject, ''), 300), found.severity <> 'critical', found.number
    ) as worst
    order by worst.severity <> 'critical', worst.number
  );
end;
$$;

comment on function monitor._run_checks() is $$
Runs all checks and rules.
Returns their findings, the worst first, the checks that were not completed, and the number of checks.
A check that fails is a finding itself and does not stop the others.
$$;

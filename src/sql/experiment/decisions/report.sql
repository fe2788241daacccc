create or replace function experiment._markdown(value text)
returns text
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  -- Characters that begin a heading or a list do so at the start of a line alone.
  return regexp_replace(
    regexp_replace(btrim(regexp_replace(coalesce(value, ''), '\s+', ' ', 'g')), '([\\`*_{}\[\]<>|~&$])', '\\\1', 'g'),
    '^([-+#=])', '\\\1'
  );
end;
$$;

comment on function experiment._markdown(text) is $$
@behavior -*
Returns a text of a person as one line of Markdown, without a meaning of its characters.
$$;

grant execute on function experiment._markdown(text)
to insights_reader, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._figure_text(type text, figure float8)
returns text
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return case
    when figure is null then '–'
    when type in ('proportion', 'retention') then to_char(figure * 100, 'FM990.0') || ' %'
    when abs(figure) >= 1e6 or abs(figure) < 1e-3 and figure <> 0 then btrim(to_char(figure, '9.99EEEE'))
    else to_char(figure, 'FM999990.099')
  end;
end;
$$;

comment on function experiment._figure_text(text, float8) is $$
@behavior -*
Returns the figure of a metric as text.
$$;

grant execute on function experiment._figure_text(text, float8) to insights_analyst, insights_admin, insights_worker;

/* A definer owned by insights_reader: the times of changes, without who made them. */
create or replace function experiment._course(experiment text)
returns text
language sql
stable
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set timezone to 'UTC'
as $$
  select string_agg(
    format(
      '- %s: %s%s', to_char(course.changed_at, 'YYYY-MM-DD HH24:MI'), course.action,
      case when course.detail is not null then '. ' || experiment._markdown(course.detail) else '' end
    ),
    e'\n' order by course.changed_at, course.change_id
  )
  from (
    select
      change.changed_at, change.change_id, change.action,
      case change.action
        when 'stopped' then change.after ->> 'reason'
        when 'shipped' then change.after ->> 'variation'
        when 'decided' then change.after ->> 'reason'
        when 'weights changed' then change.after ->> 'weights'
      end as detail
    from experiment.change
    where change.subject = 'experiment'
      and change.key = $1
    order by change.changed_at desc, change.change_id desc
    limit 50
  ) as course;
$$;

alter function experiment._course(text) owner to insights_reader;

comment on function experiment._course(text) is $$
@behavior -*
Returns the last 50 changes of an experiment as lines of Markdown, without who made them.
$$;

grant execute on function experiment._course(text) to insights_analyst, insights_admin, insights_worker;

create or replace function experiment._results_table(results experiment.result[])
returns text
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return e'| Metric | Role | Variation | People | Figure | Difference to the control | Verdict |\n'
    || e'|---|---|---|---:|---:|---|---|\n'
    || coalesce(
      (
        select string_agg(
          format(
            '| %s | %s | %s | %s | %s | %s | %s |',
            experiment._markdown(result.metric), result.role, experiment._markdown(result.variation),
            to_char(result.people, 'FM999,999,999,990'), experiment._figure_text(result.type, result.figure),
            case
              when result.effect is not null then experiment._effect_text(results[place.place])
              when result.variation_number = 0 then 'control'
              else '–'
            end,
            coalesce(result.verdict, '')
          ),
          e'\n' order by place.place
        )
        from generate_subscripts(results, 1) as place (place)
        cross join lateral (select (results[place.place]).*) as result
      ),
      ''
    );
end;
$$;

comment on function experiment._results_table(experiment.result[]) is $$
@behavior -*
Returns results as a table of Markdown.
$$;

grant execute on function experiment._results_table(experiment.result[])
to insights_analyst, insights_admin, insights_worker;

create or replace function experiment.report(experiment text)
returns text
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set datestyle to 'ISO'
set intervalstyle to 'postgres'
as $$
declare
  v_experiment constant experiment.experiment := experiment._find_experiment(report.experiment);
  v_decision constant experiment.decision := experiment.decision(v_experiment.experiment_key);
  v_health experiment.health;
  v_results experiment.result[] := '{}';
  v_notes text[] := '{}';
begin
  if v_experiment.state <> 'draft' then
    v_health := experiment.health(v_experiment.experiment_key);
    v_results := array(select result from experiment.results(v_experiment.experiment_key) as result);
    v_notes := array(
      select distinct format('%s, %s: %s', result.metric, result.variation, result.note)
      from unnest(v_results) as result
      where result.note is not null
        and result.effect is null
        and result.variation_number > 0
    );
  end if;

  return concat_ws(
    e'\n\n',
    format('# %s', experiment._markdown(v_experiment.name)),
    format(
      '**%s** %s',
      case
        when v_experiment.state = 'shipped' then format(
          '"%s" is shipped.',
          (
            select known.variation_key
            from experiment.variation as known
            where known.experiment_id = v_experiment.experiment_id
              and known.variation = v_experiment.shipped_variation
          )
        )
        when v_decision.verdict = 'ship' then format('Ship "%s".', v_decision.variation)
        when v_decision.verdict = 'harm' then 'Harm: keep the control.'
        when v_decision.verdict = 'no_decision' then 'No decision: keep the control, or test something else.'
        when v_decision.verdict = 'running' then 'Keep it running.'
        when v_decision.verdict = 'invalid' then 'Invalid: do not use the results.'
        else 'Not started.'
      end,
      experiment._markdown(v_decision.reason)
    ),
    case
      when v_experiment.hypothesis is not null then 'Hypothesis: ' || experiment._markdown(v_experiment.hypothesis)
    end,
    format(
      e'| | |\n|---|---|\n| Experiment | %s |\n| State | %s |\n| Where | %s |\n| Who | %s |\n| Variations | %s |\n'
        '| Plan | test "%s" at %s %%%s%s%s%s |\n| Decided | %s |%s',
      experiment._markdown(v_experiment.experiment_key),
      case v_experiment.state
        when 'draft' then 'draft'
        when 'running' then format(
          'running since %s, %s days', to_char(v_experiment.started_at, 'YYYY-MM-DD'),
          to_char(v_decision.days, 'FM999990.0')
        )
        else format(
          '%s, %s to %s, %s days', v_experiment.state, to_char(v_experiment.started_at, 'YYYY-MM-DD'),
          to_char(v_experiment.stopped_at, 'YYYY-MM-DD'), to_char(v_decision.days, 'FM999990.0')
        )
      end,
      case
        when v_experiment.feature_key is not null then 'feature ' || experiment._markdown(v_experiment.feature_key)
        when v_experiment.placement is not null then 'placement ' || experiment._markdown(v_experiment.placement)
        else 'in the application'
      end,
      case
        when v_health.experiment is not null then format(
          '%s people of the set "%s"; %s who saw several variations and %s outside of the set are not counted',
          to_char(v_decision.people, 'FM999,999,999,990'), experiment._markdown(v_experiment.population),
          v_health.multiple, v_health.not_counted
        )
        else format('people of the set "%s"', experiment._markdown(v_experiment.population))
      end,
      (
        select string_agg(
          format(
            '%s (%s)%s', experiment._markdown(known.variation_key), experiment._markdown(known.name),
            coalesce(': ' || to_char(v_health.people[known.variation + 1], 'FM999,999,999,990') || ' people', '')
          ),
          ', ' order by known.variation
        )
        from experiment.variation as known
        where known.experiment_id = v_experiment.experiment_id
      ),
      v_experiment.test,
      to_char(v_experiment.alpha * 100, 'FM990.099'),
      case when v_experiment.minimum_duration > '0' then ', at least ' || v_experiment.minimum_duration else '' end,
      coalesce(', at most ' || v_experiment.maximum_duration, ''),
      coalesce(', ' || to_char(v_experiment.planned_people, 'FM999,999,999,990') || ' people', ''),
      case when v_experiment.bandit is not null then format(', bandit "%s"', v_experiment.bandit) else '' end,
      case
        when v_experiment.is_decided_automatically then 'automatically, by the rule of experiment.decision'
        else 'by a person; harm stops it automatically'
      end,
      coalesce(
        e'\n| Results | as of ' || to_char(v_health.as_of, 'YYYY-MM-DD HH24:MI') || ' UTC; later events do not count |',
        ''
      )
    ),
    case
      when v_results <> '{}' then e'## Results\n\n' || experiment._results_table(v_results)
        || e'\n\nA difference is relative to the control: +10 % of 20 % is 22 %. In brackets is the range of the true '
        || format('difference, with %s %% confidence', to_char((1 - v_experiment.alpha) * 100, 'FM990.099'))
        || case
          when exists (select from unnest(v_results) as result where result.role = 'guardrail')
            then '; of a guardrail, each end by itself'
          else ''
        end || '.'
    end,
    case
      when v_decision.warnings || v_notes <> '{}' then e'## Warnings\n\n' || (
        select string_agg('- ' || experiment._markdown(warning.line), e'\n' order by warning.place)
        from unnest(v_decision.warnings || v_notes) with ordinality as warning (line, place)
      )
    end,
    e'## History\n\n' || experiment._course(v_experiment.experiment_key)
  ) || e'\n';
end;
$$;

comment on function experiment.report(text) is $$
Returns a report of an experiment for people who do not know statistics, as Markdown.
It has the decision with its reason, what was tested on whom and for how long, the results with their intervals,
warnings, and the history. The figures are those that the caller may see (`experiment.results`).
Errors: CF002 for an unknown experiment (names the nearest).
$$;

grant execute on function experiment.report(text) to insights_analyst, insights_admin, insights_worker;

create or replace function experiment._results(
  experiment experiment.experiment,
  among track.person_set_block[] default null,
  test text default null,
  difference text default 'relative',
  is_adjusted boolean default true,
  only_complete boolean default true,
  until date default null,
  metric_position smallint default null,
  smallest_group int default 1
)
returns setof experiment.result
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_id constant int := (experiment).experiment_id;
  v_test constant text := coalesce(_results.test, (experiment).test);
  v_is_adjusted constant boolean := coalesce(_results.is_adjusted, true) and (experiment).before_period > '0';
  v_options constant jsonb := jsonb_build_object(
    'test', v_test, 'difference', _results.difference, 'alpha', (experiment).alpha, 'tuning', (experiment).tuning
  );
  v_warning constant text := nullif(array_to_string(
    (experiment._health(_results.experiment, _results.among, _results.smallest_group)).warnings, ' '
  ), '');
  v_is_cut constant boolean := exists (select from experiment.kept where kept.experiment_id = v_id)
    and _results.until < ((experiment).stopped_at at time zone 'UTC')::date
    and not experiment._are_events_complete(_results.experiment);
  -- Guardrails times variations other than the control.
  v_guards constant int := greatest(1, (
    select count(*)
    from experiment.measured
    join experiment.variation using (experiment_id)
    where measured.experiment_id = v_id
      and measured.role = 'guardrail'
      and variation.variation > 0
  ));
  v_arms constant experiment.arm[] := array(
    select arm
    from experiment._arms(
      _results.experiment, _results.among, coalesce(_results.only_complete, true), _results.until,
      _results.metric_position
    ) as arm
  );
begin
  return query
  with computed as materialized (
    select
      measured.position, metric.is_lower_better,
      experiment._result_of(
        row(
          metric.metric_key, measured.role, metric.type, variation.variation_key, null, null, null, null, null, null,
          null, null, null, null, null, null, null, _results.difference, v_test, (_results.experiment).alpha,
          (_results.experiment).population,
          case
            when coalesce(_results.only_complete, true)
              then experiment._complete_until(_results.experiment, metric.metric_id)
          end,
          nullif(concat_ws(
            ' ', v_warning,
            case
              when v_is_cut and metric.type = 'quantile'
                then 'A rule of retention has deleted the values: quantiles are known of the whole time only.'
            end
          ), ''),
          variation.variation
        )::experiment.result,
        array(select arm from unnest(v_arms) as arm where arm.position = measured.position),
        case
          when v_test = 'bayesian' then v_options || jsonb_build_object('inverse', metric.is_lower_better)
          else v_options
        end,
        v_is_adjusted,
        metric.is_lower_better,
        coalesce(measured.margin, 0),
        (experiment).alpha / v_guards
      ) as result
    from experiment.measured
    join experiment.metric using (metric_id)
    join experiment.variation on variation.experiment_id = measured.experiment_id
    where measured.experiment_id = v_id
      and (_results.metric_position is null or measured.position = _results.metric_position)
  ),

  goal as (
    select
      array_agg((computed.result).p order by computed.position, (computed.result).variation_number) as p_values,
      array_agg(computed.position order by computed.position, (computed.result).variation_number) as positions,
      array_agg((computed.result).variation_number order by computed.position, (computed.result).variation_number)
        as variations
    from computed
    where (computed.result).role = 'goal'
      and (computed.result).variation_number > 0
  ),

  corrected as (
    select entry.position, entry.variation, entry.p
    from goal
    cross join lateral unnest(
      goal.positions, goal.variations,
      case (_results.experiment).correction
        when 'holm' then experiment.holm(goal.p_values)
        when 'benjamini_hochberg' then experiment.benjamini_hochberg(goal.p_values)
        else goal.p_values
      end
    ) as entry (position, variation, p)
  )

  select
    (computed.result).metric, (computed.result).role, (computed.result).type, (computed.result).variation,
    (computed.result).people, (computed.result).figure, (computed.result).figure_stddev, (computed.result).effect,
    (computed.result).stddev, (computed.result).low, (computed.result).high, (computed.result).p,
    corrected.p,
    (computed.result).chance_to_win, (computed.result).risk,
    case
      when (computed.result).p is null or (computed.result).role = 'guardrail' then (computed.result).verdict
      when coalesce(corrected.p, (computed.result).p) >= (computed.result).alpha then 'unclear'
      when ((computed.result).effect > 0) <> computed.is_lower_better then 'better'
      else 'worse'
    end,
    (computed.result).variance_reduction, (computed.result).difference, (computed.result).test,
    (computed.result).alpha, (computed.result).population, (computed.result).complete_until,
    case
      when _results.smallest_group > 1 and (computed.result).variation_number > 0 and (computed.result).effect is null
        then concat_ws(' ', v_warning, experiment._no_result_note())
      else (computed.result).note
    end,
    (computed.result).variation_number
  from computed
  left join corrected
    on corrected.position = computed.position
    and corrected.variation = (computed.result).variation_number
  order by computed.position, (computed.result).variation_number;
end;
$$;

comment on function experiment._results(
  experiment.experiment, track.person_set_block[], text, text, boolean, boolean, date, smallint, int
) is $$
@behavior -*
Computes the result of `experiment.results`, with the privileges of the caller.
The numbers of its notes are multiples of `smallest_group`.
$$;

grant execute on function experiment._results(
  experiment.experiment, track.person_set_block[], text, text, boolean, boolean, date, smallint, int
)
to insights_reader;

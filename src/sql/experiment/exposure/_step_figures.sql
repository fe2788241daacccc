create or replace function experiment._step_figures(slots experiment.slot[])
returns text
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_bounds text;
  v_positions text;
  v_sums text;
begin
  -- Outcomes with the same delay and period share the positions of their bounds in the journeys.
  with stepped as (
    select
      slot.place, slot.delay, slot.period, slot.ends_at, slot.before_period,
      array_to_string(slot.event_type_ids, ', ') as types,
      dense_rank() over (order by slot.delay, slot.period) as span,
      slot.delay = interval '0' as is_immediate,
      slot.period is null and slot.ends_at = 'infinity' as is_open
    from unnest(_step_figures.slots) as slot
    where slot.is_stepped
  ),

  span as (
    select
      stepped.span, stepped.is_immediate, stepped.is_open, string_agg(distinct stepped.types, ', ') as types,
      format('exposed.exposed_at + %L::interval', stepped.delay) as since,
      case
        when stepped.period is null then format('%L::timestamptz', stepped.ends_at)
        else format(
          'least(exposed.exposed_at + %L::interval + %L::interval, %L::timestamptz)', stepped.delay, stepped.period,
          stepped.ends_at
        )
      end as until
    from stepped
    group by
      stepped.span, stepped.is_immediate, stepped.is_open, stepped.delay, stepped.period, stepped.ends_at
  )

  select
    (
      select format(
        'exposed.exposed_at - interval ''1 microsecond'' as exposed, '
        'exposed.exposed_at - %L::interval - interval ''1 microsecond'' as earliest',
        min(stepped.before_period)
      )
      from stepped
    )
    || coalesce(
      (
        select string_agg(
          case when span.is_immediate then '' else format(
            ', %s - interval ''1 microsecond'' as since_%s', span.since, span.span
          ) end
          || case when span.is_open then '' else format(
            ', greatest(%s, %s) - interval ''1 microsecond'' as until_%s', span.since, span.until, span.span
          ) end,
          ''
        )
        from span
      ),
      ''
    ),
    (
      select string_agg(
        case when span.is_immediate then '' else format(
          ', case when step.event_type_id in (%2$s) then width_bucket(bound.since_%1$s, step.occurred_at) end'
          ' as since_%1$s',
          span.span, span.types
        ) end
        || case when span.is_open then '' else format(
          ', case when step.event_type_id in (%2$s) then width_bucket(bound.until_%1$s, step.occurred_at) end'
          ' as until_%1$s',
          span.span, span.types
        ) end,
        ''
      )
      from span
    ),
    (
      select string_agg(
        format(
          'sum(%3$s - %4$s) filter (where placed.event_type_id in (%2$s)) as y%1$s, '
          'sum(placed.exposed - placed.earliest) filter (where placed.event_type_id in (%2$s)) as x%1$s',
          stepped.place, stepped.types,
          case when stepped.is_open then 'placed.size' else 'placed.until_' || stepped.span end,
          case when stepped.is_immediate then 'placed.exposed' else 'placed.since_' || stepped.span end
        ),
        ', ' order by stepped.place
      )
      from stepped
    )
  into v_bounds, v_positions, v_sums;

  if v_sums is null then
    return null;
  end if;
  -- The times of an array that are earlier than t are those up to t - 1 microsecond.
  return format(
    'bound as materialized (select exposed.person_id, %1$s from exposed), '
    'placed as materialized ('
    'select step.person_id, step.event_type_id, cardinality(step.occurred_at) as size,'
    ' width_bucket(bound.exposed, step.occurred_at) as exposed,'
    ' width_bucket(bound.earliest, step.occurred_at) as earliest%2$s'
    ' from track.step join bound using (person_id)'
    -- An array of a sub-query: the planner would estimate each element of a constant.
    ' where step.person_id = any (array(select bound.person_id from bound order by bound.person_id))'
    ' and step.event_type_id = any (%4$L::int[])'
    '), '
    'stepped as (select placed.person_id, %3$s from placed group by placed.person_id)',
    v_bounds, v_positions, v_sums,
    array(
      select distinct unnest(slot.event_type_ids) from unnest(_step_figures.slots) as slot where slot.is_stepped
    )
  );
end;
$$;

comment on function experiment._step_figures(experiment.slot[]) is $$
Returns the relation `stepped`, as text of SQL: the outcomes of an experiment that are numbers of times of the journeys.
Null without such outcomes. The statement has the relation `exposed`.
$$;

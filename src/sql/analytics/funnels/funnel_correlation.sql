/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._funnel_correlation(
  steps jsonb,
  since timestamptz,
  until timestamptz,
  step_order text,
  conversion_window interval,
  exclusions jsonb,
  factors text,
  item text,
  among text,
  top int,
  smallest_group int
)
returns setof analytics.funnel_factor
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
set timezone to 'UTC'
set work_mem to '64MB'
as $$
declare
  v_filters constant analytics.step_filter[] := analytics._funnel_steps(
    _funnel_correlation.steps, _funnel_correlation.exclusions, _funnel_correlation.step_order, _funnel_correlation.item
  );
  v_last_step constant int := analytics._last_step(v_filters, 1, null);
  v_days constant timestamptz[] := analytics._bounds(
    'day', _funnel_correlation.since, _funnel_correlation.until, 'UTC'
  );
  v_window constant interval := analytics._conversion_window(_funnel_correlation.conversion_window);
  v_trait constant text := case when factors like 'trait.%' then substr(factors, length('trait.') + 1) end;
  v_people bigint[];
  v_converted boolean[];
  v_starts timestamptz[];
  v_ends timestamptz[];
begin
  if factors is null or factors not in ('event', 'set') and coalesce(v_trait, '') = '' or length(factors) > 106 then
    perform common.refuse(
      'CF001', format('factors is "%s"', left(factors, 100)), 'Use event, set, or trait.<name>.'
    );
  end if;
  perform common.check_count('top', coalesce(_funnel_correlation.top, 1), 1, 10000);

  select
    array_agg(attempt.person_id), array_agg(attempt.times[v_last_step] is not null), array_agg(attempt.times[1]),
    array_agg(least(coalesce(attempt.times[v_last_step], attempt.times[1] + v_window), v_days[cardinality(v_days)]))
  into v_people, v_converted, v_starts, v_ends
  from analytics._attempts_by_value(
    v_filters, array[v_days[1], v_days[cardinality(v_days)]], _funnel_correlation.step_order, v_window,
    _funnel_correlation.among, null, 'first_touch', 10, _funnel_correlation.smallest_group
  ) as attempt;

  return query
  with person as materialized (
    select entry.person_id, entry.converted, entry.starts_at, entry.ends_at
    from unnest(v_people, v_converted, v_starts, v_ends) as entry (person_id, converted, starts_at, ends_at)
  ),

  whole as (
    select
      count(*) filter (where person.converted) as converted,
      count(*) filter (where not person.converted) as dropped
    from person
  ),

  present as (
    select distinct event_type.name as factor, person.person_id, person.converted
    from analytics._journeys(
      '{}', true, false, v_days[1], v_days[cardinality(v_days)]
    ) as journey
    join person on person.person_id = journey.person_id
    join track.event_type on event_type.event_type_id = journey.event_type_id
    where factors = 'event'
      and width_bucket(person.ends_at, journey.occurred_at)
        > width_bucket(person.starts_at - interval '1 microsecond', journey.occurred_at)
      and journey.event_type_id not in (select filter.event_type_id from unnest(v_filters) as filter)

    union all

    select person_set.name, person.person_id, person.converted
    from track.person_set
    cross join lateral track.person_set_blocks(person_set.name) as members
    join person
      on person.person_id / 4096 = members.block
      and get_bit(members.people, (person.person_id % 4096)::int) <> 0
    where factors = 'set'
      -- The people who are left in these sets are others.
      and person_set.name not in (select incomplete.name from analytics._incomplete_sets() as incomplete)

    union all

    select by_value.value, person.person_id, person.converted
    from analytics._people_by_value(
      case when v_trait is not null then factors end, 100, _funnel_correlation.smallest_group
    ) as by_value
    join person
      on person.person_id / 4096 = by_value.block
      and get_bit(by_value.people, (person.person_id % 4096)::int) <> 0
    where v_trait is not null
      and by_value.value is not null
  ),

  counted as (
    select
      present.factor,
      count(*) filter (where present.converted) as converted,
      count(*) filter (where not present.converted) as dropped
    from present
    group by present.factor
  ),

  cell as (
    select
      counted.factor,
      analytics._shown(counted.converted, counted.converted, _funnel_correlation.smallest_group) as converted_with,
      analytics._shown(counted.dropped, counted.dropped, _funnel_correlation.smallest_group) as dropped_with,
      analytics._shown(
        whole.converted - counted.converted, whole.converted - counted.converted, _funnel_correlation.smallest_group
      ) as converted_without,
      analytics._shown(
        whole.dropped - counted.dropped, whole.dropped - counted.dropped, _funnel_correlation.smallest_group
      ) as dropped_without
    from counted
    cross join whole
    where counted.converted + counted.dropped between coalesce(_funnel_correlation.smallest_group, 1)
      and whole.converted + whole.dropped - coalesce(_funnel_correlation.smallest_group, 1)
  ),

  compared as (
    select
      cell.*,
      ln((cell.converted_with + 0.5) * (cell.dropped_without + 0.5))
        - ln((cell.dropped_with + 0.5) * (cell.converted_without + 0.5)) as log_odds,
      sqrt(
        1 / (cell.converted_with + 0.5) + 1 / (cell.dropped_with + 0.5)
          + 1 / (cell.converted_without + 0.5) + 1 / (cell.dropped_without + 0.5)
      ) as deviation
    from cell
  ),

  tested as (
    select
      compared.*,
      2 * ml.normal_cdf(-abs(compared.log_odds / compared.deviation)) as p_value
    from compared
  ),

  corrected as (
    select experiment.benjamini_hochberg(array_agg(tested.p_value order by tested.factor)) as p_values
    from tested
    having count(*) > 0
  ),

  ranked as (
    select tested.*, corrected.p_values[row_number() over (order by tested.factor)] as adjusted
    from tested
    cross join corrected
  )

  select
    ranked.factor,
    ranked.converted_with::bigint,
    ranked.dropped_with::bigint,
    ranked.converted_without::bigint,
    ranked.dropped_without::bigint,
    exp(ranked.log_odds),
    exp(ranked.log_odds - 1.959963984540054 * ranked.deviation),
    exp(ranked.log_odds + 1.959963984540054 * ranked.deviation),
    ranked.adjusted,
    ranked.adjusted <= 0.05
  from ranked
  order by abs(ranked.log_odds) - 1.959963984540054 * ranked.deviation desc, ranked.factor
  limit _funnel_correlation.top;
end;
$$;

alter function analytics._funnel_correlation(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, int, int
)
owner to insights_reader;

comment on function analytics._funnel_correlation(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, int, int
) is $$
Computes the result of `analytics.funnel_correlation`.
`smallest_group`: figures of groups of counted people (see `analytics._visible_periods` and `analytics._shown`);
null: exact figures of all people.
$$;

grant execute on function analytics._funnel_correlation(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, int, int
)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._funnel_correlation_shown(
  steps jsonb,
  since timestamptz,
  until timestamptz,
  step_order text,
  conversion_window interval,
  exclusions jsonb,
  factors text,
  item text,
  among text,
  top int
)
returns setof analytics.funnel_factor
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select *
  from analytics._funnel_correlation(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._funnel_correlation_shown(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, int
)
owner to insights_reader;

comment on function analytics._funnel_correlation_shown(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, int
) is $$
Returns the result of `analytics.funnel_correlation` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._funnel_correlation_shown(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, int
)
to insights_analyst;

create or replace function analytics.funnel_correlation(
  steps jsonb,
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  step_order text default 'ordered',
  conversion_window interval default '14 days',
  exclusions jsonb default '[]',
  factors text default 'event',
  item text default null,
  among text default null,
  top int default 20
)
returns setof analytics.funnel_factor
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._funnel_correlation(jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, '
      || 'int, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._funnel_correlation(
      funnel_correlation.steps, funnel_correlation.since, funnel_correlation.until, funnel_correlation.step_order,
      funnel_correlation.conversion_window, funnel_correlation.exclusions, funnel_correlation.factors,
      funnel_correlation.item, funnel_correlation.among, funnel_correlation.top, null
    );
  else
    return query
    select *
    from analytics._funnel_correlation_shown(
      funnel_correlation.steps, funnel_correlation.since, funnel_correlation.until, funnel_correlation.step_order,
      funnel_correlation.conversion_window, funnel_correlation.exclusions, funnel_correlation.factors,
      funnel_correlation.item, funnel_correlation.among, funnel_correlation.top
    );
  end if;
end;
$$;

comment on function analytics.funnel_correlation(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, int
) is $$
Returns what sets the people who did all steps of a funnel apart from those who did not.
`factors`: `event`: whether a person did an event of each type between her first and her last step or, without the last
step, within the window; `set`: whether she is in each set of people now, of those that `among` accepts; `trait.<name>`:
whether she has each of the 100 most frequent values. The odds ratio is that of doing all steps, of people with the
factor compared with the others: 2 means twice the odds, 0.5 half of them. It is computed with 0.5 added to each of the
four numbers (Haldane 1956, Anscombe 1956), and its 95 % interval by the logarithm (B. Woolf, "On estimating the
relation between blood group and disease", Annals of Human Genetics 19, 1955). `is_significant`: the false discovery
rate of all that are marked is at most 5 % (Benjamini and Hochberg 1995; chi-squared test by the logarithm of the odds
ratio). Factors are ordered by the bound of the interval that is closer to 1, the clearest first; `top` null: all. A
correlation is not a cause. Steps and exclusions are not among the factors. The other arguments are those of
`analytics.funnel`, and so are the rules. For analysts, all figures are computed from the numbers of people as shown,
and factors of too few people are left out, as are those that too few people are without. Errors: as `analytics.funnel`.
$$;

grant execute on function analytics.funnel_correlation(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, int
)
to insights_analyst, insights_admin, insights_worker;

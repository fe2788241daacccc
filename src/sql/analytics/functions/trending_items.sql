create or replace function analytics._trending_items_of(
  kind text,
  first_day date,
  end_day date,
  measure text,
  half_life interval,
  top int,
  people bigint[],
  bias float8,
  smallest_group int
)
returns setof analytics.trending_item
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
as $$
declare
  v_is_exact constant boolean := coalesce(_trending_items_of.smallest_group, 1) = 1;
  v_days constant int := end_day - first_day;
  v_half_life constant float8 := extract(epoch from half_life) / 86400;
  -- Periods of more than four half-lives ago would weigh less than a sixteenth.
  v_periods constant int := least(
    greatest(1, least(100, floor(4 * v_half_life / v_days))), (first_day - '0001-01-01'::date) / v_days
  );
begin
  return query
  with everyone as (
    select item_days.item_id, item_days.day, item_days.person_count
    from analytics._item_days(
      _trending_items_of.kind, _trending_items_of.end_day - v_days * (v_periods + 1), _trending_items_of.end_day, null
    ) as item_days
    where _trending_items_of.people is not null
      and not v_is_exact
  ),

  used as (
    -- Period 0 is the one of the question.
    select
      item_days.item_id,
      (_trending_items_of.end_day - 1 - item_days.day) / v_days as period,
      case _trending_items_of.measure
        when 'people' then item_days.person_count
        when 'events' then item_days.event_count
        else extract(epoch from item_days.engaged)
      end::float8 as measured,
      item_days.person_count
    from analytics._item_days(
      _trending_items_of.kind, _trending_items_of.end_day - v_days * (v_periods + 1), _trending_items_of.end_day,
      _trending_items_of.people
    ) as item_days
    left join everyone on everyone.item_id = item_days.item_id and everyone.day = item_days.day
    where item_days.person_count >= coalesce(_trending_items_of.smallest_group, 1)
      -- The others are a group too, or there are none.
      and (
        everyone.person_count is null
        or everyone.person_count - item_days.person_count not between 1 and _trending_items_of.smallest_group - 1
      )
  ),

  -- The people of the largest day are not more than those of the period: figures are rounded at least as much.
  measured as materialized (
    select
      by_period.item_id, by_period.period,
      case
        when v_is_exact then by_period.measured
        else analytics._shown(by_period.measured, by_period.person_count, _trending_items_of.smallest_group)
      end as measured,
      case
        when not v_is_exact
          then _trending_items_of.smallest_group
            * analytics._power_of_two(by_period.measured / by_period.person_count)
      end as unit
    from (
      select
        used.item_id, used.period,
        case
          when _trending_items_of.measure = 'engaged' then round(sum(used.measured)::numeric, 6)::float8
          else sum(used.measured)
        end as measured,
        max(used.person_count) as person_count
      from used
      group by used.item_id, used.period
    ) as by_period
  ),

  -- An earlier period weighs by its age and by the use of all items in it: the expected share of an item is the ratio
  -- of two decayed sums. Periods without any use, such as those before the first event, do not count.
  earlier as (
    select
      total.period,
      total.measured,
      0.5::float8 ^ (total.period * v_days / v_half_life) * total.measured as weight,
      recent.measured as recent_total
    from (
      select measured.period, sum(measured.measured) as measured from measured group by measured.period
    ) as total
    cross join (
      select sum(of_period.measured) as measured from measured as of_period where of_period.period = 0
    ) as recent
    where total.period > 0
      and total.measured > 0
  ),

  scaled as (
    select
      recent.item_id,
      recent.measured,
      recent.unit,
      earlier.weight,
      coalesce(own.measured, 0) / earlier.measured * earlier.recent_total as scaled
    from measured as recent
    cross join earlier
    left join measured as own on own.item_id = recent.item_id and own.period = earlier.period
    where recent.period = 0
      and recent.measured > 0
  ),

  estimated as (
    select
      scaled.*,
      sum(scaled.weight * scaled.scaled) over of_item / sum(scaled.weight) over of_item as expected
    from scaled
    window of_item as (partition by scaled.item_id)
  ),

  compared as (
    select
      estimated.item_id,
      estimated.measured,
      estimated.unit,
      estimated.expected,
      sum(estimated.weight * (estimated.scaled - estimated.expected) ^ 2) / sum(estimated.weight) as variance
    from estimated
    group by estimated.item_id, estimated.measured, estimated.unit, estimated.expected
  ),

  -- Rounded, because the last digits depend on the order of addition and would decide the order of equal items.
  scored as (
    select
      compared.item_id, compared.measured,
      round(compared.expected::numeric, 9)::float8 as expected,
      round(noise.deviation::numeric, 9)::float8 as deviation,
      round(
        ((compared.measured - greatest(compared.expected, noise.bias)) / (noise.deviation + noise.bias))::numeric, 9
      )::float8 as score
    from compared
    cross join lateral (
      select
        -- That of Poisson counts at least.
        sqrt(greatest(compared.variance, compared.expected)) as deviation,
        greatest(_trending_items_of.bias, compared.unit) as bias
    ) as noise
  )

  select
    (row_number() over by_score)::int,
    item.external_id,
    item.title,
    item.kind,
    scored.measured,
    scored.expected,
    scored.deviation,
    scored.measured / nullif(scored.expected, 0) - 1,
    scored.score,
    null::text,
    false
  from scored
  join track.item on item.item_id = scored.item_id
  where scored.score > 0
  window by_score as (order by scored.score desc, scored.measured desc, item.external_id)
  order by 1
  limit _trending_items_of.top;
end;
$$;

comment on function analytics._trending_items_of(
  text, date, date, text, interval, int, bigint[], float8, int
) is $$
Returns the trending items of some counted people, with the privileges of the caller: see `analytics.trending_items`.
`end_day` is exclusive. `people` null: all counted people.
`smallest_group`: see `analytics._shown`; null: exact figures.
$$;

grant execute on function analytics._trending_items_of(
  text, date, date, text, interval, int, bigint[], float8, int
) to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._trending_items(
  kind text,
  since timestamptz,
  until timestamptz,
  measure text,
  half_life interval,
  top int,
  among text,
  bias float8,
  breakdown text,
  top_values int,
  smallest_group int
)
returns setof analytics.trending_item
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set extra_float_digits to 1
set jit to off
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
as $$
declare
  -- Whole days, so that two periods differ by a day at least.
  v_bounds constant timestamptz[] := analytics._bounds('day', _trending_items.since, _trending_items.until, 'UTC');
  v_days constant int := v_bounds[cardinality(v_bounds)]::date - v_bounds[1]::date;
begin
  if v_days > 366 then
    perform common.refuse('CF008', format('the period has %s days', v_days),
      'Give at most 366: it is compared with earlier periods of the same length.');
  end if;
  if _trending_items.measure is null or _trending_items.measure not in ('people', 'events', 'engaged') then
    perform common.refuse('CF001', format('measure is "%s"', left(_trending_items.measure, 100)),
      'Use people (people by day), events or engaged (engaged time).');
  end if;
  if _trending_items.half_life is null
    or not (_trending_items.half_life >= '1 day' and _trending_items.half_life <= '3660 days')
  then
    perform common.refuse('CF001', format('half_life is %s', coalesce(_trending_items.half_life::text, 'null')),
      'Give an interval from 1 to 3660 days, such as 28 days.');
  end if;
  if _trending_items.bias is null or not (_trending_items.bias between 1 and 1000000) then
    perform common.refuse('CF001', format('bias is %s', coalesce(_trending_items.bias::text, 'null')),
      'Give a number from 1 to 1000000: use below it is not significant.');
  end if;
  perform common.check_count('top', _trending_items.top, 1, 10000);
  if _trending_items.kind is not null
    and not exists (select from track.item where item.kind = _trending_items.kind)
  then
    perform common.refuse(
      'CF002',
      format('there is no item of kind "%s"', left(_trending_items.kind, 100)),
      coalesce(
        (select 'There are ' || string_agg(distinct item.kind, ', ') || '.' from track.item),
        'There are no items yet: send events, or run track.sync_items.'
      )
    );
  end if;

  return query
  select
    trending.rank, trending.item, trending.title, trending.kind, trending.measured, trending.expected,
    trending.deviation, trending.growth, trending.score, part.value, part.is_other
  from analytics._counted_groups(
    _trending_items.among, _trending_items.breakdown, _trending_items.top_values, _trending_items.smallest_group
  ) as part
  cross join lateral analytics._trending_items_of(
    _trending_items.kind, v_bounds[1]::date, v_bounds[cardinality(v_bounds)]::date, _trending_items.measure,
    _trending_items.half_life, _trending_items.top,
    case when part.blocks is not null then analytics._people_of(part.blocks, part.people) end, _trending_items.bias,
    _trending_items.smallest_group
  ) as trending
  order by part.is_other, part.value is null, part.value, trending.rank;
end;
$$;

alter function analytics._trending_items(
  text, timestamptz, timestamptz, text, interval, int, text, float8, text, int, int
)
owner to insights_reader;

comment on function analytics._trending_items(
  text, timestamptz, timestamptz, text, interval, int, text, float8, text, int, int
) is $$
Computes the result of `analytics.trending_items`.
`smallest_group`: see `analytics._shown`; null: exact figures.
$$;

grant execute on function analytics._trending_items(
  text, timestamptz, timestamptz, text, interval, int, text, float8, text, int, int
) to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._trending_items_shown(
  kind text,
  since timestamptz,
  until timestamptz,
  measure text,
  half_life interval,
  top int,
  among text,
  bias float8,
  breakdown text,
  top_values int
)
returns setof analytics.trending_item
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
  from analytics._trending_items(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._trending_items_shown(
  text, timestamptz, timestamptz, text, interval, int, text, float8, text, int
) owner to insights_reader;

comment on function analytics._trending_items_shown(
  text, timestamptz, timestamptz, text, interval, int, text, float8, text, int
) is $$
Returns the result of `analytics.trending_items` for analysts: figures of groups, rounded.
$$;

grant execute on function analytics._trending_items_shown(
  text, timestamptz, timestamptz, text, interval, int, text, float8, text, int
) to insights_analyst;

create or replace function analytics.trending_items(
  kind text default 'course',
  since timestamptz default (now() at time zone 'UTC' - interval '6 days') at time zone 'UTC',
  until timestamptz default now(),
  measure text default 'people',
  half_life interval default '28 days',
  top int default 10,
  among text default null,
  bias float8 default 5,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.trending_item
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._trending_items(text, timestamptz, timestamptz, text, interval, int, text, float8, text, int, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._trending_items(
      trending_items.kind, trending_items.since, trending_items.until, trending_items.measure,
      trending_items.half_life, trending_items.top, trending_items.among, trending_items.bias,
      trending_items.breakdown, trending_items.top_values, null
    );
  else
    return query
    select *
    from analytics._trending_items_shown(
      trending_items.kind, trending_items.since, trending_items.until, trending_items.measure,
      trending_items.half_life, trending_items.top, trending_items.among, trending_items.bias,
      trending_items.breakdown, trending_items.top_values
    );
  end if;
end;
$$;

comment on function analytics.trending_items(
  text, timestamptz, timestamptz, text, interval, int, text, float8, text, int
) is $$
Returns the items that are used more than expected between two times (`until` exclusive), most significant first.
The expectation is a mean of earlier periods of the same length, up to four half-lives back: the weight of a period is
halved per `half_life` of age. The method is SigniTrend (E. Schubert, M. Weiler, H.-P. Kriegel, KDD 2014): the score is
(measured - max(expected, `bias`)) / (deviation + `bias`), a number of standard deviations from an exponentially
weighted mean, in which `bias` keeps items of little use from being significant. What is compared is the share of an
item in the use of all items of its kind: in a holiday, at the start of a term, and on a day that has not ended, all
items have more or less use, and no item trends for that reason. The deviation is that of the earlier periods, and at
least that of Poisson counts.
`measure`: `people` (the distinct people of each day, added up: a person who is active on three days counts three
times, one who sends a thousand events does not), `events` or `engaged` (seconds). Use includes that of what an item
contains; `kind` null: the items themselves. The period is extended to whole days, UTC; use periods of whole weeks,
because items have other shares on weekends. Items with a score of 0 or less are not returned, and no item is when
there is no earlier period with use.
Only people in the set `counted` count; `among`: those of them in an expression of sets of people. `breakdown`:
`set.<family>` or `trait.<name>`, as of now: the result for the people of each value, of at most `top_values`; the
others have `is_other`. An item is then compared with the use by the same people, and ranks are those within the value.
The result includes every event that was stored when the function was called, and engaged times as of the last refresh.
It is read from the sums by item and day; with `among` or `breakdown`, and for kinds of items with parts other than
courses, from the journeys.
For admins and workers, figures are exact. For analysts, a day on which fewer than `analytics.setting.smallest_group`
people used an item is left out, with `among` or `breakdown` also one on which the others are fewer, figures are rounded
by `analytics._shown` (for the people of the largest day), and everything else is computed from them, with a `bias` of
at least one step of rounding.
Errors: CF001 for an invalid argument, CF002 for an unknown kind or set, CF008 for more than 366 days.
$$;

grant execute on function analytics.trending_items(
  text, timestamptz, timestamptz, text, interval, int, text, float8, text, int
) to insights_analyst, insights_admin, insights_worker;

/* The plans are the same for all periods, so that they are made once in a session. */
create or replace function analytics._people_on_days(
  given analytics.people_block[], without bigint[], event_type_id int, low int, high int, first_day date, end_day date
)
returns setof analytics.people_block
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set plan_cache_mode to force_generic_plan
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_present analytics.people_block[];
begin
  -- Two statements, because an aggregate is computed even where its result is not used.
  if coalesce(high, 1) = 0 or low = 1 and high is null then
    v_present := array(
      select row(presence.block, bit_or(presence.people))::analytics.people_block
      from track.presence
      where presence.event_type_id = _people_on_days.event_type_id
        and presence.day >= _people_on_days.first_day
        and presence.day < _people_on_days.end_day
        and presence.block = any (array(select part.block from unnest(given) as part))
      group by presence.block
    );
  elsif low > 0 or high is not null then
    v_present := array(
      select
        row(
          counted.block,
          case
            when low <= 0 then analytics._bits_from(counted.counts, high + 1)
            when high is null then analytics._bits_from(counted.counts, low)
            else analytics._bits_from(counted.counts, low) & ~analytics._bits_from(counted.counts, high + 1)
          end
        )::analytics.people_block
      from (
        select presence.block, analytics._bit_counts(presence.people) as counts
        from track.presence
        where presence.event_type_id = _people_on_days.event_type_id
          and presence.day >= _people_on_days.first_day
          and presence.day < _people_on_days.end_day
          and presence.block = any (array(select part.block from unnest(given) as part))
        group by presence.block
      ) as counted
    );
  end if;

  return query
  select entry.block, entry.members::bit(4096)
  from (
    select
      part.block,
      part.people
        & ~coalesce(without.people, v_no_people)
        -- With a minimum of 0, those who have more than the maximum are left out.
        & case
          when low <= 0 then ~coalesce(present.people, v_no_people)
          else coalesce(present.people, v_no_people)
        end as members
    from unnest(given) as part
    left join unnest(v_present) as present on present.block = part.block
    left join (
      select (entry.person_id / 4096)::int as block, bit_or(track.person_bit(entry.person_id)) as people
      from unnest(_people_on_days.without) as entry (person_id)
      group by 1
    ) as without on without.block = part.block
  ) as entry
  where bit_count(entry.members) > 0;
end;
$$;

comment on function analytics._people_on_days(analytics.people_block[], bigint[], int, int, int, date, date) is $$
Returns those of the given people who have events on a number of days in a period.
On `low` to `high` days (UTC; `high` null: no limit) from `first_day` until `end_day`, as of the last refresh of the
sessions. People in `without` are left out.
$$;

grant execute on function analytics._people_on_days(analytics.people_block[], bigint[], int, int, int, date, date)
to insights_reader;

create or replace function analytics._people_with_events(
  given analytics.people_block[],
  people bigint[],
  event_type_id int,
  items bigint[],
  property jsonb,
  by_day boolean,
  low int,
  high int,
  since timestamptz,
  until timestamptz
)
returns setof analytics.people_block
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
-- The best plan depends on the number of people, the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_first_day constant date := _people_with_events.since::date;
  v_end_day constant date := _people_with_events.until::date;
  -- Of whole days, without a filter of events: from the bits of days.
  v_by_bits constant boolean := _people_with_events.items is null
    and _people_with_events.property is null
    and v_first_day::timestamptz = _people_with_events.since
    and v_end_day::timestamptz = _people_with_events.until
    and (by_day or low <= 1 and high is null or coalesce(high, 1) = 0);
  v_stale bigint[] := '{}';
  v_listed bigint[];
  v_from_events bigint[];
begin
  if exists (select 1 from track.stale) then
    v_stale := array(
      select distinct stale.person_id
      from track.stale
      where stale.person_id = any (_people_with_events.people)
    );
  end if;
  if v_by_bits then
    return query
    select *
    from analytics._people_on_days(
      given, v_stale, _people_with_events.event_type_id, low, high, v_first_day, v_end_day
    );
    if v_stale = '{}' then
      return;
    end if;
  end if;

  v_listed := array(
    select entry.person_id
    from unnest(case when v_by_bits then v_stale else _people_with_events.people end) as entry (person_id)
    join unnest(given) as part
      on part.block = entry.person_id / 4096
      and get_bit(part.people, (entry.person_id % 4096)::int) <> 0
  );
  -- The journeys of people whose events have changed are out of date, and journeys have no properties.
  v_from_events := case
    when _people_with_events.property is null then v_stale
    when _people_with_events.event_type_id = 0 then v_listed
    else v_stale || array(
      select step.person_id
      from track.step
      where step.person_id = any (v_listed)
        and step.event_type_id = _people_with_events.event_type_id
    )
  end;

  return query
  with happened as (
    select step.person_id, entry.occurred_at
    from track.step
    cross join lateral unnest(
      step.occurred_at[
        width_bucket(_people_with_events.since - interval '1 microsecond', step.occurred_at) + 1
        :width_bucket(_people_with_events.until - interval '1 microsecond', step.occurred_at)
      ],
      step.item_ids[
        width_bucket(_people_with_events.since - interval '1 microsecond', step.occurred_at) + 1
        :width_bucket(_people_with_events.until - interval '1 microsecond', step.occurred_at)
      ]
    ) as entry (occurred_at, item_id)
    where not v_by_bits
      and _people_with_events.property is null
      and step.person_id = any (v_listed)
      and step.person_id <> all (v_stale)
      and case
        when _people_with_events.event_type_id <> 0 then step.event_type_id = _people_with_events.event_type_id
        else _people_with_events.items is not null or not step.is_automatic
      end
      and step.since > v_first_day - 366
      and step.since <= v_end_day
      and (_people_with_events.items is null or entry.item_id = any (_people_with_events.items))

    union all

    select event.person_id, event.occurred_at
    from track.event
    join track.event_type on event_type.event_type_id = event.event_type_id
    join track.source on source.source_id = event.source_id
    where event.person_id = any (v_from_events)
      and event.occurred_at >= _people_with_events.since
      and event.occurred_at < _people_with_events.until
      and case
        when _people_with_events.event_type_id <> 0 then event.event_type_id = _people_with_events.event_type_id
        else _people_with_events.items is not null or not (event_type.is_automatic or source.is_automatic)
      end
      and (_people_with_events.items is null or event.item_id = any (_people_with_events.items))
      and (
        _people_with_events.property is null
        or event.properties -> (_people_with_events.property ->> 'name') = _people_with_events.property -> 'is'
      )
  ),

  counted as (
    select
      happened.person_id,
      case when by_day then count(distinct happened.occurred_at::date) else count(*) end as times
    from happened
    group by happened.person_id
  )

  select (listed.person_id / 4096)::int, bit_or(track.person_bit(listed.person_id))::bit(4096)
  from (select distinct entry.person_id from unnest(v_listed) as entry (person_id)) as listed
  left join counted on counted.person_id = listed.person_id
  where coalesce(counted.times, 0) >= low
    and (high is null or coalesce(counted.times, 0) <= high)
  group by 1;
end;
$$;

comment on function analytics._people_with_events(
  analytics.people_block[], bigint[], int, bigint[], jsonb, boolean, int, int, timestamptz, timestamptz
) is $$
Returns those of the given people who have a number of events in a period.
`low` to `high` times (`high` null: no limit) from `since` until `until`. `given`: their bits; `people`: a
list that contains them. `by_day`: the number of days (UTC) with such events.
`items`: events of these items, automatic ones too; `property`: events with the property `name` of the value `is`.
Exact as of now: the events of people who are queued for a refresh of their journeys are read from `track.event`.
A block may be returned twice, with different people.
$$;

grant execute on function analytics._people_with_events(
  analytics.people_block[], bigint[], int, bigint[], jsonb, boolean, int, int, timestamptz, timestamptz
) to insights_reader;

create or replace function analytics._rule_events(
  rule jsonb, given analytics.people_block[], people bigint[], as_of date, ignored_from timestamptz
)
returns setof analytics.people_block
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_event_type_id constant int := coalesce(
    (
      select coalesce(event_type.merged_event_type_id, event_type.event_type_id)
      from track.event_type
      where event_type.name = rule ->> 'event'
    ),
    case when jsonb_typeof(rule -> 'event') = 'null' then 0 else -1 end
  );
  v_items constant bigint[] := case
    when rule ? 'item' then array(
      select ancestor.item_id
      from track.item as known
      join track.item_ancestor as ancestor
        on ancestor.ancestor_item_id = coalesce(known.merged_item_id, known.item_id)
      where known.external_id = rule ->> 'item'
    )
  end;
  v_by_day constant boolean := coalesce(rule ->> 'counted' = 'days', false);
  v_low constant int := coalesce(
    (rule ->> 'exactly')::int, (rule ->> 'at_least')::int, case when rule ? 'at_most' then 0 else 1 end
  );
  v_high constant int := coalesce((rule ->> 'exactly')::int, (rule ->> 'at_most')::int);
  v_window record;
begin
  v_window := analytics._rule_window(_rule_events.rule, _rule_events.as_of, _rule_events.ignored_from);
  if not coalesce((rule ->> 'first')::boolean, false) then
    return query
    select *
    from analytics._people_with_events(
      given, _rule_events.people, v_event_type_id, v_items, rule -> 'property', v_by_day, v_low, v_high,
      v_window.since, v_window.until
    );
    return;
  end if;

  return query
  select entry.block, entry.members::bit(4096)
  from (
    select
      recent.block, bit_or(recent.people) & ~coalesce((array_agg(former.people))[1], v_no_people) as members
    from analytics._people_with_events(
      given, _rule_events.people, v_event_type_id, v_items, rule -> 'property', false, 1, null,
      v_window.since, v_window.until
    ) as recent
    left join (
      select earlier.block, bit_or(earlier.people) as people
      from analytics._people_with_events(
        given, _rule_events.people, v_event_type_id, v_items, rule -> 'property', false, 1, null,
        '-infinity', v_window.since
      ) as earlier
      group by earlier.block
    ) as former on former.block = recent.block
    group by recent.block
  ) as entry
  where bit_count(entry.members) > 0;
end;
$$;

comment on function analytics._rule_events(jsonb, analytics.people_block[], bigint[], date, timestamptz) is $$
Returns those of the given people for whom a condition on events is true. See `analytics.define_cohort`.
$$;

grant execute on function analytics._rule_events(jsonb, analytics.people_block[], bigint[], date, timestamptz)
to insights_reader;

/* Times of one event by person: a row per person, with the times in order. */
create or replace aggregate analytics._concatenated(anycompatiblearray) (
  sfunc = array_cat,
  stype = anycompatiblearray,
  parallel = safe
);

comment on aggregate analytics._concatenated(anycompatiblearray) is $$Returns the arrays of a group as one.$$;

grant execute on function analytics._concatenated(anycompatiblearray) to insights_reader;

create or replace function analytics._read_properties(filters analytics.step_filter[], types int[], property text)
returns int[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return (
    with wanted as (
      select distinct
        filter.event_type_id,
        unnest(array_remove(array[filter.property ->> 'name', _read_properties.property], null)) as name
      from unnest(filters) as filter
    )

    select array_agg(declared.property_id order by entry.number)
    from unnest(types) with ordinality as entry (event_type_id, number)
    left join wanted on wanted.event_type_id = entry.event_type_id
    left join track.declared_property as declared
      on declared.event_type_id = entry.event_type_id
      and declared.property = wanted.name
    having count(distinct entry.number) = count(*)
      and bool_and(wanted.name is null or track.is_property_complete(entry.event_type_id, wanted.name) is true)
      and not exists (
        select
        from unnest(filters) as filter
        -- 1 and "1" are one value in the journeys, of which only the first 200 characters are stored.
        where jsonb_typeof(filter.property -> 'is') <> 'string'
          or filter.property ->> 'is' ~ '^(.{200,}|-?[0-9].*|true|false|[[{].*)$'
          or filter.event_type_id = 0 and coalesce(filter.property ->> 'name', _read_properties.property) is not null
      )
  );
end;
$$;

comment on function analytics._read_properties(analytics.step_filter[], int[], text) is $$
Returns the declared property that a funnel reads of each of its event types, null for a type of which it reads none.
Null when the values have to be read from the events: a property is not declared or not complete, two of a type are
read, or a value is not a text. `property`: that of the breakdown, which is read of all types.
$$;

grant execute on function analytics._read_properties(analytics.step_filter[], int[], text) to insights_reader;

/*
 * The statements have these parameters: $1 the filters, $2 the bounds, $3 the visible periods of each filter and, at
 * the end, of any event, $4 and $5 the people as blocks and bits, $6 the conversion window, $7 the event types, $8
 * whether all events are read, $9 the optional steps, one bit each, $10 the property, $11 the declared property of each
 * event type, $12 the value of each filter, and $13 the people as a list.
 */

create or replace function analytics._touch_statement(
  filters analytics.step_filter[], attribution text, only_visible boolean
)
returns text
language sql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select format(
    $query$
    select distinct on (touched.person_id) touched.person_id, property_value.value
    from (
      select journey.person_id, known.at, used.value_id
      from analytics._valued_journeys($7, $11, false, ($2)[1], ($2)[cardinality($2)]) as journey
      join unnest($4, $5) as entry (block, people)
        on entry.block = journey.person_id / 4096
        and get_bit(entry.people, (journey.person_id %% 4096)::int) <> 0
      -- Usually it is the event at the end of the list. There can be several events of its time.
      cross join lateral (
        select
          case
            when %1$s and journey.value_ids[%2$s] > 0 then journey.occurred_at[%2$s]
            else (
              select %3$s
              from (
                select
                  unnest(journey.occurred_at) as at, unnest(journey.item_ids) as item_id,
                  unnest(journey.value_ids) as value_id
              ) as used
              where used.value_id > 0
                and case journey.event_type_id %4$s else false end
              limit 1
            )
          end as at
        offset 0
      ) as known
      cross join lateral (
        select
          width_bucket(known.at - interval '1 microsecond', journey.occurred_at) + 1 as first,
          width_bucket(known.at, journey.occurred_at) as last
        offset 0
      ) as place
      cross join lateral (
        select
          known.at, unnest(journey.item_ids[place.first:place.last]) as item_id,
          unnest(journey.value_ids[place.first:place.last]) as value_id
      ) as used
      where used.value_id > 0
        and case journey.event_type_id %4$s else false end
    ) as touched
    join track.property_value on property_value.value_id = touched.value_id
    order by touched.person_id, touched.at %5$s, property_value.value
    $query$,
    case when bool_and(filter.condition is null) then 'true' else 'false' end,
    case when attribution = 'last_touch' then 'cardinality(journey.occurred_at)' else '1' end,
    case when attribution = 'last_touch' then 'max(used.at)' else 'used.at' end,
    string_agg(
      format('when %s then %s', filter.event_type_id, coalesce(filter.condition, 'true')), ' ' order by filter.number
    ),
    case when attribution = 'last_touch' then 'desc' else '' end
  )
  from (
    select
      entry.event_type_id, entry.ordinality as number,
      analytics._step_condition(filters, entry.ordinality::int, only_visible, false) as condition
    from unnest(filters) with ordinality as entry
    where not entry.is_exclusion
  ) as filter
$$;

comment on function analytics._touch_statement(analytics.step_filter[], text, boolean) is $$
Returns the statement that finds the value of people: that of their first or last step with a value (`attribution`).
For a funnel of different events whose properties are read from the journeys; see `analytics._funnel_attempts`.
$$;

grant execute on function analytics._touch_statement(analytics.step_filter[], text, boolean) to insights_reader;

create or replace function analytics._walk_statement(
  filters analytics.step_filter[],
  step_count int,
  step_order text,
  source text,
  attribution text,
  people text,
  by_bucket boolean,
  only_visible boolean
)
returns text
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_filter analytics.step_filter;
  v_steps text := '0';
  v_exclusions text := '0';
  v_bit int;
  v_expression text;
  v_source text;
  -- The steps that begin an attempt.
  v_entry constant int := case when step_order = 'unordered' then (1 << step_count) - 1 else 1 end;
  -- The first step of an attempt is in its bucket, and the step that gives the value has this value.
  v_masked constant text := concat(
    'hit.steps',
    case
      when by_bucket and step_order <> 'unordered'
        then ' & case when hit.at >= ($2)[entered.bucket + 1] then ~1 else ~0 end'
    end,
    case
      when attribution like 'step\_%' then format(
        ' & case when hit.steps & %1$s <> 0 and hit.value is distinct from given.value then ~%1$s else ~0 end',
        1 << (substr(attribution, 6)::int - 1)
      )
    end
  );
begin
  for v_number in 1 .. cardinality(filters) loop
    v_filter := filters[v_number];
    v_bit := case
      when v_filter.is_exclusion then (1 << v_filter.last_step) - (1 << v_filter.first_step)
      else 1 << (v_number - 1)
    end;
    v_expression := format(
      ' | case when %s then %s else 0 end',
      concat_ws(
        ' and ',
        case
          when v_filter.event_type_id = 0 then 'not used.is_automatic'
          else format('used.event_type_id = %s', v_filter.event_type_id)
        end,
        analytics._step_condition(filters, v_number, only_visible, source in ('events', 'listed'))
      ),
      v_bit
    );
    if v_filter.is_exclusion then
      v_exclusions := v_exclusions || v_expression;
    else
      v_steps := v_steps || v_expression;
    end if;
  end loop;

  v_source := case source
    when 'journeys' then
      $query$
      select
        journey.person_id, journey.event_type_id, used.at, used.item_id, null::jsonb as properties,
        journey.is_automatic, null::text as value
      from analytics._journeys($7, $8, true, ($2)[1], ($2)[cardinality($2)], $query$ || people || $query$) as journey
      join member
        on member.block = journey.person_id / 4096
        and get_bit(member.people, (journey.person_id % 4096)::int) <> 0
      cross join lateral unnest(journey.occurred_at, journey.item_ids) as used (at, item_id)
      $query$
    when 'values' then
      $query$
      select
        journey.person_id, journey.event_type_id, used.at, used.item_id, used.value_id, journey.is_automatic,
        property_value.value
      from analytics._valued_journeys($7, $11, $8, ($2)[1], ($2)[cardinality($2)], $query$ || people || $query$)
        as journey
      join member
        on member.block = journey.person_id / 4096
        and get_bit(member.people, (journey.person_id % 4096)::int) <> 0
      cross join lateral unnest(journey.occurred_at, journey.item_ids, journey.value_ids)
        as used (at, item_id, value_id)
      left join track.property_value on property_value.value_id = used.value_id and $10 is not null
      $query$
    else
      format(
        $query$
        select
          event.person_id, event.event_type_id, event.occurred_at as at, event.item_id, event.properties,
          event_type.is_automatic or source.is_automatic as is_automatic,
          left(event.properties ->> $10, 200) as value
        from track.event
        join track.event_type on event_type.event_type_id = event.event_type_id
        join track.source on source.source_id = event.source_id
        %s
        where event.occurred_at >= ($2)[1]
          and event.occurred_at < ($2)[cardinality($2)]
          and (event.event_type_id = any ($7) or $8)
          and event.person_id <> 0
        $query$,
        case source
          when 'events' then
            $query$
            join member
              on member.block = event.person_id / 4096
              and get_bit(member.people, (event.person_id % 4096)::int) <> 0
            $query$
          else 'join unnest($13) as listed (person_id) on listed.person_id = event.person_id'
        end
      )
  end;

  return format(
    $query$
    with member as materialized (
      select entry.block, entry.people from unnest($4, $5) as entry (block, people)
    ),

    hit as (
      select used.person_id, used.at, used.steps, used.exclusions, used.value
      from (
        select used.person_id, used.at, used.value, used.is_automatic, %1$s as steps, %2$s as exclusions
        from (%3$s) as used
      ) as used
      where used.steps <> 0
        or used.exclusions <> 0
        or %4$s
    ),

    journey as (%5$s)

    select journey.person_id, journey.bucket, journey.value, attempt.reached, attempt.times
    from journey
    cross join lateral %6$s as attempt
    where attempt.reached > 0
    $query$,
    v_steps,
    v_exclusions,
    v_source,
    case
      when step_order <> 'strict' then 'false'
      when only_visible then 'not used.is_automatic and used.at <@ ($3)[cardinality($1) + 1]'
      else 'not used.is_automatic'
    end,
    format(
      $query$
      select
        %1$s as person_id, %2$s as bucket, %3$s as value,
        array_agg(hit.at order by hit.at, hit.steps <> 0, hit.steps, hit.exclusions) as at,
        array_agg(%4$s order by hit.at, hit.steps <> 0, hit.steps, hit.exclusions) as steps,
        array_agg(hit.exclusions order by hit.at, hit.steps <> 0, hit.steps, hit.exclusions) as exclusions
      from hit%5$s
      group by %6$s
      having bool_or(%4$s & %7$s <> 0)
      $query$,
      'hit.person_id',
      case when by_bucket then 'entered.bucket' else '1' end,
      case
        when attribution is null then 'null::text'
        when attribution in ('first_touch', 'last_touch') then format(
          $query$(
            array_agg(hit.value order by hit.at%s, hit.value) filter (where hit.steps <> 0 and hit.value is not null)
          )[1]$query$,
          case when attribution = 'last_touch' then ' desc' end
        )
        when attribution = 'all_events' then 'hit.value'
        else 'given.value'
      end,
      v_masked,
      concat(
        case
          when by_bucket then format(
            $query$
            join (
              select distinct hit.person_id, width_bucket(hit.at, $2) as bucket
              from hit
              where hit.steps & %s <> 0
            ) as entered
              on entered.person_id = hit.person_id
              and hit.at >= ($2)[entered.bucket]
              and hit.at <= ($2)[entered.bucket + 1] + $6
            $query$,
            v_entry
          )
        end,
        case
          when attribution like 'step\_%' then format(
            $query$
            left join (
              select distinct hit.person_id, hit.value
              from hit
              where hit.steps & %s <> 0
            ) as given on given.person_id = hit.person_id
            $query$,
            1 << (substr(attribution, 6)::int - 1)
          )
        end
      ),
      concat_ws(
        ', ',
        'hit.person_id',
        case when by_bucket then 'entered.bucket' end,
        case when attribution = 'all_events' then 'hit.value' when attribution like 'step\_%' then 'given.value' end
      ),
      v_entry
    ),
    case
      when step_order = 'unordered' then format(
        'analytics._walk_unordered(journey.at, journey.steps, journey.exclusions, %s, $6, %s)',
        step_count,
        case when by_bucket then '($2)[journey.bucket + 1]' else $query$'infinity'$query$ end
      )
      else format(
        $query$(
          select walked.reached, walked.times
          from analytics._walk_steps(
            journey.at, journey.steps, journey.exclusions, %s, $6, $9, %s
          ) as walked
          where not walked.is_excluded
        )$query$,
        step_count, case when step_order = 'strict' then 'true' else 'false' end
      )
    end
  );
end;
$$;

comment on function analytics._walk_statement(
  analytics.step_filter[], int, text, text, text, text, boolean, boolean
) is $$
Returns the statement that finds the attempts of people in any funnel, by walking through their events.
See `analytics._funnel_attempts`. `source`: `journeys`, `values` (journeys with properties), `events` (properties of
the events themselves), or `listed` (these, of the people $13). `by_bucket`: one attempt per person and bucket of its
start. `people`: the expression of a list of people, of whom only the journeys are read; `null`: of all.
$$;

grant execute on function analytics._walk_statement(
  analytics.step_filter[], int, text, text, text, text, boolean, boolean
)
to insights_reader;

create or replace function analytics._funnel_attempts(
  filters analytics.step_filter[],
  bounds timestamptz[],
  step_order text,
  conversion_window interval,
  among text,
  property text,
  attribution text,
  smallest_group int
)
returns table (person_id bigint, bucket int, value text, reached int, times timestamptz[])
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
-- A row has the journey of a person.
set work_mem to '64MB'
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_since constant timestamptz := bounds[1];
  v_until constant timestamptz := bounds[cardinality(bounds)];
  v_by_bucket constant boolean := cardinality(bounds) > 2;
  v_step_count constant int := (select count(*) from unnest(filters) as filter where not filter.is_exclusion);
  v_types constant int[] := array(
    select distinct filter.event_type_id from unnest(filters) as filter where filter.event_type_id <> 0
  );
  v_with_any constant boolean := step_order = 'strict'
    or exists (select from unnest(filters) as filter where filter.event_type_id = 0);
  v_with_values constant boolean := _funnel_attempts.property is not null
    or exists (select from unnest(filters) as filter where filter.property is not null);
  -- Null: the values are read from the events.
  v_properties constant int[] := case
    when v_with_values then analytics._read_properties(filters, v_types, _funnel_attempts.property)
  end;
  v_source constant text := case
    when not v_with_values then 'journeys'
    when v_properties is not null then 'values'
    else 'events'
  end;
  -- A value without a key is -1, so that it is equal to none.
  v_values constant int[] := array(
    select
      coalesce(
        (
          select property_value.value_id
          from track.property_value
          where property_value.property_id = v_properties[array_position(v_types, filter.event_type_id)]
            and property_value.value = filter.property ->> 'is'
        ),
        -1
      )
    from unnest(filters) with ordinality as filter
    order by filter.ordinality
  );
  v_optional constant int := (
    select coalesce(sum(1 << (filter.first_step - 1)), 0)
    from unnest(filters) as filter
    where filter.is_optional
  );
  -- Where no event is two steps or exclusions.
  v_by_search constant boolean := step_order in ('ordered', 'strict')
    and v_source <> 'events'
    and (
      _funnel_attempts.property is null
      or not v_by_bucket and _funnel_attempts.attribution in ('first_touch', 'last_touch')
    )
    -- Without any event (0), and without both optional steps and exclusions.
    and cardinality(v_types) = cardinality(filters)
    and (v_optional = 0 or v_step_count = cardinality(filters));
  -- The items of the steps that begin an attempt; null where one of these steps is of any item.
  v_entry_items constant int[] := (
    select case when bool_and(filter.items is not null) then array_agg(item.item_id) end
    from unnest(filters) as filter
    left join lateral unnest(filter.items) as item (item_id) on true
    where not filter.is_exclusion
      and (filter.first_step = 1 or step_order = 'unordered')
  );
  v_visible tstzmultirange[];
  v_blocks int[];
  v_people bit(4096)[];
  v_queued bigint[];
  v_statement text;
begin
  select array_agg(member.block order by member.block), array_agg(member.people order by member.block)
  into v_blocks, v_people
  from analytics._members(_funnel_attempts.among, _funnel_attempts.smallest_group) as member;
  if v_entry_items is not null then
    v_people := array(
      select entry.people & coalesce(used.people, v_no_people)
      from unnest(v_blocks, v_people) as entry (block, people)
      left join analytics._people_of_items(v_entry_items, v_since, v_until) as used on used.block = entry.block
      order by entry.block
    );
  end if;
  if smallest_group is not null then
    v_visible := array(
      select
        analytics._visible_periods(
          entry.event_type_id, entry.item_id, _funnel_attempts.among, bounds, _funnel_attempts.smallest_group
        )
      from (
        select filter.event_type_id, filter.item_id, filter.ordinality
        from unnest(filters) with ordinality as filter
        union all
        select 0, null, cardinality(filters) + 1 where step_order = 'strict'
      ) as entry
      order by entry.ordinality
    );
  end if;

  -- The journeys of people who are queued for a refresh do not have the values of now: their events are read.
  if v_source = 'values' then
    v_queued := array(
      select queued.person_id
      from unnest(
        (track.queued_days((v_since at time zone 'UTC')::date, (v_until at time zone 'UTC')::date + 1)).people
      ) as queued (person_id)
      join unnest(v_blocks, v_people) as entry (block, people) on entry.block = queued.person_id / 4096
      where get_bit(entry.people, (queued.person_id % 4096)::int) <> 0
    );
    if v_queued <> '{}' then
      return query execute analytics._walk_statement(
        filters, v_step_count, step_order, 'listed',
        case when _funnel_attempts.property is not null then attribution end, 'null', v_by_bucket,
        v_visible is not null
      )
      using filters, bounds, v_visible, v_blocks, v_people, conversion_window, v_types, v_with_any, v_optional,
        _funnel_attempts.property, v_properties, v_values, v_queued;
      v_people := array(
        select entry.people & ~coalesce(queued.people, v_no_people)
        from unnest(v_blocks, v_people) as entry (block, people)
        left join (
          select listed.person_id / 4096 as block, bit_or(track.person_bit(listed.person_id)) as people
          from unnest(v_queued) as listed (person_id)
          group by 1
        ) as queued on queued.block = entry.block
        order by entry.block
      );
    end if;
  end if;

  if v_by_search then
    v_statement :=
      analytics._search_statement(
        filters, v_step_count, step_order = 'strict', v_by_bucket, v_visible is not null,
        -- The values of a breakdown are read on their own.
        exists (select from unnest(filters) as filter where filter.property is not null)
      )
      || case
        when step_order = 'strict' then format(
          ' union all select walked.* from (%s) as walked',
          analytics._walk_statement(
            filters, v_step_count, step_order, v_source, null,
            'array(select listed.person_id from listed where listed.is_walked)', v_by_bucket, v_visible is not null
          )
        )
        else ''
      end;
    if _funnel_attempts.property is not null then
      v_statement := format(
        $query$
        select attempt.person_id, attempt.bucket, touched.value, attempt.reached, attempt.times
        from (%s) as attempt (person_id, bucket, value, reached, times)
        left join (%s) as touched on touched.person_id = attempt.person_id
        $query$,
        v_statement, analytics._touch_statement(filters, attribution, v_visible is not null)
      );
    end if;
  else
    v_statement := analytics._walk_statement(
      filters, v_step_count, step_order, v_source,
      case when _funnel_attempts.property is not null then attribution end, 'null', v_by_bucket, v_visible is not null
    );
  end if;
  return query execute v_statement
  using filters, bounds, v_visible, v_blocks, v_people, conversion_window, v_types, v_with_any, v_optional,
    _funnel_attempts.property, v_properties, v_values, v_queued;
end;
$$;

comment on function analytics._funnel_attempts(
  analytics.step_filter[], timestamptz[], text, interval, text, text, text, int
) is $$
Returns the furthest attempt of each person in a funnel, with the privileges of the caller.
`filters`: the steps and exclusions (`analytics._funnel_steps`). `bounds`: ascending times; the events are those
between the first and the last one. With more than two, there is one attempt per person and bucket in which the person
did the first step. `property`: the attempts have the value of this property of the events that `attribution` names;
null: null. `reached`: the number of the furthest step; `times`: the time of each step, null where it was not done (in
an unordered funnel the times of that many steps). People whose furthest attempt met an exclusion are left out, except
in an unordered funnel. `smallest_group`: events of counted people in `analytics._visible_periods`; null: of all
people.
$$;

grant execute on function analytics._funnel_attempts(
  analytics.step_filter[], timestamptz[], text, interval, text, text, text, int
) to insights_reader;

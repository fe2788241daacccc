create or replace function analytics._search_uses(
  filters analytics.step_filter[], number int, only_visible boolean
)
returns text
language sql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select format(
    $query$
      select used.at
      from (select unnest(%s) as at, unnest(%s) as item_id, unnest(%s) as value_id) as used
      where %s$query$,
    format(list.times, 'occurred_at'),
    case when filters[number].items is null then $query$'{}'::int[]$query$ else format(list.times, 'item_ids') end,
    case when filters[number].property is null then $query$'{}'::int[]$query$ else format(list.times, 'value_ids') end,
    analytics._step_condition(filters, number, only_visible, false)
  )
  from (
    select format(
      $query$analytics._concatenated(journey.%%s order by journey.person_id, journey.first_at)
        filter (where journey.event_type_id = %s)$query$,
      filters[number].event_type_id
    ) as times
  ) as list
$$;

comment on function analytics._search_uses(analytics.step_filter[], int, boolean) is $$
Returns the query of the events by which a person did a step with a condition, for `analytics._search_statement`.
$$;

grant execute on function analytics._search_uses(analytics.step_filter[], int, boolean) to insights_reader;

create or replace function analytics._search_times(
  filters analytics.step_filter[], number int, only_visible boolean
)
returns text
language sql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select case
    when analytics._step_condition(filters, number, only_visible, false) is not null
      then format('array(%s order by 1)', analytics._search_uses(filters, number, only_visible))
    -- The times are in order already, unless some events of the type are automatic and others are not.
    else format(
      $query$
      case
        when bit_or(journey.mark) & %1$s <> %1$s then %2$s
        else array(select unnest(%2$s) order by 1)
      end$query$,
      3::bigint << (2 * number - 2),
      format(
        $query$analytics._concatenated(journey.occurred_at order by journey.person_id, journey.first_at)
        filter (where journey.event_type_id = %s)$query$,
        filters[number].event_type_id
      )
    )
  end
$$;

comment on function analytics._search_times(analytics.step_filter[], int, boolean) is $$
Returns the expression of the times at which a person did a step, or an exclusion, for `analytics._search_statement`.
$$;

grant execute on function analytics._search_times(analytics.step_filter[], int, boolean) to insights_reader;

create or replace function analytics._search_mark(filters analytics.step_filter[])
returns text
language sql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select format(
    'case journey.event_type_id%s else 0 end << journey.is_automatic::int',
    string_agg(
      format(' when %s then %s::bigint', filter.event_type_id, 1::bigint << (2 * filter.ordinality::int - 2)),
      '' order by filter.ordinality
    )
  )
  from unnest(filters) with ordinality as filter
$$;

comment on function analytics._search_mark(analytics.step_filter[]) is $$
Returns the expression of the mark of a journey: two bits per step or exclusion, the second one of automatic events.
$$;

grant execute on function analytics._search_mark(analytics.step_filter[]) to insights_reader;

create or replace function analytics._search_exclusions(filters analytics.step_filter[], step int)
returns text
language sql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select string_agg(
    format(
      'select used.at from unnest(attempt.at%s) as used (at) where %s',
      excluded.number,
      (
        select string_agg(
          format('used.at is distinct from attempt.at%1$s[width_bucket(used.at, attempt.at%1$s)]', other.number),
          ' and ' order by other.number
        )
        from generate_series(1, cardinality(filters)) as other (number)
        where not filters[other.number].is_exclusion
          or filters[other.number].first_step <> filters[excluded.number].first_step
          or filters[other.number].last_step <> filters[excluded.number].last_step
      )
    ),
    ' union all ' order by excluded.number
  )
  from generate_series(1, cardinality(filters)) as excluded (number)
  where filters[excluded.number].is_exclusion
    and filters[excluded.number].first_step < step
    and filters[excluded.number].last_step >= step
$$;

comment on function analytics._search_exclusions(analytics.step_filter[], int) is $$
Returns the query of the events that keep an attempt from a step, for `analytics._search_statement`; null: none.
An excluded event at the time of another event, which is not of the same exclusion, does not count.
$$;

grant execute on function analytics._search_exclusions(analytics.step_filter[], int) to insights_reader;

create or replace function analytics._search_list(step int)
returns text
language sql
immutable
parallel safe
return case when step = 1 then 'entered' else 'at' || step::text end;

comment on function analytics._search_list(int) is $$
Returns the name of the list of the times of a step; of the first step those that begin an attempt of the bucket.
$$;

grant execute on function analytics._search_list(int) to insights_reader;

create or replace function analytics._search_first(step int, start text)
returns text
language sql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select case
    when step = 1 then start
    else format(
      $query$level_%1$s.at[width_bucket(%2$s - interval '1 microsecond', level_%1$s.start) + 1]$query$, step, start
    )
  end
$$;

comment on function analytics._search_first(int, text) is $$
Returns the expression of the time at which the attempt that began at `start` reached a step.
$$;

grant execute on function analytics._search_first(int, text) to insights_reader;

create or replace function analytics._search_only(times text, earlier text, later text)
returns text
language sql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select format(
    'width_bucket(%3$s, attempt.every) - width_bucket(%2$s, attempt.every)'
      || ' = width_bucket(%3$s, attempt.%1$s) - width_bucket(%2$s, attempt.%1$s)',
    times, earlier, later
  )
$$;

comment on function analytics._search_only(text, text, text) is $$
Returns the condition that all events after `earlier`, until `later`, are in a list of times.
With ` + 1` after it: all but one.
$$;

grant execute on function analytics._search_only(text, text, text) to insights_reader;

create or replace function analytics._search_best(filters analytics.step_filter[], step int)
returns text
language sql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select case
    when analytics._search_exclusions(filters, step + 1) is null then format('level_%s.start[1]', step)
    else format(
      $query$(
        select min(former.start)
        from unnest(level_%1$s.start) as former (start)
        cross join lateral (select %2$s as at offset 0) as done
        cross join lateral (
          select excluded_%3$s.at[width_bucket(done.at, excluded_%3$s.at) + 1] as at offset 0
        ) as excluded
        where (excluded.at <= former.start + $6) is not true
      )$query$,
      step, analytics._search_first(step, 'former.start'), step + 1
    )
  end
$$;

comment on function analytics._search_best(analytics.step_filter[], int) is $$
Returns the expression of the start of the earliest attempt that has reached a step without meeting an exclusion.
It meets none after this step either.
$$;

grant execute on function analytics._search_best(analytics.step_filter[], int) to insights_reader;

create or replace function analytics._search_level(
  filters analytics.step_filter[], step int, is_strict boolean, is_plain boolean
)
returns text
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_previous constant int := step - 1;
  v_excluded constant text := analytics._search_exclusions(filters, step);
  v_is_excluded constant text := case
    when v_excluded is null then 'false'
    else format(
      'coalesce(excluded_%1$s.at[width_bucket(next.at, excluded_%1$s.at)] > %2$s, false)',
      step, analytics._search_first(v_previous, 'former.start')
    )
  end;
  v_later text := 'next.at';
  v_earlier text;
  v_only text := '';
  v_source text;
begin
  if filters[v_previous].is_optional then
    -- The closest step before it that an attempt has reached, in whose window the event is.
    v_source := format(
      $query$
      select next.at, former.start, false as is_excluded
      from (select unnest(attempt.at%s) as at) as next
      cross join lateral (select case%s end as start offset 0) as former
      where former.start is not null$query$,
      step,
      (
        select string_agg(
          format(
            $query$ when next.at <= level_%1$s.start[width_bucket(next.at, level_%1$s.at)] + $6
              then level_%1$s.start[width_bucket(next.at, level_%1$s.at)]$query$,
            earlier.number
          ),
          '' order by earlier.number desc
        )
        from generate_series(1, v_previous) as earlier (number)
        where not exists (
          select
          from generate_series(earlier.number + 1, v_previous) as later (number)
          where not filters[later.number].is_optional
        )
      )
    );
  elsif is_plain then
    -- From an event to the latest one of the step before it, and so on: the latest possible start. The first event with
    -- a start in the window is enough, and usually it is the first one after the step before it.
    for v_number in reverse v_previous .. 1 loop
      v_earlier := format(
        'attempt.%2$s[width_bucket(%1$s, attempt.%2$s)]', v_later, analytics._search_list(v_number)
      );
      if is_strict then
        v_only := v_only || ' and ' || analytics._search_only('at' || v_number + 1, v_earlier, v_later);
      end if;
      v_later := v_earlier;
    end loop;
    v_only := format('next.at <= %s + $6%s', v_later, v_only);
    return format(
      $query$
      cross join lateral (
        select place.at, %3$s as start, place.at is not null as is_reached
        from (
          select
            case
              when %4$s then first.at
              when first.at is not null then (
                select next.at
                from (select unnest(attempt.at%1$s[first.number + 1:]) as at) as next
                where %5$s
                limit 1
              )
            end as at
          from (
            select attempt.at%1$s[after.number] as at, after.number
            from (select width_bucket(%2$s - interval '1 microsecond', attempt.at%1$s) + 1 as number offset 0) as after
            offset 0
          ) as first
          offset 0
        ) as place
      ) as level_%1$s$query$,
      step, case when step = 2 then 'attempt.entered[1]' else format('level_%s.at', v_previous) end,
      replace(v_later, 'next.at', 'place.at'), replace(v_only, 'next.at', 'first.at'), v_only
    );
  else
    v_source := format(
      $query$
      select next.at, former.start, %3$s as is_excluded
      from (select unnest(attempt.at%2$s) as at) as next
      cross join lateral (
        select
          level_%1$s.at[width_bucket(next.at, level_%1$s.at)] as at,
          level_%1$s.start[width_bucket(next.at, level_%1$s.at)] as start
      ) as former
      where next.at <= former.start + $6%4$s$query$,
      v_previous, step, v_is_excluded,
      case
        when is_strict
          then format(' and %s + 1', analytics._search_only(analytics._search_list(v_previous), 'former.at', 'next.at'))
        else ''
      end
    );
  end if;

  -- In a strict funnel, those that follow an attempt directly: they count against each attempt in the window of which
  -- they are.
  return case
    when v_excluded is not null then format(
      ' cross join lateral (select array(select used.at from (%s) as used%s order by 1) as at) as excluded_%s',
      v_excluded,
      case
        when is_strict then format(
          ' where %s + 1',
          analytics._search_only(
            analytics._search_list(v_previous),
            format('level_%1$s.at[width_bucket(used.at, level_%1$s.at)]', v_previous), 'used.at'
          )
        )
        else ''
      end,
      step
    )
    else ''
  end || format(
    $query$
    cross join lateral (
      select
        array_agg(done.at order by done.at)%2$s as at, array_agg(done.start order by done.at)%2$s as start,
        count(*) > 0 as is_reached
      from (%3$s) as done
    ) as level_%1$s$query$,
    step,
    case when v_excluded is not null then ' filter (where not done.is_excluded)' else '' end,
    v_source
  );
end;
$$;

comment on function analytics._search_level(analytics.step_filter[], int, boolean, boolean) is $$
Returns the part of `analytics._search_statement` that finds the attempts of a person that have reached a step.
`is_plain`: without optional steps and exclusions, where the first one is enough.
$$;

grant execute on function analytics._search_level(analytics.step_filter[], int, boolean, boolean) to insights_reader;

create or replace function analytics._search_listed(
  filters analytics.step_filter[], step_count int, only_visible boolean
)
returns text
language sql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select format(
    $query$
    -- Read twice: events of one time count in the order of the steps, and automatic ones are not in the list of all
    -- events. People with such steps are walked: those with another event at the time of a step, or of one of as many
    -- events before it.
    listed as materialized (
      select
        seen.*,
        seen.has_automatic or exists (
          select
          from unnest(%1$s) as hit (at)
          cross join lateral (select width_bucket(hit.at, seen.every) as number offset 0) as place
          where %2$s
        ) as is_walked
      from (
        select journey.person_id, journey.has_automatic, %3$s as every%4$s
        from journey
        where cardinality(journey.at1) > 0
        offset 0
      ) as seen
    ),$query$,
    string_agg(format('seen.at%s', number), ' || ' order by number) filter (where number > 1),
    (
      select
        string_agg(
          format('seen.every[place.number - %s] = seen.every[place.number - %s]', distance, distance - 1),
          ' or ' order by distance
        )
      from generate_series(0, step_count) as distance
    ),
    case
      when only_visible then format(
        $query$array(
          select used.at
          from unnest(journey.every) as used (at)
          where used.at <@ ($3)[cardinality($1) + 1]%s
          order by 1
        )$query$,
        string_agg(
          format(' or journey.at%1$s[width_bucket(used.at, journey.at%1$s)] = used.at', number), '' order by number
        )
      )
      else 'journey.every'
    end,
    string_agg(format(', journey.at%s', number), '' order by number)
  )
  from generate_series(1, cardinality(filters)) as number
$$;

comment on function analytics._search_listed(analytics.step_filter[], int, boolean) is $$
Returns the CTE `listed` of `analytics._search_statement`: people with the times of all their events (`every`).
$$;

grant execute on function analytics._search_listed(analytics.step_filter[], int, boolean) to insights_reader;

/*
 * `at1`, `at2`, …: the times of each step, and after them of each exclusion. `entered`: those of the first step that
 * begin an attempt. `level_1`, `level_2`, …: the events by which attempts have reached a step, with their times (`at`)
 * and the times of the first step of the attempt (`start`). Both ascend: an event of a level that is later has no
 * earlier start. Each level is found from those before it by binary search; without optional steps and exclusions,
 * only its first event, from the lists alone. `excluded_2`, …: the times of events that keep an attempt from this step.
 */
create or replace function analytics._search_statement(
  filters analytics.step_filter[],
  step_count int,
  is_strict boolean,
  by_bucket boolean,
  only_visible boolean,
  by_values boolean
)
returns text
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_types constant text := format(
    '%L::int[]', array(select filter.event_type_id from unnest(filters) as filter)
  );
  v_with_optional constant boolean := exists (select from unnest(filters) as filter where filter.is_optional);
  v_is_plain constant boolean := not v_with_optional and step_count = cardinality(filters);
  v_lists text := '';
  v_levels text := '';
  v_reached text := '';
  v_start text := '';
  v_times text := '';
  v_time text;
begin
  for v_number in 1 .. cardinality(filters) loop
    v_lists := v_lists || format(
      ', %s as at%s', analytics._search_times(filters, v_number, only_visible), v_number
    );
  end loop;
  for v_number in 1 .. step_count loop
    if v_number > 1 then
      v_levels := v_levels || analytics._search_level(filters, v_number, is_strict, v_is_plain);
    end if;
    v_reached := format(' when level_%1$s.is_reached then %1$s', v_number) || v_reached;
    v_start := format(
      ' when level_%s.is_reached then %s', v_number,
      case
        when v_is_plain and v_number > 1 then format('level_%s.start', v_number)
        else analytics._search_best(filters, v_number)
      end
    ) || v_start;
    v_time := analytics._search_first(v_number, 'furthest.start');
    if v_is_plain and v_number > 1 then
      v_time := format(
        $query$
        case
          when furthest.reached >= %1$s
            then attempt.at%1$s[width_bucket(time_%2$s.at - interval '1 microsecond', attempt.at%1$s) + 1]
        end$query$,
        v_number, v_number - 1
      );
    elsif v_with_optional and v_number > 1 then
      -- A step that the attempt did after the next one is not one of its steps.
      v_time := format(
        $query$
        case
          when level_%1$s.start[width_bucket(furthest.start, level_%1$s.start)] = furthest.start
            and (%2$s <= coalesce(null::timestamptz%3$s)) is not false
            then %2$s
        end$query$,
        v_number, v_time,
        (
          select string_agg(format(', time_%s.at', later), '' order by later)
          from generate_series(v_number + 1, step_count) as later
        )
      );
    end if;
    v_time := format(' cross join lateral (select %s as at offset 0) as time_%s', v_time, v_number);
    v_times := case when v_is_plain then v_times || v_time else v_time || v_times end;
  end loop;

  return format(
    $query$
    with member as materialized (
      select entry.block, entry.people from unnest($4, $5) as entry (block, people)
    ),

    -- Sorted once, for all lists of times.
    journey as (
      select journey.person_id%1$s
      from (
        select
          journey.person_id, journey.event_type_id, journey.is_automatic, journey.occurred_at, journey.item_ids%2$s,
          journey.occurred_at[1] as first_at, %11$s as mark
        from %3$s as journey
        join member
          on member.block = journey.person_id / 4096
          and get_bit(member.people, (journey.person_id %% 4096)::int) <> 0
      ) as journey
      group by journey.person_id
      having bit_or(journey.mark) & 3 <> 0%12$s
    ),

    %4$s

    attempt as (
      %5$s
    )

    select attempt.person_id, attempt.bucket, null::text, furthest.reached, array[%6$s]
    from attempt
    cross join lateral (select attempt.entered as at, attempt.entered as start, true as is_reached) as level_1%7$s
    cross join lateral (select case%8$s end as reached, case%9$s end as start) as furthest%10$s
    where furthest.start is not null
    $query$,
    v_lists || case
      when is_strict then format(
        $query$,
        array(
          select unnest(
            analytics._concatenated(journey.occurred_at order by journey.person_id, journey.first_at)
              filter (where not journey.is_automatic)
          )
          order by 1
        ) as every,
        bit_or(journey.mark) & %s <> 0 as has_automatic$query$,
        (select sum(2::bigint << (2 * number - 2)) from generate_series(1, cardinality(filters)) as number)
      )
      else ''
    end,
    case when by_values then ', journey.value_ids' else '' end,
    case
      when by_values
        then format('analytics._valued_journeys($7, $11, %L, ($2)[1], ($2)[cardinality($2)])', is_strict)
      else format(
        'analytics._journeys(%s, %L, %L, ($2)[1], ($2)[cardinality($2)])',
        v_types, is_strict, exists (select from unnest(filters) as filter where filter.items is not null)
      )
    end,
    case when is_strict then analytics._search_listed(filters, step_count, only_visible) else '' end,
    format(
      case
        when by_bucket then $query$
          select journey.*, part.bucket, part.entered
          from %1$s as journey
          cross join lateral (
            select entered.bucket, array_agg(entered.at order by entered.at) as entered
            from (
              select width_bucket(used.at, $2) as bucket, used.at
              from unnest(journey.at1) as used (at)
            ) as entered
            group by entered.bucket
          ) as part
          where %2$s
          offset 0$query$
        else 'select journey.*, 1 as bucket, journey.at1 as entered from %1$s as journey where %2$s offset 0'
      end,
      case when is_strict then 'listed' else 'journey' end,
      case when is_strict then 'not journey.is_walked' else 'cardinality(journey.at1) > 0' end
    ),
    array_to_string(array(select format('time_%s.at', number) from generate_series(1, step_count) as number), ', '),
    v_levels, v_reached, v_start, v_times, analytics._search_mark(filters),
    -- Few people did the first step with an item: the lists of the others are not computed.
    case
      when filters[1].items is not null or filters[1].property is not null
        then format(' and exists (%s)', analytics._search_uses(filters, 1, only_visible))
    end
  );
end;
$$;

comment on function analytics._search_statement(
  analytics.step_filter[], int, boolean, boolean, boolean, boolean
) is $$
Returns the statement that finds the attempts of people in an ordered or strict funnel of different events.
By binary search; see `analytics._funnel_attempts`. `by_bucket`: one attempt per person and bucket of its start.
`by_values`: properties are read, from the journeys. In a strict funnel it leaves out the people of its CTE `listed`
that are `is_walked`.
$$;

grant execute on function analytics._search_statement(
  analytics.step_filter[], int, boolean, boolean, boolean, boolean
)
to insights_reader;

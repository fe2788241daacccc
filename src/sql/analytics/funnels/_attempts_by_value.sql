create or replace function analytics._attempts_by_value(
  filters analytics.step_filter[],
  bounds timestamptz[],
  step_order text,
  conversion_window interval,
  among text,
  breakdown text,
  attribution text,
  top_values int,
  smallest_group int
)
returns table (value text, is_other boolean, bucket int, person_id bigint, reached int, times timestamptz[])
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set work_mem to '64MB'
as $$
declare
  v_step_count constant int := (select count(*) from unnest(filters) as filter where not filter.is_exclusion);
  v_property constant text := case when breakdown like 'property.%' then substr(breakdown, length('property.') + 1) end;
begin
  perform common.check_count('top_values', _attempts_by_value.top_values, 1, 100);
  if attribution is null
    or attribution not in ('first_touch', 'last_touch', 'all_events')
      and (
        step_order = 'unordered'
        or attribution !~ '^step_[1-9][0-9]?$'
        or substr(attribution, 6)::int > v_step_count
      )
  then
    perform common.refuse(
      'CF001',
      format('attribution is "%s"', left(attribution, 100)),
      'Use first_touch, last_touch, all_events, or in an ordered funnel step_1, step_2, …: the value at this step.'
    );
  end if;
  if length(breakdown) > 200 or breakdown = 'property.' then
    perform common.refuse(
      'CF001',
      format('breakdown is "%s"', left(breakdown, 100)),
      'Give a name after "property.", of 191 characters at most.'
    );
  end if;

  if breakdown is null then
    return query
    select null::text, false, attempt.bucket, attempt.person_id, attempt.reached, attempt.times
    from analytics._funnel_attempts(
      filters, bounds, step_order, conversion_window, among, null, null, smallest_group
    ) as attempt;
  elsif v_property is null then
    return query
    with attempt as materialized (
      select *
      from analytics._funnel_attempts(
        filters, bounds, step_order, conversion_window, among, null, null, smallest_group
      )
    ),

    by_value as (
      select stated.value, stated.is_other, stated.block, stated.people
      from analytics._people_by_value(breakdown, top_values, smallest_group) as stated
      where smallest_group is null

      union all

      -- The values of the people in the funnel.
      select part.value, part.is_other, entry.block, entry.people
      from (
        select array_agg(listed.block) as blocks, array_agg(listed.people) as people
        from analytics._bits_of(array(select distinct attempt.person_id from attempt where smallest_group is not null))
          as listed
      ) as active
      cross join lateral analytics._people_groups(
        breakdown, top_values, smallest_group, active.blocks, active.people
      ) as part
      cross join lateral unnest(part.blocks, part.people) as entry (block, people)
      where smallest_group is not null
    )

    select by_value.value, by_value.is_other, attempt.bucket, attempt.person_id, attempt.reached, attempt.times
    from by_value
    join attempt
      on attempt.person_id / 4096 = by_value.block
      and get_bit(by_value.people, (attempt.person_id % 4096)::int) <> 0;
  else
    return query
    with attempt as materialized (
      select *
      from analytics._funnel_attempts(
        filters, bounds, step_order, conversion_window, among, v_property, attribution, smallest_group
      )
    ),

    ranked as materialized (
      select sized.value, row_number() over (order by sized.person_count desc, sized.value collate "C") as position
      from (
        select attempt.value, count(distinct attempt.person_id) as person_count
        from attempt
        where attempt.value is not null
        group by attempt.value
      ) as sized
      where sized.person_count >= coalesce(smallest_group, 1)
    ),

    named as (
      select ranked.value, attempt.value is not null and ranked.value is null as is_other, attempt.bucket,
        attempt.person_id, attempt.reached, attempt.times
      from attempt
      left join ranked on ranked.value = attempt.value and ranked.position <= top_values
    )

    -- Of several other values, the attempt that went furthest.
    select distinct on (named.value, named.is_other, named.bucket, named.person_id)
      named.value, named.is_other, named.bucket, named.person_id, named.reached, named.times
    from named
    order by named.value, named.is_other, named.bucket, named.person_id, named.reached desc, named.times;
  end if;
end;
$$;

comment on function analytics._attempts_by_value(
  analytics.step_filter[], timestamptz[], text, interval, text, text, text, int, int
) is $$
Returns the furthest attempt of each person, and value of a breakdown, in a funnel.
The arguments are those of `analytics.funnel` and `analytics._funnel_attempts`.
Errors: CF001 for an attribution or a breakdown that does not exist.
$$;

grant execute on function analytics._attempts_by_value(
  analytics.step_filter[], timestamptz[], text, interval, text, text, text, int, int
) to insights_reader;

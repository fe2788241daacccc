/* One statement per condition. Sets of people are bit strings, so that all, any and not are &, | and ~. */
create or replace function analytics._rule_traits(rule jsonb, people bigint[])
returns setof analytics.people_block
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set plan_cache_mode to force_custom_plan
as $$
begin
  return query
  with stated as materialized (
    select current_value.person_id, current_value.value
    from track.current_trait(_rule_traits.people, rule ->> 'trait') as current_value
  )

  select (entry.person_id / 4096)::int, bit_or(track.person_bit(entry.person_id))::bit(4096)
  from unnest(_rule_traits.people) as entry (person_id)
  left join stated on stated.person_id = entry.person_id and jsonb_typeof(stated.value) <> 'null'
  where case
      when rule ? 'is' then coalesce(stated.value = rule -> 'is', false)
      when rule ? 'is_not' then coalesce(stated.value <> rule -> 'is_not', true)
      when rule ? 'in' then coalesce(rule -> 'in' @> jsonb_build_array(stated.value), false)
        and jsonb_typeof(stated.value) not in ('array', 'object')
      when rule ? 'contains' and jsonb_typeof(stated.value) = 'array' then stated.value ? (rule ->> 'contains')
      when rule ? 'contains' then coalesce(
        jsonb_typeof(stated.value) = 'string'
          and strpos(lower(stated.value #>> '{}'), lower(rule ->> 'contains')) > 0,
        false
      )
      when rule ? 'is_set' then (stated.value is not null) = (rule ->> 'is_set')::boolean
      else coalesce(
        jsonb_typeof(stated.value) = 'number'
          and (not rule ? 'greater' or stated.value > rule -> 'greater')
          and (not rule ? 'less' or stated.value < rule -> 'less'),
        false
      )
    end
  group by 1;
end;
$$;

comment on function analytics._rule_traits(jsonb, bigint[]) is $$
Returns those of the given people for whom a condition on a trait is true. See `analytics.define_cohort`.
Of several identities of a person, the latest value counts.
$$;

grant execute on function analytics._rule_traits(jsonb, bigint[]) to insights_reader;

create or replace function analytics._rule_enrolments(rule jsonb, people bigint[])
returns setof analytics.people_block
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set plan_cache_mode to force_custom_plan
as $$
begin
  return query
  select (enrolment.person_id / 4096)::int, bit_or(track.person_bit(enrolment.person_id))::bit(4096)
  from track.enrolment
  where enrolment.person_id = any (_rule_enrolments.people)
    and enrolment.item_id = (
      select coalesce(known.merged_item_id, known.item_id)
      from track.item as known
      where known.external_id = rule ->> 'enrolment'
    )
    and (not rule ? 'status' or enrolment.status = rule ->> 'status')
  group by 1;
end;
$$;

comment on function analytics._rule_enrolments(jsonb, bigint[]) is $$
Returns those of the given people for whom a condition on an enrolment is true. See `analytics.define_cohort`.
$$;

grant execute on function analytics._rule_enrolments(jsonb, bigint[]) to insights_reader;

create or replace function analytics._rule_people(
  rule jsonb,
  given analytics.people_block[],
  people bigint[],
  as_of date,
  ignored_from timestamptz default 'infinity'
)
returns analytics.people_block[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_left analytics.people_block[] := given;
  v_found analytics.people_block[] := '{}';
  v_people bigint[];
  v_rule jsonb;
begin
  if cardinality(given) = 0 then
    return given;
  end if;

  if rule ? 'all' then
    for v_rule in select entry.value from jsonb_array_elements(rule -> 'all') as entry loop
      v_left := analytics._rule_people(v_rule, v_left, _rule_people.people, as_of, ignored_from);
    end loop;
    return v_left;
  end if;

  if rule ? 'any' or rule ? 'not' then
    for v_rule in
      select entry.value
      from jsonb_array_elements(coalesce(rule -> 'any', jsonb_build_array(rule -> 'not'))) as entry
    loop
      v_found := v_found || analytics._rule_people(v_rule, v_left, _rule_people.people, as_of, ignored_from);
      v_left := array(
        select row(entry.block, entry.people)::analytics.people_block
        from (
          select part.block, part.people & ~coalesce(bit_or(found.people), v_no_people) as people
          from unnest(given) as part
          left join unnest(v_found) as found on found.block = part.block
          group by part.block, part.people
        ) as entry
        where bit_count(entry.people) > 0
      );
    end loop;
    if rule ? 'not' then
      return v_left;
    end if;
  elsif rule ? 'event' then
    v_found := array(
      select row(found.block, found.people)::analytics.people_block
      from analytics._rule_events(rule, given, _rule_people.people, as_of, ignored_from) as found
    );
  else
    v_people := array(
      select entry.person_id
      from unnest(_rule_people.people) as entry (person_id)
      join unnest(given) as part
        on part.block = entry.person_id / 4096
        and get_bit(part.people, (entry.person_id % 4096)::int) <> 0
    );
    if rule ? 'trait' then
      v_found := array(
        select row(found.block, found.people)::analytics.people_block
        from analytics._rule_traits(rule, v_people) as found
      );
    elsif rule ? 'enrolment' then
      v_found := array(
        select row(found.block, found.people)::analytics.people_block
        from analytics._rule_enrolments(rule, v_people) as found
      );
    else
      v_found := array(
        select row((member.person_id / 4096)::int, bit_or(track.person_bit(member.person_id)))::analytics.people_block
        from track.members_among(
          case when rule ? 'set' then rule ->> 'set' else analytics._prediction_set(rule) end, v_people
        ) as member (person_id)
        group by member.person_id / 4096
      );
    end if;
  end if;

  return array(
    select row(found.block, bit_or(found.people))::analytics.people_block
    from unnest(v_found) as found
    group by found.block
    order by found.block
  );
end;
$$;

comment on function analytics._rule_people(jsonb, analytics.people_block[], bigint[], date, timestamptz) is $$
Returns those of the given people for whom a rule is true, as of a day: see `analytics.define_cohort`.
`given`: their bits; `people`: a list that contains them. `ignored_from`: events from this time on are ignored. The rule
is one that `analytics._check_rule` accepted; a set that it names and that no longer exists has no people.
$$;

grant execute on function analytics._rule_people(jsonb, analytics.people_block[], bigint[], date, timestamptz)
to insights_reader;

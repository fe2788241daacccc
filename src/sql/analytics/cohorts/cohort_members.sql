create or replace function analytics.cohort_members(set_name text, people bigint[])
returns setof bigint
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_rule jsonb;
  v_as_of date;
  v_given analytics.people_block[];
begin
  select cohort.rule, cohort.as_of into v_rule, v_as_of
  from analytics.cohort
  where cohort.name = cohort_members.set_name;
  if not found then
    return;
  end if;
  v_given := array(
    select row((entry.person_id / 4096)::int, bit_or(track.person_bit(entry.person_id)))::analytics.people_block
    from unnest(cohort_members.people) as entry (person_id)
    where entry.person_id > 0
    group by entry.person_id / 4096
  );

  v_given := analytics._profiled(v_given, cohort_members.people);

  return query
  select distinct entry.person_id
  from unnest(cohort_members.people) as entry (person_id)
  join unnest(analytics._rule_people(v_rule, v_given, cohort_members.people, v_as_of)) as found
    on found.block = entry.person_id / 4096
    and get_bit(found.people, (entry.person_id % 4096)::int) <> 0;
end;
$$;

comment on function analytics.cohort_members(text, bigint[]) is $$
@behavior -*
Returns which of the given people belong to a live cohort or segment, as of now and the day `analytics.cohort.as_of`.
Nobody who has opted out of `analytics`, or whose data is restricted.
The members of the sets of live cohorts; see `track.person_set`.
$$;

grant execute on function analytics.cohort_members(text, bigint[]) to insights_reader;

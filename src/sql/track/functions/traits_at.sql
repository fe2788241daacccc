create or replace function track.traits_at(people bigint[], name text, times timestamptz[])
returns table (person_id bigint, at timestamptz, value jsonb)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  select asked.person_id, asked.at, history.value[width_bucket(asked.at, history.set_at)]
  from unnest(traits_at.people, traits_at.times) as asked (person_id, at)
  left join track.trait_changes(coalesce(traits_at.people, '{}'), traits_at.name) as history
    on history.person_id = asked.person_id;
end;
$$;

comment on function track.traits_at(bigint[], text, timestamptz[]) is $$
@behavior -*
Returns the value that a trait of each person had at a time: one row for each element of the two lists.
Null before the first known value. See `track.trait_changes`.
$$;

grant execute on function track.traits_at(bigint[], text, timestamptz[])
to insights_reader, insights_learner, insights_admin;
